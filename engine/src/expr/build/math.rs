// SPDX-License-Identifier: Apache-2.0
//! Functions of floats and numerics, and operators on bits.

use super::{call, refuse};
use crate::error::Result;
use crate::expr::ir::{Expr, Func};
use crate::expr::kernels::math::{BitOp, Math};
use crate::types::DataType;

impl Expr {
    /// A function of a Float8.
    pub fn math(math: Math, arg: Expr) -> Result<Expr> {
        match arg.data_type() {
            DataType::Float8 => Ok(call(Func::Math(math), vec![arg], DataType::Float8).fold()),
            _ => refuse(&format!("{math:?}"), &[&arg]),
        }
    }

    /// `power(base, exponent)` of Float8.
    pub fn power(base: Expr, exponent: Expr) -> Result<Expr> {
        match (base.data_type(), exponent.data_type()) {
            (DataType::Float8, DataType::Float8) => {
                Ok(call(Func::Power, vec![base, exponent], DataType::Float8).fold())
            }
            _ => refuse("power", &[&base, &exponent]),
        }
    }

    /// `left op right` of two integers of one type; shifts go by an Int4.
    pub fn bits(op: BitOp, left: Expr, right: Expr) -> Result<Expr> {
        let shift = matches!(op, BitOp::ShiftLeft | BitOp::ShiftRight);
        let (a, b) = (left.data_type(), right.data_type());
        let fits = match shift {
            true => b == DataType::Int4,
            false => a == b,
        };
        match fits && a.is_integer() {
            true => Ok(call(Func::Bits(op), vec![left, right], a).fold()),
            false => refuse("bits", &[&left, &right]),
        }
    }

    /// `sqrt(arg)` of a numeric.
    pub fn root(arg: Expr) -> Result<Expr> {
        Ok(call(Func::Root, vec![Expr::to_decimal(arg)?], DataType::Decimal).fold())
    }

    /// `sign(arg)` of a numeric.
    pub fn sign(arg: Expr) -> Result<Expr> {
        Ok(call(Func::Sign, vec![Expr::to_decimal(arg)?], DataType::Decimal).fold())
    }

    /// `div(left, right)` of numerics.
    pub fn quotient(left: Expr, right: Expr) -> Result<Expr> {
        let args = vec![Expr::to_decimal(left)?, Expr::to_decimal(right)?];
        Ok(call(Func::Quotient, args, DataType::Decimal).fold())
    }
}
