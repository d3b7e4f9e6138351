// SPDX-License-Identifier: Apache-2.0
//! Deleted-key records: keys that a delete sign has deleted, each with the sequence of that delete
//! (docs/decisions/0006).
//!
//! ```text
//! version u8 | 3 bytes 0 | key length u32 | deleted at i64, microseconds | key | sequence
//! ```
//! A key of more than [`KEY_BYTES_MAX`] bytes is there as its first bytes and a digest. A record is one tuple, filed
//! under a hash of its key; its visibility is that of the delete. Whoever reads or changes the records of a key holds
//! the table's registration lock, exclusively or with the [`KeyLock`](super::registration_lock::KeyLock) of the key.
use super::chunk_ids;
use super::tid::block_of;
use crate::pg;
use crate::pg::toast::{Toast, Version, XactStatus, INSERT_FROZEN};
use doris_engine::sketch::hash::murmur3_64;
use pgrx::{pg_sys, IntoDatum, PgSqlErrorCode};
use std::borrow::Cow;
use std::collections::HashSet;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 16;

/// A record that is committed or this transaction's own.
pub struct DeletedKey {
    at: pg_sys::ItemPointerData,
    /// The command that wrote it, if this transaction did.
    pub own: Option<pg_sys::CommandId>,
    /// Whether the snapshot of a transaction that must not see later changes sees it; true for all other transactions.
    pub seen: bool,
    /// The sequence, as the delete gave it.
    pub sequence: Vec<u8>,
}

impl DeletedKey {
    /// Whether it is the same.
    pub fn is(&self, other: &DeletedKey) -> bool {
        let place = |record: &DeletedKey| (block_of(&record.at), record.at.ip_posid);
        place(self) == place(other) && self.sequence == other.sequence
    }
}

/// The longest key that a deleted-key record has as it is: it is a tuple of a page, and a key may take more where it
/// compresses well.
const KEY_BYTES_MAX: usize = 4096;

/// A key as deleted-key records have it, which is the same as that of such a key.
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

/// Where the records of a key are filed, from this chunk_seq on.
pub fn place(key: &[u8]) -> (u32, i32) {
    chunk_ids::deleted_key(hash(key))
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

/// The time, the key and the sequence of a record.
fn decode(payload: &[u8]) -> Option<(i64, &[u8], &[u8])> {
    let (header, rest) = payload.split_at_checked(HEADER_BYTES)?;
    let length = u32::from_le_bytes(header[4..8].try_into().ok()?);
    let deleted_at = i64::from_le_bytes(header[8..].try_into().ok()?);
    let (key, sequence) = rest.split_at_checked(length as usize)?;
    (header[0] == VERSION).then_some((deleted_at, key, sequence))
}

fn parts<'a>(toast: &Toast, version: &'a Version) -> (i64, &'a [u8], &'a [u8]) {
    decode(version.payload())
        .unwrap_or_else(|| pg::report_corrupt(toast.rel, "the record of a deleted key"))
}

/// Whether a record is removed, or was never committed: it concerns nobody.
fn is_removed(version: &Version) -> bool {
    let filled = |(_, status)| matches!(status, XactStatus::Own | XactStatus::Committed);
    version.writer_status() == XactStatus::Aborted || version.deleter().is_some_and(filled)
}

/// Calls `each` with the tuples at a place of records, as long as it says true.
fn visit(toast: &Toast, (id, first): (u32, i32), each: impl FnMut(&Version) -> bool) {
    toast.scan(
        id,
        first,
        first + (chunk_ids::DELETED_KEY_SLOTS - 1),
        false,
        each,
    );
}

/// The records of a key, of which there is one as a rule; or the open transaction that adds or removes one.
pub fn of_key(toast: &Toast, key: &[u8]) -> Result<Vec<DeletedKey>, pg_sys::TransactionId> {
    let (mut records, mut open) = (Vec::new(), None);
    let key = filed(key);
    visit(toast, place(&key), |version| {
        let (_, found, sequence) = parts(toast, version);
        if found != &*key || is_removed(version) {
            return true;
        }
        let writer = version.writer_status();
        if writer == XactStatus::InProgress {
            open = Some(version.raw_xmin());
        }
        if let Some((xid, XactStatus::InProgress)) = version.deleter() {
            open = Some(xid);
        }
        let own = (writer == XactStatus::Own).then(|| version.cmin());
        records.push(DeletedKey {
            at: version.tid(),
            seen: own.is_some() || is_seen(version),
            own,
            sequence: sequence.to_vec(),
        });
        open.is_none()
    });
    open.map_or(Ok(records), Err)
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

/// Records that a key is deleted.
pub fn insert(toast: &Toast, key: &[u8], sequence: &[u8], cid: pg_sys::CommandId) {
    let key = filed(key);
    insert_payload(toast, &key, &encode(&key, sequence), cid, 0);
}

fn insert_payload(toast: &Toast, key: &[u8], payload: &[u8], cid: pg_sys::CommandId, options: i32) {
    let (id, first) = place(key);
    let mut taken = [false; chunk_ids::DELETED_KEY_SLOTS as usize];
    visit(toast, (id, first), |version| {
        taken[(version.seq() - first) as usize] |= !is_removed(version);
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

/// Removes a record; `cid` is a command after the one that wrote it.
pub fn remove(toast: &Toast, record: &DeletedKey, cid: pg_sys::CommandId) {
    if !toast.delete(record.at, cid) {
        pg::report_corrupt(
            toast.rel,
            "the record of a deleted key was changed without the registration lock",
        );
    }
}

/// Which keys may have records.
pub enum Filter {
    /// None.
    None,
    /// Those of these hashes.
    Hashes(HashSet<u64>),
    /// All.
    All,
}

impl Filter {
    /// Reads the records of a table, unless there are more than `most`, those that VACUUM has left included.
    pub fn of(toast: &Toast, most: usize) -> Self {
        let (low, high) = chunk_ids::deleted_keys();
        let mut hashes = HashSet::new();
        let mut visited = 0;
        toast.scan_ids(low, high, |version| {
            visited += 1;
            if !is_removed(version) {
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

    /// Whether a key may have a record.
    pub fn admits(&self, key: &[u8]) -> bool {
        match self {
            Filter::None => false,
            Filter::Hashes(hashes) => hashes.contains(&hash(key)),
            Filter::All => true,
        }
    }
}

/// Records that are committed, not removed and older than a time, at most `most`.
pub fn removable(toast: &Toast, before_us: i64, most: usize) -> Vec<pg_sys::ItemPointerData> {
    let (low, high) = chunk_ids::deleted_keys();
    let mut found = Vec::new();
    toast.scan_ids(low, high, |version| {
        let open = |(_, status)| status != XactStatus::Aborted;
        let settled = version.writer_status() == XactStatus::Committed
            && !version.deleter().is_some_and(open);
        if settled && parts(toast, version).0 < before_us {
            found.push(version.tid());
        }
        pgrx::check_for_interrupts!();
        found.len() < most
    });
    found
}

/// Copies the records of a table, whose transactions have all ended, to one that nobody has seen yet.
pub fn copy(old: &Toast, new: &Toast) {
    // SAFETY: plain call.
    let cid = unsafe { pg_sys::GetCurrentCommandId(true) };
    let (low, high) = chunk_ids::deleted_keys();
    old.scan_ids(low, high, |version| {
        if !is_removed(version) {
            let key = parts(old, version).1;
            insert_payload(new, key, version.payload(), cid, INSERT_FROZEN);
        }
        pgrx::check_for_interrupts!();
        true
    });
}
