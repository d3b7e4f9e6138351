// SPDX-License-Identifier: Apache-2.0
//! Whether the text of a condition on rows is as harmless as those of partitions are.
//!
//! The text comes from a table's owner or from another server, and is run with the rights of the sync's owner. So it
//! has to be one expression of columns, constants, and operators and types that are looked for among PostgreSQL's own.
use crate::pg::{self, compat};
use pgrx::pg_sys::NodeTag;
use pgrx::prelude::*;
use pgrx::{is_a, PgList};
use std::ffi::CString;

/// Whether a condition is plain; one of hash partitions is only where it comes from this database. Raises an error if
/// it is no condition. A transaction is open.
pub(super) fn is_plain(condition: &str, local: bool) -> bool {
    if condition.contains("--") || condition.contains("/*") {
        return false;
    }
    let Ok(sql) = CString::new(format!("DELETE FROM ONLY t WHERE {condition}")) else {
        return false;
    };
    // SAFETY: parse trees as the parser makes them, read by their tags.
    unsafe {
        let statements = PgList::<pg_sys::RawStmt>::from_pg(pg_sys::pg_parse_query(sql.as_ptr()));
        let (1, Some(only)) = (statements.len(), statements.get_ptr(0)) else {
            return false;
        };
        if !is_a((*only).stmt, NodeTag::T_DeleteStmt) {
            return false;
        }
        let delete = (*only).stmt.cast::<pg_sys::DeleteStmt>();
        (*delete).usingClause.is_null()
            && !compat::returns_rows(delete)
            && (*delete).withClause.is_null()
            && !(*delete).whereClause.is_null()
            && plain((*delete).whereClause, local)
    }
}

/// Whether a text is one expression and nothing beside it, which calls what PostgreSQL brings along and nothing else.
/// Raises an error if it is no SQL. The session's search path has nothing but PostgreSQL's own.
pub(super) fn is_expression(text: &str) -> bool {
    if text.contains("--") || text.contains("/*") {
        return false;
    }
    let Ok(sql) = CString::new(format!("SELECT ({text})")) else {
        return false;
    };
    // SAFETY: as above.
    unsafe {
        let statements = PgList::<pg_sys::RawStmt>::from_pg(pg_sys::pg_parse_query(sql.as_ptr()));
        let (1, Some(only)) = (statements.len(), statements.get_ptr(0)) else {
            return false;
        };
        if !is_a((*only).stmt, NodeTag::T_SelectStmt) {
            return false;
        }
        let select = &*(*only).stmt.cast::<pg_sys::SelectStmt>();
        let clauses = [
            select.distinctClause,
            select.fromClause,
            select.groupClause,
            select.windowClause,
            select.valuesLists,
            select.sortClause,
            select.lockingClause,
        ];
        let nodes = [
            select.whereClause,
            select.havingClause,
            select.limitOffset,
            select.limitCount,
        ];
        PgList::<pg_sys::Node>::from_pg(select.targetList).len() == 1
            && clauses.iter().all(|c| c.is_null())
            && nodes.iter().all(|n| n.is_null())
            && select.intoClause.is_null()
            && select.withClause.is_null()
            && select.op == pg_sys::SetOperation::SETOP_NONE
            && !names_others(select.targetList.cast(), std::ptr::null_mut())
    }
}

/// Whether a function, a type or an operator below a node has the name of a user's schema.
#[pg_guard]
unsafe extern "C-unwind" fn names_others(
    node: *mut pg_sys::Node,
    context: *mut std::ffi::c_void,
) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: a node is what its tag says; the walker calls back with the nodes below it.
    unsafe {
        let own = match (*node).type_ {
            NodeTag::T_FuncCall => is_own((*node.cast::<pg_sys::FuncCall>()).funcname),
            NodeTag::T_A_Expr => is_own((*node.cast::<pg_sys::A_Expr>()).name),
            NodeTag::T_TypeName => is_own((*node.cast::<pg_sys::TypeName>()).names),
            NodeTag::T_CollateClause => is_own((*node.cast::<pg_sys::CollateClause>()).collname),
            NodeTag::T_SubLink => false,
            _ => true,
        };
        !own || compat::raw_expression_tree_walker(node, Some(names_others), context)
    }
}

/// Whether an expression is plain.
unsafe fn plain(node: *mut pg_sys::Node, local: bool) -> bool {
    if node.is_null() {
        return true;
    }
    // SAFETY: a node is what its tag says.
    unsafe {
        match (*node).type_ {
            NodeTag::T_A_Const => true,
            NodeTag::T_BoolExpr => all_plain((*node.cast::<pg_sys::BoolExpr>()).args, local),
            NodeTag::T_NullTest => plain((*node.cast::<pg_sys::NullTest>()).arg.cast(), local),
            NodeTag::T_BooleanTest => {
                plain((*node.cast::<pg_sys::BooleanTest>()).arg.cast(), local)
            }
            NodeTag::T_List => all_plain(node.cast(), local),
            NodeTag::T_A_ArrayExpr => {
                all_plain((*node.cast::<pg_sys::A_ArrayExpr>()).elements, local)
            }
            // With a table before the dot, a column may be a function.
            NodeTag::T_ColumnRef => {
                words((*node.cast::<pg_sys::ColumnRef>()).fields).is_some_and(|w| w.len() == 1)
            }
            NodeTag::T_A_Expr => {
                let e = node.cast::<pg_sys::A_Expr>();
                let kind = (*e).kind;
                (kind == pg_sys::A_Expr_Kind::AEXPR_OP || kind == pg_sys::A_Expr_Kind::AEXPR_OP_ANY)
                    && is_own((*e).name)
                    && plain((*e).lexpr, local)
                    && plain((*e).rexpr, local)
            }
            NodeTag::T_TypeCast => {
                let cast = node.cast::<pg_sys::TypeCast>();
                let to = (*cast).typeName;
                is_own((*to).names)
                    && !(*to).pct_type
                    && all_plain((*to).typmods, local)
                    && plain((*cast).arg, local)
            }
            NodeTag::T_CollateClause => {
                let collate = node.cast::<pg_sys::CollateClause>();
                words((*collate).collname).is_some() && plain((*collate).arg, local)
            }
            NodeTag::T_FuncCall => {
                let call = node.cast::<pg_sys::FuncCall>();
                let name = words((*call).funcname).unwrap_or_default();
                let hash = name.last().is_some_and(|n| n == "satisfies_hash_partition");
                local && hash && is_own((*call).funcname) && all_plain((*call).args, local)
            }
            _ => false,
        }
    }
}

unsafe fn all_plain(list: *mut pg_sys::List, local: bool) -> bool {
    // SAFETY: a list of nodes.
    unsafe {
        let list = PgList::<pg_sys::Node>::from_pg(list);
        let all = list.iter_ptr().all(|node| plain(node, local));
        all
    }
}

/// Whether a name has no schema or PostgreSQL's own.
unsafe fn is_own(name: *mut pg_sys::List) -> bool {
    // SAFETY: as the caller's.
    let words = unsafe { words(name) }.unwrap_or_default();
    words.len() == 1 || words.len() == 2 && words[0] == "pg_catalog"
}

/// The words of a name; `None` if it has anything else.
unsafe fn words(name: *mut pg_sys::List) -> Option<Vec<String>> {
    // SAFETY: a list of nodes; strings have text.
    unsafe {
        let list = PgList::<pg_sys::Node>::from_pg(name);
        let word = |node: *mut pg_sys::Node| {
            is_a(node, NodeTag::T_String).then(|| {
                let text = (*node.cast::<pg_sys::String>()).sval;
                pg::text(text)
            })
        };
        let words = list.iter_ptr().map(word).collect();
        words
    }
}
