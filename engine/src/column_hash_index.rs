// SPDX-License-Identifier: Apache-2.0
//! Batches in memory, by the value of a column.
//!
//! Rows that are asked for again and again by `column = value` need not be looked through each time:
//! ```text
//! hash of a value -> first row with it -> next row with it -> ...        rows are numbered through all batches
//! ```
//! Values of one hash share a chain, so what is found still has to pass the filter.

use std::sync::Arc;

use doris_storage::vector::{Values, Vector};
use hashbrown::HashMap;

use crate::batch::Batch;
use crate::expr::{CompareOp, Expr, ExprKind};
use crate::gather::{gather, NO_ROW};
use crate::hash::{hash_bytes, hash_words};
use crate::types::{DataType, Scalar};

/// A value that a column is asked to equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The column.
    pub column: usize,
    /// The value's hash.
    hash: u64,
}

impl Asked {
    /// What a filter asks for, if it is the equality of a column with a constant whose equal values have the same
    /// bytes.
    pub fn of(filter: &Expr) -> Option<Self> {
        let ExprKind::Compare {
            op: CompareOp::Eq,
            left,
            right,
        } = filter.kind()
        else {
            return None;
        };
        let (column, value, of, with) = match (left.kind(), right.kind()) {
            (ExprKind::Column(column), ExprKind::Const(Some(value))) => {
                (*column, value, left.data_type(), right.data_type())
            }
            (ExprKind::Const(Some(value)), ExprKind::Column(column)) => {
                (*column, value, right.data_type(), left.data_type())
            }
            _ => return None,
        };
        let hash = hash_of_scalar(value)?;
        is_exact(of, with).then_some(Self { column, hash })
    }
}

/// Whether values of the two types are equal where their bytes are.
fn is_exact(a: DataType, b: DataType) -> bool {
    match (a, b) {
        (DataType::Numeric { scale: x, .. }, DataType::Numeric { scale: y, .. }) => x == y,
        (DataType::Text { collation: x }, DataType::Text { collation: y }) => {
            x.equals_bytes() && y.equals_bytes()
        }
        (DataType::Bytea | DataType::Uuid | DataType::Date | DataType::Time, _) => a == b,
        (DataType::Timestamp | DataType::TimestampTz, _) => a == b,
        (DataType::Int2 | DataType::Int4 | DataType::Int8, _) => a == b,
        _ => false,
    }
}

/// Rows of batches by the value of one of their columns.
pub struct ColumnHashIndex {
    column: usize,
    heads: HashMap<u64, u32>,
    next: Vec<u32>,
    /// Each batch's first row.
    starts: Vec<u32>,
}

impl ColumnHashIndex {
    /// Bytes that it takes for a row.
    pub const BYTES_PER_ROW: usize = 40;

    /// Enters the values of a column; `None` where there is no hash of them, or there are too many rows.
    pub fn new(column: usize, batches: &[Batch]) -> Option<Self> {
        let rows: usize = batches.iter().map(|batch| batch.rows).sum();
        if rows >= NO_ROW as usize {
            return None;
        }
        let mut lookup = Self {
            column,
            heads: HashMap::new(),
            next: vec![NO_ROW; rows],
            starts: Vec::with_capacity(batches.len()),
        };
        let mut row = 0;
        for batch in batches {
            lookup.starts.push(row);
            row += batch.rows as u32;
        }
        // Backwards, so that chains ascend.
        for batch in batches.iter().rev() {
            let values = batch.columns.get(column)?;
            for at in (0..batch.rows).rev() {
                row -= 1;
                if values.is_null(at) {
                    continue;
                }
                let head = lookup.heads.insert(hash_of_row(values, at)?, row);
                lookup.next[row as usize] = head.unwrap_or(NO_ROW);
            }
        }
        Some(lookup)
    }

    /// The rows that may have the value, in their order, of the batches that it was made of; `None`: they are not fewer
    /// by far, or it is another column's.
    pub fn find(&self, asked: Asked, batches: &[Batch]) -> Option<Vec<Batch>> {
        /// All rows are looked through where one in so many may have the value.
        const ROWS_PER_FOUND: usize = 8;
        if asked.column != self.column {
            return None;
        }
        let mut found: Vec<(usize, Vec<u32>)> = Vec::new();
        let mut row = self.heads.get(&asked.hash).copied().unwrap_or(NO_ROW);
        let mut left = self.next.len() / ROWS_PER_FOUND;
        while row != NO_ROW {
            left = left.checked_sub(1)?;
            let batch = self.starts.partition_point(|start| *start <= row) - 1;
            let at = row - self.starts[batch];
            match found.last_mut().filter(|(last, _)| *last == batch) {
                Some((_, rows)) => rows.push(at),
                None => found.push((batch, vec![at])),
            }
            row = self.next[row as usize];
        }
        let some = |(batch, rows): (usize, Vec<u32>)| {
            let columns = batches[batch].columns.iter();
            let columns = columns.map(|column| Arc::new(gather(column, &rows)));
            Batch::new(columns.collect(), rows.len())
        };
        Some(found.into_iter().map(some).collect())
    }
}

fn hash_of_integer(value: i128) -> u64 {
    hash_words(&[value as u64, (value >> 64) as u64])
}

fn hash_of_scalar(value: &Scalar) -> Option<u64> {
    match value {
        Scalar::I16(v) => Some(hash_of_integer(i128::from(*v))),
        Scalar::I32(v) => Some(hash_of_integer(i128::from(*v))),
        Scalar::I64(v) => Some(hash_of_integer(i128::from(*v))),
        Scalar::I128(v) => Some(hash_of_integer(*v)),
        Scalar::Bytes(v) => Some(hash_bytes(v)),
        Scalar::Bool(_) | Scalar::F32(_) | Scalar::F64(_) => None,
    }
}

fn hash_of_row(values: &Vector, at: usize) -> Option<u64> {
    match &values.values {
        Values::I16(v) => Some(hash_of_integer(i128::from(v[at]))),
        Values::I32(v) => Some(hash_of_integer(i128::from(v[at]))),
        Values::I64(v) => Some(hash_of_integer(i128::from(v[at]))),
        Values::I128(v) => Some(hash_of_integer(v[at])),
        Values::Fixed { .. } | Values::Bytes(_) | Values::Dict { .. } => {
            values.bytes(at).map(hash_bytes)
        }
        Values::Bool(_) | Values::F32(_) | Values::F64(_) => None,
    }
}

#[cfg(test)]
mod tests;
