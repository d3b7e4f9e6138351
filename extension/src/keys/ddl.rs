// SPDX-License-Identifier: Apache-2.0
//! The key index through CREATE, ALTER and DROP.
//!
//! A keyed table has a key index from its first command on: its PRIMARY KEY if that is on exactly the key, else
//! one made here. pg_dump writes the latter out as any index, so CREATE INDEX of the same shape is the same
//! index; and ALTER TABLE ADD PRIMARY KEY, as pg_dump writes it, takes its place.
use super::model::is_key_shaped;
use crate::options::{ddl, table};
use crate::pg::{self, compat};
use pgrx::{pg_sys, PgList, PgSqlErrorCode};

/// Makes sure that a keyed table has one key index.
pub fn ensure_key_index(rel: pg_sys::Relation) {
    let numbers = table::merge_key(rel);
    // SAFETY: plain variable; an open relation.
    unsafe {
        if numbers.is_empty() || pg_sys::IsBinaryUpgrade {
            return;
        }
        if (*(*rel).rd_rel).relkind as u8 != pg_sys::RELKIND_RELATION {
            refuse_kind(rel);
        }
        let indexes = key_indexes(rel, &numbers);
        let constraint =
            |oid: &pg_sys::Oid| pg_sys::get_index_constraint(*oid) != pg_sys::InvalidOid;
        if indexes.is_empty() {
            create(rel, &numbers);
        } else if indexes.iter().any(constraint) {
            for oid in indexes.iter().filter(|oid| !constraint(oid)) {
                drop_index(*oid);
            }
        }
    }
}

fn refuse_kind(rel: pg_sys::Relation) -> ! {
    let table = pg::relation_name(rel);
    pg::refuse(
        PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
        format!("a key model cannot be given to \"{table}\": it is no table"),
        "Create a table, and keep it current by INSERT.",
    )
}

/// The valid indexes of a table that have the key index's shape.
pub fn key_indexes(rel: pg_sys::Relation, numbers: &[u16]) -> Vec<pg_sys::Oid> {
    // SAFETY: an open relation under a lock of the running command.
    unsafe {
        let list = pg_sys::RelationGetIndexList(rel);
        PgList::<pg_sys::Oid>::from_pg(list)
            .iter_oid()
            .filter(|oid| {
                let index = pg_sys::RelationIdGetRelation(*oid);
                if index.is_null() {
                    return false;
                }
                let found = (*(*index).rd_index).indisvalid && is_key_shaped(rel, index, numbers);
                pg_sys::RelationClose(index);
                found
            })
            .collect()
    }
}

/// CREATE UNIQUE INDEX on the key of a table that is not in use otherwise.
unsafe fn create(rel: pg_sys::Relation, numbers: &[u16]) {
    // SAFETY: nodes of our own in the current memory context.
    unsafe {
        let statement =
            pg_sys::palloc0(std::mem::size_of::<pg_sys::IndexStmt>()) as *mut pg_sys::IndexStmt;
        (*statement).type_ = pg_sys::NodeTag::T_IndexStmt;
        (*statement).idxname = pg_sys::ChooseRelationName(
            (*(*rel).rd_rel).relname.data.as_ptr(),
            std::ptr::null(),
            c"key_idx".as_ptr(),
            (*(*rel).rd_rel).relnamespace,
            false,
        );
        (*statement).accessMethod = pg_sys::pstrdup(c"btree".as_ptr());
        (*statement).unique = true;
        (*statement).nulls_not_distinct = true;
        let mut columns = PgList::<pg_sys::IndexElem>::new();
        for number in numbers {
            let attribute = compat::attribute((*rel).rd_att, usize::from(*number) - 1);
            let element =
                pg_sys::palloc0(std::mem::size_of::<pg_sys::IndexElem>()) as *mut pg_sys::IndexElem;
            (*element).type_ = pg_sys::NodeTag::T_IndexElem;
            (*element).name = pg_sys::pstrdup(attribute.attname.data.as_ptr());
            columns.push(element);
        }
        (*statement).indexParams = columns.into_pg();
        compat::define_index(pg::relation_id(rel), statement);
        pg_sys::CommandCounterIncrement();
    }
}

unsafe fn drop_index(oid: pg_sys::Oid) {
    let object = pg_sys::ObjectAddress {
        classId: pg_sys::RelationRelationId,
        objectId: oid,
        objectSubId: 0,
    };
    // SAFETY: an index that exists.
    unsafe {
        let internal = pg_sys::PERFORM_DELETION_INTERNAL as i32;
        pg_sys::performDeletion(&object, pg_sys::DropBehavior::DROP_RESTRICT, internal);
        pg_sys::CommandCounterIncrement();
    }
}

/// Whether a CREATE INDEX asks for the key index that a table has already; it is then given the name asked for.
///
/// # Safety
/// A valid statement.
pub unsafe fn is_present(statement: *mut pg_sys::IndexStmt) -> bool {
    // SAFETY: the statement's parts; the relation is closed again, its lock stays.
    unsafe {
        let plain = (*statement).unique
            && (*statement).nulls_not_distinct
            && !(*statement).primary
            && !(*statement).isconstraint
            && !(*statement).concurrent
            && !(*statement).deferrable
            && (*statement).whereClause.is_null()
            && (*statement).indexIncludingParams.is_null()
            && !(*statement).relation.is_null();
        if !plain {
            return false;
        }
        let mode = pg_sys::ShareUpdateExclusiveLock as i32;
        let Some(relid) = ddl::lock_owned((*statement).relation, mode) else {
            return false;
        };
        pg::with_relation(relid, pg_sys::NoLock, |rel| {
            crate::am::is_doris(rel) && matches_key(rel, statement)
        })
    }
}

unsafe fn matches_key(rel: pg_sys::Relation, statement: *mut pg_sys::IndexStmt) -> bool {
    // SAFETY: an open relation and a valid statement.
    unsafe {
        let numbers = table::merge_key(rel);
        let elements = PgList::<pg_sys::IndexElem>::from_pg((*statement).indexParams);
        let same = !numbers.is_empty()
            && elements.len() == numbers.len()
            && elements.iter_ptr().zip(&numbers).all(|(element, number)| {
                if (*element).name.is_null() || !(*element).opclass.is_null() {
                    return false;
                }
                let name = pg::text((*element).name);
                table::attribute_number(rel, &name) == Some(*number)
            });
        if !same {
            return false;
        }
        let Some(index) = key_indexes(rel, &numbers)
            .into_iter()
            .find(|oid| pg_sys::get_index_constraint(*oid) == pg_sys::InvalidOid)
        else {
            return false;
        };
        let name = (*statement).idxname;
        if !name.is_null() {
            let present = pg_sys::get_rel_name(index);
            if std::ffi::CStr::from_ptr(present) != std::ffi::CStr::from_ptr(name) {
                pg_sys::RenameRelationInternal(index, name, true, true);
            }
        }
        true
    }
}

/// Refuses to drop the key index of a table that stays.
///
/// # Safety
/// A DROP INDEX statement.
pub unsafe fn check_drop(statement: *mut pg_sys::DropStmt) {
    // SAFETY: the statement's objects are lists of names; relations are closed again.
    unsafe {
        for names in PgList::<pg_sys::List>::from_pg((*statement).objects).iter_ptr() {
            let range = pg_sys::makeRangeVarFromNameList(names);
            let index = pg_sys::RangeVarGetRelidExtended(
                range,
                pg_sys::NoLock as i32,
                pg_sys::RVROption::RVR_MISSING_OK,
                None,
                std::ptr::null_mut(),
            );
            // PostgreSQL refuses others, before it locks anything.
            if index == pg_sys::InvalidOid
                || !compat::owns_relation(index) && !compat::owns_schema_of(index)
            {
                continue;
            }
            let table = pg_sys::IndexGetRelation(index, true);
            if table == pg_sys::InvalidOid {
                continue;
            }
            let keyed = pg::with_relation_if_any(table, pg_sys::AccessShareLock, |rel| {
                let numbers = match crate::am::is_doris(rel) {
                    true => table::merge_key(rel),
                    false => Vec::new(),
                };
                let of_key = !numbers.is_empty() && key_indexes(rel, &numbers) == [index];
                of_key.then(|| pg::relation_name(rel))
            });
            if let Some(name) = keyed.flatten() {
                pg::refuse(
                    PgSqlErrorCode::ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST,
                    format!("cannot drop the index on the key of table \"{name}\""),
                    "A table's key is fixed when it is created: create another table and copy the rows.",
                );
            }
        }
    }
}
