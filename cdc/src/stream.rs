// SPDX-License-Identifier: Apache-2.0
//! The envelope of a replication connection: what a source sends around its messages, and the reports it gets back.
use crate::{Lsn, Reader, Short};

/// A message of the connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Sent<'a> {
    /// A message of the output plugin.
    Data(&'a [u8]),
    /// All transactions that committed before `end` have been sent; an answer may be wanted.
    Alive {
        /// How far the source has got.
        end: Lsn,
        /// The source waits for an answer.
        answer: bool,
    },
}

/// Bytes that are no message of a replication connection.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("corrupt message of a replication connection")]
pub struct CorruptMessage;

impl From<Short> for CorruptMessage {
    fn from(_: Short) -> Self {
        CorruptMessage
    }
}

/// Reads what a source sent.
pub fn sent(bytes: &[u8]) -> Result<Sent<'_>, CorruptMessage> {
    let mut r = Reader(bytes);
    match r.u8()? {
        b'w' => {
            // Start and end of the data, and when it was sent.
            r.take(24)?;
            Ok(Sent::Data(r.0))
        }
        b'k' => {
            let end = Lsn(r.u64()?);
            r.u64()?;
            let answer = r.u8()? != 0;
            Ok(Sent::Alive { end, answer })
        }
        _ => Err(CorruptMessage),
    }
}

/// A report to the source: received up to `received`, durable up to `flushed`.
pub fn report(received: Lsn, flushed: Lsn, now_us: i64, answer: bool) -> Vec<u8> {
    let mut out = vec![b'r'];
    for lsn in [received, flushed, flushed] {
        out.extend_from_slice(&lsn.0.to_be_bytes());
    }
    out.extend_from_slice(&now_us.to_be_bytes());
    out.push(answer as u8);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelopes_open() {
        let mut data = vec![b'w'];
        data.extend_from_slice(&[0; 24]);
        data.extend_from_slice(b"abc");
        assert_eq!(sent(&data), Ok(Sent::Data(b"abc")));
        let mut alive = vec![b'k'];
        alive.extend_from_slice(&7u64.to_be_bytes());
        alive.extend_from_slice(&9u64.to_be_bytes());
        alive.push(1);
        let expected = Sent::Alive {
            end: Lsn(7),
            answer: true,
        };
        assert_eq!(sent(&alive), Ok(expected));
        for bytes in [&b""[..], b"x", &alive[..17], &data[..20]] {
            assert_eq!(sent(bytes), Err(CorruptMessage));
        }
    }

    #[test]
    fn a_report_has_the_size_of_the_protocol() {
        let bytes = report(Lsn(1), Lsn(2), 3, true);
        assert_eq!(bytes.len(), 1 + 8 * 4 + 1);
        assert_eq!((bytes[0], bytes[8], bytes[16], bytes[33]), (b'r', 1, 2, 1));
    }
}
