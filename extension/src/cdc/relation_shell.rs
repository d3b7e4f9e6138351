// SPDX-License-Identifier: Apache-2.0
//! Tables by number, where a name will not do.
//!
//! PostgreSQL looks a name up again when a statement has waited for a lock. Until then another table may have got the
//! name, by way of its schema's, which no lock on a table keeps: what belongs to that table (triggers, views, functions)
//! would run with the rights of the statement's role. So tables are emptied, looked at and read by number. Where there is
//! only a statement (ALTER TABLE), the table is locked first, named then, and the schema has to be one whose owner
//! may do already what the statement's role may.
use super::session::{begin, commit, refuse};
use crate::pg;
use pgrx::prelude::*;
use pgrx::PgList;
use std::ffi::CString;

/// The full name of a relation of this database, as of now and not as of a snapshot; `None` if it has been dropped.
pub(crate) fn name(relation: u32) -> Option<String> {
    pg::qualified_name(relation.into())
}

/// Locks a mirror until the transaction ends, and names it: for a statement whose role is the owner of the mirror, or one
/// that the owner of the mirror's schema may act as (`schema_problem`). An error if it has been dropped.
pub(crate) fn locked_name(relation: u32, lock: u32) -> Result<String, String> {
    // SAFETY: a transaction is open, which keeps the lock.
    unsafe { pg_sys::LockRelationOid(relation.into(), lock as i32) };
    name(relation).ok_or_else(|| "the mirror has been dropped".to_owned())
}

/// Begins a transaction that may write to all of these tables. Whoever holds one of them locked is waited for without a
/// lock on the others: a statement that locks several mirrors meets no deadlock with the worker, and one on another
/// mirror does not wait for the first.
pub(crate) fn begin_with_locks(tables: impl Iterator<Item = u32> + Clone) {
    let mode = pg_sys::RowExclusiveLock as i32;
    let mut awaited = None;
    loop {
        begin();
        if let Some(table) = awaited {
            // SAFETY: a transaction is open, which keeps the lock.
            unsafe { pg_sys::LockRelationOid(pg_sys::Oid::from(table), mode) };
        }
        // SAFETY: as above.
        let lock = |t: &u32| unsafe { pg_sys::ConditionalLockRelationOid((*t).into(), mode) };
        awaited = tables.clone().find(|t| !lock(t));
        if awaited.is_none() {
            return;
        }
        commit();
    }
}

/// An error unless the name is still the relation's: a statement that named it has changed another one.
pub(crate) fn check_name(relation: u32, known: &str) {
    if name(relation).as_deref() != Some(known) {
        refuse!(
            ERRCODE_OBJECT_IN_USE,
            format!("{known} was renamed while it was changed")
        );
    }
}

/// Opens an ordinary table; an error if it is none any more (before PostgreSQL 16, an empty one can become a view).
unsafe fn open(table: u32, lock: u32) -> pg_sys::Relation {
    // SAFETY: the caller has a transaction open, and closes the relation.
    unsafe {
        let rel = pg_sys::table_open(table.into(), lock as i32);
        check_kind(rel);
        rel
    }
}

/// An error if an open relation is not an ordinary table.
///
/// # Safety
/// The relation is open.
pub(super) unsafe fn check_kind(rel: pg_sys::Relation) {
    // SAFETY: as the caller promises.
    let kind = unsafe { (*(*rel).rd_rel).relkind as u8 };
    if kind != b'r' {
        let name = pg::relation_name(rel);
        refuse!(
            ERRCODE_WRONG_OBJECT_TYPE,
            format!("mirror \"{name}\" is not a table any more")
        );
    }
}

/// Empties a table, but not those that inherit from it, with the rights in force. A transaction and a snapshot are open.
pub(crate) fn truncate(table: u32) {
    // SAFETY: what TRUNCATE does once it has looked its table up and has its lock, which stays until the transaction ends.
    unsafe {
        let rel = open(table, pg_sys::AccessExclusiveLock);
        let may = pg_sys::pg_class_aclcheck(
            (*rel).rd_id,
            pg_sys::GetUserId(),
            pg_sys::ACL_TRUNCATE as pg_sys::AclMode,
        );
        if may != pg_sys::AclResult::ACLCHECK_OK {
            let name = name(table).unwrap_or_default();
            refuse!(
                ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!("the owner of mirror {name} lacks the right to truncate it")
            );
        }
        pg_sys::CheckTableNotInUse(rel, c"TRUNCATE".as_ptr());
        let none = std::ptr::null_mut();
        let rels = pg_sys::lappend(none, rel.cast());
        let oids = pg_sys::lappend_oid(none, (*rel).rd_id);
        let decoded = pg_sys::wal_level >= pg_sys::WalLevel::WAL_LEVEL_LOGICAL as i32;
        let logged = if decoded { oids } else { none };
        let restrict = pg_sys::DropBehavior::DROP_RESTRICT;
        #[cfg(feature = "pg15")]
        pg_sys::ExecuteTruncateGuts(rels, oids, logged, restrict, false);
        #[cfg(not(feature = "pg15"))]
        pg_sys::ExecuteTruncateGuts(rels, oids, logged, restrict, false, false);
        pg_sys::table_close(rel, pg_sys::NoLock as i32);
        pg_sys::CommandCounterIncrement();
    }
}

/// Whether a table holds a row that the active snapshot sees. Runs nothing that belongs to the table.
pub(crate) fn has_rows(table: u32) -> bool {
    // SAFETY: a transaction and a snapshot are open; an error ends the scan with the transaction.
    unsafe {
        let rel = open(table, pg_sys::AccessShareLock);
        let slot = pg_sys::table_slot_create(rel, std::ptr::null_mut());
        let snapshot = pg_sys::GetActiveSnapshot();
        let scan = pg_sys::table_beginscan(rel, snapshot, 0, std::ptr::null_mut());
        let forward = pg_sys::ScanDirection::ForwardScanDirection;
        let found = pg_sys::table_scan_getnextslot(scan, forward, slot);
        pg_sys::table_endscan(scan);
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        pg_sys::table_close(rel, pg_sys::NoLock as i32);
        found
    }
}

/// Why statements that name the table are not run with the rights of `role`: its schema's owner could put another table
/// in its place, and is not one who may act as that role anyway. `what` names the table in the reason.
pub(crate) fn schema_problem(table: u32, role: pg_sys::Oid, what: &str) -> Option<String> {
    // SAFETY: catalogue look-ups in a transaction.
    unsafe {
        let schema = pg_sys::get_rel_namespace(table.into());
        let owner = schema_owner(schema)?;
        if pg_sys::has_privs_of_role(owner, role) {
            return None;
        }
        let text = |name: *mut std::ffi::c_char| match name.is_null() {
            true => String::new(),
            false => pg::text(pg_sys::quote_identifier(name)),
        };
        let role_name = |role| text(pg_sys::GetUserNameFromId(role, true));
        let (schema, role, owner) = (
            text(pg_sys::get_namespace_name(schema)),
            role_name(role),
            role_name(owner),
        );
        Some(format!(
            "{what} belongs to {role}, but its schema {schema} to {owner}, who could put another table in its place: \
             use a schema of {role}'s, or ALTER SCHEMA {schema} OWNER TO {role}"
        ))
    }
}

/// Whose a schema is; `None` if it has been dropped.
unsafe fn schema_owner(schema: pg_sys::Oid) -> Option<pg_sys::Oid> {
    let owner = oid_of(
        pg_sys::SysCacheIdentifier::NAMESPACEOID as i32,
        schema,
        pg_sys::Anum_pg_namespace_nspowner,
    )?;
    if u32::from(owner) != pg_sys::ROLE_PG_DATABASE_OWNER {
        return Some(owner);
    }
    // The only member of this role, without being registered as one.
    // SAFETY: the database this process is connected to.
    let database = unsafe { pg_sys::MyDatabaseId };
    oid_of(
        pg_sys::SysCacheIdentifier::DATABASEOID as i32,
        database,
        pg_sys::Anum_pg_database_datdba,
    )
}

/// An oid in the row of a catalogue that has this key.
fn oid_of(cache: i32, key: pg_sys::Oid, attribute: u32) -> Option<pg_sys::Oid> {
    // SAFETY: a look-up in a cache by oid, whose row is released here; the attribute is an oid and never null.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(cache, key.into());
        if tuple.is_null() {
            return None;
        }
        let mut null = false;
        let datum = pg_sys::SysCacheGetAttr(cache, tuple, attribute as i16, &mut null);
        pg_sys::ReleaseSysCache(tuple);
        Some(pg_sys::Oid::from(datum.value() as u32))
    }
}

/// Runs a query of one table, which it names, and hands its rows to `receiver`: an error, before anything of it runs, if
/// the name is another table's. With the rights in force, under the active snapshot.
///
/// # Safety
/// The receiver outlives the call and is nobody else's.
pub(super) unsafe fn read(table: u32, sql: &str, receiver: *mut pg_sys::DestReceiver) {
    let text = CString::new(sql).unwrap_or_default();
    let none = std::ptr::null_mut::<std::ffi::c_void>();
    // SAFETY: the steps of PostgreSQL's own COPY of a query; trees live in the current context until it is reset.
    unsafe {
        // No lock is waited for from here to the end of the analysis if the name is this one's.
        pg_sys::LockRelationOid(table.into(), pg_sys::AccessShareLock as i32);
        let parsed = PgList::<pg_sys::RawStmt>::from_pg(pg_sys::pg_parse_query(text.as_ptr()));
        let Some(statement) = parsed.get_ptr(0).filter(|_| parsed.len() == 1) else {
            error!("the query of a copy is not one statement");
        };
        let query = pg_sys::parse_analyze_fixedparams(
            statement,
            text.as_ptr(),
            std::ptr::null(),
            0,
            none.cast(),
        );
        let entries = PgList::<pg_sys::RangeTblEntry>::from_pg((*query).rtable);
        if entries.is_empty() || entries.iter_ptr().any(|e| u32::from((*e).relid) != table) {
            refuse!(
                ERRCODE_OBJECT_IN_USE,
                "the source was renamed while it was read"
            );
        }
        let rewritten = PgList::<pg_sys::Query>::from_pg(pg_sys::pg_rewrite_query(query));
        let Some(query) = rewritten.get_ptr(0).filter(|_| rewritten.len() == 1) else {
            error!("the query of a copy is not one query");
        };
        // Rows are written while it runs, which parallel workers forbid.
        let plan = pg_sys::pg_plan_query(query, text.as_ptr(), 0, none.cast());
        let snapshot = pg_sys::GetActiveSnapshot();
        let (other, parameters, environment) = (none.cast(), none.cast(), none.cast());
        let running = pg_sys::CreateQueryDesc(
            plan,
            text.as_ptr(),
            snapshot,
            other,
            receiver,
            parameters,
            environment,
            0,
        );
        pg_sys::ExecutorStart(running, 0);
        let forward = pg_sys::ScanDirection::ForwardScanDirection;
        #[cfg(not(feature = "pg18"))]
        pg_sys::ExecutorRun(running, forward, 0, true);
        #[cfg(feature = "pg18")]
        pg_sys::ExecutorRun(running, forward, 0);
        pg_sys::ExecutorFinish(running);
        pg_sys::ExecutorEnd(running);
        pg_sys::FreeQueryDesc(running);
    }
}
