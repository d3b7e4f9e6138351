// SPDX-License-Identifier: Apache-2.0
//! The order of rows by key columns: a normalised prefix decides most comparisons, the vectors the rest.

use std::cmp::Ordering;

use crate::key::ordered_bits;
use crate::vector::{Values, Vector};
use crate::zone_map::float_order;

#[cfg(test)]
mod tests;

/// Direction of one key column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Direction {
    /// Largest first.
    pub descending: bool,
    /// NULLs before all values, whatever the direction.
    pub nulls_first: bool,
}

/// Compares two rows of one key column.
pub fn compare(vector: &Vector, direction: Direction, a: usize, b: usize) -> Ordering {
    match (vector.is_null(a), vector.is_null(b)) {
        (true, true) => return Ordering::Equal,
        (true, false) => {
            return if direction.nulls_first {
                Ordering::Less
            } else {
                Ordering::Greater
            }
        }
        (false, true) => {
            return if direction.nulls_first {
                Ordering::Greater
            } else {
                Ordering::Less
            }
        }
        (false, false) => {}
    }
    let order = match &vector.values {
        Values::Bool(v) => v[a].cmp(&v[b]),
        Values::I16(v) => v[a].cmp(&v[b]),
        Values::I32(v) => v[a].cmp(&v[b]),
        Values::I64(v) => v[a].cmp(&v[b]),
        Values::I128(v) => v[a].cmp(&v[b]),
        Values::F32(v) => float_order(f64::from(v[a]), f64::from(v[b])),
        Values::F64(v) => float_order(v[a], v[b]),
        Values::Fixed { .. } | Values::Bytes(_) | Values::Dict { .. } => {
            vector.bytes(a).cmp(&vector.bytes(b))
        }
    };
    if direction.descending {
        order.reverse()
    } else {
        order
    }
}

/// The rows in sorted order: entry `i` is the row that belongs at place `i`. Rows that compare equal keep
/// their order. The keys have equal lengths of at most `u32::MAX` rows; the most significant comes first.
pub fn permutation(keys: &[(&Vector, Direction)]) -> Vec<u32> {
    let Some(((first, direction), rest)) = keys.split_first() else {
        return Vec::new();
    };
    let rows = first.len();
    let (prefixes, decisive) = prefixes(first, *direction);
    let mut order: Vec<(u64, u32)> = prefixes.into_iter().zip(0..rows as u32).collect();
    if order.windows(2).all(|w| w[0].0 < w[1].0) && decisive {
        return (0..rows as u32).collect();
    }
    order.sort_unstable_by(|&(p, a), &(q, b)| {
        p.cmp(&q).then_with(|| {
            let (i, j) = (a as usize, b as usize);
            let tie = if decisive {
                Ordering::Equal
            } else {
                compare(first, *direction, i, j)
            };
            let by_rest =
                |o: Ordering, (v, d): &(&Vector, Direction)| o.then_with(|| compare(v, *d, i, j));
            rest.iter().fold(tie, by_rest).then(a.cmp(&b))
        })
    });
    order.into_iter().map(|(_, row)| row).collect()
}

/// For each row a number that orders as the first 64 bits of its key do, and whether equal numbers mean
/// equal keys.
fn prefixes(vector: &Vector, direction: Direction) -> (Vec<u64>, bool) {
    let rows = vector.len();
    let signed = |v: i64| v as u64 ^ 1 << 63;
    let (mut out, mut decisive): (Vec<u64>, bool) = match &vector.values {
        Values::Bool(v) => (v.iter().map(|&v| u64::from(v)).collect(), true),
        Values::I16(v) => (v.iter().map(|&v| signed(i64::from(v))).collect(), true),
        Values::I32(v) => (v.iter().map(|&v| signed(i64::from(v))).collect(), true),
        Values::I64(v) => (v.iter().map(|&v| signed(v)).collect(), true),
        Values::I128(v) => (v.iter().map(|&v| signed((v >> 64) as i64)).collect(), false),
        Values::F32(v) => (
            v.iter().map(|&v| ordered_bits(f64::from(v))).collect(),
            true,
        ),
        Values::F64(v) => (v.iter().map(|&v| ordered_bits(v)).collect(), true),
        Values::Fixed { .. } | Values::Bytes(_) | Values::Dict { .. } => (
            (0..rows)
                .map(|i| first_bytes(vector.bytes(i).unwrap_or_default()))
                .collect(),
            false,
        ),
    };
    if direction.descending {
        out.iter_mut().for_each(|p| *p = !*p);
    }
    if let Some(validity) = &vector.validity {
        decisive = false;
        let null = if direction.nulls_first { 0 } else { u64::MAX };
        (0..rows)
            .filter(|&i| !validity.get(i))
            .for_each(|i| out[i] = null);
    }
    (out, decisive)
}

fn first_bytes(value: &[u8]) -> u64 {
    let mut be = [0; 8];
    let n = value.len().min(8);
    be[..n].copy_from_slice(&value[..n]);
    u64::from_be_bytes(be)
}
