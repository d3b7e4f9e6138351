// SPDX-License-Identifier: Apache-2.0
//! Operators that look at one row at a time: filter and projection.

use crate::batch::{Batch, Selection};
use crate::error::{Error, Result};
use crate::exec::query::{Chunk, NodeCounters, Worker};
use crate::exec::stream::{Emit, Stage};
use crate::expr::Expr;

/// Keeps the rows for which the predicate is true.
pub struct Filter {
    /// The plan node.
    pub id: u32,
    /// A boolean expression.
    pub predicate: Expr,
}

impl Stage for Filter {
    fn push(&self, worker: &Worker<'_>, chunk: Chunk, emit: &mut Emit<'_>) -> Result<()> {
        let counters = worker.query.node(self.id);
        NodeCounters::add(&counters.rows_in, chunk.rows() as u64);
        let Chunk { batch, selection } = chunk;
        let selection =
            counters.timed(|| self.predicate.filter(&worker.eval, &batch, selection))?;
        NodeCounters::add(&counters.rows_out, selection.len() as u64);
        emit(Chunk { batch, selection })
    }

    fn needs_driver(&self) -> bool {
        !self.predicate.is_native()
    }
}

/// Computes columns.
pub struct Project {
    /// The plan node.
    pub id: u32,
    /// One an output column.
    pub exprs: Vec<Expr>,
}

impl Stage for Project {
    fn push(&self, worker: &Worker<'_>, chunk: Chunk, emit: &mut Emit<'_>) -> Result<()> {
        let counters = worker.query.node(self.id);
        let rows = chunk.rows() as u64;
        NodeCounters::add(&counters.rows_in, rows);
        NodeCounters::add(&counters.rows_out, rows);
        self.project(worker, &chunk.batch, &chunk.selection, emit)
    }

    fn needs_driver(&self) -> bool {
        !self.exprs.iter().all(Expr::is_native)
    }
}

impl Project {
    /// Emits the selected rows: half of them after the other where all would be too large.
    fn project(
        &self,
        worker: &Worker<'_>,
        batch: &Batch,
        selection: &Selection,
        emit: &mut Emit<'_>,
    ) -> Result<()> {
        let rows = selection.len();
        let texts = worker.eval.text_bytes();
        let columns = |expr: &Expr| expr.eval(&worker.eval, batch, selection);
        let columns: Result<Vec<_>> = worker
            .query
            .node(self.id)
            .timed(|| self.exprs.iter().map(columns).collect());
        match columns {
            Ok(columns) => emit(Chunk::all(Batch { columns, rows })),
            Err(Error::OutOfMemory) if rows > 1 && !self.needs_driver() => {
                selection.halves().iter().try_for_each(|half| {
                    // Those of the first half have gone on.
                    worker.eval.forget_texts(texts);
                    self.project(worker, batch, half, emit)
                })
            }
            Err(error) => Err(error),
        }
    }
}
