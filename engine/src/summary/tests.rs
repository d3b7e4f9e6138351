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
    needs: Vec<Need>,
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

    fn prefer_summaries(&mut self, needs: &[Need]) {
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
