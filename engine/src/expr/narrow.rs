// SPDX-License-Identifier: Apache-2.0
//! Wide decimals in narrow words: a product of columns may need 38 digits by its type and far fewer by its values.
//!
//! Sums take 64-bit arguments as well as 128-bit ones. So where an argument is sums, differences and products of narrow
//! columns and constants, the magnitudes of this batch's values are looked at, and when no step can pass 63 bits,
//! all of it is computed in 64 bits.

use std::sync::Arc;

use doris_storage::vector::{Values, Vector};

use super::context::EvalContext;
use super::ir::{ArithOp, Expr, ExprKind};
use super::operand::{map, strict_validity, zip, Operand, Side};
use crate::batch::{Batch, Selection};
use crate::error::Result;
use crate::types::{pow10, DataType, Scalar};

/// An operand and the largest magnitude among its values.
struct Narrow {
    operand: Operand,
    most: u64,
}

impl Narrow {
    fn side(&self) -> Result<Side<'_, i64>> {
        self.operand.side()
    }
}

impl Expr {
    /// Whether [`Expr::eval_narrow`] is worth asking.
    pub fn may_be_narrow(&self) -> bool {
        let is_wide = self.data_type().physical() == doris_storage::vector::Physical::I128;
        is_wide && matches!(self.kind(), ExprKind::Arith { .. }) && is_narrowable(self)
    }

    /// [`Expr::eval`] in 64 bits, whatever the layout of the type; `None` when a step might need more. Only where
    /// [`Expr::may_be_narrow`] says so.
    pub fn eval_narrow(
        &self,
        ctx: &EvalContext,
        batch: &Batch,
        selection: &Selection,
    ) -> Result<Option<Arc<Vector>>> {
        ctx.check_cancelled()?;
        let narrow = narrow(self, ctx, batch, selection)?;
        Ok(narrow.and_then(|narrow| match narrow.operand {
            Operand::Vector(vector) => Some(vector),
            Operand::Scalar(_) => None,
        }))
    }
}

/// Whether an expression is made of narrow columns and constants by arithmetic alone.
fn is_narrowable(expr: &Expr) -> bool {
    if !matches!(expr.data_type(), DataType::Numeric { .. }) {
        return false;
    }
    match expr.kind() {
        ExprKind::Column(_) => expr.data_type().physical() == doris_storage::vector::Physical::I64,
        ExprKind::Const(value) => value.as_ref().and_then(constant).is_some(),
        ExprKind::Cast {
            arg,
            implicit: true,
        } => factor(arg, expr).is_some() && is_narrowable(arg),
        ExprKind::Arith { op, left, right } => {
            matches!(op, ArithOp::Add | ArithOp::Sub | ArithOp::Mul)
                && is_narrowable(left)
                && is_narrowable(right)
        }
        _ => false,
    }
}

fn constant(value: &Scalar) -> Option<i64> {
    i64::try_from(value.as_i128()?).ok()
}

/// What a conversion to a larger scale multiplies by.
fn factor(from: &Expr, to: &Expr) -> Option<i64> {
    let (DataType::Numeric { scale: s1, .. }, DataType::Numeric { scale: s2, .. }) =
        (from.data_type(), to.data_type())
    else {
        return None;
    };
    let digits = u32::try_from(s2.checked_sub(s1)?).ok()?;
    i64::try_from(pow10(digits)?).ok()
}

fn narrow(
    expr: &Expr,
    ctx: &EvalContext,
    batch: &Batch,
    selection: &Selection,
) -> Result<Option<Narrow>> {
    let rows = selection.len();
    match expr.kind() {
        ExprKind::Column(_) => {
            let operand = expr.operand(ctx, batch, selection)?;
            let most = match operand.side::<i64>()? {
                Side::Slice(values) => magnitude(values),
                Side::One(value) => value.unsigned_abs(),
            };
            Ok(Some(Narrow { operand, most }))
        }
        ExprKind::Const(value) => Ok(value.as_ref().and_then(constant).map(|value| Narrow {
            operand: Operand::Scalar(Some(Scalar::I64(value))),
            most: value.unsigned_abs(),
        })),
        ExprKind::Cast { arg, .. } => {
            let (Some(arg_value), Some(by)) =
                (narrow(arg, ctx, batch, selection)?, factor(arg, expr))
            else {
                return Ok(None);
            };
            let Some(most) = fitting(u128::from(arg_value.most) * u128::from(by.unsigned_abs()))
            else {
                return Ok(None);
            };
            let values = map(arg_value.side()?, rows, |v: i64| v.wrapping_mul(by));
            Ok(Some(computed(values, &[arg_value.operand], rows, most)))
        }
        ExprKind::Arith { op, left, right } => {
            let Some(left) = narrow(left, ctx, batch, selection)? else {
                return Ok(None);
            };
            let Some(right) = narrow(right, ctx, batch, selection)? else {
                return Ok(None);
            };
            let (a, b) = (u128::from(left.most), u128::from(right.most));
            let Some(most) = fitting(if *op == ArithOp::Mul { a * b } else { a + b }) else {
                return Ok(None);
            };
            let (a, b) = (left.side()?, right.side()?);
            let values = match op {
                ArithOp::Add => zip(a, b, rows, i64::wrapping_add),
                ArithOp::Sub => zip(a, b, rows, i64::wrapping_sub),
                _ => zip(a, b, rows, i64::wrapping_mul),
            };
            let operands = [left.operand, right.operand];
            Ok(Some(computed(values, &operands, rows, most)))
        }
        _ => Ok(None),
    }
}

fn computed(values: Vec<i64>, operands: &[Operand], rows: usize, most: u64) -> Narrow {
    let validity = strict_validity(operands, rows);
    let vector = Vector {
        values: Values::I64(values),
        validity,
    };
    Narrow {
        operand: Operand::Vector(Arc::new(vector)),
        most,
    }
}

/// A magnitude, if both signs of it fit.
fn fitting(most: u128) -> Option<u64> {
    u64::try_from(most)
        .ok()
        .filter(|&most| most <= i64::MAX as u64)
}

/// A bound of the magnitudes: the bits of any of them.
fn magnitude(values: &[i64]) -> u64 {
    // x ^ (x >> 63) is x, or its complement, whose bits bound those of the magnitude less one.
    let bits = values.iter().fold(0, |bits, &v| bits | (v ^ (v >> 63)));
    (u64::MAX >> bits.leading_zeros().min(63)).saturating_add(1)
}

#[cfg(test)]
mod tests;
