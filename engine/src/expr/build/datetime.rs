// SPDX-License-Identifier: Apache-2.0
//! Date and time: arithmetic, parts, truncation.
//!
//! What depends on the session's time zone takes it as a fixed offset in seconds east of UTC, which the caller
//! passes only for zones that never change theirs; without one those constructors refuse.

use super::{call, refuse};
use crate::error::{Error, Result};
use crate::expr::ir::{Expr, Func};
use crate::expr::kernels::datetime::{DateUnit, ExtractUnit, Interval};
use crate::expr::kernels::interval_parts::has_part;
use crate::types::{DataType, Scalar};

impl Expr {
    /// `date + integer` or, negated, `date - integer`.
    pub fn date_add_days(date: Expr, days: Expr, negate: bool) -> Result<Expr> {
        match (date.data_type(), days.data_type()) {
            (DataType::Date, DataType::Int2 | DataType::Int4) => {
                let days = days.widen(DataType::Int4);
                Ok(call(
                    Func::DateAddDays { negate },
                    vec![date, days],
                    DataType::Date,
                )
                .fold())
            }
            _ => refuse("adding days", &[&date, &days]),
        }
    }

    /// `date - date`, in days.
    pub fn date_difference(left: Expr, right: Expr) -> Result<Expr> {
        match (left.data_type(), right.data_type()) {
            (DataType::Date, DataType::Date) => {
                Ok(call(Func::DateDiff, vec![left, right], DataType::Int4).fold())
            }
            _ => refuse("date difference", &[&left, &right]),
        }
    }

    /// `date`, `timestamp` or `timestamptz` plus or, negated, minus an interval.
    pub fn add_interval(
        moment: Expr,
        interval: Expr,
        negate: bool,
        offset: Option<i32>,
    ) -> Result<Expr> {
        if interval.data_type() != DataType::Interval {
            return refuse("adding an interval", &[&moment, &interval]);
        }
        let func = Func::TimestampAddInterval { negate };
        let add = |moment, interval| call(func, vec![moment, interval], DataType::Timestamp).fold();
        match moment.data_type() {
            DataType::Date => Ok(add(Expr::cast(moment, DataType::Timestamp)?, interval)),
            DataType::Timestamp => Ok(add(moment, interval)),
            DataType::TimestampTz if is_time_only(&interval) => {
                Ok(call(func, vec![moment, interval], DataType::TimestampTz).fold())
            }
            DataType::TimestampTz => {
                let local = to_local(moment, offset)?;
                Ok(from_local(add(local, interval), offset.unwrap_or(0)))
            }
            _ => refuse("adding an interval", &[&moment, &interval]),
        }
    }

    /// `timestamp - timestamp`, or of two `timestamptz`.
    pub fn timestamp_difference(left: Expr, right: Expr) -> Result<Expr> {
        match (left.data_type(), right.data_type()) {
            (DataType::Timestamp, DataType::Timestamp)
            | (DataType::TimestampTz, DataType::TimestampTz) => {
                Ok(call(Func::TimestampDiff, vec![left, right], DataType::Interval).fold())
            }
            _ => refuse("timestamp difference", &[&left, &right]),
        }
    }

    /// `extract(unit from moment)`: numeric.
    pub fn extract(unit: ExtractUnit, moment: Expr, offset: Option<i32>) -> Result<Expr> {
        let of = moment.data_type();
        let moment = match of {
            DataType::Date if unit.is_of_date() => moment,
            DataType::Interval | DataType::Time if has_part(unit, of) => moment,
            DataType::Timestamp => moment,
            DataType::TimestampTz if unit == ExtractUnit::Epoch => moment,
            DataType::TimestampTz => to_local(moment, offset)?,
            _ => return refuse("extract", &[&moment]),
        };
        let precision = match unit {
            ExtractUnit::Epoch if of == DataType::Date => 15,
            ExtractUnit::Epoch if of == DataType::Interval => 25,
            ExtractUnit::Epoch => 20,
            _ => 10,
        };
        let result = DataType::Numeric {
            precision,
            scale: unit.scale(of),
        };
        Ok(call(Func::Extract(unit), vec![moment], result).fold())
    }

    /// `date_part(unit, moment)`: double precision; a date is taken at midnight.
    pub fn date_part(unit: ExtractUnit, moment: Expr, offset: Option<i32>) -> Result<Expr> {
        let moment = match moment.data_type() {
            DataType::Date => Expr::cast(moment, DataType::Timestamp)?,
            t @ (DataType::Interval | DataType::Time) if has_part(unit, t) => moment,
            DataType::Timestamp => moment,
            DataType::TimestampTz if unit == ExtractUnit::Epoch => moment,
            DataType::TimestampTz => to_local(moment, offset)?,
            _ => return refuse("date_part", &[&moment]),
        };
        Ok(call(Func::DatePart(unit), vec![moment], DataType::Float8).fold())
    }

    /// `date_trunc(unit, moment)`. (Of a date it is PostgreSQL's of a `timestamptz`.)
    pub fn date_trunc(unit: DateUnit, moment: Expr, offset: Option<i32>) -> Result<Expr> {
        let truncated =
            |moment| call(Func::DateTrunc(unit), vec![moment], DataType::Timestamp).fold();
        match moment.data_type() {
            DataType::Timestamp => Ok(truncated(moment)),
            DataType::TimestampTz => {
                let local = to_local(moment, offset)?;
                Ok(from_local(truncated(local), offset.unwrap_or(0)))
            }
            DataType::Date => {
                let local = Expr::cast(moment, DataType::Timestamp)?;
                let Some(offset) = offset else {
                    return no_offset();
                };
                Ok(from_local(truncated(local), offset))
            }
            _ => refuse("date_trunc", &[&moment]),
        }
    }

    /// `moment AT TIME ZONE` of a fixed offset: `timestamptz` to local `timestamp` and back.
    pub fn at_fixed_offset(moment: Expr, offset: i32) -> Result<Expr> {
        match moment.data_type() {
            DataType::Timestamp => Ok(from_local(moment, offset)),
            DataType::TimestampTz => to_local(moment, Some(offset)),
            _ => refuse("AT TIME ZONE", &[&moment]),
        }
    }
}

fn no_offset<T>() -> Result<T> {
    Err(Error::not_native("a time zone without a fixed offset"))
}

fn to_local(moment: Expr, offset: Option<i32>) -> Result<Expr> {
    match offset {
        Some(offset) => Ok(call(Func::ToLocal(offset), vec![moment], DataType::Timestamp).fold()),
        None => no_offset(),
    }
}

fn from_local(moment: Expr, offset: i32) -> Expr {
    call(Func::FromLocal(offset), vec![moment], DataType::TimestampTz).fold()
}

/// Whether an interval is a constant without days and months, so that no zone matters.
fn is_time_only(interval: &Expr) -> bool {
    match interval.as_const() {
        Some(Some(Scalar::Bytes(bytes))) => Interval::from_bytes(bytes)
            .is_some_and(|interval| interval.days == 0 && interval.months == 0),
        Some(None) => true,
        _ => false,
    }
}
