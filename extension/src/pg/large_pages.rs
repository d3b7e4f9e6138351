// SPDX-License-Identifier: Apache-2.0
//! The allocator of Rust code: the C library's, which asks the system for large pages behind large blocks.
//!
//! Tables of joins and groups and the columns beside them are blocks of many megabytes, new in each query: with pages
//! of 4 kB, getting them from the system and finding addresses in them costs more than much of what is done there. Where
//! the system lets programs choose (`/sys/kernel/mm/transparent_hugepage/enabled` is `madvise`), they are chosen here.
//!
//! A failed allocation would end the process, and with it the server. Budgets look ahead
//! ([`memory`](doris_engine::memory)); for what they do not foresee, something is set aside while a query or a load runs. As
//! vectors grow by doubling, that is as much as the largest block.
//!
//! Bytes in use are counted for PostgreSQL's views ([`memory_contexts`](super::memory_contexts)): in each thread, and from
//! there in steps, so that threads do not wait for each other.
use doris_engine::memory;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicPtr, AtomicUsize, Ordering};

/// The allocator.
pub struct LargePages;

/// Blocks of at least this size: a large page has 2 MB, and up to two of a block's are touched in part only.
const LARGE_BYTES: usize = 8 << 20;

// SAFETY: every block is the system allocator's, with the layout it was asked for.
unsafe impl GlobalAlloc for LargePages {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's layout.
        let block = unsafe { System.alloc(layout) };
        // SAFETY: as above.
        let block = or_from_aside(block, (layout.align(), layout.size()), || unsafe {
            System.alloc(layout)
        });
        if layout.align() < PROBE_ALIGN {
            made(block, 0, layout.size());
        }
        block
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's layout. Large blocks are new pages of the system, which nobody has touched yet.
        let block = unsafe { System.alloc_zeroed(layout) };
        // SAFETY: as above.
        let block = or_from_aside(block, (layout.align(), layout.size()), || unsafe {
            System.alloc_zeroed(layout)
        });
        made(block, 0, layout.size());
        block
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: the caller's block, which is the system's.
        let moved = unsafe { System.realloc(block, layout, bytes) };
        // SAFETY: as above; a block that could not be moved is as it was.
        let moved = or_from_aside(moved, (layout.align(), bytes), || unsafe {
            System.realloc(block, layout, bytes)
        });
        made(moved, layout.size(), bytes);
        moved
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if layout.align() < PROBE_ALIGN {
            count(-(layout.size() as isize));
        }
        // SAFETY: the caller's block, which is the system's.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Bytes that a thread counts for itself.
const STEP_BYTES: isize = 64 << 10;

/// Bytes in use, but for what threads have yet to tell.
static USED: AtomicIsize = AtomicIsize::new(0);

thread_local! {
    /// What a thread has yet to tell.
    static UNTOLD: Cell<isize> = const { Cell::new(0) };
}

/// A thread is about to end: tells what it has yet to tell.
pub fn thread_ends() {
    USED.fetch_add(UNTOLD.replace(0), Ordering::Relaxed);
}

/// Bytes that Rust code of this process uses; up to [`STEP_BYTES`] more or less for each thread.
pub fn used_bytes() -> usize {
    let used = USED.load(Ordering::Relaxed) + UNTOLD.get();
    used.try_into().unwrap_or(0)
}

/// Counts bytes that are in use from now on, or, below zero, no longer.
#[inline]
fn count(bytes: isize) {
    let sum = UNTOLD.get() + bytes;
    let is_much = !(-STEP_BYTES..=STEP_BYTES).contains(&sum);
    UNTOLD.set(if is_much { 0 } else { sum });
    if is_much {
        USED.fetch_add(sum, Ordering::Relaxed);
    }
}

/// A block was made, or made larger or smaller; null where that failed.
#[inline]
fn made(block: *mut u8, before: usize, bytes: usize) {
    if block.is_null() {
        return;
    }
    count(bytes as isize - before as isize);
    if bytes >= LARGE_BYTES {
        large(block as usize, bytes);
        remember(bytes);
    }
}

/// What is set aside at least: as much as a vector of some size needs to grow once more. It is not touched.
const ASIDE_BYTES_MIN: usize = 64 << 20;
/// And at most.
const ASIDE_BYTES_MAX: usize = 1 << 30;
/// It is given up in pieces of this size.
const PIECE_BYTES: usize = 2 << 20;

/// What asks for pages only wants to know whether they are to be had: a budget that looks ahead.
const PROBE_ALIGN: usize = memory::PROBE_ALIGN;

/// Null: nothing is.
static ASIDE: AtomicPtr<libc::c_void> = AtomicPtr::new(std::ptr::null_mut());
/// How much is; a multiple of [`PIECE_BYTES`].
static ASIDE_BYTES: AtomicUsize = AtomicUsize::new(0);
/// How many [`SetAside`] there are.
static WANTED: AtomicUsize = AtomicUsize::new(0);
/// A thread sets something aside or gives it up: others wait.
static BUSY: AtomicBool = AtomicBool::new(false);

/// Keeps memory for an allocation that would fail.
pub struct SetAside(());

impl SetAside {
    /// Sets it aside, unless it is. Where it cannot be, queries and loads do not begin.
    pub fn now() -> Self {
        WANTED.fetch_add(1, Ordering::Relaxed);
        alone(|| {
            set_aside(ASIDE_BYTES_MIN);
            tell();
        });
        Self(())
    }
}

impl Drop for SetAside {
    fn drop(&mut self) {
        match WANTED.fetch_sub(1, Ordering::Relaxed) {
            1 => alone(|| {
                give_up(usize::MAX);
                memory::set_short(false);
                memory::set_exhausted(false);
            }),
            // What this one had may be what the others lack.
            _ => alone(|| {
                set_aside(ASIDE_BYTES_MIN);
                tell();
            }),
        }
    }
}

/// Tells those who ask for memory how much is aside.
fn tell() {
    let aside = ASIDE_BYTES.load(Ordering::Relaxed);
    memory::set_short(aside < ASIDE_BYTES_MIN);
    memory::set_exhausted(aside < ASIDE_BYTES_MIN / 2);
}

/// Runs what no other thread may run meanwhile. It allocates nothing.
fn alone<T>(work: impl FnOnce() -> T) -> T {
    while BUSY.swap(true, Ordering::Acquire) {
        std::hint::spin_loop();
    }
    let outcome = work();
    BUSY.store(false, Ordering::Release);
    outcome
}

/// After a large block was made: the vector that it belongs to may grow once more.
fn remember(bytes: usize) {
    let wanted = bytes.next_multiple_of(PIECE_BYTES).min(ASIDE_BYTES_MAX);
    let is_less = ASIDE_BYTES.load(Ordering::Relaxed) < wanted;
    if is_less && WANTED.load(Ordering::Relaxed) > 0 {
        alone(|| set_aside(wanted));
    }
}

/// Sets so much memory aside where less is and the system has it.
fn set_aside(bytes: usize) {
    if ASIDE_BYTES.load(Ordering::Relaxed) >= bytes {
        return;
    }
    let (protection, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    );
    // SAFETY: new pages, which nobody has.
    let block = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
    if block != libc::MAP_FAILED {
        give_up(usize::MAX);
        ASIDE.store(block, Ordering::Relaxed);
        ASIDE_BYTES.store(bytes, Ordering::Relaxed);
    }
}

/// Gives so much of what is set aside back to the system, or all; whether there was something.
fn give_up(bytes: usize) -> bool {
    let (block, aside) = (
        ASIDE.load(Ordering::Relaxed),
        ASIDE_BYTES.load(Ordering::Relaxed),
    );
    if aside == 0 {
        return false;
    }
    let left = aside.saturating_sub(bytes) / PIECE_BYTES * PIECE_BYTES;
    // SAFETY: the end of what was mapped in `set_aside`; nobody else gives it up meanwhile.
    unsafe { libc::munmap(block.byte_add(left), aside - left) };
    ASIDE_BYTES.store(left, Ordering::Relaxed);
    true
}

/// An allocation's block; if it failed, that of another attempt with memory that was set aside. From then on budgets refuse, and
/// queries spill or fail; once half of it is gone, they fail.
#[inline]
fn or_from_aside(
    block: *mut u8,
    (align, bytes): (usize, usize),
    again: impl Fn() -> *mut u8,
) -> *mut u8 {
    match block.is_null() && align < PROBE_ALIGN {
        true => from_aside(bytes, again),
        false => block,
    }
}

/// Gives up a piece after the other until there is a block: all at once would go to the first thread that maps some 64 MB for
/// its own blocks.
#[cold]
fn from_aside(bytes: usize, again: impl Fn() -> *mut u8) -> *mut u8 {
    let piece = bytes.saturating_add(PIECE_BYTES);
    loop {
        let is_more = alone(|| {
            let gave = give_up(piece);
            tell();
            gave
        });
        let block = again();
        if !block.is_null() || !is_more {
            return block;
        }
    }
}

/// Asks for large pages behind a block.
#[cold]
fn large(block: usize, bytes: usize) {
    #[cfg(target_os = "linux")]
    {
        const PAGE_BYTES: usize = 4096;
        // All pages of the block, its ends included: a mapping of one kind can still grow.
        let start = block & !(PAGE_BYTES - 1);
        let end = (block + bytes).next_multiple_of(PAGE_BYTES);
        // SAFETY: says how the pages of a block are to be backed; what they hold stays. Where that cannot be, nothing
        // changes.
        unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_HUGEPAGE) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (block, bytes);
}
