// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::testing::{canonical, random_column, rows_of, Rng};

fn round_trip<K: KeyColumn>(types: &[DataType], nullable: bool) {
    let mut rng = Rng::new(types.len() as u64 + u64::from(nullable));
    let columns: Vec<Vector> = types
        .iter()
        .map(|&t| random_column(&mut rng, t, 200, 30, nullable))
        .collect();
    let shape = KeyShape::new(types, &vec![nullable; types.len()]).unwrap();
    let mut keys = K::default();
    keys.encode(&shape, &columns.iter().collect::<Vec<_>>(), 200)
        .unwrap();
    let decoded = keys.decode(&shape, 0, 200).unwrap();
    let batch = |columns: Vec<Vector>| {
        crate::batch::Batch::new(columns.into_iter().map(std::sync::Arc::new).collect(), 200)
    };
    assert_eq!(
        canonical(&rows_of(&[batch(decoded)])),
        canonical(&rows_of(&[batch(columns)])),
        "{types:?}"
    );
    let again = K::from_vector(&keys.to_vector());
    assert!((0..200).all(|i| again.equals(i, &keys, i) && again.hash(i) == keys.hash(i)));
}

#[test]
fn keys_decode_to_the_columns_they_came_from() {
    let wide = DataType::Numeric {
        precision: 30,
        scale: 0,
    };
    round_trip::<WordKeys<3>>(&[wide, DataType::Float4, DataType::Date], false);
    round_trip::<WordKeys<4>>(&[wide, DataType::Float4, DataType::Date], true);
    for nullable in [false, true] {
        round_trip::<WordKeys<1>>(&[DataType::Int4, DataType::Bool, DataType::Int2], nullable);
        round_trip::<WordKeys<2>>(&[DataType::Float8, DataType::Int4], nullable);
        round_trip::<ByteKeys>(&[DataType::TEXT_C], nullable);
        round_trip::<ByteKeys>(
            &[DataType::TEXT_C, wide, DataType::Bytea, DataType::Bool],
            nullable,
        );
    }
}

#[test]
fn words_are_packed_tightly() {
    let words = |types: &[DataType], nullable| {
        KeyShape::new(types, &vec![nullable; types.len()])
            .unwrap()
            .words()
    };
    use DataType::{Bool, Date, Int4, Int8, Uuid};
    assert_eq!(words(&[Int4, Int4], false), Some(1));
    assert_eq!(words(&[Int4, Bool], true), Some(1));
    assert_eq!(words(&[Int8, Date, Int4], false), Some(2));
    assert_eq!(words(&[Uuid, Int8, Int8], true), None);
    assert_eq!(words(&[Int4, DataType::TEXT_C], false), None);
}

#[test]
fn zeros_and_nans_are_one_key_each() {
    let column = Vector {
        values: Values::F64(vec![0.0, -0.0, f64::NAN, -f64::NAN]),
        validity: None,
    };
    let shape = KeyShape::new(&[DataType::Float8], &[false]).unwrap();
    let mut keys = WordKeys::<1>::default();
    keys.encode(&shape, &[&column], 4).unwrap();
    assert!(keys.equals(0, &keys, 1) && keys.equals(2, &keys, 3) && !keys.equals(0, &keys, 2));
}
