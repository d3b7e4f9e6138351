// SPDX-License-Identifier: Apache-2.0
//! Bytes <-> vectors: the column format of pg_doris. Nothing here knows of PostgreSQL.
//!
//! Values travel as `vector`s; `segment` turns them into an immutable stream and back with the encodings of `encoding`;
//! `zone_map`, `bloom` and `key` say what a block may hold, and `prune` decides which blocks a predicate can skip;
//! `sort` orders rows by keys; `delete_bitmap`, `successors` and `moves` say which rows were deleted or updated and
//! where they went; `entry` has the small records that name segments and rows.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod bloom;
pub mod checksum;
pub mod delete_bitmap;
mod dictionary;
mod encoding;
pub mod entry;
pub mod error;
pub mod key;
pub mod moves;
pub mod prune;
pub mod segment;
pub mod sort;
pub mod successors;
pub mod vector;
mod wire;
pub mod zone_map;

pub use encoding::UNIT;
pub use error::{Error, Result};
