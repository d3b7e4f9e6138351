// SPDX-License-Identifier: Apache-2.0
//! Calls of aggregates, and what the engine computes for them.
use super::super::super::scope::{Column, Item, Scope};
use super::super::super::{hook, no, Converted};
use super::super::collect::collects;
use super::super::{check_sortable, doris_aggregates, Converter};
use doris_engine::expr::build::cast::DisplayScale;
use doris_engine::expr::Expr;
use doris_engine::plan::{AggregateCall, AggregateFunction, Regression};
use doris_engine::types::DataType;
use pgrx::pg_sys::{self, NodeTag};
use pgrx::PgList;

impl Converter<'_> {
    /// An aggregate, or a column that the grouping columns determine.
    pub(super) unsafe fn call(
        &mut self,
        input: &Scope,
        node: *mut pg_sys::Node,
        at: usize,
    ) -> Converted<(AggregateCall, Item)> {
        // SAFETY: as for `top`.
        unsafe {
            let shown = hook::flatten(node, input);
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
            let name = crate::pg::function_name(oid);
            if doris_aggregates::is_own(oid) {
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
pub(in super::super) fn plain(name: &str, has_argument: bool) -> Option<AggregateFunction> {
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
pub(super) unsafe fn is_average(node: *mut pg_sys::Node) -> bool {
    // SAFETY: the tag is checked before the cast.
    unsafe {
        (*node).type_ == NodeTag::T_Aggref && {
            let oid = (*(node as *mut pg_sys::Aggref)).aggfnoid;
            crate::pg::function_name(oid) == "avg"
        }
    }
}

/// The sum within an average of the same values, of the type that the sum alone would have.
pub(super) unsafe fn half_of_average(
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

/// For a sum over numerics of differing display scales: the aggregate that finds the scale to show.
pub(super) fn shown_scale(call: &AggregateCall) -> Converted<Option<AggregateCall>> {
    let Some(argument) = &call.argument else {
        return Ok(None);
    };
    if !matches!(argument.data_type(), DataType::Numeric { .. }) {
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
    data_type: DataType,
    distinct: bool,
) -> Converted<()> {
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
