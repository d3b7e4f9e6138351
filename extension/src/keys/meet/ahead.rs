// SPDX-License-Identifier: Apache-2.0
//! What is made of a batch without the gate: the stored rows of its keys are found under the shared gate, then read and
//! folded with the batch's, and what is to be stored is encoded, while others write. It holds if the search with the gate
//! for bulk changes finds the same rows, and the same graves: neither ever changes where it is.
use super::{
    admit, any, check_new, cover, find, mark, meet, remember, sites, Load, Met, Ready, Rows,
    StoredRows,
};
use crate::keys::bulk::{Batch, Busy, State};
use crate::keys::deleted::Site;
use crate::keys::probe::Candidates;
use crate::pg::raw::Registered;
use crate::read::attrs::Attr;
use crate::store::gate::{Gate, Mode};
use crate::store::tid::block_of;
use pgrx::pg_sys;

/// What was made of a batch.
pub struct Ahead<S> {
    stored: StoredRows,
    met: Met,
    sites: Vec<Site>,
    /// Where the rows are that the rule made, and what the batch is with them.
    first: u32,
    state: State,
    encoded: Option<S>,
    /// Keeps places of rows from being used again.
    _snapshot: Registered,
}

impl<S> Ahead<S> {
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
        let gate = candidates.gate_as(Mode::Single, table, batch.keys(), u64::MAX);
        let stored = find(&gate, load, batch, candidates)?;
        drop(gate);
        let Some(mut met) = meet(load, attrs, batch, &stored) else {
            return Ok(None);
        };
        let sites = sites(load, batch, &met)?;
        let before = batch.state();
        cover(load, attrs, batch, &mut met, &sites);
        let columns = std::mem::take(&mut met.folded.columns);
        let first = batch.join(load.rel, attrs, columns);
        batch.put(&met, first, |_| true);
        check_new(load, attrs, batch, &met);
        let rows = batch.remaining(&met.stays());
        let encoded = any(&rows).then(|| encode(rows));
        let state = batch.restore(before);
        Ok(Some(Self {
            stored,
            met,
            sites,
            first,
            state,
            encoded,
            _snapshot: snapshot,
        }))
    }

    /// Whether it was made of these rows, and of the graves that are there now.
    pub fn holds(&self, load: Load, batch: &Batch, stored: &StoredRows) -> Result<bool, Busy> {
        if !self.stored.are(stored) {
            return Ok(false);
        }
        let sites = sites(load, batch, &self.met)?;
        let pairs = sites.iter().zip(&self.sites);
        Ok(sites.len() == self.sites.len() && pairs.into_iter().all(|(now, then)| now.is(then)))
    }

    /// Marks the rows that give way. Where one cannot be marked, the batch keeps what became of those that were.
    pub fn settle(
        self,
        gate: &Gate,
        load: Load,
        attrs: &[Attr],
        batch: &mut Batch,
    ) -> Result<Ready<S>, Busy> {
        let before = batch.restore(self.state);
        admit(load, attrs, batch, &self.met);
        let (marked, busy) = mark(gate, load, &self.stored, &self.met);
        if let Some(busy) = busy {
            batch.restore(before);
            batch.put(&self.met, self.first, |at| marked[at]);
            return Err(busy);
        }
        remember(load, attrs, batch, &self.sites);
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
