// SPDX-License-Identifier: Apache-2.0
//! VACUUM FULL as compaction: all rows anew into full, sorted segments.
//!
//! VACUUM FULL must not change what older snapshots see once they come to read the table. So rows are written
//! anew only when every version in the table is either seen by all snapshots or by none; the new segments'
//! entries are inserted frozen and are seen by all, too. Otherwise the caller copies tuple by tuple, with
//! their visibility.
use super::cluster::each_of_ours;
use crate::options;
use crate::pg::toast::Toast;
use crate::write::builder;
use pgrx::pg_sys;

/// Blocks of the main relation from which rewriting is worth it where there are no segments yet.
const HEAP_BLOCKS_MIN: u32 = 1024;

/// Writes the live rows of `old` into segments of `new`. Returns their number, or `None`, with nothing done,
/// when the table must be copied tuple by tuple.
///
/// # Safety
/// Both relations are open and exclusively locked; `new` is empty.
pub unsafe fn rewrite(
    old: pg_sys::Relation,
    new: pg_sys::Relation,
    oldest_xmin: pg_sys::TransactionId,
) -> Option<f64> {
    // SAFETY: passed on to the caller.
    unsafe {
        let (_, _, segments) =
            super::relation::segment_totals(old, &raw mut pg_sys::SnapshotSelfData);
        let blocks = pg_sys::RelationGetNumberOfBlocksInFork(old, pg_sys::ForkNumber::MAIN_FORKNUM);
        if (segments == 0 && blocks < HEAP_BLOCKS_MIN) || options::bulk_loads_to_heap(old) {
            return None;
        }
        if !settled(old, oldest_xmin) {
            return None;
        }
        let _frozen = builder::Frozen::begin();
        let rows = copy(old, new);
        builder::finish(new);
        super::relation::ensure_first_block(new);
        Some(rows)
    }
}

/// Whether all snapshots agree on every version in the table.
unsafe fn settled(rel: pg_sys::Relation, oldest_xmin: pg_sys::TransactionId) -> bool {
    // SAFETY: an exclusively locked relation; the heap's part is scanned with a slot of the heap's type.
    unsafe {
        let Some(toast) = Toast::open(rel, pg_sys::AccessExclusiveLock as i32) else {
            return false;
        };
        let mut settled = true;
        each_of_ours(&toast, |tuple, buffer| {
            settled &= agreed(tuple, buffer, oldest_xmin)
        });
        if !settled {
            return false;
        }
        let _view = crate::pg::heapam::HeapView::of(rel);
        super::cluster::each_tuple(rel, |tuple, buffer| {
            settled &= agreed(tuple, buffer, oldest_xmin);
        });
        settled
    }
}

/// Whether all snapshots see a version, or none does.
unsafe fn agreed(
    tuple: pg_sys::HeapTuple,
    buffer: pg_sys::Buffer,
    oldest_xmin: pg_sys::TransactionId,
) -> bool {
    // SAFETY: a pinned tuple; the content lock is held for the check.
    unsafe {
        pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
        let verdict = pg_sys::HeapTupleSatisfiesVacuum(tuple, oldest_xmin, buffer);
        pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
        let xmin = pg_sys::HeapTupleHeaderGetXmin((*tuple).t_data);
        match verdict {
            pg_sys::HTSV_Result::HEAPTUPLE_DEAD => true,
            pg_sys::HTSV_Result::HEAPTUPLE_LIVE => pg_sys::TransactionIdPrecedes(xmin, oldest_xmin),
            _ => false,
        }
    }
}

/// Hands every live row to the builder of `new`.
unsafe fn copy(old: pg_sys::Relation, new: pg_sys::Relation) -> f64 {
    // SAFETY: scan and slot are ended below; the slot has the row type of both relations.
    unsafe {
        let cid = pg_sys::GetCurrentCommandId(true);
        let snapshot = &raw mut pg_sys::SnapshotSelfData;
        let scan = pg_sys::table_beginscan(old, snapshot, 0, std::ptr::null_mut());
        let slot = pg_sys::table_slot_create(old, std::ptr::null_mut());
        let forward = pg_sys::ScanDirection::ForwardScanDirection;
        let mut rows = 0.0;
        while pg_sys::table_scan_getnextslot(scan, forward, slot) {
            builder::append(new, &[slot], cid, true);
            rows += 1.0;
            pgrx::check_for_interrupts!();
        }
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        pg_sys::table_endscan(scan);
        rows
    }
}
