// SPDX-License-Identifier: Apache-2.0
//! Little-endian integers and varints: how headers and footers are written and read.
//! A reader checks every length before it slices or allocates.

use crate::error::{corrupt, Result};

/// Appends an unsigned LEB128 integer.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed integer: zigzag, then LEB128.
pub(crate) fn put_signed(out: &mut Vec<u8>, value: i128) {
    put_varint(out, ((value << 1) ^ (value >> 127)) as u128);
}

/// Appends a length and the bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u128);
    out.extend_from_slice(bytes);
}

/// A cursor over bytes that may be corrupt.
pub(crate) struct Reader<'a> {
    data: &'a [u8],
    pos: usize,
}

impl<'a> Reader<'a> {
    /// A reader of `data` from its start.
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { data, pos: 0 }
    }

    /// Bytes read so far.
    pub(crate) fn pos(&self) -> usize {
        self.pos
    }

    /// Bytes left.
    pub(crate) fn remaining(&self) -> usize {
        self.data.len() - self.pos
    }

    /// The next `n` bytes.
    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        if n > self.remaining() {
            return Err(corrupt("data ends early"));
        }
        let bytes = &self.data[self.pos..self.pos + n];
        self.pos += n;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// An unsigned LEB128 integer.
    pub(crate) fn varint(&mut self) -> Result<u128> {
        let mut value = 0u128;
        for shift in (0..133).step_by(7) {
            let byte = self.u8()?;
            let bits = u128::from(byte & 0x7f);
            if shift == 126 && bits > 3 {
                return Err(corrupt("varint too long"));
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(corrupt("varint too long"))
    }

    /// A varint that fits in 64 bits.
    pub(crate) fn varint64(&mut self) -> Result<u64> {
        u64::try_from(self.varint()?).map_err(|_| corrupt("varint too large"))
    }

    /// A varint that fits in 32 bits.
    pub(crate) fn varint32(&mut self) -> Result<u32> {
        u32::try_from(self.varint()?).map_err(|_| corrupt("varint too large"))
    }

    /// A zigzag integer.
    pub(crate) fn signed(&mut self) -> Result<i128> {
        let raw = self.varint()?;
        Ok((raw >> 1) as i128 ^ -((raw & 1) as i128))
    }

    /// A length and that many bytes.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8]> {
        let len = usize::try_from(self.varint()?).map_err(|_| corrupt("length too large"))?;
        self.take(len)
    }
}
