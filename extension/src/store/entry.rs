// SPDX-License-Identifier: Apache-2.0
//! Payloads of the tuples that pg_doris keeps in a TOAST relation: directory entries, the allocator, anchors.
//!
//! ```text
//! entry      version u8 | state u8 | level u8 | flags u8 | rows u32 | first_row u64 | capacity u64 |
//!            first_chunk u64 | stream_bytes u64 | footer_offset u64 | first_block u32 | checksum u32
//! allocator  version u8 | 3 bytes 0 | next_serial u32 | next_row u64 | next_chunk u64
//! anchor     version u8 | kind u8 | offset u16 | block u32
//! ```
//! All little-endian and of fixed size, so that they can be changed in place.
use crate::pg::Corrupt;

/// Version of these layouts.
const VERSION: u8 = 1;
/// Row numbers are handed out in multiples of this, so that `first_row / ROW_UNIT` fits a chunk_seq.
pub const ROW_UNIT: u64 = 1024;

/// Whether a segment's column data is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Rows are still in the memory of the backend that inserts them.
    Building,
    /// All data is in the chunks.
    Sealed,
}

/// A directory entry: one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Building or sealed.
    pub state: State,
    /// 0: written by a load; 1: made by cumulative compaction or of heap rows; 2: by base compaction; 3: by compaction,
    /// and as large as memory allows.
    pub level: u8,
    /// Rows in the segment; 0 while it is being built.
    pub rows: u32,
    /// Number of the first row; a multiple of [`ROW_UNIT`].
    pub first_row: u64,
    /// Row numbers reserved, from `first_row` on.
    pub capacity: u64,
    /// Number of the first chunk of the byte stream.
    pub first_chunk: u64,
    /// Length of the byte stream.
    pub stream_bytes: u64,
    /// Where in the stream the footer starts; it ends with the stream.
    pub footer_offset: u64,
    /// Block of the first chunk: a hint, the others usually follow.
    pub first_block: u32,
    /// Checksum of the footer, to tell a cached footer from another of the same number.
    pub checksum: u32,
}

/// Bytes of an encoded [`Entry`].
pub const ENTRY_BYTES: usize = 56;

impl Entry {
    /// The chunk_seq under which the entry is filed.
    pub fn key(&self) -> i32 {
        (self.first_row / ROW_UNIT) as i32
    }

    /// Whether the segment owns a row number.
    pub fn covers(&self, row: u64) -> bool {
        row >= self.first_row && row - self.first_row < self.capacity
    }

    /// The fixed-size encoding.
    pub fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut out = [0u8; ENTRY_BYTES];
        out[0] = VERSION;
        out[1] = u8::from(self.state == State::Sealed);
        out[2] = self.level;
        out[4..8].copy_from_slice(&self.rows.to_le_bytes());
        let words = [
            self.first_row,
            self.capacity,
            self.first_chunk,
            self.stream_bytes,
            self.footer_offset,
        ];
        for (i, word) in words.iter().enumerate() {
            out[8 + 8 * i..16 + 8 * i].copy_from_slice(&word.to_le_bytes());
        }
        out[48..52].copy_from_slice(&self.first_block.to_le_bytes());
        out[52..56].copy_from_slice(&self.checksum.to_le_bytes());
        out
    }

    /// Reads an entry back. Errors when the bytes cannot be one.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        if bytes.len() != ENTRY_BYTES || bytes[0] != VERSION || bytes[1] > 1 {
            return Err(Corrupt("directory entry"));
        }
        let word = |i: usize| u64_at(bytes, 8 + 8 * i);
        let entry = Self {
            state: if bytes[1] == 1 {
                State::Sealed
            } else {
                State::Building
            },
            level: bytes[2],
            rows: u32_at(bytes, 4),
            first_row: word(0),
            capacity: word(1),
            first_chunk: word(2),
            stream_bytes: word(3),
            footer_offset: word(4),
            first_block: u32_at(bytes, 48),
            checksum: u32_at(bytes, 52),
        };
        if u64::from(entry.rows) > entry.capacity || entry.footer_offset > entry.stream_bytes {
            return Err(Corrupt("directory entry"));
        }
        Ok(entry)
    }
}

/// The counters of a storage; they only grow and are not rolled back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allocator {
    /// Next unused row number, a multiple of [`ROW_UNIT`].
    pub next_row: u64,
    /// Next unused chunk number.
    pub next_chunk: u64,
    /// Next number for telling bulk deletes apart; it starts again from 0 after 2^31 - 1.
    pub next_serial: u32,
}

/// Bytes of an encoded [`Allocator`].
pub const ALLOCATOR_BYTES: usize = 24;

impl Allocator {
    /// The fixed-size encoding.
    pub fn encode(&self) -> [u8; ALLOCATOR_BYTES] {
        let mut out = [0u8; ALLOCATOR_BYTES];
        out[0] = VERSION;
        out[4..8].copy_from_slice(&self.next_serial.to_le_bytes());
        out[8..16].copy_from_slice(&self.next_row.to_le_bytes());
        out[16..24].copy_from_slice(&self.next_chunk.to_le_bytes());
        out
    }

    /// Reads an allocator back.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        if bytes.len() != ALLOCATOR_BYTES || bytes[0] != VERSION {
            return Err(Corrupt("row number allocator"));
        }
        Ok(Self {
            next_row: u64_at(bytes, 8),
            next_chunk: u64_at(bytes, 16),
            next_serial: u32_at(bytes, 4) & 0x7fff_ffff,
        })
    }
}

/// What an anchor says of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// The row is there; the anchor tuple carries its row locks.
    Live,
    /// The row was deleted by the tuple's inserter.
    Deleted,
    /// The row was deleted and moved to another partition.
    MovedPartition,
    /// The row was updated; its next version is at this block and offset.
    Updated(u32, u16),
    /// As before; its key is the same, so that FOR KEY SHARE need not wait.
    KeyKept(u32, u16),
    /// As before; its next version is still to be written, or filed. Only rows that are updated in bulk have this, and
    /// not in an anchor: it is never stored.
    Updating,
}

/// Bytes of an encoded [`Anchor`].
pub const ANCHOR_BYTES: usize = 8;

impl Anchor {
    /// The fixed-size encoding.
    pub fn encode(&self) -> [u8; ANCHOR_BYTES] {
        let (kind, block, offset) = match *self {
            Anchor::Live => (0, 0, 0),
            Anchor::Deleted => (1, 0, 0),
            Anchor::Updated(block, offset) => (2, block, offset),
            Anchor::MovedPartition => (3, 0, 0),
            Anchor::KeyKept(block, offset) => (4, block, offset),
            // Refused when it is read.
            Anchor::Updating => (u8::MAX, 0, 0),
        };
        let mut out = [0u8; ANCHOR_BYTES];
        out[0] = VERSION;
        out[1] = kind;
        out[2..4].copy_from_slice(&offset.to_le_bytes());
        out[4..8].copy_from_slice(&u32::to_le_bytes(block));
        out
    }

    /// Reads an anchor back.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        if bytes.len() != ANCHOR_BYTES || bytes[0] != VERSION {
            return Err(Corrupt("row anchor"));
        }
        let block = u32_at(bytes, 4);
        let offset = u16::from_le_bytes([bytes[2], bytes[3]]);
        match bytes[1] {
            0 => Ok(Anchor::Live),
            1 => Ok(Anchor::Deleted),
            2 => Ok(Anchor::Updated(block, offset)),
            3 => Ok(Anchor::MovedPartition),
            4 => Ok(Anchor::KeyKept(block, offset)),
            _ => Err(Corrupt("row anchor")),
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
