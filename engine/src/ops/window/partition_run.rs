// SPDX-License-Identifier: Apache-2.0
//! Some whole partitions: what one task computes.

use std::ops::Range;
use std::sync::Arc;

use doris_storage::vector::{Bitmap, Values, Vector};

use super::input_batch::{Evaluated, InputBatch, Start};
use super::range::{self, Ends};
use crate::error::{Error, Result};
use crate::gather::{concat, slice};
use crate::memory;
use crate::plan::{RangeOffsets, WindowCall};

/// Rows of an input batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    pub input_batch: usize,
    pub rows: Range<usize>,
}

/// Cuts input batches into partition runs of whole partitions, of at least `rows_min` rows each but the last. Unless
/// `all` rows are there, those of the last partition are no partition run, but the rest.
pub fn cut(
    input_batches: &[InputBatch],
    rows_min: usize,
    all: bool,
) -> (Vec<Vec<Slice>>, Vec<Slice>) {
    let mut partition_runs = Vec::new();
    let mut partition_run: Vec<Slice> = Vec::new();
    let mut rows = 0;
    let is_first = |start: &Start| *start == Start::Partition;
    let last = |input_batch: &InputBatch| input_batch.starts.iter().rposition(is_first);
    let last = input_batches
        .iter()
        .rposition(|input_batch| last(input_batch).is_some())
        .zip(input_batches.iter().rev().find_map(last));
    for (number, input_batch) in input_batches.iter().enumerate() {
        let mut from = 0;
        for (row, start) in input_batch.starts.iter().enumerate() {
            let rest = !all && last == Some((number, row));
            if (rest || rows >= rows_min) && is_first(start) {
                push(&mut partition_run, number, from..row);
                if !partition_run.is_empty() {
                    partition_runs.push(std::mem::take(&mut partition_run));
                }
                (from, rows) = (row, 0);
            }
            rows += 1;
        }
        push(&mut partition_run, number, from..input_batch.starts.len());
    }
    if !all {
        return (partition_runs, partition_run);
    }
    if !partition_run.is_empty() {
        partition_runs.push(partition_run);
    }
    (partition_runs, Vec::new())
}

fn push(partition_run: &mut Vec<Slice>, input_batch: usize, rows: Range<usize>) {
    if !rows.is_empty() {
        partition_run.push(Slice { input_batch, rows });
    }
}

/// A partition, as positions in its partition run.
#[derive(Clone, Debug)]
pub struct Partition {
    pub rows: Range<usize>,
    /// Its groups of peers.
    pub groups: Range<usize>,
}

/// The partitions and groups of peers of a partition run's rows.
pub struct PartitionRun {
    pub rows: usize,
    pub partitions: Vec<Partition>,
    /// The first row of each group, and the number of rows.
    group_starts: Vec<u32>,
    group_of: Vec<u32>,
    /// For RANGE with offsets.
    range: Ends,
}

impl PartitionRun {
    /// The partition run of these slices.
    pub fn new(
        input_batches: &[InputBatch],
        slices: &[Slice],
        range: Option<&RangeOffsets>,
    ) -> Result<Self> {
        let rows: usize = slices.iter().map(|slice| slice.rows.len()).sum();
        if rows >= u32::MAX as usize {
            return Err(Error::OutOfMemory);
        }
        let mut starts = slices
            .iter()
            .flat_map(|slice| &input_batches[slice.input_batch].starts[slice.rows.clone()]);
        let mut partition_run = PartitionRun {
            rows,
            partitions: Vec::new(),
            group_starts: Vec::new(),
            group_of: memory::vec(rows)?,
            range: Ends::default(),
        };
        for row in 0..rows {
            let start = starts.next().copied().unwrap_or(Start::Nothing);
            let group = partition_run.group_starts.len();
            if row == 0 || start == Start::Partition {
                partition_run.partitions.push(Partition {
                    rows: row..row,
                    groups: group..group,
                });
            }
            if row == 0 || start != Start::Nothing {
                partition_run.group_starts.push(row as u32);
            }
            partition_run
                .group_of
                .push(partition_run.group_starts.len() as u32 - 1);
            let groups = partition_run.group_starts.len();
            if let Some(last) = partition_run.partitions.last_mut() {
                (last.rows.end, last.groups.end) = (row + 1, groups);
            }
        }
        partition_run.group_starts.push(rows as u32);
        if let Some(range) = range {
            partition_run.range =
                range::ends(input_batches, slices, &partition_run.partitions, range)?;
        }
        Ok(partition_run)
    }

    /// The first row of a row's frame by values.
    pub fn range_start(&self, row: usize) -> usize {
        self.range.start[row] as usize
    }

    /// The row behind the last of a row's frame by values.
    pub fn range_end(&self, row: usize) -> usize {
        self.range.end[row] as usize
    }

    /// The group of a row, counted within the partition run.
    pub fn group_of(&self, row: usize) -> usize {
        self.group_of[row] as usize
    }

    /// A group's rows.
    pub fn group(&self, group: usize) -> Range<usize> {
        self.group_starts[group] as usize..self.group_starts[group + 1] as usize
    }

    /// A row's peers, itself included.
    pub fn peers(&self, row: usize) -> Range<usize> {
        self.group(self.group_of(row))
    }
}

/// A call's evaluated expressions over a partition run.
pub struct Inputs {
    pub argument: Option<Vector>,
    pub default: Option<Vector>,
    /// For an aggregate: whether it sees a row; `None`: all.
    pub seen: Option<Bitmap>,
}

/// The inputs of call `number` over a partition run.
pub fn inputs(
    input_batches: &[InputBatch],
    slices: &[Slice],
    number: usize,
    call: &WindowCall,
) -> Result<Inputs> {
    let joined = |pick: fn(&Evaluated) -> Option<&Arc<Vector>>| -> Result<Option<Vector>> {
        let mut parts = Vec::with_capacity(slices.len());
        for part in slices {
            let input_batch = &input_batches[part.input_batch];
            let Some(vector) = pick(&input_batch.calls[number]) else {
                return Ok(None);
            };
            parts.push(match part.rows.len() == input_batch.batch.rows {
                true => Arc::clone(vector),
                false => Arc::new(slice(vector, part.rows.start, part.rows.end)),
            });
        }
        let Some(first) = parts.first() else {
            return Ok(None);
        };
        let whole = concat(first.physical(), &parts).ok_or(Error::OutOfMemory)?;
        Ok(Some(whole))
    };
    let filter = joined(|call| call.filter.as_ref())?;
    let argument = joined(|call| call.argument.as_ref())?;
    let filtered = filter.map(|filter| passing(&filter)).transpose()?;
    debug_assert_eq!(filtered.is_some(), call.filter.is_some());
    let valid = argument.as_ref().and_then(|a| a.validity.clone());
    let seen = match (filtered, valid) {
        (Some(passing), Some(valid)) => Some(both(&passing, &valid)),
        (one, None) | (None, one) => one,
    };
    Ok(Inputs {
        argument,
        default: joined(|call| call.default.as_ref())?,
        seen,
    })
}

fn passing(filter: &Vector) -> Result<Bitmap> {
    let Values::Bool(values) = &filter.values else {
        return Err(Error::internal("a filter that is no boolean"));
    };
    let pass = |row: usize| values[row] != 0 && !filter.is_null(row);
    Ok(Bitmap::from_bools((0..values.len()).map(pass)))
}

fn both(a: &Bitmap, b: &Bitmap) -> Bitmap {
    Bitmap::from_bools((0..a.len()).map(|i| a.get(i) && b.get(i)))
}
