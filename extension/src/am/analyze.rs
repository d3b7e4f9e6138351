// SPDX-License-Identifier: Apache-2.0
//! ANALYZE: the heap's blocks as ever, then a thinned-out sample of the segment rows.
//!
//! PostgreSQL samples blocks of the main relation and keeps a reservoir of their rows, each row counting the
//! same. Behind the last block we hand out one of every n segment rows, picked at random and in the order of a scan, so
//! that a column's correlation is that of the table; the heap's rows are thinned by the same factor, so that neither
//! half weighs too much. The estimated row count is exact for segments.
use crate::am::scan::parts;
use crate::heap_call;
use pgrx::{pg_guard, pg_sys};
use std::cell::RefCell;

/// Segment rows handed out at most: twice PostgreSQL's sample at the default statistics target.
const SAMPLE_ROWS: u64 = 60_000;
/// Blocks PostgreSQL samples at most, at the default statistics target.
const SAMPLE_BLOCKS: f64 = 30_000.0;

/// Puts this module's callbacks into the routine table.
pub fn install(table: &mut pg_sys::TableAmRoutine) {
    table.scan_analyze_next_block = Some(scan_analyze_next_block);
    table.scan_analyze_next_tuple = Some(scan_analyze_next_tuple);
}

/// The state of the ANALYZE scan that runs.
struct Sample {
    scan: usize,
    /// Of so many rows, one is handed out.
    every: u64,
    seen: u64,
    /// Which of them. A fixed one would see a column with a period only in part.
    pick: u64,
    random: u64,
    phase: Phase,
}

#[derive(PartialEq, Eq)]
enum Phase {
    /// Heap blocks, of which the last is not yet reached.
    Blocks,
    /// The last block, as far as is known.
    LastBlock,
    Segments,
    Done,
}

thread_local! {
    static SAMPLE: RefCell<Option<Sample>> = const { RefCell::new(None) };
}

#[pg_guard]
#[cfg(not(any(feature = "pg17", feature = "pg18")))]
unsafe extern "C-unwind" fn scan_analyze_next_block(
    scan: pg_sys::TableScanDesc,
    block: pg_sys::BlockNumber,
    bstrategy: pg_sys::BufferAccessStrategy,
) -> bool {
    // SAFETY: a scan of ours.
    unsafe {
        let heap = parts(scan).0.heap;
        next_block(scan, is_last_block());
        heap_call!(scan_analyze_next_block(heap, block, bstrategy))
    }
}

/// Whether ANALYZE has come to the last block that it looks at. It tells so in its progress only; where activities are
/// not tracked, each block may be the last.
#[cfg(not(any(feature = "pg17", feature = "pg18")))]
fn is_last_block() -> bool {
    // SAFETY: this backend's own entry, which nobody else writes.
    unsafe {
        let entry = pg_sys::MyBEEntry;
        if entry.is_null() || !pg_sys::pgstat_track_activities {
            return true;
        }
        let analyzing = pg_sys::ProgressCommandType::PROGRESS_COMMAND_ANALYZE;
        let params = &(*entry).st_progress_param;
        (*entry).st_progress_command != analyzing
            || params[pg_sys::PROGRESS_ANALYZE_BLOCKS_DONE as usize] + 1
                >= params[pg_sys::PROGRESS_ANALYZE_BLOCKS_TOTAL as usize]
    }
}

#[pg_guard]
#[cfg(any(feature = "pg17", feature = "pg18"))]
unsafe extern "C-unwind" fn scan_analyze_next_block(
    scan: pg_sys::TableScanDesc,
    stream: *mut pg_sys::ReadStream,
) -> bool {
    // SAFETY: a scan of ours.
    unsafe {
        let heap = parts(scan).0.heap;
        next_block(scan, false);
        if heap_call!(scan_analyze_next_block(heap, stream)) {
            return true;
        }
        // One block more, which has no heap rows.
        SAMPLE.with_borrow_mut(|sample| match sample {
            Some(sample) if sample.phase == Phase::Blocks => {
                sample.phase = Phase::LastBlock;
                true
            }
            _ => false,
        })
    }
}

/// Forgets the scan before: another may have its address.
pub fn begin() {
    SAMPLE.set(None);
}

/// ANALYZE goes on to a block, which may be the last.
unsafe fn next_block(scan: pg_sys::TableScanDesc, last: bool) {
    SAMPLE.with_borrow_mut(|sample| {
        let sample = match sample {
            Some(sample) if sample.scan == scan as usize => sample,
            _ => {
                // SAFETY: a scan of ours.
                let rel = unsafe { (*scan).rs_rd };
                let snapshot = &raw mut pg_sys::SnapshotSelfData;
                let rows = super::relation::segment_totals(rel, snapshot).0;
                sample.insert(Sample {
                    scan: scan as usize,
                    every: rows.div_ceil(SAMPLE_ROWS).max(1),
                    seen: 0,
                    pick: 0,
                    random: rows | 1,
                    phase: Phase::Blocks,
                })
            }
        };
        if last && sample.phase == Phase::Blocks {
            sample.phase = Phase::LastBlock;
        }
    });
}

#[pg_guard]
unsafe extern "C-unwind" fn scan_analyze_next_tuple(
    scan: pg_sys::TableScanDesc,
    oldest_xmin: pg_sys::TransactionId,
    live_rows: *mut f64,
    dead_rows: *mut f64,
    slot: *mut pg_sys::TupleTableSlot,
) -> bool {
    // SAFETY: a scan of ours, valid out parameters and slot.
    unsafe {
        loop {
            let in_segments =
                SAMPLE.with_borrow(|s| s.as_ref().is_some_and(|s| s.phase == Phase::Segments));
            if in_segments {
                return next_segment_row(scan, live_rows, slot);
            }
            if in_block(scan) {
                let heap = parts(scan).0.heap;
                if heap_call!(scan_analyze_next_tuple(
                    heap,
                    oldest_xmin,
                    live_rows,
                    dead_rows,
                    slot
                )) {
                    if thin() {
                        return true;
                    }
                    continue;
                }
            }
            let behind_last = SAMPLE.with_borrow_mut(|s| match s {
                Some(s) if s.phase == Phase::LastBlock => {
                    s.phase = Phase::Segments;
                    true
                }
                _ => false,
            });
            if !behind_last {
                return false;
            }
            begin_segments(scan, live_rows);
        }
    }
}

/// Whether the heap's scan is in a block.
#[cfg(not(any(feature = "pg17", feature = "pg18")))]
unsafe fn in_block(_scan: pg_sys::TableScanDesc) -> bool {
    true
}

/// Whether the heap's scan is in a block.
#[cfg(any(feature = "pg17", feature = "pg18"))]
unsafe fn in_block(scan: pg_sys::TableScanDesc) -> bool {
    // SAFETY: a scan of ours; the heap's descriptor begins with the fields of a heap scan.
    unsafe { (*(parts(scan).0.heap as *mut pg_sys::HeapScanDescData)).rs_cbuf != 0 }
}

/// Counts a row; whether it is one of those handed out.
fn thin() -> bool {
    SAMPLE.with_borrow_mut(|s| {
        let Some(s) = s else { return true };
        let place = s.seen % s.every;
        if place == 0 {
            // Marsaglia's xorshift: the same table gives the same sample.
            s.random ^= s.random << 13;
            s.random ^= s.random >> 7;
            s.random ^= s.random << 17;
            s.pick = s.random % s.every;
        }
        s.seen += 1;
        place == s.pick
    })
}

/// Adds the segments' rows to the count, as much as a block's share of the extrapolation that follows.
unsafe fn begin_segments(scan: pg_sys::TableScanDesc, live_rows: *mut f64) {
    // SAFETY: a scan of ours.
    unsafe {
        let rel = (*scan).rs_rd;
        let rows = super::relation::live_segment_rows(rel, &raw mut pg_sys::SnapshotSelfData);
        let fork = pg_sys::ForkNumber::MAIN_FORKNUM;
        let blocks = f64::from(pg_sys::RelationGetNumberOfBlocksInFork(rel, fork)).max(1.0);
        *live_rows += rows as f64 * (SAMPLE_BLOCKS / blocks).min(1.0);
        super::scan::begin_segments(scan, &raw mut pg_sys::SnapshotSelfData);
    }
}

unsafe fn next_segment_row(
    scan: pg_sys::TableScanDesc,
    _live_rows: *mut f64,
    slot: *mut pg_sys::TupleTableSlot,
) -> bool {
    // SAFETY: a scan of ours; the slot has the relation's row type.
    unsafe {
        if super::scan::next_thinned(scan, slot, thin) {
            return true;
        }
    }
    SAMPLE.with_borrow_mut(|s| {
        if let Some(s) = s {
            s.phase = Phase::Done;
        }
    });
    false
}
