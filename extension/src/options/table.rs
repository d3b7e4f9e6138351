// SPDX-License-Identifier: Apache-2.0
//! The options of a table, as stored in `pg_class.reloptions`.
use crate::pg::{self, attributes};
use pgrx::pg_sys;

/// A table's model and its key.
pub const KEY_OPTIONS: [&str; 3] = ["duplicate_key", "unique_key", "aggregate_key"];
/// What is fixed for a table's life; its columns cannot be dropped.
pub const FIXED: [&str; 6] = [
    "duplicate_key",
    "unique_key",
    "aggregate_key",
    "sequence",
    "delete_sign",
    MERGE_ON_WRITE,
];
/// Doris's choice of when rows of a unique key are merged: on or off. Here they are merged when they are written.
pub const MERGE_ON_WRITE: &str = "merge_on_write";
/// The options that name columns.
pub const OPTIONS: [&str; 15] = [
    "duplicate_key",
    "unique_key",
    "aggregate_key",
    "sequence",
    "delete_sign",
    "sum",
    "min",
    "max",
    "replace",
    "replace_if_not_null",
    "hll_union",
    "bitmap_union",
    "quantile_union",
    "agg_state",
    "bloom_filter",
];

/// The options of a relation that are ours, as (name, value): those stored, or those that a running DDL
/// command is about to store.
pub fn of(relid: pg_sys::Oid) -> Vec<(String, String)> {
    if let Some(options) = super::ddl::pending(relid) {
        return options;
    }
    stored(relid)
}

/// The options of a relation that are ours and stored.
pub fn stored(relid: pg_sys::Oid) -> Vec<(String, String)> {
    let mut options = all(relid);
    options.retain(|(name, _)| is_ours(name));
    options
}

/// Whether the value of an option of ours names columns.
pub fn names_columns(name: &str) -> bool {
    OPTIONS.contains(&name)
}

/// Whether an option's name is one of ours.
pub fn is_ours(name: &str) -> bool {
    names_columns(name) || name == MERGE_ON_WRITE || super::policy::OPTIONS.contains(&name)
}

/// Stores our options of a relation in place of those it has; PostgreSQL's own options stay.
pub fn store(relid: pg_sys::Oid, options: &[(String, String)]) {
    let mut texts: Vec<String> = Vec::new();
    let kept = all(relid).into_iter().filter(|(name, _)| !is_ours(name));
    for (name, value) in kept.chain(options.iter().cloned()) {
        texts.push(format!("{name}={value}"));
    }
    // SAFETY: the caller's DDL command holds the relation's lock; the tuple is a copy that is updated once.
    unsafe {
        let catalog =
            pg_sys::table_open(pg_sys::RelationRelationId, pg_sys::RowExclusiveLock as i32);
        let none = pg_sys::Datum::from(0);
        let cache = pg_sys::SysCacheIdentifier::RELOID as i32;
        let tuple = pg_sys::SearchSysCacheCopy(cache, relid.into(), none, none, none);
        if !tuple.is_null() {
            let natts = (*(*catalog).rd_att).natts as usize;
            let at = pg_sys::Anum_pg_class_reloptions as usize - 1;
            let mut values = vec![pg_sys::Datum::from(0); natts];
            let mut nulls = vec![false; natts];
            let mut replace = vec![false; natts];
            replace[at] = true;
            nulls[at] = texts.is_empty();
            if !texts.is_empty() {
                values[at] = pgrx::IntoDatum::into_datum(texts).unwrap_or(none);
            }
            let changed = pg_sys::heap_modify_tuple(
                tuple,
                (*catalog).rd_att,
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
                replace.as_mut_ptr(),
            );
            pg_sys::CatalogTupleUpdate(catalog, &raw mut (*changed).t_self, changed);
            pg_sys::heap_freetuple(changed);
        }
        pg_sys::table_close(catalog, pg_sys::RowExclusiveLock as i32);
        pg_sys::CommandCounterIncrement();
    }
}

/// Whether a table keeps one row a key.
pub fn has_key_model(relid: pg_sys::Oid) -> bool {
    let keyed = |(name, _): &(String, String)| name == "unique_key" || name == "aggregate_key";
    of(relid).iter().any(keyed)
}

/// The access method of a relation.
pub fn access_method(relid: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: a cache look-up; the tuple is released after reading its fixed part.
    unsafe {
        let none = pg_sys::Datum::from(0);
        let cache = pg_sys::SysCacheIdentifier::RELOID as i32;
        let tuple = pg_sys::SearchSysCache(cache, relid.into(), none, none, none);
        if tuple.is_null() {
            return pg_sys::InvalidOid;
        }
        let method = (*pg::form::<pg_sys::FormData_pg_class>(tuple)).relam;
        pg_sys::ReleaseSysCache(tuple);
        method
    }
}

/// All options of a relation.
pub fn all(relid: pg_sys::Oid) -> Vec<(String, String)> {
    // SAFETY: a cache look-up; the tuple is released after its array was copied into owned strings.
    unsafe {
        let cache = pg_sys::SysCacheIdentifier::RELOID as i32;
        let none = pg_sys::Datum::from(0);
        let tuple = pg_sys::SearchSysCache(cache, relid.into(), none, none, none);
        if tuple.is_null() {
            return Vec::new();
        }
        let mut null = true;
        let datum = pg_sys::SysCacheGetAttr(
            cache,
            tuple,
            pg_sys::Anum_pg_class_reloptions as i16,
            &mut null,
        );
        let texts = if null {
            Vec::new()
        } else {
            <Vec<String> as pgrx::FromDatum>::from_datum(datum, false).unwrap_or_default()
        };
        pg_sys::ReleaseSysCache(tuple);
        texts
            .into_iter()
            .filter_map(|text| {
                let (name, value) = text.split_once('=')?;
                Some((name.to_string(), value.to_string()))
            })
            .collect()
    }
}

/// The column names in an option's value: separated by commas, each as in SQL.
pub fn column_names(value: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = value.trim_start();
    while !rest.is_empty() {
        let name = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (name, behind) = quoted_name(quoted);
                rest = behind;
                name
            }
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let name = rest[..end].trim().to_lowercase();
                rest = &rest[end..];
                name
            }
        };
        names.push(name);
        rest = rest.trim_start().trim_start_matches(',').trim_start();
    }
    names.retain(|name| !name.is_empty());
    names
}

/// Whether an option's value is a list of names: none is empty, no quote stays open, nothing follows a closing one.
pub fn is_list(value: &str) -> bool {
    let mut rest = value.trim();
    loop {
        let behind = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (name, behind) = quoted_name(quoted);
                let closed = quoted.len() > behind.len()
                    && quoted[..quoted.len() - behind.len()].ends_with('"');
                if name.is_empty() || !closed {
                    return false;
                }
                behind.trim_start()
            }
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                if rest[..end].trim().is_empty() {
                    return false;
                }
                &rest[end..]
            }
        };
        match behind.strip_prefix(',') {
            Some(more) => rest = more.trim_start(),
            None => return behind.is_empty(),
        }
    }
}

/// A name up to its closing quote, and what follows; a doubled quote stands for one.
fn quoted_name(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut rest = text;
    while let Some(end) = rest.find('"') {
        name.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(behind) => {
                name.push('"');
                rest = behind;
            }
            None => return (name, rest),
        }
    }
    name.push_str(rest);
    (name, "")
}

fn columns_of(rel: pg_sys::Relation, option: &str) -> Vec<u16> {
    let options = of(pg::relation_id(rel));
    let Some((_, value)) = options.iter().find(|(name, _)| name == option) else {
        return Vec::new();
    };
    let names = column_names(value);
    names
        .iter()
        .filter_map(|name| attribute_number(rel, name))
        .collect()
}

/// The number of the attribute of a name; `None` when there is none.
pub fn attribute_number(rel: pg_sys::Relation, name: &str) -> Option<u16> {
    // SAFETY: an open relation.
    unsafe { attributes::number_in_descriptor((*rel).rd_att, name) }
}

/// The columns that segments are sorted by.
pub fn sort_key(rel: pg_sys::Relation) -> Vec<u16> {
    let keys = KEY_OPTIONS.iter().map(|option| columns_of(rel, option));
    keys.into_iter()
        .find(|key| !key.is_empty())
        .unwrap_or_default()
}

/// The key of a table that has one row a key; none for other tables.
pub fn merge_key(rel: pg_sys::Relation) -> Vec<u16> {
    let key = columns_of(rel, "unique_key");
    if key.is_empty() {
        return columns_of(rel, "aggregate_key");
    }
    key
}

/// The columns with bloom filters.
pub fn bloom_columns(rel: pg_sys::Relation) -> Vec<u16> {
    columns_of(rel, "bloom_filter")
}

/// Whether a bulk load into a table must go to its heap.
pub fn bulk_loads_to_heap(rel: pg_sys::Relation) -> bool {
    !super::settings::bulk_load() || keeps_heap(rel)
}

/// Whether the rows of a table must be in its heap: where others must be able to read rows before a load ends
/// (exclusion constraints), logical decoding must see them (published tables), or there is no column to store.
pub fn keeps_heap(rel: pg_sys::Relation) -> bool {
    if attributes::live(rel).next().is_none() {
        return true;
    }
    // SAFETY: an open relation; its index list is opened under the lock of the running statement.
    unsafe {
        for index in
            pgrx::PgList::<pg_sys::Oid>::from_pg(pg_sys::RelationGetIndexList(rel)).iter_oid()
        {
            let index = pg_sys::index_open(index, pg_sys::AccessShareLock as i32);
            let exclusion = (*(*index).rd_index).indisexclusion;
            pg_sys::index_close(index, pg_sys::NoLock as i32);
            if exclusion {
                return true;
            }
        }
        super::published::is_published(rel)
    }
}
