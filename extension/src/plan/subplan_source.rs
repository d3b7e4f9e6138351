// SPDX-License-Identifier: Apache-2.0
//! Subplans that PostgreSQL runs, as sources of the engine.
//!
//! What the engine cannot run itself (a heap table, a function scan, a CTE, a join with parameters) hands its rows to
//! the engine in batches, so that the joins, sorts and aggregates above are vectorised all the same. Such a subplan is
//! a child of the custom scan node, which EXPLAIN shows below it.
use super::convert::Top;
use super::row_batch;
use super::source::Counters;
use super::{nesting, node, types, Converted};
use crate::pg::{pruning, raw};
use crate::read::attrs::Attr;
use crate::write::column::Column;
use crate::write::kind::Kind;
use doris_engine::error::Result;
use doris_engine::source::{MemorySource, Morsel, MorselSource};
use doris_engine::types::DataType;
use pgrx::pg_sys::{self, NodeTag};
use pgrx::{pg_guard, PgList};
use std::ffi::c_void;
use std::rc::Rc;

/// Rows in a morsel.
const ROWS: usize = 4096;

/// Whether a subplan may feed the engine.
///
/// # Safety
/// A finished plan of the statement.
pub unsafe fn may_feed(plan: *mut pg_sys::Plan, stmt: *mut pg_sys::PlannedStmt) -> bool {
    // SAFETY: the tag says what the node is.
    let tag = unsafe { (*plan).type_ };
    // Orders are not kept, and a recursive query would start the engine for each of its rounds.
    let fit = !matches!(
        tag,
        NodeTag::T_Sort
            | NodeTag::T_IncrementalSort
            | NodeTag::T_MergeAppend
            | NodeTag::T_Hash
            | NodeTag::T_Material
            | NodeTag::T_Memoize
            | NodeTag::T_WorkTableScan
            | NodeTag::T_ModifyTable
            | NodeTag::T_LockRows
            | NodeTag::T_Gather
            | NodeTag::T_GatherMerge
    );
    // SAFETY: passed on to the caller.
    fit && unsafe { !reads_work_table(plan) && !is_volatile(plan, stmt) }
}

/// Whether an engine plan hands out rows of a subplan with scaled numerics as they come: a NaN among them needs
/// PostgreSQL's plan, which cannot take over after the first rows.
///
/// # Safety
/// The subplans of finished plans.
pub unsafe fn streams_decimals(top: &Top) -> bool {
    let streamed = super::column_pruning::streamed(&top.node);
    streamed.into_iter().any(|number| {
        let source = &top.sources[number];
        let Some(plan) = source.fed else { return false };
        // SAFETY: passed on to the caller.
        let attr = |number: &u16| unsafe { attribute(plan, *number, source.exact) };
        source.attributes.iter().any(|n| attr(n).kind.is_decimal())
    })
}

/// Whether a subplan calls volatile functions, as far as can be told: it is run twice when the engine gives up.
unsafe fn is_volatile(plan: *mut pg_sys::Plan, stmt: *mut pg_sys::PlannedStmt) -> bool {
    // SAFETY: a finished plan of the statement.
    unsafe {
        if plan.is_null() {
            return false;
        }
        if node::is_ours(plan) {
            return is_volatile(node::original(plan.cast()), stmt);
        }
        if nesting::stack_is_short() || nesting::has_deep_expression(plan) {
            return true;
        }
        expressions(plan).into_iter().any(|node| {
            pg_sys::contain_volatile_functions(node) || asks_volatile(node, stmt.cast())
        }) || super::hook::children(plan)
            .into_iter()
            .any(|child| is_volatile(child, stmt))
    }
}

/// What a plan node evaluates, but for what the planner keeps free of volatile functions: keys of joins and of indexes.
///
/// # Safety
/// A finished plan.
pub unsafe fn expressions(plan: *mut pg_sys::Plan) -> Vec<*mut pg_sys::Node> {
    // SAFETY: a finished plan; tags are checked before casts.
    unsafe {
        let mut found: Vec<*mut pg_sys::Node> =
            vec![(*plan).targetlist.cast(), (*plan).qual.cast()];
        match (*plan).type_ {
            NodeTag::T_FunctionScan => {
                found.push((*(plan as *mut pg_sys::FunctionScan)).functions.cast());
            }
            NodeTag::T_TableFuncScan => {
                found.push((*(plan as *mut pg_sys::TableFuncScan)).tablefunc.cast());
            }
            NodeTag::T_ValuesScan => {
                found.push((*(plan as *mut pg_sys::ValuesScan)).values_lists.cast());
            }
            NodeTag::T_SampleScan => {
                found.push((*(plan as *mut pg_sys::SampleScan)).tablesample.cast());
            }
            NodeTag::T_CustomScan => {
                found.push((*(plan as *mut pg_sys::CustomScan)).custom_exprs.cast());
            }
            NodeTag::T_NestLoop | NodeTag::T_HashJoin | NodeTag::T_MergeJoin => {
                found.push((*(plan as *mut pg_sys::Join)).joinqual.cast());
            }
            NodeTag::T_Result => {
                found.push((*(plan as *mut pg_sys::Result)).resconstantqual);
            }
            NodeTag::T_Limit => {
                let limit = plan as *mut pg_sys::Limit;
                found.extend([(*limit).limitOffset, (*limit).limitCount]);
            }
            NodeTag::T_WindowAgg => {
                let window = plan as *mut pg_sys::WindowAgg;
                found.extend([(*window).startOffset, (*window).endOffset]);
            }
            _ => {}
        }
        found
    }
}

/// Whether an expression runs subplans that call volatile functions. The context is the statement.
#[pg_guard]
unsafe extern "C-unwind" fn asks_volatile(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    // SAFETY: an expression of a finished plan; the tag is checked before the cast.
    unsafe {
        if node.is_null() {
            return false;
        }
        if (*node).type_ == NodeTag::T_SubPlan {
            let stmt = context as *mut pg_sys::PlannedStmt;
            let number = (*(node as *mut pg_sys::SubPlan)).plan_id as usize;
            let plans = PgList::<pg_sys::Plan>::from_pg((*stmt).subplans);
            if plans
                .get_ptr(number - 1)
                .is_some_and(|plan| is_volatile(plan, stmt))
            {
                return true;
            }
        }
        pg_sys::expression_tree_walker(node, Some(asks_volatile), context)
    }
}

/// Whether a subplan can be made ready once more when the engine gives up. From 18 on, the one state of an Append whose
/// inputs are chosen at the start and again later numbers them anew each time.
///
/// # Safety
/// A finished plan of the statement.
pub unsafe fn may_start_twice(plan: *mut pg_sys::Plan, stmt: *mut pg_sys::PlannedStmt) -> bool {
    if cfg!(not(feature = "pg18")) {
        return true;
    }
    // SAFETY: passed on to the caller; tags are checked before casts.
    unsafe {
        if plan.is_null() {
            return true;
        }
        let steps = match (*plan).type_ {
            NodeTag::T_Append | NodeTag::T_MergeAppend => pruning::steps(plan, stmt),
            _ => None,
        };
        if steps.is_some_and(|steps| steps.at_start && steps.running) {
            return false;
        }
        if node::is_ours(plan) {
            return may_start_twice(node::original(plan.cast()), stmt);
        }
        super::hook::children(plan)
            .into_iter()
            .all(|child| may_start_twice(child, stmt))
    }
}

/// Whether a subplan reads the rows of the last round of a recursive query that is not its own.
unsafe fn reads_work_table(plan: *mut pg_sys::Plan) -> bool {
    // SAFETY: a finished plan; tags are checked before casts.
    unsafe {
        if plan.is_null() || (*plan).type_ == NodeTag::T_RecursiveUnion {
            return false;
        }
        if (*plan).type_ == NodeTag::T_WorkTableScan {
            return true;
        }
        if node::is_ours(plan) {
            return reads_work_table(node::original(plan.cast()));
        }
        super::hook::children(plan)
            .into_iter()
            .any(|child| reads_work_table(child))
    }
}

/// The engine's type for a column of a subplan's output. With `exact` off numerics carry their scale, and may be NaN.
pub fn column_type(
    type_oid: pg_sys::Oid,
    typmod: i32,
    collation: pg_sys::Oid,
    exact: bool,
) -> Converted<DataType> {
    Ok(match types::column_type(type_oid, typmod, collation)? {
        DataType::Numeric { .. } if !exact => DataType::Decimal,
        other => other,
    })
}

/// The column of a subplan's output with this number, as a source reads it; `exact` as for [`column_type`].
///
/// # Safety
/// A finished plan.
pub unsafe fn attribute(plan: *mut pg_sys::Plan, number: u16, exact: bool) -> Attr {
    // SAFETY: passed on to the caller.
    unsafe {
        let targets = PgList::<pg_sys::TargetEntry>::from_pg((*plan).targetlist);
        let (mut type_oid, mut typmod, mut collation) =
            (pg_sys::InvalidOid, -1, pg_sys::InvalidOid);
        if let Some(target) = targets.get_ptr(usize::from(number) - 1) {
            let expr = (*target).expr.cast();
            type_oid = pg_sys::exprType(expr);
            typmod = pg_sys::exprTypmod(expr);
            collation = pg_sys::exprCollation(expr);
        }
        let kind = match column_type(type_oid, typmod, collation, exact) {
            Ok(data_type) => types::kind_of(data_type),
            Err(_) => Kind::Varlena,
        };
        Attr {
            number,
            kind,
            type_oid,
            dropped: false,
        }
    }
}

/// The rows of a subplan.
pub struct PlanSource {
    state: *mut pg_sys::PlanState,
    attrs: Vec<Attr>,
    query: pg_sys::MemoryContext,
    /// For what detoasting leaves behind.
    scratch: pg_sys::MemoryContext,
    done: bool,
    counters: Rc<Counters>,
}

impl PlanSource {
    /// A source over a subplan's state, which is at its start, with the plan that it was made of.
    ///
    /// # Safety
    /// The state outlives the source; `scratch` is nobody else's.
    pub unsafe fn new(
        (state, plan): (*mut pg_sys::PlanState, *mut pg_sys::Plan),
        (attributes, exact): (&[u16], bool),
        scratch: pg_sys::MemoryContext,
        counters: Rc<Counters>,
    ) -> Self {
        // SAFETY: passed on to the caller.
        unsafe {
            Self {
                attrs: attributes
                    .iter()
                    .map(|number| attribute(plan, *number, exact))
                    .collect(),
                query: (*(*state).state).es_query_cxt,
                state,
                scratch,
                done: false,
                counters,
            }
        }
    }

    /// Appends the subplan's next rows.
    unsafe fn fill(&mut self, columns: &mut [Column]) -> usize {
        let last = self.attrs.iter().map(|a| i32::from(a.number)).max();
        let last = last.unwrap_or(0);
        let mut rows = 0;
        // SAFETY: an initialised state, run in the context in which PostgreSQL would run it.
        unsafe {
            pg_sys::MemoryContextReset(self.scratch);
            while rows < ROWS {
                pg_sys::CurrentMemoryContext = self.query;
                let slot = raw::exec_proc_node(self.state);
                if slot.is_null() || (*slot).tts_flags & pg_sys::TTS_FLAG_EMPTY as u16 != 0 {
                    self.done = true;
                    break;
                }
                if i32::from((*slot).tts_nvalid) < last {
                    pg_sys::slot_getsomeattrs_int(slot, last);
                }
                pg_sys::CurrentMemoryContext = self.scratch;
                for (attr, column) in self.attrs.iter().zip(columns.iter_mut()) {
                    let at = usize::from(attr.number) - 1;
                    column.push(*(*slot).tts_values.add(at), *(*slot).tts_isnull.add(at));
                }
                rows += 1;
            }
        }
        rows
    }
}

impl MorselSource for PlanSource {
    fn next(&mut self) -> Result<Option<Box<dyn Morsel>>> {
        if self.done {
            return Ok(None);
        }
        let mut columns: Vec<Column> = self.attrs.iter().map(|a| Column::new(a.kind)).collect();
        // SAFETY: the driving thread is the backend's own.
        let rows = unsafe {
            let previous = pg_sys::CurrentMemoryContext;
            let rows = self.fill(&mut columns);
            pg_sys::CurrentMemoryContext = previous;
            rows
        };
        self.counters
            .heap_rows
            .set(self.counters.heap_rows.get() + rows as u64);
        if rows == 0 {
            return Ok(None);
        }
        MemorySource::new([row_batch::batch(&self.attrs, columns, rows)?]).next()
    }
}

/// An output expression of a plan node with references to base tables only, for EXPLAIN.
///
/// # Safety
/// An expression of `plan`'s targetlist.
pub unsafe fn shown(node: *mut pg_sys::Node, plan: *mut pg_sys::Plan) -> *mut pg_sys::Node {
    // SAFETY: the context outlives the walk; the mutator copies what it changes.
    unsafe { resolve(node, plan.cast()) }
}

#[pg_guard]
unsafe extern "C-unwind" fn resolve(
    node: *mut pg_sys::Node,
    context: *mut c_void,
) -> *mut pg_sys::Node {
    // SAFETY: the context is a plan node, alive for the walk; tags are checked before casts.
    unsafe {
        if node.is_null() || (*node).type_ != NodeTag::T_Var {
            return crate::pg::raw::tree_mutator(node, resolve, context);
        }
        let var = &*(node as *mut pg_sys::Var);
        let mut plan = context as *mut pg_sys::Plan;
        if node::is_ours(plan) {
            plan = node::original(plan.cast());
        }
        let (below, list) = match var.varno {
            pg_sys::OUTER_VAR => {
                let first = super::hook::appended(plan).get_ptr(0);
                let below = first.unwrap_or((*plan).lefttree);
                (below, targets_of(below))
            }
            pg_sys::INNER_VAR => ((*plan).righttree, targets_of((*plan).righttree)),
            pg_sys::INDEX_VAR => (std::ptr::null_mut(), scanned(plan)),
            _ => return pg_sys::copyObjectImpl(node.cast()).cast(),
        };
        let targets = PgList::<pg_sys::TargetEntry>::from_pg(list);
        let at = (var.varattno as usize).wrapping_sub(1);
        match targets.get_ptr(at) {
            Some(target) if !below.is_null() => resolve((*target).expr.cast(), below.cast()),
            Some(target) => pg_sys::copyObjectImpl((*target).expr.cast()).cast(),
            None => pg_sys::makeNullConst(var.vartype, var.vartypmod, var.varcollid).cast(),
        }
    }
}

unsafe fn targets_of(plan: *mut pg_sys::Plan) -> *mut pg_sys::List {
    // SAFETY: a plan node or null.
    unsafe {
        match plan.is_null() {
            true => std::ptr::null_mut(),
            false => (*plan).targetlist,
        }
    }
}

/// What a scan's own tuples hold, where that is not the table's columns.
unsafe fn scanned(plan: *mut pg_sys::Plan) -> *mut pg_sys::List {
    // SAFETY: the tag says what the node is.
    unsafe {
        match (*plan).type_ {
            NodeTag::T_IndexOnlyScan => (*(plan as *mut pg_sys::IndexOnlyScan)).indextlist,
            NodeTag::T_ForeignScan => (*(plan as *mut pg_sys::ForeignScan)).fdw_scan_tlist,
            NodeTag::T_CustomScan => (*(plan as *mut pg_sys::CustomScan)).custom_scan_tlist,
            _ => std::ptr::null_mut(),
        }
    }
}
