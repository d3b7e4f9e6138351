// SPDX-License-Identifier: Apache-2.0
//! What the planner may do with a key index, which holds heap rows only: look whole keys up, one or a list of them (its
//! `amgettuple` then adds the segment rows), and prove uniqueness. Scans of ranges, index-only and bitmap scans are
//! made too dear or impossible.
use super::index_scan_segments::convertible;
use super::model;
use crate::am::is_doris;
use crate::pg::raw;
use pgrx::{pg_guard, pg_sys, PgList};
use std::sync::OnceLock;

static mut PREV_RELATION_INFO: pg_sys::get_relation_info_hook_type = None;

type Estimate = unsafe extern "C-unwind" fn(
    *mut pg_sys::PlannerInfo,
    *mut pg_sys::IndexPath,
    f64,
    *mut f64,
    *mut f64,
    *mut f64,
    *mut f64,
    *mut f64,
);

/// The btree's own estimate.
static BTREE_ESTIMATE: OnceLock<Estimate> = OnceLock::new();

/// More than any plan costs that PostgreSQL was told not to use.
const IMPOSSIBLE: f64 = 1e30;

/// Installs the hook.
///
/// # Safety
/// Called once, while libraries are loaded.
pub unsafe fn install() {
    // SAFETY: passed on to the caller.
    unsafe {
        PREV_RELATION_INFO = pg_sys::get_relation_info_hook;
        pg_sys::get_relation_info_hook = Some(relation_info);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn relation_info(
    root: *mut pg_sys::PlannerInfo,
    relid: pg_sys::Oid,
    inherited: bool,
    rel: *mut pg_sys::RelOptInfo,
) {
    // SAFETY: valid arguments of the planner, which holds a lock on the relation.
    unsafe {
        if let Some(previous) = PREV_RELATION_INFO {
            raw::guarded(|| previous(root, relid, inherited, rel));
        }
        if (*rel).indexlist.is_null() {
            return;
        }
        let relation = pg_sys::RelationIdGetRelation(relid);
        if relation.is_null() {
            return;
        }
        let model = if is_doris(relation) {
            model::of(relation)
        } else {
            None
        };
        pg_sys::RelationClose(relation);
        let Some(model) = model else { return };
        for index in PgList::<pg_sys::IndexOptInfo>::from_pg((*rel).indexlist).iter_ptr() {
            if model.is_key_index((*index).indexoid) {
                restrict(index);
            }
        }
    }
}

unsafe fn restrict(index: *mut pg_sys::IndexOptInfo) {
    // SAFETY: an index description of the planner's, with ncolumns columns.
    unsafe {
        (*index).amhasgetbitmap = false;
        (*index).amcanparallel = false;
        // Heap rows come first, whatever their keys.
        (*index).sortopfamily = std::ptr::null_mut();
        // Not asked for the least and greatest value of a column, of which it knows the heap's only.
        (*index).hypothetical = true;
        for column in 0..(*index).ncolumns as usize {
            *(*index).canreturn.add(column) = false;
        }
        // amcostestimate_function of access/amapi.h; before 18 the field's type does not tell the arguments.
        let field = (&raw mut (*index).amcostestimate).cast::<Option<Estimate>>();
        if let Some(own) = *field {
            if own as usize != estimate as *const () as usize {
                BTREE_ESTIMATE.get_or_init(|| own);
                *field = Some(estimate);
            }
        }
    }
}

#[pg_guard]
#[allow(clippy::too_many_arguments)] // PostgreSQL's type
unsafe extern "C-unwind" fn estimate(
    root: *mut pg_sys::PlannerInfo,
    path: *mut pg_sys::IndexPath,
    loops: f64,
    startup: *mut f64,
    total: *mut f64,
    selectivity: *mut f64,
    correlation: *mut f64,
    pages: *mut f64,
) {
    // SAFETY: valid arguments of the planner.
    unsafe {
        let own = BTREE_ESTIMATE.get().expect("set with this function");
        raw::guarded(|| {
            own(
                root,
                path,
                loops,
                startup,
                total,
                selectivity,
                correlation,
                pages,
            )
        });
        if !is_look_up(path) {
            *startup = IMPOSSIBLE;
            *total = IMPOSSIBLE;
        }
    }
}

/// Whether an index path looks whole keys up.
unsafe fn is_look_up(path: *mut pg_sys::IndexPath) -> bool {
    // SAFETY: an index path; its clauses are restrictions on columns of the index.
    unsafe {
        let index = (*path).indexinfo;
        let mut bound = vec![false; (*index).nkeycolumns as usize];
        for clause in PgList::<pg_sys::IndexClause>::from_pg((*path).indexclauses).iter_ptr() {
            let column = (*clause).indexcol as usize;
            let quals = PgList::<pg_sys::RestrictInfo>::from_pg((*clause).indexquals);
            if quals.len() != 1 || (*clause).lossy || std::mem::replace(&mut bound[column], true) {
                return false;
            }
            let equal = quals
                .iter_ptr()
                .all(|qual| is_equality((*qual).clause.cast(), index, column));
            if !equal {
                return false;
            }
        }
        bound.into_iter().all(|bound| bound)
    }
}

unsafe fn is_equality(
    clause: *mut pg_sys::Node,
    index: *mut pg_sys::IndexOptInfo,
    column: usize,
) -> bool {
    // SAFETY: a clause of an index path; the casts follow its tag.
    unsafe {
        match (*clause).type_ {
            pg_sys::NodeTag::T_OpExpr | pg_sys::NodeTag::T_ScalarArrayOpExpr => {
                let operator = if (*clause).type_ == pg_sys::NodeTag::T_OpExpr {
                    (*(clause as *mut pg_sys::OpExpr)).opno
                } else {
                    let list = clause as *mut pg_sys::ScalarArrayOpExpr;
                    if !(*list).useOr {
                        return false;
                    }
                    (*list).opno
                };
                let family = *(*index).opfamily.add(column);
                let strategy = pg_sys::get_op_opfamily_strategy(operator, family);
                let (mut left, mut right) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
                pg_sys::op_input_types(operator, &mut left, &mut right);
                strategy == pg_sys::BTEqualStrategyNumber as i32
                    && convertible(right, *(*index).opcintype.add(column))
            }
            pg_sys::NodeTag::T_NullTest => {
                (*(clause as *mut pg_sys::NullTest)).nulltesttype == pg_sys::NullTestType::IS_NULL
            }
            _ => false,
        }
    }
}
