// SPDX-License-Identifier: Apache-2.0
//! Build sides that outlive an execution.
//!
//! A plan that runs again and again with other values of its parameters ([`Node::bound`]) would make the same tables
//! each time of build sides in which no parameter takes part. Those are made once:
//!
//! - of all rows of the build side: runtime filters from above may come of a parameter;
//! - without a look at the other side (`turn`), which may be another one each time;
//! - not where build rows are marked when met, as marks belong to one execution, nor where memory does not hold the
//!   table.
//!
//! Of an inner join's sides PostgreSQL hashes the smaller one, which mostly is the one that parameters narrow down.
//! Where many executions follow each other, [`exchange`] has such a join keep the other side.

use std::any::Any;
use std::cell::RefCell;
use std::sync::Arc;

use hashbrown::HashMap;

use super::build::{self, Built};
use super::table::JoinTable;
use super::Shape;
use crate::error::{Error, Result};
use crate::exec::driver::Driver;
use crate::exec::executor::{Opening, Wanted};
use crate::exec::query::NodeCounters;
use crate::expr::{Expr, ExprKind};
use crate::keys::KeyColumn;
use crate::plan::{Join, JoinKey, JoinKind, Node, Op};

/// A row takes about so many bytes in a table, and so many for each column.
const BYTES_PER_ROW: u64 = 24;
const BYTES_PER_VALUE: u64 = 8;

/// What is not in the plan itself, and may be another in the next execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// An external expression, by its number.
    External(u32),
    /// A source.
    Source(usize),
    /// A node, by its id: whether the caller leaves it as it is.
    Node(u32),
}

/// Whether a part is the same in every execution.
pub type Same<'s> = dyn Fn(Part) -> bool + 's;

/// The tables of joins that are the same in every execution of a plan. On the driving thread only.
#[derive(Default)]
pub struct BuildCache {
    bytes_max: usize,
    joins: RefCell<HashMap<u32, Option<Made>>>,
}

/// A table that is there, and the filters that it puts on the probe side.
struct Made {
    table: Box<dyn Any>,
    /// Which columns it has.
    columns: Vec<bool>,
    filters: Vec<Wanted>,
    bytes: usize,
}

impl BuildCache {
    /// For the executions of a plan: tables of up to `bytes_max` together, where `same` tells what does not change.
    pub fn of(plan: &Node, bytes_max: usize, same: &Same<'_>) -> Self {
        let mut joins = HashMap::new();
        mark(plan, same, &mut joins);
        Self {
            bytes_max,
            joins: RefCell::new(joins),
        }
    }

    /// The sources that an execution of `plan` does not read, as the tables made of them are there. Called before each:
    /// a table that lacks a column is dropped (a condition that needs it may have come to nothing when the table was
    /// made).
    pub fn spared(&self, plan: &Node) -> Vec<usize> {
        match &plan.op {
            Op::Join(join) if self.has(plan.id, join) => {
                let mut spared = sources(&join.build);
                spared.extend(self.spared(&join.probe));
                spared
            }
            _ => (plan.inputs().into_iter())
                .flat_map(|input| self.spared(input))
                .collect(),
        }
    }

    /// Whether the table of a join is there, with all columns that it needs.
    fn has(&self, id: u32, join: &Join) -> bool {
        let mut joins = self.joins.borrow_mut();
        let Some(slot) = joins.get_mut(&id) else {
            return false;
        };
        let width = join.probe.types.len();
        let residual = join.residual.iter().flat_map(Expr::columns);
        let mut needed = join.output.iter().copied().chain(residual);
        let is_there = |made: &Made| {
            needed.all(|column| column < width || made.columns.get(column - width) == Some(&true))
        };
        if !slot.as_ref().is_some_and(is_there) {
            *slot = None;
        }
        slot.is_some()
    }

    /// Whether a join's table is to be kept.
    pub(crate) fn keeps(&self, id: u32) -> bool {
        self.joins.borrow().contains_key(&id)
    }

    /// The table of a join that is there already.
    fn find<K: KeyColumn>(&self, shape: &Shape) -> Result<Option<Built<K>>> {
        let joins = self.joins.borrow();
        let Some(made) = joins.get(&shape.id).and_then(Option::as_ref) else {
            return Ok(None);
        };
        // What it was made of is not read any more.
        let is_there = |(at, there): (usize, &bool)| *there || !shape.keeps_build_column(at);
        if !made.columns.iter().enumerate().all(is_there) {
            return Err(Error::internal("a table that lacks a column"));
        }
        let table = made.table.downcast_ref::<Arc<JoinTable<K>>>();
        let table = table.ok_or_else(|| Error::internal("a table with keys of another shape"))?;
        Ok(Some(Built::Memory(Arc::clone(table), made.filters.clone())))
    }

    /// Keeps a table for the next execution, unless it is too large.
    fn put<K: KeyColumn>(&self, id: u32, built: &Built<K>) {
        let mut joins = self.joins.borrow_mut();
        joins.insert(id, None);
        let used: usize = joins.values().flatten().map(|made| made.bytes).sum();
        let fitting = match built {
            Built::Memory(table, filters) => Some((table, filters, table.memory_bytes()))
                .filter(|(_, _, bytes)| used + bytes <= self.bytes_max),
            Built::Spilled(..) => None,
        };
        match fitting {
            Some((table, filters, bytes)) => {
                let made = Made {
                    table: Box::new(Arc::clone(table)),
                    columns: table.columns.iter().map(Option::is_some).collect(),
                    filters: filters.clone(),
                    bytes,
                };
                joins.insert(id, Some(made));
            }
            None => {
                joins.remove(&id);
            }
        }
    }
}

/// The build side of a join that is to be kept: that of an earlier execution, or else made now.
pub(super) fn build<K: KeyColumn>(
    driver: &Driver,
    shape: &Arc<Shape>,
    join: &Join,
    opening: &mut Opening<'_>,
) -> Result<Built<K>> {
    let kept = driver.kept(shape.id);
    let found = kept.map(|kept| kept.find::<K>(shape)).transpose()?;
    if let Some(found) = found.flatten() {
        NodeCounters::raise(&driver.query.node(shape.id).kept, 1);
        return Ok(found);
    }
    let built = build::build::<K>(driver, shape, opening.open(&join.build, &[])?)?;
    if let Some(kept) = driver.kept(shape.id) {
        kept.put(shape.id, &built);
    }
    Ok(built)
}

/// Finds the joins whose tables are the same each time.
fn mark(node: &Node, same: &Same<'_>, joins: &mut HashMap<u32, Option<Made>>) {
    match &node.op {
        Op::Join(join) if keeps_build(join) && is_build_same(join, same) => {
            joins.insert(node.id, None);
            mark(&join.probe, same, joins);
        }
        _ => (node.inputs().into_iter()).for_each(|input| mark(input, same, joins)),
    }
}

/// Whether nothing is noted in the table of a join.
fn keeps_build(join: &Join) -> bool {
    !super::marks(join.kind)
}

fn is_build_same(join: &Join, same: &Same<'_>) -> bool {
    let keys = join.keys.iter().all(|key| !changes(&key.build, same));
    keys && is_same(&join.build, same)
}

/// Whether a node's rows are the same in each execution.
fn is_same(node: &Node, same: &Same<'_>) -> bool {
    all_nodes(node, &|node| {
        let source = match &node.op {
            Op::Scan(scan) => same(Part::Source(scan.source)),
            _ => true,
        };
        source && same(Part::Node(node.id))
    }) && !node.any_expr(&|expr| changes(expr, same))
}

fn all_nodes(node: &Node, test: &dyn Fn(&Node) -> bool) -> bool {
    test(node)
        && node
            .inputs()
            .into_iter()
            .all(|input| all_nodes(input, test))
}

/// Whether an expression has a part that may change.
fn changes(expr: &Expr, same: &Same<'_>) -> bool {
    let here = match expr.kind() {
        ExprKind::Param(_) => true,
        ExprKind::External { id, .. } => !same(Part::External(*id)),
        _ => false,
    };
    here || expr
        .children()
        .into_iter()
        .any(|child| changes(child, same))
}

fn sources(node: &Node) -> Vec<usize> {
    match &node.op {
        Op::Scan(scan) => vec![scan.source],
        _ => node.inputs().into_iter().flat_map(sources).collect(),
    }
}

/// Exchanges the sides of inner joins of which the side that is kept changes from one execution to the next, and the
/// other does not: where that one is a table, or made of one, of up to `bytes_max`, raises no errors, and `rows` knows
/// its size. `streams` tells which sources may be read as they come. Returns whether there are any such joins.
pub fn exchange(
    plan: &mut Node,
    bytes_max: usize,
    same: &Same<'_>,
    rows: &dyn Fn(usize) -> Option<u64>,
    streams: &dyn Fn(usize) -> bool,
) -> bool {
    let mut exchanged = false;
    if let Op::Join(join) = &mut plan.op {
        // Kept, it is computed of rows that the other side may leave unread.
        let raises = |expr: &Expr| !expr.is_native() || expr.can_raise();
        let is_quiet = |key: &JoinKey| !raises(&key.probe) && !changes(&key.probe, same);
        let wanted = join.kind == JoinKind::Inner
            && !join.keys.is_empty()
            && !is_build_same(join, same)
            && join.keys.iter().all(is_quiet)
            && is_same(&join.probe, same)
            && !join.probe.any_expr(&raises)
            && sources(&join.build).into_iter().all(streams)
            && bytes(&join.probe, rows).is_some_and(|bytes| bytes <= bytes_max as u64);
        if wanted {
            *join = join.turned();
            exchanged = true;
        }
    }
    for input in plan.inputs_mut() {
        exchanged |= exchange(input, bytes_max, same, rows, streams);
    }
    exchanged
}

/// About how many bytes the rows of a node take at most, where they are some of a table's.
fn bytes(node: &Node, rows: &dyn Fn(usize) -> Option<u64>) -> Option<u64> {
    match &node.op {
        Op::Scan(scan) => {
            let width = BYTES_PER_ROW + BYTES_PER_VALUE * node.types.len() as u64;
            Some(rows(scan.source)?.saturating_mul(width))
        }
        Op::Filter { input, .. } | Op::Project { input, .. } | Op::Distinct { input } => {
            bytes(input, rows)
        }
        Op::Aggregate(aggregate) if aggregate.grouping_sets.is_none() => {
            bytes(&aggregate.input, rows)
        }
        Op::Join(join) if !join.kind.has_build_columns() => bytes(&join.probe, rows),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
