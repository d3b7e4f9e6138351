// SPDX-License-Identifier: Apache-2.0
//! TIDs: what an index stores for a row.
//!
//! A doris table has two kinds of rows. A *heap row* lives in the main relation and has an ordinary heap TID.
//! A *segment row* has a row number that is never reused, written as a TID whose block number has its
//! highest bit set: `row = (block - 2^31) * 291 + offset - 1`. 291 is `MaxHeapTuplesPerPage`, the most that
//! PostgreSQL's bitmap code accepts in a block.
use pgrx::pg_sys;

/// First block number of segment rows. A heap would need 16 TiB to get here.
pub const VIRTUAL_BLOCK_BASE: u32 = 1 << 31;
/// Rows in a virtual block.
pub const ROWS_PER_VIRTUAL_BLOCK: u64 = 291;
/// One more than the largest row number. Block number 0xffffffff is PostgreSQL's invalid block,
/// 0xfffffffe is left free beside it.
pub const ROW_NUMBERS: u64 = ((1u64 << 31) - 2) * ROWS_PER_VIRTUAL_BLOCK;

/// Number of a segment row within its table's storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowNumber(pub u64);

impl RowNumber {
    /// The row a TID names, or `None` for a heap TID, and for one that names no row: each row has one TID only.
    pub const fn from_tid(tid: &pg_sys::ItemPointerData) -> Option<Self> {
        let (block, offset) = (block_of(tid), tid.ip_posid as u64);
        let of_segments = block >= VIRTUAL_BLOCK_BASE && block < u32::MAX - 1;
        if !of_segments || offset == 0 || offset > ROWS_PER_VIRTUAL_BLOCK {
            return None;
        }
        let first = (block - VIRTUAL_BLOCK_BASE) as u64 * ROWS_PER_VIRTUAL_BLOCK;
        Some(Self(first + offset - 1))
    }

    /// The TID of this row.
    pub fn to_tid(self) -> pg_sys::ItemPointerData {
        debug_assert!(self.0 < ROW_NUMBERS);
        let block = VIRTUAL_BLOCK_BASE + (self.0 / ROWS_PER_VIRTUAL_BLOCK) as u32;
        tid(block, (self.0 % ROWS_PER_VIRTUAL_BLOCK) as u16 + 1)
    }
}

/// The block number in a TID.
pub const fn block_of(tid: &pg_sys::ItemPointerData) -> u32 {
    (tid.ip_blkid.bi_hi as u32) << 16 | tid.ip_blkid.bi_lo as u32
}

/// A TID from its parts.
pub const fn tid(block: u32, offset: u16) -> pg_sys::ItemPointerData {
    pg_sys::ItemPointerData {
        ip_blkid: pg_sys::BlockIdData {
            bi_hi: (block >> 16) as u16,
            bi_lo: block as u16,
        },
        ip_posid: offset,
    }
}

const _: () = {
    /// Whether a TID names this row, or none where that is `u64::MAX`.
    const fn names(block: u32, offset: u16, row: u64) -> bool {
        match RowNumber::from_tid(&tid(block, offset)) {
            Some(found) => found.0 == row,
            None => row == u64::MAX,
        }
    }
    let last = u32::MAX - 2;
    assert!(names(VIRTUAL_BLOCK_BASE, 1, 0));
    assert!(names(VIRTUAL_BLOCK_BASE, 291, 290));
    assert!(names(VIRTUAL_BLOCK_BASE + 1, 1, 291));
    assert!(names(last, 291, ROW_NUMBERS - ROWS_PER_VIRTUAL_BLOCK + 290));
    assert!(names(VIRTUAL_BLOCK_BASE, 0, u64::MAX));
    assert!(names(VIRTUAL_BLOCK_BASE, 292, u64::MAX));
    assert!(names(VIRTUAL_BLOCK_BASE, u16::MAX, u64::MAX));
    assert!(names(VIRTUAL_BLOCK_BASE - 1, 1, u64::MAX));
    assert!(names(last + 1, 1, u64::MAX));
    assert!(names(u32::MAX, 1, u64::MAX));
};
