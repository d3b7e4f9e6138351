// SPDX-License-Identifier: Apache-2.0
//! A table's column store inside its TOAST relation: see docs/decisions/0001.
//!
//! Modules in the order data travels: keys and payloads, the directory of segments, chunks of column data,
//! anchors of deleted and locked rows, those that are idle, which rows have any, rows deleted or updated in bulk, where rows went, the gate for marking rows, opened
//! segments, and those without a row left.

pub mod anchored;
pub mod anchors;
pub mod chunks;
pub mod cleaned;
pub mod deletes;
pub mod directory;
pub mod entry;
pub mod followed;
pub mod gate;
pub mod graves;
pub mod idle;
pub mod keys;
pub mod known;
pub mod moves;
pub mod segment;
pub mod spent;
pub mod successors;
pub mod tid;
pub mod window;
