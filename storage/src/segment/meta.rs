// SPDX-License-Identifier: Apache-2.0
//! What a footer says of one column.

use std::ops::Range;

use crate::error::{corrupt, Result};
use crate::vector::Physical;
use crate::wire::{put_signed, put_varint, Reader};
use crate::zone_map::{Scalar, ZoneMap};

/// What comparisons of a column's stored values mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Order {
    /// Integers by value, floats in PostgreSQL's order, bytes by memcmp: ranges and equality prune.
    Natural,
    /// Equal values are equal bytes, but their order is not SQL's (text under most collations).
    EqualityOnly,
    /// Opaque: no zone map.
    None,
}

/// A column as its table declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnSpec {
    /// Attribute number.
    pub id: u16,
    /// Layout of the values.
    pub physical: Physical,
    /// What the zone map may be used for.
    pub order: Order,
    /// Digits after the point of a scaled decimal; 0 otherwise.
    pub scale: i16,
    /// The caller's type id; kept, not interpreted.
    pub tag: u32,
    /// Keep bloom filters, a row block each.
    pub bloom: bool,
}

/// How a row block is encoded, for EXPLAIN and statistics; the block itself says it to the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Encoding {
    /// All NULL: no values are stored.
    Null = 0,
    /// One value for all rows.
    Constant = 1,
    /// As it is.
    Plain = 2,
    /// Frame of reference, bit-packed.
    Packed = 3,
    /// Differences, bit-packed.
    Delta = 4,
    /// Run-length.
    Runs = 5,
    /// Codes of the column's dictionary.
    Dictionary = 6,
    /// LZ4 frames.
    Lz4 = 7,
    /// Symbol table.
    Fsst = 8,
    /// Floats as scaled integers.
    Decimal = 9,
    /// Multiples of a factor.
    Scaled = 10,
    /// Codes of the block's own dictionary.
    Lookup = 11,
    /// Exceptions over a narrower stream.
    Patched = 12,
}

impl Encoding {
    /// All encodings, by their byte.
    pub const ALL: [Encoding; 13] = [
        Encoding::Null,
        Encoding::Constant,
        Encoding::Plain,
        Encoding::Packed,
        Encoding::Delta,
        Encoding::Runs,
        Encoding::Dictionary,
        Encoding::Lz4,
        Encoding::Fsst,
        Encoding::Decimal,
        Encoding::Scaled,
        Encoding::Lookup,
        Encoding::Patched,
    ];

    /// The name that EXPLAIN shows.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Null => "null",
            Encoding::Constant => "constant",
            Encoding::Plain => "plain",
            Encoding::Packed => "packed",
            Encoding::Delta => "delta",
            Encoding::Runs => "runs",
            Encoding::Dictionary => "dictionary",
            Encoding::Lz4 => "lz4",
            Encoding::Fsst => "fsst",
            Encoding::Decimal => "decimal",
            Encoding::Scaled => "scaled",
            Encoding::Lookup => "lookup",
            Encoding::Patched => "patched",
        }
    }
}

/// One row block of a column.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockMeta {
    /// Where the block begins in the segment's stream.
    pub offset: u64,
    /// Bytes of the block.
    pub len: u32,
    /// Rows of the block.
    pub rows: u32,
    /// NULLs, minimum, maximum and sum.
    pub zone: ZoneMap,
    /// How the values are encoded.
    pub encoding: Encoding,
    /// XXH3 of the block's bytes.
    pub checksum: u64,
    /// Where the block's bloom filter lies in the stream, if there is one.
    pub bloom: Option<Range<u64>>,
}

impl BlockMeta {
    /// Where the block lies in the stream.
    pub fn range(&self) -> Range<u64> {
        self.offset..self.offset + u64::from(self.len)
    }

    /// The value of every row, when the zone map alone tells it: the block need not be read. Not for floats,
    /// whose equal values differ in bits.
    pub fn constant(&self) -> Option<&Scalar> {
        let (min, max) = (self.zone.min.as_ref()?, self.zone.max.as_ref()?);
        let told = self.zone.null_count == 0 && min == max && min.is_exact();
        (told && !matches!(min, Scalar::Float(_))).then_some(min)
    }
}

/// One column of a segment.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnMeta {
    /// The column as it was declared when the segment was written.
    pub spec: ColumnSpec,
    /// Over all blocks.
    pub zone: ZoneMap,
    /// The dictionary or symbol table that all blocks share: where it lies in the stream.
    pub shared: Option<Range<u64>>,
    /// XXH3 of the shared part.
    pub shared_checksum: u64,
    /// The row blocks, in row order.
    pub blocks: Vec<BlockMeta>,
}

impl ColumnMeta {
    /// Where all blooms of the column lie, to read them at once.
    pub fn bloom_range(&self) -> Option<Range<u64>> {
        let first = self.blocks.iter().find_map(|b| b.bloom.clone())?;
        let last = self.blocks.iter().rev().find_map(|b| b.bloom.clone())?;
        Some(first.start..last.end)
    }

    /// Moves the column to where it lies in the stream.
    pub(crate) fn shift(&mut self, by: u64) {
        let shift = |range: &mut Range<u64>| *range = range.start + by..range.end + by;
        self.shared.iter_mut().for_each(shift);
        for block in &mut self.blocks {
            block.offset += by;
            block.bloom.iter_mut().for_each(shift);
        }
    }

    /// Appends the meta.
    pub(crate) fn write(&self, start: u64, out: &mut Vec<u8>) {
        write_spec(&self.spec, out);
        put_varint(out, u128::from(start));
        let shared = self.shared.as_ref().map_or(0, |r| r.end - r.start);
        put_varint(out, u128::from(shared));
        out.extend_from_slice(&self.shared_checksum.to_le_bytes());
        write_zone(&self.zone, out);
        put_varint(out, self.blocks.len() as u128);
        for block in &self.blocks {
            put_varint(out, u128::from(block.len));
            out.push(block.encoding as u8);
            out.extend_from_slice(&block.checksum.to_le_bytes());
            write_zone(&block.zone, out);
            let bloom = block.bloom.as_ref().map_or(0, |r| r.end - r.start);
            put_varint(out, u128::from(bloom));
        }
    }

    /// Reads a meta; `rows` and `block_rows` are the segment's, `end` is where its columns end.
    pub(crate) fn read(bytes: &[u8], rows: u32, block_rows: u32, end: u64) -> Result<Self> {
        let r = &mut Reader::new(bytes);
        let spec = read_spec(r)?;
        let mut at = r.varint64()?;
        let mut next = |len: u64| -> Result<Range<u64>> {
            let range = at..at
                .checked_add(len)
                .filter(|&e| e <= end)
                .ok_or(corrupt("column beyond the footer"))?;
            at = range.end;
            Ok(range)
        };
        let shared = Some(next(r.varint64()?)?).filter(|range| !range.is_empty());
        let shared_checksum = r.u64()?;
        let zone = read_zone(r)?;
        let count = r.varint32()?;
        if count != rows.div_ceil(block_rows) || count as usize > bytes.len() {
            return Err(corrupt("wrong number of row blocks"));
        }
        let mut blocks = Vec::with_capacity(count as usize);
        let mut blooms = Vec::with_capacity(count as usize);
        for i in 0..count {
            let len = r.varint32()?;
            let encoding = usize::from(r.u8()?);
            let encoding = *Encoding::ALL
                .get(encoding)
                .ok_or(corrupt("unknown encoding"))?;
            let checksum = r.u64()?;
            let zone = read_zone(r)?;
            blooms.push(r.varint64()?);
            let rows = block_rows.min(rows - i * block_rows);
            if zone.null_count > rows {
                return Err(corrupt("more NULLs than rows"));
            }
            let offset = next(u64::from(len))?.start;
            blocks.push(BlockMeta {
                offset,
                len,
                rows,
                zone,
                encoding,
                checksum,
                bloom: None,
            });
        }
        for (block, len) in blocks.iter_mut().zip(blooms) {
            block.bloom = Some(next(len)?).filter(|range| !range.is_empty());
        }
        if r.remaining() > 0 {
            return Err(corrupt("bytes after the column meta"));
        }
        Ok(Self {
            spec,
            zone,
            shared,
            shared_checksum,
            blocks,
        })
    }
}

fn write_zone(zone: &ZoneMap, out: &mut Vec<u8>) {
    put_varint(out, u128::from(zone.null_count));
    Scalar::write(zone.min.as_ref(), out);
    Scalar::write(zone.max.as_ref(), out);
    out.push(u8::from(zone.sum.is_some()));
    if let Some(sum) = zone.sum {
        put_signed(out, sum);
    }
}

fn read_zone(r: &mut Reader<'_>) -> Result<ZoneMap> {
    let null_count = r.varint32()?;
    let (min, max) = (Scalar::read(r)?, Scalar::read(r)?);
    let sum = if r.u8()? == 0 {
        None
    } else {
        Some(r.signed()?)
    };
    Ok(ZoneMap {
        null_count,
        min,
        max,
        sum,
    })
}

fn write_spec(spec: &ColumnSpec, out: &mut Vec<u8>) {
    let (kind, width) = match spec.physical {
        Physical::Bool => (0, 0),
        Physical::I16 => (1, 0),
        Physical::I32 => (2, 0),
        Physical::I64 => (3, 0),
        Physical::I128 => (4, 0),
        Physical::F32 => (5, 0),
        Physical::F64 => (6, 0),
        Physical::Fixed(width) => (7, width),
        Physical::Bytes => (8, 0),
    };
    out.extend_from_slice(&spec.id.to_le_bytes());
    out.push(kind);
    out.extend_from_slice(&width.to_le_bytes());
    out.push(match spec.order {
        Order::Natural => 0,
        Order::EqualityOnly => 1,
        Order::None => 2,
    });
    out.extend_from_slice(&spec.scale.to_le_bytes());
    out.extend_from_slice(&spec.tag.to_le_bytes());
    out.push(u8::from(spec.bloom));
}

fn read_spec(r: &mut Reader<'_>) -> Result<ColumnSpec> {
    let id = r.u16()?;
    let (kind, width) = (r.u8()?, r.u16()?);
    let physical = match kind {
        0 => Physical::Bool,
        1 => Physical::I16,
        2 => Physical::I32,
        3 => Physical::I64,
        4 => Physical::I128,
        5 => Physical::F32,
        6 => Physical::F64,
        7 if width > 0 => Physical::Fixed(width),
        8 => Physical::Bytes,
        _ => return Err(corrupt("unknown layout")),
    };
    let order = match r.u8()? {
        0 => Order::Natural,
        1 => Order::EqualityOnly,
        2 => Order::None,
        _ => return Err(corrupt("unknown order")),
    };
    let scale = r.u16()? as i16;
    let tag = r.u32()?;
    let bloom = r.u8()? != 0;
    Ok(ColumnSpec {
        id,
        physical,
        order,
        scale,
        tag,
        bloom,
    })
}
