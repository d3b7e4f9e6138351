// SPDX-License-Identifier: Apache-2.0
//! Grouping, aggregation and DISTINCT.
mod calls;
mod grouping;

pub(super) use self::calls::plain;
use self::calls::{half_of_average, is_average, shown_scale};
use self::grouping::{columns, group_keys, group_order, grouping, grouping_function};
use super::super::scope::{Column, Item, Scope};
use super::super::{hook, no, Converted};
use super::collect::{ordered_input, takes_order_of_input};
use super::final_projection::FinalProjection;
use super::{renamed, unsorted, Converter, Core, Output};
use doris_engine::expr::{CompareOp, Expr};
use doris_engine::plan::{Aggregate, AggregateCall, AggregateFunction, Node, SortKey};
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
            let pieces = pieces_of(agg);
            let (below, in_order) = match pieces.iter().any(|p| takes_order_of_input(*p)) {
                true => ordered_input(agg),
                false => (unsorted(left), false),
            };
            let input = renamed(self.output(below, in_order)?, pg_sys::OUTER_VAR);
            let (items, keys) = group_keys(&input.scope, &columns)?;
            let sorted = ordered && (*agg).aggstrategy == pg_sys::AggStrategy::AGG_SORTED;
            let mut order = match (sorted, &sets) {
                (false, _) => Vec::new(),
                (true, None) => group_order(left, &columns, &keys)?,
                // Only a single rollup counts as sorted.
                (true, Some(_)) if !(*agg).chain.is_null() => Vec::new(),
                (true, Some(_)) => group_order(left, &columns, &keys)?,
            };
            let mut results = Results::new(items, keys.len());
            for node in pieces {
                self.add_result(&input.scope, node, &mut results)?;
            }
            // From 16 on keys that are constant are left out. Where no other is left, there is a group if there are
            // rows.
            let by_constants = columns.is_empty()
                && sets.is_none()
                && (*agg).aggstrategy != pg_sys::AggStrategy::AGG_PLAIN;
            let count = by_constants.then(|| results.count_rows());
            let mut items = results.items;
            let aggregate = Aggregate {
                input: Box::new(input.node),
                keys,
                calls: results.calls,
                grouping_sets: sets.clone(),
            };
            let mut node = Node::aggregate(self.id(), aggregate);
            if let Some(count) = count {
                node = self.where_any(node, count)?;
            }
            let set = node.types.len().saturating_sub(1);
            node = self.finished(node, &mut items, results.finished)?;
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
                for grouping in results.groupings {
                    let column = Column::Native(exprs.len(), DataType::Int4);
                    exprs.push(grouping_function(grouping.cast(), &columns, sets, &set)?);
                    let shown = hook::flatten(grouping, &input.scope);
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

    /// Adds a piece of the aggregation's target list to its results, unless it is one of them.
    unsafe fn add_result(
        &mut self,
        input: &Scope,
        node: *mut pg_sys::Node,
        results: &mut Results,
    ) -> Converted<()> {
        // SAFETY: as for `top`.
        unsafe {
            if (*node).type_ == NodeTag::T_GroupingFunc {
                results.groupings.push(node);
                return Ok(());
            }
            let known = Scope {
                items: results.items.clone(),
            };
            if known.find(node).is_some() {
                return Ok(());
            }
            let (call, item) = self.call(input, node, results.width)?;
            results.add(node, call, item)
        }
    }

    /// The rows of a node, if the count in one of its columns is not zero.
    fn where_any(&mut self, node: Node, count: usize) -> Converted<Node> {
        let count = Expr::column(count, DataType::Int8);
        let none = Expr::constant(Scalar::I64(0), DataType::Int8)?;
        let any = Expr::compare(CompareOp::Gt, count, none)?;
        Ok(Node::filter(self.id(), node, any))
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
}

/// What the target list and the condition of an aggregation are made of. Averages come first: a sum of the same values
/// is half of one.
unsafe fn pieces_of(agg: *mut pg_sys::Agg) -> Vec<*mut pg_sys::Node> {
    let flags = pg_sys::PVC_INCLUDE_AGGREGATES | pg_sys::PVC_INCLUDE_PLACEHOLDERS;
    let mut pieces: Vec<*mut pg_sys::Node> = Vec::new();
    // SAFETY: an Agg of a finished plan.
    unsafe {
        for list in [(*agg).plan.targetlist, (*agg).plan.qual] {
            let found = pg_sys::pull_var_clause(list.cast(), flags as i32);
            pieces.extend(PgList::<pg_sys::Node>::from_pg(found).iter_ptr());
        }
        pieces.sort_by_key(|piece| !is_average(*piece));
    }
    pieces
}

/// What an aggregation computes, and under which columns its parents find it.
struct Results {
    items: Vec<Item>,
    calls: Vec<AggregateCall>,
    /// Columns that come out: those of the keys and of the calls so far.
    width: usize,
    /// Averages with the column and the type of their sums.
    averages: Vec<(*mut pg_sys::Aggref, usize, DataType)>,
    /// Calls of `GROUPING`.
    groupings: Vec<*mut pg_sys::Node>,
    finished: FinalProjection,
}

impl Results {
    /// With the items of so many keys.
    fn new(items: Vec<Item>, keys: usize) -> Self {
        Self {
            items,
            calls: Vec::new(),
            width: keys,
            averages: Vec::new(),
            groupings: Vec::new(),
            finished: FinalProjection::default(),
        }
    }

    /// Adds the result of a call. A sum that is half of an average needs no call of its own.
    unsafe fn add(
        &mut self,
        node: *mut pg_sys::Node,
        call: AggregateCall,
        mut item: Item,
    ) -> Converted<()> {
        let argument = call.argument.as_ref().map(Expr::data_type);
        let outputs = call.function.output_types(argument);
        let at = self.width;
        // SAFETY: passed on to the caller: an expression of a finished plan.
        let is_average = unsafe { is_average(node) };
        if let (true, [sum, count]) = (is_average, outputs.as_slice()) {
            self.averages.push((node.cast(), at, *sum));
            let (sum, count) = (Expr::column(at, *sum), Expr::column(at + 1, *count));
            self.finished.average(self.items.len(), sum, count)?;
        }
        let scale_call = shown_scale(&call)?;
        if scale_call.is_none() && call.function == AggregateFunction::Sum {
            // SAFETY: as above; a call of `sum` is an Aggref.
            let half = unsafe { half_of_average(&self.averages, node.cast(), outputs[0]) };
            if let Some(column) = half {
                item.column = column;
                self.items.push(item);
                return Ok(());
            }
        }
        self.width += outputs.len();
        self.calls.push(call);
        if let Some(scale_call) = scale_call {
            let scale = Expr::column(self.width, DataType::Int2);
            let sum = Expr::column(self.width - 1, outputs[0]);
            self.finished.scaled(self.items.len(), sum, scale)?;
            self.calls.push(scale_call);
            self.width += 1;
        }
        self.items.push(item);
        Ok(())
    }

    /// Adds a count of the rows; its column.
    fn count_rows(&mut self) -> usize {
        self.calls.push(AggregateCall {
            function: AggregateFunction::CountStar,
            argument: None,
            distinct: false,
            filter: None,
        });
        self.width
    }
}
