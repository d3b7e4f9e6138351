// SPDX-License-Identifier: Apache-2.0
//! Size and speed of TPC-H lineitem, column by column.
//!
//! `cargo run --release -p doris_storage --example lineitem [scale factor, default 1]`

use doris_storage::segment::{
    assemble, encode_column, ColumnReader, ColumnSpec, Footer, Order, SortOrder, Verify,
    WriteOptions,
};
use doris_storage::vector::{Physical, Vector, VectorBuilder};
use tpchgen::generators::{LineItem, LineItemGenerator};

/// The scheduler's clock is coarse: decode this often.
const REPEAT: usize = 20;

const SEGMENT_ROWS: usize = 1 << 20;

const COLUMNS: [(&str, Physical); 16] = [
    ("l_orderkey", Physical::I64),
    ("l_partkey", Physical::I32),
    ("l_suppkey", Physical::I32),
    ("l_linenumber", Physical::I32),
    ("l_quantity", Physical::I64),
    ("l_extendedprice", Physical::I64),
    ("l_discount", Physical::I64),
    ("l_tax", Physical::I64),
    ("l_returnflag", Physical::Bytes),
    ("l_linestatus", Physical::Bytes),
    ("l_shipdate", Physical::I32),
    ("l_commitdate", Physical::I32),
    ("l_receiptdate", Physical::I32),
    ("l_shipinstruct", Physical::Bytes),
    ("l_shipmode", Physical::Bytes),
    ("l_comment", Physical::Bytes),
];

/// Processor time of this thread, which a busy machine does not inflate.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

fn push(row: &LineItem<'_>, to: &mut [VectorBuilder]) {
    let decimal = |text: String| text.replace('.', "").parse::<i64>().unwrap();
    to[0].push_i64(row.l_orderkey);
    to[1].push_i32(row.l_partkey as i32);
    to[2].push_i32(row.l_suppkey as i32);
    to[3].push_i32(row.l_linenumber);
    // Declared numeric(15,2): scaled by 100.
    to[4].push_i64(row.l_quantity * 100);
    to[5].push_i64(decimal(row.l_extendedprice.to_string()));
    to[6].push_i64(decimal(row.l_discount.to_string()));
    to[7].push_i64(decimal(row.l_tax.to_string()));
    to[8].push_bytes(row.l_returnflag.as_bytes());
    to[9].push_bytes(row.l_linestatus.as_bytes());
    to[10].push_i32(row.l_shipdate.into_inner());
    to[11].push_i32(row.l_commitdate.into_inner());
    to[12].push_i32(row.l_receiptdate.into_inner());
    to[13].push_bytes(row.l_shipinstruct.as_bytes());
    to[14].push_bytes(row.l_shipmode.as_bytes());
    to[15].push_bytes(row.l_comment.as_bytes());
}

#[derive(Default, Clone)]
struct Totals {
    bytes: usize,
    raw: usize,
    encode_s: f64,
    decode_s: f64,
    slices_s: f64,
    encodings: Vec<&'static str>,
}

fn measure(
    i: usize,
    vector: &Vector,
    totals: &mut Totals,
) -> doris_storage::segment::EncodedColumn {
    let spec = ColumnSpec {
        id: i as u16 + 1,
        physical: vector.physical(),
        order: Order::Natural,
        scale: 0,
        tag: 0,
        bloom: false,
    };
    let start = cpu_seconds();
    let column = encode_column(&spec, vector, &WriteOptions::default()).unwrap();
    totals.encode_s += cpu_seconds() - start;
    totals.bytes += column.len();
    totals.raw += vector.memory_bytes();
    for block in &column.meta().blocks {
        let name = block.encoding.name();
        if !totals.encodings.contains(&name) {
            totals.encodings.push(name);
        }
    }
    column
}

fn read_back(stream: &[u8], footer_offset: u64, totals: &mut [Totals]) {
    let footer = Footer::decode(&stream[footer_offset as usize..], footer_offset).unwrap();
    let part = |r: std::ops::Range<u64>| &stream[r.start as usize..r.end as usize];
    for (column, totals) in footer.columns.iter().zip(totals) {
        let reader = ColumnReader::new(column, column.shared.clone().map(part)).unwrap();
        let mut out = Vector::empty(column.spec.physical);
        let start = cpu_seconds();
        for meta in (0..REPEAT).flat_map(|_| &column.blocks) {
            let block = reader
                .block(meta, part(meta.range()), Verify::Checksum)
                .unwrap();
            out.clear();
            block.decode(0..block.rows(), &mut out).unwrap();
        }
        totals.decode_s += (cpu_seconds() - start) / REPEAT as f64;
        let start = cpu_seconds();
        for meta in (0..REPEAT).flat_map(|_| &column.blocks) {
            let block = reader
                .block(meta, part(meta.range()), Verify::Trusted)
                .unwrap();
            for at in (0..block.rows()).step_by(2048) {
                out.clear();
                block
                    .decode(at..block.rows().min(at + 2048), &mut out)
                    .unwrap();
            }
        }
        totals.slices_s += (cpu_seconds() - start) / REPEAT as f64;
    }
}

fn main() {
    let scale: f64 = std::env::args().nth(1).map_or(1.0, |s| s.parse().unwrap());
    let generator = LineItemGenerator::new(scale, 1, 1);
    let mut builders: Vec<_> = COLUMNS
        .iter()
        .map(|(_, p)| VectorBuilder::new(*p))
        .collect();
    let mut totals = vec![Totals::default(); COLUMNS.len()];
    let (mut rows, mut footers) = (0, 0);
    let mut flush = |builders: &mut [VectorBuilder]| {
        let columns = builders.iter_mut().zip(&mut totals).enumerate();
        let columns = columns
            .map(|(i, (b, t))| measure(i, &b.finish(), t))
            .collect();
        let segment = assemble(SortOrder::default(), columns).unwrap();
        footers += segment.bytes.len() - segment.footer_offset as usize;
        read_back(&segment.bytes, segment.footer_offset, &mut totals);
    };
    for row in generator.iter() {
        push(&row, &mut builders);
        rows += 1;
        if rows % SEGMENT_ROWS == 0 {
            flush(&mut builders);
        }
    }
    flush(&mut builders);
    report(&totals, rows, footers);
}

fn report(totals: &[Totals], rows: usize, footers: usize) {
    println!(
        "column            MB   bits/row  encode Mrows/s  decode GB/s  slices GB/s  encodings"
    );
    for ((name, _), t) in COLUMNS.iter().zip(totals) {
        println!(
            "{name:15} {:6.2} {:8.2} {:12.1} {:13.2} {:12.2}    {}",
            t.bytes as f64 / 1e6,
            t.bytes as f64 * 8.0 / rows as f64,
            rows as f64 / t.encode_s / 1e6,
            t.raw as f64 / t.decode_s / 1e9,
            t.raw as f64 / t.slices_s / 1e9,
            t.encodings.join(" ")
        );
    }
    let sum = |f: fn(&Totals) -> f64| totals.iter().map(f).sum::<f64>();
    let bytes = sum(|t| t.bytes as f64) + footers as f64;
    let (encode, decode) = (sum(|t| t.encode_s), sum(|t| t.decode_s));
    println!(
        "{rows} rows: {:.1} MB, of which footers {:.2} MB",
        bytes / 1e6,
        footers as f64 / 1e6
    );
    println!(
        "encode {:.2} Mrows/s (all columns, one core)",
        rows as f64 / encode / 1e6
    );
    println!(
        "decode {:.2} Mrows/s (all columns, one core)",
        rows as f64 / decode / 1e6
    );
}
