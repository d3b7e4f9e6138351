// SPDX-License-Identifier: Apache-2.0
use std::cmp::Ordering;
use std::sync::Arc;

use doris_storage::vector::{Values, Vector};

use crate::batch::Batch;
use crate::error::Error;
use crate::expr::Expr;
use crate::plan::{Node, SortKey};
use crate::testing::{
    canonical, random_batches, rows_of, run, text_of_locale, ways, ColumnSpec, Rng, Row,
};
use crate::types::{Collation, DataType, Scalar};

fn scan(specs: &[ColumnSpec]) -> Node {
    Node::scan(
        0,
        0,
        (0..specs.len()).collect(),
        specs.iter().map(|s| s.0).collect(),
        vec![],
    )
}

fn compare_values(t: DataType, a: &Scalar, b: &Scalar) -> Ordering {
    let collation = t.collation().unwrap_or(Collation::C);
    match (a, b) {
        (Scalar::F64(x), Scalar::F64(y)) => x
            .partial_cmp(y)
            .unwrap_or_else(|| x.is_nan().cmp(&y.is_nan())),
        (Scalar::Bytes(x), Scalar::Bytes(y)) => collation.compare(x, y),
        (Scalar::Bool(x), Scalar::Bool(y)) => x.cmp(y),
        _ => a.as_i128().cmp(&b.as_i128()),
    }
}

/// PostgreSQL's order of two rows, by the model.
fn compare(specs: &[ColumnSpec], keys: &[(usize, bool, bool)], a: &Row, b: &Row) -> Ordering {
    for &(column, descending, nulls_first) in keys {
        let t = specs[column].0;
        let order = match (&a[column], &b[column]) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => {
                if nulls_first {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
            (Some(_), None) => {
                if nulls_first {
                    Ordering::Greater
                } else {
                    Ordering::Less
                }
            }
            (Some(x), Some(y)) if descending => compare_values(t, y, x),
            (Some(x), Some(y)) => compare_values(t, x, y),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

fn sort_keys(specs: &[ColumnSpec], keys: &[(usize, bool, bool)]) -> Vec<SortKey> {
    let key = |&(column, descending, nulls_first): &(usize, bool, bool)| SortKey {
        expr: Expr::column(column, specs[column].0),
        descending,
        nulls_first,
    };
    keys.iter().map(key).collect()
}

fn keys_only(rows: &[Row], keys: &[(usize, bool, bool)]) -> Vec<String> {
    let of_row = |row: &Row| canonical(&[keys.iter().map(|k| row[k.0].clone()).collect()]).concat();
    rows.iter().map(of_row).collect()
}

fn check_sort(seed: u64, specs: &[ColumnSpec], keys: &[(usize, bool, bool)], rows: usize) {
    let table = random_batches(&mut Rng::new(seed), specs, rows, 500);
    let mut expected = rows_of(&table);
    expected.sort_by(|a, b| compare(specs, keys, a, b));
    let full = Node::sort(1, scan(specs), sort_keys(specs, keys));
    for (way, options) in ways() {
        let found = rows_of(&run(&full, std::slice::from_ref(&table), options).unwrap());
        assert_eq!(keys_only(&found, keys), keys_only(&expected, keys), "{way}");
        assert_eq!(
            canonical(&found),
            canonical(&expected),
            "{way}: rows stay whole"
        );
    }
    for (limit, offset) in [(1, 0), (17, 5), (3000, 0), (200_000, 100)] {
        let top = Node::top_n(1, scan(specs), sort_keys(specs, keys), limit, offset);
        let wanted: Vec<Row> = expected
            .iter()
            .skip(offset as usize)
            .take(limit as usize)
            .cloned()
            .collect();
        for (way, options) in ways() {
            let found = rows_of(&run(&top, std::slice::from_ref(&table), options).unwrap());
            assert_eq!(
                keys_only(&found, keys),
                keys_only(&wanted, keys),
                "{way}: top {limit}"
            );
        }
    }
}

#[test]
fn one_integer_key_sorts_as_the_model() {
    check_sort(
        1,
        &[(DataType::Int8, 5000, false), (DataType::TEXT_C, 50, true)],
        &[(0, true, false)],
        4000,
    );
}

#[test]
fn nulls_and_nans_have_their_places() {
    let specs = [(DataType::Float8, 40, true), (DataType::Int4, 1000, true)];
    check_sort(2, &specs, &[(0, false, false), (1, true, true)], 3000);
    check_sort(3, &specs, &[(0, true, true)], 3000);
}

#[test]
fn text_and_long_keys_sort_by_all_their_bytes() {
    let specs = [
        (DataType::TEXT_C, 300, true),
        (DataType::Bool, 2, true),
        (DataType::Int8, 9, false),
    ];
    check_sort(
        4,
        &specs,
        &[(0, true, false), (1, false, true), (2, true, false)],
        3000,
    );
}

#[test]
fn text_sorts_in_the_order_of_a_locale() {
    let specs = [
        (text_of_locale(), 300, true),
        (DataType::Int4, 9, true),
        (text_of_locale(), 40_000, false),
    ];
    check_sort(7, &specs, &[(0, true, false), (2, false, true)], 3000);
    check_sort(8, &specs, &[(1, false, true), (0, false, true)], 3000);
    check_sort(9, &specs, &[(2, false, false)], 60_000);
}

#[test]
fn many_rows_go_through_buckets() {
    check_sort(
        5,
        &[(DataType::Int4, 50_000, false), (DataType::Int8, 3, false)],
        &[(0, false, false)],
        90_000,
    );
}

#[test]
fn limits_cut_the_sorted_rows() {
    let specs = [(DataType::Int4, 900, false)];
    let table = random_batches(&mut Rng::new(6), &specs, 3000, 200);
    let keys = [(0, false, false)];
    let mut expected = rows_of(&table);
    expected.sort_by(|a, b| compare(&specs, &keys, a, b));
    let plan = Node::limit(
        2,
        Node::sort(1, scan(&specs), sort_keys(&specs, &keys)),
        Some(700),
        150,
    );
    for (way, options) in ways() {
        let found = rows_of(&run(&plan, std::slice::from_ref(&table), options).unwrap());
        assert_eq!(found, expected[150..850], "{way}");
    }
}

#[test]
fn a_limit_does_not_see_errors_behind_it() {
    let specs = [(DataType::Int4, 1000, false)];
    let zero_at = 60;
    let values = (0..100).map(|i| if i == zero_at { 0 } else { 5 }).collect();
    let column = Vector {
        values: Values::I32(values),
        validity: None,
    };
    let table: Vec<Batch> = vec![Batch::new(vec![Arc::new(column)], 100)];
    let column = Expr::column(0, DataType::Int4);
    let divided = Expr::arith(crate::expr::ArithOp::Div, Expr::int4(10), column).unwrap();
    let project = Node::project(1, scan(&specs), vec![divided]);
    let before = Node::limit(2, project.clone(), Some(zero_at as u64), 0);
    let after = Node::limit(2, project, Some(zero_at as u64 + 1), 0);
    for (_, options) in ways() {
        let found = run(&before, std::slice::from_ref(&table), options).unwrap();
        assert_eq!(rows_of(&found).len(), zero_at as usize);
    }
    for (_, options) in ways() {
        assert_eq!(
            run(&after, std::slice::from_ref(&table), options),
            Err(Error::DivisionByZero)
        );
    }
}
