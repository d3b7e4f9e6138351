// SPDX-License-Identifier: Apache-2.0
//! The engine's errors as PostgreSQL's.
use crate::pg;
use doris_engine::error::{Damage, Error, Place};
use pgrx::pg_sys;

/// Raises an engine's error as PostgreSQL would have.
pub(super) fn report(error: Error) -> ! {
    if matches!(error, Error::Cancelled) {
        // Raises the reason: a timeout, a request, a conflict with recovery, the end of the session.
        pgrx::check_for_interrupts!();
    }
    let code = match error.sqlstate() {
        "22003" => pgrx::PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
        "22012" => pgrx::PgSqlErrorCode::ERRCODE_DIVISION_BY_ZERO,
        "2201E" => pgrx::PgSqlErrorCode::ERRCODE_INVALID_ARGUMENT_FOR_LOG,
        "2201F" => pgrx::PgSqlErrorCode::ERRCODE_INVALID_ARGUMENT_FOR_POWER_FUNCTION,
        "22008" => pgrx::PgSqlErrorCode::ERRCODE_DATETIME_FIELD_OVERFLOW,
        "22P02" => pgrx::PgSqlErrorCode::ERRCODE_INVALID_TEXT_REPRESENTATION,
        "22011" => pgrx::PgSqlErrorCode::ERRCODE_SUBSTRING_ERROR,
        "22023" => pgrx::PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        "22025" => pgrx::PgSqlErrorCode::ERRCODE_INVALID_ESCAPE_SEQUENCE,
        "54000" => pgrx::PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
        "21000" => pgrx::PgSqlErrorCode::ERRCODE_CARDINALITY_VIOLATION,
        "53100" => pgrx::PgSqlErrorCode::ERRCODE_DISK_FULL,
        "53400" => pgrx::PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
        "58030" => pgrx::PgSqlErrorCode::ERRCODE_IO_ERROR,
        "53200" => pgrx::PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY,
        "57014" => pgrx::PgSqlErrorCode::ERRCODE_QUERY_CANCELED,
        "0A000" => pgrx::PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        "XX001" => pgrx::PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
        _ => pgrx::PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
    };
    if error.needs_postgres() {
        pgrx::ereport!(
            ERROR,
            pgrx::PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("the vectorised engine cannot finish this query: {error}"),
            "Run it with doris.enable_vectorization = off."
        );
    }
    if matches!(error, Error::OutOfMemory) {
        let advice = "Raise doris.work_mem, or let the server's processes have more memory (doris.max_memory, ulimit -v, \
                      vm.overcommit_memory).";
        pg::refuse(code, error.to_string(), advice);
    }
    if let Error::Damaged(damage) = &error {
        let advice = "Check the tables with doris.verify() and restore them from a backup.";
        pgrx::ereport!(ERROR, code, damage_text(damage), advice);
    }
    if let Some(detail) = error.detail().filter(|detail| !detail.is_empty()) {
        pgrx::ereport!(ERROR, code, error.to_string(), detail);
    }
    pgrx::ereport!(ERROR, code, error.to_string());
}

/// What is damaged, and where, by the names that the user knows.
fn damage_text(damage: &Damage) -> String {
    let what = &damage.what;
    let Some(place) = damage.place else {
        return format!("stored data is damaged: {what}");
    };
    let Place {
        table, first_row, ..
    } = place;
    let table = pg_sys::Oid::from(table);
    let column = pg::column_name(table, place.column);
    let table = pg::table_name(table);
    format!("table \"{table}\": segment at row {first_row}, column \"{column}\": {what}")
}
