// SPDX-License-Identifier: Apache-2.0
//! The changes of one table within a batch, the changes of a key folded to their net effect.
//!
//! ```text
//! row before the batch   row after it   net effect
//! absent                 there          insert
//! there                  there          update (all columns, or some still marked unchanged)
//! there                  absent         delete
//! absent                 absent         nothing
//! ```
//! Whether a key was there before is told by its first change: an insert says no, an update or delete says yes. The
//! net effects of different keys commute if deletes go first, so that they can be applied in bulk. A change of key is
//! a delete and an insert. Keys are compared by their bytes: equal keys of different bytes (numeric 1.0 and 1.00) are
//! two entries, of which at most one is there at the end, which the order of application makes right.
//!
//! A table without a key is a bag of rows: of each row, what the batch adds or takes away is counted (`bag`).
pub mod bag;
#[cfg(test)]
mod tests;

use crate::pgoutput::{put_value, Old, Tuple, Value};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;
use std::ops::Range;

/// What a batch does to one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Net<'a> {
    /// A row whose key was not there.
    Insert(Tuple<'a>),
    /// The row of `key` becomes `row`; values marked unchanged stay.
    Update {
        /// The key that the target's row has.
        key: Tuple<'a>,
        /// What the row becomes.
        row: Tuple<'a>,
    },
    /// The row of `key` goes.
    Delete {
        /// The key that the target's row has.
        key: Tuple<'a>,
    },
}

/// Whether a change was taken.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is part of the fold.
    Yes,
    /// Apply and clear the fold, then offer the change again.
    FlushFirst,
}

/// A change that cannot follow the ones before.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// The row has another number of columns than its table.
    #[error("a row has {found} columns, its table {expected}")]
    Columns {
        /// Columns of the row.
        found: usize,
        /// Columns of the table.
        expected: usize,
    },
    /// The key is not in the change.
    #[error(
        "a change does not carry the row's key; has the replica identity of the source changed?"
    )]
    NoKey,
    /// An update or delete of a row this batch has deleted.
    #[error("a change follows the deletion of its own row")]
    AfterDelete,
}

#[derive(Debug)]
struct Entry {
    key: Range<usize>,
    hash: u64,
    existed: bool,
    row: Option<Range<usize>>,
}

/// Folds the changes of a table that has a key.
#[derive(Debug)]
pub struct Fold {
    key_columns: Vec<usize>,
    columns: usize,
    arena: Vec<u8>,
    entries: Vec<Entry>,
    index: HashTable<u32>,
    sealed: bool,
    key_new: Vec<u8>,
    key_old: Vec<u8>,
}

/// A hash of some bytes.
pub fn hash(key: &[u8]) -> u64 {
    FixedState::default().hash_one(key)
}

impl Fold {
    /// A fold for rows of `columns` columns, identified by the columns `key_columns` (ascending).
    pub fn new(columns: usize, key_columns: Vec<usize>) -> Self {
        assert!(!key_columns.is_empty() && key_columns.iter().all(|k| *k < columns));
        Fold {
            key_columns,
            columns,
            arena: Vec::new(),
            entries: Vec::new(),
            index: HashTable::new(),
            sealed: false,
            key_new: Vec::new(),
            key_old: Vec::new(),
        }
    }

    /// The columns that identify a row.
    pub fn key_columns(&self) -> &[usize] {
        &self.key_columns
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.arena.len() + self.entries.len() * std::mem::size_of::<Entry>()
    }

    /// The number of keys changed.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets everything; keeps at most `keep` bytes of memory for the next batch.
    pub fn clear(&mut self, keep: usize) {
        self.arena.clear();
        self.arena.shrink_to(keep);
        self.entries.clear();
        self.entries.shrink_to(keep / std::mem::size_of::<Entry>());
        self.index.clear();
        self.sealed = false;
    }

    /// A new row.
    pub fn insert(&mut self, new: Tuple<'_>) -> Result<Taken, FoldError> {
        self.check(new)?;
        if self.sealed {
            return Ok(Taken::FlushFirst);
        }
        let mut key = std::mem::take(&mut self.key_new);
        let found = extract_key(&self.key_columns, new, None, &mut key);
        if found {
            let (at, _) = self.entry(&key, false);
            self.entries[at].row = Some(self.keep(new));
        }
        self.key_new = key;
        if found {
            Ok(Taken::Yes)
        } else {
            Err(FoldError::NoKey)
        }
    }

    /// A changed row.
    pub fn update(&mut self, old: Option<Old<'_>>, new: Tuple<'_>) -> Result<Taken, FoldError> {
        self.check(new)?;
        if self.sealed {
            return Ok(Taken::FlushFirst);
        }
        let (mut key_old, mut key_new) = (
            std::mem::take(&mut self.key_old),
            std::mem::take(&mut self.key_new),
        );
        let result = self.update_keys(old, new, &mut key_old, &mut key_new);
        (self.key_old, self.key_new) = (key_old, key_new);
        result
    }

    fn update_keys(
        &mut self,
        old: Option<Old<'_>>,
        new: Tuple<'_>,
        key_old: &mut Vec<u8>,
        key_new: &mut Vec<u8>,
    ) -> Result<Taken, FoldError> {
        let before = old.map(|o| o.tuple());
        if let Some(before) = before {
            self.check(before)?;
            if !extract_key(&self.key_columns, before, None, key_old) {
                return Err(FoldError::NoKey);
            }
        }
        if !extract_key(&self.key_columns, new, before, key_new) {
            return Err(FoldError::NoKey);
        }
        let full = match old {
            Some(Old::Full(t)) => Some(t),
            _ => None,
        };
        if before.is_none() || key_old == key_new {
            let (at, first) = self.entry(key_new, true);
            let current = self.entries[at].row.clone();
            if current.is_none() && !first {
                return Err(FoldError::AfterDelete);
            }
            self.entries[at].row = Some(self.keep_filled(new, full, current, before));
            return Ok(Taken::Yes);
        }
        self.change_key(key_old, key_new, new, full)
    }

    /// A delete of the old key and an insert of the new one, unless a value that did not change is not at hand: then
    /// the row has to be moved on the target, by itself.
    fn change_key(
        &mut self,
        key_old: &[u8],
        key_new: &[u8],
        new: Tuple<'_>,
        full: Option<Tuple<'_>>,
    ) -> Result<Taken, FoldError> {
        let known = self
            .find(key_old, hash(key_old))
            .map(|i| self.entries[i].row.clone());
        if known == Some(None) {
            return Err(FoldError::AfterDelete);
        }
        let current = known.flatten();
        let missing = new.has_unchanged()
            && full.is_none()
            && current
                .as_ref()
                .is_none_or(|r| self.tuple(r).has_unchanged());
        if missing {
            if !self.is_empty() {
                return Ok(Taken::FlushFirst);
            }
            let (at, _) = self.entry(key_old, true);
            self.entries[at].row = Some(self.keep(new));
            self.sealed = true;
            return Ok(Taken::Yes);
        }
        let row = self.keep_filled(new, full, current, None);
        let (at, _) = self.entry(key_old, true);
        self.entries[at].row = None;
        let (at, _) = self.entry(key_new, false);
        self.entries[at].row = Some(row);
        Ok(Taken::Yes)
    }

    /// A row that is gone.
    pub fn delete(&mut self, old: Old<'_>) -> Result<Taken, FoldError> {
        self.check(old.tuple())?;
        if self.sealed {
            return Ok(Taken::FlushFirst);
        }
        let mut key = std::mem::take(&mut self.key_old);
        let mut result = Ok(Taken::Yes);
        if extract_key(&self.key_columns, old.tuple(), None, &mut key) {
            let (at, first) = self.entry(&key, true);
            if self.entries[at].row.take().is_none() && !first {
                result = Err(FoldError::AfterDelete);
            }
        } else {
            result = Err(FoldError::NoKey);
        }
        self.key_old = key;
        result
    }

    /// The net effects, in the order of each key's first change.
    pub fn net(&self) -> impl Iterator<Item = Net<'_>> {
        self.entries.iter().filter_map(|e| self.effect(e))
    }

    /// The same in the order of the keys' bytes: what lies close together is changed one behind the other.
    pub fn by_key(&self) -> Vec<Net<'_>> {
        let mut entries: Vec<&Entry> = self.entries.iter().collect();
        let key = |e: &Entry| &self.arena[e.key.clone()];
        entries.sort_unstable_by(|a, b| key(a).cmp(key(b)));
        entries.into_iter().filter_map(|e| self.effect(e)).collect()
    }

    fn effect(&self, e: &Entry) -> Option<Net<'_>> {
        let key = Tuple::from_checked(self.key_columns.len() as u16, &self.arena[e.key.clone()]);
        match (e.existed, &e.row) {
            (false, Some(row)) => Some(Net::Insert(self.tuple(row))),
            (true, Some(row)) => Some(Net::Update {
                key,
                row: self.tuple(row),
            }),
            (true, None) => Some(Net::Delete { key }),
            (false, None) => None,
        }
    }

    fn tuple(&self, row: &Range<usize>) -> Tuple<'_> {
        Tuple::from_checked(self.columns as u16, &self.arena[row.clone()])
    }

    fn check(&self, tuple: Tuple<'_>) -> Result<(), FoldError> {
        match tuple.columns() {
            n if n == self.columns => Ok(()),
            found => Err(FoldError::Columns {
                found,
                expected: self.columns,
            }),
        }
    }

    fn find(&self, key: &[u8], hash: u64) -> Option<usize> {
        let same = |i: &u32| self.arena[self.entries[*i as usize].key.clone()] == *key;
        self.index.find(hash, same).map(|i| *i as usize)
    }

    /// The key's entry and whether this change is its first; then `existed` says if the key was there before.
    fn entry(&mut self, key: &[u8], existed: bool) -> (usize, bool) {
        let hash = hash(key);
        if let Some(at) = self.find(key, hash) {
            return (at, false);
        }
        let start = self.arena.len();
        self.arena.extend_from_slice(key);
        let at = self.entries.len();
        self.entries.push(Entry {
            key: start..self.arena.len(),
            hash,
            existed,
            row: None,
        });
        let entries = &self.entries;
        self.index
            .insert_unique(hash, at as u32, |i| entries[*i as usize].hash);
        (at, true)
    }

    fn keep(&mut self, row: Tuple<'_>) -> Range<usize> {
        let start = self.arena.len();
        self.arena.extend_from_slice(row.bytes());
        start..self.arena.len()
    }

    /// Keeps a row whose unchanged values are taken from the first of the others that has them.
    fn keep_filled(
        &mut self,
        new: Tuple<'_>,
        full: Option<Tuple<'_>>,
        current: Option<Range<usize>>,
        key: Option<Tuple<'_>>,
    ) -> Range<usize> {
        if !new.has_unchanged() {
            return self.keep(new);
        }
        let mut row = Vec::with_capacity(new.bytes().len() + 64);
        for (i, value) in new.values().enumerate() {
            let at = |t: Tuple<'_>| -> Option<Vec<u8>> {
                let mut out = Vec::new();
                t.values()
                    .nth(i)
                    .filter(|v| *v != Value::Unchanged)
                    .map(|v| put_value(&mut out, v))?;
                Some(out)
            };
            if value != Value::Unchanged {
                put_value(&mut row, value);
                continue;
            }
            let is_key = self.key_columns.contains(&i);
            let found = full
                .and_then(at)
                .or_else(|| current.as_ref().and_then(|r| at(self.tuple(r))))
                .or_else(|| key.filter(|_| is_key).and_then(at));
            match found {
                Some(bytes) => row.extend_from_slice(&bytes),
                None => row.push(b'u'),
            }
        }
        let start = self.arena.len();
        self.arena.extend_from_slice(&row);
        start..self.arena.len()
    }
}

/// Writes the key of `tuple` to `out`; values left out as unchanged come from `before`. False without a whole key.
fn extract_key(
    columns: &[usize],
    tuple: Tuple<'_>,
    before: Option<Tuple<'_>>,
    out: &mut Vec<u8>,
) -> bool {
    out.clear();
    let mut wanted = columns.iter().peekable();
    for (i, mut value) in tuple.values().enumerate() {
        if wanted.peek() != Some(&&i) {
            continue;
        }
        wanted.next();
        if value == Value::Unchanged {
            value = before
                .and_then(|t| t.values().nth(i))
                .unwrap_or(Value::Unchanged);
        }
        if matches!(value, Value::Unchanged | Value::Null) {
            return false;
        }
        put_value(out, value);
        if wanted.peek().is_none() {
            return true;
        }
    }
    false
}
