// SPDX-License-Identifier: Apache-2.0
//! What is remembered of keys that a delete sign deleted, in tables with a sequence column: an older row that comes late
//! stays away (docs/decisions/0006).
//!
//! Graves are looked at only where no row of the key is found: a stored row's sequence decides by itself. A new row that
//! is not below its key's grave fills it.
use super::bulk::{Batch, Busy};
use super::heap::{self, Open};
use super::meet::Load;
use super::merge::Row;
use super::single;
use crate::pg::toast::Toast;
use crate::store::graves::{self, Filter, Grave};
use pgrx::pg_sys;

/// A key for which graves matter, and its graves.
pub struct Site {
    /// The position of the key in its batch.
    pub key: u32,
    bytes: Vec<u8>,
    graves: Vec<Grave>,
}

/// The graves of a key; or the open transaction to wait for.
pub fn of_key(load: &Load, bytes: &[u8]) -> Result<Vec<Grave>, Open> {
    let found = graves::of_key(load.toast, bytes).map_err(|xid| Open { xid, token: 0 })?;
    if found.iter().any(|grave| !grave.seen) {
        single::check_seen(false);
    }
    Ok(found)
}

/// The graves of keys of a batch, of which `wants` says whether they matter.
pub fn of_keys(load: &Load, batch: &Batch, wants: impl Fn(u32) -> Want) -> Result<Vec<Site>, Busy> {
    let filter = Filter::of(load.toast, batch.len());
    let none = matches!(filter, Filter::None);
    let matters = |key: &u32| match wants(*key) {
        Want::Nothing => false,
        Want::IfAny => !none,
        Want::Always => true,
    };
    let keys = (0..batch.len() as u32).filter(matters);
    let mut keys: Vec<(Vec<u8>, u32)> = keys
        .map(|key| (batch.keys().bytes(key as usize), key))
        .collect();
    // In the order in which graves are filed: neighbours share pages.
    keys.sort_by_cached_key(|(bytes, _)| graves::place(bytes));
    let mut sites = Vec::new();
    for (bytes, key) in keys {
        pgrx::check_for_interrupts!();
        let graves = match filter.admits(&bytes) {
            true => of_key(load, &bytes).map_err(Busy::Open)?,
            false => Vec::new(),
        };
        if !graves.is_empty() || wants(key) == Want::Always {
            sites.push(Site { key, bytes, graves });
        }
    }
    Ok(sites)
}

/// Whether the graves of a key matter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// No: a stored row speaks for the key.
    Nothing,
    /// If there are any.
    IfAny,
    /// Also if there are none, since one is dug.
    Always,
}

impl Site {
    /// Whether it is of the same key and graves.
    pub fn is(&self, other: &Site) -> bool {
        let mut graves = self.graves.iter().zip(&other.graves);
        self.key == other.key
            && self.graves.len() == other.graves.len()
            && graves.all(|(a, b)| a.is(b))
    }

    /// Whether a row is below a delete of its key.
    pub fn covers(&self, load: &Load, row: Row) -> bool {
        covers(load, &self.graves, row)
    }

    /// A row has deleted the key.
    pub fn dig(&self, load: &Load, row: Row) {
        dig(load, &self.bytes, &self.graves, row);
    }

    /// A row has come.
    pub fn fill(&self, load: &Load) {
        fill(load.toast, &self.graves, load.cid);
    }
}

/// Whether a row is below one of some graves.
pub fn covers(load: &Load, graves: &[Grave], row: Row) -> bool {
    let below = |grave: &Grave| load.rule.is_below(load.rel, row, &grave.sequence);
    graves.iter().any(below)
}

/// Digs the grave of a key that a row has deleted, in place of others.
pub fn dig(load: &Load, key: &[u8], graves: &[Grave], row: Row) {
    if covers(load, graves, row) {
        return;
    }
    fill(load.toast, graves, load.cid);
    if let Some(sequence) = load.rule.epitaph(load.rel, row) {
        graves::dig(load.toast, key, &sequence, load.cid);
    }
}

/// Fills graves.
pub fn fill(toast: &Toast, graves: &[Grave], cid: pg_sys::CommandId) {
    for grave in graves {
        graves::fill(toast, grave, heap::command_over(grave.own, cid));
    }
}
