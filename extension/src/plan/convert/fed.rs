// SPDX-License-Identifier: Apache-2.0
//! Inputs that PostgreSQL runs: scans of other tables, functions and CTEs give the engine their rows in batches, so
//! that a join of a columnar table with any of them is vectorised.
//!
//! Only scans are taken. Joins and aggregates above them are the engine's; what it cannot convert of those stays with
//! PostgreSQL, and so does all above.
use super::{var_of, Converter, Item, Output, Rows, Source};
use crate::plan::scope::Column;
use crate::plan::{no, types, Converted};
use doris_engine::plan::Node;
use pgrx::pg_sys::{self, NodeTag};
use pgrx::PgList;

impl Converter<'_> {
    /// The rows of a plan that PostgreSQL runs.
    ///
    /// # Safety
    /// A finished plan of the statement.
    pub(super) unsafe fn fed(
        &mut self,
        plan: *mut pg_sys::Plan,
        ordered: bool,
    ) -> Converted<Output> {
        // SAFETY: passed on to the caller.
        unsafe {
            check(plan, ordered)?;
            let mut entries = Vec::new();
            let mut data_types = Vec::new();
            for target in PgList::<pg_sys::TargetEntry>::from_pg((*plan).targetlist).iter_ptr() {
                let node = (*target).expr as *mut pg_sys::Node;
                let data_type = types::column_type(
                    pg_sys::exprType(node),
                    pg_sys::exprTypmod(node),
                    pg_sys::exprCollation(node),
                )?;
                entries.push(Item {
                    shown: base_expression(plan, node)?,
                    ..Item::new(node, Column::Native(data_types.len(), data_type))
                });
                data_types.push(data_type);
            }
            let source = self.sources.len();
            self.sources.push(Source {
                rows: Rows::Plan(plan),
                attributes: (1..=data_types.len() as u16).collect(),
                filters: Vec::new(),
            });
            let columns = (0..data_types.len()).collect();
            let id = self.id();
            let node = Node::scan(id, source, columns, data_types, Vec::new());
            Ok(Output { node, entries })
        }
    }
}

/// Refuses plans that hand out rows of a fed plan with numeric columns as they come: a NaN among them would need
/// PostgreSQL, which cannot take over after the first rows.
///
/// # Safety
/// Plans of the statement.
pub(super) unsafe fn check_streamed(top: &super::Top) -> Converted<()> {
    for number in crate::plan::columns::streamed(&top.node) {
        let source = &top.sources[number];
        if let Rows::Plan(plan) = source.rows {
            // SAFETY: passed on to the caller.
            let attrs = unsafe { crate::plan::feed::attrs(plan, &source.attributes) };
            if attrs.iter().any(|attr| attr.kind.is_decimal()) {
                return no("numerics of another table that are handed on as they come");
            }
        }
    }
    Ok(())
}

/// Whether PostgreSQL may run a plan as an input of ours: a scan whose rows are the same should it run again, as it
/// does when the engine gives up.
unsafe fn check(plan: *mut pg_sys::Plan, ordered: bool) -> Converted<()> {
    // SAFETY: node tags say what a node is.
    unsafe {
        let tag = (*plan).type_;
        let unordered = matches!(
            tag,
            NodeTag::T_SeqScan
                | NodeTag::T_BitmapHeapScan
                | NodeTag::T_TidScan
                | NodeTag::T_ForeignScan
                | NodeTag::T_Gather
        );
        let taken = unordered
            || matches!(
                tag,
                NodeTag::T_IndexScan
                    | NodeTag::T_IndexOnlyScan
                    | NodeTag::T_FunctionScan
                    | NodeTag::T_ValuesScan
                    | NodeTag::T_CteScan
            );
        if !taken || (ordered && !unordered) {
            return no(format!("plan node {tag:?}"));
        }
        let mut expressions: Vec<*mut pg_sys::Node> =
            vec![(*plan).targetlist.cast(), (*plan).qual.cast()];
        match tag {
            NodeTag::T_Gather => return check_gathered(plan),
            NodeTag::T_FunctionScan => {
                let scan = plan as *mut pg_sys::FunctionScan;
                expressions.push((*scan).functions.cast());
            }
            NodeTag::T_ValuesScan => {
                let scan = plan as *mut pg_sys::ValuesScan;
                expressions.push((*scan).values_lists.cast());
            }
            NodeTag::T_ForeignScan => {
                let scan = plan as *mut pg_sys::ForeignScan;
                if (*scan).scan.scanrelid == 0 || !(*scan).fdw_scan_tlist.is_null() {
                    return no("a foreign join");
                }
            }
            _ => {}
        }
        if !(*plan).initPlan.is_null() {
            return no("a scan with a subquery of its own");
        }
        for expression in expressions {
            if pg_sys::contain_volatile_functions(expression) {
                return no("a scan with a volatile function");
            }
        }
        Ok(())
    }
}

/// A Gather over a parallel scan.
unsafe fn check_gathered(plan: *mut pg_sys::Plan) -> Converted<()> {
    // SAFETY: a Gather, whose targetlist refers to its input's.
    unsafe {
        if (*plan).lefttree.is_null()
            || !(*plan).initPlan.is_null()
            || (*(*plan).lefttree).type_ == NodeTag::T_Gather
        {
            return no("a parallel plan");
        }
        check((*plan).lefttree, false)
    }
}

/// An expression of a scan's targetlist with references to base tables only, for EXPLAIN.
unsafe fn base_expression(
    plan: *mut pg_sys::Plan,
    node: *mut pg_sys::Node,
) -> Converted<*mut pg_sys::Node> {
    // SAFETY: expressions of a finished plan.
    unsafe {
        let list = match (*plan).type_ {
            NodeTag::T_Gather => (*(*plan).lefttree).targetlist,
            NodeTag::T_IndexOnlyScan => (*(plan as *mut pg_sys::IndexOnlyScan)).indextlist,
            _ => return Ok(node),
        };
        let scope = super::Scope {
            items: PgList::<pg_sys::TargetEntry>::from_pg(list)
                .iter_ptr()
                .enumerate()
                .map(|(i, target)| {
                    let shown = (*target).expr as *mut pg_sys::Node;
                    let item = Item::new(shown, Column::Missing);
                    let varno = match (*plan).type_ {
                        NodeTag::T_Gather => pg_sys::OUTER_VAR,
                        _ => pg_sys::INDEX_VAR,
                    };
                    Item {
                        node: var_of(&item, varno, i),
                        ..item
                    }
                })
                .collect(),
        };
        Ok(crate::plan::hook::flatten(node, &scope))
    }
}
