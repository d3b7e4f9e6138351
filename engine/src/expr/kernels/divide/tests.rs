// SPDX-License-Identifier: Apache-2.0
use super::{long_division, quotient, quotient_scale, Decimal};
use crate::types::pow10;

/// Every line of `postgres15.tsv` (see `generate.sql`).
#[test]
fn quotients_are_postgres() {
    let mut compared = 0;
    for line in include_str!("postgres15.tsv").lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let decimal = |value: &str, scale: &str| Decimal {
            value: value.parse().unwrap(),
            scale: scale.parse().unwrap(),
        };
        let (a, b) = (decimal(fields[0], fields[1]), decimal(fields[2], fields[3]));
        let shown = fields[4]
            .split_once('.')
            .map_or(0, |(_, after)| after.len());
        assert_eq!(quotient_scale(a, b), shown as i32, "{line}");
        let wanted: i128 = fields[4].replace('.', "").parse().unwrap();
        assert_eq!(quotient(a, b, shown as i32), Some(wanted), "{line}");
        if let Some(scaled) = wanted.checked_mul(pow10(3).unwrap()) {
            let fits = scaled.abs() < pow10(38).unwrap();
            assert_eq!(
                quotient(a, b, shown as i32 + 3),
                fits.then_some(scaled),
                "{line}"
            );
        }
        assert_eq!(quotient(a, b, shown as i32 - 1), None, "{line}");
        compared += 1;
    }
    assert!(compared > 500);
}

#[test]
fn long_division_is_division() {
    for (dividend, divisor) in [(1, 3), (2, 3), (0, 7), (123_456_789, 1_000_003), (7, 1)] {
        let scaled = dividend * 10u128.pow(20);
        let direct = (scaled / divisor, scaled % divisor);
        assert_eq!(long_division(dividend, divisor, 20), Some(direct));
    }
}
