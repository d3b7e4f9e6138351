// SPDX-License-Identifier: Apache-2.0
//! Window functions over rows that come in the window's order.
//!
//! ```text
//! sorted batches --> pieces: arguments, where partitions and peer groups start   (one task a batch)
//!                --> sections: some whole partitions --> results                  (one task a section)
//!                --> the batches as they came, with the results beside them
//! ```
//! Everything is computed before the first row goes out, so that PostgreSQL's plan can take over wherever an
//! error comes up: it computes row by row, and may never reach the row that fails here.
//!
//! In the order data travels: `piece` looks at batches, `section` at partitions, `frame` finds a row's frame;
//! `range` frames by values; `rank`, `pick` and `aggregate` are the functions.

mod aggregate;

mod frame;

mod piece;

mod pick;

mod range;

mod rank;

mod section;

use std::sync::{Arc, Mutex};

use doris_storage::vector::Vector;

use self::piece::Piece;
use self::section::{Section, Slice};
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::exec::driver::{lock, Driver};
use crate::exec::query::{Chunk, NodeCounters, Worker};
use crate::exec::stream::{Emit, Stream, Task, Tasks};
use crate::gather::{memory_bytes, slice};
use crate::memory::Reservation;
use crate::plan::{FrameUnit, Window, WindowCall, WindowFunction};

/// Batches' rows that a section has at least, unless they are the last.
const SECTION_BATCHES: usize = 8;
/// Bytes a row that a section takes while it is computed, beside arguments and results.
const WORKING_BYTES: usize = 40;

/// Computes the calls of `window` over `input` and returns the stream of its rows, in their order.
pub fn open(driver: &Driver, id: u32, input: Stream, window: &Window) -> Result<Stream> {
    evaluate(driver, id, input, window).map_err(left_to_postgres)
}

/// PostgreSQL might not come to the row of an error: its plan is to say.
fn left_to_postgres(error: Error) -> Error {
    match error {
        Error::Cancelled | Error::OutOfMemory | Error::Internal(_) | Error::External(_) => error,
        other if other.needs_postgres() => other,
        other => Error::not_native(format!("a window function's error: {other}")),
    }
}

fn evaluate(driver: &Driver, id: u32, input: Stream, window: &Window) -> Result<Stream> {
    let mut memory = Reservation::new(&driver.query.budget);
    let batches = collect(driver, id, input, &mut memory)?;
    let mut pieces: Vec<Option<Piece>> = batches.iter().map(|_| None).collect();
    let work = batches.into_iter().zip(&mut pieces).collect();
    driver.for_all(work, &|worker, (batch, piece)| {
        let counters = worker.query.node(id);
        *piece = Some(counters.timed(|| Piece::new(worker, batch, window))?);
        Ok(())
    })?;
    let mut pieces: Vec<Piece> = pieces.into_iter().flatten().collect();
    piece::join_keys(&mut pieces);
    let arguments: usize = pieces.iter().map(Piece::argument_bytes).sum();
    let rows: usize = pieces.iter().map(|piece| piece.batch.rows).sum();
    memory.grow(arguments + rows * result_bytes(window))?;
    let slices = section::cut(&pieces, driver.query.batch_rows * SECTION_BATCHES);
    let mut results: Vec<Vec<Arc<Vector>>> = vec![Vec::new(); slices.len()];
    let work = slices.iter().zip(&mut results).collect();
    let working = Mutex::new(Reservation::new(&driver.query.budget));
    driver.for_all(work, &|worker, (slices, results)| {
        let counters = worker.query.node(id);
        let bytes = section::bytes(&pieces, slices, WORKING_BYTES);
        lock(&working).grow(bytes)?;
        *results = counters.timed(|| compute(worker, &pieces, slices, window))?;
        let mut working = lock(&working);
        let left = working.bytes().saturating_sub(bytes);
        working.resize(left)
    })?;
    let batches = pieces.into_iter().map(|piece| piece.batch).collect();
    let bytes: usize = results.iter().flatten().map(|v| memory_bytes(v)).sum();
    memory.grow(bytes.saturating_sub(arguments + rows * result_bytes(window)))?;
    let counters = driver.query.node(id);
    NodeCounters::add(&counters.rows_out, rows as u64);
    NodeCounters::raise(&counters.memory_bytes, memory.bytes() as u64);
    Ok(stream_of(batches, slices, results, memory))
}

/// All input batches, in order.
fn collect(
    driver: &Driver,
    id: u32,
    mut input: Stream,
    memory: &mut Reservation,
) -> Result<Vec<Batch>> {
    let mut batches = Vec::new();
    while let Some(chunks) = input.next_round(driver)? {
        for chunk in chunks.into_iter().filter(|chunk| chunk.rows() > 0) {
            let batch = chunk.into_batch();
            memory.grow(batch.columns.iter().map(|c| memory_bytes(c)).sum())?;
            let counters = driver.query.node(id);
            NodeCounters::add(&counters.rows_in, batch.rows as u64);
            NodeCounters::add(&counters.batches, 1);
            batches.push(batch);
        }
    }
    Ok(batches)
}

/// Bytes a row of fixed-width results.
fn result_bytes(window: &Window) -> usize {
    let calls = window.calls.iter().flat_map(WindowCall::output_types);
    calls.map(|_| 16).sum()
}

/// The results of one section.
fn compute(
    worker: &Worker<'_>,
    pieces: &[Piece],
    slices: &[Slice],
    window: &Window,
) -> Result<Vec<Arc<Vector>>> {
    let section = Section::new(pieces, slices, window.range.as_ref())?;
    let mut out = Vec::new();
    for (number, call) in window.calls.iter().enumerate() {
        worker.query.check()?;
        let inputs = section::inputs(pieces, slices, number, call)?;
        let vectors = match call.function {
            WindowFunction::Aggregate(function) => aggregate::compute(
                function,
                &section,
                &window.frame,
                &inputs,
                call,
                worker.query,
            )?,
            WindowFunction::Offset(_)
            | WindowFunction::First
            | WindowFunction::Last
            | WindowFunction::Nth(_) => {
                vec![pick::compute(
                    call.function,
                    &section,
                    &window.frame,
                    &inputs,
                )?]
            }
            function => vec![rank::compute(function, &section)],
        };
        out.extend(vectors.into_iter().map(Arc::new));
    }
    Ok(out)
}

/// The stream of a window's rows.
fn stream_of(
    batches: Vec<Batch>,
    slices: Vec<Vec<Slice>>,
    results: Vec<Vec<Arc<Vector>>>,
    memory: Reservation,
) -> Stream {
    let shared = Arc::new(Finished {
        batches,
        _memory: Mutex::new(memory),
    });
    let task = |(slices, results)| {
        Box::new(Emitted {
            shared: Arc::clone(&shared),
            slices,
            results,
        }) as Box<dyn Task>
    };
    let tasks = slices.into_iter().zip(results).map(task).collect();
    Stream::new(Box::new(Tasks(tasks)))
}

/// What tasks share.
struct Finished {
    batches: Vec<Batch>,
    _memory: Mutex<Reservation>,
}

/// A section's rows with their results.
struct Emitted {
    shared: Arc<Finished>,
    slices: Vec<Slice>,
    results: Vec<Arc<Vector>>,
}

impl Task for Emitted {
    fn run(self: Box<Self>, worker: &Worker<'_>, emit: &mut Emit<'_>) -> Result<()> {
        let mut at = 0;
        for part in &self.slices {
            worker.query.check()?;
            let batch = &self.shared.batches[part.piece];
            let whole = part.rows.len() == batch.rows;
            let mut columns: Vec<Arc<Vector>> = Vec::with_capacity(batch.columns.len());
            for column in &batch.columns {
                columns.push(match whole {
                    true => Arc::clone(column),
                    false => Arc::new(slice(column, part.rows.start, part.rows.end)),
                });
            }
            let end = at + part.rows.len();
            for result in &self.results {
                columns.push(Arc::new(slice(result, at, end)));
            }
            at = end;
            emit(Chunk::all(Batch::new(columns, part.rows.len())))?;
        }
        Ok(())
    }
}

/// Whether a call can run here; the planner's check.
pub fn check(window: &Window) -> Result<()> {
    let frame = &window.frame;
    let counted = |bound| {
        matches!(
            bound,
            crate::plan::Bound::Preceding(_) | crate::plan::Bound::Following(_)
        )
    };
    let range = window.range.as_ref();
    let missing = |bound, expr: Option<&crate::expr::Expr>| counted(bound) && expr.is_none();
    if frame.unit == FrameUnit::Range
        && (missing(frame.start, range.and_then(|r| r.start.as_ref()))
            || missing(frame.end, range.and_then(|r| r.end.as_ref())))
    {
        return Err(Error::not_native("RANGE with an offset"));
    }
    let integer = |expr: &crate::expr::Expr| {
        use doris_storage::vector::Physical;
        matches!(
            expr.data_type().physical(),
            Physical::I16 | Physical::I32 | Physical::I64 | Physical::I128
        )
    };
    if !range.into_iter().flat_map(|r| r.exprs()).all(integer) {
        return Err(Error::not_native("RANGE over values that are no integers"));
    }
    for expr in window.partition.iter().chain(&window.order) {
        piece::key_column(expr)?;
    }
    for call in &window.calls {
        if let WindowFunction::Aggregate(function) = call.function {
            aggregate::check(function, call)?;
        }
        let types = call.argument.as_ref().zip(call.default.as_ref());
        if types.is_some_and(|(a, d)| a.data_type() != d.data_type()) {
            return Err(Error::not_native(
                "lag or lead with a default of another type",
            ));
        }
        if !call.exprs().all(crate::expr::Expr::is_native) {
            return Err(Error::not_native("an argument that PostgreSQL computes"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
