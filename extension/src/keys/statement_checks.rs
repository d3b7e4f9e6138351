// SPDX-License-Identifier: Apache-2.0
//! Statements on keyed tables, looked at before they are planned: what a model does not allow is refused, and
//! columns that a partial update may leave out get a stand-in.
//!
//! PostgreSQL checks that columns are not NULL before a row meets the stored one of its key. A column that must
//! not be NULL, has no default and is not named gets a call of `doris._unnamed`, which returns some value of the
//! type while a partial update runs, and NULL otherwise. The rule never stores it: the stored row's value is kept,
//! and a new key is an error.
use super::statement;
use crate::options::model::{self, Keyed, Model};
use crate::pg::{self, attributes, raw};
use crate::plan::hook::is_doris_table;
use crate::types::shells::{sql_functions, Args, Raw};
use pgrx::pg_sys::{self, Datum, NodeTag};
use pgrx::{pg_guard, PgList, PgSqlErrorCode};
use std::ffi::c_void;

sql_functions! {
    "doris_unnamed" => unnamed;
}

/// Looks at a query and at the data-modifying ones in its WITH clause.
///
/// # Safety
/// A query from the rewriter that the caller may change.
pub unsafe fn query(parse: *mut pg_sys::Query) {
    // SAFETY: passed on to the caller.
    unsafe {
        for cte in PgList::<pg_sys::CommonTableExpr>::from_pg((*parse).cteList).iter_ptr() {
            let inner = (*cte).ctequery;
            if (*inner).type_ == NodeTag::T_Query {
                query(inner.cast());
            }
        }
        if (*parse).commandType == pg_sys::CmdType::CMD_SELECT || (*parse).resultRelation == 0 {
            return;
        }
        let rte = pg_sys::rt_fetch((*parse).resultRelation as u32, (*parse).rtable);
        for relid in targets(rte) {
            let rel = pg_sys::table_open(relid, pg_sys::AccessShareLock as i32);
            if let Some(keyed) = model::of(rel) {
                if keyed.model == Model::Aggregate {
                    aggregate(rel, &keyed, parse);
                }
                // ON CONFLICT stores the row as it is given, and so may other partitions of a partitioned target.
                let by_rule = relid == (*rte).relid && (*parse).onConflict.is_null();
                if (*parse).commandType == pg_sys::CmdType::CMD_INSERT
                    && keyed.model == Model::Unique
                    && by_rule
                {
                    stand_in(relid, parse);
                }
            }
            pg_sys::table_close(rel, pg_sys::AccessShareLock as i32);
        }
    }
}

/// The doris tables that a statement with this target may write.
unsafe fn targets(rte: *mut pg_sys::RangeTblEntry) -> Vec<pg_sys::Oid> {
    // SAFETY: the target of a query, which is a relation.
    unsafe {
        let relid = (*rte).relid;
        let kind = (*rte).relkind as u8;
        let mut all = vec![relid];
        if kind == pg_sys::RELKIND_PARTITIONED_TABLE || raw::may_have_inheritors(relid) {
            all = raw::inheritors(relid);
        }
        all.retain(|relid| is_doris_table(*relid));
        all
    }
}

/// Refuses what the aggregate model does not allow.
unsafe fn aggregate(rel: pg_sys::Relation, keyed: &Keyed, parse: *mut pg_sys::Query) {
    use pg_sys::CmdType::*;
    // SAFETY: an analysed query with this target.
    unsafe {
        match (*parse).commandType {
            CMD_INSERT if !(*parse).onConflict.is_null() => refuse(
                rel,
                "ON CONFLICT is not supported by aggregate key table",
                "Rows of equal keys are folded: leave the clause out.",
            ),
            CMD_UPDATE => refuse_update(rel),
            CMD_DELETE => delete(rel, keyed, parse),
            CMD_MERGE => {
                let list = PgList::<pg_sys::MergeAction>::from_pg((*parse).mergeActionList);
                let changes = |action: *mut pg_sys::MergeAction| {
                    matches!((*action).commandType, CMD_UPDATE | CMD_DELETE)
                };
                if list.iter_ptr().any(changes) {
                    refuse_update(rel);
                }
            }
            _ => {}
        }
    }
}

fn refuse(rel: pg_sys::Relation, what: &str, hint: &str) -> ! {
    let table = pg::relation_name(rel);
    pg::refuse(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("{what} \"{table}\""),
        hint,
    )
}

fn refuse_update(rel: pg_sys::Relation) -> ! {
    let table = pg::relation_name(rel);
    pg::refuse(
        PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
        format!("Only unique table could be updated. Table \"{table}\" is an aggregate key table."),
        "INSERT folds rows into those of their keys; DELETE removes whole keys.",
    )
}

/// A DELETE may look at key columns only.
unsafe fn delete(rel: pg_sys::Relation, keyed: &Keyed, parse: *mut pg_sys::Query) {
    let table = pg::relation_name(rel);
    // SAFETY: an analysed DELETE.
    let (sources, value) = unsafe {
        let tree = (*parse).jointree;
        let sources = PgList::<pg_sys::Node>::from_pg((*tree).fromlist).len();
        let mut search = Search {
            target: (*parse).resultRelation,
            depth: 0,
            names: key_names(rel, keyed),
            rtable: (*parse).rtable,
            found: false,
        };
        find_value((*tree).quals, (&raw mut search).cast());
        (sources, search.found)
    };
    if sources > 1 {
        pg::refuse(
            PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
            format!(
                "delete command with using clause only supports unique key model, but Table[{table}] is an \
                 Aggregate table."
            ),
            "Delete by predicates on key columns, with a subquery if need be.",
        );
    }
    if value {
        pg::refuse(
            PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
            format!(
                "delete predicate on value column only supports Unique table with merge-on-write enabled and \
                 Duplicate table, but Table[{table}] is an Aggregate table."
            ),
            "Delete by predicates on key columns.",
        );
    }
}

fn key_names(rel: pg_sys::Relation, keyed: &Keyed) -> Vec<String> {
    attributes::live(rel)
        .filter(|attribute| keyed.keys.contains(&(attribute.attnum as u16)))
        .map(pg::attribute_name)
        .collect()
}

/// A search for a value column in an expression.
struct Search {
    target: i32,
    depth: u32,
    /// Key columns, by name: the statement's target may be a parent of the table.
    names: Vec<String>,
    rtable: *mut pg_sys::List,
    found: bool,
}

#[pg_guard]
unsafe extern "C-unwind" fn find_value(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    // SAFETY: the context is the Search of `delete`, alive for the walk; nodes are those of a query.
    unsafe {
        if node.is_null() {
            return false;
        }
        let search = context as *mut Search;
        if (*node).type_ == NodeTag::T_Query {
            (*search).depth += 1;
            let found = pg_sys::query_tree_walker(node.cast(), Some(find_value), context, 0);
            (*search).depth -= 1;
            return found;
        }
        if (*node).type_ == NodeTag::T_Var {
            let var = node as *mut pg_sys::Var;
            let ours = (*var).varlevelsup == (*search).depth && (*var).varno == (*search).target;
            if ours && is_value(&*search, (*var).varattno) {
                (*search).found = true;
                return true;
            }
            return false;
        }
        pg_sys::expression_tree_walker(node, Some(find_value), context)
    }
}

/// A whole-row reference looks at value columns too; system columns are no columns of the table.
unsafe fn is_value(search: &Search, number: i16) -> bool {
    if number <= 0 {
        return number == 0;
    }
    // SAFETY: the statement's target is in its range table.
    let relid = unsafe { (*pg_sys::rt_fetch(search.target as u32, search.rtable)).relid };
    let name = pg::column_name_if_any(relid, number);
    name.is_none_or(|name| !search.names.contains(&name))
}

/// Adds stand-ins to an INSERT for columns that it leaves out and that must not be NULL.
unsafe fn stand_in(relid: pg_sys::Oid, parse: *mut pg_sys::Query) {
    // SAFETY: an analysed INSERT into this relation, which the query has locked; its targets are sorted by number.
    unsafe {
        let rel = pg_sys::table_open(relid, pg_sys::NoLock as i32);
        let mut targets = Vec::new();
        let list = PgList::<pg_sys::TargetEntry>::from_pg((*parse).targetList);
        list.iter_ptr().for_each(|target| targets.push(target));
        let before = targets.len();
        for attribute in attributes::live(rel) {
            let number = attribute.attnum;
            let named = targets.iter().any(|target| (**target).resno == number);
            if !named && attribute.attgenerated == 0 && statement::lacks_default(attribute) {
                let at = targets
                    .iter()
                    .position(|t| (**t).resno > number || (**t).resjunk);
                let entry = stand_in_for(relid, attribute);
                targets.insert(at.unwrap_or(targets.len()), entry);
            }
        }
        if targets.len() > before {
            let mut list = PgList::<pg_sys::TargetEntry>::new();
            targets.into_iter().for_each(|target| list.push(target));
            (*parse).targetList = list.into_pg();
        }
        pg_sys::table_close(rel, pg_sys::NoLock as i32);
    }
}

unsafe fn stand_in_for(
    relid: pg_sys::Oid,
    attribute: &pg_sys::FormData_pg_attribute,
) -> *mut pg_sys::TargetEntry {
    // SAFETY: nodes made of an attribute's type; the function is the extension's own.
    unsafe {
        let (oid, collation) = (attribute.atttypid, attribute.attcollation);
        let mut name = PgList::<pg_sys::Node>::new();
        name.push(pg_sys::makeString(pg_sys::pstrdup(c"doris".as_ptr())).cast());
        name.push(pg_sys::makeString(pg_sys::pstrdup(c"_unnamed".as_ptr())).cast());
        let types = [pg_sys::ANYELEMENTOID, pg_sys::OIDOID];
        let function = pg_sys::LookupFuncName(name.into_pg(), 2, types.as_ptr(), false);
        let mut arguments = PgList::<pg_sys::Node>::new();
        arguments.push(pg_sys::makeNullConst(oid, -1, collation).cast());
        let table = pg_sys::makeConst(
            pg_sys::OIDOID,
            -1,
            pg_sys::InvalidOid,
            4,
            relid.into(),
            false,
            true,
        );
        arguments.push(table.cast());
        let form = pg_sys::CoercionForm::COERCE_EXPLICIT_CALL;
        let list = arguments.into_pg();
        let call = pg_sys::makeFuncExpr(function, oid, list, collation, collation, form);
        let column = pg_sys::pstrdup(attribute.attname.data.as_ptr());
        pg_sys::makeTargetEntry(call.cast(), attribute.attnum, column, false)
    }
}

/// `doris._unnamed(type, table)`: some value of the type while a partial update of the table runs, else NULL.
fn unnamed(args: &Args) -> Option<Raw> {
    let relid = pg_sys::Oid::from(args.datum(1)?.value() as u32);
    if !statement::partial_update_runs(relid) {
        return None;
    }
    // SAFETY: fcinfo is that of the running call.
    let oid = unsafe { pg_sys::get_fn_expr_rettype((*args.fcinfo()).flinfo) };
    // SAFETY: a catalogue look-up of a type that exists.
    let base = unsafe { pg_sys::getBaseType(oid) };
    some_value(base).map(Raw)
}

/// Some value of a type; `None` where none is known.
fn some_value(oid: pg_sys::Oid) -> Option<Datum> {
    let (mut len, mut byval) = (0, false);
    let (mut category, mut preferred) = (0, false);
    // SAFETY: out parameters; the texts below are valid for the types that they are given to.
    unsafe {
        pg_sys::get_typlenbyval(oid, &mut len, &mut byval);
        if byval {
            return Some(Datum::from(0));
        }
        pg_sys::get_type_category_preferred(oid, &mut category, &mut preferred);
        let text = match (oid, category as u8) {
            (pg_sys::UUIDOID, _) => c"00000000-0000-0000-0000-000000000000",
            (pg_sys::JSONOID | pg_sys::JSONBOID, _) => c"null",
            (pg_sys::BYTEAOID, _) | (_, b'S') => c"",
            (pg_sys::NUMERICOID, _) => c"0",
            (_, b'A') => c"{}",
            (pg_sys::INETOID | pg_sys::CIDROID, _) => c"0.0.0.0",
            (pg_sys::INTERVALOID | pg_sys::TIMETZOID, _) => c"00:00:00",
            (_, b'R') => c"empty",
            (_, b'V') => c"0",
            _ if oid == model::own_type(c"bitmap") => c"",
            _ => return None,
        };
        let (mut function, mut parameter) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
        pg_sys::getTypeInputInfo(oid, &mut function, &mut parameter);
        let text = text.as_ptr().cast_mut();
        Some(pg_sys::OidInputFunctionCall(function, text, parameter, -1))
    }
}
