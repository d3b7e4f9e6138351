// SPDX-License-Identifier: Apache-2.0
//! Results that are made of several columns of an aggregation or a window: averages, and sums that show a scale of
//! their own in each group.
use super::super::scope::{Column, Item};
use super::super::Converted;
use super::Converter;
use doris_engine::expr::Expr;
use doris_engine::plan::Node;

/// What is computed over a node's columns, for which of its items.
#[derive(Default)]
pub(super) struct FinalProjection(Vec<(usize, Expr)>);

impl FinalProjection {
    /// Item `item` is an average.
    pub(super) fn average(&mut self, item: usize, sum: Expr, count: Expr) -> Converted<()> {
        self.0.push((item, Expr::average(sum, count)?));
        Ok(())
    }

    /// Item `item` is a sum that shows as many digits after the point as `scale` says.
    pub(super) fn scaled(&mut self, item: usize, sum: Expr, scale: Expr) -> Converted<()> {
        self.0.push((item, Expr::at_scale(sum, scale)?));
        Ok(())
    }
}

impl Converter<'_> {
    /// A node with the finished items as columns behind its own.
    pub(super) fn finished(
        &mut self,
        node: Node,
        items: &mut [Item],
        finished: FinalProjection,
    ) -> Converted<Node> {
        if finished.0.is_empty() {
            return Ok(node);
        }
        let columns = node.types.iter().enumerate();
        let mut exprs: Vec<Expr> = columns.map(|(i, t)| Expr::column(i, *t)).collect();
        for (item, expr) in finished.0 {
            items[item].column = Column::Native(exprs.len(), expr.data_type());
            exprs.push(expr);
        }
        Ok(Node::project(self.id(), node, exprs))
    }
}
