// SPDX-License-Identifier: Apache-2.0
//! The engine's batches as tuples.
use super::scope::{Column, Item};
use crate::read::attrs::Attr;
use crate::read::datum::{datum, Arena};
use doris_engine::batch::Batch;
use doris_engine::types::DataType;
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
    /// A virtual slot with a column an item.
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
                Column::Missing => None,
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
