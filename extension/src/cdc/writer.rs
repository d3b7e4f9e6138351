// SPDX-License-Identifier: Apache-2.0
//! The role that writes to a mirror: its owner.
//!
//! What belongs to a table runs when the table is written to: triggers, functions in generated columns and indexes, checks
//! of domains. In a mirror all of that is its owner's, so that it is the owner's rights that it runs with, whoever made the
//! sync. A superuser's sync makes the mirror of a table for the role that owns the table.
use super::catalogue::{Sync, SyncTable};
use super::relation_shell::schema_problem;
use super::session::{column, elevated, rows, value};
use pgrx::prelude::*;

/// The owner of a mirror, or why nothing is to be written to it. A transaction and a snapshot are open.
pub(crate) fn writer(sync: &Sync, table: &SyncTable) -> Result<pg_sys::Oid, String> {
    with_types(sync, table, Vec::new())
}

/// As `writer`, for a mirror that is about to have columns of these types, too.
pub(crate) fn with_types(
    sync: &Sync,
    table: &SyncTable,
    types: Vec<String>,
) -> Result<pg_sys::Oid, String> {
    const SQL: &str = "SELECT t.relowner, t.relpersistence = 'p', pg_has_role(o.oid, t.relowner, 'USAGE'), o.rolsuper, w.rolsuper, \
         c.relowner, pg_has_role(o.oid, c.relowner, 'USAGE'), a.rolsuper \
         FROM pg_class t JOIN pg_roles w ON w.oid = t.relowner LEFT JOIN pg_roles o ON o.oid = $2 \
         LEFT JOIN pg_class c ON c.oid = $3 LEFT JOIN pg_roles a ON a.oid = c.relowner WHERE t.oid = $1";
    let source = match sync.connection {
        None => pg_sys::Oid::from(table.source),
        Some(_) => pg_sys::InvalidOid,
    };
    let target = pg_sys::Oid::from(table.target);
    let found = elevated(|| {
        rows(
            SQL,
            &[target.into(), sync.owner.into(), source.into()],
            |r| {
                let flag = |at| column::<bool>(r, at);
                let owners = (column::<pg_sys::Oid>(r, 1), column::<pg_sys::Oid>(r, 6));
                (
                    owners,
                    [flag(2), flag(3), flag(4), flag(5), flag(7), flag(8)],
                )
            },
        )
    });
    let Some(((Some(owner), sources_owner), flags)) = found.into_iter().next() else {
        return Err("the mirror has been dropped".into());
    };
    let [permanent, may_write, sync_is_super, is_super, may_read, source_is_super] = flags;
    let Some(sync_is_super) = sync_is_super else {
        // That is no table's fault: the worker ends, and the next one says so of the sync.
        sync.refuse_ownerless();
    };
    if permanent != Some(true) {
        return Err("the mirror is temporary or unlogged: a crash would empty it".into());
    }
    if may_read == Some(false) {
        return Err("the source belongs to another role than the sync".into());
    }
    let is_theirs = owner == sync.owner || sources_owner == Some(owner);
    if !is_theirs && (sync_is_super || may_write != Some(true)) {
        return Err(
            "the mirror belongs neither to the owner of its source nor to that of the sync".into(),
        );
    }
    if is_super == Some(true) && source_is_super == Some(false) {
        return Err(
            "the mirror belongs to a superuser and its source does not: give it to the source's owner".into(),
        );
    }
    if is_super == Some(true) && source_is_super.is_none() {
        check_code(target, types)?;
    }
    match schema_problem(table.target, owner, "the mirror") {
        None => Ok(owner),
        Some(why) => Err(why),
    }
}

/// An error if writing to a superuser's mirror of a table of another server runs what belongs to somebody else: functions,
/// or types, to which their owners add what they like.
pub(crate) fn check_code(target: pg_sys::Oid, types: Vec<String>) -> Result<(), String> {
    const SQL: &str = "WITH RECURSIVE types(oid) AS (SELECT atttypid FROM pg_attribute \
         WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped \
         UNION SELECT to_regtype(name)::oid FROM unnest($2) name UNION SELECT x.oid FROM types y JOIN pg_type t ON t.oid = y.oid \
         CROSS JOIN LATERAL (SELECT t.typelem WHERE t.typelem <> 0 UNION ALL SELECT t.typbasetype WHERE t.typbasetype <> 0 \
         UNION ALL SELECT r.rngsubtype FROM pg_range r WHERE t.oid IN (r.rngtypid, r.rngmultitypid) \
         UNION ALL SELECT a.atttypid FROM pg_attribute a WHERE t.typrelid <> 0 AND a.attrelid = t.typrelid AND a.attnum > 0 \
         AND NOT a.attisdropped) x(oid)), \
         parts(class, oid) AS (SELECT 'pg_attrdef'::regclass, oid FROM pg_attrdef WHERE adrelid = $1 \
         UNION ALL SELECT 'pg_constraint'::regclass, oid FROM pg_constraint WHERE conrelid = $1 \
         UNION ALL SELECT 'pg_constraint'::regclass, c.oid FROM pg_constraint c JOIN types ON c.contypid = types.oid \
         UNION ALL SELECT 'pg_type'::regclass, oid FROM types \
         UNION ALL SELECT 'pg_class'::regclass, indexrelid FROM pg_index WHERE indrelid = $1 \
         UNION ALL SELECT 'pg_trigger'::regclass, oid FROM pg_trigger WHERE tgrelid = $1 AND NOT tgisinternal), \
         needed(class, oid) AS (SELECT d.refclassid, d.refobjid FROM parts JOIN pg_depend d ON d.classid = parts.class \
         AND d.objid = parts.oid), \
         functions(oid) AS (SELECT oid FROM needed WHERE class = 'pg_proc'::regclass \
         UNION ALL SELECT o.oprcode FROM needed n JOIN pg_operator o ON o.oid = n.oid WHERE n.class = 'pg_operator'::regclass) \
         SELECT p.oid::regprocedure::text FROM functions f JOIN pg_proc p ON p.oid = f.oid \
         JOIN pg_roles w ON w.oid = p.proowner WHERE NOT w.rolsuper \
         UNION ALL SELECT 'type ' || t.oid::regtype::text FROM types JOIN pg_type t ON t.oid = types.oid \
         JOIN pg_roles w ON w.oid = t.typowner WHERE NOT w.rolsuper LIMIT 1";
    match elevated(|| value::<String>(SQL, &[target.into(), types.into()])) {
        None => Ok(()),
        Some(what) => Err(format!(
            "writing to the mirror, which belongs to a superuser, would run {what}, which does not"
        )),
    }
}
