// SPDX-License-Identifier: Apache-2.0
//! Live mirrors of PostgreSQL tables, kept current from the WAL.
//!
//! ```text
//! sql_functions    doris.sync_table() and its kin record what is wanted (catalogue.sql), nothing more; create: whole
//!                  schemas, databases, other servers; progress: waiting, and what the views show
//! launcher         sees on the board which syncs exist and keeps a worker running for each; after a start of the
//!                  server it has the board filled from pg_replication_origin
//! source           where the tables are: this database, or another server (remote); questions to its catalogue
//! table_discovery  tables that match a sync's patterns join it; mirror makes their targets
//! copier           processes that fill mirrors (copy) while the stream goes on
//! decoder          a process that decodes the WAL of this server with pgoutput and sends packets of changes
//! receiver         the same for another server: it reads the stream of a replication connection
//! recent_commits   what was applied that a snapshot may not see yet
//! partitions       partitions of sources that come and go (attached_partitions: with rows in them); condition:
//!                  whether the text of their conditions is harmless
//! writer           whose rights changes are applied with; relation_shell: tables by number, where a name will not do
//! columns          columns that sources got and no change has told of
//! channel          the queue between the two
//! worker           folds the changes of whole transactions (doris_cdc), applies them (applier; apply_shell with
//!                  mirror_relation, row_converter, own_columns, key_lookup, full_row_lookup, load_shell), follows the source's DDL
//!                  (ddl_replication, rewrite_watch), has mirrors filled (worker_tasks), and commits rows and position
//!                  together (commit)
//! streams          transactions that come before they have committed wait in temporary files (spool)
//! database_hook    sends the workers of a database away when DROP DATABASE and its like need it to themselves
//! query_rewrite    lets mirrors answer queries on their originals
//! shared_state     shared memory: which worker runs, how far it is
//! ```
mod applier;
mod apply_shell;
mod attached_partitions;
mod catalogue;
mod channel;
mod columns;
mod commit;
mod condition_shell;
mod copier;
mod copy;
mod create;
mod database_hook;
mod ddl_replication;
mod decoder_shell;
mod full_row_lookup;
mod key_lookup;
mod launcher;
mod load_shell;
mod mirror;
mod mirror_relation;
mod own_columns;
mod partitions;
mod progress;
pub(crate) mod query_rewrite;
mod receiver_shell;
mod recent_commits;
mod relation_shell;
mod remote_shell;
mod rewrite_watch;
mod row_converter;
pub(crate) mod session;
pub(crate) mod shared_state;
mod source;
mod spool;
mod sql_functions;
mod streams;
mod table_discovery;
mod target;
mod wal_retention;
mod worker;
mod worker_tasks;
mod writer;

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

/// Whether this process is applying changes to a mirror.
pub fn is_applying() -> bool {
    applier::WORKING_ON.get() != 0
}

/// Changed rows after which a batch is committed at the end of the source's transaction.
pub(crate) static BATCH_ROWS: GucSetting<i32> = GucSetting::<i32>::new(50_000);
/// Kilobytes of changes held in memory before they are written out, inside or at the end of a transaction.
pub(crate) static BATCH_KB: GucSetting<i32> = GucSetting::<i32>::new(16 * 1024);
/// Milliseconds after which a batch is committed at the end of the source's transaction.
pub(crate) static BATCH_MS: GucSetting<i32> = GucSetting::<i32>::new(100);
/// While changes keep coming, batches are this part of `BATCH_MS` apart: what a batch costs by itself (opening the
/// mirrors, searching their keys, a commit) would otherwise be paid for every few transactions.
pub(crate) const BATCHES_APART: i32 = 5;
/// The longest time between batches for that reason, in milliseconds: somebody may wait for a lone transaction.
pub(crate) const BATCHES_APART_MS_MAX: i32 = 50;

/// Processes that fill mirrors of one sync at once, beside the stream.
pub(crate) static COPY_WORKERS: GucSetting<i32> = GucSetting::<i32>::new(2);

/// Megabytes of WAL that a sync's slot may hold back before it is dropped; 0 is no bound.
pub(crate) static RETAINED_MB: GucSetting<i32> = GucSetting::<i32>::new(64 * 1024);

/// Settings; and, while libraries are preloaded, shared memory and the launcher.
pub fn init() {
    let settings = [
        (
            c"doris.sync_batch_rows",
            c"Number of changed rows after which an apply worker commits a batch.",
            &BATCH_ROWS,
            GucFlags::empty(),
        ),
        (
            c"doris.sync_batch_bytes",
            c"Maximum memory for a batch of an apply worker.",
            &BATCH_KB,
            GucFlags::UNIT_KB,
        ),
        (
            c"doris.sync_batch_time",
            c"Time after which an apply worker commits a batch.",
            &BATCH_MS,
            GucFlags::UNIT_MS,
        ),
    ];
    for (name, text, setting, flags) in settings {
        GucRegistry::define_int_guc(
            name,
            text,
            c"A batch ends only at the end of a transaction of the source.",
            setting,
            1,
            i32::MAX / 1024,
            GucContext::Sighup,
            flags,
        );
    }
    GucRegistry::define_int_guc(
        c"doris.sync_retained_wal",
        c"Maximum WAL that the slot of a sync may retain before the slot is dropped; 0 means no limit.",
        c"The sync is then lost until doris.resync() fills its mirrors again.",
        &RETAINED_MB,
        0,
        i32::MAX,
        GucContext::Sighup,
        GucFlags::UNIT_MB,
    );
    GucRegistry::define_int_guc(
        c"doris.max_copy_workers",
        c"Maximum number of mirrors of a sync that background workers fill at the same time, beside the stream.",
        c"With 0, or without a free background worker, the apply worker fills them one by one and the stream waits.",
        &COPY_WORKERS,
        0,
        64,
        GucContext::Sighup,
        GucFlags::empty(),
    );
    query_rewrite::init();
    // SAFETY: a flag of the postmaster.
    if unsafe { pgrx::pg_sys::process_shared_preload_libraries_in_progress } {
        shared_state::init();
        database_hook::install();
        launcher::register();
    }
}
