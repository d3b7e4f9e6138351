// SPDX-License-Identifier: Apache-2.0
//! The custom scan node: an engine plan in the place of a plan subtree.
//!
//! The original subtree stays in the node's private part. It is converted again when the node first runs,
//! with the values of the parameters at hand, and once more with places for them when it runs again; should the engine meet something it cannot do exactly before it
//! has handed out a row, the original runs instead.
use super::convert::{Converter, Source, Top};
use super::evaluate::{Evaluator, Place, Shared};
use super::feed::PlanSource;
use super::isolate;
use super::kept::Kept;
use super::need::Wish;
use super::output::Output;
use super::params::Bound;
use super::partitions::{Partitions, When};
use super::source::{Counters, TableSource};
use super::spill::TempFiles;
use super::template::{Filled, Templates};
use super::{pool, threads};
use crate::options::settings;
use crate::pg::custom::{self, Callbacks, Methods};
use crate::pg::{compat, raw};
use doris_engine::batch::Batch;
use doris_engine::error::Error;
use doris_engine::exec::{Executor, Options};
use doris_engine::expr::Expr;
use doris_engine::gather::memory_bytes;
use doris_engine::memory::MemoryBudget;
use doris_engine::plan::{Node, Op};
use doris_engine::source::{MemorySource, MorselSource};
use doris_engine::types::DataType;
use pgrx::{pg_guard, pg_sys, PgList, PgMemoryContexts};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

/// Output that is kept back until it is known that the engine can finish.
const AHEAD_BYTES: usize = 16 << 20;

/// Rows that are there already and are no more than these are worked on by one thread.
const ROWS_FOR_ONE_THREAD: usize = 128 << 10;

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
pub struct State {
    css: pg_sys::CustomScanState,
    /// In the query's memory context, which drops what it holds.
    run: *mut Option<Run>,
    /// Rows kept for when it runs again; in the same context.
    kept: *mut Kept,
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
pub struct Run {
    executor: Executor,
    output: Output,
    spill: TempFiles,
    started: bool,
    /// Threads that it may use, and the most that it got.
    threads: usize,
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

impl Run {
    /// The next rows, on as many threads as the server has left.
    fn next_batch(&mut self) -> Result<Option<Batch>, Error> {
        let workers = pool::Workers::take(self.threads - 1);
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
pub unsafe fn inspect<'a>(node: *mut pg_sys::CustomScanState) -> (Option<&'a Run>, bool) {
    let state = node as *mut State;
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
        let partitions = (*(node as *mut State)).partitions;
        let planstate = &raw mut (*node).ss.ps;
        match partitions.is_null() {
            true => 0,
            false => (*partitions).choose(planstate, &top.chosen, &mut top.node, When::Begun),
        }
    }
}

/// The subtree that a node stands for.
///
/// # Safety
/// A plan node of ours.
pub unsafe fn original(scan: *mut pg_sys::CustomScan) -> *mut pg_sys::Plan {
    // SAFETY: custom_private's first element, made by `hook`.
    unsafe {
        PgList::<pg_sys::Plan>::from_pg((*scan).custom_private)
            .get_ptr(0)
            .unwrap_or(std::ptr::null_mut())
    }
}

/// How the parent wanted it converted.
///
/// # Safety
/// A plan node of ours.
pub unsafe fn wish(scan: *mut pg_sys::CustomScan) -> Wish {
    // SAFETY: custom_private's second element, made by `hook`.
    unsafe {
        let list = PgList::<pg_sys::List>::from_pg((*scan).custom_private).get_ptr(1);
        Wish::decode(list.unwrap_or(std::ptr::null_mut()))
    }
}

/// Why the node above it was not converted, if there is one.
///
/// # Safety
/// A custom scan node of ours.
pub unsafe fn above(scan: *mut pg_sys::CustomScan) -> Option<String> {
    // SAFETY: custom_private's third element, made by `hook`.
    unsafe {
        let node = PgList::<pg_sys::Node>::from_pg((*scan).custom_private).get_ptr(2)?;
        Some(super::reasons::decode(node))
    }
}

/// Whether a plan node is one of ours.
///
/// # Safety
/// A plan node.
pub unsafe fn is_ours(plan: *mut pg_sys::Plan) -> bool {
    // SAFETY: passed on to the caller.
    unsafe { custom::is_of(plan, &SCAN_METHODS) }
}

#[pg_guard]
unsafe extern "C-unwind" fn create_state(_scan: *mut pg_sys::CustomScan) -> *mut pg_sys::Node {
    // SAFETY: the executor's context; null pointers are what a state begins with.
    unsafe { custom::new_state::<State>(&EXEC_METHODS) }
}

#[pg_guard]
unsafe extern "C-unwind" fn begin(
    node: *mut pg_sys::CustomScanState,
    estate: *mut pg_sys::EState,
    eflags: i32,
) {
    // SAFETY: a state of ours; the box of Rust state is dropped with the query's memory context.
    unsafe {
        let state = node as *mut State;
        let mut context = PgMemoryContexts::CurrentMemoryContext;
        (*state).run = context.leak_and_drop_on_delete(None);
        (*state).kept = context.leak_and_drop_on_delete(Kept::default());
        (*state).templates = context.leak_and_drop_on_delete(Templates::default());
        (*state).partitions = context.leak_and_drop_on_delete(Partitions::default());
        (*state).conversion = memory_context(estate, c"doris conversion");
        let scan = (*node).ss.ps.plan as *mut pg_sys::CustomScan;
        let plans = PgList::<pg_sys::Plan>::from_pg((*scan).custom_plans);
        (*state).fed = context.leak_and_drop_on_delete(Vec::with_capacity(plans.len()));
        if plans.is_empty() {
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
    let state = node as *mut State;
    // SAFETY: a state of ours.
    unsafe {
        if !(*state).run.is_null() {
            if let Some(run) = (*(*state).run).take() {
                run.spill.report();
                let peak = run.budget.peak_bytes();
                drop(run);
                threads::hand_back(peak);
            }
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
    let state = node as *mut State;
    // SAFETY: a state of ours.
    unsafe {
        (*state).again = true;
        if let Some(run) = (*(*state).run).take() {
            run.spill.report();
        }
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

#[pg_guard]
unsafe extern "C-unwind" fn exec(
    node: *mut pg_sys::CustomScanState,
) -> *mut pg_sys::TupleTableSlot {
    let state = node as *mut State;
    // SAFETY: a state of ours, begun.
    unsafe {
        if (*state).original.is_null() && (*(*state).run).is_none() {
            start(state);
        }
        if (*state).original.is_null() && !(*(*state).run).as_ref().is_some_and(|r| r.started) {
            first_batch(state);
        }
        if !(*state).original.is_null() {
            let slot = pg_sys::ExecProcNode((*state).original);
            // The parent was told that slots of this node are virtual, and reads their values without asking.
            if !slot.is_null() && (*slot).tts_flags & pg_sys::TTS_FLAG_EMPTY as u16 == 0 {
                pg_sys::slot_getallattrs(slot);
            }
            return slot;
        }
        pg_sys::ExecScan(&raw mut (*state).css.ss, Some(next), Some(recheck))
    }
}

/// Runs the engine up to its first rows: until then, the original plan may take over.
unsafe fn first_batch(state: *mut State) {
    // SAFETY: a state of ours with a run.
    unsafe {
        let Some(run) = (*(*state).run).as_mut() else {
            return;
        };
        match look_ahead(run, !(*state).again) {
            Ok(()) => {}
            // PostgreSQL's plan can spill where the engine cannot.
            Err(error) if error.needs_postgres() || matches!(error, Error::OutOfMemory) => {
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
fn look_ahead(run: &mut Run, first_time: bool) -> Result<(), Error> {
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

#[pg_guard]
unsafe extern "C-unwind" fn next(scan: *mut pg_sys::ScanState) -> *mut pg_sys::TupleTableSlot {
    let state = scan as *mut State;
    // SAFETY: a state of ours with a run; the scan slot is virtual.
    unsafe {
        let slot = (*scan).ss_ScanTupleSlot;
        let Some(run) = (*(*state).run).as_mut() else {
            return std::ptr::null_mut();
        };
        pg_sys::ExecClearTuple(slot);
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
            pg_sys::ExecStoreVirtualTuple(slot);
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

/// Raises an engine's error as PostgreSQL would have.
fn report(error: Error) -> ! {
    if matches!(error, Error::Cancelled) {
        // Raises the reason: a timeout, a request, a conflict with recovery, the end of the session.
        pgrx::check_for_interrupts!();
    }
    let code = match error.sqlstate() {
        "22003" => pgrx::PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
        "22012" => pgrx::PgSqlErrorCode::ERRCODE_DIVISION_BY_ZERO,
        "2201E" => pgrx::PgSqlErrorCode::ERRCODE_INVALID_ARGUMENT_FOR_LOG,
        "2201F" => pgrx::PgSqlErrorCode::ERRCODE_INVALID_ARGUMENT_FOR_POWER_FUNCTION,
        "22008" => pgrx::PgSqlErrorCode::ERRCODE_DATETIME_FIELD_OVERFLOW,
        "22P02" => pgrx::PgSqlErrorCode::ERRCODE_INVALID_TEXT_REPRESENTATION,
        "22011" => pgrx::PgSqlErrorCode::ERRCODE_SUBSTRING_ERROR,
        "22023" => pgrx::PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        "22025" => pgrx::PgSqlErrorCode::ERRCODE_INVALID_ESCAPE_SEQUENCE,
        "54000" => pgrx::PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
        "21000" => pgrx::PgSqlErrorCode::ERRCODE_CARDINALITY_VIOLATION,
        "53100" => pgrx::PgSqlErrorCode::ERRCODE_DISK_FULL,
        "53400" => pgrx::PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
        "58030" => pgrx::PgSqlErrorCode::ERRCODE_IO_ERROR,
        "53200" => pgrx::PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY,
        "57014" => pgrx::PgSqlErrorCode::ERRCODE_QUERY_CANCELED,
        "0A000" => pgrx::PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        _ => pgrx::PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
    };
    if error.needs_postgres() {
        pgrx::ereport!(
            ERROR,
            pgrx::PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("the vectorised engine cannot finish this query: {error}"),
            "Run it with doris.enable_vectorization = off."
        );
    }
    let detail = error.detail().unwrap_or_default();
    if detail.is_empty() {
        pgrx::ereport!(ERROR, code, error.to_string());
    }
    pgrx::ereport!(ERROR, code, error.to_string(), detail);
}

/// Gets the engine ready to run the plan with the parameters' values: from a template when it has run before, or else by
/// converting the original subtree.
unsafe fn start(state: *mut State) {
    // SAFETY: a state of ours, begun, of a node made by `hook`. What a conversion leaves lives until the next one.
    unsafe {
        let planstate = &raw mut (*state).css.ss.ps;
        let known = match (*state).again {
            true => (*(*state).templates).fill(planstate, &raw mut (*state).external),
            false => None,
        };
        let run = match known {
            Some(filled) => make_run(state, filled),
            None => {
                let scan = (*planstate).plan as *mut pg_sys::CustomScan;
                let estate = (*planstate).state;
                let mut params = Bound { planstate };
                pg_sys::MemoryContextReset((*state).conversion);
                let before = pg_sys::MemoryContextSwitchTo((*state).conversion);
                let top = Converter::new((*estate).es_plannedstmt, &mut params)
                    .top(original(scan), &wish(scan));
                pg_sys::MemoryContextSwitchTo(before);
                match top {
                    Ok(top) if same_shape(scan, &top) => {
                        let used = isolate::used(&top.node);
                        let evaluator = (!used.is_empty()).then(|| {
                            let place = &raw mut (*state).external;
                            let memory = (*state).conversion;
                            let externals = &top.externals;
                            Rc::new(Evaluator::new(place, planstate, memory, externals, &used))
                        });
                        let filled = Filled {
                            top: &top,
                            node: top.node.clone(),
                            sources: top.sources.clone(),
                            evaluator,
                            builds: None,
                        };
                        make_run(state, filled)
                    }
                    _ => return run_original(state),
                }
            }
        };
        match run {
            Ok(run) => *(*state).run = Some(run),
            Err(error) if error.needs_postgres() => run_original(state),
            Err(error) => report(error),
        }
    }
}

/// Whether a conversion puts out what the node was planned to put out.
///
/// # Safety
/// A plan node of ours.
pub unsafe fn same_shape(scan: *mut pg_sys::CustomScan, top: &Top) -> bool {
    // SAFETY: a plan node of ours.
    unsafe {
        let planned = PgList::<pg_sys::TargetEntry>::from_pg((*scan).custom_scan_tlist);
        let subplans = PgList::<pg_sys::Plan>::from_pg((*scan).custom_plans);
        let fed: Vec<_> = top.sources.iter().filter_map(|source| source.fed).collect();
        let same_subplans = subplans.len() == fed.len()
            && subplans
                .iter_ptr()
                .zip(fed)
                .all(|(a, b)| (*a).plan_node_id == (*b).plan_node_id);
        same_subplans
            && planned.len() == top.scope.items.len()
            && PgList::<pg_sys::Node>::from_pg((*scan).scan.plan.qual).len() == top.quals.len()
            && planned
                .iter_ptr()
                .zip(&top.scope.items)
                .all(|(target, item)| {
                    // Of the same type may also be what is only a part of it.
                    pg_sys::equal((*target).expr.cast(), item.shown.cast())
                })
    }
}

unsafe fn make_run(state: *mut State, filled: Filled<'_>) -> doris_engine::error::Result<Run> {
    // SAFETY: the sources' tables are in the query's range table and locked; subplans live as long as the state.
    unsafe {
        let estate = (*state).css.ss.ps.state;
        let mut subplans = (*(*state).fed).iter();
        let mut counters = Vec::new();
        let mut inputs: Vec<Box<dyn MorselSource>> = Vec::new();
        let mut plan = filled.node;
        let planstate = &raw mut (*state).css.ss.ps;
        let chosen = &filled.top.chosen;
        let removed = (*(*state).partitions).choose(planstate, chosen, &mut plan, When::Running);
        let plan = Arc::new(plan);
        let scanned = super::columns::scanned(&plan);
        let streamed = super::columns::streamed(&plan);
        let builds = filled.builds;
        let spared = builds.as_ref().map(|builds| builds.spared(&plan));
        let spared = spared.unwrap_or_default();
        let is_read = |number| scanned.contains(&number) && !spared.contains(&number);
        let mut all_kept = true;
        for (number, source) in filled.sources.iter().enumerate() {
            if let Some(plan) = source.fed {
                let subplan = *subplans.next().expect("a subplan for each source");
                if !is_read(number) {
                    inputs.push(nothing());
                    counters.push(None);
                    continue;
                }
                if subplan.is_null() {
                    return Err(Error::internal("a subplan that PostgreSQL has pruned"));
                }
                all_kept = false;
                let counter = Rc::new(Counters::default());
                let scratch = (*state).scratch;
                let fed = PlanSource::new(
                    (subplan, plan),
                    (&source.attributes, source.exact),
                    scratch,
                    counter.clone(),
                );
                inputs.push(Box::new(fed));
                counters.push(Some(counter));
                continue;
            }
            if !is_read(number) {
                inputs.push(nothing());
                counters.push(None);
                continue;
            }
            let rel = compat::range_table_relation(estate, source.rti);
            raw::predicate_lock_relation(rel, (*estate).es_snapshot);
            let counter = Rc::new(Counters::default());
            counters.push(Some(counter.clone()));
            let make = |source: &Source| {
                TableSource::new(rel, (*estate).es_snapshot, source, counter.clone())
            };
            if (*state).again {
                let kept = &mut *(*state).kept;
                if let Some(given) = kept.source((number, source), &plan, &counter, make)? {
                    all_kept &= given.rows <= ROWS_FOR_ONE_THREAD;
                    inputs.push(Box::new(given.source));
                    continue;
                }
            }
            all_kept = false;
            let mut table = make(source);
            if streamed.contains(&number) {
                table.settle()?;
            }
            inputs.push(Box::new(table));
        }
        // A few rows that are there already are soon worked on: another thread would have to wake up for each start.
        let threads = match (*state).again && all_kept {
            true => 1,
            false => settings::threads(),
        };
        let spill = TempFiles::new();
        let external = filled.evaluator.map(|all| Box::new(Shared(all)) as _);
        threads::keep_freed_memory();
        let budget = (*(*state).kept).budget_of_runs();
        let options = Options {
            threads,
            batch_rows: settings::batch_rows(),
            pool: threads::pool(threads - 1),
            budget: budget.clone(),
            stop: Some(threads::cancelled),
            spill: Some(Box::new(spill.clone())),
            external,
            kept: builds,
            on_idle: Some(Box::new(|| match threads::interrupted() {
                true => Err(Error::Cancelled),
                false => Ok(()),
            })),
            ..Options::default()
        };
        let output = Output::new(&filled.top.scope.items);
        let executor = Executor::new(plan.clone(), inputs, options);
        Ok(Run {
            executor,
            output,
            started: false,
            threads,
            threads_used: 1,
            budget,
            ahead: VecDeque::new(),
            plan,
            counters,
            removed,
            spill,
        })
    }
}

/// In the place of a source that the plan does not read.
fn nothing() -> Box<dyn MorselSource> {
    Box::new(MemorySource::new([]))
}

/// Starts the plan that PostgreSQL had made.
unsafe fn run_original(state: *mut State) {
    // SAFETY: the subtree is a finished plan of this query; its state lives as long as the query.
    unsafe {
        let estate = (*state).css.ss.ps.state;
        let scan = (*state).css.ss.ps.plan as *mut pg_sys::CustomScan;
        let context = (*estate).es_query_cxt;
        let previous = pg_sys::MemoryContextSwitchTo(context);
        let known = known_params(scan, estate);
        let original = pg_sys::ExecInitNode(original(scan), estate, 0);
        for param in known {
            (*(*estate).es_param_exec_vals.add(param)).execPlan = std::ptr::null_mut();
        }
        pg_sys::CurrentMemoryContext = previous;
        (*state).original = original;
    }
}

/// The parameters of a node's InitPlans that are known. The original plan has the same InitPlans, with the same states:
/// when it starts, it marks their parameters as still to be computed, by plans that have run to their ends.
unsafe fn known_params(scan: *mut pg_sys::CustomScan, estate: *mut pg_sys::EState) -> Vec<usize> {
    // SAFETY: a node of a running query; parameters have their places in its array.
    unsafe {
        let plans = PgList::<pg_sys::SubPlan>::from_pg((*scan).scan.plan.initPlan);
        let mut known = Vec::new();
        for plan in plans.iter_ptr() {
            let params = PgList::<i32>::from_pg((*plan).setParam);
            let places = params.iter_int().map(|param| param as usize);
            known.extend(
                places.filter(|at| (*(*estate).es_param_exec_vals.add(*at)).execPlan.is_null()),
            );
        }
        known
    }
}
