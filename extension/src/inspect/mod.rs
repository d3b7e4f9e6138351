// SPDX-License-Identifier: Apache-2.0
//! Looking at tables: `verify` checks one, `sizes` lists its segments and columns, `views` does so for the views
//! `doris.tables`, `doris.segments` and `doris.columns`.
//!
//! Who may SELECT from a table may look at it. No value of a column is shown: row security and column
//! privileges protect those.

mod pages;
mod sizes;
pub mod subtransaction;
mod testing;
mod verify;
mod views;

use crate::pg;
use pgrx::{pg_sys, PgRelation, PgSqlErrorCode};

/// The relation behind a regclass argument, if it is a columnar table and the user may look at it.
fn checked(table: &PgRelation) -> pg_sys::Relation {
    let rel = table.as_ptr();
    if !crate::am::is_doris(rel) {
        pg::refuse(
            PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
            format!("\"{}\" is not a columnar table", pg::relation_name(rel)),
            "",
        );
    }
    if !may_read(table.oid()) {
        pg::refuse(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("permission denied for table {}", pg::relation_name(rel)),
            "",
        );
    }
    rel
}

/// Whether the user may SELECT from a table.
fn may_read(table: pg_sys::Oid) -> bool {
    // SAFETY: catalogue look-ups of a table that is open.
    unsafe {
        let right = pg_sys::ACL_SELECT as pg_sys::AclMode;
        let result = pg_sys::pg_class_aclcheck(table, pg_sys::GetUserId(), right);
        result == pg_sys::AclResult::ACLCHECK_OK
    }
}
