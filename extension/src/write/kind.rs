// SPDX-License-Identifier: Apache-2.0
//! How each attribute of a table is stored in segments.
use doris_storage::vector::Physical;
use pgrx::pg_sys;

/// How values of an attribute travel between a Datum and a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Passed by value in one byte: bool.
    Bool,
    /// int2 and other two-byte values.
    I16,
    /// int4, date and other four-byte values.
    I32,
    /// int8, timestamps and other eight-byte values; also one-byte values that are no booleans.
    I64,
    /// float4.
    F32,
    /// float8.
    F64,
    /// numeric(p, s) with p <= 18.
    Decimal64(u16),
    /// numeric(p, s) with p <= 38.
    Decimal128(u16),
    /// Fixed width, by reference.
    Fixed(u16),
    /// A varlena, stored without its header.
    Varlena,
    /// A NUL-terminated string.
    CString,
}

/// Width in bytes of the Datum behind [`Kind::I64`] and its smaller kin, which decides sign extension.
impl Kind {
    /// The kind of an attribute.
    pub fn of(attribute: &pg_sys::FormData_pg_attribute) -> Self {
        match attribute.atttypid {
            pg_sys::BOOLOID => return Kind::Bool,
            pg_sys::FLOAT4OID => return Kind::F32,
            pg_sys::FLOAT8OID => return Kind::F64,
            pg_sys::NUMERICOID => return Self::of_numeric(attribute.atttypmod),
            _ => {}
        }
        match (attribute.attbyval, attribute.attlen) {
            (true, 2) => Kind::I16,
            (true, 4) => Kind::I32,
            (true, _) => Kind::I64,
            (false, -1) => Kind::Varlena,
            (false, -2) => Kind::CString,
            (false, width) => Kind::Fixed(width as u16),
        }
    }

    fn of_numeric(typmod: i32) -> Self {
        // numeric's typmod: precision << 16 | scale (11 bits, signed), plus VARHDRSZ.
        if typmod < 4 {
            return Kind::Varlena;
        }
        let precision = ((typmod - 4) >> 16) & 0xffff;
        let scale = (((typmod - 4) & 0x7ff) ^ 1024) - 1024;
        match (precision, scale) {
            (1..=18, 0..=18) => Kind::Decimal64(scale as u16),
            (1..=38, 0..=38) => Kind::Decimal128(scale as u16),
            _ => Kind::Varlena,
        }
    }

    /// Whether its integers are decimals: numerics that are plain numbers.
    pub fn is_decimal(self) -> bool {
        matches!(self, Kind::Decimal64(_) | Kind::Decimal128(_))
    }

    /// The scale of its integers, if they are decimals.
    pub fn scale(self) -> u16 {
        match self {
            Kind::Decimal64(scale) | Kind::Decimal128(scale) => scale,
            _ => 0,
        }
    }

    /// The layout of its vectors.
    pub fn physical(self) -> Physical {
        match self {
            Kind::Bool => Physical::Bool,
            Kind::I16 => Physical::I16,
            Kind::I32 => Physical::I32,
            Kind::I64 | Kind::Decimal64(_) => Physical::I64,
            Kind::Decimal128(_) => Physical::I128,
            Kind::F32 => Physical::F32,
            Kind::F64 => Physical::F64,
            Kind::Fixed(width) => Physical::Fixed(width),
            Kind::Varlena | Kind::CString => Physical::Bytes,
        }
    }
}

/// Whether vectors of a type sort and compare as PostgreSQL does by their stored values: integers, floats,
/// dates and times, decimals, and text by bytes (for equality and the C collation).
pub fn has_natural_order(type_oid: pg_sys::Oid, kind: Kind) -> bool {
    match kind {
        Kind::Bool | Kind::F32 | Kind::F64 | Kind::Decimal64(_) | Kind::Decimal128(_) => true,
        Kind::I16 | Kind::I32 | Kind::I64 => matches!(
            type_oid,
            pg_sys::INT2OID
                | pg_sys::INT4OID
                | pg_sys::INT8OID
                | pg_sys::DATEOID
                | pg_sys::TIMEOID
                | pg_sys::TIMESTAMPOID
                | pg_sys::TIMESTAMPTZOID
                | pg_sys::MONEYOID
        ),
        Kind::Varlena => matches!(
            type_oid,
            pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::BYTEAOID
        ),
        Kind::Fixed(_) => type_oid == pg_sys::UUIDOID,
        Kind::CString => false,
    }
}
