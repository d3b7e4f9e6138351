// SPDX-License-Identifier: Apache-2.0
//! PostgreSQL's run-time partition pruning (`executor/execPartition.h`), before 18.
use super::raw;
use pgrx::pg_sys::{self, NodeTag};
use pgrx::PgList;

/// The fixed part of `PartitionPruneState`, the same in 15, 16 and 17.
#[repr(C)]
struct State {
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

/// The pruning of an Append in a query that runs or is explained.
pub struct Begun {
    state: *mut State,
    planstate: *mut pg_sys::PlanState,
    /// The pruning's own.
    context: *mut pg_sys::ExprContext,
    /// The inputs that are left by what is known from the start.
    pub first: Vec<usize>,
}

/// Begins the pruning of an Append in the place of its own state.
///
/// # Safety
/// A begun state with an expression context, which lives as long as what is returned; an Append with something to prune by.
pub unsafe fn begin(planstate: *mut pg_sys::PlanState, append: *mut pg_sys::Plan) -> Begun {
    // SAFETY: passed on to the caller. The pruning makes an expression context of its own, in the place of the state's,
    // which other expressions of the state were made for.
    unsafe {
        let (info, inputs) = info(append);
        let others = (*planstate).ps_ExprContext;
        let mut valid = std::ptr::null_mut();
        let before = pg_sys::MemoryContextSwitchTo((*(*planstate).state).es_query_cxt);
        let state =
            raw::guarded(|| ExecInitPartitionPruning(planstate, inputs as i32, info, &mut valid));
        pg_sys::MemoryContextSwitchTo(before);
        let context = std::mem::replace(&mut (*planstate).ps_ExprContext, others);
        Begun {
            state,
            planstate,
            context,
            first: members(valid),
        }
    }
}

impl Begun {
    /// The inputs that are left with the values of all parameters, of those that were left at first.
    ///
    /// # Safety
    /// A query that runs.
    pub unsafe fn find(&self) -> Vec<usize> {
        // SAFETY: passed on to the caller. The pruning looks for its context where it has put it.
        unsafe {
            if !(*self.state).do_exec_prune {
                return self.first.clone();
            }
            let place = &raw mut (*self.planstate).ps_ExprContext;
            let others = std::mem::replace(&mut *place, self.context);
            let valid = raw::guarded(|| ExecFindMatchingSubPlans(self.state, false));
            *place = others;
            // The state numbers what was left at first.
            let left = members(valid).into_iter().map(|number| self.first[number]);
            let left = left.collect();
            pg_sys::bms_free(valid);
            left
        }
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
