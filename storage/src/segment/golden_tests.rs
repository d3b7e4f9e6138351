// SPDX-License-Identifier: Apache-2.0
//! A segment of every released format version stays readable: `storage/golden/segment_v1.bin` was written
//! once and is never written again. A new version gets a file of its own beside it.
use super::tests::{assert_same, read_column, spec};
use super::*;
use crate::key::SortKey;
use crate::vector::{Physical, Values, Vector, VectorBuilder};

const GOLDEN_V1: &[u8] = include_bytes!("../../golden/segment_v1.bin");
const ROWS: u64 = 1300;

fn noise(i: u64) -> u64 {
    crate::checksum::checksum(&i.to_le_bytes())
}

fn ints(f: impl Fn(u64) -> i64) -> Vector {
    Vector {
        values: Values::I64((0..ROWS).map(f).collect()),
        validity: None,
    }
}

fn built(physical: Physical, f: impl Fn(u64, &mut VectorBuilder)) -> Vector {
    let mut builder = VectorBuilder::new(physical);
    (0..ROWS).for_each(|i| f(i, &mut builder));
    builder.finish()
}

/// Columns that use every encoding and every layout.
fn columns() -> Vec<(ColumnSpec, Vector)> {
    let words = [
        "pending", "furious", "ironic", "silent", "express", "regular", "bold", "final",
    ];
    let word = |i: u64| words[(noise(i) % 8) as usize];
    let vectors = vec![
        ints(|i| i as i64 * 1009 + (noise(i) % 7) as i64),
        ints(|_| -77),
        ints(|i| noise(i) as i64),
        ints(|i| (noise(i) % 5000) as i64 - 9),
        ints(|i| noise(i / 90) as i64),
        ints(|i| (noise(i) % 40) as i64 * 86_400_000_000),
        ints(|i| noise(noise(i) % 12) as i64),
        ints(|i| {
            if noise(i).is_multiple_of(60) {
                noise(i) as i64
            } else {
                4
            }
        }),
        built(Physical::Bool, |i, b| {
            if i % 13 == 0 {
                b.push_null()
            } else {
                b.push_bool(noise(i).is_multiple_of(3))
            }
        }),
        built(Physical::I16, |i, b| {
            if i < 1100 {
                b.push_i16(noise(i) as i16)
            } else {
                b.push_null()
            }
        }),
        built(Physical::I32, |_, b| b.push_null()),
        built(Physical::I128, |i, b| {
            b.push_i128(i128::MAX - i128::from(noise(i) >> 20))
        }),
        built(Physical::F32, |i, b| {
            b.push_f32(f32::from_bits(noise(i) as u32))
        }),
        built(Physical::F64, |i, b| {
            b.push_f64(if i % 50 == 0 {
                -0.0
            } else {
                (noise(i) % 9999) as f64 / 100.0
            })
        }),
        built(Physical::Fixed(16), |i, b| {
            b.push_bytes(&[noise(i / 2).to_le_bytes(), [0; 8]].concat())
        }),
        built(Physical::Fixed(3), |i, b| {
            b.push_bytes(&noise(i).to_le_bytes()[..3])
        }),
        built(Physical::Bytes, |i, b| {
            if noise(i).is_multiple_of(2) {
                b.push_null()
            } else {
                b.push_bytes(word(i).as_bytes())
            }
        }),
        built(Physical::Bytes, |i, b| {
            b.push_bytes(format!("{} {} {i}", word(i), word(i + 5000)).as_bytes())
        }),
        built(Physical::Bytes, |i, b| {
            b.push_bytes(&noise(i).to_le_bytes()[..(i % 9) as usize])
        }),
        built(Physical::Bytes, |i, b| {
            b.push_bytes(format!("{}{i}", word(i / 100).repeat(20)).as_bytes())
        }),
        built(Physical::Bytes, |_, b| b.push_bytes(b"")),
    ];
    let with_spec = |(id, vector): (u16, Vector)| {
        (
            ColumnSpec {
                bloom: id % 4 == 1,
                scale: 2,
                tag: 1700,
                ..spec(id, vector.physical())
            },
            vector,
        )
    };
    (1..).zip(vectors).map(with_spec).collect()
}

fn write() -> EncodedSegment {
    let encode = |(spec, vector): (ColumnSpec, Vector)| {
        // One text column goes without symbols, so that LZ4 is there too.
        let options = WriteOptions {
            block_rows: 1100,
            fsst: spec.id != 20,
            dictionary: spec.id != 21,
            ..WriteOptions::default()
        };
        encode_column(&spec, &vector, &options).unwrap()
    };
    let keys = vec![SortKey {
        column: 1,
        descending: false,
        nulls_first: true,
    }];
    assemble(
        SortOrder { keys, sorted: true },
        columns().into_iter().map(encode).collect(),
    )
    .unwrap()
}

fn footer_offset(stream: &[u8]) -> u64 {
    stream.windows(8).rposition(|w| w == b"DORISSEG").unwrap() as u64
}

fn check(stream: &[u8]) {
    let footer_offset = footer_offset(stream);
    let segment = EncodedSegment {
        bytes: stream.to_vec(),
        footer_offset,
        rows: ROWS as u32,
    };
    let footer = Footer::decode(&stream[footer_offset as usize..], footer_offset).unwrap();
    assert_eq!(u64::from(footer.rows), ROWS);
    assert_eq!(footer.key_index.firsts.len(), 2);
    let columns = columns();
    assert_eq!(footer.columns.len(), columns.len());
    for ((spec, vector), meta) in columns.iter().zip(&footer.columns) {
        assert_eq!(spec, &meta.spec);
        assert_same(vector, &read_column(&segment, &footer, spec.id));
    }
    for encoding in Encoding::ALL {
        let used = footer
            .columns
            .iter()
            .flat_map(|c| &c.blocks)
            .any(|b| b.encoding == encoding);
        assert!(used, "{} is not in the golden segment", encoding.name());
    }
}

#[test]
fn the_golden_segment_of_version_1_decodes() {
    check(GOLDEN_V1);
}

#[test]
fn todays_segment_of_the_same_rows_decodes() {
    check(&write().bytes);
}

/// `cargo test -p doris_storage write_golden -- --ignored`, for a new format version only.
#[test]
#[ignore = "writes a file that must not change once its version is released"]
fn write_golden() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/segment_v1.bin");
    std::fs::write(path, write().bytes).unwrap();
}
