// SPDX-License-Identifier: Apache-2.0
//! The apply worker of a sync.
//!
//! 1. Make the slot if there is none, take the replication origin, start the decoding process behind its position.
//! 2. Have mirrors filled that are to be filled (copier).
//! 3. Fold the changes of whole source transactions; write and commit them, with the position, when the batch is
//!    large or old enough or nothing else is waiting. A batch too large for memory is written out early and still
//!    committed only where a source transaction ends.
use super::applier::{Applier, NEWEST, WORKING_ON};
use super::catalogue::{self, pause_table, slot_name, Sync, OWNERLESS};
use super::channel::{Channel, Received};
use super::decoder_shell::Arguments;
use super::rewrite_watch;
use super::row_converter::LACKS_VALUE;
use super::session::{
    abort, begin, caught, check_interrupts, commit, elevated, execute, set_parameter,
    set_worker_parameters, start_worker, transaction, wait,
};
use super::shared_state::{self, Batch};
use super::source::{literal, quoted, Source};
use super::table_discovery;
use super::wal_retention;
use doris_cdc::frame::{self, Frame};
use doris_cdc::Lsn;
use pgrx::bgworkers::BackgroundWorkerBuilder;
use pgrx::prelude::*;
use std::ffi::CString;

/// A table whose changes fail this often in a row is paused, so that the others go on.
const TABLE_FAILURES_MAX: i32 = 3;
const BACK_OFF_MAX_MS: i64 = 60_000;
const PAUSED_LOOK_US: i64 = 60_000_000;

/// What the error of a slot that is gone ends with.
const LOST: &str = "doris.resync() fills the mirrors again with a new slot";

/// What decoding says of a slot that was made while a catalogue change was under way and does not know of it: it never
/// will, so that a new slot is made. PostgreSQL takes the changes of transactions for known that began after it had
/// begun to look and before it had seen all that ran.
const UNREADABLE: &str = "could not map filenode";
const UNREADABLE_FAILURES_MAX: i32 = 2;

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
    let claimed = shared_state::write(|b| match b.entry(db, sync) {
        Some(e) if e.worker_pid == 0 => {
            e.worker_pid = pid;
            (e.oldest_us, e.making_slot) = (0, false);
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
    let decoder = shared_state::write(|b| {
        let at = b.position(db, sync.value() as i32)?;
        let entry = &mut b.entries[at];
        if entry.worker_pid != pid {
            return None;
        }
        (entry.worker_pid, entry.making_slot) = (0, false);
        Some(entry.decoder_pid)
    });
    shared_state::wake(decoder.unwrap_or(0));
}

/// Records why the worker stops and when it may start again.
fn report_failure(db: u32, sync: i32, message: &str, transient: bool) {
    let retries = shared_state::get(db, sync).map_or(1, |e| e.retries + 1);
    let back_off = (250i64 << retries.min(10)).min(BACK_OFF_MAX_MS);
    // Trying again does not bring a slot or a role back: only news from a user does.
    let lost = message.ends_with(LOST);
    let hopeless = lost || message.ends_with(OWNERLESS);
    shared_state::update(db, sync, |e| {
        e.retries = retries;
        e.not_before_us = if hopeless {
            i64::MAX
        } else {
            shared_state::monotonic_us() + back_off * 1000
        };
    });
    // Neither is a table's fault.
    let table = if hopeless { 0 } else { WORKING_ON.get() };
    let failures = note_table(db, sync, table, transient);
    let message = &with_transaction(message, table);
    let recorded = caught(|| {
        transaction(|| {
            if table != 0 && message.contains(LACKS_VALUE) {
                catalogue::refill(sync, table);
            } else if failures >= TABLE_FAILURES_MAX {
                pause_table(sync, table, message);
                shared_state::update(db, sync, |e| {
                    (e.retries, e.not_before_us, e.failing) = (0, 0, (0, 0, 0));
                });
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

/// How often the changes of this table have failed in a row, for reasons that waiting does not cure.
fn note_table(db: u32, sync: i32, table: u32, transient: bool) -> i32 {
    if table == 0 || transient {
        return 0;
    }
    let mut failures = 0;
    shared_state::update(db, sync, |e| {
        let (before, times, _) = e.failing;
        failures = if before == table { times + 1 } else { 1 };
        e.failing = (table, failures, NEWEST.get().1 .0);
    });
    failures
}

/// Adds which transaction of the source it was. In the first batch that failed it may be an earlier one; from then on
/// each is a batch of its own.
fn with_transaction(message: &str, table: u32) -> String {
    match NEWEST.get() {
        (xid, commit, before) if table != 0 && xid != 0 => {
            let which = if before == 0 { "in" } else { "in or before" };
            format!(
                "{message}; {which} transaction {xid} of the source, which committed at {commit}"
            )
        }
        _ => message.to_owned(),
    }
}

/// Does the work of the sync until it is paused or dropped.
fn run(db: u32, id: i32) {
    let generation = shared_state::get(db, id).map_or(0, |e| e.generation);
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
        wal_retention::look_while_paused(db, &sync);
        return mark_paused(db, &sync, generation);
    }
    sync.check_owner();
    let mut source = Source::open(&sync);
    check_source(&sync, &mut source);
    wal_retention::look_there(db, &sync, &mut source);
    make_slot(db, &sync, &mut source);
    let origin_lsn = take_origin(db, id);
    note_unfinished(db, id, origin_lsn);
    let (channel, handle) = Channel::create();
    let mut applier = Applier::new(db, sync, origin_lsn);
    transaction(|| catalogue::settle_copied(id, origin_lsn));
    rewrite_watch::install();
    applier.look_around(&mut source, generation);
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

/// Shows the sync as paused; it is not started again before there is news, of which `generation` has the last, but to
/// look at what its slot holds back on another server.
pub(super) fn mark_paused(db: u32, sync: &Sync, generation: u32) {
    transaction(|| catalogue::set_state(sync.id, "paused"));
    let until = match sync.connection {
        Some(_) if sync.slot_made => shared_state::monotonic_us() + PAUSED_LOOK_US,
        _ => i64::MAX,
    };
    shared_state::update(db, sync.id, |e| {
        if e.generation == generation {
            e.not_before_us = until;
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
    shared_state::update(db, id, |e| e.gone = true);
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

pub(super) fn drop_slot(source: &mut Source, slot: &str) {
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
        (None, true) => match shared_state::get(db, sync.id).map_or(0, |e| e.given_up) {
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
        "SELECT (lsn - '0/0')::pg_catalog.text FROM pg_catalog.pg_create_logical_replication_slot({slot}, 'pgoutput')"
    );
    shared_state::update(db, sync.id, |e| e.making_slot = true);
    let begin = transaction(|| source.awaited_value(&sql)).and_then(|l| l.parse().ok());
    shared_state::update(db, sync.id, |e| e.making_slot = false);
    set_origin(
        db,
        sync.id,
        begin.unwrap_or_else(|| error!("the slot has no position")),
    );
    transaction(|| {
        catalogue::set_slot_made(sync.id, true);
        shared_state::update(db, sync.id, |e| e.given_up = 0);
        catalogue::refill_all(sync.id);
    });
}

/// What was applied before means nothing to a new slot: the source may be a standby that was promoted, whose WAL goes on
/// from an earlier position, and what it commits up to ours would be taken for known.
fn set_origin(db: u32, sync: i32, position: u64) {
    let name = CString::new(slot_name(db, sync)).unwrap_or_default();
    // SAFETY: the origin belongs to this sync; no session has it set up.
    transaction(|| unsafe {
        let origin = pg_sys::replorigin_by_name(name.as_ptr(), false);
        pg_sys::replorigin_advance(origin, position, 0, true, true);
    });
    shared_state::update(db, sync, |e| {
        (e.received, e.applied, e.flushed, e.fresh_us) = (0, 0, 0, 0);
        (e.committing, e.batches_noted) = (Batch::default(), 0);
    });
}

/// The publication has to be there before the slot: decoding looks it up as of the time of each change.
fn make_publication(sync: &Sync, source: &mut Source) {
    let name = sync.publication();
    let known = format!(
        "SELECT 'yes' FROM pg_catalog.pg_publication WHERE pubname = {}",
        literal(&name)
    );
    let exists = transaction(|| source.value(&known)).is_some();
    if sync.publication.is_some() {
        if !exists {
            error!("the source has no publication \"{name}\"");
        }
        return;
    }
    let sql = format!(
        "CREATE PUBLICATION {} WITH (publish_via_partition_root = true)",
        quoted(&name)
    );
    if !exists {
        transaction(|| source.run(&sql));
    }
    // Tables that joined before, while the source had another publication: a standby was promoted, or it was dropped.
    for table in transaction(|| catalogue::tables(sync.id)) {
        if table.has_mirror() {
            transaction(|| {
                if let Ok(name) = source.relation_name(table.source) {
                    table_discovery::add_to_publication(sync, source, table.source, &name);
                }
            });
        }
    }
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

/// Notes the batch that an earlier worker committed without having time to say so.
fn note_unfinished(db: u32, sync: i32, origin: Lsn) {
    shared_state::update(db, sync, |e| {
        let batch = e.committing;
        if batch.xid != 0 && origin.0 >= batch.lsn {
            e.note(batch);
        }
        e.committing = Batch::default();
        e.applied = e.applied.max(origin.0);
        e.received = e.applied;
    });
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
    let mut packet_bytes = Vec::new();
    loop {
        check_interrupts();
        match channel.receive() {
            Received::Packet(bytes) => {
                packet_bytes.clear();
                packet_bytes.extend_from_slice(bytes);
                applier.receive(frame::reach(bytes).unwrap_or_else(|e| error!("{e}")));
            }
            Received::Closed => error!("the decoding process ended"),
            Received::Nothing => {
                if let Some(pause) = applier.pause_before_commit() {
                    wait(pause.as_millis() as i64);
                    continue;
                }
                applier.commit_complete();
                if !applier.in_source_transaction {
                    if !applier.tend() {
                        channel.close();
                        return;
                    }
                    applier.note_recovery();
                }
                wait(100);
                continue;
            }
        }
        // A stream that never ends must not keep news out.
        if !applier.in_source_transaction && applier.has_tasks() {
            applier.commit_complete();
            if !applier.tend() {
                channel.close();
                return;
            }
        }
        let mut packet = &packet_bytes[..];
        while let Some(frame) = frame::next(&mut packet).unwrap_or_else(|e| error!("{e}")) {
            match frame {
                Frame::Data(bytes) => {
                    applier.piece(bytes);
                }
                Frame::Progress(lsn) => applier.progress = lsn,
                Frame::Failure(why) => error!("{why}"),
            }
        }
    }
}
