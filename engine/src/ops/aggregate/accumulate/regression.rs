// SPDX-License-Identifier: Apache-2.0
//! Correlation, covariance and linear regression of pairs of floats.
//!
//! Sums of squared deviations and of their products follow the recurrence of Youngs and Cramer, as in PostgreSQL, and
//! are combined as PostgreSQL's parallel aggregation combines them. As with all floats the last digits depend on the
//! order of the rows; the error rules do not: an overflow that finite values lead to is one.

use doris_storage::vector::{Bitmap, Values, Vector};

use super::{required, try_each_valid, wrong_layout, Accumulator, Groups};
use crate::error::{Error, OutOfRange, Result};
use crate::plan::Regression;

/// Bytes of a pair.
pub const PAIR_BYTES: u16 = 16;
/// Numbers of a state.
const PARTS: usize = 6;

/// The pairs of a group: their number, the sums of each side, and what squares and products deviate by.
#[derive(Clone, Copy, Default)]
pub(crate) struct Fit {
    n: f64,
    x: f64,
    xx: f64,
    y: f64,
    yy: f64,
    xy: f64,
}

fn overflow() -> Error {
    Error::NumericOutOfRange(OutOfRange::FloatOverflow)
}

/// A sum that must be finite where both of its parts are.
fn checked(sum: f64, a: f64, b: f64) -> Result<f64> {
    match sum.is_infinite() && !a.is_infinite() && !b.is_infinite() {
        true => Err(overflow()),
        false => Ok(sum),
    }
}

fn nan_if_infinite(value: f64) -> f64 {
    match value.is_infinite() {
        true => f64::NAN,
        false => value,
    }
}

impl Fit {
    /// Takes in a pair; fails as PostgreSQL does.
    #[inline]
    pub(crate) fn add(&mut self, y: f64, x: f64) -> Result<()> {
        let before = *self;
        self.n += 1.0;
        self.x += x;
        self.y += y;
        if before.n == 0.0 {
            // Otherwise a single infinity would have no variance.
            if !x.is_finite() {
                (self.xx, self.xy) = (f64::NAN, f64::NAN);
            }
            if !y.is_finite() {
                (self.yy, self.xy) = (f64::NAN, f64::NAN);
            }
            return Ok(());
        }
        let (from_x, from_y) = (x * self.n - self.x, y * self.n - self.y);
        let scale = 1.0 / (self.n * before.n);
        self.xx += from_x * from_x * scale;
        self.yy += from_y * from_y * scale;
        self.xy += from_x * from_y * scale;
        let sums = [self.x, self.xx, self.y, self.yy, self.xy];
        if sums.into_iter().any(f64::is_infinite) {
            let finite_x = !before.x.is_infinite() && !x.is_infinite();
            let finite_y = !before.y.is_infinite() && !y.is_infinite();
            if finite_x && (self.x.is_infinite() || self.xx.is_infinite())
                || finite_y && (self.y.is_infinite() || self.yy.is_infinite())
                || finite_x && finite_y && self.xy.is_infinite()
            {
                return Err(overflow());
            }
            self.xx = nan_if_infinite(self.xx);
            self.yy = nan_if_infinite(self.yy);
            self.xy = nan_if_infinite(self.xy);
        }
        Ok(())
    }

    fn combine(self, other: Fit) -> Result<Fit> {
        if self.n == 0.0 || other.n == 0.0 {
            return Ok(if self.n == 0.0 { other } else { self });
        }
        let n = self.n + other.n;
        let weight = self.n * other.n;
        let apart_x = self.x / self.n - other.x / other.n;
        let apart_y = self.y / self.n - other.y / other.n;
        let deviation = |a: f64, b: f64, p: f64, q: f64| checked(a + b + weight * p * q / n, a, b);
        Ok(Fit {
            n,
            x: checked(self.x + other.x, self.x, other.x)?,
            xx: deviation(self.xx, other.xx, apart_x, apart_x)?,
            y: checked(self.y + other.y, self.y, other.y)?,
            yy: deviation(self.yy, other.yy, apart_y, apart_y)?,
            xy: deviation(self.xy, other.xy, apart_x, apart_y)?,
        })
    }

    /// The result; `None` is NULL.
    pub(crate) fn result(&self, wanted: Regression) -> Option<f64> {
        use Regression::*;
        let least = if wanted == CovarSamp { 2.0 } else { 1.0 };
        let vertical = matches!(wanted, R2 | Slope | Intercept | Corr) && self.xx == 0.0;
        if self.n < least || vertical || wanted == Corr && self.yy == 0.0 {
            return None;
        }
        Some(match wanted {
            AvgX => self.x / self.n,
            AvgY => self.y / self.n,
            Sxx => self.xx,
            Syy => self.yy,
            Sxy => self.xy,
            CovarPop => self.xy / self.n,
            CovarSamp => self.xy / (self.n - 1.0),
            Corr => self.xy / (self.xx * self.yy).sqrt(),
            // A horizontal line.
            R2 if self.yy == 0.0 => 1.0,
            R2 => (self.xy * self.xy) / (self.xx * self.yy),
            Slope => self.xy / self.xx,
            Intercept => (self.y - self.x * self.xy / self.xx) / self.n,
        })
    }

    fn parts(&self) -> [f64; PARTS] {
        [self.n, self.x, self.xx, self.y, self.yy, self.xy]
    }
}

/// The fits of all groups.
pub struct Fits {
    states: Vec<Fit>,
    wanted: Regression,
}

impl Fits {
    /// The states of `wanted`.
    pub fn new(wanted: Regression) -> Self {
        Self {
            states: Vec::new(),
            wanted,
        }
    }
}

/// The two floats of a pair.
#[inline]
fn pair(argument: &Vector, row: usize) -> Result<(f64, f64)> {
    let bytes = argument.bytes(row).ok_or_else(wrong_layout)?;
    let (y, rest) = bytes.split_first_chunk().ok_or_else(wrong_layout)?;
    let x = rest.first_chunk().ok_or_else(wrong_layout)?;
    Ok((f64::from_le_bytes(*y), f64::from_le_bytes(*x)))
}

impl Accumulator for Fits {
    fn resize(&mut self, groups: usize) {
        self.states.resize(groups, Fit::default());
    }

    fn update(&mut self, groups: Groups<'_>, argument: Option<&Vector>) -> Result<()> {
        let argument = required(argument)?;
        try_each_valid(groups, argument.validity.as_ref(), |group, row| {
            let (y, x) = pair(argument, row)?;
            self.states[group].add(y, x)
        })
    }

    fn merge(&mut self, groups: &[u32], states: &[Vector], from: usize) -> Result<()> {
        let part = |part: usize, i: usize| match &states[part].values {
            Values::F64(values) => Ok(values[i]),
            _ => Err(wrong_layout()),
        };
        for (i, &group) in (from..).zip(groups) {
            let state = &mut self.states[group as usize];
            *state = state.combine(Fit {
                n: part(0, i)?,
                x: part(1, i)?,
                xx: part(2, i)?,
                y: part(3, i)?,
                yy: part(4, i)?,
                xy: part(5, i)?,
            })?;
        }
        Ok(())
    }

    fn export(&self, groups: &[u32]) -> Vec<Vector> {
        let column = |part: usize| {
            let states = groups.iter().map(|&group| &self.states[group as usize]);
            Vector {
                values: Values::F64(states.map(|state| state.parts()[part]).collect()),
                validity: None,
            }
        };
        (0..PARTS).map(column).collect()
    }

    fn finish(&self, from: usize, to: usize) -> Result<Vec<Vector>> {
        let states = self.states[from..to].iter();
        let results: Vec<Option<f64>> = states.map(|state| state.result(self.wanted)).collect();
        let validity = Bitmap::from_bools(results.iter().map(Option::is_some));
        let values = results.into_iter().map(Option::unwrap_or_default);
        Ok(vec![Vector {
            values: Values::F64(values.collect()),
            validity: Some(validity),
        }])
    }

    fn clear(&mut self) {
        self.states.clear();
    }

    fn memory_bytes(&self) -> usize {
        self.states.capacity() * size_of::<Fit>()
    }
}
