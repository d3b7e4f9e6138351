// SPDX-License-Identifier: Apache-2.0
//! A packet is what one send through the queue carries: frames, one behind the other.
//!
//! ```text
//! frame: kind u8 ('D' a pgoutput message, 'P' everything before this position has been sent, 'E' the end: why)
//!        lsn u64, length u32, bytes
//! ```
use crate::{Lsn, Reader, Short};

/// One frame of a packet.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A pgoutput message.
    Data(&'a [u8]),
    /// All transactions that committed before this position have been sent.
    Progress(Lsn),
    /// The sender failed and stops.
    Failure(&'a str),
}

/// A packet that does not consist of whole frames.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("corrupt packet of changes")]
pub struct CorruptPacket;

impl From<Short> for CorruptPacket {
    fn from(_: Short) -> Self {
        CorruptPacket
    }
}

/// Appends a message to a packet.
pub fn put_data(packet: &mut Vec<u8>, message: &[u8]) {
    put(packet, b'D', Lsn(0), message);
}

/// Appends a position to a packet.
pub fn put_progress(packet: &mut Vec<u8>, lsn: Lsn) {
    put(packet, b'P', lsn, &[]);
}

/// Appends the reason why nothing will follow.
pub fn put_failure(packet: &mut Vec<u8>, why: &str) {
    put(packet, b'E', Lsn(0), why.as_bytes());
}

/// How far a packet leads: behind the last of its commits, or to the last position in it; 0 without either.
pub fn reach(mut packet: &[u8]) -> Result<Lsn, CorruptPacket> {
    let mut end = Lsn(0);
    while let Some(frame) = next(&mut packet)? {
        let reached = match frame {
            Frame::Data(message) => end_of_commit(message)?,
            Frame::Progress(lsn) => Some(lsn),
            Frame::Failure(_) => None,
        };
        end = end.max(reached.unwrap_or_default());
    }
    Ok(end)
}

/// Where the transaction ends whose commit this message is, streamed or not.
fn end_of_commit(message: &[u8]) -> Result<Option<Lsn>, CorruptPacket> {
    let mut r = Reader(message);
    let before = match message.first() {
        // Kind, flags, and the place of the record; behind the kind, the id of a streamed transaction.
        Some(b'C') => 1 + 1 + 8,
        Some(b'c') => 1 + 4 + 1 + 8,
        _ => return Ok(None),
    };
    r.take(before)?;
    Ok(Some(Lsn(r.u64()?)))
}

fn put(packet: &mut Vec<u8>, kind: u8, lsn: Lsn, bytes: &[u8]) {
    packet.push(kind);
    packet.extend_from_slice(&lsn.0.to_be_bytes());
    packet.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    packet.extend_from_slice(bytes);
}

/// Takes the first frame off `packet`; `None` at its end.
pub fn next<'a>(packet: &mut &'a [u8]) -> Result<Option<Frame<'a>>, CorruptPacket> {
    if packet.is_empty() {
        return Ok(None);
    }
    let mut r = Reader(packet);
    let (kind, lsn, len) = (r.u8()?, Lsn(r.u64()?), r.u32()?);
    let bytes = r.take(len as usize)?;
    *packet = r.0;
    match kind {
        b'D' => Ok(Some(Frame::Data(bytes))),
        b'P' => Ok(Some(Frame::Progress(lsn))),
        b'E' => Ok(Some(Frame::Failure(
            std::str::from_utf8(bytes).unwrap_or("the sender failed"),
        ))),
        _ => Err(CorruptPacket),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parcel_leads_to_the_end_of_its_last_commit_or_to_its_last_position() {
        let commit = |start: &[u8], end: u64| {
            let mut message = start.to_vec();
            for number in [end - 1, end, 3] {
                message.extend_from_slice(&number.to_be_bytes());
            }
            message
        };
        let mut packet = Vec::new();
        put_data(&mut packet, b"I12345678901234567890");
        assert_eq!(reach(&packet), Ok(Lsn(0)));
        put_data(&mut packet, &commit(b"C\0", 70));
        assert_eq!(reach(&packet), Ok(Lsn(70)));
        put_data(&mut packet, &commit(b"c\0\0\0\x07\0", 90));
        assert_eq!(reach(&packet), Ok(Lsn(90)));
        put_progress(&mut packet, Lsn(80));
        assert_eq!(reach(&packet), Ok(Lsn(90)));
        put_progress(&mut packet, Lsn(100));
        assert_eq!(reach(&packet), Ok(Lsn(100)));
        put_data(&mut packet, b"C\0");
        assert_eq!(reach(&packet), Err(CorruptPacket));
    }

    #[test]
    fn frames_come_back_in_order() {
        let mut packet = Vec::new();
        put_data(&mut packet, b"abc");
        put_progress(&mut packet, Lsn(7));
        put_data(&mut packet, b"");
        let mut rest = &packet[..];
        assert_eq!(next(&mut rest), Ok(Some(Frame::Data(b"abc"))));
        assert_eq!(next(&mut rest), Ok(Some(Frame::Progress(Lsn(7)))));
        assert_eq!(next(&mut rest), Ok(Some(Frame::Data(b""))));
        assert_eq!(next(&mut rest), Ok(None));
        for cut in 1..packet.len() {
            let mut rest = &packet[..cut];
            while let Ok(Some(_)) = next(&mut rest) {}
        }
    }
}
