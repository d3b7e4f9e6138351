// SPDX-License-Identifier: Apache-2.0
//! The custom scan that stands for a plan subtree.
use super::super::convert::{repeats_input, Top};
use super::super::required_columns::ParentRequirements;
use super::super::scope::Scope;
use super::super::{node, reasons};
use super::{children, visit};
use crate::pg::{compat, raw};
use pgrx::pg_sys::{self, NodeTag};
use pgrx::{pg_guard, PgList};
use std::ffi::c_void;

/// Builds the custom scan that stands for a subtree.
pub(super) unsafe fn make_node(
    plan: *mut pg_sys::Plan,
    stmt: *mut pg_sys::PlannedStmt,
    top: Top,
    requirements: &ParentRequirements,
) -> *mut pg_sys::CustomScan {
    // SAFETY: a finished plan; the new node shares its lists.
    unsafe {
        let scan =
            pg_sys::palloc0(std::mem::size_of::<pg_sys::CustomScan>()) as *mut pg_sys::CustomScan;
        let new = &raw mut (*scan).scan.plan;
        *new = *plan;
        (*new).type_ = NodeTag::T_CustomScan;
        (*new).lefttree = std::ptr::null_mut();
        (*new).righttree = std::ptr::null_mut();
        (*new).parallel_aware = false;
        (*new).parallel_safe = false;
        (*new).initPlan = init_plans(plan);
        (*scan).custom_scan_tlist = columns_of(&top.scope);
        (*new).targetlist = targets_of(plan, &top.scope, requirements);
        let mut quals = PgList::<pg_sys::Node>::new();
        for qual in &top.quals {
            quals.push(by_index(*qual, &top.scope));
        }
        (*new).qual = quals.into_pg();
        let mut private = PgList::<pg_sys::Plan>::new();
        private.push(plan);
        private.push(requirements.encode().cast());
        if let Some(why) = &requirements.above {
            private.push(reasons::encode(why).cast());
        }
        (*scan).custom_private = private.into_pg();
        let mut feeding = PgList::<pg_sys::Plan>::new();
        for source in &top.sources {
            let Some(mut plan) = source.fed else {
                let relids = (*scan).custom_relids;
                (*scan).custom_relids = pg_sys::bms_add_member(relids, source.rti as i32);
                continue;
            };
            visit(&mut plan, stmt, &ParentRequirements::default());
            feeding.push(plan);
        }
        (*scan).custom_plans = feeding.into_pg();
        (*scan).methods = &node::SCAN_METHODS.0;
        scan
    }
}

/// The columns of the engine's rows, as expressions of the plan.
unsafe fn columns_of(scope: &Scope) -> *mut pg_sys::List {
    let mut columns = PgList::<pg_sys::TargetEntry>::new();
    for (number, item) in (1..).zip(&scope.items) {
        let name = std::ptr::null_mut();
        // SAFETY: items hold expressions.
        columns.push(unsafe { pg_sys::makeTargetEntry(item.shown.cast(), number, name, false) });
    }
    columns.into_pg()
}

/// The targets of a plan node over the engine's columns. Those that nothing above uses become NULL.
unsafe fn targets_of(
    plan: *mut pg_sys::Plan,
    scope: &Scope,
    requirements: &ParentRequirements,
) -> *mut pg_sys::List {
    let mut targets = PgList::<pg_sys::TargetEntry>::new();
    // SAFETY: a finished plan, whose targets are copied.
    unsafe {
        let old = PgList::<pg_sys::TargetEntry>::from_pg((*plan).targetlist);
        for (i, target) in old.iter_ptr().enumerate() {
            let copy = pg_sys::palloc0(std::mem::size_of::<pg_sys::TargetEntry>())
                as *mut pg_sys::TargetEntry;
            *copy = *target;
            (*copy).expr = if is_null((*target).expr.cast()) {
                (*target).expr
            } else if repeats_input(plan) {
                // Entry i is item i.
                index_var(scope, i).cast()
            } else if requirements.uses((*target).resno) {
                by_index((*target).expr.cast(), scope).cast()
            } else {
                let unused = (*target).expr.cast();
                pg_sys::makeNullConst(
                    pg_sys::exprType(unused),
                    pg_sys::exprTypmod(unused),
                    pg_sys::exprCollation(unused),
                )
                .cast()
            };
            targets.push(copy);
        }
    }
    targets.into_pg()
}

/// The InitPlans of all nodes of a subtree: they move to the node that stands for it.
///
/// # Safety
/// A finished plan or null.
pub unsafe fn init_plans(plan: *mut pg_sys::Plan) -> *mut pg_sys::List {
    // SAFETY: a finished plan.
    unsafe {
        if plan.is_null() {
            return std::ptr::null_mut();
        }
        let mut list = pg_sys::list_copy((*plan).initPlan);
        for child in children(plan) {
            list = pg_sys::list_concat(list, init_plans(child));
        }
        list
    }
}

unsafe fn index_var(scope: &Scope, at: usize) -> *mut pg_sys::Node {
    // SAFETY: items hold expressions; makeVar palloc's a node.
    unsafe {
        let item = &scope.items[at];
        pg_sys::makeVar(
            pg_sys::INDEX_VAR as _,
            at as i16 + 1,
            item.type_oid,
            pg_sys::exprTypmod(item.node),
            pg_sys::exprCollation(item.node),
            0,
        )
        .cast()
    }
}

/// Whether an expression is the constant NULL. It is left in targetlists: INSERT looks for it at the places of dropped
/// and of generated columns.
///
/// # Safety
/// An expression.
pub unsafe fn is_null(node: *mut pg_sys::Node) -> bool {
    // SAFETY: the cast follows the node's tag.
    unsafe { (*node).type_ == NodeTag::T_Const && (*(node as *mut pg_sys::Const)).constisnull }
}

/// What a replacement of expressions by items needs.
struct Replace<'a> {
    scope: &'a Scope,
    /// By references to the scan tuple; else by what EXPLAIN shows.
    by_index: bool,
}

#[pg_guard]
unsafe extern "C-unwind" fn replace(
    node: *mut pg_sys::Node,
    context: *mut c_void,
) -> *mut pg_sys::Node {
    // SAFETY: the context is the Replace of `mutate`, alive for the walk.
    unsafe {
        if node.is_null() {
            return node;
        }
        let wanted = &*(context as *const Replace);
        if wanted.by_index && is_null(node) {
            return node;
        }
        if let Some(at) = wanted.scope.find(node) {
            if wanted.by_index {
                return index_var(wanted.scope, at);
            }
            return pg_sys::copyObjectImpl(wanted.scope.items[at].shown.cast()).cast();
        }
        let changed = raw::tree_mutator(node, replace, context);
        match wanted.by_index {
            true => changed,
            false => compat::shown_anywhere(changed),
        }
    }
}

unsafe fn mutate(node: *mut pg_sys::Node, scope: &Scope, by_index: bool) -> *mut pg_sys::Node {
    let mut wanted = Replace { scope, by_index };
    // SAFETY: passed on to the caller; the mutator copies what it changes.
    unsafe { replace(node, (&raw mut wanted).cast()) }
}

/// An expression over the scan tuple.
unsafe fn by_index(node: *mut pg_sys::Node, scope: &Scope) -> *mut pg_sys::Node {
    // SAFETY: passed on to the caller: an expression of a finished plan.
    unsafe { mutate(node, scope, true) }
}

/// An expression with references to base tables only.
///
/// # Safety
/// An expression of a finished plan.
pub unsafe fn flatten(node: *mut pg_sys::Node, scope: &Scope) -> *mut pg_sys::Node {
    // SAFETY: passed on to the caller.
    unsafe { mutate(node, scope, false) }
}
