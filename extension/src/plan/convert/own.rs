// SPDX-License-Identifier: Apache-2.0
//! Doris's aggregates: distinct counts by bitmaps and sketches that are made of plain values on the way.
use super::super::expr::function_name;
use super::super::scope::Scope;
use super::super::{no, Converted};
use super::{check_groupable, Converter};
use doris_engine::expr::{CompareOp, Expr};
use doris_engine::plan::{AggregateCall, AggregateFunction, ApproxHash};
use doris_engine::types::{Collation, DataType, Scalar};
use pgrx::pg_sys::{self, NodeTag};
use pgrx::PgList;

/// Whether a function is in the extension's schema.
pub fn is_own(function: pg_sys::Oid) -> bool {
    // SAFETY: catalogue look-ups.
    unsafe {
        function.to_u32() >= pg_sys::FirstNormalObjectId
            && pg_sys::get_func_namespace(function)
                == pg_sys::get_namespace_oid(c"doris".as_ptr(), true)
    }
}

impl Converter<'_> {
    /// An aggregate of the extension's own.
    pub(super) unsafe fn own_aggregate(
        &mut self,
        input: &Scope,
        aggref: *mut pg_sys::Aggref,
    ) -> Converted<AggregateCall> {
        // SAFETY: an Aggref of a finished plan.
        unsafe {
            let name = function_name((*aggref).aggfnoid);
            let args = PgList::<pg_sys::TargetEntry>::from_pg((*aggref).args);
            let plain = (*aggref).aggdistinct.is_null() && (*aggref).aggorder.is_null();
            let (Some(arg), 1, true) = (args.get_ptr(0), args.len(), plain) else {
                return no(format!("aggregate {name}"));
            };
            let arg = (*arg).expr.cast();
            let (function, argument) = match name.as_str() {
                "bitmap_union_count" => {
                    let value = self.made_by(input, arg, "to_bitmap")?;
                    (AggregateFunction::Count, members(value)?)
                }
                "hll_union_agg" => {
                    let value = self.made_by(input, arg, "hll_hash")?;
                    let hash = AggregateFunction::ApproxDistinct(ApproxHash::Text);
                    (hash, hashable(value, false)?)
                }
                "ndv" | "approx_count_distinct" => {
                    let value = self.translate(input, arg)?;
                    let hash = AggregateFunction::ApproxDistinct(ApproxHash::Value);
                    (hash, hashable(value, true)?)
                }
                _ => return no(format!("aggregate {name}")),
            };
            let distinct = function == AggregateFunction::Count;
            if distinct {
                check_groupable(argument.data_type())?;
            }
            let filter = match (*aggref).aggfilter.is_null() {
                true => None,
                false => Some(self.translate(input, (*aggref).aggfilter.cast())?),
            };
            Ok(AggregateCall {
                function,
                argument: Some(argument),
                distinct,
                filter,
            })
        }
    }

    /// The value that a call of one of our functions makes a bitmap or sketch of.
    unsafe fn made_by(
        &mut self,
        input: &Scope,
        node: *mut pg_sys::Node,
        maker: &str,
    ) -> Converted<Expr> {
        // SAFETY: an expression of a finished plan; the cast follows the tag.
        unsafe {
            if (*node).type_ != NodeTag::T_FuncExpr {
                return no(format!("an aggregate of something else than {maker}"));
            }
            let call = node as *mut pg_sys::FuncExpr;
            if !is_own((*call).funcid) || function_name((*call).funcid) != maker {
                return no(format!("an aggregate of something else than {maker}"));
            }
            let args = PgList::<pg_sys::Node>::from_pg((*call).args);
            match args.get_ptr(0) {
                Some(arg) => self.translate(input, arg),
                None => no(format!("{maker} of nothing")),
            }
        }
    }
}

/// What `to_bitmap` puts into a bitmap: numbers from 0 on.
fn members(value: Expr) -> Converted<Expr> {
    if value.data_type() != DataType::Int8 {
        return no("to_bitmap of something else than a number");
    }
    let zero = Expr::constant(Scalar::I64(0), DataType::Int8)?;
    let counts = Expr::compare(CompareOp::Ge, value.clone(), zero)?;
    Ok(Expr::case(vec![(counts, value)], None)?)
}

/// Values whose hashes the engine knows: `by_equality` says that equal values must share theirs.
fn hashable(value: Expr, by_equality: bool) -> Converted<Expr> {
    match value.data_type() {
        DataType::Int2 | DataType::Int4 | DataType::Int8 => Ok(value),
        DataType::Text { collation } if !by_equality || collation != Collation::Other => Ok(value),
        other => no(format!("a distinct count of {other}")),
    }
}
