// SPDX-License-Identifier: Apache-2.0
use crate::expr::build::cast::DisplayScale;
use crate::expr::eval::tests::{batch, bools, dictionary, ints, texts, values_of};
use crate::expr::{ArithOp, CompareOp, Expr};
use crate::types::{DataType, Scalar};

fn int(index: usize) -> Expr {
    Expr::column(index, DataType::Int4)
}

fn i32s(values: &[Option<i32>]) -> Vec<Option<Scalar>> {
    values.iter().map(|v| v.map(Scalar::I32)).collect()
}

fn over_zero(index: usize) -> Expr {
    Expr::arith(ArithOp::Div, Expr::int4(100), int(index)).unwrap()
}

#[test]
fn a_branch_sees_only_the_rows_that_reach_it() {
    let batch = batch(&[ints(&[Some(0), Some(5), None, Some(-1)])]);
    let is_zero = Expr::compare(CompareOp::Eq, int(0), Expr::int4(0)).unwrap();
    let positive = Expr::compare(CompareOp::Gt, over_zero(0), Expr::int4(0)).unwrap();
    let case = Expr::case(
        vec![(is_zero, Expr::int4(-7)), (positive, over_zero(0))],
        None,
    )
    .unwrap();
    assert_eq!(
        values_of(&case, &batch).unwrap(),
        i32s(&[Some(-7), Some(20), None, None])
    );
}

#[test]
fn coalesce_stops_at_the_first_value() {
    let batch = batch(&[
        ints(&[Some(3), None, None]),
        ints(&[Some(0), Some(4), None]),
    ]);
    let coalesce = Expr::coalesce(vec![int(0), over_zero(1), Expr::int4(9)]).unwrap();
    assert_eq!(
        values_of(&coalesce, &batch).unwrap(),
        i32s(&[Some(3), Some(25), Some(9)])
    );
}

#[test]
fn null_if_and_simple_case_compare_by_equality() {
    let batch = batch(&[ints(&[Some(1), Some(2), None])]);
    let null_if = Expr::null_if(int(0), Expr::int4(2)).unwrap();
    assert_eq!(
        values_of(&null_if, &batch).unwrap(),
        i32s(&[Some(1), None, None])
    );
    let case = Expr::case_of(
        int(0),
        vec![(Expr::int4(1), Expr::int4(10))],
        Some(Expr::int4(0)),
    )
    .unwrap();
    assert_eq!(
        values_of(&case, &batch).unwrap(),
        i32s(&[Some(10), Some(0), Some(0)])
    );
}

#[test]
fn greatest_and_least_ignore_nulls() {
    let batch = batch(&[
        ints(&[Some(1), Some(9), None]),
        ints(&[Some(5), None, None]),
    ]);
    let greatest = Expr::greatest(vec![int(0), int(1)]).unwrap();
    assert_eq!(
        values_of(&greatest, &batch).unwrap(),
        i32s(&[Some(5), Some(9), None])
    );
    let least = Expr::least(vec![int(0), int(1), Expr::int4(3)]).unwrap();
    assert_eq!(
        values_of(&least, &batch).unwrap(),
        i32s(&[Some(1), Some(3), Some(3)])
    );
}

#[test]
fn text_results_of_several_shapes_come_together() {
    let flags = bools(&[Some(true), Some(false), None]);
    let columns = [
        flags,
        dictionary(&[Some("d"), Some("e"), Some("f")], "x"),
        texts(&[Some("p"), None, Some("q")]),
    ];
    let text = |i| Expr::column(i, DataType::TEXT_C);
    let case = Expr::case(
        vec![(Expr::column(0, DataType::Bool), text(1))],
        Some(text(2)),
    )
    .unwrap();
    let expected = [Some(Scalar::bytes("d")), None, Some(Scalar::bytes("q"))];
    assert_eq!(values_of(&case, &batch(&columns)).unwrap(), expected);
}

#[test]
fn mixed_scales_are_told_row_by_row() {
    let flags = bools(&[Some(true), Some(false)]);
    let two = Expr::numeric(150, 2).unwrap();
    let none = Expr::numeric(0, 0).unwrap();
    let case = Expr::case(
        vec![(Expr::column(0, DataType::Bool), two.clone())],
        Some(none),
    )
    .unwrap();
    let product = Expr::arith(ArithOp::Mul, case, Expr::numeric(2, 1).unwrap()).unwrap();
    assert_eq!(
        product.data_type(),
        DataType::Numeric {
            precision: 4,
            scale: 3
        }
    );
    let DisplayScale::Varying(scale) = product.display_scale().unwrap() else {
        panic!("the scale varies")
    };
    let scales = values_of(&scale, &batch(&[flags])).unwrap();
    assert_eq!(scales, [Some(Scalar::I16(3)), Some(Scalar::I16(1))]);
    assert!(matches!(two.display_scale(), Ok(DisplayScale::Static(2))));
}
