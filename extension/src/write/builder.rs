// SPDX-License-Identifier: Apache-2.0
//! Segments under construction: rows of a bulk load, in this backend's memory until they are written.
//!
//! A segment belongs to one relation file, one subtransaction and one command. Its directory entry is
//! inserted before its first row gets a TID, in that subtransaction and with that command's id, so that
//! others who find a TID of it in an index know whom to wait for (schedule 4 of the concurrency notes), and
//! savepoints and cursors see what they must (schedule 6). Scans of this backend read it from memory. It is
//! written out, and its entry completed in place, only while its own subtransaction is the current one: when
//! it is full, when its load or its subtransaction ends, before the transaction commits or is prepared.
//!
//! A full segment of a plain table is encoded by worker threads while rows of the next one are collected, and is written
//! when that is done. Until then it is read as it was collected; who reads it may keep TIDs, so that the rows of a table
//! with a key are then encoded once more, in the order they came in.
//!
//! Rows under construction of a table with a key must be published before the table is read. A subtransaction of the
//! statement that loads them publishes a copy, which is gone with it if it rolls back, and the rows are pending as
//! before; else they belong to the subtransaction around it, and so on up to their own.
mod fold;
mod seal;
mod subtransaction_publish;

use super::column::Column;
use super::kind::Kind;
use super::memory::SegmentMemory;
use super::parallel::Encoding;
use super::width::{self, Widths};
use crate::keys::model::{self as key_model, Model};
use crate::options;
use crate::pg::toast::{Toast, INSERT_FROZEN};
use crate::pg::{self, compat, raw};
use crate::read::attrs;
use crate::store::entry::{Entry, SegmentState};
use crate::store::registration_lock::{Mode, RegistrationLock};
use crate::store::tid::RowNumber;
use crate::store::{chunk_ids, directory};
use doris_storage::vector::Vector;
use pgrx::pg_sys;
pub use seal::encode_as_is;
use seal::{collected, seal, specify};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
pub use subtransaction_publish::{end_subtransaction, forget, publish_pending};

/// Most rows in a segment.
pub const SEGMENT_ROWS: u32 = 1 << 20;

struct Builder {
    relid: pg_sys::Oid,
    file: u32,
    subid: pg_sys::SubTransactionId,
    cid: pg_sys::CommandId,
    entry: Entry,
    /// Where the entry is. A segment of a keyed table whose TIDs nobody asks for has none until it is written.
    entry_tid: Option<pg_sys::ItemPointerData>,
    columns: Columns,
    rows: u32,
    bytes: usize,
    /// Bytes of the widest value.
    widest: usize,
    memory: SegmentMemory,
    /// Of a table whose rows may be larger than the row store takes. Rows that are only moved stay as they are.
    widths: Option<Rc<Widths>>,
    /// Nobody has seen a TID of it: rows may be sorted by the key.
    unobserved: bool,
    published_in: subtransaction_publish::PublishedIn,
}

/// The rows of a segment.
enum Columns {
    /// They are being collected.
    Growing(Vec<Column>),
    /// All are there, and are being encoded.
    Encoding(Encoding),
}

/// Rows a command has put into a relation so far.
struct Count {
    relid: pg_sys::Oid,
    cid: pg_sys::CommandId,
    rows: u64,
    /// Whether rows may go to segments at all; asked once the first few are in the heap.
    allowed: Option<bool>,
}

thread_local! {
    static BUILDERS: RefCell<Vec<Builder>> = const { RefCell::new(Vec::new()) };
    static FROZEN: Cell<bool> = const { Cell::new(false) };
    static COUNTS: RefCell<Vec<Count>> = const { RefCell::new(Vec::new()) };
    static TIDS_UNOBSERVED: RefCell<Vec<(pg_sys::CommandId, f64)>> = const { RefCell::new(Vec::new()) };
}

/// While it lives, new segments are seen by every snapshot at once: for rewriting a table that nobody else can
/// look at, with rows that all snapshots see.
pub struct Frozen(());

impl Frozen {
    /// Begins it.
    pub fn begin() -> Self {
        FROZEN.set(true);
        Self(())
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        FROZEN.set(false);
    }
}

/// A command inserts an estimated number of rows and tells nobody their TIDs.
pub fn note_quiet(cid: pg_sys::CommandId, rows: f64) {
    TIDS_UNOBSERVED.with_borrow_mut(|quiet| {
        quiet.retain(|q| q.0 != cid);
        quiet.push((cid, rows));
    });
}

/// Whether a command tells nobody the TIDs of the rows that it inserts.
pub fn tids_unobserved(cid: pg_sys::CommandId) -> bool {
    TIDS_UNOBSERVED.with_borrow(|quiet| quiet.iter().any(|q| q.0 == cid))
}

/// Whether the next `rows` rows of a command's inserts go to a segment.
pub fn takes(rel: pg_sys::Relation, rows: usize, cid: pg_sys::CommandId) -> bool {
    takes_after(rel, rows, cid, options::rows_to_heap())
}

/// Whether the next `rows` rows that a command inserts into a keyed table go to a segment: those of a loader are
/// collected from the first on, as they are searched for together.
pub fn takes_keyed(
    rel: pg_sys::Relation,
    model: &Model,
    rows: usize,
    cid: pg_sys::CommandId,
    loader: bool,
) -> bool {
    let few = options::rows_to_heap();
    let many = TIDS_UNOBSERVED
        .with_borrow(|quiet| quiet.iter().any(|q| q.0 == cid && q.1 > few as f64 * 2.0));
    let first = if loader || many || model.index.is_none() {
        0
    } else {
        few
    };
    !model.row_triggers && takes_after(rel, rows, cid, first)
}

fn takes_after(rel: pg_sys::Relation, rows: usize, cid: pg_sys::CommandId, first: u64) -> bool {
    let relid = pg::relation_id(rel);
    let known = COUNTS.with_borrow_mut(|counts| {
        let count = count_of(counts, relid, cid);
        count.rows += rows as u64;
        if count.rows <= first {
            return Some(false);
        }
        count.allowed
    });
    known.unwrap_or_else(|| {
        // SAFETY: an open relation.
        let has_store = unsafe { (*(*rel).rd_rel).reltoastrelid != pg_sys::InvalidOid };
        let allowed = has_store && !options::bulk_loads_to_heap(rel);
        COUNTS.with_borrow_mut(|counts| count_of(counts, relid, cid).allowed = Some(allowed));
        allowed
    })
}

/// The count of a command's rows in a relation; counts of that relation's other commands are over.
fn count_of(counts: &mut Vec<Count>, relid: pg_sys::Oid, cid: pg_sys::CommandId) -> &mut Count {
    let at = match counts.iter().position(|c| c.relid == relid && c.cid == cid) {
        Some(at) => at,
        None => {
            counts.retain(|c| c.relid != relid);
            counts.push(Count {
                relid,
                cid,
                rows: 0,
                allowed: None,
            });
            counts.len() - 1
        }
    };
    &mut counts[at]
}

fn find(builders: &mut [Builder], rel: pg_sys::Relation, cid: pg_sys::CommandId) -> Option<usize> {
    // SAFETY: plain call.
    let subid = unsafe { pg_sys::GetCurrentSubTransactionId() };
    let (relid, file) = (pg::relation_id(rel), compat::file_number(rel));
    builders.iter().position(|b| {
        let grows = b.grows() && b.published_in == subtransaction_publish::PublishedIn::Never;
        grows && b.relid == relid && b.file == file && b.subid == subid && b.cid == cid
    })
}

/// Appends rows to the segment under construction, giving each its TID.
///
/// `bulk` says that the caller is a loader that hands no TID to anybody but triggers and indexes.
///
/// # Safety
/// Slots of the relation's row type.
pub unsafe fn append(
    rel: pg_sys::Relation,
    slots: &[*mut pg_sys::TupleTableSlot],
    cid: pg_sys::CommandId,
    bulk: bool,
) {
    for &slot in slots {
        let full = BUILDERS.with_borrow_mut(|builders| match find(builders, rel, cid) {
            Some(at) => builders[at].is_full().then_some(at),
            None => Some(usize::MAX),
        });
        match full {
            Some(usize::MAX) => begin(rel, cid, bulk),
            Some(_) if fold::full(rel, cid) => {}
            Some(_) => {
                pass_on(rel, cid);
                begin(rel, cid, bulk);
            }
            None => {}
        }
        // SAFETY: the slot holds a row; deforming it is done before the builder is borrowed.
        unsafe {
            pg_sys::slot_getallattrs(slot);
            let excess = BUILDERS.with_borrow_mut(|builders| {
                let at = find(builders, rel, cid).expect("begun above");
                let excess = builders[at].widths.as_ref().and_then(|w| w.excess(slot));
                if excess.is_none() {
                    let builder = &mut builders[at];
                    builder.push(slot);
                    builder.memory.cover(builder.relid, builder.bytes);
                }
                excess
            });
            if let Some(size) = excess {
                width::refuse(size);
            }
            stamp(rel, slot, cid);
        }
    }
    // A serializable reader of the whole table conflicts; one that comes later finds the directory entry, as that is made.
    raw::conflict_in(rel, None);
    // SAFETY: an open relation.
    unsafe { pg_sys::pgstat_count_heap_insert(rel, slots.len() as i64) };
    flush_where(Builder::is_encoded);
    shed(rel);
}

/// Has a full segment encoded by the workers, once they are done with the one before, or writes it at once.
fn pass_on(rel: pg_sys::Relation, cid: pg_sys::CommandId) {
    flush_where(|b| !b.grows());
    let relid = pg::relation_id(rel);
    if key_model::of(rel).is_none() && !BUILDERS.with_borrow(|all| all.iter().any(|b| !b.grows())) {
        let full = BUILDERS.with_borrow_mut(|builders| {
            let at = find(builders, rel, cid)?;
            Some(builders.remove(at))
        });
        if let Some(mut builder) = full {
            builder.encode(rel);
            BUILDERS.with_borrow_mut(|builders| builders.push(builder));
        }
    }
    flush_where(|b| b.grows() && b.relid == relid && b.cid == cid);
}

/// Gives the row in a slot the system columns of an inserted row, as the heap does: RETURNING may name them.
unsafe fn stamp(rel: pg_sys::Relation, slot: *mut pg_sys::TupleTableSlot, cid: pg_sys::CommandId) {
    // SAFETY: slots of these two kinds begin with a heap tuple slot, whose tuple may be null.
    unsafe {
        (*slot).tts_tableOid = pg::relation_id(rel);
        let heap = std::ptr::eq((*slot).tts_ops, &raw const pg_sys::TTSOpsHeapTuple)
            || std::ptr::eq((*slot).tts_ops, &raw const pg_sys::TTSOpsBufferHeapTuple);
        if !heap {
            return;
        }
        let tuple = (*(slot as *mut pg_sys::HeapTupleTableSlot)).tuple;
        if tuple.is_null() || u32::from((*slot).tts_flags) & pg_sys::TTS_FLAG_SHOULDFREE == 0 {
            return;
        }
        (*tuple).t_self = (*slot).tts_tid;
        (*tuple).t_tableOid = pg::relation_id(rel);
        let header = (*tuple).t_data;
        (*header).t_choice.t_heap.t_xmin = pg_sys::GetCurrentTransactionId();
        (*header).t_choice.t_heap.t_xmax = pg_sys::InvalidTransactionId;
        (*header).t_choice.t_heap.t_field3.t_cid = cid;
        (*header).t_infomask |= pg_sys::HEAP_XMAX_INVALID as u16;
    }
}

impl Builder {
    /// Whether rows may be added.
    fn grows(&self) -> bool {
        matches!(self.columns, Columns::Growing(_))
    }

    /// Whether the workers are done with it.
    fn is_encoded(&self) -> bool {
        matches!(&self.columns, Columns::Encoding(encoding) if encoding.is_done())
    }

    /// Hands the columns to the workers, if there are any.
    fn encode(&mut self, rel: pg_sys::Relation) {
        let Columns::Growing(columns) = &mut self.columns else {
            return;
        };
        let (bytes, widest) = (self.bytes, self.widest);
        self.memory.cover_encoding(self.relid, bytes, widest);
        let kinds: Vec<Kind> = columns.iter().map(Column::kind).collect();
        let sort_key = match self.unobserved {
            true => options::sort_key(rel),
            false => Vec::new(),
        };
        let finished = std::mem::take(columns)
            .into_iter()
            .map(|c| (c.kind(), c.finish()))
            .collect();
        let specified = specify(rel, &attrs::of(rel), finished, !sort_key.is_empty());
        let place = |id: &u16| specified.iter().position(|(spec, _)| spec.id == *id);
        let sort = sort_key.iter().filter_map(place).collect();
        match Encoding::begin(specified, sort) {
            Ok(encoding) => self.columns = Columns::Encoding(encoding),
            Err(specified) => self.columns = Columns::Growing(collected(&kinds, specified)),
        }
    }

    /// One of the columns, by its attribute's place, with its decimal scale.
    fn column(&self, attribute: usize) -> Option<(&Vector, u16)> {
        match &self.columns {
            Columns::Growing(columns) => {
                let column = columns.get(attribute)?;
                Some((column.vector(), column.kind().scale()))
            }
            Columns::Encoding(encoding) => encoding
                .columns()
                .iter()
                .find(|(spec, _)| usize::from(spec.id) == attribute + 1)
                .map(|(spec, vector)| (vector, spec.scale as u16)),
        }
    }

    fn is_full(&self) -> bool {
        u64::from(self.rows) >= self.entry.capacity.min(u64::from(SEGMENT_ROWS))
            || self.bytes >= options::segment_bytes_max()
    }

    unsafe fn push(&mut self, slot: *mut pg_sys::TupleTableSlot) {
        // SAFETY: the slot's arrays hold all attributes.
        unsafe {
            let Columns::Growing(columns) = &mut self.columns else {
                unreachable!("rows go to segments that grow");
            };
            for (i, column) in columns.iter_mut().enumerate() {
                let (value, null) = (*(*slot).tts_values.add(i), *(*slot).tts_isnull.add(i));
                let bytes = column.push(value, null);
                self.bytes += bytes;
                self.widest = self.widest.max(bytes);
            }
            let first = match self.entry_tid {
                Some(_) => self.entry.first_row,
                None => 0,
            };
            (*slot).tts_tid = RowNumber(first + u64::from(self.rows)).to_tid();
        }
        self.rows += 1;
    }
}

/// Registers a segment, once there is room for one; returns its entry and where that is.
fn register(
    rel: pg_sys::Relation,
    rows: u32,
    cid: pg_sys::CommandId,
) -> (Entry, pg_sys::ItemPointerData) {
    let toast = Toast::open(rel, pg_sys::RowExclusiveLock as i32)
        .unwrap_or_else(|| pg::report_corrupt(rel, "no column store"));
    crate::compact::backpressure::wait(rel, &toast);
    register_now(rel, &toast, rows, cid)
}

fn register_now(
    rel: pg_sys::Relation,
    toast: &Toast,
    rows: u32,
    cid: pg_sys::CommandId,
) -> (Entry, pg_sys::ItemPointerData) {
    crate::am::relation::ensure_first_block(rel);
    // VACUUM takes row numbers of no segment for dead: no number is handed out behind its back.
    let _registration = RegistrationLock::acquire(toast, Mode::Shared);
    directory::gets_segment(rel, toast);
    let (first_row, _, capacity) = directory::reserve(rel, toast, u64::from(rows), 0);
    let entry = Entry {
        first_row,
        capacity,
        ..unregistered()
    };
    let key = (chunk_ids::DIRECTORY, entry.key());
    let visibility = if FROZEN.get() { INSERT_FROZEN } else { 0 };
    let at = toast.insert(key, &entry.encode(), cid, visibility, std::ptr::null_mut());
    // Who looks for a key of its rows from here on meets the entry; who has looked before is met here.
    raw::conflict_in(rel, None);
    (entry, at)
}

fn unregistered() -> Entry {
    Entry {
        state: SegmentState::Building,
        level: 0,
        rows: 0,
        first_row: u64::MAX,
        capacity: u64::from(SEGMENT_ROWS),
        first_chunk: 0,
        stream_bytes: 0,
        footer_offset: 0,
        first_block: 0,
        checksum: 0,
    }
}

/// Whether rows of a keyed table can be stored where, and as, it suits us: neither triggers nor indexes are told
/// of their places, nor are triggers shown the rows. The key index takes no TIDs of segment rows.
pub fn unobserved(rel: pg_sys::Relation, model: &Model) -> bool {
    // SAFETY: an open relation; its triggers, if it has any.
    let triggers = unsafe { (*rel).trigdesc.as_ref() };
    let seen = triggers.is_some_and(|t| t.trig_insert_after_row || t.trig_insert_new_table);
    model.other_indexes.is_empty() && !seen
}

/// Begins to build a segment.
fn begin(rel: pg_sys::Relation, cid: pg_sys::CommandId, bulk: bool) {
    let model = key_model::of(rel);
    if model.is_some() {
        // Of rows of one key the last stays: what came before is published before.
        subtransaction_publish::publish_before(rel);
    }
    let attrs = attrs::of(rel);
    let columns = attrs.iter().map(|a| Column::new(a.kind)).collect();
    // SAFETY: an open relation; plain calls.
    let (subid, unobserved) = unsafe {
        let triggers = !(*rel).trigdesc.is_null();
        let indexed = (*(*rel).rd_rel).relhasindex;
        let unobserved = match &model {
            Some(model) => self::unobserved(rel, model),
            None => !indexed && !triggers,
        };
        (pg_sys::GetCurrentSubTransactionId(), bulk && unobserved)
    };
    let (entry, entry_tid) = if unobserved && model.is_some() {
        (unregistered(), None)
    } else {
        let (entry, at) = register(rel, SEGMENT_ROWS, cid);
        (entry, Some(at))
    };
    let builder = Builder {
        relid: pg::relation_id(rel),
        file: compat::file_number(rel),
        subid,
        cid,
        entry,
        entry_tid,
        columns: Columns::Growing(columns),
        rows: 0,
        bytes: 0,
        widest: 0,
        memory: SegmentMemory::new(),
        widths: if FROZEN.get() {
            None
        } else {
            Widths::of(rel).map(Rc::new)
        },
        unobserved,
        published_in: subtransaction_publish::PublishedIn::Never,
    };
    BUILDERS.with_borrow_mut(|builders| builders.push(builder));
}

/// Keeps the memory of all segments under construction within its setting.
fn shed(rel: pg_sys::Relation) {
    let total: usize = BUILDERS.with_borrow(|builders| builders.iter().map(|b| b.bytes).sum());
    if total > options::load_memory_bytes() {
        if BUILDERS.with_borrow(|builders| builders.iter().any(|b| !b.grows())) {
            flush_where(|b| !b.grows());
            return;
        }
        let relid = pg::relation_id(rel);
        flush_where(|b| b.relid != relid);
        flush_where(|_| true);
    }
}

/// Whether this backend is building any segment.
pub fn any() -> bool {
    BUILDERS.with_borrow(|builders| !builders.is_empty())
}

/// Ends a bulk insert into a relation.
pub fn finish(rel: pg_sys::Relation) {
    let relid = pg::relation_id(rel);
    flush_where(|b| b.relid == relid);
}

/// Writes out what belongs to the current subtransaction.
pub fn flush_current() {
    flush_where(|_| true);
}

fn flush_where(mut wanted: impl FnMut(&Builder) -> bool) {
    // SAFETY: plain call.
    let subid = unsafe { pg_sys::GetCurrentSubTransactionId() };
    loop {
        let next = BUILDERS.with_borrow_mut(|builders| {
            let at = builders
                .iter()
                .position(|b| b.subid == subid && wanted(b))?;
            Some(builders.remove(at))
        });
        let Some(builder) = next else { return };
        seal(builder);
    }
}

/// Writes out what a command of the current subtransaction has inserted.
pub fn flush_command(cid: pg_sys::CommandId) {
    flush_where(|b| b.cid == cid);
}

/// Forgets what goes to a relation that was truncated in place.
pub fn forget_relation(rel: pg_sys::Relation) {
    let relid = pg::relation_id(rel);
    BUILDERS.with_borrow_mut(|builders| builders.retain(|b| b.relid != relid));
}

/// The rows of a segment that this backend is building: the vectors of the needed attributes and the number
/// of rows; `None` when it is not this backend's. Who reads rows may keep their TIDs: they stay as they are.
#[allow(clippy::type_complexity)]
pub fn copy(
    file: u32,
    first_row: u64,
    needed: &[bool],
) -> Option<(Vec<Option<(Vector, u16)>>, u32)> {
    BUILDERS.with_borrow_mut(|builders| {
        let builder = builders
            .iter_mut()
            .find(|b| b.entry.first_row == first_row && b.file == file)?;
        builder.unobserved = false;
        let vector = |(i, needed): (usize, &bool)| {
            let column = if *needed { builder.column(i) } else { None };
            column.map(|(vector, scale)| (vector.clone(), scale))
        };
        let vectors = needed.iter().enumerate().map(vector).collect();
        Some((vectors, builder.rows))
    })
}

/// How many rows a segment has that this backend is building into a relation file.
pub fn rows(file: u32, first_row: u64) -> Option<u32> {
    BUILDERS.with_borrow(|builders| {
        let building = |b: &&Builder| b.entry.first_row == first_row && b.file == file;
        builders.iter().find(building).map(|b| b.rows)
    })
}

/// One value of a segment that this backend is building into a relation file.
pub fn value(file: u32, first_row: u64, attribute: usize, position: u32) -> Option<(Vector, u16)> {
    BUILDERS.with_borrow_mut(|builders| {
        let builder = builders
            .iter_mut()
            .find(|b| b.entry.first_row == first_row && b.file == file)?;
        builder.unobserved = false;
        if position >= builder.rows {
            return None;
        }
        let (vector, scale) = builder.column(attribute)?;
        let at = position as usize;
        Some((vector.slice(at..at + 1), scale))
    })
}
