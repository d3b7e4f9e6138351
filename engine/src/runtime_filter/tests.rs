// SPDX-License-Identifier: Apache-2.0
use super::*;
use doris_storage::vector::Bitmap;

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

#[test]
fn integer_filters_drop_no_partner_and_little_else() {
    let numbers =
        |step: i64, count: i64| -> Vec<i64> { (0..count).map(|i| i * step - 500).collect() };
    // Few keys, keys close together, keys far apart, one key, extremes, none.
    let key_sets = [
        numbers(1000, 40),
        numbers(3, 5000),
        numbers(1_000_003, 5000),
        vec![7],
        vec![i64::MIN, 0, i64::MAX],
        vec![],
    ];
    for keys in key_sets {
        let vector = |values: Vec<i64>, nulls: bool| Vector {
            validity: nulls.then(|| Bitmap::from_bools((0..values.len()).map(|i| i % 5 != 0))),
            values: Values::I64(values),
        };
        let filter = RuntimeFilter::of_keys(&vector(keys.clone(), false), 1 << 20);
        let mut probes: Vec<i64> = keys.iter().flat_map(|&k| [k, k.wrapping_add(1)]).collect();
        probes.extend((-3000..3000).chain([i64::MIN, i64::MAX]));
        let column = vector(probes.clone(), true);
        let every_other = Selection::Indices((0..probes.len() as u32).step_by(2).collect());
        for selection in [Selection::All(probes.len()), every_other] {
            let kept: Vec<usize> = filter.apply(&column, selection.clone()).iter().collect();
            let is_key = |row: usize| !column.is_null(row) && keys.contains(&probes[row]);
            let wanted: Vec<usize> = selection.iter().filter(|&row| is_key(row)).collect();
            assert!(wanted.iter().all(|row| kept.contains(row)));
            assert!(kept.iter().all(|row| !column.is_null(*row)));
            assert!(kept.len() - wanted.len() <= selection.len() / 20);
        }
    }
}

#[test]
fn a_sorts_bound_drops_what_comes_after_it() {
    let bound = Arc::new(SortBound::new(false, false));
    let filter = RuntimeFilter::of_sort(bound.clone());
    let mut column = ints(vec![5, 10, 15, 30]);
    assert_eq!(filter.apply(&column, Selection::All(4)), Selection::All(4));
    assert!(filter.may_match_range(i64::MIN, i64::MAX) && filter.passes_nulls());
    bound.close_in(10);
    assert_eq!(
        filter.apply(&column, Selection::All(4)),
        Selection::Indices(vec![0, 1])
    );
    assert!(filter.may_match_range(10, 20) && !filter.may_match_range(11, 20));
    column.validity = Some(Bitmap::from_bools([true, false, true, true]));
    assert_eq!(
        filter.apply(&column, Selection::All(4)),
        Selection::Indices(vec![0])
    );
}

#[test]
fn a_sorts_bound_passes_nulls_that_come_first() {
    let bound = Arc::new(SortBound::new(true, true));
    let filter = RuntimeFilter::of_sort(bound.clone());
    bound.close_in(15);
    let mut column = ints(vec![5, 10, 15, 30]);
    column.validity = Some(Bitmap::from_bools([true, false, true, true]));
    assert_eq!(
        filter.apply(&column, Selection::Indices(vec![0, 1, 3])),
        Selection::Indices(vec![1, 3])
    );
    assert!(filter.passes_nulls() && !filter.may_match_range(0, 14));
}

#[test]
fn a_filter_knows_its_bytes() {
    let bytes = |values| RuntimeFilter::of_keys(&ints(values), 1 << 20).memory_bytes();
    let few = bytes((0..10).collect());
    assert!(few < 1000, "{few}");
    let scattered = bytes((0..100_000).map(|i| i * 1_000_003).collect());
    let bloom = 100_000 * BITS_PER_KEY / 8;
    assert!(
        (bloom..bloom * 2 + 1000).contains(&scattered),
        "{scattered}"
    );
}
