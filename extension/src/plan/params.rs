// SPDX-License-Identifier: Apache-2.0
//! What is one value for a whole execution: parameters, and points in time that hang on the statement's start.
//!
//! They are constants of the engine's plan, which is made anew for each execution, so that filters by them prune row
//! blocks as those by constants do.
use super::{types, Converted};
use doris_engine::expr::Expr;
use doris_engine::types::DataType;
use pgrx::pg_sys::{self, NodeTag};
use pgrx::PgList;

/// Values of PostgreSQL's parameters, for a conversion at execution time.
pub trait Params {
    /// The value of a parameter as a constant; planning time knows none and answers a placeholder.
    ///
    /// # Safety
    /// A parameter of the plan that is converted.
    unsafe fn value(&mut self, param: *mut pg_sys::Param) -> Converted<Expr>;

    /// The value of an expression for which [`is_moment`] holds.
    ///
    /// # Safety
    /// An expression of the plan that is converted, without columns.
    unsafe fn moment(&mut self, node: *mut pg_sys::Node) -> Converted<Expr>;
}

/// Planning time: every parameter of a vectorised type will do.
pub struct Unbound;

impl Params for Unbound {
    unsafe fn value(&mut self, param: *mut pg_sys::Param) -> Converted<Expr> {
        // SAFETY: passed on to the caller.
        unsafe {
            if (*param).paramtype == pg_sys::NUMERICOID {
                return Ok(Expr::numeric(0, 2)?);
            }
            let data_type = types::data_type(
                (*param).paramtype,
                (*param).paramtypmod,
                (*param).paramcollid,
            )?;
            Ok(Expr::null(data_type))
        }
    }

    unsafe fn moment(&mut self, node: *mut pg_sys::Node) -> Converted<Expr> {
        // SAFETY: passed on to the caller.
        let type_oid = unsafe { pg_sys::exprType(node) };
        let data_type = types::data_type(type_oid, -1, pg_sys::InvalidOid)?;
        Ok(Expr::null(data_type))
    }
}

/// Parameters at execution time.
pub struct Bound {
    /// The node that is about to run.
    pub planstate: *mut pg_sys::PlanState,
}

impl Params for Bound {
    unsafe fn value(&mut self, param: *mut pg_sys::Param) -> Converted<Expr> {
        // SAFETY: passed on to the caller.
        unsafe { computed(param.cast(), self.planstate) }
    }

    unsafe fn moment(&mut self, node: *mut pg_sys::Node) -> Converted<Expr> {
        // SAFETY: passed on to the caller.
        unsafe { computed(node, self.planstate) }
    }
}

/// An expression that is evaluated once or now and then: without a parent, so that no code is compiled for it.
///
/// # Safety
/// An expression of the node's plan, without subqueries.
pub unsafe fn expression(
    node: *mut pg_sys::Node,
    planstate: *mut pg_sys::PlanState,
) -> *mut pg_sys::ExprState {
    // SAFETY: passed on to the caller.
    unsafe {
        let given = (*(*planstate).state).es_param_list_info;
        pg_sys::ExecInitExprWithParams(node.cast(), given)
    }
}

/// The value of an expression without columns, as a constant.
///
/// # Safety
/// As for [`expression`].
pub unsafe fn computed(
    node: *mut pg_sys::Node,
    planstate: *mut pg_sys::PlanState,
) -> Converted<Expr> {
    // SAFETY: passed on to the caller.
    unsafe { evaluated(expression(node, planstate), node, planstate) }
}

/// The value of an expression without columns, whose state is given, as a constant.
///
/// # Safety
/// As for [`expression`].
pub unsafe fn evaluated(
    state: *mut pg_sys::ExprState,
    node: *mut pg_sys::Node,
    planstate: *mut pg_sys::PlanState,
) -> Converted<Expr> {
    // SAFETY: passed on to the caller; evaluating a Param may run its InitPlan. What it leaves goes with the row.
    unsafe {
        let context = (*planstate).ps_ExprContext;
        let before = pg_sys::MemoryContextSwitchTo((*context).ecxt_per_tuple_memory);
        let mut null = true;
        let value = pg_sys::ExecEvalExpr(state, context, &mut null);
        let (type_oid, typmod, collation) = (
            pg_sys::exprType(node),
            pg_sys::exprTypmod(node),
            pg_sys::exprCollation(node),
        );
        let constant = match (null, type_oid) {
            (true, pg_sys::NUMERICOID) => Ok(Expr::null(DataType::Numeric {
                precision: 1,
                scale: 0,
            })),
            (true, _) => types::data_type(type_oid, typmod, collation).map(Expr::null),
            (false, _) => types::constant(value, type_oid, typmod, collation)
                .and_then(|(scalar, data_type)| Ok(Expr::constant(scalar, data_type)?)),
        };
        pg_sys::MemoryContextSwitchTo(before);
        constant
    }
}

/// Whether a parameter is what an uncorrelated subquery of the statement gives, once it is asked for.
///
/// # Safety
/// A parameter of the finished statement.
pub unsafe fn is_subquery(param: *mut pg_sys::Param, stmt: *mut pg_sys::PlannedStmt) -> bool {
    // SAFETY: passed on to the caller.
    unsafe {
        (*param).paramkind == pg_sys::ParamKind::PARAM_EXEC
            && (sets((*stmt).planTree, (*param).paramid)
                || PgList::<pg_sys::Plan>::from_pg((*stmt).subplans)
                    .iter_ptr()
                    .any(|plan| sets(plan, (*param).paramid)))
    }
}

/// Whether an InitPlan of a subtree sets a parameter.
unsafe fn sets(plan: *mut pg_sys::Plan, id: i32) -> bool {
    // SAFETY: a finished plan or null; tags are checked before casts.
    unsafe {
        if plan.is_null() {
            return false;
        }
        let initial = PgList::<pg_sys::SubPlan>::from_pg((*plan).initPlan);
        let mut set = initial.iter_ptr().map(|init| (*init).setParam);
        if set.any(|params| pg_sys::list_member_int(params, id)) {
            return true;
        }
        super::hook::children(plan)
            .into_iter()
            .any(|child| sets(child, id))
    }
}

/// Whether an expression is a date or timestamp computed from `now()` and its like by additions of constants: one
/// value in a statement, and nothing that could raise an error which no row would.
///
/// # Safety
/// An expression of a finished plan.
pub unsafe fn is_moment(node: *mut pg_sys::Node) -> bool {
    // SAFETY: passed on to the caller; node tags say what a node is.
    unsafe {
        if !matches!(
            pg_sys::exprType(node),
            pg_sys::DATEOID | pg_sys::TIMESTAMPOID | pg_sys::TIMESTAMPTZOID
        ) {
            return false;
        }
        match (*node).type_ {
            NodeTag::T_SQLValueFunction => true,
            NodeTag::T_FuncExpr => {
                let function = node as *mut pg_sys::FuncExpr;
                is_built_in((*function).funcid) && adds_to_moment((*function).args)
            }
            NodeTag::T_OpExpr => {
                let op = node as *mut pg_sys::OpExpr;
                let name = super::expr::operator_name((*op).opno);
                name.is_ok_and(|name| name == "+" || name == "-") && adds_to_moment((*op).args)
            }
            _ => false,
        }
    }
}

/// Whether arguments are a moment and what the client gave, or none at all.
unsafe fn adds_to_moment(args: *mut pg_sys::List) -> bool {
    // SAFETY: a list of expressions.
    let list = unsafe { PgList::<pg_sys::Node>::from_pg(args) };
    let mut moments = 0;
    for arg in list.iter_ptr() {
        // SAFETY: an argument of an expression.
        unsafe {
            match is_moment(arg) {
                true => moments += 1,
                false if is_given(arg) => {}
                false => return false,
            }
        }
    }
    list.is_empty() || moments > 0
}

/// Whether an expression for which [`is_moment`] holds has a parameter in it.
///
/// # Safety
/// Such an expression.
pub unsafe fn has_param(node: *mut pg_sys::Node) -> bool {
    // SAFETY: passed on to the caller; node tags say what a node is.
    unsafe {
        let args = match (*node).type_ {
            NodeTag::T_Param => return true,
            NodeTag::T_FuncExpr => (*(node as *mut pg_sys::FuncExpr)).args,
            NodeTag::T_OpExpr => (*(node as *mut pg_sys::OpExpr)).args,
            _ => return false,
        };
        PgList::<pg_sys::Node>::from_pg(args)
            .iter_ptr()
            .any(|arg| has_param(arg))
    }
}

/// Whether a node is a constant, or a parameter that the client gave.
unsafe fn is_given(node: *mut pg_sys::Node) -> bool {
    // SAFETY: an expression; the tag is checked before the cast.
    unsafe {
        match (*node).type_ {
            NodeTag::T_Const => true,
            NodeTag::T_Param => {
                (*(node as *mut pg_sys::Param)).paramkind == pg_sys::ParamKind::PARAM_EXTERN
            }
            _ => false,
        }
    }
}

/// Functions of [`is_moment`].
const FUNCTIONS: &[&str] = &[
    "now",
    "statement_timestamp",
    "transaction_timestamp",
    "date",
    "timestamp",
    "timestamptz",
];

fn is_built_in(function: pg_sys::Oid) -> bool {
    let built_in = function.to_u32() < super::expr::FIRST_OTHER_OID;
    built_in && FUNCTIONS.contains(&crate::pg::function_name(function).as_str())
}
