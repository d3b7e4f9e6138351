// SPDX-License-Identifier: Apache-2.0
//! After a statement: the options of what it made are checked and stored, and follow what it renamed.
use super::super::{check, table};
use super::{
    is_table_named, method_oid, prepare, relations, states, type_of, Column, Frame, Options,
};
use crate::keys;
use crate::pg;
use pgrx::pg_sys;

/// After a command: checks and stores the options of what it made, follows what it renamed.
pub(super) fn apply(frame: Frame) {
    // SAFETY: plain call: what the command wrote becomes visible.
    unsafe { pg_sys::CommandCounterIncrement() };
    states::check_names(&frame.aggregates);
    let mut seen = Vec::new();
    let indexed: Vec<pg_sys::Oid> = frame.created.iter().filter_map(indexed_table).collect();
    for relid in frame
        .created
        .iter()
        .chain(&frame.altered)
        .chain(&indexed)
        .chain(frame.stripped.iter())
    {
        if seen.contains(relid) {
            continue;
        }
        seen.push(*relid);
        let new = frame.stripped == Some(*relid)
            || frame.created.contains(relid)
                && frame
                    .name
                    .as_deref()
                    .is_some_and(|name| is_table_named(*relid, name));
        settle_one(&frame, *relid, new);
    }
    // SAFETY: a variable that is set once. An upgrade brings what there was.
    if frame.refers && !unsafe { pg_sys::IsBinaryUpgrade } {
        let constraints = frame.constraints.iter().copied();
        constraints.for_each(relations::check_constraint);
    }
    // SAFETY: catalogue look-ups.
    let partition = |relid: &&pg_sys::Oid| unsafe { pg_sys::get_rel_relispartition(**relid) };
    for relid in frame
        .created
        .iter()
        .chain(&frame.attached)
        .filter(partition)
    {
        relations::warn_of_partitions(*relid);
    }
}

/// The table of a new index, which may be another one on its key.
fn indexed_table(relid: &pg_sys::Oid) -> Option<pg_sys::Oid> {
    // SAFETY: catalogue look-ups; both tell of what is gone.
    let table = unsafe {
        match pg_sys::get_rel_relkind(*relid) as u8 {
            pg_sys::RELKIND_INDEX => pg_sys::IndexGetRelation(*relid, true),
            _ => return None,
        }
    };
    (table::access_method(table) == method_oid()).then_some(table)
}

/// `new`: the frame's options are for this relation.
fn settle_one(frame: &Frame, relid: pg_sys::Oid, new: bool) {
    let mut options = table::stored(relid);
    let before = options.clone();
    if new {
        options.clone_from(&frame.options);
    }
    states::record(relid);
    if table::access_method(relid) != method_oid() {
        // The table was turned into one of another access method, which knows nothing of our options.
        if !before.is_empty() {
            table::store(relid, &[]);
        }
        return;
    }
    for column in frame.columns.iter().filter(|c| c.relid == relid) {
        check_type(column, &options);
        follow_rename(relid, column.number, &column.name, &mut options);
    }
    // The command's lock on the relation lasts until the transaction ends.
    let checked = pg::with_relation_if_any(relid, pg_sys::NoLock, |rel| {
        // SAFETY: an open relation.
        let kind = unsafe { (*(*rel).rd_rel).relkind } as u8;
        if kind == pg_sys::RELKIND_TOASTVALUE {
            return Options::new();
        }
        check::reserved_names(rel);
        check::options(rel, &options)
    });
    let Some(checked) = checked else {
        return;
    };
    if checked != before {
        table::store(relid, &checked);
    }
    let late =
        |(option, value): &(String, String)| option == table::MERGE_ON_WRITE && value == "false";
    if new && frame.created.contains(&relid) && checked.iter().any(late) {
        pgrx::notice!(
            "rows of equal keys are merged when they are written, also without merge_on_write: answers are the same"
        );
    }
    settle_key(relid);
}

/// Gives a keyed table its key index, once its options are stored.
fn settle_key(relid: pg_sys::Oid) {
    // SAFETY: as in `settle_one`; the relation is closed while its index is made.
    unsafe {
        let rel = pg_sys::try_relation_open(relid, pg_sys::NoLock as i32);
        if rel.is_null() {
            return;
        }
        keys::ddl::ensure_key_index(rel);
        pg_sys::relation_close(rel, pg_sys::NoLock as i32);
    }
}

/// A column of the key keeps its type, in whatever way the statement came to it.
fn check_type(column: &Column, options: &Options) {
    let key = prepare::key_option_with(options, &column.name);
    if let Some(option) = key.filter(|_| type_of(column.relid, column.number) != column.type_of) {
        prepare::refuse_type_change(column.relid, &column.name, &option);
    }
}

/// Writes a column's new name wherever an option has the old one.
fn follow_rename(relid: pg_sys::Oid, number: i16, old: &str, options: &mut Options) {
    let Some(new) = pg::column_name_if_any(relid, number) else {
        return;
    };
    let lists = options
        .iter_mut()
        .filter(|(option, _)| table::names_columns(option));
    for (_, value) in lists {
        let mut names = table::column_names(value);
        if let Some(name) = names.iter_mut().find(|name| *name == old) {
            name.clone_from(&new);
            *value = check::join(&names);
        }
    }
}
