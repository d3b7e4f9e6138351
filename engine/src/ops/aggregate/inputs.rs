// SPDX-License-Identifier: Apache-2.0
//! Evaluating a batch's keys and arguments, each different expression once.

use std::sync::Arc;

use doris_storage::vector::{Physical, Values, Vector};

use super::passthrough_rows::Takes;
use crate::batch::Selection;
use crate::error::{Error, Result};
use crate::exec::query::{Chunk, Worker};
use crate::expr::{Expr, ExprKind};
use crate::plan::{AggregateCall, AggregateFunction, GroupKey};
use crate::types::DataType;

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
    /// For each key and each argument: whether it is made of text where that lies.
    keys_in_place: Vec<bool>,
    arguments_in_place: Vec<bool>,
    /// The columns that others than those read.
    gathered: Vec<usize>,
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

    /// The arguments, each once.
    pub fn arguments(&self) -> &[Arc<Vector>] {
        &self.arguments
    }

    /// Which of the arguments each call takes.
    pub fn takes(&self) -> Takes {
        self.calls.iter().map(|call| call.0).collect()
    }

    /// Whether some call does not see all rows.
    pub fn is_filtered(&self) -> bool {
        self.calls.iter().any(|call| call.1.is_some())
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

/// An expression made in place is made of all rows of a batch where this part of them (one in so many) is selected.
const IN_PLACE: usize = 2;

fn ascending(numbers: impl IntoIterator<Item = usize>) -> Vec<usize> {
    let mut numbers: Vec<usize> = numbers.into_iter().collect();
    numbers.sort_unstable();
    numbers
}

/// Whether an expression is a number made of one text column, for any row without an error: it costs less than copying
/// the texts of the selected rows.
fn is_of_one_text(expr: &Expr) -> bool {
    let ExprKind::Call { args, .. } = expr.kind() else {
        return false;
    };
    let [argument] = &args[..] else {
        return false;
    };
    let is_text = |t: DataType| t.physical() == Physical::Bytes;
    let of_text = matches!(argument.kind(), ExprKind::Column(_)) && is_text(argument.data_type());
    of_text && !is_text(expr.data_type()) && expr.is_native() && !expr.can_raise()
}

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
        let unfiltered = |argument: &&Argument| argument.1.is_none();
        let (free, filtered): (Vec<_>, Vec<_>) = arguments.iter().partition(unfiltered);
        let free = keys.iter().chain(free.iter().map(|argument| &argument.0));
        let (of_text, others): (Vec<_>, Vec<_>) = free.partition(|expr| is_of_one_text(expr));
        let others = others.into_iter().chain(&filters);
        let others = others.chain(filtered.iter().map(|argument| &argument.0));
        let texts = ascending(of_text.into_iter().flat_map(Expr::columns));
        let mut gathered: Vec<usize> = others.flat_map(Expr::columns).collect();
        // Two functions of one column gather it once.
        let twice = texts.windows(2).filter(|pair| pair[0] == pair[1]);
        gathered.extend(twice.map(|pair| pair[0]));
        let mut gathered = ascending(gathered);
        gathered.dedup();
        let mut columns = ascending(texts.into_iter().chain(gathered.iter().copied()));
        columns.dedup();
        let in_place = |expr: &Expr| {
            is_of_one_text(expr) && !expr.columns().iter().any(|c| gathered.contains(c))
        };
        let keys_in_place = keys.iter().map(in_place).collect();
        let arguments_in_place = arguments
            .iter()
            .map(|argument| unfiltered(&argument) && in_place(&argument.0))
            .collect();
        Self {
            keys,
            filters,
            arguments,
            narrow,
            calls: slots,
            columns,
            keys_in_place,
            arguments_in_place,
            gathered,
        }
    }

    /// Evaluates everything for a batch.
    pub fn evaluate(&self, worker: &Worker<'_>, chunk: &Chunk) -> Result<Inputs> {
        let in_place = chunk.rows() * IN_PLACE >= chunk.batch.rows;
        let of_text = |expr: &Expr| {
            let whole = Chunk::all(chunk.batch.clone());
            Ok(chunk.dense_column(&worker.eval(expr, &whole)?))
        };
        // A column that several expressions read is gathered once.
        let dense = &chunk.dense(match in_place {
            true => &self.gathered,
            false => &self.columns,
        });
        let keys = self
            .keys
            .iter()
            .zip(&self.keys_in_place)
            .map(|(key, &of_one_text)| match in_place && of_one_text {
                true => of_text(key),
                false => worker.eval(key, dense),
            })
            .collect::<Result<Vec<_>>>()?;
        if keys.iter().any(|key| has_negative_zero(key)) {
            // A group is shown by what stands for all of its keys, which is 0 for -0.
            return Err(Error::not_native("a negative zero to group by"));
        }
        let mut filtered = Vec::with_capacity(self.filters.len());
        for filter in &self.filters {
            let selection = passing(worker, filter, dense)?;
            filtered.push(Chunk {
                batch: dense.batch.clone(),
                selection,
            });
        }
        let argument = |(number, (expr, filter)): (usize, &Argument)| {
            if in_place && self.arguments_in_place[number] {
                return of_text(expr);
            }
            let chunk = filter.map_or(dense, |filter| &filtered[filter]);
            if self.narrow[number] {
                let values = expr.eval_narrow(&worker.eval, &chunk.batch, &chunk.selection)?;
                if let Some(values) = values {
                    return Ok(values);
                }
            }
            worker.eval(expr, chunk)
        };
        let arguments = self.arguments.iter().enumerate();
        let arguments = arguments.map(argument).collect::<Result<_>>()?;
        let passing = filtered
            .iter()
            .map(|f| positions(&dense.selection, &f.selection))
            .collect();
        Ok(Inputs {
            rows: dense.rows(),
            keys,
            passing,
            arguments,
            calls: self.calls.clone(),
        })
    }
}

fn has_negative_zero(key: &Vector) -> bool {
    macro_rules! any {
        ($values:expr) => {
            (0..)
                .zip($values)
                .any(|(row, value)| *value == 0.0 && value.is_sign_negative() && !key.is_null(row))
        };
    }
    match &key.values {
        Values::F32(values) => any!(values),
        Values::F64(values) => any!(values),
        _ => false,
    }
}

/// The rows of a chunk that an aggregate's filter lets through. Unlike WHERE, it goes on behind a NULL of an AND.
fn passing(worker: &Worker<'_>, filter: &Expr, chunk: &Chunk) -> Result<Selection> {
    if !filter.can_raise() {
        return filter.filter(&worker.eval, &chunk.batch, chunk.selection.clone());
    }
    let values = worker.eval(filter, chunk)?;
    let rows = chunk.selection.indices();
    let is_true = |at: &usize| {
        !values.is_null(*at) && matches!(&values.values, Values::Bool(v) if v[*at] != 0)
    };
    Ok(Selection::Indices(
        (0..rows.len()).filter(is_true).map(|at| rows[at]).collect(),
    ))
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
