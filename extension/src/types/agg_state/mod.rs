// SPDX-License-Identifier: Apache-2.0
//! Type `agg_state`: the transition state of an aggregate of PostgreSQL's, as a value that can be stored, merged and
//! finalised (Doris's `agg_state<f(T)>` with the combinators `_state`, `_union` and `_merge`).
//!
//! A value names its aggregate ([`wire`]). What an aggregate is made of is looked up in the catalogue
//! ([`info`]); its functions are called as an Agg node calls them ([`machine`]).
//!
//! A state of an aggregate whose transition type is `internal` holds bytes that only its own functions may make, as
//! they believe them: such values come from outside (input, binary COPY) for superusers only.
mod functions;
mod info;
mod machine;
mod wire;

pub use info::install;
pub use machine::Unions;
