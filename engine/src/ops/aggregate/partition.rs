// SPDX-License-Identifier: Apache-2.0
//! Blocks of groups by partition, and merging a partition's groups.
//!
//! A partition is the groups whose hashes share their [`PARTITION_BITS`] high bits. A block keeps the groups of one
//! flush in partition order, so that a partition is a range of each block; a spilled block is one run a partition.
//! Small partitions that follow each other are merged together. When a partition's groups may not fit into memory at
//! once, it is merged in several passes over the same blocks, each taking the groups with other values of the next hash
//! bits. A group that is too large by itself is an error, upon which PostgreSQL's plan may take over as long as no row
//! has left: partitions that may have one are merged before the first row leaves.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use doris_storage::vector::{Values, Vector};

use super::passthrough_rows::{joined, PassthroughRows, Takes};
use super::thread_local_groups::{output, LocalGroups, States};
use super::{Grouping, TakeGroups};
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::exec::driver::{lock, Driver};
use crate::exec::query::{Chunk, NodeCounters, Query, Worker};
use crate::exec::stream::{Emit, Source, Stream, Task, Tasks};
use crate::gather::{gather, memory_bytes, slice};
use crate::group_table::{hash_all, GroupTable};
use crate::keys::KeyColumn;
use crate::memory::Reservation;
use crate::plan::AggregateCall;
use crate::spill::{Run, SharedSpill};

/// Hash bits that name a partition.
pub const PARTITION_BITS: u32 = 8;
const PARTITIONS: usize = 1 << PARTITION_BITS;
/// Most hash bits that passes over a partition are told apart by.
const PASS_BITS_MAX: u32 = 10;
/// Partitions are merged together while they have no more groups than this, whose table stays near the core, ...
const TASK_GROUPS: usize = 1024;
/// ... and while there are so many tasks for each thread.
const TASKS_PER_THREAD: usize = 8;
/// Merged, the state of a group takes up to about so many times the memory that it takes in blocks.
const STATE_GROWTH: usize = 8;
/// What is merged early may take one part in so many of the whole budget; it is merged again when its turn comes
/// otherwise.
const EARLY_SHARE: usize = 8;
/// A partition of no more groups than this may have a large one, though it is no larger than others.
const FEW_GROUPS: usize = 16;
/// A merging table may take one part in so many of the whole budget.
const MERGE_SHARE: usize = 8;

fn partition_of(hash: u64) -> usize {
    (hash >> (64 - PARTITION_BITS)) as usize
}

/// Groups of one flush.
pub struct Block<K> {
    bounds: Vec<u32>,
    content: Content<K>,
}

enum Content<K> {
    Memory(Groups<K>),
    Spilled {
        file: Arc<SharedSpill>,
        runs: Vec<Run>,
        takes: Option<Takes>,
    },
}

/// Takes groups, and which of them are meant.
type Visit<'v, K> = dyn FnMut(&Groups<K>, Range<usize>) -> Result<()> + 'v;

/// Keys, hashes and states of groups, in step.
struct Groups<K> {
    keys: K,
    /// Empty where keys are hashed again.
    hashes: Vec<u64>,
    /// For each call, or, of rows that went out without a lookup, each argument by itself.
    states: Vec<Vec<Vector>>,
    /// Which argument each call takes, if these are rows.
    takes: Option<Takes>,
}

impl<K: KeyColumn> Groups<K> {
    /// The hashes of some groups.
    fn hashes(&self, range: Range<usize>) -> Cow<'_, [u64]> {
        match K::REHASHED {
            true => range.map(|i| self.keys.hash(i)).collect(),
            false => Cow::Borrowed(&self.hashes[range]),
        }
    }

    /// Some of the groups.
    fn gather(&self, members: &[u32]) -> Self {
        let some = |states: &Vec<Vector>| states.iter().map(|s| gather(s, members)).collect();
        Self {
            keys: self.keys.gather(members),
            hashes: match K::REHASHED {
                true => Vec::new(),
                false => members.iter().map(|&i| self.hashes[i as usize]).collect(),
            },
            states: self.states.iter().map(some).collect(),
            takes: self.takes.clone(),
        }
    }

    /// The states of some groups.
    fn slice(&self, range: &Range<usize>) -> Vec<Vec<Vector>> {
        let part = |state: &Vector| slice(state, range.start, range.end);
        let of_call = |states: &Vec<Vector>| states.iter().map(part).collect();
        self.states.iter().map(of_call).collect()
    }

    /// Adds some groups to those that they are called in `states`.
    fn add_to(&self, states: &mut States, groups: &[u32], range: Range<usize>) -> Result<()> {
        let Some(takes) = &self.takes else {
            return states.merge(groups, &self.states, range.start);
        };
        let arguments: Vec<Vector> = self.slice(&range).into_iter().flatten().collect();
        states.update_rows(groups, &arguments, takes)
    }

    /// The states of some groups, call by call.
    fn states(&self, grouping: &Grouping, range: Range<usize>) -> Result<Vec<Vec<Vector>>> {
        if self.takes.is_none() {
            return Ok(self.slice(&range));
        }
        let each: Vec<u32> = (0..range.len() as u32).collect();
        let mut states = States::new(grouping)?;
        states.resize(range.len());
        self.add_to(&mut states, &each, range)?;
        Ok(states.export(&each))
    }
}

/// Where each partition begins, and the members of all by partition.
fn by_partition(hashes: &[u64]) -> (Vec<u32>, Vec<u32>) {
    let mut bounds = vec![0u32; PARTITIONS + 1];
    hashes
        .iter()
        .for_each(|&hash| bounds[partition_of(hash) + 1] += 1);
    for partition in 0..PARTITIONS {
        bounds[partition + 1] += bounds[partition];
    }
    let mut next = bounds.clone();
    let mut order = vec![0u32; hashes.len()];
    for (member, &hash) in hashes.iter().enumerate() {
        let at = &mut next[partition_of(hash)];
        order[*at as usize] = member as u32;
        *at += 1;
    }
    (bounds, order)
}

impl<K: KeyColumn> Block<K> {
    /// The groups of a table, in partition order.
    pub fn new(table: &GroupTable<K>, states: &States) -> Self {
        let hashes = table.hashes();
        let (bounds, order) = by_partition(hashes);
        let groups = Groups {
            keys: table.keys().gather(&order),
            hashes: match K::REHASHED {
                true => Vec::new(),
                false => order.iter().map(|&group| hashes[group as usize]).collect(),
            },
            states: states.export(&order),
            takes: None,
        };
        Self {
            bounds,
            content: Content::Memory(groups),
        }
    }

    /// Rows that were not looked up, in partition order.
    pub fn of_rows(rows: PassthroughRows<K>) -> Result<Self> {
        let (keys, arguments, takes) = rows.into_columns()?;
        let mut hashes = Vec::new();
        hash_all(&keys, &mut hashes);
        let (bounds, order) = by_partition(&hashes);
        let all = Groups {
            keys,
            hashes,
            states: arguments
                .into_iter()
                .map(|argument| vec![argument])
                .collect(),
            takes: Some(takes),
        };
        Ok(Self {
            bounds,
            content: Content::Memory(all.gather(&order)),
        })
    }

    /// Whether it holds rows, rather than groups.
    pub fn is_of_rows(&self) -> bool {
        match &self.content {
            Content::Memory(groups) => groups.takes.is_some(),
            Content::Spilled { takes, .. } => takes.is_some(),
        }
    }

    /// Bytes of memory in use.
    pub fn memory_bytes(&self) -> usize {
        match &self.content {
            Content::Memory(groups) => {
                let states: usize = groups.states.iter().flatten().map(memory_bytes).sum();
                groups.keys.memory_bytes() + groups.hashes.len() * 8 + states
            }
            Content::Spilled { .. } => 0,
        }
    }

    /// Moves blocks, all of rows or all of groups, to a file, as one; also the bytes written.
    pub fn spill(blocks: Vec<Block<K>>, file: &Arc<SharedSpill>) -> Result<(Block<K>, u64)> {
        let takes = blocks.first().and_then(|block| match &block.content {
            Content::Memory(groups) => groups.takes.clone(),
            Content::Spilled { takes, .. } => takes.clone(),
        });
        let mut runs = Vec::with_capacity(PARTITIONS);
        let mut bounds = vec![0u32; PARTITIONS + 1];
        for partition in 0..PARTITIONS {
            let mut keys = K::default();
            let mut states: Vec<Vec<Arc<Vector>>> = Vec::new();
            for block in &blocks {
                let (Content::Memory(groups), range) = (&block.content, block.range(partition))
                else {
                    continue;
                };
                let members: Vec<u32> = (range.start as u32..range.end as u32).collect();
                keys.append(&groups.keys.gather(&members));
                for (number, state) in groups.states.iter().flatten().enumerate() {
                    if states.len() == number {
                        states.push(Vec::new());
                    }
                    states[number].push(Arc::new(slice(state, range.start, range.end)));
                }
            }
            bounds[partition + 1] = bounds[partition] + keys.len() as u32;
            if keys.is_empty() {
                runs.push(Run::default());
                continue;
            }
            let mut vectors = vec![keys.to_vector()];
            for parts in states {
                vectors.push(joined(&parts)?);
            }
            runs.push(file.write(&vectors)?);
        }
        let written = runs.iter().map(Run::bytes).sum();
        Ok((
            Block {
                bounds,
                content: Content::Spilled {
                    file: Arc::clone(file),
                    runs,
                    takes,
                },
            },
            written,
        ))
    }

    /// About the bytes of a partition.
    fn partition_bytes(&self, partition: usize) -> usize {
        match &self.content {
            Content::Memory(groups) => {
                let of = |vector: &Vector| value_bytes(vector, self.range(partition));
                groups.states.iter().flatten().map(of).sum()
            }
            Content::Spilled { runs, .. } => runs[partition].bytes() as usize,
        }
    }

    fn range(&self, partition: usize) -> Range<usize> {
        self.bounds[partition] as usize..self.bounds[partition + 1] as usize
    }

    /// Calls `take` with the groups of some partitions and where they lie.
    fn visit(
        &self,
        partitions: Range<usize>,
        calls: &[usize],
        take: &mut Visit<'_, K>,
    ) -> Result<()> {
        match &self.content {
            Content::Memory(groups) => {
                let first = self.bounds[partitions.start] as usize;
                let range = first..self.bounds[partitions.end] as usize;
                match range.is_empty() {
                    true => Ok(()),
                    false => take(groups, range),
                }
            }
            Content::Spilled { file, runs, takes } => partitions
                .filter(|&partition| !self.range(partition).is_empty())
                .try_for_each(|partition| {
                    let groups = Self::read(file, runs[partition], calls, takes.clone())?;
                    take(&groups, 0..self.range(partition).len())
                }),
        }
    }

    /// The groups of a run.
    fn read(
        file: &SharedSpill,
        run: Run,
        calls: &[usize],
        takes: Option<Takes>,
    ) -> Result<Groups<K>> {
        let mut vectors = file.read(run)?.into_iter();
        let keys = vectors
            .next()
            .map(|vector| K::from_vector(&vector))
            .unwrap_or_default();
        let mut hashes = Vec::new();
        if !K::REHASHED {
            hash_all(&keys, &mut hashes);
        }
        let states = match &takes {
            None => calls
                .iter()
                .map(|&n| vectors.by_ref().take(n).collect())
                .collect(),
            Some(_) => vectors.map(|argument| vec![argument]).collect(),
        };
        Ok(Groups {
            keys,
            hashes,
            states,
            takes,
        })
    }
}

/// About the bytes of some values of a column.
fn value_bytes(vector: &Vector, range: Range<usize>) -> usize {
    match &vector.values {
        Values::Bytes(column) => (column.offsets[range.end] - column.offsets[range.start]) as usize,
        // The codes of NULLs may be anything.
        Values::Dict { codes, dict } => range
            .map(|i| codes[i] as usize)
            .filter(|code| *code < dict.len())
            .map(|code| dict.get(code).len())
            .sum(),
        _ => range.len() * size_of::<i128>(),
    }
}

/// Everything that went out, waiting to be merged.
struct Partitions<K> {
    grouping: Arc<Grouping>,
    blocks: Vec<Block<K>>,
    /// State vectors of each call.
    calls: Vec<usize>,
    /// Covers the blocks.
    _memory: Mutex<Vec<Reservation>>,
}

/// The stream of the merged partitions.
pub fn open<K: KeyColumn>(
    driver: &Driver,
    grouping: Arc<Grouping>,
    locals: Vec<LocalGroups<K>>,
) -> Result<Stream> {
    let (mut blocks, mut memory) = (Vec::new(), Vec::new());
    let calls = state_vectors(&grouping)?;
    for local in locals {
        let (some, reservation) = local.into_blocks(&driver.query)?;
        blocks.extend(some);
        memory.push(reservation);
    }
    let all = Arc::new(Partitions {
        grouping,
        blocks,
        calls,
        _memory: Mutex::new(memory),
    });
    let early = merge_early(driver, &all)?;
    let sizes: Vec<usize> = (0..PARTITIONS).map(|p| all.groups(p..p + 1)).collect();
    let tasks = driver.query.threads * TASKS_PER_THREAD;
    let fitting = merge_share(&driver.query) / group_bytes(all.calls.iter().sum());
    let enough = (sizes.iter().sum::<usize>() / tasks).min(TASK_GROUPS.min(fitting));
    Ok(Stream::new(Box::new(PartitionSource {
        all,
        sizes,
        enough,
        next: 0,
        ready: Tasks::of_batches(early.batches),
        merged: early.merged,
        memory: early.memory,
    })))
}

/// Partitions that were merged before the first row left.
struct Early {
    batches: Vec<Batch>,
    /// Which partitions the batches are of.
    merged: Vec<bool>,
    /// Covers the batches.
    memory: Vec<Reservation>,
}

/// Merges, on all threads, the partitions in which a group may be too large for the memory.
fn merge_early<K: KeyColumn>(driver: &Driver, all: &Arc<Partitions<K>>) -> Result<Early> {
    let grows = all.grouping.calls.iter().any(AggregateCall::grows);
    let limit = driver.query.budget.limit_bytes();
    let bytes_of = |partition: usize| -> usize {
        let bytes = |block: &Block<K>| block.partition_bytes(partition);
        all.blocks.iter().map(bytes).sum()
    };
    let bytes: Vec<usize> = match grows {
        true => (0..PARTITIONS).map(bytes_of).collect(),
        false => vec![0; PARTITIONS],
    };
    let mean = bytes.iter().sum::<usize>() / PARTITIONS;
    // Of many groups that share a partition like all others, none is too large.
    let may_fail = |partition: &usize| {
        let stands_out = bytes[*partition] > mean + limit / STATE_GROWTH / 2;
        let few = || all.groups(*partition..*partition + 1) <= FEW_GROUPS;
        bytes[*partition] > limit / STATE_GROWTH && (stands_out || few())
    };
    let left = AtomicUsize::new(limit / EARLY_SHARE);
    let large = (0..PARTITIONS).filter(may_fail);
    let early = Mutex::new(Early {
        batches: Vec::new(),
        merged: vec![false; PARTITIONS],
        memory: Vec::new(),
    });
    driver.for_all(large.collect(), &|worker, partition| {
        let task = MergeTask {
            all: Arc::clone(all),
            partitions: partition..partition + 1,
        };
        if let Some((batches, memory)) = task.kept(worker, &left)? {
            let mut early = lock(&early);
            early.batches.extend(batches);
            early.merged[partition] = true;
            early.memory.push(memory);
        }
        Ok(())
    })?;
    Ok(early.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Gives all groups of `locals` to `take`, on all threads.
pub fn give_away<K: KeyColumn>(
    driver: &Driver,
    grouping: &Grouping,
    locals: Vec<LocalGroups<K>>,
    take: &TakeGroups<'_>,
) -> Result<()> {
    let calls = state_vectors(grouping)?;
    for local in locals {
        let (blocks, _memory) = local.into_blocks(&driver.query)?;
        let pieces = blocks
            .iter()
            .flat_map(|block| (0..PARTITIONS).map(move |partition| (block, partition)));
        driver.for_all(pieces.collect(), &|worker, (block, partition)| {
            worker.query.check()?;
            block.visit(partition..partition + 1, &calls, &mut |found, range| {
                let batch_rows = worker.query.batch_rows.max(1);
                for from in range.clone().step_by(batch_rows) {
                    let to = (from + batch_rows).min(range.end);
                    let keys = found.keys.decode(&grouping.shape, from, to)?;
                    take(worker, keys, &found.states(grouping, from..to)?)?;
                }
                Ok(())
            })
        })?;
    }
    Ok(())
}

/// State vectors of each call.
fn state_vectors(grouping: &Grouping) -> Result<Vec<usize>> {
    let mut states = States::new(grouping)?;
    states.resize(1);
    Ok(states.export(&[0]).iter().map(Vec::len).collect())
}

impl<K: KeyColumn> Partitions<K> {
    /// How many groups some partitions have, those of several blocks counted more than once.
    fn groups(&self, partitions: Range<usize>) -> usize {
        let of_block = |block: &Block<K>| {
            (block.bounds[partitions.end] - block.bounds[partitions.start]) as usize
        };
        self.blocks.iter().map(of_block).sum()
    }
}

struct PartitionSource<K> {
    all: Arc<Partitions<K>>,
    /// The groups of each partition.
    sizes: Vec<usize>,
    /// Groups of a task, unless a partition has more.
    enough: usize,
    next: usize,
    /// What was merged early, ...
    ready: Tasks,
    /// ... of which partitions, ...
    merged: Vec<bool>,
    /// ... and its memory.
    memory: Vec<Reservation>,
}

impl<K: KeyColumn> Source for PartitionSource<K> {
    fn next(&mut self, driver: &Driver) -> Result<Option<Box<dyn Task>>> {
        if let Some(task) = self.ready.next(driver)? {
            return Ok(Some(task));
        }
        self.memory.clear();
        while self.merged.get(self.next) == Some(&true) {
            self.next += 1;
        }
        if self.next == PARTITIONS {
            return Ok(None);
        }
        let (first, mut groups) = (self.next, self.sizes[self.next]);
        self.next += 1;
        while let Some(more) = self.sizes.get(self.next) {
            groups += more;
            if groups > self.enough || self.merged[self.next] {
                break;
            }
            self.next += 1;
        }
        Ok(Some(Box::new(MergeTask {
            all: Arc::clone(&self.all),
            partitions: first..self.next,
        })))
    }
}

struct MergeTask<K> {
    all: Arc<Partitions<K>>,
    partitions: Range<usize>,
}

impl<K: KeyColumn> Task for MergeTask<K> {
    fn run(self: Box<Self>, worker: &Worker<'_>, emit: &mut Emit<'_>) -> Result<()> {
        let counters = worker.query.node(self.all.grouping.id);
        self.each(worker, &mut |chunk| {
            NodeCounters::add(&counters.rows_out, chunk.rows() as u64);
            emit(chunk)
        })
    }
}

impl<K: KeyColumn> MergeTask<K> {
    /// The merged groups, if they are few enough to be kept, and what covers them; `left` are the bytes that all
    /// partitions together may still keep. Fails where they cannot be merged.
    fn kept(
        &self,
        worker: &Worker<'_>,
        left: &AtomicUsize,
    ) -> Result<Option<(Vec<Batch>, Reservation)>> {
        let take = |bytes: usize| {
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(bytes)
            })
        };
        let mut memory = Reservation::new(&worker.query.budget);
        let mut kept = Some(Vec::new());
        self.each(worker, &mut |chunk| {
            if let Some(batches) = &mut kept {
                let bytes = chunk
                    .batch
                    .columns
                    .iter()
                    .map(|c| memory_bytes(c))
                    .sum::<usize>();
                let taken = take(bytes).is_ok();
                match taken && memory.grow(bytes).is_ok() {
                    true => batches.push(chunk.batch),
                    false => {
                        kept = None;
                        let unused = memory.bytes() + if taken { bytes } else { 0 };
                        left.fetch_add(unused, Ordering::Relaxed);
                        memory.resize(0)?;
                    }
                }
            }
            Ok(())
        })?;
        let rows = |batches: &Vec<Batch>| batches.iter().map(|batch| batch.rows as u64).sum();
        let counters = worker.query.node(self.all.grouping.id);
        NodeCounters::add(&counters.rows_out, kept.as_ref().map_or(0, rows));
        Ok(kept.map(|batches| (batches, memory)))
    }

    /// Merges the groups and emits them.
    fn each(&self, worker: &Worker<'_>, emit: &mut Emit<'_>) -> Result<()> {
        let rows = self.all.groups(self.partitions.clone());
        if rows == 0 {
            return Ok(());
        }
        let bits = pass_bits(worker.query, rows, self.all.calls.iter().sum());
        (0..1u64 << bits).try_for_each(|pass| self.merge(worker, rows >> bits, (pass, bits), emit))
    }
}

/// What the table of a pass may take whatever the limit. Passes that cannot be cut any further hold hardly more than
/// one group, whose states may take all of the budget once more.
fn pass_bytes_granted(query: &Query, bits: u32) -> usize {
    match bits {
        PASS_BITS_MAX => query.budget.limit_bytes().max(1 << 20),
        _ => query.budget.working_bytes(),
    }
}

/// About the memory of a group while it is merged.
fn group_bytes(state_vectors: usize) -> usize {
    48 + 16 * state_vectors
}

/// The memory for merging on each thread.
fn merge_share(query: &Query) -> usize {
    (query.budget.limit_bytes() / MERGE_SHARE / query.threads.max(1)).max(1)
}

/// Hash bits that tell passes apart, so that each fits its share of the memory.
fn pass_bits(query: &Query, rows: usize, state_vectors: usize) -> u32 {
    let bytes = rows.saturating_mul(group_bytes(state_vectors));
    let share = merge_share(query);
    (0..PASS_BITS_MAX)
        .find(|bits| bytes >> bits <= share)
        .unwrap_or(PASS_BITS_MAX)
}

impl<K: KeyColumn> MergeTask<K> {
    /// Merges the groups of one pass and emits them.
    fn merge(
        &self,
        worker: &Worker<'_>,
        rows: usize,
        (pass, bits): (u64, u32),
        emit: &mut Emit<'_>,
    ) -> Result<()> {
        let grouping = &self.all.grouping;
        let counters = worker.query.node(grouping.id);
        let mut memory = Reservation::new(&worker.query.budget);
        let merged = counters.timed(|| self.merge_pass(worker, rows, (pass, bits), &mut memory));
        let (table, states) = match merged {
            // The states are larger than their number says: two passes of half the groups each.
            Err(Error::OutOfMemory) if bits < PASS_BITS_MAX => {
                drop(memory);
                return (0..2).try_for_each(|half| {
                    self.merge(worker, rows / 2, (pass * 2 + half, bits + 1), emit)
                });
            }
            other => other?,
        };
        let batch_rows = worker.query.batch_rows.max(1);
        for from in (0..table.len()).step_by(batch_rows) {
            let to = (from + batch_rows).min(table.len());
            let batch = counters.timed(|| output(grouping, &table, &states, from, to))?;
            emit(Chunk::all(batch))?;
        }
        Ok(())
    }

    fn merge_pass(
        &self,
        worker: &Worker<'_>,
        rows: usize,
        (pass, bits): (u64, u32),
        memory: &mut Reservation,
    ) -> Result<(GroupTable<K>, States)> {
        // Half the rows: a guess between all different and many alike.
        let mut table = GroupTable::<K>::with_capacity(rows / 2);
        let mut states = States::new(&self.all.grouping)?;
        let mut groups = Vec::new();
        for block in &self.all.blocks {
            worker.query.check()?;
            block.visit(
                self.partitions.clone(),
                &self.all.calls,
                &mut |found, range| {
                    let hashes = found.hashes(range.clone());
                    if bits == 0 {
                        table.find_or_insert(&found.keys, range.start, &hashes, &mut groups);
                        states.resize(table.len());
                        return found.add_to(&mut states, &groups, range);
                    }
                    let of_pass = |hash: u64| hash << PARTITION_BITS >> (64 - bits) == pass;
                    let members: Vec<u32> = range
                        .clone()
                        .filter(|&i| of_pass(hashes[i - range.start]))
                        .map(|i| i as u32)
                        .collect();
                    let found = found.gather(&members);
                    let hashes = found.hashes(0..members.len());
                    table.find_or_insert(&found.keys, 0, &hashes, &mut groups);
                    states.resize(table.len());
                    found.add_to(&mut states, &groups, 0..members.len())
                },
            )?;
            let granted = pass_bytes_granted(worker.query, bits);
            memory.resize_with_floor(table.memory_bytes() + states.memory_bytes(), granted)?;
        }
        Ok((table, states))
    }
}
