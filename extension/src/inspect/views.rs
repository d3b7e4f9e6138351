// SPDX-License-Identifier: Apache-2.0
//! What the views over all tables show of one: they wait for nobody, and a table that is gone, locked or damaged does
//! not keep the others from being seen.
use super::sizes::{self, SegmentRow};
use super::{may_read, subtransaction};
use crate::pg;
use pgrx::iter::TableIterator;
use pgrx::{name, pg_extern, pg_sys};

const SHARE: i32 = pg_sys::AccessShareLock as i32;

/// What came of looking at a table.
enum Inspected<T> {
    Seen(T),
    /// It is gone, or not for the user.
    Nothing,
    /// Somebody has locked it, or it is damaged.
    Hidden,
}

/// Looks at a columnar table unless that means waiting.
fn inspect<T>(table: pg_sys::Oid, look: impl FnOnce(pg_sys::Relation) -> T) -> Inspected<T> {
    let seen = subtransaction::run_in_subtransaction(|| {
        // SAFETY: plain calls. The relation is closed again; after an error, with the subtransaction.
        unsafe {
            if !pg_sys::ConditionalLockRelationOid(table, SHARE) {
                return Inspected::Hidden;
            }
            let rel = pg_sys::try_relation_open(table, pg_sys::NoLock as i32);
            if rel.is_null() {
                pg_sys::UnlockRelationOid(table, SHARE);
                return Inspected::Nothing;
            }
            let seen = if !crate::am::is_doris(rel) || !may_read(table) {
                Inspected::Nothing
            } else if store_is_free(rel) {
                Inspected::Seen(look(rel))
            } else {
                Inspected::Hidden
            };
            pg_sys::relation_close(rel, SHARE);
            seen
        }
    });
    seen.unwrap_or_else(|message| {
        warn(table, &message);
        Inspected::Hidden
    })
}

fn warn(table: pg_sys::Oid, message: &str) {
    pgrx::warning!(
        "a columnar table with OID {} cannot be looked at: {message}",
        table.to_u32()
    );
}

/// Locks the column store of a table unless that means waiting.
unsafe fn store_is_free(rel: pg_sys::Relation) -> bool {
    // SAFETY: an open relation.
    let toast = unsafe { (*(*rel).rd_rel).reltoastrelid };
    let Some(indexes) = with_open(toast, indexes_of) else {
        return toast == pg_sys::InvalidOid;
    };
    indexes
        .into_iter()
        // SAFETY: plain call.
        .all(|index| unsafe { pg_sys::ConditionalLockRelationOid(index, SHARE) })
}

/// Opens a relation, whose lock stays, unless that means waiting or it is gone.
fn with_open<T>(relid: pg_sys::Oid, look: impl FnOnce(pg_sys::Relation) -> T) -> Option<T> {
    if relid == pg_sys::InvalidOid {
        return None;
    }
    // SAFETY: a plain call.
    if !unsafe { pg_sys::ConditionalLockRelationOid(relid, SHARE) } {
        return None;
    }
    pg::with_relation_if_any(relid, pg_sys::NoLock, look)
}

fn indexes_of(rel: pg_sys::Relation) -> Vec<pg_sys::Oid> {
    // SAFETY: an open relation.
    let list = unsafe { pgrx::PgList::<pg_sys::Oid>::from_pg(pg_sys::RelationGetIndexList(rel)) };
    list.iter_oid().collect()
}

/// Bytes of a relation's files.
fn file_bytes(rel: pg_sys::Relation) -> u64 {
    let forks = 0..=pg_sys::ForkNumber::INIT_FORKNUM;
    let blocks = forks.map(|fork| {
        // SAFETY: an open relation with storage.
        unsafe {
            match pg_sys::smgrexists(pg_sys::RelationGetSmgr(rel), fork) {
                true => pg_sys::RelationGetNumberOfBlocksInFork(rel, fork),
                false => 0,
            }
        }
    });
    blocks.map(u64::from).sum::<u64>() * u64::from(pg_sys::BLCKSZ)
}

/// Bytes of a table with all that belongs to it; `None` if something of it is locked.
fn total_bytes(rel: pg_sys::Relation) -> Option<u64> {
    // SAFETY: an open relation.
    let toast = unsafe { (*(*rel).rd_rel).reltoastrelid };
    let mut parts = indexes_of(rel);
    if toast != pg_sys::InvalidOid {
        parts.append(&mut with_open(toast, indexes_of)?);
        parts.push(toast);
    }
    parts.into_iter().try_fold(file_bytes(rel), |sum, part| {
        Some(sum + with_open(part, file_bytes)?)
    })
}

/// What a table has and takes; NULLs if somebody has locked it or it is damaged.
#[pg_extern(stable, parallel_unsafe)]
#[allow(clippy::type_complexity)]
fn sizes_if_free(
    table: pg_sys::Oid,
) -> TableIterator<
    'static,
    (
        name!(segments, Option<i64>),
        name!(segment_rows, Option<i64>),
        name!(deleted_rows, Option<i64>),
        name!(segment_bytes, Option<i64>),
        name!(heap_bytes, Option<i64>),
        name!(total_bytes, Option<i64>),
    ),
> {
    let seen = inspect(table, |rel| {
        let segments = sizes::segment_rows(rel);
        let sum = |of: fn(&SegmentRow) -> i64| segments.iter().map(of).sum();
        let heap = u64::from(crate::pg::heapam::blocks(rel)) * u64::from(pg_sys::BLCKSZ);
        (
            Some(segments.len() as i64),
            Some(sum(|s| s.1)),
            Some(sum(|s| s.2)),
            Some(sum(|s| s.3)),
            Some(heap as i64),
            total_bytes(rel).map(|bytes| bytes as i64),
        )
    });
    TableIterator::new(match seen {
        Inspected::Seen(row) => vec![row],
        Inspected::Hidden => vec![(None, None, None, None, None, None)],
        Inspected::Nothing => Vec::new(),
    })
}

/// The segments of a table, as `segments_of`; none if somebody has locked it or it is damaged.
#[pg_extern(stable, parallel_unsafe)]
#[allow(clippy::type_complexity)]
fn segments_if_free(
    table: pg_sys::Oid,
) -> TableIterator<
    'static,
    (
        name!(first_row, i64),
        name!(rows, i64),
        name!(deleted_rows, i64),
        name!(bytes, i64),
        name!(level, i32),
        name!(state, &'static str),
    ),
> {
    TableIterator::new(match inspect(table, sizes::segment_rows) {
        Inspected::Seen(rows) => rows,
        _ => Vec::new(),
    })
}

/// The columns of a table, as `columns_of`, with NULLs for a damaged one; none if somebody has locked the table.
#[pg_extern(stable, parallel_unsafe)]
#[allow(clippy::type_complexity)]
fn columns_if_free(
    table: pg_sys::Oid,
) -> TableIterator<
    'static,
    (
        name!(attnum, i16),
        name!(encodings, Option<Vec<String>>),
        name!(bytes, Option<i64>),
        name!(raw_bytes, Option<i64>),
    ),
> {
    let seen = inspect(table, |rel| {
        let mut problem = None;
        let rows = sizes::column_rows(rel, |attribute, size| match subtransaction::run(size) {
            Ok((names, bytes, raw)) => (attribute, Some(names), Some(bytes), Some(raw)),
            Err(message) => {
                problem = Some(message);
                (attribute, None, None, None)
            }
        });
        if let Some(message) = problem {
            warn(table, &message);
        }
        rows
    });
    TableIterator::new(match seen {
        Inspected::Seen(rows) => rows,
        _ => Vec::new(),
    })
}

pgrx::extension_sql_file!(
    "../../../sql/views.sql",
    name = "inspect_views",
    requires = [sizes_if_free, segments_if_free, columns_if_free]
);
