// SPDX-License-Identifier: Apache-2.0
//! Filters as the storage's predicates, to skip segments and row blocks.
//!
//! What cannot be said as a predicate is left out; a part of an AND may be, a part of an OR may not.
use doris_engine::expr::{CompareOp, Expr, ExprKind};
use doris_engine::types::{Collation, DataType, Scalar};
use doris_storage::prune::{CmpOp, Predicate};
use doris_storage::zone_map::Scalar as Bound;

/// The conjunction of what can be said of some filters; `attributes[i]` is the id of source column `i`.
pub fn predicate(filters: &[Expr], attributes: &[u16]) -> Predicate {
    Predicate::And(
        filters
            .iter()
            .filter_map(|filter| say(filter, attributes))
            .collect(),
    )
}

/// Whether [`predicate`] says all of the filters, so that rows that surely satisfy it pass them.
pub fn says_all(filters: &[Expr], attributes: &[u16]) -> bool {
    filters.iter().all(|filter| match filter.kind() {
        ExprKind::And(args) | ExprKind::Or(args) => says_all(args, attributes),
        _ => say(filter, attributes).is_some(),
    })
}

fn say(expr: &Expr, attributes: &[u16]) -> Option<Predicate> {
    match expr.kind() {
        ExprKind::And(args) => Some(Predicate::And(
            args.iter().filter_map(|arg| say(arg, attributes)).collect(),
        )),
        ExprKind::Or(args) => {
            let args: Option<Vec<_>> = args.iter().map(|arg| say(arg, attributes)).collect();
            Some(Predicate::Or(args?))
        }
        ExprKind::IsNull { arg, negated } => {
            let (column, _) = column(arg, attributes)?;
            Some(if *negated {
                Predicate::IsNotNull(column)
            } else {
                Predicate::IsNull(column)
            })
        }
        ExprKind::Compare { op, left, right } => compare(*op, left, right, attributes)
            .or_else(|| compare(op.flip(), right, left, attributes)),
        _ => None,
    }
}

fn column(expr: &Expr, attributes: &[u16]) -> Option<(u16, DataType)> {
    match expr.kind() {
        ExprKind::Column(index) => Some((*attributes.get(*index)?, expr.data_type())),
        _ => None,
    }
}

fn compare(op: CompareOp, left: &Expr, right: &Expr, attributes: &[u16]) -> Option<Predicate> {
    let (column, data_type) = column(left, attributes)?;
    let ExprKind::Const(Some(value)) = right.kind() else {
        return None;
    };
    let op = match op {
        CompareOp::Eq => CmpOp::Eq,
        CompareOp::Ne => CmpOp::Ne,
        CompareOp::Lt => CmpOp::Lt,
        CompareOp::Le => CmpOp::Le,
        CompareOp::Gt => CmpOp::Gt,
        CompareOp::Ge => CmpOp::Ge,
        _ => return None,
    };
    let by_bytes = match data_type {
        DataType::Text { collation } => {
            let equality = op == CmpOp::Eq && collation != Collation::Other;
            if !collation.sorts_bytes() && !equality {
                return None;
            }
            true
        }
        DataType::Bool
        | DataType::Int2
        | DataType::Int4
        | DataType::Int8
        | DataType::Float4
        | DataType::Float8
        | DataType::Numeric { .. }
        | DataType::Date
        | DataType::Time
        | DataType::Timestamp
        | DataType::TimestampTz => false,
        _ => return None,
    };
    let value = match value {
        Scalar::Bool(v) => Bound::Int(i128::from(*v)),
        Scalar::I16(v) => Bound::Int(i128::from(*v)),
        Scalar::I32(v) => Bound::Int(i128::from(*v)),
        Scalar::I64(v) => Bound::Int(i128::from(*v)),
        Scalar::I128(v) => Bound::Int(*v),
        Scalar::F32(v) => Bound::Float(f64::from(*v)),
        Scalar::F64(v) => Bound::Float(*v),
        Scalar::Bytes(v) if by_bytes => Bound::bytes(v.to_vec()),
        Scalar::Bytes(_) => return None,
    };
    if left.data_type() != right.data_type() && !same_scale(left, right) {
        return None;
    }
    Some(Predicate::Cmp { column, op, value })
}

/// Constants of numerics count in the column's scale.
fn same_scale(left: &Expr, right: &Expr) -> bool {
    match (left.data_type(), right.data_type()) {
        (DataType::Numeric { scale: a, .. }, DataType::Numeric { scale: b, .. }) => a == b,
        (a, b) => a.physical() == b.physical(),
    }
}
