// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::expr::eval::tests::{batch, dictionary, texts, values_of};
use crate::expr::Expr;
use crate::types::{Collation, Scalar};

#[test]
fn a_bpchar_counts_without_its_padding_and_weighs_with_it() {
    let column = texts(&[Some("äb  "), Some("    ")]);
    let bpchar = || {
        Expr::column(
            0,
            DataType::Bpchar {
                collation: Collation::Deterministic,
            },
        )
    };
    let batch = batch(&[column]);
    let lengths = values_of(&Expr::char_length(bpchar()).unwrap(), &batch).unwrap();
    assert_eq!(lengths, [Some(Scalar::I32(2)), Some(Scalar::I32(0))]);
    let bytes = values_of(&Expr::octet_length(bpchar()).unwrap(), &batch).unwrap();
    assert_eq!(bytes, [Some(Scalar::I32(5)), Some(Scalar::I32(4))]);
}

#[test]
fn a_dictionary_function_is_computed_once_and_kept() {
    let column = dictionary(&[Some("abc"), Some("abd"), None], "zz");
    let text = Expr::column(0, DataType::TEXT_C);
    let left = Expr::left(text, Expr::int4(2)).unwrap();
    let batch = batch(&[column]);
    let ctx = crate::expr::EvalContext::default();
    let all = crate::batch::Selection::All(3);
    let first = left.eval(&ctx, &batch, &all).unwrap();
    let second = left.eval(&ctx, &batch, &all).unwrap();
    let (Values::Dict { codes, dict: one }, Values::Dict { dict: two, .. }) =
        (&first.values, &second.values)
    else {
        panic!("{first:?}")
    };
    assert!(std::sync::Arc::ptr_eq(one, two));
    assert_eq!(codes[0], codes[1]);
    assert!(first.is_null(2));
}

#[test]
fn concat_counts_a_null_as_empty() {
    let columns = [texts(&[Some("a"), None]), texts(&[None, None])];
    let column = |i| Expr::column(i, DataType::TEXT_C);
    let concat = Expr::concat(vec![
        column(0),
        Expr::text("-", DataType::TEXT_C),
        column(1),
    ])
    .unwrap();
    let result = values_of(&concat, &batch(&columns)).unwrap();
    assert_eq!(
        result,
        [Some(Scalar::bytes("a-")), Some(Scalar::bytes("-"))]
    );
    let append = Expr::append(vec![column(0), column(1)]).unwrap();
    assert_eq!(values_of(&append, &batch(&columns)).unwrap(), [None, None]);
}

#[test]
fn lengths_of_columns_are_those_of_their_values() {
    let ascii = [Some("abc"), None, Some(""), Some("a b c d")];
    let other = [Some("abc"), None, Some(""), Some("äöü")];
    for (texts_of_column, chars, octets) in
        [(ascii, [3, 0, 7], [3, 0, 7]), (other, [3, 0, 3], [3, 0, 6])]
    {
        let column = || Expr::column(0, DataType::TEXT_C);
        let batch = batch(&[texts(&texts_of_column)]);
        let expected = |[a, b, c]: [i32; 3]| {
            [
                Some(Scalar::I32(a)),
                None,
                Some(Scalar::I32(b)),
                Some(Scalar::I32(c)),
            ]
        };
        let lengths = values_of(&Expr::char_length(column()).unwrap(), &batch).unwrap();
        assert_eq!(lengths, expected(chars));
        let bytes = values_of(&Expr::octet_length(column()).unwrap(), &batch).unwrap();
        assert_eq!(bytes, expected(octets));
    }
}

#[test]
fn results_of_a_batch_that_grow_too_large_are_refused() {
    let long = "a".repeat(20_000);
    let batch = batch(&[texts(&[Some("b"), Some(&long)])]);
    let column = || Expr::column(0, DataType::TEXT_C);
    let grown = Expr::replace(
        column(),
        Expr::text("a", DataType::TEXT_C),
        Expr::text(&long, DataType::TEXT_C),
    );
    let result = values_of(&grown.unwrap(), &batch);
    assert_eq!(result.unwrap_err(), Error::OutOfMemory);
    let many = || std::iter::repeat_with(column).take(14_000).collect();
    for grown in [Expr::append(many()), Expr::concat(many())] {
        let result = values_of(&grown.unwrap(), &batch);
        assert_eq!(result.unwrap_err(), Error::OutOfMemory);
    }
}

#[test]
fn what_is_made_of_large_texts_is_computed_for_some_rows_at_a_time() {
    let long = "a".repeat(10_000);
    let values = [Some(&*long), None, Some("b"), Some(&*long), Some(&*long)];
    let batch = batch(&[texts(&values)]);
    let grown = Expr::replace(
        Expr::column(0, DataType::TEXT_C),
        Expr::text("a", DataType::TEXT_C),
        Expr::text(&long, DataType::TEXT_C),
    );
    let length = Expr::char_length(grown.unwrap()).unwrap();
    let large = Some(Scalar::I32(100_000_000));
    let expected = [
        large.clone(),
        None,
        Some(Scalar::I32(1)),
        large.clone(),
        large,
    ];
    assert_eq!(values_of(&length, &batch).unwrap(), expected);
}

#[test]
fn large_texts_are_reserved_before_they_are_made() {
    let long = "a".repeat(10_000);
    let values = [Some(&*long), Some(&*long), Some(&*long)];
    let batch = batch(&[texts(&values)]);
    let all = crate::batch::Selection::All(3);
    let grown = |bytes: usize| {
        let (text, a) = (Expr::column(0, DataType::TEXT_C), "a");
        let to = "b".repeat(bytes);
        Expr::replace(
            text,
            Expr::text(a, DataType::TEXT_C),
            Expr::text(&to, DataType::TEXT_C),
        )
        .unwrap()
    };
    let budget = crate::memory::MemoryBudget::new(1 << 20);
    let mut ctx = crate::expr::EvalContext::default();
    ctx.reserve_texts(&budget);
    // 12 MB are granted beyond the limit, and counted.
    grown(400).eval(&ctx, &batch, &all).unwrap();
    assert!(budget.used_bytes() >= 12_000_000);
    ctx.forget_texts(0);
    assert_eq!(budget.used_bytes(), 0);
    // 30 MB are not, unless no more than one row is left.
    let large = grown(1000);
    assert_eq!(
        large.eval(&ctx, &batch, &all).unwrap_err(),
        Error::OutOfMemory
    );
    ctx.forget_texts(0);
    let length = Expr::char_length(large).unwrap();
    let lengths = length.eval(&ctx, &batch, &all).unwrap();
    assert_eq!(lengths.values, Values::I32(vec![10_000_000; 3]));
    assert_eq!(budget.used_bytes(), 0);
}

#[test]
fn letters_have_case_under_c_alone() {
    let text = |collation| Expr::column(0, DataType::Text { collation });
    assert!(Expr::upper(text(Collation::C)).is_ok());
    for collation in [Collation::Bytes, Collation::Deterministic] {
        for changed in [Expr::upper, Expr::lower, Expr::init_cap] {
            assert!(changed(text(collation)).unwrap_err().needs_postgres());
        }
        let pattern = Expr::text("a%", DataType::Text { collation });
        let like = Expr::like(text(collation), pattern, true, false);
        assert!(like.unwrap_err().needs_postgres());
    }
}
