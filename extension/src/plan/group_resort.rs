// SPDX-License-Identifier: Apache-2.0
//! Groups in an order that only PostgreSQL knows.
//!
//! PostgreSQL may sort rows to group them, and rely on the groups' order afterwards. Where the engine does not know
//! that order (a collation), it groups by hash, and PostgreSQL sorts the groups:
//!
//! ```text
//! GroupAggregate by k            Sort by k
//!   Sort by k              =>      DorisVectorized (Aggregate by k)
//!     rows                           rows
//! ```
use super::required_columns::ParentRequirements;
use pgrx::pg_sys::{self, NodeTag};
use pgrx::PgList;

/// A Sort over what `convert` makes of sorted groups, if it makes anything of them.
///
/// # Safety
/// A finished plan.
pub unsafe fn sorted_groups(
    plan: *mut pg_sys::Plan,
    requirements: &ParentRequirements,
    convert: &dyn Fn(&ParentRequirements) -> Option<*mut pg_sys::CustomScan>,
) -> Option<*mut pg_sys::Plan> {
    // SAFETY: passed on to the caller; tags are checked before casts.
    unsafe {
        let (count, columns) = match (*plan).type_ {
            NodeTag::T_Agg => {
                let agg = plan as *mut pg_sys::Agg;
                let sorted = (*agg).aggstrategy == pg_sys::AggStrategy::AGG_SORTED;
                let sets = !(*agg).groupingSets.is_null() || !(*agg).chain.is_null();
                if !sorted || sets {
                    return None;
                }
                ((*agg).numCols, (*agg).grpColIdx)
            }
            NodeTag::T_Group => {
                let group = plan as *mut pg_sys::Group;
                ((*group).numCols, (*group).grpColIdx)
            }
            _ => return None,
        };
        let below = (*plan).lefttree;
        if !requirements.ordered
            || count == 0
            || below.is_null()
            || (*below).type_ != NodeTag::T_Sort
        {
            return None;
        }
        let sort = below as *mut pg_sys::Sort;
        let grouped: Vec<i16> = (0..count as usize).map(|i| *columns.add(i)).collect();
        let mut order = Vec::new();
        for i in 0..count as usize {
            let column = *(*sort).sortColIdx.add(i);
            if !grouped.contains(&column) {
                return None;
            }
            order.push(output_of(plan, column)?);
        }
        let unordered = ParentRequirements {
            ordered: false,
            need: requirements.need.clone().map(|mut need| {
                need.extend(&order);
                need
            }),
            above: None,
        };
        let node = convert(&unordered)?;
        Some(sort_over(node.cast(), sort, &order))
    }
}

/// The output column that is input column `column`.
unsafe fn output_of(plan: *mut pg_sys::Plan, column: i16) -> Option<i16> {
    // SAFETY: a plan's targetlist; tags are checked before casts.
    unsafe {
        PgList::<pg_sys::TargetEntry>::from_pg((*plan).targetlist)
            .iter_ptr()
            .find(|target| {
                let node = (**target).expr as *mut pg_sys::Node;
                let var = node as *mut pg_sys::Var;
                (*node).type_ == NodeTag::T_Var
                    && (*var).varno == pg_sys::OUTER_VAR
                    && (*var).varattno == column
            })
            .map(|target| (*target).resno)
    }
}

/// A Sort of `input` by the first keys of `like`, which are its columns `order`.
unsafe fn sort_over(
    input: *mut pg_sys::Plan,
    like: *mut pg_sys::Sort,
    order: &[i16],
) -> *mut pg_sys::Plan {
    // SAFETY: finished plans; the new node and its arrays are palloc'd.
    unsafe {
        let sort = pg_sys::palloc0(size_of::<pg_sys::Sort>()) as *mut pg_sys::Sort;
        let plan = &raw mut (*sort).plan;
        *plan = *input;
        (*plan).type_ = NodeTag::T_Sort;
        (*plan).startup_cost = (*input).total_cost;
        (*plan).qual = std::ptr::null_mut();
        (*plan).initPlan = std::ptr::null_mut();
        (*plan).lefttree = input;
        let mut targets = PgList::<pg_sys::TargetEntry>::new();
        for target in PgList::<pg_sys::TargetEntry>::from_pg((*input).targetlist).iter_ptr() {
            let copy =
                pg_sys::palloc0(size_of::<pg_sys::TargetEntry>()) as *mut pg_sys::TargetEntry;
            *copy = *target;
            let node = (*target).expr.cast();
            (*copy).expr = pg_sys::makeVar(
                pg_sys::OUTER_VAR as _,
                (*target).resno,
                pg_sys::exprType(node),
                pg_sys::exprTypmod(node),
                pg_sys::exprCollation(node),
                0,
            )
            .cast();
            targets.push(copy);
        }
        (*plan).targetlist = targets.into_pg();
        let count = order.len();
        (*sort).numCols = count as i32;
        (*sort).sortColIdx = copied(order.as_ptr(), count);
        (*sort).sortOperators = copied((*like).sortOperators, count);
        (*sort).collations = copied((*like).collations, count);
        (*sort).nullsFirst = copied((*like).nullsFirst, count);
        plan
    }
}

unsafe fn copied<T: Copy>(from: *const T, count: usize) -> *mut T {
    // SAFETY: `count` elements lie at `from`; the copy is palloc'd.
    unsafe {
        let to = pg_sys::palloc(size_of::<T>() * count) as *mut T;
        std::ptr::copy_nonoverlapping(from, to, count);
        to
    }
}
