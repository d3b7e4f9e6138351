// SPDX-License-Identifier: Apache-2.0
//! Partitions that no cut makes small enough, as one key has most of the build rows, or there are no keys: the build
//! rows block by block, past each of which all probe rows go.
//!
//! Pairs, and what becomes of build rows, are a matter of each block. Whether a probe row has met a partner is not:
//! ```text
//! alone = all probe rows
//! for each block:   alone = those of `alone` that meet no row of the block (an anti join, into a file)
//! at the end:       outer and anti joins emit what is still alone
//! ```
//! A semi join emits those that leave `alone`.

use std::collections::VecDeque;
use std::sync::Arc;

use super::build::{table, Part};
use super::partition_files::{Cut, Stored, Writer};
use super::probe::Probe;
use super::spill::{joined, Totals};
use super::table::JoinTable;
use super::Shape;
use crate::error::{Error, Result};
use crate::exec::driver::Driver;
use crate::exec::stream::{Ready, Source, Stream, Task};
use crate::keys::KeyColumn;
use crate::memory::Reservation;
use crate::plan::JoinKind;
use crate::spill::Run;

/// A block may take one part in so many of the budget.
const BLOCK_SHARE: usize = 2;
/// Memory of a block's table, as a multiple of what it takes in the file.
const TABLE_FACTOR: usize = 4;

/// Joins a partition block by block.
pub struct Blocks<K> {
    shape: Arc<Shape>,
    /// The pairs of each block, and its build rows.
    pairs: Option<Arc<Shape>>,
    /// Probe rows that meet nobody; for joins that ask.
    anti: Option<Arc<Shape>>,
    totals: Totals,
    build: Stored,
    left: VecDeque<Run>,
    probe: Stored,
    alone: Option<Stored>,
    current: Stream,
    finished: bool,
    _keys: Option<K>,
}

impl<K: KeyColumn> Blocks<K> {
    /// A join of these rows.
    pub fn new(shape: &Arc<Shape>, totals: Totals, build: Stored, probe: Stored) -> Self {
        use JoinKind::*;
        let with = |kind| {
            Arc::new(Shape {
                kind,
                ..(**shape).clone()
            })
        };
        let pairs = match shape.kind {
            Left => Some(with(Inner)),
            Full => Some(with(Right)),
            Anti | AntiNotIn => None,
            Inner | Right | Semi | BuildSemi | BuildAnti => Some(Arc::clone(shape)),
        };
        let asks = shape.kind.keeps_probe() || shape.kind == Semi;
        let anti = asks.then(|| {
            Arc::new(Shape {
                kind: if shape.kind == AntiNotIn {
                    AntiNotIn
                } else {
                    Anti
                },
                output: (0..shape.probe_types.len()).collect(),
                counts: false,
                ..(**shape).clone()
            })
        });
        Self {
            shape: Arc::clone(shape),
            pairs,
            anti,
            totals,
            left: build.runs.iter().copied().collect(),
            build,
            alone: asks.then(|| probe.clone()),
            probe,
            current: Stream::empty(),
            finished: false,
            _keys: None,
        }
    }

    /// The table of the next block.
    fn block(&mut self, driver: &Driver) -> Result<Arc<JoinTable<K>>> {
        let budget = &driver.query.budget;
        let mut memory = Reservation::new(budget);
        let share = (budget.limit_bytes() / BLOCK_SHARE).max(budget.working_bytes());
        let mut parts = Vec::new();
        while let Some(&run) = self.left.front() {
            let bytes = memory.bytes() + TABLE_FACTOR * run.bytes() as usize;
            if parts.is_empty() {
                memory.hold(bytes);
            } else if bytes > share
                || memory
                    .resize_with_floor(bytes, budget.working_bytes())
                    .is_err()
            {
                break;
            }
            self.left.pop_front();
            let vectors = self.build.file.read(run)?;
            parts.push(Part::<K>::from_vectors(&self.shape, vectors)?);
        }
        self.table(driver, parts, memory)
    }

    fn table(
        &self,
        driver: &Driver,
        parts: Vec<Part<K>>,
        memory: Reservation,
    ) -> Result<Arc<JoinTable<K>>> {
        let mut table = table(driver, &self.shape, parts, memory, 0)?;
        table.totals = self.totals;
        Ok(Arc::new(table))
    }

    /// The stream of the next block.
    fn open_block(&mut self, driver: &Driver) -> Result<Stream> {
        let table = self.block(driver)?;
        let width = self.shape.probe_types.len();
        let alone = match (&self.anti, self.alone.take()) {
            (Some(anti), Some(alone)) => {
                let still = self.still_alone(driver, anti, &table, &alone)?;
                self.alone = Some(still);
                Some(alone)
            }
            _ => None,
        };
        let Some(shape) = &self.pairs else {
            return Ok(Stream::empty());
        };
        let rows = match (shape.kind, &alone) {
            (JoinKind::Semi, Some(alone)) => alone,
            _ => &self.probe,
        };
        Ok(joined(shape, table, rows.stream(width)))
    }

    /// The probe rows among `alone` that meet nobody of a block either.
    fn still_alone(
        &self,
        driver: &Driver,
        anti: &Arc<Shape>,
        table: &Arc<JoinTable<K>>,
        alone: &Stored,
    ) -> Result<Stored> {
        let writer = Writer::new(&driver.query, self.shape.id, Cut::none())?;
        let stage = Probe {
            shape: Arc::clone(anti),
            table: Arc::clone(table),
        };
        let rows = alone.stream(self.shape.probe_types.len());
        rows.through(Arc::new(stage))
            .drain(driver, &|worker, chunk| {
                let batch = chunk.into_batch();
                writer.push(worker.query, batch.columns, &[], batch.rows)
            })?;
        let stored = writer.finish(&driver.query)?.pop();
        stored.ok_or_else(|| Error::internal("a side without partitions"))
    }

    /// What outer and anti joins emit at the end.
    fn open_alone(&mut self, driver: &Driver) -> Result<Stream> {
        let alone = self.alone.take().filter(|_| self.shape.kind.keeps_probe());
        let Some(alone) = alone else {
            return Ok(Stream::empty());
        };
        let nobody = self.table(driver, Vec::new(), Reservation::new(&driver.query.budget))?;
        let stage = Probe {
            shape: Arc::clone(&self.shape),
            table: nobody,
        };
        let rows = alone.stream(self.shape.probe_types.len());
        Ok(rows.through(Arc::new(stage)))
    }
}

impl<K: KeyColumn> Source for Blocks<K> {
    fn next(&mut self, driver: &Driver) -> Result<Option<Box<dyn Task>>> {
        loop {
            if let Some(chunks) = self.current.next_round(driver)? {
                return Ok(Some(Box::new(Ready(chunks))));
            }
            driver.query.check()?;
            // The last block's table goes before the next one is built.
            self.current = Stream::empty();
            if !self.left.is_empty() {
                self.current = self.open_block(driver)?;
            } else if !self.finished {
                self.finished = true;
                self.current = self.open_alone(driver)?;
            } else {
                return Ok(None);
            }
        }
    }
}
