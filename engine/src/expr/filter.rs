// SPDX-License-Identifier: Apache-2.0
//! Tree to selections.
//!
//! Conjuncts narrow the selection one by one, as PostgreSQL's list of quals does (a NULL drops the row, so that
//! later quals don't see it). A column against a constant is compared where it lies, without gathering; bounds on
//! one integer column are one pass; a predicate on a dictionary column is one bit per entry. Selection building has
//! no branch a row, since selectivities in the middle are the common case.

use std::borrow::Cow;

use doris_storage::vector::{push_positions, Bitmap, Values, Vector};

use super::context::EvalContext;
use super::ir::{CompareOp, Expr, ExprKind};
use super::kernels::compare::SqlOrd;
use super::kernels::control::difference;
use super::kernels::logic::{narrow, true_positions};
use super::operand::Operand;
use crate::batch::{Batch, Selection};
use crate::error::Result;
use crate::types::Scalar;

/// Rows tested at a time.
const CHUNK: usize = 64;

impl Expr {
    /// The selected rows for which the condition is true.
    pub fn filter(
        &self,
        ctx: &EvalContext,
        batch: &Batch,
        selection: Selection,
    ) -> Result<Selection> {
        ctx.check_cancelled()?;
        match self.kind() {
            ExprKind::And(args) => conjunction(args, ctx, batch, selection),
            _ => self.filter_exactly(ctx, batch, selection),
        }
    }

    /// The range that the condition asks of one integer column, if that is all it says: the column, the least and the
    /// greatest value that pass (none when the least is the greater). NULLs do not pass.
    pub fn integer_range(&self, ctx: &EvalContext) -> Result<Option<(usize, i128, i128)>> {
        let conjuncts = match self.kind() {
            ExprKind::And(args) => args,
            _ => std::slice::from_ref(self),
        };
        let (bounds, used) = Bounds::of_run(conjuncts, ctx)?;
        let bounds = bounds.filter(|_| used == conjuncts.len());
        Ok(bounds.map(|bounds| (bounds.column, bounds.low, bounds.high)))
    }

    /// [`Expr::filter`] below the top: an AND goes on after a NULL, for the sake of errors.
    fn filter_exactly(
        &self,
        ctx: &EvalContext,
        batch: &Batch,
        selection: Selection,
    ) -> Result<Selection> {
        if selection.is_empty() {
            return Ok(selection);
        }
        match self.kind() {
            ExprKind::Const(Some(Scalar::Bool(true))) => return Ok(selection),
            ExprKind::Const(_) => return Ok(Selection::Indices(Vec::new())),
            ExprKind::And(args) if !self.can_raise() => {
                return conjunction(args, ctx, batch, selection)
            }
            ExprKind::Or(args) => return disjunction(args, ctx, batch, selection),
            _ => {}
        }
        if let Some(kept) = on_column(self, ctx, batch, &selection)? {
            return Ok(kept);
        }
        let truth = self.operand(ctx, batch, &selection)?;
        let kept = true_positions(&truth, selection.len())?;
        if kept.len() == selection.len() {
            return Ok(selection);
        }
        Ok(narrow(&selection, &kept))
    }
}

fn conjunction(
    args: &[Expr],
    ctx: &EvalContext,
    batch: &Batch,
    mut selection: Selection,
) -> Result<Selection> {
    let mut next = 0;
    while next < args.len() && !selection.is_empty() {
        let (bounds, used) = Bounds::of_run(&args[next..], ctx)?;
        if used > 1 {
            if let Some(kept) = bounds.and_then(|bounds| bounds.select(batch, &selection)) {
                selection = kept;
                next += used;
                continue;
            }
        }
        selection = args[next].filter_exactly(ctx, batch, selection)?;
        next += 1;
    }
    Ok(selection)
}

/// Each operand sees the rows that none before it has accepted.
fn disjunction(
    args: &[Expr],
    ctx: &EvalContext,
    batch: &Batch,
    selection: Selection,
) -> Result<Selection> {
    let mut remaining: Vec<u32> = selection.indices().into_owned();
    let total = remaining.len();
    let mut kept: Vec<u32> = Vec::new();
    for arg in args {
        if remaining.is_empty() {
            break;
        }
        let asked = match remaining.len() == total {
            true => selection.clone(),
            false => Selection::Indices(remaining.clone()),
        };
        let hits = arg.filter_exactly(ctx, batch, asked)?;
        let hits = hits.indices();
        remaining = difference(&remaining, &hits);
        kept.extend_from_slice(&hits);
    }
    if kept.len() == total {
        return Ok(selection);
    }
    kept.sort_unstable();
    Ok(Selection::Indices(kept))
}

/// An inclusive range that a run of conjuncts asks of one integer column.
struct Bounds {
    column: usize,
    low: i128,
    high: i128,
}

impl Bounds {
    /// The bounds of the longest run of leading conjuncts on one integer column, and its length.
    fn of_run(args: &[Expr], ctx: &EvalContext) -> Result<(Option<Bounds>, usize)> {
        let mut run: Option<Bounds> = None;
        for (used, arg) in args.iter().enumerate() {
            let Some(more) = Bounds::of(arg, ctx)? else {
                return Ok((run, used));
            };
            match &mut run {
                None => run = Some(more),
                Some(bounds) if bounds.column == more.column => {
                    bounds.low = bounds.low.max(more.low);
                    bounds.high = bounds.high.min(more.high);
                }
                Some(_) => return Ok((run, used)),
            }
        }
        Ok((run, args.len()))
    }

    /// The bounds one comparison asks for.
    fn of(expr: &Expr, ctx: &EvalContext) -> Result<Option<Bounds>> {
        let Some((op, column, value)) = column_against_constant(expr, ctx)? else {
            return Ok(None);
        };
        let Some(value) = value.and_then(|value| value.as_i128()) else {
            return Ok(None);
        };
        let (low, high) = match op {
            CompareOp::Eq => (value, value),
            CompareOp::Lt => (i128::MIN, value.saturating_sub(1)),
            CompareOp::Le => (i128::MIN, value),
            CompareOp::Gt => (value.saturating_add(1), i128::MAX),
            CompareOp::Ge => (value, i128::MAX),
            _ => return Ok(None),
        };
        // 38 digits end before the extremes, so that saturation above can't be seen.
        Ok(Some(Bounds { column, low, high }))
    }

    fn select(&self, batch: &Batch, selection: &Selection) -> Option<Selection> {
        let vector = batch.columns.get(self.column)?;
        let validity = vector.validity.as_ref();
        if self.low > self.high {
            return Some(Selection::Indices(Vec::new()));
        }
        macro_rules! within {
            ($values:expr, $type:ty) => {{
                if self.low > <$type>::MAX.into() || self.high < <$type>::MIN.into() {
                    return Some(Selection::Indices(Vec::new()));
                }
                let low = <$type>::try_from(self.low).unwrap_or(<$type>::MIN);
                let high = <$type>::try_from(self.high).unwrap_or(<$type>::MAX);
                select($values, validity, selection, |v: $type| {
                    (v >= low) & (v <= high)
                })
            }};
        }
        Some(match &vector.values {
            Values::I16(values) => within!(values, i16),
            Values::I32(values) => within!(values, i32),
            Values::I64(values) => within!(values, i64),
            Values::I128(values) => within!(values, i128),
            _ => return None,
        })
    }
}

/// `column op constant`, whichever way round it is written.
fn column_against_constant(
    expr: &Expr,
    ctx: &EvalContext,
) -> Result<Option<(CompareOp, usize, Option<Scalar>)>> {
    let ExprKind::Compare { op, left, right } = expr.kind() else {
        return Ok(None);
    };
    let (op, column, value) = match (stored_column(left), stored_column(right)) {
        (Some(column), _) if right.is_invariant() => (*op, column, right),
        (_, Some(column)) if left.is_invariant() => (op.flip(), column, left),
        _ => return Ok(None),
    };
    let value = match value.kind() {
        ExprKind::Const(value) => value.clone(),
        ExprKind::Param(number) => ctx.param(*number)?,
        _ => value.eval_scalar(ctx)?,
    };
    Ok(Some((op, column, value)))
}

/// The column an expression is, perhaps widened in a way that leaves its integers what they are.
fn stored_column(expr: &Expr) -> Option<usize> {
    use crate::types::DataType::Numeric;
    match expr.kind() {
        ExprKind::Column(column) => Some(*column),
        ExprKind::Cast {
            arg,
            implicit: true,
        } => match (arg.data_type(), expr.data_type()) {
            (from, to) if from.is_integer() && to.is_integer() => stored_column(arg),
            (Numeric { scale: from, .. }, Numeric { scale: to, .. }) if from == to => {
                stored_column(arg)
            }
            _ => None,
        },
        _ => None,
    }
}

/// Conditions on one column that are tested where the column lies; `None`: no such condition.
fn on_column(
    expr: &Expr,
    ctx: &EvalContext,
    batch: &Batch,
    selection: &Selection,
) -> Result<Option<Selection>> {
    let column = match expr.kind() {
        ExprKind::IsNull { arg, negated } => match arg.kind() {
            ExprKind::Column(column) => {
                return Ok(batch
                    .columns
                    .get(*column)
                    .map(|vector| select_nulls(vector, *negated, selection)));
            }
            _ => return Ok(None),
        },
        ExprKind::Like { arg, .. } | ExprKind::InList { arg, .. } => match arg.kind() {
            ExprKind::Column(column) => {
                return Ok(by_dictionary(
                    expr,
                    0,
                    &[Operand::Scalar(None)],
                    *column,
                    ctx,
                    batch,
                    selection,
                ))
            }
            _ => return Ok(None),
        },
        ExprKind::Column(column) => batch.columns.get(*column),
        ExprKind::Compare { .. } => None,
        _ => return Ok(None),
    };
    if let Some(Values::Bool(values)) = column.map(|vector| &vector.values) {
        let validity = column.and_then(|vector| vector.validity.as_ref());
        return Ok(Some(select(values, validity, selection, |bit| bit != 0)));
    }
    let Some((op, column, value)) = column_against_constant(expr, ctx)? else {
        return Ok(None);
    };
    if op.is_null_safe() {
        return Ok(None);
    }
    let Some(value) = value else {
        return Ok(Some(Selection::Indices(Vec::new())));
    };
    compare_column(expr, (op, column, &value), ctx, batch, selection)
}

fn compare_column(
    expr: &Expr,
    (op, column, value): (CompareOp, usize, &Scalar),
    ctx: &EvalContext,
    batch: &Batch,
    selection: &Selection,
) -> Result<Option<Selection>> {
    let Some(vector) = batch.columns.get(column) else {
        return Ok(None);
    };
    if let Some(kept) = Bounds::of(expr, ctx)?.and_then(|bounds| bounds.select(batch, selection)) {
        return Ok(Some(kept));
    }
    let validity = vector.validity.as_ref();
    Ok(match (&vector.values, value) {
        (Values::I16(values), Scalar::I16(c)) => {
            Some(select_op(op, values, validity, selection, *c))
        }
        (Values::I32(values), Scalar::I32(c)) => {
            Some(select_op(op, values, validity, selection, *c))
        }
        (Values::I64(values), Scalar::I64(c)) => {
            Some(select_op(op, values, validity, selection, *c))
        }
        (Values::I128(values), Scalar::I128(c)) => {
            Some(select_op(op, values, validity, selection, *c))
        }
        (Values::F32(values), Scalar::F32(c)) => {
            Some(select_op(op, values, validity, selection, *c))
        }
        (Values::F64(values), Scalar::F64(c)) => {
            Some(select_op(op, values, validity, selection, *c))
        }
        (Values::Dict { .. }, Scalar::Bytes(_)) => {
            let ExprKind::Compare { left, .. } = expr.kind() else {
                return Ok(None);
            };
            let position = usize::from(stored_column(left).is_none());
            let constant = Operand::Scalar(Some(value.clone()));
            let operands = [constant.clone(), constant];
            by_dictionary(expr, position, &operands, column, ctx, batch, selection)
        }
        _ => None,
    })
}

/// A condition on a dictionary column, by one bit per entry.
fn by_dictionary(
    expr: &Expr,
    position: usize,
    operands: &[Operand],
    column: usize,
    ctx: &EvalContext,
    batch: &Batch,
    selection: &Selection,
) -> Option<Selection> {
    let vector = batch.columns.get(column)?;
    let Values::Dict { codes, dict } = &vector.values else {
        return None;
    };
    if dict.is_empty() {
        return Some(Selection::Indices(Vec::new()));
    }
    let result = expr.dictionary_result(operands, position, dict, ctx, selection.len())?;
    let accepted = accepted_entries(&result)?;
    Some(select(codes, vector.validity.as_ref(), selection, |code| {
        accepted[code as usize] != 0
    }))
}

/// One byte per dictionary entry: whether the condition is true of it.
fn accepted_entries(result: &Vector) -> Option<Cow<'_, [u8]>> {
    let Values::Bool(bits) = &result.values else {
        return None;
    };
    if result.validity.is_none() {
        return Some(Cow::Borrowed(bits));
    }
    let mut accepted = bits.clone();
    for (i, bit) in accepted.iter_mut().enumerate() {
        *bit &= u8::from(!result.is_null(i));
    }
    Some(Cow::Owned(accepted))
}

fn select_nulls(vector: &Vector, negated: bool, selection: &Selection) -> Selection {
    let Some(validity) = &vector.validity else {
        return if negated {
            selection.clone()
        } else {
            Selection::Indices(Vec::new())
        };
    };
    selection
        .clone()
        .retain(|i| validity.get(selection.row(i)) == negated)
}

fn select_op<T: SqlOrd>(
    op: CompareOp,
    values: &[T],
    validity: Option<&Bitmap>,
    selection: &Selection,
    c: T,
) -> Selection {
    match op {
        CompareOp::Eq | CompareOp::NotDistinct => {
            select(values, validity, selection, |v: T| v.eq(c))
        }
        CompareOp::Ne | CompareOp::Distinct => select(values, validity, selection, |v: T| !v.eq(c)),
        CompareOp::Lt => select(values, validity, selection, |v: T| v.lt(c)),
        CompareOp::Le => select(values, validity, selection, |v: T| !c.lt(v)),
        CompareOp::Gt => select(values, validity, selection, |v: T| c.lt(v)),
        CompareOp::Ge => select(values, validity, selection, |v: T| !v.lt(c)),
    }
}

/// The selected rows whose value is not NULL and accepted.
fn select<T: Copy>(
    values: &[T],
    validity: Option<&Bitmap>,
    selection: &Selection,
    accept: impl Fn(T) -> bool,
) -> Selection {
    match selection {
        Selection::All(rows) => {
            let kept = select_all(&values[..*rows], validity, accept);
            if kept.len() == *rows {
                return Selection::All(*rows);
            }
            Selection::Indices(kept)
        }
        Selection::Indices(indices) => {
            Selection::Indices(select_some(values, validity, indices, accept))
        }
    }
}

/// The positions of all values accepted and not NULL.
pub(crate) fn select_all<T: Copy>(
    values: &[T],
    validity: Option<&Bitmap>,
    accept: impl Fn(T) -> bool,
) -> Vec<u32> {
    let mut kept = Vec::with_capacity(values.len());
    push_positions(values, validity, 0, &mut kept, accept);
    kept
}

/// The `indices` whose values are accepted and not NULL.
fn select_some<T: Copy>(
    values: &[T],
    validity: Option<&Bitmap>,
    indices: &[u32],
    accept: impl Fn(T) -> bool,
) -> Vec<u32> {
    let mut kept = Vec::with_capacity(indices.len());
    let mut found = [0u32; CHUNK];
    for chunk in indices.chunks(CHUNK) {
        let mut count = 0;
        for &index in chunk {
            found[count % CHUNK] = index;
            let valid = validity.is_none_or(|bits| bits.get(index as usize));
            count += usize::from(accept(values[index as usize]) & valid);
        }
        kept.extend_from_slice(&found[..count]);
    }
    kept
}

#[cfg(test)]
mod tests;
