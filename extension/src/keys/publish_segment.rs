// SPDX-License-Identifier: Apache-2.0
//! Publishing a segment of a keyed table: of the rows of one key in the batch one stays, and the rows that they
//! replace are marked dead.
//!
//! The column data is in the chunks before, and its directory entry says that the segment is still being built, so that
//! nobody looks for keys in it. Segments are searched first: they never change, so what is found in them holds
//! ([`Candidates`]). Then, under the registration lock, held exclusively, segments that came since and the heap are
//! searched, and all that was found is judged at the latest state. If an open transaction is at work on one of the
//! keys, the registration lock is given up, that transaction waited for, and the search begins anew: until it succeeds,
//! nobody waits for this transaction because of this segment. Then the replaced rows are marked and the entry is
//! completed.
use super::heap::{self, Holder, LiveRow, OpenXact, Search};
use super::key_encoding::{self, Keys};
use super::merge::{Groups, Part, Rule};
use super::model::Model;
use super::probe::{self, Candidates};
use super::upsert_row;
use crate::am::modify;
use crate::pg::toast::Toast;
use crate::read::datum::{datum, Arena};
use crate::store::changes_after_move;
use crate::store::delete_bitmaps::{self, Conflict, Refused};
use crate::store::registration_lock::RegistrationLock;
use crate::store::tid::RowNumber;
use crate::write::builder;
use crate::write::kind::Kind;
use doris_storage::vector::Vector;
use pg_sys::TM_Result::{TM_BeingModified, TM_Ok};
use pgrx::pg_sys;
use std::cmp::Ordering;

/// Where the rows of a batch's keys are, and what they are.
pub struct BatchState {
    places: Vec<u32>,
    parts: Vec<Part>,
}

/// Rows of a load, of one key each.
pub struct Batch {
    /// The columns as they will be stored.
    pub columns: Vec<(Kind, Vector)>,
    /// They are in the order of the key.
    pub sorted: bool,
    /// Positions of rows that are stored though others of the same key came later.
    pub losers: Vec<u32>,
    /// The keys, sorted.
    keys: Keys,
    /// The position of each key's row.
    places: Vec<u32>,
    /// What each key's row is; empty where all are as they were loaded.
    parts: Vec<Part>,
}

impl Batch {
    /// Leaves one row a key: the last. Rows whose TIDs nobody knows are sorted by the key, and only those that
    /// stay are stored.
    ///
    /// A rule that looks at more than keys decides what stays; nobody may know the TIDs then.
    pub fn fold(
        model: &Model,
        columns: Vec<(Kind, Vector)>,
        unobserved: bool,
        rule: Option<(pg_sys::Relation, &Rule)>,
    ) -> Self {
        let key_columns: Vec<(&Vector, u16)> = model
            .columns
            .iter()
            .map(|c| {
                let (kind, vector) = &columns[usize::from(c.attr.number) - 1];
                (vector, kind.scale())
            })
            .collect();
        let keys = Keys::of(model, &key_columns);
        let order = keys.order();
        if let Some((rel, rule)) = rule {
            return Self::by_rule(rel, model, rule, columns, keys, &order);
        }
        let mut winners: Vec<u32> = Vec::with_capacity(order.len());
        let mut losers = Vec::new();
        for (at, row) in order.iter().enumerate() {
            let last = order.get(at + 1).is_none_or(|next| {
                keys.compare(*row as usize, &keys, *next as usize) != Ordering::Equal
            });
            if last {
                winners.push(*row);
            } else {
                losers.push(*row);
            }
        }
        let sorted_keys = keys.take(&winners);
        if !unobserved {
            losers.sort_unstable();
            return Self {
                columns,
                sorted: false,
                losers,
                keys: sorted_keys,
                places: winners,
                parts: Vec::new(),
            };
        }
        let in_place = losers.is_empty() && winners.iter().zip(0..).all(|(row, at)| *row == at);
        let columns: Vec<(Kind, Vector)> = if in_place {
            columns
        } else {
            columns
                .into_iter()
                .map(|(kind, vector)| (kind, vector.take(&winners)))
                .collect()
        };
        Self {
            sorted: is_sorted(model, &columns),
            columns,
            losers: Vec::new(),
            places: (0..winners.len() as u32).collect(),
            keys: sorted_keys,
            parts: Vec::new(),
        }
    }

    fn by_rule(
        rel: pg_sys::Relation,
        model: &Model,
        rule: &Rule,
        columns: Vec<(Kind, Vector)>,
        keys: Keys,
        order: &[u32],
    ) -> Self {
        let equal =
            |a: &u32, b: &u32| keys.compare(*a as usize, &keys, *b as usize) == Ordering::Equal;
        let mut starts = vec![0];
        let mut firsts = Vec::new();
        for group in order.chunk_by(equal) {
            firsts.push(group[0]);
            starts.push(starts[starts.len() - 1] + group.len() as u32);
        }
        let groups = Groups {
            order,
            starts: &starts,
            parts: &[],
        };
        let attrs = crate::read::attrs::of(rel);
        let folded = rule.fold(rel, &attrs, &columns, groups);
        Self {
            sorted: is_sorted(model, &folded.columns),
            columns: folded.columns,
            losers: Vec::new(),
            places: (0..firsts.len() as u32).collect(),
            keys: keys.take(&firsts),
            parts: folded.parts,
        }
    }

    /// The keys, sorted.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The position of a key's row.
    pub fn place(&self, key: u32) -> u32 {
        self.places[key as usize]
    }

    /// What a key's row is.
    pub fn part(&self, key: u32) -> Part {
        self.parts.get(key as usize).copied().unwrap_or_default()
    }

    /// Says where a key's row is.
    pub fn move_to(&mut self, key: u32, place: u32) {
        self.places[key as usize] = place;
    }

    /// Where its rows are, and what they are.
    pub fn state(&self) -> BatchState {
        BatchState {
            places: self.places.clone(),
            parts: self.parts.clone(),
        }
    }

    /// Goes over to another state; returns the one before.
    pub fn restore(&mut self, state: BatchState) -> BatchState {
        BatchState {
            places: std::mem::replace(&mut self.places, state.places),
            parts: std::mem::replace(&mut self.parts, state.parts),
        }
    }

    /// Says what a key's row is.
    pub fn set_part(&mut self, key: u32, part: Part) {
        if self.parts.is_empty() {
            self.parts = vec![Part::Loaded; self.len()];
        }
        self.parts[key as usize] = part;
    }

    /// The rows of some keys.
    pub fn rows_of(&self, keys: &[u32]) -> Vec<(Kind, Vector)> {
        let places: Vec<u32> = keys.iter().map(|key| self.place(*key)).collect();
        let columns = self.columns.iter();
        columns
            .map(|(kind, vector)| (*kind, vector.take(&places)))
            .collect()
    }

    /// How many rows stay.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// The Datums of a key.
    pub fn values(
        &self,
        model: &Model,
        key: usize,
        arena: &mut Arena,
    ) -> Vec<(pg_sys::Datum, bool)> {
        let row = self.places[key] as usize;
        model
            .columns
            .iter()
            .map(|c| {
                let (kind, vector) = &self.columns[usize::from(c.attr.number) - 1];
                let value = datum(vector, row, &c.attr, kind.scale(), arena);
                (value.unwrap_or(pg_sys::Datum::from(0)), value.is_none())
            })
            .collect()
    }
}

/// Whether rows in the order of their keys are in the order of a sorted segment.
pub fn is_sorted(model: &Model, columns: &[(Kind, Vector)]) -> bool {
    model.columns.iter().all(|c| {
        let (kind, _) = columns[usize::from(c.attr.number) - 1];
        key_encoding::orders_as_stored(c, kind.physical())
    })
}

/// Why an attempt under the registration lock did not succeed.
pub enum Busy {
    /// A transaction that has changed a key has not ended.
    Open(OpenXact),
    /// A heap row is locked.
    HeapRow(LiveRow),
    /// A segment row is locked.
    SegmentRow(RowNumber),
    /// Somebody changed a row meanwhile.
    Again,
}

/// A segment to be published.
pub struct Segment<'a> {
    /// Its rows.
    pub batch: &'a Batch,
    /// The number of its first row.
    pub first_row: u64,
    /// The command that loads it.
    pub cid: pg_sys::CommandId,
}

/// Publishes a segment: marks the rows that it replaces, and calls `complete`, which completes its entry.
pub fn publish(
    rel: pg_sys::Relation,
    toast: &Toast,
    model: &Model,
    segment: &Segment,
    complete: impl FnOnce(&RegistrationLock),
) {
    let mut candidates = Candidates::default();
    let table = (rel, toast, model);
    loop {
        let registration = candidates.lock(table, &segment.batch.keys, segment.first_row);
        match replace(&registration, table, segment, &mut candidates) {
            Ok(()) => {
                complete(&registration);
                drop(registration);
                return;
            }
            Err(busy) => {
                drop(registration);
                wait(rel, toast, segment.cid, busy);
            }
        }
        pgrx::check_for_interrupts!();
    }
}

/// Waits, without the registration lock, for who was in the way.
pub fn wait(rel: pg_sys::Relation, toast: &Toast, cid: pg_sys::CommandId, busy: Busy) {
    match busy {
        Busy::Open(open) => open.wait(rel),
        Busy::HeapRow(row) => {
            let mode = pg_sys::LockTupleMode::LockTupleExclusive;
            heap::wait_for_row(rel, row, mode, cid);
        }
        Busy::SegmentRow(row) => upsert_row::wait_for_segment_row(rel, toast, row, cid),
        Busy::Again => {}
    }
}

/// Finds and marks what a segment's rows replace.
fn replace(
    registration: &RegistrationLock,
    table: (pg_sys::Relation, &Toast, &Model),
    segment: &Segment,
    candidates: &mut Candidates,
) -> Result<(), Busy> {
    let Segment {
        batch,
        first_row,
        cid,
        ..
    } = *segment;
    mark_keys_deleted(
        registration,
        table,
        (batch, first_row),
        cid,
        candidates,
        &mut 0,
    )?;
    let (rel, toast, _) = table;
    let losers = batch.losers.iter();
    let losers: Vec<u64> = losers.map(|p| first_row + u64::from(*p)).collect();
    mark_deleted(registration, rel, toast, &losers, cid)
}

#[allow(non_upper_case_globals)] // PostgreSQL's names
/// Deletes the rows of a batch's keys, but for those of the segment that begins at `except`; returns how many were
/// in segments. `in_heap` counts the others, also when somebody is in the way.
fn mark_keys_deleted(
    registration: &RegistrationLock,
    (rel, toast, model): (pg_sys::Relation, &Toast, &Model),
    (batch, except): (&Batch, u64),
    cid: pg_sys::CommandId,
    candidates: &mut Candidates,
    in_heap: &mut usize,
) -> Result<usize, Busy> {
    let open = |xid| Busy::Open(OpenXact { xid, token: 0 });
    let in_segments = probe::hits(
        registration,
        (rel, toast, model),
        &batch.keys,
        except,
        candidates,
    );
    let in_segments = in_segments.map_err(open)?;
    let heap_rows = heap_rows(rel, model, batch)?;
    for (_, live) in &heap_rows {
        upsert_row::check_replaceable(rel, model, live.seen);
    }
    for (found, rows) in &in_segments {
        let rows = rows.iter().map(|(_, row)| *row);
        upsert_row::check_replaceable(rel, model, upsert_row::is_seen(rel, toast, found, rows));
    }
    for (_, live) in heap_rows {
        match heap::delete(rel, live, cid) {
            TM_Ok => *in_heap += 1,
            TM_BeingModified => return Err(Busy::HeapRow(live)),
            _ => return Err(Busy::Again),
        }
    }
    // Segments come in the order of their rows.
    let rows = in_segments.into_iter().flat_map(|(_, rows)| rows);
    let dead: Vec<u64> = rows.map(|(_, row)| row.0).collect();
    mark_deleted(registration, rel, toast, &dead, cid)?;
    Ok(dead.len())
}

/// The live heap rows of a batch's keys, with the positions of those.
pub fn heap_rows(
    rel: pg_sys::Relation,
    model: &Model,
    batch: &Batch,
) -> Result<Vec<(u32, LiveRow)>, Busy> {
    let mut rows = Vec::new();
    let Some(index) = model.index else {
        return Ok(rows);
    };
    let mut search = Search::open(rel, model, index);
    if search.is_empty() {
        return Ok(rows);
    }
    let mut arena = Arena::default();
    // The smaller of the two is walked.
    let few = search.entries_at_most() < batch.len() as u64;
    let keys: Vec<usize> = match few {
        true => search.present(model, &batch.keys),
        false => (0..batch.len()).collect(),
    };
    for key in keys {
        arena.reset();
        let values = batch.values(model, key, &mut arena);
        // SAFETY: values of the key columns' types, which live in the arena.
        match unsafe { search.find(&values) } {
            Holder::None => {}
            Holder::Open(open) => return Err(Busy::Open(open)),
            Holder::Row(live) => rows.push((key as u32, live)),
        }
        pgrx::check_for_interrupts!();
    }
    Ok(rows)
}

/// Marks segment rows dead, without waiting.
fn mark_deleted(
    registration: &RegistrationLock,
    rel: pg_sys::Relation,
    toast: &Toast,
    rows: &[u64],
    cid: pg_sys::CommandId,
) -> Result<(), Busy> {
    let refused = mark_deletable(registration, rel, toast, rows, cid);
    refused.first().map_or(Ok(()), |refused| Err(busy(refused)))
}

/// Marks those of some segment rows dead that nobody holds; returns the others.
pub fn mark_deletable(
    registration: &RegistrationLock,
    rel: pg_sys::Relation,
    toast: &Toast,
    rows: &[u64],
    cid: pg_sys::CommandId,
) -> Vec<Refused> {
    for row in rows {
        changes_after_move::record(rel, toast, &RowNumber(*row).to_tid(), RowNumber(*row));
    }
    let refused = delete_bitmaps::delete_rows(registration, rel, toast, rows, cid);
    modify::meet_readers_of_all(rel, rows);
    refused
}

/// Whom to wait for because of a row that could not be marked.
pub fn busy(refused: &Refused) -> Busy {
    match refused.why {
        Conflict::InProgress(xid) => Busy::Open(OpenXact { xid, token: 0 }),
        Conflict::Locked | Conflict::Moved => Busy::SegmentRow(refused.row),
        Conflict::Own(_) | Conflict::Committed(_) => Busy::Again,
    }
}

/// Writes the rows of a small batch one by one.
pub fn to_heap(
    rel: pg_sys::Relation,
    model: &Model,
    index: pg_sys::Oid,
    batch: &Batch,
    rule: Option<&Rule>,
    cid: pg_sys::CommandId,
) {
    let attrs = crate::read::attrs::of(rel);
    let mut arena = Arena::default();
    // SAFETY: a slot of our own with an element an attribute; its Datums live in the arena until it is cleared.
    unsafe {
        let slot =
            pg_sys::MakeSingleTupleTableSlot((*rel).rd_att, &raw const pg_sys::TTSOpsVirtual);
        for row in 0..batch.len() {
            arena.reset();
            pg_sys::ExecClearTuple(slot);
            for (i, (attr, (kind, vector))) in attrs.iter().zip(&batch.columns).enumerate() {
                let value = if attr.dropped {
                    None
                } else {
                    datum(vector, row, attr, kind.scale(), &mut arena)
                };
                *(*slot).tts_values.add(i) = value.unwrap_or(pg_sys::Datum::from(0));
                *(*slot).tts_isnull.add(i) = value.is_none();
            }
            pg_sys::ExecStoreVirtualTuple(slot);
            let insert = upsert_row::Insert {
                cid,
                options: 0,
                bistate: std::ptr::null_mut(),
                part: batch.part(row as u32),
                row_security: false,
            };
            upsert_row::insert(rel, model, index, &[slot], rule, insert);
        }
        pg_sys::ExecDropSingleTupleTableSlot(slot);
    }
}

/// Deletes the rows of a batch's keys; returns how many there were. The batch needs no more than the key columns.
pub fn delete_keys(
    rel: pg_sys::Relation,
    model: &Model,
    batch: &Batch,
    cid: pg_sys::CommandId,
) -> usize {
    builder::publish_pending(rel);
    let toast = crate::am::modify::toast_for_write(rel);
    let mut deleted = 0;
    let mut candidates = Candidates::default();
    let table = (rel, &toast, model);
    loop {
        // No segment begins at this row.
        let none = u64::MAX;
        let registration = candidates.lock(table, &batch.keys, none);
        let of = (batch, none);
        match mark_keys_deleted(&registration, table, of, cid, &mut candidates, &mut deleted) {
            Ok(in_segments) => {
                // SAFETY: an open relation.
                (0..in_segments).for_each(|_| unsafe { pg_sys::pgstat_count_heap_delete(rel) });
                return deleted + in_segments;
            }
            Err(busy) => {
                drop(registration);
                wait(rel, &toast, cid, busy);
            }
        }
        pgrx::check_for_interrupts!();
    }
}
