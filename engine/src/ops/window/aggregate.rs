// SPDX-License-Identifier: Apache-2.0
//! Aggregates of frames.
//!
//! Exact ones (counts, sums of integers and numerics) are differences of sums from the partition run's start. Floats
//! are added in the order of the rows, from the frame's first row on, as PostgreSQL adds them: rounding depends
//! on it. The extremes of frames without exclusions come from a queue of candidates. Sums of numerics that carry their
//! scale, and exact variances, follow the frame: values come and go ([`Moving`]).

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::ops::Range;

use doris_storage::vector::{Bitmap, Values, Vector};

use super::frame::{self, Rows};
use super::partition_run::{Inputs, Partition, PartitionRun};
use crate::decimal::numeric_accumulator::Moving;
use crate::decimal::{Number, View};
use crate::error::{Error, OutOfRange, Result};
use crate::exec::query::Query;
use crate::gather::{gather_or_null, NO_ROW};
use crate::memory;
use crate::ops::aggregate::accumulate::deviation::{nullable, number_at};
use crate::ops::aggregate::accumulate::moments::Moments;
use crate::plan::{AggregateFunction, Exclude, Frame, WindowCall};
use crate::types::{Collation, DataType};

/// Whether a frame's aggregate can be computed here.
pub fn check(function: AggregateFunction, call: &WindowCall) -> Result<()> {
    use AggregateFunction::*;
    let argument = call.argument.as_ref().map(|argument| argument.data_type());
    let number = |t: DataType| t.is_integer() || t.is_float() || t.is_numeric();
    let ordered = |t: DataType| match t {
        DataType::Text { collation } => collation.is_ordered(),
        DataType::Date | DataType::Time | DataType::Timestamp | DataType::TimestampTz => true,
        other => number(other),
    };
    let fits = match (function, argument) {
        (CountStar, None) | (Count, Some(_)) => true,
        (Collect { distinct, .. }, Some(_)) => !distinct,
        (Sum | Avg, Some(t)) => number(t),
        (Min | Max, Some(t)) => ordered(t),
        (BoolAnd | BoolOr, Some(t)) => t == DataType::Bool,
        (BitAnd | BitOr | BitXor, Some(t)) => t.is_integer(),
        (VarPop | VarSamp | StddevPop | StddevSamp, Some(t)) => number(t),
        _ => false,
    };
    match fits {
        true => Ok(()),
        false => Err(Error::not_native(format!("{function:?} in a window"))),
    }
}

/// The results of an aggregate.
pub fn compute(
    function: AggregateFunction,
    partition_run: &PartitionRun,
    frame: &Frame,
    inputs: &Inputs,
    call: &WindowCall,
    query: &Query,
) -> Result<Vec<Vector>> {
    use AggregateFunction::*;
    let frames = Frames {
        query,
        partition_run,
        frame,
        seen: inputs.seen.as_ref(),
    };
    let argument = || {
        let argument = inputs.argument.as_ref();
        argument.ok_or_else(|| Error::internal("an aggregate without its argument"))
    };
    match function {
        CountStar | Count => Ok(vec![plain(Values::I64(frames.counts(&|_| true)))]),
        BoolAnd | BoolOr => Ok(vec![frames.booleans(argument()?, function == BoolAnd)?]),
        Min | Max => {
            let t = call.argument.as_ref().map(|a| a.data_type());
            let collation = t.and_then(DataType::collation).unwrap_or(Collation::C);
            let argument = argument()?;
            let order = |a: usize, b: usize| match t {
                Some(DataType::Decimal) => {
                    let view = |row| View::new(argument.bytes(row).unwrap_or_default());
                    view(a).compare(&view(b))
                }
                _ => compare(argument, collation, a, b),
            };
            frames.extremes(argument, order, function == Max)
        }
        BitAnd | BitOr | BitXor => frames.bits(argument()?, function),
        _ => match call.argument.as_ref().map(|a| a.data_type()) {
            Some(DataType::Float4) if function == Sum => frames.float_sums(argument()?),
            Some(t) if t.is_float() => frames.float_moments(argument()?, function),
            Some(t) if t == DataType::Decimal || !matches!(function, Sum | Avg) => {
                frames.moving(argument()?, function, t)
            }
            Some(t) => frames.sums(argument()?, function == Avg, narrow(t)),
            None => Err(Error::internal("a sum without its argument")),
        },
    }
}

fn narrow(t: DataType) -> bool {
    matches!(t, DataType::Int2 | DataType::Int4)
}

fn plain(values: Values) -> Vector {
    Vector {
        values,
        validity: None,
    }
}

fn wrong_layout() -> Error {
    Error::internal("a window aggregate's argument has an unexpected layout")
}

/// The frames of a partition run's rows.
struct Frames<'s> {
    query: &'s Query,
    partition_run: &'s PartitionRun,
    frame: &'s Frame,
    /// The rows that count; `None`: all.
    seen: Option<&'s Bitmap>,
}

impl Frames<'_> {
    fn counts_row(&self, row: usize) -> bool {
        self.seen.is_none_or(|seen| seen.get(row))
    }

    fn each(&self, mut take: impl FnMut(&Partition, usize) -> Result<()>) -> Result<()> {
        for partition in &self.partition_run.partitions {
            for row in partition.rows.clone() {
                // A row's frame may hold many.
                self.query.check()?;
                take(partition, row)?;
            }
        }
        Ok(())
    }

    fn rows(&self, partition: &Partition, row: usize) -> Rows {
        frame::rows(self.frame, self.partition_run, partition, row)
    }

    /// For each row, the number of rows of its frame that count and that `pick` takes.
    fn counts(&self, pick: &dyn Fn(usize) -> bool) -> Vec<i64> {
        let mut before = memory::room(self.partition_run.rows + 1);
        let mut total = 0i64;
        before.push(0);
        for row in 0..self.partition_run.rows {
            total += i64::from(self.counts_row(row) && pick(row));
            before.push(total);
        }
        let mut out = memory::room(self.partition_run.rows);
        for partition in &self.partition_run.partitions {
            for row in partition.rows.clone() {
                let ranges = self.rows(partition, row).0;
                out.push(ranges.iter().map(|r| before[r.end] - before[r.start]).sum());
            }
        }
        out
    }

    fn booleans(&self, argument: &Vector, all: bool) -> Result<Vector> {
        let Values::Bool(values) = &argument.values else {
            return Err(wrong_layout());
        };
        let counts = self.counts(&|_| true);
        let decisive = self.counts(&|row| (values[row] != 0) != all);
        let value = |n: &i64| u8::from((*n > 0) != all);
        Ok(Vector {
            values: Values::Bool(decisive.iter().map(value).collect()),
            validity: seen_bits(&counts),
        })
    }

    /// `bit_and` and its like, which cannot take rows back.
    fn bits(&self, argument: &Vector, function: AggregateFunction) -> Result<Vec<Vector>> {
        let mut results: Vec<Option<i64>> = memory::room(self.partition_run.rows);
        self.folds(
            |state: &mut Option<i64>, row| {
                let value = integer(argument, row)? as i64;
                *state = Some(match (*state, function) {
                    (None, _) => value,
                    (Some(old), AggregateFunction::BitAnd) => old & value,
                    (Some(old), AggregateFunction::BitOr) => old | value,
                    (Some(old), _) => old ^ value,
                });
                Ok(())
            },
            |state| results.push(*state),
        )?;
        let seen = Bitmap::from_bools(results.iter().map(Option::is_some));
        let results = results.into_iter().map(Option::unwrap_or_default);
        let values = match &argument.values {
            Values::I16(_) => Values::I16(results.map(|x| x as i16).collect()),
            Values::I32(_) => Values::I32(results.map(|x| x as i32).collect()),
            _ => Values::I64(results.collect()),
        };
        Ok(vec![Vector {
            values,
            validity: Some(seen),
        }])
    }

    /// Exact sums, with the counts for averages.
    fn sums(&self, argument: &Vector, average: bool, narrow: bool) -> Result<Vec<Vector>> {
        let mut before: Vec<i128> = memory::room(self.partition_run.rows + 1);
        let mut total = 0i128;
        before.push(0);
        let mut partitions = self.partition_run.partitions.iter().map(|p| p.rows.start);
        let mut next = partitions.next();
        for row in 0..self.partition_run.rows {
            if next == Some(row) {
                // No frame reaches across partitions, and small sums do not overflow.
                next = partitions.next();
                total = 0;
            }
            if self.counts_row(row) {
                let value = integer(argument, row)?;
                total = total.checked_add(value).ok_or(Error::NumericTooWide)?;
            }
            before.push(total);
        }
        let counts = self.counts(&|_| true);
        let sums = self.differences(&before)?;
        let validity = seen_bits(&counts);
        let values = match narrow && !average {
            true => Values::I64(
                sums.into_iter()
                    .map(|sum| i64::try_from(sum).map_err(|_| overflow()))
                    .collect::<Result<_>>()?,
            ),
            false => Values::I128(sums),
        };
        let mut out = vec![Vector { values, validity }];
        if average {
            out.push(plain(Values::I64(counts)));
        }
        Ok(out)
    }

    /// Each row's sum, from the sums before each row of its partition.
    fn differences(&self, before: &[i128]) -> Result<Vec<i128>> {
        let mut out = memory::room(self.partition_run.rows);
        self.each(|partition, row| {
            let mut sum = 0i128;
            for range in &self.rows(partition, row).0 {
                let range = range_sum(before, range, partition);
                let added = range.and_then(|range| sum.checked_add(range));
                sum = added.ok_or(Error::NumericTooWide)?;
            }
            out.push(sum);
            Ok(())
        })?;
        Ok(out)
    }

    /// Folds each row's frame in the order of its rows, going on from the row before where the frame only grew.
    fn folds<S: Clone + Default>(
        &self,
        mut add: impl FnMut(&mut S, usize) -> Result<()>,
        mut done: impl FnMut(&S),
    ) -> Result<()> {
        let mut state = S::default();
        let mut folded: Option<Range<usize>> = None;
        self.each(|partition, row| {
            if self.frame.exclude != Exclude::Nothing {
                state = S::default();
                for row in self.rows(partition, row).iter() {
                    if self.counts_row(row) {
                        add(&mut state, row)?;
                    }
                }
                done(&state);
                return Ok(());
            }
            let wanted = frame::bounds(self.frame, self.partition_run, partition, row);
            let from = match &folded {
                Some(old) if old.start == wanted.start && old.end <= wanted.end => old.end,
                _ => {
                    state = S::default();
                    wanted.start
                }
            };
            for row in from..wanted.end {
                if self.counts_row(row) {
                    add(&mut state, row)?;
                }
            }
            folded = Some(wanted);
            done(&state);
            Ok(())
        })
    }

    /// Sums of numerics that carry their scale, and variances of exact numbers: what enters the frame is added, and what
    /// leaves it is taken away.
    fn moving(
        &self,
        argument: &Vector,
        function: AggregateFunction,
        t: DataType,
    ) -> Result<Vec<Vector>> {
        use AggregateFunction::{Avg, Sum};
        let scale = match t {
            DataType::Numeric { scale, .. } => scale.max(0) as u16,
            _ => 0,
        };
        let squares = !matches!(function, Sum | Avg);
        let number = |row: usize| number_at(argument, scale, row);
        let mut results: Vec<Option<Number>> = memory::room(self.partition_run.rows);
        let mut state = Moving::default();
        let mut held = 0..0;
        self.each(|partition, row| {
            let excluded = self.frame.exclude != Exclude::Nothing;
            let wanted = frame::bounds(self.frame, self.partition_run, partition, row);
            let apart = wanted.start >= held.end || wanted.end <= held.start;
            if apart || excluded {
                (state, held) = (Moving::default(), wanted.start..wanted.start);
            }
            let counts = |row: &usize| self.counts_row(*row);
            if excluded {
                for row in self.rows(partition, row).iter().filter(counts) {
                    state.add(&number(row)?, squares)?;
                }
            } else {
                let entering = (wanted.start..held.start).chain(held.end..wanted.end);
                for row in entering.filter(counts) {
                    state.add(&number(row)?, squares)?;
                }
                let leaving = (held.start..wanted.start).chain(wanted.end..held.end);
                for row in leaving.filter(counts) {
                    state.remove(&number(row)?, squares);
                }
                held = wanted;
            }
            let accumulator = state.accumulator();
            results.push(match squares {
                true => accumulator.deviation(function)?,
                false => accumulator.sum(),
            });
            Ok(())
        })?;
        let mut out = vec![nullable(&results)?];
        if function == Avg {
            out.push(plain(Values::I64(self.counts(&|_| true))));
        }
        Ok(out)
    }

    /// `sum` of Float4, which is added in Float4.
    fn float_sums(&self, argument: &Vector) -> Result<Vec<Vector>> {
        let Values::F32(values) = &argument.values else {
            return Err(wrong_layout());
        };
        let (mut sums, mut seen) = (Vec::new(), Vec::new());
        self.folds(
            |state: &mut Option<f32>, row| {
                let value = values[row];
                let sum = state.map_or(value, |old| old + value);
                if sum.is_infinite() && !value.is_infinite() && state.is_some_and(f32::is_finite) {
                    return Err(Error::NumericOutOfRange(OutOfRange::FloatOverflow));
                }
                *state = Some(sum);
                Ok(())
            },
            |state| {
                sums.push(state.unwrap_or(0.0));
                seen.push(state.is_some());
            },
        )?;
        Ok(vec![Vector {
            values: Values::F32(sums),
            validity: Some(Bitmap::from_bools(seen)),
        }])
    }

    /// `sum` of Float8; `avg`, variances and deviations of floats.
    fn float_moments(&self, argument: &Vector, function: AggregateFunction) -> Result<Vec<Vector>> {
        let value = |row: usize| match &argument.values {
            Values::F32(v) => Ok(f64::from(v[row])),
            Values::F64(v) => Ok(v[row]),
            _ => Err(wrong_layout()),
        };
        let mut results: Vec<Option<f64>> = memory::room(self.partition_run.rows);
        if function != AggregateFunction::Sum {
            self.folds(
                |state: &mut Moments, row| state.add(value(row)?),
                |state| results.push(state.result(function)),
            )?;
        } else {
            self.folds(
                |state: &mut Option<f64>, row| {
                    let value = value(row)?;
                    let sum = state.map_or(value, |old| old + value);
                    let finite = state.is_some_and(f64::is_finite);
                    if sum.is_infinite() && !value.is_infinite() && finite {
                        return Err(Error::NumericOutOfRange(OutOfRange::FloatOverflow));
                    }
                    *state = Some(sum);
                    Ok(())
                },
                |state| results.push(*state),
            )?;
        }
        let seen = Bitmap::from_bools(results.iter().map(Option::is_some));
        let values = results.into_iter().map(Option::unwrap_or_default).collect();
        Ok(vec![Vector {
            values: Values::F64(values),
            validity: Some(seen),
        }])
    }

    fn extremes(
        &self,
        argument: &Vector,
        order: impl Fn(usize, usize) -> Ordering,
        largest: bool,
    ) -> Result<Vec<Vector>> {
        // Of values that are equal and look different (-0.0), PostgreSQL keeps the last.
        let beats = |kept: usize, new: usize| {
            order(kept, new)
                == if largest {
                    Ordering::Greater
                } else {
                    Ordering::Less
                }
        };
        let mut picked: Vec<u32> = memory::room(self.partition_run.rows);
        if self.frame.exclude != Exclude::Nothing {
            self.folds(
                |best: &mut Option<usize>, row| {
                    if !best.is_some_and(|kept| beats(kept, row)) {
                        *best = Some(row);
                    }
                    Ok(())
                },
                |best| picked.push(best.map_or(NO_ROW, |row| row as u32)),
            )?;
            return Ok(vec![gather_or_null(argument, &picked)]);
        }
        for partition in &self.partition_run.partitions {
            // Rows, each of which beats all behind it.
            let mut candidates: VecDeque<usize> = VecDeque::new();
            let mut taken = partition.rows.start;
            for row in partition.rows.clone() {
                let wanted = frame::bounds(self.frame, self.partition_run, partition, row);
                for new in taken..wanted.end {
                    if self.counts_row(new) {
                        while candidates.back().is_some_and(|kept| !beats(*kept, new)) {
                            candidates.pop_back();
                        }
                        candidates.push_back(new);
                    }
                }
                taken = taken.max(wanted.end);
                while candidates.front().is_some_and(|kept| *kept < wanted.start) {
                    candidates.pop_front();
                }
                let best = candidates.front().filter(|_| !wanted.is_empty());
                picked.push(best.map_or(NO_ROW, |row| *row as u32));
            }
        }
        Ok(vec![gather_or_null(argument, &picked)])
    }
}

/// The sum of a range of rows, given the sums from the partition's start.
fn range_sum(before: &[i128], range: &Range<usize>, partition: &Partition) -> Option<i128> {
    if range.is_empty() {
        return Some(0);
    }
    // The sum before the partition's first row is that of the partition before.
    let lower = match range.start == partition.rows.start {
        true => 0,
        false => before[range.start],
    };
    before[range.end].checked_sub(lower)
}

fn integer(vector: &Vector, row: usize) -> Result<i128> {
    Ok(match &vector.values {
        Values::I16(v) => v[row].into(),
        Values::I32(v) => v[row].into(),
        Values::I64(v) => v[row].into(),
        Values::I128(v) => v[row],
        _ => return Err(wrong_layout()),
    })
}

fn overflow() -> Error {
    Error::NumericOutOfRange(OutOfRange::Int8)
}

/// The validity of results over so many rows each.
fn seen_bits(counts: &[i64]) -> Option<Bitmap> {
    counts
        .contains(&0)
        .then(|| Bitmap::from_bools(counts.iter().map(|n| *n > 0)))
}

/// PostgreSQL's order of two values of a vector: NaN is the largest float, and equal to itself.
fn compare(vector: &Vector, collation: Collation, a: usize, b: usize) -> Ordering {
    fn floats(a: f64, b: f64) -> Ordering {
        let nan = a.is_nan().cmp(&b.is_nan());
        a.partial_cmp(&b).unwrap_or(nan)
    }
    match &vector.values {
        Values::Bool(v) => v[a].cmp(&v[b]),
        Values::I16(v) => v[a].cmp(&v[b]),
        Values::I32(v) => v[a].cmp(&v[b]),
        Values::I64(v) => v[a].cmp(&v[b]),
        Values::I128(v) => v[a].cmp(&v[b]),
        Values::F32(v) => floats(v[a].into(), v[b].into()),
        Values::F64(v) => floats(v[a], v[b]),
        Values::Fixed { .. } | Values::Bytes(_) | Values::Dict { .. } => {
            let bytes = |row| vector.bytes(row).unwrap_or_default();
            collation.compare(bytes(a), bytes(b))
        }
    }
}
