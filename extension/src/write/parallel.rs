// SPDX-License-Identifier: Apache-2.0
//! Columns of a segment are encoded by the backend's worker threads and its main thread together: while the main thread
//! waits for the segment ([`encode_columns`]), or while it goes on to collect the rows of the next ([`Encoding`]).
use crate::options::settings;
use crate::pg::wait::{self, Waiting};
use crate::plan::threads;
use doris_storage::segment::{encode_column, ColumnSpec, EncodedColumn, WriteOptions};
use doris_storage::sort::{permutation, Direction};
use doris_storage::vector::Vector;
use doris_storage::Error;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Duration;

/// Values below this are not worth waking threads for.
const VALUES_MIN: usize = 64 * 1024;
/// How long the main thread waits for others before it looks for interrupts.
const PATIENCE: Duration = Duration::from_millis(10);

type Slot = Mutex<Option<Result<EncodedColumn, Error>>>;

/// The columns of a segment on their way to being encoded: whoever is free takes the next.
struct Work {
    columns: Vec<(ColumnSpec, Vector)>,
    /// The columns to sort by, by their place in `columns`.
    sort: Vec<usize>,
    /// The order of the rows, once somebody has found it.
    order: OnceLock<Vec<u32>>,
    next: AtomicUsize,
    stop: AtomicBool,
    results: Vec<Slot>,
    /// Columns that are being encoded now.
    busy: Mutex<usize>,
    idle: Condvar,
}

/// Counts a column as being encoded while it lives.
struct Busy<'a>(&'a Work);

impl<'a> Busy<'a> {
    fn begin(work: &'a Work) -> Self {
        if let Ok(mut busy) = work.busy.lock() {
            *busy += 1;
        }
        Self(work)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        if let Ok(mut busy) = self.0.busy.lock() {
            *busy -= 1;
        }
        self.0.idle.notify_all();
    }
}

impl Work {
    fn new(columns: Vec<(ColumnSpec, Vector)>, sort: Vec<usize>) -> Self {
        Self {
            results: columns.iter().map(|_| Mutex::new(None)).collect(),
            columns,
            sort,
            order: OnceLock::new(),
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            busy: Mutex::new(0),
            idle: Condvar::new(),
        }
    }

    /// Encodes the next column; false when there is none left. Calls nothing of PostgreSQL's.
    fn step(&self) -> bool {
        // Who counts as busy before a column is taken cannot be overlooked by who waits for the last.
        let _busy = Busy::begin(self);
        let at = self.next.fetch_add(1, Ordering::Relaxed);
        let (Some((spec, vector)), false) = (self.columns.get(at), self.stopped()) else {
            return false;
        };
        let encoded = if self.sort.is_empty() {
            encode_column(spec, vector, &WriteOptions::default())
        } else {
            let sorted = vector.take(self.order());
            encode_column(spec, &sorted, &WriteOptions::default())
        };
        if let Ok(mut slot) = self.results[at].lock() {
            *slot = Some(encoded);
        }
        true
    }

    fn order(&self) -> &[u32] {
        self.order.get_or_init(|| {
            let keys: Vec<(&Vector, Direction)> = self
                .sort
                .iter()
                .map(|at| (&self.columns[*at].1, Direction::default()))
                .collect();
            permutation(&keys)
        })
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn values(&self) -> usize {
        self.columns.iter().map(|(_, vector)| vector.len()).sum()
    }

    /// Whether a column is being encoded, after a short wait for that to end.
    fn is_busy(&self) -> bool {
        let Ok(busy) = self.busy.lock() else {
            return false;
        };
        match self
            .idle
            .wait_timeout_while(busy, PATIENCE, |busy| *busy > 0)
        {
            Ok((busy, _)) => *busy > 0,
            Err(_) => false,
        }
    }

    /// What became of the columns, in their order.
    fn take(&self) -> Result<Vec<EncodedColumn>, Error> {
        self.results
            .iter()
            .map(|slot| match slot.lock().map(|mut slot| slot.take()) {
                Ok(Some(encoded)) => encoded,
                // A worker panicked.
                _ => Err(Error::Invalid {
                    what: "a column was not encoded",
                }),
            })
            .collect()
    }
}

/// Encodes columns, each once, in their order. Interrupts are serviced between columns.
///
/// # Errors
/// Those of [`encode_column`]: the first column's that failed.
pub fn encode_columns(columns: Vec<(ColumnSpec, Vector)>) -> Result<Vec<EncodedColumn>, Error> {
    let work = Work::new(columns, Vec::new());
    let main = || {
        let _stop = StopOnUnwind(&work.stop);
        while work.step() {
            pgrx::check_for_interrupts!();
        }
    };
    let helpers = if work.values() < VALUES_MIN {
        0
    } else {
        settings::threads() - 1
    };
    match threads::pool(helpers) {
        Some(pool) => pool.in_place_scope(|scope| {
            for _ in 0..helpers {
                scope.spawn(|_| while work.step() {});
            }
            main();
        }),
        None => main(),
    }
    work.take()
}

/// Tells the workers to stop when the main thread leaves by an error.
struct StopOnUnwind<'a>(&'a AtomicBool);

impl Drop for StopOnUnwind<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// Columns that worker threads encode while the main thread does something else. Dropping it stops them, and waits for
/// the columns that they are at.
pub struct Encoding(Arc<Work>);

impl Encoding {
    /// Begins to encode columns, rows in the order of some of them; gives the columns back where there are no threads
    /// for that, or too few values.
    ///
    /// # Errors
    /// The columns.
    #[allow(clippy::type_complexity)]
    pub fn begin(
        columns: Vec<(ColumnSpec, Vector)>,
        sort: Vec<usize>,
    ) -> Result<Self, Vec<(ColumnSpec, Vector)>> {
        let work = Work::new(columns, sort);
        let helpers = settings::threads() - 1;
        let pool = match work.values() {
            VALUES_MIN.. => threads::loaders(helpers),
            _ => None,
        };
        let Some(pool) = pool else {
            return Err(work.columns);
        };
        let work = Arc::new(work);
        for _ in 0..helpers {
            let work = work.clone();
            pool.spawn(move || while work.step() {});
        }
        Ok(Self(work))
    }

    /// The columns, rows in the order they came in.
    pub fn columns(&self) -> &[(ColumnSpec, Vector)] {
        &self.0.columns
    }

    /// Whether rows are put into another order than they came in.
    pub fn sorts(&self) -> bool {
        !self.0.sort.is_empty()
    }

    /// Whether all columns are taken, and hardly anything is left to wait for.
    pub fn is_done(&self) -> bool {
        let work = &self.0;
        work.next.load(Ordering::Relaxed) >= work.columns.len()
            && work.busy.lock().is_ok_and(|busy| *busy == 0)
    }

    /// Helps until all columns are encoded. Interrupts are serviced between columns.
    ///
    /// # Errors
    /// Those of [`encode_column`]: the first column's that failed.
    pub fn finish(&self) -> Result<Vec<EncodedColumn>, Error> {
        while self.0.step() {
            pgrx::check_for_interrupts!();
        }
        {
            let _waiting = Waiting::begin(wait::ENCODING);
            while self.0.is_busy() {
                pgrx::check_for_interrupts!();
            }
        }
        self.0.take()
    }
}

impl Drop for Encoding {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
        while self.0.is_busy() {}
    }
}
