// SPDX-License-Identifier: Apache-2.0
//! Where rows come from: morsels pulled on the driving thread, decoded on workers.
//!
//! A [`MorselSource`] belongs to the driving thread (in PostgreSQL, the backend's own thread, the only one
//! that may pin buffers). It cuts its rows into [`Morsel`]s, which travel to any thread and decode a column
//! only when asked: after the filters on earlier columns, so that what no row needs is never decoded.
//! Runtime filters come from above while the query runs; a source may use them to leave out whole morsels.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use doris_storage::vector::Vector;

use crate::batch::{Batch, Selection};
use crate::error::{Error, Result};
use crate::gather::{gather, slice};
use crate::metadata_aggregates::{ColumnSummary, NeededSummary};
use crate::runtime_filter::RuntimeFilter;

/// A stream of morsels; used by the driving thread only.
pub trait MorselSource {
    /// The next morsel; `None` at the end. Holds no rows that the runtime filters added so far exclude for
    /// sure, as far as the source can tell cheaply; the scan applies the filters to the rest.
    fn next(&mut self) -> Result<Option<Box<dyn Morsel>>>;

    /// How many rows there are, as far as the source can tell cheaply.
    fn rows_about(&self) -> Option<u64> {
        None
    }

    /// Rows of column `column` (by the source's numbering) that do not pass `filter` are of no interest to
    /// anyone from now on.
    fn add_runtime_filter(&mut self, _column: usize, _filter: &Arc<RuntimeFilter>) {}

    /// The summaries of these columns are all that is wanted of a morsel that can tell them.
    fn prefer_summaries(&mut self, _needs: &[NeededSummary]) {}

    /// Which values the only column asked for holds is all that is wanted, not how often: rows that repeat a value
    /// which a row of the same morsel or another has may be left out.
    fn prefer_values(&mut self) {}
}

/// A run of rows (a few thousand to 64K: small enough that its columns stay in cache), not yet decoded.
pub trait Morsel: Send {
    /// Rows, the invisible ones included.
    fn rows(&self) -> usize;

    /// The rows to be seen: without deleted ones and those of other snapshots.
    fn visible(&self) -> Selection {
        Selection::All(self.rows())
    }

    /// Summaries for the needs that the source was told of, when they are all known, and all rows are seen and pass the
    /// scan's filters. A morsel that gives them need not be able to decode.
    fn summaries(&self) -> Option<Vec<ColumnSummary>> {
        None
    }

    /// Whether all rows surely pass the filters of the scan, which need not be applied then.
    fn passes_filters(&self) -> bool {
        false
    }

    /// Whether a column costs something to decode.
    fn is_encoded(&self) -> bool {
        false
    }

    /// Appends the positions, counted from the start of `rows`, of the rows whose value in `column` is not NULL and
    /// between the bounds, both included; false, and nothing done, where they are to be compared after decoding.
    fn select_within(
        &mut self,
        _column: usize,
        _rows: Range<usize>,
        _bounds: (i128, i128),
        _out: &mut Vec<u32>,
    ) -> Result<bool> {
        Ok(false)
    }

    /// Decodes rows `rows` of column `column`.
    fn load(&mut self, column: usize, rows: Range<usize>) -> Result<Arc<Vector>>;

    /// Decodes column `column` for the given rows only, which ascend, and appends them to `out`.
    fn load_selected(&mut self, column: usize, rows: &[u32], out: &mut Vector) -> Result<()>;
}

/// A source over batches in memory: each batch is a morsel.
pub struct MemorySource {
    batches: VecDeque<Batch>,
}

impl MemorySource {
    /// A source that hands out `batches` in order.
    pub fn new(batches: impl IntoIterator<Item = Batch>) -> Self {
        Self {
            batches: batches.into_iter().collect(),
        }
    }
}

impl MorselSource for MemorySource {
    fn rows_about(&self) -> Option<u64> {
        Some(self.batches.iter().map(|batch| batch.rows as u64).sum())
    }

    fn next(&mut self) -> Result<Option<Box<dyn Morsel>>> {
        Ok(self
            .batches
            .pop_front()
            .map(|batch| Box::new(MemoryMorsel(batch)) as Box<dyn Morsel>))
    }
}

struct MemoryMorsel(Batch);

impl Morsel for MemoryMorsel {
    fn rows(&self) -> usize {
        self.0.rows
    }

    fn load(&mut self, column: usize, rows: Range<usize>) -> Result<Arc<Vector>> {
        let whole = &self.0.columns[column];
        Ok(match rows.len() == whole.len() {
            true => Arc::clone(whole),
            false => Arc::new(slice(whole, rows.start, rows.end)),
        })
    }

    fn load_selected(&mut self, column: usize, rows: &[u32], out: &mut Vector) -> Result<()> {
        let some = gather(&self.0.columns[column], rows);
        out.append(&some)
            .map_err(|e| Error::internal(e.to_string()))
    }
}
