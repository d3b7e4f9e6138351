// SPDX-License-Identifier: Apache-2.0
//! The launcher: keeps one apply worker running for every sync of every database, and starts workers that compact.
//!
//! The shared state is its list: a registration puts the sync there when it commits. After a start of the server a
//! short-lived process (the origin scan) fills the shared state from pg_replication_origin, where each sync has an
//! origin named after its database and id: origins are shared by all databases and transactional. The launcher itself
//! is connected to no database, which would block CREATE and DROP DATABASE, and so cannot read that catalogue.
use super::catalogue::parse_origin;
use super::session::{begin, column, commit, execute, rows, start_worker, transaction, wait};
use super::shared_state::{self, monotonic_us};
use super::wal_retention;
use crate::compact::Launcher;
use pgrx::bgworkers::{BackgroundWorkerBuilder, BgWorkerStartTime};
use pgrx::prelude::*;
use std::collections::HashSet;
use std::time::Duration;

const LOOK_MS: i64 = 1000;

/// Registers the launcher while libraries are preloaded.
pub(crate) fn register() {
    BackgroundWorkerBuilder::new("doris sync launcher")
        .set_type("doris sync launcher")
        .set_library("pg_doris")
        .set_function("doris_sync_launcher_main")
        .enable_spi_access()
        .set_start_time(BgWorkerStartTime::RecoveryFinished)
        .set_restart_time(Some(Duration::from_secs(5)))
        .load();
}

/// The launcher.
#[pg_guard]
#[no_mangle]
pub extern "C-unwind" fn doris_sync_launcher_main(_argument: pg_sys::Datum) {
    start_worker(None);
    // SAFETY: reads this process's own pid.
    let pid = unsafe { pg_sys::MyProcPid };
    shared_state::write(|b| b.launcher_pid = pid);
    let mut scan_not_before = 0;
    let mut warned = HashSet::new();
    let mut compaction = Launcher::default();
    loop {
        if shared_state::read(|b| b.counted) {
            let entries = shared_state::read(|b| b.entries);
            let alive: Vec<u32> = databases().into_iter().map(|(oid, _)| oid).collect();
            if forget_databases(&alive) {
                // The origin scan drops the origins of databases that are gone.
                start_origin_scan();
            }
            for entry in entries
                .iter()
                .filter(|e| e.sync != 0 && alive.contains(&e.db))
            {
                start_if_due(entry.db, entry.sync);
            }
        } else if scan_not_before <= monotonic_us() {
            scan_not_before = monotonic_us() + 5_000_000;
            start_origin_scan();
        }
        wal_retention::look(&mut warned);
        compaction.look(&databases(), |name, function, extra| {
            start_as("doris compaction", name, function, extra);
        });
        wait(LOOK_MS);
    }
}

/// Frees the entries of databases that are gone; true if there were any.
fn forget_databases(alive: &[u32]) -> bool {
    shared_state::write(|b| {
        let mut any = false;
        for entry in b
            .entries
            .iter_mut()
            .filter(|e| e.sync != 0 && !alive.contains(&e.db))
        {
            any = true;
            *entry = Default::default();
        }
        any
    })
}

/// The databases that can be connected to, and whether each is a template.
fn databases() -> Vec<(u32, bool)> {
    begin();
    let mut found = Vec::new();
    // SAFETY: a scan of pg_database, which can be read without being connected to a database.
    unsafe {
        let rel = pg_sys::table_open(pg_sys::DatabaseRelationId, pg_sys::AccessShareLock as i32);
        let (index, none) = (pg_sys::InvalidOid, std::ptr::null_mut());
        let scan = pg_sys::systable_beginscan(rel, index, false, std::ptr::null_mut(), 0, none);
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            let form = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_database>();
            if (*form).datallowconn {
                found.push((u32::from((*form).oid), (*form).datistemplate));
            }
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(rel, pg_sys::AccessShareLock as i32);
    }
    commit();
    found
}

/// Runs the origin scan in a database that can be connected to, a template only if there is no other.
fn start_origin_scan() {
    if let Some((database, _)) = databases()
        .into_iter()
        .min_by_key(|(_, template)| *template)
    {
        start(
            "doris sync origin scan",
            "doris_sync_origin_scan_main",
            &database.to_string(),
        );
    }
}

/// Puts the syncs of all databases in the shared state; drops the origins of databases that are no more.
#[pg_guard]
#[no_mangle]
pub extern "C-unwind" fn doris_sync_origin_scan_main(_argument: pg_sys::Datum) {
    let Ok(database) = pgrx::bgworkers::BackgroundWorker::get_extra().parse() else {
        return;
    };
    start_worker(Some(database));
    let sql = "SELECT roname, EXISTS (SELECT FROM pg_catalog.pg_database d WHERE roname LIKE 'pg\\_doris\\_' || d.oid || \
               '\\_%') FROM pg_catalog.pg_replication_origin WHERE roname LIKE 'pg\\_doris\\_%'";
    let origins = transaction(|| {
        rows(sql, &[], |r| {
            (
                column::<String>(r, 1).unwrap_or_default(),
                column::<bool>(r, 2).unwrap_or(true),
            )
        })
    });
    for (name, alive) in origins {
        match parse_origin(&name) {
            Some((db, sync)) if alive => shared_state::update(db, sync, |_| ()),
            Some(_) => transaction(|| drop_origin(&name)),
            None => {}
        }
    }
    shared_state::write(|b| b.counted = true);
    shared_state::wake_launcher();
}

fn drop_origin(name: &str) {
    execute(
        "SELECT pg_catalog.pg_replication_origin_drop($1)",
        &[name.into()],
    );
}

fn start(name: &str, function: &str, extra: &str) -> bool {
    start_as("doris sync", name, function, extra)
}

/// Starts a background worker; false if none is free.
fn start_as(kind: &str, name: &str, function: &str, extra: &str) -> bool {
    let started = BackgroundWorkerBuilder::new(name)
        .set_type(kind)
        .set_library("pg_doris")
        .set_function(function)
        .enable_spi_access()
        .set_start_time(BgWorkerStartTime::RecoveryFinished)
        .set_restart_time(None)
        .set_extra(extra)
        // SAFETY: reads this process's own pid.
        .set_notify_pid(unsafe { pg_sys::MyProcPid })
        .load_dynamic();
    if started.is_err() {
        warning!("no background worker is free for \"{name}\"; raise max_worker_processes");
    }
    started.is_ok()
}

/// Starts the sync's worker unless it runs, is paused, or waits after a failure.
fn start_if_due(db: u32, sync: i32) {
    let due = shared_state::write(|b| {
        let Some(at) = b.position(db, sync) else {
            return false;
        };
        let entry = &mut b.entries[at];
        if entry.gone && entry.worker_pid == 0 {
            *entry = Default::default();
            return false;
        }
        let due = entry.worker_pid == 0 && entry.not_before_us <= monotonic_us();
        if due {
            // If it does not come up, it is tried again after this.
            entry.not_before_us = monotonic_us() + 5_000_000;
        }
        due
    });
    if due {
        let name = format!("doris sync {sync} of database {db}");
        let started = start(&name, "doris_sync_worker_main", &format!("{db} {sync}"));
        shared_state::update(db, sync, |e| e.no_worker = !started);
    }
}
