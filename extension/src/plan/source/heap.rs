// SPDX-License-Identifier: Apache-2.0
//! The scan of a table's row store.
//!
//! Rows that a filter on an integer leaves out are passed over before anything else is made of them: after a load, a
//! table has some thousand rows in its row store, and a look-up of one row would spend most of its time on the others.
use crate::heap_call;
use crate::pg::{heapam, raw};
use crate::plan::block_prefilter;
use crate::read::attrs::Attr;
use doris_engine::expr::Expr;
use pgrx::pg_sys;

/// A scan of the main relation's rows.
pub(super) struct HeapScan {
    pub(super) scan: pg_sys::TableScanDesc,
    pub(super) slot: *mut pg_sys::TupleTableSlot,
    bounds: Vec<Bounds>,
}

/// What filters want of a column of integers.
struct Bounds {
    /// The attribute's number.
    number: u16,
    type_oid: pg_sys::Oid,
    low: i128,
    high: i128,
}

impl Bounds {
    /// Whether the row in a slot, which has the column ready, may pass.
    unsafe fn hold(&self, slot: *mut pg_sys::TupleTableSlot) -> bool {
        let at = usize::from(self.number) - 1;
        // SAFETY: passed on to the caller; the value is of the column's type.
        let (value, null) = unsafe { (*(*slot).tts_values.add(at), *(*slot).tts_isnull.add(at)) };
        let value = match self.type_oid {
            pg_sys::INT2OID => i128::from(value.value() as i16),
            pg_sys::INT4OID => i128::from(value.value() as i32),
            _ => i128::from(value.value() as i64),
        };
        !null && self.low <= value && value <= self.high
    }
}

/// The bounds of columns of integers, in the order of the columns.
fn bounds(filters: &[Expr], attrs: &[Attr]) -> Vec<Bounds> {
    let wanted = |(column, low, high): (usize, i128, i128)| {
        let Attr {
            number, type_oid, ..
        } = *attrs.get(column)?;
        let integers = [pg_sys::INT2OID, pg_sys::INT4OID, pg_sys::INT8OID];
        integers.contains(&type_oid).then_some(Bounds {
            number,
            type_oid,
            low,
            high,
        })
    };
    let mut all: Vec<Bounds> = block_prefilter::ranges(filters)
        .into_iter()
        .filter_map(wanted)
        .collect();
    all.sort_by_key(|bounds| bounds.number);
    all
}

impl HeapScan {
    /// Begins a scan of an open relation for rows that may pass filters on some of its attributes.
    pub(super) fn begin(
        rel: pg_sys::Relation,
        snapshot: pg_sys::Snapshot,
        filters: &[Expr],
        attrs: &[Attr],
    ) -> Self {
        let flags = pg_sys::ScanOptions::SO_TYPE_SEQSCAN
            | pg_sys::ScanOptions::SO_ALLOW_STRAT
            | pg_sys::ScanOptions::SO_ALLOW_PAGEMODE;
        // SAFETY: an open relation and a registered snapshot; ended in Drop.
        unsafe {
            let scan = heap_call!(scan_begin(
                rel,
                snapshot,
                0,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                flags
            ));
            let slot = raw::guarded(|| {
                pg_sys::MakeSingleTupleTableSlot(
                    (*rel).rd_att,
                    &raw const pg_sys::TTSOpsBufferHeapTuple,
                )
            });
            Self {
                scan,
                slot,
                bounds: bounds(filters, attrs),
            }
        }
    }

    /// Puts the next row that may pass into the slot, with its first `columns` columns ready; whether there is one, and
    /// how many rows were looked at.
    pub(super) fn next(&self, columns: i32) -> (bool, u64) {
        let next = heapam::routine().scan_getnextslot.expect("heap callback");
        let forward = pg_sys::ScanDirection::ForwardScanDirection;
        let (slot, mut seen) = (self.slot, 0);
        // SAFETY: the slot is of the heap's type and the relation's row type; nothing in the closure needs dropping.
        let found = raw::guarded(|| unsafe {
            while next(self.scan, forward, slot) {
                seen += 1;
                let may_pass = |bounds: &Bounds| {
                    raw::ready_columns(slot, i32::from(bounds.number));
                    bounds.hold(slot)
                };
                if self.bounds.iter().all(may_pass) {
                    raw::ready_columns(slot, columns);
                    return true;
                }
            }
            false
        });
        (found, seen)
    }

    /// As many rows as its pages would have if rows were small.
    pub(super) fn rows_about(&self) -> u64 {
        const ROWS_PER_PAGE: u64 = 128;
        // SAFETY: a heap's scan, which has counted the pages at its start.
        let pages = unsafe { (*(self.scan as pg_sys::HeapScanDesc)).rs_nblocks };
        u64::from(pages) * ROWS_PER_PAGE
    }
}

impl Drop for HeapScan {
    fn drop(&mut self) {
        // SAFETY: begun above. After an error, PostgreSQL's resource owner releases the buffers.
        unsafe {
            if std::thread::panicking() || !pg_sys::IsTransactionState() {
                return;
            }
            pg_sys::ExecDropSingleTupleTableSlot(self.slot);
            heap_call!(scan_end(self.scan));
        }
    }
}
