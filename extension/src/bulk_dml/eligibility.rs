// SPDX-License-Identifier: Apache-2.0
//! What could look at a table while its rows are deleted or updated, and would see rows that are marked ahead.
use crate::keys::model;
use crate::pg::{self, attributes, compat};
use crate::store::delete_bitmaps::MarkKind;
use pgrx::pg_sys::NodeTag::{T_CoerceToDomain, T_Query};
use pgrx::{pg_guard, pg_sys, PgList};
use std::ffi::c_void;

/// Whether a trigger looks at each row before it is deleted.
///
/// # Safety
/// An open relation.
pub unsafe fn before_delete(rel: pg_sys::Relation) -> bool {
    // SAFETY: passed on to the caller.
    unsafe {
        let triggers = (*rel).trigdesc;
        !triggers.is_null() && (*triggers).trig_delete_before_row
    }
}

/// Whether something looks at rows between two that are updated: triggers, volatile functions in constraints, or the
/// check of a unique index in which a row's new version could meet one that is still to be updated.
///
/// # Safety
/// An open relation; the numbers are of attributes.
pub unsafe fn before_update(rel: pg_sys::Relation, columns: &[i16]) -> bool {
    // SAFETY: passed on to the caller.
    unsafe {
        let triggers = (*rel).trigdesc;
        if !triggers.is_null() && (*triggers).trig_update_before_row {
            return true;
        }
        let mut changed = columns.to_vec();
        changed.extend(generated(rel));
        changed.iter().any(|column| is_domain(rel, *column))
            || has_volatile_checks(rel)
            || may_collide(rel, &changed)
    }
}

/// Whether something looks at rows of a table before one is inserted while others are deleted or updated: triggers,
/// volatile functions in constraints, the search for the row of a key; or the check of a unique index, in which a row
/// could take the place of one that is still to be deleted. (One that is still to be updated keeps its key: it and the
/// new row cannot both be, whichever comes first.)
///
/// # Safety
/// An open relation.
pub unsafe fn before_insert(rel: pg_sys::Relation, what: MarkKind) -> bool {
    // SAFETY: passed on to the caller.
    unsafe {
        let triggers = (*rel).trigdesc;
        let count = (*(*rel).rd_att).natts as i16;
        (!triggers.is_null() && (*triggers).trig_insert_before_row)
            || model::is_keyed(pg::relation_id(rel))
            || (1..=count).any(|column| is_domain(rel, column))
            || has_volatile_checks(rel)
            || (what == MarkKind::Deleted && any_unique(rel, |_| true))
    }
}

/// The columns that are computed from others.
fn generated(rel: pg_sys::Relation) -> Vec<i16> {
    let computed = attributes::all(rel).filter(|attribute| attribute.attgenerated != 0);
    computed.map(|attribute| attribute.attnum).collect()
}

/// Whether values of a column must satisfy the constraints of a domain, which may call any function.
unsafe fn is_domain(rel: pg_sys::Relation, column: i16) -> bool {
    // SAFETY: an attribute of an open relation; if it is not dropped, its type exists.
    unsafe {
        let attribute = compat::attribute((*rel).rd_att, column as usize - 1);
        !attribute.attisdropped && pg_sys::getBaseType(attribute.atttypid) != attribute.atttypid
    }
}

unsafe fn has_volatile_checks(rel: pg_sys::Relation) -> bool {
    // SAFETY: the descriptor of an open relation; its constraints are parsed into memory of this statement.
    unsafe {
        let constraints = (*(*rel).rd_att).constr;
        if constraints.is_null() {
            return false;
        }
        (0..usize::from((*constraints).num_check)).any(|at| {
            let check = (*constraints).check.add(at);
            let expression = pg_sys::stringToNode((*check).ccbin);
            may_look(expression.cast())
        })
    }
}

/// Whether an expression or a query calls volatile functions, which see what the statement has done so far.
///
/// # Safety
/// An analysed query or a part of one.
pub unsafe fn may_look(node: *mut pg_sys::Node) -> bool {
    // SAFETY: passed on to the caller.
    unsafe {
        pg_sys::contain_volatile_functions(node) || casts_to_domain(node, std::ptr::null_mut())
    }
}

/// Whether a value is cast to a domain with constraints, which may call any function.
#[pg_guard]
unsafe extern "C-unwind" fn casts_to_domain(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    // SAFETY: nodes of a query; there is no context.
    unsafe {
        if node.is_null() {
            return false;
        }
        if (*node).type_ == T_Query {
            return pg_sys::query_tree_walker(node.cast(), Some(casts_to_domain), context, 0);
        }
        let cast = node as *mut pg_sys::CoerceToDomain;
        if (*node).type_ == T_CoerceToDomain && pg_sys::DomainHasConstraints((*cast).resulttype) {
            return true;
        }
        pg_sys::expression_tree_walker(node, Some(casts_to_domain), context)
    }
}

/// Whether a unique or exclusion constraint covers a changed column, or depends on one in a way that is not looked
/// into.
unsafe fn may_collide(rel: pg_sys::Relation, changed: &[i16]) -> bool {
    // SAFETY: passed on to the caller.
    unsafe {
        any_unique(rel, |index| {
            let keys = &(*(*index).rd_index).indkey;
            let keys = std::slice::from_raw_parts(keys.values.as_ptr(), keys.dim1 as usize);
            // 0 is an expression.
            keys.iter().any(|key| *key == 0 || changed.contains(key))
                || !pg_sys::RelationGetIndexPredicate(index).is_null()
        })
    }
}

/// Whether something is true of an index of a unique or exclusion constraint.
unsafe fn any_unique(rel: pg_sys::Relation, is: impl Fn(pg_sys::Relation) -> bool) -> bool {
    // SAFETY: the indexes of an open relation, which the statement has locked to write to them.
    unsafe {
        let list = PgList::<pg_sys::Oid>::from_pg(pg_sys::RelationGetIndexList(rel));
        let mut found = false;
        for oid in list.iter_oid() {
            let index = pg_sys::index_open(oid, pg_sys::RowExclusiveLock as i32);
            let form = (*index).rd_index;
            found |= ((*form).indisunique || (*form).indisexclusion) && is(index);
            pg_sys::index_close(index, pg_sys::NoLock as i32);
        }
        found
    }
}
