// SPDX-License-Identifier: Apache-2.0
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use doris_storage::vector::{BytesColumn, Values, Vector};

use super::*;
use crate::expr::CompareOp;
use crate::plan::{Aggregate, AggregateCall, AggregateFunction};
use crate::source::Morsel;
use crate::testing::{check, random_batches, rows_of, run, Rng, Row};
use crate::types::{DataType, Scalar};

/// Morsels of 100 rows for ever, each calling a hook when decoded.
struct Endless {
    made: Arc<AtomicUsize>,
    hook: fn(usize),
}

struct Hooked(usize, fn(usize));

impl MorselSource for Endless {
    fn next(&mut self) -> Result<Option<Box<dyn Morsel>>> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        Ok(Some(Box::new(Hooked(number, self.hook))))
    }
}

impl Morsel for Hooked {
    fn rows(&self) -> usize {
        100
    }

    fn load_selected(&mut self, column: usize, rows: &[u32], out: &mut Vector) -> Result<()> {
        *out = Vector::clone(&*self.load(column, 0..rows.len())?);
        Ok(())
    }

    fn load(&mut self, _: usize, rows: std::ops::Range<usize>) -> Result<Arc<Vector>> {
        (self.1)(self.0);
        let values = doris_storage::vector::Values::I64(vec![1; rows.len()]);
        Ok(Arc::new(Vector {
            values,
            validity: None,
        }))
    }
}

fn scan() -> Node {
    Node::scan(0, 0, vec![0], vec![DataType::Int8], vec![])
}

fn count(input: Node) -> Node {
    let call = AggregateCall {
        function: AggregateFunction::CountStar,
        argument: None,
        distinct: false,
        filter: None,
    };
    Node::aggregate(
        9,
        Aggregate {
            input: Box::new(input),
            keys: vec![],
            calls: vec![call],
            grouping_sets: None,
        },
    )
}

fn two_threads() -> Options {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    Options {
        threads: 2,
        pool: Some(Arc::new(pool)),
        ..Options::default()
    }
}

fn endless(hook: fn(usize)) -> (Vec<Box<dyn MorselSource>>, Arc<AtomicUsize>) {
    let made = Arc::new(AtomicUsize::new(0));
    (
        vec![Box::new(Endless {
            made: Arc::clone(&made),
            hook,
        })],
        made,
    )
}

#[test]
fn a_panic_becomes_an_error() {
    for options in [Options::default(), two_threads()] {
        let (sources, _) = endless(|number| assert!(number != 50, "morsel 50 is rotten"));
        let mut executor = Executor::new(count(scan()), sources, options);
        let error = executor.next_batch().unwrap_err();
        assert!(
            matches!(&error, Error::Internal(text) if text.contains("rotten")),
            "{error}"
        );
        assert_eq!(executor.next_batch(), Err(error));
    }
}

#[test]
fn cancellation_stops_an_endless_query_soon() {
    for options in [Options::default(), two_threads()] {
        let cancel = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&cancel);
        let (sources, _) = endless(|_| ());
        let mut executor = Executor::new(count(scan()), sources, Options { cancel, ..options });
        let timer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            flag.store(true, Ordering::Relaxed);
            Instant::now()
        });
        assert_eq!(executor.next_batch(), Err(Error::Cancelled));
        assert!(timer.join().unwrap().elapsed() < Duration::from_secs(1));
    }
}

#[test]
fn an_error_of_the_idle_callback_stops_the_query() {
    let (sources, _) = endless(|_| ());
    let mut calls = 0;
    let on_idle = move || {
        calls += 1;
        if calls > 10 {
            Err(Error::External(7))
        } else {
            Ok(())
        }
    };
    let options = Options {
        on_idle: Some(Box::new(on_idle)),
        ..two_threads()
    };
    assert_eq!(
        Executor::new(count(scan()), sources, options).next_batch(),
        Err(Error::External(7))
    );
}

#[test]
fn a_limit_stops_the_source_early() {
    for options in [Options::default(), two_threads()] {
        let (sources, made) = endless(|_| ());
        let mut executor = Executor::new(Node::limit(1, scan(), Some(250), 0), sources, options);
        let mut rows = 0;
        while let Some(batch) = executor.next_batch().unwrap() {
            rows += batch.rows;
        }
        assert_eq!(rows, 250);
        assert!(made.load(Ordering::Relaxed) < 20);
    }
}

#[test]
fn filters_projections_and_unions_match_the_model() {
    let specs = [(DataType::Int8, 9, true), (DataType::Int4, 40, false)];
    let mut rng = Rng::new(8);
    let tables = [900, 500].map(|rows| random_batches(&mut rng, &specs, rows, 64));
    let column = |i: usize| Expr::column(i, specs[i].0);
    let small = |id, source| {
        let positive = Expr::compare(CompareOp::Gt, column(0), Expr::int8(0)).unwrap();
        let types = specs.iter().map(|s| s.0).collect();
        let scan = Node::scan(id, source, vec![0, 1], types, vec![positive]);
        Node::filter(
            id + 1,
            scan,
            Expr::compare(CompareOp::Lt, column(1), Expr::int4(20)).unwrap(),
        )
    };
    let plan = Node::project(
        9,
        Node::union_all(8, vec![small(0, 0), small(2, 1)]),
        vec![column(1), column(0)],
    );
    let value = |cell: &Option<Scalar>| cell.as_ref().and_then(Scalar::as_i128);
    let keep =
        |row: &Row| value(&row[0]).is_some_and(|x| x > 0) && value(&row[1]).is_some_and(|x| x < 20);
    let expected: Vec<Row> = tables
        .iter()
        .flat_map(|table| rows_of(table))
        .filter(keep)
        .map(|row| vec![row[1].clone(), row[0].clone()])
        .collect();
    check(&plan, &tables, &expected);
}

#[test]
fn a_projection_whose_texts_are_too_large_hands_on_some_rows_at_a_time() {
    let long = "a".repeat(10_000);
    let mut column = BytesColumn::default();
    (0..3).for_each(|_| column.push(long.as_bytes()));
    let column = Arc::new(Vector {
        values: Values::Bytes(column),
        validity: None,
    });
    let text = DataType::TEXT_C;
    let grown = Expr::replace(
        Expr::column(0, text),
        Expr::text("a", text),
        Expr::text(&long, text),
    );
    let scan = Node::scan(0, 0, vec![0], vec![text], vec![]);
    let plan = Node::project(1, scan, vec![grown.unwrap()]);
    let table = vec![Batch::new(vec![column], 3)];
    let batches = run(&plan, &[table], Options::default()).unwrap();
    assert_eq!(batches.iter().map(|batch| batch.rows).sum::<usize>(), 3);
    assert!(batches.len() > 1);
}
