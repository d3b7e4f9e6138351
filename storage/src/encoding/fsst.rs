// SPDX-License-Identifier: Apache-2.0
//! Symbol tables for short strings (Boncz, Neumann, Leis: "FSST: Fast Random Access String
//! Compression", VLDB 2020). The `fsst-rs` crate trains and compresses; decompression is ours, because
//! it must survive corrupt codes.
//!
//! ```text
//! symbols: u8 | length: u8 x symbols | bytes of all symbols, back to back
//! ```
//! A code below `symbols` stands for its symbol of 1..=8 bytes; 255 precedes a literal byte.

use crate::error::{corrupt, Result};
use crate::wire::Reader;

const ESCAPE: u8 = 255;

/// A trained table, ready to compress.
pub(crate) struct Trained {
    compressor: fsst::Compressor,
}

impl Trained {
    /// Trains a table on samples of the column.
    pub(crate) fn train(sample: &Vec<&[u8]>) -> Self {
        Self {
            compressor: fsst::Compressor::train(sample),
        }
    }

    /// The codes of a value.
    pub(crate) fn compress(&self, value: &[u8]) -> Vec<u8> {
        self.compressor.compress(value)
    }

    /// Appends the table.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let lengths = self.compressor.symbol_lengths();
        out.push(lengths.len() as u8);
        out.extend_from_slice(lengths);
        for (symbol, &len) in self.compressor.symbol_table().iter().zip(lengths) {
            out.extend_from_slice(&symbol.to_u64().to_le_bytes()[..usize::from(len)]);
        }
    }
}

/// A stored table, ready to decompress.
#[derive(Debug, Clone)]
pub(crate) struct SymbolTable {
    symbols: [[u8; 8]; 256],
    /// Bytes of each symbol; 0 for codes without one.
    lengths: [u8; 256],
}

impl SymbolTable {
    /// Reads a table.
    pub(crate) fn open(r: &mut Reader<'_>) -> Result<Self> {
        let count = usize::from(r.u8()?);
        let mut table = Self {
            symbols: [[0; 8]; 256],
            lengths: [0; 256],
        };
        for (to, &len) in table.lengths.iter_mut().zip(r.take(count)?) {
            if !(1..=8).contains(&len) {
                return Err(corrupt("symbol of no or too many bytes"));
            }
            *to = len;
        }
        for (symbol, &len) in table.symbols.iter_mut().zip(&table.lengths[..count]) {
            let len = usize::from(len);
            symbol[..len].copy_from_slice(r.take(len)?);
        }
        Ok(table)
    }

    /// Decompresses one value's codes to `out[at..]`; returns the position past its end. At least 8
    /// bytes of `out` must lie past the last value's end.
    #[inline]
    pub(crate) fn decompress(&self, codes: &[u8], out: &mut [u8], mut at: usize) -> Result<usize> {
        let mut codes = codes.iter();
        while let Some(&code) = codes.next() {
            let Some(slot) = out.get_mut(at..at + 8) else {
                return Err(corrupt("compressed text longer than stated"));
            };
            if code == ESCAPE {
                slot[0] = *codes
                    .next()
                    .ok_or(corrupt("compressed text ends in an escape"))?;
                at += 1;
            } else {
                slot.copy_from_slice(&self.symbols[usize::from(code)]);
                at += usize::from(self.lengths[usize::from(code)]);
            }
        }
        Ok(at)
    }
}
