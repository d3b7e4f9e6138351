// SPDX-License-Identifier: Apache-2.0
//! PostgreSQL's types as the engine's.
use super::{no, Converted};
use crate::write::kind::Kind;
use crate::write::numeric;
use doris_engine::types::{Collation, DataType, Scalar, NUMERIC_DIGITS_MAX};
use doris_storage::vector::Physical;
use pgrx::pg_sys;

/// The engine's type for a PostgreSQL type, modifier and collation.
pub fn data_type(
    type_oid: pg_sys::Oid,
    typmod: i32,
    collation: pg_sys::Oid,
) -> Converted<DataType> {
    Ok(match type_oid {
        pg_sys::BOOLOID => DataType::Bool,
        pg_sys::INT2OID => DataType::Int2,
        pg_sys::INT4OID => DataType::Int4,
        pg_sys::INT8OID => DataType::Int8,
        pg_sys::FLOAT4OID => DataType::Float4,
        pg_sys::FLOAT8OID => DataType::Float8,
        pg_sys::DATEOID => DataType::Date,
        pg_sys::TIMEOID => DataType::Time,
        pg_sys::TIMESTAMPOID => DataType::Timestamp,
        pg_sys::TIMESTAMPTZOID => DataType::TimestampTz,
        pg_sys::INTERVALOID => DataType::Interval,
        pg_sys::TEXTOID | pg_sys::VARCHAROID => DataType::Text {
            collation: collate(collation),
        },
        pg_sys::BPCHAROID => DataType::Bpchar {
            collation: collate(collation),
        },
        pg_sys::BYTEAOID => DataType::Bytea,
        pg_sys::UUIDOID => DataType::Uuid,
        pg_sys::NUMERICOID => numeric_type(typmod),
        other => {
            return no(format!(
                "type {} is not vectorised",
                crate::pg::type_name(other)
            ))
        }
    })
}

/// Whether values of a type are padded to no one width: equal ones may differ in their blanks.
pub fn is_any_width(type_oid: pg_sys::Oid, typmod: i32) -> bool {
    type_oid == pg_sys::BPCHAROID && typmod < 0
}

/// The engine's type for a column: what the engine cannot compute on, it carries along. A domain is its base type,
/// if its values are stored alike.
pub fn column_type(
    type_oid: pg_sys::Oid,
    mut typmod: i32,
    collation: pg_sys::Oid,
) -> Converted<DataType> {
    // SAFETY: a catalogue look-up.
    let base = unsafe { pg_sys::getBaseTypeAndTypmod(type_oid, &mut typmod) };
    let known = match is_any_width(base, typmod) {
        true => no("character of any width is not vectorised"),
        false => data_type(base, typmod, collation),
    };
    let layout = match (&known, layout(type_oid)) {
        (Ok(_), _) if base == type_oid => return known,
        (Ok(known), Some(layout)) if known.physical() == layout => return Ok(*known),
        (_, Some(layout)) => layout,
        (_, None) => {
            return no(format!(
                "values of {} are strings",
                crate::pg::type_name(base)
            ))
        }
    };
    Ok(DataType::Opaque { layout })
}

/// How segments store values of a type that the engine does not know.
fn layout(type_oid: pg_sys::Oid) -> Option<Physical> {
    let (mut width, mut by_value) = (0i16, false);
    // SAFETY: a catalogue look-up.
    unsafe { pg_sys::get_typlenbyval(type_oid, &mut width, &mut by_value) };
    Some(match (by_value, width) {
        (true, 2) => Physical::I16,
        (true, 4) => Physical::I32,
        (true, _) => Physical::I64,
        (false, -1) => Physical::Bytes,
        (false, 1..) => Physical::Fixed(width as u16),
        (false, _) => return None,
    })
}

fn numeric_type(typmod: i32) -> DataType {
    match declared_digits(typmod) {
        Some((precision @ 1..=38, scale @ 0..=38)) => DataType::Numeric {
            precision: precision as u8,
            scale,
        },
        _ => DataType::Decimal,
    }
}

/// The digits, and of them those after the point, of a declared numeric.
pub fn declared_digits(typmod: i32) -> Option<(u16, i16)> {
    let precision = ((typmod.checked_sub(4)?) >> 16) & 0xffff;
    let scale = (((typmod - 4) & 0x7ff) ^ 1024) - 1024;
    (typmod >= 4).then_some((precision as u16, scale as i16))
}

/// Whether the database's collation is `C.UTF-8` of a C library that compares it by bytes: glibc has since 2.35.
fn default_sorts_bytes() -> bool {
    thread_local! {
        static KNOWN: std::cell::OnceCell<bool> = const { std::cell::OnceCell::new() };
    }
    KNOWN.with(|known| *known.get_or_init(find_default_sorts_bytes))
}

fn find_default_sorts_bytes() -> bool {
    let Some((provider, name)) = crate::pg::collation::database_locale() else {
        return false;
    };
    match provider {
        b'c' => {
            matches!(name.to_lowercase().as_str(), "c.utf-8" | "c.utf8") && library_sorts_bytes()
        }
        _ => false,
    }
}

#[cfg(target_env = "gnu")]
fn library_sorts_bytes() -> bool {
    // SAFETY: the C library's string is a constant.
    let version = unsafe { std::ffi::CStr::from_ptr(libc::gnu_get_libc_version()) };
    let version = version.to_string_lossy();
    let mut numbers = version.split('.').map(|n| n.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(2), Some(35))
}

#[cfg(not(target_env = "gnu"))]
fn library_sorts_bytes() -> bool {
    false
}

/// How text of a collation compares.
pub fn collate(collation: pg_sys::Oid) -> Collation {
    if collation == pg_sys::InvalidOid {
        return Collation::Deterministic;
    }
    // SAFETY: catalogue look-ups.
    unsafe {
        if crate::pg::raw::collation_is_c(collation) {
            match crate::pg::raw::case_is_c(collation) {
                true => Collation::C,
                false => Collation::Bytes,
            }
        } else if collation == pg_sys::DEFAULT_COLLATION_OID && default_sorts_bytes() {
            Collation::Bytes
        } else if collation == pg_sys::DEFAULT_COLLATION_OID
            || pg_sys::get_collation_isdeterministic(collation)
        {
            match crate::pg::collation::order(collation) {
                Some(order) => Collation::Ordered(order),
                None => Collation::Deterministic,
            }
        } else {
            Collation::Other
        }
    }
}

/// How segments store an engine type, which is also how its vectors become Datums.
pub fn kind_of(data_type: DataType) -> Kind {
    match (data_type, data_type.physical()) {
        (DataType::Numeric { scale, .. }, Physical::I64) => Kind::Decimal64(scale as u16),
        (DataType::Numeric { scale, .. }, _) => Kind::Decimal128(scale as u16),
        (_, Physical::Bool) => Kind::Bool,
        (_, Physical::I16) => Kind::I16,
        (_, Physical::I32) => Kind::I32,
        (_, Physical::I64 | Physical::I128) => Kind::I64,
        (_, Physical::F32) => Kind::F32,
        (_, Physical::F64) => Kind::F64,
        (_, Physical::Fixed(width)) => Kind::Fixed(width),
        (_, Physical::Bytes) => Kind::Varlena,
    }
}

/// A Datum as a constant of the engine, with its type; for numerics, the type follows from the value.
///
/// # Safety
/// `datum` is a value of `type_oid`.
pub unsafe fn constant(
    datum: pg_sys::Datum,
    type_oid: pg_sys::Oid,
    typmod: i32,
    collation: pg_sys::Oid,
) -> Converted<(Scalar, DataType)> {
    // SAFETY: passed on to the caller.
    unsafe {
        if type_oid == pg_sys::NUMERICOID {
            return numeric_constant(datum);
        }
        let data_type = data_type(type_oid, typmod, collation)?;
        let word = datum.value();
        let scalar = match data_type.physical() {
            doris_storage::vector::Physical::Bool => Scalar::Bool(word as u8 != 0),
            doris_storage::vector::Physical::I16 => Scalar::I16(word as i16),
            doris_storage::vector::Physical::I32 => Scalar::I32(word as i32),
            doris_storage::vector::Physical::I64 => Scalar::I64(word as i64),
            doris_storage::vector::Physical::F32 => Scalar::F32(f32::from_bits(word as u32)),
            doris_storage::vector::Physical::F64 => Scalar::F64(f64::from_bits(word as u64)),
            doris_storage::vector::Physical::Fixed(width) => Scalar::bytes(
                std::slice::from_raw_parts(word as *const u8, usize::from(width)),
            ),
            doris_storage::vector::Physical::Bytes => {
                let plain = pg_sys::pg_detoast_datum(datum.cast_mut_ptr());
                Scalar::bytes(pgrx::varlena_to_byte_slice(plain))
            }
            doris_storage::vector::Physical::I128 => return no("a constant of this type"),
        };
        Ok((scalar, data_type))
    }
}

unsafe fn numeric_constant(datum: pg_sys::Datum) -> Converted<(Scalar, DataType)> {
    // SAFETY: a numeric Datum; detoasting gives a plain varlena.
    let bytes = unsafe {
        let plain = pg_sys::pg_detoast_datum(datum.cast_mut_ptr());
        pgrx::varlena_to_byte_slice(plain)
    };
    let scaled = numeric::display_scale(bytes)
        .filter(|scale| *scale <= u16::from(NUMERIC_DIGITS_MAX))
        .and_then(|scale| Some((numeric::to_scaled(bytes, scale)?, scale)));
    let Some((value, scale)) = scaled else {
        return Ok((Scalar::bytes(bytes), DataType::Decimal));
    };
    let expr = doris_engine::expr::Expr::numeric(value, scale as i16)?;
    match expr.kind() {
        doris_engine::expr::ExprKind::Const(Some(scalar)) => Ok((scalar.clone(), expr.data_type())),
        _ => no("a numeric constant"),
    }
}
