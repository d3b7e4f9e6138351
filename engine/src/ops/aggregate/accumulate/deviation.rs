// SPDX-License-Identifier: Apache-2.0
//! Variances and standard deviations of integers and numerics, exactly.

use doris_storage::vector::{Bitmap, Values, Vector};

use super::decimal::stored;
use super::{byte_states, required, try_each_valid, wrong_layout, Accumulator, Groups};
use crate::decimal::numeric_accumulator::NumericAccumulator;
use crate::decimal::{Number, View};
use crate::error::Result;
use crate::plan::AggregateFunction;
use crate::types::DataType;

/// The values of each group, added up.
pub struct Deviation {
    function: AggregateFunction,
    /// Digits after the point, of scaled integers.
    scale: u16,
    groups: Vec<NumericAccumulator>,
    /// Bytes of the sums that 128 bits do not hold.
    bytes: usize,
}

impl Deviation {
    /// The states of `function` of values of type `t`.
    pub fn new(function: AggregateFunction, t: DataType) -> Self {
        let scale = match t {
            DataType::Numeric { scale, .. } => scale.max(0) as u16,
            _ => 0,
        };
        Self {
            function,
            scale,
            groups: Vec::new(),
            bytes: 0,
        }
    }

    /// Changes a group's state.
    #[inline]
    fn change<T>(&mut self, group: usize, change: impl FnOnce(&mut NumericAccumulator) -> T) -> T {
        let tally = &mut self.groups[group];
        let before = tally.heap_bytes();
        let result = change(tally);
        self.bytes = self.bytes + tally.heap_bytes() - before;
        result
    }
}

/// The value at `row` of a vector of integers or numerics, of which the integers are scaled by `scale`.
#[inline]
pub(crate) fn number_at(argument: &Vector, scale: u16, row: usize) -> Result<Number> {
    let value = match &argument.values {
        Values::I16(v) => v[row].into(),
        Values::I32(v) => v[row].into(),
        Values::I64(v) => v[row].into(),
        Values::I128(v) => v[row],
        _ => {
            let bytes = argument.bytes(row).ok_or_else(wrong_layout)?;
            return Ok(View::new(bytes).number());
        }
    };
    Ok(Number::Small { value, scale })
}

/// A vector of results of which some are NULL.
pub(crate) fn nullable(results: &[Option<Number>]) -> Result<Vector> {
    let present = results.iter().map(Option::is_some);
    let numbers = results.iter().map(|n| n.as_ref().unwrap_or(&Number::ZERO));
    Ok(Vector {
        validity: Some(Bitmap::from_bools(present)),
        values: Values::Bytes(stored(numbers)?),
    })
}

impl Accumulator for Deviation {
    fn resize(&mut self, groups: usize) {
        self.groups.resize(groups, NumericAccumulator::default());
    }

    fn update(&mut self, groups: Groups<'_>, argument: Option<&Vector>) -> Result<()> {
        let argument = required(argument)?;
        let scale = self.scale;
        try_each_valid(groups, argument.validity.as_ref(), |group, row| {
            let number = number_at(argument, scale, row)?;
            self.change(group, |tally| tally.add(&number, true))
        })
    }

    fn merge(&mut self, groups: &[u32], states: &[Vector], from: usize) -> Result<()> {
        for (i, &group) in (from..).zip(groups) {
            let state = states[0].bytes(i).and_then(NumericAccumulator::of_state);
            let state = state.ok_or_else(wrong_layout)?;
            self.change(group as usize, |tally| tally.merge(&state));
        }
        Ok(())
    }

    fn export(&self, groups: &[u32]) -> Vec<Vector> {
        byte_states(groups, |group, out| self.groups[group].push_state(out))
    }

    fn finish(&self, from: usize, to: usize) -> Result<Vec<Vector>> {
        let groups = self.groups[from..to].iter();
        let results = groups.map(|tally| tally.deviation(self.function));
        Ok(vec![nullable(&results.collect::<Result<Vec<_>>>()?)?])
    }

    fn clear(&mut self) {
        self.groups.clear();
        self.bytes = 0;
    }

    fn memory_bytes(&self) -> usize {
        self.groups.capacity() * size_of::<NumericAccumulator>() + self.bytes
    }
}
