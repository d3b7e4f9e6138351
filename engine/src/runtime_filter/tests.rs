// SPDX-License-Identifier: Apache-2.0
use super::*;

fn ints(values: Vec<i64>) -> Vector {
    Vector {
        values: Values::I64(values),
        validity: None,
    }
}

#[test]
fn a_key_always_passes_and_few_others_do() {
    let keys = ints((0..10_000).map(|i| i * 7).collect());
    let filter = RuntimeFilter::of_keys(&keys, usize::MAX);
    let probe = ints((0..70_000).collect());
    let passed = filter.apply(&probe, Selection::All(70_000));
    let passed: Vec<usize> = passed.iter().collect();
    assert!((0..10_000usize).all(|i| passed.binary_search(&(i * 7)).is_ok()));
    assert!(passed.len() < 15_000, "{} rows passed", passed.len());
}

#[test]
fn a_short_list_is_exact_and_prunes_blocks() {
    let filter = RuntimeFilter::of_keys(&ints(vec![30, 10, 20, 10]), usize::MAX);
    assert_eq!(
        filter.apply(&ints(vec![5, 10, 15, 30]), Selection::All(4)),
        Selection::Indices(vec![1, 3])
    );
    assert!(filter.may_match_range(15, 20));
    assert!(!filter.may_match_range(11, 19));
}

#[test]
fn no_keys_pass_no_rows() {
    let filter = RuntimeFilter::of_keys(&ints(vec![]), usize::MAX);
    assert!(filter
        .apply(&ints(vec![1, 2]), Selection::All(2))
        .is_empty());
    assert!(!filter.may_match_range(i64::MIN, i64::MAX));
}

#[test]
fn text_goes_through_the_bloom_filter() {
    let text = |words: &[&str]| {
        let mut column = doris_storage::vector::BytesColumn::default();
        words.iter().for_each(|w| column.push(w.as_bytes()));
        Vector {
            values: Values::Bytes(column),
            validity: None,
        }
    };
    let filter = RuntimeFilter::of_keys(&text(&["a", "bc"]), usize::MAX);
    assert_eq!(
        filter.apply(&text(&["x", "bc", "a"]), Selection::All(3)),
        Selection::Indices(vec![1, 2])
    );
}
