// SPDX-License-Identifier: Apache-2.0
//! The functions a user calls. They check and record; workers do the rest after the commit.
use super::catalogue::{self, insert_table, publication_name, slot_name, NewTable};
use super::ddl_replication;
use super::mirror::{self, Wanted};
use super::session::{changed_value, column, current_role, elevated, execute, refuse, rows, value};
use super::shared_state;
use super::source::{quoted, Source, SourceTable};
use super::table_discovery;
use pgrx::prelude::*;
use pgrx::{JsonB, PgXactCallbackEvent};
use std::cell::Cell;
use std::ffi::CString;

const OPTIONS: [&str; 4] = ["sync", "access_method", "model", "overwrite"];

thread_local! {
    /// This transaction has registered or changed a sync.
    static CHANGED_HERE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this transaction has registered or changed a sync.
pub(super) fn changed_here() -> bool {
    CHANGED_HERE.get()
}

/// Registers a mirror of `source` and returns the name of the sync that keeps it.
#[pg_extern(sql = r#"
CREATE FUNCTION doris."sync_table"(source regclass, target text DEFAULT NULL, options jsonb DEFAULT '{}')
RETURNS text LANGUAGE c SET search_path TO pg_catalog, pg_temp AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn sync_table(source: pg_sys::Oid, target: Option<String>, options: Option<JsonB>) -> String {
    let options = Options::parse(options);
    check_server();
    let source = source_table(source);
    source.check();
    let target = target_name(&source, target);
    let inherited = inherit(&target);
    let columns = Source::Local.columns("", source.oid);
    let key = Source::Local.key_of(&source, &columns, true);
    let wanted = Wanted {
        source_name: &source.name(),
        source: Some(source.oid),
        columns: &columns,
        key: &key,
        full: source.is_full(),
        access_method: options.access_method.as_deref(),
        model: options.model.as_deref(),
        overwrite: options.overwrite,
    };
    table_discovery::check_is_no_mirror(&Source::Local, &source);
    let (id, name) = find_or_add_sync(&options);
    let sync = elevated(|| catalogue::sync(id)).unwrap_or_else(|| error!("the sync is gone"));
    let mirror_owner = mirror::mirror_owner(sync.owner, wanted.source);
    if inherited && options.overwrite {
        mirror::refit(&target, &wanted, mirror_owner);
    }
    let oid = mirror::make(&target, &wanted, mirror_owner, id);
    table_discovery::check_free(oid, &target);
    publish(id, &source);
    let table = NewTable {
        source: source.oid,
        source_name: &source.name(),
        target: oid,
        key: &key,
        key_given: false,
        refused: None,
    };
    insert_table(id, &table);
    if let Err(why) = ddl_replication::record_new(&sync, &mut Source::Local, source.oid, &columns) {
        refuse!(ERRCODE_FEATURE_NOT_SUPPORTED, why);
    }
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
            "UPDATE doris.sync SET wanted = 'pause' WHERE id = $1 AND wanted = 'run'",
            &[id.into()],
        )
    });
    announce(id);
}

/// Goes on after doris.pause_sync(), from where it stopped. Tables that are paused by themselves wait for doris.resync().
#[pg_extern]
#[search_path(pg_catalog, pg_temp)]
fn resume_sync(name: &str) {
    let id = own_sync(name);
    elevated(|| {
        execute(
            "UPDATE doris.sync SET wanted = 'run', retries = 0 WHERE id = $1 AND wanted = 'pause'",
            &[id.into()],
        )
    });
    announce(id);
}

/// Fills one mirror again, or all of them with a new slot. The source is named as in doris.sync_tables, or by a name
/// that means a table of this database here and now, for which the search path is the caller's.
#[pg_extern(sql = r#"
CREATE FUNCTION doris."resync"(name text, source text DEFAULT NULL)
RETURNS void LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn resync(name: Option<String>, source: Option<String>) {
    let Some(name) = name else { return };
    let id = own_sync(&name);
    let filled = "state = 'init', snapshot = NULL, snapshot_lsn = NULL, last_error = NULL";
    let all = format!(
        "UPDATE doris.sync_table SET {filled} WHERE sync = $1 AND state NOT IN ('refused', 'gone')"
    );
    let Some(source) = source else {
        elevated(|| {
            execute(&all, &[id.into()]);
            let sql = "UPDATE doris.sync SET slot_made = false WHERE id = $1";
            execute(sql, &[id.into()]);
        });
        return announce(id);
    };
    let sql = "SELECT pg_catalog.to_regclass($1)::pg_catalog.oid";
    let local = value::<pg_sys::Oid>(sql, &[source.clone().into()]);
    let parts = "pg_catalog.parse_ident(source_name) = pg_catalog.parse_ident($2)";
    let is_local = "(SELECT connection IS NULL FROM doris.sync WHERE id = $1)";
    let one = format!("{all} AND ({parts} OR (source = $3 AND {is_local})) RETURNING 1");
    let arguments = [id.into(), source.clone().into(), local.into()];
    if elevated(|| changed_value::<i32>(&one, &arguments)).is_none() {
        refuse!(
            ERRCODE_UNDEFINED_OBJECT,
            format!("sync \"{name}\" has no mirror of {source}")
        );
    }
    announce(id);
}

/// Ends a sync: its slot, origin and publication go; the mirrors stay unless `drop_targets`. For a source that is
/// another server this goes on after the commit, until the source could be reached; `force` gives up on that.
#[pg_extern(sql = r#"
CREATE FUNCTION doris."drop_sync"(name text, drop_targets boolean DEFAULT false, force boolean DEFAULT false)
RETURNS void LANGUAGE c STRICT SET search_path TO pg_catalog, pg_temp AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn drop_sync(name: &str, drop_targets: bool, force: bool) {
    let id = own_sync(name);
    if drop_targets {
        stop_worker(id);
        for table in catalogue::tables(id) {
            if let Ok(target) = ddl_replication::relation_name(table.target) {
                execute(&format!("DROP TABLE {target}"), &[]);
            }
        }
    }
    let Some(sync) = catalogue::sync(id) else {
        return;
    };
    if sync.connection.is_some() && !force {
        elevated(|| {
            let sql = "UPDATE doris.sync SET wanted = 'drop' WHERE id = $1";
            execute(sql, &[id.into()]);
        });
        return announce(id);
    }
    if sync.connection.is_some() && sync.slot_made {
        warning!("replication slot \"{}\" stays on the source", sync.slot());
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

/// Stops the sync's worker for a moment: it locks mirrors in the order of the stream, which is nobody else's. If this
/// transaction fails, it comes back soon.
fn stop_worker(id: i32) {
    const AWAY_US: i64 = 10_000_000;
    // SAFETY: the database this session is connected to.
    let db = unsafe { u32::from(pg_sys::MyDatabaseId) };
    for _ in 0..500 {
        shared_state::update(db, id, |e| {
            e.not_before_us = e.not_before_us.max(shared_state::monotonic_us() + AWAY_US)
        });
        match shared_state::get(db, id).map_or(0, |e| e.worker_pid) {
            0 => return,
            pid => shared_state::terminate(pid),
        }
        super::session::wait(10);
    }
}

/// Ends the mirroring of one table; the mirror stays. A sync whose patterns it matches leaves it out from then on.
#[pg_extern(sql = r#"
CREATE FUNCTION doris."unsync_table"(source regclass)
RETURNS void LANGUAGE c STRICT SET search_path TO pg_catalog, pg_temp AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn unsync_table(source: pg_sys::Oid) {
    let sql = "SELECT t.sync, s.name FROM doris.sync_table t JOIN doris.sync s ON s.id = t.sync WHERE t.source = $1 AND s.connection IS NULL AND s.publication IS NULL";
    let found = elevated(|| {
        rows(sql, &[source.into()], |r| {
            (column::<i32>(r, 1), column::<String>(r, 2))
        })
    });
    // One that was dropped is known by its number only, and in no publication any more.
    let table = ddl_replication::relation_name(u32::from(source)).ok();
    if found.is_empty() {
        check_users_publication(source);
        let table = table.unwrap_or_else(|| u32::from(source).to_string());
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
            if let Some(table) = &table {
                leave_out(id, source, table);
            }
        });
        announce(id);
    }
}

/// An error if the table comes with a publication of the user's.
fn check_users_publication(source: pg_sys::Oid) {
    const SQL: &str = "SELECT pg_catalog.format('%I DROP TABLE %s', s.publication, t.source_name) FROM doris.sync_table t \
         JOIN doris.sync s ON s.id = t.sync WHERE t.source = $1 AND s.connection IS NULL AND s.publication IS NOT NULL \
         AND pg_catalog.pg_has_role($2, s.owner, 'USAGE')";
    let arguments = [source.into(), current_role().into()];
    if let Some(rest) = elevated(|| value::<String>(SQL, &arguments)) {
        refuse!(
            ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "the tables of the sync are those of a publication",
            format!("Use ALTER PUBLICATION {rest}.")
        );
    }
}

/// Takes a table out of a sync's own publication, and out of the patterns of one that tables join by themselves.
fn leave_out(id: i32, source: pg_sys::Oid, table: &str) {
    const PUBLISHED: &str =
        "SELECT true FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid \
         WHERE p.pubname = $1 AND r.prrelid = $2";
    const NAMES: &str =
        "SELECT ARRAY[n.nspname::text, c.relname::text] FROM pg_class c JOIN pg_namespace n \
         ON n.oid = c.relnamespace WHERE c.oid = $1";
    const EXCLUDE: &str = "UPDATE doris.sync SET tables = COALESCE(tables, '{}') || $2 WHERE id = $1 AND matching RETURNING true";
    let publication = publication_name(id);
    if value::<bool>(PUBLISHED, &[publication.clone().into(), source.into()]).is_some() {
        let sql = format!("ALTER PUBLICATION {publication} DROP TABLE {table}");
        execute(&sql, &[]);
    }
    let names = value::<Vec<String>>(NAMES, &[source.into()]).unwrap_or_default();
    let parts: Vec<String> = names.iter().map(|n| quoted(n)).collect();
    let pattern = format!("!{}", parts.join("."));
    let excluded = changed_value::<bool>(EXCLUDE, &[id.into(), pattern.into()]).is_some();
    if excluded && names.iter().any(|n| n.contains(['*', '?'])) {
        refuse!(
            ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("no pattern leaves out {table} and nothing else, as its name has * or ? in it"),
            "Make the sync anew with other patterns."
        );
    }
}

/// The options of a registration.
struct Options {
    sync: Option<String>,
    access_method: Option<String>,
    model: Option<String>,
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
            model: text("model"),
            overwrite: json["overwrite"].as_bool().unwrap_or(false),
        }
    }
}

/// What the server has to provide.
pub(super) fn check_server() {
    if !shared_state::exists() {
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

/// A table that was dropped and made again takes over the mirror of its predecessor, if that was the caller's.
fn inherit(target: &str) -> bool {
    let sql = "DELETE FROM doris.sync_table t USING doris.sync s WHERE s.id = t.sync AND s.connection IS NULL \
               AND t.target = pg_catalog.to_regclass($1) AND pg_catalog.pg_has_role($2, s.owner, 'USAGE') \
               AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = t.source) RETURNING t.sync";
    let arguments = [target.into(), current_role().into()];
    let sync = elevated(|| changed_value::<i32>(sql, &arguments));
    if let Some(id) = sync {
        announce(id);
    }
    sync.is_some()
}

/// The table as a source; the caller has to own it.
fn source_table(oid: pg_sys::Oid) -> SourceTable {
    let permitted = format!(
        "pg_catalog.pg_has_role({}::pg_catalog.oid, c.relowner, 'USAGE')",
        u32::from(current_role())
    );
    let found = Source::Local.tables(&permitted, &format!("c.oid = {}", u32::from(oid)));
    match found.into_iter().next() {
        Some(table) => table,
        None => refuse!(ERRCODE_UNDEFINED_TABLE, "there is no such table"),
    }
}

/// The mirror's full name.
fn target_name(source: &SourceTable, target: Option<String>) -> String {
    let Some(name) = target else {
        return format!(
            "{}.{}",
            quoted(&source.schema),
            quoted(&format!("{}_mirror", source.table))
        );
    };
    let parts = value::<Vec<String>>("SELECT parse_ident($1)", &[name.clone().into()]);
    match &parts.unwrap_or_default()[..] {
        [table] => format!("{}.{}", quoted(&source.schema), quoted(table)),
        [schema, table] => format!("{}.{}", quoted(schema), quoted(table)),
        _ => refuse!(
            ERRCODE_INVALID_NAME,
            format!("\"{name}\" is not the name of a table")
        ),
    }
}

/// The sync named in the options, or the caller's own; made if there is none. Whose a sync is called does not say whose
/// it is.
fn find_or_add_sync(options: &Options) -> (i32, String) {
    let role = current_role();
    let own = || value::<String>("SELECT 'main_' || current_user", &[]).unwrap_or_default();
    let names = match &options.sync {
        Some(name) => vec![name.clone()],
        None => vec!["main".into(), own()],
    };
    for name in &names {
        let Some((id, _)) = find_sync(name) else {
            return (add_sync(name, role), name.clone());
        };
        let mine = elevated(|| {
            value::<bool>(
                "SELECT pg_has_role($2, owner, 'USAGE') FROM doris.sync WHERE id = $1",
                &[id.into(), role.into()],
            )
        });
        if mine == Some(true) {
            return (id, name.clone());
        }
    }
    let name = names.last().map_or("", |name| name);
    refuse!(
        ERRCODE_INSUFFICIENT_PRIVILEGE,
        format!("sync \"{name}\" belongs to another role"),
        "Name another sync with the option \"sync\"."
    );
}

/// Adds a sync that nothing is known of but its name and owner, and its origin.
pub(super) fn add_sync(name: &str, role: pg_sys::Oid) -> i32 {
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
            take_place(db, id);
            elevated(|| {
                let sql = "INSERT INTO doris.sync (id, name, owner) OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3)";
                execute(sql, &[id.into(), name.into(), role.into()]);
            });
            pg_sys::replorigin_create(origin.as_ptr());
        }
        return id;
    }
}

/// Takes a place among the syncs that the server runs, which is free again if the transaction fails.
fn take_place(db: u32, id: i32) {
    // After a start of the server the shared state has to be told of its syncs; their origins are there.
    const ORIGINS: &str =
        "SELECT pg_catalog.count(*) FROM pg_catalog.pg_replication_origin WHERE roname LIKE 'pg\\_doris\\_%'";
    let origins = elevated(|| value::<i64>(ORIGINS, &[])).unwrap_or(0);
    if origins >= shared_state::SYNCS_MAX as i64 || !shared_state::take_place(db, id) {
        refuse!(
            ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
            format!(
                "a server runs no more than {} syncs",
                shared_state::SYNCS_MAX
            ),
            "One sync mirrors any number of tables: name it with the option \"sync\"."
        );
    }
    pgrx::register_xact_callback(PgXactCallbackEvent::Abort, move || {
        shared_state::give_back(db, id)
    });
    // A subtransaction may have failed: a worker finds out, and frees the place.
    pgrx::register_xact_callback(PgXactCallbackEvent::Commit, move || {
        shared_state::update(db, id, |e| e.not_before_us = 0)
    });
}

/// Adds the table to the sync's publication.
fn publish(id: i32, source: &SourceTable) {
    let publication = publication_name(id);
    let taken = "SELECT s.name FROM doris.sync_table t JOIN doris.sync s ON s.id = t.sync \
                 WHERE t.source = $1 AND s.id = $2 AND t.state <> 'refused'";
    let arguments = [pg_sys::Oid::from(source.oid).into(), id.into()];
    if let Some(name) = elevated(|| value::<String>(taken, &arguments)) {
        refuse!(
            ERRCODE_DUPLICATE_OBJECT,
            format!("the table already has a mirror in sync \"{name}\"")
        );
    }
    table_discovery::check_parts(id, source);
    let foreign = "SELECT name FROM doris.sync WHERE id = $1 AND \
                   (connection IS NOT NULL OR publication IS NOT NULL)";
    if let Some(name) = elevated(|| value::<String>(foreign, &[id.into()])) {
        refuse!(
            ERRCODE_WRONG_OBJECT_TYPE,
            format!(
                "the tables of sync \"{name}\" come from another server or another publication"
            )
        );
    }
    let table = source.name();
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
pub(super) fn find_sync(name: &str) -> Option<(i32, bool)> {
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
pub(super) fn own_sync(name: &str) -> i32 {
    let Some((id, _)) = find_sync(name) else {
        refuse!(
            ERRCODE_UNDEFINED_OBJECT,
            format!("there is no sync \"{name}\"")
        );
    };
    let role = current_role();
    let sql = "SELECT pg_catalog.pg_has_role($2, owner, 'USAGE') FROM doris.sync WHERE id = $1";
    if elevated(|| value::<bool>(sql, &[id.into(), role.into()])) != Some(true) {
        refuse!(
            ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("must be owner of sync \"{name}\"")
        );
    }
    id
}

/// Tells launcher and worker, once the transaction has committed.
pub(super) fn announce(id: i32) {
    // SAFETY: the database this session is connected to.
    let db = unsafe { u32::from(pg_sys::MyDatabaseId) };
    CHANGED_HERE.set(true);
    pgrx::register_xact_callback(PgXactCallbackEvent::Abort, || CHANGED_HERE.set(false));
    pgrx::register_xact_callback(PgXactCallbackEvent::PrePrepare, || {
        refuse!(
            ERRCODE_FEATURE_NOT_SUPPORTED,
            "cannot PREPARE a transaction that has changed a sync"
        )
    });
    pgrx::register_xact_callback(PgXactCallbackEvent::Commit, move || {
        CHANGED_HERE.set(false);
        let mut worker = 0;
        shared_state::update(db, id, |e| {
            e.generation += 1;
            e.not_before_us = 0;
            worker = e.worker_pid;
        });
        shared_state::wake(worker);
        shared_state::wake_launcher();
    });
}
