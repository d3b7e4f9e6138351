// SPDX-License-Identifier: Apache-2.0
//! Rows by TID: index look-ups, row versions for triggers, EvalPlanQual and CURRENT OF.
use crate::heap_call;
use crate::keys::index_shell;
use crate::pg::toast::{Toast, XactStatus};
use crate::pg::{self, compat, heapam, raw};
use crate::read::attrs::{self, Attr};
use crate::read::cursor::read_row;
use crate::read::datum::Arena;
use crate::store::anchors;
use crate::store::changes_after_move;
use crate::store::directory::{self, FoundSegment};
use crate::store::directory_cache;
use crate::store::entry::SegmentState;
use crate::store::moves;
use crate::store::tid::RowNumber;
use crate::write::builder;
use pgrx::{pg_guard, pg_sys, PgMemoryContexts};

/// Puts this module's callbacks into the routine table.
pub fn install(table: &mut pg_sys::TableAmRoutine) {
    table.index_fetch_begin = Some(index_fetch_begin);
    table.index_fetch_reset = Some(index_fetch_reset);
    table.index_fetch_end = Some(index_fetch_end);
    table.index_fetch_tuple = Some(index_fetch_tuple);
    table.tuple_fetch_row_version = Some(tuple_fetch_row_version);
    table.tuple_get_latest_tid = Some(tuple_get_latest_tid);
    table.tuple_satisfies_snapshot = Some(tuple_satisfies_snapshot);
    table.index_delete_tuples = Some(index_delete_tuples);
}

/// An index scan's state: the heap's, and ours once a segment row was asked for.
#[repr(C)]
struct IndexFetch {
    base: pg_sys::IndexFetchTableData,
    heap: *mut pg_sys::IndexFetchTableData,
    rows: *mut Option<RowFetch>,
}

/// What is kept between look-ups of segment rows.
struct RowFetch {
    toast: Toast,
    attrs: Vec<Attr>,
    arena: Arena,
    /// Who wrote the tombstone of the last row that was found dead.
    deleted_by: pg_sys::TransactionId,
    /// The segment of the last look-up, good for snapshots equal to the one it was judged by.
    last: Option<(FoundSegment, SnapshotId)>,
}

/// Tells MVCC snapshots of one index scan apart.
#[derive(Clone, Copy, PartialEq, Eq)]
struct SnapshotId(
    usize,
    pg_sys::CommandId,
    pg_sys::TransactionId,
    pg_sys::TransactionId,
);

impl RowFetch {
    fn open(rel: pg_sys::Relation) -> Self {
        let toast = Toast::open(rel, pg_sys::AccessShareLock as i32)
            .unwrap_or_else(|| pg::report_corrupt(rel, "a segment row's TID, but no column store"));
        Self {
            toast,
            attrs: attrs::of(rel),
            arena: Arena::default(),
            deleted_by: pg_sys::InvalidTransactionId,
            last: None,
        }
    }

    fn owner(
        &mut self,
        rel: pg_sys::Relation,
        row: RowNumber,
        snapshot: pg_sys::Snapshot,
    ) -> Option<FoundSegment> {
        if !raw::is_mvcc(snapshot) {
            // SAFETY: a valid snapshot.
            return match unsafe { (*snapshot).snapshot_type } {
                pg_sys::SnapshotType::SNAPSHOT_ANY => directory_cache::owner(rel, &self.toast, row),
                _ => directory::owner(rel, &self.toast, row.0, snapshot),
            };
        }
        compat::refuse_old_snapshot(rel, snapshot);
        // SAFETY: a valid snapshot of the running scan.
        let id = unsafe {
            let s = &*snapshot;
            SnapshotId(snapshot as usize, s.curcid, s.xmin, s.xmax)
        };
        if let Some((found, of)) = self.last {
            if of == id && found.entry.covers(row.0) {
                return Some(found);
            }
        }
        let found = directory_cache::settled_before(rel, &self.toast, row, snapshot)
            .or_else(|| directory::owner(rel, &self.toast, row.0, snapshot));
        self.last = found.map(|found| (found, id));
        found
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn index_fetch_begin(
    rel: pg_sys::Relation,
) -> *mut pg_sys::IndexFetchTableData {
    index_shell::cover(rel);
    // SAFETY: zeroed memory in the scan's context; the box of Rust state is dropped with that context.
    unsafe {
        let fetch = pg_sys::palloc0(std::mem::size_of::<IndexFetch>()) as *mut IndexFetch;
        (*fetch).base.rel = rel;
        (*fetch).heap = heap_call!(index_fetch_begin(rel));
        (*fetch).rows = PgMemoryContexts::CurrentMemoryContext.leak_and_drop_on_delete(None);
        fetch.cast()
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn index_fetch_reset(scan: *mut pg_sys::IndexFetchTableData) {
    // SAFETY: made by index_fetch_begin.
    unsafe { heap_call!(index_fetch_reset((*(scan as *mut IndexFetch)).heap)) }
}

#[pg_guard]
unsafe extern "C-unwind" fn index_fetch_end(scan: *mut pg_sys::IndexFetchTableData) {
    let fetch = scan as *mut IndexFetch;
    // SAFETY: made by index_fetch_begin. The Option stays behind, empty, for its memory context to drop.
    unsafe {
        heap_call!(index_fetch_end((*fetch).heap));
        (*(*fetch).rows).take();
        pg_sys::pfree(fetch.cast());
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn index_fetch_tuple(
    scan: *mut pg_sys::IndexFetchTableData,
    tid: pg_sys::ItemPointer,
    snapshot: pg_sys::Snapshot,
    slot: *mut pg_sys::TupleTableSlot,
    call_again: *mut bool,
    all_dead: *mut bool,
) -> bool {
    let fetch = scan as *mut IndexFetch;
    // SAFETY: made by index_fetch_begin; pointers are valid for the call.
    unsafe {
        let Some(row) = RowNumber::from_tid(&*tid) else {
            let found = heap_call!(index_fetch_tuple(
                (*fetch).heap,
                tid,
                snapshot,
                slot,
                call_again,
                all_dead
            ));
            return found && still_there((*fetch).base.rel, slot, snapshot);
        };
        *call_again = false;
        if !all_dead.is_null() {
            *all_dead = false;
        }
        let rel = (*fetch).base.rel;
        let state = (*(*fetch).rows).get_or_insert_with(|| RowFetch::open(rel));
        if fetch_row(rel, state, row, snapshot, slot) {
            return true;
        }
        // Nobody will see it again: the index may skip its entry, as a heap row's; VACUUM removes it.
        let by = state.deleted_by;
        if !all_dead.is_null() && by != pg_sys::InvalidTransactionId {
            *all_dead = pg_sys::GlobalVisCheckRemovableXid(rel, by);
        }
        false
    }
}

/// Whether this transaction still sees a row that the heap has put into a slot.
///
/// # Safety
/// A slot that the heap has filled.
pub unsafe fn still_there(
    rel: pg_sys::Relation,
    slot: *mut pg_sys::TupleTableSlot,
    snapshot: pg_sys::Snapshot,
) -> bool {
    // SAFETY: passed on to the caller.
    unsafe {
        lock_relation_if_moved(rel, slot, snapshot);
        if changes_after_move::changed(rel, &(*slot).tts_tid, snapshot).is_none() {
            return true;
        }
        pg_sys::ExecClearTuple(slot);
        false
    }
}

/// Predicate locks are on a row's TID, which compaction changes: it widens those that it finds to the whole table. Who
/// reads a row that it has already retired widens its lock by itself.
unsafe fn lock_relation_if_moved(
    rel: pg_sys::Relation,
    slot: *mut pg_sys::TupleTableSlot,
    snapshot: pg_sys::Snapshot,
) {
    if !raw::serializable() || !raw::is_mvcc(snapshot) {
        return;
    }
    // SAFETY: a slot that the heap has filled.
    unsafe {
        let tuple = (*(slot as *mut pg_sys::HeapTupleTableSlot)).tuple;
        let infomask = u32::from((*(*tuple).t_data).t_infomask);
        if infomask & (pg_sys::HEAP_XMAX_INVALID | pg_sys::HEAP_XMAX_LOCK_ONLY) == 0 {
            raw::predicate_lock_relation(rel, snapshot);
        }
    }
}

/// Fetches a segment row into a slot if the snapshot sees it.
unsafe fn fetch_row(
    rel: pg_sys::Relation,
    state: &mut RowFetch,
    row: RowNumber,
    snapshot: pg_sys::Snapshot,
    slot: *mut pg_sys::TupleTableSlot,
) -> bool {
    state.deleted_by = pg_sys::InvalidTransactionId;
    let Some(found) = state.owner(rel, row, snapshot) else {
        return false;
    };
    let deleted_by = &mut state.deleted_by;
    if !visible(rel, &state.toast, &found, row, snapshot, deleted_by) {
        return false;
    }
    // SAFETY: the slot has the relation's row type.
    unsafe {
        store(
            rel,
            &state.toast,
            &found,
            row,
            &state.attrs,
            &mut state.arena,
            slot,
        )
    }
}

/// Whether a segment has got a row: of the row numbers that it has reserved, the last may be unused. Rows of
/// another backend's unfinished segment count as there.
fn exists(rel: pg_sys::Relation, found: &FoundSegment, row: RowNumber) -> bool {
    let position = row.0 - found.entry.first_row;
    match (found.entry.state, found.writer) {
        (SegmentState::Sealed, _) => position < u64::from(found.entry.rows),
        (SegmentState::Building, XactStatus::Own) => {
            builder::rows(compat::file_number(rel), found.entry.first_row)
                .is_some_and(|rows| position < u64::from(rows))
        }
        (SegmentState::Building, status) => status == XactStatus::InProgress,
    }
}

/// Whether a snapshot sees a row of a segment that was judged by it; `deleted_by` as for [`anchors::is_visible`].
fn visible(
    rel: pg_sys::Relation,
    toast: &Toast,
    found: &FoundSegment,
    row: RowNumber,
    snapshot: pg_sys::Snapshot,
    deleted_by: &mut pg_sys::TransactionId,
) -> bool {
    if !exists(rel, found, row) {
        return false;
    }
    // SAFETY: a valid snapshot.
    let any = unsafe { (*snapshot).snapshot_type } == pg_sys::SnapshotType::SNAPSHOT_ANY;
    if any {
        return found.writer != XactStatus::Aborted;
    }
    if raw::is_mvcc(snapshot) {
        if !found.visible {
            if found.writer != XactStatus::Aborted {
                raw::conflict_out(rel, found.xmin, snapshot);
            }
            return false;
        }
        let mut tid = row.to_tid();
        raw::predicate_lock_tid(rel, &mut tid, snapshot, found.xmin);
        if raw::serializable() {
            // As `lock_relation_if_moved`: asked once more, now that the lock is there to be found.
            let any = &raw mut pg_sys::SnapshotAnyData;
            let now = directory::owner(rel, toast, row.0, any);
            if now.is_none_or(|found| found.deleter.is_some()) {
                raw::predicate_lock_relation(rel, snapshot);
            }
        }
    }
    found.visible && anchors::is_visible(rel, toast, row, snapshot, deleted_by)
}

/// Puts a segment row into a slot as a heap tuple, with the system columns of its segment.
unsafe fn store(
    rel: pg_sys::Relation,
    toast: &Toast,
    found: &FoundSegment,
    row: RowNumber,
    attrs: &[Attr],
    arena: &mut Arena,
    slot: *mut pg_sys::TupleTableSlot,
) -> bool {
    let mut values = vec![pg_sys::Datum::from(0); attrs.len()];
    let mut nulls = vec![true; attrs.len()];
    let arrays = (values.as_mut_ptr(), nulls.as_mut_ptr());
    // SAFETY: the arrays have an element an attribute.
    unsafe {
        if !read_row(rel, toast, found, row, attrs, arena, arrays) {
            // Another backend's row that is still in that backend's memory: it is in progress, its contents
            // are not to be had. Unique checks only need to know that it is there.
            nulls.fill(true);
        }
        store_tuple(rel, found, row, arrays, slot);
    }
    true
}

/// Forms a heap tuple from the values of a segment row and puts it into a slot.
///
/// # Safety
/// The arrays have an element an attribute of the slot's descriptor, a row type of `rel`.
pub unsafe fn store_tuple(
    rel: pg_sys::Relation,
    found: &FoundSegment,
    row: RowNumber,
    (values, nulls): (*mut pg_sys::Datum, *mut bool),
    slot: *mut pg_sys::TupleTableSlot,
) {
    // SAFETY: the tuple is formed from arrays that match the descriptor, in memory that lives as long as the slot,
    // which frees it: as ExecForceStoreHeapTuple does for such slots with a copy.
    unsafe {
        let tid = row.to_tid();
        let ours = std::ptr::eq((*slot).tts_ops, &raw const pg_sys::TTSOpsBufferHeapTuple);
        let context = match ours {
            true => (*slot).tts_mcxt,
            false => pg_sys::CurrentMemoryContext,
        };
        pg_sys::ExecClearTuple(slot);
        let before = pg_sys::MemoryContextSwitchTo(context);
        let tuple = pg_sys::heap_form_tuple((*slot).tts_tupleDescriptor, values, nulls);
        pg_sys::MemoryContextSwitchTo(before);
        (*tuple).t_self = tid;
        (*tuple).t_tableOid = pg::relation_id(rel);
        let header = (*tuple).t_data;
        (*header).t_ctid = tid;
        (*header).t_choice.t_heap.t_xmin = found.xmin;
        (*header).t_choice.t_heap.t_xmax = pg_sys::InvalidTransactionId;
        (*header).t_choice.t_heap.t_field3.t_cid = found.cmin;
        (*header).t_infomask |= pg_sys::HEAP_XMAX_INVALID as u16;
        if ours {
            (*(slot as *mut pg_sys::BufferHeapTupleTableSlot))
                .base
                .tuple = tuple;
            (*slot).tts_flags &= !(pg_sys::TTS_FLAG_EMPTY as u16);
            (*slot).tts_flags |= pg_sys::TTS_FLAG_SHOULDFREE as u16;
        } else {
            pg_sys::ExecForceStoreHeapTuple(tuple, slot, true);
        }
        (*slot).tts_tid = tid;
        (*slot).tts_tableOid = pg::relation_id(rel);
    }
}

/// Puts a row into a slot whatever its visibility; the caller has locked it.
///
/// # Safety
/// The slot has the relation's row type.
pub unsafe fn store_row(
    rel: pg_sys::Relation,
    toast: &Toast,
    row: RowNumber,
    slot: *mut pg_sys::TupleTableSlot,
) {
    let Some(found) = directory_cache::owner(rel, toast, row) else {
        pg::report_corrupt(rel, format!("no segment owns row {}", row.0));
    };
    // SAFETY: passed on.
    unsafe {
        store(
            rel,
            toast,
            &found,
            row,
            &attrs::of(rel),
            &mut Arena::default(),
            slot,
        )
    };
}

/// Whether a new version of a segment row has the values that foreign keys may refer to (the columns of unique indexes,
/// as heapam has it). Values that are equal but not the same bytes count as different.
///
/// # Safety
/// The slot holds the new version, a row of the relation.
pub unsafe fn keeps_key(
    rel: pg_sys::Relation,
    toast: &Toast,
    row: RowNumber,
    slot: *mut pg_sys::TupleTableSlot,
) -> bool {
    // SAFETY: the bitmap is a copy; arrays have an element an attribute of the key.
    unsafe {
        let kind = pg_sys::IndexAttrBitmapKind::INDEX_ATTR_BITMAP_KEY;
        let bitmap = pg_sys::RelationGetIndexAttrBitmap(rel, kind);
        let mut key = attrs::of(rel);
        key.retain(|attr| {
            let member = i32::from(attr.number) - pg_sys::FirstLowInvalidHeapAttributeNumber;
            pg_sys::bms_is_member(member, bitmap)
        });
        if key.is_empty() {
            return true;
        }
        let Some(found) = directory_cache::owner(rel, toast, row) else {
            return false;
        };
        let mut values = vec![pg_sys::Datum::from(0); key.len()];
        let mut nulls = vec![true; key.len()];
        let arrays = (values.as_mut_ptr(), nulls.as_mut_ptr());
        let mut arena = Arena::default();
        if !read_row(rel, toast, &found, row, &key, &mut arena, arrays) {
            return false;
        }
        pg_sys::slot_getallattrs(slot);
        key.iter().enumerate().all(|(i, attr)| {
            let at = usize::from(attr.number) - 1;
            let (new, null) = (*(*slot).tts_values.add(at), *(*slot).tts_isnull.add(at));
            null == nulls[i] && (null || same_value(rel, at, values[i], new))
        })
    }
}

/// Whether two values of an attribute are the same bytes.
unsafe fn same_value(
    rel: pg_sys::Relation,
    at: usize,
    old: pg_sys::Datum,
    new: pg_sys::Datum,
) -> bool {
    // SAFETY: values of the attribute's type; variable lengths are brought to one form first.
    unsafe {
        let attribute = compat::attribute((*rel).rd_att, at);
        let (mut old, mut new) = (old, new);
        if attribute.attlen == -1 {
            old = pg_sys::Datum::from(pg_sys::pg_detoast_datum(old.cast_mut_ptr()));
            new = pg_sys::Datum::from(pg_sys::pg_detoast_datum(new.cast_mut_ptr()));
        }
        raw::same_bytes(old, new, attribute.attbyval, attribute.attlen)
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn tuple_fetch_row_version(
    rel: pg_sys::Relation,
    tid: pg_sys::ItemPointer,
    snapshot: pg_sys::Snapshot,
    slot: *mut pg_sys::TupleTableSlot,
) -> bool {
    // SAFETY: valid pointers from PostgreSQL.
    unsafe {
        match RowNumber::from_tid(&*tid) {
            None => {
                let found = heap_call!(tuple_fetch_row_version(rel, tid, snapshot, slot));
                found && still_there(rel, slot, snapshot)
            }
            Some(row) => fetch_row(rel, &mut RowFetch::open(rel), row, snapshot, slot),
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn tuple_get_latest_tid(
    scan: pg_sys::TableScanDesc,
    tid: pg_sys::ItemPointer,
) {
    // SAFETY: our scan descriptor; the heap's function only uses its relation and snapshot.
    unsafe {
        let rel = (*scan).rs_rd;
        if RowNumber::from_tid(&*tid).is_none() {
            heap_call!(tuple_get_latest_tid(scan, tid));
        }
        let Some(toast) = Toast::open(rel, pg_sys::AccessShareLock as i32) else {
            return;
        };
        while let Some(next) = later_tid(rel, &toast, &*tid, (*scan).rs_snapshot) {
            *tid = next;
            if RowNumber::from_tid(&next).is_none() && heapam::has_block(rel, &next) {
                heap_call!(tuple_get_latest_tid(scan, tid));
            }
        }
    }
}

/// Where to go on from a TID whose row a snapshot does not see there: to where it was moved, or to its next version.
unsafe fn later_tid(
    rel: pg_sys::Relation,
    toast: &Toast,
    tid: &pg_sys::ItemPointerData,
    snapshot: pg_sys::Snapshot,
) -> Option<pg_sys::ItemPointerData> {
    if let Some(now) = changes_after_move::changed(rel, tid, snapshot) {
        return Some(now.to_tid());
    }
    let Some(row) = RowNumber::from_tid(tid) else {
        if heapam::sees(rel, tid, snapshot) {
            return None;
        }
        let mover = heapam::deleter_of(rel, tid)?;
        return moves::of_heap_row(rel, toast, tid, mover).map(RowNumber::to_tid);
    };
    let found = directory::owner(rel, toast, row.0, snapshot)?;
    if found.visible && anchors::alive(rel, toast, row, snapshot) {
        return None;
    }
    if let Some(next) = anchors::next_version(rel, toast, row) {
        return Some(next);
    }
    if found.visible {
        return None;
    }
    moves::of_row(rel, toast, row).map(RowNumber::to_tid)
}

#[pg_guard]
unsafe extern "C-unwind" fn tuple_satisfies_snapshot(
    rel: pg_sys::Relation,
    slot: *mut pg_sys::TupleTableSlot,
    snapshot: pg_sys::Snapshot,
) -> bool {
    // SAFETY: a slot filled by this access method.
    unsafe {
        let Some(row) = RowNumber::from_tid(&(*slot).tts_tid) else {
            return heap_call!(tuple_satisfies_snapshot(rel, slot, snapshot));
        };
        let mut state = RowFetch::open(rel);
        let Some(found) = state.owner(rel, row, snapshot) else {
            return false;
        };
        // ON CONFLICT asks this of a row that it found by its key: a row that was only moved since the snapshot was
        // there for it.
        visible(
            rel,
            &state.toast,
            &found,
            row,
            snapshot,
            &mut state.deleted_by,
        ) || (raw::is_mvcc(snapshot)
            && anchors::seen_before_moves(rel, &state.toast, row, snapshot))
    }
}

/// The heap answers for its rows. Of segment rows, entries are deleted of which the index knows that the row is dead
/// ([`index_fetch_tuple`]): a btree asks again about those it has marked, and may not be refused one; other access
/// methods pass none but such. A btree that asks which of its unmarked entries could go (bottom-up deletion) is told of
/// heap rows only. The caller holds the lock of an index page: nothing here may wait for who could be waiting for that.
#[pg_guard]
unsafe extern "C-unwind" fn index_delete_tuples(
    rel: pg_sys::Relation,
    state: *mut pg_sys::TM_IndexDeleteOp,
) -> pg_sys::TransactionId {
    // SAFETY: the operation's arrays have ndeltids elements; the heap gets a prefix of them, whose order it may change,
    // and takes from its end when it goes bottom-up.
    unsafe {
        let count = (*state).ndeltids as usize;
        let items = std::slice::from_raw_parts_mut((*state).deltids, count);
        let mut heap_items = 0;
        for i in 0..count {
            if RowNumber::from_tid(&items[i].tid).is_none() {
                items.swap(heap_items, i);
                heap_items += 1;
            }
        }
        let marked =
            |item: &pg_sys::TM_IndexDelete| (*(*state).status.add(item.id as usize)).knowndeletable;
        // Asked about marked entries, the heap takes it that one of them is its own. It is also asked about others
        // beside them, which it need not say anything of.
        let bottomup = (*state).bottomup;
        let ask = heap_items > 0 && (bottomup || items[..heap_items].iter().any(marked));
        let mut rows: Vec<RowNumber> = items[heap_items..]
            .iter()
            .filter(|item| marked(item))
            .filter_map(|item| RowNumber::from_tid(&item.tid))
            .collect();
        (*state).ndeltids = heap_items as i32;
        let horizon = match ask {
            true => heap_call!(index_delete_tuples(rel, state)),
            false => pg_sys::InvalidTransactionId,
        };
        if bottomup || heap_items == count {
            return horizon;
        }
        (*state).ndeltids = count as i32;
        if rows.is_empty() {
            return horizon;
        }
        rows.sort_unstable();
        let deleter = match Toast::open_at_once(rel) {
            Some(toast) => anchors::latest_deleter(rel, &toast, &rows),
            None => last_before_next(),
        };
        later(horizon, deleter)
    }
}

/// The last transaction id that was handed out: whoever has ended is not behind it.
fn last_before_next() -> pg_sys::TransactionId {
    // SAFETY: plain call.
    let next = unsafe { pg_sys::ReadNextFullTransactionId() }.value as u32;
    let first = pg_sys::FirstNormalTransactionId.into_inner();
    let last = match next > first {
        true => next - 1,
        false => u32::MAX,
    };
    pg_sys::TransactionId::from(last)
}

fn later(a: pg_sys::TransactionId, b: pg_sys::TransactionId) -> pg_sys::TransactionId {
    // SAFETY: plain call.
    match unsafe { pg_sys::TransactionIdFollows(a, b) } {
        true => a,
        false => b,
    }
}
