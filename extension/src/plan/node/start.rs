// SPDX-License-Identifier: Apache-2.0
//! The start of a node: from the subtree that it stands for to an engine that is ready to run.
use super::super::convert::{Converter, Source};
use super::super::evaluate::{Evaluator, Shared};
use super::super::output::Output;
use super::super::params::Bound;
use super::super::partitions::PruneStage;
use super::super::source::{Counters, TableSource};
use super::super::spill::TempFiles;
use super::super::subplan_source::PlanSource;
use super::super::template::{Filled, Templates};
use super::super::{column_pruning, external_placement, reasons, threads};
use super::report::report;
use super::{original, requirements, same_shape, EngineScanRun, EngineScanState};
use crate::options::settings;
use crate::pg::{compat, raw};
use doris_engine::error::{Error, Result};
use doris_engine::exec::{Executor, Options};
use doris_engine::plan::Node;
use doris_engine::source::{MemorySource, MorselSource};
use pgrx::pg_sys;
use pgrx::PgList;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

/// Rows that are there already and are no more than these are worked on by one thread.
const ROWS_FOR_ONE_THREAD: usize = 128 << 10;

/// Gets the engine ready to run the plan with the parameters' values: from a template when it has run before, or else
/// by converting the original subtree.
pub(super) unsafe fn start(state: *mut EngineScanState) {
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
                    .top(original(scan), &requirements(scan));
                pg_sys::MemoryContextSwitchTo(before);
                match top {
                    Ok(top) if same_shape(scan, &top) => {
                        let used = external_placement::used(&top.node);
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
            Err(error) if error.needs_postgres() => {
                reasons::record_fallback(&error);
                run_original(state);
            }
            Err(error) => report(error),
        }
    }
}

/// The engine and what belongs to it, ready to run a plan with the parameters' values.
unsafe fn make_run(state: *mut EngineScanState, filled: Filled<'_>) -> Result<EngineScanRun> {
    // SAFETY: the sources' tables are in the query's range table and locked; subplans live as long as the state.
    unsafe {
        let mut plan = filled.node;
        let planstate = &raw mut (*state).css.ss.ps;
        let chosen = &filled.top.chosen;
        let removed =
            (*(*state).partitions).choose(planstate, chosen, &mut plan, PruneStage::Running);
        let plan = Arc::new(plan);
        let builds = filled.builds;
        let spared = builds.as_ref().map(|builds| builds.spared(&plan));
        let inputs = Inputs::of(state, &filled.sources, &plan, &spared.unwrap_or_default())?;
        // A few rows that are there already are soon worked on: another thread would have to wake up for each start.
        let threads = match (*state).again && inputs.all_kept {
            true => 1,
            false => settings::threads(),
        };
        let spill = TempFiles::new();
        threads::keep_freed_memory();
        let budget = (*(*state).kept).budget_of_runs();
        let options = Options {
            threads,
            batch_rows: settings::batch_rows(),
            pool: threads::pool(threads - 1),
            budget: budget.clone(),
            stop: Some(threads::cancelled),
            spill: Some(Box::new(spill.clone())),
            external: filled.evaluator.map(|all| Box::new(Shared(all)) as _),
            kept: builds,
            on_idle: Some(Box::new(|| match threads::interrupted() {
                true => Err(Error::Cancelled),
                false => Ok(()),
            })),
            ..Options::default()
        };
        let output = Output::new(&filled.top.scope.items);
        let executor = Executor::new(plan.clone(), inputs.sources, options);
        Ok(EngineScanRun {
            executor,
            output,
            started: false,
            threads,
            threads_used: 1,
            budget,
            ahead: VecDeque::new(),
            plan,
            counters: inputs.counters,
            removed,
            spill,
        })
    }
}

/// What a run reads.
struct Inputs {
    sources: Vec<Box<dyn MorselSource>>,
    /// Each source's counters; `None`: it is not read.
    counters: Vec<Option<Rc<Counters>>>,
    /// Whether all rows are in memory since a start before, and are few.
    all_kept: bool,
}

impl Inputs {
    /// The inputs of a plan; `spared` are the sources that it does not read as it has kept what it made of them.
    unsafe fn of(
        state: *mut EngineScanState,
        sources: &[Source],
        plan: &Node,
        spared: &[usize],
    ) -> Result<Self> {
        let scanned = column_pruning::scanned(plan);
        let streamed = column_pruning::streamed(plan);
        let mut inputs = Self {
            sources: Vec::new(),
            counters: Vec::new(),
            all_kept: true,
        };
        // SAFETY: a begun state, which holds a subplan for each source that is fed.
        let mut subplans = unsafe { (*(*state).fed).iter() };
        for (number, source) in sources.iter().enumerate() {
            let subplan = source
                .fed
                .map(|_| *subplans.next().expect("a subplan for each source"));
            if !scanned.contains(&number) || spared.contains(&number) {
                inputs.sources.push(nothing());
                inputs.counters.push(None);
                continue;
            }
            let counters = Rc::new(Counters::default());
            inputs.counters.push(Some(counters.clone()));
            // SAFETY: passed on to the caller.
            unsafe {
                match subplan {
                    Some(subplan) => inputs.add_subplan(state, source, subplan, counters)?,
                    None => {
                        let streamed = streamed.contains(&number);
                        inputs.add_table(state, (number, source), plan, streamed, counters)?;
                    }
                }
            }
        }
        Ok(inputs)
    }

    /// The rows of a plan that PostgreSQL runs.
    unsafe fn add_subplan(
        &mut self,
        state: *mut EngineScanState,
        source: &Source,
        subplan: *mut pg_sys::PlanState,
        counters: Rc<Counters>,
    ) -> Result<()> {
        let (Some(plan), false) = (source.fed, subplan.is_null()) else {
            return Err(Error::internal("a subplan that PostgreSQL has pruned"));
        };
        self.all_kept = false;
        let columns = (&source.attributes[..], source.exact);
        // SAFETY: the state of that plan, begun; the scratch memory lives as long as the node's state.
        let rows = unsafe { PlanSource::new((subplan, plan), columns, (*state).scratch, counters) };
        self.sources.push(Box::new(rows));
        Ok(())
    }

    /// The rows of a table: those that were kept, or else a scan. Of a table whose rows are `streamed` to the user
    /// before all are read, it is checked first that they can be read.
    unsafe fn add_table(
        &mut self,
        state: *mut EngineScanState,
        (number, source): (usize, &Source),
        plan: &Node,
        streamed: bool,
        counters: Rc<Counters>,
    ) -> Result<()> {
        // SAFETY: the source's table is in the query's range table and locked.
        unsafe {
            let estate = (*state).css.ss.ps.state;
            let snapshot = (*estate).es_snapshot;
            let rel = compat::range_table_relation(estate, source.rti);
            raw::predicate_lock_relation(rel, snapshot);
            let make = |source: &Source| TableSource::new(rel, snapshot, source, counters.clone());
            if (*state).again {
                let kept = &mut *(*state).kept;
                if let Some(given) = kept.source((number, source), plan, &counters, make)? {
                    self.all_kept &= given.rows <= ROWS_FOR_ONE_THREAD;
                    self.sources.push(Box::new(given.source));
                    return Ok(());
                }
            }
            self.all_kept = false;
            let mut table = make(source);
            if streamed {
                table.verify_readable()?;
            }
            self.sources.push(Box::new(table));
            Ok(())
        }
    }
}

/// In the place of a source that the plan does not read.
fn nothing() -> Box<dyn MorselSource> {
    Box::new(MemorySource::new([]))
}

/// Starts the plan that PostgreSQL had made.
pub(super) unsafe fn run_original(state: *mut EngineScanState) {
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
        // The engine does not run again: what it kept for that goes.
        *(*state).templates = Templates::default();
        (*(*state).kept).forget();
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
