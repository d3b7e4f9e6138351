// SPDX-License-Identifier: Apache-2.0
//! Any bytes as a row block of any layout, with any bytes as its dictionary or symbol table. Every encoding is
//! behind this door.
#![no_main]

use arbitrary::Arbitrary;
use doris_storage::checksum::checksum;
use doris_storage::segment::{BlockMeta, ColumnMeta, ColumnReader, ColumnSpec, Encoding, Order, Verify};
use doris_storage::vector::{Physical, Vector};
use doris_storage::zone_map::ZoneMap;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    layout: u8,
    rows: u16,
    from: u16,
    shared: Option<&'a [u8]>,
    block: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let physical = match input.layout % 9 {
        0 => Physical::Bool,
        1 => Physical::I16,
        2 => Physical::I32,
        3 => Physical::I64,
        4 => Physical::I128,
        5 => Physical::F32,
        6 => Physical::F64,
        7 => Physical::Fixed(5),
        _ => Physical::Bytes,
    };
    let meta = ColumnMeta {
        spec: ColumnSpec { id: 1, physical, order: Order::Natural, scale: 0, tag: 0, bloom: false },
        zone: ZoneMap::default(),
        shared: input.shared.map(|bytes| 0..bytes.len() as u64),
        shared_checksum: input.shared.map_or(0, checksum),
        blocks: Vec::new(),
    };
    let Ok(reader) = ColumnReader::new(&meta, input.shared) else { return };
    let block = BlockMeta {
        offset: 0,
        len: input.block.len() as u32,
        rows: u32::from(input.rows),
        zone: ZoneMap::default(),
        encoding: Encoding::Plain,
        checksum: 0,
        bloom: None,
    };
    let Ok(block) = reader.block(&block, input.block, Verify::Trusted) else { return };
    let mut out = Vector::empty(physical);
    let _ = block.decode(0..block.rows(), &mut out);
    let from = usize::from(input.from).min(block.rows());
    let _ = block.decode(from..block.rows(), &mut Vector::empty(physical));
    let _ = block.gather(&[u32::from(input.from), 0], &mut Vector::empty(physical));
});
