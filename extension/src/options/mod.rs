// SPDX-License-Identifier: Apache-2.0
//! Settings (GUCs) and table options: `settings`, `table` reads and writes what is stored, `check` says
//! whether options fit a table (`check_model` those of key models, which `model` resolves; `policy` has those of
//! compaction), `ddl` carries them through CREATE and ALTER.

pub mod check;
pub mod check_model;
pub mod ddl;
pub mod model;
pub mod policy;
pub mod published;
pub mod settings;
pub mod table;

pub use settings::{load_memory_bytes, rows_to_heap, segment_bytes_max};
pub use table::{bloom_columns, bulk_loads_to_heap, keeps_heap, merge_key, sort_key};
