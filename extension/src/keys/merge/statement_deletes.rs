// SPDX-License-Identifier: Apache-2.0
//! The sequences of keys that a statement's rows have deleted: an older row of the same statement stays away,
//! whether it comes to the heap or in a batch. What outlives the statement is in the table (`keys::deleted`).
use super::{type_key, Row, Rule, Sequence};
use crate::pg;
use crate::types::shells::{output_text, varlena_bytes};
use crate::types::values::Values;
use pgrx::pg_sys::{self, Datum};
use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::HashMap;

/// Keys as text, and the sequence that deleted each.
#[derive(Default)]
pub struct StatementDeletes(RefCell<HashMap<Vec<u8>, Values>>);

impl StatementDeletes {
    /// Whether nothing was deleted.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Records that a row deleted its key.
    pub fn insert(&self, rel: pg_sys::Relation, keys: &[usize], sequence: &Sequence, row: Row) {
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
    pub fn supersede(
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

    /// Whether no delete of a row's key has a sequence as high as a value, which is not NULL. A delete without a
    /// sequence is remembered nowhere, being lower than all.
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

impl Rule {
    /// Whether deletes are remembered with their sequence.
    pub fn remembers_deletes(&self) -> bool {
        self.deciding_sequence().is_some()
    }

    /// The sequence of a row that deletes its key, as bytes; `None` when it has none, being below all others then.
    pub fn delete_sequence(&self, rel: pg_sys::Relation, row: Row) -> Option<Vec<u8>> {
        let sequence = self.deciding_sequence()?;
        let value = row.get(sequence.column)?;
        let values = Values::new(type_key(rel, sequence.column));
        Some(match values.is_by_value() {
            true => (value.value() as u64).to_le_bytes().to_vec(),
            // SAFETY: a sequence that is passed by reference is a numeric, a varlena.
            false => unsafe { varlena_bytes(value).to_vec() },
        })
    }

    /// Whether a row's sequence is below a [`delete_sequence`](Rule::delete_sequence).
    pub fn is_below(&self, rel: pg_sys::Relation, row: Row, delete_sequence: &[u8]) -> bool {
        let Some(sequence) = self.deciding_sequence() else {
            return false;
        };
        let Some(value) = row.get(sequence.column) else {
            return true;
        };
        let mut remembered = Values::new(type_key(rel, sequence.column));
        match <[u8; 8]>::try_from(delete_sequence) {
            Ok(word) if remembered.is_by_value() => {
                remembered.push(Datum::from(u64::from_le_bytes(word) as usize));
            }
            _ if remembered.is_by_value() => pg::report_corrupt(rel, "the sequence of a delete"),
            _ => remembered.push_varlena(delete_sequence),
        }
        sequence.order.compare(value, remembered.get(0)) == Ordering::Less
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
