// SPDX-License-Identifier: Apache-2.0
//! Unused anchors, live ones that nobody holds: what foreign keys' checks and row locks leave of segment rows
//! ([`super::anchors`]).
//!
//! They are deleted like any tuple, by a transaction that commits right after: who has found one just before and waits
//! for its lock looks again, and nobody may use its place again as long as a snapshot is older. Who comes for a row
//! lock meanwhile waits, even if it would not wait for a lock: nobody holds the row.
use super::chunk_ids;
use super::entry::Anchor;
use crate::pg;
use crate::pg::toast::{Toast, XactStatus};
use pgrx::pg_sys;

/// All of them, as they are now.
pub fn find(main: pg_sys::Relation, toast: &Toast) -> Vec<pg_sys::ItemPointerData> {
    let mut found = Vec::new();
    each(main, toast, |at| {
        found.push(at);
        true
    });
    found
}

/// Whether there is one.
pub fn any(main: pg_sys::Relation, toast: &Toast) -> bool {
    let mut any = false;
    each(main, toast, |_| {
        any = true;
        false
    });
    any
}

/// Visits them until told to stop.
fn each(
    main: pg_sys::Relation,
    toast: &Toast,
    mut visit: impl FnMut(pg_sys::ItemPointerData) -> bool,
) {
    if toast.blocks() == 0 {
        return;
    }
    let (low, high) = chunk_ids::anchors();
    toast.scan_ids(low, high, |version| {
        let anchor =
            Anchor::decode(version.payload()).unwrap_or_else(|e| pg::report_corrupt(main, e));
        let there = || {
            let deleter = version.deleter();
            version.writer_status() == XactStatus::Committed
                && deleter.is_none_or(|(_, status)| status == XactStatus::Aborted)
        };
        pgrx::check_for_interrupts!();
        let unused = anchor == Anchor::Live && there() && !version.locked();
        !unused || visit(version.tid())
    });
}
