// SPDX-License-Identifier: Apache-2.0
//! The backend's worker threads: made when first needed, with all signals blocked, never in the postmaster.
use crate::options::settings;
use crate::pg::large_pages;
use pgrx::pg_sys;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::cell::RefCell;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::Arc;

type Pool = RefCell<Option<(usize, Arc<ThreadPool>)>>;

thread_local! {
    static POOL: Pool = const { RefCell::new(None) };
    static LOADERS: Pool = const { RefCell::new(None) };
}

/// As [`pool`], for work that goes on while the main thread does something else: a query of this backend that wants its
/// workers meanwhile must not wait for it.
pub fn loaders(threads: usize) -> Option<Arc<ThreadPool>> {
    pool_in(&LOADERS, threads)
}

/// A pool of `threads` workers besides the main thread; `None` for none, or when threads cannot be had.
pub fn pool(threads: usize) -> Option<Arc<ThreadPool>> {
    pool_in(&POOL, threads)
}

fn pool_in(place: &'static std::thread::LocalKey<Pool>, threads: usize) -> Option<Arc<ThreadPool>> {
    if threads == 0 {
        return None;
    }
    place.with_borrow_mut(|pool| {
        if let Some((size, pool)) = pool {
            if *size == threads {
                return Some(pool.clone());
            }
        }
        let made = Arc::new(build(threads)?);
        *pool = Some((threads, made.clone()));
        Some(made)
    })
}

/// The stack of a thread, which takes memory as far as it is used: for the deepest expressions and plans that are
/// converted ([`nesting`](super::nesting)), in builds without optimisation too.
const STACK_BYTES: usize = 8 << 20;

/// Threads inherit the signal mask of their maker: PostgreSQL's signals must all go to the main thread.
fn build(threads: usize) -> Option<ThreadPool> {
    // SAFETY: the set is initialised by sigfillset; the old mask is restored below.
    unsafe {
        let mut all = std::mem::zeroed::<libc::sigset_t>();
        let mut old = std::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_BLOCK, &all, &mut old);
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .stack_size(STACK_BYTES)
            .thread_name(|i| format!("doris worker {i}"))
            .panic_handler(|_| {})
            .exit_handler(|_| large_pages::thread_ends())
            .build();
        libc::pthread_sigmask(libc::SIG_SETMASK, &old, std::ptr::null_mut());
        pool.ok()
    }
}

/// Free memory that a process keeps for its next query.
const KEPT_BYTES: usize = 64 << 20;

/// As [`KEPT_BYTES`], where all sessions together have a bound.
const KEPT_BYTES_OF_MANY: usize = 1 << 20;

/// Makes the allocator keep the memory of vectors between row blocks: by default it hands blocks of this size back to
/// the system each time, and page faults then cost as much as decoding.
#[cfg(target_env = "gnu")]
pub fn keep_freed_memory() {
    /// Blocks up to this size come from the heap.
    const FROM_HEAP_BYTES_MAX: i32 = 8 << 20;
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // SAFETY: sets parameters of the allocator, which no other code of this process relies on.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, FROM_HEAP_BYTES_MAX);
            libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES as i32);
        }
    });
}

/// Other C libraries' allocators keep it themselves.
#[cfg(not(target_env = "gnu"))]
pub fn keep_freed_memory() {}

/// After a query that had so many bytes at most: what was freed in the middle of a heap is kept whatever its size,
/// which would add up over sessions.
pub fn hand_back(peak: usize) {
    let kept = match settings::max_memory_bytes() {
        Some(_) => KEPT_BYTES_OF_MANY,
        None => KEPT_BYTES,
    };
    if peak > kept {
        #[cfg(target_env = "gnu")]
        // SAFETY: plain call; what is in use stays.
        unsafe {
            libc::malloc_trim(0)
        };
    }
}

/// Whether this backend was asked to cancel its query or to end, and will do so at the main thread's next look: where
/// PostgreSQL holds interrupts off, the query goes on. For any thread.
pub fn cancelled() -> bool {
    // The flags are C ints, as the counters are.
    let set = |flag: *mut i32| {
        // SAFETY: an aligned int of the process that lives as long as it does, set by signal handlers or the main
        // thread.
        unsafe { AtomicI32::from_ptr(flag).load(Ordering::Relaxed) != 0 }
    };
    let held_off = || {
        set((&raw mut pg_sys::InterruptHoldoffCount).cast())
            || set((&raw mut pg_sys::CritSectionCount).cast())
    };
    let asked = || {
        set(&raw mut pg_sys::ProcDiePending)
            || set(&raw mut pg_sys::QueryCancelPending)
                && !set((&raw mut pg_sys::QueryCancelHoldoffCount).cast())
    };
    asked() && !held_off()
}

/// Whether somebody wants this backend to stop what it does. What else is asked of it (a barrier, statistics that are
/// due) is done at once, and may raise an error.
pub fn interrupted() -> bool {
    // SAFETY: a flag set by signal handlers; read as volatile.
    if unsafe { std::ptr::read_volatile(&raw const pg_sys::InterruptPending) } == 0 {
        return false;
    }
    if cancelled() {
        return true;
    }
    pgrx::check_for_interrupts!();
    false
}
