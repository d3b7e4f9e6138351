// SPDX-License-Identifier: Apache-2.0
//! Relations, their files, columns and indexes.
use pgrx::pg_sys;

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
