// SPDX-License-Identifier: Apache-2.0
//! Functions of a row's place in its partition.

use doris_storage::vector::{Values, Vector};

use super::partition_run::{Partition, PartitionRun};
use crate::memory;
use crate::plan::WindowFunction;

/// The results of a function of places.
pub fn compute(function: WindowFunction, partition_run: &PartitionRun) -> Vector {
    let values = match function {
        WindowFunction::PercentRank => Values::F64(each(partition_run, |partition, row| {
            let all = partition.rows.len();
            let rank = partition_run.peers(row).start - partition.rows.start;
            match all {
                0 | 1 => 0.0,
                _ => rank as f64 / (all - 1) as f64,
            }
        })),
        WindowFunction::CumeDist => Values::F64(each(partition_run, |partition, row| {
            let through = partition_run.peers(row).end - partition.rows.start;
            through as f64 / partition.rows.len() as f64
        })),
        WindowFunction::Ntile(buckets) => Values::I32(each(partition_run, |partition, row| {
            bucket(partition, row, buckets as usize)
        })),
        WindowFunction::Rank => Values::I64(each(partition_run, |partition, row| {
            (partition_run.peers(row).start - partition.rows.start + 1) as i64
        })),
        WindowFunction::DenseRank => Values::I64(each(partition_run, |partition, row| {
            (partition_run.group_of(row) - partition.groups.start + 1) as i64
        })),
        _ => Values::I64(each(partition_run, |partition, row| {
            (row - partition.rows.start + 1) as i64
        })),
    };
    Vector {
        values,
        validity: None,
    }
}

fn each<T>(partition_run: &PartitionRun, of_row: impl Fn(&Partition, usize) -> T) -> Vec<T> {
    let mut out = memory::room(partition_run.rows);
    for partition in &partition_run.partitions {
        out.extend(partition.rows.clone().map(|row| of_row(partition, row)));
    }
    out
}

/// The bucket of a row, counted from 1: the first ones have a row more when the rows do not divide evenly.
fn bucket(partition: &Partition, row: usize, buckets: usize) -> i32 {
    let (rows, place) = (partition.rows.len(), row - partition.rows.start);
    let (small, larger) = (rows / buckets, rows % buckets);
    let in_larger = larger * (small + 1);
    let bucket = match place < in_larger {
        true => place / (small + 1),
        // Without a small bucket's row, no row gets here.
        false => larger + (place - in_larger) / small.max(1),
    };
    bucket as i32 + 1
}
