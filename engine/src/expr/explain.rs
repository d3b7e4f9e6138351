// SPDX-License-Identifier: Apache-2.0
//! The text of an expression, close to SQL: columns are `$1`, `$2`, parameters `:1`, what PostgreSQL evaluates
//! `postgres#1(...)`. Conversions that operators imply are not shown.

use std::fmt::{self, Display, Formatter};

use super::ir::{ArithOp, CompareOp, Expr, ExprKind, Func};
use super::kernels::cast::decimal_text;
use super::kernels::datetime::{civil, Interval, MICROS_PER_DAY};
use super::kernels::math::BitOp;
use crate::decimal::round::Rounding;
use crate::decimal::View;
use crate::types::{DataType, Scalar};

impl Display for CompareOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CompareOp::Eq => "=",
            CompareOp::Ne => "<>",
            CompareOp::Lt => "<",
            CompareOp::Le => "<=",
            CompareOp::Gt => ">",
            CompareOp::Ge => ">=",
            CompareOp::Distinct => "IS DISTINCT FROM",
            CompareOp::NotDistinct => "IS NOT DISTINCT FROM",
        })
    }
}

impl Display for ArithOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ArithOp::Add => "+",
            ArithOp::Sub => "-",
            ArithOp::Mul => "*",
            ArithOp::Div => "/",
            ArithOp::Mod => "%",
        })
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let not = |negated: bool| if negated { "NOT " } else { "" };
        match self.kind() {
            ExprKind::Column(index) => write!(f, "${}", index + 1),
            ExprKind::Param(number) => write!(f, ":{}", number + 1),
            ExprKind::Const(None) => f.write_str("NULL"),
            ExprKind::Const(Some(value)) => constant(value, self.data_type(), f),
            ExprKind::Compare { op, left, right } => write!(f, "({left} {op} {right})"),
            ExprKind::Arith { op, left, right } => write!(f, "({left} {op} {right})"),
            ExprKind::And(args) => list(f, "(", args, " AND ", ")"),
            ExprKind::Or(args) => list(f, "(", args, " OR ", ")"),
            ExprKind::Not(arg) => write!(f, "(NOT {arg})"),
            ExprKind::IsNull { arg, negated } => write!(f, "({arg} IS {}NULL)", not(*negated)),
            ExprKind::IsTruth {
                arg,
                value,
                negated,
            } => {
                let value = match value {
                    None => "UNKNOWN",
                    Some(true) => "TRUE",
                    Some(false) => "FALSE",
                };
                write!(f, "({arg} IS {}{value})", not(*negated))
            }
            ExprKind::Case {
                branches,
                otherwise,
            } => case(branches, otherwise.as_deref(), f),
            ExprKind::Coalesce(args) => list(f, "COALESCE(", args, ", ", ")"),
            ExprKind::Extreme {
                greatest: true,
                args,
            } => list(f, "GREATEST(", args, ", ", ")"),
            ExprKind::Extreme { args, .. } => list(f, "LEAST(", args, ", ", ")"),
            ExprKind::InList { arg, set, negated } => {
                write!(f, "({arg} {}IN ({} values))", not(*negated), set.len())
            }
            ExprKind::Like {
                arg,
                pattern,
                negated,
            } => {
                let name = if pattern.folds_case() {
                    "ILIKE"
                } else {
                    "LIKE"
                };
                write!(f, "({arg} {}{name} ", not(*negated))?;
                quoted(pattern.source(), f)?;
                f.write_str(")")
            }
            ExprKind::RegexpReplace { arg, rule } => {
                write!(f, "regexp_replace({arg}, ")?;
                quoted(rule.source().as_bytes(), f)?;
                f.write_str(", ...)")
            }
            ExprKind::LikeExpr {
                arg,
                pattern,
                fold_case,
                negated,
            } => {
                let name = if *fold_case { "ILIKE" } else { "LIKE" };
                write!(f, "({arg} {}{name} {pattern})", not(*negated))
            }
            ExprKind::Call { func, args } => call(*func, args, f),
            ExprKind::Cast {
                arg,
                implicit: true,
            } => write!(f, "{arg}"),
            ExprKind::Cast { arg, .. } => write!(f, "{arg}::{}", self.data_type()),
            ExprKind::Item { args, .. } => list(f, "(", args, ", ", ")"),
            ExprKind::External { id, args } => list(f, &format!("postgres#{id}("), args, ", ", ")"),
        }
    }
}

fn list(
    f: &mut Formatter<'_>,
    open: &str,
    args: &[Expr],
    between: &str,
    close: &str,
) -> fmt::Result {
    f.write_str(open)?;
    for (i, arg) in args.iter().enumerate() {
        f.write_str(if i > 0 { between } else { "" })?;
        write!(f, "{arg}")?;
    }
    f.write_str(close)
}

fn case(branches: &[(Expr, Expr)], otherwise: Option<&Expr>, f: &mut Formatter<'_>) -> fmt::Result {
    f.write_str("CASE")?;
    for (condition, result) in branches {
        write!(f, " WHEN {condition} THEN {result}")?;
    }
    if let Some(otherwise) = otherwise {
        write!(f, " ELSE {otherwise}")?;
    }
    f.write_str(" END")
}

fn call(func: Func, args: &[Expr], f: &mut Formatter<'_>) -> fmt::Result {
    let lower = |name: String| name.to_lowercase();
    let open = match func {
        Func::DateAsTimestamp | Func::IntervalOrder | Func::AtScale | Func::DecimalKey => {
            return write!(f, "{}", args[0])
        }
        Func::Negate => return write!(f, "(- {})", args[0]),
        Func::DateAddDays { negate } | Func::TimestampAddInterval { negate } => {
            return write!(
                f,
                "({} {} {})",
                args[0],
                if negate { "-" } else { "+" },
                args[1]
            );
        }
        Func::Pair => return list(f, "", args, ", ", ""),
        Func::DateDiff | Func::TimestampDiff => return write!(f, "({} - {})", args[0], args[1]),
        Func::Extract(unit) => {
            return write!(
                f,
                "extract({} from {})",
                lower(format!("{unit:?}")),
                args[0]
            )
        }
        Func::Declared { precision, scale } => {
            return write!(f, "{}::numeric({precision},{scale})", args[0])
        }
        Func::Round(Rounding::Up) => return write!(f, "ceil({})", args[0]),
        Func::Round(Rounding::Down) => return write!(f, "floor({})", args[0]),
        Func::Round(Rounding::ToZero) => "trunc(".into(),
        Func::Round(Rounding::HalfAway) => "round(".into(),
        Func::Average => return write!(f, "({} / {})", args[0], args[1]),
        Func::Append => return list(f, "(", args, " || ", ")"),
        Func::DatePart(unit) => format!("date_part('{}', ", lower(format!("{unit:?}"))),
        Func::DateTrunc(unit) => format!("date_trunc('{}', ", lower(format!("{unit:?}"))),
        Func::ToLocal(offset) | Func::FromLocal(offset) => format!("at_offset({offset}, "),
        Func::Math(math) => format!("{}(", lower(format!("{math:?}"))),
        Func::Bits(op) => {
            let sign = match op {
                BitOp::And => "&",
                BitOp::Or => "|",
                BitOp::Xor => "#",
                BitOp::ShiftLeft => "<<",
                BitOp::ShiftRight => ">>",
            };
            return write!(f, "({} {sign} {})", args[0], args[1]);
        }
        Func::Root => "sqrt(".into(),
        Func::Quotient => "div(".into(),
        Func::ConcatWith => "concat_ws(".into(),
        Func::CharLength => "length(".into(),
        Func::OctetLength => "octet_length(".into(),
        Func::SplitPart => "split_part(".into(),
        Func::StartsWith => "starts_with(".into(),
        Func::Trim {
            left: true,
            right: true,
        } => "btrim(".into(),
        Func::Trim { left: true, .. } => "ltrim(".into(),
        Func::Trim { .. } => "rtrim(".into(),
        Func::Pad { left: true } => "lpad(".into(),
        Func::Pad { .. } => "rpad(".into(),
        _ => format!("{}(", lower(format!("{func:?}"))),
    };
    list(f, &open, args, ", ", ")")
}

fn quoted(bytes: &[u8], f: &mut Formatter<'_>) -> fmt::Result {
    write!(
        f,
        "'{}'",
        String::from_utf8_lossy(bytes).replace('\'', "''")
    )
}

fn date(days: i32, f: &mut Formatter<'_>) -> fmt::Result {
    let day = civil(days);
    match day.year {
        1.. => write!(f, "{:04}-{:02}-{:02}", day.year, day.month, day.day),
        _ => write!(f, "{:04}-{:02}-{:02} BC", 1 - day.year, day.month, day.day),
    }
}

fn constant(value: &Scalar, data_type: DataType, f: &mut Formatter<'_>) -> fmt::Result {
    match (value, data_type) {
        (Scalar::Bool(value), _) => write!(f, "{value}"),
        (Scalar::I32(days), DataType::Date) if !matches!(*days, i32::MIN | i32::MAX) => {
            f.write_str("'")?;
            date(*days, f)?;
            f.write_str("'")
        }
        (Scalar::I64(micros), DataType::Timestamp | DataType::TimestampTz)
            if !matches!(*micros, i64::MIN | i64::MAX) =>
        {
            let time = micros.rem_euclid(MICROS_PER_DAY);
            f.write_str("'")?;
            date(micros.div_euclid(MICROS_PER_DAY) as i32, f)?;
            let (seconds, fraction) = (time / 1_000_000, time % 1_000_000);
            write!(
                f,
                " {:02}:{:02}:{:02}",
                seconds / 3600,
                seconds / 60 % 60,
                seconds % 60
            )?;
            if fraction != 0 {
                write!(f, ".{fraction:06}")?;
            }
            f.write_str("'")
        }
        (value, DataType::Numeric { scale, .. }) => f.write_str(
            &value
                .as_i128()
                .map(|v| decimal_text(v, scale))
                .unwrap_or_default(),
        ),
        (Scalar::I16(value), _) => write!(f, "{value}"),
        (Scalar::I32(value), _) => write!(f, "{value}"),
        (Scalar::I64(value), _) => write!(f, "{value}"),
        (Scalar::I128(value), _) => write!(f, "{value}"),
        (Scalar::F32(value), _) => write!(f, "{value}"),
        (Scalar::F64(value), _) => write!(f, "{value}"),
        (Scalar::Bytes(bytes), DataType::Interval) => match Interval::from_bytes(bytes) {
            Some(i) => write!(f, "'{} mons {} days {} us'", i.months, i.days, i.micros),
            None => f.write_str("'?'"),
        },
        (Scalar::Bytes(bytes), DataType::Decimal) => write!(f, "{}", View::new(bytes).number()),
        (Scalar::Bytes(bytes), t) if t.is_text() => quoted(bytes, f),
        (Scalar::Bytes(bytes), _) => {
            f.write_str("'\\x")?;
            bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
            f.write_str("'")
        }
    }
}

#[cfg(test)]
mod tests;
