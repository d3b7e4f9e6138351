// SPDX-License-Identifier: Apache-2.0
//! Where pg_doris files its tuples in a TOAST relation: `(chunk_id, chunk_seq)`.
//!
//! PostgreSQL gives real TOAST values ids from `FirstNormalObjectId` (16384) up, so the ids below are ours.

/// Directory entries; chunk_seq is `first_row / ROW_UNIT`.
pub const DIRECTORY: u32 = 1;
/// The allocator, one tuple, chunk_seq 0.
pub const ALLOCATOR: u32 = 2;
/// Segments that compaction retired, until their chunks and anchors are deleted; chunk_seq as in the directory.
pub const RETIRED: u32 = 3;
/// Which rows have no index entries any more, one tuple, chunk_seq 0.
pub const VACUUMED: u32 = 4;
const CHUNKS: u32 = 1024;
const ANCHORS: u32 = 4096;
const MOVED: u32 = 8192;
const SLICES: u32 = 9216;
const SUCCESSORS: u32 = 10240;
const SLICE_IDS: u64 = 1024;
const DELETED_KEYS: u32 = 12288;
const DELETED_KEY_IDS: u64 = 4096;
/// Deleted-key records that fit one hash.
pub const DELETED_KEY_SLOTS: i32 = 256;
/// Column data bytes in a chunk: with its headers it fills a page.
pub const CHUNK_BYTES: usize = 8120;

/// Where chunk `number` of the column data is filed.
pub fn chunk(number: u64) -> (u32, i32) {
    split(CHUNKS, number)
}

/// Where the anchor of a segment row is filed.
pub fn anchor(row: u64) -> (u32, i32) {
    split(ANCHORS, row)
}

/// The first and the last chunk_id of anchors.
pub fn anchors() -> (u32, u32) {
    (ANCHORS, MOVED - 1)
}

/// The chunk_id of the move map of heap rows, or that of segment rows.
pub fn moved_id(from_heap: bool) -> u32 {
    MOVED + u32::from(!from_heap)
}

/// Where the moves of a heap block's rows are filed.
pub fn moved_block(block: u32) -> (u32, i32) {
    (moved_id(true), block as i32)
}

/// Where the moves of a stretch of row numbers are filed.
pub fn moved_rows(place: u64) -> (u32, i32) {
    (moved_id(false), place as i32)
}

/// Where a bulk delete within a slice of row numbers is filed.
pub fn slice(slice: u64, serial: u32) -> (u32, i32) {
    (SLICES + (slice % SLICE_IDS) as u32, serial as i32)
}

/// Which of the slices that share an id one is.
pub fn slice_round(slice: u64) -> u64 {
    slice / SLICE_IDS
}

/// The first and the last chunk_id of bulk deletes and of next versions.
pub fn all_slices() -> (u32, u32) {
    (SLICES, SUCCESSORS + SLICE_IDS as u32 - 1)
}

/// Where next versions of rows of a slice of row numbers are filed.
pub fn successors(slice: u64, serial: u32) -> (u32, i32) {
    (SUCCESSORS + (slice % SLICE_IDS) as u32, serial as i32)
}

/// The chunk_id of the first of some slices, and how many of them have the ids that follow.
pub fn slices(slices: &std::ops::Range<u64>) -> (u32, u64) {
    let at = slices.start % SLICE_IDS;
    let count = (slices.end - slices.start).min(SLICE_IDS - at);
    (SLICES + at as u32, count)
}

/// Where the deleted-key records of a hash are filed: from this chunk_seq on, [`DELETED_KEY_SLOTS`] of them.
pub fn deleted_key(hash: u64) -> (u32, i32) {
    let id = DELETED_KEYS + (hash % DELETED_KEY_IDS) as u32;
    let place = (hash / DELETED_KEY_IDS) as i32 & 0x7f_ffff;
    (id, place * DELETED_KEY_SLOTS)
}

/// The first and the last chunk_id of deleted-key records.
pub fn deleted_keys() -> (u32, u32) {
    (DELETED_KEYS, DELETED_KEYS + DELETED_KEY_IDS as u32 - 1)
}

fn split(base: u32, number: u64) -> (u32, i32) {
    (base + (number >> 31) as u32, (number & 0x7fff_ffff) as i32)
}
