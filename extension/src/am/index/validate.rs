// SPDX-License-Identifier: Apache-2.0
//! The second scan of CREATE INDEX CONCURRENTLY: rows that the index does not have yet are entered.
use super::{is_of_key, Former};
use crate::am::progress;
use crate::pg::compat;
use crate::pg::heap_rows::HeapRows;
use crate::read::attrs;
use crate::read::cursor::Cursor;
use crate::store::tid::{block_of, tid, RowNumber};
use pgrx::{pg_guard, pg_sys};
use roaring::RoaringTreemap;
use std::rc::Rc;

/// Only rows are asked of the heap. The entries are inserted with the table as it is: a uniqueness check, or a btree
/// that makes room on a page, looks at segment rows, too.
#[pg_guard]
pub(super) unsafe extern "C-unwind" fn index_validate_scan(
    rel: pg_sys::Relation,
    index: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
    snapshot: pg_sys::Snapshot,
    state: *mut pg_sys::ValidateIndexState,
) {
    // SAFETY: valid arguments from validate_index.
    unsafe {
        let present = take_segment_tids(state);
        let mut missing = Missing::new(rel, index, info, state);
        missing.add_heap_rows(snapshot);
        if !is_of_key(rel, index) {
            missing.add_segment_rows(snapshot, &present);
        }
        missing.former.finish();
        compat::end_index_inserts(index, info);
    }
}

/// Sorts the TIDs that the index already holds anew: heap TIDs stay in the sort, segment rows are returned.
unsafe fn take_segment_tids(state: *mut pg_sys::ValidateIndexState) -> RoaringTreemap {
    let mut present = RoaringTreemap::new();
    // SAFETY: the state's tuplesort holds TIDs as int8 (itemptr_encode: block << 16 | offset) and is sorted.
    unsafe {
        let heap_tids = pg_sys::tuplesort_begin_datum(
            pg_sys::INT8OID,
            pg_sys::Oid::from(pg_sys::Int8LessOperator),
            pg_sys::InvalidOid,
            false,
            pg_sys::maintenance_work_mem,
            std::ptr::null_mut(),
            0,
        );
        while let Some(at) = next_tid(state) {
            match RowNumber::from_tid(&at) {
                Some(row) => {
                    present.insert(row.0);
                }
                None => {
                    let encoded = u64::from(block_of(&at)) << 16 | u64::from(at.ip_posid);
                    pg_sys::tuplesort_putdatum(
                        heap_tids,
                        pg_sys::Datum::from(encoded as i64),
                        false,
                    );
                }
            }
        }
        pg_sys::tuplesort_performsort(heap_tids);
        pg_sys::tuplesort_end((*state).tuplesort);
        (*state).tuplesort = heap_tids;
    }
    present
}

/// The next of the sorted TIDs that an index holds.
unsafe fn next_tid(state: *mut pg_sys::ValidateIndexState) -> Option<pg_sys::ItemPointerData> {
    let mut value = pg_sys::Datum::from(0);
    let mut null = false;
    // SAFETY: as for the callers: a sort of TIDs encoded as int8.
    unsafe { compat::tuplesort_getdatum((*state).tuplesort, &mut value, &mut null) }.then(|| {
        let encoded = value.value() as u64;
        tid((encoded >> 16) as u32, encoded as u16)
    })
}

/// Inserts the index entries of rows that a snapshot sees and the index lacks.
struct Missing {
    rel: pg_sys::Relation,
    index: pg_sys::Relation,
    state: *mut pg_sys::ValidateIndexState,
    former: Former,
    check: pg_sys::IndexUniqueCheck::Type,
}

impl Missing {
    unsafe fn new(
        rel: pg_sys::Relation,
        index: pg_sys::Relation,
        info: *mut pg_sys::IndexInfo,
        state: *mut pg_sys::ValidateIndexState,
    ) -> Self {
        // SAFETY: as for the callers.
        let (former, unique) = unsafe { (Former::new(rel, info), (*info).ii_Unique) };
        let check = match unique {
            true => pg_sys::IndexUniqueCheck::UNIQUE_CHECK_YES,
            false => pg_sys::IndexUniqueCheck::UNIQUE_CHECK_NO,
        };
        Self {
            rel,
            index,
            state,
            former,
            check,
        }
    }

    /// Inserts the entry of the row that was formed last.
    unsafe fn enter(&mut self, at: pg_sys::ItemPointerData) {
        // SAFETY: as for the callers.
        unsafe {
            self.former.enter(self.index, at, self.check);
            (*self.state).tups_inserted += 1.0;
        }
    }

    /// Merges the heap's rows with the sorted TIDs of the index, block by block: within one, the roots of HOT chains
    /// come in no order.
    unsafe fn add_heap_rows(&mut self, snapshot: pg_sys::Snapshot) {
        // SAFETY: as for the callers.
        unsafe {
            let mut rows = HeapRows::begin(self.rel, snapshot);
            let mut next = next_tid(self.state);
            let mut block = pg_sys::InvalidBlockNumber;
            let mut present = Vec::new();
            while let Some(root) = rows.step() {
                (*self.state).htups += 1.0;
                if block_of(&root) != block {
                    block = block_of(&root);
                    present.clear();
                    while let Some(at) = next.filter(|at| block_of(at) <= block) {
                        present.extend((block_of(&at) == block).then_some(at.ip_posid));
                        next = next_tid(self.state);
                    }
                    progress::heap_block(self.rel, block);
                    pgrx::check_for_interrupts!();
                }
                let lacks = present.binary_search(&root.ip_posid).is_err();
                if lacks && self.former.form_heap(rows.slot()) {
                    self.enter(root);
                }
            }
            rows.end();
        }
    }

    unsafe fn add_segment_rows(&mut self, snapshot: pg_sys::Snapshot, present: &RoaringTreemap) {
        // SAFETY: as for the callers.
        unsafe {
            let attrs = Rc::new(attrs::of(self.rel));
            let natts = attrs.len();
            let mut cursor = Cursor::new(self.rel, snapshot, attrs, vec![true; natts]);
            let mut values = vec![pg_sys::Datum::from(0); natts];
            let mut nulls = vec![true; natts];
            while let Some(row) = cursor.step(true) {
                (*self.state).htups += 1.0;
                if present.contains(row.0) {
                    continue;
                }
                let arrays = (values.as_mut_ptr(), nulls.as_mut_ptr());
                if self.former.form(&mut cursor, row, arrays) {
                    self.enter(row.to_tid());
                }
                pgrx::check_for_interrupts!();
            }
        }
    }
}
