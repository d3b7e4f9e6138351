// SPDX-License-Identifier: Apache-2.0
//! Any integers and any text come back from a segment as they were.
#![no_main]

use doris_storage::segment::{encode_column, ColumnReader, ColumnSpec, Order, Verify, WriteOptions};
use doris_storage::vector::{Physical, Vector, VectorBuilder};
use libfuzzer_sys::fuzz_target;

fn check(vector: &Vector) {
    let spec = ColumnSpec { id: 1, physical: vector.physical(), order: Order::Natural, scale: 0, tag: 0, bloom: true };
    let column = encode_column(&spec, vector, &WriteOptions { block_rows: 1500, ..WriteOptions::default() }).unwrap();
    let bytes = column.bytes();
    let part = |r: std::ops::Range<u64>| &bytes[r.start as usize..r.end as usize];
    let meta = column.meta();
    let reader = ColumnReader::new(meta, meta.shared.clone().map(part)).unwrap();
    let mut at = 0;
    for block in &meta.blocks {
        let open = reader.block(block, part(block.range()), Verify::Checksum).unwrap();
        let mut out = Vector::empty(vector.physical());
        open.decode(0..open.rows(), &mut out).unwrap();
        assert_eq!(out.into_flat(), vector.slice(at..at + open.rows()));
        at += open.rows();
    }
}

fuzz_target!(|input: (Vec<i64>, Vec<&[u8]>)| {
    let mut ints = VectorBuilder::new(Physical::I64);
    input.0.iter().for_each(|&v| ints.push_i64(v));
    check(&ints.finish());
    let mut text = VectorBuilder::new(Physical::Bytes);
    input.1.iter().for_each(|v| text.push_bytes(v));
    check(&text.finish());
});
