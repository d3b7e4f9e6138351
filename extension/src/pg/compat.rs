// SPDX-License-Identifier: Apache-2.0
//! What differs between PostgreSQL 15, 16, 17 and 18, by what it is about.
mod execution;
mod permissions;
mod plans;
mod relations;
mod statistics;

pub use execution::*;
pub use permissions::*;
#[cfg(not(feature = "pg18"))]
pub use pgrx::pg_sys::pqsignal;
#[cfg(feature = "pg18")]
pub use pgrx::pg_sys::pqsignal_be as pqsignal;
pub use plans::*;
pub use relations::*;
pub use statistics::*;
