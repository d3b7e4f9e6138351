// SPDX-License-Identifier: Apache-2.0
//! Approximate distinct counts: a HyperLogLog a group, with the hashes of `ndv` or of `hll_hash`.
//!
//! The registers of some dozens of groups do not fit a core's cache, and each row would wait for its own. So where there
//! are as many, a group's values wait until there are some for each line of its registers.

use std::borrow::Cow;
use std::sync::Arc;

use doris_storage::vector::{Bitmap, BytesColumn, Values, Vector};

use super::{each_valid, required, wrong_layout, Accumulator, Groups};
use crate::error::{Error, Result};
use crate::plan::ApproxHash;
use crate::sketch::hash::finish_64;
use crate::sketch::number_hash::hash_texts;
use crate::sketch::Hll;

/// Bytes of a count that has seen many values, roughly.
const HLL_BYTES: usize = 16 * 1024;

/// Registers of so many bytes in all are raised value by value.
const NEAR_BYTES: usize = 512 * 1024;
/// Values of a group that wait.
const WAITING: usize = 512;
/// In place of a group's end among the waiting values: it has no room there.
const NO_ROOM: usize = usize::MAX;

/// The counts of all groups.
pub struct Approx {
    hash: ApproxHash,
    counts: Vec<Hll>,
    /// Groups that have registers.
    dense: usize,
    waiting: Waiting,
    /// Hashes of a batch, and what they raise.
    hashes: Vec<u64>,
    places: Vec<u32>,
    entries: Entries,
}

/// Places in the registers of groups that are still to be raised: [`WAITING`] for each group that has room.
#[derive(Default)]
struct Waiting {
    places: Vec<u32>,
    /// For each group: where its next place goes, a multiple of [`WAITING`] when none waits.
    ends: Vec<usize>,
}

impl Waiting {
    /// The places of a group that wait.
    fn of(&self, group: usize) -> &[u32] {
        match self.ends[group] {
            NO_ROOM => &[],
            end => &self.places[end - end % WAITING..end],
        }
    }

    /// Makes room for a group that has none.
    fn make_room(&mut self, group: usize) {
        self.ends[group] = self.places.len();
        self.places.resize(self.places.len() + WAITING, 0);
    }

    /// Lets a place of a group wait; false where it has no room.
    #[inline(always)]
    fn push(&mut self, counts: &mut [Hll], group: usize, place: u32) -> bool {
        let end = &mut self.ends[group];
        // This is where one without room is told, too.
        let Some(free) = self.places.get_mut(*end) else {
            return false;
        };
        *free = place;
        *end += 1;
        if end.is_multiple_of(WAITING) {
            self.raise(&mut counts[group], group);
        }
        true
    }

    /// Raises the registers of a group whose room is full.
    #[inline(never)]
    fn raise(&mut self, count: &mut Hll, group: usize) {
        let end = &mut self.ends[group];
        let start = *end - WAITING;
        count.add_places(&self.places[start..*end]);
        *end = start;
    }
}

/// The hashes of a dictionary's entries, once as many rows of it were seen.
#[derive(Default)]
struct Entries {
    dict: Arc<BytesColumn>,
    rows: usize,
    hashes: Vec<u64>,
}

impl Entries {
    /// Appends the hashes of some rows; those of NULLs, whose codes may be anything, are anything.
    fn hash(&mut self, dict: &Arc<BytesColumn>, codes: &[u32], hashes: &mut Vec<u64>) {
        if !Arc::ptr_eq(&self.dict, dict) {
            (self.dict, self.rows) = (Arc::clone(dict), 0);
            self.hashes.clear();
        }
        self.rows += codes.len();
        if self.hashes.is_empty() && self.rows >= dict.len() {
            self.hashes.extend(dict.iter().map(Hll::hash));
        }
        let known = |code: usize| self.hashes.get(code).copied();
        let of_entry = |code: usize| match code < dict.len() {
            true => Hll::hash(dict.get(code)),
            false => 0,
        };
        let codes = codes.iter().map(|&code| code as usize);
        match self.hashes.is_empty() {
            true => hashes.extend(codes.map(of_entry)),
            false => hashes.extend(codes.map(|code| known(code).unwrap_or(0))),
        }
    }
}

impl Approx {
    /// No groups yet.
    pub fn new(hash: ApproxHash) -> Self {
        Self {
            hash,
            counts: Vec::new(),
            dense: 0,
            waiting: Waiting::default(),
            hashes: Vec::new(),
            places: Vec::new(),
            entries: Entries::default(),
        }
    }

    /// A group's count, with the values that wait.
    fn count(&self, group: usize) -> Cow<'_, Hll> {
        let (count, waiting) = (&self.counts[group], self.waiting.of(group));
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
            (ApproxHash::Value, Values::I16(v)) => hash_words(v, hashes),
            (ApproxHash::Value, Values::I32(v)) => hash_words(v, hashes),
            (ApproxHash::Value, Values::I64(v)) => hash_words(v, hashes),
            (ApproxHash::Text, Values::I16(v)) => hash_texts(v, hashes),
            (ApproxHash::Text, Values::I32(v)) => hash_texts(v, hashes),
            (ApproxHash::Text, Values::I64(v)) => hash_texts(v, hashes),
            // Text is hashed alike in both ways.
            (_, Values::Bytes(v)) => hashes.extend(v.iter().map(Hll::hash)),
            (_, Values::Dict { codes, dict }) => self.entries.hash(dict, codes, hashes),
            _ => return Err(wrong_layout()),
        }
        Ok(())
    }

    /// Counts the hashed rows one by one.
    fn add(&mut self, groups: Groups<'_>, valid: Option<&Bitmap>) {
        let (counts, hashes, mut dense) = (&mut self.counts, &self.hashes, self.dense);
        each_valid(groups, valid, |group, row| {
            let count = &mut counts[group];
            let was_dense = count.is_dense();
            count.add_hash(hashes[row]);
            dense += usize::from(!was_dense && count.is_dense());
        });
        self.dense = dense;
    }

    /// Counts the hashed rows, or lets them wait where their groups have registers.
    fn add_later(&mut self, groups: Groups<'_>, valid: Option<&Bitmap>) {
        self.places.clear();
        self.places
            .extend(self.hashes.iter().map(|&h| Hll::place(h)));
        let (places, hashes) = (&self.places, &self.hashes);
        let (counts, waiting, dense) = (&mut self.counts, &mut self.waiting, &mut self.dense);
        each_valid(groups, valid, |group, row| {
            if !waiting.push(counts, group, places[row]) {
                add_without_room(counts, waiting, dense, group, hashes[row]);
            }
        });
    }
}

/// Counts a row of a group that has no room for waiting values, and makes some once it has registers.
#[inline(never)]
fn add_without_room(
    counts: &mut [Hll],
    waiting: &mut Waiting,
    dense: &mut usize,
    group: usize,
    hash: u64,
) {
    let count = &mut counts[group];
    if !count.is_dense() {
        count.add_hash(hash);
        *dense += usize::from(count.is_dense());
        return;
    }
    waiting.make_room(group);
    waiting.push(counts, group, Hll::place(hash));
}

fn hash_words<T: Copy + Into<i64>>(numbers: &[T], hashes: &mut Vec<u64>) {
    hashes.extend(numbers.iter().map(|&n| finish_64(n.into() as u64)));
}

impl Accumulator for Approx {
    fn resize(&mut self, groups: usize) {
        self.counts.resize_with(groups, Hll::default);
        self.waiting.ends.resize(groups, NO_ROOM);
    }

    fn update(&mut self, groups: Groups<'_>, argument: Option<&Vector>) -> Result<()> {
        let argument = required(argument)?;
        self.hash(argument)?;
        let valid = argument.validity.as_ref();
        match self.dense * HLL_BYTES <= NEAR_BYTES {
            true => self.add(groups, valid),
            false => self.add_later(groups, valid),
        }
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
        self.waiting = Waiting::default();
        self.dense = 0;
    }

    fn memory_bytes(&self) -> usize {
        const GROUP_BYTES: usize = size_of::<Hll>() + size_of::<usize>();
        let waiting = self.waiting.places.capacity() * 4;
        self.counts.capacity() * GROUP_BYTES + self.dense * HLL_BYTES + waiting
    }
}
