// SPDX-License-Identifier: Apache-2.0
//! Deletes that are no loaded rows, in tables with a sequence column: those of DELETE and MERGE statements, which are
//! remembered with the sequence of the row that they delete, and those of `doris.upsert_json`, which bring one
//! (docs/decisions/0006).
use super::deleted_key_check;
use super::heap::{Holder, LiveRow, OpenXact, Search};
use super::key_encoding::Keys;
use super::merge::{Merged, Rule};
use super::model::{self, Model};
use super::probe::{self, SingleKey};
use super::publish_merged::Load;
use super::stored::{Columns, Reader};
use super::upsert_row::{self, SegmentHolder};
use crate::pg;
use crate::pg::toast::Toast;
use crate::read::attrs::{self, Attr};
use crate::read::datum::{datum, Arena};
use crate::store::anchors::{self, Claim};
use crate::store::deleted_keys;
use crate::store::directory_cache;
use crate::store::registration_lock::{KeyLock, Mode, RegistrationLock};
use crate::store::tid::RowNumber;
use crate::write::kind::Kind;
use doris_storage::vector::Vector;
use pgrx::pg_sys;
use std::rc::Rc;

/// A table with a sequence column, and what is needed to record deletes in it.
struct KeyedTable {
    rel: pg_sys::Relation,
    model: Rc<Model>,
    rule: Rc<Rule>,
    toast: Toast,
    cid: pg_sys::CommandId,
}

impl KeyedTable {
    /// `None` for tables that remember nothing.
    fn of(rel: pg_sys::Relation, cid: pg_sys::CommandId) -> Option<Self> {
        if !model::is_keyed(pg::relation_id(rel)) {
            return None;
        }
        let model = model::of(rel)?;
        model.sequence?;
        let rule = Rule::of_whole_rows(rel)?;
        let toast = crate::am::modify::toast_for_write(rel);
        Some(Self {
            rel,
            model,
            rule,
            toast,
            cid,
        })
    }

    fn load(&self) -> Load<'_> {
        Load {
            rel: self.rel,
            toast: &self.toast,
            model: &self.model,
            rule: &self.rule,
            cid: self.cid,
        }
    }

    /// The key columns, and behind them the sequence.
    fn attributes(&self) -> Vec<Attr> {
        let all = attrs::of(self.rel);
        let keys = self.model.columns.iter().map(|column| column.attr);
        let sequence = self.model.sequence.map(|n| all[usize::from(n) - 1]);
        keys.chain(sequence).collect()
    }

    fn columns(&self) -> Columns {
        let attrs = self.attributes();
        let all: Vec<usize> = (0..attrs.len()).collect();
        Columns::new(&attrs, &all)
    }

    /// Records the keys of rows that this transaction has deleted: nobody else can write those keys until it ends.
    fn record(&self, columns: Columns) {
        let columns = columns.finish();
        let (sequence, keys) = columns.split_last().expect("a key and a sequence");
        let vectors: Vec<(&Vector, u16)> = keys.iter().map(|(k, v)| (v, k.scale())).collect();
        let keys = Keys::of(&self.model, &vectors);
        let mut order: Vec<(Vec<u8>, usize)> = (0..keys.len())
            .filter(|row| !sequence.1.is_null(*row))
            .map(|row| (keys.bytes(row), row))
            .collect();
        if order.len() > 1 {
            // In the order in which records are filed: neighbours share pages.
            order.sort_by_cached_key(|(bytes, _)| deleted_keys::place(bytes));
        }
        let mut row = Row::new(self);
        for (bytes, at) in order {
            row.set(sequence, at);
            let _registration = RegistrationLock::acquire(&self.toast, Mode::Shared);
            let _key_lock = KeyLock::acquire(&self.toast, deleted_keys::hash(&bytes));
            // Another transaction's is of a row that has come and gone since.
            let found = deleted_keys::of_key(&self.toast, &bytes).unwrap_or_default();
            deleted_key_check::insert(&self.load(), &bytes, &found, row.values.row());
            pgrx::check_for_interrupts!();
        }
    }
}

/// A row of which only the sequence is known.
struct Row {
    values: Merged,
    attr: Attr,
    arena: Arena,
}

impl Row {
    fn new(table: &KeyedTable) -> Self {
        let all = attrs::of(table.rel);
        let number = table.model.sequence.unwrap_or(1);
        Self {
            values: Merged {
                values: vec![pg_sys::Datum::from(0); all.len()],
                nulls: vec![true; all.len()],
            },
            attr: all[usize::from(number) - 1],
            arena: Arena::default(),
        }
    }

    fn set(&mut self, (kind, vector): &(Kind, Vector), at: usize) {
        self.arena.reset();
        let value = datum(vector, at, &self.attr, kind.scale(), &mut self.arena);
        self.put(value);
    }

    fn put(&mut self, value: Option<pg_sys::Datum>) {
        let column = usize::from(self.attr.number) - 1;
        self.values.nulls[column] = value.is_none();
        self.values.values[column] = value.unwrap_or(pg_sys::Datum::from(0));
    }
}

/// Remembers a heap row that this command has deleted.
pub fn heap_row(rel: pg_sys::Relation, tid: pg_sys::ItemPointerData, cid: pg_sys::CommandId) {
    let Some(table) = KeyedTable::of(rel, cid) else {
        return;
    };
    let mut columns = table.columns();
    let live = LiveRow {
        tid,
        own: None,
        seen: true,
    };
    if !columns.push_heap(&mut Reader::new(rel), &live) {
        pgrx::error!("a row that was just deleted is gone");
    }
    table.record(columns);
}

/// Remembers segment rows that this command has deleted; ascending.
pub fn segment_rows(rel: pg_sys::Relation, rows: &[u64], cid: pg_sys::CommandId) {
    let Some(table) = KeyedTable::of(rel, cid) else {
        return;
    };
    let mut columns = table.columns();
    let mut rest = rows;
    while let Some(first) = rest.first() {
        let found =
            directory_cache::owner(rel, &table.toast, RowNumber(*first)).unwrap_or_else(|| {
                pg::report_corrupt(rel, format!("no segment holds row {first}"));
            });
        let of_segment = rest.partition_point(|row| found.entry.covers(*row));
        let numbers: Vec<RowNumber> = rest[..of_segment]
            .iter()
            .map(|row| RowNumber(*row))
            .collect();
        columns.push_segment(rel, &table.toast, &found, &numbers);
        rest = &rest[of_segment..];
    }
    table.record(columns);
}

/// Deletes of keys, each with a sequence.
pub struct DeleteRecorder {
    table: KeyedTable,
    search: Search,
    row: Row,
}

impl DeleteRecorder {
    /// `None` for tables that remember nothing.
    pub fn of(rel: pg_sys::Relation, cid: pg_sys::CommandId) -> Option<Self> {
        let table = KeyedTable::of(rel, cid)?;
        let search = Search::open(rel, &table.model, table.model.index?);
        let row = Row::new(&table);
        Some(Self { table, search, row })
    }

    /// Remembers that a key was deleted with a sequence, unless a row is stored of it, whose sequence speaks for the
    /// key. Tells whether it is remembered. Raises an error where the row or an earlier delete came after the snapshot
    /// of a transaction that must not see later changes.
    ///
    /// # Safety
    /// Datums of the key columns' and the sequence column's types.
    pub unsafe fn record(
        &mut self,
        values: &[(pg_sys::Datum, bool)],
        sequence: pg_sys::Datum,
    ) -> bool {
        let KeyedTable {
            rel, model, toast, ..
        } = &self.table;
        let rel = *rel;
        self.row.put(Some(sequence));
        // SAFETY: passed on to the caller.
        let key = unsafe { SingleKey::of_row(model, values) };
        loop {
            let registration = RegistrationLock::acquire(toast, Mode::Shared);
            let key_lock = KeyLock::acquire(toast, deleted_keys::hash(key.bytes()));
            let wait = match holder_of(
                registration,
                (rel, model, toast),
                &mut self.search,
                values,
                &key,
            ) {
                KeyHolder::Nobody(_registration) => {
                    let load = self.table.load();
                    match deleted_key_check::of_key(&load, key.bytes()) {
                        Ok(found) => {
                            deleted_key_check::insert(
                                &load,
                                key.bytes(),
                                &found,
                                self.row.values.row(),
                            );
                            return true;
                        }
                        Err(open) => open,
                    }
                }
                KeyHolder::Row => return false,
                KeyHolder::Open(open) => open,
            };
            drop(key_lock);
            wait.wait(rel);
            pgrx::check_for_interrupts!();
        }
    }
}

/// Who holds a key.
enum KeyHolder {
    /// Nobody, as long as the registration lock is held.
    Nobody(RegistrationLock),
    Row,
    Open(OpenXact),
}

fn holder_of(
    registration: RegistrationLock,
    (rel, model, toast): (pg_sys::Relation, &Model, &Toast),
    search: &mut Search,
    values: &[(pg_sys::Datum, bool)],
    key: &SingleKey,
) -> KeyHolder {
    // Behind a search of the heap, a row could go there from a segment; not the other way, with the registration lock
    // held.
    let seen = probe::first(&registration, (rel, toast, model), key, |found, row| {
        upsert_row::segment_holder(&registration, rel, toast, found, row)
    });
    match seen.unwrap_or(SegmentHolder::None) {
        SegmentHolder::None => {}
        SegmentHolder::Open(xid) => return KeyHolder::Open(OpenXact { xid, token: 0 }),
        SegmentHolder::Row(found, row, free) => {
            upsert_row::check_seen(upsert_row::is_seen(
                rel,
                toast,
                &found,
                std::iter::once(row),
            ));
            if free {
                anchors::release(rel, row, Claim::Free(registration));
            }
            return KeyHolder::Row;
        }
    }
    // SAFETY: Datums of the key columns' types, as the caller's caller promises.
    match unsafe { search.find(values) } {
        Holder::Open(open) => KeyHolder::Open(open),
        Holder::Row(live) => {
            upsert_row::check_seen(live.seen);
            KeyHolder::Row
        }
        Holder::None => KeyHolder::Nobody(registration),
    }
}
