// SPDX-License-Identifier: Apache-2.0
//! Copying the column store for CLUSTER and VACUUM FULL.
//!
//! Segments are copied as they are, with the visibility of every tuple, through PostgreSQL's own rewrite
//! machinery (access/heap/rewriteheap.c), so that older snapshots see after the swap what they saw before.
use crate::pg::raw::guarded;
use crate::pg::toast::Toast;
use pgrx::pg_sys;

#[repr(C)]
struct RewriteStateData {
    _opaque: [u8; 0],
}

extern "C-unwind" {
    fn begin_heap_rewrite(
        old: pg_sys::Relation,
        new: pg_sys::Relation,
        oldest_xmin: pg_sys::TransactionId,
        freeze_xid: pg_sys::TransactionId,
        multi_cutoff: pg_sys::MultiXactId,
    ) -> *mut RewriteStateData;
    fn end_heap_rewrite(state: *mut RewriteStateData);
    fn rewrite_heap_tuple(
        state: *mut RewriteStateData,
        old: pg_sys::HeapTuple,
        new: pg_sys::HeapTuple,
    );
    fn rewrite_heap_dead_tuple(state: *mut RewriteStateData, old: pg_sys::HeapTuple) -> bool;
}

/// Ids from here on are PostgreSQL's own TOAST values, which the heap's copy has rewritten already.
const FIRST_TOAST_ID: u32 = 16384;

/// Copies our tuples from one TOAST relation to another; returns whether there were any.
pub fn copy_store(
    from: &Toast,
    to: &Toast,
    oldest_xmin: pg_sys::TransactionId,
    freeze_xid: pg_sys::TransactionId,
    multi_cutoff: pg_sys::MultiXactId,
) -> bool {
    let mut copied = false;
    // SAFETY: both relations are exclusively locked; the rewrite state is ended before its pages are read.
    unsafe {
        let state =
            guarded(|| begin_heap_rewrite(from.rel, to.rel, oldest_xmin, freeze_xid, multi_cutoff));
        each_of_ours(from, |tuple, buffer| {
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
            let verdict = pg_sys::HeapTupleSatisfiesVacuum(tuple, oldest_xmin, buffer);
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
            if verdict == pg_sys::HTSV_Result::HEAPTUPLE_DEAD {
                guarded(|| rewrite_heap_dead_tuple(state, tuple));
                return;
            }
            let copy = pg_sys::heap_copytuple(tuple);
            guarded(|| rewrite_heap_tuple(state, tuple, copy));
            pg_sys::heap_freetuple(copy);
            copied = true;
        });
        guarded(|| end_heap_rewrite(state));
        if copied {
            each_of_ours(to, |tuple, _| to.index_tuple(tuple));
        }
    }
    copied
}

/// Calls `visit` with every physical tuple of ours.
///
/// # Safety
/// An open TOAST relation.
pub unsafe fn each_of_ours(
    toast: &Toast,
    mut visit: impl FnMut(pg_sys::HeapTuple, pg_sys::Buffer),
) {
    // SAFETY: a TOAST relation is a heap.
    unsafe {
        each_tuple(toast.rel, |tuple, buffer| {
            if crate::pg::toast::chunk_id(tuple) < FIRST_TOAST_ID {
                visit(tuple, buffer);
            }
        });
    }
}

/// Calls `visit` with every physical tuple of a heap.
///
/// # Safety
/// An open relation that is, or passes for, a heap.
pub unsafe fn each_tuple(
    rel: pg_sys::Relation,
    mut visit: impl FnMut(pg_sys::HeapTuple, pg_sys::Buffer),
) {
    // SAFETY: a sequential scan with a slot of the heap's type, ended below.
    unsafe {
        let scan = pg_sys::table_beginscan(
            rel,
            &raw mut pg_sys::SnapshotAnyData,
            0,
            std::ptr::null_mut(),
        );
        let slot = pg_sys::table_slot_create(rel, std::ptr::null_mut());
        let forward = pg_sys::ScanDirection::ForwardScanDirection;
        while pg_sys::table_scan_getnextslot(scan, forward, slot) {
            let slot = slot as *mut pg_sys::BufferHeapTupleTableSlot;
            visit((*slot).base.tuple, (*slot).buffer);
            pgrx::check_for_interrupts!();
        }
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        pg_sys::table_endscan(scan);
    }
}
