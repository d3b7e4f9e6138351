// SPDX-License-Identifier: Apache-2.0
//! Change capture without PostgreSQL: bytes of the replication stream in, folded changes of tables out.
//!
//! ```text
//! pattern            which tables a sync takes
//! binary_copy        rows of a binary COPY
//! stream             the envelope of a replication connection
//! pace               how often to look for new WAL
//! frame              what travels between the decoding and the applying process
//! streamed           parts of transactions that have not committed yet
//! pgoutput           one protocol message: begin, commit, relation, insert, update, delete, truncate
//! row                rows of a catalogue as text, read by the names of their columns
//! snapshot           which transactions the initial copy already holds
//! fold               the changes of one table in a batch, the changes of a key reduced to their net effect
//! schema_diff        what changed between two descriptions of a source table
//! rewrite_detection  whether a source was written anew without the stream telling
//! ```
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod binary_copy;
pub mod fold;
pub mod frame;
pub mod pace;
pub mod pattern;
pub mod pgoutput;
pub mod rewrite_detection;
pub mod row;
pub mod schema_diff;
pub mod snapshot;
pub mod stream;
pub mod streamed;

/// A position in the source's WAL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The end of the record before: the next one's place is behind the header of its page where one begins.
    pub fn before_page_header(self) -> Lsn {
        const PAGE: u64 = 8192;
        const SEGMENT_MIN: u64 = 1 << 20;
        let starts_page = self.0 % PAGE == 24;
        let starts_segment = self.0 % SEGMENT_MIN == 40;
        if starts_page || starts_segment {
            Lsn(self.0 - self.0 % PAGE)
        } else {
            self
        }
    }
}

impl std::fmt::Display for Lsn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 as u32)
    }
}

/// Reads big-endian values off the front of a slice; every read is checked.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

/// The bytes ended too early.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Short;

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8], Short> {
        if n > self.0.len() {
            return Err(Short);
        }
        let (head, tail) = self.0.split_at(n);
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Short> {
        self.take(N)?.try_into().map_err(|_| Short)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Short> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Short> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Short> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Short> {
        self.array().map(u64::from_be_bytes)
    }

    /// A string that ends with a zero byte.
    pub(crate) fn zstr(&mut self) -> Result<&'a [u8], Short> {
        let end = self.0.iter().position(|b| *b == 0).ok_or(Short)?;
        let text = self.take(end)?;
        self.take(1)?;
        Ok(text)
    }
}
