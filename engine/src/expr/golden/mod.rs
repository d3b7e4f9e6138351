// SPDX-License-Identifier: Apache-2.0
//! Every line of `postgres15.tsv` (see `generate.sql`): the engine answers as PostgreSQL did, or leaves it to it.

use std::sync::Arc;

use doris_storage::vector::{Bitmap, Physical, Vector};

use super::ir::{ArithOp, CompareOp, Expr};
use super::kernels::cast::decimal_text;
use super::{DateUnit, EvalContext, ExtractUnit};
use crate::batch::{Batch, Selection};
use crate::error::{Error, Result};
use crate::expr::operand::broadcast;
use crate::types::{decimal_digits, DataType, Scalar};

/// One argument or answer, with its type.
type Value = (Scalar, DataType);

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn i64_of(text: &str) -> i64 {
    i64::from_be_bytes(unhex(text).try_into().unwrap())
}

fn timestamp(text: &str) -> Value {
    (Scalar::I64(i64_of(text)), DataType::Timestamp)
}

fn date(text: &str) -> Value {
    (
        Scalar::I32(i32::from_be_bytes(unhex(text).try_into().unwrap())),
        DataType::Date,
    )
}

fn float8(text: &str) -> Value {
    (
        Scalar::F64(f64::from_bits(i64_of(text) as u64)),
        DataType::Float8,
    )
}

/// An interval travels with its fields the other way round.
fn interval(text: &str) -> Value {
    let mut bytes = unhex(text);
    bytes[..8].reverse();
    bytes[8..12].reverse();
    bytes[12..].reverse();
    (Scalar::bytes(bytes), DataType::Interval)
}

fn text(text: &str) -> Value {
    (Scalar::bytes(text), DataType::TEXT_C)
}

fn integer(text: &str, data_type: DataType) -> Value {
    let scalar = match data_type {
        DataType::Int2 => Scalar::I16(text.parse().unwrap()),
        DataType::Int4 => Scalar::I32(text.parse().unwrap()),
        _ => Scalar::I64(text.parse().unwrap()),
    };
    (scalar, data_type)
}

fn int4(text: &str) -> Value {
    integer(text, DataType::Int4)
}

fn numeric(text: &str) -> Value {
    let scale = text
        .split_once('.')
        .map_or(0, |(_, fraction)| fraction.len());
    let unscaled: i128 = text.replace('.', "").parse().unwrap();
    // The bound of the declared type, not of the value: constants are not what is tested.
    let precision = decimal_digits(unscaled).max(scale as u8 + 1);
    let data_type = DataType::Numeric {
        precision,
        scale: scale as i16,
    };
    let narrow = data_type.physical() == Physical::I64;
    (
        if narrow {
            Scalar::I64(unscaled as i64)
        } else {
            Scalar::I128(unscaled)
        },
        data_type,
    )
}

/// The columns `args` become, each with a NULL second row.
fn columns(args: &[Value]) -> (Vec<Expr>, Batch) {
    let column = |(value, data_type): &Value| {
        let vector = broadcast(Some(value), data_type.physical(), 2);
        Arc::new(Vector {
            values: vector.values,
            validity: Some(Bitmap::from_bools([true, false])),
        })
    };
    let exprs = args
        .iter()
        .enumerate()
        .map(|(i, arg)| Expr::column(i, arg.1))
        .collect();
    (exprs, Batch::new(args.iter().map(column).collect(), 2))
}

/// An answer as the file has it.
fn shown(value: Option<Scalar>, data_type: DataType) -> String {
    let Some(value) = value else {
        return "\\N".into();
    };
    match (value, data_type) {
        (value, DataType::Numeric { scale, .. }) => decimal_text(value.as_i128().unwrap(), scale),
        (Scalar::I32(days), DataType::Date) => hex(&days.to_be_bytes()),
        (Scalar::I64(micros), DataType::Timestamp) => hex(&micros.to_be_bytes()),
        (Scalar::Bytes(bytes), DataType::Interval) => {
            let mut bytes = bytes.to_vec();
            bytes[..8].reverse();
            bytes[8..12].reverse();
            bytes[12..].reverse();
            hex(&bytes)
        }
        (Scalar::F64(v), _) => hex(&v.to_be_bytes()),
        (Scalar::F32(v), _) => hex(&v.to_be_bytes()),
        (Scalar::Bool(v), _) => v.to_string(),
        (Scalar::I16(v), _) => v.to_string(),
        (Scalar::I32(v), _) => v.to_string(),
        (Scalar::I64(v), _) => v.to_string(),
        (Scalar::I128(v), _) => v.to_string(),
        (Scalar::Bytes(bytes), _) => String::from_utf8(bytes.to_vec()).unwrap(),
    }
}

/// What `PostgreSQL`'s boolean casts to text or shows itself.
fn truth(answer: &str) -> &str {
    match answer {
        "t" => "true",
        "f" => "false",
        other => other,
    }
}

fn arith_op(op: &str) -> Option<ArithOp> {
    Some(match op {
        "+" => ArithOp::Add,
        "-" => ArithOp::Sub,
        "*" => ArithOp::Mul,
        "/" => ArithOp::Div,
        "%" => ArithOp::Mod,
        _ => return None,
    })
}

fn compare_op(op: &str) -> Option<CompareOp> {
    use CompareOp::*;
    Some(match op {
        "=" => Eq,
        "<>" => Ne,
        "<" => Lt,
        "<=" => Le,
        ">" => Gt,
        ">=" => Ge,
        _ => return None,
    })
}

fn target(name: &str) -> DataType {
    match name {
        "int2" => DataType::Int2,
        "int4" => DataType::Int4,
        "int8" => DataType::Int8,
        "float4" => DataType::Float4,
        "float8" => DataType::Float8,
        "text" => DataType::TEXT_C,
        _ => {
            let inner = name
                .strip_prefix("numeric(")
                .unwrap()
                .strip_suffix(')')
                .unwrap();
            let (precision, scale) = inner.split_once(',').unwrap();
            DataType::Numeric {
                precision: precision.parse().unwrap(),
                scale: scale.parse().unwrap(),
            }
        }
    }
}

fn trimmed(args: Vec<Expr>, left: bool, right: bool) -> Result<Expr> {
    let mut args = args.into_iter();
    Expr::trim(args.next().unwrap(), args.next(), left, right)
}

/// Operators on two numbers of a family: `int4+`, `numeric<`, `float8/`.
fn of_numbers(name: &str, args: &[&str]) -> Option<(Vec<Value>, Result<Expr>)> {
    let families = ["int2", "int4", "int8", "float8cmp", "float8", "numeric"];
    let family = families
        .into_iter()
        .find(|family| name.starts_with(family))?;
    let op = &name[family.len()..];
    let value = |arg: &&str| match family {
        "int2" => integer(arg, DataType::Int2),
        "int4" => int4(arg),
        "int8" => integer(arg, DataType::Int8),
        "numeric" => numeric(arg),
        _ => float8(arg),
    };
    let values: Vec<Value> = args.iter().map(value).collect();
    let mut exprs = columns(&values).0.into_iter();
    let a = exprs.next()?;
    let expr = match (op, exprs.next()) {
        ("-", None) => Expr::negate(a),
        ("abs", None) => Expr::abs(a),
        (op, None) => Expr::cast(a, target(op.strip_prefix("::")?)),
        (op, Some(b)) => match arith_op(op) {
            Some(op) => Expr::arith(op, a, b),
            None => Expr::compare(compare_op(op)?, a, b),
        },
    };
    Some((values, expr))
}

fn of_texts(name: &str, args: &[&str]) -> Option<(Vec<Value>, Result<Expr>)> {
    let kinds: &str = match (name, args.len()) {
        ("left" | "right", _) | ("substring", 2) => "ti",
        ("substring", _) => "tii",
        ("split_part", _) => "tti",
        ("lpad" | "rpad", _) => "tit",
        _ => "tttt",
    };
    let values: Vec<Value> = args
        .iter()
        .zip(kinds.chars())
        .map(|(arg, kind)| if kind == 't' { text(arg) } else { int4(arg) })
        .collect();
    let exprs = columns(&values).0;
    let arg = |i: usize| exprs[i].clone();
    let expr = match name {
        "left" => Expr::left(arg(0), arg(1)),
        "right" => Expr::right(arg(0), arg(1)),
        "substring" => Expr::substring(arg(0), arg(1), exprs.get(2).cloned()),
        "length" => Expr::char_length(arg(0)),
        "octet_length" => Expr::octet_length(arg(0)),
        "upper" => Expr::upper(arg(0)),
        "lower" => Expr::lower(arg(0)),
        "reverse" => Expr::reverse(arg(0)),
        "btrim" => trimmed(exprs, true, true),
        "ltrim" => trimmed(exprs, true, false),
        "rtrim" => trimmed(exprs, false, true),
        "strpos" => Expr::position(arg(0), arg(1)),
        "starts_with" => Expr::starts_with(arg(0), arg(1)),
        "concat" => Expr::concat(exprs),
        "textcat" => Expr::append(exprs),
        "replace" => Expr::replace(arg(0), arg(1), arg(2)),
        "split_part" => Expr::split_part(arg(0), arg(1), arg(2)),
        "lpad" => Expr::pad(arg(0), arg(1), Some(arg(2)), true),
        "rpad" => Expr::pad(arg(0), arg(1), Some(arg(2)), false),
        "like" => Expr::like(arg(0), Expr::text(args[1], DataType::TEXT_C), false, false),
        "ilike" => Expr::like(arg(0), Expr::text(args[1], DataType::TEXT_C), true, false),
        _ => Expr::cast(arg(0), target(name.strip_prefix("text::")?)),
    };
    Some((values, expr))
}

fn of_moments(name: &str, args: &[&str]) -> Option<(Vec<Value>, Result<Expr>)> {
    let values: Vec<Value> = match name {
        "extract" | "date_part" | "date_trunc" => vec![timestamp(args[1])],
        "extract_date" => vec![date(args[1])],
        "plus" | "minus" => vec![timestamp(args[0]), interval(args[1])],
        "difference" => vec![timestamp(args[0]), timestamp(args[1])],
        "date_plus" | "date_minus" => vec![date(args[0]), int4(args[1])],
        "date_diff" => vec![date(args[0]), date(args[1])],
        "date_to_timestamp" => vec![date(args[0])],
        "timestamp_to_date" => vec![timestamp(args[0])],
        _ if name.starts_with("interval") => vec![interval(args[0]), interval(args[1])],
        _ if name.starts_with("date_vs_timestamp") => vec![date(args[0]), timestamp(args[1])],
        _ => return None,
    };
    let exprs = columns(&values).0;
    let arg = |i: usize| exprs[i].clone();
    let expr = match name {
        "extract" | "extract_date" => Expr::extract(ExtractUnit::parse(args[0])?, arg(0), None),
        "date_part" => Expr::date_part(ExtractUnit::parse(args[0])?, arg(0), None),
        "date_trunc" => Expr::date_trunc(DateUnit::parse(args[0])?, arg(0), None),
        "plus" | "minus" => Expr::add_interval(arg(0), arg(1), name == "minus", None),
        "difference" => Expr::timestamp_difference(arg(0), arg(1)),
        "date_plus" | "date_minus" => Expr::date_add_days(arg(0), arg(1), name == "date_minus"),
        "date_diff" => Expr::date_difference(arg(0), arg(1)),
        "date_to_timestamp" => Expr::cast(arg(0), DataType::Timestamp),
        "timestamp_to_date" => Expr::cast(arg(0), DataType::Date),
        _ => {
            let op = name
                .strip_prefix("interval")
                .or(name.strip_prefix("date_vs_timestamp"))?;
            Expr::compare(compare_op(op)?, arg(0), arg(1))
        }
    };
    Some((values, expr))
}

/// The engine's answer to a line; `None`: left to PostgreSQL.
fn answer(name: &str, args: &[&str]) -> Option<String> {
    let of = of_moments(name, args)
        .or_else(|| of_numbers(name, args))
        .or_else(|| of_texts(name, args));
    let (values, expr) = of.unwrap_or_else(|| panic!("{name} is no function"));
    let expr = match expr {
        Err(Error::NotNative(_)) => return None,
        expr => expr.unwrap(),
    };
    let batch = columns(&values).1;
    match expr.eval(&EvalContext::default(), &batch, &Selection::All(2)) {
        Ok(vector) => {
            assert!(
                name == "concat" || vector.is_null(1),
                "{name} of NULL is NULL"
            );
            Some(shown(Scalar::of_vector(&vector, 0), expr.data_type()))
        }
        Err(Error::NumericTooWide | Error::NotNative(_)) => None,
        Err(error) => Some(format!("ERROR {} {error}", error.sqlstate())),
    }
}

#[test]
fn every_answer_is_postgresqls() {
    let (mut lines, mut left, mut wrong) = (0, 0, Vec::new());
    for line in include_str!("postgres15.tsv").lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let (name, args, expected) = (
            fields[0],
            &fields[1..fields.len() - 1],
            fields[fields.len() - 1],
        );
        lines += 1;
        match answer(name, args) {
            None => left += 1,
            Some(got) if got == truth(expected) || got == expected => {}
            Some(got) => wrong.push(format!("{line}   but here: {got}")),
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {lines} lines:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(60)].join("\n")
    );
    assert!(
        left * 20 < lines,
        "{left} of {lines} lines are left to PostgreSQL"
    );
}
