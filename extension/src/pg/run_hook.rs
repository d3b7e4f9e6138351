// SPDX-License-Identifier: Apache-2.0
//! Whether a running statement was asked for all its rows or for a few. The executor stops after those, also in a
//! statement that writes: `SPI_execute` with a limit ends an UPDATE ... RETURNING after so many rows.
use super::raw;
use pgrx::{pg_guard, pg_sys};
use std::cell::RefCell;

static mut PREVIOUS: pg_sys::ExecutorRun_hook_type = None;

thread_local! {
    /// The statements that run and were asked for a few rows, the innermost last: addresses that are only compared.
    /// Those that an error ended stay until the transaction ends or their address is used again.
    static LIMITED: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Installs the hook.
pub fn install() {
    // SAFETY: called once, while the library is loaded.
    unsafe {
        PREVIOUS = pg_sys::ExecutorRun_hook;
        pg_sys::ExecutorRun_hook = Some(run);
    }
}

/// Whether the executor stops before the end of a statement that runs. It may say so of one that does not; never the
/// other way round.
pub fn is_limited(estate: *mut pg_sys::EState) -> bool {
    LIMITED.with_borrow(|limited| limited.contains(&(estate as usize)))
}

/// Forgets all statements, at the end of a transaction.
pub fn forget() {
    LIMITED.with_borrow_mut(Vec::clear);
}

#[pg_guard]
unsafe extern "C-unwind" fn note(query: *mut pg_sys::QueryDesc, count: u64) {
    // SAFETY: a query that was started.
    let estate = unsafe { (*query).estate } as usize;
    LIMITED.with_borrow_mut(|limited| {
        limited.retain(|known| *known != estate);
        if count != 0 {
            limited.push(estate);
        }
    });
}

// Not guarded: errors pass through unchanged. The frame holds nothing that needs dropping.

#[cfg(not(feature = "pg18"))]
unsafe extern "C-unwind" fn run(
    query: *mut pg_sys::QueryDesc,
    direction: pg_sys::ScanDirection::Type,
    count: u64,
    once: bool,
) {
    // SAFETY: valid arguments from PostgreSQL; hooks change only while libraries load.
    unsafe {
        note(query, count);
        PREVIOUS.unwrap_or(raw::standard_ExecutorRun)(query, direction, count, once);
        note(query, 0);
    }
}

#[cfg(feature = "pg18")]
unsafe extern "C-unwind" fn run(
    query: *mut pg_sys::QueryDesc,
    direction: pg_sys::ScanDirection::Type,
    count: u64,
) {
    // SAFETY: valid arguments from PostgreSQL; hooks change only while libraries load.
    unsafe {
        note(query, count);
        PREVIOUS.unwrap_or(raw::standard_ExecutorRun)(query, direction, count);
        note(query, 0);
    }
}
