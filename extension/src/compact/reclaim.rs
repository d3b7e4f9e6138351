// SPDX-License-Identifier: Apache-2.0
//! What the background does after a compaction: it gives back space that no snapshot needs any more, and comes back for
//! what one still needs.
//!
//! 1. Chunks and marks of retired segments are deleted (`cleanup`), and after many marks anchors that carry no lock.
//! 2. An emptied row store is vacuumed, since every scan reads its pages, and autovacuum counts the rows of segments,
//!    too, when it judges whether enough of them are dead. VACUUM reads all indexes for that: it has to be worth it.
//! 3. The column store is vacuumed where enough of it was deleted.
use super::job::JobResult;
use super::shared_state::{self, Unreclaimed};
use super::worker::{Outcome, Steps};
use super::{cleanup, settings};
use crate::cdc::session::{abort, begin, caught, commit, transaction};
use crate::cdc::shared_state::now_us;
use crate::pg::{heapam, vacuum};
use pgrx::prelude::*;

/// Blocks of a row store that are few enough to be read by each scan.
const HEAP_BLOCKS: u32 = 1024;
/// An emptied row store is vacuumed if all indexes together have no more than so many times its blocks.
const INDEX_TIMES: u64 = 8;
/// The column store is vacuumed once such a part of its blocks was deleted.
const TOAST_PART: u64 = 64;
/// Longest time between two looks at what is left of a table.
const LONGEST_US: i64 = 600_000_000;

/// Gives back what it can of a table; returns whether it removed anchors. `emptied`: all of its row store was read, and
/// what could be moved was. `marked`: many rows were marked, or locked.
pub fn table(steps: &mut Steps, before: Unreclaimed, emptied: bool, marked: bool) -> bool {
    let mut needed = 0;
    let (mut deleted, mut anchors) = (0, 0);
    let outcome = steps.step(2, |job| {
        let waiting = cleanup::waiting(job.rel, &job.toast);
        needed = waiting.needed;
        deleted = cleanup::delete_gone(job.rel, &job.toast, &waiting);
        if marked {
            anchors = cleanup::idle_anchors(job);
            deleted += anchors;
        }
        (deleted > 0).then(JobResult::default)
    });
    if !matches!(outcome, Outcome::Done) {
        (deleted, anchors) = (0, 0);
    }
    let mut rest = Unreclaimed {
        xid: before.xid.max(steps.last),
        heap: before.heap || emptied,
        deleted: before.deleted + deleted as u64,
        ..before
    };
    let space = caught(|| transaction(|| Space::of(steps.table, rest.xid)));
    let space = space.unwrap_or_else(|(message, _)| {
        abort();
        log!("looking at the space of a table failed: {message}");
        Found::Locked
    });
    let left = match space {
        Found::Gone => false,
        Found::Locked => needed > 0 || rest.heap || rest.deleted > 0,
        Found::Space(space) => {
            if space.is_free && rest.heap && space.heap_is_worth_it {
                vacuum_now(steps.table);
            }
            let enough = rest.deleted * TOAST_PART >= u64::from(space.toast_blocks);
            if space.is_free && rest.deleted > 0 && enough {
                vacuum_now(space.toast);
            }
            needed > 0 || !space.is_free && (rest.heap || rest.deleted > 0)
        }
    };
    if left {
        rest.since_us = if rest.since_us == 0 {
            now_us()
        } else {
            rest.since_us
        };
        let waited_us = now_us() - rest.since_us;
        let least = settings::naptime_us().min(LONGEST_US);
        rest.due_us = now_us() + waited_us.clamp(least, LONGEST_US);
    } else {
        rest = Unreclaimed::default();
    }
    shared_state::set_unreclaimed(steps.table, rest);
    anchors > 0
}

/// What there is to give back.
struct Space {
    /// No snapshot needs what was left until some transaction.
    is_free: bool,
    heap_is_worth_it: bool,
    toast: pg_sys::Oid,
    toast_blocks: u32,
}

/// What came of looking at a table.
enum Found {
    Space(Space),
    Gone,
    /// Somebody has locked it.
    Locked,
}

impl Space {
    fn of(table: pg_sys::Oid, xid: u64) -> Found {
        let mode = pg_sys::AccessShareLock as i32;
        // SAFETY: the table and its TOAST relation are closed again if they are there.
        unsafe {
            if !pg_sys::ConditionalLockRelationOid(table, mode) {
                return Found::Locked;
            }
            let rel = pg_sys::try_relation_open(table, pg_sys::NoLock as i32);
            if rel.is_null() {
                return Found::Gone;
            }
            let toast = (*(*rel).rd_rel).reltoastrelid;
            let heap_blocks = heapam::blocks(rel);
            let space = Self {
                is_free: xid == 0
                    || pg_sys::GlobalVisCheckRemovableFullXid(
                        rel,
                        pg_sys::FullTransactionId { value: xid },
                    ),
                heap_is_worth_it: heap_blocks >= HEAP_BLOCKS
                    && index_blocks(rel)
                        .is_some_and(|blocks| blocks <= u64::from(heap_blocks) * INDEX_TIMES),
                toast,
                toast_blocks: blocks_of(toast).unwrap_or(u32::MAX),
            };
            pg_sys::relation_close(rel, mode);
            Found::Space(space)
        }
    }
}

/// Blocks of all indexes of a table; `None` if one is locked.
unsafe fn index_blocks(rel: pg_sys::Relation) -> Option<u64> {
    // SAFETY: an open relation.
    let list = unsafe { pgrx::PgList::<pg_sys::Oid>::from_pg(pg_sys::RelationGetIndexList(rel)) };
    list.iter_oid()
        .map(|index| blocks_of(index).map(u64::from))
        .sum()
}

/// Blocks of a relation; `None` if it is locked or gone.
fn blocks_of(relid: pg_sys::Oid) -> Option<u32> {
    let mode = pg_sys::AccessShareLock as i32;
    // SAFETY: the relation is closed again if it is there.
    unsafe {
        if relid == pg_sys::InvalidOid || !pg_sys::ConditionalLockRelationOid(relid, mode) {
            return None;
        }
        let rel = pg_sys::try_relation_open(relid, pg_sys::NoLock as i32);
        if rel.is_null() {
            return None;
        }
        let blocks = heapam::blocks(rel);
        pg_sys::relation_close(rel, mode);
        Some(blocks)
    }
}

/// Vacuums a relation.
fn vacuum_now(relid: pg_sys::Oid) {
    let result = caught(|| {
        begin();
        vacuum::run(relid);
        commit();
    });
    if let Err((message, _)) = result {
        abort();
        log!("vacuuming relation {} failed: {message}", relid.to_u32());
    }
}
