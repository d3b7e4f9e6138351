// SPDX-License-Identifier: Apache-2.0
//! Segments: an immutable run of rows as one byte stream.
//!
//! ```text
//! stream   | column chunk 0 | column chunk 1 | ... | footer |
//!
//! chunk    | shared part (dictionary or symbol table; optional) | row block 0 | row block 1 | ... |
//!          | bloom filter of block 0 | bloom filter of block 1 | ... (optional) |
//!
//! block    | validity | values |                      rows i * block_rows .. (i + 1) * block_rows,
//!                                                     the same rows in every column
//!
//! footer   | "DORISSEG" | version u16 | flags u16 | rows u32 | block_rows u32 | columns u16 | keys u16
//!          | head length u32 | key index length u32 | key index checksum u64
//!          | sort keys: (column u16, flags u8) x keys
//!          | directory: (column u16, length u32, checksum u64) x columns
//!          | head checksum u64
//!          | column meta 0 | column meta 1 | ... | key index |
//! ```
//! A reader that needs few of many columns reads the head, then the metas and blocks of those columns only.
//! All integers are little-endian. What a block's bytes mean is in `encoding`.
//!
//! Writing: `encode_column` per column (in any order, in parallel), then `SegmentBuilder`, or `assemble`.
//! Reading: `Footer::decode`, `Footer::check_block` to skip, `ColumnReader::block`, `Block::decode`.

mod builder;
mod footer;
#[cfg(test)]
mod golden_tests;
mod meta;
mod reader;
#[cfg(test)]
mod round_trip_tests;
#[cfg(test)]
mod tests;
mod writer;

pub use builder::{assemble, EncodedSegment, SegmentBuilder, SegmentEnd, SortOrder};
pub use footer::{Footer, FooterHead, KeyIndex};
pub use meta::{BlockMeta, ColumnMeta, ColumnSpec, Encoding, Order};
pub use reader::{Block, ColumnReader, Verify};
pub use writer::{encode_column, EncodedColumn, WriteOptions};

/// Rows in a row block, unless `WriteOptions` says otherwise.
pub const ROW_BLOCK_ROWS: u32 = 16_384;

/// The most rows that a row block may have.
pub const ROW_BLOCK_ROWS_MAX: u32 = 65_536;

/// The most rows that a segment may have; a footer that claims more is corrupt.
pub const SEGMENT_ROWS_MAX: u32 = 1 << 24;

/// The format version that is written. Older ones stay readable.
pub const FORMAT_VERSION: u16 = 1;
