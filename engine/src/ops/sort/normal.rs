// SPDX-License-Identifier: Apache-2.0
//! Normalised keys: bytes whose order (`memcmp`) is the rows' order.
//!
//! ```text
//! NULL marker    one byte, where NULLs may be: before or after the values
//! integers       big-endian, sign bit flipped
//! floats         IEEE bits, flipped so that -inf < ... < inf < NaN; one zero, one NaN
//! text           its bytes and a 0; bpchar without trailing blanks
//! bytea          its bytes, 0 as 0 1, and 0 0 at the end
//! numeric        see `decimal::View::push_order`
//! DESC           the value's bytes inverted
//! ```
//! Where some column compares by a locale, `memcmp` says nothing: each column then has its length before it, such text
//! is as it is behind its NULL marker, and a [`KeyOrder`] compares column by column.

use std::cmp::Ordering;
use std::sync::Arc;

use doris_storage::vector::{Values, Vector};

use crate::collate::LocaleOrder;
use crate::decimal::View;
use crate::error::{Error, Result};
use crate::gather::flat_bytes;
use crate::memory::room;
use crate::plan::SortKey;
use crate::types::DataType;

/// How one key column is encoded.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// The column's type.
    pub data_type: DataType,
    /// Whether values are inverted.
    pub descending: bool,
    /// Where NULLs go.
    pub nulls_first: bool,
    /// Whether there may be NULLs: they have a marker then.
    pub nullable: bool,
}

impl Column {
    /// The encoding of a sort key; [`Error::NotNative`] when the order of its type is not known here.
    pub fn new(key: &SortKey) -> Result<Self> {
        let data_type = key.expr.data_type();
        let known = match data_type {
            DataType::Text { collation } | DataType::Bpchar { collation } => collation.is_ordered(),
            DataType::Interval | DataType::Opaque { .. } => false,
            _ => true,
        };
        if !known {
            return Err(Error::not_native(format!("the order of {data_type}")));
        }
        Ok(Self {
            data_type,
            descending: key.descending,
            nulls_first: key.nulls_first,
            nullable: true,
        })
    }

    /// The locale by which it compares, if it does not by bytes.
    pub fn locale(&self) -> Option<LocaleOrder> {
        self.data_type.collation()?.locale()
    }

    /// Bytes of every key, when they are all as long.
    pub fn width(&self) -> Option<usize> {
        let value = self.data_type.physical().width()?;
        Some(value + usize::from(self.nullable))
    }
}

/// Keys of many rows, back to back.
#[derive(Clone, Debug)]
pub struct NormalKeys {
    ends: Vec<usize>,
    bytes: Vec<u8>,
}

impl NormalKeys {
    /// Encodes the key columns of `rows` rows.
    pub fn encode(columns: &[Column], vectors: &[&Vector], rows: usize) -> Self {
        let width = |(column, vector): (&Column, &&Vector)| match column.width() {
            Some(width) => rows * width,
            None => flat_bytes(vector) + rows * VALUE_BYTES,
        };
        let mut out = Self {
            ends: room(rows + 1),
            bytes: room(columns.iter().zip(vectors).map(width).sum()),
        };
        out.ends.push(0);
        let framed = KeyOrder::is_needed(columns);
        for row in 0..rows {
            for (column, vector) in columns.iter().zip(vectors) {
                match framed {
                    true => encode_framed(&mut out.bytes, column, vector, row),
                    false => encode_value(&mut out.bytes, column, vector, row),
                }
            }
            out.ends.push(out.bytes.len());
        }
        out
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.ends.len() - 1
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Key `i`.
    #[inline]
    pub fn get(&self, i: usize) -> &[u8] {
        &self.bytes[self.ends[i]..self.ends[i + 1]]
    }

    /// Bytes of memory in use.
    pub fn memory_bytes(&self) -> usize {
        self.ends.capacity() * 8 + self.bytes.capacity()
    }
}

/// How keys compare.
#[derive(Clone, Debug, Default)]
pub struct KeyOrder {
    /// The columns, if the keys are framed.
    columns: Arc<[Column]>,
}

impl KeyOrder {
    /// The order of keys over some columns.
    pub fn new(columns: &[Column]) -> Self {
        Self {
            columns: match Self::is_needed(columns) {
                true => Arc::from(columns),
                false => Arc::default(),
            },
        }
    }

    fn is_needed(columns: &[Column]) -> bool {
        columns.iter().any(|column| column.locale().is_some())
    }

    /// Whether keys are framed, column by column.
    pub fn is_framed(&self) -> bool {
        !self.columns.is_empty()
    }

    /// The order of two keys.
    pub fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        if !self.is_framed() {
            return a.cmp(b);
        }
        let (mut a, mut b) = (a, b);
        for column in &*self.columns {
            let (x, y);
            (x, a) = take_frame(a);
            (y, b) = take_frame(b);
            let order = match (column.locale(), x, y) {
                (Some(locale), [m, x @ ..], [n, y @ ..]) => {
                    m.cmp(n).then_with(|| match column.descending {
                        true => locale.compare(y, x),
                        false => locale.compare(x, y),
                    })
                }
                _ => x.cmp(y),
            };
            if order.is_ne() {
                return order;
            }
        }
        Ordering::Equal
    }
}

/// About how many bytes a text in a key takes beside its own: what says that it is NULL, ends it, and frames it.
const VALUE_BYTES: usize = 6;

/// Bytes before each column of a framed key.
pub const FRAME_BYTES: usize = 4;

/// A framed key's first column, and the rest.
fn take_frame(key: &[u8]) -> (&[u8], &[u8]) {
    let Some((length, rest)) = key.split_first_chunk::<FRAME_BYTES>() else {
        return (&[], &[]);
    };
    rest.split_at((u32::from_le_bytes(*length) as usize).min(rest.len()))
}

fn encode_framed(out: &mut Vec<u8>, column: &Column, vector: &Vector, row: usize) {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_BYTES]);
    match column.locale() {
        Some(_) => {
            let is_null = vector.is_null(row);
            out.push(u8::from(is_null != column.nulls_first));
            if !is_null {
                let value = vector.bytes(row).unwrap_or_default();
                out.extend_from_slice(compared_bytes(column.data_type, value));
            }
        }
        None => encode_value(out, column, vector, row),
    }
    let length = (out.len() - start - FRAME_BYTES) as u32;
    out[start..start + FRAME_BYTES].copy_from_slice(&length.to_le_bytes());
}

/// The bytes of a text that take part in comparison.
pub fn compared_bytes(t: DataType, bytes: &[u8]) -> &[u8] {
    match t {
        DataType::Bpchar { .. } => {
            let blanks = bytes.iter().rev().take_while(|&&b| b == b' ').count();
            &bytes[..bytes.len() - blanks]
        }
        _ => bytes,
    }
}

/// The first `8 * W` bytes of a key as big-endian words, zeros beyond its end.
#[inline]
pub fn prefix<const W: usize>(key: &[u8]) -> [u64; W] {
    let mut padded = [[0u8; 8]; W];
    for (word, chunk) in padded.iter_mut().zip(key.chunks(8)) {
        word[..chunk.len()].copy_from_slice(chunk);
    }
    padded.map(u64::from_be_bytes)
}

fn encode_value(out: &mut Vec<u8>, column: &Column, vector: &Vector, row: usize) {
    let is_null = vector.is_null(row);
    if column.nullable {
        out.push(u8::from(is_null != column.nulls_first));
    }
    let start = out.len();
    if is_null {
        out.resize(
            start
                + column
                    .width()
                    .map_or(0, |width| width - usize::from(column.nullable)),
            0,
        );
        return;
    }
    match &vector.values {
        Values::Bool(v) => out.push(v[row]),
        Values::I16(v) => out.extend_from_slice(&(v[row] ^ i16::MIN).to_be_bytes()),
        Values::I32(v) => out.extend_from_slice(&(v[row] ^ i32::MIN).to_be_bytes()),
        Values::I64(v) => out.extend_from_slice(&(v[row] ^ i64::MIN).to_be_bytes()),
        Values::I128(v) => out.extend_from_slice(&(v[row] ^ i128::MIN).to_be_bytes()),
        Values::F32(v) => out.extend_from_slice(&ordered_f32(v[row]).to_be_bytes()),
        Values::F64(v) => out.extend_from_slice(&ordered_f64(v[row]).to_be_bytes()),
        Values::Fixed { .. } => out.extend_from_slice(vector.bytes(row).unwrap_or_default()),
        Values::Bytes(_) | Values::Dict { .. } => {
            encode_bytes(out, column.data_type, vector.bytes(row).unwrap_or_default());
        }
    }
    if column.descending {
        out[start..].iter_mut().for_each(|byte| *byte = !*byte);
    }
}

fn encode_bytes(out: &mut Vec<u8>, t: DataType, bytes: &[u8]) {
    match t {
        DataType::Decimal => View::new(bytes).push_order(out),
        DataType::Bytea => {
            for &byte in bytes {
                out.push(byte);
                if byte == 0 {
                    out.push(1);
                }
            }
            out.extend_from_slice(&[0, 0]);
        }
        _ => {
            out.extend_from_slice(compared_bytes(t, bytes));
            out.push(0);
        }
    }
}

/// Bits that compare as PostgreSQL's floats do.
pub fn ordered_f64(value: f64) -> u64 {
    if value.is_nan() {
        return u64::MAX;
    }
    let bits = (value + 0.0).to_bits();
    bits ^ if bits >> 63 == 1 { u64::MAX } else { 1 << 63 }
}

fn ordered_f32(value: f32) -> u32 {
    if value.is_nan() {
        return u32::MAX;
    }
    let bits = (value + 0.0).to_bits();
    bits ^ if bits >> 31 == 1 { u32::MAX } else { 1 << 31 }
}

/// The keys of a lone fixed-width column of at most 8 bytes without NULLs, straight as words.
pub fn words_of(column: &Column, vector: &Vector) -> Option<Vec<u64>> {
    if column.nullable {
        return None;
    }
    let invert = if column.descending { u64::MAX } else { 0 };
    let words: Vec<u64> = match &vector.values {
        Values::I16(v) => v
            .iter()
            .map(|&x| ((x ^ i16::MIN) as u16 as u64) << 48 ^ invert)
            .collect(),
        Values::I32(v) => v
            .iter()
            .map(|&x| ((x ^ i32::MIN) as u32 as u64) << 32 ^ invert)
            .collect(),
        Values::I64(v) => v.iter().map(|&x| (x ^ i64::MIN) as u64 ^ invert).collect(),
        Values::F32(v) => v
            .iter()
            .map(|&x| u64::from(ordered_f32(x)) << 32 ^ invert)
            .collect(),
        Values::F64(v) => v.iter().map(|&x| ordered_f64(x) ^ invert).collect(),
        _ => return None,
    };
    Some(words)
}
