// SPDX-License-Identifier: Apache-2.0
//! Numerics of any size and scale: [`Number`]s read from operands of any numeric or integer type, and written as
//! bytes.

use std::cmp::Ordering;

use doris_storage::vector::{Bitmap, BytesColumn, Values, Vector};

use crate::decimal::round::Rounding;
use crate::decimal::{Number, View};
use crate::error::{Error, Result};
use crate::expr::ir::{ArithOp, Func};
use crate::expr::operand::{strict_validity, Native, Operand, Side};
use crate::types::DataType;

/// Bytes to expect of a value.
const USUAL_BYTES: usize = 12;

/// An operand as numbers.
enum Numbers<'a> {
    Stored(&'a Operand),
    One(Number),
    I16(Side<'a, i16>),
    I32(Side<'a, i32>),
    I64(Side<'a, i64>, u16),
    I128(Side<'a, i128>, u16),
}

impl<'a> Numbers<'a> {
    fn new(data_type: DataType, operand: &'a Operand) -> Result<Self> {
        use doris_storage::vector::Physical;
        let scale = match data_type {
            DataType::Numeric { scale, .. } => scale as u16,
            _ => 0,
        };
        Ok(match (data_type, data_type.physical()) {
            (DataType::Decimal, _) => match operand {
                Operand::Scalar(Some(_)) => Numbers::One(View::new(operand.bytes(0)).number()),
                _ => Numbers::Stored(operand),
            },
            (_, Physical::I16) => Numbers::I16(operand.side()?),
            (_, Physical::I32) => Numbers::I32(operand.side()?),
            (_, Physical::I64) => Numbers::I64(operand.side()?, scale),
            (_, Physical::I128) => Numbers::I128(operand.side()?, scale),
            _ => return Err(Error::internal(format!("numbers of {data_type}"))),
        })
    }

    #[inline]
    fn get(&self, row: usize) -> Number {
        let small = |value: i128, scale: u16| Number::Small { value, scale };
        match self {
            Numbers::Stored(operand) => View::new(operand.bytes(row)).number(),
            Numbers::One(number) => number.clone(),
            Numbers::I16(side) => small(side.get(row).into(), 0),
            Numbers::I32(side) => small(side.get(row).into(), 0),
            Numbers::I64(side, scale) => small(side.get(row).into(), *scale),
            Numbers::I128(side, scale) => small(side.get(row), *scale),
        }
    }
}

/// A vector of what `number` gives for each row that is not NULL.
fn written(
    operands: &[Operand],
    rows: usize,
    mut number: impl FnMut(usize) -> Result<Number>,
) -> Result<Vector> {
    bytes(operands, rows, |row, out| number(row)?.push(out))
}

/// A vector of the bytes that `push` appends for each row that is not NULL.
fn bytes(
    operands: &[Operand],
    rows: usize,
    mut push: impl FnMut(usize, &mut Vec<u8>) -> Result<()>,
) -> Result<Vector> {
    let validity = strict_validity(operands, rows);
    let mut column = BytesColumn {
        offsets: Vec::with_capacity(rows + 1),
        data: Vec::with_capacity(rows * USUAL_BYTES),
    };
    column.offsets.push(0);
    for row in 0..rows {
        if validity.as_ref().is_none_or(|valid| valid.get(row)) {
            push(row, &mut column.data)?;
        }
        let end = u32::try_from(column.data.len()).map_err(|_| Error::OutOfMemory)?;
        column.offsets.push(end);
    }
    Ok(Vector {
        values: Values::Bytes(column),
        validity,
    })
}

/// `f` of each row's number, where it is not NULL.
fn each<T: Native + Default>(
    from: DataType,
    operand: &Operand,
    rows: usize,
    valid: Option<&Bitmap>,
    f: impl Fn(Number) -> Result<T>,
) -> Result<Values> {
    let numbers = Numbers::new(from, operand)?;
    let mut out = vec![T::default(); rows];
    for (row, out) in out.iter_mut().enumerate() {
        if valid.is_none_or(|valid| valid.get(row)) {
            *out = f(numbers.get(row))?;
        }
    }
    Ok(T::wrap(out))
}

/// `operands[0] op operands[1]`.
pub(in crate::expr) fn arith(
    op: ArithOp,
    types: (DataType, DataType),
    operands: &[Operand],
    rows: usize,
) -> Result<Vector> {
    let a = Numbers::new(types.0, &operands[0])?;
    let b = Numbers::new(types.1, &operands[1])?;
    let result = |row: usize| {
        let (a, b) = (a.get(row), b.get(row));
        match op {
            ArithOp::Add => Ok(a.add(&b)),
            ArithOp::Sub => Ok(a.sub(&b)),
            ArithOp::Mul => Ok(a.mul(&b)),
            ArithOp::Div => a.div(&b),
            ArithOp::Mod => a.rem(&b),
        }
    };
    written(operands, rows, result)
}

/// Functions whose result is a numeric of any scale, or the key of one.
pub(super) fn call(
    func: Func,
    types: &[DataType],
    operands: &[Operand],
    rows: usize,
) -> Result<Vector> {
    if func == Func::DecimalKey {
        let push = |row: usize, out: &mut Vec<u8>| {
            View::new(operands[0].bytes(row)).push_order(out);
            Ok(())
        };
        return bytes(operands, rows, push);
    }
    if func == Func::Quotient {
        let (a, b) = (
            Numbers::new(types[0], &operands[0])?,
            Numbers::new(types[1], &operands[1])?,
        );
        return written(operands, rows, |row| a.get(row).div_whole(&b.get(row)));
    }
    if func == Func::Average {
        return arith(ArithOp::Div, (types[0], types[1]), operands, rows);
    }
    let a = Numbers::new(types[0], &operands[0])?;
    let second = match operands.get(1) {
        Some(operand) => Some(Numbers::new(types[1], operand)?),
        None => None,
    };
    let digits = |row: usize| match second.as_ref().map(|numbers| numbers.get(row)) {
        Some(Number::Small { value, .. }) => i32::try_from(value).unwrap_or(0),
        _ => 0,
    };
    written(operands, rows, |row| {
        let a = a.get(row);
        Ok(match func {
            Func::Negate => a.negated(),
            Func::Abs => a.magnitude(),
            Func::Root => a.sqrt()?,
            Func::Sign => a.sign(),
            Func::Round(rounding) => a.round(digits(row), rounding),
            Func::AtScale => a.round(digits(row), Rounding::ToZero),
            Func::Declared { precision, scale } => a.declared(precision, scale)?,
            other => return Err(Error::internal(format!("no kernel for {other:?}"))),
        })
    })
}

/// A number as a numeric that carries its scale with it.
pub(super) fn from_exact(from: DataType, operand: &Operand, rows: usize) -> Result<Vector> {
    let numbers = Numbers::new(from, operand)?;
    written(std::slice::from_ref(operand), rows, |row| {
        Ok(numbers.get(row))
    })
}

/// `operand::to`, for a type that is no numeric.
pub(super) fn cast(to: DataType, operand: &Operand, rows: usize) -> Result<Vector> {
    let from = DataType::Decimal;
    if to.is_text() {
        let numbers = Numbers::new(from, operand)?;
        return bytes(std::slice::from_ref(operand), rows, |row, out| {
            out.extend_from_slice(numbers.get(row).to_string().as_bytes());
            Ok(())
        });
    }
    let validity = strict_validity(std::slice::from_ref(operand), rows);
    let valid = validity.as_ref();
    let values = match to {
        DataType::Int2 => each(from, operand, rows, valid, |n| Ok(n.to_integer(to)? as i16))?,
        DataType::Int4 => each(from, operand, rows, valid, |n| Ok(n.to_integer(to)? as i32))?,
        DataType::Int8 => each(from, operand, rows, valid, |n| n.to_integer(to))?,
        DataType::Float4 => each(from, operand, rows, valid, |n| n.to_f32())?,
        DataType::Float8 => each(from, operand, rows, valid, |n| n.to_f64())?,
        _ => return Err(Error::internal(format!("no cast from {from} to {to}"))),
    };
    Ok(Vector { values, validity })
}

/// The order of two stored values.
#[inline]
pub(in crate::expr) fn order(a: &[u8], b: &[u8]) -> Ordering {
    View::new(a).compare(&View::new(b))
}
