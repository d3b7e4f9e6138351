// SPDX-License-Identifier: Apache-2.0
//! Items of aggregates that collect rows.

use std::sync::Arc;

use crate::error::Result;
use crate::expr::ir::{Expr, ExprKind};
use crate::ops::sort::normal::Column;
use crate::plan::SortKey;
use crate::types::DataType;

impl Expr {
    /// What an aggregate keeps of a row: `fields`, to be sorted by `order` and then by the rows' places in the input.
    pub fn item(order: Vec<SortKey>, fields: Vec<Expr>) -> Result<Expr> {
        let columns = order.iter().map(Column::new).collect::<Result<Arc<_>>>()?;
        let mut args: Vec<Expr> = order.into_iter().map(|key| key.expr).collect();
        args.extend(fields);
        Ok(Expr::new(ExprKind::Item { columns, args }, DataType::Bytea))
    }

    /// An item with `change` made to each of its arguments, which keep their types. Other expressions stay.
    pub fn change_item<E>(
        mut self,
        change: impl FnMut(Expr) -> Result<Expr, E>,
    ) -> Result<Expr, E> {
        if let ExprKind::Item { args, .. } = self.kind_mut() {
            *args = std::mem::take(args)
                .into_iter()
                .map(change)
                .collect::<Result<_, E>>()?;
        }
        Ok(self)
    }
}
