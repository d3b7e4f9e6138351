// SPDX-License-Identifier: Apache-2.0
//! Whole relations: truncation, CLUSTER and VACUUM FULL, VACUUM, sizes and ANALYZE.
use crate::compact::cleanup;
use crate::heap_call;
use crate::options::settings;
use crate::pg::heapam::HeapView;
use crate::pg::toast::Toast;
use crate::pg::{self, attributes, compat};
use crate::store::directory_cache::{self, Totals};
use crate::store::{anchors, directory};
use crate::write::builder;
use pgrx::{pg_guard, pg_sys};

/// Puts this module's callbacks into the routine table.
pub fn install(table: &mut pg_sys::TableAmRoutine) {
    table.relation_nontransactional_truncate = Some(relation_nontransactional_truncate);
    table.relation_copy_for_cluster = Some(relation_copy_for_cluster);
    table.relation_vacuum = Some(relation_vacuum);
    table.relation_needs_toast_table = Some(relation_needs_toast_table);
    table.relation_toast_am = Some(relation_toast_am);
    table.relation_estimate_size = Some(relation_estimate_size);
    super::analyze::install(table);
}

/// Every doris table has a TOAST relation: it is the column store.
#[pg_guard]
unsafe extern "C-unwind" fn relation_needs_toast_table(_rel: pg_sys::Relation) -> bool {
    true
}

/// The TOAST relation is a heap in name too: tools that look at `relam` may treat it as what it is.
#[pg_guard]
unsafe extern "C-unwind" fn relation_toast_am(_rel: pg_sys::Relation) -> pg_sys::Oid {
    pg_sys::HEAP_TABLE_AM_OID
}

#[pg_guard]
unsafe extern "C-unwind" fn relation_nontransactional_truncate(rel: pg_sys::Relation) {
    builder::forget_relation(rel);
    // SAFETY: an open relation, exclusively locked. PostgreSQL rebuilds its indexes before it empties the TOAST
    // relation: the segments must be gone by then, or the indexes would hold their rows.
    unsafe {
        heap_call!(relation_nontransactional_truncate(rel));
        if let Some(toast) = Toast::open(rel, pg_sys::AccessExclusiveLock as i32) {
            pg_sys::heap_truncate_one_rel(toast.rel);
        }
    }
}

/// Gives the main relation a first block if it has none, so that ANALYZE, which goes by blocks, gets to the
/// segment rows.
pub fn ensure_first_block(rel: pg_sys::Relation) {
    // SAFETY: an open relation with a lock that allows writing; the new page is initialised and WAL-logged
    // under its exclusive lock.
    unsafe {
        let fork = pg_sys::ForkNumber::MAIN_FORKNUM;
        if pg_sys::RelationGetNumberOfBlocksInFork(rel, fork) > 0 {
            return;
        }
        pg_sys::LockRelationForExtension(rel, pg_sys::ExclusiveLock as i32);
        if pg_sys::RelationGetNumberOfBlocksInFork(rel, fork) == 0 {
            let buffer = pg_sys::ReadBufferExtended(
                rel,
                fork,
                pg_sys::InvalidBlockNumber,
                pg_sys::ReadBufferMode::RBM_ZERO_AND_LOCK,
                std::ptr::null_mut(),
            );
            // A critical section: a page that is changed and not logged must not outlive an error.
            pg_sys::CritSectionCount += 1;
            pg_sys::PageInit(pg_sys::BufferGetPage(buffer), pg_sys::BLCKSZ as usize, 0);
            pg_sys::MarkBufferDirty(buffer);
            if compat::needs_wal(rel) {
                pg_sys::log_newpage_buffer(buffer, true);
            }
            pg_sys::CritSectionCount -= 1;
            pg_sys::UnlockReleaseBuffer(buffer);
        }
        pg_sys::UnlockRelationForExtension(rel, pg_sys::ExclusiveLock as i32);
    }
}

/// What the segments that a snapshot sees come to.
pub fn segment_totals(rel: pg_sys::Relation, snapshot: pg_sys::Snapshot) -> Totals {
    let Some(toast) = Toast::open(rel, pg_sys::AccessShareLock as i32) else {
        return Totals::default();
    };
    totals_in(rel, &toast, snapshot)
}

fn totals_in(rel: pg_sys::Relation, toast: &Toast, snapshot: pg_sys::Snapshot) -> Totals {
    let segments = directory::all(rel, toast, snapshot);
    Totals::of(segments.iter().filter(|found| found.visible))
}

/// What the segments come to now, for the planner, which asks several times a statement.
pub fn totals_now(rel: pg_sys::Relation) -> Totals {
    let Some(toast) = Toast::open(rel, pg_sys::AccessShareLock as i32) else {
        return Totals::default();
    };
    // Segments that this backend is building count. While TRUNCATE rebuilds indexes, that of the new TOAST relation is
    // still the old one's.
    let known = match builder::any() || toast.blocks() == 0 {
        true => None,
        false => directory_cache::totals(rel, &toast),
    };
    known.unwrap_or_else(|| totals_in(rel, &toast, &raw mut pg_sys::SnapshotSelfData))
}

/// Rows of the segments that are not deleted.
pub fn live_segment_rows(rel: pg_sys::Relation, snapshot: pg_sys::Snapshot) -> u64 {
    let Some(toast) = Toast::open(rel, pg_sys::AccessShareLock as i32) else {
        return 0;
    };
    let segments = directory::all(rel, &toast, snapshot);
    segments
        .iter()
        .filter(|f| f.visible)
        .map(|f| {
            let entry = &f.entry;
            let dead = anchors::dead_positions(rel, &toast, entry.first_row, entry.rows, snapshot);
            u64::from(entry.rows) - dead.len() as u64
        })
        .sum()
}

#[pg_guard]
unsafe extern "C-unwind" fn relation_estimate_size(
    rel: pg_sys::Relation,
    attr_widths: *mut i32,
    pages: *mut pg_sys::BlockNumber,
    tuples: *mut f64,
    allvisfrac: *mut f64,
) {
    // SAFETY: valid out parameters from the planner.
    unsafe {
        heap_call!(relation_estimate_size(
            rel,
            attr_widths,
            pages,
            tuples,
            allvisfrac
        ));
        let Totals {
            rows,
            bytes,
            segments,
        } = totals_now(rel);
        if segments == 0 {
            return;
        }
        let heap_pages =
            pg_sys::RelationGetNumberOfBlocksInFork(rel, pg_sys::ForkNumber::MAIN_FORKNUM);
        let (density, heap_rows) = heap_part(rel, attr_widths, heap_pages, (rows, rows));
        *tuples = heap_rows + rows as f64;
        if !settings::vectorization() {
            // PostgreSQL's nodes form rows one by one, which costs them what reading a heap does: the table is judged
            // as a heap with the same rows, whose pages are as visible as those that there are.
            *pages = heap_pages.max((*tuples / density).ceil() as u32);
            return;
        }
        *pages = heap_pages + bytes.div_ceil(u64::from(pg_sys::BLCKSZ)) as u32;
        *allvisfrac = 0.0;
    }
}

/// How many rows are in a page of the heap, and how many in all of it. pg_class.reltuples counts segment rows too: what
/// it has beyond those of today are heap rows. Segments have so many rows, and so many of these are not deleted: where
/// some are, it is not known how many of them pg_class has counted, nor is it where a load since then has made it too
/// small. Then the heap's density is judged by the width of a row.
unsafe fn heap_part(
    rel: pg_sys::Relation,
    attr_widths: *mut i32,
    heap_pages: pg_sys::BlockNumber,
    (segment_rows, live_rows): (u64, u64),
) -> (f64, f64) {
    // SAFETY: an open relation and the planner's array of widths, or null.
    unsafe {
        let fixed = attributes::all(rel).all(|attribute| attribute.attlen > 0);
        let width = pg_sys::get_rel_data_width(rel, attr_widths).max(1);
        // As heapam's estimate: a header and a line pointer beside the row, whole rows in a page.
        let room = f64::from(pg_sys::BLCKSZ) - 24.0;
        let by_width = (room / f64::from((width + 24 + 7) / 8 * 8 + 4))
            .floor()
            .max(1.0);
        let class = (*rel).rd_rel;
        let counted = f64::from((*class).reltuples);
        // A float4 does not tell single rows of a large table apart.
        let beyond = |rows: u64| match counted - rows as f64 {
            few if few.abs() <= counted * 1e-6 => 0.0,
            rest => rest,
        };
        let (least, most) = (beyond(segment_rows), beyond(live_rows));
        let known_pages = f64::from((*class).relpages);
        if most < 0.0 || known_pages <= 0.0 {
            let rows = f64::from(heap_pages.saturating_sub(1)) * by_width;
            return (by_width, rows);
        }
        let known = (by_width * known_pages).clamp(least.max(0.0), most);
        let rows = known / known_pages * f64::from(heap_pages);
        // The last page is half full, more or less.
        let density = if fixed || known == 0.0 {
            by_width
        } else {
            known / (known_pages - 0.5)
        };
        (density, rows)
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn relation_vacuum(
    rel: pg_sys::Relation,
    params: *mut pg_sys::VacuumParams,
    bstrategy: pg_sys::BufferAccessStrategy,
) {
    // SAFETY: valid arguments from VACUUM.
    unsafe {
        let mut params = *params;
        let segments = segment_totals(rel, &raw mut pg_sys::SnapshotSelfData).segments;
        if segments > 0 {
            let fork = pg_sys::ForkNumber::MAIN_FORKNUM;
            if pg_sys::RelationGetNumberOfBlocksInFork(rel, fork) <= 1 {
                // It would be made anew each time, see below.
                params.truncate = pg_sys::VacOptValue::VACOPTVALUE_DISABLED;
            }
            leave_heap_rows(rel);
        }
        heap_call!(relation_vacuum(rel, &mut params, bstrategy));
        if segments > 0 {
            // Emptied pages at its end are cut off, maybe all of them.
            ensure_first_block(rel);
        }
        super::index_vacuum::indexes(rel, &params, bstrategy);
        if segments > 0 {
            add_segment_rows(rel);
        }
        cleanup::in_vacuum(rel);
    }
}

/// VACUUM takes the density of pages that it does not read from pg_class: leaves it the heap's rows in the relation
/// cache entry, which is read anew once VACUUM has written its own count.
unsafe fn leave_heap_rows(rel: pg_sys::Relation) {
    // SAFETY: an open relation under VACUUM's lock; its cache entry is this backend's own.
    unsafe {
        let class = (*rel).rd_rel;
        if (*class).reltuples < 0.0 {
            return;
        }
        let rows = segment_totals(rel, &raw mut pg_sys::SnapshotSelfData).rows;
        let live = live_segment_rows(rel, &raw mut pg_sys::SnapshotSelfData);
        let pages = (*class).relpages.max(0) as u32;
        let (_, heap_rows) = heap_part(rel, std::ptr::null_mut(), pages, (rows, live));
        (*class).reltuples = heap_rows as f32;
    }
}

/// VACUUM has set the table's statistics from the heap alone: adds the segment rows.
unsafe fn add_segment_rows(rel: pg_sys::Relation) {
    // SAFETY: an open relation under VACUUM's lock.
    unsafe {
        let rows = live_segment_rows(rel, &raw mut pg_sys::SnapshotSelfData);
        let id = pg::relation_id(rel);
        let tuple = pg_sys::SearchSysCacheCopy(
            pg_sys::SysCacheIdentifier::RELOID as i32,
            pg_sys::Datum::from(id),
            pg_sys::Datum::from(0),
            pg_sys::Datum::from(0),
            pg_sys::Datum::from(0),
        );
        if tuple.is_null() {
            return;
        }
        let form = crate::pg::form::<pg_sys::FormData_pg_class>(tuple);
        let heap_rows = (*form).reltuples.max(0.0);
        let total = f64::from(heap_rows) + rows as f64;
        compat::update_reltuples(
            rel,
            ((*form).relpages as u32).max(1),
            total,
            (*form).relallvisible as u32,
            (*form).relhasindex,
        );
        pg_sys::heap_freetuple(tuple);
        compat::report_vacuum(rel, total);
    }
}

/// How the heap's rows are copied in an index's order: by sorting, as a scan of the index would lead the heap to
/// segment rows. What is not a btree cannot be sorted by; such rows stay in the order they are in.
unsafe fn order_of_copy(
    old: pg_sys::Relation,
    index: pg_sys::Relation,
    use_sort: bool,
) -> (pg_sys::Relation, bool) {
    if index.is_null() || use_sort {
        return (index, use_sort);
    }
    if segment_totals(old, &raw mut pg_sys::SnapshotAnyData).segments == 0 {
        return (index, false);
    }
    // SAFETY: an open index.
    let btree = unsafe { (*(*index).rd_rel).relam } == pg_sys::BTREE_AM_OID;
    if btree {
        (index, true)
    } else {
        (std::ptr::null_mut(), false)
    }
}

#[pg_guard]
#[allow(clippy::too_many_arguments)]
unsafe extern "C-unwind" fn relation_copy_for_cluster(
    old: pg_sys::Relation,
    new: pg_sys::Relation,
    index: pg_sys::Relation,
    use_sort: bool,
    oldest_xmin: pg_sys::TransactionId,
    xid_cutoff: *mut pg_sys::TransactionId,
    multi_cutoff: *mut pg_sys::MultiXactId,
    num_tuples: *mut f64,
    tups_vacuumed: *mut f64,
    tups_recently_dead: *mut f64,
) {
    // SAFETY: valid arguments from CLUSTER, which holds the exclusive lock on both relations.
    unsafe {
        if let Some(rows) = super::rewrite::rewrite(old, new, index, oldest_xmin) {
            *num_tuples = rows;
            return;
        }
        {
            let (index, use_sort) = order_of_copy(old, index, use_sort);
            let _old = HeapView::of(old);
            let _new = HeapView::of(new);
            heap_call!(relation_copy_for_cluster(
                old,
                new,
                index,
                use_sort,
                oldest_xmin,
                xid_cutoff,
                multi_cutoff,
                num_tuples,
                tups_vacuumed,
                tups_recently_dead
            ));
        }
        let (Some(from), Some(to)) = (
            Toast::open(old, pg_sys::AccessExclusiveLock as i32),
            Toast::open(new, pg_sys::AccessExclusiveLock as i32),
        ) else {
            return;
        };
        let copied =
            super::cluster::copy_store(old, &from, &to, oldest_xmin, *xid_cutoff, *multi_cutoff);
        if copied {
            ensure_first_block(new);
            *num_tuples += live_segment_rows(old, &raw mut pg_sys::SnapshotSelfData) as f64;
        }
    }
}
