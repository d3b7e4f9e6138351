// SPDX-License-Identifier: Apache-2.0
//! Scans of a whole table: first the heap's rows, by the heap's own scan, then those of the segments that
//! the snapshot sees. PostgreSQL's nodes use these callbacks; the columnar scan node reads segments itself.
mod node_use;
mod parallel;
mod sample;
mod tid_range;

pub use self::node_use::begin_for_node;
use self::node_use::UseOfRows;
pub use self::parallel::first_participant;
use self::parallel::{claim, of_claim};
use crate::heap_call;
use crate::pg::compat;
use crate::pg::toast::Toast;
use crate::read::attrs;
use crate::read::cursor::Cursor;
use crate::store::changes_after_move;
use crate::store::directory;
use crate::store::tid::RowNumber;
use pgrx::{pg_guard, pg_sys, PgMemoryContexts};
use std::rc::Rc;

/// Puts this module's callbacks into the routine table.
pub fn install(table: &mut pg_sys::TableAmRoutine) {
    table.scan_begin = Some(scan_begin);
    table.scan_end = Some(scan_end);
    table.scan_rescan = Some(scan_rescan);
    table.scan_getnextslot = Some(scan_getnextslot);
    table.tuple_tid_valid = Some(tuple_tid_valid);
    parallel::install(table);
    sample::install(table);
    tid_range::install(table);
    super::bitmap::install(table);
}

/// Our scan descriptor. The heap's own descriptor is beside it: `base` alone is shared with PostgreSQL.
#[repr(C)]
pub struct Scan {
    base: pg_sys::TableScanDescData,
    /// The heap's scan of the main relation; null once an index build has ended it.
    pub heap: pg_sys::TableScanDesc,
    /// Ours, in a box that the scan's memory context drops.
    state: *mut Option<State>,
}

/// Which half of the table the scan is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Heap,
    Segments,
}

/// The segment half of a scan; its cursor is opened when the scan gets there.
pub struct State {
    half: Half,
    /// What PostgreSQL's node makes of the rows, where that is known.
    use_of_rows: Option<UseOfRows>,
    cursor: Option<Cursor>,
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
    /// Parallel scans: the segment this participant is on.
    claimed: Option<u32>,
    /// Sample scans: the next virtual block to look at.
    sample_block: Option<u32>,
    /// Rows of the current virtual block, for bitmap scans.
    #[cfg(not(feature = "pg18"))]
    pub block_rows: Vec<RowNumber>,
    /// Rows of the current block, for bitmap scans.
    #[cfg(feature = "pg18")]
    pub block_tids: Vec<pg_sys::ItemPointerData>,
    /// Whether the bitmap is not sure of them.
    #[cfg(feature = "pg18")]
    pub block_recheck: bool,
    /// What looks them up.
    #[cfg(feature = "pg18")]
    pub lookup: *mut pg_sys::IndexFetchTableData,
    /// How far through the block's rows the scan is.
    pub block_at: usize,
}

impl State {
    fn new(natts: usize) -> Self {
        Self {
            half: Half::Heap,
            use_of_rows: None,
            cursor: None,
            values: vec![pg_sys::Datum::from(0); natts],
            nulls: vec![true; natts],
            claimed: None,
            sample_block: None,
            #[cfg(not(feature = "pg18"))]
            block_rows: Vec::new(),
            #[cfg(feature = "pg18")]
            block_tids: Vec::new(),
            #[cfg(feature = "pg18")]
            block_recheck: false,
            #[cfg(feature = "pg18")]
            lookup: std::ptr::null_mut(),
            block_at: 0,
        }
    }
}

impl State {
    /// Forgets the block that a bitmap scan is on.
    fn forget_block(&mut self) {
        #[cfg(not(feature = "pg18"))]
        self.block_rows.clear();
        #[cfg(feature = "pg18")]
        self.block_tids.clear();
        self.block_at = 0;
    }

    /// Ends the look-ups of a bitmap scan.
    #[cfg(feature = "pg18")]
    fn end_lookup(&mut self) {
        let lookup = std::mem::replace(&mut self.lookup, std::ptr::null_mut());
        if !lookup.is_null() {
            let end = crate::am::routine().index_fetch_end.expect("set");
            // SAFETY: made by our own index_fetch_begin for this scan.
            unsafe { end(lookup) };
        }
    }
}

/// The parts of a scan descriptor of ours.
///
/// # Safety
/// `scan` was made by `scan_begin` and is not yet ended.
pub unsafe fn parts<'a>(scan: pg_sys::TableScanDesc) -> (&'a mut Scan, &'a mut State) {
    // SAFETY: passed on to the caller; the state is filled in by scan_begin.
    unsafe {
        let scan = &mut *(scan as *mut Scan);
        if !scan.heap.is_null() {
            // Parallel bitmap scans get their snapshot late, and get it here (table_scan_update_snapshot).
            (*scan.heap).rs_snapshot = scan.base.rs_snapshot;
        }
        let natts = (*(*scan.base.rs_rd).rd_att).natts as usize;
        let state = (*scan.state).get_or_insert_with(|| State::new(natts));
        (scan, state)
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn scan_begin(
    rel: pg_sys::Relation,
    snapshot: pg_sys::Snapshot,
    nkeys: i32,
    key: *mut pg_sys::ScanKeyData,
    pscan: pg_sys::ParallelTableScanDesc,
    flags: u32,
) -> pg_sys::TableScanDesc {
    // SAFETY: valid arguments from PostgreSQL; zeroed memory in the current context.
    unsafe {
        if flags & pg_sys::ScanOptions::SO_TYPE_ANALYZE != 0 {
            super::analyze::begin();
        }
        let heap = heap_call!(scan_begin(rel, snapshot, nkeys, key, pscan, flags));
        let scan = pg_sys::palloc0(std::mem::size_of::<Scan>()) as *mut Scan;
        (*scan).base = *heap;
        (*scan).heap = heap;
        (*scan).state = PgMemoryContexts::CurrentMemoryContext.leak_and_drop_on_delete(None);
        scan.cast()
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn scan_end(scan: pg_sys::TableScanDesc) {
    let scan = scan as *mut Scan;
    // SAFETY: made by scan_begin. The heap's scan owns the snapshot when it is a temporary one.
    unsafe {
        #[cfg(feature = "pg18")]
        if let Some(state) = (*(*scan).state).as_mut() {
            state.end_lookup();
        }
        if let Some(state) = (*(*scan).state).take() {
            if let (Some(of_rows), Some(cursor)) = (&state.use_of_rows, &state.cursor) {
                of_rows.report(cursor);
            }
        }
        let temporary = pg_sys::ScanOptions::SO_TEMP_SNAPSHOT;
        if !(*scan).heap.is_null() {
            let unknown_to_heap =
                (*scan).base.rs_flags & temporary != 0 && (*(*scan).heap).rs_flags & temporary == 0;
            heap_call!(scan_end((*scan).heap));
            if unknown_to_heap {
                pg_sys::UnregisterSnapshot((*scan).base.rs_snapshot);
            }
        }
        pg_sys::pfree(scan.cast());
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn scan_rescan(
    scan: pg_sys::TableScanDesc,
    key: *mut pg_sys::ScanKeyData,
    set_params: bool,
    allow_strat: bool,
    allow_sync: bool,
    allow_pagemode: bool,
) {
    // SAFETY: made by scan_begin.
    unsafe {
        let (scan, state) = parts(scan);
        let heap = scan.heap;
        heap_call!(scan_rescan(
            heap,
            key,
            set_params,
            allow_strat,
            allow_sync,
            allow_pagemode
        ));
        state.half = Half::Heap;
        state.claimed = None;
        state.sample_block = None;
        state.forget_block();
        if let Some(of_rows) = &mut state.use_of_rows {
            of_rows.restart();
        }
        if let Some(cursor) = &mut state.cursor {
            cursor.rewind(false);
        }
    }
}

/// The cursor over segment rows, opened at first use. Rows are read by the slot's descriptor: ALTER TABLE
/// reads a table whose columns have new types by the old ones.
///
/// # Safety
/// A slot with a row type of the relation, which outlives the scan.
unsafe fn cursor<'a>(
    scan: &Scan,
    state: &'a mut State,
    slot: *mut pg_sys::TupleTableSlot,
) -> &'a mut Cursor {
    let State {
        cursor,
        use_of_rows,
        ..
    } = state;
    let cursor = cursor.get_or_insert_with(|| {
        // SAFETY: passed on to the caller.
        unsafe {
            let desc = (*slot).tts_tupleDescriptor;
            let attrs = Rc::new(attrs::of_descriptor(desc));
            let needed = match use_of_rows {
                Some(of_rows) => of_rows.needed.clone(),
                None => vec![true; attrs.len()],
            };
            Cursor::new(scan.base.rs_rd, scan.base.rs_snapshot, attrs, needed).with_descriptor(desc)
        }
    });
    if let Some(of_rows) = use_of_rows {
        // SAFETY: the node's state lives as long as its scan.
        unsafe { of_rows.renew_filter(cursor) };
    }
    cursor
}

#[pg_guard]
unsafe extern "C-unwind" fn scan_getnextslot(
    scan: pg_sys::TableScanDesc,
    direction: pg_sys::ScanDirection::Type,
    slot: *mut pg_sys::TupleTableSlot,
) -> bool {
    let forward = direction >= 0;
    // SAFETY: made by scan_begin; the slot has the relation's row type.
    unsafe {
        let (scan, state) = parts(scan);
        loop {
            match (state.half, forward) {
                (Half::Heap, _) => {
                    if heap_call!(scan_getnextslot(scan.heap, direction, slot)) {
                        if hidden(scan, slot) {
                            continue;
                        }
                        if let Some(of_rows) = &state.use_of_rows {
                            of_rows.counters().read_heap_row();
                        }
                        return true;
                    }
                    if !forward {
                        return false;
                    }
                    state.half = Half::Segments;
                    cursor(scan, state, slot).rewind(false);
                }
                (Half::Segments, _) => {
                    if next_segment_row(scan, state, forward, slot, |_| true) {
                        return true;
                    }
                    if forward {
                        return false;
                    }
                    state.half = Half::Heap;
                }
            }
        }
    }
}

/// Stores the next segment row that passes `wanted` and the scan's keys.
unsafe fn next_segment_row(
    scan: &Scan,
    state: &mut State,
    forward: bool,
    slot: *mut pg_sys::TupleTableSlot,
    mut wanted: impl FnMut(RowNumber) -> bool,
) -> bool {
    // SAFETY: the arrays of the state have an element an attribute.
    unsafe {
        cursor(scan, state, slot);
        loop {
            if !scan.base.rs_parallel.is_null() && !claim(scan, state) {
                pg_sys::ExecClearTuple(slot);
                return false;
            }
            let State {
                cursor: Some(cursor),
                values,
                nulls,
                use_of_rows,
                ..
            } = state
            else {
                return false;
            };
            let Some(row) = cursor.step(forward) else {
                pg_sys::ExecClearTuple(slot);
                return false;
            };
            if !wanted(row) || !of_claim(scan, state.claimed, cursor) {
                continue;
            }
            cursor.fill(values.as_mut_ptr(), nulls.as_mut_ptr());
            for (at, value) in use_of_rows.iter().flat_map(UseOfRows::placeholders) {
                (values[*at], nulls[*at]) = (*value, false);
            }
            if !keys_match(scan, values, nulls) {
                continue;
            }
            let Some(found) = cursor.current() else {
                return false;
            };
            let arrays = (values.as_mut_ptr(), nulls.as_mut_ptr());
            super::fetch::store_tuple(scan.base.rs_rd, found, row, arrays, slot);
            compat::count_rows_read(scan.base.rs_rd, 1);
            return true;
        }
    }
}

/// Whether a row satisfies the scan's keys, as `HeapKeyTest` has it: NULL satisfies none.
unsafe fn keys_match(scan: &Scan, values: &[pg_sys::Datum], nulls: &[bool]) -> bool {
    (0..scan.base.rs_nkeys as usize).all(|i| {
        // SAFETY: rs_key has rs_nkeys elements, made by ScanKeyInit for attributes of the relation.
        unsafe {
            let key = scan.base.rs_key.add(i);
            let at = (*key).sk_attno as usize - 1;
            let null = u32::from((*key).sk_flags as u16) & pg_sys::SK_ISNULL != 0 || nulls[at];
            !null && {
                let collation = (*key).sk_collation;
                let function = &raw mut (*key).sk_func;
                let result =
                    pg_sys::FunctionCall2Coll(function, collation, values[at], (*key).sk_argument);
                result.value() as u8 != 0
            }
        }
    })
}

/// Whether this transaction has changed the heap row in a slot where compaction took it.
unsafe fn hidden(scan: &Scan, slot: *mut pg_sys::TupleTableSlot) -> bool {
    // SAFETY: the heap has filled the slot.
    let at = unsafe { (*slot).tts_tid };
    changes_after_move::changed(scan.base.rs_rd, &at, scan.base.rs_snapshot).is_some()
}

#[pg_guard]
unsafe extern "C-unwind" fn tuple_tid_valid(
    scan: pg_sys::TableScanDesc,
    tid: pg_sys::ItemPointer,
) -> bool {
    // SAFETY: made by scan_begin.
    unsafe {
        let (scan, _) = parts(scan);
        let Some(row) = RowNumber::from_tid(&*tid) else {
            return heap_call!(tuple_tid_valid(scan.heap, tid));
        };
        let rel = scan.base.rs_rd;
        let any = &raw mut pg_sys::SnapshotAnyData;
        Toast::open(rel, pg_sys::AccessShareLock as i32)
            .is_some_and(|toast| directory::owner(rel, &toast, row.0, any).is_some())
    }
}

/// ANALYZE: opens a cursor over the segments that `snapshot` sees.
///
/// # Safety
/// A scan of ours.
pub unsafe fn begin_segments(scan: pg_sys::TableScanDesc, snapshot: pg_sys::Snapshot) {
    // SAFETY: passed on to the caller.
    unsafe {
        let (scan, state) = parts(scan);
        let attrs = Rc::new(attrs::of(scan.base.rs_rd));
        let needed = vec![true; attrs.len()];
        state.cursor = Some(Cursor::new(scan.base.rs_rd, snapshot, attrs, needed));
    }
}

/// ANALYZE: stores the next segment row that `take` picks.
///
/// # Safety
/// A scan of ours; the slot has the relation's row type.
pub unsafe fn next_thinned(
    scan: pg_sys::TableScanDesc,
    slot: *mut pg_sys::TupleTableSlot,
    mut take: impl FnMut() -> bool,
) -> bool {
    // SAFETY: passed on to the caller.
    unsafe {
        let (scan, state) = parts(scan);
        next_segment_row(scan, state, true, slot, |_| take())
    }
}
