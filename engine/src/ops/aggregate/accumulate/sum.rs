// SPDX-License-Identifier: Apache-2.0
//! `sum`, and `avg` of exact numbers.

use doris_storage::vector::{Bitmap, Values, Vector};

use super::{
    each_valid, pick, required, seen_bits, try_each_valid, wrong_layout, Accumulator, Groups,
};
use crate::error::{Error, OutOfRange, Result};

/// `sum` of Int2 and Int4: Int8.
#[derive(Default)]
pub struct SumInt {
    sums: Vec<i64>,
    seen: Vec<u8>,
}

impl SumInt {
    fn add<T: Copy + Into<i64>>(
        &mut self,
        groups: Groups<'_>,
        values: &[T],
        valid: Option<&Bitmap>,
    ) -> Result<()> {
        let overflow = Error::NumericOutOfRange(OutOfRange::Int8);
        if let (Groups::One(_), None) = (groups, valid) {
            // A batch has far fewer than 2^32 rows.
            let total: i64 = values.iter().map(|&v| v.into()).sum();
            self.sums[0] = self.sums[0].checked_add(total).ok_or(overflow)?;
            self.seen[0] |= u8::from(!values.is_empty());
            return Ok(());
        }
        if let (Groups::Sorted(sorted), None) = (groups, valid) {
            for (group, rows) in sorted.runs().filter(|(_, rows)| !rows.is_empty()) {
                let total: i64 = rows.iter().map(|&row| values[row as usize].into()).sum();
                let sum = self.sums[group].checked_add(total);
                self.sums[group] = sum.ok_or(overflow.clone())?;
                self.seen[group] = 1;
            }
            return Ok(());
        }
        let mut overflowed = false;
        each_valid(groups, valid, |group, row| {
            let (sum, over) = self.sums[group].overflowing_add(values[row].into());
            overflowed |= over;
            self.sums[group] = sum;
            self.seen[group] = 1;
        });
        if overflowed {
            return Err(overflow);
        }
        Ok(())
    }
}

impl Accumulator for SumInt {
    fn resize(&mut self, groups: usize) {
        self.sums.resize(groups, 0);
        self.seen.resize(groups, 0);
    }

    fn update(&mut self, groups: Groups<'_>, argument: Option<&Vector>) -> Result<()> {
        let argument = required(argument)?;
        let valid = argument.validity.as_ref();
        match &argument.values {
            Values::I16(v) => self.add(groups, v, valid),
            Values::I32(v) => self.add(groups, v, valid),
            _ => Err(wrong_layout()),
        }
    }

    fn merge(&mut self, groups: &[u32], states: &[Vector], from: usize) -> Result<()> {
        let Values::I64(sums) = &states[0].values else {
            return Err(wrong_layout());
        };
        for (i, &group) in groups.iter().enumerate() {
            if !states[0].is_null(from + i) {
                let sum = &mut self.sums[group as usize];
                *sum = sum
                    .checked_add(sums[from + i])
                    .ok_or(Error::NumericOutOfRange(OutOfRange::Int8))?;
                self.seen[group as usize] = 1;
            }
        }
        Ok(())
    }

    fn export(&self, groups: &[u32]) -> Vec<Vector> {
        let validity = seen_bits(&pick(&self.seen, groups));
        vec![Vector {
            values: Values::I64(pick(&self.sums, groups)),
            validity,
        }]
    }

    fn finish(&self, from: usize, to: usize) -> Result<Vec<Vector>> {
        let validity = seen_bits(&self.seen[from..to]);
        Ok(vec![Vector {
            values: Values::I64(self.sums[from..to].to_vec()),
            validity,
        }])
    }

    fn clear(&mut self) {
        self.sums.clear();
        self.seen.clear();
    }

    fn memory_bytes(&self) -> usize {
        self.sums.capacity() * 9
    }
}

/// `sum` and `avg` of integers and numerics in 128 bits.
pub struct SumWide {
    sums: Vec<i128>,
    counts: Vec<i64>,
    with_count: bool,
}

/// The sum of some values. Two halves are added apart, which takes no carry from one to the other.
#[inline]
fn sum_of<T: Copy + Into<i64>>(rows: &[u32], values: &[T]) -> i128 {
    let (mut low, mut high) = (0u64, 0i64);
    // A batch has far fewer than 2^31 rows: neither half overflows.
    for &row in rows {
        let value: i64 = values[row as usize].into();
        low += value as u64 & 0xFFFF_FFFF;
        high += value >> 32;
    }
    (i128::from(high) << 32) + i128::from(low)
}

impl SumWide {
    /// A sum; with `with_count`, followed by the count, as `avg` wants it.
    pub fn new(with_count: bool) -> Self {
        Self {
            sums: Vec::new(),
            counts: Vec::new(),
            with_count,
        }
    }

    /// Values of at most 64 bits: so many rows that they overflow 128 bits can't be.
    fn add<T: Copy + Into<i64>>(
        &mut self,
        groups: Groups<'_>,
        values: &[T],
        valid: Option<&Bitmap>,
    ) {
        if let (Groups::One(rows), None) = (groups, valid) {
            self.sums[0] += values.iter().map(|&v| i128::from(v.into())).sum::<i128>();
            self.counts[0] += rows as i64;
            return;
        }
        if let (Groups::Sorted(sorted), None) = (groups, valid) {
            for (group, rows) in sorted.runs() {
                self.sums[group] += sum_of(rows, values);
                self.counts[group] += rows.len() as i64;
            }
            return;
        }
        each_valid(groups, valid, |group, row| {
            self.sums[group] = self.sums[group].wrapping_add(values[row].into().into());
            self.counts[group] += 1;
        });
    }

    fn add_wide(
        &mut self,
        groups: Groups<'_>,
        values: &[i128],
        valid: Option<&Bitmap>,
    ) -> Result<()> {
        if let (Groups::Sorted(sorted), None) = (groups, valid) {
            for (group, rows) in sorted.runs() {
                let mut sum = self.sums[group];
                let mut over = false;
                for &row in rows {
                    let (next, failed) = sum.overflowing_add(values[row as usize]);
                    (sum, over) = (next, over | failed);
                }
                if over {
                    return Err(Error::NumericTooWide);
                }
                self.sums[group] = sum;
                self.counts[group] += rows.len() as i64;
            }
            return Ok(());
        }
        try_each_valid(groups, valid, |group, row| {
            self.sums[group] = self.sums[group]
                .checked_add(values[row])
                .ok_or(Error::NumericTooWide)?;
            self.counts[group] += 1;
            Ok(())
        })
    }

    fn columns(&self, sums: Vec<i128>, counts: Vec<i64>, with_count: bool) -> Vec<Vector> {
        let validity = counts
            .contains(&0)
            .then(|| Bitmap::from_bools(counts.iter().map(|&n| n > 0)));
        let mut out = vec![Vector {
            values: Values::I128(sums),
            validity,
        }];
        if with_count {
            out.push(Vector {
                values: Values::I64(counts),
                validity: None,
            });
        }
        out
    }
}

impl Accumulator for SumWide {
    fn resize(&mut self, groups: usize) {
        self.sums.resize(groups, 0);
        self.counts.resize(groups, 0);
    }

    fn update(&mut self, groups: Groups<'_>, argument: Option<&Vector>) -> Result<()> {
        let argument = required(argument)?;
        let valid = argument.validity.as_ref();
        match &argument.values {
            Values::I16(v) => self.add(groups, v, valid),
            Values::I32(v) => self.add(groups, v, valid),
            Values::I64(v) => self.add(groups, v, valid),
            Values::I128(v) => self.add_wide(groups, v, valid)?,
            _ => return Err(wrong_layout()),
        }
        Ok(())
    }

    fn merge(&mut self, groups: &[u32], states: &[Vector], from: usize) -> Result<()> {
        let (Values::I128(sums), Values::I64(counts)) = (&states[0].values, &states[1].values)
        else {
            return Err(wrong_layout());
        };
        for (i, &group) in groups.iter().enumerate() {
            let sum = &mut self.sums[group as usize];
            *sum = sum
                .checked_add(sums[from + i])
                .ok_or(Error::NumericTooWide)?;
            self.counts[group as usize] += counts[from + i];
        }
        Ok(())
    }

    fn export(&self, groups: &[u32]) -> Vec<Vector> {
        self.columns(pick(&self.sums, groups), pick(&self.counts, groups), true)
    }

    fn finish(&self, from: usize, to: usize) -> Result<Vec<Vector>> {
        Ok(self.columns(
            self.sums[from..to].to_vec(),
            self.counts[from..to].to_vec(),
            self.with_count,
        ))
    }

    fn clear(&mut self) {
        self.sums.clear();
        self.counts.clear();
    }

    fn memory_bytes(&self) -> usize {
        self.sums.capacity() * 24
    }
}

macro_rules! float_sum {
    ($name:ident, $layout:ident, $t:ty, $doc:literal) => {
        #[doc = $doc]
        #[derive(Default)]
        pub struct $name {
            sums: Vec<$t>,
            seen: Vec<u8>,
        }

        impl $name {
            /// Adds, or fails when two finite numbers give an infinite one.
            #[inline]
            fn add(&mut self, group: usize, value: $t) -> Result<()> {
                let old = self.sums[group];
                let sum = if self.seen[group] == 0 {
                    value
                } else {
                    old + value
                };
                if sum.is_infinite() && !old.is_infinite() && !value.is_infinite() {
                    return Err(Error::NumericOutOfRange(OutOfRange::FloatOverflow));
                }
                self.sums[group] = sum;
                self.seen[group] = 1;
                Ok(())
            }
        }

        impl Accumulator for $name {
            fn resize(&mut self, groups: usize) {
                self.sums.resize(groups, 0.0);
                self.seen.resize(groups, 0);
            }

            fn update(&mut self, groups: Groups<'_>, argument: Option<&Vector>) -> Result<()> {
                let argument = required(argument)?;
                let Values::$layout(values) = &argument.values else {
                    return Err(wrong_layout());
                };
                try_each_valid(groups, argument.validity.as_ref(), |group, row| {
                    self.add(group, values[row])
                })
            }

            fn merge(&mut self, groups: &[u32], states: &[Vector], from: usize) -> Result<()> {
                let Values::$layout(sums) = &states[0].values else {
                    return Err(wrong_layout());
                };
                for (i, &group) in groups.iter().enumerate() {
                    if !states[0].is_null(from + i) {
                        self.add(group as usize, sums[from + i])?;
                    }
                }
                Ok(())
            }

            fn export(&self, groups: &[u32]) -> Vec<Vector> {
                let validity = seen_bits(&pick(&self.seen, groups));
                vec![Vector {
                    values: Values::$layout(pick(&self.sums, groups)),
                    validity,
                }]
            }

            fn finish(&self, from: usize, to: usize) -> Result<Vec<Vector>> {
                let validity = seen_bits(&self.seen[from..to]);
                Ok(vec![Vector {
                    values: Values::$layout(self.sums[from..to].to_vec()),
                    validity,
                }])
            }

            fn clear(&mut self) {
                self.sums.clear();
                self.seen.clear();
            }

            fn memory_bytes(&self) -> usize {
                self.sums.capacity() * (size_of::<$t>() + 1)
            }
        }
    };
}

float_sum!(
    SumF32,
    F32,
    f32,
    "`sum` of Float4, computed in Float4 as PostgreSQL does."
);
float_sum!(SumF64, F64, f64, "`sum` of Float8.");
