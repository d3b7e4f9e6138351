// SPDX-License-Identifier: Apache-2.0
//! In which order a scan applies its filters.
//!
//! None of them can fail, so that any order gives the same rows. The first rows of some morsels go through every filter
//! whole, which tells what each lets through and what it costs, decoding included; from then on those that drop most
//! rows for their time come first. Conditions on one column stay together: bounds on it are one pass.

use std::cmp::Ordering;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use crate::batch::Selection;
use crate::expr::{Expr, ExprKind};

/// The first morsels try the filters out, ...
const TRIED_FIRST: usize = 2;
/// ... and one in so many after them, as the rows of a table change along it.
const TRIED_ONE_IN: usize = 32;

/// The filters of a scan, and what is known of each.
pub struct Filters {
    exprs: Vec<Expr>,
    /// Of morsels that need no decoding, and of those that do.
    learned: [Learned; 2],
}

/// What some kind of morsel has told.
struct Learned {
    known: Vec<Known>,
    morsels: AtomicUsize,
}

/// What a filter did to rows that no other had filtered.
struct Known {
    rows: AtomicU64,
    passed: AtomicU64,
    /// The least time that it took for so many rows, in nanoseconds: others may have been interrupted.
    nanos: AtomicU64,
}

/// Rows that times are for.
const TIMED_ROWS: u64 = 1024;

impl Known {
    fn new() -> Self {
        Self {
            rows: AtomicU64::new(0),
            passed: AtomicU64::new(0),
            nanos: AtomicU64::new(u64::MAX),
        }
    }

    /// Time for each row that is dropped, in nanoseconds; `None` when nothing is known.
    fn cost(&self) -> Option<f64> {
        let (rows, passed) = (self.rows.load(Relaxed), self.passed.load(Relaxed));
        if rows == 0 {
            return None;
        }
        // Half a row, so that filters that drop nothing are compared by their time.
        let dropped = rows.saturating_sub(passed) as f64 + 0.5;
        Some(self.nanos.load(Relaxed) as f64 * rows as f64 / dropped)
    }
}

impl Learned {
    fn new(filters: usize) -> Self {
        Self {
            known: (0..filters).map(|_| Known::new()).collect(),
            morsels: AtomicUsize::new(0),
        }
    }
}

impl Filters {
    /// Filters none of which raises an error or needs the driving thread.
    pub fn new(filters: &[Expr]) -> Self {
        let exprs = together(filters);
        Self {
            learned: [Learned::new(exprs.len()), Learned::new(exprs.len())],
            exprs,
        }
    }

    /// The filters.
    pub fn exprs(&self) -> &[Expr] {
        &self.exprs
    }

    /// The order for a morsel, and whether it is to try the filters out on its first rows.
    pub fn order(&self, encoded: bool) -> (Vec<usize>, bool) {
        let mut order: Vec<usize> = (0..self.exprs.len()).collect();
        if order.len() < 2 {
            return (order, false);
        }
        let morsels = &self.learned[usize::from(encoded)].morsels;
        let morsel = morsels.fetch_add(1, Relaxed);
        self.sort(encoded, &mut order);
        (
            order,
            morsel < TRIED_FIRST || morsel.is_multiple_of(TRIED_ONE_IN),
        )
    }

    /// Sorts filters by what is known of them now.
    pub fn sort(&self, encoded: bool, order: &mut [usize]) {
        let known = &self.learned[usize::from(encoded)].known;
        let costs: Option<Vec<f64>> = known.iter().map(Known::cost).collect();
        let Some(costs) = costs else { return };
        order.sort_by(|&a, &b| costs[a].partial_cmp(&costs[b]).unwrap_or(Ordering::Equal));
    }

    /// Notes that filter `number` had `rows` and let `passed` of them through, having begun at `began`.
    pub fn note(
        &self,
        encoded: bool,
        number: usize,
        (rows, passed): (usize, usize),
        began: Instant,
    ) {
        let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.learn(encoded, number, (rows as u64, passed as u64), nanos);
    }

    fn learn(&self, encoded: bool, number: usize, (rows, passed): (u64, u64), nanos: u64) {
        if rows == 0 {
            return;
        }
        let known = &self.learned[usize::from(encoded)].known[number];
        known
            .nanos
            .fetch_min(nanos.saturating_mul(TIMED_ROWS) / rows, Relaxed);
        known.passed.fetch_add(passed, Relaxed);
        known.rows.fetch_add(rows, Relaxed);
    }
}

/// The conjuncts of all filters, one filter for those that read the same columns.
fn together(filters: &[Expr]) -> Vec<Expr> {
    let mut conjuncts = Vec::new();
    filters.iter().for_each(|f| conjuncts_of(f, &mut conjuncts));
    let mut groups: Vec<(Vec<usize>, Vec<Expr>)> = Vec::new();
    for conjunct in conjuncts {
        let columns = conjunct.columns();
        match groups.iter_mut().find(|(known, _)| *known == columns) {
            Some((_, group)) => group.push(conjunct),
            None => groups.push((columns, vec![conjunct])),
        }
    }
    let whole = |(_, mut group): (_, Vec<Expr>)| match group.len() {
        1 => group.pop(),
        _ => Expr::and(group).ok(),
    };
    let all: Option<Vec<Expr>> = groups.into_iter().map(whole).collect();
    // Conditions that cannot be put together stay as they were.
    all.unwrap_or_else(|| filters.to_vec())
}

fn conjuncts_of(expr: &Expr, into: &mut Vec<Expr>) {
    match expr.kind() {
        ExprKind::And(args) => args.iter().for_each(|arg| conjuncts_of(arg, into)),
        _ => into.push(expr.clone()),
    }
}

/// The rows in both of two selections of the same batch.
pub fn both(one: &Selection, other: &Selection) -> Selection {
    let (Selection::Indices(one), Selection::Indices(other)) = (one, other) else {
        return match one {
            Selection::All(rows) if *rows >= other.len() => other.clone(),
            _ => one.clone(),
        };
    };
    let mut at = 0;
    let common = one.iter().filter(|&&row| {
        at += other[at..].iter().take_while(|&&r| r < row).count();
        other.get(at) == Some(&row)
    });
    Selection::Indices(common.copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::CompareOp;
    use crate::types::{DataType, Scalar};

    fn above(column: usize, value: i64) -> Expr {
        let column = Expr::column(column, DataType::Int8);
        let value = Expr::constant(Scalar::I64(value), DataType::Int8).unwrap();
        Expr::compare(CompareOp::Gt, column, value).unwrap()
    }

    #[test]
    fn conditions_on_one_column_are_one_filter() {
        let both = Expr::and(vec![above(1, 5), above(0, 9)]).unwrap();
        let filters = Filters::new(&[above(0, 1), both, above(0, 3)]);
        let columns: Vec<_> = filters.exprs().iter().map(Expr::columns).collect();
        assert_eq!(columns, [vec![0], vec![1]]);
    }

    #[test]
    fn the_filter_that_drops_more_for_its_time_comes_first() {
        let filters = Filters::new(&[above(0, 1), above(1, 1), above(2, 1)]);
        assert_eq!(filters.order(true), (vec![0, 1, 2], true));
        for (number, passed) in [(0, 100), (1, 60), (2, 1)] {
            filters.learn(true, number, (100, passed), 1_000);
        }
        assert_eq!(filters.order(true).0, [2, 1, 0]);
        assert_eq!(filters.order(false).0, [0, 1, 2]);
        let filters = Filters::new(&[above(0, 1), above(1, 1)]);
        filters.learn(true, 0, (100, 1), 1_000_000);
        filters.learn(true, 1, (100, 60), 1_000);
        assert_eq!(filters.order(true).0, [1, 0]);
        // One interruption does not count.
        filters.learn(true, 0, (100, 1), 1_000);
        assert_eq!(filters.order(true).0, [0, 1]);
    }

    #[test]
    fn only_some_morsels_try_the_filters_out() {
        let filters = Filters::new(&[above(0, 1), above(1, 1)]);
        let tried = (0..64).filter(|_| filters.order(true).1).count();
        assert_eq!(tried, 3);
        assert!(!Filters::new(&[above(0, 1)]).order(true).1);
    }

    #[test]
    fn both_has_the_common_rows() {
        let some = |rows: &[u32]| Selection::Indices(rows.to_vec());
        assert_eq!(
            both(&some(&[1, 3, 5, 9]), &some(&[0, 3, 4, 9])),
            some(&[3, 9])
        );
        assert_eq!(both(&Selection::All(4), &some(&[2])), some(&[2]));
        assert_eq!(both(&some(&[2]), &Selection::All(4)), some(&[2]));
        assert_eq!(
            both(&Selection::All(4), &Selection::All(4)),
            Selection::All(4)
        );
        assert_eq!(both(&some(&[]), &some(&[1])), some(&[]));
    }
}
