// SPDX-License-Identifier: Apache-2.0
//! The settings of background compaction.
use super::shared_state::{self, Written};
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

static ENABLED: GucSetting<bool> = GucSetting::<bool>::new(true);
static WORKERS: GucSetting<i32> = GucSetting::<i32>::new(2);
static NAPTIME: GucSetting<i32> = GucSetting::<i32>::new(10);
static HEAP_ROWS: GucSetting<i32> = GucSetting::<i32>::new(128 * 1024);
static SEGMENTS_MIN: GucSetting<i32> = GucSetting::<i32>::new(5);
static DELETE_SIGN_AGE: GucSetting<i32> = GucSetting::<i32>::new(86400);
static RATE: GucSetting<i32> = GucSetting::<i32>::new(0);
static VERSIONS_MAX: GucSetting<i32> = GucSetting::<i32>::new(2000);
static VERSIONS_WAIT: GucSetting<i32> = GucSetting::<i32>::new(10);

/// Defines them.
pub fn define() {
    crate::options::policy::define();
    GucRegistry::define_bool_guc(
        c"doris.compaction",
        c"Compacts columnar tables in the background.",
        c"Can also be set for a database.",
        &ENABLED,
        GucContext::Suset,
        GucFlags::default(),
    );
    let integers = [
        (
            c"doris.compaction_workers",
            c"Maximum number of background workers that compact tables; each database has at most one at a time.",
            &WORKERS,
            (0, shared_state::WORKERS_MAX as i32),
            GucFlags::default(),
        ),
        (
            c"doris.compaction_naptime",
            c"Minimum time between two checks of a table for compaction.",
            &NAPTIME,
            (1, 86400),
            GucFlags::UNIT_S,
        ),
        (
            c"doris.compaction_heap_rows",
            c"Number of rows written to the row store of a table after which compaction moves them into segments.",
            &HEAP_ROWS,
            (1, i32::MAX),
            GucFlags::default(),
        ),
        (
            c"doris.compaction_min_segments",
            c"Number of segments loaded into a table after which compaction merges small segments.",
            &SEGMENTS_MIN,
            (2, 1000),
            GucFlags::default(),
        ),
        (
            c"doris.delete_sign_age",
            c"Minimum time for which a table remembers the sequences of deleted keys; later compaction forgets them.",
            &DELETE_SIGN_AGE,
            (0, i32::MAX),
            GucFlags::UNIT_S,
        ),
        (
            c"doris.compaction_rate",
            c"Average rate in megabytes per second at which a compaction worker writes segments; 0 means no limit.",
            &RATE,
            (0, i32::MAX),
            GucFlags::default(),
        ),
        (
            c"doris.max_versions",
            c"Number of segments awaiting a merge at which bulk loads into a table wait for compaction, then fail; 0 means no limit.",
            &VERSIONS_MAX,
            (0, i32::MAX),
            GucFlags::default(),
        ),
        (
            c"doris.max_versions_wait",
            c"Maximum time that a bulk load waits for compaction of a table with too many segments.",
            &VERSIONS_WAIT,
            (0, 86400),
            GucFlags::UNIT_S,
        ),
    ];
    for (name, text, setting, (least, most), flags) in integers {
        GucRegistry::define_int_guc(
            name,
            text,
            c"",
            setting,
            least,
            most,
            GucContext::Sighup,
            flags,
        );
    }
}

/// `doris.compaction`.
pub fn enabled() -> bool {
    ENABLED.get()
}

/// `doris.compaction_workers`.
pub fn workers() -> usize {
    WORKERS.get() as usize
}

/// `doris.compaction_naptime`, in microseconds.
pub fn naptime_us() -> i64 {
    i64::from(NAPTIME.get()) * 1_000_000
}

/// `doris.compaction_heap_rows`.
pub fn heap_rows() -> u64 {
    HEAP_ROWS.get() as u64
}

/// `doris.compaction_min_segments`.
pub fn segments_min() -> usize {
    SEGMENTS_MIN.get() as usize
}

/// `doris.delete_sign_age`, in microseconds.
pub fn delete_sign_age_us() -> i64 {
    i64::from(DELETE_SIGN_AGE.get()) * 1_000_000
}

/// `doris.compaction_rate`, in bytes; 0 is no limit.
pub fn rate_bytes() -> u64 {
    RATE.get() as u64 * 1024 * 1024
}

/// `doris.max_versions`; 0 is no limit.
pub fn versions_max() -> usize {
    VERSIONS_MAX.get() as usize
}

/// `doris.max_versions_wait`, in milliseconds.
pub fn versions_wait_ms() -> i64 {
    i64::from(VERSIONS_WAIT.get()) * 1000
}

/// Whether enough was written to a table for looking at it.
pub fn is_worth_it(written: &Written) -> bool {
    written.heap_rows >= heap_rows()
        || written.segments >= segments_min() as u64
        || shared_state::many_marks(written)
}
