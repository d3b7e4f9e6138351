// SPDX-License-Identifier: Apache-2.0
//! Constraints and generated columns of merged rows.
//!
//! PostgreSQL has checked the row that the statement gave. The row that a rule made of it and the stored one is
//! another: its generated columns are computed and its constraints checked here, by PostgreSQL's own functions.
use super::Merged;
use crate::pg::{attributes, raw};
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

/// Whether some columns, from 0, say which partition a row belongs to: a merged row may not belong to its partition
/// then.
pub fn decide_partition(rel: pg_sys::Relation, mut columns: impl Iterator<Item = usize>) -> bool {
    let decide = raw::partition_columns(rel);
    columns.any(|column| decide.contains(&(column as u16 + 1)))
}

/// The columns that a generated column is computed from; all from 0.
pub fn sources(rel: pg_sys::Relation, column: usize) -> Vec<usize> {
    // SAFETY: an open relation; its constraints have num_defval expressions, as strings, in which the relation is the
    // first variable number.
    let numbers = unsafe {
        let constraints = (*(*rel).rd_att).constr;
        let defaults = std::slice::from_raw_parts(
            (*constraints).defval,
            usize::from((*constraints).num_defval),
        );
        let of_column = |d: &&pg_sys::AttrDefault| usize::from(d.adnum as u16) == column + 1;
        let Some(default) = defaults.iter().find(of_column) else {
            return Vec::new();
        };
        attributes::read_by(pg_sys::stringToNode(default.adbin).cast(), rel)
    };
    numbers.into_iter().map(|n| usize::from(n) - 1).collect()
}

/// What is needed to check rows of a relation, one after the other.
pub struct Checker {
    rel: pg_sys::Relation,
    state: *mut pg_sys::EState,
    slot: *mut pg_sys::TupleTableSlot,
    target: *mut pg_sys::ResultRelInfo,
}

impl Checker {
    /// A checker in the current memory context, which outlives it.
    pub fn new(rel: pg_sys::Relation) -> Self {
        // SAFETY: an open relation; all is freed in Drop, or with the memory context on error.
        unsafe {
            let size = std::mem::size_of::<pg_sys::ResultRelInfo>();
            let target = pg_sys::palloc0(size) as *mut pg_sys::ResultRelInfo;
            (*target).type_ = pg_sys::NodeTag::T_ResultRelInfo;
            pg_sys::InitResultRelInfo(target, rel, 0, std::ptr::null_mut(), 0);
            Self {
                rel,
                state: pg_sys::CreateExecutorState(),
                slot: pg_sys::MakeSingleTupleTableSlot((*rel).rd_att, &pg_sys::TTSOpsVirtual),
                target,
            }
        }
    }

    /// Computes the generated columns of a row, and raises the error of a constraint that it breaks. What the row
    /// points to is in the current memory context from then on.
    pub fn row(&mut self, merged: &mut Merged) {
        // SAFETY: an open relation and a row of its type; it is copied out of the state before that is reset.
        unsafe {
            let (slot, desc) = (self.slot, (*self.rel).rd_att);
            let columns = merged.values.len();
            std::ptr::copy_nonoverlapping(merged.values.as_ptr(), (*slot).tts_values, columns);
            std::ptr::copy_nonoverlapping(merged.nulls.as_ptr(), (*slot).tts_isnull, columns);
            pg_sys::ExecStoreVirtualTuple(slot);
            let constraints = (*desc).constr;
            if !constraints.is_null() {
                if (*constraints).has_generated_stored {
                    raw::compute_generated(self.target, self.state, slot);
                }
                pg_sys::ExecConstraints(self.target, slot, self.state);
            }
            if (*(*self.rel).rd_rel).relispartition {
                pg_sys::ExecPartitionCheck(self.target, slot, self.state, true);
            }
            let tuple = pg_sys::heap_form_tuple(desc, (*slot).tts_values, (*slot).tts_isnull);
            let (values, nulls) = (merged.values.as_mut_ptr(), merged.nulls.as_mut_ptr());
            pg_sys::heap_deform_tuple(tuple, desc, values, nulls);
            pg_sys::ExecClearTuple(slot);
            let context = (*self.state).es_per_tuple_exprcontext;
            if !context.is_null() {
                pg_sys::MemoryContextReset((*context).ecxt_per_tuple_memory);
            }
        }
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // SAFETY: made in `new`; nothing points into it.
        unsafe {
            pg_sys::ExecDropSingleTupleTableSlot(self.slot);
            pg_sys::FreeExecutorState(self.state);
            pg_sys::pfree(self.target.cast());
        }
    }
}
