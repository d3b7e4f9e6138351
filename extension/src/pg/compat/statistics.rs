// SPDX-License-Identifier: Apache-2.0
//! What the planner and the statistics collector are told.
use pgrx::pg_sys;

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
