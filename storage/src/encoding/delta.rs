// SPDX-License-Identifier: Apache-2.0
//! Differences of neighbours, bit-packed: sorted keys, timestamps, sequences.
//! Arithmetic wraps, so any values round-trip; only the size differs.
//!
//! ```text
//! width: u8 x units | (first value: T, smallest difference: T) x units | packed units, back to back
//! ```
//! A unit packs `difference - smallest` for its values but the first, whose entry is 0.

use std::marker::PhantomData;
use std::ops::Range;

use super::int::{for_unit_rows, for_units, Int};
use super::packed::unpack_map;
use super::units::{self, Unit, Units};
use super::UNIT;
use crate::error::Result;
use crate::wire::Reader;

/// Bytes that `encode` will append; `deltas` holds the smallest and largest difference of each unit.
pub(crate) fn size<T: Int>(deltas: &[(T, T)], rows: usize) -> Option<usize> {
    units::size(deltas, rows, 2 * T::BYTES)
}

/// Appends the payload; `size` was not `None` for `deltas`.
pub(crate) fn encode<T: Int>(values: &[T], deltas: &[(T, T)], out: &mut Vec<u8>) {
    units::write_widths(deltas, out);
    for (chunk, (min, _)) in values.chunks(UNIT).zip(deltas) {
        chunk[0].write(out);
        min.write(out);
    }
    let mut offsets = [0u64; UNIT];
    for (chunk, &range) in values.chunks(UNIT).zip(deltas) {
        for (to, pair) in offsets[1..].iter_mut().zip(chunk.windows(2)) {
            *to = pair[1].wrapping_sub(pair[0]).low_distance(range.0);
        }
        units::write_packed(&offsets[..chunk.len()], range, out);
    }
}

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
            units: Units::open::<T>(r, rows, 2 * T::BYTES)?,
            values: PhantomData,
        })
    }

    /// Appends rows `range`.
    pub(crate) fn decode(&self, data: &[u8], range: Range<usize>, out: &mut Vec<T>) {
        for_units(range, |unit, part| {
            let Unit {
                width,
                head,
                packed,
                len,
            } = self.units.unit(data, unit);
            let (first, min) = (T::read(head), T::read(&head[T::BYTES..]));
            let before = out.len();
            // Rows ahead of the part are decoded too: a sum needs them; they are dropped below.
            unpack_map(packed, width, len, 0..part.end, out, |offset| {
                min.add_offset(offset)
            });
            let values = &mut out[before..];
            values[0] = first;
            let mut sum = first;
            for v in &mut values[1..] {
                sum = sum.wrapping_add(*v);
                *v = sum;
            }
            out.drain(before..before + part.start);
        });
    }

    /// Appends the given rows, which ascend; decodes each unit up to the last of them.
    pub(crate) fn gather(&self, data: &[u8], rows: &[u32], out: &mut Vec<T>) {
        let mut values = Vec::with_capacity(UNIT);
        for_unit_rows(rows, |unit, part| {
            let Some(&last) = part.last() else { return };
            values.clear();
            self.decode(data, unit * UNIT..last as usize + 1, &mut values);
            out.extend(part.iter().map(|&row| values[row as usize % UNIT]));
        });
    }

    /// Row `i`; decodes the unit up to it.
    pub(crate) fn get(&self, data: &[u8], i: usize) -> T {
        let mut one = Vec::with_capacity(UNIT);
        self.decode(data, i..i + 1, &mut one);
        one[0]
    }
}
