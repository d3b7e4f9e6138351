// SPDX-License-Identifier: Apache-2.0
//! Columns, constants, parameters, and calls into PostgreSQL.

use crate::error::{Error, Result};
use crate::expr::ir::{Expr, ExprKind};
use crate::types::{decimal_digits, DataType, Scalar, NUMERIC_DIGITS_I64};

impl Expr {
    /// Column `index` of the batch.
    pub fn column(index: usize, data_type: DataType) -> Expr {
        Expr::new(ExprKind::Column(index), data_type)
    }

    /// A constant, laid out as its type says.
    pub fn constant(value: Scalar, data_type: DataType) -> Result<Expr> {
        if !value.fits(data_type.physical()) {
            return Err(Error::internal(format!(
                "constant {value:?} is not laid out as {data_type}"
            )));
        }
        Ok(Expr::new(ExprKind::Const(Some(value)), data_type))
    }

    /// NULL of a type.
    pub fn null(data_type: DataType) -> Expr {
        Expr::new(ExprKind::Const(None), data_type)
    }

    /// A `boolean` constant.
    pub fn bool(value: bool) -> Expr {
        Expr::new(ExprKind::Const(Some(Scalar::Bool(value))), DataType::Bool)
    }

    /// An `integer` constant.
    pub fn int4(value: i32) -> Expr {
        Expr::new(ExprKind::Const(Some(Scalar::I32(value))), DataType::Int4)
    }

    /// A `bigint` constant.
    pub fn int8(value: i64) -> Expr {
        Expr::new(ExprKind::Const(Some(Scalar::I64(value))), DataType::Int8)
    }

    /// A `double precision` constant.
    pub fn float8(value: f64) -> Expr {
        Expr::new(ExprKind::Const(Some(Scalar::F64(value))), DataType::Float8)
    }

    /// A `date` constant, in days from 2000-01-01.
    pub fn date(days: i32) -> Expr {
        Expr::new(ExprKind::Const(Some(Scalar::I32(days))), DataType::Date)
    }

    /// A text constant.
    pub fn text(value: impl AsRef<[u8]>, data_type: DataType) -> Expr {
        Expr::new(ExprKind::Const(Some(Scalar::bytes(value))), data_type)
    }

    /// The numeric constant `unscaled / 10^scale`, whose type has just the digits it needs.
    pub fn numeric(unscaled: i128, scale: i16) -> Result<Expr> {
        let precision = decimal_digits(unscaled);
        if precision > crate::types::NUMERIC_DIGITS_MAX {
            return Err(Error::not_native(
                "a numeric constant of more than 38 digits",
            ));
        }
        let value = match i64::try_from(unscaled) {
            Ok(narrow) if precision <= NUMERIC_DIGITS_I64 => Scalar::I64(narrow),
            _ => Scalar::I128(unscaled),
        };
        Expr::constant(value, DataType::Numeric { precision, scale })
    }

    /// Parameter `number`, bound when execution starts.
    pub fn param(number: usize, data_type: DataType) -> Expr {
        Expr::new(ExprKind::Param(number), data_type)
    }

    /// What only PostgreSQL evaluates: the caller's expression `id` over `args`.
    pub fn external(id: u32, args: Vec<Expr>, data_type: DataType) -> Expr {
        Expr::new(ExprKind::External { id, args }, data_type)
    }
}
