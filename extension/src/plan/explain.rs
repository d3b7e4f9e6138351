// SPDX-License-Identifier: Apache-2.0
//! EXPLAIN of the custom scan node: the engine's plan, and with ANALYZE what its operators did.
use super::convert::{Converter, Rows};
use super::expr::Unbound;
use super::node::{self, Run};
use doris_engine::plan::{Node, Op};
use pgrx::pg_sys::{self, NodeTag};
use pgrx::{pg_guard, PgList};
use std::ffi::CString;
use std::sync::atomic::Ordering;

#[pg_guard]
/// PostgreSQL's callback.
pub unsafe extern "C-unwind" fn explain(
    state: *mut pg_sys::CustomScanState,
    _ancestors: *mut pg_sys::List,
    es: *mut pg_sys::ExplainState,
) {
    // SAFETY: a node of ours.
    unsafe {
        let scan = (*state).ss.ps.plan as *mut pg_sys::CustomScan;
        let (run, original) = node::inspect(state);
        if original {
            text(es, "Engine", "not used: PostgreSQL's plan ran instead");
            return;
        }
        let stmt = (*(*state).ss.ps.state).es_plannedstmt;
        let rtable = (*stmt).rtable;
        let mut params = Unbound;
        let wish = node::wish(scan);
        let Ok(top) = Converter::new(stmt, &mut params).top(node::original(scan), &wish) else {
            return;
        };
        let labels: Vec<String> = top
            .sources
            .iter()
            .map(|source| label(rtable, source.rows))
            .collect();
        let plan = run.map_or(&top.node, |run| &run.plan);
        let mut lines = Vec::new();
        tree(es, plan, 0, &labels, run, &mut lines);
        show(es, "Engine", &lines);
        if let Some(run) = run {
            for ((label, counters), source) in labels.iter().zip(&run.counters).zip(&top.sources) {
                if matches!(source.rows, Rows::Plan(_)) {
                    let line = format!("{} from PostgreSQL", counters.heap_rows.get());
                    text(es, label, &line);
                    continue;
                }
                let line = format!(
                    "{} segments, {} row blocks read, {} pruned by zone map, {} by runtime filter, \
                     {} rows deleted, {} rows from the row store",
                    counters.segments.get(),
                    counters.blocks_read.get(),
                    counters.blocks_pruned.get(),
                    counters.blocks_filtered.get(),
                    counters.deleted_rows.get(),
                    counters.heap_rows.get(),
                );
                text(es, label, &line);
            }
        }
    }
}

/// What a source is called: the name by which the query knows its table, function or CTE, and who reads it.
unsafe fn label(rtable: *mut pg_sys::List, rows: Rows) -> String {
    // SAFETY: passed on to the caller: a plan that feeds is a scan, or a Gather over one.
    unsafe {
        match rows {
            Rows::Table(rti) => format!("Scan {}", table(rtable, rti)),
            Rows::Plan(plan) if (*plan).type_ == NodeTag::T_Gather => {
                label(rtable, Rows::Plan((*plan).lefttree))
            }
            Rows::Plan(plan) => {
                let rti = (*(plan as *mut pg_sys::Scan)).scanrelid;
                format!("Rows of {}", table(rtable, rti))
            }
        }
    }
}

/// The name by which a query knows a table.
fn table(rtable: *mut pg_sys::List, rti: u32) -> String {
    // SAFETY: a range table index of the query.
    unsafe {
        let rte = PgList::<pg_sys::RangeTblEntry>::from_pg(rtable).get_ptr(rti as usize - 1);
        let Some(rte) = rte else { return String::new() };
        let alias = (*rte).eref;
        std::ffi::CStr::from_ptr((*alias).aliasname)
            .to_string_lossy()
            .into_owned()
    }
}

fn tree(
    es: *mut pg_sys::ExplainState,
    node: &Node,
    depth: usize,
    tables: &[String],
    run: Option<&Run>,
    lines: &mut Vec<String>,
) {
    let (name, children) = describe(node, tables);
    if !matches!(node.op, Op::Project { .. }) {
        let mut line = format!("{}{name}", "  ".repeat(depth));
        // SAFETY: the state of a running EXPLAIN.
        let (analyze, timing) = unsafe { ((*es).analyze, (*es).timing) };
        if let (Some(run), true) = (run, analyze) {
            let counters = run.node(node.id);
            let rows = counters.rows_out.load(Ordering::Relaxed);
            line.push_str(&format!(" (rows={rows}"));
            if timing {
                let nanos = counters.nanos.load(Ordering::Relaxed);
                line.push_str(&format!(" cpu={:.3} ms", nanos as f64 / 1e6));
            }
            line.push(')');
        }
        lines.push(line);
    }
    let deeper = depth + usize::from(!matches!(node.op, Op::Project { .. }));
    for child in children {
        tree(es, child, deeper, tables, run, lines);
    }
}

fn describe<'a>(node: &'a Node, tables: &[String]) -> (String, Vec<&'a Node>) {
    match &node.op {
        Op::Scan(scan) => {
            let empty = String::new();
            let table = tables.get(scan.source).unwrap_or(&empty);
            let filters = match scan.filters.len() {
                0 => String::new(),
                n => format!(", {n} filters native"),
            };
            (
                format!("{table}: {} columns{filters}", scan.columns.len()),
                vec![],
            )
        }
        Op::Filter { input, .. } => ("Filter".into(), vec![input]),
        Op::Project { input, .. } => ("Project".into(), vec![input]),
        Op::Join(join) => {
            let how = if join.keys.is_empty() {
                "Nested Loop"
            } else {
                "Hash Join"
            };
            (
                format!("{how} {:?}", join.kind),
                vec![&join.probe, &join.build],
            )
        }
        Op::Aggregate(aggregate) => {
            let (keys, calls) = (aggregate.keys.len(), aggregate.calls.len());
            (
                format!("Aggregate: {keys} keys, {calls} aggregates native"),
                vec![&aggregate.input],
            )
        }
        Op::Window(window) => {
            let (keys, calls) = (window.partition.len(), window.calls.len());
            (
                format!("Window: {keys} partition keys, {calls} functions native"),
                vec![&window.input],
            )
        }
        Op::Sort { input, keys } => (format!("Sort: {} keys", keys.len()), vec![input]),
        Op::TopN {
            input, keys, limit, ..
        } => (format!("Top {limit}: {} keys", keys.len()), vec![input]),
        Op::Limit { input, .. } => ("Limit".into(), vec![input]),
        Op::Distinct { input } => ("Distinct".into(), vec![input]),
        Op::UnionAll { inputs } => ("Append".into(), inputs.iter().collect()),
        Op::SetOp {
            left, right, kind, ..
        } => (format!("{kind:?}"), vec![left, right]),
        Op::Values { .. } => ("Values".into(), vec![]),
    }
}

/// Text output gets a line each; the other formats a list, so that no key repeats.
fn show(es: *mut pg_sys::ExplainState, label: &str, lines: &[String]) {
    // SAFETY: the state of a running EXPLAIN; strings are copied into the output.
    unsafe {
        if (*es).format == pg_sys::ExplainFormat::EXPLAIN_FORMAT_TEXT {
            lines.iter().for_each(|line| text(es, label, line));
            return;
        }
        let mut list = PgList::<std::ffi::c_char>::new();
        for line in lines {
            if let Ok(line) = CString::new(line.as_str()) {
                list.push(pg_sys::pstrdup(line.as_ptr()));
            }
        }
        if let Ok(label) = CString::new(label) {
            pg_sys::ExplainPropertyList(label.as_ptr(), list.into_pg(), es);
        }
    }
}

fn text(es: *mut pg_sys::ExplainState, label: &str, value: &str) {
    let (Ok(label), Ok(value)) = (CString::new(label), CString::new(value)) else {
        return;
    };
    // SAFETY: both strings are copied into the output.
    unsafe { pg_sys::ExplainPropertyText(label.as_ptr(), value.as_ptr(), es) };
}
