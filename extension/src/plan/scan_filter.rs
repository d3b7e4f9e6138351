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
use super::convert::Source;
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
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
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

/// Parameters of a node some of whose conditions are evaluated before PostgreSQL gets there: only values that are the
/// same whenever they are asked for, and that raise no error.
struct AheadOfRows {
    bound: Bound,
    stmt: *mut pg_sys::PlannedStmt,
    has_params: bool,
    waits_for: Vec<i32>,
}

impl Params for AheadOfRows {
    unsafe fn value(&mut self, param: *mut pg_sys::Param) -> Converted<Expr> {
        // SAFETY: passed on to the caller.
        unsafe {
            if (*param).paramkind == pg_sys::ParamKind::PARAM_EXEC {
                self.has_params = true;
                let id = (*param).paramid;
                let has_run = is_computed((*self.bound.planstate).state, id);
                if params::is_subquery(param, self.stmt) && !has_run {
                    self.waits_for.push(id);
                    return no("a subquery that has not run yet");
                }
            }
            self.bound.value(param)
        }
    }

    unsafe fn moment(&mut self, node: *mut pg_sys::Node) -> Converted<Expr> {
        // SAFETY: passed on to the caller.
        unsafe {
            // Rows of a cursor are asked for at different times, in which the time zone may change.
            if (*self.stmt).commandType == pg_sys::CmdType::CMD_SELECT {
                return no("a point in time, in a cursor or the like");
            }
            // Adding what the client gave may leave the range of the type.
            if params::has_param(node) {
                return no("a point in time that depends on a parameter");
            }
            self.bound.moment(node)
        }
    }
}

/// Whether a parameter has a value, or the subquery that gives it is still to be run.
unsafe fn is_computed(estate: *mut pg_sys::EState, id: i32) -> bool {
    // SAFETY: the caller's executor state, which has a place for each parameter of its statement.
    unsafe {
        let values = (*estate).es_param_exec_vals;
        !values.is_null() && (*values.add(id as usize)).execPlan.is_null()
    }
}

/// Whether the subquery that gives a parameter has run.
///
/// # Safety
/// A node that runs, and a parameter of its statement.
pub unsafe fn subquery_has_run(node: *mut pg_sys::SeqScanState, id: i32) -> bool {
    // SAFETY: passed on to the caller.
    unsafe { is_computed((*node).ss.ps.state, id) }
}

/// What a node's conditions come to, with the present values of its parameters.
#[derive(Default)]
pub struct Made {
    /// `None`: they say nothing that the engine understands.
    pub filter: Option<Rc<dyn RowFilter>>,
    /// Whether the values are only those of this start of the node.
    pub has_params: bool,
    /// Parameters whose subqueries have not run yet: another filter may say more when they have.
    pub waits_for: Vec<i32>,
}

/// The filter that a node's conditions come to.
///
/// # Safety
/// A node that runs.
pub unsafe fn of(node: *mut pg_sys::SeqScanState, counters: &Rc<Counters>) -> Made {
    // SAFETY: passed on to the caller.
    unsafe {
        let stmt = (*(*node).ss.ps.state).es_plannedstmt;
        let mut params = AheadOfRows {
            bound: Bound {
                planstate: &raw mut (*node).ss.ps,
            },
            stmt,
            has_params: false,
            waits_for: Vec::new(),
        };
        let scan = (*node).ss.ps.plan as *mut pg_sys::SeqScan;
        let source = Converter::new(stmt, &mut params).conditions(scan);
        let filter = source
            .ok()
            .and_then(|source| filter(source, (*node).ss.ss_currentRelation, counters));
        Made {
            filter,
            has_params: params.has_params,
            waits_for: params.waits_for,
        }
    }
}

/// A source's conditions as a filter of its table's rows.
fn filter(
    source: Source,
    rel: pg_sys::Relation,
    counters: &Rc<Counters>,
) -> Option<Rc<dyn RowFilter>> {
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
    Some(Rc::new(ScanFilter {
        attrs: attrs::numbered(&attrs::of(rel), &attributes),
        filters,
        predicate,
        context: EvalContext::default(),
        counters: counters.clone(),
    }))
}

/// What a node does for a row.
type Row = unsafe extern "C-unwind" fn(*mut pg_sys::PlanState) -> *mut pg_sys::TupleTableSlot;

thread_local! {
    /// What nodes do for a row of which the first call begins the scan, by the addresses of their states. A state that was
    /// never asked for a row leaves its entry until the transaction ends or its address is used again.
    static BEGINNING: RefCell<HashMap<usize, pg_sys::ExecProcNodeMtd>> = RefCell::default();
}

/// Forgets nodes and their scans, at the end of a transaction.
pub fn forget() {
    BEGINNING.with_borrow_mut(HashMap::clear);
}

/// Has the sequential scans of a statement begin, with their first rows, knowing what their nodes make of the rows.
///
/// # Safety
/// A statement that was just started.
pub unsafe fn prepare_scans(query: *mut pg_sys::QueryDesc) {
    // SAFETY: passed on to the caller.
    unsafe {
        let estate = (*query).estate;
        let only_explained = (*estate).es_top_eflags & pg_sys::EXEC_FLAG_EXPLAIN_ONLY as i32 != 0;
        // Who turned the engine off compares with PostgreSQL's scan.
        if only_explained || (*estate).es_snapshot.is_null() || !settings::vectorization() {
            return;
        }
        prepare_below((*query).planstate, std::ptr::null_mut());
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn prepare_below(
    node: *mut pg_sys::PlanState,
    context: *mut c_void,
) -> bool {
    // SAFETY: a plan state tree of a query that was just started; the tag says what a node is.
    unsafe {
        if node.is_null() {
            return false;
        }
        if (*node).type_ == pg_sys::NodeTag::T_SeqScanState {
            prepare(node.cast());
        }
        pg_sys::planstate_tree_walker(node, Some(prepare_below), context)
    }
}

unsafe fn prepare(node: *mut pg_sys::SeqScanState) {
    // SAFETY: passed on from the walker.
    unsafe {
        let rel = (*node).ss.ss_currentRelation;
        let state = &raw mut (*node).ss.ps;
        if rel.is_null() || (*(*state).plan).parallel_aware || !am::is_doris(rel) {
            return;
        }
        // A subplan is met once for each expression that refers to it.
        let row = (*state).ExecProcNodeReal;
        if row.is_none_or(|row| std::ptr::fn_addr_eq(row, first_row as Row)) {
            return;
        }
        BEGINNING.with_borrow_mut(|all| all.insert(node as usize, row));
        (*state).ExecProcNodeReal = Some(first_row);
    }
}

/// A node's first row. Not guarded: errors of the node pass through unchanged; the frame holds nothing that needs dropping.
unsafe extern "C-unwind" fn first_row(node: *mut pg_sys::PlanState) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: PostgreSQL's arguments; what a node does for a row is never missing.
    unsafe {
        match begin(node) {
            Some(row) => row(node),
            None => std::ptr::null_mut(),
        }
    }
}

/// Begins a node's scan; returns what the node does for a row, and has PostgreSQL call that from now on.
#[pg_guard]
unsafe extern "C-unwind" fn begin(node: *mut pg_sys::PlanState) -> pg_sys::ExecProcNodeMtd {
    let row = BEGINNING.with_borrow_mut(|all| all.remove(&(node as usize)));
    let Some(row) = row else {
        pgrx::error!("a scan that was not prepared");
    };
    // SAFETY: a state that `prepare` has seen.
    unsafe {
        (*node).ExecProcNodeReal = row;
        if (*node).instrument.is_null() {
            (*node).ExecProcNode = row;
        }
        let scan = node as *mut pg_sys::SeqScanState;
        let rel = (*scan).ss.ss_currentRelation;
        if (*scan).ss.ss_currentScanDesc.is_null() && am::relation::totals_now(rel).segments > 0 {
            let needed = needed((*node).plan.cast(), rel);
            if !(*(*node).plan).qual.is_null() || needed.contains(&false) {
                am::scan::begin_for_node(scan, needed);
            }
        }
    }
    row
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
            let stmt = (*(*node).ss.ps.state).es_plannedstmt;
            reasons::scanned(stmt, &name.to_string_lossy(), counters);
        }
    }
}
