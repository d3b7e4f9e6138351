// SPDX-License-Identifier: Apache-2.0
//! Running statements: the executor, sorts, snapshots and waits.
use pgrx::pg_sys;

/// `tuplesort_getdatum`, forwards, by value; it has a copy flag from 16 on.
///
/// # Safety
/// A sorted tuplesort of by-value Datums.
pub unsafe fn tuplesort_getdatum(
    state: *mut pg_sys::Tuplesortstate,
    value: &mut pg_sys::Datum,
    null: &mut bool,
) -> bool {
    let abbrev = std::ptr::null_mut();
    // SAFETY: passed on to the caller.
    unsafe {
        #[cfg(feature = "pg15")]
        return pg_sys::tuplesort_getdatum(state, true, value, null, abbrev);
        #[cfg(not(feature = "pg15"))]
        pg_sys::tuplesort_getdatum(state, true, false, value, null, abbrev)
    }
}

/// Raises "snapshot too old" where VACUUM and compaction may have removed what an MVCC snapshot sees
/// (`old_snapshot_threshold`, up to 16). PostgreSQL asks page by page, which finds nothing where rows and their index
/// entries are gone: ours are asked of the snapshot's age alone.
#[inline]
pub fn refuse_old_snapshot(rel: pg_sys::Relation, snapshot: pg_sys::Snapshot) {
    #[cfg(any(feature = "pg15", feature = "pg16"))]
    // SAFETY: an open relation; a snapshot of PostgreSQL's, which notes when it was taken where the setting is on.
    unsafe {
        if pg_sys::old_snapshot_threshold >= 0
            && crate::pg::raw::is_mvcc(snapshot)
            && (*snapshot).lsn != 0
        {
            pg_sys::TestForOldSnapshot_impl(snapshot, rel);
        }
    }
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    let _ = (rel, snapshot);
}

/// The open relation of a range table entry that the query reads.
///
/// # Safety
/// A running query and one of its range table indexes.
pub unsafe fn range_table_relation(estate: *mut pg_sys::EState, rti: u32) -> pg_sys::Relation {
    // SAFETY: passed on to the caller.
    unsafe {
        #[cfg(feature = "pg18")]
        return pg_sys::ExecGetRangeTableRelation(estate, rti, false);
        #[cfg(not(feature = "pg18"))]
        pg_sys::ExecGetRangeTableRelation(estate, rti)
    }
}

/// Whether a running query has left out an entry of the range table: 18 neither locks nor opens partitions that pruning
/// at its start excludes.
///
/// # Safety
/// A running query's state.
pub unsafe fn is_left_out(estate: *mut pg_sys::EState, rti: u32) -> bool {
    #[cfg(feature = "pg18")]
    // SAFETY: passed on to the caller.
    return unsafe { !pg_sys::bms_is_member(rti as i32, (*estate).es_unpruned_relids) };
    #[cfg(not(feature = "pg18"))]
    {
        let _ = (estate, rti);
        false
    }
}

/// Whether PostgreSQL has pruned a table of a plan when the executor started, so that its scan must not begin: from 18
/// on. An Append prunes its inputs by itself.
///
/// # Safety
/// A plan of the query that is starting.
pub unsafe fn is_pruned(estate: *mut pg_sys::EState, plan: *mut pg_sys::Plan) -> bool {
    #[cfg(not(feature = "pg18"))]
    {
        let _ = (estate, plan);
        false
    }
    #[cfg(feature = "pg18")]
    // SAFETY: passed on to the caller; tags are checked before casts.
    unsafe {
        use pg_sys::NodeTag;
        if plan.is_null() {
            return false;
        }
        match (*plan).type_ {
            NodeTag::T_Append | NodeTag::T_MergeAppend => false,
            NodeTag::T_SubqueryScan => {
                is_pruned(estate, (*(plan as *mut pg_sys::SubqueryScan)).subplan)
            }
            NodeTag::T_SeqScan
            | NodeTag::T_SampleScan
            | NodeTag::T_IndexScan
            | NodeTag::T_IndexOnlyScan
            | NodeTag::T_BitmapHeapScan
            | NodeTag::T_TidScan
            | NodeTag::T_TidRangeScan
            | NodeTag::T_ForeignScan => {
                let rti = (*(plan as *mut pg_sys::Scan)).scanrelid as i32;
                rti > 0 && !pg_sys::bms_is_member(rti, (*estate).es_unpruned_relids)
            }
            _ => is_pruned(estate, (*plan).lefttree) || is_pruned(estate, (*plan).righttree),
        }
    }
}

/// The open relation behind an entry of the range table that the query changes.
///
/// # Safety
/// A running query's state, and an entry of its range table that is a result relation.
pub unsafe fn result_relation(estate: *mut pg_sys::EState, rti: u32) -> pg_sys::Relation {
    // SAFETY: passed on to the caller.
    unsafe {
        #[cfg(feature = "pg18")]
        return pg_sys::ExecGetRangeTableRelation(estate, rti, true);
        #[cfg(not(feature = "pg18"))]
        pg_sys::ExecGetRangeTableRelation(estate, rti)
    }
}

/// The columns that a statement inserts into a relation of its range table, by number above the system columns'.
///
/// # Safety
/// A finished statement and an entry of its range table that is a relation.
pub unsafe fn inserted_columns(
    stmt: *mut pg_sys::PlannedStmt,
    rte: *mut pg_sys::RangeTblEntry,
) -> *mut pg_sys::Bitmapset {
    // SAFETY: passed on to the caller.
    unsafe {
        #[cfg(feature = "pg15")]
        {
            let _ = stmt;
            (*rte).insertedCols
        }
        #[cfg(not(feature = "pg15"))]
        {
            if (*rte).perminfoindex == 0 {
                return std::ptr::null_mut();
            }
            (*pg_sys::getRTEPermissionInfo((*stmt).permInfos, rte)).insertedCols
        }
    }
}

/// Has PostgreSQL check no CHECK constraint of the rows that go to a target: each is taken for an empty one.
///
/// # Safety
/// A target of a running query whose memory context this is, before its first row.
pub unsafe fn leave_out_checks(target: *mut pg_sys::ResultRelInfo, context: pg_sys::MemoryContext) {
    // SAFETY: passed on to the caller; the array has an element a constraint.
    unsafe {
        let constraints = (*(*(*target).ri_RelationDesc).rd_att).constr;
        if constraints.is_null() || (*constraints).num_check == 0 {
            return;
        }
        let size =
            (*constraints).num_check as usize * std::mem::size_of::<*mut pg_sys::ExprState>();
        let none = pg_sys::MemoryContextAllocZero(context, size).cast();
        #[cfg(not(feature = "pg18"))]
        {
            (*target).ri_ConstraintExprs = none;
        }
        #[cfg(feature = "pg18")]
        {
            (*target).ri_CheckConstraintExprs = none;
        }
    }
}

/// Whether a transaction has ended, without waiting for it.
///
/// # Safety
/// Called within a transaction.
pub unsafe fn try_wait_for_transaction(xid: pg_sys::TransactionId) -> bool {
    // SAFETY: passed on to the caller.
    unsafe {
        #[cfg(feature = "pg18")]
        return pg_sys::ConditionalXactLockTableWait(xid, false);
        #[cfg(not(feature = "pg18"))]
        pg_sys::ConditionalXactLockTableWait(xid)
    }
}

/// Takes the heavyweight lock of a row if that is free.
///
/// # Safety
/// An open relation and a valid TID.
pub unsafe fn try_lock_tuple(
    rel: pg_sys::Relation,
    tid: pg_sys::ItemPointer,
    mode: pg_sys::LOCKMODE,
) -> bool {
    // SAFETY: passed on to the caller.
    unsafe {
        #[cfg(feature = "pg18")]
        return pg_sys::ConditionalLockTuple(rel, tid, mode, false);
        #[cfg(not(feature = "pg18"))]
        pg_sys::ConditionalLockTuple(rel, tid, mode)
    }
}

/// A wait of ours, as pg_stat_activity shows it. Before 17 it has no name of its own.
pub fn wait_event(name: &std::ffi::CStr) -> u32 {
    #[cfg(any(feature = "pg15", feature = "pg16"))]
    {
        let _ = name;
        pg_sys::PG_WAIT_EXTENSION
    }
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    // SAFETY: a name with a terminating zero, for a process with shared memory.
    unsafe {
        pg_sys::WaitEventExtensionNew(name.as_ptr())
    }
}
