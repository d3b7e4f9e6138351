// SPDX-License-Identifier: Apache-2.0
//! Plan, then convert: PostgreSQL plans the query; what the engine can run of the finished plan becomes a
//! custom scan node.
//!
//! `decorrelate` turns correlated subqueries into joins before planning; `hook` walks finished plans and puts in the
//! nodes; `required_columns` says what their parents use of them, `order` whether the order of their rows may matter,
//! and `group_resort` sorts groups that PostgreSQL wants in an order of its own; `convert` turns a plan subtree into an
//! engine plan; `column_pruning` leaves out unused columns; `expr`, `functions` and `types` convert expressions;
//! `params` knows what is constant in an execution; `external` takes expressions that only PostgreSQL can evaluate,
//! `external_placement` brings them to where the main thread meets them and `evaluate` runs them; `source` feeds the
//! engine with segments and heap rows (`block_prefilter` spares it some), `subplan_source` with the rows of other
//! subplans; `spill` gives it temporary files, `threads` workers, and `global_limits` a share of the server's;
//! `scan_filter` tells conditions to scans that stay PostgreSQL's; `nesting` bounds how deep a converted query is; `node` is the custom scan's execution, `template` its plan for when
//! it runs again, `scan_cache` its tables, `partitions` those of them that it reads; `explain` shows it.

pub mod block_prefilter;
pub mod column_pruning;
pub mod convert;
pub mod decorrelate;
pub mod evaluate;
pub mod explain;
pub mod expr;
pub mod external;
pub mod external_placement;
pub mod functions;
pub mod global_limits;
pub mod group_resort;
pub mod hook;
pub mod nesting;
pub mod node;
pub mod order;
pub mod output;
pub mod params;
pub mod partitions;
pub mod reasons;
pub mod required_columns;
mod row_batch;
pub mod scan_cache;
pub mod scan_filter;
pub mod scope;
pub mod source;
pub mod spill;
pub mod storage_predicates;
pub mod subplan_source;
pub mod template;
pub mod threads;
pub mod types;

/// Why something stays with PostgreSQL.
#[derive(Clone, Debug)]
pub struct Reason(pub String);

/// What a conversion comes to.
pub type Converted<T> = Result<T, Reason>;

impl From<doris_engine::error::Error> for Reason {
    fn from(error: doris_engine::error::Error) -> Self {
        Reason(error.to_string())
    }
}

/// A reason from its text.
pub fn no<T>(text: impl Into<String>) -> Converted<T> {
    Err(Reason(text.into()))
}
