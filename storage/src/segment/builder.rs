// SPDX-License-Identifier: Apache-2.0
//! The chunks of columns to a segment.

use super::footer::{Footer, KeyIndex};
use super::meta::ColumnMeta;
use super::writer::EncodedColumn;
use crate::error::{invalid, Result};
use crate::key::{encode_scalar, SortKey, KEY_PREFIX_MAX};
use crate::vector::Physical;
use crate::zone_map::Scalar;

/// A segment's sort keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SortOrder {
    /// Most significant first; may be empty.
    pub keys: Vec<SortKey>,
    /// Whether the rows are in that order; only then a key index is kept.
    pub sorted: bool,
}

/// A segment's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedSegment {
    /// The whole stream.
    pub bytes: Vec<u8>,
    /// Where the footer begins.
    pub footer_offset: u64,
    /// Rows of the segment.
    pub rows: u32,
}

/// Puts encoded columns of the same rows together, a column at a time, so that each can be written out
/// and dropped before the next is encoded.
#[derive(Debug, Clone)]
pub struct SegmentBuilder {
    sort: SortOrder,
    /// Rows and row block rows, from the first column on.
    shape: Option<(usize, u32)>,
    offset: u64,
    metas: Vec<ColumnMeta>,
    starts: Vec<u64>,
    keys: Vec<KeyColumn>,
}

/// What the key index needs of a column.
#[derive(Debug, Clone)]
struct KeyColumn {
    column: u16,
    physical: Physical,
    firsts: Vec<Option<Scalar>>,
    last: Option<Scalar>,
}

/// The end of a segment's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentEnd {
    /// The footer: the stream's last bytes.
    pub footer: Vec<u8>,
    /// Where the footer begins in the stream.
    pub footer_offset: u64,
    /// Rows of the segment.
    pub rows: u32,
}

impl SegmentBuilder {
    /// A segment without columns.
    pub fn new(sort: SortOrder) -> Self {
        let (metas, starts, keys) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            sort,
            shape: None,
            offset: 0,
            metas,
            starts,
            keys,
        }
    }

    /// Adds a column; the bytes returned are the next ones of the stream.
    ///
    /// # Errors
    /// `Invalid` when the column differs in rows or row blocks from the others, or its id repeats.
    pub fn push(&mut self, column: EncodedColumn) -> Result<Vec<u8>> {
        let EncodedColumn {
            mut meta,
            bytes,
            rows,
            block_rows,
            firsts,
            last,
        } = column;
        if *self.shape.get_or_insert((rows, block_rows)) != (rows, block_rows) {
            return Err(invalid("columns of different rows"));
        }
        let id = meta.spec.id;
        if self.metas.iter().any(|m| m.spec.id == id) || self.metas.len() == usize::from(u16::MAX) {
            return Err(invalid("column ids repeat"));
        }
        if self.sort.keys.iter().any(|k| k.column == id) {
            self.keys.push(KeyColumn {
                column: id,
                physical: meta.spec.physical,
                firsts,
                last,
            });
        }
        meta.shift(self.offset);
        self.starts.push(self.offset);
        self.metas.push(meta);
        self.offset += bytes.len() as u64;
        Ok(bytes)
    }

    /// The footer.
    ///
    /// # Errors
    /// `Invalid` when there is no column, a sort key is no column, or the row blocks are not in the order
    /// that the sort keys claim.
    pub fn finish(self) -> Result<SegmentEnd> {
        let (rows, block_rows) = self.shape.ok_or(invalid("a segment needs a column"))?;
        let key_index = self.key_index(rows, block_rows)?;
        let Self {
            sort,
            offset,
            metas,
            starts,
            ..
        } = self;
        let rows = rows as u32;
        let mut footer = Vec::new();
        Footer {
            rows,
            block_rows,
            sort,
            columns: metas,
            key_index,
        }
        .write(&starts, &mut footer);
        Ok(SegmentEnd {
            footer,
            footer_offset: offset,
            rows,
        })
    }

    fn key_index(&self, rows: usize, block_rows: u32) -> Result<KeyIndex> {
        let find = |key: &SortKey| {
            self.keys
                .iter()
                .find(|c| c.column == key.column)
                .map(|c| (c, *key))
        };
        let keys: Option<Vec<(&KeyColumn, SortKey)>> = self.sort.keys.iter().map(find).collect();
        let keys = keys.ok_or(invalid("a sort key is no column of the segment"))?;
        if !self.sort.sorted || keys.is_empty() || rows == 0 {
            return Ok(KeyIndex::default());
        }
        let encode = |value: &dyn Fn(&KeyColumn) -> Option<Scalar>| {
            let mut key = Vec::new();
            for (column, sort_key) in &keys {
                let complete =
                    encode_scalar(value(column).as_ref(), column.physical, *sort_key, &mut key);
                if !complete || key.len() >= KEY_PREFIX_MAX {
                    break;
                }
            }
            key.truncate(KEY_PREFIX_MAX);
            key
        };
        let blocks = rows.div_ceil(block_rows as usize);
        let firsts: Vec<Vec<u8>> = (0..blocks)
            .map(|i| encode(&|c| c.firsts[i].clone()))
            .collect();
        if firsts.windows(2).any(|w| w[0] > w[1]) {
            return Err(invalid("the rows are not in the order of the sort keys"));
        }
        Ok(KeyIndex {
            firsts,
            last: encode(&|c| c.last.clone()),
        })
    }
}

/// Puts columns of the same rows together to a segment in memory.
///
/// # Errors
/// As `SegmentBuilder::push` and `finish`.
pub fn assemble(sort: SortOrder, columns: Vec<EncodedColumn>) -> Result<EncodedSegment> {
    let mut builder = SegmentBuilder::new(sort);
    let total = columns.iter().map(EncodedColumn::len).sum::<usize>();
    let mut bytes = Vec::with_capacity(total + total / 64);
    for column in columns {
        bytes.extend_from_slice(&builder.push(column)?);
    }
    let SegmentEnd {
        footer,
        footer_offset,
        rows,
    } = builder.finish()?;
    bytes.extend_from_slice(&footer);
    Ok(EncodedSegment {
        bytes,
        footer_offset,
        rows,
    })
}
