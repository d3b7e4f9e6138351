// SPDX-License-Identifier: Apache-2.0
//! Writing one row of a keyed table: it replaces the row of its key, or is new.
//!
//! Under the registration lock (shared by single rows) the latest state is searched, first the heap, then the segments,
//! and the row is written at once if nobody else is at work on its key. Else the registration lock is given up, the
//! other transaction waited for, and the search begins anew. Two new rows of one key meet in the key index.
mod checks;
mod merging;

use super::deleted_key_check;
use super::heap::{self, Holder, LiveRow, OpenXact, Search};
use super::index_shell;
use super::key_encoding::Form;
use super::merge::{Part, Rule};
use super::model::Model;
use super::probe::{self, SingleKey};
use crate::compact::shared_state as compaction;
use crate::heap_call;
use crate::options::published::{self, Change};
use crate::pg::toast::{Toast, XactStatus};
use crate::pg::{self, compat, raw};
use crate::store::anchors::{self, Claim, Request, RowState};
use crate::store::changes_after_move;
use crate::store::deleted_keys::{self, DeletedKey};
use crate::store::directory::FoundSegment;
use crate::store::directory_cache;
use crate::store::entry::Anchor;
use crate::store::registration_lock::{KeyLock, Mode, RegistrationLock};
use crate::store::tid::{block_of, RowNumber};
use crate::write::builder;
use checks::check_unhidden;
pub use checks::{check_deletable, check_replaceable, check_seen};
use merging::{skip_index_entries, Decision, Merging};
use pg_sys::TM_Result::{TM_BeingModified, TM_Ok, TM_WouldBlock};
use pgrx::pg_sys;

/// What an insert was called with.
#[derive(Clone, Copy)]
pub struct Insert {
    /// The command.
    pub cid: pg_sys::CommandId,
    /// `TABLE_INSERT_*`.
    pub options: i32,
    /// The loader's state, or null.
    pub bistate: *mut pg_sys::BulkInsertStateData,
    /// What the rows are.
    pub part: Part,
    /// Stored rows may be hidden from the user: none is replaced, nor merged with.
    pub row_security: bool,
}

/// What became of one attempt under the registration lock.
enum Attempt {
    Done,
    /// Look again.
    Again,
    /// Wait for a transaction, then look again.
    Wait(OpenXact),
    /// Write in place of a segment row, once that is claimed: whoever has claimed the row has the key.
    Claim(Box<FoundSegment>, RowNumber, Option<Claim>),
    /// Wait for the lockers of a heap row.
    WaitForHeapRow(LiveRow),
    /// Wait for who has locked or deleted a segment row.
    WaitForSegmentRow(RowNumber),
}

/// Writes rows one after the other.
///
/// # Safety
/// Slots of the relation's row type.
pub unsafe fn insert(
    rel: pg_sys::Relation,
    model: &Model,
    index: pg_sys::Oid,
    slots: &[*mut pg_sys::TupleTableSlot],
    rule: Option<&Rule>,
    insert: Insert,
) {
    builder::publish_pending(rel);
    index_shell::begin_rows(rel);
    let toast = crate::am::modify::toast_for_write(rel);
    let mut search = Search::open(rel, model, index);
    let table = (rel, &toast, model);
    let Some(rule) = rule else {
        for &slot in slots {
            // SAFETY: passed on to the caller.
            unsafe { insert_one(table, &mut search, slot, None, insert) };
        }
        return;
    };
    let mut merging = Merging::new(rel, rule, insert.part, model.late_triggers);
    for &slot in slots {
        // SAFETY: passed on to the caller.
        unsafe {
            merging.take(slot);
            let merging = Some(&mut merging);
            insert_one(table, &mut search, slot, merging, insert);
        }
    }
}

/// Writes the row in a slot.
unsafe fn insert_one(
    (rel, toast, model): (pg_sys::Relation, &Toast, &Model),
    search: &mut Search,
    slot: *mut pg_sys::TupleTableSlot,
    mut merging: Option<&mut Merging>,
    insert: Insert,
) {
    // SAFETY: passed on to the caller; the slot's arrays hold all attributes once it is deformed.
    unsafe {
        pg_sys::slot_getallattrs(slot);
        let values = match &merging {
            // The slot will hold other rows.
            Some(merging) => {
                model.key_values(merging.given.values.as_ptr(), merging.given.nulls.as_ptr())
            }
            None => model.key_values((*slot).tts_values, (*slot).tts_isnull),
        };
        let key = SingleKey::of_row(model, &values);
        let upsert = Upsert {
            rel,
            toast,
            model,
            slot,
            values: &values,
            key: &key,
            insert,
        };
        let remembers = merging.as_ref().is_some_and(|m| m.rule.remembers_deletes());
        loop {
            let registration = RegistrationLock::acquire(toast, Mode::Shared);
            let key_lock =
                remembers.then(|| KeyLock::acquire(toast, deleted_keys::hash(key.bytes())));
            let attempt = upsert.attempt(registration, search, merging.as_deref_mut());
            // Not needed for a row that is there; and nobody may wait for the registration lock with it.
            drop(key_lock);
            let attempt = match attempt {
                Attempt::Claim(found, row, claim) => {
                    let of = (&*found, row, claim);
                    upsert.replace_segment_row(search.index, of, merging.as_deref_mut())
                }
                other => other,
            };
            match attempt {
                Attempt::Done => return,
                Attempt::Claim(..) => unreachable!("claimed above"),
                Attempt::Again => {}
                Attempt::Wait(open) => open.wait(rel),
                Attempt::WaitForHeapRow(row) => {
                    let mode = lock_mode(model);
                    heap::wait_for_row(rel, row, mode, insert.cid);
                }
                Attempt::WaitForSegmentRow(row) => {
                    wait_for_segment_row(rel, toast, row, insert.cid)
                }
            }
            pgrx::check_for_interrupts!();
        }
    }
}

/// One row to be written: what all steps of an attempt need.
struct Upsert<'a> {
    rel: pg_sys::Relation,
    toast: &'a Toast,
    model: &'a Model,
    /// Holds the row, or what the rule makes of it and the stored one.
    slot: *mut pg_sys::TupleTableSlot,
    /// The key's columns, as the key index has them.
    values: &'a [(pg_sys::Datum, bool)],
    /// The key as it is searched for in segments.
    key: &'a SingleKey,
    insert: Insert,
}

#[allow(non_upper_case_globals)] // PostgreSQL's names
impl Upsert<'_> {
    /// Looks for who has the key, the heap first, and writes the row unless somebody else is at work on the key or a
    /// segment row has it.
    unsafe fn attempt(
        &self,
        registration: RegistrationLock,
        search: &mut Search,
        merging: Option<&mut Merging>,
    ) -> Attempt {
        let (rel, toast, model) = (self.rel, self.toast, self.model);
        // SAFETY: passed on to the caller.
        unsafe {
            match search.find(self.values) {
                Holder::Open(open) => return Attempt::Wait(open),
                Holder::Row(live) => return self.replace_heap_row(search.index, live, merging),
                Holder::None => {}
            }
            let seen = probe::first(
                &registration,
                (rel, toast, model),
                self.key,
                |found, row| segment_holder(&registration, rel, toast, found, row),
            );
            match seen.unwrap_or(SegmentHolder::None) {
                SegmentHolder::Open(xid) => Attempt::Wait(OpenXact { xid, token: 0 }),
                SegmentHolder::Row(found, row, free) => {
                    let rows = std::iter::once(row);
                    check_unhidden(rel, self.insert);
                    check_replaceable(rel, model, is_seen(rel, toast, &found, rows));
                    // Without a claim, one is made without the registration lock.
                    let claim = free.then(|| Claim::Free(registration));
                    Attempt::Claim(found, row, claim)
                }
                SegmentHolder::None => self.insert_new_row(search, merging),
            }
        }
    }

    /// Under the registration lock: does what the rule says with the heap row of the key.
    unsafe fn replace_heap_row(
        &self,
        index: pg_sys::Relation,
        live: LiveRow,
        mut merging: Option<&mut Merging>,
    ) -> Attempt {
        let (rel, model, cid) = (self.rel, self.model, self.insert.cid);
        check_unhidden(rel, self.insert);
        check_replaceable(rel, model, live.seen);
        // SAFETY: passed on to the caller.
        unsafe {
            let mut decision = Decision::Write;
            if let Some(merging) = &mut merging {
                let load = merging.load(self.toast, model, cid);
                if let Err(open) = merging.check_deleted_key(&load, self.key) {
                    return Attempt::Wait(open);
                }
                match merging.with_heap_row(self.slot, live.tid) {
                    Some(decided) => decision = decided,
                    None => return Attempt::Again,
                }
            }
            let result = match decision {
                Decision::Keep => return Attempt::Done,
                Decision::Delete => {
                    check_deletable(rel, model);
                    let result = heap::delete(rel, live, cid);
                    if let (TM_Ok, Some(merging)) = (result, merging) {
                        merging.record_delete(&merging.load(self.toast, model, cid), self.key);
                    }
                    result
                }
                Decision::Write => {
                    let old = (live, lock_mode(model));
                    heap::replace(rel, index, old, self.slot, self.values, cid)
                }
            };
            match result {
                TM_Ok => Attempt::Done,
                TM_BeingModified => Attempt::WaitForHeapRow(live),
                _ => Attempt::Again,
            }
        }
    }

    /// Under the registration lock: writes a row whose key nobody has.
    unsafe fn insert_new_row(&self, search: &mut Search, merging: Option<&mut Merging>) -> Attempt {
        let (rel, slot) = (self.rel, self.slot);
        let Insert {
            cid,
            options,
            bistate,
            ..
        } = self.insert;
        // SAFETY: passed on to the caller.
        unsafe {
            let (mut decision, mut records) = (Decision::Write, Vec::new());
            if let Some(merging) = merging {
                match self.decide_new_row(search, merging) {
                    Ok(decided) => (decision, records) = decided,
                    Err(attempt) => return attempt,
                }
            }
            if !matches!(decision, Decision::Write) {
                insert_and_delete(rel, slot, cid);
                return Attempt::Done;
            }
            let index = search.index;
            if heap::insert_new(rel, index, slot, self.values, cid, options, bistate) {
                deleted_key_check::remove(self.toast, &records, cid);
                Attempt::Done
            } else {
                Attempt::Again
            }
        }
    }

    /// What the rule says of a row whose key nobody has, and the deleted-key records of the key; or why the attempt
    /// ends.
    unsafe fn decide_new_row(
        &self,
        search: &mut Search,
        merging: &mut Merging,
    ) -> Result<(Decision, Vec<DeletedKey>), Attempt> {
        let load = merging.load(self.toast, self.model, self.insert.cid);
        let remembers = load.rule.remembers_deletes();
        let records = match remembers {
            true => deleted_key_check::of_key(&load, self.key.bytes()).map_err(Attempt::Wait)?,
            false => Vec::new(),
        };
        // SAFETY: passed on to the caller.
        unsafe {
            // A row may have gone from a segment to the heap behind the search; one that is written meets it in
            // the key index, but the rule may say something else of a key that is not there.
            if !load.rule.takes_new_keys() {
                match search.find(self.values) {
                    Holder::None => {}
                    Holder::Open(open) => return Err(Attempt::Wait(open)),
                    Holder::Row(_) => return Err(Attempt::Again),
                }
            }
            let decision = merging.with_deleted_key(self.slot, &load, &records);
            if matches!(decision, Decision::Delete) && remembers {
                let row = merging.given.row();
                deleted_key_check::insert(&load, self.key.bytes(), &records, row);
            }
            Ok((decision, records))
        }
    }

    /// Without the registration lock, unless it comes with the claim: does what the rule says with the segment row of
    /// the key. Its next version goes to the heap.
    unsafe fn replace_segment_row(
        &self,
        index: pg_sys::Relation,
        (found, origin, claim): (&FoundSegment, RowNumber, Option<Claim>),
        mut merging: Option<&mut Merging>,
    ) -> Attempt {
        let (rel, toast) = (self.rel, self.toast);
        let mut tmfd = pg_sys::TM_FailureData::default();
        let skip = request(self.insert.cid, pg_sys::LockWaitPolicy::LockWaitSkip);
        let mut row = origin;
        let claim = claim.map_or_else(|| anchors::claim(rel, toast, &mut row, skip, &mut tmfd), Ok);
        let claim = match claim {
            Ok(claim) => claim,
            Err(TM_WouldBlock | TM_BeingModified) => return Attempt::WaitForSegmentRow(row),
            Err(_) => return Attempt::Again,
        };
        changes_after_move::record(rel, toast, &origin.to_tid(), row);
        if let Some(merging) = merging.as_mut().filter(|m| m.part == Part::AfterDelete) {
            if let Err(open) = self.check_deleted_key_of_claimed(merging, &claim) {
                anchors::release(rel, row, claim);
                return Attempt::Wait(open);
            }
        }
        // SAFETY: passed on to the caller. Nobody else can write a row of this key while the claim is held.
        unsafe {
            let decision = merging.as_mut().map_or(Decision::Write, |merging| {
                // A claim follows moves, which change no values.
                merging.with_segment_row(self.slot, toast, (found, origin), row.to_tid())
            });
            match decision {
                Decision::Write => self.update_claimed(index, row, claim),
                Decision::Keep => anchors::release(rel, row, claim),
                Decision::Delete => self.delete_claimed(row, claim, merging),
            }
        }
        Attempt::Done
    }

    /// Looks for deletes of the key of a claimed row, under the registration lock: that of the claim, or one of its
    /// own.
    fn check_deleted_key_of_claimed(
        &self,
        merging: &mut Merging,
        claim: &Claim,
    ) -> Result<(), OpenXact> {
        let gated = matches!(claim, Claim::Free(_));
        let _registration = (!gated).then(|| RegistrationLock::acquire(self.toast, Mode::Shared));
        let load = merging.load(self.toast, self.model, self.insert.cid);
        merging.check_deleted_key(&load, self.key)
    }

    /// Marks a claimed segment row as deleted.
    unsafe fn delete_claimed(&self, row: RowNumber, claim: Claim, merging: Option<&mut Merging>) {
        let (rel, toast, cid) = (self.rel, self.toast, self.insert.cid);
        check_deletable(rel, self.model);
        published::check(rel, Change::Delete);
        anchors::write_tombstone(rel, toast, row, claim, Anchor::Deleted, cid);
        raw::conflict_in(rel, Some(row.to_tid()));
        // SAFETY: an open relation, whose statistics are those of this backend.
        unsafe { pg_sys::pgstat_count_heap_delete(rel) };
        if let Some(merging) = merging {
            let _registration = RegistrationLock::acquire(toast, Mode::Shared);
            merging.record_delete(&merging.load(toast, self.model, cid), self.key);
        }
    }

    /// Writes the slot's row to the heap, and marks a claimed segment row as updated to it.
    unsafe fn update_claimed(&self, index: pg_sys::Relation, row: RowNumber, claim: Claim) {
        let (rel, slot, cid) = (self.rel, self.slot, self.insert.cid);
        published::check(rel, Change::Update);
        // SAFETY: passed on to the caller. Nobody else can write a row of this key while the claim is held.
        unsafe {
            heap_call!(tuple_insert(rel, slot, cid, 0, std::ptr::null_mut()));
            compaction::count_heap_rows(rel, 1);
            let next = (*slot).tts_tid;
            heap::enter(rel, index, self.values, next, false);
            index_shell::entered(rel, next, Some(pg::relation_id(index)));
            let how = Anchor::Updated(block_of(&next), next.ip_posid);
            anchors::write_tombstone(rel, self.toast, row, claim, how, cid);
            // After the mark: a reader notes what it reads before it looks for marks.
            raw::conflict_in(rel, Some(row.to_tid()));
            // The heap has counted an insert.
            pg_sys::pgstat_count_heap_insert(rel, -1);
            compat::count_update(rel);
        }
    }
}

/// A row that is not stored though nothing else has its key: triggers and index insertion want a place of it all
/// the same, so it is inserted and deleted at once.
unsafe fn insert_and_delete(
    rel: pg_sys::Relation,
    slot: *mut pg_sys::TupleTableSlot,
    cid: pg_sys::CommandId,
) {
    // SAFETY: the caller's slot holds a row of the relation; nobody knows the new heap row.
    unsafe {
        heap_call!(tuple_insert(rel, slot, cid, 0, std::ptr::null_mut()));
        let tid = (*slot).tts_tid;
        let live = LiveRow {
            tid,
            own: Some(cid),
            seen: true,
        };
        heap::delete(rel, live, cid);
        skip_index_entries(rel, slot, tid);
        pg_sys::pgstat_count_heap_insert(rel, -1);
    }
}

/// The row lock that replacing a row takes. Where equal keys may differ in their bytes, the key changes.
fn lock_mode(model: &Model) -> pg_sys::LockTupleMode::Type {
    let plain = |form| matches!(form, Form::Int(..) | Form::Bytes);
    if model.columns.iter().all(|column| plain(column.form)) {
        pg_sys::LockTupleMode::LockTupleNoKeyExclusive
    } else {
        pg_sys::LockTupleMode::LockTupleExclusive
    }
}

/// Who holds a key in the segments.
pub enum SegmentHolder {
    /// Nobody.
    None,
    /// An open transaction.
    Open(pg_sys::TransactionId),
    /// A row; whether it can be claimed at once, the lock on its TID being held.
    Row(Box<FoundSegment>, RowNumber, bool),
}

/// What a segment row of the key says of who has the key; `None` when it is dead.
pub fn segment_holder(
    registration: &RegistrationLock,
    rel: pg_sys::Relation,
    toast: &Toast,
    found: &FoundSegment,
    row: RowNumber,
) -> Option<SegmentHolder> {
    if directory_cache::is_settled(found) {
        return match anchors::row_state(registration, rel, toast, row) {
            RowState::Free => Some(SegmentHolder::Row(Box::new(*found), row, true)),
            RowState::Dead => None,
            RowState::Open(xid) => Some(SegmentHolder::Open(xid)),
            RowState::Held => Some(SegmentHolder::Row(Box::new(*found), row, false)),
        };
    }
    match probe::row_holder(rel, toast, found, row)? {
        probe::Holder::None => None,
        probe::Holder::Open(xid) => Some(SegmentHolder::Open(xid)),
        probe::Holder::Row(found, row) => Some(SegmentHolder::Row(found, row, false)),
    }
}

/// Whether the snapshot of a transaction that must not see later changes sees some rows of a segment, be it where they
/// were before compaction moved them; true for all other transactions.
pub fn is_seen(
    rel: pg_sys::Relation,
    toast: &Toast,
    found: &FoundSegment,
    mut rows: impl Iterator<Item = RowNumber>,
) -> bool {
    // SAFETY: plain variable of this backend; the snapshot is the transaction's own.
    let snapshot = unsafe {
        if pg_sys::XactIsoLevel < pg_sys::XACT_REPEATABLE_READ as i32
            || found.writer == XactStatus::Own
        {
            return true;
        }
        pg_sys::GetTransactionSnapshot()
    };
    let owner = crate::store::directory::owner(rel, toast, found.entry.first_row, snapshot);
    owner.is_some_and(|f| f.visible)
        || rows.all(|row| anchors::seen_before_moves(rel, toast, row, snapshot))
}

fn request(cid: pg_sys::CommandId, wait: pg_sys::LockWaitPolicy::Type) -> Request {
    let oper = pg_sys::XLTW_Oper::XLTW_Update;
    Request { cid, wait, oper }
}

/// Waits, without the registration lock, until a segment row can be claimed or is gone.
pub fn wait_for_segment_row(
    rel: pg_sys::Relation,
    toast: &Toast,
    row: RowNumber,
    cid: pg_sys::CommandId,
) {
    let mut tmfd = pg_sys::TM_FailureData::default();
    let block = request(cid, pg_sys::LockWaitPolicy::LockWaitBlock);
    let mut row = row;
    if let Ok(claim) = anchors::claim(rel, toast, &mut row, block, &mut tmfd) {
        anchors::release(rel, row, claim);
    }
}
