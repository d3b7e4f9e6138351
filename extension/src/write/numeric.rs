// SPDX-License-Identifier: Apache-2.0
//! PostgreSQL's numerics <-> the scaled integers of numeric columns, and bytes to find them by.

use doris_engine::decimal::{Number, View};
use doris_engine::types::{pow10, NUMERIC_DIGITS_MAX};

/// Appends the numeric `value / 10^scale` with display scale `scale`, without a varlena header, in the one
/// form that PostgreSQL itself would store.
pub use doris_engine::decimal::push_small as from_scaled;

/// The value times `10^scale`, when the bytes (without their varlena header) are a finite numeric whose
/// display scale is exactly `scale` and whose scaled value fits 38 digits.
pub fn to_scaled(bytes: &[u8], scale: u16) -> Option<i128> {
    let view = View::new(bytes);
    if view.scale() != Some(scale) {
        return None;
    }
    let limit = pow10(NUMERIC_DIGITS_MAX.into())?;
    match view.number() {
        Number::Small { value, .. } if value.abs() < limit => Some(value),
        _ => None,
    }
}

/// The display scale of a finite numeric; `None` for NaN and the infinities.
pub fn display_scale(bytes: &[u8]) -> Option<u16> {
    View::new(bytes).scale()
}

/// Bytes that are equal for equal numerics, whatever their display scales. Segments keep hashes of them.
pub fn canonical(bytes: &[u8]) -> Vec<u8> {
    let view = View::new(bytes);
    let Some((weight, digits)) = view.digits() else {
        // NaN and the infinities are told apart by their headers' upper bytes.
        let header = bytes.first_chunk().map_or(0, |h| u16::from_ne_bytes(*h));
        return vec![0xff, (header >> 8) as u8];
    };
    if digits.is_empty() {
        // Zero: its weight says nothing.
        return vec![0];
    }
    let mut out = vec![1 + u8::from(view.is_negative())];
    out.extend_from_slice(&weight.to_be_bytes());
    out.extend_from_slice(digits);
    out
}
