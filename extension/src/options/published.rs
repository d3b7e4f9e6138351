// SPDX-License-Identifier: Apache-2.0
//! Tables whose changes others follow by logical decoding, which sees the row store and nothing of segments.
//!
//! Rows that come while a table is published are therefore kept in its row store. Where rows have come before, in
//! segments, their changes would be lost to the followers; they are refused, as PostgreSQL refuses changes of published
//! tables without a replica identity.
use crate::{cdc, pg};
use pgrx::{pg_sys, PgSqlErrorCode};

/// What happens to rows of segments.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// They are deleted.
    Delete,
    /// Others take their place.
    Update,
}

/// What publications publish of a relation; `None`: nothing is decoded.
///
/// # Safety
/// An open relation.
unsafe fn actions(rel: pg_sys::Relation) -> Option<pg_sys::PublicationActions> {
    // SAFETY: an open relation; the publication description is cached or made anew.
    unsafe {
        if pg_sys::wal_level < pg_sys::WalLevel::WAL_LEVEL_LOGICAL as i32 {
            return None;
        }
        let mut desc = std::mem::zeroed::<pg_sys::PublicationDesc>();
        pg_sys::RelationBuildPublicationDesc(rel, &mut desc);
        Some(desc.pubactions)
    }
}

/// Whether a publication covers a relation.
///
/// # Safety
/// An open relation.
pub unsafe fn is_published(rel: pg_sys::Relation) -> bool {
    // SAFETY: passed on to the caller.
    unsafe { actions(rel) }.is_some_and(|a| a.pubinsert || a.pubupdate || a.pubdelete)
}

/// Raises an error if rows of segments are about to be changed and somebody is told of such changes. Mirrors are
/// exempt: they follow their sources, and who wants to follow these can do so there.
pub fn check(rel: pg_sys::Relation, change: Change) {
    if cdc::is_applying() {
        return;
    }
    // SAFETY: an open relation.
    let Some(actions) = (unsafe { actions(rel) }) else {
        return;
    };
    let told = match change {
        Change::Delete => actions.pubdelete,
        // The new row would be decoded as one that is inserted.
        Change::Update => actions.pubupdate || actions.pubdelete || actions.pubinsert,
    };
    if !told {
        return;
    }
    let what = match change {
        Change::Delete => "delete",
        Change::Update => "update",
    };
    let name = pg::relation_name(rel);
    pg::refuse(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("cannot {what} rows in column segments of \"{name}\", which is published"),
        "Logical decoding sees the row store only. Take the table out of its publications, or empty it and load it again: \
         rows that come while a table is published stay in the row store.",
    )
}
