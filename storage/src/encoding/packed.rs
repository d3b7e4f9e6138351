// SPDX-License-Identifier: Apache-2.0
//! Frame of reference: each unit keeps its minimum and bit-packs the distances from it.
//!
//! ```text
//! width: u8 x units | reference: T x units | packed units, back to back
//! ```

use std::marker::PhantomData;
use std::ops::Range;

use super::bits;
use super::int::{for_unit_rows, for_units, Int};
use super::units::{self, Units};
use super::UNIT;
use crate::error::Result;
use crate::vector::push_positions;
use crate::wire::Reader;

/// Bytes that `encode` will append; `None` when a unit's range passes 64 bits.
pub(crate) fn size<T: Int>(ranges: &[(T, T)], rows: usize) -> Option<usize> {
    units::size(ranges, rows, T::BYTES)
}

/// Appends the payload; `ranges` holds the minimum and maximum of each unit of `values`, and `size`
/// was not `None` for it.
pub(crate) fn encode<T: Int>(values: &[T], ranges: &[(T, T)], out: &mut Vec<u8>) {
    units::write_widths(ranges, out);
    ranges.iter().for_each(|&(min, _)| min.write(out));
    let mut offsets = [0u64; UNIT];
    for (chunk, &range) in values.chunks(UNIT).zip(ranges) {
        for (to, v) in offsets.iter_mut().zip(chunk) {
            *to = v.low_distance(range.0);
        }
        units::write_packed(&offsets[..chunk.len()], range, out);
    }
}

/// From so many rows of a unit on, unpacking all of it is faster than looking them up.
const UNPACKED_ROWS: usize = 64;

/// Where the parts of a payload lie.
#[derive(Debug, Clone)]
pub(crate) struct Layout<T> {
    units: Units,
    values: PhantomData<T>,
}

impl<T: Int> Layout<T> {
    /// Checks the payload at the reader and passes over it. Positions count from the reader's start.
    pub(crate) fn open(r: &mut Reader<'_>, rows: usize) -> Result<Self> {
        Ok(Self {
            units: Units::open::<T>(r, rows, T::BYTES)?,
            values: PhantomData,
        })
    }

    /// Width, reference, packed bytes and length of a unit.
    #[inline]
    fn unit<'a>(&self, data: &'a [u8], unit: usize) -> (u32, T, &'a [u8], usize) {
        let unit = self.units.unit(data, unit);
        (unit.width, T::read(unit.head), unit.packed, unit.len)
    }

    /// Appends rows `range`.
    pub(crate) fn decode(&self, data: &[u8], range: Range<usize>, out: &mut Vec<T>) {
        for_units(range, |unit, part| {
            let (width, reference, packed, n) = self.unit(data, unit);
            unpack_map(packed, width, n, part, out, |offset| {
                reference.add_offset(offset)
            });
        });
    }

    /// Appends the given rows, which ascend.
    pub(crate) fn gather(&self, data: &[u8], rows: &[u32], out: &mut Vec<T>) {
        out.reserve(rows.len());
        for_unit_rows(rows, |unit, part| {
            let (width, reference, packed, n) = self.unit(data, unit);
            if part.len() < UNPACKED_ROWS || n < UNIT || width == 0 {
                let get = |&row: &u32| bits::get(packed, width, n, row as usize % UNIT);
                out.extend(part.iter().map(|row| reference.add_offset(get(row))));
            } else if width <= 32 {
                let mut offsets = [0u32; UNIT];
                bits::unpack32(packed, width, &mut offsets);
                let get = |&row: &u32| offsets[row as usize % UNIT].into();
                out.extend(part.iter().map(|row| reference.add_offset(get(row))));
            } else {
                let mut offsets = [0u64; UNIT];
                bits::unpack64(packed, width, &mut offsets);
                let get = |&row: &u32| offsets[row as usize % UNIT];
                out.extend(part.iter().map(|row| reference.add_offset(get(row))));
            }
        });
    }

    /// Appends the positions, counted from the start of `range`, of the rows between `low` and `high`. Distances are
    /// compared as they are packed; of units that lie inside or outside, not even those.
    pub(crate) fn within(
        &self,
        data: &[u8],
        range: Range<usize>,
        (low, high): (T, T),
        out: &mut Vec<u32>,
    ) {
        let start = range.start;
        for_units(range, |unit, part| {
            let (width, reference, packed, n) = self.unit(data, unit);
            let base = (unit * UNIT + part.start - start) as u32;
            let most = u64::MAX.checked_shr(64 - width).unwrap_or(0);
            let from = match low > reference {
                true => low.distance(reference),
                false => Some(0),
            };
            let Some(from) = from.filter(|&from| high >= reference && from <= most) else {
                return;
            };
            let to = high.distance(reference).unwrap_or(u64::MAX).min(most);
            if from > to {
                return;
            }
            if from == 0 && to == most {
                out.extend(base..base + part.len() as u32);
            } else if n < UNIT || width > 32 {
                let mut offsets = [0u64; UNIT];
                match n < UNIT {
                    true => bits::unpack_linear(packed, width, &mut offsets[..part.end]),
                    false => bits::unpack64(packed, width, &mut offsets),
                }
                let span = to - from;
                push_positions(&offsets[part], None, base, out, |offset| {
                    offset.wrapping_sub(from) <= span
                });
            } else {
                let mut offsets = [0u32; UNIT];
                bits::unpack32(packed, width, &mut offsets);
                let (from, span) = (from as u32, (to - from) as u32);
                push_positions(&offsets[part], None, base, out, |offset| {
                    offset.wrapping_sub(from) <= span
                });
            }
        });
    }

    /// Row `i`.
    #[inline]
    pub(crate) fn get(&self, data: &[u8], i: usize) -> T {
        let (width, reference, packed, n) = self.unit(data, i / UNIT);
        reference.add_offset(bits::get(packed, width, n, i % UNIT))
    }
}

/// Unpacks values `part` of a unit of `n` and appends `map` of each.
#[inline]
pub(crate) fn unpack_map<T: Copy>(
    packed: &[u8],
    width: u32,
    n: usize,
    part: Range<usize>,
    out: &mut Vec<T>,
    map: impl Fn(u64) -> T,
) {
    if width == 0 {
        out.resize(out.len() + part.len(), map(0));
    } else if part.len() < 16 {
        out.extend(part.map(|i| map(bits::get(packed, width, n, i))));
    } else if n < UNIT {
        let mut offsets = [0u64; UNIT];
        bits::unpack_linear(packed, width, &mut offsets[..part.end]);
        out.extend(offsets[part].iter().map(|&o| map(o)));
    } else if width <= 32 {
        let mut offsets = [0u32; UNIT];
        bits::unpack32(packed, width, &mut offsets);
        out.extend(offsets[part].iter().map(|&o| map(u64::from(o))));
    } else {
        let mut offsets = [0u64; UNIT];
        bits::unpack64(packed, width, &mut offsets);
        out.extend(offsets[part].iter().map(|&o| map(o)));
    }
}
