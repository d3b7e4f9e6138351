// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::batch::Batch;
use crate::exec::Options;
use crate::expr::{ArithOp, CompareOp};
use crate::plan::{
    Aggregate, AggregateCall, AggregateFunction, Frame, GroupKey, Join, JoinKey, JoinKind, SortKey,
    WindowFunction,
};
use crate::testing::{canonical, random_batches, rows_of, run, Rng};
use crate::types::{DataType, Scalar};

fn column(index: usize) -> Expr {
    Expr::column(index, DataType::Int4)
}

fn param(number: usize) -> Expr {
    Expr::param(number, DataType::Int4)
}

fn plus(expr: Expr, number: usize) -> Expr {
    let small = Expr::arith(ArithOp::Mod, expr, Expr::int4(97)).unwrap();
    Expr::arith(ArithOp::Add, small, param(number)).unwrap()
}

fn scan(source: usize) -> Node {
    let below = Expr::compare(CompareOp::Lt, column(0), param(source)).unwrap();
    let types = vec![DataType::Int4; 2];
    Node::scan(source as u32, source, vec![0, 1], types, vec![below])
}

/// A plan with a parameter in every place that has an expression.
fn plan() -> Node {
    let join = Join {
        kind: JoinKind::Inner,
        probe: Box::new(scan(0)),
        build: Box::new(scan(1)),
        keys: vec![JoinKey {
            probe: plus(column(0), 0),
            build: plus(column(0), 1),
            null_safe: false,
        }],
        residual: Some(Expr::compare(CompareOp::Ne, column(1), param(1)).unwrap()),
        output: vec![0, 1, 3],
    };
    let filtered = Node::filter(
        3,
        Node::join(2, join),
        Expr::compare(CompareOp::Ne, column(1), param(0)).unwrap(),
    );
    let sum = AggregateCall {
        function: AggregateFunction::Sum,
        argument: Some(plus(column(1), 1)),
        distinct: false,
        filter: Some(Expr::compare(CompareOp::Le, column(2), param(1)).unwrap()),
    };
    let grouped = Node::aggregate(
        4,
        Aggregate {
            input: Box::new(filtered),
            keys: vec![GroupKey {
                expr: plus(column(2), 0),
                nullable: true,
            }],
            calls: vec![sum],
            grouping_sets: None,
        },
    );
    let key = SortKey {
        expr: plus(column(0), 0),
        descending: false,
        nulls_first: false,
    };
    let mut lag = WindowCall::new(WindowFunction::Offset(-1), Some(plus(column(0), 0)));
    lag.default = Some(param(1));
    let window = Window {
        input: Box::new(Node::sort(5, grouped, vec![key])),
        partition: vec![param(1)],
        order: vec![plus(column(0), 0)],
        frame: Frame::DEFAULT,
        range: None,
        calls: vec![lag],
    };
    let shown = vec![column(0), plus(column(2), 0)];
    Node::project(7, Node::window(6, window), shown)
}

#[test]
fn a_bound_plan_gives_what_the_parameters_give() {
    let mut rng = Rng::new(5);
    let tables: Vec<Vec<Batch>> = (0..2)
        .map(|_| random_batches(&mut rng, &[(DataType::Int4, 60, true); 2], 300, 50))
        .collect();
    let mut rows = 0;
    for (a, b) in [(40, 30), (3, 50), (1000, 1000)] {
        let values = [Expr::int4(a), Expr::int4(b)];
        let options = Options {
            params: vec![Some(Scalar::I32(a)), Some(Scalar::I32(b))],
            ..Options::default()
        };
        let expected = run(&plan(), &tables, options).unwrap();
        let bound = plan().bound(&values).unwrap();
        let found = run(&bound, &tables, Options::default()).unwrap();
        assert_eq!(canonical(&rows_of(&found)), canonical(&rows_of(&expected)));
        rows += rows_of(&found).len();
    }
    assert!(rows > 0);
    assert!(plan().bound(&[Expr::int4(1)]).is_err());
}
