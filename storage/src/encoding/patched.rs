// SPDX-License-Identifier: Apache-2.0
//! Exceptions over another stream: one value that most rows have, or a narrow range that few leave.
//!
//! ```text
//! exceptions: varint | rows: int stream (u32, ascending) | values: int stream (T) | base: int stream (T)
//! ```
//! The base stream holds a stand-in at the rows of exceptions.

use std::ops::Range;

use super::bits::width_of;
use super::int::{self, Int};
use crate::error::{corrupt, Result};
use crate::wire::{put_varint, Reader};

/// What stays in the base stream: values between the two, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan<T> {
    low: T,
    high: T,
    /// Bytes that the payload will take, about.
    pub(crate) size: usize,
}

/// Looks for a majority value, then for a narrow range, in a sample; counts the exceptions in full.
/// `min` and `max` are those of `values`.
pub(crate) fn plan<T: Int>(values: &[T], (min, max): (T, T)) -> Option<Plan<T>> {
    let step = (values.len() / 256).max(1);
    let mut sample: Vec<T> = values.iter().step_by(step).copied().collect();
    sample.sort_unstable();
    let n = sample.len();
    // A value that has more than half of a sorted sample has its middle.
    let middle = sample[n / 2];
    let majority = sample.iter().filter(|&&v| v == middle).count();
    let (low, high) = if majority * 4 >= n * 3 {
        (middle, middle)
    } else {
        (sample[n / 50], sample[n - 1 - n / 50])
    };
    let width = width_of(high.distance(low)?);
    let full = max.distance(min).map_or(128, width_of);
    if low != high && width + 3 > full {
        return None;
    }
    // The whole range of the width costs the same.
    let high = match width {
        0 => high,
        64 => return None,
        width => high.max(low.add_offset((1 << width) - 1)),
    };
    let (mut exceptions, mut least, mut most) = (0, low, high);
    for &v in values {
        if v < low || v > high {
            exceptions += 1;
            least = least.min(v);
            most = most.max(v);
        }
    }
    if exceptions * 8 > values.len() {
        return None;
    }
    let value_bits = most
        .distance(least)
        .map_or(T::BYTES * 8, |d| width_of(d) as usize);
    let row_bits = width_of((values.len() / (exceptions + 1)) as u64) as usize + 3;
    let bits = values.len() * width as usize + exceptions * (row_bits + value_bits);
    Some(Plan {
        low,
        high,
        size: bits / 8 + 64,
    })
}

/// Appends the payload.
pub(crate) fn encode<T: Int>(values: &[T], plan: Plan<T>, out: &mut Vec<u8>) {
    let (mut rows, mut exceptions) = (Vec::new(), Vec::new());
    let mut base = Vec::with_capacity(values.len());
    for (i, &v) in values.iter().enumerate() {
        let within = v >= plan.low && v <= plan.high;
        if !within {
            rows.push(i as u32);
            exceptions.push(v);
        }
        base.push(if within { v } else { plan.low });
    }
    put_varint(out, rows.len() as u128);
    int::encode_flat(&rows, out);
    int::encode_flat(&exceptions, out);
    int::encode_flat(&base, out);
}

/// The exceptions, decoded, and where the base stream lies.
#[derive(Debug, Clone)]
pub(crate) struct Layout<T> {
    rows: Vec<u32>,
    values: Vec<T>,
    base: Box<int::Layout<T>>,
}

impl<T: Int> Layout<T> {
    /// Reads the exceptions and checks the base stream's structure.
    pub(crate) fn open(r: &mut Reader<'_>, data: &[u8], rows: usize) -> Result<Self> {
        let count = r.varint32()? as usize;
        if count > rows {
            return Err(corrupt("more exceptions than rows"));
        }
        let (mut at, mut values) = (Vec::with_capacity(count), Vec::with_capacity(count));
        int::Layout::<u32>::open_flat(r, data, count)?.decode(data, 0..count, &mut at);
        int::Layout::open_flat(r, data, count)?.decode(data, 0..count, &mut values);
        let ascending = at.windows(2).all(|w| w[0] < w[1]);
        if !ascending || at.last().is_some_and(|&row| row as usize >= rows) {
            return Err(corrupt("exceptions out of order"));
        }
        Ok(Self {
            rows: at,
            values,
            base: Box::new(int::Layout::open_flat(r, data, rows)?),
        })
    }

    /// Appends rows `range`.
    pub(crate) fn decode(&self, data: &[u8], range: Range<usize>, out: &mut Vec<T>) {
        let before = out.len();
        self.base.decode(data, range.clone(), out);
        let first = self
            .rows
            .partition_point(|&row| (row as usize) < range.start);
        for (&row, &value) in self.rows[first..].iter().zip(&self.values[first..]) {
            if row as usize >= range.end {
                break;
            }
            out[before + row as usize - range.start] = value;
        }
    }

    /// Appends the given rows, which ascend.
    pub(crate) fn gather(&self, data: &[u8], rows: &[u32], out: &mut Vec<T>) {
        let before = out.len();
        self.base.gather(data, rows, out);
        let (Some(&first), Some(&last)) = (rows.first(), rows.last()) else {
            return;
        };
        let low = self.rows.partition_point(|&row| row < first);
        let high = self.rows.partition_point(|&row| row <= last);
        let mut at = 0;
        for (&row, &value) in self.rows[low..high].iter().zip(&self.values[low..high]) {
            at += rows[at..].partition_point(|&wanted| wanted < row);
            // A row may be asked for more than once.
            while rows.get(at) == Some(&row) {
                out[before + at] = value;
                at += 1;
            }
        }
    }

    /// Appends the positions of the rows between `low` and `high`; see `int`.
    pub(crate) fn within(
        &self,
        data: &[u8],
        range: Range<usize>,
        (low, high): (T, T),
        out: &mut Vec<u32>,
    ) -> bool {
        let first = self
            .rows
            .partition_point(|&row| (row as usize) < range.start);
        let end = self.rows.partition_point(|&row| (row as usize) < range.end);
        if first == end {
            return self.base.within(data, range, (low, high), out);
        }
        let start = range.start as u32;
        let mut others = Vec::with_capacity(range.len());
        if !self.base.within(data, range, (low, high), &mut others) {
            return false;
        }
        let mut others = others.into_iter().peekable();
        for (&row, &value) in self.rows[first..end].iter().zip(&self.values[first..end]) {
            let row = row - start;
            while let Some(other) = others.next_if(|&other| other < row) {
                out.push(other);
            }
            // The base holds a stand-in here.
            others.next_if_eq(&row);
            if low <= value && value <= high {
                out.push(row);
            }
        }
        out.extend(others);
        true
    }

    /// Row `i`.
    pub(crate) fn get(&self, data: &[u8], i: usize) -> T {
        match self.rows.binary_search(&(i as u32)) {
            Ok(exception) => self.values[exception],
            Err(_) => self.base.get(data, i),
        }
    }
}
