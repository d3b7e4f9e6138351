// SPDX-License-Identifier: Apache-2.0
//! What VACUUM does to indexes for segment rows: it removes the entries of rows that no snapshot can see any more.
//!
//! Row numbers are never used again, so an index scan that holds the TID of such a row finds nothing there; nobody
//! needs to be waited for. Dead to everybody are
//! - row numbers below the allocator's next one that no segment has: its load was rolled back, or compaction has merged
//!   it away. Numbers are handed out and registered under the registration lock, and compaction, which makes entries of
//!   rows before it registers them, keeps out of VACUUM's way by its lock.
//! - rows whose mark no snapshot is older than.
//!
//! Standbys are told before: their snapshots may be older than all of the primary's.
use super::progress::Vacuum;
use crate::pg::toast::{Toast, Version, XactStatus};
use crate::pg::vacuum::{full, is_near_wraparound};
use crate::pg::{self, compat};
use crate::store::directory::FoundSegment;
use crate::store::entry::{Anchor, SegmentState};
use crate::store::registration_lock::{Mode, RegistrationLock};
use crate::store::tid::RowNumber;
use crate::store::vacuumed_rows::{self, VacuumedRows};
use crate::store::{
    delete_bitmaps::{self, slice_of},
    directory,
};
use doris_storage::delete_bitmap::SLICE_ROWS;
use pgrx::{pg_guard, pg_sys};
use std::collections::HashMap;

/// VACUUM scans indexes only for this part of the rows, or for whole segments.
const DEAD_ROWS_DIVISOR: u64 = 50;
const SLICE_WORDS: usize = SLICE_ROWS as usize / 64;

/// Rows that are dead to everybody.
struct DeadRows {
    /// Row numbers of no segment, ascending: from, to (exclusive).
    ranges: Vec<(u64, u64)>,
    /// Rows of segments by slice, a bit each.
    slices: HashMap<u64, Box<[u64; SLICE_WORDS]>>,
    /// The newest transaction that made one of them dead.
    newest: pg_sys::TransactionId,
    /// Marks of transactions from the horizon of the last VACUUM on.
    new_marks: u64,
    /// Rows of segments.
    rows: u64,
}

impl DeadRows {
    fn holds(&self, row: u64) -> bool {
        let at = self.ranges.partition_point(|range| range.1 <= row);
        if self.ranges.get(at).is_some_and(|range| range.0 <= row) {
            return true;
        }
        let position = (row % u64::from(SLICE_ROWS)) as usize;
        let slice = self.slices.get(&slice_of(row));
        slice.is_some_and(|bits| bits[position / 64] >> (position % 64) & 1 == 1)
    }

    fn add(&mut self, row: u64) {
        let position = (row % u64::from(SLICE_ROWS)) as usize;
        let slice = self.slices.entry(slice_of(row));
        let bits = slice.or_insert_with(|| Box::new([0; SLICE_WORDS]));
        bits[position / 64] |= 1 << (position % 64);
    }

    /// Adds rows that a mark makes dead, if it does so for everybody.
    fn mark(&mut self, rel: pg_sys::Relation, version: &Version, rows: &[u64], before: u64) {
        let xid = version.raw_xmin();
        if !version.frozen() {
            // SAFETY: an open relation.
            let removable = || unsafe { pg_sys::GlobalVisCheckRemovableXid(rel, xid) };
            if version.writer_status() != XactStatus::Committed || !removable() {
                return;
            }
            self.note(xid);
            self.new_marks += if full(xid) >= before {
                rows.len() as u64
            } else {
                0
            };
        }
        rows.iter().for_each(|row| self.add(*row));
    }

    fn note(&mut self, xid: pg_sys::TransactionId) {
        // SAFETY: plain comparison.
        let newer = self.newest == pg_sys::InvalidTransactionId
            || unsafe { pg_sys::TransactionIdFollows(xid, self.newest) };
        if newer {
            self.newest = xid;
        }
    }
}

/// Removes index entries of dead segment rows.
///
/// # Safety
/// Called by VACUUM, with its lock on the open relation.
pub unsafe fn indexes(
    rel: pg_sys::Relation,
    params: &pg_sys::VacuumParams,
    strategy: pg_sys::BufferAccessStrategy,
) {
    use pg_sys::VacOptValue::*;
    let indexes = cleanable(rel);
    if indexes.is_empty() || params.index_cleanup == VACOPTVALUE_DISABLED {
        return;
    }
    let Some(toast) = Toast::open(rel, pg_sys::RowExclusiveLock as i32) else {
        return;
    };
    // To note for the first time what was removed takes a transaction id: VACUUM is there to save them.
    if is_near_wraparound() && !vacuumed_rows::is_noted(&toast) {
        return;
    }
    // SAFETY: an open relation.
    let horizon = full(unsafe { pg_sys::GetOldestNonRemovableTransactionId(rel) });
    let before = vacuumed_rows::read(rel, &toast);
    let dead = collect(rel, &toast, before.horizon);
    let new_ranges = dead.ranges.iter().any(|range| !before.covers(*range));
    let enough = match params.index_cleanup {
        VACOPTVALUE_ENABLED => dead.new_marks > 0,
        _ => dead.new_marks * DEAD_ROWS_DIVISOR > dead.rows,
    };
    if !new_ranges && !enough {
        return;
    }
    if dead.newest != pg_sys::InvalidTransactionId {
        compat::log_conflict(rel, full(dead.newest));
    }
    let progress = Vacuum::begin(rel);
    for index in indexes {
        // SAFETY: passed on to the caller.
        unsafe { clean(rel, index, &dead, params, strategy) };
    }
    progress.end();
    let done = VacuumedRows {
        horizon,
        ranges: dead.ranges,
    };
    vacuumed_rows::write(&toast, &done);
}

/// The indexes that hold segment rows.
fn cleanable(rel: pg_sys::Relation) -> Vec<pg_sys::Oid> {
    // SAFETY: an open relation; its indexes are closed again, their locks stay.
    unsafe {
        let list = pgrx::PgList::<pg_sys::Oid>::from_pg(pg_sys::RelationGetIndexList(rel));
        list.iter_oid()
            .filter(|oid| {
                let index = pg_sys::index_open(*oid, pg_sys::RowExclusiveLock as i32);
                let of_key = super::index::is_of_key(rel, index);
                pg_sys::index_close(index, pg_sys::NoLock as i32);
                !of_key
            })
            .collect()
    }
}

fn collect(rel: pg_sys::Relation, toast: &Toast, before: u64) -> DeadRows {
    let mut dead = DeadRows {
        ranges: Vec::new(),
        slices: HashMap::new(),
        newest: pg_sys::InvalidTransactionId,
        new_marks: 0,
        rows: 0,
    };
    let registration = RegistrationLock::acquire(toast, Mode::Exclusive);
    let end = directory::rows_end(rel, toast);
    let all = directory::all(rel, toast, &raw mut pg_sys::SnapshotAnyData);
    drop(registration);
    let mut at = 0;
    let mut left = Vec::new();
    for found in all {
        if found.writer == XactStatus::Aborted {
            continue;
        }
        if found.is_gone(rel) {
            found.deleter.iter().for_each(|(xid, _)| dead.note(*xid));
            continue;
        }
        if at < found.entry.first_row {
            dead.ranges.push((at, found.entry.first_row));
        }
        at = at.max(found.entry.first_row + found.entry.capacity);
        dead.rows += u64::from(found.entry.rows);
        left.push(found);
    }
    if at < end {
        dead.ranges.push((at, end));
    }
    let sealed = |found: &&FoundSegment| found.entry.state == SegmentState::Sealed;
    for found in left.iter().filter(sealed) {
        marks(rel, toast, found, &mut dead, before);
    }
    dead
}

/// Adds the rows of a segment whose marks are settled for everybody.
fn marks(
    rel: pg_sys::Relation,
    toast: &Toast,
    found: &FoundSegment,
    dead: &mut DeadRows,
    before: u64,
) {
    let first = found.entry.first_row;
    let end = first + u64::from(found.entry.rows);
    crate::compact::merge::each_anchor(toast, first, end, |row, version| {
        let anchor =
            Anchor::decode(version.payload()).unwrap_or_else(|e| pg::report_corrupt(rel, e));
        if anchor != Anchor::Live {
            dead.mark(rel, version, &[row], before);
        }
        pgrx::check_for_interrupts!();
        true
    });
    delete_bitmaps::each(rel, toast, first, end, |version, slice| {
        let mut rows = Vec::new();
        slice.each(|row| {
            if (first..end).contains(&row) {
                rows.push(row);
            }
        });
        dead.mark(rel, version, &rows, before);
        pgrx::check_for_interrupts!();
        true
    });
}

unsafe fn clean(
    rel: pg_sys::Relation,
    index: pg_sys::Oid,
    dead: &DeadRows,
    params: &pg_sys::VacuumParams,
    strategy: pg_sys::BufferAccessStrategy,
) {
    // SAFETY: an index of the open relation; the callback and its state live as long as the calls. No destructor is
    // needed between them.
    unsafe {
        let index = pg_sys::index_open(index, pg_sys::RowExclusiveLock as i32);
        if (*(*index).rd_index).indisready {
            let verbose = params.options & pg_sys::VACOPT_VERBOSE != 0;
            let mut info = pg_sys::IndexVacuumInfo {
                index,
                estimated_count: true,
                message_level: if verbose {
                    pg_sys::INFO
                } else {
                    pg_sys::DEBUG2
                } as i32,
                num_heap_tuples: f64::from((*(*rel).rd_rel).reltuples.max(0.0)),
                strategy,
                ..Default::default()
            };
            compat::set_heap(&mut info, rel);
            let state = std::ptr::from_ref(dead).cast_mut().cast();
            let none = std::ptr::null_mut();
            let stats = pg_sys::index_bulk_delete(&mut info, none, Some(is_dead), state);
            let stats = pg_sys::index_vacuum_cleanup(&mut info, stats);
            if !stats.is_null() {
                pg_sys::pfree(stats.cast());
            }
        }
        pg_sys::index_close(index, pg_sys::NoLock as i32);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn is_dead(
    tid: pg_sys::ItemPointer,
    state: *mut std::ffi::c_void,
) -> bool {
    // SAFETY: PostgreSQL's TID, and the state that `clean` passed.
    let (row, dead) = unsafe {
        (
            RowNumber::from_tid(&*tid),
            &*state.cast_const().cast::<DeadRows>(),
        )
    };
    row.is_some_and(|row| dead.holds(row.0))
}
