// SPDX-License-Identifier: Apache-2.0
//! pg_doris: columnar tables, Doris's table models and a vectorised engine inside PostgreSQL.
use pgrx::prelude::*;

::pgrx::pg_module_magic!(name, version);

/// The version of the extension's library.
#[pg_extern(immutable, parallel_safe)]
fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}
