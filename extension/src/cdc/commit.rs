// SPDX-License-Identifier: Apache-2.0
//! The end of a batch: its commit with the position of the source, and what that lets others know.
use super::applier::{Applier, NEWEST};
use super::catalogue;
use super::session::{commit, transaction};
use super::shared_state::{self, Batch};
use super::{BATCHES_APART, BATCHES_APART_MS_MAX, BATCH_MS};
use doris_cdc::Lsn;
use pgrx::prelude::*;
use std::time::{Duration, Instant};

/// Over how long the rate of changes is taken, at least.
const RATE_SECONDS: f64 = 5.0;

impl Applier {
    /// Writes and commits the batch, with the position it leads to.
    pub(super) fn commit_batch(&mut self) {
        self.write_out_all();
        let mut batch = Batch::default();
        if self.open {
            // SAFETY: the open transaction's id.
            let xid = unsafe { pg_sys::GetTopFullTransactionIdIfAny().value };
            batch = Batch {
                xid,
                lsn: self.last.end_lsn.0,
            };
            shared_state::update(self.db, self.sync.id, |e| e.committing = batch);
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
        self.committed = Some(Instant::now());
        NEWEST.set((0, Lsn(0), 0));
        self.recent.1 += rows;
        let applied = self.applied.0;
        let fresh_us = self.look_at_clock();
        shared_state::update(self.db, self.sync.id, |e| {
            if batch.xid != 0 {
                e.note(batch);
            }
            e.fresh_us = fresh_us;
            e.applied = applied;
            e.received = e.received.max(applied);
            e.oldest_us = 0;
            e.rows += rows;
            e.transactions += transactions;
            e.batches += 1;
            e.commit_us = commit_us;
            e.applied_us = shared_state::now_us();
            e.retries = 0;
            e.failing = (0, 0, 0);
        });
        self.measure();
        self.report_flushed();
        // SAFETY: no transaction is open. PostgreSQL sends statistics of tables no more often than each second.
        unsafe { pg_sys::pgstat_report_stat(false) };
    }

    /// Shows how many rows are applied in a second.
    fn measure(&mut self) {
        let (since, rows) = self.recent;
        let seconds = since.elapsed().as_secs_f64();
        if seconds >= RATE_SECONDS {
            self.recent = (Instant::now(), 0);
            shared_state::update(self.db, self.sync.id, |e| e.rate = rows as f64 / seconds);
        }
    }

    /// How long a batch waits for more, now that nothing is waiting: until it is far enough from the one before. Whoever
    /// waits for the sync is not kept waiting.
    pub(super) fn pause_before_commit(&self) -> Option<Duration> {
        if self.transactions == 0 || self.in_source_transaction || self.has_tasks() {
            return None;
        }
        let apart = (BATCH_MS.get() / BATCHES_APART).min(BATCHES_APART_MS_MAX);
        let apart = Duration::from_millis(apart as u64);
        apart
            .checked_sub(self.committed?.elapsed())
            .filter(|left| left.as_millis() > 0)
    }

    /// Nothing is waiting: commit what is whole, and say how far that is.
    pub(super) fn commit_complete(&mut self) {
        if self.in_source_transaction {
            return;
        }
        if self.transactions > 0 {
            self.commit_batch();
        }
        self.measure();
        self.applied = self.applied.max(self.progress);
        let applied = self.applied.0;
        let fresh_us = self.look_at_clock();
        shared_state::update(self.db, self.sync.id, |e| {
            e.fresh_us = fresh_us;
            e.applied = applied;
            e.received = e.received.max(applied);
            e.oldest_us = 0;
        });
        self.report_flushed();
    }

    /// Takes back the reason of an earlier failure, once everything that was on the source's disk has been applied and there
    /// is nothing else to do. No transaction is open.
    pub(super) fn note_recovery(&mut self) {
        let caught_up = self.progress > Lsn(0) && self.applied >= self.progress.max(self.careful);
        let idle = !self.open && self.copies.count() == 0 && !self.has_tasks();
        if self.recovered || !caught_up || !idle {
            return;
        }
        self.recovered = true;
        transaction(|| catalogue::clear_error(self.sync.id));
    }

    /// The latest moment known of which everything committed is applied. For sources of this server only.
    fn look_at_clock(&mut self) -> i64 {
        if self.sync.connection.is_some() {
            return 0;
        }
        let applied = self.applied.0;
        if let Some((_, at)) = self.sample.take_if(|(lsn, _)| applied >= *lsn) {
            self.fresh_us = at;
        }
        if self.sample.is_none() {
            let at = shared_state::monotonic_us();
            // SAFETY: reads shared memory.
            let lsn = unsafe { pg_sys::GetFlushRecPtr(std::ptr::null_mut()) };
            if applied >= lsn {
                self.fresh_us = at;
            } else {
                self.sample = Some((lsn, at));
            }
        }
        self.fresh_us
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
        shared_state::update(self.db, self.sync.id, |e| {
            e.flushed = e.flushed.max(flushed.0)
        });
    }
}
