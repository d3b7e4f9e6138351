// SPDX-License-Identifier: Apache-2.0
//! Which segments and row blocks a predicate can skip.
//!
//! A predicate is evaluated over what is known of a run of rows, to the set of truth values that it may
//! take there (TRUE, FALSE, NULL), always a superset of those it does take. Sets compose by SQL's
//! three-valued logic, so NOT, AND and OR of anything stay sound: `Verdict::None` when TRUE is impossible,
//! `Verdict::All` when only TRUE is possible.

use std::cmp::Ordering;
use std::ops::Range;

use crate::bloom;
use crate::error::Result;
use crate::key::{encode_scalar, KEY_PREFIX_MAX};
use crate::segment::{ColumnMeta, Footer, Order};
use crate::vector::Physical;
use crate::zone_map::{Scalar, ZoneMap};

#[cfg(test)]
mod tests;

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CmpOp {
    /// `=`
    Eq,
    /// `<>`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

/// What a scan asks of rows. Columns are ids (`ColumnSpec::id`); values are of the column's family, with
/// decimals at the column's scale, and complete. Leave out a conjunct that can't be said so.
#[derive(Debug, Clone, PartialEq)]
pub enum Predicate {
    /// `column op value`; NULL where the column is.
    Cmp {
        /// Column id.
        column: u16,
        /// Operator.
        op: CmpOp,
        /// Right-hand side.
        value: Scalar,
    },
    /// `column IN (values)`, without NULLs in the list; NULL where the column is.
    In {
        /// Column id.
        column: u16,
        /// The list.
        values: Vec<Scalar>,
    },
    /// `column IS NULL`
    IsNull(u16),
    /// `column IS NOT NULL`
    IsNotNull(u16),
    /// The column's bytes begin with these; NULL where the column is.
    Prefix {
        /// Column id.
        column: u16,
        /// The prefix.
        bytes: Vec<u8>,
    },
    /// All of them; TRUE when empty.
    And(Vec<Predicate>),
    /// Any of them; FALSE when empty.
    Or(Vec<Predicate>),
    /// SQL's NOT.
    Not(Box<Predicate>),
    /// Known beforehand.
    Const(bool),
}

/// How many rows of a run satisfy a predicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Surely none: skip.
    None,
    /// Unknown: decode and filter.
    Some,
    /// Surely all: no need to filter.
    All,
}

/// What decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Minimum, maximum or NULL count.
    ZoneMap,
    /// The sparse key index.
    KeyIndex,
    /// A bloom filter.
    Bloom,
}

/// A verdict, and what decided it (if it is `None`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// The verdict.
    pub verdict: Verdict,
    /// What showed that no row matches.
    pub reason: Option<Reason>,
}

/// Gives a column's bloom filter for a row block (`BlockMeta::bloom`, checked by `bloom::checked`), or `None` if it is
/// not at hand.
pub type BloomSource<'a> = dyn Fn(&ColumnMeta, usize) -> Option<&'a [u8]> + 'a;

/// The truth values that a predicate may take over some rows.
#[derive(Debug, Clone, Copy)]
struct Truths {
    yes: bool,
    no: bool,
    null: bool,
    /// What ruled `yes` out.
    reason: Reason,
}

impl Truths {
    const ANY: Truths = Truths {
        yes: true,
        no: true,
        null: true,
        reason: Reason::ZoneMap,
    };

    fn check(self, rows: u32) -> Check {
        let verdict = match self {
            Truths { yes: false, .. } => Verdict::None,
            Truths {
                no: false,
                null: false,
                ..
            } => Verdict::All,
            _ => Verdict::Some,
        };
        let verdict = if rows == 0 { Verdict::None } else { verdict };
        Check {
            verdict,
            reason: (verdict == Verdict::None).then_some(self.reason),
        }
    }
}

/// What is known of the rows in question: those of one block, or (`block: None`) of the segment.
struct Rows<'a> {
    footer: &'a Footer,
    block: Option<usize>,
    blooms: &'a BloomSource<'a>,
}

impl Footer {
    /// Whether any row of the segment may satisfy a predicate, by the segment's zone maps.
    pub fn check_segment(&self, predicate: &Predicate) -> Check {
        let rows = Rows {
            footer: self,
            block: None,
            blooms: &|_, _| None,
        };
        rows.truths(predicate).check(self.rows)
    }

    /// Whether any row of block `i` may satisfy a predicate, by zone maps and key index.
    /// A block past the end has no rows.
    pub fn check_block(&self, i: usize, predicate: &Predicate) -> Check {
        self.check_block_with(i, predicate, &|_, _| None)
    }

    /// As `check_block`, asking bloom filters too where zone maps and key index leave it open.
    pub fn check_block_with<'a>(
        &'a self,
        i: usize,
        predicate: &Predicate,
        blooms: &'a BloomSource<'a>,
    ) -> Check {
        self.check_in(i, &self.key_blocks(predicate), predicate, blooms)
    }

    /// As `check_block_with`, for all blocks at once: cheaper than one by one.
    pub fn check_blocks<'a>(
        &'a self,
        predicate: &Predicate,
        blooms: &'a BloomSource<'a>,
    ) -> Vec<Check> {
        let left = self.key_blocks(predicate);
        (0..self.block_count())
            .map(|i| self.check_in(i, &left, predicate, blooms))
            .collect()
    }

    fn check_in<'a>(
        &'a self,
        i: usize,
        left: &Range<usize>,
        predicate: &Predicate,
        blooms: &'a BloomSource<'a>,
    ) -> Check {
        if i < self.block_count() && !left.contains(&i) {
            // The zone map's verdict first: it is the plainer reason.
            let zone = Rows {
                footer: self,
                block: Some(i),
                blooms: &|_, _| None,
            }
            .truths(predicate)
            .check(1);
            let none = Check {
                verdict: Verdict::None,
                reason: Some(Reason::KeyIndex),
            };
            return if zone.verdict == Verdict::None {
                zone
            } else {
                none
            };
        }
        if i >= self.block_count() {
            return Check {
                verdict: Verdict::None,
                reason: Some(Reason::ZoneMap),
            };
        }
        Rows {
            footer: self,
            block: Some(i),
            blooms,
        }
        .truths(predicate)
        .check(1)
    }

    /// The row blocks that the key index leaves for a predicate; all of them without an index, or
    /// without conditions on the leading sort keys.
    pub fn key_blocks(&self, predicate: &Predicate) -> Range<usize> {
        let all = 0..self.block_count();
        if self.key_index.firsts.len() != all.end || all.is_empty() {
            return all;
        }
        match KeyRange::of(self, predicate) {
            KeyRange::Empty => 0..0,
            KeyRange::Bounds { low, high } if low.is_empty() && high.is_empty() => all,
            KeyRange::Bounds { low, high } => self.key_index.blocks(&low, &high),
        }
    }
}

impl<'a> Rows<'a> {
    fn truths(&self, predicate: &Predicate) -> Truths {
        match predicate {
            Predicate::Const(value) => Truths {
                yes: *value,
                no: !*value,
                null: false,
                ..Truths::ANY
            },
            Predicate::Not(inner) => {
                let t = self.truths(inner);
                Truths {
                    yes: t.no,
                    no: t.yes,
                    reason: Reason::ZoneMap,
                    ..t
                }
            }
            Predicate::And(parts) => {
                let start = Truths {
                    no: false,
                    null: false,
                    ..Truths::ANY
                };
                parts
                    .iter()
                    .map(|p| self.truths(p))
                    .fold(start, |a, b| Truths {
                        yes: a.yes && b.yes,
                        no: a.no || b.no,
                        null: a.null || b.null,
                        reason: if a.yes { b.reason } else { a.reason },
                    })
            }
            Predicate::Or(parts) => {
                let start = Truths {
                    yes: false,
                    null: false,
                    ..Truths::ANY
                };
                parts
                    .iter()
                    .map(|p| self.truths(p))
                    .fold(start, |a, b| Truths {
                        yes: a.yes || b.yes,
                        no: a.no && b.no,
                        null: a.null || b.null,
                        reason: b.reason,
                    })
            }
            Predicate::IsNull(column) => self.nulls(*column, true),
            Predicate::IsNotNull(column) => self.nulls(*column, false),
            Predicate::Cmp { column, op, value } => {
                self.on_values(*column, |c, z| self.compare(c, z, *op, value))
            }
            Predicate::In { column, values } => {
                self.on_values(*column, |c, z| self.any_of(c, z, values))
            }
            Predicate::Prefix { column, bytes } => {
                self.on_values(*column, |c, z| prefix(c, z, bytes))
            }
        }
    }

    /// The column, its zone map and its rows.
    fn zone(&self, column: u16) -> Option<(&'a ColumnMeta, &'a ZoneMap, u32)> {
        let meta = self.footer.column(column)?;
        match self.block {
            None => Some((meta, &meta.zone, self.footer.rows)),
            Some(i) => meta.blocks.get(i).map(|b| (meta, &b.zone, b.rows)),
        }
    }

    fn nulls(&self, column: u16, is_null: bool) -> Truths {
        let Some((_, zone, rows)) = self.zone(column) else {
            return Truths {
                null: false,
                ..Truths::ANY
            };
        };
        let (some_null, some_value) = (zone.null_count > 0, zone.null_count < rows);
        let (yes, no) = if is_null {
            (some_null, some_value)
        } else {
            (some_value, some_null)
        };
        Truths {
            yes,
            no,
            null: false,
            ..Truths::ANY
        }
    }

    /// Truth values of a test that is NULL where the column is; `test` tells those of rows with values.
    fn on_values(&self, column: u16, test: impl Fn(&ColumnMeta, &ZoneMap) -> Truths) -> Truths {
        let Some((meta, zone, rows)) = self.zone(column) else {
            return Truths::ANY;
        };
        let null = zone.null_count > 0;
        if zone.null_count >= rows {
            return Truths {
                yes: false,
                no: false,
                null,
                ..Truths::ANY
            };
        }
        Truths {
            null,
            ..test(meta, zone)
        }
    }

    fn compare(&self, meta: &ColumnMeta, zone: &ZoneMap, op: CmpOp, value: &Scalar) -> Truths {
        let both = |yes, no| Truths {
            yes,
            no,
            null: false,
            reason: Reason::ZoneMap,
        };
        if !value.is_exact() {
            return both(true, true);
        }
        let bounds = Bounds::of(meta, zone, value);
        match op {
            CmpOp::Eq | CmpOp::Ne => {
                let mut equal = bounds.equal();
                if equal.yes && equal.no && self.bloom_excludes(meta, value) {
                    equal = Truths {
                        yes: false,
                        reason: Reason::Bloom,
                        ..equal
                    };
                }
                let swap = Truths {
                    yes: equal.no,
                    no: equal.yes,
                    ..equal
                };
                if op == CmpOp::Eq {
                    equal
                } else {
                    swap
                }
            }
            _ if meta.spec.order != Order::Natural => both(true, true),
            CmpOp::Lt => both(bounds.some_below, bounds.some_above || bounds.some_equal),
            CmpOp::Le => both(bounds.some_below || bounds.some_equal, bounds.some_above),
            CmpOp::Gt => both(bounds.some_above, bounds.some_below || bounds.some_equal),
            CmpOp::Ge => both(bounds.some_above || bounds.some_equal, bounds.some_below),
        }
    }

    fn any_of(&self, meta: &ColumnMeta, zone: &ZoneMap, values: &[Scalar]) -> Truths {
        let none = Truths {
            yes: false,
            no: true,
            null: false,
            reason: Reason::ZoneMap,
        };
        values
            .iter()
            .map(|v| self.compare(meta, zone, CmpOp::Eq, v))
            .fold(none, |a, b| Truths {
                yes: a.yes || b.yes,
                no: a.no && b.no,
                null: false,
                reason: if b.reason == Reason::Bloom {
                    b.reason
                } else {
                    a.reason
                },
            })
    }

    fn bloom_excludes(&self, meta: &ColumnMeta, value: &Scalar) -> bool {
        let filter = self
            .block
            .filter(|_| meta.spec.bloom)
            .and_then(|i| (self.blooms)(meta, i));
        let held = |filter, hash| -> Result<bool> { bloom::may_contain(filter, hash) };
        // A broken filter excludes nothing: the block is read and its own checksum decides.
        filter
            .zip(bloom::hash(value))
            .is_some_and(|(filter, hash)| !held(filter, hash).unwrap_or(true))
    }
}

/// Where the values of a zone may lie, seen from one value.
struct Bounds {
    some_below: bool,
    some_equal: bool,
    some_above: bool,
}

impl Bounds {
    fn of(meta: &ColumnMeta, zone: &ZoneMap, value: &Scalar) -> Self {
        let unknown = Bounds {
            some_below: true,
            some_equal: true,
            some_above: true,
        };
        if meta.spec.order == Order::None {
            return unknown;
        }
        let min = zone
            .min
            .as_ref()
            .and_then(|min| Some((min.order(value)?, min.is_exact())));
        let max = zone
            .max
            .as_ref()
            .and_then(|max| Some((max.order(value)?, max.is_exact())));
        // An inexact minimum lies below the true one, an inexact maximum above it: an inexact bound that
        // equals the value says only that no value, or none but longer ones, lie beyond it.
        Bounds {
            some_below: min.is_none_or(|(min, _)| min == Ordering::Less),
            some_above: max.is_none_or(|(max, _)| max == Ordering::Greater),
            some_equal: min.is_none_or(|(min, exact)| {
                min == Ordering::Less || (min == Ordering::Equal && exact)
            }) && max.is_none_or(|(max, exact)| {
                max == Ordering::Greater || (max == Ordering::Equal && exact)
            }),
        }
        .with_inexact_minimum(min)
    }

    /// With an inexact minimum equal to the value, all values are longer than it: above.
    fn with_inexact_minimum(mut self, min: Option<(Ordering, bool)>) -> Self {
        if min == Some((Ordering::Equal, false)) {
            self.some_above = true;
        }
        self
    }

    fn equal(&self) -> Truths {
        let no = self.some_below || self.some_above;
        Truths {
            yes: self.some_equal,
            no,
            null: false,
            reason: Reason::ZoneMap,
        }
    }
}

fn prefix(meta: &ColumnMeta, zone: &ZoneMap, prefix: &[u8]) -> Truths {
    let unknown = Truths {
        null: false,
        ..Truths::ANY
    };
    let (Some(Scalar::Bytes { value: min, .. }), Some(Scalar::Bytes { value: max, exact })) =
        (&zone.min, &zone.max)
    else {
        return unknown;
    };
    if meta.spec.order == Order::None || meta.spec.physical != Physical::Bytes {
        return unknown;
    }
    let cut = |value: &[u8]| value[..value.len().min(prefix.len())].cmp(prefix);
    let beyond = cut(min) == Ordering::Greater || max.as_slice() < prefix;
    // Both ends begin with it, so all between do. A rounded-up maximum may begin with it only if it was
    // not rounded within it; its last byte was.
    let within = cut(min) == Ordering::Equal
        && cut(max) == Ordering::Equal
        && (*exact || max.len() > prefix.len());
    Truths {
        yes: !beyond,
        no: !within,
        null: false,
        reason: Reason::ZoneMap,
    }
}

/// The keys that a conjunction leaves, as encoded bounds (each stands for all keys that begin with it).
enum KeyRange {
    Empty,
    Bounds { low: Vec<u8>, high: Vec<u8> },
}

impl KeyRange {
    /// Takes equalities on the leading sort keys, then one range.
    fn of(footer: &Footer, predicate: &Predicate) -> Self {
        let mut parts = Vec::new();
        conjuncts(predicate, &mut parts);
        let (mut low, mut high) = (Vec::new(), Vec::new());
        for key in &footer.sort.keys {
            let Some(meta) = footer
                .column(key.column)
                .filter(|m| m.spec.order != Order::None)
            else {
                break;
            };
            let on_key = |p: &&&Predicate| matches!(p, Predicate::Cmp { column, .. } if *column == key.column);
            let encode = |value: &Scalar, bound: &mut Vec<u8>| {
                let start = bound.len();
                let complete = encode_scalar(Some(value), meta.spec.physical, *key, bound);
                if !complete {
                    bound.truncate(start);
                }
                complete
            };
            let mut equal = false;
            let (mut lows, mut highs): (Vec<Vec<u8>>, Vec<Vec<u8>>) = (Vec::new(), Vec::new());
            for part in parts.iter().filter(on_key) {
                let Predicate::Cmp { op, value, .. } = part else {
                    continue;
                };
                let mut bound = Vec::new();
                if !encode(value, &mut bound) {
                    continue;
                }
                let natural = meta.spec.order == Order::Natural;
                match (op, key.descending) {
                    (CmpOp::Eq, _) => {
                        equal = true;
                        lows.push(bound.clone());
                        highs.push(bound);
                    }
                    (CmpOp::Gt | CmpOp::Ge, false) | (CmpOp::Lt | CmpOp::Le, true) if natural => {
                        lows.push(bound)
                    }
                    (CmpOp::Lt | CmpOp::Le, false) | (CmpOp::Gt | CmpOp::Ge, true) if natural => {
                        highs.push(bound)
                    }
                    _ => {}
                }
            }
            // The marker byte of values: NULLs never satisfy a comparison.
            let (tight_low, tight_high) = (lows.into_iter().max(), highs.into_iter().min());
            if tight_low.is_none() && tight_high.is_none() {
                break;
            }
            let (tight_low, tight_high) =
                (tight_low.unwrap_or(vec![1]), tight_high.unwrap_or(vec![1]));
            if tight_low > tight_high && tight_high != [1] {
                return KeyRange::Empty;
            }
            low.extend_from_slice(&tight_low);
            high.extend_from_slice(&tight_high);
            if !equal {
                break;
            }
        }
        low.truncate(KEY_PREFIX_MAX);
        high.truncate(KEY_PREFIX_MAX);
        KeyRange::Bounds { low, high }
    }
}

fn conjuncts<'p>(predicate: &'p Predicate, out: &mut Vec<&'p Predicate>) {
    match predicate {
        Predicate::And(parts) => parts.iter().for_each(|p| conjuncts(p, out)),
        other => out.push(other),
    }
}
