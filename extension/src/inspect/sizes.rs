// SPDX-License-Identifier: Apache-2.0
//! What a table's segments and columns take, as rows for the views.
use super::checked;
use crate::pg::toast::Toast;
use crate::store::directory::{self, FoundSegment};
use crate::store::entry::SegmentState;
use crate::store::{anchors, segment};
use doris_storage::vector::{Values, Vector};
use pgrx::iter::TableIterator;
use pgrx::{name, pg_extern, pg_sys, PgRelation};
use std::collections::BTreeSet;

fn visible_segments(rel: pg_sys::Relation) -> Option<(Toast, Vec<FoundSegment>)> {
    let toast = Toast::open(rel, pg_sys::AccessShareLock as i32)?;
    let mut segments = directory::all(rel, &toast, snapshot());
    segments.retain(|found| found.visible);
    Some((toast, segments))
}

fn snapshot() -> pg_sys::Snapshot {
    // SAFETY: a statement that calls functions has an active snapshot.
    unsafe { pg_sys::GetActiveSnapshot() }
}

/// First row, rows, deleted rows, bytes, level and state of a segment.
pub type SegmentRow = (i64, i64, i64, i64, i32, &'static str);

/// The segments of a table that the statement's snapshot sees.
pub fn segment_rows(rel: pg_sys::Relation) -> Vec<SegmentRow> {
    let Some((toast, segments)) = visible_segments(rel) else {
        return Vec::new();
    };
    let row = |found: FoundSegment| {
        let entry = &found.entry;
        let dead = anchors::dead_positions(rel, &toast, entry.first_row, entry.rows, snapshot());
        let state = match entry.state {
            SegmentState::Building => "building",
            SegmentState::Sealed => "sealed",
        };
        (
            entry.first_row as i64,
            i64::from(entry.rows),
            dead.len() as i64,
            entry.stream_bytes as i64,
            i32::from(entry.level),
            state,
        )
    };
    segments.into_iter().map(row).collect()
}

/// The segments of a columnar table that the statement's snapshot sees.
#[pg_extern(stable, parallel_restricted)]
#[allow(clippy::type_complexity)]
fn segments_of(
    table: PgRelation,
) -> TableIterator<
    'static,
    (
        name!(first_row, i64),
        name!(rows, i64),
        name!(deleted_rows, i64),
        name!(bytes, i64),
        name!(level, i32),
        name!(state, &'static str),
    ),
> {
    TableIterator::new(segment_rows(checked(&table)))
}

/// Encodings, bytes and raw bytes of a column.
type ColumnSize = (Vec<String>, i64, i64);

/// What the columns of a table take: `row` gets the number of each, and what finds out.
pub fn column_rows<R>(
    rel: pg_sys::Relation,
    mut row: impl FnMut(i16, &dyn Fn() -> ColumnSize) -> R,
) -> Vec<R> {
    let Some((toast, segments)) = visible_segments(rel) else {
        return Vec::new();
    };
    let attrs = crate::read::attrs::of(rel);
    let there = attrs.iter().filter(|a| !a.dropped);
    there
        .map(|a| {
            row(a.number as i16, &|| {
                column_size(rel, &toast, &segments, a.number)
            })
        })
        .collect()
}

fn column_size(
    rel: pg_sys::Relation,
    toast: &Toast,
    segments: &[FoundSegment],
    attribute: u16,
) -> ColumnSize {
    let mut names = BTreeSet::new();
    let (mut bytes, mut raw) = (0u64, 0f64);
    for found in segments
        .iter()
        .filter(|f| f.entry.state == SegmentState::Sealed)
    {
        let segment = segment::open(rel, toast, &found.entry);
        let Some(column) = segment.column(attribute) else {
            continue;
        };
        let meta = &segment.footer.columns[column];
        names.extend(meta.blocks.iter().map(|block| block.encoding.name()));
        bytes += meta
            .blocks
            .iter()
            .map(|block| u64::from(block.len))
            .sum::<u64>();
        bytes += meta
            .shared
            .as_ref()
            .map_or(0, |range| range.end - range.start);
        if let Some(first) = meta.blocks.first() {
            let sample = segment.vector(rel, toast, column, 0);
            let scale = f64::from(found.entry.rows) / f64::from(first.rows.max(1));
            raw += raw_bytes(&sample) as f64 * scale;
        }
        pgrx::check_for_interrupts!();
    }
    let names = names.into_iter().map(String::from).collect();
    (names, bytes as i64, raw as i64)
}

/// What each column takes in the segments of a columnar table. `raw_bytes`, the size of its values before
/// encoding, is extrapolated from the first block of each segment.
#[pg_extern(stable, parallel_restricted)]
#[allow(clippy::type_complexity)]
fn columns_of(
    table: PgRelation,
) -> TableIterator<
    'static,
    (
        name!(attnum, i16),
        name!(encodings, Vec<String>),
        name!(bytes, i64),
        name!(raw_bytes, i64),
    ),
> {
    let rows = column_rows(checked(&table), |attribute, size| {
        let (names, bytes, raw) = size();
        (attribute, names, bytes, raw)
    });
    TableIterator::new(rows)
}

/// Bytes of a vector's values as PostgreSQL would pass them.
fn raw_bytes(vector: &Vector) -> usize {
    let rows = vector.len();
    match &vector.values {
        Values::Bool(_) => rows,
        Values::I16(_) => rows * 2,
        Values::I32(_) | Values::F32(_) => rows * 4,
        Values::I64(_) | Values::F64(_) => rows * 8,
        Values::I128(_) => rows * 16,
        Values::Fixed { width, .. } => rows * usize::from(*width),
        Values::Bytes(_) | Values::Dict { .. } => (0..rows)
            .map(|i| vector.bytes(i).map_or(0, <[u8]>::len) + 4)
            .sum(),
    }
}
