// SPDX-License-Identifier: Apache-2.0
//! What the first rows of a sort ask of its input: a bound on the first sort key that closes in while rows come.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};

/// A bound. Rows beyond it are not among the first; until it is set, all rows may be.
#[derive(Debug)]
pub struct SortBound {
    descending: bool,
    nulls_first: bool,
    last: AtomicI64,
    set: AtomicBool,
}

impl SortBound {
    /// A bound on a sort key of these directions, not set yet.
    pub fn new(descending: bool, nulls_first: bool) -> Self {
        Self {
            descending,
            nulls_first,
            last: AtomicI64::new(if descending { i64::MIN } else { i64::MAX }),
            set: AtomicBool::new(false),
        }
    }

    /// Rows after `last` are out from now on.
    pub fn close_in(&self, last: i64) {
        match self.descending {
            true => self.last.fetch_max(last, Relaxed),
            false => self.last.fetch_min(last, Relaxed),
        };
        self.set.store(true, Relaxed);
    }

    /// Rows after a NULL are out from now on: where NULLs come first, all others, but the foremost value there can be.
    pub fn close_behind_nulls(&self) {
        if self.nulls_first {
            self.close_in(if self.descending { i64::MAX } else { i64::MIN });
        }
    }

    /// Whether it drops anything.
    pub fn is_set(&self) -> bool {
        self.set.load(Relaxed)
    }

    /// The least and greatest value that pass now.
    pub fn range(&self) -> (i64, i64) {
        let last = self.last.load(Relaxed);
        match self.descending {
            true => (last, i64::MAX),
            false => (i64::MIN, last),
        }
    }

    /// How near to the front of the sort rows may be that have values from the least to the greatest of `range`
    /// (`None`: not known) and NULLs or not: less is nearer.
    pub fn rank(&self, range: Option<(i64, i64)>, has_nulls: bool) -> i128 {
        match range {
            _ if has_nulls && self.nulls_first => i128::MIN,
            None => i128::MIN,
            Some((_, max)) if self.descending => -i128::from(max),
            Some((min, _)) => i128::from(min),
        }
    }

    /// Whether NULLs pass.
    pub fn passes_nulls(&self) -> bool {
        self.nulls_first || !self.is_set()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_closes_in_and_never_opens() {
        let bound = SortBound::new(false, false);
        assert_eq!(bound.range(), (i64::MIN, i64::MAX));
        assert!(bound.passes_nulls() && !bound.is_set());
        bound.close_in(7);
        bound.close_in(9);
        assert_eq!(bound.range(), (i64::MIN, 7));
        assert!(!bound.passes_nulls() && bound.is_set());
        let bound = SortBound::new(true, true);
        bound.close_in(7);
        bound.close_in(5);
        assert_eq!(bound.range(), (7, i64::MAX));
        assert!(bound.passes_nulls());
        bound.close_behind_nulls();
        assert_eq!(bound.range(), (i64::MAX, i64::MAX));
        assert!(bound.passes_nulls());
        let bound = SortBound::new(false, false);
        bound.close_behind_nulls();
        assert!(!bound.is_set());
    }

    #[test]
    fn what_may_come_first_has_the_least_rank() {
        let up = SortBound::new(false, false);
        assert!(up.rank(Some((1, 9)), true) < up.rank(Some((2, 3)), false));
        assert!(up.rank(None, false) < up.rank(Some((i64::MIN, 3)), false));
        let down = SortBound::new(true, true);
        assert!(down.rank(Some((1, 9)), false) < down.rank(Some((2, 3)), false));
        assert!(down.rank(Some((i64::MIN, 3)), true) < down.rank(Some((1, i64::MAX)), false));
    }
}
