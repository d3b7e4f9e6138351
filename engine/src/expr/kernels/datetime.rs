// SPDX-License-Identifier: Apache-2.0
//! Dates, timestamps and intervals.
//!
//! The calendar is proleptic Gregorian; a day number counts from 2000-01-01. Timestamps at a fixed offset are
//! computed as local ones; zones with daylight saving stay PostgreSQL's. Infinities pass through arithmetic and
//! truncation, are NULL for parts that cycle, and infinite for parts that grow: numeric has no such value here, so
//! those raise [`Error::NumericTooWide`] and PostgreSQL answers.

mod interval;
mod parts;

use doris_storage::vector::{Values, Vector};

pub(crate) use self::interval::Interval;
pub(in crate::expr) use self::interval::{
    add_interval, interval_order, interval_orders, timestamp_difference,
};
pub(in crate::expr) use self::parts::{date_part, date_trunc, extract};
pub use self::parts::{DateUnit, ExtractUnit};
use crate::error::{DatetimeKind, Error, Result};
use crate::expr::operand::{map, strict_validity, try_map, try_zip, Operand};

pub(in crate::expr) const MICROS_PER_SECOND: i64 = 1_000_000;
pub(in crate::expr) const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
/// 4714-11-24 BC, the first date.
const DATE_MIN: i32 = -2_451_545;
/// 5874898-01-01, the first day past the last date.
const DATE_END: i32 = 2_147_483_494 - 2_451_545;
const TIMESTAMP_MIN: i64 = -211_813_488_000_000_000;
/// 294277-01-01, past the last timestamp.
const TIMESTAMP_END: i64 = 9_223_371_331_200_000_000;
/// Days from 1970-01-01 to 2000-01-01.
const UNIX_EPOCH_DAYS: i64 = 10_957;

/// A day of the calendar; year 0 is 1 BC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::expr) struct Civil {
    pub year: i32,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
}

/// The calendar day of a day number. Years are counted from March, so that the leap day comes last and months
/// follow one linear formula.
#[inline]
pub(in crate::expr) fn civil(days: i32) -> Civil {
    let from_march = i64::from(days) + UNIX_EPOCH_DAYS + 719_468;
    let era = from_march.div_euclid(146_097);
    let day_of_era = from_march.rem_euclid(146_097) as u32;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era as i64 + era * 400 + i64::from(month <= 2);
    Civil {
        year: year as i32,
        month,
        day: day_of_year - (153 * shifted + 2) / 5 + 1,
    }
}

/// The day number of a calendar day.
#[inline]
pub(in crate::expr) fn day_number(year: i32, month: u32, day: u32) -> i64 {
    let year = i64::from(year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted = i64::from(if month > 2 { month - 3 } else { month + 9 });
    let day_of_year = (153 * shifted + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468 - UNIX_EPOCH_DAYS
}

fn days_in_month(year: i32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

#[inline]
fn is_infinite_date(days: i32) -> bool {
    days == i32::MIN || days == i32::MAX
}

#[inline]
fn is_infinite(micros: i64) -> bool {
    micros == i64::MIN || micros == i64::MAX
}

fn valid_timestamp(micros: i64) -> bool {
    (TIMESTAMP_MIN..TIMESTAMP_END).contains(&micros)
}

/// Day number and microseconds within the day.
#[inline]
fn split(micros: i64) -> (i32, i64) {
    (
        micros.div_euclid(MICROS_PER_DAY) as i32,
        micros.rem_euclid(MICROS_PER_DAY),
    )
}

fn out_of_range(kind: DatetimeKind) -> Error {
    Error::DatetimeOutOfRange(kind)
}

/// Date to timestamp; `None` past the last timestamp.
#[inline]
fn date_to_timestamp(days: i32) -> Option<i64> {
    match days {
        i32::MIN => Some(i64::MIN),
        i32::MAX => Some(i64::MAX),
        _ => Some(i64::from(days).checked_mul(MICROS_PER_DAY)?)
            .filter(|&micros| micros < TIMESTAMP_END),
    }
}

/// Dates as timestamps.
pub(in crate::expr) fn dates_to_timestamps(operand: &Operand, rows: usize) -> Result<Vector> {
    let validity = strict_validity(std::slice::from_ref(operand), rows);
    let convert = |days| date_to_timestamp(days).map_or((0, true), |micros| (micros, false));
    let values = try_map(operand.side()?, rows, validity.as_ref(), convert);
    let values = Values::I64(values.map_err(|_| out_of_range(DatetimeKind::DateForTimestamp))?);
    Ok(Vector { values, validity })
}

/// Dates as timestamps to compare with: past the last timestamp, but before infinity.
pub(in crate::expr) fn dates_as_timestamps(operand: &Operand, rows: usize) -> Result<Vector> {
    let values = Values::I64(map(operand.side()?, rows, |days| {
        date_to_timestamp(days).unwrap_or(i64::MAX - 1)
    }));
    Ok(Vector {
        values,
        validity: strict_validity(std::slice::from_ref(operand), rows),
    })
}

/// Timestamps as dates.
pub(in crate::expr) fn timestamps_to_dates(operand: &Operand, rows: usize) -> Result<Vector> {
    let convert = |micros: i64| match micros {
        i64::MIN => i32::MIN,
        i64::MAX => i32::MAX,
        _ => micros.div_euclid(MICROS_PER_DAY) as i32,
    };
    let values = Values::I32(map(operand.side()?, rows, convert));
    Ok(Vector {
        values,
        validity: strict_validity(std::slice::from_ref(operand), rows),
    })
}

/// Moves timestamps by an offset in seconds.
pub(in crate::expr) fn shift(operand: &Operand, seconds: i64, rows: usize) -> Result<Vector> {
    let validity = strict_validity(std::slice::from_ref(operand), rows);
    let moved = try_map(operand.side()?, rows, validity.as_ref(), |micros: i64| {
        if is_infinite(micros) {
            return (micros, false);
        }
        let moved = micros.wrapping_add(seconds * MICROS_PER_SECOND);
        (moved, !valid_timestamp(moved))
    });
    let values = Values::I64(moved.map_err(|_| out_of_range(DatetimeKind::Timestamp))?);
    Ok(Vector { values, validity })
}

/// `date ± integer`.
pub(in crate::expr) fn add_days(negate: bool, operands: &[Operand], rows: usize) -> Result<Vector> {
    let validity = strict_validity(operands, rows);
    let add = |date: i32, days: i32| {
        if is_infinite_date(date) {
            return (date, false);
        }
        let sum = i64::from(date)
            + if negate {
                -i64::from(days)
            } else {
                i64::from(days)
            };
        (
            sum as i32,
            !(i64::from(DATE_MIN)..i64::from(DATE_END)).contains(&sum),
        )
    };
    let values = try_zip(
        operands[0].side()?,
        operands[1].side()?,
        rows,
        validity.as_ref(),
        add,
    );
    let values = Values::I32(values.map_err(|_| out_of_range(DatetimeKind::Date))?);
    Ok(Vector { values, validity })
}

/// `date - date`.
pub(in crate::expr) fn date_difference(operands: &[Operand], rows: usize) -> Result<Vector> {
    let validity = strict_validity(operands, rows);
    let subtract = |a: i32, b: i32| (a.wrapping_sub(b), is_infinite_date(a) | is_infinite_date(b));
    let values = try_zip(
        operands[0].side()?,
        operands[1].side()?,
        rows,
        validity.as_ref(),
        subtract,
    );
    let values =
        Values::I32(values.map_err(|_| out_of_range(DatetimeKind::InfiniteDateSubtraction))?);
    Ok(Vector { values, validity })
}
