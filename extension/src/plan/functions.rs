// SPDX-License-Identifier: Apache-2.0
//! Built-in functions by their names: those that the engine computes as PostgreSQL does.
use super::{no, types, Converted};
use doris_engine::decimal::round::Rounding;
use doris_engine::expr::{ArithOp, Expr, Math};
use doris_engine::types::{Collation, DataType, Scalar};
use pgrx::pg_sys;

/// The arguments of a call, as many as there are.
struct Args {
    first: Expr,
    second: Option<Expr>,
    third: Option<Expr>,
    count: usize,
}

/// A built-in function of some arguments.
pub fn call(name: &str, args: Vec<Expr>, result: pg_sys::Oid) -> Converted<Expr> {
    if matches!(name, "concat" | "concat_ws") {
        return concat(name, args);
    }
    let count = args.len();
    let mut args = args.into_iter();
    let Some(first) = args.next() else {
        return no(format!("function {name}"));
    };
    let args = Args {
        first,
        second: args.next(),
        third: args.next(),
        count,
    };
    match args.first.data_type() {
        t if t.is_text() => of_text(name, args),
        DataType::Float8 => of_float(name, args),
        _ => of_value(name, args, result),
    }
}

fn of_value(name: &str, args: Args, result: pg_sys::Oid) -> Converted<Expr> {
    use Rounding::{Down, HalfAway, ToZero, Up};
    let Args {
        first,
        second,
        count,
        ..
    } = args;
    let numeric = first.data_type().is_numeric();
    let expr = match (name, second, count) {
        ("int2" | "int4" | "int8" | "float4" | "float8" | "date" | "timestamp", None, 1) => {
            let to = types::data_type(result, -1, pg_sys::InvalidOid)?;
            Expr::cast(first, to)
        }
        ("numeric", None, 1) => Expr::to_numeric(first),
        ("abs", None, 1) => Expr::abs(first),
        ("mod", Some(by), 2) => Expr::arith_checked(ArithOp::Mod, first, by),
        ("div", Some(by), 2) if numeric => Expr::quotient(first, by),
        ("round" | "trunc", digits, 1 | 2) if numeric => {
            let rounding = if name == "round" { HalfAway } else { ToZero };
            Expr::round_numeric(rounding, first, digits)
        }
        ("ceil" | "ceiling", None, 1) if numeric => Expr::round_numeric(Up, first, None),
        ("floor", None, 1) if numeric => Expr::round_numeric(Down, first, None),
        ("sqrt", None, 1) if numeric => Expr::root(first),
        ("sign", None, 1) if numeric => Expr::sign(first),
        ("octet_length", None, 1) => Expr::octet_length(first),
        _ => return no(format!("function {name}")),
    };
    Ok(expr?)
}

fn of_float(name: &str, args: Args) -> Converted<Expr> {
    let Args {
        first,
        second,
        count,
        ..
    } = args;
    let math = match (name, count) {
        ("power" | "pow", 2) => match second {
            Some(exponent) => return Ok(Expr::power(first, exponent)?),
            None => return no(format!("function {name}")),
        },
        ("int2", 1) => return Ok(Expr::cast(first, DataType::Int2)?),
        ("int4", 1) => return Ok(Expr::cast(first, DataType::Int4)?),
        ("int8", 1) => return Ok(Expr::cast(first, DataType::Int8)?),
        ("float4", 1) => return Ok(Expr::cast(first, DataType::Float4)?),
        ("abs", 1) => return Ok(Expr::abs(first)?),
        ("ceil" | "ceiling", 1) => Math::Ceil,
        ("floor", 1) => Math::Floor,
        ("round", 1) => Math::Round,
        ("trunc", 1) => Math::Trunc,
        ("sign", 1) => Math::Sign,
        ("sqrt", 1) => Math::Sqrt,
        ("exp", 1) => Math::Exp,
        ("ln", 1) => Math::Ln,
        ("log" | "log10", 1) => Math::Log10,
        ("degrees", 1) => Math::Degrees,
        ("radians", 1) => Math::Radians,
        _ => return no(format!("function {name}")),
    };
    Ok(Expr::math(math, first)?)
}

fn of_text(name: &str, args: Args) -> Converted<Expr> {
    let Args {
        first,
        second,
        third,
        count,
    } = args;
    let integer = |arg: &Expr| arg.data_type().is_integer();
    let expr = match (name, second, third, count) {
        ("octet_length", None, None, 1) => Expr::octet_length(first),
        ("text", None, None, 1) if matches!(first.data_type(), DataType::Bpchar { .. }) => {
            let collation = first.data_type().collation().unwrap_or(Collation::Other);
            Expr::cast(first, DataType::Text { collation })
        }
        ("upper", None, None, 1) => Expr::upper(first),
        ("lower", None, None, 1) => Expr::lower(first),
        ("initcap", None, None, 1) => Expr::init_cap(first),
        ("starts_with", Some(prefix), None, 2) => Expr::starts_with(first, prefix),
        // The others count or match characters.
        _ if !is_utf8() => return no(format!("function {name} in another encoding than UTF-8")),
        ("length" | "char_length" | "character_length", None, None, 1) => Expr::char_length(first),
        ("regexp_replace", Some(pattern), Some(replacement), 3) => {
            Expr::regexp_replace(first, pattern, replacement)
        }
        ("substring" | "substr", Some(from), length, 2 | 3) if integer(&from) => {
            Expr::substring(first, from, length)
        }
        ("left", Some(n), None, 2) => Expr::left(first, n),
        ("right", Some(n), None, 2) => Expr::right(first, n),
        ("btrim", set, None, 1 | 2) => Expr::trim(first, set, true, true),
        ("ltrim", set, None, 1 | 2) => Expr::trim(first, set, true, false),
        ("rtrim", set, None, 1 | 2) => Expr::trim(first, set, false, true),
        ("strpos" | "position", Some(part), None, 2) => Expr::position(first, part),
        ("replace", Some(from), Some(to), 3) => Expr::replace(first, from, to),
        ("translate", Some(from), Some(to), 3) => Expr::translate(first, from, to),
        ("split_part", Some(delimiter), Some(n), 3) => Expr::split_part(first, delimiter, n),
        // Not repeat: its results grow without bound, which a batch of them would hold all at once.
        ("lpad" | "rpad", Some(length), fill, 2 | 3) if is_short(&length) => {
            Expr::pad(first, length, fill, name == "lpad")
        }
        ("reverse", None, None, 1) => Expr::reverse(first),
        ("ascii", None, None, 1) => Expr::ascii(first),
        _ => return no(format!("function {name}")),
    };
    Ok(expr?)
}

/// Most characters that text is padded to here.
const PADDED_MAX: i128 = 10_000;

/// Whether a length to pad to is a constant that keeps a batch of results small.
fn is_short(length: &Expr) -> bool {
    let value = length.as_const().and_then(Option::as_ref);
    let value = value.and_then(Scalar::as_i128);
    value.is_some_and(|length| length <= PADDED_MAX)
}

/// `concat` and `concat_ws`: arguments as their output functions write them.
fn concat(name: &str, args: Vec<Expr>) -> Converted<Expr> {
    let text = args
        .iter()
        .map(Expr::data_type)
        .find(|t| matches!(t, DataType::Text { .. }))
        .unwrap_or(DataType::TEXT_C);
    let written = |arg: Expr| match arg.data_type() {
        DataType::Text { .. } => Ok(arg),
        t if t.is_integer() || t.is_numeric() => Ok(Expr::cast(arg, text)?),
        t => no(format!("{name} of {t}")),
    };
    let args = args.into_iter().map(written).collect::<Converted<_>>()?;
    Ok(match name {
        "concat" => Expr::concat(args)?,
        _ => Expr::concat_with(args)?,
    })
}

/// Whether a pattern of LIKE means the same byte by byte: it has no wildcard for one character, and none of its bytes
/// is part of a longer character, as such may be found across two of them in encodings other than UTF-8.
pub fn matches_bytes(pattern: &Expr) -> bool {
    // SAFETY: reads the database's encoding.
    let single = unsafe { pg_sys::pg_database_encoding_max_length() } == 1;
    match pattern.as_const() {
        Some(Some(Scalar::Bytes(bytes))) => !bytes.contains(&b'_') && (single || bytes.is_ascii()),
        _ => false,
    }
}

/// Whether text is UTF-8, as the engine's matching of characters has it.
pub fn is_utf8() -> bool {
    // SAFETY: reads the database's encoding.
    unsafe { pg_sys::GetDatabaseEncoding() == pg_sys::pg_enc::PG_UTF8 as i32 }
}
