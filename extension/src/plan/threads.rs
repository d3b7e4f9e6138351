// SPDX-License-Identifier: Apache-2.0
//! The backend's worker threads: made when first needed, with all signals blocked, never in the postmaster.
use pgrx::pg_sys;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::cell::RefCell;
use std::sync::Arc;

thread_local! {
    static POOL: RefCell<Option<(usize, Arc<ThreadPool>)>> = const { RefCell::new(None) };
}

/// A pool of `threads` workers besides the main thread; `None` for none, or when threads cannot be had.
pub fn pool(threads: usize) -> Option<Arc<ThreadPool>> {
    if threads == 0 {
        return None;
    }
    POOL.with_borrow_mut(|pool| {
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
            .thread_name(|i| format!("doris worker {i}"))
            .panic_handler(|_| {})
            .build();
        libc::pthread_sigmask(libc::SIG_SETMASK, &old, std::ptr::null_mut());
        pool.ok()
    }
}

/// Whether somebody wants this backend to stop what it does.
pub fn interrupted() -> bool {
    // SAFETY: a flag set by signal handlers; read as volatile.
    unsafe { std::ptr::read_volatile(&raw const pg_sys::InterruptPending) != 0 }
}
