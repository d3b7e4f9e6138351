// SPDX-License-Identifier: Apache-2.0
//! Columns of a segment are encoded by the backend's worker threads and its main thread together.
use crate::options::settings;
use crate::plan::threads;
use doris_storage::segment::{encode_column, ColumnSpec, EncodedColumn, WriteOptions};
use doris_storage::vector::Vector;
use doris_storage::Error;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Mutex;

/// Values below this are not worth waking threads for.
const VALUES_MIN: usize = 64 * 1024;

type Slot = Mutex<Option<Result<EncodedColumn, Error>>>;

/// Encodes columns, each once, in their order. Interrupts are serviced between columns.
///
/// # Errors
/// Those of [`encode_column`]: the first column's that failed.
pub fn encode_columns(
    columns: &[(ColumnSpec, Vector)],
    write: &WriteOptions,
) -> Result<Vec<EncodedColumn>, Error> {
    let results: Vec<Slot> = columns.iter().map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    // Whoever is free takes the next column.
    let step = || {
        let at = next.fetch_add(1, Ordering::Relaxed);
        let (Some((spec, vector)), false) = (columns.get(at), stop.load(Ordering::Relaxed)) else {
            return false;
        };
        let encoded = encode_column(spec, vector, write);
        if let Ok(mut slot) = results[at].lock() {
            *slot = Some(encoded);
        }
        true
    };
    let main = || {
        let _stop = StopOnUnwind(&stop);
        while step() {
            pgrx::check_for_interrupts!();
        }
    };
    let values: usize = columns.iter().map(|(_, vector)| vector.len()).sum();
    let helpers = if values < VALUES_MIN {
        0
    } else {
        settings::threads() - 1
    };
    match threads::pool(helpers) {
        Some(pool) => pool.in_place_scope(|scope| {
            for _ in 0..helpers {
                scope.spawn(|_| while step() {});
            }
            main();
        }),
        None => main(),
    }
    results
        .into_iter()
        .map(|slot| match slot.into_inner() {
            Ok(Some(encoded)) => encoded,
            // A worker that panicked was reported by the pool as that panic; nothing else leaves a gap.
            _ => Err(Error::Invalid {
                what: "a column was not encoded",
            }),
        })
        .collect()
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
