// SPDX-License-Identifier: Apache-2.0
//! The small records beside column data: directory entries, the allocator of row numbers, anchors of rows.
//!
//! ```text
//! entry      version u8 | state u8 | level u8 | flags u8 | rows u32 | first_row u64 | capacity u64 |
//!            first_chunk u64 | stream_bytes u64 | footer_offset u64 | first_block u32 | checksum u32 |
//!            version 2: checksum of all before u32
//! allocator  version u8 | 3 bytes 0 | next_serial u32 | next_row u64 | next_chunk u64
//! anchor     version u8 | kind u8 | offset u16 | block u32
//! ```
//! All little-endian and of fixed size, so that they can be changed in place. An entry of version 1 that is changed
//! stays one.

/// Bytes that cannot be what they should be; the text names what they should have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("corrupt {0}")]
pub struct Corrupt(pub &'static str);

/// Version of these layouts, and the first of entries.
const VERSION: u8 = 1;
/// Version of entries with a checksum of their own.
const CHECKED: u8 = 2;
/// Row numbers are handed out in multiples of this, so that `first_row / ROW_UNIT` fits a chunk_seq.
pub const ROW_UNIT: u64 = 1024;

/// Whether a segment's column data is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentState {
    /// Rows are still in the memory of the backend that inserts them.
    Building,
    /// All data is in the chunks.
    Sealed,
}

/// A directory entry: one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Building or sealed.
    pub state: SegmentState,
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

/// The first row of the segment whose entry is filed under a chunk_seq.
pub fn first_row_at(key: i32) -> u64 {
    u64::from(key as u32) * ROW_UNIT
}

/// Bytes of an encoded [`Entry`].
pub const ENTRY_BYTES: usize = FIRST_ENTRY_BYTES + 4;
/// Bytes of one of version 1.
const FIRST_ENTRY_BYTES: usize = 56;
/// More rows than any segment has.
const CAPACITY_MAX: u64 = 1 << 24;
/// The highest [`Entry::level`].
const LEVEL_MAX: u8 = 3;

impl Entry {
    /// The chunk_seq under which the entry is filed.
    pub fn key(&self) -> i32 {
        (self.first_row / ROW_UNIT) as i32
    }

    /// Whether the segment owns a row number.
    pub fn covers(&self, row: u64) -> bool {
        row >= self.first_row && row - self.first_row < self.capacity
    }

    /// The encoding of entries that are new.
    pub fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut out = [0u8; ENTRY_BYTES];
        self.write_fields(&mut out[..FIRST_ENTRY_BYTES], CHECKED);
        let sum = checksum(&out[..FIRST_ENTRY_BYTES]);
        out[FIRST_ENTRY_BYTES..].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// Writes the entry over one that is stored, whichever version that is of.
    ///
    /// # Panics
    /// If the bytes are as many as no entry has.
    pub fn encode_over(&self, stored: &mut [u8]) {
        match stored.len() {
            FIRST_ENTRY_BYTES => self.write_fields(stored, VERSION),
            _ => stored.copy_from_slice(&self.encode()),
        }
    }

    fn write_fields(&self, out: &mut [u8], version: u8) {
        out[0] = version;
        out[1] = u8::from(self.state == SegmentState::Sealed);
        out[2] = self.level;
        out[3] = 0;
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
    }

    /// Reads the entry that is filed under a chunk_seq. Errors when the bytes cannot be it.
    pub fn decode_at(bytes: &[u8], key: i32) -> Result<Self, Corrupt> {
        let entry = Self::decode(bytes)?;
        if entry.first_row != first_row_at(key) {
            return Err(Corrupt("directory entry"));
        }
        Ok(entry)
    }

    /// Reads an entry back. Errors when the bytes cannot be one.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let corrupt = Corrupt("directory entry");
        let sound = match (bytes.len(), bytes.first()) {
            (FIRST_ENTRY_BYTES, Some(&VERSION)) => true,
            (ENTRY_BYTES, Some(&CHECKED)) => {
                u32_at(bytes, FIRST_ENTRY_BYTES) == checksum(&bytes[..FIRST_ENTRY_BYTES])
            }
            _ => false,
        };
        if !sound || bytes[1] > 1 || bytes[2] > LEVEL_MAX {
            return Err(corrupt);
        }
        let word = |i: usize| u64_at(bytes, 8 + 8 * i);
        let entry = Self {
            state: if bytes[1] == 1 {
                SegmentState::Sealed
            } else {
                SegmentState::Building
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
        if !entry.is_possible() {
            return Err(corrupt);
        }
        Ok(entry)
    }

    /// Whether the parts of an entry go together: those of version 1 have no checksum.
    fn is_possible(&self) -> bool {
        let built = match self.state {
            SegmentState::Building => self.rows == 0 && self.stream_bytes == 0,
            SegmentState::Sealed => self.stream_bytes > 0,
        };
        built
            && u64::from(self.rows) <= self.capacity
            && self.capacity <= CAPACITY_MAX
            && self.first_row.is_multiple_of(ROW_UNIT)
            && self.footer_offset <= self.stream_bytes
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    crate::checksum::checksum(bytes) as u32
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

#[cfg(test)]
mod tests;
