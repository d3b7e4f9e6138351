// SPDX-License-Identifier: Apache-2.0
//! The group table: from keys to dense group numbers.
//!
//! Groups are numbered in the order they are first met; keys and hashes lie in arrays by group number, so that
//! states of aggregates can too. The hash table itself is one array of 64-bit slots, linearly probed:
//! ```text
//! slot:  high 32 bits of the hash | group number + 1        0 = free
//! ```
//! A probe touches a key only when 32 bits of its hash agree. The table doubles when half full; growing re-enters
//! the stored hashes and looks at no key.

use crate::keys::KeyColumn;

/// Stands for "no group" in [`GroupTable::find`].
pub const NO_GROUP: u32 = u32::MAX;

const TAG: u64 = 0xFFFF_FFFF_0000_0000;

/// Keys with their group numbers.
#[derive(Debug)]
pub struct GroupTable<K> {
    keys: K,
    hashes: Vec<u64>,
    slots: Vec<u64>,
}

impl<K: KeyColumn> GroupTable<K> {
    /// A table with room for about `groups` groups.
    pub fn with_capacity(groups: usize) -> Self {
        let slots = (groups * 2).next_power_of_two().max(64);
        Self {
            keys: K::default(),
            hashes: Vec::with_capacity(groups),
            slots: vec![0; slots],
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
        self.keys.memory_bytes() + self.hashes.capacity() * 8 + self.slots.len() * 8
    }

    /// Removes all groups, keeping the memory.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.hashes.clear();
        self.slots.fill(0);
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
