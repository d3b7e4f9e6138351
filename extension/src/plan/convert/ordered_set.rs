// SPDX-License-Identifier: Apache-2.0
//! Ordered-set aggregates.
use super::super::expr::operator_name;
use super::super::scope::Scope;
use super::super::{no, Converted};
use super::{as_shown, check_groupable, Converter};
use crate::pg::function_name;
use doris_engine::plan::{AggregateCall, AggregateFunction};
use pgrx::pg_sys::{self, NodeTag};
use pgrx::PgList;

impl Converter<'_> {
    /// `percentile_cont`, `percentile_disc` and `mode` WITHIN GROUP (ORDER BY x).
    pub(super) unsafe fn ordered_set(
        &mut self,
        input: &Scope,
        aggref: *mut pg_sys::Aggref,
    ) -> Converted<AggregateCall> {
        // SAFETY: a built-in ordered-set Aggref of a finished plan.
        unsafe {
            let name = function_name((*aggref).aggfnoid);
            let direct = PgList::<pg_sys::Node>::from_pg((*aggref).aggdirectargs);
            let fraction = direct.get_ptr(0).and_then(|node| fraction(node));
            let args = PgList::<pg_sys::TargetEntry>::from_pg((*aggref).args);
            let order = PgList::<pg_sys::SortGroupClause>::from_pg((*aggref).aggorder);
            let (Some(arg), Some(order), 1) = (args.get_ptr(0), order.get_ptr(0), args.len())
            else {
                return no(format!("aggregate {name} of several arguments"));
            };
            let falling = operator_name((*order).sortop)? == ">";
            use AggregateFunction::*;
            let function = match (name.as_str(), fraction, falling) {
                ("mode", _, false) => Mode,
                ("mode", _, true) => ModeDesc,
                ("percentile_cont", Some(bits), false) => PercentileCont(bits),
                ("percentile_cont", Some(bits), true) => PercentileContDesc(bits),
                ("percentile_disc", Some(bits), false) => PercentileDisc(bits),
                ("percentile_disc", Some(bits), true) => PercentileDiscDesc(bits),
                _ => return no(format!("aggregate {name}")),
            };
            let argument = as_shown(self.translate(input, (*arg).expr.cast())?)?;
            check_groupable(argument.data_type())?;
            let filter = match (*aggref).aggfilter.is_null() {
                true => None,
                false => Some(self.translate(input, (*aggref).aggfilter.cast())?),
            };
            let call = AggregateCall {
                function,
                argument: Some(argument),
                distinct: false,
                filter,
            };
            doris_engine::ops::aggregate::check(&call)?;
            Ok(call)
        }
    }
}

/// The bits of a constant from 0 to 1.
unsafe fn fraction(node: *mut pg_sys::Node) -> Option<u64> {
    // SAFETY: an expression of a finished plan; the tag and the type say what it holds.
    unsafe {
        let constant = node as *mut pg_sys::Const;
        if (*node).type_ != NodeTag::T_Const
            || (*constant).constisnull
            || (*constant).consttype != pg_sys::FLOAT8OID
        {
            return None;
        }
        let bits = (*constant).constvalue.value() as u64;
        (0.0..=1.0).contains(&f64::from_bits(bits)).then_some(bits)
    }
}
