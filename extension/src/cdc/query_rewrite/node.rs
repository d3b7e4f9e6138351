// SPDX-License-Identifier: Apache-2.0
//! The node on top of a plan that mirrors may stand in for: it hands rows through, and keeps what the choice needs.
use super::CHOSEN;
use crate::pg::custom::{self, Callbacks, Methods};
use pgrx::prelude::*;
use pgrx::PgList;
use std::ffi::{CStr, CString};

/// Name of the node in plans.
const NAME: &CStr = c"DorisMirrors";

/// PostgreSQL's callbacks for plans.
pub(super) static SCAN_METHODS: Methods<pg_sys::CustomScanMethods> =
    custom::scan_methods(NAME, create_state);

static EXEC_METHODS: Methods<pg_sys::CustomExecMethods> = custom::exec_methods(
    NAME,
    Callbacks {
        begin,
        exec,
        end,
        rescan,
        explain,
    },
);

/// The node's state. PostgreSQL knows the first field.
#[repr(C)]
struct MirrorScanState {
    css: pg_sys::CustomScanState,
    /// What was chosen, as EXPLAIN shows it, in the query's memory; or null.
    chosen: *mut std::ffi::c_char,
}

/// A node that hands through the rows of `child`.
///
/// # Safety
/// A finished plan, and a list that can be copied.
pub(super) unsafe fn make(
    child: *mut pg_sys::Plan,
    private: *mut pg_sys::List,
) -> *mut pg_sys::Plan {
    // SAFETY: passed on to the caller; new nodes are zeroed memory of their size.
    unsafe {
        let scan = custom::over(child, &SCAN_METHODS);
        let var = |target: *mut pg_sys::TargetEntry, from: i32| {
            let expr = (*target).expr.cast();
            pg_sys::makeVar(
                from as _,
                (*target).resno,
                pg_sys::exprType(expr),
                pg_sys::exprTypmod(expr),
                pg_sys::exprCollation(expr),
                0,
            )
        };
        let (mut below, mut own) = (PgList::new(), PgList::new());
        let targets = PgList::<pg_sys::TargetEntry>::from_pg((*child).targetlist);
        for target in targets.iter_ptr() {
            let outer = var(target, pg_sys::OUTER_VAR);
            let name = std::ptr::null_mut();
            below.push(pg_sys::makeTargetEntry(
                outer.cast(),
                (*target).resno,
                name,
                false,
            ));
            let copy =
                pg_sys::palloc0(size_of::<pg_sys::TargetEntry>()).cast::<pg_sys::TargetEntry>();
            *copy = *target;
            (*copy).expr = var(target, pg_sys::INDEX_VAR).cast();
            own.push(copy);
        }
        (*scan).scan.plan.targetlist = own.into_pg();
        (*scan).custom_scan_tlist = below.into_pg();
        (*scan).custom_private = private;
        scan.cast()
    }
}

/// The query that a node keeps, and the options it was planned with.
///
/// # Safety
/// A finished plan.
pub(super) unsafe fn captured(plan: *mut pg_sys::Plan) -> Option<(*mut pg_sys::Query, i32)> {
    // SAFETY: the tag and the methods say that the node is one that `make` made.
    unsafe {
        let scan = plan.cast::<pg_sys::CustomScan>();
        if !custom::is_of(plan, &SCAN_METHODS) || (*scan).custom_private.is_null() {
            return None;
        }
        let query = pg_sys::list_nth((*scan).custom_private, 0).cast();
        let options = pg_sys::list_nth((*scan).custom_private, 1).cast::<pg_sys::Integer>();
        Some((query, (*options).ival))
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn create_state(_scan: *mut pg_sys::CustomScan) -> *mut pg_sys::Node {
    // SAFETY: the executor's context; a null pointer is what a state begins with.
    unsafe { custom::new_state::<MirrorScanState>(&EXEC_METHODS) }
}

#[pg_guard]
unsafe extern "C-unwind" fn begin(
    node: *mut pg_sys::CustomScanState,
    estate: *mut pg_sys::EState,
    eflags: i32,
) {
    // SAFETY: a state of ours; the choice was made when this query began to start.
    unsafe {
        let chosen = CHOSEN.take().and_then(|c| CString::new(c).ok());
        if let Some(chosen) = chosen {
            (*node.cast::<MirrorScanState>()).chosen = pg_sys::pstrdup(chosen.as_ptr());
        }
        let child = (*(*node).ss.ps.plan).lefttree;
        (*node).ss.ps.lefttree = pg_sys::ExecInitNode(child, estate, eflags);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn exec(
    node: *mut pg_sys::CustomScanState,
) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: the child was begun. Nothing is above this node that could ask for a kind of slot.
    unsafe { pg_sys::ExecProcNode((*node).ss.ps.lefttree) }
}

#[pg_guard]
unsafe extern "C-unwind" fn end(node: *mut pg_sys::CustomScanState) {
    // SAFETY: ends what `begin` began.
    unsafe { pg_sys::ExecEndNode((*node).ss.ps.lefttree) }
}

#[pg_guard]
unsafe extern "C-unwind" fn rescan(node: *mut pg_sys::CustomScanState) {
    // SAFETY: the input that `begin` began.
    unsafe { custom::rescan_input(node, (*node).ss.ps.lefttree) }
}

#[pg_guard]
unsafe extern "C-unwind" fn explain(
    node: *mut pg_sys::CustomScanState,
    _ancestors: *mut pg_sys::List,
    es: *mut pg_sys::ExplainState,
) {
    // SAFETY: a state of ours; the strings are copied into the output.
    unsafe {
        let chosen = (*node.cast::<MirrorScanState>()).chosen;
        if !chosen.is_null() {
            pg_sys::ExplainPropertyText(c"Answered by".as_ptr(), chosen, es);
        }
    }
}
