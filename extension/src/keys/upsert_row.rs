// SPDX-License-Identifier: Apache-2.0
//! Writing one row of a keyed table: it replaces the row of its key, or is new.
//!
//! Under the registration lock (shared by single rows) the latest state is searched, first the heap, then the segments,
//! and the row is written at once if nobody else is at work on its key. Else the registration lock is given up, the
//! other transaction waited for, and the search begins anew. Two new rows of one key meet in the key index.
use super::deleted_key_check;
use super::heap::{self, Holder, LiveRow, OpenXact, Search};
use super::index_shell;
use super::key_encoding::Form;
use super::merge::{Merged, Outcome, Part, Row, Rule};
use super::model::Model;
use super::probe::{self, SingleKey};
use super::publish_merged::Load;
use super::stored::{self, Reader};
use crate::compact::shared_state as compaction;
use crate::heap_call;
use crate::options::published::{self, Change};
use crate::pg::toast::{Toast, XactStatus};
use crate::pg::{self, compat, held, raw};
use crate::store::anchors::{self, Claim, Request, RowState};
use crate::store::changes_after_move;
use crate::store::deleted_keys::{self, DeletedKey};
use crate::store::directory::FoundSegment;
use crate::store::directory_cache;
use crate::store::entry::Anchor;
use crate::store::registration_lock::{KeyLock, Mode, RegistrationLock};
use crate::store::tid::{block_of, RowNumber};
use crate::write::builder;
use pg_sys::TM_Result::{TM_BeingModified, TM_Ok, TM_WouldBlock};
use pgrx::memcxt::PgMemoryContexts;
use pgrx::pg_sys;
use pgrx::PgSqlErrorCode;

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

/// A row under a rule that looks at more than its key.
struct Merging<'a> {
    rel: pg_sys::Relation,
    rule: &'a Rule,
    part: Part,
    reader: Reader,
    /// The row as it came: the slot gets the merged one, and each attempt begins anew.
    given: Merged,
    /// The row is below a delete of its key, which matters where the statement has deleted the stored one before.
    covered: bool,
    /// Triggers for the stored row may run when the transaction ends.
    late_triggers: bool,
    /// What is made for a row.
    memory: PgMemoryContexts,
}

/// What to do with the row in the slot.
enum Decision {
    /// Store it.
    Write,
    /// Leave the stored row, which the slot now holds, if there is one.
    Keep,
    /// Delete the stored row, if there is one.
    Delete,
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
    let Some(rule) = rule else {
        for &slot in slots {
            // SAFETY: passed on to the caller.
            unsafe { insert_one(rel, model, &toast, &mut search, slot, None, insert) };
        }
        return;
    };
    let mut merging = Merging::new(rel, rule, insert.part, model.late_triggers);
    for &slot in slots {
        // SAFETY: passed on to the caller.
        unsafe {
            merging.take(slot);
            let merging = Some(&mut merging);
            insert_one(rel, model, &toast, &mut search, slot, merging, insert);
        }
    }
}

impl<'a> Merging<'a> {
    fn new(rel: pg_sys::Relation, rule: &'a Rule, part: Part, late_triggers: bool) -> Self {
        Self {
            rel,
            rule,
            part,
            reader: Reader::new(rel),
            given: Merged::default(),
            covered: false,
            late_triggers,
            memory: PgMemoryContexts::new("doris merge"),
        }
    }

    /// Copies the row that a slot holds; the one before is gone.
    unsafe fn take(&mut self, slot: *mut pg_sys::TupleTableSlot) {
        // SAFETY: nothing points into the context but the row before. The copy is in the relation's row type.
        unsafe {
            self.memory.reset();
            let before = pg_sys::MemoryContextSwitchTo(self.memory.value());
            let tuple = pg_sys::ExecCopySlotHeapTuple(slot);
            pg_sys::MemoryContextSwitchTo(before);
            self.given = Merged::of_tuple(self.rel, tuple);
        }
    }

    /// Asks the rule, and puts the row that its answer calls for into the slot.
    unsafe fn decide(
        &mut self,
        slot: *mut pg_sys::TupleTableSlot,
        read: impl FnOnce(&mut Reader) -> Option<Stored<'_>>,
    ) -> Decision {
        let stored = read(&mut self.reader);
        let row = stored.as_ref().map(|(row, _)| *row);
        let met = row.is_some();
        // SAFETY: passed on to the caller. Scans must not allocate in the context, which is reset for each row.
        let decision = unsafe {
            let before = pg_sys::MemoryContextSwitchTo(self.memory.value());
            let new = self.given.row();
            let gone = |stored| self.rule.is_reborn(self.rel, stored, new, self.part);
            let outcome = match row {
                Some(stored) if self.covered && gone(stored) => Outcome::Delete,
                _ => self.rule.merge(self.rel, row, new, self.part),
            };
            let decision = fill_slot(self.rel, slot, outcome, &mut self.given, stored);
            pg_sys::MemoryContextSwitchTo(before);
            decision
        };
        self.reader.release();
        if met && self.late_triggers && !matches!(decision, Decision::Write) {
            // The slot names the stored row, which others may delete and VACUUM remove.
            held::until_end();
        }
        decision
    }

    /// For a row that meets a heap row; `None` when that has gone.
    unsafe fn with_heap_row(
        &mut self,
        slot: *mut pg_sys::TupleTableSlot,
        tid: pg_sys::ItemPointerData,
    ) -> Option<Decision> {
        self.reader.heap(tid)?;
        // SAFETY: passed on to the caller.
        Some(unsafe { self.decide(slot, |reader| reader.current().map(|row| (row, tid))) })
    }

    unsafe fn with_segment_row(
        &mut self,
        slot: *mut pg_sys::TupleTableSlot,
        toast: &Toast,
        (found, row): (&FoundSegment, RowNumber),
        tid: pg_sys::ItemPointerData,
    ) -> Decision {
        // SAFETY: passed on to the caller.
        unsafe {
            self.decide(slot, |reader| {
                Some((reader.segment(toast, found, row), tid))
            })
        }
    }

    /// For a row of a key of which nothing is stored but deleted-key records.
    unsafe fn with_deleted_key(
        &mut self,
        slot: *mut pg_sys::TupleTableSlot,
        load: &Load,
        records: &[DeletedKey],
    ) -> Decision {
        if deleted_key_check::supersede(load, records, self.given.row()) {
            return Decision::Keep;
        }
        // SAFETY: passed on to the caller.
        unsafe { self.decide(slot, |_| None) }
    }

    fn load<'b>(&self, toast: &'b Toast, model: &'b Model, cid: pg_sys::CommandId) -> Load<'b>
    where
        'a: 'b,
    {
        Load {
            rel: self.rel,
            toast,
            model,
            rule: self.rule,
            cid,
        }
    }

    /// Looks, under the registration lock, for deletes of its key that the row is below, where they may matter beside a
    /// stored row; or tells whom to wait for.
    fn check_deleted_key(&mut self, load: &Load, key: &SingleKey) -> Result<(), OpenXact> {
        self.covered = false;
        if self.part == Part::AfterDelete && self.rule.remembers_deletes() {
            let records = deleted_key_check::of_key(load, key.bytes())?;
            self.covered = deleted_key_check::supersede(load, &records, self.given.row());
        }
        Ok(())
    }

    /// Remembers, under the registration lock, that the row has deleted the stored row of its key.
    fn record_delete(&self, load: &Load, key: &SingleKey) {
        if self.rule.remembers_deletes() {
            // Somebody else's is of a row that has come and gone since.
            let records = deleted_key_check::of_key(load, key.bytes()).unwrap_or_default();
            deleted_key_check::insert(load, key.bytes(), &records, self.given.row());
        }
    }
}

/// A stored row and where it is.
type Stored<'a> = (Row<'a>, pg_sys::ItemPointerData);

/// Puts the row into the slot that an outcome calls for.
unsafe fn fill_slot(
    rel: pg_sys::Relation,
    slot: *mut pg_sys::TupleTableSlot,
    outcome: Outcome,
    given: &mut Merged,
    stored: Option<Stored>,
) -> Decision {
    // SAFETY: passed on to the caller; rows are copied into the slot.
    unsafe {
        match outcome {
            Outcome::Take => {
                stored::put(rel, slot, given);
                Decision::Write
            }
            Outcome::Write(mut merged) => {
                stored::put(rel, slot, &mut merged);
                Decision::Write
            }
            Outcome::Delete => {
                if let Some((_, tid)) = stored {
                    skip_index_entries(rel, slot, tid);
                }
                Decision::Delete
            }
            Outcome::Keep => {
                if let Some((row, tid)) = stored {
                    stored::put(rel, slot, &mut Merged::of(row));
                    skip_index_entries(rel, slot, tid);
                }
                Decision::Keep
            }
        }
    }
}

/// Tells PostgreSQL that the row in a slot is where another is or was, which has its index entries.
unsafe fn skip_index_entries(
    rel: pg_sys::Relation,
    slot: *mut pg_sys::TupleTableSlot,
    tid: pg_sys::ItemPointerData,
) {
    // SAFETY: the caller's slot.
    unsafe { (*slot).tts_tid = tid };
    index_shell::entered_before(rel, tid);
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

unsafe fn insert_one(
    rel: pg_sys::Relation,
    model: &Model,
    toast: &Toast,
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
        let remembers = merging.as_ref().is_some_and(|m| m.rule.remembers_deletes());
        loop {
            let registration = RegistrationLock::acquire(toast, Mode::Shared);
            let key_lock =
                remembers.then(|| KeyLock::acquire(toast, deleted_keys::hash(key.bytes())));
            let merge = merging.as_deref_mut();
            let attempt = attempt(
                registration,
                rel,
                model,
                toast,
                search,
                slot,
                &values,
                &key,
                merge,
                insert,
            );
            // Not needed for a row that is there; and nobody may wait for the registration lock with it.
            drop(key_lock);
            let attempt = match attempt {
                Attempt::Claim(found, row, claim) => {
                    let merge = merging.as_deref_mut();
                    let of = (&*found, row, claim);
                    let table = (rel, toast, model);
                    replace_segment_row(table, search, of, slot, (&values, &key), merge, insert)
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

/// The row lock that replacing a row takes. Where equal keys may differ in their bytes, the key changes.
fn lock_mode(model: &Model) -> pg_sys::LockTupleMode::Type {
    let plain = |form| matches!(form, Form::Int(..) | Form::Bytes);
    if model.columns.iter().all(|column| plain(column.form)) {
        pg_sys::LockTupleMode::LockTupleNoKeyExclusive
    } else {
        pg_sys::LockTupleMode::LockTupleExclusive
    }
}

#[allow(clippy::too_many_arguments, non_upper_case_globals)] // PostgreSQL's names
unsafe fn attempt(
    registration: RegistrationLock,
    rel: pg_sys::Relation,
    model: &Model,
    toast: &Toast,
    search: &mut Search,
    slot: *mut pg_sys::TupleTableSlot,
    values: &[(pg_sys::Datum, bool)],
    key: &SingleKey,
    mut merging: Option<&mut Merging>,
    insert: Insert,
) -> Attempt {
    // SAFETY: passed on to the caller.
    unsafe {
        match search.find(values) {
            Holder::Open(open) => return Attempt::Wait(open),
            Holder::Row(live) => {
                check_unhidden(rel, insert);
                check_replaceable(rel, model, live.seen);
                let decision = match &mut merging {
                    None => Some(Decision::Write),
                    Some(merging) => {
                        let load = merging.load(toast, model, insert.cid);
                        if let Err(open) = merging.check_deleted_key(&load, key) {
                            return Attempt::Wait(open);
                        }
                        merging.with_heap_row(slot, live.tid)
                    }
                };
                let result = match decision {
                    None => return Attempt::Again,
                    Some(Decision::Keep) => return Attempt::Done,
                    Some(Decision::Delete) => {
                        check_deletable(rel, model);
                        let result = heap::delete(rel, live, insert.cid);
                        if let (TM_Ok, Some(merging)) = (result, merging) {
                            merging.record_delete(&merging.load(toast, model, insert.cid), key);
                        }
                        result
                    }
                    Some(Decision::Write) => {
                        let old = (live, lock_mode(model));
                        heap::replace(rel, search.index, old, slot, values, insert.cid)
                    }
                };
                return match result {
                    TM_Ok => Attempt::Done,
                    TM_BeingModified => Attempt::WaitForHeapRow(live),
                    _ => Attempt::Again,
                };
            }
            Holder::None => {}
        }
        let seen = probe::first(&registration, (rel, toast, model), key, |found, row| {
            segment_holder(&registration, rel, toast, found, row)
        });
        match seen.unwrap_or(SegmentHolder::None) {
            SegmentHolder::Open(xid) => Attempt::Wait(OpenXact { xid, token: 0 }),
            SegmentHolder::Row(found, row, free) => {
                let rows = std::iter::once(row);
                check_unhidden(rel, insert);
                check_replaceable(rel, model, is_seen(rel, toast, &found, rows));
                // Without a claim, one is made without the registration lock.
                let claim = free.then(|| Claim::Free(registration));
                Attempt::Claim(found, row, claim)
            }
            SegmentHolder::None => {
                let Insert {
                    cid,
                    options,
                    bistate,
                    ..
                } = insert;
                let mut records = Vec::new();
                let mut decision = Decision::Write;
                if let Some(merging) = merging {
                    let load = merging.load(toast, model, cid);
                    if load.rule.remembers_deletes() {
                        match deleted_key_check::of_key(&load, key.bytes()) {
                            Ok(found) => records = found,
                            Err(open) => return Attempt::Wait(open),
                        }
                    }
                    // A row may have gone from a segment to the heap behind the search; one that is written meets it in
                    // the key index, but the rule may say something else of a key that is not there.
                    if !load.rule.takes_new_keys() {
                        match search.find(values) {
                            Holder::None => {}
                            Holder::Open(open) => return Attempt::Wait(open),
                            Holder::Row(_) => return Attempt::Again,
                        }
                    }
                    decision = merging.with_deleted_key(slot, &load, &records);
                    if matches!(decision, Decision::Delete) && load.rule.remembers_deletes() {
                        deleted_key_check::insert(
                            &load,
                            key.bytes(),
                            &records,
                            merging.given.row(),
                        );
                    }
                }
                if !matches!(decision, Decision::Write) {
                    insert_and_delete(rel, slot, cid);
                    return Attempt::Done;
                }
                let index = search.index;
                if heap::insert_new(rel, index, slot, values, cid, options, bistate) {
                    deleted_key_check::remove(toast, &records, cid);
                    Attempt::Done
                } else {
                    Attempt::Again
                }
            }
        }
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

/// Raises an error when the row to replace may not be: it came after the transaction's snapshot, or values of it
/// are referred to.
pub fn check_replaceable(rel: pg_sys::Relation, model: &Model, seen: bool) {
    check_seen(seen);
    if model.referenced_values {
        pg::refuse(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!(
                "cannot replace a row of table \"{}\": a foreign key refers to columns outside of its key",
                pg::relation_name(rel)
            ),
            "Use UPDATE, or INSERT ... ON CONFLICT, which check such foreign keys.",
        );
    }
}

/// Raises an error when a delete sign would delete a row that foreign keys may refer to: a load fires no triggers of
/// stored rows, and so neither their checks nor their actions.
pub fn check_deletable(rel: pg_sys::Relation, model: &Model) {
    if model.referenced.here() {
        pg::refuse(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!(
                "cannot delete a row of table \"{}\" by a delete sign: a foreign key refers to the table",
                pg::relation_name(rel)
            ),
            "Use DELETE, which checks the rows that refer to it.",
        );
    }
}

/// Raises an error for a row that meets a stored one which row security may hide from the user, or let them read but not
/// change: no policy was asked about it.
fn check_unhidden(rel: pg_sys::Relation, insert: Insert) {
    if !insert.row_security {
        return;
    }
    pg::refuse(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!(
            "cannot replace a row of table \"{}\" by INSERT under row security",
            pg::relation_name(rel)
        ),
        "Use UPDATE, or INSERT ... ON CONFLICT, which ask the policies about the stored row.",
    );
}

/// Raises an error when what is stored of a key came after the transaction's snapshot.
pub fn check_seen(seen: bool) {
    if !seen {
        pgrx::ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
            "could not serialize access due to concurrent update"
        );
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

/// Buries a segment row; its next version goes to the heap.
#[allow(clippy::too_many_arguments, non_upper_case_globals)] // PostgreSQL's names
unsafe fn replace_segment_row(
    (rel, toast, model): (pg_sys::Relation, &Toast, &Model),
    search: &Search,
    (found, origin, claim): (&FoundSegment, RowNumber, Option<Claim>),
    slot: *mut pg_sys::TupleTableSlot,
    (values, key): (&[(pg_sys::Datum, bool)], &SingleKey),
    mut merging: Option<&mut Merging>,
    insert: Insert,
) -> Attempt {
    let mut tmfd = pg_sys::TM_FailureData::default();
    let skip = request(insert.cid, pg_sys::LockWaitPolicy::LockWaitSkip);
    let known = origin.to_tid();
    let mut row = origin;
    let claim = claim.map_or_else(|| anchors::claim(rel, toast, &mut row, skip, &mut tmfd), Ok);
    let claim = match claim {
        Ok(claim) => claim,
        Err(TM_WouldBlock | TM_BeingModified) => return Attempt::WaitForSegmentRow(row),
        Err(_) => return Attempt::Again,
    };
    changes_after_move::record(rel, toast, &known, row);
    if let Some(merging) = merging.as_mut().filter(|m| m.part == Part::AfterDelete) {
        let gated = matches!(claim, Claim::Free(_));
        let registration = (!gated).then(|| RegistrationLock::acquire(toast, Mode::Shared));
        let load = merging.load(toast, model, insert.cid);
        let looked = merging.check_deleted_key(&load, key);
        drop(registration);
        if let Err(open) = looked {
            anchors::release(rel, row, claim);
            return Attempt::Wait(open);
        }
    }
    // SAFETY: passed on to the caller. Nobody else can write a row of this key while the claim is held.
    unsafe {
        let decision = merging.as_mut().map_or(Decision::Write, |merging| {
            // A claim follows moves, which change no values.
            merging.with_segment_row(slot, toast, (found, origin), row.to_tid())
        });
        match decision {
            Decision::Write => {}
            Decision::Keep => {
                anchors::release(rel, row, claim);
                return Attempt::Done;
            }
            Decision::Delete => {
                check_deletable(rel, model);
                published::check(rel, Change::Delete);
                anchors::write_tombstone(rel, toast, row, claim, Anchor::Deleted, insert.cid);
                raw::conflict_in(rel, Some(row.to_tid()));
                pg_sys::pgstat_count_heap_delete(rel);
                if let Some(merging) = merging {
                    let _registration = RegistrationLock::acquire(toast, Mode::Shared);
                    merging.record_delete(&merging.load(toast, model, insert.cid), key);
                }
                return Attempt::Done;
            }
        }
        published::check(rel, Change::Update);
        let null = std::ptr::null_mut();
        heap_call!(tuple_insert(rel, slot, insert.cid, 0, null));
        compaction::count_heap_rows(rel, 1);
        let next = (*slot).tts_tid;
        heap::enter(rel, search.index, values, next, false);
        index_shell::entered(rel, next, Some(pg::relation_id(search.index)));
        let how = Anchor::Updated(block_of(&next), next.ip_posid);
        anchors::write_tombstone(rel, toast, row, claim, how, insert.cid);
        // After the mark: a reader notes what it reads before it looks for marks.
        raw::conflict_in(rel, Some(row.to_tid()));
        // The heap has counted an insert.
        pg_sys::pgstat_count_heap_insert(rel, -1);
        compat::count_update(rel);
    }
    Attempt::Done
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
