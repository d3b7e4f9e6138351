// SPDX-License-Identifier: Apache-2.0
//! Compaction: heap rows become segments, small segments and those with deleted rows become larger ones
//! (docs/compaction.md, docs/decisions/0004).
//!
//! Each step is a transaction of its own: `job` opens the table with its owner's rights; `flush` moves heap rows,
//! `merge` segments, both by way of `output`; `cleanup` deletes what retired segments have left; `pick` says what is
//! worth doing; `manual` is `doris.compact`. `pause` stops a step where a test wants it.

mod cleanup;
mod flush;
mod job;
mod manual;
mod merge;
mod output;
mod pause;
mod pick;

pub use pause::define as define_pause;
