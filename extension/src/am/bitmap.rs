// SPDX-License-Identifier: Apache-2.0
//! Bitmap heap scans: heap blocks by the heap, virtual blocks by looking up their rows.
//!
//! Up to 17 PostgreSQL prefetches the blocks of a bitmap, and virtual blocks do not exist in the file: an
//! executor hook turns prefetching off for these nodes (see `hooks`). From 18 on the access method walks the
//! bitmap itself, and every row of it is looked up as for an index.
#[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17"))]
pub use before_18::install;

#[cfg(feature = "pg18")]
pub use since_18::install;

#[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17"))]
mod before_18 {
    use crate::am::fetch::still_there;
    use crate::am::scan::parts;
    use crate::heap_call;
    use crate::store::tid::{self, RowNumber, ROWS_PER_VIRTUAL_BLOCK};
    use pgrx::{pg_guard, pg_sys};

    /// Puts this module's callbacks into the routine table.
    pub fn install(table: &mut pg_sys::TableAmRoutine) {
        table.scan_bitmap_next_block = Some(scan_bitmap_next_block);
        table.scan_bitmap_next_tuple = Some(scan_bitmap_next_tuple);
    }

    #[pg_guard]
    unsafe extern "C-unwind" fn scan_bitmap_next_block(
        scan: pg_sys::TableScanDesc,
        result: *mut pg_sys::TBMIterateResult,
    ) -> bool {
        // SAFETY: a scan of ours; the result has ntuples offsets unless it is lossy (-1).
        unsafe {
            let (scan, state) = parts(scan);
            state.block_rows.clear();
            state.block_at = 0;
            let block = (*result).blockno;
            if RowNumber::from_tid(&tid::tid(block, 1)).is_none() {
                return heap_call!(scan_bitmap_next_block(scan.heap, result));
            }
            let row = |offset: u16| RowNumber::from_tid(&tid::tid(block, offset));
            if (*result).ntuples < 0 {
                state
                    .block_rows
                    .extend((1..=ROWS_PER_VIRTUAL_BLOCK as u16).filter_map(row));
            } else {
                let offsets = (*result).offsets.as_ptr();
                let count = (*result).ntuples as usize;
                state
                    .block_rows
                    .extend((0..count).filter_map(|i| row(*offsets.add(i))));
            }
            !state.block_rows.is_empty()
        }
    }

    #[pg_guard]
    unsafe extern "C-unwind" fn scan_bitmap_next_tuple(
        scan: pg_sys::TableScanDesc,
        result: *mut pg_sys::TBMIterateResult,
        slot: *mut pg_sys::TupleTableSlot,
    ) -> bool {
        // SAFETY: a scan of ours; the slot has the relation's row type.
        unsafe {
            let base = scan;
            let (scan, state) = parts(scan);
            if RowNumber::from_tid(&tid::tid((*result).blockno, 1)).is_none() {
                while heap_call!(scan_bitmap_next_tuple(scan.heap, result, slot)) {
                    if still_there((*base).rs_rd, slot, (*base).rs_snapshot) {
                        return true;
                    }
                }
                return false;
            }
            while let Some(row) = state.block_rows.get(state.block_at) {
                state.block_at += 1;
                let mut at = row.to_tid();
                let fetch = crate::am::routine().tuple_fetch_row_version.expect("set");
                if fetch((*base).rs_rd, &mut at, (*base).rs_snapshot, slot) {
                    return true;
                }
            }
            pg_sys::ExecClearTuple(slot);
            false
        }
    }
}

#[cfg(feature = "pg18")]
mod since_18 {
    use crate::am::scan::parts;
    use crate::store::tid::{self, ROWS_PER_VIRTUAL_BLOCK};
    use pgrx::{pg_guard, pg_sys};

    /// Puts this module's callbacks into the routine table.
    pub fn install(table: &mut pg_sys::TableAmRoutine) {
        table.scan_bitmap_next_tuple = Some(scan_bitmap_next_tuple);
    }

    /// The bitmap names the first members of HOT chains, which is what an index fetch starts from. Of a lossy
    /// block every offset is tried: from the members of a chain behind the first, a fetch finds nothing.
    #[pg_guard]
    unsafe extern "C-unwind" fn scan_bitmap_next_tuple(
        scan: pg_sys::TableScanDesc,
        slot: *mut pg_sys::TupleTableSlot,
        recheck: *mut bool,
        lossy_pages: *mut u64,
        exact_pages: *mut u64,
    ) -> bool {
        // SAFETY: a scan of ours with the executor's bitmap iterator; the slot has the relation's row type.
        unsafe {
            let base = scan;
            let (_, state) = parts(scan);
            let routine = crate::am::routine();
            if state.lookup.is_null() {
                state.lookup = routine.index_fetch_begin.expect("set")((*base).rs_rd);
            }
            loop {
                while let Some(at) = state.block_tids.get(state.block_at) {
                    state.block_at += 1;
                    let mut at = *at;
                    let (mut again, mut dead) = (false, false);
                    let fetch = routine.index_fetch_tuple.expect("set");
                    let snapshot = (*base).rs_snapshot;
                    if fetch(state.lookup, &mut at, snapshot, slot, &mut again, &mut dead) {
                        *recheck = state.block_recheck;
                        return true;
                    }
                }
                let mut page = std::mem::zeroed::<pg_sys::TBMIterateResult>();
                if !pg_sys::tbm_iterate(&mut (*base).st.rs_tbmiterator, &mut page) {
                    pg_sys::ExecClearTuple(slot);
                    return false;
                }
                state.block_recheck = page.recheck;
                state.block_at = 0;
                state.block_tids.clear();
                if page.lossy {
                    *lossy_pages += 1;
                    let offsets = 1..=ROWS_PER_VIRTUAL_BLOCK as u16;
                    state
                        .block_tids
                        .extend(offsets.map(|offset| tid::tid(page.blockno, offset)));
                } else {
                    *exact_pages += 1;
                    let mut offsets = [0u16; ROWS_PER_VIRTUAL_BLOCK as usize];
                    let most = offsets.len() as u32;
                    let count =
                        pg_sys::tbm_extract_page_tuple(&mut page, offsets.as_mut_ptr(), most);
                    let found = offsets.iter().take(count as usize);
                    state
                        .block_tids
                        .extend(found.map(|&offset| tid::tid(page.blockno, offset)));
                }
            }
        }
    }
}
