// SPDX-License-Identifier: Apache-2.0
//! Rows to segments: the layout of a table's columns, conversion of values, and the segments being built, and their memory.

pub mod builder;
pub mod column;
pub mod kind;
pub mod memory;
pub mod numeric;
pub mod parallel;
pub mod width;
