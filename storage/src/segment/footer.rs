// SPDX-License-Identifier: Apache-2.0
//! The footer: what a reader must know of a segment before it reads a row block.

use std::ops::Range;

use super::builder::SortOrder;
use super::meta::ColumnMeta;
use super::{FORMAT_VERSION, ROW_BLOCK_ROWS_MAX, SEGMENT_ROWS_MAX};
use crate::checksum::{checksum, verify};
use crate::error::{corrupt, Error, Result};
use crate::key::{SortKey, KEY_PREFIX_MAX};
use crate::wire::{put_bytes, put_varint, Reader};

const MAGIC: &[u8; 8] = b"DORISSEG";
/// Magic to key index checksum.
const FIXED_LEN: usize = 40;
const FLAG_SORTED: u16 = 1;

/// The part of a footer that says where the rest is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FooterHead {
    /// Rows of the segment.
    pub rows: u32,
    /// Rows of every row block but the last.
    pub block_rows: u32,
    /// The sort keys, and whether the rows are in that order.
    pub sort: SortOrder,
    /// Each column's id and where its meta lies, from the start of the footer, in column order.
    pub columns: Vec<(u16, Range<usize>)>,
    checksums: Vec<u64>,
    /// Where the key index lies, from the start of the footer.
    pub key_index: Range<usize>,
    key_checksum: u64,
    /// Bytes of the stream ahead of the footer, as far as this head can tell (the caller's footer offset).
    footer_offset: u64,
}

impl FooterHead {
    /// Bytes of the head, told from the first 40 bytes of a footer.
    ///
    /// # Errors
    /// `Corrupt` or `Version`.
    pub fn peek_len(bytes: &[u8]) -> Result<usize> {
        let r = &mut Reader::new(bytes);
        if r.take(8)? != MAGIC {
            return Err(corrupt("no segment footer here"));
        }
        let version = r.u16()?;
        if version != FORMAT_VERSION {
            return Err(Error::Version { found: version });
        }
        r.take(14)?;
        let len = r.u32()? as usize;
        if len < FIXED_LEN + 8 || len > FIXED_LEN + 8 + usize::from(u16::MAX) * 17 {
            return Err(corrupt("footer head of an impossible length"));
        }
        Ok(len)
    }

    /// Reads the head from the first bytes of a footer; more bytes may follow. `footer_offset` is where
    /// the footer begins in the stream: column data must lie ahead of it.
    ///
    /// # Errors
    /// `Corrupt`, `Checksum` or `Version`.
    pub fn decode(bytes: &[u8], footer_offset: u64) -> Result<Self> {
        let len = Self::peek_len(bytes)?;
        let head = bytes.get(..len).ok_or(corrupt("footer ends early"))?;
        let (body, sum) = head.split_at(len - 8);
        verify(body, Reader::new(sum).u64()?, "segment footer")?;
        let r = &mut Reader::new(body);
        r.take(10)?;
        let sorted = r.u16()? & FLAG_SORTED != 0;
        let (rows, block_rows) = (r.u32()?, r.u32()?);
        if rows > SEGMENT_ROWS_MAX || !(1..=ROW_BLOCK_ROWS_MAX).contains(&block_rows) {
            return Err(corrupt("row counts out of bounds"));
        }
        let (columns, keys) = (r.u16()?, r.u16()?);
        r.u32()?;
        let key_len = r.u32()? as usize;
        let key_checksum = r.u64()?;
        let mut sort = SortOrder {
            keys: Vec::with_capacity(usize::from(keys)),
            sorted,
        };
        for _ in 0..keys {
            let (column, flags) = (r.u16()?, r.u8()?);
            sort.keys.push(SortKey {
                column,
                descending: flags & 1 != 0,
                nulls_first: flags & 2 != 0,
            });
        }
        let mut at = len;
        let (mut ranges, mut checksums) = (Vec::new(), Vec::new());
        for _ in 0..columns {
            let (id, len) = (r.u16()?, r.u32()? as usize);
            ranges.push((id, at..at + len));
            checksums.push(r.u64()?);
            at += len;
        }
        let key_index = at..at + key_len;
        Ok(Self {
            rows,
            block_rows,
            sort,
            columns: ranges,
            checksums,
            key_index,
            key_checksum,
            footer_offset,
        })
    }

    /// Number of row blocks.
    pub fn block_count(&self) -> usize {
        self.rows.div_ceil(self.block_rows) as usize
    }

    /// Bytes of the whole footer.
    pub fn footer_len(&self) -> usize {
        self.key_index.end
    }

    /// Reads column `index`'s meta from the bytes of its range.
    ///
    /// # Errors
    /// `Corrupt`, `Checksum`, or `Invalid` for an index past the columns.
    pub fn column(&self, index: usize, bytes: &[u8]) -> Result<ColumnMeta> {
        let expected = *self.checksums.get(index).ok_or(Error::Invalid {
            what: "no such column",
        })?;
        verify(bytes, expected, "column meta")?;
        let meta = ColumnMeta::read(bytes, self.rows, self.block_rows, self.footer_offset)?;
        if meta.spec.id != self.columns[index].0 {
            return Err(corrupt("column meta of another column"));
        }
        Ok(meta)
    }

    /// Reads the key index from the bytes of its range.
    ///
    /// # Errors
    /// `Corrupt` or `Checksum`.
    pub fn key_index(&self, bytes: &[u8]) -> Result<KeyIndex> {
        verify(bytes, self.key_checksum, "key index")?;
        KeyIndex::read(bytes, self.block_count())
    }
}

/// The first key of every row block and the last key of the segment, as memory-comparable prefixes of at
/// most `KEY_PREFIX_MAX` bytes. Empty when the segment is not sorted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyIndex {
    /// A prefix of each block's first key.
    pub firsts: Vec<Vec<u8>>,
    /// A prefix of the segment's last key; keys of the segment are at most this, when cut to its length.
    pub last: Vec<u8>,
}

impl KeyIndex {
    fn write(&self, out: &mut Vec<u8>) {
        put_varint(out, self.firsts.len() as u128);
        for key in self.firsts.iter().chain(std::iter::once(&self.last)) {
            put_bytes(out, key);
        }
    }

    fn read(bytes: &[u8], blocks: usize) -> Result<Self> {
        let r = &mut Reader::new(bytes);
        let count = r.varint32()? as usize;
        if count != 0 && count != blocks {
            return Err(corrupt("wrong number of block keys"));
        }
        let key = |r: &mut Reader<'_>| -> Result<Vec<u8>> {
            let key = r.bytes()?;
            if key.len() > KEY_PREFIX_MAX {
                return Err(corrupt("block key too long"));
            }
            Ok(key.to_vec())
        };
        let firsts = (0..count).map(|_| key(r)).collect::<Result<Vec<_>>>()?;
        let last = key(r)?;
        if r.remaining() > 0 || firsts.windows(2).any(|w| w[0] > w[1]) {
            return Err(corrupt("block keys out of order"));
        }
        Ok(Self { firsts, last })
    }

    /// The row blocks that may hold keys between two encoded bounds, both inclusive; a bound stands for
    /// all keys that begin with it.
    pub fn blocks(&self, low: &[u8], high: &[u8]) -> Range<usize> {
        let cut = |key: &[u8], bound: &[u8]| key.len().min(bound.len());
        if self.firsts.is_empty() || self.last[..cut(&self.last, low)] < low[..cut(&self.last, low)]
        {
            return 0..0;
        }
        // A block may hold `low` when the next block does not already begin below it.
        let below = |first: &Vec<u8>| first[..cut(first, low)] < low[..cut(first, low)];
        let start = self.firsts.partition_point(below).saturating_sub(1);
        let end = self
            .firsts
            .partition_point(|f| f[..cut(f, high)] <= high[..cut(f, high)]);
        start..end.max(start)
    }
}

/// A whole footer, or (built by hand from a `FooterHead`) one with some of its columns: predicates on the
/// others prune nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Footer {
    /// Rows of the segment.
    pub rows: u32,
    /// Rows of every row block but the last.
    pub block_rows: u32,
    /// The sort keys, and whether the rows are in that order.
    pub sort: SortOrder,
    /// The columns, in the order they were given to `assemble`.
    pub columns: Vec<ColumnMeta>,
    /// First keys of the row blocks of a sorted segment.
    pub key_index: KeyIndex,
}

impl Footer {
    /// Reads a footer. `bytes` begins at the footer (bytes after it are ignored), `footer_offset` is its
    /// place in the stream.
    ///
    /// # Errors
    /// `Corrupt`, `Checksum` or `Version`.
    pub fn decode(bytes: &[u8], footer_offset: u64) -> Result<Self> {
        let head = FooterHead::decode(bytes, footer_offset)?;
        let part =
            |range: &Range<usize>| bytes.get(range.clone()).ok_or(corrupt("footer ends early"));
        let mut columns = Vec::new();
        for (i, (_, range)) in head.columns.iter().enumerate() {
            columns.push(head.column(i, part(range)?)?);
        }
        let key_index = head.key_index(part(&head.key_index)?)?;
        let FooterHead {
            rows,
            block_rows,
            sort,
            ..
        } = head;
        Ok(Self {
            rows,
            block_rows,
            sort,
            columns,
            key_index,
        })
    }

    /// Number of row blocks.
    pub fn block_count(&self) -> usize {
        self.rows.div_ceil(self.block_rows) as usize
    }

    /// The column with an id.
    pub fn column(&self, id: u16) -> Option<&ColumnMeta> {
        // Ids are attribute numbers: mostly column `id` is the one before it from zero.
        let usual = usize::from(id)
            .checked_sub(1)
            .and_then(|i| self.columns.get(i));
        usual
            .filter(|c| c.spec.id == id)
            .or_else(|| self.columns.iter().find(|c| c.spec.id == id))
    }

    /// Appends the footer; `starts` tells where each column begins in the stream.
    pub(crate) fn write(&self, starts: &[u64], out: &mut Vec<u8>) {
        let metas: Vec<Vec<u8>> = self
            .columns
            .iter()
            .zip(starts)
            .map(|(c, &start)| {
                let mut meta = Vec::new();
                c.write(start, &mut meta);
                meta
            })
            .collect();
        let mut keys = Vec::new();
        self.key_index.write(&mut keys);
        let head = out.len();
        let head_len = FIXED_LEN + self.sort.keys.len() * 3 + metas.len() * 14 + 8;
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&(if self.sort.sorted { FLAG_SORTED } else { 0 }).to_le_bytes());
        out.extend_from_slice(&self.rows.to_le_bytes());
        out.extend_from_slice(&self.block_rows.to_le_bytes());
        out.extend_from_slice(&(metas.len() as u16).to_le_bytes());
        out.extend_from_slice(&(self.sort.keys.len() as u16).to_le_bytes());
        out.extend_from_slice(&(head_len as u32).to_le_bytes());
        out.extend_from_slice(&(keys.len() as u32).to_le_bytes());
        out.extend_from_slice(&checksum(&keys).to_le_bytes());
        for key in &self.sort.keys {
            out.extend_from_slice(&key.column.to_le_bytes());
            out.push(u8::from(key.descending) | u8::from(key.nulls_first) << 1);
        }
        for (column, meta) in self.columns.iter().zip(&metas) {
            out.extend_from_slice(&column.spec.id.to_le_bytes());
            out.extend_from_slice(&(meta.len() as u32).to_le_bytes());
            out.extend_from_slice(&checksum(meta).to_le_bytes());
        }
        let sum = checksum(&out[head..]);
        out.extend_from_slice(&sum.to_le_bytes());
        metas.iter().for_each(|meta| out.extend_from_slice(meta));
        out.extend_from_slice(&keys);
    }
}
