// SPDX-License-Identifier: Apache-2.0
//! Payloads of the tuples that pg_doris keeps in a TOAST relation.
pub use doris_storage::entry::*;
