// SPDX-License-Identifier: Apache-2.0
//! What is made of a batch without the registration lock: the stored rows of its keys are found under the shared
//! registration lock, then read and folded with the batch's, and what is to be stored is encoded, while others write.
//! It holds if the search under the exclusive registration lock finds the same rows, and the same deleted-key records:
//! neither ever changes where it is.
use super::{
    admit, any, check_new, delete_superseded, deletes_of_keys, find, fold_stored, mark,
    record_deletes, Load, Matched, Ready, Rows, StoredRows,
};
use crate::keys::deleted_key_check::KeyDeletes;
use crate::keys::probe::Candidates;
use crate::keys::publish_segment::{Batch, BatchState, Busy};
use crate::pg::raw::Registered;
use crate::read::attrs::Attr;
use crate::store::registration_lock::{Mode, RegistrationLock};
use crate::store::tid::block_of;
use pgrx::pg_sys;

/// What was made of a batch.
pub struct Prepared<S> {
    stored: StoredRows,
    matched: Matched,
    deletes: Vec<KeyDeletes>,
    /// Where the rows are that the rule made, and what the batch is with them.
    first: u32,
    state: BatchState,
    encoded: Option<S>,
    /// Keeps places of rows from being used again.
    _snapshot: Registered,
}

impl<S> Prepared<S> {
    /// Makes it; `None` when a row has gone meanwhile. The batch stays as it is, but for rows of no key.
    pub fn prepare(
        load: Load,
        attrs: &[Attr],
        batch: &mut Batch,
        candidates: &mut Candidates,
        encode: impl Fn(Rows) -> S,
    ) -> Result<Option<Self>, Busy> {
        let snapshot = Registered::latest();
        let table = (load.rel, load.toast, load.model);
        let registration = candidates.lock_as(Mode::Shared, table, batch.keys(), u64::MAX);
        let stored = find(&registration, load, batch, candidates)?;
        drop(registration);
        let Some(mut matched) = fold_stored(load, attrs, batch, &stored) else {
            return Ok(None);
        };
        let deletes = deletes_of_keys(load, batch, &matched)?;
        let before = batch.state();
        delete_superseded(load, attrs, batch, &mut matched, &deletes);
        let columns = std::mem::take(&mut matched.folded.columns);
        let first = batch.join(load.rel, attrs, columns);
        batch.put(&matched, first, |_| true);
        check_new(load, attrs, batch, &matched);
        let rows = batch.remaining(&matched.stays());
        let encoded = any(&rows).then(|| encode(rows));
        let state = batch.restore(before);
        Ok(Some(Self {
            stored,
            matched,
            deletes,
            first,
            state,
            encoded,
            _snapshot: snapshot,
        }))
    }

    /// Whether it was made of these rows, and of the deleted-key records that are there now.
    pub fn holds(&self, load: Load, batch: &Batch, stored: &StoredRows) -> Result<bool, Busy> {
        if !self.stored.are(stored) {
            return Ok(false);
        }
        let deletes = deletes_of_keys(load, batch, &self.matched)?;
        let pairs = deletes.iter().zip(&self.deletes);
        Ok(
            deletes.len() == self.deletes.len()
                && pairs.into_iter().all(|(now, then)| now.is(then)),
        )
    }

    /// Marks the rows that give way. Where one cannot be marked, the batch keeps what became of those that were.
    pub fn mark_replaced(
        self,
        registration: &RegistrationLock,
        load: Load,
        attrs: &[Attr],
        batch: &mut Batch,
    ) -> Result<Ready<S>, Busy> {
        let before = batch.restore(self.state);
        admit(load, attrs, batch, &self.matched);
        let (marked, busy) = mark(registration, load, &self.stored, &self.matched);
        if let Some(busy) = busy {
            batch.restore(before);
            batch.put(&self.matched, self.first, |at| marked[at]);
            return Err(busy);
        }
        record_deletes(load, attrs, batch, &self.deletes);
        Ok(Ready::Encoded(self.encoded))
    }
}

impl StoredRows {
    /// Whether these are the same rows.
    fn are(&self, other: &StoredRows) -> bool {
        let place = |tid: &pg_sys::ItemPointerData| (block_of(tid), tid.ip_posid);
        let heap = self.heap.iter().zip(&other.heap);
        let segments = self.segments.iter().zip(&other.segments);
        self.heap.len() == other.heap.len()
            && self.segments.len() == other.segments.len()
            && heap
                .into_iter()
                .all(|(a, b)| a.0 == b.0 && place(&a.1.tid) == place(&b.1.tid))
            && segments
                .into_iter()
                .all(|(a, b)| a.0.entry.first_row == b.0.entry.first_row && a.1 == b.1)
    }
}
