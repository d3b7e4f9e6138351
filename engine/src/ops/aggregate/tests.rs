// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use doris_storage::vector::{Bitmap, BytesColumn};

use super::*;
use crate::plan::{Aggregate, Node};
use crate::testing::{check as check_rows, random_batches, rows_of, run, ColumnSpec, Rng, Row};
use crate::types::Scalar;

const NUMERIC: DataType = DataType::Numeric {
    precision: 15,
    scale: 2,
};

fn key(number: usize, specs: &[ColumnSpec]) -> GroupKey {
    GroupKey {
        expr: Expr::column(number, specs[number].0),
        nullable: specs[number].2,
    }
}

fn call(function: AggregateFunction, column: usize, specs: &[ColumnSpec]) -> AggregateCall {
    let argument =
        (function != AggregateFunction::CountStar).then(|| Expr::column(column, specs[column].0));
    AggregateCall {
        function,
        argument,
        distinct: false,
        filter: None,
    }
}

fn scan(specs: &[ColumnSpec]) -> Node {
    Node::scan(
        0,
        0,
        (0..specs.len()).collect(),
        specs.iter().map(|s| s.0).collect(),
        vec![],
    )
}

fn plan(specs: &[ColumnSpec], keys: &[usize], calls: Vec<AggregateCall>) -> Node {
    let keys = keys.iter().map(|&k| key(k, specs)).collect();
    let input = Box::new(scan(specs));
    Node::aggregate(
        1,
        Aggregate {
            input,
            keys,
            calls,
            grouping_sets: None,
        },
    )
}

/// A model's group: rows as they come.
fn groups(rows: &[Row], keys: &[usize]) -> BTreeMap<String, (Row, Vec<Row>)> {
    let canonical = |cell: &Option<Scalar>| match cell {
        Some(Scalar::F64(x)) if x.is_nan() => Some(Scalar::F64(f64::NAN)),
        Some(Scalar::F64(x)) => Some(Scalar::F64(x + 0.0)),
        other => other.clone(),
    };
    let mut out = BTreeMap::new();
    for row in rows {
        let key: Row = keys.iter().map(|&k| canonical(&row[k])).collect();
        let entry = out
            .entry(format!("{key:?}"))
            .or_insert_with(|| (key, Vec::new()));
        entry.1.push(row.clone());
    }
    if keys.is_empty() && out.is_empty() {
        out.insert(String::new(), (Vec::new(), Vec::new()));
    }
    out
}

fn integers(rows: &[Row], column: usize) -> Vec<i128> {
    rows.iter()
        .filter_map(|row| row[column].as_ref().and_then(Scalar::as_i128))
        .collect()
}

/// count(*), count(c), sum(c), avg(c), min(c), max(c) of an exact column, whose sum has type `wide`.
fn exact_model(rows: &[Row], column: usize, like: &Scalar, wide: bool) -> Row {
    let values = integers(rows, column);
    let narrow = |x: i128| match like {
        Scalar::I16(_) => Scalar::I16(x as i16),
        Scalar::I32(_) => Scalar::I32(x as i32),
        Scalar::I64(_) => Scalar::I64(x as i64),
        _ => Scalar::I128(x),
    };
    let some = |x: i128| (!values.is_empty()).then_some(x);
    let sum = some(values.iter().sum());
    vec![
        Some(Scalar::I64(rows.len() as i64)),
        Some(Scalar::I64(values.len() as i64)),
        sum.map(|x| {
            if wide {
                Scalar::I128(x)
            } else {
                Scalar::I64(x as i64)
            }
        }),
        sum.map(Scalar::I128),
        Some(Scalar::I64(values.len() as i64)),
        values.iter().min().copied().map(narrow),
        values.iter().max().copied().map(narrow),
    ]
}

fn exact_calls(column: usize, specs: &[ColumnSpec]) -> Vec<AggregateCall> {
    use AggregateFunction::*;
    [CountStar, Count, Sum, Avg, Min, Max]
        .map(|function| call(function, column, specs))
        .to_vec()
}

#[test]
fn groups_of_every_key_shape_match_the_model() {
    let specs: Vec<ColumnSpec> = vec![
        (DataType::Int4, 9, true),
        (DataType::Int8, 3000, false),
        (DataType::TEXT_C, 12, true),
        (DataType::TEXT_C, 900, false),
        (DataType::Float8, 20, true),
        (DataType::Bool, 2, false),
        (NUMERIC, 50, true),
    ];
    let keys: [&[usize]; 10] = [
        &[],
        &[0],
        &[1],
        &[2],
        &[3],
        &[4],
        &[5, 2],
        &[0, 1],
        &[0, 1, 5, 4],
        &[2, 3, 0],
    ];
    for (seed, keys) in keys.into_iter().enumerate() {
        let mut rng = Rng::new(seed as u64 + 1);
        let mut table = random_batches(&mut rng, &specs, 5000, 800);
        table
            .iter_mut()
            .for_each(|batch| without_negative_zeros(batch, 4));
        let model = groups(&rows_of(&table), keys)
            .into_values()
            .map(|(mut key, rows)| {
                key.extend(exact_model(&rows, 6, &Scalar::I64(0), true));
                key
            });
        let expected: Vec<Row> = model.collect();
        check_rows(
            &plan(&specs, keys, exact_calls(6, &specs)),
            &[table],
            &expected,
        );
    }
}

fn without_negative_zeros(batch: &mut Batch, column: usize) {
    let mut vector = Vector::clone(&batch.columns[column]);
    if let Values::F64(values) = &mut vector.values {
        values.iter_mut().for_each(|value| *value += 0.0);
    }
    batch.columns[column] = Arc::new(vector);
}

#[test]
fn groups_of_a_negative_zero_are_left_to_postgres() {
    let specs = [(DataType::Float8, 3, false)];
    for (zero, here) in [(0.0, true), (-0.0, false)] {
        let values = Values::F64(vec![1.5, zero, 2.5]);
        let column = Vector {
            values,
            validity: None,
        };
        let batch = Batch::new(vec![Arc::new(column)], 3);
        let calls = vec![AggregateCall {
            function: AggregateFunction::CountStar,
            argument: None,
            distinct: false,
            filter: None,
        }];
        let found = run(
            &plan(&specs, &[0], calls),
            &[vec![batch]],
            crate::exec::Options::default(),
        );
        assert_eq!(found.is_ok(), here);
        assert!(found.err().is_none_or(|error| error.needs_postgres()));
    }
}

#[test]
fn sums_of_every_exact_type_match_the_model() {
    let wide = DataType::Numeric {
        precision: 30,
        scale: 5,
    };
    let types = [
        (DataType::Int2, false),
        (DataType::Int4, false),
        (DataType::Int8, true),
        (wide, true),
    ];
    for (t, is_wide) in types {
        let specs: Vec<ColumnSpec> = vec![(DataType::Int4, 300, false), (t, 100, true)];
        let table = random_batches(&mut Rng::new(7), &specs, 3000, 500);
        let like = match t {
            DataType::Int2 => Scalar::I16(0),
            DataType::Int4 => Scalar::I32(0),
            DataType::Int8 => Scalar::I64(0),
            _ => Scalar::I128(0),
        };
        let model = groups(&rows_of(&table), &[0])
            .into_values()
            .map(|(mut key, rows)| {
                key.extend(exact_model(&rows, 1, &like, is_wide));
                key
            });
        let expected: Vec<Row> = model.collect();
        check_rows(
            &plan(&specs, &[0], exact_calls(1, &specs)),
            &[table],
            &expected,
        );
    }
}

#[test]
fn distinct_and_filtered_calls_match_the_model() {
    use AggregateFunction::*;
    let specs: Vec<ColumnSpec> = vec![
        (DataType::Int4, 40, true),
        (DataType::Int8, 25, true),
        (DataType::TEXT_C, 30, true),
    ];
    let table = random_batches(&mut Rng::new(3), &specs, 3000, 400);
    let positive = Expr::compare(
        crate::expr::CompareOp::Gt,
        Expr::column(1, DataType::Int8),
        Expr::int8(4_000_000),
    );
    let positive = positive.unwrap();
    let calls = vec![
        AggregateCall {
            distinct: true,
            ..call(Count, 2, &specs)
        },
        AggregateCall {
            distinct: true,
            ..call(Sum, 1, &specs)
        },
        AggregateCall {
            filter: Some(positive.clone()),
            ..call(CountStar, 0, &specs)
        },
        AggregateCall {
            filter: Some(positive),
            ..call(Max, 1, &specs)
        },
    ];
    for keys in [&[0][..], &[]] {
        let model = groups(&rows_of(&table), keys)
            .into_values()
            .map(|(mut key, rows)| {
                let mut texts: Vec<String> = rows
                    .iter()
                    .filter_map(|r| r[2].as_ref().map(|t| format!("{t:?}")))
                    .collect();
                texts.sort();
                texts.dedup();
                let mut numbers = integers(&rows, 1);
                numbers.sort();
                numbers.dedup();
                let large: Vec<i128> = integers(&rows, 1)
                    .into_iter()
                    .filter(|&x| x > 4_000_000)
                    .collect();
                key.push(Some(Scalar::I64(texts.len() as i64)));
                key.push((!numbers.is_empty()).then(|| Scalar::I128(numbers.iter().sum())));
                key.push(Some(Scalar::I64(large.len() as i64)));
                key.push(large.iter().max().map(|&x| Scalar::I64(x as i64)));
                key
            });
        let expected: Vec<Row> = model.collect();
        check_rows(
            &plan(&specs, keys, calls.clone()),
            std::slice::from_ref(&table),
            &expected,
        );
    }
}

#[test]
fn a_lone_distinct_count_goes_through_distinct_pairs() {
    let specs: Vec<ColumnSpec> = vec![(DataType::Int4, 5, true), (DataType::Int8, 2000, true)];
    let table = random_batches(&mut Rng::new(4), &specs, 6000, 900);
    let calls = vec![AggregateCall {
        distinct: true,
        ..call(AggregateFunction::Count, 1, &specs)
    }];
    let model = groups(&rows_of(&table), &[0])
        .into_values()
        .map(|(mut key, rows)| {
            let mut values = integers(&rows, 1);
            values.sort();
            values.dedup();
            key.push(Some(Scalar::I64(values.len() as i64)));
            key
        });
    let expected: Vec<Row> = model.collect();
    check_rows(&plan(&specs, &[0], calls), &[table], &expected);
}

#[test]
fn lone_distinct_calls_without_keys_see_no_nulls() {
    use AggregateFunction::{Count, Sum};
    let specs: Vec<ColumnSpec> = vec![(DataType::Int8, 700, true), (DataType::TEXT_C, 60, true)];
    let distinct = |function, column| AggregateCall {
        distinct: true,
        ..call(function, column, &specs)
    };
    for rows in [0, 5000] {
        let table = random_batches(&mut Rng::new(11), &specs, rows, 700);
        let all = rows_of(&table);
        let mut numbers = integers(&all, 0);
        numbers.sort();
        numbers.dedup();
        let texts: std::collections::BTreeSet<String> = all
            .iter()
            .filter_map(|row| row[1].as_ref().map(|text| format!("{text:?}")))
            .collect();
        let count = |n: usize| Some(Scalar::I64(n as i64));
        let sum = (!numbers.is_empty()).then(|| Scalar::I128(numbers.iter().sum()));
        let calls = vec![distinct(Count, 0), distinct(Sum, 0)];
        check_rows(
            &plan(&specs, &[], calls),
            std::slice::from_ref(&table),
            &[vec![count(numbers.len()), sum]],
        );
        check_rows(
            &plan(&specs, &[], vec![distinct(Count, 1)]),
            &[table],
            &[vec![count(texts.len())]],
        );
    }
}

#[test]
fn rows_that_are_nearly_all_groups_of_their_own_match_the_model() {
    use AggregateFunction::*;
    let specs: Vec<ColumnSpec> = vec![
        (DataType::Int8, 6000, false),
        (NUMERIC, 3000, false),
        (DataType::TEXT_C, 50, true),
        (DataType::TEXT_C, 6000, false),
    ];
    let amount = || Expr::column(1, NUMERIC);
    // In 64 bits in some batches, in 128 in others.
    let square = Expr::arith(crate::expr::ArithOp::Mul, amount(), amount()).unwrap();
    let table = random_batches(&mut Rng::new(12), &specs, 6000, 60);
    let calls = vec![
        call(CountStar, 0, &specs),
        AggregateCall {
            argument: Some(square),
            ..call(Sum, 1, &specs)
        },
        call(Sum, 1, &specs),
        call(Min, 2, &specs),
    ];
    for keys in [&[0][..], &[3], &[0, 3]] {
        let model = groups(&rows_of(&table), keys)
            .into_values()
            .map(|(mut key, rows)| {
                let amounts = integers(&rows, 1);
                let squares = amounts.iter().map(|x| x * x).sum();
                let texts = rows.iter().filter_map(|row| match &row[2] {
                    Some(Scalar::Bytes(text)) => Some(text.clone()),
                    _ => None,
                });
                key.push(Some(Scalar::I64(rows.len() as i64)));
                key.push(Some(Scalar::I128(squares)));
                key.push(Some(Scalar::I128(amounts.iter().sum())));
                key.push(texts.min().map(Scalar::Bytes));
                key
            });
        let expected: Vec<Row> = model.collect();
        check_rows(
            &plan(&specs, keys, calls.clone()),
            std::slice::from_ref(&table),
            &expected,
        );
    }
}

#[test]
fn grouping_sets_give_each_set_its_groups() {
    let text: Vec<ColumnSpec> = vec![
        (DataType::Int4, 6, true),
        (DataType::TEXT_C, 4, true),
        (NUMERIC, 9, true),
    ];
    let decimals: Vec<ColumnSpec> = vec![
        (DataType::Decimal, 12, true),
        (DataType::TEXT_C, 4, true),
        (NUMERIC, 9, true),
    ];
    for (specs, rows) in [(&text, 0), (&text, 800), (&decimals, 0), (&decimals, 800)] {
        let table = random_batches(&mut Rng::new(5), specs, rows, 100);
        let sets = vec![vec![0, 1], vec![1], vec![], vec![0]];
        let mut expected: Vec<Row> = Vec::new();
        for (number, set) in sets.iter().enumerate() {
            for (_, (key, members)) in groups(&rows_of(&table), set) {
                let mut row: Row = vec![None, None];
                set.iter().zip(key).for_each(|(&at, value)| row[at] = value);
                row.push(Some(Scalar::I64(members.len() as i64)));
                row.push(Some(Scalar::I32(number as i32)));
                expected.push(row);
            }
        }
        let keys = vec![key(0, specs), key(1, specs)];
        let calls = vec![call(AggregateFunction::CountStar, 0, specs)];
        let input = Box::new(scan(specs));
        let node = Node::aggregate(
            1,
            Aggregate {
                input,
                keys,
                calls,
                grouping_sets: Some(sets),
            },
        );
        check_rows(&node, &[table], &expected);
    }
}

/// The length of an interval of months and days, in days.
fn days(cell: &Option<Scalar>) -> Option<i32> {
    let Some(Scalar::Bytes(bytes)) = cell else {
        return None;
    };
    let word = |at: usize| i32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    Some(word(8) + 30 * word(12))
}

#[test]
fn equal_intervals_are_one_group_that_shows_one_of_them() {
    let specs: Vec<ColumnSpec> = vec![(DataType::Interval, 20, true), (DataType::Int4, 3, true)];
    let table = random_batches(&mut Rng::new(8), &specs, 900, 100);
    let rows = rows_of(&table);
    let mut model: BTreeMap<String, i64> = BTreeMap::new();
    let by_length = |row: &Row| format!("{:?} {:?}", days(&row[0]), row[1]);
    rows.iter()
        .for_each(|row| *model.entry(by_length(row)).or_default() += 1);
    let calls = vec![call(AggregateFunction::CountStar, 0, &specs)];
    for (node, counted) in [
        (plan(&specs, &[0, 1], calls), true),
        (Node::distinct(1, scan(&specs)), false),
    ] {
        for (way, options) in crate::testing::ways() {
            let found = crate::testing::run(&node, std::slice::from_ref(&table), options);
            let found = rows_of(&found.unwrap());
            assert_eq!(found.len(), model.len(), "{way}");
            for row in found {
                assert!(rows.iter().any(|r| r[..2] == row[..2]), "{way}: {row:?}");
                let count = model.get(&by_length(&row));
                let right = !counted || row[2] == count.map(|count| Scalar::I64(*count));
                assert!(count.is_some() && right, "{way}: {row:?}");
            }
        }
    }
}

#[test]
fn an_absent_key_of_a_grouping_set_needs_no_value() {
    // Equal numerics that look different, in one set that groups by them and in one that does not.
    let specs: Vec<ColumnSpec> = vec![(DataType::Decimal, 5, false), (DataType::Int4, 2, false)];
    let number = |value: i128, scale: u16| {
        let number = crate::decimal::Number::Small { value, scale };
        number.to_bytes().unwrap()
    };
    let mut column = BytesColumn::default();
    [number(10, 1), number(1, 0)]
        .iter()
        .for_each(|n| column.push(n));
    let vector = |values| {
        Arc::new(Vector {
            values,
            validity: None,
        })
    };
    let columns = vec![
        vector(Values::Bytes(column)),
        vector(Values::I32(vec![1, 2])),
    ];
    let table = vec![Batch::new(columns, 2)];
    let node = |sets: Vec<Vec<usize>>| {
        let input = Box::new(scan(&specs));
        Node::aggregate(
            1,
            Aggregate {
                input,
                keys: vec![key(0, &specs), key(1, &specs)],
                calls: vec![],
                grouping_sets: Some(sets),
            },
        )
    };
    let run = |sets| {
        crate::testing::run(
            &node(sets),
            std::slice::from_ref(&table),
            Default::default(),
        )
    };
    let found = rows_of(&run(vec![vec![0, 1], vec![1], vec![]]).unwrap());
    assert_eq!(found.len(), 5);
    assert!(found[2..].iter().all(|row| row[0].is_none()));
    assert!(run(vec![vec![0], vec![1]]).unwrap_err().needs_postgres());
}

#[test]
fn distinct_rows_are_the_models() {
    let specs: Vec<ColumnSpec> = vec![(DataType::Int4, 30, true), (DataType::TEXT_C, 30, true)];
    let table = random_batches(&mut Rng::new(6), &specs, 2000, 300);
    let expected: Vec<Row> = groups(&rows_of(&table), &[0, 1])
        .into_values()
        .map(|(key, _)| key)
        .collect();
    check_rows(&Node::distinct(1, scan(&specs)), &[table], &expected);
}

/// The model of an ordered-set aggregate over sorted values.
fn ordered_set(function: AggregateFunction, values: &[f64]) -> Option<f64> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    Some(match function {
        AggregateFunction::PercentileDisc(fraction) => {
            let wanted = f64::from_bits(fraction);
            // The first value with at least that share of the values up to it.
            let reached = (0..n).find(|i| (i + 1) as f64 >= wanted * n as f64);
            values[reached.unwrap_or(n - 1)]
        }
        AggregateFunction::PercentileCont(fraction) => {
            let at = f64::from_bits(fraction) * (n - 1) as f64;
            let (low, high) = (values[at.floor() as usize], values[at.ceil() as usize]);
            if low == high {
                low
            } else {
                low + (at - at.floor()) * (high - low)
            }
        }
        _ => {
            let count = |x: &f64| values.iter().filter(|y| *y == x).count();
            let most = values.iter().map(count).max().unwrap_or(0);
            *values.iter().find(|x| count(x) == most).unwrap()
        }
    })
}

#[test]
fn ordered_sets_match_the_model() {
    use AggregateFunction::*;
    let specs: Vec<ColumnSpec> = vec![
        (DataType::Int4, 60, true),
        (DataType::Int8, 30, true),
        (DataType::Date, 9, true),
        (DataType::Int2, 25, true),
    ];
    for rows in [0, 1, 700, 5000] {
        let table = random_batches(&mut Rng::new(31 + rows as u64), &specs, rows, 300);
        for keys in [vec![], vec![0]] {
            let fractions = [0.0, 0.1, 0.5, 0.75, 1.0];
            for (fraction, falling) in fractions.into_iter().flat_map(|f| [(f, false), (f, true)]) {
                let disc = PercentileDisc(f64::to_bits(fraction));
                let cont = PercentileCont(f64::to_bits(fraction));
                let asked = match falling {
                    false => [disc, cont, Mode],
                    true => [
                        PercentileDiscDesc(f64::to_bits(fraction)),
                        PercentileContDesc(f64::to_bits(fraction)),
                        ModeDesc,
                    ],
                };
                let float = Expr::cast(Expr::column(3, DataType::Int2), DataType::Float8).unwrap();
                let mut calls = vec![call(asked[0], 1, &specs), call(asked[2], 2, &specs)];
                calls.push(AggregateCall {
                    function: asked[1],
                    argument: Some(float),
                    distinct: false,
                    filter: None,
                });
                let plan = plan(&specs, &keys, calls);
                let mut expected = Vec::new();
                for (_, (key, rows)) in groups(&rows_of(&table), &keys) {
                    let sorted = |column: usize| {
                        let mut values = integers(&rows, column);
                        values.sort_unstable();
                        if falling {
                            values.reverse();
                        }
                        values.iter().map(|x| *x as f64).collect::<Vec<_>>()
                    };
                    let mut row = key;
                    let disc = ordered_set(disc, &sorted(1));
                    let mode = ordered_set(Mode, &sorted(2));
                    row.push(disc.map(|x| Scalar::I64(x as i64)));
                    row.push(mode.map(|x| Scalar::I32(x as i32)));
                    row.push(ordered_set(cont, &sorted(3)).map(Scalar::F64));
                    expected.push(row);
                }
                check_in_memory(&plan, &table, &expected);
            }
        }
    }
}

/// A group's values must fit into memory: where they do not, that is what is said.
fn check_in_memory(plan: &Node, table: &[Batch], expected: &[Row]) {
    let expected = crate::testing::canonical(expected);
    for (way, options) in crate::testing::ways() {
        match crate::testing::run(plan, &[table.to_vec()], options) {
            Err(Error::OutOfMemory) if way.starts_with("spilling") => {}
            Err(error) => panic!("{way}: {error}"),
            Ok(found) => assert_eq!(
                crate::testing::canonical(&rows_of(&found)),
                expected,
                "{way}"
            ),
        }
    }
}

#[test]
fn percentiles_of_floats_keep_their_specials() {
    let values = Values::F64(vec![f64::NAN, -0.0, f64::NEG_INFINITY, 7.5, f64::INFINITY]);
    let column = Vector {
        values,
        validity: None,
    };
    let table = vec![Batch::new(vec![Arc::new(column)], 5)];
    let specs: Vec<ColumnSpec> = vec![(DataType::Float8, 5, true)];
    let disc = |fraction: f64| AggregateFunction::PercentileDisc(fraction.to_bits());
    let calls = [0.0, 0.4, 0.6, 0.8, 1.0].map(|f| call(disc(f), 0, &specs));
    let plan = plan(&specs, &[], calls.to_vec());
    let options = crate::exec::Options::default();
    let found = crate::testing::run(&plan, &[table], options).unwrap();
    let expected =
        "[[Some(F64(-inf)), Some(F64(-0.0)), Some(F64(7.5)), Some(F64(inf)), Some(F64(NaN))]]";
    assert_eq!(format!("{:?}", rows_of(&found)), expected);
    let mode = plan_refused(AggregateFunction::Mode, &specs);
    assert!(mode.needs_postgres());
}

fn plan_refused(function: AggregateFunction, specs: &[ColumnSpec]) -> crate::error::Error {
    check(&call(function, 0, specs)).unwrap_err()
}

#[test]
fn constant_keys_and_shifted_sums_match_the_model() {
    let specs: Vec<ColumnSpec> = vec![(DataType::Int4, 9, true), (DataType::Int2, 300, true)];
    let table = random_batches(&mut Rng::new(3), &specs, 3000, 500);
    let constant = |n| Expr::constant(Scalar::I32(n), DataType::Int4).unwrap();
    let shifted = |op, n| AggregateCall {
        argument: Some(Expr::arith(op, Expr::column(1, DataType::Int2), constant(n)).unwrap()),
        ..call(AggregateFunction::Sum, 1, &specs)
    };
    use crate::expr::ArithOp::{Add, Sub};
    let shifts = [(Add, 5), (Sub, 7), (Add, i32::MAX - 40_000)];
    let one = GroupKey {
        expr: constant(1),
        nullable: false,
    };
    let aggregate = Aggregate {
        input: Box::new(scan(&specs)),
        keys: vec![one, key(0, &specs)],
        calls: shifts.iter().map(|&(op, n)| shifted(op, n)).collect(),
        grouping_sets: None,
    };
    let model = groups(&rows_of(&table), &[0]).into_values();
    let expected = model.map(|(mut key, rows)| {
        let values = integers(&rows, 1);
        key.insert(0, Some(Scalar::I32(1)));
        key.extend(shifts.iter().map(|&(op, n)| {
            let n = i128::from(if op == Sub { -n } else { n });
            let sum: i128 = values.iter().map(|v| v + n).sum();
            (!values.is_empty()).then_some(Scalar::I64(sum as i64))
        }));
        key
    });
    let expected: Vec<Row> = expected.collect();
    check_rows(&Node::aggregate(1, aggregate), &[table], &expected);
}

#[test]
fn texts_that_outgrow_their_numbers_are_grouped_as_they_are() {
    // Dictionaries of different values, so that text is numbered at first; some values come back in every batch.
    let batch = |number: usize| {
        let mut dict = BytesColumn::default();
        (0..600).for_each(|i| match i % 6 {
            0 => dict.push(format!("again {i}").as_bytes()),
            _ => dict.push(format!("a value of batch {number}: {i}").as_bytes()),
        });
        let codes = (0..700).map(|row| row % 600).collect();
        let dict = Arc::new(dict);
        let text = Vector {
            values: Values::Dict { codes, dict },
            validity: Some(Bitmap::from_bools((0..700).map(|row| row != 13))),
        };
        let numbers = Values::I32((0..700).map(|row| row % 2).collect());
        let numbers = Vector {
            values: numbers,
            validity: None,
        };
        Batch::new(vec![Arc::new(text), Arc::new(numbers)], 700)
    };
    let table: Vec<Batch> = (0..90).map(batch).collect();
    let specs: Vec<ColumnSpec> = vec![(DataType::TEXT_C, 1, true), (DataType::Int4, 2, false)];
    let calls = vec![
        call(AggregateFunction::CountStar, 0, &specs),
        call(AggregateFunction::Sum, 1, &specs),
    ];
    let plan = plan(&specs, &[0, 1], calls);
    let expected: Vec<Row> = groups(&rows_of(&table), &[0, 1])
        .into_values()
        .map(|(mut key, rows)| {
            let sum: i128 = integers(&rows, 1).iter().sum();
            key.push(Some(Scalar::I64(rows.len() as i64)));
            key.push(Some(Scalar::I64(sum as i64)));
            key
        })
        .collect();
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        let options = crate::exec::Options {
            threads,
            pool: Some(Arc::new(pool.unwrap())),
            budget: crate::memory::MemoryBudget::new(16 << 20),
            spill: Some(Box::new(crate::spill::MemorySpill)),
            local_groups: 1000,
            ..Default::default()
        };
        let found = crate::testing::run(&plan, &[table.to_vec()], options).unwrap();
        let found = crate::testing::canonical(&rows_of(&found));
        assert!(found == crate::testing::canonical(&expected));
    }
}
