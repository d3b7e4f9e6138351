// SPDX-License-Identifier: Apache-2.0
//! Memory-comparable keys: byte strings whose memcmp order is the sort order of key columns.
//!
//! Each column contributes a NULL marker and its value: integers big-endian with the sign flipped, floats by
//! their ordered bits, bytes with 0x00 written as `00 FF` and `00 00` at the end. A descending column's bytes
//! are inverted.

use crate::vector::Physical;
use crate::zone_map::Scalar;

/// Bytes kept of a key in the sparse key index.
pub const KEY_PREFIX_MAX: usize = 36;

/// How one column takes part in a sort order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortKey {
    /// Column id (`ColumnSpec::id`).
    pub column: u16,
    /// Largest first.
    pub descending: bool,
    /// NULLs before all values, whatever the direction.
    pub nulls_first: bool,
}

/// Appends one column's part of a key. Returns false when the key is only a prefix from here on (the
/// scalar was not complete), so that no further column may follow.
///
/// `None` is NULL. Integers outside the layout's range, and scalars of another family, end the key too.
pub fn encode_scalar(
    value: Option<&Scalar>,
    physical: Physical,
    key: SortKey,
    out: &mut Vec<u8>,
) -> bool {
    let Some(value) = value else {
        out.push(if key.nulls_first { 0 } else { 2 });
        return true;
    };
    let start = out.len() + 1;
    out.push(1);
    let complete = match value {
        Scalar::Int(v) => encode_int(*v, physical, out),
        Scalar::Float(v) => {
            out.extend_from_slice(&ordered_bits(*v).to_be_bytes());
            true
        }
        Scalar::Bytes { value, exact } => {
            for &byte in value {
                out.push(byte);
                if byte == 0 {
                    out.push(0xff);
                }
            }
            if *exact {
                out.extend_from_slice(&[0, 0]);
            }
            *exact
        }
    };
    if key.descending {
        out[start..].iter_mut().for_each(|b| *b = !*b);
    }
    complete
}

fn encode_int(v: i128, physical: Physical, out: &mut Vec<u8>) -> bool {
    macro_rules! put {
        ($int:ty, $unsigned:ty) => {
            match <$int>::try_from(v) {
                Ok(v) => {
                    out.extend_from_slice(
                        &((v as $unsigned) ^ (1 << (<$unsigned>::BITS - 1))).to_be_bytes(),
                    );
                    true
                }
                Err(_) => false,
            }
        };
    }
    match physical {
        Physical::Bool => {
            out.push(u8::from(v != 0));
            true
        }
        Physical::I16 => put!(i16, u16),
        Physical::I32 => put!(i32, u32),
        Physical::I64 => put!(i64, u64),
        _ => put!(i128, u128),
    }
}

/// Bits that order as PostgreSQL orders floats: one NaN, greatest; one zero.
pub(crate) fn ordered_bits(v: f64) -> u64 {
    let canonical = if v.is_nan() {
        f64::NAN.abs()
    } else if v == 0.0 {
        0.0
    } else {
        v
    };
    let bits = canonical.to_bits();
    if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    }
}
