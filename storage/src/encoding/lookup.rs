// SPDX-License-Identifier: Apache-2.0
//! A dictionary of one block's distinct integers, and a code a row.
//!
//! ```text
//! values: varint | ascending values: int stream (T) | codes: int stream (u32)
//! ```

use std::ops::Range;

use super::int::{self, Int};
use crate::error::{corrupt, Result};
use crate::wire::{put_varint, Reader};

/// The most values of a block's dictionary.
const VALUES_MAX: usize = 4096;

/// The distinct values, ascending, if a sample promises that they are few.
pub(crate) fn distinct<T: Int>(values: &[T]) -> Option<Vec<T>> {
    let step = (values.len() / 512).max(1);
    let mut sample: Vec<T> = values.iter().step_by(step).copied().collect();
    let sampled = sample.len();
    sample.sort_unstable();
    sample.dedup();
    if sample.len() * 2 > sampled {
        return None;
    }
    let mut all = values.to_vec();
    all.sort_unstable();
    all.dedup();
    (all.len() <= VALUES_MAX && all.len() * 4 <= values.len()).then_some(all)
}

/// Appends the payload; `distinct` holds all of `values`, ascending.
pub(crate) fn encode<T: Int>(values: &[T], distinct: &[T], out: &mut Vec<u8>) {
    put_varint(out, distinct.len() as u128);
    int::encode_flat(distinct, out);
    let code = |v: &T| distinct.partition_point(|d| d < v) as u32;
    int::encode_flat(&values.iter().map(code).collect::<Vec<u32>>(), out);
}

/// The dictionary, decoded, and where the codes lie.
#[derive(Debug, Clone)]
pub(crate) struct Layout<T> {
    values: Vec<T>,
    codes: Box<int::Layout<u32>>,
}

impl<T: Int> Layout<T> {
    /// Reads the dictionary and checks the codes' structure.
    pub(crate) fn open(r: &mut Reader<'_>, data: &[u8], rows: usize) -> Result<Self> {
        let count = r.varint32()? as usize;
        if count == 0 || count > VALUES_MAX {
            return Err(corrupt("block dictionary of no or too many values"));
        }
        let mut values = Vec::with_capacity(count);
        int::Layout::open_flat(r, data, count)?.decode(data, 0..count, &mut values);
        Ok(Self {
            values,
            codes: Box::new(int::Layout::open_flat(r, data, rows)?),
        })
    }

    /// The value of a code. A code beyond the dictionary can only come from corrupt bytes that nobody
    /// checked; it reads as the last value, as any flipped bit of a packed value reads as another value.
    #[inline]
    fn value(&self, code: u32) -> T {
        self.values[(code as usize).min(self.values.len() - 1)]
    }

    /// Appends rows `range`.
    pub(crate) fn decode(&self, data: &[u8], range: Range<usize>, out: &mut Vec<T>) {
        let mut codes = Vec::with_capacity(range.len());
        self.codes.decode(data, range, &mut codes);
        out.extend(codes.into_iter().map(|code| self.value(code)));
    }

    /// Appends the given rows, which ascend.
    pub(crate) fn gather(&self, data: &[u8], rows: &[u32], out: &mut Vec<T>) {
        let mut codes = Vec::with_capacity(rows.len());
        self.codes.gather(data, rows, &mut codes);
        out.extend(codes.into_iter().map(|code| self.value(code)));
    }

    /// Appends the positions of the rows between `low` and `high`; see `int`.
    pub(crate) fn within(
        &self,
        data: &[u8],
        range: Range<usize>,
        (low, high): (T, T),
        out: &mut Vec<u32>,
    ) -> bool {
        let first = self.values.partition_point(|&value| value < low);
        let end = self.values.partition_point(|&value| value <= high);
        if first >= end {
            return true;
        }
        // Codes beyond the dictionary read as its last value.
        let last = match end == self.values.len() {
            true => u32::MAX,
            false => end as u32 - 1,
        };
        self.codes.within(data, range, (first as u32, last), out)
    }

    /// Row `i`.
    pub(crate) fn get(&self, data: &[u8], i: usize) -> T {
        self.value(self.codes.get(data, i))
    }
}
