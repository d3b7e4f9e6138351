// SPDX-License-Identifier: Apache-2.0
//! Deletes, updates and row locks of segment rows.
//!
//! A segment is immutable, so what happens to one of its rows is written beside it, in an *anchor*: a tuple
//! of the TOAST relation filed under the row's number.
//!
//! - A *tombstone* says that its inserter deleted the row (or updated it, with the TID of the next version).
//!   A snapshot that sees the tombstone does not see the row. Who finds the tombstone of an open transaction
//!   waits for that transaction, as a heap's writer waits for xmax.
//! - A *live* anchor has no meaning of its own; it is a heap tuple on which PostgreSQL's row locks of the
//!   row are taken (FOR KEY SHARE ... FOR UPDATE, multixacts included). It is inserted frozen, so that it is
//!   there for everybody at once and stays when its creator rolls back. Deleting a row that has one locks it
//!   exclusively and turns it into a tombstone.
//!
//! Whether a row has an anchor is decided under a brief tuple lock on the row's TID (`LockTuple`), which is
//! never held while waiting for a transaction. Rows may also be deleted in bulk ([`super::deletes`]): who is about
//! to mark a row, or has locked its anchor, looks for that with the gate held.
//!
//! An UPDATE that leaves the key alone lets FOR KEY SHARE pass, as in a heap: it claims the row FOR NO KEY UPDATE, and
//! its new version in the heap gets the KEY SHARE locks of the anchor ([`key_share`]). Who comes while it is open locks
//! both, the anchor for the case that it rolls back. Where such an update is made in bulk, the next version is not known
//! at first ([`Anchor::Updating`]): a FOR KEY SHARE lock that comes meanwhile is on the anchor alone, and the updater
//! takes it along ([`super::successors`]).
use super::deletes::{self, Deleter, What};
use super::entry::Anchor;
use super::gate::{Gate, Mode};
use super::tid::RowNumber;
use super::{directory, followed, keys, known, moves, successors};
use crate::pg::toast::{self, Fate, Toast, Version, INSERT_FROZEN};
use crate::pg::{self, compat, heapam, key_share, raw};
use doris_storage::slice::Marks;
use pg_sys::TM_Result::{
    self, TM_BeingModified, TM_Deleted, TM_Ok, TM_SelfModified, TM_Updated, TM_WouldBlock,
};
use pgrx::pg_sys;

/// The state of one segment row at a moment.
#[derive(Debug)]
enum State {
    /// Nobody has touched it.
    Free,
    /// It has a live anchor, which may be locked.
    Anchored(pg_sys::ItemPointerData),
    /// It has a live anchor, which an open transaction is about to remove as nobody has locked it ([`super::idle`]).
    Leaving(pg_sys::TransactionId),
    /// Somebody deleted or updated it.
    Gone(Deleter, Anchor),
}

fn look(main: pg_sys::Relation, toast: &Toast, row: RowNumber) -> State {
    let state = look_at_anchor(main, toast, row);
    if matches!(state, State::Gone(..)) {
        return state;
    }
    match latest_in_bulk(main, toast, row) {
        Some((deleter, how)) => State::Gone(deleter, how),
        None => state,
    }
}

/// Who has deleted or updated a row in bulk, and what became of it.
fn latest_in_bulk(
    main: pg_sys::Relation,
    toast: &Toast,
    row: RowNumber,
) -> Option<(Deleter, Anchor)> {
    let (deleter, what) = deletes::latest(main, toast, row)?;
    if what == What::Deleted {
        return Some((deleter, Anchor::Deleted));
    }
    let how = match successors::of(main, toast, row, deleter.xid) {
        Some((block, offset)) => Anchor::KeyKept(block, offset),
        // All are filed before their transaction commits.
        None if deleter.fate == Fate::Committed => {
            pg::report_corrupt(main, format!("no next version of updated row {}", row.0))
        }
        None => Anchor::Updating,
    };
    Some((deleter, how))
}

/// The state of a row but for bulk deletes.
fn look_at_anchor(main: pg_sys::Relation, toast: &Toast, row: RowNumber) -> State {
    let (chunk_id, seq) = keys::anchor(row.0);
    let mut state = State::Free;
    toast.scan(chunk_id, seq, seq, false, |version| {
        let anchor =
            Anchor::decode(version.payload()).unwrap_or_else(|e| pg::report_corrupt(main, e));
        if anchor == Anchor::Live {
            match version.deleter() {
                None | Some((_, Fate::Aborted)) => state = State::Anchored(version.tid()),
                Some((xid, Fate::InProgress)) => state = State::Leaving(xid),
                // It has become a tombstone, which is met, too, or was removed.
                Some((_, Fate::Own | Fate::Committed)) => {}
            }
            return true;
        }
        match Deleter::of(version) {
            Some(deleter) => {
                state = State::Gone(deleter, anchor);
                false
            }
            None => true,
        }
    });
    state
}

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
    /// No anchor; the gate and the tuple lock on the row's TID are held until [`bury`] or [`release`].
    Free(Gate),
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
        match look(main, toast, *row) {
            State::Gone(deleter, how) => settle(main, *row, request, tmfd, (deleter, how))?,
            _ if follow_move(main, toast, row, request, tmfd)? => {}
            State::Anchored(anchor) => {
                if lock_anchor(main, toast, anchor, request, mode, tmfd)? {
                    match since_lock(main, toast, *row) {
                        Since::Nothing => return Ok(Claim::Anchored(anchor)),
                        Since::Deleted(by, how) => settle(main, *row, request, tmfd, (by, how))?,
                        Since::Retired => {}
                    }
                }
            }
            State::Leaving(xid) => toast::wait_for(xid, main, row.to_tid(), request.oper),
            State::Free => {
                tuple_lock(main, *row, true);
                let gate = Gate::take(toast, Mode::Single);
                if matches!(look(main, toast, *row), State::Free) && !is_retired(main, toast, *row)
                {
                    return Ok(Claim::Free(gate));
                }
                drop(gate);
                tuple_lock(main, *row, false);
            }
        }
    }
}

/// Claims a row of a settled segment that nobody has touched, which is what most are, with one look. `None`: look closer.
fn claim_untouched(main: pg_sys::Relation, toast: &Toast, row: RowNumber) -> Option<Claim> {
    if !try_tuple_lock(main, row) {
        return None;
    }
    let gate = Gate::take(toast, Mode::Single);
    let untouched = known::settled_now(&gate, main, toast, row).is_some()
        && known::buried(&gate, main, toast, row) == Some(false)
        && matches!(look_at_anchor(main, toast, row), State::Free);
    if untouched {
        return Some(Claim::Free(gate));
    }
    drop(gate);
    tuple_lock(main, row, false);
    None
}

/// What the holder of the gate finds of a row.
pub enum Sight {
    /// Nobody has touched it: it can be claimed with [`Claim::Free`], and the tuple lock on its TID is held.
    Free,
    /// It is deleted or updated.
    Dead,
    /// An open transaction has deleted or updated it.
    Open(pg_sys::TransactionId),
    /// Somebody is at it, or it may be locked: [`claim`] knows more, without the gate.
    Held,
}

/// Looks at a row of a settled segment, to claim it. Never waits.
pub fn sight(gate: &Gate, main: pg_sys::Relation, toast: &Toast, row: RowNumber) -> Sight {
    match known::buried(gate, main, toast, row) {
        Some(true) => return Sight::Dead,
        Some(false) => {}
        None => {
            if let Some((deleter, _)) = deletes::latest(main, toast, row) {
                return sight_of(deleter);
            }
        }
    }
    if !try_tuple_lock(main, row) {
        return Sight::Held;
    }
    let sight = match look_at_anchor(main, toast, row) {
        State::Free => return Sight::Free,
        State::Anchored(_) | State::Leaving(_) => Sight::Held,
        State::Gone(deleter, _) => sight_of(deleter),
    };
    tuple_lock(main, row, false);
    sight
}

fn sight_of(deleter: Deleter) -> Sight {
    match deleter.fate {
        Fate::InProgress => Sight::Open(deleter.xid),
        _ => Sight::Dead,
    }
}

/// What became of a row until its anchor was locked.
enum Since {
    Nothing,
    Deleted(Deleter, Anchor),
    Retired,
}

/// Looks for who came before a lock on a row's anchor without having seen it. Later ones see the lock.
fn since_lock(main: pg_sys::Relation, toast: &Toast, row: RowNumber) -> Since {
    let _gate = Gate::take(toast, Mode::Single);
    match latest_in_bulk(main, toast, row) {
        Some((deleter, how)) => Since::Deleted(deleter, how),
        None if is_retired(main, toast, row) => Since::Retired,
        None => Since::Nothing,
    }
}

/// Who has retired, or is retiring, the segment of a row.
fn retirer(
    main: pg_sys::Relation,
    toast: &Toast,
    row: RowNumber,
) -> Option<(pg_sys::TransactionId, Fate)> {
    let any = &raw mut pg_sys::SnapshotAnyData;
    let deleter = directory::owner(main, toast, row.0, any)?.deleter;
    deleter.filter(|(_, fate)| *fate != Fate::Aborted)
}

fn is_retired(main: pg_sys::Relation, toast: &Toast, row: RowNumber) -> bool {
    retirer(main, toast, row).is_some()
}

/// Goes where compaction has taken a row that is not deleted, waiting for a compaction that is about to finish.
/// False when there is nothing to follow.
fn follow_move(
    main: pg_sys::Relation,
    toast: &Toast,
    row: &mut RowNumber,
    request: Request,
    tmfd: &mut pg_sys::TM_FailureData,
) -> Result<bool, TM_Result::Type> {
    match retirer(main, toast, *row) {
        None => Ok(false),
        Some((xid, Fate::InProgress)) => {
            // Also for who would not wait for a lock: nobody has locked the row, it is changing places.
            toast::wait_for(xid, main, row.to_tid(), request.oper);
            Ok(true)
        }
        Some((xid, _)) => {
            // Whoever marked the row before it was retired has the last word of the old place.
            if matches!(look(main, toast, *row), State::Gone(..)) {
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

/// Writes the tombstone of a claimed row.
pub fn bury(
    main: pg_sys::Relation,
    toast: &Toast,
    row: RowNumber,
    claim: Claim,
    how: Anchor,
    cid: pg_sys::CommandId,
) {
    let key = keys::anchor(row.0);
    crate::compact::board::marks(main, 1);
    match claim {
        Claim::Free(gate) => {
            toast.insert(key, &how.encode(), cid, 0, std::ptr::null_mut());
            drop(gate);
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
                carry_over(main, toast, key, super::tid::tid(block, offset));
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
        if !matches!(mark, Ok(Anchor::Live)) && version.writer_fate() == Fate::Own {
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
        let state = look(main, toast, *row);
        if !matches!(state, State::Gone(..)) {
            match follow_move(main, toast, row, request, tmfd) {
                Ok(true) => continue,
                Ok(false) => {}
                Err(result) => return result,
            }
        }
        let result = match state {
            State::Gone(by, how @ Anchor::KeyKept(block, offset))
                if by.fate == Fate::InProgress && mode == KEY_SHARE =>
            {
                let next = super::tid::tid(block, offset);
                match lock_beside(main, toast, *row, request, (next, by.xid), tmfd) {
                    Beside::Locked => Some(TM_Ok),
                    Beside::Refused(result) => Some(result),
                    Beside::Again => None,
                    Beside::Busy => settle(main, *row, request, tmfd, (by, how)).err(),
                }
            }
            State::Gone(by, Anchor::Updating)
                if by.fate == Fate::InProgress && mode == KEY_SHARE =>
            {
                match lock_ahead(main, toast, *row, request, by.xid, tmfd) {
                    Ok(true) => Some(TM_Ok),
                    Ok(false) => None,
                    Err(result) => Some(result),
                }
            }
            State::Gone(by, how @ Anchor::KeyKept(block, offset))
                if by.fate == Fate::Committed && mode == KEY_SHARE =>
            {
                let next = super::tid::tid(block, offset);
                match lock_later(main, toast, (next, by.xid), request, tmfd) {
                    Some(result) => Some(result),
                    None => settle(main, *row, request, tmfd, (by, how)).err(),
                }
            }
            State::Gone(by, how) => settle(main, *row, request, tmfd, (by, how)).err(),
            State::Anchored(anchor) => {
                match lock_anchor(main, toast, anchor, request, mode, tmfd) {
                    Ok(true) => match since_lock(main, toast, *row) {
                        // An update that leaves the key alone may have come in between.
                        Since::Nothing if mode == KEY_SHARE && is_gone(main, toast, *row) => None,
                        Since::Nothing => Some(TM_Ok),
                        Since::Retired => None,
                        // It need not wait for an update that leaves the key alone.
                        Since::Deleted(_, Anchor::KeyKept(..) | Anchor::Updating)
                            if mode == KEY_SHARE =>
                        {
                            None
                        }
                        Since::Deleted(by, how) => {
                            settle(main, *row, request, tmfd, (by, how)).err()
                        }
                    },
                    Ok(false) => None,
                    Err(result) => Some(result),
                }
            }
            State::Leaving(xid) => {
                toast::wait_for(xid, main, row.to_tid(), request.oper);
                None
            }
            State::Free => {
                tuple_lock(main, *row, true);
                let gate = Gate::take(toast, Mode::Single);
                if matches!(look(main, toast, *row), State::Free) && !is_retired(main, toast, *row)
                {
                    insert_live(main, toast, *row, request.cid);
                }
                drop(gate);
                tuple_lock(main, *row, false);
                None
            }
        };
        if let Some(result) = result {
            return result;
        }
    }
}

const KEY_SHARE: pg_sys::LockTupleMode::Type = pg_sys::LockTupleMode::LockTupleKeyShare;

fn is_gone(main: pg_sys::Relation, toast: &Toast, row: RowNumber) -> bool {
    matches!(look(main, toast, row), State::Gone(..))
}

fn insert_live(
    main: pg_sys::Relation,
    toast: &Toast,
    row: RowNumber,
    cid: pg_sys::CommandId,
) -> pg_sys::ItemPointerData {
    // Somebody has to remove it one day.
    crate::compact::board::marks(main, 1);
    let payload = Anchor::Live.encode();
    let null = std::ptr::null_mut();
    toast.insert(keys::anchor(row.0), &payload, cid, INSERT_FROZEN, null)
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
        let gate = Gate::take(toast, Mode::Single);
        let anchor =
            live_anchor(toast, row).unwrap_or_else(|| insert_live(main, toast, row, request.cid));
        drop(gate);
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
    let _gate = Gate::take(toast, Mode::Single);
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

/// The live anchor of a row, which may be about to become a tombstone.
fn live_anchor(toast: &Toast, row: RowNumber) -> Option<pg_sys::ItemPointerData> {
    let (chunk_id, seq) = keys::anchor(row.0);
    let mut at = None;
    toast.scan(chunk_id, seq, seq, false, |version| {
        let replaced = version
            .deleter()
            .is_some_and(|(_, fate)| fate == Fate::Committed);
        if matches!(Anchor::decode(version.payload()), Ok(Anchor::Live)) && !replaced {
            at = Some(version.tid());
        }
        at.is_none()
    });
    at
}

/// Takes a heap row lock on a live anchor. `Ok(false)`: it became a tombstone meanwhile, look again.
#[allow(non_upper_case_globals)] // PostgreSQL's names
fn lock_anchor(
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
            TM_WouldBlock => heapam::remover(&tuple),
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

/// Answers for a row that was deleted: waits when its writer is still open, else says what happened.
fn settle(
    main: pg_sys::Relation,
    row: RowNumber,
    request: Request,
    tmfd: &mut pg_sys::TM_FailureData,
    (deleter, how): (Deleter, Anchor),
) -> Result<(), TM_Result::Type> {
    let Deleter { xid, fate, cmin } = deleter;
    tmfd.ctid = successor(row, how);
    tmfd.xmax = xid;
    tmfd.cmax = pg_sys::InvalidCommandId;
    tmfd.traversed = false;
    match fate {
        Fate::Own => {
            tmfd.cmax = cmin;
            Err(if cmin >= request.cid {
                TM_SelfModified
            } else {
                TM_Result::TM_Invisible
            })
        }
        Fate::Committed => Err(if how == Anchor::Deleted {
            TM_Deleted
        } else {
            TM_Updated
        }),
        Fate::Aborted => Ok(()),
        Fate::InProgress => match request.wait {
            pg_sys::LockWaitPolicy::LockWaitBlock => {
                toast::wait_for(xid, main, row.to_tid(), request.oper);
                Ok(())
            }
            policy => {
                // SAFETY: plain call.
                if unsafe { compat::try_wait_for_transaction(xid) } {
                    return Ok(());
                }
                if policy == pg_sys::LockWaitPolicy::LockWaitError {
                    report_busy(main);
                }
                Err(if request.oper == pg_sys::XLTW_Oper::XLTW_Lock {
                    TM_WouldBlock
                } else {
                    TM_BeingModified
                })
            }
        },
    }
}

/// Raises the error of a lock that cannot be had at once.
pub fn report_busy(main: pg_sys::Relation) -> ! {
    pgrx::ereport!(
        ERROR,
        pgrx::PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE,
        format!(
            "could not obtain lock on row in relation \"{}\"",
            pg::relation_name(main)
        )
    );
}

/// The TID of the next version, as `t_ctid` would have it.
fn successor(row: RowNumber, how: Anchor) -> pg_sys::ItemPointerData {
    match how {
        Anchor::Updated(block, offset) | Anchor::KeyKept(block, offset) => {
            super::tid::tid(block, offset)
        }
        // The mark of heapam for a row that went to another partition (ItemPointerSetMovedPartitions).
        Anchor::MovedPartition => super::tid::tid(u32::MAX, 0xfffd),
        _ => row.to_tid(),
    }
}

fn tuple_lock(main: pg_sys::Relation, row: RowNumber, take: bool) {
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

fn try_tuple_lock(main: pg_sys::Relation, row: RowNumber) -> bool {
    let mut tid = row.to_tid();
    let mode = pg_sys::ExclusiveLock as i32;
    // SAFETY: open relation; the TID is on our stack.
    unsafe { compat::try_lock_tuple(main, &mut tid, mode) }
}

/// Whether a snapshot sees a row of a segment that it sees. A dirty snapshot gets the xmax of a deleter that
/// is still open. `None` for `SnapshotAny`-like snapshots means: seen.
pub fn alive(
    main: pg_sys::Relation,
    toast: &Toast,
    row: RowNumber,
    snapshot: pg_sys::Snapshot,
) -> bool {
    let mut buried_by = pg_sys::InvalidTransactionId;
    judge(main, toast, row, snapshot, &mut buried_by)
}

/// As [`alive`]; where the row is dead, `buried_by` becomes the transaction that buried it.
pub fn judge(
    main: pg_sys::Relation,
    toast: &Toast,
    row: RowNumber,
    snapshot: pg_sys::Snapshot,
    buried_by: &mut pg_sys::TransactionId,
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
        return match look(main, toast, row) {
            State::Gone(deleter, _) if deleter.fate == Fate::InProgress => {
                // SAFETY: dirty snapshots are the caller's own struct, written by design.
                unsafe { (*snapshot).xmax = deleter.xid };
                true
            }
            State::Gone(deleter, _) => {
                *buried_by = deleter.xid;
                false
            }
            _ => true,
        };
    }
    let (chunk_id, seq) = keys::anchor(row.0);
    let mut alive = true;
    toast.scan(chunk_id, seq, seq, false, |version| {
        let tombstone = !matches!(Anchor::decode(version.payload()), Ok(Anchor::Live));
        if tombstone {
            if version.visible(snapshot) {
                alive = false;
                *buried_by = version.raw_xmin();
            } else if version.writer_fate() != Fate::Aborted {
                raw::conflict_out(main, version.raw_xmin(), snapshot);
            }
        }
        alive
    });
    if !alive {
        return false;
    }
    let buried = match raw::is_mvcc(snapshot) && known::never_buried(main, toast, row) {
        true => None,
        false => deletes::seen(main, toast, row, snapshot),
    };
    if let Some(xid) = buried {
        *buried_by = xid;
        return false;
    }
    followed::changed(main, &row.to_tid(), snapshot).is_none()
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

/// The last transaction that has buried one of some rows, ascending, so far as a snapshot anywhere might not see it:
/// standbys have been told of marks that are frozen or gone, by the TOAST relation's own log.
pub fn buried_until(
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
    for near in rows.chunk_by(|a, b| deletes::slice_of(a.0) == deletes::slice_of(b.0)) {
        let (first, last) = (near[0].0, near[near.len() - 1].0);
        let (chunk_id, low) = keys::anchor(first);
        toast.scan(chunk_id, low, keys::anchor(last).1, false, |version| {
            let row = RowNumber(first + (version.seq() - low) as u64);
            let tombstone = !matches!(Anchor::decode(version.payload()), Ok(Anchor::Live));
            if tombstone && near.binary_search(&row).is_ok() {
                note(version);
            }
            true
        });
        deletes::each(main, toast, first, last + 1, |version, slice| {
            if near.iter().any(|row| slice.contains(row.0)) {
                note(version);
            }
            true
        });
    }
    until
}

/// The rows of which [`dead_positions`] gives the positions.
pub fn dead_rows(
    main: pg_sys::Relation,
    toast: &Toast,
    first_row: u64,
    rows: u32,
    snapshot: pg_sys::Snapshot,
) -> Marks {
    let mut dead = dead_rows_of(main, toast, &[(first_row, rows)], snapshot);
    dead.pop().unwrap_or_default()
}

/// As [`dead_rows`], for several segments at once: their first rows, ascending, and how many they have. What lies between
/// them is passed over.
pub fn dead_rows_of(
    main: pg_sys::Relation,
    toast: &Toast,
    segments: &[(u64, u32)],
    snapshot: pg_sys::Snapshot,
) -> Vec<Marks> {
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
        let (chunk_id, low) = keys::anchor(at);
        let high = keys::anchor(stop - 1).1;
        toast.scan(chunk_id, low, high, false, |version| {
            let Some((segment, position)) = place(at + (version.seq() - low) as u64) else {
                return true;
            };
            if matches!(Anchor::decode(version.payload()), Ok(Anchor::Live)) {
                return true;
            }
            if version.visible(snapshot) {
                dead[segment].add(position);
            } else if raw::is_mvcc(snapshot) && version.writer_fate() != Fate::Aborted {
                raw::conflict_out(main, version.raw_xmin(), snapshot);
            }
            true
        });
        at = stop;
    }
    deletes::add_seen(main, toast, segments, snapshot, &mut dead);
    for ((first, rows), dead) in segments.iter().zip(&mut dead) {
        let end = first + u64::from(*rows);
        followed::add_changed(main, (*first, end), snapshot, dead);
    }
    dead
}

/// The next version of a row that is updated, committed or not, for following `ctid` chains.
pub fn next_version(
    main: pg_sys::Relation,
    toast: &Toast,
    row: RowNumber,
) -> Option<pg_sys::ItemPointerData> {
    match look(main, toast, row) {
        State::Gone(_, how @ (Anchor::Updated(..) | Anchor::KeyKept(..))) => {
            Some(successor(row, how))
        }
        _ => None,
    }
}

/// Gives up a claim without burying the row. An exclusive lock on an anchor stays until the transaction ends.
pub fn release(main: pg_sys::Relation, row: RowNumber, claim: Claim) {
    if let Claim::Free(gate) = claim {
        drop(gate);
        tuple_lock(main, row, false);
    }
}
