// SPDX-License-Identifier: Apache-2.0
//! Bit-packing of units of 1,024 offsets, `width` bits each.
//!
//! A full unit is stored in lanes: widths up to 32 use 32 lanes of `u32`, wider ones 16 lanes of `u64`.
//! Value `i` sits in lane `i % lanes`, and each lane packs its values low bits first. All lanes shift by
//! the same amount, so that plain loops over a lane row compile to vector instructions, and values
//! keep their order (unlike transposed layouts). A unit takes `width * 128` bytes either way.
//! A shorter last unit is one contiguous stream of `width`-bit values, low bits first.

use super::UNIT;

/// Bytes taken by `n <= 1024` values of `width` bits.
pub(crate) fn packed_len(n: usize, width: u32) -> usize {
    (n * width as usize).div_ceil(8)
}

/// Bits needed for offsets up to `max`.
pub(crate) fn width_of(max: u64) -> u32 {
    64 - max.leading_zeros()
}

macro_rules! lanes {
    ($pack:ident, $unpack:ident, $get:ident, $word:ty, $lanes:expr) => {
        fn $pack(values: &[u64], width: usize, out: &mut Vec<u8>) {
            const BITS: usize = <$word>::BITS as usize;
            let mut words: [$word; UNIT] = [0; UNIT];
            for row in 0..BITS {
                let (word, shift) = (row * width / BITS, row * width % BITS);
                let from = &values[row * $lanes..][..$lanes];
                for (to, v) in words[word * $lanes..][..$lanes].iter_mut().zip(from) {
                    *to |= (*v as $word) << shift;
                }
                if shift + width > BITS {
                    for (to, v) in words[(word + 1) * $lanes..][..$lanes].iter_mut().zip(from) {
                        *to |= (*v as $word) >> (BITS - shift);
                    }
                }
            }
            out.reserve(width * 128);
            words[..width * $lanes]
                .iter()
                .for_each(|w| out.extend_from_slice(&w.to_le_bytes()));
        }

        /// Unpacks a full unit; `data` holds `width * 128` bytes, `1 <= width <= word bits`.
        #[inline]
        pub(crate) fn $unpack(data: &[u8], width: u32, out: &mut [$word; UNIT]) {
            const BITS: usize = <$word>::BITS as usize;
            let width = width as usize;
            let (words, _) = data[..width * 128].as_chunks::<{ BITS / 8 }>();
            let mask = <$word>::MAX >> (BITS - width);
            for (row, to) in out.chunks_exact_mut($lanes).enumerate() {
                let (word, shift) = (row * width / BITS, row * width % BITS);
                let low = &words[word * $lanes..][..$lanes];
                if shift + width > BITS {
                    let high = &words[(word + 1) * $lanes..][..$lanes];
                    for ((to, low), high) in to.iter_mut().zip(low).zip(high) {
                        let (low, high) =
                            (<$word>::from_le_bytes(*low), <$word>::from_le_bytes(*high));
                        *to = (low >> shift | high << (BITS - shift)) & mask;
                    }
                } else {
                    for (to, low) in to.iter_mut().zip(low) {
                        *to = <$word>::from_le_bytes(*low) >> shift & mask;
                    }
                }
            }
        }

        #[inline]
        fn $get(data: &[u8], width: usize, i: usize) -> u64 {
            const BITS: usize = <$word>::BITS as usize;
            let word_at = |word: usize| {
                let mut le = [0; BITS / 8];
                le.copy_from_slice(&data[(word * $lanes + i % $lanes) * (BITS / 8)..][..BITS / 8]);
                <$word>::from_le_bytes(le)
            };
            let (word, shift) = (i / $lanes * width / BITS, i / $lanes * width % BITS);
            let mut value = word_at(word) >> shift;
            if shift + width > BITS {
                value |= word_at(word + 1) << (BITS - shift);
            }
            u64::from(value & (<$word>::MAX >> (BITS - width)))
        }
    };
}

lanes!(pack32, unpack32, get32, u32, 32);
lanes!(pack64, unpack64, get64, u64, 16);

/// Appends `values` (at most 1,024, each below `2^width`), packed.
pub(crate) fn pack(values: &[u64], width: u32, out: &mut Vec<u8>) {
    if width == 0 {
        return;
    }
    if values.len() == UNIT {
        return if width <= 32 {
            pack32(values, width as usize, out)
        } else {
            pack64(values, width as usize, out)
        };
    }
    let (mut word, mut filled) = (0u128, 0);
    for &value in values {
        word |= u128::from(value) << filled;
        filled += width;
        while filled >= 8 {
            out.push(word as u8);
            word >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        out.push(word as u8);
    }
}

/// Value `i` of a short unit: a contiguous stream.
#[inline]
fn get_linear(data: &[u8], width: u32, i: usize) -> u64 {
    let bit = i * width as usize;
    let end = (bit + width as usize).div_ceil(8);
    let mut le = [0; 16];
    let bytes = &data[bit / 8..end];
    le[..bytes.len()].copy_from_slice(bytes);
    (u128::from_le_bytes(le) >> (bit % 8)) as u64 & (u64::MAX >> (64 - width))
}

/// Value `i` of a unit of `n` values. `data` holds the packed unit.
#[inline]
pub(crate) fn get(data: &[u8], width: u32, n: usize, i: usize) -> u64 {
    match width {
        0 => 0,
        _ if n < UNIT => get_linear(data, width, i),
        1..=32 => get32(data, width as usize, i),
        _ => get64(data, width as usize, i),
    }
}

/// Unpacks a short unit into `out`, from value 0.
pub(crate) fn unpack_linear(data: &[u8], width: u32, out: &mut [u64]) {
    if width == 0 {
        return out.fill(0);
    }
    for (i, to) in out.iter_mut().enumerate() {
        *to = get_linear(data, width, i);
    }
}
