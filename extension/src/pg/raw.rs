// SPDX-License-Identifier: Apache-2.0
//! PostgreSQL functions that pgrx does not bind, or binds with a guard that would change errors on their way:
//!
//! - catalogue: conditions and parents of partitions, signatures of functions, collations, copies of Datums;
//! - plans: the standard implementations behind the planner, executor, utility and EXPLAIN hooks, and tree mutators;
//! - snapshots and predicate locks (storage/predicate.h), for SERIALIZABLE;
//! - calls of users' code whose errors keep all of their fields.
use super::attributes;
use cee_scape::call_with_sigsetjmp;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::{pgrx_extern_c_guard, ErrorReport, ErrorReportWithLevel};
use pgrx::{PgLogLevel, PgSqlErrorCode};
use std::cell::Cell;
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::OnceLock;

extern "C-unwind" {
    fn CheckForSerializableConflictOut(
        relation: pg_sys::Relation,
        xid: pg_sys::TransactionId,
        snapshot: pg_sys::Snapshot,
    );
    fn CheckForSerializableConflictIn(
        relation: pg_sys::Relation,
        tid: pg_sys::ItemPointer,
        block: pg_sys::BlockNumber,
    );
    fn PredicateLockRelation(relation: pg_sys::Relation, snapshot: pg_sys::Snapshot);
    fn PredicateLockTID(
        relation: pg_sys::Relation,
        tid: pg_sys::ItemPointer,
        snapshot: pg_sys::Snapshot,
        xid: pg_sys::TransactionId,
    );
    fn TransferPredicateLocksToHeapRelation(relation: pg_sys::Relation);
}

extern "C-unwind" {
    fn ExecComputeStoredGenerated(
        target: *mut pg_sys::ResultRelInfo,
        estate: *mut pg_sys::EState,
        slot: *mut pg_sys::TupleTableSlot,
        command: pg_sys::CmdType::Type,
    );
}

extern "C-unwind" {
    fn find_all_inheritors(
        parent: pg_sys::Oid,
        mode: pg_sys::LOCKMODE,
        parents: *mut *mut pg_sys::List,
    ) -> *mut pg_sys::List;
    fn has_subclass(relid: pg_sys::Oid) -> bool;
    fn get_partition_parent(relid: pg_sys::Oid, even_if_detached: bool) -> pg_sys::Oid;
    fn RelationGetPartitionQual(rel: pg_sys::Relation) -> *mut pg_sys::List;
}

/// What holds for all rows of a partition; null for other tables.
pub fn partition_qual(rel: pg_sys::Relation) -> *mut pg_sys::List {
    // SAFETY: an open relation.
    guarded(|| unsafe { RelationGetPartitionQual(rel) })
}

/// The numbers of the columns that say which partition of its parents a row of a partition belongs to.
pub fn partition_columns(rel: pg_sys::Relation) -> Vec<u16> {
    // SAFETY: a condition on the columns of the open relation, which is its first variable number; null without one.
    unsafe { attributes::read_by(partition_qual(rel).cast(), rel) }
}

extern "C-unwind" {
    fn datumCopy(value: pg_sys::Datum, by_value: bool, length: i32) -> pg_sys::Datum;
    fn get_func_signature(
        function: pg_sys::Oid,
        types: *mut *mut pg_sys::Oid,
        count: *mut i32,
    ) -> pg_sys::Oid;
}

/// A copy of a value of a type of this length, in the current memory context.
pub fn copy_datum(value: pg_sys::Datum, by_value: bool, length: i16) -> pg_sys::Datum {
    // SAFETY: a value of such a type.
    guarded(|| unsafe { datumCopy(value, by_value, i32::from(length)) })
}

extern "C-unwind" {
    fn toast_compress_datum(value: pg_sys::Datum, method: std::ffi::c_char) -> pg_sys::Datum;
}

/// A value compressed by a column's method; `None` where that would not make it smaller.
///
/// # Safety
/// A varlena that is neither compressed nor stored elsewhere.
pub unsafe fn compressed(value: pg_sys::Datum, method: std::ffi::c_char) -> Option<pg_sys::Datum> {
    // SAFETY: passed on to the caller.
    let made = guarded(|| unsafe { toast_compress_datum(value, method) });
    (made.value() != 0).then_some(made)
}

/// The result type of a function; its arguments' types are put into a palloc'd array.
///
/// # Safety
/// A function that exists.
pub unsafe fn function_signature(
    function: pg_sys::Oid,
    types: &mut *mut pg_sys::Oid,
    count: &mut i32,
) -> pg_sys::Oid {
    // SAFETY: passed on to the caller.
    guarded(|| unsafe { get_func_signature(function, types, count) })
}

/// Whether a table may have others that inherit from it.
pub fn may_have_inheritors(relid: pg_sys::Oid) -> bool {
    // SAFETY: a catalogue look-up of a relation that exists.
    guarded(|| unsafe { has_subclass(relid) })
}

/// The partitioned table that a partition belongs to.
pub fn partition_parent(relid: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: a catalogue look-up of a partition.
    guarded(|| unsafe { get_partition_parent(relid, true) })
}

/// A table and all that inherit from it, its partitions among them; they are locked for reading.
pub fn inheritors(relid: pg_sys::Oid) -> Vec<pg_sys::Oid> {
    inheritors_locked(relid, pg_sys::AccessShareLock as i32)
}

/// As [`inheritors`], with another lock.
pub fn inheritors_locked(relid: pg_sys::Oid, mode: pg_sys::LOCKMODE) -> Vec<pg_sys::Oid> {
    // SAFETY: a relation that the caller has locked; a list of OIDs is returned.
    unsafe {
        let list = guarded(|| find_all_inheritors(relid, mode, std::ptr::null_mut()));
        pgrx::PgList::<pg_sys::Oid>::from_pg(list)
            .iter_oid()
            .collect()
    }
}

/// Computes the generated columns of the row in a slot, as for an INSERT.
///
/// # Safety
/// A valid target and executor state, and a slot of the target's row type.
pub unsafe fn compute_generated(
    target: *mut pg_sys::ResultRelInfo,
    estate: *mut pg_sys::EState,
    slot: *mut pg_sys::TupleTableSlot,
) {
    // SAFETY: passed on to the caller.
    guarded(|| unsafe {
        ExecComputeStoredGenerated(target, estate, slot, pg_sys::CmdType::CMD_INSERT);
    });
}

extern "C-unwind" {
    /// As [`standard_ProcessUtility`].
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    pub fn standard_ExplainOneQuery(
        query: *mut pg_sys::Query,
        options: i32,
        into: *mut pg_sys::IntoClause,
        es: *mut pg_sys::ExplainState,
        text: *const std::ffi::c_char,
        params: pg_sys::ParamListInfo,
        env: *mut pg_sys::QueryEnvironment,
    );
    /// As [`standard_ProcessUtility`].
    #[cfg(not(any(feature = "pg17", feature = "pg18")))]
    pub fn pg_plan_query(
        query: *mut pg_sys::Query,
        text: *const std::ffi::c_char,
        options: i32,
        params: pg_sys::ParamListInfo,
    ) -> *mut pg_sys::PlannedStmt;
    /// As [`standard_ProcessUtility`].
    #[cfg(not(any(feature = "pg17", feature = "pg18")))]
    pub fn ExplainOnePlan(
        stmt: *mut pg_sys::PlannedStmt,
        into: *mut pg_sys::IntoClause,
        es: *mut pg_sys::ExplainState,
        text: *const std::ffi::c_char,
        params: pg_sys::ParamListInfo,
        env: *mut pg_sys::QueryEnvironment,
        duration: *const pg_sys::instr_time,
        buffers: *const pg_sys::BufferUsage,
    );
}

extern "C-unwind" {
    /// PostgreSQL's own, without pgrx's guard: for hooks through which errors pass unchanged.
    pub fn standard_ProcessUtility(
        pstmt: *mut pg_sys::PlannedStmt,
        query: *const std::ffi::c_char,
        read_only: bool,
        context: pg_sys::ProcessUtilityContext::Type,
        params: pg_sys::ParamListInfo,
        env: *mut pg_sys::QueryEnvironment,
        dest: *mut pg_sys::DestReceiver,
        completion: *mut pg_sys::QueryCompletion,
    );
    /// As above.
    pub fn standard_planner(
        parse: *mut pg_sys::Query,
        query: *const std::ffi::c_char,
        options: i32,
        params: pg_sys::ParamListInfo,
    ) -> *mut pg_sys::PlannedStmt;
    /// As above.
    pub fn standard_ExecutorStart(query: *mut pg_sys::QueryDesc, eflags: i32);
    /// As above.
    #[cfg(not(feature = "pg18"))]
    pub fn standard_ExecutorRun(
        query: *mut pg_sys::QueryDesc,
        direction: pg_sys::ScanDirection::Type,
        count: u64,
        once: bool,
    );
    /// As above.
    #[cfg(feature = "pg18")]
    pub fn standard_ExecutorRun(
        query: *mut pg_sys::QueryDesc,
        direction: pg_sys::ScanDirection::Type,
        count: u64,
    );
    /// As above.
    pub fn standard_ExecutorEnd(query: *mut pg_sys::QueryDesc);
}

/// Runs a C call so that an error in it becomes a Rust panic, which runs destructors on its way. Only for what
/// pgrx does not bind: its functions are guarded already, and a panic may not pass through a second guard.
#[inline]
pub fn guarded<T>(f: impl FnOnce() -> T) -> T {
    // SAFETY: the closures passed here call into PostgreSQL and own nothing that needs dropping, which is
    // what a longjmp out of them requires.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(f) }
}

thread_local! {
    /// The error that is on its way from [`keeping`] to [`handing_on`]; null: none.
    static KEPT: Cell<*mut pg_sys::ErrorData> = const { Cell::new(std::ptr::null_mut()) };
}

extern "C-unwind" {
    fn ReThrowError(error: *mut pg_sys::ErrorData) -> !;
    fn ExecScan(
        node: *mut pg_sys::ScanState,
        access: pg_sys::ExecScanAccessMtd,
        recheck: pg_sys::ExecScanRecheckMtd,
    ) -> *mut pg_sys::TupleTableSlot;
}

/// As [`guarded`], for what runs code of users: the panic stands for an error that [`handing_on`] raises again as it
/// was, with its context, the names of its constraint, table, column and type, and all else that pgrx does not carry
/// along.
pub fn keeping<T>(f: impl FnOnce() -> T) -> T {
    // SAFETY: as for `guarded`. The handlers of errors are those of before again, whichever way the closure ends; the
    // error is copied to memory that lives until the (sub)transaction ends, which it does after the error.
    unsafe {
        let (memory, handler) = (pg_sys::CurrentMemoryContext, pg_sys::PG_exception_stack);
        let callbacks = pg_sys::error_context_stack;
        let mut result = MaybeUninit::uninit();
        let jumped = call_with_sigsetjmp(false, |buffer| {
            pg_sys::PG_exception_stack = std::ptr::from_ref(buffer).cast_mut().cast();
            result.write(f());
            0
        });
        pg_sys::PG_exception_stack = handler;
        pg_sys::error_context_stack = callbacks;
        if jumped == 0 {
            return result.assume_init();
        }
        pg_sys::CurrentMemoryContext = pg_sys::CurTransactionContext;
        let error = pg_sys::CopyErrorData();
        pg_sys::FlushErrorState();
        pg_sys::CurrentMemoryContext = memory;
        KEPT.set(error);
        let message = match (*error).message.is_null() {
            true => String::new(),
            false => CStr::from_ptr((*error).message)
                .to_string_lossy()
                .into_owned(),
        };
        let code = PgSqlErrorCode::from((*error).sqlerrcode);
        ErrorReport::new(code, message, KEEPING).report(PgLogLevel::ERROR);
        unreachable!("an error was reported")
    }
}

/// Tells the panics of [`keeping`] from others.
const KEEPING: &str = "keeping";

fn stands_for_kept(payload: &(dyn std::any::Any + Send)) -> bool {
    let report = payload.downcast_ref::<ErrorReportWithLevel>();
    report.is_some_and(|report| report.function_name() == Some(KEEPING))
}

/// A callback of PostgreSQL's that runs code of users by way of [`keeping`]: `pg_guard`, but that such errors are
/// raised again as they were.
///
/// # Safety
/// To be called right in an `extern "C-unwind"` function, which has nothing to drop.
#[inline]
pub unsafe fn handing_on<T>(f: impl FnOnce() -> T) -> T {
    KEPT.set(std::ptr::null_mut());
    // SAFETY: passed on to the caller. What the closure had is dropped by the time an error is raised.
    unsafe {
        let outcome = pgrx_extern_c_guard(|| match catch_unwind(AssertUnwindSafe(f)) {
            Ok(value) => Ok(value),
            Err(payload) => {
                let error = KEPT.replace(std::ptr::null_mut());
                // Another error may have followed one that somebody has caught.
                if error.is_null() || !stands_for_kept(payload.as_ref()) {
                    resume_unwind(payload);
                }
                drop(payload);
                Err(error)
            }
        });
        match outcome {
            Ok(value) => value,
            Err(error) => ReThrowError(error),
        }
    }
}

/// `ExecScan`, [`keeping`] errors.
///
/// # Safety
/// A begun scan and its callbacks.
pub unsafe fn exec_scan(
    node: *mut pg_sys::ScanState,
    access: pg_sys::ExecScanAccessMtd,
    recheck: pg_sys::ExecScanRecheckMtd,
) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: passed on to the caller.
    keeping(|| unsafe { ExecScan(node, access, recheck) })
}

/// `ExecProcNode`, [`keeping`] errors.
///
/// # Safety
/// A begun plan node.
pub unsafe fn exec_proc_node(node: *mut pg_sys::PlanState) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: passed on to the caller.
    unsafe {
        if !(*node).chgParam.is_null() {
            pg_sys::ExecReScan(node);
        }
        match (*node).ExecProcNode {
            Some(run) => keeping(|| run(node)),
            None => std::ptr::null_mut(),
        }
    }
}

extern "C-unwind" {
    fn slot_getsomeattrs_int(slot: *mut pg_sys::TupleTableSlot, columns: i32);
}

/// Makes the first columns of a slot's row ready.
///
/// # Safety
/// A slot that holds a row of so many columns. To be called within [`guarded`].
#[inline]
pub unsafe fn ready_columns(slot: *mut pg_sys::TupleTableSlot, columns: i32) {
    // SAFETY: passed on to the caller.
    unsafe {
        if i32::from((*slot).tts_nvalid) < columns {
            slot_getsomeattrs_int(slot, columns);
        }
    }
}

extern "C-unwind" {
    fn datumIsEqual(one: pg_sys::Datum, other: pg_sys::Datum, by_value: bool, length: i32) -> bool;
}

/// Whether two values of a type are the same bytes.
///
/// # Safety
/// Valid values of the type, not toasted.
pub unsafe fn same_bytes(
    one: pg_sys::Datum,
    other: pg_sys::Datum,
    by_value: bool,
    length: i16,
) -> bool {
    // SAFETY: passed on to the caller.
    guarded(|| unsafe { datumIsEqual(one, other, by_value, i32::from(length)) })
}

/// Whether a statement runs with parallel workers, or may.
pub fn in_parallel_mode() -> bool {
    // SAFETY: plain call.
    unsafe { pg_sys::IsInParallelMode() }
}

/// A snapshot of what is committed now. As long as it lives, no row is pruned that somebody deletes from now on.
pub struct Registered(pg_sys::Snapshot);

impl Registered {
    /// Takes one; beside parallel workers, which allow no new one, that of the statement or of the transaction.
    pub fn latest() -> Self {
        // SAFETY: plain calls; given up in Drop, or with the resource owner on error. A statement with workers has an
        // active snapshot.
        Self(unsafe {
            let snapshot = match in_parallel_mode() {
                true => pg_sys::GetActiveSnapshot(),
                false => pg_sys::GetLatestSnapshot(),
            };
            pg_sys::RegisterSnapshot(snapshot)
        })
    }

    /// The snapshot, valid as long as this lives.
    pub fn snapshot(&self) -> pg_sys::Snapshot {
        self.0
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: registered in `latest`.
            unsafe { pg_sys::UnregisterSnapshot(self.0) };
        }
    }
}

/// Whether a snapshot is an MVCC one (`IsMVCCSnapshot`).
#[inline]
pub fn is_mvcc(snapshot: pg_sys::Snapshot) -> bool {
    if snapshot.is_null() {
        return false;
    }
    // SAFETY: a non-null snapshot handed to us by PostgreSQL is valid.
    let kind = unsafe { (*snapshot).snapshot_type };
    kind == pg_sys::SnapshotType::SNAPSHOT_MVCC
        || kind == pg_sys::SnapshotType::SNAPSHOT_HISTORIC_MVCC
}

/// Whether this transaction is serializable.
#[inline]
pub fn serializable() -> bool {
    // SAFETY: a plain variable of this backend.
    unsafe { pg_sys::XactIsoLevel == pg_sys::XACT_SERIALIZABLE as i32 }
}

/// Records that a serializable transaction read a whole relation.
pub fn predicate_lock_relation(rel: pg_sys::Relation, snapshot: pg_sys::Snapshot) {
    // SAFETY: open relation, registered snapshot.
    guarded(|| unsafe { PredicateLockRelation(rel, snapshot) });
}

/// Records that a serializable transaction read a row that `xid` inserted.
pub fn predicate_lock_tid(
    rel: pg_sys::Relation,
    tid: &mut pg_sys::ItemPointerData,
    snapshot: pg_sys::Snapshot,
    xid: pg_sys::TransactionId,
) {
    // SAFETY: open relation, registered snapshot, a TID on our stack.
    guarded(|| unsafe { PredicateLockTID(rel, tid, snapshot, xid) });
}

/// Makes the predicate locks on rows and indexes of a relation ones on the whole relation.
pub fn widen_predicate_locks(rel: pg_sys::Relation) {
    // SAFETY: open relation.
    guarded(|| unsafe { TransferPredicateLocksToHeapRelation(rel) });
}

/// Checks a read of a version written by `xid` that the snapshot does not see.
pub fn conflict_out(rel: pg_sys::Relation, xid: pg_sys::TransactionId, snap: pg_sys::Snapshot) {
    // SAFETY: open relation, registered snapshot.
    guarded(|| unsafe { CheckForSerializableConflictOut(rel, xid, snap) });
}

/// Checks a write to a row (or, with `None`, to the relation) against serializable readers.
pub fn conflict_in(rel: pg_sys::Relation, tid: Option<pg_sys::ItemPointerData>) {
    let mut copy = tid;
    let (pointer, block) = match copy.as_mut() {
        Some(tid) => {
            let block = crate::store::tid::block_of(tid);
            (tid as pg_sys::ItemPointer, block)
        }
        None => (std::ptr::null_mut(), pg_sys::InvalidBlockNumber),
    };
    // SAFETY: open relation; the TID lives on our stack for the call.
    guarded(|| unsafe { CheckForSerializableConflictIn(rel, pointer, block) });
}

extern "C-unwind" {
    #[cfg_attr(not(feature = "pg15"), link_name = "expression_tree_mutator_impl")]
    fn expression_tree_mutator(
        node: *mut pg_sys::Node,
        mutator: Mutator,
        context: *mut std::ffi::c_void,
    ) -> *mut pg_sys::Node;
    #[cfg(not(feature = "pg18"))]
    fn lc_collate_is_c(collation: pg_sys::Oid) -> bool;
    #[cfg(not(feature = "pg18"))]
    fn lc_ctype_is_c(collation: pg_sys::Oid) -> bool;
    fn pg_newlocale_from_collation(collation: pg_sys::Oid) -> *const Locale;
}

/// `pg_locale_struct`, as it is for ICU.
#[repr(C)]
struct Locale {
    provider: std::ffi::c_char,
    _deterministic: bool,
    #[cfg(feature = "pg17")]
    _collate_is_c: bool,
    #[cfg(feature = "pg18")]
    collate_is_c: bool,
    #[cfg(feature = "pg17")]
    _ctype_is_c: bool,
    #[cfg(feature = "pg18")]
    ctype_is_c: bool,
    #[cfg(feature = "pg18")]
    _is_default: bool,
    #[cfg(feature = "pg18")]
    _methods: *const std::ffi::c_void,
    _name: *const std::ffi::c_char,
    collator: *const std::ffi::c_void,
}

/// ICU's collator of a collation, if it has one. It lives as long as the process.
pub fn icu_collator(collation: pg_sys::Oid) -> Option<*const std::ffi::c_void> {
    // SAFETY: a collation that exists; libc's default is a null pointer before 18. The provider says what is there.
    unsafe {
        let locale = guarded(|| pg_newlocale_from_collation(collation)).as_ref()?;
        (locale.provider as u8 == b'i').then_some(locale.collator)
    }
}

/// A function that replaces nodes of an expression.
pub type Mutator =
    unsafe extern "C-unwind" fn(*mut pg_sys::Node, *mut std::ffi::c_void) -> *mut pg_sys::Node;

/// Copies an expression, replacing its operands by what the mutator makes of them.
///
/// # Safety
/// A valid expression; the context is the mutator's.
pub unsafe fn tree_mutator(
    node: *mut pg_sys::Node,
    mutator: Mutator,
    context: *mut std::ffi::c_void,
) -> *mut pg_sys::Node {
    // SAFETY: passed on to the caller.
    unsafe { expression_tree_mutator(node, mutator, context) }
}

/// Whether a collation orders by bytes.
pub fn collation_is_c(collation: pg_sys::Oid) -> bool {
    // SAFETY: a collation of a planned expression exists.
    guarded(|| unsafe {
        #[cfg(not(feature = "pg18"))]
        return lc_collate_is_c(collation);
        #[cfg(feature = "pg18")]
        (*pg_newlocale_from_collation(collation)).collate_is_c
    })
}

/// Whether only ASCII letters have case under a collation; its order may be another locale's.
pub fn case_is_c(collation: pg_sys::Oid) -> bool {
    // SAFETY: a collation of a planned expression exists.
    guarded(|| unsafe {
        #[cfg(not(feature = "pg18"))]
        return lc_ctype_is_c(collation);
        #[cfg(feature = "pg18")]
        (*pg_newlocale_from_collation(collation)).ctype_is_c
    })
}

/// Whether the server was built with assertions.
pub fn server_asserts() -> bool {
    static ASSERTS: OnceLock<bool> = OnceLock::new();
    *ASSERTS.get_or_init(|| {
        // SAFETY: a setting that every server has; its value is a string of the server's.
        unsafe {
            let value = pg_sys::GetConfigOption(c"debug_assertions".as_ptr(), true, false);
            !value.is_null() && std::ffi::CStr::from_ptr(value) == c"on"
        }
    })
}
