// SPDX-License-Identifier: Apache-2.0
use std::sync::atomic::Ordering;

use crate::batch::Batch;
use crate::exec::{Executor, Options};
use crate::expr::{ArithOp, CompareOp, Expr};
use crate::plan::{Join, JoinKey, JoinKind, Node};
use crate::source::{MemorySource, MorselSource};
use crate::testing::{check, random_batches, rows_of, ColumnSpec, Rng, Row};
use crate::types::{DataType, Scalar};

const INT: DataType = DataType::Int4;

fn scan(source: usize) -> Node {
    Node::scan(source as u32, source, vec![0, 1], vec![INT, INT], vec![])
}

/// The different rows of the first table, joined with the whole second: on the first column, and where the second
/// column is less than the table's.
fn plan(kind: JoinKind, residual: bool) -> Node {
    of_sides(
        kind,
        [Node::distinct(2, scan(0)), scan(1)],
        residual.then_some([1, 3]),
        [3, 0, 1],
    )
}

/// The same with the sides exchanged.
fn other_plan(residual: bool) -> Node {
    let sides = [scan(1), Node::distinct(2, scan(0))];
    of_sides(
        JoinKind::Inner,
        sides,
        residual.then_some([3, 1]),
        [1, 2, 3],
    )
}

fn of_sides(
    kind: JoinKind,
    sides: [Node; 2],
    less: Option<[usize; 2]>,
    output: [usize; 3],
) -> Node {
    let key = JoinKey {
        probe: Expr::column(0, INT),
        build: Expr::column(0, INT),
        null_safe: false,
    };
    let residual = less.map(|columns| {
        let [a, b] = columns.map(|column| Expr::column(column, INT));
        Expr::compare(CompareOp::Lt, a, b).unwrap()
    });
    let [probe, build] = sides.map(Box::new);
    let join = Join {
        kind,
        probe,
        build,
        keys: vec![key],
        residual,
        output: output.to_vec(),
    };
    Node::join(3, join)
}

fn tables(distinct: u64, rows: [usize; 2]) -> [Vec<Batch>; 2] {
    let mut rng = Rng::new(21);
    let specs: [ColumnSpec; 2] = [(INT, distinct, true), (INT, 3, false)];
    rows.map(|rows| random_batches(&mut rng, &specs, rows, 100))
}

fn value(row: &Row, column: usize) -> Option<i128> {
    row[column].as_ref().and_then(Scalar::as_i128)
}

fn model(tables: &[Vec<Batch>; 2], residual: bool) -> Vec<Row> {
    let [mut probe, build] = tables.each_ref().map(|table| rows_of(table));
    probe.sort_by_key(|row| (value(row, 0), value(row, 1)));
    probe.dedup_by_key(|row| (value(row, 0), value(row, 1)));
    let mut out = Vec::new();
    for p in &probe {
        let met = |b: &&Row| {
            p[0].is_some() && value(p, 0) == value(b, 0) && (!residual || value(p, 1) < value(b, 1))
        };
        let joined = |b: &Row| vec![b[1].clone(), p[0].clone(), p[1].clone()];
        out.extend(build.iter().filter(met).map(joined));
    }
    out
}

fn sources(tables: &[Vec<Batch>]) -> Vec<Box<dyn MorselSource>> {
    let source = |table: &Vec<Batch>| Box::new(MemorySource::new(table.clone())) as _;
    tables.iter().map(source).collect()
}

/// Whether the sides were exchanged, and the rows that the table's scan did not give.
fn turned(plan: Node, tables: &[Vec<Batch>]) -> (bool, u64) {
    let mut executor = Executor::new(plan, sources(tables), Options::default());
    while executor.next_batch().unwrap().is_some() {}
    let filtered = executor
        .counters(1)
        .runtime_filtered
        .load(Ordering::Relaxed);
    (
        executor.counters(3).turned.load(Ordering::Relaxed) > 0,
        filtered,
    )
}

#[test]
fn the_shorter_side_is_kept_and_filters_the_table() {
    let tables = tables(2000, [40, 2500]);
    for residual in [false, true] {
        check(
            &plan(JoinKind::Inner, residual),
            &tables,
            &model(&tables, residual),
        );
    }
    let (exchanged, filtered) = turned(plan(JoinKind::Inner, false), &tables);
    assert!(exchanged && filtered > 1000);
}

#[test]
fn a_longer_side_streams_after_a_look_at_it() {
    let tables = tables(900, [3000, 2000]);
    for residual in [false, true] {
        check(
            &plan(JoinKind::Inner, residual),
            &tables,
            &model(&tables, residual),
        );
    }
    assert_eq!(turned(plan(JoinKind::Inner, false), &tables), (false, 0));
}

#[test]
fn a_table_is_kept_in_the_place_of_a_longer_side() {
    let long = tables(200, [3000, 60]);
    let short = tables(200, [40, 60]);
    for residual in [false, true] {
        check(&other_plan(residual), &long, &model(&long, residual));
        check(&other_plan(residual), &short, &model(&short, residual));
    }
    assert!(turned(other_plan(false), &long).0);
    assert!(!turned(other_plan(false), &short).0);
}

#[test]
fn other_joins_and_small_tables_stay() {
    let small = tables(900, [10, 900]);
    assert!(!turned(plan(JoinKind::Inner, false), &small).0);
    let large = tables(900, [10, 1500]);
    assert!(!turned(plan(JoinKind::Left, false), &large).0);
    let none = tables(900, [0, 1500]);
    check(&plan(JoinKind::Inner, false), &none, &[]);
}

#[test]
fn an_error_behind_what_was_looked_at_is_raised() {
    let tables = tables(900, [3000, 2000]);
    let mut plan = plan(JoinKind::Inner, false);
    if let crate::plan::Op::Join(join) = &mut plan.op {
        // One of the later rows divides by zero.
        let number = Expr::arith(ArithOp::Sub, Expr::column(0, INT), Expr::int4(700)).unwrap();
        let over = Expr::arith(ArithOp::Div, Expr::int4(1), number).unwrap();
        let exprs = vec![over, Expr::column(1, INT)];
        *join.probe = Node::project(4, (*join.probe).clone(), exprs);
    }
    let mut executor = Executor::new(plan, sources(&tables), Options::default());
    let outcome = loop {
        match executor.next_batch() {
            Ok(Some(_)) => {}
            other => break other.map(|_| ()),
        }
    };
    assert!(outcome.is_err(), "{outcome:?}");
}
