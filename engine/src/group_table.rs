// SPDX-License-Identifier: Apache-2.0
//! The group table: from keys to dense group numbers.
//!
//! Groups are numbered in the order they are first met; keys and hashes lie in arrays by group number, so that
//! states of aggregates can too. The hash table itself is one array of 64-bit slots, linearly probed:
//! ```text
//! slot:  high 32 bits of the hash | group number + 1        0 = free
//! ```
//! A probe touches a key only when 32 bits of its hash agree. The table doubles when half full; growing re-enters
//! the stored hashes and looks at no key. Integer keys that lie close together also have an array from the key's
//! distance to the least one to its group, which takes no hash.

use crate::keys::KeyColumn;

/// Stands for "no group" in [`GroupTable::find`].
pub const NO_GROUP: u32 = u32::MAX;

const TAG: u64 = 0xFFFF_FFFF_0000_0000;

/// The array by key has at most so many entries (a megabyte) ...
const NEAR_MAX: u64 = 256 * 1024;
/// ... and so many for each row that was looked up, beyond the first few.
const NEAR_PER_ROW: u64 = 8;
const NEAR_FREE: u64 = 4096;

/// Keys with their group numbers.
#[derive(Debug)]
pub struct GroupTable<K> {
    keys: K,
    hashes: Vec<u64>,
    slots: Vec<u64>,
    near: Near,
}

/// Groups by key: `groups[key - min]`.
#[derive(Debug, Default)]
struct Near {
    min: i64,
    groups: Vec<u32>,
    /// Keys were too far apart.
    given_up: bool,
}

impl Near {
    fn holds(&self, least: i64, greatest: i64) -> bool {
        let size = self.groups.len() as u64;
        least >= self.min && (greatest.wrapping_sub(self.min) as u64) < size
    }

    /// The least key and size of an array that holds keys from `least` to `greatest` and what this one does.
    fn wider(&self, least: i64, greatest: i64, size_max: u64) -> Option<(i64, usize)> {
        let (mut min, mut max) = (least, greatest);
        if !self.groups.is_empty() {
            min = min.min(self.min);
            max = max.max(self.min.saturating_add(self.groups.len() as i64 - 1));
        }
        let size = (max.checked_sub(min)? as u64).checked_add(1)?;
        // Doubling keeps the copies few where keys ascend.
        let roomy = size.max(2 * self.groups.len() as u64).min(size_max);
        (size <= size_max).then_some((min, roomy as usize))
    }
}

impl<K: KeyColumn> GroupTable<K> {
    /// A table with room for about `groups` groups.
    pub fn with_capacity(groups: usize) -> Self {
        let slots = (groups * 2).next_power_of_two().max(64);
        Self {
            keys: K::default(),
            hashes: Vec::with_capacity(groups),
            slots: vec![0; slots],
            near: Near::default(),
        }
    }

    /// Number of groups.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether there are no groups.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// The keys by group number.
    pub fn keys(&self) -> &K {
        &self.keys
    }

    /// The hashes by group number.
    pub fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// Bytes of memory in use.
    pub fn memory_bytes(&self) -> usize {
        self.keys.memory_bytes()
            + self.hashes.capacity() * 8
            + self.slots.len() * 8
            + self.near.groups.capacity() * 4
    }

    /// Removes all groups, keeping the memory.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.hashes.clear();
        self.slots.fill(0);
        self.near.groups.clear();
        self.near.given_up = false;
    }

    /// [`GroupTable::find_or_insert`] of all of `batch` without hashes, where the keys are integers that lie close
    /// together; false, and nothing done, where not. `rows_before`: rows looked up before.
    pub fn find_or_insert_near(
        &mut self,
        batch: &K,
        rows_before: usize,
        groups: &mut Vec<u32>,
    ) -> bool {
        let rows = batch.len();
        if self.near.given_up || rows == 0 || batch.word(0).is_none() {
            return false;
        }
        let word = |row: usize| batch.word(row).unwrap_or_default() as i64;
        let (least, greatest) = (0..rows)
            .map(word)
            .fold((i64::MAX, i64::MIN), |(lo, hi), key| {
                (lo.min(key), hi.max(key))
            });
        if !self.near.holds(least, greatest) {
            let rows = (rows_before + rows) as u64;
            let size_max = NEAR_MAX.min(NEAR_FREE.max(rows.saturating_mul(NEAR_PER_ROW)));
            let Some((min, size)) = self.near.wider(least, greatest, size_max) else {
                self.near.given_up = self.near.wider(least, greatest, NEAR_MAX).is_none();
                return false;
            };
            self.make_near(min, size);
        }
        let at = |row: usize| word(row).wrapping_sub(self.near.min) as usize;
        groups.clear();
        groups.extend((0..rows).map(|row| self.near.groups[at(row)]));
        if groups.contains(&NO_GROUP) {
            self.insert_near(batch, groups);
        }
        true
    }

    /// Finds the groups that the array by key does not name, and lets it name them.
    fn insert_near(&mut self, batch: &K, groups: &mut [u32]) {
        for (row, group) in groups.iter_mut().enumerate() {
            if *group != NO_GROUP {
                continue;
            }
            let key = batch.word(row).unwrap_or_default() as i64;
            let at = key.wrapping_sub(self.near.min) as usize;
            // A row before it may have had the same key.
            if self.near.groups[at] == NO_GROUP {
                self.near.groups[at] = self.find_or_insert_one(batch, row, batch.hash(row));
            }
            *group = self.near.groups[at];
        }
    }

    fn make_near(&mut self, min: i64, size: usize) {
        self.near.min = min;
        self.near.groups.clear();
        self.near.groups.resize(size, NO_GROUP);
        for group in 0..self.keys.len() {
            let key = self.keys.word(group).unwrap_or_default() as i64;
            // A key that came in by its hash alone may be out of reach.
            if let Some(entry) = self.near.groups.get_mut(key.wrapping_sub(min) as usize) {
                *entry = group as u32;
            }
        }
    }

    /// The groups of the keys `from..to` of `batch`, new ones made where needed; replaces `groups`.
    /// `hashes` are those of the keys `from..to`.
    pub fn find_or_insert(
        &mut self,
        batch: &K,
        from: usize,
        hashes: &[u64],
        groups: &mut Vec<u32>,
    ) {
        groups.clear();
        groups.reserve(hashes.len());
        // Runs of one key, as a table sorted by it has, cost one comparison a row.
        let mut last = NO_GROUP;
        for (i, &hash) in hashes.iter().enumerate() {
            let row = from + i;
            if last != NO_GROUP
                && hash == self.hashes[last as usize]
                && self.keys.equals(last as usize, batch, row)
            {
                groups.push(last);
                continue;
            }
            last = self.find_or_insert_one(batch, row, hash);
            groups.push(last);
        }
    }

    #[inline]
    fn find_or_insert_one(&mut self, batch: &K, row: usize, hash: u64) -> u32 {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return self.insert(batch, row, hash, at);
            }
            if (slot ^ hash) & TAG == 0 {
                let group = slot as u32 - 1;
                if self.keys.equals(group as usize, batch, row) {
                    return group;
                }
            }
            at = (at + 1) & mask;
        }
    }

    fn insert(&mut self, batch: &K, row: usize, hash: u64, at: usize) -> u32 {
        let group = self.hashes.len() as u32;
        self.keys.push_from(batch, row);
        self.hashes.push(hash);
        self.slots[at] = hash & TAG | u64::from(group + 1);
        if self.hashes.len() * 2 > self.slots.len() {
            self.grow();
        }
        group
    }

    fn grow(&mut self) {
        let size = self.slots.len() * 2;
        self.slots.clear();
        self.slots.resize(size, 0);
        for (group, &hash) in self.hashes.iter().enumerate() {
            let mut at = hash as usize & (size - 1);
            while self.slots[at] != 0 {
                at = (at + 1) & (size - 1);
            }
            self.slots[at] = hash & TAG | (group as u64 + 1);
        }
    }

    /// Makes every key of `batch` a group of its own, without looking whether it has one; replaces `groups`.
    /// The table answers no lookups from then on, until it is cleared.
    pub fn append_unindexed(&mut self, batch: &K, hashes: &[u64], groups: &mut Vec<u32>) {
        let start = self.hashes.len() as u32;
        groups.clear();
        groups.extend(start..start + hashes.len() as u32);
        self.keys.append(batch);
        self.hashes.extend_from_slice(hashes);
    }

    /// The groups of the keys of `batch`, [`NO_GROUP`] for those not in the table; replaces `groups`.
    pub fn find(&self, batch: &K, hashes: &[u64], groups: &mut Vec<u32>) {
        groups.clear();
        groups.extend(
            hashes
                .iter()
                .enumerate()
                .map(|(row, &hash)| self.find_one(batch, row, hash)),
        );
    }

    #[inline]
    fn find_one(&self, batch: &K, row: usize, hash: u64) -> u32 {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return NO_GROUP;
            }
            if (slot ^ hash) & TAG == 0 && self.keys.equals(slot as u32 as usize - 1, batch, row) {
                return slot as u32 - 1;
            }
            at = (at + 1) & mask;
        }
    }
}

/// The hashes of all keys; replaces `hashes`.
pub fn hash_all<K: KeyColumn>(keys: &K, hashes: &mut Vec<u64>) {
    hashes.clear();
    hashes.extend((0..keys.len()).map(|i| keys.hash(i)));
}
