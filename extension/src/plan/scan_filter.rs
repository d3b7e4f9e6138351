// SPDX-License-Identifier: Apache-2.0
//! Conditions of PostgreSQL's own sequential scans, told to the scans.
//!
//! Scans under UPDATE, DELETE, MERGE and SELECT FOR UPDATE, of cursors that may be read backwards, and below nodes that
//! the engine does not run, are PostgreSQL's nodes: EvalPlanQual, row locks and backward scans need them. Such a node
//! asks the table for all columns of all rows. When its statement starts, the node gets a scan that knows better: row
//! blocks that zone maps, key index or bloom filters rule out are not read, rows that the engine sees fail are not
//! handed out, and columns that nobody looks at are not decoded. The node checks its conditions all the same, so that
//! a filter may let rows through that it cannot judge.
use super::convert::Converter;
use super::params::{self, Bound, Params};
use super::source::{stored_columns, Counters};
use super::{no, reasons, storage_predicates, Converted};
use crate::am;
use crate::options::settings;
use crate::pg::toast::Toast;
use crate::read::attrs::{self, Attr};
use crate::read::cursor::RowFilter;
use crate::store::segment::Segment;
use doris_engine::batch::{Batch, Selection};
use doris_engine::expr::{EvalContext, Expr};
use doris_storage::prune::{Predicate, Verdict};
use doris_storage::segment::ColumnMeta;
use pgrx::{pg_guard, pg_sys, PgList};
use std::collections::BTreeSet;
use std::ffi::c_void;
use std::rc::Rc;
use std::sync::Arc;

/// What a node's conditions ask of the rows of its table.
struct ScanFilter {
    /// The columns that they look at.
    attrs: Vec<Attr>,
    /// Those that the engine evaluates, over these columns.
    filters: Vec<Expr>,
    /// What the first of them, which raise no error, say of row blocks.
    predicate: Predicate,
    /// Keeps what functions give for the values of dictionaries.
    context: EvalContext<'static>,
    counters: Rc<Counters>,
}

impl RowFilter for ScanFilter {
    fn blocks(
        &self,
        main: pg_sys::Relation,
        toast: &Toast,
        segment: &Segment,
        deleted: usize,
    ) -> Option<Vec<bool>> {
        self.counters.skip_deleted(deleted);
        // A segment that stores a column otherwise than the filters expect is read whole.
        stored_columns(segment, &self.attrs).ok()?;
        let blooms = |meta: &ColumnMeta, block| segment.bloom(main, toast, meta, block);
        let checks = segment.footer.check_blocks(&self.predicate, &blooms);
        self.counters.pruned(&checks);
        let wanted = checks.iter().map(|check| check.verdict != Verdict::None);
        Some(wanted.collect())
    }

    fn rows(
        &self,
        main: pg_sys::Relation,
        toast: &Toast,
        segment: &Segment,
        block: usize,
    ) -> Option<Vec<u32>> {
        self.counters.read_block();
        let mut columns = Vec::with_capacity(self.attrs.len());
        for column in stored_columns(segment, &self.attrs).ok()? {
            columns.push(Arc::new(segment.vector(main, toast, column?, block)));
        }
        let rows = columns.first()?.len();
        let batch = Batch::new(columns, rows);
        let mut selection = Selection::All(rows);
        for filter in &self.filters {
            // An error is raised by PostgreSQL, if it is one of a row that somebody sees.
            selection = filter.filter(&self.context, &batch, selection).ok()?;
        }
        match selection {
            Selection::All(all) if all == rows => None,
            selection => Some(selection.indices().into_owned()),
        }
    }
}

/// Parameters of a node whose conditions are evaluated before its first row.
struct AheadOfRows {
    bound: Bound,
    stmt: *mut pg_sys::PlannedStmt,
    /// Whether the condition at hand is the first, which PostgreSQL evaluates for any row.
    first: bool,
}

impl Params for AheadOfRows {
    unsafe fn value(&mut self, param: *mut pg_sys::Param) -> Converted<Expr> {
        // SAFETY: passed on to the caller.
        unsafe {
            if !self.first && params::is_subquery(param, self.stmt) {
                return no("a subquery that may not run");
            }
            self.bound.value(param)
        }
    }

    unsafe fn moment(&mut self, node: *mut pg_sys::Node) -> Converted<Expr> {
        // SAFETY: passed on to the caller.
        unsafe { self.bound.moment(node) }
    }

    fn at_condition(&mut self, number: usize) {
        self.first = number == 0;
    }
}

/// The filter that a node's conditions come to, with the present values of its parameters; `None`: they say nothing
/// that the engine understands.
///
/// # Safety
/// A node that runs.
pub unsafe fn of(
    node: *mut pg_sys::SeqScanState,
    counters: &Rc<Counters>,
) -> Option<Rc<dyn RowFilter>> {
    // SAFETY: passed on to the caller.
    let (source, rel) = unsafe {
        let stmt = (*(*node).ss.ps.state).es_plannedstmt;
        let mut params = AheadOfRows {
            bound: Bound {
                planstate: &raw mut (*node).ss.ps,
            },
            stmt,
            first: true,
        };
        let scan = (*node).ss.ps.plan as *mut pg_sys::SeqScan;
        let source = Converter::new(stmt, &mut params).conditions(scan).ok()?;
        (source, (*node).ss.ss_currentRelation)
    };
    // Conditions that stay PostgreSQL's may look at further columns.
    let used: BTreeSet<usize> = source.filters.iter().flat_map(Expr::columns).collect();
    let used: Vec<usize> = used.into_iter().collect();
    if used.is_empty() {
        return None;
    }
    let place = |column: usize| used.iter().position(|c| *c == column).unwrap_or(column);
    let filters: Vec<Expr> = source
        .filters
        .into_iter()
        .map(|f| f.renumber(&place))
        .collect();
    let attributes: Vec<u16> = used.iter().map(|c| source.attributes[*c]).collect();
    let quiet = filters.iter().take_while(|f| !f.can_raise()).count();
    let predicate = storage_predicates::predicate(&filters[..quiet], &attributes);
    let all = attrs::of(rel);
    let of_number = |number: &u16| all[usize::from(*number) - 1];
    Some(Rc::new(ScanFilter {
        attrs: attributes.iter().map(of_number).collect(),
        filters,
        predicate,
        context: EvalContext::default(),
        counters: counters.clone(),
    }))
}

/// Gives the sequential scans of a statement what their nodes make of the rows.
///
/// # Safety
/// A statement that was just started.
pub unsafe fn begin_scans(query: *mut pg_sys::QueryDesc) {
    // SAFETY: passed on to the caller.
    unsafe {
        let estate = (*query).estate;
        let only_explained = (*estate).es_top_eflags & pg_sys::EXEC_FLAG_EXPLAIN_ONLY as i32 != 0;
        // Who turned the engine off compares with PostgreSQL's scan.
        if only_explained || (*estate).es_snapshot.is_null() || !settings::vectorization() {
            return;
        }
        begin_below((*query).planstate, std::ptr::null_mut());
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn begin_below(
    node: *mut pg_sys::PlanState,
    context: *mut c_void,
) -> bool {
    // SAFETY: a plan state tree of a query that was just started; the tag says what a node is.
    unsafe {
        if node.is_null() {
            return false;
        }
        if (*node).type_ == pg_sys::NodeTag::T_SeqScanState {
            begin(node.cast());
        }
        pg_sys::planstate_tree_walker(node, Some(begin_below), context)
    }
}

unsafe fn begin(node: *mut pg_sys::SeqScanState) {
    // SAFETY: passed on from the walker.
    unsafe {
        let rel = (*node).ss.ss_currentRelation;
        let plan = (*node).ss.ps.plan;
        if rel.is_null()
            || !(*node).ss.ss_currentScanDesc.is_null()
            || (*plan).parallel_aware
            || !am::is_doris(rel)
            || am::relation::totals_now(rel).segments == 0
        {
            return;
        }
        let needed = needed(plan.cast(), rel);
        if !(*plan).qual.is_null() || needed.contains(&false) {
            am::scan::begin_for_node(node, needed);
        }
    }
}

/// For each attribute of a scan's table whether its conditions or its output look at it.
unsafe fn needed(scan: *mut pg_sys::SeqScan, rel: pg_sys::Relation) -> Vec<bool> {
    // SAFETY: a plan node over an open relation; the set is a palloc'd one.
    unsafe {
        let plan = &raw const (*scan).scan.plan;
        let rti = (*scan).scan.scanrelid;
        let mut used: *mut pg_sys::Bitmapset = std::ptr::null_mut();
        pg_sys::pull_varattnos((*plan).targetlist.cast(), rti, &mut used);
        pg_sys::pull_varattnos((*plan).qual.cast(), rti, &mut used);
        let is_used = |number: i32| {
            pg_sys::bms_is_member(number - pg_sys::FirstLowInvalidHeapAttributeNumber, used)
        };
        let whole_row = is_used(0);
        let count = (*(*rel).rd_att).natts;
        (1..=count).map(|n| whole_row || is_used(n)).collect()
    }
}

/// Tells EXPLAIN what a node's scan has read and skipped.
///
/// # Safety
/// A node that ran.
pub unsafe fn report(node: *mut pg_sys::SeqScanState, counters: &Rc<Counters>) {
    // SAFETY: passed on to the caller; the range table is the statement's.
    unsafe {
        let scan = (*node).ss.ps.plan as *mut pg_sys::SeqScan;
        let rtable =
            PgList::<pg_sys::RangeTblEntry>::from_pg((*(*node).ss.ps.state).es_range_table);
        let at = (*scan).scan.scanrelid as usize - 1;
        if let Some(entry) = rtable.get_ptr(at) {
            let name = std::ffi::CStr::from_ptr((*(*entry).eref).aliasname);
            reasons::scanned(&name.to_string_lossy(), counters);
        }
    }
}
