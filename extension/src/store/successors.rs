// SPDX-License-Identifier: Apache-2.0
//! Where the next versions are of segment rows that a statement has updated in bulk. The rows are marked beforehand
//! ([`super::delete_bitmaps`]), as nobody else may have them from then on; where their next versions are is filed after
//! those were written, in tuples of the same transaction.
//!
//! Whoever finds the mark of an open transaction waits for it, and finds what it has filed once it has committed. But
//! FOR KEY SHARE does not wait: such an update leaves the key alone. Before a row's successor is filed, the lock is
//! taken on the row's anchor, and goes along when the successor is filed; from then on, the locker does both itself
//! (`anchors`). The registration lock sets the two apart.
use super::chunk_ids::{self, CHUNK_BYTES};
use super::delete_bitmaps::{slice_of, SLICE_ROWS};
use super::directory;
use super::entry::Anchor;
use super::registration_lock::{Mode, RegistrationLock};
use super::tid::{tid, RowNumber};
use crate::pg;
use crate::pg::toast::Toast;
use crate::pg::{key_share, toast};
use doris_storage::successors::{self, Successor};
use pgrx::pg_sys;

/// Updated rows whose next versions are written, but not filed: (row, block, offset).
pub type Pending = Vec<(u64, u32, u16)>;

/// Files where the next versions of rows are which command `cid` of this transaction has updated in bulk. Each row
/// comes once.
pub fn file(main: pg_sys::Relation, toast: &Toast, mut rows: Pending, cid: pg_sys::CommandId) {
    if rows.is_empty() {
        return;
    }
    rows.sort_unstable();
    let mut locked = Vec::new();
    let registration = RegistrationLock::acquire(toast, Mode::Exclusive);
    for slice in rows.chunk_by(|a, b| slice_of(a.0) == slice_of(b.0)) {
        note_lockers(main, toast, slice, &mut locked);
        file_slice(main, toast, slice, cid);
    }
    drop(registration);
    // SAFETY: plain call.
    let maker = unsafe { pg_sys::GetCurrentTransactionId() };
    for (next, locker) in locked {
        if key_share::add(main, next, maker, locker) != key_share::Added::Done {
            pgrx::error!(
                "could not keep the row locks of an updated row of \"{}\"",
                pg::relation_name(main)
            );
        }
    }
}

/// The FOR KEY SHARE locks that others have come to hold on rows since they were marked.
fn note_lockers(
    main: pg_sys::Relation,
    toast: &Toast,
    rows: &[(u64, u32, u16)],
    locked: &mut Vec<(pg_sys::ItemPointerData, pg_sys::TransactionId)>,
) {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
        return;
    };
    let (chunk_id, low) = chunk_ids::anchor(first.0);
    let high = chunk_ids::anchor(last.0).1;
    toast.scan(chunk_id, low, high, false, |version| {
        let row = first.0 + u64::from((version.seq() - low) as u32);
        let anchor =
            Anchor::decode(version.payload()).unwrap_or_else(|e| pg::report_corrupt(main, e));
        if let (Anchor::Live, Ok(at)) = (anchor, rows.binary_search_by_key(&row, |row| row.0)) {
            let next = tid(rows[at].1, rows[at].2);
            let lockers = version.key_sharers();
            locked.extend(lockers.into_iter().map(|locker| (next, locker)));
        }
        true
    });
}

fn file_slice(
    main: pg_sys::Relation,
    toast: &Toast,
    rows: &[(u64, u32, u16)],
    cid: pg_sys::CommandId,
) {
    let number = slice_of(rows[0].0);
    let base = number * u64::from(SLICE_ROWS);
    let encoded: Vec<Successor> = rows
        .iter()
        .map(|(row, block, offset)| Successor {
            position: (row - base) as u16,
            block: *block,
            offset: *offset,
        })
        .collect();
    let mut at = 0;
    while at < encoded.len() {
        let (payload, count) = successors::encode(base, &encoded[at..], CHUNK_BYTES)
            .unwrap_or_else(|e| {
                pgrx::error!(
                    "could not encode updated rows of \"{}\": {e}",
                    pg::relation_name(main)
                )
            });
        let key = chunk_ids::successors(number, directory::serial(main, toast));
        toast.insert(key, &payload, cid, 0, std::ptr::null_mut());
        at += count;
    }
}

/// Where the next version of a row is that `updater` has updated in bulk; `None` as long as that is not filed.
pub fn of(
    main: pg_sys::Relation,
    toast: &Toast,
    row: RowNumber,
    updater: pg_sys::TransactionId,
) -> Option<(u32, u16)> {
    let mut next = None;
    each(main, toast, slice_of(row.0), |version| {
        if version.raw_xmin() == updater {
            let found = successors::find(version.payload(), row.0);
            next = found.unwrap_or_else(|e| pg::report_corrupt(main, e));
        }
        next.is_none()
    });
    next.map(|next| (next.block, next.offset))
}

/// Calls `visit` with what is filed of a slice, until it returns false.
pub fn each(
    main: pg_sys::Relation,
    toast: &Toast,
    slice: u64,
    mut visit: impl FnMut(&toast::Version) -> bool,
) {
    let id = chunk_ids::successors(slice, 0).0;
    toast.scan_ids(id, id, |version| {
        let first = successors::first_row(version.payload());
        let first = first.unwrap_or_else(|e| pg::report_corrupt(main, e));
        slice_of(first) != slice || visit(version)
    });
}

/// Calls `visit` with each row of a tuple that [`each`] has visited, until it returns true.
pub fn rows(main: pg_sys::Relation, version: &toast::Version, mut visit: impl FnMut(u64) -> bool) {
    let read = successors::first_row(version.payload()).and_then(|first| {
        successors::each(version.payload(), |row| {
            visit(first + u64::from(row.position))
        })
    });
    read.unwrap_or_else(|e| pg::report_corrupt(main, e));
}
