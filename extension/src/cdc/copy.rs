// SPDX-License-Identifier: Apache-2.0
//! Fills a mirror with what the source holds.
//!
//! 1. Wait until every transaction that is running now has ended: what the stream has passed is then visible.
//! 2. Lock the source against DDL, take a snapshot, read the WAL position.
//! 3. Empty the mirror, bring its columns in step, copy under the snapshot.
//! 4. Record snapshot and position, commit: from here on the stream is applied to what the snapshot did not see.
//!
//! A failure at any point leaves the mirror as it was, to be filled again from 1.
use super::catalogue::{self, Sync, SyncTable};
use super::follow;
use super::session::{
    as_role, begin, commit, elevated, execute, transaction, value, wait, with_snapshot,
};
use doris_cdc::snapshot::CopySnapshot;
use doris_cdc::Lsn;
use pgrx::prelude::*;

const SNAPSHOT: &str = "SELECT pg_catalog.pg_current_snapshot()::pg_catalog.text";

/// Fills the mirror of `table`. The stream stands still meanwhile; no transaction is open.
pub(crate) fn fill(sync: &Sync, table: &SyncTable) {
    let mark =
        "copy_started_at = pg_catalog.clock_timestamp(), copy_finished_at = NULL, last_error = $3";
    transaction(|| catalogue::update_table(sync.id, table.source, mark, None::<String>));
    wait_for_running();
    begin();
    // SAFETY: the transaction has no snapshot yet; the lock is kept until its end.
    unsafe {
        pg_sys::XactIsoLevel = pg_sys::XACT_REPEATABLE_READ as i32;
        pg_sys::LockRelationOid(table.source.into(), pg_sys::AccessShareLock as i32);
    }
    with_snapshot(|| copy_rows(sync, table));
    commit();
}

fn wait_for_running() {
    let current = || {
        let text = transaction(|| value::<String>(SNAPSHOT, &[])).unwrap_or_default();
        CopySnapshot::parse(&text, Lsn(0)).unwrap_or_else(|e| error!("{e}"))
    };
    let begun = current().xmax();
    while current().xmin() < begun {
        wait(5);
    }
}

fn copy_rows(sync: &Sync, table: &SyncTable) {
    let snapshot = value::<String>(SNAPSHOT, &[]).unwrap_or_default();
    // Read after the snapshot was taken, so that whatever it saw lies before.
    let lsn = value::<String>(
        "SELECT pg_catalog.pg_current_wal_insert_lsn()::pg_catalog.text",
        &[],
    );
    let names = (
        follow::relation_name(table.source),
        follow::relation_name(table.target),
    );
    let (source, target) = match names {
        (Ok(source), Ok(target)) => (source, target),
        (Err(e), _) | (_, Err(e)) => error!("{}: {e}", table.source_name),
    };
    let columns = catalogue::source_columns(table.source);
    let steps = doris_cdc::shape::steps(&table.columns, &columns);
    as_role(sync.owner, || {
        if value::<bool>(&format!("SELECT EXISTS (SELECT FROM {target})"), &[]).unwrap_or(true) {
            execute(&format!("TRUNCATE ONLY {target}"), &[]);
        }
    });
    if let Err(e) = follow::alter(table, sync.owner, &steps, &columns, true) {
        error!("{}: {e}", table.source_name);
    }
    follow::record_source(sync.id, table.source);
    let list: Vec<_> = columns.iter().map(|c| follow::quoted(&c.name)).collect();
    let list = list.join(", ");
    let only = if is_partitioned(table.source) {
        ""
    } else {
        "ONLY "
    };
    let sql = format!("INSERT INTO {target} ({list}) SELECT {list} FROM {only}{source}");
    let rows = as_role(sync.owner, || {
        Spi::connect_mut(|client| client.update(&sql, None, &[]).map(|t| t.len()))
            .unwrap_or_else(|e| error!("{e}"))
    });
    let done = "UPDATE doris.sync_table SET state = 'streaming', snapshot = $3, snapshot_lsn = $4::pg_catalog.pg_lsn, \
                rows_copied = $5, copy_finished_at = pg_catalog.clock_timestamp(), copies = copies + 1, \
                last_error = NULL, error_at = NULL WHERE sync = $1 AND source = $2";
    let source = pg_sys::Oid::from(table.source);
    elevated(|| {
        execute(
            done,
            &[
                sync.id.into(),
                source.into(),
                snapshot.into(),
                lsn.into(),
                (rows as i64).into(),
            ],
        )
    });
}

fn is_partitioned(source: u32) -> bool {
    // SAFETY: reads the system cache.
    let kind = unsafe { pg_sys::get_rel_relkind(source.into()) };
    kind as u8 == pg_sys::RELKIND_PARTITIONED_TABLE
}
