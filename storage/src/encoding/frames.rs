// SPDX-License-Identifier: Apache-2.0
//! LZ4 over a byte stream, in frames of 64 KB raw so that any byte costs at most one frame.
//!
//! ```text
//! raw length: varint | frame end: u32 x frames | frames, back to back
//! ```
//! A frame that does not shrink is stored as it is (its length equals its raw length).

use std::ops::Range;

use super::int::Int;
use crate::error::{corrupt, Result};
use crate::wire::{put_varint, Reader};

/// Raw bytes in a frame; the last one may hold fewer.
pub(crate) const FRAME: usize = 64 * 1024;

/// Appends the payload if it is smaller than `percent` of `raw`; else leaves `out` as it was.
pub(crate) fn encode_if_below(raw: &[u8], percent: usize, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    put_varint(out, raw.len() as u128);
    let mut ends = Vec::new();
    let mut frames = Vec::new();
    for frame in raw.chunks(FRAME) {
        let packed = lz4_flex::block::compress(frame);
        frames.extend_from_slice(if packed.len() < frame.len() {
            &packed
        } else {
            frame
        });
        ends.push(frames.len() as u32);
        // A first frame that does not shrink tells enough: LZ4 on noise costs more than it can win.
        if ends.len() == 1 && raw.len() > FRAME && frames.len() * 100 >= frame.len() * percent {
            out.truncate(start);
            return false;
        }
    }
    ends.iter()
        .for_each(|e| out.extend_from_slice(&e.to_le_bytes()));
    out.extend_from_slice(&frames);
    if (out.len() - start) * 100 >= raw.len() * percent {
        out.truncate(start);
        return false;
    }
    true
}

/// Where the frames lie.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    raw_len: usize,
    ends: usize,
    frames: usize,
}

impl Layout {
    /// Checks the payload at the reader and passes over it. Positions count from the reader's start.
    pub(crate) fn open(r: &mut Reader<'_>) -> Result<Self> {
        let raw_len = r.varint32()? as usize;
        let count = raw_len.div_ceil(FRAME);
        let ends_at = r.pos();
        let ends = r.take(count * 4)?;
        let frames = r.pos();
        let mut end = 0;
        for bytes in ends.chunks_exact(4) {
            let next = u32::read(bytes);
            if next < end {
                return Err(corrupt("frames out of order"));
            }
            end = next;
        }
        r.take(end as usize)?;
        // 255 is the most that LZ4 can expand a byte to.
        if raw_len / 255 > end as usize {
            return Err(corrupt("frames too short for their content"));
        }
        Ok(Self {
            raw_len,
            ends: ends_at,
            frames,
        })
    }

    /// Raw bytes in all.
    pub(crate) fn raw_len(&self) -> usize {
        self.raw_len
    }

    /// Appends raw bytes `range`; `data` is what the layout was opened on.
    pub(crate) fn decode(&self, data: &[u8], range: Range<usize>, out: &mut Vec<u8>) -> Result<()> {
        if range.start > range.end || range.end > self.raw_len {
            return Err(corrupt("bytes beyond the last frame"));
        }
        let mut at = range.start;
        while at < range.end {
            let frame = at / FRAME;
            let begin = frame * FRAME;
            let len = (self.raw_len - begin).min(FRAME);
            let part = at - begin..(range.end - begin).min(len);
            let end_of = |f: usize| u32::read(&data[self.ends + f * 4..]) as usize;
            let first = if frame == 0 { 0 } else { end_of(frame - 1) };
            let packed = &data[self.frames + first..self.frames + end_of(frame)];
            at = begin + part.end;
            decode_frame(packed, len, part, out)?;
        }
        Ok(())
    }
}

fn decode_frame(packed: &[u8], len: usize, part: Range<usize>, out: &mut Vec<u8>) -> Result<()> {
    if packed.len() == len {
        out.extend_from_slice(&packed[part]);
        return Ok(());
    }
    let before = out.len();
    out.resize(before + len, 0);
    let wrote = lz4_flex::block::decompress_into(packed, &mut out[before..]);
    if !matches!(wrote, Ok(n) if n == len) {
        out.truncate(before);
        return Err(corrupt("broken LZ4 frame"));
    }
    out.truncate(before + part.end);
    out.drain(before..before + part.start);
    Ok(())
}
