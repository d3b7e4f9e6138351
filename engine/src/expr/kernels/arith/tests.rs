// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;

use super::*;
use crate::decimal::View;
use crate::expr::eval::tests::{batch, values_of};
use crate::expr::Expr;
use crate::types::Scalar;
use doris_storage::vector::Values;
use proptest::prelude::*;

fn numeric(precision: u8, scale: i16) -> DataType {
    DataType::Numeric { precision, scale }
}

#[test]
fn a_product_past_38_digits_is_refused_or_checked() {
    let wide = || Expr::column(0, numeric(20, 2));
    let refused = Expr::arith(ArithOp::Mul, wide(), wide());
    assert!(refused.unwrap_err().needs_postgres());
    let checked = Expr::arith_checked(ArithOp::Mul, wide(), wide()).unwrap();
    assert!(checked.can_raise());
    let over = |value: i128| {
        let column = Arc::new(Vector {
            values: Values::I128(vec![value]),
            validity: None,
        });
        values_of(&checked, &batch(&[column]))
    };
    assert_eq!(
        over(1_000_000_007),
        Ok(vec![Some(Scalar::I128(1_000_000_007i128.pow(2)))])
    );
    assert_eq!(over(10i128.pow(19)), Err(Error::NumericTooWide));
    assert_eq!(over(10i128.pow(20) - 1), Err(Error::NumericTooWide));
}

#[test]
fn tpch_charge_fits_64_bits_under_proven_bounds() {
    let one = || Expr::numeric(1, 0).unwrap();
    let (price, discount, tax) = (
        Expr::column(0, numeric(9, 2)),
        Expr::column(1, numeric(2, 2)),
        Expr::column(2, numeric(2, 2)),
    );
    let kept = Expr::arith(ArithOp::Sub, one(), discount).unwrap();
    let taxed = Expr::arith(ArithOp::Add, one(), tax).unwrap();
    let charge = Expr::arith(
        ArithOp::Mul,
        Expr::arith(ArithOp::Mul, price, kept).unwrap(),
        taxed,
    )
    .unwrap();
    assert_eq!(charge.data_type(), numeric(17, 6));
    assert!(!charge.can_raise());
    let column = |v: i64| {
        Arc::new(Vector {
            values: Values::I64(vec![v]),
            validity: None,
        })
    };
    let result = values_of(&charge, &batch(&[column(123_456), column(6), column(8)])).unwrap();
    assert_eq!(result, [Some(Scalar::I64(123_456 * 94 * 108))]);
}

#[test]
fn quotients_carry_their_scale() {
    let quotient = Expr::arith(
        ArithOp::Div,
        Expr::column(0, numeric(5, 2)),
        Expr::column(1, numeric(5, 0)),
    )
    .unwrap();
    assert_eq!(quotient.data_type(), DataType::Decimal);
    let column = |values: Vec<i64>| {
        Arc::new(Vector {
            values: Values::I64(values),
            validity: None,
        })
    };
    let rows = batch(&[column(vec![100, 12_345, -5]), column(vec![3, 60_000, 7])]);
    let values = values_of(&quotient, &rows).unwrap();
    let texts: Vec<String> = values
        .iter()
        .map(|value| match value {
            Some(Scalar::Bytes(bytes)) => View::new(bytes).number().to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    let wanted = [
        "0.33333333333333333333",
        "0.00205750000000000000",
        "-0.00714285714285714286",
    ];
    assert_eq!(texts, wanted);
    let by_zero = values_of(&quotient, &batch(&[column(vec![1]), column(vec![0])]));
    assert_eq!(by_zero, Err(Error::DivisionByZero));
}

#[test]
fn mixed_widths_compute_in_the_wider() {
    let columns = [
        Arc::new(Vector {
            values: Values::I16(vec![i16::MAX]),
            validity: None,
        }),
        Arc::new(Vector {
            values: Values::I32(vec![i32::MAX - 32_767]),
            validity: None,
        }),
    ];
    let (small, large) = (
        Expr::column(0, DataType::Int2),
        Expr::column(1, DataType::Int4),
    );
    let sum = Expr::arith(ArithOp::Add, small, large).unwrap();
    assert_eq!(
        values_of(&sum, &batch(&columns)).unwrap(),
        [Some(Scalar::I32(i32::MAX))]
    );
}

proptest! {
    #[test]
    fn numeric_arithmetic_is_exact_at_every_layout(
        a in -999_999_999_999i64..1_000_000_000_000, b in -99_999i64..100_000,
        p1 in 12u8..30, s1 in 0i16..6, p2 in 5u8..8, s2 in 0i16..5,
        op in proptest::sample::select(vec![ArithOp::Add, ArithOp::Sub, ArithOp::Mul, ArithOp::Mod]),
    ) {
        let column = |v: i64| Arc::new(Vector { values: Values::I64(vec![v, v]), validity: None });
        let batch = batch(&[column(a), column(b)]);
        let expr = Expr::arith(op, Expr::column(0, numeric(p1, s1)), Expr::column(1, numeric(p2, s2))).unwrap();
        let scale = s1.max(s2);
        let at = |v: i64, s: i16| i128::from(v) * 10i128.pow((scale - s) as u32);
        let expected = match op {
            ArithOp::Add => Ok(at(a, s1) + at(b, s2)),
            ArithOp::Sub => Ok(at(a, s1) - at(b, s2)),
            ArithOp::Mul => Ok(i128::from(a) * i128::from(b)),
            _ if b == 0 => Err(Error::DivisionByZero),
            _ => Ok(at(a, s1) % at(b, s2)),
        };
        let got = values_of(&expr, &batch).map(|values| values[0].as_ref().and_then(Scalar::as_i128).unwrap());
        prop_assert_eq!(got, expected);
    }
}
