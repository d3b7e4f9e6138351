// SPDX-License-Identifier: Apache-2.0
//! Reading bytes that may be corrupt: every read is checked against what is left, so that no length in the input can
//! make the reader allocate more than the input's own size.

/// Why bytes are not a value of the type they claim to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SketchError {
    /// The bytes contradict the format.
    #[error("{0}")]
    Corrupt(&'static str),
    /// The bytes come from a later version of the format.
    #[error("format version {0} is not known to this version of pg_doris")]
    Version(u8),
}

/// A cursor over checked bytes, little-endian throughout.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A cursor at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], SketchError> {
        if len > self.rest.len() {
            return Err(SketchError::Corrupt("the value is truncated"));
        }
        let (head, rest) = self.rest.split_at(len);
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], SketchError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    /// The next byte.
    pub fn u8(&mut self) -> Result<u8, SketchError> {
        Ok(self.array::<1>()?[0])
    }

    /// The next two bytes as a number.
    pub fn u16(&mut self) -> Result<u16, SketchError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// The next four bytes as a number.
    pub fn u32(&mut self) -> Result<u32, SketchError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// The next eight bytes as a number.
    pub fn u64(&mut self) -> Result<u64, SketchError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// The next eight bytes as a signed number.
    pub fn i64(&mut self) -> Result<i64, SketchError> {
        Ok(self.u64()? as i64)
    }

    /// The next eight bytes as a floating-point number.
    pub fn f64(&mut self) -> Result<f64, SketchError> {
        Ok(f64::from_bits(self.u64()?))
    }

    /// A number of items of `item_bytes` each that the rest of the input can still hold.
    pub fn count(&mut self, item_bytes: usize) -> Result<usize, SketchError> {
        let count = self.u64()?;
        let room = (self.rest.len() / item_bytes.max(1)) as u64;
        if count > room {
            return Err(SketchError::Corrupt("the value is truncated"));
        }
        Ok(count as usize)
    }

    /// A run of bytes preceded by its length.
    pub fn bytes(&mut self) -> Result<&'a [u8], SketchError> {
        let len = self.count(1)?;
        self.take(len)
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Fails unless everything was read.
    pub fn end(&self) -> Result<(), SketchError> {
        match self.rest {
            [] => Ok(()),
            _ => Err(SketchError::Corrupt("bytes follow the end of the value")),
        }
    }

    /// Reads a format version and fails on one that is not `known`.
    pub fn version(&mut self, known: u8) -> Result<(), SketchError> {
        match self.u8()? {
            version if version == known => Ok(()),
            0 => Err(SketchError::Corrupt("the format version is zero")),
            version => Err(SketchError::Version(version)),
        }
    }
}

/// Appends a run of bytes preceded by its length, as [`Reader::bytes`] reads it.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend(bytes);
}
