// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::expr::eval::tests::{batch, dictionary, texts, values_of};
use crate::expr::Expr;
use crate::types::{Collation, DataType, Scalar};
use proptest::prelude::*;

/// LIKE by its definition: what is left of the pattern against what is left of the value.
fn model(pattern: &[char], value: &[char]) -> bool {
    match pattern.split_first() {
        None => value.is_empty(),
        Some(('%', rest)) => (0..=value.len()).any(|skip| model(rest, &value[skip..])),
        Some(('_', rest)) => !value.is_empty() && model(rest, &value[1..]),
        Some(('\\', rest)) => {
            !value.is_empty() && rest[0] == value[0] && model(&rest[1..], &value[1..])
        }
        Some((c, rest)) => value.first() == Some(c) && model(rest, &value[1..]),
    }
}

fn pieces() -> impl Strategy<Value = String> {
    let piece = proptest::sample::select(vec![
        "a", "b", "ab", "%", "%", "_", "ä", "\\%", "\\a", "\\_", "日",
    ]);
    proptest::collection::vec(piece, 0..7).prop_map(|pieces| pieces.concat())
}

fn words() -> impl Strategy<Value = Vec<String>> {
    let piece = proptest::sample::select(vec!["a", "b", "ab", "ä", "日", "%", "_"]);
    let word = proptest::collection::vec(piece, 0..7).prop_map(|pieces| pieces.concat());
    proptest::collection::vec(word, 1..30)
}

proptest! {
    #[test]
    fn every_matcher_agrees_with_the_definition(pattern in pieces(), words in words()) {
        let chars: Vec<char> = pattern.chars().collect();
        let expected: Vec<bool> = words.iter().map(|word| model(&chars, &word.chars().collect::<Vec<_>>())).collect();
        let compiled = LikePattern::new(pattern.as_bytes(), false).unwrap();
        let mut scratch = Vec::new();
        let mut column = BytesColumn::default();
        words.iter().for_each(|word| column.push(word.as_bytes()));
        for (word, expected) in words.iter().zip(&expected) {
            prop_assert_eq!(compiled.matches(word.as_bytes(), &mut scratch), *expected, "{} LIKE {}", word, pattern);
            prop_assert!(!expected || word.as_bytes().starts_with(compiled.prefix()));
        }
        let whole: Vec<bool> = compiled.matches_all(&column).iter().map(|&bit| bit != 0).collect();
        prop_assert_eq!(whole, expected, "{} over {:?}", pattern, words);
    }
}

fn like_over(vector: std::sync::Arc<Vector>, pattern: Expr, negated: bool) -> Vec<Option<Scalar>> {
    let like = Expr::like(Expr::column(0, DataType::TEXT_C), pattern, false, negated).unwrap();
    values_of(&like, &batch(&[vector])).unwrap()
}

#[test]
fn rows_dictionaries_and_nulls_answer_alike() {
    let values = [
        Some("xabc"),
        None,
        Some(""),
        Some("abc"),
        Some("bc"),
        Some("a"),
    ];
    let pattern = || Expr::text("%ab%", DataType::TEXT_C);
    let yes = |b: bool| Some(Scalar::Bool(b));
    let expected = [
        yes(true),
        None,
        yes(false),
        yes(true),
        yes(false),
        yes(false),
    ];
    assert_eq!(like_over(texts(&values), pattern(), false), expected);
    assert_eq!(
        like_over(dictionary(&values, "unused ab"), pattern(), false),
        expected
    );
    let negated: Vec<_> = like_over(texts(&values), pattern(), true);
    assert_eq!(
        negated,
        [
            yes(false),
            None,
            yes(true),
            yes(false),
            yes(true),
            yes(true)
        ]
    );
}

#[test]
fn a_match_does_not_run_across_two_values() {
    let column = texts(&[Some("xa"), Some("b"), Some("aab"), Some("a"), Some("bab")]);
    let found = like_over(column, Expr::text("%ab%", DataType::TEXT_C), false);
    let found: Vec<bool> = found
        .into_iter()
        .map(|v| v == Some(Scalar::Bool(true)))
        .collect();
    assert_eq!(found, [false, false, true, false, true]);
}

#[test]
fn a_pattern_from_a_column_is_compiled_row_by_row() {
    let columns = [
        texts(&[Some("abc"), Some("abc"), Some("x")]),
        texts(&[Some("a%"), Some("b%"), None]),
    ];
    let column = |i| Expr::column(i, DataType::TEXT_C);
    let like = Expr::like(column(0), column(1), false, false).unwrap();
    let expected = [Some(Scalar::Bool(true)), Some(Scalar::Bool(false)), None];
    assert_eq!(values_of(&like, &batch(&columns)).unwrap(), expected);
}

#[test]
fn what_depends_on_a_locale_or_is_defective_is_left() {
    let libc = Expr::column(
        0,
        DataType::Text {
            collation: Collation::Deterministic,
        },
    );
    let other = Expr::column(
        0,
        DataType::Text {
            collation: Collation::Other,
        },
    );
    let pattern = |text| Expr::text(text, DataType::TEXT_C);
    assert!(Expr::like(libc.clone(), pattern("a%"), true, false)
        .unwrap_err()
        .needs_postgres());
    assert!(Expr::like(other, pattern("a%"), false, false)
        .unwrap_err()
        .needs_postgres());
    assert!(Expr::like(libc.clone(), pattern("a\\"), false, false)
        .unwrap_err()
        .needs_postgres());
    assert!(Expr::like(libc, pattern("a%"), false, false).is_ok());
}
