// SPDX-License-Identifier: Apache-2.0
use super::bag::Bag;
use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A row of the model: key, a small value, a large value that updates may leave out.
type Row = (u8, u8, u8);

fn bytes(row: Row, send_large: bool) -> Vec<u8> {
    let mut out = Vec::new();
    put_value(&mut out, Value::Binary(&[row.0]));
    put_value(&mut out, Value::Binary(&[row.1]));
    match send_large {
        true => put_value(&mut out, Value::Binary(&[row.2])),
        false => put_value(&mut out, Value::Unchanged),
    }
    out
}

fn key_bytes(key: u8) -> Vec<u8> {
    let mut out = Vec::new();
    put_value(&mut out, Value::Binary(&[key]));
    out.extend_from_slice(b"nn");
    out
}

fn tuple(bytes: &[u8]) -> Tuple<'_> {
    Tuple::from_checked(3, bytes)
}

fn byte(value: Value<'_>) -> Option<u8> {
    match value {
        Value::Binary(b) => Some(b[0]),
        _ => None,
    }
}

/// Applies the fold to the target as the extension does: deletes, updates, inserts.
fn apply(fold: &mut Fold, target: &mut BTreeMap<u8, Row>) {
    let net: Vec<_> = fold.net().collect();
    let key_of = |key: &Tuple<'_>| key.values().next().and_then(byte).unwrap();
    for n in &net {
        if let Net::Delete { key } = n {
            target
                .remove(&key_of(key))
                .expect("the row to delete is there");
        }
    }
    for n in &net {
        if let Net::Update { key, row } = n {
            let before = target
                .remove(&key_of(key))
                .expect("the row to update is there");
            let v: Vec<_> = row.values().map(byte).collect();
            let after = (v[0].unwrap(), v[1].unwrap(), v[2].unwrap_or(before.2));
            assert!(target.insert(after.0, after).is_none());
        }
    }
    for n in &net {
        if let Net::Insert(row) = n {
            let v: Vec<_> = row.values().map(|v| byte(v).unwrap()).collect();
            assert!(
                target.insert(v[0], (v[0], v[1], v[2])).is_none(),
                "the key to insert is absent"
            );
        }
    }
    fold.clear(0);
}

#[derive(Clone, Debug)]
enum Op {
    Upsert {
        key: u8,
        small: u8,
        large: Option<u8>,
    },
    Rekey {
        from: u8,
        to: u8,
        small: u8,
        large: Option<u8>,
    },
    Delete {
        key: u8,
    },
    Flush,
}

fn ops() -> impl Strategy<Value = Vec<(Op, bool)>> {
    let key = 0u8..6;
    let large = proptest::option::of(any::<u8>());
    let op = prop_oneof![
        4 => (key.clone(), any::<u8>(), large.clone())
            .prop_map(|(key, small, large)| Op::Upsert { key, small, large }),
        2 => (key.clone(), key.clone(), any::<u8>(), large)
            .prop_map(|(from, to, small, large)| Op::Rekey { from, to, small, large }),
        2 => key.prop_map(|key| Op::Delete { key }),
        1 => Just(Op::Flush),
    ];
    proptest::collection::vec((op, any::<bool>()), 0..60)
}

proptest! {
    #[test]
    fn folded_changes_leave_what_the_changes_leave(ops in ops()) {
        let (mut source, mut target) = (BTreeMap::<u8, Row>::new(), BTreeMap::new());
        let mut fold = Fold::new(3, vec![0]);
        for (op, identity_full) in ops {
            // The change as the stream would carry it: old row, old key, new bytes.
            let (before, after, large_sent) = match op {
                Op::Flush => { apply(&mut fold, &mut target); continue; }
                Op::Upsert { key, small, large } => match source.get(&key).copied() {
                    Some(b) => (Some(b), Some((key, small, large.unwrap_or(b.2))), large.is_some()),
                    None => (None, Some((key, small, large.unwrap_or(0))), true),
                },
                Op::Rekey { from, to, small, large } => match source.get(&from).copied() {
                    Some(b) if from == to || !source.contains_key(&to) =>
                        (Some(b), Some((to, small, large.unwrap_or(b.2))), large.is_some()),
                    _ => continue,
                },
                Op::Delete { key } => match source.get(&key).copied() {
                    Some(b) => (Some(b), None, true),
                    None => continue,
                },
            };
            let old_bytes = before.map(|b| if identity_full { bytes(b, true) } else { key_bytes(b.0) });
            let rekeyed = matches!((before, after), (Some(b), Some(a)) if b.0 != a.0);
            let old = old_bytes.as_ref().map(|o| {
                if identity_full { Old::Full(tuple(o)) } else { Old::Key(tuple(o)) }
            });
            let new_bytes = after.map(|a| bytes(a, large_sent));
            loop {
                let taken = match (&new_bytes, old) {
                    (Some(new), None) => fold.insert(tuple(new)),
                    (Some(new), Some(o)) if rekeyed || identity_full => fold.update(Some(o), tuple(new)),
                    (Some(new), Some(_)) => fold.update(None, tuple(new)),
                    (None, Some(o)) => fold.delete(o),
                    (None, None) => unreachable!(),
                };
                match taken {
                    Ok(Taken::Yes) => break,
                    Ok(Taken::FlushFirst) => apply(&mut fold, &mut target),
                    Err(e) => prop_assert!(false, "{e}"),
                }
            }
            if let Some(b) = before { source.remove(&b.0); }
            if let Some(a) = after { source.insert(a.0, a); }
        }
        apply(&mut fold, &mut target);
        prop_assert_eq!(source, target);
    }
}

#[test]
fn many_changes_of_one_key_are_one_change() {
    let mut fold = Fold::new(3, vec![0]);
    for i in 0..100 {
        let row = bytes((1, i, i), true);
        assert_eq!(fold.update(None, tuple(&row)), Ok(Taken::Yes));
    }
    let last = bytes((1, 99, 99), true);
    let net: Vec<_> = fold.net().collect();
    assert!(matches!(net[..], [Net::Update { row, .. }] if row == tuple(&last)));
}

#[test]
fn effects_come_in_the_order_of_their_keys() {
    let mut fold = Fold::new(3, vec![0]);
    for key in [7, 2, 9, 4] {
        let row = bytes((key, 0, 0), true);
        assert_eq!(fold.insert(tuple(&row)), Ok(Taken::Yes));
    }
    let gone = key_bytes(4);
    assert_eq!(fold.delete(Old::Key(tuple(&gone))), Ok(Taken::Yes));
    let key = |net| match net {
        Net::Insert(row) => Tuple::values(&row).next().and_then(byte),
        _ => None,
    };
    let keys: Vec<_> = fold.by_key().into_iter().map(key).collect();
    assert_eq!(keys, [Some(2), Some(7), Some(9)]);
    assert_eq!(fold.net().count(), 3);
}

#[test]
fn inserted_and_deleted_is_nothing() {
    let mut fold = Fold::new(3, vec![0]);
    let (row, key) = (bytes((1, 2, 3), true), key_bytes(1));
    assert_eq!(fold.insert(tuple(&row)), Ok(Taken::Yes));
    assert_eq!(fold.delete(Old::Key(tuple(&key))), Ok(Taken::Yes));
    assert_eq!(fold.net().count(), 0);
    assert_eq!(
        fold.delete(Old::Key(tuple(&key))),
        Err(FoldError::AfterDelete)
    );
    assert_eq!(fold.update(None, tuple(&row)), Err(FoldError::AfterDelete));
    fold.clear(0);
    assert_eq!(fold.delete(Old::Key(tuple(&key))), Ok(Taken::Yes));
    assert_eq!(fold.update(None, tuple(&row)), Err(FoldError::AfterDelete));
}

#[test]
fn a_key_that_was_not_sent_is_an_error() {
    let mut fold = Fold::new(3, vec![0]);
    let nothing = Tuple::from_checked(3, b"nnn");
    assert_eq!(fold.delete(Old::Key(nothing)), Err(FoldError::NoKey));
    let short = Tuple::from_checked(2, b"nn");
    assert_eq!(
        fold.insert(short),
        Err(FoldError::Columns {
            found: 2,
            expected: 3
        })
    );
}

#[test]
fn a_large_key_left_out_of_the_new_row_is_taken_from_the_old_key() {
    let mut fold = Fold::new(3, vec![0]);
    let new = [&b"u"[..], &bytes((1, 2, 3), true)[6..]].concat();
    let key = key_bytes(1);
    assert_eq!(
        fold.update(Some(Old::Key(tuple(&key))), tuple(&new)),
        Ok(Taken::Yes)
    );
    let whole = bytes((1, 2, 3), true);
    assert!(matches!(fold.net().next(), Some(Net::Update { row, .. }) if row == tuple(&whole)));
}

#[test]
fn a_bag_counts_rows_and_fills_unchanged_values() {
    let (a, b, c) = (
        bytes((1, 2, 3), true),
        bytes((1, 5, 3), true),
        bytes((2, 0, 9), true),
    );
    let without_large = bytes((1, 5, 0), false);
    let mut bag = Bag::new(3);
    assert!(bag.is_empty());
    bag.insert(tuple(&a)).unwrap();
    bag.insert(tuple(&a)).unwrap();
    bag.update(Some(Old::Full(tuple(&a))), tuple(&without_large))
        .unwrap();
    bag.delete(Old::Full(tuple(&c))).unwrap();
    bag.delete(Old::Full(tuple(&c))).unwrap();
    bag.insert(tuple(&c)).unwrap();
    let added: Vec<_> = bag.added().collect();
    assert_eq!(added, [tuple(&a), tuple(&b)]);
    let removed: Vec<_> = bag.removed().collect();
    assert_eq!(removed, [(tuple(&c), 1)]);
    bag.delete(Old::Full(tuple(&a))).unwrap();
    bag.delete(Old::Full(tuple(&b))).unwrap();
    bag.insert(tuple(&c)).unwrap();
    assert_eq!((bag.added().count(), bag.removed().count()), (0, 0));
    bag.insert(tuple(&b)).unwrap();
    bag.insert(tuple(&b)).unwrap();
    assert_eq!(bag.added().count(), 2);
    bag.clear(0);
    assert!(bag.is_empty() && bag.added().next().is_none());
    assert_eq!(bag.delete(Old::Key(tuple(&a))), Err(FoldError::NoKey));
    assert_eq!(bag.update(None, tuple(&a)), Err(FoldError::NoKey));
}
