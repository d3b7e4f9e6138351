// SPDX-License-Identifier: Apache-2.0
//! The catalogue tables, read and written by name.
use super::partitions::Bounds;
use super::session::{column, elevated, execute, refuse, rows, value};
use super::source::Look;
use doris_cdc::pattern::Selection;
use doris_cdc::rewrite_detection::Files;
use doris_cdc::schema_diff::Known;
use doris_cdc::snapshot::CopySnapshot;
use doris_cdc::Lsn;
use pgrx::prelude::*;
use pgrx::JsonB;

pgrx::extension_sql_file!("../../../sql/cdc/catalogue.sql", name = "cdc_catalogue");
pgrx::extension_sql_file!(
    "../../../sql/cdc/views.sql",
    name = "cdc_views",
    requires = [
        "cdc_catalogue",
        sync_progress,
        sync_copies,
        sync_table,
        create_sync
    ]
);

/// A row of doris.sync.
#[derive(Clone, Debug)]
pub(crate) struct Sync {
    pub(crate) id: i32,
    pub(crate) name: String,
    pub(crate) owner: pg_sys::Oid,
    /// That role has been dropped.
    owner_is_gone: bool,
    pub(crate) connection: Option<String>,
    pub(crate) source_system: Option<String>,
    pub(crate) paused: bool,
    pub(crate) dropping: bool,
    pub(crate) slot_made: bool,
    /// Tables join by themselves if they are wanted.
    pub(crate) matching: bool,
    pub(crate) selection: Selection,
    /// The user's publication.
    pub(crate) publication: Option<String>,
    pub(crate) target_schema: Option<String>,
    pub(crate) overrides: serde_json::Value,
    pub(crate) options: serde_json::Value,
}

/// What the error of a sync whose owner is gone ends with.
pub(crate) const OWNERLESS: &str = "a superuser can end it with doris.drop_sync() and make it anew";

impl Sync {
    /// An error if the role whose rights the sync has is no more.
    pub(crate) fn check_owner(&self) {
        if self.owner_is_gone {
            self.refuse_ownerless();
        }
    }

    /// The error of a sync whose owner is gone.
    pub(crate) fn refuse_ownerless(&self) -> ! {
        refuse!(
            ERRCODE_UNDEFINED_OBJECT,
            format!(
                "the role that owned sync \"{}\" has been dropped: {OWNERLESS}",
                self.name
            )
        )
    }

    /// The name of the sync's slot on its source. On another server, syncs of many servers meet.
    pub(crate) fn slot(&self) -> String {
        // SAFETY: the database this process is connected to; an identifier that never changes.
        let (db, system) = unsafe {
            (
                u32::from(pg_sys::MyDatabaseId),
                pg_sys::GetSystemIdentifier(),
            )
        };
        match self.connection {
            None => slot_name(db, self.id),
            Some(_) => format!("pg_doris_{system:x}_{db}_{}", self.id),
        }
    }

    /// The name of the publication the stream is made from.
    pub(crate) fn publication(&self) -> String {
        match (&self.publication, &self.connection) {
            (Some(name), _) => name.clone(),
            (None, None) => publication_name(self.id),
            (None, Some(_)) => self.slot(),
        }
    }
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
    /// The number of the column that was made last when these were recorded.
    pub(crate) made: i16,
    /// The user has said which columns are the key.
    pub(crate) key_given: bool,
    /// What wrote the descriptions of the source's columns when the mirror was last known to have them.
    pub(crate) column_marks: Option<String>,
    /// What the source was made of when its mirror was last known to hold what the stream tells.
    pub(crate) files: Files,
    /// Of a partitioned source: what is known of its members' rows.
    pub(crate) bounds: Option<Bounds>,
}

impl SyncTable {
    /// Whether there is a mirror to fill and to keep.
    pub(crate) fn has_mirror(&self) -> bool {
        !matches!(self.state.as_str(), "refused" | "gone")
    }
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
    let sql = "SELECT name, owner, connection, source_system, wanted, slot_made, matching, \
               COALESCE(tables, '{}'), COALESCE(schemas, '{}'), publication, target_schema, overrides, options, \
               NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = owner) FROM doris.sync WHERE id = $1";
    let json = |j: Option<JsonB>| j.map_or(serde_json::Value::Null, |j| j.0);
    elevated(|| {
        rows(sql, &[id.into()], |r| {
            let wanted = column::<String>(r, 5).unwrap_or_default();
            let texts = |at| column::<Vec<String>>(r, at).unwrap_or_default();
            Sync {
                id,
                name: column(r, 1).unwrap_or_default(),
                owner: column(r, 2).unwrap_or(pg_sys::InvalidOid),
                connection: column(r, 3),
                source_system: column(r, 4),
                paused: wanted == "pause",
                dropping: wanted == "drop",
                slot_made: column(r, 6).unwrap_or(false),
                matching: column(r, 7).unwrap_or(false),
                selection: Selection::parse(&texts(8), &texts(9)).unwrap_or_else(|e| error!("{e}")),
                publication: column(r, 10),
                target_schema: column(r, 11),
                overrides: json(column(r, 12)),
                options: json(column(r, 13)),
                owner_is_gone: column(r, 14).unwrap_or(true),
            }
        })
        .pop()
    })
}

/// The tables of a sync.
pub(crate) fn tables(sync: i32) -> Vec<SyncTable> {
    select_tables(sync, None)
}

/// One of them.
pub(crate) fn table(sync: i32, source: u32) -> Option<SyncTable> {
    select_tables(sync, Some(source)).pop()
}

fn select_tables(sync: i32, source: Option<u32>) -> Vec<SyncTable> {
    let sql = "SELECT source, source_name, target, state, snapshot, (snapshot_lsn - '0/0')::bigint, columns, \
               files, marks, partitioned, published, bounds, columns_made, key_given, column_marks \
               FROM doris.sync_table WHERE sync = $1 AND ($2 IS NULL OR source = $2) ORDER BY source";
    let source = source.map(pg_sys::Oid::from);
    elevated(|| {
        rows(sql, &[sync.into(), source.into()], |r| {
            let lsn = Lsn(column::<i64>(r, 6).unwrap_or(0) as u64);
            let snapshot = column::<String>(r, 5).map(|s| CopySnapshot::parse(&s, lsn));
            let columns = column::<JsonB>(r, 7).map(|j| columns_from_json(&j.0));
            SyncTable {
                source: column::<pg_sys::Oid>(r, 1).map_or(0, u32::from),
                source_name: column(r, 2).unwrap_or_default(),
                target: column::<pg_sys::Oid>(r, 3).map_or(0, u32::from),
                state: column(r, 4).unwrap_or_default(),
                snapshot: snapshot.transpose().unwrap_or_else(|e| error!("{e}")),
                columns: columns.unwrap_or_default(),
                made: column(r, 13).unwrap_or(0),
                key_given: column(r, 14).unwrap_or(false),
                column_marks: column(r, 15),
                files: Files {
                    files: column(r, 8),
                    marks: column(r, 9),
                    partitioned: column(r, 10).unwrap_or(false),
                    published: column(r, 11),
                },
                bounds: column::<JsonB>(r, 12).map(|j| Bounds::from_json(&j.0)),
            }
        })
    })
}

/// The columns a mirror is in step with, as they are recorded.
pub(super) fn columns_from_json(json: &serde_json::Value) -> Vec<Known> {
    let read = |c: &serde_json::Value| {
        Some(Known {
            number: c["number"].as_i64()?.try_into().ok()?,
            name: c["name"].as_str()?.to_owned(),
            type_oid: c["type"].as_i64()?.try_into().ok()?,
            typmod: c["typmod"].as_i64()?.try_into().ok()?,
        })
    };
    let columns = json.as_array().into_iter().flatten();
    columns
        .map(|c| read(c).unwrap_or_else(|| error!("a recorded column cannot be read: {c}")))
        .collect()
}

pub(super) fn columns_to_json(columns: &[Known]) -> serde_json::Value {
    let json = columns.iter().map(|c| {
        serde_json::json!({"number": c.number, "name": c.name, "type": c.type_oid, "typmod": c.typmod})
    });
    json.collect()
}

/// Records the columns a mirror is in step with, of a source whose newest column has the number `made`.
pub(crate) fn set_columns(sync: i32, source: u32, columns: &[Known], made: i16) {
    let sql = "UPDATE doris.sync_table SET columns = $3, columns_made = $4 WHERE sync = $1 AND source = $2";
    let columns = JsonB(columns_to_json(columns));
    let arguments = [
        sync.into(),
        pg_sys::Oid::from(source).into(),
        columns.into(),
        made.into(),
    ];
    elevated(|| execute(sql, &arguments));
}

/// Records what a look at a source showed.
pub(crate) fn set_look(sync: i32, looked: &Look) {
    let sql = "UPDATE doris.sync_table SET files = $3, marks = $4, partitioned = $5, published = $6, leaves_out = $7 \
               WHERE sync = $1 AND source = $2";
    let files = looked.files.clone();
    let arguments = [
        sync.into(),
        pg_sys::Oid::from(looked.table).into(),
        files.files.into(),
        files.marks.into(),
        files.partitioned.into(),
        files.published.into(),
        looked.leaves_out().into(),
    ];
    elevated(|| execute(sql, &arguments));
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
        "state = CASE state WHEN 'gone' THEN state ELSE 'paused' END, last_error = $3, error_at = pg_catalog.now()",
        why.to_owned(),
    );
    warning!("mirror of table {source} is paused: {why}");
}

/// Shows that a source was dropped.
pub(crate) fn set_gone(sync: i32, source: u32) {
    let set = "state = 'gone', last_error = $3, error_at = pg_catalog.now()";
    update_table(sync, source, set, "the source has been dropped");
}

/// Shows what a sync is doing.
pub(crate) fn set_state(sync: i32, state: &str) {
    let sql = "UPDATE doris.sync SET state = $2 WHERE id = $1 AND state <> $2";
    elevated(|| execute(sql, &[sync.into(), state.into()]));
}

/// Records the reason of a failure.
pub(crate) fn set_error(sync: i32, state: &str, message: &str, retries: i32) {
    let sql = "UPDATE doris.sync SET state = CASE wanted WHEN 'drop' THEN 'dropping' ELSE $4 END, last_error = $2, \
               error_at = pg_catalog.now(), retries = $3 WHERE id = $1";
    let arguments = [sync.into(), message.into(), retries.into(), state.into()];
    elevated(|| execute(sql, &arguments));
}

/// Takes back the reason of a failure that is over.
pub(crate) fn clear_error(sync: i32) {
    let sql = "UPDATE doris.sync SET last_error = NULL, error_at = NULL, retries = 0 \
               WHERE id = $1 AND (last_error IS NOT NULL OR retries <> 0)";
    elevated(|| execute(sql, &[sync.into()]));
}

/// Records that a sync has made a schema for its mirrors.
pub(crate) fn add_schema(sync: i32, schema: pg_sys::Oid) {
    let sql = "UPDATE doris.sync SET made_schemas = made_schemas || $2 WHERE id = $1";
    elevated(|| execute(sql, &[sync.into(), schema.into()]));
}

/// Records that the slot exists and that all tables are to be filled from it.
pub(crate) fn set_slot_made(sync: i32, made: bool) {
    let sql = "UPDATE doris.sync SET slot_made = $2 WHERE id = $1";
    elevated(|| execute(sql, &[sync.into(), made.into()]));
}

/// A table to be mirrored.
pub(crate) struct NewTable<'a> {
    pub(crate) source: u32,
    pub(crate) source_name: &'a str,
    pub(crate) target: pg_sys::Oid,
    pub(crate) key: &'a [String],
    /// The key is the user's choice.
    pub(crate) key_given: bool,
    /// Why it cannot be, if it cannot.
    pub(crate) refused: Option<&'a str>,
}

/// Registers a table; one that was refused before is tried again.
pub(crate) fn insert_table(sync: i32, table: &NewTable<'_>) {
    let sql = "INSERT INTO doris.sync_table AS t (sync, source, source_name, target, key_columns, key_given, state, last_error, error_at) \
               VALUES ($1, $2, $3, COALESCE($4, 0::pg_catalog.oid), $5, $7, CASE WHEN $6 IS NULL THEN 'init' ELSE 'refused' END, $6, \
               CASE WHEN $6 IS NOT NULL THEN pg_catalog.now() END) \
               ON CONFLICT (sync, source) DO UPDATE SET source_name = excluded.source_name, target = excluded.target, \
               key_columns = excluded.key_columns, key_given = excluded.key_given, state = excluded.state, last_error = excluded.last_error, \
               error_at = excluded.error_at WHERE t.state = 'refused' AND \
               (t.last_error, t.source_name) IS DISTINCT FROM (excluded.last_error, excluded.source_name)";
    let arguments = [
        sync.into(),
        pg_sys::Oid::from(table.source).into(),
        table.source_name.to_owned().into(),
        table.target.into(),
        table.key.to_vec().into(),
        table.refused.map(str::to_owned).into(),
        table.key_given.into(),
    ];
    elevated(|| execute(sql, &arguments));
}

/// When the stream begins at `from`: tables whose copies ended without a worker to take them over are copied again, as
/// nothing was put aside for them. (The snapshot's position does not tell whether the stream has passed a copy: a
/// transaction that committed just before it may not be in the snapshot.)
pub(crate) fn settle_copied(sync: i32, from: Lsn) {
    let sql = "UPDATE doris.sync_table SET state = 'init' WHERE sync = $1 AND state = 'copied' \
               AND $2::pg_catalog.pg_lsn IS NOT NULL";
    elevated(|| execute(sql, &[sync.into(), from.to_string().into()]));
}

/// Has a mirror filled again.
pub(crate) fn refill(sync: i32, source: u32) {
    let sql = "UPDATE doris.sync_table SET state = 'init' WHERE sync = $1 AND source = $2 AND state = 'streaming'";
    elevated(|| execute(sql, &[sync.into(), pg_sys::Oid::from(source).into()]));
}

/// Marks every table that is not paused as one to be filled.
pub(crate) fn refill_all(sync: i32) {
    let sql = "UPDATE doris.sync_table SET state = 'init' WHERE sync = $1 AND state NOT IN ('paused', 'refused', 'gone')";
    elevated(|| execute(sql, &[sync.into()]));
}
