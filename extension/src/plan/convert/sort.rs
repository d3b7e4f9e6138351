// SPDX-License-Identifier: Apache-2.0
//! Sorts and limits.
use super::super::expr::comparison_name;
use super::super::scope::Column;
use super::super::{no, types, Converted};
use super::{check_groupable, Converter, Output, Pace};
use doris_engine::expr::Expr;
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

    pub(super) unsafe fn limit(
        &mut self,
        limit: *mut pg_sys::Limit,
        ordered: bool,
    ) -> Converted<Output> {
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
                    let node = Node::top_n(id, input.node, keys, count, offset);
                    self.passed_on(
                        child,
                        Output {
                            node,
                            entries: input.entries,
                        },
                    )?
                }
                _ => {
                    let input = self.at_pace(Pace::Asked, |own| own.output(child, ordered))?;
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
            let (expr, data_type) = match item.column {
                Column::Native(index, data_type) => (Expr::column(index, data_type), data_type),
                // Divided as PostgreSQL does, which gives the same order.
                Column::Average { sum, count, scale } => {
                    let expr = average(sum, count, scale)?;
                    let data_type = expr.data_type();
                    (expr, data_type)
                }
                _ => return no("a sort by a value that PostgreSQL finishes"),
            };
            keys.push(SortKey {
                expr,
                ..sort_key(sort, i, 0, data_type)?
            });
        }
        Ok(keys)
    }
}

/// The quotient of an average's two columns.
pub(super) fn average(sum: usize, count: usize, scale: u16) -> Converted<Expr> {
    let wide = DataType::Numeric {
        precision: 38,
        scale: scale as i16,
    };
    let count = Expr::column(count, DataType::Int8);
    Ok(Expr::average(Expr::column(sum, wide), count)?)
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
        check_groupable(data_type)?;
        let collation = *(*sort).collations.add(i);
        if data_type.is_text() && !types::collate(collation).sorts_bytes() {
            return no("a sort by a collation");
        }
        let descending = match comparison_name(*(*sort).sortOperators.add(i))? {
            name if name == "<" => false,
            name if name == ">" => true,
            name => return no(format!("a sort by operator {name}")),
        };
        Ok(SortKey {
            expr: Expr::column(column, data_type),
            descending,
            nulls_first: *(*sort).nullsFirst.add(i),
        })
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
