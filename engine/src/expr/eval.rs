// SPDX-License-Identifier: Apache-2.0
//! Tree to vectors.
//!
//! A node evaluates its operands over the same selection, then runs one kernel over all rows. A strict node with
//! a NULL constant is NULL without looking further; a node over constants is computed once; a node over one
//! dictionary column and constants is computed once per dictionary entry, when no entry raises an error.

use std::sync::Arc;

use doris_storage::vector::{BytesColumn, Physical, Values, Vector};
use hashbrown::HashMap;

use super::context::EvalContext;
use super::ir::{Expr, ExprKind, Func};
use super::kernels::{arith, call, cast, collected_row, compare, control, like, logic, replace};
use super::operand::{strict_validity, Operand};
use crate::batch::{Batch, Selection};
use crate::error::{Error, Result};
use crate::gather::{concat, gather, nulls};
use crate::types::{DataType, Scalar};

/// A dictionary is worth computing over when it has at most this many entries, whatever the batch.
const DICTIONARY_ENTRIES_CHEAP: usize = 1024;
/// ... or at most this many entries a row of the batch: later batches of the chunk share the result.
const DICTIONARY_ENTRIES_PER_ROW: usize = 16;

impl Expr {
    /// The values for the selected rows, densely. A column of a whole batch is shared, not copied; text constants
    /// come as one-entry dictionaries.
    pub fn eval(
        &self,
        ctx: &EvalContext,
        batch: &Batch,
        selection: &Selection,
    ) -> Result<Arc<Vector>> {
        ctx.check_cancelled()?;
        let operand = self.operand(ctx, batch, selection)?;
        Ok(operand.into_vector(self.data_type().physical(), selection.len()))
    }

    /// The value of an expression that reads no column: parameters and constants only.
    pub fn eval_scalar(&self, ctx: &EvalContext) -> Result<Option<Scalar>> {
        if !self.is_invariant() {
            return Err(Error::internal("not an invariant expression"));
        }
        let batch = Batch::new(Vec::new(), 1);
        Ok(Scalar::of_vector(
            &*self.eval(ctx, &batch, &Selection::All(1))?,
            0,
        ))
    }

    /// [`Expr::eval`], with constants left as they are.
    pub(super) fn operand(
        &self,
        ctx: &EvalContext,
        batch: &Batch,
        selection: &Selection,
    ) -> Result<Operand> {
        let rows = selection.len();
        if rows == 0 {
            return Ok(Operand::Vector(Arc::new(Vector::empty(
                self.data_type().physical(),
            ))));
        }
        match self.kind() {
            ExprKind::Column(index) => column(*index, self.data_type(), batch, selection),
            ExprKind::Const(value) => Ok(Operand::Scalar(value.clone())),
            ExprKind::Param(number) => Ok(Operand::Scalar(ctx.param(*number)?)),
            ExprKind::And(args) => logic::junction(args, true, ctx, batch, selection),
            ExprKind::Or(args) => logic::junction(args, false, ctx, batch, selection),
            ExprKind::Case {
                branches,
                otherwise,
            } => control::case(
                branches,
                otherwise.as_deref(),
                self.data_type(),
                ctx,
                batch,
                selection,
            ),
            ExprKind::Coalesce(args) => {
                control::coalesce(args, self.data_type(), ctx, batch, selection)
            }
            ExprKind::Item { columns, args } => {
                let items = collected_row::items(columns, args, ctx, batch, selection)?;
                Ok(Operand::Vector(Arc::new(items)))
            }
            ExprKind::External { id, args } => self.call_external(*id, args, ctx, batch, selection),
            _ => {
                let texts = ctx.text_bytes();
                match self.of_children(ctx, batch, selection) {
                    Err(Error::OutOfMemory) if rows > 1 && self.may_halve() => {
                        ctx.forget_texts(texts);
                        self.by_halves(ctx, batch, selection)
                    }
                    outcome => outcome,
                }
            }
        }
    }

    fn of_children(
        &self,
        ctx: &EvalContext,
        batch: &Batch,
        selection: &Selection,
    ) -> Result<Operand> {
        let operands = self
            .children()
            .into_iter()
            .map(|child| child.operand(ctx, batch, selection));
        self.over_operands(operands.collect::<Result<_>>()?, ctx, selection.len())
    }

    /// Whether large texts that it is made of may be computed for some rows at a time: nothing is left of them.
    fn may_halve(&self) -> bool {
        self.data_type().physical() != Physical::Bytes && self.is_native()
    }

    /// The values for one half of the rows after the other.
    fn by_halves(
        &self,
        ctx: &EvalContext,
        batch: &Batch,
        selection: &Selection,
    ) -> Result<Operand> {
        let texts = ctx.text_bytes();
        let halves = selection.halves().map(|half| {
            let values = self.eval(ctx, batch, &half);
            // None of them is left.
            ctx.forget_texts(texts);
            values
        });
        let [first, second] = halves;
        let halves = [first?, second?];
        let both = concat(self.data_type().physical(), &halves).ok_or(Error::OutOfMemory)?;
        Ok(Operand::Vector(Arc::new(both)))
    }

    /// Runs the node's kernel, over as few rows as the operands allow.
    fn over_operands(
        &self,
        operands: Vec<Operand>,
        ctx: &EvalContext,
        rows: usize,
    ) -> Result<Operand> {
        if self.is_strict() && operands.iter().any(Operand::is_null_scalar) {
            return Ok(Operand::Scalar(None));
        }
        let mut vectors = operands
            .iter()
            .enumerate()
            .filter_map(|(i, operand)| match operand {
                Operand::Vector(vector) => Some((i, vector)),
                Operand::Scalar(_) => None,
            });
        let (first, second) = (vectors.next(), vectors.next());
        match (first, second) {
            (None, _) => {
                let result = self.kernel(&operands, 1, ctx)?;
                Ok(Operand::Scalar(Scalar::of_vector(&result, 0)))
            }
            (Some((position, vector)), None) if self.is_strict() => {
                if let Some(result) = self.over_dictionary(&operands, position, vector, ctx, rows) {
                    return Ok(Operand::Vector(Arc::new(result)));
                }
                Ok(Operand::Vector(Arc::new(
                    self.kernel(&operands, rows, ctx)?,
                )))
            }
            _ => Ok(Operand::Vector(Arc::new(
                self.kernel(&operands, rows, ctx)?,
            ))),
        }
    }

    /// Whether a NULL operand makes it NULL.
    fn is_strict(&self) -> bool {
        match self.kind() {
            ExprKind::Compare { op, .. } => !op.is_null_safe(),
            ExprKind::Call { func, .. } => !matches!(func, Func::Concat | Func::ConcatWith),
            ExprKind::IsNull { .. } | ExprKind::IsTruth { .. } | ExprKind::Extreme { .. } => false,
            // An empty list is false even for NULL.
            ExprKind::InList { set, .. } => !set.is_empty(),
            _ => true,
        }
    }

    /// The node's function of its operands' values, row by row; at least one operand may be a vector.
    fn kernel(&self, operands: &[Operand], rows: usize, ctx: &EvalContext) -> Result<Vector> {
        let from = |i: usize| self.children()[i].data_type();
        match self.kind() {
            ExprKind::Compare { op, .. } => compare::compare(*op, from(0), operands, rows),
            ExprKind::Arith { op, .. } => {
                arith::arith(*op, (from(0), from(1)), self.data_type(), operands, rows)
            }
            ExprKind::Not(_) => logic::not(&operands[0], rows),
            ExprKind::IsNull { negated, .. } => Ok(logic::is_null(&operands[0], *negated, rows)),
            ExprKind::IsTruth { value, negated, .. } => {
                logic::is_truth(&operands[0], *value, *negated, rows)
            }
            ExprKind::Extreme { greatest, .. } => {
                control::extreme(*greatest, self.data_type(), operands, rows)
            }
            ExprKind::InList { set, negated, .. } => set.test(&operands[0], *negated, rows),
            ExprKind::Like {
                pattern, negated, ..
            } => like::like(pattern, &operands[0], *negated, rows),
            ExprKind::RegexpReplace { rule, .. } => {
                replace::regexp_replace(rule, &operands[0], rows)
            }
            ExprKind::LikeExpr {
                fold_case, negated, ..
            } => like::like_expr(&operands[0], &operands[1], *fold_case, *negated, rows),
            ExprKind::Call { func, args } => {
                let types: Vec<DataType> = args.iter().map(Expr::data_type).collect();
                let room = ctx.text_room(rows);
                call::call(*func, &types, self.data_type(), operands, rows, &room)
            }
            ExprKind::Cast { .. } => cast::cast(from(0), self.data_type(), &operands[0], rows),
            other => Err(Error::internal(format!("no kernel for {other:?}"))),
        }
    }

    /// The node once per entry of its one dictionary operand, mapped to rows; `None` when that is not worth it,
    /// or when some entry (of perhaps no row) raises an error.
    fn over_dictionary(
        &self,
        operands: &[Operand],
        position: usize,
        vector: &Vector,
        ctx: &EvalContext,
        rows: usize,
    ) -> Option<Vector> {
        let Values::Dict { codes, dict } = &vector.values else {
            return None;
        };
        if dict.is_empty() {
            return Some(nulls(self.data_type().physical(), rows));
        }
        let result = self.dictionary_result(operands, position, dict, ctx, rows)?;
        Some(map_codes(&result, codes, vector))
    }

    /// The node's value for every entry of `dict` as its operand `position`.
    pub(super) fn dictionary_result(
        &self,
        operands: &[Operand],
        position: usize,
        dict: &Arc<BytesColumn>,
        ctx: &EvalContext,
        rows: usize,
    ) -> Option<Arc<Vector>> {
        let cheap = dict.len()
            <= DICTIONARY_ENTRIES_CHEAP.max(rows.saturating_mul(DICTIONARY_ENTRIES_PER_ROW));
        if !cheap && !ctx.knows_dictionary(self.id(), dict) {
            return None;
        }
        ctx.over_dictionary(self.id(), dict, |dict| {
            let codes = (0..dict.len() as u32).collect();
            let entries = Vector {
                values: Values::Dict {
                    codes,
                    dict: Arc::clone(dict),
                },
                validity: None,
            };
            let mut operands = operands.to_vec();
            operands[position] = Operand::Vector(Arc::new(entries));
            Ok(distinct(self.kernel(&operands, dict.len(), ctx)?))
        })
    }

    fn call_external(
        &self,
        id: u32,
        args: &[Expr],
        ctx: &EvalContext,
        batch: &Batch,
        selection: &Selection,
    ) -> Result<Operand> {
        let Some(external) = ctx.external else {
            return Err(Error::internal("an external expression on a worker thread"));
        };
        let args = args
            .iter()
            .map(|arg| arg.eval(ctx, batch, selection))
            .collect::<Result<Vec<_>>>()?;
        let result = external.eval(id, &args, selection.len(), self.data_type())?;
        if result.len() != selection.len() {
            return Err(Error::internal(
                "an external expression gave another number of rows",
            ));
        }
        Ok(Operand::Vector(Arc::new(result)))
    }
}

/// A column's selected rows. A numeric whose proven bound asks for another layout than it is stored in is brought
/// to that layout.
fn column(
    index: usize,
    data_type: DataType,
    batch: &Batch,
    selection: &Selection,
) -> Result<Operand> {
    let Some(column) = batch.columns.get(index) else {
        return Err(Error::internal(format!(
            "column {index} of a batch of {}",
            batch.columns.len()
        )));
    };
    let selected = match selection {
        Selection::All(rows) if *rows == column.len() => Arc::clone(column),
        _ => Arc::new(gather(column, &selection.indices())),
    };
    if selected.physical() == data_type.physical() {
        return Ok(Operand::Vector(selected));
    }
    match (data_type, &selected.values) {
        (DataType::Numeric { .. }, Values::I64(values)) => {
            let values = Values::I128(values.iter().map(|&v| v.into()).collect());
            Ok(Operand::Vector(Arc::new(Vector {
                values,
                validity: selected.validity.clone(),
            })))
        }
        (DataType::Numeric { .. }, Values::I128(values)) => {
            // The bound is proven, so the cut loses nothing (but in NULL rows, where it does not matter).
            let values = Values::I64(values.iter().map(|&v| v as i64).collect());
            Ok(Operand::Vector(Arc::new(Vector {
                values,
                validity: selected.validity.clone(),
            })))
        }
        _ => Err(Error::internal(format!(
            "column {index} is not laid out as {data_type}"
        ))),
    }
}

/// Gives a result over dictionary entries the shape of a dictionary again: distinct values and codes.
fn distinct(result: Vector) -> Vector {
    let Values::Bytes(values) = &result.values else {
        return result;
    };
    let mut dict = BytesColumn::default();
    let mut known: HashMap<&[u8], u32> = HashMap::with_capacity(values.len());
    let mut codes = Vec::with_capacity(values.len());
    for value in values.iter() {
        let code = *known.entry(value).or_insert_with(|| {
            dict.push(value);
            dict.len() as u32 - 1
        });
        codes.push(code);
    }
    Vector {
        values: Values::Dict {
            codes,
            dict: Arc::new(dict),
        },
        validity: result.validity,
    }
}

/// A result over dictionary entries as one over rows.
fn map_codes(result: &Vector, codes: &[u32], rows: &Vector) -> Vector {
    let mut mapped = gather(result, codes);
    if let Some(validity) = &rows.validity {
        let rows_len = codes.len();
        let own = mapped.validity.take();
        let both = [
            Operand::Vector(Arc::new(Vector {
                values: Values::Bool(Vec::new()),
                validity: Some(validity.clone()),
            })),
            Operand::Vector(Arc::new(Vector {
                values: Values::Bool(Vec::new()),
                validity: own,
            })),
        ];
        mapped.validity = strict_validity(&both, rows_len);
    }
    mapped
}

/// A node over constants only as the constant it is worth, unless it raises an error.
pub(super) fn fold_constants(expr: Expr) -> Expr {
    let children = expr.children();
    // An item holds its row's place, and an aggregate looks for it.
    let is_item = matches!(expr.kind(), ExprKind::Item { .. });
    if is_item || children.is_empty() || !children.iter().all(|child| child.as_const().is_some()) {
        return expr;
    }
    match expr.eval_scalar(&EvalContext::default()) {
        Ok(value) => Expr::new(ExprKind::Const(value), expr.data_type()),
        Err(_) => expr,
    }
}

#[cfg(test)]
pub(crate) mod tests;
