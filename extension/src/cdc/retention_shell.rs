// SPDX-License-Identifier: Apache-2.0
//! Bounds the WAL that the slots of syncs hold back: a mirror may be lost, the source's disk may not fill up.
//!
//! The launcher looks, as the worker of a paused or failing sync does not run. It is connected to no database, so it
//! looks at the slots in shared memory.
use super::board;
use super::catalogue::slot_name;
use super::session::caught;
use super::RETAINED_MB;
use pgrx::prelude::*;
use std::collections::HashSet;
use std::ffi::CString;

/// Of the bound, in percent.
const WARN_AT: u64 = 80;

/// Warns of, and then drops, the slots that hold back too much. `warned` remembers between looks.
pub(crate) fn look(warned: &mut HashSet<(u32, i32)>) {
    let limit = RETAINED_MB.get() as u64 * (1 << 20);
    if limit == 0 {
        return;
    }
    for entry in board::read(|b| b.entries).iter().filter(|e| e.sync != 0) {
        let id = (entry.db, entry.sync);
        let Some(retained) = retained_bytes(id) else {
            continue;
        };
        if retained < limit / 100 * WARN_AT {
            warned.remove(&id);
            continue;
        }
        if retained > limit {
            give_up(entry, retained);
        } else if warned.insert(id) {
            warning!(
                "sync {} of database {} holds back {} MB of WAL; at {} MB its slot is dropped (doris.sync_retained_wal)",
                entry.sync,
                entry.db,
                retained >> 20,
                limit >> 20
            );
        }
    }
}

fn retained_bytes((db, sync): (u32, i32)) -> Option<u64> {
    let name = CString::new(slot_name(db, sync)).unwrap_or_default();
    // SAFETY: slots stay where they are in shared memory; a position is read whole.
    unsafe {
        let slot = pg_sys::SearchNamedReplicationSlot(name.as_ptr(), true);
        if slot.is_null() || (*slot).data.restart_lsn == 0 {
            return None;
        }
        Some(pg_sys::GetXLogInsertRecPtr().saturating_sub((*slot).data.restart_lsn))
    }
}

/// Stops the sync's processes and drops its slot, maybe at the next look only, when they have ended.
fn give_up(entry: &board::Entry, retained: u64) {
    [entry.worker_pid, entry.decoder_pid]
        .into_iter()
        .for_each(board::terminate);
    let name = slot_name(entry.db, entry.sync);
    let slot = CString::new(name.clone()).unwrap_or_default();
    // SAFETY: this process holds no slot; an error (it is still in use) leaves nothing behind.
    if caught(|| unsafe { pg_sys::ReplicationSlotDrop(slot.as_ptr(), true) }).is_err() {
        return;
    }
    warning!(
        "replication slot \"{name}\" held back {} MB of WAL and was dropped",
        retained >> 20
    );
    board::update(entry.db, entry.sync, |e| {
        e.given_up = retained;
        e.not_before_us = 0;
    });
}
