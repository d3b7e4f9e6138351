// SPDX-License-Identifier: Apache-2.0
//! What a reader must know of each attribute of a table.
use crate::pg;
use crate::store::tid::RowNumber;
use crate::write::kind::Kind;
use doris_storage::vector::{Values, Vector};
use pgrx::pg_sys;

/// One attribute.
#[derive(Clone, Copy, Debug)]
pub struct Attr {
    /// Attribute number, from 1; a segment's columns carry it as their id.
    pub number: u16,
    /// How a new segment would store it.
    pub kind: Kind,
    /// Its type.
    pub type_oid: pg_sys::Oid,
    /// Dropped from the table.
    pub dropped: bool,
}

/// System columns that say where a row is. They are no attributes of a table: what reads columns by their numbers knows
/// these by PostgreSQL's negative ones, and makes them up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceColumn {
    /// `ctid`.
    Tid,
    /// `tableoid`.
    Table,
}

/// Bytes of a TID.
const TID_BYTES: u16 = size_of::<pg_sys::ItemPointerData>() as u16;

impl PlaceColumn {
    /// By its number, kept as an attribute's is.
    pub fn of(number: u16) -> Option<Self> {
        match i32::from(number as i16) {
            pg_sys::SelfItemPointerAttributeNumber => Some(Self::Tid),
            pg_sys::TableOidAttributeNumber => Some(Self::Table),
            _ => None,
        }
    }

    fn attr(self, number: u16) -> Attr {
        let (kind, type_oid) = match self {
            Self::Tid => (Kind::Fixed(TID_BYTES), pg_sys::TIDOID),
            Self::Table => (Kind::I32, pg_sys::OIDOID),
        };
        Attr {
            number,
            kind,
            type_oid,
            dropped: false,
        }
    }

    /// The values of `rows` rows of a segment, of which `first` is the first.
    pub fn of_segment(self, rel: pg_sys::Relation, first: RowNumber, rows: usize) -> Vector {
        let values = match self {
            Self::Table => Values::I32(vec![pg::relation_id(rel).to_u32() as i32; rows]),
            Self::Tid => {
                let mut data = Vec::with_capacity(rows * usize::from(TID_BYTES));
                for row in first.0..first.0 + rows as u64 {
                    let tid = RowNumber(row).to_tid();
                    let (high, low) = (tid.ip_blkid.bi_hi, tid.ip_blkid.bi_lo);
                    for part in [high, low, tid.ip_posid] {
                        data.extend_from_slice(&part.to_ne_bytes());
                    }
                }
                let width = TID_BYTES;
                Values::Fixed { width, data }
            }
        };
        Vector {
            values,
            validity: None,
        }
    }
}

impl Attr {
    /// Which system column it is, if it is one.
    pub fn place(&self) -> Option<PlaceColumn> {
        PlaceColumn::of(self.number)
    }
}

/// Those of a table's attributes, and of its system columns, that have these numbers.
pub fn numbered(all: &[Attr], numbers: &[u16]) -> Vec<Attr> {
    let one = |number: &u16| match PlaceColumn::of(*number) {
        Some(place) => place.attr(*number),
        None => all[usize::from(*number) - 1],
    };
    numbers.iter().map(one).collect()
}

/// The attributes of an open relation, in order.
pub fn of(rel: pg_sys::Relation) -> Vec<Attr> {
    // SAFETY: an open relation's descriptor.
    unsafe { of_descriptor((*rel).rd_att) }
}

/// The attributes of a descriptor: a table rewrite reads rows by the types they had before.
///
/// # Safety
/// A valid descriptor.
pub unsafe fn of_descriptor(desc: pg_sys::TupleDesc) -> Vec<Attr> {
    // SAFETY: passed on to the caller; what is returned is a copy.
    let all = unsafe { crate::pg::attributes::of_descriptor(desc) };
    all.zip(1..)
        .map(|(attribute, number)| Attr {
            number,
            kind: Kind::of(attribute),
            type_oid: attribute.atttypid,
            dropped: attribute.attisdropped,
        })
        .collect()
}
