// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::exec::Options;
use crate::plan::Node;
use crate::testing::{canonical, random_batches, rows_of, run, ColumnSpec, Rng};
use crate::types::Collation;

const TYPES: [DataType; 8] = [
    DataType::Int2,
    DataType::Int4,
    DataType::Int8,
    DataType::Date,
    DataType::Timestamp,
    DataType::Numeric {
        precision: 10,
        scale: 2,
    },
    DataType::Numeric {
        precision: 30,
        scale: 2,
    },
    DataType::TEXT_C,
];

/// The rows of a scan with a filter.
fn filtered(filter: &Expr, types: &[DataType], batches: &[Batch]) -> Vec<String> {
    let columns = (0..types.len()).collect();
    let plan = Node::scan(0, 0, columns, types.to_vec(), vec![filter.clone()]);
    let rows = run(&plan, &[batches.to_vec()], Options::default()).unwrap();
    canonical(&rows_of(&rows))
}

#[test]
fn what_is_found_has_all_rows_with_the_value() {
    let mut rng = Rng::new(8);
    for data_type in TYPES {
        let specs: [ColumnSpec; 2] = [(DataType::Int4, 9, true), (data_type, 60, true)];
        let batches = random_batches(&mut rng, &specs, 500, 40);
        let types = specs.map(|spec| spec.0);
        let lookup = ColumnHashIndex::new(1, &batches).unwrap();
        let mut fewer = 0;
        for row in rows_of(&batches) {
            let Some(value) = row[1].clone() else {
                continue;
            };
            let constant = Expr::constant(value, data_type).unwrap();
            let column = Expr::column(1, data_type);
            let filter = Expr::compare(CompareOp::Eq, column, constant).unwrap();
            let asked = Asked::of(&filter).unwrap();
            let Some(found) = lookup.find(asked, &batches) else {
                continue;
            };
            fewer += 1;
            assert_eq!(
                filtered(&filter, &types, &found),
                filtered(&filter, &types, &batches)
            );
            let rows: usize = found.iter().map(|batch| batch.rows).sum();
            assert!(rows < 100, "{rows} rows of {data_type}");
        }
        assert!(fewer > 100, "{data_type}");
    }
}

#[test]
fn nothing_is_found_of_a_value_that_is_not_there() {
    let mut rng = Rng::new(9);
    let batches = random_batches(&mut rng, &[(DataType::Int4, 60, true)], 500, 40);
    let lookup = ColumnHashIndex::new(0, &batches).unwrap();
    let column = Expr::column(0, DataType::Int4);
    let constant = Expr::constant(Scalar::I32(1 << 20), DataType::Int4).unwrap();
    let filter = Expr::compare(CompareOp::Eq, constant, column).unwrap();
    let found = lookup.find(Asked::of(&filter).unwrap(), &batches).unwrap();
    assert!(found.is_empty());
}

#[test]
fn only_equalities_of_exact_types_are_asked_for() {
    let compared = |op, of: DataType, value: Expr| {
        let filter = Expr::compare(op, Expr::column(0, of), value);
        filter.ok().and_then(|filter| Asked::of(&filter))
    };
    let int = || Expr::constant(Scalar::I32(3), DataType::Int4).unwrap();
    assert!(compared(CompareOp::Eq, DataType::Int4, int()).is_some());
    assert!(compared(CompareOp::Lt, DataType::Int4, int()).is_none());
    assert!(compared(CompareOp::NotDistinct, DataType::Int4, int()).is_none());
    let null = Expr::null(DataType::Int4);
    assert!(compared(CompareOp::Eq, DataType::Int4, null).is_none());
    let float = Expr::constant(Scalar::F64(0.0), DataType::Float8).unwrap();
    assert!(compared(CompareOp::Eq, DataType::Float8, float).is_none());
    let text = |collation| {
        let data_type = DataType::Text { collation };
        let value = Expr::constant(Scalar::Bytes(b"a"[..].into()), data_type).unwrap();
        compared(CompareOp::Eq, data_type, value)
    };
    assert!(text(Collation::Deterministic).is_some());
    assert!(text(Collation::Other).is_none());
}

#[test]
fn values_that_most_rows_have_are_not_looked_up() {
    let mut rng = Rng::new(10);
    let batches = random_batches(&mut rng, &[(DataType::Int4, 2, false)], 500, 40);
    let lookup = ColumnHashIndex::new(0, &batches).unwrap();
    let constant = Expr::constant(Scalar::I32(-4), DataType::Int4).unwrap();
    let filter = Expr::compare(CompareOp::Eq, Expr::column(0, DataType::Int4), constant).unwrap();
    let asked = Asked::of(&filter).unwrap();
    assert!(lookup.find(asked, &batches).is_none());
    assert!(lookup
        .find(Asked { column: 1, ..asked }, &batches)
        .is_none());
}
