// SPDX-License-Identifier: Apache-2.0
//! Vectors -> answers: the vectorised query engine of pg_doris. Nothing here knows of PostgreSQL.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod collate;

pub mod types;

pub mod decimal;

pub mod error;

pub mod batch;

pub mod gather;

pub mod expr;

pub mod plan;

pub mod memory;

pub mod spill;

pub mod hash;

pub mod keys;

pub mod group_table;

pub mod runtime_filter;

pub mod source;

pub mod column_hash_index;

pub mod metadata_aggregates;

pub mod sketch;

pub mod ops;

pub mod exec;

#[cfg(test)]
mod testing;
