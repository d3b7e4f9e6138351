// SPDX-License-Identifier: Apache-2.0
//! From a function's name to its kernel.

use doris_storage::vector::Vector;

use super::{arith, collected_row, datetime, decimal, interval_parts, math, text};
use crate::error::Result;
use crate::expr::context::TextRoom;
use crate::expr::ir::Func;
use crate::expr::operand::Operand;
use crate::types::DataType;

/// `func(operands)`; none of a strict function's operands is the NULL constant.
pub(in crate::expr) fn call(
    func: Func,
    types: &[DataType],
    result: DataType,
    operands: &[Operand],
    rows: usize,
    room: &TextRoom<'_>,
) -> Result<Vector> {
    match func {
        Func::Negate | Func::Abs if result == DataType::Decimal => {
            decimal::call(func, types, operands, rows)
        }
        Func::Round(_)
        | Func::AtScale
        | Func::Average
        | Func::Declared { .. }
        | Func::Root
        | Func::Sign
        | Func::Quotient
        | Func::DecimalKey => decimal::call(func, types, operands, rows),
        Func::Math(function) => math::of_float(function, operands, rows),
        Func::Power => math::powers(operands, rows),
        Func::Bits(op) => math::bits(op, result, operands, rows),
        Func::Pair => collected_row::pairs(operands, rows),
        Func::Negate => arith::sign(false, result, &operands[0], rows),
        Func::Abs => arith::sign(true, result, &operands[0], rows),
        Func::DateAsTimestamp => datetime::dates_as_timestamps(&operands[0], rows),
        Func::IntervalOrder => Ok(datetime::interval_order(&operands[0], rows)),
        Func::ToLocal(offset) => datetime::shift(&operands[0], offset.into(), rows),
        Func::FromLocal(offset) => datetime::shift(&operands[0], -i64::from(offset), rows),
        Func::DateAddDays { negate } => datetime::add_days(negate, operands, rows),
        Func::DateDiff => datetime::date_difference(operands, rows),
        Func::TimestampAddInterval { negate } => datetime::add_interval(negate, operands, rows),
        Func::TimestampDiff => datetime::timestamp_difference(operands, rows),
        Func::Extract(unit) if matches!(types[0], DataType::Interval | DataType::Time) => {
            interval_parts::extract(unit, types[0], result, &operands[0], rows)
        }
        Func::DatePart(unit) if matches!(types[0], DataType::Interval | DataType::Time) => {
            interval_parts::date_part(unit, types[0], &operands[0], rows)
        }
        Func::Extract(unit) => datetime::extract(unit, types[0], result, &operands[0], rows),
        Func::DatePart(unit) => datetime::date_part(unit, &operands[0], rows),
        Func::DateTrunc(unit) => datetime::date_trunc(unit, &operands[0], rows),
        _ => text::call(func, types, operands, rows, room),
    }
}
