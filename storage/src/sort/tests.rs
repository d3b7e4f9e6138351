// SPDX-License-Identifier: Apache-2.0
use proptest::prelude::*;

use super::*;
use crate::key::{encode_scalar, SortKey};
use crate::vector::{Physical, VectorBuilder};
use crate::zone_map::Scalar;

fn column(physical: Physical, rows: &[Option<i64>]) -> Vector {
    let mut builder = VectorBuilder::new(physical);
    for row in rows {
        match (row, physical) {
            (None, _) => builder.push_null(),
            (Some(v), Physical::I64) => builder.push_i64(*v),
            (Some(v), Physical::I128) => builder.push_i128(i128::from(*v) << (v & 70)),
            (Some(v), Physical::F64) => builder.push_f64(if *v == 3 {
                f64::NAN
            } else {
                *v as f64 / 2.0 * -0.0_f64.signum()
            }),
            (Some(v), _) => builder.push_bytes(&v.to_le_bytes()[..(v & 7) as usize]),
        }
    }
    builder.finish()
}

const LAYOUTS: [Physical; 4] = [
    Physical::I64,
    Physical::I128,
    Physical::F64,
    Physical::Bytes,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_order_is_that_of_a_stable_sort_and_of_encoded_keys(
        first in proptest::collection::vec(proptest::option::weighted(0.9, prop_oneof![-4..4i64, any::<i64>()]), 0..200),
        seconds in proptest::collection::vec(proptest::option::weighted(0.8, 0..3i64), 200),
        layouts in [0..4usize, 0..4usize],
        flags in any::<[bool; 4]>(),
    ) {
        let columns = [column(LAYOUTS[layouts[0]], &first), column(LAYOUTS[layouts[1]], &seconds[..first.len()])];
        let directions = [
            Direction { descending: flags[0], nulls_first: flags[1] },
            Direction { descending: flags[2], nulls_first: flags[3] },
        ];
        let by: Vec<(&Vector, Direction)> = columns.iter().zip(directions).collect();
        let sorted = permutation(&by);
        let mut expected: Vec<u32> = (0..first.len() as u32).collect();
        expected.sort_by(|&a, &b| by.iter().fold(Ordering::Equal, |o, (v, d)| {
            o.then_with(|| compare(v, *d, a as usize, b as usize))
        }));
        prop_assert_eq!(&sorted, &expected);
        let key = |row: u32| {
            let mut key = Vec::new();
            for (vector, d) in &by {
                let sort_key = SortKey { column: 0, descending: d.descending, nulls_first: d.nulls_first };
                encode_scalar(Scalar::of(vector, row as usize).as_ref(), vector.physical(), sort_key, &mut key);
            }
            key
        };
        let keys: Vec<Vec<u8>> = sorted.iter().map(|&row| key(row)).collect();
        prop_assert!(keys.windows(2).all(|w| w[0] <= w[1]));
    }
}
