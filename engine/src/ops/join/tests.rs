// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::batch::Batch;
use crate::exec::Options;
use crate::expr::{ArithOp, CompareOp};
use crate::plan::{JoinKey, Node, Op};
use crate::testing::{check, random_batches, rows_of, run, ColumnSpec, Rng, Row};
use crate::types::Scalar;

const KINDS: [JoinKind; 8] = [
    JoinKind::Inner,
    JoinKind::Left,
    JoinKind::Right,
    JoinKind::Full,
    JoinKind::Semi,
    JoinKind::Anti,
    JoinKind::BuildSemi,
    JoinKind::BuildAnti,
];

fn scan(id: u32, source: usize, specs: &[ColumnSpec]) -> Node {
    Node::scan(
        id,
        source,
        (0..specs.len()).collect(),
        specs.iter().map(|s| s.0).collect(),
        vec![],
    )
}

/// A join on `keys` (same column on both sides), with the condition that the probe's last column is less than
/// the build's.
fn plan(
    kind: JoinKind,
    specs: &[ColumnSpec],
    keys: &[usize],
    null_safe: bool,
    residual: bool,
) -> Node {
    let (n, last) = (specs.len(), specs.len() - 1);
    let key = |&k: &usize| {
        let column = Expr::column(k, specs[k].0);
        JoinKey {
            probe: column.clone(),
            build: column,
            null_safe,
        }
    };
    let (left, right) = (
        Expr::column(last, specs[last].0),
        Expr::column(n + last, specs[last].0),
    );
    let residual = residual.then(|| Expr::compare(CompareOp::Lt, left, right).unwrap());
    let from = if kind.has_probe_columns() { 0 } else { n };
    let to = if kind.has_build_columns() { 2 * n } else { n };
    Node::join(
        9,
        Join {
            kind,
            probe: Box::new(scan(0, 0, specs)),
            build: Box::new(scan(1, 1, specs)),
            keys: keys.iter().map(key).collect(),
            residual,
            output: (from..to).collect(),
        },
    )
}

/// The nested loop that the join must agree with.
fn model(
    kind: JoinKind,
    probe: &[Row],
    build: &[Row],
    matches: impl Fn(&Row, &Row) -> bool,
) -> Vec<Row> {
    let absent = |row: Option<&Row>| vec![None; row.map_or(0, Vec::len)];
    let joined = |a: &Row, b: &Row| a.iter().chain(b).cloned().collect::<Row>();
    let (no_probe, no_build) = (
        absent(build.first()),
        absent(probe.first().or(build.first())),
    );
    let mut out = Vec::new();
    let mut met_build = vec![false; build.len()];
    for p in probe {
        let partners: Vec<usize> = (0..build.len())
            .filter(|&b| matches(p, &build[b]))
            .collect();
        partners.iter().for_each(|&b| met_build[b] = true);
        match kind {
            JoinKind::Semi if !partners.is_empty() => out.push(p.clone()),
            JoinKind::Anti if partners.is_empty() => out.push(p.clone()),
            JoinKind::Inner | JoinKind::Left | JoinKind::Right | JoinKind::Full => {
                out.extend(partners.iter().map(|&b| joined(p, &build[b])));
                if partners.is_empty() && kind.keeps_probe() {
                    out.push(joined(p, &no_build));
                }
            }
            _ => {}
        }
    }
    for (b, met) in build.iter().zip(met_build) {
        match kind {
            JoinKind::Right | JoinKind::Full if !met => out.push(joined(&no_probe, b)),
            JoinKind::BuildSemi if met => out.push(b.clone()),
            JoinKind::BuildAnti if !met => out.push(b.clone()),
            _ => {}
        }
    }
    out
}

fn equal(a: &Option<Scalar>, b: &Option<Scalar>, null_safe: bool) -> bool {
    match (a, b) {
        (Some(Scalar::F64(x)), Some(Scalar::F64(y))) => x == y || x.is_nan() && y.is_nan(),
        (Some(x), Some(y)) => x == y,
        (None, None) => null_safe,
        _ => false,
    }
}

fn less(a: &Option<Scalar>, b: &Option<Scalar>) -> bool {
    let value = |s: &Option<Scalar>| s.as_ref().and_then(Scalar::as_i128);
    matches!((value(a), value(b)), (Some(x), Some(y)) if x < y)
}

fn check_all_kinds(seed: u64, specs: &[ColumnSpec], keys: &[usize], sizes: (usize, usize)) {
    let mut rng = Rng::new(seed);
    let tables = [
        random_batches(&mut rng, specs, sizes.0, 60),
        random_batches(&mut rng, specs, sizes.1, 60),
    ];
    let (probe, build) = (rows_of(&tables[0]), rows_of(&tables[1]));
    let last = specs.len() - 1;
    for kind in KINDS {
        for (null_safe, residual) in [(false, false), (false, true), (true, false)] {
            let expected = model(kind, &probe, &build, |p, b| {
                keys.iter().all(|&k| equal(&p[k], &b[k], null_safe))
                    && (!residual || less(&p[last], &b[last]))
            });
            check(
                &plan(kind, specs, keys, null_safe, residual),
                &tables,
                &expected,
            );
        }
    }
}

const VALUE: ColumnSpec = (DataType::Int4, 100, true);

#[test]
fn dense_integer_keys_match_the_model() {
    check_all_kinds(1, &[(DataType::Int4, 150, true), VALUE], &[0], (300, 200));
}

#[test]
fn sparse_integer_keys_match_the_model() {
    check_all_kinds(2, &[(DataType::Int8, 150, true), VALUE], &[0], (300, 200));
}

#[test]
fn text_keys_match_the_model() {
    check_all_kinds(3, &[(DataType::TEXT_C, 80, true), VALUE], &[0], (200, 150));
}

#[test]
fn keys_of_two_columns_match_the_model() {
    check_all_kinds(
        4,
        &[
            (DataType::Int8, 15, true),
            (DataType::Int4, 10, true),
            VALUE,
        ],
        &[0, 1],
        (250, 200),
    );
}

#[test]
fn wide_and_float_keys_match_the_model() {
    let specs = [
        (DataType::Float8, 20, true),
        (DataType::Int8, 3, false),
        (DataType::Int8, 3, true),
        VALUE,
    ];
    check_all_kinds(5, &specs, &[0, 1, 2], (250, 200));
}

/// What a join writes to files with so much memory.
fn spilled_bytes(plan: &Node, tables: &[Vec<Batch>], bytes: usize) -> u64 {
    let options = crate::exec::Options {
        budget: crate::memory::MemoryBudget::new(bytes),
        spill: Some(Box::new(crate::spill::MemorySpill)),
        ..Default::default()
    };
    let source = |table: &Vec<Batch>| {
        Box::new(crate::source::MemorySource::new(table.clone()))
            as Box<dyn crate::source::MorselSource>
    };
    let sources = tables.iter().map(source).collect();
    let mut executor = crate::exec::Executor::new(plan.clone(), sources, options);
    while executor.next_batch().unwrap().is_some() {}
    let counters = executor.counters(9);
    (counters.spilled_bytes).load(std::sync::atomic::Ordering::Relaxed)
}

#[test]
fn a_partition_larger_than_memory_is_cut_again() {
    let specs = [(DataType::TEXT_C, 9000, true), VALUE];
    check_all_kinds(14, &specs, &[0], (200, 6000));
    let mut rng = Rng::new(14);
    let tables = [3000, 40_000].map(|rows| random_batches(&mut rng, &specs, rows, 500));
    let plan = plan(JoinKind::Inner, &specs, &[0], false, false);
    let once = spilled_bytes(&plan, &tables, 600 << 10);
    let again = spilled_bytes(&plan, &tables, 8 << 10);
    assert!(once > 0 && again > once * 17 / 10, "{once} {again}");
}

#[test]
fn a_key_with_more_rows_than_memory_holds_is_joined_in_blocks() {
    // One key has nearly all of the build side's rows; most of the probe side's have another.
    let (probe, build) = (
        [(DataType::Int8, 40, true), VALUE],
        [(DataType::Int8, 1, true), VALUE],
    );
    let mut rng = Rng::new(15);
    let tables = [
        random_batches(&mut rng, &probe, 120, 60),
        random_batches(&mut rng, &build, 900, 60),
    ];
    let rows = tables.each_ref().map(|table| rows_of(table));
    for kind in KINDS {
        for (null_safe, residual) in [(false, false), (false, true), (true, true)] {
            let expected = model(kind, &rows[0], &rows[1], |p, b| {
                equal(&p[0], &b[0], null_safe) && (!residual || less(&p[1], &b[1]))
            });
            let plan = plan(kind, &probe, &[0], null_safe, residual);
            check(&plan, &tables, &expected);
            assert!(spilled_bytes(&plan, &tables, 6 << 10) > 0);
        }
    }
}

#[test]
fn no_keys_join_every_row_with_every_row() {
    check_all_kinds(6, &[VALUE, VALUE], &[], (70, 50));
    check_all_kinds(6, &[VALUE, VALUE], &[], (30, 900));
}

#[test]
fn empty_sides_match_the_model() {
    for sizes in [(0, 0), (0, 40), (40, 0)] {
        check_all_kinds(7, &[(DataType::Int4, 20, true), VALUE], &[0], sizes);
    }
}

#[test]
fn not_in_is_null_aware() {
    for (seed, build_rows, nulls) in [
        (1, 40, false),
        (2, 40, true),
        (3, 0, false),
        (4, 3000, false),
    ] {
        let mut rng = Rng::new(seed);
        let specs = [(DataType::Int4, 60, true)];
        let tables = [
            random_batches(&mut rng, &specs, 100, 30),
            random_batches(&mut rng, &[(DataType::Int4, 60, nulls)], build_rows, 30),
        ];
        let (probe, build) = (rows_of(&tables[0]), rows_of(&tables[1]));
        let passes = |row: &&Row| {
            build.is_empty()
                || row[0].is_some() && build.iter().all(|b| b[0].is_some() && b[0] != row[0])
        };
        let expected: Vec<Row> = probe.iter().filter(passes).cloned().collect();
        check(
            &plan(JoinKind::AntiNotIn, &specs, &[0], false, false),
            &tables,
            &expected,
        );
    }
}

#[test]
fn not_in_nothing_does_not_compute_its_left_side() {
    let mut rng = Rng::new(5);
    let specs = [(DataType::Int4, 3, true), VALUE];
    let probe = random_batches(&mut rng, &specs, 300, 100);
    let rows = rows_of(&probe);
    let mut not_in = plan(JoinKind::AntiNotIn, &specs, &[0], false, false);
    let Op::Join(join) = &mut not_in.op else {
        panic!("a join");
    };
    let divisor = Expr::arith(
        ArithOp::Sub,
        Expr::column(0, DataType::Int4),
        Expr::column(0, DataType::Int4),
    );
    let quotient = Expr::arith(ArithOp::Div, Expr::int4(10), divisor.unwrap());
    join.keys[0].probe = quotient.unwrap();
    check(&not_in, &[probe.clone(), Vec::new()], &rows);
    let build = random_batches(&mut rng, &specs, 3, 3);
    let failed = run(&not_in, &[probe, build], Options::default());
    assert_eq!(failed.unwrap_err(), Error::DivisionByZero);
}

#[test]
fn joins_upon_joins_pass_runtime_filters_down() {
    let mut rng = Rng::new(11);
    let specs = [(DataType::Int4, 400, true), VALUE];
    let tables = [2000, 300, 20].map(|rows| random_batches(&mut rng, &specs, rows, 100));
    let rows: Vec<Vec<Row>> = tables.iter().map(|table| rows_of(table)).collect();
    let key = || JoinKey {
        probe: Expr::column(0, DataType::Int4),
        build: Expr::column(0, DataType::Int4),
        null_safe: false,
    };
    let join = |id, kind, probe, build, output| {
        let (probe, build) = (Box::new(probe), Box::new(build));
        Node::join(
            id,
            Join {
                kind,
                probe,
                build,
                keys: vec![key()],
                residual: None,
                output,
            },
        )
    };
    for kind in [
        JoinKind::Inner,
        JoinKind::Left,
        JoinKind::Anti,
        JoinKind::Full,
    ] {
        let n = if kind == JoinKind::Anti { 2 } else { 4 };
        let first = join(
            4,
            kind,
            scan(0, 0, &specs),
            scan(1, 1, &specs),
            (0..n).collect(),
        );
        let second = join(
            5,
            JoinKind::Inner,
            first,
            scan(2, 2, &specs),
            (0..n + 2).collect(),
        );
        let same = |p: &Row, b: &Row| equal(&p[0], &b[0], false);
        let expected = model(
            JoinKind::Inner,
            &model(kind, &rows[0], &rows[1], same),
            &rows[2],
            same,
        );
        check(&second, &tables, &expected);
    }
}

#[test]
fn joins_on_one_key_reduce_each_others_build_sides() {
    let mut rng = Rng::new(12);
    let specs = [(DataType::Int4, 400, true), VALUE];
    let tables = [600, 40, 500].map(|rows| random_batches(&mut rng, &specs, rows, 100));
    let rows: Vec<Vec<Row>> = tables.iter().map(|table| rows_of(table)).collect();
    let join = |id, kind, probe: Node, build, probe_key, output| {
        let key = JoinKey {
            probe: Expr::column(probe_key, DataType::Int4),
            build: Expr::column(0, DataType::Int4),
            null_safe: false,
        };
        let (probe, build) = (Box::new(probe), Box::new(build));
        let (keys, residual) = (vec![key], None);
        let join = Join {
            kind,
            probe,
            build,
            keys,
            residual,
            output,
        };
        Node::join(id, join)
    };
    let same = |p: &Row, b: &Row| equal(&p[0], &b[0], false);
    for inner in [
        JoinKind::Inner,
        JoinKind::Semi,
        JoinKind::Left,
        JoinKind::Anti,
        JoinKind::Right,
    ] {
        for outer in [JoinKind::Inner, JoinKind::Semi, JoinKind::Anti] {
            let n = if inner.has_build_columns() { 4 } else { 2 };
            let m = if outer.has_build_columns() { n + 2 } else { n };
            let first = join(
                4,
                inner,
                scan(0, 0, &specs),
                scan(1, 1, &specs),
                0,
                (0..n).collect(),
            );
            let second = join(5, outer, first, scan(2, 2, &specs), 0, (0..m).collect());
            let between = model(inner, &rows[0], &rows[1], same);
            check(&second, &tables, &model(outer, &between, &rows[2], same));
        }
    }
}

#[test]
fn a_build_side_is_read_through_the_filter_of_an_earlier_one() {
    let mut rng = Rng::new(13);
    let specs = [(DataType::Int4, 1000, false), VALUE];
    let tables = [600, 5, 500].map(|rows| random_batches(&mut rng, &specs, rows, 100));
    let join = |id, probe, build| {
        let key = JoinKey {
            probe: Expr::column(0, DataType::Int4),
            build: Expr::column(0, DataType::Int4),
            null_safe: false,
        };
        let join = Join {
            kind: JoinKind::Inner,
            probe: Box::new(probe),
            build: Box::new(build),
            keys: vec![key],
            residual: None,
            output: vec![0, 1],
        };
        Node::join(id, join)
    };
    let first = join(4, scan(0, 0, &specs), scan(1, 1, &specs));
    let plan = join(5, first, scan(2, 2, &specs));
    let source = |table: &Vec<Batch>| {
        Box::new(crate::source::MemorySource::new(table.clone()))
            as Box<dyn crate::source::MorselSource>
    };
    let sources = tables.iter().map(source).collect();
    let mut executor = crate::exec::Executor::new(plan, sources, crate::exec::Options::default());
    while executor.next_batch().unwrap().is_some() {}
    let dropped = &executor.counters(2).runtime_filtered;
    assert!(dropped.load(std::sync::atomic::Ordering::Relaxed) > 400);
}

#[test]
fn a_row_that_has_met_its_partner_is_shown_no_other() {
    use crate::expr::ArithOp;
    use crate::testing::run;
    use doris_storage::vector::Values;
    let batch = |rows: &[(i32, i32)]| {
        let column = |values: Vec<i32>| {
            let values = Values::I32(values);
            Arc::new(Vector {
                values,
                validity: None,
            })
        };
        let (keys, values) = rows.iter().copied().unzip();
        vec![Batch::new(vec![column(keys), column(values)], rows.len())]
    };
    // Its partners, the first of which matches; the others cannot be divided by.
    let one = batch(&[(1, 5), (2, 7)]);
    let many = batch(&[(1, 1), (1, 0), (2, 1), (1, 0), (1, 0)]);
    let specs = [(DataType::Int4, 0, false); 2];
    for (kind, rows) in [
        (JoinKind::Semi, 2),
        (JoinKind::Anti, 0),
        (JoinKind::BuildSemi, 2),
        (JoinKind::BuildAnti, 0),
    ] {
        let of_probe = kind.has_probe_columns();
        let tables = match of_probe {
            true => [one.clone(), many.clone()],
            false => [many.clone(), one.clone()],
        };
        let Op::Join(mut join) = plan(kind, &specs, &[0], false, false).op else {
            panic!("a join");
        };
        let (from_one, from_many) = if of_probe { (1, 3) } else { (3, 1) };
        let (dividend, divisor) = (
            Expr::column(from_one, DataType::Int4),
            Expr::column(from_many, DataType::Int4),
        );
        let quotient = Expr::arith(ArithOp::Div, dividend.clone(), divisor).unwrap();
        join.residual = Some(Expr::compare(CompareOp::Eq, quotient, dividend).unwrap());
        for batch_rows in [1, 2, 100] {
            let options = crate::exec::Options {
                batch_rows,
                ..Default::default()
            };
            let found = run(&Node::join(9, join.clone()), &tables, options).unwrap();
            assert_eq!(rows_of(&found).len(), rows, "{kind:?}");
        }
    }
}
