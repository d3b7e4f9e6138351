// SPDX-License-Identifier: Apache-2.0
//! The rows of a window that wait for the rest of their partition. When memory runs out, the partitions that are
//! complete are computed, and go to a file with their results.

use std::sync::Arc;

use doris_storage::vector::Vector;

use super::input_batch::{self, InputBatch};
use super::partition_run::{self, Slice};
use super::{compute, result_bytes, Emitted, Finished};
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::exec::driver::Driver;
use crate::exec::query::{Chunk, NodeCounters, Worker};
use crate::exec::stream::{Emit, Source, Stream, Task, Tasks};
use crate::gather::{memory_bytes, slice};
use crate::memory::Reservation;
use crate::plan::Window;
use crate::spill::{Run, SharedSpill};

/// Batches' rows that a partition run has at least, unless they are the last.
const SECTION_BATCHES: usize = 8;
/// Bytes a row that computing it takes, beside arguments and results.
const WORKING_BYTES: usize = 40;
/// Of a partition that takes more than one part in so many of the budget, no more rows are waited for.
const PARTITION_SHARE: usize = 2;

/// Rows in the window's order, and what was computed of the rows before them.
pub struct RowBuffer<'d> {
    driver: &'d Driver,
    id: u32,
    window: &'d Window,
    batches: Vec<Batch>,
    memory: Reservation,
    file: Option<Arc<SharedSpill>>,
    runs: Vec<Run>,
}

/// Some whole partitions, each partition run with its results.
struct Computed {
    input_batches: Vec<InputBatch>,
    partition_runs: Vec<Vec<Slice>>,
    results: Vec<Vec<Arc<Vector>>>,
    /// What results take beyond their rows' fixed widths.
    memory: Vec<Reservation>,
    /// The rows of the last partition, where it may go on.
    rest: Vec<Slice>,
}

impl<'d> RowBuffer<'d> {
    /// No rows yet.
    pub fn new(driver: &'d Driver, id: u32, window: &'d Window) -> Self {
        Self {
            driver,
            id,
            window,
            batches: Vec::new(),
            memory: Reservation::new(&driver.query.budget),
            file: None,
            runs: Vec::new(),
        }
    }

    /// Takes the next rows.
    pub fn add(&mut self, batch: Batch) -> Result<()> {
        let counters = self.driver.query.node(self.id);
        NodeCounters::add(&counters.rows_in, batch.rows as u64);
        NodeCounters::add(&counters.batches, 1);
        let bytes = self.bytes(&batch);
        self.batches.push(batch);
        let outcome = self.memory.grow(bytes);
        NodeCounters::raise(&counters.memory_bytes, self.memory.bytes() as u64);
        match outcome {
            Err(Error::OutOfMemory) if self.driver.query.spill.is_some() => self.spill(),
            outcome => outcome,
        }
    }

    /// What a batch takes until it is computed.
    fn bytes(&self, batch: &Batch) -> usize {
        let columns: usize = batch.columns.iter().map(|c| memory_bytes(c)).sum();
        let exprs = self.window.calls.iter().map(|call| call.exprs().count());
        let evaluated = exprs.sum::<usize>() + self.window.range.iter().count() * 3;
        columns + batch.rows * (WORKING_BYTES + result_bytes(self.window) + 16 * evaluated)
    }

    /// Computes the partitions; of the last one there may be more rows to come, unless `all` are there.
    fn compute(&mut self, all: bool) -> Result<Computed> {
        let (driver, id, window) = (self.driver, self.id, self.window);
        let batches = std::mem::take(&mut self.batches);
        let mut input_batches: Vec<Option<InputBatch>> = batches.iter().map(|_| None).collect();
        let work = batches.into_iter().zip(&mut input_batches).collect();
        driver.for_all(work, &|worker, (batch, input_batch)| {
            let counters = worker.query.node(id);
            *input_batch = Some(counters.timed(|| InputBatch::new(worker, batch, window))?);
            Ok(())
        })?;
        let mut input_batches: Vec<InputBatch> = input_batches.into_iter().flatten().collect();
        input_batch::join_keys(&mut input_batches);
        let rows_min = driver.query.batch_rows * SECTION_BATCHES;
        let (partition_runs, rest) = partition_run::cut(&input_batches, rows_min, all);
        let mut results: Vec<Vec<Arc<Vector>>> = vec![Vec::new(); partition_runs.len()];
        let memory = partition_runs.iter();
        let memory = memory.map(|_| Reservation::new(&driver.query.budget));
        let mut memory: Vec<Reservation> = memory.collect();
        let work = partition_runs
            .iter()
            .zip(results.iter_mut().zip(&mut memory));
        driver.for_all(work.collect(), &|worker, (slices, (results, memory))| {
            let counters = worker.query.node(id);
            *results =
                counters.timed(|| compute(worker, &input_batches, slices, window, memory))?;
            Ok(())
        })?;
        let rows = partition_runs
            .iter()
            .flatten()
            .map(|slice| slice.rows.len());
        NodeCounters::add(&driver.query.node(id).rows_out, rows.sum::<usize>() as u64);
        Ok(Computed {
            input_batches,
            partition_runs,
            results,
            memory,
            rest,
        })
    }

    /// Moves what can be computed to the file.
    fn spill(&mut self) -> Result<()> {
        let query = &self.driver.query;
        let computed = self.compute(false)?;
        if computed.partition_runs.is_empty() {
            return Err(Error::OutOfMemory);
        }
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => SharedSpill::create(query.spill.as_deref())?,
        };
        self.file = Some(Arc::clone(&file));
        for (slices, results) in computed.partition_runs.iter().zip(&computed.results) {
            let mut at = 0;
            for part in slices {
                query.check()?;
                let batch = &computed.input_batches[part.input_batch].batch;
                let end = at + part.rows.len();
                let own = batch.columns.iter();
                let own = own.map(|column| slice(column, part.rows.start, part.rows.end));
                let added = results.iter().map(|result| slice(result, at, end));
                let run = file.write(&own.chain(added).collect::<Vec<_>>())?;
                NodeCounters::add(&query.node(self.id).spilled_bytes, run.bytes());
                self.runs.push(run);
                at = end;
            }
        }
        for part in &computed.rest {
            let batch = &computed.input_batches[part.input_batch].batch;
            let columns = batch.columns.iter();
            let columns = columns.map(|c| Arc::new(slice(c, part.rows.start, part.rows.end)));
            let rest = Batch::new(columns.collect(), part.rows.len());
            self.batches.push(rest);
        }
        drop(computed);
        let bytes = self.batches.iter().map(|batch| self.bytes(batch)).sum();
        if bytes > query.budget.limit_bytes() / PARTITION_SHARE {
            return Err(Error::OutOfMemory);
        }
        self.memory.resize_with_floor(bytes, usize::MAX)
    }

    /// The stream of all rows.
    pub fn finish(mut self) -> Result<Stream> {
        let Computed {
            input_batches,
            partition_runs,
            results,
            memory,
            ..
        } = self.compute(true)?;
        let batches: Vec<Batch> = input_batches
            .into_iter()
            .map(|input_batch| input_batch.batch)
            .collect();
        let columns = batches.iter().flat_map(|batch| &batch.columns);
        let held = columns.chain(results.iter().flatten());
        let bytes = held.map(|vector| memory_bytes(vector)).sum();
        // What the results took is among these bytes, which the rows hold until they went out.
        drop(memory);
        self.memory.resize_with_floor(bytes, usize::MAX)?;
        let shared = Arc::new(Finished {
            batches,
            _memory: std::sync::Mutex::new(self.memory),
        });
        let task = |(slices, results)| {
            Box::new(Emitted {
                shared: Arc::clone(&shared),
                slices,
                results,
            }) as Box<dyn Task>
        };
        let tasks = partition_runs.into_iter().zip(results).map(task).collect();
        let rest = Stream::new(Box::new(Tasks(tasks)));
        Ok(match self.file {
            None => rest,
            Some(file) => {
                let runs = self.runs.into_iter();
                Stream::new(Box::new(Spilled { file, runs })).then(rest)
            }
        })
    }
}

/// Rows that went to the file, in their order.
struct Spilled {
    file: Arc<SharedSpill>,
    runs: std::vec::IntoIter<Run>,
}

impl Source for Spilled {
    fn next(&mut self, _: &Driver) -> Result<Option<Box<dyn Task>>> {
        let file = Arc::clone(&self.file);
        let task = |run| Box::new(SpilledRun { file, run }) as Box<dyn Task>;
        Ok(self.runs.next().map(task))
    }
}

struct SpilledRun {
    file: Arc<SharedSpill>,
    run: Run,
}

impl Task for SpilledRun {
    fn run(self: Box<Self>, _: &Worker<'_>, emit: &mut Emit<'_>) -> Result<()> {
        let vectors = self.file.read(self.run)?;
        let rows = vectors.first().map_or(0, Vector::len);
        let columns = vectors.into_iter().map(Arc::new).collect();
        emit(Chunk::all(Batch::new(columns, rows)))
    }
}
