// SPDX-License-Identifier: Apache-2.0
//! What scans count.
use crate::store::entry::Entry;
use doris_storage::prune::{Check, Reason};
use doris_storage::segment::ROW_BLOCK_ROWS;
use std::cell::Cell;

/// What a scan has read and skipped, for EXPLAIN.
#[derive(Default)]
pub struct Counters {
    /// Segments that the snapshot sees.
    pub segments: Cell<u64>,
    /// Row blocks handed to the engine.
    pub blocks_read: Cell<u64>,
    /// Row blocks of which the zone maps told all that was asked.
    pub blocks_summarized: Cell<u64>,
    /// Row blocks skipped by zone maps.
    pub blocks_pruned: Cell<u64>,
    /// Row blocks skipped by key indexes.
    pub blocks_out_of_range: Cell<u64>,
    /// Row blocks skipped by bloom filters.
    pub blocks_bloomed: Cell<u64>,
    /// Row blocks skipped by runtime filters.
    pub blocks_filtered: Cell<u64>,
    /// Row blocks skipped because all of their rows are deleted.
    pub blocks_deleted: Cell<u64>,
    /// Rows from the heap.
    pub heap_rows: Cell<u64>,
    /// Deleted rows met in segments.
    pub deleted_rows: Cell<u64>,
}

impl Counters {
    /// Counts a segment all of whose rows are deleted.
    pub(super) fn all_deleted(&self, entry: &Entry) {
        add(&self.deleted_rows, u64::from(entry.rows));
        let blocks = entry.rows.div_ceil(ROW_BLOCK_ROWS);
        add(&self.blocks_deleted, u64::from(blocks));
    }

    /// Counts a row block that is read.
    pub fn read_block(&self) {
        add(&self.blocks_read, 1);
    }

    /// Counts a row of the heap.
    pub fn read_heap_row(&self) {
        add(&self.heap_rows, 1);
    }

    /// Counts deleted rows.
    pub fn skip_deleted(&self, rows: usize) {
        add(&self.deleted_rows, rows as u64);
    }

    /// All of it in a line.
    pub fn summary(&self) -> String {
        let optional = |counter: &Cell<u64>, text: &str| match counter.get() {
            0 => String::new(),
            blocks => format!(", {blocks} {text}"),
        };
        format!(
            "{} segments, {} row blocks read, {} pruned by zone map{}{}, {} by runtime filter, \
             {} by delete marks, {} rows deleted, {} rows from the row store{}",
            self.segments.get(),
            self.blocks_read.get(),
            self.blocks_pruned.get(),
            optional(&self.blocks_out_of_range, "by key index"),
            optional(&self.blocks_bloomed, "by bloom filter"),
            self.blocks_filtered.get(),
            self.blocks_deleted.get(),
            self.deleted_rows.get(),
            self.heap_rows.get(),
            optional(&self.blocks_summarized, "answered by zone map"),
        )
    }

    /// Counts what row blocks were skipped by.
    pub fn pruned(&self, checks: &[Check]) {
        for check in checks {
            match check.reason {
                Some(Reason::ZoneMap) => add(&self.blocks_pruned, 1),
                Some(Reason::KeyIndex) => add(&self.blocks_out_of_range, 1),
                Some(Reason::Bloom) => add(&self.blocks_bloomed, 1),
                None => {}
            }
        }
    }
}

/// Counts.
pub(super) fn add(counter: &Cell<u64>, amount: u64) {
    counter.set(counter.get() + amount);
}
