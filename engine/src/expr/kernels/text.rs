// SPDX-License-Identifier: Apache-2.0
//! String functions over UTF-8, in characters where PostgreSQL counts characters.

use doris_storage::vector::{BytesColumn, Vector};

use crate::error::{Error, Result};
use crate::expr::ir::Func;
use crate::expr::operand::Operand;
use crate::types::DataType;

/// Appends a value; a vector holds at most 4 GiB.
pub(in crate::expr) fn push(column: &mut BytesColumn, value: &[u8]) -> Result<()> {
    if column.data.len() + value.len() > u32::MAX as usize {
        return Err(Error::OutOfMemory);
    }
    column.push(value);
    Ok(())
}

/// `func(operands)`.
pub(in crate::expr) fn call(
    func: Func,
    _types: &[DataType],
    _operands: &[Operand],
    _rows: usize,
) -> Result<Vector> {
    Err(Error::internal(format!("no kernel for {func:?}")))
}
