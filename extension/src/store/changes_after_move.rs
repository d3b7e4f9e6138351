// SPDX-License-Identifier: Apache-2.0
//! Rows that this transaction changed where compaction took them, while its snapshot still shows the place where they
//! were: under REPEATABLE READ, a row that the transaction has deleted must not be seen there any more.
//!
//! Only the transaction itself is concerned: a snapshot that sees its changes also sees the move before them. So this
//! is kept in its memory, and each entry is judged by the mark in the new place: savepoints and cursors see what they
//! must.
use super::directory;
use super::moves::{self, Origin};
use super::tid::{block_of, RowNumber};
use super::{anchors, tid};
use crate::pg::toast::Toast;
use crate::pg::{compat, heapam, raw};
use doris_storage::delete_bitmap::Marks;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::collections::HashMap;

/// A TID of a relation file.
type Place = (u32, u32, u16);

thread_local! {
    static CHANGES: RefCell<HashMap<Place, RowNumber>> = RefCell::default();
}

fn place(rel: pg_sys::Relation, at: &pg_sys::ItemPointerData) -> Place {
    (compat::file_number(rel), block_of(at), at.ip_posid)
}

/// Whether there are such rows.
pub fn any() -> bool {
    CHANGES.with_borrow(|changes| !changes.is_empty())
}

/// Forgets everything: the transaction has ended.
pub fn forget() {
    CHANGES.with_borrow_mut(HashMap::clear);
}

/// Notes that the row which the caller knows by `known` is about to be marked at `row`.
pub fn record(
    rel: pg_sys::Relation,
    toast: &Toast,
    known: &pg_sys::ItemPointerData,
    row: RowNumber,
) {
    // SAFETY: plain variable; a transaction that changes rows has a snapshot.
    let snapshot = unsafe {
        if pg_sys::XactIsoLevel < pg_sys::XACT_REPEATABLE_READ as i32 {
            return;
        }
        pg_sys::GetTransactionSnapshot()
    };
    let mut at = *known;
    loop {
        let Some(candidate) = RowNumber::from_tid(&at) else {
            if heapam::sees(rel, &at, snapshot) {
                CHANGES.with_borrow_mut(|f| f.insert(place(rel, &at), row));
            }
            return;
        };
        let Some(found) = directory::owner(rel, toast, candidate.0, snapshot) else {
            return;
        };
        if found.visible {
            if candidate != row {
                CHANGES.with_borrow_mut(|f| f.insert(place(rel, &at), row));
            }
            return;
        }
        if found.entry.level == 0 {
            return;
        }
        match moves::origin(rel, toast, candidate, found.xmin) {
            Some(Origin::Heap(before)) => at = before,
            Some(Origin::Row(before)) => at = before.to_tid(),
            None => return,
        }
    }
}

/// Where this transaction has changed the row that a snapshot sees at a TID, if the snapshot sees that change.
pub fn changed(
    rel: pg_sys::Relation,
    at: &pg_sys::ItemPointerData,
    snapshot: pg_sys::Snapshot,
) -> Option<RowNumber> {
    let row = CHANGES.with_borrow(|f| match f.is_empty() {
        true => None,
        false => f.get(&place(rel, at)).copied(),
    })?;
    if !raw::is_mvcc(snapshot) {
        return None;
    }
    let toast = Toast::open(rel, pg_sys::AccessShareLock as i32)?;
    (!anchors::alive(rel, &toast, row, snapshot)).then_some(row)
}

/// Adds the positions, relative to `first`, of rows before `end` that this transaction has changed elsewhere.
pub fn add_changed(
    rel: pg_sys::Relation,
    (first, end): (u64, u64),
    snapshot: pg_sys::Snapshot,
    dead: &mut Marks,
) {
    let file = compat::file_number(rel);
    let candidates: Vec<RowNumber> = CHANGES.with_borrow(|f| {
        f.keys()
            .filter(|place| place.0 == file)
            .filter_map(|place| RowNumber::from_tid(&tid::tid(place.1, place.2)))
            .filter(|row| (first..end).contains(&row.0))
            .collect()
    });
    for row in candidates {
        if changed(rel, &row.to_tid(), snapshot).is_some() {
            dead.add((row.0 - first) as u32);
        }
    }
}
