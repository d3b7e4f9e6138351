// SPDX-License-Identifier: Apache-2.0
//! Bit-packed units, each with a head and a width of its own: what [`super::packed`] and [`super::delta`] share.
//!
//! ```text
//! width: u8 x units | head x units | packed units, back to back
//! ```

use super::bits::{self, packed_len, width_of};
use super::int::Int;
use super::UNIT;
use crate::error::{corrupt, Result};
use crate::wire::Reader;

/// Bytes that units with heads of `head_bytes` take; `None` when the numbers of one, which lie in its range, are more
/// than 64 bits apart.
pub(super) fn size<T: Int>(ranges: &[(T, T)], rows: usize, head_bytes: usize) -> Option<usize> {
    let mut size = ranges.len() * (1 + head_bytes);
    for (unit, &(min, max)) in ranges.iter().enumerate() {
        let n = (rows - unit * UNIT).min(UNIT);
        size += packed_len(n, width_of(max.distance(min)?));
    }
    Some(size)
}

/// Appends the widths that units need for their ranges.
pub(super) fn write_widths<T: Int>(ranges: &[(T, T)], out: &mut Vec<u8>) {
    let width = |&(min, max): &(T, T)| width_of(max.low_distance(min)) as u8;
    out.extend(ranges.iter().map(width));
}

/// Appends a packed unit, whose numbers are distances from the start of its range.
pub(super) fn write_packed<T: Int>(distances: &[u64], (min, max): (T, T), out: &mut Vec<u8>) {
    bits::pack(distances, width_of(max.low_distance(min)), out);
}

/// Where the parts of such a payload lie.
#[derive(Debug, Clone)]
pub(super) struct Units {
    rows: usize,
    widths: usize,
    heads: usize,
    head_bytes: usize,
    /// Start of each unit's packed bytes.
    starts: Vec<u32>,
}

/// One unit of a payload.
pub(super) struct Unit<'a> {
    /// Bits of each number.
    pub(super) width: u32,
    /// Begins with the unit's head.
    pub(super) head: &'a [u8],
    pub(super) packed: &'a [u8],
    /// How many numbers it has.
    pub(super) len: usize,
}

impl Units {
    /// Checks the payload at the reader, of rows of type `T`, and passes over it. Positions count from the reader's
    /// start.
    pub(super) fn open<T: Int>(r: &mut Reader<'_>, rows: usize, head_bytes: usize) -> Result<Self> {
        let units = rows.div_ceil(UNIT);
        let widths = r.pos();
        let width_bytes = r.take(units)?;
        let heads = r.pos();
        r.take(units * head_bytes)?;
        let mut starts = Vec::with_capacity(units);
        for (unit, &width) in width_bytes.iter().enumerate() {
            if usize::from(width) > 64.min(T::BYTES * 8) {
                return Err(corrupt("bit width too large"));
            }
            starts.push(u32::try_from(r.pos()).map_err(|_| corrupt("row block too large"))?);
            r.take(packed_len((rows - unit * UNIT).min(UNIT), u32::from(width)))?;
        }
        Ok(Self {
            rows,
            widths,
            heads,
            head_bytes,
            starts,
        })
    }

    /// A unit by its number.
    #[inline]
    pub(super) fn unit<'a>(&self, data: &'a [u8], unit: usize) -> Unit<'a> {
        let width = u32::from(data[self.widths + unit]);
        let len = (self.rows - unit * UNIT).min(UNIT);
        let start = self.starts[unit] as usize;
        Unit {
            width,
            head: &data[self.heads + unit * self.head_bytes..],
            packed: &data[start..start + packed_len(len, width)],
            len,
        }
    }
}
