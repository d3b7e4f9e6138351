// SPDX-License-Identifier: Apache-2.0
//! Evaluating a batch's keys and arguments, each different expression once.

use std::sync::Arc;

use doris_storage::vector::Vector;

use crate::batch::Selection;
use crate::error::Result;
use crate::exec::query::{Chunk, Worker};
use crate::expr::{Expr, ExprKind};
use crate::plan::{AggregateCall, AggregateFunction, GroupKey};

/// Which expressions are evaluated, and which of them each call takes.
pub struct Slots {
    keys: Vec<Expr>,
    filters: Vec<Expr>,
    /// An argument and the filter whose rows it is evaluated for.
    arguments: Vec<Argument>,
    /// For each argument: whether all that take it add it up, in 64 bits as well as in 128.
    narrow: Vec<bool>,
    /// For each call: its argument and its filter.
    calls: Vec<(Option<usize>, Option<usize>)>,
    /// The columns that all of these read, ascending.
    columns: Vec<usize>,
}

/// A batch, evaluated. All vectors are dense.
#[derive(Clone)]
pub struct Inputs {
    /// Selected rows of the batch.
    pub rows: usize,
    /// The key columns.
    pub keys: Vec<Arc<Vector>>,
    /// For each filter: the positions (among `rows`) that pass.
    passing: Vec<Vec<u32>>,
    arguments: Vec<Arc<Vector>>,
    calls: Vec<(Option<usize>, Option<usize>)>,
}

impl Inputs {
    /// The same with other key columns.
    pub fn with_keys(&self, keys: Vec<Arc<Vector>>) -> Self {
        Self {
            keys,
            ..self.clone()
        }
    }

    /// The argument of call `call`, dense over the rows that pass its filter.
    pub fn argument(&self, call: usize) -> Option<&Vector> {
        self.calls[call].0.map(|slot| &*self.arguments[slot])
    }

    /// The positions of the rows that call `call` sees; `None`: all.
    pub fn passing(&self, call: usize) -> Option<&[u32]> {
        self.calls[call].1.map(|slot| &*self.passing[slot])
    }
}

/// Whether two expressions are known to be the same: one column may be compared by several collations.
pub fn same(a: &Expr, b: &Expr) -> bool {
    match (a.kind(), b.kind()) {
        (ExprKind::Column(x), ExprKind::Column(y)) => x == y && a.data_type() == b.data_type(),
        _ => a.id() == b.id(),
    }
}

fn slot_of<T>(slots: &mut Vec<T>, item: T, equal: impl Fn(&T, &T) -> bool) -> usize {
    match slots.iter().position(|known| equal(known, &item)) {
        Some(slot) => slot,
        None => {
            slots.push(item);
            slots.len() - 1
        }
    }
}

type Argument = (Expr, Option<usize>);

/// Whether an argument's values may come in 64 bits where its type says 128.
fn may_be_narrow(
    slot: usize,
    arguments: &[Argument],
    calls: &[AggregateCall],
    slots: &[(Option<usize>, Option<usize>)],
) -> bool {
    use AggregateFunction::{Avg, Sum};
    let adds = |call: &AggregateCall| matches!(call.function, Sum | Avg) && !call.distinct;
    let mut users = calls.iter().zip(slots).filter(|(_, s)| s.0 == Some(slot));
    arguments[slot].0.may_be_narrow() && users.all(|(call, _)| adds(call))
}

impl Slots {
    /// The slots of an aggregation.
    pub fn new(keys: &[GroupKey], calls: &[AggregateCall]) -> Self {
        let (mut filters, mut arguments) = (Vec::new(), Vec::new());
        let mut slots = Vec::new();
        for call in calls {
            let filter = call
                .filter
                .clone()
                .map(|filter| slot_of(&mut filters, filter, same));
            let argument = call.argument.clone().map(|argument| {
                slot_of(&mut arguments, (argument, filter), |a: &Argument, b| {
                    same(&a.0, &b.0) && a.1 == b.1
                })
            });
            slots.push((argument, filter));
        }
        let narrow =
            (0..arguments.len()).map(|slot| may_be_narrow(slot, &arguments, calls, &slots));
        let narrow = narrow.collect();
        let keys: Vec<Expr> = keys.iter().map(|key| key.expr.clone()).collect();
        let arguments_only = arguments.iter().map(|(argument, _)| argument);
        let all = keys.iter().chain(&filters).chain(arguments_only);
        let mut columns: Vec<usize> = all.flat_map(Expr::columns).collect();
        columns.sort_unstable();
        columns.dedup();
        Self {
            keys,
            filters,
            arguments,
            narrow,
            calls: slots,
            columns,
        }
    }

    /// Evaluates everything for a batch.
    pub fn evaluate(&self, worker: &Worker<'_>, chunk: &Chunk) -> Result<Inputs> {
        // A column that several expressions read is gathered once.
        let chunk = &chunk.dense(&self.columns);
        let keys = self
            .keys
            .iter()
            .map(|key| worker.eval(key, chunk))
            .collect::<Result<_>>()?;
        let mut filtered = Vec::with_capacity(self.filters.len());
        for filter in &self.filters {
            let selection = filter.filter(&worker.eval, &chunk.batch, chunk.selection.clone())?;
            filtered.push(Chunk {
                batch: chunk.batch.clone(),
                selection,
            });
        }
        let argument = |((expr, filter), narrow): (&Argument, &bool)| {
            let chunk = filter.map_or(chunk, |filter| &filtered[filter]);
            if *narrow {
                let values = expr.eval_narrow(&worker.eval, &chunk.batch, &chunk.selection)?;
                if let Some(values) = values {
                    return Ok(values);
                }
            }
            worker.eval(expr, chunk)
        };
        let arguments = self.arguments.iter().zip(&self.narrow);
        let arguments = arguments.map(argument).collect::<Result<_>>()?;
        let passing = filtered
            .iter()
            .map(|f| positions(&chunk.selection, &f.selection))
            .collect();
        Ok(Inputs {
            rows: chunk.rows(),
            keys,
            passing,
            arguments,
            calls: self.calls.clone(),
        })
    }
}

/// The positions within `outer` of the rows of `inner`, which are some of them.
fn positions(outer: &Selection, inner: &Selection) -> Vec<u32> {
    match outer {
        Selection::All(_) => inner.indices().into_owned(),
        Selection::Indices(rows) => {
            let mut at = 0;
            let position = |row: usize| {
                while rows[at] as usize != row {
                    at += 1;
                }
                at as u32
            };
            inner.iter().map(position).collect()
        }
    }
}
