// SPDX-License-Identifier: Apache-2.0
//! Which row numbers have no entries in any index any more: kept in one tuple, so that VACUUM scans indexes only when
//! something is to be removed. The tuple is outside of MVCC like the allocator, since VACUUM writes nothing under a
//! transaction id of its own.
//!
//! ```text
//! version u8 | 3 bytes 0 | count u32 | horizon u64 | count times: start u32, end u32 | zeros
//! ```
//! Ranges are in units of [`ROW_UNIT`]. One that does not fit is forgotten; the next VACUUM works on it again.
use super::chunk_ids;
use super::entry::ROW_UNIT;
use crate::pg::toast::{Toast, INSERT_FROZEN};
use crate::pg::Corrupt;
use pgrx::pg_sys;

const VERSION: u8 = 1;
/// Bytes of the tuple's payload.
const PAYLOAD_BYTES_MAX: usize = 8000;
const HEADER_BYTES: usize = 16;
/// Ranges that fit.
const RANGES_MAX: usize = (PAYLOAD_BYTES_MAX - HEADER_BYTES) / 8;

/// What VACUUM has removed from the indexes of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VacuumedRows {
    /// Rows that were marked dead by transactions before this one, an epoch in the upper half.
    pub horizon: u64,
    /// Row numbers of no segment, ascending: from, to (exclusive).
    pub ranges: Vec<(u64, u64)>,
}

impl VacuumedRows {
    fn encode(&self) -> Vec<u8> {
        let mut ranges: Vec<(u64, u64)> = self.ranges.clone();
        // The longest stay.
        if ranges.len() > RANGES_MAX {
            ranges.sort_by_key(|(from, to)| std::cmp::Reverse(to - from));
            ranges.truncate(RANGES_MAX);
            ranges.sort_unstable();
        }
        let mut out = vec![0; PAYLOAD_BYTES_MAX];
        out[0] = VERSION;
        out[4..8].copy_from_slice(&(ranges.len() as u32).to_le_bytes());
        out[8..16].copy_from_slice(&self.horizon.to_le_bytes());
        for (slot, (from, to)) in out[HEADER_BYTES..].chunks_exact_mut(8).zip(&ranges) {
            slot[..4].copy_from_slice(&((from / ROW_UNIT) as u32).to_le_bytes());
            slot[4..].copy_from_slice(&((to / ROW_UNIT) as u32).to_le_bytes());
        }
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let word = |at: usize| {
            let mut le = [0; 4];
            le.copy_from_slice(&bytes[at..at + 4]);
            u64::from(u32::from_le_bytes(le))
        };
        if bytes.len() != PAYLOAD_BYTES_MAX || bytes[0] != VERSION || word(4) as usize > RANGES_MAX
        {
            return Err(Corrupt("record of cleaned rows"));
        }
        let range = |i: usize| {
            let at = HEADER_BYTES + 8 * i;
            (word(at) * ROW_UNIT, word(at + 4) * ROW_UNIT)
        };
        Ok(Self {
            horizon: word(8) | word(12) << 32,
            ranges: (0..word(4) as usize).map(range).collect(),
        })
    }

    /// Whether all of a range was vacuumed.
    pub fn covers(&self, (from, to): (u64, u64)) -> bool {
        let at = self.ranges.partition_point(|range| range.1 <= from);
        let within = |range: &(u64, u64)| range.0 <= from && to <= range.1;
        self.ranges.get(at).is_some_and(within)
    }
}

fn find(toast: &Toast) -> Option<pg_sys::ItemPointerData> {
    let mut at = None;
    toast.scan(chunk_ids::VACUUMED, 0, 0, false, |version| {
        at = Some(version.tid());
        false
    });
    at
}

/// Whether VACUUM has noted anything yet.
pub fn is_noted(toast: &Toast) -> bool {
    find(toast).is_some()
}

/// What VACUUM has removed so far.
pub fn read(main: pg_sys::Relation, toast: &Toast) -> VacuumedRows {
    let read = find(toast).and_then(|at| {
        toast.read_locked(at, (chunk_ids::VACUUMED, 0), &mut 0, VacuumedRows::decode)
    });
    match read {
        Some(Ok(cleaned)) => cleaned,
        Some(Err(error)) => crate::pg::report_corrupt(main, error),
        None => VacuumedRows::default(),
    }
}

/// Notes what VACUUM has removed. The caller's lock on the table keeps other VACUUMs away.
pub fn write(toast: &Toast, cleaned: &VacuumedRows) {
    let payload = cleaned.encode();
    if let Some(at) = find(toast) {
        toast.change_in_place(at, |bytes| {
            if bytes.len() == payload.len() {
                bytes.copy_from_slice(&payload);
            }
        });
        return;
    }
    // SAFETY: plain call.
    let cid = unsafe { pg_sys::GetCurrentCommandId(true) };
    let null = std::ptr::null_mut();
    toast.insert((chunk_ids::VACUUMED, 0), &payload, cid, INSERT_FROZEN, null);
}
