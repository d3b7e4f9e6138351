// SPDX-License-Identifier: Apache-2.0
//! Variances, standard deviations and `avg` of floats.
//!
//! Floats go through the recurrence of Youngs and Cramer ("Some Results Relevant to Choice of Sum and
//! Sum-of-Product Algorithms", 1971), as in PostgreSQL, with its error rules: `avg` fails where the sum of
//! squared deviations overflows, although it does not need it.

use doris_storage::vector::{Bitmap, Values, Vector};

use super::{pick, required, try_each_valid, wrong_layout, Accumulator, Groups};
use crate::error::{Error, OutOfRange, Result};
use crate::plan::AggregateFunction;

fn overflow() -> Error {
    Error::NumericOutOfRange(OutOfRange::FloatOverflow)
}

/// Count, sum, and sum of squared deviations from the mean.
#[derive(Clone, Copy, Default)]
pub(crate) struct Moments {
    n: f64,
    sum: f64,
    deviations: f64,
}

impl Moments {
    /// Takes in a value; fails as PostgreSQL does.
    #[inline]
    pub(crate) fn add(&mut self, value: f64) -> Result<()> {
        let before = *self;
        self.n += 1.0;
        self.sum += value;
        if before.n == 0.0 {
            if !value.is_finite() {
                self.deviations = f64::NAN;
            }
            return Ok(());
        }
        let distance = value * self.n - self.sum;
        self.deviations += distance * distance / (self.n * before.n);
        if self.sum.is_infinite() || self.deviations.is_infinite() {
            if !before.sum.is_infinite() && !value.is_infinite() {
                return Err(overflow());
            }
            self.deviations = f64::NAN;
        }
        Ok(())
    }

    fn combine(self, other: Moments) -> Result<Moments> {
        if self.n == 0.0 || other.n == 0.0 {
            return Ok(if self.n == 0.0 { other } else { self });
        }
        let n = self.n + other.n;
        let sum = self.sum + other.sum;
        if sum.is_infinite() && !self.sum.is_infinite() && !other.sum.is_infinite() {
            return Err(overflow());
        }
        let distance = self.sum / self.n - other.sum / other.n;
        let deviations =
            self.deviations + other.deviations + self.n * other.n * distance * distance / n;
        if deviations.is_infinite()
            && !self.deviations.is_infinite()
            && !other.deviations.is_infinite()
        {
            return Err(overflow());
        }
        Ok(Moments { n, sum, deviations })
    }

    /// The result; `None` is NULL.
    pub(crate) fn result(&self, function: AggregateFunction) -> Option<f64> {
        use AggregateFunction::*;
        let least = if matches!(function, VarSamp | StddevSamp) {
            2.0
        } else {
            1.0
        };
        if self.n < least {
            return None;
        }
        Some(match function {
            VarPop => self.deviations / self.n,
            VarSamp => self.deviations / (self.n - 1.0),
            StddevPop => (self.deviations / self.n).sqrt(),
            StddevSamp => (self.deviations / (self.n - 1.0)).sqrt(),
            _ => self.sum / self.n,
        })
    }
}

/// `avg`, variances and deviations of floats.
pub struct FloatMoments {
    states: Vec<Moments>,
    function: AggregateFunction,
}

impl FloatMoments {
    /// The states of `function`.
    pub fn new(function: AggregateFunction) -> Self {
        Self {
            states: Vec::new(),
            function,
        }
    }
}

fn floats(values: Vec<f64>) -> Vector {
    Vector {
        values: Values::F64(values),
        validity: None,
    }
}

impl Accumulator for FloatMoments {
    fn resize(&mut self, groups: usize) {
        self.states.resize(groups, Moments::default());
    }

    fn update(&mut self, groups: Groups<'_>, argument: Option<&Vector>) -> Result<()> {
        let argument = required(argument)?;
        let valid = argument.validity.as_ref();
        match &argument.values {
            Values::F32(v) => try_each_valid(groups, valid, |group, row| {
                self.states[group].add(v[row].into())
            }),
            Values::F64(v) => {
                try_each_valid(groups, valid, |group, row| self.states[group].add(v[row]))
            }
            _ => Err(wrong_layout()),
        }
    }

    fn merge(&mut self, groups: &[u32], states: &[Vector], from: usize) -> Result<()> {
        let [Values::F64(n), Values::F64(sum), Values::F64(deviations)] =
            [&states[0].values, &states[1].values, &states[2].values]
        else {
            return Err(wrong_layout());
        };
        for (i, &group) in (from..).zip(groups) {
            let state = &mut self.states[group as usize];
            *state = state.combine(Moments {
                n: n[i],
                sum: sum[i],
                deviations: deviations[i],
            })?;
        }
        Ok(())
    }

    fn export(&self, groups: &[u32]) -> Vec<Vector> {
        let states = pick(&self.states, groups);
        vec![
            floats(states.iter().map(|s| s.n).collect()),
            floats(states.iter().map(|s| s.sum).collect()),
            floats(states.iter().map(|s| s.deviations).collect()),
        ]
    }

    fn finish(&self, from: usize, to: usize) -> Result<Vec<Vector>> {
        let results: Vec<Option<f64>> = self.states[from..to]
            .iter()
            .map(|s| s.result(self.function))
            .collect();
        let validity = results
            .contains(&None)
            .then(|| Bitmap::from_bools(results.iter().map(Option::is_some)));
        let values = Values::F64(results.into_iter().map(Option::unwrap_or_default).collect());
        Ok(vec![Vector { values, validity }])
    }

    fn clear(&mut self) {
        self.states.clear();
    }

    fn memory_bytes(&self) -> usize {
        self.states.capacity() * size_of::<Moments>()
    }
}
