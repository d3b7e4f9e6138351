// SPDX-License-Identifier: Apache-2.0
use super::funnel::{self, Event, Mode};
use super::sequence::Pattern;
use super::*;
use proptest::prelude::*;

/// A seeded stream of well-mixed words.
fn words(seed: u64) -> impl Iterator<Item = u64> {
    (1u64..).map(move |i| hash::finish_64(seed.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15))))
}

fn set(values: &[u64]) -> Bitmap {
    values.iter().copied().collect()
}

fn text(set: &Bitmap) -> String {
    set.to_text(usize::MAX).unwrap()
}

fn union_of(values: &[u64]) -> BitmapUnion {
    let mut union = BitmapUnion::default();
    values.iter().for_each(|value| union.add(*value));
    union
}

fn hll_of(values: impl IntoIterator<Item = u64>) -> Hll {
    let mut hll = Hll::default();
    values
        .into_iter()
        .for_each(|value| hll.add_hash(Hll::hash(&value.to_le_bytes())));
    hll
}

fn quantile_of(values: &[f64]) -> Quantile {
    let mut state = Quantile::default();
    values.iter().for_each(|value| state.add(*value));
    state
}

/// Values in a few dense places, so that every container kind and several upper halves occur.
fn values() -> impl Strategy<Value = Vec<u64>> {
    let value = prop_oneof![
        0u64..200,
        65_000u64..70_000,
        (1u64 << 32)..(1 << 32) + 9000,
        any::<u64>()
    ];
    prop::collection::vec(value, 0..300)
}

#[test]
fn hashes_are_those_of_doris() {
    assert_eq!(hash::murmur3_32(b"hello", hash::SEED_32), 1_321_743_225);
    assert_eq!(
        hash::murmur3_64(b"hello", 0),
        -3_215_607_508_166_160_593i64 as u64
    );
    // The second word continues from the hash of the first: other lengths of the tail, the same constants.
    assert_eq!(
        hash::murmur3_32(b"world", hash::murmur3_32(b"hello", hash::SEED_32)),
        984_713_481
    );
    assert_eq!(
        hash::murmur3_64(b"world", hash::murmur3_64(b"hello", 0)),
        3_583_109_472_027_628_045
    );
}

/// The tail as the hash is defined: byte by byte.
fn murmur3_64_by_bytes(data: &[u8]) -> u64 {
    let mix = |word: u64| {
        word.wrapping_mul(0x87c3_7b91_1142_53d5)
            .rotate_left(31)
            .wrapping_mul(0x4cf5_ad43_2745_937f)
    };
    let word = |bytes: &[u8]| {
        let byte = |word: u64, byte: &u8| word << 8 | u64::from(*byte);
        bytes.iter().rev().fold(0, byte)
    };
    let (blocks, tail) = data.as_chunks::<8>();
    let hash = blocks.iter().fold(0u64, |hash, block| {
        (hash ^ mix(word(block)))
            .rotate_left(27)
            .wrapping_mul(5)
            .wrapping_add(0x52dc_e729)
    });
    hash::finish_64(hash ^ mix(word(tail)) ^ data.len() as u64)
}

#[test]
fn tails_of_all_lengths_are_hashed_as_their_bytes() {
    let data: Vec<u8> = words(5).take(8).flat_map(u64::to_le_bytes).collect();
    for from in 0..9 {
        for to in from..=40 {
            let bytes = &data[from..to];
            assert_eq!(
                hash::murmur3_64(bytes, 0),
                murmur3_64_by_bytes(bytes),
                "{}",
                to - from
            );
        }
    }
}

#[test]
fn stored_bytes_do_not_change() {
    assert_eq!(
        set(&[3, 1]).encode(),
        [1, 1, 2, 1, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]
    );
    assert_eq!(set(&[5]).encode(), Bitmap::encode_one(5));
    assert_eq!(set(&[]).encode(), Bitmap::encode_empty());
    let runs: Bitmap = (10..60).collect();
    let roaring = [
        1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x3b, 0x30, 0, 0, 1, 0, 0, 49, 0, 1, 0, 10, 0, 49, 0,
    ];
    assert_eq!(
        runs.clone().encode(),
        [&[1, 2, 50, 0, 0, 0, 0, 0, 0, 0], roaring.as_slice()].concat()
    );
    assert_eq!(Hll::default().encode(), [1, 0]);
    assert_eq!(
        Hll::of(b"hello").encode(),
        [1, 1, 1, 47, 79, 173, 34, 2, 222, 95, 211]
    );
    assert_eq!(
        quantile_of(&[2.0, 1.0]).encode(),
        [
            1, 1, 0, 8, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 240, 63, 0, 0, 0, 0, 0, 0,
            0, 64
        ]
    );
    let sum = |bytes: Vec<u8>| hash::murmur3_64(&bytes, 0);
    assert_eq!(
        sum(words(1).take(50_000).collect::<Bitmap>().encode()),
        GOLDEN[0]
    );
    assert_eq!(sum(hll_of(words(1).take(2_000)).encode()), GOLDEN[1]);
    assert_eq!(sum(hll_of(words(1).take(50_000)).encode()), GOLDEN[2]);
}

/// Hashes of larger encodings of format version 1.
const GOLDEN: [u64; 3] = [
    15_526_511_885_127_769_205,
    1_348_725_390_306_695_064,
    9_224_988_429_009_014_876,
];

#[test]
fn text_is_read_with_blanks_and_nothing_else() {
    assert_eq!(text(&Bitmap::parse(b" 0, 1 ,2 ").unwrap()), "0,1,2");
    assert_eq!(Bitmap::parse(b"").unwrap().len(), 0);
    assert_eq!(
        Bitmap::parse(b"18446744073709551615").unwrap().max(),
        Some(u64::MAX)
    );
    for bad in [
        "a",
        "-1",
        "1,,2",
        "1,",
        "+1",
        "1.5",
        "18446744073709551616",
        "1 2",
    ] {
        assert!(Bitmap::parse(bad.as_bytes()).is_none(), "{bad}");
    }
}

#[test]
fn slices_count_from_either_end() {
    let five = set(&[0, 1, 2, 3, 5]);
    let text = |slice: Option<Bitmap>| slice.map(|set| text(&set));
    assert_eq!(text(five.slice(-3, 2)).as_deref(), Some("2,3"));
    assert_eq!(text(five.slice(1, 100)).as_deref(), Some("1,2,3,5"));
    assert_eq!(text(five.slice(5, 1)), None);
    assert_eq!(text(five.slice(-6, 1)), None);
    assert_eq!(text(five.slice(0, 0)), None);
    assert_eq!(
        text(set(&[1, 2, 3, 4, 5]).range(2, 4)).as_deref(),
        Some("2,3")
    );
    assert_eq!(text(five.range(4, 5)).as_deref(), Some(""));
    assert_eq!(text(five.range(4, 4)), None);
    assert_eq!(text(five.limited(2, 2)).as_deref(), Some("2,3"));
}

/// Five hundred kilobytes of runs hold every 32-bit value.
#[test]
fn huge_sets_of_runs_are_cheap() {
    let full = Bitmap::decode(&full_set()).unwrap();
    assert_eq!(full.len(), 1 << 32);
    assert_eq!(full.to_text(1000), None);
    assert_eq!(text(&full.range(7, 9).unwrap()), "7,8");
    assert_eq!(full.slice(-5, 3).unwrap().min(), Some((1 << 32) - 5));
    assert_eq!(text(&full.limited(5, 2).unwrap()), "5,6");
    assert_eq!(full.limited(5, 0).unwrap().len(), 0);
    assert_eq!(full.hash(1), full.clone().hash(1));
}

fn full_set() -> Vec<u8> {
    let mut bytes = vec![1, 2];
    bytes.extend((1u64 << 32).to_le_bytes());
    bytes.extend(1u64.to_le_bytes());
    bytes.extend(0u32.to_le_bytes());
    bytes.extend((12_347u32 | 65_535 << 16).to_le_bytes());
    bytes.extend([255; 8192]);
    (0..=u16::MAX).for_each(|key| bytes.extend([key.to_le_bytes(), [255, 255]].concat()));
    // The offsets of the containers, which no reader needs.
    bytes.extend(vec![0; 4 * 65_536]);
    (0..65_536).for_each(|_| bytes.extend([1, 0, 0, 0, 255, 255]));
    bytes
}

#[test]
fn hll_is_within_two_percent() {
    for (seed, count) in [(1, 1_000u64), (2, 20_000), (3, 100_000), (4, 1_000_000)] {
        let estimate = hll_of(words(seed).take(count as usize)).estimate() as f64;
        let error = (estimate - count as f64).abs() / count as f64;
        assert!(error < 0.02, "{count} values were estimated as {estimate}");
    }
    assert_eq!(hll_of((0..128).chain(0..128)).estimate(), 128);
}

#[test]
fn hll_sequential_integers_are_no_worse() {
    let mut hll = Hll::default();
    (0..1_000_000u64).for_each(|value| hll.add_hash(hash::finish_64(value)));
    let error = (hll.estimate() as f64 - 1e6).abs() / 1e6;
    assert!(error < 0.02, "{}", hll.estimate());
}

#[test]
fn quantiles_of_few_values_are_exact() {
    assert_eq!(
        quantile_of(&[50.4, 20.1, 40.2, 30.3]).quantile(0.5),
        Some((30.3 + 40.2) / 2.0)
    );
    assert_eq!(quantile_of(&[7.0]).quantile(0.99), Some(7.0));
    assert_eq!(quantile_of(&[]).quantile(0.5), None);
    assert_eq!(quantile::exact(&[1.0, 2.0, 3.0, 4.0], 0.75), Some(3.25));
    let wild = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.0, 2.0];
    assert_eq!(quantile_of(&wild).quantile(0.0), Some(f64::NEG_INFINITY));
    assert!(quantile_of(&wild).quantile(1.0).unwrap().is_nan());
}

#[test]
fn quantiles_of_many_values_are_close() {
    let uniform: Vec<f64> = words(5)
        .take(300_000)
        .map(|word| (word >> 11) as f64 / (1u64 << 53) as f64)
        .collect();
    let mut whole = quantile_of(&uniform);
    let mut parts = Quantile::default();
    uniform
        .chunks(7_000)
        .for_each(|chunk| parts.merge(&quantile_of(chunk)));
    let mut sorted = uniform.clone();
    sorted.sort_by(quantile::order);
    for fraction in [0.0, 0.001, 0.01, 0.25, 0.5, 0.9, 0.99, 0.9999, 1.0] {
        let truth = quantile::exact(&sorted, fraction).unwrap();
        for state in [&mut whole, &mut parts] {
            let answer = state.quantile(fraction).unwrap();
            assert!(
                (answer - truth).abs() < 0.001,
                "{fraction}: {answer} for {truth}"
            );
        }
    }
    assert!(
        whole.encode().len() < 48 * 1024,
        "{} bytes",
        whole.encode().len()
    );
}

#[test]
fn digests_keep_what_has_no_mean() {
    let mut state = Quantile::default();
    for i in 0..10_000 {
        state.add(
            [
                f64::NEG_INFINITY,
                f64::from(i),
                f64::MAX,
                f64::MIN,
                f64::NAN,
            ][i as usize % 5],
        );
    }
    assert_eq!(state.len(), 10_000);
    assert_eq!(state.quantile(0.0), Some(f64::NEG_INFINITY));
    assert!(state.quantile(0.9).unwrap().is_nan());
    let (low, high) = (state.quantile(0.39).unwrap(), state.quantile(0.61).unwrap());
    assert!(low < -1e300 && high > 1e300, "{low} {high}");
    assert_eq!(Quantile::decode(&state.encode()).unwrap(), state);
}

#[test]
fn frequent_values_survive_many_rare_ones() {
    let mut top = TopN::new(2, 50);
    for (i, word) in words(9).take(100_000).enumerate() {
        top.add(&word.to_le_bytes(), 1);
        top.add([b"often", b"less_"][usize::from(i % 3 == 0)], 1);
    }
    let values: Vec<&[u8]> = top.top().iter().map(|(value, _)| *value).collect();
    assert_eq!(values, [b"often".as_slice(), b"less_"]);
    let copy = TopN::decode(&top.encode()).unwrap();
    assert_eq!(copy.top(), top.top());
}

fn events(steps: &str) -> Vec<Event> {
    let step = |letter: char| u32::from(letter).wrapping_sub(u32::from('A'));
    steps
        .chars()
        .zip(0..)
        .map(|(letter, at)| Event {
            at,
            steps: 1u32.checked_shl(step(letter)).unwrap_or(0),
        })
        .collect()
}

#[test]
fn funnel_modes_differ_as_documented() {
    let funnel = |steps: &str, mode| funnel::longest(&events(steps), 4, 100, mode);
    assert_eq!(funnel("ABCBD", Mode::Default), 4);
    assert_eq!(funnel("ABCBD", Mode::Deduplication), 3);
    assert_eq!(funnel("ABDC", Mode::Fixed), 2);
    assert_eq!(funnel("AB~CD", Mode::Fixed), 4);
    assert_eq!(funnel("BCD", Mode::Default), 0);
    assert_eq!(funnel("AABCD", Mode::Deduplication), 4);
    let same_time: Vec<Event> = events("ABC")
        .into_iter()
        .map(|event| Event {
            at: event.at / 2,
            ..event
        })
        .collect();
    assert_eq!(funnel::longest(&same_time, 3, 100, Mode::Increase), 1);
    assert_eq!(funnel::longest(&same_time, 3, 100, Mode::Default), 3);
    assert_eq!(funnel::longest(&events("A~~~~~B"), 2, 5, Mode::Default), 1);
    assert_eq!(funnel::longest(&events("A~~~~~B"), 2, 6, Mode::Default), 2);
}

#[test]
fn sequences_skip_only_what_the_pattern_does_not_name() {
    let numbers = [1, 2, 1, 2, 3];
    let on = |wanted: &[i32]| -> Vec<Event> {
        let steps = |number| {
            wanted
                .iter()
                .enumerate()
                .fold(0, |all, (i, want)| all | u32::from(number == *want) << i)
        };
        numbers
            .iter()
            .zip(0..)
            .map(|(number, at)| Event {
                at,
                steps: steps(*number),
            })
            .collect()
    };
    let count = |text: &str, wanted: &[i32]| {
        Pattern::parse(text.as_bytes(), wanted.len() as u32)
            .unwrap()
            .count(&on(wanted), 1)
            .unwrap()
    };
    assert_eq!(count("(?1)(?2)", &[1, 2]), 2);
    assert_eq!(count("(?1)(?2)", &[1, 3]), 1);
    assert_eq!(count("(?1).*(?2)", &[1, 3]), 1);
    assert_eq!(count("(?1)(?t<=1)(?2)", &[1, 3]), 0);
    assert_eq!(count("(?1)(?t>=2)(?2)", &[1, 3]), 1);
    assert_eq!(count("(?1).(?3)", &[1, 2, 3]), 1);
}

#[test]
fn bad_patterns_are_refused() {
    for bad in [
        "(?3)", "(?0)", "(?x)", "(1)", "(?1", "x", "(?t~3)", "(?t<=x)",
    ] {
        assert!(Pattern::parse(bad.as_bytes(), 2).is_err(), "{bad}");
    }
}

#[test]
fn hostile_patterns_end() {
    let many: Vec<Event> = (0..3000).map(|at| Event { at, steps: 1 }).collect();
    let text = ".*(?1)".repeat(8) + "(?2)";
    assert!(Pattern::parse(text.as_bytes(), 2)
        .unwrap()
        .occurs(&many, 1)
        .is_err());
}

proptest! {
    #[test]
    fn bitmaps_round_trip(values in values()) {
        let mut bitmap = set(&values);
        let bytes = bitmap.encode();
        prop_assert_eq!(StoredBitmap::parse(&bytes).unwrap().len(), bitmap.len());
        let mut back = Bitmap::decode(&bytes).unwrap();
        prop_assert_eq!(&back, &bitmap);
        prop_assert_eq!(back.encode(), bytes);
        prop_assert_eq!(Bitmap::parse(text(&bitmap).as_bytes()).unwrap(), bitmap);
    }

    #[test]
    fn bitmap_unions_associate(a in values(), b in values(), c in values()) {
        let mut left = union_of(&a);
        left.merge(&union_of(&b));
        left.merge(&union_of(&c));
        let mut right = union_of(&b);
        right.add_stored(StoredBitmap::parse(&set(&c).encode()).unwrap()).unwrap();
        let mut all = union_of(&a);
        all.merge(&right);
        let plain = set(&[a, b, c].concat());
        prop_assert_eq!(left.finish(), plain.clone());
        prop_assert_eq!(all.encode(), plain.clone().encode());
    }

    #[test]
    fn hll_unions_associate(a in 0u64..9000, b in 0u64..9000, c in 0u64..300) {
        let parts = [hll_of(0..a), hll_of(5000..5000 + b), hll_of(100..100 + c)];
        let mut left = parts[0].clone();
        left.merge(&parts[1]);
        left.merge(&parts[2]);
        let mut right = parts[1].clone();
        right.merge(&parts[2]);
        let mut all = parts[0].clone();
        all.merge(&right);
        prop_assert_eq!(left.estimate(), all.estimate());
        prop_assert_eq!(Hll::decode(&left.encode()).unwrap(), left);
    }

    #[test]
    fn quantiles_round_trip(values in prop::collection::vec(any::<f64>(), 0..5000)) {
        let mut state = quantile_of(&values);
        let bytes = state.encode();
        prop_assert_eq!(Quantile::decode(&bytes).unwrap().encode(), bytes);
        prop_assert_eq!(state.len(), values.len() as u64);
    }

    #[test]
    fn damaged_bytes_are_an_error_or_a_value(
        values in values(), place in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>(),
    ) {
        let floats: Vec<f64> = values.iter().cycle().take(values.len() * 12).map(|value| *value as f64).collect();
        let encodings =
            [set(&values).encode(), hll_of(values.iter().copied()).encode(), quantile_of(&floats).encode()];
        for mut bytes in encodings {
            let at = place.index(bytes.len());
            bytes[at] = byte;
            for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
                if let Ok(mut bitmap) = Bitmap::decode(bytes) {
                    prop_assert_eq!(Bitmap::decode(&bitmap.encode()).unwrap(), bitmap);
                }
                if let Ok(hll) = Hll::decode(bytes) {
                    hll.estimate();
                }
                if let Ok(mut quantile) = Quantile::decode(bytes) {
                    quantile.quantile(0.3);
                }
            }
        }
    }

    #[test]
    fn noise_is_never_a_crash(bytes in prop::collection::vec(any::<u8>(), 0..400), form in 0u8..4) {
        let bytes = [&[1, form][..], &bytes].concat();
        let _ = (Bitmap::decode(&bytes), Hll::decode(&bytes), Quantile::decode(&bytes), TopN::decode(&bytes));
    }
}
