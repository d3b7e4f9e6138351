// SPDX-License-Identifier: Apache-2.0
//! Partitions chosen while a query runs.
//!
//! An Append of which PostgreSQL would prune inputs is converted with all of them. When the node starts, PostgreSQL's
//! own pruning says which can have rows for the parameters' values (those of the client, of InitPlans, of the outer
//! side of a nested loop), and the others are taken out of the engine's plan: their tables are not opened.
use crate::pg::pruning;
use doris_engine::plan::Node;
use doris_engine::{batch::Batch, plan::Op};
use doris_storage::vector::Vector;
use pgrx::pg_sys;
use std::sync::Arc;

/// An Append or MergeAppend whose inputs are chosen at run time, and the engine's node that stands for it.
#[derive(Clone, Copy)]
pub struct Chosen {
    /// The number of the engine's node.
    pub id: u32,
    /// PostgreSQL's node.
    pub append: *mut pg_sys::Plan,
}

/// What a node knows of the pruning of its Appends. Lives as long as the query.
#[derive(Default)]
pub struct Partitions {
    known: Vec<Pruned>,
}

/// The pruning of an Append.
struct Pruned {
    append: *mut pg_sys::Plan,
    begun: pruning::Begun,
}

/// How much of the pruning is done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PruneStage {
    /// What is known when the executor starts: for EXPLAIN.
    Begun,
    /// All.
    Running,
}

impl Partitions {
    /// Takes the inputs that have no rows of interest out of a plan; returns how many.
    ///
    /// # Safety
    /// A begun state of our node, in a query that runs or is explained; `chosen` are Appends of its plan.
    pub unsafe fn choose(
        &mut self,
        planstate: *mut pg_sys::PlanState,
        chosen: &[Chosen],
        plan: &mut Node,
        when: PruneStage,
    ) -> usize {
        let mut removed = 0;
        for Chosen { id, append } in chosen {
            if let Some(node) = union(plan, *id) {
                // SAFETY: passed on to the caller.
                let left = unsafe { self.left(planstate, *append, when) };
                removed += keep_inputs(node, &left);
            }
        }
        removed
    }

    /// The inputs of an Append that are to be read.
    unsafe fn left(
        &mut self,
        planstate: *mut pg_sys::PlanState,
        append: *mut pg_sys::Plan,
        when: PruneStage,
    ) -> Vec<usize> {
        let known = self.known.iter().position(|known| known.append == append);
        // SAFETY: passed on to the caller; the state lives in the query's memory.
        unsafe {
            let number = known.unwrap_or_else(|| {
                let begun = pruning::begin(planstate, append);
                self.known.push(Pruned { append, begun });
                self.known.len() - 1
            });
            let begun = &self.known[number].begun;
            match when {
                PruneStage::Running => begun.find(),
                PruneStage::Begun => begun.first.clone(),
            }
        }
    }
}

/// The UNION ALL with a number.
fn union(node: &mut Node, id: u32) -> Option<&mut Node> {
    if node.id == id && matches!(node.op, Op::UnionAll { .. }) {
        return Some(node);
    }
    node.inputs_mut()
        .into_iter()
        .find_map(|input| union(input, id))
}

/// Keeps some inputs of a UNION ALL; returns how many are gone.
fn keep_inputs(node: &mut Node, left: &[usize]) -> usize {
    let Op::UnionAll { inputs } = &mut node.op else {
        return 0;
    };
    let before = inputs.len();
    let mut number = 0;
    inputs.retain(|_| {
        number += 1;
        left.contains(&(number - 1))
    });
    let removed = before - inputs.len();
    if inputs.is_empty() {
        let none = node.types.iter().map(|t| Vector::empty(t.physical()));
        let rows = Batch::new(none.map(Arc::new).collect(), 0);
        node.op = Op::Values { rows };
    }
    removed
}
