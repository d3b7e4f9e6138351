// SPDX-License-Identifier: Apache-2.0
//! The memory of segments that are being loaded: reserved as it grows, so that a load finds out in time that the system has no
//! more of it, and PostgreSQL's views show it.
use crate::pg;
use crate::pg::large_pages::SetAside;
use doris_engine::memory::{check, foresee, MemoryBudget, Purpose, Reservation, LARGE_BYTES};
use pgrx::pg_sys;
use std::cell::OnceCell;
use std::sync::Arc;

/// What a user can do.
pub const HINT: &str =
    "Lower doris.load_memory, or let the server's processes have more memory (ulimit -v, \
                        vm.overcommit_memory).";

thread_local! {
    static LOADS: OnceCell<Arc<MemoryBudget>> = const { OnceCell::new() };
}

/// What a segment's rows have reserved; given back on drop.
pub struct SegmentMemory {
    reserved: Reservation,
    /// For allocations that are not foreseen.
    _aside: SetAside,
}

impl SegmentMemory {
    /// Nothing yet. How much rows may take is not its concern, but that the system has it.
    pub fn new() -> Self {
        let budget = || MemoryBudget::of(Purpose::Loads, usize::MAX, None);
        let reserved = LOADS.with(|loads| Reservation::new(loads.get_or_init(budget)));
        Self {
            reserved,
            _aside: SetAside::now(),
        }
    }

    /// Reserves so many bytes in all, in steps; raises an error where the system has not so much.
    pub fn cover(&mut self, relid: pg_sys::Oid, bytes: usize) {
        if bytes > self.reserved.bytes() {
            let step = bytes.saturating_add(LARGE_BYTES);
            let reserved = check().and_then(|()| self.reserved.resize(step));
            reserved.unwrap_or_else(|_| pg::report_no_memory(Some(relid), HINT));
        }
    }

    /// Reserves what encoding `bytes` of rows takes besides, of which the widest value has `widest`: what is encoded may be as
    /// large, and the ends of a column's blocks are kept apart.
    pub fn cover_encoding(&mut self, relid: pg_sys::Oid, bytes: usize, widest: usize) {
        let besides = bytes.saturating_add(widest.saturating_mul(5));
        self.cover(relid, bytes.saturating_add(besides));
    }

    /// As [`SegmentMemory::cover`], once there are fewer rows.
    pub fn shrink(&mut self, bytes: usize) {
        if bytes < self.reserved.bytes() {
            // Giving back is never refused.
            let _ = self.reserved.resize(bytes);
        }
    }
}

/// Makes room for `more` values behind those of a growing column.
pub fn make_room(values: &mut Vec<u8>, more: usize) {
    if values.capacity() - values.len() >= more {
        return;
    }
    let needed = values.len() + more;
    let wanted = needed.max(values.capacity() * 2);
    // Twice as much where that is to be had.
    let capacity = match foresee(wanted) {
        Ok(()) => wanted,
        Err(_) => needed,
    };
    if values.try_reserve_exact(capacity - values.len()).is_err() {
        pg::report_no_memory(None, HINT);
    }
}
