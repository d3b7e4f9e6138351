// SPDX-License-Identifier: Apache-2.0
//! `Fixed(n)` values, back to back.
//!
//! ```text
//! 0 constant: value | 1 plain: n bytes x rows | 2 lz4: frames
//! ```

use std::ops::Range;

use super::bytes::Kind;
use super::frames;
use crate::error::{corrupt, Result};
use crate::wire::Reader;

/// Appends the stream of `values`, `width` bytes each.
pub(crate) fn encode(values: &[u8], width: usize, lz4: bool, out: &mut Vec<u8>) -> Kind {
    if !values.is_empty() && values.chunks_exact(width).all(|v| v == &values[..width]) {
        out.push(Kind::Constant as u8);
        out.extend_from_slice(&values[..width]);
        return Kind::Constant;
    }
    out.push(Kind::Lz4 as u8);
    if lz4 && frames::encode_if_below(values, 90, out) {
        return Kind::Lz4;
    }
    out.pop();
    out.push(Kind::Plain as u8);
    out.extend_from_slice(values);
    Kind::Plain
}

/// A stream whose structure was checked.
#[derive(Debug, Clone)]
pub(crate) enum Layout {
    /// One value for all rows, and where it is.
    Constant(Range<usize>),
    /// Where the values are.
    Plain(Range<usize>),
    /// See `frames`.
    Lz4(frames::Layout),
}

impl Layout {
    /// Checks the stream of `rows` values at the reader and passes over it.
    pub(crate) fn open(r: &mut Reader<'_>, rows: usize, width: usize) -> Result<Self> {
        let taken = |r: &mut Reader<'_>, n: usize| -> Result<Range<usize>> {
            r.take(n)?;
            Ok(r.pos() - n..r.pos())
        };
        Ok(match r.u8()? {
            0 => Layout::Constant(taken(r, width)?),
            1 => Layout::Plain(taken(r, rows * width)?),
            2 => {
                let frames = frames::Layout::open(r)?;
                if frames.raw_len() != rows * width {
                    return Err(corrupt("wrong number of fixed-width values"));
                }
                Layout::Lz4(frames)
            }
            _ => return Err(corrupt("unknown fixed-width encoding")),
        })
    }

    /// Appends the bytes of rows `range`.
    pub(crate) fn decode(
        &self,
        data: &[u8],
        range: Range<usize>,
        width: usize,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let bytes = range.start * width..range.end * width;
        match self {
            Layout::Constant(value) => {
                let value = &data[value.clone()];
                range.for_each(|_| out.extend_from_slice(value));
            }
            Layout::Plain(all) => out.extend_from_slice(&data[all.clone()][bytes]),
            Layout::Lz4(frames) => frames.decode(data, bytes, out)?,
        }
        Ok(())
    }
}
