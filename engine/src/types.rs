// SPDX-License-Identifier: Apache-2.0
//! SQL types and single values: what a vector's bits mean.
//!
//! Storage knows layouts ([`Physical`]); the engine adds meaning: a [`DataType`] says how a layout compares,
//! computes and prints in PostgreSQL. Dates are days and timestamps microseconds from 2000-01-01, with the
//! extreme integers as the infinities; intervals are 16 bytes (microseconds `i64`, days `i32`, months `i32`,
//! little-endian); numerics of a declared scale are integers scaled by a power of ten that the type fixes, so that NaN
//! and the infinities have no place in them: a column that holds any is not handed out as `Numeric`. All others are
//! `Decimal`.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::collate::LocaleOrder;
use doris_storage::vector::{Physical, Values, Vector};

/// Most digits a scaled decimal holds in 64 bits.
pub const NUMERIC_DIGITS_I64: u8 = 18;
/// Most digits a scaled decimal holds in 128 bits.
pub const NUMERIC_DIGITS_MAX: u8 = 38;

/// How text compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Collation {
    /// Byte order, and only ASCII letters have case: `C`, `POSIX`, `ucs_basic`.
    C,
    /// Byte order too, but letter case is a locale's: `C.UTF-8`, LC_COLLATE `C` with another LC_CTYPE.
    Bytes,
    /// Equal exactly when the bytes are; in an order of the operating system's or ICU's.
    Ordered(LocaleOrder),
    /// Equal exactly when the bytes are; the order is not known here.
    Deterministic,
    /// Nothing can be said about it here (a nondeterministic collation, or none derived).
    Other,
}

impl Collation {
    /// Whether text sorts by its bytes.
    pub fn sorts_bytes(self) -> bool {
        matches!(self, Collation::C | Collation::Bytes)
    }

    /// Whether its order is known.
    pub fn is_ordered(self) -> bool {
        self.sorts_bytes() || self.locale().is_some()
    }

    /// Its order, where that is not the bytes'.
    pub fn locale(self) -> Option<LocaleOrder> {
        match self {
            Collation::Ordered(order) => Some(order),
            _ => None,
        }
    }

    /// The order of two values, where it is known.
    #[inline]
    pub fn compare(self, a: &[u8], b: &[u8]) -> Ordering {
        match self {
            Collation::Ordered(order) => order.compare(a, b),
            _ => a.cmp(b),
        }
    }

    /// Whether text is equal exactly when its bytes are.
    pub fn equals_bytes(self) -> bool {
        self != Collation::Other
    }
}

/// The SQL type of a vector or an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataType {
    /// `boolean`.
    Bool,
    /// `smallint`.
    Int2,
    /// `integer`.
    Int4,
    /// `bigint`.
    Int8,
    /// `real`.
    Float4,
    /// `double precision`.
    Float8,
    /// `numeric`, as an integer that is `10^scale` times the value.
    Numeric {
        /// A proven bound: no value has more decimal digits (before and after the point together).
        precision: u8,
        /// Digits after the point, PostgreSQL's display scale of every value of the type.
        scale: i16,
    },
    /// `numeric` of any size and scale, each value with a display scale of its own, as bytes: see
    /// [`decimal`](crate::decimal).
    Decimal,
    /// `date`.
    Date,
    /// `time without time zone`: microseconds from midnight, 24:00 included.
    Time,
    /// `timestamp without time zone`.
    Timestamp,
    /// `timestamp with time zone`: microseconds in UTC.
    TimestampTz,
    /// `interval`.
    Interval,
    /// `text` and `varchar`.
    Text {
        /// How it compares.
        collation: Collation,
    },
    /// `character(n)`: the values carry their padding, which takes no part in comparison.
    Bpchar {
        /// How it compares.
        collation: Collation,
    },
    /// `bytea`.
    Bytea,
    /// `uuid`.
    Uuid,
    /// Any other type: carried along, never looked into.
    Opaque {
        /// How its vectors are laid out.
        layout: Physical,
    },
}

impl DataType {
    /// Text that compares by bytes.
    pub const TEXT_C: DataType = DataType::Text {
        collation: Collation::C,
    };

    /// The numeric that holds the values of two at one scale; `None` where that takes more than 38 digits, a scale is
    /// negative, or one is something else.
    pub fn common_numeric(self, other: DataType) -> Option<DataType> {
        let (
            DataType::Numeric {
                precision: p1,
                scale: s1,
            },
            DataType::Numeric {
                precision: p2,
                scale: s2,
            },
        ) = (self, other)
        else {
            return None;
        };
        let scale = s1.max(s2);
        let whole = (i16::from(p1) - s1).max(i16::from(p2) - s2);
        let precision = u8::try_from(whole + scale).ok()?;
        let fits = s1.min(s2) >= 0 && precision <= NUMERIC_DIGITS_MAX;
        fits.then_some(DataType::Numeric { precision, scale })
    }

    /// How vectors of the type are laid out.
    pub fn physical(self) -> Physical {
        match self {
            DataType::Bool => Physical::Bool,
            DataType::Int2 => Physical::I16,
            DataType::Int4 | DataType::Date => Physical::I32,
            DataType::Int8 | DataType::Time | DataType::Timestamp | DataType::TimestampTz => {
                Physical::I64
            }
            DataType::Float4 => Physical::F32,
            DataType::Float8 => Physical::F64,
            DataType::Numeric { precision, .. } if precision <= NUMERIC_DIGITS_I64 => Physical::I64,
            DataType::Numeric { .. } => Physical::I128,
            DataType::Interval | DataType::Uuid => Physical::Fixed(16),
            DataType::Text { .. }
            | DataType::Bpchar { .. }
            | DataType::Bytea
            | DataType::Decimal => Physical::Bytes,
            DataType::Opaque { layout } => layout,
        }
    }

    /// Whether it is `smallint`, `integer` or `bigint`.
    pub fn is_integer(self) -> bool {
        matches!(self, DataType::Int2 | DataType::Int4 | DataType::Int8)
    }

    /// Whether it is `real` or `double precision`.
    pub fn is_float(self) -> bool {
        matches!(self, DataType::Float4 | DataType::Float8)
    }

    /// Whether it is a `numeric`, of whichever layout.
    pub fn is_numeric(self) -> bool {
        matches!(self, DataType::Numeric { .. } | DataType::Decimal)
    }

    /// Whether it is `text` or `bpchar`.
    pub fn is_text(self) -> bool {
        matches!(self, DataType::Text { .. } | DataType::Bpchar { .. })
    }

    /// The collation of a text type.
    pub fn collation(self) -> Option<Collation> {
        match self {
            DataType::Text { collation } | DataType::Bpchar { collation } => Some(collation),
            _ => None,
        }
    }

    /// The same type of text under another collation; any other type as it is.
    pub fn collated(self, collation: Collation) -> DataType {
        match self {
            DataType::Text { .. } => DataType::Text { collation },
            DataType::Bpchar { .. } => DataType::Bpchar { collation },
            other => other,
        }
    }

    /// PostgreSQL's name of the type, as its error messages have it.
    pub fn sql_name(self) -> &'static str {
        match self {
            DataType::Bool => "boolean",
            DataType::Int2 => "smallint",
            DataType::Int4 => "integer",
            DataType::Int8 => "bigint",
            DataType::Float4 => "real",
            DataType::Float8 => "double precision",
            DataType::Numeric { .. } | DataType::Decimal => "numeric",
            DataType::Date => "date",
            DataType::Time => "time",
            DataType::Timestamp => "timestamp",
            DataType::TimestampTz => "timestamp with time zone",
            DataType::Interval => "interval",
            DataType::Text { .. } => "text",
            DataType::Bpchar { .. } => "character",
            DataType::Bytea => "bytea",
            DataType::Uuid => "uuid",
            DataType::Opaque { .. } => "opaque",
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DataType::Numeric { precision, scale } => write!(f, "numeric({precision},{scale})"),
            other => f.write_str(other.sql_name()),
        }
    }
}

/// One value that is not NULL, by layout; `Bytes` serves `Physical::Fixed` too.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// A boolean.
    Bool(bool),
    /// A 16-bit integer.
    I16(i16),
    /// A 32-bit integer.
    I32(i32),
    /// A 64-bit integer.
    I64(i64),
    /// A 128-bit integer.
    I128(i128),
    /// A single-precision float.
    F32(f32),
    /// A double-precision float.
    F64(f64),
    /// Bytes, of fixed or variable width.
    Bytes(Arc<[u8]>),
}

impl Scalar {
    /// Text or bytes.
    pub fn bytes(value: impl AsRef<[u8]>) -> Self {
        Scalar::Bytes(Arc::from(value.as_ref()))
    }

    /// Whether the value has layout `physical`.
    pub fn fits(&self, physical: Physical) -> bool {
        match (self, physical) {
            (Scalar::Bool(_), Physical::Bool)
            | (Scalar::I16(_), Physical::I16)
            | (Scalar::I32(_), Physical::I32)
            | (Scalar::I64(_), Physical::I64)
            | (Scalar::I128(_), Physical::I128)
            | (Scalar::F32(_), Physical::F32)
            | (Scalar::F64(_), Physical::F64)
            | (Scalar::Bytes(_), Physical::Bytes) => true,
            (Scalar::Bytes(bytes), Physical::Fixed(width)) => bytes.len() == usize::from(width),
            _ => false,
        }
    }

    /// The value as a wide integer, when it is an integer (or a scaled decimal, date or timestamp).
    pub fn as_i128(&self) -> Option<i128> {
        match *self {
            Scalar::I16(v) => Some(v.into()),
            Scalar::I32(v) => Some(v.into()),
            Scalar::I64(v) => Some(v.into()),
            Scalar::I128(v) => Some(v),
            _ => None,
        }
    }

    /// Row `i` of a vector; `None` when it is NULL.
    pub fn of_vector(vector: &Vector, i: usize) -> Option<Scalar> {
        if vector.is_null(i) {
            return None;
        }
        Some(match &vector.values {
            Values::Bool(v) => Scalar::Bool(v[i] != 0),
            Values::I16(v) => Scalar::I16(v[i]),
            Values::I32(v) => Scalar::I32(v[i]),
            Values::I64(v) => Scalar::I64(v[i]),
            Values::I128(v) => Scalar::I128(v[i]),
            Values::F32(v) => Scalar::F32(v[i]),
            Values::F64(v) => Scalar::F64(v[i]),
            Values::Fixed { .. } | Values::Bytes(_) | Values::Dict { .. } => {
                Scalar::bytes(vector.bytes(i)?)
            }
        })
    }
}

/// Number of decimal digits of `value`; 0 has one.
pub fn decimal_digits(value: i128) -> u8 {
    let magnitude = value.unsigned_abs();
    magnitude.checked_ilog10().map_or(1, |log| log as u8 + 1)
}

/// The powers of ten that fit.
const POWERS: [i128; NUMERIC_DIGITS_MAX as usize + 1] = {
    let mut powers = [1; NUMERIC_DIGITS_MAX as usize + 1];
    let mut exponent = 1;
    while exponent < powers.len() {
        powers[exponent] = powers[exponent - 1] * 10;
        exponent += 1;
    }
    powers
};

/// `10^exponent`; `None` past 38.
#[inline]
pub fn pow10(exponent: u32) -> Option<i128> {
    POWERS.get(exponent as usize).copied()
}

#[cfg(test)]
mod tests;
