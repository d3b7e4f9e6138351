// SPDX-License-Identifier: Apache-2.0
//! What the workers need of a session: transactions, whose rights are in force, statements, waiting.
use pgrx::datum::DatumWithOid;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::prelude::*;
use pgrx::spi::{SpiHeapTupleData, SpiTupleTable};

/// The bootstrap superuser, who owns the catalogue's rights whatever the extension's owner is called.
const SUPERUSER: u32 = 10;

// Signal handlers have to be the functions themselves, not guarded calls of them.
extern "C-unwind" {
    fn die(signal: i32);
    fn SignalHandlerForConfigReload(signal: i32);
}

/// Raises an error with a code and maybe a hint.
macro_rules! refuse {
    ($code:ident, $message:expr) => {
        $crate::cdc::session::raise(PgSqlErrorCode::$code, $message.into(), None)
    };
    ($code:ident, $message:expr, $hint:expr) => {
        $crate::cdc::session::raise(PgSqlErrorCode::$code, $message.into(), Some($hint.into()))
    };
}
pub(crate) use refuse;

/// Raises an error; see `refuse!`.
pub(crate) fn raise(code: PgSqlErrorCode, message: String, hint: Option<String>) -> ! {
    crate::pg::refuse(code, message, hint.as_deref().unwrap_or_default())
}

/// Runs `f` in a transaction of its own with a snapshot, for a process that has none open.
pub(crate) fn transaction<R>(f: impl FnOnce() -> R) -> R {
    begin();
    let result = with_snapshot(f);
    commit();
    result
}

/// Begins a transaction.
pub(crate) fn begin() {
    // SAFETY: called at the top level of a worker, outside any transaction.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
    }
}

/// Commits the open transaction.
pub(crate) fn commit() {
    // SAFETY: the transaction was begun by `begin` and no snapshot of ours is active.
    unsafe { pg_sys::CommitTransactionCommand() }
}

/// Commits the open transaction, and waits until that is on disk.
pub(crate) fn commit_to_disk() {
    commit();
    // SAFETY: the end of this session's last commit record, or nothing if it wrote none.
    unsafe {
        if pg_sys::XactLastCommitEnd != 0 {
            pg_sys::XLogFlush(pg_sys::XactLastCommitEnd);
        }
    }
}

/// Throws away whatever is open after an error.
pub(crate) fn abort() {
    // SAFETY: valid in every transaction state.
    unsafe { pg_sys::AbortOutOfAnyTransaction() }
}

/// Runs `f` under a new active snapshot.
pub(crate) fn with_snapshot<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: a transaction is open; an error unwinds the snapshot stack with the transaction.
    unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot()) };
    let result = f();
    // SAFETY: the snapshot pushed above is on top.
    unsafe { pg_sys::PopActiveSnapshot() };
    result
}

/// Runs `f` under a snapshot of this moment, whatever the statement and its transaction see.
pub(crate) fn with_latest_snapshot<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: a transaction is open; an error unwinds the snapshot stack with the transaction.
    unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot()) };
    let result = f();
    // SAFETY: the snapshot pushed above is on top.
    unsafe { pg_sys::PopActiveSnapshot() };
    result
}

/// Runs `f`, which may run code of `role`'s, with its rights. That code can change neither the role nor, for what comes
/// after, a setting; and it can put nothing off until the transaction ends, when this process has its own rights again
/// (as `SwitchToUntrustedUser` of PostgreSQL 16).
pub(crate) fn as_role<R>(role: pg_sys::Oid, f: impl FnOnce() -> R) -> R {
    let forbid = pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION;
    // SAFETY: an error undoes the settings with the transaction; otherwise they are undone below.
    let settings = unsafe { pg_sys::NewGUCNestLevel() };
    let result = in_context(role, forbid as i32, f);
    // SAFETY: ends the level begun above, and takes back what was set in it.
    unsafe { pg_sys::AtEOXact_GUC(false, settings) };
    result
}

/// Runs `f` with the rights of another role, inside of `as_role`, which forbids what it forbids and ends what is set.
pub(crate) fn as_user<R>(role: pg_sys::Oid, f: impl FnOnce() -> R) -> R {
    in_context(role, 0, f)
}

/// Runs `f` as a user, in a security context.
fn in_context<R>(role: pg_sys::Oid, forbid: i32, f: impl FnOnce() -> R) -> R {
    let (mut before, mut context) = (pg_sys::InvalidOid, 0);
    // SAFETY: an error restores the user with the transaction; otherwise it is restored below.
    unsafe {
        pg_sys::GetUserIdAndSecContext(&mut before, &mut context);
        pg_sys::SetUserIdAndSecContext(role, context | forbid);
    }
    let result = f();
    // SAFETY: as above.
    unsafe { pg_sys::SetUserIdAndSecContext(before, context) };
    result
}

/// Runs `f` with the catalogue's rights. Only for statements of this extension that name every object in full.
/// Operators have no such names: those of the session's search path are not the ones meant.
pub(crate) fn elevated<R>(f: impl FnOnce() -> R) -> R {
    let forbid = pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32;
    with_own_names(|| in_context(pg_sys::Oid::from(SUPERUSER), forbid, f))
}

/// Runs `f` with a search path on which nothing but PostgreSQL's own is found.
pub(crate) fn with_own_names<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: an error undoes the setting with the transaction; otherwise it is undone below.
    let settings = unsafe { pg_sys::NewGUCNestLevel() };
    // SAFETY: constants with a terminating zero.
    unsafe {
        pg_sys::set_config_option(
            c"search_path".as_ptr(),
            c"pg_catalog, pg_temp".as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            0,
            false,
        );
    }
    let result = f();
    // SAFETY: ends the level begun above.
    unsafe { pg_sys::AtEOXact_GUC(true, settings) };
    result
}

/// The role whose rights are in force.
pub(crate) fn current_role() -> pg_sys::Oid {
    // SAFETY: a session has a user.
    unsafe { pg_sys::GetUserId() }
}

/// Runs a statement that changes something.
pub(crate) fn execute(sql: &str, args: &[DatumWithOid<'_>]) {
    if let Err(e) = Spi::run_with_args(sql, args) {
        error!("{e}");
    }
}

/// The first column of the first row.
pub(crate) fn value<T: FromDatum + IntoDatum>(sql: &str, args: &[DatumWithOid<'_>]) -> Option<T> {
    Spi::connect(|client| {
        let table = client
            .select(sql, Some(1), args)
            .unwrap_or_else(|e| error!("{e}"));
        if table.is_empty() {
            return None;
        }
        table.first().get::<T>(1).unwrap_or_else(|e| error!("{e}"))
    })
}

/// The first column of the first row of a statement that changes something.
pub(crate) fn changed_value<T: FromDatum + IntoDatum>(
    sql: &str,
    args: &[DatumWithOid<'_>],
) -> Option<T> {
    Spi::connect_mut(|client| {
        let table = client
            .update(sql, Some(1), args)
            .unwrap_or_else(|e| error!("{e}"));
        if table.is_empty() {
            return None;
        }
        table.first().get::<T>(1).unwrap_or_else(|e| error!("{e}"))
    })
}

/// All rows, each through `f`.
pub(crate) fn rows<R>(
    sql: &str,
    args: &[DatumWithOid<'_>],
    f: impl Fn(&SpiHeapTupleData<'_>) -> R,
) -> Vec<R> {
    Spi::connect(|client| {
        let mut table: SpiTupleTable<'_> = client
            .select(sql, None, args)
            .unwrap_or_else(|e| error!("{e}"));
        let mut out = Vec::new();
        while table.next().is_some() {
            if let Ok(Some(row)) = table.get_heap_tuple() {
                out.push(f(&row));
            }
        }
        out
    })
}

/// A column of a row.
pub(crate) fn column<T: FromDatum + IntoDatum>(row: &SpiHeapTupleData<'_>, at: usize) -> Option<T> {
    row.get::<T>(at).unwrap_or_else(|e| error!("{e}"))
}

/// Answers signals: cancels, terminates, and re-reads the configuration.
pub(crate) fn check_interrupts() {
    pgrx::check_for_interrupts!();
    // SAFETY: flags set by signal handlers; read and cleared as PostgreSQL's own loops do.
    unsafe {
        if pg_sys::ConfigReloadPending != 0 {
            pg_sys::ConfigReloadPending = 0;
            pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
        }
    }
}

/// Sleeps until the latch is set or the time is over.
pub(crate) fn wait(milliseconds: i64) {
    let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    // SAFETY: the process's own latch.
    unsafe {
        pg_sys::WaitLatch(
            pg_sys::MyLatch,
            events as i32,
            milliseconds,
            pg_sys::PG_WAIT_EXTENSION,
        );
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    check_interrupts();
}

/// What every worker does first: signal handlers and the connection (no database: shared catalogues only).
pub(crate) fn start_worker(database: Option<u32>) {
    // SAFETY: the first thing a background worker does, on its only thread.
    unsafe {
        crate::pg::compat::pqsignal(pg_sys::SIGTERM as i32, Some(die));
        crate::pg::compat::pqsignal(pg_sys::SIGHUP as i32, Some(SignalHandlerForConfigReload));
        pg_sys::BackgroundWorkerUnblockSignals();
        match database {
            Some(db) => {
                pg_sys::BackgroundWorkerInitializeConnectionByOid(db.into(), pg_sys::InvalidOid, 0)
            }
            None => {
                pg_sys::BackgroundWorkerInitializeConnection(std::ptr::null(), std::ptr::null(), 0)
            }
        }
    }
}

/// Sets what a worker needs that runs SQL by itself, whatever the database's settings are.
pub(crate) fn set_worker_parameters() {
    for (name, setting) in [
        // Without it, types of temporary tables come before PostgreSQL's own.
        (c"search_path", c"pg_catalog, pg_temp"),
        (c"row_security", c"off"),
        (c"DateStyle", c"ISO"),
        (c"IntervalStyle", c"postgres"),
        (c"extra_float_digits", c"3"),
        (c"synchronous_commit", c"off"),
        (c"statement_timeout", c"0"),
        (c"lock_timeout", c"0"),
        (c"idle_in_transaction_session_timeout", c"0"),
    ] {
        set_parameter(name, setting);
    }
}

/// Sets a parameter for the life of the process.
pub(crate) fn set_parameter(name: &std::ffi::CStr, value: &std::ffi::CStr) {
    // SAFETY: both are constants with a terminating zero.
    unsafe {
        pg_sys::SetConfigOption(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucSource::PGC_S_OVERRIDE,
        );
    }
}

/// The message of an error, and whether trying again can help.
pub(crate) fn describe(error: &CaughtError) -> (String, bool) {
    let report = match error {
        CaughtError::PostgresError(r) | CaughtError::ErrorReport(r) => r,
        CaughtError::RustPanic { ereport, .. } => ereport,
    };
    let mut text = report.message().to_owned();
    if let Some(detail) = report.detail() {
        text = format!("{text} ({detail})");
    }
    let code = report.sql_error_code();
    let transient = matches!(
        code,
        PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE
            | PgSqlErrorCode::ERRCODE_T_R_DEADLOCK_DETECTED
            | PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE
            | PgSqlErrorCode::ERRCODE_DISK_FULL
            | PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY
            | PgSqlErrorCode::ERRCODE_TOO_MANY_CONNECTIONS
            | PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED
            | PgSqlErrorCode::ERRCODE_QUERY_CANCELED
            | PgSqlErrorCode::ERRCODE_ADMIN_SHUTDOWN
            | PgSqlErrorCode::ERRCODE_IO_ERROR
            | PgSqlErrorCode::ERRCODE_CONNECTION_EXCEPTION
            | PgSqlErrorCode::ERRCODE_CONNECTION_DOES_NOT_EXIST
            | PgSqlErrorCode::ERRCODE_CONNECTION_FAILURE
            | PgSqlErrorCode::ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION
            | PgSqlErrorCode::ERRCODE_PROTOCOL_VIOLATION
            | PgSqlErrorCode::ERRCODE_OBJECT_IN_USE
    );
    (text, transient)
}

/// Runs `f`; an error comes back as a value. The caller has to abort the transaction.
pub(crate) fn caught<R>(f: impl FnOnce() -> R) -> Result<R, (String, bool)> {
    PgTryBuilder::new(std::panic::AssertUnwindSafe(|| Ok(f())))
        .catch_others(|e| Err(describe(&e)))
        .catch_rust_panic(|e| Err(describe(&e)))
        .execute()
}
