// SPDX-License-Identifier: Apache-2.0
//! The table access method `doris`: a heap for rows, with the columns of segments beside it.
//!
//! The routine table starts as a copy of the heap's; each callback below adds the segment rows to what the
//! heap does. Callbacks are shells: what they do is in the modules they call.
//!
//! `scan` sequential, parallel, TID-range, sample and bitmap scans; `fetch` rows by TID; `modify` inserts,
//! deletes and updates; `lock` locks rows; `index` builds indexes; `relation` DDL, VACUUM, sizes and ANALYZE.

pub mod analyze;
pub mod bitmap;
pub mod cluster;
pub mod fetch;
pub mod index;
pub mod index_vacuum;
pub mod lock;
pub mod modify;
pub mod progress;
pub mod relation;
pub mod rewrite;
pub mod scan;

use crate::pg::heapam;
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::sync::OnceLock;

struct Routine(pg_sys::TableAmRoutine);

// SAFETY: written once before it is shared, then only read; a backend has one thread that reads it.
unsafe impl Sync for Routine {}
// SAFETY: as above.
unsafe impl Send for Routine {}

static ROUTINE: OnceLock<Routine> = OnceLock::new();

/// The routine table of the access method.
pub fn routine() -> &'static pg_sys::TableAmRoutine {
    &ROUTINE
        .get_or_init(|| {
            let mut table = *heapam::routine();
            scan::install(&mut table);
            fetch::install(&mut table);
            modify::install(&mut table);
            lock::install(&mut table);
            index::install(&mut table);
            relation::install(&mut table);
            Routine(table)
        })
        .0
}

/// Whether an open relation is a doris table.
pub fn is_doris(rel: pg_sys::Relation) -> bool {
    // SAFETY: callers pass an open relation.
    unsafe { std::ptr::eq((*rel).rd_tableam, routine()) }
}

/// The handler function behind `CREATE ACCESS METHOD`.
#[pg_extern(sql = "
CREATE FUNCTION doris.am_handler(internal) RETURNS table_am_handler
    LANGUAGE c AS 'MODULE_PATHNAME', 'doris_am_handler_wrapper';
CREATE ACCESS METHOD doris TYPE TABLE HANDLER doris.am_handler;
COMMENT ON ACCESS METHOD doris IS 'columnar tables with a row store for small writes';
")]
fn doris_am_handler(_fcinfo: pg_sys::FunctionCallInfo) -> pgrx::Internal {
    if !crate::preloaded() {
        crate::pg::refuse(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "pg_doris must be loaded when the server starts",
            "Add pg_doris to shared_preload_libraries in postgresql.conf and restart the server.",
        );
    }
    let pointer = routine() as *const pg_sys::TableAmRoutine as *mut pg_sys::TableAmRoutine;
    pgrx::Internal::from(Some(pg_sys::Datum::from(pointer)))
}
