// SPDX-License-Identifier: Apache-2.0
//! The scan: morsels to batches, decoding as little as it can.
//!
//! 1. Filters run in their given order; a column is decoded when a filter first needs it.
//! 2. Runtime filters follow, each on its column. One that lets nearly everything through is dropped.
//! 3. The remaining columns are decoded for the rows that are left: in place when most are, else dense.
//! 4. Large morsels leave in pieces that stay in cache.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use doris_storage::vector::Vector;

use crate::batch::{Batch, Selection};
use crate::error::{Error, Result};
use crate::exec::driver::Driver;
use crate::exec::query::{Chunk, NodeCounters, Worker};
use crate::exec::stream::{Emit, Source, Task};
use crate::expr::Expr;
use crate::gather::{gather, slice};
use crate::runtime_filter::RuntimeFilter;
use crate::source::{Morsel, MorselSource};
use crate::types::DataType;

/// Below one row in so many left by the filters, the other columns are decoded for those rows only.
const SPARSE: usize = 4;
/// A runtime filter is judged after so many rows ...
const JUDGED_AFTER_ROWS: u64 = 64 * 1024;
/// ... and dropped unless it stops at least one row in so many.
const WORTHWHILE: u64 = 16;

/// A filter from the other side of a join, on an output column.
pub struct AppliedFilter {
    column: usize,
    filter: Arc<RuntimeFilter>,
    rows_seen: AtomicU64,
    rows_dropped: AtomicU64,
}

impl AppliedFilter {
    /// `filter` on output column `column`.
    pub fn new(column: usize, filter: Arc<RuntimeFilter>) -> Self {
        Self {
            column,
            filter,
            rows_seen: AtomicU64::new(0),
            rows_dropped: AtomicU64::new(0),
        }
    }

    fn is_worthwhile(&self) -> bool {
        let seen = self.rows_seen.load(Ordering::Relaxed);
        seen < JUDGED_AFTER_ROWS || self.rows_dropped.load(Ordering::Relaxed) * WORTHWHILE >= seen
    }
}

/// What all tasks of a scan share.
pub struct ScanShape {
    /// The plan node.
    pub id: u32,
    /// The source's column behind each output column.
    pub columns: Vec<usize>,
    /// The output types.
    pub types: Vec<DataType>,
    /// Applied in this order.
    pub filters: Vec<Expr>,
    /// Applied after `filters`.
    pub runtime_filters: Vec<AppliedFilter>,
}

/// The scan as a source of tasks.
pub struct ScanSource {
    /// Where morsels come from.
    pub source: Box<dyn MorselSource>,
    /// What the tasks share.
    pub shape: Arc<ScanShape>,
}

impl Source for ScanSource {
    fn next(&mut self, _: &Driver) -> Result<Option<Box<dyn Task>>> {
        let Some(morsel) = self.source.next()? else {
            return Ok(None);
        };
        let columns = vec![None; self.shape.columns.len()];
        Ok(Some(Box::new(ScanTask {
            shape: Arc::clone(&self.shape),
            morsel,
            columns,
        })))
    }
}

struct ScanTask {
    shape: Arc<ScanShape>,
    morsel: Box<dyn Morsel>,
    columns: Vec<Option<Arc<Vector>>>,
}

impl Task for ScanTask {
    fn run(mut self: Box<Self>, worker: &Worker<'_>, emit: &mut Emit<'_>) -> Result<()> {
        let shape = Arc::clone(&self.shape);
        let counters = worker.query.node(shape.id);
        NodeCounters::add(&counters.rows_in, self.morsel.rows() as u64);
        NodeCounters::add(&counters.batches, 1);
        let chunk = counters.timed(|| self.read(worker))?;
        let Some(chunk) = chunk else { return Ok(()) };
        NodeCounters::add(&counters.rows_out, chunk.rows() as u64);
        emit_in_pieces(worker.query.batch_rows, chunk, emit)
    }
}

impl ScanTask {
    fn read(&mut self, worker: &Worker<'_>) -> Result<Option<Chunk>> {
        let selection = self.filter(worker)?;
        if selection.is_empty() {
            return Ok(None);
        }
        let rows = self.morsel.rows();
        if selection.len() * SPARSE < rows {
            return self.read_dense(selection).map(Some);
        }
        for column in 0..self.columns.len() {
            self.load(column)?;
        }
        Ok(Some(Chunk {
            batch: self.batch(),
            selection,
        }))
    }

    /// Steps 1 and 2.
    fn filter(&mut self, worker: &Worker<'_>) -> Result<Selection> {
        let shape = Arc::clone(&self.shape);
        let mut selection = self.morsel.visible();
        for filter in &shape.filters {
            if selection.is_empty() {
                return Ok(selection);
            }
            for column in filter.columns() {
                self.load(column)?;
            }
            selection = filter.filter(&worker.eval, &self.batch(), selection)?;
        }
        for applied in shape.runtime_filters.iter().filter(|f| f.is_worthwhile()) {
            if selection.is_empty() {
                break;
            }
            let column = self.load(applied.column)?;
            let before = selection.len();
            selection = applied.filter.apply(&column, selection);
            let dropped = (before - selection.len()) as u64;
            applied
                .rows_seen
                .fetch_add(before as u64, Ordering::Relaxed);
            applied.rows_dropped.fetch_add(dropped, Ordering::Relaxed);
            NodeCounters::add(&worker.query.node(shape.id).runtime_filtered, dropped);
        }
        Ok(selection)
    }

    /// Step 3 when few rows are left.
    fn read_dense(&mut self, selection: Selection) -> Result<Chunk> {
        let indices = selection.indices();
        let mut dense = Vec::with_capacity(self.columns.len());
        for (number, column) in self.columns.iter().enumerate() {
            dense.push(match column {
                Some(loaded) => Arc::new(gather(loaded, &indices)),
                None => self
                    .morsel
                    .load_selected(self.shape.columns[number], &selection)?,
            });
        }
        Ok(Chunk::all(Batch::new(dense, selection.len())))
    }

    fn load(&mut self, column: usize) -> Result<Arc<Vector>> {
        if let Some(loaded) = &self.columns[column] {
            return Ok(Arc::clone(loaded));
        }
        let loaded = self.morsel.load(self.shape.columns[column])?;
        if loaded.len() != self.morsel.rows()
            || loaded.physical() != self.shape.types[column].physical()
        {
            return Err(Error::internal(
                "a source's column has the wrong length or layout",
            ));
        }
        self.columns[column] = Some(Arc::clone(&loaded));
        Ok(loaded)
    }

    /// The columns loaded so far; the others are empty, and nobody looks at them.
    fn batch(&self) -> Batch {
        let column = |(number, column): (usize, &Option<Arc<Vector>>)| match column {
            Some(loaded) => Arc::clone(loaded),
            None => Arc::new(Vector::empty(self.shape.types[number].physical())),
        };
        Batch {
            columns: self.columns.iter().enumerate().map(column).collect(),
            rows: self.morsel.rows(),
        }
    }
}

/// Step 4: emits `chunk` in pieces of about `batch_rows` rows.
pub fn emit_in_pieces(batch_rows: usize, chunk: Chunk, emit: &mut Emit<'_>) -> Result<()> {
    let rows = chunk.rows();
    if rows <= 2 * batch_rows {
        return emit(chunk);
    }
    let mut from = 0;
    while from < rows {
        let to = (from + batch_rows).min(rows);
        emit(match &chunk.selection {
            Selection::All(_) => {
                let columns = chunk
                    .batch
                    .columns
                    .iter()
                    .map(|c| Arc::new(slice(c, from, to)))
                    .collect();
                Chunk::all(Batch::new(columns, to - from))
            }
            Selection::Indices(indices) => {
                let selection = Selection::Indices(indices[from..to].to_vec());
                Chunk {
                    batch: chunk.batch.clone(),
                    selection,
                }
            }
        })?;
        from = to;
    }
    Ok(())
}
