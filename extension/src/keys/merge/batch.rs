// SPDX-License-Identifier: Apache-2.0
//! The rule over many rows at once, column by column.
//!
//! ```text
//! rows of a batch   k=1 a   k=2 b   k=1 c        order 0 2 1, starts 0 2 3
//! folded            k=1 a+c   k=2 b
//! with stored rows  k=1 S   k=1 a+c   k=2 b      order 0 1 2, starts 0 2 3
//! ```
//! Most aggregations keep a value of one of the rows: they pick a row, and the column is gathered once. Sums of
//! integers and decimals add stored numbers; what is left goes through Datums ([`Fold::combine`]).
use super::column::{Choice, Fold, Sketch, Sum};
use super::winners::Winner;
use super::{recheck, Kind as Model, Merged, Row, Rule};
use crate::pg;
use crate::pg::raw;
use crate::read::attrs::Attr;
use crate::read::datum::{self, Arena};
use crate::types::agg_state::Unions;
use crate::types::values::Comparer;
use crate::write::column::Column;
use crate::write::kind::{has_natural_order, Kind};
use doris_storage::sort::{self, Direction};
use doris_storage::vector::{Bitmap, BytesColumn, Values, Vector};
use pgrx::memcxt::PgMemoryContexts;
use pgrx::pg_sys::{self, Datum};
use std::cell::RefCell;
use std::cmp::Ordering;

/// Rows of equal keys.
#[derive(Clone, Copy)]
pub struct Groups<'a> {
    /// The rows, group after group: of a group the stored row first, then the others as they arrived.
    pub order: &'a [u32],
    /// Where each group begins in `order`, and after them its length.
    pub starts: &'a [u32],
    /// What each row is; empty where all are [`Part::Loaded`].
    pub parts: &'a [Part],
}

/// What a row of a group is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// A row as it was loaded, or several folded.
    #[default]
    Loaded,
    /// A row with all its columns: it has met the stored one, or a delete of it.
    Whole,
    /// Loaded rows after a delete of their key that has not met the stored row. If that is newer than the delete, there
    /// was nothing to delete, and a partial update keeps its other columns; the deleted-key records tell.
    AfterDelete,
    /// A delete of the key; the row says with which sequence.
    Deleted,
    /// The row that is in the table.
    Stored,
}

impl<'a> Groups<'a> {
    pub(super) fn iter(self) -> impl ExactSizeIterator<Item = &'a [u32]> {
        let order = self.order;
        let bounds = self.starts.windows(2);
        bounds.map(move |w| &order[w[0] as usize..w[1] as usize])
    }

    pub(super) fn part(&self, row: u32) -> Part {
        self.parts.get(row as usize).copied().unwrap_or_default()
    }
}

/// One row a group.
pub struct Folded {
    /// The rows, in the order of the groups.
    pub columns: Vec<(Kind, Vector)>,
    /// Per group: what its row is, never stored. [`Part::AfterDelete`] beside a stored row: the delete took that, so
    /// that what is remembered of the key decides whether the row comes.
    pub parts: Vec<Part>,
    /// Per group: the row is the group's first as it was. If that is the stored row, nothing is to be done.
    pub unchanged: Vec<bool>,
}

impl Rule {
    /// Folds the rows of each key into one. `columns` holds all rows by attribute.
    ///
    /// A key of which nothing is stored must be told to [`Rule::admit`] by the caller.
    pub fn fold(
        &self,
        rel: pg_sys::Relation,
        attrs: &[Attr],
        columns: &[(Kind, Vector)],
        groups: Groups,
    ) -> Folded {
        let winners = self.winners(rel, attrs, columns, groups);
        let mut folded = Folded {
            columns: self.columns(rel, attrs, columns, groups, &winners),
            parts: winners.iter().map(|w| w.part).collect(),
            unchanged: winners.iter().map(|w| w.unchanged).collect(),
        };
        // Rows of a partial update are checked once they have met the stored ones, or are known to be new.
        let alone = groups.parts.is_empty();
        if self.recheck && !(self.is_partial() && alone) {
            recheck_all(rel, attrs, &mut folded);
        }
        folded
    }

    /// Computes generated columns of rows of new keys, and checks constraints, where [`Rule::checks_new_rows`].
    pub fn check_new_rows(
        &self,
        rel: pg_sys::Relation,
        attrs: &[Attr],
        columns: Vec<(Kind, Vector)>,
    ) -> Vec<(Kind, Vector)> {
        let count = columns.first().map_or(0, |column| column.1.len());
        let mut folded = Folded {
            columns,
            parts: vec![Part::Loaded; count],
            unchanged: vec![false; count],
        };
        recheck_all(rel, attrs, &mut folded);
        folded.columns
    }

    fn columns(
        &self,
        rel: pg_sys::Relation,
        attrs: &[Attr],
        columns: &[(Kind, Vector)],
        groups: Groups,
        winners: &[Winner],
    ) -> Vec<(Kind, Vector)> {
        let named: Vec<u32> = winners.iter().map(|w| w.named).collect();
        let base: Vec<u32> = winners.iter().map(|w| w.base).collect();
        let column = |i: usize| {
            let (kind, vector) = &columns[i];
            match &self.kind {
                Model::Partial(partial) if !partial.named[i] => (*kind, vector.take(&base)),
                Model::Replace | Model::Partial(_) => (*kind, vector.take(&named)),
                Model::Aggregate(folds) => match &folds[i] {
                    None => (*kind, vector.take(&named)),
                    Some(fold) => {
                        let values = ColumnValues::of(rel, &attrs[i], *kind, vector);
                        fold.column(&values, groups)
                    }
                },
            }
        };
        (0..columns.len()).map(column).collect()
    }

    /// As [`Rule::admit`], for a row of a batch.
    pub fn admit_row(
        &self,
        rel: pg_sys::Relation,
        attrs: &[Attr],
        columns: &[(Kind, Vector)],
        row: u32,
    ) {
        if !matches!(self.kind, Model::Partial(_)) {
            return;
        }
        self.with_row(attrs, columns, row, |row| self.admit(rel, row));
    }

    pub(super) fn with_row<T>(
        &self,
        attrs: &[Attr],
        columns: &[(Kind, Vector)],
        row: u32,
        f: impl FnOnce(Row) -> T,
    ) -> T {
        let mut arena = Arena::default();
        let merged = row_of(attrs, columns, row as usize, &mut arena);
        f(merged.row())
    }
}

/// A row of a batch as Datums, some of which live in the arena.
pub fn row_of(attrs: &[Attr], columns: &[(Kind, Vector)], row: usize, arena: &mut Arena) -> Merged {
    let value = |(attr, (kind, vector)): (&Attr, &(Kind, Vector))| {
        datum::datum(vector, row, attr, kind.scale(), arena)
    };
    let values: Vec<Option<Datum>> = attrs.iter().zip(columns).map(value).collect();
    Merged {
        nulls: values.iter().map(Option::is_none).collect(),
        values: values.iter().map(|v| v.unwrap_or(Datum::from(0))).collect(),
    }
}

/// Computes generated columns and checks constraints of rows that are neither deleted nor one of those given.
fn recheck_all(rel: pg_sys::Relation, attrs: &[Attr], folded: &mut Folded) {
    let mut columns: Vec<Column> = attrs.iter().map(|a| Column::new(a.kind)).collect();
    let mut arena = Arena::default();
    let mut checker = recheck::Checker::new(rel);
    let mut memory = PgMemoryContexts::new("doris recheck");
    for group in 0..folded.parts.len() {
        let mut merged = row_of(attrs, &folded.columns, group, &mut arena);
        // SAFETY: the context lives here; what is made in it is copied into the columns before it is reset.
        unsafe {
            memory.switch_to(|_| {
                if folded.parts[group] != Part::Deleted && !folded.unchanged[group] {
                    checker.row(&mut merged);
                }
                for (i, column) in columns.iter_mut().enumerate() {
                    column.push(merged.values[i], merged.nulls[i]);
                }
            });
            memory.reset();
        }
        arena.reset();
    }
    folded.columns = columns
        .into_iter()
        .map(|c| (c.kind(), c.finish()))
        .collect();
}

/// The values of one column of a batch.
pub(super) struct ColumnValues<'a> {
    attr: &'a Attr,
    kind: Kind,
    vector: &'a Vector,
    /// Stored values compare as PostgreSQL's do.
    natural: bool,
    arena: RefCell<Arena>,
}

impl<'a> ColumnValues<'a> {
    pub(super) fn of(
        rel: pg_sys::Relation,
        attr: &'a Attr,
        kind: Kind,
        vector: &'a Vector,
    ) -> Self {
        let attribute = pg::attributes::numbered(rel, attr.number);
        let bytes = attribute.attcollation == pg_sys::InvalidOid
            || raw::collation_is_c(attribute.attcollation);
        Self {
            attr,
            kind,
            vector,
            natural: bytes && has_natural_order(attr.type_oid, kind),
            arena: RefCell::default(),
        }
    }

    pub(super) fn is_null(&self, row: u32) -> bool {
        self.vector.is_null(row as usize)
    }

    /// A value; what it points to lives until [`ColumnValues::release`].
    pub(super) fn get(&self, row: u32) -> Option<Datum> {
        let mut arena = self.arena.borrow_mut();
        let scale = self.kind.scale();
        datum::datum(self.vector, row as usize, self.attr, scale, &mut arena)
    }

    fn release(&self) {
        self.arena.borrow_mut().reset();
    }

    /// Compares two values, neither of them NULL.
    pub(super) fn compare(&self, order: &Comparer, a: u32, b: u32) -> Ordering {
        if self.natural {
            return sort::compare(self.vector, Direction::default(), a as usize, b as usize);
        }
        let found = match (self.get(a), self.get(b)) {
            (Some(a), Some(b)) => order.compare(a, b),
            _ => Ordering::Equal,
        };
        self.release();
        found
    }

    /// The column with one row a group.
    fn pick(&self, groups: Groups, pick: impl Fn(&[u32]) -> u32) -> (Kind, Vector) {
        let rows: Vec<u32> = groups.iter().map(pick).collect();
        (self.kind, self.vector.take(&rows))
    }
}

impl Fold {
    /// What a column holds after each group's values.
    fn column(&self, values: &ColumnValues, groups: Groups) -> (Kind, Vector) {
        match self {
            Fold::Replace => values.pick(groups, |rows| rows[rows.len() - 1]),
            Fold::ReplaceIfNotNull => values.pick(groups, |rows| {
                let last = rows.iter().rev().find(|row| !values.is_null(**row));
                last.copied().unwrap_or(rows[0])
            }),
            Fold::Extreme(order, wanted) => values.pick(groups, |rows| {
                let better = |best: u32, row: u32| {
                    let replaces = !values.is_null(row)
                        && (values.is_null(best) || values.compare(order, row, best) == *wanted);
                    if replaces {
                        row
                    } else {
                        best
                    }
                };
                rows.iter().copied().reduce(better).unwrap_or(rows[0])
            }),
            Fold::Sum(sum) => {
                let fast = sum_column(sum, values, groups);
                fast.map_or_else(|| self.by_datum(values, groups), |v| (values.kind, v))
            }
            Fold::Union(sketch) => (values.kind, union_column(*sketch, values, groups)),
        }
    }

    /// Value by value, as single rows are folded.
    fn by_datum(&self, values: &ColumnValues, groups: Groups) -> (Kind, Vector) {
        let mut out = Column::new(values.attr.kind);
        let mut memory = PgMemoryContexts::new("doris fold");
        for rows in groups.iter() {
            // SAFETY: the context lives here; its values are copied into the column before it is reset.
            unsafe {
                memory.switch_to(|_| {
                    let mut held = values.get(rows[0]);
                    for row in &rows[1..] {
                        let new = values.get(*row);
                        match self.combine(held, new) {
                            Choice::Stored => {}
                            Choice::New => held = new,
                            Choice::Value(value) => held = Some(value),
                        }
                    }
                    out.push(held.unwrap_or(Datum::from(0)), held.is_none());
                });
                memory.reset();
            }
            values.release();
        }
        (out.kind(), out.finish())
    }
}

/// Sums of integers, decimals and floats; `None` when one leaves its range, or for other types: PostgreSQL's own
/// addition does those, and raises its error.
fn sum_column(sum: &Sum, values: &ColumnValues, groups: Groups) -> Option<Vector> {
    let decimal = matches!(values.kind, Kind::Decimal64(_) | Kind::Decimal128(_));
    let integer = [pg_sys::INT2OID, pg_sys::INT4OID, pg_sys::INT8OID].contains(&sum.oid);
    let summed = match &values.vector.values {
        Values::I16(v) if integer => {
            let sums = integers(values, groups, |i| i128::from(v[i]))?;
            Values::I16(narrow(&sums)?)
        }
        Values::I32(v) if integer => {
            let sums = integers(values, groups, |i| i128::from(v[i]))?;
            Values::I32(narrow(&sums)?)
        }
        Values::I64(v) if integer || decimal => {
            let sums = integers(values, groups, |i| i128::from(v[i]))?;
            within(sum.precision(), &sums)?;
            Values::I64(narrow(&sums)?)
        }
        Values::I128(v) if decimal => {
            let sums = integers(values, groups, |i| v[i])?;
            within(sum.precision(), &sums)?;
            Values::I128(sums)
        }
        Values::F32(v) => Values::F32(floats(values, groups, |i| v[i], f32::is_infinite)?),
        Values::F64(v) => Values::F64(floats(values, groups, |i| v[i], f64::is_infinite)?),
        _ => return None,
    };
    let any = |rows: &[u32]| rows.iter().any(|row| !values.is_null(*row));
    let nullable = values.vector.validity.is_some();
    Some(Vector {
        values: summed,
        validity: nullable.then(|| Bitmap::from_bools(groups.iter().map(any))),
    })
}

fn integers(
    values: &ColumnValues,
    groups: Groups,
    get: impl Fn(usize) -> i128,
) -> Option<Vec<i128>> {
    let of_group = |rows: &[u32]| {
        let present = rows.iter().filter(|row| !values.is_null(**row));
        let mut present = present.map(|row| get(*row as usize));
        present.try_fold(0i128, i128::checked_add)
    };
    groups.iter().map(of_group).collect()
}

fn narrow<T: TryFrom<i128>>(sums: &[i128]) -> Option<Vec<T>> {
    sums.iter().map(|sum| T::try_from(*sum).ok()).collect()
}

/// Whether all sums have at most so many digits.
fn within(digits: Option<u32>, sums: &[i128]) -> Option<()> {
    let Some(limit) = digits.map(|digits| 10u128.pow(digits)) else {
        return Some(());
    };
    let fits = sums.iter().all(|sum| sum.unsigned_abs() < limit);
    fits.then_some(())
}

/// Added in the order of the rows, as PostgreSQL would; a sum may only be infinite if a value is.
fn floats<T: Copy + Default + std::ops::Add<Output = T>>(
    values: &ColumnValues,
    groups: Groups,
    get: impl Fn(usize) -> T,
    infinite: impl Fn(T) -> bool,
) -> Option<Vec<T>> {
    let of_group = |rows: &[u32]| {
        let present = rows.iter().filter(|row| !values.is_null(**row));
        let mut present = present.map(|row| get(*row as usize));
        let Some(first) = present.next() else {
            return Some(T::default());
        };
        present.try_fold(first, |sum, value| {
            let next = sum + value;
            let overflow = infinite(next) && !infinite(sum) && !infinite(value);
            (!overflow).then_some(next)
        })
    };
    groups.iter().map(of_group).collect()
}

fn union_column(sketch: Sketch, values: &ColumnValues, groups: Groups) -> Vector {
    let mut out = BytesColumn::default();
    let mut validity = Bitmap::default();
    let mut states = Unions::default();
    for rows in groups.iter() {
        let present = || rows.iter().filter(|row| !values.is_null(**row));
        let bytes = |row: &u32| values.vector.bytes(*row as usize).unwrap_or_default();
        let mut first = present().map(bytes);
        match (first.next(), first.next()) {
            (None, _) => out.push(&[]),
            (Some(only), None) => out.push(only),
            (Some(_), Some(_)) => out.push(&sketch.union(present().map(bytes), &mut states)),
        }
        validity.push(present().next().is_some());
    }
    states.end();
    Vector {
        values: Values::Bytes(out),
        validity: values.vector.validity.is_some().then_some(validity),
    }
}
