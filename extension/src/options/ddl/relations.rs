// SPDX-License-Identifier: Apache-2.0
//! What a statement makes of keyed tables together with others: partitions of partitioned tables, and rows that refer
//! to those of other tables.
use super::super::model::{self, Keyed, Model};
use crate::pg::{self, attributes, raw};
use crate::plan::hook::is_doris_table;
use pgrx::{pg_sys, FromDatum, PgSqlErrorCode};
use std::ffi::CStr;

/// The catalogue pg_constraint (catalog/pg_constraint.h).
pub(super) const CONSTRAINTS: pg_sys::Oid = pg_sys::Oid::from_u32(2606);

/// Warns of unique key tables, among those that became partitions and their partitions, whose key does not say to which
/// partition a row belongs: Doris has no such tables.
pub(super) fn warn_of_partitions(relid: pg_sys::Oid) {
    for relid in raw::inheritors(relid) {
        if !is_doris_table(relid) {
            continue;
        }
        pg::with_relation_if_any(relid, pg_sys::AccessShareLock, |rel| {
            if let Some(keyed) = model::of(rel).filter(|keyed| keyed.model == Model::Unique) {
                warn_of_partition(rel, &keyed);
            }
        });
    }
}

fn warn_of_partition(rel: pg_sys::Relation, keyed: &Keyed) {
    let decides = raw::partition_columns(rel);
    let outside = |a: &&pg_sys::FormData_pg_attribute| {
        let number = a.attnum as u16;
        decides.contains(&number) && !keyed.keys.contains(&number)
    };
    let Some(column) = attributes::live(rel).find(outside).map(pg::attribute_name) else {
        return;
    };
    let table = pg::relation_name(rel);
    let message = format!(
        "column \"{column}\" decides to which partition rows of table \"{table}\" belong, and is not in its unique_key"
    );
    let code = PgSqlErrorCode::ERRCODE_WARNING;
    pg_sys::panic::ErrorReport::new(code, message, pgrx::function_name!())
        .set_hint("Rows of one key are replaced within a partition only, and may be in several: put the column into the key.")
        .report(pgrx::PgLogLevel::WARNING);
}

/// Refuses a new foreign key of an aggregate key table with an action that can never run: its rows are not updated, and
/// deleted by key columns only.
pub(super) fn check_constraint(constraint: pg_sys::Oid) {
    let Some(key) = ForeignKey::of(constraint) else {
        return;
    };
    // The part that refers to one partition of a partitioned table follows the whole.
    let of_whole = ForeignKey::of(key.parent).is_some_and(|whole| whole.table == key.table);
    if of_whole || !is_doris_table(key.table) {
        return;
    }
    // The table is locked by the statement that makes the constraint.
    pg::with_relation(key.table, pg_sys::NoLock, |rel| {
        if let Some(keyed) = model::of(rel).filter(|keyed| keyed.model == Model::Aggregate) {
            key.check(rel, &keyed);
        }
    });
}

/// A foreign key.
struct ForeignKey {
    name: String,
    table: pg_sys::Oid,
    /// The constraint that it is a part of, or none.
    parent: pg_sys::Oid,
    columns: Vec<i16>,
    /// FKCONSTR_ACTION_* of nodes/parsenodes.h.
    on_update: u8,
    on_delete: u8,
}

impl ForeignKey {
    /// `None` for other constraints, and one that is gone again.
    fn of(constraint: pg_sys::Oid) -> Option<Self> {
        // SAFETY: the constraint's tuple is released after its values were copied.
        unsafe {
            let none = pg_sys::Datum::from(0);
            let cache = pg_sys::SysCacheIdentifier::CONSTROID as i32;
            let tuple = pg_sys::SearchSysCache(cache, constraint.into(), none, none, none);
            if tuple.is_null() {
                return None;
            }
            let get = |name: &CStr| {
                let mut null = true;
                let at = pg_sys::get_attnum(CONSTRAINTS, name.as_ptr());
                let value = pg_sys::SysCacheGetAttr(cache, tuple, at, &mut null);
                (!null).then_some(value)
            };
            let letter = |name| get(name).map_or(0, |value| value.value() as u8);
            let oid = |name| pg_sys::Oid::from(get(name).map_or(0, |oid| oid.value() as u32));
            let found = (letter(c"contype") == b'f').then(|| Self {
                name: get(c"conname")
                    .map_or_else(String::new, |name| pg::text(name.cast_mut_ptr())),
                table: oid(c"conrelid"),
                parent: oid(c"conparentid"),
                columns: get(c"conkey")
                    .and_then(|value| Vec::<i16>::from_datum(value, false))
                    .unwrap_or_default(),
                on_update: letter(c"confupdtype"),
                on_delete: letter(c"confdeltype"),
            });
            pg_sys::ReleaseSysCache(tuple);
            found
        }
    }

    fn check(&self, rel: pg_sys::Relation, keyed: &Keyed) {
        let action = |letter| match letter {
            b'c' => "CASCADE",
            b'n' => "SET NULL",
            _ => "SET DEFAULT",
        };
        let updates = |letter| matches!(letter, b'c' | b'n' | b'd');
        let of_key = self
            .columns
            .iter()
            .all(|c| keyed.keys.contains(&(*c as u16)));
        let (what, hint) = match (self.on_update, self.on_delete) {
            (update, _) if updates(update) => (
                format!("ON UPDATE {}", action(update)),
                "Rows of such tables are not updated: use NO ACTION or RESTRICT.",
            ),
            (_, delete @ (b'n' | b'd')) => (
                format!("ON DELETE {}", action(delete)),
                "Rows of such tables are not updated: use NO ACTION or RESTRICT, or CASCADE where the columns are the key's.",
            ),
            (_, b'c') if !of_key => (
                String::from("ON DELETE CASCADE outside of its key"),
                "Rows of such tables are deleted by key columns: use NO ACTION or RESTRICT.",
            ),
            _ => return,
        };
        pg::refuse(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!(
                "foreign key \"{}\" of aggregate key table \"{}\" cannot have {what}",
                self.name,
                pg::relation_name(rel)
            ),
            hint,
        );
    }
}
