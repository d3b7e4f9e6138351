// SPDX-License-Identifier: Apache-2.0
//! `sum`, `avg`, `min` and `max` of intervals.
//!
//! Months, days and microseconds are added apart. PostgreSQL fails where a sum on the way leaves its range, which
//! depends on the order of the rows: it is asked as soon as that is possible in some order. So it is for the infinite
//! intervals of its later versions. Of equal intervals that look different, any may be the least.

use doris_storage::vector::{Values, Vector};

use super::{byte_states, required, seen_bits, try_each_valid, wrong_layout, Accumulator, Groups};
use crate::error::{Error, Result};
use crate::expr::Interval;

/// Bytes of an interval.
const WIDTH: usize = 16;
/// Bytes of the sums of a group.
const STATE_BYTES: usize = 6 * 16 + 8;
const DAYS_PER_MONTH: f64 = 30.0;
const SECONDS_PER_DAY: f64 = 86_400.0;
const MICROS_PER_SECOND: f64 = 1_000_000.0;

fn span(argument: &Vector, row: usize) -> Result<Interval> {
    let bytes = argument.bytes(row).and_then(Interval::from_bytes);
    bytes.ok_or_else(wrong_layout)
}

fn out_of_range() -> Error {
    Error::not_native("intervals that may add up to too much")
}

/// The parts of some intervals added up, and how far they may be from 0 on the way.
#[derive(Clone, Copy, Default)]
struct Total {
    parts: [i128; 3],
    sizes: [i128; 3],
    count: i64,
}

impl Total {
    fn add(&mut self, span: Interval) -> Result<()> {
        if span.is_infinite() {
            return Err(Error::not_native("infinite intervals"));
        }
        let parts = [span.micros.into(), span.days.into(), span.months.into()];
        self.merge(&Total {
            parts,
            sizes: parts.map(i128::abs),
            count: 1,
        })
    }

    fn merge(&mut self, other: &Total) -> Result<()> {
        for part in 0..3 {
            self.parts[part] += other.parts[part];
            self.sizes[part] += other.sizes[part];
        }
        self.count += other.count;
        let [micros, days, months] = self.sizes;
        let fits = micros <= i64::MAX.into() && days.max(months) <= i32::MAX.into();
        match fits {
            true => Ok(()),
            false => Err(out_of_range()),
        }
    }

    fn sum(&self) -> Interval {
        let [micros, days, months] = self.parts;
        Interval {
            micros: micros as i64,
            days: days as i32,
            months: months as i32,
        }
    }

    fn push(&self, out: &mut Vec<u8>) {
        for part in self.parts.iter().chain(&self.sizes) {
            out.extend_from_slice(&part.to_le_bytes());
        }
        out.extend_from_slice(&self.count.to_le_bytes());
    }

    fn of(state: &[u8]) -> Option<Total> {
        let words = state.get(..STATE_BYTES)?;
        let word = |i: usize| {
            words[16 * i..]
                .first_chunk()
                .map(|b| i128::from_le_bytes(*b))
        };
        Some(Total {
            parts: [word(0)?, word(1)?, word(2)?],
            sizes: [word(3)?, word(4)?, word(5)?],
            count: i64::from_le_bytes(*words[96..].first_chunk()?),
        })
    }
}

/// To microseconds, of seconds or days.
fn rounded(value: f64) -> f64 {
    (value * MICROS_PER_SECOND).round_ties_even() / MICROS_PER_SECOND
}

/// An interval divided by a count, in the steps in which PostgreSQL does it: what a part leaves over goes to the next
/// smaller one.
fn divided(span: Interval, count: i64) -> Result<Interval> {
    let by = count as f64;
    let (months, days) = (f64::from(span.months) / by, f64::from(span.days) / by);
    let (whole_months, mut whole_days) = (months as i32, days as i32);
    let days_left = rounded((months - f64::from(whole_months)) * DAYS_PER_MONTH);
    let part_of_day = days - f64::from(whole_days) + days_left - f64::from(days_left as i32);
    let mut seconds = rounded(part_of_day * SECONDS_PER_DAY);
    if seconds.abs() >= SECONDS_PER_DAY {
        let carried = (seconds / SECONDS_PER_DAY) as i32;
        whole_days = whole_days.checked_add(carried).ok_or_else(out_of_range)?;
        seconds -= f64::from(carried) * SECONDS_PER_DAY;
    }
    let days = whole_days.checked_add(days_left as i32);
    let micros = (span.micros as f64 / by + seconds * MICROS_PER_SECOND).round_ties_even();
    match micros.abs() < 9.2e18 {
        true => Ok(Interval {
            micros: micros as i64,
            days: days.ok_or_else(out_of_range)?,
            months: whole_months,
        }),
        false => Err(out_of_range()),
    }
}

/// `sum` and `avg`.
#[derive(Default)]
pub struct SumSpan {
    totals: Vec<Total>,
    average: bool,
}

impl SumSpan {
    /// Sums, or averages.
    pub fn new(average: bool) -> Self {
        Self {
            totals: Vec::new(),
            average,
        }
    }
}

fn spans(data: Vec<u8>, seen: &[u8]) -> Vector {
    Vector {
        values: Values::Fixed {
            width: WIDTH as u16,
            data,
        },
        validity: seen_bits(seen),
    }
}

impl Accumulator for SumSpan {
    fn resize(&mut self, groups: usize) {
        self.totals.resize(groups, Total::default());
    }

    fn update(&mut self, groups: Groups<'_>, argument: Option<&Vector>) -> Result<()> {
        let argument = required(argument)?;
        try_each_valid(groups, argument.validity.as_ref(), |group, row| {
            self.totals[group].add(span(argument, row)?)
        })
    }

    fn merge(&mut self, groups: &[u32], states: &[Vector], from: usize) -> Result<()> {
        for (i, &group) in (from..).zip(groups) {
            let total = states[0].bytes(i).and_then(Total::of);
            self.totals[group as usize].merge(&total.ok_or_else(wrong_layout)?)?;
        }
        Ok(())
    }

    fn export(&self, groups: &[u32]) -> Vec<Vector> {
        byte_states(groups, |group, out| self.totals[group].push(out))
    }

    fn finish(&self, from: usize, to: usize) -> Result<Vec<Vector>> {
        let totals = &self.totals[from..to];
        let mut data = Vec::with_capacity(totals.len() * WIDTH);
        for total in totals {
            let result = match self.average && total.count > 0 {
                true => divided(total.sum(), total.count)?,
                false => total.sum(),
            };
            data.extend_from_slice(&result.to_bytes());
        }
        let seen: Vec<u8> = totals.iter().map(|t| u8::from(t.count > 0)).collect();
        Ok(vec![spans(data, &seen)])
    }

    fn clear(&mut self) {
        self.totals.clear();
    }

    fn memory_bytes(&self) -> usize {
        self.totals.capacity() * size_of::<Total>()
    }
}

/// `min` and `max`.
pub struct ExtremeSpan {
    greatest: bool,
    best: Vec<Option<Interval>>,
}

impl ExtremeSpan {
    /// The greatest, or the least.
    pub fn new(greatest: bool) -> Self {
        Self {
            greatest,
            best: Vec::new(),
        }
    }

    fn take(&mut self, group: usize, new: Interval) {
        let best = &mut self.best[group];
        let better = |best: &Interval| match self.greatest {
            true => new.order() > best.order(),
            false => new.order() < best.order(),
        };
        if best.as_ref().is_none_or(better) {
            *best = Some(new);
        }
    }

    fn column<'s>(&self, best: impl Iterator<Item = &'s Option<Interval>>) -> Vector {
        let (mut data, mut seen) = (Vec::new(), Vec::new());
        for best in best {
            let bytes = best.map_or([0; WIDTH], Interval::to_bytes);
            data.extend_from_slice(&bytes);
            seen.push(u8::from(best.is_some()));
        }
        spans(data, &seen)
    }
}

impl Accumulator for ExtremeSpan {
    fn resize(&mut self, groups: usize) {
        self.best.resize(groups, None);
    }

    fn update(&mut self, groups: Groups<'_>, argument: Option<&Vector>) -> Result<()> {
        let argument = required(argument)?;
        try_each_valid(groups, argument.validity.as_ref(), |group, row| {
            self.take(group, span(argument, row)?);
            Ok(())
        })
    }

    fn merge(&mut self, groups: &[u32], states: &[Vector], from: usize) -> Result<()> {
        for (i, &group) in (from..).zip(groups) {
            if !states[0].is_null(i) {
                self.take(group as usize, span(&states[0], i)?);
            }
        }
        Ok(())
    }

    fn export(&self, groups: &[u32]) -> Vec<Vector> {
        vec![self.column(groups.iter().map(|&group| &self.best[group as usize]))]
    }

    fn finish(&self, from: usize, to: usize) -> Result<Vec<Vector>> {
        Ok(vec![self.column(self.best[from..to].iter())])
    }

    fn clear(&mut self) {
        self.best.clear();
    }

    fn memory_bytes(&self) -> usize {
        self.best.capacity() * size_of::<Option<Interval>>()
    }
}
