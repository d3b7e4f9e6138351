// SPDX-License-Identifier: Apache-2.0
//! Numerics of any size and scale, as PostgreSQL stores them and as numbers to compute with.
//!
//! ```text
//! View    bytes: header (sign, display scale, weight) and digits to base 10000; compares without computing
//! Number  integer / 10^scale: 128 bits where they suffice, any number of bits otherwise; NaN; the infinities
//! ```
//! The bytes are those of a `numeric` without its length word. A value is `sum(digit[i] * 10000^(weight - i))`; there
//! are no leading or trailing zero digits, and zero has none. Vectors of [`DataType::Decimal`](crate::types::DataType)
//! hold such bytes, so that columns of segments and values of PostgreSQL need no conversion.
//!
//! [`arith`] computes with numbers, with PostgreSQL's result scales; [`round`] cuts digits off; [`numeric_accumulator`]
//! adds up; [`text`] prints.

use std::cmp::Ordering;

use num_bigint::{BigInt, BigUint, Sign};

use crate::error::{Error, OutOfRange, Result};
use crate::types::pow10;

pub mod arith;

pub mod round;

pub mod numeric_accumulator;

pub mod text;

#[cfg(test)]
mod tests;

const SIGN_MASK: u16 = 0xC000;
const NEGATIVE: u16 = 0x4000;
const SHORT: u16 = 0x8000;
const SPECIAL: u16 = 0xC000;
const SPECIAL_MASK: u16 = 0xF000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;
const SHORT_NEGATIVE: u16 = 0x2000;
const SHORT_SCALE_MASK: u16 = 0x1F80;
const SHORT_SCALE_MAX: u16 = 63;
const SHORT_WEIGHT_SIGN: u16 = 0x0040;
const SHORT_WEIGHT_MASK: u16 = 0x003F;
const SCALE_MASK: u16 = 0x3FFF;
/// Largest display scale.
pub const SCALE_MAX: u16 = SCALE_MASK;
/// Largest weight of a leading digit.
const WEIGHT_MAX: i32 = i16::MAX as i32;
/// Decimal digits in one of PostgreSQL's.
const GROUP: u16 = 4;
/// Most digits to base 10000 that surely fit 128 bits.
const SMALL_GROUPS: usize = 9;

/// What a value is, but for its digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    NegativeInfinity,
    Negative,
    Zero,
    Positive,
    Infinity,
    NaN,
}

/// A stored numeric, looked at where it lies.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    class: Class,
    weight: i16,
    scale: u16,
    digits: &'a [u8],
}

impl<'a> View<'a> {
    /// The value in `bytes`.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        let header = u16_at(bytes, 0);
        let sign = header & SIGN_MASK;
        let (negative, scale, weight, digits) = match sign {
            SPECIAL => return Self::special(header),
            SHORT => {
                let low = (header & SHORT_WEIGHT_MASK) as i16;
                let below_one = header & SHORT_WEIGHT_SIGN != 0;
                (
                    header & SHORT_NEGATIVE != 0,
                    (header & SHORT_SCALE_MASK) >> 7,
                    if below_one { low - 64 } else { low },
                    bytes.get(2..),
                )
            }
            _ => (
                sign == NEGATIVE,
                header & SCALE_MASK,
                u16_at(bytes, 2) as i16,
                bytes.get(4..),
            ),
        };
        let digits = digits.unwrap_or_default();
        let class = match (digits.is_empty(), negative) {
            (true, _) => Class::Zero,
            (false, true) => Class::Negative,
            (false, false) => Class::Positive,
        };
        Self {
            class,
            weight,
            scale,
            digits,
        }
    }

    fn special(header: u16) -> Self {
        let class = match header & SPECIAL_MASK {
            INFINITY => Class::Infinity,
            NEGATIVE_INFINITY => Class::NegativeInfinity,
            _ => Class::NaN,
        };
        Self {
            class,
            weight: 0,
            scale: 0,
            digits: &[],
        }
    }

    /// Digits after the point that are shown; `None` for NaN and the infinities.
    pub fn scale(&self) -> Option<u16> {
        self.is_finite().then_some(self.scale)
    }

    /// Whether it is neither NaN nor infinite.
    #[inline]
    pub fn is_finite(&self) -> bool {
        matches!(self.class, Class::Negative | Class::Zero | Class::Positive)
    }

    /// Its weight and the bytes of its digits, without which it is zero; `None` for NaN and the infinities.
    pub fn digits(&self) -> Option<(i16, &'a [u8])> {
        self.is_finite().then_some((self.weight, self.digits))
    }

    /// Whether it is a number below zero.
    pub fn is_negative(&self) -> bool {
        self.class == Class::Negative
    }

    fn groups(&self) -> usize {
        self.digits.len() / 2
    }

    #[inline]
    fn group(&self, i: usize) -> u16 {
        u16_at(self.digits, 2 * i)
    }

    /// Where it sorts: NaN after infinity, scales apart that are shown only.
    #[inline]
    pub fn compare(&self, other: &View<'_>) -> Ordering {
        match self.class.cmp(&other.class) {
            Ordering::Equal => {}
            unequal => return unequal,
        }
        match self.class {
            Class::Positive => self.compare_magnitude(other),
            Class::Negative => other.compare_magnitude(self),
            _ => Ordering::Equal,
        }
    }

    fn compare_magnitude(&self, other: &View<'_>) -> Ordering {
        let by_weight = self.weight.cmp(&other.weight);
        if by_weight.is_ne() {
            return by_weight;
        }
        for i in 0..self.groups().min(other.groups()) {
            let by_digit = self.group(i).cmp(&other.group(i));
            if by_digit.is_ne() {
                return by_digit;
            }
        }
        self.groups().cmp(&other.groups())
    }

    /// Appends bytes whose order is the values' order, equal for equal values, none a prefix of another.
    ///
    /// ```text
    /// class    one byte: -inf, negative, zero, positive, inf, NaN
    /// weight   two bytes, sign bit flipped
    /// digits   two bytes each, from 1, and 0 at the end; all but the class inverted for negative values
    /// ```
    pub fn push_order(&self, out: &mut Vec<u8>) {
        out.push(self.class as u8);
        if !matches!(self.class, Class::Negative | Class::Positive) {
            return;
        }
        let invert = match self.class {
            Class::Negative => u16::MAX,
            _ => 0,
        };
        let mut push = |word: u16| out.extend_from_slice(&(word ^ invert).to_be_bytes());
        push((self.weight ^ i16::MIN) as u16);
        for i in 0..self.groups() {
            push(self.group(i) + 1);
        }
        push(0);
    }

    /// As a number to compute with.
    #[inline]
    pub fn number(&self) -> Number {
        let negative = match self.class {
            Class::NaN => return Number::NaN,
            Class::Infinity => return Number::Infinity,
            Class::NegativeInfinity => return Number::NegativeInfinity,
            class => class == Class::Negative,
        };
        let groups = self.groups();
        if groups > SMALL_GROUPS {
            return self.wide(negative);
        }
        let mut magnitude = 0u128;
        if groups <= 4 {
            let narrow = (0..groups).fold(0u64, |n, i| n * 10_000 + u64::from(self.group(i)));
            magnitude = narrow.into();
        } else {
            for i in 0..groups {
                magnitude = magnitude * 10_000 + u128::from(self.group(i));
            }
        }
        let Ok(value) = i128::try_from(magnitude) else {
            return self.wide(negative);
        };
        match self.shift() {
            0 => {}
            more @ 1.. => match pow10(more as u32).and_then(|power| value.checked_mul(power)) {
                Some(value) => return Number::small(value, negative, self.scale),
                None if value == 0 => {}
                None => return self.wide(negative),
            },
            fewer => {
                let power = pow10(fewer.unsigned_abs()).unwrap_or(i128::MAX);
                return Number::small(value / power, negative, self.scale);
            }
        }
        Number::small(value, negative, self.scale)
    }

    /// Decimal digits between the last stored one and the last shown one.
    #[inline]
    fn shift(&self) -> i32 {
        let after = self.groups() as i32 - 1 - i32::from(self.weight);
        i32::from(self.scale) - after * i32::from(GROUP)
    }

    #[cold]
    fn wide(&self, negative: bool) -> Number {
        let mut digits = Vec::with_capacity(self.groups() * usize::from(GROUP));
        for i in 0..self.groups() {
            let group = self.group(i);
            digits.extend([1000, 100, 10, 1].map(|unit| (group / unit % 10) as u8));
        }
        let shift = self.shift();
        match usize::try_from(shift) {
            Ok(more) => digits.resize(digits.len() + more, 0),
            Err(_) => digits.truncate(digits.len().saturating_sub(shift.unsigned_abs() as usize)),
        }
        let magnitude = BigUint::from_radix_be(&digits, 10).unwrap_or_default();
        let sign = if negative { Sign::Minus } else { Sign::Plus };
        Number::big(BigInt::from_biguint(sign, magnitude), self.scale)
    }
}

#[inline]
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    match bytes.get(at..at + 2) {
        Some(&[a, b]) => u16::from_ne_bytes([a, b]),
        _ => 0,
    }
}

/// A numeric to compute with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Number {
    /// `value / 10^scale`.
    Small {
        /// The digits.
        value: i128,
        /// How many of them are after the point: those that are shown.
        scale: u16,
    },
    /// The same, where 128 bits do not suffice.
    Big {
        /// The digits.
        value: Box<BigInt>,
        /// How many of them are after the point: those that are shown.
        scale: u16,
    },
    /// Not a number: after all others, equal to itself.
    NaN,
    /// Above every finite number.
    Infinity,
    /// Below every finite number.
    NegativeInfinity,
}

impl Number {
    /// Bytes that it has beside itself.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Number::Big { value, .. } => size_of::<BigInt>() + value.bits() as usize / 8,
            _ => 0,
        }
    }

    /// Zero, shown without a point.
    pub const ZERO: Number = Number::Small { value: 0, scale: 0 };

    #[inline]
    fn small(magnitude: i128, negative: bool, scale: u16) -> Self {
        let value = if negative { -magnitude } else { magnitude };
        Number::Small { value, scale }
    }

    /// `value / 10^scale`, in 128 bits if they suffice.
    pub fn big(value: BigInt, scale: u16) -> Self {
        match i128::try_from(&value) {
            Ok(value) => Number::Small { value, scale },
            Err(_) => Number::Big {
                value: Box::new(value),
                scale,
            },
        }
    }

    /// Digits after the point; `None` for NaN and the infinities.
    pub fn scale(&self) -> Option<u16> {
        match self {
            Number::Small { scale, .. } | Number::Big { scale, .. } => Some(*scale),
            _ => None,
        }
    }

    /// The digits of a finite number and how many are after the point.
    fn digits(&self) -> Option<(BigInt, u16)> {
        match self {
            Number::Small { value, scale } => Some((BigInt::from(*value), *scale)),
            Number::Big { value, scale } => Some(((**value).clone(), *scale)),
            _ => None,
        }
    }

    /// -1, 0 or 1; 0 for NaN.
    pub fn signum(&self) -> i32 {
        match self {
            Number::Small { value, .. } => value.signum() as i32,
            Number::Big { value, .. } => match value.sign() {
                Sign::Minus => -1,
                Sign::NoSign => 0,
                Sign::Plus => 1,
            },
            Number::NaN => 0,
            Number::Infinity => 1,
            Number::NegativeInfinity => -1,
        }
    }

    /// Appends the bytes PostgreSQL would store; fails when it has no form for them.
    pub fn push(&self, out: &mut Vec<u8>) -> Result<()> {
        match self {
            Number::Small { value, scale } => push_small(*value, *scale, out),
            Number::Big { value, scale } => return push_big(value, *scale, out),
            Number::NaN => out.extend_from_slice(&NAN.to_ne_bytes()),
            Number::Infinity => out.extend_from_slice(&INFINITY.to_ne_bytes()),
            Number::NegativeInfinity => out.extend_from_slice(&NEGATIVE_INFINITY.to_ne_bytes()),
        }
        Ok(())
    }

    /// Appends the scale and the digits of a finite number, in the engine's own form.
    pub(crate) fn push_digits(&self, out: &mut Vec<u8>) {
        match self {
            Number::Small { value, scale } => {
                out.extend_from_slice(&scale.to_le_bytes());
                out.extend_from_slice(&value.to_le_bytes());
            }
            Number::Big { value, scale } => {
                out.extend_from_slice(&scale.to_le_bytes());
                out.extend_from_slice(&value.to_signed_bytes_le());
            }
            _ => {}
        }
    }

    /// The number that [`Number::push_digits`] wrote.
    pub(crate) fn of_digits(bytes: &[u8]) -> Option<Number> {
        let (scale, digits) = bytes.split_first_chunk()?;
        let scale = u16::from_le_bytes(*scale);
        Some(match <[u8; 16]>::try_from(digits) {
            Ok(digits) => Number::Small {
                value: i128::from_le_bytes(digits),
                scale,
            },
            Err(_) => Number::big(BigInt::from_signed_bytes_le(digits), scale),
        })
    }

    /// The bytes PostgreSQL would store.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        self.push(&mut out)?;
        Ok(out)
    }
}

fn push_header(negative: bool, scale: u16, weight: i32, out: &mut Vec<u8>) {
    if scale <= SHORT_SCALE_MAX && (-64..=63).contains(&weight) {
        let mut header = SHORT | scale << 7 | (weight as u16 & SHORT_WEIGHT_MASK);
        if negative {
            header |= SHORT_NEGATIVE;
        }
        if weight < 0 {
            header |= SHORT_WEIGHT_SIGN;
        }
        out.extend_from_slice(&header.to_ne_bytes());
    } else {
        let header = scale | if negative { NEGATIVE } else { 0 };
        out.extend_from_slice(&header.to_ne_bytes());
        out.extend_from_slice(&(weight as i16).to_ne_bytes());
    }
}

/// Appends the bytes PostgreSQL would store for `value / 10^scale`.
pub fn push_small(value: i128, scale: u16, out: &mut Vec<u8>) {
    if value == 0 {
        return push_header(false, scale, 0, out);
    }
    let fraction_groups = scale.div_ceil(GROUP);
    let mut groups = [0u16; 12];
    let count = split(
        value.unsigned_abs(),
        fraction_groups * GROUP - scale,
        &mut groups,
    );
    // groups[0] is the least significant, worth 10000^-fraction_groups.
    let weight = count as i32 - 1 - i32::from(fraction_groups);
    push_header(value < 0, scale, weight, out);
    let low = groups.iter().take_while(|group| **group == 0).count();
    for group in groups[low..count].iter().rev() {
        out.extend_from_slice(&group.to_ne_bytes());
    }
}

/// The base-10000 digits of `value * 10^pad`, the least significant first; how many they are.
#[inline]
fn split(value: u128, pad: u16, groups: &mut [u16; 12]) -> usize {
    let unit = 10u64.pow(u32::from(GROUP - pad));
    let fill = 10_000 / unit;
    let mut count = 1;
    let mut rest = match u64::try_from(value) {
        Ok(small) => {
            groups[0] = (small % unit * fill) as u16;
            small / unit
        }
        Err(_) => {
            groups[0] = ((value % u128::from(unit)) as u64 * fill) as u16;
            let mut wide = value / u128::from(unit);
            while wide > u128::from(u64::MAX) {
                groups[count] = (wide % 10_000) as u16;
                wide /= 10_000;
                count += 1;
            }
            wide as u64
        }
    };
    while rest > 0 {
        groups[count] = (rest % 10_000) as u16;
        rest /= 10_000;
        count += 1;
    }
    count
}

#[cold]
fn push_big(value: &BigInt, scale: u16, out: &mut Vec<u8>) -> Result<()> {
    // The least significant decimal digit first, after zeros up to a whole group.
    let fraction_groups = scale.div_ceil(GROUP);
    let mut digits = vec![0u8; usize::from(fraction_groups * GROUP - scale)];
    digits.extend(value.magnitude().to_radix_le(10));
    let groups: Vec<u16> = digits
        .chunks(usize::from(GROUP))
        .map(|chunk| chunk.iter().rev().fold(0, |n, d| n * 10 + u16::from(*d)))
        .collect();
    let weight = groups.len() as i32 - 1 - i32::from(fraction_groups);
    if weight > WEIGHT_MAX {
        return Err(Error::NumericOutOfRange(OutOfRange::NumericFormat));
    }
    push_header(value.sign() == Sign::Minus, scale, weight, out);
    let low = groups.iter().take_while(|group| **group == 0).count();
    for group in groups[low..].iter().rev() {
        out.extend_from_slice(&group.to_ne_bytes());
    }
    Ok(())
}

/// `10^exponent` of any size.
fn big_pow10(exponent: u32) -> BigInt {
    match pow10(exponent) {
        Some(power) => BigInt::from(power),
        None => BigInt::from(10).pow(exponent),
    }
}
