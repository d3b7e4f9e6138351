// SPDX-License-Identifier: Apache-2.0
//! Rows of one input of a spilled join, cut by the hashes of their keys into files.

use std::sync::{Arc, Mutex, PoisonError};

use doris_storage::vector::{Values, Vector};

use super::build::Part;
use super::Shape;
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::exec::driver::{lock, Driver};
use crate::exec::query::{Chunk, NodeCounters, Query, Worker};
use crate::exec::stream::{Emit, Source, Stream, Task};
use crate::gather::{concat, gather, memory_bytes};
use crate::group_table::hash_all;
use crate::keys::KeyColumn;
use crate::memory::Reservation;
use crate::spill::{Run, SharedSpill};

/// Hash bits of the first cut, and the most of any.
const CUT_BITS_MAX: u32 = 7;
/// No cut goes by later bits than this.
const SPENT_BITS_MAX: u32 = 56;
/// Rows may gather in one part in so many of the budget before they are written.
const GATHER_SHARE: usize = 8;
/// A run takes one part in so many of the budget, within these bounds.
const RUN_SHARE: u64 = 32;
const RUN_BYTES_MIN: u64 = 2 << 10;
const RUN_BYTES_MAX: u64 = 4 << 20;
/// Bytes of a row in the join's table, besides its columns.
const TABLE_ROW_BYTES: u64 = 48;

/// Which bits of the hash tell partitions apart.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    spent: u32,
    bits: u32,
}

impl Cut {
    /// The first cut of a join; without keys there is one partition only.
    pub fn first(shape: &Shape) -> Self {
        let bits = if shape.build_keys.is_empty() {
            0
        } else {
            CUT_BITS_MAX
        };
        Self { spent: 0, bits }
    }

    /// All rows in one partition.
    pub fn none() -> Self {
        Self { spent: 0, bits: 0 }
    }

    /// A cut of rows whose hashes share `spent` bits, into parts of about `bytes_wanted`.
    pub fn further(spent: u32, bytes: u64, bytes_wanted: u64) -> Option<Self> {
        let parts = (bytes / bytes_wanted.max(1)).saturating_mul(2).max(2);
        let bits = (u64::BITS - (parts - 1).leading_zeros()).min(CUT_BITS_MAX);
        (spent + bits <= SPENT_BITS_MAX).then_some(Self { spent, bits })
    }

    /// The bits that a partition's hashes share.
    pub fn spent_after(self) -> u32 {
        self.spent + self.bits
    }

    fn partitions(self) -> usize {
        1 << self.bits
    }

    fn partition_of(self, hash: u64) -> usize {
        match self.bits {
            0 => 0,
            bits => (hash << self.spent >> (64 - bits)) as usize,
        }
    }
}

/// Rows in a file.
#[derive(Clone)]
pub struct Stored {
    /// Where they lie.
    pub file: Arc<SharedSpill>,
    /// Their runs.
    pub runs: Vec<Run>,
    /// How many they are.
    pub rows: usize,
    bytes: u64,
}

impl Stored {
    fn in_file(file: &Arc<SharedSpill>) -> Self {
        Self {
            file: Arc::clone(file),
            runs: Vec::new(),
            rows: 0,
            bytes: 0,
        }
    }

    /// About the memory of a join table of these rows.
    pub fn table_bytes(&self) -> u64 {
        2 * self.bytes + TABLE_ROW_BYTES * self.rows as u64
    }

    fn write(&mut self, query: &Query, id: u32, vectors: &[Vector]) -> Result<()> {
        let run = self.file.write(vectors)?;
        NodeCounters::add(&query.node(id).spilled_bytes, run.bytes());
        self.runs.push(run);
        self.rows += vectors.first().map_or(0, Vector::len);
        self.bytes += run.bytes();
        Ok(())
    }

    /// The rows as a stream of batches of `width` columns.
    pub fn stream(&self, width: usize) -> Stream {
        Stream::new(Box::new(StoredRuns {
            file: Arc::clone(&self.file),
            runs: self.runs.clone().into_iter(),
            width,
        }))
    }
}

/// Vectors for a file; a row without columns leaves one behind, as a run's rows are counted by it.
fn with_rows(mut vectors: Vec<Arc<Vector>>, rows: usize) -> Vec<Arc<Vector>> {
    if vectors.is_empty() {
        vectors.push(Arc::new(Vector {
            values: Values::Bool(vec![0; rows]),
            validity: None,
        }));
    }
    vectors
}

/// Rows on their way to the file.
struct Piece {
    vectors: Vec<Arc<Vector>>,
    /// Row numbers by partition: those of partition `p` are `order[bounds[p]..bounds[p + 1]]`.
    order: Vec<u32>,
    bounds: Vec<usize>,
}

/// One side's rows, by partition.
pub struct Side {
    id: u32,
    cut: Cut,
    file: Arc<SharedSpill>,
    stored: Vec<Stored>,
    pending: Vec<Piece>,
}

impl Side {
    /// A side without rows.
    pub fn new(query: &Query, id: u32, cut: Cut) -> Result<Self> {
        let file = SharedSpill::create(query.spill.as_deref())?;
        Ok(Self {
            id,
            cut,
            stored: vec![Stored::in_file(&file); cut.partitions()],
            file,
            pending: Vec::new(),
        })
    }

    /// Adds rows with the hashes of their keys; none: the rows are all of one partition.
    pub fn add(&mut self, vectors: Vec<Arc<Vector>>, hashes: &[u64], rows: usize) {
        let (cut, partitions) = (self.cut, self.cut.partitions());
        let vectors = with_rows(vectors, rows);
        let mut bounds = vec![0; partitions + 1];
        let partition = |row: usize| hashes.get(row).map_or(0, |&hash| cut.partition_of(hash));
        (0..rows).for_each(|row| bounds[partition(row) + 1] += 1);
        for p in 0..partitions {
            bounds[p + 1] += bounds[p];
        }
        let mut next = bounds.clone();
        let mut order = vec![0; rows];
        for row in 0..rows {
            let at = &mut next[partition(row)];
            order[*at] = row as u32;
            *at += 1;
        }
        self.pending.push(Piece {
            vectors,
            order,
            bounds,
        });
    }

    /// Writes the rows added so far, in runs of a partition.
    pub fn flush(&mut self, query: &Query) -> Result<()> {
        let pieces = std::mem::take(&mut self.pending);
        let Some(first) = pieces.first() else {
            return Ok(());
        };
        let rows: usize = pieces.iter().map(|piece| piece.order.len()).sum();
        let vectors = pieces.iter().flat_map(|piece| &piece.vectors);
        let bytes: usize = vectors.map(|vector| memory_bytes(vector)).sum();
        let run_bytes =
            (query.budget.limit_bytes() as u64 / RUN_SHARE).clamp(RUN_BYTES_MIN, RUN_BYTES_MAX);
        let run_rows = (run_bytes * rows as u64 / bytes.max(1) as u64).max(1) as usize;
        let width = first.vectors.len();
        for partition in 0..self.cut.partitions() {
            query.check()?;
            // Row numbers of each piece, run by run.
            let mut run: Vec<(&Piece, &[u32])> = Vec::new();
            let mut left = run_rows;
            for piece in &pieces {
                let mut rows = &piece.order[piece.bounds[partition]..piece.bounds[partition + 1]];
                while !rows.is_empty() {
                    let (some, rest) = rows.split_at(left.min(rows.len()));
                    run.push((piece, some));
                    left -= some.len();
                    rows = rest;
                    if left == 0 {
                        let vectors = gathered(&std::mem::take(&mut run), width)?;
                        self.stored[partition].write(query, self.id, &vectors)?;
                        left = run_rows;
                    }
                }
            }
            if !run.is_empty() {
                let vectors = gathered(&run, width)?;
                self.stored[partition].write(query, self.id, &vectors)?;
            }
        }
        Ok(())
    }

    /// What is in the file, by partition.
    pub fn into_stored(self) -> Vec<Stored> {
        debug_assert!(self.pending.is_empty());
        drop(self.file);
        self.stored
    }

    /// How the rows are cut.
    pub fn cut(&self) -> Cut {
        self.cut
    }
}

/// Some rows of some pieces, end to end.
fn gathered(rows: &[(&Piece, &[u32])], width: usize) -> Result<Vec<Vector>> {
    let column = |number: usize| {
        let some =
            |(piece, rows): &(&Piece, &[u32])| Arc::new(gather(&piece.vectors[number], rows));
        let parts: Vec<Arc<Vector>> = rows.iter().map(some).collect();
        let physical = rows[0].0.vectors[number].physical();
        concat(physical, &parts).ok_or(Error::OutOfMemory)
    };
    (0..width).map(column).collect()
}

/// Takes one side's rows on all threads.
pub struct Writer {
    state: Mutex<(Side, Reservation)>,
    share: usize,
}

impl Writer {
    /// A writer of a side.
    pub fn new(query: &Query, id: u32, cut: Cut) -> Result<Self> {
        let memory = Reservation::new(&query.budget);
        Ok(Self {
            state: Mutex::new((Side::new(query, id, cut)?, memory)),
            share: query.budget.limit_bytes() / GATHER_SHARE,
        })
    }

    /// Adds rows.
    pub fn push(
        &self,
        query: &Query,
        vectors: Vec<Arc<Vector>>,
        hashes: &[u64],
        rows: usize,
    ) -> Result<()> {
        let bytes: usize = vectors.iter().map(|column| memory_bytes(column)).sum();
        let mut state = lock(&self.state);
        let (side, memory) = &mut *state;
        side.add(vectors, hashes, rows);
        if memory.grow(bytes).is_err() || memory.bytes() > self.share {
            side.flush(query)?;
            memory.resize(0)?;
        }
        Ok(())
    }

    /// Adds probe rows.
    pub fn push_probe<K: KeyColumn>(
        &self,
        worker: &Worker<'_>,
        shape: &Shape,
        chunk: Chunk,
    ) -> Result<()> {
        let (mut encoded, mut hashes) = (K::default(), Vec::new());
        if !shape.probe_keys.is_empty() {
            let keys = shape.probe_keys.iter().map(|key| worker.eval(key, &chunk));
            let keys = keys.collect::<Result<Vec<_>>>()?;
            let keys: Vec<&Vector> = keys.iter().map(|key| &**key).collect();
            encoded.encode(&shape.keys, &keys, chunk.rows())?;
            hash_all(&encoded, &mut hashes);
        }
        let batch = chunk.into_batch();
        self.push(worker.query, batch.columns, &hashes, batch.rows)
    }

    /// Writes what is left.
    pub fn finish(self, query: &Query) -> Result<Vec<Stored>> {
        let (mut side, _) = self
            .state
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        side.flush(query)?;
        Ok(side.into_stored())
    }
}

/// Cuts build rows once more.
pub fn cut_build<K: KeyColumn>(
    driver: &Driver,
    shape: &Shape,
    rows: &Stored,
    cut: Cut,
) -> Result<Vec<Stored>> {
    let writer = Writer::new(&driver.query, shape.id, cut)?;
    driver.for_all(rows.runs.clone(), &|worker, run| {
        let part = Part::<K>::from_vectors(shape, rows.file.read(run)?)?;
        writer.push(worker.query, part.vectors(), &part.hashes, part.rows)
    })?;
    writer.finish(&driver.query)
}

/// Cuts probe rows once more.
pub fn cut_probe<K: KeyColumn>(
    driver: &Driver,
    shape: &Shape,
    rows: &Stored,
    cut: Cut,
) -> Result<Vec<Stored>> {
    let writer = Writer::new(&driver.query, shape.id, cut)?;
    let width = shape.probe_types.len();
    rows.stream(width).drain(driver, &|worker, chunk| {
        writer.push_probe::<K>(worker, shape, chunk)
    })?;
    writer.finish(&driver.query)
}

/// Reads runs back.
struct StoredRuns {
    file: Arc<SharedSpill>,
    runs: std::vec::IntoIter<Run>,
    width: usize,
}

impl Source for StoredRuns {
    fn next(&mut self, _: &Driver) -> Result<Option<Box<dyn Task>>> {
        let (file, width) = (Arc::clone(&self.file), self.width);
        let task = |run| Box::new(StoredRun { file, run, width }) as Box<dyn Task>;
        Ok(self.runs.next().map(task))
    }
}

struct StoredRun {
    file: Arc<SharedSpill>,
    run: Run,
    width: usize,
}

impl Task for StoredRun {
    fn run(self: Box<Self>, worker: &Worker<'_>, emit: &mut Emit<'_>) -> Result<()> {
        let vectors = self.file.read(self.run)?;
        let rows = vectors.first().map_or(0, Vector::len);
        let columns = vectors.into_iter().take(self.width).map(Arc::new).collect();
        let chunk = Chunk::all(Batch::new(columns, rows));
        crate::ops::scan::emit_in_pieces(worker.query.batch_rows, chunk, emit)
    }
}
