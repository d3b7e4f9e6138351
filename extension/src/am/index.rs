// SPDX-License-Identifier: Apache-2.0
//! Building indexes: the heap's rows by the heap's own code (with the table passing for a heap), then the
//! segment rows.
mod brin;
mod validate;

pub use self::brin::check_method;
use self::brin::refuse_brin;
use super::progress::Blocks;
use crate::pg::heapam;
use crate::pg::toast::{Toast, XactStatus};
use crate::pg::{compat, raw};
use crate::read::attrs;
use crate::read::cursor::Cursor;
use crate::store::anchors;
use crate::store::directory;
use crate::store::tid::RowNumber;
use pgrx::{pg_guard, pg_sys};
use std::rc::Rc;

/// Puts this module's callbacks into the routine table.
pub fn install(table: &mut pg_sys::TableAmRoutine) {
    table.index_build_range_scan = Some(index_build_range_scan);
    table.index_validate_scan = Some(validate::index_validate_scan);
}

/// Evaluates an index's columns and predicate over segment rows.
struct Former {
    rel: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
    estate: *mut pg_sys::EState,
    econtext: *mut pg_sys::ExprContext,
    slot: *mut pg_sys::TupleTableSlot,
    predicate: *mut pg_sys::ExprState,
    /// The indexed values of the current row.
    values: [pg_sys::Datum; pg_sys::INDEX_MAX_KEYS as usize],
    nulls: [bool; pg_sys::INDEX_MAX_KEYS as usize],
}

impl Former {
    unsafe fn new(rel: pg_sys::Relation, info: *mut pg_sys::IndexInfo) -> Self {
        // SAFETY: an executor state of our own; freed in `finish`, or with its memory context on error.
        unsafe {
            let estate = pg_sys::CreateExecutorState();
            let econtext = pg_sys::MakePerTupleExprContext(estate);
            let slot = pg_sys::table_slot_create(rel, std::ptr::null_mut());
            (*econtext).ecxt_scantuple = slot;
            let predicate = pg_sys::ExecPrepareQual((*info).ii_Predicate, estate);
            let values = [pg_sys::Datum::from(0); pg_sys::INDEX_MAX_KEYS as usize];
            let nulls = [true; pg_sys::INDEX_MAX_KEYS as usize];
            Self {
                rel,
                info,
                estate,
                econtext,
                slot,
                predicate,
                values,
                nulls,
            }
        }
    }

    /// Inserts the index entry of the row that was formed last.
    unsafe fn enter(
        &mut self,
        index: pg_sys::Relation,
        tid: pg_sys::ItemPointerData,
        check: pg_sys::IndexUniqueCheck::Type,
    ) {
        let mut tid = tid;
        // SAFETY: an open index of the relation, whose info formed the values.
        unsafe {
            pg_sys::index_insert(
                index,
                self.values.as_mut_ptr(),
                self.nulls.as_mut_ptr(),
                &mut tid,
                self.rel,
                check,
                false,
                self.info,
            );
        }
    }

    /// Forms the index values of a row; false when the predicate leaves it out.
    unsafe fn form(
        &mut self,
        cursor: &mut Cursor,
        row: RowNumber,
        arrays: (*mut pg_sys::Datum, *mut bool),
    ) -> bool {
        // SAFETY: arrays have an element an attribute; the contexts are our own.
        unsafe {
            pg_sys::MemoryContextReset((*self.econtext).ecxt_per_tuple_memory);
            cursor.fill(arrays.0, arrays.1);
            let Some(found) = cursor.current() else {
                return false;
            };
            super::fetch::store_tuple(self.rel, found, row, arrays, self.slot);
            self.evaluate(self.slot)
        }
    }

    /// Forms the index values of a heap row; false when the predicate leaves it out.
    unsafe fn form_heap(&mut self, slot: *mut pg_sys::TupleTableSlot) -> bool {
        // SAFETY: a slot of the relation's row type, which holds a row.
        unsafe {
            pg_sys::MemoryContextReset((*self.econtext).ecxt_per_tuple_memory);
            self.evaluate(slot)
        }
    }

    unsafe fn evaluate(&mut self, slot: *mut pg_sys::TupleTableSlot) -> bool {
        // SAFETY: as for the callers; the contexts are our own.
        unsafe {
            (*self.econtext).ecxt_scantuple = slot;
            if !self.predicate.is_null() && !pg_sys::ExecQual(self.predicate, self.econtext) {
                return false;
            }
            pg_sys::FormIndexDatum(
                self.info,
                slot,
                self.estate,
                self.values.as_mut_ptr(),
                self.nulls.as_mut_ptr(),
            );
            true
        }
    }

    unsafe fn finish(self) {
        // SAFETY: made in `new`. The expression states in the index info point into the executor state.
        unsafe {
            pg_sys::ExecDropSingleTupleTableSlot(self.slot);
            pg_sys::FreeExecutorState(self.estate);
            (*self.info).ii_ExpressionsState = std::ptr::null_mut();
            (*self.info).ii_PredicateState = std::ptr::null_mut();
        }
    }
}

/// Not guarded: errors of an index's expressions pass through with their context, which a guard would lose. Nothing in
/// this frame needs dropping.
#[allow(clippy::too_many_arguments)]
unsafe extern "C-unwind" fn index_build_range_scan(
    rel: pg_sys::Relation,
    index: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
    allow_sync: bool,
    anyvisible: bool,
    progress: bool,
    start_block: pg_sys::BlockNumber,
    blocks: pg_sys::BlockNumber,
    callback: pg_sys::IndexBuildCallback,
    callback_state: *mut std::ffi::c_void,
    scan: pg_sys::TableScanDesc,
) -> f64 {
    // SAFETY: valid arguments from the index access method.
    unsafe {
        let mut part = Part::default();
        begin_build(rel, index, scan, &mut part);
        let heap_build = heapam::routine().index_build_range_scan.expect("set");
        let heap_rows = heap_build(
            rel,
            index,
            info,
            allow_sync,
            anyvisible,
            progress,
            start_block,
            blocks,
            callback,
            callback_state,
            part.heap_scan,
        );
        part.progress = progress;
        part.whole = start_block == 0 && blocks == pg_sys::InvalidBlockNumber;
        heap_rows + end_build(rel, index, info, callback, callback_state, scan, &part)
    }
}

/// What one participant of an index build has to do.
struct Part {
    heap_scan: pg_sys::TableScanDesc,
    /// It indexes the segment rows.
    first: bool,
    /// All of the table is indexed.
    whole: bool,
    /// It tells of its progress.
    progress: bool,
}

impl Default for Part {
    fn default() -> Self {
        Self {
            heap_scan: std::ptr::null_mut(),
            first: true,
            whole: false,
            progress: false,
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn begin_build(
    rel: pg_sys::Relation,
    index: pg_sys::Relation,
    scan: pg_sys::TableScanDesc,
    part: *mut Part,
) {
    refuse_brin(rel, index);
    // SAFETY: as for the caller.
    unsafe {
        if !scan.is_null() {
            // A parallel build's scan: its heap part goes to the heap, which ends it.
            let (ours, _) = super::scan::parts(scan);
            (*part).heap_scan = std::mem::replace(&mut ours.heap, std::ptr::null_mut());
            (*part).first = super::scan::first_participant(scan);
        }
    }
    heapam::enter(rel);
}

#[pg_guard]
unsafe extern "C-unwind" fn end_build(
    rel: pg_sys::Relation,
    index: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
    callback: pg_sys::IndexBuildCallback,
    callback_state: *mut std::ffi::c_void,
    scan: pg_sys::TableScanDesc,
    part: *const Part,
) -> f64 {
    heapam::leave(rel);
    // SAFETY: as for the caller.
    unsafe {
        if !scan.is_null() {
            let end = super::routine().scan_end.expect("set");
            end(scan);
        }
        if !(*part).whole || !(*part).first || is_of_key(rel, index) {
            return 0.0;
        }
        build_segments(rel, index, info, callback, callback_state, (*part).progress)
    }
}

/// Whether an index is on the key of a keyed table: it holds heap rows only.
///
/// # Safety
/// Open relations.
pub unsafe fn is_of_key(rel: pg_sys::Relation, index: pg_sys::Relation) -> bool {
    let key = crate::options::table::merge_key(rel);
    // SAFETY: open relations.
    !key.is_empty() && unsafe { crate::keys::model::is_key_shaped(rel, index, &key) }
}

/// Hands every segment row that some snapshot may see to the index.
unsafe fn build_segments(
    rel: pg_sys::Relation,
    index: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
    callback: pg_sys::IndexBuildCallback,
    callback_state: *mut std::ffi::c_void,
    progress: bool,
) -> f64 {
    let Some(toast) = Toast::open(rel, pg_sys::AccessShareLock as i32) else {
        return 0.0;
    };
    // SAFETY: as for the caller; a registered snapshot lives until it is unregistered below.
    unsafe {
        let concurrent = (*info).ii_Concurrent;
        let any = &raw mut pg_sys::SnapshotAnyData;
        let snapshot = if concurrent {
            pg_sys::RegisterSnapshot(pg_sys::GetTransactionSnapshot())
        } else {
            any
        };
        let mut segments = directory::all(rel, &toast, snapshot);
        segments.retain(|f| {
            if concurrent {
                f.visible
            } else {
                f.writer != XactStatus::Aborted && !f.is_gone(rel)
            }
        });
        let mut former = Former::new(rel, info);
        let add = callback.expect("an index build has a callback");
        let mut alive_rows = 0.0;
        let entries = segments.iter().map(|found| &found.entry);
        let mut progress = Blocks::after_heap(rel, progress, entries);
        for found in segments {
            let retired = found
                .deleter
                .is_some_and(|(_, status)| status != XactStatus::Aborted);
            let mut dead = Vec::new();
            if !concurrent {
                let self_snapshot = &raw mut pg_sys::SnapshotSelfData;
                let entry = &found.entry;
                let rows = entry.capacity as u32;
                dead = anchors::dead_positions(rel, &toast, entry.first_row, rows, self_snapshot);
            }
            let entry = found.entry;
            let mut cursor = cursor_over(rel, info, snapshot, found);
            let natts = (*(*rel).rd_att).natts as usize;
            let mut values = vec![pg_sys::Datum::from(0); natts];
            let mut nulls = vec![true; natts];
            while let Some(row) = cursor.step(true) {
                let position = (row.0 - entry.first_row) as u32;
                progress.at(&entry, position);
                let arrays = (values.as_mut_ptr(), nulls.as_mut_ptr());
                if !former.form(&mut cursor, row, arrays) {
                    continue;
                }
                let alive = !retired && dead.binary_search(&position).is_err();
                alive_rows += f64::from(u8::from(alive));
                let mut tid = row.to_tid();
                let (keys, isnull) = (former.values.as_mut_ptr(), former.nulls.as_mut_ptr());
                raw::guarded(|| add(index, &mut tid, keys, isnull, alive, callback_state));
                pgrx::check_for_interrupts!();
            }
            progress.pass(&entry);
        }
        former.finish();
        if concurrent {
            pg_sys::UnregisterSnapshot(snapshot);
        }
        alive_rows
    }
}

/// Inserts the entries of a segment's rows into all indexes of its table. The same rows have entries where they were
/// before: nothing is checked.
///
/// # Safety
/// An open relation with a lock that allows inserts.
pub unsafe fn insert_segment(rel: pg_sys::Relation, found: directory::FoundSegment) {
    // SAFETY: indexes are opened and closed here; an index info and its former belong together.
    unsafe {
        let lockmode = pg_sys::RowExclusiveLock as i32;
        let list = pgrx::PgList::<pg_sys::Oid>::from_pg(pg_sys::RelationGetIndexList(rel));
        for oid in list.iter_oid() {
            let index = pg_sys::index_open(oid, lockmode);
            if (*(*index).rd_index).indisready && !is_of_key(rel, index) {
                let info = pg_sys::BuildIndexInfo(index);
                insert_entries(rel, index, info, found);
            }
            pg_sys::index_close(index, pg_sys::NoLock as i32);
        }
    }
}

unsafe fn insert_entries(
    rel: pg_sys::Relation,
    index: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
    found: directory::FoundSegment,
) {
    // SAFETY: as for the caller.
    unsafe {
        let any = &raw mut pg_sys::SnapshotAnyData;
        let mut former = Former::new(rel, info);
        let mut cursor = cursor_over(rel, info, any, found);
        let natts = (*(*rel).rd_att).natts as usize;
        let mut values = vec![pg_sys::Datum::from(0); natts];
        let mut nulls = vec![true; natts];
        while let Some(row) = cursor.step(true) {
            let arrays = (values.as_mut_ptr(), nulls.as_mut_ptr());
            if !former.form(&mut cursor, row, arrays) {
                continue;
            }
            former.enter(
                index,
                row.to_tid(),
                pg_sys::IndexUniqueCheck::UNIQUE_CHECK_NO,
            );
            pgrx::check_for_interrupts!();
        }
        former.finish();
        compat::end_index_inserts(index, info);
    }
}

/// A cursor over one segment for the columns an index needs.
unsafe fn cursor_over(
    rel: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
    snapshot: pg_sys::Snapshot,
    found: directory::FoundSegment,
) -> Cursor {
    let attrs = Rc::new(attrs::of(rel));
    // SAFETY: a valid index info.
    let needed = unsafe {
        if (*info).ii_Expressions.is_null() && (*info).ii_Predicate.is_null() {
            let count = (*info).ii_NumIndexAttrs as usize;
            let keys = &(&(*info).ii_IndexAttrNumbers)[..count];
            attrs
                .iter()
                .map(|a| keys.contains(&(a.number as i16)))
                .collect()
        } else {
            vec![true; attrs.len()]
        }
    };
    let toast = Toast::open(rel, pg_sys::AccessShareLock as i32);
    Cursor::over(rel, toast, snapshot, attrs, needed, vec![found])
}
