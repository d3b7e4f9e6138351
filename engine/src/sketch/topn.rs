// SPDX-License-Identifier: Apache-2.0
//! The most frequent values: the space-saving algorithm with more counters than asked for.
//!
//! A value without a counter takes over the smallest one, count included, so that a frequent value is never lost and a
//! count is at most too large. Counters grow to twice the capacity and are then cut back in one go, which costs less
//! than keeping them in order for every row.
use super::codec::{put_bytes, Reader, SketchError};
use std::collections::HashMap;

/// Counters of the most frequent values.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TopN {
    /// How many values are asked for.
    wanted: u64,
    /// How many counters survive a cut.
    capacity: u64,
    /// The largest count that a cut threw away: what a value seen anew may have had.
    floor: u64,
    counts: HashMap<Box<[u8]>, u64, foldhash::fast::FixedState>,
}

impl TopN {
    /// Counters for the `wanted` most frequent values, `expand` times as many.
    pub fn new(wanted: u32, expand: u32) -> Self {
        let capacity = (u64::from(wanted) * u64::from(expand.max(1))).max(1);
        TopN {
            wanted: u64::from(wanted),
            capacity,
            ..TopN::default()
        }
    }

    /// Whether this was made by [`TopN::new`].
    pub fn is_set(&self) -> bool {
        self.capacity > 0
    }

    /// Counts a value `times` times.
    pub fn add(&mut self, value: &[u8], times: u64) {
        if let Some(count) = self.counts.get_mut(value) {
            *count += times;
            return;
        }
        if self.counts.len() as u64 >= self.capacity * 2 {
            self.cut();
        }
        self.counts.insert(value.into(), self.floor + times);
    }

    fn cut(&mut self) {
        let mut counts: Vec<u64> = self.counts.values().copied().collect();
        let keep = (self.capacity as usize).min(counts.len());
        let (_, least, _) = counts.select_nth_unstable_by(keep - 1, |a, b| b.cmp(a));
        let least = *least;
        let mut ties = keep - counts.iter().filter(|count| **count > least).count();
        self.counts.retain(|_, count| {
            let tie = *count == least && ties > 0;
            ties -= usize::from(tie);
            tie || *count > least
        });
        self.floor = self.floor.max(least);
    }

    /// Adds the other's counts.
    pub fn merge(&mut self, other: &TopN) {
        if !self.is_set() {
            *self = other.clone();
            return;
        }
        for (value, count) in &other.counts {
            self.add(value, *count);
        }
        self.floor = self.floor.max(other.floor);
    }

    /// The most frequent values and their counts, most frequent first, equal counts by value.
    pub fn top(&self) -> Vec<(&[u8], u64)> {
        let mut top: Vec<(&[u8], u64)> = self
            .counts
            .iter()
            .map(|(value, count)| (&**value, *count))
            .collect();
        top.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        top.truncate(self.wanted as usize);
        top
    }

    /// The bytes that [`TopN::decode`] reads.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for number in [
            self.wanted,
            self.capacity,
            self.floor,
            self.counts.len() as u64,
        ] {
            out.extend(number.to_le_bytes());
        }
        for (value, count) in &self.counts {
            out.extend(count.to_le_bytes());
            put_bytes(&mut out, value);
        }
        out
    }

    /// Reads counters back.
    pub fn decode(bytes: &[u8]) -> Result<Self, SketchError> {
        let mut reader = Reader::new(bytes);
        let (wanted, capacity, floor) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let count = reader.count(16)?;
        let counts = (0..count)
            .map(|_| {
                let times = reader.u64()?;
                Ok((reader.bytes()?.into(), times))
            })
            .collect::<Result<_, SketchError>>()?;
        reader.end()?;
        Ok(TopN {
            wanted,
            capacity,
            floor,
            counts,
        })
    }
}
