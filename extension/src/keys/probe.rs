// SPDX-License-Identifier: Apache-2.0
//! Finding keys in segments.
//!
//! A segment sorted by the key tells by its key index which row blocks may hold a key; in others the key columns
//! of all blocks are read. What was found is then judged by the latest state, open transactions included.
use super::code::{self, Keys};
use super::model::Model;
use crate::pg::toast::{Fate, Toast};
use crate::pg::{self};
use crate::store::anchors;
use crate::store::directory::{self, Found};
use crate::store::entry::{Entry, State};
use crate::store::segment::{self, Segment};
use crate::store::tid::RowNumber;
use doris_storage::vector::Vector;
use pgrx::pg_sys;
use std::cmp::Ordering;
use std::ops::Range;

/// A snapshot that sees what open transactions have done, and tells of them in its xmin and xmax.
pub fn dirty_snapshot() -> pg_sys::SnapshotData {
    pg_sys::SnapshotData {
        snapshot_type: pg_sys::SnapshotType::SNAPSHOT_DIRTY,
        ..Default::default()
    }
}

/// Who has the key, at this moment.
pub enum Holder {
    /// Nobody.
    None,
    /// A transaction that is still open has written or deleted it.
    Open(pg_sys::TransactionId),
    /// A row that is committed or this transaction's own.
    Row(Box<Found>, RowNumber),
}

/// A key column of an opened segment.
struct Columns<'a> {
    rel: pg_sys::Relation,
    toast: &'a Toast,
    model: &'a Model,
    segment: &'a Segment,
    at: Vec<usize>,
    /// The segment's order is that of `Keys`.
    sorted: bool,
}

impl<'a> Columns<'a> {
    fn of(rel: pg_sys::Relation, toast: &'a Toast, model: &'a Model, segment: &'a Segment) -> Self {
        let at: Vec<usize> = model
            .columns
            .iter()
            .map(|c| {
                segment.column(c.attr.number).unwrap_or_else(|| {
                    pg::report_corrupt(rel, "a segment lacks a column of the table's key")
                })
            })
            .collect();
        let footer = &segment.footer;
        let by_key = footer.sort.sorted
            && footer.sort.keys.len() >= model.columns.len()
            && !footer.key_index.firsts.is_empty()
            && model
                .columns
                .iter()
                .zip(&footer.sort.keys)
                .all(|(c, k)| c.attr.number == k.column && !k.descending && !k.nulls_first);
        let words = matches!(Keys::empty(model), Keys::Words(..));
        let alike = model.columns.iter().zip(&at).all(|(column, at)| {
            let meta = &footer.columns[*at];
            // A NULL takes one byte in a key index, but as many as a value in a word.
            code::orders_as_stored(column, meta.spec.physical)
                && !(words && meta.zone.null_count > 0)
        });
        Self {
            rel,
            toast,
            model,
            segment,
            at,
            sorted: by_key && alike,
        }
    }

    /// The keys of a whole row block.
    fn block(&self, block: usize) -> Keys {
        let vectors: Vec<(Vector, u16)> = self
            .at
            .iter()
            .map(|at| {
                let vector = self.segment.vector(self.rel, self.toast, *at, block);
                (vector, self.segment.scale(*at))
            })
            .collect();
        let columns: Vec<(&Vector, u16)> = vectors.iter().map(|(v, s)| (v, *s)).collect();
        Keys::of(self.model, &columns)
    }

    /// The key of one row.
    fn row(&self, position: u32) -> Keys {
        let vectors: Vec<(Vector, u16)> = self
            .at
            .iter()
            .map(|at| {
                let vector = self.segment.value(self.rel, self.toast, *at, position);
                (vector, self.segment.scale(*at))
            })
            .collect();
        let columns: Vec<(&Vector, u16)> = vectors.iter().map(|(v, s)| (v, *s)).collect();
        Keys::of(self.model, &columns)
    }

    fn rows_of(&self, block: usize) -> Range<u32> {
        let size = self.segment.footer.block_rows;
        let first = block as u32 * size;
        first..(first + size).min(self.segment.footer.rows)
    }
}

/// The positions of rows of one key in a sealed segment, whatever became of them. `key` holds one key.
fn find_one(
    rel: pg_sys::Relation,
    toast: &Toast,
    model: &Model,
    entry: &Entry,
    key: &Keys,
) -> Vec<u32> {
    let segment = segment::open(rel, toast, entry);
    let columns = Columns::of(rel, toast, model, &segment);
    let mut positions = Vec::new();
    if columns.sorted {
        let bytes = key.bytes(0);
        for block in segment.footer.key_index.blocks(&bytes, &bytes) {
            let rows = columns.rows_of(block);
            let (mut low, mut high) = (rows.start, rows.end);
            while low < high {
                let middle = low + (high - low) / 2;
                match columns.row(middle).compare(0, key, 0) {
                    Ordering::Less => low = middle + 1,
                    Ordering::Equal => {
                        positions.push(middle);
                        break;
                    }
                    Ordering::Greater => high = middle,
                }
            }
        }
        return positions;
    }
    for block in 0..segment.footer.block_count() {
        let keys = columns.block(block);
        let first = columns.rows_of(block).start;
        let equal = (0..keys.len()).filter(|i| keys.compare(*i, key, 0) == Ordering::Equal);
        positions.extend(equal.map(|i| first + i as u32));
        pgrx::check_for_interrupts!();
    }
    positions
}

/// The segments in which rows may be: of this transaction, of committed and of open ones. Those still being built
/// by others are not published: who publishes them will find what is there by then.
fn segments(rel: pg_sys::Relation, toast: &Toast) -> Vec<Found> {
    let mut all = directory::all(rel, toast, &raw mut pg_sys::SnapshotAnyData);
    all.retain(|found| {
        let retired = found
            .deleter
            .is_some_and(|(_, fate)| matches!(fate, Fate::Own | Fate::Committed));
        found.writer != Fate::Aborted && found.entry.state == State::Sealed && !retired
    });
    all
}

/// All segment rows of one key that any snapshot may see.
pub fn rows_of_key(
    rel: pg_sys::Relation,
    toast: &Toast,
    model: &Model,
    key: &Keys,
) -> Vec<RowNumber> {
    let mut all = directory::all(rel, toast, &raw mut pg_sys::SnapshotAnyData);
    all.retain(|f| f.writer != Fate::Aborted && f.entry.state == State::Sealed && !f.is_gone(rel));
    let mut rows = Vec::new();
    for found in &all {
        let positions = find_one(rel, toast, model, &found.entry, key);
        let numbers = positions
            .iter()
            .map(|p| found.entry.first_row + u64::from(*p));
        rows.extend(numbers.map(RowNumber));
    }
    rows
}

/// Who holds a key in the segments now.
pub fn holder(rel: pg_sys::Relation, toast: &Toast, model: &Model, key: &Keys) -> Holder {
    for found in segments(rel, toast) {
        for position in find_one(rel, toast, model, &found.entry, key) {
            let row = RowNumber(found.entry.first_row + u64::from(position));
            let mut dirty = dirty_snapshot();
            if !anchors::alive(rel, toast, row, &mut dirty) {
                continue;
            }
            if let Some(xid) = open_writer(&found) {
                return Holder::Open(xid);
            }
            if dirty.xmax != pg_sys::InvalidTransactionId {
                return Holder::Open(dirty.xmax);
            }
            return Holder::Row(Box::new(found), row);
        }
    }
    Holder::None
}

/// The open transaction that made or retired a segment.
fn open_writer(found: &Found) -> Option<pg_sys::TransactionId> {
    if found.writer == Fate::InProgress {
        return Some(found.xmin);
    }
    found
        .deleter
        .and_then(|(xid, fate)| (fate == Fate::InProgress).then_some(xid))
}

/// Rows of a segment, in their order, each with the position of its key.
pub type Hits = (Found, Vec<(u32, RowNumber)>);

/// The live rows of a batch's keys, which are sorted and unique; or the open transaction that has one of them.
/// `except` is the batch's own segment, by its first row.
pub fn hits(
    rel: pg_sys::Relation,
    toast: &Toast,
    model: &Model,
    keys: &Keys,
    except: u64,
) -> Result<Vec<Hits>, pg_sys::TransactionId> {
    let mut result = Vec::new();
    for found in segments(rel, toast) {
        if found.entry.first_row == except {
            continue;
        }
        let candidates = find_many(rel, toast, model, &found.entry, keys);
        if candidates.is_empty() {
            continue;
        }
        let live = live_of(rel, toast, &found, candidates)?;
        if live.is_empty() {
            continue;
        }
        if let Some(xid) = open_writer(&found) {
            return Err(xid);
        }
        result.push((found, live));
    }
    Ok(result)
}

/// Fewest candidates for which all marks of a segment are read at once.
const MARKS_AT_ONCE: usize = 32;

/// The candidates that nobody has marked dead; or the open transaction that has marked one.
fn live_of(
    rel: pg_sys::Relation,
    toast: &Toast,
    found: &Found,
    candidates: Vec<(u32, u32)>,
) -> Result<Vec<(u32, RowNumber)>, pg_sys::TransactionId> {
    let entry = &found.entry;
    let number = |position: u32| RowNumber(entry.first_row + u64::from(position));
    let judge = |position: u32| -> Result<bool, pg_sys::TransactionId> {
        let mut dirty = dirty_snapshot();
        let alive = anchors::alive(rel, toast, number(position), &mut dirty);
        match dirty.xmax {
            pg_sys::InvalidTransactionId => Ok(alive),
            xid => Err(xid),
        }
    };
    let at_once = candidates.len() >= MARKS_AT_ONCE;
    let marks = |snapshot: pg_sys::Snapshot| {
        anchors::dead_positions(rel, toast, entry.first_row, entry.rows, snapshot)
    };
    let (dead, marked) = if at_once {
        let dead = marks(&raw mut pg_sys::SnapshotSelfData);
        (dead, marks(&mut dirty_snapshot()))
    } else {
        (Vec::new(), Vec::new())
    };
    let mut live = Vec::with_capacity(candidates.len());
    for (key, position) in candidates {
        if dead.binary_search(&position).is_ok() {
            continue;
        }
        let open = !at_once || marked.binary_search(&position).is_ok();
        let alive = !open || judge(position)?;
        if alive {
            live.push((key, number(position)));
        }
    }
    Ok(live)
}

/// Which keys of a batch are in a sealed segment, and at which positions, whatever became of them.
fn find_many(
    rel: pg_sys::Relation,
    toast: &Toast,
    model: &Model,
    entry: &Entry,
    keys: &Keys,
) -> Vec<(u32, u32)> {
    let segment = segment::open(rel, toast, entry);
    let columns = Columns::of(rel, toast, model, &segment);
    let mut found = Vec::new();
    let index = &segment.footer.key_index;
    for block in 0..segment.footer.block_count() {
        let range = if columns.sorted {
            let next = index.firsts.get(block + 1).unwrap_or(&index.last);
            within(keys, &index.firsts[block], next)
        } else {
            0..keys.len()
        };
        if range.is_empty() {
            continue;
        }
        pgrx::check_for_interrupts!();
        let stored = columns.block(block);
        let first = columns.rows_of(block).start;
        if columns.sorted {
            merge(&stored, keys, range, first, &mut found);
        } else {
            for i in 0..stored.len() {
                if let Some(key) = keys.find(range.clone(), &stored, i) {
                    found.push((key as u32, first + i as u32));
                }
            }
        }
    }
    found
}

/// The keys that may lie between two bounds of a key index.
fn within(keys: &Keys, low: &[u8], high: &[u8]) -> Range<usize> {
    let point = |below: &dyn Fn(usize) -> bool| {
        let (mut from, mut to) = (0, keys.len());
        while from < to {
            let middle = from + (to - from) / 2;
            if below(middle) {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        from
    };
    let start = point(&|i| keys.compare_bound(i, low) == Ordering::Less);
    let end = point(&|i| keys.compare_bound(i, high) != Ordering::Greater);
    start..end.max(start)
}

/// Meets two ascending runs of keys: those of a block, and some of a batch's.
fn merge(stored: &Keys, keys: &Keys, range: Range<usize>, first: u32, found: &mut Vec<(u32, u32)>) {
    let sparse = range.len() * 8 < stored.len();
    let mut at = 0;
    for key in range {
        if sparse {
            if let Some(i) = stored.find(at..stored.len(), keys, key) {
                found.push((key as u32, first + i as u32));
                at = i + 1;
            }
            continue;
        }
        while at < stored.len() && stored.compare(at, keys, key) == Ordering::Less {
            at += 1;
        }
        if at < stored.len() && stored.compare(at, keys, key) == Ordering::Equal {
            found.push((key as u32, first + at as u32));
            at += 1;
        }
    }
}
