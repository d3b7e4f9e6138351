// SPDX-License-Identifier: Apache-2.0
//! Statements that change rows: UPDATE, DELETE, MERGE, and all that have such a part, or an INSERT, in WITH.
//!
//! What finds the rows to be changed is converted as the plan of a SELECT is: joins of the target with its sources, sources
//! that aggregate, subqueries of SET, WHERE and RETURNING, and what stands beside a part in WITH that changes rows.
//! ModifyTable stays PostgreSQL's, and gets from a converted node what it would get from its scans. That is safe because:
//!
//! 1. **Rows have their places.** Below ModifyTable, each table has its `ctid` among the columns, and `tableoid` where there
//!    are several targets: of the target, to find the row that is to be changed; of other tables, as row marks, to find
//!    them again in 2. A scan hands both out as columns that the engine carries along
//!    ([`PlaceColumn`](crate::read::attrs::PlaceColumn)); they are the TIDs that PostgreSQL's scan gives. A subquery's row
//!    mark is its whole row, which PostgreSQL forms: its scan of the subquery feeds the engine. Operators that lose
//!    places (the inner side of a semi join) are not converted where places are asked for, as they are columns that are
//!    asked for.
//! 2. **Rows that others have changed are checked again** (EvalPlanQual, under READ COMMITTED). PostgreSQL then starts the
//!    plan below ModifyTable, and all subplans of the statement, once more in an executor state of its own, in which
//!    scans of tables with row marks give one row. A converted node runs PostgreSQL's own plan there, which it keeps:
//!    the engine knows nothing of such rows (`node`, `row`). A plan that locks rows (FOR UPDATE) is not converted at all.
//! 3. **A statement does not see its own changes.** All its parts read with one snapshot and one command number, so that
//!    tuples written meanwhile are not visible to the engine's scans, which look tuple by tuple as PostgreSQL's do:
//!    directory entries of new segments, delete bitmaps and tombstones are such tuples, too. INSERT ... SELECT from
//!    its own target relies on the same. When a scan starts while the statement writes (a subquery of RETURNING), the
//!    pending rows of keyed loads are published first, as by PostgreSQL's scan, and not seen. Only volatile functions see
//!    what the statement has done so far, and checks of domains, which may call some: the topmost node's are evaluated
//!    as ModifyTable asks for rows, and those further down keep their node from being converted.
//! 4. **Only the session's own thread touches PostgreSQL.** It copies column blocks and writes rows by turns; worker
//!    threads work on copies, and only while a row is asked for.
//! 5. **Values of a row are not parameters.** `SET (a, b) = (SELECT ...)` runs a subquery for each row, whose columns are
//!    parameters like those of a subquery that runs once. A node that asks for such a subquery stays PostgreSQL's.
//! 6. **Order.** An UPDATE of a whole table changes its rows in the table's order, as the engine hands out what it
//!    scans in that order: two such statements meet rows in the same order, as with PostgreSQL's scans. After a join the order is
//!    the engine's. Which of several matches an UPDATE ... FROM takes was never defined.
use super::children;
use pgrx::pg_sys::{self, NodeTag};
use pgrx::PgList;

/// Whether a statement changes rows, or has a part in WITH that writes.
///
/// # Safety
/// A finished statement.
pub unsafe fn changes_rows(stmt: *mut pg_sys::PlannedStmt) -> bool {
    // SAFETY: passed on to the caller.
    let (command, with) = unsafe { ((*stmt).commandType, (*stmt).hasModifyingCTE) };
    let reads = [pg_sys::CmdType::CMD_SELECT, pg_sys::CmdType::CMD_INSERT];
    with || !reads.contains(&command)
}

/// Whether a part of a statement locks rows: what it locks, and when, would change.
///
/// # Safety
/// A finished statement.
pub unsafe fn locks_rows(stmt: *mut pg_sys::PlannedStmt) -> bool {
    // SAFETY: passed on to the caller.
    unsafe {
        PgList::<pg_sys::PlanRowMark>::from_pg((*stmt).rowMarks)
            .iter_ptr()
            .any(|mark| (*mark).markType < pg_sys::RowMarkType::ROW_MARK_REFERENCE)
    }
}

/// Whether some table is read whole: a change of a row that an index finds is not looked at any further.
///
/// # Safety
/// A finished statement.
pub unsafe fn scans_tables(stmt: *mut pg_sys::PlannedStmt) -> bool {
    // SAFETY: passed on to the caller.
    unsafe {
        scans((*stmt).planTree)
            || PgList::<pg_sys::Plan>::from_pg((*stmt).subplans)
                .iter_ptr()
                .any(|plan| scans(plan))
    }
}

unsafe fn scans(plan: *mut pg_sys::Plan) -> bool {
    // SAFETY: a finished plan, or null for a subplan that was left out.
    unsafe {
        if plan.is_null() {
            return false;
        }
        super::nesting::stack_is_short()
            || (*plan).type_ == NodeTag::T_SeqScan
            || children(plan).into_iter().any(|child| scans(child))
    }
}

/// Whether a node runs a subquery for each row that sets several columns at once.
///
/// # Safety
/// A finished plan.
pub unsafe fn sets_several_columns(plan: *mut pg_sys::Plan) -> bool {
    // SAFETY: passed on to the caller; the tag is checked before the cast.
    unsafe {
        PgList::<pg_sys::TargetEntry>::from_pg((*plan).targetlist)
            .iter_ptr()
            .any(|target| {
                let subplan = (*target).expr as *mut pg_sys::SubPlan;
                (*(*target).expr).type_ == NodeTag::T_SubPlan
                    && (*subplan).subLinkType == pg_sys::SubLinkType::MULTIEXPR_SUBLINK
            })
    }
}

/// Whether an expression stands for all columns of a row.
///
/// # Safety
/// An expression of a finished plan.
pub unsafe fn is_whole_row(node: *mut pg_sys::Node) -> bool {
    // SAFETY: passed on to the caller; the tag is checked before the cast.
    unsafe { (*node).type_ == NodeTag::T_Var && (*(node as *mut pg_sys::Var)).varattno == 0 }
}

/// Whether a node changes rows that its input finds: their order is nobody's business.
///
/// # Safety
/// A finished plan.
pub unsafe fn takes_any_order(plan: *mut pg_sys::Plan) -> bool {
    // SAFETY: passed on to the caller; the tag is checked before the cast.
    unsafe {
        (*plan).type_ == NodeTag::T_ModifyTable
            && (*(plan as *mut pg_sys::ModifyTable)).operation != pg_sys::CmdType::CMD_INSERT
    }
}
