// SPDX-License-Identifier: Apache-2.0
//! Vectors to the chunks of columns.

use std::borrow::Cow;
use std::ops::Range;

use super::meta::{BlockMeta, ColumnMeta, ColumnSpec, Encoding, Order};
use super::{ROW_BLOCK_ROWS, ROW_BLOCK_ROWS_MAX, SEGMENT_ROWS_MAX};
use crate::bloom;
use crate::checksum::checksum;
use crate::dictionary::{self, Dictionary};
use crate::encoding::fsst::Trained;
use crate::encoding::{bytes, fixed, float, int, validity};
use crate::error::{invalid, Result};
use crate::vector::{Bitmap, BytesColumn, Values, Vector};
use crate::zone_map::{self, Scalar, ZoneMap};

/// How to write a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteOptions {
    /// Rows of a row block, at most `ROW_BLOCK_ROWS_MAX`. Fewer suit very wide values. The same for all
    /// columns of a segment.
    pub block_rows: u32,
    /// LZ4 where it shrinks by more than a tenth.
    pub lz4: bool,
    /// Symbol tables for text.
    pub fsst: bool,
    /// Dictionaries for text with few distinct values.
    pub dictionary: bool,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            block_rows: ROW_BLOCK_ROWS,
            lz4: true,
            fsst: true,
            dictionary: true,
        }
    }
}

/// A column of a segment to be.
#[derive(Debug, Clone)]
pub struct EncodedColumn {
    /// Positions count from the start of `bytes`.
    pub(super) meta: ColumnMeta,
    pub(super) bytes: Vec<u8>,
    pub(super) rows: usize,
    pub(super) block_rows: u32,
    /// First value of each block, and the last of the column.
    pub(super) firsts: Vec<Option<Scalar>>,
    pub(super) last: Option<Scalar>,
}

impl EncodedColumn {
    /// Bytes of the column's chunk.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the chunk has no bytes.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The column's chunk.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The column's meta, positions counted from the start of its chunk.
    pub fn meta(&self) -> &ColumnMeta {
        &self.meta
    }
}

/// What the blocks of a column share while they are written.
enum Shared {
    None,
    Dictionary(Dictionary),
    Symbols(Box<Trained>),
}

/// Encodes all rows of one column. Pure: columns may be encoded in parallel.
///
/// # Errors
/// `Invalid` when the vector's layout is not the spec's, or there are too many rows.
pub fn encode_column(
    spec: &ColumnSpec,
    vector: &Vector,
    options: &WriteOptions,
) -> Result<EncodedColumn> {
    check_arguments(spec, vector, options)?;
    let rows = vector.len();
    let (shared, shared_bytes) = share(vector, options);
    let mut column = EncodedColumn {
        meta: ColumnMeta {
            spec: spec.clone(),
            zone: ZoneMap::default(),
            shared: (!shared_bytes.is_empty()).then_some(0..shared_bytes.len() as u64),
            shared_checksum: checksum(&shared_bytes),
            blocks: Vec::new(),
        },
        bytes: shared_bytes,
        rows,
        block_rows: options.block_rows,
        firsts: Vec::new(),
        last: rows
            .checked_sub(1)
            .and_then(|last| Scalar::of(vector, last)),
    };
    let step = options.block_rows as usize;
    for start in (0..rows).step_by(step) {
        encode_block(
            vector,
            start..rows.min(start + step),
            &shared,
            options,
            &mut column,
        )?;
    }
    if spec.bloom {
        for (i, start) in (0..rows).step_by(step).enumerate() {
            let at = column.bytes.len() as u64;
            bloom::build(vector, start..rows.min(start + step), &mut column.bytes);
            let end = column.bytes.len() as u64;
            column.meta.blocks[i].bloom = (end > at).then_some(at..end);
        }
    }
    sum_up(&mut column.meta);
    Ok(column)
}

fn check_arguments(spec: &ColumnSpec, vector: &Vector, options: &WriteOptions) -> Result<()> {
    if vector.physical() != spec.physical {
        return Err(invalid("the vector's layout is not the column's"));
    }
    if vector.len() > SEGMENT_ROWS_MAX as usize {
        return Err(invalid("too many rows for a segment"));
    }
    if !(1..=ROW_BLOCK_ROWS_MAX).contains(&options.block_rows) {
        return Err(invalid("rows of a row block out of bounds"));
    }
    if vector
        .validity
        .as_ref()
        .is_some_and(|v| v.len() != vector.len())
    {
        return Err(invalid("validity of another length than the values"));
    }
    Ok(())
}

/// Decides what the blocks share, and writes it.
fn share(vector: &Vector, options: &WriteOptions) -> (Shared, Vec<u8>) {
    let mut out = Vec::new();
    if !matches!(vector.values, Values::Bytes(_) | Values::Dict { .. }) {
        return (Shared::None, out);
    }
    if options.dictionary {
        if let Some(dictionary) = dictionary::build(vector) {
            dictionary::write(&dictionary.values, options.lz4, &mut out);
            return (Shared::Dictionary(dictionary), out);
        }
    }
    if options.fsst {
        if let Some(table) = train(vector) {
            dictionary::write_symbols(&table, &mut out);
            return (Shared::Symbols(Box::new(table)), out);
        }
    }
    (Shared::None, out)
}

/// Trains a symbol table on values spread over the column; `None` when there is too little to win.
fn train(vector: &Vector) -> Option<Trained> {
    const SAMPLES: usize = 4096;
    let rows = vector.len();
    let step = rows.div_ceil(SAMPLES).max(1);
    let sampled = (0..rows).step_by(step).filter(|&i| !vector.is_null(i));
    let sample: Vec<&[u8]> = sampled
        .filter_map(|i| vector.bytes(i))
        .filter(|v| !v.is_empty())
        .collect();
    let bytes: usize = sample.iter().map(|v| v.len()).sum();
    // Symbols help short values; a table costs up to 2 KB. Long values are LZ4's.
    let long = bytes > sample.len() * 1024;
    (bytes > 4096 && !long).then(|| Trained::train(&sample))
}

/// Encodes one row block and its meta.
fn encode_block(
    vector: &Vector,
    rows: Range<usize>,
    shared: &Shared,
    options: &WriteOptions,
    column: &mut EncodedColumn,
) -> Result<()> {
    let zone = match shared {
        Shared::Dictionary(dictionary) => dictionary.zone(vector, rows.clone()),
        _ => zone_map::of(vector, rows.clone(), column.meta.spec.order != Order::None),
    };
    let zone = if column.meta.spec.order == Order::None {
        ZoneMap {
            min: None,
            max: None,
            ..zone
        }
    } else {
        zone
    };
    let validity = vector
        .validity
        .as_ref()
        .filter(|_| zone.null_count > 0)
        .map(|v| {
            let mut bits = Bitmap::default();
            bits.extend_from(v, rows.clone());
            bits
        });
    let start = column.bytes.len();
    let out = &mut column.bytes;
    validity::encode(rows.len(), validity.as_ref(), out);
    let encoding = if zone.null_count as usize == rows.len() {
        Encoding::Null
    } else {
        encode_values(
            vector,
            rows.clone(),
            validity.as_ref(),
            shared,
            options,
            out,
        )?
    };
    let len = u32::try_from(out.len() - start).map_err(|_| invalid("row block past 4 GiB"))?;
    column.firsts.push(Scalar::of(vector, rows.start));
    column.meta.blocks.push(BlockMeta {
        offset: start as u64,
        len,
        rows: rows.len() as u32,
        zone,
        encoding,
        checksum: checksum(&out[start..]),
        bloom: None,
    });
    Ok(())
}

fn encode_values(
    vector: &Vector,
    rows: Range<usize>,
    validity: Option<&Bitmap>,
    shared: &Shared,
    options: &WriteOptions,
    out: &mut Vec<u8>,
) -> Result<Encoding> {
    let lz4 = options.lz4;
    Ok(match &vector.values {
        Values::Bool(v) => int::encode(&filled(&v[rows], validity), out).into(),
        Values::I16(v) => int::encode(&filled(&v[rows], validity), out).into(),
        Values::I32(v) => int::encode(&filled(&v[rows], validity), out).into(),
        Values::I64(v) => int::encode(&filled(&v[rows], validity), out).into(),
        Values::I128(v) => int::encode(&filled(&v[rows], validity), out).into(),
        Values::F32(v) => float::encode(&filled(&v[rows], validity), lz4, out).into(),
        Values::F64(v) => float::encode(&filled(&v[rows], validity), lz4, out).into(),
        Values::Fixed { width, data } => {
            let width = usize::from(*width);
            fixed::encode(&data[rows.start * width..rows.end * width], width, lz4, out).into()
        }
        Values::Bytes(_) | Values::Dict { .. } => {
            encode_text(vector, rows, validity, shared, lz4, out)?
        }
    })
}

fn encode_text(
    vector: &Vector,
    rows: Range<usize>,
    validity: Option<&Bitmap>,
    shared: &Shared,
    lz4: bool,
    out: &mut Vec<u8>,
) -> Result<Encoding> {
    let fsst = match shared {
        Shared::Dictionary(dictionary) => {
            out.push(1);
            int::encode(&filled(&dictionary.codes[rows], validity), out);
            return Ok(Encoding::Dictionary);
        }
        Shared::Symbols(table) => Some(&**table),
        Shared::None => None,
    };
    out.push(0);
    let means = bytes::Means { lz4, fsst };
    if let (Values::Bytes(values), None) = (&vector.values, validity) {
        return Ok(bytes::encode(values, rows, means, out).into());
    }
    let values = without_nulls(vector, rows)?;
    Ok(bytes::encode(&values, 0..values.len(), means, out).into())
}

/// The values with each NULL's entry replaced by the value before it (or the first one after): runs and
/// narrow ranges stay so.
fn filled<'a, T: Copy>(values: &'a [T], validity: Option<&Bitmap>) -> Cow<'a, [T]> {
    let Some(validity) = validity else {
        return Cow::Borrowed(values);
    };
    let first = (0..values.len()).find(|&i| validity.get(i)).unwrap_or(0);
    let mut last = values[first];
    let fill = |(i, &v): (usize, &T)| {
        last = if validity.get(i) { v } else { last };
        last
    };
    Cow::Owned(values.iter().enumerate().map(fill).collect())
}

/// The values of some rows, flat, empty where NULL.
fn without_nulls(vector: &Vector, rows: Range<usize>) -> Result<BytesColumn> {
    let value = |i| {
        if vector.is_null(i) {
            None
        } else {
            vector.bytes(i)
        }
        .unwrap_or_default()
    };
    let total: usize = rows.clone().map(|i| value(i).len()).sum();
    if u32::try_from(total).is_err() {
        return Err(invalid("row block past 4 GiB"));
    }
    let mut values = BytesColumn::default();
    rows.for_each(|i| values.push(value(i)));
    Ok(values)
}

/// The column's zone map from those of its blocks.
fn sum_up(meta: &mut ColumnMeta) {
    let mut had_values = false;
    for (i, block) in meta.blocks.iter().enumerate() {
        if i == 0 {
            meta.zone = block.zone.clone();
        } else {
            meta.zone.merge(&block.zone, had_values);
        }
        had_values |= block.zone.null_count < block.rows;
    }
}

impl From<int::Kind> for Encoding {
    fn from(kind: int::Kind) -> Self {
        match kind {
            int::Kind::Constant => Encoding::Constant,
            int::Kind::Plain => Encoding::Plain,
            int::Kind::Packed => Encoding::Packed,
            int::Kind::Delta => Encoding::Delta,
            int::Kind::Runs => Encoding::Runs,
            int::Kind::Scaled => Encoding::Scaled,
            int::Kind::Lookup => Encoding::Lookup,
            int::Kind::Patched => Encoding::Patched,
        }
    }
}

impl From<float::Kind> for Encoding {
    fn from(kind: float::Kind) -> Self {
        match kind {
            float::Kind::Bits(kind) => kind.into(),
            float::Kind::Decimal => Encoding::Decimal,
            float::Kind::Lz4 => Encoding::Lz4,
        }
    }
}

impl From<bytes::Kind> for Encoding {
    fn from(kind: bytes::Kind) -> Self {
        match kind {
            bytes::Kind::Constant => Encoding::Constant,
            bytes::Kind::Plain => Encoding::Plain,
            bytes::Kind::Lz4 => Encoding::Lz4,
            bytes::Kind::Fsst => Encoding::Fsst,
        }
    }
}
