// SPDX-License-Identifier: Apache-2.0
//! A full segment under construction whose rows share few keys: it is folded in memory and goes on to grow, so that a
//! load that folds much writes one segment, and not each next one in place of the one before.
use super::{find, options, Builder, Columns, BUILDERS};
use crate::keys::key_encoding::Keys;
use crate::keys::merge::Rule;
use crate::keys::model::{self as key_model, Model};
use crate::keys::publish_segment::Batch;
use crate::write::column::Column;
use doris_storage::vector::{Values, Vector};
use pgrx::pg_sys;
use std::cmp::Ordering;

/// Rows of which the keys are counted.
const SAMPLE: usize = 1 << 16;
/// It is folded where there is one key for so many rows of the sample at least.
const ROWS_A_KEY: usize = 2;

/// Folds the full segment that a command builds; whether it has room again.
pub fn full(rel: pg_sys::Relation, cid: pg_sys::CommandId) -> bool {
    let Some(model) = key_model::of(rel) else {
        return false;
    };
    let rule = Rule::of(rel, cid).filter(|rule| !rule.replaces());
    if rule.as_ref().is_some_and(|rule| rule.has_delete_sign()) {
        // What a delete leaves behind is more than its row.
        return false;
    }
    let taken = BUILDERS.with_borrow_mut(|builders| {
        let at = find(builders, rel, cid)?;
        let builder = &builders[at];
        let free = builder.unobserved && builder.entry_tid.is_none();
        (free && shares_keys(&model, builder)).then(|| (at, builders.remove(at)))
    });
    // Constraints and combine functions may run meanwhile, so nothing is borrowed. An error ends the statement.
    let Some((at, mut builder)) = taken else {
        return false;
    };
    let Columns::Growing(columns) = builder.columns else {
        unreachable!("rows go to segments that grow");
    };
    let columns = columns.into_iter().map(|c| (c.kind(), c.finish()));
    let rule = rule.as_deref().map(|rule| (rel, rule));
    let batch = Batch::fold(&model, columns.collect(), true, rule);
    builder.rows = batch.len() as u32;
    builder.bytes = batch.columns.iter().map(|c| bytes(&c.1)).sum();
    builder.memory.shrink(builder.bytes);
    let columns = batch.columns.into_iter();
    let columns = columns.map(|(kind, vector)| Column::of(kind, vector));
    builder.columns = Columns::Growing(columns.collect());
    let room = u64::from(builder.rows) * 2 <= builder.entry.capacity
        && builder.bytes <= options::segment_bytes_max() / 2;
    BUILDERS.with_borrow_mut(|builders| {
        let at = at.min(builders.len());
        builders.insert(at, builder);
    });
    room
}

/// Whether a sample says that folding makes much fewer rows.
fn shares_keys(model: &Model, builder: &Builder) -> bool {
    let count = (builder.rows as usize).min(SAMPLE);
    let sample: Option<Vec<(Vector, u16)>> = model
        .columns
        .iter()
        .map(|c| {
            let (vector, scale) = builder.column(usize::from(c.attr.number) - 1)?;
            Some((vector.slice(0..count), scale))
        })
        .collect();
    let Some(sample) = sample else {
        return false;
    };
    let columns: Vec<(&Vector, u16)> = sample.iter().map(|(v, scale)| (v, *scale)).collect();
    let keys = Keys::of(model, &columns);
    let order = keys.order();
    let differ =
        |pair: &&[u32]| keys.compare(pair[0] as usize, &keys, pair[1] as usize) != Ordering::Equal;
    let distinct = 1 + order.windows(2).filter(differ).count();
    distinct * ROWS_A_KEY <= count
}

/// The memory that values take, about.
fn bytes(vector: &Vector) -> usize {
    match &vector.values {
        Values::Bytes(values) => values.iter().map(|value| value.len() + 4).sum(),
        Values::Fixed { data, .. } => data.len(),
        Values::I128(values) => values.len() * 16,
        _ => vector.len() * 8,
    }
}
