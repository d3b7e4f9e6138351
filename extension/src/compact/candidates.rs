// SPDX-License-Identifier: Apache-2.0
//! Which segments to merge.
use super::job::Job;
use super::merge::{marks, Marks};
use super::output::LEVEL_FULL;
use super::settings;
use crate::options::policy::{self, TimeSeries};
use crate::pg;
use crate::pg::toast::XactStatus;
use crate::store::anchors;
use crate::store::directory::{self, FoundSegment};
use crate::store::entry::SegmentState;
use crate::write::builder::SEGMENT_ROWS;
use std::ops::Range;

/// What compaction is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Merge small segments.
    Cumulative,
    /// Merge what cumulative compactions have made, and segments with many deleted rows.
    Base,
    /// All there is.
    Full,
}

impl Kind {
    /// The kind of a name.
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "cumulative" => Some(Self::Cumulative),
            "base" => Some(Self::Base),
            "full" => Some(Self::Full),
            _ => None,
        }
    }
}

/// A segment with this many rows is no longer for cumulative compaction.
const CUMULATIVE_ROWS_MAX: u64 = SEGMENT_ROWS as u64 / 4;
/// Share of deleted rows from which a segment is written anew.
const DELETED_SHARE: f64 = 0.3;

/// A segment that may be merged.
struct Candidate {
    found: FoundSegment,
    alive: u64,
}

impl Candidate {
    fn has_many_deleted(&self) -> bool {
        let rows = f64::from(self.found.entry.rows);
        1.0 - self.alive as f64 / rows.max(1.0) > DELETED_SHARE
    }

    /// Its share of a full segment, in rows.
    fn weight(&self) -> u64 {
        match self.found.entry.level {
            LEVEL_FULL => u64::from(SEGMENT_ROWS),
            _ => self.alive,
        }
    }
}

/// The segments to merge next, of those that begin in a range of rows, and the level of what comes out. `waited_us`
/// is for how long the table was written to since it was last compacted.
pub fn next(
    job: &Job,
    kind: Kind,
    rows: &Range<u64>,
    waited_us: i64,
) -> Option<(Vec<FoundSegment>, u8)> {
    let candidates = candidates(job, rows);
    let series = policy::time_series(pg::relation_id(job.rel));
    let group = match (kind, &series) {
        (Kind::Full, _) => full(candidates),
        (Kind::Base, None) => base(candidates),
        (Kind::Base, Some(_)) => with_deleted(candidates),
        (Kind::Cumulative, None) => cumulative(candidates),
        (Kind::Cumulative, Some(series)) => time_series(candidates, series, waited_us),
    };
    let once = kind == Kind::Cumulative && series.is_none();
    let level = if once { 1 } else { 2 };
    (!group.is_empty()).then(|| (group.into_iter().map(|c| c.found).collect(), level))
}

/// Complete segments that nobody holds rows of.
fn candidates(job: &Job, rows: &Range<u64>) -> Vec<Candidate> {
    let mut segments = directory::all(job.rel, &job.toast, job.snapshot);
    segments.retain(|f| {
        f.visible
            && f.writer == XactStatus::Committed
            && f.entry.state == SegmentState::Sealed
            && rows.contains(&f.entry.first_row)
            && matches!(marks(job, std::slice::from_ref(f)), Marks::Since(_))
    });
    let alive = |f: &FoundSegment| {
        let entry = &f.entry;
        let (first, rows) = (entry.first_row, entry.rows);
        let dead = anchors::dead_positions(job.rel, &job.toast, first, rows, job.snapshot);
        u64::from(rows) - dead.len() as u64
    };
    segments
        .into_iter()
        .map(|found| Candidate {
            alive: alive(&found),
            found,
        })
        .collect()
}

/// The first group of neighbours that fit one segment, if that is worth writing.
fn full(candidates: Vec<Candidate>) -> Vec<Candidate> {
    let mut group: Vec<Candidate> = Vec::new();
    let mut rows = 0;
    for candidate in candidates {
        if !group.is_empty() && rows + candidate.weight() > u64::from(SEGMENT_ROWS) {
            if worth_writing(&group) {
                return group;
            }
            group.clear();
            rows = 0;
        }
        rows += candidate.weight();
        group.push(candidate);
    }
    if worth_writing(&group) {
        return group;
    }
    Vec::new()
}

fn worth_writing(group: &[Candidate]) -> bool {
    group.len() > 1
        || group
            .iter()
            .any(|c| c.alive < u64::from(c.found.entry.rows))
}

/// Segments with many deleted rows, and neighbours that fit one segment together.
fn base(candidates: Vec<Candidate>) -> Vec<Candidate> {
    let mut candidates = candidates;
    candidates.retain(|c| c.weight() <= u64::from(SEGMENT_ROWS) / 2 || c.has_many_deleted());
    full(candidates)
}

/// A segment with many deleted rows.
fn with_deleted(candidates: Vec<Candidate>) -> Vec<Candidate> {
    let found = candidates.into_iter().find(Candidate::has_many_deleted);
    found.into_iter().collect()
}

/// New segments, oldest first, once they are enough by size or number, or have waited.
fn time_series(candidates: Vec<Candidate>, series: &TimeSeries, waited_us: i64) -> Vec<Candidate> {
    let mut group = candidates;
    group.retain(|c| c.found.entry.level < 2 && c.found.entry.stream_bytes < series.goal_bytes);
    let mut bytes = 0;
    let enough = group.iter().zip(1..).find_map(|(candidate, count)| {
        bytes += candidate.found.entry.stream_bytes;
        (bytes >= series.goal_bytes || count >= series.segments).then_some(count)
    });
    match enough {
        Some(count) => group.truncate(count),
        None if waited_us >= series.wait_us && group.len() > 1 => {}
        None => group.clear(),
    }
    group
}

/// Small segments: the tail of the table in which none outweighs those behind it, so that no row is written anew for
/// the sake of a few.
fn cumulative(candidates: Vec<Candidate>) -> Vec<Candidate> {
    let mut tail = candidates;
    tail.retain(|c| c.found.entry.level < 2 && c.alive < CUMULATIVE_ROWS_MAX);
    let mut behind: u64 = tail.iter().map(|c| c.alive).sum();
    let mut start = 0;
    for candidate in &tail {
        behind -= candidate.alive;
        if candidate.alive <= behind {
            break;
        }
        start += 1;
    }
    let mut group: Vec<Candidate> = tail.drain(start..).collect();
    let mut rows = 0;
    let fits = group.iter().take_while(|c| {
        rows += c.alive;
        rows <= u64::from(SEGMENT_ROWS)
    });
    let count = fits.count();
    group.truncate(count);
    if group.len() < settings::segments_min() {
        group.clear();
    }
    group
}
