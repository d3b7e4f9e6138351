// SPDX-License-Identifier: Apache-2.0
//! Taking, slicing and appending whole vectors.

use std::ops::Range;
use std::sync::Arc;

use super::{Bitmap, BytesColumn, Values, Vector};
use crate::error::{invalid, Result};

impl Bitmap {
    /// Appends `n` bits equal to `value`.
    pub fn extend_filled(&mut self, n: usize, value: bool) {
        let len = self.len + n;
        if value {
            if let (Some(last), true) = (self.words.last_mut(), !self.len.is_multiple_of(64)) {
                *last |= u64::MAX << (self.len % 64);
            }
        }
        self.words
            .resize(len.div_ceil(64), if value { u64::MAX } else { 0 });
        self.len = len;
        self.clear_tail();
    }

    /// Appends bits `range` of `other`. Panics when the range passes its end.
    pub fn extend_from(&mut self, other: &Bitmap, range: Range<usize>) {
        assert!(
            range.start <= range.end && range.end <= other.len,
            "bitmap range out of bounds"
        );
        let mut at = range.start;
        while at < range.end {
            let n = (range.end - at).min(64);
            let (word, shift) = (at / 64, at % 64);
            let mut bits = other.words[word] >> shift;
            if shift != 0 && shift + n > 64 {
                bits |= other.words[word + 1] << (64 - shift);
            }
            self.push_word(bits, n);
            at += n;
        }
    }

    /// Appends the low `n` bits of `bits`, `1 <= n <= 64`.
    fn push_word(&mut self, bits: u64, n: usize) {
        let bits = if n < 64 { bits & ((1 << n) - 1) } else { bits };
        let shift = self.len % 64;
        if shift == 0 {
            self.words.push(bits);
        } else {
            let last = self.words.len() - 1;
            self.words[last] |= bits << shift;
            if shift + n > 64 {
                self.words.push(bits >> (64 - shift));
            }
        }
        self.len += n;
    }

    fn clear_tail(&mut self) {
        if !self.len.is_multiple_of(64) {
            if let Some(last) = self.words.last_mut() {
                *last &= (1u64 << (self.len % 64)) - 1;
            }
        }
    }
}

impl BytesColumn {
    /// Appends values `range` of `other`. Panics past `u32::MAX` bytes, as `push` does.
    pub fn extend_from(&mut self, other: &BytesColumn, range: Range<usize>) {
        let (start, end) = (other.offsets[range.start], other.offsets[range.end]);
        let base = self.data.len();
        self.data
            .extend_from_slice(&other.data[start as usize..end as usize]);
        u32::try_from(self.data.len()).expect("a bytes vector holds at most 4 GiB");
        let base = base as u32;
        // Offsets ascend and end at a length that fits, so the sums below can't wrap.
        self.offsets.extend(
            other.offsets[range.start + 1..=range.end]
                .iter()
                .map(|o| o - start + base),
        );
    }
}

/// Runs `$body` with `$v` bound to the `Vec` of whichever fixed-width variant `$values` is.
macro_rules! each_vec {
    ($values:expr, $v:ident => $body:expr, $($rest:tt)*) => {
        match $values {
            Values::Bool($v) => $body,
            Values::I16($v) => $body,
            Values::I32($v) => $body,
            Values::I64($v) => $body,
            Values::I128($v) => $body,
            Values::F32($v) => $body,
            Values::F64($v) => $body,
            $($rest)*
        }
    };
}

/// As `each_vec`, wrapping the result in the same variant.
macro_rules! map_vec {
    ($values:expr, $v:ident => $body:expr, $($rest:tt)*) => {
        match $values {
            Values::Bool($v) => Values::Bool($body),
            Values::I16($v) => Values::I16($body),
            Values::I32($v) => Values::I32($body),
            Values::I64($v) => Values::I64($body),
            Values::I128($v) => Values::I128($body),
            Values::F32($v) => Values::F32($body),
            Values::F64($v) => Values::F64($body),
            $($rest)*
        }
    };
}

impl Values {
    /// Appends `n` entries for NULL rows (zeros, empty values, code 0).
    pub(crate) fn push_default(&mut self, n: usize) {
        each_vec! { self, v => v.resize(v.len() + n, Default::default()),
            Values::Fixed { width, data } => data.resize(data.len() + n * usize::from(*width), 0),
            Values::Bytes(v) => {
                let end = v.data.len() as u32;
                v.offsets.resize(v.offsets.len() + n, end);
            }
            Values::Dict { codes, .. } => codes.resize(codes.len() + n, 0),
        }
    }

    fn take(&self, rows: &[u32]) -> Values {
        map_vec! { self, v => rows.iter().map(|&r| v[r as usize]).collect(),
            Values::Fixed { width, data } => {
                let w = usize::from(*width);
                let mut out = Vec::with_capacity(rows.len() * w);
                for &r in rows {
                    out.extend_from_slice(&data[r as usize * w..][..w]);
                }
                Values::Fixed { width: *width, data: out }
            }
            Values::Bytes(v) => {
                let mut out = BytesColumn::default();
                out.offsets.reserve(rows.len());
                out.data.reserve(rows.iter().map(|&r| v.get(r as usize).len()).sum());
                for &r in rows {
                    out.push(v.get(r as usize));
                }
                Values::Bytes(out)
            }
            Values::Dict { codes, dict } => Values::Dict {
                codes: rows.iter().map(|&r| codes[r as usize]).collect(),
                dict: Arc::clone(dict),
            },
        }
    }

    fn slice(&self, range: Range<usize>) -> Values {
        map_vec! { self, v => v[range].to_vec(),
            Values::Fixed { width, data } => {
                let w = usize::from(*width);
                Values::Fixed { width: *width, data: data[range.start * w..range.end * w].to_vec() }
            }
            Values::Bytes(v) => {
                let mut out = BytesColumn::default();
                out.extend_from(v, range);
                Values::Bytes(out)
            }
            Values::Dict { codes, dict } => {
                Values::Dict { codes: codes[range].to_vec(), dict: Arc::clone(dict) }
            }
        }
    }
}

impl Vector {
    /// The rows at the given positions, in that order. Panics when one is out of range.
    pub fn take(&self, rows: &[u32]) -> Vector {
        let validity = self.validity.as_ref().map(|v| {
            let mut out = Bitmap::filled(rows.len(), true);
            for (i, &r) in rows.iter().enumerate() {
                if !v.get(r as usize) {
                    out.set(i, false);
                }
            }
            out
        });
        Vector {
            values: self.values.take(rows),
            validity,
        }
    }

    /// The rows of a range. Panics when it passes the end.
    pub fn slice(&self, range: Range<usize>) -> Vector {
        let validity = self.validity.as_ref().map(|v| {
            let mut out = Bitmap::default();
            out.extend_from(v, range.clone());
            out
        });
        Vector {
            values: self.values.slice(range),
            validity,
        }
    }

    /// Appends all rows of `other`. Dictionary vectors stay so while both share one dictionary
    /// (or `self` is empty); else `self` becomes `Bytes`.
    ///
    /// # Errors
    /// `Invalid` when the layouts differ.
    pub fn append(&mut self, other: &Vector) -> Result<()> {
        if self.physical() != other.physical() {
            return Err(invalid("vectors of different layouts can't be appended"));
        }
        let rows = self.len();
        match &other.values {
            Values::Dict { codes, dict } => match self.dict_codes(dict) {
                Some(out) => out.extend_from_slice(codes),
                None => {
                    let out = self.flat_bytes();
                    codes.iter().for_each(|&c| out.push(dict.get(c as usize)));
                }
            },
            Values::Bytes(v) => self.flat_bytes().extend_from(v, 0..v.len()),
            flat => append_flat(&mut self.values, flat),
        }
        self.append_validity(rows, other.len(), other.validity.as_ref().map(|v| (v, 0)));
        Ok(())
    }

    /// Adjusts validity after `added` rows were appended to `rows` existing ones; their bits are
    /// those of the bitmap from its given position, or all 1.
    pub(crate) fn append_validity(
        &mut self,
        rows: usize,
        added: usize,
        bits: Option<(&Bitmap, usize)>,
    ) {
        match (bits, &mut self.validity) {
            (None, None) => {}
            (None, Some(validity)) => validity.extend_filled(added, true),
            (Some((bits, from)), validity) => validity
                .get_or_insert_with(|| Bitmap::filled(rows, true))
                .extend_from(bits, from..from + added),
        }
    }

    /// The codes to append to, if values of `dict` can be appended as codes; an empty `Bytes` or
    /// `Dict` vector turns into a `Dict` of it.
    pub(crate) fn dict_codes(&mut self, dict: &Arc<BytesColumn>) -> Option<&mut Vec<u32>> {
        if self.is_empty() && matches!(self.values, Values::Bytes(_) | Values::Dict { .. }) {
            let mut kept = match &mut self.values {
                Values::Dict { codes, .. } => std::mem::take(codes),
                _ => Vec::new(),
            };
            kept.clear();
            self.values = Values::Dict {
                codes: kept,
                dict: Arc::clone(dict),
            };
        }
        match &mut self.values {
            Values::Dict { codes, dict: own } if Arc::ptr_eq(own, dict) => Some(codes),
            _ => None,
        }
    }

    /// The flat bytes to append to; a dictionary vector is flattened first.
    ///
    /// Panics for other layouts than `Bytes`.
    pub(crate) fn flat_bytes(&mut self) -> &mut BytesColumn {
        if let Values::Dict { codes, dict } = &self.values {
            let mut flat = BytesColumn::default();
            if !dict.is_empty() {
                codes.iter().for_each(|&c| flat.push(dict.get(c as usize)));
            } else {
                flat.offsets.resize(codes.len() + 1, 0);
            }
            self.values = Values::Bytes(flat);
        }
        match &mut self.values {
            Values::Bytes(v) => v,
            _ => panic!("not a bytes vector"),
        }
    }

    /// The same rows without a dictionary.
    pub fn into_flat(mut self) -> Vector {
        if matches!(self.values, Values::Dict { .. }) {
            self.flat_bytes();
        }
        self
    }

    /// Removes all rows, keeps the allocations where possible.
    pub fn clear(&mut self) {
        self.validity = None;
        each_vec! { &mut self.values, v => v.clear(),
            Values::Fixed { data, .. } => data.clear(),
            Values::Bytes(v) => {
                v.data.clear();
                v.offsets.truncate(1);
            }
            Values::Dict { codes, .. } => codes.clear(),
        }
    }

    /// Bytes of values held, about; a shared dictionary is not counted.
    pub fn memory_bytes(&self) -> usize {
        let bits = self.validity.as_ref().map_or(0, |v| v.words().len() * 8);
        bits + each_vec! { &self.values, v => std::mem::size_of_val(v.as_slice()),
            Values::Fixed { data, .. } => data.len(),
            Values::Bytes(v) => v.data.len() + v.offsets.len() * 4,
            Values::Dict { codes, .. } => codes.len() * 4,
        }
    }
}

fn append_flat(out: &mut Values, other: &Values) {
    macro_rules! same {
        ($($variant:ident)*) => {
            match (out, other) {
                $((Values::$variant(a), Values::$variant(b)) => a.extend_from_slice(b),)*
                (Values::Fixed { data: a, .. }, Values::Fixed { data: b, .. }) => a.extend_from_slice(b),
                _ => unreachable!("the caller compared the layouts"),
            }
        };
    }
    same!(Bool I16 I32 I64 I128 F32 F64)
}
