// SPDX-License-Identifier: Apache-2.0
//! Operators by their names, and what their operands become.
use super::FIRST_OTHER_OID;
use crate::pg;
use crate::plan::{functions, no, types, Converted};
use doris_engine::expr::{ArithOp, BitOp, CompareOp, Expr, ExprKind, Math};
use doris_engine::types::DataType;
use pgrx::pg_sys;

/// The arguments of a function of two.
pub(super) fn two(args: Vec<Expr>) -> Converted<[Expr; 2]> {
    args.try_into()
        .or_else(|_| no("another number of arguments"))
}

/// A comparison of two arguments.
pub(super) fn compare(op: CompareOp, args: Vec<Expr>) -> Converted<Expr> {
    let [left, right] = two(args)?;
    Ok(Expr::compare(op, left, right)?)
}

/// The operands with the operator's collation.
pub(super) fn collated(args: Vec<Expr>, collation: pg_sys::Oid) -> Converted<Vec<Expr>> {
    if !args.iter().any(|arg| arg.data_type().is_text()) {
        return Ok(args);
    }
    let wanted = types::collate(collation);
    let one = |arg: Expr| {
        let typed = match (arg.data_type().collation(), arg.data_type()) {
            (None, _) => return Ok(arg),
            (Some(found), _) if found == wanted => return Ok(arg),
            (_, DataType::Text { .. }) => DataType::Text { collation: wanted },
            (_, _) => DataType::Bpchar { collation: wanted },
        };
        match arg.kind() {
            ExprKind::Const(Some(value)) => Ok(Expr::constant(value.clone(), typed)?),
            ExprKind::Const(None) => Ok(Expr::null(typed)),
            _ => match arg.collated(wanted) {
                Some(arg) => Ok(arg),
                None => no("an explicit collation"),
            },
        }
    };
    args.into_iter().map(one).collect()
}

/// The name of a built-in operator.
pub fn operator_name(oid: pg_sys::Oid) -> Converted<String> {
    // SAFETY: a catalogue look-up that returns a palloc'd string or null.
    unsafe {
        let name = pg::text_or_none(pg_sys::get_opname(oid));
        match name.filter(|_| oid.to_u32() < FIRST_OTHER_OID) {
            Some(name) => Ok(name),
            None => no("an operator that is not built in"),
        }
    }
}

/// An operator. `whole`: a numeric that 38 digits cannot hold may still be left to PostgreSQL when it comes up.
pub(super) fn binary(name: &str, mut args: Vec<Expr>, whole: bool) -> Converted<Expr> {
    if args.len() == 1 {
        let arg = args.remove(0);
        return match name {
            "-" => Ok(Expr::negate(arg)?),
            "+" => Ok(arg),
            "@" => Ok(Expr::abs(arg)?),
            "|/" => Ok(Expr::math(Math::Sqrt, arg)?),
            _ => no(format!("operator {name}")),
        };
    }
    let op = match name {
        "=" => Some(CompareOp::Eq),
        "<>" => Some(CompareOp::Ne),
        "<" => Some(CompareOp::Lt),
        "<=" => Some(CompareOp::Le),
        ">" => Some(CompareOp::Gt),
        ">=" => Some(CompareOp::Ge),
        _ => None,
    };
    if let Some(op) = op {
        return compare(op, args);
    }
    let [left, right] = two(args)?;
    if let Some(expr) = moments(name, &left, &right) {
        return expr;
    }
    let arith = match name {
        "+" => ArithOp::Add,
        "-" => ArithOp::Sub,
        "*" => ArithOp::Mul,
        "/" => ArithOp::Div,
        "%" => ArithOp::Mod,
        "~~" | "!~~" | "~~*" | "!~~*" => {
            if !functions::is_utf8() && !functions::matches_bytes(&right) {
                return no("LIKE in another encoding than UTF-8");
            }
            let (fold_case, negated) = (name.ends_with('*'), name.starts_with('!'));
            return Ok(Expr::like(left, right, fold_case, negated)?);
        }
        "&" => return Ok(Expr::bits(BitOp::And, left, right)?),
        "|" => return Ok(Expr::bits(BitOp::Or, left, right)?),
        "#" => return Ok(Expr::bits(BitOp::Xor, left, right)?),
        "<<" => return Ok(Expr::bits(BitOp::ShiftLeft, left, right)?),
        ">>" => return Ok(Expr::bits(BitOp::ShiftRight, left, right)?),
        "^" => return Ok(Expr::power(left, right)?),
        "||" if left.data_type().is_text() && right.data_type().is_text() => {
            return Ok(Expr::append(vec![left, right])?)
        }
        _ => return no(format!("operator {name}")),
    };
    match whole {
        true => Ok(Expr::arith_checked(arith, left, right)?),
        false => Ok(Expr::arith_any(arith, left, right)?),
    }
}

/// Arithmetic with dates and timestamps.
fn moments(name: &str, left: &Expr, right: &Expr) -> Option<Converted<Expr>> {
    use DataType::*;
    let (l, r) = (left.clone(), right.clone());
    let result = match (name, left.data_type(), right.data_type()) {
        ("+", Date, Int4) => Expr::date_add_days(l, r, false),
        ("+", Int4, Date) => Expr::date_add_days(r, l, false),
        ("-", Date, Int4) => Expr::date_add_days(l, r, true),
        ("-", Date, Date) => Expr::date_difference(l, r),
        ("+" | "-", Date | Timestamp, Interval) => Expr::add_interval(l, r, name == "-", None),
        ("-", Timestamp, Timestamp) => Expr::timestamp_difference(l, r),
        (_, Date | Time | Timestamp | TimestampTz | Interval, _)
        | (_, _, Date | Time | Timestamp | TimestampTz | Interval) => {
            return Some(no(format!("operator {name} on dates or times")))
        }
        _ => return None,
    };
    Some(result.map_err(Into::into))
}

/// Whether an operator is a built-in equality.
pub fn is_equality(oid: pg_sys::Oid) -> bool {
    operator_name(oid).is_ok_and(|name| name == "=")
}

/// Brings the two sides of a join key to one type, as the comparison operator would.
pub fn same_type(left: Expr, right: Expr) -> Converted<(Expr, Expr)> {
    let decimal = |expr: &Expr| expr.data_type() == DataType::Decimal;
    if decimal(&left) || decimal(&right) {
        return Ok((left.decimal_key()?, right.decimal_key()?));
    }
    let by_bytes = !matches!(
        left.data_type(),
        DataType::Interval | DataType::Opaque { .. }
    );
    if left.data_type() == right.data_type() && by_bytes {
        return Ok((left, right));
    }
    let comparison = Expr::compare(CompareOp::Eq, left, right)?;
    match comparison.kind() {
        ExprKind::Compare { left, right, .. } if decimal(left) => Ok((
            (**left).clone().decimal_key()?,
            (**right).clone().decimal_key()?,
        )),
        ExprKind::Compare { left, right, .. }
            if left.data_type().physical() == right.data_type().physical() =>
        {
            Ok(((**left).clone(), (**right).clone()))
        }
        _ => no("join keys of different types"),
    }
}
