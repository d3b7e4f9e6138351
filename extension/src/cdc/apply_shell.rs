// SPDX-License-Identifier: Apache-2.0
//! Writes folded changes into a mirror: deletes, then updates, then inserts, through the table's access method and
//! its indexes, with the rights of the sync's owner.
//!
//! The key index is scanned with one scan for a whole pass and rows go in by the thousand; through SQL the same
//! would be parsed, planned and converted row by row.
use super::key_lookup::Lookup;
use super::load_shell::Load;
use super::mirror_relation::MirrorRelation;
use super::row_converter::Over;
use super::target::{Pending, Plan};
use crate::am::is_doris;
use crate::keys::publish_segment::{delete_keys, Batch};
use crate::write::column::Column;
use doris_cdc::fold::Net;
use doris_cdc::pgoutput::{Tuple, Value};
use pgrx::prelude::*;

/// Rows inserted at a time, and after which the memory of converted values is given back.
pub(super) const ROWS_AT_ONCE: usize = 1000;

/// From here on it pays to look for all keys of a fold at once.
const AT_ONCE: usize = 100;

extern "C-unwind" {
    fn ExecComputeStoredGenerated(
        rri: *mut pg_sys::ResultRelInfo,
        estate: *mut pg_sys::EState,
        slot: *mut pg_sys::TupleTableSlot,
        command: pg_sys::CmdType::Type,
    );
}

/// Writes what is pending. Returns the number of rows to change that were not there.
pub(crate) fn write(target: u32, plan: &Plan) -> u64 {
    // SAFETY: a transaction is open; an error throws everything away with it.
    unsafe {
        let mut opened = MirrorRelation::open(target, &plan.attributes);
        match (&plan.pending, &plan.key) {
            (Pending::Keyed(fold), Some((index, positions))) => {
                let upserts = opened.upserts();
                // Bulk writes by key sort by themselves.
                // An order of its own could give a row what another one has still to give up.
                let free = !upserts && opened.has_one_unique_index(*index);
                let sorted = free.then(|| fold.by_key());
                let net = || -> Box<dyn Iterator<Item = Net<'_>>> {
                    match &sorted {
                        Some(all) => Box::new(all.iter().copied()),
                        None => Box::new(fold.net()),
                    }
                };
                let mut work = Work::default();
                net().for_each(|n| work.count(&n));
                let whole = work.deletes + work.whole;
                let in_bulk = whole >= AT_ONCE && !opened.has_triggers() && is_doris(opened.rel);
                // Rows that go and come again as a whole, in a table that does not replace them by itself.
                let fills_all = opened.fills_all_columns();
                let again = in_bulk && !upserts && fills_all;
                if again {
                    opened.pass(|o| o.delete_found(net(), *index, positions));
                } else if upserts && work.deletes >= AT_ONCE && !opened.has_triggers() {
                    opened.pass(|o| o.delete_keys(net(), *index, positions));
                } else if work.deletes > 0 {
                    opened.pass(|o| o.change_found(net(), *index, positions, true));
                }
                // A row that is replaced loses what the target's own columns hold.
                let inserted = upserts && fills_all || again;
                if work.updates > 0 || work.whole > 0 && !inserted {
                    let updates = net().filter(|n| !(inserted && is_whole(n)));
                    opened.pass(|o| o.change_found(updates, *index, positions, false));
                }
                if work.inserts > 0 || work.whole > 0 && inserted {
                    let rows = net().filter_map(|n| match n {
                        Net::Insert(row) => Some(row),
                        Net::Update { row, .. } if inserted && is_whole(&n) => Some(row),
                        _ => None,
                    });
                    opened.pass(|o| o.insert_all(rows));
                }
            }
            (Pending::Counted(bag), _) => {
                if bag.removed().next().is_some() {
                    opened.pass(|o| o.delete_equal(bag.removed()));
                }
                if bag.added().next().is_some() {
                    opened.pass(|o| o.insert_all(bag.added()));
                }
            }
            (Pending::Keyed(_), None) => error!("folded changes without a key"),
        }
        let missing = opened.missing;
        opened.close();
        missing
    }
}

/// What a fold asks for.
#[derive(Default)]
struct Work {
    deletes: usize,
    /// Updates that leave out a value that did not change.
    updates: usize,
    /// Those that have the whole row.
    whole: usize,
    inserts: usize,
}

impl Work {
    fn count(&mut self, net: &Net<'_>) {
        match net {
            Net::Delete { .. } => self.deletes += 1,
            Net::Update { .. } if is_whole(net) => self.whole += 1,
            Net::Update { .. } => self.updates += 1,
            Net::Insert(_) => self.inserts += 1,
        }
    }
}

/// Whether an update has the whole row, so that an insert is as good where the row before it goes.
fn is_whole(net: &Net<'_>) -> bool {
    matches!(net, Net::Update { row, .. } if !row.has_unchanged())
}

impl MirrorRelation {
    /// Deletes the rows of all keys at once, from a mirror that has one row a key.
    unsafe fn delete_keys<'a>(
        &mut self,
        net: impl Iterator<Item = Net<'a>>,
        index: pg_sys::Oid,
        positions: &[usize],
    ) {
        let Some(model) = crate::keys::model::of(self.rel) else {
            error!("the mirror has no unique key");
        };
        // SAFETY: the index is the relation's; values of the key columns live until they have been pushed.
        unsafe {
            let index = Lookup::open(self.rel, index);
            let places = model.columns.iter().map(|c| {
                let at = index
                    .attributes
                    .iter()
                    .position(|a| *a as u16 == c.attr.number);
                at.map_or_else(
                    || error!("the mirror's key is not its model's"),
                    |at| positions[at],
                )
            });
            let places: Vec<usize> = places.collect();
            index.close();
            let converters: Vec<usize> = model
                .columns
                .iter()
                .map(|c| {
                    let wanted = usize::from(c.attr.number) - 1;
                    let found = self.converters.iter().position(|c| c.attribute == wanted);
                    found.unwrap_or_else(|| error!("the stream lacks a column of the key"))
                })
                .collect();
            let mut columns: Vec<Column> = model
                .columns
                .iter()
                .map(|c| Column::new(c.attr.kind))
                .collect();
            let mut keys = 0;
            for change in net {
                let Net::Delete { key } = change else {
                    continue;
                };
                for (i, column) in columns.iter_mut().enumerate() {
                    let value = key.values().nth(places[i]).unwrap_or(Value::Null);
                    let datum = self.convert(converters[i], value);
                    column.push(datum.unwrap_or(pg_sys::Datum::null()), datum.is_none());
                }
                keys += 1;
                if keys % ROWS_AT_ONCE == 0 {
                    self.reset_values();
                }
            }
            self.reset_values();
            let columns = columns
                .into_iter()
                .map(|c| (c.kind(), c.finish()))
                .collect();
            let batch = Batch::fold(&model, columns, true, None);
            let deleted = delete_keys(self.rel, &model, &batch, (*self.estate).es_output_cid);
            self.missing += keys.saturating_sub(deleted) as u64;
        }
    }

    /// Deletes the rows of all keys that go, or are there again as a whole, at once.
    unsafe fn delete_found<'a>(
        &mut self,
        net: impl Iterator<Item = Net<'a>>,
        index: pg_sys::Oid,
        positions: &[usize],
    ) {
        // SAFETY: one index scan under the active snapshot, closed before a row is deleted.
        unsafe {
            let mut lookup = Lookup::open(self.rel, index);
            let mut found = Vec::new();
            for (at, change) in net.enumerate() {
                if at % ROWS_AT_ONCE == 0 {
                    super::session::check_interrupts();
                    self.reset_values();
                }
                let key = match change {
                    Net::Delete { key } => key,
                    Net::Update { key, .. } if is_whole(&change) => key,
                    _ => continue,
                };
                self.fill_keys(&mut lookup, key, positions);
                match lookup.find(self.old) {
                    true => found.push((*self.old).tts_tid),
                    false => self.missing += 1,
                }
            }
            pg_sys::ExecClearTuple(self.old);
            lookup.close();
            self.reset_values();
            self.delete_places(found);
        }
    }

    /// Deletes the rows at these places, which the pass's snapshot sees.
    pub(super) unsafe fn delete_places(&mut self, found: Vec<pg_sys::ItemPointerData>) {
        // SAFETY: the slots belong to the executor state.
        unsafe {
            let rest = match self.has_triggers() {
                true => found,
                false => crate::bulk_dml::bulk_mark::at_once(
                    self.rel,
                    found,
                    (*self.estate).es_output_cid,
                ),
            };
            for (at, tid) in rest.iter().enumerate() {
                pg_sys::ExecStoreAllNullTuple(self.old);
                (*self.old).tts_tid = *tid;
                pg_sys::ExecSimpleRelationDelete(self.rri, self.estate, &mut self.epq, self.old);
                if at % ROWS_AT_ONCE == 0 {
                    super::session::check_interrupts();
                }
            }
            pg_sys::ExecClearTuple(self.old);
        }
    }

    /// Deletes, or updates, the rows of their keys.
    unsafe fn change_found<'a>(
        &mut self,
        net: impl Iterator<Item = Net<'a>>,
        index: pg_sys::Oid,
        positions: &[usize],
        deletes: bool,
    ) {
        // SAFETY: one index scan under the active snapshot, closed before the pass ends.
        unsafe {
            let mut lookup = Lookup::open(self.rel, index);
            let mut since_reset = 0;
            for change in net {
                let (key, row) = match change {
                    Net::Delete { key } if deletes => (key, None),
                    Net::Update { key, row } if !deletes => (key, Some(row)),
                    _ => continue,
                };
                self.fill_keys(&mut lookup, key, positions);
                if lookup.find(self.old) {
                    match row {
                        None => pg_sys::ExecSimpleRelationDelete(
                            self.rri,
                            self.estate,
                            &mut self.epq,
                            self.old,
                        ),
                        Some(row) => {
                            self.fill(self.new, row, Over::OldRow);
                            pg_sys::ExecSimpleRelationUpdate(
                                self.rri,
                                self.estate,
                                &mut self.epq,
                                self.old,
                                self.new,
                            );
                        }
                    }
                } else {
                    self.missing += 1;
                    if let Some(row) = row {
                        self.fill(self.new, row, Over::Defaults);
                        pg_sys::ExecSimpleRelationInsert(self.rri, self.estate, self.new);
                    }
                }
                pg_sys::ExecClearTuple(self.old);
                pg_sys::ExecClearTuple(self.new);
                since_reset += 1;
                if since_reset == ROWS_AT_ONCE {
                    since_reset = 0;
                    self.reset_values();
                }
            }
            lookup.close();
            self.reset_values();
        }
    }

    unsafe fn fill_keys(&mut self, lookup: &mut Lookup, key: Tuple<'_>, positions: &[usize]) {
        for (at, position) in positions.iter().enumerate() {
            let value = key.values().nth(*position).unwrap_or(Value::Null);
            let wanted = lookup.attributes[at] as usize - 1;
            let column = self.converters.iter().position(|c| c.attribute == wanted);
            // SAFETY: a key column is a column of the stream.
            lookup.keys[at].sk_argument = unsafe { self.convert(column.unwrap_or(0), value) }
                .unwrap_or(pg_sys::Datum::null());
        }
    }

    /// Inserts rows.
    unsafe fn insert_all<'a>(&mut self, rows: impl Iterator<Item = Tuple<'a>>) {
        let mut load = Load::new(self, &|_| ());
        rows.for_each(|row| load.push(row));
        load.finish();
    }

    /// Generated columns and constraints of a row about to be inserted.
    pub(super) unsafe fn complete(&mut self, slot: *mut pg_sys::TupleTableSlot) {
        // SAFETY: the slot is filled.
        unsafe {
            let constraints = (*(*self.rel).rd_att).constr;
            if constraints.is_null() {
                return;
            }
            if (*constraints).has_generated_stored {
                let (rri, estate) = (self.rri, self.estate);
                let command = pg_sys::CmdType::CMD_INSERT;
                crate::pg::raw::guarded(|| ExecComputeStoredGenerated(rri, estate, slot, command));
            }
            pg_sys::ExecConstraints(self.rri, slot, self.estate);
        }
    }

    pub(super) unsafe fn insert_slots(
        &mut self,
        slots: &mut [*mut pg_sys::TupleTableSlot],
        bulk: *mut pg_sys::BulkInsertStateData,
    ) {
        if slots.is_empty() {
            return;
        }
        // SAFETY: the slots are filled with values that live in `values`.
        unsafe {
            let before = pg_sys::MemoryContextSwitchTo(self.values);
            let command = (*self.estate).es_output_cid;
            pg_sys::table_multi_insert(
                self.rel,
                slots.as_mut_ptr(),
                slots.len() as i32,
                command,
                0,
                bulk,
            );
            pg_sys::MemoryContextSwitchTo(before);
            for slot in slots.iter() {
                if (*self.rri).ri_NumIndices > 0 {
                    let list = insert_index_entries(self.rri, *slot, self.estate);
                    pg_sys::list_free(list);
                }
                pg_sys::ExecClearTuple(*slot);
            }
            self.reset_values();
        }
    }
}

unsafe fn insert_index_entries(
    rri: *mut pg_sys::ResultRelInfo,
    slot: *mut pg_sys::TupleTableSlot,
    estate: *mut pg_sys::EState,
) -> *mut pg_sys::List {
    let (conflict, arbiters) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: the slot holds a row just inserted into the relation.
    unsafe {
        #[cfg(feature = "pg15")]
        let list =
            pg_sys::ExecInsertIndexTuples(rri, slot, estate, false, false, conflict, arbiters);
        #[cfg(not(feature = "pg15"))]
        let list = pg_sys::ExecInsertIndexTuples(
            rri, slot, estate, false, false, conflict, arbiters, false,
        );
        list
    }
}
