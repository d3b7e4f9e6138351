// SPDX-License-Identifier: Apache-2.0
//! Which rows of a group of equal keys count: by sequence, delete sign and order of arrival.
use super::batch::{ColumnValues, Groups, Part};
use super::{Row, Rule, Sequence, Sign};
use crate::read::attrs::Attr;
use crate::write::kind::Kind;
use doris_storage::vector::Vector;
use pgrx::pg_sys;
use std::cmp::Ordering;

/// Which rows of a group count.
#[derive(Clone, Copy)]
pub(super) struct Winner {
    /// It gives the columns that a partial update does not name.
    pub(super) base: u32,
    /// It gives the others.
    pub(super) named: u32,
    pub(super) part: Part,
    pub(super) unchanged: bool,
}

impl Winner {
    /// A later row replaces everything.
    fn restarted(self, row: u32, part: Part) -> Self {
        Self {
            base: row,
            named: row,
            part,
            unchanged: false,
        }
    }

    /// A later row replaces what its statement names.
    fn followed(self, row: u32) -> Self {
        let part = match self.part {
            Part::Stored => Part::Whole,
            part => part,
        };
        Self {
            named: row,
            part,
            unchanged: false,
            ..self
        }
    }
}

/// The rows of a batch, and what decides between those of one key.
struct Contest<'a> {
    rule: &'a Rule,
    rel: pg_sys::Relation,
    attrs: &'a [Attr],
    columns: &'a [(Kind, Vector)],
    groups: Groups<'a>,
    sign: Option<(&'a Sign, ColumnValues<'a>)>,
    sequence: Option<(&'a Sequence, ColumnValues<'a>)>,
}

impl Rule {
    /// The rows that count, for each group.
    pub(super) fn winners(
        &self,
        rel: pg_sys::Relation,
        attrs: &[Attr],
        columns: &[(Kind, Vector)],
        groups: Groups,
    ) -> Vec<Winner> {
        let values = |column: usize| {
            let (kind, vector) = &columns[column];
            ColumnValues::of(rel, &attrs[column], *kind, vector)
        };
        let sequence = self.deciding_sequence();
        let contest = Contest {
            rule: self,
            rel,
            attrs,
            columns,
            groups,
            sign: self.delete_sign.as_ref().map(|s| (s, values(s.column))),
            sequence: sequence.map(|s| (s, values(s.column))),
        };
        groups.iter().map(|rows| contest.winner(rows)).collect()
    }
}

impl Contest<'_> {
    fn with_row<T>(&self, row: u32, f: impl FnOnce(Row) -> T) -> T {
        self.rule.with_row(self.attrs, self.columns, row, f)
    }

    fn part(&self, row: u32) -> Part {
        match (self.groups.part(row), &self.sign) {
            (Part::Loaded, Some((sign, values)))
                if values.get(row).is_some_and(|value| sign.is_set(value)) =>
            {
                Part::Deleted
            }
            (part, _) => part,
        }
    }

    /// Whether a row is older than a delete of its key by the same statement, in an earlier batch.
    fn is_superseded(&self, row: u32) -> bool {
        let stored = self.groups.part(row) == Part::Stored || self.rule.deleted_keys.is_empty();
        !stored && self.with_row(row, |row| self.rule.is_superseded(self.rel, row))
    }

    /// Whether a new row's sequence is below that of the row which counts so far.
    fn is_older(&self, new: u32, than: u32) -> bool {
        self.sequence.as_ref().is_some_and(|(sequence, values)| {
            match (values.is_null(than), values.is_null(new)) {
                (true, _) => false,
                (false, true) => true,
                (false, false) => values.compare(&sequence.order, new, than) == Ordering::Less,
            }
        })
    }

    fn remember_delete(&self, row: u32) {
        self.with_row(row, |row| self.rule.remember_delete(self.rel, row));
    }

    /// What counts of the rows of a group.
    fn winner(&self, rows: &[u32]) -> Winner {
        let old = rows.iter().take_while(|row| self.is_superseded(**row));
        let old = old.count();
        // Where all rows are older than a delete of this statement, what is left is that delete.
        let (rows, gone) = match old == rows.len() {
            true => (&rows[..1], true),
            false => (&rows[old..], false),
        };
        let first = rows[0];
        let mut winner = Winner {
            base: first,
            named: first,
            part: if gone {
                Part::Deleted
            } else {
                self.part(first)
            },
            unchanged: old == 0,
        };
        for &row in &rows[1..] {
            if !self.is_older(row, winner.named) {
                winner = self.succeeded(winner, row, first);
            }
        }
        if winner.part == Part::Deleted && !gone {
            self.remember_delete(winner.named);
        }
        winner
    }

    /// What counts once the next row has come, which is not older; `first` is the group's first.
    fn succeeded(&self, winner: Winner, row: u32, first: u32) -> Winner {
        let met = self.groups.part(first) == Part::Stored;
        let admit = || self.rule.admit_row(self.rel, self.attrs, self.columns, row);
        match (winner.part, self.part(row)) {
            (Part::Deleted, Part::Loaded | Part::AfterDelete) if met => {
                admit();
                winner.restarted(row, Part::Whole)
            }
            (Part::Deleted, Part::Loaded) => {
                self.remember_delete(winner.named);
                winner.restarted(row, Part::AfterDelete)
            }
            (Part::Stored, Part::AfterDelete) if self.outlives_delete(first, row) => {
                winner.followed(row)
            }
            (Part::Stored, Part::AfterDelete) => {
                admit();
                winner.restarted(row, Part::AfterDelete)
            }
            (_, Part::Loaded) => winner.followed(row),
            (_, part) => winner.restarted(row, part),
        }
    }

    /// Whether a stored row is newer than every delete of its key that came before a row of the same statement.
    fn outlives_delete(&self, stored: u32, new: u32) -> bool {
        self.with_row(new, |new| {
            self.with_row(stored, |stored| {
                self.rule.outlives_delete(self.rel, stored, new)
            })
        })
    }
}
