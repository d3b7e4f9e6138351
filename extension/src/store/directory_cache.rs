// SPDX-License-Identifier: Apache-2.0
//! A backend's cache of a table's directory and bulk deletes, for single rows that are searched by key, deleted or
//! updated: reading them costs more than all else of it.
//!
//! Only what is settled is kept: entries and bulk deletes of transactions that have ended. Whatever changes either of
//! them does so with the registration lock held exclusively, and counts the allocator's serial up
//! ([`directory::serial`]). So what was read under one state of the allocator holds as long as the holder of the
//! registration lock finds the allocator in that state.
//!
//! Readers of single rows look at it without the registration lock: what is committed for a snapshot was counted before
//! the snapshot was taken. So where the allocator is as it was, a segment that had settled before the snapshot is there
//! for it, and a row that nobody had deleted in bulk is not deleted for it.
use super::delete_bitmaps;
use super::delete_bitmaps::slice_of;
use super::directory::{self, FoundSegment};
use super::entry::{Allocator, SegmentState};
use super::registration_lock::{Mode, RegistrationLock};
use super::tid::RowNumber;
use crate::pg::toast::{Toast, XactStatus};
use crate::pg::{self, compat, raw};
use doris_storage::delete_bitmap::SLICE_ROWS;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// The rows of a slice that are deleted in bulk, a bit each; `None` when none is.
type DeletedRows = Option<Rc<[u64; SLICE_ROWS as usize / 64]>>;

/// Slices kept for a table: 16 MiB.
const SLICES_MAX: usize = 4096;
/// Tables kept.
const TABLES_MAX: usize = 64;

/// The segments in which rows may be.
pub struct Segments {
    /// In row order.
    pub all: Vec<FoundSegment>,
    /// Positions in `all`, the segment of most rows first: one that is searched for a key finds it there most likely.
    pub by_size: Vec<usize>,
    /// What they come to, if no transaction is open that may change that.
    totals: Option<Totals>,
    /// Who has retired others that are still in the directory.
    retired_by: Vec<pg_sys::TransactionId>,
}

/// What a table's segments come to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Rows, deleted ones too.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
    /// How many there are.
    pub segments: usize,
}

impl Totals {
    /// Those of some segments.
    pub fn of<'a>(segments: impl Iterator<Item = &'a FoundSegment>) -> Self {
        segments.fold(Self::default(), |totals, found| Self {
            rows: totals.rows + u64::from(found.entry.rows),
            bytes: totals.bytes + found.entry.stream_bytes,
            segments: totals.segments + 1,
        })
    }
}

impl Segments {
    fn new(all: Vec<FoundSegment>, stay: bool, retired_by: Vec<pg_sys::TransactionId>) -> Self {
        let mut by_size: Vec<usize> = (0..all.len()).collect();
        by_size.sort_by_key(|at| std::cmp::Reverse((all[*at].entry.rows, *at)));
        let totals = stay.then(|| Totals::of(all.iter()));
        Self {
            all,
            by_size,
            totals,
            retired_by,
        }
    }

    /// Those that an MVCC snapshot sees, if they are the same for every snapshot since.
    fn of_snapshot(&self, snapshot: pg_sys::Snapshot) -> Option<Vec<FoundSegment>> {
        let xids = self.all.iter().map(|found| &found.xmin);
        let mut xids = xids.chain(&self.retired_by);
        // SAFETY: a valid snapshot of the caller.
        let ended =
            xids.all(|xid| unsafe { pg_sys::TransactionIdPrecedes(*xid, (*snapshot).xmin) });
        (self.totals.is_some() && ended).then(|| self.all.clone())
    }
}

struct CachedTable {
    file: u32,
    allocator: pg_sys::ItemPointerData,
    /// The buffer in which the allocator was last found.
    buffer: pg_sys::Buffer,
    state: Allocator,
    segments: Option<Rc<Segments>>,
    /// The transaction that last found the segments not settled.
    unsettled: pg_sys::TransactionId,
    slices: HashMap<u64, DeletedRows>,
    /// Readers that found something missing in vain since the state came.
    misses: u32,
}

/// Once something was read in vain, one of so many readers that find something missing reads it.
const MISSES_PER_READ: u32 = 128;

thread_local! {
    static CACHE: RefCell<HashMap<pg_sys::Oid, CachedTable>> = RefCell::default();
}

/// Forgets a table, or all of them when the OID is invalid.
pub fn forget(relid: pg_sys::Oid) {
    let dropped = CACHE.with_borrow_mut(|known| {
        if relid == pg_sys::InvalidOid {
            known.drain().map(|(_, known)| known).collect::<Vec<_>>()
        } else {
            known.remove(&relid).into_iter().collect()
        }
    });
    drop(dropped);
}

/// Whether what is known of a table holds; what does not is forgotten.
fn is_valid(main: pg_sys::Relation, toast: &Toast) -> bool {
    let relid = pg::relation_id(main);
    let file = compat::file_number(toast.rel);
    let known = CACHE.with_borrow(|known| {
        let known = known.get(&relid).filter(|known| known.file == file)?;
        Some((known.allocator, known.state, known.buffer))
    });
    if let Some((at, state, buffer)) = known {
        let mut found = buffer;
        let now = directory::allocator_at(toast, at, &mut found);
        if found != buffer {
            CACHE.with_borrow_mut(|known| {
                if let Some(known) = known.get_mut(&relid) {
                    known.buffer = found;
                }
            });
        }
        if now == Some(state) {
            return true;
        }
    }
    let Some((allocator, state)) = directory::allocator(main, toast) else {
        forget(relid);
        return false;
    };
    let fresh = CachedTable {
        file,
        allocator,
        buffer: 0,
        state,
        segments: None,
        unsettled: pg_sys::InvalidTransactionId,
        slices: HashMap::new(),
        misses: 0,
    };
    let dropped = CACHE.with_borrow_mut(|known| {
        let full = known.len() >= TABLES_MAX && !known.contains_key(&relid);
        let others = full.then(|| std::mem::take(known));
        (others, known.insert(relid, fresh))
    });
    drop(dropped);
    true
}

/// The segments in which rows may be now: of this transaction, of committed and of open ones. Those still being built
/// by others are not published: who publishes them will find what is there by then.
pub fn segments(
    _registration: &RegistrationLock,
    main: pg_sys::Relation,
    toast: &Toast,
) -> Rc<Segments> {
    let relid = pg::relation_id(main);
    let holds = is_valid(main, toast);
    let known = CACHE.with_borrow(|known| known.get(&relid)?.segments.clone());
    if let (true, Some(segments)) = (holds, known) {
        return segments;
    }
    let mut all = directory::all(main, toast, &raw mut pg_sys::SnapshotAnyData);
    // One that is being built is left out below, and tells nobody when it is sealed.
    let ended = |status: XactStatus| matches!(status, XactStatus::Committed | XactStatus::Aborted);
    let deleted = |found: &FoundSegment| found.deleter.is_none_or(|(_, status)| ended(status));
    let stay = all
        .iter()
        .all(|found| ended(found.writer) && deleted(found));
    let retirer = |found: &FoundSegment| {
        let retired = |status| matches!(status, XactStatus::Own | XactStatus::Committed);
        let (xid, status) = found.deleter?;
        retired(status).then_some(xid)
    };
    let retired_by = all.iter().filter_map(retirer).collect();
    all.retain(|found| {
        let sealed = found.entry.state == SegmentState::Sealed;
        found.writer != XactStatus::Aborted && sealed && retirer(found).is_none()
    });
    let settled = all.iter().all(is_settled);
    let segments = Rc::new(Segments::new(all, stay, retired_by));
    if holds && settled {
        CACHE.with_borrow_mut(|known| {
            if let Some(known) = known.get_mut(&relid) {
                known.segments = Some(Rc::clone(&segments));
            }
        });
    }
    segments
}

/// The segment that owns a row, if all segments are settled and this one is; who has no registration lock gets an
/// answer that may be a moment old.
pub fn settled(main: pg_sys::Relation, toast: &Toast, row: RowNumber) -> Option<FoundSegment> {
    if !is_valid(main, toast) {
        return None;
    }
    let relid = pg::relation_id(main);
    CACHE.with_borrow(|known| {
        let all = &known.get(&relid)?.segments.as_ref()?.all;
        let next = all.partition_point(|found| found.entry.first_row <= row.0);
        let found = all.get(next.checked_sub(1)?)?;
        found.entry.covers(row.0).then_some(*found)
    })
}

/// What the segments come to if no transaction is open that may change that; as of a moment ago.
pub fn totals(main: pg_sys::Relation, toast: &Toast) -> Option<Totals> {
    if !is_valid(main, toast) {
        return None;
    }
    let relid = pg::relation_id(main);
    let known = || CACHE.with_borrow(|known| known.get(&relid)?.segments.as_ref()?.totals);
    known().or_else(|| {
        read_missing(main, toast, |registration| {
            segments(registration, main, toast);
            known()
        })
    })
}

/// The segments that a snapshot sees, in row order. Where all transactions of the directory have ended for it, they are
/// not read again.
pub fn visible(
    main: pg_sys::Relation,
    toast: &Toast,
    snapshot: pg_sys::Snapshot,
) -> Vec<FoundSegment> {
    compat::refuse_old_snapshot(main, snapshot);
    let suits = raw::is_mvcc(snapshot) && !raw::serializable();
    let relid = pg::relation_id(main);
    let known = || {
        CACHE.with_borrow(|known| {
            let segments = known.get(&relid)?.segments.as_ref()?;
            segments.of_snapshot(snapshot)
        })
    };
    let known = (suits && is_valid(main, toast)).then(known).flatten();
    known.unwrap_or_else(|| directory::visible(main, toast, snapshot))
}

/// The segment that owns a row, if a snapshot sees it for certain.
pub fn settled_before(
    main: pg_sys::Relation,
    toast: &Toast,
    row: RowNumber,
    snapshot: pg_sys::Snapshot,
) -> Option<FoundSegment> {
    let known = settled(main, toast, row).or_else(|| {
        read_missing(main, toast, |registration| {
            segments(registration, main, toast);
            settled(main, toast, row)
        })
    });
    // SAFETY: a valid MVCC snapshot.
    known.filter(|found| unsafe { pg_sys::TransactionIdPrecedes(found.xmin, (*snapshot).xmin) })
}

/// Whether no transaction whose commit a snapshot could see has deleted a row in bulk; false where that is not known.
pub fn is_surely_not_bulk_deleted(main: pg_sys::Relation, toast: &Toast, row: RowNumber) -> bool {
    let known = cached_bulk_delete(main, toast, row).or_else(|| {
        read_missing(main, toast, |registration| {
            is_bulk_deleted(registration, main, toast, row)
        })
    });
    known == Some(false)
}

/// Reads what a reader found missing, if it is its turn and nobody is in the way.
fn read_missing<T>(
    main: pg_sys::Relation,
    toast: &Toast,
    read: impl FnOnce(&RegistrationLock) -> Option<T>,
) -> Option<T> {
    let relid = pg::relation_id(main);
    let misses = CACHE.with_borrow(|known| Some(known.get(&relid)?.misses))?;
    let registration = match misses % MISSES_PER_READ {
        0 => RegistrationLock::try_acquire(toast, Mode::Shared),
        _ => None,
    };
    let answer = registration.and_then(|registration| read(&registration));
    if answer.is_none() {
        CACHE.with_borrow_mut(|known| {
            if let Some(known) = known.get_mut(&relid) {
                known.misses += 1;
            }
        });
    }
    answer
}

/// As [`settled`], with the registration lock, so that it holds until the registration lock is given up. What is not
/// known is read, but not once a row where it would be read in vain.
pub fn settled_now(
    registration: &RegistrationLock,
    main: pg_sys::Relation,
    toast: &Toast,
    row: RowNumber,
) -> Option<FoundSegment> {
    if let Some(found) = settled(main, toast, row) {
        return Some(found);
    }
    let relid = pg::relation_id(main);
    // SAFETY: plain call; the caller is about to write.
    let xid = unsafe { pg_sys::GetCurrentTransactionId() };
    let worth = CACHE.with_borrow_mut(|known| {
        known.get_mut(&relid).is_some_and(|known| {
            let unknown = known.segments.is_none() && known.unsettled != xid;
            known.unsettled = xid;
            unknown
        })
    });
    if !worth {
        return None;
    }
    segments(registration, main, toast);
    settled(main, toast, row)
}

/// The segment that owns a row, by the latest state.
pub fn owner(main: pg_sys::Relation, toast: &Toast, row: RowNumber) -> Option<FoundSegment> {
    settled(main, toast, row)
        .or_else(|| directory::owner(main, toast, row.0, &raw mut pg_sys::SnapshotAnyData))
}

/// Whether a segment is there for good, as far as open transactions are concerned.
pub fn is_settled(found: &FoundSegment) -> bool {
    let stays = found
        .deleter
        .is_none_or(|(_, status)| status == XactStatus::Aborted);
    found.writer == XactStatus::Committed && stays
}

/// Whether a row was deleted in bulk; `None` when a transaction has not ended that may have done so.
pub fn is_bulk_deleted(
    _registration: &RegistrationLock,
    main: pg_sys::Relation,
    toast: &Toast,
    row: RowNumber,
) -> Option<bool> {
    let known = cached_bulk_delete(main, toast, row);
    if known.is_some() {
        return known;
    }
    let relid = pg::relation_id(main);
    let slice = slice_of(row.0);
    let dead = read(main, toast, slice)?;
    let answer = is_dead(&dead, row);
    let dropped = CACHE.with_borrow_mut(|known| {
        let known = known.get_mut(&relid)?;
        let full = known.slices.len() >= SLICES_MAX;
        let others = full.then(|| std::mem::take(&mut known.slices));
        known.slices.insert(slice, dead);
        others
    });
    drop(dropped);
    Some(answer)
}

fn is_dead(dead: &DeletedRows, row: RowNumber) -> bool {
    let at = (row.0 % u64::from(SLICE_ROWS)) as usize;
    let bit = |bits: &Rc<[u64; SLICE_ROWS as usize / 64]>| bits[at / 64] >> (at % 64) & 1 == 1;
    dead.as_ref().is_some_and(bit)
}

/// Whether a row was deleted in bulk, if its slice is known.
fn cached_bulk_delete(main: pg_sys::Relation, toast: &Toast, row: RowNumber) -> Option<bool> {
    if !is_valid(main, toast) {
        return None;
    }
    let relid = pg::relation_id(main);
    let slice = slice_of(row.0);
    CACHE.with_borrow(|known| {
        let dead = known.get(&relid)?.slices.get(&slice)?;
        Some(is_dead(dead, row))
    })
}

/// The rows of a slice that are deleted in bulk; `None` when a transaction that deletes some has not ended.
fn read(main: pg_sys::Relation, toast: &Toast, slice: u64) -> Option<DeletedRows> {
    let first = slice * u64::from(SLICE_ROWS);
    let mut bits: Option<[u64; SLICE_ROWS as usize / 64]> = None;
    let mut settled = true;
    let end = first + u64::from(SLICE_ROWS);
    delete_bitmaps::each(main, toast, first, end, |version, slice| {
        match version.writer_status() {
            XactStatus::Aborted => {}
            XactStatus::Committed => {
                let bits = bits.get_or_insert([0; SLICE_ROWS as usize / 64]);
                slice.each(|row| {
                    let at = (row - first) as usize;
                    bits[at / 64] |= 1 << (at % 64);
                });
            }
            XactStatus::Own | XactStatus::InProgress => settled = false,
        }
        settled
    });
    settled.then(|| bits.map(Rc::new))
}

/// Says that segments are about to be published or retired; the caller holds the registration lock exclusively.
pub fn invalidate(registration: &RegistrationLock, main: pg_sys::Relation, toast: &Toast) {
    debug_assert!(registration.is_exclusive());
    directory::serial(main, toast);
}
