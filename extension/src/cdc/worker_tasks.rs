// SPDX-License-Identifier: Apache-2.0
//! What an apply worker does beside the stream: reads what is registered, looks at its sources, has mirrors filled and
//! takes them over.
use super::applier::{Applier, WORKING_ON};
use super::catalogue;
use super::copier::Started;
use super::copy;
use super::rewrite_watch;
use super::session::{begin, check_interrupts, elevated, execute, transaction, with_snapshot};
use super::shared_state;
use super::source::Source;
use super::spool::Spool;
use super::table_discovery;
use super::target::Mirror;
use super::wal_retention;
use super::worker::mark_paused;
use super::COPY_WORKERS;
use doris_cdc::pgoutput::{decode, Message};
use pgrx::prelude::*;
use std::time::{Duration, Instant};

/// The catalogue is looked at this often even without news: the extension may have been dropped.
const LOOK_SECONDS: u64 = 10;
/// It is looked at no more often than this, unless someone waits for it.
const LOOK_APART: Duration = Duration::from_millis(100);

impl Applier {
    /// Reads what is registered, and says that it is known.
    pub(super) fn load(&mut self) {
        self.read_tables();
        self.publish_generation();
    }

    /// As `load`, after a look for tables that match and with one at the sources: `generation` is that of the shared
    /// state before all of this. Whoever waits for the sync has raised it, and waits for what is found here.
    pub(super) fn look_around(&mut self, source: &mut Source, generation: u32) {
        table_discovery::discover(&self.sync, source);
        self.read_tables();
        self.look_at_sources(source);
        self.generation = generation;
        self.publish_generation();
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
                    mirror.writer = old.writer;
                }
            }
            self.mirrors.insert(table.source, mirror);
        }
        let streams = |table: &u32| self.mirrors.get(table).is_some_and(Mirror::streams);
        self.columns.retain(|table, _| streams(table));
    }

    fn publish_generation(&self) {
        let to_fill = self
            .mirrors
            .values()
            .filter(|m| matches!(m.table.state.as_str(), "init" | "copied"))
            .count() as u32
            + self
                .mirrors
                .values()
                .filter(|m| m.table.files.has_noted())
                .count() as u32
            + (self.missing.len()
                + self.leaving.len()
                + self.arriving.len()
                + self.columns_awaited()) as u32;
        let copied = if self.sync.connection.is_some() {
            0
        } else {
            let copies = self.mirrors.values().filter(|m| m.streams());
            copies
                .filter_map(|m| Some(m.table.snapshot.as_ref()?.lsn.0))
                .max()
                .unwrap_or(0)
        };
        let generation = self.generation;
        shared_state::update(self.db, self.sync.id, |e| {
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
            self.columns.remove(&table.source);
            rewrite_watch::touch();
            self.load();
        }
    }

    /// Looks whether the catalogue has news. False if this worker has nothing more to do.
    fn renew(&mut self) -> bool {
        if !self.is_touched() && !self.has_news() && self.looked.elapsed().as_secs() < LOOK_SECONDS
        {
            return true;
        }
        self.looked = Instant::now();
        let generation = shared_state::get(self.db, self.sync.id).map_or(0, |e| e.generation);
        let now = transaction(|| {
            if catalogue::exists() {
                catalogue::sync(self.sync.id)
            } else {
                None
            }
        });
        match now {
            Some(sync) if !sync.paused && !sync.dropping && sync.slot_made => {
                sync.check_owner();
                self.sync = sync;
            }
            Some(sync) if sync.paused => {
                mark_paused(self.db, &sync, generation);
                return false;
            }
            // The next worker sees to it.
            _ => {
                shared_state::update(self.db, self.sync.id, |e| e.not_before_us = 0);
                return false;
            }
        }
        let sync = &self.sync;
        let mut source = self.source.take().unwrap_or_else(|| Source::open(sync));
        self.look_around(&mut source, generation);
        self.ask_position(&mut source);
        if wal_retention::holds_too_much_there(self.db, &self.sync, &mut source) {
            error!("the sync's slot holds back more WAL than doris.sync_retained_wal");
        }
        if !self.missing.is_empty() || !self.leaving.is_empty() || self.columns_awaited() > 0 {
            // The next look is soon.
            self.source = Some(source);
        }
        true
    }

    /// Whether the catalogue has changed since it was read.
    fn has_news(&self) -> bool {
        shared_state::get(self.db, self.sync.id).is_none_or(|e| e.generation != self.generation)
    }

    /// Does what there is to do beside the stream. False if this worker has nothing more to do.
    pub(super) fn tend(&mut self) -> bool {
        self.apply_due_arrivals();
        self.renew() && self.tend_copies()
    }

    /// Whether there is something to do beside the stream.
    pub(super) fn has_tasks(&self) -> bool {
        let arrivals = !self.arriving.is_empty();
        arrivals
            || self.is_touched()
            || self.has_news()
            || self.copies.any_ended()
            || self.can_copy()
    }

    /// Whether the sources are to be looked at, and it is not a moment since they were.
    fn is_touched(&self) -> bool {
        let due = self.columns_due.is_some_and(|end| self.applied >= end);
        (rewrite_watch::is_due() || due) && self.looked.elapsed() >= LOOK_APART
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
        let position = transaction(|| source.position());
        shared_state::update(self.db, self.sync.id, |e| e.source_lsn = position.0);
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
                shared_state::update(self.db, self.sync.id, |e| e.not_before_us = 0);
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
            self.attach_met(table);
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
            rewrite_watch::touch();
            let sync = &self.sync;
            let mut source = self.source.take().unwrap_or_else(|| Source::open(sync));
            self.note_bounds(table, &mut source);
            self.source = Some(source);
            self.load();
        }
        if self.copies.count() == 0 {
            transaction(|| catalogue::set_state(self.sync.id, "streaming"));
        }
    }
}
