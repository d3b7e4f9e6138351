// SPDX-License-Identifier: Apache-2.0
//! Membership in a list of constants.
//!
//! Integers in a narrow range become a bit set; a handful of them is compared one by one, which the compiler turns
//! into vector instructions; everything else is hashed by its canonical value.

use doris_storage::vector::{Bitmap, Physical, Values, Vector};
use foldhash::fast::FixedState;
use hashbrown::HashSet;

use super::compare::without_blanks;
use crate::error::{Error, Result};
use crate::expr::canonical::{canonical_f32, canonical_f64};
use crate::expr::operand::{map, strict_validity, Operand};
use crate::types::{DataType, Scalar};

/// Widest range of integers kept as a bit set.
const BIT_SET_RANGE_MAX: i64 = 1 << 16;
/// Most integers compared one by one.
const LINEAR_MAX: usize = 4;

type Hashed<T> = HashSet<T, FixedState>;

/// The constants of an IN list, of one type.
#[derive(Clone, Debug)]
pub struct ValueSet {
    data_type: DataType,
    has_null: bool,
    count: usize,
    members: Members,
}

#[derive(Clone, Debug)]
enum Members {
    Linear(Vec<i64>),
    Bits {
        low: i64,
        bits: Bitmap,
    },
    Ints(Hashed<i64>),
    Wide(Hashed<i128>),
    /// Canonical bits.
    Floats(Hashed<u64>),
    Bytes(Hashed<Box<[u8]>>),
}

impl ValueSet {
    /// The set of `constants` of `data_type`.
    pub fn new(
        data_type: DataType,
        constants: impl IntoIterator<Item = Option<Scalar>>,
    ) -> Result<Self> {
        let mut has_null = false;
        let mut values = Vec::new();
        for constant in constants {
            match constant {
                Some(value) if value.fits(data_type.physical()) => values.push(value),
                Some(_) => {
                    return Err(Error::internal(
                        "a list constant of another layout than its type",
                    ))
                }
                None => has_null = true,
            }
        }
        let count = values.len() + usize::from(has_null);
        let members = match data_type.physical() {
            Physical::Bool | Physical::I16 | Physical::I32 | Physical::I64 => {
                let narrow = |v: Scalar| match v {
                    Scalar::Bool(v) => Some(i64::from(v)),
                    v => v.as_i128().and_then(|v| v.try_into().ok()),
                };
                Members::of_ints(values.into_iter().filter_map(narrow).collect())
            }
            Physical::I128 => Members::Wide(values.iter().filter_map(Scalar::as_i128).collect()),
            Physical::F32 | Physical::F64 => {
                Members::Floats(values.iter().filter_map(float_bits).collect())
            }
            Physical::Fixed(_) | Physical::Bytes => {
                let bytes = values.into_iter().filter_map(|v| match v {
                    Scalar::Bytes(bytes) => Some(significant(data_type, &bytes).into()),
                    _ => None,
                });
                Members::Bytes(bytes.collect())
            }
        };
        Ok(Self {
            data_type,
            has_null,
            count,
            members,
        })
    }

    /// Number of constants, NULLs as one.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether the list is empty: then nothing is in it, not even unknowably.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether a NULL is among the constants.
    pub fn has_null(&self) -> bool {
        self.has_null
    }

    /// The constants that are not NULL, each once, in no order: integers of all widths as 64-bit ones, texts as far as
    /// they take part in equality.
    pub fn values(&self) -> Vec<Scalar> {
        match &self.members {
            Members::Linear(list) => list.iter().map(|v| Scalar::I64(*v)).collect(),
            Members::Bits { low, bits } => (0..bits.len())
                .filter(|i| bits.get(*i))
                .map(|i| Scalar::I64(low + i as i64))
                .collect(),
            Members::Ints(set) => set.iter().map(|v| Scalar::I64(*v)).collect(),
            Members::Wide(set) => set.iter().map(|v| Scalar::I128(*v)).collect(),
            Members::Floats(set) => set.iter().map(|bits| self.float(*bits)).collect(),
            Members::Bytes(set) => set.iter().map(|v| Scalar::Bytes((**v).into())).collect(),
        }
    }

    fn float(&self, bits: u64) -> Scalar {
        match self.data_type.physical() {
            Physical::F32 => Scalar::F32(f32::from_bits(bits as u32)),
            _ => Scalar::F64(f64::from_bits(bits)),
        }
    }

    /// `operand IN self`, or `NOT IN`.
    pub(in crate::expr) fn test(
        &self,
        operand: &Operand,
        negated: bool,
        rows: usize,
    ) -> Result<Vector> {
        if self.is_empty() || operand.is_null_scalar() {
            let validity = (!self.is_empty()).then(|| Bitmap::filled(rows, false));
            return Ok(Vector {
                values: Values::Bool(vec![u8::from(negated); rows]),
                validity,
            });
        }
        let mut found = self.found(operand, rows)?;
        let mut validity = strict_validity(std::slice::from_ref(operand), rows);
        if self.has_null {
            let known = |i: usize| found[i] != 0 && !operand.is_null(i);
            validity = Some(Bitmap::from_bools((0..rows).map(known)));
        }
        if negated {
            found.iter_mut().for_each(|bit| *bit ^= 1);
        }
        Ok(Vector {
            values: Values::Bool(found),
            validity,
        })
    }

    fn found(&self, operand: &Operand, rows: usize) -> Result<Vec<u8>> {
        Ok(match self.data_type.physical() {
            Physical::Bool => map(operand.side::<u8>()?, rows, |v| self.has_int(v.into())),
            Physical::I16 => self.ints(operand.side::<i16>()?, rows),
            Physical::I32 => self.ints(operand.side::<i32>()?, rows),
            Physical::I64 => self.ints(operand.side::<i64>()?, rows),
            Physical::I128 => match &self.members {
                Members::Wide(set) => map(operand.side::<i128>()?, rows, |v| {
                    u8::from(set.contains(&v))
                }),
                _ => return Err(Error::internal("a list of another layout")),
            },
            Physical::F32 => map(operand.side::<f32>()?, rows, |v| {
                self.has_float(canonical_f32(v).to_bits().into())
            }),
            Physical::F64 => map(operand.side::<f64>()?, rows, |v| {
                self.has_float(canonical_f64(v).to_bits())
            }),
            Physical::Fixed(_) | Physical::Bytes => {
                let Members::Bytes(set) = &self.members else {
                    return Err(Error::internal("a list of another layout"));
                };
                (0..rows)
                    .map(|i| u8::from(set.contains(significant(self.data_type, operand.bytes(i)))))
                    .collect()
            }
        })
    }

    /// The loops over integers, one for each kind of set.
    fn ints<T: Copy + Into<i64>>(
        &self,
        side: crate::expr::operand::Side<T>,
        rows: usize,
    ) -> Vec<u8> {
        match &self.members {
            Members::Linear(list) => map(side, rows, |v: T| {
                list.iter()
                    .fold(0, |found, &member| found | u8::from(member == v.into()))
            }),
            Members::Bits { low, bits } => map(side, rows, |v: T| in_bits(*low, bits, v.into())),
            _ => map(side, rows, |v: T| self.has_int(v.into())),
        }
    }

    fn has_int(&self, value: i64) -> u8 {
        u8::from(match &self.members {
            Members::Linear(list) => list.contains(&value),
            Members::Bits { low, bits } => in_bits(*low, bits, value) != 0,
            Members::Ints(set) => set.contains(&value),
            _ => false,
        })
    }

    fn has_float(&self, bits: u64) -> u8 {
        u8::from(matches!(&self.members, Members::Floats(set) if set.contains(&bits)))
    }
}

impl Members {
    fn of_ints(mut values: Vec<i64>) -> Self {
        values.sort_unstable();
        values.dedup();
        let (Some(&low), Some(&high)) = (values.first(), values.last()) else {
            return Members::Linear(values);
        };
        if values.len() <= LINEAR_MAX {
            return Members::Linear(values);
        }
        match high.checked_sub(low) {
            Some(range) if range < BIT_SET_RANGE_MAX => {
                let mut bits = Bitmap::filled(range as usize + 1, false);
                values
                    .iter()
                    .for_each(|value| bits.set((value - low) as usize, true));
                Members::Bits { low, bits }
            }
            _ => Members::Ints(values.into_iter().collect()),
        }
    }
}

#[inline]
fn in_bits(low: i64, bits: &Bitmap, value: i64) -> u8 {
    let offset = value.wrapping_sub(low) as u64 as usize;
    u8::from(offset < bits.len() && bits.get(offset))
}

fn float_bits(value: &Scalar) -> Option<u64> {
    match value {
        Scalar::F32(v) => Some(canonical_f32(*v).to_bits().into()),
        Scalar::F64(v) => Some(canonical_f64(*v).to_bits()),
        _ => None,
    }
}

/// The bytes that take part in equality.
fn significant(data_type: DataType, bytes: &[u8]) -> &[u8] {
    match data_type {
        DataType::Bpchar { .. } => without_blanks(bytes),
        _ => bytes,
    }
}
