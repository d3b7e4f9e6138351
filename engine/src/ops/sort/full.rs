// SPDX-License-Identifier: Apache-2.0
//! Sorting a whole input in memory.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use doris_storage::vector::Vector;

use super::external::External;
use super::normal::{prefix, words_of, Column, KeyOrder, NormalKeys};
use super::rank;
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::exec::driver::{lock, Driver};
use crate::exec::query::{Chunk, NodeCounters, Worker};
use crate::exec::stream::{Emit, Stream, Task, Tasks};
use crate::expr::Expr;
use crate::gather::{concat, gather, memory_bytes};
use crate::memory::{self, Reservation};
use crate::plan::SortKey;
use crate::types::DataType;

/// Fewer rows than this are one bucket.
const BUCKET_ROWS_MIN: usize = 8 * 1024;
/// Keys that agree in so many bytes are compared whole.
const DEPTH_MAX: usize = 256;
/// Sampled keys a bucket.
const SAMPLES: usize = 64;

/// The front of a row's key, and the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry<const W: usize> {
    /// The first bytes of the key, as big-endian words.
    pub prefix: [u64; W],
    /// The row's number.
    pub row: u32,
}

/// Some input rows with their key columns.
pub struct Part {
    /// All columns, dense.
    pub batch: Batch,
    /// The evaluated sort keys.
    pub keys: Vec<Arc<Vector>>,
}

impl Part {
    fn memory_bytes(&self) -> usize {
        self.batch
            .columns
            .iter()
            .chain(&self.keys)
            .map(|c| memory_bytes(c))
            .sum()
    }
}

/// What is collected: rows in memory, and, once that was full, runs.
struct Collected {
    parts: Vec<Part>,
    memory: Reservation,
    external: Option<External>,
}

/// Sorts `input`; the stream gives its rows in order.
pub fn open(
    driver: &Driver,
    id: u32,
    input: Stream,
    types: &[DataType],
    keys: &[SortKey],
) -> Result<Stream> {
    let mut columns: Vec<Column> = keys.iter().map(Column::new).collect::<Result<_>>()?;
    let exprs: Vec<Expr> = keys.iter().map(|key| key.expr.clone()).collect();
    let mut collected = collect(driver, id, input, &exprs, types, &columns)?;
    if collected.external.is_none() && driver.query.spill.is_some() {
        // Sorting in memory takes the columns once more, and entries and keys.
        let rows: usize = collected.parts.iter().map(|part| part.batch.rows).sum();
        let ranked = columns.iter().filter(|c| c.locale().is_some()).count();
        let spare = collected.memory.bytes() + rows * (32 + ranked * rank::RANK_BYTES);
        if collected.memory.grow(spare).is_err() {
            collected.external = Some(External::new(&driver.query, id, types, &columns)?);
        }
    }
    if let Some(mut external) = collected.external {
        external.add_run(driver.query.as_ref(), collected.parts)?;
        return external.open(driver, collected.memory);
    }
    let mut parts = collected.parts;
    rank::rank_columns(driver, &mut columns, &mut parts)?;
    for (number, column) in columns.iter_mut().enumerate() {
        let has_null = |part: &Part| {
            part.keys[number]
                .validity
                .as_ref()
                .is_some_and(|v| v.count_ones() < v.len())
        };
        column.nullable = parts.iter().any(has_null);
    }
    let width: Option<usize> = columns.iter().map(Column::width).sum();
    let sorting = Sorting {
        id,
        types,
        columns,
        exact: width.is_some_and(|w| w <= 16),
        memory: collected.memory,
    };
    match width {
        Some(0..=8) => sorting.open::<1>(driver, parts),
        _ => sorting.open::<2>(driver, parts),
    }
}

/// Takes in all rows.
fn collect(
    driver: &Driver,
    id: u32,
    input: Stream,
    exprs: &[Expr],
    types: &[DataType],
    columns: &[Column],
) -> Result<Collected> {
    let memory = Reservation::new(&driver.query.budget);
    let collected = Mutex::new(Collected {
        parts: Vec::new(),
        memory,
        external: None,
    });
    input.drain(driver, &|worker, chunk| {
        let counters = worker.query.node(id);
        NodeCounters::add(&counters.rows_in, chunk.rows() as u64);
        let keys = exprs
            .iter()
            .map(|e| worker.eval(e, &chunk))
            .collect::<Result<Vec<_>>>()?;
        let part = Part {
            batch: chunk.into_batch(),
            keys,
        };
        let bytes = part.memory_bytes();
        let mut all = lock(&collected);
        match all.memory.grow(bytes) {
            Err(Error::OutOfMemory) if worker.query.spill.is_some() => {
                let all = &mut *all;
                let external = match &mut all.external {
                    Some(external) => external,
                    none => none.insert(External::new(worker.query, id, types, columns)?),
                };
                all.parts.push(part);
                external.add_run(worker.query, std::mem::take(&mut all.parts))?;
                return all.memory.resize(0);
            }
            outcome => outcome?,
        }
        NodeCounters::raise(&counters.memory_bytes, all.memory.bytes() as u64);
        all.parts.push(part);
        Ok(())
    })?;
    Ok(collected
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner))
}

/// Sorts parts on the calling thread: their columns end to end, the order of their rows, and their keys.
pub fn sort_parts(
    types: &[DataType],
    columns: &[Column],
    parts: &[Part],
) -> Result<(Batch, Vec<u32>, NormalKeys)> {
    let rows = parts.iter().map(|part| part.batch.rows).sum();
    let whole = |number: usize, t: &DataType| {
        let pieces: Vec<_> = parts
            .iter()
            .map(|part| Arc::clone(&part.batch.columns[number]))
            .collect();
        concat(t.physical(), &pieces)
            .map(Arc::new)
            .ok_or(Error::OutOfMemory)
    };
    let payload = types
        .iter()
        .enumerate()
        .map(|(number, t)| whole(number, t))
        .collect::<Result<Vec<_>>>()?;
    let mut keys = Vec::with_capacity(columns.len());
    for (number, column) in columns.iter().enumerate() {
        let pieces: Vec<_> = parts
            .iter()
            .map(|part| Arc::clone(&part.keys[number]))
            .collect();
        keys.push(concat(column.data_type.physical(), &pieces).ok_or(Error::OutOfMemory)?);
    }
    let keys = NormalKeys::encode(columns, &keys.iter().collect::<Vec<_>>(), rows);
    let order = KeyOrder::new(columns);
    let mut entries: Vec<Entry<2>> = memory::vec(rows)?;
    entries.extend((0..rows).map(|row| Entry {
        prefix: match order.is_framed() {
            true => [0; 2],
            false => prefix(keys.get(row)),
        },
        row: row as u32,
    }));
    entries.sort_unstable_by(|a, b| {
        let full = || order.compare(keys.get(a.row as usize), keys.get(b.row as usize));
        a.prefix
            .cmp(&b.prefix)
            .then_with(full)
            .then(a.row.cmp(&b.row))
    });
    let mut order = memory::vec(rows)?;
    order.extend(entries.iter().map(|entry| entry.row));
    Ok((Batch::new(payload, rows), order, keys))
}

struct Sorting<'t> {
    id: u32,
    types: &'t [DataType],
    columns: Vec<Column>,
    /// Whether entries hold all of their keys.
    exact: bool,
    memory: Reservation,
}

/// Keys of a part, with the number of its first row.
struct PartKeys {
    start: u32,
    keys: Option<NormalKeys>,
}

/// What bucket tasks share.
struct Sorted {
    id: u32,
    columns: Vec<Arc<Vector>>,
    /// By part; kept when entries do not hold all of a key.
    keys: Vec<PartKeys>,
    _memory: Mutex<Reservation>,
}

impl Sorted {
    fn full_key(&self, row: u32) -> &[u8] {
        let part = self.keys.partition_point(|part| part.start <= row) - 1;
        let part = &self.keys[part];
        part.keys
            .as_ref()
            .map_or(&[], |keys| keys.get((row - part.start) as usize))
    }
}

impl Sorting<'_> {
    fn open<const W: usize>(self, driver: &Driver, mut parts: Vec<Part>) -> Result<Stream> {
        let rows: usize = parts.iter().map(|part| part.batch.rows).sum();
        if rows >= u32::MAX as usize {
            return Err(Error::OutOfMemory);
        }
        let (entries, keys) = self.entries::<W>(driver, &parts)?;
        let columns = self.payload(driver, &mut parts)?;
        drop(parts);
        let buckets = match rows / BUCKET_ROWS_MIN {
            0 => 1,
            some => some.min(driver.query.threads * 8),
        };
        let splitters = splitters(&entries, buckets);
        let buckets = scatter(driver, entries, &splitters)?;
        let mut memory = self.memory;
        let entries_bytes = rows * size_of::<Entry<W>>();
        let column_bytes: usize = columns.iter().map(|c| memory_bytes(c)).sum();
        let key_bytes: usize = keys
            .iter()
            .filter_map(|k| k.keys.as_ref())
            .map(NormalKeys::memory_bytes)
            .sum();
        memory.resize_with_floor(entries_bytes + column_bytes + key_bytes, usize::MAX)?;
        let sorted = Arc::new(Sorted {
            id: self.id,
            columns,
            keys,
            _memory: Mutex::new(memory),
        });
        let task = |pieces| {
            Box::new(BucketTask::<W> {
                sorted: Arc::clone(&sorted),
                pieces,
                exact: self.exact,
            }) as Box<dyn Task>
        };
        let tasks: VecDeque<Box<dyn Task>> = buckets.into_iter().map(task).collect();
        Ok(Stream::new(Box::new(Tasks(tasks))))
    }

    /// The entries of each part, and the full keys where entries do not hold them.
    fn entries<const W: usize>(
        &self,
        driver: &Driver,
        parts: &[Part],
    ) -> Result<(Vec<Vec<Entry<W>>>, Vec<PartKeys>)> {
        let mut start = 0u32;
        let mut keys = Vec::with_capacity(parts.len());
        for part in parts {
            keys.push(PartKeys { start, keys: None });
            start += part.batch.rows as u32;
        }
        let mut entries: Vec<Vec<Entry<W>>> = parts.iter().map(|_| Vec::new()).collect();
        let work: Vec<_> = parts
            .iter()
            .zip(keys.iter_mut().zip(&mut entries))
            .collect();
        driver.for_all(work, &|worker, (part, (keys, entries))| {
            worker.query.node(self.id).timed(|| {
                let rows = keys.start..keys.start + part.batch.rows as u32;
                if let ([column], [vector], 1) = (&*self.columns, &*part.keys, W) {
                    if let Some(words) = words_of(column, vector) {
                        entries.extend(words.into_iter().zip(rows).map(|(word, row)| Entry {
                            prefix: [word; W],
                            row,
                        }));
                        return Ok(());
                    }
                }
                let vectors: Vec<&Vector> = part.keys.iter().map(|key| &**key).collect();
                let encoded = NormalKeys::encode(&self.columns, &vectors, part.batch.rows);
                entries.extend(rows.enumerate().map(|(i, row)| Entry {
                    prefix: prefix(encoded.get(i)),
                    row,
                }));
                keys.keys = (!self.exact).then_some(encoded);
                Ok(())
            })
        })?;
        Ok((entries, keys))
    }

    /// Each column's parts end to end, one column a task.
    fn payload(&self, driver: &Driver, parts: &mut [Part]) -> Result<Vec<Arc<Vector>>> {
        let mut work = Vec::with_capacity(self.types.len());
        for number in (0..self.types.len()).rev() {
            let pieces: Vec<Arc<Vector>> = parts
                .iter_mut()
                .filter_map(|part| part.batch.columns.pop())
                .collect();
            work.push((number, pieces));
        }
        let columns = Mutex::new(vec![None; self.types.len()]);
        driver.for_all(work, &|_, (number, pieces)| {
            let column =
                concat(self.types[number].physical(), &pieces).ok_or(Error::OutOfMemory)?;
            lock(&columns)[number] = Some(Arc::new(column));
            Ok(())
        })?;
        let columns = columns.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(columns.into_iter().flatten().collect())
    }
}

/// Prefixes that cut the entries into `buckets` of about equal size; fewer when keys repeat.
fn splitters<const W: usize>(entries: &[Vec<Entry<W>>], buckets: usize) -> Vec<[u64; W]> {
    let rows: usize = entries.iter().map(Vec::len).sum();
    let step = (rows / (buckets * SAMPLES)).max(1);
    let mut sample: Vec<[u64; W]> = entries
        .iter()
        .flat_map(|part| part.iter().step_by(step))
        .map(|entry| entry.prefix)
        .collect();
    sample.sort_unstable();
    let mut splitters: Vec<[u64; W]> = (1..buckets)
        .map(|b| sample[b * sample.len() / buckets])
        .collect();
    splitters.dedup();
    splitters
}

/// Each bucket's entries, still by part. Bucket `b` has the prefixes from splitter `b - 1` up to splitter `b`.
fn scatter<const W: usize>(
    driver: &Driver,
    entries: Vec<Vec<Entry<W>>>,
    splitters: &[[u64; W]],
) -> Result<Vec<Vec<Vec<Entry<W>>>>> {
    if splitters.is_empty() {
        return Ok(vec![entries]);
    }
    let mut scattered: Vec<Vec<Vec<Entry<W>>>> = entries.iter().map(|_| Vec::new()).collect();
    let work: Vec<_> = entries.into_iter().zip(&mut scattered).collect();
    driver.for_all(work, &|_, (entries, buckets)| {
        let expected = entries.len() / (splitters.len() + 1) * 5 / 4;
        *buckets = (0..=splitters.len())
            .map(|_| memory::vec(expected))
            .collect::<Result<_>>()?;
        for entry in entries {
            // Counting beats a binary search: nothing to mispredict.
            let bucket: usize = splitters
                .iter()
                .map(|splitter| usize::from(*splitter <= entry.prefix))
                .sum();
            buckets[bucket].push(entry);
        }
        Ok(())
    })?;
    let mut buckets: Vec<Vec<Vec<Entry<W>>>> = (0..=splitters.len()).map(|_| Vec::new()).collect();
    for part in scattered {
        for (bucket, entries) in part.into_iter().enumerate() {
            buckets[bucket].push(entries);
        }
    }
    Ok(buckets)
}

/// Sorts entries whose keys agree before byte `depth`, which their prefixes start at: by the prefixes, then those that
/// agree in them by what follows. Keys are looked at once for each of their words, not once for each comparison.
fn sort_from<const W: usize>(sorted: &Sorted, entries: &mut [Entry<W>], depth: usize) {
    let full_key = |entry: &Entry<W>| sorted.full_key(entry.row);
    if depth > DEPTH_MAX {
        return entries
            .sort_unstable_by(|a, b| full_key(a).cmp(full_key(b)).then(a.row.cmp(&b.row)));
    }
    entries.sort_unstable();
    let depth = depth + 8 * W;
    for run in entries.chunk_by_mut(|a, b| a.prefix == b.prefix) {
        // No key is the beginning of another: where one ends, all that agree with it do, and they are equal.
        if run.len() == 1 || run.iter().all(|entry| full_key(entry).len() <= depth) {
            continue;
        }
        for entry in run.iter_mut() {
            entry.prefix = prefix(full_key(entry).get(depth..).unwrap_or_default());
        }
        sort_from(sorted, run, depth);
    }
}

/// Sorts a bucket and emits its rows.
struct BucketTask<const W: usize> {
    sorted: Arc<Sorted>,
    pieces: Vec<Vec<Entry<W>>>,
    exact: bool,
}

impl<const W: usize> Task for BucketTask<W> {
    fn run(self: Box<Self>, worker: &Worker<'_>, emit: &mut Emit<'_>) -> Result<()> {
        let Self {
            sorted,
            pieces,
            exact,
        } = *self;
        let counters = worker.query.node(sorted.id);
        let entries = counters.timed(|| -> Result<Vec<Entry<W>>> {
            let mut entries = memory::vec(pieces.iter().map(Vec::len).sum())?;
            pieces
                .iter()
                .for_each(|piece| entries.extend_from_slice(piece));
            drop(pieces);
            match exact {
                true => entries.sort_unstable(),
                false => sort_from(&sorted, &mut entries, 0),
            }
            Ok(entries)
        })?;
        NodeCounters::add(&counters.rows_out, entries.len() as u64);
        for entries in entries.chunks(worker.query.batch_rows) {
            worker.query.check()?;
            let batch = counters.timed(|| {
                let rows: Vec<u32> = entries.iter().map(|entry| entry.row).collect();
                let columns = sorted
                    .columns
                    .iter()
                    .map(|column| Arc::new(gather(column, &rows)))
                    .collect();
                Batch {
                    columns,
                    rows: rows.len(),
                }
            });
            emit(Chunk::all(batch))?;
        }
        Ok(())
    }
}
