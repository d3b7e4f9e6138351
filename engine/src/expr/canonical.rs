// SPDX-License-Identifier: Apache-2.0
//! Canonical keys: values that SQL calls equal get equal bits, so that hashing and comparing bytes is right.
//!
//! Floats: -0 becomes 0 and every NaN the same NaN. Bpchar loses its trailing blanks. Intervals become the
//! microseconds they compare by. Joins between types of one family first bring both sides to one type
//! ([`unify_keys`]).

use std::sync::Arc;

use doris_storage::vector::{BytesColumn, Values, Vector};

use super::build::compare::unify;
use super::ir::Expr;
use super::kernels::compare::without_blanks;
use super::kernels::datetime::interval_orders;
use crate::error::{Error, Result};
use crate::types::{Collation, DataType};

/// 0 for -0, and one NaN.
#[inline]
pub fn canonical_f64(value: f64) -> f64 {
    if value.is_nan() {
        f64::NAN
    } else {
        value + 0.0
    }
}

/// 0 for -0, and one NaN.
#[inline]
pub fn canonical_f32(value: f32) -> f32 {
    if value.is_nan() {
        f32::NAN
    } else {
        value + 0.0
    }
}

/// Two join keys brought to one type whose canonical keys are equal when the values are.
pub fn unify_keys(left: Expr, right: Expr) -> Result<(Expr, Expr)> {
    unify(true, left, right)
}

/// Whether values of a type have canonical keys here: equality is decided by bits.
pub fn has_canonical_key(data_type: DataType) -> bool {
    !matches!(data_type, DataType::Opaque { .. } | DataType::Decimal)
        && data_type.collation() != Some(Collation::Other)
}

/// `vector` with each value replaced by its canonical key; shared where nothing changes. Numerics are taken at the
/// scale of their type. The key of an interval is 128 bits wide.
pub fn canonical_key(data_type: DataType, vector: &Arc<Vector>) -> Result<Arc<Vector>> {
    if !has_canonical_key(data_type) {
        return Err(Error::not_native(format!("keys of {data_type}")));
    }
    let values = match (data_type, &vector.values) {
        (DataType::Float4, Values::F32(v)) => {
            Values::F32(v.iter().map(|&v| canonical_f32(v)).collect())
        }
        (DataType::Float8, Values::F64(v)) => {
            Values::F64(v.iter().map(|&v| canonical_f64(v)).collect())
        }
        (DataType::Interval, Values::Fixed { data, .. }) => Values::I128(interval_orders(data)),
        (DataType::Bpchar { .. }, Values::Bytes(v)) => match v.iter().any(ends_blank) {
            true => Values::Bytes(trimmed(v)),
            false => return Ok(Arc::clone(vector)),
        },
        (DataType::Bpchar { .. }, Values::Dict { codes, dict }) => {
            match dict.iter().any(ends_blank) {
                true => trimmed_dictionary(codes, dict),
                false => return Ok(Arc::clone(vector)),
            }
        }
        _ => return Ok(Arc::clone(vector)),
    };
    Ok(Arc::new(Vector {
        values,
        validity: vector.validity.clone(),
    }))
}

fn ends_blank(bytes: &[u8]) -> bool {
    bytes.last() == Some(&b' ')
}

fn trimmed(column: &BytesColumn) -> BytesColumn {
    let mut out = BytesColumn {
        offsets: Vec::with_capacity(column.len() + 1),
        data: Vec::new(),
    };
    out.offsets.push(0);
    column
        .iter()
        .for_each(|value| out.push(without_blanks(value)));
    out
}

/// Entries that differ only in padding share a code afterwards.
fn trimmed_dictionary(codes: &[u32], dict: &BytesColumn) -> Values {
    let mut known = hashbrown::HashMap::new();
    let mut out = BytesColumn::default();
    let mut renumbered = Vec::with_capacity(dict.len());
    for value in dict.iter() {
        let value = without_blanks(value);
        renumbered.push(*known.entry(value).or_insert_with(|| {
            out.push(value);
            out.len() as u32 - 1
        }));
    }
    let codes = codes
        .iter()
        .map(|&code| renumbered.get(code as usize).copied().unwrap_or(0))
        .collect();
    Values::Dict {
        codes,
        dict: Arc::new(out),
    }
}

#[cfg(test)]
mod tests;
