// SPDX-License-Identifier: Apache-2.0
//! Aggregations that say the same with less work.
//!
//! - A constant among the grouping keys tells no groups apart.
//! - Numerics that carry their scale are grouped by bytes that are equal for equal ones, intervals by their length; the
//!   value that all rows of a group have, or one of several, is found on the way.
//! - `avg(x)` knows `sum(x)` and `count(x)` too, where these are exact.
//! - `sum(x + c)`, where the addition cannot overflow, is `sum(x) + c * count(x)`: many sums that differ in `c` only
//!   cost one.

use super::inputs::same;
use crate::error::Result;
use crate::expr::{ArithOp, CompareOp, Expr, ExprKind};
use crate::plan::{AggregateCall, AggregateFunction, GroupKey};
use crate::types::{DataType, Scalar};

/// An aggregation, and the original's columns over its own.
pub(super) struct Rewritten {
    pub keys: Vec<GroupKey>,
    pub calls: Vec<AggregateCall>,
    /// With grouping sets: calls that find the value of a key, with the key's number.
    pub values: Vec<(usize, usize)>,
    pub output: Vec<Expr>,
}

/// How a call of the original follows from calls of the new one.
enum Part {
    Same(usize),
    /// `sum + c * count`.
    Shifted {
        sum: usize,
        count: usize,
        by: i64,
    },
    /// A result of an average.
    OfAverage {
        average: usize,
        result: usize,
    },
}

/// Whether a key is not grouped by itself.
fn is_replaced(key: &GroupKey) -> bool {
    matches!(key.expr.data_type(), DataType::Decimal | DataType::Interval)
}

/// The key to group by in the place of one that is not grouped by itself.
fn replaced(key: &GroupKey) -> Result<GroupKey> {
    let expr = key.expr.clone();
    Ok(GroupKey {
        expr: match expr.data_type() {
            DataType::Interval => Expr::interval_order(expr)?,
            _ => expr.decimal_key()?,
        },
        nullable: key.nullable,
    })
}

/// The same for grouping sets, some of which lack a key. The number of the set is the last column of either.
pub(super) fn rewrite_sets(
    keys: &[GroupKey],
    calls: &[AggregateCall],
    sets: &[Vec<usize>],
) -> Result<Option<Rewritten>> {
    if !keys.iter().any(is_replaced) {
        return Ok(None);
    }
    let mut new_calls = calls.to_vec();
    let (mut kept, mut values, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for (number, key) in keys.iter().enumerate() {
        places.push(match is_replaced(key) {
            false => Place::Key(number),
            true => {
                let call = find_or_push(&mut new_calls, same_value(key));
                values.push((call, number));
                Place::Call(call)
            }
        });
        kept.push(match is_replaced(key) {
            false => key.clone(),
            true => replaced(key)?,
        });
    }
    let parts: Vec<Part> = (0..calls.len()).map(Part::Same).collect();
    let mut output = output(keys, &places, kept.len(), &new_calls, &parts)?;
    let types = new_calls.iter().flat_map(output_types);
    let set = Expr::column(kept.len() + types.count(), DataType::Int4);
    for (_, number) in &values {
        let with_key = (0i32..).zip(sets).filter(|(_, set)| set.contains(number));
        let is_one = |(set_number, _)| {
            let set_number = Expr::constant(Scalar::I32(set_number), DataType::Int4)?;
            Expr::compare(CompareOp::Eq, set.clone(), set_number)
        };
        let has_key = Expr::or(with_key.map(is_one).collect::<Result<_>>()?)?;
        let value = output[*number].clone();
        output[*number] = Expr::case(vec![(has_key, value)], None)?;
    }
    output.push(set);
    Ok(Some(Rewritten {
        keys: kept,
        calls: new_calls,
        values,
        output,
    }))
}

fn output_types(call: &AggregateCall) -> Vec<DataType> {
    let argument = call.argument.as_ref().map(Expr::data_type);
    call.function.output_types(argument)
}

/// The aggregation to run in the place of the given one; `None`: the given one. `seen`: the rows whose keys may be
/// shown.
pub(super) fn rewrite(
    keys: &[GroupKey],
    calls: &[AggregateCall],
    seen: Option<&Expr>,
) -> Result<Option<Rewritten>> {
    let dropped: Vec<bool> = dropped_keys(keys);
    let shifts: Vec<Option<(Expr, i64)>> = calls.iter().map(shifted).collect();
    let averages: Vec<_> = calls.iter().map(|call| of_average(call, calls)).collect();
    let as_given = !dropped.contains(&true)
        && shifts.iter().all(Option::is_none)
        && averages.iter().all(Option::is_none);
    if as_given && !keys.iter().any(is_replaced) {
        return Ok(None);
    }
    let mut new_calls: Vec<AggregateCall> = Vec::new();
    let mut parts = Vec::with_capacity(calls.len());
    for (call, found) in calls.iter().zip(shifts.into_iter().zip(averages)) {
        parts.push(match found {
            (_, Some((average, result))) => Part::OfAverage {
                average: find_or_push(&mut new_calls, average.clone()),
                result,
            },
            (None, None) => Part::Same(find_or_push(&mut new_calls, call.clone())),
            (Some((argument, by)), None) => {
                let of = |function| AggregateCall {
                    function,
                    argument: Some(argument.clone()),
                    ..call.clone()
                };
                Part::Shifted {
                    sum: find_or_push(&mut new_calls, of(AggregateFunction::Sum)),
                    count: find_or_push(&mut new_calls, of(AggregateFunction::Count)),
                    by,
                }
            }
        });
    }
    let mut kept: Vec<GroupKey> = Vec::new();
    let mut places = Vec::with_capacity(keys.len());
    for (key, dropped) in keys.iter().zip(dropped) {
        places.push(match (dropped, is_replaced(key)) {
            (true, _) => Place::Constant,
            (false, false) => Place::Key(kept.len()),
            (false, true) => {
                let call = AggregateCall {
                    filter: seen.cloned(),
                    ..same_value(key)
                };
                Place::Call(find_or_push(&mut new_calls, call))
            }
        });
        match (dropped, is_replaced(key)) {
            (true, _) => {}
            (false, false) => kept.push(key.clone()),
            (false, true) => kept.push(replaced(key)?),
        }
    }
    let output = output(keys, &places, kept.len(), &new_calls, &parts)?;
    Ok(Some(Rewritten {
        keys: kept,
        calls: new_calls,
        values: Vec::new(),
        output,
    }))
}

/// Where a key of the original comes from.
enum Place {
    /// It is a constant.
    Constant,
    /// A key of the new one.
    Key(usize),
    /// A call of the new one.
    Call(usize),
}

/// The call that finds the value of a key that is not grouped by itself. Of numerics all must look the same; of
/// intervals, the first met will do, as it does in PostgreSQL: several such keys show the values of one row.
fn same_value(key: &GroupKey) -> AggregateCall {
    AggregateCall {
        function: match key.expr.data_type() {
            DataType::Interval => AggregateFunction::Any,
            _ => AggregateFunction::Same,
        },
        argument: Some(key.expr.clone()),
        distinct: false,
        filter: None,
    }
}

/// Which keys are constants beside others that are not.
fn dropped_keys(keys: &[GroupKey]) -> Vec<bool> {
    let constant = |key: &GroupKey| matches!(key.expr.kind(), ExprKind::Const(_));
    let some_vary = keys.iter().any(|key| !constant(key));
    keys.iter().map(|key| some_vary && constant(key)).collect()
}

/// The original's columns: keys, then what the calls give.
fn output(
    keys: &[GroupKey],
    places: &[Place],
    kept: usize,
    calls: &[AggregateCall],
    parts: &[Part],
) -> Result<Vec<Expr>> {
    let mut out = Vec::new();
    let mut columns: Vec<Vec<Expr>> = Vec::with_capacity(calls.len());
    let mut at = kept;
    for call in calls {
        let types = output_types(call);
        columns.push(
            (at..)
                .zip(&types)
                .map(|(at, &t)| Expr::column(at, t))
                .collect(),
        );
        at += types.len();
    }
    for (key, place) in keys.iter().zip(places) {
        out.push(match *place {
            Place::Constant => key.expr.clone(),
            Place::Key(number) => Expr::column(number, key.expr.data_type()),
            Place::Call(call) => columns[call][0].clone(),
        });
    }
    for part in parts {
        match *part {
            Part::Same(call) => out.extend(columns[call].iter().cloned()),
            Part::OfAverage { average, result } => out.push(columns[average][result].clone()),
            Part::Shifted { sum, count, by } => {
                let by = Expr::constant(Scalar::I64(by), DataType::Int8)?;
                let shift = Expr::arith(ArithOp::Mul, by, columns[count][0].clone())?;
                out.push(Expr::arith(ArithOp::Add, columns[sum][0].clone(), shift)?);
            }
        }
    }
    Ok(out)
}

fn find_or_push(calls: &mut Vec<AggregateCall>, call: AggregateCall) -> usize {
    let same = |known: &AggregateCall| {
        let arguments = match (&known.argument, &call.argument) {
            (Some(a), Some(b)) => alike(a, b),
            (None, None) => true,
            _ => false,
        };
        let unfiltered = known.filter.is_none() && call.filter.is_none();
        known.function == call.function
            && known.distinct == call.distinct
            && unfiltered
            && arguments
    };
    calls.iter().position(same).unwrap_or_else(|| {
        calls.push(call);
        calls.len() - 1
    })
}

/// The average among `calls` that knows what `call` asks for, and which of its results that is.
fn of_average<'c>(
    call: &AggregateCall,
    calls: &'c [AggregateCall],
) -> Option<(&'c AggregateCall, usize)> {
    use AggregateFunction::{Avg, Count, Sum};
    let plain = |call: &AggregateCall| !call.distinct && call.filter.is_none();
    let result = match call.function {
        Sum => 0,
        Count => 1,
        _ => return None,
    };
    let argument = call.argument.as_ref().filter(|_| plain(call))?;
    let t = argument.data_type();
    let exact = t.is_integer() || matches!(t, DataType::Numeric { .. });
    let same = |average: &&AggregateCall| {
        let of = average.argument.as_ref();
        average.function == Avg && plain(average) && of.is_some_and(|of| alike(of, argument))
    };
    let average = calls.iter().find(same).filter(|_| exact)?;
    let types = |call: &AggregateCall| call.function.output_types(Some(t));
    (types(average).get(result) == types(call).first()).then_some((average, result))
}

/// Whether two arguments are one column, perhaps converted alike.
fn alike(a: &Expr, b: &Expr) -> bool {
    match (a.kind(), b.kind()) {
        (
            ExprKind::Cast {
                arg: x,
                implicit: true,
            },
            ExprKind::Cast {
                arg: y,
                implicit: true,
            },
        ) => a.data_type() == b.data_type() && alike(x, y),
        _ => same(a, b),
    }
}

/// `x` and `c` of `sum(x + c)`, where `x` is a smallint as an integer and `x + c` is surely one.
fn shifted(call: &AggregateCall) -> Option<(Expr, i64)> {
    if call.function != AggregateFunction::Sum || call.distinct {
        return None;
    }
    let argument = call.argument.as_ref()?;
    let ExprKind::Arith { op, left, right } = argument.kind() else {
        return None;
    };
    if argument.data_type() != DataType::Int4 {
        return None;
    }
    let (x, c) = match (op, constant(left), constant(right)) {
        (ArithOp::Add, None, Some(c)) => (left, i64::from(c)),
        (ArithOp::Add, Some(c), None) => (right, i64::from(c)),
        (ArithOp::Sub, None, Some(c)) => (left, -i64::from(c)),
        _ => return None,
    };
    let ExprKind::Cast {
        arg,
        implicit: true,
    } = x.kind()
    else {
        return None;
    };
    let fits = c.abs() < i64::from(i32::MAX) - i64::from(i16::MAX);
    let narrow = arg.data_type() == DataType::Int2 && x.data_type() == DataType::Int4;
    (fits && narrow).then(|| (Expr::clone(x), c))
}

fn constant(expr: &Expr) -> Option<i32> {
    match expr.kind() {
        ExprKind::Const(Some(Scalar::I32(value))) => Some(*value),
        _ => None,
    }
}
