// SPDX-License-Identifier: Apache-2.0
//! Names of what is in the catalogue, and PostgreSQL's texts as Rust's.
use pgrx::pg_sys;
use std::ffi::{c_char, CStr};

/// A text of PostgreSQL's; `None` for a null pointer. Bytes that are not UTF-8 are replaced.
///
/// # Safety
/// A text that ends with a zero, or a null pointer.
pub unsafe fn text_or_none(text: *const c_char) -> Option<String> {
    // SAFETY: passed on to the caller, and not null.
    (!text.is_null()).then(|| unsafe { self::text(text) })
}

/// A text of PostgreSQL's that is there. Bytes that are not UTF-8 are replaced.
///
/// # Safety
/// A text that ends with a zero.
pub unsafe fn text(text: *const c_char) -> String {
    // SAFETY: passed on to the caller.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}

/// The bytes of a name as catalogue rows have it.
pub fn name_bytes(name: &pg_sys::NameData) -> &[u8] {
    // SAFETY: PostgreSQL ends every name with a zero inside its array.
    unsafe { CStr::from_ptr(name.data.as_ptr()) }.to_bytes()
}

/// The name of an open relation.
pub fn relation_name(rel: pg_sys::Relation) -> String {
    // SAFETY: callers pass an open relation, whose pg_class row is in the relation cache.
    let name = unsafe { &(*(*rel).rd_rel).relname };
    String::from_utf8_lossy(name_bytes(name)).into_owned()
}

/// The name of a relation; `None` where there is no such relation.
pub fn table_name_if_any(oid: pg_sys::Oid) -> Option<String> {
    // SAFETY: a catalogue look-up, which gives a palloc'd string or null.
    unsafe { text_or_none(pg_sys::get_rel_name(oid)) }
}

/// The name of a relation; its OID where there is no such relation.
pub fn table_name(oid: pg_sys::Oid) -> String {
    table_name_if_any(oid).unwrap_or_else(|| oid.to_string())
}

/// The name of a relation with its schema, as SQL writes it; `None` where there is no such relation.
pub fn qualified_name(oid: pg_sys::Oid) -> Option<String> {
    // SAFETY: catalogue look-ups, which give palloc'd strings or null.
    unsafe {
        let schema = pg_sys::get_namespace_name(pg_sys::get_rel_namespace(oid));
        let name = pg_sys::get_rel_name(oid);
        if schema.is_null() || name.is_null() {
            return None;
        }
        Some(text(pg_sys::quote_qualified_identifier(schema, name)))
    }
}

/// The name of a column of a table, by its attribute number; `None` where there is no such column.
pub fn column_name_if_any(table: pg_sys::Oid, number: i16) -> Option<String> {
    // SAFETY: a catalogue look-up, which gives a palloc'd string or null.
    unsafe { text_or_none(pg_sys::get_attname(table, number, true)) }
}

/// The name of a column of a table, by its attribute number; the number where there is no such column.
pub fn column_name(table: pg_sys::Oid, number: u16) -> String {
    column_name_if_any(table, number as i16).unwrap_or_else(|| number.to_string())
}

/// The name of an attribute.
pub fn attribute_name(attribute: &pg_sys::FormData_pg_attribute) -> String {
    String::from_utf8_lossy(name_bytes(&attribute.attname)).into_owned()
}

/// A type as SQL writes it.
pub fn type_name(oid: pg_sys::Oid) -> String {
    // SAFETY: format_type_be returns a palloc'd string for any OID.
    unsafe { text(pg_sys::format_type_be(oid)) }
}

/// The name of a function without its schema; its OID where there is no such function.
pub fn function_name(oid: pg_sys::Oid) -> String {
    // SAFETY: a catalogue look-up, which gives a palloc'd string or null.
    unsafe { text_or_none(pg_sys::get_func_name(oid)) }.unwrap_or_else(|| oid.to_string())
}

/// A function with its schema and argument types, as the server's encoding writes it.
pub fn function_signature(oid: pg_sys::Oid) -> Vec<u8> {
    // SAFETY: returns a palloc'd string for any OID.
    unsafe { CStr::from_ptr(pg_sys::format_procedure_qualified(oid)) }
        .to_bytes()
        .to_vec()
}
