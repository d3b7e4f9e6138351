// SPDX-License-Identifier: Apache-2.0
//! Vectors -> answers: the vectorised query engine of pg_doris. Nothing here knows of PostgreSQL.
#![forbid(unsafe_code)]

pub mod types;

pub mod error;

pub mod batch;
pub mod gather;
pub mod sketch;

pub mod expr;
