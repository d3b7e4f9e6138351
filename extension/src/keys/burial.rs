// SPDX-License-Identifier: Apache-2.0
//! Deletes that are no loaded rows, in tables with a sequence column: those of DELETE and MERGE statements, which are
//! remembered with the sequence of the row that they delete, and those of `doris.upsert_json`, which bring one
//! (docs/decisions/0006).
use super::code::Keys;
use super::deleted;
use super::heap::{Holder, Live, Open, Search};
use super::meet::Load;
use super::merge::{Merged, Rule};
use super::model::{self, Model};
use super::probe::{self, One};
use super::single::{self, Seen};
use super::stored::{Columns, Reader};
use crate::pg;
use crate::pg::toast::Toast;
use crate::read::attrs::{self, Attr};
use crate::read::datum::{datum, Arena};
use crate::store::anchors::{self, Claim};
use crate::store::gate::{Gate, Latch, Mode};
use crate::store::graves;
use crate::store::known;
use crate::store::tid::RowNumber;
use crate::write::kind::Kind;
use doris_storage::vector::Vector;
use pgrx::pg_sys;
use std::rc::Rc;

/// What is needed to remember deletes of a table.
struct Memory {
    rel: pg_sys::Relation,
    model: Rc<Model>,
    rule: Rc<Rule>,
    toast: Toast,
    cid: pg_sys::CommandId,
}

impl Memory {
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

    /// Digs the graves of rows that this transaction has deleted: nobody else can write their keys until it ends.
    fn bury(&self, columns: Columns) {
        let columns = columns.finish();
        let (sequence, keys) = columns.split_last().expect("a key and a sequence");
        let vectors: Vec<(&Vector, u16)> = keys.iter().map(|(k, v)| (v, k.scale())).collect();
        let keys = Keys::of(&self.model, &vectors);
        let mut order: Vec<(Vec<u8>, usize)> = (0..keys.len())
            .filter(|row| !sequence.1.is_null(*row))
            .map(|row| (keys.bytes(row), row))
            .collect();
        if order.len() > 1 {
            // In the order in which graves are filed: neighbours share pages.
            order.sort_by_cached_key(|(bytes, _)| graves::place(bytes));
        }
        let mut row = Row::new(self);
        for (bytes, at) in order {
            row.set(sequence, at);
            let _gate = Gate::take(&self.toast, Mode::Single);
            let _latch = Latch::take(&self.toast, graves::hash(&bytes));
            // Another transaction's is of a row that has come and gone since.
            let found = graves::of_key(&self.toast, &bytes).unwrap_or_default();
            deleted::dig(&self.load(), &bytes, &found, row.values.row());
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
    fn new(memory: &Memory) -> Self {
        let all = attrs::of(memory.rel);
        let number = memory.model.sequence.unwrap_or(1);
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
    let Some(memory) = Memory::of(rel, cid) else {
        return;
    };
    let mut columns = memory.columns();
    let live = Live {
        tid,
        own: None,
        seen: true,
    };
    if !columns.push_heap(&mut Reader::new(rel), &live) {
        pgrx::error!("a row that was just deleted is gone");
    }
    memory.bury(columns);
}

/// Remembers segment rows that this command has deleted; ascending.
pub fn segment_rows(rel: pg_sys::Relation, rows: &[u64], cid: pg_sys::CommandId) {
    let Some(memory) = Memory::of(rel, cid) else {
        return;
    };
    let mut columns = memory.columns();
    let mut rest = rows;
    while let Some(first) = rest.first() {
        let found = known::owner(rel, &memory.toast, RowNumber(*first)).unwrap_or_else(|| {
            pg::report_corrupt(rel, format!("no segment holds row {first}"));
        });
        let of_segment = rest.partition_point(|row| found.entry.covers(*row));
        let numbers: Vec<RowNumber> = rest[..of_segment]
            .iter()
            .map(|row| RowNumber(*row))
            .collect();
        columns.push_segment(rel, &memory.toast, &found, &numbers);
        rest = &rest[of_segment..];
    }
    memory.bury(columns);
}

/// Deletes of keys, each with a sequence.
pub struct Burial {
    memory: Memory,
    search: Search,
    row: Row,
}

impl Burial {
    /// `None` for tables that remember nothing.
    pub fn of(rel: pg_sys::Relation, cid: pg_sys::CommandId) -> Option<Self> {
        let memory = Memory::of(rel, cid)?;
        let search = Search::open(rel, &memory.model, memory.model.index?);
        let row = Row::new(&memory);
        Some(Self {
            memory,
            search,
            row,
        })
    }

    /// Remembers that a key was deleted with a sequence, unless a row is stored of it, whose sequence speaks for the key.
    /// Tells whether it is remembered. Raises an error where the row or an earlier delete came after the snapshot of a
    /// transaction that must not see later changes.
    ///
    /// # Safety
    /// Datums of the key columns' and the sequence column's types.
    pub unsafe fn key(
        &mut self,
        values: &[(pg_sys::Datum, bool)],
        sequence: pg_sys::Datum,
    ) -> bool {
        let Memory {
            rel, model, toast, ..
        } = &self.memory;
        let rel = *rel;
        self.row.put(Some(sequence));
        // SAFETY: passed on to the caller.
        let key = unsafe { One::of_row(model, values) };
        loop {
            let gate = Gate::take(toast, Mode::Single);
            let latch = Latch::take(toast, graves::hash(key.bytes()));
            let wait = match who(gate, (rel, model, toast), &mut self.search, values, &key) {
                Who::Nobody(_gate) => {
                    let load = self.memory.load();
                    match deleted::of_key(&load, key.bytes()) {
                        Ok(found) => {
                            deleted::dig(&load, key.bytes(), &found, self.row.values.row());
                            return true;
                        }
                        Err(open) => open,
                    }
                }
                Who::Row => return false,
                Who::Open(open) => open,
            };
            drop(latch);
            wait.wait(rel);
            pgrx::check_for_interrupts!();
        }
    }
}

/// Who has a key.
enum Who {
    /// Nobody, as long as the gate is held.
    Nobody(Gate),
    Row,
    Open(Open),
}

fn who(
    gate: Gate,
    (rel, model, toast): (pg_sys::Relation, &Model, &Toast),
    search: &mut Search,
    values: &[(pg_sys::Datum, bool)],
    key: &One,
) -> Who {
    // Behind a search of the heap, a row could go there from a segment; not the other way, with the gate held.
    let seen = probe::first(&gate, (rel, toast, model), key, |found, row| {
        single::seen(&gate, rel, toast, found, row)
    });
    match seen.unwrap_or(Seen::None) {
        Seen::None => {}
        Seen::Open(xid) => return Who::Open(Open { xid, token: 0 }),
        Seen::Row(found, row, free) => {
            single::check_seen(single::is_seen(rel, toast, &found, std::iter::once(row)));
            if free {
                anchors::release(rel, row, Claim::Free(gate));
            }
            return Who::Row;
        }
    }
    // SAFETY: Datums of the key columns' types, as the caller's caller promises.
    match unsafe { search.find(values) } {
        Holder::Open(open) => Who::Open(open),
        Holder::Row(live) => {
            single::check_seen(live.seen);
            Who::Row
        }
        Holder::None => Who::Nobody(gate),
    }
}
