// SPDX-License-Identifier: Apache-2.0
//! Grouping, aggregation and DISTINCT.
use super::super::scope::{Column, Item, Scope};
use super::super::{no, Converted};
use super::collect::{collects, ordered_input, takes_order_of_input};
use super::final_projection::FinalProjection;
use super::{check_grouped, check_sortable, renamed, unsorted, Converter, Core, Output};
use doris_engine::expr::build::cast::DisplayScale;
use doris_engine::expr::{CompareOp, Expr};
use doris_engine::plan::{
    Aggregate, AggregateCall, AggregateFunction, GroupKey, Node, Regression, SortKey,
};
use doris_engine::types::{DataType, Scalar};
use pgrx::pg_sys::{self, NodeTag};
use pgrx::PgList;

impl Converter<'_> {
    pub(super) unsafe fn aggregate(
        &mut self,
        agg: *mut pg_sys::Agg,
        ordered: bool,
    ) -> Converted<Core> {
        // SAFETY: as for `top`.
        unsafe {
            if (*agg).aggsplit != pg_sys::AggSplit::AGGSPLIT_SIMPLE {
                return no("split aggregation");
            }
            let left = (*agg).plan.lefttree;
            let (columns, sets) = grouping(agg);
            let sorted = ordered && (*agg).aggstrategy == pg_sys::AggStrategy::AGG_SORTED;
            let flags = pg_sys::PVC_INCLUDE_AGGREGATES | pg_sys::PVC_INCLUDE_PLACEHOLDERS;
            let mut pieces: Vec<*mut pg_sys::Node> = Vec::new();
            for list in [(*agg).plan.targetlist, (*agg).plan.qual] {
                let found = pg_sys::pull_var_clause(list.cast(), flags as i32);
                pieces.extend(PgList::<pg_sys::Node>::from_pg(found).iter_ptr());
            }
            let (below, in_order) = match pieces.iter().any(|p| takes_order_of_input(*p)) {
                true => ordered_input(agg),
                false => (unsorted(left), false),
            };
            let input = renamed(self.output(below, in_order)?, pg_sys::OUTER_VAR);
            let (mut items, keys) = group_keys(&input.scope, &columns)?;
            let mut order = match (sorted, &sets) {
                (false, _) => Vec::new(),
                (true, None) => group_order(left, &columns, &keys)?,
                // Only a single rollup counts as sorted.
                (true, Some(_)) if !(*agg).chain.is_null() => Vec::new(),
                (true, Some(_)) => group_order(left, &columns, &keys)?,
            };
            let mut calls = Vec::new();
            let mut at = keys.len();
            // Averages come first: a sum of the same values is half of one.
            pieces.sort_by_key(|piece| !is_average(*piece));
            let mut averages: Vec<(*mut pg_sys::Aggref, usize, DataType)> = Vec::new();
            let mut groupings = Vec::new();
            let mut finished = FinalProjection::default();
            for node in pieces {
                if (*node).type_ == NodeTag::T_GroupingFunc {
                    groupings.push(node);
                    continue;
                }
                let known = Scope {
                    items: items.clone(),
                };
                if known.find(node).is_some() {
                    continue;
                }
                let (call, mut item) = self.call(&input.scope, node, at)?;
                let argument = call.argument.as_ref().map(Expr::data_type);
                let outputs = call.function.output_types(argument);
                if let (true, [sum, count]) = (is_average(node), outputs.as_slice()) {
                    averages.push((node.cast(), at, *sum));
                    let (sum, count) = (Expr::column(at, *sum), Expr::column(at + 1, *count));
                    finished.average(items.len(), sum, count)?;
                }
                let scale_call = shown_scale(&call)?;
                if scale_call.is_none() && call.function == AggregateFunction::Sum {
                    if let Some(column) = half_of_average(&averages, node.cast(), outputs[0]) {
                        item.column = column;
                        items.push(item);
                        continue;
                    }
                }
                at += outputs.len();
                calls.push(call);
                if let Some(scale_call) = scale_call {
                    let scale = Expr::column(at, DataType::Int2);
                    finished.scaled(items.len(), Expr::column(at - 1, outputs[0]), scale)?;
                    calls.push(scale_call);
                    at += 1;
                }
                items.push(item);
            }
            // From 16 on keys that are constant are left out. Where no other is left, there is a group if there are rows.
            let by_constants = columns.is_empty()
                && sets.is_none()
                && (*agg).aggstrategy != pg_sys::AggStrategy::AGG_PLAIN;
            if by_constants {
                calls.push(AggregateCall {
                    function: AggregateFunction::CountStar,
                    argument: None,
                    distinct: false,
                    filter: None,
                });
            }
            let id = self.id();
            let aggregate = Aggregate {
                input: Box::new(input.node),
                keys,
                calls,
                grouping_sets: sets.clone(),
            };
            let mut node = Node::aggregate(id, aggregate);
            if by_constants {
                let count = Expr::column(at, DataType::Int8);
                let none = Expr::constant(Scalar::I64(0), DataType::Int8)?;
                let any = Expr::compare(CompareOp::Gt, count, none)?;
                node = Node::filter(self.id(), node, any);
            }
            let set = node.types.len().saturating_sub(1);
            node = self.finished(node, &mut items, finished)?;
            if let Some(sets) = &sets {
                let set = Expr::column(set, DataType::Int4);
                if !order.is_empty() {
                    order.push(SortKey {
                        expr: set.clone(),
                        descending: false,
                        nulls_first: false,
                    });
                }
                let mut exprs: Vec<Expr> = (node.types.iter().enumerate())
                    .map(|(i, t)| Expr::column(i, *t))
                    .collect();
                for grouping in groupings {
                    let column = Column::Native(exprs.len(), DataType::Int4);
                    exprs.push(grouping_function(grouping.cast(), &columns, sets, &set)?);
                    let shown = super::super::hook::flatten(grouping, &input.scope);
                    items.push(Item {
                        shown,
                        ..Item::new(grouping, column)
                    });
                }
                node = Node::project(self.id(), node, exprs);
            }
            let node = self.sorted(node, order);
            Ok(Core {
                node,
                scope: Scope { items },
            })
        }
    }

    fn sorted(&mut self, input: Node, order: Vec<SortKey>) -> Node {
        match order.is_empty() {
            true => input,
            false => Node::sort(self.id(), input, order),
        }
    }

    /// GROUP BY without aggregates over sorted rows.
    pub(super) unsafe fn group(
        &mut self,
        group: *mut pg_sys::Group,
        ordered: bool,
    ) -> Converted<Core> {
        // SAFETY: as for `top`.
        unsafe {
            let left = (*group).plan.lefttree;
            let columns = columns((*group).numCols, (*group).grpColIdx);
            if columns.is_empty() {
                return no("groups by nothing but constants");
            }
            let input = renamed(self.output(unsorted(left), false)?, pg_sys::OUTER_VAR);
            let (items, keys) = group_keys(&input.scope, &columns)?;
            let order = match ordered {
                true => group_order(left, &columns, &keys)?,
                false => Vec::new(),
            };
            let aggregate = Aggregate {
                input: Box::new(input.node),
                keys,
                calls: Vec::new(),
                grouping_sets: None,
            };
            let node = Node::aggregate(self.id(), aggregate);
            let node = self.sorted(node, order);
            Ok(Core {
                node,
                scope: Scope { items },
            })
        }
    }

    /// SELECT DISTINCT over sorted rows.
    pub(super) unsafe fn unique(
        &mut self,
        unique: *mut pg_sys::Unique,
        ordered: bool,
    ) -> Converted<Output> {
        // SAFETY: as for `top`.
        unsafe {
            let left = (*unique).plan.lefttree;
            let mut columns = columns((*unique).numCols, (*unique).uniqColIdx);
            columns.sort_unstable();
            let width = PgList::<pg_sys::TargetEntry>::from_pg((*left).targetlist).len();
            if columns.len() != width {
                return self.first_of_each(unique, &columns);
            }
            let mut input = self.output(unsorted(left), false)?;
            let all = (1..=input.entries.len()).collect::<Vec<_>>();
            if columns != all || input.node.types.len() != all.len() {
                return no("DISTINCT of values that PostgreSQL finishes");
            }
            let scope = Scope {
                items: input.entries.clone(),
            };
            group_keys(&scope, &columns)?;
            let order = match (ordered, (*left).type_) {
                (false, _) => Vec::new(),
                (true, NodeTag::T_Sort) => super::sort::sort_keys(left.cast(), &input)?,
                _ => return no("sorted rows whose order is used"),
            };
            let node = Node::distinct(self.id(), input.node);
            input.node = self.sorted(node, order);
            self.passed_on(unique.cast(), input)
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
            let shown = super::super::hook::flatten(node, input);
            if (*node).type_ == NodeTag::T_Var {
                let argument = self.carried(input, node)?;
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
                (AggregateFunction::Avg, [_, _]) => Column::Missing,
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
            let oid = (*aggref).aggfnoid;
            let name = super::super::expr::function_name(oid);
            if super::doris_aggregates::is_own(oid) {
                return self.own_aggregate(input, aggref);
            }
            if oid.to_u32() >= 10_000 {
                return no(format!("aggregate {name}"));
            }
            if (*aggref).aggkind as u8 != b'n' {
                return self.ordered_set(input, aggref);
            }
            if collects(&name) {
                return self.collecting(input, aggref);
            }
            let distinct = !(*aggref).aggdistinct.is_null();
            if !distinct && !(*aggref).aggorder.is_null() {
                return no("an ordered aggregate");
            }
            let args = PgList::<pg_sys::TargetEntry>::from_pg((*aggref).args);
            let pair = regression(&name);
            let argument = match (args.len(), args.get_ptr(0)) {
                (0, _) => None,
                (2, Some(y)) if pair.is_some() && !distinct => {
                    let Some(x) = args.get_ptr(1) else {
                        return no(format!("aggregate {name} of one argument"));
                    };
                    let y = self.translate(input, (*y).expr.cast())?;
                    Some(Expr::pair(y, self.translate(input, (*x).expr.cast())?)?)
                }
                (1, Some(arg)) if name == "count" && !distinct => {
                    Some(self.carried(input, (*arg).expr.cast())?)
                }
                (1, Some(arg)) => Some(self.translate(input, (*arg).expr.cast())?),
                _ => return no(format!("aggregate {name} of several arguments")),
            };
            let Some(function) = pair.or_else(|| plain(&name, argument.is_some())) else {
                return no(format!("aggregate {name}"));
            };
            let argument = match argument {
                Some(argument) => Some(aggregated(function, argument, distinct)?),
                None => None,
            };
            let filter = match (*aggref).aggfilter.is_null() {
                true => None,
                false => Some(self.translate(input, (*aggref).aggfilter.cast())?),
            };
            let call = AggregateCall {
                function,
                argument,
                distinct,
                filter,
            };
            doris_engine::ops::aggregate::check(&call)?;
            Ok(call)
        }
    }
}

/// The aggregate of one argument, or of rows, of this name.
fn plain(name: &str, has_argument: bool) -> Option<AggregateFunction> {
    use AggregateFunction::*;
    Some(match name {
        "count" if has_argument => Count,
        "count" => CountStar,
        _ if !has_argument => return None,
        "sum" => Sum,
        "avg" => Avg,
        "min" => Min,
        "max" => Max,
        "bool_and" | "every" => BoolAnd,
        "bool_or" => BoolOr,
        "bit_and" => BitAnd,
        "bit_or" => BitOr,
        "bit_xor" => BitXor,
        "var_pop" => VarPop,
        "var_samp" | "variance" => VarSamp,
        "stddev_pop" => StddevPop,
        "stddev_samp" | "stddev" => StddevSamp,
        _ => return None,
    })
}

/// The aggregate of pairs of this name.
fn regression(name: &str) -> Option<AggregateFunction> {
    let wanted = match name {
        "regr_count" => return Some(AggregateFunction::Count),
        "regr_avgx" => Regression::AvgX,
        "regr_avgy" => Regression::AvgY,
        "regr_sxx" => Regression::Sxx,
        "regr_syy" => Regression::Syy,
        "regr_sxy" => Regression::Sxy,
        "covar_pop" => Regression::CovarPop,
        "covar_samp" => Regression::CovarSamp,
        "corr" => Regression::Corr,
        "regr_r2" => Regression::R2,
        "regr_slope" => Regression::Slope,
        "regr_intercept" => Regression::Intercept,
        _ => return None,
    };
    Some(AggregateFunction::Regression(wanted))
}

/// Whether a node is a call of an aggregate `avg`.
unsafe fn is_average(node: *mut pg_sys::Node) -> bool {
    // SAFETY: the tag is checked before the cast.
    unsafe {
        (*node).type_ == NodeTag::T_Aggref && {
            let oid = (*(node as *mut pg_sys::Aggref)).aggfnoid;
            super::super::expr::function_name(oid) == "avg"
        }
    }
}

/// The sum within an average of the same values, of the type that the sum alone would have.
unsafe fn half_of_average(
    averages: &[(*mut pg_sys::Aggref, usize, DataType)],
    sum: *mut pg_sys::Aggref,
    data_type: DataType,
) -> Option<Column> {
    // SAFETY: Aggrefs of a finished plan.
    unsafe {
        let same = |a: *mut pg_sys::List, b: *mut pg_sys::List| pg_sys::equal(a.cast(), b.cast());
        averages
            .iter()
            .find(|(average, _, t)| {
                *t == data_type
                    && same((**average).args, (*sum).args)
                    && same((**average).aggdistinct, (*sum).aggdistinct)
                    && pg_sys::equal((**average).aggfilter.cast(), (*sum).aggfilter.cast())
            })
            .map(|(_, at, t)| Column::Native(*at, *t))
    }
}

/// Column numbers of a plan node's array.
unsafe fn columns(count: i32, array: *const pg_sys::AttrNumber) -> Vec<usize> {
    // SAFETY: the array has `count` elements.
    let column = |i| unsafe { *array.add(i) } as usize;
    (0..count as usize).map(column).collect()
}

/// The grouping columns, and with grouping sets which of them take part in each.
unsafe fn grouping(agg: *mut pg_sys::Agg) -> (Vec<usize>, Option<Vec<Vec<usize>>>) {
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
unsafe fn grouping_function(
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
fn group_keys(input: &Scope, columns: &[usize]) -> Converted<(Vec<Item>, Vec<GroupKey>)> {
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
unsafe fn group_order(
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
            order.push(super::sort::sort_key(sort, i, key, data_type)?);
        }
        Ok(order)
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

/// The argument such that the engine aggregates what PostgreSQL would.
fn aggregated(function: AggregateFunction, argument: Expr, distinct: bool) -> Converted<Expr> {
    use AggregateFunction::{Count, CountStar, Sum};
    let data_type = argument.data_type();
    let argument = match (function, data_type) {
        (CountStar | Count, DataType::Decimal) if distinct => argument.decimal_key()?,
        (CountStar | Count, DataType::Interval) if distinct => Expr::interval_order(argument)?,
        (CountStar | Count, _) => argument,
        (Sum, DataType::Numeric { scale, .. }) if !distinct => match argument.display_scale()? {
            // See `shown_scale`.
            DisplayScale::Varying(_) => argument,
            DisplayScale::Static(shown) if shown == scale => argument,
            DisplayScale::Static(_) => argument.shown()?,
        },
        _ => argument.shown()?,
    };
    check_aggregate(function, argument.data_type(), distinct)?;
    Ok(argument)
}

fn check_aggregate(
    function: AggregateFunction,
    data_type: doris_engine::types::DataType,
    distinct: bool,
) -> Converted<()> {
    use doris_engine::types::DataType;
    if distinct {
        check_sortable(data_type)?;
    }
    let ordered = matches!(function, AggregateFunction::Min | AggregateFunction::Max);
    let summed = matches!(function, AggregateFunction::Sum | AggregateFunction::Avg);
    match data_type {
        DataType::Text { collation } | DataType::Bpchar { collation }
            if ordered && !collation.is_ordered() =>
        {
            no("min or max by a collation whose order is not known")
        }
        DataType::Bpchar { .. } if ordered => no("min or max of character(n)"),
        DataType::Opaque { .. } | DataType::Bytea | DataType::Uuid if ordered => {
            no(format!("min or max of {data_type}"))
        }
        DataType::Interval if summed && distinct => no("a sum of different intervals"),
        DataType::Time if summed => no(format!("a sum of {data_type}")),
        _ => Ok(()),
    }
}
