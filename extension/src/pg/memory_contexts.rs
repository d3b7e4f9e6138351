// SPDX-License-Identifier: Apache-2.0
//! Rust's memory among PostgreSQL's memory contexts: in `pg_backend_memory_contexts`, and where
//! `pg_log_backend_memory_contexts` and a failed allocation of PostgreSQL print them.
//!
//! ```text
//! TopMemoryContext
//!   pg_doris             all else: decoded row blocks, caches, what is encoded
//!     pg_doris queries   what operators of queries have reserved
//!     pg_doris loads     what segments have reserved that are being loaded
//! ```
//! Nothing is allocated in these contexts. PostgreSQL asks a context for its figures by its method `stats`, which for these
//! adds Rust's bytes. In PostgreSQL 15 to 18 that is the one place where figures come from; everything else (allocation,
//! reset, deletion, checks in builds with assertions, `MemoryContextMemAllocated`) goes by the chunks, the node's type and
//! `mem_allocated`, which stay those of a plain context.
use super::large_pages;
use doris_engine::memory::{reserved_bytes, Purpose};
use pgrx::pg_sys;
use std::ffi::{c_void, CStr};
use std::io::Write;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The methods of PostgreSQL's own contexts; null before [`init`].
static PLAIN: AtomicPtr<pg_sys::MemoryContextMethods> = AtomicPtr::new(std::ptr::null_mut());

/// What the contexts show, by number.
const REST: usize = 0;
const QUERIES: usize = 1;
const LOADS: usize = 2;

/// Bytes that a context shows beside its own.
fn bytes(context: usize) -> usize {
    let (queries, loads) = (
        reserved_bytes(Purpose::Queries),
        reserved_bytes(Purpose::Loads),
    );
    match context {
        QUERIES => queries,
        LOADS => loads,
        // What was reserved may not be in use yet.
        _ => large_pages::used_bytes().saturating_sub(queries + loads),
    }
}

/// Makes the contexts; once in a process, when the library is loaded. Processes that it starts have them from it.
pub fn init() {
    // SAFETY: the backend's main thread; TopMemoryContext is there as long as the process.
    unsafe {
        let rest = context::<REST>(pg_sys::TopMemoryContext, c"pg_doris");
        context::<LOADS>(rest, c"pg_doris loads");
        context::<QUERIES>(rest, c"pg_doris queries");
    }
}

/// A context for ever, with figures of ours.
unsafe fn context<const CONTEXT: usize>(
    parent: pg_sys::MemoryContext,
    name: &'static CStr,
) -> pg_sys::MemoryContext {
    // SAFETY: a new context, of which nobody but PostgreSQL's statistics will know; its methods stay what they were but for
    // one, and live as long as the process.
    unsafe {
        let made = pg_sys::AllocSetContextCreateExtended(
            parent,
            name.as_ptr(),
            pg_sys::ALLOCSET_SMALL_MINSIZE as usize,
            pg_sys::ALLOCSET_SMALL_INITSIZE as usize,
            pg_sys::ALLOCSET_SMALL_MAXSIZE as usize,
        );
        let plain = (*made).methods;
        PLAIN.store(plain.cast_mut(), Ordering::Relaxed);
        (*made).methods = Box::leak(Box::new(pg_sys::MemoryContextMethods {
            stats: Some(stats::<CONTEXT>),
            ..*plain
        }));
        made
    }
}

/// A context's figures, printed, added to `totals`, or both. Allocates nothing: it may be asked when an allocation has failed.
///
/// Not guarded: printing raises no error but one that ends the process, and there is nothing to drop.
unsafe extern "C-unwind" fn stats<const CONTEXT: usize>(
    context: pg_sys::MemoryContext,
    print: pg_sys::MemoryStatsPrintFunc,
    passed: *mut c_void,
    totals: *mut pg_sys::MemoryContextCounters,
    to_stderr: bool,
) {
    let mut own = pg_sys::MemoryContextCounters::default();
    // SAFETY: the methods of a plain context, which this is but for this method; the caller's function and counters.
    unsafe {
        let plain = (*PLAIN.load(Ordering::Relaxed)).stats;
        if let Some(plain) = plain {
            plain(context, None, std::ptr::null_mut(), &mut own, to_stderr);
        }
        own.totalspace += bytes(CONTEXT);
        if let Some(print) = print {
            let text = in_words(&own);
            print(context, passed, text.as_ptr().cast(), to_stderr);
        }
        if let Some(totals) = totals.as_mut() {
            totals.nblocks += own.nblocks;
            totals.freechunks += own.freechunks;
            totals.totalspace += own.totalspace;
            totals.freespace += own.freespace;
        }
    }
}

/// Figures as PostgreSQL prints them, with a terminating zero.
fn in_words(figures: &pg_sys::MemoryContextCounters) -> [u8; 200] {
    let mut text = [0; 200];
    let end = text.len() - 1;
    let used = figures.totalspace - figures.freespace;
    // Five numbers and less than 70 letters fit.
    let _ = write!(
        &mut text[..end],
        "{} total in {} blocks; {} free ({} chunks); {used} used",
        figures.totalspace,
        figures.nblocks,
        figures.freespace,
        figures.freechunks,
    );
    text
}
