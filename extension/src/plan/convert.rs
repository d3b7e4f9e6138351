// SPDX-License-Identifier: Apache-2.0
//! Plan subtrees to engine plans.
//!
//! A converted node hands its targetlist's entries to its parent as engine columns. Only the topmost
//! converted node may leave something to PostgreSQL: quals (the first that is not native and all after it, so
//! that none moves ahead of another) and targetlist expressions are then evaluated over the engine's rows. Below
//! it, what only PostgreSQL can evaluate becomes an external expression, evaluated over batches; not so where a LIMIT
//! may stop before a row that raises an error.
use self::pieces::{
    as_shown, check_groupable, check_grouped, check_sortable, described, renamed, unsorted, var_of,
};
use super::expr::Translator;
use super::external::External;
use super::params::Params;
use super::partitions::Chosen;
use super::required_columns::ParentRequirements;
use super::scope::{Item, Scope};
use super::{no, Converted};
use doris_engine::expr::Expr;
use doris_engine::plan::Node;
use pgrx::pg_sys::{self, NodeTag};

mod aggregate;
mod append;
mod collect;
mod distinct_on;
mod doris_aggregates;
mod final_projection;
mod join;
mod merge;
mod ordered_set;
mod pieces;
mod rows;
mod scan;
mod sort;
mod window;

/// A table that an engine plan reads.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its place in the range table.
    pub rti: u32,
    /// The attributes read, in the order of the source's columns.
    pub attributes: Vec<u16>,
    /// The filters applied to it, for pruning: over the source's columns.
    pub filters: Vec<Expr>,
    /// Instead of a table: the subplan whose output columns it reads.
    pub fed: Option<*mut pg_sys::Plan>,
    /// Whether declared numerics of such a subplan are scaled integers; otherwise they carry their scale.
    pub exact: bool,
}

impl Source {
    /// Whether it is worth an engine plan: a table of ours, or a CTE over one.
    ///
    /// # Safety
    /// The finished statement that it is part of.
    unsafe fn is_ours(&self, stmt: *mut pg_sys::PlannedStmt) -> bool {
        // SAFETY: passed on to the caller.
        self.fed.is_none_or(|plan| unsafe {
            (*plan).type_ == NodeTag::T_CteScan && super::hook::reads_segments(plan, stmt)
        })
    }
}

/// A converted subtree.
pub struct Top {
    /// The engine's plan.
    pub node: Node,
    /// What it reads.
    pub sources: Vec<Source>,
    /// Its output: what the scan tuple holds.
    pub scope: Scope,
    /// What PostgreSQL still checks: expressions over the scope.
    pub quals: Vec<*mut pg_sys::Node>,
    /// What PostgreSQL evaluates within the engine's plan, by number.
    pub externals: Vec<External>,
    /// Where partitions are chosen at run time.
    pub chosen: Vec<Chosen>,
}

/// Turns plan nodes into engine nodes.
pub struct Converter<'a> {
    stmt: *mut pg_sys::PlannedStmt,
    params: &'a mut dyn Params,
    sources: Vec<Source>,
    externals: Vec<External>,
    chosen: Vec<Chosen>,
    pace: RowDelivery,
    next_id: u32,
    /// As in [`Source`].
    exact: bool,
    /// Plan nodes above the one at hand.
    levels: usize,
}

/// When the rows of a part of a plan are computed, which decides what PostgreSQL may evaluate in it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RowDelivery {
    /// As somebody asks for them. External expressions go ahead by batches: they would raise errors of rows that nobody
    /// asks for.
    Asked,
    /// In batches, of which some are handed out before others are computed. A result that the engine cannot hold, a
    /// NaN, would come too late for PostgreSQL to take over: numerics are carried along only.
    Streamed,
    /// All before the first is handed out.
    Whole,
}

/// An engine node with its output, entry by entry of the plan node's targetlist.
struct Output {
    node: Node,
    entries: Vec<Item>,
}

/// An engine node with what expressions of the plan node may refer to, before quals and targetlist.
struct Core {
    node: Node,
    scope: Scope,
}

impl<'a> Converter<'a> {
    /// A converter for plans of a finished statement.
    ///
    /// # Safety
    /// A finished statement, which outlives the converter and what it makes.
    pub unsafe fn new(stmt: *mut pg_sys::PlannedStmt, params: &'a mut dyn Params) -> Self {
        Self {
            stmt,
            params,
            sources: Vec::new(),
            externals: Vec::new(),
            chosen: Vec::new(),
            pace: RowDelivery::Streamed,
            next_id: 0,
            exact: true,
            levels: 0,
        }
    }

    fn id(&mut self) -> u32 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// Converts a subtree whose parent stays with PostgreSQL.
    ///
    /// # Safety
    /// A finished plan of the statement.
    pub unsafe fn top(
        self,
        plan: *mut pg_sys::Plan,
        requirements: &ParentRequirements,
    ) -> Converted<Top> {
        let Self { stmt, params, .. } = self;
        // SAFETY: passed on to the caller.
        unsafe {
            let top = Converter::new(stmt, &mut *params).once(plan, requirements)?;
            if !super::subplan_source::streams_decimals(&top) {
                return Ok(top);
            }
            let mut again = Converter::new(stmt, params);
            again.exact = false;
            again.once(plan, requirements)
        }
    }

    unsafe fn once(
        self,
        plan: *mut pg_sys::Plan,
        requirements: &ParentRequirements,
    ) -> Converted<Top> {
        let stmt = self.stmt;
        // SAFETY: passed on to the caller.
        let (mut top, mut next_id) = unsafe { self.whole(plan, requirements) }?;
        // SAFETY: the sources are plans of the statement.
        let ours = |source: &Source| unsafe { source.is_ours(stmt) };
        if !top.sources.iter().any(ours) {
            return no("only inputs that PostgreSQL reads");
        }
        if !top.externals.is_empty() {
            top.node = super::external_placement::isolate(top.node, &mut next_id)?;
        }
        top.node = super::column_pruning::prune(top.node, &mut top.sources);
        Ok(top)
    }

    /// The conversion before columns are pruned, and the first free number for nodes.
    unsafe fn whole(
        mut self,
        plan: *mut pg_sys::Plan,
        requirements: &ParentRequirements,
    ) -> Converted<(Top, u32)> {
        // SAFETY: as for `top`.
        unsafe {
            super::nesting::check(plan, self.levels)?;
            let requirements = &ParentRequirements {
                ordered: requirements.ordered && super::order::may_matter(plan),
                ..requirements.clone()
            };
            match (*plan).type_ {
                _ if repeats_input(plan) => {
                    let output = self.output(plan, requirements.ordered)?;
                    let scope = Scope {
                        items: output.entries,
                    };
                    if !scope.is_showable() {
                        return no("a value that the engine cannot compute");
                    }
                    Ok(self.made(output.node, scope, Vec::new()))
                }
                _ => {
                    let core = self.core(plan, requirements.ordered)?;
                    self.finish(plan, core, requirements)
                }
            }
        }
    }

    fn made(self, node: Node, scope: Scope, quals: Vec<*mut pg_sys::Node>) -> (Top, u32) {
        let top = Top {
            node,
            sources: self.sources,
            scope,
            quals,
            externals: self.externals,
            chosen: self.chosen,
        };
        (top, self.next_id)
    }

    unsafe fn translate(&mut self, scope: &Scope, node: *mut pg_sys::Node) -> Converted<Expr> {
        // SAFETY: as for `top`.
        unsafe { self.translator(scope).expr(node) }
    }

    unsafe fn carried(&mut self, scope: &Scope, node: *mut pg_sys::Node) -> Converted<Expr> {
        // SAFETY: as for `top`.
        unsafe { self.translator(scope).carried(node) }
    }

    fn translator<'s>(&'s mut self, scope: &'s Scope) -> Translator<'s> {
        Translator {
            scope,
            params: &mut *self.params,
            externals: (self.pace != RowDelivery::Asked).then_some(&mut self.externals),
            numerics: self.pace == RowDelivery::Whole,
            tested: Vec::new(),
            guarded: false,
            stmt: self.stmt,
        }
    }

    /// Converts what computes all its rows before it hands out the first.
    fn eagerly<T>(&mut self, convert: impl FnOnce(&mut Self) -> T) -> T {
        self.at_pace(RowDelivery::Whole, convert)
    }

    fn at_pace<T>(&mut self, pace: RowDelivery, convert: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.pace, pace);
        let result = convert(self);
        self.pace = before;
        result
    }

    /// Converts a subtree whole, or takes its rows from PostgreSQL.
    unsafe fn output(&mut self, plan: *mut pg_sys::Plan, ordered: bool) -> Converted<Output> {
        // SAFETY: as for `top`.
        unsafe {
            if plan.is_null() {
                return no("a missing input");
            }
            if super::node::is_ours(plan) {
                return self.output(super::node::original(plan.cast()), ordered);
            }
            let ordered = ordered && super::order::may_matter(plan);
            let known = self.sources.len();
            self.levels += 1;
            let native = super::nesting::check(plan, self.levels)
                .and_then(|()| self.native_output(plan, ordered));
            self.levels -= 1;
            native.or_else(|why| {
                self.sources.truncate(known);
                let fit = super::subplan_source::may_feed(plan, self.stmt)
                    && super::subplan_source::may_start_twice(plan, self.stmt);
                match !ordered && fit {
                    true => Ok(self.fed(plan, &why)),
                    false => Err(why),
                }
            })
        }
    }

    /// Converts a subtree whole: the node is the engine's.
    unsafe fn native_output(
        &mut self,
        plan: *mut pg_sys::Plan,
        ordered: bool,
    ) -> Converted<Output> {
        // SAFETY: as for `top`.
        unsafe {
            match (*plan).type_ {
                NodeTag::T_Hash | NodeTag::T_Material => {
                    let input = self.output((*plan).lefttree, ordered)?;
                    self.passed_on(plan, input)
                }
                NodeTag::T_Sort | NodeTag::T_IncrementalSort => {
                    self.eagerly(|own| own.sort(plan.cast()))
                }
                NodeTag::T_Unique => self.unique(plan.cast(), ordered),
                NodeTag::T_MergeAppend => self.eagerly(|own| own.merge_append(plan.cast())),
                NodeTag::T_Limit => self.limit(plan.cast()),
                _ => {
                    let core = self.core(plan, ordered)?;
                    let (core, rest) = self.filter(core, (*plan).qual)?;
                    if let Some(qual) = rest.first() {
                        self.translate(&core.scope, *qual)?;
                    }
                    self.targets(plan, core)
                }
            }
        }
    }

    unsafe fn core(&mut self, plan: *mut pg_sys::Plan, ordered: bool) -> Converted<Core> {
        // SAFETY: node tags say what a node is.
        unsafe {
            if super::hook::writing::sets_several_columns(plan) {
                return no("a subquery that sets several columns");
            }
            match (*plan).type_ {
                NodeTag::T_SeqScan => self.scan(plan.cast()),
                NodeTag::T_SubqueryScan => self.subquery(plan.cast(), ordered),
                NodeTag::T_HashJoin => {
                    let join = plan as *mut pg_sys::HashJoin;
                    self.join(&raw mut (*join).join, (*join).hashclauses)
                }
                NodeTag::T_MergeJoin => {
                    let join = plan as *mut pg_sys::MergeJoin;
                    if ordered {
                        return no("a merge join whose order is used");
                    }
                    self.join(&raw mut (*join).join, (*join).mergeclauses)
                }
                NodeTag::T_NestLoop => {
                    let join = plan as *mut pg_sys::NestLoop;
                    if ordered || !(*join).nestParams.is_null() {
                        return no("a nested loop that hands values to its inner side, or whose order is used");
                    }
                    self.join(&raw mut (*join).join, std::ptr::null_mut())
                }
                NodeTag::T_Agg => self.eagerly(|own| own.aggregate(plan.cast(), ordered)),
                NodeTag::T_WindowAgg => self.eagerly(|own| own.window(plan.cast(), ordered)),
                NodeTag::T_Group => self.eagerly(|own| own.group(plan.cast(), ordered)),
                NodeTag::T_Append if ordered => {
                    no("inputs one after the other whose order is used")
                }
                NodeTag::T_Append => self.append(plan.cast()),
                NodeTag::T_SetOp => self.set_op(plan.cast(), ordered),
                NodeTag::T_Result if !(*plan).lefttree.is_null() => {
                    self.result(plan.cast(), ordered)
                }
                tag => no(format!("{} is PostgreSQL's", described(tag))),
            }
        }
    }
}

/// Whether a node's targetlist only repeats its input's.
pub unsafe fn repeats_input(plan: *mut pg_sys::Plan) -> bool {
    // SAFETY: a plan node.
    let tag = unsafe { (*plan).type_ };
    matches!(
        tag,
        NodeTag::T_Sort
            | NodeTag::T_IncrementalSort
            | NodeTag::T_MergeAppend
            | NodeTag::T_Limit
            | NodeTag::T_Unique
    )
}
