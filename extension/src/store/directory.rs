// SPDX-License-Identifier: Apache-2.0
//! Which segments a table has: directory tuples under ordinary MVCC, and the allocator of row and chunk
//! numbers, which is outside it (numbers handed out to a transaction that rolls back are never used again).
use super::chunk_ids;
use super::entry::{first_row_at, Allocator, Entry, SegmentState, ENTRY_BYTES, ROW_UNIT};
use super::tid::{tid, ROW_NUMBERS};
use crate::pg::toast::{Toast, Version, XactStatus, INSERT_FROZEN};
use crate::pg::{self, compat, raw, Corrupt};
use pgrx::pg_sys;

/// A directory tuple as found.
#[derive(Clone, Copy, Debug)]
pub struct FoundSegment {
    /// The segment.
    pub entry: Entry,
    /// The transaction that made it.
    pub xmin: pg_sys::TransactionId,
    /// What became of that transaction.
    pub writer: XactStatus,
    /// Command of this transaction that made it, when `writer` is `Own`.
    pub cmin: pg_sys::CommandId,
    /// Whether the snapshot that was asked with sees it.
    pub visible: bool,
    /// Who retired it, if anybody did.
    pub deleter: Option<(pg_sys::TransactionId, XactStatus)>,
    /// Where the tuple is.
    pub at: pg_sys::ItemPointerData,
}

impl FoundSegment {
    /// Whether no snapshot can see it any more: its chunks may be gone.
    pub fn is_gone(&self, main: pg_sys::Relation) -> bool {
        // SAFETY: an open relation.
        self.deleter.is_some_and(|(xid, status)| unsafe {
            status == XactStatus::Committed && pg_sys::GlobalVisCheckRemovableXid(main, xid)
        })
    }
}

fn found(main: pg_sys::Relation, version: &Version, snapshot: pg_sys::Snapshot) -> FoundSegment {
    checked(version, snapshot).unwrap_or_else(|error| {
        let first_row = first_row_at(version.seq());
        pg::report_corrupt(main, format!("segment at row {first_row}: {error}"))
    })
}

/// The entry of a tuple. Its writer may be changing it in place: what looks damaged is looked at again with the page
/// locked.
fn entry_of(version: &Version) -> Result<Entry, Corrupt> {
    // One byte more than an entry has, so that a payload that is too long looks damaged too.
    let mut copy = [0; ENTRY_BYTES + 1];
    let payload = version.payload();
    let length = payload.len().min(copy.len());
    copy[..length].copy_from_slice(&payload[..length]);
    Entry::decode_at(&copy[..length], version.seq())
        .or_else(|_| Entry::decode_at(&version.payload_unchanging(), version.seq()))
}

fn checked(version: &Version, snapshot: pg_sys::Snapshot) -> Result<FoundSegment, Corrupt> {
    let entry = entry_of(version)?;
    let visible = version.visible(snapshot);
    let writer = version.writer_status();
    Ok(FoundSegment {
        entry,
        xmin: version.raw_xmin(),
        writer,
        cmin: if writer == XactStatus::Own {
            version.cmin()
        } else {
            0
        },
        visible,
        deleter: version.deleter(),
        at: version.tid(),
    })
}

/// Every directory tuple, in row order, judged by a snapshot.
pub fn all(main: pg_sys::Relation, toast: &Toast, snapshot: pg_sys::Snapshot) -> Vec<FoundSegment> {
    compat::refuse_old_snapshot(main, snapshot);
    let mut segments = Vec::new();
    each(toast, |version| {
        segments.push(found(main, version, snapshot))
    });
    segments
}

/// As [`all`]; what is wrong with those tuples that are damaged goes to `problems`, with the number of the first row.
pub fn all_sound(
    toast: &Toast,
    snapshot: pg_sys::Snapshot,
    problems: &mut Vec<(Option<i64>, String)>,
) -> Vec<FoundSegment> {
    let mut segments = Vec::new();
    each(toast, |version| match checked(version, snapshot) {
        Ok(found) => segments.push(found),
        Err(error) => {
            let first_row = first_row_at(version.seq()) as i64;
            problems.push((Some(first_row), error.to_string()));
        }
    });
    segments
}

fn each(toast: &Toast, mut visit: impl FnMut(&Version)) {
    if toast.blocks() == 0 {
        // While TRUNCATE rebuilds the table's indexes, that of the new, empty TOAST relation is still the old one.
        return;
    }
    toast.scan(chunk_ids::DIRECTORY, 0, i32::MAX, false, |version| {
        visit(version);
        true
    });
}

/// Whether a table has no segment: none that is committed, or that this transaction made.
pub fn is_empty(toast: &Toast) -> bool {
    let mut empty = true;
    if toast.blocks() > 0 {
        let now = &raw mut pg_sys::SnapshotSelfData;
        toast.scan(chunk_ids::DIRECTORY, 0, i32::MAX, false, |version| {
            empty = !version.visible(now);
            empty
        });
    }
    empty
}

/// Notes that a table is about to get a segment. With the first one, plans that others keep of statements over it are
/// made anew: they were made for a table that the engine has nothing to do with.
pub fn gets_segment(main: pg_sys::Relation, toast: &Toast) {
    if is_empty(toast) {
        // SAFETY: an open relation. Takes effect when the transaction commits.
        unsafe { pg_sys::CacheInvalidateRelcache(main) };
    }
}

/// The segments that a snapshot sees, in row order.
pub fn visible(
    main: pg_sys::Relation,
    toast: &Toast,
    snapshot: pg_sys::Snapshot,
) -> Vec<FoundSegment> {
    let mut segments = all(main, toast, snapshot);
    segments.retain(|found| {
        refuse_unfinished(main, found, snapshot);
        if !found.visible && found.writer != XactStatus::Aborted && raw::is_mvcc(snapshot) {
            raw::conflict_out(main, found.xmin, snapshot);
        }
        found.visible
    });
    segments
}

/// A transaction finishes its segments before it commits: one that a snapshot sees, and that is not finished, is
/// damaged.
fn refuse_unfinished(main: pg_sys::Relation, found: &FoundSegment, snapshot: pg_sys::Snapshot) {
    let unfinished =
        found.entry.state == SegmentState::Building && found.writer == XactStatus::Committed;
    if unfinished && found.visible && raw::is_mvcc(snapshot) {
        let first_row = found.entry.first_row;
        // Who rewrites a table writes entries that everybody would see, in a file that nobody else does.
        if crate::write::builder::rows(compat::file_number(main), first_row).is_none() {
            pg::report_corrupt(
                main,
                format!("segment at row {first_row} was never finished"),
            );
        }
    }
}

/// The segment that owns a row number, judged by a snapshot; `None` when no tuple of it is left.
pub fn owner(
    main: pg_sys::Relation,
    toast: &Toast,
    row: u64,
    snapshot: pg_sys::Snapshot,
) -> Option<FoundSegment> {
    compat::refuse_old_snapshot(main, snapshot);
    let mut result = None;
    toast.scan(
        chunk_ids::DIRECTORY,
        0,
        (row / ROW_UNIT) as i32,
        true,
        |version| {
            let candidate = found(main, version, snapshot);
            if candidate.entry.covers(row) {
                result = Some(candidate);
            }
            false
        },
    );
    result
}

/// Reserves row numbers (rounded up to whole units) and chunk numbers; returns the first of each and the
/// number of rows reserved.
pub fn reserve(main: pg_sys::Relation, toast: &Toast, rows: u64, chunks: u64) -> (u64, u64, u64) {
    let rows = rows.next_multiple_of(ROW_UNIT);
    let at = allocator_tid(main, toast);
    let mut result = None;
    toast.change_in_place(at, |bytes| {
        if let Ok(mut allocator) = Allocator::decode(bytes) {
            result = Some((allocator.next_row, allocator.next_chunk));
            allocator.next_row += rows;
            allocator.next_chunk += chunks;
            bytes.copy_from_slice(&allocator.encode());
        }
    });
    let Some((first_row, first_chunk)) = result else {
        pg::report_corrupt(main, "corrupt row number allocator");
    };
    if first_row + rows > ROW_NUMBERS || first_chunk + chunks >= 3072 << 31 {
        pgrx::ereport!(
            ERROR,
            pgrx::PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            format!(
                "table \"{}\" has used up its row numbers",
                pg::relation_name(main)
            ),
            "VACUUM FULL numbers its rows anew."
        );
    }
    (first_row, first_chunk, rows)
}

/// A number for a bulk delete, which sets its tuples apart from those of others.
pub fn serial(main: pg_sys::Relation, toast: &Toast) -> u32 {
    let at = allocator_tid(main, toast);
    let mut result = None;
    toast.change_in_place(at, |bytes| {
        if let Ok(mut allocator) = Allocator::decode(bytes) {
            result = Some(allocator.next_serial);
            allocator.next_serial = (allocator.next_serial + 1) & 0x7fff_ffff;
            bytes.copy_from_slice(&allocator.encode());
        }
    });
    result.unwrap_or_else(|| pg::report_corrupt(main, "corrupt row number allocator"))
}

/// One more than the largest row number ever handed out.
pub fn rows_end(main: pg_sys::Relation, toast: &Toast) -> u64 {
    let mut end = 0;
    toast.scan(chunk_ids::ALLOCATOR, 0, 0, false, |version| {
        let allocator = Allocator::decode(version.payload());
        end = allocator
            .unwrap_or_else(|e| pg::report_corrupt(main, e))
            .next_row;
        false
    });
    end
}

/// Gives back row numbers that a segment did not need, when nobody has reserved others since.
pub fn give_back(main: pg_sys::Relation, toast: &Toast, used_end: u64, reserved_end: u64) {
    let used_end = used_end.next_multiple_of(ROW_UNIT);
    if used_end >= reserved_end {
        return;
    }
    let at = allocator_tid(main, toast);
    toast.change_in_place(at, |bytes| {
        if let Ok(mut allocator) = Allocator::decode(bytes) {
            if allocator.next_row == reserved_end {
                allocator.next_row = used_end;
                bytes.copy_from_slice(&allocator.encode());
            }
        }
    });
}

fn find_allocator(toast: &Toast) -> Option<pg_sys::ItemPointerData> {
    let mut at = None;
    toast.scan(chunk_ids::ALLOCATOR, 0, 0, false, |version| {
        at = Some(version.tid());
        false
    });
    at
}

/// The allocator and where it is; `None` as long as nobody has needed one.
pub fn allocator(
    main: pg_sys::Relation,
    toast: &Toast,
) -> Option<(pg_sys::ItemPointerData, Allocator)> {
    let mut found = None;
    toast.scan(chunk_ids::ALLOCATOR, 0, 0, false, |version| {
        found = Some(version.tid());
        false
    });
    let at = found?;
    let state = allocator_at(toast, at, &mut 0);
    let state = state.unwrap_or_else(|| pg::report_corrupt(main, "corrupt row number allocator"));
    Some((at, state))
}

/// The allocator at a place; `None` when it is not there. The buffer that `recent` names (0: none) is looked into
/// first.
pub fn allocator_at(
    toast: &Toast,
    at: pg_sys::ItemPointerData,
    recent: &mut pg_sys::Buffer,
) -> Option<Allocator> {
    toast.read_locked(at, (chunk_ids::ALLOCATOR, 0), recent, |bytes| {
        Allocator::decode(bytes).ok()
    })?
}

/// The allocator tuple; made, frozen, by the first who needs it.
fn allocator_tid(main: pg_sys::Relation, toast: &Toast) -> pg_sys::ItemPointerData {
    if let Some(at) = find_allocator(toast) {
        return at;
    }
    let mut mutex = tid(u32::MAX - 1, 1);
    let lockmode = pg_sys::ExclusiveLock as i32;
    // SAFETY: open relation. No row has this TID: it serialises the creation of the allocator.
    unsafe { pg_sys::LockTuple(main, &mut mutex, lockmode) };
    let at = find_allocator(toast).unwrap_or_else(|| {
        // SAFETY: plain call.
        let cid = unsafe { pg_sys::GetCurrentCommandId(true) };
        let payload = Allocator::default().encode();
        toast.insert(
            (chunk_ids::ALLOCATOR, 0),
            &payload,
            cid,
            INSERT_FROZEN,
            std::ptr::null_mut(),
        )
    });
    // SAFETY: as above.
    unsafe { pg_sys::UnlockTuple(main, &mut mutex, lockmode) };
    at
}
