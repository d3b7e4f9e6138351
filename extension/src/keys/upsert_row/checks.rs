// SPDX-License-Identifier: Apache-2.0
//! Rows that an upsert must not replace or delete.
use super::super::model::Model;
use super::Insert;
use crate::pg;
use pgrx::pg_sys;
use pgrx::PgSqlErrorCode;

/// Raises an error when the row to replace may not be: it came after the transaction's snapshot, or values of it
/// are referred to.
pub fn check_replaceable(rel: pg_sys::Relation, model: &Model, seen: bool) {
    check_seen(seen);
    if model.referenced_values {
        pg::refuse(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!(
                "cannot replace a row of table \"{}\": a foreign key refers to columns outside of its key",
                pg::relation_name(rel)
            ),
            "Use UPDATE, or INSERT ... ON CONFLICT, which check such foreign keys.",
        );
    }
}

/// Raises an error when a delete sign would delete a row that foreign keys may refer to: a load fires no triggers of
/// stored rows, and so neither their checks nor their actions.
pub fn check_deletable(rel: pg_sys::Relation, model: &Model) {
    if model.referenced.here() {
        pg::refuse(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!(
                "cannot delete a row of table \"{}\" by a delete sign: a foreign key refers to the table",
                pg::relation_name(rel)
            ),
            "Use DELETE, which checks the rows that refer to it.",
        );
    }
}

/// Raises an error for a row that meets a stored one which row security may hide from the user, or let them read but
/// not change: no policy was asked about it.
pub(super) fn check_unhidden(rel: pg_sys::Relation, insert: Insert) {
    if !insert.row_security {
        return;
    }
    pg::refuse(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!(
            "cannot replace a row of table \"{}\" by INSERT under row security",
            pg::relation_name(rel)
        ),
        "Use UPDATE, or INSERT ... ON CONFLICT, which ask the policies about the stored row.",
    );
}

/// Raises an error when what is stored of a key came after the transaction's snapshot.
pub fn check_seen(seen: bool) {
    if !seen {
        pgrx::ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
            "could not serialize access due to concurrent update"
        );
    }
}
