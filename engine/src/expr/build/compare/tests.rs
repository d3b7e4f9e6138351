// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;

use super::*;
use crate::expr::eval::tests::{batch, values_of};
use doris_storage::vector::{Bitmap, Values, Vector};
use proptest::prelude::*;

fn any_op() -> impl Strategy<Value = CompareOp> {
    use CompareOp::*;
    proptest::sample::select(vec![Eq, Ne, Lt, Le, Gt, Ge, Distinct, NotDistinct])
}

fn holds(op: CompareOp, a: i128, b: i128) -> bool {
    match op {
        CompareOp::Eq | CompareOp::NotDistinct => a == b,
        CompareOp::Ne | CompareOp::Distinct => a != b,
        CompareOp::Lt => a < b,
        CompareOp::Le => a <= b,
        CompareOp::Gt => a > b,
        CompareOp::Ge => a >= b,
    }
}

proptest! {
    #[test]
    fn a_numeric_compares_with_constants_of_any_scale(
        op in any_op(), value in -1200i64..1200, constant in -12_000i64..12_000, scale in 0i16..6, flip in any::<bool>(),
    ) {
        let validity = Some(Bitmap::from_bools([true, false]));
        let column = Arc::new(Vector { values: Values::I64(vec![value, 0]), validity });
        let data_type = DataType::Numeric { precision: 10, scale: 2 };
        let (column_expr, constant_expr) =
            (Expr::column(0, data_type), Expr::numeric(constant.into(), scale).unwrap());
        let expr = match flip {
            true => Expr::compare(op, constant_expr, column_expr),
            false => Expr::compare(op, column_expr, constant_expr),
        };
        let at_six = |v: i64, s: i16| i128::from(v) * 10i128.pow((6 - s) as u32);
        let (a, b) = (at_six(value, 2), at_six(constant, scale));
        let expected = if flip { holds(op, b, a) } else { holds(op, a, b) };
        let null = match op {
            CompareOp::Distinct => Some(Scalar::Bool(true)),
            CompareOp::NotDistinct => Some(Scalar::Bool(false)),
            _ => None,
        };
        let got = values_of(&expr.unwrap(), &batch(&[column])).unwrap();
        prop_assert_eq!(got, vec![Some(Scalar::Bool(expected)), null]);
    }
}

proptest! {
    #[test]
    fn a_date_compares_with_constant_timestamps(
        op in any_op(), day in -40i32..40, hours in -900i64..900, second in any::<bool>(), flip in any::<bool>(),
    ) {
        let micros = hours * 3_600_000_000 + i64::from(second);
        let column = Arc::new(Vector { values: Values::I32(vec![day, i32::MIN, i32::MAX]), validity: None });
        let column_expr = Expr::column(0, DataType::Date);
        let constant = Expr::constant(Scalar::I64(micros), DataType::Timestamp).unwrap();
        let expr = match flip {
            true => Expr::compare(op, constant, column_expr),
            false => Expr::compare(op, column_expr, constant),
        }.unwrap();
        let expected = |days: i128| {
            let (a, b) = (days * 86_400_000_000, i128::from(micros));
            Some(Scalar::Bool(if flip { holds(op, b, a) } else { holds(op, a, b) }))
        };
        let far = 1i128 << 60;
        let expected = vec![expected(day.into()), expected(-far), expected(far)];
        prop_assert_eq!(values_of(&expr, &batch(&[column])).unwrap(), expected);
    }
}

#[test]
fn a_date_against_a_constant_timestamp_compares_days() {
    let compare = |op, micros| {
        let constant = Expr::constant(Scalar::I64(micros), DataType::Timestamp).unwrap();
        Expr::compare(op, Expr::column(0, DataType::Date), constant).unwrap()
    };
    let context = crate::expr::EvalContext::default();
    let range = |op, micros| compare(op, micros).integer_range(&context).unwrap();
    let day = 86_400_000_000;
    assert_eq!(range(CompareOp::Lt, 3 * day), Some((0, i128::MIN, 2)));
    assert_eq!(range(CompareOp::Lt, 3 * day + 1), Some((0, i128::MIN, 3)));
    assert_eq!(range(CompareOp::Ge, 3 * day - 1), Some((0, 3, i128::MAX)));
    assert_eq!(range(CompareOp::Eq, 3 * day), Some((0, 3, 3)));
    assert_eq!(range(CompareOp::Lt, i64::MAX), None);
}

#[test]
fn text_orders_only_by_bytes_and_equals_under_any_deterministic_collation() {
    let text = |collation| Expr::column(0, DataType::Text { collation });
    let compare = |op, collation| Expr::compare(op, text(collation), text(collation));
    assert!(compare(CompareOp::Lt, Collation::C).is_ok());
    assert!(compare(CompareOp::Eq, Collation::Deterministic).is_ok());
    assert!(compare(CompareOp::Lt, Collation::Deterministic)
        .unwrap_err()
        .needs_postgres());
    assert!(compare(CompareOp::Eq, Collation::Other)
        .unwrap_err()
        .needs_postgres());
}

proptest! {
    #[test]
    fn multiples_are_compared_as_what_they_are_multiples_of(op in any_op(), unit in 1..12i128, value in -40..40i128) {
        match op.of_multiple(unit, value) {
            None => prop_assert!(op.is_equality() && value % unit != 0),
            Some((said, floor)) => {
                for x in -50..50 {
                    prop_assert_eq!(holds(op, unit * x, value), holds(said, x, floor), "{}", x);
                }
            }
        }
    }
}
