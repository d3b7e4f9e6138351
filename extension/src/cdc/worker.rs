// SPDX-License-Identifier: Apache-2.0
//! The apply worker of a sync.
//!
//! 1. Make the slot if there is none, take the replication origin, start the decoding process behind its position.
//! 2. Fill mirrors that are to be filled.
//! 3. Fold the changes of whole source transactions; write and commit them, with the position, when the batch is
//!    large or old enough or nothing else is waiting. A batch too large for memory is written out early and still
//!    committed only where a source transaction ends.
use super::apply_shell;
use super::board;
use super::catalogue::{self, pause_table, slot_name, Sync};
use super::channel::{Channel, Received};
use super::copy;
use super::decoder_shell::Arguments;
use super::follow::{self, Followed};
use super::join;
use super::session::{
    abort, as_role, begin, caught, check_interrupts, commit, elevated, execute, set_parameter,
    set_worker_parameters, start_worker, transaction, wait, with_snapshot,
};
use super::source::{literal, quoted, Source};
use super::target::{Mirror, RowChange};
use super::{BATCH_KB, BATCH_MS, BATCH_ROWS};
use doris_cdc::fold::Taken;
use doris_cdc::frame::{self, Frame};
use doris_cdc::pgoutput::{decode, Begin, Commit, Message, Relation};
use doris_cdc::Lsn;
use pgrx::bgworkers::BackgroundWorkerBuilder;
use pgrx::prelude::*;
use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::ffi::CString;
use std::time::Instant;

/// A table whose changes fail this often in a row is paused, so that the others go on.
const TABLE_FAILURES_MAX: i32 = 3;
/// The catalogue is looked at this often even without news: the extension may have been dropped.
const LOOK_SECONDS: u64 = 10;
const BACK_OFF_MAX_MS: i64 = 60_000;

/// What the error of a slot that is gone ends with.
const LOST: &str = "doris.resync() fills the mirrors again with a new slot";

/// What decoding says of a slot that was made while a catalogue change was under way and does not know of it: it never
/// will, so that a new slot is made. PostgreSQL takes the changes of transactions for known that began after it had
/// begun to look and before it had seen all that ran.
const UNREADABLE: &str = "could not map filenode";
const UNREADABLE_FAILURES_MAX: i32 = 2;

thread_local! {
    /// The source table whose changes are being applied, to name it when that fails.
    static WORKING_ON: Cell<u32> = const { Cell::new(0) };
}

/// The apply worker.
#[pg_guard]
#[no_mangle]
pub extern "C-unwind" fn doris_sync_worker_main(_argument: pg_sys::Datum) {
    let extra = pgrx::bgworkers::BackgroundWorker::get_extra().to_owned();
    let parsed = extra
        .split_once(' ')
        .and_then(|(d, s)| Some((d.parse().ok()?, s.parse().ok()?)));
    let Some((db, sync)) = parsed else {
        error!("bad arguments \"{extra}\"")
    };
    start_worker(Some(db));
    if !claim(db, sync) {
        return;
    }
    set_worker_parameters();
    set_parameter(c"session_replication_role", c"replica");
    // With what is pending and what is cached, a worker stays below 256 MB.
    set_parameter(c"doris.load_memory", c"64MB");
    if let Err((message, transient)) = caught(|| run(db, sync)) {
        abort();
        report_failure(db, sync, &message, transient);
    }
}

/// Marks the sync as having a worker, until this process ends.
fn claim(db: u32, sync: i32) -> bool {
    // SAFETY: reads this process's own pid.
    let pid = unsafe { pg_sys::MyProcPid };
    let claimed = board::write(|b| match b.entry(db, sync) {
        Some(e) if e.worker_pid == 0 => {
            e.worker_pid = pid;
            e.seen = 0;
            e.not_before_us = 0;
            true
        }
        _ => false,
    });
    if claimed {
        // SAFETY: the function only writes shared memory.
        unsafe { pg_sys::before_shmem_exit(Some(release), pg_sys::Datum::from(sync)) };
    }
    claimed
}

#[pg_guard]
unsafe extern "C-unwind" fn release(_code: i32, sync: pg_sys::Datum) {
    // SAFETY: globals of this process.
    let (db, pid) = unsafe { (u32::from(pg_sys::MyDatabaseId), pg_sys::MyProcPid) };
    let decoder = board::write(|b| {
        let at = b.position(db, sync.value() as i32)?;
        let entry = &mut b.entries[at];
        if entry.worker_pid != pid {
            return None;
        }
        entry.worker_pid = 0;
        Some(entry.decoder_pid)
    });
    board::wake(decoder.unwrap_or(0));
}

/// Records why the worker stops and when it may start again.
fn report_failure(db: u32, sync: i32, message: &str, transient: bool) {
    let retries = board::get(db, sync).map_or(1, |e| e.retries + 1);
    let back_off = (250i64 << retries.min(10)).min(BACK_OFF_MAX_MS);
    // Trying again does not bring a slot back: only news from a user does.
    let lost = message.ends_with(LOST);
    board::update(db, sync, |e| {
        e.retries = retries;
        e.not_before_us = if lost {
            i64::MAX
        } else {
            board::now_us() + back_off * 1000
        };
    });
    let table = WORKING_ON.get();
    let recorded = caught(|| {
        transaction(|| {
            if table != 0 && !transient && retries >= TABLE_FAILURES_MAX {
                pause_table(sync, table, message);
                board::update(db, sync, |e| (e.retries, e.not_before_us) = (0, 0));
            }
            let state = if lost { "lost" } else { "failing" };
            catalogue::set_error(sync, state, message, retries);
            if message.contains(UNREADABLE) && retries >= UNREADABLE_FAILURES_MAX {
                catalogue::set_slot_made(sync, false);
            }
        })
    });
    if recorded.is_err() {
        abort();
    }
    log!("doris sync {sync} stops for {back_off} ms after {retries} failures: {message}");
}

/// Does the work of the sync until it is paused or dropped.
fn run(db: u32, id: i32) {
    let generation = board::get(db, id).map_or(0, |e| e.generation);
    let registered = transaction(|| {
        if catalogue::exists() {
            catalogue::sync(id)
        } else {
            None
        }
    });
    let Some(sync) = registered else {
        return remove(db, id);
    };
    if sync.dropping {
        return remove_remote(db, &sync);
    }
    if sync.paused {
        return park(db, id, generation);
    }
    let mut source = Source::open(&sync);
    check_source(&sync, &mut source);
    make_slot(db, &sync, &mut source);
    let origin_lsn = take_origin(db, id);
    let (channel, handle) = Channel::create();
    let mut applier = Applier::new(db, sync, origin_lsn);
    join::look(&applier.sync, &mut source);
    applier.load();
    applier.fill_new(&mut source);
    applier.binary = applier.can_be_binary(&mut source);
    let local = source.is_local();
    // Connections are kept for as long as they are used only: they cost the source a process.
    drop(source);
    // SAFETY: reads this process's own pid.
    let worker = unsafe { pg_sys::MyProcPid };
    let arguments = Arguments {
        db,
        sync: id,
        worker,
        channel: handle,
        from: origin_lsn,
        binary: applier.binary,
    };
    start_sender(&arguments, local);
    transaction(|| catalogue::set_state(id, "streaming"));
    stream(applier, channel);
}

/// Looks whether the connection still leads to the server the sync was made for.
fn check_source(sync: &Sync, source: &mut Source) {
    let Some(system) = transaction(|| source.check_server()) else {
        return;
    };
    match &sync.source_system {
        Some(known) if *known != system => {
            error!(
                "the connection leads to another server: its identifier is {system}, not {known}"
            )
        }
        Some(_) => {}
        None => transaction(|| {
            let sql = "UPDATE doris.sync SET source_system = $2 WHERE id = $1";
            elevated(|| execute(sql, &[sync.id.into(), system.clone().into()]));
        }),
    }
}

/// Shows the sync as paused; it is not started again before there is news, of which `generation` has the last.
fn park(db: u32, id: i32, generation: u32) {
    transaction(|| catalogue::set_state(id, "paused"));
    board::update(db, id, |e| {
        if e.generation == generation {
            e.not_before_us = i64::MAX;
        }
    });
}

/// Removes what a dropped sync leaves behind: its slot, then the origin that stands for it.
fn remove(db: u32, id: i32) {
    let name = slot_name(db, id);
    drop_slot(&mut Source::Local, &name);
    transaction(|| {
        execute(
            &format!(
                "DROP PUBLICATION IF EXISTS {}",
                catalogue::publication_name(id)
            ),
            &[],
        )
    });
    let name = CString::new(name).unwrap_or_default();
    // SAFETY: the origin belongs to this sync; no session has it set up.
    transaction(|| unsafe { pg_sys::replorigin_drop_by_name(name.as_ptr(), true, false) });
    board::update(db, id, |e| e.gone = true);
}

/// Removes what a dropped sync leaves on another server, then the sync itself.
fn remove_remote(db: u32, sync: &Sync) {
    transaction(|| catalogue::set_state(sync.id, "dropping"));
    let mut source = Source::open(sync);
    if sync.slot_made {
        drop_slot(&mut source, &sync.slot());
    }
    if sync.publication.is_none() {
        let name = quoted(&sync.publication());
        transaction(|| source.run(&format!("DROP PUBLICATION IF EXISTS {name}")));
    }
    transaction(|| {
        elevated(|| execute("DELETE FROM doris.sync WHERE id = $1", &[sync.id.into()]));
    });
    remove(db, sync.id);
}

fn drop_slot(source: &mut Source, slot: &str) {
    wait_for_idle(source, slot);
    let sql = format!(
        "SELECT pg_catalog.pg_drop_replication_slot(slot_name)::pg_catalog.text \
         FROM pg_catalog.pg_replication_slots WHERE slot_name = {}",
        literal(slot)
    );
    transaction(|| source.value(&sql));
}

/// Waits a while for the decoding process of an earlier worker to let go of the slot.
fn wait_for_idle(source: &mut Source, slot: &str) {
    let sql = format!(
        "SELECT active::pg_catalog.text FROM pg_catalog.pg_replication_slots WHERE slot_name = {}",
        literal(slot)
    );
    for _ in 0..500 {
        if transaction(|| source.value(&sql)).as_deref() != Some("true") {
            return;
        }
        wait(20);
    }
}

/// Sees to it that the slot exists and can go on from where the mirrors are.
fn make_slot(db: u32, sync: &Sync, source: &mut Source) {
    let name = sync.slot();
    let slot = literal(&name);
    let sql = format!(
        "SELECT COALESCE(wal_status, 'reserved') FROM pg_catalog.pg_replication_slots WHERE slot_name = {slot}"
    );
    let status = transaction(|| source.value(&sql));
    match (status.as_deref(), sync.slot_made) {
        (None, true) => match board::get(db, sync.id).map_or(0, |e| e.given_up) {
            0 => error!("replication slot \"{name}\" is gone; {LOST}"),
            bytes => error!(
                "replication slot \"{name}\" held back {} MB of WAL, more than doris.sync_retained_wal, and was dropped; {LOST}",
                bytes >> 20
            ),
        },
        (Some("lost"), true) => {
            error!("replication slot \"{name}\" has lost WAL it needs; {LOST}")
        }
        (Some(_), true) => return,
        (Some(_), false) => drop_slot(source, &name),
        (None, false) => {}
    }
    make_publication(sync, source);
    // Only read, as a slot cannot be made in a transaction that has an id.
    let sql = format!(
        "SELECT lsn::pg_catalog.text FROM pg_catalog.pg_create_logical_replication_slot({slot}, 'pgoutput')"
    );
    transaction(|| source.value(&sql));
    transaction(|| {
        catalogue::set_slot_made(sync.id, true);
        board::update(db, sync.id, |e| e.given_up = 0);
        catalogue::refill_all(sync.id);
    });
}

/// The publication has to be there before the slot: decoding looks it up as of the time of each change.
fn make_publication(sync: &Sync, source: &mut Source) {
    let name = sync.publication();
    let known = format!(
        "SELECT 'yes' FROM pg_catalog.pg_publication WHERE pubname = {}",
        literal(&name)
    );
    if transaction(|| source.value(&known)).is_some() {
        return;
    }
    if sync.publication.is_some() {
        error!("the source has no publication \"{name}\"");
    }
    let sql = format!(
        "CREATE PUBLICATION {} WITH (publish_via_partition_root = true)",
        quoted(&name)
    );
    transaction(|| source.run(&sql));
}

/// Makes the sync's origin the session's and returns its position.
fn take_origin(db: u32, sync: i32) -> Lsn {
    let name = CString::new(slot_name(db, sync)).unwrap_or_default();
    // SAFETY: called once, before the first change is applied.
    unsafe {
        let id = transaction(|| pg_sys::replorigin_by_name(name.as_ptr(), false));
        begin();
        #[cfg(feature = "pg15")]
        pg_sys::replorigin_session_setup(id);
        #[cfg(not(feature = "pg15"))]
        pg_sys::replorigin_session_setup(id, 0);
        commit();
        pg_sys::replorigin_session_origin = id;
        let lsn = pg_sys::replorigin_session_get_progress(false);
        pg_sys::replorigin_session_origin_lsn = lsn;
        Lsn(lsn)
    }
}

/// Starts the process that sends the changes.
fn start_sender(arguments: &Arguments, local: bool) {
    let (kind, function) = if local {
        ("doris decoder", "doris_sync_decoder_main")
    } else {
        ("doris receiver", "doris_sync_receiver_main")
    };
    let started = BackgroundWorkerBuilder::new(&format!("{kind} of sync {}", arguments.sync))
        .set_type(kind)
        .set_library("pg_doris")
        .set_function(function)
        .enable_spi_access()
        .set_start_time(pgrx::bgworkers::BgWorkerStartTime::RecoveryFinished)
        .set_restart_time(None)
        .set_extra(&arguments.to_text())
        // SAFETY: reads this process's own pid.
        .set_notify_pid(unsafe { pg_sys::MyProcPid })
        .load_dynamic();
    match started {
        Ok(handle) if handle.wait_for_startup().is_ok() => {}
        _ => {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
                "no background worker is free for decoding; raise max_worker_processes"
            );
        }
    }
}

/// Receives and applies until the sync is paused or dropped.
fn stream(mut applier: Applier, mut channel: Channel) {
    let mut parcel_bytes = Vec::new();
    loop {
        check_interrupts();
        match channel.receive() {
            Received::Parcel(bytes) => {
                parcel_bytes.clear();
                parcel_bytes.extend_from_slice(bytes);
            }
            Received::Closed => error!("the decoding process ended"),
            Received::Nothing => {
                applier.settle();
                if !applier.in_source_transaction && !applier.renew() {
                    channel.close();
                    return;
                }
                wait(100);
                continue;
            }
        }
        // A stream that never ends must not keep news out.
        if applier.between_batches() && applier.has_news() && !applier.renew() {
            channel.close();
            return;
        }
        let mut parcel = &parcel_bytes[..];
        while let Some(frame) = frame::next(&mut parcel).unwrap_or_else(|e| error!("{e}")) {
            match frame {
                Frame::Data(bytes) => {
                    applier.message(decode(bytes).unwrap_or_else(|e| error!("{e}")))
                }
                Frame::Progress(lsn) => applier.progress = lsn,
                Frame::Failure(why) => error!("{why}"),
            }
        }
    }
}

struct Applier {
    db: u32,
    sync: Sync,
    generation: u32,
    looked: Instant,
    mirrors: HashMap<u32, Mirror>,
    /// All descriptions seen: each is sent once, maybe before its table is known here.
    relations: HashMap<u32, Relation>,
    begin: Begin,
    in_source_transaction: bool,
    /// A transaction of ours is open and holds part of the batch.
    open: bool,
    rows: i64,
    transactions: i64,
    batch_bytes: usize,
    batch_began: Option<Instant>,
    /// The end of the newest whole source transaction in the batch.
    last: Commit,
    applied: Lsn,
    /// Everything before this has been received.
    progress: Lsn,
    /// The stream may carry binary values.
    binary: bool,
    /// A connection that may soon be needed again.
    source: Option<Source>,
    /// Positions committed and the ends of their local commit records, not known to be on disk yet.
    unflushed: VecDeque<(Lsn, u64)>,
}

impl Applier {
    fn new(db: u32, sync: Sync, applied: Lsn) -> Self {
        Applier {
            db,
            sync,
            generation: 0,
            looked: Instant::now(),
            mirrors: HashMap::new(),
            relations: HashMap::new(),
            begin: Begin::default(),
            in_source_transaction: false,
            open: false,
            rows: 0,
            transactions: 0,
            batch_bytes: 0,
            batch_began: None,
            last: Commit::default(),
            applied,
            progress: Lsn(0),
            binary: true,
            source: None,
            unflushed: VecDeque::new(),
        }
    }

    /// Reads what is registered; keeps what is known of tables that are unchanged.
    fn load(&mut self) {
        self.generation = board::get(self.db, self.sync.id).map_or(0, |e| e.generation);
        let mut tables = transaction(|| catalogue::tables(self.sync.id));
        tables.retain(|t| t.has_mirror());
        let mut before = std::mem::take(&mut self.mirrors);
        for table in tables {
            let mut mirror = Mirror::new(table.clone());
            mirror.relation = self.relations.get(&table.source).cloned();
            if let Some(old) = before.remove(&table.source) {
                if (old.table.target, &old.table.columns) == (table.target, &table.columns) {
                    mirror.plan = old.plan;
                }
            }
            self.mirrors.insert(table.source, mirror);
        }
        let to_fill = self
            .mirrors
            .values()
            .filter(|m| m.table.state == "init")
            .count() as u32;
        let generation = self.generation;
        board::update(self.db, self.sync.id, |e| {
            (e.seen, e.to_fill) = (generation + 1, to_fill)
        });
    }

    /// Fills the mirrors that are to be filled, and those that are registered meanwhile.
    fn fill_new(&mut self, source: &mut Source) {
        loop {
            let waiting = self.mirrors.values().map(|m| &m.table);
            let Some(table) = waiting
                .filter(|t| t.state == "init")
                .min_by_key(|t| t.source)
                .cloned()
            else {
                return;
            };
            transaction(|| catalogue::set_state(self.sync.id, "copying"));
            WORKING_ON.set(table.source);
            copy::fill(&self.sync, source, &table);
            WORKING_ON.set(0);
            transaction(|| catalogue::set_state(self.sync.id, "streaming"));
            self.load();
        }
    }

    /// Looks whether the catalogue has news. False if this worker has nothing more to do.
    fn renew(&mut self) -> bool {
        if !self.has_news() && self.looked.elapsed().as_secs() < LOOK_SECONDS {
            return true;
        }
        self.looked = Instant::now();
        let generation = board::get(self.db, self.sync.id).map_or(0, |e| e.generation);
        let now = transaction(|| {
            if catalogue::exists() {
                catalogue::sync(self.sync.id)
            } else {
                None
            }
        });
        match now {
            Some(sync) if !sync.paused && !sync.dropping && sync.slot_made => self.sync = sync,
            Some(sync) if sync.paused => {
                park(self.db, self.sync.id, generation);
                return false;
            }
            // The next worker sees to it.
            _ => {
                board::update(self.db, self.sync.id, |e| e.not_before_us = 0);
                return false;
            }
        }
        let mut source = self.source.take();
        if self.sync.matching || self.sync.connection.is_some() {
            let source = source.get_or_insert_with(|| Source::open(&self.sync));
            if join::look(&self.sync, source) {
                board::update(self.db, self.sync.id, |e| e.generation += 1);
            }
            self.ask_position(source);
        }
        if self.has_news() {
            self.load();
            let mut waiting = self.mirrors.values();
            if waiting.any(|m| m.table.state == "init") {
                let source = source.get_or_insert_with(|| Source::open(&self.sync));
                self.fill_new(source);
                if self.binary && !self.can_be_binary(source) {
                    // The stream has to begin again, without binary values.
                    board::update(self.db, self.sync.id, |e| e.not_before_us = 0);
                    return false;
                }
            }
        }
        true
    }

    /// Whether the catalogue has changed since it was read.
    fn has_news(&self) -> bool {
        board::get(self.db, self.sync.id).is_none_or(|e| e.generation != self.generation)
    }

    /// Whether nothing is pending.
    fn between_batches(&self) -> bool {
        !self.in_source_transaction && self.transactions == 0 && !self.open
    }

    /// Whether values of all mirrored tables mean the same here in their binary form.
    fn can_be_binary(&self, source: &mut Source) -> bool {
        let tables: Vec<u32> = self.mirrors.keys().copied().collect();
        transaction(|| source.can_be_binary(&tables))
    }

    /// Notes how far the WAL of another server is, to show the lag.
    fn ask_position(&self, source: &mut Source) {
        if source.is_local() {
            return;
        }
        let sql = "SELECT (pg_catalog.pg_current_wal_flush_lsn() - '0/0')::pg_catalog.text";
        let position = transaction(|| source.value(sql)).and_then(|p| p.parse().ok());
        board::update(self.db, self.sync.id, |e| {
            e.source_lsn = position.unwrap_or(0)
        });
    }

    fn message(&mut self, message: Message<'_>) {
        match message {
            Message::Begin(begin) => {
                self.begin = begin;
                self.in_source_transaction = true;
            }
            Message::Commit(commit) => self.end_of_transaction(commit),
            Message::Relation(relation) => {
                let id = relation.id;
                self.relations.insert(id, relation.clone());
                if self
                    .mirrors
                    .get(&id)
                    .is_some_and(|m| m.relation.as_ref() != Some(&relation))
                {
                    self.write_out(id);
                    if let Some(mirror) = self.mirrors.get_mut(&id) {
                        mirror.relation = Some(relation);
                        mirror.plan = None;
                    }
                }
            }
            Message::Insert { relation, new } => {
                self.change(relation, RowChange::Insert(new), new.bytes().len())
            }
            Message::Update { relation, old, new } => {
                self.change(relation, RowChange::Update(old, new), new.bytes().len());
            }
            Message::Delete { relation, old } => {
                self.change(relation, RowChange::Delete(old), old.tuple().bytes().len());
            }
            Message::Truncate { relations, .. } => {
                relations.into_iter().for_each(|r| self.truncate(r))
            }
            Message::Origin | Message::Type { .. } | Message::Emitted => {}
        }
    }

    /// Whether the current source transaction concerns the mirror: it is filled, and the copy does not hold it.
    fn concerns(&self, relation: u32) -> bool {
        self.mirrors.get(&relation).is_some_and(|m| {
            m.table.state == "streaming"
                && !m
                    .table
                    .snapshot
                    .as_ref()
                    .is_some_and(|s| s.holds(self.begin.xid, self.begin.commit_lsn))
        })
    }

    fn change(&mut self, relation: u32, change: RowChange<'_>, bytes: usize) {
        if !self.concerns(relation) || !self.in_step(relation) {
            return;
        }
        self.batch_began.get_or_insert_with(Instant::now);
        loop {
            let plan = self
                .mirrors
                .get_mut(&relation)
                .and_then(|m| m.plan.as_mut());
            match plan.map(|p| p.offer(change)) {
                Some(Ok(Taken::FlushFirst)) => self.write_out(relation),
                Some(Err(e)) => {
                    WORKING_ON.set(relation);
                    error!("{e}");
                }
                _ => break,
            }
        }
        self.rows += 1;
        self.batch_bytes += bytes + 100;
        if self.batch_bytes > BATCH_KB.get() as usize * 1024 {
            self.write_out_all();
        }
    }

    /// Brings the mirror in step with the stream. False if its changes are not to be applied now.
    fn in_step(&mut self, relation: u32) -> bool {
        let Some(mirror) = self.mirrors.get_mut(&relation) else {
            return false;
        };
        if mirror.plan.is_some() {
            return true;
        }
        if !self.open {
            begin();
            self.open = true;
        }
        self.batch_began.get_or_insert_with(Instant::now);
        WORKING_ON.set(relation);
        let (id, owner) = (self.sync.id, self.sync.owner);
        // At the beginning of a stream each table is looked up: not with a connection each.
        let source = self.source.get_or_insert_with(|| Source::open(&self.sync));
        let followed = with_snapshot(|| {
            let followed = follow::follow(id, owner, source, mirror);
            match &followed {
                Ok(Followed::InStep) => {}
                Ok(Followed::Refill) => {
                    catalogue::update_table(id, relation, "state = $3", "init");
                    mirror.table.state = "init".into();
                    board::update(self.db, id, |e| e.generation += 1);
                }
                Err(why) => {
                    pause_table(id, relation, why);
                    mirror.table.state = "paused".into();
                }
            }
            followed
        });
        // SAFETY: a transaction is open.
        unsafe { pg_sys::CommandCounterIncrement() };
        WORKING_ON.set(0);
        matches!(followed, Ok(Followed::InStep))
    }

    fn truncate(&mut self, relation: u32) {
        if !self.concerns(relation) {
            return;
        }
        let Some(mirror) = self.mirrors.get_mut(&relation) else {
            return;
        };
        if let Some(plan) = &mut mirror.plan {
            plan.clear();
        }
        let target = mirror.table.target;
        self.batch_began.get_or_insert_with(Instant::now);
        self.rows += 1;
        if !self.open {
            begin();
            self.open = true;
        }
        WORKING_ON.set(relation);
        let owner = self.sync.owner;
        with_snapshot(|| match follow::relation_name(target) {
            Ok(name) => as_role(owner, || apply_shell::truncate(&name)),
            Err(e) => error!("{e}"),
        });
        // SAFETY: a transaction is open.
        unsafe { pg_sys::CommandCounterIncrement() };
        WORKING_ON.set(0);
    }

    /// Writes the pending changes of one mirror into the open transaction.
    fn write_out(&mut self, relation: u32) {
        let Some(mirror) = self.mirrors.get_mut(&relation) else {
            return;
        };
        let Some(plan) = mirror.plan.as_mut().filter(|p| !p.is_empty()) else {
            return;
        };
        if !self.open {
            begin();
            self.open = true;
        }
        WORKING_ON.set(relation);
        let missing = as_role(self.sync.owner, || {
            apply_shell::write(mirror.table.target, plan)
        });
        if missing > 0 {
            warning!(
                "{missing} rows to change were not in the mirror of {}",
                mirror.table.source_name
            );
        }
        WORKING_ON.set(0);
        plan.clear();
    }

    fn write_out_all(&mut self) {
        let mut all: Vec<u32> = self.mirrors.keys().copied().collect();
        all.sort_unstable();
        all.into_iter().for_each(|r| self.write_out(r));
        self.batch_bytes = 0;
    }

    fn end_of_transaction(&mut self, commit: Commit) {
        self.in_source_transaction = false;
        self.last = commit;
        self.transactions += 1;
        let old = |b: &Instant| b.elapsed().as_millis() >= BATCH_MS.get() as u128;
        if self.rows >= BATCH_ROWS.get() as i64 || self.batch_began.as_ref().is_some_and(old) {
            self.commit_batch();
        }
    }

    /// Writes and commits the batch, with the position it leads to.
    fn commit_batch(&mut self) {
        self.write_out_all();
        if self.open {
            // SAFETY: globals of this session, read when the transaction commits.
            unsafe {
                pg_sys::replorigin_session_origin_lsn = self.last.end_lsn.0;
                pg_sys::replorigin_session_origin_timestamp = self.last.commit_us;
            }
            commit();
            self.open = false;
            // SAFETY: the record just written.
            self.unflushed
                .push_back((self.last.end_lsn, unsafe { pg_sys::XactLastCommitEnd }));
        }
        self.applied = self.applied.max(self.last.end_lsn);
        let (rows, transactions) = (
            std::mem::take(&mut self.rows),
            std::mem::take(&mut self.transactions),
        );
        let commit_us = self.last.commit_us;
        self.batch_began = None;
        let applied = self.applied.0;
        board::update(self.db, self.sync.id, |e| {
            e.applied = applied;
            e.received = e.received.max(applied);
            e.rows += rows;
            e.transactions += transactions;
            e.batches += 1;
            e.commit_us = commit_us;
            e.applied_us = board::now_us();
            e.retries = 0;
        });
        self.report_flushed();
    }

    /// Nothing is waiting: commit what is whole, and say how far that is.
    fn settle(&mut self) {
        if self.in_source_transaction {
            return;
        }
        if self.transactions > 0 {
            self.commit_batch();
        }
        self.applied = self.applied.max(self.progress);
        let applied = self.applied.0;
        board::update(self.db, self.sync.id, |e| {
            e.applied = applied;
            e.received = e.received.max(applied);
        });
        self.report_flushed();
    }

    /// Tells the decoder what need not be sent again, whatever happens.
    fn report_flushed(&mut self) {
        // SAFETY: reads shared memory.
        let on_disk = unsafe { pg_sys::GetFlushRecPtr(std::ptr::null_mut()) };
        let mut flushed = Lsn(0);
        while let Some((position, _)) = self
            .unflushed
            .front()
            .filter(|(_, local)| *local <= on_disk)
        {
            flushed = *position;
            self.unflushed.pop_front();
        }
        if self.unflushed.is_empty() {
            flushed = self.applied;
        }
        board::update(self.db, self.sync.id, |e| {
            e.flushed = e.flushed.max(flushed.0)
        });
    }
}
