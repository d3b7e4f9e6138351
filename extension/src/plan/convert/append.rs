// SPDX-License-Identifier: Apache-2.0
//! Several inputs one after the other: partitions, UNION ALL, and the two sides of INTERSECT and EXCEPT.
use super::super::partitions::Chosen;
use super::super::scope::{Column, Item, Scope};
use super::super::{no, Converted};
use super::{check_grouped, Converter, Core, Output};
use crate::pg::pruning::{self, Steps};
use doris_engine::expr::Expr;
use doris_engine::plan::{Node, SetOpKind};
use doris_engine::types::{Collation, DataType};
use pgrx::pg_sys;
use pgrx::PgList;

impl Converter<'_> {
    pub(super) unsafe fn append(&mut self, append: *mut pg_sys::Append) -> Converted<Core> {
        // SAFETY: as for `top`.
        unsafe {
            let pruned = self.is_pruned(append.cast())?;
            let plans = PgList::<pg_sys::Plan>::from_pg((*append).appendplans);
            let mut inputs = Vec::new();
            for plan in plans.iter_ptr() {
                inputs.push(self.output(plan, false)?);
            }
            let Some(first) = inputs.first() else {
                return no("nothing to append");
            };
            let entries = first.entries.clone();
            let types = common_types(&inputs)?;
            let inputs = inputs
                .into_iter()
                .map(|input| self.as_columns(input, &types))
                .collect::<Converted<Vec<Node>>>()?;
            let node = self.union_of(inputs, pruned.map(|_| append.cast()));
            let items = numbered(entries, &types, pg_sys::OUTER_VAR);
            Ok(Core {
                node,
                scope: Scope { items },
            })
        }
    }

    /// When PostgreSQL prunes inputs of an Append or MergeAppend; `None`: never.
    pub(super) unsafe fn is_pruned(&self, append: *mut pg_sys::Plan) -> Converted<Option<Steps>> {
        // SAFETY: as for `top`.
        let steps = unsafe { pruning::steps(append, self.stmt) };
        match steps {
            // From 18 on an Append's one state numbers its inputs anew when it is made ready for the rest. That cannot
            // be done twice, as it would be when PostgreSQL's plan takes over.
            Some(steps) if cfg!(feature = "pg18") && steps.at_start && steps.running => {
                no("partitions chosen when the query starts and again while it runs")
            }
            steps => Ok(steps),
        }
    }

    /// The rows of inputs, of which PostgreSQL chooses some when the node starts if they are those of `pruned`.
    pub(super) fn union_of(
        &mut self,
        inputs: Vec<Node>,
        pruned: Option<*mut pg_sys::Plan>,
    ) -> Node {
        let id = self.id();
        let chosen = pruned.map(|append| Chosen { id, append });
        self.chosen.extend(chosen);
        Node::union_all(id, inputs)
    }

    /// An input whose columns are its entries, of the given types.
    pub(super) fn as_columns(&mut self, input: Output, types: &[DataType]) -> Converted<Node> {
        let mut exprs = Vec::new();
        for (item, to) in input.entries.iter().zip(types) {
            let Column::Native(index, from) = item.column else {
                return no("inputs that PostgreSQL finishes");
            };
            let column = Expr::column(index, from);
            exprs.push(match from == *to {
                true => column,
                false => Expr::cast(column, *to)?,
            });
        }
        Ok(Node::project(self.id(), input.node, exprs))
    }

    /// INTERSECT and EXCEPT.
    pub(super) unsafe fn set_op(
        &mut self,
        set_op: *mut pg_sys::SetOp,
        ordered: bool,
    ) -> Converted<Core> {
        // SAFETY: as for `top`.
        unsafe {
            if ordered && (*set_op).strategy == pg_sys::SetOpStrategy::SETOP_SORTED {
                return no("sorted rows whose order is used");
            }
            let [left, right] = sides(set_op)?;
            let inputs = [self.output(left, false)?, self.output(right, false)?];
            let compared = inputs[0].entries.len() - usize::from(HAS_FLAG);
            if compared == 0 || (*set_op).numCols as usize != compared || !is_flag(set_op, compared)
            {
                return no("a set operation over other columns");
            }
            let mut types = common_types(&inputs)?;
            let entries = inputs[0].entries.clone();
            let flag_type = types.split_off(compared).pop();
            for t in &types {
                check_grouped(*t)?;
            }
            let [left, right] = inputs.map(|input| self.as_columns(input, &types));
            use pg_sys::SetOpCmd::*;
            let (kind, all) = match (*set_op).cmd {
                SETOPCMD_INTERSECT => (SetOpKind::Intersect, false),
                SETOPCMD_INTERSECT_ALL => (SetOpKind::Intersect, true),
                SETOPCMD_EXCEPT => (SetOpKind::Except, false),
                _ => (SetOpKind::Except, true),
            };
            let mut node = Node::set_op(self.id(), kind, all, left?, right?);
            if let Some(flag) = flag_type {
                // It is there for PostgreSQL's own node only: its value does not matter any more.
                let columns = types.iter().enumerate().map(|(i, t)| Expr::column(i, *t));
                let exprs = columns.chain([Expr::null(flag)]).collect();
                node = Node::project(self.id(), node, exprs);
                types.push(flag);
            }
            let items = numbered(entries, &types, pg_sys::OUTER_VAR);
            Ok(Core {
                node,
                scope: Scope { items },
            })
        }
    }
}

/// Whether rows of both sides have one more column, which tells the sides apart: before 18.
const HAS_FLAG: bool = cfg!(not(feature = "pg18"));

/// The inputs of INTERSECT and EXCEPT, before 18: those of an Append.
#[cfg(not(feature = "pg18"))]
unsafe fn sides(set_op: *mut pg_sys::SetOp) -> Converted<[*mut pg_sys::Plan; 2]> {
    // SAFETY: a finished plan; the tag is checked before the cast.
    unsafe {
        let below = super::unsorted((*set_op).plan.lefttree);
        if below.is_null() || (*below).type_ != pg_sys::NodeTag::T_Append {
            return no("a set operation over something else than two inputs");
        }
        let plans = PgList::<pg_sys::Plan>::from_pg((*(below as *mut pg_sys::Append)).appendplans);
        match (plans.get_ptr(0), plans.get_ptr(1), plans.len()) {
            (Some(left), Some(right), 2) => Ok([left, right]),
            _ => no("a set operation over something else than two inputs"),
        }
    }
}

/// The inputs of INTERSECT and EXCEPT.
#[cfg(feature = "pg18")]
unsafe fn sides(set_op: *mut pg_sys::SetOp) -> Converted<[*mut pg_sys::Plan; 2]> {
    // SAFETY: a finished plan.
    unsafe {
        let plan = &(*set_op).plan;
        Ok([
            super::unsorted(plan.lefttree),
            super::unsorted(plan.righttree),
        ])
    }
}

/// Whether a column is the one that tells the sides apart.
#[cfg(not(feature = "pg18"))]
unsafe fn is_flag(set_op: *mut pg_sys::SetOp, column: usize) -> bool {
    // SAFETY: a finished plan.
    unsafe { (*set_op).flagColIdx as usize == column + 1 }
}

#[cfg(feature = "pg18")]
unsafe fn is_flag(_set_op: *mut pg_sys::SetOp, _column: usize) -> bool {
    true
}

/// The types that hold the columns of all inputs.
pub(super) fn common_types(inputs: &[Output]) -> Converted<Vec<DataType>> {
    let mut types: Vec<DataType> = Vec::new();
    for (number, input) in inputs.iter().enumerate() {
        if number > 0 && input.entries.len() != types.len() {
            return no("inputs of differing width");
        }
        for (i, item) in input.entries.iter().enumerate() {
            let Column::Native(_, t) = item.column else {
                return no("inputs that PostgreSQL finishes");
            };
            match types.get_mut(i) {
                None => types.push(t),
                Some(known) => *known = common_type(*known, t)?,
            }
            let padded = matches!(t, DataType::Bpchar { .. });
            if padded && width(item) != width(&inputs[0].entries[i]) {
                return no("inputs of character(n) of differing widths");
            }
        }
    }
    Ok(types)
}

/// The type modifier of an output column.
fn width(item: &Item) -> i32 {
    // SAFETY: an expression of a finished plan.
    unsafe { pg_sys::exprTypmod(item.node) }
}

fn common_type(a: DataType, b: DataType) -> Converted<DataType> {
    match (a, b) {
        _ if a == b => Ok(a),
        (
            DataType::Numeric {
                precision: p1,
                scale: s1,
            },
            DataType::Numeric {
                precision: p2,
                scale: s2,
            },
        ) if s1 == s2 => Ok(DataType::Numeric {
            precision: p1.max(p2),
            scale: s1,
        }),
        (a, b) if a.is_numeric() && b.is_numeric() => Ok(DataType::Decimal),
        // Nobody knows by which collation they compare, but what is equal is.
        (DataType::Text { collation: x }, DataType::Text { collation: y })
            if x.equals_bytes() && y.equals_bytes() =>
        {
            Ok(DataType::Text {
                collation: Collation::Deterministic,
            })
        }
        _ => no("inputs of differing types"),
    }
}

/// Items for the columns of a node whose targetlist refers to its input by number.
pub(super) fn numbered(entries: Vec<Item>, types: &[DataType], varno: i32) -> Vec<Item> {
    let renumber = |(i, (item, t)): (usize, (Item, &DataType))| Item {
        node: super::var_of(&item, varno, i),
        column: Column::Native(i, *t),
        ..item
    };
    entries
        .into_iter()
        .zip(types)
        .enumerate()
        .map(renumber)
        .collect()
}
