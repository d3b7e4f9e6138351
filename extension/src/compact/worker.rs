// SPDX-License-Identifier: Apache-2.0
//! Background compaction: the launcher (that of mirrors, which is connected to no database) starts a worker for a
//! database in which tables were written to; the worker compacts what is due and ends.
use super::candidates::{self, Kind};
use super::job::{Job, JobResult};
use super::shared_state::{self, ShownRun, Unreclaimed, Written};
use super::{cleanup, flush, merge, reclaim, settings};
use crate::cdc::session::{
    abort, begin, caught, column, commit, rows, set_worker_parameters, start_worker, transaction,
    wait,
};
use crate::cdc::shared_state::now_us;
use crate::options::policy;
use crate::pg::toast::Toast;
use crate::pg::vacuum;
use crate::store::directory;
use pgrx::prelude::*;
use std::collections::HashMap;

/// How often all large tables of a database are looked at, for what no notice told.
const SCAN_US: i64 = 3600 * 1_000_000;

/// What the launcher remembers.
#[derive(Default)]
pub struct Launcher {
    scanned_us: HashMap<u32, i64>,
}

impl Launcher {
    /// Starts workers where there is something to do; `databases` are those that can be connected to, and whether each
    /// is a template.
    pub fn look(&mut self, databases: &[(u32, bool)], start: impl Fn(&str, &str, &str)) {
        let alive: Vec<u32> = databases.iter().map(|(db, _)| *db).collect();
        shared_state::forget_databases(&alive);
        self.scanned_us.retain(|db, _| alive.contains(db));
        if !settings::enabled() {
            return;
        }
        let launch = |db: u32, what: &str| {
            let place = shared_state::reserve_worker(db, settings::workers());
            if place {
                let name = format!("doris compaction of database {db}");
                start(
                    &name,
                    "doris_compaction_worker_main",
                    &format!("{db} {what}"),
                );
            }
            place
        };
        for db in shared_state::due_databases() {
            if alive.contains(&db) {
                launch(db, "due");
            }
        }
        let now = now_us();
        let unseen = databases.iter().find(|(db, template)| {
            let last = self.scanned_us.get(db).copied();
            !template && last.is_none_or(|last| last + SCAN_US < now)
        });
        if let Some((db, _)) = unseen {
            if launch(*db, "all") {
                self.scanned_us.insert(*db, now);
            }
        }
    }
}

/// A worker.
#[pg_guard]
#[no_mangle]
pub extern "C-unwind" fn doris_compaction_worker_main(_argument: pg_sys::Datum) {
    let extra = pgrx::bgworkers::BackgroundWorker::get_extra().to_owned();
    let parsed = extra.split_once(' ');
    let Some((Ok(db), what)) = parsed.map(|(db, what)| (db.parse(), what)) else {
        error!("bad arguments \"{extra}\"")
    };
    start_worker(Some(db));
    // SAFETY: reads this process's own pid; the callback only writes shared memory.
    unsafe {
        if !shared_state::claim_worker(pg_sys::MyProcPid) {
            return;
        }
        pg_sys::before_shmem_exit(Some(release), pg_sys::Datum::from(0));
    }
    set_worker_parameters();
    if !settings::enabled() {
        // Off for this database: asked again now and then.
        shared_state::suspend_workers(db, now_us() + 60_000_000);
        return;
    }
    if what == "all" {
        if let Err((message, _)) = caught(|| transaction(look_at_all)) {
            abort();
            warning!("looking for tables to compact failed: {message}");
        }
    }
    while let Some((table, written, rest)) = shared_state::take_due(settings::naptime_us()) {
        compact(table, &written, rest);
        wait(1);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn release(_code: i32, _argument: pg_sys::Datum) {
    // SAFETY: reads this process's own pid.
    shared_state::release_worker(unsafe { pg_sys::MyProcPid });
}

/// Leaves notices of all tables that are large enough to be worth a look.
fn look_at_all() {
    let sql = "SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_am a ON a.oid = c.relam \
               WHERE a.amname = 'doris' AND c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND \
               (pg_catalog.pg_relation_size(c.oid) > 8388608 OR pg_catalog.pg_relation_size(c.reltoastrelid) > 65536)";
    let tables = rows(sql, &[], |r| column::<pg_sys::Oid>(r, 1));
    // SAFETY: reads the database this process is connected to.
    let db = unsafe { pg_sys::MyDatabaseId.to_u32() };
    for table in tables.into_iter().flatten() {
        let (written, retired) = look_at(table);
        if settings::is_worth_it(&written) {
            shared_state::report(db, table.to_u32(), &written);
        }
        if retired {
            shared_state::set_unreclaimed(table, Unreclaimed::begin());
        }
    }
}

/// What a table may have had written to it, by its looks, and whether it has retired segments.
fn look_at(table: pg_sys::Oid) -> (Written, bool) {
    let mode = pg_sys::AccessShareLock as i32;
    // SAFETY: the table is closed again if it is there.
    unsafe {
        let rel = pg_sys::try_table_open(table, mode);
        let (mut written, mut retired) = (Written::default(), false);
        if rel.is_null() {
            return (written, retired);
        }
        if crate::am::is_doris(rel) {
            let fork = pg_sys::ForkNumber::MAIN_FORKNUM;
            if pg_sys::RelationGetNumberOfBlocksInFork(rel, fork) > 1024 {
                written.heap_rows = settings::heap_rows();
            }
            if let Some(toast) = Toast::open(rel, mode) {
                let snapshot = pg_sys::GetActiveSnapshot();
                let all = directory::all(rel, &toast, snapshot);
                written.segments = all
                    .iter()
                    .filter(|f| f.visible && f.entry.level < 2)
                    .count() as u64;
                retired = cleanup::waiting(rel, &toast).any();
            }
        }
        pg_sys::table_close(rel, mode);
        (written, retired)
    }
}

/// What became of a step.
pub enum Outcome {
    /// It has done this.
    Done,
    /// There was nothing to do, or somebody is at work on the table.
    Nothing,
    /// It has failed, and was rolled back.
    Failed,
}

/// Compacts a table, step by step.
fn compact(table: pg_sys::Oid, written: &Written, rest: Unreclaimed) {
    if let Ok(false) = caught(|| transaction(|| policy::is_automatic(table))) {
        shared_state::set_unreclaimed(table, Unreclaimed::default());
        shared_state::subtract_done(table, written);
        return;
    }
    let mut steps = Steps::of(table);
    let mut useful = false;
    let waited_us = now_us() - written.since_us;
    let mut place = flush::Place::default();
    if written.heap_rows >= settings::heap_rows() {
        while let Outcome::Done = steps.step(0, |job| {
            let moves = !job.keeps_heap();
            moves.then(|| flush::heap_rows(job, &mut place)).flatten()
        }) {
            useful = true;
            if place.at_end {
                break;
            }
        }
    }
    for (kind, number) in [(Kind::Cumulative, 1), (Kind::Base, 2)] {
        loop {
            let outcome = steps.step(number, |job| {
                let all = 0..u64::MAX;
                let (inputs, level) = candidates::next(job, kind, &all, waited_us)?;
                merge::segments(job, &inputs, level)
            });
            match outcome {
                Outcome::Done => useful = true,
                Outcome::Nothing | Outcome::Failed => break,
            }
        }
    }
    let marked = shared_state::many_marks(written);
    let unlocked = reclaim::table(&mut steps, rest, place.at_end, marked);
    while let Outcome::Done = steps.step(2, |job| {
        let before_us = now_us() - settings::delete_sign_age_us();
        (cleanup::deleted_keys(job, before_us) > 0).then(JobResult::default)
    }) {}
    if unlocked && !useful {
        let marks = Written {
            marks: written.marks,
            ..Written::default()
        };
        shared_state::subtract_done(table, &marks);
    }
    if useful {
        shared_state::subtract_done(table, written);
    } else if let Ok(Some(series)) = caught(|| transaction(|| policy::time_series(table))) {
        if waited_us < series.wait_us {
            shared_state::postpone(table, written.since_us.saturating_add(series.wait_us));
        }
    }
}

/// The steps of a compaction, each a transaction.
pub struct Steps {
    /// The table.
    pub table: pg_sys::Oid,
    /// The last of their transactions that has changed something, with its epoch; 0: none has.
    pub last: u64,
}

impl Steps {
    fn of(table: pg_sys::Oid) -> Self {
        Self { table, last: 0 }
    }

    /// Runs a step in a transaction of its own, unless somebody else is at work on the table.
    pub fn step(&mut self, kind: u8, work: impl FnOnce(&Job) -> Option<JobResult>) -> Outcome {
        let mut shown = None;
        let table = self.table;
        let last = &mut self.last;
        let result = caught(|| {
            begin();
            let done = Job::open(table, false).and_then(|mut job| {
                job.show(ShownRun::begin(table, kind), true);
                let done = work(&job);
                shown = job.shown.take();
                done
            });
            if done.is_some() {
                // SAFETY: in a transaction.
                let xid = unsafe { pg_sys::GetTopTransactionIdIfAny() };
                commit();
                if xid != pg_sys::InvalidTransactionId {
                    *last = vacuum::full(xid);
                }
            }
            done
        });
        match result {
            Ok(Some(done)) => {
                if let Some(shown) = shown {
                    shown.end(Ok((done != JobResult::default()).then_some(done)));
                }
                slow_down(&done);
                Outcome::Done
            }
            Ok(None) => {
                abort();
                Outcome::Nothing
            }
            Err((message, _)) => {
                abort();
                ShownRun::begin(table, kind).end(Err(&message));
                log!("compaction of table {} failed: {message}", table.to_u32());
                Outcome::Failed
            }
        }
    }
}

/// Keeps to the rate that is set.
fn slow_down(done: &JobResult) {
    let rate = settings::rate_bytes();
    if let Some(milliseconds) = (done.output_bytes * 1000).checked_div(rate) {
        let until = now_us() + milliseconds as i64 * 1000;
        while now_us() < until {
            wait(((until - now_us()) / 1000).clamp(1, 1000));
        }
    }
}
