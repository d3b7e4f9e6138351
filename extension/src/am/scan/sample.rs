// SPDX-License-Identifier: Apache-2.0
//! TABLESAMPLE: virtual blocks of 291 rows count as blocks behind the heap's.
use super::{cursor, hidden, parts, Scan, State};
use crate::heap_call;
use crate::pg::raw;
use crate::read::cursor::Cursor;
use crate::store::tid::{self, ROWS_PER_VIRTUAL_BLOCK, VIRTUAL_BLOCK_BASE};
use pgrx::{pg_guard, pg_sys};
use std::cell::Cell;

/// Puts this module's callbacks into the routine table.
pub(super) fn install(table: &mut pg_sys::TableAmRoutine) {
    table.scan_sample_next_block = Some(scan_sample_next_block);
    table.scan_sample_next_tuple = Some(scan_sample_next_tuple);
}

thread_local! {
    /// The block that [`chosen_block`] hands to the heap.
    static CHOSEN: Cell<u32> = const { Cell::new(0) };
}

#[pg_guard]
unsafe extern "C-unwind" fn chosen_block(_node: *mut pg_sys::SampleScanState, _n: u32) -> u32 {
    CHOSEN.get()
}

#[pg_guard]
unsafe extern "C-unwind" fn scan_sample_next_block(
    scan: pg_sys::TableScanDesc,
    node: *mut pg_sys::SampleScanState,
) -> bool {
    // SAFETY: made by scan_begin; the node's sampling method is set up.
    unsafe {
        let (scan, state) = parts(scan);
        let blocks = virtual_blocks(cursor(scan, state, (*node).ss.ss_ScanTupleSlot));
        let tsm = (*node).tsmroutine;
        if blocks.is_empty() {
            return heap_call!(scan_sample_next_block(scan.heap, node));
        }
        let Some(next) = (*tsm).NextSampleBlock else {
            return sequential_block(scan, state, &blocks, node);
        };
        let heap_blocks = pg_sys::RelationGetNumberOfBlocksInFork(
            scan.base.rs_rd,
            pg_sys::ForkNumber::MAIN_FORKNUM,
        );
        let block = raw::guarded(|| next(node, heap_blocks + blocks.len() as u32));
        if block == pg_sys::InvalidBlockNumber {
            state.sample_block = None;
            return false;
        }
        if block >= heap_blocks {
            state.sample_block = blocks.get((block - heap_blocks) as usize).copied();
            return state.sample_block.is_some();
        }
        state.sample_block = None;
        CHOSEN.set(block);
        let mut chosen = *tsm;
        chosen.NextSampleBlock = Some(chosen_block);
        (*node).tsmroutine = &mut chosen;
        let found = heap_call!(scan_sample_next_block(scan.heap, node));
        (*node).tsmroutine = tsm;
        found
    }
}

/// Sampling methods that look at every block (BERNOULLI): the heap's first, then ours.
unsafe fn sequential_block(
    scan: &Scan,
    state: &mut State,
    blocks: &[u32],
    node: *mut pg_sys::SampleScanState,
) -> bool {
    // SAFETY: passed on from the callback.
    unsafe {
        let next = match state.sample_block {
            None => {
                if heap_call!(scan_sample_next_block(scan.heap, node)) {
                    return true;
                }
                0
            }
            Some(block) => blocks.partition_point(|b| *b <= block),
        };
        state.sample_block = blocks.get(next).copied();
        state.sample_block.is_some()
    }
}

/// The virtual blocks that hold rows of the cursor's segments, ascending.
fn virtual_blocks(cursor: &Cursor) -> Vec<u32> {
    let mut blocks = Vec::new();
    for found in cursor.segments() {
        let entry = &found.entry;
        if entry.rows > 0 {
            let last = entry.first_row + u64::from(entry.rows) - 1;
            let (from, to) = (
                entry.first_row / ROWS_PER_VIRTUAL_BLOCK,
                last / ROWS_PER_VIRTUAL_BLOCK,
            );
            blocks.extend((from..=to).map(|b| VIRTUAL_BLOCK_BASE + b as u32));
        }
    }
    blocks.dedup();
    blocks
}

#[pg_guard]
unsafe extern "C-unwind" fn scan_sample_next_tuple(
    scan: pg_sys::TableScanDesc,
    node: *mut pg_sys::SampleScanState,
    slot: *mut pg_sys::TupleTableSlot,
) -> bool {
    // SAFETY: made by scan_begin; valid node and slot.
    unsafe {
        let (scan, state) = parts(scan);
        let Some(block) = state.sample_block else {
            while heap_call!(scan_sample_next_tuple(scan.heap, node, slot)) {
                if !hidden(scan, slot) {
                    return true;
                }
            }
            return false;
        };
        let next = (*(*node).tsmroutine)
            .NextSampleTuple
            .expect("mandatory callback");
        let rel = scan.base.rs_rd;
        loop {
            let offset = raw::guarded(|| next(node, block, ROWS_PER_VIRTUAL_BLOCK as u16));
            if offset == 0 {
                pg_sys::ExecClearTuple(slot);
                return false;
            }
            let mut at = tid::tid(block, offset);
            let fetch = crate::am::routine()
                .tuple_fetch_row_version
                .expect("set above");
            if fetch(rel, &mut at, scan.base.rs_snapshot, slot) {
                return true;
            }
        }
    }
}
