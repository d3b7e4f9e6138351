// SPDX-License-Identifier: Apache-2.0
//! Parse trees, plans and EXPLAIN.
use crate::pg::raw;
use pgrx::pg_sys;

/// Whether an aggregate trusts the planner that its rows come sorted by its ORDER BY or DISTINCT, as some do from 16
/// on.
pub fn is_presorted(aggref: &pg_sys::Aggref) -> bool {
    #[cfg(not(feature = "pg15"))]
    return aggref.aggpresorted;
    #[cfg(feature = "pg15")]
    {
        let _ = aggref;
        false
    }
}

/// What EXPLAIN shows of an expression in any plan node: 18 prints calls of window functions in WindowAgg nodes only,
/// and reports an error elsewhere, so that they become plain calls, without their windows.
///
/// # Safety
/// An expression that may be changed, or null.
pub unsafe fn shown_anywhere(node: *mut pg_sys::Node) -> *mut pg_sys::Node {
    #[cfg(not(feature = "pg18"))]
    return node;
    #[cfg(feature = "pg18")]
    // SAFETY: passed on to the caller; the tag tells the type.
    unsafe {
        if node.is_null() || (*node).type_ != pg_sys::NodeTag::T_WindowFunc {
            return node;
        }
        let function = node as *mut pg_sys::WindowFunc;
        pg_sys::makeFuncExpr(
            (*function).winfnoid,
            (*function).wintype,
            (*function).args,
            (*function).wincollid,
            (*function).inputcollid,
            pg_sys::CoercionForm::COERCE_EXPLICIT_CALL,
        )
        .cast()
    }
}

/// Whether a parsed DELETE has a RETURNING.
///
/// # Safety
/// A parsed statement.
pub unsafe fn returns_rows(delete: *const pg_sys::DeleteStmt) -> bool {
    // SAFETY: passed on to the caller.
    unsafe {
        #[cfg(feature = "pg18")]
        return !(*delete).returningClause.is_null();
        #[cfg(not(feature = "pg18"))]
        !(*delete).returningList.is_null()
    }
}

/// Which rows an action of MERGE is for.
pub enum Merges {
    /// Rows of the table that have a match in the source.
    Found,
    /// Rows of the source without a match.
    New,
    /// Rows of the table without a match, from 17 on.
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    Unmatched,
}

/// Which rows an action of MERGE is for.
///
/// # Safety
/// A valid action.
pub unsafe fn merges(action: *const pg_sys::MergeAction) -> Merges {
    // SAFETY: passed on to the caller.
    unsafe {
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        return match (*action).matchKind {
            pg_sys::MergeMatchKind::MERGE_WHEN_MATCHED => Merges::Found,
            pg_sys::MergeMatchKind::MERGE_WHEN_NOT_MATCHED_BY_TARGET => Merges::New,
            _ => Merges::Unmatched,
        };
        #[cfg(not(any(feature = "pg17", feature = "pg18")))]
        match (*action).matched {
            true => Merges::Found,
            false => Merges::New,
        }
    }
}

/// The text of a String node.
///
/// # Safety
/// A String node.
pub unsafe fn string_value(node: *mut pg_sys::Node) -> String {
    // SAFETY: passed on to the caller.
    unsafe {
        let text = (*(node as *mut pg_sys::String)).sval;
        std::ffi::CStr::from_ptr(text)
            .to_string_lossy()
            .into_owned()
    }
}

/// What EXPLAIN does with a query where no other extension does it: plans it, and shows the plan with the time and the
/// buffers that planning took. Before 17 PostgreSQL has no function for it. Errors pass through.
///
/// # Safety
/// The arguments of the hook on EXPLAIN.
pub unsafe fn explain_one_query(
    query: *mut pg_sys::Query,
    options: i32,
    into: *mut pg_sys::IntoClause,
    es: *mut pg_sys::ExplainState,
    text: *const std::ffi::c_char,
    params: pg_sys::ParamListInfo,
    env: *mut pg_sys::QueryEnvironment,
) {
    // SAFETY: passed on to the caller. Nothing in this frame needs dropping.
    unsafe {
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        raw::standard_ExplainOneQuery(query, options, into, es, text, params, env);
        #[cfg(not(any(feature = "pg17", feature = "pg18")))]
        {
            let before = pg_sys::pgBufferUsage;
            let start = std::time::Instant::now();
            let stmt = raw::pg_plan_query(query, text, options, params);
            let duration = instr_time(start.elapsed());
            let mut used = pg_sys::BufferUsage::default();
            pg_sys::BufferUsageAccumDiff(&mut used, &raw const pg_sys::pgBufferUsage, &before);
            let buffers = match (*es).buffers {
                true => &raw const used,
                false => std::ptr::null(),
            };
            raw::ExplainOnePlan(stmt, into, es, text, params, env, &duration, buffers);
        }
    }
}

/// A duration as PostgreSQL keeps it.
#[cfg(feature = "pg15")]
fn instr_time(duration: std::time::Duration) -> pg_sys::instr_time {
    pg_sys::instr_time {
        tv_sec: duration.as_secs() as i64,
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

/// A duration as PostgreSQL keeps it.
#[cfg(feature = "pg16")]
fn instr_time(duration: std::time::Duration) -> pg_sys::instr_time {
    pg_sys::instr_time {
        ticks: duration.as_nanos() as i64,
    }
}

/// A function that a walk calls for each node.
pub type TreeWalker =
    Option<unsafe extern "C-unwind" fn(*mut pg_sys::Node, *mut std::ffi::c_void) -> bool>;

/// Calls `walker` for each node right below one of the parser's.
///
/// # Safety
/// A node as the parser makes it.
pub unsafe fn raw_expression_tree_walker(
    node: *mut pg_sys::Node,
    walker: TreeWalker,
    context: *mut std::ffi::c_void,
) -> bool {
    #[cfg(feature = "pg15")]
    {
        extern "C-unwind" {
            fn raw_expression_tree_walker(
                node: *mut pg_sys::Node,
                walker: TreeWalker,
                context: *mut std::ffi::c_void,
            ) -> bool;
        }
        // SAFETY: the caller's promise.
        unsafe { raw_expression_tree_walker(node, walker, context) }
    }
    #[cfg(not(feature = "pg15"))]
    // SAFETY: the caller's promise.
    unsafe {
        pg_sys::raw_expression_tree_walker_impl(node, walker, context)
    }
}
