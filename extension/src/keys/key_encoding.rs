// SPDX-License-Identifier: Apache-2.0
//! Keys as words or bytes that compare: equal when PostgreSQL calls the keys equal (NULL equals NULL), and
//! ordered as the key index of a sorted segment orders them (`doris_storage::key`).
use super::model::{KeyColumn, Model};
use crate::write::column::Column;
use crate::write::kind::Kind;
use crate::write::numeric;
use doris_engine::sketch::hash::murmur3_64;
use doris_storage::key::{encode_scalar, SortKey};
use doris_storage::vector::{BytesColumn, Physical, Values, Vector};
use doris_storage::zone_map::Scalar;
use pgrx::pg_sys;
use std::cmp::Ordering;

/// How values of a key column become part of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An integer of this layout; scaled decimals too. A NaN is the largest of its layout, which no value of
    /// the column's precision reaches.
    Int(Physical, u16),
    /// Bytes as they are.
    Bytes,
    /// A numeric of any scale: 1.0 equals 1.00.
    Numeric,
    /// Blank-padded text of any length: trailing blanks do not count.
    Blank,
}

impl Form {
    /// The form of an attribute.
    pub fn of(attribute: &pg_sys::FormData_pg_attribute) -> Self {
        let kind = Kind::of(attribute);
        // SAFETY: a catalogue look-up of a type that exists.
        let base = unsafe { pg_sys::getBaseType(attribute.atttypid) };
        match kind {
            Kind::Decimal64(scale) | Kind::Decimal128(scale) => Form::Int(kind.physical(), scale),
            Kind::Bool | Kind::I16 | Kind::I32 | Kind::I64 => Form::Int(kind.physical(), 0),
            _ if base == pg_sys::NUMERICOID => Form::Numeric,
            _ if base == pg_sys::BPCHAROID => Form::Blank,
            _ => Form::Bytes,
        }
    }

    /// Bytes of a value with its NULL marker, where all values take the same.
    fn width(self) -> Option<usize> {
        match self {
            Form::Int(Physical::Bool, _) => Some(2),
            Form::Int(Physical::I16, _) => Some(3),
            Form::Int(Physical::I32, _) => Some(5),
            Form::Int(Physical::I64, _) => Some(9),
            Form::Int(_, _) => Some(17),
            _ => None,
        }
    }
}

const PLAIN: SortKey = SortKey {
    column: 0,
    descending: false,
    nulls_first: false,
};

/// Many keys.
#[derive(Clone, Debug)]
pub enum Keys {
    /// All key columns fit 16 bytes: the key's bytes as a big-endian number.
    Words(Vec<u128>, usize),
    /// Any other.
    Bytes(BytesColumn),
}

impl Keys {
    /// No keys yet, of a model's shape.
    pub fn empty(model: &Model) -> Self {
        let widths = model.columns.iter().map(|c| c.form.width());
        match widths.sum::<Option<usize>>() {
            Some(width) if width <= 16 => Keys::Words(Vec::new(), width),
            _ => Keys::Bytes(BytesColumn::default()),
        }
    }

    /// The keys of rows: one vector for each key column, with its decimal scale.
    pub fn of(model: &Model, columns: &[(&Vector, u16)]) -> Self {
        let mut keys = Self::empty(model);
        let rows = columns.first().map_or(0, |c| c.0.len());
        match &mut keys {
            Keys::Words(words, _) => {
                words.resize(rows, 0);
                for (column, (vector, scale)) in model.columns.iter().zip(columns) {
                    push_words(column, vector, *scale, words);
                }
            }
            Keys::Bytes(out) => {
                let mut bytes = Vec::new();
                for row in 0..rows {
                    bytes.clear();
                    for (column, (vector, scale)) in model.columns.iter().zip(columns) {
                        push_bytes(column.form, vector, *scale, row, &mut bytes);
                    }
                    out.push(&bytes);
                }
            }
        }
        keys
    }

    /// The key of one row.
    ///
    /// # Safety
    /// Datums of the key columns' types.
    pub unsafe fn of_row(model: &Model, values: &[(pg_sys::Datum, bool)]) -> Self {
        // SAFETY: passed on to the caller.
        let vectors = unsafe { row(model, values) };
        let columns: Vec<(&Vector, u16)> = vectors.iter().map(|(v, s)| (v, *s)).collect();
        Self::of(model, &columns)
    }

    /// Adds the keys of others of the same model.
    pub fn append(&mut self, other: &Keys) {
        match (self, other) {
            (Keys::Words(words, _), Keys::Words(more, _)) => words.extend_from_slice(more),
            (Keys::Bytes(bytes), Keys::Bytes(more)) => {
                (0..more.len()).for_each(|i| bytes.push(more.get(i)));
            }
            _ => unreachable!("keys of one model have one shape"),
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Keys::Words(words, _) => words.len(),
            Keys::Bytes(bytes) => bytes.len(),
        }
    }

    /// Compares a key with one of other keys of the same model.
    #[inline]
    pub fn compare(&self, i: usize, other: &Keys, j: usize) -> Ordering {
        match (self, other) {
            (Keys::Words(a, _), Keys::Words(b, _)) => a[i].cmp(&b[j]),
            (Keys::Bytes(a), Keys::Bytes(b)) => a.get(i).cmp(b.get(j)),
            _ => unreachable!("keys of one model have one shape"),
        }
    }

    /// Compares a key, cut to the bound's length, with a bound of a key index.
    pub fn compare_bound(&self, i: usize, bound: &[u8]) -> Ordering {
        match self {
            Keys::Words(words, width) => {
                let bytes = words[i].to_be_bytes();
                let key = &bytes[16 - width..];
                key[..key.len().min(bound.len())].cmp(&bound[..key.len().min(bound.len())])
            }
            Keys::Bytes(bytes) => {
                let key = bytes.get(i);
                let cut = key.len().min(bound.len());
                key[..cut].cmp(&bound[..cut])
            }
        }
    }

    /// The bytes of a key.
    pub fn bytes(&self, i: usize) -> Vec<u8> {
        match self {
            Keys::Words(words, width) => words[i].to_be_bytes()[16 - width..].to_vec(),
            Keys::Bytes(bytes) => bytes.get(i).to_vec(),
        }
    }

    /// How many bytes a key has.
    pub fn length(&self, i: usize) -> usize {
        match self {
            Keys::Words(_, width) => *width,
            Keys::Bytes(bytes) => bytes.get(i).len(),
        }
    }

    /// Whether all have less bytes.
    pub fn are_shorter_than(&self, bytes: usize) -> bool {
        match self {
            Keys::Words(..) => true,
            Keys::Bytes(_) => (0..self.len()).all(|i| self.length(i) < bytes),
        }
    }

    /// The rows in the order of their keys; rows of one key in their own order.
    pub fn order(&self) -> Vec<u32> {
        match self {
            Keys::Words(words, _) => {
                if words.windows(2).all(|w| w[0] < w[1]) {
                    return (0..words.len() as u32).collect();
                }
                let mut order: Vec<(u128, u32)> =
                    words.iter().copied().zip(0..words.len() as u32).collect();
                order.sort_unstable();
                order.into_iter().map(|(_, row)| row).collect()
            }
            Keys::Bytes(bytes) => {
                let mut order: Vec<u32> = (0..bytes.len() as u32).collect();
                order.sort_by(|a, b| bytes.get(*a as usize).cmp(bytes.get(*b as usize)));
                order
            }
        }
    }

    /// Chosen keys, in this order.
    pub fn take(&self, rows: &[u32]) -> Self {
        match self {
            Keys::Words(words, width) => {
                Keys::Words(rows.iter().map(|r| words[*r as usize]).collect(), *width)
            }
            Keys::Bytes(bytes) => {
                let mut out = BytesColumn::default();
                rows.iter().for_each(|r| out.push(bytes.get(*r as usize)));
                Keys::Bytes(out)
            }
        }
    }

    /// How many of these, which are sorted, are not above the first of some others.
    pub fn above(&self, other: &Keys) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.compare(middle, other, 0) {
                Ordering::Greater => high = middle,
                _ => low = middle + 1,
            }
        }
        low
    }

    /// Bytes of memory that they take, about.
    pub fn memory(&self) -> usize {
        match self {
            Keys::Words(words, _) => 64 + 16 * words.len(),
            Keys::Bytes(bytes) => {
                64 + (0..bytes.len())
                    .map(|i| 8 + bytes.get(i).len())
                    .sum::<usize>()
            }
        }
    }

    /// A filter that these keys pass and few others do.
    pub fn filter(&self) -> Filter {
        let bits = (16 * self.len()).next_power_of_two().max(64);
        let mut filter = Filter {
            words: vec![0; bits / 64],
            shift: 64 - bits.trailing_zeros(),
        };
        for i in 0..self.len() {
            let at = filter.place(self.hash(i));
            filter.words[at / 64] |= 1 << (at % 64);
        }
        filter
    }

    #[inline]
    fn hash(&self, i: usize) -> u64 {
        match self {
            Keys::Words(words, _) => {
                let folded = words[i] as u64 ^ (words[i] >> 64) as u64;
                folded.wrapping_mul(0x9e37_79b9_7f4a_7c15)
            }
            Keys::Bytes(bytes) => murmur3_64(bytes.get(i), 0),
        }
    }

    /// Where a key is among these, which are sorted and unique.
    pub fn find(&self, range: std::ops::Range<usize>, other: &Keys, j: usize) -> Option<usize> {
        let (mut low, mut high) = (range.start, range.end);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.compare(middle, other, j) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Some(middle),
                Ordering::Greater => high = middle,
            }
        }
        None
    }
}

/// Bits of the hashes of some keys.
pub struct Filter {
    words: Vec<u64>,
    shift: u32,
}

impl Filter {
    #[inline]
    fn place(&self, hash: u64) -> usize {
        (hash >> self.shift) as usize
    }

    /// Whether a key may be one of those that the filter was made of.
    #[inline]
    pub fn admits(&self, keys: &Keys, i: usize) -> bool {
        let at = self.place(keys.hash(i));
        self.words[at / 64] >> (at % 64) & 1 != 0
    }
}

/// The key columns of one row, each with its decimal scale.
///
/// # Safety
/// Datums of the key columns' types.
pub unsafe fn row(model: &Model, values: &[(pg_sys::Datum, bool)]) -> Vec<(Vector, u16)> {
    let columns = model.columns.iter().zip(values);
    columns
        .map(|(column, (datum, null))| {
            let mut one = Column::new(column.attr.kind);
            // SAFETY: passed on to the caller.
            unsafe { one.push(*datum, *null) };
            let scale = one.kind().scale();
            (one.finish(), scale)
        })
        .collect()
}

/// Whether the key index of a sorted segment orders these columns as `Keys` does.
pub fn orders_as_stored(column: &KeyColumn, stored: Physical) -> bool {
    match column.form {
        Form::Int(physical, _) => stored == physical,
        Form::Bytes => true,
        Form::Numeric | Form::Blank => false,
    }
}

fn push_words(column: &KeyColumn, vector: &Vector, scale: u16, words: &mut [u128]) {
    macro_rules! put {
        ($values:expr, $bits:expr, $flip:expr) => {
            for (word, value) in words.iter_mut().zip($values) {
                let value = (*value as u128 & ((1 << $bits) - 1)) ^ ($flip << ($bits - 1));
                *word = *word << ($bits + 8) | 1 << $bits | value;
            }
        };
    }
    let Form::Int(physical, _) = column.form else {
        unreachable!("words are made of integers");
    };
    if vector.physical() == physical && vector.validity.is_none() {
        match &vector.values {
            Values::Bool(v) => return put!(v, 8, 0),
            Values::I16(v) => return put!(v, 16, 1),
            Values::I32(v) => return put!(v, 32, 1),
            Values::I64(v) => return put!(v, 64, 1),
            _ => {}
        }
    }
    let bits = 8 * (column.form.width().unwrap_or(1) - 1);
    for (row, word) in words.iter_mut().enumerate() {
        let (marker, value) = match int_at(column.form, vector, scale, row) {
            None => (2, 0),
            Some(v) if physical == Physical::Bool => (1, v as u128),
            Some(v) => (1, (v as u128 & ((1 << bits) - 1)) ^ (1 << (bits - 1))),
        };
        *word = *word << (bits + 8) | marker << bits | value;
    }
}

/// An integer key value, whatever layout the segment has.
fn int_at(form: Form, vector: &Vector, stored_scale: u16, row: usize) -> Option<i128> {
    if vector.is_null(row) {
        return None;
    }
    let Form::Int(physical, scale) = form else {
        return None;
    };
    Some(match &vector.values {
        Values::Bool(v) => i128::from(v[row]),
        Values::I16(v) => i128::from(v[row]),
        Values::I32(v) => i128::from(v[row]),
        Values::I64(v) => i128::from(v[row]),
        Values::I128(v) => v[row],
        _ => {
            debug_assert_eq!(stored_scale, 0);
            let bytes = vector.bytes(row).unwrap_or_default();
            match numeric::to_scaled(bytes, scale) {
                Some(value) => value,
                None if physical == Physical::I64 => i128::from(i64::MAX),
                None => i128::MAX,
            }
        }
    })
}

fn push_bytes(form: Form, vector: &Vector, scale: u16, row: usize, out: &mut Vec<u8>) {
    if vector.is_null(row) {
        encode_scalar(None, Physical::Bytes, PLAIN, out);
        return;
    }
    if let Form::Int(physical, _) = form {
        let value = int_at(form, vector, scale, row).map(Scalar::Int);
        encode_scalar(value.as_ref(), physical, PLAIN, out);
        return;
    }
    let bytes = match (form, &vector.values) {
        // A numeric whose column once had a scale of its own.
        (Form::Numeric, Values::I64(v)) => {
            let mut bytes = Vec::new();
            numeric::from_scaled(i128::from(v[row]), scale, &mut bytes);
            numeric::canonical(&bytes)
        }
        (Form::Numeric, Values::I128(v)) => {
            let mut bytes = Vec::new();
            numeric::from_scaled(v[row], scale, &mut bytes);
            numeric::canonical(&bytes)
        }
        (Form::Numeric, _) => numeric::canonical(vector.bytes(row).unwrap_or_default()),
        (Form::Blank, _) => {
            let bytes = vector.bytes(row).unwrap_or_default();
            let end = bytes
                .iter()
                .rposition(|b| *b != b' ')
                .map_or(0, |at| at + 1);
            bytes[..end].to_vec()
        }
        _ => {
            escape(vector.bytes(row).unwrap_or_default(), out);
            return;
        }
    };
    escape(&bytes, out);
}

/// As `encode_scalar` writes a complete value.
fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(1);
    for &byte in bytes {
        out.push(byte);
        if byte == 0 {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&[0, 0]);
}
