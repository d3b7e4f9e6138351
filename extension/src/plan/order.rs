// SPDX-License-Identifier: Apache-2.0
//! Whether rows of a plan node come in an order that PostgreSQL may have planned with, and who relies on one.
use super::expr::FIRST_OTHER_OID;
use super::{hook, nesting, node};
use crate::pg::{compat, function_name};
use pgrx::pg_catalog::pg_proc::PgProc;
use pgrx::pg_sys::{self, NodeTag};
use pgrx::PgList;

/// `SQLlanguageId` of catalog/pg_language.h.
const SQL_LANGUAGE: pg_sys::Oid = pg_sys::Oid::from_u32(14);

/// Whether somebody above might rely on the order of a node's rows. Errs on the side of yes.
///
/// # Safety
/// A finished plan.
pub unsafe fn may_matter(plan: *mut pg_sys::Plan) -> bool {
    // SAFETY: passed on to the caller; tags are checked before casts.
    unsafe {
        if plan.is_null() {
            return false;
        }
        if nesting::stack_is_short() {
            return true;
        }
        if node::is_ours(plan) {
            return may_matter(node::original(plan.cast()));
        }
        match (*plan).type_ {
            // PostgreSQL knows no order of these.
            NodeTag::T_SeqScan
            | NodeTag::T_SampleScan
            | NodeTag::T_BitmapHeapScan
            | NodeTag::T_TidScan
            | NodeTag::T_HashJoin => false,
            NodeTag::T_Agg => {
                let agg = plan as *mut pg_sys::Agg;
                (*agg).aggstrategy == pg_sys::AggStrategy::AGG_SORTED || !(*agg).chain.is_null()
            }
            NodeTag::T_NestLoop | NodeTag::T_Hash | NodeTag::T_Material | NodeTag::T_Limit => {
                may_matter((*plan).lefttree)
            }
            NodeTag::T_Result => !(*plan).lefttree.is_null() && may_matter((*plan).lefttree),
            NodeTag::T_SubqueryScan => may_matter((*(plan as *mut pg_sys::SubqueryScan)).subplan),
            NodeTag::T_Append => hook::appended(plan)
                .iter_ptr()
                .any(|child| may_matter(child)),
            _ => true,
        }
    }
}

/// Whether an aggregation that stays PostgreSQL's relies on the order of its input, or would show another one.
///
/// # Safety
/// An Agg of a finished plan.
pub unsafe fn matters_to(agg: *mut pg_sys::Agg) -> bool {
    // SAFETY: passed on to the caller; the tag is checked before the cast.
    unsafe {
        let strategy = (*agg).aggstrategy;
        // A mixed one sorts some grouping sets, and hashes others.
        let grouped = strategy == pg_sys::AggStrategy::AGG_SORTED
            || strategy == pg_sys::AggStrategy::AGG_MIXED;
        let flags = pg_sys::PVC_INCLUDE_AGGREGATES | pg_sys::PVC_INCLUDE_PLACEHOLDERS;
        let shows = |list: *mut pg_sys::List| {
            let pieces = pg_sys::pull_var_clause(list.cast(), flags as i32);
            PgList::<pg_sys::Node>::from_pg(pieces)
                .iter_ptr()
                .any(|piece| (*piece).type_ == NodeTag::T_Aggref && !is_indifferent(&*piece.cast()))
        };
        grouped || shows((*agg).plan.targetlist) || shows((*agg).plan.qual)
    }
}

/// Whether an aggregate is known to give the same in whatever order its rows come.
unsafe fn is_indifferent(aggref: &pg_sys::Aggref) -> bool {
    // SAFETY: an Aggref of a finished plan.
    unsafe {
        if aggref.aggfnoid.to_u32() >= FIRST_OTHER_OID || compat::is_presorted(aggref) {
            return false;
        }
        let args = PgList::<pg_sys::TargetEntry>::from_pg(aggref.args);
        let argument = args.get_ptr(0).map(|arg| (*arg).expr.cast());
        let exact = |types: &[pg_sys::Oid]| {
            argument.is_some_and(|node| types.contains(&pg_sys::exprType(node)))
        };
        match function_name(aggref.aggfnoid).as_str() {
            "count" | "bool_and" | "bool_or" | "every" | "bit_and" | "bit_or" | "bit_xor" => true,
            "sum" | "avg" | "stddev" | "stddev_pop" | "stddev_samp" | "variance" | "var_pop"
            | "var_samp" => exact(&SUMMED_EXACTLY),
            // The first of equal values is shown: here they look alike.
            "min" | "max" => {
                exact(&ALIKE_WHERE_EQUAL) || argument.is_some_and(|n| is_plain_text(n))
            }
            _ => false,
        }
    }
}

/// Types whose sums are computed without rounding.
const SUMMED_EXACTLY: [pg_sys::Oid; 4] = [
    pg_sys::INT2OID,
    pg_sys::INT4OID,
    pg_sys::INT8OID,
    pg_sys::NUMERICOID,
];

/// Types whose values look alike where they are equal.
const ALIKE_WHERE_EQUAL: [pg_sys::Oid; 8] = [
    pg_sys::INT2OID,
    pg_sys::INT4OID,
    pg_sys::INT8OID,
    pg_sys::OIDOID,
    pg_sys::DATEOID,
    pg_sys::TIMEOID,
    pg_sys::TIMESTAMPOID,
    pg_sys::TIMESTAMPTZOID,
];

/// Whether an expression is text that is equal where its bytes are.
unsafe fn is_plain_text(node: *mut pg_sys::Node) -> bool {
    // SAFETY: an expression of a finished plan.
    unsafe {
        let collation = pg_sys::exprCollation(node);
        pg_sys::exprType(node) == pg_sys::TEXTOID
            && collation != pg_sys::InvalidOid
            && pg_sys::get_collation_isdeterministic(collation)
    }
}

/// Whether a function in FROM is written in SQL: the planner may put its query in its place.
///
/// # Safety
/// A range table entry of a function.
pub unsafe fn may_come_inline(rte: *mut pg_sys::RangeTblEntry) -> bool {
    // SAFETY: passed on to the caller; the tag is checked before the cast.
    unsafe {
        PgList::<pg_sys::RangeTblFunction>::from_pg((*rte).functions)
            .iter_ptr()
            .any(|function| {
                let call = (*function).funcexpr;
                (*call).type_ == NodeTag::T_FuncExpr
                    && is_sql((*(call as *mut pg_sys::FuncExpr)).funcid)
            })
    }
}

/// Whether a function is written in SQL.
fn is_sql(function: pg_sys::Oid) -> bool {
    PgProc::new(function).is_some_and(|row| row.prolang() == SQL_LANGUAGE)
}
