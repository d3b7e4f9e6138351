// SPDX-License-Identifier: Apache-2.0
//! Plan, then convert: PostgreSQL plans the query; what the engine can run of the finished plan becomes a
//! custom scan node.
//!
//! `decorrelate` turns correlated subqueries into joins before planning; `hook` walks finished plans and puts in the
//! nodes; `need` says what their parents use of them, `order` whether the order of their rows may matter, and `resort`
//! sorts groups that PostgreSQL wants in an order of its own; `convert` turns a plan subtree into an engine plan;
//! `columns` leaves out unused columns; `expr`, `functions` and `types` convert expressions; `params` knows what is constant in an
//! execution; `external` takes expressions that only PostgreSQL can evaluate, `isolate` brings them to where the main
//! thread meets them and `evaluate` runs them; `source` feeds the engine with segments and heap rows (`glance` spares it some), `feed`
//! with the rows of other subplans; `spill` gives it temporary files, `threads` workers, and `pool` a share of the server's;
//! `nesting` bounds how deep a converted query is; `node` is the custom scan's execution, `template` its plan for when it runs again, `kept` its tables, `partitions` those of them that it reads; `explain` shows it.

pub mod columns;
pub mod convert;
pub mod decorrelate;
pub mod evaluate;
pub mod explain;
pub mod expr;
pub mod external;
pub mod feed;
pub mod functions;
mod gathered;
pub mod glance;
pub mod hook;
pub mod isolate;
pub mod kept;
pub mod need;
pub mod nesting;
pub mod node;
pub mod order;
pub mod output;
pub mod params;
pub mod partitions;
pub mod pool;
pub mod prune;
pub mod reasons;
pub mod resort;
pub mod scope;
pub mod source;
pub mod spill;
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
