// SPDX-License-Identifier: Apache-2.0
//! Vectors: the values of one column for a run of rows, as storage hands them out and the engine computes on.
//!
//! A vector is `values` (one entry for every row, whatever its NULL state; the entry of a NULL row is
//! unspecified but valid) and an optional `validity` bitmap (absent: no NULLs).
//! Variable-width values live in one buffer with `rows + 1` offsets; dictionary vectors keep codes and
//! share their dictionary by reference, so that filters and grouping may work on codes.

use std::sync::Arc;

mod builder;
mod ops;
mod select;
#[cfg(test)]
mod tests;

pub use builder::VectorBuilder;
pub use select::push_positions;

/// How a column's values are laid out, in memory and on disk.
///
/// `I128` carries wide scaled decimals; `Fixed(n)` is any fixed-width value that no kernel computes on
/// (uuid, interval, macaddr ...); `Bytes` is text and everything opaque.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Physical {
    /// One byte, 0 or 1.
    Bool,
    /// 16-bit signed integer.
    I16,
    /// 32-bit signed integer; also dates.
    I32,
    /// 64-bit signed integer; also timestamps and scaled decimals of up to 18 digits.
    I64,
    /// 128-bit signed integer: scaled decimals of up to 38 digits.
    I128,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
    /// `n` bytes a value, `n >= 1`.
    Fixed(u16),
    /// Any number of bytes a value.
    Bytes,
}

impl Physical {
    /// Bytes of every value; `None` where values differ in that.
    pub fn width(self) -> Option<usize> {
        match self {
            Physical::Bool => Some(1),
            Physical::I16 => Some(2),
            Physical::I32 | Physical::F32 => Some(4),
            Physical::I64 | Physical::F64 => Some(8),
            Physical::I128 => Some(16),
            Physical::Fixed(width) => Some(usize::from(width)),
            Physical::Bytes => None,
        }
    }
}

/// One bit a row, 1 = the row has a value (is not NULL). Bit `i` is bit `i % 64` of word `i / 64`;
/// bits past `len` are 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bitmap {
    words: Vec<u64>,
    len: usize,
}

impl Bitmap {
    /// A bitmap of `len` bits, all equal to `value`.
    pub fn filled(len: usize, value: bool) -> Self {
        let mut words = vec![if value { u64::MAX } else { 0 }; len.div_ceil(64)];
        if value && !len.is_multiple_of(64) {
            if let Some(last) = words.last_mut() {
                *last = (1u64 << (len % 64)) - 1;
            }
        }
        Self { words, len }
    }

    /// A bitmap from one `bool` a row.
    pub fn from_bools(bits: impl IntoIterator<Item = bool>) -> Self {
        let mut map = Self::default();
        for bit in bits {
            map.push(bit);
        }
        map
    }

    /// A bitmap of `len` bits over `words`; missing words are zero, bits past `len` are cleared.
    pub fn from_words(mut words: Vec<u64>, len: usize) -> Self {
        words.resize(len.div_ceil(64), 0);
        if !len.is_multiple_of(64) {
            if let Some(last) = words.last_mut() {
                *last &= (1u64 << (len % 64)) - 1;
            }
        }
        Self { words, len }
    }

    /// Number of bits.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bits at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bit `i`. Panics when `i >= len`.
    #[inline]
    pub fn get(&self, i: usize) -> bool {
        debug_assert!(i < self.len);
        self.words[i / 64] >> (i % 64) & 1 == 1
    }

    /// Sets bit `i`. Panics when `i >= len`.
    #[inline]
    pub fn set(&mut self, i: usize, value: bool) {
        debug_assert!(i < self.len);
        let mask = 1u64 << (i % 64);
        if value {
            self.words[i / 64] |= mask;
        } else {
            self.words[i / 64] &= !mask;
        }
    }

    /// Appends a bit.
    #[inline]
    pub fn push(&mut self, value: bool) {
        if self.len.is_multiple_of(64) {
            self.words.push(0);
        }
        self.len += 1;
        if value {
            self.set(self.len - 1, true);
        }
    }

    /// The words, low bit first.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// The words, writable; the caller keeps the bits past `len` at 0.
    pub fn words_mut(&mut self) -> &mut [u64] {
        &mut self.words
    }

    /// Number of 1 bits.
    pub fn count_ones(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }
}

/// Variable-width values: value `i` is `data[offsets[i]..offsets[i + 1]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BytesColumn {
    /// `rows + 1` ascending offsets into `data`; the first is 0.
    pub offsets: Vec<u32>,
    /// All values, back to back. At most `u32::MAX` bytes: larger columns are cut into more vectors.
    pub data: Vec<u8>,
}

impl Default for BytesColumn {
    fn default() -> Self {
        Self {
            offsets: vec![0],
            data: Vec::new(),
        }
    }
}

impl BytesColumn {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Value `i`.
    #[inline]
    pub fn get(&self, i: usize) -> &[u8] {
        &self.data[self.offsets[i] as usize..self.offsets[i + 1] as usize]
    }

    /// Appends a value. Panics when the column would pass `u32::MAX` bytes: callers cut before that.
    #[inline]
    pub fn push(&mut self, value: &[u8]) {
        self.data.extend_from_slice(value);
        let end = u32::try_from(self.data.len()).expect("a bytes vector holds at most 4 GiB");
        self.offsets.push(end);
    }

    /// All values in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> + '_ {
        self.offsets
            .windows(2)
            .map(|w| &self.data[w[0] as usize..w[1] as usize])
    }
}

/// The values of a vector, by layout.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// One byte a row, 0 or 1.
    Bool(Vec<u8>),
    /// 16-bit integers.
    I16(Vec<i16>),
    /// 32-bit integers.
    I32(Vec<i32>),
    /// 64-bit integers.
    I64(Vec<i64>),
    /// 128-bit integers.
    I128(Vec<i128>),
    /// Single-precision floats.
    F32(Vec<f32>),
    /// Double-precision floats.
    F64(Vec<f64>),
    /// `width` bytes a row, back to back.
    Fixed {
        /// Bytes a value.
        width: u16,
        /// `rows * width` bytes.
        data: Vec<u8>,
    },
    /// Variable-width values.
    Bytes(BytesColumn),
    /// Dictionary-coded variable-width values: row `i` is `dict.get(codes[i])`.
    Dict {
        /// One code a row; the code of a NULL row is any valid code, or 0 with an empty dictionary.
        codes: Vec<u32>,
        /// The distinct values (not necessarily sorted), shared by all vectors of a column chunk.
        dict: Arc<BytesColumn>,
    },
}

/// A column's values for a run of rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Vector {
    /// One entry a row.
    pub values: Values,
    /// 1 = not NULL; `None` = no NULLs.
    pub validity: Option<Bitmap>,
}

impl Vector {
    /// An empty vector of a layout.
    pub fn empty(physical: Physical) -> Self {
        let values = match physical {
            Physical::Bool => Values::Bool(Vec::new()),
            Physical::I16 => Values::I16(Vec::new()),
            Physical::I32 => Values::I32(Vec::new()),
            Physical::I64 => Values::I64(Vec::new()),
            Physical::I128 => Values::I128(Vec::new()),
            Physical::F32 => Values::F32(Vec::new()),
            Physical::F64 => Values::F64(Vec::new()),
            Physical::Fixed(width) => Values::Fixed {
                width,
                data: Vec::new(),
            },
            Physical::Bytes => Values::Bytes(BytesColumn::default()),
        };
        Self {
            values,
            validity: None,
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        match &self.values {
            Values::Bool(v) => v.len(),
            Values::I16(v) => v.len(),
            Values::I32(v) => v.len(),
            Values::I64(v) => v.len(),
            Values::I128(v) => v.len(),
            Values::F32(v) => v.len(),
            Values::F64(v) => v.len(),
            Values::Fixed { width, data } => data.len() / usize::from(*width),
            Values::Bytes(v) => v.len(),
            Values::Dict { codes, .. } => codes.len(),
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether row `i` is NULL.
    #[inline]
    pub fn is_null(&self, i: usize) -> bool {
        self.validity.as_ref().is_some_and(|v| !v.get(i))
    }

    /// The bytes of row `i` of a `Bytes`, `Dict` or `Fixed` vector; `None` for other layouts.
    #[inline]
    pub fn bytes(&self, i: usize) -> Option<&[u8]> {
        match &self.values {
            Values::Bytes(v) => Some(v.get(i)),
            Values::Dict { codes, dict } => Some(dict.get(codes[i] as usize)),
            Values::Fixed { width, data } => {
                let width = usize::from(*width);
                Some(&data[i * width..(i + 1) * width])
            }
            _ => None,
        }
    }

    /// The layout. A dictionary vector is `Bytes`.
    pub fn physical(&self) -> Physical {
        match &self.values {
            Values::Bool(_) => Physical::Bool,
            Values::I16(_) => Physical::I16,
            Values::I32(_) => Physical::I32,
            Values::I64(_) => Physical::I64,
            Values::I128(_) => Physical::I128,
            Values::F32(_) => Physical::F32,
            Values::F64(_) => Physical::F64,
            Values::Fixed { width, .. } => Physical::Fixed(*width),
            Values::Bytes(_) | Values::Dict { .. } => Physical::Bytes,
        }
    }
}
