// SPDX-License-Identifier: Apache-2.0
//! What an apply worker knows of its mirrors, and what it does with each message of the stream.
use super::apply_shell;
use super::board::{self, Batch};
use super::catalogue::{self, pause_table, Sync};
use super::copier::{Copies, Started};
use super::copy;
use super::follow::{self, Followed};
use super::join;
use super::session::{
    as_role, begin, check_interrupts, commit, elevated, execute, transaction, with_snapshot,
};
use super::source::Source;
use super::spool::Spool;
use super::streams::{Arrived, Streamed, Streams};
use super::target::{Mirror, RowChange};
use super::watch;
use super::worker::park;
use super::{BATCH_KB, BATCH_MS, BATCH_ROWS, COPY_WORKERS};
use doris_cdc::fold::Taken;
use doris_cdc::pgoutput::{decode, put_begin, Begin, Commit, Message, Relation};
use doris_cdc::Lsn;
use pgrx::prelude::*;
use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::time::Instant;

/// The catalogue is looked at this often even without news: the extension may have been dropped.
const LOOK_SECONDS: u64 = 10;

thread_local! {
    /// The source table whose changes are being applied, to name it when that fails.
    pub(super) static WORKING_ON: Cell<u32> = const { Cell::new(0) };
}

/// The state of an apply worker.
pub(super) struct Applier {
    pub(super) db: u32,
    pub(super) sync: Sync,
    generation: u32,
    looked: Instant,
    pub(super) mirrors: HashMap<u32, Mirror>,
    /// All descriptions seen: each is sent once, maybe before its table is known here.
    relations: HashMap<u32, Relation>,
    begin: Begin,
    pub(super) in_source_transaction: bool,
    /// A transaction of ours is open and holds part of the batch.
    open: bool,
    rows: i64,
    transactions: i64,
    batch_bytes: usize,
    batch_began: Option<Instant>,
    /// The end of the newest whole source transaction in the batch.
    last: Commit,
    applied: Lsn,
    /// Everything before this has been received.
    pub(super) progress: Lsn,
    /// The stream may carry binary values.
    pub(super) binary: bool,
    /// Mirrors being filled beside the stream.
    copies: Copies,
    /// The message the current source transaction began with.
    begin_bytes: Vec<u8>,
    /// Transactions that have not committed yet.
    streams: Streams,
    /// A connection that may soon be needed again.
    source: Option<Source>,
    /// A position of the source's WAL and the moment at which it was the end.
    sample: Option<(u64, i64)>,
    /// All that was committed at this moment is applied.
    fresh_us: i64,
    /// Positions committed and the ends of their local commit records, not known to be on disk yet.
    unflushed: VecDeque<(Lsn, u64)>,
}

impl Applier {
    pub(super) fn new(db: u32, sync: Sync, applied: Lsn) -> Self {
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
            last: Commit::default(),
            applied,
            progress: Lsn(0),
            binary: true,
            copies: Copies::default(),
            begin_bytes: Vec::new(),
            streams: Streams::default(),
            source: None,
            sample: None,
            fresh_us: 0,
            unflushed: VecDeque::new(),
        }
    }

    /// Reads what is registered, and says that it is known.
    pub(super) fn load(&mut self) {
        self.read_tables();
        self.say_seen();
    }

    /// As `load`, after a look for tables that match and with one at the sources: `generation` is that of the board
    /// before all of this. Whoever waits for the sync has raised it, and waits for what is found here.
    pub(super) fn look_around(&mut self, source: &mut Source, generation: u32) {
        join::look(&self.sync, source);
        self.read_tables();
        self.look_at_sources(source);
        self.generation = generation;
        self.say_seen();
    }

    /// Reads what is registered; keeps what is known of tables that are unchanged.
    fn read_tables(&mut self) {
        let mut tables = transaction(|| catalogue::tables(self.sync.id));
        tables.retain(|t| t.has_mirror());
        let mut before = std::mem::take(&mut self.mirrors);
        for table in tables {
            let mut mirror = Mirror::new(table.clone());
            mirror.relation = self.relations.get(&table.source).cloned();
            if let Some(old) = before.remove(&table.source) {
                if (old.table.target, &old.table.columns) == (table.target, &table.columns) {
                    mirror.plan = old.plan;
                }
            }
            self.mirrors.insert(table.source, mirror);
        }
    }

    fn say_seen(&self) {
        let to_fill = self
            .mirrors
            .values()
            .filter(|m| matches!(m.table.state.as_str(), "init" | "copied"))
            .count() as u32;
        let copied = if self.sync.connection.is_some() {
            0
        } else {
            let copies = self
                .mirrors
                .values()
                .filter(|m| m.table.state == "streaming");
            copies
                .filter_map(|m| Some(m.table.snapshot.as_ref()?.lsn.0))
                .max()
                .unwrap_or(0)
        };
        let generation = self.generation;
        board::update(self.db, self.sync.id, |e| {
            (e.seen, e.to_fill, e.copied) = (generation + 1, to_fill, copied)
        });
    }

    /// Fills the mirrors that are to be filled, and those that are registered meanwhile.
    fn fill_new(&mut self, source: &mut Source) {
        loop {
            let waiting = self.mirrors.values().map(|m| &m.table);
            let Some(table) = waiting
                .filter(|t| t.state == "init")
                .min_by_key(|t| t.source)
                .cloned()
            else {
                return;
            };
            transaction(|| catalogue::set_state(self.sync.id, "copying"));
            WORKING_ON.set(table.source);
            copy::fill(&self.sync, source, &table, None);
            WORKING_ON.set(0);
            transaction(|| catalogue::set_state(self.sync.id, "streaming"));
            watch::touch();
            self.load();
        }
    }

    /// Looks whether the catalogue has news. False if this worker has nothing more to do.
    fn renew(&mut self) -> bool {
        let touched = watch::is_due();
        if !touched && !self.has_news() && self.looked.elapsed().as_secs() < LOOK_SECONDS {
            return true;
        }
        self.looked = Instant::now();
        let generation = board::get(self.db, self.sync.id).map_or(0, |e| e.generation);
        let now = transaction(|| {
            if catalogue::exists() {
                catalogue::sync(self.sync.id)
            } else {
                None
            }
        });
        match now {
            Some(sync) if !sync.paused && !sync.dropping && sync.slot_made => self.sync = sync,
            Some(sync) if sync.paused => {
                park(self.db, self.sync.id, generation);
                return false;
            }
            // The next worker sees to it.
            _ => {
                board::update(self.db, self.sync.id, |e| e.not_before_us = 0);
                return false;
            }
        }
        let sync = &self.sync;
        let mut source = self.source.take().unwrap_or_else(|| Source::open(sync));
        self.look_around(&mut source, generation);
        self.ask_position(&mut source);
        true
    }

    /// Whether the catalogue has changed since it was read.
    fn has_news(&self) -> bool {
        board::get(self.db, self.sync.id).is_none_or(|e| e.generation != self.generation)
    }

    /// Does what there is to do beside the stream. False if this worker has nothing more to do.
    pub(super) fn tend(&mut self) -> bool {
        self.renew() && self.tend_copies()
    }

    /// Whether there is something to do beside the stream.
    pub(super) fn has_business(&self) -> bool {
        watch::is_due() || self.has_news() || self.copies.any_ended() || self.can_copy()
    }

    /// Whether a mirror waits to be filled and may be now.
    fn can_copy(&self) -> bool {
        self.copies.count() < COPY_WORKERS.get().max(1) as usize
            && self.mirrors.values().any(|m| self.is_due(m))
    }

    fn is_due(&self, mirror: &Mirror) -> bool {
        mirror.table.state == "init" && self.copies.is_due(mirror.table.source)
    }

    /// Whether values of all mirrored tables mean the same here in their binary form.
    pub(super) fn can_be_binary(&self, source: &mut Source) -> bool {
        let tables: Vec<u32> = self.mirrors.keys().copied().collect();
        transaction(|| source.can_be_binary(&tables))
    }

    /// Notes how far the WAL of another server is, to show the lag.
    fn ask_position(&self, source: &mut Source) {
        if source.is_local() {
            return;
        }
        let sql = "SELECT (pg_catalog.pg_current_wal_flush_lsn() - '0/0')::pg_catalog.text";
        let position = transaction(|| source.value(sql)).and_then(|p| p.parse().ok());
        board::update(self.db, self.sync.id, |e| {
            e.source_lsn = position.unwrap_or(0)
        });
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

    /// Starts copies that are due and takes over those that have ended. False if the stream has to begin again.
    fn tend_copies(&mut self) -> bool {
        while let Some((table, spool)) = self.copies.ended() {
            self.take_over(table, spool);
        }
        if !self.can_copy() {
            return true;
        }
        let waiting = self.mirrors.values().filter(|m| self.is_due(m));
        let mut waiting: Vec<u32> = waiting.map(|m| m.table.source).collect();
        waiting.sort_unstable();
        if self.binary && self.sync.connection.is_some() {
            let mut source = self
                .source
                .take()
                .unwrap_or_else(|| Source::open(&self.sync));
            let good = self.can_be_binary(&mut source);
            self.source = Some(source);
            if !good {
                // The stream has to begin again, without binary values.
                board::update(self.db, self.sync.id, |e| e.not_before_us = 0);
                return false;
            }
        }
        let most = COPY_WORKERS.get() as usize;
        let mut none_free = most == 0;
        for table in waiting {
            if none_free || self.copies.count() >= most {
                break;
            }
            match self.copies.start(self.db, self.sync.id, table) {
                Started::Yes => transaction(|| catalogue::set_state(self.sync.id, "copying")),
                Started::Settled => self.load(),
                Started::NoWorker => none_free = true,
            }
        }
        if none_free && self.copies.count() == 0 {
            // The last resort: this process copies, and the stream waits.
            let mut source = self
                .source
                .take()
                .unwrap_or_else(|| Source::open(&self.sync));
            self.fill_new(&mut source);
            self.source = Some(source);
        }
        true
    }

    /// Makes a table that has been copied one of the stream: applies what was put aside, and commits.
    fn take_over(&mut self, table: u32, mut spool: Spool) {
        self.load();
        let copied = self
            .mirrors
            .get_mut(&table)
            .filter(|m| m.table.state == "copied");
        let good = copied.is_some();
        self.copies.note(table, good);
        if let Some(mirror) = copied {
            mirror.table.state = "streaming".into();
            let begin_now = self.begin;
            let mut bytes = Vec::new();
            let mut messages = spool.reader();
            while messages.next(&mut bytes).is_some() {
                check_interrupts();
                match decode(&bytes).unwrap_or_else(|e| error!("{e}")) {
                    Message::Begin(begin) => self.begin = begin,
                    Message::Truncate { .. } => self.truncate(table),
                    other => self.message(other),
                }
            }
            self.begin = begin_now;
            if !self.open {
                begin();
                self.open = true;
            }
            with_snapshot(|| {
                let sql = "UPDATE doris.sync_table SET state = 'streaming' \
                           WHERE sync = $1 AND source = $2 AND state = 'copied'";
                let arguments = [self.sync.id.into(), pg_sys::Oid::from(table).into()];
                elevated(|| execute(sql, &arguments));
            });
            self.last.end_lsn = self.last.end_lsn.max(self.applied);
            self.commit_batch();
            watch::touch();
            self.load();
        }
        if self.copies.count() == 0 {
            transaction(|| catalogue::set_state(self.sync.id, "streaming"));
        }
    }

    fn message(&mut self, message: Message<'_>) {
        match message {
            Message::Begin(begin) => {
                self.begin = begin;
                self.in_source_transaction = true;
            }
            Message::Commit(commit) => self.end_of_transaction(commit),
            Message::Relation(relation) => {
                let id = relation.id;
                let before = self.relations.insert(id, relation.clone());
                if before.as_ref() == Some(&relation) && self.sync.connection.is_some() {
                    // Something happened to the table that does not show here.
                    watch::touch();
                }
                if self
                    .mirrors
                    .get(&id)
                    .is_some_and(|m| m.relation.as_ref() != Some(&relation))
                {
                    self.write_out(id);
                    if let Some(mirror) = self.mirrors.get_mut(&id) {
                        mirror.relation = Some(relation);
                        mirror.plan = None;
                    }
                }
            }
            Message::Insert { relation, new } => {
                self.change(relation, RowChange::Insert(new), new.bytes().len())
            }
            Message::Update { relation, old, new } => {
                self.change(relation, RowChange::Update(old, new), new.bytes().len());
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

    /// Whether the current source transaction concerns the mirror: it is filled, and the copy does not hold it.
    fn concerns(&self, relation: u32) -> bool {
        self.mirrors.get(&relation).is_some_and(|m| {
            m.table.state == "streaming"
                && !m
                    .table
                    .snapshot
                    .as_ref()
                    .is_some_and(|s| s.holds(self.begin.xid, self.begin.commit_lsn))
        })
    }

    fn change(&mut self, relation: u32, change: RowChange<'_>, bytes: usize) {
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
        // At the beginning of a stream each table is looked up: not with a connection each.
        let source = self.source.get_or_insert_with(|| Source::open(&self.sync));
        let followed = with_snapshot(|| {
            let followed = follow::follow(&self.sync, source, mirror);
            match &followed {
                Ok(Followed::InStep) => {}
                Ok(Followed::Refill) => {
                    catalogue::update_table(id, relation, "state = $3", "init");
                    mirror.table.state = "init".into();
                    board::update(self.db, id, |e| e.generation += 1);
                }
                Err(why) => {
                    pause_table(id, relation, why);
                    mirror.table.state = "paused".into();
                }
            }
            followed
        });
        // SAFETY: a transaction is open.
        unsafe { pg_sys::CommandCounterIncrement() };
        WORKING_ON.set(0);
        matches!(followed, Ok(Followed::InStep))
    }

    fn truncate(&mut self, relation: u32) {
        if !self.concerns(relation) {
            return;
        }
        let Some(mirror) = self.mirrors.get_mut(&relation) else {
            return;
        };
        if let Some(plan) = &mut mirror.plan {
            plan.clear();
        }
        let target = mirror.table.target;
        self.batch_began.get_or_insert_with(Instant::now);
        self.rows += 1;
        if !self.open {
            begin();
            self.open = true;
        }
        WORKING_ON.set(relation);
        let owner = self.sync.owner;
        with_snapshot(|| match follow::relation_name(target) {
            Ok(name) => as_role(owner, || apply_shell::truncate(&name)),
            Err(e) => error!("{e}"),
        });
        // SAFETY: a transaction is open.
        unsafe { pg_sys::CommandCounterIncrement() };
        WORKING_ON.set(0);
    }

    /// Writes the pending changes of one mirror into the open transaction.
    fn write_out(&mut self, relation: u32) {
        let Some(mirror) = self.mirrors.get_mut(&relation) else {
            return;
        };
        let Some(plan) = mirror.plan.as_mut().filter(|p| !p.is_empty()) else {
            return;
        };
        if !self.open {
            begin();
            self.open = true;
        }
        WORKING_ON.set(relation);
        let missing = as_role(self.sync.owner, || {
            apply_shell::write(mirror.table.target, plan)
        });
        if missing > 0 {
            warning!(
                "{missing} rows to change were not in the mirror of {}",
                mirror.table.source_name
            );
        }
        WORKING_ON.set(0);
        plan.clear();
    }

    fn write_out_all(&mut self) {
        let mut all: Vec<u32> = self.mirrors.keys().copied().collect();
        all.sort_unstable();
        all.into_iter().for_each(|r| self.write_out(r));
        self.batch_bytes = 0;
    }

    fn end_of_transaction(&mut self, commit: Commit) {
        self.in_source_transaction = false;
        self.last = commit;
        self.transactions += 1;
        let old = |b: &Instant| b.elapsed().as_millis() >= BATCH_MS.get() as u128;
        if self.rows >= BATCH_ROWS.get() as i64 || self.batch_began.as_ref().is_some_and(old) {
            self.commit_batch();
        }
    }

    /// Writes and commits the batch, with the position it leads to.
    fn commit_batch(&mut self) {
        self.write_out_all();
        let mut batch = Batch::default();
        if self.open {
            // SAFETY: the open transaction's id.
            let xid = unsafe { pg_sys::GetTopFullTransactionIdIfAny().value };
            batch = Batch {
                xid,
                lsn: self.last.end_lsn.0,
            };
            board::update(self.db, self.sync.id, |e| e.committing = batch);
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
        let applied = self.applied.0;
        let fresh_us = self.look_at_clock();
        board::update(self.db, self.sync.id, |e| {
            if batch.xid != 0 {
                e.note(batch);
            }
            e.fresh_us = fresh_us;
            e.applied = applied;
            e.received = e.received.max(applied);
            e.rows += rows;
            e.transactions += transactions;
            e.batches += 1;
            e.commit_us = commit_us;
            e.applied_us = board::now_us();
            e.retries = 0;
        });
        self.report_flushed();
    }

    /// Nothing is waiting: commit what is whole, and say how far that is.
    pub(super) fn settle(&mut self) {
        if self.in_source_transaction {
            return;
        }
        if self.transactions > 0 {
            self.commit_batch();
        }
        self.applied = self.applied.max(self.progress);
        let applied = self.applied.0;
        let fresh_us = self.look_at_clock();
        board::update(self.db, self.sync.id, |e| {
            e.fresh_us = fresh_us;
            e.applied = applied;
            e.received = e.received.max(applied);
        });
        self.report_flushed();
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
            let at = board::monotonic_us();
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
        board::update(self.db, self.sync.id, |e| {
            e.flushed = e.flushed.max(flushed.0)
        });
    }
}
