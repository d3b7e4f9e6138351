// SPDX-License-Identifier: Apache-2.0
//! What CREATE INDEX and VACUUM tell of segments, in the views where PostgreSQL tells of the heap's blocks.
use crate::pg;
use crate::store::entry::Entry;
use pgrx::pg_sys;

fn tell(param: u32, value: u64) {
    // SAFETY: a parameter of a command's progress.
    unsafe { pg_sys::pgstat_progress_update_param(param as i32, value as i64) };
}

fn heap_blocks(rel: pg_sys::Relation) -> u64 {
    let fork = pg_sys::ForkNumber::MAIN_FORKNUM;
    // SAFETY: an open relation.
    u64::from(unsafe { pg_sys::RelationGetNumberOfBlocksInFork(rel, fork) })
}

/// A scan of the heap's rows has come to a block.
pub fn heap_block(rel: pg_sys::Relation, block: u32) {
    if block.is_multiple_of(64) {
        tell(pg_sys::PROGRESS_SCAN_BLOCKS_TOTAL, heap_blocks(rel));
    }
    tell(pg_sys::PROGRESS_SCAN_BLOCKS_DONE, u64::from(block));
}

/// The blocks of a table that an index is built on: those of the heap, which has told of its own, and those of
/// segments.
pub struct Blocks {
    told: bool,
    done: u64,
}

impl Blocks {
    /// Goes on after the heap.
    pub fn after_heap<'a>(
        rel: pg_sys::Relation,
        told: bool,
        segments: impl Iterator<Item = &'a Entry>,
    ) -> Self {
        let done = if told { heap_blocks(rel) } else { 0 };
        if told {
            let all = done + segments.map(blocks).sum::<u64>();
            tell(pg_sys::PROGRESS_SCAN_BLOCKS_TOTAL, all);
            tell(pg_sys::PROGRESS_SCAN_BLOCKS_DONE, done);
        }
        Self { told, done }
    }

    /// Tells, now and then, how far it has come in a segment.
    pub fn at(&self, entry: &Entry, position: u32) {
        if self.told && position.is_multiple_of(8192) {
            let part = blocks(entry) * u64::from(position) / u64::from(entry.rows.max(1));
            tell(pg_sys::PROGRESS_SCAN_BLOCKS_DONE, self.done + part);
        }
    }

    /// A segment is done.
    pub fn pass(&mut self, entry: &Entry) {
        self.done += blocks(entry);
        if self.told {
            tell(pg_sys::PROGRESS_SCAN_BLOCKS_DONE, self.done);
        }
    }
}

fn blocks(entry: &Entry) -> u64 {
    entry.stream_bytes.div_ceil(u64::from(pg_sys::BLCKSZ))
}

/// VACUUM of the indexes' entries of segment rows, after the heap's part, which has ended its own report.
pub struct Vacuum(());

impl Vacuum {
    /// Begins: the heap is done.
    pub fn begin(rel: pg_sys::Relation) -> Self {
        let command = pg_sys::ProgressCommandType::PROGRESS_COMMAND_VACUUM;
        // SAFETY: plain call. An error ends the report with the transaction.
        unsafe { pg_sys::pgstat_progress_start_command(command, pg::relation_id(rel)) };
        let blocks = heap_blocks(rel);
        tell(pg_sys::PROGRESS_VACUUM_TOTAL_HEAP_BLKS, blocks);
        tell(pg_sys::PROGRESS_VACUUM_HEAP_BLKS_SCANNED, blocks);
        tell(pg_sys::PROGRESS_VACUUM_HEAP_BLKS_VACUUMED, blocks);
        let phase = u64::from(pg_sys::PROGRESS_VACUUM_PHASE_VACUUM_INDEX);
        tell(pg_sys::PROGRESS_VACUUM_PHASE, phase);
        Self(())
    }

    /// All indexes are done.
    pub fn end(self) {
        tell(pg_sys::PROGRESS_VACUUM_NUM_INDEX_VACUUMS, 1);
        // SAFETY: plain call.
        unsafe { pg_sys::pgstat_progress_end_command() };
    }
}
