// SPDX-License-Identifier: Apache-2.0
//! The planner hooks: which doris tables take part in parallel plans, and custom scans put into finished plans.
use self::custom_scan::make_node;
pub use self::custom_scan::{flatten, init_plans, is_null};
use super::convert::Converter;
use super::nesting;
use super::node;
use super::params::Unbound;
use super::reasons;
use super::required_columns::{self, ParentRequirements, RequiredColumns};
use super::{Converted, Reason};
use crate::bulk_dml;
use crate::options::settings;
use crate::pg::raw;
use pgrx::pg_sys::{self, NodeTag};
use pgrx::{pg_guard, PgList};

mod custom_scan;
pub mod writing;

static mut PREV_PLANNER: pg_sys::planner_hook_type = None;
static mut PREV_PATHLIST: pg_sys::set_rel_pathlist_hook_type = None;

/// Installs the hooks.
pub fn install() {
    // SAFETY: called once, while the library is loaded.
    unsafe {
        PREV_PLANNER = pg_sys::planner_hook;
        pg_sys::planner_hook = Some(planner);
        PREV_PATHLIST = pg_sys::set_rel_pathlist_hook;
        pg_sys::set_rel_pathlist_hook = Some(pathlist);
        super::reasons::install();
        pg_sys::RegisterCustomScanMethods(&node::SCAN_METHODS.0);
        pg_sys::RegisterCustomScanMethods(&bulk_dml::node::DELETE_METHODS.0);
        pg_sys::RegisterCustomScanMethods(&bulk_dml::node::UPDATE_METHODS.0);
    }
}

/// The access method's OID; invalid where the extension is not installed.
fn access_method() -> pg_sys::Oid {
    // SAFETY: a catalogue look-up.
    unsafe { pg_sys::get_am_oid(c"doris".as_ptr(), true) }
}

/// Whether a table has the access method doris.
pub fn is_doris_table(relid: pg_sys::Oid) -> bool {
    // SAFETY: a catalogue look-up; the tuple is released.
    unsafe {
        let cache = pg_sys::SysCacheIdentifier::RELOID as i32;
        let none = pg_sys::Datum::from(0);
        let tuple = pg_sys::SearchSysCache(cache, relid.into(), none, none, none);
        if tuple.is_null() {
            return false;
        }
        let form = crate::pg::form::<pg_sys::FormData_pg_class>(tuple);
        let am = (*form).relam;
        let kind = (*form).relkind as u8;
        pg_sys::ReleaseSysCache(tuple);
        am != pg_sys::InvalidOid
            && (kind == pg_sys::RELKIND_RELATION || kind == pg_sys::RELKIND_MATVIEW)
            && am == access_method()
    }
}

/// PostgreSQL's parallel plans leave tables alone that the engine reads with threads of its own.
#[pg_guard]
unsafe extern "C-unwind" fn pathlist(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    rti: pg_sys::Index,
    rte: *mut pg_sys::RangeTblEntry,
) {
    // SAFETY: valid planner structures; hooks change only while libraries load.
    unsafe {
        if let Some(previous) = PREV_PATHLIST {
            raw::guarded(|| previous(root, rel, rti, rte));
        }
        if (*rte).rtekind == pg_sys::RTEKind::RTE_RELATION
            && (*rel).consider_parallel
            && is_doris_table((*rte).relid)
            && !takes_part((*rte).relid)
        {
            (*rel).consider_parallel = false;
            (*rel).partial_pathlist = std::ptr::null_mut();
            // An Append would still take these whole.
            for path in PgList::<pg_sys::Path>::from_pg((*rel).pathlist).iter_ptr() {
                (*path).parallel_safe = false;
            }
        }
    }
}

/// Whether PostgreSQL's parallel plans may scan a doris table: where the engine would not read it. Index scans of keyed
/// tables are partly ours, and are not shared between processes.
unsafe fn takes_part(relid: pg_sys::Oid) -> bool {
    // SAFETY: the planner holds a lock on every table of the range table.
    unsafe {
        let rel = pg_sys::table_open(relid, pg_sys::NoLock as i32);
        let keyed = !crate::options::table::merge_key(rel).is_empty();
        pg_sys::table_close(rel, pg_sys::NoLock as i32);
        let by_engine = settings::vectorization() && has_segments(relid);
        !keyed && !by_engine
    }
}

/// Not guarded: errors of planning pass through with their positions and context, which a guard would lose.
/// Nothing in this frame needs dropping.
unsafe extern "C-unwind" fn planner(
    parse: *mut pg_sys::Query,
    query: *const std::ffi::c_char,
    options: i32,
    params: pg_sys::ParamListInfo,
) -> *mut pg_sys::PlannedStmt {
    // SAFETY: valid arguments from PostgreSQL; hooks change only while libraries load.
    unsafe {
        let sorted = is_sorted(parse);
        let captured = capture(parse);
        let ahead = before_planning(parse);
        let next = PREV_PLANNER.unwrap_or(raw::standard_planner);
        let stmt = next(parse, query, options, params);
        after_planning(parse, stmt, options, sorted, ahead);
        wrap(stmt, captured, options);
        stmt
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn capture(parse: *mut pg_sys::Query) -> *mut pg_sys::Query {
    // SAFETY: an analysed query.
    unsafe { crate::cdc::query_rewrite::capture(parse) }
}

#[pg_guard]
unsafe extern "C-unwind" fn wrap(
    stmt: *mut pg_sys::PlannedStmt,
    captured: *mut pg_sys::Query,
    options: i32,
) {
    // SAFETY: a finished statement and the copy of its query.
    unsafe { crate::cdc::query_rewrite::wrap(stmt, captured, options) }
}

#[pg_guard]
unsafe extern "C-unwind" fn is_sorted(parse: *mut pg_sys::Query) -> bool {
    // SAFETY: an analysed query.
    unsafe { asks_for_order(parse) }
}

/// Whether a query or a subquery of it has an ORDER BY: without one, the order of the statement's rows is nobody's
/// business. (A subquery's order often shows through.) A function in SQL may become such a subquery.
unsafe fn asks_for_order(query: *mut pg_sys::Query) -> bool {
    // SAFETY: an analysed query; range table entries and CTEs of these kinds hold queries.
    unsafe {
        let subqueries = PgList::<pg_sys::RangeTblEntry>::from_pg((*query).rtable);
        let ctes = PgList::<pg_sys::CommonTableExpr>::from_pg((*query).cteList);
        !(*query).sortClause.is_null()
            || nesting::stack_is_short()
            || subqueries.iter_ptr().any(|rte| match (*rte).rtekind {
                pg_sys::RTEKind::RTE_SUBQUERY => {
                    !(*rte).subquery.is_null() && asks_for_order((*rte).subquery)
                }
                pg_sys::RTEKind::RTE_FUNCTION => super::order::may_come_inline(rte),
                _ => false,
            })
            || ctes.iter_ptr().any(|cte| {
                let inner = (*cte).ctequery;
                (*inner).type_ == NodeTag::T_Query && asks_for_order(inner.cast())
            })
    }
}

/// Returns whether it is a DELETE or UPDATE that may read ahead.
#[pg_guard]
unsafe extern "C-unwind" fn before_planning(parse: *mut pg_sys::Query) -> bool {
    // SAFETY: an analysed query.
    unsafe {
        let ahead = bulk_dml::plan::may_read_ahead(parse);
        crate::keys::statement_checks::query(parse);
        if settings::vectorization() && (*parse).hasSubLinks {
            super::decorrelate::query(parse, 0);
        }
        ahead
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn after_planning(
    parse: *mut pg_sys::Query,
    stmt: *mut pg_sys::PlannedStmt,
    options: i32,
    sorted: bool,
    ahead: bool,
) {
    // SAFETY: a finished statement.
    unsafe {
        // Who turned the engine off compares with PostgreSQL's plan, and is shown that.
        if settings::vectorization() {
            reasons::begin();
            match ineligible(stmt, options) {
                None => convert_statement(stmt, sorted),
                Some(why) => reasons::record(why),
            }
            reasons::finish(parse, stmt);
        }
        if ahead {
            bulk_dml::plan::put(stmt);
        }
    }
}

/// Why a statement has no vectorised parts at all; `None`: it may have some.
unsafe fn ineligible(stmt: *mut pg_sys::PlannedStmt, options: i32) -> Option<&'static str> {
    // SAFETY: a finished statement.
    unsafe {
        if writing::changes_rows(stmt) && !writing::scans_tables(stmt) {
            return Some("no table is read whole");
        }
        if writing::locks_rows(stmt) {
            return Some("rows are locked one by one");
        }
        // A cursor may be read backwards where the plan supports it: ours does not.
        let cursor = pg_sys::CURSOR_OPT_SCROLL | pg_sys::CURSOR_OPT_FAST_PLAN;
        if options as u32 & cursor != 0
            && options as u32 & pg_sys::CURSOR_OPT_NO_SCROLL == 0
            && pg_sys::ExecSupportsBackwardScan((*stmt).planTree)
        {
            return Some("a cursor that may be read backwards");
        }
        let segments = PgList::<pg_sys::RangeTblEntry>::from_pg((*stmt).rtable)
            .iter_ptr()
            .any(|rte| {
                (*rte).rtekind == pg_sys::RTEKind::RTE_RELATION && has_segments((*rte).relid)
            });
        (!segments).then_some("no table has segments: all rows are in the row store")
    }
}

/// Whether a table is a doris table with segments: the others are heaps in all but name.
///
/// # Safety
/// A table that is locked.
pub unsafe fn has_segments(relid: pg_sys::Oid) -> bool {
    if !is_doris_table(relid) {
        return false;
    }
    // SAFETY: the planner holds a lock on every table of the range table.
    unsafe {
        let rel = pg_sys::table_open(relid, pg_sys::NoLock as i32);
        let found = crate::am::relation::totals_now(rel).segments > 0;
        pg_sys::table_close(rel, pg_sys::NoLock as i32);
        found
    }
}

unsafe fn convert_statement(stmt: *mut pg_sys::PlannedStmt, sorted: bool) {
    // SAFETY: a finished statement; its lists hold plans.
    unsafe {
        let all = ParentRequirements {
            ordered: true,
            ..ParentRequirements::default()
        };
        let whole = ParentRequirements {
            ordered: sorted,
            ..ParentRequirements::default()
        };
        visit(&mut (*stmt).planTree, stmt, &whole);
        let subplans = (*stmt).subplans;
        for i in 0..PgList::<pg_sys::Plan>::from_pg(subplans).len() {
            let cell = pg_sys::list_nth_cell(subplans, i as i32);
            let mut plan = (*cell).ptr_value as *mut pg_sys::Plan;
            if !plan.is_null() && (*plan).parallel_safe && (*stmt).parallelModeNeeded {
                // Workers may run it.
                continue;
            }
            visit(&mut plan, stmt, &all);
            (*cell).ptr_value = plan.cast();
        }
    }
}

/// Converts a subtree, or else what of its inputs can be.
unsafe fn visit(
    slot: &mut *mut pg_sys::Plan,
    stmt: *mut pg_sys::PlannedStmt,
    requirements: &ParentRequirements,
) {
    // SAFETY: a finished plan.
    unsafe {
        let plan = *slot;
        if plan.is_null() || nesting::stack_is_short() {
            return;
        }
        let mut below = requirements.clone();
        // A Material is there because its parent reads its rows more than once.
        if !matches!(
            (*plan).type_,
            NodeTag::T_Material | NodeTag::T_Hash | NodeTag::T_ModifyTable
        ) && reads_segments(plan, stmt)
        {
            match convert(plan, stmt, requirements) {
                Ok(node) => {
                    *slot = node.cast();
                    return;
                }
                Err(Reason(why)) => below.above = Some(why.into()),
            }
            let unsorted = |requirements: &ParentRequirements| {
                let above = below.above.clone();
                convert(
                    plan,
                    stmt,
                    &ParentRequirements {
                        above,
                        ..requirements.clone()
                    },
                )
                .ok()
            };
            if let Some(sorted) = super::group_resort::sorted_groups(plan, requirements, &unsorted)
            {
                *slot = sorted;
                return;
            }
        }
        descend(plan, stmt, &below);
    }
}

unsafe fn convert(
    plan: *mut pg_sys::Plan,
    stmt: *mut pg_sys::PlannedStmt,
    requirements: &ParentRequirements,
) -> Converted<*mut pg_sys::CustomScan> {
    let mut params = Unbound;
    // SAFETY: a finished plan.
    let top = unsafe { Converter::new(stmt, &mut params).top(plan, requirements) };
    match &top {
        Ok(_) => reasons::converted(),
        Err(Reason(why)) => reasons::refused(why),
    }
    // SAFETY: as above.
    top.map(|top| unsafe { make_node(plan, stmt, top, requirements) })
}

unsafe fn descend(
    plan: *mut pg_sys::Plan,
    stmt: *mut pg_sys::PlannedStmt,
    requirements: &ParentRequirements,
) {
    // SAFETY: node tags say what a node is.
    unsafe {
        let ordered = match (*plan).type_ {
            NodeTag::T_Sort | NodeTag::T_Hash | NodeTag::T_HashJoin => false,
            NodeTag::T_Agg => super::order::matters_to(plan.cast()),
            NodeTag::T_Gather | NodeTag::T_GatherMerge => return,
            NodeTag::T_ModifyTable if writing::takes_any_order(plan) => requirements.ordered,
            _ => requirements.ordered || (*plan).type_ != NodeTag::T_Result,
        };
        let (outer, inner) = required_columns::of_children(plan, &requirements.need);
        let asking = |ordered: bool, need: RequiredColumns| {
            let above = requirements.above.clone();
            ParentRequirements {
                ordered,
                need,
                above,
            }
        };
        visit(&mut (*plan).lefttree, stmt, &asking(ordered, outer));
        let right = (*plan).righttree;
        if (*plan).type_ == NodeTag::T_MergeJoin
            && !right.is_null()
            && (*right).type_ == NodeTag::T_Sort
        {
            // A merge join marks and restores positions in its inner input.
            let (below, _) = required_columns::of_children(right, &inner);
            visit(&mut (*right).lefttree, stmt, &asking(false, below));
        } else {
            visit(&mut (*plan).righttree, stmt, &asking(ordered, inner));
        }
        if (*plan).type_ == NodeTag::T_SubqueryScan {
            let scan = plan as *mut pg_sys::SubqueryScan;
            visit(
                &mut (*scan).subplan,
                stmt,
                &asking(requirements.ordered, None),
            );
            return;
        }
        let list = appended(plan).into_pg();
        for i in 0..PgList::<pg_sys::Plan>::from_pg(list).len() {
            let cell = pg_sys::list_nth_cell(list, i as i32);
            let mut child = (*cell).ptr_value as *mut pg_sys::Plan;
            visit(&mut child, stmt, &asking(true, None));
            (*cell).ptr_value = child.cast();
        }
    }
}

/// The inputs of an Append or a MergeAppend; none of other nodes.
///
/// # Safety
/// A plan node.
pub unsafe fn appended(plan: *mut pg_sys::Plan) -> PgList<pg_sys::Plan> {
    // SAFETY: the tag says what a node is.
    unsafe {
        PgList::from_pg(match (*plan).type_ {
            NodeTag::T_Append => (*(plan as *mut pg_sys::Append)).appendplans,
            NodeTag::T_MergeAppend => (*(plan as *mut pg_sys::MergeAppend)).mergeplans,
            _ => std::ptr::null_mut(),
        })
    }
}

/// The plans right below one.
///
/// # Safety
/// A finished plan.
pub unsafe fn children(plan: *mut pg_sys::Plan) -> Vec<*mut pg_sys::Plan> {
    // SAFETY: passed on to the caller; the tag is checked before the cast.
    unsafe {
        let inner = match (*plan).type_ {
            NodeTag::T_SubqueryScan => (*(plan as *mut pg_sys::SubqueryScan)).subplan,
            _ => std::ptr::null_mut(),
        };
        [(*plan).lefttree, (*plan).righttree, inner]
            .into_iter()
            .filter(|child| !child.is_null())
            .chain(appended(plan).iter_ptr())
            .collect()
    }
}

/// Whether a subtree scans a table that has segments, or a CTE that does.
///
/// # Safety
/// A plan of the finished statement.
pub unsafe fn reads_segments(plan: *mut pg_sys::Plan, stmt: *mut pg_sys::PlannedStmt) -> bool {
    // SAFETY: passed on to the caller; tags are checked before casts.
    unsafe {
        if plan.is_null() || nesting::stack_is_short() {
            return false;
        }
        if (*plan).type_ == NodeTag::T_SeqScan {
            let rti = (*(plan as *mut pg_sys::SeqScan)).scan.scanrelid;
            return has_segments((*pg_sys::rt_fetch(rti, (*stmt).rtable)).relid);
        }
        if (*plan).type_ == NodeTag::T_CteScan {
            let plans = PgList::<pg_sys::Plan>::from_pg((*stmt).subplans);
            let number = (*(plan as *mut pg_sys::CteScan)).ctePlanId as usize;
            return plans
                .get_ptr(number - 1)
                .is_some_and(|plan| reads_segments(plan, stmt));
        }
        if node::is_ours(plan) {
            return reads_segments(node::original(plan.cast()), stmt);
        }
        if (*plan).type_ == NodeTag::T_SubqueryScan {
            return reads_segments((*(plan as *mut pg_sys::SubqueryScan)).subplan, stmt);
        }
        if appended(plan)
            .iter_ptr()
            .any(|child| reads_segments(child, stmt))
        {
            return true;
        }
        reads_segments((*plan).lefttree, stmt) || reads_segments((*plan).righttree, stmt)
    }
}
