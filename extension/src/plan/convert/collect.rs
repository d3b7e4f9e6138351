// SPDX-License-Identifier: Apache-2.0
//! Aggregates that put rows together: string_agg and array_agg.
use super::super::expr::operator_name;
use super::super::scope::Scope;
use super::super::{no, types, Converted};
use super::{as_shown, check_groupable, Converter};
use crate::pg::{self, function_name};
use doris_engine::expr::Expr;
use doris_engine::plan::{AggregateCall, AggregateFunction, Collected, Element, SortKey};
use doris_engine::types::DataType;
use pgrx::pg_sys::{self, NodeTag};
use pgrx::PgList;

/// `array_agg` of arrays, which makes one of more dimensions.
const ARRAY_AGG_OF_ARRAYS: u32 = 4053;

/// Whether an aggregate of this name is one of these.
pub(super) fn collects(name: &str) -> bool {
    matches!(name, "string_agg" | "array_agg")
}

/// Whether a node is a call of one of these that takes its rows as they come.
pub(super) unsafe fn takes_order_of_input(node: *mut pg_sys::Node) -> bool {
    // SAFETY: the tag is checked before the cast.
    unsafe {
        (*node).type_ == NodeTag::T_Aggref && {
            let aggref = node as *mut pg_sys::Aggref;
            (*aggref).aggorder.is_null()
                && (*aggref).aggdistinct.is_null()
                && collects(&function_name((*aggref).aggfnoid))
        }
    }
}

/// The input of an aggregation that takes its rows as they come, and whether they come in an order that the query asked
/// for. A sort that is there for grouping only is left out.
pub(super) unsafe fn ordered_input(agg: *mut pg_sys::Agg) -> (*mut pg_sys::Plan, bool) {
    // SAFETY: an Agg of a finished plan; the tag is checked before the cast.
    unsafe {
        let left = (*agg).plan.lefttree;
        let sorted = (*agg).aggstrategy == pg_sys::AggStrategy::AGG_SORTED;
        let for_grouping = sorted
            && (*left).type_ == NodeTag::T_Sort
            && (*(left as *mut pg_sys::Sort)).numCols == (*agg).numCols;
        let input = match for_grouping {
            true => (*left).lefttree,
            false => left,
        };
        (input, is_ordered(input))
    }
}

/// Whether a node's rows are in some order that the query may have asked for.
unsafe fn is_ordered(plan: *mut pg_sys::Plan) -> bool {
    // SAFETY: a finished plan; tags are checked before casts.
    unsafe {
        if plan.is_null() {
            return false;
        }
        if super::super::node::is_ours(plan) {
            return is_ordered(super::super::node::original(plan.cast()));
        }
        match (*plan).type_ {
            NodeTag::T_Sort
            | NodeTag::T_IncrementalSort
            | NodeTag::T_MergeAppend
            | NodeTag::T_Unique
            | NodeTag::T_Group
            | NodeTag::T_MergeJoin
            | NodeTag::T_WindowAgg => true,
            NodeTag::T_Agg => {
                (*(plan as *mut pg_sys::Agg)).aggstrategy == pg_sys::AggStrategy::AGG_SORTED
            }
            NodeTag::T_Append => super::super::hook::appended(plan)
                .iter_ptr()
                .any(|child| is_ordered(child)),
            NodeTag::T_SubqueryScan => is_ordered((*(plan as *mut pg_sys::SubqueryScan)).subplan),
            NodeTag::T_Result | NodeTag::T_Limit | NodeTag::T_Material | NodeTag::T_NestLoop => {
                is_ordered((*plan).lefttree)
            }
            _ => false,
        }
    }
}

impl Converter<'_> {
    /// A call of `string_agg` or `array_agg`.
    pub(super) unsafe fn collecting(
        &mut self,
        input: &Scope,
        aggref: *mut pg_sys::Aggref,
    ) -> Converted<AggregateCall> {
        // SAFETY: a built-in Aggref of a finished plan.
        unsafe {
            let args = PgList::<pg_sys::TargetEntry>::from_pg((*aggref).args);
            let plain = args.iter_ptr().filter(|arg| !(**arg).resjunk);
            let plain: Vec<*mut pg_sys::Node> = plain.map(|arg| (*arg).expr.cast()).collect();
            let oid = (*aggref).aggfnoid;
            let result = ((*aggref).aggtype, (*aggref).aggcollid);
            let (result, fields) = self.collected(input, oid, &plain, result)?;
            let distinct = !(*aggref).aggdistinct.is_null();
            let order = match distinct {
                true => (*aggref).aggdistinct,
                false => (*aggref).aggorder,
            };
            let order = self.order_of_items(input, &args, order, distinct)?;
            let filter = match (*aggref).aggfilter.is_null() {
                true => None,
                false => Some(self.translate(input, (*aggref).aggfilter.cast())?),
            };
            let call = AggregateCall {
                function: AggregateFunction::Collect { result, distinct },
                argument: Some(Expr::item(order, fields)?),
                distinct: false,
                filter,
            };
            doris_engine::ops::aggregate::check(&call)?;
            Ok(call)
        }
    }

    /// What a call of `string_agg` or `array_agg` makes of which fields of a row.
    pub(super) unsafe fn collected(
        &mut self,
        input: &Scope,
        function: pg_sys::Oid,
        args: &[*mut pg_sys::Node],
        (type_oid, collation): (pg_sys::Oid, pg_sys::Oid),
    ) -> Converted<(Collected, Vec<Expr>)> {
        // SAFETY: arguments of a built-in aggregate of a finished plan.
        unsafe {
            let name = function_name(function);
            match (name.as_str(), args) {
                ("string_agg", [value, delimiter]) => {
                    let result = types::data_type(type_oid, -1, collation)?;
                    let fields = [*value, *delimiter].map(|arg| self.translate(input, arg));
                    let fields = fields.into_iter().collect::<Converted<Vec<Expr>>>()?;
                    let fits = |field: &Expr| match result {
                        DataType::Bytea => field.data_type() == DataType::Bytea,
                        _ => matches!(field.data_type(), DataType::Text { .. }),
                    };
                    if !fields.iter().all(fits) {
                        return no("string_agg of another type");
                    }
                    Ok((Collected::Text(result), fields))
                }
                ("array_agg", [value]) => {
                    if function.to_u32() == ARRAY_AGG_OF_ARRAYS {
                        return no("array_agg of arrays");
                    }
                    let field = self.carried(input, *value)?;
                    let field = match field.data_type().is_numeric() {
                        true => Expr::to_decimal(field)?,
                        false => field,
                    };
                    let element = element(pg_sys::exprType(*value));
                    Ok((Collected::Array(element), vec![field]))
                }
                _ => no(format!("aggregate {name}")),
            }
        }
    }

    /// The keys by which an aggregate's rows are sorted.
    unsafe fn order_of_items(
        &mut self,
        input: &Scope,
        args: &PgList<pg_sys::TargetEntry>,
        clauses: *mut pg_sys::List,
        distinct: bool,
    ) -> Converted<Vec<SortKey>> {
        // SAFETY: clauses refer to the entries of an Aggref's arguments.
        unsafe {
            let mut keys = Vec::new();
            for clause in PgList::<pg_sys::SortGroupClause>::from_pg(clauses).iter_ptr() {
                let is_meant = |arg: &*mut pg_sys::TargetEntry| {
                    (**arg).ressortgroupref == (*clause).tleSortGroupRef
                };
                let Some(arg) = args.iter_ptr().find(is_meant) else {
                    return no("an aggregate ordered by something unknown");
                };
                let descending = match operator_name((*clause).sortop)?.as_str() {
                    "<" => false,
                    ">" => true,
                    name => return no(format!("an aggregate ordered by operator {name}")),
                };
                let mut expr = self.translate(input, (*arg).expr.cast())?;
                if distinct {
                    // Of equal numerics that look different, the first met would stand for all.
                    expr = as_shown(expr)?;
                    check_groupable(expr.data_type())?;
                }
                keys.push(SortKey {
                    expr,
                    descending,
                    nulls_first: (*clause).nulls_first,
                });
            }
            Ok(keys)
        }
    }
}

/// How values of a type lie in an array.
fn element(type_oid: pg_sys::Oid) -> Element {
    let (mut width, mut by_value, mut align) = (0i16, false, 0);
    // SAFETY: a catalogue look-up.
    unsafe { pg_sys::get_typlenbyvalalign(type_oid, &mut width, &mut by_value, &mut align) };
    Element {
        type_oid: type_oid.to_u32(),
        width,
        align: pg::attributes::alignment_bytes(align) as u8,
    }
}
