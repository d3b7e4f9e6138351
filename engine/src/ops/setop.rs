// SPDX-License-Identifier: Apache-2.0
//! INTERSECT and EXCEPT: count each different row on either side, then return it as often as the counts say.

use std::sync::Arc;

use doris_storage::vector::{Values, Vector};

use super::aggregate;
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::exec::driver::Driver;
use crate::exec::query::{Chunk, Worker};
use crate::exec::stream::{Emit, Stage, Stream};
use crate::expr::{CompareOp, Expr};
use crate::gather::gather;
use crate::plan::{AggregateCall, AggregateFunction, GroupKey, SetOpKind};
use crate::types::DataType;

/// Appends two columns: 1 and 0 for rows of the left, 0 and 1 for those of the right.
struct Mark {
    left: bool,
}

impl Stage for Mark {
    fn push(&self, _: &Worker<'_>, chunk: Chunk, emit: &mut Emit<'_>) -> Result<()> {
        let Chunk {
            mut batch,
            selection,
        } = chunk;
        for mark in [self.left, !self.left] {
            let values = Values::I32(vec![i32::from(mark); batch.rows]);
            batch.columns.push(Arc::new(Vector {
                values,
                validity: None,
            }));
        }
        emit(Chunk { batch, selection })
    }
}

/// Returns each row as often as its counts say.
struct Repeat {
    kind: SetOpKind,
    all: bool,
}

impl Repeat {
    fn times(&self, left: i64, right: i64) -> i64 {
        match (self.kind, self.all) {
            (SetOpKind::Intersect, true) => left.min(right),
            (SetOpKind::Intersect, false) => i64::from(left > 0 && right > 0),
            (SetOpKind::Except, true) => (left - right).max(0),
            (SetOpKind::Except, false) => i64::from(left > 0 && right == 0),
        }
    }
}

impl Stage for Repeat {
    fn push(&self, worker: &Worker<'_>, chunk: Chunk, emit: &mut Emit<'_>) -> Result<()> {
        let Batch { mut columns, rows } = chunk.into_batch();
        let (right, left) = (columns.pop(), columns.pop());
        let (Some(Values::I64(left)), Some(Values::I64(right))) = (
            left.as_ref().map(|c| &c.values),
            right.as_ref().map(|c| &c.values),
        ) else {
            return Err(Error::internal("a set operation without its counts"));
        };
        let mut picks = Vec::new();
        for row in 0..rows {
            for _ in 0..self.times(left[row], right[row]) {
                picks.push(row as u32);
                if picks.len() >= worker.query.batch_rows {
                    worker.query.check()?;
                    emit_rows(&columns, &std::mem::take(&mut picks), emit)?;
                }
            }
        }
        emit_rows(&columns, &picks, emit)
    }
}

fn emit_rows(columns: &[Arc<Vector>], rows: &[u32], emit: &mut Emit<'_>) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let columns = columns
        .iter()
        .map(|column| Arc::new(gather(column, rows)))
        .collect();
    emit(Chunk::all(Batch {
        columns,
        rows: rows.len(),
    }))
}

/// The stream of a set operation.
pub fn open(
    driver: &Driver,
    id: u32,
    (kind, all): (SetOpKind, bool),
    left: Stream,
    right: Stream,
    types: &[DataType],
) -> Result<Stream> {
    if types.is_empty() {
        return Err(Error::not_native("a set operation on no columns"));
    }
    let both = left
        .through(Arc::new(Mark { left: true }))
        .then(right.through(Arc::new(Mark { left: false })));
    let key = |(number, &t): (usize, &DataType)| GroupKey {
        expr: Expr::column(number, t),
        nullable: true,
    };
    let keys: Vec<GroupKey> = types.iter().enumerate().map(key).collect();
    let count = |column: usize| AggregateCall {
        function: AggregateFunction::Sum,
        argument: Some(Expr::column(column, DataType::Int4)),
        distinct: false,
        filter: None,
    };
    let calls = [count(types.len()), count(types.len() + 1)];
    // A row that comes out looks like one of the left.
    let left = Expr::column(types.len(), DataType::Int4);
    let left = Expr::compare(CompareOp::Eq, left, Expr::int4(1))?;
    let counted = aggregate::open_any(driver, id, both, &keys, &calls, Some(&left))?;
    Ok(counted.through(Arc::new(Repeat { kind, all })))
}

#[cfg(test)]
mod tests;
