// SPDX-License-Identifier: Apache-2.0
//! The first row of each group of sorted rows: DISTINCT ON.
use super::super::scope::{Column, Item};
use super::super::{no, Converted};
use super::sort::compared;
use super::{check_sortable, Converter, Output};
use doris_engine::expr::{CompareOp, Expr};
use doris_engine::plan::{Frame, Node, Window, WindowCall, WindowFunction};
use doris_engine::types::DataType;
use pgrx::pg_sys;

impl Converter<'_> {
    /// A Unique over some of the columns that its input is sorted by: rows are numbered within their group, and
    /// the first of each stays, in the input's order.
    pub(super) unsafe fn first_of_each(
        &mut self,
        unique: *mut pg_sys::Unique,
        columns: &[usize],
    ) -> Converted<Output> {
        // SAFETY: as for `top`.
        unsafe {
            let input = self.output((*unique).plan.lefttree, true)?;
            let keys = columns.iter().map(|at| key(&input.entries, *at));
            let width = input.node.types.len();
            let window = Window {
                partition: keys.collect::<Converted<_>>()?,
                order: Vec::new(),
                frame: Frame::DEFAULT,
                range: None,
                calls: vec![WindowCall::new(WindowFunction::RowNumber, None)],
                input: Box::new(input.node),
            };
            doris_engine::ops::window::check(&window)?;
            let numbered = Node::window(self.id(), window);
            let number = Expr::column(width, DataType::Int8);
            let first = Expr::compare(CompareOp::Eq, number, Expr::int8(1))?;
            let types = numbered.types[..width].to_vec();
            let filtered = Node::filter(self.id(), numbered, first);
            let columns = types.iter().enumerate().map(|(i, t)| Expr::column(i, *t));
            let node = Node::project(self.id(), filtered, columns.collect());
            let entries = input.entries;
            self.passed_on(unique.cast(), Output { node, entries })
        }
    }
}

fn key(entries: &[Item], at: usize) -> Converted<Expr> {
    match at.checked_sub(1).and_then(|at| entries.get(at)) {
        Some(Item {
            column: Column::Native(index, data_type),
            ..
        }) => {
            let key = compared(Expr::column(*index, *data_type))?;
            check_sortable(key.data_type())?;
            Ok(key)
        }
        _ => no("DISTINCT ON something else than a column"),
    }
}
