// SPDX-License-Identifier: Apache-2.0
//! Hashes of keys: one 64-bit hash for grouping, joining, partitioning and Bloom filters.
//!
//! Words are mixed by a folded multiplication (the 128-bit product's halves xored), as wyhash and its
//! descendants do; bytes by foldhash. Radix partitions take the high bits, hash tables the low ones.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;

/// Any odd number with well-spread bits: the golden ratio's and two digits of pi.
const SEEDS: [u64; 3] = [
    0x9E37_79B9_7F4A_7C15,
    0x2431_85A3_08D3_1319,
    0x8A2E_0370_7344_A409,
];

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// The hash of one word.
#[inline]
pub fn hash_word(word: u64) -> u64 {
    fold(word ^ SEEDS[1], SEEDS[0])
}

/// The hash of `N` words; of one word, [`hash_word`].
#[inline]
pub fn hash_words<const N: usize>(words: &[u64; N]) -> u64 {
    let mut hash = hash_word(words[0]);
    for &word in &words[1..] {
        hash = fold(hash ^ word, SEEDS[2]) ^ hash.rotate_left(23);
    }
    hash
}

/// The hash of a byte string.
#[inline]
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut hasher = FixedState::with_seed(SEEDS[0]).build_hasher();
    hasher.write(bytes);
    hasher.finish()
}
