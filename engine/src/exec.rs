// SPDX-License-Identifier: Apache-2.0
//! Running a plan: who does the work, and how batches flow.
//!
//! A plan is cut into pipelines at the operators that must see all their input (aggregation, sort, the build
//! side of a join). A pipeline is a [`stream`]: a source of work, then stages that every batch passes through
//! on the thread that took the work. The [`driver`] is the thread that called: it alone pulls from sources,
//! hands work out, works itself when all others are busy, and can finish alone.
//!
//! In the order data travels:
//! - [`query`]: options, and what all threads share;
//! - [`driver`]: the bounded queue between the driving thread and the workers;
//! - [`per_thread`]: what each thread has of its own;
//! - [`stream`]: sources, stages and the order of results;
//! - [`executor`]: from plan to streams, and out to the caller.

pub mod query;

pub mod driver;

pub mod per_thread;

pub mod stream;

pub mod executor;

pub use executor::Executor;
pub use query::{NodeCounters, Options};
