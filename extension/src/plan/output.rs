// SPDX-License-Identifier: Apache-2.0
//! The engine's batches as tuples.
use super::scope::{Column, Item};
use crate::read::attrs::Attr;
use crate::read::datum::{datum, Arena};
use crate::write::numeric;
use doris_engine::batch::Batch;
use doris_engine::types::DataType;
use doris_storage::vector::{Values, Vector};
use pgrx::pg_sys;

/// Turns rows of batches into values of a slot.
pub struct Output {
    columns: Vec<(Column, Attr)>,
    arena: Arena,
    batch: Option<Batch>,
    row: usize,
}

impl Output {
    /// An output of these items.
    pub fn new(items: &[Item]) -> Self {
        let columns = items
            .iter()
            .map(|item| (item.column, item.attr()))
            .collect();
        Self {
            columns,
            arena: Arena::default(),
            batch: None,
            row: 0,
        }
    }

    /// The rows that come next; the Datums of earlier rows are gone.
    pub fn set(&mut self, batch: Batch) {
        self.arena.reset();
        self.batch = Some(batch);
        self.row = 0;
    }

    /// Stores the next row; false when the batch is used up.
    ///
    /// # Safety
    /// A virtual slot with a column an item. Averages are palloc'd in the current memory context.
    pub unsafe fn next(&mut self, slot: *mut pg_sys::TupleTableSlot) -> bool {
        let Some(batch) = &self.batch else {
            return false;
        };
        if self.row >= batch.rows {
            return false;
        }
        for (i, (column, attr)) in self.columns.iter().enumerate() {
            let value = match *column {
                Column::Native(at, data_type) => {
                    let scale = match data_type {
                        DataType::Numeric { scale, .. } => scale as u16,
                        _ => 0,
                    };
                    datum(&batch.columns[at], self.row, attr, scale, &mut self.arena)
                }
                Column::Average { sum, count, scale } => {
                    average(&batch.columns[sum], &batch.columns[count], self.row, scale)
                }
                Column::Missing | Column::Unshown(..) => None,
                Column::Scaled {
                    value,
                    shown,
                    scale,
                } => scaled(
                    &batch.columns[value],
                    &batch.columns[shown],
                    self.row,
                    scale,
                ),
            };
            // SAFETY: the caller vouches for the slot.
            unsafe {
                *(*slot).tts_values.add(i) = value.unwrap_or(pg_sys::Datum::from(0));
                *(*slot).tts_isnull.add(i) = value.is_none();
            }
        }
        self.row += 1;
        true
    }
}

fn integer(vector: &Vector, row: usize) -> Option<i128> {
    if vector.is_null(row) {
        return None;
    }
    match &vector.values {
        Values::I16(v) => Some(i128::from(v[row])),
        Values::I32(v) => Some(i128::from(v[row])),
        Values::I64(v) => Some(i128::from(v[row])),
        Values::I128(v) => Some(v[row]),
        _ => None,
    }
}

/// Sum by count, divided by PostgreSQL itself.
fn average(sum: &Vector, count: &Vector, row: usize, scale: u16) -> Option<pg_sys::Datum> {
    let sum = integer(sum, row)?;
    let count = integer(count, row)?;
    if count == 0 {
        return None;
    }
    // SAFETY: both operands are well-formed numerics; the divisor is not zero.
    unsafe {
        let (sum, count) = (varlena(sum, scale), varlena(count, 0));
        let collation = pg_sys::InvalidOid;
        Some(pg_sys::DirectFunctionCall2Coll(
            Some(numeric_div),
            collation,
            sum,
            count,
        ))
    }
}

/// A sum with the largest display scale that PostgreSQL would have met among its inputs.
fn scaled(value: &Vector, shown: &Vector, row: usize, scale: u16) -> Option<pg_sys::Datum> {
    let value = integer(value, row)?;
    let shown = integer(shown, row).map_or(scale, |s| s as u16).min(scale);
    let value = value / 10i128.pow(u32::from(scale - shown));
    // SAFETY: palloc in the current context.
    Some(unsafe { varlena(value, shown) })
}

unsafe fn varlena(value: i128, scale: u16) -> pg_sys::Datum {
    let mut bytes = Vec::with_capacity(32);
    numeric::from_scaled(value, scale, &mut bytes);
    // SAFETY: the allocation has room for header and bytes.
    unsafe {
        let at = pg_sys::palloc(bytes.len() + 4) as *mut u8;
        *(at as *mut u32) = ((bytes.len() + 4) as u32) << 2;
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), at.add(4), bytes.len());
        pg_sys::Datum::from(at)
    }
}

extern "C-unwind" {
    fn numeric_div(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum;
}
