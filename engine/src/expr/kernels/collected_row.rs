// SPDX-License-Identifier: Apache-2.0
//! Items: what an aggregate that collects rows keeps of each, as bytes.
//!
//! ```text
//! length of the key (4) | sort key | place among the rows of the input (8, 4) | fields, NULL or not, one after the other
//! ```

use doris_storage::vector::{BytesColumn, Values, Vector};

use crate::batch::{Batch, Selection};
use crate::error::{Error, Result};
use crate::expr::context::EvalContext;
use crate::expr::ir::Expr;
use crate::expr::operand::{strict_validity, Operand};
use crate::keys::encode_field;
use crate::ops::sort::normal::{Column, NormalKeys};

/// Bytes of a row's place.
const PLACE_BYTES: usize = 12;

/// An item, taken apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item<'i> {
    /// What it is sorted by.
    pub key: &'i [u8],
    /// Where its row was met.
    pub place: &'i [u8],
    /// Its fields.
    pub fields: &'i [u8],
}

impl<'i> Item<'i> {
    /// The item of some bytes; `None` if they are none.
    pub fn of(bytes: &'i [u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let (place, fields) = rest.split_at_checked(PLACE_BYTES)?;
        Some(Self { key, place, fields })
    }
}

/// The items of the selected rows: the first of `args` are what they are sorted by, the others their fields.
pub(in crate::expr) fn items(
    columns: &[Column],
    args: &[Expr],
    ctx: &EvalContext,
    batch: &Batch,
    selection: &Selection,
) -> Result<Vector> {
    let rows = selection.len();
    let values = args.iter().map(|arg| arg.eval(ctx, batch, selection));
    let values = values.collect::<Result<Vec<_>>>()?;
    let vectors: Vec<&Vector> = values.iter().map(|value| &**value).collect();
    let (sorted, fields) = vectors.split_at(columns.len());
    let keys = NormalKeys::encode(columns, sorted, rows);
    let place = ctx.next_place().to_be_bytes();
    let (mut out, mut item) = (BytesColumn::default(), Vec::new());
    for row in 0..rows {
        item.clear();
        let key = keys.get(row);
        item.extend_from_slice(&(key.len() as u32).to_le_bytes());
        item.extend_from_slice(key);
        item.extend_from_slice(&place);
        item.extend_from_slice(&(row as u32).to_be_bytes());
        for field in fields {
            encode_field(&mut item, field, row);
        }
        if out.data.len() + item.len() > u32::MAX as usize {
            return Err(Error::OutOfMemory);
        }
        out.push(&item);
    }
    Ok(Vector {
        values: Values::Bytes(out),
        validity: None,
    })
}

/// Two floats as 16 bytes.
pub(super) fn pairs(operands: &[Operand], rows: usize) -> Result<Vector> {
    let (first, second) = (operands[0].side::<f64>()?, operands[1].side::<f64>()?);
    let pair = |row| [first.get(row).to_le_bytes(), second.get(row).to_le_bytes()];
    Ok(Vector {
        values: Values::Fixed {
            width: 16,
            data: (0..rows).flat_map(pair).flatten().collect(),
        },
        validity: strict_validity(operands, rows),
    })
}
