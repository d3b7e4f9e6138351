// SPDX-License-Identifier: Apache-2.0
use std::rc::Rc;
use std::sync::atomic::Ordering;

use super::*;
use crate::batch::Batch;
use crate::exec::{Executor, Options};
use crate::expr::CompareOp;
use crate::memory::MemoryBudget;
use crate::plan::JoinKey;
use crate::source::{MemorySource, MorselSource};
use crate::testing::{canonical, random_batches, rows_of, run, ColumnSpec, Rng};
use crate::types::{DataType, Scalar};

const INT: DataType = DataType::Int4;
const SPECS: [ColumnSpec; 2] = [(INT, 50, true), (INT, 40, true)];

fn everything(_: Part) -> bool {
    true
}

fn column(at: usize) -> Expr {
    Expr::column(at, INT)
}

fn scan(source: usize, filters: Vec<Expr>) -> Node {
    Node::scan(source as u32, source, vec![0, 1], vec![INT, INT], filters)
}

fn below_parameter(at: usize) -> Expr {
    Expr::compare(CompareOp::Lt, column(at), Expr::param(0, INT)).unwrap()
}

/// Rows of the first table whose second column is below the parameter, joined with the second table on the first
/// column, perhaps where the second table's second column is below the parameter as well.
fn plan(kind: JoinKind, residual: bool) -> Node {
    let key = JoinKey {
        probe: column(0),
        build: column(0),
        null_safe: false,
    };
    let (from, to) = match (kind.has_probe_columns(), kind.has_build_columns()) {
        (true, true) => (0, 4),
        (true, false) => (0, 2),
        _ => (2, 4),
    };
    let join = Join {
        kind,
        probe: Box::new(scan(0, vec![below_parameter(1)])),
        build: Box::new(scan(1, vec![])),
        keys: vec![key],
        residual: residual.then(|| below_parameter(3)),
        output: (from..to).collect(),
    };
    Node::join(2, join)
}

fn tables() -> [Vec<Batch>; 2] {
    let mut rng = Rng::new(5);
    [
        random_batches(&mut rng, &SPECS, 300, 70),
        random_batches(&mut rng, &SPECS, 200, 30),
    ]
}

fn parameters() -> Vec<Expr> {
    let value = |v| Expr::constant(Scalar::I32(v), INT).unwrap();
    vec![Expr::null(INT), value(3), value(30), value(-9), value(12)]
}

/// The rows of an execution, and whether it had the table from an earlier one. A source that is spared has no rows.
fn execute(
    plan: &Node,
    value: &Expr,
    tables: &[Vec<Batch>],
    kept: &Rc<BuildCache>,
    budget: &Arc<MemoryBudget>,
) -> (Vec<String>, bool) {
    let bound = plan.bound(std::slice::from_ref(value)).unwrap();
    let spared = kept.spared(&bound);
    let source = |(at, rows): (usize, &Vec<Batch>)| {
        let rows = if spared.contains(&at) {
            vec![]
        } else {
            rows.clone()
        };
        Box::new(MemorySource::new(rows)) as Box<dyn MorselSource>
    };
    let options = Options {
        kept: Some(Rc::clone(kept)),
        budget: Arc::clone(budget),
        ..Options::default()
    };
    let sources = tables.iter().enumerate().map(source).collect();
    let mut executor = Executor::new(bound, sources, options);
    let mut batches = Vec::new();
    while let Some(batch) = executor.next_batch().unwrap() {
        batches.push(batch);
    }
    let reused = executor.counters(2).kept.load(Ordering::Relaxed) > 0;
    (canonical(&rows_of(&batches)), reused)
}

fn expected(plan: &Node, value: &Expr, tables: &[Vec<Batch>]) -> Vec<String> {
    let bound = plan.bound(std::slice::from_ref(value)).unwrap();
    canonical(&rows_of(&run(&bound, tables, Options::default()).unwrap()))
}

#[test]
fn a_table_that_no_parameter_changes_is_made_once() {
    use JoinKind::*;
    let tables = tables();
    for kind in [Inner, Left, Semi, Anti] {
        for residual in [false, true] {
            let plan = plan(kind, residual);
            let kept = Rc::new(BuildCache::of(&plan, usize::MAX, &everything));
            let budget = MemoryBudget::new(1 << 20);
            let mut reused = 0;
            for value in parameters() {
                let (rows, again) = execute(&plan, &value, &tables, &kept, &budget);
                assert_eq!(rows, expected(&plan, &value, &tables), "{kind:?} {value:?}");
                reused += usize::from(again);
            }
            assert_eq!(reused, parameters().len() - 1, "{kind:?} {residual}");
            assert!(budget.used_bytes() > 0);
            drop(kept);
            assert_eq!(budget.used_bytes(), 0);
        }
    }
}

#[test]
fn a_table_that_lacks_a_column_is_made_anew() {
    let tables = tables();
    let (few, all) = (plan(JoinKind::Semi, false), plan(JoinKind::Inner, false));
    let kept = Rc::new(BuildCache::of(&few, usize::MAX, &everything));
    let budget = MemoryBudget::new(1 << 20);
    for (plan, reused) in [(&few, false), (&few, true), (&all, false), (&all, true)] {
        let value = &parameters()[2];
        let (rows, again) = execute(plan, value, &tables, &kept, &budget);
        assert_eq!(rows, expected(plan, value, &tables));
        assert_eq!(again, reused);
    }
}

#[test]
fn marks_of_one_execution_are_not_those_of_the_next() {
    use JoinKind::*;
    let tables = tables();
    for kind in [Right, Full, BuildSemi, BuildAnti] {
        let plan = plan(kind, false);
        let kept = Rc::new(BuildCache::of(&plan, usize::MAX, &everything));
        for value in parameters() {
            let budget = MemoryBudget::new(1 << 20);
            let (rows, again) = execute(&plan, &value, &tables, &kept, &budget);
            assert_eq!(rows, expected(&plan, &value, &tables), "{kind:?} {value:?}");
            assert!(!again);
        }
    }
}

#[test]
fn what_changes_is_made_anew() {
    let plan = plan(JoinKind::Inner, false);
    for changing in [Part::Source(1), Part::Node(1)] {
        let kept = BuildCache::of(&plan, usize::MAX, &|part| part != changing);
        assert!(!kept.keeps(2), "{changing:?}");
    }
    assert!(BuildCache::of(&plan, usize::MAX, &|part| part != Part::Source(0)).keeps(2));
}

#[test]
fn a_table_beyond_the_bound_is_not_kept() {
    let (plan, tables) = (plan(JoinKind::Inner, false), tables());
    let kept = Rc::new(BuildCache::of(&plan, 100, &everything));
    let budget = MemoryBudget::new(1 << 20);
    for value in parameters() {
        let (rows, again) = execute(&plan, &value, &tables, &kept, &budget);
        assert_eq!(rows, expected(&plan, &value, &tables));
        assert!(!again);
        assert_eq!(budget.used_bytes(), 0);
    }
}

#[test]
fn the_side_without_parameters_is_kept_in_the_place_of_the_other() {
    let tables = tables();
    let turned = |rows: &dyn Fn(usize) -> Option<u64>, streams: bool| {
        let mut other = match plan(JoinKind::Inner, true).op {
            Op::Join(join) => Node::join(2, join.turned()),
            _ => unreachable!("a join"),
        };
        let done = exchange(&mut other, 1 << 20, &everything, rows, &|_| streams);
        (other, done)
    };
    let (exchanged, done) = turned(&|_| Some(200), true);
    assert!(done);
    let kept = Rc::new(BuildCache::of(&exchanged, usize::MAX, &everything));
    let budget = MemoryBudget::new(1 << 20);
    for value in parameters() {
        let (rows, _) = execute(&exchanged, &value, &tables, &kept, &budget);
        assert_eq!(
            rows,
            expected(&plan(JoinKind::Inner, true), &value, &tables)
        );
    }
    assert!(kept.keeps(2));
    assert!(!turned(&|_| Some(1 << 40), true).1, "too many rows");
    assert!(!turned(&|_| None, true).1, "nobody knows how many rows");
    assert!(
        !turned(&|_| Some(200), false).1,
        "rows that must not stream"
    );
}
