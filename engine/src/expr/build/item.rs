// SPDX-License-Identifier: Apache-2.0
//! Items of aggregates that collect rows, and pairs.

use std::sync::Arc;

use doris_storage::vector::Physical;

use super::{call, refuse};
use crate::error::Result;
use crate::expr::ir::{Expr, ExprKind, Func};
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

    /// Two Float8 as one value, for aggregates of pairs: NULL where either is.
    pub fn pair(first: Expr, second: Expr) -> Result<Expr> {
        match (first.data_type(), second.data_type()) {
            (DataType::Float8, DataType::Float8) => {
                let layout = Physical::Fixed(16);
                Ok(call(
                    Func::Pair,
                    vec![first, second],
                    DataType::Opaque { layout },
                ))
            }
            _ => refuse("a pair", &[&first, &second]),
        }
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
