// SPDX-License-Identifier: Apache-2.0
//! Deletes the chunks and marks of retired segments once no snapshot can see the segments: VACUUM of the TOAST relation
//! then frees their space. Compaction does it, when it comes back if need be, and VACUUM of the table. So it is with
//! anchors that carry no lock any more.
//!
//! They are not deleted with the directory entry, because index builds read a retired segment for the sake of older
//! snapshots without having one themselves, and VACUUM might take its chunks from under them. This lock keeps index
//! builds away.
use super::job::Job;
use super::merge::each_anchor;
use super::pause;
use crate::inspect::subtransaction;
use crate::pg::toast::{Toast, Version, XactStatus};
use crate::pg::{self, vacuum};
use crate::store::entry::Entry;
use crate::store::registration_lock::{Mode, RegistrationLock};
use crate::store::{
    chunk_ids, chunks, delete_bitmaps, deleted_keys, directory, successors, unused_anchors,
};
use pgrx::pg_sys;

/// A retired segment, and where that is noted.
type Retired = (pg_sys::ItemPointerData, Entry);

/// Retired segments.
#[derive(Default)]
pub struct Waiting {
    /// Those that no snapshot can see any more.
    gone: Vec<Retired>,
    /// How many there are of which that is not so.
    pub needed: usize,
}

impl Waiting {
    /// Whether there are any.
    pub fn any(&self) -> bool {
        self.any_gone() || self.needed > 0
    }

    /// Whether some can be deleted.
    pub fn any_gone(&self) -> bool {
        !self.gone.is_empty()
    }
}

/// The retired segments of a table. The caller's lock keeps compaction, VACUUM and index builds away.
pub fn waiting(rel: pg_sys::Relation, toast: &Toast) -> Waiting {
    let mut waiting = Waiting::default();
    if toast.blocks() == 0 {
        return waiting;
    }
    toast.scan(chunk_ids::RETIRED, 0, i32::MAX, false, |version| {
        // SAFETY: an open relation.
        let removable = || unsafe { pg_sys::GlobalVisCheckRemovableXid(rel, version.raw_xmin()) };
        match deletable(version) {
            true if version.frozen() || removable() => {
                let entry =
                    Entry::decode(version.payload()).unwrap_or_else(|e| pg::report_corrupt(rel, e));
                waiting.gone.push((version.tid(), entry));
            }
            true => waiting.needed += 1,
            false => {}
        }
        true
    });
    waiting
}

/// Deletes what is left of retired segments; returns how many tuples that were.
pub fn delete_gone(rel: pg_sys::Relation, toast: &Toast, waiting: &Waiting) -> usize {
    let gone = &waiting.gone;
    let mut deleted = 0;
    for (_, entry) in gone {
        deleted += chunks_and_anchors(toast, entry);
    }
    if !gone.is_empty() {
        deleted += slices(rel, toast, gone);
    }
    deleted + delete_all(toast, gone.iter().map(|(at, _)| *at))
}

/// Deletes anchors that carry no lock any more; returns how many there were.
pub fn idle_anchors(job: &Job) -> usize {
    delete_all(&job.toast, unused_anchors::find(job.rel, &job.toast))
}

/// What VACUUM of a table does for it, as the last thing in its transaction, which commits right after.
///
/// # Safety
/// Called by VACUUM, with its lock on the open relation.
pub unsafe fn in_vacuum(rel: pg_sys::Relation) {
    let Some(toast) = Toast::open(rel, pg_sys::RowExclusiveLock as i32) else {
        return;
    };
    // What it deletes takes a transaction id, which there may be no more of.
    if vacuum::is_near_wraparound() {
        return;
    }
    let waiting = waiting(rel, &toast);
    if waiting.any_gone() || unused_anchors::any(rel, &toast) {
        vacuum::become_ordinary();
        // Found once more: only from here on nobody takes away what this transaction has seen.
        let unused = unused_anchors::find(rel, &toast);
        subtransaction::subtransaction(|| {
            delete_gone(rel, &toast, &waiting);
            delete_all(&toast, unused);
        });
        pause::at("vacuum_deleted");
    }
}

/// Deleted-key records that are removed in one transaction, at most.
const DELETED_KEYS_MAX: usize = 10_000;

/// Forgets some of the keys that were deleted before a time; returns how many.
pub fn deleted_keys(job: &Job, before_us: i64) -> usize {
    let found = deleted_keys::removable(&job.toast, before_us, DELETED_KEYS_MAX);
    let count = found.len();
    if count > 0 {
        let _registration = RegistrationLock::acquire(&job.toast, Mode::Exclusive);
        // One that was removed meanwhile stays so.
        delete_all(&job.toast, found);
    }
    count
}

/// Whether a tuple is there for everybody and nobody has deleted it.
fn deletable(version: &Version) -> bool {
    version.writer_status() == XactStatus::Committed
        && version
            .deleter()
            .is_none_or(|(_, status)| status == XactStatus::Aborted)
}

fn delete_all(toast: &Toast, found: impl IntoIterator<Item = pg_sys::ItemPointerData>) -> usize {
    // SAFETY: plain call.
    let cid = unsafe { pg_sys::GetCurrentCommandId(true) };
    let mut deleted = 0;
    for at in found {
        // An anchor that somebody holds stays; it is of a row that nobody can reach.
        deleted += usize::from(toast.delete(at, cid));
        pgrx::check_for_interrupts!();
    }
    deleted
}

fn chunks_and_anchors(toast: &Toast, entry: &Entry) -> usize {
    let mut found = Vec::new();
    for number in 0..chunks::count(entry.stream_bytes) {
        let (id, seq) = chunk_ids::chunk(entry.first_chunk + number);
        toast.scan(id, seq, seq, false, |version| {
            if deletable(version) {
                found.push(version.tid());
            }
            true
        });
    }
    let end = entry.first_row + entry.capacity;
    each_anchor(toast, entry.first_row, end, |_, version| {
        if deletable(version) {
            found.push(version.tid());
        }
        true
    });
    delete_all(toast, found)
}

/// Deletes bulk deletes and updates that concern no row of a segment that is left.
fn slices(rel: pg_sys::Relation, toast: &Toast, gone: &[Retired]) -> usize {
    let any = &raw mut pg_sys::SnapshotAnyData;
    // Who adds segments holds the registration lock: whatever rows come later are from `end` on.
    let registration = RegistrationLock::acquire(toast, Mode::Exclusive);
    let end = directory::rows_end(rel, toast);
    let mut left = directory::all(rel, toast, any);
    drop(registration);
    left.retain(|found| !found.is_gone(rel));
    let is_left = |row: u64| row >= end || left.iter().any(|f| f.entry.covers(row));
    let mut found = Vec::new();
    for (_, entry) in gone {
        let end = entry.first_row + entry.capacity;
        let slice_rows = u64::from(delete_bitmaps::SLICE_ROWS);
        for slice in entry.first_row / slice_rows..end.div_ceil(slice_rows) {
            successors::each(rel, toast, slice, |version| {
                let mut needed = false;
                successors::rows(rel, version, |row| {
                    needed = is_left(row);
                    needed
                });
                if deletable(version) && !needed {
                    found.push(version.tid());
                }
                true
            });
        }
        delete_bitmaps::each(rel, toast, entry.first_row, end, |version, slice| {
            let mut needed = false;
            slice.each(|row| needed |= is_left(row));
            if deletable(version) && !needed {
                found.push(version.tid());
            }
            true
        });
    }
    delete_all(toast, found)
}
