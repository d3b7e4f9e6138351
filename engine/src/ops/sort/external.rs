// SPDX-License-Identifier: Apache-2.0
//! Sorting more than memory holds: sorted runs in a spill file, merged.
//!
//! A run is a list of pieces, each some rows with their normalised keys. The merge keeps one piece of every run
//! in memory and takes the least key each time; it notes where rows come from and fetches their columns for a
//! whole batch at once. One level of merging only: with a run for each filling of the memory, and pieces of a
//! few thousand rows, hundreds of runs fit.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use doris_storage::vector::{BytesColumn, Values, Vector};

use super::full::{sort_parts, Part};
use super::normal::{Column, KeyOrder, NormalKeys};
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::exec::driver::Driver;
use crate::exec::query::{Chunk, NodeCounters, Query};
use crate::exec::stream::{Ready, Source, Stream, Task};
use crate::gather::{concat, gather};
use crate::memory::{self, Reservation};
use crate::spill::{Run, SharedSpill};
use crate::types::DataType;

/// Rows of a piece.
const PIECE_ROWS: usize = 2048;

/// The runs of a sort.
pub struct External {
    id: u32,
    types: Vec<DataType>,
    columns: Vec<Column>,
    order: KeyOrder,
    file: Arc<SharedSpill>,
    runs: Vec<VecDeque<Run>>,
}

impl External {
    /// No runs yet.
    pub fn new(query: &Query, id: u32, types: &[DataType], columns: &[Column]) -> Result<Self> {
        let file = SharedSpill::create(query.spill.as_deref())?;
        Ok(Self {
            id,
            types: types.to_vec(),
            columns: columns.to_vec(),
            order: KeyOrder::new(columns),
            file,
            runs: Vec::new(),
        })
    }

    /// Sorts rows and writes them as a run, or as several where the system has no memory for sorting all.
    pub fn add_run(&mut self, query: &Query, mut parts: Vec<Part>) -> Result<()> {
        let sorted = memory::catching(|| sort_parts(&self.types, &self.columns, &parts));
        let (batch, order, keys) = match sorted {
            Err(Error::OutOfMemory) if parts.len() > 1 => {
                let rest = parts.split_off(parts.len() / 2);
                self.add_run(query, parts)?;
                return self.add_run(query, rest);
            }
            sorted => sorted?,
        };
        drop(parts);
        let mut run = VecDeque::new();
        for rows in order.chunks(PIECE_ROWS) {
            query.check()?;
            let mut vectors = vec![key_vector(&keys, rows)];
            vectors.extend(batch.columns.iter().map(|column| gather(column, rows)));
            let piece = self.file.write(&vectors)?;
            NodeCounters::add(&query.node(self.id).spilled_bytes, piece.bytes());
            run.push_back(piece);
        }
        self.runs.push(run);
        Ok(())
    }

    /// The stream of all rows in order.
    pub fn open(self, driver: &Driver, memory: Reservation) -> Result<Stream> {
        let mut merge = Merge {
            external: self,
            heap: BinaryHeap::new(),
            pieces: Vec::new(),
            _memory: memory,
        };
        for run in 0..merge.external.runs.len() {
            merge.pieces.push(Piece::default());
            merge.next_piece(run)?;
        }
        driver.query.check()?;
        Ok(Stream::new(Box::new(merge)))
    }
}

/// The keys of some rows as a vector.
fn key_vector(keys: &NormalKeys, rows: &[u32]) -> Vector {
    let mut column = BytesColumn::default();
    rows.iter()
        .for_each(|&row| column.push(keys.get(row as usize)));
    Vector {
        values: Values::Bytes(column),
        validity: None,
    }
}

/// The rows of a run that are in memory.
#[derive(Default)]
struct Piece {
    keys: Option<Vector>,
    columns: Vec<Arc<Vector>>,
    at: usize,
}

/// The first key of a run.
struct Head {
    key: Vec<u8>,
    run: usize,
    order: KeyOrder,
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        let keys = self.order.compare(&self.key, &other.key);
        keys.then(self.run.cmp(&other.run))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}

/// Merges runs on the driving thread.
struct Merge {
    external: External,
    /// The least key of each run that is not at its end, and the run.
    heap: BinaryHeap<Reverse<Head>>,
    pieces: Vec<Piece>,
    _memory: Reservation,
}

impl Merge {
    /// Loads a run's next piece and enters its first key.
    fn next_piece(&mut self, run: usize) -> Result<()> {
        let Some(piece) = self.external.runs[run].pop_front() else {
            self.pieces[run] = Piece::default();
            return Ok(());
        };
        let mut vectors = self.external.file.read(piece)?.into_iter();
        let keys = vectors.next();
        self.pieces[run] = Piece {
            keys,
            columns: vectors.map(Arc::new).collect(),
            at: 0,
        };
        self.enter(run);
        Ok(())
    }

    /// Enters the key of a run's current row; false at the end of its piece.
    fn enter(&mut self, run: usize) -> bool {
        let piece = &self.pieces[run];
        let keys = piece.keys.as_ref().filter(|keys| piece.at < keys.len());
        let Some(key) = keys.and_then(|keys| keys.bytes(piece.at)) else {
            return false;
        };
        self.heap.push(Reverse(Head {
            key: key.to_vec(),
            run,
            order: self.external.order.clone(),
        }));
        true
    }

    /// The next rows in order, at least one unless at the end.
    fn next_rows(&mut self) -> Result<Option<Batch>> {
        // Rows come from the pieces in memory now, or loaded on the way.
        let mut windows: Vec<Vec<Arc<Vector>>> = Vec::new();
        let mut window_of = vec![None; self.pieces.len()];
        let mut starts = Vec::new();
        let mut rows_in_windows = 0u32;
        let mut picks = Vec::new();
        while let Some(Reverse(Head { run, .. })) = self.heap.pop() {
            let window = *window_of[run].get_or_insert_with(|| {
                windows.push(self.pieces[run].columns.clone());
                starts.push(rows_in_windows);
                rows_in_windows += self.pieces[run]
                    .keys
                    .as_ref()
                    .map_or(0, |keys| keys.len() as u32);
                windows.len() - 1
            });
            picks.push(starts[window] + self.pieces[run].at as u32);
            self.pieces[run].at += 1;
            if !self.enter(run) {
                self.next_piece(run)?;
                window_of[run] = None;
                if picks.len() >= PIECE_ROWS * self.pieces.len() {
                    break;
                }
            }
        }
        if picks.is_empty() {
            return Ok(None);
        }
        let column = |(number, t): (usize, &DataType)| {
            let parts: Vec<Arc<Vector>> = windows
                .iter()
                .map(|columns| Arc::clone(&columns[number]))
                .collect();
            let whole = concat(t.physical(), &parts).ok_or(Error::OutOfMemory)?;
            Ok(Arc::new(gather(&whole, &picks)))
        };
        let columns = self
            .external
            .types
            .iter()
            .enumerate()
            .map(column)
            .collect::<Result<Vec<_>>>()?;
        Ok(Some(Batch {
            columns,
            rows: picks.len(),
        }))
    }
}

impl Source for Merge {
    fn next(&mut self, driver: &Driver) -> Result<Option<Box<dyn Task>>> {
        driver.query.check()?;
        let Some(batch) = self.next_rows()? else {
            return Ok(None);
        };
        NodeCounters::add(
            &driver.query.node(self.external.id).rows_out,
            batch.rows as u64,
        );
        Ok(Some(Box::new(Ready(vec![Chunk::all(batch)]))))
    }
}
