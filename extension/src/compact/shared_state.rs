// SPDX-License-Identifier: Apache-2.0
//! Shared memory: which tables may be worth compacting, what runs, and what has run. Writers leave notices; nobody
//! looks through tables that were not written to. Lost at a restart: a look at all large tables makes up for that.
use super::job::JobResult;
use super::settings;
use crate::cdc::shared_state::now_us;
use crate::pg;
use pgrx::prelude::*;
use pgrx::{pg_shmem_init, PGRXSharedMemory, PgLwLock};
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};

const TABLES_MAX: usize = 512;
const FINISHED_MAX: usize = 128;
/// Workers, and sessions that compact by hand, that are shown at once.
pub const RUNS_MAX: usize = 16;
/// Most workers at once.
pub const WORKERS_MAX: usize = 8;
const ERROR_BYTES: usize = 120;
/// Rows after which a session leaves a notice.
const ROWS_PER_NOTICE: u64 = 4096;
/// Rows deleted from segments after which a table is looked at.
const MARKS_MIN: u64 = 16 * 1024;
/// Fruitless looks after which a table has to be written to again.
const FRUITLESS_RUNS_MAX: u32 = 4;
/// Longest time between two looks at a table that waits for its time.
const POSTPONE_US_MAX: i64 = 60_000_000;

/// What was written to a table since it was last compacted.
#[derive(Clone, Copy, Default)]
pub struct Written {
    /// Rows that went to the heap.
    pub heap_rows: u64,
    /// Segments that were loaded.
    pub segments: u64,
    /// Segment rows that were deleted or updated.
    pub marks: u64,
    /// When the first of them was, as far as the shared state knows.
    pub since_us: i64,
}

/// What compaction has left of a table, to be given back once no snapshot needs it.
#[derive(Clone, Copy, Default)]
pub struct Unreclaimed {
    /// When it was left; 0: there is nothing.
    pub since_us: i64,
    /// When it is looked at next.
    pub due_us: i64,
    /// The last transaction that has left something, with its epoch.
    pub xid: u64,
    /// Whether it has emptied the row store.
    pub heap: bool,
    /// How many tuples of the column store it has deleted.
    pub deleted: u64,
}

impl Unreclaimed {
    /// Something is left from now on, which may be looked at at once.
    pub fn begin() -> Self {
        let now = now_us();
        Self {
            since_us: now,
            due_us: now,
            ..Self::default()
        }
    }
}

/// A table that was written to.
#[derive(Clone, Copy, Default)]
struct Table {
    db: u32,
    relid: u32,
    written: Written,
    not_before_us: i64,
    looks: u32,
    /// With so many segments it is worth a look before its time; 0 where it does not wait for one.
    early_segments: u64,
    rest: Unreclaimed,
}

impl Table {
    /// Makes room once nothing is known of it.
    fn forget_if_done(&mut self) {
        let written = &self.written;
        let any = written.heap_rows + written.segments + written.marks > 0;
        if !any && self.rest.since_us == 0 {
            *self = Table::default();
        }
    }

    fn is_due(&self) -> bool {
        let now = now_us();
        let rest = self.rest.since_us != 0 && self.rest.due_us <= now;
        let due = rest || settings::is_worth_it(&self.written);
        self.relid != 0 && self.not_before_us <= now && due
    }
}

/// A worker's place: `pid` is 0 while it is being started.
#[derive(Clone, Copy, Default)]
struct Worker {
    db: u32,
    pid: i32,
    since_us: i64,
}

/// One compaction, running or past.
#[derive(Clone, Copy)]
pub struct Run {
    /// Database and table; 0 is an unused place.
    pub db: u32,
    /// The table.
    pub relid: u32,
    /// The process that runs it.
    pid: i32,
    /// Name of its kind: an index of [`KINDS`].
    pub kind: u8,
    /// Begun at, microseconds since 2000.
    pub started_us: i64,
    /// How long it took; while it runs, -1.
    pub took_us: i64,
    /// What it has done; while it runs, rows read so far.
    pub done: JobResult,
    error: [u8; ERROR_BYTES],
}

/// The kinds of compaction as they are shown.
pub const KINDS: [&str; 4] = ["flush", "cumulative", "base", "full"];

const NO_RUN: Run = Run {
    db: 0,
    relid: 0,
    pid: 0,
    kind: 0,
    started_us: 0,
    took_us: 0,
    done: JobResult {
        inputs: 0,
        input_rows: 0,
        input_bytes: 0,
        outputs: 0,
        output_rows: 0,
        output_bytes: 0,
    },
    error: [0; ERROR_BYTES],
};

impl Run {
    /// Whether the process that runs it is still there.
    fn is_alive(&self) -> bool {
        // SAFETY: looks the process up in shared memory.
        self.took_us >= 0 || !unsafe { pg_sys::BackendPidGetProc(self.pid) }.is_null()
    }

    /// Why it failed, if it did.
    pub fn error(&self) -> Option<String> {
        let end = self.error.iter().position(|b| *b == 0);
        let bytes = &self.error[..end.unwrap_or(ERROR_BYTES)];
        (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes).into_owned())
    }
}

#[derive(Clone, Copy)]
struct SharedState {
    tables: [Table; TABLES_MAX],
    workers: [Worker; WORKERS_MAX],
    runs: [Run; RUNS_MAX],
    past: [Run; FINISHED_MAX],
    next_past: usize,
}

impl Default for SharedState {
    fn default() -> Self {
        Self {
            tables: [Table::default(); TABLES_MAX],
            workers: [Worker::default(); WORKERS_MAX],
            runs: [NO_RUN; RUNS_MAX],
            past: [NO_RUN; FINISHED_MAX],
            next_past: 0,
        }
    }
}

// SAFETY: plain numbers, read and written under the lock only.
unsafe impl PGRXSharedMemory for SharedState {}

// SAFETY: the name is this extension's own.
static SHARED_STATE: PgLwLock<SharedState> = unsafe { PgLwLock::new(c"pg_doris_compaction") };
static PRELOADED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Rows written to the heap, and segment rows marked, that the shared state does not know of.
    static UNREPORTED: RefCell<Vec<(u32, Written)>> = const { RefCell::new(Vec::new()) };
}

#[allow(unexpected_cfgs)] // The macro names versions that this crate has no feature for.
fn reserve() {
    pg_shmem_init!(SHARED_STATE);
}

/// Reserves the memory; to be called while libraries are preloaded.
pub fn init() {
    reserve();
    PRELOADED.store(true, Ordering::Relaxed);
}

fn database() -> u32 {
    // SAFETY: plain variable of this backend.
    unsafe { pg_sys::MyDatabaseId.to_u32() }
}

fn is_shared(rel: pg_sys::Relation) -> bool {
    // SAFETY: an open relation.
    let persistence = unsafe { (*(*rel).rd_rel).relpersistence } as u8;
    PRELOADED.load(Ordering::Relaxed) && persistence != pg_sys::RELPERSISTENCE_TEMP
}

/// Notes rows that go to the heap of a table.
pub fn count_heap_rows(rel: pg_sys::Relation, rows: u64) {
    count(rel, |written| written.heap_rows += rows);
}

/// Notes segment rows that are deleted or updated.
pub fn count_marks(rel: pg_sys::Relation, rows: u64) {
    count(rel, |written| written.marks += rows);
}

fn count(rel: pg_sys::Relation, add: impl FnOnce(&mut Written)) {
    let relid = pg::relation_id(rel).to_u32();
    let due = UNREPORTED.with_borrow_mut(|unreported| {
        let at = match unreported.iter().position(|(id, _)| *id == relid) {
            Some(at) => at,
            None => {
                unreported.push((relid, Written::default()));
                unreported.len() - 1
            }
        };
        add(&mut unreported[at].1);
        let written = unreported[at].1;
        (written.heap_rows.max(written.marks) >= ROWS_PER_NOTICE)
            .then(|| unreported.swap_remove(at).1)
    });
    if let (Some(written), true) = (due, is_shared(rel)) {
        report(database(), relid, &written);
    }
}

/// Notes a segment that was loaded.
pub fn count_segment(rel: pg_sys::Relation) {
    if is_shared(rel) {
        let written = Written {
            segments: 1,
            ..Written::default()
        };
        report(database(), pg::relation_id(rel).to_u32(), &written);
    }
}

/// Adds to what is known of a table. Without room for it, it waits for the next look at all tables.
pub fn report(db: u32, relid: u32, written: &Written) {
    let mut shared = SHARED_STATE.exclusive();
    let known = shared
        .tables
        .iter()
        .position(|t| t.relid == relid && t.db == db);
    let Some(at) = known.or_else(|| shared.tables.iter().position(|t| t.relid == 0)) else {
        return;
    };
    let table = &mut shared.tables[at];
    if table.relid == 0 {
        *table = Table {
            db,
            relid,
            ..Table::default()
        };
        table.written.since_us = now_us();
    }
    table.written.heap_rows += written.heap_rows;
    table.written.segments += written.segments;
    table.written.marks += written.marks;
    table.looks = 0;
    if table.early_segments > 0 && table.written.segments >= table.early_segments {
        (table.early_segments, table.not_before_us) = (0, 0);
    }
}

/// The databases in which there is something to do, and no worker.
pub fn due_databases() -> Vec<u32> {
    let shared = SHARED_STATE.share();
    let served = |db: u32| shared.workers.iter().any(|w| w.db == db);
    let due = shared.tables.iter().filter(|t| t.is_due() && !served(t.db));
    let mut due: Vec<u32> = due.map(|t| t.db).collect();
    due.sort_unstable();
    due.dedup();
    due
}

/// Takes a place for a worker that is about to be started; false if there is none.
pub fn reserve_worker(db: u32, most: usize) -> bool {
    let mut shared = SHARED_STATE.exclusive();
    let now = now_us();
    for worker in shared
        .workers
        .iter_mut()
        .filter(|w| w.db != 0 && w.pid == 0)
    {
        // It never came up.
        if worker.since_us + 10_000_000 < now {
            *worker = Worker::default();
        }
    }
    let used = shared.workers.iter().filter(|w| w.db != 0).count();
    if used >= most || shared.workers.iter().any(|w| w.db == db) {
        return false;
    }
    match shared.workers.iter_mut().find(|w| w.db == 0) {
        Some(place) => {
            *place = Worker {
                db,
                pid: 0,
                since_us: now,
            };
            true
        }
        None => false,
    }
}

/// This process is the worker of its database; false if it has come too late.
pub fn claim_worker(pid: i32) -> bool {
    let db = database();
    let mut shared = SHARED_STATE.exclusive();
    let place = shared.workers.iter_mut().find(|w| w.db == db && w.pid == 0);
    place.map(|w| w.pid = pid).is_some()
}

/// This process ends.
pub fn release_worker(pid: i32) {
    let mut shared = SHARED_STATE.exclusive();
    for worker in shared.workers.iter_mut().filter(|w| w.pid == pid) {
        *worker = Worker::default();
    }
}

/// The workers of a database, which is not to get others for some time.
pub fn suspend_workers(db: u32, until_us: i64) -> Vec<i32> {
    let mut shared = SHARED_STATE.exclusive();
    for table in shared.tables.iter_mut().filter(|t| t.db == db) {
        table.not_before_us = table.not_before_us.max(until_us);
    }
    let workers = shared.workers.iter().filter(|w| w.db == db && w.pid != 0);
    workers.map(|w| w.pid).collect()
}

/// Forgets databases that are gone.
pub fn forget_databases(alive: &[u32]) {
    let gone = |db: u32| db != 0 && !alive.contains(&db);
    let any = SHARED_STATE.share().tables.iter().any(|t| gone(t.db));
    if any {
        let mut shared = SHARED_STATE.exclusive();
        for table in shared.tables.iter_mut().filter(|t| gone(t.db)) {
            *table = Table::default();
        }
    }
}

/// A table of this database that is due, what was written to it and what was left of it. It is not due again for some
/// time.
pub fn take_due(pause_us: i64) -> Option<(pg_sys::Oid, Written, Unreclaimed)> {
    let db = database();
    let mut shared = SHARED_STATE.exclusive();
    let table = shared
        .tables
        .iter_mut()
        .find(|t| t.db == db && t.is_due())?;
    table.not_before_us = now_us() + pause_us;
    table.looks += 1;
    let taken = (pg_sys::Oid::from(table.relid), table.written, table.rest);
    if table.looks >= FRUITLESS_RUNS_MAX {
        *table = Table::default();
    }
    Some(taken)
}

/// What was written before a compaction is done with.
pub fn subtract_done(relid: pg_sys::Oid, done: &Written) {
    let db = database();
    let mut shared = SHARED_STATE.exclusive();
    let known = |t: &&mut Table| t.db == db && t.relid == relid.to_u32();
    if let Some(table) = shared.tables.iter_mut().find(known) {
        let written = &mut table.written;
        written.heap_rows = written.heap_rows.saturating_sub(done.heap_rows);
        written.segments = written.segments.saturating_sub(done.segments);
        written.marks = written.marks.saturating_sub(done.marks);
        written.since_us = now_us();
        table.looks = 0;
        table.forget_if_done();
    }
}

/// Notes that a compaction by hand has left something of a table, if nothing is noted yet.
pub fn record_unreclaimed(rel: pg_sys::Relation) {
    let (db, relid) = (database(), pg::relation_id(rel));
    let noted = |t: &Table| t.db == db && t.relid == relid.to_u32() && t.rest.since_us != 0;
    if is_shared(rel) && !SHARED_STATE.share().tables.iter().any(noted) {
        set_unreclaimed(relid, Unreclaimed::begin());
    }
}

/// Notes what is left of a table of this database, or that nothing is (`since_us` 0). Without room for it, it waits for
/// the next look at all tables.
pub fn set_unreclaimed(relid: pg_sys::Oid, rest: Unreclaimed) {
    let db = database();
    let mut shared = SHARED_STATE.exclusive();
    let known = |t: &Table| t.db == db && t.relid == relid.to_u32();
    let at = match shared.tables.iter().position(known) {
        None if rest.since_us != 0 => shared.tables.iter().position(|t| t.relid == 0),
        known => known,
    };
    let Some(at) = at else { return };
    let table = &mut shared.tables[at];
    if table.relid == 0 {
        (table.db, table.relid) = (db, relid.to_u32());
        table.written.since_us = now_us();
    }
    table.rest = rest;
    if rest.since_us != 0 {
        table.looks = 0;
    } else {
        table.forget_if_done();
    }
}

/// A table of this database is not due before some time, nor forgotten until then; but it is looked at now and then
/// meanwhile, and when more segments were loaded.
pub fn postpone(relid: pg_sys::Oid, until_us: i64) {
    let db = database();
    let mut shared = SHARED_STATE.exclusive();
    let known = |t: &&mut Table| t.db == db && t.relid == relid.to_u32();
    if let Some(table) = shared.tables.iter_mut().find(known) {
        let now = now_us();
        table.looks = 0;
        let latest = until_us.min(now + POSTPONE_US_MAX);
        table.not_before_us = table.not_before_us.max(latest);
        table.early_segments = table.written.segments + settings::segments_min() as u64;
    }
}

/// Whether enough segment rows were marked for looking at a table.
pub fn many_marks(written: &Written) -> bool {
    written.marks >= MARKS_MIN
}

/// A run that is shown while it lives; without a place for it, it is not.
pub struct ShownRun {
    place: Option<usize>,
    run: Run,
}

impl ShownRun {
    /// Begins to show a compaction.
    pub fn begin(relid: pg_sys::Oid, kind: u8) -> Self {
        let run = Run {
            db: database(),
            relid: relid.to_u32(),
            // SAFETY: reads this process's own pid.
            pid: unsafe { pg_sys::MyProcPid },
            kind,
            started_us: now_us(),
            took_us: -1,
            ..NO_RUN
        };
        if !PRELOADED.load(Ordering::Relaxed) {
            return Self { place: None, run };
        }
        let mut shared = SHARED_STATE.exclusive();
        let place = shared.runs.iter().position(|r| r.db == 0 || !r.is_alive());
        if let Some(at) = place {
            shared.runs[at] = run;
        }
        Self { place, run }
    }

    /// Shows how many rows it has read.
    pub fn progress(&self, rows: u64) {
        if let Some(at) = self.place {
            SHARED_STATE.exclusive().runs[at].done.input_rows = rows;
        }
    }

    /// It has ended: with a result, an error, or without anything to remember.
    pub fn end(mut self, outcome: Result<Option<JobResult>, &str>) {
        let place = self.place.take();
        let Some(at) = place else { return };
        let mut run = self.run;
        run.took_us = now_us() - run.started_us;
        let worth = match outcome {
            Ok(Some(done)) => {
                run.done = done;
                true
            }
            Ok(None) => false,
            Err(error) => {
                let mut end = error.len().min(ERROR_BYTES);
                while !error.is_char_boundary(end) {
                    end -= 1;
                }
                run.error[..end].copy_from_slice(&error.as_bytes()[..end]);
                true
            }
        };
        let mut shared = SHARED_STATE.exclusive();
        shared.runs[at] = NO_RUN;
        if worth {
            let next = shared.next_past;
            shared.past[next] = run;
            shared.next_past = (next + 1) % FINISHED_MAX;
        }
    }
}

impl Drop for ShownRun {
    fn drop(&mut self) {
        // An error, or a cancelled call.
        if let Some(at) = self.place.take() {
            SHARED_STATE.exclusive().runs[at] = NO_RUN;
        }
    }
}

/// The runs of this database, those that run first.
pub fn runs() -> Vec<Run> {
    if !PRELOADED.load(Ordering::Relaxed) {
        return Vec::new();
    }
    let db = database();
    let shared = SHARED_STATE.share();
    let all = shared.runs.iter().chain(&shared.past);
    let known: Vec<Run> = all.filter(|run| run.db == db).copied().collect();
    drop(shared);
    known.into_iter().filter(Run::is_alive).collect()
}
