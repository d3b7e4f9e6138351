// SPDX-License-Identifier: Apache-2.0
//! What somebody has done to a segment row, by the latest state: open transactions included.
use crate::pg;
use crate::pg::toast::{Toast, XactStatus};
use crate::store::delete_bitmaps::{self, Deleter, MarkKind};
use crate::store::entry::Anchor;
use crate::store::tid::{tid, RowNumber};
use crate::store::{chunk_ids, successors};
use pgrx::pg_sys;

/// The state of one segment row at a moment.
#[derive(Debug)]
pub(super) enum LatestState {
    /// Nobody has touched it.
    Free,
    /// It has a live anchor, which may be locked.
    Anchored(pg_sys::ItemPointerData),
    /// It has a live anchor, which an open transaction is about to remove as nobody has locked it
    /// ([`super::super::unused_anchors`]).
    Leaving(pg_sys::TransactionId),
    /// Somebody deleted or updated it.
    Gone(Deleter, Anchor),
}

pub(super) fn latest_state(main: pg_sys::Relation, toast: &Toast, row: RowNumber) -> LatestState {
    let state = anchor_state(main, toast, row);
    if matches!(state, LatestState::Gone(..)) {
        return state;
    }
    match latest_in_bulk(main, toast, row) {
        Some((deleter, how)) => LatestState::Gone(deleter, how),
        None => state,
    }
}

/// Who has deleted or updated a row in bulk, and what became of it.
pub(super) fn latest_in_bulk(
    main: pg_sys::Relation,
    toast: &Toast,
    row: RowNumber,
) -> Option<(Deleter, Anchor)> {
    let (deleter, what) = delete_bitmaps::latest(main, toast, row)?;
    if what == MarkKind::Deleted {
        return Some((deleter, Anchor::Deleted));
    }
    let how = match successors::of(main, toast, row, deleter.xid) {
        Some((block, offset)) => Anchor::KeyKept(block, offset),
        // All are filed before their transaction commits.
        None if deleter.status == XactStatus::Committed => {
            pg::report_corrupt(main, format!("no next version of updated row {}", row.0))
        }
        None => Anchor::Updating,
    };
    Some((deleter, how))
}

/// The state of a row but for bulk deletes.
pub(super) fn anchor_state(main: pg_sys::Relation, toast: &Toast, row: RowNumber) -> LatestState {
    let (chunk_id, seq) = chunk_ids::anchor(row.0);
    let mut state = LatestState::Free;
    toast.scan(chunk_id, seq, seq, false, |version| {
        let anchor =
            Anchor::decode(version.payload()).unwrap_or_else(|e| pg::report_corrupt(main, e));
        if anchor == Anchor::Live {
            match version.deleter() {
                None | Some((_, XactStatus::Aborted)) => {
                    state = LatestState::Anchored(version.tid())
                }
                Some((xid, XactStatus::InProgress)) => state = LatestState::Leaving(xid),
                // It has become a tombstone, which is met, too, or was removed.
                Some((_, XactStatus::Own | XactStatus::Committed)) => {}
            }
            return true;
        }
        match Deleter::of(version) {
            Some(deleter) => {
                state = LatestState::Gone(deleter, anchor);
                false
            }
            None => true,
        }
    });
    state
}

pub(super) fn is_gone(main: pg_sys::Relation, toast: &Toast, row: RowNumber) -> bool {
    matches!(latest_state(main, toast, row), LatestState::Gone(..))
}

/// The live anchor of a row, which may be about to become a tombstone.
pub(super) fn live_anchor(toast: &Toast, row: RowNumber) -> Option<pg_sys::ItemPointerData> {
    let (chunk_id, seq) = chunk_ids::anchor(row.0);
    let mut at = None;
    toast.scan(chunk_id, seq, seq, false, |version| {
        let replaced = version
            .deleter()
            .is_some_and(|(_, status)| status == XactStatus::Committed);
        if matches!(Anchor::decode(version.payload()), Ok(Anchor::Live)) && !replaced {
            at = Some(version.tid());
        }
        at.is_none()
    });
    at
}

/// The next version of a row that is updated, committed or not, for following `ctid` chains.
pub fn next_version(
    main: pg_sys::Relation,
    toast: &Toast,
    row: RowNumber,
) -> Option<pg_sys::ItemPointerData> {
    match latest_state(main, toast, row) {
        LatestState::Gone(_, how @ (Anchor::Updated(..) | Anchor::KeyKept(..))) => {
            Some(successor(row, how))
        }
        _ => None,
    }
}

/// The TID of the next version, as `t_ctid` would have it.
pub(super) fn successor(row: RowNumber, how: Anchor) -> pg_sys::ItemPointerData {
    match how {
        Anchor::Updated(block, offset) | Anchor::KeyKept(block, offset) => tid(block, offset),
        // The mark of heapam for a row that went to another partition (ItemPointerSetMovedPartitions).
        Anchor::MovedPartition => tid(u32::MAX, 0xfffd),
        _ => row.to_tid(),
    }
}
