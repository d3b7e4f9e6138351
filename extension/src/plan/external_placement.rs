// SPDX-License-Identifier: Apache-2.0
//! External expressions brought to where the main thread meets them.
//!
//! Filters and projections with external expressions run on the main thread; all other operators compute on workers.
//! What those would have to ask PostgreSQL for is computed by a projection below them, under the guards that they would
//! apply: an aggregate's argument for the rows that its FILTER lets through only. Conditions of inner joins move above
//! the join; those of the other kinds decide what a match is, and stay where they are: such joins make their pairs on
//! the main thread.
use super::{no, Converted};
use doris_engine::expr::{Expr, ExprKind};
use doris_engine::plan::{Aggregate, Join, JoinKind, Node, Op, RangeLimit, Window};

/// A plan whose external expressions are all in filters and projections, and those hold few others.
///
/// `next_id` is the first number that no node of the plan has.
pub fn isolate(node: Node, next_id: &mut u32) -> Converted<Node> {
    let mut pass = Pass { next_id };
    pass.node(node)
}

/// The numbers of the external expressions of a plan, ascending.
pub fn used(node: &Node) -> Vec<u32> {
    let mut found = Vec::new();
    collect_node(node, &mut found);
    found.sort_unstable();
    found.dedup();
    found
}

fn collect_node(node: &Node, found: &mut Vec<u32>) {
    match &node.op {
        Op::Scan(scan) => scan.filters.iter().for_each(|f| collect(f, found)),
        Op::Filter { predicate, .. } => collect(predicate, found),
        Op::Project { exprs, .. } => exprs.iter().for_each(|e| collect(e, found)),
        Op::Join(join) => join.residual.iter().for_each(|e| collect(e, found)),
        _ => {}
    }
    for input in node.inputs() {
        collect_node(input, found);
    }
}

fn collect(expr: &Expr, found: &mut Vec<u32>) {
    if let ExprKind::External { id, .. } = expr.kind() {
        found.push(*id);
    }
    for child in expr.children() {
        collect(child, found);
    }
}

/// The columns of a node as expressions.
fn columns(node: &Node) -> Vec<Expr> {
    let column = |(i, t): (usize, &_)| Expr::column(i, *t);
    node.types.iter().enumerate().map(column).collect()
}

/// Expressions to be computed below a node, as columns behind those of its input.
struct Below {
    width: usize,
    exprs: Vec<Expr>,
}

impl Below {
    fn new(input: &Node) -> Self {
        Self {
            width: input.types.len(),
            exprs: Vec::new(),
        }
    }

    /// The column that an expression becomes.
    fn column(&mut self, expr: Expr) -> Expr {
        let column = Expr::column(self.width + self.exprs.len(), expr.data_type());
        self.exprs.push(expr);
        column
    }

    /// The same for those that workers cannot evaluate; the others stay.
    fn unless_native(&mut self, expr: Expr) -> Expr {
        match expr.is_native() {
            true => expr,
            false => self.column(expr),
        }
    }
}

struct Pass<'a> {
    next_id: &'a mut u32,
}

impl Pass<'_> {
    fn id(&mut self) -> u32 {
        *self.next_id += 1;
        *self.next_id - 1
    }

    fn boxed(&mut self, node: Node) -> Converted<Box<Node>> {
        Ok(Box::new(self.node(node)?))
    }

    /// The input with more columns.
    fn widened(&mut self, input: Node, below: Below) -> Node {
        if below.exprs.is_empty() {
            return input;
        }
        let mut exprs = columns(&input);
        exprs.extend(below.exprs);
        self.project(input, exprs)
    }

    /// A projection whose native expressions do not wait for the others.
    fn project(&mut self, input: Node, exprs: Vec<Expr>) -> Node {
        let is_column = |e: &Expr| matches!(e.kind(), ExprKind::Column(_));
        let plain = exprs.iter().all(Expr::is_native);
        if plain || exprs.iter().all(|e| is_column(e) || !e.is_native()) {
            return Node::project(self.id(), input, exprs);
        }
        let mut below = Below::new(&input);
        let above: Vec<Expr> = exprs
            .into_iter()
            .map(|expr| below.unless_native(expr))
            .collect();
        let mut inner = columns(&input);
        inner.extend(below.exprs);
        let inner = Node::project(self.id(), input, inner);
        Node::project(self.id(), inner, above)
    }

    fn node(&mut self, node: Node) -> Converted<Node> {
        let Node { id, types, op } = node;
        let op = match op {
            Op::Scan(_) | Op::Values { .. } => op,
            Op::Filter { input, predicate } => {
                let input = self.node(*input)?;
                return self.filter(input, predicate);
            }
            Op::Project { input, exprs } => {
                let input = self.node(*input)?;
                return Ok(self.project(input, exprs));
            }
            Op::Join(join) => return self.join(id, join),
            Op::Aggregate(aggregate) => return self.aggregate(id, aggregate),
            Op::Window(window) => return self.window(id, window),
            Op::Sort { input, keys } => {
                check(keys.iter().map(|key| &key.expr))?;
                Op::Sort {
                    input: self.boxed(*input)?,
                    keys,
                }
            }
            Op::TopN {
                input,
                keys,
                limit,
                offset,
            } => {
                check(keys.iter().map(|key| &key.expr))?;
                Op::TopN {
                    input: self.boxed(*input)?,
                    keys,
                    limit,
                    offset,
                }
            }
            Op::Limit {
                input,
                limit,
                offset,
            } => Op::Limit {
                input: self.boxed(*input)?,
                limit,
                offset,
            },
            Op::Distinct { input } => Op::Distinct {
                input: self.boxed(*input)?,
            },
            Op::UnionAll { inputs } => Op::UnionAll {
                inputs: inputs
                    .into_iter()
                    .map(|input| self.node(input))
                    .collect::<Converted<_>>()?,
            },
            Op::SetOp {
                kind,
                all,
                left,
                right,
            } => Op::SetOp {
                kind,
                all,
                left: self.boxed(*left)?,
                right: self.boxed(*right)?,
            },
        };
        Ok(Node { id, types, op })
    }

    /// A filter; the runs of native conjuncts apart from the others, all in their order.
    fn filter(&mut self, input: Node, predicate: Expr) -> Converted<Node> {
        let conjuncts = match predicate.kind() {
            ExprKind::And(args) if !predicate.is_native() => args.clone(),
            _ => return Ok(Node::filter(self.id(), input, predicate)),
        };
        let mut node = input;
        for run in conjuncts.chunk_by(|a, b| a.is_native() && b.is_native()) {
            let condition = match run {
                [one] => one.clone(),
                several => Expr::and(several.to_vec())?,
            };
            node = Node::filter(self.id(), node, condition);
        }
        Ok(node)
    }

    fn aggregate(&mut self, id: u32, aggregate: Aggregate) -> Converted<Node> {
        let Aggregate {
            input,
            keys,
            mut calls,
            grouping_sets,
        } = aggregate;
        check(keys.iter().map(|key| &key.expr))?;
        let input = self.node(*input)?;
        let mut below = Below::new(&input);
        for call in &mut calls {
            call.filter = call.filter.take().map(|filter| below.unless_native(filter));
        }
        let input = self.widened(input, below);
        let mut below = Below::new(&input);
        for call in &mut calls {
            let mut guarded = |expr: Expr| -> Converted<Expr> {
                let guarded = match &call.filter {
                    Some(filter) if !expr.is_native() => {
                        Expr::case(vec![(filter.clone(), expr)], None)?
                    }
                    _ => expr,
                };
                Ok(below.unless_native(guarded))
            };
            call.argument = match call.argument.take() {
                Some(item) if matches!(item.kind(), ExprKind::Item { .. }) => {
                    Some(item.change_item(guarded)?)
                }
                Some(argument) => Some(guarded(argument)?),
                None => None,
            };
        }
        let input = Box::new(self.widened(input, below));
        let aggregate = Aggregate {
            input,
            keys,
            calls,
            grouping_sets,
        };
        Ok(Node::aggregate(id, aggregate))
    }

    fn window(&mut self, id: u32, window: Window) -> Converted<Node> {
        let Window {
            input,
            partition,
            order,
            frame,
            mut range,
            mut calls,
        } = window;
        check(partition.iter().chain(&order))?;
        let input = self.node(*input)?;
        let mut below = Below::new(&input);
        let width = input.types.len();
        for call in &mut calls {
            if call.filter.is_some() && !call.exprs().all(Expr::is_native) {
                return no("a window function's FILTER that only PostgreSQL can evaluate");
            }
            for expr in [&mut call.argument, &mut call.default] {
                *expr = expr.take().map(|expr| below.unless_native(expr));
            }
        }
        for limit in range.iter_mut().flat_map(|r| [&mut r.start, &mut r.end]) {
            if let Some(RangeLimit::Value(value)) = limit {
                *value = below.unless_native(value.clone());
            }
        }
        let more = below.exprs.len();
        let input = Box::new(self.widened(input, below));
        let window = Window {
            input,
            partition,
            order,
            frame,
            range,
            calls,
        };
        let node = Node::window(id, window);
        Ok(self.without(node, width, more))
    }

    /// A node's columns less `count` of them from `at` on.
    fn without(&mut self, node: Node, at: usize, count: usize) -> Node {
        if count == 0 {
            return node;
        }
        let mut kept = columns(&node);
        kept.drain(at..at + count);
        Node::project(self.id(), node, kept)
    }

    fn join(&mut self, id: u32, join: Join) -> Converted<Node> {
        let Join {
            kind,
            probe,
            build,
            mut keys,
            mut residual,
            mut output,
        } = join;
        let (probe, build) = (self.node(*probe)?, self.node(*build)?);
        let (old_width, build_width) = (probe.types.len(), build.types.len());
        let (mut of_probe, mut of_build) = (Below::new(&probe), Below::new(&build));
        for key in &mut keys {
            key.probe = of_probe.unless_native(key.probe.clone());
            key.build = of_build.unless_native(key.build.clone());
        }
        let more = of_probe.exprs.len();
        let moved = |column: usize| column + if column >= old_width { more } else { 0 };
        let probe = self.widened(probe, of_probe);
        let build = self.widened(build, of_build);
        output
            .iter_mut()
            .for_each(|column| *column = moved(*column));
        residual = residual.map(|condition| condition.renumber(&moved));
        let above = match residual.as_ref().is_none_or(Expr::is_native) {
            false if kind == JoinKind::Inner => residual.take(),
            _ => None,
        };
        let width = output.len();
        if above.is_some() {
            let pair = (0..old_width).chain((0..build_width).map(|i| i + old_width));
            output.extend(pair.map(moved));
        }
        let join = Join {
            kind,
            probe: Box::new(probe),
            build: Box::new(build),
            keys,
            residual,
            output,
        };
        let node = Node::join(id, join);
        let Some(condition) = above else {
            return Ok(node);
        };
        let behind = |column: usize| {
            let of_build = column >= old_width + more;
            width + column - if of_build { more } else { 0 }
        };
        let node = self.filter(node, condition.renumber(&behind))?;
        Ok(self.without(node, width, old_width + build_width))
    }
}

/// Refuses keys that workers cannot compute: those of finished plans are columns.
fn check<'e>(keys: impl IntoIterator<Item = &'e Expr>) -> Converted<()> {
    match keys.into_iter().all(Expr::is_native) {
        true => Ok(()),
        false => no("a key that only PostgreSQL can evaluate"),
    }
}
