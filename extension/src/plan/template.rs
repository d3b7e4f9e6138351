// SPDX-License-Identifier: Apache-2.0
//! Converted plans with places for parameters, for a node that runs again and again.
//!
//! A subplan that refers to the rows of its outer query starts anew for each of them. From the second time on its plan
//! is a template: converted once, with places for the parameters that PostgreSQL sets while a query runs. Each start
//! reads these and puts their values into a copy as constants, so that row blocks are skipped by them as ever. What is
//! constant in an execution (what the client gave, the time) is a constant of the template.
//!
//! Tables of joins in which no such parameter takes part are made once for each template (the engine's `BuildCache`).
//! When it has been used a while, inner joins that hash the side with the parameter are turned round, so that there is
//! more to keep.
//!
//! The types of numerics follow from their values: there is a template for each combination of types that comes up.
//! Where the conversion must know a value, as that of a pattern, there are none, and each start converts anew.
use super::convert::{Converter, Source, Top};
use super::evaluate::{self, Evaluator};
use super::external::External;
use super::params::{self, Params};
use super::partitions::Chosen;
use super::{external_placement, no, node, Converted, Reason};
use crate::am::relation;
use crate::options::settings;
use crate::pg::compat;
use doris_engine::expr::Expr;
use doris_engine::ops::join::build_cache::{self, BuildCache, Part};
use doris_engine::plan::Node;
use doris_engine::types::DataType;
use pgrx::pg_sys;
use std::rc::Rc;

/// Templates that a node keeps.
const TEMPLATES_MAX: usize = 16;

/// From this start on, a table that is read each time is worth being hashed for those that follow.
const STARTS_TO_EXCHANGE: usize = 16;

/// Tables of joins take up to one part in so many of `doris.work_mem`.
const KEPT_SHARE: usize = 4;

/// Rows of a page of the row store, if they are small.
const ROWS_PER_PAGE: u64 = 128;

/// The templates of a node. Lives as long as the query.
#[derive(Default)]
pub struct Templates {
    places: Vec<Place>,
    made: Vec<Template>,
    /// There is no use in another try.
    given_up: bool,
}

/// A parameter that PostgreSQL sets while the query runs.
struct Place {
    param: *mut pg_sys::Param,
    state: *mut pg_sys::ExprState,
}

/// A converted plan.
struct Template {
    top: Top,
    /// The parameters that its conversion asked for, and the types that they had.
    types: Vec<(usize, DataType)>,
    /// Evaluates its external expressions.
    evaluator: Option<Rc<Evaluator>>,
    /// Tables of its joins; those of the first template take what there is for them.
    builds: Rc<BuildCache>,
    bytes: usize,
    /// How often it was used.
    starts: usize,
}

/// A plan that is ready to run.
pub struct Filled<'t> {
    /// The template: all but the plan and the filters of the sources are as they are here.
    pub top: &'t Top,
    /// The plan with the parameters' values.
    pub node: Node,
    /// The sources with filters by them.
    pub sources: Vec<Source>,
    /// Evaluates its external expressions.
    pub evaluator: Option<Rc<Evaluator>>,
    /// Tables of joins that it shares with its other starts.
    pub builds: Option<Rc<BuildCache>>,
}

impl Templates {
    /// The plan of a node with the parameters' values, if it can be made of a template.
    ///
    /// # Safety
    /// A begun state of a node made by `hook`, and the place in it for external expressions.
    pub unsafe fn fill(
        &mut self,
        planstate: *mut pg_sys::PlanState,
        place: *mut evaluate::Place,
    ) -> Option<Filled<'_>> {
        if self.given_up {
            return None;
        }
        // SAFETY: passed on to the caller.
        let values: Vec<_> = (self.places.iter())
            .map(|place| unsafe { place.value(planstate) })
            .collect();
        if values.iter().any(|value| value.is_err()) {
            // No constant of the engine, as NaN is none: this start is on its own.
            return None;
        }
        let known = self.made.iter().position(|made| made.fits(&values));
        let (number, values) = match known {
            Some(number) => (number, values),
            // SAFETY: as above.
            None => unsafe { (self.make(planstate, place)?, self.values(planstate)) },
        };
        let template = &mut self.made[number];
        template.starts += 1;
        if template.starts == STARTS_TO_EXCHANGE {
            // SAFETY: as above.
            unsafe { template.exchange(planstate) };
        }
        template.filled(values)
    }

    unsafe fn values(&self, planstate: *mut pg_sys::PlanState) -> Vec<Converted<Expr>> {
        // SAFETY: passed on to the caller.
        let value = |place: &Place| unsafe { place.value(planstate) };
        self.places.iter().map(value).collect()
    }

    /// Converts the plan once more, for types like those at hand.
    unsafe fn make(
        &mut self,
        planstate: *mut pg_sys::PlanState,
        place: *mut evaluate::Place,
    ) -> Option<usize> {
        if self.made.len() >= TEMPLATES_MAX {
            return None;
        }
        // SAFETY: a node of ours; what the conversion makes lives as long as the templates.
        unsafe {
            let scan = (*planstate).plan as *mut pg_sys::CustomScan;
            let estate = (*planstate).state;
            let mut places = Places {
                planstate,
                known: &mut self.places,
                types: Vec::new(),
                odd: false,
            };
            let before = pg_sys::MemoryContextSwitchTo((*estate).es_query_cxt);
            let top = Converter::new((*estate).es_plannedstmt, &mut places)
                .top(node::original(scan), &node::requirements(scan));
            pg_sys::MemoryContextSwitchTo(before);
            let Places { types, odd, .. } = places;
            match top {
                // A value that the engine does not know. Another row's may do.
                _ if odd => None,
                Ok(top) if node::same_shape(scan, &top) => {
                    let used = external_placement::used(&top.node);
                    let memory = (*estate).es_query_cxt;
                    let evaluator = (!used.is_empty()).then(|| {
                        let externals = &top.externals;
                        Rc::new(Evaluator::new(place, planstate, memory, externals, &used))
                    });
                    let bytes = if self.made.is_empty() {
                        kept_bytes()
                    } else {
                        0
                    };
                    let builds = Rc::new(kept_builds(&top, bytes));
                    self.made.push(Template {
                        bytes,
                        top,
                        types,
                        evaluator,
                        builds,
                        starts: 0,
                    });
                    Some(self.made.len() - 1)
                }
                _ => {
                    self.given_up = true;
                    None
                }
            }
        }
    }
}

impl Template {
    /// Whether values have the types that it was made for.
    fn fits(&self, values: &[Converted<Expr>]) -> bool {
        self.types.iter().all(|(place, wanted)| {
            let value = values.get(*place).and_then(|value| value.as_ref().ok());
            value.is_some_and(|value| value.data_type() == *wanted || is_null(value))
        })
    }

    fn filled(&self, values: Vec<Converted<Expr>>) -> Option<Filled<'_>> {
        let mut constants = values.into_iter().collect::<Converted<Vec<Expr>>>().ok()?;
        // NULL has no scale of its own.
        for (place, wanted) in &self.types {
            if is_null(&constants[*place]) {
                constants[*place] = Expr::null(*wanted);
            }
        }
        let mut sources = self.top.sources.clone();
        for filter in sources.iter_mut().flat_map(|source| &mut source.filters) {
            filter.bind(&constants).ok()?;
        }
        if let Some(evaluator) = &self.evaluator {
            evaluator.again();
        }
        Some(Filled {
            top: &self.top,
            node: self.top.node.bound(&constants).ok()?,
            sources,
            evaluator: self.evaluator.clone(),
            builds: Some(self.builds.clone()),
        })
    }

    /// Turns joins round whose tables would be the same each time.
    unsafe fn exchange(&mut self, planstate: *mut pg_sys::PlanState) {
        let Top {
            node,
            sources,
            chosen,
            externals,
            ..
        } = &mut self.top;
        let same = |part| is_same(part, sources, externals, chosen);
        // SAFETY: the sources' tables are in the query's range table and locked.
        let rows = |source: usize| unsafe { rows_about(planstate, &sources[source]) };
        // Rows of subplans with decimals must not be handed on as they come.
        let streams = |source: usize| sources[source].fed.is_none();
        if build_cache::exchange(node, self.bytes, &same, &rows, &streams) {
            self.builds = Rc::new(kept_builds(&self.top, self.bytes));
        }
    }
}

fn kept_bytes() -> usize {
    settings::work_mem_bytes() / KEPT_SHARE
}

/// What the joins of a plan may keep.
fn kept_builds(top: &Top, bytes: usize) -> BuildCache {
    let same = |part| is_same(part, &top.sources, &top.externals, &top.chosen);
    BuildCache::of(&top.node, bytes, &same)
}

/// Whether a part of a plan is the same at each start of its node.
fn is_same(part: Part, sources: &[Source], externals: &[External], chosen: &[Chosen]) -> bool {
    match part {
        Part::External(id) => !externals[id as usize].varies,
        // SAFETY: a subplan of a finished plan; what depends on no parameter has none in its set.
        Part::Source(number) => sources[number]
            .fed
            .is_none_or(|plan| unsafe { (*plan).extParam.is_null() }),
        Part::Node(id) => chosen.iter().all(|chosen| chosen.id != id),
    }
}

/// How many rows a source has at most; `None` where only PostgreSQL knows.
unsafe fn rows_about(planstate: *mut pg_sys::PlanState, source: &Source) -> Option<u64> {
    if source.fed.is_some() {
        return None;
    }
    // SAFETY: passed on to the caller.
    unsafe {
        let estate = (*planstate).state;
        let rel = compat::range_table_relation(estate, source.rti);
        let stored = relation::segment_totals(rel, (*estate).es_snapshot).rows;
        let pages = pg_sys::RelationGetNumberOfBlocksInFork(rel, pg_sys::ForkNumber::MAIN_FORKNUM);
        Some(stored + u64::from(pages) * ROWS_PER_PAGE)
    }
}

fn is_null(value: &Expr) -> bool {
    value.as_const() == Some(&None)
}

impl Place {
    /// The parameter's value, as a constant.
    unsafe fn value(&self, planstate: *mut pg_sys::PlanState) -> Converted<Expr> {
        // SAFETY: a state made for a parameter of this plan; reading it may run its InitPlan.
        unsafe { params::evaluated(self.state, self.param.cast(), planstate) }
    }
}

/// Parameters for the conversion of a template.
struct Places<'p> {
    planstate: *mut pg_sys::PlanState,
    known: &'p mut Vec<Place>,
    types: Vec<(usize, DataType)>,
    /// A value is not one that the engine knows.
    odd: bool,
}

impl Params for Places<'_> {
    unsafe fn value(&mut self, param: *mut pg_sys::Param) -> Converted<Expr> {
        // SAFETY: passed on to the caller.
        unsafe {
            if (*param).paramkind != pg_sys::ParamKind::PARAM_EXEC {
                return params::computed(param.cast(), self.planstate);
            }
            let same = |place: &Place| pg_sys::equal(place.param.cast(), param.cast());
            let number = self.known.iter().position(same).unwrap_or_else(|| {
                self.known.push(Place {
                    param,
                    state: params::expression(param.cast(), self.planstate),
                });
                self.known.len() - 1
            });
            match self.known[number].value(self.planstate) {
                Ok(value) => {
                    let data_type = value.data_type();
                    if !self.types.contains(&(number, data_type)) {
                        self.types.push((number, data_type));
                    }
                    Ok(Expr::param(number, data_type))
                }
                Err(Reason(why)) => {
                    self.odd = true;
                    no(why)
                }
            }
        }
    }

    unsafe fn moment(&mut self, node: *mut pg_sys::Node) -> Converted<Expr> {
        // SAFETY: passed on to the caller.
        unsafe { params::computed(node, self.planstate) }
    }
}
