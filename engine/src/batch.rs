// SPDX-License-Identifier: Apache-2.0
//! Batches and selections: what travels between operators.
//!
//! A batch is a few thousand rows, column by column; columns are shared, so that passing one on costs a
//! reference. A selection names some rows of a batch in ascending order: filters shrink selections and copy
//! nothing, and only the operator that needs dense columns gathers them.

use std::borrow::Cow;
use std::sync::Arc;

use doris_storage::vector::Vector;

use crate::gather::gather;

/// Rows, column by column. Every column has `rows` entries; a batch may have no columns and still have rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// The columns, each `rows` long.
    pub columns: Vec<Arc<Vector>>,
    /// Number of rows.
    pub rows: usize,
}

impl Batch {
    /// A batch over `columns`, each of which has `rows` entries.
    pub fn new(columns: Vec<Arc<Vector>>, rows: usize) -> Self {
        debug_assert!(columns.iter().all(|column| column.len() == rows));
        Self { columns, rows }
    }

    /// The selected rows only, dense. Shares the columns when all rows are selected.
    pub fn select(&self, selection: &Selection) -> Batch {
        match selection {
            Selection::All(rows) if *rows == self.rows => self.clone(),
            _ => {
                let indices = selection.indices();
                let columns = self
                    .columns
                    .iter()
                    .map(|c| Arc::new(gather(c, &indices)))
                    .collect();
                Batch {
                    columns,
                    rows: selection.len(),
                }
            }
        }
    }
}

/// Which rows of a batch take part, in ascending order, each at most once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Rows `0..n`. `n` is the batch's row count, or fewer after a limit.
    All(usize),
    /// These rows, ascending.
    Indices(Vec<u32>),
}

impl Selection {
    /// Number of selected rows.
    pub fn len(&self) -> usize {
        match self {
            Selection::All(rows) => *rows,
            Selection::Indices(indices) => indices.len(),
        }
    }

    /// Whether no row is selected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The row number of selected row `i`. Panics when `i >= len` of an index list.
    #[inline]
    pub fn row(&self, i: usize) -> usize {
        match self {
            Selection::All(_) => i,
            Selection::Indices(indices) => indices[i] as usize,
        }
    }

    /// The selected row numbers, ascending.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = usize> + '_ {
        (0..self.len()).map(move |i| self.row(i))
    }

    /// The selected row numbers as a slice; makes one up for `All`.
    pub fn indices(&self) -> Cow<'_, [u32]> {
        match self {
            Selection::All(rows) => Cow::Owned((0..*rows as u32).collect()),
            Selection::Indices(indices) => Cow::Borrowed(indices),
        }
    }

    /// Keeps selected row `i` (counted within the selection) where `keep(i)` says so.
    pub fn retain(self, mut keep: impl FnMut(usize) -> bool) -> Selection {
        match self {
            Selection::All(rows) => {
                let indices: Vec<u32> = (0..rows).filter(|&i| keep(i)).map(|i| i as u32).collect();
                if indices.len() == rows {
                    return Selection::All(rows);
                }
                Selection::Indices(indices)
            }
            Selection::Indices(mut indices) => {
                let mut i = 0;
                indices.retain(|_| {
                    i += 1;
                    keep(i - 1)
                });
                Selection::Indices(indices)
            }
        }
    }

    /// The first half of the selected rows, and the others.
    pub fn halves(&self) -> [Selection; 2] {
        let middle = self.len() / 2;
        let mut first = self.clone();
        first.truncate(middle);
        let second = self.indices()[middle..].to_vec();
        [first, Selection::Indices(second)]
    }

    /// Keeps the first `n` selected rows.
    pub fn truncate(&mut self, n: usize) {
        match self {
            Selection::All(rows) => *rows = n.min(*rows),
            Selection::Indices(indices) => indices.truncate(n),
        }
    }
}
