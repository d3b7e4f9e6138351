// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::expr::eval::tests::{batch, dictionary, scalars, texts, values_of};
use crate::types::Scalar;
use doris_storage::vector::Physical;

#[test]
fn equal_floats_get_equal_bits() {
    let vector = Arc::new(Vector {
        values: Values::F64(vec![-0.0, 0.0, f64::NAN, -f64::NAN, 1.5]),
        validity: None,
    });
    let key = canonical_key(DataType::Float8, &vector).unwrap();
    let Values::F64(values) = &key.values else {
        panic!("{key:?}")
    };
    let bits: Vec<u64> = values.iter().map(|v| v.to_bits()).collect();
    assert_eq!(bits[0], bits[1]);
    assert_eq!(bits[2], bits[3]);
    assert_eq!(values[4], 1.5);
}

#[test]
fn padding_is_no_part_of_a_bpchar_key() {
    let bpchar = DataType::Bpchar {
        collation: Collation::Deterministic,
    };
    let expected = [
        Some(Scalar::bytes("ab")),
        Some(Scalar::bytes("ab")),
        Some(Scalar::bytes("")),
        None,
    ];
    let values = [Some("ab  "), Some("ab"), Some("  "), None];
    for vector in [texts(&values), dictionary(&values, "unused ")] {
        let key = canonical_key(bpchar, &vector).unwrap();
        assert_eq!(scalars(&key), expected);
        if let Values::Dict { codes, .. } = &key.values {
            assert_eq!(codes[0], codes[1]);
        }
    }
}

#[test]
fn a_month_is_thirty_days_as_a_key() {
    let interval = |months: i32, days: i32| {
        let mut bytes = [0u8; 16];
        bytes[8..12].copy_from_slice(&days.to_le_bytes());
        bytes[12..].copy_from_slice(&months.to_le_bytes());
        bytes
    };
    let data = [interval(1, 0), interval(0, 30), interval(0, 31)].concat();
    let vector = Arc::new(Vector {
        values: Values::Fixed { width: 16, data },
        validity: None,
    });
    let key = canonical_key(DataType::Interval, &vector).unwrap();
    let keys = scalars(&key);
    assert_eq!(keys[0], keys[1]);
    assert_ne!(keys[0], keys[2]);
}

#[test]
fn keys_of_one_family_meet_in_one_type() {
    let columns = [
        Arc::new(Vector {
            values: Values::I64(vec![150]),
            validity: None,
        }),
        Arc::new(Vector {
            values: Values::I64(vec![1500]),
            validity: None,
        }),
    ];
    let numeric = |precision, scale| DataType::Numeric { precision, scale };
    let (left, right) = unify_keys(
        Expr::column(0, numeric(5, 2)),
        Expr::column(1, numeric(9, 3)),
    )
    .unwrap();
    let batch = batch(&columns);
    assert_eq!(
        values_of(&left, &batch).unwrap(),
        values_of(&right, &batch).unwrap()
    );
    let (left, right) = unify_keys(
        Expr::column(0, DataType::Float4),
        Expr::column(1, DataType::Float8),
    )
    .unwrap();
    assert_eq!(
        (left.data_type(), right.data_type()),
        (DataType::Float8, DataType::Float8)
    );
    let opaque = DataType::Opaque {
        layout: Physical::Bytes,
    };
    assert!(unify_keys(Expr::column(0, opaque), Expr::column(1, opaque))
        .unwrap_err()
        .needs_postgres());
}
