// SPDX-License-Identifier: Apache-2.0
//! VACUUM FULL and CLUSTER as compaction: all rows anew into full segments, sorted by the table's key or, where it has
//! none, in the order of CLUSTER's index. (The order of a key is for life: it is what scans prune by.)
//!
//! They must not change what older snapshots see once they come to read the table. So rows are written
//! anew only when every version in the table is either seen by all snapshots or by none; the new segments'
//! entries are inserted frozen and are seen by all, too. Otherwise the caller copies tuple by tuple, with
//! their visibility.
use super::cluster::each_of_ours;
use crate::options;
use crate::pg::compat;
use crate::pg::toast::Toast;
use crate::store::deleted_keys;
use crate::write::builder;
use pgrx::pg_sys;

/// Blocks of the main relation from which rewriting is worth it where there are no segments yet.
const HEAP_BLOCKS_MIN: u32 = 1024;

/// Writes the live rows of `old` into segments of `new`, in the order of an index if there is one. Returns their
/// number, or `None`, with nothing done, when the table must be copied tuple by tuple.
///
/// # Safety
/// Both relations are open and exclusively locked, as is the index; `new` is empty.
pub unsafe fn rewrite(
    old: pg_sys::Relation,
    new: pg_sys::Relation,
    index: pg_sys::Relation,
    oldest_xmin: pg_sys::TransactionId,
) -> Option<f64> {
    // SAFETY: passed on to the caller.
    unsafe {
        let segments =
            super::relation::segment_totals(old, &raw mut pg_sys::SnapshotSelfData).segments;
        let blocks = pg_sys::RelationGetNumberOfBlocksInFork(old, pg_sys::ForkNumber::MAIN_FORKNUM);
        let heap_is_enough = blocks < HEAP_BLOCKS_MIN || !index.is_null();
        if (segments == 0 && heap_is_enough) || options::bulk_loads_to_heap(old) {
            return None;
        }
        if !settled(old, oldest_xmin) {
            return None;
        }
        let _frozen = builder::Frozen::begin();
        let rows = if index.is_null() || !options::sort_key(old).is_empty() {
            copy(old, new)
        } else if (*(*index).rd_rel).relam == pg_sys::BTREE_AM_OID {
            copy_sorted(old, new, index)
        } else {
            copy_by_index(old, new, index)
        };
        builder::finish(new);
        copy_deleted_keys(old, new);
        super::relation::ensure_first_block(new);
        Some(rows)
    }
}

/// Copies what is remembered of deleted keys.
fn copy_deleted_keys(old: pg_sys::Relation, new: pg_sys::Relation) {
    let mode = pg_sys::AccessExclusiveLock as i32;
    if let (Some(old), Some(new)) = (Toast::open(old, mode), Toast::open(new, mode)) {
        deleted_keys::copy(&old, &new);
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
        let xmin = pg_sys::htup::HeapTupleHeaderGetXmin((*tuple).t_data);
        match verdict {
            pg_sys::HTSV_Result::HEAPTUPLE_DEAD => true,
            pg_sys::HTSV_Result::HEAPTUPLE_LIVE => pg_sys::TransactionIdPrecedes(xmin, oldest_xmin),
            _ => false,
        }
    }
}

/// The rows that one relation hands to the builder of another, and what is told of their progress.
struct Copying {
    new: pg_sys::Relation,
    slot: *mut pg_sys::TupleTableSlot,
    cid: pg_sys::CommandId,
    rows: i64,
}

impl Copying {
    unsafe fn begin(old: pg_sys::Relation, new: pg_sys::Relation, phase: u32) -> Self {
        // SAFETY: open relations of the same row type; the slot is dropped in `end`.
        unsafe {
            pg_sys::pgstat_progress_update_param(
                pg_sys::PROGRESS_CLUSTER_PHASE as i32,
                i64::from(phase),
            );
            Self {
                new,
                slot: pg_sys::table_slot_create(old, std::ptr::null_mut()),
                cid: pg_sys::GetCurrentCommandId(true),
                rows: 0,
            }
        }
    }

    /// Writes the row in the slot.
    unsafe fn write(&mut self) {
        self.rows += 1;
        // SAFETY: the slot holds a row.
        unsafe { builder::append(self.new, &[self.slot], self.cid, true) };
        report(pg_sys::PROGRESS_CLUSTER_HEAP_TUPLES_WRITTEN, self.rows);
        pgrx::check_for_interrupts!();
    }

    unsafe fn end(self) -> f64 {
        tell(pg_sys::PROGRESS_CLUSTER_HEAP_TUPLES_WRITTEN, self.rows);
        // SAFETY: made in `begin`.
        unsafe { pg_sys::ExecDropSingleTupleTableSlot(self.slot) };
        self.rows as f64
    }
}

/// Tells a count of the running command, now and then.
fn report(param: u32, count: i64) {
    if count % 1024 == 0 {
        tell(param, count);
    }
}

/// Tells a count of the running command.
fn tell(param: u32, count: i64) {
    // SAFETY: a parameter of the command's progress.
    unsafe { pg_sys::pgstat_progress_update_param(param as i32, count) };
}

/// Hands every live row to the builder of `new`, in the order they are in.
unsafe fn copy(old: pg_sys::Relation, new: pg_sys::Relation) -> f64 {
    // SAFETY: the scan is ended below; the slot has the row type of both relations.
    unsafe {
        let mut copying = Copying::begin(old, new, pg_sys::PROGRESS_CLUSTER_PHASE_SEQ_SCAN_HEAP);
        let snapshot = &raw mut pg_sys::SnapshotSelfData;
        let scan = pg_sys::table_beginscan(old, snapshot, 0, std::ptr::null_mut());
        let forward = pg_sys::ScanDirection::ForwardScanDirection;
        while pg_sys::table_scan_getnextslot(scan, forward, copying.slot) {
            copying.write();
            report(pg_sys::PROGRESS_CLUSTER_HEAP_TUPLES_SCANNED, copying.rows);
        }
        tell(pg_sys::PROGRESS_CLUSTER_HEAP_TUPLES_SCANNED, copying.rows);
        pg_sys::table_endscan(scan);
        copying.end()
    }
}

/// Sorts the live rows as a btree has them, within maintenance_work_mem.
unsafe fn copy_sorted(
    old: pg_sys::Relation,
    new: pg_sys::Relation,
    index: pg_sys::Relation,
) -> f64 {
    // SAFETY: scan, sort and slot are ended below; tuples that the sort returns live until the next one.
    unsafe {
        let mut copying = Copying::begin(old, new, pg_sys::PROGRESS_CLUSTER_PHASE_SEQ_SCAN_HEAP);
        let sort = pg_sys::tuplesort_begin_cluster(
            (*old).rd_att,
            index,
            pg_sys::maintenance_work_mem,
            std::ptr::null_mut(),
            0,
        );
        let snapshot = &raw mut pg_sys::SnapshotSelfData;
        let scan = pg_sys::table_beginscan(old, snapshot, 0, std::ptr::null_mut());
        let forward = pg_sys::ScanDirection::ForwardScanDirection;
        let mut scanned = 0;
        while pg_sys::table_scan_getnextslot(scan, forward, copying.slot) {
            let mut ours = false;
            let tuple = pg_sys::ExecFetchSlotHeapTuple(copying.slot, false, &mut ours);
            pg_sys::tuplesort_putheaptuple(sort, tuple);
            if ours {
                pg_sys::heap_freetuple(tuple);
            }
            scanned += 1;
            report(pg_sys::PROGRESS_CLUSTER_HEAP_TUPLES_SCANNED, scanned);
            pgrx::check_for_interrupts!();
        }
        tell(pg_sys::PROGRESS_CLUSTER_HEAP_TUPLES_SCANNED, scanned);
        pg_sys::table_endscan(scan);
        let phase = pg_sys::PROGRESS_CLUSTER_PHASE as i32;
        let sorting = i64::from(pg_sys::PROGRESS_CLUSTER_PHASE_SORT_TUPLES);
        pg_sys::pgstat_progress_update_param(phase, sorting);
        pg_sys::tuplesort_performsort(sort);
        let writing = i64::from(pg_sys::PROGRESS_CLUSTER_PHASE_WRITE_NEW_HEAP);
        pg_sys::pgstat_progress_update_param(phase, writing);
        loop {
            let tuple = pg_sys::tuplesort_getheaptuple(sort, true);
            if tuple.is_null() {
                break;
            }
            pg_sys::ExecForceStoreHeapTuple(tuple, copying.slot, false);
            copying.write();
        }
        pg_sys::tuplesort_end(sort);
        copying.end()
    }
}

/// Reads the live rows by an index that is not a btree.
unsafe fn copy_by_index(
    old: pg_sys::Relation,
    new: pg_sys::Relation,
    index: pg_sys::Relation,
) -> f64 {
    // SAFETY: the scan is ended below; the slot has the row type of both relations.
    unsafe {
        let mut copying = Copying::begin(old, new, pg_sys::PROGRESS_CLUSTER_PHASE_INDEX_SCAN_HEAP);
        let snapshot = &raw mut pg_sys::SnapshotSelfData;
        let scan = compat::index_beginscan(old, index, snapshot, 0);
        pg_sys::index_rescan(scan, std::ptr::null_mut(), 0, std::ptr::null_mut(), 0);
        let forward = pg_sys::ScanDirection::ForwardScanDirection;
        while pg_sys::index_getnext_slot(scan, forward, copying.slot) {
            if (*scan).xs_recheck {
                pgrx::error!("CLUSTER does not support lossy index conditions");
            }
            copying.write();
            report(pg_sys::PROGRESS_CLUSTER_HEAP_TUPLES_SCANNED, copying.rows);
        }
        tell(pg_sys::PROGRESS_CLUSTER_HEAP_TUPLES_SCANNED, copying.rows);
        pg_sys::index_endscan(scan);
        copying.end()
    }
}
