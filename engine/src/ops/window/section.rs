// SPDX-License-Identifier: Apache-2.0
//! Some whole partitions: what one task computes.

use std::ops::Range;
use std::sync::Arc;

use doris_storage::vector::{Bitmap, Values, Vector};

use super::piece::{Evaluated, Piece, Start};
use super::range::{self, Ends};
use crate::error::{Error, Result};
use crate::gather::{concat, slice};
use crate::plan::{RangeOffsets, WindowCall};

/// Rows of a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    pub piece: usize,
    pub rows: Range<usize>,
}

/// Cuts pieces into sections of whole partitions, of at least `rows_min` rows each but the last. Unless `all` rows are
/// there, those of the last partition are no section, but the rest.
pub fn cut(pieces: &[Piece], rows_min: usize, all: bool) -> (Vec<Vec<Slice>>, Vec<Slice>) {
    let mut sections = Vec::new();
    let mut section: Vec<Slice> = Vec::new();
    let mut rows = 0;
    let is_first = |start: &Start| *start == Start::Partition;
    let last = |piece: &Piece| piece.starts.iter().rposition(is_first);
    let last = pieces
        .iter()
        .rposition(|piece| last(piece).is_some())
        .zip(pieces.iter().rev().find_map(last));
    for (number, piece) in pieces.iter().enumerate() {
        let mut from = 0;
        for (row, start) in piece.starts.iter().enumerate() {
            let rest = !all && last == Some((number, row));
            if (rest || rows >= rows_min) && is_first(start) {
                push(&mut section, number, from..row);
                if !section.is_empty() {
                    sections.push(std::mem::take(&mut section));
                }
                (from, rows) = (row, 0);
            }
            rows += 1;
        }
        push(&mut section, number, from..piece.starts.len());
    }
    if !all {
        return (sections, section);
    }
    if !section.is_empty() {
        sections.push(section);
    }
    (sections, Vec::new())
}

fn push(section: &mut Vec<Slice>, piece: usize, rows: Range<usize>) {
    if !rows.is_empty() {
        section.push(Slice { piece, rows });
    }
}

/// A partition, as positions in its section.
#[derive(Clone, Debug)]
pub struct Partition {
    pub rows: Range<usize>,
    /// Its groups of peers.
    pub groups: Range<usize>,
}

/// The partitions and groups of peers of a section's rows.
pub struct Section {
    pub rows: usize,
    pub partitions: Vec<Partition>,
    /// The first row of each group, and the number of rows.
    group_starts: Vec<u32>,
    group_of: Vec<u32>,
    /// For RANGE with offsets.
    range: Ends,
}

impl Section {
    /// The section of these slices.
    pub fn new(pieces: &[Piece], slices: &[Slice], range: Option<&RangeOffsets>) -> Result<Self> {
        let rows: usize = slices.iter().map(|slice| slice.rows.len()).sum();
        if rows >= u32::MAX as usize {
            return Err(Error::OutOfMemory);
        }
        let mut starts = slices
            .iter()
            .flat_map(|slice| &pieces[slice.piece].starts[slice.rows.clone()]);
        let mut section = Section {
            rows,
            partitions: Vec::new(),
            group_starts: Vec::new(),
            group_of: Vec::with_capacity(rows),
            range: Ends::default(),
        };
        for row in 0..rows {
            let start = starts.next().copied().unwrap_or(Start::Nothing);
            let group = section.group_starts.len();
            if row == 0 || start == Start::Partition {
                section.partitions.push(Partition {
                    rows: row..row,
                    groups: group..group,
                });
            }
            if row == 0 || start != Start::Nothing {
                section.group_starts.push(row as u32);
            }
            section.group_of.push(section.group_starts.len() as u32 - 1);
            let groups = section.group_starts.len();
            if let Some(last) = section.partitions.last_mut() {
                (last.rows.end, last.groups.end) = (row + 1, groups);
            }
        }
        section.group_starts.push(rows as u32);
        if let Some(range) = range {
            section.range = range::ends(pieces, slices, &section.partitions, range)?;
        }
        Ok(section)
    }

    /// The first row of a row's frame by values.
    pub fn range_start(&self, row: usize) -> usize {
        self.range.start[row] as usize
    }

    /// The row behind the last of a row's frame by values.
    pub fn range_end(&self, row: usize) -> usize {
        self.range.end[row] as usize
    }

    /// The group of a row, counted within the section.
    pub fn group_of(&self, row: usize) -> usize {
        self.group_of[row] as usize
    }

    /// A group's rows.
    pub fn group(&self, group: usize) -> Range<usize> {
        self.group_starts[group] as usize..self.group_starts[group + 1] as usize
    }

    /// A row's peers, itself included.
    pub fn peers(&self, row: usize) -> Range<usize> {
        self.group(self.group_of(row))
    }
}

/// A call's evaluated expressions over a section.
pub struct Inputs {
    pub argument: Option<Vector>,
    pub default: Option<Vector>,
    /// For an aggregate: whether it sees a row; `None`: all.
    pub seen: Option<Bitmap>,
}

/// The inputs of call `number` over a section.
pub fn inputs(
    pieces: &[Piece],
    slices: &[Slice],
    number: usize,
    call: &WindowCall,
) -> Result<Inputs> {
    let joined = |pick: fn(&Evaluated) -> Option<&Arc<Vector>>| -> Result<Option<Vector>> {
        let mut parts = Vec::with_capacity(slices.len());
        for part in slices {
            let piece = &pieces[part.piece];
            let Some(vector) = pick(&piece.calls[number]) else {
                return Ok(None);
            };
            parts.push(match part.rows.len() == piece.batch.rows {
                true => Arc::clone(vector),
                false => Arc::new(slice(vector, part.rows.start, part.rows.end)),
            });
        }
        let Some(first) = parts.first() else {
            return Ok(None);
        };
        let whole = concat(first.physical(), &parts).ok_or(Error::OutOfMemory)?;
        Ok(Some(whole))
    };
    let filter = joined(|call| call.filter.as_ref())?;
    let argument = joined(|call| call.argument.as_ref())?;
    let filtered = filter.map(|filter| passing(&filter)).transpose()?;
    debug_assert_eq!(filtered.is_some(), call.filter.is_some());
    let valid = argument.as_ref().and_then(|a| a.validity.clone());
    let seen = match (filtered, valid) {
        (Some(passing), Some(valid)) => Some(both(&passing, &valid)),
        (one, None) | (None, one) => one,
    };
    Ok(Inputs {
        argument,
        default: joined(|call| call.default.as_ref())?,
        seen,
    })
}

fn passing(filter: &Vector) -> Result<Bitmap> {
    let Values::Bool(values) = &filter.values else {
        return Err(Error::internal("a filter that is no boolean"));
    };
    let pass = |row: usize| values[row] != 0 && !filter.is_null(row);
    Ok(Bitmap::from_bools((0..values.len()).map(pass)))
}

fn both(a: &Bitmap, b: &Bitmap) -> Bitmap {
    Bitmap::from_bools((0..a.len()).map(|i| a.get(i) && b.get(i)))
}
