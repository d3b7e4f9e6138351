// SPDX-License-Identifier: Apache-2.0
//! `string_agg` and `array_agg` of frames: the items of a frame's rows, put together in the order of the rows.
//!
//! A frame that grows row by row makes results whose sizes add up to the square of the rows: they count as memory until
//! the rows went out, and go back to PostgreSQL when that does not hold them. What such a frame had is kept, and only
//! the rows that enter it are looked at.

use std::ops::Range;

use doris_storage::vector::{Bitmap, BytesColumn, Values, Vector};

use super::frame;
use super::partition_run::{Inputs, PartitionRun};
use crate::error::{Error, Result};
use crate::exec::query::Query;
use crate::expr::Item;
use crate::memory::{self, Reservation};
use crate::ops::aggregate::accumulate::collect::Assembly;
use crate::plan::{Collected, Frame, WindowCall};

/// The results of a call that collects; `memory` grows by their bytes.
pub fn compute(
    result: Collected,
    partition_run: &PartitionRun,
    frame: &Frame,
    inputs: &Inputs,
    call: &WindowCall,
    query: &Query,
    memory: &mut Reservation,
) -> Result<Vector> {
    let assembly = Assembly::new(result, call.argument.as_ref())?;
    let argument = inputs.argument.as_ref();
    let argument = argument.ok_or_else(|| Error::internal("items that are not there"))?;
    let mut working = Reservation::new(&query.budget);
    let (mut column, mut validity) = (BytesColumn::default(), memory::room(partition_run.rows));
    let (mut items, mut value): (Vec<Item<'_>>, Vec<u8>) = (Vec::new(), Vec::new());
    let (mut known, mut present): (Option<[Range<usize>; 3]>, bool) = (None, false);
    for partition in &partition_run.partitions {
        for row in partition.rows.clone() {
            query.check()?;
            let rows = frame::rows(frame, partition_run, partition, row).0;
            // Peers see the same rows.
            if known.as_ref() != Some(&rows) {
                let kept = known.as_ref().and_then(|known| kept(known, &rows));
                if kept.is_none() {
                    items.clear();
                    value.clear();
                    present = false;
                }
                let before = items.len();
                let seen = |row: &usize| inputs.seen.as_ref().is_none_or(|seen| seen.get(*row));
                let mut entered = rows.clone();
                entered[0].start += kept.unwrap_or(0);
                for row in entered.into_iter().flatten().filter(seen) {
                    let item = argument.bytes(row).and_then(Item::of);
                    items.push(item.ok_or_else(|| Error::internal("an item cut short"))?);
                }
                present = assembly.extend(&items, before, present, &mut value)?;
                known = Some(rows);
            }
            if column.data.len() + value.len() > u32::MAX as usize {
                return Err(Error::OutOfMemory);
            }
            working.resize(items.capacity() * size_of::<Item<'_>>() + value.capacity())?;
            memory.grow(value.len())?;
            validity.push(present);
            column.push(&value);
        }
    }
    Ok(Vector {
        values: Values::Bytes(column),
        validity: Some(Bitmap::from_bools(validity)),
    })
}

/// How many rows a frame has of the one before it, where all of that come first in it.
fn kept(before: &[Range<usize>; 3], rows: &[Range<usize>; 3]) -> Option<usize> {
    let whole = |rows: &[Range<usize>; 3]| rows[1].is_empty() && rows[2].is_empty();
    let grows = before[0].start == rows[0].start && before[0].end <= rows[0].end;
    (whole(before) && whole(rows) && grows).then_some(before[0].len())
}
