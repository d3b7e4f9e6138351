// SPDX-License-Identifier: Apache-2.0
//! Dates, timestamps and intervals.
//!
//! The calendar is proleptic Gregorian; a day number counts from 2000-01-01. Timestamps at a fixed offset are
//! computed as local ones; zones with daylight saving stay PostgreSQL's. Infinities pass through arithmetic and
//! truncation, are NULL for parts that cycle, and infinite for parts that grow: numeric has no such value here, so
//! those raise [`Error::NumericTooWide`] and PostgreSQL answers.

use doris_storage::vector::{Bitmap, Values, Vector};

use crate::error::{DatetimeKind, Error, Result};
use crate::expr::operand::{map, strict_validity, try_map, try_zip, Operand, Side};
use crate::types::{DataType, Scalar};

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

/// What `date_trunc` cuts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum DateUnit {
    Microseconds,
    Milliseconds,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
}

/// What `extract` and `date_part` take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum ExtractUnit {
    Microseconds,
    Milliseconds,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    IsoYear,
    Decade,
    Century,
    Millennium,
    DayOfWeek,
    IsoDayOfWeek,
    DayOfYear,
    Epoch,
}

impl ExtractUnit {
    /// The unit of a lower-case SQL name, its spellings included; `None`: PostgreSQL's.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "microseconds" | "microsecond" | "us" | "usec" | "usecs" | "useconds" => {
                Self::Microseconds
            }
            "milliseconds" | "millisecond" | "ms" | "msec" | "msecs" | "mseconds" => {
                Self::Milliseconds
            }
            "second" | "seconds" | "s" | "sec" | "secs" => Self::Second,
            "minute" | "minutes" | "m" | "min" | "mins" => Self::Minute,
            "hour" | "hours" | "h" | "hr" | "hrs" => Self::Hour,
            "day" | "days" | "d" => Self::Day,
            "week" | "weeks" | "w" => Self::Week,
            "month" | "months" | "mon" | "mons" => Self::Month,
            "quarter" | "qtr" => Self::Quarter,
            "year" | "years" | "y" | "yr" | "yrs" => Self::Year,
            "isoyear" => Self::IsoYear,
            "decade" | "decades" | "dec" | "decs" => Self::Decade,
            "century" | "centuries" | "c" | "cent" => Self::Century,
            "millennium" | "millennia" | "mil" | "mils" => Self::Millennium,
            "dow" => Self::DayOfWeek,
            "isodow" => Self::IsoDayOfWeek,
            "doy" => Self::DayOfYear,
            "epoch" => Self::Epoch,
            _ => return None,
        })
    }

    /// Whether a date has such a part.
    pub fn is_of_date(self) -> bool {
        use ExtractUnit::*;
        !matches!(self, Microseconds | Milliseconds | Second | Minute | Hour)
    }

    /// Digits after the point of `extract`'s numeric.
    pub fn scale(self, of: DataType) -> i16 {
        match self {
            Self::Second => 6,
            Self::Milliseconds => 3,
            Self::Epoch if of != DataType::Date => 6,
            _ => 0,
        }
    }

    /// Whether an infinite date has an infinite part of this kind; the others are NULL.
    pub fn grows(self) -> bool {
        use ExtractUnit::*;
        matches!(self, Year | IsoYear | Decade | Century | Millennium | Epoch)
    }
}

impl DateUnit {
    /// The unit of a lower-case SQL name.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match ExtractUnit::parse(name)? {
            ExtractUnit::Microseconds => Self::Microseconds,
            ExtractUnit::Milliseconds => Self::Milliseconds,
            ExtractUnit::Second => Self::Second,
            ExtractUnit::Minute => Self::Minute,
            ExtractUnit::Hour => Self::Hour,
            ExtractUnit::Day => Self::Day,
            ExtractUnit::Week => Self::Week,
            ExtractUnit::Month => Self::Month,
            ExtractUnit::Quarter => Self::Quarter,
            ExtractUnit::Year => Self::Year,
            ExtractUnit::Decade => Self::Decade,
            ExtractUnit::Century => Self::Century,
            ExtractUnit::Millennium => Self::Millennium,
            _ => return None,
        })
    }
}

/// A day of the calendar; year 0 is 1 BC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::expr) struct Civil {
    pub year: i32,
    pub month: u32,
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

/// Day number of the Monday that starts ISO week 1 of a year.
fn iso_year_start(year: i32) -> i64 {
    let fourth = day_number(year, 1, 4);
    fourth - (fourth + 5).rem_euclid(7)
}

/// ISO year and week of a day.
fn iso_week(days: i32, year: i32) -> (i32, i64) {
    let days = i64::from(days);
    let mut iso_year = year;
    if days < iso_year_start(year) {
        iso_year -= 1;
    } else if days >= iso_year_start(year + 1) {
        iso_year += 1;
    }
    (iso_year, (days - iso_year_start(iso_year)) / 7 + 1)
}

/// Years as people count them: there is no year 0.
fn counted_year(year: i32) -> i64 {
    i64::from(if year > 0 { year } else { year - 1 })
}

/// The century or millennium of a year: the first has number 1, the one before it -1.
fn numbered_from_one(year: i32, years: i64) -> i64 {
    let number = (i64::from(year) - 1).div_euclid(years);
    if number >= 0 {
        number + 1
    } else {
        number
    }
}

/// A part of a day; time parts are 0.
fn day_part(unit: ExtractUnit, days: i32) -> i64 {
    let Civil { year, month, day } = civil(days);
    match unit {
        ExtractUnit::Day => day.into(),
        ExtractUnit::Month => month.into(),
        ExtractUnit::Quarter => i64::from((month - 1) / 3 + 1),
        ExtractUnit::Week => iso_week(days, year).1,
        ExtractUnit::Year => counted_year(year),
        ExtractUnit::IsoYear => counted_year(iso_week(days, year).0),
        ExtractUnit::Decade => i64::from(year.div_euclid(10)),
        ExtractUnit::Century => numbered_from_one(year, 100),
        ExtractUnit::Millennium => numbered_from_one(year, 1000),
        ExtractUnit::DayOfWeek => (i64::from(days) + 6).rem_euclid(7),
        ExtractUnit::IsoDayOfWeek => (i64::from(days) + 5).rem_euclid(7) + 1,
        ExtractUnit::DayOfYear => i64::from(days) - day_number(year, 1, 1) + 1,
        ExtractUnit::Epoch => (i64::from(days) + UNIX_EPOCH_DAYS) * 86_400,
        _ => 0,
    }
}

/// A part of a timestamp, in units of its scale.
fn timestamp_part(unit: ExtractUnit, micros: i64) -> i128 {
    let (days, time) = split(micros);
    let of_minute = time % (60 * MICROS_PER_SECOND);
    match unit {
        ExtractUnit::Microseconds | ExtractUnit::Milliseconds | ExtractUnit::Second => {
            of_minute.into()
        }
        ExtractUnit::Minute => (time / (60 * MICROS_PER_SECOND) % 60).into(),
        ExtractUnit::Hour => (time / (3600 * MICROS_PER_SECOND)).into(),
        ExtractUnit::Epoch => {
            i128::from(micros) + i128::from(UNIX_EPOCH_DAYS) * i128::from(MICROS_PER_DAY)
        }
        _ => day_part(unit, days).into(),
    }
}

/// The rows of a date or timestamp operand that are infinite; `None`: no row is.
fn infinities(operand: &Operand, rows: usize) -> Result<Option<Vec<u8>>> {
    let bits = match operand {
        Operand::Scalar(Some(Scalar::I32(days))) => vec![u8::from(is_infinite_date(*days)); rows],
        Operand::Vector(vector) if matches!(vector.values, Values::I32(_)) => {
            map(operand.side()?, rows, |days| {
                u8::from(is_infinite_date(days))
            })
        }
        _ => map(operand.side()?, rows, |micros| {
            u8::from(is_infinite(micros))
        }),
    };
    Ok(bits.contains(&1).then_some(bits))
}

/// Takes the infinite rows out of a validity bitmap.
fn without(validity: Option<Bitmap>, infinite: &[u8]) -> Option<Bitmap> {
    let mut bits = validity.unwrap_or_else(|| Bitmap::filled(infinite.len(), true));
    infinite
        .iter()
        .enumerate()
        .filter(|(_, &infinite)| infinite != 0)
        .for_each(|(i, _)| bits.set(i, false));
    Some(bits)
}

/// Whether some timestamp is more than 63 bits of microseconds from 1970: PostgreSQL computes its epoch in another
/// way, which rounds.
fn past_integer_epoch(operand: &Operand, rows: usize, valid: Option<&Bitmap>) -> Result<bool> {
    let limit = i64::MAX - UNIX_EPOCH_DAYS * MICROS_PER_DAY;
    Ok(try_map(operand.side()?, rows, valid, |micros: i64| {
        ((), micros >= limit)
    })
    .is_err())
}

/// `extract(unit from operand)`: numeric, as integers of the unit's scale.
pub(in crate::expr) fn extract(
    unit: ExtractUnit,
    of: DataType,
    result: DataType,
    operand: &Operand,
    rows: usize,
) -> Result<Vector> {
    let mut validity = strict_validity(std::slice::from_ref(operand), rows);
    if let Some(infinite) = infinities(operand, rows)? {
        let counts =
            |i: usize| infinite[i] != 0 && validity.as_ref().is_none_or(|bits| bits.get(i));
        if unit.grows() && (0..rows).any(counts) {
            return Err(Error::NumericTooWide);
        }
        validity = without(validity, &infinite);
    }
    if unit == ExtractUnit::Epoch
        && of != DataType::Date
        && past_integer_epoch(operand, rows, validity.as_ref())?
    {
        return Err(Error::NumericTooWide);
    }
    let values = match of {
        DataType::Date if unit == ExtractUnit::Year => {
            Values::I64(map(operand.side()?, rows, |days| {
                counted_year(civil(days).year)
            }))
        }
        DataType::Date => Values::I64(map(operand.side()?, rows, |days| day_part(unit, days))),
        _ if result.physical() == doris_storage::vector::Physical::I128 => {
            Values::I128(map(operand.side()?, rows, |micros| {
                timestamp_part(unit, micros)
            }))
        }
        _ => Values::I64(map(operand.side()?, rows, |micros| {
            timestamp_part(unit, micros) as i64
        })),
    };
    Ok(Vector { values, validity })
}

/// `date_part(unit, timestamp)`: double precision.
pub(in crate::expr) fn date_part(
    unit: ExtractUnit,
    operand: &Operand,
    rows: usize,
) -> Result<Vector> {
    let mut validity = strict_validity(std::slice::from_ref(operand), rows);
    if !unit.grows() {
        if let Some(infinite) = infinities(operand, rows)? {
            validity = without(validity, &infinite);
        }
    }
    let part = |micros: i64| {
        if is_infinite(micros) {
            return if micros > 0 {
                f64::INFINITY
            } else {
                f64::NEG_INFINITY
            };
        }
        let exact = timestamp_part(unit, micros);
        match unit {
            ExtractUnit::Second => {
                (exact / 1_000_000) as f64 + (exact % 1_000_000) as f64 / 1_000_000.0
            }
            ExtractUnit::Milliseconds => {
                (exact / 1_000_000) as f64 * 1000.0 + (exact % 1_000_000) as f64 / 1000.0
            }
            ExtractUnit::Epoch => match i64::try_from(exact) {
                Ok(exact) => exact as f64 / 1_000_000.0,
                Err(_) => (micros as f64 + (UNIX_EPOCH_DAYS * MICROS_PER_DAY) as f64) / 1_000_000.0,
            },
            _ => exact as f64,
        }
    };
    Ok(Vector {
        values: Values::F64(map(operand.side()?, rows, part)),
        validity,
    })
}

/// The first day of the unit a day is in.
fn first_day(unit: DateUnit, days: i32) -> i64 {
    if unit == DateUnit::Week {
        return i64::from(days) - (i64::from(days) + 5).rem_euclid(7);
    }
    let Civil { year, month, .. } = civil(days);
    match unit {
        DateUnit::Month => day_number(year, month, 1),
        DateUnit::Quarter => day_number(year, (month - 1) / 3 * 3 + 1, 1),
        DateUnit::Year => day_number(year, 1, 1),
        DateUnit::Decade => day_number(year.div_euclid(10) * 10, 1, 1),
        DateUnit::Century => day_number((year - 1).div_euclid(100) * 100 + 1, 1, 1),
        DateUnit::Millennium => day_number((year - 1).div_euclid(1000) * 1000 + 1, 1, 1),
        _ => days.into(),
    }
}

/// `date_trunc(unit, operand)` of local timestamps.
pub(in crate::expr) fn date_trunc(
    unit: DateUnit,
    operand: &Operand,
    rows: usize,
) -> Result<Vector> {
    let validity = strict_validity(std::slice::from_ref(operand), rows);
    let step = match unit {
        DateUnit::Microseconds => 1,
        DateUnit::Milliseconds => 1000,
        DateUnit::Second => MICROS_PER_SECOND,
        DateUnit::Minute => 60 * MICROS_PER_SECOND,
        DateUnit::Hour => 3600 * MICROS_PER_SECOND,
        DateUnit::Day => MICROS_PER_DAY,
        _ => 0,
    };
    let micros: Side<i64> = operand.side()?;
    let cut = |micros: i64| {
        if is_infinite(micros) {
            return (micros, false);
        }
        let start = match step {
            0 => first_day(unit, split(micros).0).wrapping_mul(MICROS_PER_DAY),
            _ => micros.wrapping_sub(micros.rem_euclid(step)),
        };
        (start, !valid_timestamp(start))
    };
    let values = try_map(micros, rows, validity.as_ref(), cut);
    let values = Values::I64(values.map_err(|_| out_of_range(DatetimeKind::Timestamp))?);
    Ok(Vector { values, validity })
}
