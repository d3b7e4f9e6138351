// SPDX-License-Identifier: Apache-2.0
//! Doris's aggregates: distinct counts by bitmaps and sketches that are made of plain values on the way, and unions of
//! stored ones.
use super::super::scope::Scope;
use super::super::{no, Converted};
use super::{check_groupable, Converter};
use crate::pg::function_name;
use doris_engine::expr::{CompareOp, Expr};
use doris_engine::plan::{AggregateCall, AggregateFunction, ApproxHash, Sketch};
use doris_engine::types::{Collation, DataType, Scalar};
use doris_storage::vector::Physical;
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
                _ if stored_union(&name).is_some() && !is_made(arg) => {
                    self.united(input, arg, &name)?
                }
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

    /// A union of stored values.
    unsafe fn united(
        &mut self,
        input: &Scope,
        arg: *mut pg_sys::Node,
        name: &str,
    ) -> Converted<(AggregateFunction, Expr)> {
        let Some(function) = stored_union(name) else {
            return no(format!("aggregate {name}"));
        };
        // SAFETY: an expression of a finished plan.
        let argument = unsafe { self.carried(input, arg)? };
        match argument.data_type().physical() {
            Physical::Bytes => Ok((function, argument)),
            _ => no(format!("aggregate {name} of {}", argument.data_type())),
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

/// What unites the stored values that an aggregate is given.
fn stored_union(name: &str) -> Option<AggregateFunction> {
    Some(match name {
        "bitmap_union" => AggregateFunction::Union(Sketch::Bitmap),
        "bitmap_union_count" => AggregateFunction::UnionCount(Sketch::Bitmap),
        "hll_union" | "hll_raw_agg" => AggregateFunction::Union(Sketch::Hll),
        "hll_union_agg" => AggregateFunction::UnionCount(Sketch::Hll),
        _ => return None,
    })
}

/// Whether an expression makes a bitmap or a sketch of a plain value.
unsafe fn is_made(node: *mut pg_sys::Node) -> bool {
    // SAFETY: an expression of a finished plan; the cast follows the tag.
    unsafe {
        (*node).type_ == NodeTag::T_FuncExpr && {
            let function = (*(node as *mut pg_sys::FuncExpr)).funcid;
            is_own(function) && matches!(function_name(function).as_str(), "to_bitmap" | "hll_hash")
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
