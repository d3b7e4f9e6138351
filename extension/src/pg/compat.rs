// SPDX-License-Identifier: Apache-2.0
//! What differs between PostgreSQL 15, 16, 17 and 18.
use super::raw;
#[cfg(not(feature = "pg18"))]
pub use pg_sys::pqsignal;
#[cfg(feature = "pg18")]
pub use pg_sys::pqsignal_be as pqsignal;
use pgrx::pg_sys;

/// `index_beginscan`, which takes an instrumentation argument from 18 on.
///
/// # Safety
/// Open relations and a valid snapshot.
pub unsafe fn index_beginscan(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    snapshot: pg_sys::Snapshot,
    nkeys: i32,
) -> pg_sys::IndexScanDesc {
    // SAFETY: passed on to the caller.
    unsafe {
        #[cfg(feature = "pg18")]
        return pg_sys::index_beginscan(heap, index, snapshot, std::ptr::null_mut(), nkeys, 0);
        #[cfg(not(feature = "pg18"))]
        pg_sys::index_beginscan(heap, index, snapshot, nkeys, 0)
    }
}

/// Whether an aggregate trusts the planner that its rows come sorted by its ORDER BY or DISTINCT, as some do from 16 on.
pub fn is_presorted(aggref: &pg_sys::Aggref) -> bool {
    #[cfg(not(feature = "pg15"))]
    return aggref.aggpresorted;
    #[cfg(feature = "pg15")]
    {
        let _ = aggref;
        false
    }
}

/// The number that names a relation's main file within its database and tablespace.
pub fn file_number(rel: pg_sys::Relation) -> u32 {
    // SAFETY: callers pass an open relation.
    unsafe {
        #[cfg(feature = "pg15")]
        return (*rel).rd_node.relNode.to_u32();
        #[cfg(not(feature = "pg15"))]
        (*rel).rd_locator.relNumber.to_u32()
    }
}

/// Logs that what snapshots older than a transaction see is about to be removed: standbys cancel queries with such
/// snapshots. It is the record by which a btree says that of a page that it uses again; it names no page of interest.
///
/// The transaction id has its epoch in the upper half.
pub fn log_conflict(rel: pg_sys::Relation, xid: u64) {
    // XLOG_BTREE_REUSE_PAGE of access/nbtxlog.h.
    const REUSE_PAGE: u8 = 0xd0;
    // SAFETY: an open relation; XLogInsert copies the bytes.
    unsafe {
        if !needs_wal(rel) || pg_sys::wal_level < pg_sys::WalLevel::WAL_LEVEL_REPLICA as i32 {
            return;
        }
        #[cfg(feature = "pg15")]
        let (space, database) = ((*rel).rd_node.spcNode, (*rel).rd_node.dbNode);
        #[cfg(not(feature = "pg15"))]
        let (space, database) = ((*rel).rd_locator.spcOid, (*rel).rd_locator.dbOid);
        // xl_btree_reuse_page: file, block, transaction id, and from 16 on whether it is a catalogue.
        let mut record = Vec::with_capacity(25);
        for word in [space.to_u32(), database.to_u32(), file_number(rel), 0] {
            record.extend_from_slice(&word.to_ne_bytes());
        }
        record.extend_from_slice(&xid.to_ne_bytes());
        #[cfg(not(feature = "pg15"))]
        record.push(0);
        pg_sys::XLogBeginInsert();
        pg_sys::XLogRegisterData(record.as_mut_ptr().cast(), record.len() as _);
        pg_sys::XLogInsert(pg_sys::RmgrIds::RM_BTREE_ID as pg_sys::RmgrId, REUSE_PAGE);
    }
}

/// Says which table an index that is vacuumed belongs to.
pub fn set_heap(info: &mut pg_sys::IndexVacuumInfo, rel: pg_sys::Relation) {
    #[cfg(feature = "pg15")]
    let _ = (info, rel);
    #[cfg(not(feature = "pg15"))]
    {
        info.heaprel = rel;
    }
}

/// Pins block `block` of a relation if it is still in the buffer where it was; what `ReadBuffer` looks up is not needed
/// then.
pub fn read_recent_buffer(rel: pg_sys::Relation, block: u32, recent: pg_sys::Buffer) -> bool {
    // SAFETY: callers pass an open relation and a buffer that once was one of its blocks'.
    unsafe {
        #[cfg(feature = "pg15")]
        let file = (*rel).rd_node;
        #[cfg(not(feature = "pg15"))]
        let file = (*rel).rd_locator;
        pg_sys::ReadRecentBuffer(file, pg_sys::ForkNumber::MAIN_FORKNUM, block, recent)
    }
}

/// Attribute `i` (from 0) of a descriptor.
///
/// # Safety
/// A valid descriptor with more than `i` attributes.
pub unsafe fn attribute<'a>(
    desc: pg_sys::TupleDesc,
    i: usize,
) -> &'a pg_sys::FormData_pg_attribute {
    // SAFETY: passed on to the caller.
    unsafe {
        #[cfg(feature = "pg18")]
        return &*pg_sys::TupleDescAttr(desc, i as i32);
        #[cfg(not(feature = "pg18"))]
        &*(*desc).attrs.as_ptr().add(i)
    }
}

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

/// Ends a series of index inserts that shared an index info.
///
/// # Safety
/// An open index and the info that was used.
pub unsafe fn end_index_inserts(index: pg_sys::Relation, info: *mut pg_sys::IndexInfo) {
    // SAFETY: passed on to the caller.
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    unsafe {
        pg_sys::index_insert_cleanup(index, info);
    }
    #[cfg(not(any(feature = "pg17", feature = "pg18")))]
    let _ = (index, info);
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
            && super::raw::is_mvcc(snapshot)
            && (*snapshot).lsn != 0
        {
            pg_sys::TestForOldSnapshot_impl(snapshot, rel);
        }
    }
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    let _ = (rel, snapshot);
}

/// Whether changes of a relation are WAL-logged (`RelationNeedsWAL`).
///
/// # Safety
/// An open relation.
pub unsafe fn needs_wal(rel: pg_sys::Relation) -> bool {
    // SAFETY: passed on to the caller.
    unsafe {
        let permanent = (*(*rel).rd_rel).relpersistence as u8 == pg_sys::RELPERSISTENCE_PERMANENT;
        #[cfg(feature = "pg15")]
        let skipped = (*rel).rd_firstRelfilenodeSubid != 0;
        #[cfg(not(feature = "pg15"))]
        let skipped = (*rel).rd_firstRelfilelocatorSubid != 0;
        let minimal = pg_sys::wal_level < pg_sys::WalLevel::WAL_LEVEL_REPLICA as i32;
        permanent && !(minimal && ((*rel).rd_createSubid != 0 || skipped))
    }
}

/// Sets a relation's page and row counts, as VACUUM does.
///
/// # Safety
/// An open relation under a lock that forbids a concurrent VACUUM.
pub unsafe fn update_reltuples(
    rel: pg_sys::Relation,
    pages: u32,
    rows: f64,
    all_visible: u32,
    has_index: bool,
) {
    let (mut frozen, mut multi) = (false, false);
    // SAFETY: passed on; invalid cutoffs leave the frozen ids alone.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        pg_sys::vac_update_relstats(
            rel,
            pages,
            rows,
            all_visible,
            has_index,
            pg_sys::InvalidTransactionId,
            pg_sys::MultiXactId::from(0u32),
            &mut frozen,
            &mut multi,
            false,
        );
        #[cfg(feature = "pg18")]
        pg_sys::vac_update_relstats(
            rel,
            pages,
            rows,
            all_visible,
            0,
            has_index,
            pg_sys::InvalidTransactionId,
            pg_sys::MultiXactId::from(0u32),
            &mut frozen,
            &mut multi,
            false,
        );
    }
}

/// The statistics target of a column, if it has one of its own.
pub fn statistics_target(rel: pg_sys::Relation, attribute: i16) -> Option<i32> {
    let mut null = false;
    // SAFETY: a catalogue look-up of an open relation; a tuple that was found is released.
    let target = unsafe {
        let tuple = pg_sys::SearchSysCache(
            pg_sys::SysCacheIdentifier::ATTNUM as i32,
            pg_sys::Datum::from((*rel).rd_id),
            pg_sys::Datum::from(attribute),
            pg_sys::Datum::from(0),
            pg_sys::Datum::from(0),
        );
        if tuple.is_null() {
            return None;
        }
        let number = pg_sys::Anum_pg_attribute_attstattarget as pg_sys::AttrNumber;
        let cache = pg_sys::SysCacheIdentifier::ATTNUM as i32;
        let datum = pg_sys::SysCacheGetAttr(cache, tuple, number, &mut null);
        pg_sys::ReleaseSysCache(tuple);
        // An int4, from 17 on an int2 or NULL; -1 is the default before that.
        datum.value() as i16
    };
    (!null && target >= 0).then(|| i32::from(target))
}

/// Tells the statistics collector how many live rows VACUUM left.
///
/// # Safety
/// An open relation.
pub unsafe fn report_vacuum(rel: pg_sys::Relation, rows: f64) {
    // SAFETY: passed on to the caller.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        pg_sys::pgstat_report_vacuum((*rel).rd_id, (*(*rel).rd_rel).relisshared, rows as i64, 0);
        #[cfg(feature = "pg18")]
        {
            let now = pg_sys::GetCurrentTimestamp();
            pg_sys::pgstat_report_vacuum(
                (*rel).rd_id,
                (*(*rel).rd_rel).relisshared,
                rows as i64,
                0,
                now,
            );
        }
    }
}

/// Whether the current user owns a relation.
pub fn owns_relation(relid: pg_sys::Oid) -> bool {
    // SAFETY: plain catalogue look-ups.
    unsafe {
        #[cfg(feature = "pg15")]
        return pg_sys::pg_class_ownercheck(relid, pg_sys::GetUserId());
        #[cfg(not(feature = "pg15"))]
        pg_sys::object_ownercheck(pg_sys::RelationRelationId, relid, pg_sys::GetUserId())
    }
}

/// Counts rows that a scan has read.
///
/// # Safety
/// An open relation.
pub unsafe fn count_rows_read(rel: pg_sys::Relation, rows: usize) {
    // SAFETY: passed on; the statistics entry is pgstat's own when there is one.
    unsafe {
        if (*rel).pgstat_info.is_null() {
            if !(*rel).pgstat_enabled {
                return;
            }
            pg_sys::pgstat_assoc_relation(rel);
        }
        #[cfg(feature = "pg15")]
        {
            (*(*rel).pgstat_info).t_counts.t_tuples_returned += rows as i64;
        }
        #[cfg(not(feature = "pg15"))]
        {
            (*(*rel).pgstat_info).counts.tuples_returned += rows as i64;
        }
    }
}

/// Counts an update of a row.
///
/// # Safety
/// An open relation.
pub unsafe fn count_update(rel: pg_sys::Relation) {
    // SAFETY: passed on to the caller.
    unsafe {
        #[cfg(feature = "pg15")]
        pg_sys::pgstat_count_heap_update(rel, false);
        #[cfg(not(feature = "pg15"))]
        pg_sys::pgstat_count_heap_update(rel, false, false);
    }
}

/// Notes the bounds of a TID range scan.
pub fn set_tid_range(
    scan: &mut pg_sys::TableScanDescData,
    low: pg_sys::ItemPointerData,
    high: pg_sys::ItemPointerData,
) {
    #[cfg(not(feature = "pg18"))]
    {
        (scan.rs_mintid, scan.rs_maxtid) = (low, high);
    }
    #[cfg(feature = "pg18")]
    {
        scan.st.tidrange.rs_mintid = low;
        scan.st.tidrange.rs_maxtid = high;
    }
}

/// The bounds of a TID range scan.
///
/// # Safety
/// `set_tid_range` was called on the scan.
pub unsafe fn tid_range(
    scan: &pg_sys::TableScanDescData,
) -> (pg_sys::ItemPointerData, pg_sys::ItemPointerData) {
    #[cfg(not(feature = "pg18"))]
    return (scan.rs_mintid, scan.rs_maxtid);
    // SAFETY: the union holds the bounds, as the caller promises.
    #[cfg(feature = "pg18")]
    unsafe {
        (scan.st.tidrange.rs_mintid, scan.st.tidrange.rs_maxtid)
    }
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

/// What EXPLAIN shows of an expression in any plan node: 18 prints calls of window functions in WindowAgg nodes only, and
/// reports an error elsewhere, so that they become plain calls, without their windows.
///
/// # Safety
/// An expression that may be changed, or null.
pub unsafe fn shown_anywhere(node: *mut pg_sys::Node) -> *mut pg_sys::Node {
    #[cfg(not(feature = "pg18"))]
    return node;
    #[cfg(feature = "pg18")]
    // SAFETY: passed on to the caller; the tag tells the type.
    unsafe {
        if node.is_null() || (*node).type_ != pg_sys::NodeTag::T_WindowFunc {
            return node;
        }
        let function = node as *mut pg_sys::WindowFunc;
        pg_sys::makeFuncExpr(
            (*function).winfnoid,
            (*function).wintype,
            (*function).args,
            (*function).wincollid,
            (*function).inputcollid,
            pg_sys::CoercionForm::COERCE_EXPLICIT_CALL,
        )
        .cast()
    }
}

/// Whether a parsed DELETE has a RETURNING.
///
/// # Safety
/// A parsed statement.
pub unsafe fn returns_rows(delete: *const pg_sys::DeleteStmt) -> bool {
    // SAFETY: passed on to the caller.
    unsafe {
        #[cfg(feature = "pg18")]
        return !(*delete).returningClause.is_null();
        #[cfg(not(feature = "pg18"))]
        !(*delete).returningList.is_null()
    }
}

/// Whether a running query has left out an entry of the range table: 18 neither locks nor opens partitions that pruning at
/// its start excludes.
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

/// Whether PostgreSQL has pruned a table of a plan when the executor started, so that its scan must not begin: from 18 on.
/// An Append prunes its inputs by itself.
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

/// Which rows an action of MERGE is for.
pub enum Merges {
    /// Rows of the table that have a match in the source.
    Found,
    /// Rows of the source without a match.
    New,
    /// Rows of the table without a match, from 17 on.
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    Unmatched,
}

/// Which rows an action of MERGE is for.
///
/// # Safety
/// A valid action.
pub unsafe fn merges(action: *const pg_sys::MergeAction) -> Merges {
    // SAFETY: passed on to the caller.
    unsafe {
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        return match (*action).matchKind {
            pg_sys::MergeMatchKind::MERGE_WHEN_MATCHED => Merges::Found,
            pg_sys::MergeMatchKind::MERGE_WHEN_NOT_MATCHED_BY_TARGET => Merges::New,
            _ => Merges::Unmatched,
        };
        #[cfg(not(any(feature = "pg17", feature = "pg18")))]
        match (*action).matched {
            true => Merges::Found,
            false => Merges::New,
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

/// The index behind a relation's primary key, unless that is deferrable.
///
/// # Safety
/// An open relation.
pub unsafe fn primary_key(rel: pg_sys::Relation) -> pg_sys::Oid {
    // SAFETY: passed on to the caller.
    unsafe {
        #[cfg(feature = "pg18")]
        return pg_sys::RelationGetPrimaryKeyIndex(rel, false);
        #[cfg(not(feature = "pg18"))]
        pg_sys::RelationGetPrimaryKeyIndex(rel)
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

/// The user in whose name a statement uses a relation; invalid: the current one.
///
/// # Safety
/// A finished statement and an entry of its range table.
pub unsafe fn check_as_user(
    stmt: *mut pg_sys::PlannedStmt,
    rte: *mut pg_sys::RangeTblEntry,
) -> pg_sys::Oid {
    // SAFETY: passed on to the caller.
    unsafe {
        #[cfg(feature = "pg15")]
        {
            let _ = stmt;
            (*rte).checkAsUser
        }
        #[cfg(not(feature = "pg15"))]
        {
            if (*rte).perminfoindex == 0 {
                return pg_sys::InvalidOid;
            }
            (*pg_sys::getRTEPermissionInfo((*stmt).permInfos, rte)).checkAsUser
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

/// Whether the current user may drop what is in a relation's schema, whoever owns it.
pub fn owns_schema_of(relid: pg_sys::Oid) -> bool {
    // SAFETY: plain catalogue look-ups.
    unsafe {
        let schema = pg_sys::get_rel_namespace(relid);
        #[cfg(feature = "pg15")]
        return pg_sys::pg_namespace_ownercheck(schema, pg_sys::GetUserId());
        #[cfg(not(feature = "pg15"))]
        pg_sys::object_ownercheck(pg_sys::NamespaceRelationId, schema, pg_sys::GetUserId())
    }
}

/// The text of a String node.
///
/// # Safety
/// A String node.
pub unsafe fn string_value(node: *mut pg_sys::Node) -> String {
    // SAFETY: passed on to the caller.
    unsafe {
        let text = (*(node as *mut pg_sys::String)).sval;
        std::ffi::CStr::from_ptr(text)
            .to_string_lossy()
            .into_owned()
    }
}

/// `DefineIndex` for a table that the running command has made or altered, without a check of the user's rights.
///
/// # Safety
/// A valid statement about columns of the table.
pub unsafe fn define_index(table: pg_sys::Oid, statement: *mut pg_sys::IndexStmt) {
    let none = pg_sys::InvalidOid;
    // SAFETY: passed on to the caller.
    unsafe {
        #[cfg(feature = "pg15")]
        pg_sys::DefineIndex(
            table, statement, none, none, none, false, false, false, false, true,
        );
        #[cfg(not(feature = "pg15"))]
        pg_sys::DefineIndex(
            table, statement, none, none, none, -1, false, false, false, false, true,
        );
    }
}

/// What a table access method's update says of the index entries that the new version needs.
#[cfg(feature = "pg15")]
pub type UpdateIndexes = bool;
/// As above.
#[cfg(not(feature = "pg15"))]
pub type UpdateIndexes = pg_sys::TU_UpdateIndexes::Type;

/// All indexes, or none.
pub fn update_indexes(all: bool) -> UpdateIndexes {
    #[cfg(feature = "pg15")]
    return all;
    #[cfg(not(feature = "pg15"))]
    if all {
        pg_sys::TU_UpdateIndexes::TU_All
    } else {
        pg_sys::TU_UpdateIndexes::TU_None
    }
}

/// Whether the new version needs none, but perhaps in summarising indexes, which doris tables do not have.
pub fn needs_no_entries(update: UpdateIndexes) -> bool {
    #[cfg(feature = "pg15")]
    return !update;
    #[cfg(not(feature = "pg15"))]
    return update != pg_sys::TU_UpdateIndexes::TU_All;
}

/// Whether the user may call a function.
pub fn may_execute(function: pg_sys::Oid) -> bool {
    let mode = pg_sys::AclMode::from(pg_sys::ACL_EXECUTE);
    // SAFETY: look-ups in the catalogue.
    unsafe {
        let user = pg_sys::GetUserId();
        #[cfg(feature = "pg15")]
        let result = pg_sys::pg_proc_aclcheck(function, user, mode);
        #[cfg(not(feature = "pg15"))]
        let result = pg_sys::object_aclcheck(pg_sys::ProcedureRelationId, function, user, mode);
        result == pg_sys::AclResult::ACLCHECK_OK
    }
}

/// Checks the rights of the current user on the tables of a statement; an error if some are missing.
///
/// # Safety
/// A finished statement.
pub unsafe fn check_read_permissions(stmt: *mut pg_sys::PlannedStmt) {
    // SAFETY: passed on to the caller.
    unsafe {
        #[cfg(feature = "pg15")]
        pg_sys::ExecCheckRTPerms((*stmt).rtable, true);
        #[cfg(not(feature = "pg15"))]
        pg_sys::ExecCheckPermissions((*stmt).rtable, (*stmt).permInfos, true);
    }
}

/// Makes a query ask for no rights on the table that takes an entry's place: those on the original are checked.
///
/// # Safety
/// A query that may be changed, and an entry of its range table.
pub unsafe fn waive_permissions(
    query: *mut pg_sys::Query,
    entry: *mut pg_sys::RangeTblEntry,
    table: pg_sys::Oid,
) {
    // SAFETY: passed on to the caller.
    unsafe {
        #[cfg(feature = "pg15")]
        {
            let _ = (query, table);
            (*entry).requiredPerms = 0;
        }
        #[cfg(not(feature = "pg15"))]
        {
            let list = (*query).rteperminfos;
            if (*entry).perminfoindex > 0 {
                let info = pg_sys::list_nth(list, (*entry).perminfoindex as i32 - 1)
                    .cast::<pg_sys::RTEPermissionInfo>();
                (*info).relid = table;
                (*info).requiredPerms = 0;
            }
        }
    }
}

/// Whether this transaction holds a lock on a table that writing takes, or a stronger one.
pub fn may_have_written(relid: pg_sys::Oid) -> bool {
    let writes = pg_sys::RowExclusiveLock as i32..=pg_sys::AccessExclusiveLock as i32;
    let tag = pg_sys::LOCKTAG {
        // SAFETY: the database this process is connected to.
        locktag_field1: unsafe { pg_sys::MyDatabaseId.to_u32() },
        locktag_field2: relid.to_u32(),
        locktag_field3: 0,
        locktag_field4: 0,
        locktag_type: pg_sys::LockTagType::LOCKTAG_RELATION as u8,
        locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
    };
    writes.into_iter().any(|mode| {
        // SAFETY: a tag on our stack; the function only looks.
        unsafe {
            #[cfg(any(feature = "pg15", feature = "pg16"))]
            return pg_sys::LockHeldByMe(&tag, mode);
            #[cfg(not(any(feature = "pg15", feature = "pg16")))]
            pg_sys::LockHeldByMe(&tag, mode, false)
        }
    })
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

/// What EXPLAIN does with a query where no other extension does it: plans it, and shows the plan with the time and the
/// buffers that planning took. Before 17 PostgreSQL has no function for it. Errors pass through.
///
/// # Safety
/// The arguments of the hook on EXPLAIN.
pub unsafe fn explain_one_query(
    query: *mut pg_sys::Query,
    options: i32,
    into: *mut pg_sys::IntoClause,
    es: *mut pg_sys::ExplainState,
    text: *const std::ffi::c_char,
    params: pg_sys::ParamListInfo,
    env: *mut pg_sys::QueryEnvironment,
) {
    // SAFETY: passed on to the caller. Nothing in this frame needs dropping.
    unsafe {
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        raw::standard_ExplainOneQuery(query, options, into, es, text, params, env);
        #[cfg(not(any(feature = "pg17", feature = "pg18")))]
        {
            let before = pg_sys::pgBufferUsage;
            let start = std::time::Instant::now();
            let stmt = raw::pg_plan_query(query, text, options, params);
            let duration = instr_time(start.elapsed());
            let mut used = pg_sys::BufferUsage::default();
            pg_sys::BufferUsageAccumDiff(&mut used, &raw const pg_sys::pgBufferUsage, &before);
            let buffers = match (*es).buffers {
                true => &raw const used,
                false => std::ptr::null(),
            };
            raw::ExplainOnePlan(stmt, into, es, text, params, env, &duration, buffers);
        }
    }
}

/// A duration as PostgreSQL keeps it.
#[cfg(feature = "pg15")]
fn instr_time(duration: std::time::Duration) -> pg_sys::instr_time {
    pg_sys::instr_time {
        tv_sec: duration.as_secs() as i64,
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

/// A duration as PostgreSQL keeps it.
#[cfg(feature = "pg16")]
fn instr_time(duration: std::time::Duration) -> pg_sys::instr_time {
    pg_sys::instr_time {
        ticks: duration.as_nanos() as i64,
    }
}

/// A function that a walk calls for each node.
pub type TreeWalker =
    Option<unsafe extern "C-unwind" fn(*mut pg_sys::Node, *mut std::ffi::c_void) -> bool>;

/// Calls `walker` for each node right below one of the parser's.
///
/// # Safety
/// A node as the parser makes it.
pub unsafe fn raw_expression_tree_walker(
    node: *mut pg_sys::Node,
    walker: TreeWalker,
    context: *mut std::ffi::c_void,
) -> bool {
    #[cfg(feature = "pg15")]
    {
        extern "C-unwind" {
            fn raw_expression_tree_walker(
                node: *mut pg_sys::Node,
                walker: TreeWalker,
                context: *mut std::ffi::c_void,
            ) -> bool;
        }
        // SAFETY: the caller's promise.
        unsafe { raw_expression_tree_walker(node, walker, context) }
    }
    #[cfg(not(feature = "pg15"))]
    // SAFETY: the caller's promise.
    unsafe {
        pg_sys::raw_expression_tree_walker_impl(node, walker, context)
    }
}
