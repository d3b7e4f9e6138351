// SPDX-License-Identifier: Apache-2.0
//! Functions of floats, with PostgreSQL's error rules, and operators on the bits of integers.
//!
//! Floats go through the same C library that PostgreSQL calls, so that results are the same to the last bit. Where the
//! library says more by its error number than by its result (powers so small that digits get lost), PostgreSQL is
//! asked. So is it for `cbrt`: Rust brings its own, which differs in the last digit (clippy.toml keeps such functions
//! out).

use doris_storage::vector::{Bitmap, Values, Vector};

use crate::error::{BadArgument, Error, OutOfRange, Result};
use crate::expr::operand::{strict_validity, zip, Native, Operand, Side};
use crate::types::DataType;

/// Functions of one float.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Math {
    /// `ceil`.
    Ceil,
    /// `floor`.
    Floor,
    /// `round`: half to even.
    Round,
    /// `trunc`.
    Trunc,
    /// `sign`.
    Sign,
    /// `sqrt`.
    Sqrt,
    /// `exp`.
    Exp,
    /// `ln`.
    Ln,
    /// `log`, to base 10.
    Log10,
    /// `degrees`.
    Degrees,
    /// `radians`.
    Radians,
}

/// Operators on the bits of integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BitOp {
    /// `&`
    And,
    /// `|`
    Or,
    /// `#`
    Xor,
    /// `<<`, by an integer
    ShiftLeft,
    /// `>>`, by an integer
    ShiftRight,
}

impl Math {
    /// Whether it fails for some values.
    pub fn can_raise(self) -> bool {
        use Math::*;
        !matches!(self, Ceil | Floor | Round | Trunc | Sign)
    }

    fn of(self, x: f64) -> Result<f64> {
        use Math::*;
        Ok(match self {
            Ceil => x.ceil(),
            Floor => x.floor(),
            Round => x.round_ties_even(),
            Trunc if x >= 0.0 => x.floor(),
            Trunc => -(-x).floor(),
            Sign if x > 0.0 => 1.0,
            Sign if x < 0.0 => -1.0,
            Sign => 0.0,
            Sqrt if x < 0.0 => return Err(bad(BadArgument::RootOfNegative)),
            Sqrt => in_range(x.sqrt(), x.is_infinite(), x == 0.0)?,
            Exp => exp(x)?,
            Ln | Log10 if x == 0.0 => return Err(bad(BadArgument::LogarithmOfZero)),
            Ln | Log10 if x < 0.0 => return Err(bad(BadArgument::LogarithmOfNegative)),
            Ln => in_range(x.ln(), x.is_infinite(), x == 1.0)?,
            Log10 => in_range(x.log10(), x.is_infinite(), x == 1.0)?,
            Degrees => in_range(x / RADIANS_PER_DEGREE, x.is_infinite(), x == 0.0)?,
            Radians => in_range(x * RADIANS_PER_DEGREE, x.is_infinite(), x == 0.0)?,
        })
    }
}

/// As PostgreSQL has it.
const RADIANS_PER_DEGREE: f64 = 0.017_453_292_519_943_295;

fn bad(argument: BadArgument) -> Error {
    Error::BadArgument(argument)
}

fn overflow() -> Error {
    Error::NumericOutOfRange(OutOfRange::FloatOverflow)
}

fn underflow() -> Error {
    Error::NumericOutOfRange(OutOfRange::FloatUnderflow)
}

/// A result that is infinite, or zero, only where that is meant.
fn in_range(result: f64, may_be_infinite: bool, may_be_zero: bool) -> Result<f64> {
    match result {
        r if r.is_infinite() && !may_be_infinite => Err(overflow()),
        0.0 if !may_be_zero => Err(underflow()),
        r => Ok(r),
    }
}

fn exp(x: f64) -> Result<f64> {
    match x {
        x if x.is_nan() => Ok(x),
        f64::INFINITY => Ok(x),
        f64::NEG_INFINITY => Ok(0.0),
        x => in_range(x.exp(), false, false),
    }
}

/// `base ^ exponent`.
pub(in crate::expr) fn power(base: f64, exponent: f64) -> Result<f64> {
    if base.is_nan() || exponent.is_nan() {
        let one = exponent == 0.0 || base == 1.0;
        return Ok(if one { 1.0 } else { f64::NAN });
    }
    if base == 0.0 && exponent < 0.0 {
        return Err(bad(BadArgument::ZeroToNegative));
    }
    if base < 0.0 && exponent.floor() != exponent {
        return Err(bad(BadArgument::NegativeToFraction));
    }
    if exponent.is_infinite() {
        let size = base.abs();
        let grows = (size > 1.0) == (exponent > 0.0);
        return Ok(match () {
            () if size == 1.0 => 1.0,
            () if grows => f64::INFINITY,
            () => 0.0,
        });
    }
    if base.is_infinite() {
        let half = exponent / 2.0;
        let odd = half.floor() != half;
        let size = match () {
            () if exponent == 0.0 => return Ok(1.0),
            () if exponent > 0.0 => f64::INFINITY,
            () => 0.0,
        };
        return Ok(if base < 0.0 && odd { -size } else { size });
    }
    in_range(base.powf(exponent), false, base == 0.0)
}

/// A vector of what `f` gives for each row that is not NULL.
fn each<T: Native + Default>(
    operands: &[Operand],
    rows: usize,
    f: impl Fn(usize) -> Result<T>,
) -> Result<Vector> {
    let validity = strict_validity(operands, rows);
    let valid = |row: usize| validity.as_ref().is_none_or(|bits: &Bitmap| bits.get(row));
    let mut out = vec![T::default(); rows];
    for (row, out) in out.iter_mut().enumerate() {
        if valid(row) {
            *out = f(row)?;
        }
    }
    Ok(Vector {
        values: T::wrap(out),
        validity,
    })
}

/// A function of one float.
pub(super) fn of_float(math: Math, operands: &[Operand], rows: usize) -> Result<Vector> {
    let x = operands[0].side::<f64>()?;
    each(operands, rows, |row| math.of(x.get(row)))
}

/// `power(base, exponent)`.
pub(super) fn powers(operands: &[Operand], rows: usize) -> Result<Vector> {
    let (base, exponent) = (operands[0].side::<f64>()?, operands[1].side::<f64>()?);
    each(operands, rows, |row| {
        power(base.get(row), exponent.get(row))
    })
}

/// `a op b` of integers of one type; shifts go by an integer, of which as many low bits count as it takes.
pub(super) fn bits(op: BitOp, t: DataType, operands: &[Operand], rows: usize) -> Result<Vector> {
    let [a, b] = operands else {
        return Err(Error::internal("bits of other than two integers"));
    };
    let shift = matches!(op, BitOp::ShiftLeft | BitOp::ShiftRight);
    let values = match (t, shift) {
        (DataType::Int2, true) => Values::I16(zip(a.side()?, b.side()?, rows, |a: i16, n: i32| {
            shifted(op, i64::from(a), n as u32 % 32) as i16
        })),
        (DataType::Int4, true) => Values::I32(zip(a.side()?, b.side()?, rows, |a: i32, n: i32| {
            shifted(op, i64::from(a), n as u32 % 32) as i32
        })),
        (DataType::Int8, true) => Values::I64(zip(a.side()?, b.side()?, rows, |a: i64, n: i32| {
            shifted(op, a, n as u32 % 64)
        })),
        (DataType::Int2, false) => Values::I16(combined(op, a.side()?, b.side()?, rows)),
        (DataType::Int4, false) => Values::I32(combined(op, a.side()?, b.side()?, rows)),
        (DataType::Int8, false) => Values::I64(combined(op, a.side()?, b.side()?, rows)),
        _ => return Err(Error::internal(format!("bits of {t}"))),
    };
    Ok(Vector {
        values,
        validity: strict_validity(operands, rows),
    })
}

/// Of smaller integers the low bits are right: they are shifted as a wider one, and cut off.
fn shifted(op: BitOp, value: i64, by: u32) -> i64 {
    match op {
        BitOp::ShiftLeft => value.wrapping_shl(by),
        _ => value.wrapping_shr(by),
    }
}

fn combined<T>(op: BitOp, a: Side<'_, T>, b: Side<'_, T>, rows: usize) -> Vec<T>
where
    T: Native
        + std::ops::BitAnd<Output = T>
        + std::ops::BitOr<Output = T>
        + std::ops::BitXor<Output = T>,
{
    match op {
        BitOp::And => zip(a, b, rows, |a, b| a & b),
        BitOp::Or => zip(a, b, rows, |a, b| a | b),
        _ => zip(a, b, rows, |a, b| a ^ b),
    }
}

#[cfg(test)]
mod tests;
