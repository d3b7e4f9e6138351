// SPDX-License-Identifier: Apache-2.0
//! Whether a table's options fit its columns; every answer of no is one error that names table and column.
use super::check_model;
use super::policy;
use super::table::{attribute_number, column_names, is_list, names_columns, MERGE_ON_WRITE};
use crate::pg::{self, attributes, compat};
use pgrx::{pg_sys, PgSqlErrorCode};

/// Columns of this prefix are Doris's hidden ones.
const RESERVED_PREFIX: &str = "__doris_";

/// Checks the options of an open doris table; returns them with column names written one way.
pub fn options(rel: pg_sys::Relation, options: &[(String, String)]) -> Vec<(String, String)> {
    let checked = options
        .iter()
        .map(|(name, value)| {
            if name == MERGE_ON_WRITE {
                return (name.clone(), switch(rel, name, value));
            }
            if !names_columns(name) {
                return (name.clone(), policy::checked(rel, name, value));
            }
            let names = column_names(value);
            if names.is_empty() || !is_list(value) {
                refuse_value(rel, name, value);
            }
            for (at, column) in names.iter().enumerate() {
                check_column(rel, name, column, &names[..at]);
            }
            if super::table::KEY_OPTIONS.contains(&name.as_str()) {
                check_order(rel, name, &names);
            }
            (name.clone(), join(&names))
        })
        .collect::<Vec<_>>();
    check_model::options(rel, &checked);
    checked
}

/// The value of an option that is on or off, written one way.
fn switch(rel: pg_sys::Relation, option: &str, value: &str) -> String {
    let mut on = false;
    let text = std::ffi::CString::new(value).unwrap_or_default();
    // SAFETY: a string and an out parameter.
    if !unsafe { pg_sys::parse_bool(text.as_ptr(), &mut on) } {
        let table = pg::relation_name(rel);
        pg::refuse(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("invalid value for option \"{option}\" of table \"{table}\": \"{value}\""),
            "It is true or false.",
        );
    }
    on.to_string()
}

/// Column names as the value of an option.
pub fn join(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| quote(name)).collect();
    quoted.join(", ")
}

fn quote(name: &str) -> String {
    let plain = name
        .bytes()
        .all(|b| b == b'_' || b.is_ascii_lowercase() || b.is_ascii_digit() || b >= 0x80);
    if plain && !name.starts_with(|c: char| c.is_ascii_digit()) {
        name.to_string()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// Refuses columns with the names of Doris's hidden columns.
pub fn reserved_names(rel: pg_sys::Relation) {
    let mut names = attributes::live(rel).map(pg::attribute_name);
    let reserved = names.find(|name| name.to_lowercase().starts_with(RESERVED_PREFIX));
    if let Some(name) = reserved {
        let table = pg::relation_name(rel);
        pg::refuse(
            PgSqlErrorCode::ERRCODE_RESERVED_NAME,
            format!("column name \"{name}\" of table \"{table}\" is reserved"),
            "Names that begin with __DORIS_ belong to hidden columns; choose another name.",
        );
    }
}

fn refuse_value(rel: pg_sys::Relation, option: &str, value: &str) -> ! {
    let table = pg::relation_name(rel);
    pg::refuse(
        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        format!("invalid value for option \"{option}\" of table \"{table}\": \"{value}\""),
        "Give column names separated by commas.",
    );
}

fn check_column(rel: pg_sys::Relation, option: &str, column: &str, before: &[String]) {
    let table = pg::relation_name(rel);
    let Some(number) = attribute_number(rel, column) else {
        pg::refuse(
            PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN,
            format!(
                "column \"{column}\" in option \"{option}\" of table \"{table}\" does not exist"
            ),
            "",
        );
    };
    if before.iter().any(|b| b == column) {
        pg::refuse(
            PgSqlErrorCode::ERRCODE_DUPLICATE_COLUMN,
            format!(
                "column \"{column}\" appears twice in option \"{option}\" of table \"{table}\""
            ),
            "",
        );
    }
    let keys = super::table::KEY_OPTIONS.contains(&option);
    if !keys && option != "bloom_filter" {
        return;
    }
    // SAFETY: an open relation and one of its attributes.
    let attribute = unsafe { compat::attribute((*rel).rd_att, usize::from(number) - 1) };
    let refuse_type = |hint: &str| {
        let type_name = pg::type_name(attribute.atttypid);
        pg::refuse(
            PgSqlErrorCode::ERRCODE_INVALID_TABLE_DEFINITION,
            format!(
                "column \"{column}\" of table \"{table}\" has type {type_name}, which option \"{option}\" \
                 does not support"
            ),
            hint,
        );
    };
    if !comparable(attribute.atttypid) {
        refuse_type(
            "Floating-point, JSON, binary, array, range and composite types cannot be keys or have bloom \
             filters. Use numeric where a key is fractional.",
        );
    }
    // SAFETY: plain catalogue look-up.
    let deterministic = attribute.attcollation == pg_sys::InvalidOid
        || unsafe { pg_sys::get_collation_isdeterministic(attribute.attcollation) };
    if !deterministic {
        pg::refuse(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!(
                "column \"{column}\" of table \"{table}\" has a nondeterministic collation, which option \
                 \"{option}\" does not support"
            ),
            "Segments are ordered and compared by bytes; give the column another collation.",
        );
    }
    if option.ends_with("_key") && option != "duplicate_key" && !unique_by_bytes(attribute) {
        refuse_type(
            "Keys are compared by their bytes: values of this type may be equal and yet look different.",
        );
    }
}

/// Whether values of a type are ordered, and equal only when they look the same.
fn comparable(type_oid: pg_sys::Oid) -> bool {
    // SAFETY: catalogue look-ups of a type that exists.
    unsafe {
        let base = pg_sys::getBaseType(type_oid);
        let kind = pg_sys::get_typtype(base) as u8;
        let plain = kind == pg_sys::TYPTYPE_BASE || kind == pg_sys::TYPTYPE_ENUM;
        let refused = [
            pg_sys::FLOAT4OID,
            pg_sys::FLOAT8OID,
            pg_sys::BYTEAOID,
            pg_sys::JSONOID,
            pg_sys::JSONBOID,
        ];
        plain
            && !refused.contains(&base)
            && pg_sys::get_element_type(base) == pg_sys::InvalidOid
            && pg_sys::GetDefaultOpClass(base, pg_sys::BTREE_AM_OID) != pg_sys::InvalidOid
    }
}

/// Whether equal values of an attribute have equal bytes, or are brought into one form (`keys::code::Form`): numerics,
/// and blank-padded text, of whose operator class PostgreSQL's minor releases do not say the same.
fn unique_by_bytes(attribute: &pg_sys::FormData_pg_attribute) -> bool {
    // BTEQUALIMAGE_PROC of access/nbtree.h.
    const EQUAL_IMAGE: i16 = 4;
    // SAFETY: catalogue look-ups of a type that has a btree operator class; the support function takes a type.
    unsafe {
        let base = pg_sys::getBaseType(attribute.atttypid);
        if base == pg_sys::NUMERICOID || base == pg_sys::BPCHAROID {
            return true;
        }
        let class = pg_sys::GetDefaultOpClass(base, pg_sys::BTREE_AM_OID);
        let family = pg_sys::get_opclass_family(class);
        let input = pg_sys::get_opclass_input_type(class);
        let procedure = pg_sys::get_opfamily_proc(family, input, input, EQUAL_IMAGE);
        procedure != pg_sys::InvalidOid
            && pg_sys::OidFunctionCall1Coll(procedure, attribute.attcollation, input.into()).value()
                != 0
    }
}

/// Key columns are the first columns of the table, in the table's order.
fn check_order(rel: pg_sys::Relation, option: &str, names: &[String]) {
    let mut columns = attributes::live(rel).map(pg::attribute_name);
    for (at, key) in names.iter().enumerate() {
        let column = columns.next().unwrap_or_default();
        if column != *key {
            let table = pg::relation_name(rel);
            pg::refuse(
                PgSqlErrorCode::ERRCODE_INVALID_TABLE_DEFINITION,
                format!(
                    "column {} of option \"{option}\" is \"{key}\", but column {} of table \"{table}\" is \
                     \"{column}\"",
                    at + 1,
                    at + 1
                ),
                "Key columns must be the first columns of the table, in the same order.",
            );
        }
    }
}
