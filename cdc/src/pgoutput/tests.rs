// SPDX-License-Identifier: Apache-2.0
use super::*;
use proptest::prelude::*;

fn tuple_bytes(values: &[Value<'_>]) -> Vec<u8> {
    let mut out = (values.len() as u16).to_be_bytes().to_vec();
    values.iter().for_each(|v| put_value(&mut out, *v));
    out
}

fn samples() -> Vec<Vec<u8>> {
    let row = tuple_bytes(&[
        Value::Binary(b"\0\0\0\x01"),
        Value::Null,
        Value::Unchanged,
        Value::Text(b"x"),
    ]);
    let mut all = vec![
        [
            &b"B"[..],
            &9u64.to_be_bytes(),
            &5u64.to_be_bytes(),
            &7u32.to_be_bytes(),
        ]
        .concat(),
        [
            &b"C\0"[..],
            &9u64.to_be_bytes(),
            &12u64.to_be_bytes(),
            &5u64.to_be_bytes(),
        ]
        .concat(),
        [&b"O"[..], &9u64.to_be_bytes(), b"far\0"].concat(),
        [&b"Y"[..], &99u32.to_be_bytes(), b"public\0mood\0"].concat(),
        [
            &b"T"[..],
            &2u32.to_be_bytes(),
            &[1],
            &5u32.to_be_bytes(),
            &6u32.to_be_bytes(),
        ]
        .concat(),
        [
            &b"M\0"[..],
            &9u64.to_be_bytes(),
            b"p\0",
            &2u32.to_be_bytes(),
            b"hi",
        ]
        .concat(),
    ];
    let id = 5u32.to_be_bytes();
    let col = |flag: u8, name: &str| {
        [
            &[flag][..],
            name.as_bytes(),
            &[0],
            &23u32.to_be_bytes(),
            &(-1i32).to_be_bytes(),
        ]
        .concat()
    };
    all.push(
        [
            &b"R"[..],
            &id,
            b"public\0t\0d",
            &2u16.to_be_bytes(),
            &col(1, "a"),
            &col(0, "b"),
        ]
        .concat(),
    );
    all.push([&b"I"[..], &id, b"N", &row].concat());
    all.push([&b"U"[..], &id, b"N", &row].concat());
    all.push([&b"U"[..], &id, b"K", &row, b"N", &row].concat());
    all.push([&b"D"[..], &id, b"O", &row].concat());
    all
}

#[test]
fn every_kind_of_message_decodes() {
    let all = samples();
    assert_eq!(
        decode(&all[0]),
        Ok(Message::Begin(Begin {
            commit_lsn: Lsn(9),
            commit_us: 5,
            xid: 7
        }))
    );
    assert_eq!(
        decode(&all[4]),
        Ok(Message::Truncate {
            relations: vec![5, 6],
            cascade: true,
            restart_identity: false
        })
    );
    for bytes in &all {
        decode(bytes).unwrap();
    }
    let Ok(Message::Update {
        old: Some(Old::Key(old)),
        new,
        ..
    }) = decode(&all[9])
    else {
        panic!()
    };
    assert_eq!(old, new);
    let values: Vec<_> = new.values().collect();
    assert_eq!(
        values,
        [
            Value::Binary(b"\0\0\0\x01"),
            Value::Null,
            Value::Unchanged,
            Value::Text(b"x")
        ]
    );
}

#[test]
fn a_message_cut_short_or_grown_is_an_error() {
    for bytes in samples() {
        for cut in 0..bytes.len() {
            assert!(
                decode(&bytes[..cut]).is_err(),
                "{:?} cut at {cut}",
                bytes[0] as char
            );
        }
        let mut long = bytes.clone();
        long.push(0);
        assert!(decode(&long).is_err());
    }
}

#[test]
fn numbers_are_added_to_a_description() {
    let is_description = |sample: &&Vec<u8>| sample[0] == b'R';
    let mut bytes = samples().into_iter().find(|s| is_description(&s)).unwrap();
    let numbers_of = |bytes: &[u8]| match decode(bytes) {
        Ok(Message::Relation(r)) => r.columns.iter().map(|c| c.number).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let without = numbers_of(&bytes);
    assert!(!without.is_empty() && without.iter().all(Option::is_none));
    let numbers: Vec<i16> = (0..without.len() as i16).map(|n| 3 * n + 300).collect();
    put_numbers(&mut bytes, &numbers);
    let with: Vec<Option<i16>> = numbers.into_iter().map(Some).collect();
    assert_eq!(numbers_of(&bytes), with);
    bytes.push(0);
    assert!(matches!(decode(&bytes), Err(DecodeError::Long { .. })));
}

proptest! {
    #[test]
    fn any_bytes_decode_or_fail_in_bounded_memory(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn one_flipped_byte_never_panics(which in 0usize..11, at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut bytes = samples().swap_remove(which);
        let i = at.index(bytes.len());
        bytes[i] = to;
        if let Ok(Message::Insert { new, .. }) = decode(&bytes) {
            prop_assert_eq!(new.values().count(), new.columns());
        }
    }
}
