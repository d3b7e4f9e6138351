// SPDX-License-Identifier: Apache-2.0
//! What a sequential scan node of PostgreSQL makes of the rows of its scan, which the scan therefore need not hand out
//! or read (`plan/scan_filter.rs`).
use super::parts;
use crate::pg::compat;
use crate::plan::scan_filter;
use crate::plan::source::Counters;
use crate::read::cursor::Cursor;
use pgrx::{pg_sys, PgMemoryContexts};
use std::ffi::CStr;
use std::rc::Rc;

/// The node, and what it makes of the rows.
pub(super) struct UseOfRows {
    node: *mut pg_sys::SeqScanState,
    /// For each attribute whether it is looked at.
    pub(super) needed: Vec<bool>,
    /// Values for attributes that nobody looks at and that cannot be NULL: compiled code finds the attributes behind
    /// them without asking whether they are.
    placeholders: Vec<(usize, pg_sys::Datum)>,
    /// What is allocated while a filter is made: a scan may start often.
    memory: PgMemoryContexts,
    /// The filter is to be made before the next row is looked for.
    is_due: bool,
    /// The filter has values of parameters that may change with the next start.
    has_params: bool,
    /// Parameters that stand for subqueries which have not run yet; the filter does without their conditions.
    waits_for: Vec<i32>,
    /// Whether there was a filter.
    filters: bool,
    counters: Rc<Counters>,
}

/// Begins the scan of a sequential scan node, telling it what the node makes of the rows: columns that nobody looks at
/// are not read, and rows of segments that do not pass its conditions are left out, row blocks unread where that is sure
/// beforehand.
///
/// # Safety
/// A node over a doris table that asks for its first row, and takes its rows alone.
pub unsafe fn begin_for_node(node: *mut pg_sys::SeqScanState, needed: Vec<bool>) {
    // SAFETY: passed on to the caller; what the scan allocates lives as long as the node.
    unsafe {
        let estate = (*node).ss.ps.state;
        let mut context = PgMemoryContexts::For((*estate).es_query_cxt);
        let rel = (*node).ss.ss_currentRelation;
        let (scan, placeholders, memory) = context.switch_to(|_| {
            (
                pg_sys::table_beginscan(rel, (*estate).es_snapshot, 0, std::ptr::null_mut()),
                placeholders((*rel).rd_att, &needed),
                small_memory_context(c"doris scan filter"),
            )
        });
        let (_, state) = parts(scan);
        state.use_of_rows = Some(UseOfRows {
            node,
            needed,
            placeholders,
            memory: PgMemoryContexts::For(memory),
            is_due: true,
            has_params: false,
            waits_for: Vec::new(),
            filters: false,
            counters: Rc::default(),
        });
        (*node).ss.ss_currentScanDesc = scan;
    }
}

/// A child of the current memory context.
unsafe fn small_memory_context(name: &'static CStr) -> pg_sys::MemoryContext {
    // SAFETY: a name that lives as long as the process.
    unsafe {
        pg_sys::AllocSetContextCreateExtended(
            pg_sys::CurrentMemoryContext,
            name.as_ptr(),
            pg_sys::ALLOCSET_SMALL_MINSIZE as usize,
            pg_sys::ALLOCSET_SMALL_INITSIZE as usize,
            pg_sys::ALLOCSET_SMALL_MAXSIZE as usize,
        )
    }
}

impl UseOfRows {
    /// The scan starts again.
    pub(super) fn restart(&mut self) {
        self.is_due |= self.has_params || !self.waits_for.is_empty();
    }

    /// Gives the cursor the filter that the node's conditions come to, if it has not got it yet.
    ///
    /// # Safety
    /// The node runs.
    pub(super) unsafe fn renew_filter(&mut self, cursor: &mut Cursor) {
        let node = self.node;
        // SAFETY: passed on to the caller.
        let has_run = |param: &i32| unsafe { scan_filter::subquery_has_run(node, *param) };
        if !self.is_due && !self.waits_for.iter().any(has_run) {
            return;
        }
        self.is_due = false;
        if cursor.segments().is_empty() {
            return;
        }
        let counters = &self.counters;
        // SAFETY: nothing of the filter before is in the context: it holds what Rust has allocated.
        let made = unsafe {
            self.memory.reset();
            self.memory.switch_to(|_| scan_filter::of(node, counters))
        };
        self.filters |= made.filter.is_some();
        self.has_params = made.has_params;
        self.waits_for = made.waits_for;
        cursor.set_filter(made.filter);
    }

    /// Values for attributes that are not read, by their places.
    pub(super) fn placeholders(&self) -> &[(usize, pg_sys::Datum)] {
        &self.placeholders
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Tells EXPLAIN what the scan has read and skipped.
    pub(super) fn report(&self, cursor: &Cursor) {
        if self.filters {
            self.counters.segments.set(cursor.segments().len() as u64);
            // SAFETY: the node's state lives as long as its scan.
            unsafe { scan_filter::report(self.node, &self.counters) };
        }
    }
}

/// A value for each attribute that nobody looks at and that cannot be NULL: zero, or empty; in the current memory context.
unsafe fn placeholders(desc: pg_sys::TupleDesc, needed: &[bool]) -> Vec<(usize, pg_sys::Datum)> {
    let unneeded = (0..needed.len()).filter(|i| !needed[*i]);
    // SAFETY: the caller's descriptor has so many attributes.
    let attribute = |i: usize| (i, unsafe { compat::attribute(desc, i) });
    unneeded
        .map(attribute)
        .filter(|(_, attribute)| attribute.attnotnull)
        .map(|(i, attribute)| {
            if attribute.attbyval {
                return (i, pg_sys::Datum::from(0));
            }
            // A fixed length, a string that ends with a zero, or a header of four bytes.
            let size = match usize::try_from(attribute.attlen) {
                Ok(length) => length,
                Err(_) if attribute.attlen == -2 => 1,
                Err(_) => pg_sys::VARHDRSZ,
            };
            // SAFETY: zeroed memory of that size, and room for a header where there is one.
            unsafe {
                let value = pg_sys::palloc0(size);
                if attribute.attlen == -1 {
                    pgrx::set_varsize_4b(value.cast(), size as i32);
                }
                (i, pg_sys::Datum::from(value))
            }
        })
        .collect()
}
