// SPDX-License-Identifier: Apache-2.0
//! Blocks of groups by partition, and merging a partition's groups.
//!
//! A partition is the groups whose hashes share their [`PARTITION_BITS`] high bits. A block keeps the groups of
//! one flush in partition order, so that a partition is a range of each block; a spilled block is one run
//! a partition. When a partition's groups may not fit into memory at once, it is merged in several passes
//! over the same blocks, each taking the groups with other values of the next hash bits.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use doris_storage::vector::Vector;

use super::local::{output, Local, States};
use super::{Grouping, TakeGroups};
use crate::error::{Error, Result};
use crate::exec::driver::Driver;
use crate::exec::query::{Chunk, NodeCounters, Query, Worker};
use crate::exec::stream::{Emit, Source, Stream, Task};
use crate::gather::{concat, gather, memory_bytes, slice};
use crate::keys::KeyColumn;
use crate::memory::Reservation;
use crate::spill::{Run, SharedSpill};
use crate::table::{hash_all, GroupTable};

/// Hash bits that name a partition.
pub const PARTITION_BITS: u32 = 8;
const PARTITIONS: usize = 1 << PARTITION_BITS;
/// Most hash bits that passes over a partition are told apart by.
const PASS_BITS_MAX: u32 = 10;
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
    },
}

/// Takes groups, and which of them are meant.
type Visit<'v, K> = dyn FnMut(&Groups<K>, Range<usize>) -> Result<()> + 'v;

/// Keys, hashes and states of groups, in step.
struct Groups<K> {
    keys: K,
    hashes: Vec<u64>,
    states: Vec<Vec<Vector>>,
}

impl<K: KeyColumn> Block<K> {
    /// The groups of a table, in partition order.
    pub fn new(table: &GroupTable<K>, states: &States) -> Self {
        let hashes = table.hashes();
        let mut bounds = vec![0u32; PARTITIONS + 1];
        hashes
            .iter()
            .for_each(|&hash| bounds[partition_of(hash) + 1] += 1);
        for partition in 0..PARTITIONS {
            bounds[partition + 1] += bounds[partition];
        }
        let mut next = bounds.clone();
        let mut order = vec![0u32; hashes.len()];
        for (group, &hash) in hashes.iter().enumerate() {
            let at = &mut next[partition_of(hash)];
            order[*at as usize] = group as u32;
            *at += 1;
        }
        let groups = Groups {
            keys: table.keys().gather(&order),
            hashes: order.iter().map(|&group| hashes[group as usize]).collect(),
            states: states.export(&order),
        };
        Self {
            bounds,
            content: Content::Memory(groups),
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

    /// Moves blocks to a file, as one; also the bytes written.
    pub fn spill(blocks: Vec<Block<K>>, file: &Arc<SharedSpill>) -> Result<(Block<K>, u64)> {
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
                let physical = parts[0].physical();
                vectors.push(concat(physical, &parts).ok_or(Error::OutOfMemory)?);
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
                },
            },
            written,
        ))
    }

    fn range(&self, partition: usize) -> Range<usize> {
        self.bounds[partition] as usize..self.bounds[partition + 1] as usize
    }

    /// Calls `take` with the groups of a partition and where they lie.
    fn visit(&self, partition: usize, calls: &[usize], take: &mut Visit<'_, K>) -> Result<()> {
        let range = self.range(partition);
        if range.is_empty() {
            return Ok(());
        }
        match &self.content {
            Content::Memory(groups) => take(groups, range),
            Content::Spilled { file, runs } => {
                let mut vectors = file.read(runs[partition])?.into_iter();
                let keys = vectors
                    .next()
                    .map(|vector| K::from_vector(&vector))
                    .unwrap_or_default();
                let mut hashes = Vec::new();
                hash_all(&keys, &mut hashes);
                let states = calls
                    .iter()
                    .map(|&n| vectors.by_ref().take(n).collect())
                    .collect();
                take(
                    &Groups {
                        keys,
                        hashes,
                        states,
                    },
                    0..range.len(),
                )
            }
        }
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
    locals: Vec<Local<K>>,
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
    Ok(Stream::new(Box::new(PartitionSource { all, next: 0 })))
}

/// Gives all groups of `locals` to `take`, on all threads.
pub fn give_away<K: KeyColumn>(
    driver: &Driver,
    grouping: &Grouping,
    locals: Vec<Local<K>>,
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
            block.visit(partition, &calls, &mut |found, range| {
                let batch_rows = worker.query.batch_rows.max(1);
                for from in range.clone().step_by(batch_rows) {
                    let to = (from + batch_rows).min(range.end);
                    let keys = found.keys.decode(&grouping.shape, from, to)?;
                    let states = found.states.iter();
                    let states: Vec<Vec<Vector>> = states
                        .map(|call| call.iter().map(|s| slice(s, from, to)).collect())
                        .collect();
                    take(worker, keys, &states)?;
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

struct PartitionSource<K> {
    all: Arc<Partitions<K>>,
    next: usize,
}

impl<K: KeyColumn> Source for PartitionSource<K> {
    fn next(&mut self, _: &Driver) -> Result<Option<Box<dyn Task>>> {
        if self.next == PARTITIONS {
            return Ok(None);
        }
        self.next += 1;
        Ok(Some(Box::new(MergeTask {
            all: Arc::clone(&self.all),
            partition: self.next - 1,
        })))
    }
}

struct MergeTask<K> {
    all: Arc<Partitions<K>>,
    partition: usize,
}

impl<K: KeyColumn> Task for MergeTask<K> {
    fn run(self: Box<Self>, worker: &Worker<'_>, emit: &mut Emit<'_>) -> Result<()> {
        let rows: usize = self
            .all
            .blocks
            .iter()
            .map(|block| block.range(self.partition).len())
            .sum();
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

/// Hash bits that tell passes apart, so that each fits its share of the memory.
fn pass_bits(query: &Query, rows: usize, state_vectors: usize) -> u32 {
    let bytes = rows.saturating_mul(48 + 16 * state_vectors);
    let share = (query.budget.limit_bytes() / MERGE_SHARE / query.threads.max(1)).max(1);
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
        NodeCounters::add(&counters.rows_out, table.len() as u64);
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
            block.visit(self.partition, &self.all.calls, &mut |found, range| {
                if bits == 0 {
                    table.find_or_insert(
                        &found.keys,
                        range.start,
                        &found.hashes[range.clone()],
                        &mut groups,
                    );
                    states.resize(table.len());
                    return states.merge(&groups, &found.states, range.start);
                }
                let of_pass = |hash: u64| hash << PARTITION_BITS >> (64 - bits) == pass;
                let members: Vec<u32> = range
                    .filter(|&i| of_pass(found.hashes[i]))
                    .map(|i| i as u32)
                    .collect();
                let hashes: Vec<u64> = members.iter().map(|&i| found.hashes[i as usize]).collect();
                table.find_or_insert(&found.keys.gather(&members), 0, &hashes, &mut groups);
                states.resize(table.len());
                let gathered =
                    |call: &Vec<Vector>| call.iter().map(|s| gather(s, &members)).collect();
                states.merge(
                    &groups,
                    &found.states.iter().map(gathered).collect::<Vec<_>>(),
                    0,
                )
            })?;
            let granted = pass_bytes_granted(worker.query, bits);
            memory.settle(table.memory_bytes() + states.memory_bytes(), granted)?;
        }
        Ok((table, states))
    }
}
