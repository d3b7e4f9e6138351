// SPDX-License-Identifier: Apache-2.0
//! Segments to rows: the attributes of a table, values back to Datums, a cursor over visible segment rows.

pub mod attrs;
pub mod cursor;
pub mod datum;
