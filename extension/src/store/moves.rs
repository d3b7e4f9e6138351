// SPDX-License-Identifier: Apache-2.0
//! Move maps: where compaction took a row, for those who still hold its old TID (docs/decisions/0004).
//!
//! A map's tuples are inserted and deleted by the transaction that moves the rows. That does not hide them, as they
//! are read whatever a snapshot says; but it makes VACUUM drop them as soon as no snapshot is older than the move,
//! and until then somebody may need them.
//!
//! A heap row is looked up with the transaction that retired it, so that an item that was used again is never
//! taken for the row that moved. Row numbers of segments are not used again.
use super::chunk_ids;
use super::tid::{block_of, tid, RowNumber};
use crate::pg;
use crate::pg::toast::{Toast, XactStatus};
use doris_storage::moves;
use pgrx::pg_sys;

/// Row numbers of a segment that share a tuple of the map.
pub const PLACE_ROWS: u64 = moves::SOURCES as u64;

/// Where a moved row was.
#[derive(Clone, Copy)]
pub enum Origin {
    /// In the heap.
    Heap(pg_sys::ItemPointerData),
    /// In a segment.
    Row(RowNumber),
}

/// Files where rows go: those of heap blocks, or of stretches of [`PLACE_ROWS`] row numbers.
pub struct Filer<'a> {
    main: pg_sys::Relation,
    toast: &'a Toast,
    cid: pg_sys::CommandId,
    filed: Vec<pg_sys::ItemPointerData>,
}

impl<'a> Filer<'a> {
    /// Begins a map.
    pub fn begin(main: pg_sys::Relation, toast: &'a Toast, cid: pg_sys::CommandId) -> Self {
        Self {
            main,
            toast,
            cid,
            filed: Vec::new(),
        }
    }

    /// Files the rows of a heap block: their items and where they go, ascending.
    pub fn block(&mut self, block: u32, moved: &[(u16, u64)]) {
        self.file(chunk_ids::moved_block(block), u64::from(block), moved);
    }

    /// Files rows of a segment, all of one stretch: positions within it and where they go, ascending.
    pub fn stretch(&mut self, first_row: u64, moved: &[(u16, u64)]) {
        let place = first_row / PLACE_ROWS;
        self.file(chunk_ids::moved_rows(place), place, moved);
    }

    fn file(&mut self, key: (u32, i32), place: u64, moved: &[(u16, u64)]) {
        let payload = moves::encode(place, moved).unwrap_or_else(|e| {
            pgrx::error!(
                "could not encode the move map of \"{}\": {e}",
                pg::relation_name(self.main)
            )
        });
        let null = std::ptr::null_mut();
        self.filed
            .push(self.toast.insert(key, &payload, self.cid, 0, null));
        pgrx::check_for_interrupts!();
    }

    /// Ends the map: a later command deletes its tuples, see above.
    pub fn finish(self) {
        // SAFETY: plain calls.
        let cid = unsafe {
            pg_sys::CommandCounterIncrement();
            pg_sys::GetCurrentCommandId(true)
        };
        for at in self.filed {
            if !self.toast.delete(at, cid) {
                pg::report_corrupt(self.main, "a move map changed while it was made");
            }
        }
    }
}

/// Where `mover` took a heap row.
pub fn of_heap_row(
    main: pg_sys::Relation,
    toast: &Toast,
    at: &pg_sys::ItemPointerData,
    mover: pg_sys::TransactionId,
) -> Option<RowNumber> {
    let (chunk_id, seq) = chunk_ids::moved_block(block_of(at));
    let mut target = None;
    toast.scan(chunk_id, seq, seq, false, |version| {
        if version.raw_xmin() == mover {
            let found = moves::target(version.payload(), at.ip_posid);
            target = found.unwrap_or_else(|e| pg::report_corrupt(main, e));
        }
        target.is_none()
    });
    target.map(RowNumber)
}

/// Where a row of a retired segment went.
pub fn of_row(main: pg_sys::Relation, toast: &Toast, row: RowNumber) -> Option<RowNumber> {
    let place = row.0 / PLACE_ROWS;
    let (chunk_id, seq) = chunk_ids::moved_rows(place);
    let mut target = None;
    toast.scan(chunk_id, seq, seq, false, |version| {
        if matches!(
            version.writer_status(),
            XactStatus::Committed | XactStatus::Own
        ) {
            let found = moves::target(version.payload(), (row.0 % PLACE_ROWS) as u16);
            target = found.unwrap_or_else(|e| pg::report_corrupt(main, e));
        }
        target.is_none()
    });
    target.map(RowNumber)
}

/// Where a row was before `mover` took it to where it is. Reads all of that map; for rare questions only.
pub fn origin(
    main: pg_sys::Relation,
    toast: &Toast,
    row: RowNumber,
    mover: pg_sys::TransactionId,
) -> Option<Origin> {
    let mut origin = None;
    for from_heap in [true, false] {
        let id = chunk_ids::moved_id(from_heap);
        toast.scan(id, 0, i32::MAX, false, |version| {
            if version.raw_xmin() != mover {
                return true;
            }
            let found = moves::origin(version.payload(), row.0);
            let found = found.unwrap_or_else(|e| pg::report_corrupt(main, e));
            origin = found.map(|(place, source)| match from_heap {
                true => Origin::Heap(tid(place as u32, source)),
                false => Origin::Row(RowNumber(place * PLACE_ROWS + u64::from(source))),
            });
            origin.is_none()
        });
    }
    origin
}
