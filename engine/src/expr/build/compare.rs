// SPDX-License-Identifier: Apache-2.0
//! Comparisons: both operands are brought to one comparable type first.
//!
//! A constant is brought to the column's type rather than the other way round where that loses nothing, so
//! that a filter compares the column as it is stored.

use super::{call, refuse};
use crate::error::{Error, Result};
use crate::expr::ir::{CompareOp, Expr, ExprKind, Func};
use crate::expr::kernels::datetime::MICROS_PER_DAY;
use crate::types::{pow10, Collation, DataType, Scalar};

/// Digits of the microseconds of the longest interval.
const INTERVAL_DIGITS: u8 = 24;

impl Expr {
    /// `left op right`.
    pub fn compare(op: CompareOp, left: Expr, right: Expr) -> Result<Expr> {
        let simpler = match numeric_against_finer_constant(op, &left, &right)? {
            None => date_against_timestamp(op, &left, &right),
            simpler => simpler,
        };
        let (op, left, right) = match simpler {
            Some(simpler) => simpler,
            None => {
                let (left, right) = unify(op.is_equality(), left, right)?;
                (op, left, right)
            }
        };
        let kind = ExprKind::Compare {
            op,
            left: Box::new(left),
            right: Box::new(right),
        };
        Ok(Expr::new(kind, DataType::Bool).fold())
    }

    /// What an interval compares by: its seconds, with days of 24 hours and months of 30 days.
    pub fn interval_order(arg: Expr) -> Result<Expr> {
        if arg.data_type() != DataType::Interval {
            return refuse("the order of an interval", &[&arg]);
        }
        let seconds = DataType::Numeric {
            precision: INTERVAL_DIGITS,
            scale: 6,
        };
        Ok(call(Func::IntervalOrder, vec![arg], seconds).fold())
    }

    /// `arg BETWEEN low AND high`.
    pub fn between(arg: Expr, low: Expr, high: Expr) -> Result<Expr> {
        let from = Expr::compare(CompareOp::Ge, arg.clone(), low)?;
        Expr::and(vec![from, Expr::compare(CompareOp::Le, arg, high)?])
    }
}

/// Brings two operands to one type whose values compare as the originals do.
pub(crate) fn unify(equality_only: bool, left: Expr, right: Expr) -> Result<(Expr, Expr)> {
    use DataType::*;
    let (a, b) = (left.data_type(), right.data_type());
    match (a, b) {
        (Int2 | Int4 | Int8, Int2 | Int4 | Int8) => Ok(unify_integers(left, right)),
        (Float4, Float4) => Ok((left, right)),
        (Float4 | Float8, Float4 | Float8) => Ok((left.widen(Float8), right.widen(Float8))),
        (Numeric { .. } | Decimal, Decimal) | (Decimal, Numeric { .. }) => {
            Ok((left.into_comparable()?, right.into_comparable()?))
        }
        (Numeric { .. }, Numeric { .. }) => unify_numerics(left, right),
        (Date, Timestamp) => Ok((call(Func::DateAsTimestamp, vec![left], Timestamp), right)),
        (Timestamp, Date) => Ok((left, call(Func::DateAsTimestamp, vec![right], Timestamp))),
        (Interval, Interval) => Ok((Expr::interval_order(left)?, Expr::interval_order(right)?)),
        (Text { collation: x }, Text { collation: y })
        | (Bpchar { collation: x }, Bpchar { collation: y }) => {
            check_collations(equality_only, x, y)?;
            Ok((left, right))
        }
        (Bool, Bool) | (Date, Date) | (Time, Time) | (Timestamp, Timestamp) => Ok((left, right)),
        (TimestampTz, TimestampTz) | (Bytea, Bytea) | (Uuid, Uuid) => Ok((left, right)),
        _ => refuse("comparison", &[&left, &right]),
    }
}

/// Text compares here when its bytes decide, as they do equality under any deterministic collation, or where the order
/// is known.
pub(crate) fn check_collations(equality_only: bool, a: Collation, b: Collation) -> Result<()> {
    let decided = |c: Collation| c.is_ordered() || (equality_only && c == Collation::Deterministic);
    if decided(a) && decided(b) && (equality_only || a == b) {
        return Ok(());
    }
    Err(Error::not_native(
        "text compared under a collation whose order is not bytes'",
    ))
}

fn unify_integers(left: Expr, right: Expr) -> (Expr, Expr) {
    let (a, b) = (left.data_type(), right.data_type());
    if a == b {
        return (left, right);
    }
    if let Some(narrow) = narrowed(&right, a) {
        return (left, narrow);
    }
    if let Some(narrow) = narrowed(&left, b) {
        return (narrow, right);
    }
    let wide = if a == DataType::Int8 || b == DataType::Int8 {
        DataType::Int8
    } else {
        DataType::Int4
    };
    (left.widen(wide), right.widen(wide))
}

/// An integer constant in another integer type, if its value fits.
fn narrowed(constant: &Expr, to: DataType) -> Option<Expr> {
    let value = constant.as_const()?;
    let Some(value) = value else {
        return Some(Expr::null(to));
    };
    let value = value.as_i128()?;
    let scalar = match to {
        DataType::Int2 => Scalar::I16(value.try_into().ok()?),
        DataType::Int4 => Scalar::I32(value.try_into().ok()?),
        _ => Scalar::I64(value.try_into().ok()?),
    };
    Some(Expr::new(ExprKind::Const(Some(scalar)), to))
}

/// Two numerics at the larger scale and one layout.
pub(crate) fn unify_numerics(left: Expr, right: Expr) -> Result<(Expr, Expr)> {
    let (a, b) = (left.data_type(), right.data_type());
    if !matches!((a, b), (DataType::Numeric { .. }, DataType::Numeric { .. })) {
        return refuse("numeric comparison", &[&left, &right]);
    }
    let Some(common) = a.common_numeric(b) else {
        return Ok((left.into_comparable()?, right.into_comparable()?));
    };
    Ok((left.rescale_up(common), right.rescale_up(common)))
}

/// A numeric against a constant with more digits after the point: no value lies between two neighbours of the
/// coarser scale, so the constant rounds towards the side that keeps the answer. Equality never holds; it keeps
/// the general form (and its NULLs) unless that is too wide.
fn numeric_against_finer_constant(
    op: CompareOp,
    left: &Expr,
    right: &Expr,
) -> Result<Option<(CompareOp, Expr, Expr)>> {
    let (DataType::Numeric { scale: s1, .. }, DataType::Numeric { scale: s2, .. }) =
        (left.data_type(), right.data_type())
    else {
        return Ok(None);
    };
    if left.as_const().is_some() && right.as_const().is_none() {
        return numeric_against_finer_constant(op.flip(), right, left);
    }
    let Some(Some(value)) = right.as_const() else {
        return Ok(None);
    };
    let (Some(value), true, true) = (value.as_i128(), s1 >= 0, s2 > s1) else {
        return Ok(None);
    };
    let Some(unit) = pow10((s2 - s1) as u32) else {
        return Ok(None);
    };
    let Some((op, floor)) = op.of_multiple(unit, value) else {
        return Ok(None);
    };
    let (left, right) = unify_numerics(left.clone(), Expr::numeric(floor, s1)?)?;
    Ok(Some((op, left, right)))
}

/// A date against a constant timestamp: the days before it, at it and after it are days. Infinity is none, and a time
/// within a day equals no date; both keep the general form.
fn date_against_timestamp(
    op: CompareOp,
    left: &Expr,
    right: &Expr,
) -> Option<(CompareOp, Expr, Expr)> {
    if left.data_type() == DataType::Timestamp && right.data_type() == DataType::Date {
        return date_against_timestamp(op.flip(), right, left);
    }
    if left.data_type() != DataType::Date || right.data_type() != DataType::Timestamp {
        return None;
    }
    let Some(Some(Scalar::I64(micros))) = right.as_const() else {
        return None;
    };
    if [i64::MIN, i64::MAX].contains(micros) {
        return None;
    }
    let (op, day) = op.of_multiple(i128::from(MICROS_PER_DAY), i128::from(*micros))?;
    let day = Some(Scalar::I32(i32::try_from(day).ok()?));
    let day = Expr::new(ExprKind::Const(day), DataType::Date);
    Some((op, left.clone(), day))
}

#[cfg(test)]
mod tests;
