// SPDX-License-Identifier: Apache-2.0
//! What tests of operators share: seeded data, ways to run a plan, and rows to compare with a model's.

use std::cmp::Ordering;
use std::sync::Arc;

use doris_storage::vector::{Bitmap, BytesColumn, Values, Vector};

use crate::batch::Batch;
use crate::collate::{LocaleOrder, TextOrder};
use crate::decimal::Number;
use crate::error::Result;
use crate::exec::{Executor, Options};
use crate::memory::MemoryBudget;
use crate::plan::Node;
use crate::source::{MemorySource, MorselSource};
use crate::spill::MemorySpill;
use crate::types::{Collation, DataType, Scalar};

/// One row; `None` is NULL.
pub type Row = Vec<Option<Scalar>>;

/// A small seeded generator (Marsaglia's xorshift, 2003).
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n.max(1)
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// A locale of its own: text compares by its digits, from the last on; what else it has does not count.
#[derive(Debug)]
struct Mirrored(#[allow(dead_code, reason = "an address of its own")] u8);

static MIRRORED: Mirrored = Mirrored(0);

impl TextOrder for Mirrored {
    fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        let digits = |text: &[u8]| -> Vec<u8> {
            let found = text.iter().rev().filter(|byte| byte.is_ascii_digit());
            found.copied().collect()
        };
        digits(a).cmp(&digits(b))
    }

    fn prefix(&self, value: &[u8]) -> u64 {
        let last = value.iter().rev().find(|byte| byte.is_ascii_digit());
        last.map_or(0, |digit| u64::from(*digit))
    }
}

/// Text in the order of a locale.
pub fn text_of_locale() -> DataType {
    DataType::Text {
        collation: Collation::Ordered(LocaleOrder::new(&MIRRORED)),
    }
}

/// A column of `rows` random values with about `distinct` different ones.
pub fn random_column(
    rng: &mut Rng,
    t: DataType,
    rows: usize,
    distinct: u64,
    nulls: bool,
) -> Vector {
    let mut draw = || rng.below(distinct);
    let values = match t {
        DataType::Bool => Values::Bool((0..rows).map(|_| (draw() % 2) as u8).collect()),
        DataType::Int2 => Values::I16((0..rows).map(|_| draw() as i16 - 5).collect()),
        DataType::Int4 | DataType::Date => {
            Values::I32((0..rows).map(|_| draw() as i32 - 5).collect())
        }
        DataType::Float4 => Values::F32((0..rows).map(|_| draw() as f32 - 3.0).collect()),
        DataType::Float8 => {
            let special = [f64::NAN, f64::INFINITY, -0.0, 0.0];
            let value = |x: u64| {
                special
                    .get(x as usize % 16)
                    .copied()
                    .unwrap_or(x as f64 / 4.0 - 3.0)
            };
            Values::F64((0..rows).map(|_| value(draw())).collect())
        }
        DataType::Numeric { precision, .. } if precision > 18 => {
            Values::I128((0..rows).map(|_| i128::from(draw()) << 65).collect())
        }
        DataType::Text { .. } | DataType::Bpchar { .. } | DataType::Bytea => {
            let mut column = BytesColumn::default();
            (0..rows).for_each(|_| column.push(word(draw()).as_bytes()));
            return with_nulls(rng, as_dictionary_sometimes(rng.0, column), nulls);
        }
        DataType::Decimal => {
            let mut column = BytesColumn::default();
            (0..rows).for_each(|_| column.push(&decimal(draw())));
            Values::Bytes(column)
        }
        DataType::Interval => Values::Fixed {
            width: 16,
            data: (0..rows).flat_map(|_| interval(draw())).collect(),
        },
        _ => Values::I64((0..rows).map(|_| draw() as i64 * 1_000_003 - 5).collect()),
    };
    with_nulls(rng, values, nulls)
}

/// A numeric that carries its scale; equal ones have the same.
fn decimal(number: u64) -> Vec<u8> {
    let number = match number {
        3 => Number::NaN,
        4 => Number::Infinity,
        n => Number::Small {
            value: i128::from(n) - 6,
            scale: (n % 3) as u16,
        },
    };
    number.to_bytes().unwrap_or_default()
}

/// An interval of some months; a third of them is written as days.
fn interval(number: u64) -> [u8; 16] {
    let (months, days) = match number % 3 {
        0 => (0, number as i32 / 3 * 30),
        _ => (number as i32 / 3, 0),
    };
    let mut bytes = [0; 16];
    bytes[8..12].copy_from_slice(&days.to_le_bytes());
    bytes[12..].copy_from_slice(&months.to_le_bytes());
    bytes
}

fn word(number: u64) -> String {
    match number {
        0 => String::new(),
        n => format!("{}{n}", "prefix-".repeat(n as usize % 4)),
    }
}

fn as_dictionary_sometimes(coin: u64, column: BytesColumn) -> Values {
    if coin.is_multiple_of(2) {
        return Values::Bytes(column);
    }
    let mut dict = BytesColumn::default();
    let mut known = std::collections::HashMap::new();
    let mut code = |value: &[u8]| {
        *known.entry(value.to_vec()).or_insert_with(|| {
            dict.push(value);
            dict.len() as u32 - 1
        })
    };
    let codes = column.iter().map(&mut code).collect();
    Values::Dict {
        codes,
        dict: Arc::new(dict),
    }
}

fn with_nulls(rng: &mut Rng, values: Values, nulls: bool) -> Vector {
    let mut vector = Vector {
        values,
        validity: None,
    };
    if nulls {
        vector.validity = Some(Bitmap::from_bools(
            (0..vector.len()).map(|_| !rng.one_in(7)),
        ));
    }
    vector
}

/// What random tables are made of: type, about how many different values, whether there are NULLs.
pub type ColumnSpec = (DataType, u64, bool);

/// Batches of random rows, of random sizes up to `batch_rows`.
pub fn random_batches(
    rng: &mut Rng,
    specs: &[ColumnSpec],
    rows: usize,
    batch_rows: usize,
) -> Vec<Batch> {
    let mut left = rows;
    let mut batches = Vec::new();
    while left > 0 {
        let n = (1 + rng.below(batch_rows as u64) as usize).min(left);
        let columns = specs
            .iter()
            .map(|&(t, distinct, nulls)| Arc::new(random_column(rng, t, n, distinct, nulls)));
        batches.push(Batch::new(columns.collect(), n));
        left -= n;
    }
    batches
}

/// The rows of batches.
pub fn rows_of(batches: &[Batch]) -> Vec<Row> {
    let row = |batch: &Batch, i: usize| {
        batch
            .columns
            .iter()
            .map(|column| Scalar::of_vector(column, i))
            .collect()
    };
    batches
        .iter()
        .flat_map(|batch| (0..batch.rows).map(move |i| row(batch, i)))
        .collect()
}

/// Rows as text, sorted: equal for equal sets of rows. -0 is 0.
pub fn canonical(rows: &[Row]) -> Vec<String> {
    let cell = |cell: &Option<Scalar>| match cell {
        Some(Scalar::F64(x)) => format!("{:?}", x + 0.0),
        Some(Scalar::F32(x)) => format!("{:?}", x + 0.0),
        other => format!("{other:?}"),
    };
    let mut out: Vec<String> = rows
        .iter()
        .map(|row| row.iter().map(cell).collect::<Vec<_>>().join("|"))
        .collect();
    out.sort();
    out
}

/// Runs a plan to its end.
pub fn run(plan: &Node, tables: &[Vec<Batch>], options: Options) -> Result<Vec<Batch>> {
    let source =
        |table: &Vec<Batch>| Box::new(MemorySource::new(table.clone())) as Box<dyn MorselSource>;
    let mut executor = Executor::new(plan.clone(), tables.iter().map(source).collect(), options);
    let mut batches = Vec::new();
    while let Some(batch) = executor.next_batch()? {
        batches.push(batch);
    }
    Ok(batches)
}

/// Ways to run a plan that must all give the same rows: one and two threads, tiny and usual batches, memory for
/// nothing but spilling.
pub fn ways() -> Vec<(&'static str, Options)> {
    let pool = || {
        Some(Arc::new(
            rayon::ThreadPoolBuilder::new()
                .num_threads(1)
                .build()
                .unwrap(),
        ))
    };
    let two = || Options {
        threads: 2,
        pool: pool(),
        ..Options::default()
    };
    vec![
        ("one thread", Options::default()),
        (
            "two threads, tiny batches",
            Options {
                batch_rows: 7,
                local_groups: 20,
                ..two()
            },
        ),
        (
            "two threads",
            Options {
                local_groups: 100,
                ..two()
            },
        ),
        (
            "spilling",
            Options {
                budget: MemoryBudget::new(64 << 10),
                spill: Some(Box::new(MemorySpill)),
                local_groups: 50,
                ..Options::default()
            },
        ),
        (
            "spilling, two threads with next to no memory",
            Options {
                budget: MemoryBudget::new(6 << 10),
                spill: Some(Box::new(MemorySpill)),
                local_groups: 50,
                ..two()
            },
        ),
    ]
}

/// Runs a plan in all ways and compares its rows with `expected`, in any order.
pub fn check(plan: &Node, tables: &[Vec<Batch>], expected: &[Row]) {
    let expected = canonical(expected);
    for (way, options) in ways() {
        let batches = run(plan, tables, options).unwrap_or_else(|error| panic!("{way}: {error}"));
        let found = canonical(&rows_of(&batches));
        assert_eq!(found.len(), expected.len(), "{way}: number of rows");
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "{way}");
        }
    }
}
