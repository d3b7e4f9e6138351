// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::plan::Node;
use crate::testing::{canonical, check, random_batches, rows_of, ColumnSpec, Rng, Row};

#[test]
fn set_operations_match_the_model() {
    match_the_model([(DataType::Int4, 12, true), (DataType::TEXT_C, 5, true)]);
    match_the_model([(DataType::Decimal, 12, true), (DataType::Int2, 3, true)]);
}

fn match_the_model(specs: [ColumnSpec; 2]) {
    let mut rng = Rng::new(1);
    let tables = [500, 300].map(|rows| random_batches(&mut rng, &specs, rows, 70));
    let rows: Vec<Vec<Row>> = tables.iter().map(|table| rows_of(table)).collect();
    let count = |side: usize, row: &Row| {
        let wanted = canonical(std::slice::from_ref(row));
        rows[side]
            .iter()
            .filter(|r| canonical(std::slice::from_ref(*r)) == wanted)
            .count() as i64
    };
    let mut different = rows.concat();
    different.sort_by_key(|row| format!("{row:?}"));
    different.dedup_by_key(|row| format!("{row:?}"));
    let scan = |id, source| {
        Node::scan(
            id,
            source,
            vec![0, 1],
            specs.iter().map(|s| s.0).collect(),
            vec![],
        )
    };
    for kind in [SetOpKind::Intersect, SetOpKind::Except] {
        for all in [false, true] {
            let repeat = Repeat { kind, all };
            let times = |row: &Row| repeat.times(count(0, row), count(1, row)) as usize;
            let expected: Vec<Row> = different
                .iter()
                .flat_map(|row| std::iter::repeat_n(row.clone(), times(row)))
                .collect();
            check(
                &Node::set_op(2, kind, all, scan(0, 0), scan(1, 1)),
                &tables,
                &expected,
            );
        }
    }
}
