// SPDX-License-Identifier: Apache-2.0
//! Inserts, deletes and updates; row locks are in [`super::lock`].
//!
//! The first few thousand rows that a command inserts go to the heap; when more follow, they go to a segment
//! under construction. Rows of ON CONFLICT (speculative inserts) and new versions of rows stay in the heap.
use crate::bulk_dml::bulk_mark;
use crate::compact::shared_state as compaction;
use crate::heap_call;
use crate::keys::{self, index_shell, record_deletes};
use crate::options::published::{self, Change};
use crate::pg::toast::Toast;
use crate::pg::{self, compat, heapam, raw};
use crate::store::anchors::{self, Request};
use crate::store::changes_after_move;
use crate::store::delete_bitmaps::MarkKind;
use crate::store::directory_cache;
use crate::store::entry::Anchor;
use crate::store::moves;
use crate::store::tid::{block_of, RowNumber};
use crate::write::builder;
use pgrx::pg_sys::TM_Result::{self, TM_Deleted, TM_Invisible, TM_Ok, TM_Updated};
use pgrx::{pg_guard, pg_sys};

/// Puts this module's callbacks into the routine table.
pub fn install(table: &mut pg_sys::TableAmRoutine) {
    table.tuple_insert = Some(tuple_insert);
    table.tuple_insert_speculative = Some(tuple_insert_speculative);
    table.multi_insert = Some(multi_insert);
    table.finish_bulk_insert = Some(finish_bulk_insert);
    table.tuple_delete = Some(tuple_delete);
    table.tuple_update = Some(tuple_update);
}

#[pg_guard]
unsafe extern "C-unwind" fn tuple_insert(
    rel: pg_sys::Relation,
    slot: *mut pg_sys::TupleTableSlot,
    cid: pg_sys::CommandId,
    options: i32,
    bistate: *mut pg_sys::BulkInsertStateData,
) {
    // SAFETY: PostgreSQL passes a slot of the relation's row type.
    unsafe {
        if keys::insert(rel, &[slot], cid, options, bistate) {
            return;
        }
        if builder::takes(rel, 1, cid) {
            // A bulk-insert state is a loader's (COPY, CREATE TABLE AS, a table rewrite): an INSERT may
            // return TIDs.
            builder::append(rel, &[slot], cid, !bistate.is_null());
        } else {
            heap_call!(tuple_insert(rel, slot, cid, options, bistate));
            compaction::count_heap_rows(rel, 1);
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn multi_insert(
    rel: pg_sys::Relation,
    slots: *mut *mut pg_sys::TupleTableSlot,
    nslots: i32,
    cid: pg_sys::CommandId,
    options: i32,
    bistate: *mut pg_sys::BulkInsertStateData,
) {
    // SAFETY: PostgreSQL passes `nslots` slots of the relation's row type.
    unsafe {
        let batch = std::slice::from_raw_parts(slots, nslots as usize);
        if keys::insert(rel, batch, cid, options, bistate) {
            return;
        }
        if builder::takes(rel, batch.len(), cid) {
            builder::append(rel, batch, cid, !bistate.is_null());
        } else {
            heap_call!(multi_insert(rel, slots, nslots, cid, options, bistate));
            compaction::count_heap_rows(rel, nslots as u64);
        }
    }
}

/// The rows of ON CONFLICT go to the heap; the key index and the segments are searched when their entries are
/// made.
#[pg_guard]
unsafe extern "C-unwind" fn tuple_insert_speculative(
    rel: pg_sys::Relation,
    slot: *mut pg_sys::TupleTableSlot,
    cid: pg_sys::CommandId,
    options: i32,
    bistate: *mut pg_sys::BulkInsertStateData,
    token: u32,
) {
    index_shell::begin_rows(rel);
    // SAFETY: PostgreSQL's arguments, passed on.
    unsafe {
        heap_call!(tuple_insert_speculative(
            rel, slot, cid, options, bistate, token
        ));
        compaction::count_heap_rows(rel, 1);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn finish_bulk_insert(rel: pg_sys::Relation, _options: i32) {
    builder::finish(rel);
}

/// The TOAST relation of a table that has segment rows; its absence is corruption.
pub fn toast_for_write(rel: pg_sys::Relation) -> Toast {
    Toast::open(rel, pg_sys::RowExclusiveLock as i32)
        .unwrap_or_else(|| pg::report_corrupt(rel, "a segment row's TID, but no column store"))
}

fn request(cid: pg_sys::CommandId, wait: bool, oper: pg_sys::XLTW_Oper::Type) -> Request {
    let wait = if wait {
        pg_sys::LockWaitPolicy::LockWaitBlock
    } else {
        pg_sys::LockWaitPolicy::LockWaitSkip
    };
    Request { cid, wait, oper }
}

/// What forbids writing a row at all: it came to be in this very command, or (for referential integrity
/// under REPEATABLE READ) the crosscheck snapshot does not see it.
pub fn forbidden(
    rel: pg_sys::Relation,
    toast: &Toast,
    row: RowNumber,
    cid: pg_sys::CommandId,
) -> Option<TM_Result::Type> {
    let Some(found) = directory_cache::owner(rel, toast, row) else {
        return Some(TM_Deleted);
    };
    let own = found.writer == crate::pg::toast::XactStatus::Own;
    (own && found.cmin >= cid).then_some(TM_Invisible)
}

/// The segment row that compaction has made of a heap row which the heap says is deleted.
pub unsafe fn moved_from_heap(
    rel: pg_sys::Relation,
    tid: &pg_sys::ItemPointerData,
    result: TM_Result::Type,
    mover: pg_sys::TransactionId,
) -> Option<RowNumber> {
    if result != TM_Deleted {
        return None;
    }
    let toast = Toast::open(rel, pg_sys::RowExclusiveLock as i32)?;
    moves::of_heap_row(rel, &toast, tid, mover)
}

/// Whether a snapshot that must agree does not see a row: where its TID says, or where it was before.
fn crosscheck_fails(
    rel: pg_sys::Relation,
    toast: &Toast,
    tid: &pg_sys::ItemPointerData,
    crosscheck: pg_sys::Snapshot,
) -> bool {
    if crosscheck.is_null() {
        return false;
    }
    match RowNumber::from_tid(tid) {
        Some(row) => !anchors::seen_before_moves(rel, toast, row, crosscheck),
        None => !heapam::sees(rel, tid, crosscheck),
    }
}

#[pg_guard]
#[allow(clippy::too_many_arguments)]
unsafe extern "C-unwind" fn tuple_delete(
    rel: pg_sys::Relation,
    tid: pg_sys::ItemPointer,
    cid: pg_sys::CommandId,
    snapshot: pg_sys::Snapshot,
    crosscheck: pg_sys::Snapshot,
    wait: bool,
    tmfd: *mut pg_sys::TM_FailureData,
    changing_part: bool,
) -> TM_Result::Type {
    keys::partition_move::deleted(rel, cid);
    // SAFETY: PostgreSQL passes an open relation, a TID and an out parameter.
    unsafe {
        if bulk_mark::confirm(rel, &*tid, cid, MarkKind::Deleted) {
            pg_sys::pgstat_count_heap_delete(rel);
            return TM_Ok;
        }
        let mut row = match RowNumber::from_tid(&*tid) {
            Some(row) => row,
            None => {
                let result = heap_call!(tuple_delete(
                    rel,
                    tid,
                    cid,
                    snapshot,
                    crosscheck,
                    wait,
                    tmfd,
                    changing_part
                ));
                if result == TM_Ok && !changing_part {
                    record_deletes::heap_row(rel, *tid, cid);
                }
                match moved_from_heap(rel, &*tid, result, (*tmfd).xmax) {
                    Some(row) => row,
                    None => return replaced(rel, *tid, result, &mut *tmfd),
                }
            }
        };
        let toast = toast_for_write(rel);
        if let Some(result) = forbidden(rel, &toast, row, cid) {
            return result;
        }
        let request = request(cid, wait, pg_sys::XLTW_Oper::XLTW_Delete);
        let claim = match anchors::claim(rel, &toast, &mut row, request, &mut *tmfd) {
            Ok(claim) => claim,
            Err(result) => return replaced(rel, *tid, result, &mut *tmfd),
        };
        if crosscheck_fails(rel, &toast, &*tid, crosscheck) {
            return refuse(rel, row, claim, &mut *tmfd);
        }
        changes_after_move::record(rel, &toast, &*tid, row);
        // Triggers fetch the row by this once more.
        let read_as = std::mem::replace(&mut *tid, row.to_tid());
        published::check(rel, Change::Delete);
        let how = if changing_part {
            Anchor::MovedPartition
        } else {
            Anchor::Deleted
        };
        anchors::write_tombstone(rel, &toast, row, claim, how, cid);
        check_rw_conflicts(rel, read_as, row);
        if !changing_part {
            record_deletes::segment_rows(rel, &[row.0], cid);
        }
        pg_sys::pgstat_count_heap_delete(rel);
        TM_Ok
    }
}

/// A row of a keyed table that another transaction has deleted and that has a successor was replaced: updated, as
/// far as the caller is concerned.
fn replaced(
    rel: pg_sys::Relation,
    tid: pg_sys::ItemPointerData,
    result: TM_Result::Type,
    tmfd: &mut pg_sys::TM_FailureData,
) -> TM_Result::Type {
    if result != TM_Deleted {
        return result;
    }
    match keys::replacement_row::successor(rel, tid) {
        Some(next) => {
            tmfd.ctid = next;
            TM_Updated
        }
        None => TM_Deleted,
    }
}

/// The answer when the crosscheck snapshot does not see a row that is there: somebody changed it since.
fn refuse(
    rel: pg_sys::Relation,
    row: RowNumber,
    claim: anchors::Claim,
    tmfd: &mut pg_sys::TM_FailureData,
) -> TM_Result::Type {
    anchors::release(rel, row, claim);
    tmfd.ctid = row.to_tid();
    tmfd.xmax = pg_sys::InvalidTransactionId;
    tmfd.cmax = pg_sys::InvalidCommandId;
    TM_Updated
}

#[pg_guard]
#[allow(clippy::too_many_arguments)]
unsafe extern "C-unwind" fn tuple_update(
    rel: pg_sys::Relation,
    otid: pg_sys::ItemPointer,
    slot: *mut pg_sys::TupleTableSlot,
    cid: pg_sys::CommandId,
    snapshot: pg_sys::Snapshot,
    crosscheck: pg_sys::Snapshot,
    wait: bool,
    tmfd: *mut pg_sys::TM_FailureData,
    lockmode: *mut pg_sys::LockTupleMode::Type,
    update_indexes: *mut compat::UpdateIndexes,
) -> TM_Result::Type {
    index_shell::begin_rows(rel);
    // SAFETY: PostgreSQL passes valid pointers; heap TIDs are passed on.
    unsafe {
        if bulk_mark::confirm(rel, &*otid, cid, MarkKind::Updated) {
            bulk_mark::updated(insert_next(rel, slot, cid));
            // Only rows whose keys stay are marked ahead.
            *lockmode = pg_sys::LockTupleMode::LockTupleNoKeyExclusive;
            *update_indexes = compat::update_indexes(true);
            return TM_Ok;
        }
        let row = match RowNumber::from_tid(&*otid) {
            Some(row) => row,
            None => {
                let result = heap_call!(tuple_update(
                    rel,
                    otid,
                    slot,
                    cid,
                    snapshot,
                    crosscheck,
                    wait,
                    tmfd,
                    lockmode,
                    update_indexes
                ));
                match moved_from_heap(rel, &*otid, result, (*tmfd).xmax) {
                    Some(row) => row,
                    None => return replaced(rel, *otid, result, &mut *tmfd),
                }
            }
        };
        let tid = &mut *otid;
        let mode = &mut *lockmode;
        let result = update_segment_row(
            rel,
            (row, tid),
            slot,
            cid,
            crosscheck,
            wait,
            mode,
            &mut *tmfd,
        );
        *update_indexes = compat::update_indexes(result == TM_Ok);
        result
    }
}

/// Claims the old version, puts the new one into the heap and leads from the one to the other. `tid` is where the
/// caller believes the old version to be, and becomes where it is.
#[allow(clippy::too_many_arguments)]
unsafe fn update_segment_row(
    rel: pg_sys::Relation,
    (mut row, tid): (RowNumber, &mut pg_sys::ItemPointerData),
    slot: *mut pg_sys::TupleTableSlot,
    cid: pg_sys::CommandId,
    crosscheck: pg_sys::Snapshot,
    wait: bool,
    mode: &mut pg_sys::LockTupleMode::Type,
    tmfd: &mut pg_sys::TM_FailureData,
) -> TM_Result::Type {
    let toast = toast_for_write(rel);
    *mode = pg_sys::LockTupleMode::LockTupleExclusive;
    if let Some(result) = forbidden(rel, &toast, row, cid) {
        return result;
    }
    // SAFETY: passed on to the caller.
    let key_kept = unsafe { super::fetch::keeps_key(rel, &toast, row, slot) };
    if key_kept {
        *mode = pg_sys::LockTupleMode::LockTupleNoKeyExclusive;
    }
    let request = request(cid, wait, pg_sys::XLTW_Oper::XLTW_Update);
    let claim = match anchors::claim_as(rel, &toast, &mut row, request, *mode, tmfd) {
        Ok(claim) => claim,
        Err(result) => return replaced(rel, row.to_tid(), result, tmfd),
    };
    if crosscheck_fails(rel, &toast, tid, crosscheck) {
        return refuse(rel, row, claim, tmfd);
    }
    changes_after_move::record(rel, &toast, tid, row);
    let read_as = std::mem::replace(tid, row.to_tid());
    published::check(rel, Change::Update);
    // SAFETY: passed on to the caller.
    let next = unsafe { insert_next(rel, slot, cid) };
    let how = match key_kept {
        true => Anchor::KeyKept(block_of(&next), next.ip_posid),
        false => Anchor::Updated(block_of(&next), next.ip_posid),
    };
    anchors::write_tombstone(rel, &toast, row, claim, how, cid);
    check_rw_conflicts(rel, read_as, row);
    TM_Ok
}

/// Looks for serializable transactions that have read a row which is marked now. They note what they read before they
/// look whether it is marked: one of both sides always sees the other.
fn check_rw_conflicts(rel: pg_sys::Relation, read_as: pg_sys::ItemPointerData, row: RowNumber) {
    raw::conflict_in(rel, Some(read_as));
    if RowNumber::from_tid(&read_as) != Some(row) {
        raw::conflict_in(rel, Some(row.to_tid()));
    }
}

/// The same for rows that were marked together, by where they are.
pub fn meet_readers_of_all(rel: pg_sys::Relation, rows: &[u64]) {
    if raw::serializable() {
        for row in rows {
            raw::conflict_in(rel, Some(RowNumber(*row).to_tid()));
        }
    }
}

/// Puts the next version of a segment row into the heap; returns where it is.
///
/// # Safety
/// The slot holds the new version in the relation's row type.
unsafe fn insert_next(
    rel: pg_sys::Relation,
    slot: *mut pg_sys::TupleTableSlot,
    cid: pg_sys::CommandId,
) -> pg_sys::ItemPointerData {
    // SAFETY: passed on to the caller.
    unsafe {
        heap_call!(tuple_insert(rel, slot, cid, 0, std::ptr::null_mut()));
        compaction::count_heap_rows(rel, 1);
        // The heap has counted an insert.
        pg_sys::pgstat_count_heap_insert(rel, -1);
        compat::count_update(rel);
        (*slot).tts_tid
    }
}
