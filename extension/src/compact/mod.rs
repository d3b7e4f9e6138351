// SPDX-License-Identifier: Apache-2.0
//! Compaction: heap rows become segments, small segments and those with deleted rows become larger ones
//! (docs/compaction.md, docs/decisions/0004).
//!
//! Each step is a transaction of its own: `job` opens the table with its owner's rights; `flush` moves heap rows,
//! `merge` segments, both by way of `output`; `cleanup` deletes what retired segments have left, `reclaim` has it
//! vacuumed; `candidates` says what is worth doing; `manual` is `doris.compact`, `worker` does it in the background.
//! `shared_state` is the shared memory between writers, workers and the view of `view`; `backpressure` makes loads wait
//! for compaction. `pause` stops a step where a test wants it.

pub mod backpressure;
mod candidates;
pub mod cleanup;
mod flush;
mod job;
mod manual;
pub mod merge;
mod output;
pub mod pause;
mod reclaim;
mod settings;
pub mod shared_state;
mod view;
mod worker;

pub use worker::Launcher;

/// Settings; and, while libraries are preloaded, shared memory.
pub fn init() {
    settings::define();
    pause::define();
    // SAFETY: a flag of the postmaster.
    if unsafe { pgrx::pg_sys::process_shared_preload_libraries_in_progress } {
        shared_state::init();
    }
}
