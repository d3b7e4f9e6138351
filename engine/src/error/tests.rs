// SPDX-License-Identifier: Apache-2.0
use super::*;

#[test]
fn messages_and_codes_are_postgresqls() {
    let cases = [
        (
            Error::NumericOutOfRange(OutOfRange::Int4),
            "22003",
            "integer out of range",
        ),
        (
            Error::NumericOutOfRange(OutOfRange::FloatOverflow),
            "22003",
            "value out of range: overflow",
        ),
        (Error::DivisionByZero, "22012", "division by zero"),
        (
            Error::DatetimeOutOfRange(DatetimeKind::Timestamp),
            "22008",
            "timestamp out of range",
        ),
        (
            Error::SubstringNegativeLength,
            "22011",
            "negative substring length not allowed",
        ),
        (
            Error::InvalidText {
                type_name: "integer",
                value: "x".into(),
            },
            "22P02",
            "invalid input syntax for type integer: \"x\"",
        ),
        (
            Error::TextOutOfRange {
                type_name: "smallint",
                value: "40000".into(),
            },
            "22003",
            "value \"40000\" is out of range for type smallint",
        ),
    ];
    for (error, sqlstate, message) in cases {
        assert_eq!(error.sqlstate(), sqlstate);
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn a_numeric_field_overflow_carries_its_detail() {
    let error = Error::NumericOutOfRange(OutOfRange::NumericField {
        precision: 4,
        scale: 2,
    });
    let detail =
        "A field with precision 4, scale 2 must round to an absolute value less than 10^2.";
    assert_eq!(error.detail().as_deref(), Some(detail));
}
