// SPDX-License-Identifier: Apache-2.0
//! A table opened for one step of a compaction.
use super::shared_state::ShownRun;
use crate::options;
use crate::pg::{self, toast::Toast};
use crate::read::attrs::{self, Attr};
use pgrx::pg_sys;
use std::rc::Rc;

/// What a step has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobResult {
    /// Segments read.
    pub inputs: u32,
    /// Rows read.
    pub input_rows: u64,
    /// Bytes of the segments read.
    pub input_bytes: u64,
    /// Segments written.
    pub outputs: u32,
    /// Rows written that are not deleted.
    pub output_rows: u64,
    /// Bytes of the segments written.
    pub output_bytes: u64,
}

/// An open table; the snapshot by which it is read is active. Locks stay until the transaction ends.
pub struct Job {
    /// The table.
    pub rel: pg_sys::Relation,
    /// Its column store.
    pub toast: Toast,
    /// Its columns.
    pub attrs: Rc<Vec<Attr>>,
    /// What is read: rows that it sees cannot be pruned while the job lives.
    pub snapshot: pg_sys::Snapshot,
    /// What the view shows of it.
    pub shown: Option<ShownRun>,
    /// Whether it gives way to whoever waits for the table.
    background: bool,
    user: (pg_sys::Oid, i32),
    settings: i32,
}

impl Job {
    /// Opens a table in a new transaction, with the rights of its owner: index expressions are run. `None` when it is
    /// no columnar table (any more), or when `wait` is false and somebody is at work on it.
    pub fn open(relid: pg_sys::Oid, wait: bool) -> Option<Self> {
        let mode = pg_sys::ShareUpdateExclusiveLock as pg_sys::LOCKMODE;
        // SAFETY: called at the start of a transaction; what is changed here is put back in Drop, or by the abort.
        unsafe {
            // Whatever the session's default is: a compaction changes no row, and must not fail to serialise.
            pg_sys::XactIsoLevel = pg_sys::XACT_READ_COMMITTED as i32;
            if wait {
                // Without a snapshot: CREATE INDEX CONCURRENTLY has the lock while it waits for old snapshots.
                pg_sys::LockRelationOid(relid, mode);
            } else if !pg_sys::ConditionalLockRelationOid(relid, mode) {
                return None;
            }
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            let rel = pg_sys::try_table_open(relid, mode);
            if rel.is_null() || !crate::am::is_doris(rel) {
                if !rel.is_null() {
                    pg_sys::table_close(rel, mode);
                }
                pg_sys::PopActiveSnapshot();
                return None;
            }
            // Rows that were committed while the lock was waited for are to be seen.
            pg_sys::PopActiveSnapshot();
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            let mut user = (pg_sys::InvalidOid, 0);
            pg_sys::GetUserIdAndSecContext(&mut user.0, &mut user.1);
            let restricted = user.1 | pg_sys::SECURITY_RESTRICTED_OPERATION as i32;
            pg_sys::SetUserIdAndSecContext((*(*rel).rd_rel).relowner, restricted);
            let settings = pg_sys::NewGUCNestLevel();
            #[cfg(any(feature = "pg17", feature = "pg18"))]
            pg_sys::RestrictSearchPath();
            let toast = Toast::open(rel, pg_sys::RowExclusiveLock as i32)
                .unwrap_or_else(|| pg::report_corrupt(rel, "no column store"));
            Some(Self {
                rel,
                toast,
                attrs: Rc::new(attrs::of(rel)),
                snapshot: pg_sys::GetActiveSnapshot(),
                shown: None,
                background: false,
                user,
                settings,
            })
        }
    }

    /// Shows it; in the background it gives way to whoever waits for the table.
    pub fn show(&mut self, shown: ShownRun, background: bool) {
        self.shown = Some(shown);
        self.background = background;
    }

    /// Called for each row that is handled: answers interrupts, shows progress now and then.
    pub fn tick(&self, rows: u64) {
        pgrx::check_for_interrupts!();
        if !rows.is_multiple_of(8192) {
            return;
        }
        if let Some(shown) = &self.shown {
            shown.progress(rows);
        }
        let mode = pg_sys::ShareUpdateExclusiveLock as pg_sys::LOCKMODE;
        // SAFETY: an open relation on which this transaction holds that lock.
        if self.background && unsafe { pg_sys::LockHasWaitersRelation(self.rel, mode) } {
            pg::refuse(
                pgrx::PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE,
                "compaction gives way to a command that waits for the table",
                "",
            );
        }
    }

    /// Whether the rows of its heap must stay there.
    pub fn keeps_heap(&self) -> bool {
        options::keeps_heap(self.rel)
    }

    /// The current command, for writing.
    pub fn cid(&self) -> pg_sys::CommandId {
        // SAFETY: plain call.
        unsafe { pg_sys::GetCurrentCommandId(true) }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // SAFETY: opened in `open`, in this transaction.
        unsafe {
            pg_sys::AtEOXact_GUC(false, self.settings);
            pg_sys::SetUserIdAndSecContext(self.user.0, self.user.1);
            pg_sys::PopActiveSnapshot();
            pg_sys::table_close(self.rel, pg_sys::NoLock as i32);
        }
    }
}
