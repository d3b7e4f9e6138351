// SPDX-License-Identifier: Apache-2.0
//! Times the operators on generated data: `cargo run --release -p doris_engine --example operators [filter]`.
//!
//! Prints, for 1 and 2 threads, the best of five wall-clock times and that run's CPU time (user + system of the
//! whole process), in milliseconds. Data lies in memory in batches of 8K rows; results are pulled and dropped.

use std::sync::Arc;
use std::time::Instant;

use doris_engine::batch::Batch;
use doris_engine::exec::{Executor, Options};
use doris_engine::expr::Expr;
use doris_engine::plan::{
    Aggregate, AggregateCall, AggregateFunction, ApproxHash, GroupKey, Join, JoinKey, JoinKind,
    Node, SortKey,
};
use doris_engine::source::{MemorySource, MorselSource};
use doris_engine::types::DataType;
use doris_storage::vector::{BytesColumn, Values, Vector};

const BATCH: usize = 8192;
const ROWS: usize = 6_000_000;
const MONEY: DataType = DataType::Numeric {
    precision: 15,
    scale: 2,
};

fn random(i: u64) -> u64 {
    let mut x = i.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ x >> 31
}

type Make<'m> = &'m dyn Fn(std::ops::Range<usize>) -> Values;

fn table(rows: usize, columns: &[Make<'_>]) -> Vec<Batch> {
    let batch = |from: usize| {
        let to = (from + BATCH).min(rows);
        let column = |make: &Make<'_>| {
            Arc::new(Vector {
                values: make(from..to),
                validity: None,
            })
        };
        Batch::new(columns.iter().map(column).collect(), to - from)
    };
    (0..rows).step_by(BATCH).map(batch).collect()
}

fn int8(f: impl Fn(u64) -> i64) -> impl Fn(std::ops::Range<usize>) -> Values {
    move |rows| Values::I64(rows.map(|i| f(i as u64)).collect())
}

fn int4(f: impl Fn(u64) -> i32) -> impl Fn(std::ops::Range<usize>) -> Values {
    move |rows| Values::I32(rows.map(|i| f(i as u64)).collect())
}

fn dictionary(words: &[&str], salt: u64) -> impl Fn(std::ops::Range<usize>) -> Values {
    let mut dict = BytesColumn::default();
    words.iter().for_each(|w| dict.push(w.as_bytes()));
    let (dict, n) = (Arc::new(dict), words.len() as u64);
    move |rows| {
        let codes = rows.map(|i| (random(i as u64 ^ salt) % n) as u32).collect();
        Values::Dict {
            codes,
            dict: Arc::clone(&dict),
        }
    }
}

fn text(f: impl Fn(u64) -> String) -> impl Fn(std::ops::Range<usize>) -> Values {
    move |rows| {
        let mut column = BytesColumn::default();
        rows.for_each(|i| column.push(f(i as u64).as_bytes()));
        Values::Bytes(column)
    }
}

fn scan(id: u32, source: usize, types: &[DataType]) -> Node {
    Node::scan(
        id,
        source,
        (0..types.len()).collect(),
        types.to_vec(),
        vec![],
    )
}

fn call(function: AggregateFunction, argument: Option<Expr>) -> AggregateCall {
    AggregateCall {
        function,
        argument,
        distinct: false,
        filter: None,
    }
}

fn group(input: Node, keys: &[(usize, DataType)], calls: Vec<AggregateCall>) -> Node {
    let keys = keys
        .iter()
        .map(|&(k, t)| GroupKey {
            expr: Expr::column(k, t),
            nullable: false,
        })
        .collect();
    Node::aggregate(
        10,
        Aggregate {
            input: Box::new(input),
            keys,
            calls,
            grouping_sets: None,
        },
    )
}

fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |i: usize| {
        fields
            .get(i)
            .and_then(|f| f.parse::<f64>().ok())
            .unwrap_or_default()
    };
    (ticks(11) + ticks(12)) * 10.0
}

struct Bench {
    filter: Option<String>,
}

impl Bench {
    fn run(&self, name: &str, plan: &Node, tables: &[&[Batch]]) {
        if self
            .filter
            .as_ref()
            .is_some_and(|f| !name.contains(f.as_str()))
        {
            return;
        }
        print!("{name:34}");
        for threads in [1, 2] {
            let pool = (threads > 1).then(|| {
                Arc::new(
                    rayon::ThreadPoolBuilder::new()
                        .num_threads(threads - 1)
                        .build()
                        .expect("a pool"),
                )
            });
            let mut best = (f64::MAX, 0.0, 0);
            for _ in 0..5 {
                let sources = tables
                    .iter()
                    .map(|t| Box::new(MemorySource::new(t.to_vec())) as Box<dyn MorselSource>);
                let options = Options {
                    threads,
                    pool: pool.clone(),
                    ..Options::default()
                };
                let mut executor = Executor::new(plan.clone(), sources.collect(), options);
                let (start, cpu, mut rows) = (Instant::now(), cpu_ms(), 0);
                while let Some(batch) = executor.next_batch().expect("the plan runs") {
                    rows += batch.rows;
                }
                let wall = start.elapsed().as_secs_f64() * 1e3;
                if wall < best.0 {
                    best = (wall, cpu_ms() - cpu, rows);
                }
            }
            print!("  {threads}t: {:7.1} wall {:6.0} cpu", best.0, best.1);
            if threads == 2 {
                println!("  rows {}", best.2);
            }
        }
    }
}

fn main() {
    let bench = Bench {
        filter: std::env::args().nth(1),
    };
    aggregation(&bench);
    joins(&bench);
    sorts(&bench);
}

fn aggregation(bench: &Bench) {
    use AggregateFunction::*;
    let flags = dictionary(&["A", "N", "R"], 1);
    let status = dictionary(&["F", "O"], 2);
    let money = int8(|i| (random(i) % 10_000_000) as i64);
    let lines = table(
        ROWS,
        &[
            &int8(|i| i as i64 / 4 * 4),
            &int8(|i| (random(i) % 100_000_000) as i64),
            &flags,
            &status,
            &money,
            &int4(|i| (random(i ^ 9) % 1000) as i32),
        ],
    );
    let types = [
        DataType::Int8,
        DataType::Int8,
        DataType::TEXT_C,
        DataType::TEXT_C,
        MONEY,
        DataType::Int4,
    ];
    let input = || scan(0, 0, &types);
    let amount = || Some(Expr::column(4, MONEY));
    let all = |f: &[AggregateFunction]| f.iter().map(|&f| call(f, amount())).collect::<Vec<_>>();
    bench.run("sum, no keys", &group(input(), &[], all(&[Sum])), &[&lines]);
    let q1 = group(
        input(),
        &[(2, types[2]), (3, types[3])],
        all(&[Sum, Avg, Sum, Min, CountStar]),
    );
    bench.run("group by two dictionaries, 5 calls", &q1, &[&lines]);
    bench.run(
        "group by int4, 1000 groups",
        &group(input(), &[(5, types[5])], all(&[Sum])),
        &[&lines],
    );
    bench.run(
        "group by l_orderkey (1.5M, sorted)",
        &group(input(), &[(0, types[0])], all(&[Sum])),
        &[&lines],
    );
    bench.run(
        "group by user id (6M, random)",
        &group(input(), &[(1, types[1])], all(&[CountStar])),
        &[&lines],
    );
    let distinct = AggregateCall {
        distinct: true,
        ..call(Count, Some(Expr::column(1, types[1])))
    };
    bench.run(
        "count(distinct user id)",
        &group(input(), &[], vec![distinct]),
        &[&lines],
    );
    let visits = table(
        ROWS,
        &[
            &int4(|i| (i % 100) as i32),
            &int8(|i| (i * 104_729 % 1_000_003) as i64),
        ],
    );
    for (name, hash) in [("ndv", ApproxHash::Value), ("hll", ApproxHash::Text)] {
        let user = Some(Expr::column(1, DataType::Int8));
        let plan = group(
            scan(0, 0, &[DataType::Int4, DataType::Int8]),
            &[(0, DataType::Int4)],
            vec![call(ApproxDistinct(hash), user)],
        );
        bench.run(&format!("{name}, 100 groups"), &plan, &[&visits]);
    }
    let part = |i: u64| (random(i) % 200_000) as i64;
    let parts = table(ROWS, &[&int8(part), &money]);
    let parts_by = |functions: &[AggregateFunction]| {
        let amount = || Some(Expr::column(1, MONEY));
        let calls = functions.iter().map(|&f| call(f, amount())).collect();
        group(
            scan(0, 0, &[DataType::Int8, MONEY]),
            &[(0, DataType::Int8)],
            calls,
        )
    };
    bench.run("group by part (200k)", &parts_by(&[Sum]), &[&parts]);
    let top = Node::top_n(
        11,
        parts_by(&[CountStar, Sum]),
        vec![SortKey {
            expr: Expr::column(1, DataType::Int8),
            descending: true,
            nulls_first: true,
        }],
        10,
        0,
    );
    bench.run("the ten largest of 200k groups", &top, &[&parts]);
    let urls = table(
        ROWS,
        &[&text(|i| {
            format!("http://example.com/{}/page.html", random(i) % 1_500_000)
        })],
    );
    let url = group(
        scan(0, 0, &[DataType::TEXT_C]),
        &[(0, DataType::TEXT_C)],
        vec![call(CountStar, None)],
    );
    bench.run("group by url (1.5M)", &url, &[&urls]);
}

fn joins(bench: &Bench) {
    let probe = table(ROWS, &[&int8(|i| i as i64 / 4 * 4), &int8(|i| i as i64)]);
    let shuffled = table(
        ROWS,
        &[
            &int8(|i| (random(i) % 1_500_000) as i64 * 4),
            &int8(|i| i as i64),
        ],
    );
    let sparse = table(
        ROWS,
        &[
            &int8(|i| (random(i) % 1_500_000) as i64 * 977),
            &int8(|i| i as i64),
        ],
    );
    let orders = table(1_500_000, &[&int8(|i| i as i64 * 4), &int4(|i| i as i32)]);
    let scattered = table(1_500_000, &[&int8(|i| i as i64 * 977), &int4(|i| i as i32)]);
    let parts = table(200_000, &[&int8(|i| i as i64 * 4), &int4(|i| i as i32)]);
    let types = [DataType::Int8, DataType::Int8];
    let build = [DataType::Int8, DataType::Int4];
    let column = || Expr::column(0, DataType::Int8);
    let join = |kind, output: Vec<usize>| {
        let joined = Node::join(
            5,
            Join {
                kind,
                probe: Box::new(scan(0, 0, &types)),
                build: Box::new(scan(1, 1, &build)),
                keys: vec![JoinKey {
                    probe: column(),
                    build: column(),
                    null_safe: false,
                }],
                residual: None,
                output,
            },
        );
        let last = joined.types.len() - 1;
        let t = joined.types[last];
        group(
            joined,
            &[],
            vec![call(AggregateFunction::Sum, Some(Expr::column(last, t)))],
        )
    };
    let inner = join(JoinKind::Inner, vec![1, 3]);
    bench.run("join 6M x 1.5M, in key order", &inner, &[&probe, &orders]);
    bench.run(
        "join 6M x 1.5M, random order",
        &inner,
        &[&shuffled, &orders],
    );
    bench.run(
        "join 6M x 1.5M, sparse keys",
        &inner,
        &[&sparse, &scattered],
    );
    bench.run("join 6M x 200k, dense keys", &inner, &[&probe, &parts]);
    bench.run(
        "semi join 6M x 1.5M",
        &join(JoinKind::Semi, vec![1]),
        &[&shuffled, &orders],
    );
}

fn sorts(bench: &Bench) {
    let rows = table(
        ROWS,
        &[
            &int8(|i| random(i) as i64),
            &int8(|i| i as i64),
            &int4(|i| (random(i) % 1000) as i32),
        ],
    );
    let types = [DataType::Int8, DataType::Int8, DataType::Int4];
    let key = |column: usize, descending| SortKey {
        expr: Expr::column(column, types[column]),
        descending,
        nulls_first: false,
    };
    bench.run(
        "sort 6M by int8",
        &Node::sort(1, scan(0, 0, &types), vec![key(0, false)]),
        &[&rows],
    );
    let two = vec![key(2, false), key(0, true)];
    bench.run(
        "sort 6M by int4, int8 desc",
        &Node::sort(1, scan(0, 0, &types), two),
        &[&rows],
    );
    bench.run(
        "top 10 of 6M",
        &Node::top_n(1, scan(0, 0, &types), vec![key(0, true)], 10, 0),
        &[&rows],
    );
}
