// SPDX-License-Identifier: Apache-2.0
use doris_storage::vector::Bitmap;

use super::*;

fn decimal(precision: u8, scale: i16) -> DataType {
    DataType::Numeric { precision, scale }
}

fn column(number: usize) -> Expr {
    Expr::column(number, decimal(15, 2))
}

/// `a * (1 - b) * (1 + b)`, whose type asks for 128 bits.
fn product() -> Expr {
    let one = || Expr::constant(Scalar::I64(1), decimal(1, 0)).unwrap();
    let less = Expr::arith_checked(ArithOp::Sub, one(), column(1)).unwrap();
    let more = Expr::arith_checked(ArithOp::Add, one(), column(1)).unwrap();
    let first = Expr::arith_checked(ArithOp::Mul, column(0), less).unwrap();
    Expr::arith_checked(ArithOp::Mul, first, more).unwrap()
}

fn batch(a: Vec<i64>, b: Vec<i64>) -> Batch {
    let rows = a.len();
    let vector = |values, validity| {
        Arc::new(Vector {
            values: Values::I64(values),
            validity,
        })
    };
    let some = Bitmap::from_bools((0..rows).map(|row| row % 3 != 0));
    Batch::new(vec![vector(a, None), vector(b, Some(some))], rows)
}

#[test]
fn narrow_values_are_the_wide_ones() {
    let expr = product();
    assert!(expr.may_be_narrow());
    let batch = batch(
        (0..100).map(|i| i * 104_949 - 5_000_000).collect(),
        (0..100).map(|i| i % 11 - 3).collect(),
    );
    let (ctx, all) = (EvalContext::default(), Selection::All(100));
    let wide = expr.eval(&ctx, &batch, &all).unwrap();
    let narrow = expr.eval_narrow(&ctx, &batch, &all).unwrap().unwrap();
    let (Values::I128(wide_values), Values::I64(values)) = (&wide.values, &narrow.values) else {
        panic!("other layouts than expected");
    };
    assert_eq!(wide.validity, narrow.validity);
    for row in (0..100).filter(|&row| !wide.is_null(row)) {
        assert_eq!(wide_values[row], i128::from(values[row]));
    }
}

#[test]
fn what_might_overflow_is_not_narrow() {
    let expr = product();
    let ctx = EvalContext::default();
    for large in [999_999_999_999_999, -999_999_999_999_999, i64::MIN] {
        let batch = batch(vec![large; 4], vec![99_999; 4]);
        let narrow = expr.eval_narrow(&ctx, &batch, &Selection::All(4));
        assert!(narrow.unwrap().is_none());
    }
}

#[test]
fn magnitudes_are_bounds() {
    for values in [
        vec![0],
        vec![-1],
        vec![1, -128],
        vec![i64::MAX],
        vec![i64::MIN],
    ] {
        let most = values.iter().map(|v| v.unsigned_abs()).max().unwrap();
        assert!(magnitude(&values) >= most, "{values:?}");
    }
    assert!(magnitude(&[7, -8]) <= 16);
}
