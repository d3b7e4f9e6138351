// SPDX-License-Identifier: Apache-2.0
//! Rounding and cutting off, and conversion to integers.

use num_bigint::{BigInt, Sign};

use super::{big_pow10, Number, SCALE_MAX};
use crate::error::{Error, OutOfRange, Result};
use crate::types::{pow10, DataType};

/// What becomes of digits that are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rounding {
    /// To the nearest, half away from zero: `round`.
    HalfAway,
    /// Towards zero: `trunc`.
    ToZero,
    /// Down: `floor`.
    Down,
    /// Up: `ceil`.
    Up,
}

/// `value / 10^digits` as an integer.
pub(super) fn rounded(value: BigInt, digits: u32, rounding: Rounding) -> BigInt {
    let power = big_pow10(digits);
    let (kept, rest) = (&value / &power, &value % &power);
    let sign = match value.sign() {
        Sign::Minus => -1,
        _ => 1,
    };
    let half = (&rest + &rest).magnitude() >= power.magnitude();
    kept + step(rounding, sign, rest.sign() != Sign::NoSign, half)
}

/// What to add to a value cut off, given its sign, whether something was cut off and whether that was half or more.
fn step(rounding: Rounding, sign: i32, inexact: bool, half: bool) -> i32 {
    match rounding {
        Rounding::HalfAway if half => sign,
        Rounding::Down if inexact && sign < 0 => -1,
        Rounding::Up if inexact && sign > 0 => 1,
        _ => 0,
    }
}

fn small_rounded(value: i128, digits: u32, rounding: Rounding) -> i128 {
    let sign = if value < 0 { -1 } else { 1 };
    let Some(power) = pow10(digits) else {
        // More digits than the value has, and less than half a unit: 10^39 / 2 does not fit either.
        return step(rounding, sign, value != 0, false).into();
    };
    let (kept, rest) = (value / power, value % power);
    let half = rest.unsigned_abs() >= power.unsigned_abs() - rest.unsigned_abs();
    kept + i128::from(step(rounding, sign, rest != 0, half))
}

impl Number {
    /// With `scale` digits after the point, or with zeros before it when `scale` is negative.
    pub fn round(&self, scale: i32, rounding: Rounding) -> Number {
        let scale = scale.clamp(-1_000_000, SCALE_MAX.into());
        let Some(own) = self.scale() else {
            return self.clone();
        };
        let shown = scale.max(0) as u16;
        let dropped = i32::from(own) - scale;
        if dropped <= 0 {
            return self.widened(shown);
        }
        let dropped = dropped as u32;
        let zeros = scale.min(0).unsigned_abs();
        if let Number::Small { value, .. } = self {
            let kept = small_rounded(*value, dropped, rounding);
            if kept == 0 {
                let value = 0;
                return Number::Small {
                    value,
                    scale: shown,
                };
            }
            if let Some(value) = pow10(zeros).and_then(|power| kept.checked_mul(power)) {
                return Number::Small {
                    value,
                    scale: shown,
                };
            }
        }
        match self.digits() {
            Some((value, _)) => {
                // 10^digits of what has fewer digits than that need not be made.
                let length = value.bits() / 3 + 2;
                let kept = match u64::from(dropped) > length {
                    true => BigInt::from(step(rounding, self.signum(), true, false)),
                    false => rounded(value, dropped, rounding),
                };
                match kept.sign() {
                    Sign::NoSign => Number::big(kept, shown),
                    _ => Number::big(kept * big_pow10(zeros), shown),
                }
            }
            None => self.clone(),
        }
    }

    /// With `scale` digits after the point, not fewer than it has.
    fn widened(&self, scale: u16) -> Number {
        let Some(own) = self.scale() else {
            return self.clone();
        };
        let more = u32::from(scale.saturating_sub(own));
        if let Number::Small { value, .. } = self {
            if let Some(value) = pow10(more).and_then(|power| value.checked_mul(power)) {
                return Number::Small { value, scale };
            }
        }
        match self.digits() {
            Some((value, _)) => Number::big(value * big_pow10(more), scale),
            None => self.clone(),
        }
    }

    /// As a value of the declared type `numeric(precision, scale)`.
    pub fn declared(&self, precision: u16, scale: i16) -> Result<Number> {
        let overflow = |infinite: bool| {
            Error::NumericOutOfRange(match infinite {
                false => OutOfRange::NumericField { precision, scale },
                true => OutOfRange::InfiniteField { precision, scale },
            })
        };
        match self {
            Number::NaN => return Ok(Number::NaN),
            Number::Infinity | Number::NegativeInfinity => return Err(overflow(true)),
            _ => {}
        }
        let rounded = self.round(scale.into(), Rounding::HalfAway);
        // Below 10^(precision - scale), at the scale that is shown.
        let limit = i32::from(precision) - i32::from(scale) + i32::from(scale.max(0));
        let digits = match &rounded {
            Number::Small { value: 0, .. } => 0,
            Number::Small { value, .. } => value.unsigned_abs().ilog10() as i32 + 1,
            Number::Big { value, .. } => value.magnitude().to_radix_le(10).len() as i32,
            _ => 0,
        };
        match digits <= limit {
            true => Ok(rounded),
            false => Err(overflow(false)),
        }
    }

    /// As an integer of type `to`, rounded half away from zero.
    pub fn to_integer(&self, to: DataType) -> Result<i64> {
        let what = match self {
            Number::NaN => "NaN",
            Number::Infinity | Number::NegativeInfinity => "infinity",
            _ => "",
        };
        if !what.is_empty() {
            return Err(Error::NoInteger {
                what,
                type_name: to.sql_name(),
            });
        }
        let (out, low, high) = match to {
            DataType::Int2 => (OutOfRange::Int2, i16::MIN.into(), i16::MAX.into()),
            DataType::Int4 => (OutOfRange::Int4, i32::MIN.into(), i32::MAX.into()),
            _ => (OutOfRange::Int8, i64::MIN, i64::MAX),
        };
        let value = match self.round(0, Rounding::HalfAway) {
            Number::Small { value, .. } => i64::try_from(value).ok(),
            _ => None,
        };
        match value {
            Some(value) if (low..=high).contains(&value) => Ok(value),
            _ => Err(Error::NumericOutOfRange(out)),
        }
    }
}
