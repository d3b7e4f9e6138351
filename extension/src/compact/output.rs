// SPDX-License-Identifier: Apache-2.0
//! Rows on their way into a new segment, and the segment once it is written but not registered: nobody knows of it.
use super::job::Job;
use crate::am;
use crate::options;
use crate::pg::{self, toast::XactStatus};
use crate::store::directory::{self, FoundSegment};
use crate::store::entry::{Entry, SegmentState};
use crate::store::registration_lock::RegistrationLock;
use crate::store::{chunk_ids, chunks, delete_bitmaps, directory_cache, segment};
use crate::write::builder;
use crate::write::column::Column;
use crate::write::memory::SegmentMemory;
use doris_storage::key::SortKey;
use doris_storage::segment::SortOrder;
use doris_storage::sort::{permutation, Direction};
use pgrx::pg_sys;

/// The level of segments that will not grow.
pub const LEVEL_FULL: u8 = 3;

/// Rows in memory.
pub struct Rows {
    columns: Vec<Column>,
    relid: pg_sys::Oid,
    bytes: usize,
    /// Bytes of the widest value.
    widest: usize,
    memory: SegmentMemory,
    /// How many there are.
    pub count: u32,
}

impl Rows {
    /// None yet.
    pub fn new(job: &Job) -> Self {
        Self {
            columns: job.attrs.iter().map(|a| Column::new(a.kind)).collect(),
            relid: pg::relation_id(job.rel),
            bytes: 0,
            widest: 0,
            memory: SegmentMemory::new(),
            count: 0,
        }
    }

    /// Whether a segment should be made of them now.
    pub fn is_full(&self) -> bool {
        self.count >= builder::SEGMENT_ROWS || self.bytes >= options::segment_bytes_max()
    }

    /// Adds a row.
    ///
    /// # Safety
    /// The arrays hold a value for each attribute of the table.
    pub unsafe fn push(&mut self, values: *const pg_sys::Datum, nulls: *const bool) {
        for (i, column) in self.columns.iter_mut().enumerate() {
            // SAFETY: passed on to the caller.
            let bytes = unsafe { column.push(*values.add(i), *nulls.add(i)) };
            self.bytes += bytes;
            self.widest = self.widest.max(bytes);
        }
        self.memory.cover(self.relid, self.bytes);
        self.count += 1;
    }
}

/// A written segment.
pub struct Output {
    entry: Entry,
    /// The row that each of the rows that were added has become.
    pub targets: Vec<u64>,
    dead: Vec<u64>,
}

impl Output {
    /// Writes rows, of which there are others besides, as a segment that is as large as it can be.
    pub fn write_full(job: &Job, rows: Rows) -> Self {
        Self::write(job, rows, LEVEL_FULL)
    }

    /// Writes rows, in the order of the table's key, and makes their index entries.
    pub fn write(job: &Job, rows: Rows, level: u8) -> Self {
        let (rel, toast) = (job.rel, &job.toast);
        let (count, mut memory) = (rows.count, rows.memory);
        // Given back at the end.
        memory.cover_encoding(rows.relid, rows.bytes, rows.widest);
        let mut columns: Vec<_> = rows
            .columns
            .into_iter()
            .map(|c| (c.kind(), c.finish()))
            .collect();
        let key = options::sort_key(rel);
        let order = (!key.is_empty()).then(|| {
            let keys: Vec<_> = key
                .iter()
                .map(|id| (&columns[usize::from(*id) - 1].1, Direction::default()))
                .collect();
            permutation(&keys)
        });
        if let Some(order) = &order {
            for (_, vector) in &mut columns {
                *vector = vector.take(order);
            }
        }
        let ascending = |id: &u16| SortKey {
            column: *id,
            descending: false,
            nulls_first: false,
        };
        let sort = SortOrder {
            keys: key.iter().map(ascending).collect(),
            sorted: order.is_some(),
        };
        let (stream, footer_offset) = builder::encode_as_is(rel, &job.attrs, columns, sort);
        let chunk_count = chunks::count(stream.len() as u64);
        let (first_row, first_chunk, capacity) =
            directory::reserve(rel, toast, u64::from(count), chunk_count);
        let entry = Entry {
            state: SegmentState::Sealed,
            level,
            rows: count,
            first_row,
            capacity,
            first_chunk,
            stream_bytes: stream.len() as u64,
            footer_offset,
            first_block: chunks::write(toast, first_chunk, &stream, job.cid()),
            checksum: segment::checksum(&stream[footer_offset as usize..]),
        };
        let mut targets: Vec<u64> = (0..u64::from(count)).map(|at| first_row + at).collect();
        for (at, source) in order.iter().flatten().enumerate() {
            targets[*source as usize] = first_row + at as u64;
        }
        Self {
            entry,
            targets,
            dead: Vec::new(),
        }
    }

    /// Makes the index entries of its rows, which lead nowhere until it is registered.
    pub fn index(&self, job: &Job) {
        // SAFETY: the job's table; its lock keeps indexes from being made or dropped. The entry is complete.
        unsafe {
            let found = FoundSegment {
                entry: self.entry,
                xmin: pg_sys::GetCurrentTransactionId(),
                writer: XactStatus::Own,
                cmin: job.cid(),
                visible: true,
                deleter: None,
                at: crate::store::tid::tid(0, 0),
            };
            am::index::insert_segment(job.rel, found);
        }
    }

    /// The source of this target has changed since it was read: the row is born dead.
    pub fn mark_dead(&mut self, target: u64) {
        self.dead.push(target);
    }

    /// Whether a row is one of its rows.
    pub fn holds(&self, target: u64) -> bool {
        self.entry.covers(target)
    }

    /// Rows that are not born dead.
    pub fn alive(&self) -> u64 {
        u64::from(self.entry.rows) - self.dead.len() as u64
    }

    /// Bytes of its stream.
    pub fn bytes(&self) -> u64 {
        self.entry.stream_bytes
    }

    /// Registers it: from now on it is there, as this transaction's.
    pub fn register(&mut self, job: &Job, registration: &RegistrationLock) {
        directory_cache::invalidate(registration, job.rel, &job.toast);
        directory::gets_segment(job.rel, &job.toast);
        let key = (chunk_ids::DIRECTORY, self.entry.key());
        let (payload, null) = (self.entry.encode(), std::ptr::null_mut());
        job.toast.insert(key, &payload, job.cid(), 0, null);
        self.dead.sort_unstable();
        self.dead.dedup();
        let refused =
            delete_bitmaps::delete_rows(registration, job.rel, &job.toast, &self.dead, job.cid());
        if !refused.is_empty() {
            pg::report_corrupt(job.rel, "rows of a new segment were changed by others");
        }
    }
}
