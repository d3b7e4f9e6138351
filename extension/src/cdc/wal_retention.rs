// SPDX-License-Identifier: Apache-2.0
//! Bounds the WAL that the slots of syncs hold back: a mirror may be lost, the source's disk may not fill up.
//!
//! The launcher looks, as the worker of a paused or failing sync does not run. It is connected to no database, so it
//! looks at the slots in shared memory. Slots on other servers are looked at by the workers, over their connections:
//! when they start, every few seconds, and once a minute while the sync is paused, for which they are started.
use super::catalogue::{slot_name, Sync};
use super::session::{abort, caught, transaction};
use super::shared_state;
use super::source::{literal, Source};
use super::worker::drop_slot;
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
    for entry in shared_state::read(|b| b.entries)
        .iter()
        .filter(|e| e.sync != 0)
    {
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

/// Whether the slot of a sync of another server holds back too much there; warns before.
pub(super) fn holds_too_much_there(db: u32, sync: &Sync, source: &mut Source) -> bool {
    if source.is_local() || !sync.slot_made {
        return false;
    }
    let sql = format!(
        "SELECT GREATEST(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), restart_lsn)::pg_catalog.int8, 0)::pg_catalog.text \
         FROM pg_catalog.pg_replication_slots WHERE slot_name = {}",
        literal(&sync.slot())
    );
    // Before the slot has decoded anything, or once it is lost, it holds nothing back.
    let retained = transaction(|| source.number("the slot of the sync", &sql)).unwrap_or(0);
    let limit = RETAINED_MB.get() as u64 * (1 << 20);
    let near = limit != 0 && retained >= limit / 100 * WARN_AT;
    let mut warned = false;
    shared_state::update(db, sync.id, |e| {
        warned = std::mem::replace(&mut e.retention_warned, near);
        e.retained = retained;
    });
    if near && !warned && retained <= limit {
        warning!(
            "sync \"{}\" holds back {} MB of WAL on its source; at {} MB its slot is dropped (doris.sync_retained_wal)",
            sync.name,
            retained >> 20,
            limit >> 20
        );
    }
    limit != 0 && retained > limit
}

/// Drops the slot of a sync of another server if it holds back too much.
pub(super) fn look_there(db: u32, sync: &Sync, source: &mut Source) {
    if !holds_too_much_there(db, sync, source) {
        return;
    }
    let slot = sync.slot();
    drop_slot(source, &slot);
    let retained = shared_state::get(db, sync.id).map_or(0, |e| e.retained);
    warning!(
        "replication slot \"{slot}\" held back {} MB of WAL on the source and was dropped",
        retained >> 20
    );
    shared_state::update(db, sync.id, |e| (e.given_up, e.retained) = (retained, 0));
}

/// The same while the sync is paused. A source that cannot be reached is tried again at the next look.
pub(super) fn look_while_paused(db: u32, sync: &Sync) {
    if sync.connection.is_none() || !sync.slot_made {
        return;
    }
    let looked = caught(|| {
        let mut source = Source::open(sync);
        look_there(db, sync, &mut source);
    });
    if let Err((why, _)) = looked {
        abort();
        log!(
            "the slot of paused sync \"{}\" cannot be looked at: {why}",
            sync.name
        );
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
fn give_up(entry: &shared_state::Entry, retained: u64) {
    [entry.worker_pid, entry.decoder_pid]
        .into_iter()
        .for_each(shared_state::terminate);
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
    shared_state::update(entry.db, entry.sync, |e| {
        e.given_up = retained;
        e.not_before_us = 0;
    });
}
