// SPDX-License-Identifier: Apache-2.0
//! Arithmetic: result types, and the digit bounds that make scaled decimals exact.
//!
//! PostgreSQL's numeric addition has the larger display scale and multiplication the sum of both, exactly; so
//! both are integer arithmetic here as long as the digits fit. Remainder is exact at the larger scale. Division picks
//! its scale from the values themselves: its result carries it ([`decimal`](super::decimal)).

use super::{call, refuse};
use crate::error::{Error, Result};
use crate::expr::ir::{ArithOp, Expr, ExprKind, Func};
use crate::types::{DataType, NUMERIC_DIGITS_MAX};

/// What to do when the digit bound of a numeric result passes 38.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    Refuse,
    CheckAtRunTime,
}

impl Expr {
    /// `left op right`; refused when a numeric result might need more than 38 digits.
    pub fn arith(op: ArithOp, left: Expr, right: Expr) -> Result<Expr> {
        arith(op, left, right, Bound::Refuse)
    }

    /// Like [`Expr::arith`], but a numeric result whose bound passes 38 digits is checked row by row and raises
    /// [`Error::NumericTooWide`], on which the caller answers through PostgreSQL's own plan.
    pub fn arith_checked(op: ArithOp, left: Expr, right: Expr) -> Result<Expr> {
        arith(op, left, right, Bound::CheckAtRunTime)
    }

    /// `- arg`.
    pub fn negate(arg: Expr) -> Result<Expr> {
        sign(Func::Negate, arg)
    }

    /// `abs(arg)`.
    pub fn abs(arg: Expr) -> Result<Expr> {
        sign(Func::Abs, arg)
    }
}

fn sign(func: Func, arg: Expr) -> Result<Expr> {
    match arg.data_type() {
        t if t.is_integer() || t.is_float() || t.is_numeric() => {
            Ok(call(func, vec![arg], t).fold())
        }
        _ => refuse("sign", &[&arg]),
    }
}

fn arith(op: ArithOp, left: Expr, right: Expr, bound: Bound) -> Result<Expr> {
    use DataType::*;
    let (a, b) = (left.data_type(), right.data_type());
    let (left, right, result) = match (a, b) {
        (Int2 | Int4 | Int8, Int2 | Int4 | Int8) => {
            let wide = wider_integer(a, b);
            (left.widen(wide), right.widen(wide), wide)
        }
        (Float4 | Float8, Float4 | Float8) if op != ArithOp::Mod => {
            let wide = if a == Float4 && b == Float4 {
                Float4
            } else {
                Float8
            };
            (left.widen(wide), right.widen(wide), wide)
        }
        (Numeric { .. } | Decimal, Decimal) | (Decimal, Numeric { .. }) => {
            return Expr::decimal_arith(op, left, right)
        }
        (Numeric { .. }, Numeric { .. }) if op == ArithOp::Div => {
            return Expr::decimal_arith(op, left, right)
        }
        (Numeric { scale: s1, .. }, Numeric { scale: s2, .. })
            if op == ArithOp::Mul && s1 + s2 > i16::from(NUMERIC_DIGITS_MAX) =>
        {
            return Expr::decimal_arith(op, left, right)
        }
        (Numeric { scale: s1, .. }, Numeric { scale: s2, .. }) if s1.min(s2) < 0 => {
            return Err(Error::not_native("a numeric with a negative scale"))
        }
        (Numeric { .. }, Numeric { .. }) if op != ArithOp::Mul && !aligns(&left, &right) => {
            return Expr::decimal_arith(op, left, right)
        }
        (Numeric { .. }, Numeric { .. }) => numeric(op, left, right, bound)?,
        _ => return refuse("arithmetic", &[&left, &right]),
    };
    Ok(Expr::new(
        ExprKind::Arith {
            op,
            left: Box::new(left),
            right: Box::new(right),
        },
        result,
    )
    .fold())
}

/// Whether two numerics can be brought to one scale: that takes at most 38 digits, and both show the scale of their
/// type, which a constant beside a value of another would lose.
fn aligns(left: &Expr, right: &Expr) -> bool {
    let (a, b) = (left.data_type(), right.data_type());
    let shows_all = |arg: &Expr| match arg.data_type() {
        DataType::Numeric { scale, .. } => arg.static_display_scale() == Some(scale),
        _ => false,
    };
    a.common_numeric(b).is_some() && shows_all(left) && shows_all(right)
}

fn wider_integer(a: DataType, b: DataType) -> DataType {
    match (a, b) {
        (DataType::Int8, _) | (_, DataType::Int8) => DataType::Int8,
        (DataType::Int4, _) | (_, DataType::Int4) => DataType::Int4,
        _ => DataType::Int2,
    }
}

fn numeric(op: ArithOp, left: Expr, right: Expr, bound: Bound) -> Result<(Expr, Expr, DataType)> {
    let (
        DataType::Numeric {
            precision: p1,
            scale: s1,
        },
        DataType::Numeric {
            precision: p2,
            scale: s2,
        },
    ) = (left.data_type(), right.data_type())
    else {
        return refuse("numeric arithmetic", &[&left, &right]);
    };
    let (precision, scale) = result_digits(op, (p1, s1), (p2, s2))?;
    if precision > i32::from(NUMERIC_DIGITS_MAX) && bound == Bound::Refuse
        || scale > i16::from(NUMERIC_DIGITS_MAX)
    {
        return Err(Error::not_native(format!(
            "a numeric result of up to {precision} digits"
        )));
    }
    let result = DataType::Numeric {
        precision: precision.min(NUMERIC_DIGITS_MAX.into()) as u8,
        scale,
    };
    if op == ArithOp::Mul {
        return Ok((left, right, result));
    }
    let aligned = |p: u8, s: i16| DataType::Numeric {
        precision: p + (scale - s) as u8,
        scale,
    };
    let (left_type, right_type) = (aligned(p1, s1), aligned(p2, s2));
    Ok((
        left.rescale_up(left_type),
        right.rescale_up(right_type),
        result,
    ))
}

/// Digits and scale of a numeric result.
fn result_digits(op: ArithOp, (p1, s1): (u8, i16), (p2, s2): (u8, i16)) -> Result<(i32, i16)> {
    let scale = s1.max(s2);
    let whole = |p: u8, s: i16| i32::from(p) - i32::from(s);
    match op {
        ArithOp::Add | ArithOp::Sub => Ok((
            whole(p1, s1).max(whole(p2, s2)) + i32::from(scale) + 1,
            scale,
        )),
        ArithOp::Mul => Ok((i32::from(p1) + i32::from(p2), s1 + s2)),
        // |remainder| is less than the divisor and not more than the dividend.
        ArithOp::Mod => Ok((
            (whole(p1, s1).min(whole(p2, s2)) + i32::from(scale)).max(1),
            scale,
        )),
        ArithOp::Div => Err(Error::not_native(
            "numeric division, whose scale depends on the values",
        )),
    }
}

/// Whether a numeric result is proven to fit its 38 digits.
pub(in crate::expr) fn is_proven(op: ArithOp, left: DataType, right: DataType) -> bool {
    let (
        DataType::Numeric {
            precision: p1,
            scale: s1,
        },
        DataType::Numeric {
            precision: p2,
            scale: s2,
        },
    ) = (left, right)
    else {
        return false;
    };
    matches!(result_digits(op, (p1, s1), (p2, s2)), Ok((digits, _)) if digits <= i32::from(NUMERIC_DIGITS_MAX))
}

/// Whether an arithmetic node might raise an error itself.
pub(in crate::expr) fn can_raise(op: ArithOp, node: &Expr) -> bool {
    let ExprKind::Arith { left, right, .. } = node.kind() else {
        return true;
    };
    match node.data_type() {
        DataType::Numeric { .. } => {
            op == ArithOp::Mod || !is_proven(op, left.data_type(), right.data_type())
        }
        _ => true,
    }
}
