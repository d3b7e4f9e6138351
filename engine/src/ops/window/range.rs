// SPDX-License-Identifier: Apache-2.0
//! Frames of RANGE with offsets: where each row's frame starts and ends, by the values of its key.

use std::ops::Range;
use std::sync::Arc;

use doris_storage::vector::{Values, Vector};

use super::input_batch::{InputBatch, RangeValues};
use super::partition_run::{Partition, Slice};
use crate::error::{Error, Result};
use crate::memory;
use crate::plan::{RangeLimit, RangeOffsets};

/// By row of a partition run: the first row whose key is not before the start, and the first whose key is after the
/// end.
#[derive(Default)]
pub struct Ends {
    pub start: Vec<u32>,
    pub end: Vec<u32>,
}

/// Values by row of a partition run; `None` is NULL.
type Column = Vec<Option<i128>>;

/// The ends of the frames of a partition run's rows.
pub fn ends(
    input_batches: &[InputBatch],
    slices: &[Slice],
    partitions: &[Partition],
    range: &RangeOffsets,
) -> Result<Ends> {
    let column = |pick: fn(&RangeValues) -> Option<&Arc<Vector>>| -> Result<Column> {
        let mut all = Vec::new();
        for part in slices {
            let vector = input_batches[part.input_batch]
                .range
                .as_ref()
                .and_then(pick);
            if let Some(vector) = vector {
                append(&mut all, vector, part.rows.clone())?;
            }
        }
        Ok(all)
    };
    let keys = column(|values| Some(&values.key))?;
    let order = Order {
        keys: &keys,
        descending: range.descending,
        nulls_first: range.nulls_first,
    };
    let mut ends = Ends::default();
    let floats = match range.is_of_floats() {
        true => floats(input_batches, slices)?,
        false => Vec::new(),
    };
    // No limit, as PostgreSQL has it: the least value, or the greatest but for NaN.
    let (least, greatest) = (i128::MIN, ordered(f64::INFINITY));
    let (at_start, at_end) = match range.descending {
        true => (greatest, least),
        false => (least, greatest),
    };
    if let Some(limit) = &range.start {
        let limits = match limit {
            RangeLimit::Value(_) => column(|values| values.start.as_ref())?,
            limit => shifted(limit, &keys, &floats, at_start),
        };
        ends.start = walk(partitions, keys.len(), |at, row| {
            order.is_before(at, row, limits[row])
        });
    }
    if let Some(limit) = &range.end {
        let limits = match limit {
            RangeLimit::Value(_) => column(|values| values.end.as_ref())?,
            limit => shifted(limit, &keys, &floats, at_end),
        };
        ends.end = walk(partitions, keys.len(), |at, row| {
            order.is_within(at, row, limits[row])
        });
    }
    Ok(ends)
}

/// The limits of rows that are computed from their keys; `unlimited` where there is no limit.
fn shifted(limit: &RangeLimit, keys: &Column, floats: &[f64], unlimited: i128) -> Column {
    let of_row = |(row, key): (usize, &Option<i128>)| match limit {
        RangeLimit::Plus(offset) => key.map(|key| key + i128::from(*offset)),
        RangeLimit::Float { offset, minus } => {
            let (base, offset) = ((*key).map(|_| floats[row])?, *offset);
            if base.is_infinite() && offset.is_infinite() && (base > 0.0) == *minus {
                return Some(unlimited);
            }
            Some(ordered(if *minus { base - offset } else { base + offset }))
        }
        RangeLimit::Value(_) => None,
    };
    keys.iter().enumerate().map(of_row).collect()
}

/// The keys of a partition run's rows as floats; those of NULLs do not matter.
fn floats(input_batches: &[InputBatch], slices: &[Slice]) -> Result<Vec<f64>> {
    let mut all = Vec::new();
    for part in slices {
        match input_batches[part.input_batch]
            .range
            .as_ref()
            .map(|r| &r.key.values)
        {
            Some(Values::F64(v)) => all.extend_from_slice(&v[part.rows.clone()]),
            _ => return Err(Error::internal("a range over values that are no floats")),
        }
    }
    Ok(all)
}

/// A number in the order of floats: NaN comes last, and -0 is 0.
fn ordered(value: f64) -> i128 {
    if value.is_nan() {
        return i64::MAX.into();
    }
    let bits = (value + 0.0).to_bits() as i64;
    (bits ^ (((bits >> 63) as u64) >> 1) as i64).into()
}

/// For each row, the first row of its partition that `passes` does not let by; it never moves backwards.
fn walk(partitions: &[Partition], rows: usize, passes: impl Fn(usize, usize) -> bool) -> Vec<u32> {
    let mut found = memory::room(rows);
    for partition in partitions {
        let mut at = partition.rows.start;
        for row in partition.rows.clone() {
            while at < partition.rows.end && passes(at, row) {
                at += 1;
            }
            found.push(at as u32);
        }
    }
    found
}

/// The order of a window's rows.
struct Order<'k> {
    keys: &'k [Option<i128>],
    descending: bool,
    nulls_first: bool,
}

impl Order<'_> {
    /// Whether row `at` lies before the start `limit` of the frame of `row`.
    fn is_before(&self, at: usize, row: usize, limit: Option<i128>) -> bool {
        match (self.keys[at], self.keys[row]) {
            (Some(key), Some(_)) => match self.descending {
                true => limit.is_some_and(|limit| key > limit),
                false => limit.is_some_and(|limit| key < limit),
            },
            (key, current) => match self.nulls_first {
                true => key.is_none() && current.is_some(),
                false => key.is_some() && current.is_none(),
            },
        }
    }

    /// Whether row `at` does not lie behind the end `limit` of the frame of `row`.
    fn is_within(&self, at: usize, row: usize, limit: Option<i128>) -> bool {
        match (self.keys[at], self.keys[row]) {
            (Some(key), Some(_)) => match self.descending {
                true => limit.is_some_and(|limit| key >= limit),
                false => limit.is_some_and(|limit| key <= limit),
            },
            (key, current) => match self.nulls_first {
                true => key.is_none(),
                false => current.is_none(),
            },
        }
    }
}

fn append(all: &mut Column, vector: &Vector, rows: Range<usize>) -> Result<()> {
    all.reserve(rows.len());
    for row in rows {
        let value = match &vector.values {
            _ if vector.is_null(row) => None,
            Values::I16(v) => Some(v[row].into()),
            Values::I32(v) => Some(v[row].into()),
            Values::I64(v) => Some(v[row].into()),
            Values::I128(v) => Some(v[row]),
            Values::F64(v) => Some(ordered(v[row])),
            _ => return Err(Error::internal("a range over values that are no integers")),
        };
        all.push(value);
    }
    Ok(())
}
