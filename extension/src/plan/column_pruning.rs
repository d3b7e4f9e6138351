// SPDX-License-Identifier: Apache-2.0
//! Column pruning: engine plans read and carry only the columns that somebody above uses.
//!
//! PostgreSQL lets scans below other nodes put out whole rows, which costs a row store nothing.
use super::convert::Source;
use doris_engine::expr::Expr;
use doris_engine::plan::{Aggregate, Join, Node, Op, RangeLimit, Scan, Window};

/// For each old output column, where it is now.
type Map = Vec<Option<usize>>;

/// Prunes a plan whose output columns are all used, and cuts its sources down to the columns that are read.
pub fn prune(node: Node, sources: &mut [Source]) -> Node {
    let need = vec![true; node.types.len()];
    let (mut node, _) = narrow(node, &need);
    prune_node(&mut node, sources);
    node
}

/// Numbers each scan's source columns anew and hands its filters to the source.
fn prune_node(node: &mut Node, sources: &mut [Source]) {
    match &mut node.op {
        Op::Scan(scan) => {
            let source = &mut sources[scan.source];
            source.attributes = scan.columns.iter().map(|c| source.attributes[*c]).collect();
            source.filters.clone_from(&scan.filters);
            scan.columns = (0..scan.columns.len()).collect();
        }
        Op::Filter { input, .. }
        | Op::Project { input, .. }
        | Op::Sort { input, .. }
        | Op::TopN { input, .. }
        | Op::Limit { input, .. }
        | Op::Distinct { input } => prune_node(input, sources),
        Op::Aggregate(aggregate) => prune_node(&mut aggregate.input, sources),
        Op::Window(window) => prune_node(&mut window.input, sources),
        Op::Join(join) => {
            prune_node(&mut join.probe, sources);
            prune_node(&mut join.build, sources);
        }
        Op::UnionAll { inputs } => inputs
            .iter_mut()
            .for_each(|input| prune_node(input, sources)),
        Op::SetOp { left, right, .. } => {
            prune_node(left, sources);
            prune_node(right, sources);
        }
        Op::Values { .. } => {}
    }
}

/// The sources that a plan reads.
pub fn scanned(node: &Node) -> Vec<usize> {
    match &node.op {
        Op::Scan(scan) => vec![scan.source],
        _ => node.inputs().into_iter().flat_map(scanned).collect(),
    }
}

/// The sources whose rows may be handed out before all rows of all sources have been read: no operator above them
/// waits for its whole input.
pub fn streamed(node: &Node) -> Vec<usize> {
    match &node.op {
        Op::Scan(scan) => vec![scan.source],
        Op::Filter { input, .. }
        | Op::Project { input, .. }
        | Op::Limit { input, .. }
        | Op::Distinct { input } => streamed(input),
        Op::Join(join) => streamed(&join.probe),
        Op::UnionAll { inputs } => inputs.iter().flat_map(streamed).collect(),
        Op::SetOp { left, .. } => streamed(left),
        Op::Aggregate(_)
        | Op::Window(_)
        | Op::Sort { .. }
        | Op::TopN { .. }
        | Op::Values { .. } => Vec::new(),
    }
}

fn mark(need: &mut [bool], expr: &Expr) {
    for column in expr.columns() {
        need[column] = true;
    }
}

fn moved(expr: &Expr, map: &Map) -> Expr {
    expr.clone()
        .renumber(&|column| map[column].expect("a column in use was kept"))
}

fn all(node: &Node) -> Vec<bool> {
    vec![true; node.types.len()]
}

/// Identity over the columns that are kept.
fn kept(keep: &[bool]) -> Map {
    let mut next = 0;
    keep.iter()
        .map(|keep| {
            keep.then(|| {
                next += 1;
                next - 1
            })
        })
        .collect()
}

fn narrow(node: Node, need: &[bool]) -> (Node, Map) {
    let Node { id, types, op } = node;
    match op {
        Op::Scan(scan) => narrow_scan(id, &types, scan, need),
        Op::Filter { input, predicate } => {
            let mut need = need.to_vec();
            mark(&mut need, &predicate);
            let (input, map) = narrow(*input, &need);
            (Node::filter(id, input, moved(&predicate, &map)), map)
        }
        Op::Project { input, exprs } => {
            let map = kept(need);
            let exprs: Vec<Expr> = exprs
                .into_iter()
                .zip(need)
                .filter(|(_, need)| **need)
                .map(|(e, _)| e)
                .collect();
            let mut below = vec![false; input.types.len()];
            exprs.iter().for_each(|e| mark(&mut below, e));
            let (input, inner) = narrow(*input, &below);
            let exprs = exprs.iter().map(|e| moved(e, &inner)).collect();
            (Node::project(id, input, exprs), map)
        }
        Op::Join(join) => narrow_join(id, join, need),
        Op::Aggregate(aggregate) => narrow_aggregate(id, aggregate, need),
        Op::Window(window) => narrow_window(id, window, need),
        Op::Sort { input, keys } => {
            let (input, keys, map) = narrow_sort(*input, keys, need);
            (Node::sort(id, input, keys), map)
        }
        Op::TopN {
            input,
            keys,
            limit,
            offset,
        } => {
            let (input, keys, map) = narrow_sort(*input, keys, need);
            (Node::top_n(id, input, keys, limit, offset), map)
        }
        Op::Limit {
            input,
            limit,
            offset,
        } => {
            let (input, map) = narrow(*input, need);
            (Node::limit(id, input, limit, offset), map)
        }
        Op::UnionAll { inputs } => {
            let narrowed = |input: Node| {
                let (input, map) = narrow(input, need);
                let kept = (0..need.len()).filter(|i| need[*i]);
                let exprs = kept.map(|i| {
                    let at = map[i].expect("a column in use was kept");
                    Expr::column(at, input.types[at])
                });
                let exprs: Vec<Expr> = exprs.collect();
                Node::project(id, input, exprs)
            };
            let inputs = inputs.into_iter().map(narrowed).collect();
            (Node::union_all(id, inputs), kept(need))
        }
        other => {
            let node = Node {
                id,
                types,
                op: other,
            };
            let map = kept(&all(&node));
            (node, map)
        }
    }
}

fn narrow_scan(
    id: u32,
    types: &[doris_engine::types::DataType],
    scan: Scan,
    need: &[bool],
) -> (Node, Map) {
    let mut need = need.to_vec();
    scan.filters
        .iter()
        .for_each(|filter| mark(&mut need, filter));
    let map = kept(&need);
    let pick = |i: &usize| need[*i];
    let columns = (0..need.len())
        .filter(pick)
        .map(|i| scan.columns[i])
        .collect();
    let types = (0..need.len()).filter(pick).map(|i| types[i]).collect();
    let filters = scan.filters.iter().map(|f| moved(f, &map)).collect();
    (Node::scan(id, scan.source, columns, types, filters), map)
}

fn narrow_join(id: u32, join: Join, need: &[bool]) -> (Node, Map) {
    let width = join.probe.types.len();
    let mut pair = vec![false; width + join.build.types.len()];
    for (at, need) in join.output.iter().zip(need) {
        pair[*at] |= *need;
    }
    if let Some(residual) = &join.residual {
        mark(&mut pair, residual);
    }
    for key in &join.keys {
        mark(&mut pair[..width], &key.probe);
        mark(&mut pair[width..], &key.build);
    }
    let (probe, probe_map) = narrow(*join.probe, &pair[..width]);
    let (build, build_map) = narrow(*join.build, &pair[width..]);
    let new_width = probe.types.len();
    let mut both: Map = probe_map.clone();
    both.extend(build_map.iter().map(|at| at.map(|at| at + new_width)));
    let mut keys = join.keys;
    for key in &mut keys {
        key.probe = moved(&key.probe, &probe_map);
        key.build = moved(&key.build, &build_map);
    }
    let output = join
        .output
        .iter()
        .zip(need)
        .filter(|(_, need)| **need)
        .map(|(at, _)| both[*at].expect("a column in use was kept"))
        .collect();
    let residual = join.residual.map(|r| moved(&r, &both));
    let (probe, build) = (Box::new(probe), Box::new(build));
    let join = Join {
        kind: join.kind,
        probe,
        build,
        keys,
        residual,
        output,
    };
    (Node::join(id, join), kept(need))
}

fn narrow_aggregate(id: u32, aggregate: Aggregate, need: &[bool]) -> (Node, Map) {
    let mut keep = vec![true; aggregate.keys.len()];
    let mut calls = Vec::new();
    let mut at = keep.len();
    for call in aggregate.calls {
        let argument = call.argument.as_ref().map(Expr::data_type);
        let width = call.function.output_types(argument).len();
        let used = need[at..at + width].contains(&true);
        keep.extend(std::iter::repeat_n(used, width));
        at += width;
        if used {
            calls.push(call);
        }
    }
    keep.resize(need.len(), true);
    let mut below = vec![false; aggregate.input.types.len()];
    aggregate
        .keys
        .iter()
        .for_each(|key| mark(&mut below, &key.expr));
    for call in &calls {
        call.argument
            .iter()
            .chain(&call.filter)
            .for_each(|e| mark(&mut below, e));
    }
    let (input, map) = narrow(*aggregate.input, &below);
    let mut keys = aggregate.keys;
    keys.iter_mut()
        .for_each(|key| key.expr = moved(&key.expr, &map));
    for call in &mut calls {
        call.argument = call.argument.as_ref().map(|e| moved(e, &map));
        call.filter = call.filter.as_ref().map(|e| moved(e, &map));
    }
    let grouping_sets = aggregate.grouping_sets;
    let aggregate = Aggregate {
        input: Box::new(input),
        keys,
        calls,
        grouping_sets,
    };
    (Node::aggregate(id, aggregate), kept(&keep))
}

/// Keeps the input's columns that are used, and the calls of which some column is.
fn narrow_window(id: u32, window: Window, need: &[bool]) -> (Node, Map) {
    let width = window.input.types.len();
    let mut below = need[..width].to_vec();
    window
        .partition
        .iter()
        .chain(&window.order)
        .chain(window.range.iter().flat_map(|range| range.exprs()))
        .for_each(|key| mark(&mut below, key));
    let (mut calls, mut used) = (Vec::new(), Vec::new());
    let mut at = width;
    for call in window.calls {
        let columns = call.output_types().len();
        let wanted = need[at..at + columns].contains(&true);
        used.extend(std::iter::repeat_n(wanted, columns));
        at += columns;
        if wanted {
            call.exprs().for_each(|expr| mark(&mut below, expr));
            calls.push(call);
        }
    }
    let (input, map) = narrow(*window.input, &below);
    let results = kept(&used).into_iter();
    let results = results.map(|at| at.map(|at| at + input.types.len()));
    let whole: Map = map.iter().copied().chain(results).collect();
    for call in &mut calls {
        for expr in [&mut call.argument, &mut call.default, &mut call.filter] {
            *expr = expr.as_ref().map(|expr| moved(expr, &map));
        }
    }
    let keys = |keys: &[Expr]| keys.iter().map(|key| moved(key, &map)).collect();
    let range = window.range.map(|mut range| {
        range.key = moved(&range.key, &map);
        for limit in [&mut range.start, &mut range.end].into_iter().flatten() {
            if let RangeLimit::Value(value) = limit {
                *value = moved(value, &map);
            }
        }
        range
    });
    let window = Window {
        range,
        partition: keys(&window.partition),
        order: keys(&window.order),
        frame: window.frame,
        input: Box::new(input),
        calls,
    };
    (Node::window(id, window), whole)
}

fn narrow_sort(
    input: Node,
    mut keys: Vec<doris_engine::plan::SortKey>,
    need: &[bool],
) -> (Node, Vec<doris_engine::plan::SortKey>, Map) {
    let mut need = need.to_vec();
    keys.iter().for_each(|key| mark(&mut need, &key.expr));
    let (input, map) = narrow(input, &need);
    keys.iter_mut()
        .for_each(|key| key.expr = moved(&key.expr, &map));
    (input, keys, map)
}
