// SPDX-License-Identifier: Apache-2.0
use super::*;

#[test]
fn a_builder_keeps_values_and_nulls() {
    let mut builder = VectorBuilder::new(Physical::I64);
    builder.push_i64(1);
    builder.push_null();
    builder.push_i64(3);
    let vector = builder.finish();
    assert_eq!(vector.len(), 3);
    assert!(vector.is_null(1) && !vector.is_null(0) && !vector.is_null(2));
    assert!(builder.is_empty());
}

#[test]
fn appended_bits_keep_their_places_across_words() {
    let bits: Vec<bool> = (0..300).map(|i| i % 3 == 0).collect();
    let source = Bitmap::from_bools(bits.iter().copied());
    for (start, end, before) in [
        (0, 300, 0),
        (1, 299, 7),
        (63, 200, 64),
        (64, 64, 5),
        (5, 6, 63),
    ] {
        let mut out = Bitmap::filled(before, true);
        out.extend_from(&source, start..end);
        out.extend_filled(70, true);
        out.extend_filled(3, false);
        let expected = std::iter::repeat_n(true, before).chain(bits[start..end].iter().copied());
        let expected = expected
            .chain(std::iter::repeat_n(true, 70))
            .chain([false; 3]);
        assert_eq!(out, Bitmap::from_bools(expected));
    }
}

#[test]
fn appending_another_dictionary_flattens() {
    let dict = |values: &[&str]| {
        let mut column = BytesColumn::default();
        values.iter().for_each(|v| column.push(v.as_bytes()));
        Arc::new(column)
    };
    let (one, two) = (dict(&["a", "b"]), dict(&["b", "c"]));
    let coded = |dict: &Arc<BytesColumn>| Vector {
        values: Values::Dict {
            codes: vec![1, 0],
            dict: Arc::clone(dict),
        },
        validity: None,
    };
    let mut out = Vector::empty(Physical::Bytes);
    out.append(&coded(&one)).unwrap();
    out.append(&coded(&one)).unwrap();
    assert!(matches!(out.values, Values::Dict { .. }));
    out.append(&coded(&two)).unwrap();
    assert!(matches!(out.values, Values::Bytes(_)));
    let all: Vec<&[u8]> = (0..6).filter_map(|i| out.bytes(i)).collect();
    assert_eq!(all, [b"b", b"a", b"b", b"a", b"c", b"b"]);
}
