// SPDX-License-Identifier: Apache-2.0
//! Members of partitioned sources that come and go.
//!
//! A partition that is attached brings rows, and one that is detached or dropped takes rows along, without a word of
//! that in the stream. To fill the whole mirror again is always right, and dear. So:
//!
//! - One that was empty when it was attached brings nothing.
//! - Of one that goes, the rows are known by the condition that all of them meet, which was written down when it was
//!   last seen. They are deleted once all that was written before it went is applied, if no other member can hold such
//!   rows by then (PostgreSQL's planner says so): those that came later are not told from them.
//! - Such a condition is text that is run with the rights of the sync's owner. It is used only if it names columns,
//!   constants and what PostgreSQL brings along: never a function of a user's.
//! - One that came and went between two looks is known from the stream, which describes each member before its first
//!   change; that is written down with the change, and noticed at the next look.
use super::applier::{Applier, WORKING_ON};
use super::catalogue::{self, columns_from_json, columns_to_json};
use super::condition_shell::is_plain;
use super::ddl_replication;
use super::relation_shell;
use super::rewrite_watch;
use super::session::{
    abort, as_role, begin, caught, execute, transaction, with_own_names, with_snapshot,
};
use super::shared_state;
use super::source::{Look, Source};
use doris_cdc::rewrite_detection::Files;
use doris_cdc::schema_diff::Known;
use doris_cdc::snapshot::CopySnapshot;
use doris_cdc::Lsn;
use pgrx::prelude::*;
use pgrx::JsonB;
use std::collections::BTreeMap;

/// What is known of the rows of a source's members.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bounds {
    /// The members it is known of: the text of `Files`.
    files: String,
    /// The columns that the conditions name.
    columns: Vec<Known>,
    of: BTreeMap<u32, String>,
}

impl Bounds {
    /// As it is recorded.
    pub(super) fn from_json(json: &serde_json::Value) -> Self {
        let odd = || -> ! { error!("what is recorded of partitions cannot be read: {json}") };
        let text = |v: &serde_json::Value| v.as_str().unwrap_or_else(|| odd()).to_owned();
        let number = |oid: &String| oid.parse().unwrap_or_else(|_| odd());
        let of = json["of"].as_object().into_iter().flatten();
        Bounds {
            files: text(&json["files"]),
            columns: columns_from_json(&json["columns"]),
            of: of.map(|(oid, bound)| (number(oid), text(bound))).collect(),
        }
    }

    fn to_json(&self) -> serde_json::Value {
        let of: serde_json::Map<_, _> = self
            .of
            .iter()
            .map(|(oid, bound)| (oid.to_string(), bound.as_str().into()))
            .collect();
        serde_json::json!({"files": self.files, "columns": columns_to_json(&self.columns), "of": of})
    }

    /// Whether this is of a mirror that is in step with these columns, of a source made of these members.
    fn fits(&self, files: &Files, columns: &[Known]) -> bool {
        self.files == files.seen() && self.columns == columns
    }
}

/// What came of members that left, or came.
pub(super) enum PartitionOutcome {
    /// Their rows are gone.
    Done,
    /// They are to be looked at again.
    Later,
    /// The mirror has to be filled again.
    Refill,
}

/// Of the members attached since `before`, those that hold no rows. What is written to one from then on is in the
/// stream; and its file is its first, so nothing was thrown away with another. No transaction is open.
pub(super) fn empty(source: &mut Source, before: &Files, now: &Files) -> Vec<u32> {
    let attached = now.attached_since(before).into_iter();
    let first_file = attached.filter(|(_, own)| *own).map(|(oid, _)| oid);
    first_file.filter(|oid| is_empty(source, *oid)).collect()
}

fn is_empty(source: &mut Source, member: u32) -> bool {
    let empty = asked(|| {
        let name = source.relation_name(member).ok()?;
        if !can_be_read(source, member) {
            return None;
        }
        source.owners_value(
            member,
            &format!("SELECT EXISTS (SELECT FROM ONLY {name})::pg_catalog.text"),
        )
    });
    empty.flatten().as_deref() == Some("false")
}

/// Runs `f` in a transaction of its own, which waits for nobody's DDL for long: that may want what this holds. `None`
/// after an error.
fn asked<R>(f: impl FnOnce() -> R) -> Option<R> {
    let with_lock_timeout = || {
        set_lock_timeout(c"50ms");
        f()
    };
    match caught(|| transaction(with_lock_timeout)) {
        Ok(answer) => Some(answer),
        Err((why, _)) => {
            abort();
            log!("a partition cannot be told apart: {why}");
            None
        }
    }
}

/// Waits for no lock longer than this, until the end of the transaction.
pub(super) fn set_lock_timeout(time: &std::ffi::CStr) {
    // SAFETY: constants with a terminating zero; the setting goes with the transaction.
    unsafe {
        pg_sys::set_config_option(
            c"lock_timeout".as_ptr(),
            time.as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucSource::PGC_S_OVERRIDE,
            pg_sys::GucAction::GUC_ACTION_LOCAL,
            true,
            0,
            false,
        );
    }
}

/// Whether a table can be read without waiting for somebody's DDL.
fn can_be_read(source: &Source, table: u32) -> bool {
    // SAFETY: a transaction is open, which keeps the lock.
    !source.is_local()
        || unsafe {
            pg_sys::ConditionalLockRelationOid(table.into(), pg_sys::AccessShareLock as i32)
        }
}

impl Applier {
    /// Writes down which rows the members of a source hold, unless that is known. No transaction is open.
    pub(super) fn note_bounds(&mut self, table: u32, source: &mut Source) {
        let publication = self.sync.publication();
        let Some(mirror) = self.mirrors.get_mut(&table) else {
            return;
        };
        let known = &mut mirror.table;
        let fits = |b: &Bounds| b.fits(&known.files, &known.columns);
        let Some(files) = known.files.files.clone() else {
            return;
        };
        if !known.files.partitioned || known.bounds.as_ref().is_some_and(fits) {
            return;
        }
        let local = source.is_local();
        let of = asked(|| {
            if source.bounds_are_plain(table) && (local || source.bounds_can_travel(table)) {
                source.bounds(table)
            } else {
                Vec::new()
            }
        });
        let Some(of) = of else { return };
        // Each in a transaction of its own, so that what happens in between shows.
        let columns = transaction(|| source.stream_columns(&publication, table));
        let same = transaction(|| source.made_of(table)).as_ref() == Some(&files);
        if !same || ddl_replication::known(&columns) != known.columns {
            return;
        }
        let bounds = Bounds {
            files,
            columns: known.columns.clone(),
            of: of.into_iter().collect(),
        };
        let json = JsonB(bounds.to_json());
        transaction(|| catalogue::update_table(self.sync.id, table, "bounds = $3", json));
        known.bounds = Some(bounds);
    }

    /// Deletes the rows of members that left; `before` was taken before the look. No transaction is open, and nothing
    /// is pending.
    pub(super) fn take_leave(
        &mut self,
        now: &Look,
        left: &[u32],
        before: &CopySnapshot,
        source: &mut Source,
    ) -> PartitionOutcome {
        let Some(conditions) = self.conditions(now.table, left) else {
            return PartitionOutcome::Refill;
        };
        let local = source.is_local();
        let plain = || conditions.iter().all(|c| is_plain(c, local));
        if asked(plain) != Some(true) {
            return PartitionOutcome::Refill;
        }
        let end = match self.leaving.get(&now.table) {
            Some(leave) if leave.files == now.files.files => leave.end,
            _ => {
                let end = transaction(|| source.written());
                let mut seen = before.clone();
                seen.lsn = end;
                let leave = Pending {
                    files: now.files.files.clone(),
                    left: left.to_vec(),
                    seen,
                    end,
                };
                self.leaving.insert(now.table, leave);
                end
            }
        };
        if self.applied < end {
            return PartitionOutcome::Later;
        }
        let excluded = asked(|| {
            if !can_be_read(source, now.table) {
                return None;
            }
            let name = source.relation_name(now.table).ok()?;
            Some(
                conditions
                    .iter()
                    .all(|c| source.excludes(now.table, &name, c)),
            )
        });
        match excluded {
            Some(None) => return PartitionOutcome::Later,
            Some(Some(true)) => {}
            Some(Some(false)) | None => return PartitionOutcome::Refill,
        }
        let Some(mirror) = self.mirrors.get_mut(&now.table) else {
            return PartitionOutcome::Refill;
        };
        let (id, sync) = (self.sync.id, &self.sync);
        WORKING_ON.set(now.table);
        let deleted = asked(|| {
            let target = mirror.table.target;
            let name = relation_shell::locked_name(target, pg_sys::RowExclusiveLock)
                .unwrap_or_else(|e| error!("{e}"));
            let owner = mirror.writer(sync).unwrap_or_else(|e| error!("{e}"));
            let sql = format!("DELETE FROM ONLY {name} WHERE {}", conditions.join(" OR "));
            with_own_names(|| as_role(owner, || execute(&sql, &[])));
            relation_shell::check_name(target, &name);
            catalogue::set_look(id, now);
        });
        WORKING_ON.set(0);
        match deleted {
            Some(()) => PartitionOutcome::Done,
            None => PartitionOutcome::Refill,
        }
    }

    /// What the rows of members that left meet, if that is known for all of them.
    fn conditions(&self, table: u32, left: &[u32]) -> Option<Vec<String>> {
        let known = &self.mirrors.get(&table)?.table;
        let bounds = known
            .bounds
            .as_ref()
            .filter(|b| b.fits(&known.files, &known.columns))?;
        let with_rows = left.iter().filter(|oid| known.files.has_rows(**oid));
        let conditions = with_rows.map(|oid| bounds.of.get(oid).map(|b| format!("({b})")));
        let mut conditions = conditions.collect::<Option<Vec<String>>>()?;
        if conditions.is_empty() {
            conditions.push("false".into());
        }
        Some(conditions)
    }

    /// The stream describes a table that is a member of `root`.
    pub(super) fn attach(&mut self, root: u32, member: u32) {
        let Some(mirror) = self.mirrors.get(&root) else {
            return;
        };
        let files = &mirror.table.files;
        if !files.partitioned {
            return;
        }
        // One that left and is described by a transaction after that has come again, maybe with another condition.
        let leave = self.leaving.get(&root);
        let again = leave.is_some_and(|l| {
            l.left.contains(&member) && !l.seen.holds(self.begin.xid, self.begin.commit_lsn)
        });
        if again {
            self.leaving.remove(&root);
        } else if files.has_member(member) {
            return;
        }
        match mirror.table.state.as_str() {
            "streaming" => self.note_member(root, member),
            _ => {
                self.met.insert((root, member));
            }
        }
        rewrite_watch::touch();
    }

    /// Those that were met while the mirror was filled.
    pub(super) fn attach_met(&mut self, root: u32) {
        let met: Vec<u32> = self
            .met
            .iter()
            .filter(|(r, _)| *r == root)
            .map(|(_, member)| *member)
            .collect();
        self.met.retain(|(r, _)| *r != root);
        met.into_iter().for_each(|member| self.attach(root, member));
    }

    /// Writes down, with the changes that follow, that the table has had this member.
    fn note_member(&mut self, root: u32, member: u32) {
        self.batch_began.get_or_insert_with(std::time::Instant::now);
        if !self.open {
            begin();
            self.open = true;
        }
        let id = self.sync.id;
        let Some(mirror) = self.mirrors.get_mut(&root) else {
            return;
        };
        // Who waits for the sync waits for the look at it.
        shared_state::update(self.db, id, |e| e.to_fill += 1);
        mirror.table.files.note_member(member);
        let files = mirror.table.files.files.clone();
        with_snapshot(|| catalogue::update_table(id, root, "files = $3", files));
        // SAFETY: a transaction is open.
        unsafe { pg_sys::CommandCounterIncrement() };
    }
}

/// Members that left a table, whose rows are not deleted yet.
pub(super) struct Pending {
    /// What the table was made of without them.
    files: Option<String>,
    left: Vec<u32>,
    /// What the look that showed it saw at least.
    seen: CopySnapshot,
    /// A position behind that.
    end: Lsn,
}

/// By the table that they left.
pub(super) type Leaving = std::collections::HashMap<u32, Pending>;
