// SPDX-License-Identifier: Apache-2.0
//! BRIN indexes, which columnar tables refuse: their segments have zone maps.
use crate::pg::{self, raw};
use pgrx::pg_sys;

const NO_BRIN_NEEDED: &str =
    "None is needed: each segment keeps the least and greatest value of every column by itself.";

fn refuse_brin_of(table: &str, hint: &str) -> ! {
    pg::refuse(
        pgrx::PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("columnar table \"{table}\" does not support BRIN indexes"),
        hint,
    )
}

/// Refuses CREATE INDEX ... USING brin on columnar tables and on the parents of columnar partitions, before there is an
/// index: CREATE INDEX CONCURRENTLY would leave one behind that is not valid, and in the way of TRUNCATE and others.
///
/// # Safety
/// A statement of the parser.
pub unsafe fn check_method(statement: *const pg_sys::IndexStmt) {
    // SAFETY: the parts of the statement; a table may be gone by the time it is looked at.
    unsafe {
        let method = (*statement).accessMethod;
        let relation = (*statement).relation;
        if method.is_null() || std::ffi::CStr::from_ptr(method) != c"brin" || relation.is_null() {
            return;
        }
        let options = pg_sys::RVROption::RVR_MISSING_OK;
        let no_lock = pg_sys::NoLock as i32;
        let none = std::ptr::null_mut();
        let table = pg_sys::RangeVarGetRelidExtended(relation, no_lock, options, None, none);
        if table == pg_sys::InvalidOid {
            return;
        }
        let all = match (*relation).inh {
            true => raw::inheritors_locked(table, no_lock),
            false => vec![table],
        };
        let partitioned = pg_sys::get_rel_relkind(table) as u8 == pg_sys::RELKIND_PARTITIONED_TABLE;
        let doris = pg_sys::get_table_am_oid(c"doris".as_ptr(), true);
        let columnar = |oid: &&pg_sys::Oid| crate::options::table::access_method(**oid) == doris;
        // An index of a table is none of those that inherit from it, but of its partitions.
        let mut concerned = all.iter().filter(|oid| partitioned || **oid == table);
        let name = concerned.find(columnar).copied();
        if let Some(name) = name.and_then(pg::table_name_if_any) {
            refuse_brin_of(&name, NO_BRIN_NEEDED);
        }
    }
}

/// A BRIN index summarises ranges of blocks, and segment rows have none in the file. The index was there before: the
/// hint says what to do about it.
pub(super) fn refuse_brin(rel: pg_sys::Relation, index: pg_sys::Relation) {
    // SAFETY: an open index.
    let (method, of_parent) =
        unsafe { ((*(*index).rd_rel).relam, (*(*index).rd_rel).relispartition) };
    if method != pg_sys::BRIN_AM_OID {
        return;
    }
    let oid = match of_parent {
        true => raw::partition_parent(pg::relation_id(index)),
        false => pg::relation_id(index),
    };
    let whose = match of_parent {
        true => ", which partitions inherit",
        false => "",
    };
    let name = pg::qualified_name(oid).unwrap_or_else(|| oid.to_string());
    let hint = format!("DROP INDEX {name}{whose}. {NO_BRIN_NEEDED}");
    refuse_brin_of(&pg::relation_name(rel), &hint);
}
