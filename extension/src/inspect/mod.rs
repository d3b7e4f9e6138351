// SPDX-License-Identifier: Apache-2.0
//! Looking at tables: `verify` checks one, `sizes` lists its segments and columns (behind the views
//! `doris.tables`, `doris.segments` and `doris.columns`).
//!
//! Who may SELECT from a table may look at it. No value of a column is shown: row security and column
//! privileges protect those.

mod isolated;
mod sizes;
mod testing;
mod verify;

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
    // SAFETY: catalogue look-ups of an open relation.
    let allowed = unsafe {
        let right = pg_sys::ACL_SELECT as pg_sys::AclMode;
        let result = pg_sys::pg_class_aclcheck(table.oid(), pg_sys::GetUserId(), right);
        result == pg_sys::AclResult::ACLCHECK_OK
    };
    if !allowed {
        pg::refuse(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("permission denied for table {}", pg::relation_name(rel)),
            "",
        );
    }
    rel
}
