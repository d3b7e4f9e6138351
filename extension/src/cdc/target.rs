// SPDX-License-Identifier: Apache-2.0
//! One mirrored table as the apply worker holds it: its catalogue row, the shape of the stream, what is pending.
use super::catalogue::{self, Sync, SyncTable};
use super::mirror_relation;
use super::{rewrite_watch, writer};
use doris_cdc::fold::bag::Bag;
use doris_cdc::fold::{Fold, FoldError, Taken};
use doris_cdc::pgoutput::{Old, Relation, Tuple};
use doris_cdc::schema_diff::Known;
use pgrx::prelude::*;

/// Memory a table keeps between batches.
const KEEP_BYTES: usize = 1 << 20;

/// A source table and its mirror.
pub(crate) struct Mirror {
    pub(crate) table: SyncTable,
    /// How the stream describes the source now.
    pub(crate) relation: Option<Relation>,
    /// The plan of application, once the mirror is in step with `relation`.
    pub(crate) plan: Option<Plan>,
    /// The role that writes to the mirror, as of this state of the catalogue.
    pub(super) writer: Option<(u64, pg_sys::Oid)>,
}

/// How the columns of the stream meet those of the mirror, and what is pending.
pub(crate) struct Plan {
    /// For each column of the stream, the mirror's attribute number.
    pub(crate) attributes: Vec<i16>,
    /// The mirror's key index and, for each of its columns, the position in the fold's key.
    pub(crate) key: Option<(pg_sys::Oid, Vec<usize>)>,
    pub(crate) pending: Pending,
}

/// The changes not yet written.
pub(crate) enum Pending {
    /// Folded by key.
    Keyed(Fold),
    /// Counted by row.
    Counted(Bag),
}

/// One change of a row.
#[derive(Clone, Copy)]
pub(crate) enum RowChange<'a> {
    Insert(Tuple<'a>),
    Update(Option<Old<'a>>, Tuple<'a>),
    Delete(Old<'a>),
}

impl Mirror {
    pub(crate) fn new(table: SyncTable) -> Self {
        Mirror {
            table,
            relation: None,
            plan: None,
            writer: None,
        }
    }

    /// The role that writes to the mirror, or why none is to. A transaction and a snapshot are open.
    pub(crate) fn writer(&mut self, sync: &Sync) -> Result<pg_sys::Oid, String> {
        let now = rewrite_watch::owners_seen();
        match self.writer {
            Some((then, role)) if then == now => Ok(role),
            _ => {
                let role = writer::writer(sync, &self.table)?;
                self.writer = Some((now, role));
                Ok(role)
            }
        }
    }

    /// Applies no more of its changes, and records why.
    pub(crate) fn pause(&mut self, sync: i32, why: &str) {
        catalogue::pause_table(sync, self.table.source, why);
        self.table.state = "paused".into();
        self.plan = None;
    }

    /// Whether what the stream brings is applied.
    pub(crate) fn streams(&self) -> bool {
        self.table.state == "streaming"
    }

    /// The columns of the stream's description; their numbers are 0 if it has none.
    pub(crate) fn streamed_columns(&self) -> Vec<Known> {
        let columns = self.relation.iter().flat_map(|r| &r.columns);
        let described = columns.map(|c| Known {
            number: c.number.unwrap_or(0),
            name: c.name.clone(),
            type_oid: c.type_oid,
            typmod: c.typmod,
        });
        described.collect()
    }

    /// The numbers that the columns of the mirror's key have on the source, once there is a plan.
    pub(crate) fn key_numbers(&self) -> Option<Vec<i16>> {
        let Pending::Keyed(fold) = &self.plan.as_ref()?.pending else {
            return None;
        };
        let numbers = fold.key_columns().iter();
        Some(numbers.map(|at| self.table.columns[*at].number).collect())
    }

    /// Makes the plan for a mirror that is in step. An error says what does not fit.
    pub(crate) fn plan(&mut self) -> Result<(), String> {
        let Some(relation) = &self.relation else {
            return Err("no description of the source".into());
        };
        let shape = mirror_relation::describe(self.table.target)?;
        let mut attributes = Vec::with_capacity(relation.columns.len());
        for column in &relation.columns {
            match shape.columns.iter().find(|(name, _)| *name == column.name) {
                Some((_, number)) => attributes.push(*number),
                None => return Err(format!("the mirror has no column \"{}\"", column.name)),
            }
        }
        let (key, pending) = match shape.key {
            None => (None, Pending::Counted(Bag::new(attributes.len()))),
            Some((index, numbers)) => {
                let mut columns = Vec::new();
                for number in &numbers {
                    let at = attributes.iter().position(|a| a == number);
                    let Some(at) = at.filter(|at| relation.columns[*at].identity) else {
                        return Err(
                            "the mirror's key is not part of the source's replica identity".into(),
                        );
                    };
                    columns.push(at);
                }
                let mut ascending = columns.clone();
                ascending.sort_unstable();
                let positions = columns
                    .iter()
                    .map(|c| ascending.partition_point(|a| a < c))
                    .collect();
                let fold = Fold::new(attributes.len(), ascending);
                (Some((index, positions)), Pending::Keyed(fold))
            }
        };
        self.plan = Some(Plan {
            attributes,
            key,
            pending,
        });
        Ok(())
    }
}

impl Plan {
    /// Takes a change into what is pending.
    pub(crate) fn offer(&mut self, change: RowChange<'_>) -> Result<Taken, FoldError> {
        match &mut self.pending {
            Pending::Keyed(fold) => match change {
                RowChange::Insert(new) => fold.insert(new),
                RowChange::Update(old, new) => fold.update(old, new),
                RowChange::Delete(old) => fold.delete(old),
            },
            Pending::Counted(bag) => {
                match change {
                    RowChange::Insert(new) => bag.insert(new)?,
                    RowChange::Update(old, new) => bag.update(old, new)?,
                    RowChange::Delete(old) => bag.delete(old)?,
                }
                Ok(Taken::Yes)
            }
        }
    }

    /// Whether nothing is pending.
    pub(crate) fn is_empty(&self) -> bool {
        match &self.pending {
            Pending::Keyed(fold) => fold.is_empty(),
            Pending::Counted(bag) => bag.is_empty(),
        }
    }

    /// Forgets what was pending.
    pub(crate) fn clear(&mut self) {
        match &mut self.pending {
            Pending::Keyed(fold) => fold.clear(KEEP_BYTES),
            Pending::Counted(bag) => bag.clear(KEEP_BYTES),
        }
    }
}
