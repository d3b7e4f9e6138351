// SPDX-License-Identifier: Apache-2.0
//! Follows the DDL of a source, where what it did to the rows is beyond doubt.
//!
//! A change of columns that left the source's files alone (a rename, a drop, an addition with a constant default, a
//! wider varchar) is repeated on the mirror. One that rewrote the source (another type, a volatile default) computed
//! values that the stream does not carry: the mirror is filled again.
use super::catalogue::{self, set_columns, source_columns, SyncTable};
use super::session::{as_role, elevated, execute, value};
use super::target::Mirror;
use doris_cdc::shape::{steps, Known, Step};
use pgrx::prelude::*;

/// What came of it.
pub(crate) enum Followed {
    /// The mirror has the columns of the stream.
    InStep,
    /// The mirror has to be filled again.
    Refill,
}

/// A name as it is written in SQL.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The full name of a relation, or what is wrong.
pub(crate) fn relation_name(oid: u32) -> Result<String, String> {
    let sql = "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c \
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1";
    elevated(|| value::<String>(sql, &[pg_sys::Oid::from(oid).into()]))
        .ok_or_else(|| "the table has been dropped".to_owned())
}

/// The files a table, or all its partitions, are made of.
pub(crate) fn files(source: u32) -> Option<String> {
    let sql = "SELECT pg_catalog.string_agg(relid::pg_catalog.oid || ':' || pg_catalog.pg_relation_filenode(relid), \
               ' ' ORDER BY relid) FROM pg_catalog.pg_partition_tree($1) WHERE isleaf";
    let own = "SELECT pg_catalog.pg_relation_filenode($1)::pg_catalog.text";
    elevated(|| {
        value::<String>(sql, &[pg_sys::Oid::from(source).into()])
            .or_else(|| value::<String>(own, &[pg_sys::Oid::from(source).into()]))
    })
}

/// Brings a mirror in step with the stream's description of its source. A transaction and a snapshot are open.
pub(crate) fn follow(
    sync: i32,
    owner: pg_sys::Oid,
    mirror: &mut Mirror,
) -> Result<Followed, String> {
    if mirror.relation.is_none() {
        return Err("the stream has not described the source".into());
    }
    let now = mirror.streamed_columns(&source_columns(mirror.table.source));
    let todo = steps(&mirror.table.columns, &now);
    if !todo.is_empty() {
        let before = elevated(|| {
            value::<String>(
                "SELECT files FROM doris.sync_table WHERE sync = $1 AND source = $2",
                &[sync.into(), pg_sys::Oid::from(mirror.table.source).into()],
            )
        });
        if before != files(mirror.table.source) {
            return Ok(Followed::Refill);
        }
        alter(&mirror.table, owner, &todo, &now, false)?;
    }
    if mirror.table.columns != now {
        set_columns(sync, mirror.table.source, &now);
        mirror.table.columns = now;
    }
    mirror.plan()?;
    Ok(Followed::InStep)
}

/// Alters the mirror. `empty` says that it holds no rows.
pub(crate) fn alter(
    table: &SyncTable,
    owner: pg_sys::Oid,
    todo: &[Step],
    columns: &[Known],
    empty: bool,
) -> Result<(), String> {
    let target = relation_name(table.target)?;
    let type_of = |name: &str| {
        let column = columns.iter().find(|c| c.name == *name);
        column.map_or_else(|| "text".to_owned(), type_name)
    };
    for step in todo {
        let action = match step {
            Step::Drop(name) => format!("DROP COLUMN IF EXISTS {}", quoted(name)),
            Step::Rename { from, to } => {
                format!("RENAME COLUMN {} TO {}", quoted(from), quoted(to))
            }
            Step::Add(name) => {
                let default = if empty {
                    None
                } else {
                    missing_value(table.source, name)
                };
                let default = default.map(|d| format!(" DEFAULT {d}")).unwrap_or_default();
                format!("ADD COLUMN {} {}{default}", quoted(name), type_of(name))
            }
            Step::Retype(name) => {
                let using = if empty {
                    format!(" USING NULL::{}", type_of(name))
                } else {
                    String::new()
                };
                format!(
                    "ALTER COLUMN {} TYPE {}{using}",
                    quoted(name),
                    type_of(name)
                )
            }
        };
        as_role(owner, || {
            execute(&format!("ALTER TABLE {target} {action}"), &[])
        });
        if let Step::Add(name) = step {
            let sql = format!(
                "ALTER TABLE {target} ALTER COLUMN {} DROP DEFAULT",
                quoted(name)
            );
            as_role(owner, || execute(&sql, &[]));
        }
    }
    if !todo.is_empty() {
        log!("mirror {target} followed its source: {todo:?}");
    }
    Ok(())
}

fn type_name(column: &Known) -> String {
    let arguments = [
        pg_sys::Oid::from(column.type_oid).into(),
        column.typmod.into(),
    ];
    elevated(|| value::<String>("SELECT pg_catalog.format_type($1, $2)", &arguments))
        .unwrap_or_else(|| "text".into())
}

/// The value that rows from before an ADD COLUMN have in the new column, as a literal.
fn missing_value(source: u32, name: &str) -> Option<String> {
    let sql =
        "SELECT pg_catalog.quote_literal((attmissingval::pg_catalog.text::pg_catalog.text[])[1]) \
               FROM pg_catalog.pg_attribute WHERE attrelid = $1 AND attname = $2 AND atthasmissing";
    elevated(|| value::<String>(sql, &[pg_sys::Oid::from(source).into(), name.into()]))
}

/// What is known of a source when its mirror is registered or filled.
pub(crate) fn record_source(sync: i32, source: u32) -> Vec<Known> {
    let columns = source_columns(source);
    set_columns(sync, source, &columns);
    catalogue::update_table(sync, source, "files = $3", files(source));
    columns
}
