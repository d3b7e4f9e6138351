// SPDX-License-Identifier: Apache-2.0
//! The first rows of a sort, without sorting the rest.
//!
//! Every thread keeps candidates: rows whose key comes before the last of the best `n` it has seen. (Rows with the same
//! key as that one are as good, but there are `n` without them.) Only those rows are copied. When too many have
//! gathered they are sorted and cut to `n`, which tells the next threshold. The threshold is shared: what one thread
//! knows to be out is out for all, and the scan below knows it too, where the first key is a column of integers.

use std::sync::{Arc, PoisonError, RwLock};

use doris_storage::vector::{Values, Vector};

use super::full::{sort_parts, Part};
use super::normal::{words_of, Column, KeyOrder, NormalKeys, FRAME_BYTES};
use crate::batch::{Batch, Selection};
use crate::error::Result;
use crate::exec::driver::Driver;
use crate::exec::executor::Wanted;
use crate::exec::per_thread::PerThread;
use crate::exec::query::{Chunk, NodeCounters, Query, Worker};
use crate::exec::stream::{Stream, Tasks};
use crate::expr::filter::select_all;
use crate::expr::{Expr, ExprKind};
use crate::gather::{gather, memory_bytes};
use crate::memory::Reservation;
use crate::plan::{Node, Op, SortKey};
use crate::runtime_filter::{RuntimeFilter, SortBound};
use crate::types::DataType;

/// More rows than this are sorted in full, ...
const TOP_ROWS_MAX: u64 = 100_000;
/// ... and so are rows that might take more than one part in so many of the budget.
const TOP_SHARE: usize = 8;

/// Whether so many rows of so many columns can be kept by every thread.
pub fn is_worthwhile(query: &Query, rows: u64, columns: usize) -> bool {
    let bytes = rows.saturating_mul(32 * columns as u64) * query.threads as u64;
    rows <= TOP_ROWS_MAX && bytes <= (query.budget.limit_bytes() / TOP_SHARE) as u64
}

/// Candidates gather up to this many, or twice the rows wanted. Fewer bring the threshold closer sooner.
const CANDIDATES_MIN: usize = 64;

struct Top {
    id: u32,
    types: Vec<DataType>,
    columns: Vec<Column>,
    order: KeyOrder,
    exprs: Vec<Expr>,
    rows: usize,
    /// This key and those after it are out: some thread has enough rows up to it.
    threshold: RwLock<Option<Vec<u8>>>,
    /// The threshold's first key, for the scan.
    bound: Option<Arc<SortBound>>,
    idle: PerThread<Candidates>,
}

/// One thread's candidates.
struct Candidates {
    parts: Vec<Part>,
    rows: usize,
    memory: Reservation,
}

/// A bound on the first sort key that the scan below can make use of, and the filter by it. Rows that it drops are not
/// seen by what is between: that must be such that nobody misses them.
pub fn bound(input: &Node, keys: &[SortKey]) -> Option<(Arc<SortBound>, Wanted)> {
    let key = keys.first()?;
    let ExprKind::Column(column) = key.expr.kind() else {
        return None;
    };
    if !is_ordered_integer(key.expr.data_type()) || !leads_to_scan(input) {
        return None;
    }
    let bound = Arc::new(SortBound::new(key.descending, key.nulls_first));
    let filter = Arc::new(RuntimeFilter::of_sort(Arc::clone(&bound)));
    let wanted = Wanted {
        column: *column,
        filter,
    };
    Some((bound, wanted))
}

/// Whether values sort as the integers that they are stored as.
fn is_ordered_integer(data_type: DataType) -> bool {
    use doris_storage::vector::Physical::{I16, I32, I64};
    match data_type {
        DataType::Interval | DataType::Opaque { .. } => false,
        other => matches!(other.physical(), I16 | I32 | I64),
    }
}

/// Whether rows of a scan come here one by one, by way of nothing that may fail for one of them.
fn leads_to_scan(node: &Node) -> bool {
    let quiet = |expr: &Expr| expr.is_native() && !expr.can_raise();
    match &node.op {
        Op::Scan(scan) => scan.filters.iter().all(quiet),
        Op::Filter { input, predicate } => quiet(predicate) && leads_to_scan(input),
        Op::Project { input, exprs } => exprs.iter().all(quiet) && leads_to_scan(input),
        _ => false,
    }
}

/// The rows `offset .. offset + limit` of the sorted input; the sum [`is_worthwhile`].
pub fn open(
    driver: &Driver,
    id: u32,
    input: Stream,
    types: &[DataType],
    keys: &[SortKey],
    bound: Option<Arc<SortBound>>,
    (limit, offset): (usize, usize),
) -> Result<Stream> {
    let columns: Vec<Column> = keys.iter().map(Column::new).collect::<Result<_>>()?;
    let top = Top {
        id,
        types: types.to_vec(),
        order: KeyOrder::new(&columns),
        columns,
        exprs: keys.iter().map(|key| key.expr.clone()).collect(),
        rows: limit + offset,
        threshold: RwLock::new(None),
        bound,
        idle: PerThread::default(),
    };
    if top.rows == 0 {
        return Ok(Stream::empty());
    }
    input.drain(driver, &|worker, chunk| {
        worker.query.node(id).timed(|| top.push(worker, chunk))
    })?;
    let candidates = top.idle.take_all();
    let parts: Vec<Part> = candidates.into_iter().flat_map(|c| c.parts).collect();
    let (batch, order, _) = sort_parts(&top.types, &top.columns, &parts)?;
    let order: Vec<u32> = order.into_iter().skip(offset).take(limit).collect();
    NodeCounters::add(&driver.query.node(id).rows_out, order.len() as u64);
    let batches = order
        .chunks(driver.query.batch_rows)
        .map(|rows| pick(&batch, rows))
        .collect::<Vec<_>>();
    Ok(Stream::new(Box::new(Tasks::of_batches(batches))))
}

fn pick(batch: &Batch, rows: &[u32]) -> Batch {
    let columns = batch
        .columns
        .iter()
        .map(|column| Arc::new(gather(column, rows)))
        .collect();
    Batch {
        columns,
        rows: rows.len(),
    }
}

impl Top {
    fn push(&self, worker: &Worker<'_>, chunk: Chunk) -> Result<()> {
        NodeCounters::add(&worker.query.node(self.id).rows_in, chunk.rows() as u64);
        let keys = self
            .exprs
            .iter()
            .map(|e| worker.eval(e, &chunk))
            .collect::<Result<Vec<_>>>()?;
        let Some(part) = self.candidates_of(chunk, keys) else {
            return Ok(());
        };
        let mut mine = self.idle.take().unwrap_or_else(|| Candidates {
            parts: Vec::new(),
            rows: 0,
            memory: Reservation::new(&worker.query.budget),
        });
        mine.rows += part.batch.rows;
        let bytes = part
            .batch
            .columns
            .iter()
            .chain(&part.keys)
            .map(|c| memory_bytes(c))
            .sum();
        mine.parts.push(part);
        let refused = mine.memory.grow(bytes).is_err();
        if refused || mine.rows >= CANDIDATES_MIN.max(2 * self.rows) {
            self.cut(worker.query, &mut mine)?;
        }
        self.idle.put(mine);
        Ok(())
    }

    /// The rows of a batch that the threshold leaves in.
    fn candidates_of(&self, chunk: Chunk, keys: Vec<Arc<Vector>>) -> Option<Part> {
        let threshold = self
            .threshold
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let Some(threshold) = threshold else {
            return Some(Part {
                batch: chunk.into_batch(),
                keys,
            });
        };
        let near = self.near(&keys[0], &threshold);
        if near.as_ref().is_some_and(Vec::is_empty) {
            return None;
        }
        let rows = match near {
            Some(rows) if self.columns.len() == 1 => rows,
            near => self.rows_before(&keys, near, chunk.rows(), &threshold),
        };
        if rows.is_empty() {
            return None;
        }
        let keys = keys
            .iter()
            .map(|key| Arc::new(gather(key, &rows)))
            .collect();
        let of_batch = rows
            .iter()
            .map(|&i| chunk.selection.row(i as usize) as u32)
            .collect();
        let batch = Chunk {
            batch: chunk.batch,
            selection: Selection::Indices(of_batch),
        }
        .into_batch();
        Some(Part { batch, keys })
    }

    /// Those of the rows `near` (all, without) whose keys come before the threshold.
    fn rows_before(
        &self,
        keys: &[Arc<Vector>],
        near: Option<Vec<u32>>,
        all: usize,
        threshold: &[u8],
    ) -> Vec<u32> {
        let some: Vec<Vector> = match &near {
            Some(near) => keys.iter().map(|key| gather(key, near)).collect(),
            None => Vec::new(),
        };
        let vectors: Vec<&Vector> = match &near {
            Some(_) => some.iter().collect(),
            None => keys.iter().map(|key| &**key).collect(),
        };
        let asked = near.as_ref().map_or(all, Vec::len);
        let normal = NormalKeys::encode(&self.columns, &vectors, asked);
        (0..asked)
            .filter(|&i| self.order.compare(normal.get(i), threshold).is_lt())
            .map(|i| near.as_ref().map_or(i as u32, |near| near[i]))
            .collect()
    }

    /// The rows whose first key does not come after the threshold's, and not with it where there is no other key;
    /// `None`: it is not a number that fits a word.
    fn near(&self, first: &Vector, threshold: &[u8]) -> Option<Vec<u32>> {
        let column = Column {
            nullable: false,
            ..self.columns[0]
        };
        if first.validity.is_some() {
            return None;
        }
        let threshold = match self.order.is_framed() {
            true => threshold.get(FRAME_BYTES..)?,
            false => threshold,
        };
        let width = column.width().filter(|&width| width <= 8)?;
        let words = words_of(&column, first)?;
        // Keys have a marker: whether a NULL, and where these go.
        let (&marker, rest) = threshold.split_first()?;
        match marker.cmp(&u8::from(column.nulls_first)) {
            std::cmp::Ordering::Less => return Some(Vec::new()),
            std::cmp::Ordering::Greater => return None,
            std::cmp::Ordering::Equal => {}
        }
        let mut last = [u8::MAX; 8];
        last[..width].copy_from_slice(rest.get(..width)?);
        // Narrow numbers are in the high bits.
        let shift = u64::BITS - 8 * width as u32;
        let last = u64::from_be_bytes(last) >> shift;
        Some(match self.columns.len() {
            1 => select_all(&words, None, |word| word >> shift < last),
            _ => select_all(&words, None, |word| word >> shift <= last),
        })
    }

    /// Cuts candidates to the best.
    fn cut(&self, query: &Query, mine: &mut Candidates) -> Result<()> {
        query.check()?;
        let (batch, mut order, normal) = sort_parts(&self.types, &self.columns, &mine.parts)?;
        order.truncate(self.rows);
        if let (true, Some(&last)) = (order.len() == self.rows, order.last()) {
            let key = normal.get(last as usize);
            let mut threshold = self
                .threshold
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            let known = threshold.as_deref();
            if known.is_none_or(|known| self.order.compare(key, known).is_lt()) {
                *threshold = Some(key.to_vec());
            }
        }
        let keys = (0..self.columns.len()).map(|number| {
            let pieces: Vec<_> = mine
                .parts
                .iter()
                .map(|part| Arc::clone(&part.keys[number]))
                .collect();
            let physical = self.columns[number].data_type.physical();
            let whole =
                crate::gather::concat(physical, &pieces).ok_or(crate::error::Error::OutOfMemory)?;
            Ok(Arc::new(gather(&whole, &order)))
        });
        let part = Part {
            keys: keys.collect::<Result<_>>()?,
            batch: pick(&batch, &order),
        };
        if part.batch.rows == self.rows {
            self.close_in(&part.keys[0]);
        }
        mine.rows = part.batch.rows;
        let columns = part.batch.columns.iter().chain(&part.keys);
        let bytes = columns.map(|c| memory_bytes(c)).sum();
        // The rows that are wanted cannot be fewer.
        mine.memory.resize_with_floor(bytes, usize::MAX)?;
        mine.parts = vec![part];
        Ok(())
    }

    /// Tells the scan the first key of the last of enough rows.
    fn close_in(&self, first_keys: &Vector) {
        let (Some(bound), Some(last)) = (&self.bound, first_keys.len().checked_sub(1)) else {
            return;
        };
        if first_keys.is_null(last) {
            bound.close_behind_nulls();
            return;
        }
        match &first_keys.values {
            Values::I16(values) => bound.close_in(values[last].into()),
            Values::I32(values) => bound.close_in(values[last].into()),
            Values::I64(values) => bound.close_in(values[last]),
            _ => {}
        }
    }
}
