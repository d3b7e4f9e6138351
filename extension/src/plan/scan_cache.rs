// SPDX-License-Identifier: Apache-2.0
//! Rows of tables, for a node that runs again and again.
//!
//! A subplan that refers to the rows of its outer query starts a new engine plan for each of them. What it reads does
//! not change meanwhile. The columns that it needs of a small table stay decoded in memory from the second start on;
//! those of a larger one when its starts have read as much as twice all of it, which they may never do where zone maps
//! leave little. Rows that are asked for by the value of a column are looked up in an index of it, once that was asked
//! often enough.
use super::convert::Source;
use super::global_limits;
use super::source::{Counters, TableSource};
use super::threads;
use crate::options::settings;
use crate::pg::large_pages::SetAside;
use doris_engine::batch::Batch;
use doris_engine::column_hash_index::{Asked, ColumnHashIndex};
use doris_engine::error::{Error, Result};
use doris_engine::exec::{Executor, Options};
use doris_engine::gather::memory_bytes;
use doris_engine::memory::{MemoryBudget, Reservation};
use doris_engine::plan::{Node, Op};
use doris_engine::source::{MemorySource, MorselSource};
use doris_storage::segment::ROW_BLOCK_ROWS;
use std::rc::Rc;
use std::sync::Arc;

/// Bytes that a node keeps of small tables.
const SMALL_BYTES_MAX: usize = 4 << 20;

/// Larger ones may take one part in so many of `doris.work_mem`.
const LARGE_SHARE: usize = 4;

/// Such a table is kept when so many times its rows have been read.
const READS_TO_KEEP: u64 = 2;

/// A column gets an index when its value was asked for so many times, of at least so many rows.
const ASKS_TO_INDEX: usize = 16;
const ROWS_TO_INDEX: usize = 4096;

/// What a node keeps of its tables.
#[derive(Default)]
pub struct ScanCache {
    tables: Vec<Table>,
    small: Option<Arc<MemoryBudget>>,
    large: Option<Arc<MemoryBudget>>,
    /// What the node's operators take their memory from: joins keep tables from one start to the next.
    runs: Option<Arc<MemoryBudget>>,
    /// For allocations that budgets do not foresee.
    aside: Option<SetAside>,
}

/// Columns of a table.
struct Table {
    rti: u32,
    attributes: Vec<u16>,
    state: State,
    /// Rows that starts have read, and what the last start has read, which is not among them yet.
    read: u64,
    last: Option<Rc<Counters>>,
}

enum State {
    New,
    /// Too large to be kept at once: about so many rows.
    Large(u64),
    /// Too large, or the engine cannot read one of its rows.
    Never,
    Here(Rows),
}

/// All rows of a table.
struct Rows {
    batches: Vec<Batch>,
    rows: usize,
    memory: Reservation,
    /// How often each column was asked for by its value.
    asks: Vec<usize>,
    index: Option<ColumnHashIndex>,
}

/// What a table gives to a start.
pub struct Given {
    /// The rows that may pass its filters.
    pub source: MemorySource,
    /// How many.
    pub rows: usize,
}

impl ScanCache {
    /// The budget of all starts of the node.
    pub fn budget_of_runs(&mut self) -> Arc<MemoryBudget> {
        self.aside.get_or_insert_with(SetAside::now);
        let budget =
            || MemoryBudget::with_parent(settings::work_mem_bytes(), global_limits::memory());
        self.runs.get_or_insert_with(budget).clone()
    }

    /// Forgets everything, but keeps memory aside: PostgreSQL's plan may take all that there is, and reads the same tables.
    pub fn forget(&mut self) {
        *self = Self {
            aside: self.aside.take(),
            ..Self::default()
        };
    }

    /// Between two starts: others may have the memory that the last one has given back.
    pub fn rest(&self) {
        self.budgets().for_each(|budget| budget.shrink());
    }

    /// The most bytes that all starts have had, what is kept among them.
    pub fn peak_bytes(&self) -> usize {
        self.budgets().map(|budget| budget.peak_bytes()).sum()
    }

    fn budgets(&self) -> impl Iterator<Item = &Arc<MemoryBudget>> {
        [&self.small, &self.large, &self.runs].into_iter().flatten()
    }

    /// The rows of source `number` of a plan, if they are kept or can be now. `make` gives a source that leaves out
    /// none; `counters` are those of the start.
    pub fn source(
        &mut self,
        (number, source): (usize, &Source),
        plan: &Node,
        counters: &Rc<Counters>,
        make: impl FnOnce(&Source) -> TableSource,
    ) -> Result<Option<Given>> {
        let same = |table: &Table| table.rti == source.rti && table.attributes == source.attributes;
        let at = self.tables.iter().position(same).unwrap_or_else(|| {
            self.tables.push(Table::new(source));
            self.tables.len() - 1
        });
        if let Some(budget) = self.due(at) {
            let state = match scan_of(plan, number) {
                Some(scan) => read(scan, &self.tables[at], &budget, make)?,
                None => State::Never,
            };
            self.tables[at].state = state;
        }
        self.tables[at].last = Some(counters.clone());
        match &mut self.tables[at].state {
            State::Here(rows) => Ok(Some(rows.give(source)?)),
            _ => Ok(None),
        }
    }

    /// The budget for a table, if it is to be kept from now on.
    fn due(&mut self, at: usize) -> Option<Arc<MemoryBudget>> {
        let table = &mut self.tables[at];
        table.read += table.last.take().map_or(0, |last| {
            last.blocks_read.get() * u64::from(ROW_BLOCK_ROWS) + last.heap_rows.get()
        });
        let budget = |bytes| MemoryBudget::with_parent(bytes, global_limits::memory());
        match table.state {
            State::New => {
                let small = self.small.get_or_insert_with(|| budget(SMALL_BYTES_MAX));
                Some(small.clone())
            }
            State::Large(rows) if table.read >= rows.saturating_mul(READS_TO_KEEP) => {
                let bytes = settings::work_mem_bytes() / LARGE_SHARE;
                let large = self.large.get_or_insert_with(|| budget(bytes));
                Some(large.clone())
            }
            _ => None,
        }
    }
}

impl Table {
    fn new(source: &Source) -> Self {
        Self {
            rti: source.rti,
            attributes: source.attributes.clone(),
            state: State::New,
            read: 0,
            last: None,
        }
    }
}

/// All rows of a table that a scan would read without its filters, or why they are not kept.
fn read(
    scan: &Node,
    table: &Table,
    budget: &Arc<MemoryBudget>,
    make: impl FnOnce(&Source) -> TableSource,
) -> Result<State> {
    let all = make(&Source {
        rti: table.rti,
        attributes: table.attributes.clone(),
        filters: Vec::new(),
        fed: None,
        exact: true,
    });
    let about = all.rows_about();
    match rows_of(scan, table.attributes.len(), budget, all) {
        Ok(rows) => Ok(State::Here(rows)),
        Err(Error::Cancelled) => Err(Error::Cancelled),
        Err(Error::OutOfMemory) if matches!(table.state, State::New) => {
            Ok(about.map_or(State::Never, State::Large))
        }
        Err(_) => Ok(State::Never),
    }
}

fn rows_of(
    scan: &Node,
    width: usize,
    budget: &Arc<MemoryBudget>,
    source: TableSource,
) -> Result<Rows> {
    let Op::Scan(read) = &scan.op else {
        return Err(Error::internal("a source that is not scanned"));
    };
    let mut places = vec![None; width];
    for (at, column) in read.columns.iter().enumerate() {
        places[*column] = Some(at);
    }
    let places: Option<Vec<usize>> = places.into_iter().collect();
    let places = places.ok_or_else(|| Error::not_native("columns of which no scan has all"))?;
    let mut memory = Reservation::new(budget);
    let plan = Node::scan(0, 0, read.columns.clone(), scan.types.clone(), Vec::new());
    let options = Options {
        stop: Some(threads::cancelled),
        ..Options::default()
    };
    let mut executor = Executor::new(plan, vec![Box::new(source)], options);
    let (mut batches, mut rows) = (Vec::new(), 0);
    while let Some(batch) = executor.next_batch()? {
        memory.grow(batch.columns.iter().map(|c| memory_bytes(c)).sum())?;
        let columns = places.iter().map(|at| batch.columns[*at].clone());
        rows += batch.rows;
        batches.push(Batch::new(columns.collect(), batch.rows));
    }
    Ok(Rows {
        batches,
        rows,
        memory,
        asks: vec![0; width],
        index: None,
    })
}

impl Rows {
    /// The rows that a start reads: all that may pass its filters.
    fn give(&mut self, source: &Source) -> Result<Given> {
        // A filter that may fail is not passed over.
        let quiet = source.filters.iter();
        let quiet = quiet.take_while(|filter| filter.is_native() && !filter.can_raise());
        let asked: Vec<Asked> = quiet.filter_map(Asked::of).collect();
        for asked in &asked {
            self.asks[asked.column] += 1;
            if self.index.is_none() && self.asks[asked.column] >= ASKS_TO_INDEX {
                self.make_index(asked.column)?;
            }
        }
        let index = self.index.as_ref();
        let found = index.and_then(|index| {
            let mut asked = asked.iter();
            asked.find_map(|asked| index.find(*asked, &self.batches))
        });
        let rows = found
            .as_ref()
            .map(|found| found.iter().map(|batch| batch.rows).sum());
        Ok(Given {
            rows: rows.unwrap_or(self.rows),
            source: MemorySource::new(found.unwrap_or_else(|| self.batches.clone())),
        })
    }

    /// An index of a column, where it pays and there is memory for it.
    fn make_index(&mut self, column: usize) -> Result<()> {
        // Not asked again for a while, should it come to nothing.
        self.asks[column] = 0;
        if threads::cancelled() {
            return Err(Error::Cancelled);
        }
        let bytes = self.rows * ColumnHashIndex::BYTES_PER_ROW;
        if self.rows >= ROWS_TO_INDEX && self.memory.grow(bytes).is_ok() {
            self.index = ColumnHashIndex::new(column, &self.batches);
        }
        Ok(())
    }
}

/// The scan of a source.
fn scan_of(node: &Node, number: usize) -> Option<&Node> {
    match &node.op {
        Op::Scan(scan) => (scan.source == number).then_some(node),
        _ => node
            .inputs()
            .into_iter()
            .find_map(|input| scan_of(input, number)),
    }
}
