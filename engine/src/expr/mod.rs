// SPDX-License-Identifier: Apache-2.0
//! Expressions: a typed tree, built once, evaluated over batches.
//!
//! Constructors check types, insert the casts PostgreSQL's operators imply and refuse
//! ([`Error::NotNative`](crate::error::Error::NotNative)) whatever could differ from PostgreSQL in any bit.
//! Evaluation is dense over a selection: the result has one entry for every selected row, and neither a NULL
//! row nor a row outside the selection can raise an error. In the order data travels:
//!
//! - [`ir`]: the tree, [`build`]: its constructors, and `bind`: values for its parameters;
//! - [`explain`]: its text;
//! - [`context`]: what evaluation needs from outside;
//! - [`eval`]: tree to vectors; [`filter`]: tree to selections; `narrow`: tree to vectors for sums;
//! - `operand`: vector-or-constant arguments of kernels; `kernels`: one file a family;
//! - [`canonical`]: keys that hash and compare by bytes.

pub mod ir;

mod bind;
pub mod build;
pub mod explain;

pub mod context;

pub mod eval;
pub mod filter;
mod narrow;

mod kernels;
mod operand;

pub mod canonical;

#[cfg(test)]
mod golden;

pub(crate) use kernels::collected_row::Item;
pub(crate) use kernels::datetime::Interval;

pub use context::{EvalContext, ExternalEval};
pub use ir::{ArithOp, CompareOp, Expr, ExprKind, Func};
pub use kernels::datetime::{DateUnit, ExtractUnit};
pub use kernels::in_list::ValueSet;
pub use kernels::like::LikePattern;
pub use kernels::math::{BitOp, Math};
pub use kernels::replace::RegexpRule;
