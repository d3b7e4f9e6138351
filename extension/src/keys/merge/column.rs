// SPDX-License-Identifier: Apache-2.0
//! What one value column of the aggregate model does with a new value.
//!
//! | aggregation | NULL |
//! |---|---|
//! | sum, min, max, replace_if_not_null, unions | changes nothing |
//! | replace | is taken |
//!
//! Values are those of the column's type, so a sum may leave its range: that is PostgreSQL's own error.
use crate::options::model::Aggregation;
use crate::pg;
use crate::types::agg_state::Unions;
use crate::types::shells::{fail, varlena_bytes, OrFail};
use crate::types::values::{Comparer, TypeKey};
use doris_engine::sketch::{BitmapUnion, Hll, Quantile, StoredBitmap};
use pgrx::pg_sys::{self, Datum};
use pgrx::PgSqlErrorCode;
use std::cmp::Ordering;

/// The aggregation of a column.
pub enum Fold {
    /// Adds.
    Sum(Sum),
    /// Keeps what compares as this with the other value.
    Extreme(Comparer, Ordering),
    /// Takes the new value.
    Replace,
    /// Takes the new value unless it is NULL.
    ReplaceIfNotNull,
    /// A union of sketches.
    Union(Sketch),
}

/// Which sketches a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sketch {
    /// `bitmap`
    Bitmap,
    /// `hll`
    Hll,
    /// `quantile_state`
    Quantile,
    /// `agg_state`
    State,
}

/// Which value a column keeps.
pub enum Choice {
    /// The stored one.
    Stored,
    /// The new one.
    New,
    /// Neither.
    Value(Datum),
}

/// Addition of a type, by PostgreSQL's own function.
pub struct Sum {
    /// The column's type.
    pub oid: pg_sys::Oid,
    function: pg_sys::Oid,
    typmod: i32,
}

/// The types that can be added, and their functions.
const SUMS: [(pg_sys::Oid, u32); 8] = [
    (pg_sys::INT2OID, pg_sys::F_INT2PL),
    (pg_sys::INT4OID, pg_sys::F_INT4PL),
    (pg_sys::INT8OID, pg_sys::F_INT8PL),
    (pg_sys::FLOAT4OID, pg_sys::F_FLOAT4PL),
    (pg_sys::FLOAT8OID, pg_sys::F_FLOAT8PL),
    (pg_sys::NUMERICOID, pg_sys::F_NUMERIC_ADD),
    (pg_sys::MONEYOID, pg_sys::F_CASH_PL),
    (pg_sys::INTERVALOID, pg_sys::F_INTERVAL_PL),
];

/// Whether values of a type can be added.
pub fn can_be_summed(oid: pg_sys::Oid) -> bool {
    SUMS.iter().any(|(of, _)| *of == oid)
}

impl Fold {
    /// The aggregation of a column of a type; options are checked when the table is made.
    pub fn new(what: Aggregation, key: TypeKey, typmod: i32) -> Fold {
        match what {
            Aggregation::Sum => Fold::Sum(Sum::new(key.oid, typmod)),
            Aggregation::Min => Fold::Extreme(Comparer::order(key), Ordering::Less),
            Aggregation::Max => Fold::Extreme(Comparer::order(key), Ordering::Greater),
            Aggregation::Replace => Fold::Replace,
            Aggregation::ReplaceIfNotNull => Fold::ReplaceIfNotNull,
            Aggregation::HllUnion => Fold::Union(Sketch::Hll),
            Aggregation::BitmapUnion => Fold::Union(Sketch::Bitmap),
            Aggregation::QuantileUnion => Fold::Union(Sketch::Quantile),
            Aggregation::AggState => Fold::Union(Sketch::State),
        }
    }

    /// Whether the result depends on the stored value.
    pub fn reads_stored(&self) -> bool {
        !matches!(self, Fold::Replace)
    }

    /// What the column holds after a new value.
    pub fn combine(&self, stored: Option<Datum>, new: Option<Datum>) -> Choice {
        let (stored, new) = match (self, stored, new) {
            (Fold::Replace, _, _) => return Choice::New,
            (_, _, None) => return Choice::Stored,
            (_, None, _) => return Choice::New,
            (_, Some(stored), Some(new)) => (stored, new),
        };
        match self {
            Fold::Sum(sum) => Choice::Value(sum.add(stored, new)),
            Fold::Extreme(order, wanted) if order.compare(new, stored) == *wanted => Choice::New,
            Fold::Extreme(..) => Choice::Stored,
            Fold::Replace | Fold::ReplaceIfNotNull => Choice::New,
            Fold::Union(sketch) => {
                // SAFETY: both are values of a column of the sketch's type.
                let (stored, new) = unsafe { (varlena_bytes(stored), varlena_bytes(new)) };
                let mut unions = Unions::default();
                let union = sketch.union([stored, new], &mut unions);
                unions.end();
                Choice::Value(pg::varlena(&union))
            }
        }
    }
}

impl Sum {
    fn new(oid: pg_sys::Oid, typmod: i32) -> Sum {
        let Some((_, function)) = SUMS.iter().find(|(of, _)| *of == oid) else {
            fail(
                PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
                "a column to be summed has a type without addition",
            );
        };
        Sum {
            oid,
            function: pg_sys::Oid::from(*function),
            typmod,
        }
    }

    /// The digits that a sum may have; `None` without a limit of the column's own.
    pub fn precision(&self) -> Option<u32> {
        let limited = self.oid == pg_sys::NUMERICOID && self.typmod >= pg_sys::VARHDRSZ as i32;
        limited.then(|| ((self.typmod - pg_sys::VARHDRSZ as i32) >> 16 & 0xffff) as u32)
    }

    /// The sum of two values, within the column's precision.
    pub fn add(&self, a: Datum, b: Datum) -> Datum {
        // SAFETY: both are values of the type whose addition this is.
        unsafe {
            let sum = pg_sys::OidFunctionCall2Coll(self.function, pg_sys::InvalidOid, a, b);
            if self.oid != pg_sys::NUMERICOID || self.typmod < 0 {
                return sum;
            }
            let cast = pg_sys::Oid::from(pg_sys::F_NUMERIC_NUMERIC_INT4);
            pg_sys::OidFunctionCall2Coll(cast, pg_sys::InvalidOid, sum, Datum::from(self.typmod))
        }
    }
}

impl Sketch {
    /// The union of stored sketches. Unions of aggregates' states use what the caller keeps for them.
    pub fn union<'a>(
        self,
        parts: impl IntoIterator<Item = &'a [u8]>,
        states: &mut Unions,
    ) -> Vec<u8> {
        match self {
            Sketch::State => states.of(parts),
            Sketch::Bitmap => {
                let mut union = BitmapUnion::default();
                for part in parts {
                    let stored = StoredBitmap::parse(part).or_corrupt("bitmap");
                    union.add_stored(stored).or_corrupt("bitmap");
                }
                union.encode()
            }
            Sketch::Hll => {
                let mut union = Hll::default();
                for part in parts {
                    union.merge(&Hll::decode(part).or_corrupt("hll"));
                }
                union.encode()
            }
            Sketch::Quantile => {
                let mut union: Option<Quantile> = None;
                for part in parts {
                    let part = Quantile::decode(part).or_corrupt("quantile_state");
                    match &mut union {
                        Some(union) => union.merge(&part),
                        None => union = Some(part),
                    }
                }
                union.as_mut().map_or_else(Vec::new, Quantile::encode)
            }
        }
    }
}
