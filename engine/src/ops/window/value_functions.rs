// SPDX-License-Identifier: Apache-2.0
//! Functions that return the argument of another row.

use std::sync::Arc;

use doris_storage::vector::Vector;

use super::frame;
use super::partition_run::{Inputs, Partition, PartitionRun};
use crate::error::{Error, Result};
use crate::gather::{concat, gather_or_null, NO_ROW};
use crate::memory;
use crate::plan::{Frame, WindowFunction};

/// The results of a function that picks a row.
pub fn compute(
    function: WindowFunction,
    partition_run: &PartitionRun,
    frame: &Frame,
    inputs: &Inputs,
) -> Result<Vector> {
    let argument = inputs
        .argument
        .as_ref()
        .ok_or_else(|| Error::internal("a window function without its argument"))?;
    let rows = |pick: &dyn Fn(&Partition, usize) -> Option<usize>| {
        let mut out = memory::room(partition_run.rows);
        for partition in &partition_run.partitions {
            let picked = partition.rows.clone().map(|row| pick(partition, row));
            out.extend(picked.map(|row| row.map_or(NO_ROW, |row| row as u32)));
        }
        out
    };
    let nth = |partition: &Partition, row: usize, n: usize| {
        frame::rows(frame, partition_run, partition, row).nth(n)
    };
    let picked = match function {
        WindowFunction::Offset(offset) => {
            let picked = rows(&|partition, row| shifted(partition, row, offset));
            return with_default(argument, inputs.default.as_ref(), picked);
        }
        WindowFunction::First => rows(&|partition, row| nth(partition, row, 0)),
        WindowFunction::Nth(n) => {
            let n = usize::try_from(n.saturating_sub(1)).unwrap_or(usize::MAX);
            rows(&|partition, row| nth(partition, row, n))
        }
        _ => rows(&|partition, row| {
            let rows = frame::rows(frame, partition_run, partition, row);
            rows.nth(rows.len().checked_sub(1)?)
        }),
    };
    Ok(gather_or_null(argument, &picked))
}

/// The row `offset` rows later in the partition.
fn shifted(partition: &Partition, row: usize, offset: i64) -> Option<usize> {
    let place = row as i64;
    let wanted = usize::try_from(place.checked_add(offset)?).ok()?;
    partition.rows.contains(&wanted).then_some(wanted)
}

/// The picked rows' arguments, and each row's own default where there is no such row.
fn with_default(argument: &Vector, default: Option<&Vector>, picked: Vec<u32>) -> Result<Vector> {
    let Some(default) = default.filter(|_| picked.contains(&NO_ROW)) else {
        return Ok(gather_or_null(argument, &picked));
    };
    let parts = [Arc::new(argument.clone()), Arc::new(default.clone())];
    let all = concat(argument.physical(), &parts).ok_or(Error::OutOfMemory)?;
    let rows = argument.len() as u32;
    let picked: Vec<u32> = (picked.into_iter().zip(rows..))
        .map(|(row, own)| if row == NO_ROW { own } else { row })
        .collect();
    Ok(gather_or_null(&all, &picked))
}
