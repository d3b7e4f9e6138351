// SPDX-License-Identifier: Apache-2.0
//! Aggregates of numerics of any size and scale.
//!
//! A sum shows the largest scale among the values it added, as PostgreSQL's does; NaN and the infinities are kept
//! apart, so that their order does not matter. Of equal values that show different scales (1.0, 1.00) PostgreSQL keeps
//! one that depends on the order of the rows: where such a one would be the answer, PostgreSQL is asked.

use std::cmp::Ordering;

use doris_storage::vector::{BytesColumn, Values, Vector};

use super::{
    byte_states, pick, required, seen_bits, try_each_valid, wrong_layout, Accumulator, Groups,
};
use crate::decimal::{Number, View};
use crate::error::{Error, Result};

/// The sum of a group.
#[derive(Clone)]
struct Sum {
    /// Of the finite values.
    finite: Number,
    /// Values that are not NULL.
    count: i64,
    /// NaN, or the sum of the infinities met.
    special: Option<Special>,
}

#[derive(Clone, Copy, PartialEq)]
enum Special {
    NaN,
    Infinity,
    NegativeInfinity,
}

impl Special {
    fn of(number: &Number) -> Option<Self> {
        match number {
            Number::NaN => Some(Special::NaN),
            Number::Infinity => Some(Special::Infinity),
            Number::NegativeInfinity => Some(Special::NegativeInfinity),
            _ => None,
        }
    }

    fn number(self) -> Number {
        match self {
            Special::NaN => Number::NaN,
            Special::Infinity => Number::Infinity,
            Special::NegativeInfinity => Number::NegativeInfinity,
        }
    }
}

impl Sum {
    const EMPTY: Sum = Sum {
        finite: Number::ZERO,
        count: 0,
        special: None,
    };

    #[inline]
    fn add(&mut self, number: &Number, count: i64) {
        self.count += count;
        match (Special::of(number), self.special) {
            (None, _) => self.finite = self.finite.add(number),
            (Some(new), Some(old)) if new != old => self.special = Some(Special::NaN),
            (new, _) => self.special = new,
        }
    }

    /// Appends the count, a byte for what is special, and the digits of the finite sum.
    fn push_state(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.count.to_le_bytes());
        out.push(match self.special {
            None => 0,
            Some(Special::NaN) => 1,
            Some(Special::Infinity) => 2,
            Some(Special::NegativeInfinity) => 3,
        });
        self.finite.push_digits(out);
    }

    /// Adds what [`Sum::push_state`] wrote.
    fn merge(&mut self, state: &[u8]) -> Option<()> {
        let (count, rest) = state.split_first_chunk()?;
        let (special, digits) = rest.split_first()?;
        let special = match special {
            1 => Some(Special::NaN),
            2 => Some(Special::Infinity),
            3 => Some(Special::NegativeInfinity),
            _ => None,
        };
        self.add(&Number::of_digits(digits)?, i64::from_le_bytes(*count));
        if let Some(special) = special {
            self.add(&special.number(), 0);
        }
        Some(())
    }

    fn result(&self) -> Number {
        match self.special {
            Some(special) => special.number(),
            None => self.finite.clone(),
        }
    }
}

/// `sum`; with `with_count`, followed by the count, as `avg` wants it.
pub struct SumDecimal {
    sums: Vec<Sum>,
    with_count: bool,
    /// Bytes of the sums that 128 bits do not hold.
    bytes: usize,
}

impl SumDecimal {
    /// A sum, with or without its count.
    pub fn new(with_count: bool) -> Self {
        Self {
            sums: Vec::new(),
            with_count,
            bytes: 0,
        }
    }

    /// Changes a group's sum.
    #[inline]
    fn change<T>(&mut self, group: usize, change: impl FnOnce(&mut Sum) -> T) -> T {
        let sum = &mut self.sums[group];
        let before = sum.finite.heap_bytes();
        let result = change(sum);
        self.bytes = self.bytes + sum.finite.heap_bytes() - before;
        result
    }
}

/// Numbers as the column that holds them.
pub(super) fn stored<'n>(numbers: impl Iterator<Item = &'n Number>) -> Result<BytesColumn> {
    let mut column = BytesColumn::default();
    for number in numbers {
        number.push(&mut column.data)?;
        let end = u32::try_from(column.data.len()).map_err(|_| Error::OutOfMemory)?;
        column.offsets.push(end);
    }
    Ok(column)
}

fn counts(sums: &[Sum]) -> Vector {
    Vector {
        values: Values::I64(sums.iter().map(|sum| sum.count).collect()),
        validity: None,
    }
}

impl Accumulator for SumDecimal {
    fn resize(&mut self, groups: usize) {
        self.sums.resize(groups, Sum::EMPTY);
    }

    fn update(&mut self, groups: Groups<'_>, argument: Option<&Vector>) -> Result<()> {
        let argument = required(argument)?;
        try_each_valid(groups, argument.validity.as_ref(), |group, row| {
            let bytes = argument.bytes(row).ok_or_else(wrong_layout)?;
            self.change(group, |sum| sum.add(&View::new(bytes).number(), 1));
            Ok(())
        })
    }

    fn merge(&mut self, groups: &[u32], states: &[Vector], from: usize) -> Result<()> {
        for (i, &group) in (from..).zip(groups) {
            let state = states[0].bytes(i).ok_or_else(wrong_layout)?;
            self.change(group as usize, |sum| sum.merge(state))
                .ok_or_else(wrong_layout)?;
        }
        Ok(())
    }

    fn export(&self, groups: &[u32]) -> Vec<Vector> {
        byte_states(groups, |group, out| self.sums[group].push_state(out))
    }

    fn finish(&self, from: usize, to: usize) -> Result<Vec<Vector>> {
        let sums = &self.sums[from..to];
        let results: Vec<Number> = sums.iter().map(Sum::result).collect();
        let seen: Vec<u8> = sums.iter().map(|sum| u8::from(sum.count > 0)).collect();
        let mut out = vec![Vector {
            values: Values::Bytes(stored(results.iter())?),
            validity: seen_bits(&seen),
        }];
        if self.with_count {
            out.push(counts(sums));
        }
        Ok(out)
    }

    fn clear(&mut self) {
        self.sums.clear();
        self.bytes = 0;
    }

    fn memory_bytes(&self) -> usize {
        self.sums.capacity() * size_of::<Sum>() + self.bytes
    }
}

/// Which value of a group an accumulator keeps.
#[derive(Clone, Copy, PartialEq)]
pub enum Keep {
    /// `min`.
    Least,
    /// `max`.
    Greatest,
    /// The one that all rows have; some may be NULL.
    Same,
}

/// One value a group.
pub struct One {
    keep: Keep,
    best: Vec<Vec<u8>>,
    seen: Vec<u8>,
    /// Whether an equal value was met that shows another scale.
    tied: Vec<u8>,
    bytes: usize,
}

impl One {
    /// States that keep `keep` of their values.
    pub fn new(keep: Keep) -> Self {
        Self {
            keep,
            best: Vec::new(),
            seen: Vec::new(),
            tied: Vec::new(),
            bytes: 0,
        }
    }

    #[inline]
    fn take(&mut self, group: usize, value: &[u8], tied: u8) {
        let best = &mut self.best[group];
        if self.seen[group] != 0 {
            if best == value {
                self.tied[group] |= tied;
                return;
            }
            let (new, old) = (View::new(value), View::new(best));
            match (new.compare(&old), self.keep) {
                (Ordering::Equal, _) => {
                    self.tied[group] |= tied | u8::from(new.scale() != old.scale());
                    return;
                }
                (Ordering::Less, Keep::Greatest) | (Ordering::Greater, Keep::Least) => return,
                _ => {}
            }
        }
        let before = best.capacity();
        best.clear();
        best.extend_from_slice(value);
        self.bytes += best.capacity() - before;
        self.seen[group] = 1;
        self.tied[group] = tied;
    }

    /// The value of each group.
    pub(super) fn values(&self) -> Vector {
        Self::column(self.best.iter(), &self.seen)
    }

    fn column<'v>(values: impl Iterator<Item = &'v Vec<u8>>, seen: &[u8]) -> Vector {
        let mut column = BytesColumn::default();
        values.for_each(|value| column.push(value));
        Vector {
            values: Values::Bytes(column),
            validity: seen_bits(seen),
        }
    }
}

impl Accumulator for One {
    fn resize(&mut self, groups: usize) {
        self.best.resize(groups, Vec::new());
        self.seen.resize(groups, 0);
        self.tied.resize(groups, 0);
    }

    fn update(&mut self, groups: Groups<'_>, argument: Option<&Vector>) -> Result<()> {
        let argument = required(argument)?;
        try_each_valid(groups, argument.validity.as_ref(), |group, row| {
            self.take(group, argument.bytes(row).ok_or_else(wrong_layout)?, 0);
            match self.keep == Keep::Same && self.tied[group] != 0 {
                // Nothing that comes can undo it.
                true => Err(Error::not_native("equal numerics of several scales")),
                false => Ok(()),
            }
        })
    }

    fn merge(&mut self, groups: &[u32], states: &[Vector], from: usize) -> Result<()> {
        let [values, tied] = states else {
            return Err(wrong_layout());
        };
        let Values::Bool(tied) = &tied.values else {
            return Err(wrong_layout());
        };
        for (i, &group) in (from..).zip(groups) {
            if !values.is_null(i) {
                let value = values.bytes(i).ok_or_else(wrong_layout)?;
                self.take(group as usize, value, tied[i]);
            }
        }
        Ok(())
    }

    fn export(&self, groups: &[u32]) -> Vec<Vector> {
        let seen = pick(&self.seen, groups);
        let values = groups.iter().map(|&group| &self.best[group as usize]);
        vec![
            Self::column(values, &seen),
            Vector {
                values: Values::Bool(pick(&self.tied, groups)),
                validity: None,
            },
        ]
    }

    fn finish(&self, from: usize, to: usize) -> Result<Vec<Vector>> {
        if self.tied[from..to].contains(&1) {
            return Err(Error::not_native("equal numerics of several scales"));
        }
        let (best, seen) = (&self.best[from..to], &self.seen[from..to]);
        Ok(vec![Self::column(best.iter(), seen)])
    }

    fn clear(&mut self) {
        self.best.clear();
        self.seen.clear();
        self.tied.clear();
        self.bytes = 0;
    }

    fn memory_bytes(&self) -> usize {
        self.best.capacity() * 26 + self.bytes
    }
}
