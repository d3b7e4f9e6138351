// SPDX-License-Identifier: Apache-2.0
//! Division of scaled decimals, rounded where PostgreSQL rounds it.
//!
//! PostgreSQL computes a quotient to at least 16 significant digits, counted in groups of four as it stores them;
//! the digits after the point therefore depend on the leading groups of both operands. The quotient is rounded
//! there, half away from zero, and then brought to the scale of the result, which must not be smaller.

use doris_storage::vector::{Values, Vector};

use crate::error::{Error, Result};
use crate::expr::operand::{strict_validity, Operand};
use crate::types::{pow10, DataType, NUMERIC_DIGITS_MAX};

/// Decimal digits in one of PostgreSQL's.
const GROUP: i32 = 4;
/// Significant digits of a quotient, at least.
const SIGNIFICANT: i32 = 16;

/// A decimal: `value / 10^scale`.
#[derive(Clone, Copy)]
struct Decimal {
    value: i128,
    scale: i32,
}

impl Decimal {
    /// The position of the leading group (0: just before the point) and its number.
    fn leading(self) -> (i32, u128) {
        let value = self.value.unsigned_abs();
        let Some(log) = value.checked_ilog10() else {
            return (0, 0);
        };
        let top = log as i32 - self.scale;
        let in_group = top.rem_euclid(GROUP);
        let shift = log as i32 - in_group;
        let first = match shift >= 0 {
            true => value / 10u128.pow(shift as u32),
            false => value * 10u128.pow(-shift as u32),
        };
        (top.div_euclid(GROUP), first)
    }
}

/// Digits after the point that PostgreSQL gives `a / b`.
fn quotient_scale(a: Decimal, b: Decimal) -> i32 {
    let ((weight_a, first_a), (weight_b, first_b)) = (a.leading(), b.leading());
    let weight = weight_a - weight_b - i32::from(first_a <= first_b);
    (SIGNIFICANT - weight * GROUP)
        .max(a.scale)
        .max(b.scale)
        .max(0)
}

/// `a / b` at scale `scale`; `None` when that is smaller than PostgreSQL's or takes too many digits. `b` is not 0.
fn quotient(a: Decimal, b: Decimal, scale: i32) -> Option<i128> {
    let own = quotient_scale(a, b);
    let missing = u32::try_from(scale - own).ok()?;
    let digits = u32::try_from(own - a.scale + b.scale).ok()?;
    let divisor = b.value.unsigned_abs();
    let dividend = a.value.unsigned_abs();
    let scaled = 10u128
        .checked_pow(digits)
        .and_then(|power| dividend.checked_mul(power));
    let (mut result, rest) = match scaled {
        Some(scaled) => (scaled / divisor, scaled % divisor),
        None => long_division(dividend, divisor, digits)?,
    };
    result += u128::from(rest.checked_mul(2)? >= divisor);
    let result = i128::try_from(result).ok()?;
    let result = result.checked_mul(pow10(missing)?)?;
    let fits = result < pow10(NUMERIC_DIGITS_MAX.into())?;
    let negative = (a.value < 0) != (b.value < 0);
    fits.then_some(if negative { -result } else { result })
}

/// `dividend * 10^digits / divisor` with its remainder, a digit at a time.
fn long_division(dividend: u128, divisor: u128, digits: u32) -> Option<(u128, u128)> {
    let (mut result, mut rest) = (dividend / divisor, dividend % divisor);
    for _ in 0..digits {
        let next = rest.checked_mul(10)?;
        result = result.checked_mul(10)?.checked_add(next / divisor)?;
        rest = next % divisor;
    }
    Some((result, rest))
}

/// `operands[0] / operands[1]`.
pub(super) fn divide(
    types: &[DataType],
    result: DataType,
    operands: &[Operand],
    rows: usize,
) -> Result<Vector> {
    let scale = |t: DataType| match t {
        DataType::Numeric { scale, .. } => Ok(i32::from(scale)),
        _ => Err(Error::internal(
            "a quotient of something that is no numeric",
        )),
    };
    let (a_scale, b_scale, scale) = (scale(types[0])?, scale(types[1])?, scale(result)?);
    let validity = strict_validity(operands, rows);
    let mut values = vec![0; rows];
    for (row, value) in values.iter_mut().enumerate() {
        if validity.as_ref().is_some_and(|valid| !valid.get(row)) {
            continue;
        }
        let a = Decimal {
            value: integer(&operands[0], row)?,
            scale: a_scale,
        };
        let b = Decimal {
            value: integer(&operands[1], row)?,
            scale: b_scale,
        };
        if b.value == 0 {
            return Err(Error::DivisionByZero);
        }
        *value = quotient(a, b, scale).ok_or(Error::NumericTooWide)?;
    }
    Ok(Vector {
        values: Values::I128(values),
        validity,
    })
}

fn integer(operand: &Operand, row: usize) -> Result<i128> {
    let value = match operand {
        Operand::Scalar(Some(scalar)) => scalar.as_i128(),
        Operand::Scalar(None) => None,
        Operand::Vector(vector) => match &vector.values {
            Values::I64(values) => Some(values[row].into()),
            Values::I128(values) => Some(values[row]),
            _ => None,
        },
    };
    value.ok_or_else(|| Error::internal("a numeric in another layout than its type"))
}

#[cfg(test)]
mod tests;
