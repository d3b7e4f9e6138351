// SPDX-License-Identifier: Apache-2.0
//! Parts of dates, timestamps and times: `extract`, `date_part`, `date_trunc`.

use doris_storage::vector::{Bitmap, Values, Vector};

use super::{
    civil, day_number, is_infinite, is_infinite_date, out_of_range, split, valid_timestamp, Civil,
    MICROS_PER_DAY, MICROS_PER_SECOND, UNIX_EPOCH_DAYS,
};
use crate::error::{DatetimeKind, Error, Result};
use crate::expr::operand::{map, strict_validity, try_map, Operand, Side};
use crate::types::{DataType, Scalar};

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
