// SPDX-License-Identifier: Apache-2.0
//! The allocator of Rust code: the C library's, which asks the system for large pages behind large blocks.
//!
//! Tables of joins and groups and the columns beside them are blocks of many megabytes, new in each query: with pages
//! of 4 kB, getting them from the system and finding addresses in them costs more than much of what is done there. Where
//! the system lets programs choose (`/sys/kernel/mm/transparent_hugepage/enabled` is `madvise`), they are chosen here.
use std::alloc::{GlobalAlloc, Layout, System};

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
        advise(block, layout.size());
        block
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's layout. Large blocks are new pages of the system, which nobody has touched yet.
        let block = unsafe { System.alloc_zeroed(layout) };
        advise(block, layout.size());
        block
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: the caller's block, which is the system's.
        let block = unsafe { System.realloc(block, layout, bytes) };
        advise(block, bytes);
        block
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's block, which is the system's.
        unsafe { System.dealloc(block, layout) }
    }
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
