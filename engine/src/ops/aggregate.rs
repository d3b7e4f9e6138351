// SPDX-License-Identifier: Apache-2.0
//! Grouping and aggregation, in two phases.
//!
//! ```text
//! rows --> local table of each thread --(small)-------------------> merged --> batches
//!               |  full: all groups go out, by hash bits
//!               v
//!          blocks of (keys, hashes, states), ordered by partition, in memory or spilled
//!               |  one task a partition: a table that fits the cache
//!               v
//!          merged partition --> batches, on the thread that merged it
//! ```
//! A local table holds what stays in the second-level cache. Where nearly every row is a group of its own it is
//! pointless, and rows go to blocks without a lookup, with their arguments in place of states. Groups come out in no
//! particular order.
//!
//! In the order data travels: `inputs` evaluates keys and arguments, `thread_local_groups` is the thread's table,
//! `passthrough_rows` what goes out without a lookup, `partition` the blocks and their merging, `dictionary_keys`
//! numbers text keys, `accumulate` the states of aggregate functions; `rewrite` makes simpler aggregations of some.

mod rewrite;

mod inputs;

mod thread_local_groups;

mod passthrough_rows;

mod dictionary_keys;

mod partition;

pub mod accumulate;

use std::sync::{Arc, Mutex, PoisonError};

use doris_storage::vector::{Values, Vector};

use self::inputs::{Inputs, Slots};
use self::rewrite::Rewritten;
use self::thread_local_groups::LocalGroups;
use crate::batch::{Batch, Selection};
use crate::error::{Error, Result};
use crate::exec::driver::{lock, Driver};
use crate::exec::executor::{Opening, Wanted};
use crate::exec::per_thread::PerThread;
use crate::exec::query::{Chunk, NodeCounters, Worker};
use crate::exec::stream::{Emit, Held, Stage, Stream, Tasks};
use crate::expr::{Expr, ExprKind};
use crate::gather::nulls;
use crate::keys::{ByteKeys, KeyColumn, KeyShape, WordKeys};
use crate::memory::Reservation;
use crate::metadata_aggregates::Totals;
use crate::ops::filter_project::Project;
use crate::plan::{Aggregate, AggregateCall, AggregateFunction, GroupKey};
use crate::types::DataType;

/// What all threads know of one grouping.
#[derive(Clone)]
pub(crate) struct Grouping {
    id: u32,
    shape: KeyShape,
    calls: Vec<AggregateCall>,
    /// Which of the inputs' key columns take part.
    members: Vec<usize>,
    /// How output columns are made of key columns and results.
    output: Output,
}

/// The columns around the results, in an aggregation's output: with grouping sets, NULLs for absent keys and the set's
/// number.
#[derive(Clone)]
struct Output {
    key_types: Vec<DataType>,
    set_number: Option<i32>,
}

impl Output {
    /// Output columns from the columns of the keys that take part and the results.
    fn arrange(
        &self,
        members: &[usize],
        keys: Vec<Vector>,
        results: Vec<Vector>,
        rows: usize,
    ) -> Batch {
        let mut keys: Vec<Option<Vector>> = keys.into_iter().map(Some).collect();
        let mut columns = Vec::with_capacity(self.key_types.len() + results.len() + 1);
        for (number, t) in self.key_types.iter().enumerate() {
            let at = members.iter().position(|&member| member == number);
            let column = at.and_then(|at| keys[at].take());
            columns.push(column.unwrap_or_else(|| nulls(t.physical(), rows)));
        }
        columns.extend(results);
        if let Some(number) = self.set_number {
            columns.push(Vector {
                values: Values::I32(vec![number; rows]),
                validity: None,
            });
        }
        Batch::new(columns.into_iter().map(Arc::new).collect(), rows)
    }
}

/// A grouping that takes rows on all threads; hides the shape of its keys.
trait Grouper: Send + Sync {
    fn push(&self, worker: &Worker<'_>, inputs: &Inputs) -> Result<()>;
    /// Takes the states of the only group.
    fn merge(&self, driver: &Driver, states: &[Vec<Vector>]) -> Result<()>;
    /// Takes groups of another grouper: their keys' columns, and their states call by call.
    fn absorb(&self, worker: &Worker<'_>, keys: &[Vector], states: &[Vec<Vector>]) -> Result<()>;
    /// Gives all groups away instead of finishing them.
    fn give_away(self: Box<Self>, driver: &Driver, take: &TakeGroups<'_>) -> Result<()>;
    fn finish(self: Box<Self>, driver: &Driver) -> Result<Stream>;
}

/// Takes keys and states of some groups, on any thread.
type TakeGroups<'t> = dyn Fn(&Worker<'_>, Vec<Vector>, &[Vec<Vector>]) -> Result<()> + Sync + 't;

/// One grouping's thread-local tables.
struct HashGrouper<K> {
    grouping: Arc<Grouping>,
    /// Tables that no thread is using at the moment.
    idle: PerThread<LocalGroups<K>>,
}

impl<K: KeyColumn> Grouper for HashGrouper<K> {
    fn push(&self, worker: &Worker<'_>, inputs: &Inputs) -> Result<()> {
        let mut local = match self.idle.take() {
            Some(local) => local,
            None => LocalGroups::new(&self.grouping, &worker.query.budget)?,
        };
        local.push(worker, inputs)?;
        self.idle.put(local);
        Ok(())
    }

    fn merge(&self, driver: &Driver, states: &[Vec<Vector>]) -> Result<()> {
        let mut local = match self.idle.take_any() {
            Some(local) => local,
            None => LocalGroups::new(&self.grouping, &driver.query.budget)?,
        };
        local.merge_only(states)?;
        self.idle.put(local);
        Ok(())
    }

    fn absorb(&self, worker: &Worker<'_>, keys: &[Vector], states: &[Vec<Vector>]) -> Result<()> {
        let mut local = match self.idle.take() {
            Some(local) => local,
            None => LocalGroups::new(&self.grouping, &worker.query.budget)?,
        };
        local.absorb(worker, keys, states)?;
        self.idle.put(local);
        Ok(())
    }

    fn give_away(self: Box<Self>, driver: &Driver, take: &TakeGroups<'_>) -> Result<()> {
        let locals = self.idle.take_all();
        partition::give_away(driver, &self.grouping, locals, take)
    }

    fn finish(self: Box<Self>, driver: &Driver) -> Result<Stream> {
        let mut locals = self.idle.take_all();
        if locals.is_empty() {
            if !self.grouping.members.is_empty() {
                return Ok(Stream::empty());
            }
            locals.push(LocalGroups::new(&self.grouping, &driver.query.budget)?);
        }
        if locals.iter().any(LocalGroups::has_blocks) {
            return partition::open(driver, self.grouping, locals);
        }
        let batches = thread_local_groups::merge_small(&driver.query, locals)?;
        Ok(Stream::new(Box::new(Tasks::of_batches(batches))))
    }
}

fn plain_grouper(grouping: Grouping) -> Box<dyn Grouper> {
    fn of<K: KeyColumn>(grouping: Grouping) -> Box<dyn Grouper> {
        Box::new(HashGrouper::<K> {
            grouping: Arc::new(grouping),
            idle: PerThread::default(),
        })
    }
    match grouping.shape.words() {
        Some(1) => of::<WordKeys<1>>(grouping),
        Some(2) => of::<WordKeys<2>>(grouping),
        Some(3) => of::<WordKeys<3>>(grouping),
        Some(4) => of::<WordKeys<4>>(grouping),
        _ => of::<ByteKeys>(grouping),
    }
}

/// Runs a plan's aggregation and returns the stream of its groups. `wanted`: filters on its input.
pub fn open_plan(
    opening: &mut Opening<'_>,
    id: u32,
    plan: &Aggregate,
    wanted: &[Wanted],
) -> Result<Stream> {
    let driver = opening.driver;
    let sets = plan.grouping_sets.as_deref();
    let rewritten = match sets {
        None => rewrite::rewrite(&plan.keys, &plan.calls, None)?,
        Some(sets) => rewrite::rewrite_sets(&plan.keys, &plan.calls, sets)?,
    };
    let (keys, calls) = match &rewritten {
        Some(new) => (&new.keys, &new.calls),
        None => (&plan.keys, &plan.calls),
    };
    let sets = sets.map(|members| Sets {
        members,
        values: rewritten.as_ref().map_or(&[], |new| &new.values),
    });
    let ungrouped = keys.is_empty() && sets.is_none();
    let totals = ungrouped.then(|| Totals::of(calls, &plan.input)).flatten();
    let stream = match totals {
        Some(totals) => {
            let totals = Arc::new(totals);
            let input = opening.open_summarized(&plan.input, &totals)?;
            open_with_totals(driver, id, input, keys, calls, None, Some(&totals))?
        }
        None => {
            let input = match calls.iter().all(AggregateCall::is_of_values) {
                true => opening.open_values(&plan.input, wanted)?,
                false => opening.open(&plan.input, wanted)?,
            };
            open_with_totals(driver, id, input, keys, calls, sets, None)?
        }
    };
    finished(driver, id, stream, calls, rewritten.as_ref())
}

/// The columns that were asked for, over those of what ran in their place.
fn finished(
    driver: &Driver,
    id: u32,
    stream: Stream,
    calls: &[AggregateCall],
    rewritten: Option<&Rewritten>,
) -> Result<Stream> {
    let stream = match calls.iter().any(finds_out_late) {
        true => collected(driver, stream)?,
        false => stream,
    };
    Ok(match rewritten {
        Some(new) => {
            let exprs = new.output.clone();
            stream.through(Arc::new(Project { id, exprs }))
        }
        None => stream,
    })
}

/// Runs an aggregation by keys of any type that has an order. `seen`: the rows whose keys may be shown.
pub(crate) fn open_any(
    driver: &Driver,
    id: u32,
    input: Stream,
    keys: &[GroupKey],
    calls: &[AggregateCall],
    seen: Option<&Expr>,
) -> Result<Stream> {
    let Some(new) = rewrite::rewrite(keys, calls, seen)? else {
        return open(driver, id, input, keys, calls, None);
    };
    let stream = open(driver, id, input, &new.keys, &new.calls, None)?;
    finished(driver, id, stream, &new.calls, Some(&new))
}

/// Grouping sets: for each, which keys take part.
#[derive(Clone, Copy)]
struct Sets<'s> {
    members: &'s [Vec<usize>],
    /// Calls that find the value of a key, with the key's number.
    values: &'s [(usize, usize)],
}

impl Sets<'_> {
    /// The calls of a set: the value of an absent key is any, since nobody sees it.
    fn calls(&self, calls: &[AggregateCall], members: &[usize]) -> Vec<AggregateCall> {
        let mut calls = calls.to_vec();
        for (number, call) in calls.iter_mut().enumerate() {
            let mut keys = self.values.iter().filter(|(call, _)| *call == number);
            let is_value = keys.clone().next().is_some();
            if is_value && !keys.any(|(_, key)| members.contains(key)) {
                call.function = AggregateFunction::Any;
            }
        }
        calls
    }
}

/// Whether a call may have to leave the answer to PostgreSQL when groups of several threads meet: no group may be
/// handed out before all have.
fn finds_out_late(call: &AggregateCall) -> bool {
    use AggregateFunction::{Avg, Max, Min, Same, Sum};
    let argument = call.argument.as_ref().map(Expr::data_type);
    let picks = matches!(call.function, Min | Max | Same);
    match argument {
        Some(DataType::Decimal) => picks || call.distinct,
        Some(DataType::Interval) => matches!(call.function, Sum | Avg),
        _ => false,
    }
}

/// A stream of what another gives, all of which has been computed.
fn collected(driver: &Driver, stream: Stream) -> Result<Stream> {
    let batches = Mutex::new((Vec::new(), Reservation::new(&driver.query.budget)));
    stream.drain(driver, &|_, chunk: Chunk| {
        let batch = chunk.into_batch();
        let bytes: usize = batch.columns.iter().map(|c| c.memory_bytes()).sum();
        let mut held = lock(&batches);
        held.1.grow(bytes)?;
        held.0.push(batch);
        Ok(())
    })?;
    let (batches, memory) = batches.into_inner().unwrap_or_else(PoisonError::into_inner);
    let tasks = Tasks::of_batches(batches);
    Ok(Stream::new(Box::new(Held(tasks, memory))))
}

/// Runs an aggregation over `input` and returns the stream of its groups.
pub fn open(
    driver: &Driver,
    id: u32,
    input: Stream,
    keys: &[GroupKey],
    calls: &[AggregateCall],
    sets: Option<&[Vec<usize>]>,
) -> Result<Stream> {
    let values = &[];
    let sets = sets.map(|members| Sets { members, values });
    open_with_totals(driver, id, input, keys, calls, sets, None)
}

fn open_with_totals(
    driver: &Driver,
    id: u32,
    input: Stream,
    keys: &[GroupKey],
    calls: &[AggregateCall],
    sets: Option<Sets<'_>>,
    totals: Option<&Totals>,
) -> Result<Stream> {
    if let (Some(argument), None) = (lone_distinct_argument(calls), sets) {
        return open_distinct(driver, id, input, keys, calls, argument);
    }
    let all: Vec<usize> = (0..keys.len()).collect();
    let mut groupers = Vec::new();
    let members = sets.map_or(std::slice::from_ref(&all), |sets| sets.members);
    for (number, members) in members.iter().enumerate() {
        let types: Vec<DataType> = members.iter().map(|&m| keys[m].expr.data_type()).collect();
        let nullable: Vec<bool> = members.iter().map(|&m| keys[m].nullable).collect();
        let output = Output {
            key_types: keys.iter().map(|key| key.expr.data_type()).collect(),
            set_number: sets.map(|_| number as i32),
        };
        let shape = KeyShape::new(&types, &nullable)?;
        // Sets' columns may be absent, which numbers cannot say.
        let grouper = if sets.is_some() {
            plain_grouper
        } else {
            dictionary_keys::grouper
        };
        groupers.push(grouper(Grouping {
            id,
            shape,
            calls: sets.map_or_else(|| calls.to_vec(), |sets| sets.calls(calls, members)),
            members: members.clone(),
            output,
        }));
    }
    let slots = Slots::new(keys, calls);
    input.drain(driver, &|worker, chunk: Chunk| {
        let counters = worker.query.node(id);
        NodeCounters::add(&counters.rows_in, chunk.rows() as u64);
        NodeCounters::add(&counters.batches, 1);
        counters.timed(|| {
            let inputs = slots.evaluate(worker, &chunk)?;
            groupers
                .iter()
                .try_for_each(|grouper| grouper.push(worker, &inputs))
        })
    })?;
    if let Some(states) = totals
        .map(|totals| totals.states(calls))
        .transpose()?
        .flatten()
    {
        groupers
            .iter()
            .try_for_each(|grouper| grouper.merge(driver, &states))?;
    }
    groupers
        .into_iter()
        .try_fold(Stream::empty(), |stream, grouper| {
            Ok(stream.then(grouper.finish(driver)?))
        })
}

/// The argument, when all calls are DISTINCT over the same one and have no FILTER.
fn lone_distinct_argument(calls: &[AggregateCall]) -> Option<&Expr> {
    let first = calls.first()?.argument.as_ref()?;
    let alike = |call: &AggregateCall| {
        let same = call
            .argument
            .as_ref()
            .is_some_and(|argument| inputs::same(argument, first));
        call.distinct && call.filter.is_none() && same
    };
    let has_key = KeyShape::new(&[first.data_type()], &[true]).is_ok();
    (calls.iter().all(alike) && has_key).then_some(first)
}

/// Lets rows through that are not NULL in a column.
struct Present(usize);

impl Stage for Present {
    fn push(&self, _: &Worker<'_>, mut chunk: Chunk, emit: &mut Emit<'_>) -> Result<()> {
        let valid = chunk.batch.columns[self.0].validity.as_ref();
        if let Some(valid) = valid.filter(|valid| valid.count_ones() < valid.len()) {
            let selection = chunk.selection.iter().filter(|&row| valid.get(row));
            chunk.selection = Selection::Indices(selection.map(|row| row as u32).collect());
        }
        match chunk.selection.is_empty() {
            true => Ok(()),
            false => emit(chunk),
        }
    }
}

/// Distinct (keys, argument) first, which partitions well whatever the number of groups; then the aggregation.
fn open_distinct(
    driver: &Driver,
    id: u32,
    input: Stream,
    keys: &[GroupKey],
    calls: &[AggregateCall],
    argument: &Expr,
) -> Result<Stream> {
    let mut inner = keys.to_vec();
    // Without keys nobody misses a NULL.
    let lone = match argument.kind() {
        ExprKind::Column(column) if keys.is_empty() => Some(*column),
        _ => None,
    };
    let input = match lone {
        Some(column) => input.through(Arc::new(Present(column))),
        None => input,
    };
    inner.push(GroupKey {
        expr: argument.clone(),
        nullable: lone.is_none(),
    });
    let pairs = open(driver, id, input, &inner, &[], None)?;
    let column = |number: usize, expr: &Expr| Expr::column(number, expr.data_type());
    let outer: Vec<GroupKey> = (keys.iter().enumerate())
        .map(|(number, key)| GroupKey {
            expr: column(number, &key.expr),
            nullable: key.nullable,
        })
        .collect();
    let plain = |call: &AggregateCall| AggregateCall {
        argument: Some(column(keys.len(), argument)),
        distinct: false,
        ..call.clone()
    };
    let plain: Vec<AggregateCall> = calls.iter().map(plain).collect();
    open(driver, id, pairs, &outer, &plain, None)
}

/// Runs SELECT DISTINCT over all columns of `input`.
pub fn open_distinct_rows(
    driver: &Driver,
    id: u32,
    input: Stream,
    types: &[DataType],
) -> Result<Stream> {
    let key = |(number, &t): (usize, &DataType)| GroupKey {
        expr: Expr::column(number, t),
        nullable: true,
    };
    let keys: Vec<GroupKey> = types.iter().enumerate().map(key).collect();
    if keys.is_empty() {
        return Err(Error::not_native("DISTINCT of no columns"));
    }
    open_any(driver, id, input, &keys, &[], None)
}

/// Whether the aggregate can run here; the planner's check.
pub fn check(call: &AggregateCall) -> Result<()> {
    if call.function == AggregateFunction::CountStar && call.distinct {
        return Err(Error::not_native("count(DISTINCT *)"));
    }
    accumulate::accumulator(call).map(|_| ())
}

#[cfg(test)]
mod tests;
