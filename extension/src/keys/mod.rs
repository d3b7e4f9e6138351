// SPDX-License-Identifier: Apache-2.0
//! Key models: tables with one row a key, merged on write (docs/decisions/0003).
//!
//! `statement_checks` looks at statements before they are planned, `statement` knows which columns the running ones
//! name, `partition_move` which rows they move between partitions, `merge` decides what becomes of two rows of one key.
//! `model` says what the key of a table is and which index holds its heap rows; `key_encoding` turns keys into words or
//! bytes that compare; `probe` finds keys in segments; `heap` finds and replaces rows in the heap; `upsert_row` writes
//! one row, `publish_segment` a segment, `publish_merged` one whose rows are merged with stored ones, which `stored`
//! reads; `index_shell` stands in for functions of the key index, `index_scan_segments` has the segment rows of its
//! scans; `replacement_row` finds what replaced a row; `limit` says which keys are too long; `deleted_key_check`
//! remembers deleted keys, `record_deletes` those that statements delete; `index_cost` tells the planner what that
//! index can do; `ddl` makes it; `json` is `doris.upsert_json`.

pub mod ddl;
mod deleted_key_check;
pub mod heap;
pub mod index_cost;
mod index_scan_segments;
pub mod index_shell;
mod json;
pub mod key_encoding;
pub mod limit;
pub mod merge;
pub mod model;
pub mod partition_move;
pub mod probe;
pub mod publish_merged;
pub mod publish_segment;
pub mod record_deletes;
pub mod replacement_row;
pub mod statement;
pub mod statement_checks;
mod stored;
pub mod upsert_row;

use crate::compact::shared_state as compaction;
use crate::heap_call;
use crate::write::builder;
use pgrx::{extension_sql_file, pg_sys};

extension_sql_file!(
    "../../../sql/keys.sql",
    name = "keys_functions",
    requires = ["types_scalars"]
);

/// Writes rows that are inserted into a keyed table; false when it has no key.
///
/// # Safety
/// Slots of the relation's row type.
pub unsafe fn insert(
    rel: pg_sys::Relation,
    slots: &[*mut pg_sys::TupleTableSlot],
    cid: pg_sys::CommandId,
    options: i32,
    bistate: *mut pg_sys::BulkInsertStateData,
) -> bool {
    let Some(model) = model::of(rel) else {
        return false;
    };
    if partition_move::is_moved(rel, cid) {
        index_shell::begin_rows(rel);
        // SAFETY: passed on to the caller.
        slots
            .iter()
            .for_each(|slot| unsafe { insert_moved(rel, *slot, cid) });
        return true;
    }
    let plain = model.replaces && !statement::leaves_out_columns(rel, cid);
    let rule = match plain {
        true => None,
        false => merge::Rule::of(rel, cid).filter(|rule| !rule.replaces()),
    };
    let watch = statement::watch(rel, cid);
    // Then it is seen for each row whether it meets a stored one, and what it becomes.
    let watched = watch.row_security || (watch.check_option || watch.new_table) && rule.is_some();
    let loader = !bistate.is_null();
    let quiet = loader || builder::tids_unobserved(cid);
    // Under such a rule rows of a segment may become others when it is published.
    let free = rule.is_none() || quiet && builder::unobserved(rel, &model);
    if free && !watched && builder::takes_keyed(rel, &model, slots.len(), cid, loader) {
        index_shell::begin_rows(rel);
        // SAFETY: passed on to the caller.
        unsafe { builder::append(rel, slots, cid, quiet) };
        return true;
    }
    let Some(index) = model.index else {
        // CREATE TABLE AS into the heap: its key index, made afterwards, finds rows of equal keys.
        return false;
    };
    // HEAP_INSERT_FROZEN: a row that may replace others is not visible to all.
    let options = options & !crate::pg::toast::INSERT_FROZEN;
    let insert = upsert_row::Insert {
        cid,
        options,
        bistate,
        part: merge::Part::Loaded,
        row_security: watch.row_security,
    };
    // SAFETY: passed on to the caller.
    unsafe { upsert_row::insert(rel, &model, index, slots, rule.as_deref(), insert) };
    true
}

/// Puts a row that comes from another partition into the heap, as the next version of a row that gets another key: when
/// its entries are made in the key's indexes, other rows of the key are an error.
unsafe fn insert_moved(
    rel: pg_sys::Relation,
    slot: *mut pg_sys::TupleTableSlot,
    cid: pg_sys::CommandId,
) {
    // SAFETY: passed on to the caller.
    unsafe { heap_call!(tuple_insert(rel, slot, cid, 0, std::ptr::null_mut())) };
    compaction::count_heap_rows(rel, 1);
}
