// SPDX-License-Identifier: Apache-2.0
//! Who may do what.
use pgrx::pg_sys;

/// Whether the current user owns a relation.
pub fn owns_relation(relid: pg_sys::Oid) -> bool {
    // SAFETY: plain catalogue look-ups.
    unsafe {
        #[cfg(feature = "pg15")]
        return pg_sys::pg_class_ownercheck(relid, pg_sys::GetUserId());
        #[cfg(not(feature = "pg15"))]
        pg_sys::object_ownercheck(pg_sys::RelationRelationId, relid, pg_sys::GetUserId())
    }
}

/// Whether the current user may drop what is in a relation's schema, whoever owns it.
pub fn owns_schema_of(relid: pg_sys::Oid) -> bool {
    // SAFETY: plain catalogue look-ups.
    unsafe {
        let schema = pg_sys::get_rel_namespace(relid);
        #[cfg(feature = "pg15")]
        return pg_sys::pg_namespace_ownercheck(schema, pg_sys::GetUserId());
        #[cfg(not(feature = "pg15"))]
        pg_sys::object_ownercheck(pg_sys::NamespaceRelationId, schema, pg_sys::GetUserId())
    }
}

/// The user in whose name a statement uses a relation; invalid: the current one.
///
/// # Safety
/// A finished statement and an entry of its range table.
pub unsafe fn check_as_user(
    stmt: *mut pg_sys::PlannedStmt,
    rte: *mut pg_sys::RangeTblEntry,
) -> pg_sys::Oid {
    // SAFETY: passed on to the caller.
    unsafe {
        #[cfg(feature = "pg15")]
        {
            let _ = stmt;
            (*rte).checkAsUser
        }
        #[cfg(not(feature = "pg15"))]
        {
            if (*rte).perminfoindex == 0 {
                return pg_sys::InvalidOid;
            }
            (*pg_sys::getRTEPermissionInfo((*stmt).permInfos, rte)).checkAsUser
        }
    }
}

/// Whether the user may call a function.
pub fn may_execute(function: pg_sys::Oid) -> bool {
    let mode = pg_sys::AclMode::from(pg_sys::ACL_EXECUTE);
    // SAFETY: look-ups in the catalogue.
    unsafe {
        let user = pg_sys::GetUserId();
        #[cfg(feature = "pg15")]
        let result = pg_sys::pg_proc_aclcheck(function, user, mode);
        #[cfg(not(feature = "pg15"))]
        let result = pg_sys::object_aclcheck(pg_sys::ProcedureRelationId, function, user, mode);
        result == pg_sys::AclResult::ACLCHECK_OK
    }
}

/// Checks the rights of the current user on the tables of a statement; an error if some are missing.
///
/// # Safety
/// A finished statement.
pub unsafe fn check_read_permissions(stmt: *mut pg_sys::PlannedStmt) {
    // SAFETY: passed on to the caller.
    unsafe {
        #[cfg(feature = "pg15")]
        pg_sys::ExecCheckRTPerms((*stmt).rtable, true);
        #[cfg(not(feature = "pg15"))]
        pg_sys::ExecCheckPermissions((*stmt).rtable, (*stmt).permInfos, true);
    }
}

/// Makes a query ask for no rights on the table that takes an entry's place: those on the original are checked.
///
/// # Safety
/// A query that may be changed, and an entry of its range table.
pub unsafe fn waive_permissions(
    query: *mut pg_sys::Query,
    entry: *mut pg_sys::RangeTblEntry,
    table: pg_sys::Oid,
) {
    // SAFETY: passed on to the caller.
    unsafe {
        #[cfg(feature = "pg15")]
        {
            let _ = (query, table);
            (*entry).requiredPerms = 0;
        }
        #[cfg(not(feature = "pg15"))]
        {
            let list = (*query).rteperminfos;
            if (*entry).perminfoindex > 0 {
                let info = pg_sys::list_nth(list, (*entry).perminfoindex as i32 - 1)
                    .cast::<pg_sys::RTEPermissionInfo>();
                (*info).relid = table;
                (*info).requiredPerms = 0;
            }
        }
    }
}
