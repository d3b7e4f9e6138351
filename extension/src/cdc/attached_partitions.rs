// SPDX-License-Identifier: Apache-2.0
//! Members that partitioned sources were given with rows in them, which the stream does not bring.
//!
//! 1. When a look shows one, its rows are read under a snapshot, into a temporary table.
//! 2. The stream goes on. When all transactions that the snapshot saw are applied, and before the first change of the
//!    table by another one, the rows of the mirror that meet the member's condition are replaced by those: the
//!    condition is met by its rows only, and the snapshot knows all of them. What happened to the member before it was
//!    one, or while it was none, does not matter.
//! 3. Nothing else may have happened to the source meanwhile that the stream does not tell of.
//!
//! Transactions that the snapshot did not see may be in the stream before some that it saw, or be applied already
//! ([`super::recent_commits`]). If one of them changes the table, or for any other reason, the mirror is filled again,
//! which is always right. It is, too, where the members are larger than what is there beside them: the stream stands
//! still while they are read.
use super::applier::{Applier, WORKING_ON};
use super::catalogue;
use super::condition_shell::is_plain;
use super::copy::{receive_rows, selection};
use super::ddl_replication;
use super::mirror_relation;
use super::partitions::{set_lock_timeout, PartitionOutcome};
use super::relation_shell;
use super::rewrite_watch;
use super::session::{
    abort, as_role, begin, caught, commit, elevated, execute, value, with_own_names, with_snapshot,
};
use super::shared_state;
use super::source::{quoted, Look, Source};
use super::{load_shell, mirror};
use doris_cdc::snapshot::CopySnapshot;
use pgrx::prelude::*;

/// Members of a table that are on their way into its mirror.
pub(super) struct AttachedPartitions {
    /// What the table was made of when they were read.
    files: Option<String>,
    /// The columns they were read in.
    columns: Vec<String>,
    /// Their conditions.
    conditions: Vec<String>,
    seen: CopySnapshot,
}

/// By their table.
pub(super) type Arriving = std::collections::HashMap<u32, AttachedPartitions>;

fn staging(table: u32) -> String {
    format!("pg_temp.pg_doris_coming_{table}")
}

impl Applier {
    /// Reads the rows of members that came with some, unless that is done. No transaction is open, and nothing is
    /// pending.
    pub(super) fn take_in(
        &mut self,
        now: &Look,
        came: &[u32],
        source: &mut Source,
    ) -> PartitionOutcome {
        let table = now.table;
        let known = self.arriving.get(&table);
        if known.is_some_and(|c| c.files == now.files.files) {
            return PartitionOutcome::Later;
        }
        self.arriving.remove(&table);
        let plain = self.sync.publication.is_none() && self.mirrors.contains_key(&table);
        if !plain {
            return PartitionOutcome::Refill;
        }
        let read = caught(|| {
            if let Source::Remote(connection) = source {
                connection.run("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY");
            }
            begin();
            // SAFETY: the transaction has no snapshot yet.
            unsafe { pg_sys::XactIsoLevel = pg_sys::XACT_REPEATABLE_READ as i32 };
            set_lock_timeout(c"1s");
            let coming = with_snapshot(|| self.read(now, came, source));
            commit();
            if let Source::Remote(connection) = source {
                connection.run("COMMIT");
            }
            coming
        });
        match read {
            Ok(Some(coming)) => {
                self.arriving.insert(table, coming);
                PartitionOutcome::Later
            }
            Ok(None) => PartitionOutcome::Refill,
            Err((why, _)) => {
                abort();
                log!("partitions cannot be read by themselves: {why}");
                // The connection may be in the middle of a transaction.
                if !source.is_local() {
                    *source = Source::open(&self.sync);
                }
                PartitionOutcome::Refill
            }
        }
    }

    /// `None` if the whole mirror has to be filled.
    fn read(
        &mut self,
        now: &Look,
        came: &[u32],
        source: &mut Source,
    ) -> Option<AttachedPartitions> {
        let owner = self.mirrors.get_mut(&now.table)?.writer(&self.sync);
        let owner = owner.unwrap_or_else(|e| error!("{e}"));
        let mirror = &self.mirrors.get(&now.table)?.table;
        let mut seen = source.running();
        // Behind all that the snapshot saw.
        seen.lsn = source.written();
        if source.made_of(now.table) != now.files.files {
            return None;
        }
        if !self.recent_commits.is_behind(&seen, now.table) {
            // What is applied would be taken back.
            return None;
        }
        let columns = source.stream_columns(&self.sync.publication(), now.table);
        let local = source.is_local();
        let told =
            source.bounds_are_plain(now.table) && (local || source.bounds_can_travel(now.table));
        if ddl_replication::known(&columns) != mirror.columns
            || !told
            || source.is_most(now.table, came)
        {
            return None;
        }
        let bounds = source.bounds(now.table);
        let bound = |oid: &u32| bounds.iter().find(|(member, _)| member == oid);
        let conditions = came.iter().map(|oid| Some(format!("({})", bound(oid)?.1)));
        let conditions: Vec<String> = conditions.collect::<Option<_>>()?;
        if !conditions.iter().all(|c| is_plain(c, local)) {
            return None;
        }
        let to = make_staging(now.table, mirror.target, owner);
        let shape = mirror_relation::describe(to).unwrap_or_else(|e| error!("{e}"));
        let names: Vec<String> = columns.iter().map(|c| c.known.name.clone()).collect();
        let number = |name: &String| shape.columns.iter().find(|(n, _)| n == name);
        let attributes: Option<Vec<i16>> = names.iter().map(|n| Some(number(n)?.1)).collect();
        let attributes = attributes?;
        for member in came {
            let name = source
                .relation_name(*member)
                .unwrap_or_else(|e| error!("{e}"));
            let sql = selection(&name, &columns, false, None);
            as_role(owner, || match source {
                Source::Local => {
                    let reader = mirror::mirror_owner(self.sync.owner, Some(now.table));
                    let from = (*member, &sql[..]);
                    load_shell::load_query(to, &attributes, from, reader, &|_| ())
                }
                Source::Remote(connection) => {
                    let text: Vec<bool> = columns.iter().map(|c| c.by_text).collect();
                    connection.copy_out(&format!("COPY ({sql}) TO STDOUT (FORMAT binary)"));
                    load_shell::load(to, &attributes, &|_| (), |load| {
                        receive_rows(connection, load, &text);
                    })
                }
            });
        }
        Some(AttachedPartitions {
            files: now.files.files.clone(),
            columns: names,
            conditions,
            seen,
        })
    }

    /// The current transaction of the source changes the table: the rows that came go first, unless they hold what it
    /// did.
    pub(super) fn apply_arrivals(&mut self, table: u32) {
        let (xid, commit) = (self.begin.xid, self.begin.commit_lsn);
        self.recent_commits.record(table, xid, commit);
        let Some(coming) = self.arriving.get(&table) else {
            return;
        };
        if coming.seen.holds(xid, commit) {
            return;
        }
        match commit >= coming.seen.lsn {
            true => self.put_in(table),
            // Others that the snapshot saw may follow.
            false => self.fill_instead(table),
        }
    }

    /// Puts rows in whose time has come though nothing follows them. Nothing is pending; false if nothing was done.
    pub(super) fn apply_due_arrivals(&mut self) -> bool {
        let due = self
            .arriving
            .iter()
            .filter(|(_, c)| c.seen.lsn <= self.applied);
        let due: Vec<u32> = due.map(|(table, _)| *table).collect();
        due.iter().for_each(|table| self.put_in(*table));
        if self.open {
            self.last.end_lsn = self.last.end_lsn.max(self.applied);
            self.commit_batch();
        }
        if !due.is_empty() {
            rewrite_watch::touch();
        }
        !due.is_empty()
    }

    /// Replaces the rows of the mirror that meet the members' conditions.
    fn put_in(&mut self, table: u32) {
        self.write_out(table);
        self.batch_began.get_or_insert_with(std::time::Instant::now);
        if !self.open {
            begin();
            self.open = true;
        }
        WORKING_ON.set(table);
        let done = with_snapshot(|| self.replace(table));
        // SAFETY: a transaction is open.
        unsafe { pg_sys::CommandCounterIncrement() };
        WORKING_ON.set(0);
        match done {
            true => drop(self.arriving.remove(&table)),
            false => self.fill_instead(table),
        }
    }

    /// False if the source is not what it was.
    fn replace(&mut self, table: u32) -> bool {
        let (Some(mirror), Some(coming)) =
            (self.mirrors.get_mut(&table), self.arriving.get(&table))
        else {
            return false;
        };
        if !mirror.streams() {
            return false;
        }
        let source = self.source.get_or_insert_with(|| Source::open(&self.sync));
        let publication = self.sync.publication();
        let Some(now) = source.look(&publication, &[table]).pop() else {
            return false;
        };
        let columns = mirror.table.columns.iter().map(|c| &c.name);
        let same = now.files.files == coming.files
            && now.files.published == mirror.table.files.published
            && columns.eq(&coming.columns);
        if !same {
            return false;
        }
        let target = mirror.table.target;
        let name = relation_shell::locked_name(target, pg_sys::RowExclusiveLock)
            .unwrap_or_else(|e| error!("{e}"));
        let owner = mirror.writer(&self.sync).unwrap_or_else(|e| error!("{e}"));
        let columns: Vec<String> = coming.columns.iter().map(|c| quoted(c)).collect();
        let (columns, staging) = (columns.join(", "), staging(table));
        let condition = coming.conditions.join(" OR ");
        with_own_names(|| {
            as_role(owner, || {
                execute(&format!("DELETE FROM ONLY {name} WHERE {condition}"), &[]);
                relation_shell::check_name(target, &name);
                let sql = format!("INSERT INTO {name} ({columns}) SELECT {columns} FROM {staging}");
                execute(&sql, &[]);
                relation_shell::check_name(target, &name);
                execute(&format!("DROP TABLE {staging}"), &[]);
            })
        });
        catalogue::set_look(self.sync.id, &now);
        mirror.table.files = now.files;
        log!(
            "{} was given partitions with rows: they are in its mirror",
            mirror.table.source_name
        );
        true
    }

    /// Has the whole mirror filled.
    fn fill_instead(&mut self, table: u32) {
        self.arriving.remove(&table);
        if !self.open {
            begin();
            self.open = true;
        }
        let id = self.sync.id;
        with_snapshot(|| catalogue::refill(id, table));
        // SAFETY: a transaction is open.
        unsafe { pg_sys::CommandCounterIncrement() };
        if let Some(mirror) = self.mirrors.get_mut(&table) {
            mirror.table.state = "init".into();
        }
        shared_state::update(self.db, id, |e| e.generation += 1);
    }
}

/// A temporary table for rows of the mirror, which belongs to `owner`.
fn make_staging(table: u32, target: u32, owner: pg_sys::Oid) -> u32 {
    let name = ddl_replication::relation_name(target).unwrap_or_else(|e| error!("{e}"));
    let staging = staging(table);
    elevated(|| {
        execute(&format!("DROP TABLE IF EXISTS {staging}"), &[]);
        execute(
            &format!("CREATE TEMPORARY TABLE {staging} (LIKE {name}) USING heap"),
            &[],
        );
        let role = value::<String>("SELECT quote_ident(pg_get_userbyid($1))", &[owner.into()]);
        let role = role.unwrap_or_default();
        execute(&format!("ALTER TABLE {staging} OWNER TO {role}"), &[]);
    });
    // SAFETY: a transaction is open.
    unsafe { pg_sys::CommandCounterIncrement() };
    let oid = "SELECT pg_catalog.to_regclass($1)::pg_catalog.oid";
    let oid = elevated(|| value::<pg_sys::Oid>(oid, &[staging.into()]));
    oid.map_or_else(|| error!("a temporary table was not made"), u32::from)
}
