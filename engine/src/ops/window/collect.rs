// SPDX-License-Identifier: Apache-2.0
//! `string_agg` and `array_agg` of frames: the items of a frame's rows, put together in the order of the rows.
//!
//! A frame that grows row by row makes results whose sizes add up to the square of the rows: they count as memory while
//! they are made, and go back to PostgreSQL when that does not hold them.

use std::ops::Range;

use doris_storage::vector::{Bitmap, BytesColumn, Values, Vector};

use super::frame;
use super::section::{Inputs, Section};
use crate::error::{Error, Result};
use crate::exec::query::Query;
use crate::expr::Item;
use crate::memory::Reservation;
use crate::ops::aggregate::accumulate::collect::Assembly;
use crate::plan::{Collected, Frame, WindowCall};

/// The results of a call that collects.
pub fn compute(
    result: Collected,
    section: &Section,
    frame: &Frame,
    inputs: &Inputs,
    call: &WindowCall,
    query: &Query,
) -> Result<Vector> {
    let assembly = Assembly::new(result, call.argument.as_ref())?;
    let argument = inputs.argument.as_ref();
    let argument = argument.ok_or_else(|| Error::internal("items that are not there"))?;
    let mut memory = Reservation::new(&query.budget);
    let (mut column, mut present) = (BytesColumn::default(), Vec::with_capacity(section.rows));
    let (mut items, mut value): (Vec<Item<'_>>, Vec<u8>) = (Vec::new(), Vec::new());
    let mut known: Option<[Range<usize>; 3]> = None;
    for partition in &section.partitions {
        for row in partition.rows.clone() {
            query.check()?;
            let rows = frame::rows(frame, section, partition, row);
            if known.as_ref() == Some(&rows.0) {
                // Peers see the same rows.
                present.push(present.last().copied().unwrap_or(false));
            } else {
                items.clear();
                let seen = |row: &usize| inputs.seen.as_ref().is_none_or(|seen| seen.get(*row));
                for row in rows.iter().filter(seen) {
                    let item = argument.bytes(row).and_then(Item::of);
                    items.push(item.ok_or_else(|| Error::internal("an item cut short"))?);
                }
                value.clear();
                present.push(assembly.put_together(&items, &mut value)?);
                known = Some(rows.0);
            }
            if column.data.len() + value.len() > u32::MAX as usize {
                return Err(Error::OutOfMemory);
            }
            memory.grow(value.len())?;
            column.push(&value);
        }
    }
    Ok(Vector {
        values: Values::Bytes(column),
        validity: Some(Bitmap::from_bools(present)),
    })
}
