// SPDX-License-Identifier: Apache-2.0
//! Whether a table's options make one key model: one key, options that belong to it, and in the aggregate model one
//! aggregation for each value column, of a type that it can aggregate.
use super::model::{self, Aggregation, AGGREGATIONS};
use super::table::{self, column_names, KEY_OPTIONS, MERGE_ON_WRITE};
use crate::keys::merge::can_be_summed;
use crate::keys::statement::gets_default;
use crate::pg::{self, attributes};
use pgrx::{pg_sys, PgSqlErrorCode};

type Attribute = pg_sys::FormData_pg_attribute;

/// Checks the options of an open doris table, whose columns are known to exist.
pub fn options(rel: pg_sys::Relation, options: &[(String, String)]) {
    let keys: Vec<&str> = options
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| KEY_OPTIONS.contains(name))
        .collect();
    if let [first, second, ..] = keys[..] {
        refuse(
            rel,
            &format!("has both {first} and {second}"),
            "A table has one key: give one of the options.",
        );
    }
    let key = keys.first().copied().unwrap_or("");
    for (option, _) in options {
        let owner = match option.as_str() {
            "sequence" | "delete_sign" | MERGE_ON_WRITE => "unique_key",
            name if AGGREGATIONS.iter().any(|(of, _)| *of == name) => "aggregate_key",
            _ => continue,
        };
        if owner != key {
            refuse(
                rel,
                &format!("has option \"{option}\" without {owner}"),
                &format!("It belongs to tables with option {owner}."),
            );
        }
    }
    let names = |option: &str| {
        let value = options.iter().find(|(name, _)| name == option);
        value.map_or_else(Vec::new, |(_, value)| column_names(value))
    };
    check_virtual(rel, options);
    match key {
        "unique_key" => unique(rel, &names),
        "aggregate_key" => aggregate(rel, &names),
        _ => {}
    }
}

/// Refuses virtual generated columns in options of a model: none of their values is in a row.
fn check_virtual(rel: pg_sys::Relation, options: &[(String, String)]) {
    // ATTRIBUTE_GENERATED_VIRTUAL of catalog/pg_attribute.h, from PostgreSQL 18.
    let is_virtual = |attribute: &&Attribute| attribute.attgenerated as u8 == b'v';
    for attribute in attributes::live(rel).filter(is_virtual) {
        let column = pg::attribute_name(attribute);
        let of_model = |option: &str| {
            KEY_OPTIONS.contains(&option)
                || matches!(option, "sequence" | "delete_sign")
                || AGGREGATIONS.iter().any(|(of, _)| *of == option)
        };
        let naming = options
            .iter()
            .find(|(option, value)| of_model(option) && column_names(value).contains(&column));
        if let Some((option, _)) = naming {
            let what = format!(
                "is a virtual generated column, which option \"{option}\" does not support"
            );
            refuse_column(rel, &column, &what, "Make it a STORED one.");
        }
    }
}

fn refuse(rel: pg_sys::Relation, what: &str, hint: &str) -> ! {
    let table = pg::relation_name(rel);
    pg::refuse(
        PgSqlErrorCode::ERRCODE_INVALID_TABLE_DEFINITION,
        format!("table \"{table}\" {what}"),
        hint,
    )
}

fn refuse_column(rel: pg_sys::Relation, column: &str, what: &str, hint: &str) -> ! {
    let table = pg::relation_name(rel);
    pg::refuse(
        PgSqlErrorCode::ERRCODE_INVALID_TABLE_DEFINITION,
        format!("column \"{column}\" of table \"{table}\" {what}"),
        hint,
    )
}

const SEQUENCE_TYPES: [pg_sys::Oid; 7] = [
    pg_sys::INT2OID,
    pg_sys::INT4OID,
    pg_sys::INT8OID,
    pg_sys::NUMERICOID,
    pg_sys::DATEOID,
    pg_sys::TIMESTAMPOID,
    pg_sys::TIMESTAMPTZOID,
];
const SIGN_TYPES: [pg_sys::Oid; 3] = [pg_sys::BOOLOID, pg_sys::INT2OID, pg_sys::INT4OID];

/// The sequence and delete sign columns of a unique key.
fn unique(rel: pg_sys::Relation, names: &impl Fn(&str) -> Vec<String>) {
    let special = |option: &str, types: &[pg_sys::Oid], hint: &str| {
        let columns = names(option);
        if columns.len() > 1 {
            refuse(
                rel,
                &format!("has more than one column in option \"{option}\""),
                "Name one.",
            );
        }
        let column = columns.into_iter().next()?;
        if names("unique_key").contains(&column) {
            let what = format!("is a key column and cannot be in option \"{option}\"");
            refuse_column(rel, &column, &what, "Name a value column.");
        }
        let attribute = attribute(rel, &column)?;
        if !types.contains(&attribute.atttypid) {
            let found = pg::type_name(attribute.atttypid);
            let what = format!("has type {found}, which option \"{option}\" does not support");
            refuse_column(rel, &column, &what, hint);
        }
        Some(column)
    };
    let sequence = special(
        "sequence",
        &SEQUENCE_TYPES,
        "A sequence is an integer, numeric, date or timestamp.",
    );
    let sign = special(
        "delete_sign",
        &SIGN_TYPES,
        "A delete sign is a boolean, smallint or integer.",
    );
    if let Some(column) = sequence.filter(|sequence| Some(sequence) == sign.as_ref()) {
        refuse_column(
            rel,
            &column,
            "is both sequence and delete sign",
            "Name two columns.",
        );
    }
}

fn attribute<'a>(rel: pg_sys::Relation, name: &str) -> Option<&'a Attribute> {
    let number = table::attribute_number(rel, name)?;
    attributes::live(rel).find(|attribute| attribute.attnum as u16 == number)
}

/// Each value column of an aggregate key has one aggregation, each key column has none.
fn aggregate(rel: pg_sys::Relation, names: &impl Fn(&str) -> Vec<String>) {
    let keys = names("aggregate_key");
    for attribute in attributes::live(rel) {
        let column = pg::attribute_name(attribute);
        let found: Vec<(&str, Aggregation)> = AGGREGATIONS
            .into_iter()
            .filter(|(option, _)| names(option).contains(&column))
            .collect();
        let key = keys.contains(&column);
        match found[..] {
            [] if key => {}
            [(option, _), ..] if key => {
                let what = format!("is a key column and cannot have aggregation \"{option}\"");
                refuse_column(
                    rel,
                    &column,
                    &what,
                    "Aggregations are for the columns behind the key.",
                );
            }
            [] => refuse_column(
                rel,
                &column,
                "has no aggregation",
                "Name each column behind the key in one of the options sum, min, max, replace, \
                 replace_if_not_null, hll_union, bitmap_union, quantile_union and agg_state.",
            ),
            [(option, what)] => value(rel, attribute, &column, option, what),
            [(first, _), (second, _), ..] => {
                let what = format!("has two aggregations, \"{first}\" and \"{second}\"");
                refuse_column(rel, &column, &what, "Name it in one of the options.");
            }
        }
    }
}

/// Checks one value column.
fn value(
    rel: pg_sys::Relation,
    attribute: &Attribute,
    column: &str,
    option: &str,
    what: Aggregation,
) {
    if attribute.attgenerated != 0 || attribute.attidentity != 0 {
        let kind = if attribute.attgenerated != 0 {
            "a generated"
        } else {
            "an identity"
        };
        let what = format!("is {kind} column, which aggregate keys do not support");
        refuse_column(
            rel,
            column,
            &what,
            "Values are folded as they are inserted.",
        );
    }
    let supported = supported(what, attribute.atttypid);
    if !supported {
        let found = pg::type_name(attribute.atttypid);
        let what = format!("has type {found}, which aggregation \"{option}\" does not support");
        refuse_column(rel, column, &what, hint(option));
    }
    if what == Aggregation::AggState && attribute.atttypmod < 0 {
        refuse_column(
            rel,
            column,
            "does not say which aggregate's states it holds",
            "Give the type its aggregate, as in doris.agg_state('avg(numeric)').",
        );
    }
    if what == Aggregation::ReplaceIfNotNull {
        if attribute.attnotnull {
            let hint = "Where NULLs keep the stored value, the column must take them.";
            refuse_column(
                rel,
                column,
                "has aggregation \"replace_if_not_null\" and NOT NULL",
                hint,
            );
        }
        let hint = "An INSERT that does not name the column would replace the stored value.";
        if attribute.atthasdef {
            let what = "has aggregation \"replace_if_not_null\" and a default";
            refuse_column(rel, column, what, hint);
        }
        if gets_default(attribute) {
            warn_of_type(rel, column, hint);
        }
    }
}

/// Warns of a column whose type has a default: it may get one at any time, and the table must go on to be altered and
/// restored.
fn warn_of_type(rel: pg_sys::Relation, column: &str, hint: &str) {
    let table = pg::relation_name(rel);
    let message = format!(
        "column \"{column}\" of table \"{table}\" has aggregation \"replace_if_not_null\" and a type with a default"
    );
    let code = PgSqlErrorCode::ERRCODE_WARNING;
    pg_sys::panic::ErrorReport::new(code, message, pgrx::function_name!())
        .set_hint(hint)
        .report(pgrx::PgLogLevel::WARNING);
}

fn supported(what: Aggregation, oid: pg_sys::Oid) -> bool {
    let own = |name| oid == model::own_type(name);
    match what {
        Aggregation::Sum => can_be_summed(oid),
        Aggregation::Min | Aggregation::Max => {
            // SAFETY: catalogue look-ups of a type that exists.
            let class = unsafe {
                let base = pg_sys::getBaseType(oid);
                pg_sys::GetDefaultOpClass(base, pg_sys::BTREE_AM_OID)
            };
            class != pg_sys::InvalidOid
        }
        Aggregation::Replace | Aggregation::ReplaceIfNotNull => true,
        Aggregation::HllUnion => own(c"hll"),
        Aggregation::BitmapUnion => own(c"bitmap"),
        Aggregation::QuantileUnion => own(c"quantile_state"),
        Aggregation::AggState => own(c"agg_state"),
    }
}

fn hint(option: &str) -> &'static str {
    match option {
        "sum" => "Integers, numeric, floating-point numbers, money and intervals can be summed; domains cannot.",
        "min" | "max" => "The type must have an order.",
        "hll_union" => "The type must be doris.hll.",
        "bitmap_union" => "The type must be doris.bitmap.",
        "agg_state" => "The type must be doris.agg_state.",
        _ => "The type must be doris.quantile_state.",
    }
}

/// Refuses a change of the aggregation of a column that has one.
pub fn changed(table: &str, before: &[(String, String)], after: &[(String, String)]) {
    let of = |options: &[(String, String)]| -> Vec<(String, String)> {
        let ours = options
            .iter()
            .filter(|(option, _)| AGGREGATIONS.iter().any(|(of, _)| of == option));
        ours.flat_map(|(option, value)| {
            let columns = column_names(value).into_iter();
            columns.map(move |column| (column, option.clone()))
        })
        .collect()
    };
    let after = of(after);
    for (column, option) in of(before) {
        if !after.contains(&(column.clone(), option)) {
            pg::refuse(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!(
                    "the aggregation of column \"{column}\" of table \"{table}\" cannot be changed"
                ),
                "Stored values are folded already; an option can only get new columns.",
            );
        }
    }
}
