// SPDX-License-Identifier: Apache-2.0
//! Finding keys in segments.
//!
//! A segment sorted by the key tells by its key index which row blocks may hold a key; in others, zone maps and bloom
//! filters do. What was found is then judged by the latest state, open transactions included.
use super::key_encoding::{self, Keys};
use super::model::Model;
use crate::compact::pause;
use crate::pg::toast::{Toast, XactStatus};
use crate::pg::{self};
use crate::store::anchors;
use crate::store::directory::{self, FoundSegment};
use crate::store::directory_cache;
use crate::store::entry::{Entry, SegmentState};
use crate::store::registration_lock::{Mode, RegistrationLock};
use crate::store::segment::{self, Segment};
use crate::store::tid::RowNumber;
use doris_storage::prune::{CmpOp, Predicate, Verdict};
use doris_storage::segment::ColumnMeta;
use doris_storage::vector::{Physical, Vector};
use doris_storage::zone_map::Scalar;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

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
    Row(Box<FoundSegment>, RowNumber),
}

/// Rows of a sorted block of which the first key is kept.
const STRETCH: u32 = 128;

/// Bytes of them that a backend keeps.
const SAMPLES_BYTES: usize = 16 << 20;

/// The first keys of the stretches of sorted blocks: with them, one stretch is decoded for a key.
#[derive(Default)]
struct Samples {
    of: HashMap<(segment::Identity, u32), Rc<Keys>>,
    bytes: usize,
}

impl Samples {
    /// Adds those of a block; returns what is to be dropped.
    fn insert(&mut self, id: (segment::Identity, u32), keys: &Rc<Keys>) -> Samples {
        let bytes = keys.memory();
        let full = self.bytes + bytes > SAMPLES_BYTES;
        let dropped = if full {
            std::mem::take(self)
        } else {
            Samples::default()
        };
        self.bytes += bytes;
        self.of.insert(id, Rc::clone(keys));
        dropped
    }
}

thread_local! {
    static SAMPLES: RefCell<Samples> = RefCell::default();
}

/// The key columns of an opened segment.
struct Columns<'a> {
    rel: pg_sys::Relation,
    toast: &'a Toast,
    model: &'a Model,
    segment: &'a Segment,
    at: &'a [usize],
    /// The segment's order is that of `Keys`.
    sorted: bool,
}

/// Where the key columns of a segment are, and whether its order is that of `Keys`.
fn shape(rel: pg_sys::Relation, model: &Model, segment: &Segment) -> (Vec<usize>, bool) {
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
        key_encoding::orders_as_stored(column, meta.spec.physical)
            && !(words && meta.zone.null_count > 0)
    });
    (at, by_key && alike)
}

impl<'a> Columns<'a> {
    fn of(rel: pg_sys::Relation, toast: &'a Toast, model: &'a Model, segment: &'a Segment) -> Self {
        let (at, sorted) = segment.key.get_or_init(|| shape(rel, model, segment));
        Self {
            rel,
            toast,
            model,
            segment,
            at,
            sorted: *sorted,
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

    /// Where a key is in a block of a sorted segment.
    fn find_in(&self, block: usize, key: &Keys) -> Option<u32> {
        let first = self.rows_of(block).start;
        let sample = self.sample(block);
        // The stretch whose first key is the last that is not above.
        let above = sample.above(key);
        let start = above.checked_sub(1)? as u32 * STRETCH;
        let stored = self.rows(block, start..start + STRETCH);
        let at = stored.find(0..stored.len(), key, 0)?;
        Some(first + start + at as u32)
    }

    /// The first keys of the stretches of a block.
    fn sample(&self, block: usize) -> Rc<Keys> {
        let segment = segment::identity(self.toast, &self.segment.entry);
        let id = (segment, block as u32);
        if let Some(known) = SAMPLES.with_borrow(|samples| samples.of.get(&id).cloned()) {
            return known;
        }
        let rows = self.rows_of(block);
        let firsts: Vec<u32> = (0..rows.end - rows.start)
            .step_by(STRETCH as usize)
            .collect();
        let sample = Rc::new(self.block(block).take(&firsts));
        let dropped = SAMPLES.with_borrow_mut(|samples| samples.insert(id, &sample));
        drop(dropped);
        sample
    }

    /// The keys of some rows of a block.
    fn rows(&self, block: usize, rows: Range<u32>) -> Keys {
        let all = self.rows_of(block);
        let rows = rows.start as usize..rows.end.min(all.end - all.start) as usize;
        let vectors: Vec<(Vector, u16)> = self
            .at
            .iter()
            .map(|at| {
                let (segment, block) = (self.segment, block as u32);
                let block = segment.cached_block(self.rel, self.toast, *at, block);
                let mut out = Vector::empty(segment.footer.columns[*at].spec.physical);
                if let Err(error) = block.decode(rows.clone(), &mut out) {
                    pg::report_corrupt(self.rel, error);
                }
                (out, segment.scale(*at))
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

/// One key, in the forms in which segments are asked for it.
pub struct SingleKey {
    keys: Keys,
    bytes: Vec<u8>,
    /// The layout and the value of each column; `None` for NULL.
    scalars: Vec<(Physical, Option<Scalar>)>,
}

impl SingleKey {
    /// The key of a row.
    ///
    /// # Safety
    /// Datums of the key columns' types.
    pub unsafe fn of_row(model: &Model, values: &[(pg_sys::Datum, bool)]) -> Self {
        // SAFETY: passed on to the caller.
        let row = unsafe { key_encoding::row(model, values) };
        let columns: Vec<(&Vector, u16)> = row.iter().map(|(v, s)| (v, *s)).collect();
        let keys = Keys::of(model, &columns);
        let scalar = |(vector, _): &(Vector, u16)| (vector.physical(), Scalar::of(vector, 0));
        Self {
            bytes: keys.bytes(0),
            scalars: row.iter().map(scalar).collect(),
            keys,
        }
    }

    /// The key's bytes, which tell it from all others.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What a segment's zone maps and bloom filters are asked; columns that do not store equal values alike are
    /// left out.
    fn predicate(&self, columns: &Columns) -> Predicate {
        let all = columns
            .model
            .columns
            .iter()
            .zip(columns.at)
            .zip(&self.scalars);
        let conditions = all.filter_map(|((column, at), (physical, value))| {
            let spec = &columns.segment.footer.columns[*at].spec;
            let alike = key_encoding::orders_as_stored(column, spec.physical);
            if !alike || spec.physical != *physical {
                return None;
            }
            Some(match value {
                None => Predicate::IsNull(spec.id),
                Some(value) => Predicate::Cmp {
                    column: spec.id,
                    op: CmpOp::Eq,
                    value: value.clone(),
                },
            })
        });
        Predicate::And(conditions.collect())
    }
}

/// The positions of rows of one key in a sealed segment, whatever became of them.
fn find_one(
    rel: pg_sys::Relation,
    toast: &Toast,
    model: &Model,
    entry: &Entry,
    one: &SingleKey,
) -> Vec<u32> {
    let segment = segment::open(rel, toast, entry);
    let columns = Columns::of(rel, toast, model, &segment);
    let key = &one.keys;
    if columns.sorted {
        let blocks = segment.footer.key_index.blocks(&one.bytes, &one.bytes);
        return blocks
            .filter_map(|block| columns.find_in(block, key))
            .collect();
    }
    let mut positions = Vec::new();
    let blooms = |meta: &ColumnMeta, block: usize| segment.bloom(rel, toast, meta, block);
    let checks = segment
        .footer
        .check_blocks(&one.predicate(&columns), &blooms);
    for (block, check) in checks.iter().enumerate() {
        if check.verdict == Verdict::None {
            continue;
        }
        let keys = columns.block(block);
        let first = columns.rows_of(block).start;
        let equal = (0..keys.len()).filter(|i| keys.compare(*i, key, 0) == Ordering::Equal);
        positions.extend(equal.map(|i| first + i as u32));
        pgrx::check_for_interrupts!();
    }
    positions
}

/// Most keys that are looked up one by one.
const ONE_BY_ONE: usize = 16;

/// All segment rows of some keys that any snapshot may see, in their order.
pub fn rows_of_keys(
    rel: pg_sys::Relation,
    toast: &Toast,
    model: &Model,
    sought: &[SingleKey],
) -> Vec<RowNumber> {
    let mut all = directory::all(rel, toast, &raw mut pg_sys::SnapshotAnyData);
    all.retain(|f| {
        f.writer != XactStatus::Aborted && f.entry.state == SegmentState::Sealed && !f.is_gone(rel)
    });
    let mut keys = Keys::empty(model);
    if sought.len() > ONE_BY_ONE {
        sought.iter().for_each(|one| keys.append(&one.keys));
        let mut order = keys.order();
        order.dedup_by(|b, a| keys.compare(*a as usize, &keys, *b as usize) == Ordering::Equal);
        keys = keys.take(&order);
    }
    let mut rows = Vec::new();
    for found in &all {
        let entry = &found.entry;
        let mut positions: Vec<u32> = if sought.len() > ONE_BY_ONE {
            let found = find_many(rel, toast, model, entry, &keys);
            found.into_iter().map(|(_, position)| position).collect()
        } else {
            let one = |one| find_one(rel, toast, model, entry, one);
            sought.iter().flat_map(one).collect()
        };
        positions.sort_unstable();
        positions.dedup();
        let numbers = positions.iter().map(|p| entry.first_row + u64::from(*p));
        rows.extend(numbers.map(RowNumber));
    }
    rows
}

/// Calls `visit` with the segment rows of a key until it answers.
pub fn first<T>(
    registration: &RegistrationLock,
    (rel, toast, model): (pg_sys::Relation, &Toast, &Model),
    key: &SingleKey,
    mut visit: impl FnMut(&FoundSegment, RowNumber) -> Option<T>,
) -> Option<T> {
    let segments = directory_cache::segments(registration, rel, toast);
    for at in &segments.by_size {
        let found = &segments.all[*at];
        for position in find_one(rel, toast, model, &found.entry, key) {
            let row = RowNumber(found.entry.first_row + u64::from(position));
            let answer = visit(found, row);
            if answer.is_some() {
                return answer;
            }
        }
    }
    None
}

/// Who holds a key in the segments now.
pub fn holder(
    registration: &RegistrationLock,
    rel: pg_sys::Relation,
    toast: &Toast,
    model: &Model,
    key: &SingleKey,
) -> Holder {
    let holder = first(registration, (rel, toast, model), key, |found, row| {
        row_holder(rel, toast, found, row)
    });
    holder.unwrap_or(Holder::None)
}

/// Who holds the key of a segment row, if the row is not dead.
pub fn row_holder(
    rel: pg_sys::Relation,
    toast: &Toast,
    found: &FoundSegment,
    row: RowNumber,
) -> Option<Holder> {
    let mut dirty = dirty_snapshot();
    if !anchors::alive(rel, toast, row, &mut dirty) {
        return None;
    }
    if let Some(xid) = open_writer(found) {
        return Some(Holder::Open(xid));
    }
    if dirty.xmax != pg_sys::InvalidTransactionId {
        return Some(Holder::Open(dirty.xmax));
    }
    Some(Holder::Row(Box::new(*found), row))
}

/// The open transaction that made or retired a segment.
fn open_writer(found: &FoundSegment) -> Option<pg_sys::TransactionId> {
    if found.writer == XactStatus::InProgress {
        return Some(found.xmin);
    }
    found
        .deleter
        .and_then(|(xid, status)| (status == XactStatus::InProgress).then_some(xid))
}

/// Rows of a segment, in their order, each with the position of its key.
pub type Hits = (FoundSegment, Vec<(u32, RowNumber)>);

/// Where the keys of a batch are in segments, whatever became of the rows. A segment never changes, so that is found
/// out before the registration lock is taken; with it, only segments that came since are searched.
#[derive(Default)]
pub struct Candidates {
    /// Positions of keys and of rows, by the segment's first row and checksum.
    of: HashMap<(u64, u32), Vec<(u32, u32)>>,
    /// Segments have been searched without the registration lock.
    searched: bool,
}

/// Rows of segments that are searched with the lock held, rather than releasing it once more.
const ROWS_UNDER_LOCK: u64 = 1 << 17;
/// How often it is given up for that.
const SEARCHES: u32 = 4;

fn identity(found: &FoundSegment) -> (u64, u32) {
    (found.entry.first_row, found.entry.checksum)
}

impl Candidates {
    /// Takes the registration lock exclusively, with most segments searched. `except` is the batch's own segment, by
    /// its first row.
    pub fn lock(
        &mut self,
        table: (pg_sys::Relation, &Toast, &Model),
        keys: &Keys,
        except: u64,
    ) -> RegistrationLock {
        self.lock_as(Mode::Exclusive, table, keys, except)
    }

    /// As [`Candidates::lock`]; with [`Mode::Shared`] for a look only.
    pub fn lock_as(
        &mut self,
        mode: Mode,
        (rel, toast, model): (pg_sys::Relation, &Toast, &Model),
        keys: &Keys,
        except: u64,
    ) -> RegistrationLock {
        // SAFETY: plain call. Chunks that are deleted from now on are kept from VACUUM by this transaction's id.
        unsafe { pg_sys::GetCurrentTransactionId() };
        for _ in 0..SEARCHES {
            let registration = RegistrationLock::acquire(toast, mode);
            let segments = directory_cache::segments(&registration, rel, toast);
            let new = segments.all.iter().filter(|found| {
                found.entry.first_row != except && !self.of.contains_key(&identity(found))
            });
            let new: Vec<&FoundSegment> = new.collect();
            let rows: u64 = new.iter().map(|f| u64::from(f.entry.rows)).sum();
            if rows <= if self.searched { ROWS_UNDER_LOCK } else { 0 } {
                return registration;
            }
            drop(registration);
            self.searched = true;
            for found in new {
                let rows = find_many(rel, toast, model, &found.entry, keys);
                self.of.insert(identity(found), rows);
            }
            pause::at("searched");
        }
        RegistrationLock::acquire(toast, mode)
    }
}

/// The live rows of a batch's keys, which are sorted and unique; or the open transaction that has one of them.
/// `except` is the batch's own segment, by its first row.
pub fn hits(
    registration: &RegistrationLock,
    (rel, toast, model): (pg_sys::Relation, &Toast, &Model),
    keys: &Keys,
    except: u64,
    candidates: &mut Candidates,
) -> Result<Vec<Hits>, pg_sys::TransactionId> {
    let mut result = Vec::new();
    for found in &directory_cache::segments(registration, rel, toast).all {
        if found.entry.first_row == except {
            continue;
        }
        let candidates = candidates
            .of
            .entry(identity(found))
            .or_insert_with(|| find_many(rel, toast, model, &found.entry, keys));
        if candidates.is_empty() {
            continue;
        }
        let live = live_of(rel, toast, found, candidates)?;
        if live.is_empty() {
            continue;
        }
        if let Some(xid) = open_writer(found) {
            return Err(xid);
        }
        result.push((*found, live));
    }
    Ok(result)
}

/// Fewest candidates for which all marks of a segment are read at once.
const MARKS_AT_ONCE: usize = 32;

/// As many marks of a segment are read in the time that it takes to look for the mark of one row: small loads of a table
/// that changes row by row would read tens of thousands of marks for a hundred keys.
const MARKS_EACH: usize = 4;

/// The candidates that nobody has marked dead; or the open transaction that has marked one.
fn live_of(
    rel: pg_sys::Relation,
    toast: &Toast,
    found: &FoundSegment,
    candidates: &[(u32, u32)],
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
    let few = |most| anchors::has_few(toast, entry.first_row, entry.rows, most);
    let at_once = candidates.len() >= MARKS_AT_ONCE && few(candidates.len() * MARKS_EACH);
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
    for &(key, position) in candidates {
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
    let filter = (!columns.sorted).then(|| keys.filter());
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
        let Some(filter) = &filter else {
            merge(&stored, keys, range, first, &mut found);
            continue;
        };
        for i in 0..stored.len() {
            if filter.admits(&stored, i) {
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
