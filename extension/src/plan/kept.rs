// SPDX-License-Identifier: Apache-2.0
//! Rows of small tables, for a node that runs again and again.
//!
//! A subplan that refers to the rows of its outer query starts a new engine plan for each of them. What it reads does not
//! change meanwhile: from the second time on, the columns that it needs of a small table stay decoded in memory.
use super::convert::Source;
use super::pool;
use super::source::TableSource;
use doris_engine::batch::Batch;
use doris_engine::error::{Error, Result};
use doris_engine::exec::{Executor, Options};
use doris_engine::gather::memory_bytes;
use doris_engine::memory::{MemoryBudget, Reservation};
use doris_engine::plan::{Node, Op};
use doris_engine::source::MemorySource;
use std::sync::Arc;

/// Bytes that a node keeps.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// What a node keeps of its tables.
#[derive(Default)]
pub struct Kept {
    tables: Vec<Table>,
    budget: Option<Arc<MemoryBudget>>,
}

/// Columns of a table.
struct Table {
    rti: u32,
    attributes: Vec<u16>,
    /// All of its rows; `None`: they are too many, or the engine cannot read one of them.
    rows: Option<(Vec<Batch>, Reservation)>,
}

impl Kept {
    /// The rows of source `number` of a plan, if they are kept or can be now. `make` gives a source that leaves out none.
    pub fn source(
        &mut self,
        (number, source): (usize, &Source),
        plan: &Node,
        make: impl FnOnce(&Source) -> TableSource,
    ) -> Result<Option<MemorySource>> {
        let same =
            |table: &&Table| table.rti == source.rti && table.attributes == source.attributes;
        if let Some(table) = self.tables.iter().find(same) {
            return Ok(table.source());
        }
        let all = Source {
            rti: source.rti,
            attributes: source.attributes.clone(),
            filters: Vec::new(),
            fed: None,
            exact: true,
        };
        let rows = match scan_of(plan, number) {
            Some(scan) => match self.read(scan, all.attributes.len(), || make(&all)) {
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                outcome => outcome.ok(),
            },
            None => None,
        };
        let table = Table {
            rti: source.rti,
            attributes: all.attributes,
            rows,
        };
        let found = table.source();
        self.tables.push(table);
        Ok(found)
    }

    /// All rows that a scan would read without its filters.
    fn read(
        &mut self,
        scan: &Node,
        width: usize,
        make: impl FnOnce() -> TableSource,
    ) -> Result<(Vec<Batch>, Reservation)> {
        let Op::Scan(read) = &scan.op else {
            return Err(Error::internal("a source that is not scanned"));
        };
        let mut places = vec![None; width];
        for (at, column) in read.columns.iter().enumerate() {
            places[*column] = Some(at);
        }
        let places: Option<Vec<usize>> = places.into_iter().collect();
        let places = places.ok_or_else(|| Error::not_native("columns of which no scan has all"))?;
        let budget = self
            .budget
            .get_or_insert_with(|| MemoryBudget::with_parent(KEPT_BYTES_MAX, pool::memory()));
        let mut memory = Reservation::new(budget);
        let plan = Node::scan(0, 0, read.columns.clone(), scan.types.clone(), Vec::new());
        let options = Options {
            stop: Some(super::threads::cancelled),
            ..Options::default()
        };
        let mut executor = Executor::new(plan, vec![Box::new(make())], options);
        let mut rows = Vec::new();
        while let Some(batch) = executor.next_batch()? {
            memory.grow(batch.columns.iter().map(|c| memory_bytes(c)).sum())?;
            let columns = places.iter().map(|at| batch.columns[*at].clone());
            rows.push(Batch::new(columns.collect(), batch.rows));
        }
        Ok((rows, memory))
    }
}

impl Table {
    fn source(&self) -> Option<MemorySource> {
        let (rows, _) = self.rows.as_ref()?;
        Some(MemorySource::new(rows.clone()))
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
