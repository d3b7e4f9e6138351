// SPDX-License-Identifier: Apache-2.0
//! Which position of the source a snapshot shows in the mirrors, and how old that is.
//!
//! A worker notes each batch in the shared state, with its transaction id and position, after its commit. The newest
//! one that a snapshot sees says what the mirrors show under it: at least its position; and if no batch came after it,
//! as far as the worker has applied since, as nothing in between concerned the mirrors. The position is not read from a
//! table: that would have to be written with each batch.
use crate::cdc::shared_state::{monotonic_us, Batch, Entry, BATCHES_KEPT};
use pgrx::prelude::*;

/// How far the mirrors are behind.
pub(super) struct Staleness {
    pub(super) ms: i64,
    /// Whether that is known at all.
    pub(super) known: bool,
}

/// The position that the mirrors show at least; `None` if the snapshot is older than what the shared state remembers.
pub(super) fn position(entry: &Entry, snapshot: pg_sys::Snapshot) -> Option<u64> {
    if entry.batches_noted == 0 {
        return Some(entry.applied);
    }
    let kept = (entry.batches_noted as usize).min(BATCHES_KEPT);
    for back in 0..kept {
        let at = (entry.batches_noted as usize - 1 - back) % BATCHES_KEPT;
        let batch = entry.noted[at];
        if sees(snapshot, batch) {
            return Some(if back == 0 { entry.applied } else { batch.lsn });
        }
    }
    None
}

/// Whether a snapshot sees a transaction that has committed.
fn sees(snapshot: pg_sys::Snapshot, batch: Batch) -> bool {
    // SAFETY: reads shared memory.
    let next = unsafe { pg_sys::ReadNextFullTransactionId().value };
    // Ids of 32 bits mean nothing when they are that old; every snapshot in use is younger.
    if next.saturating_sub(batch.xid) > 1 << 30 {
        return true;
    }
    let xid = pg_sys::TransactionId::from(batch.xid as u32);
    // SAFETY: an MVCC snapshot.
    unsafe { !pg_sys::XidInMVCCSnapshot(xid, snapshot) }
}

/// How far behind the mirrors are, by a clock that nobody sets.
pub(super) fn behind(entry: &Entry) -> Staleness {
    let ms = (monotonic_us() - entry.fresh_us) / 1000;
    Staleness {
        ms: ms.max(0),
        known: entry.fresh_us != 0,
    }
}
