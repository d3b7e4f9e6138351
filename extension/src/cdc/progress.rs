// SPDX-License-Identifier: Apache-2.0
//! The functions that tell how far syncs are: waiting for one, and what the views show.
use super::board;
use super::catalogue;
use super::session::{current_role, elevated, refuse, value};
use super::source::Source;
use super::surface::{changed_here, find_sync, own_sync};
use pgrx::datum::Interval;
use pgrx::prelude::*;

/// Waits until the mirrors of a sync show everything up to `lsn`: by default all that is committed now.
#[pg_extern(sql = r#"
CREATE FUNCTION doris."wait_for_sync"(name text, lsn pg_lsn DEFAULT NULL, timeout interval DEFAULT '30 s')
RETURNS void LANGUAGE c SET search_path TO pg_catalog, pg_temp AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn wait_for_sync(name: Option<String>, lsn: Option<i64>, timeout: Option<Interval>) {
    let Some(name) = name else { return };
    if changed_here() {
        refuse!(
            ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "this transaction has changed a sync, which happens only after its commit",
            "Wait in a transaction of its own."
        );
    }
    let Some((id, paused)) = find_sync(&name) else {
        refuse!(
            ERRCODE_UNDEFINED_OBJECT,
            format!("there is no sync \"{name}\"")
        );
    };
    if paused {
        refuse!(
            ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("sync \"{name}\" is paused")
        );
    }
    // SAFETY: the database this session is connected to.
    let db = unsafe { u32::from(pg_sys::MyDatabaseId) };
    let sync = elevated(|| catalogue::sync(id)).unwrap_or_else(|| error!("the sync is gone"));
    let wanted = lsn.map_or_else(|| position_now(&sync), |l| l as u64);
    // So that the worker looks for tables that match, and for sources that were written anew: what happened before this
    // call is waited for.
    board::update(db, id, |e| e.generation += 1);
    board::wake(board::get(db, id).map_or(0, |e| e.worker_pid));
    let limit = timeout.map_or(30_000_000, |t| {
        i64::try_from(t.as_micros()).unwrap_or(i64::MAX)
    });
    let until = board::monotonic_us().saturating_add(limit);
    let mut pause = 1;
    loop {
        let entry = board::get(db, id).unwrap_or_default();
        // An answer across mirrors needs them at one position, beyond the newest copy.
        let wanted = wanted.max(entry.copied);
        if entry.seen == entry.generation + 1 && entry.to_fill == 0 && entry.applied >= wanted {
            return;
        }
        if board::monotonic_us() >= until {
            // It may quote rows: it is for those who see it in doris.syncs.
            let role = current_role();
            let why = elevated(|| {
                value::<String>(
                    "SELECT last_error FROM doris.sync WHERE id = $1 AND state <> 'streaming' AND pg_catalog.pg_has_role($2, owner, 'USAGE')",
                    &[id.into(), role.into()],
                )
            });
            let why = if entry.no_worker {
                Some(board::NO_WORKER.to_owned())
            } else {
                why
            };
            refuse!(
                ERRCODE_QUERY_CANCELED,
                format!(
                    "sync \"{name}\" has not reached {} in time",
                    doris_cdc::Lsn(wanted)
                ),
                why.unwrap_or_else(|| format!("It is at {}.", doris_cdc::Lsn(entry.applied)))
            );
        }
        super::session::wait(pause);
        pause = (pause + 1).min(10);
    }
}

/// The end of what is committed on the source.
fn position_now(sync: &catalogue::Sync) -> u64 {
    if sync.connection.is_none() {
        // What is committed may not be on disk yet, where decoding looks for it (synchronous_commit = off).
        return Source::Local.written().0;
    }
    own_sync(&sync.name);
    // What that server has on disk: nothing makes it write what was committed asynchronously.
    Source::open(sync).position().0
}

/// The copies that are under way in this database.
#[pg_extern(sql = r#"
CREATE FUNCTION doris."sync_copies"(OUT sync int, OUT source oid, OUT rows bigint)
RETURNS SETOF record LANGUAGE c STRICT AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn sync_copies() -> TableIterator<
    'static,
    (
        name!(sync, i32),
        name!(source, pg_sys::Oid),
        name!(rows, i64),
    ),
> {
    let mut out = Vec::new();
    if board::exists() {
        // SAFETY: the database this session is connected to.
        let db = unsafe { u32::from(pg_sys::MyDatabaseId) };
        let copies = board::read(|b| b.copies);
        let here = copies
            .iter()
            .filter(|c| c.sync != 0 && c.db == db && board::is_alive(c.pid));
        out.extend(here.map(|c| (c.sync, c.source.into(), c.rows as i64)));
    }
    TableIterator::new(out)
}

/// How far the syncs of this database are.
#[pg_extern(sql = r#"
CREATE FUNCTION doris."sync_progress"(OUT sync int, OUT worker_pid int, OUT received_lsn pg_lsn,
    OUT applied_lsn pg_lsn, OUT flushed_lsn pg_lsn, OUT last_commit_at timestamptz, OUT applied_at timestamptz,
    OUT rows_applied bigint, OUT transactions_applied bigint, OUT batches_applied bigint, OUT source_lsn pg_lsn,
    OUT rows_per_second float8, OUT problem text, OUT retained_bytes bigint)
RETURNS SETOF record LANGUAGE c STRICT AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
#[allow(clippy::type_complexity)]
fn sync_progress() -> TableIterator<
    'static,
    (
        name!(sync, i32),
        name!(worker_pid, Option<i32>),
        name!(received_lsn, Option<i64>),
        name!(applied_lsn, Option<i64>),
        name!(flushed_lsn, Option<i64>),
        name!(last_commit_at, Option<TimestampWithTimeZone>),
        name!(applied_at, Option<TimestampWithTimeZone>),
        name!(rows_applied, i64),
        name!(transactions_applied, i64),
        name!(batches_applied, i64),
        name!(source_lsn, Option<i64>),
        name!(rows_per_second, f64),
        name!(problem, Option<&'static str>),
        name!(retained_bytes, Option<i64>),
    ),
> {
    let mut out = Vec::new();
    if board::exists() {
        // SAFETY: the database this session is connected to.
        let db = unsafe { u32::from(pg_sys::MyDatabaseId) };
        let positive = |n: u64| Some(n as i64).filter(|n| *n != 0);
        let time = |us: i64| TimestampWithTimeZone::try_from(us).ok().filter(|_| us != 0);
        for e in board::read(|b| b.entries)
            .iter()
            .filter(|e| e.sync != 0 && e.db == db)
        {
            out.push((
                e.sync,
                Some(e.worker_pid).filter(|p| *p != 0),
                positive(e.received),
                positive(e.applied),
                positive(e.flushed),
                time(e.commit_us),
                time(e.applied_us),
                e.rows,
                e.transactions,
                e.batches,
                positive(e.source_lsn),
                e.rate,
                e.no_worker.then_some(board::NO_WORKER),
                positive(e.retained),
            ));
        }
    }
    TableIterator::new(out)
}
