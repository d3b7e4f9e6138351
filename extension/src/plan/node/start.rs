// SPDX-License-Identifier: Apache-2.0
//! The start of a node: from the subtree that it stands for to an engine that is ready to run.
use super::super::convert::{Converter, Source};
use super::super::evaluate::{Evaluator, Shared};
use super::super::output::Output;
use super::super::params::Bound;
use super::super::partitions::PruneStage;
use super::super::scan_cache::ScanCache;
use super::super::source::{Counters, TableSource};
use super::super::spill::TempFiles;
use super::super::subplan_source::PlanSource;
use super::super::template::{Filled, Templates};
use super::super::{column_pruning, external_placement, reasons, threads};
use super::report::report;
use super::{original, requirements, same_shape, EngineScanRun, EngineScanState};
use crate::options::settings;
use crate::pg::{compat, raw};
use doris_engine::error::Error;
use doris_engine::exec::{Executor, Options};
use doris_engine::source::{MemorySource, MorselSource};
use pgrx::pg_sys;
use pgrx::PgList;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

/// Rows that are there already and are no more than these are worked on by one thread.
const ROWS_FOR_ONE_THREAD: usize = 128 << 10;

/// Gets the engine ready to run the plan with the parameters' values: from a template when it has run before, or else by
/// converting the original subtree.
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

unsafe fn make_run(
    state: *mut EngineScanState,
    filled: Filled<'_>,
) -> doris_engine::error::Result<EngineScanRun> {
    // SAFETY: the sources' tables are in the query's range table and locked; subplans live as long as the state.
    unsafe {
        let estate = (*state).css.ss.ps.state;
        let mut subplans = (*(*state).fed).iter();
        let mut counters = Vec::new();
        let mut inputs: Vec<Box<dyn MorselSource>> = Vec::new();
        let mut plan = filled.node;
        let planstate = &raw mut (*state).css.ss.ps;
        let chosen = &filled.top.chosen;
        let removed =
            (*(*state).partitions).choose(planstate, chosen, &mut plan, PruneStage::Running);
        let plan = Arc::new(plan);
        let scanned = column_pruning::scanned(&plan);
        let streamed = column_pruning::streamed(&plan);
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
                table.verify_readable()?;
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
        Ok(EngineScanRun {
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
        *(*state).kept = ScanCache::default();
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
