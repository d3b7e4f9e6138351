// SPDX-License-Identifier: Apache-2.0
//! Accumulators: the states of one aggregate call for all groups, as arrays by group number.
//!
//! An accumulator takes rows ([`Accumulator::update`]), hands its states on as vectors
//! ([`Accumulator::export`]) and takes those of another ([`Accumulator::merge`]): that is how threads,
//! partitions and spill files meet. Results are PostgreSQL's:
//! - integer and numeric sums are exact, whatever the order ([`Error::NumericTooWide`] past 38 digits or so);
//! - float sums and variances depend on the order of the rows, as they do in PostgreSQL; the order here varies
//!   with the threads;
//! - what has no input rows (or only NULLs) is NULL, except counts.

mod any;
mod approx;
mod bits;
pub(crate) mod collect;
mod count;
mod decimal;
pub(crate) mod deviation;
mod distinct;
mod extreme;
pub(crate) mod moments;
mod percentile;
mod regression;
mod span;
mod sum;
mod union;

use doris_storage::vector::{Bitmap, BytesColumn, Physical, Values, Vector};

use crate::error::{Error, Result};
use crate::plan::{AggregateCall, AggregateFunction, Sketch};
use crate::sketch::{BitmapUnion, Hll};
use crate::types::DataType;

/// The group of each row of an update.
#[derive(Clone, Copy, Debug)]
pub enum Groups<'g> {
    /// All of so many rows belong to group 0.
    One(usize),
    /// Row `i` belongs to group `groups[i]`.
    Each(&'g [u32]),
    /// The same, and the rows are known group by group.
    Sorted(&'g SortedGroups),
}

/// The rows of few groups, group by group: sums then stay in a register, where a group's sum in memory would make
/// each row wait for the one before.
#[derive(Debug, Default)]
pub struct SortedGroups {
    /// The group of each row.
    pub groups: Vec<u32>,
    order: Vec<u32>,
    ends: Vec<u32>,
    /// For each group and stretch: how many rows, then where the next one goes.
    cursors: Vec<[u32; STRETCHES]>,
}

/// Rows are counted and placed in so many stretches at a time: neighbours are often of one group, and would wait for
/// each other's count.
const STRETCHES: usize = 4;

impl SortedGroups {
    /// Sorts the rows of `groups`, which are below `count`.
    pub fn sort(&mut self, groups: &[u32], count: usize) {
        self.groups.clear();
        self.groups.extend_from_slice(groups);
        self.cursors.clear();
        self.cursors.resize(count, [0; STRETCHES]);
        let stretch = groups.len() / STRETCHES;
        let (even, rest) = groups.split_at(stretch * STRETCHES);
        let stretches: [&[u32]; STRETCHES] =
            std::array::from_fn(|at| &even[at * stretch..(at + 1) * stretch]);
        let cursors = &mut self.cursors;
        for row in 0..stretch {
            for (at, groups) in stretches.iter().enumerate() {
                cursors[groups[row] as usize][at] += 1;
            }
        }
        for &group in rest {
            cursors[group as usize][STRETCHES - 1] += 1;
        }
        let mut start = 0;
        self.ends.clear();
        self.ends.extend(cursors.iter_mut().map(|cursors| {
            for cursor in cursors {
                (*cursor, start) = (start, start + *cursor);
            }
            start
        }));
        self.order.clear();
        self.order.resize(groups.len(), 0);
        let (order, first_of_rest) = (&mut self.order, even.len());
        for row in 0..stretch {
            for (at, groups) in stretches.iter().enumerate() {
                let cursor = &mut cursors[groups[row] as usize][at];
                order[*cursor as usize] = (at * stretch + row) as u32;
                *cursor += 1;
            }
        }
        for (row, &group) in rest.iter().enumerate() {
            let cursor = &mut cursors[group as usize][STRETCHES - 1];
            order[*cursor as usize] = (first_of_rest + row) as u32;
            *cursor += 1;
        }
    }

    /// The groups with their rows.
    pub fn runs(&self) -> impl Iterator<Item = (usize, &[u32])> {
        let mut start = 0;
        self.ends.iter().enumerate().map(move |(group, &end)| {
            let rows = &self.order[start as usize..end as usize];
            start = end;
            (group, rows)
        })
    }
}

impl Groups<'_> {
    /// The group of a row.
    #[inline]
    pub fn of(&self, row: usize) -> usize {
        match self {
            Groups::One(_) => 0,
            Groups::Each(groups) => groups[row] as usize,
            Groups::Sorted(sorted) => sorted.groups[row] as usize,
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Groups::One(rows) => *rows,
            Groups::Each(groups) => groups.len(),
            Groups::Sorted(sorted) => sorted.groups.len(),
        }
    }
}

/// The states of one aggregate call.
pub trait Accumulator: Send {
    /// Makes room for groups `0..groups`; new ones are in their initial state.
    fn resize(&mut self, groups: usize);
    /// Takes rows: `argument` is dense over the rows of `groups`.
    fn update(&mut self, groups: Groups<'_>, argument: Option<&Vector>) -> Result<()>;
    /// Takes exported states: those at `from..from + groups.len()` go to `groups`.
    fn merge(&mut self, groups: &[u32], states: &[Vector], from: usize) -> Result<()>;
    /// The states of `groups`, in that order.
    fn export(&self, groups: &[u32]) -> Vec<Vector>;
    /// The results of groups `from..to`.
    fn finish(&self, from: usize, to: usize) -> Result<Vec<Vector>>;
    /// Back to no groups, keeping the memory.
    fn clear(&mut self);
    /// Bytes of memory in use, roughly.
    fn memory_bytes(&self) -> usize;
}

/// The states of some groups as one column of bytes. `push` appends a group's.
fn byte_states(groups: &[u32], push: impl Fn(usize, &mut Vec<u8>)) -> Vec<Vector> {
    let mut column = BytesColumn::default();
    let mut state = Vec::new();
    for &group in groups {
        state.clear();
        push(group as usize, &mut state);
        column.push(&state);
    }
    vec![Vector {
        values: Values::Bytes(column),
        validity: None,
    }]
}

/// Makes the accumulator of a call.
pub fn accumulator(call: &AggregateCall) -> Result<Box<dyn Accumulator>> {
    let argument = call.argument.as_ref().map(|expr| expr.data_type());
    if call.function == AggregateFunction::CountStar {
        return Ok(Box::new(count::Count::default()));
    }
    let argument = argument.ok_or_else(|| Error::internal("an aggregate without its argument"))?;
    if let AggregateFunction::Collect { result, distinct } = call.function {
        return collect::collect(call, result, distinct);
    }
    let plain = plain_accumulator(call.function, argument)?;
    use AggregateFunction::*;
    match call.function {
        // These give the same answer with and without DISTINCT.
        Min | Max | BoolAnd | BoolOr | BitAnd | BitOr | Any | Same => Ok(plain),
        _ if call.distinct => distinct::distinct(argument, plain),
        _ => Ok(plain),
    }
}

fn plain_accumulator(function: AggregateFunction, t: DataType) -> Result<Box<dyn Accumulator>> {
    use AggregateFunction::*;
    let integer = t.is_integer();
    let exact = integer || matches!(t, DataType::Numeric { .. });
    Ok(match function {
        CountStar | Count => Box::new(count::Count::default()),
        Sum if matches!(t, DataType::Int2 | DataType::Int4) => Box::new(sum::SumInt::default()),
        Sum | Avg if t == DataType::Decimal => Box::new(decimal::SumDecimal::new(function == Avg)),
        Min if t == DataType::Decimal => Box::new(decimal::One::new(decimal::Keep::Least)),
        Max if t == DataType::Decimal => Box::new(decimal::One::new(decimal::Keep::Greatest)),
        Same if t == DataType::Decimal => Box::new(decimal::One::new(decimal::Keep::Same)),
        Sum | Avg if t == DataType::Interval => Box::new(span::SumSpan::new(function == Avg)),
        Min | Max if t == DataType::Interval => Box::new(span::ExtremeSpan::new(function == Max)),
        Sum if exact => Box::new(sum::SumWide::new(false)),
        Sum if t == DataType::Float4 => Box::new(sum::SumF32::default()),
        Sum if t == DataType::Float8 => Box::new(sum::SumF64::default()),
        Avg if exact => Box::new(sum::SumWide::new(true)),
        Avg if t.is_float() => Box::new(moments::FloatMoments::new(Avg)),
        VarPop | VarSamp | StddevPop | StddevSamp if exact || t == DataType::Decimal => {
            Box::new(deviation::Deviation::new(function, t))
        }
        VarPop | VarSamp | StddevPop | StddevSamp if t.is_float() => {
            Box::new(moments::FloatMoments::new(function))
        }
        Regression(wanted) if t.physical() == Physical::Fixed(regression::PAIR_BYTES) => {
            Box::new(regression::Fits::new(wanted))
        }
        BoolAnd | BoolOr if t == DataType::Bool => bits::bits(function, Physical::Bool)?,
        BitAnd | BitOr | BitXor if integer => bits::bits(function, t.physical())?,
        PercentileCont(_)
        | PercentileDisc(_)
        | Mode
        | PercentileContDesc(_)
        | PercentileDiscDesc(_)
        | ModeDesc => percentile::percentile(function, t)?,
        ApproxDistinct(hash) if integer || matches!(t, DataType::Text { .. }) => {
            Box::new(approx::Approx::new(hash))
        }
        Union(sketch) | UnionCount(sketch) if t.physical() == Physical::Bytes => {
            let counted = matches!(function, UnionCount(_));
            match sketch {
                Sketch::Bitmap => Box::new(union::Unions::<BitmapUnion>::new(counted)),
                Sketch::Hll => Box::new(union::Unions::<Hll>::new(counted)),
            }
        }
        Min | Max if is_ordered(t) => extreme::extreme(function == Max, t)?,
        Any => Box::new(any::Any::new(t.physical())),
        _ => return Err(Error::not_native(format!("{function:?} of {t}"))),
    })
}

/// Whether `min` and `max` of the type follow the order of its values here.
fn is_ordered(t: DataType) -> bool {
    match t {
        DataType::Text { collation } | DataType::Bpchar { collation } => collation.is_ordered(),
        DataType::Bool | DataType::Interval | DataType::Opaque { .. } => false,
        _ => true,
    }
}

/// Calls `take(group, row)` for each row whose argument is not NULL.
#[inline(always)]
fn each_valid(groups: Groups<'_>, validity: Option<&Bitmap>, mut take: impl FnMut(usize, usize)) {
    let groups = match groups {
        Groups::Sorted(sorted) => Groups::Each(&sorted.groups),
        other => other,
    };
    match (groups, validity) {
        (Groups::Sorted(_), _) => {}
        (Groups::One(rows), None) => (0..rows).for_each(|row| take(0, row)),
        (Groups::One(rows), Some(valid)) => (0..rows)
            .filter(|&row| valid.get(row))
            .for_each(|row| take(0, row)),
        (Groups::Each(groups), None) => groups
            .iter()
            .enumerate()
            .for_each(|(row, &g)| take(g as usize, row)),
        (Groups::Each(groups), Some(valid)) => groups.iter().enumerate().for_each(|(row, &g)| {
            if valid.get(row) {
                take(g as usize, row);
            }
        }),
    }
}

/// Like [`each_valid`], stopping at the first error.
#[inline(always)]
fn try_each_valid(
    groups: Groups<'_>,
    validity: Option<&Bitmap>,
    mut take: impl FnMut(usize, usize) -> Result<()>,
) -> Result<()> {
    let valid = |row: usize| validity.is_none_or(|v| v.get(row));
    match groups {
        Groups::One(rows) => (0..rows)
            .filter(|&row| valid(row))
            .try_for_each(|row| take(0, row)),
        Groups::Sorted(sorted) => try_each_valid(Groups::Each(&sorted.groups), validity, take),
        Groups::Each(groups) => {
            let mut rows = groups.iter().enumerate().filter(|(row, _)| valid(*row));
            rows.try_for_each(|(row, &group)| take(group as usize, row))
        }
    }
}

/// The argument, which all but `count(*)` have.
fn required(argument: Option<&Vector>) -> Result<&Vector> {
    argument.ok_or_else(|| Error::internal("an aggregate without its argument"))
}

fn wrong_layout() -> Error {
    Error::internal("an aggregate's argument or state has an unexpected layout")
}

/// The validity of groups that have seen a value.
fn seen_bits(seen: &[u8]) -> Option<Bitmap> {
    seen.contains(&0)
        .then(|| Bitmap::from_bools(seen.iter().map(|&s| s != 0)))
}

fn pick<T: Copy>(values: &[T], groups: &[u32]) -> Vec<T> {
    groups.iter().map(|&g| values[g as usize]).collect()
}

#[cfg(test)]
mod tests;
