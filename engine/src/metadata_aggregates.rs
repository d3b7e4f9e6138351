// SPDX-License-Identifier: Apache-2.0
//! Answers without decoding: what a source knows of a morsel's columns without looking at their values.
//!
//! An aggregation without groups over a scan asks the source for summaries ([`NeededSummary`]); where the source has
//! them for all rows of a morsel, and every row is seen and passes the filters, they are added up ([`Totals`]) in the
//! place of the rows. Other morsels are decoded as usual.

use std::sync::Mutex;

use doris_storage::vector::{Bitmap, Physical, Values, Vector};

use crate::error::{Error, Result};
use crate::exec::driver::lock;
use crate::expr::{Expr, ExprKind};
use crate::plan::{AggregateCall, AggregateFunction, Node, Op};

/// What is known of a column of some rows. Integers, dates, times and decimals at their scale; booleans are 0 and 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ColumnSummary {
    /// Rows that are not NULL.
    pub values: u64,
    /// The least and the greatest value, where there is one.
    pub extremes: Option<(i128, i128)>,
    /// The exact sum of the values; `None`: not known.
    pub sum: Option<i128>,
}

/// What must be known of a source's column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeededSummary {
    /// The source's column.
    pub column: usize,
    /// Its sum.
    pub sum: bool,
    /// Its least and greatest value.
    pub extremes: bool,
}

impl NeededSummary {
    /// Whether a summary says it.
    pub fn is_met_by(&self, summary: &ColumnSummary) -> bool {
        let empty = summary.values == 0;
        (!self.sum || empty || summary.sum.is_some())
            && (!self.extremes || empty || summary.extremes.is_some())
    }
}

/// Adds up summaries, in the order of the needs.
pub struct Totals {
    /// What is asked of the source.
    pub needs: Vec<NeededSummary>,
    /// For each call: its need; `None`: only rows count.
    calls: Vec<Option<usize>>,
    total: Mutex<Total>,
}

struct Total {
    rows: u64,
    columns: Vec<ColumnSummary>,
    overflow: bool,
}

impl Totals {
    /// The totals that answer all of `calls` over the rows of `input`; `None` when summaries cannot.
    pub fn of(calls: &[AggregateCall], input: &Node) -> Option<Self> {
        let columns = source_columns(input)?;
        let mut needs: Vec<NeededSummary> = Vec::new();
        let mut numbers = Vec::with_capacity(calls.len());
        for call in calls {
            let number = need(call, &columns)?.map(|need| {
                let known = needs.iter().position(|n| n.column == need.column);
                let at = known.unwrap_or(needs.len());
                if known.is_none() {
                    needs.push(need);
                }
                needs[at].sum |= need.sum;
                needs[at].extremes |= need.extremes;
                at
            });
            numbers.push(number);
        }
        let columns = vec![ColumnSummary::default(); needs.len()];
        Some(Self {
            needs,
            calls: numbers,
            total: Mutex::new(Total {
                rows: 0,
                columns,
                overflow: false,
            }),
        })
    }

    /// Adds `rows` rows with a summary for each need.
    pub fn add(&self, rows: u64, summaries: &[ColumnSummary]) {
        let mut total = lock(&self.total);
        let total = &mut *total;
        total.rows += rows;
        for (all, some) in total.columns.iter_mut().zip(summaries) {
            all.values += some.values;
            all.extremes = match (all.extremes, some.extremes) {
                (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
                (a, b) => a.or(b),
            };
            match all.sum.unwrap_or(0).checked_add(some.sum.unwrap_or(0)) {
                Some(sum) => all.sum = Some(sum),
                None => total.overflow = true,
            }
        }
    }

    /// The totals as states of `calls`, one group's; `None` when nothing was added.
    pub fn states(&self, calls: &[AggregateCall]) -> Result<Option<Vec<Vec<Vector>>>> {
        let total = lock(&self.total);
        if total.overflow {
            return Err(Error::NumericTooWide);
        }
        if total.rows == 0 {
            return Ok(None);
        }
        let states = calls.iter().zip(&self.calls).map(|(call, need)| {
            let column = need.map(|need| total.columns[need]);
            state(call, total.rows, column)
        });
        states.collect::<Result<_>>().map(Some)
    }
}

/// What a call needs: `Some(None)` when it only counts rows, `None` when summaries cannot answer it.
fn need(call: &AggregateCall, columns: &[Option<usize>]) -> Option<Option<NeededSummary>> {
    use AggregateFunction::*;
    if call.filter.is_some() || call.distinct {
        return None;
    }
    let Some(argument) = &call.argument else {
        return (call.function == CountStar).then_some(None);
    };
    let physical = argument.data_type().physical();
    let exact = matches!(
        physical,
        Physical::I16 | Physical::I32 | Physical::I64 | Physical::I128
    );
    let (sum, extremes) = match call.function {
        Count => (false, false),
        Sum | Avg if exact => (true, false),
        Min | Max if exact => (false, true),
        _ => return None,
    };
    let column = (*columns.get(stored_column(argument)?)?)?;
    Some(Some(NeededSummary {
        column,
        sum,
        extremes,
    }))
}

/// The source's column behind each column of a scan that may have projections above it.
fn source_columns(node: &Node) -> Option<Vec<Option<usize>>> {
    match &node.op {
        Op::Scan(scan) => Some(scan.columns.iter().copied().map(Some).collect()),
        Op::Project { input, exprs } => {
            let columns = source_columns(input)?;
            let behind = |expr: &Expr| match expr.kind() {
                ExprKind::Column(column) => columns.get(*column).copied().flatten(),
                _ => None,
            };
            Some(exprs.iter().map(behind).collect())
        }
        _ => None,
    }
}

/// The column an argument is, perhaps as a wider integer.
fn stored_column(expr: &Expr) -> Option<usize> {
    match expr.kind() {
        ExprKind::Column(column) => Some(*column),
        ExprKind::Cast {
            arg,
            implicit: true,
        } if arg.data_type().is_integer() && expr.data_type().is_integer() => stored_column(arg),
        _ => None,
    }
}

/// A call's state after so many rows.
fn state(call: &AggregateCall, rows: u64, column: Option<ColumnSummary>) -> Result<Vec<Vector>> {
    use AggregateFunction::*;
    let count = |n: u64| Vector {
        values: Values::I64(vec![n as i64]),
        validity: None,
    };
    let Some(column) = column else {
        return Ok(vec![count(rows)]);
    };
    let argument = call.argument.as_ref().map(Expr::data_type);
    let physical = argument.map_or(Physical::I64, |t| t.physical());
    Ok(match call.function {
        Count => vec![count(column.values)],
        Sum if matches!(physical, Physical::I16 | Physical::I32) => {
            vec![value(
                Physical::I64,
                column.sum.filter(|_| column.values > 0),
            )?]
        }
        Sum | Avg => {
            let sum = column.sum.filter(|_| column.values > 0);
            vec![value(Physical::I128, sum)?, count(column.values)]
        }
        Min => vec![value(physical, column.extremes.map(|e| e.0))?],
        Max => vec![value(physical, column.extremes.map(|e| e.1))?],
        _ => return Err(Error::internal("a summary of another function")),
    })
}

/// One value as a vector.
fn value(physical: Physical, value: Option<i128>) -> Result<Vector> {
    let number = value.unwrap_or_default();
    let narrow = |_| Error::NumericOutOfRange(crate::error::OutOfRange::Int8);
    let values = match physical {
        Physical::I16 => Values::I16(vec![i16::try_from(number).map_err(narrow)?]),
        Physical::I32 => Values::I32(vec![i32::try_from(number).map_err(narrow)?]),
        Physical::I64 => Values::I64(vec![i64::try_from(number).map_err(narrow)?]),
        _ => Values::I128(vec![number]),
    };
    let validity = value.is_none().then(|| Bitmap::filled(1, false));
    Ok(Vector { values, validity })
}

#[cfg(test)]
mod tests;
