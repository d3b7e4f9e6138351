// SPDX-License-Identifier: Apache-2.0
//! `doris.create_sync`: many tables at once, of this database or of another server. Checks and records; the worker
//! connects, makes slot and publication, and lets the tables join.
use super::catalogue;
use super::remote_shell::check_conninfo;
use super::session::{current_role, elevated, execute, refuse};
use super::source::Source;
use super::sql_functions::{add_sync, announce, check_server, find_sync};
use doris_cdc::pattern::Selection;
use pgrx::prelude::*;
use pgrx::JsonB;

const OPTIONS: [&str; 4] = ["access_method", "model", "overwrite", "connect"];
const OVERRIDES: [&str; 4] = ["target", "key", "access_method", "model"];

/// Creates a sync of all tables that match, now and later, and returns its name.
#[pg_extern(sql = r#"
CREATE FUNCTION doris."create_sync"(name text, connection text DEFAULT NULL, tables text[] DEFAULT NULL,
    schemas text[] DEFAULT NULL, publication text DEFAULT NULL, target_schema text DEFAULT NULL,
    overrides jsonb DEFAULT '{}', options jsonb DEFAULT '{}')
RETURNS text LANGUAGE c SET search_path TO pg_catalog, pg_temp AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
#[allow(clippy::too_many_arguments)]
fn create_sync(
    name: Option<String>,
    connection: Option<String>,
    tables: Option<Vec<String>>,
    schemas: Option<Vec<String>>,
    publication: Option<String>,
    target_schema: Option<String>,
    overrides: Option<JsonB>,
    options: Option<JsonB>,
) -> String {
    let Some(name) = name.filter(|n| !n.is_empty()) else {
        refuse!(ERRCODE_NULL_VALUE_NOT_ALLOWED, "a sync needs a name");
    };
    let object = |json: Option<JsonB>| json.map_or(serde_json::json!({}), |j| j.0);
    let (overrides, options) = (object(overrides), object(options));
    check_keys(&options, &OPTIONS, "option");
    check_overrides(&overrides);
    let (none, nothing) = (Vec::new(), Vec::new());
    let selection = Selection::parse(
        tables.as_ref().unwrap_or(&none),
        schemas.as_ref().unwrap_or(&nothing),
    );
    if let Err(e) = selection {
        refuse!(
            ERRCODE_INVALID_NAME,
            e.to_string(),
            "Patterns are names with * and ?, maybe with a schema before a dot, and with ! to leave out what matches."
        );
    }
    check_server();
    if find_sync(&name).is_some() {
        refuse!(
            ERRCODE_DUPLICATE_OBJECT,
            format!("there is a sync \"{name}\" already")
        );
    }
    if let Some(conninfo) = &connection {
        check_remote(conninfo);
    }
    let id = add_sync(&name, current_role());
    let sql =
        "UPDATE doris.sync SET connection = $2, tables = $3, schemas = $4, publication = $5, \
               target_schema = $6, overrides = $7, options = $8, matching = true WHERE id = $1";
    let connect = options["connect"].as_bool() != Some(false);
    let arguments = [
        id.into(),
        connection.clone().into(),
        tables.into(),
        schemas.into(),
        publication.into(),
        target_schema.into(),
        JsonB(overrides).into(),
        JsonB(options).into(),
    ];
    elevated(|| execute(sql, &arguments));
    if connection.is_some() && connect {
        // Mistakes in the connection are told here; whatever goes wrong later is in doris.syncs.
        let sync = catalogue::sync(id).unwrap_or_else(|| error!("the sync is gone"));
        Source::open(&sync).check_server();
    }
    announce(id);
    name
}

/// The server connects with its own identity, password files and certificates.
fn check_remote(conninfo: &str) {
    // SAFETY: looks at the current user.
    if !unsafe { pg_sys::superuser() } {
        refuse!(
            ERRCODE_INSUFFICIENT_PRIVILEGE,
            "only a superuser may make the server connect to another one",
            "A superuser can create the sync; it runs with the rights of its owner."
        );
    }
    check_conninfo(conninfo);
}

fn check_keys(json: &serde_json::Value, known: &[&str], what: &str) {
    let Some(object) = json.as_object() else {
        refuse!(
            ERRCODE_INVALID_PARAMETER_VALUE,
            format!("{what}s have to be a JSON object")
        );
    };
    for key in object.keys() {
        if !known.contains(&key.as_str()) {
            refuse!(
                ERRCODE_INVALID_PARAMETER_VALUE,
                format!("unknown {what} \"{key}\""),
                format!("Known are {}.", known.join(", "))
            );
        }
    }
}

/// Overrides are by table: `{"schema.table": {"target": ..., "key": [...], "access_method": ...}}`.
fn check_overrides(json: &serde_json::Value) {
    let Some(object) = json.as_object() else {
        refuse!(
            ERRCODE_INVALID_PARAMETER_VALUE,
            "overrides have to be a JSON object"
        );
    };
    for settings in object.values() {
        check_keys(settings, &OVERRIDES, "override");
    }
}
