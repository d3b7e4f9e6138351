// SPDX-License-Identifier: Apache-2.0
use std::sync::{Arc, OnceLock};

use doris_storage::vector::{Bitmap as Bits, BytesColumn, Physical, Values, Vector};
use proptest::prelude::*;

use super::{accumulator, Accumulator, Groups, SortedGroups};
use crate::decimal::{Number, View};
use crate::expr::Expr;
use crate::plan::{AggregateCall, AggregateFunction, ApproxHash, Sketch};
use crate::sketch::hash::finish_64;
use crate::sketch::{Bitmap, Hll};
use crate::types::{Collation, DataType};

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

/// Makes the argument of some rows.
type MakeArgument = fn(&[Option<i64>]) -> Vector;

/// Numbers and groups of rows, some of them NULL, whose registers are to be those of the sketch.
struct Approximated {
    groups: Vec<u32>,
    /// Groups.
    count: u32,
    argument: MakeArgument,
    data_type: DataType,
    values: Vec<Option<i64>>,
}

impl Approximated {
    /// The stored counts of each group, made row by row.
    fn expected(&self, hash: ApproxHash) -> Vec<Vec<u8>> {
        let mut counts = vec![Hll::default(); self.count as usize];
        for (value, group) in self.values.iter().zip(&self.groups) {
            let Some(value) = value else { continue };
            let by_text = hash == ApproxHash::Text || self.data_type.physical() == Physical::Bytes;
            counts[*group as usize].add_hash(match by_text {
                true => Hll::hash(value.to_string().as_bytes()),
                false => finish_64(*value as u64),
            });
        }
        counts.iter().map(Hll::encode).collect()
    }

    /// An accumulator that has seen the rows `from..to`, in batches.
    fn states(&self, hash: ApproxHash, from: usize, to: usize) -> Box<dyn Accumulator> {
        let call = AggregateCall {
            function: AggregateFunction::ApproxDistinct(hash),
            argument: Some(Expr::column(0, self.data_type)),
            distinct: false,
            filter: None,
        };
        let mut states = accumulator(&call).unwrap();
        states.resize(self.count as usize);
        for from in (from..to).step_by(4000) {
            let rows = from..to.min(from + 4000);
            let groups = match self.count {
                1 => Groups::One(rows.len()),
                _ => Groups::Each(&self.groups[rows.clone()]),
            };
            let column = (self.argument)(&self.values[rows]);
            states.update(groups, Some(&column)).unwrap();
        }
        states
    }

    fn check(&self) {
        let every: Vec<u32> = (0..self.count).collect();
        for hash in [ApproxHash::Text, ApproxHash::Value] {
            let whole = self.states(hash, 0, self.values.len());
            let expected = self.expected(hash);
            let exported = whole.export(&every);
            for (group, expected) in expected.iter().enumerate() {
                let stored = exported[0].bytes(group).unwrap();
                assert!(stored == expected, "registers of group {group}");
            }
            let estimate = |stored: &Vec<u8>| Hll::decode(stored).unwrap().estimate() as i64;
            let estimates = [vector(Values::I64(expected.iter().map(estimate).collect()))];
            let finished = |states: &dyn Accumulator| states.finish(0, every.len()).unwrap();
            assert_eq!(finished(&*whole), estimates);
            let split = self.values.len().min(40);
            let mut first = self.states(hash, 0, split);
            let second = self.states(hash, split, self.values.len());
            first.merge(&every, &second.export(&every), 0).unwrap();
            assert_eq!(finished(&*first), estimates);
            let memory = first.memory_bytes();
            first.clear();
            assert!(first.memory_bytes() <= memory);
        }
    }
}

fn optional(values: Values, rows: &[Option<i64>]) -> Vector {
    let all = rows.iter().all(Option::is_some);
    let validity = (!all).then(|| Bits::from_bools(rows.iter().map(Option::is_some)));
    Vector { values, validity }
}

fn numbers(rows: &[Option<i64>]) -> Vector {
    let values = rows.iter().map(|row| row.unwrap_or(7));
    optional(Values::I64(values.collect()), rows)
}

fn small_numbers(rows: &[Option<i64>]) -> Vector {
    let values = rows.iter().map(|row| row.unwrap_or(7) as i16);
    optional(Values::I16(values.collect()), rows)
}

fn texts(rows: &[Option<i64>]) -> Vector {
    let mut column = BytesColumn::default();
    let text = |row: &Option<i64>| row.map_or(String::new(), |row| row.to_string());
    rows.iter()
        .for_each(|row| column.push(text(row).as_bytes()));
    optional(Values::Bytes(column), rows)
}

/// The texts of -50 to 10,949 by their codes; a NULL's code is none of the dictionary's.
fn coded_texts(rows: &[Option<i64>]) -> Vector {
    static DICT: OnceLock<Arc<BytesColumn>> = OnceLock::new();
    let dict = DICT.get_or_init(|| {
        let mut dict = BytesColumn::default();
        (-50..10_950i64).for_each(|entry| dict.push(entry.to_string().as_bytes()));
        Arc::new(dict)
    });
    let code = |row: &Option<i64>| row.map_or(u32::MAX, |row| (row + 50) as u32);
    let codes = rows.iter().map(code).collect();
    let dict = Arc::clone(dict);
    optional(Values::Dict { codes, dict }, rows)
}

#[test]
fn approximate_counts_are_those_of_the_sketch_however_rows_are_split() {
    let text = DataType::Text {
        collation: Collation::C,
    };
    let arguments: [(MakeArgument, DataType, i64); 4] = [
        (numbers, DataType::Int8, 1_000_003),
        (small_numbers, DataType::Int2, 32_003),
        (texts, text, 100_003),
        (coded_texts, text, 10_903),
    ];
    // A few groups have few rows where there are many groups.
    let group = |row: i64, count: i64| match row * 7 % count {
        0..5 if count > 5 && row % 29 > 0 => count - 1,
        other => other,
    };
    // Few values of few groups; many of one; many of so many groups that values wait.
    for (rows, count, nulls) in [
        (5000, 3, 7),
        (30_000, 1, 0),
        (150_000, 60, 0),
        (90_000, 70, 5),
    ] {
        for (argument, data_type, different) in arguments {
            let is_null = |row: i64| nulls != 0 && row % nulls == 0;
            let value = |row: i64| row * 7919 % different - 50;
            Approximated {
                groups: (0..rows)
                    .map(|row| group(row, i64::from(count)) as u32)
                    .collect(),
                count,
                argument,
                data_type,
                values: (0..rows)
                    .map(|row| (!is_null(row)).then(|| value(row)))
                    .collect(),
            }
            .check();
        }
    }
}

#[test]
fn unions_of_stored_sets_are_those_of_their_members() {
    // Sets of one value, of a few, and of so many that they are stored as roaring bitmaps.
    let sets: Vec<Vec<u64>> = (0..300u64)
        .map(|i| {
            (0..[1, 5, 2000][i as usize % 3])
                .map(|v| v * 31 % (100 + i) + i * 7)
                .collect()
        })
        .collect();
    let groups: Vec<u32> = (0..300).map(|i| i % 4).collect();
    let hash = |value: &u64| Hll::hash(value.to_string().as_bytes());
    for sketch in [Sketch::Bitmap, Sketch::Hll] {
        let encode = |values: &[u64]| match sketch {
            Sketch::Bitmap => values.iter().copied().collect::<Bitmap>().encode(),
            Sketch::Hll => {
                let mut hll = Hll::default();
                values.iter().for_each(|value| hll.add_hash(hash(value)));
                hll.encode()
            }
        };
        let column = |sets: &[Vec<u64>]| {
            let mut column = BytesColumn::default();
            sets.iter().for_each(|set| column.push(&encode(set)));
            vector(Values::Bytes(column))
        };
        for (function, counted) in [
            (AggregateFunction::Union(sketch), false),
            (AggregateFunction::UnionCount(sketch), true),
        ] {
            let call = AggregateCall {
                function,
                argument: Some(Expr::column(0, DataType::Bytea)),
                distinct: false,
                filter: None,
            };
            let part = |from: usize, to: usize| {
                let mut states = accumulator(&call).unwrap();
                states.resize(5);
                let rows = Groups::Each(&groups[from..to]);
                states.update(rows, Some(&column(&sets[from..to]))).unwrap();
                states
            };
            let mut first = part(0, 100);
            first
                .merge(&[0, 1, 2, 3], &part(100, 300).export(&[0, 1, 2, 3]), 0)
                .unwrap();
            let of_group = |group: u32| -> Vec<u64> {
                let sets = sets.iter().zip(&groups).filter(|(_, g)| **g == group);
                let mut all: Vec<u64> = sets.flat_map(|(set, _)| set.clone()).collect();
                all.sort_unstable();
                all.dedup();
                all
            };
            let all: Vec<Vec<u64>> = (0..5).map(of_group).collect();
            let expected = match (counted, sketch) {
                (false, _) => column(&all),
                (true, Sketch::Bitmap) => vector(Values::I64(
                    all.iter().map(|set| set.len() as i64).collect(),
                )),
                (true, Sketch::Hll) => vector(Values::I64(
                    all.iter()
                        .map(|set| Hll::decode(&encode(set)).unwrap().estimate() as i64)
                        .collect(),
                )),
            };
            assert_eq!(first.finish(0, 5).unwrap(), vec![expected]);
            assert!(first.memory_bytes() > 0);
        }
    }
    let call = AggregateCall {
        function: AggregateFunction::UnionCount(Sketch::Hll),
        argument: Some(Expr::column(0, DataType::Bytea)),
        distinct: false,
        filter: None,
    };
    let mut damaged = BytesColumn::default();
    damaged.push(&[1, 3, 7]);
    let mut states = accumulator(&call).unwrap();
    states.resize(1);
    assert!(states
        .update(Groups::One(1), Some(&vector(Values::Bytes(damaged))))
        .is_err());
}

/// Some numerics as the bytes that a vector holds.
fn decimals(numbers: &[Option<Number>]) -> Vector {
    let mut column = BytesColumn::default();
    for number in numbers {
        let bytes = number.as_ref().map(|n| n.to_bytes().unwrap());
        column.push(&bytes.unwrap_or_default());
    }
    Vector {
        values: Values::Bytes(column),
        validity: Some(Bits::from_bools(numbers.iter().map(Option::is_some))),
    }
}

fn shown(result: &[Vector], group: usize) -> Option<String> {
    let column = &result[0];
    (!column.is_null(group)).then(|| View::new(column.bytes(group).unwrap()).number().to_string())
}

proptest! {
    /// However rows are split between two accumulators, the answer is that of adding and comparing them one by one.
    #[test]
    fn numerics_of_any_scale_are_added_and_compared_exactly(
        rows in proptest::collection::vec((0u32..4, any::<bool>(), any::<bool>(), -1000i128..1000, 0u16..4, 0u32..40), 1..80),
    ) {
        use AggregateFunction::{Avg, Max, Min, Sum};
        let number = |row: &(u32, bool, bool, i128, u16, u32)| match (row.2, row.3) {
            (true, ..-900) => None,
            (_, -3) => Some(Number::NaN),
            (_, -2) => Some(Number::Infinity),
            (_, -1) => Some(Number::NegativeInfinity),
            (_, digits) => {
                let huge = Number::Small { value: 10i128.pow(row.5.min(38)), scale: row.4 };
                Some(Number::Small { value: digits, scale: row.4 }.mul(&huge))
            }
        };
        let numbers: Vec<Option<Number>> = rows.iter().map(number).collect();
        for function in [Sum, Avg, Min, Max] {
            let argument = Some(Expr::column(0, DataType::Decimal));
            let call = AggregateCall { function, argument, distinct: false, filter: None };
            let mut halves = [true, false].map(|half| {
                let picked = |i: &usize| rows[*i].1 == half;
                let at: Vec<usize> = (0..rows.len()).filter(picked).collect();
                let groups: Vec<u32> = at.iter().map(|i| rows[*i].0).collect();
                let values: Vec<_> = at.iter().map(|i| numbers[*i].clone()).collect();
                let mut states = accumulator(&call).unwrap();
                states.resize(4);
                states.update(Groups::Each(&groups), Some(&decimals(&values))).unwrap();
                states
            });
            let other = halves[1].export(&[0, 1, 2, 3]);
            halves[0].merge(&[0, 1, 2, 3], &other, 0).unwrap();
            for group in 0..4usize {
                let own = rows.iter().zip(&numbers).filter(|(row, _)| row.0 as usize == group);
                let own: Vec<&Number> = own.filter_map(|(_, number)| number.as_ref()).collect();
                let order = |a: &Number, b: &Number| {
                    let (a, b) = (a.to_bytes().unwrap(), b.to_bytes().unwrap());
                    View::new(&a).compare(&View::new(&b))
                };
                let best = |greatest: bool| own.iter().copied().reduce(|a, b| {
                    if order(b, a).is_gt() == greatest && order(b, a).is_ne() { b } else { a }
                });
                let result = halves[0].finish(group, group + 1);
                let wanted = match function {
                    Sum | Avg => own.iter().fold(None, |sum: Option<Number>, n| {
                        Some(sum.unwrap_or(Number::ZERO).add(n))
                    }),
                    _ => best(function == Max).cloned(),
                };
                let tied = own.iter().any(|n| wanted.as_ref().is_some_and(|best| {
                    order(n, best).is_eq() && n.scale() != best.scale()
                }));
                if matches!(function, Min | Max) && tied {
                    prop_assert!(result.unwrap_err().needs_postgres());
                    continue;
                }
                prop_assert_eq!(shown(&result.unwrap(), 0), wanted.map(|n| n.to_string()));
            }
        }
    }
}

proptest! {
    /// Distinct numerics count once; where equal ones show different scales, PostgreSQL is asked.
    #[test]
    fn distinct_numerics_are_added_once(
        rows in proptest::collection::vec((0u32..3, any::<bool>(), -6i128..6, 0u16..2, 0u32..3), 1..40),
    ) {
        use AggregateFunction::{Avg, Sum, VarSamp};
        let number = |row: &(u32, bool, i128, u16, u32)| match row.2 {
            -6 => None,
            5 => Some(Number::NaN),
            // The scale follows from the digits but for some.
            digits if row.4 > 0 => Some(Number::Small { value: digits, scale: (digits & 1) as u16 }),
            digits => Some(Number::Small { value: digits, scale: row.3 }),
        };
        let numbers: Vec<Option<Number>> = rows.iter().map(number).collect();
        for function in [Sum, Avg, VarSamp] {
            let argument = Some(Expr::column(0, DataType::Decimal));
            let call = AggregateCall { function, argument, distinct: true, filter: None };
            let half = |half: bool| {
                let at: Vec<usize> = (0..rows.len()).filter(|i| rows[*i].1 == half).collect();
                let groups: Vec<u32> = at.iter().map(|i| rows[*i].0).collect();
                let values: Vec<_> = at.iter().map(|i| numbers[*i].clone()).collect();
                let mut states = accumulator(&call).unwrap();
                states.resize(3);
                states.update(Groups::Each(&groups), Some(&decimals(&values))).map(|()| states)
            };
            let merged = half(true).and_then(|mut first| {
                let other = half(false)?.export(&[0, 1, 2]);
                first.merge(&[0, 1, 2], &other, 0).map(|()| first)
            });
            let mut tallies = vec![crate::decimal::numeric_accumulator::NumericAccumulator::default(); 3];
            let mut met: Vec<(u32, Number)> = Vec::new();
            let mut tied = false;
            for (row, number) in rows.iter().zip(&numbers) {
                let Some(number) = number else { continue };
                let equal = |(group, known): &&(u32, Number)| {
                    let (a, b) = (known.to_bytes().unwrap(), number.to_bytes().unwrap());
                    *group == row.0 && View::new(&a).compare(&View::new(&b)).is_eq()
                };
                match met.iter().find(equal) {
                    Some((_, known)) => tied |= known.scale() != number.scale(),
                    None => {
                        met.push((row.0, number.clone()));
                        tallies[row.0 as usize].add(number, true).unwrap();
                    }
                }
            }
            let Ok(states) = merged else {
                prop_assert!(tied);
                continue;
            };
            prop_assert!(!tied);
            for (group, tally) in tallies.iter().enumerate() {
                let wanted = match function {
                    VarSamp => tally.deviation(VarSamp).unwrap(),
                    _ => tally.sum(),
                };
                let result = states.finish(group, group + 1).unwrap();
                prop_assert_eq!(shown(&result, 0), wanted.map(|n| n.to_string()));
            }
        }
    }

    /// However rows are split, variances of exact numbers are those of all of them.
    #[test]
    fn variances_of_exact_numbers_do_not_depend_on_how_rows_are_split(
        rows in proptest::collection::vec((any::<bool>(), any::<i64>()), 0..40),
    ) {
        use AggregateFunction::{StddevPop, StddevSamp, VarPop, VarSamp};
        let wide = DataType::Numeric { precision: 38, scale: 3 };
        let types = [DataType::Int2, DataType::Int4, DataType::Int8, wide];
        for t in types {
            let column = |half: Option<bool>| {
                let picked = rows.iter().filter(|row| half.is_none_or(|half| row.0 == half));
                let values = picked.map(|row| row.1);
                vector(match t {
                    DataType::Int2 => Values::I16(values.map(|v| v as i16).collect()),
                    DataType::Int4 => Values::I32(values.map(|v| v as i32).collect()),
                    DataType::Int8 => Values::I64(values.collect()),
                    _ => Values::I128(values.map(|v| i128::from(v) << 40).collect()),
                })
            };
            for function in [VarPop, VarSamp, StddevPop, StddevSamp] {
                let call = AggregateCall { function, argument: Some(Expr::column(0, t)), distinct: false, filter: None };
                let states = |half: Option<bool>| {
                    let column = column(half);
                    let mut states = accumulator(&call).unwrap();
                    states.resize(1);
                    states.update(Groups::One(column.len()), Some(&column)).unwrap();
                    states
                };
                let mut first = states(Some(true));
                first.merge(&[0], &states(Some(false)).export(&[0]), 0).unwrap();
                prop_assert_eq!(first.finish(0, 1).unwrap(), states(None).finish(0, 1).unwrap());
            }
        }
    }
}

#[test]
fn regressions_of_exact_data_are_exact_however_rows_are_split() {
    use crate::plan::Regression::*;
    // y = 2x + 1 with deviations of 0.5 that cancel each other out; all sums are exact in floats.
    let points: Vec<(f64, f64)> = (0..8)
        .map(|x| {
            (
                2.0 * f64::from(x) + 1.0 + if x % 4 < 2 { 0.5 } else { -0.5 },
                f64::from(x),
            )
        })
        .collect();
    let column = |points: &[(f64, f64)]| {
        let pair = |(y, x): &(f64, f64)| [y.to_le_bytes(), x.to_le_bytes()];
        vector(Values::Fixed {
            width: 16,
            data: points.iter().flat_map(pair).flatten().collect(),
        })
    };
    let layout = doris_storage::vector::Physical::Fixed(16);
    let answer = |wanted, parts: &[&[(f64, f64)]]| {
        let call = AggregateCall {
            function: AggregateFunction::Regression(wanted),
            argument: Some(Expr::column(0, DataType::Opaque { layout })),
            distinct: false,
            filter: None,
        };
        let mut all = accumulator(&call).unwrap();
        all.resize(1);
        for part in parts {
            let mut states = accumulator(&call).unwrap();
            states.resize(1);
            states
                .update(Groups::One(part.len()), Some(&column(part)))
                .unwrap();
            all.merge(&[0], &states.export(&[0]), 0).unwrap();
        }
        let result = all.finish(0, 1).unwrap().remove(0);
        match &result.values {
            Values::F64(values) if !result.is_null(0) => Some(values[0]),
            _ => None,
        }
    };
    let splits: [&[&[(f64, f64)]]; 3] = [
        &[&points],
        &[&points[..4], &points[4..]],
        &[&[], &points, &[]],
    ];
    let wanted = [
        (AvgX, 3.5),
        (AvgY, 8.0),
        (Sxx, 42.0),
        (Sxy, 80.0),
        (CovarPop, 10.0),
        (Slope, 80.0 / 42.0),
    ];
    for (wanted, result) in wanted {
        for parts in splits {
            let got = answer(wanted, parts).unwrap();
            assert!((got - result).abs() < 1e-12, "{wanted:?}: {got}");
        }
    }
    assert_eq!(answer(Corr, &[&[(1.0, 2.0)]]), None);
    assert_eq!(answer(CovarSamp, &[&[(1.0, 2.0)]]), None);
    assert_eq!(answer(CovarPop, &[&[(1.0, 2.0)]]), Some(0.0));
    assert_eq!(answer(R2, &[&[(3.0, 1.0), (3.0, 2.0)]]), Some(1.0));
    assert_eq!(answer(Corr, &[]), None);
    assert!(answer(Sxx, &[&[(1.0, f64::INFINITY)]]).unwrap().is_nan());
    assert_eq!(answer(Syy, &[&[(1.0, f64::INFINITY)]]), Some(0.0));
}
