// SPDX-License-Identifier: Apache-2.0
//! Doris's types and functions: `bitmap`, `hll`, `quantile_state`, `agg_state`, their functions and aggregates, and the
//! aggregates on ordinary values that Doris has and PostgreSQL lacks.
//!
//! The algorithms are in `doris_engine::sketch`; here they meet PostgreSQL. [`shells`] turns a call of a SQL function
//! into a call of a Rust function on checked arguments, [`state`] keeps aggregate states, [`values`] handles values
//! whose type is known only at run time. The SQL side of every function is written out in `sql/`, in the order below.
pub(crate) mod agg_state;
pub(crate) mod shells;
mod state;
pub(crate) mod values;

mod bitmap;
mod bitmap_aggregates;
mod collect;
mod dates;
mod events;
mod extreme;
mod hll;
mod numbers;
mod quantile;
mod text;

use pgrx::extension_sql_file;

extension_sql_file!("../../../sql/types/bitmap.sql", name = "types_bitmap");
extension_sql_file!(
    "../../../sql/types/hll.sql",
    name = "types_hll",
    requires = ["types_bitmap"]
);
extension_sql_file!(
    "../../../sql/types/quantile.sql",
    name = "types_quantile",
    requires = ["types_hll"]
);
extension_sql_file!(
    "../../../sql/types/aggregates.sql",
    name = "types_aggregates",
    requires = ["types_quantile"]
);
extension_sql_file!(
    "../../../sql/types/scalars.sql",
    name = "types_scalars",
    requires = ["types_aggregates"]
);
extension_sql_file!(
    "../../../sql/types/agg_state.sql",
    name = "types_agg_state",
    requires = ["types_scalars"]
);
