// SPDX-License-Identifier: Apache-2.0
//! Constructors: they check operand types, compute result types, insert the casts an operator implies, and
//! refuse with [`Error::NotNative`] what could differ from PostgreSQL.
//!
//! One file a family: [`leaf`] columns and constants, [`compare`], [`arith`], [`logic`] (AND to CASE), [`cast`],
//! [`decimal`], [`math`], [`datetime`], [`text`], [`item`].

pub mod leaf;

pub mod arith;
pub mod cast;
pub mod compare;
pub mod datetime;
pub mod decimal;
pub mod item;
pub mod logic;
pub mod math;
pub mod text;

use super::ir::{Expr, ExprKind, Func};
use crate::error::{Error, Result};
use crate::types::DataType;

/// Refuses an operator for its operand types.
fn refuse<T>(what: &str, args: &[&Expr]) -> Result<T> {
    let types: Vec<String> = args.iter().map(|arg| arg.data_type().to_string()).collect();
    Err(Error::not_native(format!("{what} of {}", types.join(", "))))
}

fn call(func: Func, args: Vec<Expr>, data_type: DataType) -> Expr {
    Expr::new(ExprKind::Call { func, args }, data_type)
}
