// SPDX-License-Identifier: Apache-2.0
//! What is registered of mirrors, as a given snapshot shows it, and how their columns meet those of their originals.
use crate::cdc::catalogue::columns_from_json;
use crate::cdc::session::elevated;
use crate::pg::{self, attributes, compat};
use doris_cdc::row::{OddValue, Row};
use doris_cdc::schema_diff::Known;
use pgrx::prelude::*;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::CStr;

/// A mirror of a table of this database.
#[derive(Clone, Debug)]
pub(super) struct Registered {
    pub(super) source: pg_sys::Oid,
    pub(super) sync: i32,
    pub(super) sync_name: String,
    pub(super) target: pg_sys::Oid,
    /// Why it cannot answer, if it cannot, with {table} in the place of the original's name.
    pub(super) problem: Option<String>,
    /// The position behind the snapshot of its copy.
    pub(super) copied_lsn: u64,
    columns: Vec<Known>,
    /// All that must not have changed between the snapshot and the locks: the mirror's file, too, as a truncated table
    /// looks empty to older snapshots.
    pub(super) facts: String,
}

/// The files that a source is made of now are compared: commands that write a table anew may compute other values,
/// which the stream does not carry. Its worker looks what it was (`cdc::watch`), and records the files if they are
/// right.
const SQL: &CStr = c"SELECT t.source::pg_catalog.text, s.id::pg_catalog.text, s.name, t.target::pg_catalog.text,
    CASE WHEN s.wanted <> 'run' THEN pg_catalog.format('sync %I is paused', s.name)
         WHEN s.state NOT IN ('streaming', 'copying') THEN pg_catalog.format('sync %I is %s', s.name, s.state)
         WHEN t.leaves_out IS NOT NULL THEN 'the publication of {table} leaves out ' || t.leaves_out
         WHEN s.publication IS NOT NULL THEN pg_catalog.format('sync %I has a publication that is not its own', s.name)
         WHEN t.state = 'init' THEN 'the mirror of {table} is not filled'
         WHEN t.state <> 'streaming' THEN 'the mirror of {table} is ' || t.state
         WHEN t.key_given THEN 'the key of the mirror of {table} was given by hand'
         WHEN EXISTS (SELECT FROM pg_catalog.pg_partition_ancestors(t.source) a(relid) JOIN doris.sync_table o ON o.source = a.relid
            WHERE o.sync = t.sync AND o.source <> t.source AND o.state NOT IN ('refused', 'gone'))
         THEN '{table} is a part of another table of its sync'
         WHEN t.files IS DISTINCT FROM COALESCE((SELECT pg_catalog.string_agg(p.relid::pg_catalog.oid || ':' ||
            COALESCE(pg_catalog.pg_relation_filenode(p.relid), 0) || ':' || i.xmin, ' ' ORDER BY p.relid)
            FROM pg_catalog.pg_partition_tree(t.source) p JOIN pg_catalog.pg_inherits i ON i.inhrelid = p.relid
            WHERE p.level > 0),
            pg_catalog.pg_relation_filenode(t.source)::pg_catalog.text)
         THEN '{table} was written anew, and its mirror has not been looked at since' END,
    (t.snapshot_lsn - '0/0')::bigint::pg_catalog.text, t.columns::pg_catalog.text,
    pg_catalog.concat_ws(' ', t.source, t.target, t.copies, c.relfilenode, t.files, t.columns)
    FROM doris.sync_table t JOIN doris.sync s ON s.id = t.sync JOIN pg_catalog.pg_class c ON c.oid = t.target
    WHERE t.source = ANY ($1) AND s.connection IS NULL AND t.state NOT IN ('refused', 'gone')";

thread_local! {
    static PLAN: Cell<pg_sys::SPIPlanPtr> = const { Cell::new(std::ptr::null_mut()) };
}

/// The mirrors of these tables, as the snapshot shows them.
pub(super) fn read(sources: &[pg_sys::Oid], snapshot: pg_sys::Snapshot) -> Vec<Registered> {
    // The catalogue is there where the access method is.
    // SAFETY: a catalogue look-up.
    let installed = unsafe {
        let schema = pg_sys::get_namespace_oid(c"doris".as_ptr(), true);
        schema != pg_sys::InvalidOid
            && pg_sys::get_relname_relid(c"sync_table".as_ptr(), schema) != pg_sys::InvalidOid
    };
    if !installed {
        return Vec::new();
    }
    elevated(|| {
        // SAFETY: the snapshot is the statement's or of this moment; an error unwinds stack and SPI with the
        // transaction.
        unsafe {
            pg_sys::PushActiveSnapshot(snapshot);
            pg_sys::SPI_connect();
            let found = select(sources);
            pg_sys::SPI_finish();
            pg_sys::PopActiveSnapshot();
            found
        }
    })
}

/// Runs the query. SPI of pgrx is not used: it may take a snapshot of its own.
unsafe fn select(sources: &[pg_sys::Oid]) -> Vec<Registered> {
    // SAFETY: SPI is connected; the plan is kept for the session.
    unsafe {
        if PLAN.get().is_null() {
            let mut types = [pg_sys::OIDARRAYOID];
            let plan = pg_sys::SPI_prepare(SQL.as_ptr(), 1, types.as_mut_ptr());
            if plan.is_null() || pg_sys::SPI_keepplan(plan) != 0 {
                error!("the catalogue of mirrors cannot be read");
            }
            PLAN.set(plan);
        }
        let array = sources
            .to_vec()
            .into_datum()
            .unwrap_or(pg_sys::Datum::null());
        let mut values = [array];
        let plan = PLAN.get();
        let code = pg_sys::SPI_execute_plan(plan, values.as_mut_ptr(), std::ptr::null(), true, 0);
        if code != pg_sys::SPI_OK_SELECT as i32 {
            error!("the catalogue of mirrors cannot be read: {code}");
        }
        let table = pg_sys::SPI_tuptable;
        (0..pg_sys::SPI_processed as usize)
            .map(|i| registered((*table).tupdesc, *(*table).vals.add(i)))
            .collect()
    }
}

unsafe fn registered(desc: pg_sys::TupleDesc, tuple: pg_sys::HeapTuple) -> Registered {
    let text = |at: i32| {
        // SAFETY: a row of the query above.
        let value = unsafe { pg_sys::SPI_getvalue(tuple, desc, at) };
        if value.is_null() {
            return None;
        }
        // SAFETY: a string of SPI's.
        Some(
            unsafe { CStr::from_ptr(value) }
                .to_string_lossy()
                .into_owned(),
        )
    };
    const NAMES: &[&str] = &[
        "source", "sync", "name", "target", "problem", "snapshot", "columns", "facts",
    ];
    let values = (1..=NAMES.len() as i32).map(text).collect();
    let row = Row::new("mirrors", NAMES, values);
    read_row(&row).unwrap_or_else(|e| error!("{e}"))
}

fn read_row(row: &Row) -> Result<Registered, OddValue> {
    let json: Option<serde_json::Value> =
        row.maybe_by("columns", |json| serde_json::from_str(json).ok())?;
    Ok(Registered {
        source: pg_sys::Oid::from(row.get::<u32>("source")?),
        sync: row.get("sync")?,
        sync_name: row.get("name")?,
        target: pg_sys::Oid::from(row.get::<u32>("target")?),
        problem: row.maybe("problem")?,
        // One that is not filled yet has none, and a problem.
        copied_lsn: row.maybe("snapshot")?.unwrap_or(0),
        columns: json.map(|j| columns_from_json(&j)).unwrap_or_default(),
        facts: row.get("facts")?,
    })
}

/// For columns of the original, by number, those of its mirror; both relations are locked.
pub(super) fn match_columns(
    table: &Registered,
    wanted: &[i16],
) -> Result<BTreeMap<i16, i16>, String> {
    // SAFETY: the locks are held; the relations are closed again. Names are compared before that.
    unsafe {
        let lock = pg_sys::NoLock as i32;
        let source = pg_sys::table_open(table.source, lock);
        let target = pg_sys::table_open(table.target, lock);
        let found = matching(table, wanted, (*source).rd_att, (*target).rd_att);
        pg_sys::table_close(target, lock);
        pg_sys::table_close(source, lock);
        found
    }
}

unsafe fn matching(
    table: &Registered,
    wanted: &[i16],
    source: pg_sys::TupleDesc,
    target: pg_sys::TupleDesc,
) -> Result<BTreeMap<i16, i16>, String> {
    let mut found = BTreeMap::new();
    for number in wanted {
        // SAFETY: the query uses the column, so it exists.
        let original = unsafe { compat::attribute(source, *number as usize - 1) };
        let known = table.columns.iter().find(|k| k.number == *number);
        // SAFETY: the descriptor of an open relation.
        let at = known.and_then(|k| unsafe { attributes::number_in_descriptor(target, &k.name) });
        let at = at.map(|number| number as i16);
        let same = at.zip(known).filter(|(at, known)| {
            // SAFETY: a position that was found.
            let mirrored = unsafe { compat::attribute(target, *at as usize - 1) };
            let kind =
                |a: &pg_sys::FormData_pg_attribute| (a.atttypid, a.atttypmod, a.attcollation);
            kind(original) == kind(mirrored)
                && known.type_oid == u32::from(original.atttypid)
                && known.typmod == original.atttypmod
        });
        let Some((at, _)) = same else {
            return Err(format!(
                "column {} of {} is not mirrored as it is now",
                pg::attribute_name(original),
                pg::table_name(table.source)
            ));
        };
        found.insert(*number, at);
    }
    Ok(found)
}
