// SPDX-License-Identifier: Apache-2.0
//! Rows of a plan that PostgreSQL runs, as a source of morsels.
use super::source::{add, Counters};
use super::{threads, types};
use crate::read::attrs::Attr;
use crate::write::column::Column;
use doris_engine::batch::Batch;
use doris_engine::error::{Error, Result};
use doris_engine::source::{MemorySource, Morsel, MorselSource};
use pgrx::{pg_sys, PgList};
use std::rc::Rc;
use std::sync::Arc;

/// Rows in a morsel.
const ROWS: usize = 4096;

/// The source. Runs on the main thread.
pub struct FeedSource {
    state: *mut pg_sys::PlanState,
    /// In which the plan's nodes keep what they need: the query's.
    context: pg_sys::MemoryContext,
    /// The output columns read: `number` counts the plan's targetlist.
    attrs: Vec<Attr>,
    counters: Rc<Counters>,
    done: bool,
}

impl FeedSource {
    /// A source over an initialised plan of the running query.
    pub fn new(
        state: *mut pg_sys::PlanState,
        context: pg_sys::MemoryContext,
        attrs: Vec<Attr>,
        counters: Rc<Counters>,
    ) -> Self {
        Self {
            state,
            context,
            attrs,
            counters,
            done: false,
        }
    }

    /// Appends the next row to the columns; false after the last.
    fn row(&mut self, columns: &mut [Column]) -> bool {
        // SAFETY: the plan state belongs to the running query, as its context does; a slot that is not empty has as
        // many values as the plan's targetlist entries.
        unsafe {
            let before = pg_sys::MemoryContextSwitchTo(self.context);
            let slot = pg_sys::ExecProcNode(self.state);
            pg_sys::MemoryContextSwitchTo(before);
            if slot.is_null() || (*slot).tts_flags & pg_sys::TTS_FLAG_EMPTY as u16 != 0 {
                return false;
            }
            pg_sys::slot_getallattrs(slot);
            for (attr, column) in self.attrs.iter().zip(columns) {
                let at = usize::from(attr.number) - 1;
                column.push(*(*slot).tts_values.add(at), *(*slot).tts_isnull.add(at));
            }
        }
        true
    }
}

impl MorselSource for FeedSource {
    fn next(&mut self) -> Result<Option<Box<dyn Morsel>>> {
        if threads::interrupted() {
            return Err(Error::Cancelled);
        }
        let mut columns: Vec<Column> = self.attrs.iter().map(|a| Column::new(a.kind)).collect();
        let mut rows = 0;
        while !self.done && rows < ROWS {
            match self.row(&mut columns) {
                true => rows += 1,
                false => self.done = true,
            }
        }
        add(&self.counters.heap_rows, rows as u64);
        if rows == 0 {
            return Ok(None);
        }
        for (attr, column) in self.attrs.iter().zip(&columns) {
            if column.kind() != attr.kind {
                return Err(Error::not_native(
                    "a numeric value that is not a plain number",
                ));
            }
        }
        let vectors = columns.into_iter().map(|c| Arc::new(c.finish())).collect();
        MemorySource::new([Batch::new(vectors, rows)]).next()
    }
}

/// How the wanted entries of a plan's targetlist (from 1) are laid out.
///
/// # Safety
/// A finished plan, all of whose entries have types that the engine can carry.
pub unsafe fn attrs(plan: *mut pg_sys::Plan, wanted: &[u16]) -> Vec<Attr> {
    // SAFETY: passed on to the caller.
    unsafe {
        let targets = PgList::<pg_sys::TargetEntry>::from_pg((*plan).targetlist);
        let attr = |number: &u16| {
            let target = targets.get_ptr(usize::from(*number) - 1)?;
            let node = (*target).expr as *mut pg_sys::Node;
            let (type_oid, typmod) = (pg_sys::exprType(node), pg_sys::exprTypmod(node));
            let collation = pg_sys::exprCollation(node);
            Some(Attr {
                number: *number,
                kind: types::kind_of(types::column_type(type_oid, typmod, collation).ok()?),
                type_oid,
                dropped: false,
            })
        };
        let attrs = wanted.iter().map(attr);
        attrs
            .collect::<Option<_>>()
            .expect("checked by the conversion")
    }
}

/// Initialises the plans that feed a node, as its children.
///
/// # Safety
/// A node that begins.
pub unsafe fn begin(node: *mut pg_sys::CustomScanState, eflags: i32) {
    // SAFETY: passed on to the caller; a finished plan's children are plans.
    unsafe {
        let scan = (*node).ss.ps.plan as *mut pg_sys::CustomScan;
        for plan in PgList::<pg_sys::Plan>::from_pg((*scan).custom_plans).iter_ptr() {
            let state = pg_sys::ExecInitNode(plan, (*node).ss.ps.state, eflags);
            (*node).custom_ps = pg_sys::lappend((*node).custom_ps, state.cast());
        }
    }
}

/// The children.
///
/// # Safety
/// A node that has begun.
pub unsafe fn children(node: *mut pg_sys::CustomScanState) -> Vec<*mut pg_sys::PlanState> {
    // SAFETY: passed on to the caller.
    unsafe { PgList::from_pg((*node).custom_ps) }
        .iter_ptr()
        .collect()
}

/// Lets them start over, with parameters that have changed.
///
/// # Safety
/// A node that has begun.
pub unsafe fn rescan(node: *mut pg_sys::CustomScanState) {
    // SAFETY: passed on to the caller.
    unsafe {
        for child in children(node) {
            if !(*node).ss.ps.chgParam.is_null() {
                pg_sys::UpdateChangedParamSet(child, (*node).ss.ps.chgParam);
            }
            // Otherwise it starts over by itself, when it is asked for a row.
            if (*child).chgParam.is_null() {
                pg_sys::ExecReScan(child);
            }
        }
    }
}

/// Ends them.
///
/// # Safety
/// A node that has begun; its sources are gone.
pub unsafe fn end(node: *mut pg_sys::CustomScanState) {
    // SAFETY: passed on to the caller.
    unsafe {
        for child in children(node) {
            pg_sys::ExecEndNode(child);
        }
    }
}
