// SPDX-License-Identifier: Apache-2.0
//! Moving rows between vectors: gather by row number, slice, concatenate, and repeat.
//!
//! These are the leaves under every operator that changes which rows there are (filters, joins, sorts). They
//! look at layouts only and never at what a value means. Where the system has no memory for what they make, they unwind
//! ([`room`]), but for [`concat`].

use std::sync::Arc;

use doris_storage::vector::{Bitmap, BytesColumn, Physical, Values, Vector};
use hashbrown::HashMap;

use crate::memory::{room, vec};

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

/// Indices looked at together, to see whether they follow each other.
const RUN: usize = 16;

/// Whether most of the indices follow each other: what a filter leaves that lets nearly everything through.
fn is_nearly_whole(indices: &[u32]) -> bool {
    match (indices.first(), indices.last()) {
        (Some(&first), Some(&last)) if indices.len() > RUN && first <= last => {
            let span = (last - first) as usize + 1;
            indices.len() <= span && span - indices.len() <= indices.len() / RUN
        }
        _ => false,
    }
}

/// The values at `indices`, copied run by run.
fn pick_runs<T: Copy>(values: &[T], indices: &[u32]) -> Vec<T> {
    let mut out = room(indices.len());
    let (chunks, rest) = indices.as_chunks::<RUN>();
    for chunk in chunks {
        let first = chunk[0];
        let follows = (0..RUN).fold(true, |all, i| {
            all & (chunk[i] == first.wrapping_add(i as u32))
        });
        match follows {
            true => out.extend_from_slice(&values[first as usize..][..RUN]),
            false => out.extend(chunk.iter().map(|&i| values[i as usize])),
        }
    }
    out.extend(rest.iter().map(|&i| values[i as usize]));
    out
}

fn gather_values(values: &Values, indices: &[u32]) -> Values {
    fn pick<T: Copy>(values: &[T], indices: &[u32]) -> Vec<T> {
        match is_nearly_whole(indices) {
            true => pick_runs(values, indices),
            false => {
                let mut out = room(indices.len());
                out.extend(indices.iter().map(|&i| values[i as usize]));
                out
            }
        }
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
            let mut out = room(indices.len() * n);
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
    let mut offsets = room(indices.len() + 1);
    let mut end = 0u64;
    offsets.push(0);
    for &i in indices {
        let i = i as usize;
        end += u64::from(source.offsets[i + 1] - source.offsets[i]);
        offsets.push(u32::try_from(end).expect("a bytes vector holds at most 4 GiB"));
    }
    let mut data = room(end as usize);
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

fn copied<T: Copy>(values: &[T]) -> Vec<T> {
    let mut out = room(values.len());
    out.extend_from_slice(values);
    out
}

/// Rows `from..to` of `source`. Panics when they are out of range.
pub fn slice(source: &Vector, from: usize, to: usize) -> Vector {
    let values = match &source.values {
        Values::Bool(v) => Values::Bool(copied(&v[from..to])),
        Values::I16(v) => Values::I16(copied(&v[from..to])),
        Values::I32(v) => Values::I32(copied(&v[from..to])),
        Values::I64(v) => Values::I64(copied(&v[from..to])),
        Values::I128(v) => Values::I128(copied(&v[from..to])),
        Values::F32(v) => Values::F32(copied(&v[from..to])),
        Values::F64(v) => Values::F64(copied(&v[from..to])),
        Values::Fixed { width, data } => {
            let n = usize::from(*width);
            Values::Fixed {
                width: *width,
                data: copied(&data[from * n..to * n]),
            }
        }
        Values::Bytes(v) => {
            let (start, end) = (v.offsets[from], v.offsets[to]);
            let offsets = v.offsets[from..=to].iter().map(|&o| o - start).collect();
            Values::Bytes(BytesColumn {
                offsets,
                data: copied(&v.data[start as usize..end as usize]),
            })
        }
        Values::Dict { codes, dict } => Values::Dict {
            codes: copied(&codes[from..to]),
            dict: Arc::clone(dict),
        },
    };
    let validity = source
        .validity
        .as_ref()
        .map(|bits| Bitmap::from_bools((from..to).map(|i| bits.get(i))));
    Vector { values, validity }
}

/// All rows of `parts`, one after the other; the parts have layout `physical`. Dictionaries are kept when all
/// parts share one, and made one when they are small. `None` when a bytes column would pass 4 GiB, or the system has not the
/// memory.
pub fn concat(physical: Physical, parts: &[Arc<Vector>]) -> Option<Vector> {
    let rows = parts.iter().map(|part| part.len()).sum();
    macro_rules! join {
        ($layout:ident) => {{
            let mut out = vec(rows).ok()?;
            for part in parts {
                if let Values::$layout(v) = &part.values {
                    out.extend_from_slice(v);
                }
            }
            Values::$layout(out)
        }};
    }
    let values = match physical {
        Physical::Bool => join!(Bool),
        Physical::I16 => join!(I16),
        Physical::I32 => join!(I32),
        Physical::I64 => join!(I64),
        Physical::I128 => join!(I128),
        Physical::F32 => join!(F32),
        Physical::F64 => join!(F64),
        Physical::Fixed(width) => {
            let mut out = vec(rows * usize::from(width)).ok()?;
            for part in parts {
                if let Values::Fixed { data, .. } = &part.values {
                    out.extend_from_slice(data);
                }
            }
            Values::Fixed { width, data: out }
        }
        Physical::Bytes => concat_bytes(rows, parts)?,
    };
    let validity = parts
        .iter()
        .any(|part| part.validity.is_some())
        .then(|| concat_validity(rows, parts));
    Some(Vector { values, validity })
}

fn concat_validity(rows: usize, parts: &[Arc<Vector>]) -> Bitmap {
    let mut bits = Bitmap::filled(rows, true);
    let mut start = 0;
    for part in parts {
        if let Some(validity) = &part.validity {
            for i in (0..part.len()).filter(|&i| !validity.get(i)) {
                bits.set(start + i, false);
            }
        }
        start += part.len();
    }
    bits
}

/// The dictionary that all parts share, if they do.
fn shared_dictionary(parts: &[Arc<Vector>]) -> Option<Arc<BytesColumn>> {
    let mut shared: Option<&Arc<BytesColumn>> = None;
    for part in parts {
        match &part.values {
            Values::Dict { dict, .. } if shared.is_none_or(|known| Arc::ptr_eq(known, dict)) => {
                shared = Some(dict)
            }
            _ => return None,
        }
    }
    shared.cloned()
}

/// Dictionaries are made one where they have at most one entry for so many rows.
const ROWS_AN_ENTRY: usize = 8;

/// All rows with one dictionary; `None` where parts have none, or dictionaries are large.
fn merge_dictionaries(rows: usize, parts: &[Arc<Vector>]) -> Option<Values> {
    let mut dictionaries: Vec<&Arc<BytesColumn>> = Vec::new();
    let mut of_part = Vec::with_capacity(parts.len());
    let mut entries = 0;
    for part in parts {
        let Values::Dict { dict, .. } = &part.values else {
            return None;
        };
        // Neighbours mostly share theirs.
        let known = dictionaries
            .iter()
            .rposition(|known| Arc::ptr_eq(known, dict));
        of_part.push(known.unwrap_or(dictionaries.len()));
        if known.is_none() {
            entries += dict.len();
            dictionaries.push(dict);
        }
        if entries * ROWS_AN_ENTRY > rows {
            return None;
        }
    }
    let mut merged = BytesColumn::default();
    let mut known: HashMap<&[u8], u32> = HashMap::with_capacity(entries);
    let mut code_of = |value| {
        *known.entry(value).or_insert_with(|| {
            merged.push(value);
            merged.len() as u32 - 1
        })
    };
    let translations: Vec<Vec<u32>> = dictionaries
        .iter()
        .map(|dict| dict.iter().map(&mut code_of).collect())
        .collect();
    let mut all = vec(rows).ok()?;
    for (part, &dictionary) in parts.iter().zip(&of_part) {
        if let Values::Dict { codes, .. } = &part.values {
            let table = &translations[dictionary];
            // A NULL may have any code.
            let translated = |&code: &u32| table.get(code as usize).copied().unwrap_or(0);
            all.extend(codes.iter().map(translated));
        }
    }
    (!merged.is_empty()).then(|| Values::Dict {
        codes: all,
        dict: Arc::new(merged),
    })
}

fn concat_bytes(rows: usize, parts: &[Arc<Vector>]) -> Option<Values> {
    if let Some(dict) = shared_dictionary(parts) {
        let mut all = vec(rows).ok()?;
        for part in parts {
            if let Values::Dict { codes, .. } = &part.values {
                all.extend_from_slice(codes);
            }
        }
        return Some(Values::Dict { codes: all, dict });
    }
    if let Some(values) = merge_dictionaries(rows, parts) {
        return Some(values);
    }
    let bytes = parts.iter().map(|part| flat_bytes(part)).sum();
    u32::try_from(bytes).ok()?;
    let mut offsets: Vec<u32> = vec(rows + 1).ok()?;
    let mut data: Vec<u8> = vec(bytes).ok()?;
    offsets.push(0);
    for part in parts {
        match &part.values {
            Values::Bytes(v) => {
                let start = u32::try_from(data.len()).ok()?;
                start.checked_add(*v.offsets.last()?)?;
                offsets.extend(v.offsets[1..].iter().map(|&o| start + o));
                data.extend_from_slice(&v.data[..*v.offsets.last()? as usize]);
            }
            Values::Dict { codes, dict } if !dict.is_empty() => {
                for &code in codes {
                    data.extend_from_slice(dict.get(code as usize));
                    offsets.push(u32::try_from(data.len()).ok()?);
                }
            }
            _ => offsets.resize(offsets.len() + part.len(), u32::try_from(data.len()).ok()?),
        }
    }
    Some(Values::Bytes(BytesColumn { offsets, data }))
}

/// Bytes of all values of a bytes column, end to end; 0 of another layout.
pub fn flat_bytes(vector: &Vector) -> usize {
    match &vector.values {
        Values::Bytes(v) => v.offsets.last().map_or(0, |&end| end as usize),
        Values::Dict { codes, dict } if !dict.is_empty() => {
            // A NULL may have any code.
            let length = |&code: &u32| match dict.offsets.get(code as usize..code as usize + 2) {
                Some(&[start, end]) => (end - start) as usize,
                _ => 0,
            };
            codes.iter().map(length).sum()
        }
        _ => 0,
    }
}

/// Bytes of memory that a vector holds; a dictionary counts where nothing else has it.
pub fn memory_bytes(vector: &Vector) -> usize {
    let values = match &vector.values {
        Values::Bool(v) => v.len(),
        Values::I16(v) => v.len() * 2,
        Values::I32(v) => v.len() * 4,
        Values::I64(v) => v.len() * 8,
        Values::I128(v) => v.len() * 16,
        Values::F32(v) => v.len() * 4,
        Values::F64(v) => v.len() * 8,
        Values::Fixed { data, .. } => data.len(),
        Values::Bytes(v) => column_bytes(v),
        Values::Dict { codes, dict } if Arc::strong_count(dict) == 1 => {
            codes.len() * 4 + column_bytes(dict)
        }
        Values::Dict { codes, .. } => codes.len() * 4,
    };
    values
        + vector
            .validity
            .as_ref()
            .map_or(0, |bits| bits.words().len() * 8)
}

fn column_bytes(column: &BytesColumn) -> usize {
    column.offsets.len() * 4 + column.data.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dictionary_counts_unless_it_is_shared() {
        let alone = coded(&["abcd", "efgh"], vec![0, 1, 0], None);
        assert_eq!(memory_bytes(&alone), 3 * 4 + 3 * 4 + 8);
        let other = slice(&alone, 0, 2);
        assert_eq!(memory_bytes(&alone), 3 * 4);
        assert_eq!(memory_bytes(&other), 2 * 4);
    }

    fn coded(words: &[&str], codes: Vec<u32>, validity: Option<Bitmap>) -> Arc<Vector> {
        let mut dict = BytesColumn::default();
        words.iter().for_each(|word| dict.push(word.as_bytes()));
        let dict = Arc::new(dict);
        Arc::new(Vector {
            values: Values::Dict { codes, dict },
            validity,
        })
    }

    #[test]
    fn small_dictionaries_become_one() {
        let null_last = Bitmap::from_bools((0..40).map(|row| row < 39));
        let one = coded(&["a", "b", "a"], (0..40).map(|i| i % 3).collect(), None);
        let other = coded(
            &["c", "b"],
            [vec![1; 39], vec![7]].concat(),
            Some(null_last),
        );
        let parts = [one.clone(), other.clone(), one];
        let all = concat(Physical::Bytes, &parts).unwrap();
        let Values::Dict { dict, .. } = &all.values else {
            panic!("{all:?}")
        };
        assert_eq!(dict.len(), 3);
        let expected = parts.iter().flat_map(|part| {
            (0..40).map(|row| (!part.is_null(row)).then(|| part.bytes(row).unwrap()))
        });
        for (row, value) in expected.enumerate() {
            assert_eq!(all.is_null(row), value.is_none());
            assert_eq!(value.map(|_| all.bytes(row).unwrap()), value);
        }
    }

    #[test]
    fn large_dictionaries_are_looked_up() {
        let words: Vec<String> = (0..30).map(|n| n.to_string()).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let parts = [
            coded(&words, vec![3, 4], None),
            coded(&words, vec![5], None),
        ];
        let all = concat(Physical::Bytes, &parts).unwrap();
        assert!(matches!(all.values, Values::Bytes(_)));
        assert_eq!(all.bytes(2), Some(&b"5"[..]));
    }
}
