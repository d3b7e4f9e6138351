// SPDX-License-Identifier: Apache-2.0
//! Bulk loads wait when a table has too many segments, and fail if that does not help.
use super::settings;
use crate::options::policy;
use crate::pg::toast::{Fate, Toast};
use crate::pg::{self, wait};
use crate::store::directory;
use pgrx::pg_sys;
use pgrx::PgSqlErrorCode;

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
    let automatic = settings::enabled()
        && settings::workers() > 0
        && policy::is_automatic(pg::relation_id(rel));
    let mut left_ms = match automatic {
        true => settings::versions_wait_ms(),
        false => 0,
    };
    let mut count = segments(rel, toast);
    while count >= most && left_ms > 0 {
        wait::sleep(wait::SEGMENTS, PAUSE_MS);
        left_ms -= PAUSE_MS;
        count = segments(rel, toast);
    }
    if count < most {
        return;
    }
    pg::refuse(
        PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
        format!(
            "[E-235]table \"{}\" has too many versions: it has {count} segments, doris.max_versions allows {most}",
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
