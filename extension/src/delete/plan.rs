// SPDX-License-Identifier: Apache-2.0
//! Which DELETE and UPDATE statements read ahead, and the node put into their plans.
use super::node;
use crate::options::settings;
use crate::plan::hook::has_segments;
use crate::store::deletes::What;
use pgrx::pg_sys::CmdType::{self, CMD_DELETE, CMD_UPDATE};
use pgrx::pg_sys::{self, NodeTag};
use pgrx::PgList;

/// What a statement does with the rows of its input, if that can be done ahead.
pub fn what(command: CmdType::Type) -> Option<What> {
    match command {
        CMD_DELETE => Some(What::Deleted),
        CMD_UPDATE => Some(What::Updated),
        _ => None,
    }
}

/// Whether nothing in a DELETE or UPDATE can look at its table while it runs, as far as the query tells.
///
/// # Safety
/// An analysed query.
pub unsafe fn may_read_ahead(parse: *mut pg_sys::Query) -> bool {
    // SAFETY: passed on to the caller.
    unsafe {
        what((*parse).commandType).is_some()
            && settings::bulk_delete_rows() > 0
            && !(*parse).hasModifyingCTE
            && !pg_sys::contain_volatile_functions(parse.cast())
    }
}

/// Puts the node that reads ahead under the ModifyTable of a DELETE or UPDATE.
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
        // An update may take a row to another partition, or to none.
        let Some(what) = what((*modify).operation).filter(|_| !(*modify).partColsUpdated) else {
            return;
        };
        if one || locks_rows(stmt) {
            return;
        }
        let targets = PgList::<i32>::from_pg((*modify).resultRelations);
        let columnar = targets.iter_int().any(|rti| {
            let rte = pg_sys::rt_fetch(rti as pg_sys::Index, (*stmt).rtable);
            has_segments((*rte).relid)
        });
        if columnar {
            (*plan).lefttree = node::over(source, what).cast();
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
