// SPDX-License-Identifier: Apache-2.0
//! Approximate distinct counts: a HyperLogLog a group, with the hashes of `ndv` or of `hll_hash`.
//!
//! The registers of some dozens of groups do not fit a core's cache, and each row would wait for its own. So where there
//! are as many, a group's values wait until there are some for each line of its registers.

use std::borrow::Cow;

use doris_storage::vector::{BytesColumn, Values, Vector};

use super::{each_valid, required, wrong_layout, Accumulator, Groups};
use crate::error::{Error, Result};
use crate::plan::ApproxHash;
use crate::sketch::hash::{finish_64, murmur3_64, murmur3_64_short};
use crate::sketch::Hll;

/// Bytes of a count that has seen many values, roughly.
const HLL_BYTES: usize = 16 * 1024;

/// Registers of so many bytes in all are raised value by value.
const NEAR_BYTES: usize = 512 * 1024;
/// Values of a group that wait.
const WAITING: usize = 512;

/// The counts of all groups.
pub struct Approx {
    hash: ApproxHash,
    counts: Vec<Hll>,
    /// For each group: places in its registers that are still to be raised, if it has registers.
    waiting: Vec<Vec<u32>>,
    /// Groups that have registers.
    dense: usize,
    /// Hashes of a batch.
    hashes: Vec<u64>,
}

impl Approx {
    /// No groups yet.
    pub fn new(hash: ApproxHash) -> Self {
        Self {
            hash,
            counts: Vec::new(),
            waiting: Vec::new(),
            dense: 0,
            hashes: Vec::new(),
        }
    }

    /// A group's count, with the values that wait.
    fn count(&self, group: usize) -> Cow<'_, Hll> {
        let (count, waiting) = (&self.counts[group], &self.waiting[group]);
        if waiting.is_empty() {
            return Cow::Borrowed(count);
        }
        let mut count = count.clone();
        count.add_places(waiting);
        Cow::Owned(count)
    }

    /// Hashes a batch of values; those of NULLs are anything.
    fn hash(&mut self, argument: &Vector) -> Result<()> {
        self.hashes.clear();
        let hashes = &mut self.hashes;
        match (self.hash, &argument.values) {
            (ApproxHash::Value, Values::I16(v)) => {
                hashes.extend(v.iter().map(|v| word(i64::from(*v))))
            }
            (ApproxHash::Value, Values::I32(v)) => {
                hashes.extend(v.iter().map(|v| word(i64::from(*v))))
            }
            (ApproxHash::Value, Values::I64(v)) => hashes.extend(v.iter().map(|v| word(*v))),
            (ApproxHash::Text, Values::I16(v)) => {
                hashes.extend(v.iter().map(|v| decimal(i64::from(*v))))
            }
            (ApproxHash::Text, Values::I32(v)) => {
                hashes.extend(v.iter().map(|v| decimal(i64::from(*v))))
            }
            (ApproxHash::Text, Values::I64(v)) => hashes.extend(v.iter().map(|v| decimal(*v))),
            // Text is hashed alike in both ways.
            (_, Values::Bytes(v)) => hashes.extend((0..v.len()).map(|i| murmur3_64(v.get(i), 0))),
            (_, Values::Dict { codes, dict }) if dict.len() <= codes.len() => {
                let all: Vec<u64> = (0..dict.len())
                    .map(|i| murmur3_64(dict.get(i), 0))
                    .collect();
                let of = |code: &u32| all.get(*code as usize).copied().unwrap_or(0);
                hashes.extend(codes.iter().map(of));
            }
            (_, Values::Dict { codes, dict }) => {
                let of = |code: &u32| match (*code as usize) < dict.len() {
                    true => murmur3_64(dict.get(*code as usize), 0),
                    false => 0,
                };
                hashes.extend(codes.iter().map(of));
            }
            _ => return Err(wrong_layout()),
        }
        Ok(())
    }
}

#[inline]
fn word(value: i64) -> u64 {
    finish_64(value as u64)
}

/// The hash of a number's text.
#[inline]
fn decimal(value: i64) -> u64 {
    if (0..100_000_000).contains(&value) {
        let (word, len) = eight_digits(value as u32);
        return murmur3_64_short(word, len);
    }
    murmur3_64(value.to_string().as_bytes(), 0)
}

/// The text of a number of at most eight digits, its first byte lowest, and its length.
#[inline]
fn eight_digits(value: u32) -> (u64, u32) {
    let pair = |number: u32| u64::from(PAIRS[number as usize % 100]);
    let (high, low) = (value / 10_000, value % 10_000);
    let all =
        pair(high / 100) | pair(high % 100) << 16 | pair(low / 100) << 32 | pair(low % 100) << 48;
    let zeros = (all ^ u64::from_le_bytes([b'0'; 8])).trailing_zeros() / 8;
    // The last digit stays.
    let zeros = zeros.min(7);
    (all >> (8 * zeros), 8 - zeros)
}

/// The texts of 0 to 99, two digits each, the first one lowest.
const PAIRS: [u16; 100] = {
    let mut pairs = [0; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] =
            u16::from_le_bytes([b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]);
        number += 1;
    }
    pairs
};

impl Accumulator for Approx {
    fn resize(&mut self, groups: usize) {
        self.counts.resize_with(groups, Hll::default);
        self.waiting.resize_with(groups, Vec::new);
    }

    fn update(&mut self, groups: Groups<'_>, argument: Option<&Vector>) -> Result<()> {
        let argument = required(argument)?;
        self.hash(argument)?;
        let (counts, waiting, hashes) = (&mut self.counts, &mut self.waiting, &self.hashes);
        let (mut dense, valid) = (self.dense, argument.validity.as_ref());
        let mut add = |count: &mut Hll, hash| {
            let was_dense = count.is_dense();
            count.add_hash(hash);
            dense += usize::from(!was_dense && count.is_dense());
        };
        if self.dense * HLL_BYTES <= NEAR_BYTES {
            each_valid(groups, valid, |group, row| {
                add(&mut counts[group], hashes[row])
            });
        } else {
            each_valid(groups, valid, |group, row| {
                let (count, waiting) = (&mut counts[group], &mut waiting[group]);
                if !count.is_dense() {
                    return add(count, hashes[row]);
                }
                if waiting.len() == WAITING {
                    count.add_places(waiting);
                    waiting.clear();
                }
                if waiting.capacity() == 0 {
                    waiting.reserve_exact(WAITING);
                }
                waiting.push(Hll::place(hashes[row]));
            });
        }
        self.dense = dense;
        Ok(())
    }

    fn merge(&mut self, groups: &[u32], states: &[Vector], from: usize) -> Result<()> {
        for (i, &group) in (from..).zip(groups) {
            let bytes = states[0].bytes(i).ok_or_else(wrong_layout)?;
            let other =
                Hll::decode(bytes).map_err(|_| Error::internal("a distinct count is damaged"))?;
            let count = &mut self.counts[group as usize];
            let was_dense = count.is_dense();
            count.merge(&other);
            self.dense += usize::from(!was_dense && count.is_dense());
        }
        Ok(())
    }

    fn export(&self, groups: &[u32]) -> Vec<Vector> {
        let mut column = BytesColumn::default();
        for &group in groups {
            column.push(&self.count(group as usize).encode());
        }
        vec![Vector {
            values: Values::Bytes(column),
            validity: None,
        }]
    }

    fn finish(&self, from: usize, to: usize) -> Result<Vec<Vector>> {
        let estimates = (from..to).map(|group| self.count(group).estimate() as i64);
        Ok(vec![Vector {
            values: Values::I64(estimates.collect()),
            validity: None,
        }])
    }

    fn clear(&mut self) {
        self.counts.clear();
        self.waiting.clear();
        self.dense = 0;
    }

    fn memory_bytes(&self) -> usize {
        const GROUP_BYTES: usize = size_of::<Hll>() + size_of::<Vec<u32>>();
        self.counts.capacity() * GROUP_BYTES + self.dense * (HLL_BYTES + WAITING * 4)
    }
}

#[cfg(test)]
mod tests {
    use super::{decimal, murmur3_64};

    #[test]
    fn numbers_are_hashed_by_their_text() {
        let powers = (0..19).map(|n| 10i64.pow(n));
        let around = powers.flat_map(|p| [p - 1, p, p + 1, 3 * (p / 2) + 7, -p]);
        for value in around.chain([0, 42, i64::MIN, i64::MAX]) {
            assert_eq!(
                decimal(value),
                murmur3_64(value.to_string().as_bytes(), 0),
                "{value}"
            );
        }
    }
}
