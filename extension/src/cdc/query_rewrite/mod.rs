// SPDX-License-Identifier: Apache-2.0
//! Mirrors that answer for their originals (`doris.use_mirrors`).
//!
//! 1. The planner hook keeps a copy of a query on heap tables in a node on top of its plan (`capture`, `wrap`).
//! 2. Each time the plan starts, prepared or not, `choose` looks whether the mirrors may answer: isolation level, own
//!    writes, registration, freshness under the statement's snapshot, columns. If so, the copy is planned on the
//!    mirrors and takes the plan's place for this execution; if not, the plan runs as it is. The node shows in EXPLAIN
//!    which and why.
//!
//! The copy is planned anew each time, so that nothing about a mirror outlives the locks under which it was looked at.
//! (Two plans made at once were rejected: the cached one would have to be invalidated with its mirrors, and a plan
//! of two range tables renumbered.)
//!
//! `query` walks query trees, `registry` reads what is registered, `freshness` says which position a snapshot shows,
//! `node` is the node.
mod freshness;
mod node;
mod query;
mod registry;

use super::shared_state::{self, Entry};
use crate::pg::{self, compat, raw};
use freshness::Staleness;
use pgrx::prelude::*;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, PgList};
use query::{Mapped, Used};
use registry::Registered;
use std::cell::Cell;

static USE: GucSetting<bool> = GucSetting::<bool>::new(false);
static STALENESS: GucSetting<i32> = GucSetting::<i32>::new(-1);

/// The heap answers when mirrors are further behind than this, unless the user allows more.
const BEHIND_MAX_MS: i64 = 10_000;

thread_local! {
    /// The choice is being made: its own statements are not looked at.
    static BUSY: Cell<bool> = const { Cell::new(false) };
    /// Where the last transaction of this session ended that wrote something. (PostgreSQL's own variable also moves
    /// when a reader tidies up pages.)
    static LAST_COMMIT: Cell<u64> = const { Cell::new(0) };
    /// A prepared transaction is being committed, under the id of another one.
    static COMMITS_PREPARED: Cell<bool> = const { Cell::new(false) };
    /// What was chosen for the plan that is starting.
    static CHOSEN: Cell<Option<String>> = const { Cell::new(None) };
}

/// Sets `BUSY` while it lives.
struct Busy;

impl Busy {
    fn new() -> Self {
        BUSY.set(true);
        Busy
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        BUSY.set(false);
    }
}

/// Defines the settings and registers the node.
pub(crate) fn init() {
    // SAFETY: the hook only marks cached plans; the methods are constant.
    unsafe {
        GucRegistry::define_bool_guc_with_hooks(
            c"doris.use_mirrors",
            c"Lets mirrors answer queries on the tables that they mirror.",
            c"All tables of a query must have mirrors that show this session's last commit.",
            &USE,
            GucContext::Userset,
            GucFlags::EXPLAIN,
            None,
            Some(forget_plans),
            None,
        );
        pg_sys::RegisterCustomScanMethods(&node::SCAN_METHODS.0);
    }
    GucRegistry::define_int_guc(
        c"doris.max_staleness",
        c"Maximum lag at which mirrors answer although they do not show this session's last commit; -1 means never.",
        c"",
        &STALENESS,
        -1,
        i32::MAX,
        GucContext::Userset,
        GucFlags::UNIT_MS,
    );
}

/// Plans made under the other setting are made again.
#[pg_guard]
unsafe extern "C-unwind" fn forget_plans(new: bool, _extra: *mut std::ffi::c_void) {
    if new != USE.get() {
        // SAFETY: marks the session's cached plans, which are there from its first moment.
        unsafe { pg_sys::ResetPlanCache() };
    }
}

/// A transaction of this session has committed.
pub(crate) fn committed() {
    // SAFETY: variables of this session; the transaction's id is there until its end.
    let (xid, end) = unsafe {
        let xid = pg_sys::GetTopTransactionIdIfAny();
        (xid, pg_sys::XactLastCommitEnd)
    };
    if COMMITS_PREPARED.take() || xid != pg_sys::InvalidTransactionId {
        LAST_COMMIT.set(end);
    }
}

/// The session is about to run COMMIT PREPARED.
pub(crate) fn commits_prepared() {
    COMMITS_PREPARED.set(true);
}

/// A copy of a query that mirrors may be able to answer, taken before planning changes it; or null.
///
/// # Safety
/// An analysed and rewritten query.
pub(crate) unsafe fn capture(parse: *mut pg_sys::Query) -> *mut pg_sys::Query {
    // SAFETY: passed on to the caller; flags of this process.
    unsafe {
        let wanted = USE.get()
            && !BUSY.get()
            && pg_sys::MyBackendType == pg_sys::BackendType::B_BACKEND
            && (*parse).commandType == pg_sys::CmdType::CMD_SELECT
            && !(*parse).hasModifyingCTE
            // Foreign keys are checked against the tables themselves.
            && !pg_sys::InNoForceRLSOperation()
            && query::reads_tables(parse);
        if wanted {
            pg_sys::copyObjectImpl(parse.cast()).cast()
        } else {
            std::ptr::null_mut()
        }
    }
}

/// Puts the node on top of a plan, with the copy of its query.
///
/// # Safety
/// A finished statement, and what `capture` returned for its query.
pub(crate) unsafe fn wrap(
    stmt: *mut pg_sys::PlannedStmt,
    captured: *mut pg_sys::Query,
    options: i32,
) {
    if captured.is_null() {
        return;
    }
    // SAFETY: passed on to the caller.
    unsafe {
        let mut private = PgList::<std::ffi::c_void>::new();
        private.push(captured.cast());
        private.push(pg_sys::makeInteger(options).cast());
        (*stmt).planTree = node::make((*stmt).planTree, private.into_pg());
    }
}

/// Chooses what a statement that is starting reads.
///
/// # Safety
/// A query descriptor whose execution has not begun.
pub(crate) unsafe fn choose(query: *mut pg_sys::QueryDesc) {
    // SAFETY: passed on to the caller.
    unsafe {
        let stmt = (*query).plannedstmt;
        if (*stmt).commandType != pg_sys::CmdType::CMD_SELECT {
            return;
        }
        let Some((captured, options)) = node::captured((*stmt).planTree) else {
            return;
        };
        let _busy = Busy::new();
        match on_mirrors(query, captured, options) {
            Ok((stmt, sync)) => {
                (*query).plannedstmt = stmt;
                CHOSEN.set(Some(format!("mirrors of sync \"{sync}\"")));
            }
            Err(why) => CHOSEN.set(Some(format!("heap: {why}"))),
        }
    }
}

/// The statement planned on mirrors and the name of their sync, or why the heap answers.
unsafe fn on_mirrors(
    query: *mut pg_sys::QueryDesc,
    captured: *mut pg_sys::Query,
    options: i32,
) -> Result<(*mut pg_sys::PlannedStmt, String), String> {
    // SAFETY: a query descriptor with the copy of its query; the copy made here is changed, the kept one is not.
    unsafe {
        let snapshot = (*query).snapshot;
        check_session(snapshot)?;
        let tree = pg_sys::copyObjectImpl(captured.cast()).cast::<pg_sys::Query>();
        let used = query::used(tree)?;
        for relid in &used.tables {
            check_table(*relid)?;
        }
        let (chosen, sync) = look(&used, snapshot)?;
        let mapped = map(&used, &chosen)?;
        let heap = (*query).plannedstmt;
        compat::check_read_permissions(heap);
        query::replace(tree, &mapped);
        let options = match options as u32 & pg_sys::CURSOR_OPT_SCROLL {
            0 => options | pg_sys::CURSOR_OPT_NO_SCROLL as i32,
            _ => options,
        };
        let stmt = pg_sys::planner(tree, (*query).sourceText, options, (*query).params);
        if !query::reads_only(stmt, &mapped) {
            return Err("a function of the query reads tables itself".into());
        }
        (*stmt).planTree = node::make((*stmt).planTree, std::ptr::null_mut());
        Ok((stmt, sync))
    }
}

fn check_session(snapshot: pg_sys::Snapshot) -> Result<(), String> {
    if !USE.get() {
        return Err("doris.use_mirrors is off".into());
    }
    // SAFETY: a variable of this session.
    if unsafe { pg_sys::XactIsoLevel } > pg_sys::XACT_READ_COMMITTED as i32 {
        return Err("the transaction is above READ COMMITTED".into());
    }
    if !shared_state::exists() {
        return Err("pg_doris was not preloaded".into());
    }
    // No other snapshot can be taken there.
    // SAFETY: reads a state of this session.
    if unsafe { pg_sys::IsInParallelMode() } {
        return Err("a parallel query is running".into());
    }
    if !raw::is_mvcc(snapshot) {
        return Err("the statement has no snapshot".into());
    }
    Ok(())
}

/// What only the table itself can answer: writes of this transaction, rows of tables that inherit from it.
fn check_table(relid: pg_sys::Oid) -> Result<(), String> {
    let partitioned = query::kind(relid) == pg_sys::RELKIND_PARTITIONED_TABLE;
    let members = if partitioned {
        raw::inheritors(relid)
    } else {
        vec![relid]
    };
    if members.into_iter().any(compat::may_have_written) {
        return Err(format!(
            "this transaction may have changed {}",
            pg::table_name(relid)
        ));
    }
    if !partitioned && raw::may_have_inheritors(relid) && raw::inheritors(relid).len() > 1 {
        return Err(format!(
            "other tables inherit from {}",
            pg::table_name(relid)
        ));
    }
    Ok(())
}

/// Finds a sync that mirrors all the tables and is fresh; locks its mirrors.
fn look(used: &Used, snapshot: pg_sys::Snapshot) -> Result<(Vec<Registered>, String), String> {
    let found = registry::read(&used.tables, snapshot);
    for relid in &used.tables {
        if !found.iter().any(|r| r.source == *relid) {
            return Err(format!("{} has no mirror", pg::table_name(*relid)));
        }
    }
    let mut syncs: Vec<(i32, String)> = found
        .iter()
        .map(|r| (r.sync, r.sync_name.clone()))
        .collect();
    syncs.sort();
    syncs.dedup();
    let mut why = "the tables are mirrored by different syncs".to_owned();
    for (sync, name) in syncs {
        let tables: Vec<&Registered> = found.iter().filter(|r| r.sync == sync).collect();
        if tables.len() < used.tables.len() {
            continue;
        }
        match usable(sync, &tables, &used.tables, snapshot) {
            Ok(()) => return Ok((tables.into_iter().cloned().collect(), name)),
            Err(reason) => why = reason,
        }
    }
    Err(why)
}

/// Whether the mirrors of a sync show what they have to, all as of one position.
fn usable(
    sync: i32,
    tables: &[&Registered],
    relids: &[pg_sys::Oid],
    snapshot: pg_sys::Snapshot,
) -> Result<(), String> {
    if let Some((table, why)) = tables
        .iter()
        .find_map(|t| Some((t.source, t.problem.as_ref()?)))
    {
        return Err(why.replace("{table}", &pg::table_name(table)));
    }
    // SAFETY: the database this session is connected to.
    let db = unsafe { u32::from(pg_sys::MyDatabaseId) };
    let entry = shared_state::get(db, sync).unwrap_or_default();
    let copied = tables.iter().map(|t| t.copied_lsn).max().unwrap_or(0);
    check_fresh(&entry, snapshot, copied)?;
    for table in tables {
        // A worker that changes the mirror's columns or empties it is not waited for.
        // SAFETY: the lock is the transaction's.
        let locked = unsafe {
            pg_sys::ConditionalLockRelationOid(table.target, pg_sys::AccessShareLock as i32)
        };
        if !locked {
            return Err(format!(
                "the mirror of {} is locked",
                pg::table_name(table.source)
            ));
        }
    }
    // SAFETY: a snapshot of this moment, used at once.
    let latest = unsafe { pg_sys::GetLatestSnapshot() };
    let now = registry::read(relids, latest);
    let same = |t: &&&Registered| now.iter().any(|n| n.sync == sync && n.facts == t.facts);
    if tables.iter().filter(same).count() < tables.len() {
        return Err("the mirrors changed as the statement began".into());
    }
    Ok(())
}

fn check_fresh(entry: &Entry, snapshot: pg_sys::Snapshot, copied: u64) -> Result<(), String> {
    let Some(position) = freshness::position(entry, snapshot) else {
        return Err("the mirrors moved on as the statement began".into());
    };
    let Staleness { ms, known } = freshness::behind(entry);
    let allowed = i64::from(STALENESS.get());
    let last_commit = LAST_COMMIT.get();
    if position < copied {
        return Err("the mirrors are not at one position yet".into());
    }
    if position < last_commit && !(known && ms <= allowed) {
        return Err("the mirrors do not show this session's last commit yet".into());
    }
    if !known || ms > allowed.max(BEHIND_MAX_MS) {
        return Err("the mirrors are far behind".into());
    }
    Ok(())
}

/// Where each column that the query uses is in its table's mirror.
fn map(used: &Used, chosen: &[Registered]) -> Result<Mapped, String> {
    let mut mapped = Mapped::default();
    for table in chosen {
        let columns = used.columns_of(table.source);
        let found = registry::match_columns(table, &columns)?;
        mapped.add(table.source, table.target, found);
    }
    Ok(mapped)
}
