// SPDX-License-Identifier: Apache-2.0
//! Graves: keys that a delete sign has deleted, each with the sequence that did it (docs/decisions/0006).
//!
//! ```text
//! version u8 | 3 bytes 0 | key length u32 | dug at i64, microseconds | key | sequence
//! ```
//! A key of more than [`KEY_BYTES_MAX`] bytes is there as its first bytes and a digest. A grave is one tuple, filed under a hash of its key; its visibility is that of the delete. Whoever looks at or
//! changes graves of a key has the table's gate, alone or with the [`Latch`](super::gate::Latch) of the key.
use super::keys;
use super::tid::block_of;
use crate::pg;
use crate::pg::toast::{Fate, Toast, Version, INSERT_FROZEN};
use doris_engine::sketch::hash::murmur3_64;
use pgrx::{pg_sys, IntoDatum, PgSqlErrorCode};
use std::borrow::Cow;
use std::collections::HashSet;

const VERSION: u8 = 1;
const HEADER: usize = 16;

/// A grave that is committed or this transaction's own.
pub struct Grave {
    at: pg_sys::ItemPointerData,
    /// The command that dug it, if this transaction did.
    pub own: Option<pg_sys::CommandId>,
    /// Whether the snapshot of a transaction that must not see later changes sees it; true for all other transactions.
    pub seen: bool,
    /// The sequence, as the digger gave it.
    pub sequence: Vec<u8>,
}

impl Grave {
    /// Whether it is the same.
    pub fn is(&self, other: &Grave) -> bool {
        let place = |grave: &Grave| (block_of(&grave.at), grave.at.ip_posid);
        place(self) == place(other) && self.sequence == other.sequence
    }
}

/// The longest key that a grave has as it is: it is a tuple of a page, and a key may take more where it compresses well.
const KEY_BYTES_MAX: usize = 4096;

/// A key as graves have it, which is the same as that of such a key.
fn filed(key: &[u8]) -> Cow<'_, [u8]> {
    if key.len() <= KEY_BYTES_MAX {
        return Cow::Borrowed(key);
    }
    // SAFETY: the function takes and returns a bytea.
    let digest = unsafe {
        let argument = key.into_datum();
        pgrx::direct_function_call::<Vec<u8>>(pg_sys::sha256_bytea, &[argument])
    };
    let digest = digest.expect("a digest");
    let mut out = key[..KEY_BYTES_MAX - digest.len()].to_vec();
    out.extend_from_slice(&digest);
    Cow::Owned(out)
}

/// The hash by which a key is filed.
pub fn hash(key: &[u8]) -> u64 {
    murmur3_64(&filed(key), 0)
}

/// Where the graves of a key are filed, from this chunk_seq on.
pub fn place(key: &[u8]) -> (u32, i32) {
    keys::grave(hash(key))
}

fn encode(key: &[u8], sequence: &[u8]) -> Vec<u8> {
    let mut out = vec![VERSION, 0, 0, 0];
    out.extend_from_slice(&(key.len() as u32).to_le_bytes());
    // SAFETY: plain call.
    let now = unsafe { pg_sys::GetCurrentTransactionStartTimestamp() };
    out.extend_from_slice(&now.to_le_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(sequence);
    out
}

/// The time, the key and the sequence of a grave.
fn decode(payload: &[u8]) -> Option<(i64, &[u8], &[u8])> {
    let (header, rest) = payload.split_at_checked(HEADER)?;
    let length = u32::from_le_bytes(header[4..8].try_into().ok()?);
    let dug = i64::from_le_bytes(header[8..].try_into().ok()?);
    let (key, sequence) = rest.split_at_checked(length as usize)?;
    (header[0] == VERSION).then_some((dug, key, sequence))
}

fn parts<'a>(toast: &Toast, version: &'a Version) -> (i64, &'a [u8], &'a [u8]) {
    decode(version.payload())
        .unwrap_or_else(|| pg::report_corrupt(toast.rel, "the grave of a deleted key"))
}

/// Whether a grave is, or may come to be, of no concern to anybody.
fn gone(version: &Version) -> bool {
    let filled = |(_, fate)| matches!(fate, Fate::Own | Fate::Committed);
    version.writer_fate() == Fate::Aborted || version.deleter().is_some_and(filled)
}

/// Calls `each` with the tuples at a place of graves, as long as it says true.
fn visit(toast: &Toast, (id, first): (u32, i32), each: impl FnMut(&Version) -> bool) {
    toast.scan(id, first, first + (keys::GRAVE_SLOTS - 1), false, each);
}

/// The graves of a key, of which there is one as a rule; or the open transaction that digs or fills one.
pub fn of_key(toast: &Toast, key: &[u8]) -> Result<Vec<Grave>, pg_sys::TransactionId> {
    let (mut graves, mut open) = (Vec::new(), None);
    let key = filed(key);
    visit(toast, place(&key), |version| {
        let (_, found, sequence) = parts(toast, version);
        if found != &*key || gone(version) {
            return true;
        }
        let writer = version.writer_fate();
        if writer == Fate::InProgress {
            open = Some(version.raw_xmin());
        }
        if let Some((xid, Fate::InProgress)) = version.deleter() {
            open = Some(xid);
        }
        let own = (writer == Fate::Own).then(|| version.cmin());
        graves.push(Grave {
            at: version.tid(),
            seen: own.is_some() || is_seen(version),
            own,
            sequence: sequence.to_vec(),
        });
        open.is_none()
    });
    open.map_or(Ok(graves), Err)
}

fn is_seen(version: &Version) -> bool {
    // SAFETY: plain variable of this backend; the snapshot is the transaction's own.
    let snapshot = unsafe {
        if pg_sys::XactIsoLevel < pg_sys::XACT_REPEATABLE_READ as i32 {
            return true;
        }
        pg_sys::GetTransactionSnapshot()
    };
    version.visible(snapshot)
}

/// Digs the grave of a key.
pub fn dig(toast: &Toast, key: &[u8], sequence: &[u8], cid: pg_sys::CommandId) {
    let key = filed(key);
    file(toast, &key, &encode(&key, sequence), cid, 0);
}

fn file(toast: &Toast, key: &[u8], payload: &[u8], cid: pg_sys::CommandId, options: i32) {
    let (id, first) = place(key);
    let mut taken = [false; keys::GRAVE_SLOTS as usize];
    visit(toast, (id, first), |version| {
        taken[(version.seq() - first) as usize] |= !gone(version);
        true
    });
    let Some(slot) = taken.iter().position(|taken| !taken) else {
        pg::refuse(
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            "too many deleted keys have one hash",
            "Compact the table: CALL doris.compact(table, 'base').",
        );
    };
    let null = std::ptr::null_mut();
    toast.insert((id, first + slot as i32), payload, cid, options, null);
}

/// Fills a grave; `cid` is a command after the one that dug it.
pub fn fill(toast: &Toast, grave: &Grave, cid: pg_sys::CommandId) {
    if !toast.delete(grave.at, cid) {
        pg::report_corrupt(
            toast.rel,
            "the grave of a deleted key was changed outside of the gate",
        );
    }
}

/// Which keys may have graves.
pub enum Filter {
    /// None.
    None,
    /// Those of these hashes.
    Hashes(HashSet<u64>),
    /// All.
    All,
}

impl Filter {
    /// Reads the graves of a table, unless there are more than `most`, those that VACUUM has left included.
    pub fn of(toast: &Toast, most: usize) -> Self {
        let (low, high) = keys::graves();
        let mut hashes = HashSet::new();
        let mut visited = 0;
        toast.scan_ids(low, high, |version| {
            visited += 1;
            if !gone(version) {
                hashes.insert(hash(parts(toast, version).1));
            }
            visited <= most
        });
        match hashes.len() {
            _ if visited > most => Filter::All,
            0 => Filter::None,
            _ => Filter::Hashes(hashes),
        }
    }

    /// Whether a key may have a grave.
    pub fn admits(&self, key: &[u8]) -> bool {
        match self {
            Filter::None => false,
            Filter::Hashes(hashes) => hashes.contains(&hash(key)),
            Filter::All => true,
        }
    }
}

/// Graves that are committed, not filled and were dug before a time, at most `most`.
pub fn settled(toast: &Toast, before_us: i64, most: usize) -> Vec<pg_sys::ItemPointerData> {
    let (low, high) = keys::graves();
    let mut found = Vec::new();
    toast.scan_ids(low, high, |version| {
        let open = |(_, fate)| fate != Fate::Aborted;
        let settled =
            version.writer_fate() == Fate::Committed && !version.deleter().is_some_and(open);
        if settled && parts(toast, version).0 < before_us {
            found.push(version.tid());
        }
        pgrx::check_for_interrupts!();
        found.len() < most
    });
    found
}

/// Copies the graves of a table, all of which are settled, to one that nobody has seen yet.
pub fn copy(old: &Toast, new: &Toast) {
    // SAFETY: plain call.
    let cid = unsafe { pg_sys::GetCurrentCommandId(true) };
    let (low, high) = keys::graves();
    old.scan_ids(low, high, |version| {
        if !gone(version) {
            let key = parts(old, version).1;
            file(new, key, version.payload(), cid, INSERT_FROZEN);
        }
        pgrx::check_for_interrupts!();
        true
    });
}
