// SPDX-License-Identifier: Apache-2.0
//! A look at a relation: it is opened, and closed again. Its lock stays until the transaction ends; an error on the way
//! closes it with the transaction.
use pgrx::pg_sys;

/// Opens a relation with a lock (`NoLock` where the transaction has one) and hands it to `look`. Raises an error if
/// there is none.
pub fn with_relation<T>(
    oid: pg_sys::Oid,
    lock: u32,
    look: impl FnOnce(pg_sys::Relation) -> T,
) -> T {
    // SAFETY: a plain call, which returns an open relation or raises an error.
    let rel = unsafe { pg_sys::relation_open(oid, lock as i32) };
    looked(rel, look)
}

/// As [`with_relation`]; `None` if there is no such relation.
pub fn with_relation_if_any<T>(
    oid: pg_sys::Oid,
    lock: u32,
    look: impl FnOnce(pg_sys::Relation) -> T,
) -> Option<T> {
    // SAFETY: a plain call, which returns an open relation or null.
    let rel = unsafe { pg_sys::try_relation_open(oid, lock as i32) };
    (!rel.is_null()).then(|| looked(rel, look))
}

fn looked<T>(rel: pg_sys::Relation, look: impl FnOnce(pg_sys::Relation) -> T) -> T {
    let found = look(rel);
    // SAFETY: opened by the caller.
    unsafe { pg_sys::relation_close(rel, pg_sys::NoLock as i32) };
    found
}

/// The OID of an open relation.
#[inline]
pub fn relation_id(rel: pg_sys::Relation) -> pg_sys::Oid {
    // SAFETY: callers pass an open relation.
    unsafe { (*rel).rd_id }
}
