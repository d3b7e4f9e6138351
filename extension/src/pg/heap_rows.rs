// SPDX-License-Identifier: Apache-2.0
//! The rows of a table's heap, with the TIDs by which indexes know them.
//!
//! An index entry names the first member of a HOT chain; a snapshot sees a later one. The heap's own callbacks are
//! asked for rows by themselves, while the table stays what it is: whoever inserts index entries meanwhile may come to
//! segment rows, which the heap cannot read.
use crate::heap_call;
use crate::pg;
use crate::store::tid::{block_of, tid, ROWS_PER_VIRTUAL_BLOCK};
use pgrx::pg_sys;

/// Line pointers that a heap page has at most.
const OFFSETS: usize = ROWS_PER_VIRTUAL_BLOCK as usize;

/// A scan of the heap's rows that a snapshot sees, in the order of blocks.
pub struct HeapRows {
    scan: pg_sys::TableScanDesc,
    slot: *mut pg_sys::TupleTableSlot,
    /// The block of `roots`.
    block: u32,
    /// The first member of the HOT chain of each line pointer; 0: it is in none.
    roots: [pg_sys::OffsetNumber; OFFSETS],
}

impl HeapRows {
    /// Begins a scan. An error ends it with the subtransaction.
    ///
    /// # Safety
    /// An open relation, and an MVCC snapshot that is registered for as long as the scan.
    pub unsafe fn begin(rel: pg_sys::Relation, snapshot: pg_sys::Snapshot) -> Self {
        use pg_sys::ScanOptions::*;
        let none = std::ptr::null_mut();
        // SAFETY: passed on to the caller; the slot is of the heap's kind.
        unsafe {
            let flags = SO_TYPE_SEQSCAN | SO_ALLOW_STRAT | SO_ALLOW_PAGEMODE;
            let scan = heap_call!(scan_begin(rel, snapshot, 0, none, none.cast(), flags));
            let ops = &raw const pg_sys::TTSOpsBufferHeapTuple;
            Self {
                scan,
                slot: pg_sys::MakeSingleTupleTableSlot((*rel).rd_att, ops),
                block: pg_sys::InvalidBlockNumber,
                roots: [0; OFFSETS],
            }
        }
    }

    /// Puts the next row into the slot; returns the TID that its index entries have.
    pub fn step(&mut self) -> Option<pg_sys::ItemPointerData> {
        let forward = pg_sys::ScanDirection::ForwardScanDirection;
        // SAFETY: the scan and the slot are our own; the slot holds a pinned tuple after a row was found.
        unsafe {
            if !heap_call!(scan_getnextslot(self.scan, forward, self.slot)) {
                return None;
            }
            let at = (*self.slot).tts_tid;
            let block = block_of(&at);
            if block != self.block {
                self.enter_block(block);
            }
            match self.roots.get(usize::from(at.ip_posid).wrapping_sub(1)) {
                Some(&root) if root != 0 => Some(tid(block, root)),
                _ => {
                    let text = format!("no row leads to row ({block},{}) of its heap", at.ip_posid);
                    pg::report_corrupt((*self.scan).rs_rd, text)
                }
            }
        }
    }

    /// Finds the roots of the chains of the block that the row in the slot is in.
    unsafe fn enter_block(&mut self, block: u32) {
        // SAFETY: the slot holds the pin of the row's page; the content lock is held while the page is read.
        unsafe {
            let buffer = (*(self.slot as *mut pg_sys::BufferHeapTupleTableSlot)).buffer;
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
            pg_sys::heap_get_root_tuples(pg_sys::BufferGetPage(buffer), self.roots.as_mut_ptr());
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
        }
        self.block = block;
    }

    /// The slot with the current row.
    pub fn slot(&self) -> *mut pg_sys::TupleTableSlot {
        self.slot
    }

    /// Ends the scan.
    pub fn end(self) {
        // SAFETY: made in `begin`.
        unsafe {
            pg_sys::ExecDropSingleTupleTableSlot(self.slot);
            heap_call!(scan_end(self.scan));
        }
    }
}
