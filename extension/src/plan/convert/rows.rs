// SPDX-License-Identifier: Apache-2.0
//! What a node does to the rows of its input: its quals and its targetlist.
use super::super::hook;
use super::super::required_columns::ParentRequirements;
use super::super::scope::{Column, Item, Scope};
use super::super::{no, Converted, Reason};
use super::pieces::{as_shown, push_native, take_pieces};
use super::{Converter, Core, Output, RowDelivery, Top};
use doris_engine::expr::Expr;
use doris_engine::plan::Node;
use pgrx::pg_sys::{self, NodeTag};
use pgrx::PgList;

impl Converter<'_> {
    pub(super) unsafe fn finish(
        mut self,
        plan: *mut pg_sys::Plan,
        core: Core,
        requirements: &ParentRequirements,
    ) -> Converted<(Top, u32)> {
        // SAFETY: as for `top`.
        unsafe {
            self.pace = RowDelivery::Asked;
            let (core, quals) = self.filter(core, (*plan).qual)?;
            let mut items: Vec<Item> = Vec::new();
            let mut exprs: Vec<Expr> = Vec::new();
            let targets = PgList::<pg_sys::TargetEntry>::from_pg((*plan).targetlist);
            for target in targets.iter_ptr() {
                if !requirements.uses((*target).resno) {
                    continue;
                }
                let node = (*target).expr as *mut pg_sys::Node;
                if hook::is_null(node) {
                    continue;
                }
                let native = self.translate(&core.scope, node).and_then(as_shown);
                match native {
                    // Before PostgreSQL's quals, it might fail for rows that they drop.
                    Ok(expr) if !quals.is_empty() && expr.can_raise() => {
                        take_pieces(&core.scope, &mut items, &mut exprs, node)?
                    }
                    Ok(expr) => push_native(&core.scope, &mut items, &mut exprs, node, expr),
                    Err(_) => take_pieces(&core.scope, &mut items, &mut exprs, node)?,
                }
            }
            for qual in &quals {
                take_pieces(&core.scope, &mut items, &mut exprs, *qual)?;
            }
            let node = self.project(core.node, &mut items, exprs);
            Ok(self.made(node, Scope { items }, quals))
        }
    }

    /// Projects to the items' columns.
    pub(super) fn project(&mut self, input: Node, items: &mut [Item], exprs: Vec<Expr>) -> Node {
        let mut columns = Vec::new();
        let mut exprs = exprs.into_iter();
        for item in items {
            match &mut item.column {
                Column::Native(index, data_type) => {
                    let expr = exprs.next().expect("an expression for each native item");
                    *data_type = expr.data_type();
                    *index = columns.len();
                    columns.push(expr);
                }
                Column::Missing => {}
            }
        }
        let id = self.id();
        Node::project(id, input, columns)
    }

    /// Applies the longest native prefix of a qual list; returns the rest.
    pub(super) unsafe fn filter(
        &mut self,
        mut core: Core,
        quals: *mut pg_sys::List,
    ) -> Converted<(Core, Vec<*mut pg_sys::Node>)> {
        // SAFETY: as for `top`.
        unsafe {
            let list: Vec<_> = PgList::<pg_sys::Node>::from_pg(quals).iter_ptr().collect();
            let mut native = Vec::new();
            let mut rest = Vec::new();
            for (i, qual) in list.iter().enumerate() {
                if let Ok(expr) = self.translate(&core.scope, *qual) {
                    native.push(expr);
                    continue;
                }
                let sources = self.sources.len();
                match self.hashed_subplan(&core.scope, *qual) {
                    Ok(join) => {
                        core = self.keep(core, std::mem::take(&mut native))?;
                        core.node = self.semi_join(core.node, join);
                    }
                    Err(_) => {
                        self.sources.truncate(sources);
                        rest = list[i..].to_vec();
                        break;
                    }
                }
            }
            Ok((self.keep(core, native)?, rest))
        }
    }

    /// Keeps the rows for which all of `filters` are true.
    pub(super) fn keep(&mut self, mut core: Core, mut filters: Vec<Expr>) -> Converted<Core> {
        if filters.is_empty() {
            return Ok(core);
        }
        if let doris_engine::plan::Op::Scan(scan) = &mut core.node.op {
            self.sources[scan.source].filters = filters.clone();
            scan.filters = filters;
            return Ok(core);
        }
        let predicate = match filters.len() {
            1 => filters.remove(0),
            _ => Expr::and(filters)?,
        };
        let id = self.id();
        core.node = Node::filter(id, core.node, predicate);
        Ok(core)
    }

    /// The targetlist of a node whose expressions are all native.
    pub(super) unsafe fn targets(
        &mut self,
        plan: *mut pg_sys::Plan,
        core: Core,
    ) -> Converted<Output> {
        // SAFETY: as for `top`.
        unsafe {
            let mut entries = Vec::new();
            let mut exprs = Vec::new();
            for target in PgList::<pg_sys::TargetEntry>::from_pg((*plan).targetlist).iter_ptr() {
                let node = (*target).expr as *mut pg_sys::Node;
                // The row mark of a subquery: what is above asks for it.
                if hook::writing::is_whole_row(node) && hook::writing::changes_rows(self.stmt) {
                    return no("a whole row");
                }
                if let Some(at) = core.scope.find(node) {
                    let item = core.scope.items[at].clone();
                    if let Column::Native(index, data_type) = item.column {
                        exprs.push(Expr::column(index, data_type));
                    }
                    entries.push(item);
                    continue;
                }
                let shown = hook::flatten(node, &core.scope);
                let column = match self.translate(&core.scope, node).and_then(as_shown) {
                    Ok(expr) => {
                        let data_type = expr.data_type();
                        exprs.push(expr);
                        Column::Native(0, data_type)
                    }
                    Err(Reason(why)) => {
                        pgrx::debug2!("not vectorised, unless nobody asks for it: {why}");
                        Column::Missing
                    }
                };
                entries.push(Item {
                    shown,
                    ..Item::new(node, column)
                });
            }
            let node = self.project(core.node, &mut entries, exprs);
            Ok(Output { node, entries })
        }
    }

    /// Nodes whose targetlist only repeats their input's.
    pub(super) unsafe fn passed_on(
        &mut self,
        plan: *mut pg_sys::Plan,
        input: Output,
    ) -> Converted<Output> {
        // SAFETY: as for `top`.
        unsafe {
            let mut entries = Vec::new();
            for target in PgList::<pg_sys::TargetEntry>::from_pg((*plan).targetlist).iter_ptr() {
                let node = (*target).expr as *mut pg_sys::Node;
                let at = match (*node).type_ {
                    NodeTag::T_Var => (*(node as *mut pg_sys::Var)).varattno as usize,
                    // Such nodes compute nothing: the input's column is that constant.
                    NodeTag::T_Const => (*target).resno as usize,
                    _ => return no("an expression where a column was expected"),
                };
                match at.checked_sub(1).and_then(|at| input.entries.get(at)) {
                    Some(item) => entries.push(Item {
                        node,
                        ..item.clone()
                    }),
                    None => return no("a column beyond the input's"),
                }
            }
            Ok(Output {
                node: input.node,
                entries,
            })
        }
    }
}
