// SPDX-License-Identifier: Apache-2.0
//! Mirrors filled beside the running stream, each by a process of its own.
//!
//! 1. The apply worker begins, between two transactions of the stream, to put the changes of the table aside (spool),
//!    then starts the process.
//! 2. The process waits until what was running has ended, copies under a snapshot and records that (state `copied`).
//!    What the stream had passed before 1 is in the copy.
//! 3. The worker applies what it put aside and the snapshot did not see, and makes the table one of the stream, in one
//!    commit with the position.
//!
//! A number given out at 1 and compared at the end of 2 keeps a process that has outlived its worker from finishing. A
//! worker that starts again has nothing put aside, and begins such copies anew.
use super::catalogue::{self, pause_table, Sync};
use super::copy::{self, Job};
use super::session::{
    abort, caught, changed_value, elevated, set_parameter, set_worker_parameters, start_worker,
    transaction,
};
use super::shared_state;
use super::source::Source;
use super::spool::Spool;
use pgrx::bgworkers::{
    BackgroundWorkerBuilder, BackgroundWorkerStatus, BgWorkerStartTime, DynamicBackgroundWorker,
};
use pgrx::prelude::*;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The origin of what nobody decodes: PostgreSQL's DoNotReplicateId.
pub(crate) const NOT_DECODED: pg_sys::RepOriginId = u16::MAX;
/// A table whose copy fails this often in a row, for a reason that waiting does not cure, is paused.
const FAILURES_MAX: u32 = 3;
const BACK_OFF_MAX_SECONDS: u64 = 60;

/// The copies of a worker.
#[derive(Default)]
pub(crate) struct Copies {
    running: HashMap<u32, Running>,
    failed: HashMap<u32, (u32, Instant)>,
    /// When no worker was free.
    refused: Option<Instant>,
}

struct Running {
    process: DynamicBackgroundWorker,
    spool: Spool,
    /// The transaction that was put aside last.
    xid: u32,
}

impl Running {
    fn has_ended(&self) -> bool {
        matches!(
            self.process.pid(),
            Err(BackgroundWorkerStatus::Stopped | BackgroundWorkerStatus::PostmasterDied)
        )
    }
}

/// Whether a copy could be started.
pub(crate) enum Started {
    Yes,
    /// The table is not to be copied any more.
    Settled,
    NoWorker,
}

impl Copies {
    /// Whether the changes of a table are put aside.
    pub(crate) fn holds(&self, table: u32) -> bool {
        self.running.contains_key(&table)
    }

    /// The number of copies under way.
    pub(crate) fn count(&self) -> usize {
        self.running.len()
    }

    /// Whether the table may be copied now, as far as earlier failures go.
    pub(crate) fn is_due(&self, table: u32) -> bool {
        let pausing = self.refused.is_some_and(|at| at.elapsed().as_secs() < 1);
        !pausing
            && !self.holds(table)
            && self.failed.get(&table).is_none_or(|(times, at)| {
                at.elapsed().as_secs() >= (1u64 << (times - 1).min(6)).min(BACK_OFF_MAX_SECONDS)
            })
    }

    /// Puts a change aside: `begin` is the message its transaction began with, for `xid`.
    pub(crate) fn put(&mut self, table: u32, xid: u32, begin: &[u8], message: &[u8]) {
        let Some(copy) = self.running.get_mut(&table) else {
            return;
        };
        if copy.xid != xid {
            copy.xid = xid;
            copy.spool.push(0, begin, &[]);
        }
        copy.spool.push(0, message, &[]);
    }

    /// Starts to copy a table.
    pub(crate) fn start(&mut self, db: u32, sync: i32, table: u32) -> Started {
        // Nothing was put aside for a copy that somebody else has ended meanwhile.
        let sql = "UPDATE doris.sync_table SET copy_number = copy_number + 1, state = 'init' \
                   WHERE sync = $1 AND source = $2 AND state IN ('init', 'copied') RETURNING copy_number";
        let arguments = [sync.into(), pg_sys::Oid::from(table).into()];
        let number = transaction(|| elevated(|| changed_value::<i32>(sql, &arguments)));
        let Some(number) = number else {
            return Started::Settled;
        };
        let failures = self.failed.get(&table).map_or(0, |f| f.0);
        // SAFETY: reads this process's own pid.
        let worker = unsafe { pg_sys::MyProcPid };
        let name = format!("doris copy of table {table}");
        let process = BackgroundWorkerBuilder::new(&name)
            .set_type("doris copy")
            .set_library("pg_doris")
            .set_function("doris_sync_copy_main")
            .enable_spi_access()
            .set_start_time(BgWorkerStartTime::RecoveryFinished)
            .set_restart_time(None::<Duration>)
            .set_extra(&format!("{db} {sync} {worker} {table} {number} {failures}"))
            .set_notify_pid(worker)
            .load_dynamic();
        let Ok(process) = process else {
            self.refused = Some(Instant::now());
            return Started::NoWorker;
        };
        let copy = Running {
            process,
            spool: Spool::default(),
            xid: 0,
        };
        self.running.insert(table, copy);
        Started::Yes
    }

    /// Whether a process has ended.
    pub(crate) fn any_ended(&self) -> bool {
        self.running.values().any(Running::has_ended)
    }

    /// A table whose process has ended, and what was put aside for it.
    pub(crate) fn ended(&mut self) -> Option<(u32, Spool)> {
        let table = *self.running.iter().find(|(_, c)| c.has_ended())?.0;
        let copy = self.running.remove(&table)?;
        Some((table, copy.spool))
    }

    /// Notes how a copy ended.
    pub(crate) fn note(&mut self, table: u32, good: bool) {
        if good {
            self.failed.remove(&table);
            return;
        }
        let times = self.failed.get(&table).map_or(0, |f| f.0) + 1;
        self.failed.insert(table, (times, Instant::now()));
    }
}

/// The process that copies one table.
#[pg_guard]
#[no_mangle]
pub extern "C-unwind" fn doris_sync_copy_main(_argument: pg_sys::Datum) {
    let text = pgrx::bgworkers::BackgroundWorker::get_extra().to_owned();
    let numbers: Vec<i64> = text.split(' ').filter_map(|w| w.parse().ok()).collect();
    let [db, sync, worker, table, number, failures] = numbers[..] else {
        error!("bad arguments \"{text}\"");
    };
    let (sync, table) = (sync as i32, table as u32);
    start_worker(Some(db as u32));
    set_worker_parameters();
    set_parameter(c"session_replication_role", c"replica");
    set_parameter(c"doris.load_memory", c"64MB");
    // SAFETY: a variable of this process; no position is kept for this origin.
    unsafe { pg_sys::replorigin_session_origin = NOT_DECODED };
    let job = Job {
        db: db as u32,
        worker: worker as i32,
        number: number as i32,
    };
    let Err((message, transient)) = caught(|| copy_table(sync, table, &job)) else {
        return;
    };
    abort();
    let given_up = !transient && failures as u32 + 1 >= FAILURES_MAX;
    let recorded = caught(|| {
        transaction(|| {
            if given_up {
                return pause_table(sync, table, &message);
            }
            let set = "last_error = $3, error_at = pg_catalog.now()";
            catalogue::update_table(sync, table, set, message.clone());
        })
    });
    if recorded.is_err() {
        abort();
    }
    log!("copy of table {table} for doris sync {sync} failed: {message}");
}

fn copy_table(sync: i32, table: u32, job: &Job) {
    let found = transaction(|| {
        let sync = catalogue::sync(sync)?;
        let tables = catalogue::tables(sync.id);
        let table = tables.into_iter().find(|t| t.source == table)?;
        Some((sync, table))
    });
    let Some((sync, table)) = found else { return };
    let mut source = Source::open(&sync);
    copy::fill(&sync, &mut source, &table, Some(job));
    wake(&sync, job);
}

fn wake(sync: &Sync, job: &Job) {
    if let Some(entry) = shared_state::get(job.db, sync.id) {
        shared_state::wake(entry.worker_pid);
    }
}
