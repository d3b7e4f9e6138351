// SPDX-License-Identifier: Apache-2.0
//! Bulk loads wait when a table has too many segments that compaction has yet to merge, and fail if that does not help.
use super::output::LEVEL_FULL;
use super::settings;
use crate::options::policy::{self, TimeSeries};
use crate::pg::toast::{Toast, XactStatus};
use crate::pg::{self, wait};
use crate::store::directory::{self, FoundSegment};
use crate::store::entry::SegmentState;
use crate::write::builder::SEGMENT_ROWS;
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
    let series = policy::time_series(pg::relation_id(rel));
    if series.is_some() {
        most = most.saturating_mul(TIME_SERIES_FACTOR);
    }
    let automatic = settings::enabled()
        && settings::workers() > 0
        && policy::is_automatic(pg::relation_id(rel));
    let mut left_ms = match automatic {
        true => settings::versions_wait_ms(),
        false => 0,
    };
    let mut count = segments(rel, toast, series.as_ref());
    while count >= most && left_ms > 0 {
        wait::sleep(wait::SEGMENTS, PAUSE_MS);
        left_ms -= PAUSE_MS;
        count = segments(rel, toast, series.as_ref());
    }
    if count < most {
        return;
    }
    pg::refuse(
        PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
        format!(
            "[E-235]table \"{}\" has too many versions: it has {count} segments that are not merged yet, doris.max_versions allows {most}",
            pg::relation_name(rel)
        ),
        "Load fewer, larger batches, compact the table with doris.compact, or raise doris.max_versions.",
    );
}

/// The segments that are there and will be merged with others.
fn segments(rel: pg_sys::Relation, toast: &Toast, series: Option<&TimeSeries>) -> usize {
    let any = &raw mut pg_sys::SnapshotAnyData;
    let all = directory::all(rel, toast, any);
    let counts = |f: &&FoundSegment| {
        let retired = f
            .deleter
            .is_some_and(|(_, status)| status != XactStatus::Aborted);
        f.writer != XactStatus::Aborted && !retired && !is_done(f, series)
    };
    all.iter().filter(counts).count()
}

/// Whether compaction leaves a segment as it is for its size. (It may still write it anew for its deleted rows.) A
/// table of any size may have any number of these.
fn is_done(found: &FoundSegment, series: Option<&TimeSeries>) -> bool {
    let entry = &found.entry;
    let large = match series {
        Some(series) => entry.level >= 2 || entry.stream_bytes >= series.goal_bytes,
        None => entry.level == LEVEL_FULL || entry.rows > SEGMENT_ROWS / 2,
    };
    entry.state == SegmentState::Sealed && large
}
