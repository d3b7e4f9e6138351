// SPDX-License-Identifier: Apache-2.0
//! What the key of a table is, kept until the table's relation cache entry is invalidated.
//!
//! The *key index* is a unique btree on exactly the key columns, in which NULLs equal NULLs or cannot be. It is
//! the table's PRIMARY KEY, or one that the DDL hook made. It holds heap rows only. All indexes of that shape
//! are treated alike, so that one that is being built or replaced is right when it becomes the key index.
use super::key_encoding::Form;
use super::merge;
use crate::options::{ddl, model as options, table};
use crate::pg::{self, compat};
use crate::read::attrs::{self, Attr};
use crate::store::directory_cache;
use pgrx::pg_sys;
use pgrx::{pg_guard, PgSqlErrorCode};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

/// The catalogue pg_constraint (catalog/pg_constraint.h).
const CONSTRAINTS: pg_sys::Oid = pg_sys::Oid::from_u32(2606);

/// A key column.
#[derive(Clone, Copy, Debug)]
pub struct KeyColumn {
    /// The attribute.
    pub attr: Attr,
    /// How its values become part of a key.
    pub form: Form,
}

/// The key of a table.
#[derive(Debug)]
pub struct Model {
    /// The key columns: the first columns of the table.
    pub columns: Vec<KeyColumn>,
    /// The key index that inserts search; `None` while CREATE TABLE AS fills the table.
    pub index: Option<pg_sys::Oid>,
    /// All indexes of the key index's shape.
    pub key_indexes: Vec<pg_sys::Oid>,
    /// All other indexes.
    pub other_indexes: Vec<pg_sys::Oid>,
    /// Triggers of the user see single rows: each is written before the next.
    pub row_triggers: bool,
    /// A foreign key refers to columns that a new row of the same key may change.
    pub referenced_values: bool,
    /// Foreign keys refer to the table.
    pub referenced: Referenced,
    /// Triggers for inserted rows may run when the transaction ends.
    pub late_triggers: bool,
    /// A whole new row replaces the stored one unseen.
    pub replaces: bool,
    /// The sequence column.
    pub sequence: Option<u16>,
}

/// In which sessions foreign keys check or follow deletes of a table's rows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Referenced {
    /// In ordinary ones.
    origin: bool,
    /// In those with session_replication_role = replica.
    replica: bool,
}

impl Referenced {
    /// In this session.
    pub fn here(self) -> bool {
        // SAFETY: a plain variable of this backend.
        let role = unsafe { pg_sys::SessionReplicationRole } as u32;
        match role == pg_sys::SESSION_REPLICATION_ROLE_REPLICA {
            true => self.replica,
            false => self.origin,
        }
    }
}

impl Model {
    /// The values of the key columns among those of a row, and whether they are NULL.
    ///
    /// # Safety
    /// The arrays have an element an attribute of the relation.
    pub unsafe fn key_values(
        &self,
        values: *const pg_sys::Datum,
        nulls: *const bool,
    ) -> Vec<(pg_sys::Datum, bool)> {
        let value = |column: &KeyColumn| {
            let at = usize::from(column.attr.number) - 1;
            // SAFETY: passed on to the caller.
            unsafe { (*values.add(at), *nulls.add(at)) }
        };
        self.columns.iter().map(value).collect()
    }

    /// Whether an index is of the key index's shape.
    pub fn is_key_index(&self, index: pg_sys::Oid) -> bool {
        self.key_indexes.contains(&index)
    }
}

type Cached = Option<Rc<Model>>;

thread_local! {
    static MODELS: RefCell<HashMap<pg_sys::Oid, Cached>> = RefCell::default();
    static GENERATION: Cell<u64> = const { Cell::new(0) };
}

/// Registers the callback that forgets what relation cache invalidations concern.
///
/// # Safety
/// Called once, while libraries are loaded.
pub unsafe fn install() {
    // SAFETY: passed on to the caller.
    unsafe {
        pg_sys::CacheRegisterRelcacheCallback(Some(invalidate), pg_sys::Datum::from(0));
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn invalidate(_arg: pg_sys::Datum, relid: pg_sys::Oid) {
    GENERATION.set(GENERATION.get() + 1);
    directory_cache::forget(relid);
    merge::forget_whole_rows(relid);
    let dropped = MODELS.with_borrow_mut(|models| {
        if relid == pg_sys::InvalidOid {
            models.drain().map(|(_, model)| model).collect::<Vec<_>>()
        } else {
            models.remove(&relid).into_iter().collect()
        }
    });
    drop(dropped);
}

/// The key of an open relation; `None` when rows of equal keys all stay.
pub fn of(rel: pg_sys::Relation) -> Option<Rc<Model>> {
    let relid = pg::relation_id(rel);
    if let Some(known) = MODELS.with_borrow(|models| models.get(&relid).cloned()) {
        return known;
    }
    let generation = GENERATION.get();
    let model = make(rel).map(Rc::new);
    // Without an index the answer depends on the running command.
    let lasting = model.as_ref().is_none_or(|m| m.index.is_some());
    if lasting && GENERATION.get() == generation && table_options_settled(rel) {
        MODELS.with_borrow_mut(|models| models.insert(relid, model.clone()));
    }
    model
}

/// Whether a table keeps one row a key.
pub fn is_keyed(relid: pg_sys::Oid) -> bool {
    let known = MODELS.with_borrow(|models| models.get(&relid).map(Option::is_some));
    known.unwrap_or_else(|| table::has_key_model(relid))
}

fn table_options_settled(rel: pg_sys::Relation) -> bool {
    ddl::pending(pg::relation_id(rel)).is_none()
}

fn make(rel: pg_sys::Relation) -> Option<Model> {
    let numbers = table::merge_key(rel);
    if numbers.is_empty() {
        return None;
    }
    let attrs = attrs::of(rel);
    let columns: Vec<KeyColumn> = numbers
        .iter()
        .map(|number| {
            let attr = attrs[usize::from(*number) - 1];
            // SAFETY: an open relation and one of its attributes.
            let attribute = unsafe { compat::attribute((*rel).rd_att, usize::from(*number) - 1) };
            let form = Form::of(attribute);
            KeyColumn { attr, form }
        })
        .collect();
    let keyed = options::of(rel);
    let mut model = Model {
        columns,
        index: None,
        key_indexes: Vec::new(),
        other_indexes: Vec::new(),
        row_triggers: has_row_triggers(rel),
        referenced_values: false,
        referenced: referenced(rel),
        late_triggers: has_late_triggers(rel),
        replaces: keyed.as_ref().is_some_and(|keyed| keyed.replaces()),
        sequence: keyed.and_then(|keyed| keyed.sequence),
    };
    find_indexes(rel, &numbers, &mut model);
    if model.index.is_none() && !index_may_lack(rel) {
        return None;
    }
    model.referenced_values = refers_to_values(rel, &numbers);
    Some(model)
}

/// Whether a table without a key index is keyed: while CREATE TABLE AS fills it. A table rewrite fills a copy
/// that gets its indexes later, from rows that have one key each.
fn index_may_lack(rel: pg_sys::Relation) -> bool {
    if ddl::pending(pg::relation_id(rel)).is_some() {
        return true;
    }
    // SAFETY: an open relation.
    if unsafe { (*rel).rd_createSubid } != 0 {
        return false;
    }
    let table = pg::relation_name(rel);
    pg::refuse(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("table \"{table}\" has no valid index on its key"),
        "Create a unique index on exactly the columns of its key, with NULLS NOT DISTINCT.",
    )
}

fn find_indexes(rel: pg_sys::Relation, numbers: &[u16], model: &mut Model) {
    // SAFETY: an open relation; its indexes are looked at under the lock that the caller holds on it.
    unsafe {
        let list = pg_sys::RelationGetIndexList(rel);
        for oid in pgrx::PgList::<pg_sys::Oid>::from_pg(list).iter_oid() {
            let index = pg_sys::RelationIdGetRelation(oid);
            if index.is_null() {
                continue;
            }
            let form = (*index).rd_index;
            let usable = (*form).indisvalid && (*form).indisready;
            if is_key_shaped(rel, index, numbers) {
                model.key_indexes.push(oid);
                // A primary key goes before others.
                if usable && (model.index.is_none() || (*form).indisprimary) {
                    model.index = Some(oid);
                }
            } else {
                model.other_indexes.push(oid);
            }
            pg_sys::RelationClose(index);
        }
    }
}

/// Whether an open index is a unique btree on exactly the key columns, with NULLs that equal each other.
///
/// # Safety
/// Open relations.
pub unsafe fn is_key_shaped(
    rel: pg_sys::Relation,
    index: pg_sys::Relation,
    numbers: &[u16],
) -> bool {
    // SAFETY: passed on to the caller; the key column numbers follow the fixed part of the pg_index row.
    unsafe {
        let form = (*index).rd_index;
        let plain = (*(*index).rd_rel).relam == pg_sys::BTREE_AM_OID
            && (*form).indisunique
            && (*form).indimmediate
            && !(*form).indisexclusion
            && usize::from((*form).indnkeyatts as u16) == numbers.len()
            && (*form).indnatts == (*form).indnkeyatts
            && pg_sys::RelationGetIndexExpressions(index).is_null()
            && pg_sys::RelationGetIndexPredicate(index).is_null();
        if !plain {
            return false;
        }
        let columns = (*form).indkey.values.as_slice(numbers.len());
        let same = columns
            .iter()
            .zip(numbers)
            .all(|(a, b)| i32::from(*a) == i32::from(*b));
        let no_nulls = (*form).indisprimary
            || numbers.iter().all(|number| {
                compat::attribute((*rel).rd_att, usize::from(*number) - 1).attnotnull
            });
        same && (no_nulls || (*form).indnullsnotdistinct)
    }
}

// TRIGGER_TYPE_* of catalog/pg_trigger.h.
const ROW: i16 = 1;
const BEFORE: i16 = 2;
const INSERT: i16 = 4;
const DELETE: i16 = 8;

/// The triggers of an open relation.
fn triggers<'a>(rel: pg_sys::Relation) -> &'a [pg_sys::Trigger] {
    // SAFETY: an open relation; its trigger description has numtriggers elements.
    unsafe {
        let all = (*rel).trigdesc;
        if all.is_null() {
            return &[];
        }
        std::slice::from_raw_parts((*all).triggers, (*all).numtriggers as usize)
    }
}

/// Whether the user's own row triggers run when rows are inserted.
fn has_row_triggers(rel: pg_sys::Relation) -> bool {
    let all = triggers(rel).iter();
    all.filter(|t| !t.tgisinternal)
        .any(|t| t.tgtype & ROW != 0 && t.tgtype & INSERT != 0)
}

/// Whether row triggers for INSERT may be deferred: those of constraints.
fn has_late_triggers(rel: pg_sys::Relation) -> bool {
    let after = |t: &pg_sys::Trigger| {
        t.tgtype & ROW != 0 && t.tgtype & INSERT != 0 && t.tgtype & BEFORE == 0
    };
    triggers(rel).iter().any(|t| t.tgdeferrable && after(t))
}

/// Where foreign keys of other tables, or of its own, check or follow deletes of a table's rows.
fn referenced(rel: pg_sys::Relation) -> Referenced {
    let mut found = Referenced::default();
    for trigger in triggers(rel) {
        // SAFETY: a look-up in a table of PostgreSQL's functions.
        let kind = unsafe { pg_sys::RI_FKey_trigger_type(trigger.tgfoid) };
        if kind as u32 != pg_sys::RI_TRIGGER_PK || trigger.tgtype & DELETE == 0 {
            continue;
        }
        let fires = trigger.tgenabled as u8;
        found.origin |= fires == b'O' || fires == b'A';
        found.replica |= fires == b'R' || fires == b'A';
    }
    found
}

/// Whether a foreign key of some table refers to other columns than the key's.
fn refers_to_values(rel: pg_sys::Relation, numbers: &[u16]) -> bool {
    // SAFETY: an open relation. The constraint's tuple is released after its array was looked at.
    unsafe {
        let relid = pg::relation_id(rel);
        triggers(rel)
            .iter()
            .filter(|t| t.tgisinternal && t.tgconstraint != pg_sys::InvalidOid)
            .any(|t| {
                let none = pg_sys::Datum::from(0);
                let cache = pg_sys::SysCacheIdentifier::CONSTROID as i32;
                let tuple = pg_sys::SearchSysCache(cache, t.tgconstraint.into(), none, none, none);
                if tuple.is_null() {
                    return false;
                }
                let mut null = true;
                let mut get = |name: &std::ffi::CStr| {
                    let at = pg_sys::get_attnum(CONSTRAINTS, name.as_ptr());
                    pg_sys::SysCacheGetAttr(cache, tuple, at, &mut null)
                };
                let refers = get(c"confrelid").value() as u32 == relid.to_u32();
                let value = get(c"confkey");
                let columns = if refers && !null {
                    <Vec<i16> as pgrx::FromDatum>::from_datum(value, false).unwrap_or_default()
                } else {
                    Vec::new()
                };
                pg_sys::ReleaseSysCache(tuple);
                columns
                    .iter()
                    .any(|c| !numbers.iter().any(|n| i32::from(*n) == i32::from(*c)))
            })
    }
}
