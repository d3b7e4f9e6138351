// SPDX-License-Identifier: Apache-2.0
//! Marking rows deleted or updated before ModifyTable asks for it.
//!
//! An updated row's next version is written when ModifyTable asks for that. Where it is, is noted here until the rows
//! that were read ahead are used up, and filed then.
use super::eligibility;
use super::plan::Work;
use crate::am::{is_doris, modify};
use crate::keys::record_deletes;
use crate::options::published::{self, Change};
use crate::options::settings;
use crate::pg;
use crate::store::delete_bitmaps::{self, slice_of, Conflict, MarkKind};
use crate::store::registration_lock::{Mode, RegistrationLock};
use crate::store::successors::{self, Pending};
use crate::store::tid::{block_of, RowNumber};
use pgrx::pg_sys;
use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};

/// A row of a table that is marked already.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Row {
    relid: pg_sys::Oid,
    cid: pg_sys::CommandId,
    number: u64,
    what: MarkKind,
}

/// What became of the row that was handed out last.
#[derive(Clone, Copy)]
enum Stage {
    /// ModifyTable has not asked for it yet.
    Handed(Row),
    /// It is deleted, or its next version is there.
    Done(Row, pg_sys::ItemPointerData),
}

thread_local! {
    /// The row that was handed to ModifyTable last, and the subtransaction of its statement.
    static LAST: Cell<Option<(Stage, pg_sys::SubTransactionId)>> = const { Cell::new(None) };
}

/// Rows of a slice from which they are marked in bulk: fewer are easier found as single marks.
const SLICE_MIN: usize = 256;

/// Whether a row that is to be deleted or updated was handed out, and is marked already.
pub fn confirm(
    rel: pg_sys::Relation,
    tid: &pg_sys::ItemPointerData,
    cid: pg_sys::CommandId,
    what: MarkKind,
) -> bool {
    let Some((Stage::Handed(row), subid)) = LAST.get() else {
        return false;
    };
    let asked = RowNumber::from_tid(tid).map(|row| row.0);
    if row.relid != pg::relation_id(rel) || row.cid != cid || Some(row.number) != asked {
        return false;
    }
    if row.what != what {
        report_unused();
    }
    LAST.set(Some((Stage::Done(row, *tid), subid)));
    true
}

/// Notes where the next version is of the row that was confirmed last.
pub fn updated(next: pg_sys::ItemPointerData) {
    if let Some((Stage::Done(row, _), subid)) = LAST.get() {
        LAST.set(Some((Stage::Done(row, next), subid)));
    }
}

/// Forgets the row that was handed out in a subtransaction that has failed, or in any.
pub fn forget(subid: Option<pg_sys::SubTransactionId>) {
    if subid.is_none() || subid == LAST.get().map(|last| last.1) {
        LAST.set(None);
    }
}

/// The node must be read by who deletes or updates all its rows.
fn report_unused() -> ! {
    pgrx::error!("a row that was marked ahead was not deleted or updated");
}

/// A row of the input that is to be deleted or updated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Which table it is of.
    pub table: usize,
    /// Its number; `None` for what is no segment row of a columnar table.
    pub row: Option<u64>,
}

/// Rows that were read ahead, in their order, and what of them is marked already.
pub struct Batch {
    cid: pg_sys::CommandId,
    what: MarkKind,
    targets: Vec<Target>,
    at: usize,
    /// Rows before this place are marked, or are left to ModifyTable.
    tried: usize,
    marked: HashSet<(usize, u64)>,
    /// The row that was handed out last, if it is marked.
    handed: Option<(usize, u64)>,
    /// Rows whose next versions are written, by table.
    pending: BTreeMap<usize, Pending>,
    /// Rows marked in bulk since the statement began.
    pub total: u64,
}

impl Batch {
    /// None yet.
    pub fn new(cid: pg_sys::CommandId, what: MarkKind) -> Self {
        Self {
            cid,
            what,
            targets: Vec::new(),
            at: 0,
            tried: 0,
            marked: HashSet::new(),
            handed: None,
            pending: BTreeMap::new(),
            total: 0,
        }
    }

    /// Whether its rows are updated.
    pub fn updates(&self) -> bool {
        self.what == MarkKind::Updated
    }

    /// Begins another batch.
    pub fn clear(&mut self) {
        self.targets.clear();
        self.marked.clear();
        (self.at, self.tried) = (0, 0);
    }

    /// Adds a row.
    pub fn push(&mut self, target: Target) {
        self.targets.push(target);
    }

    /// Rows in it.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether all were handed out.
    pub fn is_over(&self) -> bool {
        self.at == self.targets.len()
    }

    /// Notes what became of the row that was handed out last: ModifyTable is done with it.
    pub fn finish_marking(&mut self) {
        let Some((table, number)) = self.handed.take() else {
            return;
        };
        let Some((Stage::Done(row, next), _)) = LAST.take() else {
            report_unused();
        };
        if row.number != number || row.cid != self.cid {
            report_unused();
        }
        if self.updates() {
            let next = (number, block_of(&next), next.ip_posid);
            self.pending.entry(table).or_default().push(next);
        }
    }

    /// Files where the next versions of updated rows are.
    pub fn file(&mut self, tables: &Tables) {
        for (table, rows) in std::mem::take(&mut self.pending) {
            let rel = tables.0[table].1;
            successors::file(rel, &modify::toast_for_write(rel), rows, self.cid);
        }
    }

    /// Whether rows are marked that were not handed out, or whose next versions are not filed.
    pub fn is_unfinished(&self) -> bool {
        self.handed.is_some() || !self.marked.is_empty() || !self.pending.is_empty()
    }

    /// Hands out the next row: marks it in bulk with those behind it, if that is possible.
    pub fn next(&mut self, tables: &Tables) {
        if self.at >= self.tried {
            self.mark(tables);
        }
        let target = self.targets[self.at];
        self.at += 1;
        let Some(number) = target.row else { return };
        if self.marked.remove(&(target.table, number)) {
            self.handed = Some((target.table, number));
            let row = Row {
                relid: tables.0[target.table].0,
                cid: self.cid,
                number,
                what: self.what,
            };
            // SAFETY: plain call.
            let subid = unsafe { pg_sys::GetCurrentSubTransactionId() };
            LAST.set(Some((Stage::Handed(row), subid)));
        }
    }

    /// Tries the rows from the next one on: the segment rows of one table that follow each other.
    fn mark(&mut self, tables: &Tables) {
        let least = settings::bulk_delete_rows() as usize;
        let rest = &self.targets[self.at..];
        let table = rest[0].table;
        let run = rest
            .iter()
            .take_while(|target| target.table == table && target.row.is_some())
            .count();
        if run < least.max(1) {
            // What follows the run is tried by itself.
            self.tried = self.at + run.max(1);
            return;
        }
        let mut rows: Vec<(u64, usize)> = rest[..run]
            .iter()
            .zip(0..)
            .filter_map(|(target, at)| target.row.map(|row| (row, at)))
            .collect();
        rows.sort_unstable();
        // A join may give a row several times: the first counts.
        rows.dedup_by_key(|row| row.0);
        let how = (self.what, self.cid);
        let (marked, reached) = mark_deleted(tables.0[table].1, &rows, run, least, how);
        self.total += marked.len() as u64;
        self.marked
            .extend(marked.into_iter().map(|row| (table, row)));
        // Where much is in the way, single rows do as well.
        self.tried = self.at + (reached + least).min(run);
    }
}

/// Marks those of some rows, ascending with their places, that come before the first which is in somebody's way;
/// returns them and the place of that one.
fn mark_deleted(
    rel: pg_sys::Relation,
    rows: &[(u64, usize)],
    run: usize,
    least: usize,
    (what, cid): (MarkKind, pg_sys::CommandId),
) -> (Vec<u64>, usize) {
    let toast = modify::toast_for_write(rel);
    let dense: usize = rows
        .chunk_by(|a, b| slice_of(a.0) == slice_of(b.0))
        .map(<[_]>::len)
        .filter(|rows| *rows >= SLICE_MIN.min(least))
        .sum();
    // All or none: a row that is left out would be waited for while those behind it are marked.
    if dense * 2 < rows.len().max(1) {
        return (Vec::new(), run);
    }
    if !rows.is_empty() {
        let deleted = what == MarkKind::Deleted;
        published::check(
            rel,
            if deleted {
                Change::Delete
            } else {
                Change::Update
            },
        );
    }
    let numbers: Vec<u64> = rows.iter().map(|row| row.0).collect();
    let registration = RegistrationLock::acquire(&toast, Mode::Exclusive);
    let refused = delete_bitmaps::refused(rel, &toast, &numbers);
    // What this statement has deleted or updated already is nobody's but ModifyTable's to say.
    let others = refused
        .iter()
        .filter(|refused| !matches!(refused.why, Conflict::Own(_)));
    let place = |row: u64| {
        rows.binary_search_by_key(&row, |row| row.0)
            .map(|at| rows[at].1)
    };
    let reached = others
        .filter_map(|refused| place(refused.row.0).ok())
        .min()
        .unwrap_or(run);
    let free: Vec<u64> = rows
        .iter()
        .filter(|row| row.1 < reached)
        .filter(|row| refused.binary_search_by_key(&row.0, |r| r.row.0).is_err())
        .map(|row| row.0)
        .collect();
    delete_bitmaps::register_all(&registration, rel, &toast, &free, what, cid);
    drop(registration);
    modify::meet_readers_of_all(rel, &free);
    if what == MarkKind::Deleted {
        record_deletes::segment_rows(rel, &free, cid);
    }
    crate::compact::pause::at("deleted_ahead");
    (free, reached)
}

/// Deletes rows of a table at once where many segment rows are close together; returns the others, and those that
/// somebody holds or has deleted.
pub fn at_once(
    rel: pg_sys::Relation,
    tids: Vec<pg_sys::ItemPointerData>,
    cid: pg_sys::CommandId,
) -> Vec<pg_sys::ItemPointerData> {
    if !is_doris(rel) {
        return tids;
    }
    let numbered = tids.iter().zip(0..).filter_map(|(tid, at)| {
        let row = RowNumber::from_tid(tid)?;
        Some((row.0, at))
    });
    let mut rows: Vec<(u64, usize)> = numbered.collect();
    rows.sort_unstable();
    rows.dedup_by_key(|row| row.0);
    let (deleted, _) = mark_deleted(rel, &rows, tids.len(), SLICE_MIN, (MarkKind::Deleted, cid));
    // SAFETY: an open relation.
    (0..deleted.len()).for_each(|_| unsafe { pg_sys::pgstat_count_heap_delete(rel) });
    let is_deleted = |tid: &pg_sys::ItemPointerData| {
        let row = RowNumber::from_tid(tid).map(|row| row.0);
        row.is_some_and(|row| deleted.binary_search(&row).is_ok())
    };
    tids.into_iter().filter(|tid| !is_deleted(tid)).collect()
}

/// The columnar tables of a statement, open.
pub struct Tables(Vec<(pg_sys::Oid, pg_sys::Relation, bool)>);

impl Tables {
    /// The targets of a statement, which the executor has opened, each with the columns that are updated; `None` when
    /// something could look at the tables before a row is deleted or updated.
    ///
    /// # Safety
    /// Open relations that stay open.
    pub unsafe fn of(
        rels: impl Iterator<Item = (pg_sys::Relation, Vec<i16>)>,
        work: Work,
    ) -> Option<Self> {
        let mut all = Vec::new();
        for (rel, columns) in rels {
            // SAFETY: passed on to the caller.
            unsafe {
                let looks = match work.what {
                    MarkKind::Deleted => eligibility::before_delete(rel),
                    MarkKind::Updated => eligibility::before_update(rel, &columns),
                };
                if looks || (work.inserts && eligibility::before_insert(rel, work.what)) {
                    return None;
                }
                all.push((pg::relation_id(rel), rel, is_doris(rel)));
            }
        }
        Some(Self(all))
    }

    /// The target that a row of the input names.
    pub fn target(&self, relid: Option<pg_sys::Oid>, tid: &pg_sys::ItemPointerData) -> Target {
        let table = match relid {
            Some(relid) => self.0.iter().position(|table| table.0 == relid),
            None => Some(0),
        };
        let table =
            table.unwrap_or_else(|| pgrx::error!("a statement met a row of an unknown table"));
        let row = match self.0[table].2 {
            true => RowNumber::from_tid(tid).map(|row| row.0),
            false => None,
        };
        Target { table, row }
    }
}
