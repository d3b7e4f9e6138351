// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::expr::{ArithOp, CompareOp};
use crate::types::DataType;

fn column() -> Expr {
    Expr::column(0, DataType::Int4)
}

fn param() -> Expr {
    Expr::param(0, DataType::Int4)
}

#[test]
fn operations_on_bound_parameters_become_constants() {
    let next = Expr::arith(ArithOp::Add, param(), Expr::int4(1)).unwrap();
    let mut filter = Expr::compare(CompareOp::Lt, column(), next).unwrap();
    let before = filter.id();
    filter.bind(&[Expr::int4(41)]).unwrap();
    assert_eq!(filter.to_string(), "($1 < 42)");
    assert_ne!(
        filter.id(),
        before,
        "results kept for it are of another value"
    );
}

#[test]
fn what_a_value_makes_fail_stays_an_operation() {
    let quotient = Expr::arith(ArithOp::Div, Expr::int4(1), param()).unwrap();
    let guard = Expr::compare(CompareOp::Eq, param(), Expr::int4(0)).unwrap();
    let mut guarded = Expr::case(vec![(guard, Expr::int4(7))], Some(quotient)).unwrap();
    guarded.bind(&[Expr::int4(0)]).unwrap();
    let result = guarded.eval_scalar(&crate::expr::EvalContext::default());
    assert_eq!(result.unwrap(), Some(crate::types::Scalar::I32(7)));
}

#[test]
fn expressions_without_parameters_keep_their_numbers() {
    let mut sum = Expr::arith(ArithOp::Add, column(), Expr::int4(1)).unwrap();
    let before = sum.id();
    sum.bind(&[]).unwrap();
    assert_eq!(sum.id(), before);
}

#[test]
fn values_of_another_type_are_refused() {
    assert!(param().bind(&[Expr::int8(1)]).is_err());
    assert!(param().bind(&[]).is_err());
    let mut null = param();
    null.bind(&[Expr::null(DataType::Int4)]).unwrap();
    assert_eq!(null.as_const(), Some(&None));
}
