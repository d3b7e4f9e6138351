// SPDX-License-Identifier: Apache-2.0
//! Which DELETE, UPDATE and MERGE statements read ahead, and the node put into their plans.
use super::{eligibility, node};
use crate::options::settings;
use crate::pg::compat;
use crate::plan::hook::{has_segments, writing};
use crate::store::delete_bitmaps::MarkKind;
use pgrx::pg_sys::CmdType::{self, CMD_DELETE, CMD_INSERT, CMD_MERGE, CMD_UPDATE};
use pgrx::pg_sys::{self, NodeTag};
use pgrx::PgList;

/// What a statement does with those rows of its input that are in its tables.
#[derive(Clone, Copy)]
pub struct Work {
    /// The same with all of them.
    pub what: MarkKind,
    /// It inserts rows between them, into its only table.
    pub inserts: bool,
}

/// What a ModifyTable does with the rows that it finds, if that can be done ahead.
///
/// # Safety
/// A finished plan.
pub unsafe fn work(modify: *mut pg_sys::ModifyTable) -> Option<Work> {
    // SAFETY: passed on to the caller.
    unsafe {
        match (*modify).operation {
            CMD_MERGE => of_merge(modify),
            command => what(command).map(|what| Work {
                what,
                inserts: false,
            }),
        }
    }
}

fn what(command: CmdType::Type) -> Option<MarkKind> {
    match command {
        CMD_DELETE => Some(MarkKind::Deleted),
        CMD_UPDATE => Some(MarkKind::Updated),
        _ => None,
    }
}

/// A MERGE does the same with all rows that it finds where it has one action for them, without a condition.
unsafe fn of_merge(modify: *mut pg_sys::ModifyTable) -> Option<Work> {
    // SAFETY: passed on to the caller; all its tables have the same actions.
    unsafe {
        let lists = PgList::<pg_sys::List>::from_pg((*modify).mergeActionLists);
        let actions = PgList::<pg_sys::MergeAction>::from_pg(lists.get_ptr(0)?);
        let (mut found, mut inserts) = (None, false);
        for action in actions.iter_ptr() {
            match compat::merges(action) {
                compat::Merges::Found if found.is_none() && (*action).qual.is_null() => {
                    found = Some(what((*action).commandType)?);
                }
                compat::Merges::New => inserts |= (*action).commandType == CMD_INSERT,
                _ => return None,
            }
        }
        // Rows that are inserted into a partitioned table go to any partition.
        let apart = !inserts || (*modify).rootRelation == 0;
        found.filter(|_| apart).map(|what| Work { what, inserts })
    }
}

/// The columns that a ModifyTable updates in one of its tables.
///
/// # Safety
/// A finished plan.
pub unsafe fn updated_columns(modify: *mut pg_sys::ModifyTable, at: usize) -> Vec<i16> {
    // SAFETY: passed on to the caller.
    unsafe {
        let list = |lists| PgList::<pg_sys::List>::from_pg(lists).get_ptr(at);
        let numbers = match (*modify).operation {
            CMD_MERGE => list((*modify).mergeActionLists).and_then(|actions| {
                let actions = PgList::<pg_sys::MergeAction>::from_pg(actions);
                let update =
                    |action: &*mut pg_sys::MergeAction| (**action).commandType == CMD_UPDATE;
                let update = actions.iter_ptr().find(update);
                update.map(|action| (*action).updateColnos)
            }),
            _ => list((*modify).updateColnosLists),
        };
        let numbers = PgList::<i32>::from_pg(numbers.unwrap_or(std::ptr::null_mut()));
        numbers.iter_int().map(|number| number as i16).collect()
    }
}

/// Whether nothing in a DELETE, UPDATE or MERGE can look at its table while it runs, as far as the query tells.
///
/// # Safety
/// An analysed query.
pub unsafe fn may_read_ahead(parse: *mut pg_sys::Query) -> bool {
    // SAFETY: passed on to the caller.
    unsafe {
        [CMD_DELETE, CMD_UPDATE, CMD_MERGE].contains(&(*parse).commandType)
            && settings::bulk_delete_rows() > 0
            && !(*parse).hasModifyingCTE
            && !eligibility::may_look(parse.cast())
    }
}

/// Puts the node that reads ahead under the ModifyTable of a DELETE, UPDATE or MERGE.
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
        let Some(work) = work(modify).filter(|_| !(*modify).partColsUpdated) else {
            return;
        };
        if one || writing::locks_rows(stmt) {
            return;
        }
        let targets = PgList::<i32>::from_pg((*modify).resultRelations);
        let columnar = targets.iter_int().any(|rti| {
            let rte = pg_sys::rt_fetch(rti as pg_sys::Index, (*stmt).rtable);
            has_segments((*rte).relid)
        });
        if columnar {
            (*plan).lefttree = node::over(source, work.what).cast();
        }
    }
}
