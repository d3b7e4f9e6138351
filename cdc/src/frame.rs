// SPDX-License-Identifier: Apache-2.0
//! A parcel is what one send through the queue carries: frames, one behind the other.
//!
//! ```text
//! frame: kind u8 ('D' a pgoutput message, 'P' everything before this position has been sent, 'E' the end: why)
//!        lsn u64, length u32, bytes
//! ```
use crate::{Lsn, Reader, Short};

/// One frame of a parcel.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A pgoutput message.
    Data(&'a [u8]),
    /// All transactions that committed before this position have been sent.
    Progress(Lsn),
    /// The sender failed and stops.
    Failure(&'a str),
}

/// A parcel that does not consist of whole frames.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("corrupt parcel of changes")]
pub struct CorruptParcel;

impl From<Short> for CorruptParcel {
    fn from(_: Short) -> Self {
        CorruptParcel
    }
}

/// Appends a message to a parcel.
pub fn put_data(parcel: &mut Vec<u8>, message: &[u8]) {
    put(parcel, b'D', Lsn(0), message);
}

/// Appends a position to a parcel.
pub fn put_progress(parcel: &mut Vec<u8>, lsn: Lsn) {
    put(parcel, b'P', lsn, &[]);
}

/// Appends the reason why nothing will follow.
pub fn put_failure(parcel: &mut Vec<u8>, why: &str) {
    put(parcel, b'E', Lsn(0), why.as_bytes());
}

fn put(parcel: &mut Vec<u8>, kind: u8, lsn: Lsn, bytes: &[u8]) {
    parcel.push(kind);
    parcel.extend_from_slice(&lsn.0.to_be_bytes());
    parcel.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    parcel.extend_from_slice(bytes);
}

/// Takes the first frame off `parcel`; `None` at its end.
pub fn next<'a>(parcel: &mut &'a [u8]) -> Result<Option<Frame<'a>>, CorruptParcel> {
    if parcel.is_empty() {
        return Ok(None);
    }
    let mut r = Reader(parcel);
    let (kind, lsn, len) = (r.u8()?, Lsn(r.u64()?), r.u32()?);
    let bytes = r.take(len as usize)?;
    *parcel = r.0;
    match kind {
        b'D' => Ok(Some(Frame::Data(bytes))),
        b'P' => Ok(Some(Frame::Progress(lsn))),
        b'E' => Ok(Some(Frame::Failure(
            std::str::from_utf8(bytes).unwrap_or("the sender failed"),
        ))),
        _ => Err(CorruptParcel),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_in_order() {
        let mut parcel = Vec::new();
        put_data(&mut parcel, b"abc");
        put_progress(&mut parcel, Lsn(7));
        put_data(&mut parcel, b"");
        let mut rest = &parcel[..];
        assert_eq!(next(&mut rest), Ok(Some(Frame::Data(b"abc"))));
        assert_eq!(next(&mut rest), Ok(Some(Frame::Progress(Lsn(7)))));
        assert_eq!(next(&mut rest), Ok(Some(Frame::Data(b""))));
        assert_eq!(next(&mut rest), Ok(None));
        for cut in 1..parcel.len() {
            let mut rest = &parcel[..cut];
            while let Ok(Some(_)) = next(&mut rest) {}
        }
    }
}
