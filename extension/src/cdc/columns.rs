// SPDX-License-Identifier: Apache-2.0
//! Gives mirrors the columns of their sources where no change follows the DDL.
//!
//! The stream describes a table with the next change of its rows, and DDL is followed there (`ddl_replication`). That
//! change may be far away, and whoever waits for the sync meanwhile expects the columns that the source has. So a look
//! that shows other descriptions of columns notes a position of the WAL behind them: once all up to there is applied,
//! and the descriptions are still the same, what is still to come was written with these columns or later ones.
use super::applier::{Applier, WORKING_ON};
use super::catalogue;
use super::ddl_replication;
use super::partitions::set_lock_timeout;
use super::rewrite_watch;
use super::session::{abort, caught, transaction};
use super::source::{Look, Source};
use super::target::Mirror;
use doris_cdc::schema_diff::{steps, Known};
use doris_cdc::snapshot::CopySnapshot;
use doris_cdc::Lsn;
use pgrx::prelude::*;
use std::collections::HashMap;

/// For each source, what wrote the descriptions of its columns at the last look, and the position to wait for; `None`
/// if its mirror has them.
pub(super) type Columns = HashMap<u32, (Option<String>, Option<Lsn>)>;

/// What came of an attempt.
enum Outcome {
    /// The mirror has the source's columns.
    InStep,
    /// That is left to the next change, which tells what to do about the key.
    Left,
    /// They have changed since the look, or somebody holds the mirror.
    Later,
    /// What its rows have in them cannot be told.
    Refill,
    /// It cannot be done.
    Failed(String),
}

impl Applier {
    /// Brings the columns of a mirror in step with a source that was just looked at, if it is time; `before` are the
    /// transactions that ran before the look. No transaction is open.
    pub(super) fn settle_columns(
        &mut self,
        now: &Look,
        before: &CopySnapshot,
        source: &mut Source,
    ) {
        let (table, marks) = (now.table, &now.column_marks);
        let Some(mirror) = self.mirrors.get(&table).filter(|m| m.streams()) else {
            self.columns.remove(&table);
            return;
        };
        let described = self.described_by.get(&table);
        if described.is_some_and(|xid| before.may_run(*xid)) {
            // The look may show older columns than the stream has.
            self.columns.remove(&table);
            return rewrite_watch::touch();
        }
        self.described_by.remove(&table);
        match self.columns.get(&table) {
            Some((known, None)) if known == marks => return,
            Some((known, Some(end))) if known == marks => {
                if self.applied < *end {
                    return;
                }
            }
            _ if marks.is_some() && mirror.table.column_marks == *marks => {
                self.columns.insert(table, (marks.clone(), None));
                return;
            }
            _ => return self.await_columns(now, source),
        }
        match self.try_columns(now, source) {
            Outcome::InStep | Outcome::Left => self.have_columns(now),
            Outcome::Later => {}
            Outcome::Refill => {
                self.columns.remove(&table);
                transaction(|| catalogue::refill(self.sync.id, table));
                if let Some(mirror) = self.mirrors.get_mut(&table) {
                    mirror.table.state = "init".into();
                }
            }
            Outcome::Failed(why) => {
                self.columns.remove(&table);
                let sync = self.sync.id;
                if let Some(mirror) = self.mirrors.get_mut(&table) {
                    transaction(|| mirror.pause(sync, &why));
                }
            }
        }
    }

    /// Notes when the next attempt is due.
    pub(super) fn note_columns_due(&mut self) {
        self.columns_due = self.columns.values().filter_map(|(_, end)| *end).min();
    }

    /// The mirror has the columns that the look has shown.
    fn have_columns(&mut self, now: &Look) {
        let (sync, table, marks) = (self.sync.id, now.table, &now.column_marks);
        transaction(|| catalogue::update_table(sync, table, "column_marks = $3", marks.clone()));
        self.columns.insert(table, (marks.clone(), None));
        if let Some(mirror) = self.mirrors.get_mut(&table) {
            mirror.table.column_marks = marks.clone();
        }
    }

    /// Notes a position behind what gave the source other columns than are recorded, if it has others.
    fn await_columns(&mut self, now: &Look, source: &mut Source) {
        let publication = self.sync.publication();
        let layout = transaction(|| source.stream_layout(&publication, now.table));
        let known = self.mirrors.get(&now.table).map(|m| &m.table.columns);
        if known == Some(&ddl_replication::known(&layout.columns)) {
            return self.have_columns(now);
        }
        let end = transaction(|| source.written());
        let entry = (now.column_marks.clone(), Some(end));
        self.columns.insert(now.table, entry);
    }

    /// Takes the columns if nobody holds the mirror.
    fn try_columns(&mut self, now: &Look, source: &mut Source) -> Outcome {
        let local = source.is_local();
        WORKING_ON.set(now.table);
        let with_lock_timeout = || {
            set_lock_timeout(c"50ms");
            self.take_columns(now, source)
        };
        let outcome = match caught(|| transaction(with_lock_timeout)) {
            Ok(outcome) => outcome,
            Err((why, true)) if !local => error!("{why}"),
            Err((why, transient)) => {
                abort();
                match transient {
                    true => Outcome::Later,
                    false => Outcome::Failed(why),
                }
            }
        };
        WORKING_ON.set(0);
        outcome
    }

    /// How many mirrors that stream may not have the columns of their sources.
    pub(super) fn columns_awaited(&self) -> usize {
        let streaming = self.mirrors.values().filter(|m| m.streams());
        let known = |m: &Mirror| matches!(self.columns.get(&m.table.source), Some((_, None)));
        streaming.filter(|m| !known(m)).count()
    }

    /// Alters the mirror. A description of the stream's that is older than these columns is forgotten: another comes
    /// with the next change. (It is not older where changes that came with it were not applied, as the mirror was
    /// filled since.)
    fn take_columns(&mut self, looked: &Look, source: &mut Source) -> Outcome {
        let (publication, table) = (self.sync.publication(), looked.table);
        let layout = source.stream_layout(&publication, table);
        let now = ddl_replication::known(&layout.columns);
        let after = source.look(&publication, &[table]).pop();
        if !after.is_some_and(|a| a.column_marks == looked.column_marks && a.files == looked.files)
        {
            return Outcome::Later;
        }
        let Some(mirror) = self.mirrors.get_mut(&table) else {
            return Outcome::Left;
        };
        let told = |c: &Known| {
            now.iter().any(|n| n.number == c.number) || layout.dropped.contains(&c.number)
        };
        if layout.made < mirror.table.made || !mirror.table.columns.iter().all(told) {
            // Older ones than the stream has brought.
            return Outcome::Later;
        }
        let todo = steps(&mirror.table.columns, &now);
        match ddl_replication::keeps_key(&mirror.table, &todo) {
            Ok(true) => {}
            Ok(false) => return Outcome::Left,
            Err(why) => return Outcome::Failed(why),
        }
        let same = ddl_replication::keeps_values(&mirror.table.columns, &now);
        let values = ddl_replication::values_of_old_rows(source, table, &todo, &now);
        let Some(values) = values.filter(|_| same) else {
            return Outcome::Refill;
        };
        let (sync, values) = (&self.sync, Some(&values));
        if let Err(why) = ddl_replication::alter(&mirror.table, sync, source, &todo, &now, values) {
            return Outcome::Failed(why);
        }
        catalogue::set_columns(self.sync.id, table, &now, layout.made);
        let described = mirror.streamed_columns();
        let is = |(a, b): (&Known, &Known)| {
            (&a.name, a.type_oid, a.typmod) == (&b.name, b.type_oid, b.typmod)
        };
        if described.len() != now.len() || !described.iter().zip(&now).all(is) {
            mirror.relation = None;
            self.relations.remove(&table);
        }
        mirror.table.columns = now;
        mirror.table.made = layout.made;
        mirror.plan = None;
        Outcome::InStep
    }
}
