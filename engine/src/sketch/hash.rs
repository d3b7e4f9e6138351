// SPDX-License-Identifier: Apache-2.0
//! MurmurHash3 in the two forms whose results users store: `bitmap_hash` and `bitmap_hash64` must give the numbers that
//! Doris gives, and stored HLL values depend on the second.

/// The seed of `bitmap_hash`.
pub const SEED_32: u32 = 104_729;

/// MurmurHash3 x86, 32 bits.
pub fn murmur3_32(data: &[u8], seed: u32) -> u32 {
    fn mix(k: u32) -> u32 {
        k.wrapping_mul(0xcc9e_2d51)
            .rotate_left(15)
            .wrapping_mul(0x1b87_3593)
    }
    let mut hash = seed;
    let mut blocks = data.chunks_exact(4);
    for block in &mut blocks {
        let word = u32::from_le_bytes([block[0], block[1], block[2], block[3]]);
        hash = (hash ^ mix(word))
            .rotate_left(13)
            .wrapping_mul(5)
            .wrapping_add(0xe654_6b64);
    }
    let tail = blocks
        .remainder()
        .iter()
        .rev()
        .fold(0u32, |word, byte| word << 8 | u32::from(*byte));
    hash ^= mix(tail) ^ data.len() as u32;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

/// The one-lane 64-bit variant of MurmurHash3 that Doris calls `murmur_hash3_64` (it is not the first half of the
/// 128-bit hash).
pub fn murmur3_64(data: &[u8], seed: u64) -> u64 {
    let mut hash = seed;
    let mut blocks = data.chunks_exact(8);
    for block in &mut blocks {
        let mut word = [0; 8];
        word.copy_from_slice(block);
        hash = block_64(hash, u64::from_le_bytes(word));
    }
    let tail = word_of(blocks.remainder(), data);
    finish_64(hash ^ mix_64(tail) ^ data.len() as u64)
}

/// The bytes of `tail`, at most seven at the end of `data`, as a word, the first one lowest.
#[inline]
fn word_of(tail: &[u8], data: &[u8]) -> u64 {
    let len = tail.len();
    if let (1.., Some(last)) = (len, data.last_chunk::<8>()) {
        return u64::from_le_bytes(*last) >> (64 - 8 * len);
    }
    // Pieces may overlap: they say the same where they do.
    if let (Some(first), Some(last)) = (tail.first_chunk::<4>(), tail.last_chunk::<4>()) {
        let last = u64::from(u32::from_le_bytes(*last)) << (8 * (len - 4));
        return u64::from(u32::from_le_bytes(*first)) | last;
    }
    let byte = |at: usize| u64::from(tail[at]) << (8 * at);
    match len {
        0 => 0,
        _ => byte(0) | byte(len / 2) | byte(len - 1),
    }
}

/// [`murmur3_64`] of `len` bytes, 8 at most, with seed 0: the first byte is the lowest of `word`, those behind them are 0.
#[inline(always)]
pub fn murmur3_64_short(word: u64, len: u32) -> u64 {
    // Both are computed, and one chosen: a loop over numbers has no branch then.
    let (whole, tail) = (block_64(0, word), mix_64(word));
    let hash = if len == 8 { whole } else { tail };
    finish_64(hash ^ u64::from(len))
}

#[inline]
fn block_64(hash: u64, word: u64) -> u64 {
    (hash ^ mix_64(word))
        .rotate_left(27)
        .wrapping_mul(5)
        .wrapping_add(0x52dc_e729)
}

#[inline]
fn mix_64(word: u64) -> u64 {
    word.wrapping_mul(0x87c3_7b91_1142_53d5)
        .rotate_left(31)
        .wrapping_mul(0x4cf5_ad43_2745_937f)
}

/// MurmurHash3's finaliser: spreads the bits of one word. Enough of a hash for integers.
#[inline]
pub fn finish_64(mut word: u64) -> u64 {
    word = (word ^ word >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    word = (word ^ word >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    word ^ word >> 33
}
