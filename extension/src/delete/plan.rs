// SPDX-License-Identifier: Apache-2.0
//! Which DELETE statements read ahead, and the node put into their plans.
use super::node;
use crate::options::settings;
use crate::plan::hook::has_segments;
use pgrx::pg_sys::{self, CmdType::CMD_DELETE, NodeTag};
use pgrx::PgList;

/// Whether nothing in a DELETE can look at its table while it runs, as far as the query tells.
///
/// # Safety
/// An analysed query.
pub unsafe fn may_read_ahead(parse: *mut pg_sys::Query) -> bool {
    // SAFETY: passed on to the caller.
    unsafe {
        (*parse).commandType == CMD_DELETE
            && settings::bulk_delete_rows() > 0
            && !(*parse).hasModifyingCTE
            && !pg_sys::contain_volatile_functions(parse.cast())
    }
}

/// Puts the node that reads ahead under the ModifyTable of a DELETE.
///
/// # Safety
/// The finished plan of a query for which [`may_read_ahead`] holds.
pub unsafe fn put(stmt: *mut pg_sys::PlannedStmt) {
    // SAFETY: passed on to the caller; the tag says what the plan is.
    unsafe {
        let plan = (*stmt).planTree;
        if (*plan).type_ != NodeTag::T_ModifyTable || (*plan).lefttree.is_null() {
            return;
        }
        let modify = plan as *mut pg_sys::ModifyTable;
        let source = (*plan).lefttree;
        // A row that is looked up by a key is not worth it.
        let one = (*source).plan_rows <= 1.0;
        if (*modify).operation != CMD_DELETE || one || locks_rows(stmt) {
            return;
        }
        let targets = PgList::<i32>::from_pg((*modify).resultRelations);
        let columnar = targets.iter_int().any(|rti| {
            let rte = pg_sys::rt_fetch(rti as pg_sys::Index, (*stmt).rtable);
            has_segments((*rte).relid)
        });
        if columnar {
            (*plan).lefttree = node::over(source).cast();
        }
    }
}

/// Whether a part of the statement locks rows: what it locks when would change.
unsafe fn locks_rows(stmt: *mut pg_sys::PlannedStmt) -> bool {
    // SAFETY: a finished statement.
    unsafe {
        PgList::<pg_sys::PlanRowMark>::from_pg((*stmt).rowMarks)
            .iter_ptr()
            .any(|mark| (*mark).markType < pg_sys::RowMarkType::ROW_MARK_REFERENCE)
    }
}
