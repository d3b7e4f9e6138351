// SPDX-License-Identifier: Apache-2.0
//! Messages put aside in a temporary file: those of transactions that have not committed, those of tables that are
//! being copied. Memory holds one piece of the file at a time.
//!
//! ```text
//! entry: tag u32, length u32, bytes
//! ```
use crate::plan::spill::TempFiles;
use doris_engine::error::{Error, Result};
use doris_engine::spill::{SpillFile, SpillStore};
use pgrx::prelude::*;

/// Bytes that are written or read at once.
const PIECE_BYTES: usize = 64 << 10;
const HEAD_BYTES: usize = 8;

/// A file of messages, each with a number of the caller's.
#[derive(Default)]
pub(crate) struct Spool {
    /// Made when the first piece is full: small spools stay in memory.
    file: Option<Box<dyn SpillFile>>,
    /// Bytes in the file; what is newer is in `tail`.
    written: u64,
    tail: Vec<u8>,
}

impl Spool {
    /// Adds a message of two parts.
    pub(crate) fn push(&mut self, tag: u32, head: &[u8], rest: &[u8]) {
        let length = (head.len() + rest.len()) as u32;
        self.tail.extend_from_slice(&tag.to_ne_bytes());
        self.tail.extend_from_slice(&length.to_ne_bytes());
        self.tail.extend_from_slice(head);
        self.tail.extend_from_slice(rest);
        if self.tail.len() >= PIECE_BYTES {
            check(self.write());
        }
    }

    fn write(&mut self) -> Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(TempFiles::new().create()?),
        };
        file.append(&self.tail)?;
        self.written += self.tail.len() as u64;
        self.tail.clear();
        Ok(())
    }

    /// Begins to read the messages in their order.
    pub(crate) fn reader(&mut self) -> Reader<'_> {
        Reader {
            spool: self,
            at: 0,
            piece: Vec::new(),
            from: 0,
        }
    }
}

/// Reads a spool.
pub(crate) struct Reader<'a> {
    spool: &'a mut Spool,
    /// Where the next message begins.
    at: u64,
    /// Bytes of the file from `from` on.
    piece: Vec<u8>,
    from: u64,
}

impl Reader<'_> {
    /// The next message is copied to `out`; its number is returned.
    pub(crate) fn next(&mut self, out: &mut Vec<u8>) -> Option<u32> {
        if self.at == self.spool.written + self.spool.tail.len() as u64 {
            return None;
        }
        let mut head = [0; HEAD_BYTES];
        self.take(&mut head);
        let [a, b, c, d, e, f, g, h] = head;
        out.resize(u32::from_ne_bytes([e, f, g, h]) as usize, 0);
        self.take(out);
        Some(u32::from_ne_bytes([a, b, c, d]))
    }

    fn take(&mut self, out: &mut [u8]) {
        let mut done = 0;
        while done < out.len() {
            let source = if self.at >= self.spool.written {
                let skip = (self.at - self.spool.written) as usize;
                &self.spool.tail[skip..]
            } else {
                self.load();
                &self.piece[(self.at - self.from) as usize..]
            };
            let n = source.len().min(out.len() - done);
            if n == 0 {
                error!("a temporary file of changes ends too early");
            }
            out[done..done + n].copy_from_slice(&source[..n]);
            done += n;
            self.at += n as u64;
        }
    }

    /// Sees to it that the piece holds the byte to be read next.
    fn load(&mut self) {
        if self.at >= self.from && self.at < self.from + self.piece.len() as u64 {
            return;
        }
        let left = (self.spool.written - self.at).min(PIECE_BYTES as u64) as usize;
        self.piece.resize(left, 0);
        self.from = self.at;
        if let Some(file) = &mut self.spool.file {
            check(file.read(self.from, &mut self.piece));
        }
    }
}

fn check<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| {
        let code = match &error {
            Error::Spill { code, .. } if *code == "53100" => PgSqlErrorCode::ERRCODE_DISK_FULL,
            _ => PgSqlErrorCode::ERRCODE_IO_ERROR,
        };
        ereport!(ERROR, code, error.to_string());
    })
}
