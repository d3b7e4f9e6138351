// SPDX-License-Identifier: Apache-2.0
//! Plan subtrees to engine plans.
//!
//! A converted node hands its targetlist's entries to its parent as engine columns. Only the topmost
//! converted node may leave something to PostgreSQL: quals (the first that is not native and all after it, so
//! that none moves ahead of another) and targetlist expressions are then evaluated over the engine's rows. Below
//! it, what only PostgreSQL can evaluate becomes an external expression, evaluated over batches; not so where a LIMIT
//! may stop before a row that raises an error.
use super::expr::Translator;
use super::external::External;
use super::need::Wish;
use super::params::Params;
use super::partitions::Chosen;
use super::scope::{Column, Item, Scope};
use super::{no, Converted, Reason};
use doris_engine::expr::Expr;
use doris_engine::plan::Node;
use pgrx::pg_sys::{self, NodeTag};
use pgrx::PgList;

mod aggregate;
mod append;
mod collect;
mod finished;
mod first;
mod join;
mod merge;
mod ordered;
mod own;
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
    fn is_ours(&self, stmt: *mut pg_sys::PlannedStmt) -> bool {
        // SAFETY: a plan of the finished statement.
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
    pace: Pace,
    next_id: u32,
    /// As in [`Source`].
    exact: bool,
}

/// When the rows of a part of a plan are computed, which decides what PostgreSQL may evaluate in it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
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
    pub fn new(stmt: *mut pg_sys::PlannedStmt, params: &'a mut dyn Params) -> Self {
        Self {
            stmt,
            params,
            sources: Vec::new(),
            externals: Vec::new(),
            chosen: Vec::new(),
            pace: Pace::Streamed,
            next_id: 0,
            exact: true,
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
    pub unsafe fn top(self, plan: *mut pg_sys::Plan, wish: &Wish) -> Converted<Top> {
        let Self { stmt, params, .. } = self;
        // SAFETY: passed on to the caller.
        unsafe {
            let top = Converter::new(stmt, &mut *params).once(plan, wish)?;
            if !super::feed::streams_decimals(&top) {
                return Ok(top);
            }
            let mut again = Converter::new(stmt, params);
            again.exact = false;
            again.once(plan, wish)
        }
    }

    unsafe fn once(self, plan: *mut pg_sys::Plan, wish: &Wish) -> Converted<Top> {
        let stmt = self.stmt;
        // SAFETY: passed on to the caller.
        let (mut top, mut next_id) = unsafe { self.whole(plan, wish) }?;
        if !top.sources.iter().any(|source| source.is_ours(stmt)) {
            return no("only inputs that PostgreSQL reads");
        }
        if !top.externals.is_empty() {
            top.node = super::isolate::isolate(top.node, &mut next_id)?;
        }
        top.node = super::columns::prune(top.node, &mut top.sources);
        Ok(top)
    }

    /// The conversion before columns are pruned, and the first free number for nodes.
    unsafe fn whole(mut self, plan: *mut pg_sys::Plan, wish: &Wish) -> Converted<(Top, u32)> {
        // SAFETY: as for `top`.
        unsafe {
            let wish = &Wish {
                ordered: wish.ordered && super::order::may_matter(plan),
                ..wish.clone()
            };
            match (*plan).type_ {
                _ if repeats_input(plan) => {
                    let output = self.output(plan, wish.ordered)?;
                    let scope = Scope {
                        items: output.entries,
                    };
                    if !scope.is_showable() {
                        return no("a value that the engine cannot compute");
                    }
                    Ok(self.made(output.node, scope, Vec::new()))
                }
                _ => {
                    let core = self.core(plan, wish.ordered)?;
                    self.finish(plan, core, wish)
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

    unsafe fn finish(
        mut self,
        plan: *mut pg_sys::Plan,
        core: Core,
        wish: &Wish,
    ) -> Converted<(Top, u32)> {
        // SAFETY: as for `top`.
        unsafe {
            self.pace = Pace::Asked;
            let (core, quals) = self.filter(core, (*plan).qual)?;
            let mut items: Vec<Item> = Vec::new();
            let mut exprs: Vec<Expr> = Vec::new();
            let targets = PgList::<pg_sys::TargetEntry>::from_pg((*plan).targetlist);
            for target in targets.iter_ptr() {
                if !wish.uses((*target).resno) {
                    continue;
                }
                let node = (*target).expr as *mut pg_sys::Node;
                let native = self.translate(&core.scope, node).and_then(as_shown);
                match native {
                    // Before PostgreSQL's quals, it might fail for rows that they drop.
                    Ok(expr) if !quals.is_empty() && expr.can_raise() => {
                        take_pieces(&core.scope, &mut items, &mut exprs, node)?
                    }
                    Ok(expr) => push_native(&core.scope, &mut items, &mut exprs, node, expr),
                    Err(_) => take_pieces(&core.scope, &mut items, &mut exprs, node)?,
                }
            }
            for qual in &quals {
                take_pieces(&core.scope, &mut items, &mut exprs, *qual)?;
            }
            let node = self.project(core.node, &mut items, exprs);
            Ok(self.made(node, Scope { items }, quals))
        }
    }

    /// Projects to the items' columns.
    fn project(&mut self, input: Node, items: &mut [Item], exprs: Vec<Expr>) -> Node {
        let mut columns = Vec::new();
        let mut exprs = exprs.into_iter();
        for item in items {
            match &mut item.column {
                Column::Native(index, data_type) => {
                    let expr = exprs.next().expect("an expression for each native item");
                    *data_type = expr.data_type();
                    *index = columns.len();
                    columns.push(expr);
                }
                Column::Missing => {}
            }
        }
        let id = self.id();
        Node::project(id, input, columns)
    }

    unsafe fn translate(&mut self, scope: &Scope, node: *mut pg_sys::Node) -> Converted<Expr> {
        // SAFETY: as for `top`.
        unsafe {
            Translator {
                scope,
                params: &mut *self.params,
                externals: (self.pace != Pace::Asked).then_some(&mut self.externals),
                numerics: self.pace == Pace::Whole,
                tested: Vec::new(),
                guarded: false,
                stmt: self.stmt,
            }
            .expr(node)
        }
    }

    unsafe fn carried(&mut self, scope: &Scope, node: *mut pg_sys::Node) -> Converted<Expr> {
        // SAFETY: as for `top`.
        unsafe {
            Translator {
                scope,
                params: &mut *self.params,
                externals: (self.pace != Pace::Asked).then_some(&mut self.externals),
                numerics: self.pace == Pace::Whole,
                tested: Vec::new(),
                guarded: false,
                stmt: self.stmt,
            }
            .carried(node)
        }
    }

    /// Converts what computes all its rows before it hands out the first.
    fn eagerly<T>(&mut self, convert: impl FnOnce(&mut Self) -> T) -> T {
        self.at_pace(Pace::Whole, convert)
    }

    fn at_pace<T>(&mut self, pace: Pace, convert: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.pace, pace);
        let result = convert(self);
        self.pace = before;
        result
    }

    /// Applies the longest native prefix of a qual list; returns the rest.
    unsafe fn filter(
        &mut self,
        mut core: Core,
        quals: *mut pg_sys::List,
    ) -> Converted<(Core, Vec<*mut pg_sys::Node>)> {
        // SAFETY: as for `top`.
        unsafe {
            let list: Vec<_> = PgList::<pg_sys::Node>::from_pg(quals).iter_ptr().collect();
            let mut native = Vec::new();
            let mut rest = Vec::new();
            for (i, qual) in list.iter().enumerate() {
                if let Ok(expr) = self.translate(&core.scope, *qual) {
                    native.push(expr);
                    continue;
                }
                let sources = self.sources.len();
                match self.hashed_subplan(&core.scope, *qual) {
                    Ok(join) => {
                        core = self.keep(core, std::mem::take(&mut native))?;
                        core.node = self.semi_join(core.node, join);
                    }
                    Err(_) => {
                        self.sources.truncate(sources);
                        rest = list[i..].to_vec();
                        break;
                    }
                }
            }
            Ok((self.keep(core, native)?, rest))
        }
    }

    /// Keeps the rows for which all of `filters` are true.
    fn keep(&mut self, mut core: Core, mut filters: Vec<Expr>) -> Converted<Core> {
        if filters.is_empty() {
            return Ok(core);
        }
        if let doris_engine::plan::Op::Scan(scan) = &mut core.node.op {
            self.sources[scan.source].filters = filters.clone();
            scan.filters = filters;
            return Ok(core);
        }
        let predicate = match filters.len() {
            1 => filters.remove(0),
            _ => Expr::and(filters)?,
        };
        let id = self.id();
        core.node = Node::filter(id, core.node, predicate);
        Ok(core)
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
            self.native_output(plan, ordered).or_else(|why| {
                self.sources.truncate(known);
                match !ordered && super::feed::may_feed(plan) {
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

    /// The targetlist of a node whose expressions are all native.
    unsafe fn targets(&mut self, plan: *mut pg_sys::Plan, core: Core) -> Converted<Output> {
        // SAFETY: as for `top`.
        unsafe {
            let mut entries = Vec::new();
            let mut exprs = Vec::new();
            for target in PgList::<pg_sys::TargetEntry>::from_pg((*plan).targetlist).iter_ptr() {
                let node = (*target).expr as *mut pg_sys::Node;
                if let Some(at) = core.scope.find(node) {
                    let item = core.scope.items[at].clone();
                    if let Column::Native(index, data_type) = item.column {
                        exprs.push(Expr::column(index, data_type));
                    }
                    entries.push(item);
                    continue;
                }
                let shown = super::hook::flatten(node, &core.scope);
                let column = match self.translate(&core.scope, node).and_then(as_shown) {
                    Ok(expr) => {
                        let data_type = expr.data_type();
                        exprs.push(expr);
                        Column::Native(0, data_type)
                    }
                    Err(Reason(why)) => {
                        pgrx::debug2!("not vectorised, unless nobody asks for it: {why}");
                        Column::Missing
                    }
                };
                entries.push(Item {
                    shown,
                    ..Item::new(node, column)
                });
            }
            let node = self.project(core.node, &mut entries, exprs);
            Ok(Output { node, entries })
        }
    }

    /// Nodes whose targetlist only repeats their input's.
    unsafe fn passed_on(&mut self, plan: *mut pg_sys::Plan, input: Output) -> Converted<Output> {
        // SAFETY: as for `top`.
        unsafe {
            let mut entries = Vec::new();
            for target in PgList::<pg_sys::TargetEntry>::from_pg((*plan).targetlist).iter_ptr() {
                let node = (*target).expr as *mut pg_sys::Node;
                let at = match (*node).type_ {
                    NodeTag::T_Var => (*(node as *mut pg_sys::Var)).varattno as usize,
                    // Such nodes compute nothing: the input's column is that constant.
                    NodeTag::T_Const => (*target).resno as usize,
                    _ => return no("an expression where a column was expected"),
                };
                match at.checked_sub(1).and_then(|at| input.entries.get(at)) {
                    Some(item) => entries.push(Item {
                        node,
                        ..item.clone()
                    }),
                    None => return no("a column beyond the input's"),
                }
            }
            Ok(Output {
                node: input.node,
                entries,
            })
        }
    }

    unsafe fn core(&mut self, plan: *mut pg_sys::Plan, ordered: bool) -> Converted<Core> {
        // SAFETY: node tags say what a node is.
        unsafe {
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
                NodeTag::T_Append => self.append(plan.cast()),
                #[cfg(not(feature = "pg18"))]
                NodeTag::T_SetOp => self.set_op(plan.cast(), ordered),
                NodeTag::T_Result if !(*plan).lefttree.is_null() => {
                    self.result(plan.cast(), ordered)
                }
                tag => no(format!("{} is PostgreSQL's", described(tag))),
            }
        }
    }
}

/// A kind of plan node that the engine has not, as EXPLAIN calls it.
fn described(tag: NodeTag) -> String {
    let known = match tag {
        NodeTag::T_IndexScan => "an index scan",
        NodeTag::T_IndexOnlyScan => "an index-only scan",
        NodeTag::T_BitmapHeapScan => "a bitmap scan",
        NodeTag::T_TidScan | NodeTag::T_TidRangeScan => "a scan by ctid",
        NodeTag::T_SampleScan => "a scan of a sample",
        NodeTag::T_FunctionScan | NodeTag::T_TableFuncScan => "a scan of a function",
        NodeTag::T_ValuesScan => "a list of values",
        NodeTag::T_CteScan => "a scan of a CTE",
        NodeTag::T_ForeignScan => "a scan of a foreign table",
        NodeTag::T_CustomScan => "a custom scan",
        NodeTag::T_NamedTuplestoreScan => "a scan of a transition table",
        NodeTag::T_WorkTableScan | NodeTag::T_RecursiveUnion => "a recursive query",
        NodeTag::T_Memoize => "a nested loop that remembers rows",
        NodeTag::T_ProjectSet => "a function that returns a set, among the columns",
        NodeTag::T_Result => "a row without a table",
        NodeTag::T_ModifyTable => "a change of a table",
        NodeTag::T_LockRows => "rows that are locked",
        NodeTag::T_Gather | NodeTag::T_GatherMerge => "a plan of parallel processes",
        NodeTag::T_SetOp => "a set operation",
        other => return format!("plan node {other:?}"),
    };
    known.into()
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

/// A Sort below a node that does not need its input sorted is left out.
unsafe fn unsorted(plan: *mut pg_sys::Plan) -> *mut pg_sys::Plan {
    // SAFETY: a plan node or null. A Sort's targetlist is its input's.
    unsafe {
        if !plan.is_null() && matches!((*plan).type_, NodeTag::T_Sort | NodeTag::T_IncrementalSort)
        {
            return (*plan).lefttree;
        }
        plan
    }
}

/// The Var by which a plan node refers to the output column at `at` of its input `varno`.
fn var_of(item: &Item, varno: i32, at: usize) -> *mut pg_sys::Node {
    // SAFETY: item nodes are expressions of a finished plan; makeVar palloc's a node.
    let var = unsafe {
        pg_sys::makeVar(
            varno as _,
            at as i16 + 1,
            pg_sys::exprType(item.node),
            pg_sys::exprTypmod(item.node),
            pg_sys::exprCollation(item.node),
            0,
        )
    };
    var.cast()
}

/// A child's output under the Vars by which its parent refers to it.
fn renamed(input: Output, varno: i32) -> Core {
    let items = input
        .entries
        .into_iter()
        .enumerate()
        .map(|(i, item)| Item {
            node: var_of(&item, varno, i),
            ..item
        })
        .collect();
    Core {
        node: input.node,
        scope: Scope { items },
    }
}

/// An expression whose values show the scale that PostgreSQL gives them.
fn as_shown(expr: Expr) -> Converted<Expr> {
    Ok(expr.shown()?)
}

fn push_native(
    scope: &Scope,
    items: &mut Vec<Item>,
    exprs: &mut Vec<Expr>,
    node: *mut pg_sys::Node,
    expr: Expr,
) {
    if (Scope {
        items: items.clone(),
    })
    .find(node)
    .is_some()
    {
        return;
    }
    let shown = super::hook::flatten(node, scope);
    let column = Column::Native(0, expr.data_type());
    items.push(Item {
        shown,
        ..Item::new(node, column)
    });
    exprs.push(expr);
}

/// Adds what an expression that PostgreSQL evaluates refers to.
unsafe fn take_pieces(
    scope: &Scope,
    items: &mut Vec<Item>,
    exprs: &mut Vec<Expr>,
    node: *mut pg_sys::Node,
) -> Converted<()> {
    // SAFETY: an expression of a finished plan.
    unsafe {
        let flags = pg_sys::PVC_INCLUDE_AGGREGATES
            | pg_sys::PVC_INCLUDE_WINDOWFUNCS
            | pg_sys::PVC_INCLUDE_PLACEHOLDERS;
        let found = pg_sys::pull_var_clause(node, flags as i32);
        for piece in PgList::<pg_sys::Node>::from_pg(found).iter_ptr() {
            let Some(at) = scope.find(piece) else {
                return no("a reference to nothing known");
            };
            let item = &scope.items[at];
            match item.column {
                Column::Native(index, data_type) => {
                    push_native(scope, items, exprs, piece, Expr::column(index, data_type));
                }
                Column::Missing => return no("a value that the engine cannot compute"),
            }
        }
        Ok(())
    }
}

/// Whether rows group by values of a type.
fn check_grouped(data_type: doris_engine::types::DataType) -> Converted<()> {
    match data_type {
        // Grouped by their length; one of the equal ones is shown.
        doris_engine::types::DataType::Interval => Ok(()),
        other => check_sortable(other),
    }
}

/// Whether values sort here, and equal ones are told apart from others.
fn check_sortable(data_type: doris_engine::types::DataType) -> Converted<()> {
    match data_type {
        doris_engine::types::DataType::Decimal => Ok(()),
        other => check_groupable(other),
    }
}

fn check_groupable(data_type: doris_engine::types::DataType) -> Converted<()> {
    use doris_engine::types::{Collation, DataType};
    match data_type {
        DataType::Text {
            collation: Collation::Other,
        }
        | DataType::Bpchar {
            collation: Collation::Other,
        } => no("a nondeterministic collation"),
        DataType::Interval | DataType::Decimal | DataType::Opaque { .. } => {
            no(format!("grouping by {data_type}"))
        }
        _ => Ok(()),
    }
}

fn table_name(oid: pg_sys::Oid) -> String {
    // SAFETY: a catalogue look-up that returns a palloc'd string or null.
    unsafe {
        let name = pg_sys::get_rel_name(oid);
        if name.is_null() {
            return oid.to_u32().to_string();
        }
        std::ffi::CStr::from_ptr(name)
            .to_string_lossy()
            .into_owned()
    }
}
