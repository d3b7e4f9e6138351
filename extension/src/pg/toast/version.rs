// SPDX-License-Identifier: Apache-2.0
//! Physical versions of tuples, and the transactions that wrote and deleted them.
use super::tuple::PAYLOAD_OFFSET;
use crate::pg::{heapam, key_share};
use pgrx::pg_sys;

/// One physical version of a tuple, pinned while it is looked at.
pub struct Version {
    tuple: pg_sys::HeapTuple,
    buffer: pg_sys::Buffer,
}

/// What a transaction that wrote something has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XactStatus {
    /// It is this transaction, or a subtransaction of it that was not rolled back.
    Own,
    /// Another transaction that has not ended.
    InProgress,
    /// Committed.
    Committed,
    /// Rolled back, or lost in a crash.
    Aborted,
}

impl Version {
    /// The version that a slot holds.
    ///
    /// # Safety
    /// A slot made with `TTSOpsBufferHeapTuple` that holds a tuple, as long as the version is looked at.
    pub unsafe fn of(slot: *mut pg_sys::TupleTableSlot) -> Self {
        // SAFETY: the slot was made with TTSOpsBufferHeapTuple and holds a tuple.
        unsafe {
            let slot = slot as *mut pg_sys::BufferHeapTupleTableSlot;
            Self {
                tuple: (*slot).base.tuple,
                buffer: (*slot).buffer,
            }
        }
    }

    /// Its TID.
    pub fn tid(&self) -> pg_sys::ItemPointerData {
        // SAFETY: the tuple is pinned by the slot this version came from.
        unsafe { (*self.tuple).t_self }
    }

    /// Its chunk_id.
    pub fn id(&self) -> u32 {
        // SAFETY: as above; the first attribute is an oid.
        unsafe { *(self.data() as *const u32) }
    }

    /// Its chunk_seq.
    pub fn seq(&self) -> i32 {
        // SAFETY: as above; the second attribute is an int4 at a fixed offset.
        unsafe { *(self.data().add(4) as *const i32) }
    }

    unsafe fn data(&self) -> *const u8 {
        // SAFETY: t_hoff leads to the first attribute.
        unsafe { ((*self.tuple).t_data as *const u8).add((*(*self.tuple).t_data).t_hoff as usize) }
    }

    /// Its payload; never more than the tuple has, whatever its damaged bytes may say.
    pub fn payload(&self) -> &[u8] {
        // SAFETY: attributes are fixed: two int4 and a plain varlena with a four-byte header.
        unsafe {
            let head = usize::from((*(*self.tuple).t_data).t_hoff) + PAYLOAD_OFFSET;
            let room = ((*self.tuple).t_len as usize).saturating_sub(head);
            let length = (*(self.data().add(8) as *const u32) >> 2) as usize;
            std::slice::from_raw_parts(
                self.data().add(PAYLOAD_OFFSET),
                length.saturating_sub(4).min(room),
            )
        }
    }

    /// A copy of its payload, of which no change in place is half done.
    pub fn payload_unchanging(&self) -> Vec<u8> {
        // SAFETY: pinned by the slot; the content lock keeps the payload as it is.
        unsafe {
            pg_sys::LockBuffer(self.buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
            let payload = self.payload().to_vec();
            pg_sys::LockBuffer(self.buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
            payload
        }
    }

    /// Whether a snapshot sees this version. A dirty snapshot gets its xmin and xmax set.
    pub fn visible(&self, snapshot: pg_sys::Snapshot) -> bool {
        if self.surely_visible(snapshot) {
            return true;
        }
        // SAFETY: pinned by the slot; the content lock is taken for the check, as it requires.
        unsafe {
            pg_sys::LockBuffer(self.buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
            let seen = pg_sys::HeapTupleSatisfiesVisibility(self.tuple, snapshot, self.buffer);
            pg_sys::LockBuffer(self.buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
            seen
        }
    }

    /// Whether the hints of the tuple say that an MVCC snapshot sees it, which is cheaper than asking PostgreSQL. They
    /// are read without the content lock: who deletes it meanwhile has not committed for the snapshot.
    fn surely_visible(&self, snapshot: pg_sys::Snapshot) -> bool {
        let wanted = pg_sys::HEAP_XMIN_COMMITTED | pg_sys::HEAP_XMAX_INVALID;
        // SAFETY: a valid snapshot; pinned by the slot, so that the tuple stays where it is.
        unsafe {
            let infomask = u32::from((*(*self.tuple).t_data).t_infomask);
            if (*snapshot).snapshot_type != pg_sys::SnapshotType::SNAPSHOT_MVCC
                || infomask & wanted != wanted
            {
                return false;
            }
            self.frozen() || precedes(self.raw_xmin(), (*snapshot).xmin)
        }
    }

    /// The transaction that wrote it; raw, so also known after freezing.
    pub fn raw_xmin(&self) -> pg_sys::TransactionId {
        // SAFETY: pinned by the slot.
        unsafe { (*(*self.tuple).t_data).t_choice.t_heap.t_xmin }
    }

    /// Whether it was written by a transaction that all snapshots see.
    pub fn frozen(&self) -> bool {
        // SAFETY: pinned by the slot.
        let infomask = u32::from(unsafe { (*(*self.tuple).t_data).t_infomask });
        infomask & pg_sys::HEAP_XMIN_FROZEN == pg_sys::HEAP_XMIN_FROZEN
    }

    /// The command of this transaction that wrote it.
    pub fn cmin(&self) -> pg_sys::CommandId {
        // SAFETY: pinned by the slot; callers ask only for versions written by this transaction.
        unsafe { pg_sys::HeapTupleHeaderGetCmin((*self.tuple).t_data) }
    }

    /// What became of the transaction that wrote it.
    pub fn writer_status(&self) -> XactStatus {
        // SAFETY: pinned by the slot.
        let infomask = u32::from(unsafe { (*(*self.tuple).t_data).t_infomask });
        // A hint is set once the transaction has ended; together with the other one it says that the tuple is frozen.
        if infomask & pg_sys::HEAP_XMIN_COMMITTED != 0 {
            return XactStatus::Committed;
        }
        xact_status(self.raw_xmin())
    }

    /// Whether an open transaction holds a row lock on it. This transaction's own count only beside others'.
    pub fn locked(&self) -> bool {
        // SAFETY: pinned by the slot; the content lock keeps its two fields together.
        let (infomask, xmax) = unsafe {
            pg_sys::LockBuffer(self.buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
            let header = (*self.tuple).t_data;
            let infomask = u32::from((*header).t_infomask);
            let xmax = (*header).t_choice.t_heap.t_xmax;
            pg_sys::LockBuffer(self.buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
            (infomask, xmax)
        };
        if infomask & pg_sys::HEAP_XMAX_INVALID != 0 {
            return false;
        }
        if infomask & pg_sys::HEAP_XMAX_IS_MULTI == 0 {
            return xact_status(xmax) == XactStatus::InProgress;
        }
        let lock_only = infomask & pg_sys::HEAP_XMAX_LOCK_ONLY != 0;
        let multi = pg_sys::MultiXactId::from(xmax.into_inner());
        // SAFETY: the xmax of a tuple of ours; TOAST relations of older clusters hold no anchors.
        unsafe { pg_sys::MultiXactIdIsRunning(multi, lock_only) }
    }

    /// The other open transactions that have it locked FOR KEY SHARE.
    pub fn key_sharers(&self) -> Vec<pg_sys::TransactionId> {
        // SAFETY: pinned by the slot; the content lock keeps its fields together.
        unsafe {
            pg_sys::LockBuffer(self.buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
            let lockers = key_share::lockers((*self.tuple).t_data);
            pg_sys::LockBuffer(self.buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
            lockers
        }
    }

    /// What became of the transaction that deleted or replaced it; `None` when nobody has.
    pub fn deleter(&self) -> Option<(pg_sys::TransactionId, XactStatus)> {
        // SAFETY: pinned by the slot. The hint is set once, when nobody has changed it; it goes when somebody does, who
        // has not committed for the caller then.
        let infomask = u32::from(unsafe { (*(*self.tuple).t_data).t_infomask });
        if infomask & pg_sys::HEAP_XMAX_INVALID != 0 {
            return None;
        }
        // SAFETY: pinned by the slot, of this buffer.
        let mut header = unsafe { heapam::header_of(self.tuple, self.buffer) };
        // SAFETY: a copy of a tuple's header.
        let xid = unsafe { heapam::changer(&mut header) }?;
        (xid != pg_sys::InvalidTransactionId).then(|| (xid, xact_status(xid)))
    }
}

/// As `TransactionIdPrecedes`.
fn precedes(a: pg_sys::TransactionId, b: pg_sys::TransactionId) -> bool {
    let (a, b) = (a.into_inner(), b.into_inner());
    let first = pg_sys::FirstNormalTransactionId.into_inner();
    match a < first || b < first {
        true => a < b,
        false => (a.wrapping_sub(b) as i32) < 0,
    }
}

/// What a transaction has come to.
pub fn xact_status(xid: pg_sys::TransactionId) -> XactStatus {
    // SAFETY: plain look-ups in shared transaction state. In progress is asked before committed, as
    // PostgreSQL's visibility rules require.
    unsafe {
        if pg_sys::TransactionIdIsCurrentTransactionId(xid) {
            XactStatus::Own
        } else if pg_sys::TransactionIdIsInProgress(xid) {
            XactStatus::InProgress
        } else if pg_sys::TransactionIdDidCommit(xid) {
            XactStatus::Committed
        } else {
            XactStatus::Aborted
        }
    }
}

/// Waits until a transaction that holds a row has ended.
pub fn wait_for(
    xid: pg_sys::TransactionId,
    rel: pg_sys::Relation,
    tid: pg_sys::ItemPointerData,
    oper: pg_sys::XLTW_Oper::Type,
) {
    let mut tid = tid;
    // SAFETY: open relation; the TID is on our stack.
    unsafe { pg_sys::XactLockTableWait(xid, rel, &mut tid, oper) };
}
