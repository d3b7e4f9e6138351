// SPDX-License-Identifier: Apache-2.0
//! Whether sums and products of numerics stay within the type, whatever rows there are: a declared precision bounds the
//! values of a column, and what is made of such values by a few steps is far from the type's 131,072 digits.
use super::super::expr::{comparison_name, function_name};
use pgrx::pg_sys::{self, NodeTag};
use pgrx::PgList;

/// Most steps from a column. Each may double the number of digits, of which a declared precision allows 1,000.
const STEPS_MAX: usize = 6;

/// Where an expression stands.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// The query whose columns it refers to.
    pub(super) query: *mut pg_sys::Query,
    /// The query that holds the CTEs one level up.
    pub(super) outer: *mut pg_sys::Query,
}

/// Whether an expression's values, and any sum of them, are within the sum's type.
///
/// # Safety
/// An expression of the place's query, before planning.
pub(super) unsafe fn is_bounded(node: *mut pg_sys::Node, place: Place) -> bool {
    // SAFETY: passed on to the caller.
    unsafe { within(node, place, STEPS_MAX) }
}

unsafe fn within(node: *mut pg_sys::Node, place: Place, steps: usize) -> bool {
    // SAFETY: an expression of a query; tags are checked before casts.
    unsafe {
        match pg_sys::exprType(node) {
            pg_sys::INT2OID | pg_sys::INT4OID | pg_sys::INT8OID => return true,
            pg_sys::NUMERICOID if pg_sys::exprTypmod(node) >= 0 => return true,
            pg_sys::NUMERICOID if steps > 0 => {}
            _ => return false,
        }
        let all = |list: *mut pg_sys::List| {
            PgList::<pg_sys::Node>::from_pg(list)
                .iter_ptr()
                .all(|arg| within(arg, place, steps - 1))
        };
        match (*node).type_ {
            NodeTag::T_Const => is_small(&*node.cast()),
            NodeTag::T_Var => column(&*node.cast(), place, steps - 1),
            NodeTag::T_RelabelType => within(
                (*(node as *mut pg_sys::RelabelType)).arg.cast(),
                place,
                steps,
            ),
            NodeTag::T_CoalesceExpr => all((*(node as *mut pg_sys::CoalesceExpr)).args),
            NodeTag::T_OpExpr => {
                let op = node as *mut pg_sys::OpExpr;
                let known = comparison_name((*op).opno)
                    .is_ok_and(|name| matches!(name.as_str(), "+" | "-" | "*"));
                known && all((*op).args)
            }
            NodeTag::T_FuncExpr => {
                let call = node as *mut pg_sys::FuncExpr;
                let cast =
                    (*call).funcid.to_u32() < 10_000 && function_name((*call).funcid) == "numeric";
                cast && PgList::<pg_sys::Node>::from_pg((*call).args).len() == 1
                    && all((*call).args)
            }
            NodeTag::T_Aggref => {
                let aggref = node as *mut pg_sys::Aggref;
                let args = PgList::<pg_sys::TargetEntry>::from_pg((*aggref).args);
                (*aggref).aggfnoid.to_u32() < 10_000
                    && matches!(
                        function_name((*aggref).aggfnoid).as_str(),
                        "sum" | "avg" | "min" | "max"
                    )
                    && args
                        .iter_ptr()
                        .all(|arg| within((*arg).expr.cast(), place, steps - 1))
            }
            _ => false,
        }
    }
}

/// The same of a column: what a join, a subquery or a CTE has put there.
unsafe fn column(var: &pg_sys::Var, place: Place, steps: usize) -> bool {
    // SAFETY: a Var of the place's query; range table entries of these kinds hold queries.
    unsafe {
        let rtable = PgList::<pg_sys::RangeTblEntry>::from_pg((*place.query).rtable);
        let rte = (var.varno as usize)
            .checked_sub(1)
            .and_then(|at| rtable.get_ptr(at));
        let Some(rte) = rte.filter(|_| var.varlevelsup == 0 && var.varattno > 0) else {
            return false;
        };
        match (*rte).rtekind {
            pg_sys::RTEKind::RTE_JOIN => PgList::<pg_sys::Node>::from_pg((*rte).joinaliasvars)
                .get_ptr(var.varattno as usize - 1)
                .is_some_and(|alias| within(alias, place, steps)),
            pg_sys::RTEKind::RTE_CTE if (*rte).ctelevelsup == 1 && !(*rte).self_reference => {
                let name = std::ffi::CStr::from_ptr((*rte).ctename);
                let place_of = |cte: *mut pg_sys::CommonTableExpr| Place {
                    query: (*cte).ctequery.cast(),
                    outer: place.outer,
                };
                PgList::<pg_sys::CommonTableExpr>::from_pg((*place.outer).cteList)
                    .iter_ptr()
                    .find(|cte| std::ffi::CStr::from_ptr((**cte).ctename) == name)
                    .filter(|cte| {
                        !(**cte).cterecursive && (*(**cte).ctequery).type_ == NodeTag::T_Query
                    })
                    .is_some_and(|cte| output(place_of(cte), var.varattno, steps))
            }
            _ => false,
        }
    }
}

/// The same of an output column of a query.
unsafe fn output(place: Place, number: i16, steps: usize) -> bool {
    // SAFETY: an analysed query.
    unsafe {
        let plain = (*place.query).setOperations.is_null()
            && (*place.query).commandType == pg_sys::CmdType::CMD_SELECT;
        plain
            && PgList::<pg_sys::TargetEntry>::from_pg((*place.query).targetList)
                .iter_ptr()
                .find(|target| (**target).resno == number)
                .is_some_and(|target| within((*target).expr.cast(), place, steps))
    }
}

/// Whether a numeric constant has no more digits than a declared precision allows.
///
/// # Safety
/// A constant of type numeric.
pub(super) unsafe fn is_small(constant: &pg_sys::Const) -> bool {
    if constant.constisnull {
        return true;
    }
    // SAFETY: passed on to the caller; the value is shown as a C string.
    unsafe {
        let shown = pg_sys::OidOutputFunctionCall(
            pg_sys::Oid::from_u32(pg_sys::F_NUMERIC_OUT),
            constant.constvalue,
        );
        std::ffi::CStr::from_ptr(shown).count_bytes() <= pg_sys::NUMERIC_MAX_PRECISION as usize
    }
}
