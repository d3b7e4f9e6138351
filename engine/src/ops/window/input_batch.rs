// SPDX-License-Identifier: Apache-2.0
//! One batch: its evaluated arguments, and where partitions and groups of peers start.

use std::sync::Arc;

use doris_storage::vector::Vector;

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::exec::query::{Chunk, Worker};
use crate::expr::Expr;
use crate::ops::sort::normal::{Column, NormalKeys};
use crate::plan::{RangeLimit, Window, WindowCall};
use crate::types::{Collation, DataType};

/// Whether a row differs from the row before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Start {
    /// A peer of the row before.
    Nothing,
    /// The first of its peers.
    Group,
    /// The first of its partition.
    Partition,
}

/// A call's evaluated expressions, dense over a batch's rows.
pub struct Evaluated {
    pub argument: Option<Arc<Vector>>,
    pub default: Option<Arc<Vector>>,
    pub filter: Option<Arc<Vector>>,
}

/// The evaluated ends of frames by value.
pub struct RangeValues {
    pub key: Arc<Vector>,
    pub start: Option<Arc<Vector>>,
    pub end: Option<Arc<Vector>>,
}

/// A batch, looked at.
pub struct InputBatch {
    pub batch: Batch,
    /// By call.
    pub calls: Vec<Evaluated>,
    /// By row.
    pub starts: Vec<Start>,
    /// For RANGE with offsets: the key, and the values at which the frame starts and ends where they are computed.
    pub range: Option<RangeValues>,
    first: Keys,
    last: Keys,
}

/// A row's key.
#[derive(Default, PartialEq)]
struct Keys {
    partition: Vec<u8>,
    order: Vec<u8>,
}

/// How a key is told apart from others: equal values have equal bytes.
pub fn key_column(expr: &Expr) -> Result<Column> {
    let data_type = expr.data_type();
    match data_type {
        DataType::Text {
            collation: Collation::Other,
        }
        | DataType::Bpchar {
            collation: Collation::Other,
        }
        | DataType::Interval
        | DataType::Opaque { .. } => Err(Error::not_native(format!("a window by {data_type}"))),
        _ => Ok(Column {
            data_type,
            descending: false,
            nulls_first: false,
            nullable: true,
        }),
    }
}

impl InputBatch {
    /// Looks at a batch of at least one row.
    pub fn new(worker: &Worker<'_>, batch: Batch, window: &Window) -> Result<Self> {
        let chunk = Chunk::all(batch);
        let partition = encode(worker, &chunk, &window.partition)?;
        let order = encode(worker, &chunk, &window.order)?;
        let rows = chunk.batch.rows;
        let start = |row: usize| match row {
            0 => Start::Partition,
            _ if partition.get(row) != partition.get(row - 1) => Start::Partition,
            _ if order.get(row) != order.get(row - 1) => Start::Group,
            _ => Start::Nothing,
        };
        let starts = (0..rows).map(start).collect();
        let keys = |row: usize| Keys {
            partition: partition.get(row).to_vec(),
            order: order.get(row).to_vec(),
        };
        let calls = window
            .calls
            .iter()
            .map(|call| evaluated(worker, &chunk, call));
        let value = |limit: &Option<RangeLimit>| match limit {
            Some(RangeLimit::Value(limit)) => worker.eval(limit, &chunk).map(Some),
            _ => Ok(None),
        };
        let range = match &window.range {
            Some(range) => Some(RangeValues {
                key: worker.eval(&range.key, &chunk)?,
                start: value(&range.start)?,
                end: value(&range.end)?,
            }),
            None => None,
        };
        Ok(Self {
            starts,
            range,
            first: keys(0),
            last: keys(rows - 1),
            calls: calls.collect::<Result<_>>()?,
            batch: chunk.batch,
        })
    }
}

fn encode(worker: &Worker<'_>, chunk: &Chunk, exprs: &[Expr]) -> Result<NormalKeys> {
    let columns: Vec<Column> = exprs.iter().map(key_column).collect::<Result<_>>()?;
    let vectors: Vec<Arc<Vector>> = exprs
        .iter()
        .map(|expr| worker.eval(expr, chunk))
        .collect::<Result<_>>()?;
    let vectors: Vec<&Vector> = vectors.iter().map(|v| &**v).collect();
    Ok(NormalKeys::encode(&columns, &vectors, chunk.batch.rows))
}

fn evaluated(worker: &Worker<'_>, chunk: &Chunk, call: &WindowCall) -> Result<Evaluated> {
    let filter = match &call.filter {
        Some(filter) => Some(worker.eval(filter, chunk)?),
        None => None,
    };
    let eval = |expr: &Option<Expr>| match expr {
        Some(expr) => worker.eval(expr, chunk).map(Some),
        None => Ok(None),
    };
    Ok(Evaluated {
        argument: eval(&call.argument)?,
        default: eval(&call.default)?,
        filter,
    })
}

/// Compares the first row of each input batch with the last of the input batch before.
pub fn join_keys(input_batches: &mut [InputBatch]) {
    for at in 1..input_batches.len() {
        let (before, rest) = input_batches.split_at_mut(at);
        let (last, input_batch) = (&before[at - 1].last, &mut rest[0]);
        input_batch.starts[0] = match () {
            () if input_batch.first.partition != last.partition => Start::Partition,
            () if input_batch.first.order != last.order => Start::Group,
            () => Start::Nothing,
        };
    }
}
