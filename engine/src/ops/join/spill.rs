// SPDX-License-Identifier: Apache-2.0
//! Joins whose build side is larger than memory: both sides cut by the keys' hashes into files, then joined
//! partition by partition (a Grace hash join; Kitsuregawa, Tanaka, Moto-oka, 1983).
//!
//! A partition's build rows must fit into memory; there is no second cut.

use std::sync::{Arc, Mutex, PoisonError};

use doris_storage::vector::Vector;

use super::build::Part;
use super::probe::Probe;
use super::table::JoinTable;
use super::tail::Tail;
use super::Shape;
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::exec::driver::{lock, Driver};
use crate::exec::query::{Chunk, NodeCounters, Query, Worker};
use crate::exec::stream::{Emit, Ready, Source, Stream, Task};
use crate::gather::{concat, gather, memory_bytes};
use crate::keys::KeyColumn;
use crate::memory::Reservation;
use crate::spill::{Run, SharedSpill};
use crate::table::hash_all;

const PARTITION_BITS: u32 = 7;
const PARTITIONS: usize = 1 << PARTITION_BITS;
/// The probe side may gather one part in so many of the budget before it is written.
const PROBE_SHARE: usize = 8;

/// Rows of one side on their way to the file.
struct Piece {
    vectors: Vec<Arc<Vector>>,
    /// Row numbers by partition: those of partition `p` are `order[bounds[p]..bounds[p + 1]]`.
    order: Vec<u32>,
    bounds: Vec<usize>,
}

/// One side's rows, by partition.
pub struct Side {
    id: u32,
    file: Arc<SharedSpill>,
    runs: Vec<Vec<Run>>,
    pending: Vec<Piece>,
}

impl Side {
    /// A side without rows.
    pub fn new(query: &Query, id: u32) -> Result<Self> {
        let file = SharedSpill::create(query.spill.as_deref())?;
        Ok(Self {
            id,
            file,
            runs: vec![Vec::new(); PARTITIONS],
            pending: Vec::new(),
        })
    }

    /// Adds rows with the hashes of their keys.
    pub fn add(&mut self, vectors: Vec<Arc<Vector>>, hashes: &[u64]) {
        let partition = |hash: &u64| (hash >> (64 - PARTITION_BITS)) as usize;
        let mut bounds = vec![0; PARTITIONS + 1];
        hashes
            .iter()
            .for_each(|hash| bounds[partition(hash) + 1] += 1);
        for p in 0..PARTITIONS {
            bounds[p + 1] += bounds[p];
        }
        let mut next = bounds.clone();
        let mut order = vec![0; hashes.len()];
        for (row, hash) in hashes.iter().enumerate() {
            let at = &mut next[partition(hash)];
            order[*at] = row as u32;
            *at += 1;
        }
        self.pending.push(Piece {
            vectors,
            order,
            bounds,
        });
    }

    /// Writes the rows added so far, a run a partition.
    pub fn flush(&mut self, query: &Query) -> Result<()> {
        let pieces = std::mem::take(&mut self.pending);
        let Some(first) = pieces.first() else {
            return Ok(());
        };
        for partition in 0..PARTITIONS {
            query.check()?;
            let rows = |piece: &Piece| piece.bounds[partition]..piece.bounds[partition + 1];
            if pieces.iter().all(|piece| rows(piece).is_empty()) {
                continue;
            }
            let column = |number: usize| {
                let some = |piece: &Piece| {
                    Arc::new(gather(&piece.vectors[number], &piece.order[rows(piece)]))
                };
                let parts: Vec<Arc<Vector>> = pieces.iter().map(some).collect();
                concat(first.vectors[number].physical(), &parts).ok_or(Error::OutOfMemory)
            };
            let vectors = (0..first.vectors.len())
                .map(column)
                .collect::<Result<Vec<_>>>()?;
            let run = self.file.write(&vectors)?;
            NodeCounters::add(&query.node(self.id).spilled_bytes, run.bytes());
            self.runs[partition].push(run);
        }
        Ok(())
    }
}

/// Whether the whole build side is empty or has a NULL key: what NOT IN asks, whatever the partition.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Rows of all partitions.
    pub rows: usize,
    /// Whether some key is NULL.
    pub has_null_key: bool,
}

/// Drains the probe side into files; the stream joins the partitions.
pub fn open<K: KeyColumn>(
    driver: &Driver,
    shape: Arc<Shape>,
    build: Side,
    totals: Totals,
    probe: Stream,
) -> Result<Stream> {
    let writer = Mutex::new((
        Side::new(&driver.query, shape.id)?,
        Reservation::new(&driver.query.budget),
    ));
    let share = driver.query.budget.limit_bytes() / PROBE_SHARE;
    probe.drain(driver, &|worker, chunk| {
        let keys = shape
            .probe_keys
            .iter()
            .map(|key| worker.eval(key, &chunk))
            .collect::<Result<Vec<_>>>()?;
        let (mut encoded, mut hashes) = (K::default(), Vec::new());
        encoded.encode(
            &shape.keys,
            &keys.iter().map(|k| &**k).collect::<Vec<_>>(),
            chunk.rows(),
        )?;
        hash_all(&encoded, &mut hashes);
        let batch = chunk.into_batch();
        let bytes: usize = batch.columns.iter().map(|c| memory_bytes(c)).sum();
        let mut writer = lock(&writer);
        let (side, memory) = &mut *writer;
        side.add(batch.columns, &hashes);
        if memory.grow(bytes).is_err() || memory.bytes() > share {
            side.flush(worker.query)?;
            memory.resize(0)?;
        }
        Ok(())
    })?;
    let (mut probe, _) = writer.into_inner().unwrap_or_else(PoisonError::into_inner);
    probe.flush(&driver.query)?;
    let source = Partitions::<K> {
        shape,
        build,
        probe,
        totals,
        next: 0,
        current: Stream::empty(),
        _keys: None,
    };
    Ok(Stream::new(Box::new(source)))
}

/// Joins one partition after the other.
struct Partitions<K> {
    shape: Arc<Shape>,
    build: Side,
    probe: Side,
    totals: Totals,
    next: usize,
    current: Stream,
    _keys: Option<K>,
}

impl<K: KeyColumn> Partitions<K> {
    /// The stream of a partition.
    fn open(&self, driver: &Driver, partition: usize) -> Result<Stream> {
        let mut memory = Reservation::new(&driver.query.budget);
        let mut parts = Vec::new();
        for &run in &self.build.runs[partition] {
            let part = Part::<K>::from_vectors(&self.shape, self.build.file.read(run)?)?;
            memory.grow(part.memory_bytes())?;
            parts.push(part);
        }
        if parts.is_empty() && !self.shape.kind.keeps_probe() {
            return Ok(Stream::empty());
        }
        let mut table = super::build::table(driver, &self.shape, parts, memory, PARTITION_BITS)?;
        table.totals = self.totals;
        let table: Arc<JoinTable<K>> = Arc::new(table);
        let runs = ProbeRuns {
            file: Arc::clone(&self.probe.file),
            runs: self.probe.runs[partition].clone().into_iter(),
        };
        let stage = Probe {
            shape: Arc::clone(&self.shape),
            table: Arc::clone(&table),
        };
        let joined = Stream::new(Box::new(runs)).through(Arc::new(stage));
        Ok(match self.shape.marks_build() {
            true => joined.then(Stream::new(Box::new(Tail::new(
                Arc::clone(&self.shape),
                table,
            )))),
            false => joined,
        })
    }
}

impl<K: KeyColumn> Source for Partitions<K> {
    fn next(&mut self, driver: &Driver) -> Result<Option<Box<dyn Task>>> {
        loop {
            if let Some(chunks) = self.current.next_round(driver)? {
                return Ok(Some(Box::new(Ready(chunks))));
            }
            if self.next == PARTITIONS {
                return Ok(None);
            }
            // The last partition's table goes before the next one is built.
            self.current = Stream::empty();
            self.current = self.open(driver, self.next)?;
            self.next += 1;
        }
    }
}

/// A partition's probe rows.
struct ProbeRuns {
    file: Arc<SharedSpill>,
    runs: std::vec::IntoIter<Run>,
}

impl Source for ProbeRuns {
    fn next(&mut self, _: &Driver) -> Result<Option<Box<dyn Task>>> {
        let file = Arc::clone(&self.file);
        Ok(self
            .runs
            .next()
            .map(|run| Box::new(ProbeRun { file, run }) as Box<dyn Task>))
    }
}

struct ProbeRun {
    file: Arc<SharedSpill>,
    run: Run,
}

impl Task for ProbeRun {
    fn run(self: Box<Self>, worker: &Worker<'_>, emit: &mut Emit<'_>) -> Result<()> {
        let columns: Vec<Arc<Vector>> = self
            .file
            .read(self.run)?
            .into_iter()
            .map(Arc::new)
            .collect();
        let rows = columns.first().map_or(0, |column| column.len());
        crate::ops::scan::emit_in_pieces(
            worker.query.batch_rows,
            Chunk::all(Batch::new(columns, rows)),
            emit,
        )
    }
}
