// SPDX-License-Identifier: Apache-2.0
//! Streams of variable-width values.
//!
//! ```text
//! 0 constant:  length and bytes
//! 1 plain:     lengths: int stream | unit start: u32 x units | data length: varint, data
//! 2 lz4:       lengths: int stream | unit start: u32 x units | frames
//! 3 fsst:      lengths: int stream | unit start: u32 x units | data length: varint, data
//!              | raw start: u32 x (units + 1)
//! ```
//! Lengths are those of the stored bytes (of the codes, with fsst); a unit start is where the first
//! value of a unit begins in the stored bytes, so that one value costs one unit of lengths. Raw starts
//! say the same of decompressed bytes and bound what a range can decompress to.

use std::ops::Range;

use super::fsst::{SymbolTable, Trained};
use super::int::{self, for_unit_rows, Int};
use super::{frames, make_room, UNIT};
use crate::error::{corrupt, Result};
use crate::vector::BytesColumn;
use crate::wire::{put_bytes, Reader};

/// The encodings of byte streams, by kind byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// One value for all rows.
    Constant = 0,
    /// Back to back.
    Plain = 1,
    /// LZ4 frames.
    Lz4 = 2,
    /// Symbol table.
    Fsst = 3,
}

/// What the chooser may try.
#[derive(Clone, Copy, Default)]
pub(crate) struct Means<'a> {
    /// LZ4, where it shrinks by more than a tenth.
    pub(crate) lz4: bool,
    /// A table trained on the column.
    pub(crate) fsst: Option<&'a Trained>,
}

/// Appends the stream of values `rows` of `values`.
pub(crate) fn encode(
    values: &BytesColumn,
    rows: Range<usize>,
    means: Means<'_>,
    out: &mut Vec<u8>,
) -> Kind {
    let n = rows.len();
    let offsets = &values.offsets[rows.start..=rows.end];
    let raw = &values.data[offsets[0] as usize..offsets[n] as usize];
    if n > 0
        && rows
            .clone()
            .all(|i| values.get(i) == values.get(rows.start))
    {
        out.push(Kind::Constant as u8);
        put_bytes(out, values.get(rows.start));
        return Kind::Constant;
    }
    let start = out.len();
    let mut best = Kind::Plain;
    if let Some(table) = means.fsst {
        encode_fsst(values, rows, table, out);
        // Symbols cost decoding time: they must win something.
        best = if out.len() - start < raw.len() + raw.len() / 16 {
            Kind::Fsst
        } else {
            Kind::Plain
        };
    }
    let to_beat = if best == Kind::Fsst {
        (out.len() - start) * 100 / raw.len().max(1)
    } else {
        100
    };
    if means.lz4 {
        let mut lz4 = vec![Kind::Lz4 as u8];
        encode_lengths(offsets, &mut lz4);
        let percent = (to_beat * 85 / 100).min(90);
        if frames::encode_if_below(raw, percent, &mut lz4)
            && (best == Kind::Plain || lz4.len() * 100 < (out.len() - start) * 85)
        {
            out.truncate(start);
            out.extend_from_slice(&lz4);
            return Kind::Lz4;
        }
    }
    if best == Kind::Plain {
        out.truncate(start);
        out.push(Kind::Plain as u8);
        encode_lengths(offsets, out);
        put_bytes(out, raw);
    }
    best
}

/// Appends the lengths between `offsets` and the unit starts.
fn encode_lengths(offsets: &[u32], out: &mut Vec<u8>) {
    let lengths: Vec<u32> = offsets.windows(2).map(|w| w[1] - w[0]).collect();
    int::encode(&lengths, out);
    let starts = offsets[..offsets.len() - 1].iter().step_by(UNIT);
    starts.for_each(|o| (o - offsets[0]).write(out));
}

fn encode_fsst(values: &BytesColumn, rows: Range<usize>, table: &Trained, out: &mut Vec<u8>) {
    let mut codes = BytesColumn::default();
    for i in rows.clone() {
        codes.push(&table.compress(values.get(i)));
    }
    out.push(Kind::Fsst as u8);
    encode_lengths(&codes.offsets, out);
    put_bytes(out, &codes.data);
    let offsets = &values.offsets[rows.start..=rows.end];
    let starts = offsets[..rows.len()].iter().step_by(UNIT);
    starts
        .chain(offsets.last())
        .for_each(|o| (o - offsets[0]).write(out));
}

/// A stream whose structure was checked.
#[derive(Debug, Clone)]
pub(crate) enum Layout {
    /// One value for all rows: where its bytes are.
    Constant(Range<usize>),
    /// Values cut from stored bytes by their lengths.
    Cut {
        /// How they are stored.
        store: Store,
        /// Stored length of each value.
        lengths: int::Layout<u32>,
        /// Position of the unit starts.
        starts: usize,
    },
}

/// How the bytes of a stream are stored.
#[derive(Debug, Clone)]
pub(crate) enum Store {
    /// As they are.
    Plain(Range<usize>),
    /// See `frames`.
    Lz4(frames::Layout),
    /// As codes of the column's symbol table.
    Fsst {
        /// The codes.
        codes: Range<usize>,
        /// Position of the raw starts.
        raw_starts: usize,
    },
}

impl Layout {
    /// Checks the stream of `rows` values at the reader and passes over it. Positions count from the
    /// start of `data`, which is all that the reader reads from.
    pub(crate) fn open(r: &mut Reader<'_>, data: &[u8], rows: usize) -> Result<Self> {
        let kind = r.u8()?;
        if kind == Kind::Constant as u8 {
            let len = r.bytes()?.len();
            return Ok(Layout::Constant(r.pos() - len..r.pos()));
        }
        let lengths = int::Layout::open(r, data, rows)?;
        let starts = r.pos();
        r.take(rows.div_ceil(UNIT) * 4)?;
        let store = match kind {
            1 => Store::Plain(open_data(r)?),
            2 => Store::Lz4(frames::Layout::open(r)?),
            3 => {
                let codes = open_data(r)?;
                let raw_starts = open_raw_starts(r, rows, codes.len())?;
                Store::Fsst { codes, raw_starts }
            }
            _ => return Err(corrupt("unknown bytes encoding")),
        };
        Ok(Layout::Cut {
            store,
            lengths,
            starts,
        })
    }

    /// The stream's encoding.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Layout::Constant(_) => Kind::Constant,
            Layout::Cut {
                store: Store::Plain(_),
                ..
            } => Kind::Plain,
            Layout::Cut {
                store: Store::Lz4(_),
                ..
            } => Kind::Lz4,
            Layout::Cut {
                store: Store::Fsst { .. },
                ..
            } => Kind::Fsst,
        }
    }

    /// Appends rows `range`. `table` is needed by fsst streams only.
    pub(crate) fn decode(
        &self,
        data: &[u8],
        range: Range<usize>,
        table: Option<&SymbolTable>,
        out: &mut BytesColumn,
    ) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let Layout::Cut {
            store,
            lengths,
            starts,
        } = self
        else {
            return self.decode_constant(data, range.len(), out);
        };
        let first_unit = range.start / UNIT;
        let mut cut: Vec<u32> = Vec::with_capacity(range.end - first_unit * UNIT);
        lengths.decode(data, first_unit * UNIT..range.end, &mut cut);
        let skip = range.start - first_unit * UNIT;
        let sum = |lengths: &[u32]| lengths.iter().map(|&l| u64::from(l)).sum::<u64>();
        let begin = u64::from(u32::read(&data[starts + first_unit * 4..])) + sum(&cut[..skip]);
        let cut = &cut[skip..];
        let end = begin + sum(cut);
        let end = usize::try_from(end).map_err(|_| corrupt("value beyond its block"))?;
        let stored = begin as usize..end;
        match store {
            Store::Plain(bytes) => {
                let bytes = &data[bytes.clone()];
                let piece = bytes.get(stored).ok_or(corrupt("value beyond its block"))?;
                push_offsets(cut, piece.len(), out)?;
                make_room(&mut out.data, piece.len())?;
                out.data.extend_from_slice(piece);
            }
            Store::Lz4(frames) => {
                if stored.end > frames.raw_len() {
                    return Err(corrupt("value beyond its block"));
                }
                push_offsets(cut, stored.len(), out)?;
                make_room(&mut out.data, stored.len())?;
                frames.decode(data, stored, &mut out.data)?;
            }
            Store::Fsst { codes, raw_starts } => {
                let table = table.ok_or(corrupt("no symbol table"))?;
                let codes = data[codes.clone()]
                    .get(stored)
                    .ok_or(corrupt("value beyond its block"))?;
                let raw_at = |unit: usize| u32::read(&data[raw_starts + unit * 4..]) as usize;
                let units = raw_at(range.end.div_ceil(UNIT)) - raw_at(first_unit);
                // No code stands for more than 8 bytes: a single value takes less than its unit.
                let bound = units.min(codes.len().saturating_mul(8));
                decode_fsst(table, codes, cut, bound, out)?;
            }
        }
        Ok(())
    }

    /// Whether a few rows cost much less than all: not where they lie in frames that are decompressed whole.
    pub(crate) fn is_in_units(&self) -> bool {
        self.kind() != Kind::Lz4
    }

    /// Appends the given rows, which ascend; of a stream that is in units.
    pub(crate) fn gather(
        &self,
        data: &[u8],
        rows: &[u32],
        table: Option<&SymbolTable>,
        out: &mut BytesColumn,
    ) -> Result<()> {
        let Layout::Cut {
            store,
            lengths,
            starts,
        } = self
        else {
            return self.decode_constant(data, rows.len(), out);
        };
        let (bytes, table) = match store {
            Store::Plain(bytes) => (&data[bytes.clone()], None),
            Store::Fsst { codes, .. } => (
                &data[codes.clone()],
                Some(table.ok_or(corrupt("no symbol table"))?),
            ),
            Store::Lz4(_) => return Err(corrupt("frames are not in units")),
        };
        out.offsets.reserve(rows.len());
        let mut outcome = Ok(());
        let mut cut: Vec<u32> = Vec::with_capacity(UNIT);
        for_unit_rows(rows, |unit, part| {
            let Some(&last) = part.last() else { return };
            cut.clear();
            lengths.decode(data, unit * UNIT..last as usize + 1, &mut cut);
            let (mut at, mut begin) = (0, u32::read(&data[starts + unit * 4..]) as usize);
            for &row in part {
                let row = row as usize % UNIT;
                begin += cut[at..row].iter().map(|&len| len as usize).sum::<usize>();
                at = row;
                if outcome.is_ok() {
                    outcome = push_stored(bytes.get(begin..begin + cut[row] as usize), table, out);
                }
            }
        });
        outcome
    }

    fn decode_constant(&self, data: &[u8], rows: usize, out: &mut BytesColumn) -> Result<()> {
        let Layout::Constant(value) = self else {
            return Ok(());
        };
        let value = &data[value.clone()];
        let total = value
            .len()
            .checked_mul(rows)
            .and_then(|n| n.checked_add(out.data.len()));
        if total.is_none_or(|n| u32::try_from(n).is_err()) {
            return Err(corrupt("vector past 4 GiB"));
        }
        make_room(&mut out.data, value.len() * rows)?;
        (0..rows).for_each(|_| out.push(value));
        Ok(())
    }
}

/// Appends one stored value, decompressed if need be.
fn push_stored(
    stored: Option<&[u8]>,
    table: Option<&SymbolTable>,
    out: &mut BytesColumn,
) -> Result<()> {
    let stored = stored.ok_or(corrupt("value beyond its block"))?;
    let at = out.data.len();
    // No code stands for more than 8 bytes.
    if u32::try_from(at + stored.len() * 8).is_err() {
        return Err(corrupt("vector past 4 GiB"));
    }
    match table {
        None => {
            make_room(&mut out.data, stored.len())?;
            out.data.extend_from_slice(stored);
        }
        Some(table) => {
            make_room(&mut out.data, stored.len() * 8 + 8)?;
            out.data.resize(at + stored.len() * 8 + 8, 0);
            let end = table.decompress(stored, &mut out.data, at)?;
            out.data.truncate(end);
        }
    }
    out.offsets.push(out.data.len() as u32);
    Ok(())
}

fn open_data(r: &mut Reader<'_>) -> Result<Range<usize>> {
    let len = r.bytes()?.len();
    Ok(r.pos() - len..r.pos())
}

fn open_raw_starts(r: &mut Reader<'_>, rows: usize, codes: usize) -> Result<usize> {
    let at = r.pos();
    let starts = r.take((rows.div_ceil(UNIT) + 1) * 4)?;
    let starts: Vec<u32> = starts.chunks_exact(4).map(u32::read).collect();
    let ascending = starts.windows(2).all(|w| w[0] <= w[1]);
    // No code stands for more than 8 bytes.
    if !ascending || starts.last().is_some_and(|&end| end as usize / 8 > codes) {
        return Err(corrupt("raw starts out of order"));
    }
    Ok(at)
}

/// Appends the offsets of values of the given lengths, `total` bytes in all.
fn push_offsets(lengths: &[u32], total: usize, out: &mut BytesColumn) -> Result<()> {
    if u32::try_from(out.data.len() + total).is_err() {
        return Err(corrupt("vector past 4 GiB"));
    }
    let mut end = out.data.len() as u32;
    out.offsets.extend(lengths.iter().map(|&len| {
        end = end.wrapping_add(len);
        end
    }));
    Ok(())
}

fn decode_fsst(
    table: &SymbolTable,
    codes: &[u8],
    lengths: &[u32],
    bound: usize,
    out: &mut BytesColumn,
) -> Result<()> {
    let mut at = out.data.len();
    if u32::try_from(at + bound).is_err() {
        return Err(corrupt("vector past 4 GiB"));
    }
    make_room(&mut out.data, bound + 8)?;
    out.data.resize(at + bound + 8, 0);
    let mut from = 0;
    for &len in lengths {
        let to = from + len as usize;
        at = table.decompress(&codes[from..to], &mut out.data, at)?;
        out.offsets.push(at as u32);
        from = to;
    }
    out.data.truncate(at);
    Ok(())
}
