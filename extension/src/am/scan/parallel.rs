// SPDX-License-Identifier: Apache-2.0
//! Parallel scans: the heap's shared state, and a counter of claimed segments behind it.
use super::{parts, Scan, State};
use crate::heap_call;
use crate::read::cursor::Cursor;
use pgrx::{pg_guard, pg_sys};
use std::sync::atomic::{AtomicU32, Ordering};

/// Puts this module's callbacks into the routine table.
pub(super) fn install(table: &mut pg_sys::TableAmRoutine) {
    table.parallelscan_estimate = Some(parallelscan_estimate);
    table.parallelscan_initialize = Some(parallelscan_initialize);
    table.parallelscan_reinitialize = Some(parallelscan_reinitialize);
}

/// Parallel scans: makes sure that this participant has a segment to read, and stands in it.
pub(super) unsafe fn claim(scan: &Scan, state: &mut State) -> bool {
    let Some(cursor) = &mut state.cursor else {
        return false;
    };
    if state
        .claimed
        .is_some_and(|segment| cursor.within(segment as usize))
    {
        return true;
    }
    // SAFETY: parallelscan_estimate made room for the counter behind the heap's part.
    let counter = unsafe { segment_counter(scan.base.rs_parallel) };
    let segment = counter.fetch_add(1, Ordering::Relaxed);
    if segment as usize >= cursor.segments().len() {
        return false;
    }
    state.claimed = Some(segment);
    cursor.seek(segment as usize);
    true
}

/// Whether the segment that the cursor is in is the one that this participant has claimed.
pub(super) fn of_claim(scan: &Scan, claimed: Option<u32>, cursor: &Cursor) -> bool {
    scan.base.rs_parallel.is_null() || claimed == Some(cursor.segment_index() as u32)
}

/// Where the counter of claimed segments is in the shared state: behind the heap's part.
fn counter_offset() -> usize {
    std::mem::size_of::<pg_sys::ParallelBlockTableScanDescData>().next_multiple_of(8)
}

unsafe fn segment_counter<'a>(pscan: pg_sys::ParallelTableScanDesc) -> &'a AtomicU32 {
    // SAFETY: the callers' shared memory was sized by parallelscan_estimate.
    unsafe { &*((pscan as *mut u8).add(counter_offset()) as *const AtomicU32) }
}

#[pg_guard]
unsafe extern "C-unwind" fn parallelscan_estimate(_rel: pg_sys::Relation) -> pg_sys::Size {
    counter_offset() + 8
}

#[pg_guard]
unsafe extern "C-unwind" fn parallelscan_initialize(
    rel: pg_sys::Relation,
    pscan: pg_sys::ParallelTableScanDesc,
) -> pg_sys::Size {
    // SAFETY: shared memory of the size we asked for.
    unsafe {
        heap_call!(parallelscan_initialize(rel, pscan));
        segment_counter(pscan).store(0, Ordering::Relaxed);
    }
    // The serialised snapshot follows.
    counter_offset() + 8
}

#[pg_guard]
unsafe extern "C-unwind" fn parallelscan_reinitialize(
    rel: pg_sys::Relation,
    pscan: pg_sys::ParallelTableScanDesc,
) {
    // SAFETY: as above.
    unsafe {
        heap_call!(parallelscan_reinitialize(rel, pscan));
        segment_counter(pscan).store(0, Ordering::Relaxed);
    }
}

/// Parallel index builds: whether this participant is the one that indexes the segment rows.
///
/// # Safety
/// A parallel scan of ours.
pub unsafe fn first_participant(scan: pg_sys::TableScanDesc) -> bool {
    // SAFETY: passed on to the caller.
    unsafe {
        let (scan, _) = parts(scan);
        scan.base.rs_parallel.is_null()
            || segment_counter(scan.base.rs_parallel).fetch_add(1, Ordering::Relaxed) == 0
    }
}
