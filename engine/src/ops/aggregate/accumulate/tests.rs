// SPDX-License-Identifier: Apache-2.0
use doris_storage::vector::{Values, Vector};
use proptest::prelude::*;

use super::{accumulator, Groups, SortedGroups};
use crate::expr::Expr;
use crate::plan::{AggregateCall, AggregateFunction, ApproxHash};
use crate::sketch::Hll;
use crate::types::DataType;

fn vector(values: Values) -> Vector {
    Vector {
        values,
        validity: None,
    }
}

proptest! {
    #[test]
    fn rows_sorted_by_group_give_the_same_as_rows_in_order(
        rows in proptest::collection::vec((0u32..5, any::<i64>(), any::<i32>()), 0..300),
    ) {
        use AggregateFunction::*;
        let groups: Vec<u32> = rows.iter().map(|row| row.0).collect();
        let mut sorted = SortedGroups::default();
        sorted.sort(&groups, 5);
        let wide = DataType::Numeric { precision: 38, scale: 2 };
        let columns = [
            (DataType::Int8, vector(Values::I64(rows.iter().map(|row| row.1).collect()))),
            (DataType::Int4, vector(Values::I32(rows.iter().map(|row| row.2).collect()))),
            (wide, vector(Values::I128(rows.iter().map(|row| i128::from(row.1) << 30).collect()))),
        ];
        for (data_type, column) in &columns {
            for function in [CountStar, Count, Sum, Avg, Min, Max] {
                let argument = (function != CountStar).then(|| Expr::column(0, *data_type));
                let call = AggregateCall { function, argument, distinct: false, filter: None };
                let answer = |groups: Groups<'_>| {
                    let mut states = accumulator(&call).unwrap();
                    states.resize(5);
                    states.update(groups, Some(column)).unwrap();
                    states.finish(0, 5).unwrap()
                };
                prop_assert_eq!(answer(Groups::Each(&groups)), answer(Groups::Sorted(&sorted)));
            }
        }
    }
}

#[test]
fn approximate_counts_are_those_of_the_sketch_however_rows_are_split() {
    let count = 5000i64;
    let numbers: Vec<i64> = (0..count).map(|i| i * 7919 % 2003 - 50).collect();
    let groups: Vec<u32> = (0..count).map(|i| (i % 3) as u32).collect();
    for hash in [ApproxHash::Text, ApproxHash::Value] {
        let call = AggregateCall {
            function: AggregateFunction::ApproxDistinct(hash),
            argument: Some(Expr::column(0, DataType::Int8)),
            distinct: false,
            filter: None,
        };
        let part = |from: usize, to: usize| {
            let mut states = accumulator(&call).unwrap();
            states.resize(3);
            let column = vector(Values::I64(numbers[from..to].to_vec()));
            states
                .update(Groups::Each(&groups[from..to]), Some(&column))
                .unwrap();
            states
        };
        let whole = part(0, count as usize).finish(0, 3).unwrap();
        let mut first = part(0, 40);
        let second = part(40, count as usize);
        first
            .merge(&[0, 1, 2], &second.export(&[0, 1, 2]), 0)
            .unwrap();
        assert_eq!(first.finish(0, 3).unwrap(), whole);
        if hash == ApproxHash::Text {
            let mut expected = vec![Hll::default(); 3];
            for (number, group) in numbers.iter().zip(&groups) {
                expected[*group as usize].add_hash(Hll::hash(number.to_string().as_bytes()));
            }
            let estimates = expected.iter().map(|hll| hll.estimate() as i64).collect();
            assert_eq!(whole, vec![vector(Values::I64(estimates))]);
        }
    }
}
