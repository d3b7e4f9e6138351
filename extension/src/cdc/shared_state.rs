// SPDX-License-Identifier: Apache-2.0
//! Shared memory: one entry for each sync that runs or waits to run again. Lost at a restart; nothing depends on it
//! that the catalogue and the replication origins do not tell.
use pgrx::prelude::*;
use pgrx::{pg_shmem_init, PGRXSharedMemory, PgLwLock};
use std::sync::atomic::{AtomicBool, Ordering};

/// Syncs of all databases that can run at once.
pub(crate) const SYNCS_MAX: usize = 64;

/// What is known of one sync.
#[derive(Clone, Copy, Default)]
pub(crate) struct Entry {
    pub(crate) db: u32,
    pub(crate) sync: i32,
    /// The apply worker, or 0.
    pub(crate) worker_pid: i32,
    /// The decoding process, or 0.
    pub(crate) decoder_pid: i32,
    /// Not to be started before this moment of the monotonic clock: setting the time delays nothing.
    pub(crate) not_before_us: i64,
    pub(crate) retries: i32,
    /// The table whose changes failed last, how often in a row, and the position that had been reached then.
    pub(crate) failing: (u32, i32, u64),
    /// No background worker was free when it was to be started.
    pub(crate) no_worker: bool,
    /// The sync has been removed; the entry can go.
    pub(crate) gone: bool,
    /// Bumped when the catalogue says something new about the sync.
    pub(crate) generation: u32,
    /// One more than the generation the worker has acted upon; 0 is none.
    pub(crate) seen: u32,
    /// Tables that the worker knows it has to fill.
    pub(crate) to_fill: u32,
    /// The source is asked to make the slot, which it does when the transactions that run there have ended.
    pub(crate) making_slot: bool,
    /// The worker has the changes up to here.
    pub(crate) received: u64,
    /// Visible in the mirrors up to here.
    pub(crate) applied: u64,
    /// Durable in the mirrors up to here.
    pub(crate) flushed: u64,
    pub(crate) rows: i64,
    pub(crate) transactions: i64,
    pub(crate) batches: i64,
    /// Changed rows applied in a second, lately.
    pub(crate) rate: f64,
    /// Bytes of WAL that the sync's slot held back when it was dropped for that; 0 if it was not.
    pub(crate) given_up: u64,
    /// What the slot held back on another server when it was last looked at; 0 is not known.
    pub(crate) retained: u64,
    /// A warning has been given of that.
    pub(crate) retention_warned: bool,
    /// How far the WAL of another server had been written when it was last asked; 0 is not known.
    pub(crate) source_lsn: u64,
    /// Source commit time of the oldest transaction that the worker has, in whole or in part, and that is not applied; 0
    /// is none.
    pub(crate) oldest_us: i64,
    /// Source commit time of the newest transaction applied, and when that happened.
    pub(crate) commit_us: i64,
    pub(crate) applied_us: i64,
    /// The batch being committed: if its worker dies in between, the next one finds out what became of it.
    pub(crate) committing: Batch,
    /// The newest batches, in a ring, and how many there have been.
    pub(crate) noted: [Batch; BATCHES_KEPT],
    pub(crate) batches_noted: u64,
    /// The mirrors are at one position from here on: the end of the newest copy. For sources of this server only.
    pub(crate) copied: u64,
    /// All that was committed at this moment of the monotonic clock is applied; 0 is not known.
    pub(crate) fresh_us: i64,
}

/// What is shown of a sync that waits for a background worker.
pub(crate) const NO_WORKER: &str = "no background worker is free; raise max_worker_processes";

/// Batches that an entry remembers.
pub(crate) const BATCHES_KEPT: usize = 8;

/// A committed batch.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    /// The whole transaction id; 0 is none.
    pub(crate) xid: u64,
    /// The position of the source that the mirrors show with it.
    pub(crate) lsn: u64,
}

impl Entry {
    /// Notes a batch that has committed.
    pub(crate) fn note(&mut self, batch: Batch) {
        self.noted[self.batches_noted as usize % BATCHES_KEPT] = batch;
        self.batches_noted += 1;
        self.committing = Batch::default();
    }
}

/// Copies that can be shown at once.
const COPIES_MAX: usize = 64;

/// A mirror being filled.
#[derive(Clone, Copy, Default)]
pub(crate) struct Copy {
    pub(crate) db: u32,
    pub(crate) sync: i32,
    pub(crate) source: u32,
    pub(crate) rows: u64,
    /// The transaction of the source that has to end before it begins, or 0.
    pub(crate) awaited: u64,
    /// The process that fills it; one that was ended from outside has not tidied up.
    pub(crate) pid: i32,
}

/// The whole of the shared memory.
#[derive(Clone, Copy)]
pub(crate) struct SharedState {
    pub(crate) launcher_pid: i32,
    /// The syncs that existed when the server started are in the shared state.
    pub(crate) counted: bool,
    pub(crate) entries: [Entry; SYNCS_MAX],
    pub(crate) copies: [Copy; COPIES_MAX],
}

impl Default for SharedState {
    fn default() -> Self {
        SharedState {
            launcher_pid: 0,
            counted: false,
            entries: [Entry::default(); SYNCS_MAX],
            copies: [Copy::default(); COPIES_MAX],
        }
    }
}

// SAFETY: plain numbers, read and written under the lock only.
unsafe impl PGRXSharedMemory for SharedState {}

// SAFETY: the name is this extension's own.
static BOARD: PgLwLock<SharedState> = unsafe { PgLwLock::new(c"pg_doris_cdc") };
static PRELOADED: AtomicBool = AtomicBool::new(false);

#[allow(unexpected_cfgs)] // The macro names versions that this crate has no feature for.
fn reserve() {
    pg_shmem_init!(BOARD);
}

/// Reserves the memory; to be called while libraries are preloaded.
pub(crate) fn init() {
    reserve();
    PRELOADED.store(true, Ordering::Relaxed);
}

/// Whether there is a board, and so a launcher.
pub(crate) fn exists() -> bool {
    PRELOADED.load(Ordering::Relaxed)
}

impl SharedState {
    /// The entry of a sync, made if there is room.
    pub(crate) fn entry(&mut self, db: u32, sync: i32) -> Option<&mut Entry> {
        let at = self
            .position(db, sync)
            .or_else(|| self.entries.iter().position(|e| e.sync == 0))?;
        let entry = &mut self.entries[at];
        if entry.sync == 0 {
            *entry = Entry {
                db,
                sync,
                ..Entry::default()
            };
        }
        Some(entry)
    }

    /// Where the sync's entry is.
    pub(crate) fn position(&self, db: u32, sync: i32) -> Option<usize> {
        self.entries
            .iter()
            .position(|e| e.sync == sync && e.db == db)
    }
}

/// Reads the shared state.
pub(crate) fn read<R>(f: impl FnOnce(&SharedState) -> R) -> R {
    f(&BOARD.share())
}

/// Changes the shared state.
pub(crate) fn write<R>(f: impl FnOnce(&mut SharedState) -> R) -> R {
    f(&mut BOARD.exclusive())
}

/// Takes a place for a sync that the open transaction registers. It is not started before it is announced, when the
/// transaction commits. False if there is no place.
pub(crate) fn take_place(db: u32, sync: i32) -> bool {
    write(|b| match b.entry(db, sync) {
        Some(e) => {
            e.not_before_us = i64::MAX;
            true
        }
        None => false,
    })
}

/// Gives back the place of a sync that was not registered after all.
pub(crate) fn give_back(db: u32, sync: i32) {
    write(|b| {
        let at = b.position(db, sync);
        if let Some(at) = at.filter(|at| b.entries[*at].worker_pid == 0) {
            b.entries[at] = Entry::default();
        }
    });
}

/// A copy of the sync's entry.
pub(crate) fn get(db: u32, sync: i32) -> Option<Entry> {
    read(|b| b.position(db, sync).map(|at| b.entries[at]))
}

/// Changes the sync's entry; makes it if it is missing.
pub(crate) fn update(db: u32, sync: i32, f: impl FnOnce(&mut Entry)) {
    write(|b| {
        if let Some(e) = b.entry(db, sync) {
            f(e);
        }
    });
}

/// Shows the progress of a copy while it lives. Without a free place it shows nothing.
pub(crate) struct Copying(Option<usize>);

impl Copying {
    /// Shows that the mirror of `source` is being filled.
    pub(crate) fn begin(sync: i32, source: u32) -> Self {
        // SAFETY: the database this process is connected to, and its own pid.
        let (db, pid) = unsafe { (u32::from(pg_sys::MyDatabaseId), pg_sys::MyProcPid) };
        Copying(write(|b| {
            for copy in b.copies.iter_mut().filter(|c| !is_alive(c.pid)) {
                *copy = Copy::default();
            }
            let same = |c: &Copy| (c.db, c.sync, c.source) == (db, sync, source);
            let at = b.copies.iter().position(same);
            let at = at.or_else(|| b.copies.iter().position(|c| c.sync == 0))?;
            b.copies[at] = Copy {
                db,
                sync,
                source,
                rows: 0,
                awaited: 0,
                pid,
            };
            Some(at)
        }))
    }

    /// Shows for which transaction of the source it waits; 0 is none.
    pub(crate) fn wait_for(&self, xid: u64) {
        if let Some(at) = self.0 {
            write(|b| b.copies[at].awaited = xid);
        }
    }

    /// Shows the rows copied so far.
    pub(crate) fn show(&self, rows: u64) {
        if let Some(at) = self.0 {
            write(|b| b.copies[at].rows = rows);
        }
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        if let Some(at) = self.0 {
            write(|b| b.copies[at] = Copy::default());
        }
    }
}

/// Whether a process of this server is there.
pub(crate) fn is_alive(pid: i32) -> bool {
    // SAFETY: signal 0 only asks.
    pid > 0 && unsafe { kill(pid, 0) == 0 }
}

/// Lets the launcher look again now.
pub(crate) fn wake_launcher() {
    let pid = read(|b| b.launcher_pid);
    wake(pid);
}

/// Sets the latch of a process.
pub(crate) fn wake(pid: i32) {
    if pid > 0 {
        // SAFETY: every PostgreSQL process answers SIGUSR1 by setting its latch.
        unsafe { kill(pid, 10) };
    }
}

/// Asks a process to end.
pub(crate) fn terminate(pid: i32) {
    if pid > 0 {
        // SAFETY: the process is a worker of this extension, which ends itself on SIGTERM.
        unsafe { kill(pid, 15) };
    }
}

extern "C" {
    fn kill(pid: i32, signal: i32) -> i32;
}

/// A clock of the machine that is the same for all processes and that nobody sets, in microseconds.
pub(crate) fn monotonic_us() -> i64 {
    #[repr(C)]
    struct Time {
        seconds: i64,
        nanoseconds: i64,
    }
    extern "C" {
        fn clock_gettime(clock: i32, time: *mut Time) -> i32;
    }
    const CLOCK_MONOTONIC: i32 = 1;
    let mut time = Time {
        seconds: 0,
        nanoseconds: 0,
    };
    // SAFETY: writes the struct, which is that of 64-bit Linux.
    unsafe { clock_gettime(CLOCK_MONOTONIC, &mut time) };
    time.seconds * 1_000_000 + time.nanoseconds / 1000
}

/// Now, in microseconds since 2000-01-01.
pub(crate) fn now_us() -> i64 {
    // SAFETY: reads the clock.
    unsafe { pg_sys::GetCurrentTimestamp() }
}
