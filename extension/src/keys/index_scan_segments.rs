// SPDX-License-Identifier: Apache-2.0
//! The segment rows of a scan of a key index: those of the keys that it asks for, after the heap's.
//!
//! They are looked up a *stretch* at a time, so that a long list of keys takes little more memory than the list itself:
//! ```text
//! k1 IN (1, 2, 3) AND k2 IN (7, 8)      keys (1,7) (1,8) (2,7) | (2,8) (3,7) (3,8)      stretches of three
//! ```
//! A scan that asks for anything but whole keys gets the rows of one segment after the other, to be checked again.
use super::model::{self, Model};
use super::probe::{self, SingleKey};
use crate::pg::raw;
use crate::pg::toast::Toast;
use crate::store::directory::{self, FoundSegment};
use crate::store::tid::RowNumber;
use crate::write::builder;
use pgrx::memcxt::PgMemoryContexts;
use pgrx::pg_sys;
use std::collections::HashSet;

/// Keys that are looked up at once.
const KEYS_PER_LOOKUP: usize = 1 << 16;

/// Where the rows of a scan come from.
enum Source {
    /// From the keys that the lists of its columns make; of each list, which values differ from those before.
    Lists(Vec<Vec<u32>>),
    /// From all segments.
    Segments(Vec<FoundSegment>),
}

/// The segment rows of a running index scan.
pub struct SegmentRowScan {
    source: Option<Source>,
    /// The rows of the current stretch.
    rows: Vec<RowNumber>,
    /// Which stretch that is: -1 before the first, their number behind the last.
    stretch: i64,
    stretches: i64,
    /// The current row of the stretch.
    at: i64,
    /// The scan is among segment rows, not in the heap.
    within: bool,
    /// How many heap rows it has shown that its snapshot sees; counted for serializable transactions only.
    seen: usize,
}

impl SegmentRowScan {
    /// A scan that begins in a direction.
    pub fn new(backward: bool) -> Self {
        Self {
            source: None,
            rows: Vec::new(),
            stretch: -1,
            stretches: 0,
            at: -1,
            within: backward,
            seen: 0,
        }
    }

    /// Whether the current row is one of a segment.
    pub fn is_within(&self) -> bool {
        self.within
    }

    /// Moves a scan over the heap's rows, then the segments', or the other way round.
    ///
    /// # Safety
    /// A running scan of a key index.
    pub unsafe fn advance(
        &mut self,
        scan: pg_sys::IndexScanDesc,
        backward: bool,
        heap: impl Fn() -> bool,
    ) -> bool {
        if !self.within {
            if heap() {
                // SAFETY: the scan is at a row.
                self.seen += unsafe { usize::from(is_serializable(scan) && sees(scan, None)) };
                return true;
            }
            if backward {
                return false;
            }
            self.within = true;
        }
        // SAFETY: passed on to the caller.
        unsafe {
            if self.source.is_none() {
                self.begin(scan, backward);
            }
            if !self.step(scan, backward) {
                if backward {
                    self.within = false;
                    return heap();
                }
                return false;
            }
            (*scan).xs_heaptid = self.rows[self.at as usize].to_tid();
            (*scan).xs_recheck = matches!(self.source, Some(Source::Segments(_)));
            (*scan).xs_heap_continue = false;
        }
        true
    }

    /// Goes to the next row, if there is one.
    unsafe fn step(&mut self, scan: pg_sys::IndexScanDesc, backward: bool) -> bool {
        let by = if backward { -1 } else { 1 };
        loop {
            pgrx::check_for_interrupts!();
            self.at += by;
            if (0..self.rows.len() as i64).contains(&self.at) {
                return true;
            }
            self.stretch = (self.stretch + by).clamp(-1, self.stretches);
            self.rows.clear();
            let there = (0..self.stretches).contains(&self.stretch);
            if there {
                // SAFETY: passed on to the caller.
                self.rows = unsafe { self.look_up(scan) };
            }
            self.at = if backward { self.rows.len() as i64 } else { -1 };
            if !there {
                return false;
            }
        }
    }

    /// Finds out what the scan asks for.
    unsafe fn begin(&mut self, scan: pg_sys::IndexScanDesc, backward: bool) {
        // SAFETY: passed on to the caller.
        let (source, stretches) = unsafe {
            let rel = (*scan).heapRelation;
            builder::publish_pending(rel);
            let mut memory = PgMemoryContexts::new("doris key lists");
            let lists = model::of(rel).and_then(|model| {
                memory.switch_to(|_| Some(distinct(&model, &lists_of(&model, scan)?)))
            });
            match lists {
                Some(lists) => {
                    let keys = count(lists.iter().map(Vec::len));
                    let stretches = keys.div_ceil(KEYS_PER_LOOKUP as u128);
                    (
                        Source::Lists(lists),
                        i64::try_from(stretches).unwrap_or(i64::MAX),
                    )
                }
                None => {
                    let mut all = Vec::new();
                    if is_serializable(scan) {
                        read_whole(scan);
                    }
                    if let Some(toast) = Toast::open(rel, pg_sys::AccessShareLock as i32) {
                        all = directory::all(rel, &toast, (*scan).xs_snapshot);
                        all.retain(|found| found.visible);
                    }
                    let count = all.len() as i64;
                    (Source::Segments(all), count)
                }
            }
        };
        self.source = Some(source);
        self.stretches = stretches;
        if backward {
            self.stretch = stretches;
        }
    }

    /// The rows of the current stretch.
    unsafe fn look_up(&self, scan: pg_sys::IndexScanDesc) -> Vec<RowNumber> {
        match self.source.as_ref().expect("begun") {
            Source::Segments(all) => {
                let entry = &all[self.stretch as usize].entry;
                let first = entry.first_row;
                (first..first + u64::from(entry.rows))
                    .map(RowNumber)
                    .collect()
            }
            // SAFETY: passed on to the caller. What the lists hold is gone with the context; keys are copies.
            Source::Lists(wanted) => unsafe {
                let rel = (*scan).heapRelation;
                let (Some(model), Some(toast)) = (
                    model::of(rel),
                    Toast::open(rel, pg_sys::AccessShareLock as i32),
                ) else {
                    if is_serializable(scan) {
                        read_whole(scan);
                    }
                    return Vec::new();
                };
                let mut memory = PgMemoryContexts::new("doris key lists");
                let sought = memory.switch_to(|_| {
                    let lists = lists_of(&model, scan).unwrap_or_default();
                    keys_of(
                        &model,
                        &lists,
                        wanted,
                        self.stretch as u128 * KEYS_PER_LOOKUP as u128,
                    )
                });
                let rows = probe::rows_of_keys(rel, &toast, &model, &sought);
                if !is_serializable(scan) || self.has_all(scan, sought.len(), &rows) {
                    return rows;
                }
                read_whole(scan);
                probe::rows_of_keys(rel, &toast, &model, &sought)
            },
        }
    }

    /// Whether the scan's snapshot sees as many rows as the stretch has keys: then each is one that was read.
    unsafe fn has_all(&self, scan: pg_sys::IndexScanDesc, keys: usize, rows: &[RowNumber]) -> bool {
        if self.stretches > 1 || self.seen + rows.len() < keys {
            return false;
        }
        // SAFETY: passed on to the caller.
        let seen = |row: &&RowNumber| unsafe { sees(scan, Some(**row)) };
        self.seen >= keys || self.seen + rows.iter().filter(seen).count() >= keys
    }
}

/// Whether what a scan reads must be noted, and what it does not find.
unsafe fn is_serializable(scan: pg_sys::IndexScanDesc) -> bool {
    // SAFETY: a running scan.
    raw::serializable() && raw::is_mvcc(unsafe { (*scan).xs_snapshot })
}

/// Whether a scan's snapshot sees a segment row, or the heap row that the scan is at.
unsafe fn sees(scan: pg_sys::IndexScanDesc, row: Option<RowNumber>) -> bool {
    // SAFETY: a running scan, with its table open; out parameters on our stack.
    unsafe {
        let mut tid = row.map_or((*scan).xs_heaptid, |row| row.to_tid());
        let mut all_dead = false;
        let (rel, snapshot) = ((*scan).heapRelation, (*scan).xs_snapshot);
        pg_sys::table_index_fetch_tuple_check(rel, &mut tid, snapshot, &mut all_dead)
    }
}

/// Notes that a scan has read that a key is not there, before the segments are looked at. The key index, on whose pages
/// PostgreSQL notes it, has no entries of loaded rows: so it is a read of the whole table. Loads that come later find
/// that; one that runs may have all its rows in a segment that cannot be searched yet.
unsafe fn read_whole(scan: pg_sys::IndexScanDesc) {
    // SAFETY: passed on to the caller.
    let (rel, snapshot) = unsafe { ((*scan).heapRelation, (*scan).xs_snapshot) };
    raw::predicate_lock_relation(rel, snapshot);
    if let Some(toast) = Toast::open(rel, pg_sys::AccessShareLock as i32) {
        directory::visible(rel, &toast, snapshot);
    }
}

/// A value of a key column, and whether it is NULL.
type Value = (pg_sys::Datum, bool);

fn count(lengths: impl Iterator<Item = usize>) -> u128 {
    lengths.fold(1, |all: u128, length| all.saturating_mul(length as u128))
}

/// The keys of a stretch, which begins at the key of number `first`: their last column changes fastest.
///
/// # Safety
/// A list of values for each key column, of its type.
unsafe fn keys_of(
    model: &Model,
    lists: &[Vec<Value>],
    wanted: &[Vec<u32>],
    first: u128,
) -> Vec<SingleKey> {
    let end = count(wanted.iter().map(Vec::len)).min(first + KEYS_PER_LOOKUP as u128);
    let key = |number: u128| {
        let mut rest = number;
        let mut values: Vec<Value> = Vec::with_capacity(wanted.len());
        for (list, wanted) in lists.iter().zip(wanted).rev() {
            let at = rest % wanted.len() as u128;
            rest /= wanted.len() as u128;
            values.push(list[wanted[at as usize] as usize]);
        }
        values.reverse();
        // SAFETY: passed on to the caller.
        unsafe { SingleKey::of_row(model, &values) }
    };
    (first..end).map(key).collect()
}

/// Which values of each list differ from those before them. Of the keys of a single stretch nobody asks that: their
/// rows are told apart.
///
/// # Safety
/// As for [`keys_of`].
unsafe fn distinct(model: &Model, lists: &[Vec<Value>]) -> Vec<Vec<u32>> {
    let few = count(lists.iter().map(Vec::len)) <= KEYS_PER_LOOKUP as u128;
    let none = vec![(pg_sys::Datum::from(0), true); lists.len()];
    let of_list = |(column, list): (usize, &Vec<Value>)| {
        let all = 0..list.len() as u32;
        if few {
            return all.collect();
        }
        let mut seen = HashSet::new();
        let mut key = none.clone();
        let new = |at: &u32| {
            pgrx::check_for_interrupts!();
            key[column] = list[*at as usize];
            // SAFETY: passed on to the caller; NULL is a value of every column.
            seen.insert(unsafe { SingleKey::of_row(model, &key) }.bytes().to_vec())
        };
        all.filter(new).collect()
    };
    lists.iter().enumerate().map(of_list).collect()
}

/// The values of each key column that a scan asks for; `None` when it asks for something else than whole keys.
unsafe fn lists_of(model: &Model, scan: pg_sys::IndexScanDesc) -> Option<Vec<Vec<Value>>> {
    // SAFETY: a running scan. One of the whole index has no keys, and nowhere to keep them.
    let keys = unsafe {
        match (*scan).numberOfKeys {
            0 => &[],
            count => std::slice::from_raw_parts((*scan).keyData, count as usize),
        }
    };
    let mut columns: Vec<Option<Vec<Value>>> = vec![None; model.columns.len()];
    for key in keys {
        let column = columns.get_mut((key.sk_attno as usize).checked_sub(1)?)?;
        if column.is_some() {
            return None;
        }
        // SAFETY: passed on to the caller.
        *column = Some(unsafe { values_of((*scan).indexRelation, key) }?);
    }
    columns.into_iter().collect()
}

/// The values of its column that a scan key asks for; `None` when it asks for something else.
unsafe fn values_of(index: pg_sys::Relation, key: &pg_sys::ScanKeyData) -> Option<Vec<Value>> {
    let flags = key.sk_flags as u32;
    if flags == pg_sys::SK_ISNULL | pg_sys::SK_SEARCHNULL {
        return Some(vec![(pg_sys::Datum::from(0), true)]);
    }
    if flags & pg_sys::SK_ISNULL != 0 && flags & !(pg_sys::SK_ISNULL | pg_sys::SK_SEARCHARRAY) == 0
    {
        // Equal to nothing.
        return Some(Vec::new());
    }
    if u32::from(key.sk_strategy) != pg_sys::BTEqualStrategyNumber {
        return None;
    }
    // SAFETY: an open index with this column.
    let of = unsafe { *(*index).rd_opcintype.add(key.sk_attno as usize - 1) };
    let given = match flags {
        0 => vec![key.sk_argument],
        // SAFETY: the argument is an array.
        pg_sys::SK_SEARCHARRAY => unsafe {
            let elements = crate::types::shells::array_elements(key.sk_argument);
            elements.into_iter().flatten().collect()
        },
        _ => return None,
    };
    let mut values = Vec::with_capacity(given.len());
    for value in given {
        let value = converted(value, key.sk_subtype, of).ok()?;
        values.extend(value.map(|value| (value, false)));
    }
    Some(values)
}

/// Whether a scan can look a value of one type up in a key column of another.
pub fn convertible(from: pg_sys::Oid, to: pg_sys::Oid) -> bool {
    let integer = |oid| matches!(oid, pg_sys::INT2OID | pg_sys::INT4OID | pg_sys::INT8OID);
    from == pg_sys::InvalidOid || from == to || integer(from) && integer(to)
}

/// A value of one type as one of another; `None` where that has no such value.
fn converted(
    value: pg_sys::Datum,
    from: pg_sys::Oid,
    to: pg_sys::Oid,
) -> Result<Option<pg_sys::Datum>, ()> {
    if !convertible(from, to) {
        return Err(());
    }
    if from == pg_sys::InvalidOid || from == to {
        return Ok(Some(value));
    }
    let number = match from {
        pg_sys::INT2OID => i64::from(value.value() as i16),
        pg_sys::INT4OID => i64::from(value.value() as i32),
        _ => value.value() as i64,
    };
    Ok(match to {
        pg_sys::INT2OID => i16::try_from(number).ok().map(pg_sys::Datum::from),
        pg_sys::INT4OID => i32::try_from(number).ok().map(pg_sys::Datum::from),
        _ => Some(pg_sys::Datum::from(number)),
    })
}
