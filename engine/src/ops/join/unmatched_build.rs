// SPDX-License-Identifier: Apache-2.0
//! What remains of a join once all probe rows have passed: build rows, by whether they were met.

use std::sync::Arc;

use super::table::JoinTable;
use super::Shape;
use crate::batch::Batch;
use crate::error::Result;
use crate::exec::driver::Driver;
use crate::exec::query::{Chunk, NodeCounters, Worker};
use crate::exec::stream::{Emit, Source, Task};
use crate::gather::{gather, nulls};
use crate::keys::KeyColumn;
use crate::plan::JoinKind;

/// Build rows that a task looks at.
const TASK_ROWS: usize = 64 * 1024;

/// The source of the remaining build rows.
pub struct UnmatchedBuild<K> {
    shape: Arc<Shape>,
    table: Arc<JoinTable<K>>,
    next: usize,
}

impl<K> UnmatchedBuild<K> {
    /// The rest of a join.
    pub fn new(shape: Arc<Shape>, table: Arc<JoinTable<K>>) -> Self {
        Self {
            shape,
            table,
            next: 0,
        }
    }
}

impl<K: KeyColumn> Source for UnmatchedBuild<K> {
    fn next(&mut self, _: &Driver) -> Result<Option<Box<dyn Task>>> {
        if self.next >= self.table.rows() {
            return Ok(None);
        }
        let from = self.next;
        self.next += TASK_ROWS;
        let (shape, table) = (Arc::clone(&self.shape), Arc::clone(&self.table));
        Ok(Some(Box::new(UnmatchedBuildTask { shape, table, from })))
    }
}

struct UnmatchedBuildTask<K> {
    shape: Arc<Shape>,
    table: Arc<JoinTable<K>>,
    from: usize,
}

impl<K: KeyColumn> Task for UnmatchedBuildTask<K> {
    fn run(self: Box<Self>, worker: &Worker<'_>, emit: &mut Emit<'_>) -> Result<()> {
        let met = self.shape.kind == JoinKind::BuildSemi;
        let to = (self.from + TASK_ROWS).min(self.table.rows());
        let wanted = |row: &u32| self.table.is_met(*row) == met;
        let rows: Vec<u32> = (self.from as u32..to as u32).filter(wanted).collect();
        NodeCounters::add(
            &worker.query.node(self.shape.id).rows_out,
            rows.len() as u64,
        );
        rows.chunks(worker.query.batch_rows)
            .try_for_each(|rows| emit(Chunk::all(self.output(rows))))
    }
}

impl<K: KeyColumn> UnmatchedBuildTask<K> {
    /// Build rows, with NULLs for the probe side.
    fn output(&self, rows: &[u32]) -> Batch {
        let width = self.shape.probe_types.len();
        let column = |&at: &usize| {
            let build = at
                .checked_sub(width)
                .and_then(|b| self.table.columns[b].as_ref());
            Arc::new(match build {
                Some(column) => gather(column, rows),
                None => {
                    let types = self.shape.probe_types.iter().chain(&self.shape.build_types);
                    let physical = types.map(|t| t.physical()).nth(at);
                    nulls(
                        physical.unwrap_or(doris_storage::vector::Physical::Bool),
                        rows.len(),
                    )
                }
            })
        };
        Batch {
            columns: self.shape.output.iter().map(column).collect(),
            rows: rows.len(),
        }
    }
}
