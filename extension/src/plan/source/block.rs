// SPDX-License-Identifier: Apache-2.0
//! Row blocks of segments as morsels: workers decode what they need of the bytes that the main thread copied.
use crate::store::segment::Verified;
use doris_engine::batch::Selection;
use doris_engine::error::{Error, Place, Result};
use doris_engine::metadata_aggregates::ColumnSummary;
use doris_engine::source::Morsel;
use doris_storage::segment::{Block, ColumnReader, Footer, Verify};
use doris_storage::vector::{Physical, Vector};
use std::ops::Range;
use std::sync::Arc;

/// A row block of which nothing but its zone maps is looked at.
pub(super) struct SummaryMorsel {
    pub(super) rows: usize,
    pub(super) summaries: Vec<ColumnSummary>,
}

impl Morsel for SummaryMorsel {
    fn rows(&self) -> usize {
        self.rows
    }

    fn summaries(&self) -> Option<Vec<ColumnSummary>> {
        Some(self.summaries.clone())
    }

    fn load(&mut self, _: usize, _: Range<usize>) -> Result<Arc<Vector>> {
        Err(Error::internal("a summary has no values"))
    }

    fn load_selected(&mut self, _: usize, _: &[u32], _: &mut Vector) -> Result<()> {
        Err(Error::internal("a summary has no values"))
    }
}

/// The rows of a block that are not among the dead.
pub(super) fn alive(rows: usize, dead: &[u32]) -> Selection {
    if dead.is_empty() {
        return Selection::All(rows);
    }
    let mut dead = dead.iter().peekable();
    let rows = (0..rows as u32).filter(|row| {
        let gone = dead.peek() == Some(&row);
        if gone {
            dead.next();
        }
        !gone
    });
    Selection::Indices(rows.collect())
}

/// A column of a row block.
pub(super) enum BlockColumn {
    /// Its bytes, not yet looked at.
    Stored(Physical, Box<Stored>),
    /// Opened: parts of it can be decoded.
    Open(Physical, Box<Block<Vec<u8>>>),
    Ready(Arc<Vector>),
}

/// The bytes of a row block, and what is needed to open it.
pub(super) struct Stored {
    pub(super) reader: Arc<ColumnReader>,
    pub(super) footer: Arc<Footer>,
    pub(super) verified: Arc<Verified>,
    pub(super) column: usize,
    pub(super) block: usize,
    pub(super) bytes: Vec<u8>,
}

impl Stored {
    /// Opens it, and looks at its checksum where nobody has.
    pub(super) fn open(self) -> doris_storage::Result<Block<Vec<u8>>> {
        let meta = &self.footer.columns[self.column].blocks[self.block];
        if self.verified.contains(self.column, self.block) {
            return self.reader.block(meta, self.bytes, Verify::Trusted);
        }
        let block = self.reader.block(meta, self.bytes, Verify::Checksum)?;
        self.verified.insert(self.column, self.block);
        Ok(block)
    }
}

/// Names the place of damage: workers, which find it, cannot ask the catalogue for names.
pub(super) fn damaged(place: Place) -> impl Fn(doris_storage::Error) -> Error {
    move |error| match error {
        doris_storage::Error::OutOfMemory => Error::OutOfMemory,
        error => Error::damaged_at(error.to_string(), place),
    }
}

/// A row block of a segment, not yet decoded.
pub(super) struct BlockMorsel {
    pub(super) rows: usize,
    pub(super) dead: Vec<u32>,
    pub(super) passes_filters: bool,
    pub(super) columns: Vec<BlockColumn>,
    /// The place of each column.
    pub(super) places: Vec<Place>,
}

impl Morsel for BlockMorsel {
    fn rows(&self) -> usize {
        self.rows
    }

    fn visible(&self) -> Selection {
        alive(self.rows, &self.dead)
    }

    fn passes_filters(&self) -> bool {
        self.passes_filters
    }

    fn is_encoded(&self) -> bool {
        true
    }

    fn select_within(
        &mut self,
        column: usize,
        rows: Range<usize>,
        bounds: (i128, i128),
        out: &mut Vec<u32>,
    ) -> Result<bool> {
        let damaged = damaged(self.places[column]);
        match self.opened(column)? {
            BlockColumn::Open(_, block) => block.within(rows, bounds, out).map_err(damaged),
            _ => Ok(false),
        }
    }

    fn load(&mut self, column: usize, rows: Range<usize>) -> Result<Arc<Vector>> {
        let damaged = damaged(self.places[column]);
        match self.opened(column)? {
            BlockColumn::Open(physical, block) => {
                let mut out = Vector::empty(*physical);
                block.decode(rows, &mut out).map_err(damaged)?;
                Ok(Arc::new(out))
            }
            BlockColumn::Ready(all) if rows.len() == all.len() => Ok(all.clone()),
            BlockColumn::Ready(all) => Ok(Arc::new(all.slice(rows))),
            BlockColumn::Stored(..) => Err(Error::internal("a row block that does not open")),
        }
    }

    fn load_selected(&mut self, column: usize, rows: &[u32], out: &mut Vector) -> Result<()> {
        let damaged = damaged(self.places[column]);
        match self.opened(column)? {
            BlockColumn::Open(_, block) => block.gather(rows, out).map_err(damaged),
            BlockColumn::Ready(all) => out.append(&all.take(rows)).map_err(damaged),
            BlockColumn::Stored(..) => Err(Error::internal("a row block that does not open")),
        }
    }
}

impl BlockMorsel {
    /// A column, opened; decoded whole where parts would cost as much each.
    fn opened(&mut self, column: usize) -> Result<&BlockColumn> {
        let damaged = damaged(self.places[column]);
        let column = &mut self.columns[column];
        if matches!(column, BlockColumn::Stored(..)) {
            let none = BlockColumn::Ready(Arc::new(Vector::empty(Physical::Bool)));
            if let BlockColumn::Stored(physical, stored) = std::mem::replace(column, none) {
                let block = stored.open().map_err(&damaged)?;
                *column = match block.is_in_parts() {
                    true => BlockColumn::Open(physical, Box::new(block)),
                    false => {
                        let mut all = Vector::empty(physical);
                        block.decode(0..self.rows, &mut all).map_err(damaged)?;
                        BlockColumn::Ready(Arc::new(all))
                    }
                };
            }
        }
        Ok(column)
    }
}
