// SPDX-License-Identifier: Apache-2.0
//! Fills a mirror with what the source holds.
//!
//! 1. Wait until every transaction that is running now on the source has ended: what the stream has passed is then
//!    visible.
//! 2. Lock the source against DDL, take a snapshot, read the WAL position.
//! 3. Empty the mirror, bring its columns in step, copy under the snapshot.
//! 4. Record snapshot and position, commit: from here on the stream is applied to what the snapshot did not see.
//!
//! A failure at any point leaves the mirror as it was, to be filled again from 1. It is the same for this database
//! and another server; only the way of the rows differs.
use super::catalogue::{self, Sync, SyncTable};
use super::ddl_replication;
use super::load_shell::{self, Load};
use super::mirror;
use super::mirror_relation;
use super::relation_shell;
use super::remote_shell::{wait_for_socket, Arrived, Connection};
use super::session::{
    as_role, begin, changed_value, check_interrupts, commit_to_disk, elevated, transaction, value,
    wait, with_snapshot,
};
use super::shared_state;
use super::source::{quoted, Source, SourceColumn};
use super::writer;
use doris_cdc::binary_copy::Rows;
use doris_cdc::pgoutput::Tuple;
use pgrx::prelude::*;

/// A copy beside the running stream, by a process of its own.
pub(crate) struct Job {
    pub(crate) db: u32,
    /// The apply worker that waits for it.
    pub(crate) worker: i32,
    /// The copy's number: the table has another one when this copy is nobody's any more.
    pub(crate) number: i32,
}

impl Job {
    fn check(&self, sync: i32) {
        if shared_state::get(self.db, sync).map_or(0, |e| e.worker_pid) != self.worker {
            error!("the apply worker has ended");
        }
    }
}

/// Fills the mirror of `table`; without a job, the stream stands still meanwhile. No transaction is open.
pub(crate) fn fill(sync: &Sync, source: &mut Source, table: &SyncTable, job: Option<&Job>) {
    let mark =
        "copy_started_at = pg_catalog.clock_timestamp(), copy_finished_at = NULL, last_error = $3";
    let name = transaction(|| {
        catalogue::update_table(sync.id, table.source, mark, None::<String>);
        let expected = source.estimate(table.source);
        catalogue::update_table(sync.id, table.source, "rows_expected = $3", expected);
        current_name(sync, source, table)
    });
    let progress = shared_state::Copying::begin(sync.id, table.source);
    wait_for_running(source, &|xid| {
        progress.wait_for(xid);
        job.inspect(|j| j.check(sync.id));
    });
    progress.wait_for(0);
    if let Source::Remote(connection) = source {
        connection.run("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY");
    }
    begin();
    lock(source, table.source, &name);
    let show = |rows| {
        progress.show(rows);
        job.inspect(|j| j.check(sync.id));
    };
    with_snapshot(|| copy_rows(sync, source, table, &name, &show, job));
    // The stream has to pass the position that is recorded, and is read from the disk: PostgreSQL's own process that
    // writes behind stands still when the clock is set back.
    commit_to_disk();
    if let Source::Remote(connection) = source {
        connection.run("COMMIT");
    }
}

/// Holds off DDL. No snapshot has been taken yet, so that the one that follows sees what the lock protects.
fn lock(source: &mut Source, table: u32, name: &str) {
    match source {
        // SAFETY: the transaction has no snapshot yet; the lock is kept until its end.
        Source::Local => unsafe {
            pg_sys::XactIsoLevel = pg_sys::XACT_REPEATABLE_READ as i32;
            pg_sys::LockRelationOid(table.into(), pg_sys::AccessShareLock as i32);
        },
        Source::Remote(connection) => {
            connection.run(&format!("LOCK TABLE {name} IN ACCESS SHARE MODE"))
        }
    }
}

/// The source's name now; recorded if it has changed.
fn current_name(sync: &Sync, source: &mut Source, table: &SyncTable) -> String {
    let name = source
        .relation_name(table.source)
        .unwrap_or_else(|e| error!("{}: {e}", table.source_name));
    if name != quoted_name(&table.source_name) {
        catalogue::update_table(sync.id, table.source, "source_name = $3", name.clone());
    }
    name
}

/// Waits until the transactions of the source's database that are running now have ended; `check` is told of one that
/// has not, now and then.
fn wait_for_running(source: &mut Source, check: &dyn Fn(u64)) {
    let begun = transaction(|| source.running()).xmax();
    let pause = if source.is_local() { 5 } else { 50 };
    while let Some(xid) = transaction(|| source.running_before(begun)) {
        check(xid);
        wait(pause);
    }
}

fn copy_rows(
    sync: &Sync,
    source: &mut Source,
    table: &SyncTable,
    name: &str,
    progress: &dyn Fn(u64),
    job: Option<&Job>,
) {
    let (snapshot, lsn) = source.snapshot();
    // On another server the lock is on whatever has the name.
    if source.relation_name(table.source).as_deref() != Ok(name) {
        error!("{name} was renamed or dropped");
    }
    if let Err(e) = ddl_replication::check_computed(sync, source, table.source) {
        error!("{}: {e}", table.source_name);
    }
    let columns = source.stream_columns(&sync.publication(), table.source);
    let known = ddl_replication::known(&columns);
    if let Err(e) = ddl_replication::check_key_of_copy(source, table, &table.columns) {
        error!("{}: {e}", table.source_name);
    }
    let steps = doris_cdc::schema_diff::steps(&table.columns, &known);
    let owner =
        writer::writer(sync, table).unwrap_or_else(|e| error!("{}: {e}", table.source_name));
    as_role(owner, || {
        if relation_shell::has_rows(table.target) {
            relation_shell::truncate(table.target);
        }
    });
    if let Err(e) = ddl_replication::alter(table, sync, source, &steps, &known, None) {
        error!("{}: {e}", table.source_name);
    }
    let recorded = ddl_replication::record_source(sync, source, table.source)
        .unwrap_or_else(|e| error!("{}: {e}", table.source_name));
    let columns_now = recorded.columns;
    let partitioned = source.is_partitioned(table.source);
    let sql = selection(name, &columns_now, partitioned, recorded.filter.as_deref());
    let attributes = attributes_of(table, &columns_now);
    // SAFETY: a transaction is open.
    unsafe { pg_sys::CommandCounterIncrement() };
    let rows = as_role(owner, || match source {
        Source::Local => {
            // What has the name by now may be a view: it is nothing that a superuser reads.
            let reader = mirror::mirror_owner(sync.owner, Some(table.source));
            let from = (table.source, &sql[..]);
            load_shell::load_query(table.target, &attributes, from, reader, progress)
        }
        Source::Remote(connection) => {
            let text: Vec<bool> = columns_now.iter().map(|c| c.by_text).collect();
            connection.copy_out(&format!("COPY ({sql}) TO STDOUT (FORMAT binary)"));
            load_shell::load(table.target, &attributes, progress, |load| {
                receive_rows(connection, load, &text);
            })
        }
    });
    let done = "UPDATE doris.sync_table SET state = $6, snapshot = $3, snapshot_lsn = $4::pg_catalog.pg_lsn, \
                rows_copied = $5, copy_finished_at = pg_catalog.clock_timestamp(), copies = copies + 1, \
                last_error = NULL, error_at = NULL WHERE sync = $1 AND source = $2 AND ($7 IS NULL OR copy_number = $7) \
                RETURNING 1";
    let arguments = [
        sync.id.into(),
        pg_sys::Oid::from(table.source).into(),
        snapshot.into(),
        lsn.into(),
        (rows as i64).into(),
        job.map_or("streaming", |_| "copied").into(),
        job.map(|j| j.number).into(),
    ];
    if elevated(|| changed_value::<i32>(done, &arguments)).is_none() {
        error!("the copy of {name} is not wanted any more");
    }
}

/// A name as PostgreSQL quotes it, to compare with what it shows.
fn quoted_name(name: &str) -> String {
    let parts =
        value::<String>(
            "SELECT pg_catalog.string_agg(pg_catalog.quote_ident(p), '.') FROM pg_catalog.unnest(pg_catalog.parse_ident($1)) p",
            &[name.into()],
        );
    parts.unwrap_or_else(|| name.to_owned())
}

/// The query that reads what is published of the source. Columns whose binary form means nothing here come as text.
pub(super) fn selection(
    name: &str,
    columns: &[SourceColumn],
    partitioned: bool,
    filter: Option<&str>,
) -> String {
    let list: Vec<_> = columns
        .iter()
        .map(|c| {
            let cast = if c.by_text { "::pg_catalog.text" } else { "" };
            format!("{}{cast}", quoted(&c.known.name))
        })
        .collect();
    let only = if partitioned { "" } else { "ONLY " };
    let filter = filter.map(|f| format!(" WHERE {f}")).unwrap_or_default();
    format!("SELECT {} FROM {only}{name}{filter}", list.join(", "))
}

/// The mirror's attribute numbers of the columns.
fn attributes_of(table: &SyncTable, columns: &[SourceColumn]) -> Vec<i16> {
    let shape = mirror_relation::describe(table.target)
        .unwrap_or_else(|e| error!("{}: {e}", table.source_name));
    let number = |c: &SourceColumn| {
        let found = shape.columns.iter().find(|(name, _)| *name == c.known.name);
        match found {
            Some((_, number)) => *number,
            None => error!(
                "{}: the mirror has no column \"{}\"",
                table.source_name, c.known.name
            ),
        }
    };
    columns.iter().map(number).collect()
}

/// Takes the rows of a COPY from the connection to its end.
pub(super) fn receive_rows(connection: &mut Connection, load: &mut Load<'_>, text: &[bool]) {
    let mut rows = Rows::default();
    loop {
        match connection.receive() {
            Arrived::Bytes(piece) => rows.feed(piece),
            Arrived::Nothing(socket) => {
                wait_for_socket(socket, 10_000);
                continue;
            }
            Arrived::End => break,
        }
        while let Some(row) = rows.next(text).unwrap_or_else(|e| error!("{e}")) {
            load.push(Tuple::from_checked(text.len() as u16, row));
        }
        check_interrupts();
    }
    if !rows.ended() {
        error!("the copy ended too early");
    }
}
