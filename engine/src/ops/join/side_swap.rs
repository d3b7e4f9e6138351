// SPDX-License-Identifier: Apache-2.0
//! Inner joins whose sides change places as they are opened.
//!
//! Which side is kept was decided by estimates, and what leaves a join or an aggregation is estimated badly. How many
//! rows a table has is known. So where one side is a table and the other is not, some rows of the other are read first:
//!
//! - the table was to be kept, is large and has no filters: nothing is lost by the look, as the keys of a whole table
//!   exclude few rows. When the other side ends soon it is kept instead, and its runtime filters tell which parts of
//!   the table to read;
//! - the other side was to be kept: when it turns out to be longer than the table, the table is kept.

use super::{passed_on, JoinSide, Opened, Shape};
use crate::error::Result;
use crate::exec::driver::Driver;
use crate::exec::executor::{Opening, Wanted};
use crate::exec::query::NodeCounters;
use crate::exec::stream::{Held, Stream, Tasks};
use crate::gather::memory_bytes;
use crate::memory::Reservation;
use crate::plan::{Join, JoinKind, Node, Op};

/// A table of fewer rows that was to be kept is so without further ado; tests have smaller ones.
const KEPT_ROWS_MIN: u64 = if cfg!(test) { 1000 } else { 256 << 10 };

/// In its place a side is kept that has at most one row for so many of the table's.
const KEPT_ROWS_PER_ROW: u64 = 8;

/// A table of more rows that was to stream does so.
const STREAMED_ROWS_MAX: u64 = 1 << 20;

/// It is kept in the place of a side that has more than so many rows for one of the table's, ...
const ROWS_PER_STREAMED_ROW: u64 = 2;

/// ... and more than this.
const LONG_ROWS_MIN: u64 = if cfg!(test) { 100 } else { 16 << 10 };

/// What is read of a side at most before it counts as long.
const AHEAD_BYTES_MAX: usize = 32 << 20;

/// No look with less memory than this: operators need what there is.
const BUDGET_BYTES_MIN: usize = 16 << 20;

/// A join, with its sides exchanged or not, and what was opened of it.
pub(super) struct Seen {
    /// The join, if its sides were exchanged.
    pub(super) turned: Option<Join>,
    /// One of its inputs.
    pub(super) opened: Opened,
}

/// Looks at the side whose rows nobody knows, where that may pay. `wanted`: filters on the join's output.
pub(super) fn look(
    driver: &Driver,
    shape: &Shape,
    join: &Join,
    wanted: &[Wanted],
    opening: &mut Opening<'_>,
) -> Result<Option<Seen>> {
    let made_early = opening.built.contains_key(&shape.id);
    let is_tight = driver.query.budget.limit_bytes() < BUDGET_BYTES_MIN;
    if join.kind != JoinKind::Inner || join.keys.is_empty() || made_early || is_tight {
        return Ok(None);
    }
    let seen = if let Some(rows_max) = fewer_than_kept(join, opening) {
        let probe = opening.open(&join.probe, &passed_on(shape, wanted, JoinSide::Probe))?;
        let (rows, is_long) = ahead(driver, probe, rows_max)?;
        match is_long {
            true => Seen::same(Opened::probe(rows)),
            false => Seen::turned(join, Opened::build(rows)),
        }
    } else if let Some(rows_max) = fewer_than_streamed(join, opening) {
        let build = opening.open(&join.build, &passed_on(shape, wanted, JoinSide::Build))?;
        let (rows, is_long) = ahead(driver, build, rows_max)?;
        match is_long {
            true => Seen::turned(join, Opened::probe(rows)),
            false => Seen::same(Opened::build(rows)),
        }
    } else {
        return Ok(None);
    };
    if seen.turned.is_some() {
        NodeCounters::raise(&driver.query.node(shape.id).turned, 1);
    }
    Ok(Some(seen))
}

impl Seen {
    fn same(opened: Opened) -> Self {
        let turned = None;
        Self { turned, opened }
    }

    fn turned(join: &Join, opened: Opened) -> Self {
        let turned = Some(join.turned());
        Self { turned, opened }
    }
}

/// How many rows the probe side must not have more of to be kept in the place of a table; `None`: it is not asked.
fn fewer_than_kept(join: &Join, opening: &Opening<'_>) -> Option<u64> {
    let (rows, whole) = opening.table_rows(&join.build)?;
    let asked = whole && rows >= KEPT_ROWS_MIN && aggregates(&join.probe);
    asked.then_some(rows / KEPT_ROWS_PER_ROW)
}

/// How many rows the build side must not have more of to be kept, and not the table that was to stream; `None`: it is
/// not asked.
fn fewer_than_streamed(join: &Join, opening: &Opening<'_>) -> Option<u64> {
    let (rows, _) = opening.table_rows(&join.probe)?;
    let asked = rows <= STREAMED_ROWS_MAX && opening.table_rows(&join.build).is_none();
    asked.then(|| (rows * ROWS_PER_STREAMED_ROW).max(LONG_ROWS_MIN))
}

/// Reads rows of a stream: all, or more than `rows_max` or than memory allows, which is to say that it is long. The
/// whole stream again.
fn ahead(driver: &Driver, mut stream: Stream, rows_max: u64) -> Result<(Stream, bool)> {
    let room = AHEAD_BYTES_MAX.min(driver.query.budget.limit_bytes() / 8);
    let mut memory = Reservation::new(&driver.query.budget);
    let (mut batches, mut rows) = (Vec::new(), 0);
    // Some work for each thread from the first round on.
    stream.widen_round(driver.query.threads * 2);
    let is_long = loop {
        let Some(round) = stream.next_round(driver)? else {
            break false;
        };
        for chunk in round {
            let batch = chunk.into_batch();
            rows += batch.rows as u64;
            let bytes: usize = batch.columns.iter().map(|c| memory_bytes(c)).sum();
            // What is there already is kept in any case.
            memory.hold(memory.bytes() + bytes);
            batches.push(batch);
        }
        if rows > rows_max || memory.bytes() > room {
            break true;
        }
    };
    let seen = Stream::new(Box::new(Held(Tasks::of_batches(batches), memory)));
    let whole = match is_long {
        true => seen.then(stream),
        false => seen,
    };
    Ok((whole, is_long))
}

/// Whether an aggregation takes part in making a node's rows.
fn aggregates(node: &Node) -> bool {
    let is_one = matches!(node.op, Op::Aggregate(_) | Op::Distinct { .. });
    is_one || node.inputs().into_iter().any(aggregates)
}

#[cfg(test)]
mod tests;
