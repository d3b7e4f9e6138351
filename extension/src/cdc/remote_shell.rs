// SPDX-License-Identifier: Apache-2.0
//! A connection to another server, through PostgreSQL's own replication client (libpqwalreceiver): statements,
//! COPY, and the stream of a slot.
//!
//! A replication connection to a database takes SQL as well, so one kind of connection does everything. (A client
//! library of our own was rejected: it would bring its own TLS, its own password files and its own mistakes.)
use pgrx::prelude::*;
use std::ffi::CString;

use crate::pg::{self, raw::guarded};

extern "C-unwind" {
    fn enable_timeout_after(id: i32, delay_ms: i32);
    fn disable_timeout(id: i32, keep_indicator: bool);
}

/// STATEMENT_TIMEOUT of utils/timeout.h.
const STATEMENT_TIMEOUT: i32 = 3;

/// A connection, closed when it goes out of scope.
pub(crate) struct Connection {
    conn: *mut pg_sys::WalReceiverConn,
    /// Answers may take as long as they take.
    patient: bool,
}

/// While it lives, a worker that waits for the source gives up after `wal_receiver_timeout`: a network that was cut
/// without a word would hold it for hours.
struct Patience(bool);

impl Patience {
    fn begin(limited: bool) -> Self {
        // SAFETY: variables of this process; workers have registered the timeout, and answer it as a cancellation.
        unsafe {
            let limit = pg_sys::wal_receiver_timeout;
            let worker = pg_sys::MyBackendType == pg_sys::BackendType::B_BG_WORKER;
            let limited = limited && worker && limit > 0;
            if limited {
                enable_timeout_after(STATEMENT_TIMEOUT, limit);
            }
            Patience(limited)
        }
    }
}

impl Drop for Patience {
    fn drop(&mut self) {
        if self.0 {
            // SAFETY: ends what `begin` began.
            unsafe { disable_timeout(STATEMENT_TIMEOUT, false) };
        }
    }
}

/// What a look at a COPY or a stream found.
pub(crate) enum Arrived<'a> {
    /// A message; valid until the next look.
    Bytes(&'a [u8]),
    /// Nothing yet; the socket to wait for.
    Nothing(i32),
    /// The source ended it.
    End,
}

fn functions() -> &'static pg_sys::WalReceiverFunctionsType {
    // SAFETY: the library sets the table of its functions when it is loaded and never unloads.
    unsafe {
        if pg_sys::WalReceiverFunctions.is_null() {
            pg_sys::load_file(c"libpqwalreceiver".as_ptr(), false);
        }
        &*pg_sys::WalReceiverFunctions
    }
}

macro_rules! call {
    ($name:ident($($argument:expr),*)) => {{
        let Some(function) = functions().$name else {
            error!("the replication client lacks a function")
        };
        guarded(|| function($($argument),*))
    }};
}

/// Runs `f` with allocations that last as long as the process.
fn lasting<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: the context is put back; an error puts it back as well.
    unsafe {
        let before = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
        let result = f();
        pg_sys::MemoryContextSwitchTo(before);
        result
    }
}

/// An error unless the text is a connection string.
pub(crate) fn check_conninfo(conninfo: &str) {
    let text = CString::new(conninfo).unwrap_or_default();
    // SAFETY: a C string; the function only parses it. Since 16 it also looks whether a password is there, if asked to.
    unsafe {
        #[cfg(feature = "pg15")]
        call!(walrcv_check_conninfo(text.as_ptr()));
        #[cfg(not(feature = "pg15"))]
        call!(walrcv_check_conninfo(text.as_ptr(), false));
    }
}

impl Connection {
    /// Connects, or raises why that is not possible.
    pub(crate) fn open(conninfo: &str, application: &str) -> Self {
        let info = CString::new(conninfo).unwrap_or_default();
        let name = CString::new(application).unwrap_or_default();
        let mut why = std::ptr::null_mut();
        let _patience = Patience::begin(true);
        // SAFETY: C strings that outlive the call; the connection's memory has to outlive every transaction.
        let conn = lasting(|| unsafe {
            #[cfg(feature = "pg15")]
            let conn = call!(walrcv_connect(info.as_ptr(), true, name.as_ptr(), &mut why));
            #[cfg(feature = "pg16")]
            let conn = call!(walrcv_connect(
                info.as_ptr(),
                true,
                false,
                name.as_ptr(),
                &mut why
            ));
            #[cfg(any(feature = "pg17", feature = "pg18"))]
            let conn = call!(walrcv_connect(
                info.as_ptr(),
                true,
                true,
                false,
                name.as_ptr(),
                &mut why
            ));
            conn
        });
        if conn.is_null() {
            super::session::raise(
                PgSqlErrorCode::ERRCODE_CONNECTION_FAILURE,
                // SAFETY: a message of the client library's.
                format!("could not connect to the source: {}", unsafe {
                    reason(why)
                }),
                None,
            );
        }
        Connection {
            conn,
            patient: false,
        }
    }

    /// Lets the statements of `f` take as long as they take: they wait for transactions of the source.
    pub(crate) fn without_timeout<R>(&mut self, f: impl FnOnce(&mut Self) -> R) -> R {
        self.patient = true;
        let result = f(self);
        self.patient = false;
        result
    }

    /// The rows of a statement, all columns as text. A transaction is open.
    pub(crate) fn query(&mut self, sql: &str, columns: usize) -> Vec<Vec<Option<String>>> {
        let types = vec![pg_sys::TEXTOID; columns];
        self.exec(
            sql,
            &types,
            pg_sys::WalRcvExecStatus::WALRCV_OK_TUPLES,
            |result| {
                // SAFETY: the result of a query has a tuple store and its row type.
                unsafe { read_rows((*result).tuplestore, (*result).tupledesc, columns) }
            },
        )
    }

    /// Runs a statement without rows.
    pub(crate) fn run(&mut self, sql: &str) {
        self.exec(
            sql,
            &[],
            pg_sys::WalRcvExecStatus::WALRCV_OK_COMMAND,
            |_| (),
        );
    }

    /// Begins a COPY TO STDOUT; its data is to be received to the end.
    pub(crate) fn copy_out(&mut self, sql: &str) {
        self.exec(
            sql,
            &[],
            pg_sys::WalRcvExecStatus::WALRCV_OK_COPY_OUT,
            |_| (),
        );
    }

    /// Begins the stream of a slot.
    pub(crate) fn start_replication(&mut self, command: &str) {
        let both = pg_sys::WalRcvExecStatus::WALRCV_OK_COPY_BOTH;
        self.exec(command, &[], both, |_| ());
    }

    fn exec<R>(
        &mut self,
        sql: &str,
        types: &[pg_sys::Oid],
        wanted: pg_sys::WalRcvExecStatus::Type,
        f: impl FnOnce(*mut pg_sys::WalRcvExecResult) -> R,
    ) -> R {
        let command = CString::new(sql).unwrap_or_default();
        let commands = wanted == pg_sys::WalRcvExecStatus::WALRCV_OK_COMMAND;
        // Commands lock tables.
        let _patience = Patience::begin(!self.patient && !commands);
        // SAFETY: everything is allocated in a context of its own, which goes at the end, or with its parent.
        unsafe {
            let context = pg_sys::AllocSetContextCreateInternal(
                pg_sys::CurrentMemoryContext,
                c"doris source".as_ptr(),
                0,
                pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
            );
            let before = pg_sys::MemoryContextSwitchTo(context);
            let conn = self.conn;
            let (count, types) = (types.len() as i32, types.as_ptr());
            let result = call!(walrcv_exec(conn, command.as_ptr(), count, types));
            if (*result).status != wanted {
                refused((*result).sqlstate, &reason((*result).err));
            }
            let out = f(result);
            if !(*result).tuplestore.is_null() {
                pg_sys::tuplestore_end((*result).tuplestore);
            }
            pg_sys::MemoryContextSwitchTo(before);
            pg_sys::MemoryContextDelete(context);
            out
        }
    }

    /// Looks for the next message of a COPY or a stream.
    pub(crate) fn receive(&mut self) -> Arrived<'_> {
        let (mut buffer, mut socket) = (std::ptr::null_mut(), pg_sys::PGINVALID_SOCKET);
        let conn = self.conn;
        // SAFETY: the bytes belong to the connection until the next call, which needs `self` again.
        unsafe {
            let length = call!(walrcv_receive(conn, &mut buffer, &mut socket));
            match length {
                0 => Arrived::Nothing(socket),
                n if n > 0 => {
                    Arrived::Bytes(std::slice::from_raw_parts(buffer.cast::<u8>(), n as usize))
                }
                _ => Arrived::End,
            }
        }
    }

    /// Sends a message to the stream.
    pub(crate) fn send(&mut self, message: &[u8]) {
        let conn = self.conn;
        let (bytes, length) = (message.as_ptr().cast(), message.len() as i32);
        // SAFETY: the bytes outlive the call.
        unsafe { call!(walrcv_send(conn, bytes, length)) };
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: closes the socket; raises nothing.
        unsafe {
            if let Some(disconnect) = functions().walrcv_disconnect {
                disconnect(self.conn);
            }
        }
    }
}

/// Waits until a socket has something to read, the latch is set, or the time is over.
pub(crate) fn wait_for_socket(socket: i32, milliseconds: i64) {
    let mut events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    if socket != pg_sys::PGINVALID_SOCKET {
        events |= pg_sys::WL_SOCKET_READABLE;
    }
    // SAFETY: the process's own latch and a socket that is open.
    unsafe {
        pg_sys::WaitLatchOrSocket(
            pg_sys::MyLatch,
            events as i32,
            socket,
            milliseconds,
            pg_sys::PG_WAIT_EXTENSION,
        );
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    super::session::check_interrupts();
}

/// The message of a failure, without what the client library puts before it.
///
/// # Safety
/// A text that ends with a zero, or a null pointer.
unsafe fn reason(message: *const std::ffi::c_char) -> String {
    // SAFETY: passed on to the caller.
    let Some(text) = (unsafe { pg::text_or_none(message) }) else {
        return "no reason given".into();
    };
    let text = text.trim();
    let text = text.strip_prefix("ERROR:").unwrap_or(text);
    text.trim().to_owned()
}

/// Raises what the source answered. A lost connection is one that trying again may cure.
fn refused(sqlstate: i32, message: &str) -> ! {
    const CLASS: i32 = (1 << 12) - 1;
    const CONNECTION_EXCEPTION: i32 = 8 << 6;
    const OPERATOR_INTERVENTION: i32 = 5 | (7 << 6);
    let lost = matches!(
        sqlstate & CLASS,
        0 | CONNECTION_EXCEPTION | OPERATOR_INTERVENTION
    );
    let code = if lost {
        PgSqlErrorCode::ERRCODE_CONNECTION_FAILURE
    } else {
        PgSqlErrorCode::ERRCODE_FDW_ERROR
    };
    super::session::raise(code, format!("the source refused: {message}"), None)
}

unsafe fn read_rows(
    store: *mut pg_sys::Tuplestorestate,
    row_type: pg_sys::TupleDesc,
    columns: usize,
) -> Vec<Vec<Option<String>>> {
    let mut out = Vec::new();
    // SAFETY: the slot has the store's row type; all columns are text.
    unsafe {
        let slot =
            pg_sys::MakeSingleTupleTableSlot(row_type, &raw const pg_sys::TTSOpsMinimalTuple);
        while pg_sys::tuplestore_gettupleslot(store, true, false, slot) {
            pg_sys::slot_getallattrs(slot);
            let row = (0..columns).map(|i| {
                let (value, null) = (*(*slot).tts_values.add(i), *(*slot).tts_isnull.add(i));
                String::from_datum(value, null)
            });
            out.push(row.collect());
        }
        pg_sys::ExecDropSingleTupleTableSlot(slot);
    }
    out
}
