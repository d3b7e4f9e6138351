// SPDX-License-Identifier: Apache-2.0
//! The plan node that reads ahead: its rows are those of its input.
//!
//! Within EvalPlanQual, where a snapshot must be cross-checked, and where the caller asks for some rows of RETURNING
//! only (`SPI_execute` with a limit), it passes rows on as they come.
use super::bulk_mark::{Batch, Tables};
use super::plan;
use crate::options::settings;
use crate::pg::custom::{self, Callbacks, Methods};
use crate::pg::{compat, run_hook};
use crate::store::delete_bitmaps::MarkKind;
use crate::store::tid::tid;
use pgrx::{pg_guard, pg_sys, PgList, PgMemoryContexts};

/// Name of the node in plans of DELETE.
const DELETE: &std::ffi::CStr = c"DorisBulkDelete";
/// Name of the node in plans of UPDATE.
const UPDATE: &std::ffi::CStr = c"DorisBulkUpdate";

/// Rows read ahead at most.
const BATCH_ROWS: usize = 1 << 17;

/// PostgreSQL's callbacks for plans of DELETE.
pub static DELETE_METHODS: Methods<pg_sys::CustomScanMethods> =
    custom::scan_methods(DELETE, create_state);
/// PostgreSQL's callbacks for plans of UPDATE.
pub static UPDATE_METHODS: Methods<pg_sys::CustomScanMethods> =
    custom::scan_methods(UPDATE, create_state);

static EXEC_METHODS: Methods<pg_sys::CustomExecMethods> = custom::exec_methods(
    DELETE,
    Callbacks {
        begin,
        exec,
        end,
        rescan,
        explain,
    },
);

/// The node's state. PostgreSQL knows the first field.
#[repr(C)]
struct BulkScanState {
    css: pg_sys::CustomScanState,
    /// In the query's memory context, which drops what it holds; `None` where rows pass.
    run: *mut Option<BulkScanRun>,
    started: bool,
}

struct BulkScanRun {
    tables: Tables,
    batch: Batch,
    store: *mut pg_sys::Tuplestorestate,
    /// Reads the store.
    slot: *mut pg_sys::TupleTableSlot,
    tid: i16,
    /// Names the table, if there are several.
    table: Option<i16>,
    at_end: bool,
}

/// A node over a plan.
///
/// # Safety
/// A finished plan.
pub unsafe fn over(source: *mut pg_sys::Plan, what: MarkKind) -> *mut pg_sys::CustomScan {
    // SAFETY: passed on to the caller.
    unsafe {
        let methods = match what {
            MarkKind::Deleted => &DELETE_METHODS,
            MarkKind::Updated => &UPDATE_METHODS,
        };
        let scan = custom::over(source, methods);
        let mut targets = PgList::<pg_sys::TargetEntry>::new();
        for target in PgList::<pg_sys::TargetEntry>::from_pg((*source).targetlist).iter_ptr() {
            let copy = pg_sys::palloc0(std::mem::size_of::<pg_sys::TargetEntry>())
                as *mut pg_sys::TargetEntry;
            *copy = *target;
            (*copy).expr = pg_sys::makeVarFromTargetEntry(pg_sys::OUTER_VAR as _, target).cast();
            targets.push(copy);
        }
        (*scan).scan.plan.targetlist = targets.into_pg();
        scan
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn create_state(_scan: *mut pg_sys::CustomScan) -> *mut pg_sys::Node {
    // SAFETY: the executor's context; a null pointer and false are what a state begins with.
    unsafe { custom::new_state::<BulkScanState>(&EXEC_METHODS) }
}

#[pg_guard]
unsafe extern "C-unwind" fn begin(
    node: *mut pg_sys::CustomScanState,
    estate: *mut pg_sys::EState,
    eflags: i32,
) {
    let state = node as *mut BulkScanState;
    // SAFETY: a state of ours; the box of Rust state is dropped with the query's memory context.
    unsafe {
        let source = (*(*node).ss.ps.plan).lefttree;
        (*node).ss.ps.lefttree = pg_sys::ExecInitNode(source, estate, eflags);
        (*state).run = PgMemoryContexts::CurrentMemoryContext.leak_and_drop_on_delete(None);
    }
}

/// The state for the first row; `None` where rows pass as they come.
unsafe fn start(node: *mut pg_sys::CustomScanState) -> Option<BulkScanRun> {
    // SAFETY: a node that runs; ModifyTable has opened its targets.
    unsafe {
        let estate = (*node).ss.ps.state;
        // The plan may be older than the setting.
        let off = settings::bulk_delete_rows() == 0;
        if off || !(*estate).es_epq_active.is_null() || !(*estate).es_crosscheck_snapshot.is_null()
        {
            return None;
        }
        let modify = (*(*estate).es_plannedstmt).planTree as *mut pg_sys::ModifyTable;
        let work = plan::work(modify)?;
        if run_hook::is_limited(estate) && !(*modify).returningLists.is_null() {
            return None;
        }
        let targets = PgList::<i32>::from_pg((*modify).resultRelations);
        let several = targets.len() > 1;
        let opened = targets
            .iter_int()
            .zip(0..)
            .filter(|(rti, _)| !compat::is_left_out(estate, *rti as u32));
        let rels = opened.map(|(rti, at)| {
            let rel = compat::result_relation(estate, rti as pg_sys::Index);
            (rel, plan::updated_columns(modify, at))
        });
        let tables = Tables::of(rels, work)?;
        let list = (*(*(*node).ss.ps.plan).lefttree).targetlist;
        let tid = pg_sys::ExecFindJunkAttributeInTlist(list, c"ctid".as_ptr());
        let table = pg_sys::ExecFindJunkAttributeInTlist(list, c"tableoid".as_ptr());
        if tid == 0 || (several && table == 0) {
            return None;
        }
        let mut context = PgMemoryContexts::For((*estate).es_query_cxt);
        let (store, slot) = context.switch_to(|_| {
            let desc = (*(*node).ss.ps.ps_ResultTupleSlot).tts_tupleDescriptor;
            (
                pg_sys::tuplestore_begin_heap(false, false, pg_sys::work_mem),
                pg_sys::MakeSingleTupleTableSlot(desc, &raw const pg_sys::TTSOpsMinimalTuple),
            )
        });
        Some(BulkScanRun {
            tables,
            batch: Batch::new((*estate).es_output_cid, work.what),
            store,
            slot,
            tid,
            table: several.then_some(table),
            at_end: false,
        })
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn exec(
    node: *mut pg_sys::CustomScanState,
) -> *mut pg_sys::TupleTableSlot {
    let state = node as *mut BulkScanState;
    // SAFETY: a state of ours.
    unsafe {
        let result = (*node).ss.ps.ps_ResultTupleSlot;
        if !(*state).started {
            *(*state).run = start(node);
            (*state).started = true;
        }
        let Some(run) = (*(*state).run).as_mut() else {
            let slot = pg_sys::ExecProcNode((*node).ss.ps.lefttree);
            return if slot.is_null() || is_empty(slot) {
                pg_sys::ExecClearTuple(result)
            } else {
                pg_sys::ExecCopySlot(result, slot)
            };
        };
        run.batch.finish_marking();
        if run.batch.is_over() {
            run.batch.file(&run.tables);
            read_ahead(run, (*node).ss.ps.lefttree);
        }
        if run.batch.is_over() {
            return pg_sys::ExecClearTuple(result);
        }
        if !pg_sys::tuplestore_gettupleslot(run.store, true, false, run.slot) {
            pgrx::error!("a row that was read ahead is gone");
        }
        pg_sys::ExecCopySlot(result, run.slot);
        run.batch.next(&run.tables);
        result
    }
}

unsafe fn is_empty(slot: *mut pg_sys::TupleTableSlot) -> bool {
    // SAFETY: a valid slot.
    unsafe { u32::from((*slot).tts_flags) & pg_sys::TTS_FLAG_EMPTY != 0 }
}

/// Reads the next rows.
unsafe fn read_ahead(run: &mut BulkScanRun, source: *mut pg_sys::PlanState) {
    // SAFETY: the source of a running node; its slots hold the columns that were looked for.
    unsafe {
        run.batch.clear();
        pg_sys::tuplestore_clear(run.store);
        while !run.at_end && run.batch.len() < BATCH_ROWS {
            let slot = pg_sys::ExecProcNode(source);
            if slot.is_null() || is_empty(slot) {
                run.at_end = true;
                return;
            }
            let last = run.table.unwrap_or(0).max(run.tid);
            pg_sys::slot_getsomeattrs(slot, i32::from(last));
            let column = |number: i16| {
                let at = number as usize - 1;
                let null = *(*slot).tts_isnull.add(at);
                (!null).then(|| *(*slot).tts_values.add(at))
            };
            // Rows of foreign tables may have none.
            let tid = match column(run.tid) {
                Some(tid) => *tid.cast_mut_ptr::<pg_sys::ItemPointerData>(),
                None => tid(pg_sys::InvalidBlockNumber, 0),
            };
            let relid = run.table.and_then(column);
            let relid = relid.map(|datum| pg_sys::Oid::from(datum.value() as u32));
            run.batch.push(run.tables.target(relid, &tid));
            pg_sys::tuplestore_puttupleslot(run.store, slot);
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn end(node: *mut pg_sys::CustomScanState) {
    let state = node as *mut BulkScanState;
    // SAFETY: a state of ours.
    unsafe {
        if let Some(run) = (*(*state).run).take() {
            if run.batch.is_unfinished() {
                pgrx::error!("rows that were marked ahead are left over");
            }
            pg_sys::ExecDropSingleTupleTableSlot(run.slot);
            pg_sys::tuplestore_end(run.store);
        }
        pg_sys::ExecEndNode((*node).ss.ps.lefttree);
    }
}

/// Only EvalPlanQual asks for it, whose rows pass as they come: ModifyTable reads its input once.
#[pg_guard]
unsafe extern "C-unwind" fn rescan(node: *mut pg_sys::CustomScanState) {
    let state = node as *mut BulkScanState;
    // SAFETY: a state of ours.
    unsafe {
        if (*(*state).run).is_some() {
            pgrx::error!("a statement cannot read the rows that it changes twice");
        }
        custom::rescan_input(node, (*node).ss.ps.lefttree);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn explain(
    node: *mut pg_sys::CustomScanState,
    _ancestors: *mut pg_sys::List,
    es: *mut pg_sys::ExplainState,
) {
    let state = node as *mut BulkScanState;
    // SAFETY: a state of ours.
    unsafe {
        if !(*es).analyze || (*state).run.is_null() {
            return;
        }
        let run = (*(*state).run).as_ref();
        let total = run.map_or(0, |run| run.batch.total);
        let scan = (*state).css.ss.ps.plan;
        let name = match custom::is_of(scan, &UPDATE_METHODS) {
            true => c"Rows Updated in Bulk",
            false => c"Rows Deleted in Bulk",
        };
        pg_sys::ExplainPropertyInteger(name.as_ptr(), std::ptr::null(), total as i64, es);
    }
}
