// SPDX-License-Identifier: Apache-2.0
//! The bytes of a state: `1`, the length of the aggregate's name (u16, little-endian), its name, and `1` and the
//! transition value, or `0` where that is NULL.
use super::super::shells::fail;
use pgrx::PgSqlErrorCode;

const VERSION: u8 = 1;

/// The parts of a state.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    /// The aggregate, schema and argument types included.
    pub name: &'a [u8],
    /// The transition value, as its send or serialisation function writes it.
    pub value: Option<&'a [u8]>,
}

impl Parts<'_> {
    /// The bytes.
    pub fn encode(self) -> Vec<u8> {
        let length = u16::try_from(self.name.len()).unwrap_or_else(|_| {
            fail(
                PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                "the name of the aggregate is too long",
            )
        });
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(self.name);
        bytes.push(u8::from(self.value.is_some()));
        bytes.extend_from_slice(self.value.unwrap_or_default());
        bytes
    }
}

/// The parts of some bytes; `None` where they are no state.
pub fn parse(bytes: &[u8]) -> Option<Parts<'_>> {
    let rest = bytes.strip_prefix(&[VERSION])?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (name, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    match rest.split_first()? {
        (0, []) => Some(Parts { name, value: None }),
        (1, value) => Some(Parts {
            name,
            value: Some(value),
        }),
        _ => None,
    }
}

/// The parts of a stored state.
pub fn stored(bytes: &[u8]) -> Parts<'_> {
    parse(bytes).unwrap_or_else(|| {
        fail(
            PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
            "invalid agg_state value",
        )
    })
}
