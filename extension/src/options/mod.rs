// SPDX-License-Identifier: Apache-2.0
//! Settings (GUCs) and table options.

pub mod ddl;
pub mod settings;
pub mod table;

pub use settings::load_memory_bytes;
pub use table::{bloom_columns, bulk_loads_to_heap, sort_key};
