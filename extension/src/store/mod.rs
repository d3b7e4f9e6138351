// SPDX-License-Identifier: Apache-2.0
//! A table's column store inside its TOAST relation: see docs/storage-format.md.
//!
//! In the order data travels:
//! - [`keys`]: chunk ids; [`tid`]: row numbers and TIDs; [`entry`]: payloads of fixed size;
//! - [`directory`]: which segments there are, and the allocator; [`known`]: what a session remembers of both;
//! - [`chunks`]: a segment's stream in chunks; [`segment`]: opened segments; [`window`]: values read ahead for look-ups by row;
//!   [`spent`]: segments without a row left;
//! - [`gate`]: the lock under which rows are marked; [`anchors`]: rows deleted, updated or locked one by one; [`anchored`]:
//!   which rows have an anchor; [`idle`]: anchors that nobody holds;
//! - [`deletes`]: rows deleted or updated in bulk; [`successors`]: next versions of the latter; [`graves`]: deleted keys;
//! - [`moves`]: where compaction took rows; [`followed`]: rows that this transaction has followed there; [`cleaned`]: rows
//!   without index entries.

pub mod keys;

pub mod tid;

pub mod entry;

pub mod directory;

pub mod known;

pub mod chunks;

pub mod segment;

pub mod window;

pub mod spent;

pub mod gate;

pub mod anchors;

pub mod anchored;

pub mod idle;

pub mod deletes;

pub mod successors;

pub mod graves;

pub mod moves;

pub mod followed;

pub mod cleaned;
