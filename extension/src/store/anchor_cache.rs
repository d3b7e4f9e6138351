// SPDX-License-Identifier: Apache-2.0
//! A backend's cache of which rows have anchors: most rows that are looked up have none, and to search the index
//! for one that is not there costs more than to fetch the row.
//!
//! Shared memory has a counter for each range of row numbers (or for several, of any tables). Who has filed an anchor
//! counts it up before its transaction can commit. A backend keeps the counter of a range, reads which of its rows have
//! anchors, and believes that as long as the counter stands: what was filed since has not committed for a snapshot that
//! was taken before the counter was looked at. Anchors that are removed meanwhile are searched for in vain.
//!
//! A standby's anchors come without being counted, and serializable transactions look for those, too, that have not
//! been counted yet: both search the index.
use super::chunk_ids;
use super::tid::RowNumber;
use crate::pg::compat;
use crate::pg::raw;
use crate::pg::toast::Toast;
use foldhash::fast::RandomState;
use pgrx::{pg_guard, pg_shmem_init, pg_sys, PGRXSharedMemory, PgAtomic};
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Rows that share a counter.
const ROWS_PER_COUNTER: i32 = 512;
/// Counters in shared memory.
const COUNTERS_MAX: usize = 8192;
/// Searches in a range whose counter stands, after which its anchors are read: it costs about as much.
const SEARCHES_MAX: u32 = 32;
/// Ranges that a backend keeps.
const RANGES_MAX: usize = 8192;

struct Counters([AtomicU64; COUNTERS_MAX]);

impl Default for Counters {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

// SAFETY: numbers that are changed atomically.
unsafe impl PGRXSharedMemory for Counters {}

// SAFETY: a name of our own.
static FILED: PgAtomic<Counters> = unsafe { PgAtomic::new(c"pg_doris_anchors") };
static PRELOADED: AtomicBool = AtomicBool::new(false);

#[allow(unexpected_cfgs)] // The macro names versions that this crate has no feature for.
fn reserve() {
    pg_shmem_init!(FILED);
}

/// Reserves the memory; to be called while libraries are preloaded.
pub fn init() {
    reserve();
    PRELOADED.store(true, Ordering::Relaxed);
}

/// A range: the file of the TOAST relation, the chunk_id, and the chunk_seq by [`ROWS_PER_COUNTER`].
type Key = (u32, u32, i32);

/// What is known of a range of rows.
struct RowRange {
    /// The counter as it was before anything was read.
    filed: u64,
    /// Searches since it has stood there.
    searches: u32,
    /// A bit for each row that had an anchor.
    rows: Option<[u64; ROWS_PER_COUNTER as usize / 64]>,
}

thread_local! {
    static RANGES: RefCell<HashMap<Key, RowRange, RandomState>> = RefCell::default();
}

fn range_of(toast: &Toast, (chunk_id, seq): (u32, i32)) -> Key {
    (
        compat::file_number(toast.rel),
        chunk_id,
        seq / ROWS_PER_COUNTER,
    )
}

/// The counter of a range; `None` where the library was not preloaded. All processes have to agree on which it is.
fn counter(key: &Key) -> Option<&'static AtomicU64> {
    if !PRELOADED.load(Ordering::Relaxed) {
        return None;
    }
    let hash = foldhash::fast::FixedState::with_seed(0).hash_one(key);
    Some(&FILED.get().0[hash as usize % COUNTERS_MAX])
}

/// Notes that an index entry was made in a TOAST relation; to be called behind each.
pub fn anchor_inserted(toast: &Toast, key: (u32, i32)) {
    let (first, last) = chunk_ids::anchors();
    if (first..=last).contains(&key.0) {
        if let Some(counter) = counter(&range_of(toast, key)) {
            counter.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// What is known of one row.
enum Cached {
    Has(bool),
    Nothing,
    /// Nothing, and it is time to read the range.
    Due,
}

/// Whether a row has no anchor, for an MVCC snapshot. False where that is not known.
pub fn has_none(toast: &Toast, row: RowNumber) -> bool {
    // SAFETY: plain call.
    if raw::serializable() || unsafe { pg_sys::RecoveryInProgress() } {
        return false;
    }
    let place = chunk_ids::anchor(row.0);
    let key = range_of(toast, place);
    let Some(filed) = counter(&key).map(|counter| counter.load(Ordering::Acquire)) else {
        return false;
    };
    let at = (place.1 % ROWS_PER_COUNTER) as usize;
    match cached(key, filed, at) {
        Cached::Has(anchor) => !anchor,
        Cached::Nothing => false,
        Cached::Due => {
            let rows = read(toast, &key);
            let has = has_bit(&rows, at);
            RANGES.with_borrow_mut(|stretches| {
                if let Some(stretch) = stretches.get_mut(&key) {
                    stretch.rows = (stretch.filed == filed).then_some(rows);
                }
            });
            !has
        }
    }
}

fn cached(key: Key, filed: u64, at: usize) -> Cached {
    RANGES.with_borrow_mut(|stretches| {
        if let Some(stretch) = stretches.get_mut(&key) {
            if stretch.filed == filed {
                if let Some(rows) = &stretch.rows {
                    return Cached::Has(has_bit(rows, at));
                }
                stretch.searches += 1;
                return match stretch.searches > SEARCHES_MAX {
                    true => Cached::Due,
                    false => Cached::Nothing,
                };
            }
        } else if stretches.len() >= RANGES_MAX {
            stretches.clear();
        }
        let fresh = RowRange {
            filed,
            searches: 1,
            rows: None,
        };
        stretches.insert(key, fresh);
        Cached::Nothing
    })
}

fn has_bit(rows: &[u64; ROWS_PER_COUNTER as usize / 64], at: usize) -> bool {
    rows[at / 64] >> (at % 64) & 1 == 1
}

/// The rows of a range that have anchors, whatever became of those who filed them.
fn read(toast: &Toast, (_, chunk_id, number): &Key) -> [u64; ROWS_PER_COUNTER as usize / 64] {
    let mut rows = [0; ROWS_PER_COUNTER as usize / 64];
    let low = number * ROWS_PER_COUNTER;
    toast.scan(
        *chunk_id,
        low,
        low + (ROWS_PER_COUNTER - 1),
        false,
        |version| {
            let at = (version.seq() - low) as usize;
            rows[at / 64] |= 1 << (at % 64);
            true
        },
    );
    rows
}
