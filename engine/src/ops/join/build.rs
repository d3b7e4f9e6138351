// SPDX-License-Identifier: Apache-2.0
//! Collecting the build side.

use std::sync::{Arc, Mutex, PoisonError};

use doris_storage::vector::{Bitmap, Vector};

use super::partition_files::{Cut, Side};
use super::spill::Totals;
use super::table::JoinTable;
use super::{filterable_column, Shape};
use crate::error::{Error, Result};
use crate::exec::driver::{lock, Driver};
use crate::exec::executor::Wanted;
use crate::exec::query::{Chunk, NodeCounters, Query, Worker};
use crate::exec::stream::Stream;
use crate::gather::{concat, memory_bytes};
use crate::group_table::hash_all;
use crate::keys::KeyColumn;
use crate::memory::Reservation;
use crate::runtime_filter::RuntimeFilter;

/// No Bloom filter of more keys than this: it would no longer stay in a cache.
const BLOOM_ROWS_MAX: usize = 4 << 20;

/// Some build rows.
pub struct Part<K> {
    pub keys: K,
    pub hashes: Vec<u64>,
    /// Rows that can match; `None`: all.
    pub matchable: Option<Bitmap>,
    /// Least and greatest key of these rows, where keys are integers; the least is the greater where there are none.
    pub range: Option<(i64, i64)>,
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
        let range = range(&keys, matchable.as_ref());
        Ok(Self {
            keys,
            hashes,
            matchable,
            range,
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
    Memory(Arc<JoinTable<K>>, Vec<Wanted>),
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
            let Collected {
                mut parts, memory, ..
            } = collected;
            let (columns, filters) = join_parts(driver, shape, &mut parts, true)?;
            let filter_bytes = filters.iter().map(|f| f.filter.memory_bytes()).sum();
            let columns = Columns {
                joined: columns,
                filter_bytes,
            };
            let table = indexed(driver, shape, parts, columns, memory, 0)?;
            return Ok(Built::Memory(Arc::new(table), filters));
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
    memory: Reservation,
    spent: u32,
) -> Result<JoinTable<K>> {
    let (joined, _) = join_parts(driver, shape, &mut parts, false)?;
    let columns = Columns {
        joined,
        filter_bytes: 0,
    };
    indexed(driver, shape, parts, columns, memory, spent)
}

/// What was made of the columns of all parts.
struct Columns {
    /// The wanted build columns.
    joined: Vec<Option<Arc<Vector>>>,
    /// Bytes of the runtime filters.
    filter_bytes: usize,
}

/// The table of parts whose columns are taken out already.
fn indexed<K: KeyColumn>(
    driver: &Driver,
    shape: &Shape,
    parts: Vec<Part<K>>,
    columns: Columns,
    mut memory: Reservation,
    spent: u32,
) -> Result<JoinTable<K>> {
    let rows: usize = parts.iter().map(|part| part.rows).sum();
    if rows >= u32::MAX as usize {
        return Err(Error::OutOfMemory);
    }
    let table = JoinTable::new(driver, shape, parts, columns.joined, spent)?;
    let table = table.with_filters(columns.filter_bytes);
    memory.resize_with_floor(table.memory_bytes(), usize::MAX)?;
    NodeCounters::raise(
        &driver.query.node(shape.id).memory_bytes,
        table.memory_bytes() as u64,
    );
    Ok(table.holding(memory))
}

/// What is made of all parts' vectors of a column.
enum Joined {
    /// The build column of this number.
    Column(usize),
    /// The filter that the key of this number puts on a probe column.
    Filter(usize, usize),
}

/// Joins each wanted column's parts, and makes the filters that the build side's keys put on plain probe columns, each a
/// task of its own.
#[allow(clippy::type_complexity)] // Columns by their number, and filters.
fn join_parts<K: KeyColumn>(
    driver: &Driver,
    shape: &Shape,
    parts: &mut [Part<K>],
    with_filters: bool,
) -> Result<(Vec<Option<Arc<Vector>>>, Vec<Wanted>)> {
    let mut work: Vec<(Joined, Vec<Arc<Vector>>)> = Vec::new();
    for key in (0..shape.build_keys.len()).filter(|_| with_filters) {
        if let Some(column) = filterable_column(shape, key) {
            let pieces = parts.iter().map(|part| Arc::clone(&part.key_columns[key]));
            work.push((Joined::Filter(key, column), pieces.collect()));
        }
    }
    for number in (0..shape.build_types.len()).filter(|&n| shape.keeps_build_column(n)) {
        let pieces = parts.iter_mut().filter_map(|p| p.columns[number].take());
        work.push((Joined::Column(number), pieces.collect()));
    }
    let columns = Mutex::new(vec![None; shape.build_types.len()]);
    let filters = Mutex::new(Vec::new());
    driver.for_all(work, &|worker, (what, pieces)| {
        match what {
            Joined::Column(number) => {
                // Larger text columns need a spilled join.
                let column = concat(shape.build_types[number].physical(), &pieces)
                    .ok_or(Error::OutOfMemory)?;
                lock(&columns)[number] = Some(Arc::new(column));
            }
            Joined::Filter(key, column) => {
                let counters = worker.query.node(shape.id);
                let filter = counters.timed(|| filter(shape, key, &pieces));
                let wanted = filter
                    .filter(RuntimeFilter::is_useful)
                    .map(|filter| Wanted {
                        column,
                        filter: Arc::new(filter),
                    });
                lock(&filters).extend(wanted.map(|wanted| (key, wanted)));
            }
        }
        Ok(())
    })?;
    let mut filters = filters.into_inner().unwrap_or_else(PoisonError::into_inner);
    filters.sort_unstable_by_key(|(key, _)| *key);
    let columns = columns.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok((
        columns,
        filters.into_iter().map(|(_, wanted)| wanted).collect(),
    ))
}

/// The filter of a key's values; `None` where they do not fit into one vector.
fn filter(shape: &Shape, key: usize, pieces: &[Arc<Vector>]) -> Option<RuntimeFilter> {
    let all = concat(shape.build_keys[key].data_type().physical(), pieces)?;
    Some(RuntimeFilter::of_keys(&all, BLOOM_ROWS_MAX))
}

/// Least and greatest of the keys that can match; `None`: they are not integers.
fn range<K: KeyColumn>(keys: &K, matchable: Option<&Bitmap>) -> Option<(i64, i64)> {
    let mut range = (i64::MAX, i64::MIN);
    for row in (0..keys.len()).filter(|&row| matchable.is_none_or(|can| can.get(row))) {
        let key = keys.word(row)? as i64;
        range = (range.0.min(key), range.1.max(key));
    }
    Some(range)
}
