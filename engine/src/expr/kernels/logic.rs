// SPDX-License-Identifier: Apache-2.0
//! AND, OR, NOT and tests, in three-valued logic.
//!
//! Truth is 0 false, 1 unknown, 2 true while it is combined: AND is then the minimum and OR the maximum.

use std::sync::Arc;

use doris_storage::vector::{Bitmap, Values, Vector};

use crate::batch::{Batch, Selection};
use crate::error::{Error, Result};
use crate::expr::context::EvalContext;
use crate::expr::ir::Expr;
use crate::expr::operand::{map, strict_validity, Operand, Side};
use crate::types::Scalar;

const FALSE: u8 = 0;
const UNKNOWN: u8 = 1;
const TRUE: u8 = 2;

/// A later operand that can raise no error is evaluated on all rows while at least one in this many is undecided:
/// gathering costs more than the rows saved.
const UNDECIDED_WORTH_ALL: usize = 4;

/// The selected rows `positions` (counted within `selection`).
pub(in crate::expr) fn narrow(selection: &Selection, positions: &[u32]) -> Selection {
    match selection {
        Selection::All(_) => Selection::Indices(positions.to_vec()),
        Selection::Indices(indices) => Selection::Indices(
            positions
                .iter()
                .map(|&position| indices[position as usize])
                .collect(),
        ),
    }
}

/// AND (`conjunction`) or OR of `args`, left to right.
pub(in crate::expr) fn junction(
    args: &[Expr],
    conjunction: bool,
    ctx: &EvalContext,
    batch: &Batch,
    selection: &Selection,
) -> Result<Operand> {
    let rows = selection.len();
    let decided = if conjunction { FALSE } else { TRUE };
    let combine = |a: u8, b: u8| if conjunction { a.min(b) } else { a.max(b) };
    let mut truth = vec![TRUE - decided; rows];
    for arg in args {
        let undecided: usize = truth.iter().map(|&t| usize::from(t != decided)).sum();
        if undecided == 0 {
            break;
        }
        let few = undecided.saturating_mul(UNDECIDED_WORTH_ALL) < rows;
        if undecided == rows || !(few || arg.can_raise()) {
            let more = truth_of(&arg.operand(ctx, batch, selection)?, rows)?;
            truth
                .iter_mut()
                .zip(more)
                .for_each(|(a, b)| *a = combine(*a, b));
            continue;
        }
        let positions: Vec<u32> = (0..rows as u32)
            .filter(|&i| truth[i as usize] != decided)
            .collect();
        let more = truth_of(
            &arg.operand(ctx, batch, &narrow(selection, &positions))?,
            positions.len(),
        )?;
        for (&position, more) in positions.iter().zip(more) {
            let slot = &mut truth[position as usize];
            *slot = combine(*slot, more);
        }
    }
    Ok(Operand::Vector(Arc::new(from_truth(&truth))))
}

/// A boolean operand as truth values.
fn truth_of(operand: &Operand, rows: usize) -> Result<Vec<u8>> {
    if let Operand::Scalar(value) = operand {
        let truth = match value {
            None => UNKNOWN,
            Some(Scalar::Bool(true)) => TRUE,
            Some(_) => FALSE,
        };
        return Ok(vec![truth; rows]);
    }
    let mut truth = map(operand.side::<u8>()?, rows, |bit| bit << 1);
    if let Operand::Vector(vector) = operand {
        if let Some(validity) = &vector.validity {
            truth
                .iter_mut()
                .enumerate()
                .filter(|(i, _)| !validity.get(*i))
                .for_each(|(_, t)| *t = UNKNOWN);
        }
    }
    Ok(truth)
}

fn from_truth(truth: &[u8]) -> Vector {
    let unknown = truth.contains(&UNKNOWN);
    Vector {
        values: Values::Bool(truth.iter().map(|&t| u8::from(t == TRUE)).collect()),
        validity: unknown.then(|| Bitmap::from_bools(truth.iter().map(|&t| t != UNKNOWN))),
    }
}

/// `NOT operand`.
pub(in crate::expr) fn not(operand: &Operand, rows: usize) -> Result<Vector> {
    let values = Values::Bool(map(operand.side::<u8>()?, rows, |bit| bit ^ 1));
    Ok(Vector {
        values,
        validity: strict_validity(std::slice::from_ref(operand), rows),
    })
}

/// `operand IS [NOT] NULL`.
pub(in crate::expr) fn is_null(operand: &Operand, negated: bool, rows: usize) -> Vector {
    let bits = match operand {
        Operand::Scalar(value) => vec![u8::from(value.is_none() != negated); rows],
        Operand::Vector(vector) => match &vector.validity {
            None => vec![u8::from(negated); rows],
            Some(validity) => (0..rows)
                .map(|i| u8::from(validity.get(i) == negated))
                .collect(),
        },
    };
    Vector {
        values: Values::Bool(bits),
        validity: None,
    }
}

/// `operand IS [NOT] TRUE`, `FALSE` or (`None`) `UNKNOWN`.
pub(in crate::expr) fn is_truth(
    operand: &Operand,
    value: Option<bool>,
    negated: bool,
    rows: usize,
) -> Result<Vector> {
    let wanted = match value {
        None => UNKNOWN,
        Some(false) => FALSE,
        Some(true) => TRUE,
    };
    let truth = truth_of(operand, rows)?;
    let bits = truth
        .iter()
        .map(|&t| u8::from((t == wanted) != negated))
        .collect();
    Ok(Vector {
        values: Values::Bool(bits),
        validity: None,
    })
}

/// The positions where a boolean operand is true.
pub(in crate::expr) fn true_positions(operand: &Operand, rows: usize) -> Result<Vec<u32>> {
    let bits = match operand {
        Operand::Scalar(Some(Scalar::Bool(true))) => return Ok((0..rows as u32).collect()),
        Operand::Scalar(_) => return Ok(Vec::new()),
        Operand::Vector(vector) => vector,
    };
    let Side::Slice(values) = operand.side::<u8>()? else {
        return Err(Error::internal("a vector of booleans"));
    };
    let validity = bits.validity.as_ref();
    Ok(crate::expr::filter::select_all(
        &values[..rows],
        validity,
        |bit| bit != 0,
    ))
}
