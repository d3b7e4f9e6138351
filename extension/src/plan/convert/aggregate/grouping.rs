// SPDX-License-Identifier: Apache-2.0
//! What an aggregation groups by: columns, grouping sets, and the order of its groups.
use super::super::super::scope::{Column, Item, Scope};
use super::super::super::{no, Converted};
use super::super::check_grouped;
use super::super::sort::sort_key;
use doris_engine::expr::{CompareOp, Expr};
use doris_engine::plan::{GroupKey, SortKey};
use doris_engine::types::{DataType, Scalar};
use pgrx::pg_sys::{self, NodeTag};
use pgrx::PgList;

/// Column numbers of a plan node's array.
pub(super) unsafe fn columns(count: i32, array: *const pg_sys::AttrNumber) -> Vec<usize> {
    // SAFETY: the array has `count` elements.
    let column = |i| unsafe { *array.add(i) } as usize;
    (0..count as usize).map(column).collect()
}

/// The grouping columns, and with grouping sets which of them take part in each.
pub(super) unsafe fn grouping(agg: *mut pg_sys::Agg) -> (Vec<usize>, Option<Vec<Vec<usize>>>) {
    // SAFETY: an Agg of a finished plan; its chain holds Aggs.
    unsafe {
        let mut all = columns((*agg).numCols, (*agg).grpColIdx);
        if (*agg).groupingSets.is_null() && (*agg).chain.is_null() {
            return (all, None);
        }
        let chain = PgList::<pg_sys::Agg>::from_pg((*agg).chain);
        let mut sets = Vec::new();
        for phase in std::iter::once(agg).chain(chain.iter_ptr()) {
            let own = columns((*phase).numCols, (*phase).grpColIdx);
            for set in PgList::<pg_sys::List>::from_pg((*phase).groupingSets).iter_ptr() {
                // A set is so many of the phase's first columns.
                let count = PgList::<i32>::from_pg(set).len();
                let mut members = Vec::new();
                for column in &own[..count] {
                    let member = all.iter().position(|known| known == column);
                    members.push(member.unwrap_or_else(|| {
                        all.push(*column);
                        all.len() - 1
                    }));
                }
                sets.push(members);
            }
        }
        (all, Some(sets))
    }
}

/// `GROUPING(...)`, which the number of the set decides.
pub(super) unsafe fn grouping_function(
    function: *mut pg_sys::GroupingFunc,
    columns: &[usize],
    sets: &[Vec<usize>],
    set: &Expr,
) -> Converted<Expr> {
    // SAFETY: a GroupingFunc of a finished plan.
    let asked = unsafe { PgList::<i32>::from_pg((*function).cols) };
    let mut branches = Vec::new();
    for (number, members) in sets.iter().enumerate() {
        let mut bits = 0;
        for column in asked.iter_int() {
            let present = members
                .iter()
                .any(|member| columns[*member] == column as usize);
            bits = bits << 1 | i32::from(!present);
        }
        let constant = |n: i32| Expr::constant(Scalar::I32(n), DataType::Int4);
        let condition = Expr::compare(CompareOp::Eq, set.clone(), constant(number as i32)?)?;
        branches.push((condition, constant(bits)?));
    }
    Ok(Expr::case(branches, None)?)
}

/// Grouping by columns of the input: the output's items and the engine's keys.
pub(super) fn group_keys(
    input: &Scope,
    columns: &[usize],
) -> Converted<(Vec<Item>, Vec<GroupKey>)> {
    let mut keys = Vec::new();
    let mut items = Vec::new();
    for (i, at) in columns.iter().enumerate() {
        let Some(item) = input.items.get(at - 1) else {
            return no("a grouping column beyond the input's");
        };
        let Column::Native(index, data_type) = item.column else {
            return no("grouping by a value that the engine cannot compute");
        };
        check_grouped(data_type)?;
        items.push(Item {
            column: Column::Native(i, data_type),
            ..item.clone()
        });
        keys.push(GroupKey {
            expr: Expr::column(index, data_type),
            nullable: true,
        });
    }
    Ok((items, keys))
}

/// The order in which groups come out of a Sort of their rows.
pub(super) unsafe fn group_order(
    sort: *mut pg_sys::Plan,
    columns: &[usize],
    keys: &[GroupKey],
) -> Converted<Vec<SortKey>> {
    // SAFETY: tags are checked before casts; a Sort's arrays have numCols elements.
    unsafe {
        if columns.is_empty() {
            return Ok(Vec::new());
        }
        if sort.is_null() || (*sort).type_ != NodeTag::T_Sort {
            return no("sorted groups whose order is used");
        }
        let sort = sort as *mut pg_sys::Sort;
        let mut order = Vec::new();
        for i in 0..columns.len().min((*sort).numCols as usize) {
            let at = *(*sort).sortColIdx.add(i) as usize;
            let Some(key) = columns.iter().position(|column| *column == at) else {
                return no("groups sorted by another column");
            };
            let data_type = keys[key].expr.data_type();
            order.push(sort_key(sort, i, key, data_type)?);
        }
        Ok(order)
    }
}
