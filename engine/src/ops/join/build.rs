// SPDX-License-Identifier: Apache-2.0
//! Collecting the build side.

use std::sync::{Arc, Mutex, PoisonError};

use doris_storage::vector::{Bitmap, Vector};

use super::side::{Cut, Side};
use super::spill::Totals;
use super::table::JoinTable;
use super::{filterable_column, Shape};
use crate::error::{Error, Result};
use crate::exec::driver::{lock, Driver};
use crate::exec::executor::Wanted;
use crate::exec::query::{Chunk, NodeCounters, Query, Worker};
use crate::exec::stream::Stream;
use crate::gather::{concat, memory_bytes};
use crate::keys::KeyColumn;
use crate::memory::Reservation;
use crate::runtime_filter::RuntimeFilter;
use crate::table::hash_all;

/// No Bloom filter of more keys than this: it would no longer stay in a cache.
const BLOOM_ROWS_MAX: usize = 4 << 20;

/// Some build rows.
pub struct Part<K> {
    pub keys: K,
    pub hashes: Vec<u64>,
    /// Rows that can match; `None`: all.
    pub matchable: Option<Bitmap>,
    /// The key columns, kept while runtime filters are made.
    key_columns: Vec<Arc<Vector>>,
    /// The wanted columns; empty vectors elsewhere.
    columns: Vec<Option<Arc<Vector>>>,
    pub rows: usize,
}

impl<K: KeyColumn> Part<K> {
    fn new(worker: &Worker<'_>, shape: &Shape, chunk: &Chunk) -> Result<Self> {
        let keys = shape
            .build_keys
            .iter()
            .map(|key| worker.eval(key, chunk))
            .collect::<Result<_>>()?;
        let wanted = |(number, column): (usize, &Arc<Vector>)| {
            shape
                .keeps_build_column(number)
                .then(|| chunk.dense_column(column))
        };
        let columns = chunk.batch.columns.iter().enumerate().map(wanted).collect();
        Self::from_columns(shape, keys, columns, chunk.rows())
    }

    fn from_columns(
        shape: &Shape,
        key_columns: Vec<Arc<Vector>>,
        columns: Vec<Option<Arc<Vector>>>,
        rows: usize,
    ) -> Result<Self> {
        let matchable = shape.matchable(&key_columns);
        let (mut keys, mut hashes) = (K::default(), Vec::new());
        if !key_columns.is_empty() {
            let columns: Vec<&Vector> = key_columns.iter().map(|c| &**c).collect();
            keys.encode(&shape.keys, &columns, rows)?;
            hash_all(&keys, &mut hashes);
        }
        Ok(Self {
            keys,
            hashes,
            matchable,
            key_columns,
            columns,
            rows,
        })
    }

    /// The part's vectors for a spill file: key columns, then wanted columns.
    pub fn vectors(&self) -> Vec<Arc<Vector>> {
        self.key_columns
            .iter()
            .chain(self.columns.iter().flatten())
            .cloned()
            .collect()
    }

    /// A part of vectors read back.
    pub fn from_vectors(shape: &Shape, vectors: Vec<Vector>) -> Result<Self> {
        let rows = vectors.first().map_or(0, Vector::len);
        let mut vectors = vectors.into_iter().map(Arc::new);
        let keys = vectors.by_ref().take(shape.build_keys.len()).collect();
        let mut column = |number| {
            if shape.keeps_build_column(number) {
                vectors.next()
            } else {
                None
            }
        };
        let columns = (0..shape.build_types.len()).map(&mut column).collect();
        Self::from_columns(shape, keys, columns, rows)
    }

    /// Bytes of memory in use.
    pub fn memory_bytes(&self) -> usize {
        let columns = self.columns.iter().flatten().chain(&self.key_columns);
        let columns: usize = columns.map(|c| memory_bytes(c)).sum();
        columns + self.keys.memory_bytes() + self.hashes.len() * 8
    }
}

/// What is collected of the build side.
struct Collected<K> {
    parts: Vec<Part<K>>,
    memory: Reservation,
    spilled: Option<Side>,
    totals: Totals,
}

impl<K: KeyColumn> Collected<K> {
    fn add(&mut self, query: &Query, shape: &Shape, part: Part<K>) -> Result<()> {
        self.totals.rows += part.rows;
        self.totals.has_null_key |= part.matchable.is_some();
        let bytes = part.memory_bytes();
        self.parts.push(part);
        match self.memory.grow(bytes) {
            Err(Error::OutOfMemory) if query.spill.is_some() => self.spill(query, shape),
            outcome => outcome,
        }
    }

    /// Moves all parts to the file.
    fn spill(&mut self, query: &Query, shape: &Shape) -> Result<()> {
        let side = match &mut self.spilled {
            Some(side) => side,
            none => none.insert(Side::new(query, shape.id, Cut::first(shape))?),
        };
        for part in self.parts.drain(..) {
            side.add(part.vectors(), &part.hashes, part.rows);
        }
        side.flush(query)?;
        self.memory.resize(0)
    }
}

/// The build side, ready to be probed.
pub enum Built<K> {
    /// In memory, with the filters for the probe side.
    Memory(JoinTable<K>, Vec<Wanted>),
    /// In files, by partition.
    Spilled(Side, Totals),
}

/// Drains the build side.
pub fn build<K: KeyColumn>(driver: &Driver, shape: &Arc<Shape>, input: Stream) -> Result<Built<K>> {
    let collected = Mutex::new(Collected::<K> {
        parts: Vec::new(),
        memory: Reservation::new(&driver.query.budget),
        spilled: None,
        totals: Totals::default(),
    });
    input.drain(driver, &|worker, chunk| {
        let counters = worker.query.node(shape.id);
        NodeCounters::add(&counters.rows_in, chunk.rows() as u64);
        let part = counters.timed(|| Part::new(worker, shape, &chunk))?;
        lock(&collected).add(worker.query, shape, part)
    })?;
    let mut collected = collected
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    if collected.spilled.is_none() {
        // The table needs about as much again while it is made.
        let spare = collected.memory.bytes();
        let fits = collected.memory.grow(spare).is_ok();
        if fits || driver.query.spill.is_none() {
            let filters = filters(driver, shape, &collected.parts);
            return Ok(Built::Memory(
                table(driver, shape, collected.parts, collected.memory, 0)?,
                filters,
            ));
        }
    }
    collected.spill(&driver.query, shape)?;
    match collected.spilled {
        Some(side) => Ok(Built::Spilled(side, collected.totals)),
        None => Err(Error::internal("a build side that went nowhere")),
    }
}

/// The table of all parts; `memory` covers them. The keys' hashes share their first `spent` bits.
pub fn table<K: KeyColumn>(
    driver: &Driver,
    shape: &Shape,
    mut parts: Vec<Part<K>>,
    mut memory: Reservation,
    spent: u32,
) -> Result<JoinTable<K>> {
    let rows: usize = parts.iter().map(|part| part.rows).sum();
    if rows >= u32::MAX as usize {
        return Err(Error::OutOfMemory);
    }
    let columns = columns(driver, shape, &mut parts)?;
    let table = JoinTable::new(driver, shape, parts, columns, spent)?;
    memory.settle(table.memory_bytes(), usize::MAX)?;
    NodeCounters::raise(
        &driver.query.node(shape.id).memory_bytes,
        table.memory_bytes() as u64,
    );
    Ok(table.holding(memory))
}

/// Joins each wanted column's parts, one column a task.
fn columns<K: KeyColumn>(
    driver: &Driver,
    shape: &Shape,
    parts: &mut [Part<K>],
) -> Result<Vec<Option<Arc<Vector>>>> {
    let mut work: Vec<(usize, Vec<Arc<Vector>>)> = Vec::new();
    for number in (0..shape.build_types.len()).filter(|&n| shape.keeps_build_column(n)) {
        work.push((
            number,
            parts
                .iter_mut()
                .filter_map(|part| part.columns[number].take())
                .collect(),
        ));
    }
    let columns = Mutex::new(vec![None; shape.build_types.len()]);
    driver.for_all(work, &|_, (number, pieces)| {
        // Larger text columns need a spilled join.
        let column =
            concat(shape.build_types[number].physical(), &pieces).ok_or(Error::OutOfMemory)?;
        lock(&columns)[number] = Some(Arc::new(column));
        Ok(())
    })?;
    Ok(columns.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// The filters that the build side's keys put on plain probe columns.
fn filters<K>(driver: &Driver, shape: &Shape, parts: &[Part<K>]) -> Vec<Wanted> {
    let mut out = Vec::new();
    for (number, key) in shape.build_keys.iter().enumerate() {
        let Some(column) = filterable_column(shape, number) else {
            continue;
        };
        let pieces: Vec<Arc<Vector>> = parts
            .iter()
            .map(|part| Arc::clone(&part.key_columns[number]))
            .collect();
        let Some(all) = concat(key.data_type().physical(), &pieces) else {
            continue;
        };
        let filter = driver
            .query
            .node(shape.id)
            .timed(|| RuntimeFilter::of_keys(&all, BLOOM_ROWS_MAX));
        if filter.is_useful() {
            out.push(Wanted {
                column,
                filter: Arc::new(filter),
            });
        }
    }
    out
}
