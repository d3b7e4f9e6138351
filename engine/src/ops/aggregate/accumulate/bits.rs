// SPDX-License-Identifier: Apache-2.0
//! `bool_and`, `bool_or`, `bit_and`, `bit_or`, `bit_xor`.

use doris_storage::vector::{Physical, Values, Vector};

use super::{each_valid, pick, required, seen_bits, wrong_layout, Accumulator, Groups};
use crate::error::{Error, Result};
use crate::plan::AggregateFunction;

#[derive(Clone, Copy)]
enum Op {
    And,
    Or,
    Xor,
}

/// The accumulator of a bit or boolean function on a layout.
pub fn bits(function: AggregateFunction, physical: Physical) -> Result<Box<dyn Accumulator>> {
    let op = match function {
        AggregateFunction::BitAnd | AggregateFunction::BoolAnd => Op::And,
        AggregateFunction::BitOr | AggregateFunction::BoolOr => Op::Or,
        AggregateFunction::BitXor => Op::Xor,
        _ => return Err(Error::internal("not a bit function")),
    };
    Ok(Box::new(Bits {
        op,
        physical,
        states: Vec::new(),
        seen: Vec::new(),
    }))
}

/// States as 64-bit integers; narrower arguments are sign-extended, which no operation disturbs.
struct Bits {
    op: Op,
    physical: Physical,
    states: Vec<i64>,
    seen: Vec<u8>,
}

impl Bits {
    fn add<T: Copy + Into<i64>>(&mut self, groups: Groups<'_>, argument: &Vector, values: &[T]) {
        let op = self.op;
        each_valid(groups, argument.validity.as_ref(), |group, row| {
            let value: i64 = values[row].into();
            let state = &mut self.states[group];
            *state = match (self.seen[group], op) {
                (0, _) => value,
                (_, Op::And) => *state & value,
                (_, Op::Or) => *state | value,
                (_, Op::Xor) => *state ^ value,
            };
            self.seen[group] = 1;
        });
    }

    fn column(&self, states: &[i64], seen: &[u8], physical: Physical) -> Vec<Vector> {
        let values = match physical {
            Physical::Bool => Values::Bool(states.iter().map(|&s| s as u8).collect()),
            Physical::I16 => Values::I16(states.iter().map(|&s| s as i16).collect()),
            Physical::I32 => Values::I32(states.iter().map(|&s| s as i32).collect()),
            _ => Values::I64(states.to_vec()),
        };
        vec![Vector {
            values,
            validity: seen_bits(seen),
        }]
    }
}

impl Accumulator for Bits {
    fn resize(&mut self, groups: usize) {
        self.states.resize(groups, 0);
        self.seen.resize(groups, 0);
    }

    fn update(&mut self, groups: Groups<'_>, argument: Option<&Vector>) -> Result<()> {
        let argument = required(argument)?;
        match &argument.values {
            Values::Bool(v) => self.add(groups, argument, v),
            Values::I16(v) => self.add(groups, argument, v),
            Values::I32(v) => self.add(groups, argument, v),
            Values::I64(v) => self.add(groups, argument, v),
            _ => return Err(wrong_layout()),
        }
        Ok(())
    }

    fn merge(&mut self, groups: &[u32], states: &[Vector], from: usize) -> Result<()> {
        let part = crate::gather::slice(&states[0], from, from + groups.len());
        self.update(Groups::Each(groups), Some(&part))
    }

    fn export(&self, groups: &[u32]) -> Vec<Vector> {
        self.column(
            &pick(&self.states, groups),
            &pick(&self.seen, groups),
            Physical::I64,
        )
    }

    fn finish(&self, from: usize, to: usize) -> Result<Vec<Vector>> {
        Ok(self.column(&self.states[from..to], &self.seen[from..to], self.physical))
    }

    fn clear(&mut self) {
        self.states.clear();
        self.seen.clear();
    }

    fn memory_bytes(&self) -> usize {
        self.states.capacity() * 9
    }
}
