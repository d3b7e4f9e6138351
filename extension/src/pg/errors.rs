// SPDX-License-Identifier: Apache-2.0
//! Raising errors.
use super::{relation_name, table_name};
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

/// What a user can do where the system refuses memory.
const MEMORY_HINT: &str =
    "Let the server's processes have more memory (ulimit -v, vm.overcommit_memory).";

/// Raises ERRCODE_OUT_OF_MEMORY, for a relation where it is known; an empty hint is replaced by one of general use.
#[cold]
pub fn report_no_memory(relid: Option<pg_sys::Oid>, hint: &str) -> ! {
    let message = match relid {
        Some(relid) => format!("out of memory with table \"{}\"", table_name(relid)),
        None => "out of memory".to_owned(),
    };
    let hint = if hint.is_empty() { MEMORY_HINT } else { hint };
    refuse(pgrx::PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY, message, hint)
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
