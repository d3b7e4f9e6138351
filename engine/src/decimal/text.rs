// SPDX-License-Identifier: Apache-2.0
//! Numbers as text and as floats.

use std::fmt;

use num_bigint::Sign;

use super::Number;
use crate::error::{Error, Result};

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (negative, digits, scale) = match self {
            Number::Small { value, scale } => {
                (*value < 0, value.unsigned_abs().to_string(), *scale)
            }
            Number::Big { value, scale } => (
                value.sign() == Sign::Minus,
                value.magnitude().to_string(),
                *scale,
            ),
            Number::NaN => return f.write_str("NaN"),
            Number::Infinity => return f.write_str("Infinity"),
            Number::NegativeInfinity => return f.write_str("-Infinity"),
        };
        if negative {
            f.write_str("-")?;
        }
        let scale = usize::from(scale);
        if scale == 0 {
            return f.write_str(&digits);
        }
        match digits.len().checked_sub(scale) {
            Some(whole @ 1..) => write!(f, "{}.{}", &digits[..whole], &digits[whole..]),
            _ => write!(f, "0.{digits:0>scale$}"),
        }
    }
}

impl Number {
    /// As `double precision`: the nearest, by way of the text as in PostgreSQL.
    pub fn to_f64(&self) -> Result<f64> {
        match self {
            Number::NaN => return Ok(f64::NAN),
            Number::Infinity => return Ok(f64::INFINITY),
            Number::NegativeInfinity => return Ok(f64::NEG_INFINITY),
            // Both are exact, so that one rounding is left.
            Number::Small { value, scale } if *scale <= 22 && value.unsigned_abs() < 1 << 53 => {
                return Ok(*value as f64 / POWERS[usize::from(*scale)]);
            }
            _ => {}
        }
        let text = self.to_string();
        let value: f64 = text.parse().unwrap_or(f64::NAN);
        check(
            value.is_infinite(),
            value == 0.0,
            self,
            "double precision",
            &text,
        )?;
        Ok(value)
    }

    /// As `real`.
    pub fn to_f32(&self) -> Result<f32> {
        match self {
            Number::NaN => return Ok(f32::NAN),
            Number::Infinity => return Ok(f32::INFINITY),
            Number::NegativeInfinity => return Ok(f32::NEG_INFINITY),
            _ => {}
        }
        let text = self.to_string();
        let value: f32 = text.parse().unwrap_or(f32::NAN);
        check(value.is_infinite(), value == 0.0, self, "real", &text)?;
        Ok(value)
    }
}

/// Powers of ten that are exact in binary64.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Fails for a finite number that became infinite, and one that became zero without being it.
fn check(
    infinite: bool,
    zero: bool,
    number: &Number,
    type_name: &'static str,
    text: &str,
) -> Result<()> {
    match infinite || zero && number.signum() != 0 {
        true => Err(Error::TextOutOfRange {
            type_name,
            value: text.into(),
        }),
        false => Ok(()),
    }
}
