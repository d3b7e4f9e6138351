// SPDX-License-Identifier: Apache-2.0
//! Values for the parameters of a plan that runs again and again.

use super::{Node, Op, RangeLimit, RangeOffsets, Window, WindowCall};
use crate::error::Result;
use crate::expr::Expr;

impl Node {
    /// The same plan with the constants `values[n]` in the place of its parameters `n`.
    pub fn bound(&self, values: &[Expr]) -> Result<Node> {
        let mut bound = self.clone();
        bind(&mut bound, values)?;
        Ok(bound)
    }

    /// Whether `test` holds for an expression of the node or of one below it, each taken whole.
    pub fn any_expr(&self, test: &dyn Fn(&Expr) -> bool) -> bool {
        fn any(node: &mut Node, test: &dyn Fn(&Expr) -> bool) -> bool {
            let own = node.exprs_mut().into_iter().any(|expr| test(expr));
            own || node.inputs_mut().into_iter().any(|input| any(input, test))
        }
        // There is one list of a node's expressions, the writable one.
        any(&mut self.clone(), test)
    }

    /// The node's own expressions, writable; their types must stay as they are.
    fn exprs_mut(&mut self) -> Vec<&mut Expr> {
        match &mut self.op {
            Op::Scan(scan) => scan.filters.iter_mut().collect(),
            Op::Filter { predicate, .. } => vec![predicate],
            Op::Project { exprs, .. } => exprs.iter_mut().collect(),
            Op::Join(join) => {
                let keys = join.keys.iter_mut();
                keys.flat_map(|key| [&mut key.probe, &mut key.build])
                    .chain(&mut join.residual)
                    .collect()
            }
            Op::Aggregate(aggregate) => {
                let keys = aggregate.keys.iter_mut().map(|key| &mut key.expr);
                let calls = aggregate.calls.iter_mut();
                keys.chain(calls.flat_map(|call| call.argument.iter_mut().chain(&mut call.filter)))
                    .collect()
            }
            Op::Sort { keys, .. } | Op::TopN { keys, .. } => {
                keys.iter_mut().map(|key| &mut key.expr).collect()
            }
            Op::Window(window) => window.exprs_mut(),
            Op::Limit { .. }
            | Op::Distinct { .. }
            | Op::UnionAll { .. }
            | Op::SetOp { .. }
            | Op::Values { .. } => Vec::new(),
        }
    }

    /// The inputs, writable.
    pub fn inputs_mut(&mut self) -> Vec<&mut Node> {
        match &mut self.op {
            Op::Scan(_) | Op::Values { .. } => Vec::new(),
            Op::Filter { input, .. }
            | Op::Project { input, .. }
            | Op::Sort { input, .. }
            | Op::TopN { input, .. }
            | Op::Limit { input, .. }
            | Op::Distinct { input } => vec![input],
            Op::Aggregate(aggregate) => vec![&mut aggregate.input],
            Op::Window(window) => vec![&mut window.input],
            Op::Join(join) => vec![&mut join.probe, &mut join.build],
            Op::SetOp { left, right, .. } => vec![left, right],
            Op::UnionAll { inputs } => inputs.iter_mut().collect(),
        }
    }
}

impl Window {
    fn exprs_mut(&mut self) -> Vec<&mut Expr> {
        let keys = self.partition.iter_mut().chain(&mut self.order);
        let range = self.range.iter_mut().flat_map(|range| range.exprs_mut());
        let calls = self.calls.iter_mut().flat_map(WindowCall::exprs_mut);
        keys.chain(range).chain(calls).collect()
    }
}

impl RangeOffsets {
    fn exprs_mut(&mut self) -> impl Iterator<Item = &mut Expr> {
        let limits = self.start.iter_mut().chain(&mut self.end);
        std::iter::once(&mut self.key).chain(limits.filter_map(|limit| match limit {
            RangeLimit::Value(expr) => Some(expr),
            RangeLimit::Plus(_) | RangeLimit::Float { .. } => None,
        }))
    }
}

impl WindowCall {
    fn exprs_mut(&mut self) -> impl Iterator<Item = &mut Expr> {
        let argument = self.argument.iter_mut();
        argument.chain(&mut self.default).chain(&mut self.filter)
    }
}

fn bind(node: &mut Node, values: &[Expr]) -> Result<()> {
    for expr in node.exprs_mut() {
        expr.bind(values)?;
    }
    for input in node.inputs_mut() {
        bind(input, values)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
