// SPDX-License-Identifier: Apache-2.0
//! `min` and `max`: numbers, dates, times, text. NaN is greater than every other float.

use std::cmp::Ordering;

use doris_storage::vector::{BytesColumn, Physical, Values, Vector};

use super::{each_valid, pick, required, seen_bits, wrong_layout, Accumulator, Groups};
use crate::error::{Error, Result};
use crate::gather::slice;
use crate::types::{Collation, DataType};

/// The accumulator of `max` or `min` on a type.
pub fn extreme(greatest: bool, t: DataType) -> Result<Box<dyn Accumulator>> {
    Ok(match t.physical() {
        Physical::I16 => Box::new(ExtremeI16::new(greatest)),
        Physical::I32 => Box::new(ExtremeI32::new(greatest)),
        Physical::I64 => Box::new(ExtremeI64::new(greatest)),
        Physical::I128 => Box::new(ExtremeI128::new(greatest)),
        Physical::F32 => Box::new(ExtremeF32::new(greatest)),
        Physical::F64 => Box::new(ExtremeF64::new(greatest)),
        Physical::Bool => return Err(Error::not_native("min or max of boolean")),
        Physical::Bytes | Physical::Fixed(_) => Box::new(ExtremeBytes::new(greatest, t)),
    })
}

/// Whether `a` comes after `b` in PostgreSQL's order of floats.
macro_rules! float_after {
    ($a:expr, $b:expr) => {
        $a > $b || $a.is_nan() && !$b.is_nan()
    };
}

macro_rules! integer_after {
    ($a:expr, $b:expr) => {
        $a > $b
    };
}

macro_rules! extreme_numbers {
    ($name:ident, $layout:ident, $t:ty, $after:ident) => {
        struct $name {
            greatest: bool,
            best: Vec<$t>,
            seen: Vec<u8>,
        }

        impl $name {
            fn new(greatest: bool) -> Self {
                Self {
                    greatest,
                    best: Vec::new(),
                    seen: Vec::new(),
                }
            }
        }

        impl Accumulator for $name {
            fn resize(&mut self, groups: usize) {
                self.best.resize(groups, <$t>::default());
                self.seen.resize(groups, 0);
            }

            fn update(&mut self, groups: Groups<'_>, argument: Option<&Vector>) -> Result<()> {
                let argument = required(argument)?;
                let Values::$layout(values) = &argument.values else {
                    return Err(wrong_layout());
                };
                let greatest = self.greatest;
                if let (Groups::One(_), None, [first, rest @ ..]) =
                    (groups, &argument.validity, &values[..])
                {
                    // In a register, and without a branch.
                    let best = match greatest {
                        true => rest
                            .iter()
                            .fold(*first, |best, &v| if $after!(v, best) { v } else { best }),
                        false => rest
                            .iter()
                            .fold(*first, |best, &v| if $after!(best, v) { v } else { best }),
                    };
                    let old = self.best[0];
                    let better = if greatest {
                        $after!(best, old)
                    } else {
                        $after!(old, best)
                    };
                    if better || self.seen[0] == 0 {
                        self.best[0] = best;
                        self.seen[0] = 1;
                    }
                    return Ok(());
                }
                each_valid(groups, argument.validity.as_ref(), |group, row| {
                    let (value, best) = (values[row], self.best[group]);
                    let better = if greatest {
                        $after!(value, best)
                    } else {
                        $after!(best, value)
                    };
                    if better || self.seen[group] == 0 {
                        self.best[group] = value;
                        self.seen[group] = 1;
                    }
                });
                Ok(())
            }

            fn merge(&mut self, groups: &[u32], states: &[Vector], from: usize) -> Result<()> {
                self.update(
                    Groups::Each(groups),
                    Some(&slice(&states[0], from, from + groups.len())),
                )
            }

            fn export(&self, groups: &[u32]) -> Vec<Vector> {
                let validity = seen_bits(&pick(&self.seen, groups));
                vec![Vector {
                    values: Values::$layout(pick(&self.best, groups)),
                    validity,
                }]
            }

            fn finish(&self, from: usize, to: usize) -> Result<Vec<Vector>> {
                let validity = seen_bits(&self.seen[from..to]);
                Ok(vec![Vector {
                    values: Values::$layout(self.best[from..to].to_vec()),
                    validity,
                }])
            }

            fn clear(&mut self) {
                self.best.clear();
                self.seen.clear();
            }

            fn memory_bytes(&self) -> usize {
                self.best.capacity() * (size_of::<$t>() + 1)
            }
        }
    };
}

extreme_numbers!(ExtremeI16, I16, i16, integer_after);
extreme_numbers!(ExtremeI32, I32, i32, integer_after);
extreme_numbers!(ExtremeI64, I64, i64, integer_after);
extreme_numbers!(ExtremeI128, I128, i128, integer_after);
extreme_numbers!(ExtremeF32, F32, f32, float_after);
extreme_numbers!(ExtremeF64, F64, f64, float_after);

struct ExtremeBytes {
    greatest: bool,
    /// Trailing blanks do not count.
    padded: bool,
    collation: Collation,
    physical: Physical,
    best: Vec<Vec<u8>>,
    seen: Vec<u8>,
    bytes: usize,
}

impl ExtremeBytes {
    fn new(greatest: bool, t: DataType) -> Self {
        Self {
            greatest,
            padded: matches!(t, DataType::Bpchar { .. }),
            collation: t.collation().unwrap_or(Collation::C),
            physical: t.physical(),
            best: Vec::new(),
            seen: Vec::new(),
            bytes: 0,
        }
    }

    fn take(&mut self, group: usize, value: &[u8]) {
        let trim = |bytes: &'_ [u8]| match self.padded {
            true => bytes.len() - bytes.iter().rev().take_while(|&&b| b == b' ').count(),
            false => bytes.len(),
        };
        let best = &mut self.best[group];
        let wanted = if self.greatest {
            Ordering::Greater
        } else {
            Ordering::Less
        };
        let collation = self.collation;
        let better =
            |best: &[u8]| collation.compare(&value[..trim(value)], &best[..trim(best)]) == wanted;
        if self.seen[group] == 0 || better(best) {
            let before = best.capacity();
            best.clear();
            best.extend_from_slice(value);
            self.bytes += best.capacity() - before;
            self.seen[group] = 1;
        }
    }

    fn column<'v>(&self, values: impl Iterator<Item = &'v Vec<u8>>, seen: &[u8]) -> Vec<Vector> {
        let mut column = BytesColumn::default();
        values
            .zip(seen)
            .for_each(|(value, &seen)| match (seen, self.physical) {
                (0, Physical::Fixed(width)) => column.push(&vec![0; usize::from(width)]),
                _ => column.push(value),
            });
        let values = match self.physical {
            Physical::Fixed(width) => Values::Fixed {
                width,
                data: column.data,
            },
            _ => Values::Bytes(column),
        };
        vec![Vector {
            values,
            validity: seen_bits(seen),
        }]
    }
}

impl Accumulator for ExtremeBytes {
    fn resize(&mut self, groups: usize) {
        self.best.resize(groups, Vec::new());
        self.seen.resize(groups, 0);
    }

    fn update(&mut self, groups: Groups<'_>, argument: Option<&Vector>) -> Result<()> {
        let argument = required(argument)?;
        each_valid(groups, argument.validity.as_ref(), |group, row| {
            self.take(group, argument.bytes(row).unwrap_or_default());
        });
        Ok(())
    }

    fn merge(&mut self, groups: &[u32], states: &[Vector], from: usize) -> Result<()> {
        for (i, &group) in (from..).zip(groups) {
            if !states[0].is_null(i) {
                self.take(group as usize, states[0].bytes(i).ok_or_else(wrong_layout)?);
            }
        }
        Ok(())
    }

    fn export(&self, groups: &[u32]) -> Vec<Vector> {
        let seen = pick(&self.seen, groups);
        self.column(groups.iter().map(|&g| &self.best[g as usize]), &seen)
    }

    fn finish(&self, from: usize, to: usize) -> Result<Vec<Vector>> {
        Ok(self.column(self.best[from..to].iter(), &self.seen[from..to]))
    }

    fn clear(&mut self) {
        self.best.clear();
        self.seen.clear();
        self.bytes = 0;
    }

    fn memory_bytes(&self) -> usize {
        self.best.capacity() * 25 + self.bytes
    }
}
