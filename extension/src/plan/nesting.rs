// SPDX-License-Identifier: Apache-2.0
//! How deeply a query may be nested.
//!
//! Plans and expressions are trees, and nearly all that the engine does with them (converting, pruning, evaluating)
//! recurses. PostgreSQL recurses as well, takes less of the stack for a level and looks how much is left. So a part of
//! a query that is nested more deeply than people write stays with PostgreSQL, which answers it or refuses it as it
//! does over a heap. The bounds hold for what recurses over the engine's own trees too, worker threads included
//! ([`threads`](super::threads) gives them a stack to match).
use super::{no, subplan_source, Converted};
use pgrx::pg_sys::{self, NodeTag};
use pgrx::{pg_guard, PgList};
use std::ffi::c_void;

/// Plan nodes above each other in one conversion. What lies below may feed it, converted by itself.
pub const PLAN_LEVELS_MAX: usize = 150;

/// Operators and functions around each other in an expression. AND and OR of many conditions are one level.
const EXPRESSION_LEVELS_MAX: usize = 200;

/// Whether PostgreSQL would refuse to go on at this depth (`max_stack_depth`).
pub fn stack_is_short() -> bool {
    // SAFETY: compares addresses.
    unsafe { pg_sys::stack_is_too_deep() }
}

/// Refuses a plan node that the engine's recursions, or those of a conversion, might not reach the bottom of.
///
/// # Safety
/// A finished plan.
pub unsafe fn check(plan: *mut pg_sys::Plan, levels: usize) -> Converted<()> {
    if levels > PLAN_LEVELS_MAX || stack_is_short() {
        return no("a query that is nested too deeply");
    }
    // SAFETY: passed on to the caller.
    match unsafe { has_deep_expression(plan) } {
        true => no("an expression that is nested too deeply"),
        false => Ok(()),
    }
}

/// Whether an expression of a plan node, not of those below it, is nested too deeply.
///
/// # Safety
/// A finished plan, not null.
pub unsafe fn has_deep_expression(plan: *mut pg_sys::Plan) -> bool {
    let mut left = EXPRESSION_LEVELS_MAX;
    // SAFETY: passed on to the caller; the tag is checked before casts.
    unsafe {
        let keys = match (*plan).type_ {
            NodeTag::T_HashJoin => (*(plan as *mut pg_sys::HashJoin)).hashclauses,
            NodeTag::T_MergeJoin => (*(plan as *mut pg_sys::MergeJoin)).mergeclauses,
            _ => std::ptr::null_mut(),
        };
        let mut all = subplan_source::expressions(plan)
            .into_iter()
            .chain([keys.cast()]);
        all.any(|expr| exceeds(expr, (&raw mut left).cast()))
    }
}

/// Whether an expression has more levels than the context has left.
#[pg_guard]
unsafe extern "C-unwind" fn exceeds(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    // SAFETY: an expression of a finished plan or null; the context is the count of `has_deep_expression`.
    unsafe {
        if node.is_null() {
            return false;
        }
        let left = context as *mut usize;
        let level = usize::from((*node).type_ != NodeTag::T_List);
        if *left < level || stack_is_short() {
            return true;
        }
        *left -= level;
        let deep = pg_sys::expression_tree_walker(node, Some(exceeds), context);
        *left += level;
        deep
    }
}

/// The conditions that an AND, and those within it, are made of, in their order; without recursion.
///
/// # Safety
/// An expression, or null.
pub unsafe fn conjuncts(quals: *mut pg_sys::Node) -> Vec<*mut pg_sys::Node> {
    // SAFETY: passed on to the caller; the tag is checked before the cast.
    unsafe {
        let (mut found, mut open) = (Vec::new(), vec![quals]);
        while let Some(node) = open.pop() {
            if node.is_null() {
                continue;
            }
            let junction = node as *mut pg_sys::BoolExpr;
            if (*node).type_ == NodeTag::T_BoolExpr
                && (*junction).boolop == pg_sys::BoolExprType::AND_EXPR
            {
                let args = PgList::<pg_sys::Node>::from_pg((*junction).args);
                let first = open.len();
                open.extend(args.iter_ptr());
                open[first..].reverse();
            } else {
                found.push(node);
            }
        }
        found
    }
}
