// SPDX-License-Identifier: Apache-2.0
use std::cmp::Ordering;
use std::sync::Arc;

use doris_storage::vector::{Values, Vector};

use crate::batch::Batch;
use crate::decimal::numeric_accumulator::NumericAccumulator;
use crate::decimal::{Number, View};
use crate::error::Error;
use crate::exec::{Executor, Options};
use crate::expr::{ArithOp, Expr};
use crate::memory::MemoryBudget;
use crate::plan::{
    AggregateFunction, Bound, Collected, Exclude, Frame, FrameUnit, Node, RangeLimit, RangeOffsets,
    SortKey, Window, WindowCall, WindowFunction,
};
use crate::source::MemorySource;
use crate::testing::{canonical, random_batches, rows_of, run, ways, Rng, Row};
use crate::types::{DataType, Scalar};

/// Columns: partition, order, a number that tells rows apart, and arguments.
const PARTITION: usize = 0;
const ORDER: usize = 1;
const ID: usize = 2;
const INT: usize = 3;
const FLOAT: usize = 4;
const DECIMAL: usize = 5;
const TEXT: usize = 6;
const FLAG: usize = 7;
const REAL: usize = 8;
const ANY: usize = 9;

const TYPES: [DataType; 10] = [
    DataType::Int4,
    DataType::Int4,
    DataType::Int8,
    DataType::Int4,
    DataType::Float8,
    DataType::Numeric {
        precision: 30,
        scale: 2,
    },
    DataType::TEXT_C,
    DataType::Bool,
    DataType::Float4,
    DataType::Decimal,
];

fn table(seed: u64, rows: usize, partitions: u64) -> Vec<Batch> {
    let specs = [
        (TYPES[0], partitions, true),
        (TYPES[1], 9, true),
        (TYPES[2], 2, false),
        (TYPES[3], 50, true),
        (TYPES[4], 60, true),
        (TYPES[5], 40, true),
        (TYPES[6], 12, true),
        (TYPES[7], 2, true),
        (TYPES[8], 30, true),
        (TYPES[9], 14, true),
    ];
    let mut batches = random_batches(&mut Rng::new(seed), &specs, rows, 90);
    let mut next = 0i64;
    for batch in &mut batches {
        let ids = (next..next + batch.rows as i64).collect();
        next += batch.rows as i64;
        batch.columns[ID] = Arc::new(Vector {
            values: Values::I64(ids),
            validity: None,
        });
    }
    batches
}

fn column(at: usize) -> Expr {
    Expr::column(at, TYPES[at])
}

fn call(function: WindowFunction, argument: usize) -> WindowCall {
    WindowCall::new(function, Some(column(argument)))
}

fn aggregate(function: AggregateFunction, argument: usize) -> WindowCall {
    call(WindowFunction::Aggregate(function), argument)
}

fn plan(frame: Frame, calls: Vec<WindowCall>) -> Node {
    let scan = Node::scan(0, 0, (0..TYPES.len()).collect(), TYPES.to_vec(), vec![]);
    let key = |at: usize| SortKey {
        expr: column(at),
        descending: false,
        nulls_first: false,
    };
    let sorted = Node::sort(1, scan, vec![key(PARTITION), key(ORDER), key(ID)]);
    let window = Window {
        input: Box::new(sorted),
        partition: vec![column(PARTITION)],
        order: vec![column(ORDER)],
        frame,
        range: range_of(&frame).map(Box::new),
        calls,
    };
    super::check(&window).unwrap();
    Node::window(2, window)
}

/// The ends of a frame of RANGE with offsets.
fn range_of(frame: &Frame) -> Option<RangeOffsets> {
    let key = || Expr::to_numeric(column(ORDER)).unwrap();
    let limit = |bound| -> Option<RangeLimit> {
        let (op, n) = match bound {
            Bound::Preceding(n) => (ArithOp::Sub, n),
            Bound::Following(n) => (ArithOp::Add, n),
            _ => return None,
        };
        let offset = Expr::numeric(n.into(), 0).unwrap();
        let limit = Expr::arith_checked(op, key(), offset).unwrap();
        Some(RangeLimit::Value(limit))
    };
    (frame.unit == FrameUnit::Range).then(|| RangeOffsets {
        key: key(),
        start: limit(frame.start),
        end: limit(frame.end),
        descending: false,
        nulls_first: false,
    })
}

fn number(cell: &Option<Scalar>) -> Option<i128> {
    cell.as_ref().and_then(Scalar::as_i128)
}

/// The rows of the frame of row `i`, by the definition: each row of the partition is asked.
fn frame_of(frame: &Frame, rows: &[Row], groups: &[i64], i: usize) -> Vec<usize> {
    let place = |j: usize| match frame.unit {
        FrameUnit::Rows => j as i64,
        FrameUnit::Range | FrameUnit::Groups => groups[j],
    };
    let by_value = frame.unit == FrameUnit::Range;
    // By offsets, NULLs are as far from each other as anyone asks, and come last.
    let difference = |j: usize| match (number(&rows[j][ORDER]), number(&rows[i][ORDER])) {
        (Some(a), Some(b)) => Some(a - b),
        (None, None) => None,
        (None, Some(_)) => Some(i128::MAX),
        (Some(_), None) => Some(i128::MIN),
    };
    let after = |bound: Bound, j: usize| {
        let distance = match bound {
            Bound::Preceding(_) | Bound::Following(_) if by_value => difference(j),
            _ => Some(i128::from(place(j) - place(i))),
        };
        let Some(distance) = distance else {
            return Ordering::Equal;
        };
        match bound {
            Bound::UnboundedPreceding => Ordering::Greater,
            Bound::Preceding(n) => distance.cmp(&-i128::from(n)),
            Bound::CurrentRow => distance.cmp(&0),
            Bound::Following(n) => distance.cmp(&n.into()),
            Bound::UnboundedFollowing => Ordering::Less,
        }
    };
    let inside = |&j: &usize| {
        rows[j][PARTITION] == rows[i][PARTITION]
            && after(frame.start, j) != Ordering::Less
            && after(frame.end, j) != Ordering::Greater
            && match frame.exclude {
                Exclude::Nothing => true,
                Exclude::CurrentRow => j != i,
                Exclude::Group => groups[j] != groups[i],
                Exclude::Ties => j == i || groups[j] != groups[i],
            }
    };
    (0..rows.len()).filter(inside).collect()
}

/// The model's results of a call over one row's frame.
fn result_of(call: &WindowCall, rows: &[Row], frame: &[usize]) -> Vec<Option<Scalar>> {
    use AggregateFunction::*;
    let at = call.argument.as_ref().map_or(ID, |a| a.columns()[0]);
    let passes = |row: &Row| call.filter.is_none() || matches!(row[FLAG], Some(Scalar::Bool(true)));
    let values: Vec<&Scalar> = frame
        .iter()
        .filter(|j| passes(&rows[**j]))
        .filter_map(|j| rows[*j][at].as_ref())
        .collect();
    let sum = || values.iter().map(|v| v.as_i128().unwrap()).sum::<i128>();
    let floats = || values.iter().map(|v| float(v));
    let folded = || floats().reduce(|a, b| a + b);
    let function = match call.function {
        WindowFunction::First => return vec![frame.first().and_then(|j| rows[*j][at].clone())],
        WindowFunction::Last => return vec![frame.last().and_then(|j| rows[*j][at].clone())],
        WindowFunction::Nth(n) => {
            let found = frame.get(n as usize - 1);
            return vec![found.and_then(|j| rows[*j][at].clone())];
        }
        WindowFunction::Aggregate(function) => function,
        other => panic!("{other:?} is modelled elsewhere"),
    };
    let none = values.is_empty();
    if matches!(function, Collect { .. }) {
        let texts = values.iter().map(|value| match value {
            Scalar::Bytes(bytes) => bytes.to_vec(),
            other => panic!("{other:?} is no text"),
        });
        let joined = texts.collect::<Vec<_>>().join(&b'+');
        return vec![(!none).then(|| Scalar::bytes(joined))];
    }
    if at == ANY && matches!(function, Min | Max) {
        let number = |value: &Scalar| match value {
            Scalar::Bytes(bytes) => bytes.to_vec(),
            other => panic!("{other:?} is no numeric"),
        };
        let wanted = if function == Min {
            Ordering::Less
        } else {
            Ordering::Greater
        };
        let beats = |kept: &Scalar, new: &Scalar| {
            let (kept, new) = (number(kept), number(new));
            View::new(&kept).compare(&View::new(&new)) == wanted
        };
        let best = values
            .into_iter()
            .reduce(|kept, new| if beats(kept, new) { kept } else { new });
        return vec![best.cloned()];
    }
    if at == ANY || matches!(function, VarPop | StddevSamp) {
        let mut accumulator = NumericAccumulator::default();
        for value in &values {
            let number = match value {
                Scalar::Bytes(bytes) => View::new(bytes).number(),
                other => Number::Small {
                    value: other.as_i128().unwrap(),
                    scale: 0,
                },
            };
            accumulator.add(&number, true).unwrap();
        }
        let bytes = |number: Option<Number>| number.map(|n| Scalar::bytes(n.to_bytes().unwrap()));
        let count = Some(Scalar::I64(accumulator.count()));
        return match function {
            Sum => vec![bytes(accumulator.sum())],
            Avg => vec![bytes(accumulator.sum()), count],
            function => vec![bytes(accumulator.deviation(function).unwrap())],
        };
    }
    match function {
        CountStar => {
            let count = frame.iter().filter(|j| passes(&rows[**j])).count();
            vec![Some(Scalar::I64(count as i64))]
        }
        Count => vec![Some(Scalar::I64(values.len() as i64))],
        Sum if at == FLOAT => vec![folded().map(Scalar::F64)],
        Sum if at == REAL => {
            let sum = values.iter().map(|v| float(v) as f32).reduce(|a, b| a + b);
            vec![sum.map(Scalar::F32)]
        }
        // PostgreSQL's average starts from 0.0.
        Avg if at == FLOAT => {
            let sum = floats().fold(0.0, |a, b| a + b);
            vec![(!none).then(|| Scalar::F64(sum / values.len() as f64))]
        }
        Sum if at == INT => vec![(!none).then(|| Scalar::I64(sum() as i64))],
        Sum => vec![(!none).then(|| Scalar::I128(sum()))],
        Avg => vec![
            (!none).then(|| Scalar::I128(sum())),
            Some(Scalar::I64(values.len() as i64)),
        ],
        BitAnd | BitOr | BitXor => {
            let fold = |a: i128, b: i128| match function {
                BitAnd => a & b,
                BitOr => a | b,
                _ => a ^ b,
            };
            let bits = values.iter().map(|v| v.as_i128().unwrap()).reduce(fold);
            vec![bits.map(|bits| Scalar::I32(bits as i32))]
        }
        BoolAnd => vec![(!none).then(|| {
            let all = values.iter().all(|v| **v == Scalar::Bool(true));
            Scalar::Bool(all)
        })],
        BoolOr => vec![(!none).then(|| {
            let any = values.iter().any(|v| **v == Scalar::Bool(true));
            Scalar::Bool(any)
        })],
        Min | Max => {
            let wanted = if function == Min {
                Ordering::Less
            } else {
                Ordering::Greater
            };
            let best = values
                .into_iter()
                .reduce(|kept, new| match compare(kept, new) == wanted {
                    true => kept,
                    false => new,
                });
            vec![best.cloned()]
        }
        other => panic!("{other:?} is not modelled"),
    }
}

fn float(value: &Scalar) -> f64 {
    match value {
        Scalar::F64(x) => *x,
        Scalar::F32(x) => f64::from(*x),
        other => other.as_i128().unwrap() as f64,
    }
}

fn compare(a: &Scalar, b: &Scalar) -> Ordering {
    match (a, b) {
        (Scalar::Bytes(a), Scalar::Bytes(b)) => a.cmp(b),
        (Scalar::F64(x), Scalar::F64(y)) if x.is_nan() || y.is_nan() => x.is_nan().cmp(&y.is_nan()),
        _ => float(a).partial_cmp(&float(b)).unwrap(),
    }
}

/// The model's rows in the window's order, and each row's group number, over all partitions.
fn sorted(table: &[Batch]) -> (Vec<Row>, Vec<i64>) {
    let mut rows = rows_of(table);
    let key = |row: &Row| {
        let of = |at: usize| (row[at].is_none(), number(&row[at]));
        (of(PARTITION), of(ORDER), of(ID))
    };
    rows.sort_by_key(key);
    let mut groups = Vec::new();
    let mut group = 0;
    for (i, row) in rows.iter().enumerate() {
        let same = |at: usize| i > 0 && rows[i - 1][at] == row[at];
        group += i64::from(!(same(PARTITION) && same(ORDER)));
        groups.push(group);
    }
    (rows, groups)
}

/// Cells as text, so that NaN equals itself and -0.0 does not equal 0.0.
fn shown(rows: &[Row]) -> Vec<String> {
    rows.iter().map(|row| format!("{row:?}")).collect()
}

fn check(table: &[Batch], plan: &Node, expected: &[Row]) {
    for (way, options) in ways() {
        let found = match run(plan, &[table.to_vec()], options) {
            // A partition must fit into memory.
            Err(Error::OutOfMemory) if way.starts_with("spilling") => continue,
            found => rows_of(&found.unwrap()),
        };
        let (found, expected) = (shown(&found), shown(expected));
        assert_eq!(found.len(), expected.len(), "{way}");
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "{way}");
        }
    }
}

fn check_frame(seed: u64, frame: Frame) {
    use AggregateFunction::*;
    let mut filtered = aggregate(Sum, INT);
    filtered.filter = Some(column(FLAG));
    let mut counted = WindowCall::new(WindowFunction::Aggregate(CountStar), None);
    counted.filter = Some(column(FLAG));
    let fields = vec![column(TEXT), Expr::text("+", DataType::TEXT_C)];
    let collect = Collect {
        result: Collected::Text(DataType::TEXT_C),
        distinct: false,
    };
    let item = Some(Expr::item(vec![], fields).unwrap());
    let mut collected = WindowCall::new(WindowFunction::Aggregate(collect), item);
    let calls = vec![
        collected.clone(),
        {
            collected.filter = Some(column(FLAG));
            collected
        },
        aggregate(Sum, INT),
        aggregate(Sum, DECIMAL),
        aggregate(Sum, FLOAT),
        aggregate(Sum, REAL),
        aggregate(Avg, FLOAT),
        aggregate(Avg, INT),
        aggregate(Count, TEXT),
        aggregate(Min, FLOAT),
        aggregate(Max, FLOAT),
        aggregate(Min, TEXT),
        aggregate(Max, DECIMAL),
        aggregate(Sum, ANY),
        aggregate(Avg, ANY),
        aggregate(Min, ANY),
        aggregate(Max, ANY),
        aggregate(StddevSamp, ANY),
        aggregate(VarPop, INT),
        aggregate(BoolAnd, FLAG),
        aggregate(BoolOr, FLAG),
        aggregate(BitAnd, INT),
        aggregate(BitOr, INT),
        aggregate(BitXor, INT),
        filtered,
        counted,
        call(WindowFunction::First, INT),
        call(WindowFunction::Last, TEXT),
        call(WindowFunction::Nth(3), ID),
    ];
    let table = table(seed, 260, 6);
    let (rows, groups) = sorted(&table);
    let mut expected = rows.clone();
    for (i, out) in expected.iter_mut().enumerate() {
        let frame = frame_of(&frame, &rows, &groups, i);
        for call in &calls {
            out.extend(result_of(call, &rows, &frame));
        }
    }
    check(&table, &plan(frame, calls), &expected);
}

#[test]
fn frames_hold_the_rows_of_their_definition() {
    use Bound::*;
    let bounds = [
        (UnboundedPreceding, CurrentRow),
        (UnboundedPreceding, UnboundedFollowing),
        (CurrentRow, UnboundedFollowing),
        (CurrentRow, CurrentRow),
        (Preceding(2), Following(1)),
        (Preceding(4), Preceding(2)),
        (Following(1), Following(3)),
        (Following(3), Following(1)),
        (UnboundedPreceding, Preceding(1)),
        (Preceding(u64::MAX >> 1), Following(u64::MAX >> 1)),
    ];
    let mut seed = 0;
    for unit in [FrameUnit::Rows, FrameUnit::Groups, FrameUnit::Range] {
        for (start, end) in bounds {
            for exclude in [
                Exclude::Nothing,
                Exclude::CurrentRow,
                Exclude::Group,
                Exclude::Ties,
            ] {
                seed += 1;
                check_frame(
                    seed,
                    Frame {
                        unit,
                        start,
                        end,
                        exclude,
                    },
                );
            }
        }
    }
}

#[test]
fn ranks_count_rows_and_peers() {
    use WindowFunction::*;
    let table = table(77, 700, 40);
    let (rows, groups) = sorted(&table);
    let functions = [RowNumber, Rank, DenseRank, PercentRank, CumeDist, Ntile(4)];
    let calls = functions.map(|f| WindowCall::new(f, None)).to_vec();
    let mut expected = rows.clone();
    for (i, out) in expected.iter_mut().enumerate() {
        let all: Vec<usize> = (0..rows.len())
            .filter(|j| rows[*j][PARTITION] == rows[i][PARTITION])
            .collect();
        let before: Vec<&usize> = all.iter().filter(|j| groups[**j] < groups[i]).collect();
        let mut earlier: Vec<i64> = before.iter().map(|j| groups[**j]).collect();
        earlier.dedup();
        let through = all.iter().filter(|j| groups[**j] <= groups[i]).count();
        let (n, place) = (all.len(), i - all[0]);
        let percent = match n {
            1 => 0.0,
            _ => before.len() as f64 / (n - 1) as f64,
        };
        // The first n % 4 buckets have a row more.
        let sizes = (0..4).map(|bucket| n / 4 + usize::from(bucket < n % 4));
        let mut upto = 0;
        let ends: Vec<usize> = sizes
            .map(|size| {
                upto += size;
                upto
            })
            .collect();
        let bucket = ends.iter().position(|end| place < *end).unwrap();
        out.extend([
            Some(Scalar::I64(place as i64 + 1)),
            Some(Scalar::I64(before.len() as i64 + 1)),
            Some(Scalar::I64(earlier.len() as i64 + 1)),
            Some(Scalar::F64(percent)),
            Some(Scalar::F64(through as f64 / n as f64)),
            Some(Scalar::I32(bucket as i32 + 1)),
        ]);
    }
    check(&table, &plan(Frame::DEFAULT, calls), &expected);
}

#[test]
fn lag_and_lead_stay_in_their_partition() {
    let table = table(5, 300, 12);
    let (rows, _) = sorted(&table);
    let offsets = [-1, 1, 0, -7, 3, i64::MAX, i64::MIN];
    let mut calls: Vec<WindowCall> = offsets
        .iter()
        .map(|offset| call(WindowFunction::Offset(*offset), TEXT))
        .collect();
    let mut defaulted = call(WindowFunction::Offset(2), INT);
    defaulted.default = Some(column(ORDER));
    calls.push(defaulted);
    let mut expected = rows.clone();
    for (i, out) in expected.iter_mut().enumerate() {
        let other = |offset: i64| {
            let at = usize::try_from((i as i64).checked_add(offset)?).ok()?;
            let row = rows.get(at)?;
            (row[PARTITION] == rows[i][PARTITION]).then_some(row)
        };
        for offset in offsets {
            out.push(other(offset).and_then(|row| row[TEXT].clone()));
        }
        out.push(match other(2) {
            Some(row) => row[INT].clone(),
            None => rows[i][ORDER].clone(),
        });
    }
    check(&table, &plan(Frame::DEFAULT, calls), &expected);
}

#[test]
fn no_rows_give_no_rows() {
    let calls = vec![aggregate(AggregateFunction::Sum, INT)];
    for (_, options) in ways() {
        let found = run(&plan(Frame::DEFAULT, calls.clone()), &[vec![]], options).unwrap();
        assert!(canonical(&rows_of(&found)).is_empty());
    }
}

#[test]
fn errors_are_left_to_postgres_before_the_first_row() {
    let table = table(9, 200, 5);
    let divided = Expr::arith(
        crate::expr::ArithOp::Div,
        Expr::int4(10),
        Expr::arith(crate::expr::ArithOp::Sub, column(INT), column(INT)).unwrap(),
    );
    let sum = WindowFunction::Aggregate(AggregateFunction::Sum);
    let calls = vec![WindowCall::new(sum, Some(divided.unwrap()))];
    for (way, options) in ways() {
        if way.starts_with("spilling") {
            continue;
        }
        let error = run(
            &plan(Frame::DEFAULT, calls.clone()),
            std::slice::from_ref(&table),
            options,
        );
        assert!(error.unwrap_err().needs_postgres(), "{way}");
    }
}

#[test]
fn too_little_memory_is_said_before_the_first_row() {
    let table = table(3, 20_000, 50);
    let plan = plan(Frame::DEFAULT, vec![aggregate(AggregateFunction::Sum, INT)]);
    let (mut refused, mut passed) = (0, 0);
    for step in 1..40 {
        let options = Options {
            budget: MemoryBudget::new(step << 18),
            ..Options::default()
        };
        let source = Box::new(MemorySource::new(table.clone()));
        let mut executor = Executor::new(plan.clone(), vec![source], options);
        let mut rows = match executor.next_batch() {
            Err(error) => {
                assert_eq!(error, Error::OutOfMemory);
                refused += 1;
                continue;
            }
            Ok(batch) => batch.unwrap().rows,
        };
        while let Some(batch) = executor.next_batch().unwrap() {
            rows += batch.rows;
        }
        assert_eq!(rows, 20_000);
        passed += 1;
    }
    assert!(
        refused > 3 && passed > 3,
        "{refused} refused, {passed} passed"
    );
}

#[test]
fn what_frames_collect_counts_until_it_went_out() {
    let table = table(4, 4_000, 40);
    let fields = vec![column(TEXT), Expr::text("+", DataType::TEXT_C)];
    let collect = AggregateFunction::Collect {
        result: Collected::Text(DataType::TEXT_C),
        distinct: false,
    };
    let item = Some(Expr::item(vec![], fields).unwrap());
    let collected = WindowCall::new(WindowFunction::Aggregate(collect), item);
    let plan = plan(Frame::DEFAULT, vec![collected]);
    let (mut refused, mut passed) = (0, 0);
    for step in 1..40 {
        let budget = MemoryBudget::new(step << 19);
        let options = Options {
            budget: Arc::clone(&budget),
            ..Options::default()
        };
        let source = Box::new(MemorySource::new(table.clone()));
        let mut executor = Executor::new(plan.clone(), vec![source], options);
        let mut bytes = 0;
        let mut next = executor.next_batch();
        if let Err(error) = next {
            assert_eq!(error, Error::OutOfMemory);
            refused += 1;
            continue;
        }
        while let Some(batch) = next.unwrap() {
            let result = &batch.columns[TYPES.len()];
            bytes += (0..batch.rows)
                .filter_map(|row| result.bytes(row))
                .map(<[u8]>::len)
                .sum::<usize>();
            next = executor.next_batch();
        }
        assert!(bytes > 1 << 20 && bytes <= step << 19, "{bytes} of {step}");
        passed += 1;
    }
    assert!(
        refused > 3 && passed > 3,
        "{refused} refused, {passed} passed"
    );
}

#[test]
fn what_is_not_computed_here_is_said() {
    let refused = [
        aggregate(AggregateFunction::VarPop, TEXT),
        aggregate(AggregateFunction::Min, FLAG),
        aggregate(AggregateFunction::Sum, TEXT),
    ];
    for call in refused {
        let window = Window {
            input: Box::new(Node::scan(
                0,
                0,
                vec![],
                TYPES.to_vec()[..0].to_vec(),
                vec![],
            )),
            partition: vec![],
            order: vec![],
            frame: Frame::DEFAULT,
            range: None,
            calls: vec![call],
        };
        assert!(super::check(&window).unwrap_err().needs_postgres());
    }
}

/// The frames of one partition in order of a column, by their number of rows.
fn range_counts(
    values: Values,
    data_type: DataType,
    start: RangeLimit,
    end: RangeLimit,
) -> Vec<i64> {
    let column = Vector {
        values,
        validity: None,
    };
    let rows = column.len();
    let table = vec![Batch::new(vec![Arc::new(column)], rows)];
    let key = Expr::column(0, data_type);
    let scan = Node::scan(0, 0, vec![0], vec![data_type], vec![]);
    let window = Window {
        input: Box::new(scan),
        partition: vec![],
        order: vec![key.clone()],
        frame: Frame {
            unit: FrameUnit::Range,
            start: Bound::Preceding(0),
            end: Bound::Following(0),
            exclude: Exclude::Nothing,
        },
        range: Some(Box::new(RangeOffsets {
            key,
            start: Some(start),
            end: Some(end),
            descending: false,
            nulls_first: false,
        })),
        calls: vec![WindowCall::new(
            WindowFunction::Aggregate(AggregateFunction::CountStar),
            None,
        )],
    };
    super::check(&window).unwrap();
    let found = run(&Node::window(2, window), &[table], Options::default()).unwrap();
    let counts = rows_of(&found).into_iter().map(|row| match row[1] {
        Some(Scalar::I64(n)) => n,
        _ => panic!("no count"),
    });
    counts.collect()
}

#[test]
fn ranges_over_floats_and_times_follow_their_values() {
    let inf = f64::INFINITY;
    let values = || Values::F64(vec![-inf, -1.5, -0.0, 0.0, 0.25, 7.0, inf, f64::NAN]);
    let counts = |offset| {
        let limit = |minus| RangeLimit::Float { offset, minus };
        range_counts(values(), DataType::Float8, limit(true), limit(false))
    };
    assert_eq!(counts(0.0), [1, 1, 2, 2, 1, 1, 1, 1]);
    assert_eq!(counts(1.5), [1, 3, 4, 4, 3, 1, 1, 1]);
    // Infinities that cancel each other out are no limit: NaN is behind infinity.
    assert_eq!(counts(inf), [7, 7, 7, 7, 7, 7, 7, 1]);
    let times = Values::I64(vec![0, 10, 25, 26]);
    let plus = |by| RangeLimit::Plus(by);
    let counts = range_counts(times, DataType::Time, plus(-15), plus(1));
    assert_eq!(counts, [1, 2, 3, 2]);
}
