// SPDX-License-Identifier: Apache-2.0
//! Claiming a row, to delete or to update it, and writing its tombstone.
use super::follow::{follow_move, is_retired};
use super::lock::{lock_anchor, since_lock, try_tuple_lock, tuple_lock, Since};
use super::state::{anchor_state, latest_state, LatestState};
use super::wait::wait_or_report;
use crate::pg::toast::{self, Toast, XactStatus};
use crate::pg::{self, key_share};
use crate::store::delete_bitmaps::{self, Deleter};
use crate::store::entry::Anchor;
use crate::store::registration_lock::{Mode, RegistrationLock};
use crate::store::tid::{tid, RowNumber};
use crate::store::{chunk_ids, directory_cache};
use pg_sys::TM_Result::{self, TM_Ok};
use pgrx::pg_sys;

/// A writer's or locker's request for a row.
#[derive(Clone, Copy)]
pub struct Request {
    /// The command that asks.
    pub cid: pg_sys::CommandId,
    /// Block, skip or fail when another transaction holds the row.
    pub wait: pg_sys::LockWaitPolicy::Type,
    /// What a waiter is shown to be doing.
    pub oper: pg_sys::XLTW_Oper::Type,
}

/// A row that this transaction may delete or update: nobody else can until it ends.
pub enum Claim {
    /// No anchor; the registration lock and the tuple lock on the row's TID are held until [`write_tombstone`] or
    /// [`release`].
    Free(RegistrationLock),
    /// Its live anchor, exclusively locked.
    Anchored(pg_sys::ItemPointerData),
}

/// Claims a row for deleting or updating it; otherwise says why not, as `table_tuple_delete` would, with
/// `tmfd` filled in. A row that compaction has moved is claimed where it is now, and `row` becomes that.
pub fn claim(
    main: pg_sys::Relation,
    toast: &Toast,
    row: &mut RowNumber,
    request: Request,
    tmfd: &mut pg_sys::TM_FailureData,
) -> Result<Claim, TM_Result::Type> {
    let mode = pg_sys::LockTupleMode::LockTupleExclusive;
    claim_as(main, toast, row, request, mode, tmfd)
}

/// As [`claim`], with the row lock that the change needs.
pub fn claim_as(
    main: pg_sys::Relation,
    toast: &Toast,
    row: &mut RowNumber,
    request: Request,
    mode: pg_sys::LockTupleMode::Type,
    tmfd: &mut pg_sys::TM_FailureData,
) -> Result<Claim, TM_Result::Type> {
    if let Some(claim) = claim_untouched(main, toast, *row) {
        return Ok(claim);
    }
    loop {
        match latest_state(main, toast, *row) {
            LatestState::Gone(deleter, how) => {
                wait_or_report(main, *row, request, tmfd, (deleter, how))?
            }
            _ if follow_move(main, toast, row, request, tmfd)? => {}
            LatestState::Anchored(anchor) => {
                if lock_anchor(main, toast, anchor, request, mode, tmfd)? {
                    match since_lock(main, toast, *row) {
                        Since::Nothing => return Ok(Claim::Anchored(anchor)),
                        Since::Deleted(by, how) => {
                            wait_or_report(main, *row, request, tmfd, (by, how))?
                        }
                        Since::Retired => {}
                    }
                }
            }
            LatestState::Leaving(xid) => toast::wait_for(xid, main, row.to_tid(), request.oper),
            LatestState::Free => {
                tuple_lock(main, *row, true);
                let registration = RegistrationLock::acquire(toast, Mode::Shared);
                if matches!(latest_state(main, toast, *row), LatestState::Free)
                    && !is_retired(main, toast, *row)
                {
                    return Ok(Claim::Free(registration));
                }
                drop(registration);
                tuple_lock(main, *row, false);
            }
        }
    }
}

/// Claims a row of a settled segment that nobody has touched, which is what most are, with one look. `None`: look
/// closer.
fn claim_untouched(main: pg_sys::Relation, toast: &Toast, row: RowNumber) -> Option<Claim> {
    if !try_tuple_lock(main, row) {
        return None;
    }
    let registration = RegistrationLock::acquire(toast, Mode::Shared);
    let untouched = directory_cache::settled_now(&registration, main, toast, row).is_some()
        && directory_cache::is_bulk_deleted(&registration, main, toast, row) == Some(false)
        && matches!(anchor_state(main, toast, row), LatestState::Free);
    if untouched {
        return Some(Claim::Free(registration));
    }
    drop(registration);
    tuple_lock(main, row, false);
    None
}

/// The state of a row, as the holder of the registration lock finds it.
pub enum RowState {
    /// Nobody has touched it: it can be claimed with [`Claim::Free`], and the tuple lock on its TID is held.
    Free,
    /// It is deleted or updated.
    Dead,
    /// An open transaction has deleted or updated it.
    Open(pg_sys::TransactionId),
    /// Somebody is at it, or it may be locked: [`claim`] knows more, without the registration lock.
    Held,
}

/// Looks at a row of a settled segment, to claim it. Never waits.
pub fn row_state(
    registration: &RegistrationLock,
    main: pg_sys::Relation,
    toast: &Toast,
    row: RowNumber,
) -> RowState {
    match directory_cache::is_bulk_deleted(registration, main, toast, row) {
        Some(true) => return RowState::Dead,
        Some(false) => {}
        None => {
            if let Some((deleter, _)) = delete_bitmaps::latest(main, toast, row) {
                return state_after(deleter);
            }
        }
    }
    if !try_tuple_lock(main, row) {
        return RowState::Held;
    }
    let state = match anchor_state(main, toast, row) {
        LatestState::Free => return RowState::Free,
        LatestState::Anchored(_) | LatestState::Leaving(_) => RowState::Held,
        LatestState::Gone(deleter, _) => state_after(deleter),
    };
    tuple_lock(main, row, false);
    state
}

fn state_after(deleter: Deleter) -> RowState {
    match deleter.status {
        XactStatus::InProgress => RowState::Open(deleter.xid),
        _ => RowState::Dead,
    }
}

/// Writes the tombstone of a claimed row.
pub fn write_tombstone(
    main: pg_sys::Relation,
    toast: &Toast,
    row: RowNumber,
    claim: Claim,
    how: Anchor,
    cid: pg_sys::CommandId,
) {
    let key = chunk_ids::anchor(row.0);
    crate::compact::shared_state::count_marks(main, 1);
    match claim {
        Claim::Free(registration) => {
            toast.insert(key, &how.encode(), cid, 0, std::ptr::null_mut());
            drop(registration);
            tuple_lock(main, row, false);
        }
        Claim::Anchored(anchor) => {
            let result = toast.update(anchor, key, &how.encode(), cid);
            if result != TM_Ok {
                pgrx::error!(
                    "could not mark a locked row of \"{}\" deleted: {result}",
                    pg::relation_name(main)
                );
            }
            if let Anchor::KeyKept(block, offset) = how {
                carry_over(main, toast, key, tid(block, offset));
            }
        }
    }
}

/// Gives the next version of a row, which this transaction has just made, the KEY SHARE locks of others: those that the
/// tombstone got from the anchor. Whoever comes later finds the tombstone.
fn carry_over(
    main: pg_sys::Relation,
    toast: &Toast,
    (chunk_id, seq): (u32, i32),
    next: pg_sys::ItemPointerData,
) {
    let mut lockers = Vec::new();
    toast.scan(chunk_id, seq, seq, false, |version| {
        let mark = Anchor::decode(version.payload());
        if !matches!(mark, Ok(Anchor::Live)) && version.writer_status() == XactStatus::Own {
            lockers.extend(version.key_sharers());
        }
        true
    });
    // SAFETY: plain call.
    let maker = unsafe { pg_sys::GetCurrentTransactionId() };
    for locker in lockers {
        if key_share::add(main, next, maker, locker) != key_share::Added::Done {
            pgrx::error!(
                "could not keep the row locks of an updated row of \"{}\"",
                pg::relation_name(main)
            );
        }
    }
}

/// Gives up a claim without marking the row. An exclusive lock on an anchor stays until the transaction ends.
pub fn release(main: pg_sys::Relation, row: RowNumber, claim: Claim) {
    if let Claim::Free(registration) = claim {
        drop(registration);
        tuple_lock(main, row, false);
    }
}
