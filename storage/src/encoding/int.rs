// SPDX-License-Identifier: Apache-2.0
//! Integer streams: one kind byte, then the payload of the encoding that was smallest.

use std::ops::Range;

use super::{delta, lookup, packed, patched, runs, scaled, UNIT};
use crate::error::{corrupt, Result};
use crate::wire::Reader;

/// An integer that streams can hold. Arithmetic wraps.
pub(crate) trait Int: Copy + Ord + Default + std::fmt::Debug + 'static {
    /// Bytes of a plain value.
    const BYTES: usize;
    /// `self - base` (`base <= self`) as an unsigned number, if it fits in 64 bits.
    fn distance(self, base: Self) -> Option<u64>;
    /// The low 64 bits of `self - base`.
    fn low_distance(self, base: Self) -> u64;
    /// `self + offset`, wrapping.
    fn add_offset(self, offset: u64) -> Self;
    /// `self + other`, wrapping.
    fn wrapping_add(self, other: Self) -> Self;
    /// `self - other`, wrapping.
    fn wrapping_sub(self, other: Self) -> Self;
    /// `self * other`, wrapping.
    fn wrapping_mul(self, other: Self) -> Self;
    /// The value from the first `BYTES` bytes, little-endian.
    fn read(bytes: &[u8]) -> Self;
    /// Appends the value, little-endian.
    fn write(self, out: &mut Vec<u8>);
    /// The value as the widest integer.
    fn wide(self) -> i128;
    /// The value nearest to `value`.
    fn nearest(value: i128) -> Self;
    /// The exact sum, if it fits in 128 bits.
    fn sum(values: &[Self]) -> Option<i128>;
}

macro_rules! ints {
    ($($int:ty, $unsigned:ty, $sum:expr;)*) => {$(
        impl Int for $int {
            const BYTES: usize = size_of::<$int>();
            #[inline]
            fn distance(self, base: Self) -> Option<u64> {
                u64::try_from(self.wrapping_sub(base) as $unsigned).ok()
            }
            #[inline]
            fn low_distance(self, base: Self) -> u64 {
                self.wrapping_sub(base) as $unsigned as u64
            }
            #[inline]
            fn add_offset(self, offset: u64) -> Self {
                self.wrapping_add(offset as $int)
            }
            #[inline]
            fn wrapping_add(self, other: Self) -> Self {
                <$int>::wrapping_add(self, other)
            }
            #[inline]
            fn wrapping_sub(self, other: Self) -> Self {
                <$int>::wrapping_sub(self, other)
            }
            #[inline]
            fn wrapping_mul(self, other: Self) -> Self {
                <$int>::wrapping_mul(self, other)
            }
            #[inline]
            fn read(bytes: &[u8]) -> Self {
                let mut le = [0; size_of::<$int>()];
                le.copy_from_slice(&bytes[..size_of::<$int>()]);
                <$int>::from_le_bytes(le)
            }
            #[inline]
            fn write(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            #[inline]
            fn wide(self) -> i128 {
                self as i128
            }
            #[inline]
            fn nearest(value: i128) -> Self {
                value.clamp(<$int>::MIN as i128, <$int>::MAX as i128) as $int
            }
            fn sum(values: &[Self]) -> Option<i128> {
                let sum: fn(&[Self]) -> Option<i128> = $sum;
                sum(values)
            }
        }
    )*};
}

ints! {
    u8, u8, |v| Some(v.iter().map(|&v| i128::from(v)).sum());
    i16, u16, narrow_sum;
    i32, u32, narrow_sum;
    u32, u32, narrow_sum;
    i64, u64, |v| Some(v.iter().map(|&v| i128::from(v)).sum());
    i128, u128, |v| v.iter().try_fold(0i128, |sum, &v| sum.checked_add(v));
}

/// Sums in 64 bits, a stretch at a time that can't overflow them.
fn narrow_sum<T: Copy + Into<i64>>(values: &[T]) -> Option<i128> {
    let stretch = |v: &[T]| i128::from(v.iter().map(|&v| v.into()).sum::<i64>());
    Some(values.chunks(1 << 16).map(stretch).sum())
}

/// The encodings of integer streams, by kind byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// One value for all rows.
    Constant = 0,
    /// Fixed-width values.
    Plain = 1,
    /// Frame of reference and bit-packing.
    Packed = 2,
    /// Differences, bit-packed.
    Delta = 3,
    /// Run-length.
    Runs = 4,
    /// Multiples of a factor.
    Scaled = 5,
    /// Codes of the block's own dictionary.
    Lookup = 6,
    /// Exceptions over a narrower stream.
    Patched = 7,
}

impl Kind {
    fn from_byte(byte: u8) -> Result<Self> {
        Ok(match byte {
            0 => Kind::Constant,
            1 => Kind::Plain,
            2 => Kind::Packed,
            3 => Kind::Delta,
            4 => Kind::Runs,
            5 => Kind::Scaled,
            6 => Kind::Lookup,
            7 => Kind::Patched,
            _ => return Err(corrupt("unknown integer encoding")),
        })
    }
}

/// Calls `each(unit, part)` for the units that rows `range` touch; `part` counts within the unit.
#[inline]
pub(crate) fn for_units(range: Range<usize>, mut each: impl FnMut(usize, Range<usize>)) {
    let mut at = range.start;
    while at < range.end {
        let unit = at / UNIT;
        let end = range.end.min((unit + 1) * UNIT);
        each(unit, at - unit * UNIT..end - unit * UNIT);
        at = end;
    }
}

/// Calls `each(unit, part)` for the units that ascending `rows` touch; `part` holds the rows within the unit.
#[inline]
pub(crate) fn for_unit_rows(mut rows: &[u32], mut each: impl FnMut(usize, &[u32])) {
    while let Some(&first) = rows.first() {
        let unit = first as usize / UNIT;
        // Most selections are either thin or long: a unit's end is near, or at the end of 1,024 rows.
        let most = rows.len().min(UNIT);
        let inside = rows[..most].partition_point(|&row| row as usize / UNIT == unit);
        let (part, rest) = rows.split_at(inside.max(1));
        each(unit, part);
        rows = rest;
    }
}

/// What the chooser must know of a block.
struct Shape<T> {
    /// Smallest and largest value of each unit.
    ranges: Vec<(T, T)>,
    /// Smallest and largest difference of each unit.
    deltas: Vec<(T, T)>,
    /// Runs of equal values.
    runs: usize,
}

impl<T: Int> Shape<T> {
    fn of(values: &[T]) -> Self {
        let units = values.len().div_ceil(UNIT);
        let mut shape = Shape {
            ranges: Vec::with_capacity(units),
            deltas: Vec::with_capacity(units),
            runs: 1,
        };
        for (u, chunk) in values.chunks(UNIT).enumerate() {
            let range = chunk
                .iter()
                .fold((chunk[0], chunk[0]), |(lo, hi), &v| (lo.min(v), hi.max(v)));
            shape.ranges.push(range);
            let first = if chunk.len() > 1 {
                chunk[1].wrapping_sub(chunk[0])
            } else {
                T::default()
            };
            let (mut lo, mut hi, mut runs) = (first, first, 0);
            for (a, b) in chunk.iter().zip(&chunk[1..]) {
                let d = b.wrapping_sub(*a);
                lo = lo.min(d);
                hi = hi.max(d);
                runs += usize::from(a != b);
            }
            shape.deltas.push((lo, hi));
            shape.runs += runs + usize::from(u > 0 && values[u * UNIT - 1] != chunk[0]);
        }
        shape
    }

    fn range(&self) -> (T, T) {
        let fold = |(lo, hi): (T, T), &(a, b): &(T, T)| (lo.min(a), hi.max(b));
        self.ranges.iter().fold(self.ranges[0], fold)
    }

    /// Size of the run-length payload, about: value and end bits of each run and the nested headers.
    fn runs_size(&self, rows: usize) -> usize {
        let (min, max) = self.range();
        let value_bits = max
            .distance(min)
            .map_or(T::BYTES * 8, |d| super::bits::width_of(d) as usize);
        let end_bits = super::bits::width_of(rows as u64) as usize;
        let units = self.runs.div_ceil(UNIT);
        5 + units * (2 + 4 + T::BYTES) + (self.runs * (value_bits + end_bits)).div_ceil(8)
    }
}

/// Appends the stream of `values` in the encoding that is smallest, or nearly so and cheaper to decode.
pub(crate) fn encode<T: Int>(values: &[T], out: &mut Vec<u8>) -> Kind {
    encode_with(values, true, out)
}

/// As `encode`, without encodings that nest another stream.
pub(crate) fn encode_flat<T: Int>(values: &[T], out: &mut Vec<u8>) -> Kind {
    encode_with(values, false, out)
}

fn encode_with<T: Int>(values: &[T], nest: bool, out: &mut Vec<u8>) -> Kind {
    if values.is_empty() {
        out.push(Kind::Plain as u8);
        return Kind::Plain;
    }
    let shape = Shape::of(values);
    let (kind, size) = choose(values.len(), &shape, nest);
    if nest && kind != Kind::Constant && values.len() >= NEST_ROWS_MIN {
        if let Some(kind) = encode_nested(values, &shape, size, out) {
            return kind;
        }
    }
    out.push(kind as u8);
    match kind {
        Kind::Constant => values[0].write(out),
        Kind::Packed => packed::encode(values, &shape.ranges, out),
        Kind::Delta => delta::encode(values, &shape.deltas, out),
        Kind::Runs => runs::encode(values, out),
        _ => values.iter().for_each(|v| v.write(out)),
    }
    kind
}

/// Fewer rows than this are not worth a look for factors, dictionaries and exceptions.
const NEST_ROWS_MIN: usize = 64;

/// The best of the encodings whose size is known, and that size.
fn choose<T: Int>(rows: usize, shape: &Shape<T>, nest: bool) -> (Kind, usize) {
    if shape.runs == 1 {
        return (Kind::Constant, T::BYTES);
    }
    let (mut best, mut size) = (Kind::Plain, rows * T::BYTES);
    let mut offer = |kind, offered: usize, percent: usize| {
        if offered < size * percent / 100 {
            (best, size) = (kind, offered);
        }
    };
    if let Some(packed) = packed::size(&shape.ranges, rows) {
        offer(Kind::Packed, packed, 99);
    }
    if let Some(delta) = delta::size(&shape.deltas, rows) {
        offer(Kind::Delta, delta, 85);
    }
    if nest {
        offer(Kind::Runs, shape.runs_size(rows), 85);
    }
    (best, size)
}

/// Appends the stream in an encoding that looks at the values themselves, if one takes well under `size`.
fn encode_nested<T: Int>(
    values: &[T],
    shape: &Shape<T>,
    size: usize,
    out: &mut Vec<u8>,
) -> Option<Kind> {
    let start = out.len();
    let (min, max) = shape.range();
    // Each attempt is made in full, after a test that most streams fail at once.
    let fits = |out: &mut Vec<u8>, kind| {
        let won = (out.len() - start) * 100 < size * 85;
        if !won {
            out.truncate(start);
        }
        won.then_some(kind)
    };
    if let Some(factor) = scaled::factor(values, min) {
        out.push(Kind::Scaled as u8);
        scaled::encode(values, min, factor, out);
        if let Some(kind) = fits(out, Kind::Scaled) {
            return Some(kind);
        }
    }
    if let Some(plan) = patched::plan(values, (min, max)).filter(|plan| plan.size * 100 < size * 85)
    {
        out.push(Kind::Patched as u8);
        patched::encode(values, plan, out);
        if let Some(kind) = fits(out, Kind::Patched) {
            return Some(kind);
        }
    }
    // Narrow values gain nothing from codes.
    if size > values.len() {
        if let Some(distinct) = lookup::distinct(values) {
            out.push(Kind::Lookup as u8);
            lookup::encode(values, &distinct, out);
            return fits(out, Kind::Lookup);
        }
    }
    None
}

/// A stream whose structure was checked.
#[derive(Debug, Clone)]
pub(crate) enum Layout<T> {
    /// One value for all rows.
    Constant(T),
    /// Fixed-width values from a position.
    Plain(usize),
    /// See `packed`.
    Packed(packed::Layout<T>),
    /// See `delta`.
    Delta(delta::Layout<T>),
    /// See `runs`.
    Runs(runs::Layout<T>),
    /// See `scaled`.
    Scaled(scaled::Layout<T>),
    /// See `lookup`.
    Lookup(lookup::Layout<T>),
    /// See `patched`.
    Patched(patched::Layout<T>),
}

impl<T: Int> Layout<T> {
    /// Checks the stream of `rows` values at the reader and passes over it. `data` is all that the
    /// reader reads from; positions count from its start.
    pub(crate) fn open(r: &mut Reader<'_>, data: &[u8], rows: usize) -> Result<Self> {
        Self::open_with(r, data, rows, true)
    }

    /// As `open`, refusing encodings that nest another stream.
    pub(crate) fn open_flat(r: &mut Reader<'_>, data: &[u8], rows: usize) -> Result<Self> {
        Self::open_with(r, data, rows, false)
    }

    fn open_with(r: &mut Reader<'_>, data: &[u8], rows: usize, nest: bool) -> Result<Self> {
        Ok(match Kind::from_byte(r.u8()?)? {
            Kind::Constant => Layout::Constant(T::read(r.take(T::BYTES)?)),
            Kind::Plain => {
                let start = r.pos();
                let bytes = rows
                    .checked_mul(T::BYTES)
                    .ok_or(corrupt("too many values"))?;
                r.take(bytes)?;
                Layout::Plain(start)
            }
            Kind::Packed => Layout::Packed(packed::Layout::open(r, rows)?),
            Kind::Delta => Layout::Delta(delta::Layout::open(r, rows)?),
            Kind::Runs if nest => Layout::Runs(runs::Layout::open(r, data, rows)?),
            Kind::Scaled if nest => Layout::Scaled(scaled::Layout::open(r, data, rows)?),
            Kind::Lookup if nest => Layout::Lookup(lookup::Layout::open(r, data, rows)?),
            Kind::Patched if nest => Layout::Patched(patched::Layout::open(r, data, rows)?),
            _ => return Err(corrupt("stream nested too deep")),
        })
    }

    /// Appends rows `range`; `data` is what the layout was opened on, the range lies within its rows.
    pub(crate) fn decode(&self, data: &[u8], range: Range<usize>, out: &mut Vec<T>) {
        if range.is_empty() {
            return;
        }
        match self {
            Layout::Constant(value) => out.resize(out.len() + range.len(), *value),
            Layout::Plain(start) => {
                let bytes = &data[start + range.start * T::BYTES..start + range.end * T::BYTES];
                out.extend(bytes.chunks_exact(T::BYTES).map(T::read));
            }
            Layout::Packed(layout) => layout.decode(data, range, out),
            Layout::Delta(layout) => layout.decode(data, range, out),
            Layout::Runs(layout) => layout.decode(range, out),
            Layout::Scaled(layout) => layout.decode(data, range, out),
            Layout::Lookup(layout) => layout.decode(data, range, out),
            Layout::Patched(layout) => layout.decode(data, range, out),
        }
    }

    /// Appends the given rows, which ascend; `data` is what the layout was opened on.
    pub(crate) fn gather(&self, data: &[u8], rows: &[u32], out: &mut Vec<T>) {
        match self {
            Layout::Constant(value) => out.resize(out.len() + rows.len(), *value),
            Layout::Plain(start) => {
                let row = |&i: &u32| T::read(&data[start + i as usize * T::BYTES..]);
                out.extend(rows.iter().map(row));
            }
            Layout::Packed(layout) => layout.gather(data, rows, out),
            Layout::Delta(layout) => layout.gather(data, rows, out),
            Layout::Runs(layout) => layout.gather(rows, out),
            Layout::Scaled(layout) => layout.gather(data, rows, out),
            Layout::Lookup(layout) => layout.gather(data, rows, out),
            Layout::Patched(layout) => layout.gather(data, rows, out),
        }
    }

    /// Appends the positions, counted from the start of `range`, of the rows between `low` and `high`, both included;
    /// false, and nothing done, for encodings of which that is no easier to tell than to decode them.
    pub(crate) fn within(
        &self,
        data: &[u8],
        range: Range<usize>,
        (low, high): (T, T),
        out: &mut Vec<u32>,
    ) -> bool {
        match self {
            Layout::Constant(value) => {
                if low <= *value && *value <= high {
                    out.extend(0..range.len() as u32);
                }
                true
            }
            Layout::Packed(layout) => {
                layout.within(data, range, (low, high), out);
                true
            }
            Layout::Runs(layout) => {
                layout.within(range, (low, high), out);
                true
            }
            Layout::Scaled(layout) => layout.within(data, range, (low, high), out),
            Layout::Lookup(layout) => layout.within(data, range, (low, high), out),
            Layout::Patched(layout) => layout.within(data, range, (low, high), out),
            Layout::Plain(_) | Layout::Delta(_) => false,
        }
    }

    /// [`Layout::within`] of a range that the values' type may not hold.
    pub(crate) fn within_wide(
        &self,
        data: &[u8],
        range: Range<usize>,
        (low, high): (i128, i128),
        out: &mut Vec<u32>,
    ) -> bool {
        let bounds = (T::nearest(low), T::nearest(high));
        // A bound beyond the type's values comes as the last of them, which it leaves out.
        let none = low > high || bounds.0.wide() < low || bounds.1.wide() > high;
        none || self.within(data, range, bounds, out)
    }

    /// Row `i`.
    #[inline]
    pub(crate) fn get(&self, data: &[u8], i: usize) -> T {
        match self {
            Layout::Constant(value) => *value,
            Layout::Plain(start) => T::read(&data[start + i * T::BYTES..]),
            Layout::Packed(layout) => layout.get(data, i),
            Layout::Delta(layout) => layout.get(data, i),
            Layout::Runs(layout) => layout.get(i),
            Layout::Scaled(layout) => layout.get(data, i),
            Layout::Lookup(layout) => layout.get(data, i),
            Layout::Patched(layout) => layout.get(data, i),
        }
    }
}
