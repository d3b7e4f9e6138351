// SPDX-License-Identifier: Apache-2.0
//! Multiples: values are `base + quotient * factor`, the quotients an integer stream. Decimals that use
//! fewer digits than their scale, timestamps of whole seconds.
//!
//! ```text
//! base: T | factor: T | quotients: int stream (T)
//! ```

use std::ops::Range;

use super::int::{self, Int};
use crate::error::Result;
use crate::wire::Reader;

/// The greatest number that divides all distances from `min`, if it is more than 1 and they fit in 64 bits.
pub(crate) fn factor<T: Int>(values: &[T], min: T) -> Option<u64> {
    let mut divisor = 0;
    for v in values {
        divisor = gcd(v.distance(min)?, divisor);
        if divisor == 1 {
            return None;
        }
    }
    (divisor > 1).then_some(divisor)
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    // The common case first: one remainder tells that the divisor still holds.
    if b != 0 && a.is_multiple_of(b) {
        return b;
    }
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Appends the payload; `factor` divides all distances from `min`.
pub(crate) fn encode<T: Int>(values: &[T], min: T, factor: u64, out: &mut Vec<u8>) {
    min.write(out);
    T::default().add_offset(factor).write(out);
    // A quotient is at most half of the type's range: it is no negative number in any layout.
    let quotient = |v: &T| T::default().add_offset(v.low_distance(min) / factor);
    int::encode_flat(&values.iter().map(quotient).collect::<Vec<T>>(), out);
}

/// Where the quotients lie.
#[derive(Debug, Clone)]
pub(crate) struct Layout<T> {
    base: T,
    factor: T,
    quotients: Box<int::Layout<T>>,
}

impl<T: Int> Layout<T> {
    /// Checks the payload at the reader and passes over it.
    pub(crate) fn open(r: &mut Reader<'_>, data: &[u8], rows: usize) -> Result<Self> {
        let base = T::read(r.take(T::BYTES)?);
        let factor = T::read(r.take(T::BYTES)?);
        let quotients = Box::new(int::Layout::open_flat(r, data, rows)?);
        Ok(Self {
            base,
            factor,
            quotients,
        })
    }

    /// Appends rows `range`.
    pub(crate) fn decode(&self, data: &[u8], range: Range<usize>, out: &mut Vec<T>) {
        let before = out.len();
        self.quotients.decode(data, range, out);
        self.scale(&mut out[before..]);
    }

    /// Appends the given rows, which ascend.
    pub(crate) fn gather(&self, data: &[u8], rows: &[u32], out: &mut Vec<T>) {
        let before = out.len();
        self.quotients.gather(data, rows, out);
        self.scale(&mut out[before..]);
    }

    /// Appends the positions of the rows between `low` and `high`; see `int`.
    pub(crate) fn within(
        &self,
        data: &[u8],
        range: Range<usize>,
        (low, high): (T, T),
        out: &mut Vec<u32>,
    ) -> bool {
        let factor = self.factor.low_distance(T::default());
        if factor == 0 {
            return false;
        }
        if high < self.base {
            return true;
        }
        let from = match low > self.base {
            true => low.distance(self.base),
            false => Some(0),
        };
        // No value is further than 64 bits from the base.
        let Some(from) = from else { return true };
        let from = from.div_ceil(factor);
        let to = high.distance(self.base).unwrap_or(u64::MAX) / factor;
        let bounds = (i128::from(from), i128::from(to));
        let (low, high) = (T::nearest(bounds.0), T::nearest(bounds.1));
        if from > to || low.wide() != bounds.0 {
            return true;
        }
        self.quotients.within(data, range, (low, high), out)
    }

    fn scale(&self, quotients: &mut [T]) {
        for v in quotients {
            *v = v.wrapping_mul(self.factor).wrapping_add(self.base);
        }
    }

    /// Row `i`.
    pub(crate) fn get(&self, data: &[u8], i: usize) -> T {
        self.quotients
            .get(data, i)
            .wrapping_mul(self.factor)
            .wrapping_add(self.base)
    }
}
