// SPDX-License-Identifier: Apache-2.0
//! Window functions in plans.

use super::{AggregateFunction, Node};
use crate::expr::Expr;
use crate::types::DataType;

/// Window functions over one window. Output: the input's columns, then the columns of each call. Rows keep the
/// order in which they came.
#[derive(Clone, Debug)]
pub struct Window {
    /// Where rows come from: the rows of a partition together, in the window's order.
    pub input: Box<Node>,
    /// Rows with equal values here are a partition; none: all rows are one.
    pub partition: Vec<Expr>,
    /// Rows of a partition with equal values here are peers; none: all rows of the partition are.
    pub order: Vec<Expr>,
    /// The rows around each row that frame functions look at.
    pub frame: Frame,
    /// For a frame of `RANGE` with offsets: where it starts and ends.
    pub range: Option<Box<RangeOffsets>>,
    /// What to compute.
    pub calls: Vec<WindowCall>,
}

/// What a frame's offsets count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameUnit {
    /// Rows; the current row is a row.
    Rows,
    /// Values of the window's one order column; the current row is all of its peers. See [`RangeOffsets`].
    Range,
    /// Groups of peers.
    Groups,
}

/// Where a frame starts or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// With the partition's first row.
    UnboundedPreceding,
    /// So many rows or groups before the current one.
    Preceding(u64),
    /// With the current row or its peers.
    CurrentRow,
    /// So many rows or groups after the current one.
    Following(u64),
    /// With the partition's last row.
    UnboundedFollowing,
}

/// Which rows around the current one a frame leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exclude {
    /// None.
    Nothing,
    /// The current row.
    CurrentRow,
    /// The current row and its peers.
    Group,
    /// The peers of the current row, but not the row.
    Ties,
}

/// The rows around each row that frame functions look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What offsets count; a `Range` has none.
    pub unit: FrameUnit,
    /// The first row.
    pub start: Bound,
    /// The last row.
    pub end: Bound,
    /// What is left out.
    pub exclude: Exclude,
}

impl Frame {
    /// What SQL takes when a window says nothing: the partition up to the current row's last peer.
    pub const DEFAULT: Frame = Frame {
        unit: FrameUnit::Range,
        start: Bound::UnboundedPreceding,
        end: Bound::CurrentRow,
        exclude: Exclude::Nothing,
    };
}

/// The ends of a frame of `RANGE` with offsets, over integers, dates, times, or numerics of one scale: the frame is the
/// rows whose key is not before `start` and not after `end` in the window's order. Rows whose key is NULL have each
/// other for a frame, as far as offsets go.
#[derive(Clone, Debug)]
pub struct RangeOffsets {
    /// The order column.
    pub key: Expr,
    /// Where it starts, if that has an offset.
    pub start: Option<RangeLimit>,
    /// Where it ends, if that has an offset.
    pub end: Option<RangeLimit>,
    /// Whether keys fall.
    pub descending: bool,
    /// Whether NULLs come first.
    pub nulls_first: bool,
}

/// The value at which a frame starts or ends.
#[derive(Clone, Debug)]
pub enum RangeLimit {
    /// The key less or plus an offset, as an expression of the key's type.
    Value(Expr),
    /// The key plus this, exactly.
    Plus(i64),
    /// The key, a Float8, less or plus an offset of at least 0. Infinities that cancel each other out are no limit.
    Float {
        /// The offset.
        offset: f64,
        /// Whether it is subtracted.
        minus: bool,
    },
}

impl RangeLimit {
    fn value(&self) -> Option<&Expr> {
        match self {
            RangeLimit::Value(expr) => Some(expr),
            _ => None,
        }
    }
}

impl RangeOffsets {
    /// Its expressions.
    pub fn exprs(&self) -> impl Iterator<Item = &Expr> {
        let limits = self.start.iter().chain(&self.end);
        std::iter::once(&self.key).chain(limits.filter_map(RangeLimit::value))
    }

    /// Whether the key is a float, and the offsets are.
    pub fn is_of_floats(&self) -> bool {
        let float = |limit: &RangeLimit| matches!(limit, RangeLimit::Float { .. });
        self.key.data_type() == DataType::Float8 && self.start.iter().chain(&self.end).all(float)
    }
}

/// A window function and what it is applied to.
#[derive(Clone, Debug)]
pub struct WindowCall {
    /// Which.
    pub function: WindowFunction,
    /// The argument; `None` for ranks and `count(*)`.
    pub argument: Option<Expr>,
    /// For `lag` and `lead`: the value where there is no such row; `None`: NULL. As the argument's type.
    pub default: Option<Expr>,
    /// FILTER (WHERE ...), of aggregates.
    pub filter: Option<Expr>,
}

/// The window functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowFunction {
    /// `row_number`: Int8.
    RowNumber,
    /// `rank`: Int8.
    Rank,
    /// `dense_rank`: Int8.
    DenseRank,
    /// `percent_rank`: Float8.
    PercentRank,
    /// `cume_dist`: Float8.
    CumeDist,
    /// `ntile` with so many buckets, at least one: Int4.
    Ntile(i32),
    /// The argument so many rows later in the partition: `lead`, and `lag` with a negative number.
    Offset(i64),
    /// `first_value`.
    First,
    /// `last_value`.
    Last,
    /// `nth_value`, counted from 1.
    Nth(u64),
    /// An aggregate of the frame's rows.
    Aggregate(AggregateFunction),
}

impl WindowFunction {
    /// The types of the output columns for an argument type.
    pub fn output_types(self, argument: Option<DataType>) -> Vec<DataType> {
        use WindowFunction::*;
        match self {
            RowNumber | Rank | DenseRank => vec![DataType::Int8],
            PercentRank | CumeDist => vec![DataType::Float8],
            Ntile(_) => vec![DataType::Int4],
            Offset(_) | First | Last | Nth(_) => vec![argument.unwrap_or(DataType::Int8)],
            Aggregate(function) => function.output_types(argument),
        }
    }
}

impl WindowCall {
    /// A call of one argument, or none.
    pub fn new(function: WindowFunction, argument: Option<Expr>) -> Self {
        Self {
            function,
            argument,
            default: None,
            filter: None,
        }
    }

    /// The types of the output columns.
    pub fn output_types(&self) -> Vec<DataType> {
        self.function
            .output_types(self.argument.as_ref().map(Expr::data_type))
    }

    /// Everything that is evaluated for each row.
    pub fn exprs(&self) -> impl Iterator<Item = &Expr> {
        self.argument
            .iter()
            .chain(&self.default)
            .chain(&self.filter)
    }
}
