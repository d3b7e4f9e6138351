// SPDX-License-Identifier: Apache-2.0
//! What an apply worker knows of its mirrors, and what it does with each message of the stream.
use super::apply_shell;
use super::attached_partitions::Arriving;
use super::catalogue::{self, Sync};
use super::columns::Columns;
use super::copier::Copies;
use super::ddl_replication::{self, Followed};
use super::partitions::Leaving;
use super::recent_commits::RecentCommits;
use super::relation_shell;
use super::rewrite_watch;
use super::session::{as_role, begin, check_interrupts, with_snapshot};
use super::shared_state;
use super::source::Source;
use super::streams::{Arrived, Streamed, Streams};
use super::target::{Mirror, Plan, RowChange};
use super::{BATCH_KB, BATCH_MS, BATCH_ROWS};
use doris_cdc::fold::Taken;
use doris_cdc::pgoutput::{decode, put_begin, Begin, Commit, Message, Relation};
use doris_cdc::Lsn;
use pgrx::prelude::*;
use std::cell::Cell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Instant;

thread_local! {
    /// The source table whose changes are being applied, to name it when that fails.
    pub(super) static WORKING_ON: Cell<u32> = const { Cell::new(0) };
    /// The newest transaction of the source in the batch, its commit, and how many are before it.
    pub(super) static NEWEST: Cell<(u32, Lsn, i64)> = const { Cell::new((0, Lsn(0), 0)) };
}

/// The state of an apply worker.
pub(super) struct Applier {
    pub(super) db: u32,
    pub(super) sync: Sync,
    pub(super) generation: u32,
    pub(super) looked: Instant,
    pub(super) mirrors: HashMap<u32, Mirror>,
    /// All descriptions seen: each is sent once, maybe before its table is known here.
    pub(super) relations: HashMap<u32, Relation>,
    pub(super) begin: Begin,
    pub(super) in_source_transaction: bool,
    /// A transaction of ours is open and holds part of the batch.
    pub(super) open: bool,
    pub(super) rows: i64,
    pub(super) transactions: i64,
    pub(super) batch_bytes: usize,
    pub(super) batch_began: Option<Instant>,
    /// When the newest batch was committed.
    pub(super) committed: Option<Instant>,
    /// The end of the newest whole source transaction in the batch.
    pub(super) last: Commit,
    pub(super) applied: Lsn,
    /// Everything before this has been received, and is nothing or part of a whole transaction.
    pub(super) progress: Lsn,
    /// The last position that was received.
    received: Lsn,
    /// The stream may carry binary values.
    pub(super) binary: bool,
    /// Mirrors being filled beside the stream.
    pub(super) copies: Copies,
    /// The message the current source transaction began with.
    pub(super) begin_bytes: Vec<u8>,
    /// Transactions that have not committed yet.
    pub(super) streams: Streams,
    /// A connection that may soon be needed again.
    pub(super) source: Option<Source>,
    /// A position of the source's WAL and the moment at which it was the end.
    pub(super) sample: Option<(u64, i64)>,
    /// All that was committed at this moment is applied.
    pub(super) fresh_us: i64,
    /// Sources that were dropped, and a position behind that.
    pub(super) missing: HashMap<u32, Lsn>,
    /// Members of partitioned sources that left them.
    pub(super) leaving: Leaving,
    /// Members that came with rows of their own.
    pub(super) arriving: Arriving,
    /// Columns that no change has told of.
    pub(super) columns: Columns,
    /// The first position that one of them waits for.
    pub(super) columns_due: Option<Lsn>,
    /// The transaction of the source in which each table was described last.
    pub(super) described_by: HashMap<u32, u32>,
    /// What was applied lately.
    pub(super) recent_commits: RecentCommits,
    /// Members of partitioned sources that the stream told of while their mirrors were filled.
    pub(super) met: HashSet<(u32, u32)>,
    /// The table that the message before has described.
    pub(super) described: Option<u32>,
    /// Tables that were described, each behind a mirror's source: its members, unless a TRUNCATE of both follows.
    pub(super) followers: Vec<(u32, u32)>,
    /// Up to here each transaction is a batch of its own, as one of them has failed before.
    pub(super) careful: Lsn,
    /// What stopped the sync before is known to be over.
    pub(super) recovered: bool,
    /// Since when, and how many rows have been applied since.
    pub(super) recent: (Instant, i64),
    /// Positions committed and the ends of their local commit records, not known to be on disk yet.
    pub(super) unflushed: VecDeque<(Lsn, u64)>,
}

impl Applier {
    pub(super) fn new(db: u32, sync: Sync, applied: Lsn) -> Self {
        let id = sync.id;
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
            committed: None,
            last: Commit::default(),
            applied,
            progress: Lsn(0),
            received: Lsn(0),
            binary: true,
            copies: Copies::default(),
            begin_bytes: Vec::new(),
            streams: Streams::default(),
            source: None,
            sample: None,
            fresh_us: 0,
            missing: HashMap::new(),
            leaving: Leaving::default(),
            arriving: Arriving::default(),
            columns: Columns::default(),
            columns_due: None,
            described_by: HashMap::new(),
            recent_commits: RecentCommits::default(),
            met: HashSet::new(),
            described: None,
            followers: Vec::new(),
            careful: Lsn(shared_state::get(db, id).map_or(0, |e| e.failing.2)),
            recovered: false,
            recent: (Instant::now(), 0),
            unflushed: VecDeque::new(),
        }
    }

    /// Notes that the worker has all changes up to here, applied or not.
    pub(super) fn receive(&mut self, end: Lsn) {
        if end > self.received {
            self.received = end;
            shared_state::update(self.db, self.sync.id, |e| {
                e.received = e.received.max(end.0)
            });
        }
    }

    /// Takes a message of the stream: changes of a transaction that has not committed are put aside.
    pub(super) fn piece(&mut self, bytes: &[u8]) {
        match self.streams.take(bytes) {
            Arrived::Whole(bytes) => self.take(bytes),
            Arrived::Nothing => {}
            Arrived::Committed(xid, streamed, commit) => self.replay(xid, streamed, commit),
        }
    }

    /// Applies a transaction that was put aside.
    fn replay(&mut self, xid: u32, mut streamed: Streamed, commit: Commit) {
        self.take(&put_begin(&Begin {
            commit_lsn: commit.commit_lsn,
            commit_us: commit.commit_us,
            xid,
        }));
        let mut bytes = Vec::new();
        let mut messages = streamed.messages();
        while messages.next(&mut bytes) {
            check_interrupts();
            self.take(&bytes);
        }
        self.message(Message::Commit(commit));
    }

    /// Takes a message of a transaction that has committed. Those for a table that is being copied are put aside.
    fn take(&mut self, bytes: &[u8]) {
        let message = decode(bytes).unwrap_or_else(|e| error!("{e}"));
        if matches!(message, Message::Begin(_)) {
            self.begin_bytes.clear();
            self.begin_bytes.extend_from_slice(bytes);
        }
        if self.copies.count() > 0 {
            let xid = self.begin.xid;
            for table in message.tables() {
                self.copies.put(table, xid, &self.begin_bytes, bytes);
            }
        }
        self.message(message);
    }

    pub(super) fn message(&mut self, message: Message<'_>) {
        if !matches!(message, Message::Relation(_) | Message::Type { .. }) {
            self.described = None;
            let followers = std::mem::take(&mut self.followers);
            // The tables of a TRUNCATE are described one behind the other, and none of them is a member.
            if !matches!(message, Message::Truncate { .. }) {
                followers.into_iter().for_each(|(r, m)| self.attach(r, m));
            }
        }
        match message {
            Message::Begin(begin) => {
                self.begin = begin;
                self.in_source_transaction = true;
                if self.transactions == 0 {
                    let oldest_us = begin.commit_us;
                    shared_state::update(self.db, self.sync.id, |e| e.oldest_us = oldest_us);
                }
                NEWEST.set((begin.xid, begin.commit_lsn, self.transactions));
            }
            Message::Commit(commit) => self.end_of_transaction(commit),
            Message::Relation(relation) => self.describe(relation),
            Message::Insert { relation, new } => {
                self.change(relation, RowChange::Insert(new), new.bytes().len())
            }
            Message::Update { relation, old, new } => {
                let before = old.map_or(0, |o| o.tuple().bytes().len());
                let bytes = before + new.bytes().len();
                self.change(relation, RowChange::Update(old, new), bytes);
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

    /// Takes the description of a table. That of a member of a partitioned one follows its root's.
    fn describe(&mut self, relation: Relation) {
        let id = relation.id;
        match self.described.replace(id) {
            Some(root) if self.mirrors.contains_key(&root) && !self.mirrors.contains_key(&id) => {
                self.followers.push((root, id));
            }
            _ => {}
        }
        let before = self.relations.insert(id, relation.clone());
        if before.as_ref() == Some(&relation) && self.sync.connection.is_some() {
            // Something happened to the table that does not show here.
            rewrite_watch::touch();
        }
        if before.as_ref() != Some(&relation) && self.columns.remove(&id).is_some() {
            // A look may show columns that are older than these.
            rewrite_watch::touch();
        }
        self.described_by.insert(id, self.begin.xid);
        // Where all columns identify a row, those of a key do not show.
        let full = relation.replica_identity == b'f';
        let known = self.mirrors.get(&id);
        let known = known.map(|m| (m.relation.as_ref(), full && m.key_numbers().is_some()));
        if known.is_some_and(|(known, look)| look || known != Some(&relation)) {
            self.write_out(id);
            if let Some(mirror) = self.mirrors.get_mut(&id) {
                mirror.relation = Some(relation);
                mirror.plan = None;
            }
        }
    }

    /// Whether the current source transaction concerns the mirror: it is filled, and the copy does not hold it.
    fn concerns(&self, relation: u32) -> bool {
        self.mirrors.get(&relation).is_some_and(|m| {
            m.streams()
                && !m
                    .table
                    .snapshot
                    .as_ref()
                    .is_some_and(|s| s.holds(self.begin.xid, self.begin.commit_lsn))
        })
    }

    fn change(&mut self, relation: u32, change: RowChange<'_>, bytes: usize) {
        self.apply_arrivals(relation);
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
        let id = self.sync.id;
        if with_snapshot(|| ddl_replication::is_in_step(mirror)) {
            WORKING_ON.set(0);
            return true;
        }
        if self.sync.connection.is_none() {
            // What is on disk is decoded, and may be visible later: the catalogue has to show what this transaction did.
            // SAFETY: a transaction is open; this one has ended or is about to.
            unsafe {
                let (no_table, no_row) = (std::ptr::null_mut(), std::ptr::null_mut());
                let wait = pg_sys::XLTW_Oper::XLTW_None;
                pg_sys::XactLockTableWait(self.begin.xid.into(), no_table, no_row, wait);
            }
        }
        // At the beginning of a stream each table is looked up: not with a connection each.
        let source = self.source.get_or_insert_with(|| Source::open(&self.sync));
        let followed = with_snapshot(|| {
            let followed = ddl_replication::follow(&self.sync, source, mirror);
            match &followed {
                Ok(Followed::InStep) => {}
                Ok(Followed::Refill) => {
                    catalogue::update_table(id, relation, "state = $3", "init");
                    mirror.table.state = "init".into();
                    shared_state::update(self.db, id, |e| e.generation += 1);
                }
                Err(why) => mirror.pause(id, why),
            }
            followed
        });
        // SAFETY: a transaction is open.
        unsafe { pg_sys::CommandCounterIncrement() };
        WORKING_ON.set(0);
        matches!(followed, Ok(Followed::InStep))
    }

    pub(super) fn truncate(&mut self, relation: u32) {
        self.apply_arrivals(relation);
        if !self.concerns(relation) {
            return;
        }
        let Some(mirror) = self.mirrors.get_mut(&relation) else {
            return;
        };
        if let Some(plan) = &mut mirror.plan {
            plan.clear();
        }
        self.batch_began.get_or_insert_with(Instant::now);
        self.rows += 1;
        if !self.open {
            begin();
            self.open = true;
        }
        WORKING_ON.set(relation);
        with_snapshot(|| match mirror.writer(&self.sync) {
            Ok(owner) => as_role(owner, || relation_shell::truncate(mirror.table.target)),
            Err(why) => mirror.pause(self.sync.id, &why),
        });
        // SAFETY: a transaction is open.
        unsafe { pg_sys::CommandCounterIncrement() };
        WORKING_ON.set(0);
    }

    /// Writes the pending changes of one mirror into the open transaction.
    pub(super) fn write_out(&mut self, relation: u32) {
        let Some(mirror) = self.mirrors.get_mut(&relation) else {
            return;
        };
        if mirror.plan.as_ref().is_none_or(Plan::is_empty) {
            return;
        }
        if !self.open {
            begin();
            self.open = true;
        }
        WORKING_ON.set(relation);
        let owner = with_snapshot(|| {
            let owner = mirror.writer(&self.sync);
            owner.inspect_err(|why| mirror.pause(self.sync.id, why))
        });
        let (Ok(owner), Some(plan)) = (owner, mirror.plan.as_mut()) else {
            WORKING_ON.set(0);
            return;
        };
        let missing = as_role(owner, || apply_shell::write(mirror.table.target, plan));
        if missing > 0 {
            warning!(
                "{missing} rows to change were not in the mirror of {}",
                mirror.table.source_name
            );
        }
        WORKING_ON.set(0);
        plan.clear();
    }

    pub(super) fn write_out_all(&mut self) {
        let pending = |m: &&Mirror| m.plan.as_ref().is_some_and(|p| !p.is_empty());
        let mirrors = self.mirrors.values().filter(pending).map(|m| &m.table);
        let mut all: Vec<(u32, u32)> = mirrors.map(|t| (t.source, t.target)).collect();
        all.sort_unstable();
        if !self.open && !all.is_empty() {
            relation_shell::begin_with_locks(all.iter().map(|(_, target)| *target));
            self.open = true;
        }
        all.into_iter().for_each(|(r, _)| self.write_out(r));
        self.batch_bytes = 0;
    }

    fn end_of_transaction(&mut self, commit: Commit) {
        self.in_source_transaction = false;
        self.last = commit;
        self.transactions += 1;
        let old = |b: &Instant| b.elapsed().as_millis() >= BATCH_MS.get() as u128;
        let careful = commit.commit_lsn <= self.careful;
        if careful
            || self.rows >= BATCH_ROWS.get() as i64
            || self.batch_began.as_ref().is_some_and(old)
        {
            self.commit_batch();
        }
    }
}
