// SPDX-License-Identifier: Apache-2.0
//! Zone maps: the smallest and largest value, the NULLs and the sum of a row block or a segment.

use std::cmp::Ordering;
use std::ops::Range;

use crate::encoding::int::Int;
use crate::error::{corrupt, Result};
use crate::vector::{Bitmap, Values, Vector};
use crate::wire::{put_bytes, put_signed, Reader};

/// Bytes that a zone map keeps of a long value.
pub const BYTES_KEPT_MAX: usize = 64;

/// One value, of a layout's family: integers and booleans, floats, or bytes (`Bytes` and `Fixed`).
/// Floats are equal as PostgreSQL has it: NaN equals itself.
#[derive(Debug, Clone)]
pub enum Scalar {
    /// Any integer layout; booleans are 0 and 1; decimals at their column's scale.
    Int(i128),
    /// Either float layout; the order is PostgreSQL's (NaN greatest, -0.0 = 0.0).
    Float(f64),
    /// Bytes, ordered as by memcmp.
    Bytes {
        /// The value, or a bound of it.
        value: Vec<u8>,
        /// Whether `value` is complete. An incomplete minimum is a prefix (so not above the true one);
        /// an incomplete maximum was rounded up (so not below the true one).
        exact: bool,
    },
}

/// PostgreSQL's order of floats: NaN equals itself and is greatest, -0.0 equals 0.0.
pub fn float_order(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b)
        .unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.order(other) == Some(Ordering::Equal) && self.is_exact() == other.is_exact()
    }
}

impl Scalar {
    /// An exact bytes scalar.
    pub fn bytes(value: impl Into<Vec<u8>>) -> Self {
        Scalar::Bytes {
            value: value.into(),
            exact: true,
        }
    }

    /// Order of two scalars of one family; `None` across families.
    pub fn order(&self, other: &Scalar) -> Option<Ordering> {
        match (self, other) {
            (Scalar::Int(a), Scalar::Int(b)) => Some(a.cmp(b)),
            (Scalar::Float(a), Scalar::Float(b)) => Some(float_order(*a, *b)),
            (Scalar::Bytes { value: a, .. }, Scalar::Bytes { value: b, .. }) => Some(a.cmp(b)),
            _ => None,
        }
    }

    /// Whether the value is complete.
    pub fn is_exact(&self) -> bool {
        !matches!(self, Scalar::Bytes { exact: false, .. })
    }

    /// Row `i` of a vector; `None` for NULL. Bytes are complete.
    pub fn of(vector: &Vector, i: usize) -> Option<Scalar> {
        if vector.is_null(i) {
            return None;
        }
        Some(match &vector.values {
            Values::Bool(v) => Scalar::Int(i128::from(v[i])),
            Values::I16(v) => Scalar::Int(i128::from(v[i])),
            Values::I32(v) => Scalar::Int(i128::from(v[i])),
            Values::I64(v) => Scalar::Int(i128::from(v[i])),
            Values::I128(v) => Scalar::Int(v[i]),
            Values::F32(v) => Scalar::Float(f64::from(v[i])),
            Values::F64(v) => Scalar::Float(v[i]),
            Values::Fixed { .. } | Values::Bytes(_) | Values::Dict { .. } => {
                Scalar::bytes(vector.bytes(i)?)
            }
        })
    }

    /// Appends the scalar (or its absence).
    pub(crate) fn write(this: Option<&Scalar>, out: &mut Vec<u8>) {
        match this {
            None => out.push(0),
            Some(Scalar::Int(v)) => {
                out.push(1);
                put_signed(out, *v);
            }
            Some(Scalar::Float(v)) => {
                out.push(2);
                out.extend_from_slice(&v.to_bits().to_le_bytes());
            }
            Some(Scalar::Bytes { value, exact }) => {
                out.push(3 + u8::from(!exact));
                put_bytes(out, value);
            }
        }
    }

    /// Reads what `write` wrote.
    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Option<Scalar>> {
        Ok(Some(match r.u8()? {
            0 => return Ok(None),
            1 => Scalar::Int(r.signed()?),
            2 => Scalar::Float(f64::from_bits(r.u64()?)),
            tag @ (3 | 4) => Scalar::Bytes {
                value: r.bytes()?.to_vec(),
                exact: tag == 3,
            },
            _ => return Err(corrupt("unknown kind of zone map value")),
        }))
    }
}

/// What a zone map says of a run of rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ZoneMap {
    /// NULL rows.
    pub null_count: u32,
    /// No value is below; `None` without values, or for columns without an order.
    pub min: Option<Scalar>,
    /// No value is above. `None` beside a `Some` minimum: no bound is known.
    pub max: Option<Scalar>,
    /// Exact sum of an integer column's values; `None` for other columns, or past 128 bits.
    pub sum: Option<i128>,
}

impl ZoneMap {
    /// Widens this zone map of earlier rows by those of later ones; `had_values` tells whether any
    /// earlier row had a value.
    pub(crate) fn merge(&mut self, other: &ZoneMap, had_values: bool) {
        self.null_count += other.null_count;
        self.sum = self.sum.zip(other.sum).and_then(|(a, b)| a.checked_add(b));
        if other.min.is_none() {
            return;
        }
        if !had_values {
            (self.min, self.max) = (other.min.clone(), other.max.clone());
            return;
        }
        let below = |a: &Scalar, b: &Scalar| a.order(b) == Some(Ordering::Less);
        if self
            .min
            .as_ref()
            .zip(other.min.as_ref())
            .is_some_and(|(a, b)| below(b, a))
        {
            self.min = other.min.clone();
        }
        self.max = match (self.max.take(), &other.max) {
            (Some(a), Some(b)) => Some(if below(&a, b) { b.clone() } else { a }),
            _ => None,
        };
    }
}

/// The first `BYTES_KEPT_MAX` bytes: a lower bound.
fn lower_bound(value: &[u8]) -> Scalar {
    let kept = &value[..value.len().min(BYTES_KEPT_MAX)];
    Scalar::Bytes {
        value: kept.to_vec(),
        exact: kept.len() == value.len(),
    }
}

/// The shortest upper bound of at most `BYTES_KEPT_MAX` bytes; `None` when the value begins with that
/// many 0xFF.
fn upper_bound(value: &[u8]) -> Option<Scalar> {
    if value.len() <= BYTES_KEPT_MAX {
        return Some(Scalar::bytes(value));
    }
    let mut kept = value[..BYTES_KEPT_MAX].to_vec();
    while kept.last() == Some(&0xff) {
        kept.pop();
    }
    *kept.last_mut()? += 1;
    Some(Scalar::Bytes {
        value: kept,
        exact: false,
    })
}

/// The zone map of rows `range`. `ordered`: keep minimum and maximum.
pub(crate) fn of(vector: &Vector, range: Range<usize>, ordered: bool) -> ZoneMap {
    let valid = vector.validity.as_ref();
    let nulls = valid.map_or(0, |v| range.clone().filter(|&i| !v.get(i)).count());
    let mut map = ZoneMap {
        null_count: nulls as u32,
        ..ZoneMap::default()
    };
    if nulls == range.len() {
        if matches!(
            vector.values,
            Values::I16(_) | Values::I32(_) | Values::I64(_) | Values::I128(_)
        ) {
            map.sum = Some(0);
        }
        return map;
    }
    let valid = valid.filter(|_| nulls > 0);
    match &vector.values {
        Values::Bool(v) => ints(v, range, valid, ordered, false, &mut map),
        Values::I16(v) => ints(v, range, valid, ordered, true, &mut map),
        Values::I32(v) => ints(v, range, valid, ordered, true, &mut map),
        Values::I64(v) => ints(v, range, valid, ordered, true, &mut map),
        Values::I128(v) => ints(v, range, valid, ordered, true, &mut map),
        _ if !ordered => {}
        Values::F32(v) => floats(
            range.clone().map(|i| f64::from(v[i])),
            range,
            valid,
            &mut map,
        ),
        Values::F64(v) => floats(range.clone().map(|i| v[i]), range, valid, &mut map),
        Values::Fixed { .. } | Values::Bytes(_) | Values::Dict { .. } => {
            let rows = range.filter(|&i| valid.is_none_or(|v| v.get(i)));
            bytes(rows.filter_map(|i| vector.bytes(i)), &mut map);
        }
    }
    map
}

fn ints<T: Int>(
    values: &[T],
    range: Range<usize>,
    valid: Option<&Bitmap>,
    ordered: bool,
    summed: bool,
    map: &mut ZoneMap,
) {
    let kept: Vec<T>;
    let values = match valid {
        None => &values[range],
        Some(valid) => {
            kept = range.filter(|&i| valid.get(i)).map(|i| values[i]).collect();
            &kept
        }
    };
    let Some(&first) = values.first() else { return };
    let (lo, hi) = values
        .iter()
        .fold((first, first), |(lo, hi), &v| (lo.min(v), hi.max(v)));
    if ordered {
        map.min = Some(Scalar::Int(lo.wide()));
        map.max = Some(Scalar::Int(hi.wide()));
    }
    if summed {
        map.sum = T::sum(values);
    }
}

fn floats(
    values: impl Iterator<Item = f64>,
    range: Range<usize>,
    valid: Option<&Bitmap>,
    map: &mut ZoneMap,
) {
    let mut bounds: Option<(f64, f64)> = None;
    for (v, i) in values.zip(range) {
        if valid.is_some_and(|valid| !valid.get(i)) {
            continue;
        }
        let (lo, hi) = bounds.unwrap_or((v, v));
        let lo = if float_order(v, lo).is_lt() { v } else { lo };
        let hi = if float_order(v, hi).is_gt() { v } else { hi };
        bounds = Some((lo, hi));
    }
    map.min = bounds.map(|(lo, _)| Scalar::Float(lo));
    map.max = bounds.map(|(_, hi)| Scalar::Float(hi));
}

fn bytes<'a>(values: impl Iterator<Item = &'a [u8]>, map: &mut ZoneMap) {
    let mut bounds: Option<(&[u8], &[u8])> = None;
    for v in values {
        bounds = Some(match bounds {
            None => (v, v),
            Some((lo, hi)) if v < lo => (v, hi),
            Some((lo, hi)) if v > hi => (lo, v),
            Some(same) => same,
        });
    }
    map.min = bounds.map(|(lo, _)| lower_bound(lo));
    map.max = bounds.and_then(|(_, hi)| upper_bound(hi));
}
