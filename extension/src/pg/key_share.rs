// SPDX-License-Identifier: Apache-2.0
//! FOR KEY SHARE locks on the next version of a segment row, where heapam would carry them over by itself.
//!
//! An UPDATE that leaves the key alone lets FOR KEY SHARE pass (a foreign key's check), in both orders. In a heap the
//! lock goes along: `heap_update` gives the new version the lockers of the old one, and who locks an old version also
//! locks those that an open transaction has made of it. The old version of a segment row is its anchor, in the TOAST
//! relation, so that the way from there to the new version in the heap is ours to go.
//!
//! Only versions that an open transaction has made are marked here, before anybody else can see them. All others are
//! locked by `heap_lock_tuple`.
#![allow(non_upper_case_globals)] // PostgreSQL's names
use super::raw::guarded;
use super::toast::{xact_status, XactStatus};
use crate::store::tid::{block_of, tid};
use pgrx::pg_sys;

/// What came of adding a locker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// All versions that are there are locked.
    Done,
    /// The maker of the versions has deleted the row, or changed its key: wait for it.
    Wait(pg_sys::TransactionId),
    /// The transaction that made the versions has ended meanwhile: look again.
    Ended,
}

/// What one version says.
enum Step {
    Last,
    Next(pg_sys::ItemPointerData, pg_sys::TransactionId),
    Stop(Added),
}

/// Gives a version that the open transaction `maker` has made, and those that it has made of it, a FOR KEY SHARE lock
/// of `locker`, which is running.
pub fn add(
    rel: pg_sys::Relation,
    at: pg_sys::ItemPointerData,
    maker: pg_sys::TransactionId,
    locker: pg_sys::TransactionId,
) -> Added {
    // SAFETY: an open relation with a lock that allows row locks; buffers are given back in `mark`.
    unsafe {
        pg_sys::MultiXactIdSetOldestMember();
        let (mut at, mut maker) = (at, maker);
        loop {
            match mark(rel, &at, maker, locker) {
                Step::Last => return Added::Done,
                Step::Stop(added) => return added,
                Step::Next(next, by) => (at, maker) = (next, by),
            }
        }
    }
}

/// Marks one version, under the lock of its page.
unsafe fn mark(
    rel: pg_sys::Relation,
    at: &pg_sys::ItemPointerData,
    maker: pg_sys::TransactionId,
    locker: pg_sys::TransactionId,
) -> Step {
    // SAFETY: the page is pinned and exclusively locked while its tuple is looked at and changed.
    unsafe {
        let buffer = pg_sys::ReadBuffer(rel, block_of(at));
        pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_EXCLUSIVE as i32);
        let step = match header(pg_sys::BufferGetPage(buffer), at.ip_posid) {
            Some(tuple) => update_xmax(rel, buffer, tuple, at, maker, locker),
            None => Step::Stop(Added::Ended),
        };
        pg_sys::UnlockReleaseBuffer(buffer);
        step
    }
}

/// The tuple at an offset of a page.
unsafe fn header(page: pg_sys::Page, offset: u16) -> Option<pg_sys::HeapTupleHeader> {
    // SAFETY: a valid page; line pointers follow its header.
    unsafe {
        let start = std::mem::offset_of!(pg_sys::PageHeaderData, pd_linp);
        let end = (*(page as pg_sys::PageHeader)).pd_lower as usize;
        let at = start + (usize::from(offset).checked_sub(1)?) * 4;
        if at + 4 > end {
            return None;
        }
        let item = (page as *const u8).add(at) as *const pg_sys::ItemIdData;
        let normal = (*item).lp_flags() == pg_sys::LP_NORMAL;
        normal.then(|| (page as *mut u8).add((*item).lp_off() as usize) as pg_sys::HeapTupleHeader)
    }
}

/// Decides what a version's `xmax` must be, and sets it.
unsafe fn update_xmax(
    rel: pg_sys::Relation,
    buffer: pg_sys::Buffer,
    tuple: pg_sys::HeapTupleHeader,
    at: &pg_sys::ItemPointerData,
    maker: pg_sys::TransactionId,
    locker: pg_sys::TransactionId,
) -> Step {
    // SAFETY: a tuple on a page that is pinned and exclusively locked.
    unsafe {
        let xmin = (*tuple).t_choice.t_heap.t_xmin;
        if xmin != maker || !is_open(xmin) {
            return Step::Stop(Added::Ended);
        }
        let infomask = u32::from((*tuple).t_infomask);
        let xmax = (*tuple).t_choice.t_heap.t_xmax;
        let members = holders(tuple, infomask, xmax);
        if let Some(holder) = members.iter().find(|holder| holder.conflicts()) {
            return Step::Stop(Added::Wait(holder.xid));
        }
        if !members.iter().any(|holder| holder.xid == locker) {
            let (value, bits) = joined(&members, locker);
            set(rel, buffer, at, value, bits);
        }
        match members.iter().find(|holder| holder.updates()) {
            Some(updater) => {
                let next = (*tuple).t_ctid;
                Step::Next(tid(block_of(&next), next.ip_posid), updater.xid)
            }
            None => Step::Last,
        }
    }
}

fn is_open(xid: pg_sys::TransactionId) -> bool {
    matches!(xact_status(xid), XactStatus::Own | XactStatus::InProgress)
}

/// A transaction that has locked or updated a version.
#[derive(Clone, Copy)]
struct Holder {
    xid: pg_sys::TransactionId,
    status: pg_sys::MultiXactStatus::Type,
}

impl Holder {
    fn conflicts(&self) -> bool {
        use pg_sys::MultiXactStatus::*;
        matches!(
            self.status,
            MultiXactStatusForUpdate | MultiXactStatusUpdate
        )
    }

    fn updates(&self) -> bool {
        self.status == pg_sys::MultiXactStatus::MultiXactStatusNoKeyUpdate
    }
}

/// The open transactions in a version's `xmax`. The version is an open transaction's: nobody's that has committed.
unsafe fn holders(
    tuple: pg_sys::HeapTupleHeader,
    infomask: u32,
    xmax: pg_sys::TransactionId,
) -> Vec<Holder> {
    use pg_sys::MultiXactStatus::*;
    let mut all = Vec::new();
    if infomask & pg_sys::HEAP_XMAX_INVALID != 0 || xmax == pg_sys::InvalidTransactionId {
        return all;
    }
    let lock_only = infomask & pg_sys::HEAP_XMAX_LOCK_ONLY != 0;
    if infomask & pg_sys::HEAP_XMAX_IS_MULTI != 0 {
        let multi = pg_sys::MultiXactId::from(xmax.into_inner());
        let mut members = std::ptr::null_mut();
        // SAFETY: the multixact of a new tuple; its members are copied before they are freed.
        unsafe {
            let count = pg_sys::GetMultiXactIdMembers(multi, &mut members, false, lock_only);
            for i in 0..count.max(0) as usize {
                let member = *members.add(i);
                all.push(Holder {
                    xid: member.xid,
                    status: member.status,
                });
            }
            if count > 0 {
                pg_sys::pfree(members.cast());
            }
        }
    } else {
        // SAFETY: a tuple on a locked page.
        let keys = u32::from(unsafe { (*tuple).t_infomask2 }) & pg_sys::HEAP_KEYS_UPDATED != 0;
        let lock = infomask & pg_sys::HEAP_XMAX_SHR_LOCK;
        let status = match (lock_only, keys) {
            (false, true) => MultiXactStatusUpdate,
            (false, false) => MultiXactStatusNoKeyUpdate,
            (true, true) => MultiXactStatusForUpdate,
            (true, false) if lock == pg_sys::HEAP_XMAX_KEYSHR_LOCK => MultiXactStatusForKeyShare,
            (true, false) if lock == pg_sys::HEAP_XMAX_SHR_LOCK => MultiXactStatusForShare,
            (true, false) => MultiXactStatusForNoKeyUpdate,
        };
        all.push(Holder { xid: xmax, status });
    }
    all.retain(|holder| is_open(holder.xid));
    all
}

/// The `xmax` of a version that these hold and one more locks, with its bits (as `GetMultiXactIdHintBits` has them).
fn joined(holders: &[Holder], locker: pg_sys::TransactionId) -> (pg_sys::TransactionId, u32) {
    use pg_sys::MultiXactStatus::*;
    if holders.is_empty() {
        let bits = pg_sys::HEAP_XMAX_LOCK_ONLY | pg_sys::HEAP_XMAX_KEYSHR_LOCK;
        return (locker, bits);
    }
    let mut members: Vec<pg_sys::MultiXactMember> = holders
        .iter()
        .map(|holder| pg_sys::MultiXactMember {
            xid: holder.xid,
            status: holder.status,
        })
        .collect();
    members.push(pg_sys::MultiXactMember {
        xid: locker,
        status: MultiXactStatusForKeyShare,
    });
    let strongest = holders.iter().map(|holder| match holder.status {
        MultiXactStatusForKeyShare => (0, pg_sys::HEAP_XMAX_KEYSHR_LOCK),
        MultiXactStatusForShare => (1, pg_sys::HEAP_XMAX_SHR_LOCK),
        _ => (2, pg_sys::HEAP_XMAX_EXCL_LOCK),
    });
    let (_, lock) = strongest
        .max()
        .unwrap_or((0, pg_sys::HEAP_XMAX_KEYSHR_LOCK));
    let updated = holders.iter().any(Holder::updates);
    let only = if updated {
        0
    } else {
        pg_sys::HEAP_XMAX_LOCK_ONLY
    };
    // SAFETY: the members are copied; MultiXactIdSetOldestMember was called.
    let multi =
        unsafe { pg_sys::MultiXactIdCreateFromMembers(members.len() as i32, members.as_mut_ptr()) };
    let bits = pg_sys::HEAP_XMAX_IS_MULTI | lock | only;
    (pg_sys::TransactionId::from(multi.into_inner()), bits)
}

/// Writes a version's `xmax`. It is logged: a prepared transaction keeps its locks through a crash.
unsafe fn set(
    rel: pg_sys::Relation,
    buffer: pg_sys::Buffer,
    at: &pg_sys::ItemPointerData,
    xmax: pg_sys::TransactionId,
    bits: u32,
) {
    // SAFETY: a pinned, exclusively locked page, on which the tuple was found.
    guarded(|| unsafe {
        let log = pg_sys::GenericXLogStart(rel);
        let page = pg_sys::GenericXLogRegisterBuffer(log, buffer, 0);
        if let Some(tuple) = header(page, at.ip_posid) {
            let kept = u32::from((*tuple).t_infomask) & !pg_sys::HEAP_XMAX_BITS;
            (*tuple).t_infomask = (kept | bits) as u16;
            // None of the holders changes the key.
            let mut cleared = pg_sys::HEAP_KEYS_UPDATED;
            if bits & pg_sys::HEAP_XMAX_LOCK_ONLY != 0 {
                // An update that was rolled back has left a link.
                cleared |= pg_sys::HEAP_HOT_UPDATED;
                (*tuple).t_ctid = *at;
            }
            (*tuple).t_infomask2 &= !(cleared as u16);
            (*tuple).t_choice.t_heap.t_xmax = xmax;
        }
        pg_sys::GenericXLogFinish(log);
    });
}

/// The open transactions, other than this one, that have a version locked FOR KEY SHARE.
///
/// # Safety
/// A tuple whose page is pinned and locked.
pub unsafe fn lockers(tuple: pg_sys::HeapTupleHeader) -> Vec<pg_sys::TransactionId> {
    // SAFETY: passed on to the caller.
    let holders = unsafe {
        let infomask = u32::from((*tuple).t_infomask);
        holders(tuple, infomask, (*tuple).t_choice.t_heap.t_xmax)
    };
    let share = pg_sys::MultiXactStatus::MultiXactStatusForKeyShare;
    holders
        .into_iter()
        .filter(|holder| {
            holder.status == share && xact_status(holder.xid) == XactStatus::InProgress
        })
        .map(|holder| holder.xid)
        .collect()
}
