// SPDX-License-Identifier: Apache-2.0
//! Looks whether sources were written anew in a way that the stream does not tell of (`doris_cdc::rewrite_detection`),
//! or published anew, and has the mirrors of those filled again.
//!
//! A worker looks when it starts, every few seconds, when someone waits for the sync, when the stream describes a table
//! again, and, for tables of this database, when PostgreSQL says that the description of one has changed. (An event
//! trigger was rejected: it can be disabled, does not fire for replicas, and cannot be made on another server without
//! its superuser.)
use super::applier::Applier;
use super::catalogue;
use super::ddl_replication;
use super::partitions::{self, PartitionOutcome};
use super::session::transaction;
use super::source::{Look, Source};
use doris_cdc::rewrite_detection::Verdict;
use doris_cdc::snapshot::CopySnapshot;
use pgrx::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;

thread_local! {
    /// The sources of this worker in this database, and their partitions.
    static WATCHED: RefCell<HashSet<u32>> = RefCell::new(HashSet::new());
    /// Its mirrors.
    static MIRRORS: RefCell<HashSet<u32>> = RefCell::new(HashSet::new());
    /// Counts changes of the description of either, and of roles.
    static OWNERS: Cell<u64> = const { Cell::new(0) };
    /// The description of one of them has changed.
    static TOUCHED: Cell<bool> = const { Cell::new(true) };
}

/// Asks to be told of changed tables; once in a worker.
pub(super) fn install() {
    // SAFETY: the callbacks only set flags.
    unsafe {
        pg_sys::CacheRegisterRelcacheCallback(Some(touched), pg_sys::Datum::from(0));
        for cache in [
            pg_sys::SysCacheIdentifier::AUTHOID,
            pg_sys::SysCacheIdentifier::AUTHMEMROLEMEM,
            pg_sys::SysCacheIdentifier::NAMESPACEOID,
            pg_sys::SysCacheIdentifier::DATABASEOID,
            pg_sys::SysCacheIdentifier::TYPEOID,
            pg_sys::SysCacheIdentifier::PROCOID,
        ] {
            let none = pg_sys::Datum::from(0);
            pg_sys::CacheRegisterSyscacheCallback(cache as i32, Some(roles_changed), none);
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn roles_changed(_argument: pg_sys::Datum, _cache: i32, _hash: u32) {
    OWNERS.set(OWNERS.get() + 1);
}

/// A number that changes when a source, a mirror, a schema or the database may have got another owner, or a role other
/// rights.
pub(super) fn owners_seen() -> u64 {
    OWNERS.get()
}

#[pg_guard]
unsafe extern "C-unwind" fn touched(_argument: pg_sys::Datum, relid: pg_sys::Oid) {
    let known = |watched: &RefCell<HashSet<u32>>| watched.borrow().contains(&u32::from(relid));
    let source = relid == pg_sys::InvalidOid || WATCHED.with(known);
    if source {
        TOUCHED.set(true);
    }
    if source || MIRRORS.with(known) {
        OWNERS.set(OWNERS.get() + 1);
    }
}

/// Makes the next look due.
pub(super) fn touch() {
    TOUCHED.set(true);
}

/// Whether a look is due. No transaction is open.
pub(super) fn is_due() -> bool {
    // SAFETY: allowed outside of transactions, as in PostgreSQL's own apply workers.
    unsafe { pg_sys::AcceptInvalidationMessages() };
    TOUCHED.get()
}

impl Applier {
    /// Looks at all sources whose mirrors stream. No transaction is open.
    pub(super) fn look_at_sources(&mut self, source: &mut Source) {
        // Before the look: what changes during it is for the next one.
        TOUCHED.set(false);
        let streaming = self.mirrors.values().map(|m| &m.table);
        let tables: Vec<u32> = streaming
            .filter(|t| t.state == "streaming")
            .map(|t| t.source)
            .collect();
        let publication = self.sync.publication();
        let before = transaction(|| source.running());
        self.recent_commits.forget_seen(&before);
        let mut found = transaction(|| source.look(&publication, &tables));
        if found.iter().any(|now| now.files.published.is_none()) {
            // One that was dropped a moment ago may be seen still, but not in its publication.
            found = transaction(|| source.look(&publication, &tables));
        }
        self.missing.retain(|table, _| tables.contains(table));
        self.leaving.retain(|table, _| tables.contains(table));
        self.arriving.retain(|table, _| tables.contains(table));
        self.columns.retain(|table, _| tables.contains(table));
        for table in tables {
            if !found.iter().any(|now| now.table == table) {
                self.miss(table, source);
            }
        }
        for now in found {
            self.act_on(&now, &before, source);
            self.settle_columns(&now, &before, source);
        }
        self.note_columns_due();
        self.watch();
    }

    /// Does what has become of a source asks for.
    fn act_on(&mut self, now: &Look, before: &CopySnapshot, source: &mut Source) {
        let (id, table) = (self.sync.id, now.table);
        let Some(mirror) = self.mirrors.get_mut(&table) else {
            return;
        };
        let known = &mut mirror.table;
        let empty = partitions::empty(source, &known.files, &now.files);
        let mut verdict =
            transaction(|| ddl_replication::record_files(id, &mut known.files, now, &empty));
        if !matches!(verdict, Verdict::Left(_)) {
            self.leaving.remove(&table);
        }
        if !matches!(verdict, Verdict::Came(_)) {
            self.arriving.remove(&table);
        }
        let mut problem = match now.files.partitioned {
            true => transaction(|| ddl_replication::check_identities(known, now).err()),
            false => None,
        };
        if verdict == Verdict::Same && problem.is_none() {
            return self.note_bounds(table, source);
        }
        problem = problem.or_else(|| now.problem().map(str::to_owned));
        let computed = || ddl_replication::check_computed(&self.sync, source, table).err();
        if let Some(why) = problem.or_else(|| transaction(computed)) {
            transaction(|| mirror.pause(id, &why));
            self.leaving.remove(&table);
            self.arriving.remove(&table);
            return;
        }
        if let Verdict::Came(came) = &verdict {
            match self.take_in(now, came, source) {
                PartitionOutcome::Later => return,
                _ => verdict = Verdict::Untold,
            }
        }
        if let Verdict::Left(left) = &verdict {
            match self.take_leave(now, left, before, source) {
                PartitionOutcome::Later => return touch(),
                PartitionOutcome::Done => verdict = Verdict::Told,
                PartitionOutcome::Refill => verdict = Verdict::Untold,
            }
            self.leaving.remove(&table);
        }
        let Some(mirror) = self.mirrors.get_mut(&table) else {
            return;
        };
        if verdict == Verdict::Untold {
            transaction(|| catalogue::refill(id, table));
            log!(
                "{} was written or published anew: its mirror is filled again",
                mirror.table.source_name
            );
            mirror.table.state = "init".into();
            return;
        }
        mirror.table.files = now.files.clone();
        self.note_bounds(table, source);
    }

    /// A source was dropped: what the stream brings of it up to then belongs to its mirror still.
    fn miss(&mut self, table: u32, source: &mut Source) {
        let position = || transaction(|| source.written());
        let end = *self.missing.entry(table).or_insert_with(position);
        if self.applied < end {
            return touch();
        }
        transaction(|| catalogue::set_gone(self.sync.id, table));
        self.missing.remove(&table);
        self.mirrors.remove(&table);
    }

    /// Remembers which tables to be told of.
    fn watch(&self) {
        MIRRORS.set(self.mirrors.values().map(|m| m.table.target).collect());
        if self.sync.connection.is_some() {
            return;
        }
        let mut watched: HashSet<u32> = self.mirrors.keys().copied().collect();
        for mirror in self.mirrors.values().filter(|m| m.table.files.partitioned) {
            watched.extend(mirror.table.files.member_oids());
        }
        WATCHED.set(watched);
    }
}
