// SPDX-License-Identifier: Apache-2.0
//! What PostgreSQL calls besides the access method: transaction callbacks, executor hooks.
use crate::bulk_dml::bulk_mark;
use crate::keys::{self, merge, statement};
use crate::options::ddl;
use crate::pg::{heapam, held, raw, run_hook};
use crate::store::changes_after_move;
use crate::write::builder;
use pgrx::{pg_guard, pg_sys};
use std::sync::atomic::{AtomicBool, Ordering};

static PRELOADED: AtomicBool = AtomicBool::new(false);

/// Whether the library was loaded by shared_preload_libraries.
pub fn preloaded() -> bool {
    PRELOADED.load(Ordering::Relaxed)
}

static mut PREV_EXECUTOR_START: pg_sys::ExecutorStart_hook_type = None;
static mut PREV_EXECUTOR_END: pg_sys::ExecutorEnd_hook_type = None;

/// Installs all hooks and callbacks.
pub fn install() {
    // SAFETY: called once, from _PG_init, before the hooks can run.
    unsafe {
        PRELOADED.store(
            pg_sys::process_shared_preload_libraries_in_progress,
            Ordering::Relaxed,
        );
        pg_sys::RegisterXactCallback(Some(xact_callback), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(subxact_callback), std::ptr::null_mut());
        pg_sys::CacheRegisterRelcacheCallback(Some(heapam::reapply), pg_sys::Datum::from(0));
        if preloaded() {
            crate::plan::global_limits::init();
            crate::store::anchor_cache::init();
        }
        crate::plan::hook::install();
        ddl::install();
        keys::model::install();
        crate::types::agg_state::install();
        keys::index_cost::install();
        PREV_EXECUTOR_START = pg_sys::ExecutorStart_hook;
        pg_sys::ExecutorStart_hook = Some(executor_start);
        PREV_EXECUTOR_END = pg_sys::ExecutorEnd_hook;
        pg_sys::ExecutorEnd_hook = Some(executor_end);
        run_hook::install();
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn xact_callback(
    event: pg_sys::XactEvent::Type,
    _arg: *mut std::ffi::c_void,
) {
    use pg_sys::XactEvent::*;
    match event {
        XACT_EVENT_PRE_COMMIT | XACT_EVENT_PARALLEL_PRE_COMMIT | XACT_EVENT_PRE_PREPARE => {
            builder::flush_current();
            held::release();
        }
        XACT_EVENT_COMMIT => {
            crate::cdc::query_rewrite::committed();
            forget();
        }
        XACT_EVENT_ABORT | XACT_EVENT_PREPARE | XACT_EVENT_PARALLEL_ABORT => forget(),
        _ => {}
    }
}

/// Drops what was kept for the transaction that has ended.
fn forget() {
    heapam::forget_views(None);
    builder::forget(None);
    bulk_mark::forget(None);
    changes_after_move::forget();
    ddl::forget(false);
    statement::forget(false);
    merge::forget();
    keys::index_shell::forget();
    keys::heap::forget();
    run_hook::forget();
    crate::plan::scan_filter::forget();
    crate::plan::reasons::forget();
    held::forget();
}

#[pg_guard]
unsafe extern "C-unwind" fn subxact_callback(
    event: pg_sys::SubXactEvent::Type,
    subid: pg_sys::SubTransactionId,
    parent: pg_sys::SubTransactionId,
    _arg: *mut std::ffi::c_void,
) {
    use pg_sys::SubXactEvent::*;
    match event {
        SUBXACT_EVENT_PRE_COMMIT_SUB => builder::flush_current(),
        SUBXACT_EVENT_COMMIT_SUB => builder::end_subtransaction(subid, parent),
        SUBXACT_EVENT_ABORT_SUB => {
            heapam::forget_views(Some(subid));
            builder::forget(Some(subid));
            bulk_mark::forget(Some(subid));
            ddl::forget(true);
            keys::heap::forget();
            statement::forget(true);
            merge::forget();
        }
        _ => {}
    }
}

// The hooks around the executor are not guarded: errors pass through them unchanged, with the position,
// context and names that a guard would lose. Their frames hold nothing that needs dropping.

unsafe extern "C-unwind" fn executor_start(query: *mut pg_sys::QueryDesc, eflags: i32) {
    // SAFETY: hooks are only changed while libraries load; the query descriptor is valid.
    unsafe {
        choose(query);
        starting(query);
        PREV_EXECUTOR_START.unwrap_or(raw::standard_ExecutorStart)(query, eflags);
        started(query);
    }
}

/// A query on heap tables may be answered by their mirrors.
#[pg_guard]
unsafe extern "C-unwind" fn choose(query: *mut pg_sys::QueryDesc) {
    // SAFETY: a valid query descriptor.
    unsafe { crate::cdc::query_rewrite::choose(query) }
}

#[pg_guard]
unsafe extern "C-unwind" fn starting(query: *mut pg_sys::QueryDesc) {
    // SAFETY: a valid query descriptor; the statement may be a cached one, so that a copy is changed.
    unsafe {
        let stmt = (*query).plannedstmt;
        if !(*stmt).parallelModeNeeded || !(builder::any() || changes_after_move::any()) {
            return;
        }
        // Workers cannot read this backend's memory: its parallel nodes run in this process alone.
        let size = std::mem::size_of::<pg_sys::PlannedStmt>();
        let context = pg_sys::GetMemoryChunkContext(query.cast());
        let alone = pg_sys::MemoryContextAlloc(context, size) as *mut pg_sys::PlannedStmt;
        *alone = *stmt;
        (*alone).parallelModeNeeded = false;
        (*query).plannedstmt = alone;
    }
}

/// Bitmap scans of doris tables must not prefetch: virtual blocks are not in the file.
#[pg_guard]
unsafe extern "C-unwind" fn started(query: *mut pg_sys::QueryDesc) {
    // SAFETY: a query that was just started.
    unsafe { note_insert(query) };
    // SAFETY: a query that was just started.
    unsafe {
        statement::started(query);
        crate::plan::scan_filter::prepare_scans(query);
        #[cfg(not(feature = "pg18"))]
        stop_prefetching((*query).planstate, std::ptr::null_mut());
    }
}

/// An INSERT without RETURNING hands no TIDs to anybody, as a loader: keyed tables may sort its rows.
unsafe fn note_insert(query: *mut pg_sys::QueryDesc) {
    // SAFETY: a query that was just started.
    unsafe {
        let plan = (*query).plannedstmt;
        if (*query).operation != pg_sys::CmdType::CMD_INSERT
            || (*plan).hasReturning
            || (*plan).hasModifyingCTE
        {
            return;
        }
        let source = (*(*plan).planTree).lefttree;
        let rows = if source.is_null() {
            1.0
        } else {
            (*source).plan_rows
        };
        builder::note_quiet((*(*query).estate).es_output_cid, rows);
    }
}

#[pg_guard]
#[cfg(not(feature = "pg18"))]
unsafe extern "C-unwind" fn stop_prefetching(
    node: *mut pg_sys::PlanState,
    context: *mut std::ffi::c_void,
) -> bool {
    // SAFETY: a plan state tree of the query that was just started.
    unsafe {
        if node.is_null() {
            return false;
        }
        if (*node).type_ == pg_sys::NodeTag::T_BitmapHeapScanState {
            let scan = node as *mut pg_sys::BitmapHeapScanState;
            let rel = (*scan).ss.ss_currentRelation;
            if !rel.is_null() && crate::am::is_doris(rel) {
                (*scan).prefetch_maximum = 0;
            }
        }
        pg_sys::planstate_tree_walker(node, Some(stop_prefetching), context)
    }
}

unsafe extern "C-unwind" fn executor_end(query: *mut pg_sys::QueryDesc) {
    // SAFETY: as for executor_start.
    unsafe {
        ending(query);
        PREV_EXECUTOR_END.unwrap_or(raw::standard_ExecutorEnd)(query);
    }
}

/// A statement that inserted row by row into segments has ended: its segments are written.
#[pg_guard]
unsafe extern "C-unwind" fn ending(query: *mut pg_sys::QueryDesc) {
    // SAFETY: a query descriptor that was started.
    unsafe {
        let reads = (*query).operation == pg_sys::CmdType::CMD_SELECT
            && !(*(*query).plannedstmt).hasModifyingCTE;
        if !(*query).estate.is_null() && !reads {
            builder::flush_command((*(*query).estate).es_output_cid);
        }
    }
}
