// SPDX-License-Identifier: Apache-2.0
//! The scan of a table's row store.
use crate::heap_call;
use crate::pg::raw;
use pgrx::pg_sys;

/// A scan of the main relation's rows.
pub(super) struct HeapScan {
    pub(super) scan: pg_sys::TableScanDesc,
    pub(super) slot: *mut pg_sys::TupleTableSlot,
}

impl HeapScan {
    /// Begins a scan of an open relation.
    pub(super) fn begin(rel: pg_sys::Relation, snapshot: pg_sys::Snapshot) -> Self {
        let flags = pg_sys::ScanOptions::SO_TYPE_SEQSCAN
            | pg_sys::ScanOptions::SO_ALLOW_STRAT
            | pg_sys::ScanOptions::SO_ALLOW_PAGEMODE;
        // SAFETY: an open relation and a registered snapshot; ended in Drop.
        unsafe {
            let scan = heap_call!(scan_begin(
                rel,
                snapshot,
                0,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                flags
            ));
            let slot = raw::guarded(|| {
                pg_sys::MakeSingleTupleTableSlot(
                    (*rel).rd_att,
                    &raw const pg_sys::TTSOpsBufferHeapTuple,
                )
            });
            Self { scan, slot }
        }
    }

    /// As many rows as its pages would have if rows were small.
    pub(super) fn rows_about(&self) -> u64 {
        const ROWS_PER_PAGE: u64 = 128;
        // SAFETY: a heap's scan, which has counted the pages at its start.
        let pages = unsafe { (*(self.scan as pg_sys::HeapScanDesc)).rs_nblocks };
        u64::from(pages) * ROWS_PER_PAGE
    }
}

impl Drop for HeapScan {
    fn drop(&mut self) {
        // SAFETY: begun above. After an error, PostgreSQL's resource owner releases the buffers.
        unsafe {
            if std::thread::panicking() || !pg_sys::IsTransactionState() {
                return;
            }
            pg_sys::ExecDropSingleTupleTableSlot(self.slot);
            heap_call!(scan_end(self.scan));
        }
    }
}
