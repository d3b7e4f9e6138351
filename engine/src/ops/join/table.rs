// SPDX-License-Identifier: Apache-2.0
//! The join table: from a key to the build rows that have it.
//!
//! Build rows keep their number; rows with one key form a chain. Where the keys are integers in a dense range,
//! the chain's first row is found by subtraction (each thread enters a part of the range); otherwise by linear probing in one array of slots
//! ```text
//! slot:  low 32 bits of the hash | row number + 1        0 = free
//! ```
//! at the position named by the hash's high bits. The array is cut into regions by those bits, so that several
//! threads fill it, each its own region, within its cache; probing wraps around within a region.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use doris_storage::vector::Vector;

use super::build::Part;
use super::spill::Totals;
use super::Shape;
use crate::error::Result;
use crate::exec::driver::{lock, Driver};
use crate::gather::{memory_bytes, NO_ROW};
use crate::keys::KeyColumn;
use crate::memory::{self, Reservation};

/// The dense array may have so many entries a build row.
const DENSE_SPREAD: u64 = 8;
/// Slots of a region that fits the second-level cache.
const REGION_SLOTS: usize = 64 * 1024;
/// More regions than this cost more than the cache saves.
const REGIONS_MAX: usize = 64;
/// With fewer rows, one thread enters all keys of a dense range.
const SHARED_ROWS_MIN: usize = 64 * 1024;
/// Pieces that rows are cut by region in, for each thread.
const SHARES_PER_THREAD: usize = 2;

/// How a key's first row is found.
enum Lookup {
    /// Every row is in the one chain.
    All,
    /// `heads[key - min]`.
    Dense { min: i64, heads: Vec<u32> },
    /// By hash; `region_mask` covers the slots of one region.
    Hash {
        slots: Vec<u64>,
        shift: u32,
        /// High bits that all hashes share.
        spent: u32,
        region_mask: usize,
    },
}

/// The build side, indexed.
pub struct JoinTable<K> {
    keys: K,
    lookup: Lookup,
    next: Vec<AtomicU32>,
    /// Whether no two rows have the same key.
    unique: bool,
    rows: usize,
    /// Of the whole build side, of which this may be a partition.
    pub totals: Totals,
    /// The build columns that are wanted.
    pub columns: Vec<Option<Arc<Vector>>>,
    met: Vec<AtomicU8>,
    /// Bytes of the runtime filters made of it, which live as long.
    filter_bytes: usize,
    _memory: Option<Reservation>,
}

impl<K: KeyColumn> JoinTable<K> {
    /// The table of all parts, whose columns have been joined.
    pub fn new(
        driver: &Driver,
        shape: &Shape,
        parts: Vec<Part<K>>,
        columns: Vec<Option<Arc<Vector>>>,
        spent: u32,
    ) -> Result<Self> {
        let rows = parts.iter().map(|part| part.rows).sum();
        let has_null_key = parts.iter().any(|part| part.matchable.is_some());
        let mut next = memory::vec(rows)?;
        next.extend((0..rows).map(|_| AtomicU32::new(NO_ROW)));
        let mut table = Self {
            keys: K::default(),
            lookup: Lookup::All,
            next,
            unique: true,
            rows,
            totals: Totals { rows, has_null_key },
            columns,
            met: Vec::new(),
            filter_bytes: 0,
            _memory: None,
        };
        if shape.marks_build() {
            table.met = memory::vec(rows)?;
            table.met.extend((0..rows).map(|_| AtomicU8::new(0)));
        }
        if shape.build_keys.is_empty() {
            table.chain_all();
        } else if let Some(range) = dense_range(&parts, rows) {
            table.index_dense(driver, &parts, range)?;
        } else {
            table.index_hash(driver, parts, spent)?;
        }
        Ok(table)
    }

    /// The table, with the reservation that covers it.
    pub fn holding(mut self, memory: Reservation) -> Self {
        self._memory = Some(memory);
        self
    }

    /// The table, with runtime filters of so many bytes beside it.
    pub fn with_filters(mut self, bytes: usize) -> Self {
        self.filter_bytes = bytes;
        self
    }

    /// Number of build rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether each key has at most one row.
    pub fn is_unique(&self) -> bool {
        self.unique
    }

    /// Whether [`JoinTable::find`] looks at hashes.
    pub fn needs_hashes(&self) -> bool {
        matches!(self.lookup, Lookup::Hash { .. })
    }

    /// Bytes of memory in use, those of its runtime filters among them.
    pub fn memory_bytes(&self) -> usize {
        let lookup = match &self.lookup {
            Lookup::All => 0,
            Lookup::Dense { heads, .. } => heads.len() * 4,
            Lookup::Hash { slots, .. } => slots.len() * 8,
        };
        let columns: usize = self.columns.iter().flatten().map(|c| memory_bytes(c)).sum();
        lookup + columns + self.keys.memory_bytes() + self.rows * 5 + self.filter_bytes
    }

    /// Without keys, every row follows the one before.
    fn chain_all(&mut self) {
        self.unique = self.rows <= 1;
        for row in 1..self.rows {
            self.next[row - 1].store(row as u32, Ordering::Relaxed);
        }
    }

    /// Each thread enters the keys of a part of the range.
    fn index_dense(
        &mut self,
        driver: &Driver,
        parts: &[Part<K>],
        (min, size): (i64, usize),
    ) -> Result<()> {
        let mut heads = memory::vec(size)?;
        heads.resize(size, NO_ROW);
        let share = match self.rows < SHARED_ROWS_MIN {
            true => size,
            false => size.div_ceil(driver.query.threads),
        };
        let (next, keys) = (&self.next, Mutex::new(K::default()));
        let duplicates = AtomicBool::new(false);
        let shares = heads.chunks_mut(share).enumerate();
        let shares = shares.map(|(number, heads)| Some((number * share, heads)));
        let work: Vec<_> = std::iter::once(None).chain(shares).collect();
        driver.for_all(work, &|worker, share| {
            worker.query.check()?;
            match share {
                None => *lock(&keys) = all_keys(parts)?,
                Some((first, heads)) => {
                    let any_duplicate = enter(parts, next, min, first, heads);
                    duplicates.fetch_or(any_duplicate, Ordering::Relaxed);
                }
            }
            Ok(())
        })?;
        self.keys = keys.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.unique = !duplicates.into_inner();
        self.lookup = Lookup::Dense { min, heads };
        Ok(())
    }

    fn index_hash(&mut self, driver: &Driver, parts: Vec<Part<K>>, spent: u32) -> Result<()> {
        let size = (self.rows * 2).next_power_of_two().max(64);
        let regions = (size / REGION_SLOTS)
            .clamp(1, REGIONS_MAX)
            .next_power_of_two();
        let shift = 64 - size.trailing_zeros();
        let region_slots = size / regions;
        let region_shift = region_slots.trailing_zeros();
        let region_of = |hash| slot_of(hash, spent, shift) >> region_shift;
        let (keys, cut) = cut_by_region(driver, &parts, regions, &region_of)?;
        drop(parts);
        self.keys = keys;
        memory::foresee(size * size_of::<u64>())?;
        let mut slots = vec![0u64; size];
        let duplicates = AtomicBool::new(false);
        let (keys, next) = (&self.keys, &self.next);
        let work: Vec<(Vec<Entries>, &mut [u64])> = cut
            .into_iter()
            .zip(slots.chunks_mut(region_slots))
            .collect();
        driver.for_all(work, &|worker, (pieces, slots)| {
            worker.query.check()?;
            let mut any_duplicate = false;
            // Backwards, so that chains run forwards.
            for (hash, row) in pieces.into_iter().rev().flat_map(|p| p.into_iter().rev()) {
                let at = slot_of(hash, spent, shift) & (region_slots - 1);
                any_duplicate |= insert(keys, next, slots, at, row as usize, hash);
            }
            duplicates.fetch_or(any_duplicate, Ordering::Relaxed);
            Ok(())
        })?;
        self.unique = !duplicates.into_inner();
        self.lookup = Lookup::Hash {
            slots,
            shift,
            spent,
            region_mask: region_slots - 1,
        };
        Ok(())
    }

    /// The first build row of each key of `probe`, [`NO_ROW`] for none; replaces `heads`. Rows that can't match
    /// are the caller's to ignore.
    pub fn find(&self, probe: &K, hashes: &[u64], rows: usize, heads: &mut Vec<u32>) {
        heads.clear();
        match &self.lookup {
            Lookup::All => heads.resize(rows, if self.rows > 0 { 0 } else { NO_ROW }),
            Lookup::Dense { min, heads: by_key } => heads.extend((0..rows).map(|row| {
                let key = probe.word(row).unwrap_or_default() as i64;
                by_key
                    .get(key.wrapping_sub(*min) as usize)
                    .copied()
                    .unwrap_or(NO_ROW)
            })),
            Lookup::Hash {
                slots,
                shift,
                spent,
                region_mask,
            } => {
                // In steps over the whole batch, so that cache misses overlap: first all slots, then the keys
                // they lead to, looked at without a branch; what is neither free nor found goes on alone.
                if self.rows == 0 {
                    return heads.resize(rows, NO_ROW);
                }
                let first = |hash: &u64| slots[slot_of(*hash, *spent, *shift)];
                let firsts: Vec<u64> = hashes.iter().map(first).collect();
                let last = self.rows - 1;
                let head = |slot: u64| (slot as u32).wrapping_sub(1);
                let key_matches = |(row, &slot): (usize, &u64)| {
                    self.keys
                        .equals((head(slot) as usize).min(last), probe, row)
                };
                let matches: Vec<bool> = firsts.iter().enumerate().map(key_matches).collect();
                heads.extend(hashes.iter().enumerate().map(|(row, &hash)| {
                    let slot = firsts[row];
                    if slot == 0 || matches[row] {
                        return head(slot);
                    }
                    let at = slot_of(hash, *spent, *shift);
                    self.resolve(probe, row, hash, slot, (slots, at, *region_mask))
                }));
            }
        }
    }

    #[inline]
    fn resolve(
        &self,
        probe: &K,
        row: usize,
        hash: u64,
        mut slot: u64,
        (slots, mut at, mask): (&[u64], usize, usize),
    ) -> u32 {
        loop {
            if slot == 0 {
                return NO_ROW;
            }
            let found = slot as u32 - 1;
            if slot >> 32 == hash & 0xFFFF_FFFF && self.keys.equals(found as usize, probe, row) {
                return found;
            }
            at = at & !mask | (at + 1) & mask;
            slot = slots[at];
        }
    }

    /// The next build row with the same key.
    #[inline]
    pub fn next(&self, row: u32) -> u32 {
        self.next[row as usize].load(Ordering::Relaxed)
    }

    /// Marks a build row as met.
    #[inline]
    pub fn mark(&self, row: u32) {
        let met = &self.met[row as usize];
        if met.load(Ordering::Relaxed) == 0 {
            met.store(1, Ordering::Relaxed);
        }
    }

    /// Whether a build row was met.
    pub fn is_met(&self, row: u32) -> bool {
        self.met[row as usize].load(Ordering::Relaxed) != 0
    }
}

/// Where a hash belongs in a table of `2^(64 - shift)` slots; its first `spent` bits are every other's too.
#[inline]
fn slot_of(hash: u64, spent: u32, shift: u32) -> usize {
    (hash << spent >> shift) as usize
}

/// Least key and size of the range, when the keys are integers that fill it well.
fn dense_range<K>(parts: &[Part<K>], rows: usize) -> Option<(i64, usize)> {
    let (mut min, mut max) = (i64::MAX, i64::MIN);
    for part in parts {
        let (least, greatest) = part.range?;
        (min, max) = (min.min(least), max.max(greatest));
    }
    let span = max.checked_sub(min)? as u64;
    let wide = span >= (rows as u64).saturating_mul(DENSE_SPREAD).max(1024);
    (min <= max && !wide).then_some((min, span as usize + 1))
}

/// The keys of all parts, end to end.
fn all_keys<K: KeyColumn>(parts: &[Part<K>]) -> Result<K> {
    let mut keys = K::default();
    keys.make_room(parts.iter().map(|part| &part.keys))?;
    parts.iter().for_each(|part| keys.append(&part.keys));
    Ok(keys)
}

/// Enters the rows whose keys belong to `heads`, the entries from `first` on; true when two have the same key.
fn enter<K: KeyColumn>(
    parts: &[Part<K>],
    next: &[AtomicU32],
    min: i64,
    first: usize,
    heads: &mut [u32],
) -> bool {
    let at = |key: i64| (key.wrapping_sub(min) as usize).wrapping_sub(first);
    let (mut row, mut any_duplicate) = (next.len(), false);
    // Backwards, so that chains run forwards.
    for part in parts.iter().rev() {
        row -= part.rows;
        let last = min.wrapping_add((first + heads.len() - 1) as i64);
        let from = min.wrapping_add(first as i64);
        if part
            .range
            .is_none_or(|(least, greatest)| greatest < from || least > last)
        {
            continue;
        }
        for number in (0..part.rows).rev() {
            if part.matchable.as_ref().is_some_and(|can| !can.get(number)) {
                continue;
            }
            let key = part.keys.word(number).unwrap_or_default() as i64;
            let Some(head) = heads.get_mut(at(key)) else {
                continue;
            };
            if *head != NO_ROW {
                next[row + number].store(*head, Ordering::Relaxed);
                any_duplicate = true;
            }
            *head = (row + number) as u32;
        }
    }
    any_duplicate
}

/// Hashes with their rows, which ascend.
type Entries = Vec<(u64, u32)>;

/// All keys, and for each region the rows that have a hash there, in pieces.
fn cut_by_region<K: KeyColumn>(
    driver: &Driver,
    parts: &[Part<K>],
    regions: usize,
    region_of: &(impl Fn(u64) -> usize + Sync),
) -> Result<(K, Vec<Vec<Entries>>)> {
    let share = parts
        .len()
        .div_ceil(driver.query.threads * SHARES_PER_THREAD);
    let mut first = 0;
    let shares = parts
        .chunks(share.max(1))
        .enumerate()
        .map(|(number, parts)| {
            let from = first;
            first += parts.iter().map(|part| part.rows).sum::<usize>();
            Some((number, from, parts))
        });
    let work: Vec<_> = std::iter::once(None).chain(shares).collect();
    let keys = Mutex::new(K::default());
    let cut = Mutex::new(vec![Vec::new(); work.len() - 1]);
    driver.for_all(work, &|worker, share| {
        worker.query.check()?;
        match share {
            None => *lock(&keys) = all_keys(parts)?,
            Some((number, from, parts)) => {
                let entries = entries_by_region(parts, from, regions, region_of);
                lock(&cut)[number] = entries;
            }
        }
        Ok(())
    })?;
    let cut = cut.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut by_region: Vec<Vec<Entries>> = (0..regions).map(|_| Vec::new()).collect();
    for entries in cut {
        for (region, entries) in by_region.iter_mut().zip(entries) {
            region.push(entries);
        }
    }
    Ok((
        keys.into_inner().unwrap_or_else(PoisonError::into_inner),
        by_region,
    ))
}

/// The rows of some parts that have a hash, in order, for each region; `row` is the first row's number.
fn entries_by_region<K>(
    parts: &[Part<K>],
    mut row: usize,
    regions: usize,
    region_of: &impl Fn(u64) -> usize,
) -> Vec<Entries> {
    let rows: usize = parts.iter().map(|part| part.rows).sum();
    let room = match regions {
        1 => rows,
        _ => rows / regions + rows / regions / 8,
    };
    let mut entries: Vec<Entries> = (0..regions).map(|_| memory::room(room)).collect();
    for part in parts {
        for (number, &hash) in part.hashes.iter().enumerate() {
            if part.matchable.as_ref().is_none_or(|can| can.get(number)) {
                entries[region_of(hash)].push((hash, (row + number) as u32));
            }
        }
        row += part.rows;
    }
    entries
}

/// Enters a row into a region; true when its key was there already.
#[inline]
fn insert<K: KeyColumn>(
    keys: &K,
    next: &[AtomicU32],
    slots: &mut [u64],
    mut at: usize,
    row: usize,
    hash: u64,
) -> bool {
    let entry = hash << 32 | (row as u64 + 1);
    loop {
        let slot = slots[at];
        if slot == 0 {
            slots[at] = entry;
            return false;
        }
        let head = slot as u32 - 1;
        if slot >> 32 == hash & 0xFFFF_FFFF && keys.equals(head as usize, keys, row) {
            next[row].store(head, Ordering::Relaxed);
            slots[at] = entry;
            return true;
        }
        at = (at + 1) & (slots.len() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::slot_of;
    use crate::hash::hash_word;

    #[test]
    fn hashes_of_one_partition_spread_over_the_table() {
        let of_partition = |hash: &u64| hash >> 57 == 5;
        let hashes = (0..100_000).map(hash_word).filter(of_partition);
        let mut slots: Vec<usize> = hashes.map(|hash| slot_of(hash, 7, 64 - 11)).collect();
        let rows = slots.len();
        slots.sort_unstable();
        slots.dedup();
        assert!(rows > 500 && slots.len() > rows * 3 / 4);
    }
}
