// SPDX-License-Identifier: Apache-2.0
//! `doris.verify`: reads all of a table's row store and column store and says what is wrong with it.
//!
//! 0. The pages of the row store and of the TOAST relation (`pages`).
//! 1. The directory: segments do not overlap, none is left unfinished by a transaction that committed.
//! 2. Each segment: footer, then each column with its dictionary, blocks (checksums), row counts, blooms.
//! 3. What was deleted and updated in bulk: it can be read, and updated rows lead to their next versions.
//! 4. Each index that can be read from end to end: no entry is of a row number that was never given out or of a place
//!    of the row store without a row, and every row that is not deleted has its entry.
use super::{checked, pages, subtransaction};
use crate::keys;
use crate::pg::heap_rows::HeapRows;
use crate::pg::toast::{Toast, XactStatus};
use crate::pg::{self, compat};
use crate::store::delete_bitmaps::{self, MarkKind, SLICE_ROWS};
use crate::store::directory::{self, FoundSegment};
use crate::store::entry::SegmentState;
use crate::store::tid::{block_of, RowNumber};
use crate::store::{anchors, chunks, segment, successors};
use doris_storage::bloom;
use pgrx::iter::TableIterator;
use pgrx::{name, pg_extern, pg_sys, PgRelation};
use roaring::RoaringTreemap;
use std::collections::HashSet;

type Problems = Vec<(Option<i64>, String)>;

/// The problems of a columnar table, one a row; no row is a sound table. `segment` is the number of the
/// first row of the segment concerned.
#[pg_extern(volatile, parallel_unsafe)]
fn verify(
    table: PgRelation,
) -> TableIterator<'static, (name!(segment, Option<i64>), name!(problem, String))> {
    let rel = checked(&table);
    let mut problems = Problems::new();
    let mut known = Known {
        used: pages::check(rel, "row store", &mut problems),
        ..Known::default()
    };
    let toast = |problems: &mut Problems| pages::check(open(rel).rel, "TOAST relation", problems);
    let read = subtransaction::run(|| toast(&mut problems)).map(|_| ());
    problems.extend(read.err().map(|error| (None, error)));
    let pages_are_sound = problems.is_empty();
    match subtransaction::run(|| heap_rows(rel)) {
        Ok(rows) => known.heap_rows = Some(rows),
        // What is wrong with pages was told.
        Err(error) if pages_are_sound => problems.push((None, error)),
        Err(_) => {}
    }
    if let Err(error) = subtransaction::run(|| check_segments(rel, &mut known, &mut problems)) {
        problems.push((None, error));
    }
    match subtransaction::run(|| delete_bitmaps::filed_twice(&open(rel)).len()) {
        Ok(0) => {}
        Ok(twice) => {
            let text = format!("{twice} marks of changed rows are filed where others are: VACUUM FULL files them anew");
            problems.push((None, text));
        }
        Err(error) => problems.push((None, error)),
    }
    for index in indexes(rel) {
        if let Err(error) = subtransaction::run(|| check_index(rel, index, &known, &mut problems)) {
            problems.push((None, error));
        }
    }
    TableIterator::new(problems)
}

/// What is known of a table's rows when its indexes are looked at.
#[derive(Default)]
struct Known {
    /// Places of the row store whose line pointers are in use.
    used: RoaringTreemap,
    /// Rows of the row store that the snapshot sees, by the places that index entries have; `None`: it cannot be read.
    heap_rows: Option<RoaringTreemap>,
    segments: Vec<FoundSegment>,
}

/// The rows of the row store that the snapshot sees.
fn heap_rows(rel: pg_sys::Relation) -> RoaringTreemap {
    let mut places = RoaringTreemap::new();
    // SAFETY: an open relation; the statement's snapshot outlives the scan.
    let mut rows = unsafe { HeapRows::begin(rel, snapshot()) };
    while let Some(root) = rows.step() {
        places.insert(pages::place(block_of(&root), root.ip_posid));
        pgrx::check_for_interrupts!();
    }
    rows.end();
    places
}

fn open(rel: pg_sys::Relation) -> Toast {
    Toast::open(rel, pg_sys::AccessShareLock as i32)
        .unwrap_or_else(|| pg::report_corrupt(rel, "no column store"))
}

fn snapshot() -> pg_sys::Snapshot {
    // SAFETY: a statement that calls functions has an active snapshot.
    unsafe { pg_sys::GetActiveSnapshot() }
}

fn check_segments(rel: pg_sys::Relation, known: &mut Known, problems: &mut Problems) {
    let mut end = 0;
    known.segments = directory::all_sound(&open(rel), snapshot(), problems);
    let all = &known.segments;
    for found in all
        .iter()
        .filter(|found| found.writer != XactStatus::Aborted)
    {
        let entry = &found.entry;
        let number = Some(entry.first_row as i64);
        if entry.first_row < end {
            problems.push((number, "its row numbers overlap another segment's".into()));
        }
        end = end.max(entry.first_row + entry.capacity);
        if entry.state == SegmentState::Building {
            if found.writer == XactStatus::Committed {
                problems.push((number, "it was never finished".into()));
            }
            continue;
        }
        if found.visible {
            check_segment(rel, found, problems);
            match subtransaction::run(|| lost_rows(rel, found)) {
                Ok(0) => {}
                Ok(lost) => {
                    let text = format!("{lost} updated rows do not lead to their next versions");
                    problems.push((number, text));
                }
                Err(problem) => problems.push((number, problem)),
            }
        }
    }
}

/// How many rows were updated in bulk, and have no next version.
fn lost_rows(rel: pg_sys::Relation, found: &FoundSegment) -> usize {
    let toast = open(rel);
    let size = u64::from(SLICE_ROWS);
    let (first, end) = (
        found.entry.first_row,
        found.entry.first_row + found.entry.capacity,
    );
    let mut lost = 0;
    for slice in first / size..end.div_ceil(size) {
        let mut updated = HashSet::new();
        let rows = (slice * size).max(first)..((slice + 1) * size).min(end);
        delete_bitmaps::each(rel, &toast, rows.start, rows.end, |version, slice| {
            if slice.what == MarkKind::Updated && version.writer_status() == XactStatus::Committed {
                slice.each(|row| {
                    if rows.contains(&row) {
                        updated.insert((version.raw_xmin(), row));
                    }
                });
            }
            true
        });
        if !updated.is_empty() {
            successors::each(rel, &toast, slice, |version| {
                successors::rows(rel, version, |row| {
                    updated.remove(&(version.raw_xmin(), row));
                    false
                });
                true
            });
        }
        lost += updated.len();
        pgrx::check_for_interrupts!();
    }
    lost
}

fn check_segment(rel: pg_sys::Relation, found: &FoundSegment, problems: &mut Problems) {
    let number = Some(found.entry.first_row as i64);
    let load = || segment::load_checked(rel, &open(rel), &found.entry);
    let segment = match subtransaction::run(load).and_then(|loaded| loaded) {
        Ok(segment) => segment,
        Err(problem) => return problems.push((number, problem)),
    };
    for column in 0..segment.footer.columns.len() {
        let check = || check_column(rel, &open(rel), &segment, column);
        if let Err(problem) = subtransaction::run(check).and_then(|result| result) {
            problems.push((number, problem));
        }
    }
}

fn check_column(
    rel: pg_sys::Relation,
    toast: &Toast,
    segment: &segment::Segment,
    column: usize,
) -> Result<(), String> {
    let meta = &segment.footer.columns[column];
    let name = pg::column_name(pg::relation_id(rel), meta.spec.id);
    let mut rows = 0;
    for (number, block) in meta.blocks.iter().enumerate() {
        let vector = segment.vector(rel, toast, column, number);
        if vector.len() != block.rows as usize {
            return Err(format!(
                "column \"{name}\", block {number}: {} rows instead of {}",
                vector.len(),
                block.rows
            ));
        }
        if let Some(bloom) = &block.bloom {
            let mut bytes = Vec::new();
            chunks::read(rel, toast, &segment.entry, bloom.clone(), &mut bytes);
            bloom::checked(&bytes)
                .map_err(|e| format!("column \"{name}\", block {number}: {e}"))?;
        }
        rows += block.rows;
        pgrx::check_for_interrupts!();
    }
    if rows != segment.footer.rows {
        return Err(format!(
            "column \"{name}\" has {rows} rows instead of {}",
            segment.footer.rows
        ));
    }
    Ok(())
}

/// The valid indexes of a table that can be read from end to end.
fn indexes(rel: pg_sys::Relation) -> Vec<pg_sys::Oid> {
    // SAFETY: an open relation; indexes are closed again, their locks stay.
    unsafe {
        let list = pgrx::PgList::<pg_sys::Oid>::from_pg(pg_sys::RelationGetIndexList(rel));
        list.iter_oid()
            .filter(|oid| {
                let index = pg_sys::index_open(*oid, pg_sys::AccessShareLock as i32);
                let readable = [
                    pg_sys::BTREE_AM_OID,
                    pg_sys::GIST_AM_OID,
                    pg_sys::SPGIST_AM_OID,
                ];
                let sound = (*(*index).rd_index).indisvalid;
                let wanted = sound && readable.contains(&(*(*index).rd_rel).relam);
                pg_sys::index_close(index, pg_sys::NoLock as i32);
                wanted
            })
            .collect()
    }
}

fn check_index(rel: pg_sys::Relation, oid: pg_sys::Oid, known: &Known, problems: &mut Problems) {
    // SAFETY: a locked index of the open relation, closed at the end or with the subtransaction.
    let (index, name, whole, of_now) = unsafe {
        let index = pg_sys::index_open(oid, pg_sys::NoLock as i32);
        // A partial index lacks rows, and GiST and SP-GiST lack those that are NULL.
        let predicate = pg_sys::RelationGetIndexPredicate(index);
        let btree = (*(*index).rd_rel).relam == pg_sys::BTREE_AM_OID;
        // It may lack versions that were old when it was made.
        let of_now = !(*(*index).rd_index).indcheckxmin;
        let whole = predicate.is_null() && btree;
        (index, pg::relation_name(index), whole, of_now)
    };
    let of_key = keys::model::of(rel).is_some_and(|model| model.is_key_index(oid));
    let _heap_only = of_key.then(keys::index_shell::HeapOnly::begin);
    let entries = Entries::of(rel, index);
    let lacking = match &known.heap_rows {
        Some(rows) if whole && of_now => (rows - &entries.heap).len(),
        _ => 0,
    };
    if lacking > 0 {
        let text = format!("index \"{name}\" lacks the entries of {lacking} rows of the row store");
        problems.push((None, text));
    }
    let astray = astray(rel, index, &entries.heap - &known.used);
    if astray > 0 {
        let text =
            format!("index \"{name}\" has {astray} entries that lead to no row of the row store");
        problems.push((None, text));
    }
    if of_key {
        let strays = entries.segments.len();
        if strays > 0 {
            let text = format!("index \"{name}\" has {strays} entries of segment rows");
            problems.push((None, text));
        }
    } else {
        check_segment_entries(rel, &name, whole, &entries.segments, known, problems);
    }
    // SAFETY: opened above.
    unsafe { pg_sys::index_close(index, pg_sys::NoLock as i32) };
}

/// Looks for rows of segments that an index lacks, and for entries of rows that never were.
fn check_segment_entries(
    rel: pg_sys::Relation,
    name: &str,
    whole: bool,
    entries: &RoaringTreemap,
    known: &Known,
    problems: &mut Problems,
) {
    let toast = open(rel);
    // Entries of loads that were rolled back may be left: their row numbers lead nowhere, and are not reused.
    let end = directory::rows_end(rel, &toast);
    let strays = entries.len() - entries.rank(end.saturating_sub(1)) * u64::from(end > 0);
    if strays > 0 {
        let text = format!("index \"{name}\" has {strays} entries of rows that never were");
        problems.push((None, text));
    }
    for found in known.segments.iter().filter(|found| found.visible && whole) {
        let entry = &found.entry;
        if entry.state == SegmentState::Building {
            continue;
        }
        let dead = anchors::dead_positions(rel, &toast, entry.first_row, entry.rows, snapshot());
        let lacking = (0..entry.rows)
            .filter(|at| !entries.contains(entry.first_row + u64::from(*at)))
            .filter(|at| dead.binary_search(at).is_err())
            .count();
        if lacking > 0 {
            let text = format!("index \"{name}\" lacks the entries of {lacking} rows");
            problems.push((Some(entry.first_row as i64), text));
        }
    }
}

/// How many of an index's entries lead to no row. Of those that did not when the pages were read, some are newer than
/// that, and others may have been removed since: they count if they lead nowhere now, and are there after that.
fn astray(rel: pg_sys::Relation, index: pg_sys::Relation, mut suspects: RoaringTreemap) -> u64 {
    if suspects.is_empty() {
        return 0;
    }
    let mut nowhere = RoaringTreemap::new();
    for place in &suspects {
        let (block, offset) = pages::parts(place);
        if subtransaction::run(|| pages::is_used(rel, block, offset)) == Ok(false) {
            nowhere.insert(place);
        }
    }
    suspects &= nowhere;
    match suspects.is_empty() {
        true => 0,
        false => (suspects & Entries::of(rel, index).heap).len(),
    }
}

/// How many segment rows an index has entries of.
pub fn entries(index: &PgRelation) -> i64 {
    let lock = pg_sys::AccessShareLock as i32;
    // SAFETY: an open index, whose table is opened and closed here.
    unsafe {
        let form = (*index.as_ptr()).rd_index;
        let table = pg_sys::table_open((*form).indrelid, lock);
        let _heap_only = keys::index_shell::HeapOnly::begin();
        let count = Entries::of(table, index.as_ptr()).segments.len();
        pg_sys::table_close(table, lock);
        count as i64
    }
}

/// The rows that an index has entries of.
#[derive(Default)]
struct Entries {
    /// Rows of the row store, by their places.
    heap: RoaringTreemap,
    /// Numbers of segment rows.
    segments: RoaringTreemap,
}

impl Entries {
    /// Reads an index from end to end.
    fn of(rel: pg_sys::Relation, index: pg_sys::Relation) -> Self {
        let mut entries = Self::default();
        // SAFETY: a scan without keys over open relations, ended below or with the subtransaction.
        unsafe {
            let any = &raw mut pg_sys::SnapshotAnyData;
            let scan = compat::index_beginscan(rel, index, any, 0);
            let none = std::ptr::null_mut();
            pg_sys::index_rescan(scan, none, 0, std::ptr::null_mut(), 0);
            loop {
                let forward = pg_sys::ScanDirection::ForwardScanDirection;
                let tid = pg_sys::index_getnext_tid(scan, forward);
                if tid.is_null() {
                    break;
                }
                entries.add(&*tid);
                pgrx::check_for_interrupts!();
            }
            pg_sys::index_endscan(scan);
        }
        entries
    }

    fn add(&mut self, tid: &pg_sys::ItemPointerData) {
        match RowNumber::from_tid(tid) {
            Some(row) => self.segments.insert(row.0),
            None => self.heap.insert(pages::place(block_of(tid), tid.ip_posid)),
        };
    }
}
