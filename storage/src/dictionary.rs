// SPDX-License-Identifier: Apache-2.0
//! What all row blocks of a text column share: a dictionary of its distinct values, or a symbol table.
//!
//! ```text
//! 1 dictionary:   values: varint | bytes stream, ascending by memcmp
//! 2 symbol table: see encoding::fsst
//! ```

use std::ops::Range;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::encoding::bytes::{self, Means};
use crate::encoding::fsst::{SymbolTable, Trained};
use crate::error::{corrupt, Result};
use crate::vector::{BytesColumn, Values, Vector};
use crate::wire::{put_varint, Reader};
use crate::zone_map::{self, ZoneMap};

/// The most values that a dictionary may have: codes stay within 16 bits, and it stays in cache.
pub(crate) const VALUES_MAX: usize = 65_536;

/// The most bytes that a dictionary's values may have: every reader of the column loads it.
const BYTES_MAX: usize = 1 << 20;

/// A column's distinct values, and each row's.
pub(crate) struct Dictionary {
    /// Ascending.
    pub(crate) values: BytesColumn,
    /// One a row; that of a NULL row is any.
    pub(crate) codes: Vec<u32>,
}

impl Dictionary {
    /// The zone map of some rows: only codes are compared, since the values ascend.
    pub(crate) fn zone(&self, vector: &Vector, rows: Range<usize>) -> ZoneMap {
        let (mut low, mut high, mut nulls) = (u32::MAX, 0, 0);
        for i in rows {
            if vector.is_null(i) {
                nulls += 1;
            } else {
                low = low.min(self.codes[i]);
                high = high.max(self.codes[i]);
            }
        }
        if low > high {
            return ZoneMap {
                null_count: nulls,
                ..ZoneMap::default()
            };
        }
        let mut bounds = BytesColumn::default();
        bounds.push(self.values.get(low as usize));
        bounds.push(self.values.get(high as usize));
        let bounds = Vector {
            values: Values::Bytes(bounds),
            validity: None,
        };
        ZoneMap {
            null_count: nulls,
            ..zone_map::of(&bounds, 0..2, true)
        }
    }
}

/// Collects the distinct values, if they are few enough to be worth a dictionary.
pub(crate) fn build(vector: &Vector) -> Option<Dictionary> {
    let (first_seen, codes) = match &vector.values {
        Values::Dict { codes, dict } => collect_coded(vector, codes, dict)?,
        _ => collect(vector)?,
    };
    let mut order: Vec<u32> = (0..first_seen.len() as u32).collect();
    order.sort_unstable_by_key(|&i| first_seen[i as usize]);
    let mut values = BytesColumn::default();
    let mut renumbered = vec![0u32; order.len()];
    for (new, &old) in order.iter().enumerate() {
        values.push(first_seen[old as usize]);
        renumbered[old as usize] = new as u32;
    }
    let renumber = |c: u32| renumbered.get(c as usize).copied().unwrap_or(0);
    Some(Dictionary {
        values,
        codes: codes.into_iter().map(renumber).collect(),
    })
}

/// What was seen of a column so far.
#[derive(Default)]
struct Seen {
    /// Distinct values.
    distinct: usize,
    /// Bytes of the distinct values.
    distinct_bytes: usize,
    /// Rows.
    rows: usize,
    /// Bytes of all rows' values.
    bytes: usize,
}

impl Seen {
    /// Whether a small dictionary is in sight. Few values that are huge and many times repeated may take
    /// more than a small dictionary's bytes.
    fn promising(&self) -> bool {
        self.distinct <= VALUES_MAX
            && self.distinct_bytes <= BYTES_MAX.max(self.bytes / 64)
            && (self.rows < 1024 || self.distinct <= self.rows / 2)
    }

    /// Whether the dictionary is worth it, all rows seen.
    fn worthwhile(&self) -> bool {
        self.distinct > 0 && self.distinct <= self.rows / 2 && self.promising()
    }
}

fn collect(vector: &Vector) -> Option<(Vec<&[u8]>, Vec<u32>)> {
    let mut map: HashMap<&[u8], u32, foldhash::fast::FixedState> = HashMap::default();
    let (mut values, mut seen, mut last) = (Vec::new(), Seen::default(), 0);
    let mut codes = Vec::with_capacity(vector.len());
    for i in 0..vector.len() {
        seen.rows += 1;
        if vector.is_null(i) {
            codes.push(last);
            continue;
        }
        let value = vector.bytes(i)?;
        seen.bytes += value.len();
        last = *map.entry(value).or_insert_with(|| {
            values.push(value);
            seen.distinct += 1;
            seen.distinct_bytes += value.len();
            values.len() as u32 - 1
        });
        codes.push(last);
        if i % 1024 == 1023 && !seen.promising() {
            return None;
        }
    }
    seen.worthwhile().then_some((values, codes))
}

/// As `collect`, for a vector that has a dictionary already: hashes nothing per row.
fn collect_coded<'a>(
    vector: &Vector,
    codes: &[u32],
    dict: &'a BytesColumn,
) -> Option<(Vec<&'a [u8]>, Vec<u32>)> {
    let mut seen = Seen {
        rows: codes.len(),
        ..Seen::default()
    };
    let mut used = vec![false; dict.len()];
    for (i, &code) in codes.iter().enumerate() {
        if !vector.is_null(i) {
            used[code as usize] = true;
            seen.bytes += dict.get(code as usize).len();
        }
    }
    // Dictionaries from elsewhere may hold a value twice.
    let mut map: HashMap<&[u8], u32, foldhash::fast::FixedState> = HashMap::default();
    let mut values = Vec::new();
    let mut renumbered = vec![0u32; dict.len()];
    for (old, _) in used.iter().enumerate().filter(|(_, used)| **used) {
        let value = dict.get(old);
        renumbered[old] = *map.entry(value).or_insert_with(|| {
            values.push(value);
            seen.distinct += 1;
            seen.distinct_bytes += value.len();
            values.len() as u32 - 1
        });
    }
    let renumber = |&c: &u32| renumbered.get(c as usize).copied().unwrap_or(0);
    seen.worthwhile()
        .then(|| (values, codes.iter().map(renumber).collect()))
}

/// Appends a dictionary's shared part.
pub(crate) fn write(values: &BytesColumn, lz4: bool, out: &mut Vec<u8>) {
    out.push(1);
    put_varint(out, values.len() as u128);
    bytes::encode(values, 0..values.len(), Means { lz4, fsst: None }, out);
}

/// Appends a symbol table's shared part.
pub(crate) fn write_symbols(table: &Trained, out: &mut Vec<u8>) {
    out.push(2);
    table.write(out);
}

/// A column's shared part, parsed.
#[derive(Debug, Clone)]
pub(crate) enum Shared {
    /// No shared part.
    None,
    /// The dictionary that vectors share.
    Dictionary(Arc<BytesColumn>),
    /// The symbol table.
    Symbols(Arc<SymbolTable>),
}

impl Shared {
    /// Reads a shared part.
    pub(crate) fn open(data: &[u8]) -> Result<Self> {
        let r = &mut Reader::new(data);
        match r.u8()? {
            1 => {
                let count = r.varint32()? as usize;
                if count > VALUES_MAX {
                    return Err(corrupt("dictionary of too many values"));
                }
                let layout = bytes::Layout::open(r, data, count)?;
                if layout.kind() == bytes::Kind::Constant && count > 1 {
                    return Err(corrupt("dictionary of one repeated value"));
                }
                let mut values = BytesColumn::default();
                layout.decode(data, 0..count, None, &mut values)?;
                Ok(Shared::Dictionary(Arc::new(values)))
            }
            2 => Ok(Shared::Symbols(Arc::new(SymbolTable::open(r)?))),
            _ => Err(corrupt("unknown shared part")),
        }
    }
}
