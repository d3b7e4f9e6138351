// SPDX-License-Identifier: Apache-2.0
use std::ops::Range;
use std::sync::Arc;

use super::*;
use crate::batch::Batch;
use crate::exec::{Executor, Options};
use crate::plan::{Aggregate, Node};
use crate::source::{Morsel, MorselSource};
use crate::testing::{random_batches, rows_of, ColumnSpec, Rng};
use crate::types::{DataType, Scalar};

/// A source whose even morsels know summaries and cannot decode.
struct Knowing {
    batches: Vec<Batch>,
    needs: Vec<NeededSummary>,
}

struct Known(u64, Vec<ColumnSummary>);
struct Stored(Batch);

impl MorselSource for Knowing {
    fn next(&mut self) -> Result<Option<Box<dyn Morsel>>> {
        let Some(batch) = self.batches.pop() else {
            return Ok(None);
        };
        if self.needs.is_empty() || self.batches.len() % 2 == 1 {
            return Ok(Some(Box::new(Stored(batch))));
        }
        let summaries = self.needs.iter().map(|need| summary(&batch, need.column));
        Ok(Some(Box::new(Known(
            batch.rows as u64,
            summaries.collect(),
        ))))
    }

    fn prefer_summaries(&mut self, needs: &[NeededSummary]) {
        self.needs = needs.to_vec();
    }
}

fn summary(batch: &Batch, column: usize) -> ColumnSummary {
    let vector = &batch.columns[column];
    let value = |row: usize| Scalar::of_vector(vector, row).and_then(|v| v.as_i128());
    let values: Vec<i128> = (0..batch.rows).filter_map(value).collect();
    let extremes = values.iter().min().zip(values.iter().max());
    ColumnSummary {
        values: values.len() as u64,
        extremes: extremes.map(|(&min, &max)| (min, max)),
        sum: Some(values.iter().sum()),
    }
}

impl Morsel for Known {
    fn rows(&self) -> usize {
        self.0 as usize
    }
    fn summaries(&self) -> Option<Vec<ColumnSummary>> {
        Some(self.1.clone())
    }
    fn load(&mut self, _: usize, _: Range<usize>) -> Result<Arc<Vector>> {
        Err(Error::internal("asked to decode"))
    }
    fn load_selected(&mut self, _: usize, _: &[u32], _: &mut Vector) -> Result<()> {
        Err(Error::internal("asked to decode"))
    }
}

impl Morsel for Stored {
    fn rows(&self) -> usize {
        self.0.rows
    }
    fn load(&mut self, column: usize, rows: Range<usize>) -> Result<Arc<Vector>> {
        Ok(Arc::new(self.0.columns[column].slice(rows)))
    }
    fn load_selected(&mut self, column: usize, rows: &[u32], out: &mut Vector) -> Result<()> {
        *out = self.0.columns[column].take(rows);
        Ok(())
    }
}

const SPECS: [ColumnSpec; 3] = [
    (DataType::Int2, 300, true),
    (DataType::Int4, 5000, true),
    (DataType::Int8, 5000, false),
];

fn plan() -> Node {
    use AggregateFunction::*;
    let scan = Node::scan(
        2,
        0,
        vec![2, 1, 0],
        vec![SPECS[2].0, SPECS[1].0, SPECS[0].0],
        vec![],
    );
    let columns = (0..3).map(|column| Expr::column(column, SPECS[2 - column].0));
    let scan = Node::project(0, scan, columns.collect());
    let call = |function, argument: Option<Expr>| AggregateCall {
        function,
        argument,
        distinct: false,
        filter: None,
    };
    let mut calls = vec![call(CountStar, None)];
    for (column, spec) in [(0, SPECS[2].0), (1, SPECS[1].0), (2, SPECS[0].0)] {
        for function in [Count, Sum, Avg, Min, Max] {
            calls.push(call(function, Some(Expr::column(column, spec))));
        }
    }
    // sum(smallint + constant), which asks for sum and count.
    let narrow = Expr::column(2, DataType::Int2);
    for shift in [1, -40] {
        let constant = Expr::constant(Scalar::I32(shift), DataType::Int4).unwrap();
        let sum = Expr::arith(crate::expr::ArithOp::Add, narrow.clone(), constant).unwrap();
        calls.push(call(Sum, Some(sum)));
    }
    Node::aggregate(
        1,
        Aggregate {
            input: Box::new(scan),
            keys: vec![],
            calls,
            grouping_sets: None,
        },
    )
}

#[test]
fn summaries_give_the_answers_of_the_rows() {
    for rows in [0, 50, 1000] {
        let batches = random_batches(&mut Rng::new(rows as u64), &SPECS, rows, 90);
        let memory = crate::source::MemorySource::new(batches.clone());
        let knowing = Knowing {
            batches,
            needs: vec![],
        };
        let answer = |source: Box<dyn MorselSource>| {
            let mut executor = Executor::new(plan(), vec![source], Options::default());
            let batch = executor.next_batch().unwrap().unwrap();
            rows_of(&[batch])
        };
        assert_eq!(answer(Box::new(knowing)), answer(Box::new(memory)));
    }
}

#[test]
fn what_needs_values_is_not_summarised() {
    let node = plan();
    let crate::plan::Op::Aggregate(aggregate) = &node.op else {
        panic!("not an aggregation");
    };
    assert!(Totals::of(&aggregate.calls[..4], &aggregate.input).is_some());
    let mut distinct = aggregate.calls[1].clone();
    distinct.distinct = true;
    assert!(Totals::of(&[distinct], &aggregate.input).is_none());
}

/// A source that leaves out rows it has handed out before, where it may.
struct Forgetting {
    rows: Batch,
    values: bool,
    done: bool,
}

impl MorselSource for Forgetting {
    fn next(&mut self) -> Result<Option<Box<dyn Morsel>>> {
        if std::mem::replace(&mut self.done, true) {
            return Ok(None);
        }
        let rows = self.rows.clone();
        if !self.values {
            return Ok(Some(Box::new(Stored(rows))));
        }
        let mut seen = Vec::new();
        let all = rows_of(std::slice::from_ref(&rows));
        let first = |row: &u32| {
            let new = !seen.contains(&all[*row as usize]);
            if new {
                seen.push(all[*row as usize].clone());
            }
            new
        };
        let kept: Vec<u32> = (0..rows.rows as u32).filter(first).collect();
        let columns = rows.columns.iter().map(|c| Arc::new(c.take(&kept)));
        Ok(Some(Box::new(Stored(Batch::new(
            columns.collect(),
            kept.len(),
        )))))
    }

    fn prefer_values(&mut self) {
        self.values = true;
    }
}

/// Runs a plan over a column of few values; its rows in order, and whether repeated ones were left out.
fn forgetful(plan: impl Fn(Node) -> Node, filtered: bool) -> (Vec<Vec<Option<Scalar>>>, bool) {
    let spec: ColumnSpec = (DataType::Int4, 30, true);
    let rows = random_batches(&mut Rng::new(7), &[spec], 900, 900).remove(0);
    let answer = |may_forget: bool| {
        let column = Expr::column(0, spec.0);
        let limit = Expr::constant(Scalar::I32(9), spec.0).unwrap();
        let filter = Expr::compare(crate::expr::CompareOp::Lt, column, limit).unwrap();
        let filters = if filtered { vec![filter] } else { vec![] };
        let node = plan(Node::scan(1, 0, vec![0], vec![spec.0], filters));
        let source: Box<dyn MorselSource> = match may_forget {
            true => Box::new(Forgetting {
                rows: rows.clone(),
                values: false,
                done: false,
            }),
            false => Box::new(crate::source::MemorySource::new([rows.clone()])),
        };
        let mut executor = Executor::new(node, vec![source], Options::default());
        let mut out = Vec::new();
        while let Some(batch) = executor.next_batch().unwrap() {
            out.extend(rows_of(&[batch]));
        }
        out.sort_by_key(|row| format!("{row:?}"));
        let read = executor
            .counters(1)
            .rows_in
            .load(std::sync::atomic::Ordering::Relaxed);
        (out, read < rows.rows as u64)
    };
    let (rows, less) = answer(true);
    assert_eq!(rows, answer(false).0);
    (rows, less)
}

#[test]
fn values_that_repeat_may_be_left_out() {
    use AggregateFunction::*;
    let column = || Expr::column(0, DataType::Int4);
    let aggregate = |keys: bool, calls: &[(AggregateFunction, bool)]| {
        let calls = calls.to_vec();
        move |input: Node| {
            let key = crate::plan::GroupKey {
                expr: column(),
                nullable: true,
            };
            let call = |&(function, distinct): &(AggregateFunction, bool)| AggregateCall {
                function,
                argument: Some(column()),
                distinct,
                filter: None,
            };
            Node::aggregate(
                3,
                Aggregate {
                    input: Box::new(Node::project(2, input, vec![column()])),
                    keys: if keys { vec![key] } else { vec![] },
                    calls: calls.iter().map(call).collect(),
                    grouping_sets: None,
                },
            )
        }
    };
    for filtered in [false, true] {
        assert!(forgetful(aggregate(true, &[]), filtered).1);
        assert!(forgetful(aggregate(false, &[(Count, true)]), filtered).1);
        assert!(forgetful(aggregate(true, &[(Min, false), (BitOr, false)]), filtered).1);
        assert!(!forgetful(aggregate(true, &[(Count, false)]), filtered).1);
        assert!(!forgetful(aggregate(false, &[(Min, false), (BitXor, false)]), filtered).1);
        assert!(forgetful(|input| Node::distinct(2, input), filtered).1);
    }
}
