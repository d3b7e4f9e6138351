// SPDX-License-Identifier: Apache-2.0
//! Pending rows of a table with a key, and who reads it meanwhile: in their own subtransaction they are published, in
//! one inside of it a copy is.
use super::{flush_where, seal, Builder, Columns, BUILDERS, COUNTS, TIDS_UNOBSERVED};
use crate::keys::model as key_model;
use crate::pg;
use crate::write::column::Column;
use crate::write::memory::SegmentMemory;
use pgrx::{pg_sys, PgSqlErrorCode};

/// Whether a subtransaction of their statement has published pending rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishedIn {
    /// None has.
    Never,
    /// This one, or one inside of it that has ended well.
    Subtransaction(pg_sys::SubTransactionId),
    /// It has rolled back: the rows are pending, and are published as soon as their own subtransaction goes on.
    RolledBack,
}

/// Publishes what was inserted into a keyed table, before the table is searched or read: a row under construction is
/// beside the one that it replaces.
pub fn publish_pending(rel: pg_sys::Relation) {
    let relid = pg::relation_id(rel);
    let any = BUILDERS.with_borrow(|builders| builders.iter().any(|b| b.relid == relid));
    if !any || key_model::of(rel).is_none() {
        return;
    }
    flush_where(|b| b.relid == relid);
    // SAFETY: the active snapshot, if there is one.
    let seen = unsafe {
        match pg_sys::ActiveSnapshotSet() {
            true => (*pg_sys::GetActiveSnapshot()).curcid,
            false => pg_sys::CommandId::MAX,
        }
    };
    publish_copies(rel, |b| b.cid < seen);
}

/// Publishes what was inserted into a keyed table before other rows are.
pub fn publish_before(rel: pg_sys::Relation) {
    let relid = pg::relation_id(rel);
    flush_where(|b| b.relid == relid);
    publish_copies(rel, |_| true);
}

/// Publishes the rows in the current subtransaction that statements around it have pending.
fn publish_copies(rel: pg_sys::Relation, concerns: impl Fn(&Builder) -> bool) {
    let relid = pg::relation_id(rel);
    // SAFETY: plain call.
    let subid = unsafe { pg_sys::GetCurrentSubTransactionId() };
    loop {
        let next = BUILDERS.with_borrow_mut(|builders| {
            let pending = |b: &&mut Builder| {
                let published_in = matches!(b.published_in, PublishedIn::Subtransaction(_));
                b.relid == relid && b.subid != subid && b.rows > 0 && !published_in && concerns(b)
            };
            let builder = builders.iter_mut().find(pending)?;
            let copy = builder.copy_for(subid);
            if copy.is_some() {
                builder.published_in = PublishedIn::Subtransaction(subid);
            }
            Some(copy)
        });
        match next {
            None => return,
            Some(Some(copy)) => seal(copy),
            Some(None) => refuse(rel),
        }
    }
}

impl Builder {
    /// The rows, for another subtransaction; `None` where the segment is registered: its entry is its own
    /// subtransaction's.
    fn copy_for(&self, subid: pg_sys::SubTransactionId) -> Option<Builder> {
        let (Columns::Growing(columns), None) = (&self.columns, self.entry_tid) else {
            return None;
        };
        let mut memory = SegmentMemory::new();
        memory.cover(self.relid, self.bytes);
        let copy = |column: &Column| Column::of(column.kind(), column.vector().clone());
        Some(Builder {
            subid,
            columns: Columns::Growing(columns.iter().map(copy).collect()),
            published_in: PublishedIn::Never,
            widths: self.widths.clone(),
            memory,
            relid: self.relid,
            file: self.file,
            cid: self.cid,
            entry: self.entry,
            entry_tid: self.entry_tid,
            rows: self.rows,
            bytes: self.bytes,
            widest: self.widest,
            unobserved: self.unobserved,
        })
    }
}

fn refuse(rel: pg_sys::Relation) -> ! {
    pg::refuse(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!(
            "cannot read or change table \"{}\" in a subtransaction of the statement that loads it",
            pg::relation_name(rel)
        ),
        "The places of its rows are known, to indexes, triggers or RETURNING. Turn doris.enable_bulk_load off: the \
         statement then writes row by row.",
    )
}

/// A subtransaction has committed: what it has published is its parent's.
pub fn end_subtransaction(subid: pg_sys::SubTransactionId, parent: pg_sys::SubTransactionId) {
    let mut done = Vec::new();
    BUILDERS.with_borrow_mut(|builders| {
        let published_in = |b: &&mut Builder| b.published_in == PublishedIn::Subtransaction(subid);
        builders
            .iter_mut()
            .filter(published_in)
            .for_each(|b| b.published_in = PublishedIn::Subtransaction(parent));
        while let Some(at) = builders
            .iter()
            .position(|b| b.published_in == PublishedIn::Subtransaction(b.subid))
        {
            done.push(builders.remove(at));
        }
    });
    drop(done);
}

/// Forgets the segments of a subtransaction that rolls back, or of the transaction; the rows that it had published are
/// pending again.
pub fn forget(subid: Option<pg_sys::SubTransactionId>) {
    BUILDERS.with_borrow_mut(|builders| match subid {
        Some(subid) => {
            builders.retain(|b| b.subid != subid);
            let published_in =
                |b: &&mut Builder| b.published_in == PublishedIn::Subtransaction(subid);
            builders
                .iter_mut()
                .filter(published_in)
                .for_each(|b| b.published_in = PublishedIn::RolledBack);
        }
        None => builders.clear(),
    });
    COUNTS.with_borrow_mut(Vec::clear);
    if subid.is_none() {
        TIDS_UNOBSERVED.with_borrow_mut(Vec::clear);
    }
}
