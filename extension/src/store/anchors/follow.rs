// SPDX-License-Identifier: Apache-2.0
//! Rows that compaction takes elsewhere, while somebody wants to change them or looks for them with an older snapshot.
use super::claim::Request;
use super::state::{latest_state, LatestState};
use super::visibility::alive;
use crate::pg::heapam;
use crate::pg::toast::{self, Toast, XactStatus};
use crate::store::tid::RowNumber;
use crate::store::{directory, moves};
use pg_sys::TM_Result::{self, TM_Deleted};
use pgrx::pg_sys;

/// Who has retired, or is retiring, the segment of a row.
fn retirer(
    main: pg_sys::Relation,
    toast: &Toast,
    row: RowNumber,
) -> Option<(pg_sys::TransactionId, XactStatus)> {
    let any = &raw mut pg_sys::SnapshotAnyData;
    let deleter = directory::owner(main, toast, row.0, any)?.deleter;
    deleter.filter(|(_, status)| *status != XactStatus::Aborted)
}

pub(super) fn is_retired(main: pg_sys::Relation, toast: &Toast, row: RowNumber) -> bool {
    retirer(main, toast, row).is_some()
}

/// Goes where compaction has taken a row that is not deleted, waiting for a compaction that is about to finish.
/// False when there is nothing to follow.
pub(super) fn follow_move(
    main: pg_sys::Relation,
    toast: &Toast,
    row: &mut RowNumber,
    request: Request,
    tmfd: &mut pg_sys::TM_FailureData,
) -> Result<bool, TM_Result::Type> {
    match retirer(main, toast, *row) {
        None => Ok(false),
        Some((xid, XactStatus::InProgress)) => {
            // Also for who would not wait for a lock: nobody has locked the row, it is changing places.
            toast::wait_for(xid, main, row.to_tid(), request.oper);
            Ok(true)
        }
        Some((xid, _)) => {
            // Whoever marked the row before it was retired has the last word of the old place.
            if matches!(latest_state(main, toast, *row), LatestState::Gone(..)) {
                return Ok(true);
            }
            match moves::of_row(main, toast, *row) {
                Some(next) => {
                    *row = next;
                    Ok(true)
                }
                None => {
                    tmfd.ctid = row.to_tid();
                    tmfd.xmax = xid;
                    tmfd.cmax = pg_sys::InvalidCommandId;
                    tmfd.traversed = false;
                    Err(TM_Deleted)
                }
            }
        }
    }
}

/// Whether a snapshot sees a row, be it where the row was before compaction moved it.
pub fn seen_before_moves(
    main: pg_sys::Relation,
    toast: &Toast,
    row: RowNumber,
    snapshot: pg_sys::Snapshot,
) -> bool {
    let mut row = row;
    loop {
        let Some(found) = directory::owner(main, toast, row.0, snapshot) else {
            return false;
        };
        if found.visible {
            return alive(main, toast, row, snapshot);
        }
        if found.entry.level == 0 {
            return false;
        }
        match moves::origin(main, toast, row, found.xmin) {
            Some(moves::Origin::Heap(tid)) => return heapam::sees(main, &tid, snapshot),
            Some(moves::Origin::Row(before)) => row = before,
            None => return false,
        }
    }
}
