// SPDX-License-Identifier: Apache-2.0
//! Which values a condition holds of, as row numbers: without a branch a row, since selectivities in the middle are the
//! common case.

use super::Bitmap;

/// Rows tested at a time; one word of a validity bitmap.
const CHUNK: usize = 64;
/// Up to so many hits in a chunk are visited one by one; for more, writing every position is faster.
const FEW: usize = 12;

/// Appends the positions, counted from `base`, of all values accepted and not NULL.
pub fn push_positions<T: Copy>(
    values: &[T],
    validity: Option<&Bitmap>,
    base: u32,
    out: &mut Vec<u32>,
    accept: impl Fn(T) -> bool,
) {
    let mut found = [0u32; CHUNK];
    for (number, chunk) in values.chunks(CHUNK).enumerate() {
        let mut bits = [0u8; CHUNK];
        bits.iter_mut()
            .zip(chunk)
            .for_each(|(bit, &value)| *bit = u8::from(accept(value)));
        if let Some(validity) = validity {
            let word = validity.words()[number];
            bits.iter_mut()
                .enumerate()
                .for_each(|(i, bit)| *bit &= (word >> i) as u8 & 1);
        }
        let base = base + (number * CHUNK) as u32;
        match bits.iter().sum::<u8>() as usize {
            0 => {}
            CHUNK => out.extend(base..base + CHUNK as u32),
            few if few <= FEW => {
                let mut word = word_of(&bits);
                while word != 0 {
                    out.push(base + word.trailing_zeros());
                    word &= word - 1;
                }
            }
            _ => {
                let mut count = 0;
                for (i, bit) in bits.iter().enumerate() {
                    found[count % CHUNK] = base + i as u32;
                    count += usize::from(*bit);
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
