// SPDX-License-Identifier: Apache-2.0
//! A thread's own groups.

use std::sync::Arc;

use doris_storage::vector::{BytesColumn, Values, Vector};

use super::accumulate::{accumulator, Accumulator, Groups, SortedGroups};
use super::inputs::Inputs;
use super::partition::Block;
use super::passthrough_rows::PassthroughRows;
use super::Grouping;
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::exec::query::{NodeCounters, Query, Worker};
use crate::gather::gather;
use crate::group_table::{hash_all, GroupTable, NO_GROUP};
use crate::keys::KeyColumn;
use crate::memory::{MemoryBudget, Reservation};
use crate::spill::SharedSpill;

/// Rows without lookups that go out at a time, as a multiple of the groups that go out at a time.
const UNGROUPED_MULTIPLE: usize = 4;
/// With fewer rows a group than this (in eighths), lookups are given up.
const WORTHWHILE_EIGHTHS: usize = 10;
/// Once it spills, a thread keeps blocks of one part in so many of its share of the memory.
const SPILL_SHARE: usize = 4;
/// With so many rows a group in a batch, the rows are sorted by group.
const ROWS_A_SORTED_GROUP: usize = 64;
/// Combinations of dictionary codes that are looked up by number.
const CODES_MAX: usize = 64 * 1024;

/// The accumulators of all calls, in step.
pub struct States {
    accumulators: Vec<Box<dyn Accumulator>>,
    scratch: Vec<u32>,
}

impl States {
    /// Initial states of a grouping's calls.
    pub fn new(grouping: &Grouping) -> Result<Self> {
        let accumulators = grouping
            .calls
            .iter()
            .map(accumulator)
            .collect::<Result<_>>()?;
        Ok(Self {
            accumulators,
            scratch: Vec::new(),
        })
    }

    /// Makes room for groups `0..groups`.
    pub fn resize(&mut self, groups: usize) {
        self.accumulators.iter_mut().for_each(|a| a.resize(groups));
    }

    fn update(&mut self, groups: Groups<'_>, inputs: &Inputs) -> Result<()> {
        for (call, accumulator) in self.accumulators.iter_mut().enumerate() {
            let argument = inputs.argument(call);
            match (inputs.passing(call), groups) {
                (None, _) => accumulator.update(groups, argument)?,
                (Some(passing), Groups::One(_)) => {
                    accumulator.update(Groups::One(passing.len()), argument)?
                }
                (Some(passing), _) => {
                    self.scratch.clear();
                    self.scratch
                        .extend(passing.iter().map(|&row| groups.of(row as usize) as u32));
                    accumulator.update(Groups::Each(&self.scratch), argument)?;
                }
            }
        }
        Ok(())
    }

    /// Takes rows with their arguments, of which each call takes one or none.
    pub fn update_rows(
        &mut self,
        groups: &[u32],
        arguments: &[Vector],
        takes: &[Option<usize>],
    ) -> Result<()> {
        for (accumulator, argument) in self.accumulators.iter_mut().zip(takes) {
            let argument = argument.map(|argument| &arguments[argument]);
            accumulator.update(Groups::Each(groups), argument)?;
        }
        Ok(())
    }

    /// Takes the exported states of some other groups, call by call.
    pub fn merge(&mut self, groups: &[u32], states: &[Vec<Vector>], from: usize) -> Result<()> {
        let mut pairs = self.accumulators.iter_mut().zip(states);
        pairs.try_for_each(|(accumulator, states)| accumulator.merge(groups, states, from))
    }

    /// The states of `groups`, call by call.
    pub fn export(&self, groups: &[u32]) -> Vec<Vec<Vector>> {
        self.accumulators.iter().map(|a| a.export(groups)).collect()
    }

    fn clear(&mut self) {
        self.accumulators.iter_mut().for_each(|a| a.clear());
    }

    /// Bytes of memory in use.
    pub fn memory_bytes(&self) -> usize {
        self.accumulators.iter().map(|a| a.memory_bytes()).sum()
    }
}

/// Groups `from..to` of a table as output rows.
pub fn output<K: KeyColumn>(
    grouping: &Grouping,
    table: &GroupTable<K>,
    states: &States,
    from: usize,
    to: usize,
) -> Result<Batch> {
    let keys = match grouping.members.is_empty() {
        true => Vec::new(),
        false => table.keys().decode(&grouping.shape, from, to)?,
    };
    let results: Result<Vec<_>> = states
        .accumulators
        .iter()
        .map(|a| a.finish(from, to))
        .collect();
    let results = results?.into_iter().flatten().collect();
    Ok(grouping
        .output
        .arrange(&grouping.members, keys, results, to - from))
}

/// Groups found before, by dictionary codes and small numbers.
#[derive(Default)]
struct CodeCache {
    dimensions: Vec<Dimension>,
    groups: Vec<u32>,
}

/// A key column of a [`CodeCache`]: its dictionary, if it has one, and how many codes there are, one for NULL among
/// them.
struct Dimension {
    dict: Option<Arc<BytesColumn>>,
    size: usize,
}

impl Dimension {
    /// Whether codes of `other` mean what they mean here.
    fn is(&self, other: &Dimension) -> bool {
        let same_dict = match (&self.dict, &other.dict) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        same_dict && self.size == other.size
    }
}

/// How a key column tells combinations apart; `None`: neither codes nor small numbers. `before`: what it was in the
/// last batch, so that numbers do not switch between sizes.
fn dimension(column: &Vector, before: Option<&Dimension>) -> Option<Dimension> {
    match &column.values {
        Values::Dict { dict, .. } => Some(Dimension {
            dict: Some(Arc::clone(dict)),
            size: dict.len() + 1,
        }),
        Values::I32(numbers) => {
            // Negative numbers are large ones here.
            let most = numbers.iter().fold(0, |most: u32, &n| most.max(n as u32)) as usize;
            if most > CODES_MAX {
                return None;
            }
            let known = before.filter(|known| known.dict.is_none());
            let known = known.map_or(0, |known| known.size);
            Some(Dimension {
                dict: None,
                size: (most + 2).next_power_of_two().max(known),
            })
        }
        _ => None,
    }
}

/// Adds a column's codes to the combinations of the columns before it.
fn combine<T: Copy>(
    all: &mut [u32],
    codes: &[T],
    column: &Vector,
    size: usize,
    code_of: impl Fn(T) -> u32,
) {
    let size = size as u32;
    let pairs = all.iter_mut().zip(codes);
    match &column.validity {
        None => pairs.for_each(|(all, &code)| *all = *all * size + code_of(code)),
        Some(valid) => pairs.enumerate().for_each(|(row, (all, &code))| {
            let code = if valid.get(row) {
                code_of(code)
            } else {
                size - 1
            };
            *all = *all * size + code;
        }),
    }
}

/// A thread's table, states and blocks.
pub struct LocalGroups<K> {
    grouping: Arc<Grouping>,
    table: GroupTable<K>,
    states: States,
    codes: CodeCache,
    keys: K,
    hashes: Vec<u64>,
    groups: Vec<u32>,
    sorted: SortedGroups,
    /// Rows since the table was last empty.
    rows: usize,
    /// Whether lookups are given up.
    ungrouped: bool,
    /// Rows since then.
    apart: Option<PassthroughRows<K>>,
    blocks: Vec<Block<K>>,
    blocks_bytes: usize,
    spilled: Vec<Block<K>>,
    spill: Option<Arc<SharedSpill>>,
    memory: Reservation,
}

impl<K: KeyColumn> LocalGroups<K> {
    /// An empty table.
    pub fn new(grouping: &Arc<Grouping>, budget: &Arc<MemoryBudget>) -> Result<Self> {
        let mut states = States::new(grouping)?;
        if grouping.members.is_empty() {
            states.resize(1);
        }
        Ok(Self {
            grouping: Arc::clone(grouping),
            table: GroupTable::with_capacity(64),
            states,
            codes: CodeCache::default(),
            keys: K::default(),
            hashes: Vec::new(),
            groups: Vec::new(),
            sorted: SortedGroups::default(),
            rows: 0,
            ungrouped: false,
            apart: None,
            blocks: Vec::new(),
            blocks_bytes: 0,
            spilled: Vec::new(),
            spill: None,
            memory: Reservation::new(budget),
        })
    }

    /// Whether groups have gone out to blocks.
    pub fn has_blocks(&self) -> bool {
        !self.blocks.is_empty() || !self.spilled.is_empty() || self.apart.is_some()
    }

    /// Takes a batch.
    pub fn push(&mut self, worker: &Worker<'_>, inputs: &Inputs) -> Result<()> {
        if self.grouping.members.is_empty() {
            self.states.update(Groups::One(inputs.rows), inputs)?;
            return self.account(worker.query);
        }
        let columns: Vec<&Vector> = self
            .grouping
            .members
            .iter()
            .map(|&m| &*inputs.keys[m])
            .collect();
        self.grouping.shape.check_nulls(&columns)?;
        if self.ungrouped && !inputs.is_filtered() {
            self.keys
                .encode(&self.grouping.shape, &columns, inputs.rows)?;
            self.apart
                .get_or_insert_with(|| PassthroughRows::new(inputs))
                .push(&self.keys, inputs);
            return self.flush_if_full(worker.query);
        }
        if self.ungrouped || !self.group_by_codes(&columns, inputs.rows)? {
            self.keys
                .encode(&self.grouping.shape, &columns, inputs.rows)?;
            let near = !self.ungrouped
                && self
                    .table
                    .find_or_insert_near(&self.keys, self.rows, &mut self.groups);
            if !near {
                hash_all(&self.keys, &mut self.hashes);
                self.find_groups();
            }
        }
        self.states.resize(self.table.len());
        let few = self.table.len() * ROWS_A_SORTED_GROUP <= inputs.rows;
        if few && self.grouping.calls.len() > 1 {
            self.sorted.sort(&self.groups, self.table.len());
            self.states.update(Groups::Sorted(&self.sorted), inputs)?;
        } else {
            self.states.update(Groups::Each(&self.groups), inputs)?;
        }
        self.rows += inputs.rows;
        self.flush_if_full(worker.query)
    }

    /// The groups of the keys at hand, by their hashes.
    fn find_groups(&mut self) {
        match self.ungrouped {
            true => self
                .table
                .append_unindexed(&self.keys, &self.hashes, &mut self.groups),
            false => self
                .table
                .find_or_insert(&self.keys, 0, &self.hashes, &mut self.groups),
        }
    }

    /// Takes groups of another table.
    pub fn absorb(
        &mut self,
        worker: &Worker<'_>,
        keys: &[Vector],
        states: &[Vec<Vector>],
    ) -> Result<()> {
        let rows = keys.first().map_or(0, Vector::len);
        let columns: Vec<&Vector> = keys.iter().collect();
        self.keys.encode(&self.grouping.shape, &columns, rows)?;
        hash_all(&self.keys, &mut self.hashes);
        self.find_groups();
        self.states.resize(self.table.len());
        self.states.merge(&self.groups, states, 0)?;
        self.rows += rows;
        self.flush_if_full(worker.query)
    }

    /// Sends groups out once there are many, and brings the reservation up to date.
    fn flush_if_full(&mut self, query: &Query) -> Result<()> {
        let groups_max = query.local_groups
            * if self.ungrouped {
                UNGROUPED_MULTIPLE
            } else {
                1
            };
        let apart = self.apart.as_ref().map_or(0, |rows| rows.keys.len());
        if self.table.len() + apart >= groups_max {
            self.flush(query)?;
        }
        self.account(query)
    }

    /// Takes exported states of the only group there is.
    pub fn merge_only(&mut self, states: &[Vec<Vector>]) -> Result<()> {
        self.states.merge(&[0], states, 0)
    }

    /// Finds the groups through the codes of dictionary columns and through small numbers; false when these columns
    /// are not such.
    fn group_by_codes(&mut self, columns: &[&Vector], rows: usize) -> Result<bool> {
        let numbered = |column: &&Vector| !matches!(column.values, Values::Dict { .. });
        if columns.len() == 1 && columns.iter().any(numbered) {
            // One number is looked up by the table.
            return Ok(false);
        }
        let mut dimensions = Vec::with_capacity(columns.len());
        for (at, column) in columns.iter().enumerate() {
            match dimension(column, self.codes.dimensions.get(at)) {
                Some(dimension) => dimensions.push(dimension),
                None => return Ok(false),
            }
        }
        let combinations = dimensions
            .iter()
            .try_fold(1usize, |product, d| product.checked_mul(d.size));
        let combinations = match combinations {
            Some(combinations) if combinations <= CODES_MAX => combinations,
            _ => return Ok(false),
        };
        let known = &self.codes.dimensions;
        let same = known.len() == dimensions.len()
            && known
                .iter()
                .zip(&dimensions)
                .all(|(one, other)| one.is(other));
        if !same {
            self.codes.dimensions = dimensions;
            self.codes.groups.clear();
        }
        self.codes.groups.resize(combinations, NO_GROUP);
        self.combine_codes(columns, rows);
        self.look_up_new_codes(columns)?;
        for group in &mut self.groups {
            *group = self.codes.groups[*group as usize];
        }
        Ok(true)
    }

    /// Puts each row's combination of codes into `groups`.
    fn combine_codes(&mut self, columns: &[&Vector], rows: usize) {
        self.groups.clear();
        self.groups.resize(rows, 0);
        for (column, dimension) in columns.iter().zip(&self.codes.dimensions) {
            let (all, size) = (&mut self.groups, dimension.size);
            match &column.values {
                Values::Dict { codes, .. } => combine(all, codes, column, size, |code| code),
                Values::I32(numbers) => combine(all, numbers, column, size, |n| n as u32),
                _ => {}
            }
        }
    }

    /// Looks up one row of each combination not met before.
    fn look_up_new_codes(&mut self, columns: &[&Vector]) -> Result<()> {
        const LOOKED_UP: u32 = NO_GROUP - 1;
        let (mut rows, mut combinations) = (Vec::new(), Vec::new());
        for (row, &combination) in self.groups.iter().enumerate() {
            let group = &mut self.codes.groups[combination as usize];
            if *group == NO_GROUP {
                *group = LOOKED_UP;
                rows.push(row as u32);
                combinations.push(combination);
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        let some: Vec<Vector> = columns.iter().map(|column| gather(column, &rows)).collect();
        self.keys.encode(
            &self.grouping.shape,
            &some.iter().collect::<Vec<_>>(),
            rows.len(),
        )?;
        hash_all(&self.keys, &mut self.hashes);
        let mut found = Vec::new();
        self.table
            .find_or_insert(&self.keys, 0, &self.hashes, &mut found);
        for (combination, group) in combinations.into_iter().zip(found) {
            self.codes.groups[combination as usize] = group;
        }
        Ok(())
    }

    /// Sends all groups out to a block, and the rows kept apart to another.
    pub fn flush(&mut self, query: &Query) -> Result<()> {
        if let Some(rows) = self.apart.take() {
            self.add_block(Block::of_rows(rows)?);
        }
        if !self.table.is_empty() {
            if !self.ungrouped {
                self.ungrouped = self.rows * 8 < self.table.len() * WORTHWHILE_EIGHTHS;
            }
            self.add_block(Block::new(&self.table, &self.states));
            self.table.clear();
            self.states.clear();
            self.codes = CodeCache::default();
            self.rows = 0;
        }
        if self.blocks_bytes > query.budget.limit_bytes() / query.threads / SPILL_SHARE {
            self.spill_blocks(query)?;
        }
        Ok(())
    }

    fn add_block(&mut self, block: Block<K>) {
        self.blocks_bytes += block.memory_bytes();
        self.blocks.push(block);
    }

    /// Moves the blocks in memory to the spill file, if there is one.
    fn spill_blocks(&mut self, query: &Query) -> Result<()> {
        let Some(file) = &self.spill else {
            return Ok(());
        };
        if self.blocks.is_empty() {
            return Ok(());
        }
        let blocks = std::mem::take(&mut self.blocks);
        let (of_rows, of_groups): (Vec<_>, Vec<_>) =
            blocks.into_iter().partition(Block::is_of_rows);
        for alike in [of_rows, of_groups] {
            if alike.is_empty() {
                continue;
            }
            let (block, written) = Block::spill(alike, file)?;
            NodeCounters::add(&query.node(self.grouping.id).spilled_bytes, written);
            self.spilled.push(block);
        }
        self.blocks_bytes = 0;
        Ok(())
    }

    /// Brings the reservation up to date; when it is refused, everything goes to the spill store.
    fn account(&mut self, query: &Query) -> Result<()> {
        let apart = self.apart.as_ref().map_or(0, PassthroughRows::memory_bytes);
        let table = self.table.memory_bytes() + self.states.memory_bytes() + apart;
        let outcome = self.memory.resize(table + self.blocks_bytes);
        NodeCounters::raise(
            &query.node(self.grouping.id).memory_bytes,
            self.memory.bytes() as u64,
        );
        match outcome {
            // The states of the only group cannot be spilled.
            Err(Error::OutOfMemory) if self.grouping.members.is_empty() => {
                return self
                    .memory
                    .resize_with_floor(table, query.budget.working_bytes());
            }
            Err(Error::OutOfMemory) if query.spill.is_some() => {}
            other => return other,
        }
        if self.spill.is_none() {
            self.spill = Some(SharedSpill::create(query.spill.as_deref())?);
        }
        self.flush(query)?;
        self.spill_blocks(query)?;
        self.table = GroupTable::with_capacity(64);
        self.states = States::new(&self.grouping)?;
        // What the next rows need, whatever other threads and operators hold.
        self.memory
            .resize_with_floor(self.table.memory_bytes(), usize::MAX)
    }

    /// The blocks, the last groups included, and the reservation that covers them.
    pub fn into_blocks(mut self, query: &Query) -> Result<(Vec<Block<K>>, Reservation)> {
        self.flush(query)?;
        if self.spill.is_some() && query.budget.used_bytes() > query.budget.limit_bytes() / 2 {
            self.spill_blocks(query)?;
        }
        // The table goes, and merging needs its memory.
        self.memory
            .resize_with_floor(self.blocks_bytes, usize::MAX)?;
        self.blocks.append(&mut self.spilled);
        Ok((self.blocks, self.memory))
    }
}

/// Merges tables that never went out to blocks; the result as batches.
pub fn merge_small<K: KeyColumn>(
    query: &Query,
    mut locals: Vec<LocalGroups<K>>,
) -> Result<Vec<Batch>> {
    let largest = locals
        .iter()
        .enumerate()
        .max_by_key(|(_, local)| local.table.len())
        .map(|(at, _)| at);
    let Some(at) = largest else {
        return Ok(Vec::new());
    };
    let mut all = locals.swap_remove(at);
    let grouping = Arc::clone(&all.grouping);
    let mut groups = Vec::new();
    for other in locals {
        if grouping.members.is_empty() {
            groups = vec![0];
        } else {
            all.table
                .find_or_insert(other.table.keys(), 0, other.table.hashes(), &mut groups);
            all.states.resize(all.table.len());
        }
        let everything: Vec<u32> = (0..groups.len() as u32).collect();
        all.states
            .merge(&groups, &other.states.export(&everything), 0)?;
    }
    let rows = if grouping.members.is_empty() {
        1
    } else {
        all.table.len()
    };
    NodeCounters::add(&query.node(grouping.id).rows_out, rows as u64);
    let starts = (0..rows).step_by(query.batch_rows.max(1));
    starts
        .map(|from| {
            output(
                &grouping,
                &all.table,
                &all.states,
                from,
                (from + query.batch_rows).min(rows),
            )
        })
        .collect()
}
