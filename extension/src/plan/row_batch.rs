// SPDX-License-Identifier: Apache-2.0
//! Batches of rows that PostgreSQL hands out one by one.
use crate::read::attrs::Attr;
use crate::write::column::Column;
use doris_engine::batch::Batch;
use doris_engine::error::{Error, Result};
use std::sync::Arc;

/// The batch of `rows` values a column. A numeric that is not a plain number changes its column's kind: an error, upon
/// which PostgreSQL's plan runs.
pub fn batch(attrs: &[Attr], columns: Vec<Column>, rows: usize) -> Result<Batch> {
    let changed = |(attr, column): (&Attr, &Column)| column.kind() != attr.kind;
    if attrs.iter().zip(&columns).any(changed) {
        return Err(Error::not_native(
            "a numeric value that is not a plain number",
        ));
    }
    let vectors = columns.into_iter().map(|c| Arc::new(c.finish())).collect();
    Ok(Batch::new(vectors, rows))
}
