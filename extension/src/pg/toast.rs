// SPDX-License-Identifier: Apache-2.0
//! Our tuples in a TOAST relation: `(chunk_id oid, chunk_seq int4, chunk_data bytea)` with an index on the
//! first two. Reads see every physical version and leave it to the caller to judge visibility, so that no
//! predicate lock is taken on internals.
//!
//! `version` is what a reader gets: one physical version and what became of who wrote it; `tuple` the bytes.
mod tuple;
mod version;

pub use self::tuple::{chunk_id, chunk_seq, payload_mut, set_chunk_seq};
use self::tuple::{keyed_payload, page_payload};
pub use self::version::{wait_for, xact_status, Version, XactStatus};
use super::compat;
use pgrx::pg_sys;

/// `HEAP_INSERT_FROZEN` of access/heapam.h: visible to everyone at once.
pub const INSERT_FROZEN: i32 = 0x0004;
/// `HEAP_INSERT_NO_LOGICAL`: logical decoding skips the row.
const INSERT_NO_LOGICAL: i32 = 0x0008;

/// The TOAST relation of a table, open with its valid index.
pub struct Toast {
    /// The TOAST relation.
    pub rel: pg_sys::Relation,
    index: pg_sys::Relation,
    others: Vec<pg_sys::Relation>,
    /// Scans follow index entries that others have found to lead to what is dead.
    follows_killed: bool,
}

impl Toast {
    /// Opens the TOAST relation of `main`; `None` when the table has none. Locks stay until the end of the
    /// transaction.
    pub fn open(main: pg_sys::Relation, lockmode: i32) -> Option<Self> {
        // SAFETY: main is open; what is opened here is closed in Drop.
        unsafe {
            let oid = (*(*main).rd_rel).reltoastrelid;
            if oid == pg_sys::InvalidOid {
                return None;
            }
            let rel = pg_sys::table_open(oid, lockmode);
            let list = pg_sys::RelationGetIndexList(rel);
            let mut valid = None;
            let mut others = Vec::new();
            for index in pgrx::PgList::<pg_sys::Oid>::from_pg(list).iter_oid() {
                let index = pg_sys::index_open(index, lockmode);
                if valid.is_none() && (*(*index).rd_index).indisvalid {
                    valid = Some(index);
                } else {
                    others.push(index);
                }
            }
            let index =
                valid.unwrap_or_else(|| super::report_corrupt(main, "no valid TOAST index"));
            let follows_killed = false;
            Some(Self {
                rel,
                index,
                others,
                follows_killed,
            })
        }
    }

    /// Opens the TOAST relation for reading if that needs no waiting for locks, as its user holds a lock of a page. Its
    /// scans visit all versions that are there: also such as nobody will see again, which [`Toast::open`]'s may leave
    /// out.
    pub fn open_at_once(main: pg_sys::Relation) -> Option<Self> {
        let (lock, none) = (pg_sys::AccessShareLock as i32, pg_sys::NoLock as i32);
        // SAFETY: main is open; what is opened here is closed in Drop, or below. What is gone by the time that it is
        // locked is not opened.
        unsafe {
            let at_once = |oid| {
                let locked = pg_sys::ConditionalLockRelationOid(oid, lock);
                let rel = match locked {
                    true => pg_sys::try_relation_open(oid, none),
                    false => std::ptr::null_mut(),
                };
                (!rel.is_null()).then_some(rel)
            };
            let rel = at_once((*(*main).rd_rel).reltoastrelid)?;
            let list = pgrx::PgList::<pg_sys::Oid>::from_pg(pg_sys::RelationGetIndexList(rel));
            for index in list.iter_oid().filter_map(at_once) {
                if (*(*index).rd_index).indisvalid {
                    return Some(Self {
                        rel,
                        index,
                        others: Vec::new(),
                        follows_killed: true,
                    });
                }
                pg_sys::relation_close(index, none);
            }
            pg_sys::relation_close(rel, none);
            None
        }
    }

    /// Inserts a tuple and its index entries; returns its TID.
    pub fn insert(
        &self,
        key: (u32, i32),
        payload: &[u8],
        cid: pg_sys::CommandId,
        options: i32,
        bistate: pg_sys::BulkInsertState,
    ) -> pg_sys::ItemPointerData {
        // SAFETY: the TOAST relation is open with a lock that allows inserts; the tuple is formed from its
        // own descriptor and freed after use.
        unsafe {
            let tuple = self.form(key, payload);
            pg_sys::heap_insert(self.rel, tuple, cid, options | INSERT_NO_LOGICAL, bistate);
            let tid = (*tuple).t_self;
            self.index(key, tid);
            pg_sys::heap_freetuple(tuple);
            tid
        }
    }

    /// Replaces a tuple that the caller has locked: an UPDATE of the payload. Returns the new TID.
    pub fn update(
        &self,
        tid: pg_sys::ItemPointerData,
        key: (u32, i32),
        payload: &[u8],
        cid: pg_sys::CommandId,
    ) -> pg_sys::TM_Result::Type {
        let mut tid = tid;
        // SAFETY: as for insert; tmfd and lockmode are out parameters on our stack.
        unsafe {
            let tuple = self.form(key, payload);
            let mut tmfd = std::mem::zeroed::<pg_sys::TM_FailureData>();
            let mut mode = 0;
            #[cfg(feature = "pg15")]
            let result = pg_sys::heap_update(
                self.rel,
                &mut tid,
                tuple,
                cid,
                std::ptr::null_mut(),
                true,
                &mut tmfd,
                &mut mode,
            );
            #[cfg(not(feature = "pg15"))]
            let result = {
                let mut update_indexes = 0;
                pg_sys::heap_update(
                    self.rel,
                    &mut tid,
                    tuple,
                    cid,
                    std::ptr::null_mut(),
                    true,
                    &mut tmfd,
                    &mut mode,
                    &mut update_indexes,
                )
            };
            let heap_only = (*(*tuple).t_data).t_infomask2 & pg_sys::HEAP_ONLY_TUPLE as u16 != 0;
            if result == pg_sys::TM_Result::TM_Ok {
                match heap_only {
                    // Its entry may have been made by somebody who failed before he could say so.
                    true => crate::store::anchor_cache::anchor_inserted(self, key),
                    false => self.index(key, (*tuple).t_self),
                }
            }
            pg_sys::heap_freetuple(tuple);
            result
        }
    }

    /// Deletes a tuple that nobody else has locked or changed; false if somebody has. Never waits.
    pub fn delete(&self, tid: pg_sys::ItemPointerData, cid: pg_sys::CommandId) -> bool {
        super::heapam::delete_now(self.rel, tid, cid) == pg_sys::TM_Result::TM_Ok
    }

    unsafe fn form(&self, key: (u32, i32), payload: &[u8]) -> pg_sys::HeapTuple {
        // SAFETY: the buffer is a complete varlena; the descriptor is the TOAST relation's own.
        unsafe {
            let bytes = pg_sys::palloc(payload.len() + 4) as *mut u8;
            *(bytes as *mut u32) = ((payload.len() + 4) as u32) << 2;
            std::ptr::copy_nonoverlapping(payload.as_ptr(), bytes.add(4), payload.len());
            let mut values = [
                pg_sys::Datum::from(key.0),
                pg_sys::Datum::from(key.1),
                pg_sys::Datum::from(bytes),
            ];
            let mut nulls = [false; 3];
            let tuple = pg_sys::heap_form_tuple(
                (*self.rel).rd_att,
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
            );
            pg_sys::pfree(bytes.cast());
            tuple
        }
    }

    unsafe fn index(&self, key: (u32, i32), tid: pg_sys::ItemPointerData) {
        let mut tid = tid;
        let mut values = [pg_sys::Datum::from(key.0), pg_sys::Datum::from(key.1)];
        let mut nulls = [false; 2];
        for index in std::iter::once(&self.index).chain(&self.others) {
            // SAFETY: open indexes of the TOAST relation; arrays match their two key columns. Uniqueness is
            // ours to keep: an anchor may have several versions with entries of their own.
            unsafe {
                if !(*(**index).rd_index).indisready {
                    continue;
                }
                pg_sys::index_insert(
                    *index,
                    values.as_mut_ptr(),
                    nulls.as_mut_ptr(),
                    &mut tid,
                    self.rel,
                    pg_sys::IndexUniqueCheck::UNIQUE_CHECK_NO,
                    false,
                    std::ptr::null_mut(),
                );
            }
        }
        crate::store::anchor_cache::anchor_inserted(self, key);
    }

    /// Inserts the index entries of a tuple that is in place already.
    ///
    /// # Safety
    /// A tuple of this TOAST relation.
    pub unsafe fn index_tuple(&self, tuple: pg_sys::HeapTuple) {
        // SAFETY: passed on to the caller.
        unsafe {
            let key = (chunk_id(tuple), chunk_seq(tuple));
            self.index(key, (*tuple).t_self);
        }
    }

    /// Calls `visit` with every physical version filed under `chunk_id` with `low <= chunk_seq <= high`, in
    /// the order of chunk_seq (descending when `backward`), until it returns false.
    pub fn scan(
        &self,
        chunk_id: u32,
        low: i32,
        high: i32,
        backward: bool,
        mut visit: impl FnMut(&Version) -> bool,
    ) {
        let direction = if backward {
            pg_sys::ScanDirection::BackwardScanDirection
        } else {
            pg_sys::ScanDirection::ForwardScanDirection
        };
        // SAFETY: the keys are of the index's two columns.
        unsafe {
            let mut keys = [
                scan_key(
                    1,
                    pg_sys::BTEqualStrategyNumber,
                    pg_sys::F_OIDEQ,
                    chunk_id.into(),
                ),
                scan_key(
                    2,
                    pg_sys::BTGreaterEqualStrategyNumber,
                    pg_sys::F_INT4GE,
                    low.into(),
                ),
                scan_key(
                    2,
                    pg_sys::BTLessEqualStrategyNumber,
                    pg_sys::F_INT4LE,
                    high.into(),
                ),
            ];
            self.scan_keys(&mut keys, direction, |version| visit(version));
        }
    }

    /// Calls `visit` with every physical version filed under the chunk_ids from `low` to `high`, in the order of the
    /// index, until it returns false.
    pub fn scan_ids(&self, low: u32, high: u32, visit: impl FnMut(&Version) -> bool) {
        // SAFETY: the keys are of the index's first column.
        unsafe {
            let mut keys = [
                scan_key(
                    1,
                    pg_sys::BTGreaterEqualStrategyNumber,
                    pg_sys::F_OIDGE,
                    low.into(),
                ),
                scan_key(
                    1,
                    pg_sys::BTLessEqualStrategyNumber,
                    pg_sys::F_OIDLE,
                    high.into(),
                ),
            ];
            let forward = pg_sys::ScanDirection::ForwardScanDirection;
            self.scan_keys(&mut keys, forward, visit);
        }
    }

    unsafe fn scan_keys(
        &self,
        keys: &mut [pg_sys::ScanKeyData],
        direction: pg_sys::ScanDirection::Type,
        mut visit: impl FnMut(&Version) -> bool,
    ) {
        // SAFETY: the scan and slot are ended below, or by the resource owner and memory context on error.
        unsafe {
            let count = keys.len() as i32;
            let any = &raw mut pg_sys::SnapshotAnyData;
            let scan = compat::index_beginscan(self.rel, self.index, any, count);
            if self.follows_killed {
                (*scan).ignore_killed_tuples = false;
            }
            pg_sys::index_rescan(scan, keys.as_mut_ptr(), count, std::ptr::null_mut(), 0);
            // As index_getnext_slot; but most scans look for what is not there, and need no slot.
            let mut slot: *mut pg_sys::TupleTableSlot = std::ptr::null_mut();
            loop {
                let found = match slot.is_null() {
                    false => pg_sys::index_getnext_slot(scan, direction, slot),
                    true if pg_sys::index_getnext_tid(scan, direction).is_null() => false,
                    true => {
                        slot = pg_sys::MakeSingleTupleTableSlot(
                            (*self.rel).rd_att,
                            &raw const pg_sys::TTSOpsBufferHeapTuple,
                        );
                        pg_sys::index_fetch_heap(scan, slot)
                            || pg_sys::index_getnext_slot(scan, direction, slot)
                    }
                };
                if !found || !visit(&Version::of(slot)) {
                    break;
                }
            }
            if !slot.is_null() {
                pg_sys::ExecDropSingleTupleTableSlot(slot);
            }
            pg_sys::index_endscan(scan);
        }
    }

    /// Changes the payload of a tuple where it is, with WAL but outside MVCC. `change` gets the bytes under
    /// the buffer's exclusive lock and must keep their length.
    pub fn change_in_place(&self, tid: pg_sys::ItemPointerData, change: impl FnOnce(&mut [u8])) {
        let block = crate::store::tid::block_of(&tid);
        // SAFETY: the buffer is pinned and exclusively locked between read and release; GenericXLog hands
        // out a writable image of the page; the item was checked to be a normal tuple of ours.
        unsafe {
            let buffer = pg_sys::ReadBuffer(self.rel, block);
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_EXCLUSIVE as i32);
            let state = pg_sys::GenericXLogStart(self.rel);
            let page = pg_sys::GenericXLogRegisterBuffer(state, buffer, 0);
            let Some(payload) = page_payload(page.cast(), tid.ip_posid) else {
                super::report_corrupt(self.rel, "line pointer of a catalogue tuple");
            };
            change(payload);
            pg_sys::GenericXLogFinish(state);
            pg_sys::UnlockReleaseBuffer(buffer);
        }
    }

    /// Reads the payload at a TID when that tuple carries `key`; `None` otherwise (the caller then looks in
    /// the index). Visibility is not judged. The bytes are handed to `visit` from the pinned page. The buffer that
    /// `recent` names (0: none) is looked into first; which one it was is left there.
    pub fn read_recent<T>(
        &self,
        tid: pg_sys::ItemPointerData,
        key: (u32, i32),
        recent: &mut pg_sys::Buffer,
        visit: impl FnOnce(&[u8]) -> T,
    ) -> Option<T> {
        let block = crate::store::tid::block_of(&tid);
        // SAFETY: the block was checked to exist; a pin keeps the tuple where it is, and its key and payload
        // never change; the buffer is released below.
        unsafe {
            if !self.pin_again(block, *recent) {
                *recent = pg_sys::ReadBuffer(self.rel, block);
            }
            let buffer = *recent;
            let page = pg_sys::BufferGetPage(buffer);
            let result = keyed_payload(page.cast(), tid.ip_posid, key).map(visit);
            pg_sys::ReleaseBuffer(buffer);
            result
        }
    }

    /// As [`Toast::read_recent`], for what is changed in place. The block need not exist: it may have been cut off.
    pub fn read_locked<T>(
        &self,
        tid: pg_sys::ItemPointerData,
        key: (u32, i32),
        recent: &mut pg_sys::Buffer,
        visit: impl FnOnce(&[u8]) -> T,
    ) -> Option<T> {
        let block = crate::store::tid::block_of(&tid);
        // SAFETY: as for `read_recent`; the content lock keeps the payload as it is.
        unsafe {
            // How many blocks there are is asked of the operating system: not where the block is in its buffer.
            if !self.pin_again(block, *recent) {
                if block >= self.blocks() {
                    return None;
                }
                *recent = pg_sys::ReadBuffer(self.rel, block);
            }
            let buffer = *recent;
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
            let page = pg_sys::BufferGetPage(buffer);
            let result = keyed_payload(page.cast(), tid.ip_posid, key).map(visit);
            pg_sys::UnlockReleaseBuffer(buffer);
            result
        }
    }

    /// Pins the buffer that a block was in, unless that has another by now; 0: none.
    fn pin_again(&self, block: u32, buffer: pg_sys::Buffer) -> bool {
        buffer != 0 && compat::read_recent_buffer(self.rel, block, buffer)
    }

    /// Blocks of the TOAST relation.
    pub fn blocks(&self) -> u32 {
        // SAFETY: open relation.
        unsafe {
            pg_sys::RelationGetNumberOfBlocksInFork(self.rel, pg_sys::ForkNumber::MAIN_FORKNUM)
        }
    }
}

impl Drop for Toast {
    fn drop(&mut self) {
        // During an abort the relation references are released with the resource owner.
        // SAFETY: opened in `open`; checked that a transaction is still in progress.
        unsafe {
            if std::thread::panicking() || !pg_sys::IsTransactionState() {
                return;
            }
            for index in std::iter::once(&self.index).chain(&self.others) {
                pg_sys::index_close(*index, pg_sys::NoLock as i32);
            }
            pg_sys::table_close(self.rel, pg_sys::NoLock as i32);
        }
    }
}

unsafe fn scan_key(
    attribute: i16,
    strategy: u32,
    function: u32,
    argument: pg_sys::Datum,
) -> pg_sys::ScanKeyData {
    // SAFETY: a zeroed ScanKeyData is valid to initialise.
    unsafe {
        let mut key = std::mem::zeroed::<pg_sys::ScanKeyData>();
        pg_sys::ScanKeyInit(
            &mut key,
            attribute,
            strategy as pg_sys::StrategyNumber,
            pg_sys::Oid::from(function),
            argument,
        );
        key
    }
}
