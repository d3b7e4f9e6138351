// SPDX-License-Identifier: Apache-2.0
//! Copying the column store for CLUSTER and VACUUM FULL.
//!
//! Segments are copied as they are, with the visibility of every tuple, through PostgreSQL's own rewrite
//! machinery (access/heap/rewriteheap.c), so that older snapshots see after the swap what they saw before.
//! But PostgreSQL forgets the values that rows older than a column have in it ("missing" values) once it has
//! copied a table: a segment that lacks such a column is encoded anew, with the column.
use crate::pg::raw::guarded;
use crate::pg::toast::{self, Toast, XactStatus};
use crate::read::attrs::{self, Attr};
use crate::read::cursor::missing;
use crate::store::entry::{Entry, SegmentState};
use crate::store::segment::{self, Segment};
use crate::store::tid::block_of;
use crate::store::{chunk_ids, chunks, delete_bitmaps, directory};
use crate::write::builder;
use crate::write::column::Column;
use crate::write::kind::Kind;
use doris_storage::vector::{Physical, Vector};
use pgrx::pg_sys;
use std::collections::HashMap;

#[repr(C)]
struct RewriteStateData {
    _opaque: [u8; 0],
}

extern "C-unwind" {
    fn begin_heap_rewrite(
        old: pg_sys::Relation,
        new: pg_sys::Relation,
        oldest_xmin: pg_sys::TransactionId,
        freeze_xid: pg_sys::TransactionId,
        multi_cutoff: pg_sys::MultiXactId,
    ) -> *mut RewriteStateData;
    fn end_heap_rewrite(state: *mut RewriteStateData);
    fn rewrite_heap_tuple(
        state: *mut RewriteStateData,
        old: pg_sys::HeapTuple,
        new: pg_sys::HeapTuple,
    );
    fn rewrite_heap_dead_tuple(state: *mut RewriteStateData, old: pg_sys::HeapTuple) -> bool;
}

/// Ids from here on are PostgreSQL's own TOAST values, which the heap's copy has rewritten already.
const FIRST_TOAST_ID: u32 = 16384;

/// A segment encoded anew: the entry it had and the one it gets.
struct Renewed {
    old: Entry,
    new: Entry,
}

impl Renewed {
    /// Whether a tuple is a chunk of the old stream.
    fn replaces(&self, chunk_id: u32, seq: i32) -> bool {
        let count = chunks::count(self.old.stream_bytes);
        let (first, last) = (self.old.first_chunk, self.old.first_chunk + count - 1);
        (chunk_ids::chunk(first)..=chunk_ids::chunk(last)).contains(&(chunk_id, seq))
    }
}

/// Writes the streams of all segments that lack columns with missing values.
fn renew(main: pg_sys::Relation, from: &Toast, to: &Toast) -> Vec<Renewed> {
    let attrs = attrs::of(main);
    let any = &raw mut pg_sys::SnapshotAnyData;
    let mut renewed = Vec::new();
    for found in directory::all(main, from, any) {
        let lost = found.writer == XactStatus::Aborted || found.is_gone(main);
        if found.entry.state != SegmentState::Sealed || lost {
            continue;
        }
        let segment = segment::open(main, from, &found.entry);
        let lacks = |attr: &&Attr| {
            !attr.dropped && segment.column(attr.number).is_none() && missing(main, attr).is_some()
        };
        if attrs.iter().any(|attr| lacks(&attr)) {
            renewed.push(Renewed {
                old: found.entry,
                new: renew_one(main, from, to, &attrs, &segment),
            });
        }
    }
    renewed
}

fn renew_one(
    main: pg_sys::Relation,
    from: &Toast,
    to: &Toast,
    attrs: &[Attr],
    segment: &Segment,
) -> Entry {
    let columns = attrs
        .iter()
        .map(|attr| match segment.column(attr.number) {
            Some(column) if !attr.dropped => stored_column(main, from, segment, attr, column),
            _ => added_column(main, attr, segment.entry.rows),
        })
        .collect();
    let sort = segment.footer.sort.clone();
    let (stream, footer_offset) = builder::encode_as_is(main, attrs, columns, sort);
    let count = chunks::count(stream.len() as u64);
    let (_, first_chunk, _) = directory::reserve(main, from, 0, count);
    // SAFETY: plain call.
    let cid = unsafe { pg_sys::GetCurrentCommandId(true) };
    Entry {
        first_chunk,
        first_block: chunks::write(to, first_chunk, &stream, cid),
        stream_bytes: stream.len() as u64,
        footer_offset,
        checksum: segment::checksum(&stream[footer_offset as usize..]),
        ..segment.entry
    }
}

/// All values of a column of a segment, and how they are stored.
fn stored_column(
    main: pg_sys::Relation,
    from: &Toast,
    segment: &Segment,
    attr: &Attr,
    column: usize,
) -> (Kind, Vector) {
    let spec = &segment.footer.columns[column].spec;
    let mut all = Vector::empty(spec.physical);
    for block in 0..segment.footer.columns[column].blocks.len() {
        let part = segment.vector(main, from, column, block);
        if let Err(error) = all.append(&part) {
            crate::pg::report_corrupt(main, error);
        }
    }
    // The column may have come to be of another type that is stored in another layout: a domain, or of more digits.
    // SAFETY: a catalogue look-up of a type that exists; a dropped column has none.
    let base = unsafe { pg_sys::getBaseType(attr.type_oid) };
    let kind = match spec.physical {
        Physical::I64 if base == pg_sys::NUMERICOID => Kind::Decimal64(spec.scale as u16),
        Physical::I128 => Kind::Decimal128(spec.scale as u16),
        Physical::Bytes if base == pg_sys::NUMERICOID => Kind::Varlena,
        Physical::Bool => Kind::Bool,
        Physical::I64 => Kind::I64,
        Physical::F32 => Kind::F32,
        Physical::F64 => Kind::F64,
        _ => attr.kind,
    };
    (kind, all)
}

/// A column that rows of a segment do not have: its missing value, or NULLs.
fn added_column(main: pg_sys::Relation, attr: &Attr, rows: u32) -> (Kind, Vector) {
    let mut column = Column::new(attr.kind);
    // SAFETY: an open relation; the missing value is one of the attribute.
    unsafe {
        let value = match attr.dropped {
            true => None,
            false => missing(main, attr),
        };
        for _ in 0..rows {
            column.push(value.unwrap_or(pg_sys::Datum::from(0)), value.is_none());
        }
    }
    (column.kind(), column.finish())
}

fn place(at: &pg_sys::ItemPointerData) -> (u32, u16) {
    (block_of(at), at.ip_posid)
}

/// New numbers for bulk deletes that are filed where others are, by their places.
fn renumber(main: pg_sys::Relation, from: &Toast) -> HashMap<(u32, u16), i32> {
    delete_bitmaps::filed_twice(from)
        .iter()
        .map(|at| (place(at), directory::serial(main, from) as i32))
        .collect()
}

/// Copies our tuples from one TOAST relation to another; returns whether there were any.
pub fn copy_store(
    main: pg_sys::Relation,
    from: &Toast,
    to: &Toast,
    oldest_xmin: pg_sys::TransactionId,
    freeze_xid: pg_sys::TransactionId,
    multi_cutoff: pg_sys::MultiXactId,
) -> bool {
    let mut copied = false;
    let renewed = renew(main, from, to);
    let renumbered = renumber(main, from);
    // Chunks of renewed segments are in place, with their index entries.
    let first_block = to.blocks();
    // SAFETY: both relations are exclusively locked; the rewrite state is ended before its pages are read.
    unsafe {
        let state =
            guarded(|| begin_heap_rewrite(from.rel, to.rel, oldest_xmin, freeze_xid, multi_cutoff));
        each_of_ours(from, |tuple, buffer| {
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
            let verdict = pg_sys::HeapTupleSatisfiesVacuum(tuple, oldest_xmin, buffer);
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
            if verdict == pg_sys::HTSV_Result::HEAPTUPLE_DEAD {
                guarded(|| rewrite_heap_dead_tuple(state, tuple));
                return;
            }
            let key = (toast::chunk_id(tuple), toast::chunk_seq(tuple));
            if key.0 == chunk_ids::moved_id(true) {
                // Heap rows get other TIDs: the map of those that moved would lie.
                return;
            }
            if renewed.iter().any(|r| r.replaces(key.0, key.1)) {
                return;
            }
            let copy = pg_sys::heap_copytuple(tuple);
            let entry = renewed
                .iter()
                .find(|r| (chunk_ids::DIRECTORY, r.old.key()) == key);
            if let Some(entry) = entry {
                entry.new.encode_over(toast::payload_mut(copy));
            }
            if let Some(serial) = renumbered.get(&place(&(*tuple).t_self)) {
                toast::set_chunk_seq(copy, *serial);
            }
            guarded(|| rewrite_heap_tuple(state, tuple, copy));
            pg_sys::heap_freetuple(copy);
            copied = true;
        });
        guarded(|| end_heap_rewrite(state));
        if copied {
            each_of_ours(to, |tuple, _| {
                if block_of(&(*tuple).t_self) >= first_block {
                    to.index_tuple(tuple);
                }
            });
        }
    }
    copied
}

/// Calls `visit` with every physical tuple of ours.
///
/// # Safety
/// An open TOAST relation.
pub unsafe fn each_of_ours(
    toast: &Toast,
    mut visit: impl FnMut(pg_sys::HeapTuple, pg_sys::Buffer),
) {
    // SAFETY: a TOAST relation is a heap.
    unsafe {
        each_tuple(toast.rel, |tuple, buffer| {
            if crate::pg::toast::chunk_id(tuple) < FIRST_TOAST_ID {
                visit(tuple, buffer);
            }
        });
    }
}

/// Calls `visit` with every physical tuple of a heap.
///
/// # Safety
/// An open relation that is, or passes for, a heap.
pub unsafe fn each_tuple(
    rel: pg_sys::Relation,
    mut visit: impl FnMut(pg_sys::HeapTuple, pg_sys::Buffer),
) {
    // SAFETY: a sequential scan with a slot of the heap's type, ended below.
    unsafe {
        let scan = pg_sys::table_beginscan(
            rel,
            &raw mut pg_sys::SnapshotAnyData,
            0,
            std::ptr::null_mut(),
        );
        let slot = pg_sys::table_slot_create(rel, std::ptr::null_mut());
        let forward = pg_sys::ScanDirection::ForwardScanDirection;
        while pg_sys::table_scan_getnextslot(scan, forward, slot) {
            let slot = slot as *mut pg_sys::BufferHeapTupleTableSlot;
            visit((*slot).base.tuple, (*slot).buffer);
            pgrx::check_for_interrupts!();
        }
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        pg_sys::table_endscan(scan);
    }
}
