// SPDX-License-Identifier: Apache-2.0
//! Several inputs one after the other: partitions, UNION ALL, and the two sides of INTERSECT and EXCEPT.
use super::super::partitions::Chosen;
use super::super::scope::{Column, Item, Scope};
use super::super::{no, Converted};
#[cfg(not(feature = "pg18"))]
use super::check_grouped;
use super::{Converter, Core, Output};
use crate::pg::pruning::{self, Steps};
use doris_engine::expr::Expr;
use doris_engine::plan::Node;
#[cfg(not(feature = "pg18"))]
use doris_engine::plan::SetOpKind;
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
            // From 18 on an Append's one state numbers its inputs anew when it is made ready for the rest. That cannot be done
            // twice, as it would be when PostgreSQL's plan takes over.
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

    /// INTERSECT and EXCEPT before PostgreSQL 18: over an Append of both sides with a column that tells them apart.
    #[cfg(not(feature = "pg18"))]
    pub(super) unsafe fn set_op(
        &mut self,
        set_op: *mut pg_sys::SetOp,
        ordered: bool,
    ) -> Converted<Core> {
        use pgrx::pg_sys::NodeTag;
        // SAFETY: as for `top`; tags are checked before casts.
        unsafe {
            let below = super::unsorted((*set_op).plan.lefttree);
            if ordered && (*set_op).strategy == pg_sys::SetOpStrategy::SETOP_SORTED {
                return no("sorted rows whose order is used");
            }
            if below.is_null() || (*below).type_ != NodeTag::T_Append {
                return no("a set operation over something else than two inputs");
            }
            let plans =
                PgList::<pg_sys::Plan>::from_pg((*(below as *mut pg_sys::Append)).appendplans);
            let (Some(left), Some(right), 2) = (plans.get_ptr(0), plans.get_ptr(1), plans.len())
            else {
                return no("a set operation over something else than two inputs");
            };
            let inputs = [self.output(left, false)?, self.output(right, false)?];
            let flag = (*set_op).flagColIdx as usize;
            let width = inputs[0].entries.len();
            if flag != width || (*set_op).numCols as usize != width - 1 {
                return no("a set operation over other columns");
            }
            let mut types = common_types(&inputs)?;
            let entries = inputs[0].entries.clone();
            let flag_type = types.pop();
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
            let node = Node::set_op(self.id(), kind, all, left?, right?);
            // The flag is there for PostgreSQL's own node only: its value does not matter any more.
            let mut exprs: Vec<Expr> = (types.iter().enumerate())
                .map(|(i, t)| Expr::column(i, *t))
                .collect();
            types.extend(flag_type);
            exprs.push(Expr::null(types[width - 1]));
            let node = Node::project(self.id(), node, exprs);
            let items = numbered(entries, &types, pg_sys::OUTER_VAR);
            Ok(Core {
                node,
                scope: Scope { items },
            })
        }
    }
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
