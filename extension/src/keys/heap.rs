// SPDX-License-Identifier: Apache-2.0
//! Rows of a key in the heap: found by the key index at the latest state, open transactions included, and
//! replaced or deleted without waiting, since that is done under the registration lock.
use super::index_shell::{self, HeapOnly};
use super::key_encoding::Keys;
use super::model::Model;
use super::probe::dirty_snapshot;
use crate::compact::{pause, shared_state as compaction};
use crate::heap_call;
use crate::pg::raw::Registered;
use crate::pg::toast;
use crate::pg::{self, compat, heapam, raw};
use crate::store::tid::block_of;
use pg_sys::TM_Result::{self, TM_BeingModified, TM_Ok, TM_WouldBlock};
use pgrx::pg_sys;
use pgrx::PgSqlErrorCode;
use std::cell::RefCell;

/// Whom to wait for, and how.
#[derive(Clone, Copy, Debug)]
pub struct OpenXact {
    /// A transaction that is still open.
    pub xid: pg_sys::TransactionId,
    /// Its insertion may be over before the transaction is.
    pub token: u32,
}

impl OpenXact {
    /// Waits, without the registration lock.
    pub fn wait(self, rel: pg_sys::Relation) {
        if self.token != 0 {
            // SAFETY: plain call.
            unsafe { pg_sys::SpeculativeInsertionWait(self.xid, self.token) };
            return;
        }
        let any = crate::store::tid::tid(0, 1);
        toast::wait_for(self.xid, rel, any, pg_sys::XLTW_Oper::XLTW_InsertIndex);
    }
}

/// A live row of the heap.
#[derive(Clone, Copy, Debug)]
pub struct LiveRow {
    /// Where it is.
    pub tid: pg_sys::ItemPointerData,
    /// The command that inserted it, if this transaction did.
    pub own: Option<pg_sys::CommandId>,
    /// Whether the transaction's snapshot sees it; asked only where that matters.
    pub seen: bool,
}

/// Who has the key, at this moment.
#[derive(Clone, Copy, Debug)]
pub enum Holder {
    /// Nobody.
    None,
    /// A transaction that is still open has written or deleted it.
    Open(OpenXact),
    /// A row that is committed or this transaction's own.
    Row(LiveRow),
}

/// A search of the key index, for many keys.
pub struct Search {
    rel: pg_sys::Relation,
    /// The key index.
    pub index: pg_sys::Relation,
    scan: pg_sys::IndexScanDesc,
    slot: *mut pg_sys::TupleTableSlot,
    snapshot: Box<pg_sys::SnapshotData>,
    keys: Vec<pg_sys::ScanKeyData>,
    /// A row must be in the transaction's snapshot.
    strict: bool,
}

impl Search {
    /// Opens the key index of a table.
    pub fn open(rel: pg_sys::Relation, model: &Model, index: pg_sys::Oid) -> Self {
        let mut snapshot = Box::new(dirty_snapshot());
        // SAFETY: an open relation with a lock; the scan ends in Drop, or with its resource owner and memory
        // context on error. The snapshot stays at its address.
        unsafe {
            let index = pg_sys::index_open(index, pg_sys::RowExclusiveLock as i32);
            let count = model.columns.len() as i32;
            let scan = compat::index_beginscan(rel, index, &mut *snapshot, count);
            let slot = pg_sys::MakeSingleTupleTableSlot(
                (*rel).rd_att,
                &raw const pg_sys::TTSOpsBufferHeapTuple,
            );
            let keys = (0..model.columns.len())
                .map(|i| equality(index, i))
                .collect();
            Self {
                rel,
                index,
                scan,
                slot,
                snapshot,
                keys,
                strict: pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32,
            }
        }
    }

    /// Whether the key index has never had an entry.
    pub fn is_empty(&self) -> bool {
        let fork = pg_sys::ForkNumber::MAIN_FORKNUM;
        // SAFETY: an open index; a btree without entries has its meta page only.
        unsafe { pg_sys::RelationGetNumberOfBlocksInFork(self.index, fork) <= 1 }
    }

    /// Entries that the key index has at most, about.
    pub fn entries_at_most(&self) -> u64 {
        const ENTRIES: u64 = 400;
        let fork = pg_sys::ForkNumber::MAIN_FORKNUM;
        // SAFETY: an open index.
        let blocks = unsafe { pg_sys::RelationGetNumberOfBlocksInFork(self.index, fork) };
        u64::from(blocks) * ENTRIES
    }

    /// Which of some keys, sorted and unique, somebody may have in the heap now; ascending. The caller holds the
    /// registration lock exclusively, so that no row moves meanwhile: whoever makes an entry takes the registration
    /// lock before it commits.
    pub fn present(&mut self, model: &Model, keys: &Keys) -> Vec<usize> {
        let _heap_only = HeapOnly::begin();
        let mut present = Vec::new();
        // SAFETY: a scan of the whole index of its own, ended here; the slot is deformed before its arrays are read.
        unsafe {
            *self.snapshot = dirty_snapshot();
            let scan = compat::index_beginscan(self.rel, self.index, &mut *self.snapshot, 0);
            let none = std::ptr::null_mut();
            pg_sys::index_rescan(scan, none, 0, none, 0);
            let forward = pg_sys::ScanDirection::ForwardScanDirection;
            while pg_sys::index_getnext_slot(scan, forward, self.slot) {
                pg_sys::slot_getallattrs(self.slot);
                let values = model.key_values((*self.slot).tts_values, (*self.slot).tts_isnull);
                let key = Keys::of_row(model, &values);
                present.extend(keys.find(0..keys.len(), &key, 0));
                pgrx::check_for_interrupts!();
            }
            pg_sys::ExecClearTuple(self.slot);
            pg_sys::index_endscan(scan);
        }
        present.sort_unstable();
        present.dedup();
        present
    }

    /// Who has a key in the heap now.
    ///
    /// A row may move while its key is searched: an UPDATE makes an entry where the search has been, and commits before
    /// the search looks at the old row. So a pass over the entries that finds nobody, but a dead row, counts only if
    /// that row was dead when the pass began.
    ///
    /// # Safety
    /// A value for each key column, of its type.
    pub unsafe fn find(&mut self, values: &[(pg_sys::Datum, bool)]) -> Holder {
        let _heap_only = HeapOnly::begin();
        for (key, (value, null)) in self.keys.iter_mut().zip(values) {
            let nulls = (pg_sys::SK_ISNULL | pg_sys::SK_SEARCHNULL) as i32;
            key.sk_flags = if *null { nulls } else { 0 };
            key.sk_argument = if *null {
                pg_sys::Datum::from(0)
            } else {
                *value
            };
        }
        let mut before = None;
        loop {
            // SAFETY: the keys hold values of the columns' types.
            if let Some(holder) = unsafe { self.pass(before.as_ref()) } {
                return holder;
            }
            pgrx::check_for_interrupts!();
            before = Some(Registered::latest());
        }
    }

    /// One pass over the entries of the key; `None` when a row died that was alive before.
    unsafe fn pass(&mut self, before: Option<&Registered>) -> Option<Holder> {
        // SAFETY: the scan, its keys and the slot are ours; the tuple is pinned by the slot while it is read.
        unsafe {
            *self.snapshot = dirty_snapshot();
            let count = self.keys.len() as i32;
            let null = std::ptr::null_mut();
            pg_sys::index_rescan(self.scan, self.keys.as_mut_ptr(), count, null, 0);
            let forward = pg_sys::ScanDirection::ForwardScanDirection;
            let mut sure = true;
            while !pg_sys::index_getnext_tid(self.scan, forward).is_null() {
                pause::at("entry");
                if pg_sys::index_fetch_heap(self.scan, self.slot) {
                    let holder = self.holder();
                    pg_sys::ExecClearTuple(self.slot);
                    return Some(holder);
                }
                sure = sure && before.is_some_and(|before| self.was_dead(before));
            }
            sure.then_some(Holder::None)
        }
    }

    /// Whether all versions that the scan's current entry leads to, none of which is alive, were dead before.
    unsafe fn was_dead(&mut self, before: &Registered) -> bool {
        // SAFETY: the scan is at an entry; what is changed in it is put back. The tuple is pinned while it is read.
        unsafe {
            let (snapshot, kill) = ((*self.scan).xs_snapshot, (*self.scan).kill_prior_tuple);
            (*self.scan).xs_snapshot = &raw mut pg_sys::SnapshotAnyData;
            let mut all = true;
            while all && pg_sys::index_fetch_heap(self.scan, self.slot) {
                let slot = self.slot as *mut pg_sys::BufferHeapTupleTableSlot;
                let mut header = heapam::header_of((*slot).base.tuple, (*slot).buffer);
                let deleter = heapam::changer(&mut header);
                all = deleter.is_none_or(|xid| !committed_since(before, xid));
                if !(*self.scan).xs_heap_continue {
                    break;
                }
            }
            pg_sys::ExecClearTuple(self.slot);
            (*self.scan).xs_heap_continue = false;
            (*self.scan).xs_snapshot = snapshot;
            (*self.scan).kill_prior_tuple = kill;
            all
        }
    }

    unsafe fn holder(&self) -> Holder {
        // SAFETY: the slot holds a pinned heap tuple.
        unsafe {
            let none = pg_sys::InvalidTransactionId;
            if self.snapshot.xmin != none {
                return Holder::Open(OpenXact {
                    xid: self.snapshot.xmin,
                    token: self.snapshot.speculativeToken,
                });
            }
            if self.snapshot.xmax != none {
                return Holder::Open(OpenXact {
                    xid: self.snapshot.xmax,
                    token: 0,
                });
            }
            let tuple = (*(self.slot as *mut pg_sys::BufferHeapTupleTableSlot))
                .base
                .tuple;
            let header = (*tuple).t_data;
            let frozen = u32::from((*header).t_infomask) & pg_sys::HEAP_XMIN_FROZEN
                == pg_sys::HEAP_XMIN_FROZEN;
            let xmin = (*header).t_choice.t_heap.t_xmin;
            let own = (!frozen && pg_sys::TransactionIdIsCurrentTransactionId(xmin))
                .then(|| pg_sys::HeapTupleHeaderGetCmin(header));
            let seen = own.is_some() || !self.strict || {
                let snapshot = pg_sys::GetTransactionSnapshot();
                heap_call!(tuple_satisfies_snapshot(self.rel, self.slot, snapshot))
            };
            Holder::Row(LiveRow {
                tid: (*self.slot).tts_tid,
                own,
                seen,
            })
        }
    }
}

/// Whether a transaction committed after a snapshot was taken.
fn committed_since(before: &Registered, xid: pg_sys::TransactionId) -> bool {
    // SAFETY: a registered snapshot.
    unsafe {
        pg_sys::TransactionIdDidCommit(xid) && pg_sys::XidInMVCCSnapshot(xid, before.snapshot())
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // SAFETY: opened in `open`.
        unsafe {
            pg_sys::ExecDropSingleTupleTableSlot(self.slot);
            pg_sys::index_endscan(self.scan);
            pg_sys::index_close(self.index, pg_sys::NoLock as i32);
        }
    }
}

/// The scan key "equals" of a column of an index.
unsafe fn equality(index: pg_sys::Relation, column: usize) -> pg_sys::ScanKeyData {
    // SAFETY: an open btree index with this column.
    unsafe {
        let family = *(*index).rd_opfamily.add(column);
        let of = *(*index).rd_opcintype.add(column);
        let strategy = pg_sys::BTEqualStrategyNumber as i16;
        let operator = pg_sys::get_opfamily_member(family, of, of, strategy);
        let mut key = pg_sys::ScanKeyData::default();
        pg_sys::ScanKeyEntryInitialize(
            &mut key,
            0,
            column as i16 + 1,
            pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber,
            pg_sys::InvalidOid,
            *(*index).rd_indcollation.add(column),
            pg_sys::get_opcode(operator),
            pg_sys::Datum::from(0),
        );
        key
    }
}

/// The command id with which a row that this transaction's command `own` inserted can be replaced: rows of one
/// command can replace each other, which PostgreSQL's own statements never do, so the command is counted up.
pub fn command_over(own: Option<pg_sys::CommandId>, cid: pg_sys::CommandId) -> pg_sys::CommandId {
    let Some(cmin) = own.filter(|cmin| *cmin >= cid) else {
        return cid;
    };
    // SAFETY: plain calls.
    unsafe {
        if cmin >= pg_sys::GetCurrentCommandId(true) {
            pg_sys::CommandCounterIncrement();
        }
        pg_sys::GetCurrentCommandId(true)
    }
}

/// As [`command_over`], for a row that gives way. Raises an error where a command that is reading sees the new row of a
/// load around it, but would go on to see the old one: that was written by a later command than the load's.
fn command_to_end(
    rel: pg_sys::Relation,
    own: Option<pg_sys::CommandId>,
    cid: pg_sys::CommandId,
) -> pg_sys::CommandId {
    let over = command_over(own, cid);
    // SAFETY: the active snapshot, if there is one.
    let reader =
        unsafe { pg_sys::ActiveSnapshotSet().then(|| (*pg_sys::GetActiveSnapshot()).curcid) };
    if over != cid && reader.is_some_and(|reader| cid < reader && reader <= over) {
        pg::refuse(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!(
                "cannot read or change table \"{}\" within the statement that loads it: both have written rows of one key",
                pg::relation_name(rel)
            ),
            "Turn doris.enable_bulk_load off: the statement then writes row by row.",
        );
    }
    over
}

/// Replaces a heap row by the slot's, without waiting; makes its entry in the key index.
///
/// # Safety
/// A slot of the relation's row type; `values` as for [`Search::find`].
#[allow(non_upper_case_globals)] // PostgreSQL's names
pub unsafe fn replace(
    rel: pg_sys::Relation,
    index: pg_sys::Relation,
    (old, mode): (LiveRow, pg_sys::LockTupleMode::Type),
    slot: *mut pg_sys::TupleTableSlot,
    values: &[(pg_sys::Datum, bool)],
    cid: pg_sys::CommandId,
) -> TM_Result::Type {
    let end = command_to_end(rel, old.own, cid);
    let mut tid = old.tid;
    let mut locked = is_locked(rel, &tid);
    if !locked && raw::server_asserts() {
        // Told not to wait, `heap_update` tells of others' locks, but asserts that there are none.
        let skip = pg_sys::LockWaitPolicy::LockWaitSkip;
        match lock(rel, old, mode, cid, skip) {
            TM_Ok => locked = true,
            TM_WouldBlock => return TM_BeingModified,
            other => return other,
        }
    }
    // SAFETY: out parameters on our stack; the rest is passed on.
    unsafe {
        let mut tmfd = pg_sys::TM_FailureData::default();
        let mut mode = 0;
        let mut update_indexes = compat::UpdateIndexes::default();
        let none = std::ptr::null_mut();
        let result = heap_call!(tuple_update(
            rel,
            &mut tid,
            slot,
            end,
            none,
            none,
            locked,
            &mut tmfd,
            &mut mode,
            &mut update_indexes
        ));
        if result != TM_Ok {
            return result;
        }
        let new = (*slot).tts_tid;
        let heap_only = compat::needs_no_entries(update_indexes);
        if !heap_only {
            enter(rel, index, values, new, false);
        }
        let of = (!heap_only).then(|| pg::relation_id(index));
        index_shell::entered(rel, new, of);
        TM_Ok
    }
}

/// Makes a heap row's entry in the key index; with `check`, false when another row may have the key.
///
/// # Safety
/// As for [`replace`].
pub unsafe fn enter(
    rel: pg_sys::Relation,
    index: pg_sys::Relation,
    values: &[(pg_sys::Datum, bool)],
    tid: pg_sys::ItemPointerData,
    check: bool,
) -> bool {
    let mut datums: Vec<pg_sys::Datum> = values.iter().map(|v| v.0).collect();
    let mut nulls: Vec<bool> = values.iter().map(|v| v.1).collect();
    let check = if check {
        pg_sys::IndexUniqueCheck::UNIQUE_CHECK_PARTIAL
    } else {
        pg_sys::IndexUniqueCheck::UNIQUE_CHECK_NO
    };
    // SAFETY: arrays of the index's columns.
    unsafe {
        index_shell::original_insert(
            index,
            datums.as_mut_ptr(),
            nulls.as_mut_ptr(),
            tid,
            rel,
            check,
        )
    }
}

/// Inserts a new row into the heap and the key index; false, and nothing stays, when another row has got into
/// the index with its key.
///
/// # Safety
/// As for [`replace`].
pub unsafe fn insert_new(
    rel: pg_sys::Relation,
    index: pg_sys::Relation,
    slot: *mut pg_sys::TupleTableSlot,
    values: &[(pg_sys::Datum, bool)],
    cid: pg_sys::CommandId,
    options: i32,
    bistate: *mut pg_sys::BulkInsertStateData,
) -> bool {
    // SAFETY: passed on; the speculative insertion is completed here.
    unsafe {
        let xid = pg_sys::GetCurrentTransactionId();
        let token = pg_sys::SpeculativeInsertionLockAcquire(xid);
        heap_call!(tuple_insert_speculative(
            rel, slot, cid, options, bistate, token
        ));
        compaction::count_heap_rows(rel, 1);
        let tid = (*slot).tts_tid;
        let alone = enter(rel, index, values, tid, true);
        heap_call!(tuple_complete_speculative(rel, slot, token, alone));
        pg_sys::SpeculativeInsertionLockRelease(xid);
        if alone {
            index_shell::entered(rel, tid, Some(pg::relation_id(index)));
        }
        alone
    }
}

/// Deletes a heap row without waiting.
pub fn delete(rel: pg_sys::Relation, row: LiveRow, cid: pg_sys::CommandId) -> TM_Result::Type {
    let cid = command_to_end(rel, row.own, cid);
    let mut tid = row.tid;
    let locked = is_locked(rel, &tid);
    // SAFETY: out parameters on our stack.
    unsafe {
        let mut tmfd = pg_sys::TM_FailureData::default();
        let none = std::ptr::null_mut();
        heap_call!(tuple_delete(
            rel, &mut tid, cid, none, none, locked, &mut tmfd, false
        ))
    }
}

thread_local! {
    /// Rows that this transaction has locked in [`wait_for_row`].
    static LOCKED: RefCell<Vec<(pg_sys::Oid, u32, u16)>> = const { RefCell::new(Vec::new()) };
}

/// Forgets the locks of a transaction or subtransaction that has ended.
pub fn forget() {
    LOCKED.with_borrow_mut(Vec::clear);
}

/// Whether this transaction has locked a row. PostgreSQL calls such a row busy too when told not to wait, but does
/// not wait for its own transaction.
fn is_locked(rel: pg_sys::Relation, tid: &pg_sys::ItemPointerData) -> bool {
    let id = (pg::relation_id(rel), block_of(tid), tid.ip_posid);
    LOCKED.with_borrow(|locked| locked.contains(&id))
}

/// Waits, without the registration lock, until a heap row can be locked or is gone.
pub fn wait_for_row(
    rel: pg_sys::Relation,
    row: LiveRow,
    mode: pg_sys::LockTupleMode::Type,
    cid: pg_sys::CommandId,
) {
    lock(rel, row, mode, cid, pg_sys::LockWaitPolicy::LockWaitBlock);
}

fn lock(
    rel: pg_sys::Relation,
    row: LiveRow,
    mode: pg_sys::LockTupleMode::Type,
    cid: pg_sys::CommandId,
    wait: pg_sys::LockWaitPolicy::Type,
) -> TM_Result::Type {
    let cid = command_over(row.own, cid);
    let mut tid = row.tid;
    // SAFETY: a slot of our own; out parameters on our stack.
    unsafe {
        let slot = pg_sys::MakeSingleTupleTableSlot(
            (*rel).rd_att,
            &raw const pg_sys::TTSOpsBufferHeapTuple,
        );
        let mut tmfd = pg_sys::TM_FailureData::default();
        let result = heap_call!(tuple_lock(
            rel,
            &mut tid,
            std::ptr::null_mut(),
            slot,
            cid,
            mode,
            wait,
            0,
            &mut tmfd
        ));
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        if result == TM_Ok {
            let id = (pg::relation_id(rel), block_of(&row.tid), row.tid.ip_posid);
            LOCKED.with_borrow_mut(|locked| locked.push(id));
        }
        result
    }
}
