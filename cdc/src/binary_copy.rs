// SPDX-License-Identifier: Apache-2.0
//! Rows of a binary COPY, cut out of the pieces they arrive in and turned into the form of the stream's tuples.
//!
//! ```text
//! header: signature 11 bytes, flags u32, length u32 of an extension to skip
//! row:    columns i16 (-1 is the end), then for each: length i32 (-1 is null), bytes
//! ```
use crate::{Reader, Short};

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// Bytes that are no binary COPY, or one of another number of columns.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("corrupt copy of a table")]
pub struct CorruptCopy;

/// Cuts rows out of the pieces of a copy.
#[derive(Debug, Default)]
pub struct Rows {
    waiting: Vec<u8>,
    taken: usize,
    begun: bool,
    ended: bool,
    row: Vec<u8>,
}

impl Rows {
    /// Takes the next piece.
    pub fn feed(&mut self, piece: &[u8]) {
        self.waiting.drain(..self.taken);
        self.taken = 0;
        self.waiting.extend_from_slice(piece);
    }

    /// Whether the copy has come to its end.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// The bytes of the next row as a tuple of `text.len()` columns, of which those marked are in text form. `None`
    /// if the row is not whole yet, or at the end.
    pub fn next(&mut self, text: &[bool]) -> Result<Option<&[u8]>, CorruptCopy> {
        if !self.begun && !self.header()? {
            return Ok(None);
        }
        if self.ended {
            return Ok(None);
        }
        let mut r = Reader(&self.waiting[self.taken..]);
        self.row.clear();
        match cut(&mut r, text, &mut self.row) {
            Ok(Cut::Row) => {
                self.taken = self.waiting.len() - r.0.len();
                Ok(Some(&self.row))
            }
            Ok(Cut::End) => {
                self.ended = true;
                Ok(None)
            }
            Ok(Cut::Wrong) => Err(CorruptCopy),
            Err(Short) => Ok(None),
        }
    }

    fn header(&mut self) -> Result<bool, CorruptCopy> {
        let known = self.waiting.len().min(SIGNATURE.len());
        if self.waiting[..known] != SIGNATURE[..known] {
            return Err(CorruptCopy);
        }
        let mut r = Reader(&self.waiting);
        let read = r
            .take(SIGNATURE.len() + 4)
            .and_then(|_| r.u32())
            .and_then(|n| r.take(n as usize));
        if read.is_ok() {
            self.taken = self.waiting.len() - r.0.len();
            self.begun = true;
        }
        Ok(self.begun)
    }
}

enum Cut {
    Row,
    End,
    Wrong,
}

fn cut(r: &mut Reader<'_>, text: &[bool], row: &mut Vec<u8>) -> Result<Cut, Short> {
    let columns = r.u16()?;
    if columns == u16::MAX {
        return Ok(Cut::End);
    }
    if columns as usize != text.len() {
        return Ok(Cut::Wrong);
    }
    for text in text {
        let length = r.u32()?;
        if length == u32::MAX {
            row.push(b'n');
            continue;
        }
        let bytes = r.take(length as usize)?;
        row.push(if *text { b't' } else { b'b' });
        row.extend_from_slice(&length.to_be_bytes());
        row.extend_from_slice(bytes);
    }
    Ok(Cut::Row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pgoutput::{Tuple, Value};

    fn copy() -> Vec<u8> {
        let mut out = SIGNATURE.to_vec();
        out.extend_from_slice(&0u32.to_be_bytes());
        out.extend_from_slice(&3u32.to_be_bytes());
        out.extend_from_slice(b"ext");
        for n in 0..3u32 {
            out.extend_from_slice(&2u16.to_be_bytes());
            out.extend_from_slice(&4u32.to_be_bytes());
            out.extend_from_slice(&n.to_be_bytes());
            if n == 1 {
                out.extend_from_slice(&u32::MAX.to_be_bytes());
            } else {
                out.extend_from_slice(&2u32.to_be_bytes());
                out.extend_from_slice(b"ab");
            }
        }
        out.extend_from_slice(&u16::MAX.to_be_bytes());
        out
    }

    #[test]
    fn rows_come_out_whole_however_they_are_cut() {
        let all = copy();
        for size in 1..all.len() + 1 {
            let (mut rows, mut count) = (Rows::default(), 0);
            for piece in all.chunks(size) {
                rows.feed(piece);
                while let Some(bytes) = rows.next(&[false, true]).unwrap() {
                    let values: Vec<_> = Tuple::from_checked(2, bytes).values().collect();
                    assert_eq!(values[0], Value::Binary(&(count as u32).to_be_bytes()));
                    let second = if count == 1 {
                        Value::Null
                    } else {
                        Value::Text(b"ab")
                    };
                    assert_eq!(values[1], second);
                    count += 1;
                }
            }
            assert!(rows.ended());
            assert_eq!(count, 3);
        }
    }

    #[test]
    fn other_bytes_are_an_error() {
        let mut rows = Rows::default();
        rows.feed(b"1,2\n");
        assert_eq!(rows.next(&[false]), Err(CorruptCopy));
        let mut rows = Rows::default();
        rows.feed(&copy());
        assert_eq!(rows.next(&[false]), Err(CorruptCopy));
    }
}
