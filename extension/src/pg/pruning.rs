// SPDX-License-Identifier: Apache-2.0
//! PostgreSQL's run-time partition pruning (`executor/execPartition.h`).
//!
//! From 18 on the states are made when the executor starts, one for each Append of the statement, and what is known
//! then has been applied. They can be made ready for the rest once: the numbers of inputs in them are changed where
//! some are gone.
use super::raw;
use pgrx::pg_sys::{self, NodeTag};
use pgrx::PgList;

/// The fixed part of `PartitionPruneState`.
#[repr(C)]
struct PruningState {
    #[cfg(feature = "pg18")]
    context: *mut pg_sys::ExprContext,
    execparamids: *mut pg_sys::Bitmapset,
    other_subplans: *mut pg_sys::Bitmapset,
    prune_context: pg_sys::MemoryContext,
    do_initial_prune: bool,
    do_exec_prune: bool,
}

#[cfg(not(feature = "pg18"))]
extern "C-unwind" {
    fn ExecInitPartitionPruning(
        planstate: *mut pg_sys::PlanState,
        subplans: i32,
        info: *mut pg_sys::PartitionPruneInfo,
        valid: *mut *mut pg_sys::Bitmapset,
    ) -> *mut PruningState;
    fn ExecFindMatchingSubPlans(state: *mut PruningState, initial: bool) -> *mut pg_sys::Bitmapset;
}

#[cfg(feature = "pg18")]
extern "C-unwind" {
    fn ExecInitPartitionExecPruning(
        planstate: *mut pg_sys::PlanState,
        subplans: i32,
        index: i32,
        relids: *mut pg_sys::Bitmapset,
        valid: *mut *mut pg_sys::Bitmapset,
    ) -> *mut PruningState;
    fn ExecFindMatchingSubPlans(
        state: *mut PruningState,
        initial: bool,
        relids: *mut *mut pg_sys::Bitmapset,
    ) -> *mut pg_sys::Bitmapset;
}

/// When PostgreSQL prunes inputs of an Append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// When the executor starts.
    pub at_start: bool,
    /// While it runs: by InitPlans and outer rows.
    pub running: bool,
}

/// An Append or MergeAppend whose inputs are pruned.
struct Pruned {
    info: *mut pg_sys::PartitionPruneInfo,
    inputs: *mut pg_sys::List,
    /// From 18 on: the place of its state, and its tables.
    #[cfg(feature = "pg18")]
    place: (i32, *mut pg_sys::Bitmapset),
}

impl Pruned {
    #[cfg(not(feature = "pg18"))]
    unsafe fn of(append: *mut pg_sys::Plan, _stmt: *mut pg_sys::PlannedStmt) -> Option<Self> {
        // SAFETY: passed on to the caller; the tag says what the node is.
        let (info, inputs) = unsafe {
            match (*append).type_ {
                NodeTag::T_Append => {
                    let append = append as *mut pg_sys::Append;
                    ((*append).part_prune_info, (*append).appendplans)
                }
                NodeTag::T_MergeAppend => {
                    let merge = append as *mut pg_sys::MergeAppend;
                    ((*merge).part_prune_info, (*merge).mergeplans)
                }
                _ => return None,
            }
        };
        (!info.is_null()).then_some(Self { info, inputs })
    }

    #[cfg(feature = "pg18")]
    unsafe fn of(append: *mut pg_sys::Plan, stmt: *mut pg_sys::PlannedStmt) -> Option<Self> {
        // SAFETY: passed on to the caller; the tag says what the node is.
        unsafe {
            let (index, relids, inputs) = match (*append).type_ {
                NodeTag::T_Append => {
                    let append = &*(append as *mut pg_sys::Append);
                    (
                        append.part_prune_index,
                        append.apprelids,
                        append.appendplans,
                    )
                }
                NodeTag::T_MergeAppend => {
                    let merge = &*(append as *mut pg_sys::MergeAppend);
                    (merge.part_prune_index, merge.apprelids, merge.mergeplans)
                }
                _ => return None,
            };
            let all = PgList::<pg_sys::PartitionPruneInfo>::from_pg((*stmt).partPruneInfos);
            let info = all.get_ptr(usize::try_from(index).ok()?)?;
            Some(Self {
                info,
                inputs,
                place: (index, relids),
            })
        }
    }

    fn inputs(&self) -> i32 {
        // SAFETY: a list of a finished plan.
        unsafe { PgList::<pg_sys::Plan>::from_pg(self.inputs).len() as i32 }
    }

    unsafe fn steps(&self) -> Steps {
        let mut steps = Steps {
            at_start: false,
            running: false,
        };
        // SAFETY: a finished plan: lists of lists of these.
        unsafe {
            let trees = PgList::<pg_sys::List>::from_pg((*self.info).prune_infos);
            for tree in trees.iter_ptr() {
                let levels = PgList::<pg_sys::PartitionedRelPruneInfo>::from_pg(tree);
                for level in levels.iter_ptr() {
                    steps.at_start |= !(*level).initial_pruning_steps.is_null();
                    steps.running |= !(*level).exec_pruning_steps.is_null();
                }
            }
        }
        steps
    }

    #[cfg(not(feature = "pg18"))]
    unsafe fn init(
        &self,
        planstate: *mut pg_sys::PlanState,
        valid: &mut *mut pg_sys::Bitmapset,
    ) -> *mut PruningState {
        // SAFETY: passed on to the caller.
        raw::guarded(|| unsafe {
            ExecInitPartitionPruning(planstate, self.inputs(), self.info, valid)
        })
    }

    #[cfg(feature = "pg18")]
    unsafe fn init(
        &self,
        planstate: *mut pg_sys::PlanState,
        valid: &mut *mut pg_sys::Bitmapset,
    ) -> *mut PruningState {
        let (index, relids) = self.place;
        // SAFETY: passed on to the caller.
        raw::guarded(|| unsafe {
            ExecInitPartitionExecPruning(planstate, self.inputs(), index, relids, valid)
        })
    }
}

/// When PostgreSQL prunes inputs of a node of a statement; `None`: never.
///
/// # Safety
/// A finished plan.
pub unsafe fn steps(append: *mut pg_sys::Plan, stmt: *mut pg_sys::PlannedStmt) -> Option<Steps> {
    // SAFETY: passed on to the caller.
    unsafe { Pruned::of(append, stmt).map(|pruned| pruned.steps()) }
}

/// The pruning of an Append in a query that runs or is explained.
pub struct Begun {
    state: *mut PruningState,
    planstate: *mut pg_sys::PlanState,
    /// The pruning's own.
    context: *mut pg_sys::ExprContext,
    /// The inputs that are left by what is known from the start.
    pub first: Vec<usize>,
}

/// Begins the pruning of an Append in the place of its own state.
///
/// # Safety
/// A begun state with an expression context, which lives as long as what is returned; an Append with something to prune
/// by.
pub unsafe fn begin(planstate: *mut pg_sys::PlanState, append: *mut pg_sys::Plan) -> Begun {
    // SAFETY: passed on to the caller. The pruning makes an expression context of its own, in the place of the state's,
    // which other expressions of the state were made for.
    unsafe {
        let estate = (*planstate).state;
        let pruned = Pruned::of(append, (*estate).es_plannedstmt)
            .unwrap_or_else(|| pgrx::error!("an Append without anything to prune by"));
        let others = (*planstate).ps_ExprContext;
        let mut valid = std::ptr::null_mut();
        let before = pg_sys::MemoryContextSwitchTo((*estate).es_query_cxt);
        let state = pruned.init(planstate, &mut valid);
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
            #[cfg(not(feature = "pg18"))]
            let valid = raw::guarded(|| ExecFindMatchingSubPlans(self.state, false));
            #[cfg(feature = "pg18")]
            let valid =
                raw::guarded(|| ExecFindMatchingSubPlans(self.state, false, std::ptr::null_mut()));
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
