// SPDX-License-Identifier: Apache-2.0
//! What one execution is given, and what its threads share.

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Instant;

use doris_storage::vector::Vector;
use rayon::ThreadPool;

use super::driver::Idle;
use crate::batch::{Batch, Selection};
use crate::error::{Error, Result};
use crate::expr::{EvalContext, Expr, ExternalEval};
use crate::gather::gather;
use crate::memory::{self, MemoryBudget};
use crate::ops::join::build_cache::BuildCache;
use crate::spill::SpillStore;
use crate::types::Scalar;

/// What the caller decides about an execution.
pub struct Options {
    /// Threads that may work, the driving thread included.
    pub threads: usize,
    /// Where the other threads come from; `None`: the driving thread works alone.
    pub pool: Option<Arc<ThreadPool>>,
    /// Memory for all operators together.
    pub budget: Arc<MemoryBudget>,
    /// Rows that operators aim to put in a batch.
    pub batch_rows: usize,
    /// Groups that a thread aggregates before it sends them on; what fits the second-level cache.
    pub local_groups: usize,
    /// Set by anyone to stop the query with [`Error::Cancelled`].
    pub cancel: Arc<AtomicBool>,
    /// Asked on any thread, and often: whether to stop with [`Error::Cancelled`].
    pub stop: Option<fn() -> bool>,
    /// Where operators put what the budget can't hold; `None`: [`Error::OutOfMemory`] instead.
    pub spill: Option<Box<dyn SpillStore>>,
    /// The values of the plan's parameters.
    pub params: Vec<Option<Scalar>>,
    /// Evaluates what only PostgreSQL can; called on the driving thread.
    pub external: Option<Box<dyn ExternalEval>>,
    /// Called on the driving thread every few milliseconds while it waits; an error stops the query.
    pub on_idle: Option<Idle>,
    /// Tables of joins that this execution shares with others of the plan.
    pub kept: Option<Rc<BuildCache>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            threads: 1,
            pool: None,
            budget: MemoryBudget::new(usize::MAX),
            batch_rows: 4096,
            local_groups: 16 * 1024,
            cancel: Arc::new(AtomicBool::new(false)),
            stop: None,
            spill: None,
            params: Vec::new(),
            external: None,
            on_idle: None,
            kept: None,
        }
    }
}

/// What EXPLAIN ANALYZE shows of a node. Times are summed over threads.
#[derive(Debug, Default)]
pub struct NodeCounters {
    /// Rows that came in (of a scan: rows of its morsels).
    pub rows_in: AtomicU64,
    /// Rows that went out.
    pub rows_out: AtomicU64,
    /// Batches that came in.
    pub batches: AtomicU64,
    /// Time in the node itself, in nanoseconds, over all threads.
    pub nanos: AtomicU64,
    /// The most memory held, in bytes.
    pub memory_bytes: AtomicU64,
    /// Bytes written to the spill store.
    pub spilled_bytes: AtomicU64,
    /// 1 if a join exchanged its sides.
    pub turned: AtomicU64,
    /// 1 if a join's table is that of an earlier execution.
    pub kept: AtomicU64,
    /// Rows dropped by runtime filters.
    pub runtime_filtered: AtomicU64,
}

impl NodeCounters {
    /// Adds to a counter.
    #[inline]
    pub fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }

    /// Raises a counter to `amount` if it is lower.
    pub fn raise(counter: &AtomicU64, amount: u64) {
        counter.fetch_max(amount, Ordering::Relaxed);
    }

    /// Runs `work` and adds its time.
    #[inline]
    pub fn timed<T>(&self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        Self::add(&self.nanos, start.elapsed().as_nanos() as u64);
        result
    }
}

/// What all threads of an execution share.
pub struct Query {
    /// Threads that may work, the driving thread included.
    pub threads: usize,
    /// Threads that may work at the moment, the driving thread included.
    pub threads_now: AtomicUsize,
    /// Memory for all operators together.
    pub budget: Arc<MemoryBudget>,
    /// Rows that operators aim to put in a batch.
    pub batch_rows: usize,
    /// Groups that a thread aggregates before it sends them on.
    pub local_groups: usize,
    /// Stops the query.
    pub cancel: Arc<AtomicBool>,
    /// Whether to stop the query.
    pub stop: Option<fn() -> bool>,
    /// Where to spill.
    pub spill: Option<Box<dyn SpillStore>>,
    /// The values of the plan's parameters.
    pub params: Vec<Option<Scalar>>,
    /// Counters by node id.
    pub counters: Vec<NodeCounters>,
}

impl Query {
    /// Raises [`Error::Cancelled`] once the query is to stop, and [`Error::OutOfMemory`] where the system is at the end of its
    /// memory.
    pub fn check(&self) -> Result<()> {
        if self.cancel.load(Ordering::Relaxed) || self.stop.is_some_and(|stop| stop()) {
            return Err(Error::Cancelled);
        }
        memory::check()
    }

    /// The counters of node `id`.
    pub fn node(&self, id: u32) -> &NodeCounters {
        &self.counters[id as usize]
    }
}

/// One thread's view of the execution.
pub struct Worker<'q> {
    /// What all threads share.
    pub query: &'q Query,
    /// What expressions need; remembers results over dictionaries.
    pub eval: EvalContext<'q>,
}

impl<'q> Worker<'q> {
    /// A worker that evaluates native expressions only, unless `external` is given.
    pub fn new(query: &'q Query, external: Option<&'q dyn ExternalEval>) -> Self {
        let mut eval = EvalContext::with_params(&query.params);
        eval.external = external;
        eval.cancelled = Some(&*query.cancel);
        eval.reserve_texts(&query.budget);
        Self { query, eval }
    }

    /// `expr` over the selected rows, dense.
    pub fn eval(&self, expr: &Expr, chunk: &Chunk) -> Result<Arc<Vector>> {
        expr.eval(&self.eval, &chunk.batch, &chunk.selection)
    }
}

/// A batch and the rows of it that are still wanted.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The rows.
    pub batch: Batch,
    /// Which of them.
    pub selection: Selection,
}

impl Chunk {
    /// All rows of a batch.
    pub fn all(batch: Batch) -> Self {
        let selection = Selection::All(batch.rows);
        Self { batch, selection }
    }

    /// Number of selected rows.
    pub fn rows(&self) -> usize {
        self.selection.len()
    }

    /// One of the batch's columns (or one as long), dense over the selected rows.
    pub fn dense_column(&self, column: &Arc<Vector>) -> Arc<Vector> {
        match &self.selection {
            Selection::All(rows) if *rows == column.len() => Arc::clone(column),
            selection => Arc::new(gather(column, &selection.indices())),
        }
    }

    /// The selected rows as a batch of their own, with these columns only: the others are empty, and nobody is to look
    /// at them. Shares what is dense already.
    pub fn dense(&self, columns: &[usize]) -> Chunk {
        if matches!(self.selection, Selection::All(rows) if rows == self.batch.rows) {
            return self.clone();
        }
        let empty = |column: &Arc<Vector>| Arc::new(Vector::empty(column.physical()));
        let mut dense: Vec<Arc<Vector>> = self.batch.columns.iter().map(empty).collect();
        for &column in columns {
            dense[column] = self.dense_column(&self.batch.columns[column]);
        }
        let rows = self.rows();
        Chunk {
            batch: Batch {
                columns: dense,
                rows,
            },
            selection: Selection::All(rows),
        }
    }

    /// The selected rows as a batch of their own.
    pub fn into_batch(self) -> Batch {
        self.batch.select(&self.selection)
    }
}
