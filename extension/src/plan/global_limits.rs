// SPDX-License-Identifier: Apache-2.0
//! What all sessions share: worker threads and memory, counted in shared memory.
//!
//! A query takes worker threads while it computes its next rows, and memory in steps while it holds it. What is not to
//! be had makes it work with fewer threads, or spill. A session that ends gives back what it still holds; after a
//! crash PostgreSQL makes the shared memory anew.
use crate::options::settings;
use doris_engine::memory::MemoryParent;
use pgrx::{pg_guard, pg_shmem_init, pg_sys, PGRXSharedMemory, PgAtomic};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Counts of the whole server.
#[derive(Default)]
pub struct Pool {
    threads: AtomicUsize,
    memory: AtomicUsize,
}

// SAFETY: two numbers that are changed atomically.
unsafe impl PGRXSharedMemory for Pool {}

// SAFETY: a name of our own.
static POOL: PgAtomic<Pool> = unsafe { PgAtomic::new(c"pg_doris_pool") };
static PRELOADED: AtomicBool = AtomicBool::new(false);
/// What this process holds.
static OWN_THREADS: AtomicUsize = AtomicUsize::new(0);
static OWN_MEMORY: AtomicUsize = AtomicUsize::new(0);

#[allow(unexpected_cfgs)] // The macro names versions that this crate has no feature for.
fn reserve() {
    pg_shmem_init!(POOL);
}

/// Reserves the memory; to be called while libraries are preloaded.
pub fn init() {
    reserve();
    PRELOADED.store(true, Ordering::Relaxed);
}

/// The server's counts; `None` where the library was not preloaded.
fn pool() -> Option<&'static Pool> {
    static WATCHED: AtomicBool = AtomicBool::new(false);
    if !PRELOADED.load(Ordering::Relaxed) {
        return None;
    }
    if !WATCHED.swap(true, Ordering::Relaxed) {
        // SAFETY: a callback without an argument, in the backend itself.
        unsafe { pg_sys::on_shmem_exit(Some(leave), pg_sys::Datum::from(0)) };
    }
    Some(POOL.get())
}

/// Gives back what an ending session still holds.
#[pg_guard]
unsafe extern "C-unwind" fn leave(_code: i32, _arg: pg_sys::Datum) {
    let pool = POOL.get();
    pool.threads
        .fetch_sub(OWN_THREADS.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    pool.memory
        .fetch_sub(OWN_MEMORY.swap(0, Ordering::Relaxed), Ordering::Relaxed);
}

/// Takes up to `amount`, so that no more than `limit` are taken of `total`; how much it got.
fn take(total: &AtomicUsize, amount: usize, limit: usize) -> usize {
    let mut used = total.load(Ordering::Relaxed);
    loop {
        let got = amount.min(limit.saturating_sub(used));
        if got == 0 {
            return 0;
        }
        match total.compare_exchange(used, used + got, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return got,
            Err(now) => used = now,
        }
    }
}

/// Worker threads of the server that a query uses; given back on drop.
pub struct Workers(usize);

impl Workers {
    /// Up to `wanted` worker threads.
    pub fn take(wanted: usize) -> Self {
        let Some(pool) = pool() else {
            return Self(wanted);
        };
        let got = take(&pool.threads, wanted, settings::max_threads());
        OWN_THREADS.fetch_add(got, Ordering::Relaxed);
        Self(got)
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        if let (Some(pool), 1..) = (pool(), self.0) {
            OWN_THREADS.fetch_sub(self.0, Ordering::Relaxed);
            pool.threads.fetch_sub(self.0, Ordering::Relaxed);
        }
    }
}

/// The server's memory, as a query's budget sees it.
struct Memory {
    pool: &'static Pool,
    limit: usize,
}

impl MemoryParent for Memory {
    fn take(&self, bytes: usize) -> bool {
        let before = self.pool.memory.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.limit {
            self.pool.memory.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        OWN_MEMORY.fetch_add(bytes, Ordering::Relaxed);
        true
    }

    fn give(&self, bytes: usize) {
        OWN_MEMORY.fetch_sub(bytes, Ordering::Relaxed);
        self.pool.memory.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What backs a query's budget: nothing where no bound is set.
pub fn memory() -> Option<Box<dyn MemoryParent>> {
    let limit = settings::max_memory_bytes()?;
    let pool = pool()?;
    Some(Box::new(Memory { pool, limit }))
}
