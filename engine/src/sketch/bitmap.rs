// SPDX-License-Identifier: Apache-2.0
//! Sets of unsigned 64-bit integers.
//!
//! ```text
//! version=1  form=0                                       the empty set
//! version=1  form=1  count(1)  count x value(8)           up to 32 values, ascending
//! version=1  form=2  cardinality(8)  roaring              the portable 64-bit serialisation of the Roaring specification
//! ```
//! The small form makes a column of single user ids cost eleven bytes a row and no allocation to aggregate; the
//! cardinality makes counting a stored bitmap free of decoding it.
use super::codec::{Reader, SketchError};
use super::hash::finish_64;
use roaring::RoaringTreemap;
use std::fmt::Write;

const VERSION: u8 = 1;
const FORM_EMPTY: u8 = 0;
const FORM_SMALL: u8 = 1;
const FORM_ROARING: u8 = 2;
const SMALL_MAX: usize = 32;

/// Values that wait unsorted before they enter the set: at least this many, and more as the set grows.
const PENDING_MIN: usize = 4096;
const PENDING_MAX: usize = 65_536;

/// A set in memory.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bitmap(RoaringTreemap);

/// A stored set, its header checked, its body not yet decoded.
#[derive(Debug, Clone, Copy)]
pub enum StoredBitmap<'a> {
    /// No values.
    Empty,
    /// Up to 32 ascending values of eight bytes each.
    Small(&'a [u8]),
    /// A roaring body.
    Roaring {
        /// The number of values in it.
        cardinality: u64,
        /// The body.
        body: &'a [u8],
    },
}

impl<'a> StoredBitmap<'a> {
    /// Checks the header, and the values of the small form.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, SketchError> {
        let mut reader = Reader::new(bytes);
        reader.version(VERSION)?;
        match reader.u8()? {
            FORM_EMPTY => {
                reader.end()?;
                Ok(StoredBitmap::Empty)
            }
            FORM_SMALL => {
                let count = reader.u8()? as usize;
                let values = reader.take(count * 8)?;
                reader.end()?;
                let ascending = small_values(values)
                    .zip(small_values(values).skip(1))
                    .all(|(a, b)| a < b);
                if count == 0 || count > SMALL_MAX || !ascending {
                    return Err(SketchError::Corrupt(
                        "the values of a small bitmap are not a sorted set",
                    ));
                }
                Ok(StoredBitmap::Small(values))
            }
            FORM_ROARING => Ok(StoredBitmap::Roaring {
                cardinality: reader.u64()?,
                body: reader.rest(),
            }),
            _ => Err(SketchError::Corrupt("the bitmap has an unknown form")),
        }
    }

    /// The number of values.
    pub fn len(&self) -> u64 {
        match self {
            StoredBitmap::Empty => 0,
            StoredBitmap::Small(values) => (values.len() / 8) as u64,
            StoredBitmap::Roaring { cardinality, .. } => *cardinality,
        }
    }

    /// Whether the set has no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Decodes the set, checking every byte of it.
    pub fn decode(&self) -> Result<Bitmap, SketchError> {
        match self {
            StoredBitmap::Empty => Ok(Bitmap::default()),
            StoredBitmap::Small(values) => Ok(small_values(values).collect()),
            StoredBitmap::Roaring { cardinality, body } => decode_roaring(*cardinality, body),
        }
    }

    /// Whether `value` is in the set.
    pub fn contains(&self, value: u64) -> Result<bool, SketchError> {
        match self {
            StoredBitmap::Empty => Ok(false),
            StoredBitmap::Small(values) => Ok(small_values(values).any(|v| v == value)),
            StoredBitmap::Roaring { .. } => Ok(self.decode()?.0.contains(value)),
        }
    }
}

fn small_values(values: &[u8]) -> impl Iterator<Item = u64> + '_ {
    values
        .chunks_exact(8)
        .map(|v| u64::from_le_bytes([v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]]))
}

fn decode_roaring(cardinality: u64, mut body: &[u8]) -> Result<Bitmap, SketchError> {
    let corrupt = SketchError::Corrupt("the roaring body of a bitmap is damaged");
    let set = RoaringTreemap::deserialize_from(&mut body).map_err(|_| corrupt)?;
    // The library accepts empty parts, which would make equal sets unequal.
    if !body.is_empty()
        || set.bitmaps().any(|(_, part)| part.is_empty())
        || set.len() != cardinality
    {
        return Err(corrupt);
    }
    Ok(Bitmap(set))
}

impl FromIterator<u64> for Bitmap {
    fn from_iter<I: IntoIterator<Item = u64>>(values: I) -> Self {
        Bitmap(values.into_iter().collect())
    }
}

impl Bitmap {
    /// Decodes a stored set.
    pub fn decode(bytes: &[u8]) -> Result<Self, SketchError> {
        StoredBitmap::parse(bytes)?.decode()
    }

    /// Reads `1, 2,3`; blanks around the numbers are allowed, an empty text is the empty set. `None` for anything else.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = text.trim_ascii();
        if text.is_empty() {
            return Some(Bitmap::default());
        }
        let values: Option<Vec<u64>> = text.split(|byte| *byte == b',').map(parse_value).collect();
        let mut union = BitmapUnion::default();
        values?.into_iter().for_each(|value| union.add(value));
        Some(union.finish())
    }

    /// The stored form. Equal sets have equal bytes when the same library wrote them.
    pub fn encode(&mut self) -> Vec<u8> {
        let cardinality = self.0.len();
        if cardinality == 0 {
            return vec![VERSION, FORM_EMPTY];
        }
        if cardinality <= SMALL_MAX as u64 {
            let mut out = vec![VERSION, FORM_SMALL, cardinality as u8];
            out.extend(self.0.iter().flat_map(u64::to_le_bytes));
            return out;
        }
        self.0.optimize();
        let mut out = Vec::with_capacity(10 + self.0.serialized_size());
        out.extend([VERSION, FORM_ROARING]);
        out.extend(cardinality.to_le_bytes());
        self.0
            .serialize_into(&mut out)
            .expect("writing to memory cannot fail");
        out
    }

    /// The stored form of a set of one value.
    pub fn encode_one(value: u64) -> [u8; 11] {
        let mut out = [0; 11];
        out[..3].copy_from_slice(&[VERSION, FORM_SMALL, 1]);
        out[3..].copy_from_slice(&value.to_le_bytes());
        out
    }

    /// The stored form of the empty set.
    pub fn encode_empty() -> [u8; 2] {
        [VERSION, FORM_EMPTY]
    }

    /// The number of values.
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Whether the set has no values.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter()
    }

    /// The smallest value.
    pub fn min(&self) -> Option<u64> {
        self.0.min()
    }

    /// The largest value.
    pub fn max(&self) -> Option<u64> {
        self.0.max()
    }

    /// Takes a value out.
    pub fn remove(&mut self, value: u64) {
        self.0.remove(value);
    }

    /// Keeps what is in both.
    pub fn and(&mut self, other: &Bitmap) {
        self.0 &= &other.0;
    }

    /// Adds what is in the other.
    pub fn or(&mut self, other: &Bitmap) {
        self.0 |= &other.0;
    }

    /// Keeps what is in exactly one of the two.
    pub fn xor(&mut self, other: &Bitmap) {
        self.0 ^= &other.0;
    }

    /// As [`Bitmap::xor`], without decoding a small set.
    pub fn xor_stored(&mut self, stored: StoredBitmap<'_>) -> Result<(), SketchError> {
        match stored {
            StoredBitmap::Empty => {}
            StoredBitmap::Small(values) => {
                for value in small_values(values) {
                    if !self.0.insert(value) {
                        self.0.remove(value);
                    }
                }
            }
            StoredBitmap::Roaring { .. } => self.xor(&stored.decode()?),
        }
        Ok(())
    }

    /// Takes out what is in the other.
    pub fn and_not(&mut self, other: &Bitmap) {
        self.0 -= &other.0;
    }

    /// Whether the two share a value.
    pub fn has_any(&self, other: &Bitmap) -> bool {
        !self.0.is_disjoint(&other.0)
    }

    /// Whether every value of the other is in this one.
    pub fn has_all(&self, other: &Bitmap) -> bool {
        other.0.is_subset(&self.0)
    }

    /// Up to `limit` values from position `offset` on, where a negative position counts from the end; `None` when that
    /// is outside the set or nothing is left.
    pub fn slice(&self, offset: i64, limit: i64) -> Option<Bitmap> {
        let len = self.len();
        let start = if offset < 0 {
            len.checked_sub(offset.unsigned_abs())?
        } else {
            offset as u64
        };
        if start >= len || limit <= 0 {
            return None;
        }
        Some(self.between(
            self.0.select(start)?,
            self.0.select(start.saturating_add(limit as u64)),
        ))
    }

    /// The values from `low` up to but without `high`; `None` when that is not a range.
    pub fn range(&self, low: i64, high: i64) -> Option<Bitmap> {
        if low < 0 || low >= high {
            return None;
        }
        Some(self.between(low as u64, Some(high as u64)))
    }

    /// Up to `limit` values from the value `low` on; `None` when an argument is negative.
    pub fn limited(&self, low: i64, limit: i64) -> Option<Bitmap> {
        if low < 0 || limit < 0 {
            return None;
        }
        let below = (low as u64)
            .checked_sub(1)
            .map_or(0, |last| self.0.rank(last));
        let end = if limit == 0 {
            Some(0)
        } else {
            self.0.select(below.saturating_add(limit as u64))
        };
        Some(self.between(low as u64, end))
    }

    /// The values from `low` on, up to but without `end`. A few are copied one by one; billions, which a set of runs
    /// can hold, are what is left when the others are cut off (whose cost grows with the square of the containers cut).
    fn between(&self, low: u64, end: Option<u64>) -> Bitmap {
        const FEW: u64 = 1 << 20;
        let last = end.map_or(u64::MAX, |end| end.saturating_sub(1));
        if end == Some(0) || self.0.range_cardinality(low..=last) <= FEW {
            let mut values = self.0.iter();
            values.advance_to(low);
            return Bitmap(
                values
                    .take_while(|value| end.is_none_or(|end| *value < end))
                    .collect(),
            );
        }
        let mut set = self.0.clone();
        set.remove_range(..low);
        if let Some(end) = end {
            set.remove_range(end..);
        }
        Bitmap(set)
    }

    /// A hash that equal sets share: of the number of values and those near both ends.
    pub fn hash(&self, seed: u64) -> u64 {
        let ends = self.0.iter().take(256).chain(self.0.iter().rev().take(256));
        ends.fold(finish_64(seed ^ self.len()), |hash, value| {
            finish_64(hash ^ value).wrapping_add(value)
        })
    }

    /// The `1,2,3` form, unless it is longer than `max` bytes.
    pub fn to_text(&self, max: usize) -> Option<String> {
        let mut out = String::new();
        for value in self.iter() {
            if !out.is_empty() {
                out.push(',');
            }
            write!(out, "{value}").expect("writing to memory cannot fail");
            if out.len() > max {
                return None;
            }
        }
        Some(out)
    }
}

/// One unsigned number with blanks around it.
pub fn parse_value(text: &[u8]) -> Option<u64> {
    let digits = text.trim_ascii();
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// A union being built. Single values wait in a buffer and enter the set sorted: inserting them one by one in the order
/// of a table's rows moves the tail of an array container for nearly every row.
#[derive(Debug, Clone, Default)]
pub struct BitmapUnion {
    set: RoaringTreemap,
    pending: Vec<u64>,
    pending_max: usize,
}

impl BitmapUnion {
    /// Adds one value.
    #[inline]
    pub fn add(&mut self, value: u64) {
        if self.pending.len() >= self.pending_max {
            self.flush();
        }
        self.pending.push(value);
    }

    /// Adds a stored set.
    pub fn add_stored(&mut self, stored: StoredBitmap<'_>) -> Result<(), SketchError> {
        match stored {
            StoredBitmap::Empty => {}
            StoredBitmap::Small(values) => small_values(values).for_each(|value| self.add(value)),
            StoredBitmap::Roaring { .. } => self.set |= stored.decode()?.0,
        }
        Ok(())
    }

    /// Adds another union.
    pub fn merge(&mut self, other: &BitmapUnion) {
        self.set |= &other.set;
        other.pending.iter().for_each(|value| self.add(*value));
    }

    /// Bytes of memory, roughly.
    pub fn memory_bytes(&self) -> usize {
        self.set.serialized_size() + self.pending.capacity() * 8
    }

    /// The set of everything added.
    pub fn finish(mut self) -> Bitmap {
        self.flush();
        Bitmap(self.set)
    }

    /// The stored form of everything added. The union stays usable.
    pub fn encode(&mut self) -> Vec<u8> {
        self.flush();
        let mut whole = Bitmap(std::mem::take(&mut self.set));
        let bytes = whole.encode();
        self.set = whole.0;
        bytes
    }

    /// The number of distinct values added.
    pub fn distinct(&mut self) -> u64 {
        self.flush();
        self.set.len()
    }

    fn flush(&mut self) {
        self.pending.sort_unstable();
        self.pending.dedup();
        let sorted = RoaringTreemap::from_sorted_iter(self.pending.drain(..))
            .expect("sorted and without duplicates");
        self.set |= sorted;
        let quarter = usize::try_from(self.set.len() / 4).unwrap_or(PENDING_MAX);
        self.pending_max = quarter.clamp(PENDING_MIN, PENDING_MAX);
    }
}

impl From<Bitmap> for BitmapUnion {
    fn from(bitmap: Bitmap) -> Self {
        BitmapUnion {
            set: bitmap.0,
            ..BitmapUnion::default()
        }
    }
}
