// SPDX-License-Identifier: Apache-2.0
//! Arithmetic with PostgreSQL's range checks.
//!
//! Each operation computes a value and a failure flag for every row without branching; only when some row failed
//! are the rows looked at again, to see whether a row that counts did, and why.

use doris_storage::vector::{Bitmap, Physical, Vector};

use super::decimal;
use crate::error::{Error, OutOfRange, Result};
use crate::expr::build::arith::is_proven;
use crate::expr::ir::ArithOp;
use crate::expr::operand::{map, strict_validity, try_map, try_zip, zip, Native, Operand, Side};
use crate::types::{pow10, DataType, NUMERIC_DIGITS_MAX};

/// An integer type of PostgreSQL's.
trait Int: Native + Eq {
    const OUT: OutOfRange;
    const ZERO: Self;
    fn add(self, other: Self) -> (Self, bool);
    fn sub(self, other: Self) -> (Self, bool);
    fn mul(self, other: Self) -> (Self, bool);
    fn div(self, other: Self) -> (Self, bool);
    fn rem(self, other: Self) -> (Self, bool);
    fn neg(self) -> (Self, bool);
    fn abs(self) -> (Self, bool);
}

macro_rules! int {
    ($($type:ty => $out:ident),*) => {$(
        impl Int for $type {
            const OUT: OutOfRange = OutOfRange::$out;
            const ZERO: Self = 0;
            #[inline(always)]
            fn add(self, other: Self) -> (Self, bool) { self.overflowing_add(other) }
            #[inline(always)]
            fn sub(self, other: Self) -> (Self, bool) { self.overflowing_sub(other) }
            #[inline(always)]
            fn mul(self, other: Self) -> (Self, bool) { self.overflowing_mul(other) }
            #[inline(always)]
            fn div(self, other: Self) -> (Self, bool) {
                self.checked_div(other).map_or((0, true), |quotient| (quotient, false))
            }
            #[inline(always)]
            fn rem(self, other: Self) -> (Self, bool) {
                // MIN % -1 is 0 in PostgreSQL.
                if other == 0 { (0, true) } else { (self.wrapping_rem(other), false) }
            }
            #[inline(always)]
            fn neg(self) -> (Self, bool) { self.overflowing_neg() }
            #[inline(always)]
            fn abs(self) -> (Self, bool) { self.overflowing_abs() }
        }
    )*};
}
int!(i16 => Int2, i32 => Int4, i64 => Int8);

/// `operands[0] op operands[1]`; neither is the NULL constant.
pub(in crate::expr) fn arith(
    op: ArithOp,
    types: (DataType, DataType),
    result: DataType,
    operands: &[Operand],
    rows: usize,
) -> Result<Vector> {
    let [a, b] = operands else {
        return Err(Error::internal("arithmetic takes two operands"));
    };
    if result == DataType::Decimal {
        return decimal::arith(op, types, operands, rows);
    }
    let validity = strict_validity(operands, rows);
    let valid = validity.as_ref();
    let values = match result {
        DataType::Int2 => i16::wrap(integer(op, a.side()?, b.side()?, rows, valid)?),
        DataType::Int4 => i32::wrap(integer(op, a.side()?, b.side()?, rows, valid)?),
        DataType::Int8 => i64::wrap(integer(op, a.side()?, b.side()?, rows, valid)?),
        DataType::Float4 => f32::wrap(float4(op, a.side()?, b.side()?, rows, valid)?),
        DataType::Float8 => f64::wrap(float8(op, a.side()?, b.side()?, rows, valid)?),
        DataType::Numeric { .. } => numeric(op, types, result, a, b, rows, valid)?,
        _ => return Err(Error::internal("arithmetic gives a number")),
    };
    Ok(Vector { values, validity })
}

fn integer<T: Int>(
    op: ArithOp,
    a: Side<T>,
    b: Side<T>,
    rows: usize,
    valid: Option<&Bitmap>,
) -> Result<Vec<T>> {
    let computed = match op {
        ArithOp::Add => try_zip(a, b, rows, valid, T::add),
        ArithOp::Sub => try_zip(a, b, rows, valid, T::sub),
        ArithOp::Mul => try_zip(a, b, rows, valid, T::mul),
        ArithOp::Div => try_zip(a, b, rows, valid, T::div),
        ArithOp::Mod => try_zip(a, b, rows, valid, T::rem),
    };
    computed.map_err(|row| match op {
        ArithOp::Div | ArithOp::Mod if b.get(row) == T::ZERO => Error::DivisionByZero,
        _ => Error::NumericOutOfRange(T::OUT),
    })
}

macro_rules! float {
    ($name:ident, $type:ty) => {
        fn $name(
            op: ArithOp,
            a: Side<$type>,
            b: Side<$type>,
            rows: usize,
            valid: Option<&Bitmap>,
        ) -> Result<Vec<$type>> {
            /// Infinite from finite operands.
            #[inline(always)]
            fn over(r: $type, a: $type, b: $type) -> bool {
                r.is_infinite() & !a.is_infinite() & !b.is_infinite()
            }
            let computed = match op {
                ArithOp::Add => try_zip(a, b, rows, valid, |a, b| (a + b, over(a + b, a, b))),
                ArithOp::Sub => try_zip(a, b, rows, valid, |a, b| (a - b, over(a - b, a, b))),
                ArithOp::Mul => try_zip(a, b, rows, valid, |a, b| {
                    let r = a * b;
                    (r, over(r, a, b) | ((r == 0.0) & (a != 0.0) & (b != 0.0)))
                }),
                ArithOp::Div => try_zip(a, b, rows, valid, |a, b| {
                    let r = a / b;
                    let zero = (b == 0.0) & !a.is_nan();
                    let overflow = r.is_infinite() & !a.is_infinite();
                    (
                        r,
                        zero | overflow | ((r == 0.0) & (a != 0.0) & !b.is_infinite()),
                    )
                }),
                ArithOp::Mod => return Err(Error::internal("floats have no remainder")),
            };
            computed.map_err(|row| {
                let (a, b) = (a.get(row), b.get(row));
                let result = if op == ArithOp::Mul { a * b } else { a / b };
                match op {
                    ArithOp::Div if b == 0.0 => Error::DivisionByZero,
                    ArithOp::Mul | ArithOp::Div if result == 0.0 => {
                        Error::NumericOutOfRange(OutOfRange::FloatUnderflow)
                    }
                    _ => Error::NumericOutOfRange(OutOfRange::FloatOverflow),
                }
            })
        }
    };
}
float!(float4, f32);
float!(float8, f64);

/// Scaled decimals. Operands of + - % come at the result's scale, of * as they are; each in its own layout.
fn numeric(
    op: ArithOp,
    types: (DataType, DataType),
    result: DataType,
    a: &Operand,
    b: &Operand,
    rows: usize,
    valid: Option<&Bitmap>,
) -> Result<doris_storage::vector::Values> {
    let proven = is_proven(op, types.0, types.1);
    let narrow = |t: DataType| t.physical() == Physical::I64;
    match (narrow(types.0) && narrow(types.1), narrow(result)) {
        (true, true) => Ok(i64::wrap(numeric_narrow(
            op,
            a.side()?,
            b.side()?,
            rows,
            valid,
        )?)),
        (true, false) if op == ArithOp::Mul => {
            let (a, b): (Side<i64>, Side<i64>) = (a.side()?, b.side()?);
            // One 64 x 64 to 128 bit multiplication; two factors of 18 digits always fit.
            Ok(i128::wrap(zip(a, b, rows, |a, b| {
                i128::from(a) * i128::from(b)
            })))
        }
        _ => {
            let (a, b) = (wide(a, types.0, rows)?, wide(b, types.1, rows)?);
            let values = numeric_wide(op, (&a).into(), (&b).into(), rows, valid, proven)?;
            Ok(match narrow(result) {
                true => i64::wrap(values.into_iter().map(|v| v as i64).collect()),
                false => i128::wrap(values),
            })
        }
    }
}

/// Proven to fit: no checks but for a zero divisor. (NULL rows may wrap; nobody looks.)
fn numeric_narrow(
    op: ArithOp,
    a: Side<i64>,
    b: Side<i64>,
    rows: usize,
    valid: Option<&Bitmap>,
) -> Result<Vec<i64>> {
    Ok(match op {
        ArithOp::Add => zip(a, b, rows, i64::wrapping_add),
        ArithOp::Sub => zip(a, b, rows, i64::wrapping_sub),
        ArithOp::Mul => zip(a, b, rows, i64::wrapping_mul),
        ArithOp::Mod => try_zip(a, b, rows, valid, Int::rem).map_err(|_| Error::DivisionByZero)?,
        ArithOp::Div => return Err(Error::internal("numeric division is PostgreSQL's")),
    })
}

fn numeric_wide(
    op: ArithOp,
    a: Side<i128>,
    b: Side<i128>,
    rows: usize,
    valid: Option<&Bitmap>,
    proven: bool,
) -> Result<Vec<i128>> {
    let limit = pow10(NUMERIC_DIGITS_MAX.into()).unwrap_or(i128::MAX);
    let fits = move |(value, overflow): (i128, bool)| {
        (value, overflow | (value >= limit) | (value <= -limit))
    };
    match op {
        ArithOp::Add if proven => Ok(zip(a, b, rows, i128::wrapping_add)),
        ArithOp::Sub if proven => Ok(zip(a, b, rows, i128::wrapping_sub)),
        ArithOp::Mul if proven => Ok(zip(a, b, rows, i128::wrapping_mul)),
        ArithOp::Add => try_zip(a, b, rows, valid, |a, b| fits(a.overflowing_add(b)))
            .map_err(|_| Error::NumericTooWide),
        ArithOp::Sub => try_zip(a, b, rows, valid, |a, b| fits(a.overflowing_sub(b)))
            .map_err(|_| Error::NumericTooWide),
        ArithOp::Mul => try_zip(a, b, rows, valid, |a, b| fits(a.overflowing_mul(b)))
            .map_err(|_| Error::NumericTooWide),
        ArithOp::Mod => {
            let rem = |a: i128, b: i128| {
                if b == 0 {
                    (0, true)
                } else {
                    (a.wrapping_rem(b), false)
                }
            };
            try_zip(a, b, rows, valid, rem).map_err(|_| Error::DivisionByZero)
        }
        ArithOp::Div => Err(Error::internal("numeric division is PostgreSQL's")),
    }
}

/// A numeric operand in 128 bits.
enum Wide<'a> {
    Borrowed(Side<'a, i128>),
    Owned(Vec<i128>),
}

impl<'a> From<&'a Wide<'a>> for Side<'a, i128> {
    fn from(wide: &'a Wide<'a>) -> Self {
        match wide {
            Wide::Borrowed(side) => *side,
            Wide::Owned(values) => Side::Slice(values),
        }
    }
}

fn wide<'a>(operand: &'a Operand, data_type: DataType, rows: usize) -> Result<Wide<'a>> {
    if data_type.physical() == Physical::I128 {
        return Ok(Wide::Borrowed(operand.side()?));
    }
    Ok(match operand.side::<i64>()? {
        Side::One(value) => Wide::Borrowed(Side::One(value.into())),
        slice => Wide::Owned(map(slice, rows, i128::from)),
    })
}

/// `- operand`, or its magnitude.
pub(in crate::expr) fn sign(
    absolute: bool,
    result: DataType,
    operand: &Operand,
    rows: usize,
) -> Result<Vector> {
    let validity = strict_validity(std::slice::from_ref(operand), rows);
    fn integer<T: Int>(
        absolute: bool,
        a: Side<T>,
        rows: usize,
        valid: Option<&Bitmap>,
    ) -> Result<Vec<T>> {
        let computed = if absolute {
            try_map(a, rows, valid, T::abs)
        } else {
            try_map(a, rows, valid, T::neg)
        };
        computed.map_err(|_| Error::NumericOutOfRange(T::OUT))
    }
    let valid = validity.as_ref();
    let values = match (result, result.physical()) {
        (DataType::Numeric { .. }, Physical::I64) if absolute => {
            i64::wrap(map(operand.side()?, rows, i64::wrapping_abs))
        }
        (DataType::Numeric { .. }, Physical::I64) => {
            i64::wrap(map(operand.side()?, rows, i64::wrapping_neg))
        }
        (_, Physical::I128) if absolute => {
            i128::wrap(map(operand.side()?, rows, i128::wrapping_abs))
        }
        (_, Physical::I128) => i128::wrap(map(operand.side()?, rows, i128::wrapping_neg)),
        (_, Physical::I16) => i16::wrap(integer(absolute, operand.side()?, rows, valid)?),
        (_, Physical::I32) => i32::wrap(integer(absolute, operand.side()?, rows, valid)?),
        (_, Physical::I64) => i64::wrap(integer(absolute, operand.side()?, rows, valid)?),
        (_, Physical::F32) if absolute => f32::wrap(map(operand.side()?, rows, f32::abs)),
        (_, Physical::F32) => f32::wrap(map(operand.side::<f32>()?, rows, |v| -v)),
        (_, Physical::F64) if absolute => f64::wrap(map(operand.side()?, rows, f64::abs)),
        (_, Physical::F64) => f64::wrap(map(operand.side::<f64>()?, rows, |v| -v)),
        _ => return Err(Error::internal("sign of something that is no number")),
    };
    Ok(Vector { values, validity })
}

#[cfg(test)]
mod tests;
