// SPDX-License-Identifier: Apache-2.0
//! Why something stays with PostgreSQL, for EXPLAIN (VERBOSE).
//!
//! A custom scan keeps why the node above it was not converted (`ParentRequirements::above`). A statement over doris
//! tables without any custom scan has nobody to say it: the hook on EXPLAIN notes the reasons while the statement is
//! planned, and puts them behind the plan.
use super::explain;
use super::hook::is_doris_table;
use super::source::Counters;
use crate::pg::compat;
use pgrx::{pg_guard, pg_sys, PgList};
use std::cell::RefCell;
use std::ffi::{CStr, CString};
use std::rc::Rc;

static mut PREV_EXPLAIN: pg_sys::ExplainOneQuery_hook_type = None;

/// What the conversion of the statement at hand comes to.
#[derive(Default)]
struct Noted {
    /// The query whose reasons EXPLAIN wants; null: none.
    watched: usize,
    /// Why parts of the statement at hand were not converted.
    so_far: Vec<String>,
    /// Whether some part of it was.
    converted: bool,
    /// Of the watched query, when no part of it was converted.
    result: Vec<String>,
    /// The query that EXPLAIN runs; null: none.
    analyzed: usize,
    /// Its finished statement.
    statement: usize,
    /// What scans of it that are PostgreSQL's have read and skipped, with the names of their tables.
    scans: Vec<(String, Rc<Counters>)>,
}

/// The label of reasons.
const NOT_VECTORISED: &CStr = c"Not Vectorised";

thread_local! {
    static NOTED: RefCell<Noted> = RefCell::default();
}

/// Installs the hook.
pub fn install() {
    // SAFETY: called once, while the library is loaded.
    unsafe {
        PREV_EXPLAIN = pg_sys::ExplainOneQuery_hook;
        pg_sys::ExplainOneQuery_hook = Some(explain_query);
    }
}

/// A statement is about to be converted.
pub fn begin() {
    NOTED.with_borrow_mut(|noted| {
        noted.so_far.clear();
        noted.converted = false;
    });
}

/// A part of it is not converted.
pub fn refused(why: &str) {
    pgrx::debug1!("not vectorised: {why}");
    record(why);
}

/// The engine began to run a part, and met what it does not do exactly: PostgreSQL's plan runs.
pub fn record_fallback(why: &doris_engine::error::Error) {
    pgrx::debug1!("not vectorised: PostgreSQL's plan ran instead: {why}");
}

/// As [`refused`], without a debug message: of most statements that are not converted nobody expects it.
pub fn record(why: &str) {
    NOTED.with_borrow_mut(|noted| {
        if noted.watched != 0 && !noted.so_far.iter().any(|known| known == why) {
            noted.so_far.push(why.to_owned());
        }
    });
}

/// A part of it is.
pub fn converted() {
    NOTED.with_borrow_mut(|noted| noted.converted = true);
}

/// The statement of `query` is as it will be.
///
/// # Safety
/// A finished statement.
pub unsafe fn finish(query: *mut pg_sys::Query, stmt: *mut pg_sys::PlannedStmt) {
    let watched = NOTED.with_borrow_mut(|noted| {
        if noted.analyzed == query as usize {
            noted.statement = stmt as usize;
        }
        noted.watched == query as usize && !noted.converted
    });
    // SAFETY: passed on to the caller.
    if watched && unsafe { reads_doris_tables(stmt) } {
        NOTED.with_borrow_mut(|noted| noted.result = std::mem::take(&mut noted.so_far));
    }
}

unsafe fn reads_doris_tables(stmt: *mut pg_sys::PlannedStmt) -> bool {
    // SAFETY: the range table of a finished statement.
    unsafe {
        PgList::<pg_sys::RangeTblEntry>::from_pg((*stmt).rtable)
            .iter_ptr()
            .any(|rte| {
                (*rte).rtekind == pg_sys::RTEKind::RTE_RELATION && is_doris_table((*rte).relid)
            })
    }
}

/// Not guarded: errors of the query that is explained pass through as they are.
unsafe extern "C-unwind" fn explain_query(
    query: *mut pg_sys::Query,
    options: i32,
    into: *mut pg_sys::IntoClause,
    es: *mut pg_sys::ExplainState,
    text: *const std::ffi::c_char,
    params: pg_sys::ParamListInfo,
    env: *mut pg_sys::QueryEnvironment,
) {
    // SAFETY: valid arguments from PostgreSQL; hooks change only while libraries load.
    unsafe {
        let of = |wanted: bool| if wanted { query as usize } else { 0 };
        watch(of((*es).verbose), of((*es).analyze));
        match PREV_EXPLAIN {
            Some(previous) => previous(query, options, into, es, text, params, env),
            None => compat::explain_one_query(query, options, into, es, text, params, env),
        }
        show(es);
    }
}

fn watch(query: usize, analyzed: usize) {
    NOTED.with_borrow_mut(|noted| {
        noted.watched = query;
        noted.result.clear();
        (noted.analyzed, noted.statement) = (analyzed, 0);
        noted.scans.clear();
    });
}

/// Forgets everything: the transaction is over.
pub fn forget() {
    NOTED.take();
}

/// A scan of a table has ended, which a node of PostgreSQL's ran in some statement.
pub fn scanned(statement: *mut pg_sys::PlannedStmt, table: &str, counters: &Rc<Counters>) {
    NOTED.with_borrow_mut(|noted| {
        if noted.statement != 0 && noted.statement == statement as usize {
            noted.scans.push((table.to_owned(), counters.clone()));
        }
    });
}

/// Puts scans and reasons behind the plan: lines, or an object of their own.
#[pg_guard]
unsafe extern "C-unwind" fn show(es: *mut pg_sys::ExplainState) {
    let (reasons, scans) = NOTED.with_borrow_mut(|noted| {
        noted.watched = 0;
        (noted.analyzed, noted.statement) = (0, 0);
        (
            std::mem::take(&mut noted.result),
            std::mem::take(&mut noted.scans),
        )
    });
    if reasons.is_empty() && scans.is_empty() {
        return;
    }
    // SAFETY: the state of a running EXPLAIN; strings are copied into its output.
    unsafe {
        if (*es).format == pg_sys::ExplainFormat::EXPLAIN_FORMAT_TEXT {
            explain::scans(es, &scans);
            if let (false, Ok(all)) = (reasons.is_empty(), CString::new(reasons.join("; "))) {
                pg_sys::ExplainPropertyText(NOT_VECTORISED.as_ptr(), all.as_ptr(), es);
            }
            return;
        }
        let group = c"Engine".as_ptr();
        pg_sys::ExplainOpenGroup(group, std::ptr::null(), true, es);
        if !scans.is_empty() {
            explain::scans(es, &scans);
        }
        if !reasons.is_empty() {
            let mut list = PgList::<std::ffi::c_char>::new();
            for reason in reasons.iter().filter_map(|r| CString::new(r.as_str()).ok()) {
                list.push(pg_sys::pstrdup(reason.as_ptr()));
            }
            pg_sys::ExplainPropertyList(NOT_VECTORISED.as_ptr(), list.into_pg(), es);
        }
        pg_sys::ExplainCloseGroup(group, std::ptr::null(), true, es);
    }
}

/// A reason as a node, for a plan.
pub fn encode(why: &str) -> *mut pg_sys::Node {
    let why = CString::new(why).unwrap_or_default();
    // SAFETY: the string is copied into the current memory context.
    unsafe { pg_sys::makeString(pg_sys::pstrdup(why.as_ptr())).cast() }
}

/// The text of such a node.
///
/// # Safety
/// A node of [`encode`].
pub unsafe fn decode(node: *mut pg_sys::Node) -> String {
    // SAFETY: passed on to the caller.
    unsafe { compat::string_value(node) }
}
