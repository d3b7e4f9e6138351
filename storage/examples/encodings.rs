// SPDX-License-Identifier: Apache-2.0
//! Throughput of each encoding on a column made for it.
//!
//! `cargo run --release -p doris_storage --example encodings`

use doris_storage::checksum::checksum;
use doris_storage::segment::{
    encode_column, ColumnReader, ColumnSpec, Order, Verify, WriteOptions,
};
use doris_storage::vector::{Physical, Values, Vector, VectorBuilder};

const ROWS: u64 = 1 << 20;
const REPEAT: usize = 20;

/// Processor time of this thread, which a busy machine does not inflate.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

fn noise(i: u64) -> u64 {
    checksum(&i.to_le_bytes())
}

fn ints(f: impl Fn(u64) -> i64) -> Vector {
    Vector {
        values: Values::I64((0..ROWS).map(f).collect()),
        validity: None,
    }
}

fn text(f: impl Fn(u64) -> String) -> Vector {
    let mut builder = VectorBuilder::new(Physical::Bytes);
    (0..ROWS).for_each(|i| builder.push_bytes(f(i).as_bytes()));
    builder.finish()
}

fn columns() -> Vec<(&'static str, Vector)> {
    let words = [
        "carefully",
        "final",
        "deposits",
        "sleep",
        "quickly",
        "ironic",
        "requests",
        "above",
    ];
    let word = move |i: u64| words[(noise(i) % 8) as usize];
    let nullable = |vector: Vector| {
        let bits = (0..ROWS).map(|i| !noise(i).is_multiple_of(10));
        Vector {
            validity: Some(doris_storage::vector::Bitmap::from_bools(bits)),
            ..vector
        }
    };
    let i32s = (0..ROWS).map(|i| (noise(i) % 5000) as i32).collect();
    let i128s = (0..ROWS)
        .map(|i| i128::from(noise(i) % 1_000_000))
        .collect();
    let f64s = (0..ROWS)
        .map(|i| (noise(i) % 1_000_000) as f64 / 100.0)
        .collect();
    vec![
        ("constant i64", ints(|_| 5)),
        ("plain i64", ints(|i| noise(i) as i64)),
        ("packed i64, 13 bits", ints(|i| (noise(i) % 5000) as i64)),
        ("packed i64, 40 bits", ints(|i| (noise(i) >> 24) as i64)),
        (
            "packed i64, 10% NULL",
            nullable(ints(|i| (noise(i) % 5000) as i64)),
        ),
        (
            "packed i32, 13 bits",
            Vector {
                values: Values::I32(i32s),
                validity: None,
            },
        ),
        (
            "packed i128, 20 bits",
            Vector {
                values: Values::I128(i128s),
                validity: None,
            },
        ),
        (
            "delta i64",
            ints(|i| i as i64 * 1000 + (noise(i) % 100) as i64),
        ),
        ("runs i64", ints(|i| noise(i / 100) as i64)),
        ("scaled i64", ints(|i| (noise(i) % 50) as i64 * 100)),
        ("lookup i64", ints(|i| noise(noise(i) % 200) as i64)),
        (
            "patched i64",
            ints(|i| {
                if noise(i).is_multiple_of(40) {
                    noise(i) as i64
                } else {
                    0
                }
            }),
        ),
        (
            "decimal f64",
            Vector {
                values: Values::F64(f64s),
                validity: None,
            },
        ),
        ("dictionary", text(|i| word(i).to_string())),
        (
            "fsst",
            text(|i| format!("{} {} {}", word(i), word(i + ROWS), noise(i) % 1000)),
        ),
        (
            "lz4",
            text(|i| {
                format!(
                    "http://example.com/{}/{}?page={}",
                    word(i / 9),
                    word(i / 9 + 1).repeat(8),
                    i / 9
                )
            }),
        ),
    ]
}

fn main() {
    println!("column                  encoding     bits/row   encode GB/s  decode GB/s  2K slices GB/s   get ns");
    for (name, vector) in columns() {
        let physical = vector.physical();
        let spec = ColumnSpec {
            id: 1,
            physical,
            order: Order::Natural,
            scale: 0,
            tag: 0,
            bloom: false,
        };
        let gb = vector.memory_bytes() as f64 / 1e9;
        let start = cpu_seconds();
        let column = encode_column(&spec, &vector, &WriteOptions::default()).unwrap();
        let encode = gb / (cpu_seconds() - start);
        let meta = column.meta();
        let part = |r: std::ops::Range<u64>| &column.bytes()[r.start as usize..r.end as usize];
        let reader = ColumnReader::new(meta, meta.shared.clone().map(part)).unwrap();
        let blocks = || (0..REPEAT).flat_map(|_| &meta.blocks);
        let open = |b| {
            reader
                .block(
                    b,
                    part(doris_storage::segment::BlockMeta::range(b)),
                    Verify::Trusted,
                )
                .unwrap()
        };
        let mut out = Vector::empty(physical);
        let timed = |work: &mut dyn FnMut()| {
            let start = cpu_seconds();
            work();
            (cpu_seconds() - start) / REPEAT as f64
        };
        let whole = timed(&mut || {
            for block in blocks() {
                out.clear();
                open(block)
                    .decode(0..block.rows as usize, &mut out)
                    .unwrap();
            }
        });
        let slices = timed(&mut || {
            for block in blocks() {
                let block = open(block);
                for at in (0..block.rows()).step_by(2048) {
                    out.clear();
                    block
                        .decode(at..block.rows().min(at + 2048), &mut out)
                        .unwrap();
                }
            }
        });
        let points = timed(&mut || {
            for block in blocks() {
                let block = open(block);
                out.clear();
                (0..100).for_each(|i| {
                    block
                        .get(noise(i) as usize % block.rows(), &mut out)
                        .unwrap()
                });
            }
        });
        println!(
            "{name:23} {:10} {:10.2} {encode:12.2} {:12.1} {:15.1} {:8.0}",
            meta.blocks[0].encoding.name(),
            column.len() as f64 * 8.0 / ROWS as f64,
            gb / whole,
            gb / slices,
            points * 1e9 / (meta.blocks.len() * 100) as f64,
        );
    }
}
