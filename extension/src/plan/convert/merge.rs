// SPDX-License-Identifier: Apache-2.0
//! Sorted inputs merged: partitions and UNION ALL below ORDER BY.
use super::super::scope::Column;
use super::super::{no, Converted};
use super::append::{common_types, numbered};
use super::sort::sort_key;
use super::{unsorted, Converter, Output};
use doris_engine::plan::Node;
use pgrx::pg_sys;
use pgrx::PgList;

impl Converter<'_> {
    /// A MergeAppend: the engine sorts all rows at once instead.
    pub(super) unsafe fn merge_append(
        &mut self,
        merge: *mut pg_sys::MergeAppend,
    ) -> Converted<Output> {
        // SAFETY: as for `top`. A MergeAppend's arrays have numCols elements, as those of a Sort have.
        unsafe {
            let pruned = self.is_pruned(merge.cast())?;
            let mut inputs = Vec::new();
            for plan in PgList::<pg_sys::Plan>::from_pg((*merge).mergeplans).iter_ptr() {
                inputs.push(self.output(unsorted(plan), false)?);
            }
            let Some(first) = inputs.first() else {
                return no("nothing to merge");
            };
            let entries = first.entries.clone();
            let types = common_types(&inputs)?;
            let inputs = inputs.into_iter().map(|i| self.as_columns(i, &types));
            let inputs = inputs.collect::<Converted<Vec<Node>>>()?;
            let entries = numbered(entries, &types, pg_sys::OUTER_VAR);
            let mut like: pg_sys::Sort = std::mem::zeroed();
            like.numCols = (*merge).numCols;
            like.sortColIdx = (*merge).sortColIdx;
            like.sortOperators = (*merge).sortOperators;
            like.collations = (*merge).collations;
            like.nullsFirst = (*merge).nullsFirst;
            let mut keys = Vec::new();
            for i in 0..like.numCols as usize {
                let at = *like.sortColIdx.add(i) as usize;
                let item = at.checked_sub(1).and_then(|at| entries.get(at));
                let Some(Column::Native(index, data_type)) = item.map(|item| item.column) else {
                    return no("a merge by something else than a column");
                };
                keys.push(sort_key(&raw mut like, i, index, data_type)?);
            }
            let all = self.union_of(inputs, pruned.map(|_| merge.cast()));
            let node = Node::sort(self.id(), all, keys);
            self.passed_on(merge.cast(), Output { node, entries })
        }
    }
}
