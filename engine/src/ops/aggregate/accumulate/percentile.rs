// SPDX-License-Identifier: Apache-2.0
//! `percentile_cont`, `percentile_disc` and `mode`: all values of a group, sorted at the end.
//!
//! Values are kept as words whose order is theirs, and that give the value back.

use doris_storage::vector::{Bitmap, BytesColumn, Physical, Values, Vector};

use super::{required, try_each_valid, wrong_layout, Accumulator, Groups};
use crate::error::{Error, Result};
use crate::plan::AggregateFunction;
use crate::types::DataType;

/// Most values of a group: its exported state is a bytes value.
const VALUES_MAX: usize = 1 << 28;

/// The values of all groups.
pub struct Percentile {
    function: AggregateFunction,
    descending: bool,
    layout: Physical,
    groups: Vec<Vec<u64>>,
    values: usize,
}

/// An accumulator of `function` over values of type `t`, where that is known here.
pub fn percentile(function: AggregateFunction, t: DataType) -> Result<Box<dyn Accumulator>> {
    let layout = t.physical();
    let (function, descending) = match function {
        AggregateFunction::PercentileContDesc(at) => (AggregateFunction::PercentileCont(at), true),
        AggregateFunction::PercentileDiscDesc(at) => (AggregateFunction::PercentileDisc(at), true),
        AggregateFunction::ModeDesc => (AggregateFunction::Mode, true),
        rising => (rising, false),
    };
    let fits = match function {
        AggregateFunction::PercentileCont(_) => t == DataType::Float8,
        // Equal floats may look different: which one is the most frequent, PostgreSQL's sort decides.
        AggregateFunction::Mode if t.is_float() => false,
        _ => matches!(
            layout,
            Physical::I16 | Physical::I32 | Physical::I64 | Physical::F32 | Physical::F64
        ),
    };
    if !fits {
        return Err(Error::not_native(format!("{function:?} of {t}")));
    }
    Ok(Box::new(Percentile {
        function,
        descending,
        layout,
        groups: Vec::new(),
        values: 0,
    }))
}

/// The word of a value: words compare as the values do, with NaN last, and -0.0 before 0.0.
fn word(vector: &Vector, row: usize) -> Result<u64> {
    let signed = |value: i64| (value ^ i64::MIN) as u64;
    Ok(match &vector.values {
        Values::I16(v) => signed(v[row].into()),
        Values::I32(v) => signed(v[row].into()),
        Values::I64(v) => signed(v[row]),
        Values::F32(v) => float_word(v[row].into()),
        Values::F64(v) => float_word(v[row]),
        _ => return Err(wrong_layout()),
    })
}

fn float_word(value: f64) -> u64 {
    if value.is_nan() {
        return u64::MAX;
    }
    let bits = value.to_bits();
    bits ^ if bits >> 63 == 1 { u64::MAX } else { 1 << 63 }
}

fn float(word: u64) -> f64 {
    if word == u64::MAX {
        return f64::NAN;
    }
    f64::from_bits(word ^ if word >> 63 == 1 { 1 << 63 } else { u64::MAX })
}

fn integer(word: u64) -> i64 {
    word as i64 ^ i64::MIN
}

impl Percentile {
    fn push(&mut self, group: usize, word: u64) -> Result<()> {
        let values = &mut self.groups[group];
        if values.len() == VALUES_MAX {
            return Err(Error::OutOfMemory);
        }
        values.push(word);
        self.values += 1;
        Ok(())
    }

    /// The value at a place among `words`, which are sorted and at least one.
    fn picked(&self, words: &[u64]) -> u64 {
        match self.function {
            AggregateFunction::PercentileDisc(fraction) => {
                let row = (f64::from_bits(fraction) * words.len() as f64).ceil();
                words[(row as usize).clamp(1, words.len()) - 1]
            }
            AggregateFunction::PercentileCont(fraction) => {
                float_word(between(f64::from_bits(fraction), words))
            }
            _ => most_frequent(words),
        }
    }
}

/// The value at `fraction` of the way from the first to the last, between its neighbours.
fn between(fraction: f64, words: &[u64]) -> f64 {
    let at = fraction * (words.len() - 1) as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    let (first, second) = (float(words[low]), float(words[high.min(words.len() - 1)]));
    match low == high {
        true => first,
        false => first + (at - low as f64) * (second - first),
    }
}

/// The first of the values that occur most often.
fn most_frequent(words: &[u64]) -> u64 {
    let mut best = (0, words[0]);
    for run in words.chunk_by(|a, b| a == b) {
        if run.len() > best.0 {
            best = (run.len(), run[0]);
        }
    }
    best.1
}

impl Accumulator for Percentile {
    fn resize(&mut self, groups: usize) {
        self.groups.resize_with(groups, Vec::new);
    }

    fn update(&mut self, groups: Groups<'_>, argument: Option<&Vector>) -> Result<()> {
        let argument = required(argument)?;
        try_each_valid(groups, argument.validity.as_ref(), |group, row| {
            self.push(group, word(argument, row)?)
        })
    }

    fn merge(&mut self, groups: &[u32], states: &[Vector], from: usize) -> Result<()> {
        for (i, &group) in (from..).zip(groups) {
            let bytes = states[0].bytes(i).ok_or_else(wrong_layout)?;
            for chunk in bytes.chunks_exact(8) {
                let mut word = [0; 8];
                word.copy_from_slice(chunk);
                self.push(group as usize, u64::from_le_bytes(word))?;
            }
        }
        Ok(())
    }

    fn export(&self, groups: &[u32]) -> Vec<Vector> {
        let mut column = BytesColumn::default();
        for &group in groups {
            let words = &self.groups[group as usize];
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            column.push(&bytes);
        }
        vec![Vector {
            values: Values::Bytes(column),
            validity: None,
        }]
    }

    fn finish(&self, from: usize, to: usize) -> Result<Vec<Vector>> {
        let picked = |words: &Vec<u64>| {
            let mut words = words.clone();
            words.sort_unstable();
            if self.descending {
                words.reverse();
            }
            match words.is_empty() {
                true => None,
                false => Some(self.picked(&words)),
            }
        };
        let picked: Vec<Option<u64>> = self.groups[from..to].iter().map(picked).collect();
        let words = || picked.iter().map(|word| word.unwrap_or(1 << 63));
        let values = match self.layout {
            Physical::I16 => Values::I16(words().map(|w| integer(w) as i16).collect()),
            Physical::I32 => Values::I32(words().map(|w| integer(w) as i32).collect()),
            Physical::I64 => Values::I64(words().map(integer).collect()),
            Physical::F32 => Values::F32(words().map(|w| float(w) as f32).collect()),
            _ => Values::F64(words().map(float).collect()),
        };
        let validity = Bitmap::from_bools(picked.iter().map(Option::is_some));
        Ok(vec![Vector {
            values,
            validity: Some(validity),
        }])
    }

    fn clear(&mut self) {
        self.groups.clear();
        self.values = 0;
    }

    fn memory_bytes(&self) -> usize {
        // Vectors grow by doubling.
        self.groups.capacity() * size_of::<Vec<u64>>() + self.values * 16
    }
}
