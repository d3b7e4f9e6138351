// SPDX-License-Identifier: Apache-2.0
//! Raising errors.
use super::relation_name;
use pgrx::pg_sys;

/// Raises ERRCODE_DATA_CORRUPTED for a relation.
pub fn report_corrupt(rel: pg_sys::Relation, what: impl std::fmt::Display) -> ! {
    pgrx::ereport!(
        ERROR,
        pgrx::PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
        format!("table \"{}\": {what}", relation_name(rel)),
        "Check the table with doris.verify() and restore it from a backup."
    );
}

/// Raises an error that a user can do something about: what is wrong, and a hint. An empty hint is left out.
pub fn refuse(code: pgrx::PgSqlErrorCode, message: impl Into<String>, hint: &str) -> ! {
    let mut report =
        pgrx::pg_sys::panic::ErrorReport::new(code, message.into(), pgrx::function_name!());
    if !hint.is_empty() {
        report = report.set_hint(hint);
    }
    report.report(pgrx::PgLogLevel::ERROR);
    unreachable!("an error was raised")
}
