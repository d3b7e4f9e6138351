// SPDX-License-Identifier: Apache-2.0
//! The row that took the place of another with the same key. A bulk load marks the rows that it replaces deleted;
//! whoever waited to update, delete or lock one of them goes on with the row that replaced it, as with a row that
//! was updated.
use super::heap::{Holder, OpenXact, Search};
use super::model;
use super::probe::{self, SingleKey};
use crate::heap_call;
use crate::pg::toast::Toast;
use crate::store::registration_lock::{Mode, RegistrationLock};
use crate::store::tid::RowNumber;
use pgrx::pg_sys;

/// The live row with the key of a row that this statement's snapshot sees; waits for open transactions. `None` for
/// tables without a key model, and where the key is gone.
pub fn successor(
    rel: pg_sys::Relation,
    tid: pg_sys::ItemPointerData,
) -> Option<pg_sys::ItemPointerData> {
    let model = model::of(rel)?;
    let index = model.index?;
    let toast = Toast::open(rel, pg_sys::RowExclusiveLock as i32)?;
    // SAFETY: a slot of our own; the row cannot be vacuumed while the statement's snapshot sees it.
    unsafe {
        let slot = pg_sys::MakeSingleTupleTableSlot(
            (*rel).rd_att,
            &raw const pg_sys::TTSOpsBufferHeapTuple,
        );
        let mut old = tid;
        let present = match RowNumber::from_tid(&tid) {
            Some(row) => {
                crate::am::fetch::store_row(rel, &toast, row, slot);
                true
            }
            None => {
                let any = &raw mut pg_sys::SnapshotAnyData;
                heap_call!(tuple_fetch_row_version(rel, &mut old, any, slot))
            }
        };
        let mut found = None;
        if present {
            pg_sys::slot_getallattrs(slot);
            let values = model.key_values((*slot).tts_values, (*slot).tts_isnull);
            let key = SingleKey::of_row(&model, &values);
            let mut search = Search::open(rel, &model, index);
            found = find(rel, &toast, &model, &mut search, &values, &key);
        }
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        found
    }
}

unsafe fn find(
    rel: pg_sys::Relation,
    toast: &Toast,
    model: &model::Model,
    search: &mut Search,
    values: &[(pg_sys::Datum, bool)],
    key: &SingleKey,
) -> Option<pg_sys::ItemPointerData> {
    loop {
        let registration = RegistrationLock::acquire(toast, Mode::Shared);
        // SAFETY: values of the key columns' types. A row may go from a segment to the heap behind the first search,
        // but not back while the registration lock is held.
        let in_heap = unsafe {
            let in_heap = search.find(values);
            match in_heap {
                Holder::None => match probe::holder(&registration, rel, toast, model, key) {
                    probe::Holder::Row(_, row) => return Some(row.to_tid()),
                    probe::Holder::Open(xid) => Holder::Open(OpenXact { xid, token: 0 }),
                    probe::Holder::None => search.find(values),
                },
                found => found,
            }
        };
        drop(registration);
        match in_heap {
            Holder::Row(live) => return Some(live.tid),
            Holder::Open(open) => open.wait(rel),
            Holder::None => return None,
        }
        pgrx::check_for_interrupts!();
    }
}
