// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use crate::error::Result;
use crate::exec::Options;
use crate::expr::Expr;
use crate::plan::{
    Aggregate, AggregateCall, AggregateFunction, Collected, Element, GroupKey, Node, SortKey,
};
use crate::testing::{random_batches, rows_of, run, ways, ColumnSpec, Rng, Row};
use crate::types::{DataType, Scalar};

const GROUP: usize = 0;
const VALUE: usize = 1;
const NUMBER: usize = 2;
const DELIMITER: usize = 3;

fn specs(groups: u64) -> Vec<ColumnSpec> {
    vec![
        (DataType::Int4, groups, true),
        (DataType::TEXT_C, 40, true),
        (DataType::Int4, 30, true),
        (DataType::TEXT_C, 5, true),
    ]
}

fn column(specs: &[ColumnSpec], column: usize) -> Expr {
    Expr::column(column, specs[column].0)
}

fn collect(
    specs: &[ColumnSpec],
    result: Collected,
    distinct: bool,
    order: &[(usize, bool, bool)],
    fields: &[usize],
) -> AggregateCall {
    let key = |&(number, descending, nulls_first): &(usize, bool, bool)| SortKey {
        expr: column(specs, number),
        descending,
        nulls_first,
    };
    let order = order.iter().map(key).collect();
    let fields = fields.iter().map(|f| column(specs, *f)).collect();
    AggregateCall {
        function: AggregateFunction::Collect { result, distinct },
        argument: Some(Expr::item(order, fields).unwrap()),
        distinct: false,
        filter: None,
    }
}

fn plan(specs: &[ColumnSpec], calls: Vec<AggregateCall>, grouped: bool) -> Node {
    let columns = (0..specs.len()).collect();
    let types = specs.iter().map(|spec| spec.0).collect();
    let keys = GroupKey {
        expr: column(specs, GROUP),
        nullable: true,
    };
    Node::aggregate(
        1,
        Aggregate {
            input: Box::new(Node::scan(0, 0, columns, types, vec![])),
            keys: if grouped { vec![keys] } else { vec![] },
            calls,
            grouping_sets: None,
        },
    )
}

fn bytes(value: &Option<Scalar>) -> Option<Vec<u8>> {
    match value {
        Some(Scalar::Bytes(bytes)) => Some(bytes.to_vec()),
        _ => None,
    }
}

fn number(value: &Option<Scalar>) -> Option<i32> {
    match value {
        Some(Scalar::I32(number)) => Some(*number),
        _ => None,
    }
}

/// What `string_agg` makes of rows in their order.
fn joined<'r>(rows: impl Iterator<Item = &'r Row>) -> Option<Vec<u8>> {
    let mut all: Option<Vec<u8>> = None;
    for row in rows {
        let Some(value) = bytes(&row[VALUE]) else {
            continue;
        };
        let text = match &mut all {
            Some(text) => {
                text.extend(bytes(&row[DELIMITER]).unwrap_or_default());
                text
            }
            none => none.insert(Vec::new()),
        };
        text.extend(value);
    }
    all
}

/// The numbers of an array of integers.
fn integers(array: &[u8]) -> Vec<Option<i32>> {
    let word = |at: usize| i32::from_ne_bytes(array[at..at + 4].try_into().unwrap());
    assert_eq!([word(0), word(8), word(16)], [1, 23, 1]);
    let (count, offset) = (word(12) as usize, word(4) as usize);
    let present = |i: usize| offset == 0 || array[20 + i / 8] >> (i % 8) & 1 == 1;
    let mut at = if offset == 0 { 20 } else { offset - 4 };
    assert_eq!((at + 4) % 8, 0);
    let mut numbers = Vec::new();
    for i in 0..count {
        numbers.push(present(i).then(|| word(at)));
        at += if present(i) { 4 } else { 0 };
    }
    assert_eq!(at, array.len());
    numbers
}

fn check(seed: u64, groups: u64, rows: usize, grouped: bool) -> Result<()> {
    let specs = specs(groups);
    let table = random_batches(&mut Rng::new(seed), &specs, rows, rows.div_ceil(8));
    let text = Collected::Text(DataType::TEXT_C);
    let array = Collected::Array(Element {
        type_oid: 23,
        width: 4,
        align: 4,
    });
    let by_number = [(NUMBER, true, false), (VALUE, false, true)];
    let calls = vec![
        collect(&specs, text, false, &[], &[VALUE, DELIMITER]),
        collect(&specs, text, false, &by_number, &[VALUE, DELIMITER]),
        collect(&specs, array, false, &[], &[NUMBER]),
        collect(&specs, array, true, &[(NUMBER, false, false)], &[NUMBER]),
    ];
    let plan = plan(&specs, calls, grouped);
    let all = rows_of(&table);
    let mut expected: BTreeMap<Option<i32>, Vec<&Row>> = BTreeMap::new();
    for row in &all {
        let group = if grouped { number(&row[GROUP]) } else { None };
        expected.entry(group).or_default().push(row);
    }
    // A lone group has nothing to spill by: it must fit.
    let fits = |options: &Options| grouped || options.budget.limit_bytes() > 32 << 10;
    for (way, options) in ways().into_iter().filter(|(_, options)| fits(options)) {
        let found = rows_of(&run(&plan, std::slice::from_ref(&table), options)?);
        assert_eq!(found.len(), expected.len(), "{way}");
        for row in &found {
            let (group, row) = match grouped {
                true => (number(&row[0]), &row[1..]),
                false => (None, &row[..]),
            };
            let rows = &expected[&group];
            assert_eq!(
                bytes(&row[0]),
                joined(rows.iter().copied()),
                "{way}: as they come"
            );
            let mut sorted = rows.clone();
            sorted.sort_by(|a, b| {
                // NULLs are greatest where they come last, and least where first: so in both keys here.
                let key = |row: &Row| (number(&row[NUMBER]), bytes(&row[VALUE]));
                let ((x, v), (y, w)) = (key(a), key(b));
                x.is_none()
                    .cmp(&y.is_none())
                    .then(y.cmp(&x))
                    .then(v.cmp(&w))
            });
            assert_eq!(bytes(&row[1]), joined(sorted.into_iter()), "{way}: sorted");
            let numbers: Vec<Option<i32>> = rows.iter().map(|row| number(&row[NUMBER])).collect();
            let found = integers(&bytes(&row[2]).unwrap());
            assert_eq!(found, numbers, "{way}: an array");
            let mut different = numbers.clone();
            different.sort_by_key(|n| (n.is_none(), *n));
            different.dedup();
            let found = integers(&bytes(&row[3]).unwrap());
            assert_eq!(found, different, "{way}: different values");
        }
    }
    Ok(())
}

#[test]
fn groups_are_put_together_as_the_model_does() {
    check(1, 5, 2000, true).unwrap();
    check(2, 700, 4000, true).unwrap();
}

#[test]
fn a_lone_group_is_put_together_in_the_order_of_its_rows() {
    check(3, 1, 100, false).unwrap();
}

#[test]
fn no_rows_give_null() {
    let specs = specs(1);
    let text = Collected::Text(DataType::TEXT_C);
    let plan = plan(
        &specs,
        vec![collect(&specs, text, false, &[], &[VALUE, DELIMITER])],
        false,
    );
    for (way, options) in ways() {
        let found = rows_of(&run(&plan, &[vec![]], options).unwrap());
        assert_eq!(found, vec![vec![None]], "{way}");
    }
}
