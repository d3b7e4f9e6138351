// SPDX-License-Identifier: Apache-2.0
//! A doris table as a source of morsels: its heap rows in batches, then the row blocks of its segments.
//!
//! Runs on the main thread, the only one that may touch PostgreSQL: it copies the bytes of the needed column
//! blocks out of the buffers; workers decode them.
use self::block::{alive, damaged, BlockColumn, BlockMorsel, Stored, SummaryMorsel};
use self::counters::add;
pub use self::counters::Counters;
use self::heap::HeapScan;
use super::block_prefilter::BlockPrefilter;
use super::convert::Source;
use super::{row_batch, threads};
use crate::pg;
use crate::pg::toast::Toast;
use crate::read::attrs::{self, Attr, PlaceColumn};
use crate::read::cursor::missing;
use crate::store::changes_after_move;
use crate::store::entry::SegmentState;
use crate::store::segment::{self, Segment};
use crate::store::tid::RowNumber;
use crate::store::{anchors, directory, directory_cache, empty_segments};
use crate::write::builder;
use crate::write::column::Column;
use crate::write::kind::Kind;
use doris_engine::batch::Batch;
use doris_engine::error::{Error, Place, Result};
use doris_engine::metadata_aggregates::{ColumnSummary, NeededSummary};
use doris_engine::runtime_filter::RuntimeFilter;
use doris_engine::source::{MemorySource, Morsel, MorselSource};
use doris_storage::delete_bitmap::Marks;
use doris_storage::prune::{Predicate, Verdict};
use doris_storage::segment::{ColumnMeta, ColumnReader, ROW_BLOCK_ROWS};
use doris_storage::vector::{Bitmap, Values, Vector};
use doris_storage::zone_map::Scalar as Bound;
use pgrx::pg_sys;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

mod block;
mod counters;
mod heap;
mod topn_scan_order;

/// Heap rows in a morsel.
const HEAP_ROWS: usize = 4096;

/// Most segments whose deleted rows are looked for at once, and most row numbers from the first to the last of them.
const SEGMENTS_AT_ONCE: usize = 256;
const ROWS_AT_ONCE: u64 = 1 << 24;

/// A segment still to be read.
struct Pending {
    found: directory::FoundSegment,
    /// Its deleted rows, once they were looked for.
    dead: Option<Marks>,
}

impl Pending {
    fn is_sealed(&self) -> bool {
        self.found.entry.state == SegmentState::Sealed
    }
}

/// A segment being read.
struct Open {
    segment: Rc<Segment>,
    /// The segment's columns, by source column; `None`: the attribute is younger than the segment.
    columns: Vec<Option<usize>>,
    dead: Vec<u32>,
    /// Whether all rows of each block pass the filters.
    pass: Vec<bool>,
    /// The blocks still to be read.
    blocks: std::vec::IntoIter<usize>,
}

/// The source.
pub struct TableSource {
    rel: pg_sys::Relation,
    snapshot: pg_sys::Snapshot,
    attrs: Vec<Attr>,
    predicate: Predicate,
    /// The predicate says all of the filters.
    says_all: bool,
    /// What zone maps may tell in the place of rows.
    needs: Vec<NeededSummary>,
    summarizes: bool,
    /// The only column's values are wanted, each at least once.
    values_only: bool,
    heap: Option<HeapScan>,
    /// Heap rows that were read ahead.
    ahead: VecDeque<Box<dyn Morsel>>,
    toast: Option<Toast>,
    pending: VecDeque<Pending>,
    /// In how many segments deleted rows are looked for next: the more, the longer the scan goes on.
    at_once: usize,
    open: Option<Open>,
    /// The segments are in the order in which they are read.
    arranged: bool,
    filters: Vec<(usize, Arc<RuntimeFilter>)>,
    prefilter: BlockPrefilter,
    counters: Rc<Counters>,
}

impl TableSource {
    /// A source over a table that the query has opened.
    pub fn new(
        rel: pg_sys::Relation,
        snapshot: pg_sys::Snapshot,
        source: &Source,
        counters: Rc<Counters>,
    ) -> Self {
        let attrs = attrs::numbered(&attrs::of(rel), &source.attributes);
        let predicate = super::storage_predicates::predicate(&source.filters, &source.attributes);
        let says_all = super::storage_predicates::says_all(&source.filters, &source.attributes);
        crate::write::builder::publish_pending(rel);
        let toast = Toast::open(rel, pg_sys::AccessShareLock as i32);
        let mut segments = toast
            .as_ref()
            .map(|toast| directory_cache::visible(rel, toast, snapshot))
            .unwrap_or_default();
        counters.segments.set(segments.len() as u64);
        if let Some(toast) = &toast {
            segments.retain(|found| {
                let empty = empty_segments::is_empty(toast, &found.entry, snapshot);
                if empty {
                    counters.all_deleted(&found.entry);
                }
                !empty
            });
        }
        let pending = segments
            .into_iter()
            .map(|found| Pending { found, dead: None })
            .collect();
        let heap = HeapScan::begin(rel, snapshot, &source.filters, &attrs);
        Self {
            rel,
            snapshot,
            attrs,
            predicate,
            says_all,
            needs: Vec::new(),
            summarizes: false,
            values_only: false,
            heap: Some(heap),
            ahead: VecDeque::new(),
            toast,
            pending,
            at_once: 1,
            open: None,
            arranged: false,
            filters: Vec::new(),
            prefilter: BlockPrefilter::new(&source.filters, source.attributes.len()),
            counters,
        }
    }

    /// Finds out whether the engine can read all rows, before it hands out any: a NaN among the values of a
    /// numeric column needs PostgreSQL, which cannot take over later, and so does a segment that is older than a
    /// column's type. Heap rows are read for the former, and kept.
    pub fn verify_readable(&mut self) -> Result<()> {
        if !self.attrs.iter().any(may_be_laid_out_otherwise) {
            return Ok(());
        }
        if let Some(toast) = &self.toast {
            for pending in &self.pending {
                if pending.found.entry.state != SegmentState::Building {
                    let segment = segment::open(self.rel, toast, &pending.found.entry);
                    let columns = stored_columns(&segment, &self.attrs)?;
                    for (attr, column) in self.attrs.iter().zip(&columns) {
                        if column.is_none() {
                            not_stored(self.rel, attr, 0, 1)?;
                        }
                    }
                }
            }
        }
        if self.attrs.iter().any(|attr| attr.kind.is_decimal()) {
            while let Some(morsel) = self.heap_morsel()? {
                self.ahead.push_back(morsel);
            }
        }
        Ok(())
    }

    /// The next batch of heap rows.
    fn heap_morsel(&mut self) -> Result<Option<Box<dyn Morsel>>> {
        let Some(heap) = &self.heap else {
            return Ok(None);
        };
        let mut columns: Vec<Column> = self.attrs.iter().map(|a| Column::new(a.kind)).collect();
        let stored = self.attrs.iter().filter(|a| a.place().is_none());
        let last = stored.map(|a| i32::from(a.number)).max().unwrap_or(0);
        let (mut rows, mut seen) = (0, 0);
        while rows < HEAP_ROWS && (rows == 0 || seen < HEAP_ROWS as u64) {
            let (found, looked_at) = heap.next(last);
            seen += looked_at;
            let slot = heap.slot;
            if !found {
                self.heap = None;
                break;
            }
            // SAFETY: the slot holds a row of the relation, with the columns up to `last` ready.
            unsafe {
                if changes_after_move::changed(self.rel, &(*slot).tts_tid, self.snapshot).is_some()
                {
                    seen -= 1;
                    continue;
                }
                for (attr, column) in self.attrs.iter().zip(&mut columns) {
                    let place = match attr.place() {
                        None => {
                            let at = usize::from(attr.number) - 1;
                            column.push(*(*slot).tts_values.add(at), *(*slot).tts_isnull.add(at));
                            continue;
                        }
                        Some(PlaceColumn::Tid) => pg_sys::Datum::from(&raw mut (*slot).tts_tid),
                        Some(PlaceColumn::Table) => pg::relation_id(self.rel).into(),
                    };
                    column.push(place, false);
                }
            }
            rows += 1;
        }
        add(&self.counters.heap_rows, seen);
        if rows == 0 {
            return Ok(None);
        }
        MemorySource::new([row_batch::batch(&self.attrs, columns, rows)?]).next()
    }

    /// Where a sort wants its first rows, the segments that may hold them come first.
    fn arrange(&mut self) -> Result<()> {
        let (Some(toast), true) = (&self.toast, topn_scan_order::matter(&self.filters)) else {
            return Ok(());
        };
        let mut ranked = Vec::with_capacity(self.pending.len());
        for pending in self.pending.drain(..) {
            let entry = &pending.found.entry;
            let rank = topn_scan_order::rank(self.rel, toast, entry, &self.attrs, &self.filters)?;
            ranked.push((rank, pending));
        }
        ranked.sort_by_key(|(rank, _)| *rank);
        self.pending = ranked.into_iter().map(|(_, pending)| pending).collect();
        Ok(())
    }

    /// Leaves the next segment out where a sort has enough rows before all of its rows by now.
    fn is_beyond(&mut self) -> Result<bool> {
        let (Some(toast), Some(pending)) = (&self.toast, self.pending.front()) else {
            return Ok(false);
        };
        let entry = pending.found.entry;
        let beyond =
            topn_scan_order::is_beyond(self.rel, toast, &entry, &self.attrs, &self.filters)?;
        if beyond {
            let blocks = entry.rows.div_ceil(ROW_BLOCK_ROWS);
            add(&self.counters.blocks_filtered, u64::from(blocks));
            self.pending.pop_front();
        }
        Ok(beyond)
    }

    /// Looks for the deleted rows of the next segments: one search for many costs little more than one for one. What a
    /// snapshot sees does not change, so it does not matter when that is.
    fn look_for_dead(&mut self) {
        let Some(toast) = &self.toast else { return };
        let first = self.pending.front().map_or(0, |p| p.found.entry.first_row);
        // Not in the order of their rows, and many are left out.
        let at_once = if topn_scan_order::matter(&self.filters) {
            1
        } else {
            self.at_once
        };
        let next: Vec<(u64, u32)> = self
            .pending
            .iter()
            .take(at_once)
            .take_while(|pending| pending.is_sealed())
            .map(|p| (p.found.entry.first_row, p.found.entry.rows))
            .take_while(|(row, rows)| {
                *row == first || row + u64::from(*rows) <= first + ROWS_AT_ONCE
            })
            .collect();
        self.at_once = (self.at_once * 4).min(SEGMENTS_AT_ONCE);
        let dead = anchors::dead_rows_of(self.rel, toast, &next, self.snapshot);
        for (pending, dead) in self.pending.iter_mut().zip(dead) {
            pending.dead = Some(dead);
        }
    }

    /// Opens the next segment that may hold rows of interest.
    fn open_next(&mut self) -> Result<Option<Box<dyn Morsel>>> {
        let unknown = |pending: &Pending| pending.is_sealed() && pending.dead.is_none();
        if self.pending.front().is_some_and(unknown) {
            if self.is_beyond()? {
                return Ok(None);
            }
            self.look_for_dead();
        }
        let (Some(toast), Some(pending)) = (&self.toast, self.pending.pop_front()) else {
            return Ok(None);
        };
        let entry = pending.found.entry;
        let Some(dead) = pending.dead else {
            return self.memory_morsel(entry.first_row);
        };
        if dead.is_all() {
            // Loads that replace what earlier ones brought leave such segments until compaction.
            empty_segments::record(toast, &entry, self.snapshot);
            self.counters.all_deleted(&entry);
            return Ok(None);
        }
        add(&self.counters.deleted_rows, u64::from(dead.len()));
        let dead = dead.positions();
        let segment = segment::open(self.rel, toast, &entry);
        let columns = stored_columns(&segment, &self.attrs)?;
        if let (true, true, &[Some(column)]) = (self.values_only, dead.is_empty(), &columns[..]) {
            let reader = segment.reader(self.rel, toast, column);
            if let Some(values) = different_values(&segment, column, &reader) {
                let blocks = segment.footer.block_count() as u64;
                add(&self.counters.blocks_summarized, blocks);
                // SAFETY: the scan's relation is open.
                unsafe { crate::pg::compat::count_rows_read(self.rel, entry.rows as usize) };
                return MemorySource::new([values]).next();
            }
        }
        let checks = {
            let blooms = |meta: &ColumnMeta, block| segment.bloom(self.rel, toast, meta, block);
            segment.footer.check_blocks(&self.predicate, &blooms)
        };
        self.counters.pruned(&checks);
        let mut blocks: Vec<usize> = (0..checks.len())
            .filter(|block| checks[*block].verdict != Verdict::None)
            .collect();
        topn_scan_order::sort_blocks(&mut blocks, &segment, &columns, &self.filters);
        let passes = |verdict| self.says_all && verdict == Verdict::All;
        let pass = checks.iter().map(|c| passes(c.verdict)).collect();
        self.open = Some(Open {
            segment,
            columns,
            dead,
            pass,
            blocks: blocks.into_iter(),
        });
        Ok(None)
    }

    /// The rows of a segment that this backend has in memory.
    fn memory_morsel(&self, first_row: u64) -> Result<Option<Box<dyn Morsel>>> {
        let mut needed = vec![false; attrs::of(self.rel).len()];
        for attr in self.attrs.iter().filter(|attr| attr.place().is_none()) {
            needed[usize::from(attr.number) - 1] = true;
        }
        let Some((vectors, rows)) =
            builder::copy(crate::pg::compat::file_number(self.rel), first_row, &needed)
        else {
            return Ok(None);
        };
        let toast = match &self.toast {
            Some(toast) if rows > 0 => toast,
            _ => return Ok(None),
        };
        let mut columns = Vec::new();
        for attr in &self.attrs {
            if let Some(place) = attr.place() {
                let first = RowNumber(first_row);
                columns.push(Arc::new(place.of_segment(self.rel, first, rows as usize)));
                continue;
            }
            match vectors.get(usize::from(attr.number) - 1) {
                Some(Some((vector, _))) if vector.physical() == attr.kind.physical() => {
                    columns.push(Arc::new(vector.clone()));
                }
                _ => return Err(Error::not_native("a column kept in another layout")),
            }
        }
        let dead = anchors::dead_positions(self.rel, toast, first_row, rows, self.snapshot);
        let batch = Batch::new(columns, rows as usize);
        let batch = batch.select(&alive(rows as usize, &dead));
        MemorySource::new([batch]).next()
    }

    /// The next wanted block of the open segment.
    fn block_morsel(&mut self) -> Result<Option<Box<dyn Morsel>>> {
        let (Some(open), Some(toast)) = (&mut self.open, &self.toast) else {
            return Ok(None);
        };
        while let Some(block) = open.blocks.next() {
            if excluded(&open.segment, &open.columns, block, &self.filters) {
                add(&self.counters.blocks_filtered, 1);
                continue;
            }
            let block_rows = open.segment.footer.block_rows as usize;
            let first = block * block_rows;
            let rows = (open.segment.entry.rows as usize - first).min(block_rows);
            let low = open.dead.partition_point(|p| (*p as usize) < first);
            let high = open.dead.partition_point(|p| (*p as usize) < first + rows);
            if high - low == rows {
                // All deleted: loads that replace what earlier ones brought leave such blocks until compaction.
                add(&self.counters.blocks_deleted, 1);
                continue;
            }
            if self.summarizes && high == low && open.pass[block] && self.filters.is_empty() {
                if let Some(summaries) = summaries(open, block, rows, &self.needs) {
                    add(&self.counters.blocks_summarized, 1);
                    // They count as read, as they do in a heap's statistics.
                    // SAFETY: the scan's relation is open.
                    unsafe { crate::pg::compat::count_rows_read(self.rel, rows) };
                    return Ok(Some(Box::new(SummaryMorsel { rows, summaries })));
                }
            }
            add(&self.counters.blocks_read, 1);
            // SAFETY: the scan's relation is open.
            unsafe { crate::pg::compat::count_rows_read(self.rel, rows) };
            let stored = |column: usize| Stored {
                reader: open.segment.reader(self.rel, toast, column),
                footer: open.segment.footer.clone(),
                verified: open.segment.verified().clone(),
                column,
                block,
                bytes: open.segment.block_bytes(self.rel, toast, column, block),
            };
            let place = |at: usize| Place {
                table: pg::relation_id(self.rel).to_u32(),
                column: self.attrs[at].number,
                first_row: open.segment.entry.first_row,
            };
            let mut seen = Vec::new();
            let bytes = |at: usize| stored_bytes(open, at, block);
            let range = |at| zone_range(&open.segment, &open.columns, at, block);
            let looks = self.prefilter.columns(range, bytes);
            let mut found = true;
            for at in looks {
                if let Some(column) = open.columns[at] {
                    let damaged = damaged(place(at));
                    let opened = stored(column).open().map_err(&damaged)?;
                    found = self.prefilter.finds(at, &opened).map_err(damaged)?;
                    seen.push((at, opened));
                }
                if !found {
                    break;
                }
            }
            if !found {
                continue;
            }
            let dead: Vec<u32> = open.dead[low..high]
                .iter()
                .map(|p| p - first as u32)
                .collect();
            let mut columns = Vec::with_capacity(open.columns.len());
            for (at, (attr, column)) in self.attrs.iter().zip(&open.columns).enumerate() {
                let physical = attr.kind.physical();
                let look = seen.iter().position(|(seen, _)| *seen == at);
                columns.push(match (column, look.map(|look| seen.swap_remove(look))) {
                    (_, Some((_, opened))) => BlockColumn::Open(physical, Box::new(opened)),
                    (Some(column), _) => BlockColumn::Stored(physical, Box::new(stored(*column))),
                    (None, _) => {
                        let first = open.segment.entry.first_row + first as u64;
                        BlockColumn::Ready(not_stored(self.rel, attr, first, rows)?)
                    }
                });
            }
            return Ok(Some(Box::new(BlockMorsel {
                rows,
                dead,
                passes_filters: open.pass[block],
                places: (0..columns.len()).map(place).collect(),
                columns,
            })));
        }
        self.open = None;
        Ok(None)
    }
}

/// Whether segments may store an attribute in another layout than its type would have now: PostgreSQL changes a type
/// without writing rows anew where numerics lose or change their precision, or a domain comes or goes.
fn may_be_laid_out_otherwise(attr: &Attr) -> bool {
    // SAFETY: a catalogue look-up of a type that exists.
    let base = unsafe { pg_sys::getBaseType(attr.type_oid) };
    matches!(
        base,
        pg_sys::NUMERICOID | pg_sys::FLOAT4OID | pg_sys::FLOAT8OID | pg_sys::BOOLOID
    )
}

fn scale(attr: &Attr) -> i32 {
    match attr.kind {
        Kind::Decimal64(s) | Kind::Decimal128(s) => i32::from(s),
        _ => 0,
    }
}

/// A segment's columns of these attributes, laid out as the engine takes them; `None`: the attribute is younger than
/// the segment.
pub fn stored_columns(segment: &Segment, attrs: &[Attr]) -> Result<Vec<Option<usize>>> {
    let column = |attr: &Attr| {
        let column = segment.column(attr.number);
        if let Some(column) = column {
            let spec = &segment.footer.columns[column].spec;
            if spec.physical != attr.kind.physical() || i32::from(spec.scale) != scale(attr) {
                return Err(Error::not_native("a column stored in another layout"));
            }
        }
        Ok(column)
    };
    attrs.iter().map(column).collect()
}

/// The least and greatest value of a block's column of integers.
fn zone_range(
    segment: &Segment,
    columns: &[Option<usize>],
    at: usize,
    block: usize,
) -> Option<(i128, i128)> {
    let column = columns.get(at).copied().flatten()?;
    let zone = &segment.footer.columns[column].blocks[block].zone;
    match (&zone.min, &zone.max) {
        (Some(Bound::Int(min)), Some(Bound::Int(max))) => Some((*min, *max)),
        _ => None,
    }
}

/// How many bytes a block's column takes.
fn stored_bytes(open: &Open, at: usize, block: usize) -> u64 {
    let column = open.columns.get(at).copied().flatten();
    column.map_or(0, |column| {
        u64::from(open.segment.footer.columns[column].blocks[block].len)
    })
}

/// Whether a runtime filter leaves no row of a block.
fn excluded(
    segment: &Segment,
    columns: &[Option<usize>],
    block: usize,
    filters: &[(usize, Arc<RuntimeFilter>)],
) -> bool {
    filters.iter().any(|(at, filter)| {
        let Some(column) = columns.get(*at).copied().flatten() else {
            return false;
        };
        let zone = &segment.footer.columns[column].blocks[block].zone;
        if zone.null_count > 0 && filter.passes_nulls() {
            return false;
        }
        let Some((min, max)) = zone_range(segment, columns, *at, block) else {
            return false;
        };
        match (i64::try_from(min), i64::try_from(max)) {
            (Ok(min), Ok(max)) => !filter.may_match_range(min, max),
            _ => false,
        }
    })
}

/// What zone maps say of a row block, when that is all that is needed.
fn summaries(
    open: &Open,
    block: usize,
    rows: usize,
    needs: &[NeededSummary],
) -> Option<Vec<ColumnSummary>> {
    let of = |need: &NeededSummary| {
        let column = open.columns[need.column]?;
        let zone = &open.segment.footer.columns[column].blocks[block].zone;
        let extremes = zone_range(&open.segment, &open.columns, need.column, block);
        let summary = ColumnSummary {
            values: (rows as u64).checked_sub(u64::from(zone.null_count))?,
            extremes,
            sum: zone.sum,
        };
        need.is_met_by(&summary).then_some(summary)
    };
    needs.iter().map(of).collect()
}

/// A column that a segment does not hold, of rows from `first` on.
fn not_stored(rel: pg_sys::Relation, attr: &Attr, first: u64, rows: usize) -> Result<Arc<Vector>> {
    match attr.place() {
        Some(place) => Ok(Arc::new(place.of_segment(rel, RowNumber(first), rows))),
        None => added(rel, attr, rows),
    }
}

/// A column that was added to the table after the segment was written.
fn added(rel: pg_sys::Relation, attr: &Attr, rows: usize) -> Result<Arc<Vector>> {
    let mut column = Column::new(attr.kind);
    let value = missing(rel, attr);
    for _ in 0..rows {
        // SAFETY: the missing value is one of the attribute.
        unsafe { column.push(value.unwrap_or(pg_sys::Datum::from(0)), value.is_none()) };
    }
    if column.kind() != attr.kind {
        return Err(Error::not_native(
            "a numeric default that is not a plain number",
        ));
    }
    Ok(Arc::new(column.finish()))
}

/// The different values of a segment's column, NULL among them, where its dictionary tells: that holds no others.
fn different_values(segment: &Segment, column: usize, reader: &ColumnReader) -> Option<Batch> {
    let dict = reader.dictionary()?;
    let blocks = &segment.footer.columns[column].blocks;
    let has_nulls = blocks.iter().any(|block| block.zone.null_count > 0);
    let mut codes: Vec<u32> = (0..dict.len() as u32).collect();
    let validity = has_nulls.then(|| {
        codes.push(0);
        Bitmap::from_bools((0..codes.len()).map(|row| row < dict.len()))
    });
    let rows = codes.len();
    let dict = dict.clone();
    let values = Values::Dict { codes, dict };
    Some(Batch::new(
        vec![Arc::new(Vector { values, validity })],
        rows,
    ))
}

impl MorselSource for TableSource {
    fn next(&mut self) -> Result<Option<Box<dyn Morsel>>> {
        loop {
            if threads::interrupted() {
                return Err(Error::Cancelled);
            }
            if let Some(morsel) = self.ahead.pop_front() {
                return Ok(Some(morsel));
            }
            if self.heap.is_some() {
                if let Some(morsel) = self.heap_morsel()? {
                    return Ok(Some(morsel));
                }
            } else if self.open.is_some() {
                if let Some(morsel) = self.block_morsel()? {
                    return Ok(Some(morsel));
                }
            } else if self.pending.is_empty() {
                return Ok(None);
            } else if !std::mem::replace(&mut self.arranged, true) {
                self.arrange()?;
            } else if let Some(morsel) = self.open_next()? {
                return Ok(Some(morsel));
            }
        }
    }

    fn rows_about(&self) -> Option<u64> {
        let rows = |pending: &Pending| u64::from(pending.found.entry.rows);
        let stored: u64 = self.pending.iter().map(rows).sum();
        let ahead: u64 = self.ahead.iter().map(|morsel| morsel.rows() as u64).sum();
        Some(stored + ahead + self.heap.as_ref().map_or(0, HeapScan::rows_about))
    }

    fn add_runtime_filter(&mut self, column: usize, filter: &Arc<RuntimeFilter>) {
        self.filters.push((column, filter.clone()));
    }

    fn prefer_summaries(&mut self, needs: &[NeededSummary]) {
        self.needs = needs.to_vec();
        self.summarizes = true;
    }

    fn prefer_values(&mut self) {
        self.values_only = true;
    }
}
