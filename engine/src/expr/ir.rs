// SPDX-License-Identifier: Apache-2.0
//! The expression tree.
//!
//! A node knows its result type and a number of its own, under which results computed once per dictionary are
//! kept; clones share it, since they mean the same. Nodes are made by the constructors in [`build`](super::build)
//! only, so that kernels may rely on what those check.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use super::kernels::datetime::{DateUnit, ExtractUnit, Interval};
use super::kernels::in_list::ValueSet;
use super::kernels::like::LikePattern;
use super::kernels::math::{BitOp, Math};
use super::kernels::replace::RegexpRule;
use crate::decimal::round::Rounding;
use crate::ops::sort::normal::Column;
use crate::types::{Collation, DataType, Scalar};

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A typed expression.
#[derive(Clone, Debug)]
pub struct Expr {
    id: u64,
    data_type: DataType,
    kind: ExprKind,
}

/// How two values compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CompareOp {
    /// `=`
    Eq,
    /// `<>`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `IS DISTINCT FROM`: never NULL.
    Distinct,
    /// `IS NOT DISTINCT FROM`: never NULL.
    NotDistinct,
}

impl CompareOp {
    /// The operator with its operands exchanged.
    pub fn flip(self) -> Self {
        match self {
            CompareOp::Lt => CompareOp::Gt,
            CompareOp::Le => CompareOp::Ge,
            CompareOp::Gt => CompareOp::Lt,
            CompareOp::Ge => CompareOp::Le,
            same => same,
        }
    }

    /// Whether it asks for equality only, not for an order.
    pub fn is_equality(self) -> bool {
        matches!(
            self,
            CompareOp::Eq | CompareOp::Ne | CompareOp::Distinct | CompareOp::NotDistinct
        )
    }

    /// `unit * x op value`, with `unit` above 0, as a comparison of the integer `x`: no integer lies between two
    /// neighbours, so the value is rounded down. `None` where nothing equals it, and the question is of equality.
    pub fn of_multiple(self, unit: i128, value: i128) -> Option<(Self, i128)> {
        let op = match self {
            op if value.rem_euclid(unit) == 0 => op,
            CompareOp::Lt | CompareOp::Le => CompareOp::Le,
            CompareOp::Gt | CompareOp::Ge => CompareOp::Gt,
            _ => return None,
        };
        Some((op, value.div_euclid(unit)))
    }

    /// Whether a NULL operand gives a truth value.
    pub fn is_null_safe(self) -> bool {
        matches!(self, CompareOp::Distinct | CompareOp::NotDistinct)
    }
}

/// Arithmetic on two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArithOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
}

/// Functions and operators of fixed arity that are NULL when any argument is (except `Concat` and
/// `ConcatWith`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Func {
    /// Unary minus.
    Negate,
    /// `abs`.
    Abs,
    /// A function of a float.
    Math(Math),
    /// `power` of floats.
    Power,
    /// An operator on the bits of two integers.
    Bits(BitOp),
    /// `sqrt` of a numeric.
    Root,
    /// `sign` of a numeric.
    Sign,
    /// `div`: the whole part of a quotient of numerics.
    Quotient,
    /// `round`, `trunc`, `ceil` or `floor` of a numeric, to a number of digits.
    Round(Rounding),
    /// An average: a sum by its count, which is above 0 unless the sum is NULL.
    Average,
    /// A numeric with so many digits after the point.
    AtScale,
    /// `numeric::numeric(precision, scale)`, of a value that carries its scale.
    Declared {
        /// Declared digits.
        precision: u16,
        /// Declared digits after the point.
        scale: i16,
    },
    /// Bytes that are equal for equal numerics and sort as they do.
    DecimalKey,
    /// Two Float8 as 16 bytes, for aggregates of pairs.
    Pair,
    /// Date to timestamp for comparison only: beyond the range is after every finite timestamp, no error.
    DateAsTimestamp,
    /// Interval to the microseconds it compares by.
    IntervalOrder,
    /// `timestamptz` at a fixed offset (seconds east) as local `timestamp`.
    ToLocal(i32),
    /// Local `timestamp` at a fixed offset (seconds east) as `timestamptz`.
    FromLocal(i32),
    /// `date + integer`, `date - integer`.
    DateAddDays {
        /// Subtract instead.
        negate: bool,
    },
    /// `date - date`, in days.
    DateDiff,
    /// `timestamp ± interval`.
    TimestampAddInterval {
        /// Subtract instead.
        negate: bool,
    },
    /// `timestamp - timestamp`, an interval.
    TimestampDiff,
    /// `extract(unit from date or timestamp)`, numeric.
    Extract(ExtractUnit),
    /// `date_part(unit, timestamp)`, double precision.
    DatePart(ExtractUnit),
    /// `date_trunc(unit, timestamp)`.
    DateTrunc(DateUnit),
    /// `length`, in characters.
    CharLength,
    /// `octet_length`.
    OctetLength,
    /// `upper`, C collation.
    Upper,
    /// `lower`, C collation.
    Lower,
    /// `substring(s from n [for m])`.
    Substring,
    /// `left(s, n)`.
    Left,
    /// `right(s, n)`.
    Right,
    /// `btrim`, `ltrim` or `rtrim`, of blanks or of a set of characters.
    Trim {
        /// From the start.
        left: bool,
        /// From the end.
        right: bool,
    },
    /// `a || b || ...`: NULL when any is.
    Append,
    /// `concat(a, b, ...)`: NULLs are skipped.
    Concat,
    /// `replace(s, from, to)`.
    Replace,
    /// `strpos(s, part)`, `position(part in s)`.
    Position,
    /// `starts_with(s, prefix)`.
    StartsWith,
    /// `split_part(s, delimiter, n)`.
    SplitPart,
    /// `lpad` or `rpad`.
    Pad {
        /// `lpad`.
        left: bool,
    },
    /// `reverse`.
    Reverse,
    /// `translate(s, from, to)`.
    Translate,
    /// `ascii`: the number of the first character.
    Ascii,
    /// `initcap`, C collation.
    InitCap,
    /// `concat_ws(delimiter, a, b, ...)`: NULLs but the delimiter's are skipped.
    ConcatWith,
}

/// What a node computes.
#[derive(Clone, Debug)]
pub enum ExprKind {
    /// Column of the batch.
    Column(usize),
    /// A constant; `None` is NULL.
    Const(Option<Scalar>),
    /// A value bound for the whole execution: [`EvalContext::params`](super::EvalContext).
    Param(usize),
    /// Two operands of one comparable type.
    Compare {
        /// The operator.
        op: CompareOp,
        /// Left operand.
        left: Box<Expr>,
        /// Right operand.
        right: Box<Expr>,
    },
    /// Two operands of one number type (numerics: one layout, the scales as the operator wants them).
    Arith {
        /// The operator.
        op: ArithOp,
        /// Left operand.
        left: Box<Expr>,
        /// Right operand.
        right: Box<Expr>,
    },
    /// All true; later operands see only rows that earlier ones have not made false.
    And(Vec<Expr>),
    /// Any true; later operands see only rows that earlier ones have not made true.
    Or(Vec<Expr>),
    /// `NOT`.
    Not(Box<Expr>),
    /// `IS [NOT] NULL`.
    IsNull {
        /// The operand.
        arg: Box<Expr>,
        /// `IS NOT NULL`.
        negated: bool,
    },
    /// `IS [NOT] TRUE`, `FALSE` or (`None`) `UNKNOWN`.
    IsTruth {
        /// The operand.
        arg: Box<Expr>,
        /// What it is asked to be.
        value: Option<bool>,
        /// `IS NOT`.
        negated: bool,
    },
    /// Searched CASE: a branch sees only the rows that reach it.
    Case {
        /// Conditions and results, in order.
        branches: Vec<(Expr, Expr)>,
        /// ELSE; without it, NULL.
        otherwise: Option<Box<Expr>>,
    },
    /// The first that is not NULL; later arguments see only rows where the earlier ones are NULL.
    Coalesce(Vec<Expr>),
    /// `GREATEST` or `LEAST`: NULLs are ignored.
    Extreme {
        /// `GREATEST`.
        greatest: bool,
        /// The arguments, of one type.
        args: Vec<Expr>,
    },
    /// `IN (constants)`, `= ANY(constant array)` and their negations.
    InList {
        /// The operand.
        arg: Box<Expr>,
        /// The constants.
        set: Arc<ValueSet>,
        /// `NOT IN`, `<> ALL`.
        negated: bool,
    },
    /// `LIKE` or `ILIKE` with a pattern known when the plan is made.
    Like {
        /// The text.
        arg: Box<Expr>,
        /// The compiled pattern.
        pattern: Arc<LikePattern>,
        /// `NOT LIKE`.
        negated: bool,
    },
    /// `regexp_replace(arg, pattern, replacement)` with constants of a kind that is matched here.
    RegexpReplace {
        /// The text.
        arg: Box<Expr>,
        /// What is replaced by what.
        rule: Arc<RegexpRule>,
    },
    /// `LIKE` or `ILIKE` with a pattern that is an expression.
    LikeExpr {
        /// The text.
        arg: Box<Expr>,
        /// The pattern.
        pattern: Box<Expr>,
        /// `ILIKE`.
        fold_case: bool,
        /// `NOT LIKE`.
        negated: bool,
    },
    /// A function of the engine's own.
    Call {
        /// Which.
        func: Func,
        /// Its arguments.
        args: Vec<Expr>,
    },
    /// A conversion to the node's type.
    Cast {
        /// The operand.
        arg: Box<Expr>,
        /// Inserted here to bring operands to one type: loses nothing, leaves the display scale alone.
        implicit: bool,
    },
    /// What an aggregate that collects rows keeps of a row, as bytes.
    Item {
        /// How it is sorted: by the first arguments.
        columns: Arc<[Column]>,
        /// What it is sorted by, and then its fields.
        args: Vec<Expr>,
    },
    /// What only PostgreSQL evaluates, through [`EvalContext::external`](super::EvalContext).
    External {
        /// The caller's number for it.
        id: u32,
        /// Its arguments, evaluated here.
        args: Vec<Expr>,
    },
}

/// The direct operands of a node, in evaluation order; `iter` and `as_deref` say whether they are writable.
macro_rules! operands {
    ($kind:expr, $iter:ident, $as_deref:ident) => {
        match $kind {
            ExprKind::Column(_) | ExprKind::Const(_) | ExprKind::Param(_) => Vec::new(),
            ExprKind::Compare { left, right, .. } | ExprKind::Arith { left, right, .. } => {
                vec![left, right]
            }
            ExprKind::LikeExpr { arg, pattern, .. } => vec![arg, pattern],
            ExprKind::Not(arg)
            | ExprKind::IsNull { arg, .. }
            | ExprKind::IsTruth { arg, .. }
            | ExprKind::InList { arg, .. }
            | ExprKind::Like { arg, .. }
            | ExprKind::RegexpReplace { arg, .. }
            | ExprKind::Cast { arg, .. } => vec![arg],
            ExprKind::And(args)
            | ExprKind::Or(args)
            | ExprKind::Coalesce(args)
            | ExprKind::Extreme { args, .. }
            | ExprKind::Call { args, .. }
            | ExprKind::Item { args, .. }
            | ExprKind::External { args, .. } => args.$iter().collect(),
            ExprKind::Case {
                branches,
                otherwise,
            } => {
                let both = branches
                    .$iter()
                    .flat_map(|(condition, result)| [condition, result]);
                both.chain(otherwise.$as_deref()).collect()
            }
        }
    };
}

impl Expr {
    /// A node whose operands the caller has checked.
    pub(super) fn new(kind: ExprKind, data_type: DataType) -> Self {
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            data_type,
            kind,
        }
    }

    /// The node's number; clones share it.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The result type.
    pub fn data_type(&self) -> DataType {
        self.data_type
    }

    /// The same text under another collation. `None` where the collation decides what the text is.
    pub fn collated(mut self, collation: Collation) -> Option<Expr> {
        if self.data_type.collation() == Some(collation) {
            return Some(self);
        }
        if matches!(self.kind, ExprKind::Extreme { .. }) {
            return None;
        }
        self.data_type = self.data_type.collated(collation);
        Some(self)
    }

    /// What the node computes.
    pub fn kind(&self) -> &ExprKind {
        &self.kind
    }

    pub(super) fn kind_mut(&mut self) -> &mut ExprKind {
        &mut self.kind
    }

    /// The direct operands, in evaluation order.
    pub fn children(&self) -> Vec<&Expr> {
        operands!(&self.kind, iter, as_deref)
    }

    /// The direct operands, writable; their types must stay as they are.
    pub(super) fn children_mut(&mut self) -> Vec<&mut Expr> {
        operands!(&mut self.kind, iter_mut, as_deref_mut)
    }

    /// Whether no part of it needs PostgreSQL, so that any thread may evaluate it.
    pub fn is_native(&self) -> bool {
        !matches!(self.kind, ExprKind::External { .. })
            && self.children().iter().all(|child| child.is_native())
    }

    /// The columns it reads, ascending.
    pub fn columns(&self) -> Vec<usize> {
        fn collect(expr: &Expr, into: &mut Vec<usize>) {
            if let ExprKind::Column(column) = expr.kind {
                into.push(column);
            }
            for child in expr.children() {
                collect(child, into);
            }
        }
        let mut columns = Vec::new();
        collect(self, &mut columns);
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// The same expression over other column numbers: column `c` becomes `number(c)`.
    pub fn renumber(mut self, number: &impl Fn(usize) -> usize) -> Expr {
        fn walk(expr: &mut Expr, number: &impl Fn(usize) -> usize) {
            expr.id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
            if let ExprKind::Column(column) = &mut expr.kind {
                *column = number(*column);
            }
            for child in expr.children_mut() {
                walk(child, number);
            }
        }
        walk(&mut self, number);
        self
    }

    /// Gives it a number of its own, after a change of its operands.
    pub(super) fn renew(&mut self) {
        self.id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it reads no column and calls nothing external: one value for the whole execution.
    pub fn is_invariant(&self) -> bool {
        !matches!(self.kind, ExprKind::Column(_) | ExprKind::External { .. })
            && self.children().iter().all(|child| child.is_invariant())
    }

    /// Whether evaluation might raise an error on some row. Errs on the side of yes.
    pub fn can_raise(&self) -> bool {
        let here = match &self.kind {
            ExprKind::External { .. } | ExprKind::LikeExpr { .. } => true,
            ExprKind::Arith { op, .. } => super::build::arith::can_raise(*op, self),
            ExprKind::Cast { arg, .. } => {
                super::build::cast::can_raise(arg.data_type, self.data_type)
            }
            ExprKind::Call { func, args } => match func {
                Func::Negate | Func::Abs => self.data_type.is_integer(),
                Func::DatePart(_) => args[0].data_type == DataType::Interval,
                Func::Math(math) => math.can_raise(),
                Func::Substring => args.len() > 2,
                Func::Average => args[0].data_type == DataType::Decimal,
                Func::AtScale
                | Func::DecimalKey
                | Func::Pair
                | Func::Bits(_)
                | Func::Sign
                | Func::Ascii
                | Func::InitCap
                | Func::DateAsTimestamp
                | Func::IntervalOrder
                | Func::CharLength
                | Func::OctetLength
                | Func::Upper
                | Func::Lower
                | Func::Left
                | Func::Right
                | Func::Trim { .. }
                | Func::Position
                | Func::StartsWith
                | Func::Reverse => false,
                _ => true,
            },
            _ => false,
        };
        here || self.children().iter().any(|child| child.can_raise())
    }

    /// Whether its own function may meet values that it leaves to PostgreSQL
    /// ([`Error::needs_postgres`](crate::error::Error::needs_postgres)). Where rows are handed out before all are
    /// computed that would come too late.
    pub fn may_give_up(&self) -> bool {
        match &self.kind {
            ExprKind::LikeExpr { .. } => true,
            ExprKind::Cast { arg, .. } => arg.data_type.is_float() && self.data_type.is_numeric(),
            ExprKind::Call { func, args } => match func {
                Func::TimestampDiff => true,
                Func::TimestampAddInterval { .. } => !args[1].is_finite_interval(),
                Func::Extract(unit) => unit.grows() || args[0].data_type == DataType::Interval,
                Func::DatePart(_) => args[0].data_type == DataType::Interval,
                _ => false,
            },
            _ => false,
        }
    }

    fn is_finite_interval(&self) -> bool {
        match self.as_const() {
            Some(Some(Scalar::Bytes(bytes))) => {
                Interval::from_bytes(bytes).is_some_and(|interval| !interval.is_infinite())
            }
            Some(None) => true,
            _ => false,
        }
    }

    /// The constant it is, if it is one: `Some(None)` is NULL.
    pub fn as_const(&self) -> Option<&Option<Scalar>> {
        match &self.kind {
            ExprKind::Const(value) => Some(value),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
