// SPDX-License-Identifier: Apache-2.0
//! Streams: a source of tasks and the stages that every batch passes.
//!
//! ```text
//! phase 1: source -> stage -> stage -\
//! phase 2: source -----------> stage --> sink (on any thread), or rounds of batches in order
//! ```
//! A stream has one or more phases, run one after the other: phase 2 may be what is left of a join once all of
//! phase 1 has passed. [`Stream::drain`] gives everything to a sink, in no order. [`Stream::next_round`] runs
//! some tasks and returns their batches in the source's order, with errors where they belong: an error in
//! row 10 is not seen by a caller that stops after row 9.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::driver::{lock, Driver};
use super::query::{Chunk, Worker};
use crate::batch::{Batch, Selection};
use crate::error::{Error, Result};
use crate::memory::Reservation;

/// Takes what a task or stage produces.
pub type Emit<'e> = dyn FnMut(Chunk) -> Result<()> + 'e;

/// Takes what a stream produces, on any thread.
pub type Sink<'s> = dyn Fn(&Worker<'_>, Chunk) -> Result<()> + Sync + 's;

/// Makes tasks; on the driving thread only.
pub trait Source {
    /// The next task; `None` at the end.
    fn next(&mut self, driver: &Driver) -> Result<Option<Box<dyn Task>>>;
}

/// Makes batches; on any thread.
pub trait Task: Send {
    /// Emits the task's batches.
    fn run(self: Box<Self>, worker: &Worker<'_>, emit: &mut Emit<'_>) -> Result<()>;
}

/// Turns a batch into batches; on any thread.
pub trait Stage: Send + Sync {
    /// Emits what becomes of `chunk`.
    fn push(&self, worker: &Worker<'_>, chunk: Chunk, emit: &mut Emit<'_>) -> Result<()>;

    /// Whether the stage must run on the driving thread (it has external expressions).
    fn needs_driver(&self) -> bool {
        false
    }
}

/// A source and the stages behind it.
struct Phase {
    source: Box<dyn Source>,
    stages: Vec<Arc<dyn Stage>>,
}

/// The running half of a plan node.
#[derive(Default)]
pub struct Stream {
    phases: VecDeque<Phase>,
    /// Tasks of the next round.
    round: usize,
    /// Raised by a row behind those already returned.
    pending: Option<Error>,
}

impl Stream {
    /// A stream of what `source` makes.
    pub fn new(source: Box<dyn Source>) -> Self {
        Self {
            phases: VecDeque::from([Phase {
                source,
                stages: Vec::new(),
            }]),
            round: 1,
            pending: None,
        }
    }

    /// A stream without rows.
    pub fn empty() -> Self {
        Self {
            phases: VecDeque::new(),
            round: 1,
            pending: None,
        }
    }

    /// Sends everything through one more stage.
    pub fn through(mut self, stage: Arc<dyn Stage>) -> Self {
        if stage.needs_driver() {
            return Stream::new(Box::new(OnDriver {
                input: self,
                stage,
                ahead: VecDeque::new(),
            }));
        }
        for phase in &mut self.phases {
            phase.stages.push(Arc::clone(&stage));
        }
        self
    }

    /// This stream's rows, then those of `next`, which may have been read in part.
    pub fn then(mut self, next: Stream) -> Self {
        match next.pending {
            Some(error) => self.phases.push_back(Phase {
                source: Box::new(Failing(Some(error))),
                stages: Vec::new(),
            }),
            None => self.phases.extend(next.phases),
        }
        self
    }

    /// Gives everything to `sink`.
    pub fn drain(mut self, driver: &Driver, sink: &Sink<'_>) -> Result<()> {
        let mut number = 0;
        for phase in &mut self.phases {
            let (source, stages) = (&mut phase.source, &phase.stages);
            let mut next = || {
                number += 1;
                Ok(source.next(driver)?.map(|task| (number, task)))
            };
            driver.drive(&mut next, &|worker, (number, task)| {
                worker.eval.start_task(number);
                task.run(worker, &mut |chunk| {
                    worker.query.check()?;
                    worker.eval.forget_texts(0);
                    run_stages(worker, stages, chunk, &mut |chunk| sink(worker, chunk))
                })
            })?;
        }
        Ok(())
    }

    /// For a caller that wants many rows: the next round has at least so many tasks.
    pub fn widen_round(&mut self, tasks: usize) {
        self.round = self.round.max(tasks);
    }

    /// Runs some tasks and returns what became of them, in order; `None` at the end. Rounds start with one
    /// task, so that a caller that wants few rows costs little, and grow.
    pub fn next_round(&mut self, driver: &Driver) -> Result<Option<Vec<Chunk>>> {
        if let Some(error) = self.pending.take() {
            self.phases.clear();
            return Err(error);
        }
        let Some(phase) = self.phases.front_mut() else {
            return Ok(None);
        };
        let size = self.round;
        self.round = (size * 2).min(driver.query.threads.max(1) * 8);
        let slots: Vec<Mutex<Slot>> = (0..size).map(|_| Mutex::default()).collect();
        let (source, stages) = (&mut phase.source, &phase.stages);
        let mut made = 0;
        let mut next = || {
            if made == size {
                return Ok(None);
            }
            let task = source.next(driver)?;
            made += usize::from(task.is_some());
            Ok(task.map(|task| (made - 1, task)))
        };
        let outcome = driver.drive(&mut next, &|worker, (number, task)| {
            let slot = run_task_exactly(worker, stages, task);
            *lock(&slots[number]) = slot?;
            Ok(())
        });
        if made < size {
            self.phases.pop_front();
        }
        let mut chunks = Vec::new();
        for slot in slots {
            let slot = slot.into_inner().unwrap_or_else(PoisonError::into_inner);
            chunks.extend(slot.chunks);
            if let Some(error) = slot.error {
                self.pending = Some(error);
                break;
            }
        }
        // A source's own error comes after the rows it made before.
        match outcome {
            Err(error) if !is_of_a_row(&error) => return Err(error),
            Err(error) => self.pending = self.pending.take().or(Some(error)),
            Ok(()) => {}
        }
        Ok(Some(chunks))
    }
}

/// What one task of a round gave.
#[derive(Default)]
struct Slot {
    chunks: Vec<Chunk>,
    error: Option<Error>,
}

fn run_stages(
    worker: &Worker<'_>,
    stages: &[Arc<dyn Stage>],
    chunk: Chunk,
    emit: &mut Emit<'_>,
) -> Result<()> {
    if chunk.selection.is_empty() {
        return Ok(());
    }
    match stages.split_first() {
        None => emit(chunk),
        Some((stage, rest)) => stage.push(worker, chunk, &mut |chunk| {
            run_stages(worker, rest, chunk, emit)
        }),
    }
}

/// Whether an error belongs to a row, and not to the execution.
fn is_of_a_row(error: &Error) -> bool {
    !matches!(
        error,
        Error::Cancelled | Error::OutOfMemory | Error::Damaged(_) | Error::Internal(_)
    )
}

/// Runs a task up to its first failing row.
fn run_task_exactly(
    worker: &Worker<'_>,
    stages: &[Arc<dyn Stage>],
    task: Box<dyn Task>,
) -> Result<Slot> {
    let mut slot = Slot::default();
    let outcome = task.run(worker, &mut |chunk| {
        worker.query.check()?;
        worker.eval.forget_texts(0);
        push_exactly(worker, stages, chunk, &mut slot.chunks)
    });
    match outcome {
        Err(error) if is_of_a_row(&error) => slot.error = Some(error),
        other => other?,
    }
    Ok(slot)
}

/// Sends a chunk through the stages; when that fails, halves it to find the rows before the failing one.
/// Stages may see a row twice: what they remember of a row (that a build row was met) does not count.
fn push_exactly(
    worker: &Worker<'_>,
    stages: &[Arc<dyn Stage>],
    chunk: Chunk,
    out: &mut Vec<Chunk>,
) -> Result<()> {
    let before = out.len();
    let outcome = run_stages(worker, stages, chunk.clone(), &mut |chunk| {
        out.push(chunk);
        Ok(())
    });
    match outcome {
        Err(error) if is_of_a_row(&error) && chunk.rows() > 1 => {
            out.truncate(before);
            let indices = chunk.selection.indices();
            let (first, second) = indices.split_at(indices.len() / 2);
            for half in [first, second] {
                let selection = Selection::Indices(half.to_vec());
                push_exactly(
                    worker,
                    stages,
                    Chunk {
                        batch: chunk.batch.clone(),
                        selection,
                    },
                    out,
                )?;
            }
            Ok(())
        }
        other => other,
    }
}

/// Batches that are there already, as a task.
pub struct Ready(pub Vec<Chunk>);

impl Task for Ready {
    fn run(self: Box<Self>, _: &Worker<'_>, emit: &mut Emit<'_>) -> Result<()> {
        self.0.into_iter().try_for_each(emit)
    }
}

/// A source of tasks made beforehand.
pub struct Tasks(pub VecDeque<Box<dyn Task>>);

impl Tasks {
    /// A source that makes one task of each batch.
    pub fn of_batches(batches: impl IntoIterator<Item = Batch>) -> Self {
        let task = |batch| Box::new(Ready(vec![Chunk::all(batch)])) as Box<dyn Task>;
        Self(batches.into_iter().map(task).collect())
    }
}

/// Tasks that exist already, and the memory that they take.
pub struct Held(pub Tasks, pub Reservation);

impl Source for Held {
    fn next(&mut self, driver: &Driver) -> Result<Option<Box<dyn Task>>> {
        self.0.next(driver)
    }
}

/// Raises an error where rows would come next.
struct Failing(Option<Error>);

impl Source for Failing {
    fn next(&mut self, _: &Driver) -> Result<Option<Box<dyn Task>>> {
        self.0.take().map_or(Ok(None), Err)
    }
}

impl Source for Tasks {
    fn next(&mut self, _: &Driver) -> Result<Option<Box<dyn Task>>> {
        Ok(self.0.pop_front())
    }
}

/// Runs a stage on the driving thread.
struct OnDriver {
    input: Stream,
    stage: Arc<dyn Stage>,
    /// What the input gave: of a round of many batches, one at a time goes through the stage, so that a caller that
    /// stops early does not pay for the others.
    ahead: VecDeque<Chunk>,
}

impl Source for OnDriver {
    fn next(&mut self, driver: &Driver) -> Result<Option<Box<dyn Task>>> {
        while self.ahead.is_empty() {
            let Some(chunks) = self.input.next_round(driver)? else {
                return Ok(None);
            };
            self.ahead.extend(chunks);
        }
        let mut out = Vec::new();
        if let Some(chunk) = self.ahead.pop_front() {
            let worker = driver.worker();
            let outcome = push_exactly(&worker, std::slice::from_ref(&self.stage), chunk, &mut out);
            if let Err(error) = outcome {
                // The rows before the failing one go out first.
                self.ahead.clear();
                self.input = Stream {
                    pending: Some(error),
                    ..Stream::empty()
                };
            }
        }
        Ok(Some(Box::new(Ready(out))))
    }
}

/// Cuts a stream down to the rows `skip .. skip + left`, and stops it then.
pub struct LimitSource {
    /// Where rows come from.
    pub input: Stream,
    /// Rows still to leave out.
    pub skip: u64,
    /// Rows still to return; `None`: all.
    pub left: Option<u64>,
}

impl Source for LimitSource {
    fn next(&mut self, driver: &Driver) -> Result<Option<Box<dyn Task>>> {
        if self.left == Some(0) {
            self.input = Stream::empty();
            return Ok(None);
        }
        let Some(chunks) = self.input.next_round(driver)? else {
            return Ok(None);
        };
        let mut out = Vec::new();
        for mut chunk in chunks {
            if self.skip >= chunk.rows() as u64 {
                self.skip -= chunk.rows() as u64;
                continue;
            }
            if self.skip > 0 {
                let rest = chunk.selection.indices()[self.skip as usize..].to_vec();
                chunk.selection = Selection::Indices(rest);
                self.skip = 0;
            }
            if let Some(left) = &mut self.left {
                chunk
                    .selection
                    .truncate((*left).min(usize::MAX as u64) as usize);
                *left -= chunk.rows() as u64;
            }
            out.push(chunk);
        }
        Ok(Some(Box::new(Ready(out))))
    }
}
