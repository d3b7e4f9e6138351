// SPDX-License-Identifier: Apache-2.0
//! Filters as the storage's predicates, to skip segments and row blocks.
//!
//! What cannot be said as a predicate is left out; a part of an AND may be, a part of an OR may not.
use crate::read::attrs::PlaceColumn;
use doris_engine::expr::{CompareOp, Expr, ExprKind, LikePattern, ValueSet};
use doris_engine::types::{pow10, Collation, DataType, Scalar};
use doris_storage::prune::{CmpOp, Predicate};
use doris_storage::zone_map::Scalar as Bound;

/// The longest list of constants that row blocks are asked about one by one; of a longer one, its ends.
const LIST_MAX: usize = 256;

/// What can be said of a condition.
struct Said {
    /// True wherever the condition is.
    predicate: Predicate,
    /// And false or NULL exactly where the condition is.
    exact: bool,
}

impl Said {
    fn exactly(predicate: Predicate) -> Said {
        Said {
            predicate,
            exact: true,
        }
    }

    /// Only an exact predicate can be negated.
    fn negated(self, negated: bool) -> Option<Said> {
        match negated {
            true if self.exact => Some(Said::exactly(Predicate::Not(Box::new(self.predicate)))),
            true => None,
            false => Some(self),
        }
    }
}

/// The conjunction of what can be said of some filters; `attributes[i]` is the id of source column `i`.
pub fn predicate(filters: &[Expr], attributes: &[u16]) -> Predicate {
    all(filters, attributes).predicate
}

/// Whether [`predicate`] says all of the filters, so that rows that surely satisfy it pass them.
pub fn says_all(filters: &[Expr], attributes: &[u16]) -> bool {
    all(filters, attributes).exact
}

fn all(filters: &[Expr], attributes: &[u16]) -> Said {
    let said: Vec<Said> = filters
        .iter()
        .filter_map(|filter| say(filter, attributes))
        .collect();
    Said {
        exact: said.len() == filters.len() && said.iter().all(|s| s.exact),
        predicate: Predicate::And(said.into_iter().map(|s| s.predicate).collect()),
    }
}

fn say(expr: &Expr, attributes: &[u16]) -> Option<Said> {
    match expr.kind() {
        ExprKind::And(args) => Some(all(args, attributes)),
        ExprKind::Or(args) => {
            let args: Option<Vec<Said>> = args.iter().map(|arg| say(arg, attributes)).collect();
            let args = args?;
            Some(Said {
                exact: args.iter().all(|s| s.exact),
                predicate: Predicate::Or(args.into_iter().map(|s| s.predicate).collect()),
            })
        }
        ExprKind::Not(arg) => say(arg, attributes)?.negated(true),
        ExprKind::IsNull { arg, negated } => {
            let column = Column::of(arg, attributes)?.id;
            Some(Said::exactly(match negated {
                true => Predicate::IsNotNull(column),
                false => Predicate::IsNull(column),
            }))
        }
        ExprKind::Compare { op, left, right } => compare(*op, left, right, attributes)
            .or_else(|| compare(op.flip(), right, left, attributes))
            .map(Said::exactly),
        ExprKind::InList { arg, set, negated } => in_list(arg, set, attributes)?.negated(*negated),
        ExprKind::Like {
            arg,
            pattern,
            negated,
        } => like(arg, pattern, attributes)?.negated(*negated),
        _ => None,
    }
}

/// A column in a comparison, perhaps in a type that makes it a multiple of what is stored.
struct Column {
    id: u16,
    /// What it is compared as.
    data_type: DataType,
    /// A value compared is so many times the one stored.
    factor: i128,
}

impl Column {
    fn of(expr: &Expr, attributes: &[u16]) -> Option<Column> {
        let data_type = expr.data_type();
        let arg = match expr.kind() {
            ExprKind::Column(index) => {
                let stored = |id: &&u16| PlaceColumn::of(**id).is_none();
                return Some(Column {
                    id: *attributes.get(*index).filter(stored)?,
                    data_type,
                    factor: 1,
                });
            }
            ExprKind::Cast { arg, implicit } if *implicit || arg.data_type().is_integer() => arg,
            _ => return None,
        };
        let inner = Column::of(arg, attributes)?;
        Some(Column {
            id: inner.id,
            data_type,
            factor: factor(arg.data_type(), data_type)?.checked_mul(inner.factor)?,
        })
    }

    /// `self op value` as a comparison of what is stored. `None` where that cannot be said.
    fn compare(&self, op: CompareOp, value: &Scalar) -> Option<Predicate> {
        let value = bound(self.data_type, op, value)?;
        let (op, value) = match value {
            Bound::Int(value) if self.factor != 1 => {
                let (op, value) = op.of_multiple(self.factor, value)?;
                (op, Bound::Int(value))
            }
            value if self.factor == 1 => (op, value),
            _ => return None,
        };
        Some(Predicate::Cmp {
            column: self.id,
            op: stored(op)?,
            value,
        })
    }
}

/// The storage's name of an operator; it has none that NULLs satisfy.
fn stored(op: CompareOp) -> Option<CmpOp> {
    Some(match op {
        CompareOp::Eq => CmpOp::Eq,
        CompareOp::Ne => CmpOp::Ne,
        CompareOp::Lt => CmpOp::Lt,
        CompareOp::Le => CmpOp::Le,
        CompareOp::Gt => CmpOp::Gt,
        CompareOp::Ge => CmpOp::Ge,
        CompareOp::Distinct | CompareOp::NotDistinct => return None,
    })
}

/// Decimal digits of an integer type's values.
fn digits(data_type: DataType) -> Option<i16> {
    match data_type {
        DataType::Int2 => Some(5),
        DataType::Int4 => Some(10),
        DataType::Int8 => Some(19),
        _ => None,
    }
}

/// What a conversion that neither loses anything nor fails multiplies integers by.
fn factor(from: DataType, to: DataType) -> Option<i128> {
    match (from, to) {
        (DataType::Float4, DataType::Float8) => Some(1),
        (DataType::Numeric { scale: from, .. }, DataType::Numeric { scale: to, .. }) => {
            pow10(u32::try_from(to.checked_sub(from)?).ok()?)
        }
        (from, DataType::Numeric { precision, scale }) => {
            let room = i16::from(precision) - scale;
            let fits = room >= digits(from)?;
            fits.then(|| pow10(u32::try_from(scale).ok()?)).flatten()
        }
        (from, to) => (digits(from)? <= digits(to)?).then_some(1),
    }
}

fn compare(op: CompareOp, left: &Expr, right: &Expr, attributes: &[u16]) -> Option<Predicate> {
    let column = Column::of(left, attributes)?;
    let ExprKind::Const(Some(value)) = right.kind() else {
        return None;
    };
    if left.data_type() != right.data_type() && !same_scale(left, right) {
        return None;
    }
    column.compare(op, value)
}

/// A constant that a column of a type is compared with, as zone maps keep values.
fn bound(data_type: DataType, op: CompareOp, value: &Scalar) -> Option<Bound> {
    let by_bytes = match data_type {
        DataType::Text { collation } => {
            let equality = op == CompareOp::Eq && collation != Collation::Other;
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
    Some(match value {
        Scalar::Bool(v) => Bound::Int(i128::from(*v)),
        Scalar::I16(v) => Bound::Int(i128::from(*v)),
        Scalar::I32(v) => Bound::Int(i128::from(*v)),
        Scalar::I64(v) => Bound::Int(i128::from(*v)),
        Scalar::I128(v) => Bound::Int(*v),
        Scalar::F32(v) => Bound::Float(f64::from(*v)),
        Scalar::F64(v) => Bound::Float(*v),
        Scalar::Bytes(v) if by_bytes => Bound::bytes(v.to_vec()),
        Scalar::Bytes(_) => return None,
    })
}

/// A list with a NULL in it has no FALSE, and one of many values is said by its ends: neither is exact.
fn in_list(arg: &Expr, set: &ValueSet, attributes: &[u16]) -> Option<Said> {
    let column = Column::of(arg, attributes)?;
    let mut values = Vec::with_capacity(set.len());
    for value in set.values() {
        match bound(column.data_type, CompareOp::Eq, &value)? {
            // No multiple: nothing is equal to it.
            Bound::Int(value) if value.rem_euclid(column.factor) != 0 => {}
            Bound::Int(value) => values.push(Bound::Int(value / column.factor)),
            value if column.factor == 1 => values.push(value),
            _ => return None,
        }
    }
    if values.len() <= LIST_MAX {
        let list = Predicate::In {
            column: column.id,
            values,
        };
        return Some(Said {
            predicate: list,
            exact: !set.has_null(),
        });
    }
    let int = |value: &Bound| match value {
        Bound::Int(value) => Some(*value),
        _ => None,
    };
    let ints: Option<Vec<i128>> = values.iter().map(int).collect();
    let ints = ints?;
    let end = |op, value: Option<&i128>| {
        Some(Predicate::Cmp {
            column: column.id,
            op,
            value: Bound::Int(*value?),
        })
    };
    Some(Said {
        predicate: Predicate::And(vec![
            end(CmpOp::Ge, ints.iter().min())?,
            end(CmpOp::Le, ints.iter().max())?,
        ]),
        exact: false,
    })
}

/// Patterns match bytes, whatever order the text's collation has.
fn like(arg: &Expr, pattern: &LikePattern, attributes: &[u16]) -> Option<Said> {
    let column = Column::of(arg, attributes)?;
    match column.data_type {
        DataType::Text { collation } if collation != Collation::Other => {}
        _ => return None,
    }
    if let Some(text) = pattern.literal() {
        let value = Scalar::Bytes(text.into());
        return column.compare(CompareOp::Eq, &value).map(Said::exactly);
    }
    let bytes = pattern.prefix().to_vec();
    (!bytes.is_empty()).then(|| Said {
        predicate: Predicate::Prefix {
            column: column.id,
            bytes,
        },
        exact: pattern.is_prefix(),
    })
}

/// Constants of numerics count in the column's scale.
fn same_scale(left: &Expr, right: &Expr) -> bool {
    match (left.data_type(), right.data_type()) {
        (DataType::Numeric { scale: a, .. }, DataType::Numeric { scale: b, .. }) => a == b,
        (a, b) => a.physical() == b.physical(),
    }
}
