// SPDX-License-Identifier: Apache-2.0
//! Row locks: they are on live anchors, and beside an update that leaves the key alone on the next version, too.
use super::claim::Request;
use super::follow::{follow_move, is_retired};
use super::state::{is_gone, latest_in_bulk, latest_state, live_anchor, LatestState};
use super::wait::{report_busy, wait_or_report};
use crate::pg::toast::{self, Toast, XactStatus, INSERT_FROZEN};
use crate::pg::{compat, heapam, key_share};
use crate::store::delete_bitmaps::Deleter;
use crate::store::entry::Anchor;
use crate::store::registration_lock::{Mode, RegistrationLock};
use crate::store::tid::{tid, RowNumber};
use crate::store::{chunk_ids, moves};
use pg_sys::TM_Result::{self, TM_Deleted, TM_Ok, TM_SelfModified, TM_Updated, TM_WouldBlock};
use pgrx::pg_sys;

/// Locks a row as SELECT ... FOR does. Fills `tmfd` when the answer is not `TM_Ok`. A row that compaction has moved
/// is locked where it is now, and `row` becomes that.
pub fn lock(
    main: pg_sys::Relation,
    toast: &Toast,
    row: &mut RowNumber,
    request: Request,
    mode: pg_sys::LockTupleMode::Type,
    tmfd: &mut pg_sys::TM_FailureData,
) -> TM_Result::Type {
    loop {
        let state = latest_state(main, toast, *row);
        if !matches!(state, LatestState::Gone(..)) {
            match follow_move(main, toast, row, request, tmfd) {
                Ok(true) => continue,
                Ok(false) => {}
                Err(result) => return result,
            }
        }
        if let Some(result) = lock_in_state(main, toast, *row, request, mode, state, tmfd) {
            return result;
        }
    }
}

/// Locks a row that was found in a state; `None` when it has to be looked at again.
fn lock_in_state(
    main: pg_sys::Relation,
    toast: &Toast,
    row: RowNumber,
    request: Request,
    mode: pg_sys::LockTupleMode::Type,
    state: LatestState,
    tmfd: &mut pg_sys::TM_FailureData,
) -> Option<TM_Result::Type> {
    match state {
        LatestState::Gone(by, how) if mode == KEY_SHARE => {
            lock_updated(main, toast, row, request, (by, how), tmfd)
        }
        LatestState::Gone(by, how) => wait_or_report(main, row, request, tmfd, (by, how)).err(),
        LatestState::Anchored(anchor) => {
            match lock_anchor(main, toast, anchor, request, mode, tmfd) {
                Ok(true) => lock_held(main, toast, row, request, mode, tmfd),
                Ok(false) => None,
                Err(result) => Some(result),
            }
        }
        LatestState::Leaving(xid) => {
            toast::wait_for(xid, main, row.to_tid(), request.oper);
            None
        }
        LatestState::Free => {
            add_anchor(main, toast, row, request.cid);
            None
        }
    }
}

/// Takes the lock of a foreign key's check on a row that is updated or deleted: an update that leaves the key alone
/// leaves room for it, on the next version.
fn lock_updated(
    main: pg_sys::Relation,
    toast: &Toast,
    row: RowNumber,
    request: Request,
    (by, how): (Deleter, Anchor),
    tmfd: &mut pg_sys::TM_FailureData,
) -> Option<TM_Result::Type> {
    match (how, by.status) {
        (Anchor::KeyKept(block, offset), XactStatus::InProgress) => {
            let next = (tid(block, offset), by.xid);
            match lock_beside(main, toast, row, request, next, tmfd) {
                Beside::Locked => Some(TM_Ok),
                Beside::Refused(result) => Some(result),
                Beside::Again => None,
                Beside::Busy => wait_or_report(main, row, request, tmfd, (by, how)).err(),
            }
        }
        (Anchor::Updating, XactStatus::InProgress) => {
            match lock_ahead(main, toast, row, request, by.xid, tmfd) {
                Ok(true) => Some(TM_Ok),
                Ok(false) => None,
                Err(result) => Some(result),
            }
        }
        (Anchor::KeyKept(block, offset), XactStatus::Committed) => {
            let next = (tid(block, offset), by.xid);
            let locked = lock_later(main, toast, next, request, tmfd);
            locked.or_else(|| wait_or_report(main, row, request, tmfd, (by, how)).err())
        }
        _ => wait_or_report(main, row, request, tmfd, (by, how)).err(),
    }
}

/// Judges a lock on an anchor by what became of the row while it was waited for.
fn lock_held(
    main: pg_sys::Relation,
    toast: &Toast,
    row: RowNumber,
    request: Request,
    mode: pg_sys::LockTupleMode::Type,
    tmfd: &mut pg_sys::TM_FailureData,
) -> Option<TM_Result::Type> {
    match since_lock(main, toast, row) {
        // An update that leaves the key alone may have come in between.
        Since::Nothing if mode == KEY_SHARE && is_gone(main, toast, row) => None,
        Since::Nothing => Some(TM_Ok),
        Since::Retired => None,
        // It need not wait for an update that leaves the key alone.
        Since::Deleted(_, Anchor::KeyKept(..) | Anchor::Updating) if mode == KEY_SHARE => None,
        Since::Deleted(by, how) => wait_or_report(main, row, request, tmfd, (by, how)).err(),
    }
}

/// Gives a row an anchor that can be locked, unless it has got one, or was retired, meanwhile.
fn add_anchor(main: pg_sys::Relation, toast: &Toast, row: RowNumber, cid: pg_sys::CommandId) {
    tuple_lock(main, row, true);
    let registration = RegistrationLock::acquire(toast, Mode::Shared);
    if matches!(latest_state(main, toast, row), LatestState::Free) && !is_retired(main, toast, row)
    {
        insert_live(main, toast, row, cid);
    }
    drop(registration);
    tuple_lock(main, row, false);
}

const KEY_SHARE: pg_sys::LockTupleMode::Type = pg_sys::LockTupleMode::LockTupleKeyShare;

fn insert_live(
    main: pg_sys::Relation,
    toast: &Toast,
    row: RowNumber,
    cid: pg_sys::CommandId,
) -> pg_sys::ItemPointerData {
    // Somebody has to remove it one day.
    crate::compact::shared_state::count_marks(main, 1);
    let payload = Anchor::Live.encode();
    let null = std::ptr::null_mut();
    toast.insert(chunk_ids::anchor(row.0), &payload, cid, INSERT_FROZEN, null)
}

/// What came of locking a row beside an open update of it.
enum Beside {
    Locked,
    /// Something has changed: look again.
    Again,
    /// The updater has more in store for it: as with any other change of the row.
    Busy,
    Refused(TM_Result::Type),
}

/// Locks a row FOR KEY SHARE that an open transaction has updated without touching its key: its live anchor, which
/// counts should that transaction roll back, and the versions that it has made.
fn lock_beside(
    main: pg_sys::Relation,
    toast: &Toast,
    row: RowNumber,
    request: Request,
    (next, maker): (pg_sys::ItemPointerData, pg_sys::TransactionId),
    tmfd: &mut pg_sys::TM_FailureData,
) -> Beside {
    let anchor = any_live_anchor(main, toast, row, request);
    match lock_anchor(main, toast, anchor, request, KEY_SHARE, tmfd) {
        Ok(true) => {}
        Ok(false) => return Beside::Again,
        Err(result) => return Beside::Refused(result),
    }
    // SAFETY: plain call.
    let locker = unsafe { pg_sys::GetCurrentTransactionId() };
    match key_share::add(main, next, maker, locker) {
        key_share::Added::Done => Beside::Locked,
        key_share::Added::Ended => Beside::Again,
        key_share::Added::Wait(_) => Beside::Busy,
    }
}

/// The live anchor of a row that is updated; made if there is none.
fn any_live_anchor(
    main: pg_sys::Relation,
    toast: &Toast,
    row: RowNumber,
    request: Request,
) -> pg_sys::ItemPointerData {
    live_anchor(toast, row).unwrap_or_else(|| {
        // There must not be two.
        tuple_lock(main, row, true);
        let registration = RegistrationLock::acquire(toast, Mode::Shared);
        let anchor =
            live_anchor(toast, row).unwrap_or_else(|| insert_live(main, toast, row, request.cid));
        drop(registration);
        tuple_lock(main, row, false);
        anchor
    })
}

/// Locks a row FOR KEY SHARE that `updater`, an open transaction, is updating in bulk without touching its key: its
/// anchor, from where the updater takes the lock along. `Ok(false)`: it did not see the lock any more, look again.
fn lock_ahead(
    main: pg_sys::Relation,
    toast: &Toast,
    row: RowNumber,
    request: Request,
    updater: pg_sys::TransactionId,
    tmfd: &mut pg_sys::TM_FailureData,
) -> Result<bool, TM_Result::Type> {
    let anchor = any_live_anchor(main, toast, row, request);
    if !lock_anchor(main, toast, anchor, request, KEY_SHARE, tmfd)? {
        return Ok(false);
    }
    let _registration = RegistrationLock::acquire(toast, Mode::Shared);
    let now = latest_in_bulk(main, toast, row);
    Ok(matches!(now, Some((by, Anchor::Updating)) if by.xid == updater))
}

/// Locks the later versions of a row FOR KEY SHARE, which `maker` has updated without touching its key, and has
/// committed: the row is as good as it was, as in a heap. `None` if its key was changed since.
fn lock_later(
    main: pg_sys::Relation,
    toast: &Toast,
    (next, maker): (pg_sys::ItemPointerData, pg_sys::TransactionId),
    request: Request,
    tmfd: &mut pg_sys::TM_FailureData,
) -> Option<TM_Result::Type> {
    let result = heapam::lock_key(main, next, maker, request.cid, request.wait, tmfd)?;
    if result != TM_Deleted {
        return [TM_Ok, TM_WouldBlock].contains(&result).then_some(result);
    }
    let mut moved = moves::of_heap_row(main, toast, &next, tmfd.xmax)?;
    let result = lock(main, toast, &mut moved, request, KEY_SHARE, tmfd);
    [TM_Ok, TM_WouldBlock].contains(&result).then_some(result)
}

/// Takes a heap row lock on a live anchor. `Ok(false)`: it became a tombstone meanwhile, look again.
#[allow(non_upper_case_globals)] // PostgreSQL's names
pub(super) fn lock_anchor(
    main: pg_sys::Relation,
    toast: &Toast,
    anchor: pg_sys::ItemPointerData,
    request: Request,
    mode: pg_sys::LockTupleMode::Type,
    tmfd: &mut pg_sys::TM_FailureData,
) -> Result<bool, TM_Result::Type> {
    // NOWAIT is asked for as SKIP LOCKED, so that the error can name the table instead of its TOAST relation.
    let nowait = request.wait == pg_sys::LockWaitPolicy::LockWaitError;
    let wait = if nowait {
        pg_sys::LockWaitPolicy::LockWaitSkip
    } else {
        request.wait
    };
    // SAFETY: the TOAST relation is open; the tuple and buffer are out parameters, the pin is released.
    let (result, remover) = unsafe {
        let mut tuple = std::mem::zeroed::<pg_sys::HeapTupleData>();
        tuple.t_self = anchor;
        let mut buffer = 0;
        let result = pg_sys::heap_lock_tuple(
            toast.rel,
            &mut tuple,
            request.cid,
            mode,
            wait,
            false,
            &mut buffer,
            tmfd,
        );
        let remover = match result {
            TM_WouldBlock if buffer != 0 => {
                let mut header = heapam::header_of(&mut tuple, buffer);
                tuple.t_data = &mut header;
                heapam::remover(&tuple)
            }
            _ => None,
        };
        if buffer != 0 {
            pg_sys::ReleaseBuffer(buffer);
        }
        (result, remover)
    };
    if let Some(xid) = remover {
        // Nobody has locked it.
        toast::wait_for(xid, main, anchor, request.oper);
        return Ok(false);
    }
    match result {
        TM_Ok => Ok(true),
        TM_Updated | TM_SelfModified | TM_Deleted => Ok(false),
        TM_WouldBlock if nowait => report_busy(main),
        other => Err(other),
    }
}

/// What became of a row until its anchor was locked.
pub(super) enum Since {
    Nothing,
    Deleted(Deleter, Anchor),
    Retired,
}

/// Looks for who came before a lock on a row's anchor without having seen it. Later ones see the lock.
pub(super) fn since_lock(main: pg_sys::Relation, toast: &Toast, row: RowNumber) -> Since {
    let _registration = RegistrationLock::acquire(toast, Mode::Shared);
    match latest_in_bulk(main, toast, row) {
        Some((deleter, how)) => Since::Deleted(deleter, how),
        None if is_retired(main, toast, row) => Since::Retired,
        None => Since::Nothing,
    }
}

pub(super) fn tuple_lock(main: pg_sys::Relation, row: RowNumber, take: bool) {
    let mut tid = row.to_tid();
    let mode = pg_sys::ExclusiveLock as i32;
    // SAFETY: open relation; the TID is on our stack.
    unsafe {
        if take {
            pg_sys::LockTuple(main, &mut tid, mode);
        } else {
            pg_sys::UnlockTuple(main, &mut tid, mode);
        }
    }
}

pub(super) fn try_tuple_lock(main: pg_sys::Relation, row: RowNumber) -> bool {
    let mut tid = row.to_tid();
    let mode = pg_sys::ExclusiveLock as i32;
    // SAFETY: open relation; the TID is on our stack.
    unsafe { compat::try_lock_tuple(main, &mut tid, mode) }
}
