// SPDX-License-Identifier: Apache-2.0
//! Which values a condition holds of, as row numbers: without a branch a row, since selectivities in the middle are the
//! common case.

use super::Bitmap;

/// Rows tested at a time; one word of a validity bitmap.
const CHUNK: usize = 64;
const ALL: u32 = CHUNK as u32;
/// Up to so many hits in a chunk are visited one by one; for more, eight rows are looked up at a time.
const FEW: u32 = 6;

/// For each set of eight rows, the numbers of those in it, first ones first; what follows them is of no meaning.
static ROWS_OF_BYTE: [[u8; 8]; 256] = {
    let mut all = [[0; 8]; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut row, mut count) = (0, 0);
        while row < 8 {
            if byte >> row & 1 == 1 {
                all[byte][count] = row as u8;
                count += 1;
            }
            row += 1;
        }
        byte += 1;
    }
    all
};

/// Appends the positions, counted from `base`, of all values accepted and not NULL.
pub fn push_positions<T: Copy>(
    values: &[T],
    validity: Option<&Bitmap>,
    base: u32,
    out: &mut Vec<u32>,
    accept: impl Fn(T) -> bool,
) {
    let mut found = [0u32; CHUNK + 8];
    for (number, chunk) in values.chunks(CHUNK).enumerate() {
        let mut bits = [0u8; CHUNK];
        bits.iter_mut()
            .zip(chunk)
            .for_each(|(bit, &value)| *bit = u8::from(accept(value)));
        let mut word = word_of(&bits);
        if let Some(validity) = validity {
            word &= validity.words()[number];
        }
        let base = base + (number * CHUNK) as u32;
        match word.count_ones() {
            0 => {}
            ALL => out.extend(base..base + CHUNK as u32),
            few if few <= FEW => {
                while word != 0 {
                    out.push(base + word.trailing_zeros());
                    word &= word - 1;
                }
            }
            _ => {
                let mut count = 0;
                for (eight, byte) in word.to_le_bytes().into_iter().enumerate() {
                    let first = base + 8 * eight as u32;
                    let rows = &ROWS_OF_BYTE[usize::from(byte)];
                    // All eight places are written; those beyond the hits are written again.
                    let places = found[count..][..8].iter_mut();
                    places
                        .zip(rows)
                        .for_each(|(place, row)| *place = first + u32::from(*row));
                    count += byte.count_ones() as usize;
                }
                out.extend_from_slice(&found[..count]);
            }
        }
    }
}

/// The low bits of 64 bytes that are 0 or 1. Multiplying moves the bits of eight bytes into the top byte.
#[inline]
fn word_of(bits: &[u8; CHUNK]) -> u64 {
    bits.chunks_exact(8)
        .enumerate()
        .fold(0, |word, (i, eight)| {
            let eight = eight
                .iter()
                .rev()
                .fold(0u64, |packed, &bit| packed << 8 | u64::from(bit));
            word | (eight.wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * i)
        })
}
