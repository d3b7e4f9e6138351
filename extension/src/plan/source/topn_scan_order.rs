// SPDX-License-Identifier: Apache-2.0
//! Which segments and row blocks come first, where a sort above the scan wants its first rows only.
//!
//! Those come first whose zone maps allow the first rows: the sort's bound closes in at once, and leaves out the rest.
//! (The latest rows are asked for most, and stand last in a table that grows with time.)
use super::{excluded, stored_columns, zone_range};
use crate::pg::toast::Toast;
use crate::read::attrs::Attr;
use crate::store::entry::{Entry, SegmentState};
use crate::store::segment::{self, Segment};
use doris_engine::error::Result;
use doris_engine::runtime_filter::{RuntimeFilter, SortBound};
use pgrx::pg_sys;
use std::sync::Arc;

/// The filters of a scan, each on one of its columns.
type Filters<'a> = &'a [(usize, Arc<RuntimeFilter>)];

/// The column of a sort's first key, and the sort's bound on it.
fn sort_key(filters: Filters<'_>) -> Option<(usize, &SortBound)> {
    filters
        .iter()
        .find_map(|(at, filter)| Some((*at, filter.bound()?)))
}

/// Whether it matters what is read first.
pub(super) fn matter(filters: Filters<'_>) -> bool {
    sort_key(filters).is_some()
}

/// How near to the front a block's rows may be: less is nearer.
fn block_rank(
    segment: &Segment,
    columns: &[Option<usize>],
    (at, bound): (usize, &SortBound),
    block: usize,
) -> i128 {
    let narrow = |(min, max)| Some((i64::try_from(min).ok()?, i64::try_from(max).ok()?));
    let range = zone_range(segment, columns, at, block).and_then(narrow);
    let column = columns.get(at).copied().flatten();
    let nulls = column.map(|c| segment.footer.columns[c].blocks[block].zone.null_count);
    bound.rank(range, nulls.is_none_or(|nulls| nulls > 0))
}

/// Puts blocks in the order in which they are to be read.
pub(super) fn sort_blocks(
    blocks: &mut [usize],
    segment: &Segment,
    columns: &[Option<usize>],
    filters: Filters<'_>,
) {
    if let Some(key) = sort_key(filters) {
        blocks.sort_by_cached_key(|block| block_rank(segment, columns, key, *block));
    }
}

/// How near to the front a segment's rows may be.
pub(super) fn rank(
    rel: pg_sys::Relation,
    toast: &Toast,
    entry: &Entry,
    attrs: &[Attr],
    filters: Filters<'_>,
) -> Result<i128> {
    let (Some(key), true) = (sort_key(filters), entry.state != SegmentState::Building) else {
        return Ok(i128::MIN);
    };
    let segment = segment::open(rel, toast, entry);
    let columns = stored_columns(&segment, attrs)?;
    let blocks = 0..segment.footer.block_count();
    let ranks = blocks.map(|block| block_rank(&segment, &columns, key, block));
    Ok(ranks.min().unwrap_or(i128::MIN))
}

/// Whether a sort has enough rows before all of a segment's by now.
pub(super) fn is_beyond(
    rel: pg_sys::Relation,
    toast: &Toast,
    entry: &Entry,
    attrs: &[Attr],
    filters: Filters<'_>,
) -> Result<bool> {
    if !sort_key(filters).is_some_and(|(_, bound)| bound.is_set()) {
        return Ok(false);
    }
    let segment = segment::open(rel, toast, entry);
    let columns = stored_columns(&segment, attrs)?;
    Ok((0..segment.footer.block_count()).all(|block| excluded(&segment, &columns, block, filters)))
}
