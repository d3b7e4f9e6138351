// SPDX-License-Identifier: Apache-2.0
//! Key models: tables with one row a key.
//!
//! `planning` looks at statements before they are planned, `statement` knows which columns the running ones name,
//! `merge` decides what becomes of two rows of one key.

#[expect(
    dead_code,
    unused_imports,
    reason = "the upsert path that asks for the rule comes next"
)]
pub mod merge;
pub mod planning;
pub mod statement;

use pgrx::extension_sql_file;

extension_sql_file!(
    "sql/functions.sql",
    name = "keys_functions",
    requires = ["types_scalars"]
);
