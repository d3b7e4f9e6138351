// SPDX-License-Identifier: Apache-2.0
//! Floats, bit for bit (NaN payloads and -0.0 included).
//!
//! ```text
//! 0 bits:    int stream of the bit patterns (constant, runs, shared high bits)
//! 1 decimal: exponent: u8 | exceptions: varint, row: u32 x n, bits x n | int stream (i64)
//! 2 lz4:     frames over the bit patterns, little-endian
//! ```
//! Decimal floats are stored as integers `round(v * 10^e)`; those that do not come back bit for bit as
//! `integer / 10^e` are exceptions. After Afroozeh, Kuffo, Boncz: "ALP: Adaptive Lossless floating-Point
//! Compression" (SIGMOD 2024), with one exponent a block and division in place of its second factor.

use std::ops::Range;

use super::frames;
use super::int::{self, Int};
use crate::error::{corrupt, Result};
use crate::wire::{put_varint, Reader};

const MAX_EXPONENT: usize = 18;
const POWERS: [f64; MAX_EXPONENT + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18,
];

/// A float by its bits.
pub(crate) trait Float: Copy + 'static {
    /// A signed integer of the same width.
    type Bits: Int;
    /// The bit pattern.
    fn bits(self) -> Self::Bits;
    /// From the bit pattern.
    fn from_bits(bits: Self::Bits) -> Self;
    /// The nearest integer to `self * 10^exponent`, if it fits.
    fn scaled(self, exponent: usize) -> Option<i64>;
    /// `integer / 10^exponent`, rounded to this type.
    fn unscaled(integer: i64, exponent: usize) -> Self;
}

macro_rules! floats {
    ($($float:ty, $bits:ty;)*) => {$(
        impl Float for $float {
            type Bits = $bits;
            #[inline]
            fn bits(self) -> $bits {
                self.to_bits() as $bits
            }
            #[inline]
            fn from_bits(bits: $bits) -> Self {
                <$float>::from_bits(bits as _)
            }
            #[inline]
            fn scaled(self, exponent: usize) -> Option<i64> {
                let scaled = f64::from(self) * POWERS[exponent];
                (scaled.abs() < 9e15).then_some(scaled.round() as i64)
            }
            #[inline]
            fn unscaled(integer: i64, exponent: usize) -> Self {
                (integer as f64 / POWERS[exponent]) as $float
            }
        }
    )*};
}

floats! {
    f32, i32;
    f64, i64;
}

/// The encodings of float streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Bit patterns as integers, in this encoding.
    Bits(int::Kind),
    /// Scaled integers.
    Decimal,
    /// LZ4 frames.
    Lz4,
}

fn round_trips<F: Float>(v: F, exponent: usize) -> Option<i64> {
    let integer = v.scaled(exponent)?;
    (F::unscaled(integer, exponent).bits() == v.bits()).then_some(integer)
}

/// The smallest exponent under which the most of a sample round-trips, if at least 15 in 16 do.
fn pick_exponent<F: Float>(values: &[F]) -> Option<usize> {
    let sample: Vec<F> = values
        .iter()
        .step_by(values.len().div_ceil(256))
        .copied()
        .collect();
    let hits = |e: usize| {
        sample
            .iter()
            .filter(|&&v| round_trips(v, e).is_some())
            .count()
    };
    let mut best = (0, 0);
    for e in 0..=MAX_EXPONENT {
        let n = hits(e);
        if n > best.0 {
            best = (n, e);
        }
        if n == sample.len() {
            break;
        }
    }
    (best.0 * 16 >= sample.len() * 15).then_some(best.1)
}

fn encode_decimal<F: Float>(values: &[F], exponent: usize, out: &mut Vec<u8>) {
    let mut integers = Vec::with_capacity(values.len());
    let mut exceptions = Vec::new();
    let mut last = 0;
    for (i, &v) in values.iter().enumerate() {
        match round_trips(v, exponent) {
            Some(integer) => last = integer,
            None => exceptions.push((i as u32, v.bits())),
        }
        integers.push(last);
    }
    out.push(1);
    out.push(exponent as u8);
    put_varint(out, exceptions.len() as u128);
    exceptions.iter().for_each(|(row, _)| row.write(out));
    exceptions.iter().for_each(|(_, bits)| bits.write(out));
    int::encode(&integers, out);
}

/// Appends the stream of `values`.
pub(crate) fn encode<F: Float>(values: &[F], lz4: bool, out: &mut Vec<u8>) -> Kind {
    let bits: Vec<F::Bits> = values.iter().map(|v| v.bits()).collect();
    let start = out.len();
    out.push(0);
    let mut best = Kind::Bits(int::encode(&bits, out));
    if matches!(best, Kind::Bits(int::Kind::Constant)) || values.is_empty() {
        return best;
    }
    let mut other = Vec::new();
    if let Some(exponent) = pick_exponent(values) {
        encode_decimal(values, exponent, &mut other);
        if other.len() * 100 < (out.len() - start) * 97 {
            out.truncate(start);
            out.extend_from_slice(&other);
            best = Kind::Decimal;
        }
    }
    if lz4 && best != Kind::Decimal {
        let mut raw = Vec::with_capacity(values.len() * F::Bits::BYTES);
        bits.iter().for_each(|b| b.write(&mut raw));
        let percent = ((out.len() - start) * 90 / raw.len()).min(90);
        other.clear();
        other.push(2);
        if frames::encode_if_below(&raw, percent, &mut other) {
            out.truncate(start);
            out.extend_from_slice(&other);
            best = Kind::Lz4;
        }
    }
    best
}

/// A stream whose structure was checked.
#[derive(Debug, Clone)]
pub(crate) enum Layout<F: Float> {
    /// Bit patterns.
    Bits(int::Layout<F::Bits>),
    /// Scaled integers and their exceptions, by ascending row.
    Decimal {
        /// Power of ten that values were multiplied with.
        exponent: usize,
        /// Rows and values that did not round-trip.
        exceptions: Vec<(u32, F)>,
        /// The integers.
        integers: int::Layout<i64>,
    },
    /// See `frames`.
    Lz4(frames::Layout),
}

impl<F: Float> Layout<F> {
    /// Checks the stream of `rows` values at the reader and passes over it.
    pub(crate) fn open(r: &mut Reader<'_>, data: &[u8], rows: usize) -> Result<Self> {
        Ok(match r.u8()? {
            0 => Layout::Bits(int::Layout::open(r, data, rows)?),
            1 => {
                let exponent = usize::from(r.u8()?);
                if exponent > MAX_EXPONENT {
                    return Err(corrupt("decimal exponent too large"));
                }
                let exceptions = open_exceptions(r, rows)?;
                Layout::Decimal {
                    exponent,
                    exceptions,
                    integers: int::Layout::open(r, data, rows)?,
                }
            }
            2 => {
                let frames = frames::Layout::open(r)?;
                if frames.raw_len() != rows * F::Bits::BYTES {
                    return Err(corrupt("wrong number of floats"));
                }
                Layout::Lz4(frames)
            }
            _ => return Err(corrupt("unknown float encoding")),
        })
    }

    /// Appends rows `range`.
    pub(crate) fn decode(&self, data: &[u8], range: Range<usize>, out: &mut Vec<F>) -> Result<()> {
        match self {
            Layout::Bits(layout) => {
                let mut bits = Vec::with_capacity(range.len());
                layout.decode(data, range, &mut bits);
                out.extend(bits.into_iter().map(F::from_bits));
            }
            Layout::Decimal {
                exponent,
                exceptions,
                integers,
            } => {
                let mut ints = Vec::with_capacity(range.len());
                integers.decode(data, range.clone(), &mut ints);
                let before = out.len();
                out.extend(ints.into_iter().map(|i| F::unscaled(i, *exponent)));
                let first = exceptions.partition_point(|(row, _)| (*row as usize) < range.start);
                let within = exceptions[first..]
                    .iter()
                    .take_while(|(row, _)| (*row as usize) < range.end);
                for &(row, value) in within {
                    out[before + row as usize - range.start] = value;
                }
            }
            Layout::Lz4(frames) => {
                let width = F::Bits::BYTES;
                let mut raw = Vec::with_capacity(range.len() * width);
                frames.decode(data, range.start * width..range.end * width, &mut raw)?;
                out.extend(
                    raw.chunks_exact(width)
                        .map(|b| F::from_bits(F::Bits::read(b))),
                );
            }
        }
        Ok(())
    }
}

fn open_exceptions<F: Float>(r: &mut Reader<'_>, rows: usize) -> Result<Vec<(u32, F)>> {
    let count = r.varint32()? as usize;
    if count > rows {
        return Err(corrupt("more exceptions than rows"));
    }
    let at = r.take(count * 4)?.chunks_exact(4).map(u32::read);
    let bits = r.take(count * F::Bits::BYTES)?.chunks_exact(F::Bits::BYTES);
    let exceptions: Vec<(u32, F)> = at
        .zip(bits.map(|b| F::from_bits(F::Bits::read(b))))
        .collect();
    if exceptions.windows(2).any(|w| w[0].0 >= w[1].0)
        || exceptions.last().is_some_and(|e| e.0 as usize >= rows)
    {
        return Err(corrupt("exceptions out of order"));
    }
    Ok(exceptions)
}
