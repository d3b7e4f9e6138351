// SPDX-License-Identifier: Apache-2.0
//! The functions a user calls. They check and record; workers do the rest after the commit.
use super::board;
use super::catalogue::{self, publication_name, slot_name};
use super::follow;
use super::session::{changed_value, column, current_role, elevated, execute, rows, value};
use pgrx::datum::Interval;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use pgrx::{JsonB, PgXactCallbackEvent};
use std::cell::Cell;
use std::ffi::CString;

const OPTIONS: [&str; 3] = ["sync", "access_method", "overwrite"];

thread_local! {
    /// This transaction has registered or changed a sync.
    static CHANGED_HERE: Cell<bool> = const { Cell::new(false) };
}

macro_rules! refuse {
    ($code:ident, $message:expr) => {
        refuse(PgSqlErrorCode::$code, $message.into(), None)
    };
    ($code:ident, $message:expr, $hint:expr) => {
        refuse(PgSqlErrorCode::$code, $message.into(), Some($hint.into()))
    };
}

fn refuse(code: PgSqlErrorCode, message: String, hint: Option<String>) -> ! {
    let mut report = ErrorReport::new(code, message, pgrx::function_name!());
    if let Some(hint) = hint {
        report = report.set_hint(hint);
    }
    report.report(PgLogLevel::ERROR);
    unreachable!("an error does not return")
}

/// Registers a mirror of `source` and returns the name of the sync that keeps it.
#[pg_extern(sql = r#"
CREATE FUNCTION doris."sync_table"(source regclass, target text DEFAULT NULL, options jsonb DEFAULT '{}')
RETURNS text LANGUAGE c SET search_path TO pg_catalog, pg_temp AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn sync_table(source: pg_sys::Oid, target: Option<String>, options: Option<JsonB>) -> String {
    let options = Options::parse(options);
    check_server();
    let source = Source::check(source);
    let target = mirror_table(&source, target, &options);
    let (id, name) = find_or_add_sync(&options);
    publish(id, source.oid);
    let sql = "INSERT INTO doris.sync_table (sync, source, source_name, target, key_columns) \
               VALUES ($1, $2, $3, $4::pg_catalog.regclass, $5)";
    let arguments = [
        id.into(),
        source.oid.into(),
        source.name.clone().into(),
        target.into(),
        source.key.clone().into(),
    ];
    elevated(|| execute(sql, &arguments));
    follow::record_source(id, u32::from(source.oid));
    announce(id);
    name
}

/// Stops applying until doris.resume(); the source keeps its WAL meanwhile.
#[pg_extern]
#[search_path(pg_catalog, pg_temp)]
fn pause_sync(name: &str) {
    let id = own_sync(name);
    elevated(|| {
        execute(
            "UPDATE doris.sync SET wanted = 'pause' WHERE id = $1",
            &[id.into()],
        )
    });
    announce(id);
}

/// Goes on after doris.pause_sync(), from where it stopped. Paused tables are filled again.
#[pg_extern]
#[search_path(pg_catalog, pg_temp)]
fn resume_sync(name: &str) {
    let id = own_sync(name);
    elevated(|| {
        execute(
            "UPDATE doris.sync SET wanted = 'run', retries = 0 WHERE id = $1",
            &[id.into()],
        )
    });
    announce(id);
}

/// Fills one mirror again, or all of them with a new slot.
#[pg_extern(sql = r#"
CREATE FUNCTION doris."resync"(name text, source regclass DEFAULT NULL)
RETURNS void LANGUAGE c SET search_path TO pg_catalog, pg_temp AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn resync(name: Option<String>, source: Option<pg_sys::Oid>) {
    let Some(name) = name else { return };
    let id = own_sync(&name);
    let sql = "UPDATE doris.sync_table SET state = 'init', snapshot = NULL, snapshot_lsn = NULL, last_error = NULL \
               WHERE sync = $1 AND ($2 IS NULL OR source = $2)";
    elevated(|| {
        execute(sql, &[id.into(), source.into()]);
        if source.is_none() {
            execute(
                "UPDATE doris.sync SET slot_made = false WHERE id = $1",
                &[id.into()],
            );
        }
    });
    announce(id);
}

/// Ends a sync: its slot, origin and publication go; the mirrors stay unless `drop_targets`.
#[pg_extern(sql = r#"
CREATE FUNCTION doris."drop_sync"(name text, drop_targets boolean DEFAULT false)
RETURNS void LANGUAGE c STRICT SET search_path TO pg_catalog, pg_temp AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn drop_sync(name: &str, drop_targets: bool) {
    let id = own_sync(name);
    if drop_targets {
        for table in catalogue::tables(id) {
            if let Ok(target) = follow::relation_name(table.target) {
                execute(&format!("DROP TABLE {target}"), &[]);
            }
        }
    }
    elevated(|| {
        execute("DELETE FROM doris.sync WHERE id = $1", &[id.into()]);
        execute(
            &format!("DROP PUBLICATION IF EXISTS {}", publication_name(id)),
            &[],
        );
    });
    announce(id);
}

/// Ends the mirroring of one table; the mirror stays.
#[pg_extern(sql = r#"
CREATE FUNCTION doris."unsync_table"(source regclass)
RETURNS void LANGUAGE c STRICT SET search_path TO pg_catalog, pg_temp AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn unsync_table(source: pg_sys::Oid) {
    let sql = "SELECT t.sync, s.name FROM doris.sync_table t JOIN doris.sync s ON s.id = t.sync WHERE t.source = $1";
    let found = elevated(|| {
        rows(sql, &[source.into()], |r| {
            (column::<i32>(r, 1), column::<String>(r, 2))
        })
    });
    let Ok(table) = follow::relation_name(u32::from(source)) else {
        return;
    };
    if found.is_empty() {
        refuse!(
            ERRCODE_UNDEFINED_OBJECT,
            format!("table {table} has no mirror")
        );
    }
    for (id, name) in found {
        let (id, name) = (id.unwrap_or(0), name.unwrap_or_default());
        own_sync(&name);
        elevated(|| {
            execute(
                "DELETE FROM doris.sync_table WHERE sync = $1 AND source = $2",
                &[id.into(), source.into()],
            );
            execute(
                &format!(
                    "ALTER PUBLICATION {} DROP TABLE {table}",
                    publication_name(id)
                ),
                &[],
            );
        });
        announce(id);
    }
}

/// Waits until the mirrors of a sync show everything up to `lsn`: by default all that is committed now.
#[pg_extern(sql = r#"
CREATE FUNCTION doris."wait_for_sync"(name text, lsn pg_lsn DEFAULT NULL, timeout interval DEFAULT '30 s')
RETURNS void LANGUAGE c SET search_path TO pg_catalog, pg_temp AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn wait_for_sync(name: Option<String>, lsn: Option<i64>, timeout: Option<Interval>) {
    let Some(name) = name else { return };
    if CHANGED_HERE.get() {
        refuse!(
            ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "this transaction has changed a sync, which happens only after its commit",
            "Wait in a transaction of its own."
        );
    }
    let Some((id, paused)) = find_sync(&name) else {
        refuse!(
            ERRCODE_UNDEFINED_OBJECT,
            format!("there is no sync \"{name}\"")
        );
    };
    if paused {
        refuse!(
            ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("sync \"{name}\" is paused")
        );
    }
    // SAFETY: this session's own last commit; the database it is connected to.
    let (wanted, db) = unsafe {
        if pg_sys::XactLastCommitEnd != 0 {
            pg_sys::XLogFlush(pg_sys::XactLastCommitEnd);
        }
        let now = pg_sys::GetFlushRecPtr(std::ptr::null_mut());
        (
            lsn.map_or(now, |l| l as u64),
            u32::from(pg_sys::MyDatabaseId),
        )
    };
    let limit = timeout.map_or(30_000_000, |t| t.as_micros() as i64);
    let until = board::now_us().saturating_add(limit);
    let mut pause = 1;
    loop {
        let entry = board::get(db, id).unwrap_or_default();
        if entry.seen == entry.generation + 1 && entry.to_fill == 0 && entry.applied >= wanted {
            return;
        }
        if board::now_us() >= until {
            let why = elevated(|| {
                value::<String>(
                    "SELECT last_error FROM doris.sync WHERE id = $1",
                    &[id.into()],
                )
            });
            refuse!(
                ERRCODE_QUERY_CANCELED,
                format!(
                    "sync \"{name}\" has not reached {} in time",
                    doris_cdc::Lsn(wanted)
                ),
                why.unwrap_or_else(|| format!("It is at {}.", doris_cdc::Lsn(entry.applied)))
            );
        }
        super::session::wait(pause);
        pause = (pause + 1).min(10);
    }
}

/// How far the syncs of this database are.
#[pg_extern(sql = r#"
CREATE FUNCTION doris."sync_progress"(OUT sync int, OUT worker_pid int, OUT received_lsn pg_lsn,
    OUT applied_lsn pg_lsn, OUT flushed_lsn pg_lsn, OUT last_commit_at timestamptz, OUT applied_at timestamptz,
    OUT rows_applied bigint, OUT transactions_applied bigint, OUT batches_applied bigint)
RETURNS SETOF record LANGUAGE c STRICT AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
#[allow(clippy::type_complexity)]
fn sync_progress() -> TableIterator<
    'static,
    (
        name!(sync, i32),
        name!(worker_pid, Option<i32>),
        name!(received_lsn, Option<i64>),
        name!(applied_lsn, Option<i64>),
        name!(flushed_lsn, Option<i64>),
        name!(last_commit_at, Option<TimestampWithTimeZone>),
        name!(applied_at, Option<TimestampWithTimeZone>),
        name!(rows_applied, i64),
        name!(transactions_applied, i64),
        name!(batches_applied, i64),
    ),
> {
    let mut out = Vec::new();
    if board::exists() {
        // SAFETY: the database this session is connected to.
        let db = unsafe { u32::from(pg_sys::MyDatabaseId) };
        let positive = |n: u64| Some(n as i64).filter(|n| *n != 0);
        let time = |us: i64| TimestampWithTimeZone::try_from(us).ok().filter(|_| us != 0);
        for e in board::read(|b| b.entries)
            .iter()
            .filter(|e| e.sync != 0 && e.db == db)
        {
            out.push((
                e.sync,
                Some(e.worker_pid).filter(|p| *p != 0),
                positive(e.received),
                positive(e.applied),
                positive(e.flushed),
                time(e.commit_us),
                time(e.applied_us),
                e.rows,
                e.transactions,
                e.batches,
            ));
        }
    }
    TableIterator::new(out)
}

/// The options of a registration.
struct Options {
    sync: Option<String>,
    access_method: Option<String>,
    overwrite: bool,
}

impl Options {
    fn parse(options: Option<JsonB>) -> Self {
        let json = options.map_or(serde_json::Value::Null, |j| j.0);
        for key in json.as_object().into_iter().flat_map(|o| o.keys()) {
            if !OPTIONS.contains(&key.as_str()) {
                refuse!(
                    ERRCODE_INVALID_PARAMETER_VALUE,
                    format!("unknown option \"{key}\""),
                    format!("Options are {}.", OPTIONS.join(", "))
                );
            }
        }
        let text = |name: &str| json[name].as_str().map(str::to_owned);
        Options {
            sync: text("sync"),
            access_method: text("access_method"),
            overwrite: json["overwrite"].as_bool().unwrap_or(false),
        }
    }
}

/// What the server has to provide.
fn check_server() {
    if !board::exists() {
        refuse!(
            ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "pg_doris has to be preloaded to mirror tables",
            "Add pg_doris to shared_preload_libraries and restart the server."
        );
    }
    // SAFETY: settings of the server, read only.
    let (level, slots) = unsafe { (pg_sys::wal_level, pg_sys::max_replication_slots) };
    if (level as u32) < pg_sys::WalLevel::WAL_LEVEL_LOGICAL {
        refuse!(
            ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "mirrors need wal_level = logical",
            "Set wal_level = logical and restart the server."
        );
    }
    if slots == 0 {
        refuse!(
            ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "mirrors need a replication slot",
            "Set max_replication_slots above 0 and restart the server."
        );
    }
}

/// A table that can be mirrored.
struct Source {
    oid: pg_sys::Oid,
    name: String,
    schema: String,
    table: String,
    key: Vec<String>,
}

impl Source {
    fn check(oid: pg_sys::Oid) -> Self {
        let sql = "SELECT n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text, \
                   c.relreplident::text, pg_has_role(current_user, c.relowner, 'USAGE'), \
                   ARRAY(SELECT a.attname::text FROM pg_index i, unnest(i.indkey[0:i.indnkeyatts - 1]) \
                     WITH ORDINALITY k(number, at) JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number \
                     WHERE i.indrelid = c.oid AND i.indisvalid AND \
                       CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END ORDER BY k.at) \
                   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1";
        let found = rows(sql, &[oid.into()], |r| {
            let texts: Vec<String> = (1..=5)
                .map(|i| column::<String>(r, i).unwrap_or_default())
                .collect();
            (
                texts,
                column::<bool>(r, 6).unwrap_or(false),
                column::<Vec<String>>(r, 7).unwrap_or_default(),
            )
        });
        let Some((texts, own, key)) = found.into_iter().next() else {
            refuse!(ERRCODE_UNDEFINED_TABLE, "there is no such table");
        };
        let [schema, table, kind, persistence, identity] = &texts[..] else {
            error!("unexpected row")
        };
        let name = format!("{}.{}", follow::quoted(schema), follow::quoted(table));
        if !matches!(kind.as_str(), "r" | "p") {
            refuse!(ERRCODE_WRONG_OBJECT_TYPE, format!("{name} is not a table"));
        }
        if persistence != "p" {
            refuse!(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("{name} is temporary or unlogged: its rows are not in the WAL")
            );
        }
        if !own {
            refuse!(
                ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!("must be owner of table {name}")
            );
        }
        let identified =
            identity == "f" || (matches!(identity.as_str(), "d" | "i") && !key.is_empty());
        if !identified {
            refuse!(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("{name} has nothing that identifies its rows in the WAL"),
                format!("Add a primary key, or use ALTER TABLE {name} REPLICA IDENTITY FULL.")
            );
        }
        Source {
            oid,
            name,
            schema: schema.clone(),
            table: table.clone(),
            key,
        }
    }
}

/// The mirror's full name; makes the table with the caller's rights if there is none.
fn mirror_table(source: &Source, target: Option<String>, options: &Options) -> String {
    let target = match target {
        None => format!(
            "{}.{}",
            follow::quoted(&source.schema),
            follow::quoted(&format!("{}_mirror", source.table))
        ),
        Some(name) => {
            let parts = value::<Vec<String>>("SELECT parse_ident($1)", &[name.clone().into()])
                .unwrap_or_default();
            match &parts[..] {
                [table] => format!(
                    "{}.{}",
                    follow::quoted(&source.schema),
                    follow::quoted(table)
                ),
                [schema, table] => format!("{}.{}", follow::quoted(schema), follow::quoted(table)),
                _ => refuse!(
                    ERRCODE_INVALID_NAME,
                    format!("\"{name}\" is not the name of a table")
                ),
            }
        }
    };
    let existing = value::<pg_sys::Oid>("SELECT to_regclass($1)::oid", &[target.clone().into()]);
    if let Some(oid) = existing {
        check_existing(oid, &target, source, options);
        return target;
    }
    let method = options.access_method.clone().unwrap_or_else(|| {
        let sql = "SELECT amname::text FROM pg_am WHERE amname = 'doris' AND amtype = 't'";
        value::<String>(sql, &[]).unwrap_or_else(|| "heap".into())
    });
    let key: Vec<_> = source.key.iter().map(|k| follow::quoted(k)).collect();
    let key = if key.is_empty() {
        String::new()
    } else {
        format!(", PRIMARY KEY ({})", key.join(", "))
    };
    let method = follow::quoted(&method);
    execute(
        &format!(
            "CREATE TABLE {target} (LIKE {} INCLUDING GENERATED{key}) USING {method}",
            source.name
        ),
        &[],
    );
    target
}

/// A table that exists becomes a mirror if it is the caller's, has the columns, and may be emptied.
fn check_existing(oid: pg_sys::Oid, target: &str, source: &Source, options: &Options) {
    let own = "SELECT pg_has_role(current_user, relowner, 'USAGE') FROM pg_class WHERE oid = $1";
    if oid == source.oid {
        refuse!(
            ERRCODE_INVALID_PARAMETER_VALUE,
            "a table cannot be its own mirror"
        );
    }
    if !value::<bool>(own, &[oid.into()]).unwrap_or(false) {
        refuse!(
            ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("must be owner of table {target}")
        );
    }
    let sql = "SELECT string_agg(s.attname, ', ') FROM pg_attribute s WHERE s.attrelid = $1 AND s.attnum > 0 AND \
               NOT s.attisdropped AND s.attgenerated = '' AND NOT EXISTS (SELECT FROM pg_attribute t WHERE \
               t.attrelid = $2 AND t.attname = s.attname AND t.atttypid = s.atttypid AND NOT t.attisdropped)";
    if let Some(missing) = value::<String>(sql, &[source.oid.into(), oid.into()]) {
        refuse!(
            ERRCODE_DATATYPE_MISMATCH,
            format!("{target} lacks columns of {}: {missing}", source.name)
        );
    }
    if !options.overwrite
        && value::<bool>(&format!("SELECT EXISTS (SELECT FROM {target})"), &[]) == Some(true)
    {
        refuse!(
            ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("{target} is not empty"),
            "Use the option {\"overwrite\": true} to replace its rows."
        );
    }
}

/// The sync named in the options, or the caller's own; made if there is none.
fn find_or_add_sync(options: &Options) -> (i32, String) {
    let role = current_role();
    let name = options.sync.clone().unwrap_or_else(|| "main".into());
    if let Some((id, _)) = find_sync(&name) {
        let mine = elevated(|| {
            value::<bool>(
                "SELECT pg_has_role($2, owner, 'USAGE') FROM doris.sync WHERE id = $1",
                &[id.into(), role.into()],
            )
        });
        if mine == Some(true) {
            return (id, name);
        }
        if options.sync.is_some() {
            refuse!(
                ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!("sync \"{name}\" belongs to another role")
            );
        }
        let own = value::<String>("SELECT 'main_' || current_user", &[]).unwrap_or_default();
        return match find_sync(&own) {
            Some((id, _)) => (id, own),
            None => (add_sync(&own, role), own),
        };
    }
    (add_sync(&name, role), name)
}

fn add_sync(name: &str, role: pg_sys::Oid) -> i32 {
    // SAFETY: the database this session is connected to.
    let db = unsafe { u32::from(pg_sys::MyDatabaseId) };
    loop {
        let next =
            "SELECT pg_catalog.nextval(pg_catalog.pg_get_serial_sequence('doris.sync', 'id'))::int";
        let id = elevated(|| changed_value::<i32>(next, &[])).unwrap_or(0);
        let origin = CString::new(slot_name(db, id)).unwrap_or_default();
        // SAFETY: the origin goes if the transaction does.
        unsafe {
            // An earlier installation of the extension may have left a sync that is still being removed.
            if pg_sys::replorigin_by_name(origin.as_ptr(), true) != 0 {
                continue;
            }
            catalogue::insert_sync(id, name, role, JsonB(serde_json::json!({})));
            pg_sys::replorigin_create(origin.as_ptr());
        }
        return id;
    }
}

/// Adds the table to the sync's publication.
fn publish(id: i32, source: pg_sys::Oid) {
    let publication = publication_name(id);
    let taken = "SELECT s.name FROM doris.sync_table t JOIN doris.sync s ON s.id = t.sync WHERE t.source = $1 AND s.id = $2";
    if let Some(name) = elevated(|| value::<String>(taken, &[source.into(), id.into()])) {
        refuse!(
            ERRCODE_DUPLICATE_OBJECT,
            format!("the table already has a mirror in sync \"{name}\"")
        );
    }
    let table = follow::relation_name(u32::from(source)).unwrap_or_else(|e| error!("{e}"));
    elevated(|| {
        let known = "SELECT true FROM pg_publication WHERE pubname = $1";
        if value::<bool>(known, &[publication.clone().into()]).is_some() {
            execute(
                &format!("ALTER PUBLICATION {publication} ADD TABLE ONLY {table}"),
                &[],
            );
        } else {
            let sql = format!(
                "CREATE PUBLICATION {publication} FOR TABLE ONLY {table} WITH (publish_via_partition_root = true)"
            );
            execute(&sql, &[]);
        }
    });
}

/// A sync's id and whether it is paused.
fn find_sync(name: &str) -> Option<(i32, bool)> {
    let sql = "SELECT id, wanted = 'pause' FROM doris.sync WHERE name = $1";
    let read = |r: &pgrx::spi::SpiHeapTupleData<'_>| {
        (
            column::<i32>(r, 1).unwrap_or(0),
            column(r, 2).unwrap_or(false),
        )
    };
    elevated(|| rows(sql, &[name.into()], read)).pop()
}

/// The id of a sync the caller may change.
fn own_sync(name: &str) -> i32 {
    let Some((id, _)) = find_sync(name) else {
        refuse!(
            ERRCODE_UNDEFINED_OBJECT,
            format!("there is no sync \"{name}\"")
        );
    };
    let role = current_role();
    let sql = "SELECT pg_has_role($2, owner, 'USAGE') FROM doris.sync WHERE id = $1";
    if elevated(|| value::<bool>(sql, &[id.into(), role.into()])) != Some(true) {
        refuse!(
            ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("must be owner of sync \"{name}\"")
        );
    }
    id
}

/// Tells launcher and worker, once the transaction has committed.
fn announce(id: i32) {
    // SAFETY: the database this session is connected to.
    let db = unsafe { u32::from(pg_sys::MyDatabaseId) };
    CHANGED_HERE.set(true);
    pgrx::register_xact_callback(PgXactCallbackEvent::Abort, || CHANGED_HERE.set(false));
    pgrx::register_xact_callback(PgXactCallbackEvent::Commit, move || {
        CHANGED_HERE.set(false);
        let mut worker = 0;
        board::update(db, id, |e| {
            e.generation += 1;
            e.not_before_us = 0;
            worker = e.worker_pid;
        });
        board::wake(worker);
        board::wake_launcher();
    });
}
