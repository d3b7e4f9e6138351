// SPDX-License-Identifier: Apache-2.0
//! Parts of intervals and of times of day, which have the parts of an interval that is as long.

use doris_storage::vector::{Bitmap, Physical, Values, Vector};

use super::datetime::{ExtractUnit, Interval, MICROS_PER_DAY, MICROS_PER_SECOND};
use crate::error::{Error, Result};
use crate::expr::operand::{strict_validity, Operand};
use crate::types::DataType;

const MICROS_PER_MINUTE: i64 = 60 * MICROS_PER_SECOND;
const MICROS_PER_HOUR: i64 = 60 * MICROS_PER_MINUTE;
/// A year has 365.25 days, a month 30.
const QUARTER_DAYS_PER_YEAR: i64 = 1461;
const DAYS_PER_MONTH: i64 = 30;

/// Whether intervals and times have such a part here; some parts of negative intervals differ between versions.
pub(in crate::expr) fn has_part(unit: ExtractUnit, t: DataType) -> bool {
    use ExtractUnit::*;
    match unit {
        Microseconds | Milliseconds | Second | Minute | Hour | Epoch => true,
        Day | Month | Year => t == DataType::Interval,
        _ => false,
    }
}

/// The interval of each row.
fn spans<'o>(t: DataType, operand: &'o Operand) -> Result<impl Fn(usize) -> Interval + 'o> {
    let times = match t {
        DataType::Time => Some(operand.side::<i64>()?),
        _ => None,
    };
    Ok(move |row: usize| match times {
        Some(times) => Interval {
            micros: times.get(row),
            days: 0,
            months: 0,
        },
        None => Interval::from_bytes(operand.bytes(row)).unwrap_or(Interval {
            micros: 0,
            days: 0,
            months: 0,
        }),
    })
}

/// Calls `take` with the interval of each row that is not NULL.
fn each(
    t: DataType,
    operand: &Operand,
    rows: usize,
    mut take: impl FnMut(usize, Interval),
) -> Result<Option<Bitmap>> {
    let validity = strict_validity(std::slice::from_ref(operand), rows);
    let span = spans(t, operand)?;
    for row in 0..rows {
        if validity.as_ref().is_none_or(|valid| valid.get(row)) {
            let span = span(row);
            if span.is_infinite() {
                return Err(Error::NumericTooWide);
            }
            take(row, span);
        }
    }
    Ok(validity)
}

/// A part, in units of its scale.
fn part(unit: ExtractUnit, span: Interval) -> i128 {
    let Interval {
        micros,
        days,
        months,
    } = span;
    match unit {
        ExtractUnit::Minute => (micros % MICROS_PER_HOUR / MICROS_PER_MINUTE).into(),
        ExtractUnit::Hour => (micros / MICROS_PER_HOUR).into(),
        ExtractUnit::Day => days.into(),
        ExtractUnit::Month => (months % 12).into(),
        ExtractUnit::Year => (months / 12).into(),
        ExtractUnit::Epoch => {
            let quarters = QUARTER_DAYS_PER_YEAR * i64::from(months / 12)
                + 4 * DAYS_PER_MONTH * i64::from(months % 12)
                + 4 * i64::from(days);
            i128::from(quarters) * i128::from(MICROS_PER_DAY / 4) + i128::from(micros)
        }
        _ => (micros % MICROS_PER_MINUTE).into(),
    }
}

/// `extract(unit from operand)`: numeric.
pub(super) fn extract(
    unit: ExtractUnit,
    of: DataType,
    result: DataType,
    operand: &Operand,
    rows: usize,
) -> Result<Vector> {
    let mut out = vec![0i128; rows];
    let validity = each(of, operand, rows, |row, span| out[row] = part(unit, span))?;
    let values = match result.physical() {
        Physical::I128 => Values::I128(out),
        _ => Values::I64(out.into_iter().map(|part| part as i64).collect()),
    };
    Ok(Vector { values, validity })
}

/// `date_part(unit, operand)`: double precision.
pub(super) fn date_part(
    unit: ExtractUnit,
    of: DataType,
    operand: &Operand,
    rows: usize,
) -> Result<Vector> {
    let mut out = vec![0.0; rows];
    let validity = each(of, operand, rows, |row, span| {
        out[row] = float_part(unit, span)
    })?;
    Ok(Vector {
        values: Values::F64(out),
        validity,
    })
}

fn float_part(unit: ExtractUnit, span: Interval) -> f64 {
    let seconds = (span.micros % MICROS_PER_MINUTE / MICROS_PER_SECOND) as f64;
    let fraction = (span.micros % MICROS_PER_SECOND) as f64;
    match unit {
        ExtractUnit::Second => seconds + fraction / 1_000_000.0,
        ExtractUnit::Milliseconds => seconds * 1000.0 + fraction / 1000.0,
        // In the order in which PostgreSQL adds.
        ExtractUnit::Epoch => {
            let mut epoch = span.micros as f64 / 1_000_000.0;
            epoch += 365.25 * 86_400.0 * f64::from(span.months / 12);
            epoch += 30.0 * 86_400.0 * f64::from(span.months % 12);
            epoch + 86_400.0 * f64::from(span.days)
        }
        _ => part(unit, span) as f64,
    }
}
