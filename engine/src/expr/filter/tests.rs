// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::error::Error;
use crate::expr::eval::tests::{batch, bools, dictionary, ints, texts, values_of};
use crate::expr::ir::ArithOp;
use crate::types::DataType;
use proptest::prelude::*;

fn column(index: usize) -> Expr {
    Expr::column(index, DataType::Int4)
}

fn kept(expr: &Expr, batch: &Batch) -> Vec<u32> {
    let kept = expr
        .filter(&EvalContext::default(), batch, Selection::All(batch.rows))
        .unwrap();
    kept.indices().into_owned()
}

#[test]
fn a_null_qual_drops_the_row_before_later_quals() {
    let batch = batch(&[ints(&[Some(0), Some(5)]), bools(&[None, Some(true)])]);
    let flag = Expr::column(1, DataType::Bool);
    let quotient = Expr::arith(ArithOp::Div, Expr::int4(10), column(0)).unwrap();
    let test = Expr::compare(CompareOp::Gt, quotient, Expr::int4(0)).unwrap();
    let quals = Expr::and(vec![flag, test]).unwrap();
    assert_eq!(kept(&quals, &batch), [1]);
    // Not so below an OR, where NULL does not decide an AND.
    let nested = Expr::or(vec![Expr::bool(false), quals]).unwrap();
    let error = nested.filter(&EvalContext::default(), &batch, Selection::All(2));
    assert_eq!(error, Err(Error::DivisionByZero));
}

#[test]
fn an_or_evaluates_its_right_side_on_rows_not_yet_taken() {
    let batch = batch(&[ints(&[Some(0), Some(5), None])]);
    let zero = Expr::compare(CompareOp::Eq, column(0), Expr::int4(0)).unwrap();
    let quotient = Expr::arith(ArithOp::Div, Expr::int4(10), column(0)).unwrap();
    let test = Expr::compare(CompareOp::Eq, quotient, Expr::int4(2)).unwrap();
    assert_eq!(kept(&Expr::or(vec![zero, test]).unwrap(), &batch), [0, 1]);
}

#[test]
fn contradicting_bounds_keep_nothing() {
    let batch = batch(&[ints(&[Some(1), Some(2)])]);
    let below = Expr::compare(CompareOp::Lt, column(0), Expr::int4(i32::MIN)).unwrap();
    assert!(kept(&below, &batch).is_empty());
    let none = Expr::between(column(0), Expr::int4(2), Expr::int4(1)).unwrap();
    assert!(kept(&none, &batch).is_empty());
    let above = Expr::compare(CompareOp::Ge, column(0), Expr::int8(i64::MAX)).unwrap();
    assert!(kept(&above, &batch).is_empty());
}

#[test]
fn text_compares_by_dictionary_entry_and_by_row_alike() {
    let values = [Some("b"), None, Some("a"), Some("b"), Some("")];
    for vector in [dictionary(&values, "zz"), texts(&values)] {
        let batch = batch(&[vector]);
        let text = Expr::column(0, DataType::TEXT_C);
        let b = || Expr::text("b", DataType::TEXT_C);
        let filter = |op, left, right| kept(&Expr::compare(op, left, right).unwrap(), &batch);
        assert_eq!(filter(CompareOp::Eq, text.clone(), b()), [0, 3]);
        assert_eq!(filter(CompareOp::Lt, text.clone(), b()), [2, 4]);
        assert_eq!(filter(CompareOp::Lt, b(), text.clone()), [0u32; 0]);
        assert_eq!(filter(CompareOp::Ge, b(), text.clone()), [0, 2, 3, 4]);
        assert_eq!(kept(&Expr::is_null(text), &batch), [1]);
    }
}

#[test]
fn a_wider_parameter_compares_with_the_column_as_stored() {
    let batch = batch(&[ints(&[Some(1), None, Some(7)])]);
    let params = [Some(Scalar::I64(1 << 40)), Some(Scalar::I64(1))];
    let ctx = EvalContext::with_params(&params);
    let filter = |op, number| {
        let expr = Expr::compare(op, Expr::param(number, DataType::Int8), column(0)).unwrap();
        let kept = expr.filter(&ctx, &batch, Selection::All(3)).unwrap();
        kept.indices().into_owned()
    };
    assert_eq!(filter(CompareOp::Gt, 0), [0, 2]);
    assert_eq!(filter(CompareOp::Ne, 1), [2]);
    assert_eq!(filter(CompareOp::Lt, 1), [2]);
    assert!(filter(CompareOp::Le, 0).is_empty());
}

fn any_op() -> impl Strategy<Value = CompareOp> {
    use CompareOp::*;
    proptest::sample::select(vec![Eq, Ne, Lt, Le, Gt, Ge, Distinct, NotDistinct])
}

fn rows() -> impl Strategy<Value = Vec<Option<i32>>> {
    let value = proptest::option::of(prop_oneof![-3..4i32, Just(i32::MIN), Just(i32::MAX)]);
    proptest::collection::vec(value, 0..200)
}

/// Conditions over one column; each kind takes another path through the filter.
fn condition() -> impl Strategy<Value = Expr> {
    let constant = prop_oneof![-3..4i32, Just(i32::MIN), Just(i32::MAX)].prop_map(Expr::int4);
    let leaf = prop_oneof![
        (any_op(), constant.clone(), any::<bool>()).prop_map(|(op, c, flip)| {
            let (a, b) = if flip { (c, column(0)) } else { (column(0), c) };
            Expr::compare(op, a, b).unwrap()
        }),
        any_op().prop_map(|op| Expr::compare(op, column(0), column(1)).unwrap()),
        any::<bool>().prop_map(|n| if n {
            Expr::is_null(column(1))
        } else {
            Expr::is_not_null(column(1))
        }),
        (
            proptest::collection::vec(constant, 1..8),
            any::<bool>(),
            any::<bool>()
        )
            .prop_map(|(mut list, null, not)| {
                if null {
                    list.push(Expr::null(DataType::Int4));
                }
                Expr::in_list(column(0), list, not).unwrap()
            }),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..4)
                .prop_map(|args| Expr::and(args).unwrap()),
            proptest::collection::vec(inner.clone(), 1..4).prop_map(|args| Expr::or(args).unwrap()),
            inner.prop_map(|arg| Expr::not(arg).unwrap()),
        ]
    })
}

/// SQL's three-valued truth of a condition for one row.
#[allow(clippy::manual_try_fold)] // NULL does not end an AND or OR
fn model(expr: &Expr, row: &[Option<i32>; 2]) -> Option<bool> {
    let value = |e: &Expr| match e.kind() {
        ExprKind::Column(c) => row[*c],
        ExprKind::Const(Some(Scalar::I32(v))) => Some(*v),
        _ => None,
    };
    match expr.kind() {
        ExprKind::Compare { op, left, right } => {
            let (a, b) = (value(left), value(right));
            match op {
                CompareOp::Distinct => return Some(a != b),
                CompareOp::NotDistinct => return Some(a == b),
                _ => {}
            }
            let (a, b) = (a?, b?);
            Some(match op {
                CompareOp::Eq => a == b,
                CompareOp::Ne => a != b,
                CompareOp::Lt => a < b,
                CompareOp::Le => a <= b,
                CompareOp::Gt => a > b,
                _ => a >= b,
            })
        }
        ExprKind::IsNull { arg, negated } => Some(value(arg).is_none() != *negated),
        ExprKind::InList { arg, set, negated } => {
            let v = value(arg)?;
            let one = Operand::Scalar(Some(Scalar::I32(v)));
            // The set's own contents are tested elsewhere; here only how it combines.
            let result = set.test(&one, false, 1).unwrap();
            Scalar::of_vector(&result, 0).map(|s| (s == Scalar::Bool(true)) != *negated)
        }
        ExprKind::And(args) => {
            args.iter()
                .map(|a| model(a, row))
                .fold(Some(true), |x, y| match (x, y) {
                    (Some(false), _) | (_, Some(false)) => Some(false),
                    (Some(true), Some(true)) => Some(true),
                    _ => None,
                })
        }
        ExprKind::Or(args) => args
            .iter()
            .map(|a| model(a, row))
            .fold(Some(false), |x, y| match (x, y) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            }),
        ExprKind::Not(arg) => model(arg, row).map(|t| !t),
        ExprKind::Const(Some(Scalar::Bool(b))) => Some(*b),
        _ => None,
    }
}

proptest! {
    #[test]
    fn filters_and_truth_values_agree_with_the_row_model(
        a in rows(), b in rows(), expr in condition(), step in 1usize..4,
    ) {
        let rows = a.len().min(b.len());
        let batch = batch(&[ints(&a[..rows]), ints(&b[..rows])]);
        let expected: Vec<Option<bool>> = (0..rows).map(|i| model(&expr, &[a[i], b[i]])).collect();
        let truth: Vec<Option<bool>> = values_of(&expr, &batch).unwrap().into_iter()
            .map(|v| v.map(|v| v == Scalar::Bool(true))).collect();
        prop_assert_eq!(&truth, &expected);
        let some: Vec<u32> = (0..rows as u32).step_by(step).collect();
        let want: Vec<u32> = some.iter().copied().filter(|&i| expected[i as usize] == Some(true)).collect();
        let got = expr.filter(&EvalContext::default(), &batch, Selection::Indices(some)).unwrap();
        prop_assert_eq!(got.indices().into_owned(), want);
        let all = expr.filter(&EvalContext::default(), &batch, Selection::All(rows)).unwrap();
        let want: Vec<u32> = (0..rows as u32).filter(|&i| expected[i as usize] == Some(true)).collect();
        prop_assert_eq!(all.indices().into_owned(), want);
    }
}
