// SPDX-License-Identifier: Apache-2.0
//! Correlated scalar subqueries as joins, before planning.
//!
//! PostgreSQL runs a correlated subquery once for each outer row. In
//!
//! ```sql
//! WHERE x < (SELECT 0.2 * avg(y) FROM t WHERE t.k = o.k AND local)
//! ```
//!
//! the subquery may be computed for all `k` at once and joined:
//!
//! ```sql
//! FROM ..., (SELECT 0.2 * avg(y) AS v, t.k FROM t WHERE local GROUP BY t.k) s WHERE x < s.v AND s.k = o.k
//! ```
//!
//! The two are the same where a group without rows gives NULL (sum, avg, min and max do, count does not) and
//! every function around it is strict, so that the comparison drops the outer row either way; where the
//! condition stands at the top level of WHERE; and where nothing in the subquery but its equalities refers to
//! the outer query. Functions that may fail on groups that no outer row asks for are not taken: only
//! multiplication by a constant is. An aggregate without GROUP BY gives exactly one row, so there is no
//! at-most-one-row error to preserve. (Galindo-Legaria and Joshi, "Orthogonal Optimization of Subqueries and
//! Aggregation", SIGMOD 2001.)
use super::expr::operator_name;
use super::nesting::{conjuncts, stack_is_short};
use crate::pg::function_name;
use pgrx::pg_sys::{self, NodeTag};
use pgrx::PgList;

/// An equality between a column of the subquery and one of the outer query.
struct Link {
    operator: *mut pg_sys::OpExpr,
    inner: *mut pg_sys::Node,
    outer: *mut pg_sys::Var,
    outer_is_left: bool,
}

/// Rewrites what can be rewritten in a query and its subqueries in FROM and in sublinks.
///
/// # Safety
/// A query from the rewriter that the caller may change.
pub unsafe fn query(query: *mut pg_sys::Query, depth: usize) {
    // SAFETY: passed on to the caller.
    unsafe {
        // Rows that are locked are looked at again, subqueries and all, when somebody else has changed them.
        let locks = !(*query).rowMarks.is_null();
        if depth > 8 || locks || (*query).commandType != pg_sys::CmdType::CMD_SELECT {
            return;
        }
        for rte in PgList::<pg_sys::RangeTblEntry>::from_pg((*query).rtable).iter_ptr() {
            if (*rte).rtekind == pg_sys::RTEKind::RTE_SUBQUERY && !(*rte).subquery.is_null() {
                self::query((*rte).subquery, depth + 1);
            }
        }
        for cte in PgList::<pg_sys::CommonTableExpr>::from_pg((*query).cteList).iter_ptr() {
            if (*(*cte).ctequery).type_ == NodeTag::T_Query {
                self::query((*cte).ctequery.cast(), depth + 1);
            }
        }
        let tree = (*query).jointree;
        if tree.is_null() || (*tree).quals.is_null() {
            return;
        }
        let mut added = PgList::<pg_sys::Node>::new();
        for qual in conjuncts((*tree).quals) {
            sublinks(qual, depth);
            rewrite(query, qual, &mut added);
        }
        if !added.is_empty() {
            let mut quals = PgList::<pg_sys::Node>::new();
            conjuncts((*tree).quals)
                .into_iter()
                .for_each(|q| quals.push(q));
            added.iter_ptr().for_each(|q| quals.push(q));
            let and = pg_sys::makeBoolExpr(pg_sys::BoolExprType::AND_EXPR, quals.into_pg(), -1);
            (*tree).quals = and.cast();
        }
    }
}

/// Goes into the subqueries of IN and EXISTS conditions.
unsafe fn sublinks(qual: *mut pg_sys::Node, depth: usize) {
    // SAFETY: a qual of a query.
    unsafe {
        if (*qual).type_ == NodeTag::T_SubLink {
            let link = qual as *mut pg_sys::SubLink;
            let inner = (*link).subselect as *mut pg_sys::Query;
            if !inner.is_null() && (*inner).type_ == NodeTag::T_Query {
                query(inner, depth + 1);
            }
        }
    }
}

/// Rewrites `x op (SELECT ...)`; the equalities of the new join go to `added`.
unsafe fn rewrite(
    outer: *mut pg_sys::Query,
    qual: *mut pg_sys::Node,
    added: &mut PgList<pg_sys::Node>,
) {
    // SAFETY: a qual of the outer query.
    unsafe {
        if (*qual).type_ != NodeTag::T_OpExpr {
            return;
        }
        let op = qual as *mut pg_sys::OpExpr;
        let comparison = operator_name((*op).opno)
            .is_ok_and(|name| matches!(name.as_str(), "=" | "<" | "<=" | ">" | ">="));
        let args = PgList::<pg_sys::Node>::from_pg((*op).args);
        if !comparison || args.len() != 2 {
            return;
        }
        for at in 0..2 {
            let cell = pg_sys::list_nth_cell((*op).args, at);
            let Some((cell, link)) = scalar_sublink(outer, cell) else {
                continue;
            };
            let subquery = (*link).subselect as *mut pg_sys::Query;
            let Some((links, rest)) = correlation(subquery) else {
                return;
            };
            let value = join(outer, subquery, &links, rest, added);
            (*cell).ptr_value = value.cast();
            return;
        }
    }
}

/// The sublink that is an operand, or a numeric operand's factor beside a constant, if it is a scalar subquery of the
/// right shape; and the list cell that holds it.
unsafe fn scalar_sublink(
    outer: *mut pg_sys::Query,
    cell: *mut pg_sys::ListCell,
) -> Option<(*mut pg_sys::ListCell, *mut pg_sys::SubLink)> {
    // SAFETY: an operand of a qual.
    unsafe {
        if stack_is_short() {
            return None;
        }
        let node = (*cell).ptr_value as *mut pg_sys::Node;
        if (*node).type_ == NodeTag::T_OpExpr {
            let product = node as *mut pg_sys::OpExpr;
            let args = PgList::<pg_sys::Node>::from_pg((*product).args);
            let constant = |at| {
                args.get_ptr(at)
                    .is_some_and(|arg: *mut pg_sys::Node| (*arg).type_ == NodeTag::T_Const)
            };
            let factor = match (args.len(), constant(0), constant(1)) {
                (2, true, false) => 1,
                (2, false, true) => 0,
                _ => return None,
            };
            let numeric = (*product).opresulttype == pg_sys::NUMERICOID;
            if !numeric || operator_name((*product).opno).ok()? != "*" {
                return None;
            }
            return scalar_sublink(outer, pg_sys::list_nth_cell((*product).args, factor));
        }
        if (*node).type_ != NodeTag::T_SubLink {
            return None;
        }
        let link = node as *mut pg_sys::SubLink;
        let query = (*link).subselect as *mut pg_sys::Query;
        let plain = (*link).subLinkType == pg_sys::SubLinkType::EXPR_SUBLINK
            && (*query).type_ == NodeTag::T_Query
            && (*query).commandType == pg_sys::CmdType::CMD_SELECT
            && (*query).hasAggs
            && !(*query).hasWindowFuncs
            && !(*query).hasTargetSRFs
            && !(*query).hasModifyingCTE
            && !(*query).hasForUpdate
            && !(*query).hasRowSecurity
            && (*query).cteList.is_null()
            && (*query).groupClause.is_null()
            && (*query).groupingSets.is_null()
            && (*query).havingQual.is_null()
            && (*query).distinctClause.is_null()
            && (*query).sortClause.is_null()
            && (*query).limitCount.is_null()
            && (*query).limitOffset.is_null()
            && (*query).setOperations.is_null()
            && !(*query).jointree.is_null();
        if !plain {
            return None;
        }
        let targets = PgList::<pg_sys::TargetEntry>::from_pg((*query).targetList);
        let target = targets.get_ptr(0)?;
        let known = is_null_on_empty_group((*target).expr.cast()) && all_doris(query, outer);
        (targets.len() == 1 && known).then_some((cell, link))
    }
}

/// Whether an expression over aggregates is NULL for a group without rows and cannot fail on any other.
unsafe fn is_null_on_empty_group(node: *mut pg_sys::Node) -> bool {
    // SAFETY: a target expression of a query.
    unsafe {
        if stack_is_short() {
            return false;
        }
        match (*node).type_ {
            NodeTag::T_Aggref => {
                let aggref = node as *mut pg_sys::Aggref;
                let args = PgList::<pg_sys::TargetEntry>::from_pg((*aggref).args);
                let column = args.len() == 1
                    && args
                        .get_ptr(0)
                        .is_some_and(|arg| is_column((*arg).expr.cast()));
                // A sum of floats may overflow in a group that nobody asks for.
                let exact = matches!((*aggref).aggtype, pg_sys::NUMERICOID | pg_sys::INT8OID);
                (*aggref).aggfnoid.to_u32() < 10_000
                    && (*aggref).agglevelsup == 0
                    && (*aggref).aggfilter.is_null()
                    && column
                    && match function_name((*aggref).aggfnoid).as_str() {
                        "sum" | "avg" => exact,
                        "min" | "max" => true,
                        _ => false,
                    }
            }
            NodeTag::T_OpExpr => {
                let op = node as *mut pg_sys::OpExpr;
                let args = PgList::<pg_sys::Node>::from_pg((*op).args);
                let numeric = (*op).opresulttype == pg_sys::NUMERICOID;
                let (Some(a), Some(b)) = (args.get_ptr(0), args.get_ptr(1)) else {
                    return false;
                };
                let constant = |n: *mut pg_sys::Node| (*n).type_ == NodeTag::T_Const;
                numeric
                    && operator_name((*op).opno).is_ok_and(|name| name == "*")
                    && ((constant(a) && is_null_on_empty_group(b))
                        || (is_null_on_empty_group(a) && constant(b)))
            }
            _ => false,
        }
    }
}

/// A column, perhaps relabelled.
unsafe fn is_column(node: *mut pg_sys::Node) -> bool {
    // SAFETY: an expression of a query.
    unsafe {
        match (*node).type_ {
            NodeTag::T_Var => true,
            NodeTag::T_RelabelType => is_column((*(node as *mut pg_sys::RelabelType)).arg.cast()),
            _ => false,
        }
    }
}

/// Whether a condition can be evaluated on rows that the original query would not have looked at: built-in
/// operators between columns and what is constant.
unsafe fn is_safe_to_evaluate_early(qual: *mut pg_sys::Node) -> bool {
    // SAFETY: a qual of a query.
    unsafe {
        if (*qual).type_ != NodeTag::T_OpExpr {
            return false;
        }
        let op = qual as *mut pg_sys::OpExpr;
        let comparison = operator_name((*op).opno).is_ok_and(|name| {
            matches!(
                name.as_str(),
                "=" | "<>" | "<" | "<=" | ">" | ">=" | "~~" | "!~~"
            )
        });
        // What is not immutable may fail, and the planner would ask for its value.
        let operand = |node| {
            is_column(node)
                || !(pg_sys::contain_var_clause(node) || pg_sys::contain_mutable_functions(node))
        };
        comparison
            && PgList::<pg_sys::Node>::from_pg((*op).args)
                .iter_ptr()
                .all(operand)
    }
}

/// Whether all tables of a subquery are doris tables without row security of their own, or CTEs of the outer query
/// over some.
unsafe fn all_doris(query: *mut pg_sys::Query, outer: *mut pg_sys::Query) -> bool {
    // SAFETY: a query's range table.
    unsafe {
        PgList::<pg_sys::RangeTblEntry>::from_pg((*query).rtable)
            .iter_ptr()
            .all(|rte| {
                (*rte).securityQuals.is_null()
                    && match (*rte).rtekind {
                        pg_sys::RTEKind::RTE_JOIN => true,
                        pg_sys::RTEKind::RTE_RELATION => super::hook::is_doris_table((*rte).relid),
                        pg_sys::RTEKind::RTE_CTE => cte_reads_doris(rte, outer),
                        _ => false,
                    }
            })
    }
}

/// Whether a reference is to a CTE of `outer` that is not recursive and reads a doris table.
unsafe fn cte_reads_doris(rte: *mut pg_sys::RangeTblEntry, outer: *mut pg_sys::Query) -> bool {
    // SAFETY: a range table entry of a subquery of `outer`; names are C strings.
    unsafe {
        let name = std::ffi::CStr::from_ptr((*rte).ctename);
        (*rte).ctelevelsup == 1
            && !(*rte).self_reference
            && PgList::<pg_sys::CommonTableExpr>::from_pg((*outer).cteList)
                .iter_ptr()
                .any(|cte| {
                    std::ffi::CStr::from_ptr((*cte).ctename) == name
                        && !(*cte).cterecursive
                        && (*(*cte).ctequery).type_ == NodeTag::T_Query
                        && reads_doris((*cte).ctequery.cast())
                })
    }
}

/// Whether a query or one of its subqueries in FROM reads a doris table.
unsafe fn reads_doris(query: *mut pg_sys::Query) -> bool {
    // SAFETY: an analysed query.
    unsafe {
        (*query).commandType == pg_sys::CmdType::CMD_SELECT
            && PgList::<pg_sys::RangeTblEntry>::from_pg((*query).rtable)
                .iter_ptr()
                .any(|rte| match (*rte).rtekind {
                    pg_sys::RTEKind::RTE_RELATION => super::hook::is_doris_table((*rte).relid),
                    pg_sys::RTEKind::RTE_SUBQUERY => {
                        !(*rte).subquery.is_null()
                            && !stack_is_short()
                            && reads_doris((*rte).subquery)
                    }
                    _ => false,
                })
    }
}

/// Splits a subquery's WHERE into equalities with the outer query and the rest, which must not refer to it.
unsafe fn correlation(query: *mut pg_sys::Query) -> Option<(Vec<Link>, Vec<*mut pg_sys::Node>)> {
    // SAFETY: a subquery of the outer query.
    unsafe {
        let mut links = Vec::new();
        let mut rest = Vec::new();
        for qual in conjuncts((*(*query).jointree).quals) {
            if !pg_sys::contain_vars_of_level(qual, 1) {
                if pg_sys::contain_volatile_functions(qual) || !is_safe_to_evaluate_early(qual) {
                    return None;
                }
                rest.push(qual);
                continue;
            }
            links.push(link(qual)?);
        }
        let tables = PgList::<pg_sys::Node>::from_pg((*(*query).jointree).fromlist);
        if !tables.iter_ptr().all(|item| joins_harmlessly(item)) {
            return None;
        }
        let from = tables.into_pg() as *mut pg_sys::Node;
        let targets = (*query).targetList as *mut pg_sys::Node;
        let clean = !links.is_empty()
            && !pg_sys::contain_vars_of_level(targets, 1)
            && !pg_sys::contain_vars_of_level(from, 1)
            && !pg_sys::contain_volatile_functions(targets);
        clean.then_some((links, rest))
    }
}

/// Whether all conditions of the joins in an item of FROM are harmless.
unsafe fn joins_harmlessly(item: *mut pg_sys::Node) -> bool {
    // SAFETY: an item of a query's FROM; the tag is checked before the cast.
    unsafe {
        if stack_is_short() {
            return false;
        }
        if (*item).type_ != NodeTag::T_JoinExpr {
            return true;
        }
        let join = item as *mut pg_sys::JoinExpr;
        conjuncts((*join).quals).into_iter().all(|qual| {
            is_safe_to_evaluate_early(qual) && !pg_sys::contain_volatile_functions(qual)
        }) && joins_harmlessly((*join).larg)
            && joins_harmlessly((*join).rarg)
    }
}

unsafe fn link(qual: *mut pg_sys::Node) -> Option<Link> {
    // SAFETY: a qual of the subquery.
    unsafe {
        if (*qual).type_ != NodeTag::T_OpExpr {
            return None;
        }
        let operator = qual as *mut pg_sys::OpExpr;
        if !super::expr::is_equality((*operator).opno) {
            return None;
        }
        let args = PgList::<pg_sys::Node>::from_pg((*operator).args);
        let (a, b) = (args.get_ptr(0)?, args.get_ptr(1)?);
        let var_of = |node: *mut pg_sys::Node, level: u32| {
            (*node).type_ == NodeTag::T_Var && (*(node as *mut pg_sys::Var)).varlevelsup == level
        };
        // Both sides of one type, and its own equality, by which it can be grouped: boxes are = when their areas are.
        let data_type = pg_sys::exprType(a);
        let known = pg_sys::lookup_type_cache(data_type, pg_sys::TYPECACHE_EQ_OPR as i32);
        if data_type != pg_sys::exprType(b) || (*known).eq_opr != (*operator).opno {
            return None;
        }
        let (inner, outer, outer_is_left) = if var_of(a, 1) && var_of(b, 0) {
            (b, a, true)
        } else if var_of(b, 1) && var_of(a, 0) {
            (a, b, false)
        } else {
            return None;
        };
        if !groups_alike(inner, (*operator).inputcollid) {
            return None;
        }
        Some(Link {
            operator,
            inner,
            outer: outer.cast(),
            outer_is_left,
        })
    }
}

/// Whether values that are equal by a collation are those that a GROUP BY of the column puts together.
unsafe fn groups_alike(column: *mut pg_sys::Node, compared_by: pg_sys::Oid) -> bool {
    // SAFETY: an expression of a query.
    let grouped_by = unsafe { pg_sys::exprCollation(column) };
    let by_bytes = |collation: pg_sys::Oid| {
        // SAFETY: a catalogue look-up.
        collation == pg_sys::InvalidOid
            || unsafe { pg_sys::get_collation_isdeterministic(collation) }
    };
    grouped_by == compared_by || (by_bytes(grouped_by) && by_bytes(compared_by))
}

/// Makes the subquery a grouped one in the outer FROM; returns the Var of its value.
unsafe fn join(
    outer: *mut pg_sys::Query,
    subquery: *mut pg_sys::Query,
    links: &[Link],
    rest: Vec<*mut pg_sys::Node>,
    added: &mut PgList<pg_sys::Node>,
) -> *mut pg_sys::Node {
    // SAFETY: both queries are ours to change.
    unsafe {
        let mut quals = PgList::<pg_sys::Node>::new();
        rest.into_iter().for_each(|q| quals.push(q));
        (*(*subquery).jointree).quals = match quals.len() {
            0 => std::ptr::null_mut(),
            1 => quals.get_ptr(0).unwrap_or(std::ptr::null_mut()),
            _ => pg_sys::makeBoolExpr(pg_sys::BoolExprType::AND_EXPR, quals.into_pg(), -1).cast(),
        };
        let mut targets = PgList::<pg_sys::TargetEntry>::from_pg((*subquery).targetList);
        let mut groups = PgList::<pg_sys::Node>::new();
        let rti = PgList::<pg_sys::RangeTblEntry>::from_pg((*outer).rtable).len() as i32 + 1;
        let value = targets.get_ptr(0).map(|t| (*t).expr as *mut pg_sys::Node);
        for (i, link) in links.iter().enumerate() {
            let resno = i as i16 + 2;
            let name = pg_sys::pstrdup(c"key".as_ptr());
            let target = pg_sys::makeTargetEntry(link.inner.cast(), resno, name, false);
            (*target).ressortgroupref = i as u32 + 1;
            targets.push(target);
            groups.push(group_clause(link, i as u32 + 1).cast());
            added.push(equality(link, rti, resno));
        }
        (*subquery).targetList = targets.into_pg();
        (*subquery).groupClause = groups.into_pg();
        add_to_from(outer, subquery, rti);
        let value = value.unwrap_or(std::ptr::null_mut());
        var(rti, 1, value).cast()
    }
}

unsafe fn var(rti: i32, resno: i16, expr: *mut pg_sys::Node) -> *mut pg_sys::Var {
    // SAFETY: an expression of the subquery.
    unsafe {
        pg_sys::makeVar(
            rti as _,
            resno,
            pg_sys::exprType(expr),
            pg_sys::exprTypmod(expr),
            pg_sys::exprCollation(expr),
            0,
        )
    }
}

unsafe fn group_clause(link: &Link, reference: u32) -> *mut pg_sys::SortGroupClause {
    // SAFETY: a zeroed node of its type; the type has an equality, being compared by one.
    unsafe {
        let clause = pg_sys::palloc0(std::mem::size_of::<pg_sys::SortGroupClause>())
            as *mut pg_sys::SortGroupClause;
        (*clause).type_ = NodeTag::T_SortGroupClause;
        (*clause).tleSortGroupRef = reference;
        let (mut less, mut equal, mut hashable) = (pg_sys::InvalidOid, pg_sys::InvalidOid, false);
        pg_sys::get_sort_group_operators(
            pg_sys::exprType(link.inner),
            false,
            true,
            false,
            &mut less,
            &mut equal,
            std::ptr::null_mut(),
            &mut hashable,
        );
        (*clause).eqop = equal;
        (*clause).sortop = less;
        (*clause).hashable = hashable;
        clause
    }
}

/// The link's equality between the outer column and the new subquery's.
unsafe fn equality(link: &Link, rti: i32, resno: i16) -> *mut pg_sys::Node {
    // SAFETY: copies of the link's nodes.
    unsafe {
        let op = pg_sys::copyObjectImpl(link.operator.cast()) as *mut pg_sys::OpExpr;
        let outer = pg_sys::copyObjectImpl(link.outer.cast()) as *mut pg_sys::Var;
        (*outer).varlevelsup = 0;
        let inner = var(rti, resno, link.inner);
        let mut args = PgList::<pg_sys::Node>::new();
        let (first, second): (*mut pg_sys::Node, *mut pg_sys::Node) = if link.outer_is_left {
            (outer.cast(), inner.cast())
        } else {
            (inner.cast(), outer.cast())
        };
        args.push(first);
        args.push(second);
        (*op).args = args.into_pg();
        op.cast()
    }
}

unsafe fn add_to_from(outer: *mut pg_sys::Query, subquery: *mut pg_sys::Query, rti: i32) {
    // SAFETY: zeroed nodes of their types, linked into the outer query.
    unsafe {
        let rte = pg_sys::palloc0(std::mem::size_of::<pg_sys::RangeTblEntry>())
            as *mut pg_sys::RangeTblEntry;
        (*rte).type_ = NodeTag::T_RangeTblEntry;
        (*rte).rtekind = pg_sys::RTEKind::RTE_SUBQUERY;
        (*rte).subquery = subquery;
        (*rte).inFromCl = true;
        let mut names = PgList::<pg_sys::Node>::new();
        for _ in 0..PgList::<pg_sys::TargetEntry>::from_pg((*subquery).targetList).len() {
            names.push(pg_sys::makeString(pg_sys::pstrdup(c"column".as_ptr())).cast());
        }
        (*rte).eref = pg_sys::makeAlias(c"subquery".as_ptr(), names.into_pg());
        let mut rtable = PgList::<pg_sys::RangeTblEntry>::from_pg((*outer).rtable);
        rtable.push(rte);
        (*outer).rtable = rtable.into_pg();
        let reference =
            pg_sys::palloc0(std::mem::size_of::<pg_sys::RangeTblRef>()) as *mut pg_sys::RangeTblRef;
        (*reference).type_ = NodeTag::T_RangeTblRef;
        (*reference).rtindex = rti;
        let mut from = PgList::<pg_sys::Node>::from_pg((*(*outer).jointree).fromlist);
        from.push(reference.cast());
        (*(*outer).jointree).fromlist = from.into_pg();
    }
}
