// SPDX-License-Identifier: Apache-2.0
//! The NULLs of a row block.
//!
//! ```text
//! kind: u8 | nothing                          0: no NULLs   1: all NULL
//!          | words: u64 x rows/64             2: plain bits
//!          | toggles: varint | int stream     3: rows where the state flips, beginning with "valid"
//! ```

use super::int;
use crate::error::{corrupt, Result};
use crate::vector::Bitmap;
use crate::wire::{put_varint, Reader};

/// The NULLs of a block, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Validity {
    /// Every row has a value.
    All,
    /// Every row is NULL.
    None,
    /// One bit a row.
    Some(Bitmap),
}

/// Appends the validity of `rows` rows (`None`: no NULLs).
pub(crate) fn encode(rows: usize, bits: Option<&Bitmap>, out: &mut Vec<u8>) {
    let valid = bits.map_or(rows, Bitmap::count_ones);
    let Some(bits) = bits.filter(|_| valid < rows) else {
        return out.push(0);
    };
    if valid == 0 {
        return out.push(1);
    }
    let toggles = toggles(bits, rows.div_ceil(16));
    let mut runs = Vec::new();
    if let Some(toggles) = &toggles {
        put_varint(&mut runs, toggles.len() as u128);
        int::encode_flat(toggles, &mut runs);
    }
    if toggles.is_some() && runs.len() < bits.words().len() * 8 {
        out.push(3);
        out.extend_from_slice(&runs);
    } else {
        out.push(2);
        bits.words()
            .iter()
            .for_each(|w| out.extend_from_slice(&w.to_le_bytes()));
    }
}

/// Rows where the state flips, or `None` when they are more than `limit`.
fn toggles(bits: &Bitmap, limit: usize) -> Option<Vec<u32>> {
    let (mut toggles, mut state) = (Vec::new(), true);
    for row in 0..bits.len() {
        if bits.get(row) != state {
            if toggles.len() == limit {
                return None;
            }
            toggles.push(row as u32);
            state = !state;
        }
    }
    Some(toggles)
}

/// Reads the validity of `rows` rows.
pub(crate) fn open(r: &mut Reader<'_>, data: &[u8], rows: usize) -> Result<Validity> {
    Ok(match r.u8()? {
        0 => Validity::All,
        1 => Validity::None,
        2 => {
            let bytes = r.take(rows.div_ceil(64) * 8)?;
            let words = bytes
                .chunks_exact(8)
                .map(int::Int::read)
                .map(|w: i64| w as u64)
                .collect();
            Validity::Some(Bitmap::from_words(words, rows))
        }
        3 => {
            let count = r.varint32()? as usize;
            if count > rows {
                return Err(corrupt("more NULL runs than rows"));
            }
            let mut toggles: Vec<u32> = Vec::new();
            int::Layout::open_flat(r, data, count)?.decode(data, 0..count, &mut toggles);
            Validity::Some(from_toggles(&toggles, rows)?)
        }
        _ => return Err(corrupt("unknown validity encoding")),
    })
}

fn from_toggles(toggles: &[u32], rows: usize) -> Result<Bitmap> {
    let mut bits = Bitmap::default();
    let mut state = true;
    for &toggle in toggles {
        let row = toggle as usize;
        if row < bits.len() || row >= rows {
            return Err(corrupt("NULL runs out of order"));
        }
        bits.extend_filled(row - bits.len(), state);
        state = !state;
    }
    bits.extend_filled(rows - bits.len(), state);
    Ok(bits)
}
