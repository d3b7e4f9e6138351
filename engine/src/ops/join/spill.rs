// SPDX-License-Identifier: Apache-2.0
//! Joins whose build side is larger than memory: both sides cut by the keys' hashes into files, then joined
//! partition by partition (a Grace hash join; Kitsuregawa, Tanaka, Moto-oka, 1983).
//!
//! 1. A partition whose build rows fit into memory is joined there.
//! 2. One whose rows do not is cut once more, both sides, by the next bits of the hash.
//! 3. Where that does not help, as one key has most of the rows (or there are no keys), it is joined block by block:
//!    see `blocks`.

use std::collections::VecDeque;
use std::sync::Arc;

use super::block_nested_loop::Blocks;
use super::build::Part;
use super::partition_files::{cut_build, cut_probe, Cut, Side, Stored, Writer};
use super::probe::Probe;
use super::table::JoinTable;
use super::unmatched_build::UnmatchedBuild;
use super::Shape;
use crate::error::Result;
use crate::exec::driver::Driver;
use crate::exec::stream::{Ready, Source, Stream, Task};
use crate::keys::KeyColumn;
use crate::memory::Reservation;
use crate::plan::JoinKind;

/// A cut after which a partition still has more than so many eighths of the rows did not help.
const HELPLESS_EIGHTHS: usize = 7;

/// Whether the whole build side is empty or has a NULL key: what NOT IN asks, whatever the partition.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Rows of all partitions.
    pub rows: usize,
    /// Whether some key is NULL.
    pub has_null_key: bool,
}

/// Rows of both sides that may match.
struct Pair {
    build: Stored,
    probe: Stored,
    /// Hash bits that they share.
    spent: u32,
    /// Whether another cut may help.
    divisible: bool,
}

/// Drains the probe side into files; the stream joins the partitions.
pub fn open<K: KeyColumn>(
    driver: &Driver,
    shape: Arc<Shape>,
    build: Side,
    totals: Totals,
    probe: Stream,
) -> Result<Stream> {
    let cut = build.cut();
    let writer = Writer::new(&driver.query, shape.id, cut)?;
    probe.drain(driver, &|worker, chunk| {
        writer.push_probe::<K>(worker, &shape, chunk)
    })?;
    let probe = writer.finish(&driver.query)?;
    let pairs = pairs(build.into_stored(), probe, cut);
    let source = Partitions::<K> {
        shape,
        totals,
        pairs: pairs.collect(),
        current: Stream::empty(),
        _keys: None,
    };
    Ok(Stream::new(Box::new(source)))
}

/// The partitions of two sides that were cut alike.
fn pairs(build: Vec<Stored>, probe: Vec<Stored>, cut: Cut) -> impl Iterator<Item = Pair> {
    let rows: usize = build.iter().map(|stored| stored.rows).sum();
    let pair = move |(build, probe): (Stored, Stored)| Pair {
        divisible: build.rows * 8 <= rows * HELPLESS_EIGHTHS,
        build,
        probe,
        spent: cut.spent_after(),
    };
    build.into_iter().zip(probe).map(pair)
}

/// Joins one partition after the other.
struct Partitions<K> {
    shape: Arc<Shape>,
    totals: Totals,
    pairs: VecDeque<Pair>,
    current: Stream,
    _keys: Option<K>,
}

impl<K: KeyColumn> Partitions<K> {
    /// The stream of a partition; a partition that is too large is cut into others, which come next.
    fn open(&mut self, driver: &Driver, pair: Pair) -> Result<Stream> {
        use JoinKind::*;
        let kind = self.shape.kind;
        let keeps_build = matches!(kind, Right | Full | BuildAnti);
        if pair.build.rows == 0 && !kind.keeps_probe() || pair.probe.rows == 0 && !keeps_build {
            return Ok(Stream::empty());
        }
        let budget = &driver.query.budget;
        let mut memory = Reservation::new(budget);
        let bytes = pair.build.table_bytes();
        let granted = budget.working_bytes();
        let fits = memory.resize_with_floor(bytes as usize, granted).is_ok();
        if fits {
            return self.join(driver, &pair, memory);
        }
        let room = (budget.limit_bytes().saturating_sub(budget.used_bytes()) / 2).max(granted);
        let cut = Cut::further(pair.spent, bytes, room as u64).filter(|_| pair.divisible);
        let Some(cut) = cut else {
            let blocks = Blocks::<K>::new(&self.shape, self.totals, pair.build, pair.probe);
            return Ok(Stream::new(Box::new(blocks)));
        };
        let build = cut_build::<K>(driver, &self.shape, &pair.build, cut)?;
        let probe = cut_probe::<K>(driver, &self.shape, &pair.probe, cut)?;
        for pair in pairs(build, probe, cut)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            self.pairs.push_front(pair);
        }
        Ok(Stream::empty())
    }

    /// Joins a partition in memory.
    fn join(&self, driver: &Driver, pair: &Pair, memory: Reservation) -> Result<Stream> {
        let mut parts = Vec::new();
        for &run in &pair.build.runs {
            parts.push(Part::<K>::from_vectors(
                &self.shape,
                pair.build.file.read(run)?,
            )?);
        }
        let mut table = super::build::table(driver, &self.shape, parts, memory, pair.spent)?;
        table.totals = self.totals;
        let probe = pair.probe.stream(self.shape.probe_types.len());
        Ok(joined(&self.shape, Arc::new(table), probe))
    }
}

/// The rows of a join with a table, those included that remain of the build side.
pub fn joined<K: KeyColumn>(shape: &Arc<Shape>, table: Arc<JoinTable<K>>, probe: Stream) -> Stream {
    let stage = Probe {
        shape: Arc::clone(shape),
        table: Arc::clone(&table),
    };
    let joined = probe.through(Arc::new(stage));
    match shape.marks_build() {
        true => joined.then(Stream::new(Box::new(UnmatchedBuild::new(
            Arc::clone(shape),
            table,
        )))),
        false => joined,
    }
}

impl<K: KeyColumn> Source for Partitions<K> {
    fn next(&mut self, driver: &Driver) -> Result<Option<Box<dyn Task>>> {
        loop {
            if let Some(chunks) = self.current.next_round(driver)? {
                return Ok(Some(Box::new(Ready(chunks))));
            }
            let Some(pair) = self.pairs.pop_front() else {
                return Ok(None);
            };
            driver.query.check()?;
            // The last partition's table goes before the next one is built.
            self.current = Stream::empty();
            self.current = self.open(driver, pair)?;
        }
    }
}
