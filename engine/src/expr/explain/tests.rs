// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::expr::kernels::datetime::ExtractUnit;

#[test]
fn expressions_read_like_sql() {
    let price = Expr::column(
        2,
        DataType::Numeric {
            precision: 15,
            scale: 2,
        },
    );
    let day = Expr::column(0, DataType::Date);
    let text = Expr::column(1, DataType::TEXT_C);
    let kept = Expr::arith(ArithOp::Sub, Expr::numeric(1, 0).unwrap(), price.clone()).unwrap();
    let from = Expr::compare(CompareOp::Ge, day.clone(), Expr::date(-2191)).unwrap();
    let like = Expr::like(
        text.clone(),
        Expr::text("it's%", DataType::TEXT_C),
        false,
        true,
    )
    .unwrap();
    let case = Expr::case(vec![(Expr::is_null(text), kept)], Some(price)).unwrap();
    assert_eq!(
        Expr::and(vec![from, like]).unwrap().to_string(),
        "(($1 >= '1994-01-01') AND ($2 NOT LIKE 'it''s%'))"
    );
    assert_eq!(
        case.to_string(),
        "CASE WHEN ($2 IS NULL) THEN (1.00 - $3) ELSE $3 END"
    );
    let year = Expr::extract(ExtractUnit::Year, day, None).unwrap();
    assert_eq!(year.to_string(), "extract(year from $1)");
    let external = Expr::external(4, vec![Expr::param(0, DataType::Int4)], DataType::Int4);
    assert_eq!(external.to_string(), "postgres#4(:1)");
}
