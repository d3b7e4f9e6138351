// SPDX-License-Identifier: Apache-2.0
//! A glance at one column of a row block, before the others are read: where it leaves no row, they need not be.
//!
//! Zone maps see only the least and the greatest value. A condition that asks for a small part of what lies between
//! often leaves no row of a block all the same: rows of one kind lie together. The column is one that the scan needs in
//! any case; what is wasted is a comparison on the main thread, and only for some blocks, unless it pays.
use doris_engine::error::Result;
use doris_engine::expr::{EvalContext, Expr};
use doris_storage::segment::Block;

/// Looked at before it is judged.
const TRIED: u64 = 8;
/// One block in so many must be left out.
const WORTHWHILE: u64 = 4;
/// Conditions that let less than one part in so many of a block's range through are worth a look.
const PART: f64 = 64.0;
/// Rows looked at before the next are.
const PIECE: usize = 4096;

/// What a scan's filters ask of columns of integers, and how often a look at those paid.
#[derive(Default)]
pub struct Glance {
    ranges: Vec<(usize, i128, i128)>,
    tried: u64,
    left_out: u64,
}

impl Glance {
    /// Of a source with `columns` columns; with one there is nothing to save.
    pub fn new(filters: &[Expr], columns: usize) -> Self {
        let mut ranges: Vec<(usize, i128, i128)> = Vec::new();
        let context = EvalContext::default();
        if columns > 1 {
            // What comes after a filter that may fail must not keep it from failing.
            let quiet = |f: &&Expr| f.is_native() && !f.can_raise();
            for filter in filters.iter().take_while(quiet) {
                let Ok(Some((column, low, high))) = filter.integer_range(&context) else {
                    continue;
                };
                match ranges.iter_mut().find(|range| range.0 == column) {
                    Some(range) => *range = (column, range.1.max(low), range.2.min(high)),
                    None => ranges.push((column, low, high)),
                }
            }
        }
        Self {
            ranges,
            ..Self::default()
        }
    }

    /// The column to look at in a block, and the bounds to look for. `zone`: the least and greatest value of a column.
    pub fn range(
        &self,
        zone: impl Fn(usize) -> Option<(i128, i128)>,
    ) -> Option<(usize, (i128, i128))> {
        if self.tried >= TRIED && self.left_out * WORTHWHILE < self.tried {
            return None;
        }
        let width = |low: i128, high: i128| high.saturating_sub(low) as f64 + 1.0;
        let part = |&(column, low, high): &(usize, i128, i128)| {
            let (min, max) = zone(column)?;
            let part = width(low.max(min), high.min(max)) / width(min, max);
            Some((part, (column, (low, high))))
        };
        let least = self.ranges.iter().filter_map(part);
        let (part, range) = least.min_by(|a, b| a.0.total_cmp(&b.0))?;
        (part * PART < 1.0).then_some(range)
    }

    /// Looks: whether some row of the block may be within the bounds.
    pub fn finds(&mut self, block: &Block<Vec<u8>>, bounds: (i128, i128)) -> Result<bool> {
        let (rows, mut found) = (block.rows(), Vec::new());
        self.tried += 1;
        for from in (0..rows).step_by(PIECE) {
            let piece = from..(from + PIECE).min(rows);
            let told = block.within(piece, bounds, &mut found);
            if !told.map_err(super::source::corrupt)? || !found.is_empty() {
                return Ok(true);
            }
        }
        self.left_out += 1;
        Ok(false)
    }
}
