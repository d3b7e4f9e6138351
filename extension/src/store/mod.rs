// SPDX-License-Identifier: Apache-2.0
//! A table's column store inside its TOAST relation: see docs/storage-format.md.
//!
//! In the order data travels:
//! - [`chunk_ids`]: chunk ids; [`tid`]: row numbers and TIDs; [`entry`]: payloads of fixed size;
//! - [`directory`]: which segments there are, and the allocator; [`directory_cache`]: what a session remembers of both;
//! - [`chunks`]: a segment's stream in chunks; [`segment`]: opened segments; [`sequential_fetch`]: values read ahead
//!   for look-ups by row; [`empty_segments`]: segments without a row left;
//! - [`registration_lock`]: the lock under which rows are marked; [`anchors`]: rows deleted, updated or locked one by
//!   one; [`anchor_cache`]: which rows have an anchor; [`unused_anchors`]: anchors that nobody holds;
//! - [`delete_bitmaps`]: rows deleted or updated in bulk; [`successors`]: next versions of the latter;
//!   [`deleted_keys`]: deleted keys;
//! - [`moves`]: where compaction took rows; [`changes_after_move`]: rows that this transaction has followed there;
//!   [`vacuumed_rows`]: rows without index entries.

pub mod chunk_ids;

pub mod tid;

pub mod entry;

pub mod directory;

pub mod directory_cache;

pub mod chunks;

pub mod segment;

pub mod sequential_fetch;

pub mod empty_segments;

pub mod registration_lock;

pub mod anchors;

pub mod anchor_cache;

pub mod unused_anchors;

pub mod delete_bitmaps;

pub mod successors;

pub mod deleted_keys;

pub mod moves;

pub mod changes_after_move;

pub mod vacuumed_rows;
