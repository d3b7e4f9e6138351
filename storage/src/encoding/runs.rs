// SPDX-License-Identifier: Apache-2.0
//! Run-length: each run's value and its end row, both as integer streams.
//!
//! ```text
//! runs: varint | ends: int stream (u32, ascending, the last = rows) | values: int stream (T)
//! ```

use std::ops::Range;

use super::int::{self, Int};
use crate::error::{corrupt, Result};
use crate::wire::{put_varint, Reader};

/// Appends the payload. `values` is not empty.
pub(crate) fn encode<T: Int>(values: &[T], out: &mut Vec<u8>) {
    let mut ends = Vec::new();
    let mut heads = vec![values[0]];
    for (i, pair) in values.windows(2).enumerate() {
        if pair[0] != pair[1] {
            ends.push(i as u32 + 1);
            heads.push(pair[1]);
        }
    }
    ends.push(values.len() as u32);
    put_varint(out, ends.len() as u128);
    int::encode_flat(&ends, out);
    int::encode_flat(&heads, out);
}

/// The runs of a payload, decoded: they are few.
#[derive(Debug, Clone)]
pub(crate) struct Layout<T> {
    ends: Vec<u32>,
    heads: Vec<T>,
}

impl<T: Int> Layout<T> {
    /// Reads and checks the runs.
    pub(crate) fn open(r: &mut Reader<'_>, data: &[u8], rows: usize) -> Result<Self> {
        let runs = r.varint32()? as usize;
        if runs == 0 || runs > rows {
            return Err(corrupt("more runs than rows"));
        }
        let mut ends: Vec<u32> = Vec::new();
        int::Layout::open_flat(r, data, runs)?.decode(data, 0..runs, &mut ends);
        let mut heads = Vec::new();
        int::Layout::open_flat(r, data, runs)?.decode(data, 0..runs, &mut heads);
        let ascending = ends[0] > 0 && ends.windows(2).all(|w| w[0] < w[1]);
        if !ascending || ends[runs - 1] as usize != rows {
            return Err(corrupt("runs do not cover the block"));
        }
        Ok(Self { ends, heads })
    }

    fn run_of(&self, i: usize) -> usize {
        self.ends.partition_point(|&end| end as usize <= i)
    }

    /// Appends rows `range`.
    pub(crate) fn decode(&self, range: Range<usize>, out: &mut Vec<T>) {
        let (mut run, mut at) = (self.run_of(range.start), range.start);
        while at < range.end {
            let end = (self.ends[run] as usize).min(range.end);
            out.resize(out.len() + end - at, self.heads[run]);
            (run, at) = (run + 1, end);
        }
    }

    /// Appends the given rows, which ascend.
    pub(crate) fn gather(&self, rows: &[u32], out: &mut Vec<T>) {
        let Some(&first) = rows.first() else { return };
        let mut run = self.run_of(first as usize);
        out.extend(rows.iter().map(|&row| {
            while self.ends[run] <= row {
                run += 1;
            }
            self.heads[run]
        }));
    }

    /// Appends the positions, counted from the start of `range`, of the rows between `low` and `high`.
    pub(crate) fn within(&self, range: Range<usize>, (low, high): (T, T), out: &mut Vec<u32>) {
        if range.is_empty() {
            return;
        }
        let (mut run, mut at) = (self.run_of(range.start), range.start);
        while at < range.end {
            let end = (self.ends[run] as usize).min(range.end);
            if low <= self.heads[run] && self.heads[run] <= high {
                out.extend((at - range.start) as u32..(end - range.start) as u32);
            }
            (run, at) = (run + 1, end);
        }
    }

    /// Row `i`.
    pub(crate) fn get(&self, i: usize) -> T {
        self.heads[self.run_of(i)]
    }
}
