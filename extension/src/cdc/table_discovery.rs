// SPDX-License-Identifier: Apache-2.0
//! Tables that match a sync's patterns join it by themselves: at its start, and while it runs.
//!
//! Each is published on the source first and registered here second, in a transaction of its own. A table that cannot
//! be mirrored is shown as refused, with the reason, and tried again at every look.
use super::catalogue::{self, insert_table, NewTable, Sync, SyncTable};
use super::ddl_replication;
use super::mirror::{self, Wanted};
use super::session::{
    abort, as_role, caught, check_interrupts, elevated, execute, refuse, transaction, value,
};
use super::source::{literal, quoted, Source, SourceTable};
use pgrx::prelude::*;

/// Notes which registered tables were dropped, looks for tables that match and registers the new ones. No transaction is
/// open.
pub(crate) fn discover(sync: &Sync, source: &mut Source) {
    let registered = transaction(|| catalogue::tables(sync.id));
    for gone in vanished(source, &registered) {
        transaction(|| catalogue::set_gone(sync.id, gone.source));
    }
    if !sync.matching {
        return;
    }
    let found = transaction(|| candidates(sync, source));
    for table in found {
        let known = registered.iter().find(|r| r.source == table.oid);
        if known.is_some_and(|r| r.state != "refused") {
            continue;
        }
        check_interrupts();
        take(sync, source, &table);
    }
}

/// Registers a table, or why it is refused.
fn take(sync: &Sync, source: &mut Source, table: &SourceTable) {
    let taken = caught(|| {
        transaction(|| {
            table.check();
            if source.is_local() && sync.publication.is_none() {
                check_parts(sync.id, table);
            }
            publish(sync, source, table);
        });
        transaction(|| register(sync, source, table));
    });
    let Err((why, transient)) = taken else {
        log!("table {} joins sync \"{}\"", table.name(), sync.name);
        return;
    };
    abort();
    if transient {
        refuse!(
            ERRCODE_CONNECTION_FAILURE,
            format!("{}: {why}", table.name())
        );
    }
    transaction(|| {
        insert_table(
            sync.id,
            &NewTable {
                source: table.oid,
                source_name: &table.name(),
                target: pg_sys::InvalidOid,
                key: &table.key,
                key_given: false,
                refused: Some(&why),
            },
        );
    });
}

/// The tables of the source that the sync wants.
fn candidates(sync: &Sync, source: &mut Source) -> Vec<SourceTable> {
    let permitted = match (&sync.publication, source.is_local()) {
        (Some(_), false) => "pg_catalog.has_table_privilege(c.oid, 'SELECT')".to_owned(),
        (None, false) => "pg_catalog.pg_has_role(current_user, c.relowner, 'USAGE')".to_owned(),
        (_, true) => format!(
            "pg_catalog.pg_has_role({}::pg_catalog.oid, c.relowner, 'USAGE')",
            u32::from(sync.owner)
        ),
    };
    let mut condition = "c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND n.nspname !~ '^pg_' AND \
         n.nspname NOT IN ('information_schema', 'doris') AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d \
         WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e') AND "
        .to_owned();
    match &sync.publication {
        None => condition.push_str("NOT c.relispartition"),
        Some(name) => condition.push_str(&format!(
            "EXISTS (SELECT FROM pg_catalog.pg_publication_tables p WHERE p.pubname = {} \
             AND p.schemaname = n.nspname AND p.tablename = c.relname)",
            literal(name)
        )),
    }
    if source.is_local() {
        condition
            .push_str(" AND NOT EXISTS (SELECT FROM doris.sync_table t WHERE t.target = c.oid)");
    }
    let mut tables = source.tables(&permitted, &condition);
    tables.retain(|t| sync.selection.takes(&t.schema, &t.table));
    tables
}

/// Registered tables that the source no longer has.
fn vanished<'a>(source: &mut Source, registered: &'a [SyncTable]) -> Vec<&'a SyncTable> {
    let there: Vec<String> = transaction(|| {
        let list: Vec<String> = registered.iter().map(|r| r.source.to_string()).collect();
        if list.is_empty() {
            return Vec::new();
        }
        let sql = format!(
            "SELECT oid::pg_catalog.text FROM pg_catalog.pg_class WHERE oid IN ({})",
            list.join(", ")
        );
        let rows = source.rows(&sql, 1);
        rows.into_iter()
            .filter_map(|r| r.into_iter().next().flatten())
            .collect()
    });
    // Those that stream, or are about to, are left to the look at what they are made of: the stream may have more of them.
    let known = |r: &SyncTable| !matches!(r.state.as_str(), "gone" | "streaming" | "copied");
    let gone = |r: &&SyncTable| known(r) && !there.contains(&r.source.to_string());
    registered.iter().filter(gone).collect()
}

/// Adds the table to the sync's own publication. The user's is the user's.
fn publish(sync: &Sync, source: &mut Source, table: &SourceTable) {
    if sync.publication.is_none() {
        add_to_publication(sync, source, table.oid, &table.name());
    }
}

/// Adds a table to the sync's own publication if it is not in it.
pub(crate) fn add_to_publication(sync: &Sync, source: &mut Source, table: u32, name: &str) {
    let publication = sync.publication();
    let published = format!(
        "SELECT 'yes' FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid \
         WHERE p.pubname = {} AND r.prrelid = {}",
        literal(&publication),
        table
    );
    if source.value(&published).is_none() {
        source.run(&format!(
            "ALTER PUBLICATION {} ADD TABLE ONLY {}",
            quoted(&publication),
            name
        ));
    }
}

/// Makes the mirror and the entry in the catalogue.
fn register(sync: &Sync, source: &mut Source, table: &SourceTable) {
    let name = table.name();
    let settings = &sync.overrides[format!("{}.{}", table.schema, table.table)];
    let target = target_name(sync, table, settings);
    let columns = source.columns(&sync.publication(), table.oid);
    let key = match settings["key"].as_array() {
        None => source.key_of(table, &columns, sync.publication.is_none()),
        Some(list) => list
            .iter()
            .filter_map(|k| k.as_str())
            .map(str::to_owned)
            .collect(),
    };
    if let Some(missing) = key
        .iter()
        .find(|k| !columns.iter().any(|c| c.known.name == **k))
    {
        refuse!(
            ERRCODE_FEATURE_NOT_SUPPORTED,
            format!(
                "there is no column {} of the key in what is published",
                quoted(missing)
            )
        );
    }
    let method = settings["access_method"]
        .as_str()
        .or_else(|| sync.options["access_method"].as_str());
    let inherited = inherit(sync, source, &target);
    let wanted = Wanted {
        source_name: &name,
        source: source.is_local().then_some(table.oid),
        columns: &columns,
        key: &key,
        full: table.is_full(),
        access_method: method,
        model: settings["model"]
            .as_str()
            .or_else(|| sync.options["model"].as_str()),
        overwrite: inherited || sync.options["overwrite"].as_bool() == Some(true),
    };
    let mirror_owner = mirror::mirror_owner(sync.owner, wanted.source);
    if let Some(schema) = as_role(sync.owner, || make_schema(&target)) {
        catalogue::add_schema(sync.id, schema);
    }
    let oid = as_role(sync.owner, || {
        if inherited {
            mirror::refit(&target, &wanted, mirror_owner);
        }
        mirror::make(&target, &wanted, mirror_owner, sync.id)
    });
    check_free(oid, &target);
    check_is_no_mirror(source, table);
    insert_table(
        sync.id,
        &NewTable {
            source: table.oid,
            source_name: &name,
            target: oid,
            key: &key,
            key_given: settings["key"].is_array(),
            refused: None,
        },
    );
    if let Err(why) = ddl_replication::record_new(sync, source, table.oid, &columns) {
        refuse!(ERRCODE_FEATURE_NOT_SUPPORTED, why);
    }
}

/// An error if a sync would mirror both a table and a part of it: the part's changes would arrive as those of the whole.
pub(crate) fn check_parts(sync: i32, table: &SourceTable) {
    let sql = "SELECT t.source_name FROM doris.sync_table t WHERE t.sync = $1 AND t.source <> $2 \
               AND t.state NOT IN ('refused', 'gone') \
               AND (t.source IN (SELECT p.relid FROM pg_catalog.pg_partition_tree($2) p) \
               OR t.source IN (SELECT a.relid FROM pg_catalog.pg_partition_ancestors($2) a(relid)))";
    let arguments = [sync.into(), pg_sys::Oid::from(table.oid).into()];
    if let Some(other) = elevated(|| value::<String>(sql, &arguments)) {
        refuse!(
            ERRCODE_FEATURE_NOT_SUPPORTED,
            format!(
                "one sync cannot mirror both {} and {other}, as one is a part of the other",
                table.name()
            ),
            "Name another sync with the option \"sync\"."
        );
    }
}

/// The table whose mirror this one is.
fn mirrored(table: pg_sys::Oid) -> Option<String> {
    let sql = "SELECT source_name FROM doris.sync_table WHERE target = $1";
    elevated(|| value::<String>(sql, &[table.into()]))
}

/// An error if a table is a mirror already, or has one.
pub(crate) fn check_free(target: pg_sys::Oid, name: &str) {
    if let Some(other) = mirrored(target) {
        refuse!(
            ERRCODE_DUPLICATE_OBJECT,
            format!("{name} is already the mirror of {other}")
        );
    }
    let sql = "SELECT s.name FROM doris.sync_table t JOIN doris.sync s ON s.id = t.sync \
               WHERE t.source = $1 AND s.connection IS NULL AND t.state NOT IN ('refused', 'gone')";
    if let Some(sync) = elevated(|| value::<String>(sql, &[target.into()])) {
        refuse!(
            ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("{name} has a mirror itself, in sync \"{sync}\", which would not follow")
        );
    }
}

/// An error if a table of this database is a mirror: what fills it is not decoded.
pub(crate) fn check_is_no_mirror(source: &Source, table: &SourceTable) {
    if !source.is_local() {
        return;
    }
    if let Some(other) = mirrored(table.oid.into()) {
        refuse!(
            ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("{} is the mirror of {other}", table.name()),
            "Mirror that table once more, in another sync."
        );
    }
}

/// A table that was dropped and made again on the source takes over the mirror of its predecessor. True if it does.
fn inherit(sync: &Sync, source: &mut Source, target: &str) -> bool {
    let sql = "SELECT source FROM doris.sync_table WHERE sync = $1 AND target = pg_catalog.to_regclass($2)";
    let before = elevated(|| value::<pg_sys::Oid>(sql, &[sync.id.into(), target.into()]));
    let Some(before) = before else { return false };
    if source.relation_name(u32::from(before)).is_ok() {
        return false;
    }
    elevated(|| {
        execute(
            "DELETE FROM doris.sync_table WHERE sync = $1 AND source = $2",
            &[sync.id.into(), before.into()],
        )
    });
    true
}

/// The mirror's full name: as overridden, in the sync's schema for mirrors, or beside the source.
fn target_name(sync: &Sync, table: &SourceTable, settings: &serde_json::Value) -> String {
    if let Some(name) = settings["target"].as_str() {
        let parts = value::<Vec<String>>("SELECT pg_catalog.parse_ident($1)", &[name.into()])
            .unwrap_or_default();
        let parts: Vec<_> = parts.iter().map(|p| quoted(p)).collect();
        return match parts.len() {
            1 => format!("{}.{}", quoted(&table.schema), parts[0]),
            _ => parts.join("."),
        };
    }
    match (&sync.target_schema, &sync.connection) {
        (Some(schema), _) => format!(
            "{}.{}",
            quoted(&schema.replace("{schema}", &table.schema)),
            quoted(&table.table)
        ),
        (None, Some(_)) => table.name(),
        (None, None) => format!(
            "{}.{}",
            quoted(&table.schema),
            quoted(&format!("{}_mirror", table.table))
        ),
    }
}

/// Makes the schema of a mirror if there is none; which it is, if it was made.
fn make_schema(target: &str) -> Option<pg_sys::Oid> {
    let parts = value::<Vec<String>>("SELECT pg_catalog.parse_ident($1)", &[target.into()]);
    let schema = parts.and_then(|p| p.into_iter().next())?;
    let known = "SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1";
    let find = || value::<pg_sys::Oid>(known, &[schema.clone().into()]);
    if find().is_some() {
        return None;
    }
    execute(&format!("CREATE SCHEMA {}", quoted(&schema)), &[]);
    find()
}
