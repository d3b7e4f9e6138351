// SPDX-License-Identifier: Apache-2.0
//! AND, OR, NOT, tests for NULL and truth, CASE and its kin, lists.

use std::sync::Arc;

use super::cast::DisplayScale;
use super::compare::{check_collations, unify};
use super::decimal::all_decimals;
use super::refuse;
use crate::error::{Error, Result};
use crate::expr::ir::{CompareOp, Expr, ExprKind};
use crate::expr::kernels::in_list::ValueSet;
use crate::types::DataType;

impl Expr {
    /// The conjunction of `args`, left to right. Empty: true.
    pub fn and(args: Vec<Expr>) -> Result<Expr> {
        junction(args, true)
    }

    /// The disjunction of `args`, left to right. Empty: false.
    pub fn or(args: Vec<Expr>) -> Result<Expr> {
        junction(args, false)
    }

    /// `NOT arg`.
    #[allow(clippy::should_implement_trait)]
    pub fn not(arg: Expr) -> Result<Expr> {
        require_bool(&arg)?;
        Ok(Expr::new(ExprKind::Not(Box::new(arg)), DataType::Bool).fold())
    }

    /// `arg IS NULL`.
    pub fn is_null(arg: Expr) -> Expr {
        Expr::new(
            ExprKind::IsNull {
                arg: Box::new(arg),
                negated: false,
            },
            DataType::Bool,
        )
        .fold()
    }

    /// `arg IS NOT NULL`.
    pub fn is_not_null(arg: Expr) -> Expr {
        Expr::new(
            ExprKind::IsNull {
                arg: Box::new(arg),
                negated: true,
            },
            DataType::Bool,
        )
        .fold()
    }

    /// `arg IS [NOT] TRUE`, `FALSE` or, for `None`, `UNKNOWN`.
    pub fn is_truth(arg: Expr, value: Option<bool>, negated: bool) -> Result<Expr> {
        require_bool(&arg)?;
        Ok(Expr::new(
            ExprKind::IsTruth {
                arg: Box::new(arg),
                value,
                negated,
            },
            DataType::Bool,
        )
        .fold())
    }

    /// `CASE WHEN condition THEN result ... [ELSE otherwise] END`.
    pub fn case(branches: Vec<(Expr, Expr)>, otherwise: Option<Expr>) -> Result<Expr> {
        let has_else = otherwise.is_some();
        let (conditions, mut results): (Vec<Expr>, Vec<Expr>) = branches.into_iter().unzip();
        conditions.iter().try_for_each(require_bool)?;
        results.extend(otherwise);
        let (mut results, data_type) = one_type(results)?;
        let otherwise = if has_else {
            results.pop().map(Box::new)
        } else {
            None
        };
        let branches = conditions.into_iter().zip(results).collect();
        Ok(Expr::new(
            ExprKind::Case {
                branches,
                otherwise,
            },
            data_type,
        ))
    }

    /// `CASE operand WHEN value THEN result ... [ELSE otherwise] END`.
    pub fn case_of(
        operand: Expr,
        branches: Vec<(Expr, Expr)>,
        otherwise: Option<Expr>,
    ) -> Result<Expr> {
        let searched = branches
            .into_iter()
            .map(|(value, result)| {
                Ok((
                    Expr::compare(CompareOp::Eq, operand.clone(), value)?,
                    result,
                ))
            })
            .collect::<Result<Vec<_>>>()?;
        Expr::case(searched, otherwise)
    }

    /// `COALESCE(args)`.
    pub fn coalesce(args: Vec<Expr>) -> Result<Expr> {
        let (args, data_type) = one_type(args)?;
        Ok(Expr::new(ExprKind::Coalesce(args), data_type))
    }

    /// `NULLIF(left, right)`.
    pub fn null_if(left: Expr, right: Expr) -> Result<Expr> {
        let equal = Expr::compare(CompareOp::Eq, left.clone(), right)?;
        let null = Expr::null(left.data_type());
        Expr::case(vec![(equal, null)], Some(left))
    }

    /// `GREATEST(args)`.
    pub fn greatest(args: Vec<Expr>) -> Result<Expr> {
        extreme(true, args)
    }

    /// `LEAST(args)`.
    pub fn least(args: Vec<Expr>) -> Result<Expr> {
        extreme(false, args)
    }

    /// `arg IN (values)` or, negated, `arg NOT IN (values)`; the same as `= ANY` and `<> ALL` of an array of
    /// constants. Each value is a constant expression.
    pub fn in_list(arg: Expr, values: Vec<Expr>, negated: bool) -> Result<Expr> {
        let mut arg = arg;
        let mut brought = Vec::with_capacity(values.len());
        if !have_one_layout(std::iter::once(&arg).chain(&values)) {
            arg = arg.decimal_key()?;
        }
        let by_key = arg.data_type() == DataType::Bytea;
        for value in values {
            let value = match by_key && value.data_type().is_numeric() {
                true => value.decimal_key()?,
                false => value,
            };
            if value.as_const().is_none() {
                return Err(Error::not_native("IN over values that are not constants"));
            }
            let before = arg.data_type();
            let (same, value) = unify(true, arg, value)?;
            if same.data_type().physical() != before.physical() && !brought.is_empty() {
                return Err(Error::not_native("IN over constants of several types"));
            }
            arg = same;
            brought.push(value);
        }
        let types = brought.iter().map(|value| value.data_type());
        if types.clone().any(|t| !same_but_bound(t, arg.data_type())) {
            return Err(Error::not_native("IN over constants of several types"));
        }
        let constants = brought.iter().filter_map(|value| value.as_const().cloned());
        let set = Arc::new(ValueSet::new(arg.data_type(), constants)?);
        if set.is_empty() && arg.is_native() && !arg.can_raise() {
            // Not even NULL is unknowably in it.
            return Ok(Expr::bool(negated));
        }
        Ok(Expr::new(
            ExprKind::InList {
                arg: Box::new(arg),
                set,
                negated,
            },
            DataType::Bool,
        )
        .fold())
    }
}

/// Whether no numeric among some expressions carries its scale, and all fit 38 digits at one scale.
fn have_one_layout<'e>(exprs: impl Iterator<Item = &'e Expr>) -> bool {
    let mut common: Option<DataType> = None;
    for expr in exprs {
        let own = expr.data_type();
        match own {
            DataType::Decimal => return false,
            DataType::Numeric { .. } => {
                common = own.common_numeric(common.unwrap_or(own));
                if common.is_none() {
                    return false;
                }
            }
            _ => {}
        }
    }
    true
}

fn junction(args: Vec<Expr>, conjunction: bool) -> Result<Expr> {
    let mut flat = Vec::with_capacity(args.len());
    for arg in args {
        require_bool(&arg)?;
        match arg.kind() {
            ExprKind::And(inner) if conjunction => flat.extend(inner.iter().cloned()),
            ExprKind::Or(inner) if !conjunction => flat.extend(inner.iter().cloned()),
            _ => flat.push(arg),
        }
    }
    if flat.len() == 1 {
        return Ok(flat.remove(0));
    }
    if flat.is_empty() {
        return Ok(Expr::bool(conjunction));
    }
    let kind = if conjunction {
        ExprKind::And(flat)
    } else {
        ExprKind::Or(flat)
    };
    Ok(Expr::new(kind, DataType::Bool))
}

/// Whether all of some numerics are shown with the scale of `data_type`, on every row.
fn shows_one_scale(args: &[Expr], data_type: DataType) -> Result<bool> {
    let DataType::Numeric { scale, .. } = data_type else {
        return Ok(true);
    };
    for arg in args {
        match arg.display_scale()? {
            DisplayScale::Static(shown) if shown == scale => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

fn require_bool(arg: &Expr) -> Result<()> {
    match arg.data_type() {
        DataType::Bool => Ok(()),
        _ => refuse("truth", &[arg]),
    }
}

fn extreme(greatest: bool, args: Vec<Expr>) -> Result<Expr> {
    let (args, data_type) = one_type(args)?;
    let (args, data_type) = match data_type {
        DataType::Numeric { .. } if !shows_one_scale(&args, data_type)? => {
            (all_decimals(args)?, DataType::Decimal)
        }
        _ => (args, data_type),
    };
    match data_type {
        DataType::Text { collation } | DataType::Bpchar { collation } => {
            check_collations(false, collation, collation)?;
        }
        DataType::Interval | DataType::Opaque { .. } => {
            return refuse("GREATEST or LEAST", &[&args[0]])
        }
        _ => {}
    }
    Ok(Expr::new(ExprKind::Extreme { greatest, args }, data_type))
}

/// Whether two types are one but for a numeric's digit bound (with the same layout) or a text's collation.
fn same_but_bound(a: DataType, b: DataType) -> bool {
    match (a, b) {
        (DataType::Numeric { scale: s1, .. }, DataType::Numeric { scale: s2, .. }) => {
            s1 == s2 && a.physical() == b.physical()
        }
        (DataType::Text { .. }, DataType::Text { .. })
        | (DataType::Bpchar { .. }, DataType::Bpchar { .. }) => true,
        _ => a == b,
    }
}

/// Brings results that stand for each other to one type. Numerics get the largest scale, which loses nothing;
/// what each value's display scale is, [`Expr::display_scale`] still tells.
fn one_type(args: Vec<Expr>) -> Result<(Vec<Expr>, DataType)> {
    let Some(first) = args.first() else {
        return Err(Error::internal("no operands"));
    };
    let mut data_type = first.data_type();
    for arg in &args[1..] {
        data_type = match (data_type, arg.data_type()) {
            (a @ DataType::Numeric { .. }, b @ DataType::Numeric { .. }) => {
                match a.common_numeric(b) {
                    Some(common) => common,
                    None => return Ok((all_decimals(args)?, DataType::Decimal)),
                }
            }
            (a, b) if a.is_numeric() && b.is_numeric() => {
                return Ok((all_decimals(args)?, DataType::Decimal))
            }
            (a, b) if same_but_bound(a, b) => a,
            _ => return refuse("results", &args.iter().collect::<Vec<_>>()),
        };
    }
    if !matches!(data_type, DataType::Numeric { .. }) {
        return Ok((args, data_type));
    }
    // Not folded: a constant brought to a larger scale still shows its own.
    let bring = |arg: Expr| match arg.data_type() {
        same if same_but_bound(same, data_type) => arg,
        _ => Expr::new(
            ExprKind::Cast {
                arg: Box::new(arg),
                implicit: true,
            },
            data_type,
        ),
    };
    Ok((args.into_iter().map(bring).collect(), data_type))
}
