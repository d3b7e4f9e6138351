// SPDX-License-Identifier: Apache-2.0
//! Intervals: their order, and what they do to timestamps.

use doris_storage::vector::{Values, Vector};

use super::{
    civil, day_number, days_in_month, is_infinite, out_of_range, split, valid_timestamp, Civil,
    MICROS_PER_DAY,
};
use crate::error::{DatetimeKind, Error, Result};
use crate::expr::operand::{strict_validity, Operand};

/// An interval, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval {
    pub micros: i64,
    pub days: i32,
    pub months: i32,
}

impl Interval {
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (micros, rest) = bytes.split_first_chunk()?;
        let (days, rest) = rest.split_first_chunk()?;
        let months = rest.first_chunk()?;
        Some(Self {
            micros: i64::from_le_bytes(*micros),
            days: i32::from_le_bytes(*days),
            months: i32::from_le_bytes(*months),
        })
    }

    pub(crate) fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.micros.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.days.to_le_bytes());
        bytes[12..].copy_from_slice(&self.months.to_le_bytes());
        bytes
    }

    /// Whether later versions of PostgreSQL take it for infinite.
    pub(crate) fn is_infinite(self) -> bool {
        let ends = [
            (i64::MIN, i32::MIN, i32::MIN),
            (i64::MAX, i32::MAX, i32::MAX),
        ];
        ends.contains(&(self.micros, self.days, self.months))
    }

    /// What intervals compare by: a month is 30 days, a day 24 hours.
    pub(crate) fn order(self) -> i128 {
        let days = i128::from(self.months) * 30 + i128::from(self.days);
        days * i128::from(MICROS_PER_DAY) + i128::from(self.micros)
    }

    fn negate(self) -> Option<Self> {
        Some(Self {
            micros: self.micros.checked_neg()?,
            days: self.days.checked_neg()?,
            months: self.months.checked_neg()?,
        })
    }
}

/// What the intervals of a vector's buffer compare by.
pub(in crate::expr) fn interval_orders(data: &[u8]) -> Vec<i128> {
    data.chunks_exact(16)
        .map(|bytes| Interval::from_bytes(bytes).map_or(0, Interval::order))
        .collect()
}

/// Intervals as what they compare by.
pub(in crate::expr) fn interval_order(operand: &Operand, rows: usize) -> Vector {
    let order = |i: usize| Interval::from_bytes(operand.bytes(i)).map_or(0, Interval::order);
    let values = Values::I128((0..rows).map(order).collect());
    Vector {
        values,
        validity: strict_validity(std::slice::from_ref(operand), rows),
    }
}

/// `timestamp ± interval`: months first (the day clamped to the month's end), then days, then time.
pub(in crate::expr) fn add_interval(
    negate: bool,
    operands: &[Operand],
    rows: usize,
) -> Result<Vector> {
    let validity = strict_validity(operands, rows);
    let timestamps = operands[0].side::<i64>()?;
    let interval = |i: usize| {
        let interval = Interval::from_bytes(operands[1].bytes(i))?;
        if negate {
            interval.negate()
        } else {
            Some(interval)
        }
    };
    let constant = match &operands[1] {
        Operand::Scalar(_) => Some(interval(0)),
        Operand::Vector(_) => None,
    };
    let mut values = Vec::with_capacity(rows);
    for i in 0..rows {
        if validity.as_ref().is_some_and(|bits| !bits.get(i)) {
            values.push(0);
            continue;
        }
        let micros = timestamps.get(i);
        let by = constant.unwrap_or_else(|| interval(i));
        // A long one before PostgreSQL 17, an infinite one since. (What cannot be negated is the least.)
        if by.is_none_or(Interval::is_infinite) {
            return Err(Error::not_native("an infinite interval"));
        }
        if is_infinite(micros) {
            values.push(micros);
            continue;
        }
        let sum = by.and_then(|interval| moved(micros, interval));
        values.push(sum.ok_or(out_of_range(DatetimeKind::Timestamp))?);
    }
    Ok(Vector {
        values: Values::I64(values),
        validity,
    })
}

/// A finite timestamp moved by an interval; `None` when it leaves the range on the way.
fn moved(mut micros: i64, interval: Interval) -> Option<i64> {
    if interval.months != 0 {
        let (days, time) = split(micros);
        let Civil { year, month, day } = civil(days);
        let months = i64::from(year) * 12 + i64::from(month) - 1 + i64::from(interval.months);
        let (year, month) = (
            i32::try_from(months.div_euclid(12)).ok()?,
            months.rem_euclid(12) as u32 + 1,
        );
        let days = day_number(year, month, day.min(days_in_month(year, month)));
        micros = days.checked_mul(MICROS_PER_DAY)?.checked_add(time)?;
        valid_timestamp(micros).then_some(())?;
    }
    if interval.days != 0 {
        micros = i64::from(interval.days)
            .checked_mul(MICROS_PER_DAY)?
            .checked_add(micros)?;
        valid_timestamp(micros).then_some(())?;
    }
    micros
        .checked_add(interval.micros)
        .filter(|&sum| valid_timestamp(sum))
}

/// `timestamp - timestamp`: whole days and the rest, both of one sign.
pub(in crate::expr) fn timestamp_difference(operands: &[Operand], rows: usize) -> Result<Vector> {
    let validity = strict_validity(operands, rows);
    let (a, b) = (operands[0].side::<i64>()?, operands[1].side::<i64>()?);
    let mut data = Vec::with_capacity(rows * 16);
    for i in 0..rows {
        let (a, b) = (a.get(i), b.get(i));
        let valid = validity.as_ref().is_none_or(|bits| bits.get(i));
        if valid && (is_infinite(a) || is_infinite(b)) {
            // An error before PostgreSQL 17, an infinite interval since.
            return Err(Error::not_native("a difference of infinite timestamps"));
        }
        let difference = match a.checked_sub(b) {
            Some(difference) => difference,
            // Wraps in PostgreSQL 15, an error since 16.
            None if valid => {
                return Err(Error::not_native(
                    "timestamps too far apart for an interval",
                ))
            }
            None => 0,
        };
        let interval = Interval {
            micros: difference % MICROS_PER_DAY,
            days: (difference / MICROS_PER_DAY) as i32,
            months: 0,
        };
        data.extend_from_slice(&interval.to_bytes());
    }
    Ok(Vector {
        values: Values::Fixed { width: 16, data },
        validity,
    })
}
