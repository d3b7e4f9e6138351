// SPDX-License-Identifier: Apache-2.0
//! Sums, variances and standard deviations of numerics, to which values are added and from which they are taken away.
//!
//! A sum shows the largest scale among its values; NaN and the infinities are counted apart. Variances are
//! `(n * sum(x^2) - sum(x)^2) / (n * m)`, where `m` is `n` or, of a sample, `n - 1`: sums are exact, the quotient has
//! the scale of any other, and the square root of it has that scale too.

use std::collections::BTreeMap;

use super::round::Rounding;
use super::{Number, SCALE_MAX};
use crate::error::{Error, Result};
use crate::plan::AggregateFunction;

/// Values that have been added up.
#[derive(Clone, Debug, Default)]
pub struct NumericAccumulator {
    finite: i64,
    nan: i64,
    infinite: i64,
    negative_infinite: i64,
    sum: Option<Number>,
    /// Of the squares; `None` until there is one, or if nobody wants them.
    squares: Option<Number>,
}

impl NumericAccumulator {
    /// The values that are not NULL.
    pub fn count(&self) -> i64 {
        self.finite + self.nan + self.infinite + self.negative_infinite
    }

    /// Bytes that it has beside itself.
    pub fn heap_bytes(&self) -> usize {
        let sums = self.sum.iter().chain(&self.squares);
        sums.map(Number::heap_bytes).sum()
    }

    /// Which count a value goes to.
    fn counter(&mut self, number: &Number) -> &mut i64 {
        match number {
            Number::NaN => &mut self.nan,
            Number::Infinity => &mut self.infinite,
            Number::NegativeInfinity => &mut self.negative_infinite,
            _ => &mut self.finite,
        }
    }

    /// Adds a value, and its square if that is wanted.
    #[inline]
    pub fn add(&mut self, number: &Number, with_square: bool) -> Result<()> {
        *self.counter(number) += 1;
        let Some(scale) = number.scale() else {
            return Ok(());
        };
        grow(&mut self.sum, number);
        if with_square {
            if 2 * scale > SCALE_MAX {
                return Err(Error::not_native("squares of numerics of so many digits"));
            }
            grow(&mut self.squares, &number.mul(number));
        }
        Ok(())
    }

    /// Takes a value away that was added. The scales of the sums stay as they are.
    pub fn remove(&mut self, number: &Number, with_square: bool) {
        *self.counter(number) -= 1;
        if number.scale().is_none() {
            return;
        }
        grow(&mut self.sum, &number.negated());
        if with_square {
            grow(&mut self.squares, &number.mul(number).negated());
        }
    }

    /// Adds what another has added.
    pub fn merge(&mut self, other: &NumericAccumulator) {
        self.finite += other.finite;
        self.nan += other.nan;
        self.infinite += other.infinite;
        self.negative_infinite += other.negative_infinite;
        for (own, other) in [
            (&mut self.sum, &other.sum),
            (&mut self.squares, &other.squares),
        ] {
            if let Some(other) = other {
                grow(own, other);
            }
        }
    }

    /// The same with sums that show the scale of values of at most `scale` digits after the point.
    fn at_scale(&self, scale: u16) -> NumericAccumulator {
        let at = |number: &Option<Number>, scale: u16| {
            let number = number.as_ref()?;
            Some(number.round(scale.into(), Rounding::ToZero))
        };
        NumericAccumulator {
            sum: at(&self.sum, scale),
            squares: at(&self.squares, 2 * scale),
            ..*self
        }
    }

    /// The sum; `None` where there are no values.
    pub fn sum(&self) -> Option<Number> {
        if self.count() == 0 {
            return None;
        }
        Some(match (self.nan, self.infinite, self.negative_infinite) {
            (0, 0, 0) => self.sum.clone().unwrap_or(Number::ZERO),
            (0, 1.., 0) => Number::Infinity,
            (0, 0, 1..) => Number::NegativeInfinity,
            _ => Number::NaN,
        })
    }

    /// A variance or a standard deviation; `None` where there are too few values.
    pub fn deviation(&self, function: AggregateFunction) -> Result<Option<Number>> {
        use AggregateFunction::{StddevPop, StddevSamp, VarSamp};
        let sample = matches!(function, VarSamp | StddevSamp);
        if self.count() < 1 + i64::from(sample) {
            return Ok(None);
        }
        if self.finite < self.count() {
            return Ok(Some(Number::NaN));
        }
        let number = |value: i64| Number::Small {
            value: value.into(),
            scale: 0,
        };
        let (Some(sum), Some(squares)) = (&self.sum, &self.squares) else {
            return Err(Error::internal("a variance without its sums"));
        };
        let n = number(self.finite);
        let above = n.mul(squares).sub(&sum.mul(sum));
        if above.signum() <= 0 {
            return Ok(Some(Number::ZERO));
        }
        let variance = above.div(&n.mul(&number(self.finite - i64::from(sample))))?;
        Ok(Some(match function {
            StddevPop | StddevSamp => variance.root(variance.scale().unwrap_or(0)),
            _ => variance,
        }))
    }

    /// Appends the counts, and the sums behind their lengths.
    pub fn push_state(&self, out: &mut Vec<u8>) {
        for count in [self.finite, self.nan, self.infinite, self.negative_infinite] {
            out.extend_from_slice(&count.to_le_bytes());
        }
        for sum in [&self.sum, &self.squares] {
            let at = out.len();
            out.extend_from_slice(&[0; 4]);
            if let Some(sum) = sum {
                sum.push_digits(out);
            }
            let length = (out.len() - at - 4) as u32;
            out[at..at + 4].copy_from_slice(&length.to_le_bytes());
        }
    }

    /// What [`NumericAccumulator::push_state`] wrote.
    pub fn of_state(state: &[u8]) -> Option<NumericAccumulator> {
        fn count(rest: &mut &[u8]) -> Option<i64> {
            let (count, after) = rest.split_first_chunk()?;
            *rest = after;
            Some(i64::from_le_bytes(*count))
        }
        fn sum(rest: &mut &[u8]) -> Option<Option<Number>> {
            let (length, after) = rest.split_first_chunk()?;
            let (digits, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            *rest = after;
            match digits.is_empty() {
                true => Some(None),
                false => Number::of_digits(digits).map(Some),
            }
        }
        let rest = &mut &state[..];
        Some(NumericAccumulator {
            finite: count(rest)?,
            nan: count(rest)?,
            infinite: count(rest)?,
            negative_infinite: count(rest)?,
            sum: sum(rest)?,
            squares: sum(rest)?,
        })
    }
}

fn grow(sum: &mut Option<Number>, by: &Number) {
    *sum = Some(match sum {
        Some(sum) => sum.add(by),
        None => by.clone(),
    });
}

/// An accumulator that values leave again: it knows the largest scale of those that are left.
#[derive(Clone, Debug, Default)]
pub struct Moving {
    accumulator: NumericAccumulator,
    /// How many values have each scale.
    scales: BTreeMap<u16, usize>,
}

impl Moving {
    /// Adds a value.
    pub fn add(&mut self, number: &Number, with_square: bool) -> Result<()> {
        if let Some(scale) = number.scale() {
            *self.scales.entry(scale).or_default() += 1;
        }
        self.accumulator.add(number, with_square)
    }

    /// Takes a value away that was added.
    pub fn remove(&mut self, number: &Number, with_square: bool) {
        if let Some(scale) = number.scale() {
            if let Some(count) = self.scales.get_mut(&scale) {
                *count -= 1;
                if *count == 0 {
                    self.scales.remove(&scale);
                }
            }
        }
        self.accumulator.remove(number, with_square);
    }

    /// What is there now, as if it had just been added.
    pub fn accumulator(&self) -> NumericAccumulator {
        let scale = self.scales.last_key_value().map_or(0, |(scale, _)| *scale);
        self.accumulator.at_scale(scale)
    }
}
