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
    known: Vec<Known>,
    morsels: AtomicUsize,
}

/// What a filter did to rows that no other had filtered.
#[derive(Default)]
struct Known {
    rows: AtomicU64,
    passed: AtomicU64,
    nanos: AtomicU64,
}

impl Known {
    /// Time a dropped row, in nanoseconds.
    fn cost(&self) -> f64 {
        let rows = self.rows.load(Relaxed);
        let dropped = rows.saturating_sub(self.passed.load(Relaxed));
        // Half a row, so that filters that drop nothing are compared by their time.
        self.nanos.load(Relaxed) as f64 / (dropped as f64 + 0.5)
    }
}

impl Filters {
    /// Filters none of which raises an error or needs the driving thread.
    pub fn new(filters: &[Expr]) -> Self {
        let exprs = together(filters);
        Self {
            known: exprs.iter().map(|_| Known::default()).collect(),
            exprs,
            morsels: AtomicUsize::new(0),
        }
    }

    /// The filters.
    pub fn exprs(&self) -> &[Expr] {
        &self.exprs
    }

    /// The order for a morsel, and whether it is to try the filters out on its first rows.
    pub fn order(&self) -> (Vec<usize>, bool) {
        let mut order: Vec<usize> = (0..self.exprs.len()).collect();
        if order.len() < 2 {
            return (order, false);
        }
        let morsel = self.morsels.fetch_add(1, Relaxed);
        self.sort(&mut order);
        (order, morsel < TRIED_FIRST || morsel % TRIED_ONE_IN == 0)
    }

    /// Sorts filters by what is known of them now.
    pub fn sort(&self, order: &mut [usize]) {
        if self.known.iter().any(|known| known.rows.load(Relaxed) == 0) {
            return;
        }
        let costs: Vec<f64> = self.known.iter().map(Known::cost).collect();
        order.sort_by(|&a, &b| costs[a].partial_cmp(&costs[b]).unwrap_or(Ordering::Equal));
    }

    /// Notes that filter `number` left `left` of `rows` rows, having begun at `began`.
    pub fn note(&self, number: usize, rows: &Selection, left: &Selection, began: Instant) {
        let known = &self.known[number];
        known.passed.fetch_add(left.len() as u64, Relaxed);
        let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        known.nanos.fetch_add(nanos, Relaxed);
        known.rows.fetch_add(rows.len() as u64, Relaxed);
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
        assert_eq!(filters.order(), (vec![0, 1, 2], true));
        for (number, passed) in [(0, 100), (1, 60), (2, 1)] {
            filters.known[number].rows.store(100, Relaxed);
            filters.known[number].passed.store(passed, Relaxed);
            filters.known[number].nanos.store(1000, Relaxed);
        }
        assert_eq!(filters.order().0, [2, 1, 0]);
        filters.known[2].nanos.store(1_000_000, Relaxed);
        assert_eq!(filters.order().0, [1, 0, 2]);
    }

    #[test]
    fn only_some_morsels_try_the_filters_out() {
        let filters = Filters::new(&[above(0, 1), above(1, 1)]);
        let tried = (0..64).filter(|_| filters.order().1).count();
        assert_eq!(tried, 3);
        assert!(!Filters::new(&[above(0, 1)]).order().1);
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
