// SPDX-License-Identifier: Apache-2.0
//! Numerics of any size and scale: how others become them, and what is computed on them.
//!
//! A scaled integer shows the scale of its type. Where PostgreSQL would show another one, or one that differs from row
//! to row (a quotient, a CASE over several scales), the value becomes a [`DataType::Decimal`], which carries it.

use super::cast::DisplayScale;
use super::{call, refuse};
use crate::decimal::round::Rounding;
use crate::decimal::Number;
use crate::error::{Error, Result};
use crate::expr::ir::{ArithOp, Expr, ExprKind, Func};
use crate::types::{DataType, Scalar};

/// Digits that `round` and `trunc` are asked for, at most: all versions of PostgreSQL agree on these.
const DIGITS_MAX: i32 = 1000;

impl Expr {
    /// The constant `number`.
    pub fn decimal(number: &Number) -> Result<Expr> {
        Expr::constant(Scalar::bytes(number.to_bytes()?), DataType::Decimal)
    }

    /// The expression such that its values show the scale PostgreSQL gives them.
    pub fn shown(self) -> Result<Expr> {
        let DataType::Numeric { scale, .. } = self.data_type() else {
            return Ok(self);
        };
        match self.display_scale()? {
            DisplayScale::Static(shown) if shown == scale => Ok(self),
            DisplayScale::Static(shown) => {
                let shown = Expr::constant(Scalar::I16(shown), DataType::Int2)?;
                Expr::at_scale(self, shown)
            }
            DisplayScale::Varying(shown) => Expr::at_scale(self, shown),
        }
    }

    /// The value with `scale` (a smallint) digits after the point; what is cut off must be zeros.
    pub fn at_scale(value: Expr, scale: Expr) -> Result<Expr> {
        match (value.data_type(), scale.data_type()) {
            (DataType::Numeric { .. }, DataType::Int2) => {
                Ok(call(Func::AtScale, vec![value, scale], DataType::Decimal).fold())
            }
            _ => refuse("a scale", &[&value, &scale]),
        }
    }

    /// An integer or a numeric as a numeric that carries its scale.
    pub fn to_decimal(arg: Expr) -> Result<Expr> {
        match arg.data_type() {
            DataType::Decimal => Ok(arg),
            t if t.is_integer() => Ok(arg.into_decimal()),
            DataType::Numeric { .. } => {
                let shown = arg.shown()?;
                match shown.data_type() {
                    DataType::Decimal => Ok(shown),
                    _ => Ok(shown.into_decimal()),
                }
            }
            _ => refuse("cast to numeric", &[&arg]),
        }
    }

    /// Like [`Expr::to_decimal`], at whatever scale: for comparison.
    pub(super) fn into_comparable(self) -> Result<Expr> {
        match self.data_type() {
            DataType::Decimal => Ok(self),
            DataType::Numeric { .. } => Ok(self.into_decimal()),
            _ => refuse("comparison", &[&self]),
        }
    }

    fn into_decimal(self) -> Expr {
        if self.as_const() == Some(&None) {
            return Expr::null(DataType::Decimal);
        }
        let cast = ExprKind::Cast {
            arg: Box::new(self),
            implicit: true,
        };
        Expr::new(cast, DataType::Decimal).fold()
    }

    /// `left op right`, at least one of which is no integer; the result carries its scale.
    pub(super) fn decimal_arith(op: ArithOp, left: Expr, right: Expr) -> Result<Expr> {
        let (left, right) = (left.shown()?, right.shown()?);
        let (left, right) = (Box::new(left), Box::new(right));
        Ok(Expr::new(ExprKind::Arith { op, left, right }, DataType::Decimal).fold())
    }

    /// Like [`Expr::arith`], but a numeric result that 38 digits may not hold carries its scale and has as many digits
    /// as it takes.
    pub fn arith_any(op: ArithOp, left: Expr, right: Expr) -> Result<Expr> {
        let numerics = left.data_type().is_numeric() && right.data_type().is_numeric();
        match Expr::arith(op, left.clone(), right.clone()) {
            Err(Error::NotNative(_)) if numerics => Expr::decimal_arith(op, left, right),
            outcome => outcome,
        }
    }

    /// `sum / count`: an average of exact numbers.
    pub fn average(sum: Expr, count: Expr) -> Result<Expr> {
        let sum = sum.shown()?;
        let exact = |t: DataType| t.is_numeric() || t.is_integer();
        match exact(sum.data_type()) && count.data_type().is_integer() {
            true => Ok(call(Func::Average, vec![sum, count], DataType::Decimal)),
            false => refuse("average", &[&sum, &count]),
        }
    }

    /// `round(arg, digits)` or its kin: `ceil` and `floor` have no digits.
    pub fn round_numeric(rounding: Rounding, arg: Expr, digits: Option<Expr>) -> Result<Expr> {
        let digits = digits.unwrap_or(Expr::int4(0));
        let known = matches!(digits.as_const(), Some(Some(Scalar::I32(digits))) if digits.abs() <= DIGITS_MAX);
        if !known || !arg.data_type().is_numeric() {
            return refuse("rounding", &[&arg, &digits]);
        }
        let arg = arg.shown()?;
        Ok(call(Func::Round(rounding), vec![arg, digits], DataType::Decimal).fold())
    }

    /// `arg::numeric(precision, scale)`, where the engine has no scaled integer for it: NaN stays NaN.
    pub fn declared(arg: Expr, precision: u16, scale: i16) -> Result<Expr> {
        let func = Func::Declared { precision, scale };
        Ok(call(func, vec![Expr::to_decimal(arg)?], DataType::Decimal).fold())
    }

    /// Bytes that are equal for equal numerics and sort as they do.
    pub fn decimal_key(self) -> Result<Expr> {
        let arg = Expr::to_decimal(self)?;
        Ok(call(Func::DecimalKey, vec![arg], DataType::Bytea).fold())
    }
}

/// Brings numerics, of which some are no scaled integers or would be too wide at one scale, to one type.
pub(super) fn all_decimals(args: Vec<Expr>) -> Result<Vec<Expr>> {
    let all = args.iter().all(|arg| arg.data_type().is_numeric());
    match all {
        true => args.into_iter().map(Expr::to_decimal).collect(),
        false => Err(Error::not_native("numerics beside other types")),
    }
}
