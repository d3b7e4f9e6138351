// SPDX-License-Identifier: Apache-2.0
//! Window functions.
mod frame;

use self::frame::{frame, integer};
use super::super::scope::{Column, Item, Scope};
use super::super::{no, Converted};
use super::aggregate::plain;
use super::collect::collects;
use super::final_projection::FinalProjection;
use super::sort::{compared, sort_key};
use super::{as_shown, check_sortable, renamed, Converter, Core, Output};
use doris_engine::expr::Expr;
use doris_engine::ops::window::check;
use doris_engine::plan::{AggregateFunction, Node, SortKey, Window, WindowCall, WindowFunction};
use doris_engine::types::{Collation, DataType};
use pgrx::pg_sys::{self, NodeTag};
use pgrx::PgList;

impl Converter<'_> {
    /// A WindowAgg: its input comes in the window's order, and its output keeps that.
    pub(super) unsafe fn window(
        &mut self,
        agg: *mut pg_sys::WindowAgg,
        ordered: bool,
    ) -> Converted<Core> {
        // SAFETY: as for `top`; the tag says what a node is.
        unsafe {
            let left = (*agg).plan.lefttree;
            let sorted = !left.is_null() && (*left).type_ == NodeTag::T_Sort;
            let input = match sorted && !ordered {
                true => self.by_partition(agg, left.cast())?,
                false => self.output(left, true)?,
            };
            let input = renamed(input, pg_sys::OUTER_VAR);
            let partition = keys(&input.scope, (*agg).partNumCols, (*agg).partColIdx)?;
            let order = keys(&input.scope, (*agg).ordNumCols, (*agg).ordColIdx)?;
            let frame = frame(agg)?;
            let range = self.range_offsets(agg, &input.scope, &order, &frame)?;
            let mut items = input.scope.items.clone();
            let mut at = input.node.types.len();
            let mut calls = Vec::new();
            let mut finished = FinalProjection::default();
            for node in window_functions((*agg).plan.targetlist) {
                let known = Scope {
                    items: items.clone(),
                };
                if known.find(node).is_some() {
                    continue;
                }
                let call = self.window_call(&input.scope, node.cast())?;
                let shown = super::super::hook::flatten(node, &input.scope);
                let column = result_column(&call, at, items.len(), &mut finished)?;
                at += call.output_types().len();
                calls.push(call);
                items.push(Item {
                    shown,
                    ..Item::new(node, column)
                });
            }
            let window = Window {
                input: Box::new(input.node),
                partition,
                order,
                frame,
                range,
                calls,
            };
            check(&window)?;
            let node = Node::window(self.id(), window);
            let node = self.finished(node, &mut items, finished)?;
            let scope = Scope { items };
            self.run_condition(agg, Core { node, scope })
        }
    }

    /// The Sort below a window whose own order nobody uses: partitions may come in any order, which for text is
    /// that of its bytes, whatever its collation.
    unsafe fn by_partition(
        &mut self,
        agg: *mut pg_sys::WindowAgg,
        sort: *mut pg_sys::Sort,
    ) -> Converted<Output> {
        // SAFETY: as for `top`; the arrays have as many elements as their nodes say.
        unsafe {
            let input = self.output((*sort).plan.lefttree, false)?;
            let partition: Vec<pg_sys::AttrNumber> = (0..(*agg).partNumCols as usize)
                .map(|i| *(*agg).partColIdx.add(i))
                .collect();
            let mut order = Vec::new();
            for i in 0..(*sort).numCols as usize {
                let at = *(*sort).sortColIdx.add(i);
                let item = input.entries.get((at - 1) as usize);
                let Some(Column::Native(index, data_type)) = item.map(|item| item.column) else {
                    return no("a window by an average");
                };
                order.push(match partition.contains(&at) {
                    true => {
                        let expr = compared(Expr::column(index, by_bytes(data_type)))?;
                        check_sortable(expr.data_type())?;
                        SortKey {
                            expr,
                            descending: false,
                            nulls_first: false,
                        }
                    }
                    false => sort_key(sort, i, index, data_type)?,
                });
            }
            let node = Node::sort(self.id(), input.node, order);
            let entries = input.entries;
            self.passed_on(sort.cast(), Output { node, entries })
        }
    }

    /// The condition that lets the topmost window drop rows. Lower ones only stop computing: the rows that they
    /// pass on go out through the topmost one's quals.
    unsafe fn run_condition(&mut self, agg: *mut pg_sys::WindowAgg, core: Core) -> Converted<Core> {
        // SAFETY: as for `top`.
        unsafe {
            if (*agg).runCondition.is_null() || !(*agg).topWindow {
                return Ok(core);
            }
            let scope = own_targets(agg, &core.scope)?;
            let mut filters = Vec::new();
            for node in PgList::<pg_sys::Node>::from_pg((*agg).runCondition).iter_ptr() {
                filters.push(self.translate(&scope, node)?);
            }
            let predicate = match filters.len() {
                1 => filters.remove(0),
                _ => Expr::and(filters)?,
            };
            let node = Node::filter(self.id(), core.node, predicate);
            Ok(Core { node, ..core })
        }
    }

    unsafe fn window_call(
        &mut self,
        input: &Scope,
        function: *mut pg_sys::WindowFunc,
    ) -> Converted<WindowCall> {
        // SAFETY: a WindowFunc of a finished plan.
        unsafe {
            let oid = (*function).winfnoid;
            let name = crate::pg::function_name(oid);
            if oid.to_u32() >= 10_000 {
                return no(format!("window function {name}"));
            }
            let list = PgList::<pg_sys::Node>::from_pg((*function).args);
            let args: Vec<*mut pg_sys::Node> = list.iter_ptr().collect();
            if (*function).winagg && collects(&name) {
                return self.collecting_window(input, function, &args);
            }
            let kind = match (*function).winagg {
                true => WindowFunction::Aggregate(aggregate(&name, args.len())?),
                false => ranked(&name, &args)?,
            };
            let argument = match (args.first(), kind) {
                (None, _) | (_, WindowFunction::Ntile(_)) => None,
                (Some(argument), _) => Some(self.one_scale(input, *argument)?),
            };
            let default = match (args.get(2), kind) {
                (Some(default), WindowFunction::Offset(_)) => {
                    if !same_width(args[0], *default) {
                        return no("a default of another width of character(n)");
                    }
                    Some(self.one_scale(input, *default)?)
                }
                _ => None,
            };
            let filter = match (*function).aggfilter.is_null() {
                true => None,
                false => Some(self.translate(input, (*function).aggfilter.cast())?),
            };
            // Rows that the filter leaves out are not computed: they might fail.
            let argument = match (argument, &filter) {
                (Some(argument), Some(filter)) => {
                    Some(Expr::case(vec![(filter.clone(), argument)], None)?)
                }
                (argument, _) => argument,
            };
            Ok(WindowCall {
                function: kind,
                argument,
                default,
                filter,
            })
        }
    }

    /// `string_agg` or `array_agg` of a frame's rows.
    unsafe fn collecting_window(
        &mut self,
        input: &Scope,
        function: *mut pg_sys::WindowFunc,
        args: &[*mut pg_sys::Node],
    ) -> Converted<WindowCall> {
        // SAFETY: a WindowFunc of a finished plan.
        unsafe {
            let result = ((*function).wintype, (*function).wincollid);
            let (result, fields) = self.collected(input, (*function).winfnoid, args, result)?;
            let filter = match (*function).aggfilter.is_null() {
                true => None,
                false => Some(self.translate(input, (*function).aggfilter.cast())?),
            };
            // Rows that the filter leaves out are not computed: they might fail.
            let field = |field: Expr| match &filter {
                Some(filter) if field.can_raise() => {
                    Ok(Expr::case(vec![(filter.clone(), field)], None)?)
                }
                _ => Ok(field),
            };
            let fields = fields.into_iter().map(field).collect::<Converted<_>>()?;
            let distinct = false;
            let collect = AggregateFunction::Collect { result, distinct };
            Ok(WindowCall {
                function: WindowFunction::Aggregate(collect),
                argument: Some(Expr::item(Vec::new(), fields)?),
                default: None,
                filter,
            })
        }
    }

    unsafe fn one_scale(&mut self, scope: &Scope, node: *mut pg_sys::Node) -> Converted<Expr> {
        // SAFETY: as for `top`.
        unsafe { as_shown(self.translate(scope, node)?) }
    }
}

/// Whether blank-padded values have one width, so that equal ones are the same bytes; values of other types do.
unsafe fn same_width(value: *mut pg_sys::Node, other: *mut pg_sys::Node) -> bool {
    // SAFETY: expressions of a finished plan.
    unsafe {
        pg_sys::exprType(value) != pg_sys::BPCHAROID
            || pg_sys::exprTypmod(value) == pg_sys::exprTypmod(other)
    }
}

/// The type under which the same values sort by their bytes.
fn by_bytes(data_type: DataType) -> DataType {
    let collation = Collation::C;
    match data_type {
        DataType::Text { .. } => DataType::Text { collation },
        DataType::Bpchar { .. } => DataType::Bpchar { collation },
        other => other,
    }
}

/// The WindowFuncs of a targetlist.
unsafe fn window_functions(targetlist: *mut pg_sys::List) -> Vec<*mut pg_sys::Node> {
    let flags = pg_sys::PVC_INCLUDE_AGGREGATES
        | pg_sys::PVC_INCLUDE_WINDOWFUNCS
        | pg_sys::PVC_INCLUDE_PLACEHOLDERS;
    // SAFETY: a targetlist of a finished plan.
    unsafe {
        let found = pg_sys::pull_var_clause(targetlist.cast(), flags as i32);
        PgList::<pg_sys::Node>::from_pg(found)
            .iter_ptr()
            .filter(|node| (**node).type_ == NodeTag::T_WindowFunc)
            .collect()
    }
}

/// Columns of the input that rows are compared by.
unsafe fn keys(
    input: &Scope,
    count: i32,
    columns: *const pg_sys::AttrNumber,
) -> Converted<Vec<Expr>> {
    let key = |i: usize| {
        // SAFETY: the array has `count` elements.
        let at = unsafe { *columns.add(i) } as usize;
        let Some(item) = at.checked_sub(1).and_then(|at| input.items.get(at)) else {
            return no("a window's column beyond the input's");
        };
        let Column::Native(index, data_type) = item.column else {
            return no("a window by an average");
        };
        let key = compared(Expr::column(index, data_type))?;
        check_sortable(key.data_type())?;
        Ok(key)
    };
    (0..count as usize).map(key).collect()
}

/// A function that is no aggregate; its numbers must be constants that PostgreSQL takes.
unsafe fn ranked(name: &str, args: &[*mut pg_sys::Node]) -> Converted<WindowFunction> {
    use WindowFunction::*;
    // SAFETY: passed on to the caller: arguments of a function of a finished plan.
    let number = |at: usize| args.get(at).and_then(|node| unsafe { integer(*node) });
    Ok(match (name, args.len()) {
        ("row_number", 0) => RowNumber,
        ("rank", 0) => Rank,
        ("dense_rank", 0) => DenseRank,
        ("percent_rank", 0) => PercentRank,
        ("cume_dist", 0) => CumeDist,
        ("first_value", 1) => First,
        ("last_value", 1) => Last,
        ("lag", 1) => Offset(-1),
        ("lead", 1) => Offset(1),
        ("lag" | "lead", 2 | 3) => match (name, number(1)) {
            ("lag", Some(rows)) => Offset(-rows),
            (_, Some(rows)) => Offset(rows),
            (_, None) => return no(format!("{name} by a number that is not a constant")),
        },
        ("ntile", 1) => match number(0).and_then(|n| i32::try_from(n).ok()) {
            Some(buckets @ 1..) => Ntile(buckets),
            _ => return no("ntile of something else than a positive constant"),
        },
        ("nth_value", 2) => match number(1).and_then(|n| u64::try_from(n).ok()) {
            Some(n @ 1..) => Nth(n),
            _ => return no("nth_value of something else than a positive constant"),
        },
        _ => return no(format!("window function {name}")),
    })
}

/// An aggregate over the rows of a frame.
fn aggregate(name: &str, args: usize) -> Converted<AggregateFunction> {
    match plain(name, args == 1).filter(|_| args <= 1) {
        Some(function) => Ok(function),
        None => no(format!("aggregate {name} in a window")),
    }
}

/// The result of item `item`, whose columns start with `at`.
fn result_column(
    call: &WindowCall,
    at: usize,
    item: usize,
    finished: &mut FinalProjection,
) -> Converted<Column> {
    let average = call.function == WindowFunction::Aggregate(AggregateFunction::Avg);
    match call.output_types().as_slice() {
        [sum, count] if average => {
            let (sum, count) = (Expr::column(at, *sum), Expr::column(at + 1, *count));
            finished.average(item, sum, count)?;
            Ok(Column::Missing)
        }
        [one] => Ok(Column::Native(at, *one)),
        _ => no("a window function that PostgreSQL finishes"),
    }
}

/// The window functions of a node under the Vars by which its run condition refers to its targetlist.
unsafe fn own_targets(agg: *mut pg_sys::WindowAgg, scope: &Scope) -> Converted<Scope> {
    // SAFETY: a run condition holds no aggregates, and Vars of its node's own targetlist only.
    unsafe {
        let flags = pg_sys::PVC_RECURSE_PLACEHOLDERS as i32;
        let vars = pg_sys::pull_var_clause((*agg).runCondition.cast(), flags);
        let targets = PgList::<pg_sys::TargetEntry>::from_pg((*agg).plan.targetlist);
        let mut items = Vec::new();
        for var in PgList::<pg_sys::Var>::from_pg(vars).iter_ptr() {
            let resno = (*var).varattno;
            let target = targets.iter_ptr().find(|target| (**target).resno == resno);
            let at = target.and_then(|target| scope.find((*target).expr.cast()));
            let Some(at) = at else {
                return no("a run condition over something else than a window function");
            };
            items.push(Item {
                node: var.cast(),
                ..scope.items[at].clone()
            });
        }
        Ok(Scope { items })
    }
}
