// SPDX-License-Identifier: Apache-2.0
//! The scan: morsels to batches, decoding as little as it can.
//!
//! A morsel is read in pieces of a batch's rows, which stay in cache. Of each:
//! 1. Filters run in the order that drops most rows for their time (`order`); a column is decoded when a filter first
//!    needs it, and once few rows are left only for those.
//! 2. Runtime filters follow, each on its column. One that lets nearly everything through is dropped. A sort's bound,
//!    which drops nearly everything, comes before the filters.
//! 3. The remaining columns are decoded for the rows that are left: in place when most are, else dense.
//! 4. Pieces that few rows are left of leave together.

mod order;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Instant;

use doris_storage::vector::Vector;

pub use self::order::Filters;
use crate::batch::{Batch, Selection};
use crate::error::{Error, Result};
use crate::exec::driver::Driver;
use crate::exec::query::{Chunk, NodeCounters, Worker};
use crate::exec::stream::{Emit, Source, Task};
use crate::expr::Expr;
use crate::gather::{gather, slice};
use crate::metadata_aggregates::Totals;
use crate::runtime_filter::RuntimeFilter;
use crate::source::{Morsel, MorselSource};
use crate::types::DataType;

/// Below one row in so many left by the filters, the other columns are decoded for those rows only.
const SPARSE: usize = 2;
/// Below one row in so many left, the columns of later filters are decoded for those rows only.
const LATE: usize = 8;
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
        if let Some(bound) = self.filter.bound() {
            return bound.is_set();
        }
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
    /// Applied first.
    pub filters: Filters,
    /// Applied after `filters`.
    pub runtime_filters: Vec<AppliedFilter>,
    /// Takes what morsels know without decoding.
    pub totals: Option<Arc<Totals>>,
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
        Ok(Some(Box::new(ScanTask::new(
            Arc::clone(&self.shape),
            morsel,
        ))))
    }
}

/// A morsel being read, piece by piece.
struct ScanTask {
    shape: Arc<ScanShape>,
    morsel: Box<dyn Morsel>,
    /// The rows of the piece at hand.
    piece: Range<usize>,
    /// Its columns; those not loaded are empty, and nobody looks at them.
    batch: Batch,
    loaded: Vec<bool>,
    /// An empty vector of each column.
    empty: Vec<Arc<Vector>>,
    /// Rows of pieces that few were left of, dense.
    waiting: Vec<Vector>,
    waiting_rows: usize,
    /// The filters in the order in which they are applied: none when all rows of the morsel pass them.
    order: Vec<usize>,
    /// The next piece goes through all filters whole.
    trying: bool,
}

impl Task for ScanTask {
    fn run(mut self: Box<Self>, worker: &Worker<'_>, emit: &mut Emit<'_>) -> Result<()> {
        let shape = Arc::clone(&self.shape);
        let counters = worker.query.node(shape.id);
        let rows = self.morsel.rows();
        NodeCounters::add(&counters.rows_in, rows as u64);
        NodeCounters::add(&counters.batches, 1);
        if let Some(totals) = &shape.totals {
            if let Some(summaries) = self.morsel.summaries() {
                totals.add(rows as u64, &summaries);
                NodeCounters::add(&counters.rows_out, rows as u64);
                return Ok(());
            }
        }
        let mut emit = |chunk: Chunk| {
            NodeCounters::add(&counters.rows_out, chunk.rows() as u64);
            emit(chunk)
        };
        if !self.morsel.passes_filters() {
            (self.order, self.trying) = shape.filters.order(self.morsel.is_encoded());
        }
        let visible = self.morsel.visible();
        let step = worker.query.batch_rows;
        for from in (0..rows).step_by(step) {
            let piece = from..(from + step).min(rows);
            let selection = part_of(&visible, &piece);
            let read = counters.timed(|| self.read(worker, piece, selection));
            let left = match read {
                Ok(left) => left,
                Err(error) => {
                    // The rows before the failing one go out first.
                    self.emit_waiting(&mut emit)?;
                    return Err(error);
                }
            };
            if let Some(selection) = left {
                self.emit_waiting(&mut emit)?;
                let batch = self.batch.clone();
                emit(Chunk { batch, selection })?;
            } else if self.waiting_rows >= step {
                self.emit_waiting(&mut emit)?;
            }
        }
        self.emit_waiting(&mut emit)
    }
}

/// The rows of `piece` that `visible` holds, counted from the piece's start.
fn part_of(visible: &Selection, piece: &Range<usize>) -> Selection {
    match visible {
        Selection::All(rows) => Selection::All(piece.end.min(*rows).saturating_sub(piece.start)),
        Selection::Indices(rows) => {
            let low = rows.partition_point(|&row| (row as usize) < piece.start);
            let high = rows.partition_point(|&row| (row as usize) < piece.end);
            let start = piece.start as u32;
            Selection::Indices(rows[low..high].iter().map(|row| row - start).collect())
        }
    }
}

impl ScanTask {
    fn new(shape: Arc<ScanShape>, morsel: Box<dyn Morsel>) -> Self {
        let empty = |t: &DataType| Vector::empty(t.physical());
        let columns: Vec<Arc<Vector>> = shape.types.iter().map(|t| Arc::new(empty(t))).collect();
        Self {
            morsel,
            piece: 0..0,
            batch: Batch::default(),
            loaded: vec![false; columns.len()],
            empty: columns,
            waiting: shape.types.iter().map(empty).collect(),
            waiting_rows: 0,
            order: Vec::new(),
            trying: false,
            shape,
        }
    }

    /// Filters a piece. What is left of it is in `batch`, or, when that is little, among the waiting rows.
    fn read(
        &mut self,
        worker: &Worker<'_>,
        piece: Range<usize>,
        visible: Selection,
    ) -> Result<Option<Selection>> {
        self.batch.columns.clear();
        self.batch.columns.extend(self.empty.iter().map(Arc::clone));
        self.batch.rows = piece.len();
        self.loaded.fill(false);
        self.piece = piece;
        let selection = self.filter(worker, visible)?;
        if selection.is_empty() {
            return Ok(None);
        }
        if selection.len() * SPARSE < self.piece.len() {
            self.keep(&selection)?;
            return Ok(None);
        }
        for column in 0..self.loaded.len() {
            self.load(column)?;
        }
        Ok(Some(selection))
    }

    /// Steps 1 and 2.
    fn filter(&mut self, worker: &Worker<'_>, visible: Selection) -> Result<Selection> {
        let shape = Arc::clone(&self.shape);
        let (bounds, others): (Vec<_>, Vec<_>) = shape
            .runtime_filters
            .iter()
            .filter(|applied| applied.is_worthwhile())
            .partition(|applied| applied.filter.bound().is_some());
        let mut selection = visible;
        for applied in bounds {
            selection = self.apply_runtime(worker, applied, selection)?;
        }
        if std::mem::take(&mut self.trying) {
            selection = self.try_filters(worker, &shape.filters, selection)?;
        } else {
            for at in 0..self.order.len() {
                if selection.is_empty() {
                    return Ok(selection);
                }
                let filter = &shape.filters.exprs()[self.order[at]];
                selection = self.apply(worker, filter, selection)?;
            }
        }
        for applied in others {
            selection = self.apply_runtime(worker, applied, selection)?;
        }
        Ok(selection)
    }

    /// Applies a runtime filter to the rows that are left.
    fn apply_runtime(
        &mut self,
        worker: &Worker<'_>,
        applied: &AppliedFilter,
        mut selection: Selection,
    ) -> Result<Selection> {
        if selection.is_empty() {
            return Ok(selection);
        }
        let before = selection.len();
        let column = applied.column;
        if self.is_late(&selection, &[column]) {
            let batch = self.dense(&selection, &[column])?;
            let all = Selection::All(batch.rows);
            let kept = applied.filter.apply(&batch.columns[column], all);
            selection = narrow(&selection, kept);
        } else {
            self.load(column)?;
            selection = applied.filter.apply(&self.batch.columns[column], selection);
        }
        let dropped = (before - selection.len()) as u64;
        applied
            .rows_seen
            .fetch_add(before as u64, Ordering::Relaxed);
        applied.rows_dropped.fetch_add(dropped, Ordering::Relaxed);
        NodeCounters::add(&worker.query.node(self.shape.id).runtime_filtered, dropped);
        Ok(selection)
    }

    /// Applies a filter to the rows that are left.
    fn apply(
        &mut self,
        worker: &Worker<'_>,
        filter: &Expr,
        selection: Selection,
    ) -> Result<Selection> {
        let columns = filter.columns();
        if self.is_late(&selection, &columns) {
            let batch = self.dense(&selection, &columns)?;
            let kept = filter.filter(&worker.eval, &batch, Selection::All(batch.rows))?;
            return Ok(narrow(&selection, kept));
        }
        if let Some(kept) = self.filter_encoded(worker, filter, &columns, &selection)? {
            return Ok(kept);
        }
        for column in columns {
            self.load(column)?;
        }
        filter.filter(&worker.eval, &self.batch, selection)
    }

    /// Applies a filter to a column that is not decoded; `None`: it must be.
    fn filter_encoded(
        &mut self,
        worker: &Worker<'_>,
        filter: &Expr,
        columns: &[usize],
        selection: &Selection,
    ) -> Result<Option<Selection>> {
        let rows = self.piece.len();
        let ([column], true) = (columns, *selection == Selection::All(rows)) else {
            return Ok(None);
        };
        if self.loaded[*column] {
            return Ok(None);
        }
        let Some((_, low, high)) = filter.integer_range(&worker.eval)? else {
            return Ok(None);
        };
        let (source, piece) = (self.shape.columns[*column], self.piece.clone());
        let mut kept = Vec::with_capacity(rows);
        if !self
            .morsel
            .select_within(source, piece, (low, high), &mut kept)?
        {
            return Ok(None);
        }
        Ok(Some(match kept.len() == rows {
            true => Selection::All(rows),
            false => Selection::Indices(kept),
        }))
    }

    /// Applies every filter to all rows, to learn what each is worth, and sorts them by that.
    fn try_filters(
        &mut self,
        worker: &Worker<'_>,
        filters: &Filters,
        visible: Selection,
    ) -> Result<Selection> {
        let mut selection = visible.clone();
        for (number, filter) in filters.exprs().iter().enumerate() {
            let began = Instant::now();
            let left = self.apply(worker, filter, visible.clone())?;
            filters.note(
                self.morsel.is_encoded(),
                number,
                (visible.len(), left.len()),
                began,
            );
            selection = order::both(&selection, &left);
        }
        filters.sort(self.morsel.is_encoded(), &mut self.order);
        Ok(selection)
    }

    /// Whether so few rows are left that columns not loaded yet are better decoded for those only.
    fn is_late(&self, selection: &Selection, columns: &[usize]) -> bool {
        selection.len() * LATE < self.piece.len() && columns.iter().any(|&c| !self.loaded[c])
    }

    /// The selected rows of some columns, dense.
    fn dense(&mut self, selection: &Selection, columns: &[usize]) -> Result<Batch> {
        let indices = selection.indices();
        let start = self.piece.start as u32;
        let rows: Vec<u32> = indices.iter().map(|row| start + row).collect();
        let mut dense = self.empty.clone();
        for &column in columns {
            let mut values = Vector::empty(self.shape.types[column].physical());
            if self.loaded[column] {
                values = gather(&self.batch.columns[column], &indices);
            } else {
                let source = self.shape.columns[column];
                self.morsel.load_selected(source, &rows, &mut values)?;
            }
            if values.len() != rows.len()
                || values.physical() != self.shape.types[column].physical()
            {
                return Err(wrong_column());
            }
            dense[column] = Arc::new(values);
        }
        Ok(Batch {
            columns: dense,
            rows: rows.len(),
        })
    }

    /// Step 3 when few rows are left.
    fn keep(&mut self, selection: &Selection) -> Result<()> {
        let indices = selection.indices();
        let start = self.piece.start as u32;
        let rows: Vec<u32> = indices.iter().map(|row| start + row).collect();
        self.waiting_rows += rows.len();
        for (number, waiting) in self.waiting.iter_mut().enumerate() {
            if self.loaded[number] {
                let some = gather(&self.batch.columns[number], &indices);
                match waiting.is_empty() {
                    true => *waiting = some,
                    false => waiting.append(&some).map_err(stored)?,
                }
            } else {
                let column = self.shape.columns[number];
                self.morsel.load_selected(column, &rows, waiting)?;
            }
            if waiting.len() != self.waiting_rows
                || waiting.physical() != self.shape.types[number].physical()
            {
                return Err(wrong_column());
            }
        }
        Ok(())
    }

    fn emit_waiting(&mut self, emit: &mut Emit<'_>) -> Result<()> {
        if self.waiting_rows == 0 {
            return Ok(());
        }
        let empty = |t: &DataType| Vector::empty(t.physical());
        let next = self.shape.types.iter().map(empty).collect();
        let columns = std::mem::replace(&mut self.waiting, next);
        let rows = std::mem::take(&mut self.waiting_rows);
        let columns = columns.into_iter().map(Arc::new).collect();
        emit(Chunk::all(Batch::new(columns, rows)))
    }

    fn load(&mut self, column: usize) -> Result<()> {
        if self.loaded[column] {
            return Ok(());
        }
        let piece = self.piece.clone();
        let loaded = self.morsel.load(self.shape.columns[column], piece)?;
        if loaded.len() != self.piece.len()
            || loaded.physical() != self.shape.types[column].physical()
        {
            return Err(wrong_column());
        }
        self.batch.columns[column] = loaded;
        self.loaded[column] = true;
        Ok(())
    }
}

/// The rows of `outer` at the positions `kept`.
fn narrow(outer: &Selection, kept: Selection) -> Selection {
    match (outer, kept) {
        (_, Selection::All(rows)) if rows == outer.len() => outer.clone(),
        (Selection::Indices(outer), Selection::Indices(mut kept)) => {
            kept.iter_mut().for_each(|at| *at = outer[*at as usize]);
            Selection::Indices(kept)
        }
        (_, kept) => Selection::Indices(kept.iter().map(|at| outer.row(at) as u32).collect()),
    }
}

fn wrong_column() -> Error {
    Error::internal("a source's column has the wrong length or layout")
}

fn stored(error: doris_storage::Error) -> Error {
    match error {
        doris_storage::Error::OutOfMemory => Error::OutOfMemory,
        error => Error::damaged(error.to_string()),
    }
}

/// Emits `chunk` in pieces of about `batch_rows` rows.
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
