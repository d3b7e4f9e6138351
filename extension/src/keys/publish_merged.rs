// SPDX-License-Identifier: Apache-2.0
//! Publishing a batch whose rule looks at the stored rows.
//!
//! Under the registration lock, held exclusively:
//! 1. the stored rows of the batch's keys are found (segments are searched before, see [`Candidates`]) and read,
//! 2. the rule folds each with the batch's row of its key,
//! 3. the stored rows that give way are marked dead,
//! 4. what is to be stored is encoded and written as a segment.
//!
//! Of a large batch, rows are read, folded and encoded ahead, without the registration lock ([`prepare`]). With it,
//! they are searched again; where the same rows are found, they need only be marked.
//!
//! Where deletes are remembered ([`deleted_key_check`]), the deleted-key records of keys without a stored row are read
//! after 2, and added and removed after 3.
//!
//! Where a row cannot be marked, because somebody holds it, the registration lock is given up and the holder waited
//! for. Rows marked until then stay marked: the batch keeps what became of them ([`Batch::replaced`]), so that the next
//! attempt, which does not find them any more, goes on from there.
mod prepare;

use super::deleted_key_check::{self, KeyDeletes, Lookup};
use super::heap::{self, LiveRow, OpenXact};
use super::merge::{self, Folded, Groups, Part, Row, Rule};
use super::model::Model;
use super::probe::{self, Candidates};
use super::publish_segment::{self, Batch, Busy};
use super::stored::{self, Columns, Reader};
use super::upsert_row;
use crate::compact::pause;
use crate::pg::raw;
use crate::pg::toast::Toast;
use crate::read::attrs::{self, Attr};
use crate::read::datum::Arena;
use crate::store::registration_lock::RegistrationLock;
use crate::store::tid::RowNumber;
use crate::write::kind::Kind;
use doris_storage::vector::Vector;
use pg_sys::TM_Result::{TM_BeingModified, TM_Ok};
use pgrx::pg_sys;
use prepare::Prepared;

/// Rows by column.
type Rows = Vec<(Kind, Vector)>;

/// The stored rows of a batch's keys, each with the position of its key.
struct StoredRows {
    heap: Vec<(u32, LiveRow)>,
    segments: Vec<probe::Hits>,
}

/// The batch's rows that match a stored one.
struct Matched {
    /// Their keys, in the order of the stored rows.
    keys: Vec<u32>,
    folded: Folded,
}

impl Matched {
    /// Which of `count` keys have a stored row.
    fn known(&self, count: usize) -> Vec<bool> {
        let mut known = vec![false; count];
        self.keys.iter().for_each(|key| known[*key as usize] = true);
        known
    }

    /// Where each of `count` keys is among those that have a stored row.
    fn places(&self, count: usize) -> Vec<Option<usize>> {
        let mut places = vec![None; count];
        for (at, key) in self.keys.iter().enumerate() {
            places[*key as usize] = Some(at);
        }
        places
    }

    /// The keys whose stored row stays.
    fn stays(&self) -> Vec<u32> {
        let keys = self.keys.iter().zip(&self.folded.unchanged);
        keys.filter(|(_, stays)| **stays)
            .map(|(key, _)| *key)
            .collect()
    }
}

/// A load into a table.
#[derive(Clone, Copy)]
pub struct Load<'a> {
    /// The table.
    pub rel: pg_sys::Relation,
    /// Its store.
    pub toast: &'a Toast,
    /// Its key.
    pub model: &'a Model,
    /// What becomes of two rows of one key.
    pub rule: &'a Rule,
    /// The command that loads.
    pub cid: pg_sys::CommandId,
}

/// Fewest rows of a batch that are prepared ahead.
const PREPARE_ROWS_MIN: usize = 1024;
/// How often that may turn out to be in vain.
const PREPARE_TRIES_MAX: u32 = 2;

/// What is to be stored of a batch.
enum Ready<S> {
    /// Rows, in the order of their keys.
    Rows(Rows),
    /// What was made of them ahead, if there are any.
    Encoded(Option<S>),
}

/// Publishes a batch; `encode` makes what is stored of rows that are in the order of their keys, and `store` writes
/// that and completes its entry.
pub fn publish<S>(
    load: Load,
    mut batch: Batch,
    encode: impl Fn(Rows) -> S,
    store: impl FnOnce(&RegistrationLock, S),
) {
    let attrs = attrs::of(load.rel);
    let mut candidates = Candidates::default();
    let mut tries = match batch.len() {
        // Looking ahead takes a snapshot of its own, which a statement with parallel workers must not.
        PREPARE_ROWS_MIN.. if !raw::in_parallel_mode() => PREPARE_TRIES_MAX,
        _ => 0,
    };
    let wait = |busy| publish_segment::wait(load.rel, load.toast, load.cid, busy);
    loop {
        pgrx::check_for_interrupts!();
        let mut ahead = None;
        if tries > 0 {
            match Prepared::prepare(load, &attrs, &mut batch, &mut candidates, &encode) {
                Ok(made) => ahead = made,
                Err(busy) => {
                    wait(busy);
                    continue;
                }
            }
            tries -= 1;
            pause::at("prepared");
        }
        let table = (load.rel, load.toast, load.model);
        let registration = candidates.lock(table, batch.keys(), u64::MAX);
        let ready = match attempt(
            &registration,
            load,
            &attrs,
            &mut batch,
            &mut candidates,
            ahead,
        ) {
            Ok(ready) => ready,
            Err(busy) => {
                drop(registration);
                wait(busy);
                continue;
            }
        };
        let encoded = match ready {
            Ready::Rows(rows) => any(&rows).then(|| encode(rows)),
            Ready::Encoded(encoded) => encoded,
        };
        if let Some(encoded) = encoded {
            store(&registration, encoded);
        }
        drop(registration);
        return;
    }
}

/// Whether there are rows.
fn any(rows: &Rows) -> bool {
    rows.first().is_some_and(|column| !column.1.is_empty())
}

fn attempt<S>(
    registration: &RegistrationLock,
    load: Load,
    attrs: &[Attr],
    batch: &mut Batch,
    candidates: &mut Candidates,
    ahead: Option<Prepared<S>>,
) -> Result<Ready<S>, Busy> {
    let stored = find(registration, load, batch, candidates)?;
    if let Some(ahead) = ahead {
        if ahead.holds(load, batch, &stored)? {
            return ahead.mark_replaced(registration, load, attrs, batch);
        }
    }
    let Some(mut matched) = fold_stored(load, attrs, batch, &stored) else {
        return Err(Busy::Again);
    };
    let deletes = deletes_of_keys(load, batch, &matched)?;
    delete_superseded(load, attrs, batch, &mut matched, &deletes);
    admit(load, attrs, batch, &matched);
    let (marked, busy) = mark(registration, load, &stored, &matched);
    let columns = std::mem::take(&mut matched.folded.columns);
    let first = batch.join(load.rel, attrs, columns);
    match busy {
        Some(busy) => {
            batch.put(&matched, first, |at| marked[at]);
            Err(busy)
        }
        None => {
            batch.put(&matched, first, |_| true);
            check_new(load, attrs, batch, &matched);
            record_deletes(load, attrs, batch, &deletes);
            Ok(Ready::Rows(batch.remaining(&matched.stays())))
        }
    }
}

/// Rows of keys without a stored row, or whose stored row a delete takes before them, are deletes where they are below
/// another delete of their key.
fn delete_superseded(
    load: Load,
    attrs: &[Attr],
    batch: &mut Batch,
    matched: &mut Matched,
    deletes: &[KeyDeletes],
) {
    if deletes.is_empty() {
        return;
    }
    let places = matched.places(batch.len());
    for key_deletes in deletes {
        let place = places[key_deletes.key as usize];
        let decides = place.is_none_or(|at| matched.folded.parts[at] == Part::AfterDelete);
        if !decides
            || !batch.with_row(attrs, key_deletes.key, |row| {
                key_deletes.supersede(&load, row)
            })
        {
            continue;
        }
        match place {
            Some(at) => matched.folded.parts[at] = Part::Deleted,
            None => batch.set_part(key_deletes.key, Part::Deleted),
        }
    }
}

/// The keys that have deleted-key records or get one, where deletes are remembered.
fn deletes_of_keys(load: Load, batch: &Batch, matched: &Matched) -> Result<Vec<KeyDeletes>, Busy> {
    if !load.rule.remembers_deletes() {
        return Ok(Vec::new());
    }
    let want = |part: Part| match part {
        Part::Deleted => Lookup::Always,
        _ => Lookup::IfAny,
    };
    let keys = 0..batch.len() as u32;
    let mut wants: Vec<Lookup> = keys.map(|key| want(batch.part(key))).collect();
    for (at, key) in matched.keys.iter().enumerate() {
        wants[*key as usize] = match matched.folded.parts[at] {
            Part::Deleted => Lookup::Always,
            Part::AfterDelete => Lookup::IfAny,
            _ => Lookup::Nothing,
        };
    }
    deleted_key_check::of_keys(&load, batch, |key| wants[key as usize])
}

/// Adds records of keys that are deleted, and removes those of keys that come.
fn record_deletes(load: Load, attrs: &[Attr], batch: &Batch, deletes: &[KeyDeletes]) {
    for key_deletes in deletes {
        if batch.part(key_deletes.key) == Part::Deleted {
            batch.with_row(attrs, key_deletes.key, |row| key_deletes.insert(&load, row));
        } else {
            key_deletes.remove(&load);
        }
        pgrx::check_for_interrupts!();
    }
}

/// The stored rows of the batch's keys.
fn find(
    registration: &RegistrationLock,
    load: Load,
    batch: &Batch,
    candidates: &mut Candidates,
) -> Result<StoredRows, Busy> {
    let Load {
        rel, toast, model, ..
    } = load;
    let open = |xid| Busy::Open(OpenXact { xid, token: 0 });
    let table = (rel, toast, model);
    let segments =
        probe::hits(registration, table, batch.keys(), u64::MAX, candidates).map_err(open)?;
    let heap = publish_segment::heap_rows(rel, model, batch)?;
    for (_, live) in &heap {
        upsert_row::check_replaceable(rel, model, live.seen);
    }
    for (found, rows) in &segments {
        let rows = rows.iter().map(|(_, row)| *row);
        upsert_row::check_replaceable(rel, model, upsert_row::is_seen(rel, toast, found, rows));
    }
    Ok(StoredRows { heap, segments })
}

/// Folds stored rows with those of the batch; `None` when a stored row has gone meanwhile.
fn fold_stored(load: Load, attrs: &[Attr], batch: &Batch, stored: &StoredRows) -> Option<Matched> {
    let mut rows = Columns::new(attrs, &load.rule.needs()).leaving_room_for(&batch.columns);
    let mut keys: Vec<u32> = Vec::new();
    let mut reader = Reader::new(load.rel);
    for (key, live) in &stored.heap {
        if !rows.push_heap(&mut reader, live) {
            return None;
        }
        keys.push(*key);
    }
    for (found, hits) in &stored.segments {
        let numbers: Vec<RowNumber> = hits.iter().map(|(_, row)| *row).collect();
        rows.push_segment(load.rel, load.toast, found, &numbers);
        keys.extend(hits.iter().map(|(key, _)| *key));
    }
    let count = keys.len() as u32;
    let columns = rows.followed_by(load.rel, batch.rows_of(&keys));
    let order: Vec<u32> = (0..count).flat_map(|i| [i, count + i]).collect();
    let starts: Vec<u32> = (0..=count).map(|i| 2 * i).collect();
    let new = keys.iter().map(|key| batch.part(*key));
    let parts: Vec<Part> = keys.iter().map(|_| Part::Stored).chain(new).collect();
    let groups = Groups {
        order: &order,
        starts: &starts,
        parts: &parts,
    };
    let folded = load.rule.fold(load.rel, attrs, &columns, groups);
    Some(Matched { keys, folded })
}

/// Raises the error for rows of new keys that the rule does not admit.
fn admit(load: Load, attrs: &[Attr], batch: &Batch, matched: &Matched) {
    if !load.rule.is_partial() {
        return;
    }
    let known = matched.known(batch.len());
    for key in 0..batch.len() as u32 {
        let whole = !matches!(batch.part(key), Part::Loaded | Part::AfterDelete);
        if !known[key as usize] && !whole {
            let row = batch.place(key);
            load.rule.admit_row(load.rel, attrs, &batch.columns, row);
        }
    }
}

/// Computes generated columns of the rows of new keys, and checks constraints, where nobody has yet.
fn check_new(load: Load, attrs: &[Attr], batch: &mut Batch, matched: &Matched) {
    if !load.rule.checks_new_rows() {
        return;
    }
    let known = matched.known(batch.len());
    let new = |key: &u32| {
        !known[*key as usize] && matches!(batch.part(*key), Part::Loaded | Part::AfterDelete)
    };
    let keys: Vec<u32> = (0..batch.len() as u32).filter(new).collect();
    let rows = load
        .rule
        .check_new_rows(load.rel, attrs, batch.rows_of(&keys));
    let first = batch.join(load.rel, attrs, rows);
    for (at, key) in keys.iter().enumerate() {
        batch.move_to(*key, first + at as u32);
    }
}

/// Marks the stored rows that give way; tells which, and what was in the way of the others.
fn mark(
    registration: &RegistrationLock,
    load: Load,
    stored: &StoredRows,
    matched: &Matched,
) -> (Vec<bool>, Option<Busy>) {
    let mut marked = vec![false; matched.keys.len()];
    let unchanged = &matched.folded.unchanged;
    let mut fates = matched.folded.parts.iter().zip(unchanged);
    if fates.any(|(part, unchanged)| *part == Part::Deleted && !unchanged) {
        upsert_row::check_deletable(load.rel, load.model);
    }
    for (at, (_, live)) in stored.heap.iter().enumerate() {
        if unchanged[at] {
            continue;
        }
        #[allow(non_upper_case_globals)] // PostgreSQL's names
        match heap::delete(load.rel, *live, load.cid) {
            TM_Ok => marked[at] = true,
            TM_BeingModified => return (marked, Some(Busy::HeapRow(*live))),
            _ => return (marked, Some(Busy::Again)),
        }
    }
    let in_segments = stored.segments.iter().flat_map(|(_, hits)| hits);
    let places = stored.heap.len()..;
    let giving: Vec<(usize, u64)> = places
        .zip(in_segments)
        .filter(|(at, _)| !unchanged[*at])
        .map(|(at, (_, row))| (at, row.0))
        .collect();
    let rows: Vec<u64> = giving.iter().map(|(_, row)| *row).collect();
    let refused =
        publish_segment::mark_deletable(registration, load.rel, load.toast, &rows, load.cid);
    for (at, row) in giving {
        marked[at] = refused.iter().all(|r| r.row.0 != row);
    }
    (marked, refused.first().map(publish_segment::busy))
}

impl Batch {
    /// Hands a key's row over as Datums.
    fn with_row<T>(&self, attrs: &[Attr], key: u32, f: impl FnOnce(Row) -> T) -> T {
        let mut arena = Arena::default();
        let row = self.place(key) as usize;
        let merged = merge::row_of(attrs, &self.columns, row, &mut arena);
        f(merged.row())
    }

    /// Adds rows that are of no key yet; returns the position of the first.
    fn join(&mut self, rel: pg_sys::Relation, attrs: &[Attr], columns: Rows) -> u32 {
        let rows = |columns: &Rows| columns.first().map_or(0, |column| column.1.len() as u32);
        let first = rows(&self.columns);
        if rows(&columns) == 0 {
            return first;
        }
        let before = std::mem::take(&mut self.columns);
        let both = before.into_iter().zip(columns).zip(attrs);
        self.columns = both
            .map(|((old, new), attr)| stored::joined(rel, attr, old, new))
            .collect();
        first
    }

    /// Puts what became of rows in place of them: of those that met stored rows, which begin at `first`, where `taken`
    /// says so.
    fn put(&mut self, matched: &Matched, first: u32, taken: impl Fn(usize) -> bool) {
        for (at, key) in matched.keys.iter().enumerate() {
            if !taken(at) {
                continue;
            }
            let part = match matched.folded.parts[at] {
                Part::Deleted => Part::Deleted,
                _ => Part::Whole,
            };
            self.set_part(*key, part);
            self.move_to(*key, first + at as u32);
        }
    }

    /// The rows that are to be stored: not deletes, and none of the keys whose stored row stays.
    fn remaining(&self, stays: &[u32]) -> Rows {
        let mut keep = vec![true; self.len()];
        stays.iter().for_each(|key| keep[*key as usize] = false);
        let wanted = |key: &u32| keep[*key as usize] && self.part(*key) != Part::Deleted;
        let rows: Vec<u32> = (0..self.len() as u32).filter(wanted).collect();
        self.rows_of(&rows)
    }
}
