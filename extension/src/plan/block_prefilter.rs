// SPDX-License-Identifier: Apache-2.0
//! A prefilter of row blocks: some columns are read before the others; where one leaves no row, the others need not be
//! read.
//!
//! Zone maps see only the least and the greatest value. A condition that asks for a small part of what lies between
//! often leaves no row of a block all the same: rows of one kind lie together. The columns are ones that the scan needs
//! in any case; what is wasted is a comparison on the main thread, and only for some blocks, unless it pays.
use doris_engine::expr::{EvalContext, Expr};
use doris_storage::segment::Block;

/// Looked at before it is judged.
const TRIES_MIN: u64 = 8;
/// One block in so many must be left out.
const SKIPPED_BLOCKS_DIVISOR: u64 = 4;
/// Conditions that let less than one part in so many of a block's range through are worth a look.
const RANGE_DIVISOR_MIN: f64 = 64.0;
/// Rows looked at before the next are.
const ROWS_PER_CHECK: usize = 4096;

/// What a scan's filters ask of a column of integers, and how often a look at it paid.
struct Range {
    column: usize,
    low: i128,
    high: i128,
    tried: u64,
    left_out: u64,
}

impl Range {
    fn pays(&self) -> bool {
        self.tried < TRIES_MIN || self.left_out * SKIPPED_BLOCKS_DIVISOR >= self.tried
    }

    /// Whether the bounds are a small part of what lies between a block's least and greatest value.
    fn is_narrow(&self, (min, max): (i128, i128)) -> bool {
        let width = |low: i128, high: i128| high.saturating_sub(low) as f64 + 1.0;
        width(self.low.max(min), self.high.min(max)) * RANGE_DIVISOR_MIN < width(min, max)
    }
}

/// The columns of which filters want a value within bounds, and these: rows outside of them, or NULL, do not pass.
pub fn ranges(filters: &[Expr]) -> Vec<(usize, i128, i128)> {
    let context = EvalContext::default();
    // What comes after a filter that may fail must not keep it from failing.
    let quiet = |f: &&Expr| f.is_native() && !f.can_raise();
    let range = |filter: &Expr| filter.integer_range(&context).ok().flatten();
    filters.iter().take_while(quiet).filter_map(range).collect()
}

/// What a scan's filters ask of its columns of integers.
#[derive(Default)]
pub struct BlockPrefilter {
    asked: Vec<Range>,
}

impl BlockPrefilter {
    /// Of a source with `columns` columns; with one there is nothing to save.
    pub fn new(filters: &[Expr], columns: usize) -> Self {
        let mut asked: Vec<Range> = Vec::new();
        if columns > 1 {
            for (column, low, high) in ranges(filters) {
                match asked.iter_mut().find(|asked| asked.column == column) {
                    Some(asked) => {
                        asked.low = asked.low.max(low);
                        asked.high = asked.high.min(high);
                    }
                    None => asked.push(Range {
                        column,
                        low,
                        high,
                        tried: 0,
                        left_out: 0,
                    }),
                }
            }
        }
        Self { asked }
    }

    /// The columns worth a look in a block, those of the fewest bytes first. `zone`: the least and greatest value of a
    /// column; `bytes`: how many it takes.
    pub fn columns(
        &self,
        zone: impl Fn(usize) -> Option<(i128, i128)>,
        bytes: impl Fn(usize) -> u64,
    ) -> Vec<usize> {
        let worthwhile = |asked: &&Range| {
            asked.pays() && zone(asked.column).is_some_and(|range| asked.is_narrow(range))
        };
        let asked = self.asked.iter().filter(worthwhile);
        let mut columns: Vec<usize> = asked.map(|asked| asked.column).collect();
        columns.sort_by_key(|&column| bytes(column));
        columns
    }

    /// Looks at one of these columns: whether some row of the block may be within the bounds.
    pub fn finds(&mut self, column: usize, block: &Block<Vec<u8>>) -> doris_storage::Result<bool> {
        let Some(asked) = self.asked.iter_mut().find(|asked| asked.column == column) else {
            return Ok(true);
        };
        let (rows, mut found) = (block.rows(), Vec::new());
        asked.tried += 1;
        for from in (0..rows).step_by(ROWS_PER_CHECK) {
            let piece = from..(from + ROWS_PER_CHECK).min(rows);
            let told = block.within(piece, (asked.low, asked.high), &mut found);
            if !told? || !found.is_empty() {
                return Ok(true);
            }
        }
        asked.left_out += 1;
        Ok(false)
    }
}
