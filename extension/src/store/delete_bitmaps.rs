// SPDX-License-Identifier: Apache-2.0
//! Rows deleted or updated in bulk: one tuple a slice of 32,768 row numbers and statement, whose visibility is that of
//! the deletes (docs/decisions/0004). Where updated rows went is in [`super::successors`].
//!
//! A row has one deleter at a time, whichever form it takes. Single rows and row locks are settled by anchors, one
//! transaction after the other; a bulk delete looks for anchors and other bulk deletes, and registers what is free,
//! while the registration lock keeps everybody else from registering.
use super::entry::Anchor;
use super::registration_lock::RegistrationLock;
use super::tid::RowNumber;
use super::{chunk_ids, directory};
use crate::pg::toast::{Toast, Version, XactStatus};
use crate::pg::{self, raw};
pub use doris_storage::delete_bitmap::MarkKind;
pub use doris_storage::delete_bitmap::SLICE_ROWS;
use doris_storage::delete_bitmap::{self, Marks, Slice};
use pgrx::pg_sys;
use std::collections::HashSet;

/// Why a row could not be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// This transaction has deleted or updated it, in that command.
    Own(pg_sys::CommandId),
    /// That transaction has deleted or updated it, and committed.
    Committed(pg_sys::TransactionId),
    /// That transaction has deleted or updated it, and is open.
    InProgress(pg_sys::TransactionId),
    /// An open transaction holds a row lock on it.
    Locked,
    /// Compaction has taken it to another segment, or is about to.
    Moved,
}

/// A row that stays, as far as a bulk delete is concerned. [`super::anchors::claim`] takes such a row by itself: it
/// waits, and has the final word. It must not be called while the registration lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The row.
    pub row: RowNumber,
    /// Who is in the way.
    pub why: Conflict,
}

/// The deleter of a row.
#[derive(Clone, Copy, Debug)]
pub struct Deleter {
    /// The transaction.
    pub xid: pg_sys::TransactionId,
    /// What became of it; never `Aborted`.
    pub status: XactStatus,
    /// Its command, if it is this transaction.
    pub cmin: pg_sys::CommandId,
}

impl Deleter {
    /// The writer of a tuple that deletes rows; `None` when it was rolled back.
    pub fn of(version: &Version) -> Option<Self> {
        let status = version.writer_status();
        (status != XactStatus::Aborted).then(|| Self {
            xid: version.raw_xmin(),
            status,
            cmin: if status == XactStatus::Own {
                version.cmin()
            } else {
                0
            },
        })
    }

    fn why(&self) -> Conflict {
        match self.status {
            XactStatus::Own => Conflict::Own(self.cmin),
            XactStatus::InProgress => Conflict::InProgress(self.xid),
            XactStatus::Committed | XactStatus::Aborted => Conflict::Committed(self.xid),
        }
    }
}

fn decode<'a>(main: pg_sys::Relation, version: &'a Version) -> Slice<'a> {
    Slice::decode(version.payload()).unwrap_or_else(|e| pg::report_corrupt(main, e))
}

/// The number of the slice that a row is in.
pub fn slice_of(row: u64) -> u64 {
    row / u64::from(SLICE_ROWS)
}

/// Calls `visit` with every bulk delete, rolled back or not, that may concern rows from `first` up to `end`, until
/// it returns false.
pub fn each(
    main: pg_sys::Relation,
    toast: &Toast,
    first: u64,
    end: u64,
    mut visit: impl FnMut(&Version, &Slice) -> bool,
) {
    let mut slices = slice_of(first)..end.div_ceil(u64::from(SLICE_ROWS));
    while !slices.is_empty() {
        let (low, count) = chunk_ids::slices(&slices);
        slices.start += count;
        toast.scan_ids(low, low + count as u32 - 1, |version| {
            let slice = decode(main, version);
            let apart = slice.first_row >= end || slice.first_row + u64::from(SLICE_ROWS) <= first;
            apart || visit(version, &slice)
        });
    }
}

/// Who has deleted or updated a row in bulk, by the latest state.
pub fn latest(
    main: pg_sys::Relation,
    toast: &Toast,
    row: RowNumber,
) -> Option<(Deleter, MarkKind)> {
    let mut found = None;
    each(main, toast, row.0, row.0 + 1, |version, slice| {
        if slice.contains(row.0) {
            found = Deleter::of(version).map(|deleter| (deleter, slice.what));
        }
        found.is_none()
    });
    found
}

/// Who has deleted a row in bulk, if a snapshot sees it.
pub fn seen(
    main: pg_sys::Relation,
    toast: &Toast,
    row: RowNumber,
    snapshot: pg_sys::Snapshot,
) -> Option<pg_sys::TransactionId> {
    let mut seen = None;
    each(main, toast, row.0, row.0 + 1, |version, slice| {
        if slice.contains(row.0) && is_visible(main, version, snapshot) {
            seen = Some(version.raw_xmin());
        }
        seen.is_none()
    });
    seen
}

fn is_visible(main: pg_sys::Relation, version: &Version, snapshot: pg_sys::Snapshot) -> bool {
    let seen = version.visible(snapshot);
    if !seen && raw::is_mvcc(snapshot) && version.writer_status() != XactStatus::Aborted {
        raw::conflict_out(main, version.raw_xmin(), snapshot);
    }
    seen
}

/// Adds the rows of segments, by their first rows, ascending, and how many they have, that a snapshot sees as deleted
/// in bulk.
pub fn add_seen(
    main: pg_sys::Relation,
    toast: &Toast,
    segments: &[(u64, u32)],
    snapshot: pg_sys::Snapshot,
    dead: &mut [Marks],
) {
    let (Some((first, _)), Some((last, rows))) = (segments.first(), segments.last()) else {
        return;
    };
    let end = last + u64::from(*rows);
    each(main, toast, *first, end, |version, slice| {
        let (from, to) = (slice.first_row, slice.first_row + u64::from(SLICE_ROWS));
        let start = segments.partition_point(|(first, rows)| first + u64::from(*rows) <= from);
        let stop = segments.partition_point(|(first, _)| *first < to);
        if start < stop && is_visible(main, version, snapshot) {
            dead[start..stop]
                .iter_mut()
                .for_each(|dead| dead.add_slice(slice));
        }
        true
    });
}

/// The tuples of bulk deletes, and of next versions, that are filed where another is: each beyond the first. Slices of
/// one statement were filed so before each round of them had a serial of its own; REINDEX takes them for duplicates.
pub fn filed_twice(toast: &Toast) -> Vec<pg_sys::ItemPointerData> {
    let mut known = HashSet::new();
    let mut twice = Vec::new();
    let (low, high) = chunk_ids::all_slices();
    toast.scan_ids(low, high, |version| {
        if version.writer_status() != XactStatus::Aborted
            && !known.insert((version.id(), version.seq()))
        {
            twice.push(version.tid());
        }
        pgrx::check_for_interrupts!();
        true
    });
    twice
}

/// Deletes rows, numbers ascending and without repetition, as this transaction's command `cid`; returns those that
/// stay because somebody was there first. The caller holds the registration lock exclusively.
pub fn delete_rows(
    registration: &RegistrationLock,
    main: pg_sys::Relation,
    toast: &Toast,
    rows: &[u64],
    cid: pg_sys::CommandId,
) -> Vec<Refused> {
    let refused = refused(main, toast, rows);
    if refused.is_empty() {
        register_all(registration, main, toast, rows, MarkKind::Deleted, cid);
        return refused;
    }
    let is_free = |row: &u64| {
        let search = |r: &Refused| r.row.0.cmp(row);
        refused.binary_search_by(search).is_err()
    };
    let free: Vec<u64> = rows.iter().copied().filter(is_free).collect();
    register_all(registration, main, toast, &free, MarkKind::Deleted, cid);
    refused
}

/// Which of some rows, numbers ascending and without repetition, somebody holds or has deleted; ascending. That stays
/// so while the caller holds the registration lock exclusively.
pub fn refused(main: pg_sys::Relation, toast: &Toast, rows: &[u64]) -> Vec<Refused> {
    debug_assert!(rows.windows(2).all(|pair| pair[0] < pair[1]));
    let mut all = Vec::new();
    for slice in rows.chunk_by(|a, b| slice_of(*a) == slice_of(*b)) {
        let (Some(first), Some(last)) = (slice.first(), slice.last()) else {
            continue;
        };
        let mut refused = Vec::new();
        refuse_moved(main, toast, slice, &mut refused);
        refuse_anchored(main, toast, slice, &mut refused);
        each(main, toast, *first, last + 1, |version, other| {
            if let Some(deleter) = Deleter::of(version) {
                let why = deleter.why();
                let taken = slice.iter().filter(|row| other.contains(**row));
                refused.extend(taken.map(|row| refusal(*row, why)));
            }
            true
        });
        refused.sort_by_key(|r| r.row);
        refused.dedup_by_key(|r| r.row);
        all.append(&mut refused);
    }
    all
}

/// Deletes rows, ascending, which [`refused`] did not name since the caller holds the registration lock; or says that
/// they are about to be updated.
pub fn register_all(
    registration: &RegistrationLock,
    main: pg_sys::Relation,
    toast: &Toast,
    rows: &[u64],
    what: MarkKind,
    cid: pg_sys::CommandId,
) {
    assert!(
        registration.is_exclusive(),
        "bulk deletes need the registration lock exclusively"
    );
    if rows.is_empty() {
        return;
    }
    // Slices that share an id are told apart by their serials.
    let mut serial = (
        directory::serial(main, toast),
        chunk_ids::slice_round(slice_of(rows[0])),
    );
    for slice in rows.chunk_by(|a, b| slice_of(*a) == slice_of(*b)) {
        let base = slice_of(slice[0]) * u64::from(SLICE_ROWS);
        let round = chunk_ids::slice_round(slice_of(slice[0]));
        if round != serial.1 {
            serial = (directory::serial(main, toast), round);
        }
        let positions: Vec<u16> = slice.iter().map(|row| (row - base) as u16).collect();
        register(main, toast, (base, &positions, what), serial.0, cid);
    }
    crate::compact::shared_state::count_marks(main, rows.len() as u64);
}

fn refusal(row: u64, why: Conflict) -> Refused {
    let row = RowNumber(row);
    Refused { row, why }
}

/// Finds the rows of a slice whose segments are retired.
fn refuse_moved(main: pg_sys::Relation, toast: &Toast, rows: &[u64], refused: &mut Vec<Refused>) {
    let any = &raw mut pg_sys::SnapshotAnyData;
    let mut at = 0;
    while at < rows.len() {
        let owner = directory::owner(main, toast, rows[at], any);
        let count = match &owner {
            Some(found) => rows[at..].partition_point(|row| found.entry.covers(*row)),
            None => 1,
        };
        let here = owner.is_some_and(|found| match found.deleter {
            None => true,
            Some((_, status)) => status == XactStatus::Aborted,
        });
        if !here {
            let moved = rows[at..at + count].iter();
            refused.extend(moved.map(|row| refusal(*row, Conflict::Moved)));
        }
        at += count;
    }
}

/// Finds the rows of a slice that are deleted one by one, or locked.
fn refuse_anchored(
    main: pg_sys::Relation,
    toast: &Toast,
    rows: &[u64],
    refused: &mut Vec<Refused>,
) {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
        return;
    };
    let (chunk_id, low) = chunk_ids::anchor(*first);
    let high = chunk_ids::anchor(*last).1;
    toast.scan(chunk_id, low, high, false, |version| {
        let row = first + u64::from((version.seq() - low) as u32);
        if rows.binary_search(&row).is_err() {
            return true;
        }
        let anchor =
            Anchor::decode(version.payload()).unwrap_or_else(|e| pg::report_corrupt(main, e));
        let why = match anchor {
            Anchor::Live => version.locked().then_some(Conflict::Locked),
            _ => Deleter::of(version).map(|deleter| deleter.why()),
        };
        // A tombstone's word counts more than the lock on the anchor that it replaced.
        match (why, refused.last_mut()) {
            (Some(why), Some(known)) if known.row.0 == row => {
                if known.why == Conflict::Locked {
                    known.why = why;
                }
            }
            (Some(why), _) => refused.push(refusal(row, why)),
            (None, _) => {}
        }
        true
    });
}

fn register(
    main: pg_sys::Relation,
    toast: &Toast,
    (first_row, positions, what): (u64, &[u16], MarkKind),
    serial: u32,
    cid: pg_sys::CommandId,
) {
    let payload = delete_bitmap::encode(first_row, positions, what).unwrap_or_else(|e| {
        pgrx::error!(
            "could not encode deleted rows of \"{}\": {e}",
            pg::relation_name(main)
        )
    });
    let key = chunk_ids::slice(slice_of(first_row), serial);
    toast.insert(key, &payload, cid, 0, std::ptr::null_mut());
}
