// SPDX-License-Identifier: Apache-2.0
//! Stand-ins for functions of a keyed table's indexes, put into their relation cache entries.
//!
//! - `aminsert` makes no entries of segment rows in an index on the key, nor of heap rows that the upsert has entered
//!   there already; of a heap-only version it makes none in any index. For the other rows it also searches the
//!   segments, as the uniqueness check of the btree sees the heap only.
//! - `amgettuple` returns the segment rows of a key after the heap's: to UPDATE and DELETE by key, to foreign
//!   keys, to the arbiter check of ON CONFLICT.
//!
//! PostgreSQL copies an index access method's functions into each relation cache entry and does not renew the
//! copy while the index is open. Every way into the table's access method puts the stand-ins there.
use super::heap::OpenXact;
use super::index_scan_segments::SegmentRowScan;
use super::model::{self, Model};
use super::probe::{self, SingleKey};
use crate::am::is_doris;
use crate::pg::toast::Toast;
use crate::pg::{self, raw};
use crate::store::registration_lock::{Mode, RegistrationLock};
use crate::store::tid::RowNumber;
use crate::write::builder;
use pg_sys::IndexUniqueCheck::*;
use pgrx::{pg_guard, pg_sys, PgSqlErrorCode};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

/// The functions that were replaced, of one index access method.
#[derive(Clone, Copy)]
struct Originals {
    insert: pg_sys::aminsert_function,
    gettuple: pg_sys::amgettuple_function,
    rescan: pg_sys::amrescan_function,
    endscan: pg_sys::amendscan_function,
}

/// A row that needs no further index entries.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Entered {
    rel: pg_sys::Oid,
    block: u32,
    offset: u16,
    entries: Entries,
}

/// Which entries of a row are not to be made (any more).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entries {
    /// That of one index, which is there.
    Of(pg_sys::Oid),
    /// Those of all indexes.
    All,
    /// Several slots of a batch have the place of a row that the batch brought: each index makes its entry once.
    Repeated,
}

thread_local! {
    static ORIGINALS: RefCell<HashMap<pg_sys::Oid, Originals>> = RefCell::default();
    static ENTERED: RefCell<Vec<Entered>> = const { RefCell::new(Vec::new()) };
    static SCANS: RefCell<HashMap<usize, SegmentRowScan>> = RefCell::default();
    static HEAP_ONLY: Cell<u32> = const { Cell::new(0) };
}

/// While it lives, scans of key indexes return heap rows only.
pub struct HeapOnly(());

impl HeapOnly {
    /// Begins it.
    pub fn begin() -> Self {
        HEAP_ONLY.set(HEAP_ONLY.get() + 1);
        Self(())
    }
}

impl Drop for HeapOnly {
    fn drop(&mut self) {
        HEAP_ONLY.set(HEAP_ONLY.get() - 1);
    }
}

/// Forgets what belonged to a transaction.
pub fn forget() {
    ENTERED.with_borrow_mut(Vec::clear);
    SCANS.with_borrow_mut(HashMap::clear);
}

/// Puts the stand-ins into the open indexes of a table.
pub fn cover(rel: pg_sys::Relation) {
    let Some(model) = model::of(rel) else { return };
    for oid in &model.key_indexes {
        cover_index(*oid, true);
    }
    for oid in &model.other_indexes {
        cover_index(*oid, false);
    }
}

fn cover_index(oid: pg_sys::Oid, of_key: bool) {
    // SAFETY: the index exists while its table is open with a lock; its relation cache entry has a copy of its
    // own of the access method's functions.
    unsafe {
        let index = pg_sys::RelationIdGetRelation(oid);
        if index.is_null() {
            return;
        }
        let am = (*index).rd_indam;
        let ours: pg_sys::aminsert_function = if of_key {
            Some(key_insert)
        } else {
            Some(other_insert)
        };
        let same = (*am).aminsert.map(|f| f as usize) == ours.map(|f| f as usize);
        if !same {
            let method = (*(*index).rd_rel).relam;
            let known = ORIGINALS.with_borrow(|originals| originals.contains_key(&method));
            if !known {
                let originals = Originals {
                    insert: (*am).aminsert,
                    gettuple: (*am).amgettuple,
                    rescan: (*am).amrescan,
                    endscan: (*am).amendscan,
                };
                ORIGINALS.with_borrow_mut(|map| map.insert(method, originals));
            }
            (*am).aminsert = ours;
            if of_key {
                (*am).amgettuple = Some(gettuple);
                (*am).amrescan = Some(rescan);
                (*am).amendscan = Some(endscan);
            }
        }
        pg_sys::RelationClose(index);
    }
}

/// The functions that an index had before.
unsafe fn originals(index: pg_sys::Relation) -> Originals {
    // SAFETY: an open index.
    let method = unsafe { (*(*index).rd_rel).relam };
    ORIGINALS.with_borrow(|originals| originals[&method])
}

/// New rows come to a table: the entries of earlier ones have been made.
pub fn begin_rows(rel: pg_sys::Relation) {
    let relid = pg::relation_id(rel);
    ENTERED.with_borrow_mut(|entered| entered.retain(|e| e.rel != relid));
    cover(rel);
}

/// A heap row has its entry in an index on the key, or needs none in any index.
pub fn entered(rel: pg_sys::Relation, tid: pg_sys::ItemPointerData, index: Option<pg_sys::Oid>) {
    add(rel, tid, index.map_or(Entries::All, Entries::Of));
}

/// A slot gets the place of a row that is there already. That row has its entries, unless it came with the same batch:
/// then PostgreSQL makes them when it comes to the slots, one after the other, and the first is to make them.
pub fn entered_before(rel: pg_sys::Relation, tid: pg_sys::ItemPointerData) {
    let of_batch = ENTERED.with_borrow(|entered| {
        let mut of_row = entered.iter().filter(|e| e.is_of(rel, &tid));
        of_row.any(|e| matches!(e.entries, Entries::Of(_)))
    });
    let entries = if of_batch {
        Entries::Repeated
    } else {
        Entries::All
    };
    add(rel, tid, entries);
}

fn add(rel: pg_sys::Relation, tid: pg_sys::ItemPointerData, entries: Entries) {
    let entry = Entered {
        rel: pg::relation_id(rel),
        block: crate::store::tid::block_of(&tid),
        offset: tid.ip_posid,
        entries,
    };
    ENTERED.with_borrow_mut(|entered| entered.push(entry));
}

impl Entered {
    fn is_of(&self, rel: pg_sys::Relation, tid: &pg_sys::ItemPointerData) -> bool {
        let place = (crate::store::tid::block_of(tid), tid.ip_posid);
        self.rel == pg::relation_id(rel) && (self.block, self.offset) == place
    }
}

/// Whether a row needs no entry in an index; one that it needs is about to be made.
fn is_entered(
    rel: pg_sys::Relation,
    tid: &pg_sys::ItemPointerData,
    index: pg_sys::Relation,
) -> bool {
    let index = pg::relation_id(index);
    ENTERED.with_borrow_mut(|entered| {
        let mut repeated = None;
        for e in entered.iter().rev().filter(|e| e.is_of(rel, tid)) {
            match e.entries {
                Entries::All => return true,
                Entries::Of(made) if made == index => return true,
                Entries::Of(_) => {}
                Entries::Repeated => repeated = Some(*e),
            }
        }
        let made = |e: Entered| Entered {
            entries: Entries::Of(index),
            ..e
        };
        entered.extend(repeated.map(made));
        false
    })
}

/// The index's own insertion.
///
/// # Safety
/// Arrays of the index's columns.
pub unsafe fn original_insert(
    index: pg_sys::Relation,
    values: *mut pg_sys::Datum,
    nulls: *mut bool,
    tid: pg_sys::ItemPointerData,
    rel: pg_sys::Relation,
    check: pg_sys::IndexUniqueCheck::Type,
) -> bool {
    let mut tid = tid;
    // SAFETY: passed on to the caller.
    unsafe {
        let none = std::ptr::null_mut();
        original(index, values, nulls, &mut tid, rel, check, false, none)
    }
}

#[allow(clippy::too_many_arguments)]
unsafe fn original(
    index: pg_sys::Relation,
    values: *mut pg_sys::Datum,
    nulls: *mut bool,
    tid: pg_sys::ItemPointer,
    rel: pg_sys::Relation,
    check: pg_sys::IndexUniqueCheck::Type,
    unchanged: bool,
    info: *mut pg_sys::IndexInfo,
) -> bool {
    // SAFETY: the arguments of an aminsert function, passed on.
    unsafe {
        let insert = originals(index).insert.expect("an index has an insertion");
        raw::guarded(|| insert(index, values, nulls, tid, rel, check, unchanged, info))
    }
}

#[pg_guard]
#[allow(clippy::too_many_arguments)]
unsafe extern "C-unwind" fn other_insert(
    index: pg_sys::Relation,
    values: *mut pg_sys::Datum,
    nulls: *mut bool,
    tid: pg_sys::ItemPointer,
    rel: pg_sys::Relation,
    check: pg_sys::IndexUniqueCheck::Type,
    unchanged: bool,
    info: *mut pg_sys::IndexInfo,
) -> bool {
    // SAFETY: PostgreSQL's arguments, passed on.
    unsafe {
        if is_entered(rel, &*tid, index) {
            return true;
        }
        original(index, values, nulls, tid, rel, check, unchanged, info)
    }
}

#[pg_guard]
#[allow(clippy::too_many_arguments)]
unsafe extern "C-unwind" fn key_insert(
    index: pg_sys::Relation,
    values: *mut pg_sys::Datum,
    nulls: *mut bool,
    tid: pg_sys::ItemPointer,
    rel: pg_sys::Relation,
    check: pg_sys::IndexUniqueCheck::Type,
    unchanged: bool,
    info: *mut pg_sys::IndexInfo,
) -> bool {
    // SAFETY: PostgreSQL's arguments, passed on.
    unsafe {
        if RowNumber::from_tid(&*tid).is_some() || is_entered(rel, &*tid, index) {
            return true;
        }
        let alone = original(index, values, nulls, tid, rel, check, unchanged, info);
        let searched = check == UNIQUE_CHECK_YES || check == UNIQUE_CHECK_PARTIAL;
        if !searched || !is_doris(rel) {
            return alone;
        }
        let Some(model) = model::of(rel) else {
            return alone;
        };
        let columns: Vec<(pg_sys::Datum, bool)> = (0..model.columns.len())
            .map(|i| (*values.add(i), *nulls.add(i)))
            .collect();
        let free = free_in_segments(rel, &model, &columns, check == UNIQUE_CHECK_YES);
        if check == UNIQUE_CHECK_YES && !free {
            refuse_duplicate(rel, index, values, nulls);
        }
        alone && free
    }
}

/// Whether no segment has a live row of a key. An open transaction's row is waited for, or counts as there.
unsafe fn free_in_segments(
    rel: pg_sys::Relation,
    model: &Model,
    values: &[(pg_sys::Datum, bool)],
    wait: bool,
) -> bool {
    builder::publish_pending(rel);
    let Some(toast) = Toast::open(rel, pg_sys::AccessShareLock as i32) else {
        return true;
    };
    // SAFETY: the index's values, of the key columns' types.
    let key = unsafe { SingleKey::of_row(model, values) };
    loop {
        let registration = RegistrationLock::acquire(&toast, Mode::Shared);
        let holder = probe::holder(&registration, rel, &toast, model, &key);
        drop(registration);
        match holder {
            probe::Holder::None => return true,
            probe::Holder::Open(xid) if wait => OpenXact { xid, token: 0 }.wait(rel),
            _ => return false,
        }
    }
}

unsafe fn refuse_duplicate(
    rel: pg_sys::Relation,
    index: pg_sys::Relation,
    values: *mut pg_sys::Datum,
    nulls: *mut bool,
) -> ! {
    // SAFETY: the index's values; the description is a palloc'd string or null.
    let detail = unsafe {
        let text = pg_sys::BuildIndexValueDescription(index, values, nulls);
        if text.is_null() {
            String::new()
        } else {
            let text = pg::text(text);
            format!("Key {text} already exists.")
        }
    };
    let _ = rel;
    let mut report = pg_sys::panic::ErrorReport::new(
        PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION,
        format!(
            "duplicate key value violates unique constraint \"{}\"",
            pg::relation_name(index)
        ),
        pgrx::function_name!(),
    );
    if !detail.is_empty() {
        report = report.set_detail(detail);
    }
    report.report(pgrx::PgLogLevel::ERROR);
    unreachable!("an error was raised")
}

#[pg_guard]
unsafe extern "C-unwind" fn rescan(
    scan: pg_sys::IndexScanDesc,
    keys: pg_sys::ScanKey,
    nkeys: i32,
    orderbys: pg_sys::ScanKey,
    norderbys: i32,
) {
    SCANS.with_borrow_mut(|scans| scans.remove(&(scan as usize)));
    // SAFETY: PostgreSQL's arguments, passed on.
    unsafe {
        let rescan = originals((*scan).indexRelation).rescan.expect("set");
        raw::guarded(|| rescan(scan, keys, nkeys, orderbys, norderbys));
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn endscan(scan: pg_sys::IndexScanDesc) {
    SCANS.with_borrow_mut(|scans| scans.remove(&(scan as usize)));
    // SAFETY: PostgreSQL's argument, passed on.
    unsafe {
        let endscan = originals((*scan).indexRelation).endscan.expect("set");
        raw::guarded(|| endscan(scan));
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn gettuple(
    scan: pg_sys::IndexScanDesc,
    direction: pg_sys::ScanDirection::Type,
) -> bool {
    // SAFETY: a running scan.
    unsafe {
        let original = originals((*scan).indexRelation).gettuple.expect("set");
        let heap = (*scan).heapRelation;
        let only_heap =
            HEAP_ONLY.get() > 0 || heap.is_null() || !is_doris(heap) || (*scan).xs_want_itup;
        if only_heap {
            return raw::guarded(|| original(scan, direction));
        }
        let id = scan as usize;
        let backward = direction == pg_sys::ScanDirection::BackwardScanDirection;
        let mut behind = SCANS
            .with_borrow_mut(|scans| scans.remove(&id))
            .unwrap_or_else(|| SegmentRowScan::new(backward));
        if behind.is_within() {
            // What was said of a segment row must not be taken for the index's current entry.
            (*scan).kill_prior_tuple = false;
        }
        let found = behind.advance(scan, backward, || {
            raw::guarded(|| original(scan, direction))
        });
        SCANS.with_borrow_mut(|scans| scans.insert(id, behind));
        found
    }
}
