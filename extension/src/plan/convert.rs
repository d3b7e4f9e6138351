// SPDX-License-Identifier: Apache-2.0
//! Plan subtrees to engine plans.
//!
//! A converted node hands its targetlist's entries to its parent as engine columns. Only the topmost
//! converted node may leave something to PostgreSQL: quals (the first that is not native and all after it, so
//! that none moves ahead of another) and targetlist expressions are then evaluated over the engine's rows.
use super::expr::{Params, Translator};
use super::scope::{Column, Item, Scope};
use super::{no, types, Converted};
use doris_engine::expr::build::cast::DisplayScale;
use doris_engine::expr::Expr;
use doris_engine::plan::{
    Aggregate, AggregateCall, AggregateFunction, GroupKey, Join, JoinKey, JoinKind, Node, SortKey,
};
use pgrx::pg_sys::{self, NodeTag};
use pgrx::PgList;

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
}

/// Turns plan nodes into engine nodes.
pub struct Converter<'a> {
    /// The query's range table.
    pub rtable: *mut pg_sys::List,
    /// Values of parameters.
    pub params: &'a mut dyn Params,
    sources: Vec<Source>,
    next_id: u32,
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
    /// A converter for plans over a range table.
    pub fn new(rtable: *mut pg_sys::List, params: &'a mut dyn Params) -> Self {
        Self {
            rtable,
            params,
            sources: Vec::new(),
            next_id: 0,
        }
    }

    fn id(&mut self) -> u32 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// Converts a subtree whose parent stays with PostgreSQL. `ordered`: the parent may rely on the order of
    /// its rows.
    ///
    /// # Safety
    /// A finished plan of the range table.
    pub unsafe fn top(self, plan: *mut pg_sys::Plan, ordered: bool) -> Converted<Top> {
        // SAFETY: passed on to the caller.
        let mut top = unsafe { self.whole(plan, ordered) }?;
        top.node = super::columns::prune(top.node, &mut top.sources);
        Ok(top)
    }

    unsafe fn whole(mut self, plan: *mut pg_sys::Plan, ordered: bool) -> Converted<Top> {
        // SAFETY: as for `top`.
        unsafe {
            match (*plan).type_ {
                NodeTag::T_Sort | NodeTag::T_Limit => {
                    let output = self.output(plan, ordered)?;
                    let scope = Scope {
                        items: output.entries,
                    };
                    Ok(Top {
                        node: output.node,
                        sources: self.sources,
                        scope,
                        quals: Vec::new(),
                    })
                }
                _ => {
                    let core = self.core(plan, ordered)?;
                    self.finish(plan, core)
                }
            }
        }
    }

    unsafe fn finish(mut self, plan: *mut pg_sys::Plan, core: Core) -> Converted<Top> {
        // SAFETY: as for `top`.
        unsafe {
            let (core, quals) = self.filter(core, (*plan).qual);
            let mut items: Vec<Item> = Vec::new();
            let mut exprs: Vec<Expr> = Vec::new();
            let targets = PgList::<pg_sys::TargetEntry>::from_pg((*plan).targetlist);
            for target in targets.iter_ptr() {
                let node = (*target).expr as *mut pg_sys::Node;
                match self
                    .translate(&core.scope, node)
                    .and_then(super::expr::one_scale)
                {
                    Ok(expr) => push_native(&core.scope, &mut items, &mut exprs, node, expr),
                    Err(_) => take_pieces(&core.scope, &mut items, &mut exprs, node)?,
                }
            }
            for qual in &quals {
                take_pieces(&core.scope, &mut items, &mut exprs, *qual)?;
            }
            let node = self.project(core.node, &mut items, exprs);
            Ok(Top {
                node,
                sources: self.sources,
                scope: Scope { items },
                quals,
            })
        }
    }

    /// Projects to the items' columns. Items of averages take two columns.
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
                Column::Average { sum, count, .. }
                | Column::Scaled {
                    value: sum,
                    shown: count,
                    ..
                } => {
                    let (old_sum, old_count) = (*sum, *count);
                    *sum = columns.len();
                    columns.push(Expr::column(old_sum, input.types[old_sum]));
                    *count = columns.len();
                    columns.push(Expr::column(old_count, input.types[old_count]));
                }
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
            }
            .expr(node)
        }
    }

    /// Applies the longest native prefix of a qual list; returns the rest.
    unsafe fn filter(
        &mut self,
        mut core: Core,
        quals: *mut pg_sys::List,
    ) -> (Core, Vec<*mut pg_sys::Node>) {
        // SAFETY: as for `top`.
        unsafe {
            let list: Vec<_> = PgList::<pg_sys::Node>::from_pg(quals).iter_ptr().collect();
            let mut native = Vec::new();
            for qual in &list {
                match self.translate(&core.scope, *qual) {
                    Ok(expr) => native.push(expr),
                    Err(_) => break,
                }
            }
            let rest = list[native.len()..].to_vec();
            if native.is_empty() {
                return (core, rest);
            }
            if let doris_engine::plan::Op::Scan(scan) = &mut core.node.op {
                self.sources[scan.source].filters = native.clone();
                scan.filters = native;
            } else {
                let predicate = match native.len() {
                    1 => native.remove(0),
                    _ => Expr::and(native).expect("boolean operands"),
                };
                let id = self.id();
                core.node = Node::filter(id, core.node, predicate);
            }
            (core, rest)
        }
    }

    /// Converts a subtree whole: nothing of it is left to PostgreSQL.
    unsafe fn output(&mut self, plan: *mut pg_sys::Plan, ordered: bool) -> Converted<Output> {
        // SAFETY: as for `top`.
        unsafe {
            if plan.is_null() {
                return no("a missing input");
            }
            match (*plan).type_ {
                NodeTag::T_Hash | NodeTag::T_Material => {
                    let input = self.output((*plan).lefttree, ordered)?;
                    self.passed_on(plan, input)
                }
                NodeTag::T_Sort => self.sort(plan.cast()),
                NodeTag::T_Limit => self.limit(plan.cast(), ordered),
                _ => {
                    let core = self.core(plan, ordered)?;
                    let (core, rest) = self.filter(core, (*plan).qual);
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
                let expr = super::expr::one_scale(self.translate(&core.scope, node)?)?;
                let column = Column::Native(0, expr.data_type());
                let shown = super::hook::flatten(node, &core.scope);
                entries.push(Item {
                    shown,
                    ..Item::new(node, column)
                });
                exprs.push(expr);
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
                if (*node).type_ != NodeTag::T_Var {
                    return no("an expression where a column was expected");
                }
                let at = (*(node as *mut pg_sys::Var)).varattno as usize;
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
                        return no("a nested loop with parameters, or whose order is used");
                    }
                    self.join(&raw mut (*join).join, std::ptr::null_mut())
                }
                NodeTag::T_Agg => self.aggregate(plan.cast(), ordered),
                NodeTag::T_WindowAgg => self.window(plan.cast()),
                NodeTag::T_Result if !(*plan).lefttree.is_null() => {
                    self.result(plan.cast(), ordered)
                }
                tag => no(format!("plan node {tag:?}")),
            }
        }
    }

    unsafe fn scan(&mut self, scan: *mut pg_sys::SeqScan) -> Converted<Core> {
        // SAFETY: as for `top`.
        unsafe {
            #[cfg(feature = "pg15")]
            let rti = (*scan).scan.scanrelid;
            #[cfg(not(feature = "pg15"))]
            let rti = (*scan).scan.scanrelid;
            let rte = pg_sys::rt_fetch(rti, self.rtable);
            if !super::hook::is_doris_table((*rte).relid) {
                return no(format!(
                    "table {} is not a doris table",
                    table_name((*rte).relid)
                ));
            }
            let plan = &raw mut (*scan).scan.plan;
            let mut used: *mut pg_sys::Bitmapset = std::ptr::null_mut();
            pg_sys::pull_varattnos((*plan).targetlist.cast(), rti, &mut used);
            pg_sys::pull_varattnos((*plan).qual.cast(), rti, &mut used);
            let mut attributes = Vec::new();
            let mut items = Vec::new();
            let mut data_types = Vec::new();
            let mut member = -1;
            loop {
                member = pg_sys::bms_next_member(used, member);
                if member < 0 {
                    break;
                }
                let number = member + pg_sys::FirstLowInvalidHeapAttributeNumber;
                let Ok(number) = u16::try_from(number) else {
                    return no("a system column");
                };
                if number == 0 {
                    return no("a whole row");
                }
                let (mut oid, mut typmod, mut collation) = Default::default();
                pg_sys::get_atttypetypmodcoll(
                    (*rte).relid,
                    number as i16,
                    &mut oid,
                    &mut typmod,
                    &mut collation,
                );
                let data_type = types::data_type(oid, typmod, collation)?;
                let var = pg_sys::makeVar(rti as _, number as i16, oid, typmod, collation, 0);
                let column = Column::Native(attributes.len(), data_type);
                items.push(Item::new(var.cast(), column));
                attributes.push(number);
                data_types.push(data_type);
            }
            let source = self.sources.len();
            let columns = (0..attributes.len()).collect();
            self.sources.push(Source {
                rti,
                attributes,
                filters: Vec::new(),
            });
            let id = self.id();
            let node = Node::scan(id, source, columns, data_types, Vec::new());
            Ok(Core {
                node,
                scope: Scope { items },
            })
        }
    }

    unsafe fn subquery(
        &mut self,
        scan: *mut pg_sys::SubqueryScan,
        ordered: bool,
    ) -> Converted<Core> {
        // SAFETY: as for `top`.
        unsafe {
            let input = self.output((*scan).subplan, ordered)?;
            let rti = (*scan).scan.scanrelid as i32;
            Ok(renamed(input, rti))
        }
    }

    unsafe fn result(&mut self, result: *mut pg_sys::Result, ordered: bool) -> Converted<Core> {
        // SAFETY: as for `top`.
        unsafe {
            if !(*result).resconstantqual.is_null() {
                return no("a one-time filter");
            }
            let input = self.output((*result).plan.lefttree, ordered)?;
            Ok(renamed(input, pg_sys::OUTER_VAR))
        }
    }

    unsafe fn join(
        &mut self,
        join: *mut pg_sys::Join,
        clauses: *mut pg_sys::List,
    ) -> Converted<Core> {
        // SAFETY: as for `top`.
        unsafe {
            let kind = join_kind((*join).jointype)?;
            let outer = self.output(unsorted((*join).plan.lefttree), false)?;
            let inner = self.output(unsorted((*join).plan.righttree), false)?;
            let width = outer.node.types.len();
            let (outer_types, inner_types) = (outer.node.types.clone(), inner.node.types.clone());
            let outer_core = renamed(outer, pg_sys::OUTER_VAR);
            let inner_core = renamed(inner, pg_sys::INNER_VAR);
            let mut both = outer_core.scope.clone();
            both.items.extend(
                inner_core
                    .scope
                    .items
                    .iter()
                    .map(|item| shifted(item, width)),
            );
            let mut keys = Vec::new();
            for clause in PgList::<pg_sys::Node>::from_pg(clauses).iter_ptr() {
                keys.push(self.join_key(&outer_core.scope, &inner_core.scope, clause)?);
            }
            let mut residual = Vec::new();
            for qual in PgList::<pg_sys::Node>::from_pg((*join).joinqual).iter_ptr() {
                match self.join_key(&outer_core.scope, &inner_core.scope, qual) {
                    Ok(key) if clauses.is_null() => keys.push(key),
                    _ => residual.push(self.translate(&both, qual)?),
                }
            }
            if keys.is_empty() && kind != JoinKind::Inner {
                return no("an outer or semi join without an equality");
            }
            let residual = match residual.len() {
                0 => None,
                1 => residual.pop(),
                _ => Some(Expr::and(residual)?),
            };
            let mut output = Vec::new();
            if kind.has_probe_columns() {
                output.extend(0..outer_types.len());
            }
            if kind.has_build_columns() {
                output.extend((0..inner_types.len()).map(|i| i + width));
            }
            let scope = if kind.has_build_columns() {
                both
            } else {
                outer_core.scope
            };
            let id = self.id();
            let node = Node::join(
                id,
                Join {
                    kind,
                    probe: Box::new(outer_core.node),
                    build: Box::new(inner_core.node),
                    keys,
                    residual,
                    output,
                },
            );
            Ok(Core { node, scope })
        }
    }

    unsafe fn join_key(
        &mut self,
        outer: &Scope,
        inner: &Scope,
        clause: *mut pg_sys::Node,
    ) -> Converted<JoinKey> {
        // SAFETY: checked to be an OpExpr.
        unsafe {
            if (*clause).type_ != NodeTag::T_OpExpr {
                return no("a join clause that is no operator");
            }
            let op = clause as *mut pg_sys::OpExpr;
            if !super::expr::is_equality((*op).opno) {
                return no("a join clause that is no equality");
            }
            let args = PgList::<pg_sys::Node>::from_pg((*op).args);
            let (Some(a), Some(b)) = (args.get_ptr(0), args.get_ptr(1)) else {
                return no("a join clause without operands");
            };
            let (probe, build) = match (self.translate(outer, a), self.translate(inner, b)) {
                (Ok(probe), Ok(build)) => (probe, build),
                _ => (self.translate(outer, b)?, self.translate(inner, a)?),
            };
            if probe.data_type().is_text() {
                check_groupable(probe.data_type())?;
                if matches!(
                    probe.data_type(),
                    doris_engine::types::DataType::Bpchar { .. }
                ) {
                    return no("a join of character(n)");
                }
            }
            let (probe, build) = super::expr::same_type(probe, build)?;
            Ok(JoinKey {
                probe,
                build,
                null_safe: false,
            })
        }
    }

    unsafe fn aggregate(&mut self, agg: *mut pg_sys::Agg, ordered: bool) -> Converted<Core> {
        // SAFETY: as for `top`.
        unsafe {
            if (*agg).aggsplit != pg_sys::AggSplit::AGGSPLIT_SIMPLE
                || !(*agg).groupingSets.is_null()
                || !(*agg).chain.is_null()
            {
                return no("split aggregation or grouping sets");
            }
            if ordered
                && (*agg).aggstrategy == pg_sys::AggStrategy::AGG_SORTED
                && (*agg).numCols > 0
            {
                return no("sorted groups whose order is used");
            }
            let input = self.output(unsorted((*agg).plan.lefttree), false)?;
            let input = renamed(input, pg_sys::OUTER_VAR);
            let mut keys = Vec::new();
            let mut items = Vec::new();
            for i in 0..(*agg).numCols as usize {
                let at = *(*agg).grpColIdx.add(i) as usize;
                let Some(item) = input.scope.items.get(at - 1) else {
                    return no("a grouping column beyond the input's");
                };
                let Column::Native(index, data_type) = item.column else {
                    return no("grouping by an average");
                };
                check_groupable(data_type)?;
                items.push(Item {
                    column: Column::Native(i, data_type),
                    ..item.clone()
                });
                keys.push(GroupKey {
                    expr: Expr::column(index, data_type),
                    nullable: true,
                });
            }
            let mut calls = Vec::new();
            let mut at = keys.len();
            let flags = pg_sys::PVC_INCLUDE_AGGREGATES | pg_sys::PVC_INCLUDE_PLACEHOLDERS;
            for list in [(*agg).plan.targetlist, (*agg).plan.qual] {
                let found = pg_sys::pull_var_clause(list.cast(), flags as i32);
                for node in PgList::<pg_sys::Node>::from_pg(found).iter_ptr() {
                    if (Scope {
                        items: items.clone(),
                    })
                    .find(node)
                    .is_some()
                    {
                        continue;
                    }
                    let (call, mut item) = self.call(&input.scope, node, at)?;
                    let argument = call.argument.as_ref().map(Expr::data_type);
                    at += call.function.output_types(argument).len();
                    if let Some(scale_call) = shown_scale(&call)? {
                        item.column = scaled_column(item.column, at)?;
                        calls.push(call);
                        calls.push(scale_call);
                        at += 1;
                    } else {
                        calls.push(call);
                    }
                    items.push(item);
                }
            }
            let id = self.id();
            let aggregate = Aggregate {
                input: Box::new(input.node),
                keys,
                calls,
                grouping_sets: None,
            };
            Ok(Core {
                node: Node::aggregate(id, aggregate),
                scope: Scope { items },
            })
        }
    }

    /// An aggregate, or a column that the grouping columns determine.
    unsafe fn call(
        &mut self,
        input: &Scope,
        node: *mut pg_sys::Node,
        at: usize,
    ) -> Converted<(AggregateCall, Item)> {
        // SAFETY: as for `top`.
        unsafe {
            let shown = super::hook::flatten(node, input);
            if (*node).type_ == NodeTag::T_Var {
                let argument = self.translate(input, node)?;
                let column = Column::Native(at, argument.data_type());
                let call = AggregateCall {
                    function: AggregateFunction::Any,
                    argument: Some(argument),
                    distinct: false,
                    filter: None,
                };
                return Ok((
                    call,
                    Item {
                        shown,
                        ..Item::new(node, column)
                    },
                ));
            }
            if (*node).type_ != NodeTag::T_Aggref {
                return no("an expression among aggregates");
            }
            let aggref = node as *mut pg_sys::Aggref;
            let call = self.aggref(input, aggref)?;
            let argument = call.argument.as_ref().map(Expr::data_type);
            let outputs = call.function.output_types(argument);
            let column = match (call.function, outputs.as_slice()) {
                (AggregateFunction::Avg, [sum, _]) => {
                    let scale = match sum {
                        doris_engine::types::DataType::Numeric { scale, .. } => *scale as u16,
                        _ => 0,
                    };
                    Column::Average {
                        sum: at,
                        count: at + 1,
                        scale,
                    }
                }
                (_, [one]) => Column::Native(at, *one),
                _ => return no("an aggregate that PostgreSQL finishes"),
            };
            Ok((
                call,
                Item {
                    shown,
                    ..Item::new(node, column)
                },
            ))
        }
    }

    unsafe fn aggref(
        &mut self,
        input: &Scope,
        aggref: *mut pg_sys::Aggref,
    ) -> Converted<AggregateCall> {
        // SAFETY: an Aggref of a finished plan.
        unsafe {
            use AggregateFunction::*;
            let oid = (*aggref).aggfnoid;
            let name = super::expr::function_name(oid);
            if oid.to_u32() >= 10_000 || (*aggref).aggkind as u8 != b'n' {
                return no(format!("aggregate {name}"));
            }
            let distinct = !(*aggref).aggdistinct.is_null();
            if !distinct && !(*aggref).aggorder.is_null() {
                return no("an ordered aggregate");
            }
            let args = PgList::<pg_sys::TargetEntry>::from_pg((*aggref).args);
            let mut argument = match (args.len(), args.get_ptr(0)) {
                (0, _) => None,
                (1, Some(arg)) => Some(self.translate(input, (*arg).expr.cast())?),
                _ => return no(format!("aggregate {name} of several arguments")),
            };
            let function = match (name.as_str(), &argument) {
                ("count", None) => CountStar,
                ("count", Some(_)) => Count,
                ("sum", _) => Sum,
                ("avg", _) => Avg,
                ("min", _) => Min,
                ("max", _) => Max,
                ("bool_and" | "every", _) => BoolAnd,
                ("bool_or", _) => BoolOr,
                ("bit_and", _) => BitAnd,
                ("bit_or", _) => BitOr,
                _ => return no(format!("aggregate {name}")),
            };
            if let Some(argument) = &mut argument {
                check_aggregate(function, argument.data_type(), distinct)?;
            }
            let filter = match (*aggref).aggfilter.is_null() {
                true => None,
                false => Some(self.translate(input, (*aggref).aggfilter.cast())?),
            };
            Ok(AggregateCall {
                function,
                argument,
                distinct,
                filter,
            })
        }
    }

    unsafe fn sort(&mut self, sort: *mut pg_sys::Sort) -> Converted<Output> {
        // SAFETY: as for `top`.
        unsafe {
            let input = self.output((*sort).plan.lefttree, false)?;
            let keys = sort_keys(sort, &input)?;
            let id = self.id();
            let node = Node::sort(id, input.node, keys);
            self.passed_on(
                sort.cast(),
                Output {
                    node,
                    entries: input.entries,
                },
            )
        }
    }

    unsafe fn limit(&mut self, limit: *mut pg_sys::Limit, ordered: bool) -> Converted<Output> {
        // SAFETY: as for `top`.
        unsafe {
            if (*limit).limitOption != pg_sys::LimitOption::LIMIT_OPTION_COUNT {
                return no("LIMIT WITH TIES");
            }
            let count = limit_constant((*limit).limitCount)?;
            let offset = limit_constant((*limit).limitOffset)?.unwrap_or(0);
            let child = (*limit).plan.lefttree;
            let id = self.id();
            let output = match (count, (*child).type_) {
                (Some(count), NodeTag::T_Sort) => {
                    let sort = child as *mut pg_sys::Sort;
                    let input = self.output((*sort).plan.lefttree, false)?;
                    let keys = sort_keys(sort, &input)?;
                    let node = Node::top_n(id, input.node, keys, count, offset);
                    self.passed_on(
                        child,
                        Output {
                            node,
                            entries: input.entries,
                        },
                    )?
                }
                _ => {
                    let input = self.output(child, ordered)?;
                    let node = Node::limit(id, input.node, count, offset);
                    Output {
                        node,
                        entries: input.entries,
                    }
                }
            };
            self.passed_on(limit.cast(), output)
        }
    }
}

/// For a sum over numerics of differing display scales: the aggregate that finds the scale to show.
fn shown_scale(call: &AggregateCall) -> Converted<Option<AggregateCall>> {
    let Some(argument) = &call.argument else {
        return Ok(None);
    };
    if !matches!(
        argument.data_type(),
        doris_engine::types::DataType::Numeric { .. }
    ) {
        return Ok(None);
    }
    match (argument.display_scale()?, call.function) {
        (DisplayScale::Static(_), _) | (_, AggregateFunction::Count) => Ok(None),
        (DisplayScale::Varying(scale), AggregateFunction::Sum) if !call.distinct => {
            // Only the numbers that were added count, not NULLs.
            let added = Expr::is_not_null(argument.clone());
            let filter = match &call.filter {
                Some(filter) => Expr::and(vec![filter.clone(), added])?,
                None => added,
            };
            Ok(Some(AggregateCall {
                function: AggregateFunction::Max,
                argument: Some(scale),
                distinct: false,
                filter: Some(filter),
            }))
        }
        _ => no("an aggregate of numerics that differ in scale"),
    }
}

fn scaled_column(column: Column, shown: usize) -> Converted<Column> {
    match column {
        Column::Native(value, doris_engine::types::DataType::Numeric { scale, .. }) => {
            Ok(Column::Scaled {
                value,
                shown,
                scale: scale as u16,
            })
        }
        _ => no("a sum that is no numeric"),
    }
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

/// A child's output under the Vars by which its parent refers to it.
fn renamed(input: Output, varno: i32) -> Core {
    let items = input
        .entries
        .into_iter()
        .enumerate()
        .map(|(i, item)| {
            // SAFETY: item nodes are expressions of a finished plan; makeVar palloc's a node.
            let var = unsafe {
                pg_sys::makeVar(
                    varno as _,
                    i as i16 + 1,
                    pg_sys::exprType(item.node),
                    pg_sys::exprTypmod(item.node),
                    pg_sys::exprCollation(item.node),
                    0,
                )
            };
            Item {
                node: var.cast(),
                ..item
            }
        })
        .collect();
    Core {
        node: input.node,
        scope: Scope { items },
    }
}

fn shifted(item: &Item, by: usize) -> Item {
    let column = match item.column {
        Column::Native(index, data_type) => Column::Native(index + by, data_type),
        Column::Average { sum, count, scale } => Column::Average {
            sum: sum + by,
            count: count + by,
            scale,
        },
        Column::Scaled {
            value,
            shown,
            scale,
        } => Column::Scaled {
            value: value + by,
            shown: shown + by,
            scale,
        },
    };
    Item {
        column,
        ..item.clone()
    }
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
                Column::Average { .. } | Column::Scaled { .. } => {
                    if (Scope {
                        items: items.clone(),
                    })
                    .find(piece)
                    .is_none()
                    {
                        items.push(item.clone());
                    }
                }
            }
        }
        Ok(())
    }
}

fn join_kind(join_type: pg_sys::JoinType::Type) -> Converted<JoinKind> {
    Ok(match join_type {
        pg_sys::JoinType::JOIN_INNER => JoinKind::Inner,
        pg_sys::JoinType::JOIN_LEFT => JoinKind::Left,
        pg_sys::JoinType::JOIN_RIGHT => JoinKind::Right,
        pg_sys::JoinType::JOIN_FULL => JoinKind::Full,
        pg_sys::JoinType::JOIN_SEMI => JoinKind::Semi,
        pg_sys::JoinType::JOIN_ANTI => JoinKind::Anti,
        other => return no(format!("join type {other}")),
    })
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
        DataType::Interval | DataType::Opaque { .. } => no(format!("grouping by {data_type}")),
        _ => Ok(()),
    }
}

fn check_aggregate(
    function: AggregateFunction,
    data_type: doris_engine::types::DataType,
    distinct: bool,
) -> Converted<()> {
    use doris_engine::types::{Collation, DataType};
    if distinct {
        check_groupable(data_type)?;
    }
    let ordered = matches!(function, AggregateFunction::Min | AggregateFunction::Max);
    let summed = matches!(function, AggregateFunction::Sum | AggregateFunction::Avg);
    match data_type {
        DataType::Text { collation } | DataType::Bpchar { collation }
            if ordered && collation != Collation::C =>
        {
            no("min or max by a collation")
        }
        DataType::Bpchar { .. } if ordered => no("min or max of character(n)"),
        DataType::Interval | DataType::Opaque { .. } | DataType::Bytea | DataType::Uuid
            if ordered =>
        {
            no(format!("min or max of {data_type}"))
        }
        DataType::Interval | DataType::Time if summed => no(format!("a sum of {data_type}")),
        _ => Ok(()),
    }
}

unsafe fn sort_keys(sort: *mut pg_sys::Sort, input: &Output) -> Converted<Vec<SortKey>> {
    // SAFETY: a Sort's arrays have numCols elements.
    unsafe {
        let mut keys = Vec::new();
        for i in 0..(*sort).numCols as usize {
            let at = *(*sort).sortColIdx.add(i) as usize;
            let Some(item) = input.entries.get(at - 1) else {
                return no("a sort column beyond the input's");
            };
            let Column::Native(index, data_type) = item.column else {
                return no("a sort by an average");
            };
            check_groupable(data_type)?;
            let collation = *(*sort).collations.add(i);
            if data_type.is_text() && !crate::pg::raw::collation_is_c(collation) {
                return no("a sort by a collation");
            }
            let descending = match super::expr::comparison_name(*(*sort).sortOperators.add(i))? {
                name if name == "<" => false,
                name if name == ">" => true,
                name => return no(format!("a sort by operator {name}")),
            };
            keys.push(SortKey {
                expr: Expr::column(index, data_type),
                descending,
                nulls_first: *(*sort).nullsFirst.add(i),
            });
        }
        Ok(keys)
    }
}

unsafe fn limit_constant(node: *mut pg_sys::Node) -> Converted<Option<u64>> {
    // SAFETY: checked to be a Const of type int8.
    unsafe {
        if node.is_null() {
            return Ok(None);
        }
        if (*node).type_ != NodeTag::T_Const {
            return no("a LIMIT that is not a constant");
        }
        let constant = node as *mut pg_sys::Const;
        if (*constant).constisnull {
            return Ok(None);
        }
        match u64::try_from((*constant).constvalue.value() as i64) {
            Ok(count) => Ok(Some(count)),
            Err(_) => no("a negative LIMIT"),
        }
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
