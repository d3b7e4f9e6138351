// SPDX-License-Identifier: Apache-2.0
//! Runtime filters: what one side of a join knows about the other side's keys, and what a sort of which the first rows
//! are wanted knows about the rest.
//!
//! A filter holds some of: the least and greatest key, a short list of the keys, a bit for each number between the
//! least and the greatest, a Bloom filter of them. All may let a row through that has no partner; none drops a row
//! that has one. NULL never passes (but where a sort's bound lets it).
//! The Bloom filter is blocked to one 64-bit word a key with three bits set (Putze, Sanders, Singler:
//! "Cache-, Hash- and Space-Efficient Bloom Filters", 2007): one cache miss a row at worst.

mod bound;

use std::sync::Arc;

use doris_storage::vector::{Values, Vector};

pub use self::bound::SortBound;
use crate::batch::Selection;
use crate::expr::filter::select_all;
use crate::hash::{hash_bytes, hash_word};

/// At most this many keys are listed one by one.
const LIST_MAX: usize = 64;
/// Up to so many numbers from the least to the greatest key get a bit each (half a megabyte), or so many for each
/// key ...
const BITS_MAX: u64 = 1 << 22;
const BITS_MAX_PER_KEY: u64 = 64;
/// ... but never more than this: 8 MiB.
const BITS_LIMIT: u64 = 1 << 26;
/// Bits a key in the Bloom filter.
const BITS_PER_KEY: usize = 16;

/// What is known of the keys on the other side of a join.
#[derive(Clone, Debug, Default)]
pub struct RuntimeFilter {
    /// Least and greatest key, of integer-like columns.
    pub range: Option<(i64, i64)>,
    /// All keys in ascending order, when they are few; of integer-like columns.
    pub list: Option<Vec<i64>>,
    /// A bit for each number of `range`.
    bits: Option<Vec<u64>>,
    bloom: Option<Bloom>,
    /// Of a sort, instead of all others.
    bound: Option<Arc<SortBound>>,
}

/// A blocked Bloom filter over 64-bit hashes.
#[derive(Clone, Debug)]
struct Bloom {
    words: Vec<u64>,
    shift: u32,
}

impl Bloom {
    fn with_capacity(keys: usize) -> Self {
        let words = (keys * BITS_PER_KEY / 64).next_power_of_two().max(2);
        Self {
            words: vec![0; words],
            shift: 64 - words.trailing_zeros(),
        }
    }

    #[inline]
    fn bits(hash: u64) -> u64 {
        1 << (hash & 63) | 1 << (hash >> 6 & 63) | 1 << (hash >> 12 & 63)
    }

    #[inline]
    fn insert(&mut self, hash: u64) {
        self.words[(hash >> self.shift) as usize] |= Self::bits(hash);
    }

    #[inline]
    fn may_contain(&self, hash: u64) -> bool {
        let bits = Self::bits(hash);
        self.words[(hash >> self.shift) as usize] & bits == bits
    }
}

fn widen(value: impl Into<i64>) -> i64 {
    value.into()
}

/// Runs `body` on the values of an integer-like vector.
macro_rules! each_integer {
    ($vector:expr, $v:ident => $body:expr, else $other:expr) => {
        match &$vector.values {
            Values::I16($v) => $body,
            Values::I32($v) => $body,
            Values::I64($v) => $body,
            _ => $other,
        }
    };
}

impl RuntimeFilter {
    /// The filter of the keys in `keys` (NULLs left out). `bloom_rows_max`: no Bloom filter beyond so many keys.
    pub fn of_keys(keys: &Vector, bloom_rows_max: usize) -> Self {
        let valid = |i: &usize| !keys.is_null(*i);
        let mut filter = RuntimeFilter::default();
        each_integer!(keys, v => {
            let values = (0..v.len()).filter(valid).map(|i| widen(v[i]));
            filter.range = Some(values.clone().fold((i64::MAX, i64::MIN), |(min, max), x| (min.min(x), max.max(x))));
            filter.list = short_list(values.clone());
            filter.bits = filter.bits(values.clone(), keys.len());
            if filter.list.is_none() && filter.bits.is_none() && keys.len() <= bloom_rows_max {
                let mut bloom = Bloom::with_capacity(keys.len());
                values.for_each(|x| bloom.insert(hash_word(x as u64)));
                filter.bloom = Some(bloom);
            }
        }, else {
            if matches!(keys.values, Values::Bytes(_) | Values::Dict { .. }) && keys.len() <= bloom_rows_max {
                let mut bloom = Bloom::with_capacity(keys.len());
                (0..keys.len()).filter(valid).filter_map(|i| keys.bytes(i)).for_each(|b| bloom.insert(hash_bytes(b)));
                filter.bloom = Some(bloom);
            }
        });
        filter
    }

    /// The filter of a sort's first key.
    pub fn of_sort(bound: Arc<SortBound>) -> Self {
        Self {
            bound: Some(bound),
            ..Self::default()
        }
    }

    /// Bytes of memory in use.
    pub fn memory_bytes(&self) -> usize {
        let list = self.list.as_ref().map_or(0, Vec::len);
        let bits = self.bits.as_ref().map_or(0, Vec::len);
        let bloom = self.bloom.as_ref().map_or(0, |bloom| bloom.words.len());
        size_of::<Self>() + (list + bits + bloom) * size_of::<u64>()
    }

    /// The sort's bound, if the filter is one.
    pub fn bound(&self) -> Option<&SortBound> {
        self.bound.as_deref()
    }

    /// Whether rows with a NULL pass.
    pub fn passes_nulls(&self) -> bool {
        self.bound().is_some_and(SortBound::passes_nulls)
    }

    /// Whether the filter can drop anything at all.
    pub fn is_useful(&self) -> bool {
        self.range.is_some() || self.list.is_some() || self.bloom.is_some() || self.bound.is_some()
    }

    /// Whether some key lies in `min ..= max`; what a source asks about a block of rows.
    pub fn may_match_range(&self, min: i64, max: i64) -> bool {
        if let Some(bound) = self.bound() {
            let (low, high) = bound.range();
            return low <= max && min <= high;
        }
        if let Some(list) = &self.list {
            let first = list.partition_point(|&key| key < min);
            return list.get(first).is_some_and(|&key| key <= max);
        }
        self.range
            .is_none_or(|(low, high)| low <= max && min <= high)
    }

    /// The keys as bits, where that is small.
    fn bits(&self, values: impl Iterator<Item = i64>, keys: usize) -> Option<Vec<u64>> {
        let (min, max) = self.range?;
        let span = max
            .checked_sub(min)
            .and_then(|span| u64::try_from(span).ok())?;
        let small = BITS_MAX.max(BITS_MAX_PER_KEY.saturating_mul(keys as u64));
        if span >= small.min(BITS_LIMIT) {
            return None;
        }
        let mut bits = vec![0u64; (span >> 6) as usize + 1];
        for value in values {
            let at = value.wrapping_sub(min) as u64;
            bits[(at >> 6) as usize] |= 1 << (at & 63);
        }
        Some(bits)
    }

    /// The rows of `selection` that may have a partner, by their values in `column`.
    pub fn apply(&self, column: &Vector, selection: Selection) -> Selection {
        if let Some(bound) = self.bound() {
            return within(bound, column, selection);
        }
        each_integer!(column, v => {
            let kept = self.apply_integers(v, selection);
            match &column.validity {
                None => kept,
                Some(valid) => retain_rows(kept, |row| valid.get(row)),
            }
        }, else {
            let (Some(bloom), Values::Bytes(_) | Values::Dict { .. }) = (&self.bloom, &column.values) else {
                return selection;
            };
            retain_rows(selection, |row| !column.is_null(row) && column.bytes(row).is_some_and(|b| bloom.may_contain(hash_bytes(b))))
        })
    }

    /// [`RuntimeFilter::apply`] by values, whatever they are worth in rows that are NULL.
    fn apply_integers<T: Copy + Into<i64>>(&self, values: &[T], selection: Selection) -> Selection {
        let (min, max) = self.range.unwrap_or((i64::MIN, i64::MAX));
        if min > max {
            return Selection::Indices(Vec::new());
        }
        let span = max.wrapping_sub(min) as u64;
        let offset = |x: i64| x.wrapping_sub(min) as u64;
        if let Some(bits) = &self.bits {
            let last = bits.len() - 1;
            return retain_values(values, selection, |x| {
                let at = offset(x);
                let word = bits[((at >> 6) as usize).min(last)];
                (at <= span) & (word >> (at & 63) & 1 != 0)
            });
        }
        if let Some(list) = &self.list {
            return retain_values(values, selection, |x| {
                offset(x) <= span && list.binary_search(&x).is_ok()
            });
        }
        match &self.bloom {
            Some(bloom) => retain_values(values, selection, |x| {
                (offset(x) <= span) & bloom.may_contain(hash_word(x as u64))
            }),
            None => retain_values(values, selection, |x| offset(x) <= span),
        }
    }
}

/// The rows of `selection` that a sort's bound leaves in.
fn within(bound: &SortBound, column: &Vector, selection: Selection) -> Selection {
    if !bound.is_set() {
        return selection;
    }
    let (low, high) = bound.range();
    let within = |x: i64| (low <= x) & (x <= high);
    each_integer!(column, v => {
        let Some(valid) = &column.validity else {
            return retain_values(v, selection, within);
        };
        let nulls = bound.passes_nulls();
        retain_rows(selection, |row| if valid.get(row) { within(widen(v[row])) } else { nulls })
    }, else selection)
}

/// The distinct values in order, when there are at most [`LIST_MAX`].
fn short_list(values: impl Iterator<Item = i64>) -> Option<Vec<i64>> {
    let mut list: Vec<i64> = Vec::with_capacity(LIST_MAX + 1);
    for value in values {
        if let Err(at) = list.binary_search(&value) {
            if list.len() == LIST_MAX {
                return None;
            }
            list.insert(at, value);
        }
    }
    Some(list)
}

/// Keeps the rows whose value passes.
#[inline(always)]
fn retain_values<T: Copy + Into<i64>>(
    values: &[T],
    selection: Selection,
    keep: impl Fn(i64) -> bool,
) -> Selection {
    match selection {
        Selection::All(rows) => {
            let kept = select_all(&values[..rows], None, |value| keep(value.into()));
            match kept.len() == rows {
                true => Selection::All(rows),
                false => Selection::Indices(kept),
            }
        }
        selection => retain_rows(selection, |row| keep(values[row].into())),
    }
}

/// Keeps the row numbers for which `keep` holds; written without a branch on the outcome.
#[inline(always)]
fn retain_rows(selection: Selection, keep: impl Fn(usize) -> bool) -> Selection {
    match selection {
        Selection::All(rows) => {
            let mut out = vec![0u32; rows];
            let mut n = 0;
            for row in 0..rows {
                out[n] = row as u32;
                n += usize::from(keep(row));
            }
            out.truncate(n);
            match n == rows {
                true => Selection::All(rows),
                false => Selection::Indices(out),
            }
        }
        Selection::Indices(mut indices) => {
            let mut n = 0;
            for at in 0..indices.len() {
                let row = indices[at];
                indices[n] = row;
                n += usize::from(keep(row as usize));
            }
            indices.truncate(n);
            Selection::Indices(indices)
        }
    }
}

#[cfg(test)]
mod tests;
