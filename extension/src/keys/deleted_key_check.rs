// SPDX-License-Identifier: Apache-2.0
//! What is remembered of keys that a delete sign deleted, in tables with a sequence column: an older row that comes
//! late stays away (docs/decisions/0006).
//!
//! Deleted-key records are read only where no row of the key is found: a stored row's sequence decides by itself. A new
//! row that is not below its key's record removes it.
use super::heap::{self, OpenXact};
use super::merge::Row;
use super::publish_merged::Load;
use super::publish_segment::{Batch, Busy};
use super::upsert_row;
use crate::pg::toast::Toast;
use crate::store::deleted_keys::{self, DeletedKey, Filter};
use pgrx::pg_sys;

/// A key for which deletes matter, and its deleted-key records.
pub struct KeyDeletes {
    /// The position of the key in its batch.
    pub key: u32,
    bytes: Vec<u8>,
    records: Vec<DeletedKey>,
}

/// The records of a key; or the open transaction to wait for.
pub fn of_key(load: &Load, bytes: &[u8]) -> Result<Vec<DeletedKey>, OpenXact> {
    let found =
        deleted_keys::of_key(load.toast, bytes).map_err(|xid| OpenXact { xid, token: 0 })?;
    if found.iter().any(|record| !record.seen) {
        upsert_row::check_seen(false);
    }
    Ok(found)
}

/// The records of keys of a batch, of which `wants` says whether they matter.
pub fn of_keys(
    load: &Load,
    batch: &Batch,
    wants: impl Fn(u32) -> Lookup,
) -> Result<Vec<KeyDeletes>, Busy> {
    let filter = Filter::of(load.toast, batch.len());
    let none = matches!(filter, Filter::None);
    let matters = |key: &u32| match wants(*key) {
        Lookup::Nothing => false,
        Lookup::IfAny => !none,
        Lookup::Always => true,
    };
    let keys = (0..batch.len() as u32).filter(matters);
    let mut keys: Vec<(Vec<u8>, u32)> = keys
        .map(|key| (batch.keys().bytes(key as usize), key))
        .collect();
    // In the order in which records are filed: neighbours share pages.
    keys.sort_by_cached_key(|(bytes, _)| deleted_keys::place(bytes));
    let mut deletes = Vec::new();
    for (bytes, key) in keys {
        pgrx::check_for_interrupts!();
        let records = match filter.admits(&bytes) {
            true => of_key(load, &bytes).map_err(Busy::Open)?,
            false => Vec::new(),
        };
        if !records.is_empty() || wants(key) == Lookup::Always {
            deletes.push(KeyDeletes {
                key,
                bytes,
                records,
            });
        }
    }
    Ok(deletes)
}

/// Whether the records of a key are looked up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// No: a stored row speaks for the key.
    Nothing,
    /// If there are any.
    IfAny,
    /// Also if there are none, since one is added.
    Always,
}

impl KeyDeletes {
    /// Whether it is of the same key and records.
    pub fn is(&self, other: &KeyDeletes) -> bool {
        let mut records = self.records.iter().zip(&other.records);
        self.key == other.key
            && self.records.len() == other.records.len()
            && records.all(|(a, b)| a.is(b))
    }

    /// Whether a row is below a delete of its key.
    pub fn supersede(&self, load: &Load, row: Row) -> bool {
        supersede(load, &self.records, row)
    }

    /// A row has deleted the key.
    pub fn insert(&self, load: &Load, row: Row) {
        insert(load, &self.bytes, &self.records, row);
    }

    /// A row has come.
    pub fn remove(&self, load: &Load) {
        remove(load.toast, &self.records, load.cid);
    }
}

/// Whether a row is below one of some deletes.
pub fn supersede(load: &Load, records: &[DeletedKey], row: Row) -> bool {
    let below = |record: &DeletedKey| load.rule.is_below(load.rel, row, &record.sequence);
    records.iter().any(below)
}

/// Records that a row has deleted a key, in place of earlier records.
pub fn insert(load: &Load, key: &[u8], records: &[DeletedKey], row: Row) {
    if supersede(load, records, row) {
        return;
    }
    remove(load.toast, records, load.cid);
    if let Some(sequence) = load.rule.delete_sequence(load.rel, row) {
        deleted_keys::insert(load.toast, key, &sequence, load.cid);
    }
}

/// Removes records.
pub fn remove(toast: &Toast, records: &[DeletedKey], cid: pg_sys::CommandId) {
    for record in records {
        deleted_keys::remove(toast, record, heap::command_over(record.own, cid));
    }
}
