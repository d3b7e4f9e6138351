// SPDX-License-Identifier: Apache-2.0
//! The options of a table, as stored in `pg_class.reloptions`.
use crate::pg;
use pgrx::pg_sys;

/// A table's model. Each is fixed for the table's life.
pub const KEY_OPTIONS: [&str; 1] = ["duplicate_key"];
/// All options that are ours.
pub const OPTIONS: [&str; 2] = ["duplicate_key", "bloom_filter"];

/// The options of a relation that are ours, as (name, value).
pub fn of(relid: pg_sys::Oid) -> Vec<(String, String)> {
    let mut options = all(relid);
    options.retain(|(name, _)| OPTIONS.contains(&name.as_str()));
    options
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
    value
        .split(',')
        .map(|name| {
            let name = name.trim();
            match name.strip_prefix('"').and_then(|n| n.strip_suffix('"')) {
                Some(quoted) => quoted.replace("\"\"", "\""),
                None => name.to_lowercase(),
            }
        })
        .filter(|name| !name.is_empty())
        .collect()
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
    unsafe {
        let desc = (*rel).rd_att;
        (0..(*desc).natts as usize).find_map(|i| {
            let attribute = pg::compat::attribute(desc, i);
            let found = std::ffi::CStr::from_ptr(attribute.attname.data.as_ptr());
            (!attribute.attisdropped && found.to_bytes() == name.as_bytes()).then_some(i as u16 + 1)
        })
    }
}

/// The columns that segments are sorted by.
pub fn sort_key(rel: pg_sys::Relation) -> Vec<u16> {
    columns_of(rel, "duplicate_key")
}

/// The columns with bloom filters.
pub fn bloom_columns(rel: pg_sys::Relation) -> Vec<u16> {
    columns_of(rel, "bloom_filter")
}

/// Whether a bulk load into a table must go to its heap: where others must be able to read rows before the
/// load ends (exclusion constraints), or logical decoding must see them (published tables).
pub fn bulk_loads_to_heap(rel: pg_sys::Relation) -> bool {
    if !super::settings::bulk_load() {
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
        published(rel)
    }
}

/// Whether a publication covers a relation.
unsafe fn published(rel: pg_sys::Relation) -> bool {
    // SAFETY: an open relation; the publication description is cached or made anew.
    unsafe {
        if pg_sys::wal_level < pg_sys::WalLevel::WAL_LEVEL_LOGICAL as i32 {
            return false;
        }
        let mut desc = std::mem::zeroed::<pg_sys::PublicationDesc>();
        pg_sys::RelationBuildPublicationDesc(rel, &mut desc);
        desc.pubactions.pubinsert || desc.pubactions.pubupdate || desc.pubactions.pubdelete
    }
}
