// SPDX-License-Identifier: Apache-2.0
//! A segment's byte stream, cut into chunks of a page each.
use super::chunk_ids::{self, CHUNK_BYTES};
use super::entry::Entry;
use super::tid::{block_of, tid};
use crate::pg;
use crate::pg::toast::Toast;
use doris_engine::memory::foresee;
use pgrx::pg_sys;
use std::cell::Cell;
use std::ops::Range;

/// Writes a stream; returns the block of its first chunk. `cid` is the command the rows belong to.
pub fn write(toast: &Toast, first_chunk: u64, stream: &[u8], cid: pg_sys::CommandId) -> u32 {
    // SAFETY: a bulk-insert state keeps the current page pinned; freed below or with its memory context.
    let bistate = unsafe { pg_sys::GetBulkInsertState() };
    let mut first_block = 0;
    for (i, bytes) in stream.chunks(CHUNK_BYTES).enumerate() {
        let at = toast.insert(
            chunk_ids::chunk(first_chunk + i as u64),
            bytes,
            cid,
            0,
            bistate,
        );
        if i == 0 {
            first_block = block_of(&at);
        }
        pgrx::check_for_interrupts!();
    }
    // SAFETY: made above.
    unsafe { pg_sys::FreeBulkInsertState(bistate) };
    first_block
}

/// Chunks that a stream of `bytes` takes.
pub fn count(bytes: u64) -> u64 {
    bytes.div_ceil(CHUNK_BYTES as u64)
}

/// The buffers in which the chunks of a stream were last found, by chunk; 0: not known.
pub type Recent = [Cell<pg_sys::Buffer>];

/// No segment has more bytes than this in one piece: a row block's length takes 32 bits, a dictionary is smaller.
const BYTES_MAX: usize = 1 << 33;

/// Reads bytes `range` of a segment's stream, appending them to `out`.
pub fn read(
    main: pg_sys::Relation,
    toast: &Toast,
    entry: &Entry,
    range: Range<u64>,
    out: &mut Vec<u8>,
) {
    read_recent(main, toast, entry, &[], range, out);
}

/// As [`read`], with the buffers that a scan before found the chunks in.
pub fn read_recent(
    main: pg_sys::Relation,
    toast: &Toast,
    entry: &Entry,
    recent: &Recent,
    range: Range<u64>,
    out: &mut Vec<u8>,
) {
    if range.start >= range.end {
        return;
    }
    if range.end > entry.stream_bytes {
        pg::report_corrupt(main, "segment refers to bytes past its end");
    }
    let size = CHUNK_BYTES as u64;
    let mut blocks = None;
    let bytes = (range.end - range.start) as usize;
    if bytes > BYTES_MAX {
        pg::report_corrupt(main, "segment that is larger than memory");
    }
    if foresee(bytes).is_err() || out.try_reserve_exact(bytes).is_err() {
        pg::report_no_memory(Some(pg::relation_id(main)), "");
    }
    for number in range.start / size..=(range.end - 1) / size {
        let from = range.start.saturating_sub(number * size).min(size) as usize;
        let to = (range.end - number * size).min(size) as usize;
        let key = chunk_ids::chunk(entry.first_chunk + number);
        let hint = u64::from(entry.first_block) + number;
        let mut copy = |bytes: &[u8]| match bytes.get(from..to) {
            Some(part) => {
                out.extend_from_slice(part);
                true
            }
            None => false,
        };
        let mut copied = None;
        let unknown = Cell::new(0);
        let buffer = recent.get(number as usize).unwrap_or(&unknown);
        // A block in which the chunk was found before exists. One in which it was not may have been cut off since.
        if buffer.get() != 0 || hint < u64::from(*blocks.get_or_insert_with(|| toast.blocks())) {
            let mut at = buffer.get();
            copied = toast.read_recent(tid(hint as u32, 1), key, &mut at, &mut copy);
            buffer.set(copied.map_or(0, |_| at));
        }
        if copied.is_none() {
            toast.scan(key.0, key.1, key.1, false, |version| {
                copied = Some(copy(version.payload()));
                false
            });
        }
        if copied != Some(true) {
            pg::report_corrupt(
                main,
                format!(
                    "chunk {number} of the segment at row {} is missing",
                    entry.first_row
                ),
            );
        }
    }
}
