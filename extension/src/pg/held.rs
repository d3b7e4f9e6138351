// SPDX-License-Identifier: Apache-2.0
//! A snapshot that is held until the transaction's deferred triggers have run: they find the rows that they are about
//! by place, and a row that this transaction did not write itself may be deleted and removed by others until then.
use pgrx::pg_sys;
use std::cell::Cell;

thread_local! {
    static HELD: Cell<pg_sys::Snapshot> = const { Cell::new(std::ptr::null_mut()) };
}

/// Keeps all rows that are there for the running command fetchable by their TIDs until the transaction ends.
///
/// Not by a lock, which would make other writers of the key wait: nothing of it is changed.
pub fn until_end() {
    if !HELD.get().is_null() {
        return;
    }
    // SAFETY: plain calls. A command that writes rows has an active snapshot as a rule, taken before it has looked for
    // any; the owner lives as long as the transaction, whatever its subtransactions do.
    let held = unsafe {
        let snapshot = match pg_sys::ActiveSnapshotSet() {
            true => pg_sys::GetActiveSnapshot(),
            false => pg_sys::GetLatestSnapshot(),
        };
        pg_sys::RegisterSnapshotOnOwner(snapshot, pg_sys::TopTransactionResourceOwner)
    };
    HELD.set(held);
}

/// Lets go before a commit or a PREPARE, once deferred triggers have run.
pub fn release() {
    let held = HELD.replace(std::ptr::null_mut());
    if !held.is_null() {
        // SAFETY: registered in `until_end` in this transaction.
        unsafe {
            pg_sys::UnregisterSnapshotFromOwner(held, pg_sys::TopTransactionResourceOwner);
        }
    }
}

/// The transaction has rolled back, and its resource owner with it.
pub fn forget() {
    HELD.set(std::ptr::null_mut());
}
