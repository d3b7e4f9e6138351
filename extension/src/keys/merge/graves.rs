// SPDX-License-Identifier: Apache-2.0
//! The sequences of keys that a statement's rows have deleted: an older row of the same statement stays away,
//! whether it comes to the heap or in a batch.
//!
//! Nothing of it outlives the statement, as nothing of a deleted row does.
use super::{type_key, Row, Sequence};
use crate::types::shells::output_text;
use crate::types::values::Values;
use pgrx::pg_sys::{self, Datum};
use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::HashMap;

/// Keys as text, and the sequence that deleted each.
#[derive(Default)]
pub struct Graves(RefCell<HashMap<Vec<u8>, Values>>);

impl Graves {
    /// Whether nothing was deleted.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Remembers that a row deleted its key.
    pub fn dig(&self, rel: pg_sys::Relation, keys: &[usize], sequence: &Sequence, row: Row) {
        let Some(new) = row.get(sequence.column) else {
            return;
        };
        if self.holds(rel, keys, sequence, row, new) {
            return;
        }
        let mut value = Values::new(type_key(rel, sequence.column));
        value.push(new);
        self.0.borrow_mut().insert(key_of(rel, keys, row), value);
    }

    /// Whether a row is older than the one that deleted its key.
    pub fn cover(
        &self,
        rel: pg_sys::Relation,
        keys: &[usize],
        sequence: &Sequence,
        row: Row,
    ) -> bool {
        if self.is_empty() {
            return false;
        }
        match row.get(sequence.column) {
            None => self.0.borrow().contains_key(&key_of(rel, keys, row)),
            Some(value) => self.holds(rel, keys, sequence, row, value),
        }
    }

    /// Whether no delete of a row's key has a sequence as high as a value, which is not NULL. A delete without a sequence
    /// is remembered nowhere, being lower than all.
    pub fn below(
        &self,
        rel: pg_sys::Relation,
        keys: &[usize],
        sequence: &Sequence,
        row: Row,
        value: Datum,
    ) -> bool {
        let found = self.0.borrow().get(&key_of(rel, keys, row)).cloned();
        found.is_none_or(|found| sequence.order.compare(found.get(0), value) == Ordering::Less)
    }

    /// Whether the key was deleted with a sequence above a value.
    fn holds(
        &self,
        rel: pg_sys::Relation,
        keys: &[usize],
        sequence: &Sequence,
        row: Row,
        value: Datum,
    ) -> bool {
        let key = key_of(rel, keys, row);
        let found = self.0.borrow().get(&key).cloned();
        found.is_some_and(|found| sequence.order.compare(value, found.get(0)) == Ordering::Less)
    }
}

fn key_of(rel: pg_sys::Relation, keys: &[usize], row: Row) -> Vec<u8> {
    let mut out = Vec::new();
    for column in keys {
        match row.get(*column) {
            None => out.push(0),
            Some(value) => {
                let text = output_text(value, type_key(rel, *column).oid);
                out.push(1);
                out.extend_from_slice(&(text.len() as u32).to_be_bytes());
                out.extend_from_slice(&text);
            }
        }
    }
    out
}
