// SPDX-License-Identifier: Apache-2.0
//! LIKE and ILIKE.

use doris_storage::vector::Vector;

use crate::error::{Error, Result};
use crate::expr::operand::Operand;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub struct LikePattern {}

pub(in crate::expr) fn like(
    _pattern: &LikePattern,
    _operand: &Operand,
    _negated: bool,
    _rows: usize,
) -> Result<Vector> {
    Err(Error::internal("like"))
}

pub(in crate::expr) fn like_expr(
    _a: &Operand,
    _p: &Operand,
    _fold: bool,
    _negated: bool,
    _rows: usize,
) -> Result<Vector> {
    Err(Error::internal("like"))
}
