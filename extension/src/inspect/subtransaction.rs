// SPDX-License-Identifier: Apache-2.0
//! Running something in a subtransaction of its own: what may find corruption, without ending the statement.
use pgrx::pg_sys::panic::CaughtError;
use pgrx::{pg_sys, PgSqlErrorCode, PgTryBuilder};
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe};

/// Runs `f` in a subtransaction of its own: an error in it, PostgreSQL's too, becomes its message. Pins and
/// locks that it left behind are released with the subtransaction. A cancelled query stays cancelled.
pub fn run<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    message_of(attempt(f))
}

/// The message of what was caught; what ends a statement does so.
fn message_of<T>(outcome: Result<T, Box<CaughtError>>) -> Result<T, String> {
    outcome.map_err(|caught| match classify(*caught) {
        Failure::Message(message) => message,
        Failure::Other(caught) => (*caught).rethrow(),
    })
}

/// Runs `f` in a subtransaction of its own, whose transaction id is newer than all there are. Errors are passed on.
pub fn subtransaction<T>(f: impl FnOnce() -> T) -> T {
    attempt(f).unwrap_or_else(|caught| (*caught).rethrow())
}

/// As [`run`], of something that only looks: the locks that it took are given back.
pub fn run_in_subtransaction<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    message_of(attempt_and(f, false))
}

/// Runs `f` in a subtransaction, which is ended.
fn attempt<T>(f: impl FnOnce() -> T) -> Result<T, Box<CaughtError>> {
    attempt_and(f, true)
}

fn attempt_and<T>(f: impl FnOnce() -> T, commit: bool) -> Result<T, Box<CaughtError>> {
    // SAFETY: the subtransaction is ended on both ways out; the memory context and resource owner are those
    // of before, as PL/pgSQL does for its exception blocks.
    unsafe {
        let context = pg_sys::CurrentMemoryContext;
        let owner = pg_sys::CurrentResourceOwner;
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::CurrentMemoryContext = context;
        let outcome = catch(AssertUnwindSafe(f));
        match outcome {
            Ok(_) if commit => pg_sys::ReleaseCurrentSubTransaction(),
            _ => pg_sys::RollbackAndReleaseCurrentSubTransaction(),
        }
        pg_sys::CurrentMemoryContext = context;
        pg_sys::CurrentResourceOwner = owner;
        outcome
    }
}

enum Failure {
    Message(String),
    Other(Box<CaughtError>),
}

fn catch<T>(f: AssertUnwindSafe<impl FnOnce() -> T>) -> Result<T, Box<CaughtError>> {
    let mut result = None;
    let place = AssertUnwindSafe(&mut result);
    let caught = PgTryBuilder::new(AssertUnwindSafe(move || {
        let (f, place) = (f, place);
        *place.0 = Some((f.0)());
        None
    }))
    .catch_others(|caught| Some(Caught(caught)))
    .execute();
    match (caught, result) {
        (None, Some(value)) => Ok(value),
        (Some(Caught(caught)), _) => Err(Box::new(caught)),
        (None, None) => unreachable!("neither a result nor an error"),
    }
}

struct Caught(CaughtError);
impl UnwindSafe for Caught {}
impl RefUnwindSafe for Caught {}

fn classify(caught: CaughtError) -> Failure {
    let (code, message) = match &caught {
        CaughtError::PostgresError(report)
        | CaughtError::ErrorReport(report)
        | CaughtError::RustPanic {
            ereport: report, ..
        } => (report.sql_error_code(), report.message().to_string()),
    };
    let fatal = [
        PgSqlErrorCode::ERRCODE_QUERY_CANCELED,
        PgSqlErrorCode::ERRCODE_ADMIN_SHUTDOWN,
        PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY,
    ];
    if fatal.contains(&code) {
        Failure::Other(Box::new(caught))
    } else {
        Failure::Message(message)
    }
}
