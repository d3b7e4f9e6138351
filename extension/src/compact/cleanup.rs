// SPDX-License-Identifier: Apache-2.0
//! Deletes the chunks and marks of retired segments once no snapshot can see the segments: VACUUM of the TOAST relation
//! then frees their space.
//!
//! They are not deleted with the directory entry, because index builds read a retired segment for the sake of older
//! snapshots without having one themselves, and VACUUM might take its chunks from under them. This lock keeps index
//! builds away.
use super::job::Job;
use super::merge::each_anchor;
use crate::pg;
use crate::pg::toast::{Fate, Version};
use crate::store::entry::Entry;
use crate::store::gate::{Gate, Mode};
use crate::store::{chunks, deletes, directory, graves, keys, successors};
use pgrx::pg_sys;

/// Deletes what can be deleted; returns how many segments were buried.
pub fn retired(job: &Job) -> usize {
    let mut gone = Vec::new();
    job.toast
        .scan(keys::RETIRED, 0, i32::MAX, false, |version| {
            // SAFETY: an open relation.
            let removable =
                || unsafe { pg_sys::GlobalVisCheckRemovableXid(job.rel, version.raw_xmin()) };
            if deletable(version) && removable() {
                let entry = Entry::decode(version.payload())
                    .unwrap_or_else(|e| pg::report_corrupt(job.rel, e));
                gone.push((version.tid(), entry));
            }
            true
        });
    for (_, entry) in &gone {
        chunks_and_anchors(job, entry);
    }
    if !gone.is_empty() {
        slices(job, &gone);
    }
    let cid = job.cid();
    for (at, _) in &gone {
        job.toast.delete(*at, cid);
    }
    gone.len()
}

/// Graves that are filled in one transaction, at most.
const GRAVES_MAX: usize = 10_000;

/// Forgets some of the deleted keys whose graves were dug before a time; returns how many.
pub fn deleted_keys(job: &Job, before_us: i64) -> usize {
    let found = graves::settled(&job.toast, before_us, GRAVES_MAX);
    let count = found.len();
    if count > 0 {
        let _gate = Gate::take(&job.toast, Mode::Bulk);
        // One that was filled meanwhile stays so.
        delete_all(job, found);
    }
    count
}

/// Whether a tuple is there for everybody and nobody has deleted it.
fn deletable(version: &Version) -> bool {
    version.writer_fate() == Fate::Committed
        && version
            .deleter()
            .is_none_or(|(_, fate)| fate == Fate::Aborted)
}

fn delete_all(job: &Job, found: Vec<pg_sys::ItemPointerData>) {
    let cid = job.cid();
    for at in found {
        // An anchor that somebody holds stays; it is of a row that nobody can reach.
        job.toast.delete(at, cid);
        pgrx::check_for_interrupts!();
    }
}

fn chunks_and_anchors(job: &Job, entry: &Entry) {
    let mut found = Vec::new();
    for number in 0..chunks::count(entry.stream_bytes) {
        let (id, seq) = keys::chunk(entry.first_chunk + number);
        job.toast.scan(id, seq, seq, false, |version| {
            if deletable(version) {
                found.push(version.tid());
            }
            true
        });
    }
    let end = entry.first_row + entry.capacity;
    each_anchor(&job.toast, entry.first_row, end, |_, version| {
        if deletable(version) {
            found.push(version.tid());
        }
        true
    });
    delete_all(job, found);
}

/// Deletes bulk deletes and updates that concern no row of a segment that is left.
fn slices(job: &Job, gone: &[(pg_sys::ItemPointerData, Entry)]) {
    let any = &raw mut pg_sys::SnapshotAnyData;
    let mut left = directory::all(job.rel, &job.toast, any);
    left.retain(|found| !found.is_gone(job.rel));
    let is_left = |row: u64| left.iter().any(|f| f.entry.covers(row));
    let mut found = Vec::new();
    for (_, entry) in gone {
        let end = entry.first_row + entry.capacity;
        let slice_rows = u64::from(deletes::SLICE_ROWS);
        for slice in entry.first_row / slice_rows..end.div_ceil(slice_rows) {
            successors::each(job.rel, &job.toast, slice, |version| {
                let mut needed = false;
                successors::rows(job.rel, version, |row| {
                    needed = is_left(row);
                    needed
                });
                if deletable(version) && !needed {
                    found.push(version.tid());
                }
                true
            });
        }
        deletes::each(
            job.rel,
            &job.toast,
            entry.first_row,
            end,
            |version, slice| {
                let mut needed = false;
                slice.each(|row| needed |= is_left(row));
                if deletable(version) && !needed {
                    found.push(version.tid());
                }
                true
            },
        );
    }
    delete_all(job, found);
}
