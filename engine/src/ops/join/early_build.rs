// SPDX-License-Identifier: Apache-2.0
//! Build sides made early, for what their keys say about other build sides.
//!
//! ```text
//! lineitem JOIN part USING (partkey) JOIN partsupp USING (partkey, suppkey)
//! ```
//! Only rows whose partkey is among the parts' leave the first join. So the parts are built first, and partsupp, the
//! second join's build side, is read through their runtime filter. That holds where both joins are inner (or semi)
//! joins on the same column of the rows that stream past both.

use super::build::{self, Built};
use super::{build_cache, filterable_column, passed_on, JoinSide, Shape};
use crate::error::{Error, Result};
use crate::exec::executor::{through_exprs, Opening, Wanted};
use crate::expr::{Expr, ExprKind};
use crate::keys::{ByteKeys, KeyColumn, WordKeys};
use crate::plan::{AggregateCall, AggregateFunction, Join, JoinKind, Node, Op};

/// A join's build side that was made early.
pub(super) fn take<K: KeyColumn>(opening: &mut Opening<'_>, id: u32) -> Result<Option<Built<K>>> {
    let Some(built) = opening.built.remove(&id) else {
        return Ok(None);
    };
    match built.downcast::<Built<K>>() {
        Ok(built) => Ok(Some(*built)),
        Err(_) => Err(Error::internal("a build side with keys of another shape")),
    }
}

/// Makes the build sides of joins on the probe side that share a key with `join`; the filters that they put on the
/// columns of its own build side. `wanted`: filters on its output.
pub(super) fn filters(
    opening: &mut Opening<'_>,
    shape: &Shape,
    join: &Join,
    wanted: &[Wanted],
) -> Result<Vec<Wanted>> {
    if !matches!(shape.kind, JoinKind::Inner | JoinKind::Semi) {
        return Ok(Vec::new());
    }
    // The probe column behind each key.
    let mut keys: Vec<Option<usize>> = (0..shape.probe_keys.len())
        .map(|key| filterable_column(shape, key))
        .collect();
    let mut wanted = passed_on(shape, wanted, JoinSide::Probe);
    let mut node: &Node = &join.probe;
    let mut found = Vec::new();
    loop {
        match &node.op {
            Op::Filter { input, .. } => node = input,
            Op::Project { input, exprs } => {
                keys = keys
                    .iter()
                    .map(|key| column_of(exprs.get((*key)?)?))
                    .collect();
                wanted = through_exprs(&wanted, exprs.iter());
                node = input;
            }
            Op::Join(inner) if matches!(inner.kind, JoinKind::Inner | JoinKind::Semi) => {
                let inner_shape = Shape::new(node.id, inner)?;
                let width = inner_shape.probe_types.len();
                keys = keys
                    .iter()
                    .map(|key| on_probe_side(&inner_shape, *inner.output.get((*key)?)?))
                    .collect();
                // What this join's build side knows is better used where such a key comes from.
                if keys.iter().flatten().any(|&column| column >= width) {
                    return Ok(found);
                }
                let shares = |number| {
                    let column = filterable_column(&inner_shape, number);
                    column.is_some() && keys.contains(&column)
                };
                let any_shared = (0..inner_shape.probe_keys.len()).any(shares);
                if any_shared && cannot_fail(&inner.build) {
                    for filter in build_early(opening, node.id, inner, &wanted)? {
                        let sharing = keys
                            .iter()
                            .enumerate()
                            .filter(|(_, k)| **k == Some(filter.column));
                        let columns =
                            sharing.filter_map(|(key, _)| column_of(&shape.build_keys[key]));
                        found.extend(columns.map(|column| Wanted {
                            column,
                            filter: filter.filter.clone(),
                        }));
                    }
                }
                wanted = passed_on(&inner_shape, &wanted, JoinSide::Probe);
                node = &inner.probe;
            }
            _ => return Ok(found),
        }
    }
}

/// The probe column that a join's key makes equal to one of its build columns; any other column is itself.
fn on_probe_side(shape: &Shape, column: usize) -> Option<usize> {
    let Some(build) = column.checked_sub(shape.probe_types.len()) else {
        return Some(column);
    };
    let same = (0..shape.build_keys.len())
        .filter(|key| column_of(&shape.build_keys[*key]) == Some(build))
        .find_map(|key| filterable_column(shape, key));
    Some(same.unwrap_or(column))
}

fn column_of(expr: &Expr) -> Option<usize> {
    match expr.kind() {
        ExprKind::Column(column) => Some(*column),
        _ => None,
    }
}

/// Whether a subtree raises no error: made early, it may run where it would not have run at all.
fn cannot_fail(node: &Node) -> bool {
    let quiet = |expr: &Expr| expr.is_native() && !expr.can_raise();
    match &node.op {
        Op::Scan(scan) => scan.filters.iter().all(quiet),
        Op::Filter { input, predicate } => quiet(predicate) && cannot_fail(input),
        Op::Project { input, exprs } => exprs.iter().all(quiet) && cannot_fail(input),
        Op::Aggregate(aggregate) => {
            use AggregateFunction::*;
            let sums = |call: &AggregateCall| {
                let exact =
                    |arg: &Expr| arg.data_type().is_integer() || arg.data_type().is_numeric();
                let total = match call.function {
                    CountStar | Count | Min | Max => true,
                    // What is beyond a sum's type needs more rows than there can be; of floats it does not.
                    Sum | Avg => call.argument.iter().all(exact),
                    _ => false,
                };
                total && call.argument.iter().chain(&call.filter).all(quiet)
            };
            aggregate.keys.iter().all(|key| quiet(&key.expr))
                && aggregate.calls.iter().all(sums)
                && cannot_fail(&aggregate.input)
        }
        Op::Join(join) => {
            let keys = join.keys.iter().flat_map(|key| [&key.probe, &key.build]);
            keys.chain(&join.residual).all(quiet)
                && cannot_fail(&join.probe)
                && cannot_fail(&join.build)
        }
        _ => false,
    }
}

/// Makes the build side of join `id` and keeps it for when the join is opened; its filters on probe columns.
fn build_early(
    opening: &mut Opening<'_>,
    id: u32,
    join: &Join,
    wanted: &[Wanted],
) -> Result<Vec<Wanted>> {
    if opening.built.contains_key(&id) {
        return Ok(Vec::new());
    }
    let shape = Shape::new(id, join)?;
    match shape.keys.words() {
        Some(1) => build_with::<WordKeys<1>>(opening, shape, join, wanted),
        Some(2) => build_with::<WordKeys<2>>(opening, shape, join, wanted),
        _ => build_with::<ByteKeys>(opening, shape.with_byte_keys()?, join, wanted),
    }
}

fn build_with<K: KeyColumn>(
    opening: &mut Opening<'_>,
    shape: Shape,
    join: &Join,
    wanted: &[Wanted],
) -> Result<Vec<Wanted>> {
    let (driver, id) = (opening.driver, shape.id);
    let shape = std::sync::Arc::new(shape);
    let built = match driver.kept(id) {
        Some(_) => build_cache::build::<K>(driver, &shape, join, opening)?,
        None => {
            let wanted = passed_on(&shape, wanted, JoinSide::Build);
            let rows = opening.open(&join.build, &wanted)?;
            build::build::<K>(driver, &shape, rows)?
        }
    };
    let filters = match &built {
        Built::Memory(_, filters) => filters.clone(),
        Built::Spilled(..) => Vec::new(),
    };
    opening.built.insert(id, Box::new(built));
    Ok(filters)
}
