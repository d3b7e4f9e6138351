// SPDX-License-Identifier: Apache-2.0
use proptest::prelude::*;

use super::int::{Int, Kind, Layout};
use super::*;
use crate::vector::{Bitmap, BytesColumn};
use crate::wire::Reader;

fn open<T: Int>(data: &[u8], rows: usize) -> Layout<T> {
    let r = &mut Reader::new(data);
    let layout = Layout::open(r, data, rows).unwrap();
    assert_eq!(r.remaining(), 0);
    layout
}

/// All rows, some ranges and single rows come back.
fn check<T: Int>(data: &[u8], values: &[T]) {
    let layout = open::<T>(data, values.len());
    let n = values.len();
    for range in [
        0..n,
        0..n / 2,
        n / 3..n,
        n / 2..n / 2 + n / 9,
        n.saturating_sub(1)..n,
    ] {
        let mut out = vec![T::default(); 3];
        layout.decode(data, range.clone(), &mut out);
        assert_eq!(&out[3..], &values[range]);
    }
    for i in (0..n).step_by((n / 50).max(1)) {
        assert_eq!(layout.get(data, i), values[i]);
    }
    for step in [1, 2, 7, 100, 1500] {
        let rows: Vec<u32> = (n / 3..n).step_by(step).map(|i| i as u32).collect();
        let mut out = vec![T::default(); 2];
        layout.gather(data, &rows, &mut out);
        let expected: Vec<T> = rows.iter().map(|&i| values[i as usize]).collect();
        assert_eq!(&out[2..], expected);
    }
    check_within(data, &layout, values);
}

/// What lies within bounds is found as it is by looking at the values.
fn check_within<T: Int>(data: &[u8], layout: &Layout<T>, values: &[T]) {
    let n = values.len();
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let Some(last) = n.checked_sub(1) else {
        return;
    };
    let at = |part: usize| sorted[last * part / 8].wide();
    let bounds = [
        (at(0), at(8)),
        (at(0) - 1, at(8) + 1),
        (at(1), at(1)),
        (at(2), at(6)),
        (at(4) + 1, at(7) - 1),
        (at(8) + 1, at(8) + 9),
        (at(0) - 9, at(0) - 1),
        (i128::MIN, at(3)),
        (at(5), i128::MAX),
        (at(6), at(2)),
    ];
    for range in [0..n, n / 3..n, n / 2..n / 2 + n / 9, 0..0] {
        for (low, high) in bounds {
            let mut out = vec![77];
            if !layout.within_wide(data, range.clone(), (low, high), &mut out) {
                assert!(matches!(layout, Layout::Plain(_) | Layout::Delta(_)));
                assert_eq!(out, [77]);
                continue;
            }
            let within = |&i: &usize| (low..=high).contains(&values[range.start + i].wide());
            let expected: Vec<u32> = (0..range.len()).filter(within).map(|i| i as u32).collect();
            assert_eq!(out[1..], expected, "{low}..={high} of {range:?}");
        }
    }
}

/// Damages every byte in a few ways; opening may fail, nothing may panic.
fn survive<T: Int>(data: &[u8], rows: usize) {
    let attempt = |data: &[u8]| {
        if let Ok(layout) = Layout::<T>::open(&mut Reader::new(data), data, rows) {
            let mut out = Vec::new();
            layout.decode(data, 0..rows, &mut out);
            assert_eq!(out.len(), rows);
            layout.get(data, rows / 2);
            let few = (T::default(), T::default().add_offset(9));
            layout.within(data, 0..rows, few, &mut Vec::new());
            layout.gather(data, &[0, rows as u32 / 2, rows as u32 - 1], &mut out);
        }
    };
    for i in 0..data.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bad = data.to_vec();
            bad[i] ^= flip;
            attempt(&bad);
        }
        attempt(&data[..i]);
    }
}

fn encoded<T: Int>(values: &[T]) -> (Kind, Vec<u8>) {
    let mut data = Vec::new();
    let kind = int::encode(values, &mut data);
    (kind, data)
}

fn noise(i: u64) -> u64 {
    crate::checksum::checksum(&i.to_le_bytes())
}

/// One stream of every kind, and some awkward ones.
fn samples() -> Vec<(Kind, Vec<i64>)> {
    let n = 2500u64;
    vec![
        (Kind::Constant, vec![-5; 2500]),
        (Kind::Plain, (0..n).map(|i| noise(i) as i64).collect()),
        (
            Kind::Packed,
            (0..n).map(|i| (noise(i) % 1000) as i64 - 500).collect(),
        ),
        (
            Kind::Packed,
            (0..n).map(|i| i64::MIN + (noise(i) >> 10) as i64).collect(),
        ),
        (
            Kind::Delta,
            (0..n)
                .map(|i| i as i64 * 1000 + (noise(i) % 9) as i64)
                .collect(),
        ),
        (
            Kind::Runs,
            (0..n).map(|i| noise(i / 100) as i64 >> 20).collect(),
        ),
        (
            Kind::Scaled,
            (0..n)
                .map(|i| (noise(i) % 50) as i64 * 86_400_000)
                .collect(),
        ),
        (
            Kind::Lookup,
            (0..n).map(|i| noise(noise(i) % 20) as i64).collect(),
        ),
        (
            Kind::Patched,
            (0..n)
                .map(|i| {
                    if noise(i).is_multiple_of(50) {
                        noise(i) as i64
                    } else {
                        0
                    }
                })
                .collect(),
        ),
        (
            Kind::Patched,
            (0..n)
                .map(|i| {
                    if i % 90 == 7 {
                        noise(i) as i64
                    } else {
                        (noise(i) % 64) as i64
                    }
                })
                .collect(),
        ),
    ]
}

#[test]
fn every_kind_is_chosen_and_round_trips() {
    for (kind, values) in samples() {
        let (chosen, data) = encoded(&values);
        assert_eq!(chosen, kind, "{:?}...", &values[..5]);
        check(&data, &values);
        for cut in [1, 2, 63, 1023, 1024, 1025, 2048] {
            check(&encoded(&values[..cut]).1, &values[..cut]);
        }
    }
}

#[test]
fn damaged_streams_do_not_panic() {
    for (_, values) in samples() {
        let rows = 1100;
        let (_, data) = encoded(&values[..rows]);
        if data.len() < 3000 {
            survive::<i64>(&data, rows);
            survive::<i16>(&data, rows);
            survive::<i128>(&data, rows);
        }
    }
}

#[test]
fn every_width_packs_and_unpacks() {
    for width in 0..=64u32 {
        let mask = if width == 0 {
            0
        } else {
            u64::MAX >> (64 - width)
        };
        for n in [1usize, 7, 1000, 1024] {
            let values: Vec<u64> = (0..n as u64).map(|i| noise(i) & mask).collect();
            let mut data = Vec::new();
            bits::pack(&values, width, &mut data);
            assert_eq!(data.len(), bits::packed_len(n, width));
            for (i, &v) in values.iter().enumerate() {
                assert_eq!(bits::get(&data, width, n, i), v);
            }
            let mut out = Vec::new();
            packed::unpack_map(&data, width, n, 0..n, &mut out, |v| v);
            assert_eq!(out, values);
        }
    }
}

fn column(values: &[&[u8]]) -> BytesColumn {
    let mut column = BytesColumn::default();
    values.iter().for_each(|v| column.push(v));
    column
}

/// Encodes by the given means and reads all, ranges and single values.
fn check_bytes(values: &BytesColumn, lz4: bool, fsst: bool) -> bytes::Kind {
    let sample: Vec<&[u8]> = values.iter().collect();
    let trained = fsst.then(|| fsst::Trained::train(&sample));
    let mut table = Vec::new();
    if let Some(trained) = &trained {
        trained.write(&mut table);
    }
    let table = trained
        .as_ref()
        .map(|_| fsst::SymbolTable::open(&mut Reader::new(&table)).unwrap());
    let mut data = Vec::new();
    let n = values.len();
    let kind = bytes::encode(
        values,
        0..n,
        bytes::Means {
            lz4,
            fsst: trained.as_ref(),
        },
        &mut data,
    );
    let layout = bytes::Layout::open(&mut Reader::new(&data), &data, n).unwrap();
    let decode = |data: &[u8], layout: &bytes::Layout, range: std::ops::Range<usize>| {
        let mut out = column(&[b"before"]);
        layout
            .decode(data, range, table.as_ref(), &mut out)
            .map(|()| out)
    };
    for range in [0..n, 0..0, n / 3..n / 2, n - 1..n, n / 2..n] {
        let out = decode(&data, &layout, range.clone()).unwrap();
        assert_eq!(out.len(), range.len() + 1);
        range
            .enumerate()
            .for_each(|(at, i)| assert_eq!(out.get(at + 1), values.get(i)));
    }
    for i in (0..data.len()).step_by((data.len() / 3000).max(1)) {
        let mut bad = data.clone();
        bad[i] ^= 0x41;
        for bad in [&bad[..], &bad[..i]] {
            if let Ok(layout) = bytes::Layout::open(&mut Reader::new(bad), bad, n) {
                let _ = decode(bad, &layout, 0..n);
                let _ = decode(bad, &layout, n / 2..n / 2 + 1);
            }
        }
    }
    kind
}

#[test]
fn text_round_trips_by_every_means() {
    let words = [
        "furiously",
        "express",
        "accounts",
        "sleep",
        "slyly",
        "even",
        "",
        "théodolites",
    ];
    let text: Vec<String> = (0..2100u64)
        .map(|i| {
            format!(
                "{} {}",
                words[(noise(i) % 8) as usize],
                words[(noise(i + 9999) % 8) as usize]
            )
        })
        .collect();
    let values = column(&text.iter().map(String::as_bytes).collect::<Vec<_>>());
    assert_eq!(check_bytes(&values, false, false), bytes::Kind::Plain);
    assert_eq!(check_bytes(&values, false, true), bytes::Kind::Fsst);
    assert_eq!(check_bytes(&values, true, false), bytes::Kind::Lz4);
    let long: Vec<Vec<u8>> = (0..40u64)
        .map(|i| text[i as usize..].join("-").into_bytes())
        .collect();
    let long = column(&long.iter().map(Vec::as_slice).collect::<Vec<_>>());
    assert_eq!(check_bytes(&long, true, false), bytes::Kind::Lz4);
    let binary: Vec<Vec<u8>> = (0..500u64)
        .map(|i| noise(i).to_le_bytes()[..(i % 9) as usize].to_vec())
        .collect();
    let binary = column(&binary.iter().map(Vec::as_slice).collect::<Vec<_>>());
    check_bytes(&binary, true, true);
    assert_eq!(
        check_bytes(&column(&[b"x", b"x"]), true, true),
        bytes::Kind::Constant
    );
}

#[test]
fn floats_come_back_bit_for_bit() {
    let odd = [
        f64::NAN,
        f64::from_bits(0x7ff8_dead_beef_0001),
        -0.0,
        0.0,
        f64::INFINITY,
        f64::MIN,
        5e-324,
        1e300,
    ];
    let samples: Vec<(float::Kind, Vec<f64>)> = vec![
        (
            float::Kind::Decimal,
            (0..3000)
                .map(|i| (noise(i) % 100_000) as f64 / 100.0)
                .collect(),
        ),
        (
            float::Kind::Decimal,
            (0..3000)
                .map(|i| {
                    if i % 100 == 3 {
                        odd[i as usize / 100 % 8]
                    } else {
                        (noise(i) % 999) as f64 / 10.0
                    }
                })
                .collect(),
        ),
        (float::Kind::Bits(Kind::Constant), vec![f64::NAN; 10]),
        (
            float::Kind::Bits(Kind::Plain),
            (0..3000).map(|i| f64::from_bits(noise(i))).collect(),
        ),
        (
            float::Kind::Bits(Kind::Runs),
            (0..3000).map(|i| f64::from_bits(noise(i / 60))).collect(),
        ),
    ];
    for (kind, values) in samples {
        let mut data = Vec::new();
        assert_eq!(float::encode(&values, true, &mut data), kind);
        let layout =
            float::Layout::<f64>::open(&mut Reader::new(&data), &data, values.len()).unwrap();
        for range in [0..values.len(), values.len() / 3..values.len() / 2] {
            let mut out = vec![1.0];
            layout.decode(&data, range.clone(), &mut out).unwrap();
            let bits = |v: &[f64]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&out[1..]), bits(&values[range]));
        }
        let narrow: Vec<f32> = values.iter().map(|&v| v as f32).collect();
        let mut data = Vec::new();
        float::encode(&narrow, true, &mut data);
        let layout =
            float::Layout::<f32>::open(&mut Reader::new(&data), &data, narrow.len()).unwrap();
        let mut out = Vec::new();
        layout.decode(&data, 0..narrow.len(), &mut out).unwrap();
        assert!(out
            .iter()
            .zip(&narrow)
            .all(|(a, b)| a.to_bits() == b.to_bits()));
    }
}

#[test]
fn validity_round_trips_in_every_form() {
    let forms: Vec<(u8, Vec<bool>)> = vec![
        (0, vec![true; 100]),
        (1, vec![false; 100]),
        (2, (0..3000).map(|i| noise(i).is_multiple_of(2)).collect()),
        (3, (0..3000).map(|i| i / 700 % 2 == 0).collect()),
        (3, (0..3000).map(|i| i >= 5).collect()),
    ];
    for (form, bools) in forms {
        let bits = Bitmap::from_bools(bools.iter().copied());
        let mut data = Vec::new();
        validity::encode(bits.len(), Some(&bits), &mut data);
        assert_eq!(data[0], form);
        let read = |data: &[u8]| validity::open(&mut Reader::new(data), data, bits.len());
        let back = match read(&data).unwrap() {
            validity::Validity::All => Bitmap::filled(bits.len(), true),
            validity::Validity::None => Bitmap::filled(bits.len(), false),
            validity::Validity::Some(bits) => bits,
        };
        assert_eq!(back, bits);
        for i in 0..data.len() {
            let mut bad = data.clone();
            bad[i] ^= 0xff;
            let _ = read(&bad);
            let _ = read(&data[..i]);
        }
    }
}

/// Integers of a random shape.
fn shaped() -> impl Strategy<Value = Vec<i64>> {
    let step = prop_oneof![Just(0i64), 0..3i64, -100..100i64, any::<i64>()];
    let wild = proptest::option::weighted(0.02, any::<i64>());
    let row = (step, 0..5i64, wild);
    let scale = prop_oneof![Just(1i64), 1..1000i64, any::<i64>()];
    (
        proptest::collection::vec(row, 0..2600),
        any::<bool>(),
        scale,
        any::<i64>(),
    )
        .prop_map(|(rows, running, scale, base)| {
            let mut at = base;
            let value = |(step, repeat, wild): (i64, i64, Option<i64>)| {
                if running && repeat == 0 {
                    at = at.wrapping_add(step.wrapping_mul(scale));
                }
                let local = if running {
                    at
                } else {
                    base.wrapping_add(step.wrapping_mul(scale))
                };
                wild.unwrap_or(local)
            };
            rows.into_iter().map(value).collect()
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_integers_round_trip(values in shaped()) {
        check(&encoded(&values).1, &values);
        let narrow: Vec<i16> = values.iter().map(|&v| v as i16).collect();
        check(&encoded(&narrow).1, &narrow);
        let bytes: Vec<u8> = values.iter().map(|&v| v as u8).collect();
        check(&encoded(&bytes).1, &bytes);
        let wide: Vec<i128> = values.iter().map(|&v| i128::from(v) << (v & 63)).collect();
        check(&encoded(&wide).1, &wide);
        let near: Vec<i128> = values.iter().map(|&v| i128::MAX - i128::from(v as u32)).collect();
        check(&encoded(&near).1, &near);
    }

    #[test]
    fn any_bytes_can_be_opened(data in proptest::collection::vec(any::<u8>(), 0..400), rows in 0usize..3000) {
        let r = || Reader::new(&data);
        if let Ok(layout) = Layout::<i32>::open(&mut r(), &data, rows) {
            layout.decode(&data, 0..rows, &mut Vec::new());
        }
        if let Ok(layout) = float::Layout::<f64>::open(&mut r(), &data, rows) {
            let _ = layout.decode(&data, 0..rows, &mut Vec::new());
        }
        if let Ok(layout) = bytes::Layout::open(&mut r(), &data, rows) {
            let _ = layout.decode(&data, 0..rows, None, &mut BytesColumn::default());
        }
        let _ = validity::open(&mut r(), &data, rows);
        let _ = fsst::SymbolTable::open(&mut r());
    }
}
