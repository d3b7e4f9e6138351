// SPDX-License-Identifier: Apache-2.0
//! Bytes <-> vectors: the column format of pg_doris. Nothing here knows of PostgreSQL.
#![forbid(unsafe_code)]

pub mod vector;
