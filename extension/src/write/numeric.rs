// SPDX-License-Identifier: Apache-2.0
//! PostgreSQL's numeric on disk <-> scaled integers.
//!
//! The layout is that of utils/adt/numeric.c: a 16-bit header (short form: sign, display scale, weight; long
//! form: sign and display scale, then a 16-bit weight) and base-10000 digits without leading or trailing
//! zero digits. The value is `sum(digit[i] * 10000^(weight - i))`.

const SIGN_MASK: u16 = 0xC000;
const NEGATIVE: u16 = 0x4000;
const SHORT: u16 = 0x8000;
const SPECIAL: u16 = 0xC000;
const SHORT_NEGATIVE: u16 = 0x2000;
const SHORT_SCALE_MASK: u16 = 0x1F80;
const SHORT_WEIGHT_SIGN: u16 = 0x0040;
const SHORT_WEIGHT_MASK: u16 = 0x003F;
const SCALE_MASK: u16 = 0x3FFF;

/// The value times `10^scale`, when the bytes (without their varlena header) are a finite numeric whose
/// display scale is exactly `scale` and whose scaled value fits 38 digits.
pub fn to_scaled(bytes: &[u8], scale: u16) -> Option<i128> {
    let header = u16_at(bytes, 0)?;
    let (negative, display, weight, digits) = match header & SIGN_MASK {
        SPECIAL => return None,
        SHORT => {
            let low = (header & SHORT_WEIGHT_MASK) as i32;
            let weight = if header & SHORT_WEIGHT_SIGN != 0 {
                low - 64
            } else {
                low
            };
            (
                header & SHORT_NEGATIVE != 0,
                (header & SHORT_SCALE_MASK) >> 7,
                weight,
                &bytes[2..],
            )
        }
        sign => {
            let weight = u16_at(bytes, 2)? as i16;
            (
                sign == NEGATIVE,
                header & SCALE_MASK,
                i32::from(weight),
                &bytes[4..],
            )
        }
    };
    if display != scale {
        return None;
    }
    let count = digits.len() / 2;
    let mut value: i128 = 0;
    for i in 0..count {
        let digit = i128::from(u16_at(digits, 2 * i)?);
        // Digit i stands for 10000^(weight - i); scaled, for 10^(4 (weight - i) + scale).
        let exponent = 4 * (weight - i as i32) + i32::from(scale);
        let term = if exponent >= 0 {
            digit.checked_mul(10i128.checked_pow(exponent as u32)?)?
        } else {
            digit / 10i128.checked_pow(exponent.unsigned_abs())?
        };
        value = value.checked_add(term)?;
    }
    if value >= 10i128.pow(38) {
        return None;
    }
    Some(if negative { -value } else { value })
}

/// Appends the numeric `value / 10^scale` with display scale `scale`, without a varlena header, in the one
/// form that PostgreSQL itself would store.
pub fn from_scaled(value: i128, scale: u16, out: &mut Vec<u8>) {
    // Align the decimal point to a base-10000 digit boundary.
    let fraction_digits = scale.div_ceil(4);
    let mut digits = [0u16; 12];
    let count = split(
        value.unsigned_abs(),
        fraction_digits * 4 - scale,
        &mut digits,
    );
    // digits[0] is the least significant, worth 10000^-fraction_digits.
    let weight = count as i32 - 1 - i32::from(fraction_digits);
    let low = digits[..count]
        .iter()
        .position(|d| *d != 0)
        .unwrap_or(count);
    let (weight, negative) = if low == count {
        (0, false)
    } else {
        (weight, value < 0)
    };
    if scale <= 63 && (-64..=63).contains(&weight) {
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
    for digit in digits[low..count].iter().rev() {
        out.extend_from_slice(&digit.to_ne_bytes());
    }
}

/// The base-10000 digits of `value * 10^pad`, the least significant first; how many they are.
fn split(value: u128, pad: u16, digits: &mut [u16; 12]) -> usize {
    if value == 0 {
        return 0;
    }
    let first_of = |value: u64| match pad {
        0 => (value % 10_000, value / 10_000),
        1 => (value % 1_000 * 10, value / 1_000),
        2 => (value % 100 * 100, value / 100),
        _ => (value % 10 * 1_000, value / 10),
    };
    let mut count = 1;
    let mut rest = match u64::try_from(value) {
        Ok(small) => {
            let (first, rest) = first_of(small);
            digits[0] = first as u16;
            rest
        }
        Err(_) => {
            let modulus = 10u128.pow(4 - u32::from(pad));
            digits[0] = (value % modulus) as u16 * 10u16.pow(u32::from(pad));
            let mut wide = value / modulus;
            while wide > u128::from(u64::MAX) {
                digits[count] = (wide % 10_000) as u16;
                wide /= 10_000;
                count += 1;
            }
            wide as u64
        }
    };
    while rest > 0 {
        digits[count] = (rest % 10_000) as u16;
        rest /= 10_000;
        count += 1;
    }
    count
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// The display scale of a finite numeric; `None` for NaN and the infinities.
pub fn display_scale(bytes: &[u8]) -> Option<u16> {
    let header = u16_at(bytes, 0)?;
    match header & SIGN_MASK {
        SPECIAL => None,
        SHORT => Some((header & SHORT_SCALE_MASK) >> 7),
        _ => Some(header & SCALE_MASK),
    }
}

/// Bytes that are equal for equal numerics, whatever their display scales.
pub fn canonical(bytes: &[u8]) -> Vec<u8> {
    let Some(header) = u16_at(bytes, 0) else {
        return Vec::new();
    };
    let (sign, weight, digits) = match header & SIGN_MASK {
        SPECIAL => return vec![0xff, (header >> 8) as u8],
        SHORT => {
            let low = (header & SHORT_WEIGHT_MASK) as i16;
            let below_one = header & SHORT_WEIGHT_SIGN != 0;
            let weight = if below_one { low - 64 } else { low };
            (header & SHORT_NEGATIVE != 0, weight, &bytes[2..])
        }
        sign => {
            let weight = u16_at(bytes, 2).unwrap_or_default() as i16;
            (sign == NEGATIVE, weight, bytes.get(4..).unwrap_or_default())
        }
    };
    if digits.is_empty() {
        // Zero: its weight says nothing.
        return vec![0];
    }
    let mut out = vec![1 + u8::from(sign)];
    out.extend_from_slice(&weight.to_be_bytes());
    out.extend_from_slice(digits);
    out
}
