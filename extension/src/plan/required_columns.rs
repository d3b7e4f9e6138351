// SPDX-License-Identifier: Apache-2.0
//! What a parent uses of its child's rows.
//!
//! PostgreSQL lets a scan put out whole rows where nobody minds, which costs a row store nothing and us the reading
//! and copying of columns that no one looks at. A converted node puts out NULL for what its parent does not use.
use pgrx::pg_sys::{self, NodeTag};
use pgrx::PgList;
use std::collections::BTreeSet;
use std::rc::Rc;

/// The output columns (by number, from 1) that the parent uses; `None`: all.
pub type RequiredColumns = Option<BTreeSet<i16>>;

/// What a parent requires of a converted subtree; kept in the custom scan node.
#[derive(Clone, Debug, Default)]
pub struct ParentRequirements {
    /// Whether it may rely on the order of the rows.
    pub ordered: bool,
    /// What it uses of them.
    pub need: RequiredColumns,
    /// Why the parent was not converted. The node keeps it for EXPLAIN only, apart from the rest.
    pub above: Option<Rc<str>>,
}

impl ParentRequirements {
    /// As a list of integers, for a plan.
    pub fn encode(&self) -> *mut pg_sys::List {
        let mut list = std::ptr::null_mut();
        let columns = self.need.iter().flatten().map(|n| i32::from(*n));
        let numbers = [i32::from(self.ordered), i32::from(self.need.is_some())];
        for number in numbers.into_iter().chain(columns) {
            // SAFETY: a list of integers, palloc'd.
            list = unsafe { pg_sys::lappend_int(list, number) };
        }
        list
    }

    /// From a list of [`ParentRequirements::encode`].
    ///
    /// # Safety
    /// Such a list.
    pub unsafe fn decode(list: *mut pg_sys::List) -> Self {
        // SAFETY: passed on to the caller.
        let numbers: Vec<i32> = unsafe { PgList::<i32>::from_pg(list).iter_int().collect() };
        let need = || numbers[2..].iter().map(|n| *n as i16).collect();
        Self {
            ordered: numbers.first() == Some(&1),
            need: (numbers.get(1) == Some(&1)).then(need),
            above: None,
        }
    }

    /// Whether a column is used.
    pub fn uses(&self, column: i16) -> bool {
        self.need.as_ref().is_none_or(|need| need.contains(&column))
    }
}

/// What a node that stays with PostgreSQL uses of its outer and its inner child.
///
/// # Safety
/// A node of a finished plan.
pub unsafe fn of_children(
    plan: *mut pg_sys::Plan,
    need: &RequiredColumns,
) -> (RequiredColumns, RequiredColumns) {
    // SAFETY: passed on to the caller; node tags say what a node is.
    unsafe {
        let mut used = Used::default();
        let own = ParentRequirements {
            ordered: false,
            need: need.clone(),
            above: None,
        };
        for target in PgList::<pg_sys::TargetEntry>::from_pg((*plan).targetlist).iter_ptr() {
            if own.uses((*target).resno) {
                used.take((*target).expr.cast());
                if is_passthrough(plan) {
                    // A constant of its targetlist stands for the child's column all the same.
                    used.outer.insert((*target).resno);
                }
            }
        }
        used.take((*plan).qual.cast());
        match (*plan).type_ {
            NodeTag::T_Material | NodeTag::T_Limit => {}
            NodeTag::T_Hash => used.take((*(plan as *mut pg_sys::Hash)).hashkeys.cast()),
            NodeTag::T_Result => {
                used.take((*(plan as *mut pg_sys::Result)).resconstantqual);
            }
            NodeTag::T_Sort => {
                let sort = plan as *mut pg_sys::Sort;
                used.columns((*sort).numCols, (*sort).sortColIdx);
            }
            NodeTag::T_Group => {
                let group = plan as *mut pg_sys::Group;
                used.columns((*group).numCols, (*group).grpColIdx);
            }
            NodeTag::T_Agg => {
                let agg = plan as *mut pg_sys::Agg;
                if !(*agg).groupingSets.is_null() || !(*agg).chain.is_null() {
                    return (None, None);
                }
                used.columns((*agg).numCols, (*agg).grpColIdx);
            }
            NodeTag::T_HashJoin => {
                let join = plan as *mut pg_sys::HashJoin;
                used.take((*join).join.joinqual.cast());
                used.take((*join).hashclauses.cast());
                used.take((*join).hashkeys.cast());
            }
            NodeTag::T_MergeJoin => {
                let join = plan as *mut pg_sys::MergeJoin;
                used.take((*join).join.joinqual.cast());
                used.take((*join).mergeclauses.cast());
            }
            NodeTag::T_NestLoop => {
                let join = plan as *mut pg_sys::NestLoop;
                used.take((*join).join.joinqual.cast());
                for param in PgList::<pg_sys::NestLoopParam>::from_pg((*join).nestParams).iter_ptr()
                {
                    used.take((*param).paramval.cast());
                }
            }
            _ => return (None, None),
        }
        match used.everything {
            true => (None, None),
            false => (Some(used.outer), Some(used.inner)),
        }
    }
}

/// Whether a node hands on its child's rows as they are, and computes nothing.
unsafe fn is_passthrough(plan: *mut pg_sys::Plan) -> bool {
    // SAFETY: the tag says what the node is.
    let tag = unsafe { (*plan).type_ };
    matches!(
        tag,
        NodeTag::T_Material | NodeTag::T_Limit | NodeTag::T_Hash | NodeTag::T_Sort
    )
}

/// Columns of the children that expressions refer to.
#[derive(Default)]
struct Used {
    outer: BTreeSet<i16>,
    inner: BTreeSet<i16>,
    everything: bool,
}

impl Used {
    unsafe fn take(&mut self, node: *mut pg_sys::Node) {
        let flags = pg_sys::PVC_RECURSE_AGGREGATES
            | pg_sys::PVC_RECURSE_WINDOWFUNCS
            | pg_sys::PVC_RECURSE_PLACEHOLDERS;
        // SAFETY: an expression or a list of them, of a finished plan: no references to outer queries.
        let vars = unsafe { pg_sys::pull_var_clause(node, flags as i32) };
        // SAFETY: a list of Vars.
        for var in unsafe { PgList::<pg_sys::Var>::from_pg(vars).iter_ptr() } {
            // SAFETY: as above.
            let (varno, column) = unsafe { ((*var).varno, (*var).varattno) };
            let side = match varno {
                pg_sys::OUTER_VAR => &mut self.outer,
                pg_sys::INNER_VAR => &mut self.inner,
                _ => continue,
            };
            self.everything |= column <= 0;
            side.insert(column);
        }
    }

    unsafe fn columns(&mut self, count: i32, columns: *mut pg_sys::AttrNumber) {
        // SAFETY: an array of `count` column numbers.
        let numbers = (0..count as usize).map(|i| unsafe { *columns.add(i) });
        self.outer.extend(numbers);
    }
}
