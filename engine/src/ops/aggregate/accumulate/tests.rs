// SPDX-License-Identifier: Apache-2.0
use doris_storage::vector::{Values, Vector};
use proptest::prelude::*;

use super::{accumulator, Groups, SortedGroups};
use crate::expr::Expr;
use crate::plan::{AggregateCall, AggregateFunction};
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
