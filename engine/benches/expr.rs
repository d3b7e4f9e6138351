// SPDX-License-Identifier: Apache-2.0
//! Expressions over six million rows in batches of 4096, CPU time of one thread, best of five:
//! `cargo bench -p doris_engine --bench expr`. Rows and distributions are those of TPC-H's lineitem at scale factor 1.

use std::hint::black_box;
use std::sync::Arc;

use doris_engine::batch::{Batch, Selection};
use doris_engine::expr::{ArithOp, CompareOp, EvalContext, Expr};
use doris_engine::types::{DataType, Scalar};
use doris_storage::vector::{BytesColumn, Values, Vector};

const ROWS: usize = 6_000_000;
const BATCH_ROWS: usize = 4096;

/// A generator of well-mixed numbers (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

fn vector(values: Values) -> Arc<Vector> {
    Arc::new(Vector {
        values,
        validity: None,
    })
}

const WORDS: [&str; 12] = [
    "carefully",
    "final",
    "deposits",
    "sleep",
    "special",
    "quickly",
    "requests",
    "above",
    "the",
    "ironic",
    "accounts",
    "pending",
];

fn comments(random: &mut Random, rows: usize) -> BytesColumn {
    let mut column = BytesColumn::default();
    for _ in 0..rows {
        let words: Vec<&str> = (0..4 + random.below(3))
            .map(|_| WORDS[random.below(12) as usize])
            .collect();
        column.push(words.join(" ").as_bytes());
    }
    column
}

/// Ship date, discount, quantity, price, ship mode (a dictionary), comment.
fn lineitem() -> Vec<Batch> {
    let mut random = Random(42);
    let modes = ["AIR", "FOB", "MAIL", "RAIL", "REG AIR", "SHIP", "TRUCK"];
    let mut dict = BytesColumn::default();
    modes.iter().for_each(|mode| dict.push(mode.as_bytes()));
    let dict = Arc::new(dict);
    let texts: Vec<Arc<Vector>> = (0..16)
        .map(|_| vector(Values::Bytes(comments(&mut random, BATCH_ROWS))))
        .collect();
    let batches = (0..ROWS.div_ceil(BATCH_ROWS)).map(|number| {
        let mut column = |n: u64| {
            (0..BATCH_ROWS)
                .map(|_| random.below(n))
                .collect::<Vec<u64>>()
        };
        let dates = column(2526).into_iter().map(|v| v as i32 - 2922).collect();
        let discounts = column(11).into_iter().map(|v| v as i64).collect();
        let quantities = column(50)
            .into_iter()
            .map(|v| (v as i64 + 1) * 100)
            .collect();
        let prices = column(9_400_000)
            .into_iter()
            .map(|v| v as i64 + 90_000)
            .collect();
        let codes = column(7).into_iter().map(|v| v as u32).collect();
        let columns = vec![
            vector(Values::I32(dates)),
            vector(Values::I64(discounts)),
            vector(Values::I64(quantities)),
            vector(Values::I64(prices)),
            vector(Values::Dict {
                codes,
                dict: Arc::clone(&dict),
            }),
            Arc::clone(&texts[number % texts.len()]),
        ];
        Batch::new(columns, BATCH_ROWS)
    });
    batches.collect()
}

fn numeric(precision: u8) -> DataType {
    DataType::Numeric {
        precision,
        scale: 2,
    }
}

fn column(index: usize) -> Expr {
    let types = [
        DataType::Date,
        numeric(15),
        numeric(15),
        numeric(15),
        DataType::TEXT_C,
        DataType::TEXT_C,
    ];
    Expr::column(index, types[index])
}

fn compare(op: CompareOp, left: Expr, right: Expr) -> Expr {
    Expr::compare(op, left, right).unwrap()
}

fn decimal(unscaled: i128) -> Expr {
    Expr::numeric(unscaled, 2).unwrap()
}

fn q6() -> Expr {
    Expr::and(vec![
        compare(CompareOp::Ge, column(0), Expr::date(-2191)),
        compare(CompareOp::Lt, column(0), Expr::date(-1826)),
        compare(CompareOp::Ge, column(1), decimal(5)),
        compare(CompareOp::Le, column(1), decimal(7)),
        compare(CompareOp::Lt, column(2), decimal(2400)),
    ])
    .unwrap()
}

fn like(pattern: &str) -> Expr {
    Expr::like(
        column(5),
        Expr::text(pattern, DataType::TEXT_C),
        false,
        false,
    )
    .unwrap()
}

/// Seconds this thread has run: other load on the machine does not count.
fn cpu_seconds() -> f64 {
    let schedule = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanoseconds = schedule
        .split(' ')
        .next()
        .and_then(|field| field.parse::<f64>().ok());
    nanoseconds.expect("the first field is the time on the processor") / 1e9
}

fn report(
    name: &str,
    batches: &[Batch],
    bytes: usize,
    run: impl Fn(&EvalContext, &Batch) -> usize,
) {
    let mut best = f64::MAX;
    let mut result = 0;
    for _ in 0..5 {
        let ctx = EvalContext::default();
        let start = cpu_seconds();
        result = batches
            .iter()
            .map(|batch| black_box(run(&ctx, batch)))
            .sum();
        best = best.min(cpu_seconds() - start);
    }
    let gigabytes = (bytes * ROWS) as f64 / best / 1e9;
    println!(
        "{name:36} {:8.2} ms {:6.2} ns/row {gigabytes:6.1} GB/s   {result}",
        best * 1e3,
        best * 1e9 / ROWS as f64
    );
}

fn main() {
    let batches = lineitem();
    let filters = [
        (
            "filter: shipdate <= c (most)",
            4,
            compare(CompareOp::Le, column(0), Expr::date(-730)),
        ),
        (
            "filter: shipdate < c (half)",
            4,
            compare(CompareOp::Lt, column(0), Expr::date(-1659)),
        ),
        ("filter: Q6, five conjuncts", 20, q6()),
        ("filter: quantity IN (7 values)", 8, {
            let list = [100, 500, 700, 1500, 1900, 3100, 4900].map(decimal);
            Expr::in_list(column(2), list.to_vec(), false).unwrap()
        }),
        (
            "filter: shipmode = 'MAIL'",
            4,
            compare(
                CompareOp::Eq,
                column(4),
                Expr::text("MAIL", DataType::TEXT_C),
            ),
        ),
        ("filter: LIKE '%ironic%' (1/2.5)", 39, like("%ironic%")),
        ("filter: LIKE '%absent%'", 39, like("%absent%")),
        (
            "filter: LIKE '%special%requests%'",
            39,
            like("%special%requests%"),
        ),
        ("filter: LIKE 'careful%'", 39, like("careful%")),
        ("filter: LIKE '%_ronic%'", 39, like("%_ronic%")),
    ];
    for (name, bytes, expr) in &filters {
        report(name, &batches, *bytes, |ctx, batch| {
            expr.filter(ctx, batch, Selection::All(batch.rows))
                .unwrap()
                .len()
        });
    }
    let one = || Expr::numeric(1, 0).unwrap();
    let bound = |index, precision| Expr::column(index, numeric(precision));
    let minus = |a, b| Expr::arith(ArithOp::Sub, a, b).unwrap();
    let times = |a, b| Expr::arith(ArithOp::Mul, a, b).unwrap();
    let air = compare(
        CompareOp::Eq,
        column(4),
        Expr::text("AIR", DataType::TEXT_C),
    );
    let values = [
        (
            "price * (1 - discount), 64 bits",
            times(bound(3, 8), minus(one(), bound(1, 2))),
        ),
        (
            "price * (1 - discount), 128 bits",
            times(column(3), minus(one(), column(1))),
        ),
        (
            "int4 date + 1",
            Expr::date_add_days(column(0), Expr::int4(1), false).unwrap(),
        ),
        ("extract(year from shipdate)", {
            Expr::extract(doris_engine::expr::ExtractUnit::Year, column(0), None).unwrap()
        }),
        (
            "CASE WHEN mode = 'AIR' THEN p ELSE 0",
            Expr::case(vec![(air, column(3))], Some(one())).unwrap(),
        ),
        (
            "substring(comment, 1, 2)",
            Expr::substring(column(5), Expr::int4(1), Some(Expr::int4(2))).unwrap(),
        ),
        ("length(comment)", Expr::char_length(column(5)).unwrap()),
        ("substring(mode, 1, 2), dictionary", {
            Expr::substring(column(4), Expr::int4(1), Some(Expr::int4(2))).unwrap()
        }),
        (
            "float8: price::float8",
            Expr::cast(column(3), DataType::Float8).unwrap(),
        ),
        (
            "price + param",
            Expr::arith(ArithOp::Add, column(3), Expr::param(0, numeric(9))).unwrap(),
        ),
    ];
    let params = [Some(Scalar::I64(5))];
    for (name, expr) in &values {
        report(name, &batches, 8, |_, batch| {
            let ctx = EvalContext::with_params(&params);
            expr.eval(&ctx, batch, &Selection::All(batch.rows))
                .unwrap()
                .len()
        });
    }
}
