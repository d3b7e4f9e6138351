// SPDX-License-Identifier: Apache-2.0
//! CASE, COALESCE, GREATEST and LEAST: results picked row by row from several expressions.
//!
//! Each expression is evaluated on just the rows that reach it; the pieces are then concatenated and gathered into
//! row order once.

use std::sync::Arc;

use doris_storage::vector::Vector;

use super::compare::order;
use super::logic::{narrow, true_positions};
use crate::batch::{Batch, Selection};
use crate::error::{Error, Result};
use crate::expr::context::EvalContext;
use crate::expr::ir::Expr;
use crate::expr::operand::Operand;
use crate::gather::{concat, gather, nulls};
use crate::types::DataType;

/// Results in pieces: each with the positions it is for.
struct Pieces {
    data_type: DataType,
    parts: Vec<(Vec<u32>, Arc<Vector>)>,
}

impl Pieces {
    fn new(data_type: DataType) -> Self {
        Self {
            data_type,
            parts: Vec::new(),
        }
    }

    /// Evaluates `result` for the positions.
    fn add(
        &mut self,
        result: &Expr,
        positions: Vec<u32>,
        ctx: &EvalContext,
        batch: &Batch,
        selection: &Selection,
    ) -> Result<()> {
        if positions.is_empty() {
            return Ok(());
        }
        let part = match positions.len() == selection.len() {
            true => result.operand(ctx, batch, selection)?,
            false => result.operand(ctx, batch, &narrow(selection, &positions))?,
        };
        let part = part.into_vector(self.data_type.physical(), positions.len());
        self.parts.push((positions, part));
        Ok(())
    }

    fn add_nulls(&mut self, positions: Vec<u32>) {
        if !positions.is_empty() {
            let part = nulls(self.data_type.physical(), positions.len());
            self.parts.push((positions, Arc::new(part)));
        }
    }

    /// All pieces in row order.
    fn assemble(mut self, rows: usize) -> Result<Operand> {
        if self.parts.len() == 1 {
            return Ok(Operand::Vector(self.parts.swap_remove(0).1));
        }
        let mut from = vec![0u32; rows];
        let mut next = 0;
        for (positions, _) in &self.parts {
            for &position in positions {
                from[position as usize] = next;
                next += 1;
            }
        }
        let parts: Vec<Arc<Vector>> = self.parts.into_iter().map(|(_, part)| part).collect();
        let all = concat(self.data_type.physical(), &parts).ok_or(Error::OutOfMemory)?;
        Ok(Operand::Vector(Arc::new(gather(&all, &from))))
    }
}

/// The positions of `of` that are not in `without`; both ascending.
pub(in crate::expr) fn difference(of: &[u32], without: &[u32]) -> Vec<u32> {
    let mut without = without.iter().copied().peekable();
    let left = of.iter().copied().filter(|&position| {
        while without.peek().is_some_and(|&w| w < position) {
            without.next();
        }
        without.peek() != Some(&position)
    });
    left.collect()
}

/// Searched CASE.
pub(in crate::expr) fn case(
    branches: &[(Expr, Expr)],
    otherwise: Option<&Expr>,
    data_type: DataType,
    ctx: &EvalContext,
    batch: &Batch,
    selection: &Selection,
) -> Result<Operand> {
    let rows = selection.len();
    let mut pieces = Pieces::new(data_type);
    let mut remaining: Vec<u32> = (0..rows as u32).collect();
    for (condition, result) in branches {
        if remaining.is_empty() {
            break;
        }
        let reached = if remaining.len() == rows {
            selection.clone()
        } else {
            narrow(selection, &remaining)
        };
        let hits = true_positions(&condition.operand(ctx, batch, &reached)?, reached.len())?;
        let taken: Vec<u32> = hits.iter().map(|&hit| remaining[hit as usize]).collect();
        remaining = difference(&remaining, &taken);
        pieces.add(result, taken, ctx, batch, selection)?;
    }
    match otherwise {
        Some(result) => pieces.add(result, remaining, ctx, batch, selection)?,
        None => pieces.add_nulls(remaining),
    }
    pieces.assemble(rows)
}

/// COALESCE.
pub(in crate::expr) fn coalesce(
    args: &[Expr],
    data_type: DataType,
    ctx: &EvalContext,
    batch: &Batch,
    selection: &Selection,
) -> Result<Operand> {
    let rows = selection.len();
    let mut pieces = Pieces::new(data_type);
    let mut remaining: Vec<u32> = (0..rows as u32).collect();
    for arg in args {
        if remaining.is_empty() {
            break;
        }
        let reached = if remaining.len() == rows {
            selection.clone()
        } else {
            narrow(selection, &remaining)
        };
        let value = arg
            .operand(ctx, batch, &reached)?
            .into_vector(data_type.physical(), reached.len());
        if value.validity.is_none() {
            pieces.parts.push((std::mem::take(&mut remaining), value));
            break;
        }
        let hits: Vec<u32> = (0..reached.len() as u32)
            .filter(|&i| !value.is_null(i as usize))
            .collect();
        if hits.is_empty() {
            continue;
        }
        let taken: Vec<u32> = hits.iter().map(|&hit| remaining[hit as usize]).collect();
        remaining = difference(&remaining, &taken);
        pieces.parts.push((taken, Arc::new(gather(&value, &hits))));
    }
    pieces.add_nulls(remaining);
    pieces.assemble(rows)
}

/// GREATEST or LEAST; among equals the first, as in PostgreSQL.
pub(in crate::expr) fn extreme(
    greatest: bool,
    data_type: DataType,
    operands: &[Operand],
    rows: usize,
) -> Result<Vector> {
    let vectors: Vec<Arc<Vector>> = operands
        .iter()
        .map(|operand| operand.clone().into_vector(data_type.physical(), rows))
        .collect();
    let better = |candidate: usize, best: usize, row: usize| {
        let order = order(data_type, &vectors[candidate], row, &vectors[best], row);
        if greatest {
            order.is_gt()
        } else {
            order.is_lt()
        }
    };
    let pick = |row: usize| {
        let present = (0..vectors.len()).filter(|&v| !vectors[v].is_null(row));
        present.reduce(|best, candidate| {
            if better(candidate, best, row) {
                candidate
            } else {
                best
            }
        })
    };
    let from: Vec<u32> = (0..rows)
        .map(|row| (pick(row).unwrap_or(0) * rows + row) as u32)
        .collect();
    let all = concat(data_type.physical(), &vectors).ok_or(Error::OutOfMemory)?;
    Ok(gather(&all, &from))
}

#[cfg(test)]
mod tests;
