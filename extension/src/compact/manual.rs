// SPDX-License-Identifier: Apache-2.0
//! `CALL doris.compact(table, kind)`: compacts a table now, step by step, each in a transaction of its own.
use super::candidates::{self, Kind};
use super::job::{Job, JobResult};
use super::shared_state::{self, ShownRun};
use super::{cleanup, flush, merge};
use crate::pg::{self, compat, raw};
use crate::plan::hook::is_doris_table;
use crate::store::directory;
use pgrx::prelude::*;
use pgrx::{pg_sys, PgSqlErrorCode};

#[pg_extern(sql = "
CREATE PROCEDURE doris.compact(\"table\" regclass, kind text DEFAULT 'full')
    LANGUAGE c AS 'MODULE_PATHNAME', 'compact_wrapper';
COMMENT ON PROCEDURE doris.compact(regclass, text) IS
    'moves rows of a columnar table into segments and merges segments; kind is cumulative, base or full';
")]
fn compact(fcinfo: pg_sys::FunctionCallInfo) {
    // SAFETY: called with the two arguments of its declaration.
    let (table, kind) = unsafe {
        let table = pgrx::fcinfo::pg_getarg::<pg_sys::Oid>(fcinfo, 0);
        let kind = pgrx::fcinfo::pg_getarg::<String>(fcinfo, 1);
        (table, kind)
    };
    let (Some(table), Some(kind)) = (table, kind) else {
        pg::refuse(
            PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            "table and kind must not be null",
            "",
        );
    };
    let Some(kind) = Kind::of(&kind) else {
        pg::refuse(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("unknown kind of compaction \"{kind}\""),
            "Kinds are cumulative, base and full.",
        );
    };
    let tables = tables_of(table);
    // SAFETY: the context of a CALL says whether it may end transactions.
    let atomic = unsafe {
        let context = (*fcinfo).context;
        context.is_null()
            || (*context).type_ != pg_sys::NodeTag::T_CallContext
            || (*context.cast::<pg_sys::CallContext>()).atomic
    };
    if atomic {
        pg::refuse(
            PgSqlErrorCode::ERRCODE_ACTIVE_SQL_TRANSACTION,
            "doris.compact cannot run inside a transaction block",
            "",
        );
    }
    // SAFETY: connected to SPI in a way that allows ending transactions, until the end of this function.
    unsafe {
        pg_sys::SPI_connect_ext(pg_sys::SPI_OPT_NONATOMIC as i32);
        pg_sys::SPI_commit();
        for table in tables {
            run(table, kind);
        }
        pg_sys::SPI_finish();
    }
}

/// The tables to compact: the table, or the columnar partitions of a partitioned one, all of which are the user's.
fn tables_of(table: pg_sys::Oid) -> Vec<pg_sys::Oid> {
    // SAFETY: a catalogue look-up.
    let kind = unsafe { pg_sys::get_rel_relkind(table) } as u8;
    if kind != pg_sys::RELKIND_PARTITIONED_TABLE {
        check(table);
        return vec![table];
    }
    check_owner(table);
    let mut partitions = raw::inheritors(table);
    partitions.retain(|relid| is_doris_table(*relid));
    partitions.iter().for_each(|relid| check_owner(*relid));
    partitions
}

/// Refuses a table that is not the user's.
fn check_owner(table: pg_sys::Oid) {
    if !compat::owns_relation(table) {
        pg::refuse(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("must be owner of table {}", pg::table_name(table)),
            "",
        );
    }
}

/// Refuses a table that is not columnar, or not the user's.
fn check(table: pg_sys::Oid) {
    // SAFETY: the relation is opened for the check and closed again.
    unsafe {
        let mode = pg_sys::AccessShareLock as i32;
        let rel = pg_sys::relation_open(table, mode);
        let name = pg::relation_name(rel);
        let columnar = crate::am::is_doris(rel);
        pg_sys::relation_close(rel, mode);
        if !columnar {
            pg::refuse(
                PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
                format!("\"{name}\" is not a columnar table"),
                "",
            );
        }
    }
    check_owner(table);
}

/// Runs steps until nothing is left to do. Called, and left, with a transaction that has done nothing.
unsafe fn run(table: pg_sys::Oid, kind: Kind) {
    if kind != Kind::Base {
        let mut place = flush::Place::default();
        while step(table, 0, |job| {
            let moves = !job.keeps_heap();
            moves.then(|| flush::heap_rows(job, &mut place)).flatten()
        })
        .is_some()
        {
            if place.at_end && !place.changed {
                break;
            }
            if place.at_end {
                place = flush::Place::default();
            }
        }
    }
    let number = match kind {
        Kind::Cumulative => 1,
        Kind::Base => 2,
        Kind::Full => 3,
    };
    // Segments that this run makes are left as they are.
    let mut rows = 0..0;
    step(table, number, |job| {
        rows.end = directory::rows_end(job.rel, &job.toast);
        None
    });
    loop {
        let mut group = None;
        let merged = step(table, number, |job| {
            let (inputs, level) = candidates::next(job, kind, &rows, i64::MAX)?;
            let end = inputs.iter().map(|f| f.entry.first_row + 1).max();
            group = end;
            merge::segments(job, &inputs, level)
        });
        match (group, merged) {
            (None, _) => break,
            (Some(_), Some(_)) => {}
            // Somebody holds their rows.
            (Some(end), None) => rows.start = end,
        }
    }
    step(table, number, |job| {
        let waiting = cleanup::waiting(job.rel, &job.toast);
        if waiting.needed > 0 {
            shared_state::record_unreclaimed(job.rel);
        }
        let deleted = cleanup::delete_gone(job.rel, &job.toast, &waiting);
        (deleted + cleanup::idle_anchors(job) > 0).then(JobResult::default)
    });
    if kind != Kind::Cumulative {
        while step(table, number, |job| {
            (cleanup::deleted_keys(job, i64::MAX) > 0).then(JobResult::default)
        })
        .is_some()
        {}
    }
}

/// Runs a step in the open transaction, and begins the next: after a commit if it did something.
fn step(
    table: pg_sys::Oid,
    kind: u8,
    work: impl FnOnce(&Job) -> Option<JobResult>,
) -> Option<JobResult> {
    let mut shown = None;
    let done = Job::open(table, true).and_then(|mut job| {
        job.show(ShownRun::begin(table, kind), false);
        let done = work(&job);
        shown = job.shown.take();
        done
    });
    // SAFETY: connected to SPI by the caller; no snapshot of ours is active any more.
    unsafe {
        if done.is_some() {
            pg_sys::SPI_commit();
        } else {
            pg_sys::SPI_rollback();
        }
    }
    if let Some(shown) = shown {
        shown.end(Ok(done.filter(|done| *done != JobResult::default())));
    }
    done
}
