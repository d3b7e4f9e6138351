// SPDX-License-Identifier: Apache-2.0
//! ANALYZE: the heap's blocks as ever, then a thinned-out sample of the segment rows.
//!
//! PostgreSQL samples blocks of the main relation and keeps a reservoir of their rows, each row counting the
//! same. Behind the last block we hand out one of every n segment rows, picked at random and in the order of a scan, so
//! that a column's correlation is that of the table; the heap's rows are thinned as much, what blocks are left out
//! counted in, so that neither half weighs too much. The estimated row count is exact for segments.
use crate::am::scan::parts;
use crate::heap_call;
use crate::pg::{attributes, compat, heapam};
use pgrx::{pg_guard, pg_sys};
use std::cell::RefCell;

/// Rows PostgreSQL samples for each step of the statistics target, and blocks at most.
const ROWS_A_STEP: u64 = 300;

/// Puts this module's callbacks into the routine table.
pub fn install(table: &mut pg_sys::TableAmRoutine) {
    table.scan_analyze_next_block = Some(scan_analyze_next_block);
    table.scan_analyze_next_tuple = Some(scan_analyze_next_tuple);
}

/// The state of the ANALYZE scan that runs.
struct Sample {
    scan: usize,
    /// Rows that PostgreSQL wants, and blocks that it looks at at most.
    wanted: u64,
    /// Blocks that it has looked at.
    blocks: u64,
    /// Of so many rows, one is handed out.
    every: u64,
    /// The same for segment rows, which are not of sampled blocks.
    every_of_segments: u64,
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
        count_block();
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
            count_block();
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

/// ANALYZE has looked at another block.
fn count_block() {
    SAMPLE.with_borrow_mut(|sample| {
        if let Some(sample) = sample {
            sample.blocks += 1;
        }
    });
}

/// How many rows ANALYZE wants of a table: as many as the column with the largest statistics target needs. It may have
/// been asked for other columns only; then it gets more than it wants.
fn wanted_rows(rel: pg_sys::Relation) -> u64 {
    // SAFETY: a plain variable.
    let default = unsafe { pg_sys::default_statistics_target };
    let target = attributes::live(rel)
        .map(|attribute| compat::statistics_target(rel, attribute.attnum).unwrap_or(default))
        .max()
        .unwrap_or(default);
    u64::from(target.max(1).unsigned_abs()) * ROWS_A_STEP
}

/// Of how many heap rows in sampled blocks, and of how many segment rows, one is handed out: as many segment rows as
/// PostgreSQL wants, or twice as many, of which it keeps a part; and such a part of the heap's rows.
fn thinning(rel: pg_sys::Relation, segment_rows: u64, wanted: u64) -> (u64, u64) {
    let blocks = u64::from(heapam::blocks(rel)).max(1);
    let unseen = blocks.div_ceil(wanted);
    let segments = segment_rows.div_ceil(2 * wanted).max(unseen);
    (segments / unseen, segments)
}

/// How many blocks of the heap ANALYZE looks at.
fn sampled_blocks(sample: &Sample, blocks: u64) -> u64 {
    // SAFETY: plain variable.
    match unsafe { pg_sys::pgstat_track_activities }
        || cfg!(any(feature = "pg17", feature = "pg18"))
    {
        // The last one has been counted.
        true => sample.blocks,
        false => blocks.min(sample.wanted),
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
                let rows = super::relation::segment_totals(rel, snapshot).rows;
                let wanted = wanted_rows(rel);
                let (every, every_of_segments) = thinning(rel, rows, wanted);
                sample.insert(Sample {
                    scan: scan as usize,
                    wanted,
                    blocks: 0,
                    every,
                    every_of_segments,
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
                    (s.every, s.seen) = (s.every_of_segments, 0);
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
        let blocks = u64::from(pg_sys::RelationGetNumberOfBlocksInFork(rel, fork)).max(1);
        let sampled = SAMPLE.with_borrow(|s| {
            s.as_ref()
                .map_or(blocks, |sample| sampled_blocks(sample, blocks))
        });
        *live_rows += rows as f64 * (sampled as f64 / blocks as f64).min(1.0);
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
