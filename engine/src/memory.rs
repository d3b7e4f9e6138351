// SPDX-License-Identifier: Apache-2.0
//! Memory accounting: growing structures reserve before they grow.
//!
//! A [`MemoryBudget`] is one query's share. It may be backed by a parent (the server-wide pool, which the
//! extension keeps in shared memory): bytes are taken from the parent in steps, so that the parent is asked
//! rarely. Operators hold [`Reservation`]s, which give everything back when dropped. A refused reservation
//! is the signal to spill; without anywhere to spill it is [`Error::OutOfMemory`].
//!
//! A limit says what a query may use, not what the system has left (`ulimit -v`, strict overcommit). An allocation that
//! fails ends the process, so before a budget grows by much, it looks whether that is to be had: at least as much as is
//! used, as a vector that grows is there twice for a moment. Otherwise it refuses as if the limit were reached.
//!
//! Blocks of [`LARGE_BYTES`] or more that are made at once (all rows of a column end to end, the entries of a sort) are asked
//! for in a way that can fail: [`vec`] and [`foresee`], or, in code that has no errors to return, [`room`], which unwinds.
//! Whoever runs that code ([`catching`]) makes [`Error::OutOfMemory`] of it.
//!
//! What spills still needs room for the rows it works on. That much is granted beyond the limit
//! ([`Reservation::resize_with_floor`], [`Reservation::hold`]): an operator that found nothing left could not go on
//! otherwise, however much of the rest it has spilled.

use std::any::Any;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;

use crate::error::{Error, Result};

/// What a budget's bytes are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Operators of queries, and what they keep for their next start.
    Queries,
    /// Rows that are loaded, until they are written.
    Loads,
}

/// What all budgets of this process have reserved, by purpose.
static RESERVED: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];

/// Bytes that budgets of this process have reserved now.
pub fn reserved_bytes(purpose: Purpose) -> usize {
    RESERVED[purpose as usize].load(Ordering::Relaxed)
}

/// Where a budget gets its bytes from; called from any thread.
pub trait MemoryParent: Send + Sync {
    /// Takes `bytes` from the parent; false when they are not to be had.
    fn take(&self, bytes: usize) -> bool;
    /// Gives `bytes` back.
    fn give(&self, bytes: usize);
}

/// How many bytes a budget asks its parent for at a time, at least.
const PARENT_STEP_BYTES: usize = 1 << 20;

/// How many bytes a budget grows by before it looks again whether the system has them.
const PROBE_STEP_BYTES: usize = 1 << 20;

/// How many bytes that were given back are taken to be still there.
const PROBE_KEPT_BYTES: usize = 16 << 20;

/// What the system must have left beside what is asked for: as much as is used, within these bounds.
const SLACK_BYTES_MIN: usize = 64 << 20;
const SLACK_BYTES_MAX: usize = 1 << 30;

/// Whether an allocation could only just be made.
static SHORT: AtomicBool = AtomicBool::new(false);

/// Says whether an allocation has failed but for a last resort: as long as it has, budgets of this process refuse to grow.
pub fn set_short(short: bool) {
    SHORT.store(short, Ordering::Relaxed);
}

/// Whether what was kept for allocations that would fail is nearly used up.
static EXHAUSTED: AtomicBool = AtomicBool::new(false);

/// Says whether memory is so short that queries of this process have to end.
pub fn set_exhausted(exhausted: bool) {
    EXHAUSTED.store(exhausted, Ordering::Relaxed);
}

/// [`Error::OutOfMemory`] where memory is so short that who works has to end.
#[inline]
pub fn check() -> Result<()> {
    match EXHAUSTED.load(Ordering::Relaxed) {
        true => Err(Error::OutOfMemory),
        false => Ok(()),
    }
}

/// How blocks are aligned that are asked for just to see whether they are to be had: allocators can tell by that.
pub const PROBE_ALIGN: usize = 4096;

#[repr(align(4096))]
struct Page(#[allow(dead_code)] [u8; PROBE_ALIGN]);

/// Whether the system has so many bytes. They are not touched, and so cost no page.
fn are_there(bytes: usize) -> bool {
    let mut block: Vec<Page> = Vec::new();
    let there = block.try_reserve_exact(bytes.div_ceil(PROBE_ALIGN)).is_ok();
    std::hint::black_box(&mut block);
    there
}

/// Blocks of this size are asked for in a way that can fail.
pub const LARGE_BYTES: usize = 1 << 20;

/// What the system must have left beside such a block: smaller ones go on being made.
const MARGIN_BYTES: usize = 8 << 20;

/// Looks whether the system has a block of so many bytes; [`Error::OutOfMemory`] where it has not. Small ones are taken to be
/// there.
#[inline]
pub fn foresee(bytes: usize) -> Result<()> {
    match bytes < LARGE_BYTES {
        true => Ok(()),
        false => foresee_large(bytes),
    }
}

#[cold]
fn foresee_large(bytes: usize) -> Result<()> {
    match !SHORT.load(Ordering::Relaxed) && are_there(bytes.saturating_add(MARGIN_BYTES)) {
        true => Ok(()),
        false => Err(Error::OutOfMemory),
    }
}

/// An empty vector with room for so many values; [`Error::OutOfMemory`] where the system has it not.
#[inline]
pub fn vec<T>(capacity: usize) -> Result<Vec<T>> {
    let bytes = capacity.saturating_mul(size_of::<T>());
    if bytes < LARGE_BYTES {
        return Ok(Vec::with_capacity(capacity));
    }
    foresee_large(bytes)?;
    let mut vec = Vec::new();
    // Another thread may have had it meanwhile.
    let reserved = vec.try_reserve_exact(capacity);
    reserved.map(|()| vec).map_err(|_| Error::OutOfMemory)
}

/// What a thread unwinds with that finds no memory where it has no error to return.
struct Refused;

/// As [`vec`], for code that returns no errors: unwinds up to [`catching`].
#[inline]
pub fn room<T>(capacity: usize) -> Vec<T> {
    match vec(capacity) {
        Ok(vec) => vec,
        Err(_) => unwind(),
    }
}

#[cold]
fn unwind() -> ! {
    resume_unwind(Box::new(Refused))
}

/// Whether a thread unwinds for want of memory, by what it unwinds with.
pub fn is_refused(payload: &(dyn Any + Send)) -> bool {
    payload.is::<Refused>()
}

/// Runs what may come upon [`room`] that the system has not: [`Error::OutOfMemory`]. What it works on is not to be used after
/// that. Other panics go on.
pub fn catching<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(outcome) => outcome,
        Err(payload) if is_refused(&*payload) => Err(Error::OutOfMemory),
        Err(payload) => resume_unwind(payload),
    }
}

/// What an operator may hold on a thread beyond the limit: one part in so many of it, within these bounds.
const WORKING_SHARE: usize = 4;
const WORKING_BYTES_MIN: usize = 8 << 10;
const WORKING_BYTES_MAX: usize = 1 << 20;

/// Bytes that one query may use.
pub struct MemoryBudget {
    limit_bytes: usize,
    used: AtomicUsize,
    peak: AtomicUsize,
    taken: AtomicUsize,
    /// So many bytes, the system has been found to have.
    probed: AtomicUsize,
    parent: Option<Box<dyn MemoryParent>>,
    /// What all budgets of its purpose have reserved.
    all: &'static AtomicUsize,
}

impl MemoryBudget {
    /// A budget of `limit_bytes` with nothing behind it.
    pub fn new(limit_bytes: usize) -> Arc<Self> {
        Self::with_parent(limit_bytes, None)
    }

    /// A query's budget of `limit_bytes`, taken from `parent` as it is used.
    pub fn with_parent(limit_bytes: usize, parent: Option<Box<dyn MemoryParent>>) -> Arc<Self> {
        Self::of(Purpose::Queries, limit_bytes, parent)
    }

    /// A budget of `limit_bytes` for a purpose, taken from `parent` as it is used.
    pub fn of(
        purpose: Purpose,
        limit_bytes: usize,
        parent: Option<Box<dyn MemoryParent>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            limit_bytes,
            used: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            probed: AtomicUsize::new(0),
            parent,
            all: &RESERVED[purpose as usize],
        })
    }

    /// Reserves `bytes`; [`Error::OutOfMemory`] when the limit, the parent or the system refuses.
    pub fn try_reserve(&self, bytes: usize) -> Result<()> {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let after = before.saturating_add(bytes);
        if after > self.limit_bytes || !self.is_there(after) || !self.cover(after) {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Error::OutOfMemory);
        }
        self.all.fetch_add(bytes, Ordering::Relaxed);
        self.peak.fetch_max(after, Ordering::Relaxed);
        Ok(())
    }

    /// Reserves `bytes` whatever the limit; the parent, if it refuses, is not told of them.
    fn reserve_beyond(&self, bytes: usize) {
        let after = self.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.all.fetch_add(bytes, Ordering::Relaxed);
        self.cover(after);
        self.peak.fetch_max(after, Ordering::Relaxed);
    }

    /// What an operator needs to go on at all, once it has spilled what it could.
    pub fn working_bytes(&self) -> usize {
        (self.limit_bytes / WORKING_SHARE).clamp(WORKING_BYTES_MIN, WORKING_BYTES_MAX)
    }

    /// Whether the system has memory for `bytes` in all; looks again after each step only.
    fn is_there(&self, bytes: usize) -> bool {
        if SHORT.load(Ordering::Relaxed) {
            return false;
        }
        let probed = self.probed.load(Ordering::Relaxed);
        if bytes <= probed {
            return true;
        }
        let goal = bytes.saturating_add(PROBE_STEP_BYTES);
        let slack = bytes.clamp(SLACK_BYTES_MIN, SLACK_BYTES_MAX);
        let there = are_there((goal - probed).saturating_add(slack));
        if there {
            self.probed.fetch_max(goal, Ordering::Relaxed);
        }
        there
    }

    /// Gives back `bytes` of an earlier reservation.
    pub fn release(&self, bytes: usize) {
        let before = self.used.fetch_sub(bytes, Ordering::Relaxed);
        self.all.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes);
        let left = before.saturating_sub(bytes);
        // What is taken and given back again and again is looked for once.
        if self.probed.load(Ordering::Relaxed) > left.saturating_add(PROBE_KEPT_BYTES) {
            let kept = left.saturating_add(PROBE_STEP_BYTES);
            self.probed.fetch_min(kept, Ordering::Relaxed);
        }
    }

    /// Bytes reserved now.
    pub fn used_bytes(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// The most bytes that were reserved at one time.
    pub fn peak_bytes(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    /// The limit.
    pub fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// Gives back what was taken from the parent and is not used. Nobody may be reserving meanwhile.
    pub fn shrink(&self) {
        let Some(parent) = &self.parent else { return };
        let used = self.used_bytes();
        let taken = self.taken.load(Ordering::Relaxed);
        if taken > used {
            self.taken.store(used, Ordering::Relaxed);
            parent.give(taken - used);
        }
    }

    /// Makes sure that at least `bytes` have been taken from the parent.
    fn cover(&self, bytes: usize) -> bool {
        let Some(parent) = &self.parent else {
            return true;
        };
        let mut taken = self.taken.load(Ordering::Relaxed);
        while taken < bytes {
            let step = (bytes - taken).max(PARENT_STEP_BYTES);
            if !parent.take(step) {
                return false;
            }
            match self.taken.compare_exchange(
                taken,
                taken + step,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => {
                    parent.give(step);
                    taken = now;
                }
            }
        }
        true
    }
}

impl Drop for MemoryBudget {
    fn drop(&mut self) {
        if let Some(parent) = &self.parent {
            parent.give(self.taken.load(Ordering::Relaxed));
        }
    }
}

/// Bytes of a budget that one structure holds; given back on drop.
pub struct Reservation {
    budget: Arc<MemoryBudget>,
    bytes: usize,
}

impl Reservation {
    /// An empty reservation.
    pub fn new(budget: &Arc<MemoryBudget>) -> Self {
        Self {
            budget: Arc::clone(budget),
            bytes: 0,
        }
    }

    /// Makes the reservation `bytes` large; [`Error::OutOfMemory`] leaves it as it was.
    pub fn resize(&mut self, bytes: usize) -> Result<()> {
        if bytes > self.bytes {
            self.budget.try_reserve(bytes - self.bytes)?;
        } else {
            self.budget.release(self.bytes - bytes);
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Adds `bytes`; [`Error::OutOfMemory`] leaves the reservation as it was.
    pub fn grow(&mut self, bytes: usize) -> Result<()> {
        self.resize(self.bytes.saturating_add(bytes))
    }

    /// As [`Reservation::resize`], but up to `floor` bytes are granted whatever the limit, if the system has them.
    pub fn resize_with_floor(&mut self, bytes: usize, floor: usize) -> Result<()> {
        match self.resize(bytes) {
            Err(Error::OutOfMemory) if bytes <= floor && self.may_hold(bytes) => {
                self.hold(bytes);
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Whether the system lets it have `bytes` that the limit does not.
    fn may_hold(&self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        more < PROBE_STEP_BYTES || self.budget.is_there(self.budget.used_bytes() + more)
    }

    /// Makes the reservation at least `bytes` large whatever the limit: for what cannot be made smaller.
    pub fn hold(&mut self, bytes: usize) {
        let more = bytes.saturating_sub(self.bytes);
        if self.budget.try_reserve(more).is_err() {
            self.budget.reserve_beyond(more);
        }
        self.bytes += more;
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}

#[cfg(test)]
mod tests;
