// SPDX-License-Identifier: Apache-2.0
//! Scans of a range of TIDs.
use super::{cursor, hidden, next_segment_row, parts, Half, Scan};
use crate::heap_call;
use crate::pg::compat;
use crate::store::tid::{self, RowNumber};
use pgrx::{pg_guard, pg_sys};

/// Puts this module's callbacks into the routine table.
pub(super) fn install(table: &mut pg_sys::TableAmRoutine) {
    table.scan_set_tidrange = Some(scan_set_tidrange);
    table.scan_getnextslot_tidrange = Some(scan_getnextslot_tidrange);
}

#[pg_guard]
unsafe extern "C-unwind" fn scan_set_tidrange(
    scan: pg_sys::TableScanDesc,
    mintid: pg_sys::ItemPointer,
    maxtid: pg_sys::ItemPointer,
) {
    // SAFETY: made by scan_begin; TIDs are valid.
    unsafe {
        let (scan, _) = parts(scan);
        compat::set_tid_range(&mut scan.base, *mintid, *maxtid);
        heap_call!(scan_set_tidrange(scan.heap, mintid, maxtid));
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn scan_getnextslot_tidrange(
    scan: pg_sys::TableScanDesc,
    direction: pg_sys::ScanDirection::Type,
    slot: *mut pg_sys::TupleTableSlot,
) -> bool {
    let forward = direction >= 0;
    // SAFETY: made by scan_begin; the slot has the relation's row type.
    unsafe {
        let (scan, state) = parts(scan);
        if state.half == Half::Heap {
            if next_heap_row_in_range(scan, direction, slot) {
                return true;
            }
            if !forward {
                return false;
            }
            state.half = Half::Segments;
            cursor(scan, state, slot).rewind(false);
        }
        let (low, high) = compat::tid_range(&scan.base);
        let in_range = |row: RowNumber| {
            let at = row.to_tid();
            order(&at) >= order(&low) && order(&at) <= order(&high)
        };
        if next_segment_row(scan, state, forward, slot, in_range) {
            return true;
        }
        if !forward {
            state.half = Half::Heap;
            return next_heap_row_in_range(scan, direction, slot);
        }
        false
    }
}

unsafe fn next_heap_row_in_range(
    scan: &Scan,
    direction: pg_sys::ScanDirection::Type,
    slot: *mut pg_sys::TupleTableSlot,
) -> bool {
    // SAFETY: passed on from the callback.
    unsafe {
        while heap_call!(scan_getnextslot_tidrange(scan.heap, direction, slot)) {
            if !hidden(scan, slot) {
                return true;
            }
        }
        false
    }
}

fn order(tid: &pg_sys::ItemPointerData) -> (u32, u16) {
    (tid::block_of(tid), tid.ip_posid)
}
