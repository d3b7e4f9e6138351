// SPDX-License-Identifier: Apache-2.0
//! Bulk loads wait when a table has too many segments, and fail if that does not help.
use super::settings;
use crate::options::policy;
use crate::pg::toast::{Fate, Toast};
use crate::pg::{self, wait};
use crate::store::directory;
use pgrx::pg_sys;
use pgrx::PgSqlErrorCode;

const ATTEMPTS: u32 = 100;
/// Segments of a time series wait longer for being merged.
const TIME_SERIES_FACTOR: usize = 10;
const PAUSE_MS: i64 = 100;

/// Waits until a table has room for another segment.
pub fn wait(rel: pg_sys::Relation, toast: &Toast) {
    let mut most = settings::versions_max();
    if most == 0 {
        return;
    }
    if policy::time_series(pg::relation_id(rel)).is_some() {
        most = most.saturating_mul(TIME_SERIES_FACTOR);
    }
    let mut count = 0;
    for attempt in 0..=ATTEMPTS {
        count = segments(rel, toast);
        if count < most {
            return;
        }
        if attempt == ATTEMPTS || !settings::enabled() || settings::workers() == 0 {
            break;
        }
        wait::sleep(wait::SEGMENTS, PAUSE_MS);
    }
    pg::refuse(
        PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
        format!(
            "table \"{}\" has {count} segments, more than doris.max_versions allows",
            pg::relation_name(rel)
        ),
        "Load fewer, larger batches, compact the table with doris.compact, or raise doris.max_versions.",
    );
}

fn segments(rel: pg_sys::Relation, toast: &Toast) -> usize {
    let any = &raw mut pg_sys::SnapshotAnyData;
    let all = directory::all(rel, toast, any);
    let live = |f: &&directory::Found| {
        let retired = f.deleter.is_some_and(|(_, fate)| fate != Fate::Aborted);
        f.writer != Fate::Aborted && !retired
    };
    all.iter().filter(live).count()
}
