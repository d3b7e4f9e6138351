// SPDX-License-Identifier: Apache-2.0
//! The changes of a table without a key within a batch: how many of each row come or go.
//!
//! Rows are told apart by their bytes. An update is a row that goes and one that comes; one that comes and goes within
//! the batch leaves nothing. What is left at the end does not depend on the order, as the source has carried it out.
use super::{hash, FoldError};
use crate::pgoutput::{put_value, Old, Tuple, Value};
use hashbrown::HashTable;
use std::ops::Range;

#[derive(Debug)]
struct Entry {
    row: Range<usize>,
    hash: u64,
    net: i64,
}

/// Folds the changes of a table without a key.
#[derive(Debug, Default)]
pub struct Bag {
    columns: usize,
    arena: Vec<u8>,
    entries: Vec<Entry>,
    index: HashTable<u32>,
    filled: Vec<u8>,
}

impl Bag {
    /// A bag for rows of `columns` columns.
    pub fn new(columns: usize) -> Self {
        Bag {
            columns,
            ..Bag::default()
        }
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
    }

    /// A new row.
    pub fn insert(&mut self, new: Tuple<'_>) -> Result<(), FoldError> {
        self.count(new, 1)
    }

    /// A changed row, identified by all its columns.
    pub fn update(&mut self, old: Option<Old<'_>>, new: Tuple<'_>) -> Result<(), FoldError> {
        let Some(Old::Full(old)) = old else {
            return Err(FoldError::NoKey);
        };
        self.check(new)?;
        self.count(old, -1)?;
        if !new.has_unchanged() {
            return self.count(new, 1);
        }
        let mut filled = std::mem::take(&mut self.filled);
        filled.clear();
        for (before, value) in old.values().zip(new.values()) {
            let value = if value == Value::Unchanged {
                before
            } else {
                value
            };
            put_value(&mut filled, value);
        }
        let result = self.count(Tuple::from_checked(self.columns as u16, &filled), 1);
        self.filled = filled;
        result
    }

    /// A row that is gone, identified by all its columns.
    pub fn delete(&mut self, old: Old<'_>) -> Result<(), FoldError> {
        match old {
            Old::Full(old) => self.count(old, -1),
            Old::Key(_) => Err(FoldError::NoKey),
        }
    }

    /// The rows that come, each as often as it does.
    pub fn added(&self) -> impl Iterator<Item = Tuple<'_>> {
        let come = self.entries.iter().filter(|e| e.net > 0);
        come.flat_map(|e| std::iter::repeat_n(self.tuple(e), e.net as usize))
    }

    /// The rows that go, and how many of each.
    pub fn removed(&self) -> impl Iterator<Item = (Tuple<'_>, u64)> {
        let go = self.entries.iter().filter(|e| e.net < 0);
        go.map(|e| (self.tuple(e), e.net.unsigned_abs()))
    }

    fn tuple(&self, entry: &Entry) -> Tuple<'_> {
        Tuple::from_checked(self.columns as u16, &self.arena[entry.row.clone()])
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

    fn count(&mut self, row: Tuple<'_>, by: i64) -> Result<(), FoldError> {
        self.check(row)?;
        let (bytes, hash) = (row.bytes(), hash(row.bytes()));
        let same = |i: &u32| self.arena[self.entries[*i as usize].row.clone()] == *bytes;
        if let Some(at) = self.index.find(hash, same) {
            self.entries[*at as usize].net += by;
            return Ok(());
        }
        let start = self.arena.len();
        self.arena.extend_from_slice(bytes);
        let at = self.entries.len() as u32;
        self.entries.push(Entry {
            row: start..self.arena.len(),
            hash,
            net: by,
        });
        let entries = &self.entries;
        self.index
            .insert_unique(hash, at, |i| entries[*i as usize].hash);
        Ok(())
    }
}
