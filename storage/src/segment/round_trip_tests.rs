// SPDX-License-Identifier: Apache-2.0
//! Any vectors through a whole segment, and damaged segments.
use proptest::prelude::*;

use super::tests::{assert_same, read_column, spec};
use super::*;
use crate::vector::{BytesColumn, Physical, Values, Vector, VectorBuilder};

/// A value of any layout, made of 64 random bits; small `bits` repeat.
fn push(builder: &mut VectorBuilder, bits: u64) {
    let wide = i128::from(bits as i64) << (bits % 60);
    match builder.physical() {
        Physical::Bool => builder.push_bool(bits % 2 == 1),
        Physical::I16 => builder.push_i16(bits as i16),
        Physical::I32 => builder.push_i32(bits as i32),
        Physical::I64 => builder.push_i64(bits as i64),
        Physical::I128 => builder.push_i128(wide),
        Physical::F32 => builder.push_f32(if bits.is_multiple_of(2) {
            bits as f32 / 10.0
        } else {
            f32::from_bits(bits as u32)
        }),
        Physical::F64 => builder.push_f64(if bits % 3 < 2 {
            bits as f64 / 100.0
        } else {
            f64::from_bits(bits)
        }),
        Physical::Fixed(n) => builder.push_bytes(&bits.to_le_bytes()[..usize::from(n)]),
        Physical::Bytes => builder.push_bytes(
            format!("{:x}", bits.rotate_left(20))
                .repeat(bits as usize % 4)
                .as_bytes(),
        ),
    }
}

const LAYOUTS: [Physical; 9] = [
    Physical::Bool,
    Physical::I16,
    Physical::I32,
    Physical::I64,
    Physical::I128,
    Physical::F32,
    Physical::F64,
    Physical::Fixed(7),
    Physical::Bytes,
];

fn vector() -> impl Strategy<Value = Vector> {
    let row = prop_oneof![4 => (0..6u64).prop_map(Some), 2 => any::<u64>().prop_map(Some), 1 => Just(None)];
    let rows = prop_oneof![
        proptest::collection::vec(row.clone(), 0..60),
        proptest::collection::vec(row, 0..2500),
        proptest::collection::vec((0..9u64).prop_map(Some), 0..2500),
        proptest::collection::vec(Just(None), 0..300),
    ];
    (rows, 0..LAYOUTS.len(), any::<bool>()).prop_map(|(rows, layout, coded)| {
        let mut builder = VectorBuilder::new(LAYOUTS[layout]);
        for row in rows {
            match row {
                Some(bits) => push(&mut builder, bits),
                None => builder.push_null(),
            }
        }
        let vector = builder.finish();
        if coded {
            with_dictionary(vector)
        } else {
            vector
        }
    })
}

/// The same rows of a `Bytes` vector as codes of a dictionary with unused and repeated values.
fn with_dictionary(vector: Vector) -> Vector {
    let Values::Bytes(values) = &vector.values else {
        return vector;
    };
    let mut dict = BytesColumn::default();
    dict.push(b"unused");
    dict.extend_from(values, 0..values.len());
    let codes = (1..=values.len() as u32).collect();
    Vector {
        values: Values::Dict {
            codes,
            dict: std::sync::Arc::new(dict),
        },
        validity: vector.validity,
    }
}

fn options() -> impl Strategy<Value = WriteOptions> {
    let rows = prop_oneof![Just(ROW_BLOCK_ROWS), 1..200u32, 1000..1100u32];
    (rows, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(block_rows, lz4, fsst, dictionary)| WriteOptions {
            block_rows,
            lz4,
            fsst,
            dictionary,
        },
    )
}

fn write(vector: &Vector, options: &WriteOptions) -> (EncodedSegment, Footer) {
    let column = encode_column(&spec(9, vector.physical()), vector, options).unwrap();
    let segment = assemble(SortOrder::default(), vec![column]).unwrap();
    let footer = Footer::decode(
        &segment.bytes[segment.footer_offset as usize..],
        segment.footer_offset,
    )
    .unwrap();
    (segment, footer)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn any_vector_round_trips(vector in vector(), options in options(), cut in any::<[prop::sample::Index; 2]>(),
                              picks in proptest::collection::vec(any::<prop::sample::Index>(), 0..20)) {
        let (segment, footer) = write(&vector, &options);
        assert_eq!(footer.rows as usize, vector.len());
        assert_same(&vector, &read_column(&segment, &footer, 9));
        let meta = &footer.columns[0];
        let part = |r: std::ops::Range<u64>| &segment.bytes[r.start as usize..r.end as usize];
        let reader = ColumnReader::new(meta, meta.shared.clone().map(part)).unwrap();
        let mut at = 0;
        for block in meta.blocks.iter().take(5) {
            let open = reader.block(block, part(block.range()), Verify::Trusted).unwrap();
            let rows = open.rows();
            let (a, b) = (cut[0].index(rows + 1), cut[1].index(rows + 1));
            let mut out = vector.slice(0..vector.len().min(3));
            let before = out.len();
            open.decode(a.min(b)..a.max(b), &mut out).unwrap();
            assert_same(&vector.slice(at + a.min(b)..at + a.max(b)), &out.slice(before..out.len()));
            let picks: Vec<u32> = picks.iter().map(|p| p.index(rows) as u32).collect();
            let mut out = Vector::empty(vector.physical());
            open.gather(&picks, &mut out).unwrap();
            let all: Vec<u32> = picks.iter().map(|p| p + at as u32).collect();
            assert_same(&vector.take(&all), &out);
            // Ascending rows take another way, and may come behind others.
            let mut ascending = picks.clone();
            ascending.sort_unstable();
            let next = ascending.last().map_or(0, |last| last + 1);
            ascending.extend((next..rows as u32).filter(|row| row % 3 == 0));
            let mut out = vector.slice(0..vector.len().min(3));
            let before = out.len();
            open.gather(&ascending, &mut out).unwrap();
            let all: Vec<u32> = ascending.iter().map(|p| p + at as u32).collect();
            assert_same(&vector.take(&all), &out.slice(before..out.len()));
            at += rows;
        }
    }

    #[test]
    fn damage_is_an_error_or_harmless(vector in vector(), options in options(), at in any::<prop::sample::Index>(), flip in 1u8..) {
        let (segment, footer) = write(&vector, &options);
        let mut bad = segment.bytes.clone();
        let at = at.index(bad.len());
        bad[at] ^= flip;
        match Footer::decode(&bad[segment.footer_offset as usize..], segment.footer_offset) {
            Err(_) => assert!(at >= segment.footer_offset as usize),
            Ok(decoded) => {
                assert!(at < segment.footer_offset as usize);
                assert_eq!(decoded, footer);
            }
        }
        // Checksums find it; without them, decoders survive.
        let meta = &footer.columns[0];
        let part = |r: std::ops::Range<u64>| &bad[r.start as usize..r.end as usize];
        let Ok(reader) = ColumnReader::new(meta, meta.shared.clone().map(part)) else { return Ok(()) };
        for block in &meta.blocks {
            let hit = block.range().contains(&(at as u64));
            assert_eq!(reader.block(block, part(block.range()), Verify::Checksum).is_err(), hit);
            if let Ok(open) = reader.block(block, part(block.range()), Verify::Trusted) {
                let _ = open.decode(0..open.rows(), &mut Vector::empty(vector.physical()));
                let _ = open.get(open.rows() / 2, &mut Vector::empty(vector.physical()));
            }
        }
    }
}

/// A small segment with one column of every layout.
pub(super) fn every_layout(rows: u64) -> Vec<(ColumnSpec, Vector)> {
    let column = |(id, physical): (usize, Physical)| {
        let mut builder = VectorBuilder::new(physical);
        for i in 0..rows {
            let bits = crate::checksum::checksum(&(i / 3 * (id as u64 + 1)).to_le_bytes());
            match i % 11 {
                4 => builder.push_null(),
                _ => push(&mut builder, if i % 5 == 0 { bits } else { i % 7 }),
            }
        }
        let bloom = id % 2 == 0;
        (
            ColumnSpec {
                bloom,
                ..spec(id as u16 + 1, physical)
            },
            builder.finish(),
        )
    };
    LAYOUTS.into_iter().enumerate().map(column).collect()
}

fn segment_of(columns: &[(ColumnSpec, Vector)], options: &WriteOptions) -> EncodedSegment {
    let encode =
        |(spec, vector): &(ColumnSpec, Vector)| encode_column(spec, vector, options).unwrap();
    assemble(SortOrder::default(), columns.iter().map(encode).collect()).unwrap()
}

#[test]
fn every_damaged_footer_byte_is_found() {
    let options = WriteOptions {
        block_rows: 40,
        ..WriteOptions::default()
    };
    let segment = segment_of(&every_layout(100), &options);
    let start = segment.footer_offset as usize;
    for at in start..segment.bytes.len() {
        let mut bad = segment.bytes.clone();
        bad[at] ^= 0x10;
        assert!(
            Footer::decode(&bad[start..], segment.footer_offset).is_err(),
            "byte {at}"
        );
        assert!(Footer::decode(&segment.bytes[start..at], segment.footer_offset).is_err());
    }
}

#[test]
fn damaged_column_metas_do_not_panic() {
    let options = WriteOptions {
        block_rows: 40,
        ..WriteOptions::default()
    };
    for (spec, vector) in every_layout(100) {
        let column = encode_column(&spec, &vector, &options).unwrap();
        let mut bytes = Vec::new();
        column.meta().write(0, &mut bytes);
        let end = column.len() as u64;
        assert_eq!(
            &ColumnMeta::read(&bytes, 100, 40, end).unwrap(),
            column.meta()
        );
        for at in 0..bytes.len() {
            for flip in [1, 0x80, 0xff] {
                let mut bad = bytes.clone();
                bad[at] ^= flip;
                let _ = ColumnMeta::read(&bad, 100, 40, end);
            }
            assert!(ColumnMeta::read(&bytes[..at], 100, 40, end).is_err());
        }
    }
}

#[test]
fn many_columns_are_read_one_by_one() {
    let columns: Vec<(ColumnSpec, Vector)> = (1..=1600)
        .map(|id| {
            (
                spec(id, Physical::I32),
                Vector {
                    values: Values::I32(vec![i32::from(id); 10]),
                    validity: None,
                },
            )
        })
        .collect();
    let segment = segment_of(&columns, &WriteOptions::default());
    let footer = &segment.bytes[segment.footer_offset as usize..];
    let head_len = FooterHead::peek_len(&footer[..40]).unwrap();
    let head = FooterHead::decode(&footer[..head_len], segment.footer_offset).unwrap();
    assert_eq!(head.footer_len(), footer.len());
    let meta = head
        .column(1234, &footer[head.columns[1234].1.clone()])
        .unwrap();
    assert_eq!((meta.spec.id, meta.blocks.len()), (1235, 1));
    assert_eq!(
        Footer::decode(footer, segment.footer_offset)
            .unwrap()
            .columns[1234],
        meta
    );
}
