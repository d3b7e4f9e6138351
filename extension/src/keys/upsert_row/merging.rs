// SPDX-License-Identifier: Apache-2.0
//! What becomes of a row under a rule that looks at more than its key.
use super::super::deleted_key_check;
use super::super::heap::OpenXact;
use super::super::index_shell;
use super::super::merge::{Merged, Outcome, Part, Row, Rule};
use super::super::model::Model;
use super::super::probe::SingleKey;
use super::super::publish_merged::Load;
use super::super::stored::{self, Reader};
use crate::pg::held;
use crate::pg::toast::Toast;
use crate::store::deleted_keys::DeletedKey;
use crate::store::directory::FoundSegment;
use crate::store::tid::RowNumber;
use pgrx::memcxt::PgMemoryContexts;
use pgrx::pg_sys;

/// A row under a rule that looks at more than its key.
pub(super) struct Merging<'a> {
    rel: pg_sys::Relation,
    pub(super) rule: &'a Rule,
    pub(super) part: Part,
    reader: Reader,
    /// The row as it came: the slot gets the merged one, and each attempt begins anew.
    pub(super) given: Merged,
    /// The row is below a delete of its key, which matters where the statement has deleted the stored one before.
    covered: bool,
    /// Triggers for the stored row may run when the transaction ends.
    late_triggers: bool,
    /// What is made for a row.
    memory: PgMemoryContexts,
}

/// What to do with the row in the slot.
pub(super) enum Decision {
    /// Store it.
    Write,
    /// Leave the stored row, which the slot now holds, if there is one.
    Keep,
    /// Delete the stored row, if there is one.
    Delete,
}

impl<'a> Merging<'a> {
    pub(super) fn new(
        rel: pg_sys::Relation,
        rule: &'a Rule,
        part: Part,
        late_triggers: bool,
    ) -> Self {
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
    pub(super) unsafe fn take(&mut self, slot: *mut pg_sys::TupleTableSlot) {
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
            let gone = |stored| {
                self.rule
                    .finds_stored_deleted(self.rel, stored, new, self.part)
            };
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
    pub(super) unsafe fn with_heap_row(
        &mut self,
        slot: *mut pg_sys::TupleTableSlot,
        tid: pg_sys::ItemPointerData,
    ) -> Option<Decision> {
        self.reader.heap(tid)?;
        // SAFETY: passed on to the caller.
        Some(unsafe { self.decide(slot, |reader| reader.current().map(|row| (row, tid))) })
    }

    pub(super) unsafe fn with_segment_row(
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
    pub(super) unsafe fn with_deleted_key(
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

    pub(super) fn load<'b>(
        &self,
        toast: &'b Toast,
        model: &'b Model,
        cid: pg_sys::CommandId,
    ) -> Load<'b>
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
    pub(super) fn check_deleted_key(
        &mut self,
        load: &Load,
        key: &SingleKey,
    ) -> Result<(), OpenXact> {
        self.covered = false;
        if self.part == Part::AfterDelete && self.rule.remembers_deletes() {
            let records = deleted_key_check::of_key(load, key.bytes())?;
            self.covered = deleted_key_check::supersede(load, &records, self.given.row());
        }
        Ok(())
    }

    /// Remembers, under the registration lock, that the row has deleted the stored row of its key.
    pub(super) fn record_delete(&self, load: &Load, key: &SingleKey) {
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
pub(super) unsafe fn skip_index_entries(
    rel: pg_sys::Relation,
    slot: *mut pg_sys::TupleTableSlot,
    tid: pg_sys::ItemPointerData,
) {
    // SAFETY: the caller's slot.
    unsafe { (*slot).tts_tid = tid };
    index_shell::entered_before(rel, tid);
}
