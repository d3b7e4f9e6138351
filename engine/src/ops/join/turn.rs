// SPDX-License-Identifier: Apache-2.0
//! Inner joins whose sides change places as they are opened.
//!
//! Which side is kept was decided by estimates, and what leaves an aggregation is estimated badly. Where the side to be
//! kept is a large table without filters, some rows of the other side are read first; nothing is lost by that, as the keys
//! of a whole table exclude few rows. When the other side ends soon it is kept instead, and its runtime filters tell
//! which parts of the table to read.

use super::{passed_on, JoinSide, Shape};
use crate::error::Result;
use crate::exec::driver::Driver;
use crate::exec::executor::{Opening, Wanted};
use crate::exec::query::{Chunk, NodeCounters, Worker};
use crate::exec::stream::{Emit, Ready, Stream, Task, Tasks};
use crate::gather::memory_bytes;
use crate::memory::Reservation;
use crate::plan::{Join, JoinKind, Node, Op};

/// A table of fewer rows is kept without further ado; tests have smaller ones.
const TABLE_ROWS_MIN: u64 = if cfg!(test) { 1000 } else { 256 << 10 };

/// The other side is kept where it has at most one row for so many of the table's.
const TABLE_ROWS_PER_ROW: u64 = 8;

/// What is read of the other side at most before the table is kept.
const AHEAD_BYTES_MAX: usize = 32 << 20;

/// What a look at the probe side showed.
pub(super) enum Seen {
    /// The sides stay; the probe side's rows.
    Longer(Stream),
    /// The join with its sides exchanged, and the rows of what is its build side now.
    Shorter(Box<Join>, Stream),
}

/// Looks at the probe side first, where that may pay. `wanted`: filters on the join's output.
pub(super) fn look(
    driver: &Driver,
    shape: &Shape,
    join: &Join,
    wanted: &[Wanted],
    opening: &mut Opening<'_>,
) -> Result<Option<Seen>> {
    let is_candidate = join.kind == JoinKind::Inner
        && !join.keys.is_empty()
        && aggregates(&join.probe)
        && !opening.built.contains_key(&shape.id);
    let table_rows = match opening.whole_table_rows(&join.build) {
        Some(rows) if is_candidate && rows >= TABLE_ROWS_MIN => rows,
        _ => return Ok(None),
    };
    let rows_max = table_rows / TABLE_ROWS_PER_ROW;
    let mut probe = opening.open(&join.probe, &passed_on(shape, wanted, JoinSide::Probe))?;
    let mut memory = Reservation::new(&driver.query.budget);
    let (mut chunks, mut rows) = (Vec::new(), 0);
    let ended = loop {
        let Some(round) = probe.next_round(driver)? else {
            break true;
        };
        for chunk in round {
            let batch = chunk.into_batch();
            rows += batch.rows as u64;
            let bytes: usize = batch.columns.iter().map(|c| memory_bytes(c)).sum();
            // The budget bounds the look; rows that are there already are kept in any case.
            memory.hold(memory.bytes() + bytes);
            chunks.push(Chunk::all(batch));
        }
        let room = driver.query.budget.limit_bytes() / 8;
        if rows > rows_max || memory.bytes() > AHEAD_BYTES_MAX.min(room) {
            break false;
        }
    };
    let ahead = Stream::new(Box::new(Tasks::of_one(Box::new(Ahead(chunks, memory)))));
    if !ended {
        return Ok(Some(Seen::Longer(ahead.then(probe))));
    }
    let counters = driver.query.node(shape.id);
    NodeCounters::raise(&counters.turned, 1);
    Ok(Some(Seen::Shorter(Box::new(join.turned()), ahead)))
}

/// What was read, and the memory it takes.
struct Ahead(Vec<Chunk>, Reservation);

impl Task for Ahead {
    fn run(self: Box<Self>, worker: &Worker<'_>, emit: &mut Emit<'_>) -> Result<()> {
        let Ahead(chunks, _memory) = *self;
        Box::new(Ready(chunks)).run(worker, emit)
    }
}

/// Whether an aggregation takes part in making a node's rows.
fn aggregates(node: &Node) -> bool {
    let is_one = matches!(node.op, Op::Aggregate(_) | Op::Distinct { .. });
    is_one || node.inputs().into_iter().any(aggregates)
}

#[cfg(test)]
mod tests;
