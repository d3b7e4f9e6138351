// SPDX-License-Identifier: Apache-2.0
//! Which rows a snapshot sees.
use super::state::{latest_state, LatestState};
use crate::pg::toast::{Toast, Version, XactStatus};
use crate::pg::{compat, raw};
use crate::store::delete_bitmaps::{self, Deleter};
use crate::store::entry::Anchor;
use crate::store::tid::RowNumber;
use crate::store::{anchor_cache, changes_after_move, chunk_ids, directory_cache};
use doris_storage::delete_bitmap::Marks;
use pgrx::pg_sys;

/// Whether a snapshot sees a row of a segment that it sees. A dirty snapshot gets the xmax of a deleter that
/// is still open. `None` for `SnapshotAny`-like snapshots means: seen.
pub fn alive(
    main: pg_sys::Relation,
    toast: &Toast,
    row: RowNumber,
    snapshot: pg_sys::Snapshot,
) -> bool {
    let mut deleted_by = pg_sys::InvalidTransactionId;
    is_visible(main, toast, row, snapshot, &mut deleted_by)
}

/// As [`alive`]; where the row is dead, `deleted_by` becomes the transaction that deleted it.
pub fn is_visible(
    main: pg_sys::Relation,
    toast: &Toast,
    row: RowNumber,
    snapshot: pg_sys::Snapshot,
    deleted_by: &mut pg_sys::TransactionId,
) -> bool {
    // SAFETY: a valid snapshot of the caller.
    let kind = unsafe { (*snapshot).snapshot_type };
    if matches!(
        kind,
        pg_sys::SnapshotType::SNAPSHOT_ANY | pg_sys::SnapshotType::SNAPSHOT_NON_VACUUMABLE
    ) {
        return true;
    }
    if kind == pg_sys::SnapshotType::SNAPSHOT_DIRTY {
        return match latest_state(main, toast, row) {
            LatestState::Gone(deleter, _) if deleter.status == XactStatus::InProgress => {
                // SAFETY: dirty snapshots are the caller's own struct, written by design.
                unsafe { (*snapshot).xmax = deleter.xid };
                true
            }
            LatestState::Gone(deleter, _) => {
                *deleted_by = deleter.xid;
                false
            }
            _ => true,
        };
    }
    compat::refuse_old_snapshot(main, snapshot);
    let mvcc = raw::is_mvcc(snapshot);
    if !(mvcc && anchor_cache::has_none(toast, row))
        && has_visible_tombstone(main, toast, row, snapshot, deleted_by)
    {
        return false;
    }
    let deleter = match mvcc && directory_cache::is_surely_not_bulk_deleted(main, toast, row) {
        true => None,
        false => delete_bitmaps::seen(main, toast, row, snapshot),
    };
    if let Some(xid) = deleter {
        *deleted_by = xid;
        return false;
    }
    changes_after_move::changed(main, &row.to_tid(), snapshot).is_none()
}

/// Whether a row has a tombstone of its own that a snapshot sees.
fn has_visible_tombstone(
    main: pg_sys::Relation,
    toast: &Toast,
    row: RowNumber,
    snapshot: pg_sys::Snapshot,
    deleted_by: &mut pg_sys::TransactionId,
) -> bool {
    let (chunk_id, seq) = chunk_ids::anchor(row.0);
    let mut alive = true;
    toast.scan(chunk_id, seq, seq, false, |version| {
        let tombstone = !matches!(Anchor::decode(version.payload()), Ok(Anchor::Live));
        if tombstone {
            if version.visible(snapshot) {
                alive = false;
                *deleted_by = version.raw_xmin();
            } else if version.writer_status() != XactStatus::Aborted {
                raw::conflict_out(main, version.raw_xmin(), snapshot);
            }
        }
        alive
    });
    !alive
}

/// Positions, relative to `first_row`, of rows that a snapshot no longer sees; ascending.
pub fn dead_positions(
    main: pg_sys::Relation,
    toast: &Toast,
    first_row: u64,
    rows: u32,
    snapshot: pg_sys::Snapshot,
) -> Vec<u32> {
    dead_rows(main, toast, first_row, rows, snapshot).positions()
}

/// The rows of which [`dead_positions`] gives the positions.
fn dead_rows(
    main: pg_sys::Relation,
    toast: &Toast,
    first_row: u64,
    rows: u32,
    snapshot: pg_sys::Snapshot,
) -> Marks {
    let mut dead = dead_rows_of(main, toast, &[(first_row, rows)], snapshot);
    dead.pop().unwrap_or_default()
}

/// As [`dead_rows`], for several segments at once: their first rows, ascending, and how many they have. What lies
/// between them is passed over.
pub fn dead_rows_of(
    main: pg_sys::Relation,
    toast: &Toast,
    segments: &[(u64, u32)],
    snapshot: pg_sys::Snapshot,
) -> Vec<Marks> {
    compat::refuse_old_snapshot(main, snapshot);
    let none = |(first, rows): &(u64, u32)| Marks::new(*first, *rows);
    let mut dead: Vec<Marks> = segments.iter().map(none).collect();
    // SAFETY: a valid snapshot of the caller.
    let kind = unsafe { (*snapshot).snapshot_type };
    let everything = matches!(
        kind,
        pg_sys::SnapshotType::SNAPSHOT_ANY | pg_sys::SnapshotType::SNAPSHOT_NON_VACUUMABLE
    );
    let (Some((start, _)), Some((last, rows)), false) =
        (segments.first(), segments.last(), everything)
    else {
        // Every row is wanted, as in `alive`: an index must hold what an older snapshot sees.
        return dead;
    };
    let end = last + u64::from(*rows);
    let place = |row: u64| {
        let at = segments.partition_point(|(first, _)| *first <= row);
        let at = at.checked_sub(1)?;
        let position = row - segments[at].0;
        (position < u64::from(segments[at].1)).then_some((at, position as u32))
    };
    let mut at = *start;
    // They may straddle two chunk_ids.
    while at < end {
        let stop = end.min((at >> 31 << 31) + (1 << 31));
        let (chunk_id, low) = chunk_ids::anchor(at);
        let high = chunk_ids::anchor(stop - 1).1;
        toast.scan(chunk_id, low, high, false, |version| {
            let Some((segment, position)) = place(at + (version.seq() - low) as u64) else {
                return true;
            };
            if matches!(Anchor::decode(version.payload()), Ok(Anchor::Live)) {
                return true;
            }
            if version.visible(snapshot) {
                dead[segment].add(position);
            } else if raw::is_mvcc(snapshot) && version.writer_status() != XactStatus::Aborted {
                raw::conflict_out(main, version.raw_xmin(), snapshot);
            }
            true
        });
        at = stop;
    }
    delete_bitmaps::add_seen(main, toast, segments, snapshot, &mut dead);
    for ((first, rows), dead) in segments.iter().zip(&mut dead) {
        let end = first + u64::from(*rows);
        changes_after_move::add_changed(main, (*first, end), snapshot, dead);
    }
    dead
}

/// Whether no more than `most` anchors and tombstones are stored for a segment's rows, dead ones included.
pub fn has_few(toast: &Toast, first_row: u64, rows: u32, most: usize) -> bool {
    let (mut at, end) = (first_row, first_row + u64::from(rows));
    let mut met = 0;
    while at < end && met <= most {
        let stop = end.min((at >> 31 << 31) + (1 << 31));
        let (chunk_id, low) = chunk_ids::anchor(at);
        let high = chunk_ids::anchor(stop - 1).1;
        toast.scan(chunk_id, low, high, false, |_| {
            met += 1;
            met <= most
        });
        at = stop;
    }
    met <= most
}

/// The last transaction that has deleted one of some rows, ascending, so far as a snapshot anywhere might not see it:
/// standbys have been told of marks that are frozen or gone, by the TOAST relation's own log.
pub fn latest_deleter(
    main: pg_sys::Relation,
    toast: &Toast,
    rows: &[RowNumber],
) -> pg_sys::TransactionId {
    let mut until = pg_sys::InvalidTransactionId;
    let mut note = |version: &Version| {
        let deleter = Deleter::of(version).filter(|_| !version.frozen());
        let deleter = deleter.map(|deleter| deleter.xid);
        // SAFETY: plain comparison.
        let later =
            |xid: &pg_sys::TransactionId| unsafe { pg_sys::TransactionIdFollows(*xid, until) };
        until = deleter.filter(later).unwrap_or(until);
    };
    for near in rows.chunk_by(|a, b| delete_bitmaps::slice_of(a.0) == delete_bitmaps::slice_of(b.0))
    {
        let (first, last) = (near[0].0, near[near.len() - 1].0);
        let (chunk_id, low) = chunk_ids::anchor(first);
        toast.scan(chunk_id, low, chunk_ids::anchor(last).1, false, |version| {
            let row = RowNumber(first + (version.seq() - low) as u64);
            let tombstone = !matches!(Anchor::decode(version.payload()), Ok(Anchor::Live));
            if tombstone && near.binary_search(&row).is_ok() {
                note(version);
            }
            true
        });
        delete_bitmaps::each(main, toast, first, last + 1, |version, slice| {
            if near.iter().any(|row| slice.contains(row.0)) {
                note(version);
            }
            true
        });
    }
    until
}
