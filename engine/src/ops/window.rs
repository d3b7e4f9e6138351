// SPDX-License-Identifier: Apache-2.0
//! Window functions over rows that come in the window's order.
//!
//! ```text
//! sorted batches --> input batches: arguments, where partitions and peer groups start (one task a batch)
//!                --> partition runs: some whole partitions --> results                     (one task a run)
//!                --> the batches as they came, with the results beside them
//! ```
//! Everything is computed before the first row goes out, so that PostgreSQL's plan can take over wherever an
//! error comes up: it computes row by row, and may never reach the row that fails here. When memory runs out, whole
//! partitions go to a file with their results; a single partition must fit.
//!
//! In the order data travels: `row_buffer` collects batches, `input_batch` looks at them, `partition_run` at
//! partitions, `frame` finds a row's frame; `range` frames by values; `rank`, `value_functions`, `aggregate` and
//! `collect` are the functions.

mod row_buffer;

mod input_batch;

mod partition_run;

mod frame;

mod range;

mod rank;

mod value_functions;

mod aggregate;

mod collect;

use std::sync::{Arc, Mutex};

use doris_storage::vector::Vector;

use self::input_batch::InputBatch;
use self::partition_run::{PartitionRun, Slice};
use self::row_buffer::RowBuffer;
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::exec::driver::Driver;
use crate::exec::query::{Chunk, Worker};
use crate::exec::stream::{Emit, Stream, Task};
use crate::gather::slice;
use crate::memory::Reservation;
use crate::plan::{
    AggregateFunction, FrameUnit, RangeLimit, RangeOffsets, Window, WindowCall, WindowFunction,
};

/// Computes the calls of `window` over `input` and returns the stream of its rows, in their order.
pub fn open(driver: &Driver, id: u32, input: Stream, window: &Window) -> Result<Stream> {
    evaluate(driver, id, input, window).map_err(left_to_postgres)
}

/// PostgreSQL might not come to the row of an error: its plan is to say.
fn left_to_postgres(error: Error) -> Error {
    match error {
        Error::Cancelled
        | Error::OutOfMemory
        | Error::Damaged(_)
        | Error::Internal(_)
        | Error::External(_) => error,
        other if other.needs_postgres() => other,
        other => Error::not_native(format!("a window function's error: {other}")),
    }
}

fn evaluate(driver: &Driver, id: u32, mut input: Stream, window: &Window) -> Result<Stream> {
    let mut buffer = RowBuffer::new(driver, id, window);
    while let Some(chunks) = input.next_round(driver)? {
        for chunk in chunks.into_iter().filter(|chunk| chunk.rows() > 0) {
            buffer.add(chunk.into_batch())?;
        }
    }
    buffer.finish()
}

/// Bytes a row of fixed-width results.
fn result_bytes(window: &Window) -> usize {
    let calls = window.calls.iter().flat_map(WindowCall::output_types);
    calls.map(|_| 16).sum()
}

/// The results of one partition run; `memory` grows by those whose size only their values tell.
fn compute(
    worker: &Worker<'_>,
    input_batches: &[InputBatch],
    slices: &[Slice],
    window: &Window,
    memory: &mut Reservation,
) -> Result<Vec<Arc<Vector>>> {
    let partition_run = PartitionRun::new(input_batches, slices, window.range.as_deref())?;
    let mut out = Vec::new();
    for (number, call) in window.calls.iter().enumerate() {
        worker.query.check()?;
        let inputs = partition_run::inputs(input_batches, slices, number, call)?;
        let vectors = match call.function {
            WindowFunction::Aggregate(AggregateFunction::Collect { result, .. }) => {
                let frame = &window.frame;
                vec![collect::compute(
                    result,
                    &partition_run,
                    frame,
                    &inputs,
                    call,
                    worker.query,
                    memory,
                )?]
            }
            WindowFunction::Aggregate(function) => aggregate::compute(
                function,
                &partition_run,
                &window.frame,
                &inputs,
                call,
                worker.query,
            )?,
            WindowFunction::Offset(_)
            | WindowFunction::First
            | WindowFunction::Last
            | WindowFunction::Nth(_) => {
                vec![value_functions::compute(
                    call.function,
                    &partition_run,
                    &window.frame,
                    &inputs,
                )?]
            }
            function => vec![rank::compute(function, &partition_run)],
        };
        out.extend(vectors.into_iter().map(Arc::new));
    }
    Ok(out)
}

/// What tasks share.
struct Finished {
    batches: Vec<Batch>,
    _memory: Mutex<Reservation>,
}

/// A partition run's rows with their results.
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
            let batch = &self.shared.batches[part.input_batch];
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
    let missing = |bound, limit: Option<&RangeLimit>| counted(bound) && limit.is_none();
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
    let added = |r: &RangeOffsets| r.exprs().all(integer);
    if !range.is_none_or(|r| r.is_of_floats() || added(r)) {
        return Err(Error::not_native("RANGE over values that are no integers"));
    }
    for expr in window.partition.iter().chain(&window.order) {
        input_batch::key_column(expr)?;
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
