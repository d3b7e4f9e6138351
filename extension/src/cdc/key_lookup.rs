// SPDX-License-Identifier: Apache-2.0
//! Rows of a mirror found by their key.
use pgrx::prelude::*;

/// Finds rows by key through one index scan.
pub(super) struct Lookup {
    index: pg_sys::Relation,
    scan: pg_sys::IndexScanDesc,
    pub(super) keys: Vec<pg_sys::ScanKeyData>,
    pub(super) attributes: Vec<i16>,
}

impl Lookup {
    pub(super) unsafe fn open(rel: pg_sys::Relation, index: pg_sys::Oid) -> Self {
        // SAFETY: the index is one of the relation's, a B-tree of a primary key: each column has an equality operator.
        unsafe {
            let index = pg_sys::index_open(index, pg_sys::RowExclusiveLock as i32);
            let form = (*index).rd_index;
            let count = (*form).indnkeyatts as usize;
            let attributes =
                std::slice::from_raw_parts((*form).indkey.values.as_ptr(), count).to_vec();
            let mut keys = Vec::with_capacity(count);
            for i in 0..count {
                let (family, input) = (*(*index).rd_opfamily.add(i), *(*index).rd_opcintype.add(i));
                let strategy = pg_sys::BTEqualStrategyNumber as i16;
                let operator = pg_sys::get_opfamily_member(family, input, input, strategy);
                let mut key: pg_sys::ScanKeyData = std::mem::zeroed();
                pg_sys::ScanKeyEntryInitialize(
                    &mut key,
                    0,
                    i as i16 + 1,
                    strategy as u16,
                    input,
                    *(*index).rd_indcollation.add(i),
                    pg_sys::get_opcode(operator),
                    pg_sys::Datum::from(0usize),
                );
                keys.push(key);
            }
            let scan = begin_scan(rel, index, count);
            Lookup {
                index,
                scan,
                keys,
                attributes,
            }
        }
    }

    /// Finds the row of the keys set.
    pub(super) unsafe fn find(&mut self, slot: *mut pg_sys::TupleTableSlot) -> bool {
        // SAFETY: the scan is open, its keys have their values.
        unsafe {
            let count = self.keys.len() as i32;
            pg_sys::index_rescan(
                self.scan,
                self.keys.as_mut_ptr(),
                count,
                std::ptr::null_mut(),
                0,
            );
            pg_sys::index_getnext_slot(self.scan, pg_sys::ScanDirection::ForwardScanDirection, slot)
        }
    }

    pub(super) unsafe fn close(self) {
        // SAFETY: closes what `open` opened.
        unsafe {
            pg_sys::index_endscan(self.scan);
            pg_sys::index_close(self.index, pg_sys::NoLock as i32);
        }
    }
}

unsafe fn begin_scan(
    rel: pg_sys::Relation,
    index: pg_sys::Relation,
    keys: usize,
) -> pg_sys::IndexScanDesc {
    // SAFETY: both relations are open, a snapshot is active.
    unsafe {
        let snapshot = pg_sys::GetActiveSnapshot();
        #[cfg(not(feature = "pg18"))]
        let scan = pg_sys::index_beginscan(rel, index, snapshot, keys as i32, 0);
        #[cfg(feature = "pg18")]
        let scan =
            pg_sys::index_beginscan(rel, index, snapshot, std::ptr::null_mut(), keys as i32, 0);
        scan
    }
}
