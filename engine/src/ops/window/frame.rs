// SPDX-License-Identifier: Apache-2.0
//! The frame of a row.

use std::ops::Range;

use super::partition_run::{Partition, PartitionRun};
use crate::plan::{Bound, Exclude, Frame, FrameUnit};

/// A frame's rows, in order: up to three ranges, some of them empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows(pub [Range<usize>; 3]);

impl Rows {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.0.iter().map(Range::len).sum()
    }

    /// The frame's row `n`, counted from 0.
    pub fn nth(&self, n: usize) -> Option<usize> {
        let mut n = n;
        for range in &self.0 {
            if n < range.len() {
                return Some(range.start + n);
            }
            n -= range.len();
        }
        None
    }

    /// All rows.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().flat_map(Clone::clone)
    }
}

/// The frame of a row before exclusion. Over the rows of a partition, neither end moves backwards.
pub fn bounds(
    frame: &Frame,
    partition_run: &PartitionRun,
    partition: &Partition,
    row: usize,
) -> Range<usize> {
    let ends = Ends {
        partition_run,
        partition,
        row,
        unit: frame.unit,
    };
    let start = ends.start(frame.start);
    start..ends.end(frame.end).max(start)
}

/// The frame of a row.
pub fn rows(
    frame: &Frame,
    partition_run: &PartitionRun,
    partition: &Partition,
    row: usize,
) -> Rows {
    let all = bounds(frame, partition_run, partition, row);
    let out = match frame.exclude {
        Exclude::Nothing => return Rows([all.clone(), all.end..all.end, all.end..all.end]),
        Exclude::CurrentRow => row..row + 1,
        Exclude::Group | Exclude::Ties => partition_run.peers(row),
    };
    let (from, to) = (
        out.start.clamp(all.start, all.end),
        out.end.clamp(all.start, all.end),
    );
    let kept = match frame.exclude == Exclude::Ties && all.contains(&row) {
        true => row..row + 1,
        false => from..from,
    };
    Rows([all.start..from, kept, to..all.end])
}

/// Finds the ends of a row's frame.
struct Ends<'s> {
    partition_run: &'s PartitionRun,
    partition: &'s Partition,
    row: usize,
    unit: FrameUnit,
}

impl Ends<'_> {
    fn start(&self, bound: Bound) -> usize {
        let all = &self.partition.rows;
        match (bound, self.unit) {
            (Bound::UnboundedPreceding, _) => all.start,
            (Bound::UnboundedFollowing, _) => all.end,
            (Bound::CurrentRow, FrameUnit::Rows) => self.row,
            (Bound::CurrentRow, _) => self.partition_run.peers(self.row).start,
            (Bound::Preceding(_) | Bound::Following(_), FrameUnit::Range) => {
                self.partition_run.range_start(self.row)
            }
            (Bound::Preceding(n), FrameUnit::Groups) => self.group_before(n).start,
            (Bound::Following(n), FrameUnit::Groups) => self.group_after(n).start,
            (Bound::Preceding(n), _) => self.row.saturating_sub(size(n)).max(all.start),
            (Bound::Following(n), _) => self.row.saturating_add(size(n)).min(all.end),
        }
    }

    /// The row behind the last.
    fn end(&self, bound: Bound) -> usize {
        let all = &self.partition.rows;
        match (bound, self.unit) {
            (Bound::UnboundedPreceding, _) => all.start,
            (Bound::UnboundedFollowing, _) => all.end,
            (Bound::CurrentRow, FrameUnit::Rows) => self.row + 1,
            (Bound::CurrentRow, _) => self.partition_run.peers(self.row).end,
            (Bound::Preceding(_) | Bound::Following(_), FrameUnit::Range) => {
                self.partition_run.range_end(self.row)
            }
            (Bound::Preceding(n), FrameUnit::Groups) => match self.group().checked_sub(size(n)) {
                Some(group) if group >= self.partition.groups.start => {
                    self.partition_run.group(group).end
                }
                _ => all.start,
            },
            (Bound::Following(n), FrameUnit::Groups) => self.group_after(n).end,
            (Bound::Preceding(n), _) => (self.row + 1).saturating_sub(size(n)).max(all.start),
            (Bound::Following(n), _) => (self.row + 1).saturating_add(size(n)).min(all.end),
        }
    }

    fn group(&self) -> usize {
        self.partition_run.group_of(self.row)
    }

    /// The group `n` before the row's, or the partition's first.
    fn group_before(&self, n: u64) -> Range<usize> {
        let group = self.group().saturating_sub(size(n));
        self.partition_run
            .group(group.max(self.partition.groups.start))
    }

    /// The group `n` after the row's, or nothing at the partition's end.
    fn group_after(&self, n: u64) -> Range<usize> {
        let group = self.group().saturating_add(size(n));
        match group < self.partition.groups.end {
            true => self.partition_run.group(group),
            false => self.partition.rows.end..self.partition.rows.end,
        }
    }
}

fn size(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
