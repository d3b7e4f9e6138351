// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::vector::{Physical, Values, Vector, VectorBuilder};

pub(crate) fn spec(id: u16, physical: Physical) -> ColumnSpec {
    ColumnSpec {
        id,
        physical,
        order: Order::Natural,
        scale: 0,
        tag: 0,
        bloom: false,
    }
}

/// Row by row equality; floats by bits, NULL entries ignored.
pub(crate) fn assert_same(a: &Vector, b: &Vector) {
    assert_eq!(a.len(), b.len());
    for i in 0..a.len() {
        assert_eq!(a.is_null(i), b.is_null(i), "row {i}");
        if a.is_null(i) {
            continue;
        }
        match (&a.values, &b.values) {
            (Values::F32(x), Values::F32(y)) => {
                assert_eq!(x[i].to_bits(), y[i].to_bits(), "row {i}")
            }
            (Values::F64(x), Values::F64(y)) => {
                assert_eq!(x[i].to_bits(), y[i].to_bits(), "row {i}")
            }
            (Values::Bool(x), Values::Bool(y)) => assert_eq!(x[i], y[i], "row {i}"),
            (Values::I16(x), Values::I16(y)) => assert_eq!(x[i], y[i], "row {i}"),
            (Values::I32(x), Values::I32(y)) => assert_eq!(x[i], y[i], "row {i}"),
            (Values::I64(x), Values::I64(y)) => assert_eq!(x[i], y[i], "row {i}"),
            (Values::I128(x), Values::I128(y)) => assert_eq!(x[i], y[i], "row {i}"),
            _ => assert_eq!(a.bytes(i).unwrap(), b.bytes(i).unwrap(), "row {i}"),
        }
    }
}

/// Decodes a whole column of a segment.
pub(crate) fn read_column(segment: &EncodedSegment, footer: &Footer, id: u16) -> Vector {
    let meta = footer.column(id).unwrap();
    let part = |r: std::ops::Range<u64>| &segment.bytes[r.start as usize..r.end as usize];
    let reader = ColumnReader::new(meta, meta.shared.clone().map(part)).unwrap();
    let mut out = Vector::empty(meta.spec.physical);
    for block in &meta.blocks {
        let open = reader
            .block(block, part(block.range()), Verify::Checksum)
            .unwrap();
        open.decode(0..open.rows(), &mut out).unwrap();
    }
    out
}

fn round_trip(vector: &Vector) -> ColumnMeta {
    let spec = spec(1, vector.physical());
    let column = encode_column(&spec, vector, &WriteOptions::default()).unwrap();
    let segment = assemble(SortOrder::default(), vec![column]).unwrap();
    let footer_bytes = &segment.bytes[segment.footer_offset as usize..];
    let footer = Footer::decode(footer_bytes, segment.footer_offset).unwrap();
    assert_same(vector, &read_column(&segment, &footer, 1));
    footer.columns[0].clone()
}

fn ints(values: impl IntoIterator<Item = i64>) -> Vector {
    Vector {
        values: Values::I64(values.into_iter().collect()),
        validity: None,
    }
}

#[test]
fn integers_choose_their_encoding() {
    let encoding = |v: Vector| round_trip(&v).blocks[0].encoding;
    assert_eq!(
        encoding(ints(std::iter::repeat_n(7, 20_000))),
        Encoding::Constant
    );
    assert_eq!(
        encoding(ints((0..40_000).map(|i| i * 7919 % 1000))),
        Encoding::Packed
    );
    assert_eq!(
        encoding(ints((0..40_000).map(|i| i * 1_000_003))),
        Encoding::Delta
    );
    assert_eq!(
        encoding(ints((0..40_000).map(|i| (i / 500) * 7919 % 1013))),
        Encoding::Runs
    );
    let noise = |i: i64| crate::checksum::checksum(&i.to_le_bytes()) as i64;
    assert_eq!(encoding(ints((0..4_000).map(noise))), Encoding::Plain);
}

#[test]
fn extremes_round_trip() {
    round_trip(&ints([i64::MIN, i64::MAX, 0, -1, i64::MIN]));
    round_trip(&ints([]));
    let wide = vec![i128::MIN, i128::MAX, 0, 1, -1];
    round_trip(&Vector {
        values: Values::I128(wide),
        validity: None,
    });
    let narrow = (0..5000).map(|i| i128::MAX - i).collect();
    let meta = round_trip(&Vector {
        values: Values::I128(narrow),
        validity: None,
    });
    assert_eq!(meta.zone.sum, None);
    assert!(meta.blocks[0].len < 5000);
    let floats = vec![
        f64::NAN,
        -f64::NAN,
        -0.0,
        0.0,
        f64::INFINITY,
        1.1,
        f64::MIN_POSITIVE,
    ];
    round_trip(&Vector {
        values: Values::F64(floats),
        validity: None,
    });
}

#[test]
fn text_chooses_its_encoding() {
    let text = |f: &dyn Fn(usize) -> String, rows: usize| {
        let mut builder = VectorBuilder::new(Physical::Bytes);
        (0..rows).for_each(|i| {
            if i % 97 == 5 {
                builder.push_null()
            } else {
                builder.push_bytes(f(i).as_bytes())
            }
        });
        builder.finish()
    };
    let modes = ["AIR", "RAIL", "SHIP", "TRUCK"];
    let meta = round_trip(&text(&|i| modes[i * 31 % 4].into(), 40_000));
    assert_eq!(meta.blocks[0].encoding, Encoding::Dictionary);
    let words = [
        "carefully",
        "final",
        "deposits",
        "sleep",
        "quickly",
        "ironic",
        "requests",
    ];
    let sentence = |i: usize| {
        format!(
            "{} {} {} {i}",
            words[i % 7],
            words[i * 3 % 5],
            words[i / 7 % 7]
        )
    };
    let meta = round_trip(&text(&sentence, 40_000));
    assert!(matches!(
        meta.blocks[0].encoding,
        Encoding::Fsst | Encoding::Lz4
    ));
    round_trip(&text(&|_| String::new(), 3));
}

#[test]
fn all_null_blocks_hold_no_values() {
    let mut builder = VectorBuilder::new(Physical::I32);
    (0..20_000).for_each(|_| builder.push_null());
    let meta = round_trip(&builder.finish());
    assert!(meta
        .blocks
        .iter()
        .all(|b| b.len == 1 && b.encoding == Encoding::Null));
}

#[test]
fn a_huge_repeated_value_is_stored_once() {
    let mut dict = crate::vector::BytesColumn::default();
    dict.push(&[b'x'; 300_000]);
    // 4.9 GB if it were flat.
    let values = Values::Dict {
        codes: vec![0; 16_384],
        dict: std::sync::Arc::new(dict),
    };
    let vector = Vector {
        values,
        validity: None,
    };
    let column =
        encode_column(&spec(1, Physical::Bytes), &vector, &WriteOptions::default()).unwrap();
    assert!(column.len() < 400_000);
    let segment = assemble(SortOrder::default(), vec![column]).unwrap();
    let footer = Footer::decode(
        &segment.bytes[segment.footer_offset as usize..],
        segment.footer_offset,
    )
    .unwrap();
    let back = read_column(&segment, &footer, 1);
    assert_eq!((back.len(), back.bytes(16_383)), (16_384, vector.bytes(0)));
}

#[test]
fn wide_values_round_trip_in_small_blocks() {
    let mut builder = VectorBuilder::new(Physical::Bytes);
    for i in 0..60u64 {
        let noise: Vec<u8> = (0..40_000u64)
            .flat_map(|j| crate::checksum::checksum(&(i * j).to_le_bytes()).to_le_bytes())
            .collect();
        builder.push_bytes(&noise[..(i as usize * 5000)]);
    }
    round_trip(&builder.finish());
}

#[test]
fn a_constant_block_need_not_be_read() {
    let meta = round_trip(&ints((0..20_000).map(|i| if i < 16_384 { 9 } else { i })));
    assert_eq!(
        meta.blocks[0].constant(),
        Some(&crate::zone_map::Scalar::Int(9))
    );
    assert_eq!(meta.blocks[1].constant(), None);
    let zeros = Vector {
        values: Values::F64(vec![-0.0, 0.0]),
        validity: None,
    };
    assert_eq!(round_trip(&zeros).blocks[0].constant(), None);
}
