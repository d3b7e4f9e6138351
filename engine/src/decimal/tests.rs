// SPDX-License-Identifier: Apache-2.0
//! Against a model of integers of any size beside their scales, and against PostgreSQL's own quotients.

use std::cmp::Ordering;

use num_bigint::BigInt;
use proptest::prelude::*;

use super::round::Rounding;
use super::{Number, View};
use crate::error::{Error, OutOfRange};
use crate::types::DataType;

/// A finite number as plain digits and a scale.
type Model = (BigInt, u32);

fn ten(exponent: u32) -> BigInt {
    BigInt::from(10).pow(exponent)
}

fn number(text: &str) -> Number {
    match text {
        "NaN" => return Number::NaN,
        "Infinity" => return Number::Infinity,
        "-Infinity" => return Number::NegativeInfinity,
        _ => {}
    }
    let scale = text.split_once('.').map_or(0, |(_, after)| after.len());
    Number::big(text.replace('.', "").parse().unwrap(), scale as u16)
}

fn model(number: &Number) -> Model {
    match number {
        Number::Small { value, scale } => (BigInt::from(*value), u32::from(*scale)),
        Number::Big { value, scale } => ((**value).clone(), u32::from(*scale)),
        other => panic!("{other} is not finite"),
    }
}

fn at(value: &Model, scale: u32) -> BigInt {
    &value.0 * ten(scale - value.1)
}

fn compare(a: &Model, b: &Model) -> Ordering {
    let scale = a.1.max(b.1);
    at(a, scale).cmp(&at(b, scale))
}

fn key(bytes: &[u8]) -> Vec<u8> {
    let mut key = Vec::new();
    View::new(bytes).push_order(&mut key);
    key
}

/// Numbers of all sizes, many of them equal but for their scale.
fn numbers() -> impl Strategy<Value = Number> {
    let digits = prop_oneof![
        any::<i128>().prop_map(BigInt::from),
        any::<i64>().prop_map(BigInt::from),
        (-3i64..4).prop_map(BigInt::from),
        "-?[1-9][0-9]{0,90}".prop_map(|text| text.parse().unwrap()),
    ];
    (digits, 0u32..30, prop_oneof![Just(0u32), 0u32..60]).prop_map(|(digits, scale, zeros)| {
        Number::big(digits * ten(zeros), (scale + zeros / 2) as u16)
    })
}

proptest! {
    #[test]
    fn stored_numbers_come_back(a in numbers()) {
        let bytes = a.to_bytes().unwrap();
        prop_assert_eq!(View::new(&bytes).number(), a.clone());
        prop_assert_eq!(View::new(&bytes).scale(), a.scale());
        prop_assert_eq!(number(&a.to_string()), a.clone());
        let mut digits = Vec::new();
        a.push_digits(&mut digits);
        prop_assert_eq!(Number::of_digits(&digits), Some(a));
    }

    #[test]
    fn bytes_and_keys_sort_as_the_values_do(a in numbers(), b in numbers()) {
        let order = compare(&model(&a), &model(&b));
        let (a, b) = (a.to_bytes().unwrap(), b.to_bytes().unwrap());
        prop_assert_eq!(View::new(&a).compare(&View::new(&b)), order);
        let (a, b) = (key(&a), key(&b));
        prop_assert_eq!(a.cmp(&b), order);
        prop_assert!(order.is_eq() || !a.starts_with(&b));
    }

    #[test]
    fn equal_values_of_other_scales_have_one_key(a in numbers(), zeros in 1u32..40) {
        let (digits, scale) = model(&a);
        let b = Number::big(digits * ten(zeros), (scale + zeros) as u16);
        let (a, b) = (a.to_bytes().unwrap(), b.to_bytes().unwrap());
        prop_assert_eq!(View::new(&a).compare(&View::new(&b)), Ordering::Equal);
        prop_assert_eq!(key(&a), key(&b));
        prop_assert_ne!(a, b);
    }

    #[test]
    fn sums_products_and_remainders_are_exact(a in numbers(), b in numbers()) {
        let ((x, s), (y, t)) = (model(&a), model(&b));
        let scale = s.max(t);
        let (left, right) = (at(&(x.clone(), s), scale), at(&(y.clone(), t), scale));
        let of = |value: BigInt, scale: u32| Number::big(value, scale as u16);
        prop_assert_eq!(a.add(&b), of(&left + &right, scale));
        prop_assert_eq!(a.sub(&b), of(&left - &right, scale));
        prop_assert_eq!(a.mul(&b), of(&x * &y, s + t));
        prop_assert_eq!(a.negated(), of(-x.clone(), s));
        match right == BigInt::ZERO {
            true => prop_assert_eq!(a.rem(&b), Err(Error::DivisionByZero)),
            false => prop_assert_eq!(a.rem(&b), Ok(of(&left % &right, scale))),
        }
    }

    /// The scale follows from the operands' digits as they are stored, and the quotient is the nearest at that scale.
    #[test]
    fn quotients_are_the_nearest_at_their_scale(a in numbers(), b in numbers()) {
        let ((x, s), (y, t)) = (model(&a), model(&b));
        if y == BigInt::ZERO {
            prop_assert_eq!(a.div(&b), Err(Error::DivisionByZero));
            return Ok(());
        }
        let stored = |n: &Number| {
            let bytes = n.to_bytes().unwrap();
            let view = View::new(&bytes);
            match view.groups() {
                0 => (0, 0),
                _ => (i64::from(view.weight), view.group(0)),
            }
        };
        let ((wa, fa), (wb, fb)) = (stored(&a), stored(&b));
        let weight = wa - wb - i64::from(fa <= fb);
        let scale = (16 - weight * 4).max(i64::from(s)).max(i64::from(t)).clamp(0, 1000) as u32;
        let (q, shown) = model(&a.div(&b).unwrap());
        prop_assert_eq!(shown, scale);
        // |x / 10^s / (y / 10^t) - q / 10^scale| is at most half a unit; halves are rounded away from zero.
        let exact: BigInt = &x * ten(t + scale) * 2;
        let ours: BigInt = &q * &y * ten(s) * 2;
        let unit = BigInt::from(y.magnitude().clone()) * ten(s);
        let difference: BigInt = &exact - &ours;
        let error = BigInt::from(difference.magnitude().clone());
        prop_assert!(error <= unit);
        if error == unit {
            prop_assert!(ours.magnitude() > exact.magnitude());
        }
    }

    #[test]
    fn rounding_is_that_of_the_digits(a in numbers(), scale in -20i32..40) {
        let (x, s) = model(&a);
        for rounding in [Rounding::HalfAway, Rounding::ToZero, Rounding::Down, Rounding::Up] {
            let shown = scale.max(0) as u32;
            let dropped = s as i32 - scale;
            let wanted = match dropped {
                ..=0 => &x * ten(dropped.unsigned_abs()),
                _ => {
                    let unit = ten(dropped as u32);
                    let cut = &x / &unit;
                    let rest = &x % &unit;
                    let rest: BigInt = rest;
                    let twice = BigInt::from(rest.magnitude().clone()) * 2;
                    let away = if x < BigInt::ZERO { -1 } else { 1 };
                    let up = match rounding {
                        Rounding::HalfAway => twice >= unit,
                        Rounding::ToZero => false,
                        Rounding::Down => rest != BigInt::ZERO && away < 0,
                        Rounding::Up => rest != BigInt::ZERO && away > 0,
                    };
                    (cut + if up { away } else { 0 }) * ten(scale.min(0).unsigned_abs())
                }
            };
            prop_assert_eq!(a.round(scale, rounding), Number::big(wanted, shown as u16));
        }
    }

    #[test]
    fn integers_and_floats_are_the_nearest(value in any::<i64>(), scale in 0u16..25) {
        let a = Number::Small { value: value.into(), scale };
        let wanted: f64 = a.to_string().parse().unwrap();
        prop_assert_eq!(a.to_f64().unwrap().to_bits(), wanted.to_bits());
        let wanted: f32 = a.to_string().parse().unwrap();
        prop_assert_eq!(a.to_f32().unwrap().to_bits(), wanted.to_bits());
        let whole = match a.round(0, Rounding::HalfAway) {
            Number::Small { value, .. } => value,
            other => panic!("{other}"),
        };
        prop_assert_eq!(a.to_integer(DataType::Int8), Ok(whole as i64));
        let narrow = i16::try_from(whole).map(i64::from);
        let wanted = narrow.map_err(|_| Error::NumericOutOfRange(OutOfRange::Int2));
        prop_assert_eq!(a.to_integer(DataType::Int2), wanted);
    }
}

/// Every line of `quotients15.tsv` (see `quotients.sql`).
#[test]
fn quotients_are_postgres() {
    let mut compared = 0;
    for line in include_str!("quotients15.tsv").lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let operand =
            |value: &str, scale: &str| Number::big(value.parse().unwrap(), scale.parse().unwrap());
        let (a, b) = (operand(fields[0], fields[1]), operand(fields[2], fields[3]));
        assert_eq!(a.div(&b).unwrap().to_string(), fields[4], "{line}");
        compared += 1;
    }
    assert!(compared > 500);
}

#[test]
fn nan_and_infinities() {
    let [nan, inf, minus, zero, two] = ["NaN", "Infinity", "-Infinity", "0.00", "-2"].map(number);
    let text = |n: Number| n.to_string();
    assert_eq!(text(inf.add(&minus)), "NaN");
    assert_eq!(text(inf.sub(&minus)), "Infinity");
    assert_eq!(text(two.sub(&inf)), "-Infinity");
    assert_eq!(text(two.add(&nan)), "NaN");
    assert_eq!(text(inf.mul(&two)), "-Infinity");
    assert_eq!(text(inf.mul(&zero)), "NaN");
    assert_eq!(text(minus.mul(&minus)), "Infinity");
    assert_eq!(text(inf.div(&two).unwrap()), "-Infinity");
    assert_eq!(text(two.div(&inf).unwrap()), "0");
    assert_eq!(text(inf.div(&inf).unwrap()), "NaN");
    assert_eq!(inf.div(&zero), Err(Error::DivisionByZero));
    assert_eq!(text(nan.div(&zero).unwrap()), "NaN");
    assert_eq!(text(two.rem(&inf).unwrap()), "-2");
    assert_eq!(text(inf.rem(&two).unwrap()), "NaN");
    assert_eq!(inf.rem(&zero), Err(Error::DivisionByZero));
    let sorted = [&minus, &two, &zero, &inf, &nan];
    let keys: Vec<Vec<u8>> = sorted.iter().map(|n| key(&n.to_bytes().unwrap())).collect();
    assert!(keys.windows(2).all(|pair| pair[0] < pair[1]));
    for n in sorted {
        assert_eq!(View::new(&n.to_bytes().unwrap()).number(), *n);
    }
    assert!(matches!(
        nan.to_integer(DataType::Int4),
        Err(Error::NoInteger { what: "NaN", .. })
    ));
}

#[test]
fn declared_digits_are_checked_after_rounding() {
    let declared = |text: &str, precision, scale| {
        let number = number(text).declared(precision, scale);
        number.map(|n| n.to_string()).map_err(|e| e.to_string())
    };
    assert_eq!(declared("99.994", 4, 2), Ok("99.99".into()));
    assert_eq!(
        declared("99.995", 4, 2),
        Err("numeric field overflow".into())
    );
    assert_eq!(
        declared("123449", 3, -2),
        Err("numeric field overflow".into())
    );
    assert_eq!(declared("99949", 3, -2), Ok("99900".into()));
    assert_eq!(declared("0.00994", 3, 5), Ok("0.00994".into()));
    assert_eq!(
        declared("0.00995", 2, 4),
        Err("numeric field overflow".into())
    );
    assert_eq!(declared("NaN", 4, 2), Ok("NaN".into()));
    assert_eq!(
        declared("Infinity", 4, 2),
        Err("numeric field overflow".into())
    );
}

#[test]
fn numbers_that_have_no_stored_form() {
    let largest = Number::big(ten(131_072) - 1, 0);
    assert_eq!(View::new(&largest.to_bytes().unwrap()).number(), largest);
    let error = Number::big(ten(131_072), 0).to_bytes().unwrap_err();
    assert_eq!(error, Error::NumericOutOfRange(OutOfRange::NumericFormat));
    // A product has no more digits after the point than can be stored.
    let tiny = Number::big(BigInt::from(15), 10_000);
    assert_eq!(
        tiny.mul(&tiny),
        Number::Small {
            value: 0,
            scale: 16_383
        }
    );
    assert_eq!(
        tiny.round(0, Rounding::Up),
        Number::Small { value: 1, scale: 0 }
    );
}

proptest! {
    /// What has come and gone leaves no trace, and halves that are put together are the whole.
    #[test]
    fn a_tally_of_what_is_left_is_a_tally_of_it_alone(
        values in proptest::collection::vec((numbers(), any::<bool>()), 0..12),
        odd in proptest::sample::select(vec!["NaN", "Infinity", "-Infinity", "0.00"]),
    ) {
        use super::numeric_accumulator::{Moving, NumericAccumulator};
        use crate::plan::AggregateFunction::{StddevPop, StddevSamp, VarPop, VarSamp};
        let mut moving = Moving::default();
        let (mut left, mut halves) = (NumericAccumulator::default(), [NumericAccumulator::default(), NumericAccumulator::default()]);
        moving.add(&number(odd), true).unwrap();
        for (i, (value, stays)) in values.iter().enumerate() {
            moving.add(value, true).unwrap();
            if *stays {
                left.add(value, true).unwrap();
                halves[i % 2].add(value, true).unwrap();
            }
        }
        for (value, _) in values.iter().filter(|(_, stays)| !stays) {
            moving.remove(value, true);
        }
        moving.remove(&number(odd), true);
        let mut state = Vec::new();
        halves[1].push_state(&mut state);
        let [mut whole, _] = halves;
        whole.merge(&NumericAccumulator::of_state(&state).unwrap());
        for accumulator in [moving.accumulator(), whole] {
            prop_assert_eq!(accumulator.count(), left.count());
            prop_assert_eq!(accumulator.sum(), left.sum());
            for function in [VarPop, VarSamp, StddevPop, StddevSamp] {
                prop_assert_eq!(accumulator.deviation(function).unwrap(), left.deviation(function).unwrap());
            }
        }
    }

    #[test]
    fn the_square_root_is_the_nearest_number_of_its_scale(a in numbers()) {
        let a = a.magnitude();
        let root = a.sqrt().unwrap();
        let (value, scale) = model(&root);
        let (square, own) = model(&a);
        // (2 * root - 1) ^ 2 <= 4 * a < (2 * root + 1) ^ 2, in units of the last digit.
        let four = BigInt::from(4) * square * ten(2 * scale);
        let low = BigInt::from(2) * &value - 1;
        let high = BigInt::from(2) * &value + 1;
        if value.sign() == num_bigint::Sign::Plus {
            prop_assert!(&low * &low * ten(own) <= four);
        }
        prop_assert!(four < &high * &high * ten(own));
    }
}

#[test]
fn variances_and_roots_have_postgresqls_digits() {
    use super::numeric_accumulator::NumericAccumulator;
    use crate::plan::AggregateFunction::{StddevPop, StddevSamp, VarPop, VarSamp};
    let answers = |values: &[&str]| {
        let mut accumulator = NumericAccumulator::default();
        for value in values {
            accumulator.add(&number(value), true).unwrap();
        }
        [VarPop, VarSamp, StddevPop, StddevSamp].map(|function| {
            let result = accumulator.deviation(function).unwrap();
            result.map_or("NULL".to_owned(), |n| n.to_string())
        })
    };
    assert_eq!(answers(&[]), ["NULL"; 4]);
    assert_eq!(answers(&["7.5"]), ["0", "NULL", "0", "NULL"]);
    assert_eq!(answers(&["3", "3.00"]), ["0"; 4]);
    assert_eq!(answers(&["1", "NaN"]), ["NaN"; 4]);
    assert_eq!(answers(&["1", "Infinity"]), ["NaN"; 4]);
    assert_eq!(
        answers(&["1", "2", "3", "4"]),
        [
            "1.2500000000000000",
            "1.6666666666666667",
            "1.1180339887498948",
            "1.2909944487358056"
        ]
    );
    let roots = ["2", "0", "0.000", "1e4", "0.0001", "123456789.25"];
    let wanted = [
        "1.414213562373095",
        "0.000000000000000",
        "0.000000000000000",
        "100.0000000000000",
        "0.01000000000000000",
        "11111.11107180556",
    ];
    for (root, wanted) in roots.iter().zip(wanted) {
        let root = match *root {
            "1e4" => number("10000"),
            other => number(other),
        };
        assert_eq!(root.sqrt().unwrap().to_string(), wanted);
    }
    assert!(number("-1").sqrt().is_err());
    assert_eq!(number("NaN").sqrt(), Ok(Number::NaN));
    assert_eq!(
        number("-7.9").div_whole(&number("2")).unwrap().to_string(),
        "-3"
    );
    assert_eq!(
        number("1").div_whole(&number("0.0")),
        Err(Error::DivisionByZero)
    );
}
