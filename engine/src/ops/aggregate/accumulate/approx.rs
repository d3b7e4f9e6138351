// SPDX-License-Identifier: Apache-2.0
//! Approximate distinct counts: a HyperLogLog a group, with the hashes of `ndv` or of `hll_hash`.

use doris_storage::vector::{BytesColumn, Values, Vector};

use super::{each_valid, required, wrong_layout, Accumulator, Groups};
use crate::error::{Error, Result};
use crate::plan::ApproxHash;
use crate::sketch::hash::{finish_64, murmur3_64};
use crate::sketch::Hll;

/// Bytes of a count that has seen many values, roughly.
const HLL_BYTES: usize = 16 * 1024;

/// The counts of all groups.
pub struct Approx {
    hash: ApproxHash,
    counts: Vec<Hll>,
    /// Hashes of a batch.
    hashes: Vec<u64>,
}

impl Approx {
    /// No groups yet.
    pub fn new(hash: ApproxHash) -> Self {
        Self {
            hash,
            counts: Vec::new(),
            hashes: Vec::new(),
        }
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
    let mut text = [0u8; 20];
    let mut at = text.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        text[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        at -= 1;
        text[at] = b'-';
    }
    murmur3_64(&text[at..], 0)
}

impl Accumulator for Approx {
    fn resize(&mut self, groups: usize) {
        self.counts.resize_with(groups, Hll::default);
    }

    fn update(&mut self, groups: Groups<'_>, argument: Option<&Vector>) -> Result<()> {
        let argument = required(argument)?;
        self.hash(argument)?;
        let (counts, hashes) = (&mut self.counts, &self.hashes);
        each_valid(groups, argument.validity.as_ref(), |group, row| {
            counts[group].add_hash(hashes[row])
        });
        Ok(())
    }

    fn merge(&mut self, groups: &[u32], states: &[Vector], from: usize) -> Result<()> {
        for (i, &group) in (from..).zip(groups) {
            let bytes = states[0].bytes(i).ok_or_else(wrong_layout)?;
            let other =
                Hll::decode(bytes).map_err(|_| Error::internal("a distinct count is damaged"))?;
            self.counts[group as usize].merge(&other);
        }
        Ok(())
    }

    fn export(&self, groups: &[u32]) -> Vec<Vector> {
        let mut column = BytesColumn::default();
        for &group in groups {
            column.push(&self.counts[group as usize].encode());
        }
        vec![Vector {
            values: Values::Bytes(column),
            validity: None,
        }]
    }

    fn finish(&self, from: usize, to: usize) -> Result<Vec<Vector>> {
        let estimates = self.counts[from..to].iter().map(|c| c.estimate() as i64);
        Ok(vec![Vector {
            values: Values::I64(estimates.collect()),
            validity: None,
        }])
    }

    fn clear(&mut self) {
        self.counts.clear();
    }

    fn memory_bytes(&self) -> usize {
        let dense = self.counts.iter().filter(|count| count.is_dense()).count();
        self.counts.capacity() * std::mem::size_of::<Hll>() + dense * HLL_BYTES
    }
}
