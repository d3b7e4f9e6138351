// SPDX-License-Identifier: Apache-2.0
//! pg_doris: columnar tables, Doris's table models and a vectorised engine inside PostgreSQL.
//!
//! A map: `options` (settings and table options), `keys` (tables with one row a key), `write` (rows to segments), `store` (the column store
//! inside a TOAST relation), `read` (segments to rows), `am` (the table access method over all of these),
//! `keys` (key models: what becomes of two rows of one key), `delete` (statements that delete or update many rows),
//! `cdc` (mirrors kept current from the WAL), `compact` (rows on the move), `hooks` (what PostgreSQL calls besides), `types` (Doris's types and functions), `pg` (the edge
//! to PostgreSQL).
use pgrx::prelude::*;

mod am;
mod cdc;
mod compact;
mod delete;
mod hooks;
mod inspect;
mod keys;
mod options;
mod pg;
mod plan;
mod read;
mod store;
mod types;
mod write;

#[global_allocator]
static ALLOCATOR: pg::large_pages::LargePages = pg::large_pages::LargePages;

::pgrx::pg_module_magic!(name, version);

/// Loads the library: settings and hooks. Does little outside of shared_preload_libraries.
#[pg_guard]
pub unsafe extern "C-unwind" fn _PG_init() {
    // pgrx would send backtraces to clients.
    std::env::remove_var("RUST_BACKTRACE");
    options::settings::define();
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
