// SPDX-License-Identifier: Apache-2.0
//! The functions that tell how far syncs are: waiting for one, and what the views show.
use super::catalogue;
use super::session::{column, current_role, elevated, refuse, rows, value, with_latest_snapshot};
use super::shared_state;
use super::source::Source;
use super::sql_functions::{changed_here, find_sync, own_sync};
use pgrx::datum::Interval;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use std::collections::HashSet;

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
    shared_state::update(db, id, |e| e.generation += 1);
    shared_state::wake(shared_state::get(db, id).map_or(0, |e| e.worker_pid));
    let limit = timeout.map_or(30_000_000, |t| {
        i64::try_from(t.as_micros()).unwrap_or(i64::MAX)
    });
    let until = shared_state::monotonic_us().saturating_add(limit);
    let mut pause = 1;
    loop {
        let entry = shared_state::get(db, id).unwrap_or_default();
        // An answer across mirrors needs them at one position, beyond the newest copy.
        let wanted = wanted.max(entry.copied);
        if entry.seen == entry.generation + 1 && entry.to_fill == 0 && entry.applied >= wanted {
            return check_paused(id, &name);
        }
        if shared_state::monotonic_us() >= until {
            // It may quote rows: it is for those who see it in doris.syncs.
            let role = current_role();
            let why = with_latest_snapshot(|| {
                elevated(|| {
                    value::<String>(
                        "SELECT last_error FROM doris.sync WHERE id = $1 AND state <> 'streaming' AND pg_catalog.pg_has_role($2, owner, 'USAGE')",
                        &[id.into(), role.into()],
                    )
                })
            });
            let why = if entry.no_worker {
                Some(shared_state::NO_WORKER.to_owned())
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

/// An error if a mirror of the sync is paused: it does not show what the others do.
fn check_paused(id: i32, name: &str) {
    // Names may be another server's, and errors quote rows: both are for those who see them in doris.sync_tables.
    const SQL: &str = "SELECT s.matching, \
         string_agg(t.source_name, ', ' ORDER BY t.source_name) FILTER (WHERE pg_has_role($2, s.owner, 'USAGE')), \
         min(t.last_error) FILTER (WHERE pg_has_role($2, s.owner, 'USAGE')) FROM doris.sync_table t \
         JOIN doris.sync s ON s.id = t.sync WHERE t.sync = $1 AND t.state = 'paused' GROUP BY s.id";
    let arguments = [id.into(), current_role().into()];
    let read = |r: &pgrx::spi::SpiHeapTupleData<'_>| {
        let matching = column::<bool>(r, 1) == Some(true);
        (matching, column::<String>(r, 2), column::<String>(r, 3))
    };
    // What happened since the statement began counts.
    let found = with_latest_snapshot(|| elevated(|| rows(SQL, &arguments, read)));
    let Some((matching, paused, why)) = found.into_iter().next() else {
        return;
    };
    let paused = paused.map_or_else(String::new, |paused| format!(": {paused}"));
    let mut report = ErrorReport::new(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("mirrors of sync \"{name}\" are paused and do not follow their sources{paused}"),
        pgrx::function_name!(),
    )
    .set_hint(match matching {
        true => "Remove the cause and call doris.resync(), or make the sync anew without them.",
        false => {
            "Remove the cause and call doris.resync(), or end the mirror with doris.unsync_table()."
        }
    });
    if let Some(why) = why {
        report = report.set_detail(why);
    }
    report.report(PgLogLevel::ERROR);
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

/// The syncs that the current role may see in the views: its own, and those of roles it is a member of.
fn visible() -> HashSet<i32> {
    let sql = "SELECT id FROM doris.sync WHERE pg_has_role($1, owner, 'USAGE')";
    let role = current_role();
    let ids = elevated(|| rows(sql, &[role.into()], |r| column::<i32>(r, 1)));
    ids.into_iter().flatten().collect()
}

/// The copies that are under way in this database, of syncs that the current role may see.
#[pg_extern(sql = r#"
CREATE FUNCTION doris."sync_copies"(OUT sync int, OUT source oid, OUT rows bigint, OUT process int, OUT awaited bigint)
RETURNS SETOF record LANGUAGE c STRICT AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn sync_copies() -> TableIterator<
    'static,
    (
        name!(sync, i32),
        name!(source, pg_sys::Oid),
        name!(rows, i64),
        name!(process, i32),
        name!(awaited, Option<i64>),
    ),
> {
    let mut out = Vec::new();
    if shared_state::exists() {
        // SAFETY: the database this session is connected to.
        let db = unsafe { u32::from(pg_sys::MyDatabaseId) };
        let (copies, visible) = (shared_state::read(|b| b.copies), visible());
        let here = copies
            .iter()
            .filter(|c| c.db == db && visible.contains(&c.sync) && shared_state::is_alive(c.pid));
        out.extend(here.map(|c| {
            let awaited = Some(c.awaited as i64).filter(|xid| *xid != 0);
            (c.sync, c.source.into(), c.rows as i64, c.pid, awaited)
        }));
    }
    TableIterator::new(out)
}

/// How far the syncs of this database are that the current role may see.
#[pg_extern(sql = r#"
CREATE FUNCTION doris."sync_progress"(OUT sync int, OUT worker_pid int, OUT received_lsn pg_lsn,
    OUT applied_lsn pg_lsn, OUT flushed_lsn pg_lsn, OUT last_commit_at timestamptz, OUT applied_at timestamptz,
    OUT rows_applied bigint, OUT transactions_applied bigint, OUT batches_applied bigint, OUT source_lsn pg_lsn,
    OUT rows_per_second float8, OUT problem text, OUT retained_bytes bigint, OUT oldest_commit_at timestamptz,
    OUT making_slot boolean)
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
        name!(oldest_commit_at, Option<TimestampWithTimeZone>),
        name!(making_slot, bool),
    ),
> {
    let mut out = Vec::new();
    if shared_state::exists() {
        // SAFETY: the database this session is connected to.
        let db = unsafe { u32::from(pg_sys::MyDatabaseId) };
        let positive = |n: u64| Some(n as i64).filter(|n| *n != 0);
        let time = |us: i64| TimestampWithTimeZone::try_from(us).ok().filter(|_| us != 0);
        let visible = visible();
        for e in shared_state::read(|b| b.entries)
            .iter()
            .filter(|e| e.db == db && visible.contains(&e.sync))
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
                e.no_worker.then_some(shared_state::NO_WORKER),
                positive(e.retained),
                time(e.oldest_us),
                e.making_slot,
            ));
        }
    }
    TableIterator::new(out)
}
