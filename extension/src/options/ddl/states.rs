// SPDX-License-Identifier: Apache-2.0
//! Columns of states of aggregates depend on their aggregate: it cannot be dropped without them, and cannot get another
//! name, which each stored state has.
use crate::cdc::session::with_own_names;
use crate::options::model;
use crate::pg::{self, attributes};
use pgrx::{pg_sys, PgSqlErrorCode, Spi};

/// An aggregate whose states are stored, and its qualified name.
pub(super) type Named = (pg_sys::Oid, Vec<u8>);

/// The columns of a table that hold states, each with its aggregate.
fn columns(relid: pg_sys::Oid) -> Vec<(i16, pg_sys::Oid)> {
    let state = model::own_type(c"agg_state");
    // The command's lock on the relation lasts until the transaction ends.
    let found = pg::with_relation_if_any(relid, pg_sys::NoLock, |rel| {
        // SAFETY: an open relation.
        let (kind, row_type) =
            unsafe { ((*(*rel).rd_rel).relkind as u8, (*(*rel).rd_rel).reloftype) };
        let stores = matches!(
            kind,
            pg_sys::RELKIND_RELATION | pg_sys::RELKIND_MATVIEW | pg_sys::RELKIND_PARTITIONED_TABLE
        );
        let mut found = Vec::new();
        // Typed tables have the columns of their type, which may change theirs.
        if stores && row_type == pg_sys::InvalidOid {
            for attribute in attributes::live(rel) {
                if let (true, Ok(aggregate)) = (
                    attribute.atttypid == state,
                    u32::try_from(attribute.atttypmod),
                ) {
                    found.push((attribute.attnum, pg_sys::Oid::from(aggregate)));
                }
            }
        }
        found
    });
    found.unwrap_or_default()
}

fn address(class: pg_sys::Oid, object: pg_sys::Oid, part: i16) -> pg_sys::ObjectAddress {
    pg_sys::ObjectAddress {
        classId: class,
        objectId: object,
        objectSubId: i32::from(part),
    }
}

/// Records on which aggregates the columns of a table depend.
pub(super) fn record(relid: pg_sys::Oid) {
    let columns = columns(relid);
    forget_all(relid, &columns);
    for (column, aggregate) in columns {
        let depender = address(pg_sys::RelationRelationId, relid, column);
        let referenced = address(pg_sys::ProcedureRelationId, aggregate, 0);
        let normal = pg_sys::DependencyType::DEPENDENCY_NORMAL;
        // SAFETY: addresses on our stack. Nobody drops or renames the aggregate from here on.
        unsafe {
            let class = pg_sys::ProcedureRelationId;
            pg_sys::LockDatabaseObject(class, aggregate, 0, pg_sys::AccessShareLock as _);
            if pg_sys::get_func_name(aggregate).is_null() {
                pg::refuse(
                    PgSqlErrorCode::ERRCODE_UNDEFINED_FUNCTION,
                    "the aggregate of a column's states has just been dropped".to_owned(),
                    "Make the aggregate again, or choose another one.",
                );
            }
            pg_sys::recordDependencyOn(&depender, &referenced, normal);
        }
    }
}

/// Takes back what is recorded of a table: PostgreSQL gives a column another type only if it depends on nothing else.
pub(super) fn forget(relid: pg_sys::Oid) {
    forget_all(relid, &columns(relid));
}

fn forget_all(relid: pg_sys::Oid, columns: &[(i16, pg_sys::Oid)]) {
    for (_, aggregate) in columns {
        // SAFETY: plain call.
        unsafe {
            pg_sys::deleteDependencyRecordsForSpecific(
                pg_sys::RelationRelationId,
                relid,
                pg_sys::DependencyType::DEPENDENCY_NORMAL as _,
                pg_sys::ProcedureRelationId,
                *aggregate,
            );
        }
    }
}

/// The aggregates that columns depend on, with their names.
pub(super) fn named() -> Vec<Named> {
    const QUERY: &str = "SELECT DISTINCT refobjid FROM pg_catalog.pg_depend \
         WHERE refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass \
         AND classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND objsubid > 0 AND deptype = 'n' ORDER BY 1";
    // Operators have no schema in it: those of the session's search path may be anybody's.
    let found = with_own_names(|| {
        Spi::connect(|client| -> Result<Vec<pg_sys::Oid>, pgrx::spi::Error> {
            let mut found = Vec::new();
            for row in client.select(QUERY, None, &[])? {
                found.extend(row.get::<pg_sys::Oid>(1)?);
            }
            Ok(found)
        })
    });
    let found = found.unwrap_or_else(|e| pgrx::error!("{e}"));
    found
        .into_iter()
        .map(|oid| (oid, pg::function_signature(oid)))
        .collect()
}

/// Refuses what a command did if an aggregate of stored states has another name now.
pub(super) fn check_names(before: &[Named]) {
    let Some((_, old)) = before
        .iter()
        .find(|(oid, old)| pg::function_signature(*oid) != *old)
    else {
        return;
    };
    pg::refuse(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!(
            "cannot change the name of aggregate {}: columns hold its states",
            String::from_utf8_lossy(old)
        ),
        "Each state has the name of its aggregate, with its schema and types. Make another aggregate of the same functions.",
    );
}
