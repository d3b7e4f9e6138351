// SPDX-License-Identifier: Apache-2.0
//! PostgreSQL's run-time partition pruning (`executor/execPartition.h`), before 18.
use super::raw;
use pgrx::pg_sys::{self, NodeTag};
use pgrx::PgList;

/// The fixed part of `PartitionPruneState`, the same in 15, 16 and 17.
#[repr(C)]
pub struct State {
    execparamids: *mut pg_sys::Bitmapset,
    other_subplans: *mut pg_sys::Bitmapset,
    prune_context: pg_sys::MemoryContext,
    do_initial_prune: bool,
    do_exec_prune: bool,
}

extern "C-unwind" {
    fn ExecInitPartitionPruning(
        planstate: *mut pg_sys::PlanState,
        subplans: i32,
        info: *mut pg_sys::PartitionPruneInfo,
        valid: *mut *mut pg_sys::Bitmapset,
    ) -> *mut State;
    fn ExecFindMatchingSubPlans(state: *mut State, initial: bool) -> *mut pg_sys::Bitmapset;
}

/// What PostgreSQL prunes an Append or MergeAppend by; null: nothing. The number of its inputs.
///
/// # Safety
/// A finished plan.
pub unsafe fn info(append: *mut pg_sys::Plan) -> (*mut pg_sys::PartitionPruneInfo, usize) {
    // SAFETY: the tag says what the node is.
    unsafe {
        let (info, inputs) = match (*append).type_ {
            NodeTag::T_Append => {
                let append = append as *mut pg_sys::Append;
                ((*append).part_prune_info, (*append).appendplans)
            }
            NodeTag::T_MergeAppend => {
                let merge = append as *mut pg_sys::MergeAppend;
                ((*merge).part_prune_info, (*merge).mergeplans)
            }
            _ => return (std::ptr::null_mut(), 0),
        };
        (info, PgList::<pg_sys::Plan>::from_pg(inputs).len())
    }
}

/// Begins the pruning of an Append in the place of its own state; with the inputs that are left at first.
///
/// # Safety
/// A begun state with an expression context; an Append with something to prune by.
pub unsafe fn begin(
    planstate: *mut pg_sys::PlanState,
    append: *mut pg_sys::Plan,
) -> (*mut State, Vec<usize>) {
    // SAFETY: passed on to the caller. The pruning makes an expression context of its own, in the place of the state's,
    // which other expressions of the state were made for.
    unsafe {
        let (info, inputs) = info(append);
        let context = (*planstate).ps_ExprContext;
        let mut valid = std::ptr::null_mut();
        let before = pg_sys::MemoryContextSwitchTo((*(*planstate).state).es_query_cxt);
        let state =
            raw::guarded(|| ExecInitPartitionPruning(planstate, inputs as i32, info, &mut valid));
        pg_sys::MemoryContextSwitchTo(before);
        (*planstate).ps_ExprContext = context;
        (state, members(valid))
    }
}

/// The inputs that are left with the values of all parameters, of those that were left at first.
///
/// # Safety
/// A state of [`begin`], in a query that runs.
pub unsafe fn find(state: *mut State, first: &[usize]) -> Vec<usize> {
    // SAFETY: passed on to the caller. The state numbers what was left at first.
    unsafe {
        if !(*state).do_exec_prune {
            return first.to_vec();
        }
        let valid = raw::guarded(|| ExecFindMatchingSubPlans(state, false));
        let left = members(valid).into_iter().map(|number| first[number]);
        let left = left.collect();
        pg_sys::bms_free(valid);
        left
    }
}

unsafe fn members(set: *mut pg_sys::Bitmapset) -> Vec<usize> {
    let mut found = Vec::new();
    let mut member = -1;
    loop {
        // SAFETY: a set or null.
        member = unsafe { pg_sys::bms_next_member(set, member) };
        match usize::try_from(member) {
            Ok(number) => found.push(number),
            Err(_) => return found,
        }
    }
}
