// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::error::OutOfRange;
use crate::expr::ir::{ArithOp, CompareOp};
use doris_storage::vector::Bitmap;

/// A vector from optional values; the entries of NULL rows are hostile.
pub(crate) fn ints(values: &[Option<i32>]) -> Arc<Vector> {
    let entries = values.iter().map(|v| v.unwrap_or(i32::MIN)).collect();
    let nulls = values.contains(&None);
    let validity = nulls.then(|| Bitmap::from_bools(values.iter().map(|v| v.is_some())));
    Arc::new(Vector {
        values: Values::I32(entries),
        validity,
    })
}

pub(crate) fn bools(values: &[Option<bool>]) -> Arc<Vector> {
    let entries = values.iter().map(|v| u8::from(v.unwrap_or(true))).collect();
    let nulls = values.contains(&None);
    let validity = nulls.then(|| Bitmap::from_bools(values.iter().map(|v| v.is_some())));
    Arc::new(Vector {
        values: Values::Bool(entries),
        validity,
    })
}

pub(crate) fn texts(values: &[Option<&str>]) -> Arc<Vector> {
    let mut column = BytesColumn::default();
    values
        .iter()
        .for_each(|v| column.push(v.unwrap_or("\u{fffd}garbage").as_bytes()));
    let validity = Some(Bitmap::from_bools(values.iter().map(|v| v.is_some())));
    Arc::new(Vector {
        values: Values::Bytes(column),
        validity,
    })
}

/// The same values as a dictionary vector, with an entry no row uses.
pub(crate) fn dictionary(values: &[Option<&str>], unused: &str) -> Arc<Vector> {
    let mut dict = BytesColumn::default();
    dict.push(unused.as_bytes());
    let mut known: Vec<&str> = vec![unused];
    let codes = values.iter().map(|v| {
        let v = v.unwrap_or(unused);
        let code = known.iter().position(|k| *k == v).unwrap_or_else(|| {
            dict.push(v.as_bytes());
            known.push(v);
            known.len() - 1
        });
        code as u32
    });
    let codes = codes.collect();
    let validity = Some(Bitmap::from_bools(values.iter().map(|v| v.is_some())));
    Arc::new(Vector {
        values: Values::Dict {
            codes,
            dict: Arc::new(dict),
        },
        validity,
    })
}

pub(crate) fn batch(columns: &[Arc<Vector>]) -> Batch {
    Batch::new(columns.to_vec(), columns[0].len())
}

pub(crate) fn scalars(vector: &Vector) -> Vec<Option<Scalar>> {
    (0..vector.len())
        .map(|i| Scalar::of_vector(vector, i))
        .collect()
}

/// Evaluates over all rows.
pub(crate) fn values_of(expr: &Expr, batch: &Batch) -> Result<Vec<Option<Scalar>>> {
    Ok(scalars(&*expr.eval(
        &EvalContext::default(),
        batch,
        &Selection::All(batch.rows),
    )?))
}

fn int_column(index: usize) -> Expr {
    Expr::column(index, DataType::Int4)
}

#[test]
fn a_whole_column_is_shared_not_copied() {
    let column = ints(&[Some(1), None]);
    let batch = batch(&[Arc::clone(&column)]);
    let result = int_column(0)
        .eval(&EvalContext::default(), &batch, &Selection::All(2))
        .unwrap();
    assert!(Arc::ptr_eq(&result, &column));
    let result = int_column(0)
        .eval(
            &EvalContext::default(),
            &batch,
            &Selection::Indices(vec![1]),
        )
        .unwrap();
    assert_eq!(scalars(&result), [None]);
}

#[test]
fn null_and_unselected_rows_raise_nothing() {
    let batch = batch(&[ints(&[Some(7), None, Some(i32::MAX)])]);
    let sum = Expr::arith(ArithOp::Add, int_column(0), Expr::int4(1)).unwrap();
    let ctx = EvalContext::default();
    let result = sum
        .eval(&ctx, &batch, &Selection::Indices(vec![0, 1]))
        .unwrap();
    assert_eq!(scalars(&result), [Some(Scalar::I32(8)), None]);
    let error = sum.eval(&ctx, &batch, &Selection::All(3)).unwrap_err();
    assert_eq!(error, Error::NumericOutOfRange(OutOfRange::Int4));
    assert!(sum
        .eval(&ctx, &batch, &Selection::All(0))
        .unwrap()
        .is_empty());
}

#[test]
fn and_guards_a_division_to_its_right() {
    let batch = batch(&[ints(&[Some(0), Some(2), None])]);
    let nonzero = Expr::compare(CompareOp::Ne, int_column(0), Expr::int4(0)).unwrap();
    let quotient = Expr::arith(ArithOp::Div, Expr::int4(10), int_column(0)).unwrap();
    let large = Expr::compare(CompareOp::Gt, quotient, Expr::int4(3)).unwrap();
    let guarded = Expr::and(vec![nonzero.clone(), large.clone()]).unwrap();
    let truth = values_of(&guarded, &batch).unwrap();
    assert_eq!(
        truth,
        [Some(Scalar::Bool(false)), Some(Scalar::Bool(true)), None]
    );
    let unguarded = Expr::and(vec![large, nonzero]).unwrap();
    assert_eq!(values_of(&unguarded, &batch), Err(Error::DivisionByZero));
}

#[test]
fn constants_fold_unless_they_raise() {
    let three = Expr::arith(ArithOp::Add, Expr::int4(1), Expr::int4(2)).unwrap();
    assert_eq!(three.as_const(), Some(&Some(Scalar::I32(3))));
    let zero = Expr::arith(ArithOp::Div, Expr::int4(1), Expr::int4(0)).unwrap();
    assert_eq!(zero.as_const(), None);
    assert_eq!(
        zero.eval_scalar(&EvalContext::default()),
        Err(Error::DivisionByZero)
    );
}

#[test]
fn a_parameter_is_one_value_for_all_rows() {
    let batch = batch(&[ints(&[Some(1), Some(2)])]);
    let sum = Expr::arith(ArithOp::Mul, int_column(0), Expr::param(0, DataType::Int4)).unwrap();
    let params = [Some(Scalar::I32(5))];
    let result = sum
        .eval(
            &EvalContext::with_params(&params),
            &batch,
            &Selection::All(2),
        )
        .unwrap();
    assert_eq!(
        scalars(&result),
        [Some(Scalar::I32(5)), Some(Scalar::I32(10))]
    );
    let result = sum
        .eval(
            &EvalContext::with_params(&[None]),
            &batch,
            &Selection::All(2),
        )
        .unwrap();
    assert_eq!(scalars(&result), [None, None]);
}

#[test]
fn an_error_in_an_unused_dictionary_entry_is_nobodys() {
    let column = dictionary(&[Some("12"), None, Some("7"), Some("12")], "not a number");
    let to_int = Expr::cast(Expr::column(0, DataType::TEXT_C), DataType::Int4).unwrap();
    let result = values_of(&to_int, &batch(&[column])).unwrap();
    assert_eq!(
        result,
        [
            Some(Scalar::I32(12)),
            None,
            Some(Scalar::I32(7)),
            Some(Scalar::I32(12))
        ]
    );
}

#[test]
fn functions_of_a_dictionary_stay_dictionaries_of_distinct_values() {
    let bpchar = DataType::Bpchar {
        collation: crate::types::Collation::C,
    };
    let column = dictionary(&[Some("a "), Some("a"), Some("b")], "x");
    let to_text = Expr::cast(Expr::column(0, bpchar), DataType::TEXT_C).unwrap();
    let result = to_text
        .eval(
            &EvalContext::default(),
            &batch(&[column]),
            &Selection::All(3),
        )
        .unwrap();
    let Values::Dict { codes, dict } = &result.values else {
        panic!("{result:?}")
    };
    assert_eq!(codes[0], codes[1]);
    assert_eq!(dict.len(), 3);
}

#[test]
fn a_numeric_column_follows_its_proven_bound() {
    let stored = Arc::new(Vector {
        values: Values::I128(vec![250, -7]),
        validity: None,
    });
    let column = Expr::column(
        0,
        DataType::Numeric {
            precision: 8,
            scale: 2,
        },
    );
    let result = values_of(&column, &batch(&[stored])).unwrap();
    assert_eq!(result, [Some(Scalar::I64(250)), Some(Scalar::I64(-7))]);
}

#[test]
fn a_cancelled_query_stops() {
    let flag = std::sync::atomic::AtomicBool::new(true);
    let ctx = EvalContext::new(&[], None, Some(&flag));
    let batch = batch(&[ints(&[Some(1)])]);
    assert_eq!(
        int_column(0)
            .eval(&ctx, &batch, &Selection::All(1))
            .unwrap_err(),
        Error::Cancelled
    );
}
