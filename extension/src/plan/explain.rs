// SPDX-License-Identifier: Apache-2.0
//! EXPLAIN of the custom scan node: the engine's plan, and with ANALYZE what its operators did.
//!
//! Text output has a line for each operator; the other formats have nested objects.
use super::convert::{Converter, Top};
use super::external::{self, External};
use super::external_placement;
use super::node::{self, EngineScanRun};
use super::params::Unbound;
use super::source::Counters;
use crate::options;
use crate::pg;
use doris_engine::expr::{Expr, ExprKind};
use doris_engine::plan::{Node, Op};
use pgrx::{pg_guard, pg_sys, PgList};
use std::ffi::CString;
use std::rc::Rc;
use std::sync::atomic::Ordering;

#[pg_guard]
/// PostgreSQL's callback.
pub unsafe extern "C-unwind" fn explain(
    state: *mut pg_sys::CustomScanState,
    ancestors: *mut pg_sys::List,
    es: *mut pg_sys::ExplainState,
) {
    // SAFETY: a node of ours.
    unsafe {
        let scan = (*state).ss.ps.plan as *mut pg_sys::CustomScan;
        let (run, original) = node::inspect(state);
        let out = Out { es };
        if original {
            out.text("Engine", "not used: PostgreSQL's plan ran instead");
            return;
        }
        let stmt = (*(*state).ss.ps.state).es_plannedstmt;
        let mut params = Unbound;
        let requirements = node::requirements(scan);
        let Ok(mut top) =
            Converter::new(stmt, &mut params).top(node::original(scan), &requirements)
        else {
            return;
        };
        let removed = match run {
            Some(run) => run.removed,
            None => node::prune_for_explain(state, &mut top),
        };
        let shown = Shown {
            names: names((*stmt).rtable, &top),
            folded: folded((*stmt).rtable, &top),
            run: run.filter(|_| (*es).analyze),
            out,
        };
        let plan = run.map_or(&top.node, |run| &run.plan);
        let left = PgList::<pg_sys::Node>::from_pg((*scan).scan.plan.qual).len();
        match (*es).format == pg_sys::ExplainFormat::EXPLAIN_FORMAT_TEXT {
            true => shown.as_text(plan, left),
            false => shown.as_objects(plan, left),
        }
        if removed > 0 {
            shown.out.number("Subplans Removed", removed as u64);
        }
        if (*es).verbose {
            let used = external_placement::used(&top.node);
            let used: Vec<&External> = used.iter().map(|id| &top.externals[*id as usize]).collect();
            let texts = external::texts(es, (*state).ss.ps.plan, ancestors, &used);
            if !texts.is_empty() {
                shown.out.text("Evaluated by PostgreSQL", &texts.join("; "));
            }
            if let Some(why) = node::above(scan) {
                shown.out.text("Not Vectorised Above", &why);
            }
        }
    }
}

/// The names by which a query knows its sources.
unsafe fn names(rtable: *mut pg_sys::List, top: &Top) -> Vec<String> {
    let name = |source: &super::convert::Source| match source.fed {
        // SAFETY: a range table index of the query.
        None => unsafe { table(rtable, source.rti) },
        Some(_) => "subplan".into(),
    };
    top.sources.iter().map(name).collect()
}

/// Which sources are tables of the aggregate model.
unsafe fn folded(rtable: *mut pg_sys::List, top: &Top) -> Vec<bool> {
    let is_folded = |source: &super::convert::Source| {
        // SAFETY: a range table index of the query.
        let rte = unsafe { entry(rtable, source.rti) };
        // SAFETY: an entry of the query's range table.
        let options = rte.map(|rte| options::table::of(unsafe { (*rte).relid }));
        options.is_some_and(|all| all.iter().any(|(name, _)| name == "aggregate_key"))
    };
    top.sources.iter().map(is_folded).collect()
}

/// The name by which a query knows a table.
unsafe fn table(rtable: *mut pg_sys::List, rti: u32) -> String {
    // SAFETY: passed on to the caller; an alias is a C string.
    unsafe {
        let Some(rte) = entry(rtable, rti) else {
            return String::new();
        };
        let alias = (*rte).eref;
        pg::text((*alias).aliasname)
    }
}

/// A range table entry; `None` for what has none, as subplans.
unsafe fn entry(rtable: *mut pg_sys::List, rti: u32) -> Option<*mut pg_sys::RangeTblEntry> {
    let at = (rti as usize).checked_sub(1)?;
    // SAFETY: passed on to the caller.
    unsafe { PgList::<pg_sys::RangeTblEntry>::from_pg(rtable).get_ptr(at) }
}

/// Shows what scans have read and skipped for nodes of PostgreSQL.
///
/// # Safety
/// The state of a running EXPLAIN.
pub unsafe fn scans(es: *mut pg_sys::ExplainState, scans: &[(String, Rc<Counters>)]) {
    let out = Out { es };
    // SAFETY: passed on to the caller.
    if unsafe { (*es).format } == pg_sys::ExplainFormat::EXPLAIN_FORMAT_TEXT {
        for (name, counters) in scans {
            out.text(&format!("Scan of {name}"), &counters.summary());
        }
        return;
    }
    out.group("Scans", false, || {
        for (name, counters) in scans {
            out.item("Scan", || {
                out.text("Table", name);
                out.scanned(counters);
            });
        }
    });
}

/// What is shown of a node.
struct Shown<'r> {
    names: Vec<String>,
    /// For each source, whether it has the aggregate model.
    folded: Vec<bool>,
    /// With ANALYZE, if it ran.
    run: Option<&'r EngineScanRun>,
    out: Out,
}

/// What an operator did.
struct Did {
    rows: u64,
    batches: u64,
    milliseconds: f64,
    memory_kb: u64,
    spilled_kb: u64,
    turned: bool,
    kept: bool,
    filtered: u64,
}

impl Shown<'_> {
    fn did(&self, node: &Node) -> Option<Did> {
        let counters = self.run?.node(node.id);
        let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        Some(Did {
            rows: read(&counters.rows_out),
            batches: read(&counters.batches),
            milliseconds: read(&counters.nanos) as f64 / 1e6,
            memory_kb: read(&counters.memory_bytes).div_ceil(1024),
            spilled_kb: read(&counters.spilled_bytes).div_ceil(1024),
            turned: read(&counters.turned) > 0,
            kept: read(&counters.kept) > 0,
            filtered: read(&counters.runtime_filtered),
        })
    }

    fn as_text(&self, plan: &Node, left: usize) {
        self.line(plan, 0);
        if left > 0 && self.out.verbose() {
            let text = format!("{left} conditions and what depends on them, row by row");
            self.out.text("PostgreSQL", &text);
        }
        let Some(run) = self.run else { return };
        for (name, counters) in self.names.iter().zip(&run.counters) {
            let Some(counters) = counters else { continue };
            let text = match name.as_str() {
                "subplan" => format!("{} rows from PostgreSQL", counters.heap_rows.get()),
                _ => counters.summary(),
            };
            self.out.text(&format!("Scan of {name}"), &text);
        }
        if self.out.timing() {
            let text = format!(
                "{} threads, {} kB of memory",
                run.threads_used,
                run.budget.peak_bytes().div_ceil(1024)
            );
            self.out.text("Engine used", &text);
        }
    }

    fn line(&self, node: &Node, depth: usize) {
        let projection = matches!(node.op, Op::Project { .. });
        // Projections are listed where they compute something and somebody wants to see expressions.
        let hidden = projection && !(self.out.verbose() && computes(node)) && native(node);
        let indent = "  ".repeat(depth);
        if !hidden {
            let mut line = format!("{indent}{}", describe(node, &self.names));
            if let (Some(did), false) = (self.did(node), projection) {
                line.push_str(&format!(" (rows={}", did.rows));
                if self.out.timing() {
                    line.push_str(&format!(" cpu={:.3} ms", did.milliseconds));
                    if did.memory_kb > 0 {
                        line.push_str(&format!(" memory={} kB", did.memory_kb));
                    }
                    if did.spilled_kb > 0 {
                        line.push_str(&format!(" spilled={} kB", did.spilled_kb));
                    }
                }
                if did.turned {
                    line.push_str(" sides exchanged");
                }
                if did.kept {
                    line.push_str(" table kept");
                }
                line.push(')');
            }
            self.out.text("Engine", &line);
            if self.out.verbose() {
                if self.skips_fold(node) {
                    let text = format!("{indent}  Fold: skipped, as rows are folded when written");
                    self.out.text("Engine", &text);
                }
                for (role, expr) in expressions(node) {
                    let text = format!("{indent}  {role}: {expr} [{}]", mark(expr));
                    self.out.text("Engine", &text);
                }
            }
        }
        let deeper = depth + usize::from(!hidden);
        for child in node.inputs() {
            self.line(child, deeper);
        }
    }

    /// Whether a node reads a table that has one row of each key already, where Doris would fold what it reads.
    fn skips_fold(&self, node: &Node) -> bool {
        match &node.op {
            Op::Scan(scan) => self.folded.get(scan.source) == Some(&true),
            _ => false,
        }
    }

    fn as_objects(&self, plan: &Node, left: usize) {
        let out = &self.out;
        out.group("Engine", true, || {
            if let Some(run) = self.run {
                out.number("Threads", run.threads_used as u64);
                out.number(
                    "Peak Memory (kB)",
                    (run.budget.peak_bytes() as u64).div_ceil(1024),
                );
            }
            out.number("Conditions Left to PostgreSQL", left as u64);
            self.object(plan);
        });
    }

    /// The properties of a node, and its inputs.
    fn object(&self, node: &Node) {
        let out = &self.out;
        out.text("Operator", &describe(node, &self.names));
        if let Some(did) = self.did(node) {
            out.number("Rows", did.rows);
            out.number("Batches", did.batches);
            out.float("CPU Time", did.milliseconds);
            out.number("Memory (kB)", did.memory_kb);
            out.number("Spilled (kB)", did.spilled_kb);
            out.number("Rows Removed by Runtime Filter", did.filtered);
            if matches!(node.op, Op::Join(_)) {
                out.number("Sides Exchanged", u64::from(did.turned));
                out.number("Table Kept", u64::from(did.kept));
            }
        }
        if let (Op::Scan(scan), Some(run)) = (&node.op, self.run) {
            if let Some(Some(counters)) = run.counters.get(scan.source) {
                self.scanned(counters);
            }
        }
        if out.verbose() {
            if self.skips_fold(node) {
                out.text("Fold", "skipped, as rows are folded when written");
            }
            let list: Vec<String> = expressions(node)
                .iter()
                .map(|(role, expr)| format!("{role}: {expr} [{}]", mark(expr)))
                .collect();
            if !list.is_empty() {
                out.list("Expressions", &list);
            }
        }
        let children = node.inputs();
        if !children.is_empty() {
            out.group("Inputs", false, || {
                for child in children {
                    out.item("Input", || self.object(child));
                }
            });
        }
    }

    fn scanned(&self, counters: &Counters) {
        self.out.scanned(counters);
    }
}

impl Out {
    /// What a scan has read and skipped, as properties of an object.
    fn scanned(&self, counters: &Counters) {
        let out = self;
        out.number("Segments", counters.segments.get());
        out.number("Row Blocks Read", counters.blocks_read.get());
        out.number(
            "Row Blocks Pruned by Zone Map",
            counters.blocks_pruned.get(),
        );
        out.number(
            "Row Blocks Pruned by Key Index",
            counters.blocks_out_of_range.get(),
        );
        out.number(
            "Row Blocks Pruned by Bloom Filter",
            counters.blocks_bloomed.get(),
        );
        out.number(
            "Row Blocks Pruned by Runtime Filter",
            counters.blocks_filtered.get(),
        );
        out.number(
            "Row Blocks Pruned by Delete Marks",
            counters.blocks_deleted.get(),
        );
        out.number(
            "Row Blocks Answered by Zone Map",
            counters.blocks_summarized.get(),
        );
        out.number("Rows Deleted", counters.deleted_rows.get());
        out.number("Rows from the Row Store", counters.heap_rows.get());
    }
}

/// Whether all that a projection computes is native.
fn native(node: &Node) -> bool {
    !matches!(&node.op, Op::Project { exprs, .. } if !exprs.iter().all(Expr::is_native))
}

/// Who evaluates an expression.
fn mark(expr: &Expr) -> &'static str {
    match expr.is_native() {
        true => "native",
        false => "postgres",
    }
}

/// Whether a node's expressions are more than columns of its input.
fn computes(node: &Node) -> bool {
    let column = |expr: &Expr| matches!(expr.kind(), ExprKind::Column(_));
    !expressions(node).iter().all(|(_, expr)| column(expr))
}

/// A node's expressions over its input's columns.
fn expressions(node: &Node) -> Vec<(&'static str, &Expr)> {
    match &node.op {
        Op::Scan(scan) => scan.filters.iter().map(|e| ("Filter", e)).collect(),
        Op::Filter { predicate, .. } => vec![("Filter", predicate)],
        Op::Project { exprs, .. } => exprs.iter().map(|e| ("Output", e)).collect(),
        Op::Join(join) => {
            let keys = join.keys.iter();
            let keys = keys.flat_map(|k| [("Probe Key", &k.probe), ("Build Key", &k.build)]);
            let residual = join.residual.iter().map(|e| ("Condition", e));
            keys.chain(residual).collect()
        }
        Op::Aggregate(aggregate) => {
            let keys = aggregate.keys.iter().map(|key| ("Group Key", &key.expr));
            let calls = aggregate.calls.iter().flat_map(|call| {
                let role = match call.distinct {
                    true => "Distinct Argument",
                    false => "Argument",
                };
                let argument = call.argument.iter().map(move |e| (role, e));
                argument.chain(call.filter.iter().map(|e| ("Argument Filter", e)))
            });
            keys.chain(calls).collect()
        }
        Op::Window(window) => {
            let partition = window.partition.iter().map(|e| ("Partition Key", e));
            let order = window.order.iter().map(|e| ("Order Key", e));
            let calls = window.calls.iter().flat_map(|call| call.exprs());
            partition
                .chain(order)
                .chain(calls.map(|e| ("Argument", e)))
                .collect()
        }
        Op::Sort { keys, .. } | Op::TopN { keys, .. } => {
            keys.iter().map(|key| ("Sort Key", &key.expr)).collect()
        }
        _ => Vec::new(),
    }
}

fn describe(node: &Node, names: &[String]) -> String {
    match &node.op {
        Op::Scan(scan) => {
            let name = names.get(scan.source).map_or("", String::as_str);
            let native = scan
                .filters
                .iter()
                .filter(|filter| filter.is_native())
                .count();
            let filters = match (native, scan.filters.len() - native) {
                (0, 0) => String::new(),
                (native, 0) => format!(", {native} filters native"),
                (0, others) => format!(", {others} filters postgres"),
                (native, others) => format!(", {native} filters native, {others} postgres"),
            };
            format!("Scan {name}: {} columns{filters}", scan.columns.len())
        }
        Op::Filter { predicate, .. } if !predicate.is_native() => "Filter: postgres".into(),
        Op::Filter { .. } => "Filter".into(),
        Op::Project { exprs, .. } => match exprs.iter().filter(|expr| !expr.is_native()).count() {
            0 => "Project".into(),
            others => format!("Project: {others} expressions postgres"),
        },
        Op::Join(join) => {
            let how = match join.keys.is_empty() {
                true => "Nested Loop",
                false => "Hash Join",
            };
            let condition = match join.residual.as_ref().is_none_or(Expr::is_native) {
                true => "",
                false => ": condition postgres",
            };
            format!("{how} {:?}{condition}", join.kind)
        }
        Op::Aggregate(aggregate) => {
            let (keys, calls) = (aggregate.keys.len(), aggregate.calls.len());
            let sets = match &aggregate.grouping_sets {
                Some(sets) => format!(" in {} grouping sets", sets.len()),
                None => String::new(),
            };
            format!("Aggregate: {keys} keys{sets}, {calls} aggregates native")
        }
        Op::Window(window) => {
            let (keys, calls) = (window.partition.len(), window.calls.len());
            format!("Window: {keys} partition keys, {calls} functions native")
        }
        Op::Sort { keys, .. } => format!("Sort: {} keys", keys.len()),
        Op::TopN { keys, limit, .. } => format!("Top {limit}: {} keys", keys.len()),
        Op::Limit { .. } => "Limit".into(),
        Op::Distinct { .. } => "Distinct".into(),
        Op::UnionAll { .. } => "Append".into(),
        Op::SetOp { kind, .. } => format!("{kind:?}"),
        Op::Values { .. } => "Values".into(),
    }
}

/// The output of a running EXPLAIN.
struct Out {
    es: *mut pg_sys::ExplainState,
}

impl Out {
    fn verbose(&self) -> bool {
        // SAFETY: the state of a running EXPLAIN.
        unsafe { (*self.es).verbose }
    }

    fn timing(&self) -> bool {
        // SAFETY: as above.
        unsafe { (*self.es).analyze && (*self.es).timing }
    }

    fn text(&self, label: &str, value: &str) {
        let (Ok(label), Ok(value)) = (CString::new(label), CString::new(value)) else {
            return;
        };
        // SAFETY: both strings are copied into the output.
        unsafe { pg_sys::ExplainPropertyText(label.as_ptr(), value.as_ptr(), self.es) };
    }

    fn number(&self, label: &str, value: u64) {
        let Ok(label) = CString::new(label) else {
            return;
        };
        let none = std::ptr::null();
        // SAFETY: the label is copied into the output.
        unsafe { pg_sys::ExplainPropertyUInteger(label.as_ptr(), none, value, self.es) };
    }

    fn float(&self, label: &str, value: f64) {
        let Ok(label) = CString::new(label) else {
            return;
        };
        // SAFETY: both strings are copied into the output.
        unsafe { pg_sys::ExplainPropertyFloat(label.as_ptr(), c"ms".as_ptr(), value, 3, self.es) };
    }

    fn list(&self, label: &str, values: &[String]) {
        let mut list = PgList::<std::ffi::c_char>::new();
        for value in values {
            if let Ok(value) = CString::new(value.as_str()) {
                // SAFETY: the string is copied.
                list.push(unsafe { pg_sys::pstrdup(value.as_ptr()) });
            }
        }
        if let Ok(label) = CString::new(label) {
            // SAFETY: a list of C strings, copied into the output.
            unsafe { pg_sys::ExplainPropertyList(label.as_ptr(), list.into_pg(), self.es) };
        }
    }

    /// An object (or with `labelled` off, a list) of its own.
    fn group(&self, name: &str, labelled: bool, inside: impl FnOnce()) {
        self.between(name, name, labelled, inside);
    }

    /// An object in a list.
    fn item(&self, name: &str, inside: impl FnOnce()) {
        self.between(name, "", true, inside);
    }

    fn between(&self, name: &str, label: &str, labelled: bool, inside: impl FnOnce()) {
        let (Ok(name), Ok(label)) = (CString::new(name), CString::new(label)) else {
            return;
        };
        let label = match label.is_empty() {
            true => std::ptr::null(),
            false => label.as_ptr(),
        };
        // SAFETY: strings that outlive the group; it is closed as it was opened.
        unsafe { pg_sys::ExplainOpenGroup(name.as_ptr(), label, labelled, self.es) };
        inside();
        // SAFETY: as above.
        unsafe { pg_sys::ExplainCloseGroup(name.as_ptr(), label, labelled, self.es) };
    }
}
