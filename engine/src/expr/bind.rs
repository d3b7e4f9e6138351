// SPDX-License-Identifier: Apache-2.0
//! Values for parameters: an expression with constants in their place, as if it had been built of them.

use super::ir::{Expr, ExprKind};
use crate::error::{Error, Result};

impl Expr {
    /// Puts `values[n]`, a constant of the same type, in the place of every parameter `n`. What then is an operation on
    /// constants becomes one itself, so that filters may be compared with zone maps.
    pub fn bind(&mut self, values: &[Expr]) -> Result<()> {
        walk(self, values).map(|_| ())
    }
}

/// Whether the expression has changed.
fn walk(expr: &mut Expr, values: &[Expr]) -> Result<bool> {
    if let ExprKind::Param(number) = expr.kind() {
        let value = values.get(*number);
        let value = value.filter(|value| value.data_type() == expr.data_type());
        *expr = value
            .cloned()
            .ok_or_else(|| Error::internal(format!("no value for parameter {number}")))?;
        return Ok(true);
    }
    let mut changed = false;
    for child in expr.children_mut() {
        changed |= walk(child, values)?;
    }
    if changed {
        expr.renew();
        let folded = std::mem::replace(expr, Expr::bool(false)).fold();
        *expr = folded;
    }
    Ok(changed)
}

#[cfg(test)]
mod tests;
