// SPDX-License-Identifier: Apache-2.0
//! Conversions between types, and the scale a numeric shows.
//!
//! Left to PostgreSQL: float to text and date to text (settings decide), text to date and to numeric (the result's
//! scale is the text's), float to unconstrained numeric (likewise).

use super::refuse;
use crate::error::{Error, Result};
use crate::expr::eval::fold_constants;
use crate::expr::ir::{ArithOp, Expr, ExprKind, Func};
use crate::types::{DataType, NUMERIC_DIGITS_MAX};

/// Digits after the point that PostgreSQL shows for a numeric.
#[derive(Clone, Debug)]
pub enum DisplayScale {
    /// The same for every row.
    Static(i16),
    /// This `smallint` expression's value.
    Varying(Expr),
}

impl Expr {
    /// `arg::to`, as written in the query; `numeric(p,s)` as a target is the declared type, checked and rounded to.
    pub fn cast(arg: Expr, to: DataType) -> Result<Expr> {
        use DataType::*;
        let from = arg.data_type();
        match (from, to) {
            (_, Decimal) => return Expr::to_decimal(arg),
            (Decimal, Numeric { precision, scale }) => {
                return Expr::declared(arg, precision.into(), scale)
            }
            (Numeric { .. }, Text { .. }) => {
                let shown = arg.clone().shown()?;
                if shown.data_type() == Decimal {
                    return Expr::cast(shown, to);
                }
            }
            _ => {}
        }
        // A numeric may be of that type and show another scale.
        let is_shown = match to {
            Numeric { scale, .. } => arg.static_display_scale() == Some(scale),
            _ => true,
        };
        if from == to && is_shown {
            return Ok(arg);
        }
        let native = match (from, to) {
            (Int2 | Int4 | Int8 | Float4 | Float8, Int2 | Int4 | Int8 | Float4 | Float8) => true,
            (Numeric { scale, .. }, Int2 | Int4 | Int8 | Float4 | Float8) => scale_is_native(scale),
            (Int2 | Int4 | Int8 | Float4 | Float8, Numeric { scale, .. }) => scale_is_native(scale),
            (Numeric { scale: s1, .. }, Numeric { scale: s2, .. }) => {
                scale_is_native(s1) && scale_is_native(s2)
            }
            (Numeric { scale, .. }, Text { .. }) => scale_is_native(scale),
            (Decimal, Int2 | Int4 | Int8 | Float4 | Float8 | Text { .. }) => true,
            (Bool, Int4) | (Int4, Bool) => true,
            (Bool | Int2 | Int4 | Int8, Text { .. }) => true,
            (Text { .. }, Int2 | Int4 | Int8) => true,
            (Bpchar { .. }, Text { .. }) | (Text { .. }, Text { .. }) => true,
            (Date, Timestamp) | (Timestamp, Date) => true,
            _ => false,
        };
        if !native {
            return Err(Error::not_native(format!("cast from {from} to {to}")));
        }
        Ok(Expr::new(
            ExprKind::Cast {
                arg: Box::new(arg),
                implicit: false,
            },
            to,
        )
        .fold())
    }

    /// `arg::numeric` without a declared precision.
    pub fn to_numeric(arg: Expr) -> Result<Expr> {
        let precision = match arg.data_type() {
            DataType::Int2 => 5,
            DataType::Int4 => 10,
            DataType::Int8 => 19,
            DataType::Numeric { .. } | DataType::Decimal => return Ok(arg),
            _ => return refuse("cast to numeric", &[&arg]),
        };
        Expr::cast(
            arg,
            DataType::Numeric {
                precision,
                scale: 0,
            },
        )
    }

    /// The display scale of a numeric expression: static unless CASE and its kin mix scales.
    pub fn display_scale(&self) -> Result<DisplayScale> {
        let DataType::Numeric { scale, .. } = self.data_type() else {
            return refuse("scale", &[self]);
        };
        let int2 = |scale: i16| Expr::constant(crate::types::Scalar::I16(scale), DataType::Int2);
        let of = |arg: &Expr| match arg.display_scale()? {
            DisplayScale::Static(scale) => int2(scale),
            DisplayScale::Varying(expr) => Ok(expr),
        };
        if has_static_scale(self) {
            return Ok(DisplayScale::Static(
                self.static_display_scale().unwrap_or(scale),
            ));
        }
        let varying = match self.kind() {
            ExprKind::Case {
                branches,
                otherwise,
            } => {
                let branches = branches
                    .iter()
                    .map(|(condition, result)| Ok((condition.clone(), of(result)?)));
                let otherwise = otherwise.as_deref().map(of).transpose()?;
                Expr::case(branches.collect::<Result<_>>()?, otherwise)?
            }
            ExprKind::Coalesce(args) => {
                let (last, first) = args
                    .split_last()
                    .ok_or_else(|| Error::internal("empty COALESCE"))?;
                let branches = first
                    .iter()
                    .map(|arg| Ok((Expr::is_not_null(arg.clone()), of(arg)?)));
                Expr::case(branches.collect::<Result<_>>()?, Some(of(last)?))?
            }
            ExprKind::Arith {
                op: ArithOp::Mul,
                left,
                right,
            } => Expr::arith(ArithOp::Add, of(left)?, of(right)?)?,
            ExprKind::Arith { left, right, .. } => Expr::greatest(vec![of(left)?, of(right)?])?,
            ExprKind::Cast {
                arg,
                implicit: true,
            } => return arg.display_scale(),
            ExprKind::Call {
                func: Func::Negate | Func::Abs,
                args,
            } => return args[0].display_scale(),
            _ => {
                return Err(Error::not_native(
                    "a numeric whose display scale varies from row to row",
                ))
            }
        };
        Ok(DisplayScale::Varying(varying))
    }

    /// The display scale, when every row shares it.
    pub(super) fn static_display_scale(&self) -> Option<i16> {
        let DataType::Numeric { scale, .. } = self.data_type() else {
            return None;
        };
        let same = |args: Vec<&Expr>| {
            let mut scales = args
                .into_iter()
                .filter(|arg| !is_null_constant(arg))
                .map(Expr::static_display_scale);
            let first = scales.next().unwrap_or(Some(scale))?;
            scales.all(|scale| scale == Some(first)).then_some(first)
        };
        match self.kind() {
            ExprKind::Case {
                branches,
                otherwise,
            } => {
                let results = branches.iter().map(|(_, result)| result);
                same(results.chain(otherwise.as_deref()).collect())
            }
            ExprKind::Coalesce(args) | ExprKind::Extreme { args, .. } => {
                same(args.iter().collect())
            }
            ExprKind::Arith { op, left, right } => {
                let (left, right) = (left.static_display_scale()?, right.static_display_scale()?);
                Some(if *op == ArithOp::Mul {
                    left + right
                } else {
                    left.max(right)
                })
            }
            ExprKind::Cast {
                arg,
                implicit: true,
            } => arg.static_display_scale(),
            ExprKind::Call {
                func: Func::Negate | Func::Abs,
                args,
            } => args[0].static_display_scale(),
            _ => Some(scale),
        }
    }

    /// The value in a wider type, where nothing can be lost: what operators do to mixed operands.
    pub(super) fn widen(self, to: DataType) -> Expr {
        if self.data_type() == to {
            return self;
        }
        Expr::new(
            ExprKind::Cast {
                arg: Box::new(self),
                implicit: true,
            },
            to,
        )
        .fold()
    }

    /// A numeric at a scale not smaller than its own, in the layout of `to`.
    pub(super) fn rescale_up(self, to: DataType) -> Expr {
        match (self.data_type(), to) {
            (DataType::Numeric { scale: s1, .. }, DataType::Numeric { scale: s2, .. })
                if s1 == s2 && self.data_type().physical() == to.physical() =>
            {
                self
            }
            _ => self.widen(to),
        }
    }

    /// The constant it is worth when its operands are constants and evaluation raises no error.
    pub(in crate::expr) fn fold(self) -> Expr {
        fold_constants(self)
    }
}

fn is_null_constant(expr: &Expr) -> bool {
    match expr.kind() {
        ExprKind::Const(None) => true,
        ExprKind::Cast { arg, .. } => is_null_constant(arg),
        _ => false,
    }
}

/// Scales that conversions handle: the rest of PostgreSQL's (-1000 to 1000) is not worth its code.
fn scale_is_native(scale: i16) -> bool {
    (0..=i16::from(NUMERIC_DIGITS_MAX)).contains(&scale)
}

fn has_static_scale(arg: &Expr) -> bool {
    arg.static_display_scale().is_some()
}

/// Whether a conversion might raise an error.
pub(in crate::expr) fn can_raise(from: DataType, to: DataType) -> bool {
    use DataType::*;
    match (from, to) {
        (Int2, Int4 | Int8)
        | (Int4, Int8)
        | (Int2 | Int4 | Int8 | Numeric { .. } | Float4, Float8) => false,
        (Int2 | Int4 | Int8 | Numeric { .. }, Float4) => false,
        (Int2 | Int4 | Int8, Numeric { precision, scale }) => {
            let digits = match from {
                Int2 => 5,
                Int4 => 10,
                _ => 19,
            };
            i32::from(precision) - i32::from(scale) < digits
        }
        (
            Numeric {
                precision: p1,
                scale: s1,
            },
            Numeric {
                precision: p2,
                scale: s2,
            },
        ) => {
            // Rounding may carry into one more digit.
            let carry = i32::from(s2 < s1);
            i32::from(p2) - i32::from(s2) < i32::from(p1) - i32::from(s1) + carry
        }
        (Bool, _) | (Int4, Bool) | (Timestamp, Date) => false,
        (Text { .. }, Int2 | Int4 | Int8) => true,
        (_, Text { .. } | Decimal) => false,
        _ => true,
    }
}
