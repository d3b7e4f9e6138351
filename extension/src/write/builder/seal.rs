// SPDX-License-Identifier: Apache-2.0
//! Writing out a segment whose rows are all there: it is encoded, its stream written, its entry completed. Rows of a keyed
//! table are folded and published with that.
use super::{register, register_now, Builder, Columns};
use crate::compact::shared_state as compaction;
use crate::keys::limit;
use crate::keys::merge::Rule;
use crate::keys::model as key_model;
use crate::keys::publish_merged;
use crate::keys::publish_segment::{self, Batch};
use crate::options;
use crate::pg::toast::Toast;
use crate::pg::{self, compat};
use crate::read::attrs;
use crate::store::entry::{Entry, SegmentState, ROW_UNIT};
use crate::store::{chunks, directory, directory_cache, segment};
use crate::write::column::Column;
use crate::write::kind::{self, Kind};
use crate::write::memory;
use crate::write::parallel::{encode_columns, Encoding};
use doris_storage::key::SortKey;
use doris_storage::segment::{assemble, ColumnSpec, EncodedColumn, Order, SortOrder};
use doris_storage::sort::{permutation, Direction};
use doris_storage::vector::Vector;
use pgrx::pg_sys;

/// Encodes a finished segment, writes its stream and completes its directory entry.
pub fn seal(builder: Builder) {
    // SAFETY: the inserting statement's lock on the relation lasts until the transaction ends. A relation
    // dropped in this transaction is gone, and its rows with it.
    let rel = unsafe { pg_sys::try_table_open(builder.relid, pg_sys::NoLock as i32) };
    if rel.is_null() {
        return;
    }
    // A file that is no longer the relation's was truncated or rewritten in this transaction.
    if compat::file_number(rel) == builder.file {
        if let Some(toast) = Toast::open(rel, pg_sys::RowExclusiveLock as i32) {
            write_segment(rel, &toast, builder);
        }
    }
    // SAFETY: opened above.
    unsafe { pg_sys::table_close(rel, pg_sys::NoLock as i32) };
}

/// Writes the rows of a builder: as a segment, or, where they are few and of a keyed table, to the row store.
fn write_segment(rel: pg_sys::Relation, toast: &Toast, builder: Builder) {
    let Builder {
        entry,
        entry_tid,
        columns,
        rows,
        cid,
        unobserved,
        bytes,
        widest,
        mut memory,
        ..
    } = builder;
    // Given back at the end.
    memory.cover_encoding(pg::relation_id(rel), bytes, widest);
    let write = |stream: (Vec<u8>, u64)| {
        let at = entry_tid.unwrap_or_else(|| pg::report_corrupt(rel, "no directory entry"));
        write_stream(rel, toast, (entry, at), rows, cid, stream);
    };
    let columns: Vec<(Kind, Vector)> = match columns {
        Columns::Growing(columns) => columns
            .into_iter()
            .map(|c| (c.kind(), c.finish()))
            .collect(),
        Columns::Encoding(encoding) => {
            let stream = encoded_stream(rel, &encoding, unobserved);
            drop(encoding);
            return write(stream);
        }
    };
    let sort_key = match unobserved {
        true => options::sort_key(rel),
        false => Vec::new(),
    };
    let Some(model) = key_model::of(rel) else {
        return write(encode(rel, &attrs::of(rel), columns, &sort_key));
    };
    let rule = Rule::of(rel, cid).filter(|rule| !rule.replaces());
    let rule = rule.as_deref();
    let batch = Batch::fold(&model, columns, unobserved, rule.map(|rule| (rel, rule)));
    limit::check(rel, &model, &batch);
    let few = unobserved && batch.len() as u64 <= options::rows_to_heap();
    if let (true, Some(index)) = (few, model.index) {
        publish_segment::to_heap(rel, &model, index, &batch, rule, cid);
        return;
    }
    let load = KeyedLoad {
        rel,
        toast,
        model: &model,
        sort_key,
        cid,
    };
    match rule {
        Some(rule) => load.publish_merged(batch, rule),
        None => load.publish(batch, entry_tid.map(|at| (entry, at))),
    }
}

/// Writes a segment whose entry is in the directory.
fn write_stream(
    rel: pg_sys::Relation,
    toast: &Toast,
    (mut entry, at): (Entry, pg_sys::ItemPointerData),
    rows: u32,
    cid: pg_sys::CommandId,
    stream: (Vec<u8>, u64),
) {
    let reserved = fill(rel, toast, &mut entry, rows, cid, stream);
    complete(rel, toast, entry, at, reserved);
}

/// Rows of a keyed table on their way into a segment.
struct KeyedLoad<'a> {
    rel: pg_sys::Relation,
    toast: &'a Toast,
    model: &'a key_model::Model,
    sort_key: Vec<u16>,
    cid: pg_sys::CommandId,
}

impl KeyedLoad<'_> {
    /// Writes what a rule makes of the rows and of those that are stored.
    fn publish_merged(&self, batch: Batch, rule: &Rule) {
        let (rel, toast, cid) = (self.rel, self.toast, self.cid);
        let load = publish_merged::Load {
            rel,
            toast,
            model: self.model,
            rule,
            cid,
        };
        // Not with the registration lock, which compaction needs to make room.
        crate::compact::backpressure::wait(rel, toast);
        let encode = |columns: Vec<(Kind, Vector)>| {
            let rows = columns.first().map_or(0, |c| c.1.len() as u32);
            let sorted = publish_segment::is_sorted(self.model, &columns);
            (rows, self.encode(columns, sorted))
        };
        publish_merged::publish(load, batch, encode, |registration, (rows, stream)| {
            let (mut entry, at) = register_now(rel, toast, rows, cid);
            let reserved = fill(rel, toast, &mut entry, rows, cid, stream);
            directory_cache::invalidate(registration, rel, toast);
            complete(rel, toast, entry, at, reserved);
        });
    }

    /// Writes the rows in the place of those that are stored, into a new segment unless there is an entry for it.
    fn publish(&self, mut batch: Batch, entry: Option<(Entry, pg_sys::ItemPointerData)>) {
        let (rel, toast, cid) = (self.rel, self.toast, self.cid);
        let columns = std::mem::take(&mut batch.columns);
        let rows = columns.first().map_or(0, |c| c.1.len() as u32);
        batch.columns.clone_from(&columns);
        let stream = self.encode(columns, batch.sorted);
        let (mut entry, at) = entry.unwrap_or_else(|| register(rel, rows, cid));
        let reserved = fill(rel, toast, &mut entry, rows, cid, stream);
        let segment = publish_segment::Segment {
            batch: &batch,
            first_row: entry.first_row,
            cid,
        };
        publish_segment::publish(rel, toast, self.model, &segment, |registration| {
            directory_cache::invalidate(registration, rel, toast);
            complete(rel, toast, entry, at, reserved);
        });
    }

    /// Encodes rows; `sorted`: they are in the order of the key.
    fn encode(&self, columns: Vec<(Kind, Vector)>, sorted: bool) -> (Vec<u8>, u64) {
        let attrs = attrs::of(self.rel);
        match sorted {
            true => encode_as_is(self.rel, &attrs, columns, sort_order(&self.sort_key)),
            false => encode(self.rel, &attrs, columns, &self.sort_key),
        }
    }
}

/// Writes a segment's stream and notes in its entry where it is; returns the end of its reserved row numbers.
fn fill(
    rel: pg_sys::Relation,
    toast: &Toast,
    entry: &mut Entry,
    rows: u32,
    cid: pg_sys::CommandId,
    (stream, footer_offset): (Vec<u8>, u64),
) -> u64 {
    let (_, first_chunk, _) = directory::reserve(rel, toast, 0, chunks::count(stream.len() as u64));
    entry.first_block = chunks::write(toast, first_chunk, &stream, cid);
    entry.first_chunk = first_chunk;
    entry.rows = rows;
    entry.stream_bytes = stream.len() as u64;
    entry.footer_offset = footer_offset;
    entry.checksum = segment::checksum(&stream[footer_offset as usize..]);
    entry.state = SegmentState::Sealed;
    let reserved_end = entry.first_row + entry.capacity;
    entry.capacity = u64::from(rows).next_multiple_of(ROW_UNIT);
    reserved_end
}

/// Completes a segment's entry: from now on others read it.
fn complete(
    rel: pg_sys::Relation,
    toast: &Toast,
    entry: Entry,
    entry_tid: pg_sys::ItemPointerData,
    reserved_end: u64,
) {
    toast.change_in_place(entry_tid, |bytes| entry.encode_over(bytes));
    let used_end = entry.first_row + u64::from(entry.rows);
    directory::give_back(rel, toast, used_end, reserved_end);
    compaction::count_segment(rel);
}

/// Encodes columns as a segment; returns its stream and where the footer starts.
pub fn encode(
    rel: pg_sys::Relation,
    attrs: &[attrs::Attr],
    mut columns: Vec<(Kind, Vector)>,
    sort_key: &[u16],
) -> (Vec<u8>, u64) {
    if !sort_key.is_empty() {
        let direction = Direction::default();
        let keys: Vec<(&Vector, Direction)> = sort_key
            .iter()
            .map(|id| (&columns[usize::from(*id) - 1].1, direction))
            .collect();
        let order = permutation(&keys);
        for (_, vector) in &mut columns {
            *vector = vector.take(&order);
        }
    }
    encode_as_is(rel, attrs, columns, sort_order(sort_key))
}

fn sort_order(sort_key: &[u16]) -> SortOrder {
    let key = |id: &u16| SortKey {
        column: *id,
        descending: false,
        nulls_first: false,
    };
    SortOrder {
        keys: sort_key.iter().map(key).collect(),
        sorted: !sort_key.is_empty(),
    }
}

/// Encodes columns as a segment, rows in the order they are in; `sort` says what that order is.
pub fn encode_as_is(
    rel: pg_sys::Relation,
    attrs: &[attrs::Attr],
    columns: Vec<(Kind, Vector)>,
    sort: SortOrder,
) -> (Vec<u8>, u64) {
    let specified = specify(rel, attrs, columns, sort.sorted);
    let encoded = encode_columns(specified).unwrap_or_else(|e| fail(rel, e));
    stream_of(rel, sort, encoded)
}

fn fail(rel: pg_sys::Relation, error: doris_storage::Error) -> ! {
    if error == doris_storage::Error::OutOfMemory {
        pg::report_no_memory(Some(pg::relation_id(rel)), memory::HINT);
    }
    let table = pg::relation_name(rel);
    pgrx::error!("could not encode a segment of \"{table}\": {error}")
}

fn stream_of(
    rel: pg_sys::Relation,
    sort: SortOrder,
    encoded: Vec<EncodedColumn>,
) -> (Vec<u8>, u64) {
    let segment = assemble(sort, encoded).unwrap_or_else(|e| fail(rel, e));
    (segment.bytes, segment.footer_offset)
}

/// The stream of a segment that the workers have encoded.
fn encoded_stream(rel: pg_sys::Relation, encoding: &Encoding, unobserved: bool) -> (Vec<u8>, u64) {
    if encoding.sorts() && !unobserved {
        // Somebody has read it meanwhile.
        let columns = encoding.columns().to_vec();
        let encoded = encode_columns(columns).unwrap_or_else(|e| fail(rel, e));
        return stream_of(rel, sort_order(&[]), encoded);
    }
    let encoded = encoding.finish().unwrap_or_else(|e| fail(rel, e));
    let sort_key = match encoding.sorts() {
        true => options::sort_key(rel),
        false => Vec::new(),
    };
    stream_of(rel, sort_order(&sort_key), encoded)
}

/// How the columns that are not dropped are stored; `sorted`: by the table's key.
pub fn specify(
    rel: pg_sys::Relation,
    attrs: &[attrs::Attr],
    columns: Vec<(Kind, Vector)>,
    sorted: bool,
) -> Vec<(ColumnSpec, Vector)> {
    let mut bloom = options::bloom_columns(rel);
    if !sorted {
        // Where the order does not tell which row blocks hold a key.
        bloom.extend(options::merge_key(rel));
    }
    let mut specified = Vec::with_capacity(columns.len());
    for (attr, (kind, vector)) in attrs.iter().zip(columns) {
        if attr.dropped {
            continue;
        }
        let natural = kind::has_natural_order(attr.type_oid, kind);
        let scale = match kind {
            Kind::Decimal64(scale) | Kind::Decimal128(scale) => scale as i16,
            _ => 0,
        };
        let spec = ColumnSpec {
            id: attr.number,
            physical: kind.physical(),
            order: if natural { Order::Natural } else { Order::None },
            scale,
            tag: attr.type_oid.to_u32(),
            bloom: bloom.contains(&attr.number),
        };
        specified.push((spec, vector));
    }
    specified
}

/// Columns as they were collected, of what [`specify`] made of them; those of dropped attributes are empty.
pub fn collected(kinds: &[Kind], specified: Vec<(ColumnSpec, Vector)>) -> Vec<Column> {
    let mut specified = specified.into_iter().peekable();
    let mut columns = Vec::with_capacity(kinds.len());
    for (i, kind) in kinds.iter().enumerate() {
        let vector = match specified.next_if(|(spec, _)| usize::from(spec.id) == i + 1) {
            Some((_, vector)) => vector,
            None => Vector::empty(kind.physical()),
        };
        columns.push(Column::of(*kind, vector));
    }
    columns
}
