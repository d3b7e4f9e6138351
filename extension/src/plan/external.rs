// SPDX-License-Identifier: Apache-2.0
//! Expressions that only PostgreSQL can evaluate, within an engine plan.
//!
//! The smallest part of an expression that has no native form becomes an external one: its arguments are the engine's
//! columns in it, and all else (operators, functions, constants, parameters, a CASE with its guards) stays as it is in
//! PostgreSQL's expression, in which the columns are numbered as those of the outer tuple.
//! [`evaluate`](super::evaluate) runs it over batches.
use super::expr::Translator;
use super::params::is_moment;
use super::scope::{Column, Scope};
use super::{hook, no, types, Converted};
use crate::bulk_dml::eligibility;
use crate::pg::{self, raw};
use doris_engine::expr::Expr;
use doris_engine::types::DataType;
use pgrx::pg_sys::{self, NodeTag};
use pgrx::{pg_guard, PgList};
use std::ffi::c_void;

/// An expression that PostgreSQL evaluates.
#[derive(Clone)]
pub struct External {
    /// The expression; its arguments are columns of the outer tuple.
    pub expr: *mut pg_sys::Node,
    /// The same with references to base tables, for EXPLAIN.
    pub shown: *mut pg_sys::Node,
    /// The arguments' types.
    pub args: Vec<Argument>,
    /// The result's type.
    pub data_type: DataType,
    /// Whether equal arguments give equal results for ever, or until the node starts again.
    pub immutable: bool,
    /// Whether it has a parameter that may change when the node starts again.
    pub varies: bool,
}

/// A column that an external expression reads.
#[derive(Clone, Copy)]
pub struct Argument {
    /// Its PostgreSQL type.
    pub type_oid: pg_sys::Oid,
    /// Its type modifier.
    pub typmod: i32,
    /// The engine's type.
    pub data_type: DataType,
}

impl Translator<'_> {
    /// One expression: native as far as can be, what is not within it external.
    ///
    /// # Safety
    /// An expression of a finished plan.
    pub unsafe fn expr(&mut self, node: *mut pg_sys::Node) -> Converted<Expr> {
        let before = self.externals.as_ref().map_or(0, |known| known.len());
        // SAFETY: passed on to the caller.
        unsafe {
            if !node.is_null() && is_moment(node) {
                return self.params.moment(node);
            }
            self.native(node).or_else(|reason| {
                // It would see what the statement has changed so far: row by row, as PostgreSQL evaluates it.
                if hook::writing::changes_rows(self.stmt) && eligibility::may_look(node) {
                    return Err(reason);
                }
                let Some(known) = &mut self.externals else {
                    return Err(reason);
                };
                known.truncate(before);
                let within = !self.tested.is_empty();
                external(self.scope, known, node, (self.numerics, within)).map_err(|_| reason)
            })
        }
    }
}

/// An expression as an external one. `within`: it may be in the conditions of a CASE, whose operand it does not know.
unsafe fn external(
    scope: &Scope,
    known: &mut Vec<External>,
    node: *mut pg_sys::Node,
    (numerics, within): (bool, bool),
) -> Converted<Expr> {
    // SAFETY: an expression of a finished plan.
    unsafe {
        if node.is_null() || !stands_alone(node) {
            return no("no expression of its own");
        }
        let mut taking = Taking {
            scope,
            columns: Vec::new(),
            args: Vec::new(),
            varies: false,
            within,
            refused: None,
        };
        let expr = take(node, (&raw mut taking).cast());
        if let Some(why) = taking.refused {
            return no(why);
        }
        if pg_sys::contain_volatile_functions(expr) {
            return no("a volatile function");
        }
        if pg_sys::expression_returns_set(expr) {
            return no("a function that returns a set");
        }
        let type_oid = pg_sys::exprType(node);
        let pseudo = pg_sys::get_typtype(type_oid) as u8 == pg_sys::TYPTYPE_PSEUDO;
        if pseudo && type_oid != pg_sys::RECORDOID && type_oid != pg_sys::VOIDOID {
            return no("a value of a pseudo-type");
        }
        let (typmod, collation) = (pg_sys::exprTypmod(node), pg_sys::exprCollation(node));
        let data_type = match types::column_type(type_oid, typmod, collation)? {
            DataType::Numeric { .. } if !numerics => DataType::Decimal,
            other => other,
        };
        known.push(External {
            expr,
            shown: hook::flatten(node, scope),
            args: taking.args,
            data_type,
            immutable: !pg_sys::contain_mutable_functions(expr),
            varies: taking.varies,
        });
        Ok(Expr::external(
            known.len() as u32 - 1,
            taking.columns,
            data_type,
        ))
    }
}

/// Whether a node means something without the one around it.
unsafe fn stands_alone(node: *mut pg_sys::Node) -> bool {
    // SAFETY: an expression.
    let tag = unsafe { (*node).type_ };
    !matches!(
        tag,
        NodeTag::T_CaseTestExpr | NodeTag::T_CoerceToDomainValue | NodeTag::T_List
    )
}

/// The columns taken out of an expression so far.
struct Taking<'a> {
    scope: &'a Scope,
    columns: Vec<Expr>,
    args: Vec<Argument>,
    varies: bool,
    /// Whether the operand of a CASE may be another's.
    within: bool,
    refused: Option<&'static str>,
}

impl Taking<'_> {
    /// The number of the argument that is a scope's item, from 0.
    unsafe fn argument(&mut self, at: usize, node: *mut pg_sys::Node) -> Option<usize> {
        let Column::Native(index, data_type) = self.scope.items[at].column else {
            return None;
        };
        let known = self
            .columns
            .iter()
            .position(|column| matches!(column.kind(), doris_engine::expr::ExprKind::Column(c) if *c == index));
        if known.is_some() {
            return known;
        }
        self.columns.push(Expr::column(index, data_type));
        // SAFETY: an expression of a finished plan.
        let (type_oid, typmod) = unsafe { (pg_sys::exprType(node), pg_sys::exprTypmod(node)) };
        self.args.push(Argument {
            type_oid,
            typmod,
            data_type,
        });
        Some(self.args.len() - 1)
    }
}

/// Copies an expression with the scope's items in it as columns of the outer tuple.
#[pg_guard]
unsafe extern "C-unwind" fn take(
    node: *mut pg_sys::Node,
    context: *mut c_void,
) -> *mut pg_sys::Node {
    // SAFETY: the context is the Taking of `external`, alive for the walk; node tags say what a node is.
    unsafe {
        let taking = &mut *(context as *mut Taking);
        if node.is_null() || taking.refused.is_some() {
            return node;
        }
        if let Some(at) = taking.scope.find(node) {
            let Some(number) = taking.argument(at, node) else {
                taking.refused = Some("a value that the engine cannot hand out");
                return node;
            };
            return pg_sys::makeVar(
                pg_sys::OUTER_VAR as _,
                number as i16 + 1,
                pg_sys::exprType(node),
                pg_sys::exprTypmod(node),
                pg_sys::exprCollation(node),
                0,
            )
            .cast();
        }
        taking.refused = match (*node).type_ {
            NodeTag::T_Var => Some("a system column, a whole row or an unknown column"),
            NodeTag::T_Aggref | NodeTag::T_WindowFunc | NodeTag::T_GroupingFunc => {
                Some("an aggregate")
            }
            NodeTag::T_SubPlan | NodeTag::T_AlternativeSubPlan => Some("a subquery"),
            NodeTag::T_CaseTestExpr if taking.within => Some("the operand of a CASE"),
            NodeTag::T_PlaceHolderVar | NodeTag::T_CurrentOfExpr | NodeTag::T_NextValueExpr => {
                Some("an expression of another place")
            }
            NodeTag::T_Param => {
                let kind = (*(node as *mut pg_sys::Param)).paramkind;
                taking.varies |= kind != pg_sys::ParamKind::PARAM_EXTERN;
                match kind {
                    pg_sys::ParamKind::PARAM_EXTERN | pg_sys::ParamKind::PARAM_EXEC => None,
                    _ => Some("a parameter of another place"),
                }
            }
            _ => None,
        };
        if taking.refused.is_some() {
            return node;
        }
        raw::tree_mutator(node, take, context)
    }
}

/// The SQL text of external expressions of a plan node, for EXPLAIN.
///
/// # Safety
/// The state of a running EXPLAIN, and a custom scan of its plan.
pub unsafe fn texts(
    es: *mut pg_sys::ExplainState,
    plan: *mut pg_sys::Plan,
    ancestors: *mut pg_sys::List,
    externals: &[&External],
) -> Vec<String> {
    // SAFETY: passed on to the caller; the texts are palloc'd.
    unsafe {
        let context = pg_sys::set_deparse_context_plan((*es).deparse_cxt, plan, ancestors);
        let prefix = PgList::<pg_sys::RangeTblEntry>::from_pg((*es).rtable).len() > 1;
        externals
            .iter()
            .map(|external| {
                let text = pg_sys::deparse_expression(external.shown, context, prefix, false);
                pg::text(text)
            })
            .collect()
    }
}
