// SPDX-License-Identifier: Apache-2.0
//! The probe side: rows streaming past the table.
//!
//! 1. Find each row's chain of build rows.
//! 2. Walk the chains into pairs, some thousand at a time; test the residual on the columns it needs.
//! 3. Emit pairs, or note which probe rows have met a partner (semi, anti, outer) and which build rows have.
//! 4. At the end of the batch, emit what is due without a partner.

use std::sync::Arc;

use doris_storage::vector::Vector;

use super::table::JoinTable;
use super::Shape;
use crate::batch::{Batch, Selection};
use crate::error::Result;
use crate::exec::query::{Chunk, NodeCounters, Worker};
use crate::exec::stream::{Emit, Stage};
use crate::gather::{gather, gather_or_null, nulls, NO_ROW};
use crate::group_table::hash_all;
use crate::keys::KeyColumn;
use crate::plan::JoinKind;

/// The streaming half of a join.
pub struct Probe<K> {
    /// The join.
    pub shape: Arc<Shape>,
    /// The build side.
    pub table: Arc<JoinTable<K>>,
}

/// Probe rows (numbers within the batch) and their build rows.
#[derive(Default)]
struct Pairs {
    probe: Vec<u32>,
    build: Vec<u32>,
}

/// A batch on its way through the stage.
struct Walk {
    chunk: Chunk,
    /// For each selected row: the build row to look at next.
    heads: Vec<u32>,
    /// The selected row to go on with.
    at: usize,
    /// For each selected row: whether it has met a partner. Empty when nobody asks.
    met: Vec<bool>,
    /// The selected rows that still look for a partner, where each is shown one candidate at a time.
    looking: Vec<u32>,
}

impl<K: KeyColumn> Stage for Probe<K> {
    fn push(&self, worker: &Worker<'_>, chunk: Chunk, emit: &mut Emit<'_>) -> Result<()> {
        let counters = worker.query.node(self.shape.id);
        let counted = |rows: usize| if self.shape.counts { rows as u64 } else { 0 };
        NodeCounters::add(&counters.rows_in, counted(chunk.rows()));
        let mut emit = |chunk: Chunk| {
            NodeCounters::add(&counters.rows_out, counted(chunk.rows()));
            emit(chunk)
        };
        let not_in = self.shape.kind == JoinKind::AntiNotIn;
        if not_in && self.table.totals.rows == 0 {
            // Nobody asks for the keys, which may fail.
            return self.emit_probe_rows(chunk, |_| true, &mut emit);
        }
        let heads = counters.timed(|| self.find(worker, &chunk))?;
        if not_in {
            return self.emit_not_in(worker, chunk, &heads, &mut emit);
        }
        let simple =
            self.table.is_unique() && self.shape.residual.is_none() && !self.shape.marks_build();
        match self.shape.kind {
            JoinKind::Semi | JoinKind::Anti if self.shape.residual.is_none() => {
                let wanted = self.shape.kind == JoinKind::Semi;
                self.emit_probe_rows(chunk, |i| (heads[i] != NO_ROW) == wanted, &mut emit)
            }
            JoinKind::Inner | JoinKind::Left if simple => self.emit_unique(chunk, heads, &mut emit),
            _ => self.walk(worker, chunk, heads, &mut emit),
        }
    }

    fn needs_driver(&self) -> bool {
        !self.shape.is_native()
    }
}

impl<K: KeyColumn> Probe<K> {
    /// Step 1.
    fn find(&self, worker: &Worker<'_>, chunk: &Chunk) -> Result<Vec<u32>> {
        let key_columns: Vec<Arc<Vector>> = self
            .shape
            .probe_keys
            .iter()
            .map(|key| worker.eval(key, chunk))
            .collect::<Result<_>>()?;
        let (mut keys, mut hashes, mut heads) = (K::default(), Vec::new(), Vec::new());
        if !key_columns.is_empty() {
            let columns: Vec<&Vector> = key_columns.iter().map(|c| &**c).collect();
            keys.encode(&self.shape.keys, &columns, chunk.rows())?;
            if self.table.needs_hashes() {
                hash_all(&keys, &mut hashes);
            }
        }
        self.table.find(&keys, &hashes, chunk.rows(), &mut heads);
        if let Some(matchable) = self.shape.matchable(&key_columns) {
            for (i, head) in heads.iter_mut().enumerate() {
                if !matchable.get(i) {
                    *head = NO_ROW;
                }
            }
        }
        Ok(heads)
    }

    /// `x NOT IN (build)` where there are build rows: never true once one of them is NULL, nor of a NULL `x`.
    fn emit_not_in(
        &self,
        worker: &Worker<'_>,
        chunk: Chunk,
        heads: &[u32],
        emit: &mut Emit<'_>,
    ) -> Result<()> {
        if self.table.totals.has_null_key {
            return Ok(());
        }
        let key = worker.eval(&self.shape.probe_keys[0], &chunk)?;
        self.emit_probe_rows(chunk, |i| heads[i] == NO_ROW && !key.is_null(i), emit)
    }

    /// Emits probe rows as they are, by position within the selection.
    fn emit_probe_rows(
        &self,
        chunk: Chunk,
        keep: impl Fn(usize) -> bool,
        emit: &mut Emit<'_>,
    ) -> Result<()> {
        let columns = self
            .shape
            .output
            .iter()
            .map(|&at| Arc::clone(&chunk.batch.columns[at]))
            .collect();
        let batch = Batch {
            columns,
            rows: chunk.batch.rows,
        };
        emit(Chunk {
            batch,
            selection: chunk.selection.retain(keep),
        })
    }

    /// Inner and left joins where each row has at most one partner.
    fn emit_unique(&self, chunk: Chunk, heads: Vec<u32>, emit: &mut Emit<'_>) -> Result<()> {
        let all_stay = self.shape.kind == JoinKind::Left || !heads.contains(&NO_ROW);
        if let (true, Selection::All(rows)) = (all_stay, &chunk.selection) {
            if *rows == chunk.batch.rows {
                return emit(Chunk::all(self.output(&chunk.batch, None, &heads)));
            }
        }
        let mut pairs = Pairs::default();
        pairs.probe.reserve(heads.len());
        pairs.build.reserve(heads.len());
        for (i, &head) in heads.iter().enumerate() {
            if all_stay || head != NO_ROW {
                pairs.probe.push(chunk.selection.row(i) as u32);
                pairs.build.push(head);
            }
        }
        emit(Chunk::all(self.output(
            &chunk.batch,
            Some(&pairs.probe),
            &pairs.build,
        )))
    }

    /// Steps 2 to 4.
    fn walk(
        &self,
        worker: &Worker<'_>,
        chunk: Chunk,
        heads: Vec<u32>,
        emit: &mut Emit<'_>,
    ) -> Result<()> {
        let kind = self.shape.kind;
        let notes_probe = kind.keeps_probe() || kind == JoinKind::Semi;
        let met = vec![false; if notes_probe { heads.len() } else { 0 }];
        let looking = match kind {
            JoinKind::Semi | JoinKind::Anti => (0..heads.len() as u32).collect(),
            _ => Vec::new(),
        };
        let mut walk = Walk {
            chunk,
            heads,
            at: 0,
            met,
            looking,
        };
        loop {
            worker.query.check()?;
            let (positions, mut pairs) = self.next_pairs(&mut walk, worker.query.batch_rows);
            if positions.is_empty() {
                break;
            }
            let positions = self.apply_residual(worker, &walk.chunk, positions, &mut pairs)?;
            if notes_probe {
                positions.iter().for_each(|&i| walk.met[i as usize] = true);
            }
            if self.shape.marks_build() {
                pairs.build.iter().for_each(|&row| self.table.mark(row));
            }
            let emits_pairs = matches!(
                kind,
                JoinKind::Inner | JoinKind::Left | JoinKind::Right | JoinKind::Full
            );
            if emits_pairs && !pairs.probe.is_empty() {
                emit(Chunk::all(self.output(
                    &walk.chunk.batch,
                    Some(&pairs.probe),
                    &pairs.build,
                )))?;
            }
        }
        self.finish_walk(walk, emit)
    }

    /// Step 4.
    fn finish_walk(&self, walk: Walk, emit: &mut Emit<'_>) -> Result<()> {
        let met = walk.met;
        match self.shape.kind {
            JoinKind::Semi => self.emit_probe_rows(walk.chunk, |i| met[i], emit),
            JoinKind::Anti => self.emit_probe_rows(walk.chunk, |i| !met[i], emit),
            JoinKind::Left | JoinKind::Full => {
                let alone = walk.chunk.selection.clone().retain(|i| !met[i]);
                if alone.is_empty() {
                    return Ok(());
                }
                let rows = alone.indices();
                emit(Chunk::all(self.output(
                    &walk.chunk.batch,
                    Some(&rows),
                    &vec![NO_ROW; rows.len()],
                )))
            }
            _ => Ok(()),
        }
    }

    /// Step 2: the next pairs, and for each its probe row's position within the selection.
    fn next_pairs(&self, walk: &mut Walk, pairs_max: usize) -> (Vec<u32>, Pairs) {
        use JoinKind::*;
        match self.shape.kind {
            Semi | Anti if self.shape.residual_raises() => self.first_pairs(walk),
            BuildSemi | BuildAnti if self.shape.residual_raises() => {
                self.pairs_of_one(walk, pairs_max)
            }
            _ => self.all_pairs(walk, pairs_max),
        }
    }

    fn all_pairs(&self, walk: &mut Walk, pairs_max: usize) -> (Vec<u32>, Pairs) {
        let mut positions = Vec::new();
        let mut pairs = Pairs::default();
        // A semi join's row that has met a partner needs no other.
        while walk.at < walk.heads.len() && positions.len() < pairs_max {
            let build = walk.heads[walk.at];
            let decided = self.shape.kind == JoinKind::Semi && walk.met[walk.at];
            if build == NO_ROW || decided {
                walk.at += 1;
                continue;
            }
            positions.push(walk.at as u32);
            pairs.probe.push(walk.chunk.selection.row(walk.at) as u32);
            pairs.build.push(build);
            walk.heads[walk.at] = self.table.next(build);
        }
        (positions, pairs)
    }

    /// Step 2 where the residual may raise an error: for each row that has met no partner, its next candidate. The
    /// others are not looked at.
    fn first_pairs(&self, walk: &mut Walk) -> (Vec<u32>, Pairs) {
        let Walk {
            chunk,
            heads,
            met,
            looking,
            ..
        } = walk;
        looking.retain(|&at| heads[at as usize] != NO_ROW && !met[at as usize]);
        let mut pairs = Pairs::default();
        for &at in looking.iter() {
            let head = &mut heads[at as usize];
            pairs.probe.push(chunk.selection.row(at as usize) as u32);
            pairs.build.push(*head);
            *head = self.table.next(*head);
        }
        (looking.clone(), pairs)
    }

    /// The same where build rows look for partners: the pairs of a single row with those that have met none.
    fn pairs_of_one(&self, walk: &mut Walk, pairs_max: usize) -> (Vec<u32>, Pairs) {
        let mut positions = Vec::new();
        let mut pairs = Pairs::default();
        while walk.at < walk.heads.len() && positions.len() < pairs_max {
            let build = walk.heads[walk.at];
            if build == NO_ROW {
                walk.at += 1;
                if positions.is_empty() {
                    continue;
                }
                break;
            }
            if !self.table.is_met(build) {
                positions.push(walk.at as u32);
                pairs.probe.push(walk.chunk.selection.row(walk.at) as u32);
                pairs.build.push(build);
            }
            walk.heads[walk.at] = self.table.next(build);
        }
        (positions, pairs)
    }

    /// Keeps the pairs for which the residual is true.
    fn apply_residual(
        &self,
        worker: &Worker<'_>,
        chunk: &Chunk,
        positions: Vec<u32>,
        pairs: &mut Pairs,
    ) -> Result<Vec<u32>> {
        let Some(residual) = &self.shape.residual else {
            return Ok(positions);
        };
        let width = self.shape.probe_types.len();
        let types = self.shape.probe_types.iter().chain(&self.shape.build_types);
        let column = |(at, t): (usize, &crate::types::DataType)| {
            if !self.shape.residual_columns.contains(&at) {
                return Arc::new(Vector::empty(t.physical()));
            }
            match (
                at < width,
                at.checked_sub(width)
                    .and_then(|b| self.table.columns[b].as_ref()),
            ) {
                (false, Some(build)) => Arc::new(gather(build, &pairs.build)),
                (false, None) => Arc::new(nulls(t.physical(), pairs.build.len())),
                (true, _) => Arc::new(gather(&chunk.batch.columns[at], &pairs.probe)),
            }
        };
        let columns = types.enumerate().map(column).collect();
        let batch = Batch {
            columns,
            rows: positions.len(),
        };
        let passing = residual.filter(&worker.eval, &batch, Selection::All(positions.len()))?;
        if passing.len() == positions.len() {
            return Ok(positions);
        }
        let pick = |values: &[u32]| passing.iter().map(|i| values[i]).collect::<Vec<u32>>();
        (pairs.probe, pairs.build) = (pick(&pairs.probe), pick(&pairs.build));
        Ok(pick(&positions))
    }

    /// The output columns for pairs; `probe` `None`: the batch's rows in order.
    fn output(&self, batch: &Batch, probe: Option<&[u32]>, build: &[u32]) -> Batch {
        let width = self.shape.probe_types.len();
        let column = |&at: &usize| match (at.checked_sub(width), probe) {
            (None, None) => Arc::clone(&batch.columns[at]),
            (None, Some(rows)) => Arc::new(gather(&batch.columns[at], rows)),
            (Some(b), _) => Arc::new(match &self.table.columns[b] {
                Some(column) => gather_or_null(column, build),
                None => nulls(self.shape.build_types[b].physical(), build.len()),
            }),
        };
        Batch {
            columns: self.shape.output.iter().map(column).collect(),
            rows: build.len(),
        }
    }
}
