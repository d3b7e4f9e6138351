// SPDX-License-Identifier: Apache-2.0
//! Arithmetic with PostgreSQL's result scales.
//!
//! Sums and differences show the larger scale of both operands, products the sum of both, remainders the larger one;
//! all are exact. A quotient has at least 16 significant digits, counted in groups of four as they are stored: its
//! scale depends on the leading groups of both operands. It is rounded there, half away from zero. Square roots have
//! the same number of digits, or as many after the point as the operand.

use num_bigint::{BigInt, Sign};

use super::round::{rounded, Rounding};
use super::{big_pow10, Number, GROUP, SCALE_MAX};
use crate::error::{BadArgument, Error, Result};
use crate::types::pow10;

/// Significant digits of a quotient, at least.
const SIGNIFICANT: i32 = 16;
/// Largest scale that a quotient is given.
const QUOTIENT_SCALE_MAX: i32 = 1000;

/// Two values at one scale.
#[inline]
fn aligned((a, a_scale): (i128, u16), (b, b_scale): (i128, u16)) -> Option<(i128, i128, u16)> {
    if a_scale == b_scale {
        return Some((a, b, a_scale));
    }
    let scale = a_scale.max(b_scale);
    let up = |value: i128, from: u16| value.checked_mul(pow10(u32::from(scale - from))?);
    Some((up(a, a_scale)?, up(b, b_scale)?, scale))
}

fn big_aligned((a, a_scale): (BigInt, u16), (b, b_scale): (BigInt, u16)) -> (BigInt, BigInt, u16) {
    let scale = a_scale.max(b_scale);
    let up = |value: BigInt, from: u16| value * big_pow10(u32::from(scale - from));
    (up(a, a_scale), up(b, b_scale), scale)
}

/// The digits and scales of two finite numbers.
type BigPair = ((BigInt, u16), (BigInt, u16));

fn big_pair(a: &Number, b: &Number) -> Option<BigPair> {
    Some((a.digits()?, b.digits()?))
}

impl Number {
    /// `self + other`.
    #[inline]
    pub fn add(&self, other: &Number) -> Number {
        if let (Number::Small { value: a, scale: s }, Number::Small { value: b, scale: t }) =
            (self, other)
        {
            if let Some((a, b, scale)) = aligned((*a, *s), (*b, *t)) {
                if let Some(value) = a.checked_add(b) {
                    return Number::Small { value, scale };
                }
            }
        }
        self.add_slowly(other)
    }

    #[cold]
    fn add_slowly(&self, other: &Number) -> Number {
        use Number::{Infinity, NaN, NegativeInfinity};
        if let Some((a, b)) = big_pair(self, other) {
            let (a, b, scale) = big_aligned(a, b);
            return Number::big(a + b, scale);
        }
        match (self, other) {
            (NaN, _) | (_, NaN) => NaN,
            (Infinity, NegativeInfinity) | (NegativeInfinity, Infinity) => NaN,
            (Infinity, _) | (_, Infinity) => Infinity,
            _ => NegativeInfinity,
        }
    }

    /// `self - other`.
    #[inline]
    pub fn sub(&self, other: &Number) -> Number {
        self.add(&other.negated())
    }

    /// `- self`.
    #[inline]
    pub fn negated(&self) -> Number {
        match self {
            Number::Small { value, scale } => match value.checked_neg() {
                Some(value) => Number::Small {
                    value,
                    scale: *scale,
                },
                None => Number::big(-BigInt::from(*value), *scale),
            },
            Number::Big { value, scale } => Number::big(-(**value).clone(), *scale),
            Number::NaN => Number::NaN,
            Number::Infinity => Number::NegativeInfinity,
            Number::NegativeInfinity => Number::Infinity,
        }
    }

    /// `abs(self)`.
    pub fn magnitude(&self) -> Number {
        match self.signum() {
            -1 => self.negated(),
            _ => self.clone(),
        }
    }

    /// `self * other`.
    #[inline]
    pub fn mul(&self, other: &Number) -> Number {
        if let (Number::Small { value: a, scale: s }, Number::Small { value: b, scale: t }) =
            (self, other)
        {
            if let (Some(value), true) = (a.checked_mul(*b), s + t <= SCALE_MAX) {
                return Number::Small {
                    value,
                    scale: s + t,
                };
            }
        }
        self.mul_slowly(other)
    }

    #[cold]
    fn mul_slowly(&self, other: &Number) -> Number {
        if let Some(((a, s), (b, t))) = big_pair(self, other) {
            let (product, scale) = (a * b, u32::from(s) + u32::from(t));
            let Some(extra) = scale.checked_sub(u32::from(SCALE_MAX)) else {
                return Number::big(product, scale as u16);
            };
            return Number::big(rounded(product, extra, Rounding::HalfAway), SCALE_MAX);
        }
        match self.signum() * other.signum() {
            1 => Number::Infinity,
            -1 => Number::NegativeInfinity,
            // Zero times infinity, or NaN.
            _ => Number::NaN,
        }
    }

    /// `self / other`.
    pub fn div(&self, other: &Number) -> Result<Number> {
        if let (Number::Small { value: a, scale: s }, Number::Small { value: b, scale: t }) =
            (self, other)
        {
            if *b == 0 {
                return Err(Error::DivisionByZero);
            }
            let scale = quotient_scale(leading(*a, *s), leading(*b, *t), *s, *t);
            if let Some(value) = quotient((*a, *s), (*b, *t), scale) {
                return Ok(Number::Small { value, scale });
            }
        }
        self.div_slowly(other)
    }

    #[cold]
    fn div_slowly(&self, other: &Number) -> Result<Number> {
        use Number::{Infinity, NaN, NegativeInfinity};
        let Some(((a, s), (b, t))) = big_pair(self, other) else {
            return match (self, other) {
                (NaN, _) | (_, NaN) => Ok(NaN),
                (Infinity | NegativeInfinity, Infinity | NegativeInfinity) => Ok(NaN),
                (Infinity | NegativeInfinity, _) => match self.signum() * other.signum() {
                    0 => Err(Error::DivisionByZero),
                    1 => Ok(Infinity),
                    _ => Ok(NegativeInfinity),
                },
                _ => Ok(Number::ZERO),
            };
        };
        if b.sign() == Sign::NoSign {
            return Err(Error::DivisionByZero);
        }
        let scale = quotient_scale(big_leading(&a, s), big_leading(&b, t), s, t);
        let dividend = a * big_pow10(u32::from(scale) + u32::from(t));
        let divisor = b * big_pow10(u32::from(s));
        Ok(Number::big(divided(&dividend, &divisor), scale))
    }

    /// `div(self, other)`: the quotient without what is after the point.
    pub fn div_whole(&self, other: &Number) -> Result<Number> {
        let Some((a, b)) = big_pair(self, other) else {
            return self.div_slowly(other);
        };
        let (a, b, _) = big_aligned(a, b);
        match b.sign() {
            Sign::NoSign => Err(Error::DivisionByZero),
            _ => Ok(Number::big(a / b, 0)),
        }
    }

    /// `sqrt(self)`.
    pub fn sqrt(&self) -> Result<Number> {
        if self.signum() < 0 {
            return Err(Error::BadArgument(BadArgument::RootOfNegative));
        }
        let Some((value, own)) = self.digits() else {
            return Ok(self.clone());
        };
        // Of digits before the point the root has half as many.
        let before = 2 * big_leading(&value, own).0 + 1;
        let scale = (SIGNIFICANT - before).max(i32::from(own));
        Ok(self.root(scale.clamp(0, QUOTIENT_SCALE_MAX) as u16))
    }

    /// The square root of a number that is not negative, with `scale` digits after the point, of which the last is
    /// rounded half up by the one digit that follows.
    pub(super) fn root(&self, scale: u16) -> Number {
        let Some((value, own)) = self.digits() else {
            return self.clone();
        };
        // The digits of the root and one more are the root of 10^(2 * (scale + 1)) times the number.
        let digits = 2 * (i32::from(scale) + 1) - i32::from(own);
        let power = big_pow10(digits.unsigned_abs());
        let square = match digits >= 0 {
            true => value * power,
            false => value / power,
        };
        Number::big((square.sqrt() + BigInt::from(5)) / BigInt::from(10), scale)
    }

    /// `sign(self)`.
    pub fn sign(&self) -> Number {
        match self {
            Number::NaN => Number::NaN,
            other => Number::Small {
                value: other.signum().into(),
                scale: 0,
            },
        }
    }

    /// `self % other`: the remainder has the sign of the dividend.
    pub fn rem(&self, other: &Number) -> Result<Number> {
        use Number::{Infinity, NaN, NegativeInfinity};
        if let (Number::Small { value: a, scale: s }, Number::Small { value: b, scale: t }) =
            (self, other)
        {
            if *b == 0 {
                return Err(Error::DivisionByZero);
            }
            if let Some((a, b, scale)) = aligned((*a, *s), (*b, *t)) {
                let value = a.wrapping_rem(b);
                return Ok(Number::Small { value, scale });
            }
        }
        let Some((a, b)) = big_pair(self, other) else {
            return match (self, other) {
                (NaN, _) | (_, NaN) => Ok(NaN),
                (Infinity | NegativeInfinity, _) if other.signum() == 0 => {
                    Err(Error::DivisionByZero)
                }
                (Infinity | NegativeInfinity, _) => Ok(NaN),
                (finite, _) => Ok(finite.clone()),
            };
        };
        let (a, b, scale) = big_aligned(a, b);
        if b.sign() == Sign::NoSign {
            return Err(Error::DivisionByZero);
        }
        Ok(Number::big(a % b, scale))
    }
}

/// The position of the leading group (0: just before the point) and the number in it.
type Leading = (i32, u32);

#[inline]
fn leading(value: i128, scale: u16) -> Leading {
    let value = value.unsigned_abs();
    let Some(log) = value.checked_ilog10() else {
        return (0, 0);
    };
    let top = log as i32 - i32::from(scale);
    let in_group = top.rem_euclid(i32::from(GROUP));
    let shift = log as i32 - in_group;
    let first = match shift >= 0 {
        true => (value / pow10(shift as u32).map_or(u128::MAX, i128::unsigned_abs)) as u32,
        false => value as u32 * 10u32.pow(-shift as u32),
    };
    (top.div_euclid(i32::from(GROUP)), first)
}

fn big_leading(value: &BigInt, scale: u16) -> Leading {
    if value.sign() == Sign::NoSign {
        return (0, 0);
    }
    let digits = value.magnitude().to_radix_le(10);
    let top = digits.len() as i32 - 1 - i32::from(scale);
    let in_group = top.rem_euclid(i32::from(GROUP)) as usize;
    let group = (0..=in_group).fold(0, |n, i| {
        let digit = digits.len().checked_sub(1 + i).map_or(0, |at| digits[at]);
        n * 10 + u32::from(digit)
    });
    (top.div_euclid(i32::from(GROUP)), group)
}

/// Digits after the point that PostgreSQL gives a quotient.
#[inline]
fn quotient_scale(a: Leading, b: Leading, a_scale: u16, b_scale: u16) -> u16 {
    let weight = a.0 - b.0 - i32::from(a.1 <= b.1);
    (SIGNIFICANT - weight * i32::from(GROUP))
        .max(i32::from(a_scale.max(b_scale)))
        .clamp(0, QUOTIENT_SCALE_MAX) as u16
}

/// `a / b` at scale `scale`; `None` when that takes too many digits. `b` is not 0.
#[inline]
fn quotient((a, a_scale): (i128, u16), (b, b_scale): (i128, u16), scale: u16) -> Option<i128> {
    let digits = i32::from(scale) - i32::from(a_scale) + i32::from(b_scale);
    let power = pow10(u32::try_from(digits).ok()?)?;
    let dividend = a.unsigned_abs().checked_mul(power.unsigned_abs())?;
    let divisor = b.unsigned_abs();
    let (result, rest) = match (u64::try_from(dividend), u64::try_from(divisor)) {
        (Ok(dividend), Ok(divisor)) => (
            u128::from(dividend / divisor),
            u128::from(dividend % divisor),
        ),
        _ => (dividend / divisor, dividend % divisor),
    };
    let result = result + u128::from(rest >= divisor - rest);
    let result = i128::try_from(result).ok()?;
    Some(if (a < 0) != (b < 0) { -result } else { result })
}

/// The quotient, rounded half away from zero.
fn divided(dividend: &BigInt, divisor: &BigInt) -> BigInt {
    let (a, b) = (dividend.magnitude(), divisor.magnitude());
    let result = a / b;
    let rest = a - &result * b;
    let up = &rest + &rest >= *b;
    let sign = match dividend.sign() == divisor.sign() {
        true => Sign::Plus,
        false => Sign::Minus,
    };
    let result = if up { result + 1u32 } else { result };
    BigInt::from_biguint(sign, result)
}
