// SPDX-License-Identifier: Apache-2.0
//! Row locks: SELECT FOR ..., foreign keys' checks, and the newest version that an UPDATE or DELETE goes on with.
use super::modify::{forbidden, moved_from_heap, toast_for_write};
use crate::heap_call;
use crate::keys;
use crate::pg::heapam::{self, OwnChange};
use crate::store::anchors::{self, Request};
use crate::store::tid::{block_of, RowNumber};
use pgrx::pg_sys::TM_Result::{self, TM_Deleted, TM_Ok, TM_SelfModified, TM_Updated};
use pgrx::{pg_guard, pg_sys};

/// Puts this module's callback into the routine table.
pub fn install(table: &mut pg_sys::TableAmRoutine) {
    table.tuple_lock = Some(tuple_lock);
}

/// What PostgreSQL asks for: the arguments of its callback but the row.
struct TupleLockArgs {
    rel: pg_sys::Relation,
    snapshot: pg_sys::Snapshot,
    slot: *mut pg_sys::TupleTableSlot,
    cid: pg_sys::CommandId,
    mode: pg_sys::LockTupleMode::Type,
    wait_policy: pg_sys::LockWaitPolicy::Type,
    flags: u8,
    tmfd: *mut pg_sys::TM_FailureData,
}

impl TupleLockArgs {
    /// Whether the newest version is to be locked.
    fn finds_last(&self) -> bool {
        u32::from(self.flags) & pg_sys::TUPLE_LOCK_FLAG_FIND_LAST_VERSION != 0
    }
}

#[pg_guard]
#[allow(clippy::too_many_arguments)]
unsafe extern "C-unwind" fn tuple_lock(
    rel: pg_sys::Relation,
    tid: pg_sys::ItemPointer,
    snapshot: pg_sys::Snapshot,
    slot: *mut pg_sys::TupleTableSlot,
    cid: pg_sys::CommandId,
    mode: pg_sys::LockTupleMode::Type,
    wait_policy: pg_sys::LockWaitPolicy::Type,
    flags: u8,
    tmfd: *mut pg_sys::TM_FailureData,
) -> TM_Result::Type {
    let ask = TupleLockArgs {
        rel,
        snapshot,
        slot,
        cid,
        mode,
        wait_policy,
        flags,
        tmfd,
    };
    // SAFETY: PostgreSQL's arguments, passed on.
    unsafe {
        let mut traversed = false;
        loop {
            let old = *tid;
            let result = lock_version(&ask, tid);
            (*tmfd).traversed |= traversed;
            if result != TM_Deleted || !ask.finds_last() {
                return result;
            }
            let Some(next) = keys::replacement_row::successor(rel, old) else {
                return result;
            };
            *tid = next;
            traversed = true;
        }
    }
}

/// Locks a row, or a later version of it that it leads to.
unsafe fn lock_version(ask: &TupleLockArgs, tid: pg_sys::ItemPointer) -> TM_Result::Type {
    let TupleLockArgs {
        rel,
        slot,
        cid,
        mode,
        wait_policy,
        tmfd,
        ..
    } = *ask;
    // SAFETY: PostgreSQL passes valid pointers; heap TIDs are passed on.
    unsafe {
        let Some(mut row) = RowNumber::from_tid(&*tid) else {
            return lock_heap_row(ask, tid);
        };
        let toast = toast_for_write(rel);
        (*tmfd).traversed = false;
        if let Some(result) = forbidden(rel, &toast, row, cid) {
            return result;
        }
        let request = Request {
            cid,
            wait: wait_policy,
            oper: pg_sys::XLTW_Oper::XLTW_Lock,
        };
        let result = anchors::lock(rel, &toast, &mut row, request, mode, &mut *tmfd);
        if result == TM_Ok {
            *tid = row.to_tid();
            super::fetch::store_row(rel, &toast, row, slot);
            return TM_Ok;
        }
        if result != TM_Updated || !ask.finds_last() {
            return result;
        }
        follow(ask, tid)
    }
}

/// Locks a heap row, or, if compaction has moved it, the segment row that it is now.
unsafe fn lock_heap_row(ask: &TupleLockArgs, tid: pg_sys::ItemPointer) -> TM_Result::Type {
    let TupleLockArgs {
        rel,
        snapshot,
        slot,
        cid,
        mode,
        wait_policy,
        flags,
        tmfd,
    } = *ask;
    // NOWAIT is asked for as SKIP LOCKED: what holds the row may be a move, which is worth waiting for.
    let nowait = wait_policy == pg_sys::LockWaitPolicy::LockWaitError;
    let policy = if nowait {
        pg_sys::LockWaitPolicy::LockWaitSkip
    } else {
        wait_policy
    };
    // SAFETY: valid pointers from the caller.
    unsafe {
        let first = *tid;
        loop {
            let result = heap_call!(tuple_lock(
                rel, tid, snapshot, slot, cid, mode, policy, flags, tmfd
            ));
            let blocked = result == pg_sys::TM_Result::TM_WouldBlock;
            if !blocked && result != TM_Deleted {
                return result;
            }
            let moved = heapam::deleter_of(rel, &*tid).and_then(|mover| {
                let row = moved_from_heap(rel, &*tid, TM_Deleted, mover)?;
                Some((mover, row))
            });
            match moved {
                Some((mover, _)) if blocked => {
                    let oper = pg_sys::XLTW_Oper::XLTW_Lock;
                    crate::pg::toast::wait_for(mover, rel, *tid, oper);
                }
                None if blocked && nowait => anchors::report_busy(rel),
                None => return result,
                Some((_, row)) => {
                    let traversed =
                        (block_of(&first), first.ip_posid) != (block_of(&*tid), (*tid).ip_posid);
                    pg_sys::ExecClearTuple(slot);
                    *tid = row.to_tid();
                    let result = lock_version(ask, tid);
                    (*tmfd).traversed |= traversed;
                    return result;
                }
            }
        }
    }
}

/// Locks the newest version of a row whose segment version was updated. The next version is in the heap; as
/// heapam does for its own chains, its xmin must be the updater, else the slot was vacuumed and reused.
unsafe fn follow(ask: &TupleLockArgs, tid: pg_sys::ItemPointer) -> TM_Result::Type {
    let TupleLockArgs {
        rel,
        slot,
        cid,
        tmfd,
        ..
    } = *ask;
    // SAFETY: valid pointers from the caller; the slot is a buffer heap tuple slot.
    unsafe {
        let updater = (*tmfd).xmax;
        let mut next = (*tmfd).ctid;
        let any = &raw mut pg_sys::SnapshotAnyData;
        if block_of(&next) == pg_sys::InvalidBlockNumber {
            report_moved_away();
        }
        if RowNumber::from_tid(&next).is_none() {
            if !heap_call!(tuple_fetch_row_version(rel, &mut next, any, slot)) {
                return TM_Deleted;
            }
            let tuple = (*(slot as *mut pg_sys::BufferHeapTupleTableSlot))
                .base
                .tuple;
            let xmin = (*(*tuple).t_data).t_choice.t_heap.t_xmin;
            pg_sys::ExecClearTuple(slot);
            if xmin != updater {
                return TM_Deleted;
            }
            next = match last_own(rel, next, cid, &mut *tmfd) {
                Ok(last) => last,
                Err(result) => return result,
            };
        }
        *tid = next;
        let result = lock_version(ask, tid);
        (*tmfd).traversed = true;
        result
    }
}

/// Goes from a version that another transaction has made to the last that this one has made of it, if any. As in
/// `heapam_tuple_lock`, that one tells which command came in the way of command `cid`, not the first change.
fn last_own(
    rel: pg_sys::Relation,
    first: pg_sys::ItemPointerData,
    cid: pg_sys::CommandId,
    tmfd: &mut pg_sys::TM_FailureData,
) -> Result<pg_sys::ItemPointerData, TM_Result::Type> {
    let mut last = first;
    let mut made = None;
    loop {
        match heapam::own_change(rel, &last) {
            OwnChange::None => break,
            OwnChange::Deleted => return Err(TM_Deleted),
            OwnChange::MovedAway => report_moved_away(),
            OwnChange::Next(next, maker) => {
                // The command that made it, if the version is there: nobody else can have removed it.
                made = heapam::own_cmin(rel, &next).map(|cmin| (maker, cmin));
                last = next;
            }
        }
    }
    match made {
        Some((maker, cmin)) if cmin >= cid => {
            tmfd.xmax = maker;
            tmfd.cmax = cmin;
            tmfd.traversed = true;
            Err(TM_SelfModified)
        }
        _ => Ok(last),
    }
}

fn report_moved_away() -> ! {
    pgrx::ereport!(
        ERROR,
        pgrx::PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
        "tuple to be locked was already moved to another partition due to concurrent update"
    );
}
