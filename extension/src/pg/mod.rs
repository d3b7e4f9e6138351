// SPDX-License-Identifier: Apache-2.0
//! The edge to PostgreSQL: everything below wraps raw `pg_sys` calls for the modules above.
//!
//! `raw` declares what pgrx does not bind; `heapam` hands work to PostgreSQL's own heap access method; `heap_rows`
//! reads its rows with the TIDs that indexes have; `toast` reads and writes our tuples in a TOAST relation; `custom`
//! holds what our plan nodes share; `compat` what differs between PostgreSQL's versions; `collation` compares text by
//! locales; `large_pages` is where Rust's memory comes from, which `memory_contexts` shows; `run_hook` tells who asks
//! for a few rows; `vacuum` runs VACUUM, and lets one write; `names` and `attributes` read names and columns from the
//! catalogue; `open` opens relations for a look; `errors` raises what users can do something about.
//!
//! A `pg_sys::Relation` that a safe function takes is open, and stays so while the function runs; its `rd_att` has the
//! attributes whose numbers are passed. Functions that follow any other pointer of their caller's are unsafe.

pub mod attributes;
pub mod collation;
pub mod compat;
pub mod cpu;
pub mod custom;
mod errors;
pub mod heap_rows;
pub mod heapam;
pub mod held;
pub mod key_share;
pub mod large_pages;
pub mod memory_contexts;
mod names;
mod open;
pub mod pruning;
pub mod raw;
pub mod run_hook;
pub mod toast;
pub mod vacuum;
mod values;
pub mod wait;

pub use doris_storage::entry::Corrupt;
pub use errors::{refuse, report_corrupt, report_no_memory};
pub use names::*;
pub use open::{relation_id, with_relation, with_relation_if_any};
pub use values::{form, varlena};
