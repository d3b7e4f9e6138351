// SPDX-License-Identifier: Apache-2.0
//! A backend's cache of segments without a row left: imports that replace what earlier ones brought leave
//! such segments until compaction, and each scan would read all of their marks to find that out again.
//!
//! Rows stay deleted. So a segment that was found empty by what had committed stays so
//! for every snapshot for which all of that has ended.
use super::entry::Entry;
use super::segment::{identity, Identity};
use crate::pg::raw;
use crate::pg::toast::Toast;
use foldhash::fast::RandomState;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::collections::HashMap;

/// Segments that a backend keeps.
const SEGMENTS_MAX: usize = 65_536;

thread_local! {
    /// For each segment the first transaction id that may not have ended when it was found empty.
    static EMPTY: RefCell<HashMap<Identity, pg_sys::TransactionId, RandomState>> = RefCell::default();
}

/// Whether a snapshot is of use here. Serializable transactions look at each mark.
fn suits(snapshot: pg_sys::Snapshot) -> bool {
    raw::is_mvcc(snapshot) && !raw::serializable()
}

/// Whether a snapshot surely sees no row of a segment.
pub fn is_empty(toast: &Toast, entry: &Entry, snapshot: pg_sys::Snapshot) -> bool {
    let known = EMPTY.with_borrow(|empty| empty.get(&identity(toast, entry)).copied());
    // SAFETY: a valid snapshot of the caller.
    suits(snapshot)
        && known
            .is_some_and(|until| unsafe { !pg_sys::TransactionIdPrecedes((*snapshot).xmin, until) })
}

/// Notes that a snapshot sees no row of a segment, unless that may be this transaction's doing.
pub fn record(toast: &Toast, entry: &Entry, snapshot: pg_sys::Snapshot) {
    // SAFETY: plain call; a valid snapshot of the caller.
    let (own, until) = unsafe { (pg_sys::GetTopTransactionIdIfAny(), (*snapshot).xmax) };
    if !suits(snapshot) || own != pg_sys::InvalidTransactionId {
        return;
    }
    EMPTY.with_borrow_mut(|empty| {
        if empty.len() >= SEGMENTS_MAX {
            empty.clear();
        }
        // What is there was found with an older snapshot, mostly.
        empty.entry(identity(toast, entry)).or_insert(until);
    });
}
