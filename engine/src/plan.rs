// SPDX-License-Identifier: Apache-2.0
//! The physical plan: what the planner's side fills in and the executor runs.
//!
//! A plan is a tree of [`Node`]s. Every node has an id (for EXPLAIN's counters) and the types of its output
//! columns; expressions refer to the columns of the node's input by position. Joins see the probe side's
//! columns first and the build side's after them.

mod bind;
mod window;

pub use self::window::{
    Bound, Exclude, Frame, FrameUnit, RangeLimit, RangeOffsets, Window, WindowCall, WindowFunction,
};

use doris_storage::vector::Physical;

use crate::batch::Batch;
use crate::expr::Expr;
use crate::types::DataType;

/// An operator with its inputs.
#[derive(Clone, Debug)]
pub struct Node {
    /// Names the node in counters; unique within the plan.
    pub id: u32,
    /// The types of the output columns.
    pub types: Vec<DataType>,
    /// What it does.
    pub op: Op,
}

/// What a node does.
#[derive(Clone, Debug)]
pub enum Op {
    /// Reads a source.
    Scan(Scan),
    /// Keeps the rows for which the predicate is true.
    Filter {
        /// Where rows come from.
        input: Box<Node>,
        /// A boolean expression; NULL drops the row.
        predicate: Expr,
    },
    /// Computes columns.
    Project {
        /// Where rows come from.
        input: Box<Node>,
        /// One expression an output column.
        exprs: Vec<Expr>,
    },
    /// Joins by hash, or, without keys, every row with every row.
    Join(Join),
    /// Groups and aggregates.
    Aggregate(Aggregate),
    /// Sorts all rows.
    Sort {
        /// Where rows come from.
        input: Box<Node>,
        /// Major key first. Rows with equal keys come in no particular order.
        keys: Vec<SortKey>,
    },
    /// The rows `offset .. offset + limit` of the sorted input.
    TopN {
        /// Where rows come from.
        input: Box<Node>,
        /// Major key first.
        keys: Vec<SortKey>,
        /// Rows to return.
        limit: u64,
        /// Rows to leave out first.
        offset: u64,
    },
    /// The rows `offset .. offset + limit` of the input, in its order.
    Limit {
        /// Where rows come from.
        input: Box<Node>,
        /// Rows to return; `None`: all.
        limit: Option<u64>,
        /// Rows to leave out first.
        offset: u64,
    },
    /// Each different row once; NULLs are equal.
    Distinct {
        /// Where rows come from.
        input: Box<Node>,
    },
    /// The rows of every input, one input after the other.
    UnionAll {
        /// Where rows come from; all with the same types.
        inputs: Vec<Node>,
    },
    /// INTERSECT or EXCEPT; NULLs are equal. (UNION is `Distinct` over `UnionAll`.)
    SetOp {
        /// Which.
        kind: SetOpKind,
        /// Whether duplicates count (ALL).
        all: bool,
        /// The left input.
        left: Box<Node>,
        /// The right input.
        right: Box<Node>,
    },
    /// Window functions over sorted rows.
    Window(Window),
    /// Rows that are there already; with no columns and one row, a `SELECT` without FROM.
    Values {
        /// The rows.
        rows: Batch,
    },
}

/// A scan of a source, with the filters it applies first.
#[derive(Clone, Debug)]
pub struct Scan {
    /// Which source, by position in the executor's list.
    pub source: usize,
    /// The source's column behind each output column.
    pub columns: Vec<usize>,
    /// Boolean expressions over the output columns, applied in this order, a column decoded when first needed.
    pub filters: Vec<Expr>,
}

/// Which rows a join returns. The probe side streams; the build side is kept in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    /// Matching pairs.
    Inner,
    /// Matching pairs, and probe rows without a match.
    Left,
    /// Matching pairs, and build rows without a match.
    Right,
    /// Matching pairs, and both sides' rows without a match.
    Full,
    /// Probe rows with a match.
    Semi,
    /// Probe rows without a match (NOT EXISTS).
    Anti,
    /// Probe rows for which `key NOT IN (build)` is true: none once the build side has a NULL key. One key only;
    /// no residual.
    AntiNotIn,
    /// Build rows with a match.
    BuildSemi,
    /// Build rows without a match.
    BuildAnti,
}

impl JoinKind {
    /// Whether the output has the probe side's columns.
    pub fn has_probe_columns(self) -> bool {
        !matches!(self, JoinKind::BuildSemi | JoinKind::BuildAnti)
    }

    /// Whether the output has the build side's columns.
    pub fn has_build_columns(self) -> bool {
        !matches!(self, JoinKind::Semi | JoinKind::Anti | JoinKind::AntiNotIn)
    }

    /// Whether probe rows without a match come out.
    pub fn keeps_probe(self) -> bool {
        matches!(
            self,
            JoinKind::Left | JoinKind::Full | JoinKind::Anti | JoinKind::AntiNotIn
        )
    }
}

/// One equality of a join. Both sides have the same type (the planner casts) and `bpchar` is canonical.
#[derive(Clone, Debug)]
pub struct JoinKey {
    /// Over the probe side's columns.
    pub probe: Expr,
    /// Over the build side's columns.
    pub build: Expr,
    /// Whether NULL equals NULL (IS NOT DISTINCT FROM).
    pub null_safe: bool,
}

/// A join.
#[derive(Clone, Debug)]
pub struct Join {
    /// Which rows come out.
    pub kind: JoinKind,
    /// The side that streams.
    pub probe: Box<Node>,
    /// The side that is kept.
    pub build: Box<Node>,
    /// The equalities; none: every pair is a candidate.
    pub keys: Vec<JoinKey>,
    /// What a candidate pair must satisfy as well, over probe and build columns.
    pub residual: Option<Expr>,
    /// The output columns, as positions among probe and build columns.
    pub output: Vec<usize>,
}

impl Join {
    /// The same inner join with its sides exchanged.
    pub fn turned(&self) -> Join {
        let (probe, build) = (self.probe.types.len(), self.build.types.len());
        let turned = |column: usize| match column < probe {
            true => column + build,
            false => column - probe,
        };
        let key = |key: &JoinKey| JoinKey {
            probe: key.build.clone(),
            build: key.probe.clone(),
            null_safe: key.null_safe,
        };
        Join {
            kind: self.kind,
            probe: self.build.clone(),
            build: self.probe.clone(),
            keys: self.keys.iter().map(key).collect(),
            residual: self.residual.clone().map(|expr| expr.renumber(&turned)),
            output: self.output.iter().map(|&column| turned(column)).collect(),
        }
    }
}

/// A grouping column.
#[derive(Clone, Debug)]
pub struct GroupKey {
    /// Over the input's columns.
    pub expr: Expr,
    /// Whether it can be NULL; a wrong `false` is an internal error at run time.
    pub nullable: bool,
}

/// Grouping and aggregation. Output: the group columns, then the columns of each aggregate, then, with
/// grouping sets, the number of the set (Int4).
#[derive(Clone, Debug)]
pub struct Aggregate {
    /// Where rows come from.
    pub input: Box<Node>,
    /// The grouping columns; none: one group, which exists without any input row.
    pub keys: Vec<GroupKey>,
    /// The aggregates.
    pub calls: Vec<AggregateCall>,
    /// For GROUPING SETS: the positions in `keys` that take part in each set; the others come out NULL.
    pub grouping_sets: Option<Vec<Vec<usize>>>,
}

/// An aggregate function and what it is applied to.
#[derive(Clone, Debug)]
pub struct AggregateCall {
    /// Which.
    pub function: AggregateFunction,
    /// The argument; `None` for `count(*)` only.
    pub argument: Option<Expr>,
    /// Whether each different argument value counts once.
    pub distinct: bool,
    /// FILTER (WHERE ...), evaluated before the argument.
    pub filter: Option<Expr>,
}

impl AggregateCall {
    /// Whether a group's state may become large: it keeps its rows' values, or grows with them.
    pub fn grows(&self) -> bool {
        use AggregateFunction::*;
        let keeps = matches!(
            self.function,
            PercentileCont(_)
                | PercentileDisc(_)
                | Mode
                | PercentileContDesc(_)
                | PercentileDiscDesc(_)
                | ModeDesc
                | Collect { .. }
                | Union(_)
                | UnionCount(_)
        );
        keeps || self.distinct
    }

    /// Whether its result depends on which rows there are only, not on how often each is there.
    pub fn is_of_values(&self) -> bool {
        use AggregateFunction::*;
        let idempotent = matches!(
            self.function,
            Min | Max | BoolAnd | BoolOr | BitAnd | BitOr | ApproxDistinct(_)
        );
        self.distinct || idempotent
    }
}

/// The aggregate functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AggregateFunction {
    /// `count(*)`: Int8.
    CountStar,
    /// `count(x)`: Int8.
    Count,
    /// `sum`: Int8 of Int2 and Int4; exact Numeric of Int8 and Numeric; Float4 of Float4; Float8 of Float8.
    Sum,
    /// `avg`: Float8 of floats; of integers and numerics two columns, the exact sum and the Int8 count.
    Avg,
    /// `min`, of any type whose order is known here.
    Min,
    /// `max`, of any type whose order is known here.
    Max,
    /// `bool_and`.
    BoolAnd,
    /// `bool_or`.
    BoolOr,
    /// `bit_and` of integers.
    BitAnd,
    /// `bit_or` of integers.
    BitOr,
    /// `bit_xor` of integers.
    BitXor,
    /// `var_pop`: Float8 of floats, Decimal of integers and numerics.
    VarPop,
    /// `var_samp`; output as `VarPop`.
    VarSamp,
    /// `stddev_pop`; output as `VarPop`.
    StddevPop,
    /// `stddev_samp`; output as `VarPop`.
    StddevSamp,
    /// `corr`, `covar_pop` and their like, of pairs ([`Expr::pair`]): Float8.
    Regression(Regression),
    /// `percentile_cont` at a fraction (its bits) from 0 to 1, of Float8: Float8.
    PercentileCont(u64),
    /// `percentile_disc` at a fraction (its bits) from 0 to 1.
    PercentileDisc(u64),
    /// `mode`: the first of the most frequent values.
    Mode,
    /// `PercentileCont` over values that fall.
    PercentileContDesc(u64),
    /// `PercentileDisc` over values that fall.
    PercentileDiscDesc(u64),
    /// `Mode` over values that fall.
    ModeDesc,
    /// Some value of the group (the first one met, NULL included): for columns that the keys determine.
    Any,
    /// The value that all rows of the group have, of numerics that carry their scale; PostgreSQL is asked where some
    /// show another scale.
    Same,
    /// About how many different values there are (HyperLogLog), of integers and text: Int8.
    ApproxDistinct(ApproxHash),
    /// `string_agg` and `array_agg` of items ([`Expr::item`]); perhaps of those only whose keys differ.
    Collect {
        /// What is made of them.
        result: Collected,
        /// Whether items with equal keys count once.
        distinct: bool,
    },
    /// The union of stored sets or counts, in their stored form: of the argument's type.
    Union(Sketch),
    /// The number of members of such a union: Int8.
    UnionCount(Sketch),
}

/// What is computed of pairs `(y, x)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Regression {
    /// `regr_avgx`.
    AvgX,
    /// `regr_avgy`.
    AvgY,
    /// `regr_sxx`.
    Sxx,
    /// `regr_syy`.
    Syy,
    /// `regr_sxy`.
    Sxy,
    /// `covar_pop`.
    CovarPop,
    /// `covar_samp`.
    CovarSamp,
    /// `corr`.
    Corr,
    /// `regr_r2`.
    R2,
    /// `regr_slope`.
    Slope,
    /// `regr_intercept`.
    Intercept,
}

/// What collected values become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collected {
    /// One value of this type, of text or bytes: the first field of each item, the second before it unless it is the
    /// first of all. NULLs are left out.
    Text(DataType),
    /// An array of the first field, as PostgreSQL stores it.
    Array(Element),
}

/// An element of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    /// PostgreSQL's number of its type.
    pub type_oid: u32,
    /// Its bytes; -1: as many as its header says.
    pub width: i16,
    /// What its place is a multiple of.
    pub align: u8,
}

impl Collected {
    fn data_type(self) -> DataType {
        match self {
            Collected::Text(data_type) => data_type,
            Collected::Array(_) => DataType::Opaque {
                layout: Physical::Bytes,
            },
        }
    }
}

/// What is stored in a column whose values are united.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sketch {
    /// Sets of integers.
    Bitmap,
    /// HyperLogLog.
    Hll,
}

/// How an approximate distinct count hashes values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApproxHash {
    /// By the value, as `ndv` does.
    Value,
    /// By its text, as `hll_hash` does.
    Text,
}

impl AggregateFunction {
    /// The types of the output columns for an argument type.
    pub fn output_types(self, argument: Option<DataType>) -> Vec<DataType> {
        use AggregateFunction::*;
        let wide = |scale| DataType::Numeric {
            precision: 38,
            scale,
        };
        let argument = argument.unwrap_or(DataType::Int8);
        let sum = match argument {
            DataType::Int2 | DataType::Int4 => DataType::Int8,
            DataType::Numeric { scale, .. } => wide(scale),
            DataType::Int8 => wide(0),
            other => other,
        };
        let exact = match argument {
            DataType::Numeric { scale, .. } => Some(scale),
            DataType::Int2 | DataType::Int4 | DataType::Int8 => Some(0),
            _ => None,
        };
        match (self, exact) {
            (CountStar | Count | ApproxDistinct(_) | UnionCount(_), _) => vec![DataType::Int8],
            (Sum, _) => vec![sum],
            (Avg, None) if argument == DataType::Decimal => vec![argument, DataType::Int8],
            (Avg, None) if argument == DataType::Interval => vec![argument],
            (Avg, Some(scale)) => vec![wide(scale), DataType::Int8],
            (Avg, None) => vec![DataType::Float8],
            (VarPop | VarSamp | StddevPop | StddevSamp, Some(_)) => vec![DataType::Decimal],
            (VarPop | VarSamp | StddevPop | StddevSamp, None) if argument == DataType::Decimal => {
                vec![argument]
            }
            (VarPop | VarSamp | StddevPop | StddevSamp, None) => vec![DataType::Float8],
            (Regression(_), _) => vec![DataType::Float8],
            (BoolAnd | BoolOr, _) => vec![DataType::Bool],
            (Collect { result, .. }, _) => vec![result.data_type()],
            (PercentileCont(_) | PercentileDisc(_) | Mode, _) => vec![argument],
            (PercentileContDesc(_) | PercentileDiscDesc(_) | ModeDesc, _) => vec![argument],
            (Min | Max | BitAnd | BitOr | BitXor | Any | Same | Union(_), _) => vec![argument],
        }
    }
}

/// One sort key.
#[derive(Clone, Debug)]
pub struct SortKey {
    /// Over the input's columns; its type has an order that is known here.
    pub expr: Expr,
    /// Largest first.
    pub descending: bool,
    /// NULLs before everything else.
    pub nulls_first: bool,
}

/// Set operations other than UNION.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetOpKind {
    /// Rows in both.
    Intersect,
    /// Rows of the left not in the right.
    Except,
}

impl Node {
    /// A scan of columns `columns` of source `source`.
    pub fn scan(
        id: u32,
        source: usize,
        columns: Vec<usize>,
        types: Vec<DataType>,
        filters: Vec<Expr>,
    ) -> Node {
        debug_assert_eq!(columns.len(), types.len());
        Node {
            id,
            types,
            op: Op::Scan(Scan {
                source,
                columns,
                filters,
            }),
        }
    }

    /// A filter.
    pub fn filter(id: u32, input: Node, predicate: Expr) -> Node {
        Node {
            id,
            types: input.types.clone(),
            op: Op::Filter {
                input: Box::new(input),
                predicate,
            },
        }
    }

    /// A projection.
    pub fn project(id: u32, input: Node, exprs: Vec<Expr>) -> Node {
        let types = exprs.iter().map(Expr::data_type).collect();
        Node {
            id,
            types,
            op: Op::Project {
                input: Box::new(input),
                exprs,
            },
        }
    }

    /// A join; its types follow from `join.output`.
    pub fn join(id: u32, join: Join) -> Node {
        let width = join.probe.types.len();
        let side = |&i: &usize| {
            if i < width {
                join.probe.types[i]
            } else {
                join.build.types[i - width]
            }
        };
        Node {
            id,
            types: join.output.iter().map(side).collect(),
            op: Op::Join(join),
        }
    }

    /// An aggregation.
    pub fn aggregate(id: u32, aggregate: Aggregate) -> Node {
        let mut types: Vec<DataType> = aggregate
            .keys
            .iter()
            .map(|key| key.expr.data_type())
            .collect();
        for call in &aggregate.calls {
            types.extend(
                call.function
                    .output_types(call.argument.as_ref().map(Expr::data_type)),
            );
        }
        if aggregate.grouping_sets.is_some() {
            types.push(DataType::Int4);
        }
        Node {
            id,
            types,
            op: Op::Aggregate(aggregate),
        }
    }

    /// A sort.
    pub fn sort(id: u32, input: Node, keys: Vec<SortKey>) -> Node {
        Node {
            id,
            types: input.types.clone(),
            op: Op::Sort {
                input: Box::new(input),
                keys,
            },
        }
    }

    /// A sort of which only some first rows are wanted.
    pub fn top_n(id: u32, input: Node, keys: Vec<SortKey>, limit: u64, offset: u64) -> Node {
        Node {
            id,
            types: input.types.clone(),
            op: Op::TopN {
                input: Box::new(input),
                keys,
                limit,
                offset,
            },
        }
    }

    /// LIMIT and OFFSET.
    pub fn limit(id: u32, input: Node, limit: Option<u64>, offset: u64) -> Node {
        Node {
            id,
            types: input.types.clone(),
            op: Op::Limit {
                input: Box::new(input),
                limit,
                offset,
            },
        }
    }

    /// SELECT DISTINCT.
    pub fn distinct(id: u32, input: Node) -> Node {
        Node {
            id,
            types: input.types.clone(),
            op: Op::Distinct {
                input: Box::new(input),
            },
        }
    }

    /// UNION ALL of at least one input.
    pub fn union_all(id: u32, inputs: Vec<Node>) -> Node {
        Node {
            id,
            types: inputs[0].types.clone(),
            op: Op::UnionAll { inputs },
        }
    }

    /// INTERSECT or EXCEPT, with ALL or without.
    pub fn set_op(id: u32, kind: SetOpKind, all: bool, left: Node, right: Node) -> Node {
        let types = left.types.clone();
        Node {
            id,
            types,
            op: Op::SetOp {
                kind,
                all,
                left: Box::new(left),
                right: Box::new(right),
            },
        }
    }

    /// Window functions; the types follow from the input's and the calls.
    pub fn window(id: u32, window: Window) -> Node {
        let mut types = window.input.types.clone();
        let results = window.calls.iter().flat_map(WindowCall::output_types);
        types.extend(results);
        Node {
            id,
            types,
            op: Op::Window(window),
        }
    }

    /// Rows that are there already.
    pub fn values(id: u32, types: Vec<DataType>, rows: Batch) -> Node {
        Node {
            id,
            types,
            op: Op::Values { rows },
        }
    }

    /// The inputs, in execution order of their columns.
    pub fn inputs(&self) -> Vec<&Node> {
        match &self.op {
            Op::Scan(_) | Op::Values { .. } => Vec::new(),
            Op::Filter { input, .. }
            | Op::Project { input, .. }
            | Op::Sort { input, .. }
            | Op::TopN { input, .. }
            | Op::Limit { input, .. }
            | Op::Distinct { input } => vec![input],
            Op::Aggregate(aggregate) => vec![&aggregate.input],
            Op::Window(window) => vec![&window.input],
            Op::Join(join) => vec![&join.probe, &join.build],
            Op::SetOp { left, right, .. } => vec![left, right],
            Op::UnionAll { inputs } => inputs.iter().collect(),
        }
    }

    /// The largest node id in the tree.
    pub fn max_id(&self) -> u32 {
        self.inputs()
            .into_iter()
            .map(Node::max_id)
            .fold(self.id, u32::max)
    }
}
