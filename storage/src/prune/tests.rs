// SPDX-License-Identifier: Apache-2.0
//! Random predicates over random segments: a verdict never contradicts the rows.
use std::cmp::Ordering;

use proptest::prelude::*;

use super::*;
use crate::key::SortKey;
use crate::segment::{
    assemble, encode_column, ColumnSpec, EncodedSegment, SortOrder, WriteOptions,
};
use crate::sort::{permutation, Direction};
use crate::vector::{Vector, VectorBuilder};

const LAYOUTS: [Physical; 5] = [
    Physical::I32,
    Physical::Bytes,
    Physical::F64,
    Physical::I128,
    Physical::Bool,
];

/// A value of a small domain, so that predicates hit; `None` is NULL.
fn scalar(physical: Physical, pick: u8) -> Scalar {
    let n = i128::from(pick % 12);
    match physical {
        Physical::Bool => Scalar::Int(n % 2),
        Physical::F64 => {
            Scalar::Float([f64::NAN, -0.0, 0.0, f64::NEG_INFINITY, 1.5, -1.5, 7.25][n as usize % 7])
        }
        Physical::Bytes => {
            let long = "x".repeat(70);
            let values = [
                "",
                "a",
                "ab",
                "abc",
                "b",
                "b\0",
                "b\0c",
                &long,
                &format!("{long}y"),
                "\u{7f}",
                "zz",
                "z",
            ];
            let mut value = values[n as usize].as_bytes().to_vec();
            if pick >= 240 {
                value = vec![0xff; 65 + usize::from(pick % 3)];
            }
            Scalar::bytes(value)
        }
        Physical::I128 => Scalar::Int((n - 6) << 100),
        _ => Scalar::Int(n - 6),
    }
}

fn push(builder: &mut VectorBuilder, value: Option<Scalar>) {
    match (value, builder.physical()) {
        (None, _) => builder.push_null(),
        (Some(Scalar::Int(v)), Physical::Bool) => builder.push_bool(v == 1),
        (Some(Scalar::Int(v)), Physical::I128) => builder.push_i128(v),
        (Some(Scalar::Int(v)), _) => builder.push_i32(v as i32),
        (Some(Scalar::Float(v)), _) => builder.push_f64(v),
        (Some(Scalar::Bytes { value, .. }), _) => builder.push_bytes(&value),
    }
}

/// SQL's answer for one row: `None` is NULL.
fn evaluate(predicate: &Predicate, columns: &[Vector], row: usize) -> Option<bool> {
    let value = |column: u16| Scalar::of(&columns[usize::from(column)], row);
    let compare = |column: u16, op: CmpOp, to: &Scalar| {
        let order = value(column)?.order(to)?;
        Some(match op {
            CmpOp::Eq => order == Ordering::Equal,
            CmpOp::Ne => order != Ordering::Equal,
            CmpOp::Lt => order == Ordering::Less,
            CmpOp::Le => order != Ordering::Greater,
            CmpOp::Gt => order == Ordering::Greater,
            CmpOp::Ge => order != Ordering::Less,
        })
    };
    let all = |parts: &[Predicate], stop: bool| {
        let mut answer = Some(!stop);
        for part in parts {
            match evaluate(part, columns, row) {
                Some(v) if v == stop => return Some(stop),
                None => answer = None,
                _ => {}
            }
        }
        answer
    };
    match predicate {
        Predicate::Const(v) => Some(*v),
        Predicate::Not(inner) => evaluate(inner, columns, row).map(|v| !v),
        Predicate::And(parts) => all(parts, false),
        Predicate::Or(parts) => all(parts, true),
        Predicate::IsNull(column) => Some(value(*column).is_none()),
        Predicate::IsNotNull(column) => Some(value(*column).is_some()),
        Predicate::Cmp { column, op, value } => compare(*column, *op, value),
        Predicate::In { column, values } => {
            value(*column)?;
            Some(
                values
                    .iter()
                    .any(|v| compare(*column, CmpOp::Eq, v) == Some(true)),
            )
        }
        Predicate::Prefix { column, bytes } => match value(*column)? {
            Scalar::Bytes { value, .. } => Some(value.starts_with(bytes)),
            _ => None,
        },
    }
}

fn leaf() -> impl Strategy<Value = Predicate> {
    let column = 0..LAYOUTS.len() as u16;
    let op = prop_oneof![
        Just(CmpOp::Eq),
        Just(CmpOp::Ne),
        Just(CmpOp::Lt),
        Just(CmpOp::Le),
        Just(CmpOp::Gt),
        Just(CmpOp::Ge)
    ];
    prop_oneof![
        8 => (column.clone(), op, any::<u8>()).prop_map(|(column, op, pick)| {
            Predicate::Cmp { column, op, value: scalar(LAYOUTS[usize::from(column)], pick) }
        }),
        2 => (column.clone(), proptest::collection::vec(any::<u8>(), 0..4)).prop_map(|(column, picks)| {
            let values = picks.into_iter().map(|p| scalar(LAYOUTS[usize::from(column)], p)).collect();
            Predicate::In { column, values }
        }),
        1 => column.clone().prop_map(Predicate::IsNull),
        1 => column.prop_map(Predicate::IsNotNull),
        2 => any::<u8>().prop_map(|pick| match scalar(Physical::Bytes, pick) {
            Scalar::Bytes { value, .. } => Predicate::Prefix { column: 1, bytes: value },
            _ => Predicate::Const(true),
        }),
        1 => any::<bool>().prop_map(Predicate::Const),
    ]
}

fn predicate() -> impl Strategy<Value = Predicate> {
    leaf().prop_recursive(3, 12, 4, |inner| {
        let parts = proptest::collection::vec(inner.clone(), 0..4);
        prop_oneof![
            3 => parts.clone().prop_map(Predicate::And),
            1 => parts.prop_map(Predicate::Or),
            1 => inner.prop_map(|p| Predicate::Not(Box::new(p))),
        ]
    })
}

type Row = [Option<u8>; 5];

/// A sorted segment, its rows in order, and its footer.
fn build(rows: &[Row], keys: &[SortKey], order: Order) -> (EncodedSegment, Vec<Vector>, Footer) {
    let mut columns: Vec<Vector> = Vec::new();
    for (c, physical) in LAYOUTS.into_iter().enumerate() {
        let mut builder = VectorBuilder::new(physical);
        rows.iter()
            .for_each(|row| push(&mut builder, row[c].map(|pick| scalar(physical, pick))));
        columns.push(builder.finish());
    }
    let direction = |k: &SortKey| Direction {
        descending: k.descending,
        nulls_first: k.nulls_first,
    };
    let by: Vec<(&Vector, Direction)> = keys
        .iter()
        .map(|k| (&columns[usize::from(k.column)], direction(k)))
        .collect();
    let sorted = if by.is_empty() {
        columns.clone()
    } else {
        let rows = permutation(&by);
        columns.iter().map(|c| c.take(&rows)).collect()
    };
    let options = WriteOptions {
        block_rows: 7,
        ..WriteOptions::default()
    };
    let encoded = sorted.iter().zip(0u16..).map(|(vector, id)| {
        let order = if id == 1 { order } else { Order::Natural };
        let spec = ColumnSpec {
            id,
            physical: vector.physical(),
            order,
            scale: 0,
            tag: 0,
            bloom: true,
        };
        encode_column(&spec, vector, &options).unwrap()
    });
    let sort = SortOrder {
        keys: keys.to_vec(),
        sorted: true,
    };
    let segment = assemble(sort, encoded.collect()).unwrap();
    let footer = Footer::decode(
        &segment.bytes[segment.footer_offset as usize..],
        segment.footer_offset,
    )
    .unwrap();
    (segment, sorted, footer)
}

fn sound(verdict: Verdict, mut answers: impl Iterator<Item = Option<bool>>) -> bool {
    match verdict {
        Verdict::None => !answers.any(|a| a == Some(true)),
        Verdict::All => answers.all(|a| a == Some(true)),
        Verdict::Some => true,
    }
}

fn keys() -> impl Strategy<Value = Vec<SortKey>> {
    let key = (0..5u16, any::<bool>(), any::<bool>());
    proptest::collection::vec(key, 0..4).prop_map(|keys| {
        let mut keys: Vec<SortKey> = keys
            .into_iter()
            .map(|(column, descending, nulls_first)| SortKey {
                column,
                descending,
                nulls_first,
            })
            .collect();
        let mut seen = Vec::new();
        keys.retain(|k| {
            !seen.contains(&k.column) && {
                seen.push(k.column);
                true
            }
        });
        keys
    })
}

fn filter_of<'a>(segment: &'a EncodedSegment, meta: &ColumnMeta, block: usize) -> Option<&'a [u8]> {
    let range = meta.blocks[block].bloom.clone()?;
    bloom::checked(&segment.bytes[range.start as usize..range.end as usize]).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn verdicts_never_contradict_the_rows(
        rows in proptest::collection::vec(any::<[Option<u8>; 5]>(), 1..60),
        keys in keys(),
        natural in any::<bool>(),
        predicates in proptest::collection::vec(predicate(), 1..12),
    ) {
        let order = if natural { Order::Natural } else { Order::EqualityOnly };
        let (segment, columns, footer) = build(&rows, &keys, order);
        let blooms = |meta: &ColumnMeta, i: usize| {
            filter_of(&segment, meta, i)
        };
        for predicate in &predicates {
            let answers = |range: Range<usize>| range.map(|row| evaluate(predicate, &columns, row));
            let check = footer.check_segment(predicate);
            prop_assert!(sound(check.verdict, answers(0..rows.len())), "{check:?} {predicate:?}");
            let all = footer.check_blocks(predicate, &blooms);
            for (block, at_once) in all.into_iter().enumerate() {
                let range = block * 7..rows.len().min(block * 7 + 7);
                let check = footer.check_block_with(block, predicate, &blooms);
                prop_assert_eq!(check, at_once);
                prop_assert!(sound(check.verdict, answers(range)), "block {block} {check:?} {predicate:?}");
            }
        }
    }
}

/// Rows `(i / 10, i % 10)` sorted by both, in blocks of 7.
fn pairs() -> (EncodedSegment, Footer) {
    let column = |f: fn(i32) -> i32| {
        let mut builder = VectorBuilder::new(Physical::I32);
        (0..1000).for_each(|i| builder.push_i32(f(i)));
        builder.finish()
    };
    let columns = [column(|i| i / 10), column(|i| i % 10 * 2)];
    let options = WriteOptions {
        block_rows: 7,
        ..WriteOptions::default()
    };
    let encoded = columns.iter().zip(0u16..).map(|(vector, id)| {
        let spec = ColumnSpec {
            id,
            physical: Physical::I32,
            order: Order::Natural,
            scale: 0,
            tag: 0,
            bloom: true,
        };
        encode_column(&spec, vector, &options).unwrap()
    });
    let key = |column| SortKey {
        column,
        descending: false,
        nulls_first: false,
    };
    let segment = assemble(
        SortOrder {
            keys: vec![key(0), key(1)],
            sorted: true,
        },
        encoded.collect(),
    )
    .unwrap();
    let footer = Footer::decode(
        &segment.bytes[segment.footer_offset as usize..],
        segment.footer_offset,
    )
    .unwrap();
    (segment, footer)
}

fn cmp(column: u16, op: CmpOp, value: i128) -> Predicate {
    Predicate::Cmp {
        column,
        op,
        value: Scalar::Int(value),
    }
}

#[test]
fn a_full_key_leaves_one_block_or_two() {
    let (_, footer) = pairs();
    let both = Predicate::And(vec![cmp(0, CmpOp::Eq, 42), cmp(1, CmpOp::Eq, 6)]);
    assert!(footer.key_blocks(&both).len() <= 2);
    let left: Vec<Check> = (0..footer.block_count())
        .map(|i| footer.check_block(i, &both))
        .collect();
    assert!(left.iter().filter(|c| c.verdict != Verdict::None).count() <= 2);
    // 420 / 7 = 60 begins with (42, 0): the zone maps of block 61 do not exclude (42, 6), its keys do.
    assert_eq!(left[61].reason, Some(Reason::KeyIndex));
}

#[test]
fn verdicts_are_as_sharp_as_they_can_be() {
    let (segment, footer) = pairs();
    let verdict = |p: &Predicate| footer.check_segment(p).verdict;
    assert_eq!(verdict(&cmp(0, CmpOp::Ge, 0)), Verdict::All);
    assert_eq!(verdict(&cmp(0, CmpOp::Gt, 99)), Verdict::None);
    assert_eq!(
        verdict(&Predicate::Not(Box::new(cmp(0, CmpOp::Gt, 99)))),
        Verdict::All
    );
    assert_eq!(verdict(&Predicate::IsNull(0)), Verdict::None);
    assert_eq!(verdict(&cmp(1, CmpOp::Eq, 7)), Verdict::Some);
    let blooms = |meta: &ColumnMeta, i: usize| filter_of(&segment, meta, i);
    let odd = Predicate::In {
        column: 1,
        values: vec![Scalar::Int(7), Scalar::Int(9)],
    };
    let pruned = (0..footer.block_count())
        .map(|i| footer.check_block_with(i, &odd, &blooms))
        .filter(|c| c.reason == Some(Reason::Bloom))
        .count();
    assert!(pruned * 10 > footer.block_count() * 9, "{pruned}");
}

#[test]
fn a_damaged_filter_is_told() {
    let vector = Vector {
        values: crate::vector::Values::I64((0..1000).collect()),
        validity: None,
    };
    let mut bytes = Vec::new();
    bloom::build(&vector, 0..1000, &mut bytes);
    assert!(bloom::checked(&bytes).unwrap().is_some());
    assert!(bloom::checked(&bytes[..bytes.len() - 1]).is_err());
    // Without a checksum it is not asked.
    assert_eq!(bloom::checked(&bytes[..bytes.len() - 8]).unwrap(), None);
    for at in [0, bytes.len() / 2, bytes.len() - 1] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 4;
        assert!(bloom::checked(&damaged).is_err());
    }
}
