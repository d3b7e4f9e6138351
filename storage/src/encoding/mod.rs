// SPDX-License-Identifier: Apache-2.0
//! Lightweight encodings of one row block of one column.
//!
//! Every encoding has the same shape: `encode` appends the payload to a buffer, `Layout::open` checks
//! the payload's structure and remembers where its parts lie, `decode` appends a range of rows and
//! `get` fetches one. After `open` no offset is out of bounds, so decoders return errors only for what
//! they can see while decoding, and never panic or allocate more than the rows asked for.
//!
//! Integers (`int`): constant, plain, `packed` (frame of reference), `delta`, `runs`, `scaled`, `lookup`,
//! `patched`, and a chooser that picks by size with a small bias to the cheaper decoder. Everything else is
//! built on integer streams: lengths of byte values, dictionary codes, decimal floats, validity runs.

pub(crate) mod bits;
pub(crate) mod bytes;
pub(crate) mod delta;
pub(crate) mod fixed;
pub(crate) mod float;
pub(crate) mod frames;
pub(crate) mod fsst;
pub(crate) mod int;
pub(crate) mod lookup;
pub(crate) mod packed;
pub(crate) mod patched;
pub(crate) mod runs;
pub(crate) mod scaled;
#[cfg(test)]
mod tests;
mod units;
pub(crate) mod validity;

use crate::error::{Error, Result};

/// Blocks of memory of this size are asked for in a way that can fail.
const LARGE_BYTES: usize = 1 << 20;

/// Makes room for so many bytes more.
///
/// # Errors
/// `OutOfMemory` where they are many, and the system has none.
pub(crate) fn make_room(out: &mut Vec<u8>, more: usize) -> Result<()> {
    if more < LARGE_BYTES || out.capacity() - out.len() >= more {
        return Ok(());
    }
    out.try_reserve_exact(more).map_err(|_| Error::OutOfMemory)
}

/// Values in a unit: the granule of bit widths, of references and of random access.
pub const UNIT: usize = 1024;
