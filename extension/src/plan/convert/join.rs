// SPDX-License-Identifier: Apache-2.0
//! Joins: those of the plan, and `IN` and `NOT IN` over hashed subqueries.
use super::super::scope::{Column, Item, Scope};
use super::super::{hook, no, Converted};
use super::{check_groupable, renamed, unsorted, Converter, Core};
use doris_engine::expr::Expr;
use doris_engine::plan::{Join, JoinKey, JoinKind, Node};
use doris_engine::types::DataType;
use pgrx::pg_sys::{self, NodeTag};
use pgrx::PgList;

/// The side with so many times the rows of the other streams, whatever PostgreSQL meant to hash.
const MUCH_LARGER: f64 = 1.5;

/// The condition of a join with a hashed subquery: which join, its key, the subquery.
pub(super) type SubplanJoin = (JoinKind, JoinKey, Node);

impl Converter<'_> {
    pub(super) unsafe fn join(
        &mut self,
        join: *mut pg_sys::Join,
        clauses: *mut pg_sys::List,
    ) -> Converted<Core> {
        // SAFETY: as for `top`.
        unsafe {
            let (left, right) = ((*join).plan.lefttree, (*join).plan.righttree);
            let asked = join_kind((*join).jointype)?;
            let outer = self.output(unsorted(left), false)?;
            let inner = self.output(unsorted(right), false)?;
            // The engine keeps the build side in memory: the smaller one.
            let swapped = (*right).plan_rows > (*left).plan_rows * MUCH_LARGER;
            let (outer_width, inner_width) = (outer.node.types.len(), inner.node.types.len());
            let (outer_at, inner_at) = match swapped {
                true => (inner_width, 0),
                false => (0, outer_width),
            };
            let outer = renamed(outer, pg_sys::OUTER_VAR);
            let inner = renamed(inner, pg_sys::INNER_VAR);
            let both = side_by_side(&outer.scope, outer_at, &inner.scope, inner_at);
            let (keys, residual) =
                self.join_conditions(join, clauses, (&outer.scope, &inner.scope), &both)?;
            // PostgreSQL stops at a row's first partner, and hands rows out while it looks for others.
            if keys.is_empty() && asked != JoinKind::Inner {
                return no("an outer or semi join without an equality");
            }
            let kind = if swapped { mirrored(asked) } else { asked };
            let keys = keys.into_iter().map(|key| match swapped {
                true => JoinKey {
                    probe: key.build,
                    build: key.probe,
                    null_safe: key.null_safe,
                },
                false => key,
            });
            let mut output = Vec::new();
            if asked.has_probe_columns() {
                output.extend(outer_at..outer_at + outer_width);
            }
            let first_inner = output.len();
            if asked.has_build_columns() {
                output.extend(inner_at..inner_at + inner_width);
            }
            let scope = match (asked.has_probe_columns(), asked.has_build_columns()) {
                (true, false) => outer.scope,
                (false, _) => inner.scope,
                (true, true) => side_by_side(&outer.scope, 0, &inner.scope, first_inner),
            };
            let (probe, build) = match swapped {
                true => (inner.node, outer.node),
                false => (outer.node, inner.node),
            };
            let join = Join {
                kind,
                probe: Box::new(probe),
                build: Box::new(build),
                keys: keys.collect(),
                residual,
                output,
            };
            let node = Node::join(self.id(), join);
            Ok(Core { node, scope })
        }
    }

    /// The equalities and what else a pair must satisfy.
    unsafe fn join_conditions(
        &mut self,
        join: *mut pg_sys::Join,
        clauses: *mut pg_sys::List,
        (outer, inner): (&Scope, &Scope),
        both: &Scope,
    ) -> Converted<(Vec<JoinKey>, Option<Expr>)> {
        // SAFETY: as for `top`.
        unsafe {
            let mut keys = Vec::new();
            for clause in PgList::<pg_sys::Node>::from_pg(clauses).iter_ptr() {
                keys.push(self.join_key(outer, inner, clause)?);
            }
            let mut residual = Vec::new();
            for qual in PgList::<pg_sys::Node>::from_pg((*join).joinqual).iter_ptr() {
                match self.join_key(outer, inner, qual) {
                    Ok(key) if clauses.is_null() && cannot_fail(&key) => keys.push(key),
                    _ => residual.push(self.translate(both, qual)?),
                }
            }
            let residual = match residual.len() {
                0 => None,
                1 => residual.pop(),
                _ => Some(Expr::and(residual)?),
            };
            Ok((keys, residual))
        }
    }

    /// `x IN (subquery)` or `NOT (x IN (subquery))` that PostgreSQL would answer by a hash table.
    pub(super) unsafe fn hashed_subplan(
        &mut self,
        scope: &Scope,
        qual: *mut pg_sys::Node,
    ) -> Converted<SubplanJoin> {
        // SAFETY: as for `top`; tags are checked before casts.
        unsafe {
            let mut condition = qual;
            let mut kind = JoinKind::Semi;
            if (*qual).type_ == NodeTag::T_BoolExpr {
                let not = qual as *mut pg_sys::BoolExpr;
                let arg = PgList::<pg_sys::Node>::from_pg((*not).args).get_ptr(0);
                match ((*not).boolop, arg) {
                    (pg_sys::BoolExprType::NOT_EXPR, Some(arg)) => condition = arg,
                    _ => return no("a condition that is not native"),
                }
                kind = JoinKind::AntiNotIn;
            }
            if (*condition).type_ != NodeTag::T_SubPlan {
                return no("a condition that is not native");
            }
            let subplan = &*(condition as *mut pg_sys::SubPlan);
            let uncorrelated = subplan.parParam.is_null() && subplan.args.is_null();
            if subplan.subLinkType != pg_sys::SubLinkType::ANY_SUBLINK
                || !subplan.useHashTable
                || !uncorrelated
            {
                return no("a correlated subquery");
            }
            let plans = PgList::<pg_sys::Plan>::from_pg((*self.stmt).subplans);
            let Some(plan) = plans.get_ptr(subplan.plan_id as usize - 1) else {
                return no("a subquery without a plan");
            };
            if !hook::init_plans(plan).is_null() {
                return no("a subquery with subqueries");
            }
            let input = self.output(plan, false)?;
            let [item] = input.entries.as_slice() else {
                return no("a subquery of several columns");
            };
            let param = test_param(subplan.testexpr)?;
            let inner = Scope {
                items: vec![Item {
                    node: param,
                    ..item.clone()
                }],
            };
            // Never the other way round: the parameter has no value until the subquery has run.
            let (a, b) = operands(subplan.testexpr)?;
            let (probe, build) = (self.translate(scope, a)?, self.translate(&inner, b)?);
            Ok((kind, key(probe, build)?, input.node))
        }
    }

    /// The rows of `probe` that a hashed subquery lets through.
    pub(super) fn semi_join(&mut self, probe: Node, (kind, key, build): SubplanJoin) -> Node {
        let join = Join {
            kind,
            output: (0..probe.types.len()).collect(),
            probe: Box::new(probe),
            build: Box::new(build),
            keys: vec![key],
            residual: None,
        };
        Node::join(self.id(), join)
    }

    unsafe fn join_key(
        &mut self,
        outer: &Scope,
        inner: &Scope,
        clause: *mut pg_sys::Node,
    ) -> Converted<JoinKey> {
        // SAFETY: passed on to the caller.
        unsafe {
            let (a, b) = operands(clause)?;
            let (probe, build) = match (self.translate(outer, a), self.translate(inner, b)) {
                (Ok(probe), Ok(build)) => (probe, build),
                _ => (self.translate(outer, b)?, self.translate(inner, a)?),
            };
            key(probe, build)
        }
    }
}

/// Whether both sides of a key can be computed for rows that have no partner, or that another condition drops.
fn cannot_fail(key: &JoinKey) -> bool {
    let quiet = |side: &Expr| side.is_native() && !side.can_raise();
    quiet(&key.probe) && quiet(&key.build)
}

/// The operands of an equality.
unsafe fn operands(clause: *mut pg_sys::Node) -> Converted<(*mut pg_sys::Node, *mut pg_sys::Node)> {
    // SAFETY: an expression of a finished plan, checked to be an OpExpr.
    unsafe {
        if (*clause).type_ != NodeTag::T_OpExpr {
            return no("a join clause that is no operator");
        }
        let op = clause as *mut pg_sys::OpExpr;
        if !super::super::expr::is_equality((*op).opno) {
            return no("a join clause that is no equality");
        }
        let args = PgList::<pg_sys::Node>::from_pg((*op).args);
        let (Some(a), Some(b)) = (args.get_ptr(0), args.get_ptr(1)) else {
            return no("a join clause without operands");
        };
        Ok((a, b))
    }
}

/// A join key of both sides' expressions.
fn key(probe: Expr, build: Expr) -> Converted<JoinKey> {
    if probe.data_type().is_text() {
        check_groupable(probe.data_type())?;
    }
    if matches!(probe.data_type(), DataType::Opaque { .. }) {
        return no("a join by values that the engine cannot compare");
    }
    let (probe, build) = (unpadded(probe)?, unpadded(build)?);
    let (probe, build) = super::super::expr::same_type(probe, build)?;
    Ok(JoinKey {
        probe,
        build,
        null_safe: false,
    })
}

/// `character(n)` without the blanks that take no part in comparison: the other side may have another length.
fn unpadded(key: Expr) -> Converted<Expr> {
    match key.data_type() {
        DataType::Bpchar { collation } => Ok(Expr::cast(key, DataType::Text { collation })?),
        _ => Ok(key),
    }
}

fn shifted(item: &Item, by: usize) -> Item {
    let column = match item.column {
        Column::Native(index, data_type) => Column::Native(index + by, data_type),
        Column::Missing => Column::Missing,
    };
    Item {
        column,
        ..item.clone()
    }
}

/// The items of two inputs whose columns begin at `a_at` and `b_at`.
fn side_by_side(a: &Scope, a_at: usize, b: &Scope, b_at: usize) -> Scope {
    let a = a.items.iter().map(|item| shifted(item, a_at));
    let b = b.items.iter().map(|item| shifted(item, b_at));
    Scope {
        items: a.chain(b).collect(),
    }
}

/// The parameter that stands for the subquery's column in the comparison of `x IN (subquery)`.
unsafe fn test_param(test: *mut pg_sys::Node) -> Converted<*mut pg_sys::Node> {
    // SAFETY: an expression; tags are checked before casts.
    unsafe {
        if test.is_null() || (*test).type_ != NodeTag::T_OpExpr {
            return no("IN of several columns");
        }
        let args = PgList::<pg_sys::Node>::from_pg((*(test as *mut pg_sys::OpExpr)).args);
        let mut node = args.get_ptr(1).unwrap_or(std::ptr::null_mut());
        while !node.is_null() && (*node).type_ == NodeTag::T_RelabelType {
            node = (*(node as *mut pg_sys::RelabelType)).arg.cast();
        }
        if node.is_null() || (*node).type_ != NodeTag::T_Param {
            return no("IN of an expression over the subquery's column");
        }
        Ok(node)
    }
}

/// The kind of the same join with its inputs exchanged.
fn mirrored(kind: JoinKind) -> JoinKind {
    match kind {
        JoinKind::Left => JoinKind::Right,
        JoinKind::Right => JoinKind::Left,
        JoinKind::Semi => JoinKind::BuildSemi,
        JoinKind::Anti => JoinKind::BuildAnti,
        JoinKind::BuildSemi => JoinKind::Semi,
        JoinKind::BuildAnti => JoinKind::Anti,
        JoinKind::Inner | JoinKind::Full | JoinKind::AntiNotIn => kind,
    }
}

fn join_kind(join_type: pg_sys::JoinType::Type) -> Converted<JoinKind> {
    Ok(match join_type {
        pg_sys::JoinType::JOIN_INNER => JoinKind::Inner,
        pg_sys::JoinType::JOIN_LEFT => JoinKind::Left,
        pg_sys::JoinType::JOIN_RIGHT => JoinKind::Right,
        pg_sys::JoinType::JOIN_FULL => JoinKind::Full,
        pg_sys::JoinType::JOIN_SEMI => JoinKind::Semi,
        pg_sys::JoinType::JOIN_ANTI => JoinKind::Anti,
        #[cfg(not(feature = "pg15"))]
        pg_sys::JoinType::JOIN_RIGHT_ANTI => JoinKind::BuildAnti,
        #[cfg(feature = "pg18")]
        pg_sys::JoinType::JOIN_RIGHT_SEMI => JoinKind::BuildSemi,
        _ => return no("a kind of join that only PostgreSQL has"),
    })
}
