// SPDX-License-Identifier: Apache-2.0
//! Spilling: what does not fit into memory, as bytes in temporary files.
//!
//! The caller gives the files ([`SpillStore`]); operators write runs of vectors and keep where each run lies.
//! A run is `count`, then for each vector its layout, row count, validity and values, all little-endian:
//! read back by the same process only, so the format has no version.

use std::sync::{Arc, Mutex};

use doris_storage::vector::{Bitmap, BytesColumn, Values, Vector};

use crate::error::{Error, Result};
use crate::exec::driver::lock;
use crate::gather::flat_bytes;
use crate::memory;

/// Makes temporary files; called from any thread.
pub trait SpillStore: Send + Sync {
    /// A new, empty file, gone when dropped.
    fn create(&self) -> Result<Box<dyn SpillFile>>;
}

/// A temporary file.
pub trait SpillFile: Send {
    /// Appends bytes.
    fn append(&mut self, bytes: &[u8]) -> Result<()>;
    /// Fills `buffer` from `offset`.
    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<()>;
}

/// A spill file that several threads append to and read from.
pub struct SharedSpill {
    file: Mutex<(Box<dyn SpillFile>, u64)>,
}

/// Where a run lies in its file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Run {
    offset: u64,
    bytes: u64,
}

impl Run {
    /// Bytes of the run.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl SharedSpill {
    /// A new file of `store`; [`Error::OutOfMemory`] without one.
    pub fn create(store: Option<&dyn SpillStore>) -> Result<Arc<Self>> {
        let file = store.ok_or(Error::OutOfMemory)?.create()?;
        Ok(Arc::new(Self {
            file: Mutex::new((file, 0)),
        }))
    }

    /// Appends vectors as a run.
    pub fn write(&self, vectors: &[Vector]) -> Result<Run> {
        let mut bytes = memory::vec(vectors.iter().map(encoded_bytes).sum::<usize>() + 4)?;
        put_u32(&mut bytes, vectors.len());
        vectors.iter().for_each(|vector| encode(&mut bytes, vector));
        let mut file = lock(&self.file);
        let offset = file.1;
        file.0.append(&bytes)?;
        file.1 += bytes.len() as u64;
        Ok(Run {
            offset,
            bytes: bytes.len() as u64,
        })
    }

    /// Reads a run back.
    pub fn read(&self, run: Run) -> Result<Vec<Vector>> {
        let mut bytes = memory::vec(run.bytes as usize)?;
        bytes.resize(run.bytes as usize, 0);
        lock(&self.file).0.read(run.offset, &mut bytes)?;
        let mut reader = Reader { bytes: &bytes };
        let count = reader.u32()?;
        (0..count).map(|_| reader.vector()).collect()
    }
}

fn put_u32(out: &mut Vec<u8>, value: usize) {
    out.extend_from_slice(&(value as u32).to_le_bytes());
}

/// At most how many bytes [`encode`] writes.
fn encoded_bytes(vector: &Vector) -> usize {
    let rows = vector.len();
    let values = match &vector.values {
        Values::Bool(_) => rows,
        Values::I16(_) => rows * 2,
        Values::I32(_) | Values::F32(_) => rows * 4,
        Values::I64(_) | Values::F64(_) => rows * 8,
        Values::I128(_) => rows * 16,
        Values::Fixed { data, .. } => data.len(),
        Values::Bytes(_) | Values::Dict { .. } => rows * 4 + flat_bytes(vector),
    };
    // Layout, number of rows, and validity.
    values + 8 + rows.div_ceil(64) * 8
}

fn encode(out: &mut Vec<u8>, vector: &Vector) {
    let rows = vector.len();
    macro_rules! numbers {
        ($tag:literal, $v:expr) => {{
            out.extend_from_slice(&[$tag, 0, 0]);
            put_u32(out, rows);
            $v.iter()
                .for_each(|x| out.extend_from_slice(&x.to_le_bytes()));
        }};
    }
    match &vector.values {
        Values::Bool(v) => numbers!(0, v),
        Values::I16(v) => numbers!(1, v),
        Values::I32(v) => numbers!(2, v),
        Values::I64(v) => numbers!(3, v),
        Values::I128(v) => numbers!(4, v),
        Values::F32(v) => numbers!(5, v),
        Values::F64(v) => numbers!(6, v),
        Values::Fixed { width, data } => {
            out.push(7);
            out.extend_from_slice(&width.to_le_bytes());
            put_u32(out, rows);
            out.extend_from_slice(data);
        }
        Values::Bytes(_) | Values::Dict { .. } => {
            out.extend_from_slice(&[8, 0, 0]);
            put_u32(out, rows);
            for i in 0..rows {
                let value = if vector.is_null(i) {
                    None
                } else {
                    vector.bytes(i)
                };
                let value = value.unwrap_or_default();
                put_u32(out, value.len());
                out.extend_from_slice(value);
            }
        }
    }
    out.push(u8::from(vector.validity.is_some()));
    if let Some(bits) = &vector.validity {
        bits.words()
            .iter()
            .for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
    }
}

/// Takes values off the front of a run.
struct Reader<'b> {
    bytes: &'b [u8],
}

impl<'b> Reader<'b> {
    fn take(&mut self, n: usize) -> Result<&'b [u8]> {
        let (head, rest) = self
            .bytes
            .split_at_checked(n)
            .ok_or_else(|| Error::internal("a spilled run ends early"))?;
        self.bytes = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    fn u32(&mut self) -> Result<usize> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    /// Bytes of the next values, which have their lengths before them.
    fn text_bytes(&self, rows: usize) -> Result<usize> {
        let mut ahead = Reader { bytes: self.bytes };
        let mut bytes = 0;
        for _ in 0..rows {
            let length = ahead.u32()?;
            ahead.take(length)?;
            bytes += length;
        }
        Ok(bytes)
    }

    fn vector(&mut self) -> Result<Vector> {
        let [tag] = self.array()?;
        let width = u16::from_le_bytes(self.array()?);
        let rows = self.u32()?;
        macro_rules! numbers {
            ($layout:ident, $t:ty) => {{
                let raw = self.take(rows * size_of::<$t>())?;
                let number = |bytes: &[u8]| {
                    let mut raw = [0; size_of::<$t>()];
                    raw.copy_from_slice(bytes);
                    <$t>::from_le_bytes(raw)
                };
                let mut values = memory::vec(rows)?;
                values.extend(raw.chunks_exact(size_of::<$t>()).map(number));
                Values::$layout(values)
            }};
        }
        let values = match tag {
            0 => Values::Bool(self.take(rows)?.to_vec()),
            1 => numbers!(I16, i16),
            2 => numbers!(I32, i32),
            3 => numbers!(I64, i64),
            4 => numbers!(I128, i128),
            5 => numbers!(F32, f32),
            6 => numbers!(F64, f64),
            7 => Values::Fixed {
                width,
                data: self.take(rows * usize::from(width))?.to_vec(),
            },
            _ => {
                let mut column = BytesColumn {
                    offsets: memory::vec(rows + 1)?,
                    data: memory::vec(self.text_bytes(rows)?)?,
                };
                column.offsets.push(0);
                for _ in 0..rows {
                    let n = self.u32()?;
                    column.push(self.take(n)?);
                }
                Values::Bytes(column)
            }
        };
        let [has_validity] = self.array()?;
        let validity = match has_validity {
            0 => None,
            _ => {
                let words = (0..rows.div_ceil(64)).map(|_| Ok(u64::from_le_bytes(self.array()?)));
                Some(Bitmap::from_words(words.collect::<Result<_>>()?, rows))
            }
        };
        Ok(Vector { values, validity })
    }
}

/// Files in memory, for tests.
#[derive(Default)]
pub struct MemorySpill;

impl SpillStore for MemorySpill {
    fn create(&self) -> Result<Box<dyn SpillFile>> {
        Ok(Box::new(MemoryFile(Vec::new())))
    }
}

struct MemoryFile(Vec<u8>);

impl SpillFile for MemoryFile {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let from = offset as usize;
        let stored = self
            .0
            .get(from..from + buffer.len())
            .ok_or_else(|| Error::internal("read past a spill file"))?;
        buffer.copy_from_slice(stored);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
