// SPDX-License-Identifier: Apache-2.0
//! Transactions that are sent before they have committed (protocol version 2): blocks of their changes, which end with
//! a commit or an abort of the whole, or of a subtransaction.
//!
//! Inside of a block a message carries the id of the subtransaction behind its kind, which is taken out, so that what
//! remains is a message of version 1.
use crate::pgoutput::{Commit, DecodeError};
use crate::{Lsn, Reader};

/// What a message of the stream is.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// An ordinary message.
    Whole(&'a [u8]),
    /// A block of a transaction's changes begins.
    Start {
        /// The transaction.
        xid: u32,
        /// Nothing of it came before.
        first: bool,
    },
    /// The block ends.
    Stop,
    /// A message of the open block without its id: kind and rest.
    Change {
        /// The transaction or subtransaction that made the change.
        subxid: u32,
        /// The message's tag.
        kind: u8,
        /// What is behind the id.
        rest: &'a [u8],
    },
    /// A transaction that was streamed has committed.
    Commit {
        /// The transaction.
        xid: u32,
        /// Where and when.
        commit: Commit,
    },
    /// It, or a subtransaction of it, was rolled back.
    Abort {
        /// The transaction.
        xid: u32,
        /// What was rolled back: the same, or a subtransaction of it.
        subxid: u32,
    },
}

/// Tells what a message is; `in_block` says whether a block is open.
pub fn piece(bytes: &[u8], in_block: bool) -> Result<Piece<'_>, DecodeError> {
    let mut r = Reader(bytes);
    let kind = r.u8()?;
    let piece = match kind {
        b'S' => Piece::Start {
            xid: r.u32()?,
            first: r.u8()? == 1,
        },
        b'E' => Piece::Stop,
        b'c' => {
            let xid = r.u32()?;
            r.u8()?;
            let (commit_lsn, end_lsn) = (Lsn(r.u64()?), Lsn(r.u64()?));
            let commit_us = r.u64()? as i64;
            Piece::Commit {
                xid,
                commit: Commit {
                    commit_lsn,
                    end_lsn,
                    commit_us,
                },
            }
        }
        b'A' => Piece::Abort {
            xid: r.u32()?,
            subxid: r.u32()?,
        },
        // The origin of a block has no id.
        b'O' => return Ok(Piece::Whole(bytes)),
        _ if in_block => {
            let subxid = r.u32()?;
            return Ok(Piece::Change {
                subxid,
                kind,
                rest: r.0,
            });
        }
        _ => return Ok(Piece::Whole(bytes)),
    };
    match r.0.len() {
        0 => Ok(piece),
        left => Err(DecodeError::Long {
            kind: kind as char,
            left,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_their_ends_are_told_apart() {
        let start = [b'S', 0, 0, 0, 7, 1];
        assert_eq!(
            piece(&start, false),
            Ok(Piece::Start {
                xid: 7,
                first: true
            })
        );
        assert_eq!(piece(b"E", true), Ok(Piece::Stop));
        let abort = [b'A', 0, 0, 0, 7, 0, 0, 0, 9];
        assert_eq!(piece(&abort, false), Ok(Piece::Abort { xid: 7, subxid: 9 }));
        let mut commit = vec![b'c', 0, 0, 0, 7, 0];
        for n in [1u64, 2, 3] {
            commit.extend_from_slice(&n.to_be_bytes());
        }
        let expected = Commit {
            commit_lsn: Lsn(1),
            end_lsn: Lsn(2),
            commit_us: 3,
        };
        assert_eq!(
            piece(&commit, false),
            Ok(Piece::Commit {
                xid: 7,
                commit: expected
            })
        );
        commit.push(0);
        assert!(piece(&commit, false).is_err());
        assert!(piece(&start[..4], false).is_err());
        assert!(piece(b"", false).is_err());
    }

    #[test]
    fn changes_lose_their_id_inside_of_a_block_only() {
        let message = [b'I', 0, 0, 0, 9, 1, 2, 3];
        assert_eq!(
            piece(&message, true),
            Ok(Piece::Change {
                subxid: 9,
                kind: b'I',
                rest: &[1, 2, 3]
            })
        );
        assert_eq!(piece(&message, false), Ok(Piece::Whole(&message)));
    }
}
