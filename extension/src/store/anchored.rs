// SPDX-License-Identifier: Apache-2.0
//! Which rows have anchors, so far as this backend knows: most rows that are looked up have none, and to search the index
//! for one that is not there costs more than to fetch the row.
//!
//! Shared memory has a counter for each stretch of row numbers (or for several, of any tables). Who has filed an anchor
//! counts it up before its transaction can commit. A backend notes the counter of a stretch, reads which of its rows have
//! anchors, and believes that as long as the counter stands: what was filed since has not committed for a snapshot that
//! was taken before the counter was looked at. Anchors that are removed meanwhile are searched for in vain.
//!
//! A standby's anchors come without being counted, and serializable transactions look for those, too, that have not been
//! counted yet: both search the index.
use super::keys;
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

/// Rows of a stretch.
const ROWS: i32 = 512;
/// Counters in shared memory.
const COUNTERS: usize = 8192;
/// Searches in a stretch whose counter stands, after which its anchors are read: it costs about as much.
const SEARCHES: u32 = 32;
/// Stretches that a backend keeps.
const STRETCHES_MAX: usize = 8192;

struct Counters([AtomicU64; COUNTERS]);

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

/// A stretch: the file of the TOAST relation, the chunk_id, and the chunk_seq by [`ROWS`].
type Key = (u32, u32, i32);

/// What is known of a stretch.
struct Stretch {
    /// The counter as it was before anything was read.
    filed: u64,
    /// Searches since it has stood there.
    searches: u32,
    /// A bit for each row that had an anchor.
    rows: Option<[u64; ROWS as usize / 64]>,
}

thread_local! {
    static STRETCHES: RefCell<HashMap<Key, Stretch, RandomState>> = RefCell::default();
}

fn stretch(toast: &Toast, (chunk_id, seq): (u32, i32)) -> Key {
    (compat::file_number(toast.rel), chunk_id, seq / ROWS)
}

/// The counter of a stretch; `None` where the library was not preloaded. All processes have to agree on which it is.
fn counter(key: &Key) -> Option<&'static AtomicU64> {
    if !PRELOADED.load(Ordering::Relaxed) {
        return None;
    }
    let hash = foldhash::fast::FixedState::with_seed(0).hash_one(key);
    Some(&FILED.get().0[hash as usize % COUNTERS])
}

/// Notes that an index entry was made in a TOAST relation; to be called behind each.
pub fn filed(toast: &Toast, key: (u32, i32)) {
    let (first, last) = keys::anchors();
    if (first..=last).contains(&key.0) {
        if let Some(counter) = counter(&stretch(toast, key)) {
            counter.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// What is known of one row.
enum Known {
    Has(bool),
    Nothing,
    /// Nothing, and it is time to read the stretch.
    Due,
}

/// Whether a row has no anchor, for an MVCC snapshot. False where that is not known.
pub fn has_none(toast: &Toast, row: RowNumber) -> bool {
    // SAFETY: plain call.
    if raw::serializable() || unsafe { pg_sys::RecoveryInProgress() } {
        return false;
    }
    let place = keys::anchor(row.0);
    let key = stretch(toast, place);
    let Some(filed) = counter(&key).map(|counter| counter.load(Ordering::Acquire)) else {
        return false;
    };
    let at = (place.1 % ROWS) as usize;
    match known(key, filed, at) {
        Known::Has(anchor) => !anchor,
        Known::Nothing => false,
        Known::Due => {
            let rows = read(toast, &key);
            let has = has_bit(&rows, at);
            STRETCHES.with_borrow_mut(|stretches| {
                if let Some(stretch) = stretches.get_mut(&key) {
                    stretch.rows = (stretch.filed == filed).then_some(rows);
                }
            });
            !has
        }
    }
}

fn known(key: Key, filed: u64, at: usize) -> Known {
    STRETCHES.with_borrow_mut(|stretches| {
        if let Some(stretch) = stretches.get_mut(&key) {
            if stretch.filed == filed {
                if let Some(rows) = &stretch.rows {
                    return Known::Has(has_bit(rows, at));
                }
                stretch.searches += 1;
                return match stretch.searches > SEARCHES {
                    true => Known::Due,
                    false => Known::Nothing,
                };
            }
        } else if stretches.len() >= STRETCHES_MAX {
            stretches.clear();
        }
        let fresh = Stretch {
            filed,
            searches: 1,
            rows: None,
        };
        stretches.insert(key, fresh);
        Known::Nothing
    })
}

fn has_bit(rows: &[u64; ROWS as usize / 64], at: usize) -> bool {
    rows[at / 64] >> (at % 64) & 1 == 1
}

/// The rows of a stretch that have anchors, whatever became of those who filed them.
fn read(toast: &Toast, (_, chunk_id, number): &Key) -> [u64; ROWS as usize / 64] {
    let mut rows = [0; ROWS as usize / 64];
    let low = number * ROWS;
    toast.scan(*chunk_id, low, low + (ROWS - 1), false, |version| {
        let at = (version.seq() - low) as usize;
        rows[at / 64] |= 1 << (at % 64);
        true
    });
    rows
}
