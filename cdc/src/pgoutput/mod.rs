// SPDX-License-Identifier: Apache-2.0
//! The messages of PostgreSQL's `pgoutput` plugin, protocol version 1: borrowed from their bytes, checked to the end.
//!
//! A tuple stays in the plugin's own form, `kind u8 [length u32, bytes]` a column, and is walked column by column;
//! decoding a row allocates nothing.
#[cfg(test)]
mod tests;

use crate::{Lsn, Reader, Short};

/// One protocol message.
#[derive(Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A transaction begins; its commit is already known.
    Begin(Begin),
    /// It ends.
    Commit(Commit),
    /// The transaction came from elsewhere by replication.
    Origin,
    /// The description of a table, before its first change and whenever it may have changed.
    Relation(Relation),
    /// The name of a type that is not built in.
    Type {
        /// Its number at the source.
        oid: u32,
        /// Its schema.
        schema: String,
        /// Its name in the schema.
        name: String,
    },
    /// A new row.
    Insert {
        /// The table.
        relation: u32,
        /// The row.
        new: Tuple<'a>,
    },
    /// A changed row; `old` is there when its identity changed or all columns identify it.
    Update {
        /// The table.
        relation: u32,
        /// The row before, or its key.
        old: Option<Old<'a>>,
        /// The row after.
        new: Tuple<'a>,
    },
    /// A row that is gone.
    Delete {
        /// The table.
        relation: u32,
        /// The row, or its key.
        old: Old<'a>,
    },
    /// Emptied tables.
    Truncate {
        /// The tables.
        relations: Vec<u32>,
        /// As TRUNCATE ... CASCADE.
        cascade: bool,
        /// As TRUNCATE ... RESTART IDENTITY.
        restart_identity: bool,
    },
    /// A message written by pg_logical_emit_message.
    Emitted,
}

/// The start of a transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Begin {
    /// Where its commit record is.
    pub commit_lsn: Lsn,
    /// Commit time, microseconds since 2000-01-01.
    pub commit_us: i64,
    /// The transaction's id.
    pub xid: u32,
}

/// The end of a transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// Where the commit record is.
    pub commit_lsn: Lsn,
    /// Where it ends; the stream resumes here.
    pub end_lsn: Lsn,
    /// Commit time, microseconds since 2000-01-01.
    pub commit_us: i64,
}

/// A source table as the stream describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// The table's oid on the source.
    pub id: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// `d`, `n`, `f` or `i`.
    pub replica_identity: u8,
    /// Its columns, in the order of the tuples.
    pub columns: Vec<Column>,
}

/// A column of a source table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Part of the replica identity.
    pub identity: bool,
    /// Name.
    pub name: String,
    /// The type's oid on the source.
    pub type_oid: u32,
    /// The type's modifier.
    pub typmod: i32,
    /// Its number on the source, if the sender has added that: see [`put_numbers`].
    pub number: Option<i16>,
}

/// What identifies the row that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Old<'a> {
    /// The identity columns; the others are null.
    Key(Tuple<'a>),
    /// All columns.
    Full(Tuple<'a>),
}

impl<'a> Old<'a> {
    /// The tuple, whichever it is.
    pub fn tuple(&self) -> Tuple<'a> {
        match self {
            Old::Key(t) | Old::Full(t) => *t,
        }
    }
}

/// A value of a tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Null.
    Null,
    /// A toasted value that did not change and was not sent.
    Unchanged,
    /// The type's text form.
    Text(&'a [u8]),
    /// The type's binary form.
    Binary(&'a [u8]),
}

/// The columns of a row. The bytes have been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple<'a> {
    columns: u16,
    bytes: &'a [u8],
}

/// Bytes that are not a message of the protocol.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The message ended too early.
    #[error("replication message of {0} bytes ends too early")]
    Short(usize),
    /// Bytes were left over.
    #[error("replication message \"{kind}\" has {left} bytes too many")]
    Long {
        /// The message's tag.
        kind: char,
        /// How many bytes.
        left: usize,
    },
    /// An unknown kind of message, tuple or value.
    #[error("replication message has unknown tag {0}")]
    Tag(u8),
    /// A name that is not UTF-8.
    #[error("replication message has a name that is not UTF-8")]
    Name,
}

impl From<Short> for DecodeError {
    fn from(_: Short) -> Self {
        DecodeError::Short(0)
    }
}

impl Message<'_> {
    /// The tables that the message is about.
    pub fn tables(&self) -> Vec<u32> {
        match self {
            Message::Relation(relation) => vec![relation.id],
            Message::Insert { relation, .. }
            | Message::Update { relation, .. }
            | Message::Delete { relation, .. } => vec![*relation],
            Message::Truncate { relations, .. } => relations.clone(),
            _ => Vec::new(),
        }
    }
}

/// A message that begins a transaction.
pub fn put_begin(begin: &Begin) -> Vec<u8> {
    let mut bytes = vec![b'B'];
    bytes.extend_from_slice(&begin.commit_lsn.0.to_be_bytes());
    bytes.extend_from_slice(&begin.commit_us.to_be_bytes());
    bytes.extend_from_slice(&begin.xid.to_be_bytes());
    bytes
}

/// Adds the numbers of a described table's columns to its description, which pgoutput leaves out.
pub fn put_numbers(bytes: &mut Vec<u8>, numbers: &[i16]) {
    bytes.extend(numbers.iter().flat_map(|n| n.to_be_bytes()));
}

/// Reads one message.
pub fn decode(bytes: &[u8]) -> Result<Message<'_>, DecodeError> {
    let mut r = Reader(bytes);
    let message = message(&mut r).map_err(|e| match e {
        DecodeError::Short(_) => DecodeError::Short(bytes.len()),
        other => other,
    })?;
    match r.0.len() {
        0 => Ok(message),
        left => Err(DecodeError::Long {
            kind: bytes[0] as char,
            left,
        }),
    }
}

fn message<'a>(r: &mut Reader<'a>) -> Result<Message<'a>, DecodeError> {
    Ok(match r.u8()? {
        b'B' => Message::Begin(Begin {
            commit_lsn: Lsn(r.u64()?),
            commit_us: r.u64()? as i64,
            xid: r.u32()?,
        }),
        b'C' => {
            r.u8()?;
            let (commit_lsn, end_lsn) = (Lsn(r.u64()?), Lsn(r.u64()?));
            Message::Commit(Commit {
                commit_lsn,
                end_lsn,
                commit_us: r.u64()? as i64,
            })
        }
        b'O' => {
            r.u64()?;
            r.zstr()?;
            Message::Origin
        }
        b'R' => Message::Relation(relation(r)?),
        b'Y' => Message::Type {
            oid: r.u32()?,
            schema: name(r)?,
            name: name(r)?,
        },
        b'I' => {
            let relation = r.u32()?;
            match r.u8()? {
                b'N' => Message::Insert {
                    relation,
                    new: tuple(r)?,
                },
                other => return Err(DecodeError::Tag(other)),
            }
        }
        b'U' => update(r)?,
        b'D' => {
            let relation = r.u32()?;
            let kind = r.u8()?;
            Message::Delete {
                relation,
                old: old(r, kind)?,
            }
        }
        b'T' => truncate(r)?,
        b'M' => {
            r.take(9)?;
            r.zstr()?;
            let length = r.u32()?;
            r.take(length as usize)?;
            Message::Emitted
        }
        other => return Err(DecodeError::Tag(other)),
    })
}

fn update<'a>(r: &mut Reader<'a>) -> Result<Message<'a>, DecodeError> {
    let relation = r.u32()?;
    let mut kind = r.u8()?;
    let mut before = None;
    if kind != b'N' {
        before = Some(old(r, kind)?);
        kind = r.u8()?;
    }
    match kind {
        b'N' => Ok(Message::Update {
            relation,
            old: before,
            new: tuple(r)?,
        }),
        other => Err(DecodeError::Tag(other)),
    }
}

fn old<'a>(r: &mut Reader<'a>, kind: u8) -> Result<Old<'a>, DecodeError> {
    match kind {
        b'K' => Ok(Old::Key(tuple(r)?)),
        b'O' => Ok(Old::Full(tuple(r)?)),
        other => Err(DecodeError::Tag(other)),
    }
}

fn truncate<'a>(r: &mut Reader<'a>) -> Result<Message<'a>, DecodeError> {
    let count = r.u32()? as usize;
    let flags = r.u8()?;
    // The count is not trusted with an allocation: the bytes have to be there.
    let ids = r.take(count.checked_mul(4).ok_or(Short)?)?;
    let relations = ids
        .chunks_exact(4)
        .map(|c| u32::from_be_bytes([c[0], c[1], c[2], c[3]]))
        .collect();
    Ok(Message::Truncate {
        relations,
        cascade: flags & 1 != 0,
        restart_identity: flags & 2 != 0,
    })
}

fn relation(r: &mut Reader<'_>) -> Result<Relation, DecodeError> {
    let (id, schema, table) = (r.u32()?, name(r)?, name(r)?);
    let replica_identity = r.u8()?;
    let count = r.u16()?;
    let mut columns = Vec::new();
    for _ in 0..count {
        let flags = r.u8()?;
        let name = name(r)?;
        columns.push(Column {
            identity: flags & 1 != 0,
            name,
            type_oid: r.u32()?,
            typmod: r.u32()? as i32,
            number: None,
        });
    }
    if !columns.is_empty() && r.0.len() == 2 * columns.len() {
        for column in &mut columns {
            column.number = Some(r.u16()? as i16);
        }
    }
    Ok(Relation {
        id,
        schema,
        name: table,
        replica_identity,
        columns,
    })
}

fn name(r: &mut Reader<'_>) -> Result<String, DecodeError> {
    std::str::from_utf8(r.zstr()?)
        .map(str::to_owned)
        .map_err(|_| DecodeError::Name)
}

fn tuple<'a>(r: &mut Reader<'a>) -> Result<Tuple<'a>, DecodeError> {
    let columns = r.u16()?;
    let all = r.0;
    for _ in 0..columns {
        match r.u8()? {
            b'n' | b'u' => {}
            b't' | b'b' => {
                let length = r.u32()?;
                r.take(length as usize)?;
            }
            other => return Err(DecodeError::Tag(other)),
        }
    }
    Ok(Tuple {
        columns,
        bytes: &all[..all.len() - r.0.len()],
    })
}

impl<'a> Tuple<'a> {
    /// A tuple kept as bytes that came from [`Tuple::bytes`] or [`put_value`].
    pub fn from_checked(columns: u16, bytes: &'a [u8]) -> Self {
        Tuple { columns, bytes }
    }

    /// The number of columns.
    pub fn columns(&self) -> usize {
        self.columns as usize
    }

    /// The columns' bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The values in column order.
    pub fn values(&self) -> Values<'a> {
        Values(Reader(self.bytes))
    }

    /// Whether a toasted value was left out.
    pub fn has_unchanged(&self) -> bool {
        self.values().any(|v| v == Value::Unchanged)
    }
}

/// The values of a tuple, in order.
pub struct Values<'a>(Reader<'a>);

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        let kind = self.0.u8().ok()?;
        Some(match kind {
            b'n' => Value::Null,
            b'u' => Value::Unchanged,
            _ => {
                let length = self.0.u32().ok()?;
                let bytes = self.0.take(length as usize).ok()?;
                if kind == b'b' {
                    Value::Binary(bytes)
                } else {
                    Value::Text(bytes)
                }
            }
        })
    }
}

/// Appends a value in the form tuples are made of.
pub fn put_value(out: &mut Vec<u8>, value: Value<'_>) {
    let (kind, bytes) = match value {
        Value::Null => return out.push(b'n'),
        Value::Unchanged => return out.push(b'u'),
        Value::Text(b) => (b't', b),
        Value::Binary(b) => (b'b', b),
    };
    out.push(kind);
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}
