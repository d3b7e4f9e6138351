// SPDX-License-Identifier: Apache-2.0
//! The catalogue tables, read and written by name.
use super::session::{column, elevated, execute, rows, value};
use doris_cdc::shape::Known;
use doris_cdc::snapshot::CopySnapshot;
use doris_cdc::Lsn;
use pgrx::prelude::*;
use pgrx::JsonB;

pgrx::extension_sql_file!("catalogue.sql", name = "cdc_catalogue");
pgrx::extension_sql_file!(
    "views.sql",
    name = "cdc_views",
    requires = ["cdc_catalogue", sync_progress, sync_table]
);

/// A row of doris.sync.
#[derive(Clone, Debug)]
pub(crate) struct Sync {
    pub(crate) id: i32,
    pub(crate) owner: pg_sys::Oid,
    pub(crate) paused: bool,
    pub(crate) slot_made: bool,
}

/// A row of doris.sync_table.
#[derive(Clone, Debug)]
pub(crate) struct SyncTable {
    pub(crate) source: u32,
    pub(crate) source_name: String,
    pub(crate) target: u32,
    pub(crate) state: String,
    pub(crate) snapshot: Option<CopySnapshot>,
    pub(crate) columns: Vec<Known>,
}

/// The name of a sync's slot; the origin has the same.
pub(crate) fn slot_name(db: u32, sync: i32) -> String {
    format!("pg_doris_{db}_{sync}")
}

/// The database and sync an origin's name stands for.
pub(crate) fn parse_origin(name: &str) -> Option<(u32, i32)> {
    let (db, sync) = name.strip_prefix("pg_doris_")?.split_once('_')?;
    Some((db.parse().ok()?, sync.parse().ok()?))
}

/// The name of a sync's publication.
pub(crate) fn publication_name(sync: i32) -> String {
    format!("pg_doris_{sync}")
}

/// Whether the extension's catalogue is in this database.
pub(crate) fn exists() -> bool {
    value::<bool>(
        "SELECT pg_catalog.to_regclass('doris.sync') IS NOT NULL",
        &[],
    )
    .unwrap_or(false)
}

/// The sync, if it is still registered.
pub(crate) fn sync(id: i32) -> Option<Sync> {
    elevated(|| {
        rows(
            "SELECT owner, wanted = 'pause', slot_made FROM doris.sync WHERE id = $1",
            &[id.into()],
            |r| Sync {
                id,
                owner: column(r, 1).unwrap_or(pg_sys::InvalidOid),
                paused: column(r, 2).unwrap_or(true),
                slot_made: column(r, 3).unwrap_or(false),
            },
        )
        .pop()
    })
}

/// The tables of a sync.
pub(crate) fn tables(sync: i32) -> Vec<SyncTable> {
    let sql = "SELECT source, source_name, target, state, snapshot, (snapshot_lsn - '0/0')::bigint, columns \
               FROM doris.sync_table WHERE sync = $1 ORDER BY source";
    elevated(|| {
        rows(sql, &[sync.into()], |r| {
            let lsn = Lsn(column::<i64>(r, 6).unwrap_or(0) as u64);
            let snapshot = column::<String>(r, 5).map(|s| CopySnapshot::parse(&s, lsn));
            SyncTable {
                source: column::<pg_sys::Oid>(r, 1).map_or(0, u32::from),
                source_name: column(r, 2).unwrap_or_default(),
                target: column::<pg_sys::Oid>(r, 3).map_or(0, u32::from),
                state: column(r, 4).unwrap_or_default(),
                snapshot: snapshot.transpose().unwrap_or_else(|e| error!("{e}")),
                columns: column::<JsonB>(r, 7)
                    .map(|j| columns_from_json(&j.0))
                    .unwrap_or_default(),
            }
        })
    })
}

fn columns_from_json(json: &serde_json::Value) -> Vec<Known> {
    let number = |v: &serde_json::Value, name: &str| v[name].as_i64().unwrap_or(0);
    json.as_array()
        .into_iter()
        .flatten()
        .map(|c| Known {
            number: number(c, "number") as i16,
            name: c["name"].as_str().unwrap_or_default().to_owned(),
            type_oid: number(c, "type") as u32,
            typmod: number(c, "typmod") as i32,
        })
        .collect()
}

/// The columns of a source as the stream shows them: no dropped and no generated ones.
pub(crate) fn source_columns(source: u32) -> Vec<Known> {
    let sql = "SELECT attnum, attname::text, atttypid, atttypmod FROM pg_catalog.pg_attribute \
               WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum";
    elevated(|| {
        rows(sql, &[pg_sys::Oid::from(source).into()], |r| Known {
            number: column(r, 1).unwrap_or(0),
            name: column(r, 2).unwrap_or_default(),
            type_oid: column::<pg_sys::Oid>(r, 3).map_or(0, u32::from),
            typmod: column(r, 4).unwrap_or(-1),
        })
    })
}

/// Records the columns a mirror is in step with.
pub(crate) fn set_columns(sync: i32, source: u32, columns: &[Known]) {
    let json: Vec<_> = columns
        .iter()
        .map(|c| serde_json::json!({"number": c.number, "name": c.name, "type": c.type_oid, "typmod": c.typmod}))
        .collect();
    update_table(
        sync,
        source,
        "columns = $3",
        JsonB(serde_json::Value::Array(json)),
    );
}

/// Changes one value of a sync_table row: `set` is constant text that names `$3`.
pub(crate) fn update_table<T: IntoDatum>(sync: i32, source: u32, set: &str, argument: T) {
    let sql = format!("UPDATE doris.sync_table SET {set} WHERE sync = $1 AND source = $2");
    elevated(|| {
        execute(
            &sql,
            &[
                sync.into(),
                pg_sys::Oid::from(source).into(),
                argument.into(),
            ],
        )
    });
}

/// Marks a table as one whose changes are no longer applied, and says why.
pub(crate) fn pause_table(sync: i32, source: u32, why: &str) {
    update_table(
        sync,
        source,
        "state = 'paused', last_error = $3, error_at = pg_catalog.now()",
        why.to_owned(),
    );
    warning!("mirror of table {source} is paused: {why}");
}

/// Shows what a sync is doing.
pub(crate) fn set_state(sync: i32, state: &str) {
    let sql = "UPDATE doris.sync SET state = $2 WHERE id = $1 AND state <> $2";
    elevated(|| execute(sql, &[sync.into(), state.into()]));
}

/// Records the reason of a failure.
pub(crate) fn set_error(sync: i32, message: &str, retries: i32) {
    let sql = "UPDATE doris.sync SET state = 'failing', last_error = $2, error_at = pg_catalog.now(), retries = $3 \
               WHERE id = $1";
    elevated(|| execute(sql, &[sync.into(), message.into(), retries.into()]));
}

/// Records that the slot exists and that all tables are to be filled from it.
pub(crate) fn set_slot_made(sync: i32, made: bool) {
    let sql = "UPDATE doris.sync SET slot_made = $2 WHERE id = $1";
    elevated(|| execute(sql, &[sync.into(), made.into()]));
}

/// Adds a sync.
pub(crate) fn insert_sync(id: i32, name: &str, owner: pg_sys::Oid, options: JsonB) {
    let sql = "INSERT INTO doris.sync (id, name, owner, options) OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4)";
    elevated(|| execute(sql, &[id.into(), name.into(), owner.into(), options.into()]));
}

/// Marks every table that is not paused as one to be filled.
pub(crate) fn refill_all(sync: i32) {
    let sql = "UPDATE doris.sync_table SET state = 'init' WHERE sync = $1 AND state <> 'paused'";
    elevated(|| execute(sql, &[sync.into()]));
}
