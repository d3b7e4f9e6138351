// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;

use super::*;
use crate::batch::Selection;
use crate::error::{Error, Result};
use crate::expr::eval::tests::{batch, ints, scalars};
use crate::expr::{EvalContext, ExternalEval};
use doris_storage::vector::{Values, Vector};

/// Doubles its argument; sees only the rows asked for.
struct Doubling;

impl ExternalEval for Doubling {
    fn eval(&self, id: u32, args: &[Arc<Vector>], rows: usize, _: DataType) -> Result<Vector> {
        assert_eq!((id, args[0].len()), (3, rows));
        let Values::I32(values) = &args[0].values else {
            return Err(Error::internal("integers"));
        };
        let doubled = values.iter().map(|v| v.wrapping_mul(2)).collect();
        Ok(Vector {
            values: Values::I32(doubled),
            validity: args[0].validity.clone(),
        })
    }
}

fn column(index: usize) -> Expr {
    Expr::column(index, DataType::Int4)
}

#[test]
fn external_expressions_run_on_the_driving_thread_only() {
    let call = Expr::external(3, vec![column(0)], DataType::Int4);
    let sum = Expr::arith(ArithOp::Add, call, Expr::int4(1)).unwrap();
    assert!(!sum.is_native() && !sum.is_invariant() && sum.can_raise());
    let batch = batch(&[ints(&[Some(1), None, Some(20)])]);
    let driving = EvalContext::new(&[], Some(&Doubling), None);
    let result = sum
        .eval(&driving, &batch, &Selection::Indices(vec![1, 2]))
        .unwrap();
    assert_eq!(scalars(&result), [None, Some(Scalar::I32(41))]);
    let worker = sum.eval(&EvalContext::default(), &batch, &Selection::All(3));
    assert!(matches!(worker, Err(Error::Internal(_))));
}

#[test]
fn renumbering_moves_columns_and_nothing_else() {
    let sum = Expr::arith(ArithOp::Add, column(4), column(1)).unwrap();
    assert_eq!(sum.columns(), [1, 4]);
    assert_eq!(sum.renumber(&|c| c + 10).columns(), [11, 14]);
}
