// SPDX-License-Identifier: Apache-2.0
//! pg_doris: columnar tables, Doris's table models and a vectorised engine inside PostgreSQL.
//!
//! In the order data travels:
//! - `hooks`: what PostgreSQL calls besides the access method; `options`: settings and table options;
//! - `am`: the table access method; `keys`: key models, which decide what becomes of two rows of one key;
//! - `write`: rows to segments; `store`: the column store inside a TOAST relation; `read`: segments to rows;
//! - `bulk_dml`: statements that delete or update many rows; `compact`: rows on the move;
//! - `plan`: finished plans to plans of the engine, and the node that runs them;
//! - `cdc`: mirrors kept current from the WAL;
//! - `types`: Doris's types and functions; `inspect`: views on tables, and `doris.verify`;
//! - `pg`: the edge to PostgreSQL.
use pgrx::prelude::*;

mod hooks;

mod options;

mod am;

mod keys;

mod write;

mod store;

mod read;

mod bulk_dml;

mod compact;

mod plan;

mod cdc;

mod types;

mod inspect;

mod pg;

#[global_allocator]
static ALLOCATOR: pg::large_pages::LargePages = pg::large_pages::LargePages;

::pgrx::pg_module_magic!(name, version);

/// Loads the library: settings and hooks. Does little outside of shared_preload_libraries.
#[pg_guard]
pub unsafe extern "C-unwind" fn _PG_init() {
    if let Some(feature) = pg::cpu::missing_feature() {
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_SYSTEM_ERROR,
            format!("pg_doris was built for processors with {feature}, which this one lacks"),
            "Build it on this machine, or with TARGET_CPU=x86-64 for all machines."
        );
    }
    // pgrx would send backtraces to clients.
    std::env::remove_var("RUST_BACKTRACE");
    options::settings::define();
    pg::memory_contexts::init();
    hooks::install();
    compact::init();
    cdc::init();
    // A setting that does not exist is an error rather than a placeholder.
    // SAFETY: a name with a terminating zero.
    unsafe { pgrx::pg_sys::MarkGUCPrefixReserved(c"doris".as_ptr()) };
}

/// Whether the library was loaded when the server started.
pub fn preloaded() -> bool {
    hooks::preloaded()
}

/// The version of the extension's library.
#[pg_extern(immutable, parallel_safe)]
fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}
