// SPDX-License-Identifier: Apache-2.0
//! PostgreSQL's expressions as the engine's, or the reason why not.
//!
//! Only built-in operators and functions are taken (by their OID range), told apart by name and argument
//! types; the engine's constructors check types and refuse what they cannot do exactly.
mod operators;

use self::operators::{binary, collated, compare, two};
pub use self::operators::{is_equality, operator_name, same_type};
use super::external::External;
use super::functions;
use super::params::{self, Params};
use super::scope::{Column, Scope};
use super::types;
use super::{no, Converted};
use crate::pg;
use doris_engine::expr::{CompareOp, Expr, ExtractUnit};
use doris_engine::types::DataType;
use pgrx::pg_sys::{self, NodeTag};
use pgrx::PgList;

/// Built-in objects have OIDs below this (`FirstGenbkiObjectId`).
pub const FIRST_OTHER_OID: u32 = 10_000;

/// Converts expressions of one plan node.
pub struct Translator<'a> {
    /// What they may refer to.
    pub scope: &'a Scope,
    /// Values of parameters.
    pub params: &'a mut dyn Params,
    /// The external expressions so far; `None` where there may be none.
    pub externals: Option<&'a mut Vec<External>>,
    /// Whether all rows are computed before the first is handed out, so that PostgreSQL can still take over when a
    /// numeric comes up that a scaled integer cannot hold.
    pub numerics: bool,
    /// The operands of the simple CASEs in whose conditions it is.
    pub tested: Vec<Expr>,
    /// Whether it is where only some rows get to, by way of a CASE or COALESCE.
    pub guarded: bool,
    /// The statement.
    pub stmt: *mut pg_sys::PlannedStmt,
}

impl Translator<'_> {
    /// One expression whose own operator or function is native.
    ///
    /// # Safety
    /// An expression of a finished plan.
    pub unsafe fn native(&mut self, node: *mut pg_sys::Node) -> Converted<Expr> {
        // SAFETY: passed on to the caller.
        unsafe {
            if node.is_null() {
                return no("an empty expression");
            }
            let expr = self.by_tag(node)?;
            if !self.numerics && expr.may_give_up() {
                return no("a value that the engine may not have, among rows that are handed out as they come");
            }
            // Results that stand for each other may differ in collation: PostgreSQL knows which one counts.
            let collation = pg_sys::exprCollation(node);
            if !expr.data_type().is_text() || collation == pg_sys::InvalidOid {
                return Ok(expr);
            }
            match expr.collated(types::collate(collation)) {
                Some(expr) => Ok(expr),
                None => no("a change of collation"),
            }
        }
    }

    unsafe fn by_tag(&mut self, node: *mut pg_sys::Node) -> Converted<Expr> {
        // SAFETY: node tags say what a node is.
        unsafe {
            if let Some(at) = self.scope.find(node) {
                return match self.scope.items[at].column {
                    Column::Native(_, DataType::Opaque { .. }) => {
                        let name = crate::pg::type_name(self.scope.items[at].type_oid);
                        no(format!("type {name} is not vectorised"))
                    }
                    Column::Native(index, data_type) => Ok(Expr::column(index, data_type)),
                    Column::Missing => no("a value that the engine cannot compute"),
                };
            }
            match (*node).type_ {
                NodeTag::T_Const => self.constant(node.cast()),
                // Its subquery runs when a row asks for it: it may fail, or be volatile.
                NodeTag::T_Param if self.guarded && params::is_subquery(node.cast(), self.stmt) => {
                    no("a subquery that not every row asks for")
                }
                NodeTag::T_Param => self.params.value(node.cast()),
                NodeTag::T_RelabelType => self.relabel(node.cast()),
                NodeTag::T_OpExpr => self.operator(node.cast()),
                NodeTag::T_DistinctExpr => {
                    let op = node as *mut pg_sys::OpExpr;
                    let args = self.args((*op).args)?;
                    compare(CompareOp::Distinct, args)
                }
                NodeTag::T_NullIfExpr => {
                    let [left, right] = two(self.args((*(node as *mut pg_sys::OpExpr)).args)?)?;
                    Ok(Expr::null_if(left, right)?)
                }
                NodeTag::T_FuncExpr => self.function(node.cast()),
                NodeTag::T_BoolExpr => self.bool_expr(node.cast()),
                NodeTag::T_NullTest => self.null_test(node.cast()),
                NodeTag::T_BooleanTest => self.boolean_test(node.cast()),
                NodeTag::T_CaseTestExpr => match self.tested.last() {
                    Some(operand) => Ok(operand.clone()),
                    None => no("the operand of another CASE"),
                },
                NodeTag::T_CoerceViaIO => self.written(node.cast()),
                NodeTag::T_CaseExpr => one_width(node, self.case(node.cast())?),
                NodeTag::T_CoalesceExpr => {
                    let list = (*(node as *mut pg_sys::CoalesceExpr)).args;
                    let mut args = Vec::new();
                    for (at, arg) in PgList::<pg_sys::Node>::from_pg(list).iter_ptr().enumerate() {
                        args.push(self.guarded(at > 0, |own| own.expr(arg))?);
                    }
                    one_width(node, Expr::coalesce(args)?)
                }
                NodeTag::T_MinMaxExpr => {
                    let minmax = node as *mut pg_sys::MinMaxExpr;
                    let args = collated(self.args((*minmax).args)?, (*minmax).inputcollid)?;
                    let greatest = (*minmax).op == pg_sys::MinMaxOp::IS_GREATEST;
                    let picked = match greatest {
                        true => Expr::greatest(args)?,
                        false => Expr::least(args)?,
                    };
                    one_width(node, picked)
                }
                NodeTag::T_RowCompareExpr => self.row_compare(node.cast()),
                NodeTag::T_ScalarArrayOpExpr => self.array_op(node.cast()),
                NodeTag::T_SubPlan | NodeTag::T_AlternativeSubPlan => no("a correlated subquery"),
                NodeTag::T_Aggref => no("an aggregate that is not vectorised"),
                tag => no(format!("expression node {tag:?}")),
            }
        }
    }

    /// An expression of which only counts whether it is NULL, or that is handed on as it is.
    ///
    /// # Safety
    /// An expression of a finished plan.
    pub unsafe fn carried(&mut self, node: *mut pg_sys::Node) -> Converted<Expr> {
        // SAFETY: passed on to the caller.
        let at = unsafe { self.scope.find(node) };
        match at.map(|at| self.scope.items[at].column) {
            Some(Column::Native(index, data_type)) => Ok(Expr::column(index, data_type)),
            // SAFETY: passed on to the caller.
            _ => unsafe { self.expr(node) },
        }
    }

    unsafe fn args(&mut self, list: *mut pg_sys::List) -> Converted<Vec<Expr>> {
        // SAFETY: a list of expressions.
        unsafe {
            PgList::<pg_sys::Node>::from_pg(list)
                .iter_ptr()
                .map(|arg| self.expr(arg))
                .collect()
        }
    }

    unsafe fn constant(&mut self, constant: *mut pg_sys::Const) -> Converted<Expr> {
        // SAFETY: a Const holds a value of its type.
        unsafe {
            let c = &*constant;
            if c.constisnull {
                if c.consttype == pg_sys::NUMERICOID && c.consttypmod < 4 {
                    return Ok(Expr::null(DataType::Numeric {
                        precision: 1,
                        scale: 0,
                    }));
                }
                return Ok(Expr::null(types::data_type(
                    c.consttype,
                    c.consttypmod,
                    c.constcollid,
                )?));
            }
            let (scalar, data_type) =
                types::constant(c.constvalue, c.consttype, c.consttypmod, c.constcollid)?;
            Ok(Expr::constant(scalar, data_type)?)
        }
    }

    /// A change of type that leaves the bytes alone: varchar to text.
    unsafe fn relabel(&mut self, relabel: *mut pg_sys::RelabelType) -> Converted<Expr> {
        // SAFETY: a RelabelType.
        unsafe {
            let arg = self.expr((*relabel).arg.cast())?;
            let (to, mod_, collation) = (
                (*relabel).resulttype,
                (*relabel).resulttypmod,
                (*relabel).resultcollid,
            );
            match (arg.data_type(), to) {
                // The caller gives it the collation.
                (DataType::Text { .. }, pg_sys::TEXTOID | pg_sys::VARCHAROID) => Ok(arg),
                (DataType::Bpchar { .. }, pg_sys::BPCHAROID) => one_width(relabel.cast(), arg),
                (DataType::Numeric { .. } | DataType::Decimal, pg_sys::NUMERICOID) => Ok(arg),
                // A domain's value as its base type's.
                (from, to) if types::data_type(to, mod_, collation).is_ok_and(|to| to == from) => {
                    Ok(arg)
                }
                (from, to) => no(format!(
                    "a relabelling of {from} as {}",
                    crate::pg::type_name(to)
                )),
            }
        }
    }

    unsafe fn operator(&mut self, op: *mut pg_sys::OpExpr) -> Converted<Expr> {
        // SAFETY: an OpExpr; get_opname returns a palloc'd string.
        unsafe {
            let name = operator_name((*op).opno)?;
            let collation = (*op).inputcollid;
            let args = collated(self.args((*op).args)?, collation)?;
            binary(&name, args, self.numerics)
        }
    }

    unsafe fn bool_expr(&mut self, expr: *mut pg_sys::BoolExpr) -> Converted<Expr> {
        // SAFETY: a BoolExpr.
        unsafe {
            let mut args = self.args((*expr).args)?;
            match (*expr).boolop {
                pg_sys::BoolExprType::AND_EXPR => Ok(Expr::and(args)?),
                pg_sys::BoolExprType::OR_EXPR => Ok(Expr::or(args)?),
                _ => match args.pop() {
                    Some(arg) => Ok(Expr::not(arg)?),
                    None => no("NOT of nothing"),
                },
            }
        }
    }

    unsafe fn null_test(&mut self, test: *mut pg_sys::NullTest) -> Converted<Expr> {
        // SAFETY: a NullTest.
        unsafe {
            if (*test).argisrow {
                return no("IS NULL of a row");
            }
            let arg = self.carried((*test).arg.cast())?;
            Ok(match (*test).nulltesttype {
                pg_sys::NullTestType::IS_NULL => Expr::is_null(arg),
                _ => Expr::is_not_null(arg),
            })
        }
    }

    unsafe fn boolean_test(&mut self, test: *mut pg_sys::BooleanTest) -> Converted<Expr> {
        // SAFETY: a BooleanTest.
        unsafe {
            use pg_sys::BoolTestType::*;
            let arg = self.expr((*test).arg.cast())?;
            let (value, negated) = match (*test).booltesttype {
                IS_TRUE => (Some(true), false),
                IS_NOT_TRUE => (Some(true), true),
                IS_FALSE => (Some(false), false),
                IS_NOT_FALSE => (Some(false), true),
                IS_UNKNOWN => (None, false),
                _ => (None, true),
            };
            Ok(Expr::is_truth(arg, value, negated)?)
        }
    }

    /// Translates what only some rows may get to.
    fn guarded<T>(&mut self, guards: bool, translate: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.guarded;
        self.guarded |= guards;
        let translated = translate(self);
        self.guarded = before;
        translated
    }

    unsafe fn case(&mut self, case: *mut pg_sys::CaseExpr) -> Converted<Expr> {
        // SAFETY: a CaseExpr; the conditions of a simple CASE compare a CaseTestExpr.
        unsafe {
            let operand = match (*case).arg.is_null() {
                true => None,
                false => Some(self.expr((*case).arg.cast())?),
            };
            let mut branches = Vec::new();
            for when in PgList::<pg_sys::CaseWhen>::from_pg((*case).args).iter_ptr() {
                let outer = self.tested.len();
                self.tested.extend(operand.clone());
                let later = !branches.is_empty();
                let condition = self.guarded(later, |own| own.expr((*when).expr.cast()));
                self.tested.truncate(outer);
                let result = self.guarded(true, |own| own.expr((*when).result.cast()))?;
                branches.push((condition?, result));
            }
            let otherwise = match (*case).defresult.is_null() {
                true => None,
                false => {
                    let last = (*case).defresult.cast();
                    Some(self.guarded(true, |own| own.expr(last))?)
                }
            };
            Ok(Expr::case(branches, otherwise)?)
        }
    }

    /// A conversion through text: of exact numbers to text, which is what their output functions write.
    unsafe fn written(&mut self, coerce: *mut pg_sys::CoerceViaIO) -> Converted<Expr> {
        // SAFETY: a CoerceViaIO.
        unsafe {
            let (to, collation) = ((*coerce).resulttype, (*coerce).resultcollid);
            if !matches!(to, pg_sys::TEXTOID | pg_sys::VARCHAROID) {
                return no(format!("a conversion to {}", crate::pg::type_name(to)));
            }
            let arg = self.expr((*coerce).arg.cast())?;
            match arg.data_type() {
                t if t.is_integer() || t.is_numeric() => {
                    let collation = types::collate(collation);
                    Ok(Expr::cast(arg, DataType::Text { collation })?)
                }
                t => no(format!("a conversion of {t} to text")),
            }
        }
    }

    /// `(a, b) < (c, d)`: `a < c OR (a = c AND b < d)`.
    unsafe fn row_compare(&mut self, row: *mut pg_sys::RowCompareExpr) -> Converted<Expr> {
        use doris_engine::expr::ExprKind;
        // SAFETY: a RowCompareExpr; its lists are equally long.
        unsafe {
            let operators = PgList::<pg_sys::Oid>::from_pg((*row).opnos);
            let collations = PgList::<pg_sys::Oid>::from_pg((*row).inputcollids);
            let lefts = self.args((*row).largs)?;
            let rights = self.args((*row).rargs)?;
            let mut pairs: Vec<_> = lefts.into_iter().zip(rights).collect();
            let mut result: Option<Expr> = None;
            while let Some((left, right)) = pairs.pop() {
                let at = pairs.len();
                let plain = |e: &Expr| {
                    let kind = e.kind();
                    matches!(
                        kind,
                        ExprKind::Column(_) | ExprKind::Const(_) | ExprKind::Param(_)
                    )
                };
                if at > 0 && !(plain(&left) && plain(&right)) {
                    return no("a comparison of rows of expressions");
                }
                let collation = collations.get_oid(at).unwrap_or(pg_sys::InvalidOid);
                let [left, right] = two(collated(vec![left, right], collation)?)?;
                let name = operator_name(operators.get_oid(at).unwrap_or(pg_sys::InvalidOid))?;
                let (strict, last) = match name.as_str() {
                    "<" => (CompareOp::Lt, CompareOp::Lt),
                    "<=" => (CompareOp::Lt, CompareOp::Le),
                    ">" => (CompareOp::Gt, CompareOp::Gt),
                    ">=" => (CompareOp::Gt, CompareOp::Ge),
                    _ => return no(format!("rows compared by {name}")),
                };
                result = Some(match result {
                    None => Expr::compare(last, left, right)?,
                    Some(rest) => {
                        let equal = Expr::compare(CompareOp::Eq, left.clone(), right.clone())?;
                        let first = Expr::compare(strict, left, right)?;
                        Expr::or(vec![first, Expr::and(vec![equal, rest])?])?
                    }
                });
            }
            match result {
                Some(result) => Ok(result),
                None => no("a comparison of empty rows"),
            }
        }
    }

    /// `x = ANY (constants)` is looked up; other comparisons with a few constants are made one by one.
    unsafe fn array_op(&mut self, op: *mut pg_sys::ScalarArrayOpExpr) -> Converted<Expr> {
        // SAFETY: a ScalarArrayOpExpr; its second argument is checked to be a constant array.
        unsafe {
            let name = operator_name((*op).opno)?;
            let args = PgList::<pg_sys::Node>::from_pg((*op).args);
            let (Some(arg), Some(array)) = (args.get_ptr(0), args.get_ptr(1)) else {
                return no("an array operator without arguments");
            };
            if (*array).type_ != NodeTag::T_Const || (*(array as *mut pg_sys::Const)).constisnull {
                return no("an array that is not a constant");
            }
            let arg = self.expr(arg)?;
            let values = array_values(array.cast())?;
            let any = (*op).useOr;
            if matches!((name.as_str(), any), ("=", true) | ("<>", false)) {
                match Expr::in_list(arg.clone(), values.clone(), !any) {
                    Err(_) if is_few(&arg, &values) => {}
                    listed => return Ok(listed?),
                }
            }
            if !ONE_BY_ONE.contains(&name.as_str()) || !is_few(&arg, &values) {
                return no(format!("{name} ANY or ALL"));
            }
            let mut tests = Vec::new();
            for value in values {
                let operands = collated(vec![arg.clone(), value], (*op).inputcollid)?;
                tests.push(binary(&name, operands, false)?);
            }
            match (tests.len(), any) {
                (1, _) => Ok(tests.remove(0)),
                (_, true) => Ok(Expr::or(tests)?),
                (_, false) => Ok(Expr::and(tests)?),
            }
        }
    }

    unsafe fn function(&mut self, function: *mut pg_sys::FuncExpr) -> Converted<Expr> {
        // SAFETY: a FuncExpr.
        unsafe {
            let oid = (*function).funcid;
            if oid.to_u32() >= FIRST_OTHER_OID {
                return no(format!("function {}", pg::function_name(oid)));
            }
            let name = pg::function_name(oid);
            if (*function).funcvariadic && name.starts_with("concat") {
                return no(format!("{name} of an array"));
            }
            let result = (*function).funcresulttype;
            let list = PgList::<pg_sys::Node>::from_pg((*function).args);
            // Casts with a length or precision carry the modifier as a constant second argument.
            if name == "numeric" && list.len() == 2 {
                let arg = self.expr(list.get_ptr(0).unwrap_or(std::ptr::null_mut()))?;
                return declared(arg, const_int4(list.get_ptr(1))?);
            }
            if matches!(name.as_str(), "extract" | "date_part" | "date_trunc") {
                return self.datetime(&name, &list);
            }
            let args = collated(self.args((*function).args)?, (*function).inputcollid)?;
            functions::call(&name, args, result)
        }
    }

    unsafe fn datetime(&mut self, name: &str, list: &PgList<pg_sys::Node>) -> Converted<Expr> {
        // SAFETY: arguments of a FuncExpr.
        unsafe {
            let (Some(unit), Some(moment)) = (list.get_ptr(0), list.get_ptr(1)) else {
                return no(format!("{name} without arguments"));
            };
            if list.len() != 2 || (*unit).type_ != NodeTag::T_Const {
                return no(format!("{name} of a unit that is not a constant"));
            }
            let unit = self.constant(unit.cast())?;
            let doris_engine::expr::ExprKind::Const(Some(doris_engine::types::Scalar::Bytes(text))) =
                unit.kind()
            else {
                return no(format!("{name} of a NULL unit"));
            };
            let text = String::from_utf8_lossy(text).to_lowercase();
            let moment = self.expr(moment)?;
            if name == "date_trunc" {
                let Some(unit) = doris_engine::expr::DateUnit::parse(&text) else {
                    return no(format!("date_trunc of {text}"));
                };
                return Ok(Expr::date_trunc(unit, moment, None)?);
            }
            let Some(unit) = ExtractUnit::parse(&text) else {
                return no(format!("{name} of {text}"));
            };
            if name == "extract" {
                Ok(Expr::extract(unit, moment, None)?)
            } else {
                Ok(Expr::date_part(unit, moment, None)?)
            }
        }
    }
}

/// Operators that `ANY` and `ALL` apply to one constant after the other.
const ONE_BY_ONE: [&str; 10] = ["=", "<>", "<", "<=", ">", ">=", "~~", "!~~", "~~*", "!~~*"];
/// Constants that are compared one by one.
const FEW: usize = 32;

/// Whether there are constants, and so few that the argument may be looked at for each; one that is computed is for
/// one.
fn is_few(arg: &Expr, values: &[Expr]) -> bool {
    let most = match arg.kind() {
        doris_engine::expr::ExprKind::Column(_) => FEW,
        _ => 1,
    };
    arg.is_native() && (1..=most).contains(&values.len())
}

/// A numeric as one of a declared precision and scale.
fn declared(arg: Expr, typmod: i32) -> Converted<Expr> {
    let to = types::data_type(pg_sys::NUMERICOID, typmod, pg_sys::InvalidOid)?;
    if to != DataType::Decimal {
        return Ok(Expr::cast(arg, to)?);
    }
    match types::declared_digits(typmod) {
        Some((precision, scale)) if arg.data_type().is_numeric() => {
            Ok(Expr::declared(arg, precision, scale)?)
        }
        _ => no("a cast to numeric of a value that carries no scale"),
    }
}

/// Refuses blank-padded text of more than one width: the engine's keys are bytes, and blanks at the end are no part of
/// the value.
unsafe fn one_width(node: *mut pg_sys::Node, expr: Expr) -> Converted<Expr> {
    // SAFETY: passed on to the caller: an expression of a finished plan.
    let any = unsafe { types::is_any_width(pg_sys::exprType(node), pg_sys::exprTypmod(node)) };
    match any {
        true => no("character(n) of more than one width"),
        false => Ok(expr),
    }
}

unsafe fn const_int4(node: Option<*mut pg_sys::Node>) -> Converted<i32> {
    // SAFETY: checked to be a Const.
    unsafe {
        match node {
            Some(node) if (*node).type_ == NodeTag::T_Const => {
                Ok((*(node as *mut pg_sys::Const)).constvalue.value() as i32)
            }
            _ => no("a modifier that is not a constant"),
        }
    }
}

/// The elements of a constant array, as constants.
unsafe fn array_values(array: *mut pg_sys::Const) -> Converted<Vec<Expr>> {
    // SAFETY: a Const of an array type.
    unsafe {
        let element = pg_sys::get_element_type((*array).consttype);
        let elements = crate::types::shells::array_elements((*array).constvalue);
        let mut exprs = Vec::with_capacity(elements.len());
        for value in elements {
            let Some(value) = value else {
                let data_type = if element == pg_sys::NUMERICOID {
                    DataType::Numeric {
                        precision: 1,
                        scale: 0,
                    }
                } else {
                    types::data_type(element, -1, (*array).constcollid)?
                };
                exprs.push(Expr::null(data_type));
                continue;
            };
            let (scalar, data_type) = types::constant(value, element, -1, (*array).constcollid)?;
            exprs.push(Expr::constant(scalar, data_type)?);
        }
        Ok(exprs)
    }
}
