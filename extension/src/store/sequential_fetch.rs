// SPDX-License-Identifier: Apache-2.0
//! Rows of a segment that are looked up one after the other, as those of an UPDATE or of an index scan in the order of
//! the rows: the next ones are decoded with the first, which costs a fraction of decoding each by itself. A backend
//! keeps one such window of rows; random look-ups never open it.
use super::segment::Identity;
use doris_storage::segment::Block;
use doris_storage::vector::Vector;
use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

/// Rows decoded together.
const ROWS_MAX: u32 = 256;
/// Bytes of encoded values that may stand for [`ROWS_MAX`] rows of a column: they may take several times as much
/// decoded.
const ENCODED_BYTES_MAX: usize = 64 << 10;
/// Columns in a window: as many as keep it small.
const COLUMNS_MAX: usize = 256;
/// A row so close behind the one before is looked up in order.
const STEP_ROWS_MAX: u32 = 32;
/// Rows in order from which those that follow are decoded with them.
const STEPS_MIN: u32 = 8;

/// How rows are looked up.
#[derive(Default)]
struct Window {
    /// The segment of the last row.
    of: Option<Identity>,
    /// The last row.
    last: u32,
    /// Rows looked up in order before it.
    steps: u32,
    /// The rows that are decoded.
    rows: Range<u32>,
    columns: Vec<(usize, Rc<Vector>)>,
}

thread_local! {
    static WINDOW: RefCell<Window> = RefCell::default();
}

/// A column of the window that holds a row, and the window's first row.
pub fn find(of: &Identity, column: usize, row: u32) -> Option<(Rc<Vector>, u32)> {
    WINDOW.with_borrow_mut(|window| {
        if window.of != Some(*of) {
            return None;
        }
        let start = window.rows.start;
        if !window.rows.contains(&row) {
            return None;
        }
        let (_, vector) = window.columns.iter().find(|(at, _)| *at == column)?;
        window.last = row;
        Some((Rc::clone(vector), start))
    })
}

/// Which rows should be decoded with one of the row block `block`, if it is looked up in order.
pub fn wanted(of: &Identity, row: u32, block: Range<u32>) -> Option<Range<u32>> {
    WINDOW.with_borrow_mut(|window| {
        if window.of != Some(*of) {
            *window = Window {
                of: Some(*of),
                last: row,
                ..Window::default()
            };
            return None;
        }
        let last = std::mem::replace(&mut window.last, row);
        if row != last {
            let follows = row > last && row - last <= STEP_ROWS_MAX;
            window.steps = if follows { window.steps + 1 } else { 0 };
        }
        if window.steps < STEPS_MIN {
            return None;
        }
        if !window.rows.contains(&row) {
            window.rows = row..block.end.min(row + ROWS_MAX);
            window.columns.clear();
        }
        (window.columns.len() < COLUMNS_MAX).then(|| window.rows.clone())
    })
}

/// Whether the values of a row block are short enough.
pub fn affords(block: &Block<Vec<u8>>) -> bool {
    block.bytes().len() / block.rows().max(1) * ROWS_MAX as usize <= ENCODED_BYTES_MAX
}

/// Keeps the decoded rows of a column.
pub fn keep(of: &Identity, column: usize, rows: &Range<u32>, vector: Vector) -> Rc<Vector> {
    let vector = Rc::new(vector);
    WINDOW.with_borrow_mut(|window| {
        if window.of == Some(*of) && window.rows == *rows {
            window.columns.push((column, Rc::clone(&vector)));
        }
    });
    vector
}
