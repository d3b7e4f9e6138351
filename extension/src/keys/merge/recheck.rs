// SPDX-License-Identifier: Apache-2.0
//! Constraints and generated columns of merged rows.
//!
//! PostgreSQL has checked the row that the statement gave. The row that a rule made of it and the stored one is
//! another: its generated columns are computed and its constraints checked here, by PostgreSQL's own functions.
use super::Merged;
use crate::pg::raw;
use pgrx::pg_sys;

/// Whether merged rows of a relation can differ in what PostgreSQL checked.
pub fn needed(rel: pg_sys::Relation) -> bool {
    // SAFETY: an open relation; tables without constraints have none.
    unsafe {
        let constraints = (*(*rel).rd_att).constr;
        !constraints.is_null()
            && ((*constraints).num_check > 0 || (*constraints).has_generated_stored)
    }
}

/// Computes the generated columns of a row, and raises the error of a constraint that it breaks.
pub fn row(rel: pg_sys::Relation, merged: &mut Merged) {
    // SAFETY: an open relation and a row of its type; the state is freed when the row was copied out of it.
    unsafe {
        let state = pg_sys::CreateExecutorState();
        let slot = pg_sys::MakeSingleTupleTableSlot((*rel).rd_att, &pg_sys::TTSOpsVirtual);
        let columns = merged.values.len();
        std::ptr::copy_nonoverlapping(merged.values.as_ptr(), (*slot).tts_values, columns);
        std::ptr::copy_nonoverlapping(merged.nulls.as_ptr(), (*slot).tts_isnull, columns);
        pg_sys::ExecStoreVirtualTuple(slot);
        let size = std::mem::size_of::<pg_sys::ResultRelInfo>();
        let target = pg_sys::palloc0(size) as *mut pg_sys::ResultRelInfo;
        (*target).type_ = pg_sys::NodeTag::T_ResultRelInfo;
        pg_sys::InitResultRelInfo(target, rel, 0, std::ptr::null_mut(), 0);
        let constraints = (*(*rel).rd_att).constr;
        if (*constraints).has_generated_stored {
            raw::compute_generated(target, state, slot);
        }
        pg_sys::ExecConstraints(target, slot, state);
        // A copy in the caller's memory, into which the row points from now on.
        let tuple = pg_sys::heap_form_tuple((*rel).rd_att, (*slot).tts_values, (*slot).tts_isnull);
        pg_sys::heap_deform_tuple(
            tuple,
            (*rel).rd_att,
            merged.values.as_mut_ptr(),
            merged.nulls.as_mut_ptr(),
        );
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        pg_sys::FreeExecutorState(state);
    }
}
