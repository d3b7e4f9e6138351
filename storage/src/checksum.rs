// SPDX-License-Identifier: Apache-2.0
//! Checksums and hashes of stored bytes: XXH3, 64 bits, seed 0.

use crate::error::{Error, Result};

/// The checksum of some bytes.
pub fn checksum(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}

/// Compares bytes with the checksum stored for them. Under cargo-fuzz, which sets `fuzzing`, any bytes pass:
/// what lies behind must survive them too.
#[allow(unexpected_cfgs)]
pub(crate) fn verify(bytes: &[u8], expected: u64, what: &'static str) -> Result<()> {
    if cfg!(fuzzing) || checksum(bytes) == expected {
        Ok(())
    } else {
        Err(Error::Checksum { what })
    }
}
