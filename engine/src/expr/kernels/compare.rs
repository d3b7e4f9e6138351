// SPDX-License-Identifier: Apache-2.0
//! Comparison. Floats compare as PostgreSQL's: NaN equals NaN and is above everything, -0 equals 0.

use std::cmp::Ordering;

use doris_storage::vector::{Physical, Values, Vector};

use super::decimal;
use crate::error::{Error, Result};
use crate::expr::ir::CompareOp;
use crate::expr::operand::{strict_validity, zip, Native, Operand};
use crate::types::{Collation, DataType};

/// The order of values of one layout.
pub(in crate::expr) trait SqlOrd: Native {
    fn eq(self, other: Self) -> bool;
    fn lt(self, other: Self) -> bool;
}

macro_rules! integer_order {
    ($($type:ty),*) => {$(
        impl SqlOrd for $type {
            #[inline(always)]
            fn eq(self, other: Self) -> bool { self == other }
            #[inline(always)]
            fn lt(self, other: Self) -> bool { self < other }
        }
    )*};
}
integer_order!(u8, i16, i32, i64, i128);

macro_rules! float_order {
    ($($type:ty),*) => {$(
        impl SqlOrd for $type {
            #[inline(always)]
            fn eq(self, other: Self) -> bool { (self == other) | (self.is_nan() & other.is_nan()) }
            #[inline(always)]
            fn lt(self, other: Self) -> bool { (self < other) | (!self.is_nan() & other.is_nan()) }
        }
    )*};
}
float_order!(f32, f64);

/// The bytes of a bpchar value that take part in comparison.
#[inline]
pub(in crate::expr) fn without_blanks(bytes: &[u8]) -> &[u8] {
    let end = bytes
        .iter()
        .rposition(|&b| b != b' ')
        .map_or(0, |last| last + 1);
    &bytes[..end]
}

/// `operands[0] op operands[1]`, both of `data_type`.
pub(in crate::expr) fn compare(
    op: CompareOp,
    data_type: DataType,
    operands: &[Operand],
    rows: usize,
) -> Result<Vector> {
    if op.is_null_safe() {
        return distinct(op, data_type, operands, rows);
    }
    let [a, b] = operands else {
        return Err(Error::internal("comparison takes two operands"));
    };
    let bits = match data_type.physical() {
        Physical::Bool => native::<u8>(op, a, b, rows)?,
        Physical::I16 => native::<i16>(op, a, b, rows)?,
        Physical::I32 => native::<i32>(op, a, b, rows)?,
        Physical::I64 => native::<i64>(op, a, b, rows)?,
        Physical::I128 => native::<i128>(op, a, b, rows)?,
        Physical::F32 => native::<f32>(op, a, b, rows)?,
        Physical::F64 => native::<f64>(op, a, b, rows)?,
        Physical::Fixed(_) | Physical::Bytes => bytes(op, data_type, a, b, rows),
    };
    Ok(Vector {
        values: Values::Bool(bits),
        validity: strict_validity(operands, rows),
    })
}

fn native<T: SqlOrd>(op: CompareOp, a: &Operand, b: &Operand, rows: usize) -> Result<Vec<u8>> {
    let (a, b) = (a.side::<T>()?, b.side::<T>()?);
    Ok(match op {
        CompareOp::Eq | CompareOp::NotDistinct => zip(a, b, rows, |a, b| u8::from(a.eq(b))),
        CompareOp::Ne | CompareOp::Distinct => zip(a, b, rows, |a, b| u8::from(!a.eq(b))),
        CompareOp::Lt => zip(a, b, rows, |a, b| u8::from(a.lt(b))),
        CompareOp::Le => zip(a, b, rows, |a, b| u8::from(!b.lt(a))),
        CompareOp::Gt => zip(a, b, rows, |a, b| u8::from(b.lt(a))),
        CompareOp::Ge => zip(a, b, rows, |a, b| u8::from(!a.lt(b))),
    })
}

/// Whether an order satisfies an operator.
#[inline]
pub(in crate::expr) fn satisfies(op: CompareOp, order: Ordering) -> bool {
    match op {
        CompareOp::Eq | CompareOp::NotDistinct => order.is_eq(),
        CompareOp::Ne | CompareOp::Distinct => order.is_ne(),
        CompareOp::Lt => order.is_lt(),
        CompareOp::Le => order.is_le(),
        CompareOp::Gt => order.is_gt(),
        CompareOp::Ge => order.is_ge(),
    }
}

fn bytes(op: CompareOp, data_type: DataType, a: &Operand, b: &Operand, rows: usize) -> Vec<u8> {
    let trim: fn(&[u8]) -> &[u8] = match data_type {
        DataType::Bpchar { .. } => without_blanks,
        _ => |bytes| bytes,
    };
    let collation = data_type.collation().unwrap_or(Collation::C);
    let test = |i: usize| {
        let (a, b) = (trim(a.bytes(i)), trim(b.bytes(i)));
        match op {
            CompareOp::Eq | CompareOp::NotDistinct => a == b,
            CompareOp::Ne | CompareOp::Distinct => a != b,
            _ => satisfies(op, collation.compare(a, b)),
        }
    };
    if data_type == DataType::Decimal {
        let test = |i: usize| satisfies(op, decimal::order(a.bytes(i), b.bytes(i)));
        return (0..rows).map(|i| u8::from(test(i))).collect();
    }
    (0..rows).map(|i| u8::from(test(i))).collect()
}

/// `IS [NOT] DISTINCT FROM`: NULL is a value like any other.
fn distinct(
    op: CompareOp,
    data_type: DataType,
    operands: &[Operand],
    rows: usize,
) -> Result<Vector> {
    let negated = op == CompareOp::NotDistinct;
    let [a, b] = operands else {
        return Err(Error::internal("comparison takes two operands"));
    };
    let differ = if a.is_null_scalar() || b.is_null_scalar() {
        vec![0; rows]
    } else {
        match compare(CompareOp::Ne, data_type, operands, rows)?.values {
            Values::Bool(bits) => bits,
            _ => return Err(Error::internal("comparison gives booleans")),
        }
    };
    let bits = differ.into_iter().enumerate().map(|(i, differ)| {
        let distinct = match (a.is_null(i), b.is_null(i)) {
            (false, false) => differ != 0,
            (a, b) => a != b,
        };
        u8::from(distinct != negated)
    });
    Ok(Vector {
        values: Values::Bool(bits.collect()),
        validity: None,
    })
}

/// The total order of rows `i` and `j` of two vectors of one type, neither NULL: for GREATEST and LEAST.
pub(in crate::expr) fn order(
    data_type: DataType,
    a: &Vector,
    i: usize,
    b: &Vector,
    j: usize,
) -> Ordering {
    fn by<T: SqlOrd>(a: T, b: T) -> Ordering {
        if a.lt(b) {
            Ordering::Less
        } else if b.lt(a) {
            Ordering::Greater
        } else {
            Ordering::Equal
        }
    }
    match (&a.values, &b.values) {
        (Values::Bool(a), Values::Bool(b)) => by(a[i], b[j]),
        (Values::I16(a), Values::I16(b)) => by(a[i], b[j]),
        (Values::I32(a), Values::I32(b)) => by(a[i], b[j]),
        (Values::I64(a), Values::I64(b)) => by(a[i], b[j]),
        (Values::I128(a), Values::I128(b)) => by(a[i], b[j]),
        (Values::F32(a), Values::F32(b)) => by(a[i], b[j]),
        (Values::F64(a), Values::F64(b)) => by(a[i], b[j]),
        _ => {
            let (a, b) = (
                a.bytes(i).unwrap_or_default(),
                b.bytes(j).unwrap_or_default(),
            );
            match data_type {
                DataType::Bpchar { collation } => {
                    collation.compare(without_blanks(a), without_blanks(b))
                }
                DataType::Text { collation } => collation.compare(a, b),
                DataType::Decimal => decimal::order(a, b),
                _ => a.cmp(b),
            }
        }
    }
}
