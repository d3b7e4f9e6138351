// SPDX-License-Identifier: Apache-2.0
use super::*;

#[test]
fn numeric_layout_follows_the_digit_bound() {
    let at = |precision| {
        DataType::Numeric {
            precision,
            scale: 2,
        }
        .physical()
    };
    assert_eq!(at(18), Physical::I64);
    assert_eq!(at(19), Physical::I128);
}

#[test]
fn digits_are_counted_at_every_power_of_ten() {
    assert_eq!(decimal_digits(0), 1);
    for exponent in 0..38 {
        let power = pow10(exponent).unwrap();
        assert_eq!(decimal_digits(power), exponent as u8 + 1);
        assert_eq!(decimal_digits(-(power * 10 - 1).max(1)), exponent as u8 + 1);
    }
    assert_eq!(pow10(39), None);
}

#[test]
fn a_null_row_has_no_scalar() {
    let vector = crate::gather::nulls(Physical::I32, 2);
    assert_eq!(Scalar::of_vector(&vector, 1), None);
}
