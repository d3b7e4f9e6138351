// SPDX-License-Identifier: Apache-2.0
//! Transactions of the source that arrive before they have committed, each in a spool of its own, until it does.
//!
//! A worker that starts again has none of them: the slot sends whatever has not been applied from its beginning.
use super::spool::{Reader, Spool};
use doris_cdc::pgoutput::Commit;
use doris_cdc::streamed::{piece, Piece};
use pgrx::prelude::*;
use std::collections::{HashMap, HashSet};

/// The transactions put aside.
#[derive(Default)]
pub(crate) struct Streams {
    open: HashMap<u32, Streamed>,
    /// The transaction whose block of changes is arriving.
    block: Option<u32>,
}

/// What a message comes to.
pub(crate) enum Arrived<'a> {
    /// A message outside of such transactions.
    Whole(&'a [u8]),
    /// Something that has been noted.
    Nothing,
    /// A transaction has committed.
    Committed(u32, Streamed, Commit),
}

/// One transaction.
#[derive(Default)]
pub(crate) struct Streamed {
    /// Messages with the ids of their subtransactions.
    spool: Spool,
    aborted: HashSet<u32>,
}

impl Streams {
    /// Takes a message of the stream.
    pub(crate) fn take<'a>(&mut self, bytes: &'a [u8]) -> Arrived<'a> {
        match piece(bytes, self.block.is_some()).unwrap_or_else(|e| error!("{e}")) {
            Piece::Whole(bytes) => return Arrived::Whole(bytes),
            Piece::Start { xid, first } => {
                if first {
                    self.open.insert(xid, Streamed::default());
                }
                self.block = Some(xid);
            }
            Piece::Stop => self.block = None,
            Piece::Change { subxid, kind, rest } => {
                let streamed = self.block.and_then(|xid| self.open.get_mut(&xid));
                streamed
                    .unwrap_or_else(|| error!("a change of a transaction that has not begun"))
                    .spool
                    .push(subxid, &[kind], rest);
            }
            Piece::Abort { xid, subxid } if xid == subxid => {
                self.open.remove(&xid);
            }
            Piece::Abort { xid, subxid } => {
                if let Some(streamed) = self.open.get_mut(&xid) {
                    streamed.aborted.insert(subxid);
                }
            }
            Piece::Commit { xid, commit } => {
                let streamed = self.open.remove(&xid);
                let streamed =
                    streamed.unwrap_or_else(|| error!("transaction {xid} was not streamed"));
                return Arrived::Committed(xid, streamed, commit);
            }
        }
        Arrived::Nothing
    }
}

impl Streamed {
    /// Its messages in their order, without those of subtransactions that were rolled back.
    pub(crate) fn messages(&mut self) -> Messages<'_> {
        Messages {
            reader: self.spool.reader(),
            aborted: &self.aborted,
        }
    }
}

/// The messages of a transaction.
pub(crate) struct Messages<'a> {
    reader: Reader<'a>,
    aborted: &'a HashSet<u32>,
}

impl Messages<'_> {
    /// Copies the next message to `out`; false at the end.
    pub(crate) fn next(&mut self, out: &mut Vec<u8>) -> bool {
        while let Some(subxid) = self.reader.next(out) {
            // A description of a table holds from there on, whatever became of the subtransaction it came in.
            if out.first() == Some(&b'R') || !self.aborted.contains(&subxid) {
                return true;
            }
        }
        false
    }
}
