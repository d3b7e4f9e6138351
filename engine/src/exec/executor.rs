// SPDX-License-Identifier: Apache-2.0
//! From plan to streams: inputs are opened first, blocking operators run while they open.
//!
//! What a join's build side learns travels down its probe side as runtime filters, through every operator that
//! passes the column on unchanged, to the scan.

use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use hashbrown::HashMap;

use super::driver::Driver;
use super::query::{NodeCounters, Options, Query};
use super::stream::{LimitSource, Stream, Tasks};
use crate::batch::{Batch, Selection};
use crate::error::{Error, Result};
use crate::expr::{Expr, ExprKind};
use crate::memory;
use crate::metadata_aggregates::Totals;
use crate::ops::aggregate;
use crate::ops::filter_project::{Filter, Project};
use crate::ops::join;
use crate::ops::scan::{AppliedFilter, Filters, ScanShape, ScanSource};
use crate::ops::{setop, sort, window};
use crate::plan::{Node, Op, Scan, SortKey};
use crate::runtime_filter::RuntimeFilter;
use crate::source::MorselSource;

/// A filter on an output column of a node, on its way down.
#[derive(Clone)]
pub struct Wanted {
    /// The output column.
    pub column: usize,
    /// What passes.
    pub filter: Arc<RuntimeFilter>,
}

/// What a scan is asked for.
enum Asked<'a> {
    Rows,
    /// Each row at least once.
    Values,
    /// What its source knows of rows, where it does.
    Summaries(&'a Arc<Totals>),
}

/// Runs a plan. Lives on the driving thread.
pub struct Executor {
    plan: Option<Arc<Node>>,
    sources: Vec<Option<Box<dyn MorselSource>>>,
    driver: Driver,
    stream: Stream,
    ready: VecDeque<Batch>,
    failed: Option<Error>,
}

impl Executor {
    /// An execution of `plan` over `sources`. Nothing runs before the first [`Executor::next_batch`].
    pub fn new(
        plan: impl Into<Arc<Node>>,
        sources: Vec<Box<dyn MorselSource>>,
        options: Options,
    ) -> Self {
        let plan = plan.into();
        let counters = (0..=plan.max_id())
            .map(|_| NodeCounters::default())
            .collect();
        let query = Query {
            threads: options.threads.max(1),
            threads_now: AtomicUsize::new(options.threads.max(1)),
            budget: options.budget,
            batch_rows: options.batch_rows.max(1),
            local_groups: options.local_groups.max(1),
            cancel: options.cancel,
            stop: options.stop,
            spill: options.spill,
            params: options.params,
            counters,
        };
        let driver = Driver {
            query: Arc::new(query),
            pool: options.pool,
            external: options.external,
            on_idle: RefCell::new(options.on_idle),
            kept: options.kept,
        };
        let sources = sources.into_iter().map(Some).collect();
        Self {
            plan: Some(plan),
            sources,
            driver,
            stream: Stream::empty(),
            ready: VecDeque::new(),
            failed: None,
        }
    }

    /// The next rows; `None` at the end. Nobody works between two calls. After an error, the same error again.
    pub fn next_batch(&mut self) -> Result<Option<Batch>> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let outcome = memory::catching(|| self.advance());
        if let Err(error) = &outcome {
            self.failed = Some(error.clone());
            self.stream = Stream::empty();
            self.ready.clear();
        }
        outcome
    }

    /// How many threads may work from the next batch on, at most those of the options.
    pub fn set_threads(&self, threads: usize) {
        let now = &self.driver.query.threads_now;
        now.store(threads.max(1), Ordering::Relaxed);
    }

    /// What EXPLAIN ANALYZE shows of node `id`.
    pub fn counters(&self, id: u32) -> &NodeCounters {
        self.driver.query.node(id)
    }

    fn advance(&mut self) -> Result<Option<Batch>> {
        if let Some(plan) = self.plan.take() {
            self.driver.query.check()?;
            self.stream = Opening {
                driver: &self.driver,
                sources: &mut self.sources,
                built: HashMap::new(),
            }
            .open(&plan, &[])?;
        }
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(Some(batch));
            }
            match self.stream.next_round(&self.driver)? {
                None => return Ok(None),
                Some(chunks) => {
                    let batches = chunks.into_iter().filter(|chunk| chunk.rows() > 0);
                    self.ready.extend(batches.map(|chunk| chunk.into_batch()));
                }
            }
        }
    }
}

/// Opens the nodes of a plan.
pub struct Opening<'o> {
    /// The driving thread's tools.
    pub driver: &'o Driver,
    sources: &'o mut Vec<Option<Box<dyn MorselSource>>>,
    /// Build sides of joins that are still to be opened, by node.
    pub built: HashMap<u32, Box<dyn Any>>,
}

impl Opening<'_> {
    /// The stream of a node's rows, less some that no `wanted` filter lets through.
    pub fn open(&mut self, node: &Node, wanted: &[Wanted]) -> Result<Stream> {
        let driver = self.driver;
        match &node.op {
            Op::Scan(scan) => self.open_scan(node, scan, wanted, Asked::Rows),
            Op::Filter { predicate, .. } if self.is_shut(predicate) => Ok(Stream::empty()),
            Op::Filter { input, predicate } => {
                let stage = Filter {
                    id: node.id,
                    predicate: predicate.clone(),
                };
                Ok(self.open(input, wanted)?.through(Arc::new(stage)))
            }
            Op::Project { input, exprs } => {
                let stage = Project {
                    id: node.id,
                    exprs: exprs.clone(),
                };
                let wanted = through_exprs(wanted, exprs.iter());
                Ok(self.open(input, &wanted)?.through(Arc::new(stage)))
            }
            Op::Aggregate(aggregate) => {
                let sets = aggregate.grouping_sets.as_deref();
                let keys = aggregate.keys.iter().map(|key| &key.expr);
                let wanted = if sets.is_none() {
                    through_exprs(wanted, keys)
                } else {
                    Vec::new()
                };
                aggregate::open_plan(self, node.id, aggregate, &wanted)
            }
            Op::Distinct { input } => {
                let rows = self.open_values(input, wanted)?;
                aggregate::open_distinct_rows(driver, node.id, rows, &node.types)
            }
            // Nobody asks their input for anything.
            Op::Limit { limit: Some(0), .. } | Op::TopN { limit: 0, .. } => Ok(Stream::empty()),
            Op::Limit {
                input,
                limit,
                offset,
            } => {
                let input = self.open(input, &[])?;
                Ok(Stream::new(Box::new(LimitSource {
                    input,
                    skip: *offset,
                    left: *limit,
                })))
            }
            Op::UnionAll { inputs } => {
                let mut all = Stream::empty();
                for input in inputs {
                    all = all.then(self.open(input, wanted)?);
                }
                Ok(all)
            }
            Op::Values { rows } => Ok(Stream::new(Box::new(Tasks::of_batches([rows.clone()])))),
            Op::Join(plan) => join::open(driver, node.id, plan, wanted, self),
            Op::Sort { input, keys } => {
                let rows = self.open(input, wanted)?;
                sort::full::open(driver, node.id, rows, &node.types, keys)
            }
            Op::TopN {
                input,
                keys,
                limit,
                offset,
            } => self.open_top(node, input, keys, *limit, *offset),
            Op::Window(window) => {
                let rows = self.open(&window.input, &[])?;
                window::open(driver, node.id, rows, window)
            }
            Op::SetOp {
                kind,
                all,
                left,
                right,
            } => {
                let (left, right) = (self.open(left, &[])?, self.open(right, &[])?);
                setop::open(driver, node.id, (*kind, *all), left, right, &node.types)
            }
        }
    }

    /// Whether a condition that hangs on no column lets no row through: what it guards is not even opened then, as many
    /// operators do all of their work when they are. One that fails does so when a row comes to it.
    fn is_shut(&self, predicate: &Expr) -> bool {
        if !predicate.columns().is_empty() {
            return false;
        }
        let row = Batch::new(Vec::new(), 1);
        let worker = self.driver.worker();
        let kept = predicate.filter(&worker.eval, &row, Selection::All(1));
        kept.is_ok_and(|kept| kept.is_empty())
    }

    fn open_top(
        &mut self,
        node: &Node,
        input: &Node,
        keys: &[SortKey],
        limit: u64,
        skip: u64,
    ) -> Result<Stream> {
        let driver = self.driver;
        let rows = limit.saturating_add(skip);
        if sort::top::is_worthwhile(&driver.query, rows, node.types.len()) {
            let (bound, wanted) = sort::top::bound(input, keys).unzip();
            let rows = self.open(input, wanted.as_slice())?;
            let range = (limit as usize, skip as usize);
            return sort::top::open(driver, node.id, rows, &node.types, keys, bound, range);
        }
        let rows = self.open(input, &[])?;
        let input = sort::full::open(driver, node.id, rows, &node.types, keys)?;
        Ok(Stream::new(Box::new(LimitSource {
            input,
            skip,
            left: Some(limit),
        })))
    }

    /// Opens the input of an aggregation whose answers summaries may give: what has them goes to `totals`.
    pub fn open_summarized(&mut self, node: &Node, totals: &Arc<Totals>) -> Result<Stream> {
        match &node.op {
            Op::Scan(scan) => self.open_scan(node, scan, &[], Asked::Summaries(totals)),
            Op::Project { input, exprs } => {
                let stage = Project {
                    id: node.id,
                    exprs: exprs.clone(),
                };
                Ok(self
                    .open_summarized(input, totals)?
                    .through(Arc::new(stage)))
            }
            _ => self.open(node, &[]),
        }
    }

    /// Opens an input of which it matters only which rows it has, not how often: over a scan of one column, the source need
    /// not repeat its values.
    pub fn open_values(&mut self, node: &Node, wanted: &[Wanted]) -> Result<Stream> {
        match &node.op {
            Op::Scan(scan) if scan.columns.len() == 1 => {
                self.open_scan(node, scan, wanted, Asked::Values)
            }
            Op::Project { input, exprs } => {
                let stage = Project {
                    id: node.id,
                    exprs: exprs.clone(),
                };
                let wanted = through_exprs(wanted, exprs.iter());
                Ok(self.open_values(input, &wanted)?.through(Arc::new(stage)))
            }
            _ => self.open(node, wanted),
        }
    }

    /// About how many rows a node has at most that reads a table, and whether it has all rows of the table; `None` if it
    /// does something else or nobody knows.
    pub fn table_rows(&self, node: &Node) -> Option<(u64, bool)> {
        match &node.op {
            Op::Scan(scan) => {
                let source = self.sources.get(scan.source)?.as_ref()?;
                Some((source.rows_about()?, scan.filters.is_empty()))
            }
            Op::Project { input, .. } => self.table_rows(input),
            _ => None,
        }
    }

    fn open_scan(
        &mut self,
        node: &Node,
        scan: &Scan,
        wanted: &[Wanted],
        asked: Asked<'_>,
    ) -> Result<Stream> {
        let source = self.sources.get_mut(scan.source).and_then(Option::take);
        let mut source =
            source.ok_or_else(|| Error::internal("a source that is missing or used twice"))?;
        for wanted in wanted {
            source.add_runtime_filter(scan.columns[wanted.column], &wanted.filter);
        }
        // What can fail or needs the driving thread runs as an operator of its own, where errors find their row.
        let simple = scan
            .filters
            .iter()
            .take_while(|f| f.is_native() && !f.can_raise())
            .count();
        let asked = match simple == scan.filters.len() {
            true => asked,
            false => Asked::Rows,
        };
        let totals = match asked {
            Asked::Rows => None,
            Asked::Values => {
                source.prefer_values();
                None
            }
            Asked::Summaries(totals) => {
                source.prefer_summaries(&totals.needs);
                Some(Arc::clone(totals))
            }
        };
        let shape = ScanShape {
            id: node.id,
            columns: scan.columns.clone(),
            types: node.types.clone(),
            filters: Filters::new(&scan.filters[..simple]),
            runtime_filters: wanted
                .iter()
                .map(|w| AppliedFilter::new(w.column, Arc::clone(&w.filter)))
                .collect(),
            totals,
        };
        let mut stream = Stream::new(Box::new(ScanSource {
            source,
            shape: Arc::new(shape),
        }));
        for predicate in &scan.filters[simple..] {
            stream = stream.through(Arc::new(Filter {
                id: node.id,
                predicate: predicate.clone(),
            }));
        }
        Ok(stream)
    }
}

/// The filters on output columns that are plain columns of the input, as filters on those.
pub fn through_exprs<'e>(wanted: &[Wanted], exprs: impl Iterator<Item = &'e Expr>) -> Vec<Wanted> {
    let inputs: Vec<Option<usize>> = exprs
        .map(|expr| match expr.kind() {
            ExprKind::Column(i) => Some(*i),
            _ => None,
        })
        .collect();
    let passed = |w: &Wanted| {
        let column = (*inputs.get(w.column)?)?;
        Some(Wanted {
            column,
            filter: Arc::clone(&w.filter),
        })
    };
    wanted.iter().filter_map(passed).collect()
}

#[cfg(test)]
mod tests;
