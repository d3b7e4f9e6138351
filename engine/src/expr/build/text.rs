// SPDX-License-Identifier: Apache-2.0
//! String functions and LIKE. The server encoding is UTF-8: callers leave strings in any other to PostgreSQL.

use std::sync::Arc;

use super::{call, refuse};
use crate::error::{Error, Result};
use crate::expr::ir::{Expr, ExprKind, Func};
use crate::expr::kernels::like::LikePattern;
use crate::expr::kernels::replace::RegexpRule;
use crate::types::{Collation, DataType, Scalar};

impl Expr {
    /// `length(arg)`, in characters; of `bpchar` without its trailing blanks.
    pub fn char_length(arg: Expr) -> Result<Expr> {
        match arg.data_type() {
            DataType::Text { .. } | DataType::Bpchar { .. } => {
                Ok(call(Func::CharLength, vec![arg], DataType::Int4).fold())
            }
            DataType::Bytea => Ok(call(Func::OctetLength, vec![arg], DataType::Int4).fold()),
            _ => refuse("length", &[&arg]),
        }
    }

    /// `octet_length(arg)`; of `bpchar` with its trailing blanks.
    pub fn octet_length(arg: Expr) -> Result<Expr> {
        match arg.data_type() {
            DataType::Text { .. } | DataType::Bpchar { .. } | DataType::Bytea => {
                Ok(call(Func::OctetLength, vec![arg], DataType::Int4).fold())
            }
            _ => refuse("octet_length", &[&arg]),
        }
    }

    /// `upper(arg)`: only under C, where just ASCII has case.
    pub fn upper(arg: Expr) -> Result<Expr> {
        change_case(Func::Upper, arg)
    }

    /// `lower(arg)`: only under C, where just ASCII has case.
    pub fn lower(arg: Expr) -> Result<Expr> {
        change_case(Func::Lower, arg)
    }

    /// `substring(arg from start [for length])`, in characters.
    pub fn substring(arg: Expr, start: Expr, length: Option<Expr>) -> Result<Expr> {
        let mut args = vec![arg, start];
        args.extend(length);
        over_text(Func::Substring, args, 1)
    }

    /// `left(arg, n)`.
    pub fn left(arg: Expr, n: Expr) -> Result<Expr> {
        over_text(Func::Left, vec![arg, n], 1)
    }

    /// `right(arg, n)`.
    pub fn right(arg: Expr, n: Expr) -> Result<Expr> {
        over_text(Func::Right, vec![arg, n], 1)
    }

    /// `btrim`, `ltrim` or `rtrim` of blanks or of `characters`.
    pub fn trim(arg: Expr, characters: Option<Expr>, left: bool, right: bool) -> Result<Expr> {
        let mut args = vec![arg];
        args.extend(characters);
        let texts = args.len();
        over_text(Func::Trim { left, right }, args, texts)
    }

    /// `a || b || ...`.
    pub fn append(args: Vec<Expr>) -> Result<Expr> {
        let texts = args.len();
        over_text(Func::Append, args, texts)
    }

    /// `concat(a, b, ...)` of texts: NULLs count as empty.
    pub fn concat(args: Vec<Expr>) -> Result<Expr> {
        let texts = args.len();
        over_text(Func::Concat, args, texts)
    }

    /// `concat_ws(delimiter, a, b, ...)` of texts.
    pub fn concat_with(args: Vec<Expr>) -> Result<Expr> {
        let texts = args.len();
        over_text(Func::ConcatWith, args, texts)
    }

    /// `translate(arg, from, to)`.
    pub fn translate(arg: Expr, from: Expr, to: Expr) -> Result<Expr> {
        over_text(Func::Translate, vec![arg, from, to], 3)
    }

    /// `initcap(arg)`: only under C, where just ASCII has case.
    pub fn init_cap(arg: Expr) -> Result<Expr> {
        change_case(Func::InitCap, arg)
    }

    /// `ascii(arg)`.
    pub fn ascii(arg: Expr) -> Result<Expr> {
        check_texts("ascii", &[&arg], 1)?;
        Ok(call(Func::Ascii, vec![arg], DataType::Int4).fold())
    }

    /// `replace(arg, from, to)`.
    pub fn replace(arg: Expr, from: Expr, to: Expr) -> Result<Expr> {
        searching(&arg)?;
        over_text(Func::Replace, vec![arg, from, to], 3)
    }

    /// `strpos(arg, part)`, `position(part in arg)`: counted in characters from 1; 0: absent.
    pub fn position(arg: Expr, part: Expr) -> Result<Expr> {
        searching(&arg)?;
        check_texts("position", &[&arg, &part], 2)?;
        Ok(call(Func::Position, vec![arg, part], DataType::Int4).fold())
    }

    /// `starts_with(arg, prefix)`, `arg ^@ prefix`.
    pub fn starts_with(arg: Expr, prefix: Expr) -> Result<Expr> {
        searching(&arg)?;
        check_texts("starts_with", &[&arg, &prefix], 2)?;
        Ok(call(Func::StartsWith, vec![arg, prefix], DataType::Bool).fold())
    }

    /// `split_part(arg, delimiter, n)`.
    pub fn split_part(arg: Expr, delimiter: Expr, n: Expr) -> Result<Expr> {
        searching(&arg)?;
        over_text(Func::SplitPart, vec![arg, delimiter, n], 2)
    }

    /// `lpad` (`left`) or `rpad`, with blanks or with `fill`.
    pub fn pad(arg: Expr, length: Expr, fill: Option<Expr>, left: bool) -> Result<Expr> {
        let fill = fill.unwrap_or_else(|| Expr::text(" ", arg.data_type()));
        check_texts("pad", &[&fill], 1)?;
        over_text(Func::Pad { left }, vec![arg, length, fill], 1)
    }

    /// `reverse(arg)`.
    pub fn reverse(arg: Expr) -> Result<Expr> {
        over_text(Func::Reverse, vec![arg], 1)
    }

    /// `regexp_replace(arg, pattern, replacement)`, of constant patterns that match in one way only.
    pub fn regexp_replace(arg: Expr, pattern: Expr, replacement: Expr) -> Result<Expr> {
        let constants = (pattern.as_const(), replacement.as_const());
        let (Some(Some(Scalar::Bytes(from))), Some(Some(Scalar::Bytes(to)))) = constants else {
            return refuse("regexp_replace", &[&arg, &pattern, &replacement]);
        };
        if !matches!(arg.data_type(), DataType::Text { .. }) {
            return refuse("regexp_replace", &[&arg, &pattern, &replacement]);
        }
        searching(&arg)?;
        let (rule, data_type) = (Arc::new(RegexpRule::new(from, to)?), arg.data_type());
        let arg = Box::new(arg);
        Ok(Expr::new(ExprKind::RegexpReplace { arg, rule }, data_type).fold())
    }

    /// `arg [NOT] LIKE pattern`, with backslash as the escape (other ESCAPEs arrive rewritten to it); `fold_case`:
    /// ILIKE, only under C.
    pub fn like(arg: Expr, pattern: Expr, fold_case: bool, negated: bool) -> Result<Expr> {
        if !arg.data_type().is_text() || !matches!(pattern.data_type(), DataType::Text { .. }) {
            return refuse("LIKE", &[&arg, &pattern]);
        }
        searching(&arg)?;
        if fold_case && arg.data_type().collation() != Some(Collation::C) {
            return Err(Error::not_native("ILIKE under a collation other than C"));
        }
        let kind = match pattern.as_const() {
            Some(None) => return Ok(Expr::null(DataType::Bool)),
            Some(Some(Scalar::Bytes(bytes))) => {
                let pattern = Arc::new(LikePattern::new(bytes, fold_case)?);
                ExprKind::Like {
                    arg: Box::new(arg),
                    pattern,
                    negated,
                }
            }
            _ => ExprKind::LikeExpr {
                arg: Box::new(arg),
                pattern: Box::new(pattern),
                fold_case,
                negated,
            },
        };
        Ok(Expr::new(kind, DataType::Bool).fold())
    }
}

fn change_case(func: Func, arg: Expr) -> Result<Expr> {
    match arg.data_type() {
        DataType::Text {
            collation: Collation::C,
        } => over_text(func, vec![arg], 1),
        DataType::Text { .. } => Err(Error::not_native(
            "letter case under a collation other than C",
        )),
        _ => refuse("letter case", &[&arg]),
    }
}

/// Searching compares bytes, which a nondeterministic collation does not.
fn searching(arg: &Expr) -> Result<()> {
    match arg.data_type().collation() {
        Some(collation) if collation.equals_bytes() => Ok(()),
        _ => refuse("text search", &[arg]),
    }
}

/// Checks that the first `texts` arguments are text.
fn check_texts(what: &str, args: &[&Expr], texts: usize) -> Result<()> {
    match args
        .iter()
        .take(texts)
        .all(|arg| matches!(arg.data_type(), DataType::Text { .. }))
    {
        true => Ok(()),
        false => refuse(what, args),
    }
}

/// A function from text to text, whose first `texts` arguments are text; the rest are integers, but for `fill`.
fn over_text(func: Func, args: Vec<Expr>, texts: usize) -> Result<Expr> {
    let what = format!("{func:?}");
    check_texts(&what, &args.iter().collect::<Vec<_>>(), texts)?;
    let integers = args
        .iter()
        .skip(texts)
        .take_while(|_| !matches!(func, Func::Pad { .. }));
    if integers
        .clone()
        .any(|arg| arg.data_type() != DataType::Int4)
    {
        return refuse(&what, &args.iter().collect::<Vec<_>>());
    }
    if matches!(func, Func::Pad { .. }) && args[1].data_type() != DataType::Int4 {
        return refuse(&what, &args.iter().collect::<Vec<_>>());
    }
    let Some(first) = args.first() else {
        return Err(Error::internal("no operands"));
    };
    let data_type = first.data_type();
    Ok(call(func, args, data_type).fold())
}
