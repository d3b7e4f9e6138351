// SPDX-License-Identifier: Apache-2.0
//! What can go wrong in the engine, with PostgreSQL's SQLSTATE and message text for each.
//!
//! Errors are typed here and turned into an error report once, at the edge. A message must be what
//! PostgreSQL 15 says in the same place, letter for letter: clients match on it.

use std::fmt;

/// The engine's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Which arithmetic left its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutOfRange {
    /// `smallint`.
    Int2,
    /// `integer`.
    Int4,
    /// `bigint`.
    Int8,
    /// A float too large.
    FloatOverflow,
    /// A float too small.
    FloatUnderflow,
    /// A numeric that a `numeric(precision, scale)` cast can't hold.
    NumericField {
        /// Declared digits.
        precision: u16,
        /// Declared digits after the point.
        scale: i16,
    },
    /// An infinity that a `numeric(precision, scale)` cast can't hold.
    InfiniteField {
        /// Declared digits.
        precision: u16,
        /// Declared digits after the point.
        scale: i16,
    },
    /// A numeric with more digits before the point than PostgreSQL stores.
    NumericFormat,
}

/// Which date-time value left its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatetimeKind {
    /// A date as the result of a computation.
    Date,
    /// A date too large or small for a timestamp.
    DateForTimestamp,
    /// A timestamp.
    Timestamp,
    /// A subtraction of infinite dates.
    InfiniteDateSubtraction,
}

/// An argument that a function is not defined for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadArgument {
    /// `sqrt(-1)`.
    RootOfNegative,
    /// `ln(0)`.
    LogarithmOfZero,
    /// `ln(-1)`.
    LogarithmOfNegative,
    /// `power(0, -1)`.
    ZeroToNegative,
    /// `power(-1, 0.5)`.
    NegativeToFraction,
}

/// Stored data that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// What is wrong with it.
    pub what: Box<str>,
    /// Where it is, if that is known.
    pub place: Option<Place>,
}

/// A column of a segment. Only the caller knows the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The table's OID.
    pub table: u32,
    /// The column's attribute number.
    pub column: u16,
    /// The number of the segment's first row.
    pub first_row: u64,
}

impl BadArgument {
    fn sqlstate(self) -> &'static str {
        match self {
            BadArgument::LogarithmOfZero | BadArgument::LogarithmOfNegative => "2201E",
            _ => "2201F",
        }
    }

    fn text(self) -> &'static str {
        match self {
            BadArgument::RootOfNegative => "cannot take square root of a negative number",
            BadArgument::LogarithmOfZero => "cannot take logarithm of zero",
            BadArgument::LogarithmOfNegative => "cannot take logarithm of a negative number",
            BadArgument::ZeroToNegative => "zero raised to a negative power is undefined",
            BadArgument::NegativeToFraction => {
                "a negative number raised to a non-integer power yields a complex result"
            }
        }
    }
}

/// Everything an operator or expression may raise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Arithmetic or a cast left its range (22003).
    NumericOutOfRange(OutOfRange),
    /// NaN or infinity as an integer (0A000).
    NoInteger {
        /// `NaN` or `infinity`.
        what: &'static str,
        /// PostgreSQL's name of the type.
        type_name: &'static str,
    },
    /// An argument that a function is not defined for (2201E, 2201F).
    BadArgument(BadArgument),
    /// Division or modulo by zero (22012).
    DivisionByZero,
    /// A date or time left its range (22008).
    DatetimeOutOfRange(DatetimeKind),
    /// Text that is not a value of the type (22P02; 22007 for dates).
    InvalidText {
        /// PostgreSQL's name of the type.
        type_name: &'static str,
        /// The text.
        value: Box<str>,
    },
    /// Text that names a number beyond the type's range (22003).
    TextOutOfRange {
        /// PostgreSQL's name of the type.
        type_name: &'static str,
        /// The text.
        value: Box<str>,
    },
    /// `substring(... for -1)` (22011).
    SubstringNegativeLength,
    /// `split_part(..., 0)` (22023).
    FieldPositionZero,
    /// A string longer than PostgreSQL allows (54000).
    LengthTooLarge,
    /// A LIKE pattern that ends in its escape character (22025).
    LikeEscapeAtEnd,
    /// A date part that the type does not have (0A000 since 14).
    UnitNotSupported {
        /// The unit.
        unit: Box<str>,
        /// PostgreSQL's name of the type.
        type_name: &'static str,
    },
    /// A subquery or scalar source gave several rows (21000).
    MoreThanOneRow,
    /// A decimal passed 38 digits at run time: the node must answer through PostgreSQL's own plan instead.
    NumericTooWide,
    /// Not computed here; left to PostgreSQL. Never seen by a user.
    NotNative(Box<str>),
    /// A temporary file could not be made, written or read.
    Spill {
        /// PostgreSQL's five-letter code.
        code: &'static str,
        /// What happened.
        text: Box<str>,
    },
    /// The memory budget is used up (53200).
    OutOfMemory,
    /// The query was cancelled (57014).
    Cancelled,
    /// An error that PostgreSQL itself raised in a callback, kept by the caller under this number.
    External(u64),
    /// Stored data is not what was written (XX001).
    Damaged(Box<Damage>),
    /// A bug in the engine (XX000).
    Internal(Box<str>),
}

impl Error {
    /// A [`Error::NotNative`] with its reason.
    pub fn not_native(reason: impl Into<Box<str>>) -> Self {
        Error::NotNative(reason.into())
    }

    /// An [`Error::Damaged`] with its description.
    pub fn damaged(what: impl Into<Box<str>>) -> Self {
        Error::Damaged(Box::new(Damage {
            what: what.into(),
            place: None,
        }))
    }

    /// An [`Error::Damaged`] whose place is known.
    pub fn damaged_at(what: impl Into<Box<str>>, place: Place) -> Self {
        Error::Damaged(Box::new(Damage {
            what: what.into(),
            place: Some(place),
        }))
    }

    /// An [`Error::Internal`] with its description.
    pub fn internal(what: impl Into<Box<str>>) -> Self {
        Error::Internal(what.into())
    }

    /// Whether it is no error of the query's: the node is to answer through PostgreSQL's own plan instead. Raised
    /// while a plan is made, and at run time where only the values tell.
    pub fn needs_postgres(&self) -> bool {
        matches!(self, Error::NumericTooWide | Error::NotNative(_))
    }

    /// PostgreSQL's five-letter code.
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Error::NumericOutOfRange(_) | Error::TextOutOfRange { .. } => "22003",
            Error::BadArgument(argument) => argument.sqlstate(),
            Error::DivisionByZero => "22012",
            Error::DatetimeOutOfRange(_) => "22008",
            Error::InvalidText { type_name, .. }
                if matches!(*type_name, "date" | "timestamp" | "time") =>
            {
                "22007"
            }
            Error::InvalidText { .. } => "22P02",
            Error::SubstringNegativeLength => "22011",
            Error::FieldPositionZero => "22023",
            Error::LengthTooLarge => "54000",
            Error::LikeEscapeAtEnd => "22025",
            Error::UnitNotSupported { .. } | Error::NotNative(_) | Error::NoInteger { .. } => {
                "0A000"
            }
            Error::MoreThanOneRow => "21000",
            Error::Spill { code, .. } => code,
            Error::OutOfMemory => "53200",
            Error::Cancelled => "57014",
            Error::Damaged(_) => "XX001",
            Error::NumericTooWide | Error::External(_) | Error::Internal(_) => "XX000",
        }
    }

    /// PostgreSQL's DETAIL line, where it gives one.
    pub fn detail(&self) -> Option<String> {
        match self {
            Error::NumericOutOfRange(OutOfRange::NumericField { precision, scale }) => {
                let digits = i32::from(*precision) - i32::from(*scale);
                let (base, power) = if digits != 0 {
                    ("10^", digits.to_string())
                } else {
                    ("", "1".to_owned())
                };
                Some(format!(
                    "A field with precision {precision}, scale {scale} must round to an absolute value less than {base}{power}."
                ))
            }
            Error::NumericOutOfRange(OutOfRange::InfiniteField { precision, scale }) => {
                Some(format!(
                    "A field with precision {precision}, scale {scale} cannot hold an infinite value."
                ))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NumericOutOfRange(what) => f.write_str(match what {
                OutOfRange::Int2 => "smallint out of range",
                OutOfRange::Int4 => "integer out of range",
                OutOfRange::Int8 => "bigint out of range",
                OutOfRange::FloatOverflow => "value out of range: overflow",
                OutOfRange::FloatUnderflow => "value out of range: underflow",
                OutOfRange::NumericField { .. } | OutOfRange::InfiniteField { .. } => {
                    "numeric field overflow"
                }
                OutOfRange::NumericFormat => "value overflows numeric format",
            }),
            Error::NoInteger { what, type_name } => {
                write!(f, "cannot convert {what} to {type_name}")
            }
            Error::BadArgument(argument) => f.write_str(argument.text()),
            Error::DivisionByZero => f.write_str("division by zero"),
            Error::DatetimeOutOfRange(kind) => f.write_str(match kind {
                DatetimeKind::Date => "date out of range",
                DatetimeKind::DateForTimestamp => "date out of range for timestamp",
                DatetimeKind::Timestamp => "timestamp out of range",
                DatetimeKind::InfiniteDateSubtraction => "cannot subtract infinite dates",
            }),
            Error::InvalidText { type_name, value } => {
                write!(f, "invalid input syntax for type {type_name}: \"{value}\"")
            }
            Error::TextOutOfRange { type_name, value } => match *type_name {
                "real" | "double precision" => {
                    write!(f, "\"{value}\" is out of range for type {type_name}")
                }
                _ => write!(f, "value \"{value}\" is out of range for type {type_name}"),
            },
            Error::SubstringNegativeLength => f.write_str("negative substring length not allowed"),
            Error::FieldPositionZero => f.write_str("field position must not be zero"),
            Error::LengthTooLarge => f.write_str("requested length too large"),
            Error::LikeEscapeAtEnd => {
                f.write_str("LIKE pattern must not end with escape character")
            }
            Error::UnitNotSupported { unit, type_name } => {
                write!(f, "unit \"{unit}\" not supported for type {type_name}")
            }
            Error::MoreThanOneRow => {
                f.write_str("more than one row returned by a subquery used as an expression")
            }
            Error::NumericTooWide => f.write_str("numeric result is wider than 38 digits"),
            Error::NotNative(reason) => write!(f, "left to PostgreSQL: {reason}"),
            Error::Spill { text, .. } => f.write_str(text),
            Error::OutOfMemory => f.write_str("out of memory"),
            Error::Cancelled => f.write_str("canceling statement due to user request"),
            Error::External(number) => write!(f, "error {number} raised by PostgreSQL"),
            Error::Damaged(damage) => write!(f, "stored data is damaged: {}", damage.what),
            Error::Internal(what) => write!(f, "internal error in the vectorised engine: {what}"),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests;
