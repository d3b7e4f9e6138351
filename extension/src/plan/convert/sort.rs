// SPDX-License-Identifier: Apache-2.0
//! Sorts and limits.
use super::super::expr::operator_name;
use super::super::scope::Column;
use super::super::{no, types, Converted};
use super::{check_sortable, Converter, Output, RowDelivery};
use doris_engine::expr::{Expr, ExprKind};
use doris_engine::plan::{Node, Op, SortKey};
use doris_engine::types::DataType;
use pgrx::pg_sys::{self, NodeTag};

impl Converter<'_> {
    pub(super) unsafe fn sort(&mut self, sort: *mut pg_sys::Sort) -> Converted<Output> {
        // SAFETY: as for `top`.
        unsafe {
            let input = self.output((*sort).plan.lefttree, false)?;
            let keys = sort_keys(sort, &input)?;
            let id = self.id();
            let node = Node::sort(id, input.node, keys);
            self.passed_on(
                sort.cast(),
                Output {
                    node,
                    entries: input.entries,
                },
            )
        }
    }

    pub(super) unsafe fn limit(&mut self, limit: *mut pg_sys::Limit) -> Converted<Output> {
        // SAFETY: as for `top`.
        unsafe {
            if (*limit).limitOption != pg_sys::LimitOption::LIMIT_OPTION_COUNT {
                return no("LIMIT WITH TIES");
            }
            let count = limit_constant((*limit).limitCount)?;
            let offset = limit_constant((*limit).limitOffset)?.unwrap_or(0);
            let child = (*limit).plan.lefttree;
            let id = self.id();
            let output = match (count, (*child).type_) {
                (Some(count), NodeTag::T_Sort | NodeTag::T_IncrementalSort) => {
                    let sort = child as *mut pg_sys::Sort;
                    let input = self.eagerly(|own| own.output((*sort).plan.lefttree, false))?;
                    let keys = sort_keys(sort, &input)?;
                    let node = top_n(id, input.node, keys, (count, offset));
                    self.passed_on(
                        child,
                        Output {
                            node,
                            entries: input.entries,
                        },
                    )?
                }
                _ => {
                    // Which rows are the first ones hangs on the order, whoever asks for them.
                    let input = self.at_pace(RowDelivery::Asked, |own| own.output(child, true))?;
                    let node = match (count, input.node.op) {
                        (Some(count), Op::Sort { input, keys }) => {
                            Node::top_n(id, *input, keys, count, offset)
                        }
                        (_, op) => {
                            let node = Node { op, ..input.node };
                            Node::limit(id, node, count, offset)
                        }
                    };
                    Output {
                        node,
                        entries: input.entries,
                    }
                }
            };
            self.passed_on(limit.cast(), output)
        }
    }
}

/// The first rows of a sorted input. Numerics that are computed without a possible error, averages for one, are left
/// until it is known which rows are wanted.
fn top_n(id: u32, mut input: Node, mut keys: Vec<SortKey>, (limit, offset): (u64, u64)) -> Node {
    let mut above = Vec::new();
    while computes_decimals(&input) {
        let Op::Project { exprs, .. } = &input.op else {
            break;
        };
        let quiet = |expr: &Expr| expr.is_native() && !expr.can_raise();
        let below = keys.iter().map(|key| key_below(key, exprs));
        let Some(below) = below
            .collect::<Option<Vec<_>>>()
            .filter(|_| exprs.iter().all(quiet))
        else {
            break;
        };
        let node = input.id;
        if let Op::Project { input: next, exprs } = input.op {
            above.push((node, exprs));
            input = *next;
        } else {
            break;
        }
        keys = below;
    }
    let node = Node::top_n(id, input, keys, limit, offset);
    let project = |node, (id, exprs)| Node::project(id, node, exprs);
    above.into_iter().rev().fold(node, project)
}

/// A sort key over a projection as one over its input.
fn key_below(key: &SortKey, exprs: &[Expr]) -> Option<SortKey> {
    let ExprKind::Column(column) = key.expr.kind() else {
        return None;
    };
    let ExprKind::Column(below) = exprs.get(*column)?.kind() else {
        return None;
    };
    // In the key's type, which says by what collation it compares.
    Some(SortKey {
        expr: Expr::column(*below, key.expr.data_type()),
        ..key.clone()
    })
}

/// Whether a projection, or one that it repeats, makes numerics that carry their scale.
fn computes_decimals(node: &Node) -> bool {
    let Op::Project { input, exprs } = &node.op else {
        return false;
    };
    let column = |expr: &Expr| matches!(expr.kind(), ExprKind::Column(_));
    let made = |expr: &Expr| expr.data_type() == DataType::Decimal && !column(expr);
    exprs.iter().any(made) || computes_decimals(input)
}

/// The keys of a Sort over an input's entries.
pub(super) unsafe fn sort_keys(sort: *mut pg_sys::Sort, input: &Output) -> Converted<Vec<SortKey>> {
    // SAFETY: a Sort's arrays have numCols elements.
    unsafe {
        let mut keys = Vec::new();
        for i in 0..(*sort).numCols as usize {
            let at = *(*sort).sortColIdx.add(i) as usize;
            let Some(item) = input.entries.get(at - 1) else {
                return no("a sort column beyond the input's");
            };
            let Column::Native(index, data_type) = item.column else {
                return no("a sort by a value that the engine cannot compute");
            };
            keys.push(sort_key(sort, i, index, data_type)?);
        }
        Ok(keys)
    }
}

/// Key `i` of a Sort, as one over an engine column.
pub(super) unsafe fn sort_key(
    sort: *mut pg_sys::Sort,
    i: usize,
    column: usize,
    data_type: DataType,
) -> Converted<SortKey> {
    // SAFETY: a Sort's arrays have numCols elements.
    unsafe {
        let data_type = match data_type.is_text() {
            true => data_type.collated(types::collate(*(*sort).collations.add(i))),
            false => data_type,
        };
        if data_type.collation().is_some_and(|c| !c.is_ordered()) {
            return no("a sort by a collation whose order is not known");
        }
        let descending = match operator_name(*(*sort).sortOperators.add(i))? {
            name if name == "<" => false,
            name if name == ">" => true,
            name => return no(format!("a sort by operator {name}")),
        };
        let expr = compared(Expr::column(column, data_type))?;
        check_sortable(expr.data_type())?;
        Ok(SortKey {
            expr,
            descending,
            nulls_first: *(*sort).nullsFirst.add(i),
        })
    }
}

/// A value as what it compares by.
pub(super) fn compared(value: Expr) -> Converted<Expr> {
    match value.data_type() {
        DataType::Interval => Ok(Expr::interval_order(value)?),
        _ => Ok(value),
    }
}

unsafe fn limit_constant(node: *mut pg_sys::Node) -> Converted<Option<u64>> {
    // SAFETY: checked to be a Const of type int8.
    unsafe {
        if node.is_null() {
            return Ok(None);
        }
        if (*node).type_ != NodeTag::T_Const {
            return no("a LIMIT that is not a constant");
        }
        let constant = node as *mut pg_sys::Const;
        if (*constant).constisnull {
            return Ok(None);
        }
        match u64::try_from((*constant).constvalue.value() as i64) {
            Ok(count) => Ok(Some(count)),
            Err(_) => no("a negative LIMIT"),
        }
    }
}
