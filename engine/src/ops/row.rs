// SPDX-License-Identifier: Apache-2.0
//! Operators that look at one row at a time: filter and projection.

use crate::batch::Batch;
use crate::error::Result;
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
        let rows = chunk.rows();
        NodeCounters::add(&counters.rows_in, rows as u64);
        NodeCounters::add(&counters.rows_out, rows as u64);
        let columns: Result<Vec<_>> = counters.timed(|| {
            self.exprs
                .iter()
                .map(|expr| worker.eval(expr, &chunk))
                .collect()
        });
        emit(Chunk::all(Batch {
            columns: columns?,
            rows,
        }))
    }

    fn needs_driver(&self) -> bool {
        !self.exprs.iter().all(Expr::is_native)
    }
}
