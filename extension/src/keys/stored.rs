// SPDX-License-Identifier: Apache-2.0
//! Stored rows that new ones meet, for rules that look at them: single rows as Datums, those of a batch's keys
//! column by column.
use super::heap::LiveRow;
use super::merge::{Merged, Row};
use crate::heap_call;
use crate::pg;
use crate::pg::toast::Toast;
use crate::read::attrs::{self, Attr};
use crate::read::cursor::{self, missing};
use crate::read::datum::{datum, Arena};
use crate::store::directory::FoundSegment;
use crate::store::segment;
use crate::store::tid::RowNumber;
use crate::write::column::Column;
use crate::write::kind::Kind;
use doris_storage::vector::{Values, Vector};
use pgrx::pg_sys;
use pgrx::PgSqlErrorCode;

/// A row of the table whose values are wanted; it lives until the next is read.
pub struct Reader {
    rel: pg_sys::Relation,
    slot: *mut pg_sys::TupleTableSlot,
    attrs: Vec<Attr>,
    arena: Arena,
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
}

impl Reader {
    /// A reader of a table's rows.
    pub fn new(rel: pg_sys::Relation) -> Self {
        let attrs = attrs::of(rel);
        // SAFETY: an open relation; the slot is dropped with the reader.
        let slot = unsafe {
            pg_sys::MakeSingleTupleTableSlot(
                (*rel).rd_att,
                &raw const pg_sys::TTSOpsBufferHeapTuple,
            )
        };
        Self {
            rel,
            slot,
            arena: Arena::default(),
            values: vec![pg_sys::Datum::from(0); attrs.len()],
            nulls: vec![true; attrs.len()],
            attrs,
        }
    }

    /// A heap row, whoever sees it; `None` when its place is free or another's.
    pub fn heap(&mut self, tid: pg_sys::ItemPointerData) -> Option<Row<'_>> {
        let mut tid = tid;
        let any = &raw mut pg_sys::SnapshotAnyData;
        // SAFETY: a slot of our own; its arrays hold all attributes once it is deformed.
        unsafe {
            if !heap_call!(tuple_fetch_row_version(self.rel, &mut tid, any, self.slot)) {
                return None;
            }
            pg_sys::slot_getallattrs(self.slot);
        }
        self.current()
    }

    /// The heap row that was read last.
    pub fn current(&self) -> Option<Row<'_>> {
        let count = self.attrs.len();
        // SAFETY: a slot of our own, deformed when the row was read.
        unsafe {
            let empty = u32::from((*self.slot).tts_flags) & pg_sys::TTS_FLAG_EMPTY != 0;
            (!empty).then(|| Row {
                values: std::slice::from_raw_parts((*self.slot).tts_values, count),
                nulls: std::slice::from_raw_parts((*self.slot).tts_isnull, count),
            })
        }
    }

    /// A row of a sealed segment.
    pub fn segment(&mut self, toast: &Toast, found: &FoundSegment, row: RowNumber) -> Row<'_> {
        let room = (self.values.as_mut_ptr(), self.nulls.as_mut_ptr());
        // SAFETY: the arrays have an element an attribute.
        let read = unsafe {
            cursor::read_row(
                self.rel,
                toast,
                found,
                row,
                &self.attrs,
                &mut self.arena,
                room,
            )
        };
        if !read {
            pg::report_corrupt(self.rel, format!("no segment holds row {}", row.0));
        }
        Row {
            values: &self.values,
            nulls: &self.nulls,
        }
    }

    /// Lets go of the row.
    pub fn release(&mut self) {
        // SAFETY: a slot of our own.
        unsafe { pg_sys::ExecClearTuple(self.slot) };
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: made in `new`; on error it goes with its memory context and resource owner.
            unsafe { pg_sys::ExecDropSingleTupleTableSlot(self.slot) };
        }
    }
}

/// Puts a row into a slot of the relation's row type, as a copy in the slot's own memory.
///
/// # Safety
/// A slot of the relation's row type.
pub unsafe fn put(rel: pg_sys::Relation, slot: *mut pg_sys::TupleTableSlot, row: &mut Merged) {
    // SAFETY: arrays with an element an attribute; the tuple is made where the slot keeps its tuples.
    unsafe {
        let before = pg_sys::MemoryContextSwitchTo((*slot).tts_mcxt);
        let (values, nulls) = (row.values.as_mut_ptr(), row.nulls.as_mut_ptr());
        let tuple = pg_sys::heap_form_tuple((*rel).rd_att, values, nulls);
        pg_sys::MemoryContextSwitchTo(before);
        pg_sys::ExecForceStoreHeapTuple(tuple, slot, true);
        pg_sys::slot_getallattrs(slot);
        (*slot).tts_tableOid = pg::relation_id(rel);
    }
}

/// Columns of stored rows, in an order of their own.
pub struct Columns {
    columns: Vec<Column>,
    attrs: Vec<Attr>,
    /// Which of them are read; the others hold NULLs.
    needed: Vec<bool>,
    /// The bytes that each may still take.
    room: Vec<usize>,
}

/// The bytes of values that a vector can hold, but for one value.
const VECTOR_BYTES_MAX: usize = u32::MAX as usize - (1 << 30);

impl Columns {
    /// No rows yet, of some attributes; `needed` lists the places of those whose values are wanted.
    pub fn new(attrs: &[Attr], needed: &[usize]) -> Self {
        Self {
            columns: attrs.iter().map(|a| Column::new(a.kind)).collect(),
            attrs: attrs.to_vec(),
            needed: (0..attrs.len()).map(|i| needed.contains(&i)).collect(),
            room: vec![VECTOR_BYTES_MAX; attrs.len()],
        }
    }

    /// Leaves room for the rows of a batch, which are joined with what is made of these and of themselves.
    pub fn leaving_room_for(mut self, batch: &[(Kind, Vector)]) -> Self {
        for (room, (_, vector)) in self.room.iter_mut().zip(batch) {
            if let Values::Bytes(values) = &vector.values {
                *room = room.saturating_sub(2 * values.data.len());
            }
        }
        self
    }

    /// Adds a value to a column.
    fn push(&mut self, rel: pg_sys::Relation, column: usize, value: Option<pg_sys::Datum>) {
        // SAFETY: a value of the column's attribute.
        let bytes = unsafe {
            let none = pg_sys::Datum::from(0);
            self.columns[column].push(value.unwrap_or(none), value.is_none())
        };
        match self.room[column].checked_sub(bytes) {
            Some(room) => self.room[column] = room,
            None => refuse_bytes(rel, &self.attrs[column]),
        }
    }

    /// Adds a heap row; false when it is not there any more.
    pub fn push_heap(&mut self, reader: &mut Reader, live: &LiveRow) -> bool {
        let rel = reader.rel;
        let Some(row) = reader.heap(live.tid) else {
            return false;
        };
        for i in 0..self.columns.len() {
            let at = usize::from(self.attrs[i].number) - 1;
            let null = row.nulls[at] || !self.needed[i];
            self.push(rel, i, (!null).then(|| row.values[at]));
        }
        reader.release();
        true
    }

    /// Adds rows of a segment, in ascending order.
    pub fn push_segment(
        &mut self,
        rel: pg_sys::Relation,
        toast: &Toast,
        found: &FoundSegment,
        rows: &[RowNumber],
    ) {
        let segment = segment::open(rel, toast, &found.entry);
        let size = segment.footer.block_rows;
        let positions: Vec<u32> = rows
            .iter()
            .map(|row| (row.0 - found.entry.first_row) as u32)
            .collect();
        let mut arena = Arena::default();
        for i in 0..self.attrs.len() {
            let attr = self.attrs[i];
            let at = segment
                .column(attr.number)
                .filter(|_| self.needed[i] && !attr.dropped);
            let Some(at) = at else {
                let wanted = self.needed[i] && !attr.dropped;
                let value = wanted.then(|| missing(rel, &attr));
                for _ in rows {
                    self.push(rel, i, value.flatten());
                }
                continue;
            };
            for run in positions.chunk_by(|a, b| a / size == b / size) {
                let block = segment.block(rel, toast, at, (run[0] / size) as usize);
                let within: Vec<u32> = run.iter().map(|p| p % size).collect();
                let mut vector = Vector::empty(segment.footer.columns[at].spec.physical);
                if let Err(error) = block.gather(&within, &mut vector) {
                    pg::report_corrupt(rel, error);
                }
                for row in 0..vector.len() {
                    let value = datum(&vector, row, &attr, segment.scale(at), &mut arena);
                    self.push(rel, i, value);
                }
                arena.reset();
                pgrx::check_for_interrupts!();
            }
        }
    }

    /// The rows.
    pub fn finish(self) -> Vec<(Kind, Vector)> {
        let columns = self.columns.into_iter();
        columns.map(|c| (c.kind(), c.finish())).collect()
    }

    /// The rows, of all attributes, and behind them those of a batch.
    pub fn followed_by(
        self,
        rel: pg_sys::Relation,
        batch: Vec<(Kind, Vector)>,
    ) -> Vec<(Kind, Vector)> {
        let attrs = self.attrs.clone();
        let pairs = self.finish().into_iter().zip(batch).zip(&attrs);
        pairs
            .map(|((stored, new), attr)| joined(rel, attr, stored, new))
            .collect()
    }
}

fn refuse_bytes(rel: pg_sys::Relation, attr: &Attr) -> ! {
    pg::refuse(
        PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
        format!(
            "too many bytes in column \"{}\" of the rows of table \"{}\" that a load is merged with",
            pg::attribute_name(pg::attributes::numbered(rel, attr.number)),
            pg::relation_name(rel)
        ),
        "Lower doris.load_memory, so that the load is merged in smaller parts, or load fewer rows at once.",
    )
}

fn push(column: &mut Column, value: Option<pg_sys::Datum>) {
    // SAFETY: a value of the column's attribute.
    unsafe { column.push(value.unwrap_or(pg_sys::Datum::from(0)), value.is_none()) };
}

/// The rows of two vectors of one column. Decimals that one of them could not hold as integers are numerics in
/// both.
pub fn joined(
    rel: pg_sys::Relation,
    attr: &Attr,
    first: (Kind, Vector),
    second: (Kind, Vector),
) -> (Kind, Vector) {
    let alike = first.0 == second.0;
    let (mut first, second) = if alike {
        (first, second)
    } else {
        (as_varlena(attr, first), as_varlena(attr, second))
    };
    if let Err(error) = first.1.append(&second.1) {
        pg::report_corrupt(rel, error);
    }
    first
}

fn as_varlena(attr: &Attr, (kind, vector): (Kind, Vector)) -> (Kind, Vector) {
    if kind == Kind::Varlena {
        return (kind, vector);
    }
    let mut column = Column::new(Kind::Varlena);
    let mut arena = Arena::default();
    for row in 0..vector.len() {
        let value = datum(&vector, row, attr, kind.scale(), &mut arena);
        push(&mut column, value);
        arena.reset();
    }
    (column.kind(), column.finish())
}
