// SPDX-License-Identifier: Apache-2.0
//! A segment's blocks to vectors.

use std::ops::Range;
use std::sync::Arc;

use super::meta::{BlockMeta, ColumnMeta};
use super::ROW_BLOCK_ROWS_MAX;
use crate::checksum::verify;
use crate::dictionary::Shared;
use crate::encoding::validity::{self, Validity};
use crate::encoding::{bytes, fixed, float, int};
use crate::error::{corrupt, invalid, Result};
use crate::vector::{Bitmap, BytesColumn, Physical, Values, Vector};
use crate::wire::Reader;

/// Whether stored bytes are compared with their checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// Yes: bytes that come from pages.
    Checksum,
    /// No: the caller verified these bytes before. The decoder still survives any bytes.
    Trusted,
}

/// Reads the row blocks of one column of one segment. Cheap to clone: the dictionary is shared.
#[derive(Debug, Clone)]
pub struct ColumnReader {
    physical: Physical,
    shared: Shared,
}

impl ColumnReader {
    /// A reader. `shared` holds the bytes of `meta.shared`, if it is not `None`.
    ///
    /// # Errors
    /// `Corrupt`, `Checksum`, or `Invalid` when `shared` is absent but needed.
    pub fn new(meta: &ColumnMeta, shared: Option<&[u8]>) -> Result<Self> {
        let shared = match (&meta.shared, shared) {
            (None, _) => Shared::None,
            (Some(_), None) => return Err(invalid("the column's shared part is missing")),
            (Some(range), Some(bytes)) => {
                if bytes.len() as u64 != range.end - range.start {
                    return Err(invalid("a shared part of another length"));
                }
                verify(bytes, meta.shared_checksum, "dictionary")?;
                Shared::open(bytes)?
            }
        };
        Ok(Self {
            physical: meta.spec.physical,
            shared,
        })
    }

    /// The segment-wide dictionary, ascending by memcmp, if the column has one: all its vectors are then
    /// codes of it.
    pub fn dictionary(&self) -> Option<&Arc<BytesColumn>> {
        match &self.shared {
            Shared::Dictionary(dict) => Some(dict),
            _ => None,
        }
    }

    /// Opens a row block. `bytes` are those of `meta.range()`, owned, shared or borrowed.
    ///
    /// # Errors
    /// `Corrupt`, `Checksum`.
    pub fn block<B: AsRef<[u8]>>(
        &self,
        meta: &BlockMeta,
        bytes: B,
        verify_bytes: Verify,
    ) -> Result<Block<B>> {
        let data = bytes.as_ref();
        if verify_bytes == Verify::Checksum {
            verify(data, meta.checksum, "row block")?;
        }
        if meta.rows > ROW_BLOCK_ROWS_MAX {
            return Err(corrupt("row block of too many rows"));
        }
        let rows = meta.rows as usize;
        let r = &mut Reader::new(data);
        let validity = validity::open(r, data, rows)?;
        let mut body = match validity {
            Validity::None => Body::Null,
            _ => Body::open(r, data, rows, self.physical, &self.shared)?,
        };
        let mut shared = self.shared.clone();
        if let Body::Bytes(bytes::Layout::Constant(value)) = &body {
            // A dictionary of one: long values are not repeated row by row.
            let mut one = BytesColumn::default();
            one.push(&data[value.clone()]);
            shared = Shared::Dictionary(Arc::new(one));
            body = Body::Codes(int::Layout::Constant(0));
        }
        if r.remaining() > 0 {
            return Err(corrupt("bytes after the row block"));
        }
        Ok(Block {
            bytes,
            rows,
            physical: self.physical,
            validity,
            body,
            shared,
        })
    }
}

/// The values of a block, their structure checked.
#[derive(Debug, Clone)]
enum Body {
    Null,
    Bool(int::Layout<u8>),
    I16(int::Layout<i16>),
    I32(int::Layout<i32>),
    I64(int::Layout<i64>),
    I128(int::Layout<i128>),
    F32(float::Layout<f32>),
    F64(float::Layout<f64>),
    Fixed(fixed::Layout),
    Bytes(bytes::Layout),
    Codes(int::Layout<u32>),
}

impl Body {
    fn open(
        r: &mut Reader<'_>,
        data: &[u8],
        rows: usize,
        physical: Physical,
        shared: &Shared,
    ) -> Result<Self> {
        Ok(match physical {
            Physical::Bool => Body::Bool(int::Layout::open(r, data, rows)?),
            Physical::I16 => Body::I16(int::Layout::open(r, data, rows)?),
            Physical::I32 => Body::I32(int::Layout::open(r, data, rows)?),
            Physical::I64 => Body::I64(int::Layout::open(r, data, rows)?),
            Physical::I128 => Body::I128(int::Layout::open(r, data, rows)?),
            Physical::F32 => Body::F32(float::Layout::open(r, data, rows)?),
            Physical::F64 => Body::F64(float::Layout::open(r, data, rows)?),
            Physical::Fixed(width) => {
                Body::Fixed(fixed::Layout::open(r, rows, usize::from(width))?)
            }
            Physical::Bytes => match (r.u8()?, shared) {
                (0, _) => Body::Bytes(bytes::Layout::open(r, data, rows)?),
                (1, Shared::Dictionary(_)) => Body::Codes(int::Layout::open(r, data, rows)?),
                _ => return Err(corrupt("codes without a dictionary")),
            },
        })
    }
}

/// One row block of one column, ready to decode.
#[derive(Debug, Clone)]
pub struct Block<B> {
    bytes: B,
    rows: usize,
    physical: Physical,
    validity: Validity,
    body: Body,
    shared: Shared,
}

impl<B: AsRef<[u8]>> Block<B> {
    /// The bytes that it was opened with.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// Rows of the block.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The block's NULLs: `None` when there are none.
    pub fn validity(&self) -> Option<Bitmap> {
        match &self.validity {
            Validity::All => None,
            Validity::None => Some(Bitmap::filled(self.rows, false)),
            Validity::Some(bits) => Some(bits.clone()),
        }
    }

    /// Appends rows `range` to `out`, a vector of the column's layout. A dictionary column appends codes
    /// when `out` is empty or shares its dictionary, flat bytes else. A block of one repeated text value
    /// comes with a dictionary of its own.
    ///
    /// # Errors
    /// `Invalid` for a wrong range or layout; `Corrupt` (`out` is then of no use).
    pub fn decode(&self, range: Range<usize>, out: &mut Vector) -> Result<()> {
        if range.start > range.end || range.end > self.rows {
            return Err(invalid("rows beyond the block"));
        }
        if out.physical() != self.physical {
            return Err(invalid("a vector of another layout than the column"));
        }
        if range.is_empty() {
            return Ok(());
        }
        let before = out.len();
        self.decode_values(range.clone(), out)?;
        match &self.validity {
            Validity::All => out.append_validity(before, range.len(), None),
            Validity::Some(bits) => {
                out.append_validity(before, range.len(), Some((bits, range.start)))
            }
            Validity::None => {
                let none = Bitmap::filled(range.len(), false);
                out.append_validity(before, range.len(), Some((&none, 0)));
            }
        }
        Ok(())
    }

    fn decode_values(&self, range: Range<usize>, out: &mut Vector) -> Result<()> {
        let data = self.bytes.as_ref();
        match (&self.body, &mut out.values) {
            (Body::Null, _) => self.push_nulls(range.len(), out),
            (Body::Bool(layout), Values::Bool(v)) => {
                let before = v.len();
                ints(layout, data, range, v);
                if v[before..].iter().any(|&b| b > 1) {
                    return Err(corrupt("boolean that is neither"));
                }
            }
            (Body::I16(layout), Values::I16(v)) => ints(layout, data, range, v),
            (Body::I32(layout), Values::I32(v)) => ints(layout, data, range, v),
            (Body::I64(layout), Values::I64(v)) => ints(layout, data, range, v),
            (Body::I128(layout), Values::I128(v)) => ints(layout, data, range, v),
            (Body::F32(layout), Values::F32(v)) => layout.decode(data, range, v)?,
            (Body::F64(layout), Values::F64(v)) => layout.decode(data, range, v)?,
            (Body::Fixed(layout), Values::Fixed { width, data: v }) => {
                layout.decode(data, range, usize::from(*width), v)?;
            }
            (Body::Bytes(layout), _) => {
                let table = match &self.shared {
                    Shared::Symbols(table) => Some(&**table),
                    _ => None,
                };
                layout.decode(data, range, table, out.flat_bytes())?;
            }
            (Body::Codes(layout), _) => self.append_codes(range.len(), out, |codes| {
                ints(layout, data, range.clone(), codes);
            })?,
            _ => return Err(invalid("a vector of another layout than the column")),
        }
        Ok(())
    }

    /// Entries of NULL rows; codes, where the column has a dictionary, so that the vector stays coded.
    fn push_nulls(&self, n: usize, out: &mut Vector) {
        let codes = match &self.shared {
            Shared::Dictionary(dict) => out.dict_codes(dict),
            _ => None,
        };
        match codes {
            Some(codes) => codes.resize(codes.len() + n, 0),
            None => out.values.push_default(n),
        }
    }

    /// Appends `n` codes that `decode` makes, or their values where `out` is not coded alike.
    fn append_codes(
        &self,
        n: usize,
        out: &mut Vector,
        decode: impl Fn(&mut Vec<u32>),
    ) -> Result<()> {
        let Shared::Dictionary(dict) = &self.shared else {
            return Err(corrupt("codes without a dictionary"));
        };
        let entries = u32::try_from(dict.len()).unwrap_or(u32::MAX);
        // Without a way out of the loop, which would keep it from using vectors.
        let check = |codes: &[u32]| match codes.iter().fold(false, |any, &c| any | (c >= entries)) {
            true => Err(corrupt("code beyond the dictionary")),
            false => Ok(()),
        };
        if let Some(codes) = out.dict_codes(dict) {
            let before = codes.len();
            decode(codes);
            return check(&codes[before..]);
        }
        let mut codes = Vec::with_capacity(n);
        decode(&mut codes);
        check(&codes)?;
        let flat = out.flat_bytes();
        let total: usize = codes.iter().map(|&c| dict.get(c as usize).len()).sum();
        if u32::try_from(flat.data.len() + total).is_err() {
            return Err(invalid("vector past 4 GiB"));
        }
        codes.iter().for_each(|&c| flat.push(dict.get(c as usize)));
        Ok(())
    }

    /// Appends the positions, counted from the start of `range`, of the rows whose value is not NULL and between `low`
    /// and `high`, without decoding them; false, and nothing done, where that cannot be told of the encoding.
    ///
    /// # Errors
    /// `Invalid` for a wrong range.
    pub fn within(
        &self,
        range: Range<usize>,
        bounds: (i128, i128),
        out: &mut Vec<u32>,
    ) -> Result<bool> {
        if range.start > range.end || range.end > self.rows {
            return Err(invalid("rows beyond the block"));
        }
        match self.validity {
            Validity::All => {}
            Validity::None => return Ok(true),
            Validity::Some(_) => return Ok(false),
        }
        let data = self.bytes.as_ref();
        Ok(match &self.body {
            Body::I16(layout) => layout.within_wide(data, range, bounds, out),
            Body::I32(layout) => layout.within_wide(data, range, bounds, out),
            Body::I64(layout) => layout.within_wide(data, range, bounds, out),
            Body::I128(layout) => layout.within_wide(data, range, bounds, out),
            _ => false,
        })
    }

    /// Whether a part of the rows can be decoded in about its share of the time that all take.
    pub fn is_in_parts(&self) -> bool {
        match &self.body {
            Body::Bytes(layout) => layout.is_in_units(),
            _ => true,
        }
    }

    /// Appends row `i` to `out`; for point queries.
    ///
    /// # Errors
    /// As `decode`.
    pub fn get(&self, i: usize, out: &mut Vector) -> Result<()> {
        self.decode(i..i.saturating_add(1), out)
    }

    /// Appends the given rows to `out`, in that order.
    ///
    /// # Errors
    /// As `decode`.
    pub fn gather(&self, rows: &[u32], out: &mut Vector) -> Result<()> {
        let (Some(&first), Some(&last)) = (rows.first(), rows.last()) else {
            return Ok(());
        };
        if rows.len() == 1 {
            return self.get(first as usize, out);
        }
        if !rows.is_sorted() || !self.gathers() {
            return self.decode_and_take(rows, out);
        }
        if last as usize >= self.rows {
            return Err(invalid("rows beyond the block"));
        }
        if out.physical() != self.physical {
            return Err(invalid("a vector of another layout than the column"));
        }
        let before = out.len();
        self.gather_values(rows, out)?;
        match &self.validity {
            Validity::All => out.append_validity(before, rows.len(), None),
            Validity::Some(bits) => {
                let some = Bitmap::from_bools(rows.iter().map(|&row| bits.get(row as usize)));
                out.append_validity(before, rows.len(), Some((&some, 0)));
            }
            Validity::None => {
                let none = Bitmap::filled(rows.len(), false);
                out.append_validity(before, rows.len(), Some((&none, 0)));
            }
        }
        Ok(())
    }

    /// Whether single rows are taken out of the encoded values.
    fn gathers(&self) -> bool {
        match &self.body {
            Body::F32(_) | Body::F64(_) | Body::Fixed(_) => false,
            Body::Bytes(layout) => layout.is_in_units(),
            _ => true,
        }
    }

    fn gather_values(&self, rows: &[u32], out: &mut Vector) -> Result<()> {
        let data = self.bytes.as_ref();
        match (&self.body, &mut out.values) {
            (Body::Null, _) => self.push_nulls(rows.len(), out),
            (Body::Bool(layout), Values::Bool(v)) => {
                let before = v.len();
                layout.gather(data, rows, v);
                if v[before..].iter().any(|&b| b > 1) {
                    return Err(corrupt("boolean that is neither"));
                }
            }
            (Body::I16(layout), Values::I16(v)) => layout.gather(data, rows, v),
            (Body::I32(layout), Values::I32(v)) => layout.gather(data, rows, v),
            (Body::I64(layout), Values::I64(v)) => layout.gather(data, rows, v),
            (Body::I128(layout), Values::I128(v)) => layout.gather(data, rows, v),
            (Body::Bytes(layout), _) => {
                let table = match &self.shared {
                    Shared::Symbols(table) => Some(&**table),
                    _ => None,
                };
                layout.gather(data, rows, table, out.flat_bytes())?;
            }
            (Body::Codes(layout), _) => {
                self.append_codes(rows.len(), out, |codes| layout.gather(data, rows, codes))?
            }
            _ => return Err(invalid("a vector of another layout than the column")),
        }
        Ok(())
    }

    /// Appends rows in any order, or of layouts that are decoded in runs.
    fn decode_and_take(&self, rows: &[u32], out: &mut Vector) -> Result<()> {
        /// About so many values are decoded in a run in the time of looking up one.
        const LOOK_UP_COSTS: usize = 16;
        let (Some(&low), Some(&high)) = (rows.iter().min(), rows.iter().max()) else {
            return Ok(());
        };
        let span = (high - low) as usize + 1;
        if rows.len() * LOOK_UP_COSTS < span {
            return rows.iter().try_for_each(|&row| self.get(row as usize, out));
        }
        let mut all = Vector::empty(self.physical);
        self.decode(low as usize..low as usize + span, &mut all)?;
        let shifted: Vec<u32> = rows.iter().map(|row| row - low).collect();
        out.append(&all.take(&shifted))
    }
}

#[inline]
fn ints<T: int::Int>(layout: &int::Layout<T>, data: &[u8], range: Range<usize>, out: &mut Vec<T>) {
    if range.len() == 1 {
        out.push(layout.get(data, range.start));
    } else {
        out.reserve(range.len());
        layout.decode(data, range, out);
    }
}
