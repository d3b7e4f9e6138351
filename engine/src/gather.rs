// SPDX-License-Identifier: Apache-2.0
//! Moving rows between vectors: gather by row number, slice, concatenate, and repeat.
//!
//! These are the leaves under every operator that changes which rows there are (filters, joins, sorts). They
//! look at layouts only and never at what a value means.

use std::sync::Arc;

use doris_storage::vector::{Bitmap, BytesColumn, Physical, Values, Vector};

/// The row number that stands for "no row" in [`gather_or_null`].
pub const NO_ROW: u32 = u32::MAX;

/// The rows `indices` of `source`, in that order (they may repeat). Panics when one is out of range.
pub fn gather(source: &Vector, indices: &[u32]) -> Vector {
    let values = gather_values(&source.values, indices);
    let validity = source
        .validity
        .as_ref()
        .map(|bits| gather_bits(bits, indices));
    Vector { values, validity }
}

/// Like [`gather`], with [`NO_ROW`] giving NULL: the absent side of an outer join.
pub fn gather_or_null(source: &Vector, indices: &[u32]) -> Vector {
    if !indices.contains(&NO_ROW) {
        return gather(source, indices);
    }
    if source.is_empty() {
        return nulls(source.physical(), indices.len());
    }
    let clamped: Vec<u32> = indices
        .iter()
        .map(|&i| if i == NO_ROW { 0 } else { i })
        .collect();
    let present = indices
        .iter()
        .map(|&i| i != NO_ROW && !source.is_null(i as usize));
    let validity = Some(Bitmap::from_bools(present));
    Vector {
        values: gather_values(&source.values, &clamped),
        validity,
    }
}

/// `rows` NULLs of a layout.
pub fn nulls(physical: Physical, rows: usize) -> Vector {
    let values = match physical {
        Physical::Bool => Values::Bool(vec![0; rows]),
        Physical::I16 => Values::I16(vec![0; rows]),
        Physical::I32 => Values::I32(vec![0; rows]),
        Physical::I64 => Values::I64(vec![0; rows]),
        Physical::I128 => Values::I128(vec![0; rows]),
        Physical::F32 => Values::F32(vec![0.0; rows]),
        Physical::F64 => Values::F64(vec![0.0; rows]),
        Physical::Fixed(width) => Values::Fixed {
            width,
            data: vec![0; rows * usize::from(width)],
        },
        Physical::Bytes => Values::Bytes(BytesColumn {
            offsets: vec![0; rows + 1],
            data: Vec::new(),
        }),
    };
    Vector {
        values,
        validity: Some(Bitmap::filled(rows, false)),
    }
}

fn gather_values(values: &Values, indices: &[u32]) -> Values {
    fn pick<T: Copy>(values: &[T], indices: &[u32]) -> Vec<T> {
        indices.iter().map(|&i| values[i as usize]).collect()
    }
    match values {
        Values::Bool(v) => Values::Bool(pick(v, indices)),
        Values::I16(v) => Values::I16(pick(v, indices)),
        Values::I32(v) => Values::I32(pick(v, indices)),
        Values::I64(v) => Values::I64(pick(v, indices)),
        Values::I128(v) => Values::I128(pick(v, indices)),
        Values::F32(v) => Values::F32(pick(v, indices)),
        Values::F64(v) => Values::F64(pick(v, indices)),
        Values::Fixed { width, data } => {
            let n = usize::from(*width);
            let mut out = Vec::with_capacity(indices.len() * n);
            for &i in indices {
                out.extend_from_slice(&data[i as usize * n..(i as usize + 1) * n]);
            }
            Values::Fixed {
                width: *width,
                data: out,
            }
        }
        Values::Bytes(v) => Values::Bytes(gather_bytes(v, indices)),
        Values::Dict { codes, dict } => Values::Dict {
            codes: pick(codes, indices),
            dict: Arc::clone(dict),
        },
    }
}

fn gather_bytes(source: &BytesColumn, indices: &[u32]) -> BytesColumn {
    let mut offsets = Vec::with_capacity(indices.len() + 1);
    let mut end = 0u64;
    offsets.push(0);
    for &i in indices {
        let i = i as usize;
        end += u64::from(source.offsets[i + 1] - source.offsets[i]);
        offsets.push(u32::try_from(end).expect("a bytes vector holds at most 4 GiB"));
    }
    let mut data = Vec::with_capacity(end as usize);
    for &i in indices {
        data.extend_from_slice(source.get(i as usize));
    }
    BytesColumn { offsets, data }
}

/// The bits `indices` of `bits`, in that order.
pub fn gather_bits(bits: &Bitmap, indices: &[u32]) -> Bitmap {
    let mut words = Vec::with_capacity(indices.len().div_ceil(64));
    let source = bits.words();
    for chunk in indices.chunks(64) {
        let mut word = 0u64;
        for (bit, &i) in chunk.iter().enumerate() {
            word |= (source[i as usize / 64] >> (i % 64) & 1) << bit;
        }
        words.push(word);
    }
    Bitmap::from_words(words, indices.len())
}
