// SPDX-License-Identifier: Apache-2.0
use super::*;
use proptest::prelude::*;

fn col(number: i16, name: &str, type_oid: u32) -> Known {
    Known {
        number,
        name: name.into(),
        type_oid,
        typmod: -1,
    }
}

#[test]
fn each_alteration_is_recognised() {
    let known = [col(1, "a", 23), col(2, "b", 25)];
    assert_eq!(steps(&known, &known), []);
    assert_eq!(steps(&known, &known[..1]), [Step::Drop("b".into())]);
    assert_eq!(
        steps(&known, &[col(1, "a", 23), col(2, "b", 25), col(3, "c", 23)]),
        [Step::Add("c".into())]
    );
    let renamed = [col(1, "a", 23), col(2, "z", 25)];
    assert_eq!(
        steps(&known, &renamed),
        [Step::Rename {
            from: "b".into(),
            to: "z".into()
        }]
    );
    assert_eq!(
        steps(&known, &[col(1, "a", 20), col(2, "b", 25)]),
        [Step::Retype("a".into())]
    );
}

#[test]
fn names_that_change_places_go_by_way_of_others() {
    let known = [col(1, "a", 23), col(2, "b", 25), col(3, "c", 25)];
    let now = [col(1, "b", 23), col(2, "a", 25), col(3, "c", 25)];
    let rename = |from: &str, to: &str| Step::Rename {
        from: from.into(),
        to: to.into(),
    };
    let expected = [
        rename("a", "pg_doris_renamed_0"),
        rename("b", "pg_doris_renamed_1"),
        rename("pg_doris_renamed_0", "b"),
        rename("pg_doris_renamed_1", "a"),
    ];
    assert_eq!(steps(&known, &now), expected);
    let now = [col(1, "x", 23), col(2, "y", 25), col(3, "c", 25)];
    assert_eq!(steps(&known, &now), [rename("a", "x"), rename("b", "y")]);
}

#[test]
fn dropped_and_added_again_is_not_a_rename() {
    let known = [col(1, "a", 23), col(2, "b", 25)];
    let now = [col(1, "a", 23), col(3, "c", 25)];
    assert_eq!(
        steps(&known, &now),
        [Step::Drop("b".into()), Step::Add("c".into())]
    );
    let same_name = [col(1, "a", 23), col(3, "b", 25)];
    assert_eq!(
        steps(&known, &same_name),
        [Step::Drop("b".into()), Step::Add("b".into())]
    );
}

fn see(
    known: &[Known],
    made: i16,
    streamed: &[Known],
    columns: &[Known],
    dropped: &[i16],
) -> Option<Vec<i16>> {
    let now = Catalogue { columns, dropped };
    let columns = numbered(known, made, streamed, now)?;
    Some(columns.iter().map(|c| c.number).collect())
}

#[test]
fn columns_renamed_after_the_stream_saw_them_are_told_by_their_number() {
    let known = [col(1, "id", 23), col(2, "a", 25)];
    let now = [col(1, "id", 23), col(2, "b", 25)];
    let later = [col(1, "id", 23), col(2, "b", 25), col(3, "a", 25)];
    for now in [&now[..], &later[..]] {
        assert_eq!(see(&known, 2, &known, now, &[]), Some(vec![1, 2]));
        let between = [col(0, "id", 23), col(0, "x", 25)];
        assert_eq!(see(&known, 2, &between, now, &[]), Some(vec![1, 2]));
    }
    // Names that change places.
    let swapped = [col(1, "a", 23), col(2, "id", 25)];
    assert_eq!(see(&known, 2, &known, &swapped, &[]), Some(vec![1, 2]));
    assert_eq!(see(&known, 2, &swapped, &swapped, &[]), Some(vec![1, 2]));
}

#[test]
fn what_was_dropped_and_added_is_told_by_its_type_or_not_at_all() {
    let known = [col(1, "id", 23), col(2, "a", 25)];
    let now = [col(1, "id", 23), col(3, "a", 25)];
    assert_eq!(see(&known, 2, &known, &now, &[2]), None);
    // Another name may be that of the dropped one after a rename, too.
    let now = [col(1, "id", 23), col(3, "b", 25)];
    assert_eq!(see(&known, 2, &now, &now, &[2]), None);
    let now = [col(1, "id", 23), col(3, "b", 23)];
    assert_eq!(see(&known, 2, &now, &now, &[2]), Some(vec![1, 3]));
    assert_eq!(see(&known, 2, &known, &now, &[2]), Some(vec![1, 2]));
    // What may have become another type without being written anew is no help.
    let now = [col(1, "id", 23), col(3, "b", 1043)];
    assert_eq!(see(&known, 2, &now, &now, &[2]), None);
    let now = [col(1, "id", 23), col(3, "b", 16_500)];
    assert_eq!(see(&known, 2, &now, &now, &[2]), None);
    // Those behind it help.
    let known = [col(1, "id", 23), col(2, "a", 25), col(3, "b", 23)];
    let now = [col(1, "id", 23), col(3, "b", 23), col(4, "c", 16)];
    assert_eq!(see(&known, 3, &known, &now, &[2]), Some(vec![1, 2, 3]));
    assert_eq!(see(&known, 3, &now, &now, &[2]), Some(vec![1, 3, 4]));
}

#[test]
fn columns_of_a_table_that_is_gone_go_by_their_names() {
    let known = [col(1, "id", 23), col(3, "a", 25)];
    let last = [col(0, "id", 23), col(0, "a", 25), col(0, "b", 25)];
    assert_eq!(see(&known, 4, &last, &[], &[]), Some(vec![1, 3, 5]));
}

#[derive(Clone, Debug)]
enum Ddl {
    Add(u8),
    Drop(usize),
    Rename(usize),
    Retype(usize),
    Swap(usize, usize),
}

fn ddl() -> impl Strategy<Value = Ddl> {
    prop_oneof![
        3 => (0u8..3).prop_map(Ddl::Add),
        3 => (0usize..5).prop_map(Ddl::Drop),
        2 => (0usize..5).prop_map(Ddl::Rename),
        1 => (0usize..5).prop_map(Ddl::Retype),
        1 => (0usize..5, 0usize..5).prop_map(|(a, b)| Ddl::Swap(a, b)),
    ]
}

/// A table's columns after each change, with the numbers dropped by then.
fn history(changes: &[Ddl]) -> Vec<(Vec<Known>, Vec<i16>)> {
    let mut now = vec![col(1, "id", 23), col(2, "a", 25)];
    let (mut dropped, mut next) = (Vec::new(), 3);
    let mut out = vec![(now.clone(), dropped.clone())];
    for (at, change) in changes.iter().enumerate() {
        let place = |i: &usize| i % now.len().max(1);
        match change {
            Ddl::Add(name) => {
                let name = ["a", "b", "c"][usize::from(*name)];
                if now.iter().all(|c| c.name != name) {
                    now.push(col(next, name, [25, 23, 16][at % 3]));
                    next += 1;
                }
            }
            Ddl::Drop(i) if now.len() > 1 => dropped.push(now.remove(place(i)).number),
            Ddl::Drop(_) => {}
            Ddl::Rename(i) => {
                let i = place(i);
                let name = ["a", "b", "c", "d"][at % 4];
                if now.iter().all(|c| c.name != name) {
                    now[i].name = name.into();
                }
            }
            Ddl::Retype(i) => {
                let i = place(i);
                now[i].typmod = at as i32;
            }
            Ddl::Swap(a, b) => {
                let (a, b) = (place(a), place(b));
                let name = std::mem::take(&mut now[a].name);
                now[a].name = std::mem::replace(&mut now[b].name, name);
            }
        }
        out.push((now.clone(), dropped.clone()));
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn columns_are_never_taken_for_others(
        changes in proptest::collection::vec(ddl(), 1..7),
        looks in proptest::collection::vec((0usize..8, 0usize..8), 1..5),
    ) {
        let history = history(&changes);
        let last = history.len() - 1;
        let (mut at, mut seen) = (0, 0);
        let (mut known, mut made) = (history[0].0.clone(), 2);
        for (forward, ahead) in looks {
            at = (at + forward).min(last);
            seen = (at + ahead).min(last).max(seen);
            let (columns, dropped) = &history[seen];
            let truth = &history[at].0;
            let streamed: Vec<Known> = truth.iter().map(|c| Known { number: 0, ..c.clone() }).collect();
            let Some(found) = numbered(&known, made, &streamed, Catalogue { columns, dropped }) else {
                break;
            };
            prop_assert_eq!(&found, truth, "known {:?}, the catalogue {:?} without {:?}", known, columns, dropped);
            made = found.iter().map(|c| c.number).max().unwrap_or(0).max(made);
            known = found;
        }
    }

    #[test]
    fn one_change_that_the_catalogue_shows_is_followed(change in ddl()) {
        let history = history(&[change]);
        let (columns, dropped) = &history[1];
        let found = numbered(&history[0].0, 2, columns, Catalogue { columns, dropped });
        prop_assert_eq!(found.as_ref(), Some(columns));
    }
}
