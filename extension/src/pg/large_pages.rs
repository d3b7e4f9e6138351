// SPDX-License-Identifier: Apache-2.0
//! The allocator of Rust code: the C library's, which asks the system for large pages behind large blocks.
//!
//! Tables of joins and groups and the columns beside them are blocks of many megabytes, new in each query: with pages
//! of 4 kB, getting them from the system and finding addresses in them costs more than much of what is done there. Where
//! the system lets programs choose (`/sys/kernel/mm/transparent_hugepage/enabled` is `madvise`), they are chosen here.
//!
//! A failed allocation would end the process, and with it the server. Budgets look ahead
//! ([`memory`](doris_engine::memory)); for what they do not foresee, something is set aside while a query runs.
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

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
        let block = or_from_aside(block, layout, || unsafe { System.alloc(layout) });
        if layout.align() < PROBE_ALIGN {
            advise(block, layout.size());
        }
        block
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's layout. Large blocks are new pages of the system, which nobody has touched yet.
        let block = unsafe { System.alloc_zeroed(layout) };
        // SAFETY: as above.
        let block = or_from_aside(block, layout, || unsafe { System.alloc_zeroed(layout) });
        advise(block, layout.size());
        block
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: the caller's block, which is the system's.
        let moved = unsafe { System.realloc(block, layout, bytes) };
        // SAFETY: as above; a block that could not be moved is as it was.
        let moved = or_from_aside(moved, layout, || unsafe {
            System.realloc(block, layout, bytes)
        });
        advise(moved, bytes);
        moved
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's block, which is the system's.
        unsafe { System.dealloc(block, layout) }
    }
}

/// What is set aside, as much as a vector of some size needs to grow once more. It is not touched.
const ASIDE_BYTES: usize = 64 << 20;

/// What asks for pages only wants to know whether they are to be had: a budget that looks ahead.
const PROBE_ALIGN: usize = doris_engine::memory::PROBE_ALIGN;

/// Null: nothing is.
static ASIDE: AtomicPtr<libc::c_void> = AtomicPtr::new(std::ptr::null_mut());
/// How many [`SetAside`] there are.
static WANTED: AtomicUsize = AtomicUsize::new(0);

/// Keeps memory for an allocation that would fail. To be made and dropped on the main thread.
pub struct SetAside(());

impl SetAside {
    /// Sets it aside, unless it is, or cannot be.
    pub fn now() -> Self {
        WANTED.fetch_add(1, Ordering::Relaxed);
        set_aside();
        Self(())
    }
}

impl Drop for SetAside {
    fn drop(&mut self) {
        match WANTED.fetch_sub(1, Ordering::Relaxed) {
            1 => {
                give_up_aside();
            }
            // What this one had may be what the others lack.
            _ => set_aside(),
        }
    }
}

/// Sets memory aside where none is; budgets may grow again.
fn set_aside() {
    if !ASIDE.load(Ordering::Relaxed).is_null() {
        return;
    }
    let (protection, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    );
    // SAFETY: new pages, which nobody has.
    let block = unsafe { libc::mmap(std::ptr::null_mut(), ASIDE_BYTES, protection, flags, -1, 0) };
    if block != libc::MAP_FAILED {
        ASIDE.store(block, Ordering::Relaxed);
        doris_engine::memory::set_short(false);
    }
}

/// Gives what is set aside back to the system; whether there was something.
fn give_up_aside() -> bool {
    let block = ASIDE.swap(std::ptr::null_mut(), Ordering::Relaxed);
    if block.is_null() {
        return false;
    }
    // SAFETY: mapped in `set_aside`, and taken by this thread alone.
    unsafe { libc::munmap(block, ASIDE_BYTES) };
    true
}

/// An allocation's block; if it failed, that of another attempt with the memory that was set aside. From then on budgets refuse,
/// and queries spill or fail.
#[inline]
fn or_from_aside(block: *mut u8, layout: Layout, again: impl FnOnce() -> *mut u8) -> *mut u8 {
    match block.is_null() && layout.align() < PROBE_ALIGN {
        true => from_aside(again),
        false => block,
    }
}

/// Whether a thread is giving up what is set aside: others that are short as well wait for it, and try again, too.
static GIVING_UP: AtomicBool = AtomicBool::new(false);

#[cold]
fn from_aside(again: impl FnOnce() -> *mut u8) -> *mut u8 {
    while GIVING_UP.swap(true, Ordering::Acquire) {
        std::hint::spin_loop();
    }
    if give_up_aside() {
        doris_engine::memory::set_short(true);
    }
    GIVING_UP.store(false, Ordering::Release);
    again()
}

#[inline]
fn advise(block: *mut u8, bytes: usize) {
    if bytes >= LARGE_BYTES && !block.is_null() {
        large(block as usize, bytes);
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
