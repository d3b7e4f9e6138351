// SPDX-License-Identifier: Apache-2.0
//! Conversions with PostgreSQL's rounding: floats to integers round half to even, numerics half away from zero.

use doris_storage::vector::{Bitmap, BytesColumn, Physical, Values, Vector};

use super::compare::without_blanks;
use super::{datetime, decimal};
use crate::error::{Error, OutOfRange, Result};
use crate::expr::operand::{map, strict_validity, try_map, Native, Operand, Side};
use crate::types::{pow10, DataType};

/// Largest scale at which a power of ten is exact in binary64.
const EXACT_POWER_F64: i16 = 22;
/// Largest integer below which every integer is exact in binary64.
const EXACT_INTEGER_F64: u128 = 1 << 53;

/// `operand::to`; the operand is not the NULL constant.
pub(in crate::expr) fn cast(
    from: DataType,
    to: DataType,
    operand: &Operand,
    rows: usize,
) -> Result<Vector> {
    use DataType::*;
    let validity = strict_validity(std::slice::from_ref(operand), rows);
    let valid = validity.as_ref();
    let values = match (from, to) {
        (Int2 | Int4 | Int8 | Numeric { .. }, Decimal) => {
            return decimal::from_exact(from, operand, rows)
        }
        (Decimal, _) => return decimal::cast(to, operand, rows),
        (Int2 | Int4 | Int8, Int2 | Int4 | Int8) => {
            integer_to_integer(from, to, operand, rows, valid)?
        }
        (Int2 | Int4 | Int8, Float4 | Float8) => integer_to_float(from, to, operand, rows)?,
        (Float4 | Float8, Int2 | Int4 | Int8) => float_to_integer(from, to, operand, rows, valid)?,
        (Float4, Float8) => f64::wrap(map(operand.side::<f32>()?, rows, f64::from)),
        (Float8, Float4) => f32::wrap(narrow_floats(operand.side()?, rows, valid)?),
        (Int2 | Int4 | Int8 | Numeric { .. }, Numeric { .. }) => {
            return numeric_to_numeric(from, to, operand, rows, validity);
        }
        (Numeric { scale, .. }, Int2 | Int4 | Int8) => {
            let wide = widened(from, operand, rows)?;
            return numeric_to_integer(to, scale, &wide, validity);
        }
        (Numeric { scale, .. }, Float8) => {
            let wide = widened(from, operand, rows)?;
            f64::wrap(wide.iter().map(|&v| numeric_to_f64(v, scale)).collect())
        }
        (Numeric { scale, .. }, Float4) => {
            let wide = widened(from, operand, rows)?;
            f32::wrap(
                wide.iter()
                    .map(|&v| decimal_text(v, scale).parse().unwrap_or(f32::NAN))
                    .collect(),
            )
        }
        (Float4 | Float8, Numeric { .. }) => {
            return float_to_numeric(from, to, operand, rows, validity)
        }
        (Bool, Int4) => i32::wrap(map(operand.side::<u8>()?, rows, i32::from)),
        (Int4, Bool) => u8::wrap(map(operand.side::<i32>()?, rows, |v| u8::from(v != 0))),
        (Date, Timestamp) => return datetime::dates_to_timestamps(operand, rows),
        (Timestamp, Date) => return datetime::timestamps_to_dates(operand, rows),
        (Text { .. }, Int2 | Int4 | Int8) => text_to_integer(to, operand, rows, valid)?,
        (_, Text { .. }) => to_text(from, operand, rows, valid)?,
        _ => return Err(Error::internal(format!("no cast from {from} to {to}"))),
    };
    Ok(Vector { values, validity })
}

/// An integer operand, or a scaled decimal, in 128 bits.
fn widened(from: DataType, operand: &Operand, rows: usize) -> Result<Vec<i128>> {
    Ok(match from.physical() {
        Physical::I16 => map(operand.side::<i16>()?, rows, i128::from),
        Physical::I32 => map(operand.side::<i32>()?, rows, i128::from),
        Physical::I64 => map(operand.side::<i64>()?, rows, i128::from),
        _ => map(operand.side::<i128>()?, rows, |v| v),
    })
}

fn widened_64(from: DataType, operand: &Operand, rows: usize) -> Result<Vec<i64>> {
    Ok(match from.physical() {
        Physical::I16 => map(operand.side::<i16>()?, rows, i64::from),
        Physical::I32 => map(operand.side::<i32>()?, rows, i64::from),
        _ => map(operand.side::<i64>()?, rows, |v| v),
    })
}

fn out_of(to: DataType) -> Error {
    Error::NumericOutOfRange(match to {
        DataType::Int2 => OutOfRange::Int2,
        DataType::Int4 => OutOfRange::Int4,
        _ => OutOfRange::Int8,
    })
}

fn integer_to_integer(
    from: DataType,
    to: DataType,
    operand: &Operand,
    rows: usize,
    valid: Option<&Bitmap>,
) -> Result<Values> {
    if (from, to) == (DataType::Int4, DataType::Int8) {
        return Ok(i64::wrap(map(operand.side::<i32>()?, rows, i64::from)));
    }
    let wide = widened_64(from, operand, rows)?;
    narrow_integers(to, &wide, valid)
}

fn narrow_integers(to: DataType, wide: &[i64], valid: Option<&Bitmap>) -> Result<Values> {
    let side = Side::Slice(wide);
    let narrowed = match to {
        DataType::Int2 => try_map(side, wide.len(), valid, |v| {
            (v as i16, i64::from(v as i16) != v)
        })
        .map(i16::wrap),
        DataType::Int4 => try_map(side, wide.len(), valid, |v| {
            (v as i32, i64::from(v as i32) != v)
        })
        .map(i32::wrap),
        _ => Ok(i64::wrap(wide.to_vec())),
    };
    narrowed.map_err(|_| out_of(to))
}

fn integer_to_float(
    from: DataType,
    to: DataType,
    operand: &Operand,
    rows: usize,
) -> Result<Values> {
    Ok(match (from, to) {
        (DataType::Int4, DataType::Float8) => {
            f64::wrap(map(operand.side::<i32>()?, rows, f64::from))
        }
        (_, DataType::Float8) => f64::wrap(
            widened_64(from, operand, rows)?
                .iter()
                .map(|&v| v as f64)
                .collect(),
        ),
        _ => f32::wrap(
            widened_64(from, operand, rows)?
                .iter()
                .map(|&v| v as f32)
                .collect(),
        ),
    })
}

/// Rounds half to even, then checks the range; NaN is out of it.
fn float_to_integer(
    from: DataType,
    to: DataType,
    operand: &Operand,
    rows: usize,
    valid: Option<&Bitmap>,
) -> Result<Values> {
    let floats = match from {
        DataType::Float4 => map(operand.side::<f32>()?, rows, f64::from),
        _ => map(operand.side::<f64>()?, rows, |v| v),
    };
    let bits = match to {
        DataType::Int2 => 15,
        DataType::Int4 => 31,
        _ => 63,
    };
    let limit = (1u64 << bits) as f64;
    let rounded = try_map(Side::Slice(&floats), rows, valid, |v: f64| {
        let whole = v.round_ties_even();
        (whole as i64, !((whole >= -limit) & (whole < limit)))
    });
    let rounded = rounded.map_err(|_| out_of(to))?;
    Ok(match to {
        DataType::Int2 => i16::wrap(rounded.iter().map(|&v| v as i16).collect()),
        DataType::Int4 => i32::wrap(rounded.iter().map(|&v| v as i32).collect()),
        _ => i64::wrap(rounded),
    })
}

fn narrow_floats(side: Side<f64>, rows: usize, valid: Option<&Bitmap>) -> Result<Vec<f32>> {
    let narrow = |v: f64| {
        let narrow = v as f32;
        (
            narrow,
            (narrow.is_infinite() & !v.is_infinite()) | ((narrow == 0.0) & (v != 0.0)),
        )
    };
    try_map(side, rows, valid, narrow).map_err(|row| {
        let under = side.get(row) as f32 == 0.0;
        Error::NumericOutOfRange(if under {
            OutOfRange::FloatUnderflow
        } else {
            OutOfRange::FloatOverflow
        })
    })
}

/// `value / unit`, rounded half away from zero.
#[inline]
fn round_away(value: i128, unit: i128) -> i128 {
    let (quotient, remainder) = (value / unit, value % unit);
    let up = remainder.unsigned_abs() >= unit.unsigned_abs().div_ceil(2);
    quotient + if up { value.signum() } else { 0 }
}

/// Numeric or integer to a declared numeric: rescales, rounds, and checks the digits.
fn numeric_to_numeric(
    from: DataType,
    to: DataType,
    operand: &Operand,
    rows: usize,
    validity: Option<Bitmap>,
) -> Result<Vector> {
    let DataType::Numeric { precision, scale } = to else {
        return Err(Error::internal("a numeric target"));
    };
    let from_scale = if let DataType::Numeric { scale, .. } = from {
        scale
    } else {
        0
    };
    let proven = !crate::expr::build::cast::can_raise(from, to);
    let overflow = || {
        Error::NumericOutOfRange(OutOfRange::NumericField {
            precision: precision.into(),
            scale,
        })
    };
    let power = pow10(from_scale.abs_diff(scale).into());
    let narrow = from.physical() != Physical::I128 && to.physical() == Physical::I64;
    if let (true, true, true, Some(Ok(unit))) = (
        narrow,
        proven,
        scale >= from_scale,
        power.map(i64::try_from),
    ) {
        let values = widened_64(from, operand, rows)?;
        let values = values.into_iter().map(|v| v.wrapping_mul(unit)).collect();
        return Ok(Vector {
            values: i64::wrap(values),
            validity,
        });
    }
    let wide = widened(from, operand, rows)?;
    let limit = pow10(precision.into()).unwrap_or(i128::MAX);
    let rescale = |v: i128| {
        let (value, lost) = match power {
            _ if v == 0 => (0, false),
            Some(unit) if scale >= from_scale => v.overflowing_mul(unit),
            Some(unit) => (round_away(v, unit), false),
            None => (0, scale > from_scale),
        };
        (value, lost | (value >= limit) | (value <= -limit))
    };
    let values =
        try_map(Side::Slice(&wide), rows, validity.as_ref(), rescale).map_err(|_| overflow())?;
    let values = match to.physical() {
        Physical::I64 => i64::wrap(values.into_iter().map(|v| v as i64).collect()),
        _ => i128::wrap(values),
    };
    Ok(Vector { values, validity })
}

fn numeric_to_integer(
    to: DataType,
    scale: i16,
    wide: &[i128],
    validity: Option<Bitmap>,
) -> Result<Vector> {
    let unit = pow10(scale.unsigned_abs().into()).ok_or_else(|| Error::internal("scale"))?;
    let rounded = try_map(Side::Slice(wide), wide.len(), validity.as_ref(), |v| {
        let whole = round_away(v, unit);
        (whole as i64, i128::from(whole as i64) != whole)
    });
    let rounded = rounded.map_err(|_| out_of(to))?;
    Ok(Vector {
        values: narrow_integers(to, &rounded, validity.as_ref())?,
        validity,
    })
}

/// The nearest binary64 to a decimal, as reading its text gives it. Both parts of a small quotient are exact, so
/// that one division rounds once.
fn numeric_to_f64(value: i128, scale: i16) -> f64 {
    if value.unsigned_abs() < EXACT_INTEGER_F64 && scale <= EXACT_POWER_F64 {
        return value as f64 / 10f64.powi(scale.into());
    }
    decimal_text(value, scale).parse().unwrap_or(f64::NAN)
}

/// A decimal as PostgreSQL prints it.
pub(in crate::expr) fn decimal_text(value: i128, scale: i16) -> String {
    let scale = usize::from(scale.unsigned_abs());
    let digits = format!("{:0width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if value < 0 { "-" } else { "" };
    let point = if scale > 0 { "." } else { "" };
    format!("{sign}{whole}{point}{fraction}")
}

/// Float to a declared numeric: by way of its decimal text of 15 (or 6) digits, as PostgreSQL goes.
fn float_to_numeric(
    from: DataType,
    to: DataType,
    operand: &Operand,
    rows: usize,
    validity: Option<Bitmap>,
) -> Result<Vector> {
    let DataType::Numeric { precision, scale } = to else {
        return Err(Error::internal("a numeric target"));
    };
    let limit = pow10(precision.into()).unwrap_or(i128::MAX);
    let mut values = Vec::with_capacity(rows);
    for i in 0..rows {
        if operand.is_null(i) {
            values.push(0);
            continue;
        }
        let text = match from {
            DataType::Float4 => format!("{:.5e}", operand.side::<f32>()?.get(i)),
            _ => format!("{:.14e}", operand.side::<f64>()?.get(i)),
        };
        let value = scientific_to_decimal(&text, scale).ok_or(Error::NumericTooWide)?;
        match value {
            Some(value) if value.abs() < limit => values.push(value),
            _ => {
                return Err(Error::NumericOutOfRange(OutOfRange::NumericField {
                    precision: precision.into(),
                    scale,
                }))
            }
        }
    }
    let values = match to.physical() {
        Physical::I64 => i64::wrap(values.into_iter().map(|v| v as i64).collect()),
        _ => i128::wrap(values),
    };
    Ok(Vector { values, validity })
}

/// `d.ddde±x` at a scale, rounded half away from zero; `Some(None)`: too large; `None`: not finite.
fn scientific_to_decimal(text: &str, scale: i16) -> Option<Option<i128>> {
    let (mantissa, exponent) = text.split_once('e')?;
    let (whole, fraction) = mantissa.split_once('.')?;
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let shift = exponent.parse::<i32>().ok()? - fraction.len() as i32 + i32::from(scale);
    if digits == 0 {
        return Some(Some(0));
    }
    let power = pow10(shift.unsigned_abs());
    Some(match (shift >= 0, power) {
        (true, Some(unit)) => digits.checked_mul(unit),
        (true, None) => None,
        (false, Some(unit)) => Some(round_away(digits, unit)),
        (false, None) => Some(0),
    })
}

/// Reads integers as PostgreSQL 15 does: blanks around, an optional sign, decimal digits.
fn text_to_integer(
    to: DataType,
    operand: &Operand,
    rows: usize,
    valid: Option<&Bitmap>,
) -> Result<Values> {
    let mut wide = Vec::with_capacity(rows);
    for i in 0..rows {
        if valid.is_some_and(|bits| !bits.get(i)) {
            wide.push(0);
            continue;
        }
        wide.push(parse_integer(to, operand.bytes(i))?);
    }
    narrow_integers(to, &wide, None)
}

fn parse_integer(to: DataType, bytes: &[u8]) -> Result<i64> {
    let type_name = to.sql_name();
    let value = || String::from_utf8_lossy(bytes).into_owned().into_boxed_str();
    let is_space = |b: &u8| matches!(b, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r');
    let start = bytes
        .iter()
        .position(|b| !is_space(b))
        .unwrap_or(bytes.len());
    let (negative, digits) = match bytes[start..].split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, &bytes[start..]),
    };
    let count = digits
        .iter()
        .position(|b| !b.is_ascii_digit())
        .unwrap_or(digits.len());
    let mut magnitude = Some(0i128);
    let limit = match to {
        DataType::Int2 => i128::from(i16::MAX),
        DataType::Int4 => i128::from(i32::MAX),
        _ => i128::from(i64::MAX),
    } + i128::from(negative);
    for digit in &digits[..count] {
        magnitude = magnitude
            .map(|m| m * 10 + i128::from(digit - b'0'))
            .filter(|&m| m <= limit);
        if magnitude.is_none() {
            // PostgreSQL stops at the digit that leaves the range, whatever comes after it.
            return Err(Error::TextOutOfRange {
                type_name,
                value: value(),
            });
        }
    }
    if count == 0 || !digits[count..].iter().all(is_space) {
        return Err(Error::InvalidText {
            type_name,
            value: value(),
        });
    }
    let magnitude = magnitude.unwrap_or(0);
    Ok((if negative { -magnitude } else { magnitude }) as i64)
}

fn to_text(
    from: DataType,
    operand: &Operand,
    rows: usize,
    valid: Option<&Bitmap>,
) -> Result<Values> {
    let mut out = BytesColumn::default();
    let wide = match from {
        DataType::Int2 | DataType::Int4 | DataType::Int8 | DataType::Numeric { .. } => {
            widened(from, operand, rows)?
        }
        _ => Vec::new(),
    };
    for i in 0..rows {
        let whole = || wide.get(i).copied().unwrap_or(0);
        if valid.is_some_and(|bits| !bits.get(i)) {
            super::text::push(&mut out, b"")?;
            continue;
        }
        match from {
            DataType::Bool => {
                let text: &[u8] = if operand.side::<u8>()?.get(i) != 0 {
                    b"true"
                } else {
                    b"false"
                };
                super::text::push(&mut out, text)?;
            }
            DataType::Bpchar { .. } => {
                super::text::push(&mut out, without_blanks(operand.bytes(i)))?
            }
            DataType::Numeric { scale, .. } => {
                super::text::push(&mut out, decimal_text(whole(), scale).as_bytes())?
            }
            DataType::Int2 | DataType::Int4 | DataType::Int8 => {
                super::text::push(&mut out, whole().to_string().as_bytes())?;
            }
            _ => super::text::push(&mut out, operand.bytes(i))?,
        }
    }
    Ok(Values::Bytes(out))
}
