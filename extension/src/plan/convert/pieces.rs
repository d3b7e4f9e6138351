// SPDX-License-Identifier: Apache-2.0
//! Small parts of conversions.
use super::super::scope::{Column, Item, Scope};
use super::super::{hook, no, Converted};
use super::{Core, Output};
use doris_engine::expr::Expr;
use pgrx::pg_sys::{self, NodeTag};
use pgrx::PgList;

/// A kind of plan node that the engine has not, as EXPLAIN calls it.
pub(super) fn described(tag: NodeTag) -> String {
    let known = match tag {
        NodeTag::T_IndexScan => "an index scan",
        NodeTag::T_IndexOnlyScan => "an index-only scan",
        NodeTag::T_BitmapHeapScan => "a bitmap scan",
        NodeTag::T_TidScan | NodeTag::T_TidRangeScan => "a scan by ctid",
        NodeTag::T_SampleScan => "a scan of a sample",
        NodeTag::T_FunctionScan | NodeTag::T_TableFuncScan => "a scan of a function",
        NodeTag::T_ValuesScan => "a list of values",
        NodeTag::T_CteScan => "a scan of a CTE",
        NodeTag::T_ForeignScan => "a scan of a foreign table",
        NodeTag::T_CustomScan => "a custom scan",
        NodeTag::T_NamedTuplestoreScan => "a scan of a transition table",
        NodeTag::T_WorkTableScan | NodeTag::T_RecursiveUnion => "a recursive query",
        NodeTag::T_Memoize => "a nested loop that remembers rows",
        NodeTag::T_ProjectSet => "a function that returns a set, among the columns",
        NodeTag::T_Result => "a row without a table",
        NodeTag::T_ModifyTable => "a change of a table",
        NodeTag::T_LockRows => "rows that are locked",
        NodeTag::T_Gather | NodeTag::T_GatherMerge => "a plan of parallel processes",
        NodeTag::T_SetOp => "a set operation",
        other => return format!("plan node {other:?}"),
    };
    known.into()
}

/// A Sort below a node that does not need its input sorted is left out.
pub(super) unsafe fn unsorted(plan: *mut pg_sys::Plan) -> *mut pg_sys::Plan {
    // SAFETY: a plan node or null. A Sort's targetlist is its input's.
    unsafe {
        if !plan.is_null() && matches!((*plan).type_, NodeTag::T_Sort | NodeTag::T_IncrementalSort)
        {
            return (*plan).lefttree;
        }
        plan
    }
}

/// The Var by which a plan node refers to the output column at `at` of its input `varno`.
pub(super) fn var_of(item: &Item, varno: i32, at: usize) -> *mut pg_sys::Node {
    // SAFETY: item nodes are expressions of a finished plan; makeVar palloc's a node.
    let var = unsafe {
        pg_sys::makeVar(
            varno as _,
            at as i16 + 1,
            pg_sys::exprType(item.node),
            pg_sys::exprTypmod(item.node),
            pg_sys::exprCollation(item.node),
            0,
        )
    };
    var.cast()
}

/// A child's output under the Vars by which its parent refers to it.
pub(super) fn renamed(input: Output, varno: i32) -> Core {
    let items = input
        .entries
        .into_iter()
        .enumerate()
        .map(|(i, item)| Item {
            node: var_of(&item, varno, i),
            ..item
        })
        .collect();
    Core {
        node: input.node,
        scope: Scope { items },
    }
}

/// An expression whose values show the scale that PostgreSQL gives them.
pub(super) fn as_shown(expr: Expr) -> Converted<Expr> {
    Ok(expr.shown()?)
}

/// Adds an expression that the engine computes, unless it is there.
///
/// # Safety
/// An expression of a finished plan.
pub(super) unsafe fn push_native(
    scope: &Scope,
    items: &mut Vec<Item>,
    exprs: &mut Vec<Expr>,
    node: *mut pg_sys::Node,
    expr: Expr,
) {
    let known = Scope {
        items: items.clone(),
    };
    // SAFETY: passed on to the caller.
    unsafe {
        if known.find(node).is_some() {
            return;
        }
        let column = Column::Native(0, expr.data_type());
        items.push(Item {
            shown: hook::flatten(node, scope),
            ..Item::new(node, column)
        });
    }
    exprs.push(expr);
}

/// Adds what an expression that PostgreSQL evaluates refers to.
pub(super) unsafe fn take_pieces(
    scope: &Scope,
    items: &mut Vec<Item>,
    exprs: &mut Vec<Expr>,
    node: *mut pg_sys::Node,
) -> Converted<()> {
    // SAFETY: an expression of a finished plan.
    unsafe {
        let flags = pg_sys::PVC_INCLUDE_AGGREGATES
            | pg_sys::PVC_INCLUDE_WINDOWFUNCS
            | pg_sys::PVC_INCLUDE_PLACEHOLDERS;
        let found = pg_sys::pull_var_clause(node, flags as i32);
        for piece in PgList::<pg_sys::Node>::from_pg(found).iter_ptr() {
            let Some(at) = scope.find(piece) else {
                return no(match hook::writing::is_whole_row(piece) {
                    true => "a whole row",
                    false => "a column that is asked for and not handed on",
                });
            };
            let item = &scope.items[at];
            match item.column {
                Column::Native(index, data_type) => {
                    push_native(scope, items, exprs, piece, Expr::column(index, data_type));
                }
                Column::Missing => return no("a value that the engine cannot compute"),
            }
        }
        Ok(())
    }
}

/// Whether rows group by values of a type.
pub(super) fn check_grouped(data_type: doris_engine::types::DataType) -> Converted<()> {
    match data_type {
        // Grouped by their length; one of the equal ones is shown.
        doris_engine::types::DataType::Interval => Ok(()),
        other => check_sortable(other),
    }
}

/// Whether values sort here, and equal ones are told apart from others.
pub(super) fn check_sortable(data_type: doris_engine::types::DataType) -> Converted<()> {
    match data_type {
        doris_engine::types::DataType::Decimal => Ok(()),
        other => check_groupable(other),
    }
}

pub(super) fn check_groupable(data_type: doris_engine::types::DataType) -> Converted<()> {
    use doris_engine::types::{Collation, DataType};
    match data_type {
        DataType::Text {
            collation: Collation::Other,
        }
        | DataType::Bpchar {
            collation: Collation::Other,
        } => no("a nondeterministic collation"),
        DataType::Interval | DataType::Decimal | DataType::Opaque { .. } => {
            no(format!("grouping by {data_type}"))
        }
        _ => Ok(()),
    }
}
