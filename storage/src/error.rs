// SPDX-License-Identifier: Apache-2.0
//! The crate's errors. The edge to PostgreSQL turns each into one SQLSTATE.

/// What can go wrong between bytes and vectors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Stored bytes break the format: `ERRCODE_DATA_CORRUPTED`.
    #[error("corrupt column data: {what}")]
    Corrupt {
        /// Which rule of the format is broken.
        what: &'static str,
    },
    /// Stored bytes are not those that were written: `ERRCODE_DATA_CORRUPTED`.
    #[error("checksum mismatch in {what}")]
    Checksum {
        /// Which part failed.
        what: &'static str,
    },
    /// The segment was written by a newer (or unknown) version of the format.
    #[error("segment format version {found} is not supported")]
    Version {
        /// The version found.
        found: u16,
    },
    /// The system has no memory for what is decoded: `ERRCODE_OUT_OF_MEMORY`.
    #[error("out of memory")]
    OutOfMemory,
    /// The caller's arguments do not fit together (layouts, lengths, ranges); a bug above this crate.
    #[error("invalid argument: {what}")]
    Invalid {
        /// What does not fit.
        what: &'static str,
    },
}

/// The crate's result type.
pub type Result<T> = std::result::Result<T, Error>;

/// A broken rule of the format.
#[cold]
pub(crate) fn corrupt(what: &'static str) -> Error {
    Error::Corrupt { what }
}

/// A caller's mistake.
#[cold]
pub(crate) fn invalid(what: &'static str) -> Error {
    Error::Invalid { what }
}
