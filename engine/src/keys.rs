// SPDX-License-Identifier: Apache-2.0
//! Keys: the columns of a grouping or join key, as one comparable value a row.
//!
//! Two shapes. Up to 32 bytes of fixed-width columns are packed into `[u64; N]`, N = 1..=4:
//! ```text
//! (int4, int4)          word 0: a | b << 32
//! (int8, date, int4)    word 0: a            word 1: b | c << 32
//! nullable columns      one more byte: a bit for each column that is NULL (whose field is then 0)
//! ```
//! Everything else becomes bytes: a lone text column that has no NULLs as it is, other rows as their columns one
//! after the other (a byte that says NULL or not, then the value; text with its length before it).
//! Equal keys have equal bits: floats are canonical (one zero, one NaN). Which of the equal values a group
//! shows is therefore `0`, never `-0`.

use doris_storage::vector::{Bitmap, BytesColumn, Physical, Values, Vector};

use crate::error::{Error, Result};
use crate::hash::{hash_bytes, hash_words};
use crate::memory;
use crate::types::DataType;

/// Keys of many rows in one of the shapes.
pub trait KeyColumn: Default + Send + Sync + 'static {
    /// Whether hashing a key once more costs less than keeping its hash.
    const REHASHED: bool = false;
    /// Number of keys.
    fn len(&self) -> usize;
    /// Whether there are no keys.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The hash of key `i`.
    fn hash(&self, i: usize) -> u64;
    /// Whether key `i` equals key `j` of `other`.
    fn equals(&self, i: usize, other: &Self, j: usize) -> bool;
    /// Appends key `j` of `other`.
    fn push_from(&mut self, other: &Self, j: usize);
    /// Appends all keys of `other`.
    fn append(&mut self, other: &Self);
    /// Makes room for as many keys as `parts` have together; [`Error::OutOfMemory`] where the system has none.
    fn make_room<'k>(&mut self, parts: impl Iterator<Item = &'k Self>) -> Result<()>
    where
        Self: 'k;
    /// The keys `indices`, in that order.
    fn gather(&self, indices: &[u32]) -> Self;
    /// Key `i` as a word, when that is all there is to it.
    fn word(&self, _i: usize) -> Option<u64> {
        None
    }
    /// Removes all keys, keeping the memory.
    fn clear(&mut self);
    /// Bytes of memory in use.
    fn memory_bytes(&self) -> usize;
    /// Encodes a batch's key columns, replacing what is there.
    fn encode(&mut self, shape: &KeyShape, columns: &[&Vector], rows: usize) -> Result<()>;
    /// The key columns of the keys `from..to`.
    fn decode(&self, shape: &KeyShape, from: usize, to: usize) -> Result<Vec<Vector>>;
    /// The keys as a vector, for spilling.
    fn to_vector(&self) -> Vector;
    /// The keys of a vector made by [`KeyColumn::to_vector`].
    fn from_vector(vector: &Vector) -> Self;
}

/// How key columns are laid out in a key.
#[derive(Clone, Debug)]
pub struct KeyShape {
    types: Vec<DataType>,
    nullable: Vec<bool>,
    packing: Packing,
}

/// Where each packed column lies.
#[derive(Clone, Debug)]
enum Packing {
    Words {
        words: usize,
        /// Word and bit of each column.
        fields: Vec<(usize, u32)>,
        /// Word and bit of the NULL byte, if there is one.
        nulls: Option<(usize, u32)>,
    },
    /// The only column's bytes as they are.
    Text,
    /// Rows of bytes.
    Rows,
}

/// Most words of a packed key.
pub const WORDS_MAX: usize = 4;

impl KeyShape {
    /// The shape for columns of these types; [`Error::NotNative`] when one has no canonical bits.
    pub fn new(types: &[DataType], nullable: &[bool]) -> Result<Self> {
        let unsupported = |t: &&DataType| {
            matches!(
                t,
                DataType::Interval | DataType::Decimal | DataType::Opaque { .. }
            )
        };
        if let Some(t) = types.iter().find(unsupported) {
            return Err(Error::not_native(format!("keys of type {t}")));
        }
        let packing = match types {
            [only] if only.physical() == Physical::Bytes && !nullable[0] => Packing::Text,
            _ => pack(types, nullable.contains(&true)).unwrap_or(Packing::Rows),
        };
        Ok(Self {
            types: types.to_vec(),
            nullable: nullable.to_vec(),
            packing,
        })
    }

    /// Words of a packed key; `None` for byte keys.
    pub fn words(&self) -> Option<usize> {
        match self.packing {
            Packing::Words { words, .. } => Some(words),
            _ => None,
        }
    }

    /// The same columns as byte keys, even where they could be packed.
    pub fn as_rows(&self) -> Self {
        match self.packing {
            Packing::Words { .. } => Self {
                packing: Packing::Rows,
                ..self.clone()
            },
            _ => self.clone(),
        }
    }

    /// The types of the columns.
    pub fn types(&self) -> &[DataType] {
        &self.types
    }

    /// Which columns may be NULL.
    pub fn nullable(&self) -> &[bool] {
        &self.nullable
    }

    /// Fails when a column said to have no NULLs has one. (Encoding such a key is harmless but meaningless.)
    pub fn check_nulls(&self, columns: &[&Vector]) -> Result<()> {
        for (column, nullable) in columns.iter().zip(&self.nullable) {
            let has_null = || {
                column
                    .validity
                    .as_ref()
                    .is_some_and(|v| v.count_ones() < v.len())
            };
            if !nullable && has_null() {
                return Err(Error::internal("NULL in a key column that is not nullable"));
            }
        }
        Ok(())
    }
}

/// Bits a packed column takes; `None`: it can't be packed.
fn packed_bits(physical: Physical) -> Option<u32> {
    match physical {
        Physical::Bool => Some(8),
        Physical::I16 => Some(16),
        Physical::I32 | Physical::F32 => Some(32),
        Physical::I64 | Physical::F64 => Some(64),
        Physical::I128 | Physical::Fixed(16) => Some(128),
        Physical::Fixed(_) | Physical::Bytes => None,
    }
}

/// Places each column in the first word that has room for it.
fn pack(types: &[DataType], any_nullable: bool) -> Option<Packing> {
    let mut used = Vec::new();
    let mut place = |bits: u32| -> Option<(usize, u32)> {
        if bits == 128 {
            used.extend([64, 64]);
            return Some((used.len() - 2, 0));
        }
        let word = used
            .iter()
            .position(|&taken| taken + bits <= 64)
            .unwrap_or(used.len());
        if word == used.len() {
            used.push(0);
        }
        let at = used[word];
        used[word] += bits;
        Some((word, at))
    };
    let fields: Vec<_> = types
        .iter()
        .map(|t| place(packed_bits(t.physical())?))
        .collect::<Option<_>>()?;
    let nulls = match any_nullable {
        true if types.len() > 8 => return None,
        true => place(8),
        false => None,
    };
    let words = used.len().max(1);
    (words <= WORDS_MAX).then_some(Packing::Words {
        words,
        fields,
        nulls,
    })
}

/// The bits that stand for a float: -0 is 0, and there is one NaN.
#[inline]
fn canonical_f64(value: f64) -> u64 {
    if value.is_nan() {
        return f64::NAN.to_bits();
    }
    (value + 0.0).to_bits()
}

#[inline]
fn canonical_f32(value: f32) -> u32 {
    if value.is_nan() {
        return f32::NAN.to_bits();
    }
    (value + 0.0).to_bits()
}

/// Packed keys.
#[derive(Debug, Default)]
pub struct WordKeys<const N: usize>(pub Vec<[u64; N]>);

impl<const N: usize> WordKeys<N> {
    /// Merges a column into its field of every key.
    fn put(
        &mut self,
        (word, bit): (usize, u32),
        validity: Option<&Bitmap>,
        bits: impl Iterator<Item = u64>,
    ) {
        match validity {
            None => self
                .0
                .iter_mut()
                .zip(bits)
                .for_each(|(key, value)| key[word] |= value << bit),
            Some(valid) => self
                .0
                .iter_mut()
                .zip(bits)
                .enumerate()
                .for_each(|(i, (key, value))| {
                    let mask = u64::from(valid.get(i)).wrapping_neg();
                    key[word] |= (value & mask) << bit;
                }),
        }
    }

    fn put_column(&mut self, (word, bit): (usize, u32), column: &Vector) -> Result<()> {
        let at = (word, bit);
        let valid = column.validity.as_ref();
        match &column.values {
            Values::Bool(v) => self.put(at, valid, v.iter().map(|&x| u64::from(x))),
            Values::I16(v) => self.put(at, valid, v.iter().map(|&x| u64::from(x as u16))),
            Values::I32(v) => self.put(at, valid, v.iter().map(|&x| u64::from(x as u32))),
            Values::I64(v) => self.put(at, valid, v.iter().map(|&x| x as u64)),
            Values::F32(v) => self.put(at, valid, v.iter().map(|&x| u64::from(canonical_f32(x)))),
            Values::F64(v) => self.put(at, valid, v.iter().map(|&x| canonical_f64(x))),
            Values::I128(v) => {
                self.put(at, valid, v.iter().map(|&x| x as u64));
                self.put((word + 1, 0), valid, v.iter().map(|&x| (x >> 64) as u64));
            }
            Values::Fixed { width: 16, data } => {
                let half = |from: usize| {
                    data.chunks_exact(16)
                        .map(move |value| le_word(&value[from..from + 8]))
                };
                self.put(at, valid, half(0));
                self.put((word + 1, 0), valid, half(8));
            }
            _ => return Err(Error::internal("a key column that can't be packed")),
        }
        Ok(())
    }

    fn take_column(
        &self,
        physical: Physical,
        (word, bit): (usize, u32),
        keys: &[[u64; N]],
    ) -> Values {
        let field = || keys.iter().map(move |key| key[word] >> bit);
        let wide = || {
            keys.iter()
                .map(move |key| i128::from(key[word]) | i128::from(key[word + 1]) << 64)
        };
        match physical {
            Physical::Bool => Values::Bool(field().map(|x| x as u8).collect()),
            Physical::I16 => Values::I16(field().map(|x| x as i16).collect()),
            Physical::I32 => Values::I32(field().map(|x| x as i32).collect()),
            Physical::F32 => Values::F32(field().map(|x| f32::from_bits(x as u32)).collect()),
            Physical::F64 => Values::F64(field().map(f64::from_bits).collect()),
            Physical::I128 => Values::I128(wide().collect()),
            Physical::Fixed(width) => Values::Fixed {
                width,
                data: wide().flat_map(i128::to_le_bytes).collect(),
            },
            Physical::I64 | Physical::Bytes => Values::I64(field().map(|x| x as i64).collect()),
        }
    }
}

#[inline]
fn le_word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

impl<const N: usize> KeyColumn for WordKeys<N>
where
    Self: Default,
{
    const REHASHED: bool = true;

    #[inline]
    fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    fn hash(&self, i: usize) -> u64 {
        hash_words(&self.0[i])
    }

    #[inline]
    fn equals(&self, i: usize, other: &Self, j: usize) -> bool {
        self.0[i] == other.0[j]
    }

    #[inline]
    fn push_from(&mut self, other: &Self, j: usize) {
        self.0.push(other.0[j]);
    }

    #[inline]
    fn word(&self, i: usize) -> Option<u64> {
        (N == 1).then(|| self.0[i][0])
    }

    fn append(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    fn make_room<'k>(&mut self, parts: impl Iterator<Item = &'k Self>) -> Result<()> {
        self.0 = memory::vec(parts.map(Self::len).sum())?;
        Ok(())
    }

    fn gather(&self, indices: &[u32]) -> Self {
        Self(indices.iter().map(|&i| self.0[i as usize]).collect())
    }

    fn clear(&mut self) {
        self.0.clear();
    }

    fn memory_bytes(&self) -> usize {
        self.0.capacity() * N * 8
    }

    fn encode(&mut self, shape: &KeyShape, columns: &[&Vector], rows: usize) -> Result<()> {
        let Packing::Words { fields, nulls, .. } = &shape.packing else {
            return Err(Error::internal("byte keys encoded as words"));
        };
        if let (1, [column], None) = (N, columns, nulls) {
            if let Values::I64(v) = &column.values {
                self.0.clear();
                self.0.extend(v.iter().map(|&x| [x as u64; N]));
                return Ok(());
            }
            if let Values::I32(v) = &column.values {
                self.0.clear();
                self.0.extend(v.iter().map(|&x| [u64::from(x as u32); N]));
                return Ok(());
            }
        }
        self.0.clear();
        self.0.resize(rows, [0; N]);
        for (column, &field) in columns.iter().zip(fields) {
            self.put_column(field, column)?;
        }
        if let Some((word, bit)) = *nulls {
            for (number, column) in columns.iter().enumerate() {
                if let Some(valid) = &column.validity {
                    let is_null = (0..rows).map(|i| u64::from(!valid.get(i)));
                    self.put((word, bit + number as u32), None, is_null);
                }
            }
        }
        Ok(())
    }

    fn decode(&self, shape: &KeyShape, from: usize, to: usize) -> Result<Vec<Vector>> {
        let Packing::Words { fields, nulls, .. } = &shape.packing else {
            return Err(Error::internal("byte keys decoded as words"));
        };
        let keys = &self.0[from..to];
        let column = |(number, (t, &field)): (usize, (&DataType, &(usize, u32)))| {
            let values = self.take_column(t.physical(), field, keys);
            let validity = nulls.filter(|_| shape.nullable[number]).map(|(word, bit)| {
                Bitmap::from_bools(keys.iter().map(|key| key[word] >> bit >> number & 1 == 0))
            });
            Vector { values, validity }
        };
        Ok(shape
            .types
            .iter()
            .zip(fields)
            .enumerate()
            .map(column)
            .collect())
    }

    fn to_vector(&self) -> Vector {
        let data = self
            .0
            .iter()
            .flatten()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        Vector {
            values: Values::Fixed {
                width: 8 * N as u16,
                data,
            },
            validity: None,
        }
    }

    fn from_vector(vector: &Vector) -> Self {
        let Values::Fixed { data, .. } = &vector.values else {
            return Self::default();
        };
        let key =
            |bytes: &[u8]| std::array::from_fn(|word| le_word(&bytes[word * 8..word * 8 + 8]));
        Self(data.chunks_exact(8 * N).map(key).collect())
    }
}

/// Byte keys, back to back.
#[derive(Debug)]
pub struct ByteKeys {
    ends: Vec<u64>,
    data: Vec<u8>,
}

impl Default for ByteKeys {
    fn default() -> Self {
        Self {
            ends: vec![0],
            data: Vec::new(),
        }
    }
}

impl ByteKeys {
    #[inline]
    fn get(&self, i: usize) -> &[u8] {
        &self.data[self.ends[i] as usize..self.ends[i + 1] as usize]
    }

    #[inline]
    fn push(&mut self, key: &[u8]) {
        self.data.extend_from_slice(key);
        self.ends.push(self.data.len() as u64);
    }

    fn end_row(&mut self) {
        self.ends.push(self.data.len() as u64);
    }

    /// Appends the values `from..to` of a column.
    fn append_text(&mut self, text: &BytesColumn, from: usize, to: usize) {
        let offsets = &text.offsets[from..=to];
        let (first, last) = (offsets[0], offsets[to - from]);
        let start = self.data.len() as u64;
        let end = |&offset: &u32| start + u64::from(offset - first);
        self.ends.extend(offsets[1..].iter().map(end));
        self.data
            .extend_from_slice(&text.data[first as usize..last as usize]);
    }

    /// The keys `from..to` as a column.
    fn text(&self, from: usize, to: usize) -> Option<BytesColumn> {
        let ends = &self.ends[from..=to];
        let (first, last) = (ends[0], ends[to - from]);
        u32::try_from(last - first).ok()?;
        Some(BytesColumn {
            offsets: ends.iter().map(|end| (end - first) as u32).collect(),
            data: self.data[first as usize..last as usize].to_vec(),
        })
    }
}

impl KeyColumn for ByteKeys {
    #[inline]
    fn len(&self) -> usize {
        self.ends.len() - 1
    }

    #[inline]
    fn hash(&self, i: usize) -> u64 {
        hash_bytes(self.get(i))
    }

    #[inline]
    fn equals(&self, i: usize, other: &Self, j: usize) -> bool {
        self.get(i) == other.get(j)
    }

    #[inline]
    fn push_from(&mut self, other: &Self, j: usize) {
        self.push(other.get(j));
    }

    fn append(&mut self, other: &Self) {
        let start = self.data.len() as u64;
        self.ends
            .extend(other.ends[1..].iter().map(|end| start + end));
        self.data.extend_from_slice(&other.data);
    }

    fn make_room<'k>(&mut self, parts: impl Iterator<Item = &'k Self>) -> Result<()> {
        let (rows, bytes) = parts.fold((0, 0), |(rows, bytes), part| {
            (rows + part.len(), bytes + part.data.len())
        });
        self.ends = memory::vec(rows + 1)?;
        self.ends.push(0);
        self.data = memory::vec(bytes)?;
        Ok(())
    }

    fn gather(&self, indices: &[u32]) -> Self {
        let mut out = Self::default();
        out.ends.reserve(indices.len());
        let length = |&i: &u32| self.ends[i as usize + 1] - self.ends[i as usize];
        let bytes: u64 = indices.iter().map(length).sum();
        out.data.reserve(bytes as usize);
        indices.iter().for_each(|&i| out.push(self.get(i as usize)));
        out
    }

    fn clear(&mut self) {
        self.ends.truncate(1);
        self.data.clear();
    }

    fn memory_bytes(&self) -> usize {
        self.ends.capacity() * 8 + self.data.capacity()
    }

    fn encode(&mut self, shape: &KeyShape, columns: &[&Vector], rows: usize) -> Result<()> {
        self.clear();
        if let (Packing::Text, [column]) = (&shape.packing, columns) {
            match &column.values {
                Values::Bytes(text) => self.append_text(text, 0, rows),
                _ => (0..rows).for_each(|i| self.push(column.bytes(i).unwrap_or_default())),
            }
            return Ok(());
        }
        for i in 0..rows {
            columns
                .iter()
                .for_each(|column| encode_field(&mut self.data, column, i));
            self.end_row();
        }
        Ok(())
    }

    fn decode(&self, shape: &KeyShape, from: usize, to: usize) -> Result<Vec<Vector>> {
        if let Packing::Text = shape.packing {
            let text = self.text(from, to).ok_or(Error::OutOfMemory)?;
            return Ok(vec![Vector {
                values: Values::Bytes(text),
                validity: None,
            }]);
        }
        let mut columns: Vec<FieldBuilder> = shape
            .types
            .iter()
            .map(|t| FieldBuilder::new(t.physical()))
            .collect();
        for i in from..to {
            let mut rest = self.get(i);
            columns
                .iter_mut()
                .for_each(|column| rest = column.take(rest));
        }
        Ok(columns.into_iter().map(FieldBuilder::finish).collect())
    }

    fn to_vector(&self) -> Vector {
        let offsets = self.ends.iter().map(|&end| end as u32).collect();
        Vector {
            values: Values::Bytes(BytesColumn {
                offsets,
                data: self.data.clone(),
            }),
            validity: None,
        }
    }

    fn from_vector(vector: &Vector) -> Self {
        let Values::Bytes(column) = &vector.values else {
            return Self::default();
        };
        Self {
            ends: column.offsets.iter().map(|&o| u64::from(o)).collect(),
            data: column.data.clone(),
        }
    }
}

/// Appends row `i` of a column to a key: 0 for NULL, or 1 and the value.
pub(crate) fn encode_field(out: &mut Vec<u8>, column: &Vector, i: usize) {
    if column.is_null(i) {
        out.push(0);
        return;
    }
    out.push(1);
    match &column.values {
        Values::Bool(v) => out.push(v[i]),
        Values::I16(v) => out.extend_from_slice(&v[i].to_le_bytes()),
        Values::I32(v) => out.extend_from_slice(&v[i].to_le_bytes()),
        Values::I64(v) => out.extend_from_slice(&v[i].to_le_bytes()),
        Values::I128(v) => out.extend_from_slice(&v[i].to_le_bytes()),
        Values::F32(v) => out.extend_from_slice(&canonical_f32(v[i]).to_le_bytes()),
        Values::F64(v) => out.extend_from_slice(&canonical_f64(v[i]).to_le_bytes()),
        Values::Fixed { .. } => out.extend_from_slice(column.bytes(i).unwrap_or_default()),
        Values::Bytes(_) | Values::Dict { .. } => {
            let bytes = column.bytes(i).unwrap_or_default();
            out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            out.extend_from_slice(bytes);
        }
    }
}

/// Takes a column's values back out of keys.
pub(crate) struct FieldBuilder {
    physical: Physical,
    bytes: BytesColumn,
    validity: Bitmap,
}

impl FieldBuilder {
    pub(crate) fn new(physical: Physical) -> Self {
        Self {
            physical,
            bytes: BytesColumn::default(),
            validity: Bitmap::default(),
        }
    }

    /// Takes the next field off `key` and returns the rest.
    pub(crate) fn take<'k>(&mut self, key: &'k [u8]) -> &'k [u8] {
        let width = self.physical.width();
        let (flag, rest) = key.split_at(1);
        self.validity.push(flag[0] == 1);
        if flag[0] == 0 {
            self.bytes.push(&vec![0; width.unwrap_or(0)]);
            return rest;
        }
        let (width, rest) = match width {
            Some(width) => (width, rest),
            None => {
                let (length, rest) = rest.split_at(4);
                (
                    u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize,
                    rest,
                )
            }
        };
        let (value, rest) = rest.split_at(width);
        self.bytes.push(value);
        rest
    }

    pub(crate) fn finish(self) -> Vector {
        macro_rules! numbers {
            ($layout:ident, $t:ty) => {{
                let number = |bytes: &[u8]| {
                    let mut raw = [0; size_of::<$t>()];
                    raw.copy_from_slice(bytes);
                    <$t>::from_le_bytes(raw)
                };
                Values::$layout(self.bytes.iter().map(number).collect())
            }};
        }
        let values = match self.physical {
            Physical::Bool => Values::Bool(self.bytes.data),
            Physical::I16 => numbers!(I16, i16),
            Physical::I32 => numbers!(I32, i32),
            Physical::I64 => numbers!(I64, i64),
            Physical::I128 => numbers!(I128, i128),
            Physical::F32 => numbers!(F32, f32),
            Physical::F64 => numbers!(F64, f64),
            Physical::Fixed(width) => Values::Fixed {
                width,
                data: self.bytes.data,
            },
            Physical::Bytes => Values::Bytes(self.bytes),
        };
        let all = self.validity.count_ones() == self.validity.len();
        Vector {
            values,
            validity: (!all).then_some(self.validity),
        }
    }
}

#[cfg(test)]
mod tests;
