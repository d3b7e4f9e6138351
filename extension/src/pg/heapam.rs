// SPDX-License-Identifier: Apache-2.0
//! PostgreSQL's own heap access method, to which the row half of a doris table is handed.
use crate::store::tid::block_of;
use pgrx::{pg_guard, pg_sys};
use std::cell::RefCell;

/// The heap's routine table.
#[inline]
pub fn routine() -> &'static pg_sys::TableAmRoutine {
    // SAFETY: the function returns the address of a static constant.
    unsafe { &*GetHeapamTableAmRoutine() }
}

extern "C-unwind" {
    fn GetHeapamTableAmRoutine() -> *const pg_sys::TableAmRoutine;
}

/// One of the heap's callbacks; all of them are set.
#[macro_export]
macro_rules! heap_call {
    ($callback:ident ( $($arg:expr),* $(,)? )) => {{
        // The expect can only fail on a server whose heap lacks a mandatory callback.
        let callback = $crate::pg::heapam::routine().$callback.expect("heap callback");
        $crate::pg::raw::guarded(|| callback($($arg),*))
    }};
}

/// Deletes a heap tuple that a registered snapshot sees, unless somebody has locked or changed it. Never waits.
pub fn delete_now(
    rel: pg_sys::Relation,
    tid: pg_sys::ItemPointerData,
    cid: pg_sys::CommandId,
) -> pg_sys::TM_Result::Type {
    let mut tid = tid;
    // SAFETY: an open relation with a lock that allows deletes; the failure data is an out parameter.
    unsafe {
        let mut tmfd = std::mem::zeroed::<pg_sys::TM_FailureData>();
        let none = std::ptr::null_mut();
        pg_sys::heap_delete(rel, &mut tid, cid, none, false, &mut tmfd, false)
    }
}

/// A copy of the header of a tuple, whose fields belong together: who locks the tuple changes several of them.
///
/// # Safety
/// A tuple on the page of a buffer that is pinned, and not locked by this backend.
pub unsafe fn header_of(
    tuple: pg_sys::HeapTuple,
    buffer: pg_sys::Buffer,
) -> pg_sys::HeapTupleHeaderData {
    // SAFETY: passed on to the caller; the fixed part of a header is always there.
    unsafe {
        let mut copy = std::mem::zeroed::<pg_sys::HeapTupleHeaderData>();
        pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
        let bytes = std::mem::offset_of!(pg_sys::HeapTupleHeaderData, t_bits);
        let (from, to) = ((*tuple).t_data.cast::<u8>(), (&raw mut copy).cast::<u8>());
        std::ptr::copy_nonoverlapping(from, to, bytes);
        pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
        copy
    }
}

/// Who has deleted or updated a version of a row: an open transaction, one that has ended well or not.
///
/// # Safety
/// The header of a tuple: a copy, or on a page whose content is locked.
pub unsafe fn changer(header: pg_sys::HeapTupleHeader) -> Option<pg_sys::TransactionId> {
    // SAFETY: passed on to the caller.
    unsafe {
        let infomask = u32::from((*header).t_infomask);
        if infomask & (pg_sys::HEAP_XMAX_INVALID | pg_sys::HEAP_XMAX_LOCK_ONLY) != 0 {
            return None;
        }
        Some(match infomask & pg_sys::HEAP_XMAX_IS_MULTI {
            0 => (*header).t_choice.t_heap.t_xmax,
            _ => pg_sys::HeapTupleGetUpdateXid(header),
        })
    }
}

/// Who has deleted a version of a row, rather than updated or locked it, if anybody has: an open transaction, one that
/// has ended well or not.
///
/// # Safety
/// A tuple whose header is as for [`changer`].
pub unsafe fn remover(tuple: &pg_sys::HeapTupleData) -> Option<pg_sys::TransactionId> {
    // SAFETY: passed on to the caller.
    unsafe {
        let itself = same(&(*tuple.t_data).t_ctid, &tuple.t_self);
        changer(tuple.t_data).filter(|_| itself)
    }
}

/// Who deleted a heap row by its physical tuple, if it is there and was deleted rather than updated: where a move
/// leaves a row. The transaction may be open or rolled back.
pub fn deleter_of(
    rel: pg_sys::Relation,
    tid: &pg_sys::ItemPointerData,
) -> Option<pg_sys::TransactionId> {
    // SAFETY: an open relation; the tuple is read while its page is pinned.
    unsafe {
        with_tuple(rel, tid, &raw mut pg_sys::SnapshotAnyData, |tuple| {
            remover(&*tuple)
        })
        .flatten()
    }
}

/// What this transaction has done to a version of a heap row.
pub enum OwnChange {
    /// Nothing that counts.
    None,
    /// It has deleted the row.
    Deleted,
    /// It has taken the row to another partition.
    MovedAway,
    /// It has made another version of it, in this (sub)transaction.
    Next(pg_sys::ItemPointerData, pg_sys::TransactionId),
}

/// What this transaction has done to a version of a heap row.
pub fn own_change(rel: pg_sys::Relation, tid: &pg_sys::ItemPointerData) -> OwnChange {
    // SAFETY: an open relation; the tuple is read while its page is pinned.
    let change = unsafe {
        with_tuple(rel, tid, &raw mut pg_sys::SnapshotAnyData, |tuple| {
            let header = (*tuple).t_data;
            let own =
                |xid: &pg_sys::TransactionId| pg_sys::TransactionIdIsCurrentTransactionId(*xid);
            let Some(xid) = changer(header).filter(own) else {
                return OwnChange::None;
            };
            let next = (*header).t_ctid;
            if same(&next, tid) {
                OwnChange::Deleted
            } else if block_of(&next) == pg_sys::InvalidBlockNumber {
                OwnChange::MovedAway
            } else {
                OwnChange::Next(next, xid)
            }
        })
    };
    change.unwrap_or(OwnChange::None)
}

/// The command of this transaction that made a version.
pub fn own_cmin(rel: pg_sys::Relation, tid: &pg_sys::ItemPointerData) -> Option<pg_sys::CommandId> {
    // SAFETY: an open relation; the tuple is this transaction's and is read while its page is pinned.
    unsafe {
        with_tuple(rel, tid, &raw mut pg_sys::SnapshotAnyData, |tuple| {
            pg_sys::HeapTupleHeaderGetCmin((*tuple).t_data)
        })
    }
}

fn same(a: &pg_sys::ItemPointerData, b: &pg_sys::ItemPointerData) -> bool {
    (block_of(a), a.ip_posid) == (block_of(b), b.ip_posid)
}

/// Locks a version that `maker` has made, and later ones of the row, FOR KEY SHARE; `None` when it is no longer there.
/// A snapshot that sees an older version keeps them from being pruned.
pub fn lock_key(
    rel: pg_sys::Relation,
    tid: pg_sys::ItemPointerData,
    maker: pg_sys::TransactionId,
    cid: pg_sys::CommandId,
    wait: pg_sys::LockWaitPolicy::Type,
    tmfd: &mut pg_sys::TM_FailureData,
) -> Option<pg_sys::TM_Result::Type> {
    // SAFETY: an open relation; the tuple and the buffer are out parameters, and the pin is released.
    unsafe {
        let any = &raw mut pg_sys::SnapshotAnyData;
        let xmin = with_tuple(rel, &tid, any, |tuple| {
            (*(*tuple).t_data).t_choice.t_heap.t_xmin
        });
        if xmin != Some(maker) {
            return None;
        }
        let mut tuple = std::mem::zeroed::<pg_sys::HeapTupleData>();
        tuple.t_self = tid;
        let mode = pg_sys::LockTupleMode::LockTupleKeyShare;
        let mut buffer = 0;
        let result =
            pg_sys::heap_lock_tuple(rel, &mut tuple, cid, mode, wait, true, &mut buffer, tmfd);
        if buffer != 0 {
            pg_sys::ReleaseBuffer(buffer);
        }
        Some(result)
    }
}

/// Whether a snapshot sees a heap row.
pub fn sees(
    rel: pg_sys::Relation,
    tid: &pg_sys::ItemPointerData,
    snapshot: pg_sys::Snapshot,
) -> bool {
    // SAFETY: an open relation and a valid snapshot.
    unsafe { with_tuple(rel, tid, snapshot, |_| ()).is_some() }
}

/// Whether a TID is of a block of the heap. One that was kept beyond the life of its row may be of a block that VACUUM
/// has cut off.
pub fn has_block(rel: pg_sys::Relation, tid: &pg_sys::ItemPointerData) -> bool {
    block_of(tid) < blocks(rel)
}

/// Blocks of the heap.
pub fn blocks(rel: pg_sys::Relation) -> u32 {
    // SAFETY: an open relation.
    unsafe { pg_sys::RelationGetNumberOfBlocksInFork(rel, pg_sys::ForkNumber::MAIN_FORKNUM) }
}

/// Calls `visit` with the heap tuple at a TID if a snapshot sees it: with a copy of its header, and nothing behind
/// that.
unsafe fn with_tuple<T>(
    rel: pg_sys::Relation,
    tid: &pg_sys::ItemPointerData,
    snapshot: pg_sys::Snapshot,
    visit: impl FnOnce(pg_sys::HeapTuple) -> T,
) -> Option<T> {
    let mut tid = *tid;
    if !has_block(rel, &tid) {
        return None;
    }
    // SAFETY: a slot of the heap's type, dropped below; its tuple is pinned meanwhile.
    unsafe {
        let ops = &raw const pg_sys::TTSOpsBufferHeapTuple;
        let slot = pg_sys::MakeSingleTupleTableSlot((*rel).rd_att, ops);
        let found = heap_call!(tuple_fetch_row_version(rel, &mut tid, snapshot, slot));
        let result = found.then(|| {
            let slot = slot as *mut pg_sys::BufferHeapTupleTableSlot;
            let mut tuple = *(*slot).base.tuple;
            let mut header = header_of(&mut tuple, (*slot).buffer);
            tuple.t_data = &mut header;
            visit(&mut tuple)
        });
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        result
    }
}

/// A relation that currently passes for a heap, and the subtransaction that made it so.
struct View {
    oid: pg_sys::Oid,
    rel: pg_sys::Relation,
    routine: *const pg_sys::TableAmRoutine,
    subid: pg_sys::SubTransactionId,
}

thread_local! {
    static VIEWS: RefCell<Vec<View>> = const { RefCell::new(Vec::new()) };
}

/// While it lives, a doris relation is a plain heap to this backend: only its main relation's rows are seen.
///
/// Needed for heap callbacks that scan the relation through the table access method interface and cast what
/// they get (index builds, CLUSTER). An invalidation may rebuild the relation cache entry in the middle, so
/// [`reapply`] is registered as a callback for that.
pub struct HeapView {
    rel: pg_sys::Relation,
}

impl HeapView {
    /// Makes `rel` pass for a heap until the view is dropped.
    pub fn of(rel: pg_sys::Relation) -> Self {
        enter(rel);
        Self { rel }
    }
}

impl Drop for HeapView {
    fn drop(&mut self) {
        leave(self.rel);
    }
}

/// Makes `rel` pass for a heap until [`leave`], or until the (sub)transaction fails: for code that errors jump out of.
pub fn enter(rel: pg_sys::Relation) {
    // SAFETY: an open relation; its cache entry stays at this address while it is open.
    unsafe {
        let view = View {
            oid: (*rel).rd_id,
            rel,
            routine: (*rel).rd_tableam,
            subid: pg_sys::GetCurrentSubTransactionId(),
        };
        VIEWS.with_borrow_mut(|views| views.push(view));
        (*rel).rd_tableam = GetHeapamTableAmRoutine();
    }
}

/// Ends what [`enter`] began.
pub fn leave(rel: pg_sys::Relation) {
    VIEWS.with_borrow_mut(|views| {
        if let Some(at) = views.iter().rposition(|view| view.rel == rel) {
            views.remove(at).end();
        }
    });
}

/// Ends the views of a subtransaction that failed; of all, if the transaction has. The relations are still open.
pub fn forget_views(subid: Option<pg_sys::SubTransactionId>) {
    VIEWS.with_borrow_mut(|views| {
        while let Some(at) = views
            .iter()
            .rposition(|view| subid.is_none_or(|subid| view.subid == subid))
        {
            views.remove(at).end();
        }
    });
}

impl View {
    fn end(self) {
        // SAFETY: the relation is still open: a view is ended before its relation is closed.
        unsafe { (*self.rel).rd_tableam = self.routine };
    }
}

/// Relation cache callback: an entry that was rebuilt under a view becomes a heap again.
#[pg_guard]
pub unsafe extern "C-unwind" fn reapply(_arg: pg_sys::Datum, relid: pg_sys::Oid) {
    VIEWS.with_borrow(|views| {
        for view in views {
            if relid == pg_sys::InvalidOid || relid == view.oid {
                // SAFETY: see HeapView: the relation is open while its view is registered.
                unsafe { (*view.rel).rd_tableam = GetHeapamTableAmRoutine() };
            }
        }
    });
}
