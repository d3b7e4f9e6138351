// SPDX-License-Identifier: Apache-2.0
//! The custom scan node: an engine plan in the place of a plan subtree.
//!
//! The original subtree stays in the node's private part. It is converted again when the node first runs,
//! with the values of the parameters at hand, and once more with places for them when it runs again; should the engine
//! meet something it cannot do exactly before it has handed out a row, the original runs instead. So it does where a
//! row is checked again that somebody else has changed.
use self::report::report;
use self::start::{run_original, start};
use super::convert::Top;
use super::evaluate::Place;
use super::output::Output;
use super::partitions::{Partitions, PruneStage};
use super::scan_cache::ScanCache;
use super::source::Counters;
use super::spill::TempFiles;
use super::template::Templates;
use super::{global_limits, reasons, threads};
use crate::pg::compat;
use crate::pg::custom::{self, Callbacks, Methods};
use crate::pg::raw;
use doris_engine::batch::Batch;
use doris_engine::error::Error;
use doris_engine::exec::Executor;
use doris_engine::expr::Expr;
use doris_engine::gather::memory_bytes;
use doris_engine::memory::MemoryBudget;
use doris_engine::plan::{Node, Op};
use doris_engine::types::DataType;
use pgrx::{pg_guard, pg_sys, PgList, PgMemoryContexts};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

mod private;
mod report;
mod start;

pub use self::private::{above, is_ours, original, requirements, same_shape};

/// Output that is kept back until it is known that the engine can finish.
const AHEAD_BYTES: usize = 16 << 20;

/// Name of the node in plans.
pub const NAME: &std::ffi::CStr = c"DorisVectorized";

/// PostgreSQL's callbacks for plans.
pub static SCAN_METHODS: Methods<pg_sys::CustomScanMethods> =
    custom::scan_methods(NAME, create_state);

static EXEC_METHODS: Methods<pg_sys::CustomExecMethods> = custom::exec_methods(
    NAME,
    Callbacks {
        begin,
        exec,
        end,
        rescan,
        explain: super::explain::explain,
    },
);

/// The node's state. PostgreSQL knows the first field.
#[repr(C)]
pub struct EngineScanState {
    css: pg_sys::CustomScanState,
    /// In the query's memory context, which drops what it holds.
    run: *mut Option<EngineScanRun>,
    /// Rows kept for when it runs again; in the same context.
    kept: *mut ScanCache,
    /// Its plan for when it runs again; in the same context.
    templates: *mut Templates,
    /// Which partitions it reads; in the same context.
    partitions: *mut Partitions,
    /// Memory for what a conversion leaves behind.
    conversion: pg_sys::MemoryContext,
    /// The original plan's state, when it runs instead of the engine.
    original: *mut pg_sys::PlanState,
    /// It has run before.
    again: bool,
    /// The states of its subplans; null: PostgreSQL has pruned it. In the same context as `run`.
    fed: *mut Vec<*mut pg_sys::PlanState>,
    /// Memory for what its subplans' rows leave behind.
    scratch: pg_sys::MemoryContext,
    /// Where PostgreSQL evaluates expressions of the engine's plan.
    external: Place,
}

/// A running engine plan.
pub struct EngineScanRun {
    executor: Executor,
    output: Output,
    spill: TempFiles,
    started: bool,
    /// Threads that it may use.
    threads: usize,
    /// The most threads that it got.
    pub threads_used: usize,
    /// What its operators have reserved.
    pub budget: Arc<MemoryBudget>,
    /// Batches that came before the first row was handed out.
    ahead: VecDeque<Batch>,
    /// The plan, for EXPLAIN.
    pub plan: Arc<Node>,
    /// Each source's counters, for EXPLAIN; `None`: it is not read.
    pub counters: Vec<Option<Rc<Counters>>>,
    /// Partitions that were taken out.
    pub removed: usize,
}

impl EngineScanRun {
    /// The next rows, on as many threads as the server has left.
    fn next_batch(&mut self) -> Result<Option<Batch>, Error> {
        let workers = global_limits::Workers::take(self.threads - 1);
        let threads = 1 + workers.count();
        self.threads_used = self.threads_used.max(threads);
        self.executor.set_threads(threads);
        self.executor.next_batch()
    }

    /// The engine's counters of a plan node.
    pub fn node(&self, id: u32) -> &doris_engine::exec::NodeCounters {
        self.executor.counters(id)
    }
}

/// The state of a node, for EXPLAIN: its run, and whether the original plan ran instead.
///
/// # Safety
/// A node of ours.
pub unsafe fn inspect<'a>(node: *mut pg_sys::CustomScanState) -> (Option<&'a EngineScanRun>, bool) {
    let state = node as *mut EngineScanState;
    // SAFETY: passed on to the caller.
    unsafe {
        let run = if (*state).run.is_null() {
            None
        } else {
            (*(*state).run).as_ref()
        };
        (run, !(*state).original.is_null())
    }
}

/// Takes what PostgreSQL prunes at the executor's start out of a plan that does not run, for EXPLAIN; how much that is.
///
/// # Safety
/// A begun node of ours, with a conversion of its plan.
pub unsafe fn prune_for_explain(node: *mut pg_sys::CustomScanState, top: &mut Top) -> usize {
    // SAFETY: passed on to the caller.
    unsafe {
        let partitions = (*(node as *mut EngineScanState)).partitions;
        let planstate = &raw mut (*node).ss.ps;
        match partitions.is_null() {
            true => 0,
            false => (*partitions).choose(planstate, &top.chosen, &mut top.node, PruneStage::Begun),
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn create_state(_scan: *mut pg_sys::CustomScan) -> *mut pg_sys::Node {
    // SAFETY: the executor's context; null pointers are what a state begins with.
    unsafe { custom::new_state::<EngineScanState>(&EXEC_METHODS) }
}

#[pg_guard]
unsafe extern "C-unwind" fn begin(
    node: *mut pg_sys::CustomScanState,
    estate: *mut pg_sys::EState,
    eflags: i32,
) {
    // SAFETY: a state of ours; the box of Rust state is dropped with the query's memory context.
    unsafe {
        let state = node as *mut EngineScanState;
        let mut context = PgMemoryContexts::CurrentMemoryContext;
        (*state).run = context.leak_and_drop_on_delete(None);
        (*state).kept = context.leak_and_drop_on_delete(ScanCache::default());
        (*state).templates = context.leak_and_drop_on_delete(Templates::default());
        (*state).partitions = context.leak_and_drop_on_delete(Partitions::default());
        (*state).conversion = memory_context(estate, c"doris conversion");
        let scan = (*node).ss.ps.plan as *mut pg_sys::CustomScan;
        let plans = PgList::<pg_sys::Plan>::from_pg((*scan).custom_plans);
        (*state).fed = context.leak_and_drop_on_delete(Vec::with_capacity(plans.len()));
        // PostgreSQL's plan has inputs of its own.
        if plans.is_empty() || !(*estate).es_epq_active.is_null() {
            return;
        }
        (*state).scratch = memory_context(estate, c"doris subplans");
        let only_forward = !(pg_sys::EXEC_FLAG_BACKWARD | pg_sys::EXEC_FLAG_MARK) as i32;
        let mut states = PgList::<pg_sys::PlanState>::new();
        for plan in plans.iter_ptr() {
            let begun = match compat::is_pruned(estate, plan) {
                true => std::ptr::null_mut(),
                false => pg_sys::ExecInitNode(plan, estate, eflags & only_forward),
            };
            (*(*state).fed).push(begun);
            if !begun.is_null() {
                states.push(begun);
            }
        }
        (*node).custom_ps = states.into_pg();
    }
}

/// Memory that goes with the query at the latest.
unsafe fn memory_context(
    estate: *mut pg_sys::EState,
    name: &'static std::ffi::CStr,
) -> pg_sys::MemoryContext {
    // SAFETY: the executor's context of a running query.
    unsafe {
        pg_sys::AllocSetContextCreateExtended(
            (*estate).es_query_cxt,
            name.as_ptr(),
            pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
            pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
        )
    }
}

/// The states of the subplans that feed a node.
unsafe fn subplans(node: *mut pg_sys::CustomScanState) -> PgList<pg_sys::PlanState> {
    // SAFETY: a state of ours, begun.
    unsafe { PgList::from_pg((*node).custom_ps) }
}

#[pg_guard]
unsafe extern "C-unwind" fn end(node: *mut pg_sys::CustomScanState) {
    let state = node as *mut EngineScanState;
    // SAFETY: a state of ours.
    unsafe {
        if !(*state).run.is_null() {
            if let Some(run) = (*(*state).run).take() {
                run.spill.report();
            }
            let peak = (*(*state).kept).peak_bytes();
            *(*state).templates = Templates::default();
            *(*state).kept = ScanCache::default();
            threads::hand_back(peak);
        }
        for subplan in subplans(node).iter_ptr() {
            pg_sys::ExecEndNode(subplan);
        }
        if !(*state).original.is_null() {
            pg_sys::ExecEndNode((*state).original);
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn rescan(node: *mut pg_sys::CustomScanState) {
    let state = node as *mut EngineScanState;
    // SAFETY: a state of ours.
    unsafe {
        (*state).again = true;
        if let Some(run) = (*(*state).run).take() {
            run.spill.report();
        }
        (*(*state).kept).rest();
        for subplan in subplans(node).iter_ptr() {
            custom::rescan_input(node, subplan);
        }
        if !(*state).original.is_null() {
            let changed = (*state).css.ss.ps.chgParam;
            if !changed.is_null() {
                pg_sys::UpdateChangedParamSet((*state).original, changed);
            }
            pg_sys::ExecReScan((*state).original);
        }
        pg_sys::ExecScanReScan(&raw mut (*state).css.ss);
    }
}

unsafe extern "C-unwind" fn exec(
    node: *mut pg_sys::CustomScanState,
) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: passed on.
    unsafe { raw::handing_on(|| row(node)) }
}

/// Whether the node runs to check a row again that somebody else has changed (EvalPlanQual). Scans then give rows that
/// PostgreSQL has put aside for them, of which the engine knows nothing.
unsafe fn is_recheck(node: *mut pg_sys::CustomScanState) -> bool {
    // SAFETY: a state of ours, begun.
    unsafe { !(*(*node).ss.ps.state).es_epq_active.is_null() }
}

/// The next row, as PostgreSQL asks for it.
unsafe fn row(node: *mut pg_sys::CustomScanState) -> *mut pg_sys::TupleTableSlot {
    let state = node as *mut EngineScanState;
    // SAFETY: a state of ours, begun.
    unsafe {
        if (*state).original.is_null() && is_recheck(node) {
            run_original(state);
        }
        if (*state).original.is_null() && (*(*state).run).is_none() {
            start(state);
        }
        if (*state).original.is_null() && !(*(*state).run).as_ref().is_some_and(|r| r.started) {
            first_batch(state);
        }
        if !(*state).original.is_null() {
            let slot = raw::exec_proc_node((*state).original);
            // The parent was told that slots of this node are virtual, and reads their values without asking.
            if !slot.is_null() && (*slot).tts_flags & pg_sys::TTS_FLAG_EMPTY as u16 == 0 {
                pg_sys::slot_getallattrs(slot);
            }
            return slot;
        }
        let scan = &raw mut (*state).css.ss;
        let plain = (*scan).ps.qual.is_null() && (*scan).ps.ps_ProjInfo.is_null();
        if !plain {
            return raw::exec_scan(scan, Some(next), Some(recheck));
        }
        // As ExecScan would, without a way through PostgreSQL and back for each row.
        pgrx::check_for_interrupts!();
        let context = (*(*scan).ps.ps_ExprContext).ecxt_per_tuple_memory;
        if !(*context).isReset || !(*context).firstchild.is_null() {
            pg_sys::MemoryContextReset(context);
        }
        next_row(scan)
    }
}

/// Runs the engine up to its first rows: until then, the original plan may take over.
unsafe fn first_batch(state: *mut EngineScanState) {
    // SAFETY: a state of ours with a run.
    unsafe {
        let Some(run) = (*(*state).run).as_mut() else {
            return;
        };
        match look_ahead(run, !(*state).again) {
            Ok(()) => {}
            // PostgreSQL's plan can spill where the engine cannot.
            Err(error) if error.needs_postgres() || matches!(error, Error::OutOfMemory) => {
                reasons::record_fallback(&error);
                (*(*state).run).take();
                run_original(state);
                return;
            }
            Err(error) => report(error),
        }
        run.started = true;
    }
}

/// Gets the first batch, and where a later row might need PostgreSQL's plan, as many as are reasonable.
/// A subplan that runs again and again may be asked for a single row each time.
fn look_ahead(run: &mut EngineScanRun, first_time: bool) -> Result<(), Error> {
    let wanted = match first_time && needs_care(&run.plan) {
        true => AHEAD_BYTES,
        false => 0,
    };
    let mut bytes = 0;
    while let Some(batch) = run.next_batch()? {
        bytes += batch.columns.iter().map(|c| memory_bytes(c)).sum::<usize>();
        run.ahead.push_back(batch);
        if bytes >= wanted {
            break;
        }
    }
    if let Some(batch) = run.ahead.pop_front() {
        run.output.set(batch);
    }
    Ok(())
}

/// Whether rows that stream out might meet what the engine cannot do. Blocking operators meet it before their first row.
fn needs_care(node: &Node) -> bool {
    let numeric = |t: &DataType| matches!(t, DataType::Numeric { .. });
    match &node.op {
        Op::Scan(scan) => {
            node.types.iter().any(numeric) || scan.filters.iter().any(Expr::can_raise)
        }
        Op::Filter { input, predicate } => predicate.can_raise() || needs_care(input),
        Op::Project { input, exprs } => exprs.iter().any(Expr::can_raise) || needs_care(input),
        Op::Join(join) => {
            join.residual.as_ref().is_some_and(Expr::can_raise) || needs_care(&join.probe)
        }
        Op::UnionAll { inputs } => inputs.iter().any(needs_care),
        Op::Limit { input, .. } => needs_care(input),
        _ => false,
    }
}

unsafe extern "C-unwind" fn next(scan: *mut pg_sys::ScanState) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: passed on.
    unsafe { raw::handing_on(|| next_row(scan)) }
}

/// The scan slot with the next row, or empty behind the last.
unsafe fn next_row(scan: *mut pg_sys::ScanState) -> *mut pg_sys::TupleTableSlot {
    let state = scan as *mut EngineScanState;
    // SAFETY: a state of ours with a run; the scan slot is virtual: a row is in it once its values are, and it says so.
    unsafe {
        let slot = (*scan).ss_ScanTupleSlot;
        let Some(run) = (*(*state).run).as_mut() else {
            return std::ptr::null_mut();
        };
        if (*slot).tts_flags & pg_sys::TTS_FLAG_SHOULDFREE as u16 != 0 {
            pg_sys::ExecClearTuple(slot);
        }
        let context = (*(*scan).ps.ps_ExprContext).ecxt_per_tuple_memory;
        let previous = pg_sys::MemoryContextSwitchTo(context);
        let mut found = run.output.next(slot);
        while !found {
            let batch = match run.ahead.pop_front() {
                Some(batch) => Ok(Some(batch)),
                None => run.next_batch(),
            };
            match batch {
                Ok(Some(batch)) => run.output.set(batch),
                Ok(None) => break,
                Err(error) => report(error),
            }
            found = run.output.next(slot);
        }
        pg_sys::CurrentMemoryContext = previous;
        if found {
            (*slot).tts_flags &= !(pg_sys::TTS_FLAG_EMPTY as u16);
            (*slot).tts_nvalid = (*(*slot).tts_tupleDescriptor).natts as pg_sys::AttrNumber;
        } else {
            pg_sys::ExecClearTuple(slot);
        }
        slot
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn recheck(
    _scan: *mut pg_sys::ScanState,
    _slot: *mut pg_sys::TupleTableSlot,
) -> bool {
    true
}
