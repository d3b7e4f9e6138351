// SPDX-License-Identifier: Apache-2.0
//! Fills mirrors with many rows: of a query of this database, of a copy from another one, of the stream.
use super::apply_shell::ROWS_AT_ONCE;
use super::mirror_relation::MirrorRelation;
use super::relation_shell;
use super::row_converter::Over;
use super::session::{as_user, current_role};
use doris_cdc::pgoutput::Tuple;
use pgrx::prelude::*;

/// Inserts the rows that `f` pushes; their number is told to `progress` now and then, and returned.
pub(crate) fn load(
    target: u32,
    attributes: &[i16],
    progress: &dyn Fn(u64),
    f: impl FnOnce(&mut Load<'_>),
) -> u64 {
    let mut rows = 0;
    // SAFETY: a transaction is open; an error throws everything away with it.
    unsafe {
        let mut opened = MirrorRelation::open(target, attributes);
        opened.pass(|o| {
            let mut load = Load::new(o, progress);
            f(&mut load);
            rows = load.finish();
        });
        opened.close();
    }
    rows
}

/// Inserts the rows of a table of this database, as a query of it has them, which `reader` runs.
pub(crate) fn load_query(
    target: u32,
    attributes: &[i16],
    (table, sql): (u32, &str),
    reader: pg_sys::Oid,
    progress: &dyn Fn(u64),
) -> u64 {
    let writer = current_role();
    load(target, attributes, progress, |load| {
        // SAFETY: the receiver outlives the query, which is the only one to use it; the query reads only.
        unsafe {
            let mut receiver = QueryRows {
                base: pg_sys::DestReceiver {
                    receiveSlot: Some(receive_slot),
                    rStartup: Some(receiver_startup),
                    rShutdown: Some(receiver_shutdown),
                    rDestroy: Some(receiver_shutdown),
                    mydest: pg_sys::CommandDest::DestTransientRel,
                },
                load: (&raw mut *load).cast(),
                writer,
            };
            // What is read is what the copy's snapshot sees; the rows written are not read.
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            as_user(reader, || {
                relation_shell::read(table, sql, (&raw mut receiver).cast())
            });
            pg_sys::PopActiveSnapshot();
        }
    })
}

/// Takes the rows of a query.
#[repr(C)]
struct QueryRows {
    base: pg_sys::DestReceiver,
    load: *mut std::ffi::c_void,
    /// The role that writes them.
    writer: pg_sys::Oid,
}

#[pg_guard]
unsafe extern "C-unwind" fn receive_slot(
    slot: *mut pg_sys::TupleTableSlot,
    receiver: *mut pg_sys::DestReceiver,
) -> bool {
    // SAFETY: the receiver is the one `load_query` made, its load is alive while the query runs.
    unsafe {
        let receiver = &*receiver.cast::<QueryRows>();
        let load = receiver.load.cast::<Load<'_>>();
        as_user(receiver.writer, || (*load).push_slot(slot));
    }
    true
}

#[pg_guard]
unsafe extern "C-unwind" fn receiver_startup(
    _receiver: *mut pg_sys::DestReceiver,
    _operation: i32,
    _row_type: pg_sys::TupleDesc,
) {
}

#[pg_guard]
unsafe extern "C-unwind" fn receiver_shutdown(_receiver: *mut pg_sys::DestReceiver) {}

/// Rows on their way into a mirror, many at a time where nothing of the table looks at single rows.
pub(crate) struct Load<'o> {
    opened: &'o mut MirrorRelation,
    slots: Vec<*mut pg_sys::TupleTableSlot>,
    used: usize,
    bulk: *mut pg_sys::BulkInsertStateData,
    rows: u64,
    progress: &'o dyn Fn(u64),
}

impl<'o> Load<'o> {
    pub(super) fn new(opened: &'o mut MirrorRelation, progress: &'o dyn Fn(u64)) -> Self {
        Load {
            opened,
            slots: Vec::new(),
            used: 0,
            // SAFETY: allocates.
            bulk: unsafe { pg_sys::GetBulkInsertState() },
            rows: 0,
            progress,
        }
    }

    /// Takes a row of the stream's form.
    pub(crate) fn push(&mut self, row: Tuple<'_>) {
        // SAFETY: the slot is of the relation's row type; converted values live until they are written.
        unsafe {
            let slot = self.slot();
            self.opened.fill(slot, row, Over::Defaults);
            self.filled();
        }
    }

    /// Takes a row of a query, whose columns are those of the load.
    unsafe fn push_slot(&mut self, from: *mut pg_sys::TupleTableSlot) {
        // SAFETY: both slots hold their row type's number of values.
        unsafe {
            let slot = self.slot();
            self.opened.fill_from(slot, from);
            self.filled();
        }
    }

    unsafe fn slot(&mut self) -> *mut pg_sys::TupleTableSlot {
        // SAFETY: the slots belong to the executor state.
        unsafe {
            if !(*self.opened.rri).ri_TrigDesc.is_null() {
                return self.opened.new;
            }
            if self.used == self.slots.len() {
                let (rel, estate) = (self.opened.rel, self.opened.estate);
                let before = pg_sys::MemoryContextSwitchTo((*estate).es_query_cxt);
                let tables = &raw mut (*estate).es_tupleTable;
                self.slots.push(pg_sys::table_slot_create(rel, tables));
                pg_sys::MemoryContextSwitchTo(before);
            }
            self.slots[self.used]
        }
    }

    unsafe fn filled(&mut self) {
        self.rows += 1;
        // SAFETY: the slot given last holds a row.
        unsafe {
            let opened = &mut *self.opened;
            if !(*opened.rri).ri_TrigDesc.is_null() {
                pg_sys::ExecSimpleRelationInsert(opened.rri, opened.estate, opened.new);
                pg_sys::ExecClearTuple(opened.new);
                opened.reset_values();
                return;
            }
            opened.complete(self.slots[self.used]);
            self.used += 1;
            if self.used == ROWS_AT_ONCE {
                self.write();
                (self.progress)(self.rows);
            }
        }
    }

    unsafe fn write(&mut self) {
        let used = std::mem::take(&mut self.used);
        // SAFETY: the first `used` slots are filled.
        unsafe { self.opened.insert_slots(&mut self.slots[..used], self.bulk) }
    }

    /// Writes what is left; returns the number of rows.
    pub(super) fn finish(mut self) -> u64 {
        // SAFETY: ends what `new` began.
        unsafe {
            self.write();
            pg_sys::FreeBulkInsertState(self.bulk);
            pg_sys::table_finish_bulk_insert(self.opened.rel, 0);
        }
        (self.progress)(self.rows);
        self.rows
    }
}
